/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Events: what the programs tell user space. */
#ifndef PHANTOM_EVENT_H
#define PHANTOM_EVENT_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/common.h"
#include "maps/events.h"

/* Set where the kernel has no ring buffers. */
const volatile __u32 events_by_perf;

/* Sends one event to user space; 0 when it is on its way. */
static __always_inline long emit(void *ctx, struct ph_event *event)
{
	if (events_by_perf)
		return bpf_perf_event_output(ctx, &perf_events, BPF_F_CURRENT_CPU, event,
					     sizeof(*event));
	return bpf_ringbuf_output(&events, event, sizeof(*event), 0);
}

/* Kinds that whoever likes can make any number of. */
static __always_inline bool is_of_flood(__u32 kind)
{
	return kind == PH_EVENT_KIND_MALFORMED || kind == PH_EVENT_KIND_FLOOD ||
		kind == PH_EVENT_KIND_CHECKSUM;
}

/* Tells user space, if this CPU has not just done so; `event` lacks the time only. */
static __always_inline void report(void *ctx, struct ph_event *event)
{
	__u32 kind = event->kind;
	struct ph_event_gate *gate = bpf_map_lookup_elem(&event_gate, &kind);
	__u64 now = bpf_ktime_get_ns();

	if (!gate)
		return;
	event->time_ns = now;
	if (now < gate->next_ns || emit(ctx, event)) {
		gate->suppressed++;
		return;
	}
	gate->next_ns = now + (is_of_flood(kind) ? PH_LIMIT_EVENT_INTERVAL_NS :
						   PH_LIMIT_NEW_INTERVAL_NS);
}

#endif
