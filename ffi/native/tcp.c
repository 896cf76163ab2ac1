// SPDX-License-Identifier: MIT
/*
 * Streams for the data plane: non-blocking sockets, and reads and writes for many of them in one
 * call. Nothing is kept here; a descriptor and the caller's arena are all there is.
 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "ph.h"

#define LISTEN_FLAGS (PH_TCP_REUSEPORT | PH_TCP_V6ONLY)
#define STREAM_FLAGS (PH_TCP_NODELAY | PH_TCP_FASTOPEN)

/* Connections that failed while they waited, to skip in one call. */
#define ACCEPT_FAILED_MAX 64
#define KEEPALIVE_PROBES 4

static int socket_of(bool ipv4)
{
	return socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int fail(int fd)
{
	int err = -errno;

	close(fd);
	return err;
}

/* ---- listening ---- */

static int listen_on(struct ph_addr *local, uint32_t flags, int32_t backlog, bool ipv4)
{
	union socket_address address;
	socklen_t length = addr_to_socket(&address, local, ipv4);
	int fd = socket_of(ipv4);

	if (fd < 0)
		return -errno;
	/* Said either way: the default is a sysctl. */
	if (!ipv4 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !!(flags & PH_TCP_V6ONLY)))
		return fail(fd);
	if (!set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1))
		return fail(fd);
	if (flags & PH_TCP_REUSEPORT && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
		return fail(fd);
	if (bind(fd, &address.any, length) < 0 || listen(fd, backlog) < 0)
		return fail(fd);
	length = sizeof(address);
	if (getsockname(fd, &address.any, &length) < 0)
		return fail(fd);
	local->port = ntohs(ipv4 ? address.v4.sin_port : address.v6.sin6_port);
	return fd;
}

int32_t ph_tcp_listen(struct ph_addr *local, uint32_t flags, int32_t backlog)
{
	bool ipv4 = addr_is_mapped(local->ip);
	int fd;

	if (flags & ~(uint32_t)LISTEN_FLAGS || backlog < 1)
		return -EINVAL;
	fd = listen_on(local, flags, backlog, ipv4);
	/* EADDRNOTAVAIL for :: is IPv6 that is compiled in and switched off. */
	if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && !ipv4 && addr_is_zero(local->ip) &&
	    !(flags & PH_TCP_V6ONLY))
		fd = listen_on(local, flags, backlog, true);
	return fd;
}

