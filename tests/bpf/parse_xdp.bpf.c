// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The parser in XDP programs. */
#include "parsed.h"

SEC("xdp")
int any(struct xdp_md *ctx)
{
	return parsed(ctx, PROTOCOL_ANY);
}

SEC("xdp")
int tcp(struct xdp_md *ctx)
{
	return parsed(ctx, IPPROTO_TCP);
}

SEC("xdp")
int udp(struct xdp_md *ctx)
{
	return parsed(ctx, IPPROTO_UDP);
}

char LICENSE[] SEC("license") = "GPL";
