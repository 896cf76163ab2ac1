/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What user space has decided. */
#ifndef PHANTOM_MAPS_CONFIG_H
#define PHANTOM_MAPS_CONFIG_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_config);
	__uint(max_entries, 1);
} config SEC(".maps");

#endif
