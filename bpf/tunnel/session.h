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
#include <linux/errno.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/bucket.h"
#include "lib/ip.h"
#include "lib/parse.h"
#include "maps/rates.h"
#include "maps/salts.h"
#include "maps/sessions.h"
#include "tunnel/front.h"

static __always_inline void fill_key(struct ph_session_key *key, const struct packet *pkt)
{
	if (pkt->family == 4) {
		const struct iphdr *ip = pkt->ip;

		map_ip4(key->src_ip, ip->saddr);
		map_ip4(key->dst_ip, ip->daddr);
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

/*
 * Notes a HELLO's salt, by its hash; whether it has come often enough. What is refused changes
 * nothing, and so a flood of one HELLO pushes no other out.
 */
static __always_inline bool is_repeated(__u64 hash)
{
	const __u64 turn = 1ull << 56;
	struct ph_salt salt = { hash + (PH_TUNNEL_LIMIT_SALT_TURNS - 1) * turn };
	__u32 none = 0;

	if (bpf_map_lookup_elem(&salts, &salt))
		return true;
	salt.hash = hash;
#pragma unroll
	for (int i = 0; i < PH_TUNNEL_LIMIT_SALT_TURNS; i++, salt.hash += turn) {
		/* Also where there is no room for it. */
		if (bpf_map_update_elem(&salts, &salt, &none, BPF_NOEXIST) != -EEXIST)
			return false;
	}
	return true;
}

/*
 * Why a HELLO is refused, or PH_REASON_SESSION. A recorded one, which anybody can send from any
 * source, uses up nobody's limit; and the source's own limit spares that of all.
 */
static __noinline int admit_hello(const struct ph_session_key *key,
				  const struct ph_config *settings, __u64 now, __u64 salt)
{
	__u32 zero = 0;
	struct ph_source_value *source;
	struct ph_total *total;

	if (is_repeated(salt))
		return PH_REASON_HELLO_REPEATED;
	if (settings->hello_source_cost_ns) {
		source = find_source(key);
		if (source &&
		    !bucket_take(&source->hello_ns, now, settings->hello_source_cost_ns,
				 settings->hello_source_room_ns))
			return PH_REASON_HELLO_SOURCE_LIMIT;
	}
	if (settings->hello_total_cost_ns) {
		total = bpf_map_lookup_elem(&totals, &zero);
		if (total &&
		    !bucket_take(&total->hello_ns, now, settings->hello_total_cost_ns,
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

		if (source &&
		    !bucket_take(&source->new_ns, now, settings->new_source_cost_ns,
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
