/* SPDX-License-Identifier: MIT */
/*
 * libphantom.so: what TypeScript can't do fast enough, or at all, in batches.
 *
 * Conventions: integers return >= 0 or -errno; handles are pointers, NULL with *err = -errno
 * when opening failed, and closed exactly once by their owner (the TypeScript handle sees to
 * that). Buffers belong to the caller and are only touched during the call. A handle is used by
 * one thread at a time. Structs are naturally aligned, without padding, host byte order.
 */
#ifndef PH_H
#define PH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PH_API __attribute__((visibility("default")))
#define PH_ABI 6

/* The number the TypeScript side was written for; a mismatch is refused at load. */
PH_API uint32_t ph_abi(void);

/* ---- log.c: libbpf's messages, formatted here because a va_list can't cross the border ---- */

/* The function to hand to libbpf_set_print. Collects per thread. */
PH_API void *ph_log_printer(void);
/* Takes (and clears) what this thread collected; returns the bytes written, at most cap. */
PH_API int32_t ph_log_take(void *out, uint32_t cap);
/* Calls fn(a, b, c, d), a function returning a pointer that reports by errno. */
PH_API void *ph_call_pointer(void *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
			     int32_t *err);
/*
 * Calls fn(object), libbpf's bpf_object__load, and takes what it said: on whatever thread it runs,
 * its log[0..*used) is that of this call. What fn returns.
 */
PH_API int32_t ph_object_load(void *fn, void *object, uint8_t *log, uint32_t cap, uint32_t *used);

/* ---- sys.c: system calls that Deno has no name for ---- */

/* Opens and locks a folder for this process; the fd, or -EWOULDBLOCK when another holds it. */
PH_API int32_t ph_lock_folder(const char *path);
/* Opens a folder; the fd. */
PH_API int32_t ph_open_folder(const char *path);
/* 1 when path lies on a BPF file system, else 0. */
PH_API int32_t ph_is_bpffs(const char *path);
PH_API int32_t ph_mount_bpffs(const char *path);
/* The index of a network interface, or -ENODEV. */
PH_API int32_t ph_ifindex(const char *name);
/* Opens a socket and closes it again: 0, or why it can't be had. */
PH_API int32_t ph_try_socket(int32_t family, int32_t type, int32_t protocol);
/* Raises the limit on open files as far as it goes; what it is now, at most INT32_MAX. */
PH_API int32_t ph_descriptors_raise(void);
/*
 * From now on, in all threads, what others have us open gets no descriptor from this one on:
 * connections, accepted ones, and UDP sockets with PH_UDP_SPARED. They fail with -EMFILE.
 */
PH_API void ph_descriptors_spare(int32_t from);
/* Memory of our own that is not in use: the system has its whole pages back, they read as zeros. */
PH_API void ph_memory_unused(uint8_t *bytes, uint64_t length);
/* The same for what was freed of the C heap, of all threads: takes milliseconds. */
PH_API void ph_heap_release(void);

/* ---- privileges.c: what this process gives up ---- */

/* No core files, and as root nobody who attaches. */
PH_API int32_t ph_hide_memory(void);
/*
 * All threads keep no capability but these (bit n: capability n), and no program that they run gets
 * any. Raises the limit on locked memory before, as far as it may. -ETIMEDOUT: a thread did not
 * answer within a second.
 */
PH_API int32_t ph_keep_capabilities(uint64_t capabilities);

/* ---- interfaces.c: network interfaces ---- */

struct ph_interface {
	uint32_t ifindex;
	uint32_t flags;			/* IFF_UP, IFF_LOOPBACK, … */
	uint32_t mtu;
	uint32_t xdp_native;		/* ids of attached programs, 0 for none */
	uint32_t xdp_generic;
	uint32_t xdp_offloaded;
	uint64_t rx_packets;
	char name[16];
};

/* A socket that hears of interfaces that come, go or change. */
PH_API int32_t ph_interface_watch(void);
/* One that hears of addresses of interfaces. */
PH_API int32_t ph_address_watch(void);
/* Empties either: 1 when there was something, else 0. */
PH_API int32_t ph_interface_changed(int32_t fd);
/*
 * Fills interfaces[0..max) with all interfaces, or with that of an index; how many there are, which
 * may be more than max. -ENODEV: none has that index.
 */
