/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Ways past the network stack. */
#ifndef PHANTOM_MAPS_DELIVERY_H
#define PHANTOM_MAPS_DELIVERY_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct ph_delivery);
	__uint(max_entries, 1);
} delivery SEC(".maps");

/* By queue of the one interface; sockets leave it when they are closed. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, PH_TUNNEL_LIMIT_QUEUES);
} xsks SEC(".maps");

#endif
