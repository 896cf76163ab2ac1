/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The relay: a client's datagram to one of our relay ports goes on to a backend, from a port of
 * our own (full NAT), and what comes back to that port goes to the client.
 *
 *     client:c -> us:listen   becomes   us:nat -> backend:port
 *     backend:port -> us:nat  becomes   us:listen -> client:c
 *
 * Each direction of a flow is an entry of relay_flows, a "way": by what the packet says of itself,
 * what is to be written over it. The usual packet finds its way in a cache of its CPU, and costs
 * no call of a helper and two sums of two numbers.
 * A way is looked at again (relay_resolve, a function of its own) when a backend has changed
 * (generation) and from time to time (fresh_until), since routes and neighbours change too.
 *
 * A way towards a backend is used only while it is known that the way back is this client's: then
 * no port is ever shared. What can't be done in a straight line passes, and the relay in user
 * space, which listens on the same ports, does it.
 */
#ifndef PHANTOM_RELAY_H
#define PHANTOM_RELAY_H

#include "maps.h"
#include "parse.h"
#include "unmask.h"

#define RELAY_NOT_OURS (-1)		/* carry on as if there were no relay */
#define RELAY_NO_SERVICE (-1 - PH_RELAY_OUTCOME_COUNT)	/* of relay_resolve: the same */
#define RELAY_LOOPBACK 1		/* ifindex: routes are looked up as for our own packets */
#define RELAY_ETH 14
#define RELAY_DF 0x4000
#define RELAY_MTU_DEFAULT 1500
#define RELAY_HASH_FACTOR 0x9e3779b1u
#define RELAY_AF_INET 2
#define RELAY_AF_INET6 10

/* Set before loading: without relays the verifier removes all this, and loading takes no longer. */
const volatile __u32 relay_enabled = 1;
/* How long a flow that no backend has answered keeps its port. */
const volatile __u32 relay_unanswered_s = PH_RELAY_LIMIT_UNANSWERED_S;
/* Entries of relay_cache, less one. */
const volatile __u32 relay_cache_mask = 0;

/* The frame's headers, in the only arrangement that the fast way knows. */
struct relay_view {
	struct ethernet *eth;
	struct iphdr *ip4;
	struct ipv6hdr *ip6;		/* one of the two is set */
	struct udphdr *udp;
};

static __always_inline void relay_count(__u32 outcome, __u32 bytes)
{
	struct ph_stat *stat = bpf_map_lookup_elem(&relay_counts, &outcome);

	if (!stat)
		return;
	stat->packets++;
	stat->bytes += bytes;
}

static __always_inline int relay_drop(__u32 outcome, __u32 bytes)
{
	relay_count(outcome, bytes);
	return XDP_DROP;
}

static __always_inline int relay_pass(__u32 outcome, __u32 bytes)
{
	relay_count(outcome, bytes);
	return XDP_PASS;
}

/* ---- sums (RFC 1071, RFC 1624): words as they lie in memory ---- */

static __always_inline __u16 relay_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 relay_sum_words(const void *from, __u32 bytes)
{
	const __u16 *words = from;
	__u32 sum = 0;

	for (__u32 i = 0; i < bytes / 2; i++)
		sum += words[i];
	return sum;
}

/* A checksum after a change whose sum is `delta`. */
static __always_inline __u16 relay_sum_changed(__u16 check, __u16 delta)
{
	return ~relay_fold((__u32)(__u16)~check + delta);
}

/* ---- headers ---- */

/* Answers whether the frame is of the usual arrangement: no tag, no option, no extension. */
static __always_inline bool relay_headers(struct xdp_md *ctx, struct relay_view *view)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	view->eth = data;
	view->ip4 = NULL;
	view->ip6 = NULL;
	if (data + RELAY_ETH + sizeof(struct iphdr) + sizeof(struct udphdr) > end)
		return false;
	if (view->eth->proto == bpf_htons(ETH_P_IP)) {
		view->ip4 = data + RELAY_ETH;
		view->udp = data + RELAY_ETH + sizeof(struct iphdr);
		return view->ip4->ihl == 5;
	}
	if (data + RELAY_ETH + sizeof(struct ipv6hdr) + sizeof(struct udphdr) > end)
		return false;
	if (view->eth->proto != bpf_htons(ETH_P_IPV6))
		return false;
	view->ip6 = data + RELAY_ETH;
	view->udp = data + RELAY_ETH + sizeof(struct ipv6hdr);
	return view->ip6->nexthdr == IPPROTO_UDP;
}