PH_API int32_t ph_interface_list(uint32_t ifindex, struct ph_interface *interfaces, uint32_t max);
/*
 * The other end of a veth, in whichever network namespace: 1 and *peer, 0 for an interface that is
 * none, or -errno.
 */
PH_API int32_t ph_interface_peer(uint32_t ifindex, struct ph_interface *peer);

/* ---- ring.c: BPF ring buffer and perf buffer, drained into a caller's buffer ---- */

struct ph_ring;
/* Opens the consumer side of a BPF_MAP_TYPE_RINGBUF. */
PH_API struct ph_ring *ph_ring_open(int32_t map_fd, int32_t *err);
/* Opens one buffer a CPU of a BPF_MAP_TYPE_PERF_EVENT_ARRAY, `pages` (a power of two) each. */
PH_API struct ph_ring *ph_perf_open(int32_t map_fd, uint32_t pages, int32_t *err);
/*
 * Moves whole records into out: u32 length | u32 cpu | data padded to 8. Returns the bytes
 * written; 0 when there was nothing. A record larger than cap: -EMSGSIZE, and it stays.
 */
PH_API int32_t ph_ring_drain(struct ph_ring *ring, void *out, uint32_t cap);
/* Records the kernel had no room for (perf buffers; a ring buffer's program counts its own). */
PH_API uint64_t ph_ring_lost(const struct ph_ring *ring);
/* Readable when there are records: an fd for ph_epoll_add. Owned by the ring. */
PH_API int32_t ph_ring_fd(const struct ph_ring *ring);
PH_API void ph_ring_close(struct ph_ring *ring);

/* ---- loop.c: epoll and eventfd ---- */

struct ph_ready {
	uint32_t events;		/* EPOLLIN, EPOLLOUT, … */
	uint32_t tag;			/* as given to ph_epoll_add */
};

PH_API int32_t ph_epoll_create(void);
PH_API int32_t ph_epoll_add(int32_t ep, int32_t fd, uint32_t events, uint32_t tag);
PH_API int32_t ph_epoll_change(int32_t ep, int32_t fd, uint32_t events, uint32_t tag);
PH_API int32_t ph_epoll_remove(int32_t ep, int32_t fd);
/* Waits at most timeout_ms (-1: for ever) and fills ready[0..max). EINTR counts as a time-out. */
PH_API int32_t ph_epoll_wait(int32_t ep, struct ph_ready *ready, int32_t max, int32_t timeout_ms);
PH_API int32_t ph_eventfd_create(void);
PH_API int32_t ph_eventfd_signal(int32_t fd);
/* Resets; returns 1 when it had been signalled, else 0. */
PH_API int32_t ph_eventfd_drain(int32_t fd);
PH_API int32_t ph_close(int32_t fd);
/* Milliseconds of CLOCK_MONOTONIC: the same clock for all threads, and for bpf_ktime_get_ns. */
PH_API double ph_now_ms(void);
/* Milliseconds of CLOCK_BOOTTIME, which goes on while the machine sleeps. */
PH_API double ph_boot_ms(void);

/* ---- local.c: by which addresses this machine itself is reached ---- */

struct ph_block {
	uint8_t ip[16];			/* IPv4 as IPv4-mapped */
	uint32_t bits;			/* of 128 */
};

/*
 * Fills blocks[0..max) with the addresses of all interfaces, and what local routes lead to; how
 * many there are, which may be more than max. One may be there twice.
 */
PH_API int32_t ph_local_list(struct ph_block *blocks, uint32_t max);

/* ---- udp.c: datagrams in batches, with GRO and GSO ---- */

/* An address and port. IPv4 is IPv4-mapped, so that one dual-stack socket serves both. */
struct ph_addr {
	uint8_t ip[16];
	uint16_t port;
	uint16_t pad;			/* TypeScript's: 0 from here, and not looked at */
	uint32_t scope;			/* interface of a link-local address, else 0 */
};

enum ph_udp_flag {
	PH_UDP_REUSEPORT = 1,
	PH_UDP_V6ONLY = 2,
	PH_UDP_GRO = 4,			/* let the kernel join datagrams it received */
	PH_UDP_GSO = 8,			/* let the kernel cut what is sent into datagrams */
	PH_UDP_PKTINFO = 16,		/* learn the local address of each datagram */
	PH_UDP_DONTFRAG = 32,		/* path MTU discovery is ours: never fragment */
	PH_UDP_IPV4 = 64,		/* only told, never asked: an AF_INET socket */
	PH_UDP_SPARED = 128,		/* only asked: leave the spared descriptors alone */
	PH_UDP_ERRORS = 256,		/* only asked: what ICMP says of what was sent is kept */
};

