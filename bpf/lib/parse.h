/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Ethernet → VLAN tags → IPv4 or IPv6 with extension headers → what they carry.
 *
 * parse_packet() answers 0 with the packet filled in, or PARSE_STOP(ph_reason): why there is no
 * such header to look at. parse_udp() is the same with UDP's own header. plain_headers() is for
 * those who only care for frames of the usual arrangement, as all of our own are. Addresses and
 * ports stay in network byte order and nothing is written to the frame. Every loop has a bound
 * that the contract names.
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
#include "contract/common.h"
#include "lib/cursor.h"

#define PARSE_STOP(reason) (-1 - (int)(reason))
#define PARSE_REASON(stop) ((__u32)(-1 - (stop)))

/* What a packet may carry, for who asks for anything; 255 is reserved (RFC 3692). */
#define PROTOCOL_ANY 255
#define IPV4_FRAGMENT 0x3fff		/* more-fragments bit and offset */
#define IPV4_LATER_FRAGMENT 0x1fff	/* offset */
#define IPV6_EXT_FRAGMENT 44
#define IPV6_EXT_AUTH 51

struct packet {
	const void *ip;			/* struct iphdr or struct ipv6hdr */
	union {
		const void *carried;	/* may lie behind the end of what can be read */
		const struct udphdr *udp;
	};
	__u32 family;			/* 4 or 6 */
	__u32 protocol;			/* IPPROTO_* of what it carries */
	__u32 room;			/* bytes the IP header leaves for that */
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
__noinline int parse_vlan(CONTEXT *ctx)
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

static __always_inline int parse_ipv4(const struct cursor *at, __u32 offset, __u32 wanted,
				      struct packet *pkt)
{
	const void *pos = at->data + offset;
	const struct iphdr *ip = pos;
	__u32 header, total;

	if ((const void *)(ip + 1) > at->end || ip->version != 4 || ip->ihl < 5)
		return PARSE_STOP(PH_REASON_BAD_IP);
	header = ip->ihl * 4;
	total = length_of(ip->tot_len);
	/* A frame may be longer than its packet (Ethernet pads to 60), never shorter. */
	if (total < header || !reaches(at, pos, total))
		return PARSE_STOP(PH_REASON_BAD_IP);
	pkt->ip = ip;
	pkt->family = 4;
	pkt->protocol = ip->protocol;
	if (wanted != PROTOCOL_ANY && ip->protocol != wanted)
		return PARSE_STOP(PH_REASON_NOT_UDP);
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT))
		return PARSE_STOP(PH_REASON_FRAGMENT);
	pkt->carried = pos + header;
	pkt->room = total - header;
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
 * what comes behind them << 16 | their bytes.
 */
__noinline int parse_ipv6_extensions(CONTEXT *ctx, __u32 offset, __u32 room, __u32 next,
				     __u32 wanted)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	__u32 start = offset;

	for (int i = 0; next != wanted; i++) {
		const struct ipv6_ext *ext;
		int length;

		if (!ipv6_is_extension(next)) {
			if (wanted == PROTOCOL_ANY)
				break;
			return PARSE_STOP(PH_REASON_NOT_UDP);
		}
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
	return (next & 0xff) << 16 | (offset - start);
}

static __always_inline int parse_ipv6(const struct cursor *at, __u32 offset, __u32 wanted,
				      struct packet *pkt)
{
	const struct ipv6hdr *ip = at->data + offset;
	int extensions = 0;
	__u32 room;

	if ((const void *)(ip + 1) > at->end || ip->version != 6)
		return PARSE_STOP(PH_REASON_BAD_IP);
	room = length_of(ip->payload_len);
	offset += sizeof(*ip);
	if (!reaches(at, at->data + offset, room))
		return PARSE_STOP(PH_REASON_BAD_IP);
	pkt->ip = ip;
	pkt->family = 6;
	pkt->protocol = ip->nexthdr;
	if (ip->nexthdr != wanted &&
	    (wanted != PROTOCOL_ANY || ipv6_is_extension(ip->nexthdr))) {
		extensions = parse_ipv6_extensions(at->ctx, offset, room, ip->nexthdr, wanted);
		if (extensions < 0)
			return extensions;
		pkt->protocol = (__u32)extensions >> 16;
		extensions &= PH_LIMIT_HEADER_OFFSET;
	}
	pkt->carried = at->data + offset + extensions;
	pkt->room = room - extensions;
	return 0;
}

