/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What stands in front of the table of sessions: a slot for each that this CPU has just seen.
 *
 * A look into the table is three calls deep, and where returns are mitigated they cost more than
 * all the rest of the program. A slot is found by arithmetic. It holds what its session has
 * brought in this clock tick; the first packet of another tick, or of another session that wants
 * the slot, has that written to the table, and so does the sweep of user space.
 */
#ifndef PHANTOM_FRONT_H
#define PHANTOM_FRONT_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "maps/front.h"
#include "maps/sessions.h"

static __always_inline struct ph_front *find_front(const struct ph_session_key *key)
{
	__u32 mixed = *(const __u32 *)(key->src_ip + 12) ^ *(const __u32 *)&key->src_port;
	__u32 index = bpf_get_smp_processor_id() * PH_TUNNEL_LIMIT_FRONT_SLOTS;

	index += (mixed * 0x9e3779b1u >> 16) & (PH_TUNNEL_LIMIT_FRONT_SLOTS - 1);
	return bpf_map_lookup_elem(&front, &index);
}

static __always_inline bool is_same(const struct ph_session_key *a, const struct ph_session_key *b)
{
	const __u64 *x = (const __u64 *)a;
	const __u64 *y = (const __u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/* Writes what a slot holds into its entry, where there still is one. */
static __always_inline void flush_front(struct ph_front *slot)
{
	struct ph_session_value *value;
	struct ph_session_key key = slot->key;

	if (!slot->packets)
		return;
	value = bpf_map_lookup_elem(&sessions, &key);
	if (value) {
		value->packets_in += slot->packets;
		value->bytes_in += slot->bytes;
		if (value->state != PH_SESSION_STATE_CLOSING && value->last_seen_ns < slot->tick_ns)
			value->last_seen_ns = slot->tick_ns;
	}
	slot->packets = 0;
	slot->bytes = 0;
}

/* Takes the slot, if its session has not been heard of in this tick. */
static __always_inline void claim_front(const struct ph_session_key *key, __u64 now)
{
	struct ph_front *slot = find_front(key);

	if (!slot || slot->tick_ns == now)
		return;
	flush_front(slot);
	slot->key = *key;
	slot->tick_ns = now;
}

#endif
