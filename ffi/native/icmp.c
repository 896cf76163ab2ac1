// SPDX-License-Identifier: MIT
/* What ICMP tells of the way to a peer: errors about packets that others sent, and echoes. */
#include <errno.h>
#include <time.h>

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "ph.h"

#define MESSAGES_MAX 64
/* With IPv4's header, which a raw socket shows. */
#define ANSWER_LEN 128

struct echo {
	uint8_t type;
	uint8_t code;
	uint16_t sum;
	uint16_t id;
	uint16_t sequence;
	uint32_t token;
};

_Static_assert(sizeof(struct echo) == 12, "echo layout");

static int connect_to(int fd, const struct ph_addr *peer, bool ipv4)
{
	struct ph_addr portless = *peer;
	union socket_address address;
	socklen_t length;

	portless.port = 0;
	length = addr_to_socket(&address, &portless, ipv4);
	return connect(fd, &address.any, length) < 0 ? -errno : 0;
}

static int closed(int fd, int err)
{
	close(fd);
	return err;
}

/* ---- errors ---- */

/* A socket of all UDP packets from `peer` that a filter lets through. */
static int open_raw(const struct ph_addr *peer, const struct sock_fprog *filter, bool ipv4)
{
	int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
			IPPROTO_UDP);
	int err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof(*filter)) < 0)
		return closed(fd, -errno);
	err = connect_to(fd, peer, ipv4);
	return err ? closed(fd, err) : fd;
}

int32_t ph_path_open(const struct ph_addr *peer)
{
	struct sock_filter nothing = { .code = BPF_RET | BPF_K };
	struct sock_fprog filter = { .len = 1, .filter = &nothing };
	bool ipv4 = addr_is_mapped(peer->ip);
	int fd = open_raw(peer, &filter, ipv4);

	if (fd >= 0 && !(ipv4 ? set_option(fd, IPPROTO_IP, IP_RECVERR, 1) :
				set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1)))
		return closed(fd, -errno);
	return fd;
}

int32_t ph_returns_open(const struct ph_addr *peer, uint32_t first, uint32_t last,
			uint32_t rcvbuf)
{
	bool ipv4 = addr_is_mapped(peer->ip);
	/* A raw socket of IPv4 shows the IP header, one of IPv6 does not. */
	struct sock_filter steps[] = {
		ipv4 ? (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0) :
		       (struct sock_filter)BPF_STMT(BPF_LDX | BPF_IMM, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = {
		.len = sizeof(steps) / sizeof(*steps),
		.filter = steps,
	};
	int fd = open_raw(peer, &filter, ipv4);
	bool ok;

	if (fd < 0)
		return fd;
	ok = ipv4 ? set_option(fd, IPPROTO_IP, IP_PKTINFO, 1) :
		    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	if (!ok)
		return closed(fd, -errno);
	if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)rcvbuf))
		(void)set_option(fd, SOL_SOCKET, SO_RCVBUF, (int)rcvbuf);
	return fd;
}

/* The kernel's own words for an error, or NULL. */
static const struct sock_extended_err *find_error(struct msghdr *header)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			return (const void *)CMSG_DATA(c);
	}
	return NULL;
}

int32_t ph_path_error(int32_t fd, uint32_t *detail)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[256];
	} control;
	/* The UDP header of the packet that the error is about. */
	uint16_t ports[4] = { 0 };

	*detail = 0;
	for (int i = 0; i < MESSAGES_MAX; i++) {
		struct iovec part = { .iov_base = ports, .iov_len = sizeof(ports) };
		struct msghdr header = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		const struct sock_extended_err *error;

		if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? 0 : -errno;
		}
		error = find_error(&header);
		if (!error || error->ee_origin == SO_EE_ORIGIN_LOCAL)
			continue;
		*detail = error->ee_errno == EMSGSIZE ? error->ee_info : ntohs(ports[1]);
		return (int32_t)error->ee_errno;
	}
	return 0;
}

