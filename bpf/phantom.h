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
	__u64 relays;			/* ... which the relay listens on */
	__u64 returns;			/* ... which the relay sends to backends from */
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

/* ---- the relay ---- */

enum ph_relay_limit {
	PH_RELAY_LIMIT_SERVICES = 64,
	PH_RELAY_LIMIT_BACKENDS = 1024,		/* of all services */
	PH_RELAY_LIMIT_TABLE = 16381,		/* places of a service in relay_maglev; a prime */
	PH_RELAY_LIMIT_PORT_PROBES = 8,		/* ports tried before a flow is refused */
	PH_RELAY_LIMIT_DEVICES = 64,
	PH_RELAY_LIMIT_UNANSWERED_S = 10,	/* then a flow without reply may lose its port */
	PH_RELAY_LIMIT_SUM_BYTES = 9216,	/* of a datagram whose checksum is completed */
};

/* What else the relay did with a frame: an index of relay_counts. */
enum ph_relay_outcome {
	/* Beside what relay_traffic counts. */
	PH_RELAY_OUTCOME_NEW_FLOW = 0,		/* a client's first packet */
	PH_RELAY_OUTCOME_MOVED = 1,		/* a flow got another backend */
	PH_RELAY_OUTCOME_COMPLETED = 2,		/* a checksum was only begun */
	/* Left to the kernel, and so to the relay in user space. */
	PH_RELAY_OUTCOME_UNUSUAL = 3,		/* tags, options, extension headers */
	PH_RELAY_OUTCOME_UNRESOLVED = 4,	/* no neighbour yet */
	PH_RELAY_OUTCOME_NO_ROUTE = 5,		/* none, or to this machine itself */
	PH_RELAY_OUTCOME_NO_DEVICE = 6,		/* the way out takes no frames from XDP */
	PH_RELAY_OUTCOME_NOT_LOCAL = 7,		/* to an address that is not this machine's */
	PH_RELAY_OUTCOME_TOO_LONG = 8,		/* and may be sent in parts */
	PH_RELAY_OUTCOME_UNFINISHED = 9,	/* a checksum that only the kernel can complete */
	/* Dropped. */
	PH_RELAY_OUTCOME_BAD_UDP = 10,		/* lengths contradict; over IPv6 no checksum */
	PH_RELAY_OUTCOME_JUNK = 11,		/* only: phantom, and it does not unmask */
	PH_RELAY_OUTCOME_NO_BACKEND = 12,	/* none is up */
	PH_RELAY_OUTCOME_NO_PORT = 13,		/* all ports tried are in use towards the backend */
	PH_RELAY_OUTCOME_NO_HOPS = 14,		/* TTL or hop limit used up */
	PH_RELAY_OUTCOME_NO_ROOM = 15,		/* the flow table took no entry */
	PH_RELAY_OUTCOME_TOLD_TOO_LONG = 16,	/* answered by an ICMP message */
	PH_RELAY_OUTCOME_COUNT = 17,
};

enum ph_relay_backend_state {
	PH_RELAY_BACKEND_STATE_NONE = 0,	/* no such backend */
	PH_RELAY_BACKEND_STATE_UP = 1,
	PH_RELAY_BACKEND_STATE_DRAINING = 2,	/* keeps its flows, gets no new ones */
	PH_RELAY_BACKEND_STATE_DOWN = 3,
};

enum ph_relay_flag {
	PH_RELAY_FLAG_PHANTOM = 1,		/* packets of clients must unmask */
	PH_RELAY_FLAG_BY_PORT = 2,		/* a client's ports may go to different backends */
	PH_RELAY_FLAG_RETURN = 4,		/* of a way: towards the client */
};

/* relay_config: one entry. */
struct ph_relay_config {
	__u64 idle_ns;			/* a flow without packets for so long may lose its port */
	__u32 generation;		/* changes with backends: every way is looked at again */
	__u32 fresh_jiffies;		/* so long a way's next hop is believed */
	__u16 first_port;		/* of the range that the relay sends from */
	__u16 port_count;
	__u32 keeps_metadata;		/* generic XDP: begun checksums are completed later */
};

/* relay_listens: what a port (and address; zero for any) belongs to. */
struct ph_relay_listen {
	__u8 ip[16];
	__be16 port;
	__u16 family;			/* of `any`: 4 or 6 */
};

struct ph_relay_service {
	__u32 table;			/* first place in relay_maglev */
	__u32 table_size;		/* 0: no backend is up */
	__u32 flags;			/* enum ph_relay_flag */
	__u32 pad;
};

/* relay_maglev: places of services, four to an entry, each a backend. */
struct ph_relay_places {
	__u16 backend[4];
};

struct ph_relay_backend {
	__u8 ip[16];
	__u8 source_ip[16];		/* this machine's address towards it */
	__be16 port;
	__u16 state;			/* enum ph_relay_backend_state */
	__u32 service;
};

/* relay_flows: where packets with these addresses and ports go, each direction an entry. */
struct ph_relay_key {
	__u8 src_ip[16];
	__u8 dst_ip[16];
	__be16 src_port;
	__be16 dst_port;
};

struct ph_relay_way {
	__u8 src_ip[16];		/* what is written over the packet's own */
	__u8 dst_ip[16];
	__be16 src_port;
	__be16 dst_port;
	__u16 ip_delta;			/* what the rewriting adds to the sums */
	__u16 udp_delta;
	__u16 pseudo;			/* sum of the packet's own addresses and protocol */
	__u16 mtu;
	__u16 backend;
	__u16 flags;			/* enum ph_relay_flag */
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u32 ifindex;
	__u64 fresh_until;		/* jiffies */
	__u64 last_seen_ns;
	__u64 packets;
	__u64 bytes;
	__u32 generation;
	__u32 service;
};

struct ph_relay_traffic {
	__u64 packets_out;		/* to the backend */
	__u64 bytes_out;
	__u64 packets_in;
	__u64 bytes_in;
	__u64 flows;
};

_Static_assert(sizeof(struct ph_relay_key) == 36, "relay key layout");
_Static_assert(sizeof(struct ph_relay_way) == 104, "relay way layout");

#endif
