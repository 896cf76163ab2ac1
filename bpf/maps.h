/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Every map, once. A program's object holds only those that it uses. */
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
	__uint(max_entries, 1);
} event_gate SEC(".maps");

#endif
