/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What stands in front of the table of sessions. */
#ifndef PHANTOM_MAPS_FRONT_H
#define PHANTOM_MAPS_FRONT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

/* Made larger at loading where there are more CPUs; those that find no slot do without. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_front);
	__uint(max_entries, 8 * PH_TUNNEL_LIMIT_FRONT_SLOTS);
} front SEC(".maps");

#endif
