// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What the verifier refuses: reads the frame without having looked where it ends. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int reads_too_far(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data;
}

char LICENSE[] SEC("license") = "GPL";