/*
 * A non-blocking UDP socket bound to local (port 0: any free one, written back). An IPv4-mapped
 * address binds IPv4 traffic only, :: both families unless V6ONLY. When the machine has no IPv6
 * an IPv4 socket is made for :: too, and addresses are still given as IPv4-mapped.
 * *flags holds what is asked for; GRO, GSO, PKTINFO and DONTFRAG that this kernel does not have
 * are cleared in it. What it holds afterwards is what ph_udp_recv and ph_udp_send are given.
 * rcvbuf and sndbuf (0: leave them) are tried with *BUFFORCE first, so that root is not bound by
 * the sysctl.
 */
PH_API int32_t ph_udp_open(struct ph_addr *local, uint32_t *flags, uint32_t rcvbuf,
			   uint32_t sndbuf);

/* Has a socket use this interface and no other; 0 or -errno. */
PH_API int32_t ph_udp_device(int32_t fd, const char *device);

/* The address that packets to `peer` come from, without sending one: 0, or -errno of no route. */
PH_API int32_t ph_source_address(const struct ph_addr *peer, struct ph_addr *source);
/*
 * All addresses of a name by this machine's resolver, the preferred first, at most max; how many.
 * 0: it says that there is no such name; -EAGAIN: it does not answer, or fails. Waits: to be called
 * on a thread of its own.
 */
PH_API int32_t ph_name_addresses(const char *name, uint8_t *ips, uint32_t max);

/* SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_EBPF or SO_DETACH_FILTER; 0 or -errno. */
PH_API int32_t ph_attach_program(int32_t fd, int32_t option, int32_t program);

struct ph_udp_msg {
	struct ph_addr peer;
	struct ph_addr local;		/* port is 0: the socket's own */
};

struct ph_udp_span {
	uint32_t offset;		/* of the datagram in the arena */
	uint32_t length;
	uint32_t msg;			/* index of its ph_udp_msg: who sent it, where to */
	uint32_t flags;			/* PH_SPAN_TRUNCATED */
};

#define PH_SPAN_TRUNCATED 1
/* Messages in one call of ph_udp_recv or ph_udp_send. */
#define PH_UDP_BATCH_MAX 64
/* Datagrams that one received message may hold: UDP_MAX_SEGMENTS of Linux 6.9; 64 before. */
#define PH_UDP_GRO_MAX 128
/* Datagrams that one sent entry may hold: UDP_MAX_SEGMENTS of every Linux since 4.18. */
#define PH_UDP_GSO_MAX 64
/* Payload of the largest UDP datagram over IPv4, and of a GSO entry. */
#define PH_UDP_PAYLOAD_MAX 65507

/*
 * Receives up to `slots` messages (at most 64) into arena[i * slot_size ..), and cuts what GRO
 * joined into datagrams. slot_size 65536 holds anything; with less, GRO may truncate.
 * msgs has `slots` entries. Returns the number of spans; 0 when there was nothing. A message is
 * only received when its worst case (PH_UDP_GRO_MAX spans with GRO in flags, else 1) fits: with a
 * small max_spans fewer slots are used, and with less than one worst case it is -EINVAL.
 * An error of an earlier send that the kernel reports here (ECONNREFUSED, EHOSTUNREACH, …) is
 * skipped, not returned.
 */
PH_API int32_t ph_udp_recv(int32_t fd, uint32_t flags, uint8_t *arena, uint32_t arena_len,
			   uint32_t slot_size, uint32_t slots, struct ph_udp_msg *msgs,
			   struct ph_udp_span *spans, uint32_t max_spans);

/*
 * As a segment: one datagram that IP may cut into fragments on its way, whatever DONTFRAG says of
 * the socket.
 */
#define PH_UDP_FRAGMENT 0xffffffffu

struct ph_udp_send {
	struct ph_addr peer;
	struct ph_addr local;		/* source to send from; all zero: the kernel chooses */
	uint32_t offset;
	uint32_t length;
	uint32_t segment;		/* 0: one datagram; else cut into this size */
	int32_t result;			/* out: 0 sent, or -errno of this entry (EMSGSIZE, …) */
};