static __always_inline void relay_set_ip4(__u8 *to, __be32 ip)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ip;
}

static __always_inline void relay_copy_ip(__u8 *to, const void *from)
{
	__u32 *words = (__u32 *)to;
	const __u32 *source = from;

	words[0] = source[0];
	words[1] = source[1];
	words[2] = source[2];
	words[3] = source[3];
}

static __always_inline bool relay_same_ip(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	/* One branch: each more doubles what the verifier has to follow. */
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

static __always_inline __u32 relay_ip4_of(const __u8 *mapped)
{
	return ((const __u32 *)mapped)[3];
}

static __always_inline void relay_key_of(const struct relay_view *view, struct ph_relay_key *key)
{
	if (view->ip4) {
		relay_set_ip4(key->src_ip, view->ip4->saddr);
		relay_set_ip4(key->dst_ip, view->ip4->daddr);
	} else {
		relay_copy_ip(key->src_ip, &view->ip6->saddr);
		relay_copy_ip(key->dst_ip, &view->ip6->daddr);
	}
	key->src_port = view->udp->source;
	key->dst_port = view->udp->dest;
}

/* only: phantom. Answers 0 for what unmasks, else minus an outcome. Reads, and writes nothing. */
__noinline int relay_unmasks(struct xdp_md *ctx)
{
	const struct ph_config *settings = get_config();
	const struct masked *packet;
	struct relay_view view;
	__u64 shown;

	if (!relay_enabled || !settings || !relay_headers(ctx, &view))
		return -PH_RELAY_OUTCOME_UNUSUAL;
	packet = (const struct masked *)(view.udp + 1);
	if (bpf_ntohs(view.udp->len) < sizeof(*view.udp) + PH_LIMIT_PACKET_BYTES ||
	    (const void *)(packet + 1) > (const void *)(long)ctx->data_end)
		return -PH_RELAY_OUTCOME_JUNK;
	shown = unmask(packet, settings, clock_ns());
	if (shown == SHOWN_NO_KEYS)
		return -PH_RELAY_OUTCOME_NO_KEYS;
	return shown == SHOWN_JUNK ? -PH_RELAY_OUTCOME_JUNK : 0;
}

/* ---- ways, made and looked at again: not for every packet ---- */

/*
 * The sums of a way, from the addresses that it finds and those that it writes. Those of mapped
 * IPv4 addresses differ by nothing from those of the addresses themselves, as long as both are
 * mapped.
 */
static __always_inline void relay_set_sums(struct ph_relay_way *way, const struct ph_relay_key *key,
					   bool is_ip4)
{
	__u32 old = relay_sum_words(key->src_ip, 16) + relay_sum_words(key->dst_ip, 16);
	__u32 new = relay_sum_words(way->src_ip, 16) + relay_sum_words(way->dst_ip, 16);
	__u32 addresses = (__u16)~relay_fold(old) + (__u32)relay_fold(new);
	__u32 ports = (__u16)~relay_fold((__u32)key->src_port + key->dst_port) +
		(__u32)relay_fold((__u32)way->src_port + way->dst_port);

	/* One hop less: TTL is the upper half of its word. */
	way->ip_delta = relay_fold(addresses + (__u16)~bpf_htons(0x0100));
	way->udp_delta = relay_fold(addresses + ports);
	/* Two mapped prefixes are no part of an IPv4 packet's sum. */
	if (is_ip4)
		old -= 2 * 0xffff;
	way->pseudo = relay_fold(old + bpf_htons(IPPROTO_UDP));
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
		fib->ipv4_src = relay_ip4_of(src);
		fib->ipv4_dst = relay_ip4_of(dst);
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

static __always_inline __u32 relay_mixed(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * RELAY_HASH_FACTOR;
	return hash ^ hash >> 16;
}

/* The same as clientHash in src/relay/maglev.ts. */
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

/* The backend that a way has, if it may keep it. */
static __always_inline struct ph_relay_backend *relay_kept(const struct ph_relay_way *way)
{
	__u32 index = way->backend;
	struct ph_relay_backend *backend = bpf_map_lookup_elem(&relay_backends, &index);

	if (!backend || !relay_is_backend(backend) || backend->service != way->service)
		return NULL;
	if (backend->port != way->dst_port || !relay_same_ip(backend->ip, way->dst_ip) ||
	    !relay_same_ip(backend->source_ip, way->src_ip))
		return NULL;
	return backend;
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

	relay_copy_ip(listen.ip, key->dst_ip);
	found = bpf_map_lookup_elem(&relay_listens, &listen);
	if (found)
		return *found & 0xffff;
	__builtin_memset(listen.ip, 0, sizeof(listen.ip));
	listen.family = is_ip4 ? 4 : 6;
	found = bpf_map_lookup_elem(&relay_listens, &listen);
	if (!found)
		return RELAY_NO_SERVICE;
	/* Not by a route: that an address has none looks the same as that it is our own. */
	if (!is_known && !bpf_map_lookup_elem(&relay_locals, key->dst_ip))
		return -PH_RELAY_OUTCOME_NOT_LOCAL;
	return *found & 0xffff;
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
 * Whether a client's first packet may make a flow: 0, or minus an outcome. Not part of
 * relay_resolve, whose stack has no room for a SipHash.
 */
__noinline int relay_admits(struct xdp_md *ctx)
{
	struct ph_relay_service *service;
	struct relay_view view;
	struct ph_relay_key key;
	int index;

	if (!relay_enabled || !relay_headers(ctx, &view))
		return RELAY_NO_SERVICE;
	relay_key_of(&view, &key);
	index = relay_service_of(&key, view.ip4, true);
	if (index < 0)
		return index;
	service = bpf_map_lookup_elem(&relay_services, &index);
	if (!service)
		return RELAY_NO_SERVICE;
	return service->flags & PH_RELAY_FLAG_PHANTOM ? relay_unmasks(ctx) : 0;
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

	relay_copy_ip(reply->src_ip, way->dst_ip);
	relay_copy_ip(reply->dst_ip, way->src_ip);
	reply->src_port = way->dst_port;
	reply->dst_port = way->src_port;
	back = bpf_map_lookup_elem(&relay_flows, reply);
	if (!back || back->dst_port != key->src_port || back->src_port != key->dst_port ||
	    !relay_same_ip(back->dst_ip, key->src_ip) || !relay_same_ip(back->src_ip, key->dst_ip))
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

/* A new way towards a backend, for a new client or one whose backend has gone. */
static __always_inline int relay_make_way(struct xdp_md *ctx, const struct relay_view *view,
					  const struct ph_relay_key *key,
					  const struct ph_relay_config *config,
					  const struct ph_relay_way *old)
{
	bool is_known = false;
	struct ph_relay_way *way = relay_scratch_way(0), *back = relay_scratch_way(1);
	struct ph_relay_service *service;
	struct ph_relay_backend *backend;
	__u64 now = bpf_ktime_get_ns();
	struct ph_relay_traffic *traffic;
	struct ph_relay_key reply;
	bool is_ip4 = view->ip4;
	__u32 index, number = 0;
	int result;

	if (!way || !back)
		return -PH_RELAY_OUTCOME_NO_ROOM;
	__builtin_memset(way, 0, sizeof(*way));
	__builtin_memset(back, 0, sizeof(*back));
	if (old) {
		is_known = true;
		way->packets = old->packets;
		way->bytes = old->bytes;
	}
	result = relay_service_of(key, is_ip4, is_known);
	if (result < 0)
		return result;
	index = result;
	service = bpf_map_lookup_elem(&relay_services, &index);
	if (!service)
		return RELAY_NO_SERVICE;
	backend = relay_chosen(service, key, &number);
	if (!backend)
		return -PH_RELAY_OUTCOME_NO_BACKEND;

	relay_copy_ip(way->src_ip, backend->source_ip);
	relay_copy_ip(way->dst_ip, backend->ip);
	way->dst_port = backend->port;
	way->backend = number;
	way->service = index;
	way->flags = service->flags;
	result = relay_next_hop(ctx, way, is_ip4);
	if (result)
		return result;

	relay_copy_ip(back->src_ip, key->dst_ip);
	relay_copy_ip(back->dst_ip, key->src_ip);
	back->src_port = key->dst_port;
	back->dst_port = key->src_port;
	back->backend = number;
	back->service = index;
	back->flags = PH_RELAY_FLAG_RETURN;
	back->last_seen_ns = now;
	back->ifindex = ctx->ingress_ifindex;
	__builtin_memcpy(back->dst_mac, (const __u8 *)view->eth + 6, 6);
	__builtin_memcpy(back->src_mac, view->eth, 6);
	relay_copy_ip(reply.src_ip, backend->ip);
	relay_copy_ip(reply.dst_ip, backend->source_ip);
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
	relay_count(old ? PH_RELAY_OUTCOME_MOVED : PH_RELAY_OUTCOME_NEW_FLOW, 0);
	traffic = bpf_map_lookup_elem(&relay_traffic, &number);
	if (traffic)
		traffic->flows++;
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
	struct relay_view view;
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

/* ---- rare packets ---- */

/* Zero, but for the verifier any number: where it starts from one, each step is another state. */
volatile __u32 relay_zero;

#define RELAY_SUM_MASK 0x3fff
#define RELAY_SUM_LENGTH bpf_ntohs(((volatile struct udphdr *)udp)->len)

/*
 * Adds the next `size` bytes when the length has that bit. The length is read anew and the offset
 * masked, so that the verifier forgets them: else it would follow every length there is.
 */
#define RELAY_SUM_PART(size)						\
	if (RELAY_SUM_LENGTH & (size)) {				\
		offset &= RELAY_SUM_MASK;				\
		barrier_var(offset);					\
		at = (void *)udp + (offset & RELAY_SUM_MASK);			\
		if (at + (size) > end)					\
			return -PH_RELAY_OUTCOME_BAD_UDP;		\
		sum = bpf_csum_diff(NULL, 0, at, (size), sum);		\
		offset += (size);					\
	}

/*
 * Sets the checksum of a datagram whose sender has summed up the pseudo-header and left the rest
 * to hardware: a program on this machine, behind a veth. Answers 0 or minus an outcome.
 *
 * With `keeps` (generic XDP) the sender's note goes on with the frame, and somebody completes the
 * sum later: then nothing is written, and the answer is 1. But where the sum is right as it
 * stands, it is whole, and looks begun by chance (one in 65,536): 0.
 */
__noinline int relay_complete_sum(struct xdp_md *ctx, __u32 pseudo, __u32 keeps)
{
	void *end = (void *)(long)ctx->data_end;
	__u32 length, offset = relay_zero, sum = pseudo;
	struct relay_view view;
	struct udphdr *udp;
	void *at;

	if (!relay_enabled || !relay_headers(ctx, &view))
		return -PH_RELAY_OUTCOME_UNUSUAL;
	udp = view.udp;
	length = bpf_ntohs(udp->len);
	if (length < sizeof(*udp) || length > PH_RELAY_LIMIT_SUM_BYTES)
		return -PH_RELAY_OUTCOME_UNFINISHED;
	sum += udp->len;
	for (int i = 0; i < PH_RELAY_LIMIT_SUM_BYTES / 256; i++) {
		if (offset + 256 > RELAY_SUM_LENGTH)
			break;
		offset &= RELAY_SUM_MASK;
		barrier_var(offset);
		at = (void *)udp + (offset & RELAY_SUM_MASK);
		if (at + 256 > end)
			return -PH_RELAY_OUTCOME_BAD_UDP;
		sum = bpf_csum_diff(NULL, 0, at, 256, sum);
		offset += 256;
	}
	RELAY_SUM_PART(128);
	RELAY_SUM_PART(64);
	RELAY_SUM_PART(32);
	RELAY_SUM_PART(16);
	RELAY_SUM_PART(8);
	RELAY_SUM_PART(4);
	/* In halves, so that the words that follow can't carry out of 32 bits. */
	sum = (sum & 0xffff) + (sum >> 16);
	offset &= RELAY_SUM_MASK;
	barrier_var(offset);
	at = (void *)udp + (offset & RELAY_SUM_MASK);
	if (RELAY_SUM_LENGTH & 2) {
		if (at + 2 > end)
			return -PH_RELAY_OUTCOME_BAD_UDP;
		sum += *(__u16 *)at;
		at += 2;
	}
	if (RELAY_SUM_LENGTH & 1) {
		if (at + 1 > end)
			return -PH_RELAY_OUTCOME_BAD_UDP;
		sum += bpf_htons(*(__u8 *)at << 8);
	}
	if (keeps)
		return relay_fold(sum) != 0xffff;
	/* Without what stands in its own place. */
	sum = (__u16)~relay_fold(relay_fold(sum) + (__u32)(__u16)~udp->check);
	udp->check = sum ? sum : 0xffff;
	return 0;
}

/* What the ICMP message about a packet that is too long is written as. */
struct relay_icmp4 {
	struct ethernet eth;
	__be16 ip[10];
	__be16 icmp[4];
	__be16 quoted[14];		/* its IP header and the first 8 bytes behind it */
};

struct relay_icmp6 {
	struct ethernet eth;
	__be16 ip[20];
	__be16 icmp[4];
	__be16 quoted[24];		/* its IPv6 and UDP headers */
};

/* When the next message may be sent, by any CPU. */
static __u64 relay_icmp_next_ns;

static __always_inline void relay_answer_link(struct ethernet *to, const struct ethernet *from)
{
	for (int i = 0; i < 3; i++) {
		to->address[i] = from->address[3 + i];
		to->address[3 + i] = from->address[i];
	}
	to->proto = from->proto;
}

/* RFC 792 with RFC 1191: fragmentation needed, to whoever sent the packet. */
static __always_inline void relay_write_icmp4(struct relay_icmp4 *to, __u32 mtu)
{
	const struct ethernet *was = (void *)to + 28;

	relay_answer_link(&to->eth, was);
	to->ip[0] = bpf_htons(0x4500);
	to->ip[1] = bpf_htons(sizeof(*to) - RELAY_ETH);
	to->ip[2] = 0;
	to->ip[3] = 0;
	to->ip[4] = bpf_htons(64 << 8 | IPPROTO_ICMP);
	to->ip[5] = 0;
	for (int i = 0; i < 2; i++) {
		to->ip[6 + i] = to->quoted[8 + i];
		to->ip[8 + i] = to->quoted[6 + i];
	}
	to->ip[5] = ~relay_fold(relay_sum_words(to->ip, sizeof(to->ip)));
	to->icmp[0] = bpf_htons(3 << 8 | 4);
	to->icmp[1] = 0;
	to->icmp[2] = 0;
	to->icmp[3] = bpf_htons(mtu);
	to->icmp[1] = ~relay_fold(relay_sum_words(to->icmp, sizeof(to->icmp)) +
				  relay_sum_words(to->quoted, sizeof(to->quoted)));
}

/* RFC 4443: packet too big. */
static __always_inline void relay_write_icmp6(struct relay_icmp6 *to, __u32 mtu)
{
	const struct ethernet *was = (void *)to + 48;
	const __u32 length = sizeof(to->icmp) + sizeof(to->quoted);

	relay_answer_link(&to->eth, was);
	to->ip[0] = bpf_htons(0x6000);
	to->ip[1] = 0;
	to->ip[2] = bpf_htons(length);
	to->ip[3] = bpf_htons(IPPROTO_ICMPV6 << 8 | 64);
	for (int i = 0; i < 8; i++) {
		to->ip[4 + i] = to->quoted[12 + i];
		to->ip[12 + i] = to->quoted[4 + i];
	}
	to->icmp[0] = bpf_htons(2 << 8);
	to->icmp[1] = 0;
	to->icmp[2] = 0;
	to->icmp[3] = bpf_htons(mtu);
	to->icmp[1] = ~relay_fold(relay_sum_words(to->ip + 4, 32) + bpf_htons(length) +
				  bpf_htons(IPPROTO_ICMPV6) +
				  relay_sum_words(to->icmp, sizeof(to->icmp)) +
				  relay_sum_words(to->quoted, sizeof(to->quoted)));
}

/*
 * Turns a packet that is longer than the next hop takes into the message that says so. Answers an
 * XDP action. An IPv4 packet that may be sent in parts passes: user space sends it so.
 */
__noinline int relay_tell_too_long(struct xdp_md *ctx, __u32 mtu)
{
	struct relay_view view;
	__u32 grows, bytes;
	__u64 now;
	void *data, *end;
	bool is_ip4;

	if (!relay_enabled || !relay_headers(ctx, &view))
		return XDP_PASS;
	bytes = ctx->data_end - ctx->data;
	is_ip4 = view.ip4;
	if (is_ip4 && !(view.ip4->frag_off & bpf_htons(RELAY_DF)))
		return relay_pass(PH_RELAY_OUTCOME_TOO_LONG, bytes);
	now = bpf_ktime_get_ns();
	if (now < relay_icmp_next_ns)
		return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	relay_icmp_next_ns = now + PH_RELAY_LIMIT_ICMP_INTERVAL_NS;
	grows = is_ip4 ? 28 : 48;
	if (bpf_xdp_adjust_head(ctx, -(int)grows))
		return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	bytes += grows;
	if (bpf_xdp_adjust_tail(ctx, (int)(is_ip4 ? sizeof(struct relay_icmp4) :
					   sizeof(struct relay_icmp6)) - (int)bytes))
		return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (is_ip4) {
		if (data + sizeof(struct relay_icmp4) > end)
			return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
		relay_write_icmp4(data, mtu);
	} else {
		if (data + sizeof(struct relay_icmp6) > end)
			return relay_drop(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
		relay_write_icmp6(data, mtu);
	}
	relay_count(PH_RELAY_OUTCOME_TOLD_TOO_LONG, bytes);
	return XDP_TX;
}

/* ---- the fast way ---- */

/* What of a frame decides about it. The way is chosen by these, before anything is written. */
struct relay_facts {
	__u32 bytes;			/* of the frame */
	__u32 total;			/* of the IP packet */
	__be16 length;
	__u16 check;
	__u8 hops;
	bool is_ip4;
};

/* Reads key and facts; answers false for a frame that is not of the usual arrangement. */
static __always_inline bool relay_read(struct xdp_md *ctx, struct ph_relay_key *key,
				       struct relay_facts *facts)
{
	struct relay_view view;

	if (!relay_headers(ctx, &view))
		return false;
	facts->bytes = ctx->data_end - ctx->data;
	facts->is_ip4 = view.ip4;
	relay_key_of(&view, key);
	facts->length = view.udp->len;
	facts->check = view.udp->check;
	if (view.ip4) {
		facts->total = bpf_ntohs(view.ip4->tot_len);
		facts->hops = view.ip4->ttl;
	} else {
		facts->total = sizeof(struct ipv6hdr) + bpf_ntohs(view.ip6->payload_len);
		facts->hops = view.ip6->hop_limit;
	}
	return true;
}

static __always_inline void relay_rewrite_udp(struct udphdr *udp, const struct ph_relay_way *way,
					      bool is_begun)
{
	udp->source = way->src_port;
	udp->dest = way->dst_port;
	if (is_begun) {
		/* The sum of the pseudo-header alone: addresses, and no hop less. */
		udp->check = relay_fold((__u32)udp->check +
					relay_fold((__u32)way->ip_delta + bpf_htons(0x0100)));
	} else if (udp->check) {
		__u16 check = relay_sum_changed(udp->check, way->udp_delta);

		udp->check = check ? check : 0xffff;
	}
}

/* Writes over the frame what its way says. */
static __always_inline bool relay_rewrite(struct xdp_md *ctx, const struct ph_relay_way *way,
					  bool is_ip4, bool is_begun)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if (is_ip4) {
		struct iphdr *ip = data + RELAY_ETH;

		if (data + RELAY_ETH + sizeof(*ip) + sizeof(struct udphdr) > end)
			return false;
		ip->saddr = relay_ip4_of(way->src_ip);
		ip->daddr = relay_ip4_of(way->dst_ip);
		ip->ttl--;
		ip->check = relay_sum_changed(ip->check, way->ip_delta);
		relay_rewrite_udp((struct udphdr *)(ip + 1), way, is_begun);
	} else {
		struct ipv6hdr *ip = data + RELAY_ETH;

		if (data + RELAY_ETH + sizeof(*ip) + sizeof(struct udphdr) > end)
			return false;
		relay_copy_ip((__u8 *)&ip->saddr, way->src_ip);
		relay_copy_ip((__u8 *)&ip->daddr, way->dst_ip);
		ip->hop_limit--;
		relay_rewrite_udp((struct udphdr *)(ip + 1), way, is_begun);
	}
	__builtin_memcpy(data, way->dst_mac, 12);
	return true;
}

/* What becomes of a frame that has no way: of minus an outcome, an XDP action. */
static __always_inline int relay_refused(int result, __u32 bytes)
{
	__u32 outcome = -result;

	if (result <= RELAY_NO_SERVICE)
		return RELAY_NOT_OURS;
	if (outcome >= PH_RELAY_OUTCOME_BAD_UDP)
		return relay_drop(outcome, bytes);
	return relay_pass(outcome, bytes);
}

static __always_inline void relay_count_way(struct ph_relay_way *way, __u32 bytes, bool is_return)
{
	__u32 index = way->backend;
	struct ph_relay_traffic *traffic = bpf_map_lookup_elem(&relay_traffic, &index);

	way->packets++;
	way->bytes += bytes;
	if (traffic && is_return) {
		traffic->packets_in++;
		traffic->bytes_in += bytes;
	} else if (traffic) {
		traffic->packets_out++;
		traffic->bytes_out += bytes;
	}
}

/* Never RELAY_NOT_OURS: what the caller knows of the frame does not hold any more. */
static __always_inline int relay_too_long(struct xdp_md *ctx, __u32 mtu)
{
	int action = relay_tell_too_long(ctx, mtu);

	if (action == XDP_TX)
		return XDP_TX;
	return action == XDP_DROP ? XDP_DROP : XDP_PASS;
}

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

/* Answers an XDP action, or RELAY_NOT_OURS. */
static __always_inline int relay(struct xdp_md *ctx, const struct packet *pkt, bool is_return)
{
	struct ph_relay_cached *cached;
	struct ph_relay_config *config;
	struct relay_facts facts;
	struct ph_relay_key key;
	struct ph_relay_way *way;
	__u32 length, zero = 0;
	bool is_begun;
	int result;

	config = bpf_map_lookup_elem(&relay_config, &zero);
	if (!config)
		return RELAY_NOT_OURS;
	if (!relay_read(ctx, &key, &facts)) {
		if (is_return)
			return RELAY_NOT_OURS;
		return relay_pass(PH_RELAY_OUTCOME_UNUSUAL, ctx->data_end - ctx->data);
	}
	cached = relay_cached_of(&key);
	if (!cached)
		return RELAY_NOT_OURS;
	way = &cached->way;
	length = bpf_ntohs(facts.length);
	if (!relay_is_same_key(&key, &cached->key) || !relay_is_fresh(way, config)) {
		if (is_return && !bpf_map_lookup_elem(&relay_flows, &key))
			return RELAY_NOT_OURS;
		if (length < sizeof(struct udphdr) || length > pkt->udp_room ||
		    (!facts.is_ip4 && !facts.check))
			return relay_drop(PH_RELAY_OUTCOME_BAD_UDP, facts.bytes);
		result = relay_look_up(ctx, &key, cached, is_return);
		if (result)
			return relay_refused(result, facts.bytes);
	}
	if (length < sizeof(struct udphdr) || length > pkt->udp_room ||
	    (!facts.is_ip4 && !facts.check))
		return relay_drop(PH_RELAY_OUTCOME_BAD_UDP, facts.bytes);
	if (way->flags & PH_RELAY_FLAG_PHANTOM) {
		result = relay_unmasks(ctx);
		if (result)
			return relay_refused(result, facts.bytes);
	}
	if (facts.hops <= 1)
		return relay_drop(PH_RELAY_OUTCOME_NO_HOPS, facts.bytes);
	/* A checksum that its sender has only begun is the sum of the pseudo-header alone. */
	is_begun = facts.check == relay_fold((__u32)way->pseudo + facts.length);
	if (facts.total > way->mtu) {
		/* Generic XDP sees what a sender on this machine leaves to be cut later (GSO). */
		if (is_begun && config->keeps_metadata)
			return relay_pass(PH_RELAY_OUTCOME_TOO_LONG, facts.bytes);
		return relay_too_long(ctx, way->mtu);
	}
	if (is_begun) {
		result = relay_complete_sum(ctx, way->pseudo, config->keeps_metadata);
		if (result < 0)
			return relay_refused(result, facts.bytes);
		is_begun = result;
		relay_count(PH_RELAY_OUTCOME_COMPLETED, facts.bytes);
	}
	if (!relay_rewrite(ctx, way, facts.is_ip4, is_begun))
		return RELAY_NOT_OURS;
	relay_count_way(way, facts.bytes, is_return);
	if (way->ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect_map(&relay_devices, way->ifindex, 0);
}

#endif
