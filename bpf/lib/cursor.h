/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Where a frame lies, for programs of XDP and for those behind it, which get a socket buffer: the
 * same parser reads both. An object has one kind of them, and says which by SKB_PROGRAMS in front
 * of its includes: functions that are not inlined name their context's type, and the verifier
 * wants that of the program that calls.
 */
#ifndef PHANTOM_CURSOR_H
#define PHANTOM_CURSOR_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef SKB_PROGRAMS
#define CONTEXT struct __sk_buff
#else
#define CONTEXT struct xdp_md
#endif

struct cursor {
	CONTEXT *ctx;
	void *data;
	void *end;			/* of what can be read */
	__u32 bytes;			/* of the frame, where some of it lies elsewhere, else 0 */
};

static __always_inline struct cursor cursor_of(CONTEXT *ctx)
{
	struct cursor at = {
		.ctx = ctx,
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};
#ifdef SKB_PROGRAMS
	/* Headers are in front; what is carried may be in pages of its own. */
	at.bytes = ctx->len;
#endif
	return at;
}

/* Whether the frame goes on for so many bytes, which may lie where they can't be read. */
static __always_inline bool reaches(const struct cursor *at, const void *from, __u64 bytes)
{
	if (!at->bytes)
		return from + bytes <= (const void *)at->end;
	return from - (const void *)at->data + bytes <= at->bytes;
}

#endif