/*
 * Sends sends[0..n), n at most 64. An entry longer than its `segment` goes out by GSO (at most 64
 * segments and 65,507 bytes; else -EINVAL), or datagram by datagram where *flags lacks
 * PH_UDP_GSO or the kernel or device refuses it. A refusal that is the device's and not the entry's
 * clears PH_UDP_GSO in *flags; the entry is still sent.
 * Returns how many entries were dealt with (their result is set); fewer than n means that the
 * socket's buffer is full: wait for EPOLLOUT, then go on with the first that was not dealt with,
 * whose offset and length now cover only what is left of it.
 * An error of one entry does not stop the others; it may leave later segments of its own unsent.
 */
PH_API int32_t ph_udp_send(int32_t fd, uint32_t *flags, const uint8_t *arena, uint32_t arena_len,
			   struct ph_udp_send *sends, uint32_t n);

/* ---- icmp.c: what ICMP tells of the way to a peer ---- */

/* Why a datagram did not get to its peer. */
enum ph_way_error {
	PH_WAY_REFUSED = 1,		/* the peer's machine: nothing has that port */
	PH_WAY_UNREACHABLE = 2,		/* there is no way to the peer, or its machine is off */
	PH_WAY_PROHIBITED = 3,		/* a firewall's words */
};

/*
 * The next such error of a UDP socket with PH_UDP_ERRORS, or 0 for none: whom the datagram was for,
 * and who says so. Anybody who knows the ports can forge it: it is a hint, and no more.
 */
PH_API int32_t ph_udp_error(int32_t fd, struct ph_addr *peer, struct ph_addr *teller);

/*
 * A socket that gets no packet, and each ICMP error about UDP packets from this machine to `peer`,
 * whoever sent them past the network stack. By it the kernel also learns of the path's MTU, for
 * packets of its own and for bpf_fib_lookup. Needs CAP_NET_RAW.
 */
PH_API int32_t ph_path_open(const struct ph_addr *peer);
/*
 * The next error as errno above 0, or 0 for none. *detail: of EMSGSIZE the path's MTU, else the
 * peer's port.
 */
PH_API int32_t ph_path_error(int32_t fd, uint32_t *detail);
/*
 * A socket of the UDP packets from `peer` to ports first to last of this machine, whole, also of
 * ports that nobody has: for ph_udp_recv, without flags. IPv4's come with their IP header in front
 * of UDP's, IPv6's without. Checksums are not verified.
 */
PH_API int32_t ph_returns_open(const struct ph_addr *peer, uint32_t first, uint32_t last,
			       uint32_t rcvbuf);

/* Sends an ICMP echo; the socket that its answer comes to. */
PH_API int32_t ph_echo_send(const struct ph_addr *peer, uint32_t token);
/* 1 when the answer with this token has come, 0 when not yet, or -errno, as of no route. */
PH_API int32_t ph_echo_heard(int32_t fd, uint32_t token);

/* ---- xsk.c: AF_XDP, datagrams past the network stack ---- */

/* Queues of an interface that one ph_xsk can have, a socket each. */
#define PH_XSK_QUEUES_MAX 16
/* Frames of each queue: to receive into, and to send with. */
#define PH_XSK_RX_FRAMES 2048
#define PH_XSK_TX_FRAMES 1024
#define PH_XSK_FRAME_BYTES 2048
/* A frame has 256 bytes of headroom in it, and an Ethernet header. */
#define PH_XSK_MTU_MAX 1778
/* Datagrams in one call of ph_xsk_recv. */
#define PH_XSK_BATCH_MAX 256
/*
 * Datagrams of an entry that ph_xsk_send takes in copy mode: what is longer costs less by GSO, of
 * which the kernel makes packets late, or never. Measured on veth: as dear at 5 datagrams where the
 * line takes them one by one, and at 2 where it takes them as one.
 */
#define PH_XSK_RUN_MAX 3
/* Peers whose way back is known; the others are served by the UDP socket. */
#define PH_XSK_WAYS 16384
/* What ph_xsk_open wants for so many queues: the frames, and room to align them. */
#define PH_XSK_MEMORY(queues) \
	((queues) * (PH_XSK_RX_FRAMES + PH_XSK_TX_FRAMES) * PH_XSK_FRAME_BYTES + 65536u)

