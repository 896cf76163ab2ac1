/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * SipHash-2-4 as packet headers need it (docs/PROTOCOL.md §2): the hashes of a packet begin with
 * the same 16 bytes, its sample, and share the state after them. Inline and unrolled: a call would
 * cost as much as a third of one. There is no rotate among BPF's instructions; the JIT makes three
 * of each.
 */
#ifndef PHANTOM_SIPHASH_H
#define PHANTOM_SIPHASH_H

#include <linux/types.h>

struct sip {
	__u64 v0, v1, v2, v3;
};

#define SIP_ROTATE(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = SIP_ROTATE(s->v1, 13) ^ s->v0;
	s->v3 = SIP_ROTATE(s->v3, 16) ^ s->v2;
	s->v0 = SIP_ROTATE(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = SIP_ROTATE(s->v1, 17) ^ s->v2;
	s->v3 = SIP_ROTATE(s->v3, 21) ^ s->v0;
	s->v2 = SIP_ROTATE(s->v2, 32);
}

static __always_inline void sip_take(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* The state after 16 bytes: two words, little-endian as they lie in the packet. */
static __always_inline struct sip sip_begin(__u64 k0, __u64 k1, __u64 first, __u64 second)
{
	struct sip s = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
			 k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };

	sip_take(&s, first);
	sip_take(&s, second);
	return s;
}

/* The hash, by the last word: what is left of the bytes, and above them how many all are. */
static __always_inline __u64 sip_end(struct sip s, __u64 last)
{
	sip_take(&s, last);
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