static int32_t way_error(const struct sock_extended_err *error)
{
	const bool icmp4 = error->ee_origin == SO_EE_ORIGIN_ICMP;
	const uint8_t code = error->ee_code;

	if (icmp4 && error->ee_type == ICMP_DEST_UNREACH) {
		if (code == ICMP_PORT_UNREACH)
			return PH_WAY_REFUSED;
		if (code == ICMP_FRAG_NEEDED)
			return 0;
		return code == ICMP_NET_ANO || code == ICMP_HOST_ANO || code == ICMP_PKT_FILTERED ?
			       PH_WAY_PROHIBITED :
			       PH_WAY_UNREACHABLE;
	}
	if (error->ee_origin == SO_EE_ORIGIN_ICMP6 && error->ee_type == ICMP6_DST_UNREACH) {
		if (code == ICMP6_DST_UNREACH_NOPORT)
			return PH_WAY_REFUSED;
		/* 5 and 6: its source, or the route, is refused by policy (RFC 4443). */
		return code == ICMP6_DST_UNREACH_ADMIN || code == 5 || code == 6 ?
			       PH_WAY_PROHIBITED :
			       PH_WAY_UNREACHABLE;
	}
	return 0;
}

int32_t ph_udp_error(int32_t fd, struct ph_addr *peer, struct ph_addr *teller)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[256];
	} control;
	union socket_address address;

	for (int i = 0; i < MESSAGES_MAX; i++) {
		struct msghdr header = {
			.msg_name = &address,
			.msg_namelen = sizeof(address),
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		const struct sock_extended_err *error;
		int32_t result;

		memset(&address, 0, sizeof(address));
		if (recvmsg(fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? 0 : -errno;
		}
		error = find_error(&header);
		result = error ? way_error(error) : 0;
		if (!result)
			continue;
		addr_from_socket(peer, &address);
		addr_from_socket(teller, (const void *)SO_EE_OFFENDER(error));
		return result;
	}
	return 0;
}

/* ---- echoes ---- */

static int open_echo(bool ipv4)
{
	int family = ipv4 ? AF_INET : AF_INET6, protocol = ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	const int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
	/* Without privilege, where net.ipv4.ping_group_range allows it. */
	int fd = socket(family, SOCK_DGRAM | flags, protocol);
	struct icmp6_filter only6;
	struct icmp_filter only4 = { .data = ~(1u << ICMP_ECHOREPLY) };
	bool ok;

	if (fd >= 0)
		return fd;
	fd = socket(family, SOCK_RAW | flags, protocol);
	if (fd < 0)
		return -errno;
	ICMP6_FILTER_SETBLOCKALL(&only6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &only6);
	ok = ipv4 ? setsockopt(fd, SOL_RAW, ICMP_FILTER, &only4, sizeof(only4)) == 0 :
		    setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &only6, sizeof(only6)) == 0;
	return ok ? fd : closed(fd, -errno);
}

static uint16_t sum_of(const struct echo *message)
{
	uint16_t words[sizeof(*message) / 2];
	uint32_t sum = 0;

	memcpy(words, message, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

int32_t ph_echo_send(const struct ph_addr *peer, uint32_t token)
{
	bool ipv4 = addr_is_mapped(peer->ip);
	struct echo message = {
		.type = ipv4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
		.id = (uint16_t)token,
		.sequence = (uint16_t)(token >> 16),
		.token = token,
	};
	int fd = open_echo(ipv4);
	int err;

	if (fd < 0)
		return fd;
	/* IPv6's covers addresses: the kernel writes it. */
	if (ipv4)
		message.sum = sum_of(&message);
	err = connect_to(fd, peer, ipv4);
	if (!err && send(fd, &message, sizeof(message), MSG_NOSIGNAL) < 0)
		err = -errno;
	return err ? closed(fd, err) : fd;
}

int32_t ph_echo_heard(int32_t fd, uint32_t token)
{
	int type = 0, family = 0;
	socklen_t length = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0)
		return -errno;
	for (int i = 0; i < MESSAGES_MAX; i++) {
		uint8_t answer[ANSWER_LEN] = { 0 };
		ssize_t got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
		struct echo echo;
		size_t from = 0;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (type == SOCK_RAW && family == AF_INET)
			from = (size_t)(answer[0] & 15) * 4;
		if ((size_t)got < from + sizeof(echo))
			continue;
		memcpy(&echo, answer + from, sizeof(echo));
		if (echo.type == (family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) &&
		    echo.token == token)
			return 1;
	}
	return 0;
}