enum ph_xsk_flag {
	PH_XSK_COPY = 1,		/* not zero-copy, even if the driver can */
	PH_XSK_ZERO_COPY = 2,		/* zero-copy or nothing */
	PH_XSK_LONG_RUNS = 4,		/* ph_xsk_send takes entries of any length */
};

/* Indexes of ph_xsk_counts. */
enum ph_xsk_count {
	PH_XSK_RECEIVED = 0,
	PH_XSK_SENT = 1,
	PH_XSK_BAD_FRAMES = 2,		/* received, and no datagram for our port */
	PH_XSK_NO_WAY_BACK = 3,		/* entries left to the socket: the way back is not known */
	PH_XSK_NO_ROOM = 4,		/* entries left to the socket: the ring was full */
	PH_XSK_KERNEL_DROPPED = 5,	/* by the kernel: we did not keep up */
	PH_XSK_LONG = 6,		/* entries left to the socket: GSO sends them for less */
	PH_XSK_COUNTS = 7,
};

struct ph_xsk_options {
	uint32_t ifindex;
	uint32_t port;			/* the UDP port that is ours */
	uint32_t flags;			/* enum ph_xsk_flag; neither: zero-copy if possible */
	uint32_t queues;
	uint32_t queue[PH_XSK_QUEUES_MAX];
};

/* Queues that an interface receives by, 1 where its driver does not tell; or -errno. */
PH_API int32_t ph_xsk_queues(uint32_t ifindex);

struct ph_xsk;
/*
 * Opens a socket for each queue, all with their frames in memory, of PH_XSK_MEMORY(queues) bytes:
 * it must stay where it is until ph_xsk_close. -EBUSY: somebody has a queue already. -EMSGSIZE:
 * the interface's MTU is over PH_XSK_MTU_MAX.
 */
PH_API struct ph_xsk *ph_xsk_open(const struct ph_xsk_options *options, uint8_t *memory,
				  uint32_t memory_len, int32_t *err);
PH_API void ph_xsk_close(struct ph_xsk *xsk);
/* The socket of the queue-th queue: readable when there is something to receive. */
PH_API int32_t ph_xsk_fd(const struct ph_xsk *xsk, uint32_t queue);
PH_API int32_t ph_xsk_is_zero_copy(const struct ph_xsk *xsk);
/* Puts the socket of the queue-th queue into an XSKMAP; the kernel takes it out at close. */
PH_API int32_t ph_xsk_enter(const struct ph_xsk *xsk, uint32_t queue, int32_t map_fd,
			    uint32_t key);
/* 0: all is well. -ENETDOWN, -ENODEV, …: nothing will come or go any more; close it. */
PH_API int32_t ph_xsk_check(struct ph_xsk *xsk);
/* Fills PH_XSK_COUNTS numbers. */
PH_API void ph_xsk_counts(const struct ph_xsk *xsk, uint64_t *counts);

/*
 * Receives up to max datagrams (at most PH_XSK_BATCH_MAX, and msgs and spans have as many entries)
 * of the queue-th queue. Spans are offsets into the memory, and valid, to be read and written,
 * until the next call; as after GRO, a row of datagrams of one route is one message. Returns the
 * number of spans; a frame that holds no datagram for our port is counted, and an empty span
 * (length 0), so that less than max means that no more were waiting.
 */
PH_API int32_t ph_xsk_recv(struct ph_xsk *xsk, uint32_t queue, struct ph_udp_msg *msgs,
			   struct ph_udp_span *spans, uint32_t max);
/*
 * Notes how to answer the sender of a message of the last receive: to the Ethernet address it
 * came from, by the queue it came by. To be called when the sender has proved who they are, for
 * whoever can send a frame could else draw a peer's packets to themselves.
 */
PH_API int32_t ph_xsk_learn(struct ph_xsk *xsk, const struct ph_udp_msg *msgs, uint32_t msg);
/*
 * Sends what it can of sends[0..n), n at most PH_UDP_BATCH_MAX, and returns how many entries are
 * left for the UDP socket: they have moved to the front, with offset and length of what is left of
 * them. Those are: peers whose way is not known, datagrams over the MTU, PH_UDP_FRAGMENT, in copy
 * mode what is longer than PH_XSK_RUN_MAX, and everything while the ring is full. What follows an
 * entry that is left, to the same peer, is left too, so that nothing overtakes.
 */
