// SPDX-License-Identifier: MIT
/*
 * Datagrams in batches. GRO and GSO let one message of recvmmsg or sendmmsg carry up to 64
 * datagrams through the stack at once, which matters more than the system calls saved.
 * Addresses cross the border as IPv4-mapped IPv6, whatever the family of the socket.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "ph.h"

/* linux/udp.h, which does not go together with netinet's headers. */
#define SOL_UDP_LEVEL 17
#define UDP_SEGMENT_OPTION 103
#define UDP_GRO_OPTION 104

#define FLAGS_ASKED (PH_UDP_REUSEPORT | PH_UDP_V6ONLY | PH_UDP_GRO | PH_UDP_GSO | \
		     PH_UDP_PKTINFO | PH_UDP_DONTFRAG | PH_UDP_SPARED | PH_UDP_ERRORS)

/* Errors of earlier sends to read past in one call, so that a flood of them can't hold it. */
#define STALE_ERRORS_MAX 64

/* The control messages of one message, aligned as cmsghdr wants them. */
union receive_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

union send_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

/* Which of the flags asked for this socket could be given; those it could not are cleared. */
static uint32_t set_features(int fd, uint32_t flags, bool ipv4)
{
	int segment = 0;
	socklen_t segment_len = sizeof(segment);
	bool ok;

	if (flags & PH_UDP_GRO && !set_option(fd, SOL_UDP_LEVEL, UDP_GRO_OPTION, 1))
		flags &= ~(uint32_t)PH_UDP_GRO;
	/* Only asked whether the kernel knows it: each message says its own segment size. */
	if (flags & PH_UDP_GSO &&
	    getsockopt(fd, SOL_UDP_LEVEL, UDP_SEGMENT_OPTION, &segment, &segment_len) < 0)
		flags &= ~(uint32_t)PH_UDP_GSO;
	if (flags & PH_UDP_PKTINFO) {
		ok = ipv4 ? set_option(fd, IPPROTO_IP, IP_PKTINFO, 1) :
			    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		if (!ok)
			flags &= ~(uint32_t)PH_UDP_PKTINFO;
	}
	/*
	 * PROBE and not DO: the kernel's cached path MTU, which a forged ICMP message can lower,
	 * is left aside too. A dual-stack socket needs both options.
	 */
	if (flags & PH_UDP_DONTFRAG) {
		ok = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
		if (!ipv4)
			ok = set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
					IPV6_PMTUDISC_PROBE) && ok;
		if (!ok)
			flags &= ~(uint32_t)PH_UDP_DONTFRAG;
	}
	/* A dual-stack socket needs both here, too. Without them it only knows less. */
	if (flags & PH_UDP_ERRORS) {
		(void)set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
		if (!ipv4)
			(void)set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	}
	return flags & ~(uint32_t)(PH_UDP_SPARED | PH_UDP_ERRORS);
}

static bool set_buffer(int fd, int forced, int plain, uint32_t bytes)
{
	if (!bytes)
		return true;
	return set_option(fd, SOL_SOCKET, forced, (int)bytes) ||
	       set_option(fd, SOL_SOCKET, plain, (int)bytes);
}

/* Opens and binds a socket of one family; the descriptor or -errno. */
static int open_bound(struct ph_addr *local, uint32_t *flags, bool ipv4, uint32_t rcvbuf,
		      uint32_t sndbuf)
{
	int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	union socket_address address;
	socklen_t length;
	int err;

	if (*flags & PH_UDP_SPARED)
		fd = unspared(fd);
	if (fd < 0)
		return -errno;
	/* Said either way: the default is a sysctl. */
	if (!ipv4 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !!(*flags & PH_UDP_V6ONLY)))
		goto fail;
	if (*flags & PH_UDP_REUSEPORT && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		goto fail;
	if (!set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, rcvbuf) ||
	    !set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, sndbuf))
		goto fail;
	length = addr_to_socket(&address, local, ipv4);
	if (bind(fd, &address.any, length) < 0)
		goto fail;
	length = sizeof(address);
	if (getsockname(fd, &address.any, &length) < 0)
		goto fail;
	local->port = ntohs(ipv4 ? address.v4.sin_port : address.v6.sin6_port);
	*flags = set_features(fd, *flags, ipv4) | (ipv4 ? (uint32_t)PH_UDP_IPV4 : 0);
	return fd;

fail:
	err = -errno;
	close(fd);
	return err;
}

