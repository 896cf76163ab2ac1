// SPDX-License-Identifier: MIT
/* Ethernet frames with one UDP datagram: taken apart and put together. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>

#include "addr.h"
#include "xsk_frame.h"

#define TTL 64
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_FRAGMENT 0x3fff		/* more-fragments bit and offset */

/* Two lanes of 64 bits: what every x86-64 and arm64 has. */
typedef uint64_t lanes __attribute__((vector_size(16)));

/* ---- checksums: sums of 16-bit words in the byte order of memory (RFC 1071) ---- */

static uint32_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

static uint64_t sum_words(const uint8_t *bytes, uint32_t length)
{
	uint64_t sum = 0;
	uint16_t word;

	for (; length >= 2; length -= 2, bytes += 2) {
		memcpy(&word, bytes, 2);
		sum += word;
	}
	if (length) {
		word = 0;
		memcpy(&word, bytes, 1);
		sum += word;
	}
	return sum;
}

/* Copies and sums at once: the bytes are touched one time. */
static uint64_t copy_and_sum(uint8_t *to, const uint8_t *from, uint32_t length)
{
	const lanes low = { 0xffffffff, 0xffffffff };
	lanes even = { 0, 0 }, odd = { 0, 0 };
	uint64_t sum;

	for (; length >= sizeof(lanes); length -= sizeof(lanes)) {
		lanes part;

		memcpy(&part, from, sizeof(part));
		memcpy(to, &part, sizeof(part));
		even += part & low;
		odd += part >> 32;
		from += sizeof(part);
		to += sizeof(part);
	}
	memcpy(to, from, length);
	even += odd;
	sum = even[0] + even[1];
	/* Below 2^45 for the longest datagram, so nothing is lost. */
	return sum + sum_words(from, length);
}

/* ---- taking apart ---- */

static bool parse_ipv4(const uint8_t *at, uint32_t room, struct frame_datagram *datagram,
		       uint32_t *udp_room)
{
	struct iphdr ip;
	uint32_t total;

	if (room < sizeof(ip))
		return false;
	memcpy(&ip, at, sizeof(ip));
	total = ntohs(ip.tot_len);
	if (ip.version != 4 || ip.ihl != 5 || ip.protocol != IPPROTO_UDP ||
	    ip.frag_off & htons(IPV4_FRAGMENT) || total < sizeof(ip) || total > room ||
	    fold(sum_words(at, sizeof(ip))) != 0xffff)
		return false;
	addr_map_v4(datagram->route.peer.ip, (const struct in_addr *)(at + 12));
	addr_map_v4(datagram->route.local.ip, (const struct in_addr *)(at + 16));
	*udp_room = total - (uint32_t)sizeof(ip);
	datagram->offset = ETH_HLEN + sizeof(ip);
	return true;
}

static bool parse_ipv6(const uint8_t *at, uint32_t room, struct frame_datagram *datagram,
		       uint32_t *udp_room)
{
	struct ipv6hdr ip;

	if (room < sizeof(ip))
		return false;
	memcpy(&ip, at, sizeof(ip));
	*udp_room = ntohs(ip.payload_len);
	if (ip.version != 6 || ip.nexthdr != IPPROTO_UDP || *udp_room > room - sizeof(ip))
		return false;
	memcpy(datagram->route.peer.ip, &ip.saddr, 16);
	memcpy(datagram->route.local.ip, &ip.daddr, 16);
	datagram->offset = ETH_HLEN + sizeof(ip);
	return true;
}

bool frame_parse(const uint8_t *frame, uint32_t frame_len, uint16_t port,
		 struct frame_datagram *datagram)
{
	const uint8_t *at = frame + ETH_HLEN;
	struct udphdr udp;
	uint32_t udp_room, length;
	uint16_t proto;
	bool ok;

