/* SPDX-License-Identifier: MIT */
/* Ethernet frames with one UDP datagram: taken apart and put together; not exported. */
#ifndef XSK_FRAME_H
#define XSK_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "ph.h"

/* The Ethernet addresses of a frame, as the frame that came has them. */
struct frame_ends {
	uint8_t to[6];
	uint8_t from[6];
};

struct frame_datagram {
	struct ph_udp_msg route;
	struct frame_ends ends;
	uint32_t offset;		/* of the payload, from the begin of the frame */
	uint32_t length;
};

/*
 * Takes apart a frame for this UDP port (network byte order). False for what is anything else, or
 * contradicts itself: XDP has let through none such.
 */
bool frame_parse(const uint8_t *frame, uint32_t frame_len, uint16_t port,
		 struct frame_datagram *datagram);

/* The headers of frames to one peer: all but lengths and checksums. */
struct frame_header {
	uint8_t bytes[64];
	uint32_t length;
	uint32_t ip_sum;		/* of the IPv4 header, without its length */
	uint32_t udp_sum;		/* of pseudo header and ports, without the lengths */
};

/* Headers back to where a frame came from: from our port, and with the ends swapped. */
void frame_begin(struct frame_header *header, const struct ph_udp_msg *route,
		 const struct frame_ends *came, uint16_t port);

/* Writes a frame: headers with checksums, and the payload. Its length. */
uint32_t frame_build(uint8_t *frame, const struct frame_header *header, const uint8_t *payload,
		     uint32_t length);

#endif
