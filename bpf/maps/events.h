/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What programs tell user space. */
#ifndef PHANTOM_MAPS_EVENTS_H
#define PHANTOM_MAPS_EVENTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/common.h"

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

#endif
