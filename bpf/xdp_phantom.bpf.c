// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The first program a frame meets: finds UDP to one of our ports and counts everything else by
 * what it was. parse → classify → act; other traffic passes untouched.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "parse.h"
#include "relay.h"

#define BIT_LISTEN 1
#define BIT_RELAY 2
#define BIT_RETURN 4

/* Set before loading (ebpf.enable_stats): where it is 0 the verifier removes the counting. */
const volatile __u32 stats_enabled = 1;

/* Types that only a ring buffer or an enum comparison reaches would be missing from BTF. */
struct {
	struct ph_event event;
	enum ph_event_kind event_kind;
	enum ph_verdict verdict;
	enum ph_reason reason;
	enum ph_limit limit;
	enum ph_relay_limit relay_limit;
	enum ph_relay_outcome relay_outcome;
	enum ph_relay_backend_state relay_backend_state;
	enum ph_relay_flag relay_flag;
} btf_anchor SEC(".bss.anchor") = {};

static __always_inline void count(__u32 verdict, __u32 reason, __u32 bytes)
{
	__u32 index = verdict * PH_REASON_COUNT + reason;
	struct ph_stat *stat;

	if (!stats_enabled)
		return;
	stat = bpf_map_lookup_elem(&stats, &index);
	if (!stat)
		return;
	stat->packets++;
	stat->bytes += bytes;
}

static __always_inline void fill_addresses(struct ph_event *event, const struct packet *pkt)
{
	if (pkt->family == 4) {
		const struct iphdr *ip = pkt->ip;
		const __u32 mapped[3] = { 0, 0, bpf_htonl(0xffff) };

		__builtin_memcpy(event->src_ip, mapped, 12);
		__builtin_memcpy(event->dst_ip, mapped, 12);
		__builtin_memcpy(event->src_ip + 12, &ip->saddr, 4);
		__builtin_memcpy(event->dst_ip + 12, &ip->daddr, 4);
	} else {
		const struct ipv6hdr *ip = pkt->ip;

		__builtin_memcpy(event->src_ip, &ip->saddr, 16);
		__builtin_memcpy(event->dst_ip, &ip->daddr, 16);
	}
	event->family = pkt->family;
}

/* Tells user space, if this CPU has not just done so. */
static __always_inline void report(const struct xdp_md *ctx, const struct packet *pkt, __u32 reason)
{
	__u32 zero = 0;
	__u64 now = bpf_ktime_get_ns();
	struct ph_event_gate *gate = bpf_map_lookup_elem(&event_gate, &zero);
	struct ph_event *event;

	if (!gate)
		return;
	event = now < gate->next_ns ? NULL : bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		gate->suppressed++;
		return;
	}
	gate->next_ns = now + PH_LIMIT_EVENT_INTERVAL_NS;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->kind = PH_EVENT_KIND_MALFORMED;
	event->ifindex = ctx->ingress_ifindex;
	fill_addresses(event, pkt);
	event->src_port = pkt->udp->source;
	event->dst_port = pkt->udp->dest;
	event->protocol = IPPROTO_UDP;
	event->value = reason;
	bpf_ringbuf_submit(event, 0);
}

/* The bits of a port: BIT_LISTEN, BIT_RELAY, BIT_RETURN. */
static __always_inline __u32 port_bits(__be16 be_port)
{
	__u32 port = bpf_ntohs(be_port);
	__u32 index = port / 64;
	const struct ph_listen_word *word = bpf_map_lookup_elem(&listen_ports, &index);

	if (!word)
		return 0;
	return (word->ports >> (port % 64) & 1) | (word->relays >> (port % 64) & 1) << 1 |
		(word->returns >> (port % 64) & 1) << 2;
}

/* For UDP: whose it is, and whether its length can be true. */
static __always_inline __u32 classify(const struct packet *pkt, __u32 bits)
{
	__u32 length = bpf_ntohs(pkt->udp->len);

	if (!(bits & BIT_LISTEN))
		return PH_REASON_NOT_LISTENING;
	if (length < sizeof(*pkt->udp) || length > pkt->udp_room)
		return PH_REASON_BAD_UDP;
	return PH_REASON_LISTEN;
}

SEC("xdp")
int xdp_phantom(struct xdp_md *ctx)
{
	__u32 bytes = ctx->data_end - ctx->data;
	struct packet pkt = {};
	__u32 reason, bits;
	int stop;

	stop = parse_udp(ctx, &pkt);
	if (stop) {
		count(PH_VERDICT_PASS, PARSE_REASON(stop), bytes);
		return XDP_PASS;
	}
	bits = port_bits(pkt.udp->dest);
	if (relay_enabled && bits & (BIT_RELAY | BIT_RETURN)) {
		int action = relay(ctx, &pkt, bits & BIT_RETURN);

		if (action != RELAY_NOT_OURS)
			return action;
	}
	reason = classify(&pkt, bits);
	if (reason == PH_REASON_BAD_UDP) {
		report(ctx, &pkt, reason);
		count(PH_VERDICT_DROP, reason, bytes);
		return XDP_DROP;
	}
	count(PH_VERDICT_PASS, reason, bytes);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
