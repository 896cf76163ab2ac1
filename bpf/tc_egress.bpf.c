// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Counts what leaves: packets from one of our ports, into the entry of the session that they
 * answer. It never makes an entry, changes nothing and decides nothing.
 *
 * The frames of our own sockets have no options or extension headers. What has some (or is a
 * later fragment, or has its headers outside the linear part) is not counted.
 */
#define SKB_PROGRAMS
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/ip.h"
#include "lib/parse.h"
#include "maps/ports.h"
#include "maps/sessions.h"

/* On with the next program, or with what the qdisc would do without one. */
#define TC_NEXT (-1)

/* The key of the session that a datagram answers: its own the other way round. */
static __always_inline void fill_key(struct ph_session_key *key, const struct plain *frame)
{
	if (frame->ip4) {
		map_ip4(key->src_ip, frame->ip4->daddr);
		map_ip4(key->dst_ip, frame->ip4->saddr);
		key->family = 4;
	} else {
		copy_ip(key->src_ip, &frame->ip6->daddr);
		copy_ip(key->dst_ip, &frame->ip6->saddr);
		key->family = 6;
	}
	key->src_port = frame->udp->dest;
	key->dst_port = frame->udp->source;
	key->protocol = IPPROTO_UDP;
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
	__u32 packets = skb->gso_segs > 1 ? skb->gso_segs : 1;
	struct cursor at = cursor_of(skb);
	struct ph_session_value *value;
	struct ph_session_key key = {};
	struct plain frame;

	if (!plain_headers(&at, &frame) || !is_plain_udp(&frame))
		return TC_NEXT;
	fill_key(&key, &frame);
	if (!is_ours(key.dst_port))
		return TC_NEXT;
	value = bpf_map_lookup_elem(&sessions, &key);
	if (!value)
		return TC_NEXT;
	value->packets_out += packets;
	/* The card, or the stack, puts the headers in front of each segment. */
	value->bytes_out += skb->len + (packets - 1) * ((void *)(frame.udp + 1) - at.data);
	return TC_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
