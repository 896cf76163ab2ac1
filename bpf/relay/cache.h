/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Ways of the flows that a CPU has seen last, found without a call. */
#ifndef PHANTOM_RELAY_CACHE_H
#define PHANTOM_RELAY_CACHE_H

#include "maps/relay.h"
#include "relay/backend.h"
#include "relay/frame.h"
#include "relay/way.h"

/* Entries of relay_cache, less one. */
const volatile __u32 relay_cache_mask = 0;

static __always_inline struct ph_relay_cached *relay_cached_of(const struct ph_relay_key *key)
{
	const __u32 *words = (const __u32 *)key;
	__u32 hash = 0;

	for (int i = 0; i < 9; i++)
		hash = hash * 5 + words[i];
	hash *= RELAY_HASH_FACTOR;
	hash = (hash >> 16) & relay_cache_mask;
	return bpf_map_lookup_elem(&relay_cache, &hash);
}

static __always_inline bool relay_is_same_key(const struct ph_relay_key *a,
					      const struct ph_relay_key *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;
	__u32 differ = 0;

	for (int i = 0; i < 9; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

/* Hands what a cached way has counted to the flow that it is of. */
static __always_inline void relay_settle(struct ph_relay_cached *cached)
{
	struct ph_relay_way *way;

	if (!cached->way.packets)
		return;
	way = bpf_map_lookup_elem(&relay_flows, &cached->key);
	if (way) {
		__sync_fetch_and_add(&way->packets, cached->way.packets);
		__sync_fetch_and_add(&way->bytes, cached->way.bytes);
	}
	cached->way.packets = 0;
	cached->way.bytes = 0;
}

static __always_inline bool relay_is_fresh(const struct ph_relay_way *way,
					   const struct ph_relay_config *config)
{
	return way->generation == config->generation && bpf_jiffies64() <= way->fresh_until;
}

/*
 * Puts the frame's way into the cache, made or brought up to date where it has to be. Answers 0
 * or minus an outcome.
 */
static __always_inline int relay_look_up(struct xdp_md *ctx, const struct ph_relay_key *key,
					 struct ph_relay_cached *cached, bool is_return)
{
	struct ph_relay_config *config;
	struct ph_relay_way *way;
	__u32 zero = 0;
	int result;

	config = bpf_map_lookup_elem(&relay_config, &zero);
	if (!config)
		return RELAY_NO_SERVICE;
	relay_settle(cached);
	way = bpf_map_lookup_elem(&relay_flows, key);
	if (!way || !relay_is_fresh(way, config)) {
		result = way ? 0 : relay_admits(ctx);
		if (!result)
			result = relay_resolve(ctx, is_return);
		if (result)
			return result;
		way = bpf_map_lookup_elem(&relay_flows, key);
		if (!way)
			return -PH_RELAY_OUTCOME_NO_ROOM;
	}
	__builtin_memcpy(&cached->key, key, sizeof(*key));
	__builtin_memcpy(&cached->way, way, sizeof(*way));
	cached->way.packets = 0;
	cached->way.bytes = 0;
	return 0;
}

#endif
