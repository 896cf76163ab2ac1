/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Addresses: 16 bytes in network order, of which IPv4 takes the mapped ones (RFC 4291). */
#ifndef PHANTOM_IP_H
#define PHANTOM_IP_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

static __always_inline void map_ip4(__u8 *to, __be32 ip)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ip;
}

static __always_inline __be32 ip4_of(const __u8 *mapped)
{
	return ((const __u32 *)mapped)[3];
}

static __always_inline void copy_ip(__u8 *to, const void *from)
{
	__u32 *words = (__u32 *)to;
	const __u32 *source = from;

	words[0] = source[0];
	words[1] = source[1];
	words[2] = source[2];
	words[3] = source[3];
}

static __always_inline bool is_same_ip(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	/* One branch: each more doubles what the verifier has to follow. */
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

#endif
