/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The contract between the BPF programs and user space.
 *
 * Every struct, enum and limit that both sides know is written here and nowhere else; the
 * TypeScript view (ffi/layout.gen.ts) is generated from the BTF of the compiled objects.
 * Numbers of enums are append-only: they are metric labels and pinned map contents.
 */
#ifndef PHANTOM_H
#define PHANTOM_H

/* Limits, as an enum because BTF carries enums and not macros. */
enum ph_limit {
	PH_LIMIT_LISTEN_WORDS = 65536 / 64,
	PH_LIMIT_EVENT_BYTES = 1 << 20,
	PH_LIMIT_EVENT_INTERVAL_NS = 10 * 1000 * 1000,	/* between two events of one CPU */
	PH_LIMIT_VLAN_TAGS = 2,
	PH_LIMIT_IPV6_EXTENSIONS = 8,
	PH_LIMIT_HEADER_OFFSET = 0x7ff,	/* headers further in are not followed */
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
	PH_REASON_NOT_LISTENING = 2,	/* UDP to a port that is not ours */
	PH_REASON_LISTEN = 3,		/* UDP to one of our ports */
	PH_REASON_FRAGMENT = 4,		/* part of a packet: the kernel puts it together */
	PH_REASON_TOO_DEEP = 5,		/* more tags or extension headers than ph_limit follows */
	PH_REASON_BAD_ETHERNET = 6,	/* frame ends inside its link-layer header */
	PH_REASON_BAD_IP = 7,		/* frame ends inside, or contradicts, its IP header */
	PH_REASON_BAD_UDP = 8,		/* to one of our ports, but the lengths contradict */
	PH_REASON_COUNT = 9,
};

/*
 * listen_ports: which UDP ports are ours, a bit each, indexed by port / 64. A bitmap and not a
 * hash because the look-up is then inlined: a call costs more than all the rest of the program.
 */
struct ph_listen_word {
	__u64 ports;			/* bit n: port 64 * index + n */
};

/* stats: per CPU, index = verdict * PH_REASON_COUNT + reason. */
struct ph_stat {
	__u64 packets;
	__u64 bytes;
};

/* event_gate: per CPU, when the next event may be sent and how many were not. */
struct ph_event_gate {
	__u64 next_ns;
	__u64 suppressed;		/* by the interval, or because the ring was full */
};

/* events: what the programs tell user space, oldest first, at most one a CPU and interval. */
enum ph_event_kind {
	PH_EVENT_KIND_MALFORMED = 1,	/* dropped at one of our ports; value: ph_reason */
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
