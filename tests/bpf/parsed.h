/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* lib/parse.h alone: what it finds in a frame, as a number, for XDP and for socket buffers. */
#ifndef PARSED_H
#define PARSED_H

#include "lib/parse.h"

/* family << 24 | protocol << 16 | offset of what is carried, or PARSE_STOP(ph_reason) */
static __always_inline int parsed(CONTEXT *ctx, __u32 wanted)
{
	struct cursor at = cursor_of(ctx);
	struct packet pkt = {};
	int stop = wanted == IPPROTO_UDP ? parse_udp(&at, &pkt) : parse_packet(&at, wanted, &pkt);

	if (stop)
		return stop;
	return pkt.family << 24 | pkt.protocol << 16 | (__u32)(pkt.carried - at.data);
}

#endif
