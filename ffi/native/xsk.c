// SPDX-License-Identifier: MIT
/*
 * AF_XDP: datagrams past the network stack, frames in memory that we share with the kernel.
 *
 * One ph_xsk has one UMEM and a socket for each queue of an interface. Frames are either of a
 * socket's fill ring (PH_XSK_RX_FRAMES each, never more, never less, but for those of the last
 * receive), or free to be sent with. Datagrams are used where they lie: spans point into the UMEM.
 *
 * What the stack would have checked is checked here: lengths and the IPv4 header's checksum. The
 * checksum of UDP is not: a frame that never left the machine carries a partial one, and nothing
 * tells which those are. Every packet is authenticated afterwards, which catches all and more.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_xdp.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addr.h"
#include "ph.h"
#include "xsk_frame.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
/* Linux 6.18: frames that one call may send in copy mode; 32 without. */
#define XDP_MAX_TX_SKB_BUDGET_OPTION 9

#define TX_RING PH_XSK_TX_FRAMES
/* What was sent comes back here; one socket may hold all frames there are to send with. */
#define COMPLETION_RING (2 * PH_XSK_TX_FRAMES)
#define SEND_BUFFER_BYTES (16 << 20)
/* Calls for one batch; a device that takes nothing must not hold us. */
#define KICKS_MAX 64
#define WAYS_PER_HASH 4

struct ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void *entries;
	uint32_t size;
	uint32_t cached;		/* our own position */
	void *map;
	size_t map_len;
};

struct queue {
	int fd;
	uint32_t mtu;
	bool is_dead;			/* the interface went, or has been taken from us */
	bool is_pending;		/* frames in tx that the kernel has not taken */
	struct ring rx, tx, fill, completion;
};

/* Which way back to a peer: as its last authenticated datagram came. */
struct way {
	struct ph_udp_msg route;
	struct frame_ends ends;
	uint8_t queue;
	uint8_t is_used;
	uint16_t left_in;		/* the last send that left something of it to the socket */
};

/* What it has led, and nobody has asked for. */
struct led {
	uint64_t bytes;
	uint32_t packets;
	uint32_t pad;
};

struct ph_xsk {
	uint8_t *memory;
	uint64_t begin;			/* of the UMEM in memory: the first whole page */
	uint32_t memory_len;
	uint32_t ifindex;
	uint16_t port;			/* network byte order */
	uint16_t sends;			/* calls of ph_xsk_send, never 0 in one */
	bool is_zero_copy;
	uint32_t run_max;		/* datagrams of an entry that is sent here */
	uint32_t queues;
	uint32_t held;			/* frames of the last receive, and whose they are */
	uint32_t held_queue;
	uint32_t free;
	uint64_t seed;
	bool has_led;			/* something since the last round of ph_xsk_take_sent */
	uint32_t told;			/* where that goes on */
	uint64_t counts[PH_XSK_COUNTS];
	struct queue queue[PH_XSK_QUEUES_MAX];
	uint64_t held_frames[PH_XSK_BATCH_MAX];
	struct frame_ends came[PH_XSK_BATCH_MAX];	/* of each message of the last receive */
	struct way ways[PH_XSK_WAYS];
	struct led led[PH_XSK_WAYS];	/* of each way; apart, for a way is a cache line */
	uint64_t free_frames[];
};

_Static_assert(sizeof(struct way) == 64, "way");

/* ---- rings ---- */

