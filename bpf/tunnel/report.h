/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Events about sessions. */
#ifndef PHANTOM_REPORT_H
#define PHANTOM_REPORT_H

#include "contract/tunnel.h"
#include "lib/event.h"

/*
 * An event about who a session's key names. Not inline: the event would lie on the stack of all
 * callers, and before 6.13 there are 512 bytes for them and whom they call together.
 */
static __noinline int report_session(void *ctx, __u32 ifindex, __u32 kind, __u64 value,
				     const struct ph_session_key *key)
{
	struct ph_event event = {
		.kind = kind,
		.ifindex = ifindex,
		.src_port = key->src_port,
		.dst_port = key->dst_port,
		.protocol = key->protocol,
		.family = key->family,
		.value = value,
	};

	__builtin_memcpy(event.src_ip, key->src_ip, 16);
	__builtin_memcpy(event.dst_ip, key->dst_ip, 16);
	report(ctx, &event);
	return 0;
}

#endif
