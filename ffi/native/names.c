// SPDX-License-Identifier: MIT
/*
 * Names by this machine's resolver, as getaddrinfo tells: unlike the runtime's own look-up it tells
 * a name that there is not from a resolver that does not answer.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"

static bool is_listed(const uint8_t *ips, uint32_t count, const uint8_t ip[16])
{
	for (uint32_t i = 0; i < count; i++) {
		if (!memcmp(ips + 16 * i, ip, 16))
			return true;
	}
	return false;
}

/* Without one the files and sockets of a look-up can't be opened, and it says that nothing is. */
static bool has_descriptor(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int32_t error_of(int result)
{
	switch (result) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return has_descriptor() ? 0 : -EAGAIN;
	default:
		return -EAGAIN;
	}
}

int32_t ph_name_addresses(const char *name, uint8_t *ips, uint32_t max)
{
	/* One entry an address, and not one for each kind of socket. */
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	uint32_t count = 0;
	int result = getaddrinfo(name, NULL, &hints, &list);

	if (result)
		return error_of(result);
	for (const struct addrinfo *one = list; one && count < max; one = one->ai_next) {
		union socket_address address = { 0 };
		struct ph_addr found;

		if (one->ai_addrlen > sizeof(address))
			continue;
		memcpy(&address, one->ai_addr, one->ai_addrlen);
		addr_from_socket(&found, &address);
		/* One with a scope is link-local: no name of a server leads there. */
		if (addr_is_zero(found.ip) || found.scope || is_listed(ips, count, found.ip))
			continue;
		memcpy(ips + 16 * count++, found.ip, 16);
	}
	freeaddrinfo(list);
	return (int32_t)count;
}
