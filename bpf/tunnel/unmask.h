/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Tells junk from packets, and shows the headers of these: under the keys of the present window,
 * the one before and the one after.
 *
 * Which window is the present one follows from the kernel's own clock and the begin that stands
 * with each key, so a control plane that stands still loses nothing as long as there are keys.
 * Junk costs a SipHash a window, a packet of the present window one and a half. For the others
 * both neighbours are computed before either is looked at: they do not depend on each other, and
 * a CPU runs them side by side.
 */
#ifndef PHANTOM_UNMASK_H
#define PHANTOM_UNMASK_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/clock.h"
#include "lib/siphash.h"
#include "maps/config.h"
#include "maps/keys.h"

#define WINDOW_NS (PH_TUNNEL_LIMIT_WINDOW_MS * 1000000ull)

/* Bytes 0 to 6 shown, as they lie in memory: session (big-endian), kind; above them zero. */
#define SHOWN_SESSION(shown) (__builtin_bswap64(shown) >> 16)
#define SHOWN_KIND(shown) ((__u32)((shown) >> 48))
#define SHOWN_JUNK 0ull
/* What hid them: a keyed hash of the sample, and so of a HELLO's salt. */
#define MASK_OF(packet, shown) LOW_BYTES((packet)->header ^ (shown), 7)
/* No key is for now: its kind is none. */
#define SHOWN_NO_KEYS (~0ull)

#define LOW_BYTES(word, count) ((word) & ((1ull << 8 * (count)) - 1))
/* A hash's last word, of a message of so many bytes. */
#define LAST_WORD(word, bytes) ((word) | (__u64)(bytes) << 56)
/* From a client: XDP meets no packets but those. */
#define DIRECTION 0ull
#define CHECK_BYTE (4 + DIRECTION)

/* The words of a packet that unmasking looks at. */
struct masked {
	__u64 header;			/* session 6, kind, first byte of check */
	__u64 rest;			/* two more of check, number 6 */
	__u64 sample[2];
};

static __always_inline bool is_present(const struct ph_mask_key *key, __u64 now)
{
	return key->window && now - key->begin_ns < WINDOW_NS;
}

/* The place of the key of now, or -1. Global, so that the verifier looks at it once. */
__noinline int find_present(__u64 now)
{
	for (__u32 i = 0; i < PH_TUNNEL_LIMIT_MASK_KEYS; i++) {
		__u32 place = i;
		const struct ph_mask_key *key = bpf_map_lookup_elem(&mask_keys, &place);

		if (key && is_present(key, now))
			return i;
	}
	return -1;
}

static __always_inline struct sip sample_with(const struct ph_mask_key *key,
					      const struct masked *packet)
{
	return sip_begin(key->k0, key->k1, packet->sample[0], packet->sample[1]);
}

/* Whether `check` is what belongs to the wire's other bytes, by the state after the sample. */
static __always_inline bool is_sealed(struct sip sampled, const struct masked *packet)
{
	__u64 check = packet->header >> 56 | LOW_BYTES(packet->rest, 2) << 8;
	__u64 hash;

	sip_take(&sampled, LOW_BYTES(packet->header, 7) | CHECK_BYTE << 56);
	hash = sip_end(sampled, LAST_WORD(packet->rest >> 16, 30));
	return !LOW_BYTES(hash ^ check, 3);
}

/* The header of a sealed packet, or SHOWN_JUNK for a kind that no client sends. */
static __always_inline __u64 show(struct sip sampled, const struct masked *packet)
{
	__u64 shown = LOW_BYTES(packet->header ^ sip_end(sampled, LAST_WORD(DIRECTION, 17)), 7);
	__u32 kind = SHOWN_KIND(shown);

	if (kind == PH_PACKET_KIND_HELLO || kind == PH_PACKET_KIND_DATA0 ||
	    kind == PH_PACKET_KIND_DATA1)
		return shown;
	return SHOWN_JUNK;
}

static __always_inline const struct ph_mask_key *neighbour(__u32 place, __u64 window)
{
	const struct ph_mask_key *key;

	place &= PH_TUNNEL_LIMIT_MASK_KEYS - 1;
	key = bpf_map_lookup_elem(&mask_keys, &place);
	return key && key->window == window ? key : NULL;
}

/* A packet of another window than the present one. */
static __always_inline __u64 show_neighbours(const struct masked *packet, __u32 place,
					     const struct ph_mask_key *present)
{
	const struct ph_mask_key *before = neighbour(place - 1, present->window - 1);
	const struct ph_mask_key *after = neighbour(place + 1, present->window + 1);
	struct sip sampled_before, sampled_after;
	bool is_before, is_after;

	sampled_before = sample_with(before ? before : present, packet);
	sampled_after = sample_with(after ? after : present, packet);
	is_before = is_sealed(sampled_before, packet);
	is_after = is_sealed(sampled_after, packet);
	if (is_before)
		return show(sampled_before, packet);
	return is_after ? show(sampled_after, packet) : SHOWN_JUNK;
}

/* The header shown, SHOWN_JUNK or SHOWN_NO_KEYS. */
static __always_inline __u64 unmask(const struct masked *packet, const struct ph_config *settings,
				    __u64 now)
{
	__u32 place = settings->present & (PH_TUNNEL_LIMIT_MASK_KEYS - 1);
	const struct ph_mask_key *key = bpf_map_lookup_elem(&mask_keys, &place);
	struct sip sampled;

	if (!key || !is_present(key, now)) {
		int found = find_present(now);

		if (found < 0)
			return SHOWN_NO_KEYS;
		place = found & (PH_TUNNEL_LIMIT_MASK_KEYS - 1);
		key = bpf_map_lookup_elem(&mask_keys, &place);
		if (!key)
			return SHOWN_NO_KEYS;
	}
	sampled = sample_with(key, packet);
	if (is_sealed(sampled, packet))
		return show(sampled, packet);
	return show_neighbours(packet, place, key);
}

static __always_inline const struct ph_config *get_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

#endif