PH_API int32_t ph_xsk_send(struct ph_xsk *xsk, const uint8_t *arena, uint32_t arena_len,
			   struct ph_udp_send *sends, uint32_t n);
/* Sent to a peer by ph_xsk_send, since it was told last. */
struct ph_xsk_sent {
	struct ph_udp_msg route;
	uint64_t bytes;			/* of frames */
	uint32_t packets;
	uint32_t pad;
};

/* Fills sent[0..max), and forgets what it tells; less than max: that was all. */
PH_API int32_t ph_xsk_take_sent(struct ph_xsk *xsk, struct ph_xsk_sent *sent, uint32_t max);
/* Has the kernel go on with frames that it did not take at once; 1 while there are some. */
PH_API int32_t ph_xsk_kick(struct ph_xsk *xsk);

/* ---- aead.c: ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM in batches, in place ---- */

enum ph_cipher {
	PH_CHACHA20_POLY1305 = 1,
	PH_AES_256_GCM = 2,
};

enum ph_machine {
	PH_MACHINE_AES = 1,		/* what PH_AES_256_GCM needs */
	PH_MACHINE_WIDE_CHACHA = 2,	/* ChaCha20 runs on AVX-512 */
};

/* Bits of enum ph_machine, as libcrypto sees the machine. */
PH_API int32_t ph_aead_machine(void);

#define PH_AEAD_KEYS_MAX (1u << 20)

struct ph_aead;
/* A table of up to max_keys keys (at most 1 << 20), one owner, never shared between threads. */
PH_API struct ph_aead *ph_aead_open_table(uint32_t max_keys, int32_t *err);
/* Wipes all keys. */
PH_API void ph_aead_close_table(struct ph_aead *table);
/*
 * Copies the 32-byte key of an enum ph_cipher; returns its id, -ENOSPC, or -EINVAL where this
 * machine has no such cipher. The id is slot | generation << 20: the id of
 * a removed key stays unknown when its slot is used again (for 2,047 uses), so that a late packet
 * can't be sealed under the key of somebody else.
 */
PH_API int32_t ph_aead_key_add(struct ph_aead *table, const uint8_t *key, uint32_t cipher);
/* Wipes the key; -ENOENT when there is none of this id. */
PH_API int32_t ph_aead_key_remove(struct ph_aead *table, uint32_t key);

struct ph_aead_op {
	uint64_t number;		/* nonce = u32(0) || u64 big-endian(number) */
	uint32_t key;			/* id */
	uint32_t aad;			/* offset of the associated data in the arena */
	uint32_t aad_len;
	uint32_t text;			/* offset of the text */
	uint32_t text_len;		/* without the 16-byte tag right behind it */
	int32_t result;			/* out: 0, -EBADMSG (tag), -EINVAL, -ENOENT (key) */
};

/*
 * Encrypts in place and writes the tag behind. Returns how many ops have result 0. -EINVAL is also
 * the result when the associated data overlaps text or tag.
 */
PH_API int32_t ph_aead_seal(struct ph_aead *table, uint8_t *arena, uint32_t arena_len,
			    struct ph_aead_op *ops, uint32_t n);
/* Checks each tag in constant time first; a text whose tag fails is left as it was. */
PH_API int32_t ph_aead_open(struct ph_aead *table, uint8_t *arena, uint32_t arena_len,
			    struct ph_aead_op *ops, uint32_t n);

/*
 * One text in place under a key of its own, for handshakes: the nonce is twelve zero bytes, so that
 * a key seals one text and never a second. Offsets, lengths and results as in ph_aead_op.
 */
PH_API int32_t ph_aead_seal_once(const uint8_t *key, uint8_t *arena, uint32_t arena_len,
				 uint32_t aad, uint32_t aad_len, uint32_t text, uint32_t text_len);
PH_API int32_t ph_aead_open_once(const uint8_t *key, uint8_t *arena, uint32_t arena_len,
				 uint32_t aad, uint32_t aad_len, uint32_t text, uint32_t text_len);

/* ---- mask.c: packet headers, hidden and shown (SipHash-2-4) ---- */

