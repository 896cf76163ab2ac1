/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The contract of the relay, which is part of xdp_phantom. */
#ifndef PHANTOM_CONTRACT_RELAY_H
#define PHANTOM_CONTRACT_RELAY_H

#include "contract/common.h"

enum ph_relay_limit {
	PH_RELAY_LIMIT_SERVICES = 64,
	PH_RELAY_LIMIT_BACKENDS = 1024,		/* of all services */
	PH_RELAY_LIMIT_TABLE = 16381,		/* places of a service in relay_maglev; a prime */
	PH_RELAY_LIMIT_PORT_PROBES = 8,		/* ports tried before a flow is refused */
	PH_RELAY_LIMIT_PORT_STEP = 7919,	/* from one to the next */
	PH_RELAY_LIMIT_CACHE = 4096,		/* flows of a CPU; a power of two */
	PH_RELAY_LIMIT_DEVICES = 64,
	PH_RELAY_LIMIT_UNANSWERED_S = 10,	/* then a flow without reply may lose its port */
	PH_RELAY_LIMIT_ICMP_INTERVAL_NS = 1000 * 1000,	/* between two ICMP messages */
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
	PH_RELAY_OUTCOME_NO_KEYS = 10,		/* only: phantom, and no key is for now */
	/* Dropped. */
	PH_RELAY_OUTCOME_BAD_UDP = 11,		/* lengths contradict; over IPv6 no checksum */
	PH_RELAY_OUTCOME_JUNK = 12,		/* only: phantom, and it does not unmask */
	PH_RELAY_OUTCOME_NO_BACKEND = 13,	/* none is up */
	PH_RELAY_OUTCOME_NO_PORT = 14,		/* all ports tried are in use towards the backend */
	PH_RELAY_OUTCOME_NO_HOPS = 15,		/* TTL or hop limit used up */
	PH_RELAY_OUTCOME_NO_ROOM = 16,		/* the flow table took no entry */
	PH_RELAY_OUTCOME_TOLD_TOO_LONG = 17,	/* answered by an ICMP message */
	PH_RELAY_OUTCOME_COUNT = 18,
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

/*
 * relay_cache: ways of a CPU's latest flows, found without a call, which return mitigations make
 * dear. As good as the way's time and generation say; its counters go to relay_flows in the end.
 */
struct ph_relay_cached {
	struct ph_relay_key key;
	__u32 pad;
	struct ph_relay_way way;
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