static uint32_t load(const uint32_t *position)
{
	return __atomic_load_n(position, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *position, uint32_t value)
{
	__atomic_store_n(position, value, __ATOMIC_RELEASE);
}

/* Entries that the kernel has put in and we have not taken. */
static uint32_t filled(const struct ring *ring)
{
	uint32_t n = load(ring->producer) - ring->cached;

	/* The memory is shared: whatever stands there, we stay inside. */
	return n < ring->size ? n : ring->size;
}

/* Entries that we may put in. */
static uint32_t vacant(const struct ring *ring)
{
	uint32_t used = ring->cached - load(ring->consumer);

	return used < ring->size ? ring->size - used : 0;
}

static uint64_t *address_at(struct ring *ring, uint32_t position)
{
	return (uint64_t *)ring->entries + (position & (ring->size - 1));
}

static struct xdp_desc *desc_at(struct ring *ring, uint32_t position)
{
	return (struct xdp_desc *)ring->entries + (position & (ring->size - 1));
}

static bool needs_wakeup(const struct ring *ring)
{
	return __atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
}

static int map_ring(struct ring *ring, int fd, const struct xdp_ring_offset *at, uint32_t size,
		    size_t entry, uint64_t page)
{
	uint8_t *map;

	ring->map_len = at->desc + size * entry;
	map = mmap(NULL, ring->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		   (off_t)page);
	if (map == MAP_FAILED)
		return -errno;
	ring->map = map;
	ring->size = size;
	ring->producer = (uint32_t *)(map + at->producer);
	ring->consumer = (uint32_t *)(map + at->consumer);
	ring->flags = (uint32_t *)(map + at->flags);
	ring->entries = map + at->desc;
	return 0;
}

static int make_rings(struct queue *queue)
{
	static const struct {
		int option;
		uint32_t size;
	} rings[] = {
		{ XDP_UMEM_FILL_RING, PH_XSK_RX_FRAMES },
		{ XDP_UMEM_COMPLETION_RING, COMPLETION_RING },
		{ XDP_RX_RING, PH_XSK_RX_FRAMES },
		{ XDP_TX_RING, TX_RING },
	};
	struct xdp_mmap_offsets at;
	socklen_t length = sizeof(at);
	int err = 0;

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		if (setsockopt(queue->fd, SOL_XDP, rings[i].option, &rings[i].size,
			       sizeof(rings[i].size)) < 0)
			return -errno;
	}
	if (getsockopt(queue->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length) < 0)
		return -errno;
	/* Linux before 5.4 has no flags in its answer, nor need-wakeup, nor what else we want. */
	if (length != sizeof(at))
		return -EOPNOTSUPP;
	err = map_ring(&queue->rx, queue->fd, &at.rx, PH_XSK_RX_FRAMES, sizeof(struct xdp_desc),
		       XDP_PGOFF_RX_RING);
	if (!err)
		err = map_ring(&queue->tx, queue->fd, &at.tx, TX_RING, sizeof(struct xdp_desc),
			       XDP_PGOFF_TX_RING);
	if (!err)
		err = map_ring(&queue->fill, queue->fd, &at.fr, PH_XSK_RX_FRAMES, sizeof(uint64_t),
			       XDP_UMEM_PGOFF_FILL_RING);
	if (!err)
		err = map_ring(&queue->completion, queue->fd, &at.cr, COMPLETION_RING,
			       sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING);
	return err;
}

static void unmap_ring(struct ring *ring)
{
	if (ring->map)
		munmap(ring->map, ring->map_len);
	ring->map = NULL;
}

/* ---- opening ---- */

static int read_mtu(uint32_t ifindex, uint32_t *mtu)
{
	struct ifreq request = { 0 };
	int fd, err = 0;

	if (!if_indextoname(ifindex, request.ifr_name))
		return -ENODEV;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFMTU, &request) < 0)
		err = -errno;
	close(fd);
	*mtu = (uint32_t)request.ifr_mtu;
	return err;
}

int32_t ph_xsk_queues(uint32_t ifindex)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq request = { .ifr_data = (char *)&channels };
	int fd, err = 0;

	if (!if_indextoname(ifindex, request.ifr_name))
		return -ENODEV;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCETHTOOL, &request) < 0)
		err = errno;
	close(fd);
	if (err)
		return err == EOPNOTSUPP ? 1 : -err;
	return (int32_t)(channels.combined_count + channels.rx_count);
}

static int register_memory(struct ph_xsk *xsk, int fd)
{
	struct xdp_umem_reg umem = {
		.addr = (uint64_t)(uintptr_t)xsk->memory + xsk->begin,
		.len = (uint64_t)xsk->queues * (PH_XSK_RX_FRAMES + PH_XSK_TX_FRAMES) *
		       PH_XSK_FRAME_BYTES,
		.chunk_size = PH_XSK_FRAME_BYTES,
	};

	return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) < 0 ? -errno : 0;
}

