// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * AF_XDP delivery alone, without any filter: UDP to one port goes to the queue's socket. And what
 * a benchmark needs around it: live frames that are the same each time, and a count of what comes
 * back.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "phantom.h"
#include "parse.h"

#define HEADER_BYTES 42

const volatile __u16 port = 0;
const volatile __u32 out_ifindex = 0;
/* Ethernet, IPv4 and UDP of the live frames, and the port they are from. */
const volatile __u8 header[HEADER_BYTES] = {};
const volatile __u16 source_port = 0;

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
	struct packet pkt = {};

	if (parse_udp(ctx, &pkt) || pkt.udp->dest != bpf_htons(port))
		return XDP_PASS;
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

/* Frames come back to be used again with whatever became of them: all that matters is written. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;

	if (data + HEADER_BYTES > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	for (int i = 0; i < HEADER_BYTES; i++)
		data[i] = header[i];
	return bpf_redirect(out_ifindex, 0);
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	struct packet pkt = {};
	__u32 zero = 0;
	__u64 *value;

	if (parse_udp(ctx, &pkt) || pkt.udp->dest != bpf_htons(source_port))
		return XDP_PASS;
	value = bpf_map_lookup_elem(&counted, &zero);
	if (value)
		++*value;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
