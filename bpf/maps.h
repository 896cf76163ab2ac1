/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Every map, once. Every object declares all of them: user space leaves out what is not used. */
#ifndef PHANTOM_MAPS_H
#define PHANTOM_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "phantom.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_listen_word);
	__uint(max_entries, PH_LIMIT_LISTEN_WORDS);
} listen_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_stat);
	__uint(max_entries, PH_VERDICT_COUNT * PH_REASON_COUNT);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PH_LIMIT_EVENT_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_event_gate);
	__uint(max_entries, PH_EVENT_KIND_COUNT);
} event_gate SEC(".maps");

/* In place of `events` where the kernel has no ring buffers (before 5.8). */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_config);
	__uint(max_entries, 1);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_delivery);
	__uint(max_entries, 1);
} delivery SEC(".maps");

/* By queue of the one interface; sockets leave it when they are closed. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, PH_LIMIT_QUEUES);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_mask_key);
	__uint(max_entries, PH_LIMIT_MASK_KEYS);
} mask_keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ph_session_key);
	__type(value, struct ph_session_value);
	__uint(max_entries, PH_LIMIT_SESSIONS);
} sessions SEC(".maps");

/* Made larger at loading where there are more CPUs; those that find no slot do without. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_front);
	__uint(max_entries, 8 * PH_LIMIT_FRONT_SLOTS);
} front SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ph_source_key);
	__type(value, struct ph_source_value);
	__uint(max_entries, PH_LIMIT_SOURCES);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_total);
	__uint(max_entries, 1);
} totals SEC(".maps");

/* ---- the relay: made as large as it is configured before loading ---- */

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

/* The addresses of this machine. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ph_relay_address);
	__type(value, __u32);
	__uint(max_entries, PH_RELAY_LIMIT_ADDRESSES);
} relay_locals SEC(".maps");

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
