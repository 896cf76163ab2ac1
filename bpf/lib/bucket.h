/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Token buckets of one word each, in a map's value. */
#ifndef PHANTOM_BUCKET_H
#define PHANTOM_BUCKET_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * The word is the time up to when the bucket's share is used up. Without a lock, so CPUs
 * that look at the same moment may each be let through: more by one packet a CPU, at most. What
 * they take is added up and never lost, so the rate over time is exact; only where a bucket that
 * was full is first touched by several CPUs at once may their shares but one be given away.
 */
static __always_inline bool bucket_take(__u64 *used, __u64 now, __u64 cost, __u64 room)
{
	__u64 full = now > room ? now - room : 0;
	__u64 until = *(volatile __u64 *)used;

	if (until < full) {
		*(volatile __u64 *)used = full;
		until = full;
	}
	if (until + cost > now)
		return false;
	__sync_fetch_and_add(used, cost);
	return true;
}

#endif
