/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Whether a packet is for us. The port alone does not say: another program may have it at another
 * address, the machine may forward packets to it, and whoever listened there may be gone.
 */
#ifndef PHANTOM_CLAIM_H
#define PHANTOM_CLAIM_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/clock.h"
#include "lib/ip.h"
#include "lib/parse.h"
#include "maps/claim.h"

static __always_inline const struct ph_claim *get_claim(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&claim, &zero);
}

/* Whether somebody has said lately that they are there. */
static __always_inline bool is_alive(const struct ph_claim *claimed)
{
	return claimed && clock_ns() < claimed->alive_until_ns;
}

static __always_inline bool is_among_all(const struct ph_claim *claimed, const struct packet *pkt)
{
	struct ph_own_address to;

	if (!(claimed->families >> pkt->family & 1))
		return false;
	if (pkt->family == 4)
		map_ip4(to.ip, ((const struct iphdr *)pkt->ip)->daddr);
	else
		copy_ip(to.ip, &((const struct ipv6hdr *)pkt->ip)->daddr);
	return bpf_map_lookup_elem(&own_addresses, &to);
}

static __always_inline bool is_among_first(const struct ph_claim *claimed,
					   const struct packet *pkt)
{
	if (pkt->family == 4) {
		__be32 to = ((const struct iphdr *)pkt->ip)->daddr;
#pragma unroll
		for (int i = 0; i < PH_TUNNEL_LIMIT_FIRST_ADDRESSES; i++) {
			if (claimed->first4[i] == to)
				return true;
		}
		return false;
	}
#pragma unroll
	for (int i = 0; i < PH_TUNNEL_LIMIT_FIRST_ADDRESSES; i++) {
		if (is_same_ip(claimed->first6[i].ip, &((const struct ipv6hdr *)pkt->ip)->daddr))
			return true;
	}
	return false;
}

/* Whether a packet's destination is an address that we listen at. */
static __always_inline bool is_claimed(const struct ph_claim *claimed, const struct packet *pkt)
{
	return is_among_first(claimed, pkt) || is_among_all(claimed, pkt);
}

#endif
