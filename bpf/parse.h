/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Ethernet → VLAN tags → IPv4 or IPv6 with extension headers → UDP.
 *
 * parse_udp() answers 0 with the packet filled in, or PARSE_STOP(ph_reason): why this frame has
 * no UDP header to look at. Addresses and ports stay in network byte order and nothing is
 * written to the frame. Every loop has a bound that phantom.h names.
 *
 * The usual frame (no tag, no options, no extension header) takes a straight line. What is rare
 * is a global function, which the verifier checks once and not again for every way that leads
 * there: with all of it inline, loading took 140 ms instead of 1.
 */
#ifndef PHANTOM_PARSE_H
#define PHANTOM_PARSE_H

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "phantom.h"

#define PARSE_STOP(reason) (-1 - (int)(reason))
#define PARSE_REASON(stop) ((__u32)(-1 - (stop)))

#define IPV4_FRAGMENT 0x3fff		/* more-fragments bit and offset */
#define IPV6_EXT_FRAGMENT 44
#define IPV6_EXT_AUTH 51

struct packet {
	const void *ip;			/* struct iphdr or struct ipv6hdr */
	const struct udphdr *udp;
	__u32 family;			/* 4 or 6 */
	__u32 udp_room;			/* bytes the IP header leaves for UDP and its data */
};

/* Not struct ethhdr: that is packed, and clang would read its EtherType byte by byte. */
struct ethernet {
	__u16 address[6];
	__be16 proto;
};

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

struct ipv6_ext {
	__u8 next;
	__u8 len;			/* in units of 8 (AUTH: 4), the first 8 bytes not counted */
	__be16 fragment;		/* fragment header only: offset and more-fragments bit */
	__be32 rest;
};

/*
 * A length to add to a pointer. Of what a swap of bytes gives, the verifier knows nothing before
 * 6.14, and refuses the sum; clang knows it, and would leave out any other mask.
 */
static __always_inline __u64 length_of(__be16 be_length)
{
	__u64 length = bpf_ntohs(be_length);

	asm("%0 &= 0xffff" : "+r"(length));
	return length;
}

static __always_inline bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* Behind the tags of a tagged frame: EtherType << 15 | offset of what follows. */
__noinline int parse_vlan(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const struct vlan_tag *tag = data + sizeof(struct ethernet);
	__u32 offset = sizeof(struct ethernet);

	for (int i = 0; i < PH_LIMIT_VLAN_TAGS; i++, tag++) {
		if ((const void *)(tag + 1) > end)
			return PARSE_STOP(PH_REASON_BAD_ETHERNET);
		offset += sizeof(*tag);
		if (!is_vlan(tag->proto))
			return (__u32)tag->proto << 15 | offset;
	}
	return PARSE_STOP(PH_REASON_TOO_DEEP);
}

static __always_inline int parse_ipv4(const void *pos, const void *end, struct packet *pkt)
{
	const struct iphdr *ip = pos;
	__u32 header, total;

	if ((const void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return PARSE_STOP(PH_REASON_BAD_IP);
	header = ip->ihl * 4;
	total = length_of(ip->tot_len);
	/* A frame may be longer than its packet (Ethernet pads to 60), never shorter. */
	if (total < header || pos + total > end)
		return PARSE_STOP(PH_REASON_BAD_IP);
	if (ip->protocol != IPPROTO_UDP)
		return PARSE_STOP(PH_REASON_NOT_UDP);
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT))
		return PARSE_STOP(PH_REASON_FRAGMENT);
	pkt->ip = ip;
	pkt->family = 4;
	pkt->udp = pos + header;
	pkt->udp_room = total - header;
	return 0;
}

static __always_inline bool ipv6_is_extension(__u32 type)
{
	return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS ||
		type == IPV6_EXT_FRAGMENT || type == IPV6_EXT_AUTH;
}

/* One extension header: its length in bytes, or why to stop. */
static __always_inline int ipv6_ext_length(__u32 type, const struct ipv6_ext *ext)
{
	if (type == IPV6_EXT_AUTH)
		return (ext->len + 2) * 4;
	if (type != IPV6_EXT_FRAGMENT)
		return (ext->len + 1) * 8;
	/* An atomic fragment (RFC 6946: offset 0, no more) is a whole packet. */
	if (ext->fragment & bpf_htons(0xfff9))
		return PARSE_STOP(PH_REASON_FRAGMENT);
	return 8;
}

/*
 * Walks the extension headers from data + offset, of which `room` bytes belong to the packet:
 * the bytes up to the UDP header.
 */
