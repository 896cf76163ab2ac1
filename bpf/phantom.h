/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The contract between the BPF programs and user space.
 *
 * Every struct, enum and limit that both sides know is written here and nowhere else; the
 * TypeScript view (ffi/bpf/layout.gen.ts) is generated from the BTF of the compiled objects.
 * Numbers of enums are append-only: they are metric labels and pinned map contents.
 */
#ifndef PHANTOM_H
#define PHANTOM_H

/* Limits, as an enum because BTF carries enums and not macros. */
enum ph_limit {
	PH_LIMIT_LISTEN_WORDS = 65536 / 64,
	PH_LIMIT_EVENT_BYTES = 1 << 20,
	PH_LIMIT_EVENT_INTERVAL_NS = 10 * 1000 * 1000,	/* between two events of a CPU and kind */
	PH_LIMIT_NEW_INTERVAL_NS = 100 * 1000,		/* ... of the kinds new, closing, gone */
	PH_LIMIT_VLAN_TAGS = 2,
	PH_LIMIT_IPV6_EXTENSIONS = 8,
	PH_LIMIT_IPV4_OPTION_WORDS = 10,	/* of 4 bytes; all that IPv4 has room for */
	PH_LIMIT_HEADER_OFFSET = 0x7ff,	/* headers further in are not followed */
	PH_LIMIT_MASK_KEYS = 16,	/* windows that keys are held of; a power of two */
	PH_LIMIT_PACKET_BYTES = 32,	/* of a UDP payload; what is shorter is junk */
	PH_LIMIT_SESSIONS = 65536,	/* unless ebpf.map_size says otherwise */
	PH_LIMIT_SOURCES = 16384,	/* whose rates are known at a time */
	PH_LIMIT_REQUESTS = 60,		/* to xdp_sessions in one run */
	PH_LIMIT_WORKERS = 256,
	PH_LIMIT_XSK_FRAME_BYTES = 1792,	/* what fits into AF_XDP's frames */
	PH_LIMIT_QUEUES = 64,		/* of an interface, that AF_XDP may deliver */
	PH_LIMIT_SEGMENTS = 128,	/* that GRO joins, and are looked at; more are kept */
	PH_LIMIT_FRONT_SLOTS = 512,	/* of a CPU; a power of two */
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
	PH_REASON_SHORT = 9,		/* to one of our ports, too short for a packet */
	PH_REASON_JUNK = 10,		/* ... and its header does not unmask */
	PH_REASON_NO_KEYS = 11,		/* no key is for now: passes unseen, user space decides */
	PH_REASON_HELLO_SOURCE_LIMIT = 12,	/* more HELLOs than one source may send */
	PH_REASON_HELLO_TOTAL_LIMIT = 13,	/* more HELLOs than all sources may send */
	PH_REASON_SESSION = 14,		/* unmasks, and belongs to an entry of `sessions` */
	PH_REASON_SESSION_NEW = 15,	/* unmasks, and an entry was made for it */
	PH_REASON_SESSION_LIMIT = 16,	/* unmasks; no entry: its source made too many */
	PH_REASON_BAD_CHECKSUM = 17,	/* to one of our ports, with a wrong IPv4 header checksum */
	PH_REASON_COUNT = 18,
};

/* docs/PROTOCOL.md §2. */
enum ph_packet_kind {
	PH_PACKET_KIND_HELLO = 1,
	PH_PACKET_KIND_ACCEPT = 2,
	PH_PACKET_KIND_DATA = 3,	/* and 5, of the other key phase */
	PH_PACKET_KIND_RESET = 4,
	PH_PACKET_KIND_MAX = 5,
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

/*
 * mask_keys: of each window the key, at its number modulo PH_LIMIT_MASK_KEYS. The control plane
 * writes them ahead; a place is written only while its window is none of the three in use, so
 * that a key that is half written is one that nobody looks at.
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
 * front: at CPU * PH_LIMIT_FRONT_SLOTS + hash, the sessions that this CPU has seen in this clock
 * tick, and what they have brought since their entries were last written. Found without a call,
 * which the table of sessions is not: that is looked into once a tick and session.
 */
struct ph_front {
	struct ph_session_key key;
	__u64 tick_ns;			/* what they have brought is of this tick */
	__u64 bytes;
	__u32 packets;
	__u32 pad;
};

/* What user space has xdp_sessions do to single entries: never does it write a whole value. */
enum ph_session_op {
	PH_SESSION_OP_ESTABLISH = 1,
	PH_SESSION_OP_CLOSE = 2,
	PH_SESSION_OP_EXPIRE = 3,	/* remove it, if its time is still over */
	PH_SESSION_OP_FLUSH = 4,	/* of all CPUs' `front`: the slots from key[0..4] on */
};

enum ph_session_result {
	PH_SESSION_RESULT_NONE = 0,	/* not looked at */
	PH_SESSION_RESULT_DONE = 1,
	PH_SESSION_RESULT_MISSING = 2,
	PH_SESSION_RESULT_KEPT = 3,	/* it was heard of again */
};

/* A run's data: 16 bytes of nothing, then requests to the frame's end. */
struct ph_session_request {
	__u8 key[40];			/* struct ph_session_key */
	__u32 op;			/* enum ph_session_op */
	__u32 result;			/* enum ph_session_result */
};

/* event_gate: per CPU and kind, when the next event may be sent and how many were not. */
struct ph_event_gate {
	__u64 next_ns;
	__u64 suppressed;		/* by the interval, or because the ring was full */
};

/*
 * events: what the programs tell user space, oldest first, at most one a CPU, kind and interval.
 * Kinds from PRESSURE on are user space's own, here so that they have one list.
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
	PH_EVENT_KIND_COUNT = 9,
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
_Static_assert(sizeof(struct ph_session_key) == 40, "session key layout");
_Static_assert(sizeof(struct ph_session_value) == 64, "session value layout");
_Static_assert(sizeof(struct ph_session_request) == 48, "request layout");
_Static_assert(sizeof(struct ph_front) == 64, "front layout");
_Static_assert(sizeof(struct ph_mask_key) == 32, "mask key layout");

/* ---- the relay ---- */

enum ph_relay_limit {
	PH_RELAY_LIMIT_SERVICES = 64,
	PH_RELAY_LIMIT_BACKENDS = 1024,		/* of all services */
	PH_RELAY_LIMIT_TABLE = 16381,		/* places of a service in relay_maglev; a prime */
	PH_RELAY_LIMIT_PORT_PROBES = 8,		/* ports tried before a flow is refused */
	PH_RELAY_LIMIT_PORT_STEP = 7919,	/* from one to the next */
	PH_RELAY_LIMIT_CACHE = 4096,		/* flows of a CPU; a power of two */
	PH_RELAY_LIMIT_DEVICES = 64,
	PH_RELAY_LIMIT_ADDRESSES = 1024,	/* of this machine */
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

struct ph_relay_address {
	__u8 ip[16];
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
