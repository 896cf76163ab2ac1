/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Which service a packet is for, and which of its backends gets it. */
#ifndef PHANTOM_RELAY_BACKEND_H
#define PHANTOM_RELAY_BACKEND_H

#include "maps/claim.h"
#include "maps/relay.h"
#include "relay/frame.h"
#include "tunnel/unmask.h"

#define RELAY_HASH_FACTOR 0x9e3779b1u

/* only: phantom. Answers 0 for what unmasks, else minus an outcome. Reads, and writes nothing. */
__noinline int relay_unmasks(struct xdp_md *ctx)
{
	const struct ph_config *settings = get_config();
	const struct masked *packet;
	struct plain view;
	__u64 shown;

	if (!relay_enabled || !settings || !relay_headers(ctx, &view))
		return -PH_RELAY_OUTCOME_UNUSUAL;
	packet = (const struct masked *)(view.udp + 1);
	if (bpf_ntohs(view.udp->len) < sizeof(*view.udp) + PH_TUNNEL_LIMIT_PACKET_BYTES ||
	    (const void *)(packet + 1) > (const void *)(long)ctx->data_end)
		return -PH_RELAY_OUTCOME_JUNK;
	shown = unmask(packet, settings, clock_ns());
	if (shown == SHOWN_NO_KEYS)
		return -PH_RELAY_OUTCOME_NO_KEYS;
	return shown == SHOWN_JUNK ? -PH_RELAY_OUTCOME_JUNK : 0;
}

static __always_inline __u32 relay_mixed(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * RELAY_HASH_FACTOR;
	return hash ^ hash >> 16;
}

/* Has to choose as clientHash of src/relay/maglev.ts does: tests/bpf/relay compares them. */
static __always_inline __u32 relay_hash(const struct ph_relay_key *key, bool by_port)
{
	const __u32 *words = (const __u32 *)key->src_ip;
	__u32 hash = 0;

	for (int i = 0; i < 4; i++)
		hash = relay_mixed(hash, words[i]);
	if (by_port)
		hash = relay_mixed(hash, key->src_port);
	return relay_mixed(hash, 0);
}

static __always_inline bool relay_is_backend(const struct ph_relay_backend *backend)
{
	return backend->state == PH_RELAY_BACKEND_STATE_UP ||
		backend->state == PH_RELAY_BACKEND_STATE_DRAINING;
}

static __always_inline struct ph_relay_backend *
relay_chosen(const struct ph_relay_service *service, const struct ph_relay_key *key, __u32 *index)
{
	__u32 hash = relay_hash(key, service->flags & PH_RELAY_FLAG_BY_PORT);
	struct ph_relay_backend *backend;
	struct ph_relay_places *places;
	__u32 place, entry;

	if (!service->table_size)
		return NULL;
	place = service->table + hash % service->table_size;
	entry = place / 4;
	places = bpf_map_lookup_elem(&relay_maglev, &entry);
	if (!places)
		return NULL;
	*index = places->backend[place % 4];
	backend = bpf_map_lookup_elem(&relay_backends, index);
	return backend && relay_is_backend(backend) ? backend : NULL;
}

/*
 * The service of an address and port: by the address, or else by any that is this machine's own
 * (which it has been once, where the flow is known). Answers its index or minus an outcome.
 */
static __always_inline int relay_service_of(const struct ph_relay_key *key, bool is_ip4,
					    bool is_known)
{
	struct ph_relay_listen listen = { .port = key->dst_port };
	__u32 *found;

	copy_ip(listen.ip, key->dst_ip);
	found = bpf_map_lookup_elem(&relay_listens, &listen);
	if (found)
		return *found & 0xffff;
	__builtin_memset(listen.ip, 0, sizeof(listen.ip));
	listen.family = is_ip4 ? 4 : 6;
	found = bpf_map_lookup_elem(&relay_listens, &listen);
	if (!found)
		return RELAY_NO_SERVICE;
	/* Not by a route: that an address has none looks the same as that it is our own. */
	if (!is_known && !bpf_map_lookup_elem(&own_addresses, key->dst_ip))
		return -PH_RELAY_OUTCOME_NOT_LOCAL;
	return *found & 0xffff;
}

/*
 * Whether a client's first packet may make a flow: 0, or minus an outcome. Not part of
 * relay_resolve, whose stack has no room for a SipHash.
 */
__noinline int relay_admits(struct xdp_md *ctx)
{
	struct ph_relay_service *service;
	struct plain view;
	struct ph_relay_key key;
	int index;

	if (!relay_enabled || !relay_headers(ctx, &view))
		return RELAY_NO_SERVICE;
	relay_key_of(&view, &key);
	index = relay_service_of(&key, view.ip4, false);
	if (index < 0)
		return index;
	service = bpf_map_lookup_elem(&relay_services, &index);
	if (!service)
		return RELAY_NO_SERVICE;
	return service->flags & PH_RELAY_FLAG_PHANTOM ? relay_unmasks(ctx) : 0;
}

#endif
