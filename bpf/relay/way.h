/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Ways, made and looked at again: not for every packet.
 *
 * A way towards a backend is used only while it is known that the way back is this client's: then
 * no port is ever shared.
 */
#ifndef PHANTOM_RELAY_WAY_H
#define PHANTOM_RELAY_WAY_H

#include "lib/csum.h"
#include "maps/relay.h"
#include "relay/backend.h"
#include "relay/frame.h"

#define RELAY_LOOPBACK 1		/* ifindex: routes are looked up as for our own packets */
#define RELAY_MTU_DEFAULT 1500
#define RELAY_AF_INET 2
#define RELAY_AF_INET6 10

/* How long a flow that no backend has answered keeps its port. */
const volatile __u32 relay_unanswered_s = PH_RELAY_LIMIT_UNANSWERED_S;

/*
 * The sums of a way, from the addresses that it finds and those that it writes. Those of mapped
 * IPv4 addresses differ by nothing from those of the addresses themselves, as long as both are
 * mapped.
 */
static __always_inline void relay_set_sums(struct ph_relay_way *way, const struct ph_relay_key *key,
					   bool is_ip4)
{
	__u32 old = csum_words(key->src_ip, 16) + csum_words(key->dst_ip, 16);
	__u32 new = csum_words(way->src_ip, 16) + csum_words(way->dst_ip, 16);
	__u32 addresses = (__u16)~csum_fold(old) + (__u32)csum_fold(new);
	__u32 ports = (__u16)~csum_fold((__u32)key->src_port + key->dst_port) +
		(__u32)csum_fold((__u32)way->src_port + way->dst_port);

	/* One hop less: TTL is the upper half of its word. */
	way->ip_delta = csum_fold(addresses + (__u16)~bpf_htons(0x0100));
	way->udp_delta = csum_fold(addresses + ports);
	/* Two mapped prefixes are no part of an IPv4 packet's sum. */
	if (is_ip4)
		old -= 2 * 0xffff;
	way->pseudo = csum_fold(old + bpf_htons(IPPROTO_UDP));
}

/* A route, as for a packet of our own. Answers a bpf_fib_lookup result. */
static __always_inline int relay_route(struct xdp_md *ctx, struct bpf_fib_lookup *fib,
				       const __u8 *src, const __u8 *dst, bool is_ip4)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->l4_protocol = IPPROTO_UDP;
	fib->ifindex = RELAY_LOOPBACK;
	if (is_ip4) {
		fib->family = RELAY_AF_INET;
		fib->ipv4_src = ip4_of(src);
		fib->ipv4_dst = ip4_of(dst);
	} else {
		fib->family = RELAY_AF_INET6;
		__builtin_memcpy(fib->ipv6_src, src, 16);
		__builtin_memcpy(fib->ipv6_dst, dst, 16);
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/*
 * Where packets of this way leave the machine: answers 0, or minus one of the outcomes. Of a
 * client whose neighbour entry is gone the address stays that its own packet came from.
 */
static __always_inline int relay_next_hop(struct xdp_md *ctx, struct ph_relay_way *way, bool is_ip4)
{
	struct bpf_fib_lookup fib;
	int result = relay_route(ctx, &fib, way->src_ip, way->dst_ip, is_ip4);
	bool is_known = result == BPF_FIB_LKUP_RET_SUCCESS;
	__u32 ifindex;

	if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		is_known = false;
		if (!(way->flags & PH_RELAY_FLAG_RETURN) || way->ifindex != fib.ifindex)
			return -PH_RELAY_OUTCOME_UNRESOLVED;
	} else if (!is_known) {
		return -PH_RELAY_OUTCOME_NO_ROUTE;
	}
	ifindex = fib.ifindex;
	if (ifindex != ctx->ingress_ifindex && !bpf_map_lookup_elem(&relay_devices, &ifindex))
		return -PH_RELAY_OUTCOME_NO_DEVICE;
	if (is_known) {
		__builtin_memcpy(way->dst_mac, fib.dmac, 6);
		__builtin_memcpy(way->src_mac, fib.smac, 6);
	}
	way->ifindex = ifindex;
	/* Older kernels don't say. */
	way->mtu = fib.mtu_result ? fib.mtu_result : RELAY_MTU_DEFAULT;
	return 0;
}

