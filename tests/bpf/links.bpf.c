// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Programs for the tests of attachments: one for each kind, and a map of maps. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TC_DROP 2

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} seen SEC(".maps");

/* Of which rules hold now: user space puts another set in its place in one step. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} streams SEC(".maps");

SEC("tc")
int tc_drop(struct __sk_buff *skb)
{
	return TC_DROP;
}

SEC("cgroup_skb/egress")
int cgroup_count(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 *packets = bpf_map_lookup_elem(&seen, &key);

	if (packets)
		__sync_fetch_and_add(packets, 1);
	return 1;
}

/* Of the two streams that is number 0. */
const volatile __u32 first_port;

/* Each stream's bytes go out by the other one. */
SEC("sk_skb/stream_verdict")
int to_other(struct __sk_buff *skb)
{
	__u32 other = skb->local_port == first_port ? 1 : 0;

	return bpf_sk_redirect_hash(skb, &streams, &other, 0);
}

/* What the present set has for entry 0. */
SEC("xdp")
int rule_of_set(struct xdp_md *ctx)
{
	__u32 key = 0;
	void *set = bpf_map_lookup_elem(&sets, &key);
	const __u32 *rule = set ? bpf_map_lookup_elem(set, &key) : 0;

	return rule ? *rule : 0;
}

char LICENSE[] SEC("license") = "GPL";
