/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The relay: a client's datagram to one of our relay ports goes on to a backend, from a port of
 * our own (full NAT), and what comes back to that port goes to the client.
 *
 *     client:c -> us:listen   becomes   us:nat -> backend:port
 *     backend:port -> us:nat  becomes   us:listen -> client:c
 *
 * Each direction of a flow is an entry of relay_flows, a "way": by what the packet says of itself,
 * what is to be written over it. The usual packet finds its way in a cache of its CPU, and costs
 * no call of a helper and two sums of two numbers.
 * A way is looked at again (relay_resolve, a function of its own) when a backend has changed
 * (generation) and from time to time (fresh_until), since routes and neighbours change too.
 *
 * A way towards a backend is used only while it is known that the way back is this client's: then
 * no port is ever shared. What can't be done in a straight line passes, and the relay in user
 * space, which listens on the same ports, does it.
 */
#ifndef PHANTOM_RELAY_RELAY_H
#define PHANTOM_RELAY_RELAY_H

#include "lib/csum.h"
#include "maps/relay.h"
#include "relay/backend.h"
#include "relay/cache.h"
#include "relay/complete.h"
#include "relay/frame.h"
#include "relay/icmp.h"

/* What of a frame decides about it. The way is chosen by these, before anything is written. */
struct relay_facts {
	__u32 bytes;			/* of the frame */
	__u32 total;			/* of the IP packet */
	__be16 length;
	__u16 check;
	__u8 hops;
	bool is_ip4;
};

/* Reads key and facts; answers false for a frame that is not of the usual arrangement. */
static __always_inline bool relay_read(struct xdp_md *ctx, struct ph_relay_key *key,
				       struct relay_facts *facts)
{
	struct plain view;

	if (!relay_headers(ctx, &view))
		return false;
	facts->bytes = ctx->data_end - ctx->data;
	facts->is_ip4 = view.ip4;
	relay_key_of(&view, key);
	facts->length = view.udp->len;
	facts->check = view.udp->check;
	if (view.ip4) {
		facts->total = bpf_ntohs(view.ip4->tot_len);
		facts->hops = view.ip4->ttl;
	} else {
		facts->total = sizeof(struct ipv6hdr) + bpf_ntohs(view.ip6->payload_len);
		facts->hops = view.ip6->hop_limit;
	}
	return true;
}

static __always_inline void relay_rewrite_udp(struct udphdr *udp, const struct ph_relay_way *way,
					      bool is_begun)
{
	udp->source = way->src_port;
	udp->dest = way->dst_port;
	if (is_begun) {
		/* The sum of the pseudo-header alone: addresses, and no hop less. */
		udp->check = csum_fold((__u32)udp->check +
					csum_fold((__u32)way->ip_delta + bpf_htons(0x0100)));
	} else if (udp->check) {
		__u16 check = csum_changed(udp->check, way->udp_delta);

		udp->check = check ? check : 0xffff;
	}
}

/* Writes over the frame what its way says. */
static __always_inline bool relay_rewrite(struct xdp_md *ctx, const struct ph_relay_way *way,
					  bool is_ip4, bool is_begun)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if (is_ip4) {
		struct iphdr *ip = data + ETH_HLEN;

		if (data + ETH_HLEN + sizeof(*ip) + sizeof(struct udphdr) > end)
			return false;
		ip->saddr = ip4_of(way->src_ip);
		ip->daddr = ip4_of(way->dst_ip);
		ip->ttl--;
		ip->check = csum_changed(ip->check, way->ip_delta);
		relay_rewrite_udp((struct udphdr *)(ip + 1), way, is_begun);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (data + ETH_HLEN + sizeof(*ip) + sizeof(struct udphdr) > end)
			return false;
		copy_ip((__u8 *)&ip->saddr, way->src_ip);
		copy_ip((__u8 *)&ip->daddr, way->dst_ip);
		ip->hop_limit--;
		relay_rewrite_udp((struct udphdr *)(ip + 1), way, is_begun);
	}
	__builtin_memcpy(data, way->dst_mac, 12);
	return true;
}

/* What becomes of a frame that has no way: of minus an outcome, an XDP action. */
static __always_inline int relay_refused(int result, __u32 bytes)
{
	__u32 outcome = -result;

	if (result <= RELAY_NO_SERVICE)
		return RELAY_NOT_OURS;
	if (outcome >= PH_RELAY_OUTCOME_BAD_UDP)
		return relay_drop(outcome, bytes);
	return relay_pass(outcome, bytes);
}

