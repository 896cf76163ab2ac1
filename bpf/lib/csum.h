/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Internet checksums (RFC 1071), and what they become when a part changes (RFC 1624). Words are
 * summed up as they lie in memory: the sum is right in either byte order.
 */
#ifndef PHANTOM_CSUM_H
#define PHANTOM_CSUM_H

#include <linux/ip.h>
#include "contract/common.h"
#include "lib/cursor.h"

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The sum of up to 128 KiB, an even number of bytes, not yet folded. */
static __always_inline __u32 csum_words(const void *from, __u32 bytes)
{
	const __u16 *words = from;
	__u32 sum = 0;

	for (__u32 i = 0; i < bytes / 2; i++)
		sum += words[i];
	return sum;
}

/* A checksum after a change whose sum is `delta`. */
static __always_inline __u16 csum_changed(__u16 check, __u16 delta)
{
	return ~csum_fold((__u32)(__u16)~check + delta);
}

/* The sum of an IPv4 header's options: `words` of 4 bytes from data + offset. */
__noinline int csum_options(CONTEXT *ctx, __u32 offset, __u32 words)
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
 * Whether an IPv4 header's own checksum is right. That of UDP is not looked at: only the stack
 * knows what the card has verified already, and between machines of one host it may only be begun.
 */
static __always_inline bool is_ip4_sum_right(CONTEXT *ctx, const struct iphdr *ip)
{
	const void *data = (const void *)(long)ctx->data;
	const __u32 *words = (const __u32 *)ip;
	__u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + words[4];

	if (ip->ihl > 5)
		sum += csum_options(ctx, (const void *)ip - data + sizeof(*ip), ip->ihl - 5);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

#endif