int32_t ph_udp_open(struct ph_addr *local, uint32_t *flags, uint32_t rcvbuf, uint32_t sndbuf)
{
	bool ipv4 = addr_is_mapped(local->ip);
	int fd;

	if (*flags & ~(uint32_t)FLAGS_ASKED || rcvbuf > INT32_MAX || sndbuf > INT32_MAX)
		return -EINVAL;
	fd = open_bound(local, flags, ipv4, rcvbuf, sndbuf);
	/* EADDRNOTAVAIL for :: is IPv6 that is compiled in and switched off. */
	if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && !ipv4 && addr_is_zero(local->ip) &&
	    !(*flags & PH_UDP_V6ONLY))
		fd = open_bound(local, flags, true, rcvbuf, sndbuf);
	return fd;
}

int32_t ph_udp_device(int32_t fd, const char *device)
{
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
		return -errno;
	return 0;
}

int32_t ph_source_address(const struct ph_addr *peer, struct ph_addr *source)
{
	bool ipv4 = addr_is_mapped(peer->ip);
	int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union socket_address address;
	int32_t result = 0;
	socklen_t length;

	if (fd < 0)
		return -errno;
	length = addr_to_socket(&address, peer, ipv4);
	if (connect(fd, &address.any, length) < 0)
		result = -errno;
	length = sizeof(address);
	if (!result && getsockname(fd, &address.any, &length) < 0)
		result = -errno;
	close(fd);
	if (!result)
		addr_from_socket(source, &address);
	return result;
}

int32_t ph_attach_program(int32_t fd, int32_t option, int32_t program)
{
	if (setsockopt(fd, SOL_SOCKET, option, &program, sizeof(program)) < 0)
		return -errno;
	return 0;
}

/* ---- receiving ---- */

/* Learns where a message was sent to, and the size of the datagrams that GRO joined (or 0). */
static uint32_t read_control(struct msghdr *header, struct ph_addr *local)
{
	uint32_t segment = 0;

	memset(local, 0, sizeof(*local));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level == SOL_UDP_LEVEL && c->cmsg_type == UDP_GRO_OPTION) {
			int size;

			memcpy(&size, CMSG_DATA(c), sizeof(size));
			segment = size > 0 ? (uint32_t)size : 0;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			/* Not ipi_addr: a broadcast address can't be answered from. */
			addr_map_v4(local->ip, &info.ipi_spec_dst);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(local->ip, &info.ipi6_addr, 16);
			if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				local->scope = info.ipi6_ifindex;
		}
	}
	return segment;
}

/* Cuts one message into spans; returns how many. */
static uint32_t cut(struct ph_udp_span *spans, uint32_t room, uint32_t msg, uint32_t offset,
		    uint32_t length, uint32_t segment, bool truncated)
{
	uint32_t n = 0;

	if (!segment || segment > length)
		segment = length;
	do {
		uint32_t part = length < segment ? length : segment;

		spans[n] = (struct ph_udp_span){ .offset = offset, .length = part, .msg = msg };
		offset += part;
		length -= part;
		n++;
	} while (length && n < room);
	/* What does not fit counts as cut off too; no kernel known joins that many. */
	if (truncated || length)
		spans[n - 1].flags = PH_SPAN_TRUNCATED;
	return n;
}