/* Neither is vital to a connection that is there already. */
static void set_stream_options(int fd, uint32_t flags, uint32_t keepalive_s)
{
	int seconds = (int)keepalive_s;

	if (flags & PH_TCP_NODELAY)
		(void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (!seconds)
		return;
	(void)set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
	(void)set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL,
			 (seconds + KEEPALIVE_PROBES - 1) / KEEPALIVE_PROBES);
	(void)set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
	(void)set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

/* Errors of the connection that was next, not of the listening: see accept(2). */
static bool is_failed_connection(int err)
{
	switch (err) {
	case ECONNABORTED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EINTR:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EPERM:
	case EPROTO:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

int32_t ph_tcp_accept(int32_t fd, uint32_t flags, uint32_t keepalive_s,
		      struct ph_tcp_accepted *accepted, uint32_t max)
{
	uint32_t taken = 0, failed = 0;

	if (!max || max > PH_TCP_ACCEPT_MAX || keepalive_s > PH_TCP_KEEPALIVE_MAX ||
	    flags & ~(uint32_t)PH_TCP_NODELAY)
		return -EINVAL;
	while (taken < max) {
		union socket_address peer;
		socklen_t length = sizeof(peer);
		int stream = unspared(accept4(fd, &peer.any, &length,
					      SOCK_NONBLOCK | SOCK_CLOEXEC));

		if (stream < 0) {
			if (is_failed_connection(errno) && ++failed < ACCEPT_FAILED_MAX)
				continue;
			if (errno != EAGAIN && !taken)
				return -errno;
			break;
		}
		set_stream_options(stream, flags, keepalive_s);
		accepted[taken] = (struct ph_tcp_accepted){ .fd = stream };
		addr_from_socket(&accepted[taken].peer, &peer);
		taken++;
	}
	return (int32_t)taken;
}

/* ---- connecting ---- */

/* Binds to where the connection is to come from; 0 or -errno. */
static int bind_source(int fd, const struct ph_addr *source, bool ipv4)
{
	union socket_address address;
	socklen_t length;

	if (addr_is_zero(source->ip) && !source->port)
		return 0;
	/* A dual-stack socket would take an IPv4 source, and then find no way to an IPv6 peer. */
	length = addr_to_socket(&address, source, ipv4);
	if (!length || (!ipv4 && addr_is_mapped(source->ip)))
		return -EAFNOSUPPORT;
	/* The port only when the peer is known: one port then serves any number of peers. */
	if (!source->port)
		(void)set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, &address.any, length) < 0 ? -errno : 0;
}

int32_t ph_tcp_connect(const struct ph_addr *peer, const struct ph_addr *source,
		       const char *device, uint32_t flags, uint32_t keepalive_s)
{
	bool ipv4 = addr_is_mapped(peer->ip);
	union socket_address address;
	socklen_t length = addr_to_socket(&address, peer, ipv4);
	size_t device_len = strlen(device);
	int fd, err;

	if (flags & ~(uint32_t)STREAM_FLAGS || keepalive_s > PH_TCP_KEEPALIVE_MAX)
		return -EINVAL;
	fd = unspared(socket_of(ipv4));
	if (fd < 0)
		return -errno;
	if (device_len && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device,
				     (socklen_t)device_len) < 0)
		return fail(fd);
	err = bind_source(fd, source, ipv4);
	if (err) {
		close(fd);
		return err;
	}
	set_stream_options(fd, flags, keepalive_s);
	if (flags & PH_TCP_FASTOPEN)
		(void)set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
	/* An interrupted connect goes on by itself. */
	if (connect(fd, &address.any, length) < 0 && errno != EINPROGRESS && errno != EINTR)
		return fail(fd);
	return fd;
}

int32_t ph_tcp_result(int32_t fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	int err = 0;
	socklen_t length = sizeof(err);

	if (fd < 0)
		return -EBADF;
	/* Asked too early, SO_ERROR would be 0 as well. */
	if (poll(&ready, 1, 0) <= 0)
		return -EINPROGRESS;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length) < 0)
		return -errno;
	return -err;
}

int32_t ph_tcp_local(int32_t fd, struct ph_addr *local)
{
	union socket_address address;
	socklen_t length = sizeof(address);

	if (getsockname(fd, &address.any, &length) < 0)
		return -errno;
	addr_from_socket(local, &address);
	return 0;
}

/* ---- moving bytes ---- */

static bool in_arena(uint32_t offset, uint32_t length, uint32_t arena_len)
{
	/* INT32_MAX, for the result says how many. */
	return (uint64_t)offset + length <= arena_len && length <= INT32_MAX;
}

int32_t ph_tcp_read(int32_t fd, uint8_t *arena, uint32_t arena_len, uint32_t offset,
		    uint32_t length)
{
	ssize_t n;

	if (!length || !in_arena(offset, length, arena_len))
		return -EINVAL;
	do {
		n = recv(fd, arena + offset, length, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int32_t)n;
}

int32_t ph_tcp_write(int32_t fd, const uint8_t *arena, uint32_t arena_len, uint32_t offset,
		     uint32_t length)
{
	ssize_t n;

	if (!length || !in_arena(offset, length, arena_len))
		return -EINVAL;
	do {
		n = send(fd, arena + offset, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int32_t)n;
}

/* ---- ending ---- */

int32_t ph_tcp_finish(int32_t fd)
{
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

int32_t ph_tcp_held(int32_t fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t length = sizeof(info);
	uint64_t held;

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) < 0)
		return -errno;
	held = (uint64_t)info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED] +
	       info[SK_MEMINFO_BACKLOG];
	return held > INT32_MAX ? INT32_MAX : (int32_t)held;
}

int32_t ph_tcp_abort(int32_t fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	return ph_close(fd);
}
