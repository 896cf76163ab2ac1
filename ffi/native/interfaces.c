// SPDX-License-Identifier: MIT
/* Network interfaces by rtnetlink: what there is, and when that changes. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ph.h"

/* The kernel fills answers of up to 32 KB; a smaller buffer would cut a message off. */
#define ANSWER_LEN (32 << 10)

_Static_assert(sizeof(struct ph_interface) == 48, "interface layout");

static int open_route(uint32_t groups)
{
	struct sockaddr_nl local = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int32_t ph_interface_watch(void)
{
	return open_route(RTMGRP_LINK);
}

int32_t ph_address_watch(void)
{
	return open_route(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
}

int32_t ph_interface_changed(int32_t fd)
{
	char message[ANSWER_LEN];
	int32_t changed = 0;

	/* What changed is not read: with one lost (ENOBUFS) it would be wrong from then on. */
	for (;;) {
		ssize_t n = recv(fd, message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);

		if (n >= 0 || errno == ENOBUFS)
			changed = 1;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return changed;
		else if (errno != EINTR)
			return -errno;
	}
}

/* Of the network namespace with this id, as this one calls it; below 0: of this one itself. */
static int ask_in(int fd, uint32_t ifindex, int32_t netns)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
		struct rtattr attr;
		int32_t netns;
	} request = {
		.attr = { .rta_len = RTA_LENGTH(sizeof(netns)), .rta_type = IFLA_TARGET_NETNSID },
		.netns = netns,
		.head = {
			.nlmsg_len = netns < 0 ? NLMSG_LENGTH(sizeof(struct ifinfomsg)) :
						 sizeof(request),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST | (ifindex ? 0 : NLM_F_DUMP),
		},
		.info = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex },
	};

	return send(fd, &request, request.head.nlmsg_len, 0) < 0 ? -errno : 0;
}

static int ask(int fd, uint32_t ifindex)
{
	return ask_in(fd, ifindex, -1);
}

static uint32_t u32_of(const struct rtattr *attr)
{
	uint32_t value = 0;

	if (RTA_PAYLOAD(attr) >= sizeof(value))
		memcpy(&value, RTA_DATA(attr), sizeof(value));
	return value;
}

static void read_xdp(const struct rtattr *nest, struct ph_interface *interface)
{
	const struct rtattr *attr = RTA_DATA(nest);
	int left = (int)RTA_PAYLOAD(nest);

	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		switch (attr->rta_type) {
		case IFLA_XDP_DRV_PROG_ID:
			interface->xdp_native = u32_of(attr);
			break;
		case IFLA_XDP_SKB_PROG_ID:
			interface->xdp_generic = u32_of(attr);
			break;
		case IFLA_XDP_HW_PROG_ID:
			interface->xdp_offloaded = u32_of(attr);
			break;
		}
	}
}

static void read_interface(const struct nlmsghdr *head, struct ph_interface *interface)
{
	const struct ifinfomsg *info = NLMSG_DATA(head);
	const struct rtattr *attr = IFLA_RTA(info);
	int left = (int)IFLA_PAYLOAD(head);

	memset(interface, 0, sizeof(*interface));
	interface->ifindex = (uint32_t)info->ifi_index;
	interface->flags = info->ifi_flags;
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		size_t length = RTA_PAYLOAD(attr);

		switch (attr->rta_type & NLA_TYPE_MASK) {
		case IFLA_IFNAME:
			if (length > sizeof(interface->name))
				length = sizeof(interface->name);
			memcpy(interface->name, RTA_DATA(attr), length);
			break;
		case IFLA_MTU:
			interface->mtu = u32_of(attr);
			break;
		case IFLA_STATS64:
			/* struct rtnl_link_stats64 begins with rx_packets. */
			if (length >= sizeof(interface->rx_packets))
				memcpy(&interface->rx_packets, RTA_DATA(attr),
				       sizeof(interface->rx_packets));
			break;
		case IFLA_XDP:
			read_xdp(attr, interface);
			break;
		}
	}
}