/* Errors that ICMP messages about earlier datagrams leave behind on a socket. */
static bool is_stale_error(int err)
{
	switch (err) {
	case EACCES:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EMSGSIZE:
	case ENETDOWN:
	case ENETUNREACH:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EPROTO:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

/* recvmmsg, past interruptions and stale errors; 0 when there is nothing. */
static int receive(int fd, struct mmsghdr *headers, uint32_t n)
{
	for (int i = 0; i < STALE_ERRORS_MAX; i++) {
		int got = recvmmsg(fd, headers, n, MSG_DONTWAIT, NULL);

		if (got >= 0)
			return got;
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR && !is_stale_error(errno))
			return -errno;
	}
	return 0;
}

int32_t ph_udp_recv(int32_t fd, uint32_t flags, uint8_t *arena, uint32_t arena_len,
		    uint32_t slot_size, uint32_t slots, struct ph_udp_msg *msgs,
		    struct ph_udp_span *spans, uint32_t max_spans)
{
	uint32_t worst = flags & PH_UDP_GRO ? PH_UDP_GRO_MAX : 1;
	union receive_control controls[PH_UDP_BATCH_MAX];
	union socket_address peers[PH_UDP_BATCH_MAX];
	struct mmsghdr headers[PH_UDP_BATCH_MAX];
	struct iovec parts[PH_UDP_BATCH_MAX];
	uint32_t used = 0;
	int got;

	if (!slots || slots > PH_UDP_BATCH_MAX || !slot_size || max_spans < worst ||
	    (uint64_t)slots * slot_size > arena_len)
		return -EINVAL;
	if (slots > max_spans / worst)
		slots = max_spans / worst;
	for (uint32_t i = 0; i < slots; i++) {
		parts[i].iov_base = arena + (size_t)i * slot_size;
		parts[i].iov_len = slot_size;
		headers[i].msg_hdr = (struct msghdr){
			.msg_name = &peers[i],
			.msg_namelen = sizeof(peers[i]),
			.msg_iov = &parts[i],
			.msg_iovlen = 1,
			.msg_control = &controls[i],
			.msg_controllen = sizeof(controls[i]),
		};
	}
	got = receive(fd, headers, slots);
	for (int i = 0; i < got; i++) {
		struct msghdr *header = &headers[i].msg_hdr;
		uint32_t segment = read_control(header, &msgs[i].local);

		addr_from_socket(&msgs[i].peer, &peers[i]);
		used += cut(spans + used, worst, (uint32_t)i, (uint32_t)i * slot_size,
			    headers[i].msg_len, segment, header->msg_flags & MSG_TRUNC);
	}
	return got < 0 ? got : (int32_t)used;
}

/* ---- sending ---- */

/* One entry as the kernel wants it. */
struct outgoing {
	union socket_address peer;
	union send_control control;
	struct iovec part;
};

static void add_control(struct msghdr *header, union send_control *control, int level, int type,
			const void *data, size_t length)
{
	struct cmsghdr *c = (struct cmsghdr *)(control->bytes + header->msg_controllen);

	header->msg_control = control;
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(length);
	memcpy(CMSG_DATA(c), data, length);
	header->msg_controllen += CMSG_SPACE(length);
}

/* Says which local address to send from; false when the socket's family has no such address. */
static bool add_source(struct msghdr *header, union send_control *control,
		       const struct ph_addr *local, bool ipv4)
{
	struct in6_pktinfo v6 = { .ipi6_ifindex = local->scope };
	struct in_pktinfo v4 = { 0 };

	if (addr_is_zero(local->ip))
		return true;
	if (!ipv4) {
		memcpy(&v6.ipi6_addr, local->ip, 16);
		add_control(header, control, IPPROTO_IPV6, IPV6_PKTINFO, &v6, sizeof(v6));
		return true;
	}
	if (!addr_is_mapped(local->ip))
		return false;
	memcpy(&v4.ipi_spec_dst, local->ip + 12, 4);
	add_control(header, control, IPPROTO_IP, IP_PKTINFO, &v4, sizeof(v4));
	return true;
}

static bool is_segmented(const struct ph_udp_send *send)
{
	return send->segment && send->length > send->segment;
}

static bool is_fragmented(const struct ph_udp_send *send)
{
	return send->segment == PH_UDP_FRAGMENT;
}

static int check(const struct ph_udp_send *send, uint32_t arena_len)
{
	if ((uint64_t)send->offset + send->length > arena_len)
		return -EINVAL;
	if (is_segmented(send) && (send->length > PH_UDP_PAYLOAD_MAX ||
				   (send->length - 1) / send->segment >= PH_UDP_GSO_MAX))
		return -EINVAL;
	return 0;
}

/* Fills a message for a checked entry, with all of its bytes; 0 or -errno. */
static int prepare(struct msghdr *header, struct outgoing *out, const struct ph_udp_send *send,
		   const uint8_t *arena, uint32_t flags)
{
	bool ipv4 = flags & PH_UDP_IPV4;
	uint16_t segment = (uint16_t)send->segment;

	memset(&out->control, 0, sizeof(out->control));
	out->part.iov_base = (void *)(uintptr_t)(arena + send->offset);
	out->part.iov_len = send->length;
	*header = (struct msghdr){
		.msg_name = &out->peer,
		.msg_namelen = addr_to_socket(&out->peer, &send->peer, ipv4),
		.msg_iov = &out->part,
		.msg_iovlen = 1,
	};
	if (!header->msg_namelen || !add_source(header, &out->control, &send->local, ipv4))
		return -EAFNOSUPPORT;
	if (is_segmented(send) && flags & PH_UDP_GSO)
		add_control(header, &out->control, SOL_UDP_LEVEL, UDP_SEGMENT_OPTION, &segment,
			    sizeof(segment));
	return 0;
}

/* sendmmsg, past interruptions and one error, which may be an earlier datagram's. */
static int transmit(int fd, struct mmsghdr *headers, uint32_t n)
{
	bool stale = false;

	for (;;) {
		int sent = sendmmsg(fd, headers, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent >= 0)
			return sent;
		if (errno == EINTR)
			continue;
		if (!is_stale_error(errno) || stale)
			return -errno;
		stale = true;
	}
}

/*
 * Sends a segmented entry datagram by datagram. After -EAGAIN the entry's offset and length cover
 * only what did not go out, so that it can be given again.
 */
static int transmit_cut(int fd, struct ph_udp_send *send, const uint8_t *arena, uint32_t flags)
{
	struct mmsghdr headers[PH_UDP_GSO_MAX];
	struct iovec parts[PH_UDP_GSO_MAX];
	uint32_t n = 0, at = 0, first = 0;
	struct msghdr header;
	struct outgoing out;
	int sent = prepare(&header, &out, send, arena, flags & ~(uint32_t)PH_UDP_GSO);

	if (sent < 0)
		return sent;
	for (; at < send->length; n++) {
		uint32_t rest = send->length - at;

		parts[n].iov_base = (uint8_t *)out.part.iov_base + at;
		parts[n].iov_len = rest < send->segment ? rest : send->segment;
		headers[n].msg_hdr = header;
		headers[n].msg_hdr.msg_iov = &parts[n];
		at += (uint32_t)parts[n].iov_len;
	}
	while (first < n) {
		sent = transmit(fd, headers + first, n - first);
		if (sent < 0)
			break;
		first += (uint32_t)sent;
	}
	if (first == n)
		return 0;
	if (sent == -EAGAIN) {
		send->offset += first * send->segment;
		send->length -= first * send->segment;
	}
	return sent;
}

/* Sends an entry that IP may fragment; the socket is as before afterwards. */
static int transmit_fragmented(int fd, struct ph_udp_send *send, const uint8_t *arena,
			       uint32_t flags)
{
	/* A dual-stack socket goes by IPv4's option towards IPv4. */
	bool ipv4 = addr_is_mapped(send->peer.ip);
	int level = ipv4 ? IPPROTO_IP : IPPROTO_IPV6;
	int option = ipv4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER;
	struct mmsghdr header;
	struct outgoing out;
	int sent = prepare(&header.msg_hdr, &out, send, arena, flags);

	if (sent < 0)
		return sent;
	if (flags & PH_UDP_DONTFRAG)
		(void)set_option(fd, level, option, ipv4 ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT);
	sent = transmit(fd, &header, 1);
	if (flags & PH_UDP_DONTFRAG)
		(void)set_option(fd, level, option, ipv4 ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE);
	return sent < 0 ? sent : 0;
}

/* Settles an entry that sendmmsg refused with err: its result, or -EAGAIN. */
static int settle_refused(int fd, struct ph_udp_send *send, const uint8_t *arena, uint32_t *flags,
			  int err)
{
	if (err == -EAGAIN || !is_segmented(send) || !(*flags & PH_UDP_GSO))
		return err;
	/* EIO: no checksum offload, or IPsec. All else is about this entry alone. */
	if (err == -EIO)
		*flags &= ~(uint32_t)PH_UDP_GSO;
	return transmit_cut(fd, send, arena, *flags);
}

/* Prepares entries [from, n) up to the first that needs care of its own; returns how many. */
static uint32_t prepare_run(struct mmsghdr *headers, struct outgoing *outs,
			    struct ph_udp_send *sends, uint32_t from, uint32_t n,
			    const uint8_t *arena, uint32_t arena_len, uint32_t flags)
{
	uint32_t i;

	for (i = from; i < n; i++) {
		struct ph_udp_send *send = &sends[i];

		send->result = check(send, arena_len);
		if (send->result || is_fragmented(send) ||
		    (is_segmented(send) && !(flags & PH_UDP_GSO)))
			break;
		send->result = prepare(&headers[i].msg_hdr, &outs[i], send, arena, flags);
		if (send->result)
			break;
	}
	return i - from;
}

int32_t ph_udp_send(int32_t fd, uint32_t *flags, const uint8_t *arena, uint32_t arena_len,
		    struct ph_udp_send *sends, uint32_t n)
{
	struct mmsghdr headers[PH_UDP_BATCH_MAX];
	struct outgoing outs[PH_UDP_BATCH_MAX];
	uint32_t done = 0;

	if (n > PH_UDP_BATCH_MAX)
		return -EINVAL;
	while (done < n) {
		uint32_t run = prepare_run(headers, outs, sends, done, n, arena, arena_len, *flags);
		struct ph_udp_send *first = &sends[done];
		int sent;

		if (run) {
			sent = transmit(fd, headers + done, run);
			if (sent > 0) {
				done += (uint32_t)sent;
				continue;
			}
			first->result = settle_refused(fd, first, arena, flags, sent);
		} else if (!first->result) {
			first->result = is_fragmented(first) ?
						transmit_fragmented(fd, first, arena, *flags) :
						transmit_cut(fd, first, arena, *flags);
		}
		if (first->result == -EAGAIN)
			break;
		if (first->result == -EBADF || first->result == -ENOTSOCK)
			return first->result;
		done++;
	}
	return (int32_t)done;
}
