// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A flood of junk: UDP to one port with a payload that is new each time. The frames are used
 * again with whatever their receiver made of them, so all of it is written anew.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define HEADERS 42			/* Ethernet, IPv4, UDP */
#define PAYLOAD 32			/* as short as what could be a packet */

const volatile __u32 out_ifindex;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u8[HEADERS]);
	__uint(max_entries, 1);
} headers SEC(".maps");

SEC("xdp")
int junk(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u32 zero = 0, random[2];
	const __u8 *header = bpf_map_lookup_elem(&headers, &zero);

	if (!header || data + HEADERS + PAYLOAD > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(data, header, HEADERS);
	for (int i = 0; i < PAYLOAD; i += sizeof(random)) {
		random[0] = bpf_get_prandom_u32();
		random[1] = random[0] * 0x9e3779b1;
		__builtin_memcpy(data + HEADERS + i, random, sizeof(random));
	}
	return bpf_redirect(out_ifindex, 0);
}

char LICENSE[] SEC("license") = "GPL";
