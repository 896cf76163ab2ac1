// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Counts what leaves: packets from one of our ports, into the entry of the session that they
 * answer. It never makes an entry, changes nothing and decides nothing.
 *
 * The frames of our own sockets have no options or extension headers. What has some (or is a
 * later fragment, or has its headers outside the linear part) is not counted.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "phantom.h"

/* On with the next program, or with what the qdisc would do without one. */
#define TC_NEXT (-1)
#define IPV4_PLAIN 0x45
#define IPV4_LATER_FRAGMENT 0x1fff

/* What a session's key is, the other way round. */
static __always_inline const struct udphdr *read_ipv4(const void *at, const void *end,
						      struct ph_session_key *key)
{
	const struct iphdr *ip = at;
	__u32 *words = (__u32 *)key;

	if ((const void *)(ip + 1) > end || *(const __u8 *)at != IPV4_PLAIN ||
	    ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(IPV4_LATER_FRAGMENT))
		return NULL;
	words[2] = bpf_htonl(0xffff);
	words[3] = ip->daddr;
	words[6] = bpf_htonl(0xffff);
	words[7] = ip->saddr;
	key->family = 4;
	return (const void *)(ip + 1);
}

static __always_inline const struct udphdr *read_ipv6(const void *at, const void *end,
						      struct ph_session_key *key)
{
	const struct ipv6hdr *ip = at;

	if ((const void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
		return NULL;
	__builtin_memcpy(key->src_ip, &ip->daddr, 16);
	__builtin_memcpy(key->dst_ip, &ip->saddr, 16);
	key->family = 6;
	return (const void *)(ip + 1);
}

static __always_inline bool is_ours(__be16 be_port)
{
	__u32 port = bpf_ntohs(be_port);
	__u32 index = port / 64;
	const struct ph_listen_word *word = bpf_map_lookup_elem(&listen_ports, &index);

	return word && (word->ports >> (port % 64) & 1);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	const void *data = (const void *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	const void *ip = data + ETH_HLEN;
	struct ph_session_value *value;
	struct ph_session_key key = {};
	const struct udphdr *udp;
	__u32 packets = skb->gso_segs > 1 ? skb->gso_segs : 1;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		udp = read_ipv4(ip, end, &key);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		udp = read_ipv6(ip, end, &key);
	else
		return TC_NEXT;
	if (!udp || (const void *)(udp + 1) > end || !is_ours(udp->source))
		return TC_NEXT;
	key.src_port = udp->dest;
	key.dst_port = udp->source;
	key.protocol = IPPROTO_UDP;
	value = bpf_map_lookup_elem(&sessions, &key);
	if (!value)
		return TC_NEXT;
	value->packets_out += packets;
	/* The card, or the stack, puts the headers in front of each segment. */
	value->bytes_out += skb->len + (packets - 1) * ((const void *)(udp + 1) - data);
	return TC_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
