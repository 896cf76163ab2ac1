/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Shows a packet's header under the keys of the present window, the one before and the one after.
 *
 * Which window is the present one follows from the kernel's own clock and the begin that stands
 * with each key, so a control plane that stands still loses nothing as long as there are keys. A
 * packet of the present window costs one SipHash. For the others both neighbours are computed
 * before either is looked at: they do not depend on each other, and a CPU runs them side by side.
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

/* The first 8 bytes shown, as they lie in memory: session (big-endian), kind, three of zero. */
#define SHOWN_SESSION(shown) ((__be32)(shown))
#define SHOWN_KIND(shown) ((__u32)((shown) >> 32))
#define SHOWN_JUNK 0ull
/* No key is for now: its kind is none. */
#define SHOWN_NO_KEYS (~0ull)

/* The words of a packet that unmasking looks at. */
struct masked {
	__u64 header;			/* bytes 0 to 7 */
	__u64 reserved;			/* bytes 8 to 15 */
	__u64 sample[2];		/* bytes 16 to 31 */
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

static __always_inline __u64 show_with(const struct ph_mask_key *key, const struct masked *packet)
{
	return packet->header ^
		siphash17(key->k0, key->k1, packet->sample[0], packet->sample[1], 0);
}

/* A known kind, and above it the three bytes of zero. */
static __always_inline bool is_sound(__u64 shown)
{
	return SHOWN_KIND(shown) - 1 < PH_PACKET_KIND_MAX;
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
	__u64 with_before = show_with(before ? before : present, packet);
	__u64 with_after = show_with(after ? after : present, packet);

	if (is_sound(with_before))
		return with_before;
	return is_sound(with_after) ? with_after : SHOWN_JUNK;
}

/* The header shown, SHOWN_JUNK or SHOWN_NO_KEYS. */
static __always_inline __u64 unmask(const struct masked *packet, const struct ph_config *settings,
				    __u64 now)
{
	__u32 place = settings->present & (PH_TUNNEL_LIMIT_MASK_KEYS - 1);
	const struct ph_mask_key *key = bpf_map_lookup_elem(&mask_keys, &place);
	__u64 shown;

	if (!key || !is_present(key, now)) {
		int found = find_present(now);

		if (found < 0)
			return SHOWN_NO_KEYS;
		place = found & (PH_TUNNEL_LIMIT_MASK_KEYS - 1);
		key = bpf_map_lookup_elem(&mask_keys, &place);
		if (!key)
			return SHOWN_NO_KEYS;
	}
	shown = show_with(key, packet);
	return is_sound(shown) ? shown : show_neighbours(packet, place, key);
}

static __always_inline const struct ph_config *get_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

#endif
