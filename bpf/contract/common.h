/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The contract between the BPF programs and user space: what every system knows of it.
 *
 * Every struct, enum and limit that both sides know is written in this folder and nowhere else,
 * those of a system in a header of its own; the TypeScript view (ffi/bpf/layout.gen.ts) is
 * generated from the BTF of the compiled objects. A change here is one to the layout of every
 * object, and the maps of the version before have to be migrated.
 * Numbers of enums are append-only: they are metric labels and pinned map contents.
 */
#ifndef PHANTOM_CONTRACT_COMMON_H
#define PHANTOM_CONTRACT_COMMON_H

#include <linux/types.h>

/* Limits, as an enum because BTF carries enums and not macros. */
enum ph_limit {
	PH_LIMIT_EVENT_BYTES = 1 << 20,
	PH_LIMIT_EVENT_INTERVAL_NS = 10 * 1000 * 1000,	/* between two events of a CPU and kind */
	PH_LIMIT_NEW_INTERVAL_NS = 100 * 1000,		/* ... of the kinds new, closing, gone */
	PH_LIMIT_VLAN_TAGS = 2,
	PH_LIMIT_IPV6_EXTENSIONS = 8,
	PH_LIMIT_IPV4_OPTION_WORDS = 10,	/* of 4 bytes; all that IPv4 has room for */
	PH_LIMIT_HEADER_OFFSET = 0x7ff,	/* headers further in are not followed */
	PH_LIMIT_OWN_ADDRESSES = 4096,	/* of this machine */
};

/* What happened to a frame. The first half of a counter's index. */
enum ph_verdict {
	PH_VERDICT_PASS = 0,
	PH_VERDICT_DROP = 1,
	PH_VERDICT_COUNT = 2,
};

/* Why it happened. The second half of a counter's index. */
enum ph_reason {
	PH_REASON_NOT_IP = 0,		/* ARP, LLDP, anything that is neither IPv4 nor IPv6 */
	PH_REASON_NOT_UDP = 1,
	PH_REASON_NOT_LISTENING = 2,	/* UDP to a port or an address that is not ours */
	PH_REASON_LISTEN = 3,		/* UDP to one of our ports */
	PH_REASON_FRAGMENT = 4,		/* part of a packet: the kernel puts it together */
	PH_REASON_TOO_DEEP = 5,		/* more tags or extension headers than ph_limit follows */
	PH_REASON_BAD_ETHERNET = 6,	/* frame ends inside its link-layer header */
	PH_REASON_BAD_IP = 7,		/* frame ends inside, or contradicts, its IP header */
	PH_REASON_BAD_UDP = 8,		/* to one of our ports, but the lengths contradict */
	PH_REASON_SHORT = 9,		/* to one of our ports, too short for a packet */
	PH_REASON_JUNK = 10,		/* ... and its header does not unmask */
	PH_REASON_NO_KEYS = 11,		/* no key is for now: passes unseen, user space decides */
	PH_REASON_HELLO_SOURCE_LIMIT = 12,	/* more HELLOs than one source may send */
	PH_REASON_HELLO_TOTAL_LIMIT = 13,	/* more HELLOs than all sources may send */
	PH_REASON_SESSION = 14,		/* unmasks, and belongs to an entry of `sessions` */
	PH_REASON_SESSION_NEW = 15,	/* unmasks, and an entry was made for it */
	PH_REASON_SESSION_LIMIT = 16,	/* unmasks; no entry: its source made too many */
	PH_REASON_BAD_CHECKSUM = 17,	/* to one of our ports, with a wrong IPv4 header checksum */
	PH_REASON_LET_GO = 18,		/* to one of our ports, which nobody runs for any more */
	PH_REASON_HELLO_REPEATED = 19,	/* a HELLO whose salt has come often enough */
	PH_REASON_COUNT = 20,
};

/* own_addresses: those of this machine, as keys. */
struct ph_own_address {
	__u8 ip[16];			/* IPv4 is kept as IPv4-mapped */
};

/* stats: per CPU, index = verdict * PH_REASON_COUNT + reason. */
struct ph_stat {
	__u64 packets;
	__u64 bytes;
};

/* event_gate: per CPU and kind, when the next event may be sent and how many were not. */
struct ph_event_gate {
	__u64 next_ns;
	__u64 suppressed;		/* by the interval, or because the ring was full */
};

/*
 * events: what the programs tell user space, oldest first, at most one a CPU, kind and interval.
 * PRESSURE and ATTACH_LOST are user space's own, here so that they have one list.
 */
enum ph_event_kind {
	PH_EVENT_KIND_MALFORMED = 1,	/* dropped at one of our ports; value: ph_reason */
	PH_EVENT_KIND_NEW = 2,		/* an entry of `sessions`; value: session id */
	PH_EVENT_KIND_ESTABLISHED = 3,
	PH_EVENT_KIND_CLOSING = 4,
	PH_EVENT_KIND_FLOOD = 5,	/* a limit was hit; value: ph_reason */
	PH_EVENT_KIND_CHECKSUM = 6,	/* dropped at one of our ports; value: ph_reason */
	PH_EVENT_KIND_PRESSURE = 7,	/* `sessions` fills up; value: per cent */
	PH_EVENT_KIND_ATTACH_LOST = 8,
	PH_EVENT_KIND_GONE = 9,		/* an established entry of `sessions` timed out */
	PH_EVENT_KIND_COUNT = 10,
};

struct ph_event {
	__u64 time_ns;			/* bpf_ktime_get_ns */
	__u32 kind;			/* enum ph_event_kind */
	__u32 ifindex;
	__u8 src_ip[16];		/* IPv4 is kept as IPv4-mapped */
	__u8 dst_ip[16];
	__be16 src_port;
	__be16 dst_port;
	__u8 protocol;
	__u8 family;			/* 4 or 6 */
	__u8 pad[2];
	__u64 value;
};

_Static_assert(sizeof(struct ph_stat) == 16, "stat layout");
_Static_assert(sizeof(struct ph_event) == 64, "event layout");

#endif