static int bind_queue(struct ph_xsk *xsk, uint32_t index, uint32_t id, uint32_t flags)
{
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = xsk->ifindex,
		.sxdp_queue_id = id,
	};

	if (index) {
		address.sxdp_flags = XDP_SHARED_UMEM;
		address.sxdp_shared_umem_fd = (uint32_t)xsk->queue[0].fd;
	} else {
		address.sxdp_flags = XDP_USE_NEED_WAKEUP;
		if (flags & PH_XSK_COPY)
			address.sxdp_flags |= XDP_COPY;
		if (flags & PH_XSK_ZERO_COPY)
			address.sxdp_flags |= XDP_ZEROCOPY;
	}
	if (bind(xsk->queue[index].fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return 0;
}

/* Gives a socket its frames to receive into. */
static void fill_first(struct ph_xsk *xsk, uint32_t index)
{
	struct ring *fill = &xsk->queue[index].fill;
	uint64_t first = (uint64_t)index * PH_XSK_RX_FRAMES;

	for (uint32_t i = 0; i < PH_XSK_RX_FRAMES; i++)
		*address_at(fill, fill->cached++) = (first + i) * PH_XSK_FRAME_BYTES;
	store(fill->producer, fill->cached);
}

static int open_queue(struct ph_xsk *xsk, uint32_t index, uint32_t id, uint32_t flags)
{
	struct queue *queue = &xsk->queue[index];
	uint32_t budget = TX_RING;
	int bytes = SEND_BUFFER_BYTES;
	int err;

	queue->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (queue->fd < 0)
		return -errno;
	err = read_mtu(xsk->ifindex, &queue->mtu);
	if (!err && queue->mtu > PH_XSK_MTU_MAX)
		err = -EMSGSIZE;
	if (!err && !index)
		err = register_memory(xsk, queue->fd);
	if (!err)
		err = make_rings(queue);
	if (err)
		return err;
	/* In copy mode each frame under way is charged to it. */
	if (setsockopt(queue->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(queue->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	(void)setsockopt(queue->fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET_OPTION, &budget,
			 sizeof(budget));
	fill_first(xsk, index);
	return bind_queue(xsk, index, id, flags);
}

struct ph_xsk *ph_xsk_open(const struct ph_xsk_options *options, uint8_t *memory,
			   uint32_t memory_len, int32_t *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint32_t frames = options->queues * PH_XSK_TX_FRAMES;
	struct xdp_options told = { 0 };
	socklen_t length = sizeof(told);
	struct ph_xsk *xsk;

	*err = -EINVAL;
	if (!options->queues || options->queues > PH_XSK_QUEUES_MAX ||
	    memory_len < PH_XSK_MEMORY(options->queues))
		return NULL;
	*err = -ENOMEM;
	xsk = calloc(1, sizeof(*xsk) + frames * sizeof(xsk->free_frames[0]));
	if (!xsk)
		return NULL;
	xsk->memory = memory;
	xsk->memory_len = memory_len;
	xsk->begin = -(uint64_t)(uintptr_t)memory & (page - 1);
	xsk->ifindex = options->ifindex;
	xsk->port = htons((uint16_t)options->port);
	xsk->queues = options->queues;
	for (uint32_t i = 0; i < options->queues; i++)
		xsk->queue[i].fd = -1;
	for (uint32_t i = 0; i < frames; i++)
		xsk->free_frames[xsk->free++] =
			((uint64_t)options->queues * PH_XSK_RX_FRAMES + i) * PH_XSK_FRAME_BYTES;
	*err = getrandom(&xsk->seed, sizeof(xsk->seed), 0) == sizeof(xsk->seed) ? 0 : -EIO;
	for (uint32_t i = 0; !*err && i < options->queues; i++)
		*err = open_queue(xsk, i, options->queue[i], options->flags);
	if (*err) {
		ph_xsk_close(xsk);
		return NULL;
	}
	if (getsockopt(xsk->queue[0].fd, SOL_XDP, XDP_OPTIONS, &told, &length) == 0)
		xsk->is_zero_copy = told.flags & XDP_OPTIONS_ZEROCOPY;
	xsk->run_max = xsk->is_zero_copy || options->flags & PH_XSK_LONG_RUNS ? UINT32_MAX :
										PH_XSK_RUN_MAX;
	return xsk;
}

void ph_xsk_close(struct ph_xsk *xsk)
{
	/* Backwards: the first one has the UMEM. */
	for (uint32_t i = xsk->queues; i-- > 0;) {
		struct queue *queue = &xsk->queue[i];

		unmap_ring(&queue->rx);
		unmap_ring(&queue->tx);
		unmap_ring(&queue->fill);
		unmap_ring(&queue->completion);
		if (queue->fd >= 0)
			close(queue->fd);
	}
	free(xsk);
}

int32_t ph_xsk_fd(const struct ph_xsk *xsk, uint32_t queue)
{
	return queue < xsk->queues ? xsk->queue[queue].fd : -EINVAL;
}

int32_t ph_xsk_is_zero_copy(const struct ph_xsk *xsk)
{
	return xsk->is_zero_copy;
}

int32_t ph_xsk_enter(const struct ph_xsk *xsk, uint32_t queue, int32_t map_fd, uint32_t key)
{
	union bpf_attr attr = { .map_fd = (uint32_t)map_fd };

	if (queue >= xsk->queues)
		return -EINVAL;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)&xsk->queue[queue].fd;
	return syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

int32_t ph_xsk_check(struct ph_xsk *xsk)
{
	int err = 0;

	for (uint32_t i = 0; i < xsk->queues && !err; i++) {
		struct queue *queue = &xsk->queue[i];
		socklen_t length = sizeof(err);

		if (getsockopt(queue->fd, SOL_SOCKET, SO_ERROR, &err, &length) < 0)
			err = errno;
		if (!err)
			err = -read_mtu(xsk->ifindex, &queue->mtu);
		if (!err && queue->mtu > PH_XSK_MTU_MAX)
			err = EMSGSIZE;
		if (!err && queue->is_dead)
			err = ENETDOWN;
	}
	return -err;
}

void ph_xsk_counts(const struct ph_xsk *xsk, uint64_t *counts)
{
	memcpy(counts, xsk->counts, sizeof(xsk->counts));
	for (uint32_t i = 0; i < xsk->queues; i++) {
		struct xdp_statistics stats = { 0 };
		socklen_t length = sizeof(stats);

		if (getsockopt(xsk->queue[i].fd, SOL_XDP, XDP_STATISTICS, &stats, &length) < 0)
			continue;
		counts[PH_XSK_KERNEL_DROPPED] += stats.rx_dropped + stats.rx_ring_full +
						 stats.rx_fill_ring_empty_descs;
	}
}

/* ---- ways back ---- */

static struct way *ways_of(struct ph_xsk *xsk, const struct ph_udp_msg *route)
{
	uint64_t words[sizeof(*route) / sizeof(uint64_t)];
	uint64_t hash = xsk->seed;

	memcpy(words, route, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
	}
	return &xsk->ways[hash % (PH_XSK_WAYS / WAYS_PER_HASH) * WAYS_PER_HASH];
}

static struct way *find_way(struct ph_xsk *xsk, const struct ph_udp_msg *route)
{
	struct way *ways = ways_of(xsk, route);

	for (uint32_t i = 0; i < WAYS_PER_HASH; i++) {
		if (ways[i].is_used && !memcmp(&ways[i].route, route, sizeof(*route)))
			return &ways[i];
	}
	return NULL;
}

int32_t ph_xsk_learn(struct ph_xsk *xsk, const struct ph_udp_msg *msgs, uint32_t msg)
{
	const struct ph_udp_msg *route;
	struct way *way;
	struct led *led;

	if (msg >= PH_XSK_BATCH_MAX)
		return -EINVAL;
	route = &msgs[msg];
	if (addr_is_zero(route->local.ip))
		return 0;
	way = find_way(xsk, route);
	if (!way) {
		/* A peer that loses its place is served by the UDP socket until it is heard. */
		way = ways_of(xsk, route);
		led = &xsk->led[way - xsk->ways];
		memmove(way + 1, way, (WAYS_PER_HASH - 1) * sizeof(*way));
		memmove(led + 1, led, (WAYS_PER_HASH - 1) * sizeof(*led));
		*led = (struct led){ 0 };
		way->route = *route;
		way->is_used = 1;
	}
	way->ends = xsk->came[msg];
	way->queue = (uint8_t)xsk->held_queue;
	return 1;
}

/* ---- receiving ---- */

/* Gives the frames of the last receive back to the kernel. */
static void give_back(struct ph_xsk *xsk)
{
	struct queue *queue = &xsk->queue[xsk->held_queue];
	struct ring *fill = &queue->fill;

	for (uint32_t i = 0; i < xsk->held; i++)
		*address_at(fill, fill->cached++) = xsk->held_frames[i];
	if (xsk->held)
		store(fill->producer, fill->cached);
	xsk->held = 0;
	/* Said by a driver that ran out of frames, and has stopped looking for new ones. */
	if (needs_wakeup(fill))
		(void)recvfrom(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

int32_t ph_xsk_recv(struct ph_xsk *xsk, uint32_t index, struct ph_udp_msg *msgs,
		    struct ph_udp_span *spans, uint32_t max)
{
	struct frame_datagram datagram;
	uint32_t count = 0, messages = 0, n;
	struct ring *rx;

	if (index >= xsk->queues || max > PH_XSK_BATCH_MAX)
		return -EINVAL;
	give_back(xsk);
	xsk->held_queue = index;
	rx = &xsk->queue[index].rx;
	n = filled(rx);
	if (n > max)
		n = max;
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = desc_at(rx, rx->cached + i);
		uint64_t at = xsk->begin + desc->addr;
		uint32_t offset;

		xsk->held_frames[i] = desc->addr;
		if (at > xsk->memory_len || desc->len > xsk->memory_len - at ||
		    !frame_parse(xsk->memory + at, desc->len, xsk->port, &datagram)) {
			xsk->counts[PH_XSK_BAD_FRAMES]++;
			spans[i] = (struct ph_udp_span){ .msg = messages ? messages - 1 : 0 };
			continue;
		}
		/* Sent to many: there is no address of ours to answer from. */
		if (datagram.ends.to[0] & 1)
			memset(&datagram.route.local, 0, sizeof(datagram.route.local));
		if (addr_is_link_local(datagram.route.peer.ip))
			datagram.route.peer.scope = xsk->ifindex;
		if (addr_is_link_local(datagram.route.local.ip))
			datagram.route.local.scope = xsk->ifindex;
		/* A row of datagrams that came the same way is one message, as after GRO. */
		if (!messages ||
		    memcmp(&msgs[messages - 1], &datagram.route, sizeof(datagram.route)) ||
		    memcmp(&xsk->came[messages - 1], &datagram.ends, sizeof(datagram.ends))) {
			xsk->came[messages] = datagram.ends;
			msgs[messages++] = datagram.route;
		}
		offset = (uint32_t)at + datagram.offset;
		spans[i] = (struct ph_udp_span){
			.offset = offset,
			.length = datagram.length,
			.msg = messages - 1,
		};
		count++;
	}
	xsk->held = n;
	rx->cached += n;
	if (n)
		store(rx->consumer, rx->cached);
	xsk->counts[PH_XSK_RECEIVED] += count;
	return (int32_t)n;
}

/* ---- sending ---- */

/* Takes back the frames that the kernel has sent. */
static void reap(struct ph_xsk *xsk, struct queue *queue)
{
	struct ring *done = &queue->completion;
	uint32_t n = filled(done);

	for (uint32_t i = 0; i < n; i++)
		xsk->free_frames[xsk->free++] = *address_at(done, done->cached + i);
	done->cached += n;
	if (n)
		store(done->consumer, done->cached);
}

static void reap_all(struct ph_xsk *xsk)
{
	for (uint32_t i = 0; i < xsk->queues; i++)
		reap(xsk, &xsk->queue[i]);
}

/* Has the kernel take what stands in the ring; in copy mode it sends it in this very call. */
static void kick(struct queue *queue)
{
	struct ring *tx = &queue->tx;
	uint32_t left = tx->cached - load(tx->consumer);

	for (int i = 0; i < KICKS_MAX && left && needs_wakeup(tx); i++) {
		uint32_t before = left;

		if (sendto(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS && errno != EINTR) {
			/* ENXIO, ENETDOWN: nothing will come out of this ring again. */
			queue->is_dead = errno == ENXIO || errno == ENETDOWN;
			break;
		}
		left = tx->cached - load(tx->consumer);
		if (left == before)
			break;
	}
	queue->is_pending = left && needs_wakeup(tx);
}

int32_t ph_xsk_kick(struct ph_xsk *xsk)
{
	bool is_pending = false;

	for (uint32_t i = 0; i < xsk->queues; i++) {
		struct queue *queue = &xsk->queue[i];

		if (queue->is_pending && !queue->is_dead)
			kick(queue);
		is_pending |= queue->is_pending && !queue->is_dead;
	}
	return is_pending;
}

/* Room for a frame; makes some where there is none. */
static bool has_room(struct ph_xsk *xsk, struct queue *queue)
{
	if (xsk->free && vacant(&queue->tx))
		return true;
	store(queue->tx.producer, queue->tx.cached);
	kick(queue);
	reap_all(xsk);
	return xsk->free && vacant(&queue->tx);
}

/* Puts one entry's datagrams into the ring; false: some of it, or all, is left. */
static bool put(struct ph_xsk *xsk, struct ph_udp_send *send, const uint8_t *arena)
{
	struct ph_udp_msg route = { .peer = send->peer, .local = send->local };
	struct frame_header header;
	struct queue *queue;
	struct way *way;
	struct led *led;
	uint32_t segment = send->segment && send->segment < send->length ? send->segment :
									     send->length;

	way = send->segment == PH_UDP_FRAGMENT ? NULL : find_way(xsk, &route);
	if (!way || xsk->queue[way->queue].is_dead) {
		xsk->counts[PH_XSK_NO_WAY_BACK]++;
		return false;
	}
	if (way->left_in == xsk->sends)
		return false;
	way->left_in = xsk->sends;
	if ((send->length + segment - 1) / segment > xsk->run_max) {
		xsk->counts[PH_XSK_LONG]++;
		return false;
	}
	queue = &xsk->queue[way->queue];
	led = &xsk->led[way - xsk->ways];
	xsk->has_led = true;
	frame_begin(&header, &route, &way->ends, xsk->port);
	/* The socket knows what to say of it. */
	if (header.length - ETH_HLEN + segment > queue->mtu)
		return false;
	while (send->length) {
		uint32_t length = send->length < segment ? send->length : segment;
		struct xdp_desc *desc;

		if (!has_room(xsk, queue)) {
			xsk->counts[PH_XSK_NO_ROOM]++;
			return false;
		}
		desc = desc_at(&queue->tx, queue->tx.cached++);
		desc->addr = xsk->free_frames[--xsk->free];
		desc->options = 0;
		desc->len = frame_build(xsk->memory + xsk->begin + desc->addr, &header,
					arena + send->offset, length);
		send->offset += length;
		send->length -= length;
		led->packets++;
		led->bytes += desc->len;
		xsk->counts[PH_XSK_SENT]++;
	}
	way->left_in = 0;
	return true;
}

int32_t ph_xsk_take_sent(struct ph_xsk *xsk, struct ph_xsk_sent *sent, uint32_t max)
{
	uint32_t count = 0;

	if (!xsk->told) {
		if (!xsk->has_led)
			return 0;
		xsk->has_led = false;
	}
	for (; xsk->told < PH_XSK_WAYS && count < max; xsk->told++) {
		struct led *led = &xsk->led[xsk->told];

		if (!led->packets)
			continue;
		sent[count++] = (struct ph_xsk_sent){
			.route = xsk->ways[xsk->told].route,
			.bytes = led->bytes,
			.packets = led->packets,
		};
		*led = (struct led){ 0 };
	}
	if (xsk->told == PH_XSK_WAYS)
		xsk->told = 0;
	return (int32_t)count;
}

int32_t ph_xsk_send(struct ph_xsk *xsk, const uint8_t *arena, uint32_t arena_len,
		    struct ph_udp_send *sends, uint32_t n)
{
	uint32_t left = 0;

	if (n > PH_UDP_BATCH_MAX)
		return -EINVAL;
	reap_all(xsk);
	if (!++xsk->sends)
		xsk->sends = 1;
	for (uint32_t i = 0; i < n; i++) {
		/* What is wrong, the socket refuses. An empty datagram is nothing that we send. */
		if (!sends[i].length ||
		    (uint64_t)sends[i].offset + sends[i].length > arena_len ||
		    !put(xsk, &sends[i], arena))
			sends[left++] = sends[i];
	}
	for (uint32_t i = 0; i < xsk->queues; i++) {
		struct queue *queue = &xsk->queue[i];

		if (queue->is_dead)
			continue;
		store(queue->tx.producer, queue->tx.cached);
		kick(queue);
	}
	return (int32_t)left;
}