/*
 * The first 16 bytes of a packet are its header, big-endian, and the next 16 the sample:
 *
 *     0            6      7       10               16                 32
 *     +------------+------+-------+----------------+------------------+-- ...
 *     | session    | kind | check | number         | sample           |
 *     +------------+------+-------+----------------+------------------+-- ...
 *
 * In clear `check` is 0. On the wire session and kind are XORed with the first 7 bytes of
 * SipHash(key, sample || d), the number with the first 6 of SipHash(key, sample || 2 + d), and
 * check is the first 3 of SipHash(key, sample || wire[0..7] || 4 + d || wire[10..16]), key being
 * that of a time window and d the direction. Less than 32 bytes is no packet. A header whose check
 * fits was made by somebody with the key; what a packet holds is not to be believed before the
 * AEAD has opened it.
 */
#define PH_PACKET_MIN 32
#define PH_MASK_KEY_LEN 16
/* Keys that one call tries. */
#define PH_MASK_KEYS_MAX 8

enum ph_direction {
	PH_TO_SERVER = 0,
	PH_TO_CLIENT = 1,
};

enum ph_kind {
	PH_KIND_HELLO = 1,		/* to the server only */
	PH_KIND_ACCEPT = 2,		/* to the client only */
	PH_KIND_DATA0 = 3,
	PH_KIND_RESET = 4,		/* to the client only */
	PH_KIND_DATA1 = 5,
};

struct ph_header {
	uint32_t kind;			/* enum ph_kind; 0 for junk, all else being 0 then */
	uint32_t session_low;
	uint32_t session_high;
	uint32_t number_low;		/* in the order of ph_aead_op.number */
	uint32_t number_high;
	uint32_t window;		/* index of the key that fitted */
};

/*
 * Shows the headers of spans[0..n), which go in this direction: writes headers[i], and the clear
 * header over the masked one in the arena. keys[0..n_keys) of 16 bytes are tried in order, the
 * likeliest to come first: one SipHash each, and the others only for the key whose check fits. Junk
 * is left as it was: no key fits, a kind of the other direction, fewer than 32 bytes, cut off
 * (PH_SPAN_TRUNCATED), or not in the arena. Returns how many are no junk; -EINVAL for n_keys over
 * the maximum, or no direction.
 */
PH_API int32_t ph_unmask(uint8_t *arena, uint32_t arena_len, const struct ph_udp_span *spans,
			 uint32_t n, const uint8_t *keys, uint32_t n_keys, uint32_t direction,
			 struct ph_header *headers);

/*
 * Hides the headers of n packets, sealed before, that go in this direction: the i-th begins at
 * words[first + i * stride] of the arena. (first 3, stride 8: where ph_aead_ops have their aad.) A
 * packet whose 32 bytes are not in the arena is left alone. Returns how many were hidden; -EINVAL
 * when there are fewer words, or no direction.
 */
PH_API int32_t ph_mask(uint8_t *arena, uint32_t arena_len, const uint8_t *key,
		       uint32_t direction, const uint32_t *words, uint32_t words_len,
		       uint32_t first, uint32_t stride, uint32_t n);

/* SipHash-2-4 of anything, the 8 bytes little-endian. Returns 0. */
PH_API int32_t ph_siphash(const uint8_t *key, const uint8_t *data, uint32_t length, uint8_t *out);

/* ---- primitives.c: X25519, SHA-256 and what is made of it, random bytes ---- */

#define PH_SHA256_LEN 32
#define PH_X25519_LEN 32
/* What HKDF can give: 255 hashes. */
#define PH_HKDF_MAX 8160

/* The public key of any 32 bytes. Returns 0. */
PH_API int32_t ph_x25519_public(const uint8_t *private_key, uint8_t *public_key);
/* RFC 7748. -EINVAL for a public key of small order, with which the shared secret is all zero. */
PH_API int32_t ph_x25519(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared);
PH_API int32_t ph_sha256(const uint8_t *data, uint32_t length, uint8_t *out);
PH_API int32_t ph_hmac_sha256(const uint8_t *key, uint32_t key_len, const uint8_t *data,
			      uint32_t length, uint8_t *out);
/* RFC 5869, extract and expand, with SHA-256. -EINVAL for out_len over PH_HKDF_MAX. */
PH_API int32_t ph_hkdf(const uint8_t *ikm, uint32_t ikm_len, const uint8_t *salt,
		       uint32_t salt_len, const uint8_t *info, uint32_t info_len, uint8_t *out,
		       uint32_t out_len);
/* Fills with the kernel's random bytes; 0 or -errno. */
PH_API int32_t ph_random(uint8_t *out, uint32_t length);

/* ---- tcp.c: streams, non-blocking, in batches ---- */

