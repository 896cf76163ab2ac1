/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What senders are told of packets that are too long (RFC 792, RFC 1191, RFC 4443). */
#ifndef PHANTOM_RELAY_ICMP_H
#define PHANTOM_RELAY_ICMP_H

#include "contract/relay.h"
#include "lib/csum.h"
#include "relay/frame.h"

#define RELAY_DF 0x4000

/* What the ICMP message about a packet that is too long is written as. */
struct relay_icmp4 {
	struct ethernet eth;
	__be16 ip[10];
	__be16 icmp[4];
	__be16 quoted[14];		/* its IP header and the first 8 bytes behind it */
};

struct relay_icmp6 {
	struct ethernet eth;
	__be16 ip[20];
	__be16 icmp[4];
	__be16 quoted[24];		/* its IPv6 and UDP headers */
};

/* When the next message may be sent, by any CPU. */
static __u64 relay_icmp_next_ns;

static __always_inline void relay_answer_link(struct ethernet *to, const struct ethernet *from)
{
	for (int i = 0; i < 3; i++) {
		to->address[i] = from->address[3 + i];
		to->address[3 + i] = from->address[i];
	}
	to->proto = from->proto;
}

/* RFC 792 with RFC 1191: fragmentation needed, to whoever sent the packet. */
static __always_inline void relay_write_icmp4(struct relay_icmp4 *to, __u32 mtu)
{
	const struct ethernet *was = (void *)to + 28;

	relay_answer_link(&to->eth, was);
	to->ip[0] = bpf_htons(0x4500);
	to->ip[1] = bpf_htons(sizeof(*to) - ETH_HLEN);
	to->ip[2] = 0;
	to->ip[3] = 0;
	to->ip[4] = bpf_htons(64 << 8 | IPPROTO_ICMP);
	to->ip[5] = 0;
	for (int i = 0; i < 2; i++) {
		to->ip[6 + i] = to->quoted[8 + i];
		to->ip[8 + i] = to->quoted[6 + i];
	}
	to->ip[5] = ~csum_fold(csum_words(to->ip, sizeof(to->ip)));
	to->icmp[0] = bpf_htons(3 << 8 | 4);
	to->icmp[1] = 0;
	to->icmp[2] = 0;
	to->icmp[3] = bpf_htons(mtu);
	to->icmp[1] = ~csum_fold(csum_words(to->icmp, sizeof(to->icmp)) +
				  csum_words(to->quoted, sizeof(to->quoted)));
}

/* RFC 4443: packet too big. */
static __always_inline void relay_write_icmp6(struct relay_icmp6 *to, __u32 mtu)
{
	const struct ethernet *was = (void *)to + 48;
	const __u32 length = sizeof(to->icmp) + sizeof(to->quoted);

	relay_answer_link(&to->eth, was);
	to->ip[0] = bpf_htons(0x6000);
	to->ip[1] = 0;
	to->ip[2] = bpf_htons(length);
	to->ip[3] = bpf_htons(IPPROTO_ICMPV6 << 8 | 64);
	for (int i = 0; i < 8; i++) {
		to->ip[4 + i] = to->quoted[12 + i];
		to->ip[12 + i] = to->quoted[4 + i];
	}
	to->icmp[0] = bpf_htons(2 << 8);
	to->icmp[1] = 0;
	to->icmp[2] = 0;
	to->icmp[3] = bpf_htons(mtu);
	to->icmp[1] = ~csum_fold(csum_words(to->ip + 4, 32) + bpf_htons(length) +
				  bpf_htons(IPPROTO_ICMPV6) +
				  csum_words(to->icmp, sizeof(to->icmp)) +
				  csum_words(to->quoted, sizeof(to->quoted)));
}

/*
 * Turns a packet that is longer than the next hop takes into the message that says so. Answers an
 * XDP action. An IPv4 packet that may be sent in parts passes: user space sends it so.
 */
__noinline int relay_tell_too_long(struct xdp_md *ctx, __u32 mtu)
{
	struct plain view;
	__u32 grows, bytes;
	__u64 now;
	void *data, *end;
	bool is_ip4;

	if (!relay_enabled || !relay_headers(ctx, &view))
		return XDP_PASS;
	bytes = ctx->data_end - ctx->data;
	is_ip4 = view.ip4;
	if (is_ip4 && !(view.ip4->frag_off & bpf_htons(RELAY_DF)))
		return relay_pass(PH_RELAY_OUTCOME_TOO_LONG, bytes);
	now = bpf_ktime_get_ns();
	if (now < relay_icmp_next_ns)
		return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	relay_icmp_next_ns = now + PH_RELAY_LIMIT_ICMP_INTERVAL_NS;
	grows = is_ip4 ? 28 : 48;
	if (bpf_xdp_adjust_head(ctx, -(int)grows))
		return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	bytes += grows;
	if (bpf_xdp_adjust_tail(ctx, (int)(is_ip4 ? sizeof(struct relay_icmp4) :
					   sizeof(struct relay_icmp6)) - (int)bytes))
		return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (is_ip4) {
		if (data + sizeof(struct relay_icmp4) > end)
			return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
		relay_write_icmp4(data, mtu);
	} else {
		if (data + sizeof(struct relay_icmp6) > end)
			return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
		relay_write_icmp6(data, mtu);
	}
	relay_count(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	return XDP_TX;
}

#endif
