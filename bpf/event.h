/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Counters and events: what the programs tell user space. */
#ifndef PHANTOM_EVENT_H
#define PHANTOM_EVENT_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "phantom.h"

/* Set before loading (ebpf.enable_stats): where it is 0 the verifier removes the counting. */
const volatile __u32 stats_enabled = 1;
/* Set where the kernel has no ring buffers. */
const volatile __u32 events_by_perf;

static __always_inline void count(__u32 verdict, __u32 reason, __u32 bytes)
{
	__u32 index = verdict * PH_REASON_COUNT + reason;
	struct ph_stat *stat;

	if (!stats_enabled)
		return;
	stat = bpf_map_lookup_elem(&stats, &index);
	if (!stat)
		return;
	stat->packets++;
	stat->bytes += bytes;
}

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

/*
 * An event about who a session's key names. Not inline: the event would lie on the stack of all
 * callers, and before 6.13 there are 512 bytes for them and whom they call together.
 */
static __noinline int report_session(void *ctx, __u32 ifindex, __u32 kind, __u64 value,
				     const struct ph_session_key *key)
{
	struct ph_event event = {
		.kind = kind,
		.ifindex = ifindex,
		.src_port = key->src_port,
		.dst_port = key->dst_port,
		.protocol = key->protocol,
		.family = key->family,
		.value = value,
	};

	__builtin_memcpy(event.src_ip, key->src_ip, 16);
	__builtin_memcpy(event.dst_ip, key->dst_ip, 16);
	report(ctx, &event);
	return 0;
}

#endif