enum ph_tcp_flag {
	PH_TCP_REUSEPORT = 1,		/* listen: several sockets share the port */
	PH_TCP_V6ONLY = 2,		/* listen */
	PH_TCP_NODELAY = 4,		/* send small pieces at once */
	PH_TCP_FASTOPEN = 8,		/* connect: what is written first goes out with the SYN */
};

/* Connections taken in one call of ph_tcp_accept. */
#define PH_TCP_ACCEPT_MAX 64
/* The longest silence before keep-alive asks, in seconds: the kernel's own maximum. */
#define PH_TCP_KEEPALIVE_MAX 32767

/*
 * Listens on local (port 0: any free one, written back), families as ph_udp_open has them.
 * SO_REUSEADDR is always set, so that a restart need not wait. The fd, or -errno.
 */
PH_API int32_t ph_tcp_listen(struct ph_addr *local, uint32_t flags, int32_t backlog);

struct ph_tcp_accepted {
	struct ph_addr peer;
	int32_t fd;			/* non-blocking; the caller's to close */
	uint32_t pad;
};

/*
 * Takes up to max (at most 64) connections. Returns how many; 0 when none waits. Connections that
 * failed before they were taken are skipped. An error that has to do with this process (EMFILE, …)
 * is only returned when none was taken: those that wait are still there, and epoll with edge
 * triggering will not tell of them again. flags and keepalive_s as in ph_tcp_connect.
 */
PH_API int32_t ph_tcp_accept(int32_t fd, uint32_t flags, uint32_t keepalive_s,
			     struct ph_tcp_accepted *accepted, uint32_t max);

/*
 * Begins to connect to peer; the fd, or -errno of what failed at once. Whether it succeeded says
 * ph_tcp_result when the fd is writable. source all zero: the kernel's choice; its port may be 0.
 * device "": any interface, else the name of the only one to use. keepalive_s > 0: after that much
 * silence the peer is asked, four times in as much time again at most, before it counts as gone.
 */
PH_API int32_t ph_tcp_connect(const struct ph_addr *peer, const struct ph_addr *source,
			      const char *device, uint32_t flags, uint32_t keepalive_s);
/* 0: connected; -EINPROGRESS: not yet; else why not, told once. */
PH_API int32_t ph_tcp_result(int32_t fd);
/* The address that the socket has here. */
PH_API int32_t ph_tcp_local(int32_t fd, struct ph_addr *local);

/*
 * Reads at most length bytes into arena[offset ..). Returns how many; 0 at the end of the stream;
 * -EAGAIN when nothing is there yet; -EINVAL for a length of 0, or bytes outside the arena.
 */
PH_API int32_t ph_tcp_read(int32_t fd, uint8_t *arena, uint32_t arena_len, uint32_t offset,
			   uint32_t length);
/* Writes from arena[offset ..). Returns how many bytes were taken; -EAGAIN, -EPIPE, -EINVAL, … */
PH_API int32_t ph_tcp_write(int32_t fd, const uint8_t *arena, uint32_t arena_len, uint32_t offset,
			    uint32_t length);

/* Says that nothing more will be written; what was written still goes out. */
PH_API int32_t ph_tcp_finish(int32_t fd);
/* Bytes of the kernel's memory that its two queues hold. */
PH_API int32_t ph_tcp_held(int32_t fd);
/* Closes with RST: neither side keeps anything, and the peer's reads fail. */
PH_API int32_t ph_tcp_abort(int32_t fd);

_Static_assert(sizeof(struct ph_ready) == 8, "ph_ready");
_Static_assert(sizeof(struct ph_addr) == 24, "ph_addr");
_Static_assert(sizeof(struct ph_udp_msg) == 48, "ph_udp_msg");
_Static_assert(sizeof(struct ph_udp_span) == 16, "ph_udp_span");
_Static_assert(sizeof(struct ph_udp_send) == 64, "ph_udp_send");
_Static_assert(sizeof(struct ph_xsk_options) == 80, "ph_xsk_options");
_Static_assert(sizeof(struct ph_xsk_sent) == 64, "ph_xsk_sent");
_Static_assert(sizeof(struct ph_aead_op) == 32, "ph_aead_op");
_Static_assert(sizeof(struct ph_header) == 24, "ph_header");
_Static_assert(sizeof(struct ph_tcp_accepted) == 32, "ph_tcp_accepted");

#endif