/* The backend that a way has, if it may keep it. */
static __always_inline struct ph_relay_backend *relay_kept(const struct ph_relay_way *way)
{
	__u32 index = way->backend;
	struct ph_relay_backend *backend = bpf_map_lookup_elem(&relay_backends, &index);

	if (!backend || !relay_is_backend(backend) || backend->service != way->service)
		return NULL;
	if (backend->port != way->dst_port || !is_same_ip(backend->ip, way->dst_ip) ||
	    !is_same_ip(backend->source_ip, way->src_ip))
		return NULL;
	return backend;
}

/* Whether two ways back are the same client's, by the same address and port of ours. */
static __always_inline bool relay_same_end(const struct ph_relay_way *a,
					   const struct ph_relay_way *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;
	__u32 differ = 0;

	/* Both addresses and both ports: the first 36 bytes. */
	for (int i = 0; i < 9; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

/*
 * Whether a flow may lose its port to another. Not by its packets: they stand in caches until
 * they are settled. Its way back is brought up to date with the first answer.
 */
static __always_inline bool relay_is_idle(const struct ph_relay_way *back, __u64 now, __u64 idle_ns)
{
	__u64 limit = back->fresh_until ? idle_ns : relay_unanswered_s * 1000ull * 1000 * 1000;

	return now - back->last_seen_ns > limit;
}

/*
 * Finds the port from which a client's packets go to a backend, and notes the way back under it:
 * the one that this client has, else the first free one of a few. Answers 0 or minus an outcome.
 */
static __always_inline int relay_take_port(const struct ph_relay_config *config,
					   struct ph_relay_key *reply, struct ph_relay_way *back,
					   __u32 hash, __u64 now)
{
	__u32 count = config->port_count ? config->port_count : 1;
	__be16 free = 0;

	for (__u32 i = 0; i < PH_RELAY_LIMIT_PORT_PROBES; i++) {
		__u32 port = config->first_port + (hash + i * PH_RELAY_LIMIT_PORT_STEP) % count;
		struct ph_relay_way *taken;

		reply->dst_port = bpf_htons(port);
		taken = bpf_map_lookup_elem(&relay_flows, reply);
		if (taken && relay_same_end(taken, back)) {
			taken->last_seen_ns = now;
			return 0;
		}
		if (!free && (!taken || relay_is_idle(taken, now, config->idle_ns)))
			free = reply->dst_port;
	}
	if (!free)
		return -PH_RELAY_OUTCOME_NO_PORT;
	reply->dst_port = free;
	if (bpf_map_update_elem(&relay_flows, reply, back, BPF_ANY))
		return -PH_RELAY_OUTCOME_NO_ROOM;
	return 0;
}

/* Whether the way back of `way` is there, and this client's. Then it is noted as used. */
static __always_inline bool relay_owns_port(const struct ph_relay_key *key,
					    const struct ph_relay_way *way,
					    struct ph_relay_key *reply, __u64 now)
{
	struct ph_relay_way *back;

	copy_ip(reply->src_ip, way->dst_ip);
	copy_ip(reply->dst_ip, way->src_ip);
	reply->src_port = way->dst_port;
	reply->dst_port = way->src_port;
	back = bpf_map_lookup_elem(&relay_flows, reply);
	if (!back || back->dst_port != key->src_port || back->src_port != key->dst_port ||
	    !is_same_ip(back->dst_ip, key->src_ip) || !is_same_ip(back->src_ip, key->dst_ip))
		return false;
	back->last_seen_ns = now;
	return true;
}

static __always_inline void relay_refreshed(struct ph_relay_way *way,
					    const struct ph_relay_config *config, __u64 now)
{
	way->fresh_until = bpf_jiffies64() + config->fresh_jiffies;
	way->generation = config->generation;
	way->last_seen_ns = now;
}

static __always_inline struct ph_relay_way *relay_scratch_way(__u32 index)
{
	return bpf_map_lookup_elem(&relay_scratch, &index);
}

/* What is written over packets to a backend, and where they leave; 0 or minus an outcome. */
static __always_inline int relay_lead_there(struct xdp_md *ctx, struct ph_relay_way *way,
					    const struct ph_relay_backend *backend, bool is_ip4)
{
	copy_ip(way->src_ip, backend->source_ip);
	copy_ip(way->dst_ip, backend->ip);
	way->dst_port = backend->port;
	return relay_next_hop(ctx, way, is_ip4);
}

/* The way back to the client, as its packet came. */
static __always_inline void relay_lead_back(struct xdp_md *ctx, struct ph_relay_way *back,
					    const struct ph_relay_key *key,
					    const struct ethernet *eth, __u64 now)
{
	copy_ip(back->src_ip, key->dst_ip);
	copy_ip(back->dst_ip, key->src_ip);
	back->src_port = key->dst_port;
	back->dst_port = key->src_port;
	back->flags = PH_RELAY_FLAG_RETURN;
	back->last_seen_ns = now;
	back->ifindex = ctx->ingress_ifindex;
	__builtin_memcpy(back->dst_mac, (const __u8 *)eth + 6, 6);
	__builtin_memcpy(back->src_mac, eth, 6);
}

static __always_inline void relay_count_flow(__u32 number, bool has_moved)
{
	struct ph_relay_traffic *traffic;

	relay_count(has_moved ? PH_RELAY_OUTCOME_MOVED : PH_RELAY_OUTCOME_NEW_FLOW, 0);
	traffic = bpf_map_lookup_elem(&relay_traffic, &number);
	if (traffic)
		traffic->flows++;
}

/* A new way towards a backend, for a new client or one whose backend has gone. */
static __always_inline int relay_make_way(struct xdp_md *ctx, const struct plain *view,
					  const struct ph_relay_key *key,
					  const struct ph_relay_config *config,
					  const struct ph_relay_way *old)
{
	struct ph_relay_way *way = relay_scratch_way(0), *back = relay_scratch_way(1);
	struct ph_relay_service *service;
	struct ph_relay_backend *backend;
	__u64 now = bpf_ktime_get_ns();
	struct ph_relay_key reply;
	bool is_ip4 = view->ip4;
	__u32 index, number = 0;
	int result;

	if (!way || !back)
		return -PH_RELAY_OUTCOME_NO_ROOM;
	__builtin_memset(way, 0, sizeof(*way));
	__builtin_memset(back, 0, sizeof(*back));
	if (old) {
		way->packets = old->packets;
		way->bytes = old->bytes;
	}
	result = relay_service_of(key, is_ip4, old);
	if (result < 0)
		return result;
	index = result;
	service = bpf_map_lookup_elem(&relay_services, &index);
	if (!service)
		return RELAY_NO_SERVICE;
	backend = relay_chosen(service, key, &number);
	if (!backend)
		return -PH_RELAY_OUTCOME_NO_BACKEND;
	way->backend = back->backend = number;
	way->service = back->service = index;
	way->flags = service->flags;
	result = relay_lead_there(ctx, way, backend, is_ip4);
	if (result)
		return result;
	relay_lead_back(ctx, back, key, view->eth, now);
	copy_ip(reply.src_ip, backend->ip);
	copy_ip(reply.dst_ip, backend->source_ip);
	reply.src_port = backend->port;
	reply.dst_port = 0;
	result = relay_take_port(config, &reply, back, relay_hash(key, true), now);
	if (result)
		return result;
	way->src_port = reply.dst_port;
	relay_set_sums(way, key, is_ip4);
	relay_refreshed(way, config, now);
	if (bpf_map_update_elem(&relay_flows, key, way, BPF_ANY))
		return -PH_RELAY_OUTCOME_NO_ROOM;
	relay_count_flow(number, old);
	return 0;
}

/*
 * Makes the frame's way, or brings it up to date. Answers 0 when relay_flows then has one to use,
 * minus an outcome when not. A function of its own: verified once, and out of the fast way's way.
 */
__noinline int relay_resolve(struct xdp_md *ctx, __u32 is_return)
{
	struct ph_relay_config *config;
	struct ph_relay_key key, reply;
	struct plain view;
	struct ph_relay_way *way;
	__u32 zero = 0;
	__u64 now;

	if (!relay_enabled)
		return RELAY_NO_SERVICE;
	config = bpf_map_lookup_elem(&relay_config, &zero);
	if (!config || !relay_headers(ctx, &view))
		return RELAY_NO_SERVICE;
	relay_key_of(&view, &key);
	way = bpf_map_lookup_elem(&relay_flows, &key);
	if (is_return) {
		int result;

		if (!way)
			return RELAY_NO_SERVICE;
		result = relay_next_hop(ctx, way, view.ip4);
		if (result)
			return result;
		if (!way->fresh_until)
			relay_set_sums(way, &key, view.ip4);
		relay_refreshed(way, config, bpf_ktime_get_ns());
		return 0;
	}
	now = bpf_ktime_get_ns();
	if (way && relay_kept(way) && relay_owns_port(&key, way, &reply, now)) {
		int result = relay_next_hop(ctx, way, view.ip4);

		if (result)
			return result;
		relay_refreshed(way, config, now);
		return 0;
	}
	return relay_make_way(ctx, &view, &key, config, way);
}

#endif
