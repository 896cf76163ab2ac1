/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Counters of frames, by what happened to them and why. */
#ifndef PHANTOM_STATS_H
#define PHANTOM_STATS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/common.h"
#include "maps/stats.h"

static __always_inline void count_frames(__u32 verdict, __u32 reason, __u32 packets, __u32 bytes)
{
	__u32 index = verdict * PH_REASON_COUNT + reason;
	struct ph_stat *stat = bpf_map_lookup_elem(&stats, &index);

	if (!stat)
		return;
	stat->packets += packets;
	stat->bytes += bytes;
}

#endif
