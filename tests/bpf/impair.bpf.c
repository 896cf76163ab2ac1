// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A bad line: loses, doubles and delays packets by chance, on their way out of an interface.
 *
 * Late packets take a detour through another pair of interfaces, whose queue holds them up, and
 * overtaken they come back.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Of 1024 packets each. */
const volatile __u32 drop_share;
const volatile __u32 copy_share;
const volatile __u32 late_share;
const volatile __u32 detour_ifindex;

/* The mark of a packet that had its turn; smaller ones are interfaces. */
#define SETTLED 0x70680000

static __u64 dropped;
static __u64 copied;
static __u64 delayed;

static __always_inline int happens(__u32 share)
{
	return (bpf_get_prandom_u32() & 1023) < share;
}

/* At egress. */
SEC("tc")
int impair(struct __sk_buff *skb)
{
	/* Neighbours are found on a good line: their timeouts are not what is tested. */
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_OK;
	if (skb->mark == SETTLED)
		return TC_ACT_OK;
	if (happens(drop_share)) {
		__sync_fetch_and_add(&dropped, 1);
		return TC_ACT_SHOT;
	}
	skb->mark = SETTLED;
	if (happens(copy_share)) {
		__sync_fetch_and_add(&copied, 1);
		bpf_clone_redirect(skb, skb->ifindex, 0);
	}
	if (detour_ifindex && happens(late_share)) {
		__sync_fetch_and_add(&delayed, 1);
		skb->mark = skb->ifindex;
		return bpf_redirect(detour_ifindex, 0);
	}
	return TC_ACT_OK;
}

/* At ingress of the detour's end. */
SEC("tc")
int rejoin(struct __sk_buff *skb)
{
	__u32 out = skb->mark;

	skb->mark = SETTLED;
	return bpf_redirect(out, 0);
}

char LICENSE[] SEC("license") = "GPL";