__noinline int parse_ipv6_extensions(struct xdp_md *ctx, __u32 offset, __u32 room, __u32 next)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	__u32 start = offset;

	for (int i = 0; next != IPPROTO_UDP; i++) {
		const struct ipv6_ext *ext;
		int length;

		if (!ipv6_is_extension(next))
			return PARSE_STOP(PH_REASON_NOT_UDP);
		/* Without the barrier clang checks one copy of the number and uses another. */
		barrier_var(offset);
		if (i == PH_LIMIT_IPV6_EXTENSIONS || offset > PH_LIMIT_HEADER_OFFSET)
			return PARSE_STOP(PH_REASON_TOO_DEEP);
		ext = data + offset;
		if ((const void *)(ext + 1) > end || room < sizeof(*ext))
			return PARSE_STOP(PH_REASON_BAD_IP);
		length = ipv6_ext_length(next, ext);
		if (length < 0)
			return length;
		if ((__u32)length > room)
			return PARSE_STOP(PH_REASON_BAD_IP);
		room -= length;
		offset += length;
		next = ext->next;
	}
	if (offset > PH_LIMIT_HEADER_OFFSET)
		return PARSE_STOP(PH_REASON_TOO_DEEP);
	return offset - start;
}

static __always_inline int parse_ipv6(struct xdp_md *ctx, __u32 offset, struct packet *pkt)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const struct ipv6hdr *ip = data + offset;
	int extensions = 0;
	__u32 room;

	if ((const void *)(ip + 1) > end || ip->version != 6)
		return PARSE_STOP(PH_REASON_BAD_IP);
	room = length_of(ip->payload_len);
	offset += sizeof(*ip);
	if (data + offset + room > end)
		return PARSE_STOP(PH_REASON_BAD_IP);
	if (ip->nexthdr != IPPROTO_UDP) {
		extensions = parse_ipv6_extensions(ctx, offset, room, ip->nexthdr);
		if (extensions < 0)
			return extensions;
		extensions &= PH_LIMIT_HEADER_OFFSET;
	}
	pkt->ip = ip;
	pkt->family = 6;
	pkt->udp = data + offset + extensions;
	pkt->udp_room = room - extensions;
	return 0;
}

static __always_inline int parse_udp(struct xdp_md *ctx, struct packet *pkt)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethernet *eth = data;
	__u32 offset = sizeof(*eth);
	__be16 proto;
	int stop;

	if ((const void *)(eth + 1) > end)
		return PARSE_STOP(PH_REASON_BAD_ETHERNET);
	proto = eth->proto;
	if (is_vlan(proto)) {
		int tagged = parse_vlan(ctx);

		if (tagged < 0)
			return tagged;
		proto = tagged >> 15;
		offset = tagged & 0x1f;
	}
	if (proto == bpf_htons(ETH_P_IP))
		stop = parse_ipv4(data + offset, end, pkt);
	else if (proto == bpf_htons(ETH_P_IPV6))
		stop = parse_ipv6(ctx, offset, pkt);
	else
		return PARSE_STOP(PH_REASON_NOT_IP);
	if (stop)
		return stop;
	if ((const void *)(pkt->udp + 1) > end || pkt->udp_room < sizeof(*pkt->udp))
		return PARSE_STOP(PH_REASON_BAD_IP);
	return 0;
}

/* The sum of an IPv4 header's options: `words` of 4 bytes from data + offset. */
__noinline int sum_options(struct xdp_md *ctx, __u32 offset, __u32 words)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const __u16 *half = data + (offset & PH_LIMIT_HEADER_OFFSET);
	__u32 sum = 0;

	for (__u32 i = 0; i < 2 * PH_LIMIT_IPV4_OPTION_WORDS; i++, half++) {
		if (i == 2 * words || (const void *)(half + 1) > end)
			break;
		sum += *half;
	}
	return sum;
}

/*
 * Whether the header's own checksum is right. That of UDP is not looked at: only the stack knows
 * what the card has verified already, and between machines of one host it may only be begun.
 */
static __always_inline bool is_ipv4_sum_right(struct xdp_md *ctx, const struct packet *pkt)
{
	const void *data = (const void *)(long)ctx->data;
	const struct iphdr *ip = pkt->ip;
	const __u32 *words = pkt->ip;
	__u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];

	if (ip->ihl > 5)
		sum += sum_options(ctx, pkt->ip - data + sizeof(*ip), ip->ihl - 5);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

/*
 * Every way through the parser leaves the verifier with other bounds of the same pointers, and it
 * would look at all that follows once for each of them. A difference of pointers is a number of
 * which it knows nothing; with the pointers made anew from that, one look does.
 */
static __always_inline bool forget_way(struct xdp_md *ctx, struct packet *pkt)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	__u64 ip = pkt->ip - data;
	__u64 udp = (const void *)pkt->udp - data;

	barrier_var(ip);
	barrier_var(udp);
	ip &= 0xfff;
	udp &= 0xfff;
	pkt->ip = data + ip;
	pkt->udp = data + udp;
	return (const void *)(pkt->udp + 1) <= end &&
		pkt->ip + (pkt->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) <= end;
}

#endif
