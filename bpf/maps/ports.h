/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Which UDP ports are ours. */
#ifndef PHANTOM_MAPS_PORTS_H
#define PHANTOM_MAPS_PORTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_listen_word);
	__uint(max_entries, PH_TUNNEL_LIMIT_LISTEN_WORDS);
} listen_ports SEC(".maps");

#endif
