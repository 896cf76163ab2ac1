/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What programs have done with frames. */
#ifndef PHANTOM_MAPS_STATS_H
#define PHANTOM_MAPS_STATS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/common.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_stat);
	__uint(max_entries, PH_VERDICT_COUNT * PH_REASON_COUNT);
} stats SEC(".maps");

#endif
