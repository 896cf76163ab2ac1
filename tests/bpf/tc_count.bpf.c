// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A system of TC as small as it can be: counts what comes and what goes, and lets it pass. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} passed SEC(".maps");

static __always_inline int count(__u32 direction)
{
	__u64 *packets = bpf_map_lookup_elem(&passed, &direction);

	if (packets)
		__sync_fetch_and_add(packets, 1);
	return -1; /* on with the next program */
}

SEC("tc") int tc_in(struct __sk_buff *skb) { return count(0); }
SEC("tc") int tc_out(struct __sk_buff *skb) { return count(1); }

char LICENSE[] SEC("license") = "GPL";
