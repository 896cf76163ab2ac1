// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The parser in programs that get a socket buffer. */
#define SKB_PROGRAMS
#include "parsed.h"

SEC("tc")
int any(struct __sk_buff *ctx)
{
	return parsed(ctx, PROTOCOL_ANY);
}

SEC("tc")
int tcp(struct __sk_buff *ctx)
{
	return parsed(ctx, IPPROTO_TCP);
}

SEC("tc")
int udp(struct __sk_buff *ctx)
{
	return parsed(ctx, IPPROTO_UDP);
}

char LICENSE[] SEC("license") = "GPL";
