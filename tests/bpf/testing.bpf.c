// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Small programs for the tests of the border: one for each thing that a binding does. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 answer = 42;
const volatile __u64 wide = 1;
const volatile __u8 narrow = 7;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 100000);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64[2]);
	__uint(max_entries, 64);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 64);
} narrow_tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
	__uint(max_entries, 64);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

struct event {
	__u64 number;
	__u64 rest[7];
};

static __u64 next;
static __u64 full;

SEC("xdp")
int answer_constant(struct xdp_md *ctx)
{
	return answer + (wide > 0xffffffff) + (narrow == 255);
}

/* One 64-byte event a run; a 4-byte frame gives only 5 bytes, to test the padding. */
SEC("xdp")
int emit_ring(struct xdp_md *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event) {
		full++;
		return XDP_DROP;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->number = next++;
	/* Wakes nobody: the tests and benchmarks drain by themselves. */
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return XDP_PASS;
}

/* Records of 1 to 64 bytes, every fifth one discarded. */
SEC("xdp")
int emit_odd(struct xdp_md *ctx)
{
	__u8 bytes[64] = {};
	__u64 number = next++;
	__u32 length = (number & 63) + 1;

	if (number % 5 == 4) {
		void *room = bpf_ringbuf_reserve(&ring, 16, 0);

		if (room)
			bpf_ringbuf_discard(room, 0);
		return XDP_PASS;
	}
	for (int i = 0; i < 64; i++)
		bytes[i] = number;
	return bpf_ringbuf_output(&ring, bytes, length, 0) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int emit_perf(struct xdp_md *ctx)
{
	struct event event = { .number = next++ };

	return bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event)) ?
		XDP_DROP : XDP_PASS;
}

SEC("xdp")
int tally(struct xdp_md *ctx)
{
	__u32 index = 5;
	__u64 *value = bpf_map_lookup_elem(&tallies, &index);

	if (value) {
		value[0]++;
		value[1] += 0x100000000;
	}
	return XDP_PASS;
}

SEC("tc")
int tc_pass(struct __sk_buff *skb)
{
	return -1;
}

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int xdp_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