/* Takes over one answer; 1 when it was the last, 0 when more follow, -errno. */
static int take(const char *answer, size_t length, int is_dump, struct ph_interface *interfaces,
		uint32_t max, uint32_t *count)
{
	const struct nlmsghdr *head = (const void *)answer;

	for (; NLMSG_OK(head, length); head = NLMSG_NEXT(head, length)) {
		if (head->nlmsg_type == NLMSG_DONE)
			return 1;
		if (head->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *error = NLMSG_DATA(head);

			return error->error ? error->error : 1;
		}
		if (head->nlmsg_type != RTM_NEWLINK)
			continue;
		if (*count < max)
			read_interface(head, &interfaces[*count]);
		(*count)++;
		if (!is_dump)
			return 1;
	}
	return 0;
}

int32_t ph_interface_list(uint32_t ifindex, struct ph_interface *interfaces, uint32_t max)
{
	char answer[ANSWER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint32_t count = 0;
	int fd = open_route(0);
	int state;

	if (fd < 0)
		return fd;
	state = ask(fd, ifindex);
	while (state == 0) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		state = n < 0 ? -errno : take(answer, (size_t)n, !ifindex, interfaces, max, &count);
	}
	close(fd);
	if (state < 0)
		return state;
	return (int32_t)count;
}

/* ---- the other end of a veth ---- */

struct veth {
	bool is_one;
	uint32_t peer;			/* 0: not known */
	int32_t netns;			/* of the peer; -1: this one */
};

static void read_kind(const struct rtattr *nest, struct veth *veth)
{
	const struct rtattr *attr = RTA_DATA(nest);
	int left = (int)RTA_PAYLOAD(nest);

	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (attr->rta_type == IFLA_INFO_KIND && RTA_PAYLOAD(attr) >= sizeof("veth"))
			veth->is_one = !strcmp(RTA_DATA(attr), "veth");
	}
}

static struct veth read_veth(const struct nlmsghdr *head)
{
	const struct ifinfomsg *info = NLMSG_DATA(head);
	const struct rtattr *attr = IFLA_RTA(info);
	int left = (int)IFLA_PAYLOAD(head);
	struct veth veth = { .netns = -1 };

	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		switch (attr->rta_type & NLA_TYPE_MASK) {
		case IFLA_LINK:
			veth.peer = u32_of(attr);
			break;
		case IFLA_LINK_NETNSID:
			veth.netns = (int32_t)u32_of(attr);
			break;
		case IFLA_LINKINFO:
			read_kind(attr, &veth);
			break;
		}
	}
	return veth;
}

/* The one interface that was asked for, in `answer`; NULL with *err. */
static const struct nlmsghdr *fetch(int fd, uint32_t ifindex, int32_t netns, char *answer,
				    int32_t *err)
{
	const struct nlmsghdr *head = (const void *)answer;
	ssize_t n;

	*err = ask_in(fd, ifindex, netns);
	if (*err)
		return NULL;
	do
		n = recv(fd, answer, ANSWER_LEN, 0);
	while (n < 0 && errno == EINTR);
	*err = n < 0 ? -errno : -EBADMSG;
	if (n < 0 || !NLMSG_OK(head, (size_t)n))
		return NULL;
	if (head->nlmsg_type == NLMSG_ERROR)
		*err = ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
	return head->nlmsg_type == RTM_NEWLINK ? head : NULL;
}

int32_t ph_interface_peer(uint32_t ifindex, struct ph_interface *peer)
{
	char answer[ANSWER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *head;
	int fd = open_route(0);
	struct veth veth;
	int32_t err;

	if (fd < 0)
		return fd;
	head = fetch(fd, ifindex, -1, answer, &err);
	if (head) {
		veth = read_veth(head);
		err = 0;
		if (veth.is_one && veth.peer) {
			head = fetch(fd, veth.peer, veth.netns, answer, &err);
			if (head) {
				read_interface(head, peer);
				err = 1;
			}
		}
	}
	close(fd);
	return err;
}
