/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* How much of its share a source has used up, and all of them. */
#ifndef PHANTOM_MAPS_RATES_H
#define PHANTOM_MAPS_RATES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ph_source_key);
	__type(value, struct ph_source_value);
	__uint(max_entries, PH_TUNNEL_LIMIT_SOURCES);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_total);
	__uint(max_entries, 1);
} totals SEC(".maps");

#endif
