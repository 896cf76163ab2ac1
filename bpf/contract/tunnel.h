/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The contract of the tunnel: xdp_phantom, xdp_sessions, tc_egress and steer. */
#ifndef PHANTOM_CONTRACT_TUNNEL_H
#define PHANTOM_CONTRACT_TUNNEL_H

#include "contract/common.h"

enum ph_tunnel_limit {
	PH_TUNNEL_LIMIT_LISTEN_WORDS = 65536 / 64,
	PH_TUNNEL_LIMIT_MASK_KEYS = 16,	/* windows that keys are held of; a power of two */
	PH_TUNNEL_LIMIT_WINDOW_MS = 30 * 1000,	/* how long a window is */
	PH_TUNNEL_LIMIT_PACKET_BYTES = 32,	/* of a UDP payload; what is shorter is junk */
	PH_TUNNEL_LIMIT_SESSIONS = 65536,	/* unless ebpf.map_size says otherwise */
	PH_TUNNEL_LIMIT_SOURCES = 16384,	/* whose rates are known at a time */
	PH_TUNNEL_LIMIT_SALTS = 65536,		/* that are known at a time */
	PH_TUNNEL_LIMIT_SALT_TURNS = 2,		/* a salt is let through so often */
	PH_TUNNEL_LIMIT_FIRST_ADDRESSES = 4,	/* found without a call */
	PH_TUNNEL_LIMIT_WORKERS = 256,
	PH_TUNNEL_LIMIT_XSK_FRAME_BYTES = 1792,	/* what fits into AF_XDP's frames */
	PH_TUNNEL_LIMIT_QUEUES = 64,		/* of an interface, that AF_XDP may deliver */
	PH_TUNNEL_LIMIT_SEGMENTS = 128,	/* that GRO joins, and are looked at; more are kept */
	PH_TUNNEL_LIMIT_FRONT_SLOTS = 512,	/* of a CPU; a power of two */
};

