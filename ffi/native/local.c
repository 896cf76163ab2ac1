// SPDX-License-Identifier: MIT
/* By which addresses this machine itself is reached: those of its interfaces, and local routes. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"

/* The kernel fills answers of up to 32 KB; a smaller buffer would cut a message off. */
#define ANSWER_LEN (32 << 10)
#define FULL_BITS 128
#define MAPPED_BITS 96

_Static_assert(sizeof(struct ph_block) == 20, "block layout");

struct list {
	struct ph_block *blocks;
	uint32_t max;
	uint32_t count;
};

static void add(struct list *list, int family, const struct rtattr *attr, uint32_t bits)
{
	struct ph_block block = { .bits = bits };
	struct in_addr v4;

	if (family == AF_INET && RTA_PAYLOAD(attr) >= sizeof(v4)) {
		memcpy(&v4, RTA_DATA(attr), sizeof(v4));
		addr_map_v4(block.ip, &v4);
		block.bits += MAPPED_BITS;
	} else if (family == AF_INET6 && RTA_PAYLOAD(attr) >= sizeof(block.ip)) {
		memcpy(block.ip, RTA_DATA(attr), sizeof(block.ip));
	} else {
		return;
	}
	if (list->count < list->max)
		list->blocks[list->count] = block;
	list->count++;
}

static const struct rtattr *find(const struct rtattr *attr, int left, unsigned short type)
{
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if ((attr->rta_type & NLA_TYPE_MASK) == type)
			return attr;
	}
	return NULL;
}

static void add_address(struct list *list, const struct nlmsghdr *head)
{
	const struct ifaddrmsg *info = NLMSG_DATA(head);
	int left = (int)IFA_PAYLOAD(head);
	/* Where there is a peer, the other one is its address. */
	const struct rtattr *attr = find(IFA_RTA(info), left, IFA_LOCAL);

	if (!attr)
		attr = find(IFA_RTA(info), left, IFA_ADDRESS);
	if (attr)
		add(list, info->ifa_family, attr, info->ifa_family == AF_INET ? 32 : FULL_BITS);
}

static void add_route(struct list *list, const struct nlmsghdr *head)
{
	const struct rtmsg *info = NLMSG_DATA(head);
	const struct rtattr *attr = find(RTM_RTA(info), (int)RTM_PAYLOAD(head), RTA_DST);

	if (attr && (info->rtm_type == RTN_LOCAL || info->rtm_type == RTN_ANYCAST))
		add(list, info->rtm_family, attr, info->rtm_dst_len);
}

/* Takes over one answer; 1 when it was the last, 0 when more follow, -errno. */
static int take(struct list *list, const char *answer, size_t length)
{
	const struct nlmsghdr *head = (const void *)answer;

	for (; NLMSG_OK(head, length); head = NLMSG_NEXT(head, length)) {
		if (head->nlmsg_type == NLMSG_DONE)
			return 1;
		if (head->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
		if (head->nlmsg_type == RTM_NEWADDR)
			add_address(list, head);
		else if (head->nlmsg_type == RTM_NEWROUTE)
			add_route(list, head);
	}
	return 0;
}

/* Asks for all of a kind, and takes the answers over: 0 or -errno. */
static int dump(int fd, const void *request, size_t length, struct list *list)
{
	char answer[ANSWER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
	int state = send(fd, request, length, 0) < 0 ? -errno : 0;

	while (state == 0) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		state = n < 0 ? -errno : take(list, answer, (size_t)n);
	}
	return state < 0 ? state : 0;
}

static int dump_addresses(int fd, struct list *list)
{
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg info;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETADDR,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.info = { .ifa_family = AF_UNSPEC },
	};

	return dump(fd, &request, sizeof(request), list);
}

/* Of the table "local"; a kernel that can't filter (before 4.20) tells of all tables. */
static int dump_routes(int fd, uint8_t family, struct list *list)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg info;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETROUTE,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.info = { .rtm_family = family, .rtm_table = RT_TABLE_LOCAL },
	};
	int err = dump(fd, &request, sizeof(request), list);

	/* No such family, or nothing in its table. */
	return err == -ENOENT || err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

int32_t ph_local_list(struct ph_block *blocks, uint32_t max)
{
	struct list list = { .blocks = blocks, .max = max };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	(void)set_option(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
	err = dump_addresses(fd, &list);
	if (!err)
		err = dump_routes(fd, AF_INET, &list);
	if (!err)
		err = dump_routes(fd, AF_INET6, &list);
	close(fd);
	return err ? err : (int32_t)list.count;
}
