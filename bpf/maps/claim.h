/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Whose packets the program works on. */
#ifndef PHANTOM_MAPS_CLAIM_H
#define PHANTOM_MAPS_CLAIM_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_claim);
	__uint(max_entries, 1);
} claim SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ph_own_address);
	__type(value, __u32);
	__uint(max_entries, PH_LIMIT_OWN_ADDRESSES);
} own_addresses SEC(".maps");

#endif
