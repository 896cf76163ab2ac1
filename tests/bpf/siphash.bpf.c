// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* lib/siphash.h alone: a frame is key (16), message (17), and comes back with the hash behind. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "lib/siphash.h"

struct question {
	__u64 key[2];
	__u64 message[2];
	__u8 last;
	__u8 hash[8];
};

SEC("xdp")
int hash(struct xdp_md *ctx)
{
	struct question *question = (void *)(long)ctx->data;
	__u64 answer;

	if ((void *)question + 41 > (void *)(long)ctx->data_end)
		return XDP_DROP;
	answer = sip_end(sip_begin(question->key[0], question->key[1], question->message[0],
				   question->message[1]),
			 question->last | 17ull << 56);
	__builtin_memcpy(question->hash, &answer, sizeof(answer));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
