/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The table of sessions, and how many packets a source may begin with.
 *
 * An entry is made for a packet that unmasks and for no other. One that the table has thrown out
 * comes back with the next packet: nothing that a packet needs is in it.
 */
#ifndef PHANTOM_SESSION_H
#define PHANTOM_SESSION_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "front.h"
#include "maps.h"
#include "parse.h"
#include "phantom.h"
#include "unmask.h"

static __always_inline void map_ipv4(__u8 *to, const __be32 *from)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = *from;
}

static __always_inline void fill_key(struct ph_session_key *key, const struct packet *pkt)
{
	if (pkt->family == 4) {
		const struct iphdr *ip = pkt->ip;

		map_ipv4(key->src_ip, &ip->saddr);
		map_ipv4(key->dst_ip, &ip->daddr);
	} else {
		const struct ipv6hdr *ip = pkt->ip;

		__builtin_memcpy(key->src_ip, &ip->saddr, 16);
		__builtin_memcpy(key->dst_ip, &ip->daddr, 16);
	}
	key->src_port = pkt->udp->source;
	key->dst_port = pkt->udp->dest;
	key->protocol = IPPROTO_UDP;
	key->family = pkt->family;
	key->pad[0] = 0;
	key->pad[1] = 0;
}

/*
 * A token bucket in one word: the time up to when its share is used up. Without a lock, so CPUs
 * that look at the same moment may each be let through: more by one packet a CPU, at most. What
 * they take is added up and never lost, so the rate over time is exact; only where a bucket that
 * was full is first touched by several CPUs at once may their shares but one be given away.
 */
static __always_inline bool take(__u64 *used, __u64 now, __u64 cost, __u64 room)
{
	__u64 full = now > room ? now - room : 0;
	__u64 until = *(volatile __u64 *)used;

	if (until < full) {
		*(volatile __u64 *)used = full;
		until = full;
	}
	if (until + cost > now)
		return false;
	__sync_fetch_and_add(used, cost);
	return true;
}

static __always_inline struct ph_source_value *find_source(const struct ph_session_key *key)
{
	struct ph_source_key source = { .family = key->family };
	const struct ph_source_value fresh = {};
	struct ph_source_value *value;

	if (key->family == 4)
		source.prefix = *(const __u32 *)(key->src_ip + 12);
	else
		source.prefix = *(const __u64 *)key->src_ip;
	value = bpf_map_lookup_elem(&sources, &source);
	if (value)
		return value;
	bpf_map_update_elem(&sources, &source, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sources, &source);
}

/* Why a HELLO is refused, or PH_REASON_SESSION. The source's own limit spares that of all. */
static __noinline int admit_hello(const struct ph_session_key *key,
				  const struct ph_config *settings, __u64 now)
{
	__u32 zero = 0;
	struct ph_source_value *source;
	struct ph_total *total;

	if (settings->hello_source_cost_ns) {
		source = find_source(key);
		if (source && !take(&source->hello_ns, now, settings->hello_source_cost_ns,
				    settings->hello_source_room_ns))
			return PH_REASON_HELLO_SOURCE_LIMIT;
	}
	if (settings->hello_total_cost_ns) {
		total = bpf_map_lookup_elem(&totals, &zero);
		if (total && !take(&total->hello_ns, now, settings->hello_total_cost_ns,
				   settings->hello_total_room_ns))
			return PH_REASON_HELLO_TOTAL_LIMIT;
	}
	return PH_REASON_SESSION;
}

/* What came in, in registers' worth: the kind above, the bytes below. */
#define SEEN(kind, bytes) ((__u64)(kind) << 32 | (bytes))
#define SEEN_KIND(seen) ((__u32)((seen) >> 32))
#define SEEN_BYTES(seen) ((__u32)(seen))

/* Makes an entry, unless its source has just made too many; PH_REASON_SESSION_NEW or _LIMIT. */
static __always_inline __u32 create_session(const struct ph_session_key *key,
					    const struct ph_config *settings, __u64 now,
					    __u64 seen)
{
	struct ph_session_value value = {
		.peer_port = key->src_port,
		.state = PH_SESSION_STATE_NEW,
		.flags = SEEN_KIND(seen) == PH_PACKET_KIND_HELLO ? PH_SESSION_FLAG_HELLO : 0,
		.family = key->family,
		.created_ns = now,
		.last_seen_ns = now,
		.bytes_in = SEEN_BYTES(seen),
		.packets_in = 1,
	};

	if (settings->new_source_cost_ns) {
		struct ph_source_value *source = find_source(key);

		if (source && !take(&source->new_ns, now, settings->new_source_cost_ns,
				    settings->new_source_room_ns))
			return PH_REASON_SESSION_LIMIT;
	}
	__builtin_memcpy(value.peer_ip, key->src_ip, 16);
	/* The other CPU that was faster has counted a packet, and this one is not worth a loop. */
	if (bpf_map_update_elem(&sessions, key, &value, BPF_NOEXIST))
		return PH_REASON_SESSION;
	return PH_REASON_SESSION_NEW;
}

/* Counts a packet in the table itself; PH_REASON_SESSION, _NEW or _LIMIT. */
static __noinline int note_in_table(const struct ph_session_key *key,
				    const struct ph_config *settings, __u64 now, __u64 seen)
{
	struct ph_session_value *value = bpf_map_lookup_elem(&sessions, key);
	__u32 reason;

	if (!value) {
		reason = create_session(key, settings, now, seen);
		if (reason != PH_REASON_SESSION_LIMIT)
			claim_front(key, now);
		return reason;
	}
	claim_front(key, now);
	value->packets_in++;
	value->bytes_in += SEEN_BYTES(seen);
	if (value->state != PH_SESSION_STATE_CLOSING) {
		value->last_seen_ns = now;
	} else if (SEEN_KIND(seen) == PH_PACKET_KIND_HELLO) {
		/* What still comes does not keep it; who begins anew has another one. */
		value->last_seen_ns = now;
		value->state = PH_SESSION_STATE_NEW;
	}
	return PH_REASON_SESSION;
}

/* Counts a packet that came in; PH_REASON_SESSION, _NEW or _LIMIT. */
static __always_inline __u32 note_session(const struct ph_session_key *key,
					  const struct ph_config *settings, __u64 now, __u64 seen)
{
	struct ph_front *slot = find_front(key);

	if (slot && slot->tick_ns == now && is_same(&slot->key, key) &&
	    SEEN_KIND(seen) != PH_PACKET_KIND_HELLO) {
		slot->packets++;
		slot->bytes += SEEN_BYTES(seen);
		return PH_REASON_SESSION;
	}
	return note_in_table(key, settings, now, seen);
}

#endif
