/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What of a frame the relay looks at, and how it counts what it does with one. */
#ifndef PHANTOM_RELAY_FRAME_H
#define PHANTOM_RELAY_FRAME_H

#include "contract/relay.h"
#include "lib/ip.h"
#include "lib/parse.h"
#include "maps/relay.h"

#define RELAY_NOT_OURS (-1)		/* carry on as if there were no relay */
#define RELAY_NO_SERVICE (-1 - PH_RELAY_OUTCOME_COUNT)	/* of relay_resolve: the same */

/* Set before loading: without relays the verifier removes all this, and loading takes no longer. */
const volatile __u32 relay_enabled = 1;

static __always_inline void relay_count(__u32 outcome, __u32 bytes)
{
	struct ph_stat *stat = bpf_map_lookup_elem(&relay_counts, &outcome);

	if (!stat)
		return;
	stat->packets++;
	stat->bytes += bytes;
}

static __always_inline int relay_drop(__u32 outcome, __u32 bytes)
{
	relay_count(outcome, bytes);
	return XDP_DROP;
}

static __always_inline int relay_pass(__u32 outcome, __u32 bytes)
{
	relay_count(outcome, bytes);
	return XDP_PASS;
}

/* Answers whether the frame is in the only arrangement that the relay knows. */
static __always_inline bool relay_headers(struct xdp_md *ctx, struct plain *view)
{
	struct cursor at = cursor_of(ctx);

	return plain_headers(&at, view);
}

static __always_inline void relay_key_of(const struct plain *view, struct ph_relay_key *key)
{
	if (view->ip4) {
		map_ip4(key->src_ip, view->ip4->saddr);
		map_ip4(key->dst_ip, view->ip4->daddr);
	} else {
		copy_ip(key->src_ip, &view->ip6->saddr);
		copy_ip(key->dst_ip, &view->ip6->daddr);
	}
	key->src_port = view->udp->source;
	key->dst_port = view->udp->dest;
}

#endif