/*
 * A packet that carries `wanted`, which others are told apart from by PH_REASON_NOT_UDP, or
 * PROTOCOL_ANY. That there is room for a header of it is for the caller to find out. Where the IP
 * header is sound and there is another reason to stop, `ip` and `family` are filled in.
 */
static __always_inline int parse_packet(const struct cursor *at, __u32 wanted, struct packet *pkt)
{
	const struct ethernet *eth = at->data;
	__u32 offset = sizeof(*eth);
	__be16 proto;

	if ((const void *)(eth + 1) > at->end)
		return PARSE_STOP(PH_REASON_BAD_ETHERNET);
	proto = eth->proto;
	if (is_vlan(proto)) {
		int tagged = parse_vlan(at->ctx);

		if (tagged < 0)
			return tagged;
		proto = tagged >> 15;
		offset = tagged & 0x1f;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(at, offset, wanted, pkt);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(at, offset, wanted, pkt);
	return PARSE_STOP(PH_REASON_NOT_IP);
}

static __always_inline int parse_udp(const struct cursor *at, struct packet *pkt)
{
	int stop = parse_packet(at, IPPROTO_UDP, pkt);

	if (stop)
		return stop;
	if ((const void *)(pkt->udp + 1) > at->end || pkt->room < sizeof(*pkt->udp))
		return PARSE_STOP(PH_REASON_BAD_IP);
	return 0;
}

/* The headers of a frame of the usual arrangement, to be read and written. */
struct plain {
	struct ethernet *eth;
	struct iphdr *ip4;
	struct ipv6hdr *ip6;		/* one of the two is set */
	struct udphdr *udp;
};

/*
 * Whether the frame is of the usual arrangement: no tag, no option, no extension header. No more
 * than that: whether it is UDP over IPv4, and whole, parse_udp or is_plain_udp says.
 */
static __always_inline bool plain_headers(const struct cursor *at, struct plain *headers)
{
	void *ip = at->data + sizeof(struct ethernet);

	headers->eth = at->data;
	headers->ip4 = NULL;
	headers->ip6 = NULL;
	if (ip + sizeof(struct iphdr) + sizeof(struct udphdr) > at->end)
		return false;
	if (headers->eth->proto == bpf_htons(ETH_P_IP)) {
		headers->ip4 = ip;
		headers->udp = ip + sizeof(struct iphdr);
		return headers->ip4->ihl == 5;
	}
	if (ip + sizeof(struct ipv6hdr) + sizeof(struct udphdr) > at->end)
		return false;
	if (headers->eth->proto != bpf_htons(ETH_P_IPV6))
		return false;
	headers->ip6 = ip;
	headers->udp = ip + sizeof(struct ipv6hdr);
	return headers->ip6->nexthdr == IPPROTO_UDP;
}

/* Whether plain headers are those of a datagram, or of the first part of one. */
static __always_inline bool is_plain_udp(const struct plain *headers)
{
	const struct iphdr *ip = headers->ip4;

	if (!ip)
		return headers->ip6->version == 6;
	return ip->version == 4 && ip->protocol == IPPROTO_UDP &&
		!(ip->frag_off & bpf_htons(IPV4_LATER_FRAGMENT));
}

/*
 * Every way through the parser leaves the verifier with other bounds of the same pointers, and it
 * would look at all that follows once for each of them. A difference of pointers is a number of
 * which it knows nothing; with the pointers made anew from that, one look does.
 */
static __always_inline bool forget_way(CONTEXT *ctx, struct packet *pkt)
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
