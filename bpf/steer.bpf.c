// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * On the sockets of the workers: which of them gets a packet, and that junk gets to none.
 *
 * `steer` (SK_REUSEPORT) reads the session id, whose lowest bits say which worker's it is, and so
 * a client that changes its address reaches its worker with the first packet. What has no such id
 * (a HELLO), junk, and all packets while there are no keys go where the kernel's hash says.
 *
 * `drop_junk` (a socket filter) is for where no XDP program has done so before. Not by the
 * verdict of `steer`: to the stack that means that there is no socket, and it would answer with
 * an ICMP message.
 */
#include <linux/bpf.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/stats.h"
#include "tunnel/unmask.h"

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, PH_TUNNEL_LIMIT_WORKERS);
} workers SEC(".maps");

/* The worker that a session id names, or -1. */
static __always_inline int owner_of(__u64 shown, const struct ph_config *settings)
{
	__u32 kind = SHOWN_KIND(shown);
	__u32 owner = SHOWN_SESSION(shown) & settings->owner_mask;

	if (kind != PH_PACKET_KIND_DATA0 && kind != PH_PACKET_KIND_DATA1)
		return -1;
	return owner < settings->workers ? (int)owner : -1;
}

SEC("sk_reuseport")
int steer(struct sk_reuseport_md *md)
{
	const struct ph_config *settings = get_config();
	struct masked packet;
	__u32 worker;
	int owner;

	if (!settings || settings->workers < 2 ||
	    bpf_skb_load_bytes(md, sizeof(struct udphdr), &packet, sizeof(packet)))
		return SK_PASS;
	owner = owner_of(unmask(&packet, settings, clock_ns()), settings);
	if (owner < 0)
		return SK_PASS;
	worker = owner;
	/* A worker that is gone: whoever is left says RESET to the client. */
	bpf_sk_select_reuseport(md, &workers, &worker, 0);
	return SK_PASS;
}

/* Why a datagram is to be dropped, or -1. Global: the verifier looks at it once. */
__noinline int refuse(struct __sk_buff *skb, __u32 offset)
{
	const struct ph_config *settings = get_config();
	struct masked packet;

	if (!settings)
		return -1;
	if (bpf_skb_load_bytes(skb, offset, &packet, sizeof(packet)))
		return PH_REASON_SHORT;
	return unmask(&packet, settings, clock_ns()) == SHOWN_JUNK ? PH_REASON_JUNK : -1;
}

/*
 * What GRO has joined is kept as soon as one of it is no junk: packets that only share a forged
 * address with junk must not go with it.
 */
SEC("socket")
int drop_junk(struct __sk_buff *skb)
{
	const struct ph_config *settings = get_config();
	__u32 segments = skb->gso_segs > 1 ? skb->gso_segs : 1;
	__u32 offset = sizeof(struct udphdr);
	__u32 size = skb->gso_size;
	int reason = -1;

	if (!settings || !(settings->flags & PH_CONFIG_FLAG_FILTER) ||
	    segments > PH_TUNNEL_LIMIT_SEGMENTS)
		return skb->len;
	for (__u32 i = 0; i < PH_TUNNEL_LIMIT_SEGMENTS; i++, offset += size) {
		if (i == segments)
			break;
		reason = refuse(skb, offset);
		if (reason < 0)
			return skb->len;
	}
	if (reason < 0)
		return skb->len;
	count_frames(PH_VERDICT_DROP, reason, segments, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
