/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What headers are shown with. */
#ifndef PHANTOM_MAPS_KEYS_H
#define PHANTOM_MAPS_KEYS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_mask_key);
	__uint(max_entries, PH_TUNNEL_LIMIT_MASK_KEYS);
} mask_keys SEC(".maps");

#endif
