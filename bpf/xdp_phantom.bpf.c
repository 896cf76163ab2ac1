// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The first program a frame meets: finds UDP to one of our ports, drops what does not unmask and
 * keeps the table of sessions. parse → ours? → unmask → limits → session → deliver; other traffic
 * passes untouched and is counted by what it was. So does all of ours when nobody runs for it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "lib/csum.h"
#include "lib/parse.h"
#include "lib/stats.h"
#include "maps/ports.h"
#include "relay/relay.h"
#include "tunnel/claim.h"
#include "tunnel/deliver.h"
#include "tunnel/report.h"
#include "tunnel/session.h"
#include "tunnel/unmask.h"

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
	enum ph_tunnel_limit tunnel_limit;
	enum ph_packet_kind packet_kind;
	enum ph_config_flag config_flag;
	enum ph_delivery_flag delivery_flag;
	enum ph_session_state session_state;
	enum ph_session_flag session_flag;
	enum ph_relay_limit relay_limit;
	enum ph_relay_outcome relay_outcome;
	enum ph_relay_backend_state relay_backend_state;
	enum ph_relay_flag relay_flag;
} btf_anchor SEC(".bss.anchor") = {};

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

static __always_inline void count(__u32 verdict, __u32 reason, __u32 bytes)
{
	if (!stats_enabled)
		return;
	count_frames(verdict, reason, 1, bytes);
}

static __always_inline int pass(__u32 reason, __u32 bytes)
{
	count(PH_VERDICT_PASS, reason, bytes);
	return XDP_PASS;
}

static __always_inline int drop(__u32 reason, __u32 bytes)
{
	count(PH_VERDICT_DROP, reason, bytes);
	return XDP_DROP;
}

/* A datagram to one of our ports, whose lengths agree. */
static __always_inline int receive(struct xdp_md *ctx, const struct packet *pkt, __u32 bytes)
{
	const struct masked *packet = (const struct masked *)(pkt->udp + 1);
	const struct ph_config *settings = get_config();
	struct ph_session_key key;
	__u64 now, shown;
	__u32 reason;

	if (!settings || !(settings->flags & PH_CONFIG_FLAG_FILTER)) {
		count(PH_VERDICT_PASS, PH_REASON_LISTEN, bytes);
		return deliver(ctx, pkt, 0, KIND_UNSEEN);
	}
	if (bpf_ntohs(pkt->udp->len) < sizeof(*pkt->udp) + PH_TUNNEL_LIMIT_PACKET_BYTES ||
	    (const void *)(packet + 1) > (const void *)(long)ctx->data_end)
		return drop(PH_REASON_SHORT, bytes);
	now = clock_ns();
	shown = unmask(packet, settings, now);
	if (shown == SHOWN_NO_KEYS) {
		count(PH_VERDICT_PASS, PH_REASON_NO_KEYS, bytes);
		return deliver(ctx, pkt, 0, KIND_UNSEEN);
	}
	if (shown == SHOWN_JUNK)
		return drop(PH_REASON_JUNK, bytes);
	fill_key(&key, pkt);
	if (SHOWN_KIND(shown) == PH_PACKET_KIND_HELLO) {
		reason = admit_hello(&key, settings, now, MASK_OF(packet, shown));
		if (reason != PH_REASON_SESSION) {
			report_session(ctx, ctx->ingress_ifindex, PH_EVENT_KIND_FLOOD,
				       reason, &key);
			return drop(reason, bytes);
		}
	}
	reason = note_session(&key, settings, now, SEEN(SHOWN_KIND(shown), bytes));
	if (reason == PH_REASON_SESSION_NEW)
		report_session(ctx, ctx->ingress_ifindex, PH_EVENT_KIND_NEW,
			       SHOWN_SESSION(shown), &key);
	count(PH_VERDICT_PASS, reason, bytes);
	return deliver(ctx, pkt, SHOWN_SESSION(shown), SHOWN_KIND(shown));
}

/* A datagram to one of our ports that contradicts itself: dropped, and told. */
static __always_inline int refuse(struct xdp_md *ctx, const struct packet *pkt, __u32 reason)
{
	struct ph_session_key key;
	__u32 kind = reason == PH_REASON_BAD_CHECKSUM ? PH_EVENT_KIND_CHECKSUM :
							PH_EVENT_KIND_MALFORMED;

	fill_key(&key, pkt);
	report_session(ctx, ctx->ingress_ifindex, kind, reason, &key);
	return drop(reason, ctx->data_end - ctx->data);
}

SEC("xdp")
int xdp_phantom(struct xdp_md *ctx)
{
	__u32 bytes = ctx->data_end - ctx->data;
	struct cursor at = cursor_of(ctx);
	const struct ph_claim *claimed;
	struct packet pkt = {};
	__u32 length, bits;
	int stop;

	stop = parse_udp(&at, &pkt);
	if (stop)
		return pass(PARSE_REASON(stop), bytes);
	bits = port_bits(pkt.udp->dest);
	if (!bits)
		return pass(PH_REASON_NOT_LISTENING, bytes);
	claimed = get_claim();
	if (!is_alive(claimed))
		return pass(PH_REASON_LET_GO, bytes);
	if (relay_enabled && bits & (BIT_RELAY | BIT_RETURN)) {
		int action = relay(ctx, &pkt, bits & BIT_RETURN);

		if (action != RELAY_NOT_OURS)
			return action;
	}
	if (!forget_way(ctx, &pkt))
		return pass(PH_REASON_BAD_IP, bytes);
	if (!(bits & BIT_LISTEN) || !is_claimed(claimed, &pkt))
		return pass(PH_REASON_NOT_LISTENING, bytes);
	length = bpf_ntohs(pkt.udp->len);
	if (pkt.family == 4 && !is_ip4_sum_right(ctx, pkt.ip))
		return refuse(ctx, &pkt, PH_REASON_BAD_CHECKSUM);
	if (length < sizeof(*pkt.udp) || length > pkt.room)
		return refuse(ctx, &pkt, PH_REASON_BAD_UDP);
	return receive(ctx, &pkt, bytes);
}

char LICENSE[] SEC("license") = "GPL";
