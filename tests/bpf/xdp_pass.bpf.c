// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* For the far end of a veth, which takes frames from XDP only where a program is. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
