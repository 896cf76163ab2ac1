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
#include "event.h"
#include "maps.h"
#include "unmask.h"

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, PH_LIMIT_WORKERS);
} workers SEC(".maps");

/* The worker that a session id names, or -1. */
static __always_inline int owner_of(__u64 shown, const struct ph_config *settings)
{
	__u32 kind = SHOWN_KIND(shown);
	__u32 owner = bpf_ntohl(SHOWN_SESSION(shown)) & settings->owner_mask;

	if (kind != PH_PACKET_KIND_DATA && kind != PH_PACKET_KIND_MAX)
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

SEC("socket")
int drop_junk(struct __sk_buff *skb)
{
	const struct ph_config *settings = get_config();
	struct masked packet;
	__u64 shown;

	/*
	 * What GRO has joined goes to user space, which looks at each: one piece of junk in front,
	 * sent with a forged address, would else take the packets behind it along.
	 */
	if (!settings || !(settings->flags & PH_CONFIG_FLAG_FILTER) || skb->gso_segs > 1)
		return skb->len;
	if (bpf_skb_load_bytes(skb, sizeof(struct udphdr), &packet, sizeof(packet))) {
		count(PH_VERDICT_DROP, PH_REASON_SHORT, skb->len);
		return 0;
	}
	shown = unmask(&packet, settings, clock_ns());
	if (shown != SHOWN_JUNK)
		return skb->len;
	count(PH_VERDICT_DROP, PH_REASON_JUNK, skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
