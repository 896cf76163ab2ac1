// SPDX-License-Identifier: MIT
/* Addresses as they cross the border, and as sockets want them. */
#include <string.h>

#include "addr.h"

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool addr_is_mapped(const uint8_t ip[16])
{
	return !memcmp(ip, mapped_prefix, sizeof(mapped_prefix));
}

bool addr_is_zero(const uint8_t ip[16])
{
	static const uint8_t zero[16];

	return !memcmp(ip, zero, sizeof(zero));
}

bool addr_is_link_local(const uint8_t ip[16])
{
	return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

void addr_map_v4(uint8_t ip[16], const struct in_addr *v4)
{
	memcpy(ip, mapped_prefix, sizeof(mapped_prefix));
	memcpy(ip + 12, v4, 4);
}

socklen_t addr_to_socket(union socket_address *to, const struct ph_addr *from, bool ipv4)
{
	memset(to, 0, sizeof(*to));
	if (!ipv4) {
		to->v6.sin6_family = AF_INET6;
		to->v6.sin6_port = htons(from->port);
		to->v6.sin6_scope_id = from->scope;
		memcpy(&to->v6.sin6_addr, from->ip, 16);
		return sizeof(to->v6);
	}
	to->v4.sin_family = AF_INET;
	to->v4.sin_port = htons(from->port);
	if (addr_is_mapped(from->ip))
		memcpy(&to->v4.sin_addr, from->ip + 12, 4);
	else if (!addr_is_zero(from->ip))
		return 0;
	return sizeof(to->v4);
}

void addr_from_socket(struct ph_addr *to, const union socket_address *from)
{
	memset(to, 0, sizeof(*to));
	if (from->any.sa_family == AF_INET6) {
		memcpy(to->ip, &from->v6.sin6_addr, 16);
		to->port = ntohs(from->v6.sin6_port);
		to->scope = from->v6.sin6_scope_id;
	} else if (from->any.sa_family == AF_INET) {
		addr_map_v4(to->ip, &from->v4.sin_addr);
		to->port = ntohs(from->v4.sin_port);
	}
}

bool set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}