/* docs/PROTOCOL.md §2. A client sends HELLO and DATA. */
enum ph_packet_kind {
	PH_PACKET_KIND_HELLO = 1,
	PH_PACKET_KIND_ACCEPT = 2,
	PH_PACKET_KIND_DATA0 = 3,	/* of key phase 0 */
	PH_PACKET_KIND_RESET = 4,
	PH_PACKET_KIND_DATA1 = 5,	/* of key phase 1 */
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

/*
 * claim: entry 0 alone, for whom the program works, and which packets to our ports are theirs.
 * A machine may forward others to the same ports, and have more addresses than we listen at.
 */
struct ph_claim {
	__u64 alive_until_ns;		/* by the monotonic clock; then all passes */
	/* Addresses that we listen at; places over repeat the first. */
	__be32 first4[PH_TUNNEL_LIMIT_FIRST_ADDRESSES];
	struct ph_own_address first6[PH_TUNNEL_LIMIT_FIRST_ADDRESSES];
	__u32 families;			/* whose `own_addresses` are ours, too: bits 4 and 6 */
	__u32 pad;
};

/*
 * mask_keys: of each window the key, at its number modulo PH_TUNNEL_LIMIT_MASK_KEYS. The control
 * plane writes them ahead; a place is written only while its window is none of the three in use,
 * so that a key that is half written is one that nobody looks at.
 */
struct ph_mask_key {
	__u64 window;			/* 0: none */
	__u64 begin_ns;			/* when it begins, by the monotonic clock */
	__u64 k0;
	__u64 k1;
};

enum ph_config_flag {
	PH_CONFIG_FLAG_FILTER = 1,	/* look at headers; without it all that is ours passes */
};

/*
 * config: entry 0 alone. A limit is what one costs and what may be saved up, in ns of its rate
 * (the third of a second that three a second cost); a cost of 0 is no limit.
 */
struct ph_config {
	__u32 flags;			/* enum ph_config_flag */
	__u32 present;			/* where in mask_keys to look first: a hint */
	__u64 hello_source_cost_ns;
	__u64 hello_source_room_ns;
	__u64 hello_total_cost_ns;
	__u64 hello_total_room_ns;
	__u64 new_source_cost_ns;
	__u64 new_source_room_ns;
	__u64 new_timeout_ns;
	__u64 established_timeout_ns;
	__u64 closing_timeout_ns;
	__u32 workers;			/* that steering may choose from */
	__u32 owner_mask;		/* the bits of a session id that name its worker */
};

enum ph_delivery_flag {
	PH_DELIVERY_FLAG_HELLOS = 1,	/* HELLOs are the queue's worker's: each has one */
};

/*
 * delivery: entry 0 alone, how packets get past the network stack. Queue n of the interface is
 * worker n % workers'.
 */
struct ph_delivery {
	__u32 ifindex;			/* 0: they don't */
	__u32 workers;
	__u32 owner_mask;		/* the bits of a session id that name its worker */
	__be16 port;			/* our UDP port */
	__u16 flags;			/* enum ph_delivery_flag */
};

/* sources: rates of an IPv4 address, or of an IPv6 /64. */
struct ph_source_key {
	__u64 prefix;			/* network order */
	__u32 family;			/* 4 or 6 */
	__u32 pad;
};

/*
 * salts: of each HELLO, that its salt has come once, twice, ... There is an entry a turn, and not
 * a count, since before 5.12 no program learns what it has counted up to.
 */
struct ph_salt {
	__u64 hash;			/* 56 bits; the turn above */
};

/* Up to when its share is used up, by the monotonic clock. */
struct ph_source_value {
	__u64 hello_ns;
	__u64 new_ns;
};

/* totals: entry 0 alone, of all sources. */
struct ph_total {
	__u64 hello_ns;
};

/* sessions: the way packets come in; IPv4 is kept as IPv4-mapped. */
struct ph_session_key {
	__u8 src_ip[16];
	__u8 dst_ip[16];
	__be16 src_port;
	__be16 dst_port;
	__u8 protocol;
	__u8 family;			/* 4 or 6 */
	__u8 pad[2];
} __attribute__((aligned(8)));

enum ph_session_state {
	PH_SESSION_STATE_NEW = 1,	/* a packet has unmasked */
	PH_SESSION_STATE_ESTABLISHED = 2,	/* user space has opened one */
	PH_SESSION_STATE_CLOSING = 3,	/* user space has closed it */
};

enum ph_session_flag {
	PH_SESSION_FLAG_HELLO = 1,	/* its first packet was a HELLO */
};

/*
 * Counters are added to without atomics: a flow stays on the CPU that its hash chose. Where it
 * does not, a few counts get lost, nothing else.
 */
struct ph_session_value {
	__u8 peer_ip[16];
	__be16 peer_port;
	__u8 state;			/* enum ph_session_state */
	__u8 flags;			/* enum ph_session_flag */
	__u8 family;
	__u8 pad[3];
	__u64 created_ns;
	__u64 last_seen_ns;		/* of CLOSING: when that began */
	__u64 bytes_in;			/* of frames */
	__u64 bytes_out;
	__u32 packets_in;
	__u32 packets_out;
};

/*
 * front: at CPU * PH_TUNNEL_LIMIT_FRONT_SLOTS + hash, the sessions that this CPU has seen in this
 * clock tick, and what they have brought since their entries were last written. Found without a
 * call, which the table of sessions is not: that is looked into once a tick and session.
 */
struct ph_front {
	struct ph_session_key key;
	__u64 tick_ns;			/* what they have brought is of this tick */
	__u64 bytes;
	__u32 packets;
	__u32 pad;
};

/* ---- what user space asks of xdp_sessions ---- */

enum ph_request_limit {
	PH_REQUEST_LIMIT_RUN = 48,	/* requests in one run, which is a page at most */
	PH_REQUEST_LIMIT_HEAD_BYTES = 16,	/* in front of them: a frame has a header */
	PH_REQUEST_LIMIT_SLOTS = 16,	/* of `front` that one request flushes */
};

/* What user space has xdp_sessions do to single entries: never does it write a whole value. */
enum ph_session_op {
	PH_SESSION_OP_ESTABLISH = 1,
	PH_SESSION_OP_CLOSE = 2,
	PH_SESSION_OP_EXPIRE = 3,	/* remove it, if its time is still over */
	PH_SESSION_OP_FLUSH = 4,	/* of all CPUs' `front`: the slots from key[0..4] on */
	PH_SESSION_OP_SENT = 5,		/* count what AF_XDP has sent */
};

enum ph_session_result {
	PH_SESSION_RESULT_NONE = 0,	/* not looked at */
	PH_SESSION_RESULT_DONE = 1,
	PH_SESSION_RESULT_MISSING = 2,
	PH_SESSION_RESULT_KEPT = 3,	/* it was heard of again */
};

/* A run's data: PH_REQUEST_LIMIT_HEAD_BYTES of nothing, then requests to the frame's end. */
struct ph_session_request {
	__u8 key[40];			/* struct ph_session_key */
	__u32 op;			/* enum ph_session_op */
	__u32 result;			/* enum ph_session_result */
	__u64 bytes;			/* of PH_SESSION_OP_SENT */
	__u32 packets;
	__u32 pad;
};

_Static_assert(sizeof(struct ph_session_key) == 40, "session key layout");
_Static_assert(sizeof(struct ph_session_value) == 64, "session value layout");
_Static_assert(sizeof(struct ph_session_request) == 64, "request layout");
_Static_assert(sizeof(struct ph_front) == 64, "front layout");
_Static_assert(sizeof(struct ph_mask_key) == 32, "mask key layout");

#endif
