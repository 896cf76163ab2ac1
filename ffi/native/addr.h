/* SPDX-License-Identifier: MIT */
/* Addresses as they cross the border (IPv4-mapped) and as sockets want them; not exported. */
#ifndef ADDR_H
#define ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ph.h"

union socket_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

bool addr_is_mapped(const uint8_t ip[16]);
bool addr_is_zero(const uint8_t ip[16]);
bool addr_is_link_local(const uint8_t ip[16]);
void addr_map_v4(uint8_t ip[16], const struct in_addr *v4);

/* Fills `to` for a socket of this family; the length, or 0 for an address the family lacks. */
socklen_t addr_to_socket(union socket_address *to, const struct ph_addr *from, bool ipv4);
void addr_from_socket(struct ph_addr *to, const union socket_address *from);

bool set_option(int fd, int level, int name, int value);

/* A descriptor just got for somebody else, or -1 and errno: EMFILE where it is a spared one. */
int unspared(int fd);

#endif