	if (frame_len < ETH_HLEN + sizeof(struct iphdr) + sizeof(udp))
		return false;
	memset(&datagram->route, 0, sizeof(datagram->route));
	memcpy(datagram->ends.to, frame, ETH_ALEN);
	memcpy(datagram->ends.from, frame + ETH_ALEN, ETH_ALEN);
	memcpy(&proto, frame + 2 * ETH_ALEN, sizeof(proto));
	if (proto == htons(ETH_P_IP))
		ok = parse_ipv4(at, frame_len - ETH_HLEN, datagram, &udp_room);
	else
		ok = proto == htons(ETH_P_IPV6) &&
		     parse_ipv6(at, frame_len - ETH_HLEN, datagram, &udp_room);
	if (!ok || udp_room < sizeof(udp))
		return false;
	memcpy(&udp, frame + datagram->offset, sizeof(udp));
	length = ntohs(udp.len);
	/* No answer goes to port 0, nor to many. */
	if (length < sizeof(udp) || length > udp_room || udp.dest != port || !udp.source)
		return false;
	datagram->route.peer.port = ntohs(udp.source);
	datagram->offset += sizeof(udp);
	datagram->length = length - (uint32_t)sizeof(udp);
	return true;
}

/* ---- putting together ---- */

static uint32_t begin_ipv4(struct frame_header *header, const struct ph_udp_msg *route)
{
	uint8_t *at = header->bytes + ETH_HLEN;
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.frag_off = htons(IPV4_DONT_FRAGMENT),
		.ttl = TTL,
		.protocol = IPPROTO_UDP,
	};

	memcpy(at, &ip, sizeof(ip));
	memcpy(at + 12, route->local.ip + 12, 4);
	memcpy(at + 16, route->peer.ip + 12, 4);
	header->ip_sum = (uint32_t)sum_words(at, sizeof(ip));
	header->udp_sum = (uint32_t)sum_words(at + 12, 8);
	return sizeof(ip);
}

static uint32_t begin_ipv6(struct frame_header *header, const struct ph_udp_msg *route)
{
	uint8_t *at = header->bytes + ETH_HLEN;
	struct ipv6hdr ip = {
		.version = 6,
		.nexthdr = IPPROTO_UDP,
		.hop_limit = TTL,
	};

	memcpy(at, &ip, sizeof(ip));
	memcpy(at + 8, route->local.ip, 16);
	memcpy(at + 24, route->peer.ip, 16);
	header->udp_sum = (uint32_t)sum_words(at + 8, 32);
	return sizeof(ip);
}

void frame_begin(struct frame_header *header, const struct ph_udp_msg *route,
		 const struct frame_ends *came, uint16_t port)
{
	bool ipv4 = addr_is_mapped(route->peer.ip);
	struct udphdr udp = { .source = port, .dest = htons(route->peer.port) };
	uint16_t proto = htons(ipv4 ? ETH_P_IP : ETH_P_IPV6);

	memset(header, 0, sizeof(*header));
	memcpy(header->bytes, came->from, ETH_ALEN);
	memcpy(header->bytes + ETH_ALEN, came->to, ETH_ALEN);
	memcpy(header->bytes + 2 * ETH_ALEN, &proto, sizeof(proto));
	header->length = ETH_HLEN;
	header->length += ipv4 ? begin_ipv4(header, route) : begin_ipv6(header, route);
	memcpy(header->bytes + header->length, &udp, sizeof(udp));
	header->length += (uint32_t)sizeof(udp);
	header->udp_sum += (uint32_t)udp.source + udp.dest + htons(IPPROTO_UDP);
}

uint32_t frame_build(uint8_t *frame, const struct frame_header *header, const uint8_t *payload,
		     uint32_t length)
{
	uint32_t udp_at = header->length - (uint32_t)sizeof(struct udphdr);
	uint16_t udp_len = htons((uint16_t)(length + sizeof(struct udphdr)));
	uint8_t *ip = frame + ETH_HLEN;
	uint64_t sum;
	uint16_t word;

	memcpy(frame, header->bytes, header->length);
	if (header->ip_sum) {
		word = htons((uint16_t)(header->length - ETH_HLEN + length));
		memcpy(ip + 2, &word, 2);
		word = (uint16_t)~fold((uint64_t)header->ip_sum + word);
		memcpy(ip + 10, &word, 2);
	} else {
		memcpy(ip + 4, &udp_len, 2);
	}
	memcpy(frame + udp_at + 4, &udp_len, 2);
	sum = copy_and_sum(frame + header->length, payload, length);
	/* The length counts twice: in the pseudo header, and in UDP's own. */
	word = (uint16_t)~fold(sum + header->udp_sum + 2 * (uint64_t)udp_len);
	/* 0 would say that there is none. */
	if (!word)
		word = 0xffff;
	memcpy(frame + udp_at + 6, &word, 2);
	return header->length + length;
}
