/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The relay's: made as large as it is configured before loading. */
#ifndef PHANTOM_MAPS_RELAY_H
#define PHANTOM_MAPS_RELAY_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/relay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_config);
	__uint(max_entries, 1);
} relay_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ph_relay_listen);
	__type(value, __u32);
	__uint(max_entries, 1);
} relay_listens SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_service);
	__uint(max_entries, 1);
} relay_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_places);
	__uint(max_entries, 1);
} relay_maglev SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_backend);
	__uint(max_entries, 1);
} relay_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_traffic);
	__uint(max_entries, 1);
} relay_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ph_relay_key);
	__type(value, struct ph_relay_way);
	__uint(max_entries, 2);
} relay_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_cached);
	__uint(max_entries, 1);
} relay_cache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_stat);
	__uint(max_entries, PH_RELAY_OUTCOME_COUNT);
} relay_counts SEC(".maps");

/*
 * Interfaces that take frames from XDP, by their index: where ways may leave by. Indices alone:
 * where an entry has room for a program, kernels before 5.15 refuse generic XDP.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, PH_RELAY_LIMIT_DEVICES);
} relay_devices SEC(".maps");

/* Ways in the making: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_relay_way);
	__uint(max_entries, 2);
} relay_scratch SEC(".maps");

#endif
