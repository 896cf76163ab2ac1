// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Load for the relay's benchmark, by live frames: a sender that writes each frame anew, since
 * frames come back with what a receiver made of them, and a receiver that counts what arrives.
 */
#include <stddef.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BUCKETS 16384
#define BUCKET_SHIFT 8			/* 256 ns a bucket */

const volatile __u32 out_ifindex;	/* where frames go; 0: into the program under test */
const volatile __u32 frame_bytes;	/* of the template */
const volatile __u32 port_offset;	/* of the source port in it; the checksum is 6 further */
const volatile __u32 flows = 1;		/* a power of two */
const volatile __u32 burst;		/* frames at a time; 0: as many as go */
const volatile __u64 burst_gap_ns;	/* from one such time to the next */
const volatile __u32 stamps;		/* write the time into the payload */

const volatile __u32 want_offset;	/* of 4 bytes by which the receiver knows a frame */
const volatile __u32 want;
const volatile __u32 stamp_offset;	/* where the receiver finds the time; 0: nowhere */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64[16]);
	__uint(max_entries, 1);
} template SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} arrived SEC(".maps");			/* 0: what was wanted, 1: other frames */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, BUCKETS);
} delays SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} under_test SEC(".maps");

static __u32 number;

static __always_inline __u16 changed(__u16 check, __u32 delta)
{
	__u32 sum = (__u16)~check + delta;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __u64 burst_at_ns;

static long has_come(__u32 index, void *context)
{
	return bpf_ktime_get_ns() >= burst_at_ns;
}

/* Waits for the time of the next burst. */
static __always_inline void keep_pace(void)
{
	if (!burst || number % burst)
		return;
	if (!burst_at_ns)
		burst_at_ns = bpf_ktime_get_ns();
	burst_at_ns += burst_gap_ns;
	bpf_loop(1 << 20, has_come, NULL, 0);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, delta = 0;
	__u64 *words = bpf_map_lookup_elem(&template, &zero), *frame = data;
	__u16 *udp;

	if (!words || data + 64 > end || port_offset > 54)
		return XDP_ABORTED;
	keep_pace();
	for (int i = 0; i < 8; i++)
		frame[i] = words[i];
	udp = data + port_offset;
	number++;
	if (flows > 1) {
		__u16 add = bpf_htons(number & (flows - 1));

		udp[0] += add;
		delta += add;
	}
	if (stamps) {
		__u64 now = bpf_ktime_get_ns();
		__u16 *stamp = data + port_offset + 8;

		if ((void *)(stamp + 4) > end)
			return XDP_ABORTED;
		for (int i = 0; i < 4; i++) {
			stamp[i] = now >> 16 * i;
			delta += (__u16)(now >> 16 * i);
		}
	}
	udp[3] = changed(udp[3], delta);
	if (out_ifindex)
		return bpf_redirect(out_ifindex, 0);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

static __always_inline int received(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 other = 1;
	__u64 *count;

	if (want_offset < 60 && data + want_offset + 4 <= end)
		other = *(__u32 *)(data + want_offset) != want;
	count = bpf_map_lookup_elem(&arrived, &other);
	if (count)
		(*count)++;
	if (other)
		return XDP_PASS;
	if (stamp_offset && stamp_offset < 64 && data + stamp_offset + 8 <= end) {
		__u64 delay = bpf_ktime_get_ns() - *(__u64 *)(data + stamp_offset);
		__u32 bucket = delay >> BUCKET_SHIFT;

		if (bucket >= BUCKETS)
			bucket = BUCKETS - 1;
		count = bpf_map_lookup_elem(&delays, &bucket);
		if (count)
			(*count)++;
	}
	return XDP_DROP;
}

SEC("xdp")
int receive(struct xdp_md *ctx)
{
	return received(ctx);
}

/* At the way out of the relay: a stand-in for a driver that transmits. */
SEC("xdp/devmap")
int transmit(struct xdp_md *ctx)
{
	return received(ctx);
}

char LICENSE[] SEC("license") = "GPL";
