/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The table of sessions. */
#ifndef PHANTOM_MAPS_SESSIONS_H
#define PHANTOM_MAPS_SESSIONS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ph_session_key);
	__type(value, struct ph_session_value);
	__uint(max_entries, PH_TUNNEL_LIMIT_SESSIONS);
} sessions SEC(".maps");

#endif
