/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The time as it was when this clock tick began. jiffies64 is two instructions and no call, unlike
 * every other clock; mitigations make a call cost as much as half a SipHash.
 */
#ifndef PHANTOM_CLOCK_H
#define PHANTOM_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static struct {
	__u64 jiffies;
	__u64 ns;
} tick;

static __always_inline __u64 clock_ns(void)
{
	__u64 jiffies = bpf_jiffies64();

	if (tick.jiffies != jiffies) {
		/* The time first: who sees this tick on another CPU must not see the last one's. */
		*(volatile __u64 *)&tick.ns = bpf_ktime_get_ns();
		*(volatile __u64 *)&tick.jiffies = jiffies;
	}
	return tick.ns;
}

#endif
