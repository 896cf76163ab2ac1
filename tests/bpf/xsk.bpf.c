// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * AF_XDP delivery alone, without any filter: UDP to one port goes to the queue's socket. And what
 * a benchmark needs around it: nothing in its place, and a count of what comes back.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "lib/parse.h"

const volatile __u16 port = 0;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 64);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} counted SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	struct cursor at = cursor_of(ctx);
	struct packet pkt = {};

	if (parse_udp(&at, &pkt) || pkt.udp->dest != bpf_htons(port))
		return XDP_PASS;
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	struct cursor at = cursor_of(ctx);
	struct packet pkt = {};

	return parse_udp(&at, &pkt) || pkt.udp->dest != bpf_htons(port) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	struct cursor at = cursor_of(ctx);
	struct packet pkt = {};
	__u32 zero = 0;
	__u64 *value;

	if (parse_udp(&at, &pkt) || pkt.udp->dest != bpf_htons(port))
		return XDP_PASS;
	value = bpf_map_lookup_elem(&counted, &zero);
	if (value)
		++*value;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