static __always_inline void relay_count_way(struct ph_relay_way *way, __u32 bytes, bool is_return)
{
	__u32 index = way->backend;
	struct ph_relay_traffic *traffic = bpf_map_lookup_elem(&relay_traffic, &index);

	way->packets++;
	way->bytes += bytes;
	if (traffic && is_return) {
		traffic->packets_in++;
		traffic->bytes_in += bytes;
	} else if (traffic) {
		traffic->packets_out++;
		traffic->bytes_out += bytes;
	}
}

/* Never RELAY_NOT_OURS: what the caller knows of the frame does not hold any more. */
static __always_inline int relay_too_long(struct xdp_md *ctx, __u32 mtu)
{
	int action = relay_tell_too_long(ctx, mtu);

	if (action == XDP_TX)
		return XDP_TX;
	return action == XDP_DROP ? XDP_DROP : XDP_PASS;
}

/* Whether a datagram's lengths agree, and it has the checksum that IPv6 wants. */
static __always_inline bool relay_is_sound(const struct relay_facts *facts, __u32 length,
					   const struct packet *pkt)
{
	return length >= sizeof(struct udphdr) && length <= pkt->room &&
		(facts->is_ip4 || facts->check);
}

/* What becomes of a frame whose way is known, by what is known of both: an XDP action. */
static __always_inline int relay_lead(struct xdp_md *ctx, const struct ph_relay_config *config,
				      struct ph_relay_way *way, const struct relay_facts *facts,
				      bool is_return)
{
	/* A checksum that its sender has only begun is the sum of the pseudo-header alone. */
	bool is_begun = facts->check == csum_fold((__u32)way->pseudo + facts->length);
	int result;

	if (facts->total > way->mtu) {
		/* Generic XDP sees what a sender on this machine leaves to be cut later (GSO). */
		if (is_begun && config->keeps_metadata)
			return relay_pass(PH_RELAY_OUTCOME_TOO_LONG, facts->bytes);
		return relay_too_long(ctx, way->mtu);
	}
	if (is_begun) {
		result = relay_complete_sum(ctx, way->pseudo, config->keeps_metadata);
		if (result < 0)
			return relay_refused(result, facts->bytes);
		is_begun = result;
		relay_count(PH_RELAY_OUTCOME_COMPLETED, facts->bytes);
	}
	if (!relay_rewrite(ctx, way, facts->is_ip4, is_begun))
		return RELAY_NOT_OURS;
	relay_count_way(way, facts->bytes, is_return);
	if (way->ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect_map(&relay_devices, way->ifindex, 0);
}

/* Answers an XDP action, or RELAY_NOT_OURS. */
static __always_inline int relay(struct xdp_md *ctx, const struct packet *pkt, bool is_return)
{
	struct ph_relay_cached *cached;
	struct ph_relay_config *config;
	struct relay_facts facts;
	struct ph_relay_key key;
	__u32 length, zero = 0;
	int result;

	config = bpf_map_lookup_elem(&relay_config, &zero);
	if (!config)
		return RELAY_NOT_OURS;
	if (!relay_read(ctx, &key, &facts)) {
		if (is_return)
			return RELAY_NOT_OURS;
		return relay_pass(PH_RELAY_OUTCOME_UNUSUAL, ctx->data_end - ctx->data);
	}
	cached = relay_cached_of(&key);
	if (!cached)
		return RELAY_NOT_OURS;
	length = bpf_ntohs(facts.length);
	if (!relay_is_same_key(&key, &cached->key) || !relay_is_fresh(&cached->way, config)) {
		if (is_return && !bpf_map_lookup_elem(&relay_flows, &key))
			return RELAY_NOT_OURS;
		if (!relay_is_sound(&facts, length, pkt)) {
			if (is_return || bpf_map_lookup_elem(&relay_flows, &key))
				return relay_drop(PH_RELAY_OUTCOME_BAD_UDP, facts.bytes);
			/* It may be for somebody else, whom the machine forwards it to. */
			return relay_pass(PH_RELAY_OUTCOME_UNUSUAL, facts.bytes);
		}
		result = relay_look_up(ctx, &key, cached, is_return);
		if (result)
			return relay_refused(result, facts.bytes);
	}
	if (!relay_is_sound(&facts, length, pkt))
		return relay_drop(PH_RELAY_OUTCOME_BAD_UDP, facts.bytes);
	if (cached->way.flags & PH_RELAY_FLAG_PHANTOM) {
		result = relay_unmasks(ctx);
		if (result)
			return relay_refused(result, facts.bytes);
	}
	if (facts.hops <= 1)
		return relay_drop(PH_RELAY_OUTCOME_NO_HOPS, facts.bytes);
	return relay_lead(ctx, config, &cached->way, &facts, is_return);
}

#endif
