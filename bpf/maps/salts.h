/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Salts of HELLOs that have come. */
#ifndef PHANTOM_MAPS_SALTS_H
#define PHANTOM_MAPS_SALTS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ph_salt);
	__type(value, __u32);
	__uint(max_entries, PH_TUNNEL_LIMIT_SALTS);
} salts SEC(".maps");

#endif
