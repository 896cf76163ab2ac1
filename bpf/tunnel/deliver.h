/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A packet that is ours, to the AF_XDP socket of its queue, past the network stack. It passes into
 * the stack, and so to the workers' UDP sockets, when there is none, when the session is another
 * worker's than the queue, and when the frame has more in it than AF_XDP's readers look for: VLAN
 * tags, IP options, extension headers, several datagrams joined into one.
 */
#ifndef PHANTOM_DELIVER_H
#define PHANTOM_DELIVER_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/parse.h"
#include "maps/delivery.h"

/* Set before loading; where it is 0 the verifier removes it all, and `xsks` need not be there. */
const volatile __u32 af_xdp_enabled = 1;

/* Of a packet whose header has not been shown. */
#define KIND_UNSEEN 0

/* Ethernet, the shortest IP header, UDP. */
static __always_inline bool is_plain(struct xdp_md *ctx, const struct packet *pkt)
{
	__u64 offset = (const void *)pkt->udp - (const void *)(long)ctx->data;

	/* Longer is what GSO joined, which generic XDP sees whole. */
	return ctx->data_end - ctx->data <= PH_TUNNEL_LIMIT_XSK_FRAME_BYTES &&
		offset == sizeof(struct ethernet) +
			 (pkt->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* The session of a HELLO is 0. */
static __always_inline int deliver(struct xdp_md *ctx, const struct packet *pkt, __u64 session,
				   __u32 kind)
{
	__u32 zero = 0, queue = ctx->rx_queue_index, owner;
	const struct ph_delivery *to;

	if (!af_xdp_enabled)
		return XDP_PASS;
	to = bpf_map_lookup_elem(&delivery, &zero);
	if (!to || to->ifindex != ctx->ingress_ifindex || pkt->udp->dest != to->port ||
	    !is_plain(ctx, pkt))
		return XDP_PASS;
	if (kind == PH_PACKET_KIND_HELLO) {
		if (!(to->flags & PH_DELIVERY_FLAG_HELLOS))
			return XDP_PASS;
	} else if (to->workers != 1) {
		owner = session & to->owner_mask;
		if (kind == KIND_UNSEEN || !to->workers || owner != queue % to->workers)
			return XDP_PASS;
	}
	/* Without a socket there: XDP_PASS. */
	return bpf_redirect_map(&xsks, queue, XDP_PASS);
}

#endif
