/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Checksums that their sender has only begun. */
#ifndef PHANTOM_RELAY_COMPLETE_H
#define PHANTOM_RELAY_COMPLETE_H

#include "contract/relay.h"
#include "lib/csum.h"
#include "relay/frame.h"

/* Zero, but for the verifier any number: where it starts from one, each step is another state. */
volatile __u32 relay_zero;

#define RELAY_SUM_MASK 0x3fff
#define RELAY_SUM_LENGTH bpf_ntohs(((volatile struct udphdr *)udp)->len)

/*
 * Adds the next `size` bytes when the length has that bit. The length is read anew and the offset
 * masked, so that the verifier forgets them: else it would follow every length there is.
 */
#define RELAY_SUM_PART(size)						\
	if (RELAY_SUM_LENGTH & (size)) {				\
		offset &= RELAY_SUM_MASK;				\
		barrier_var(offset);					\
		at = (void *)udp + (offset & RELAY_SUM_MASK);			\
		if (at + (size) > end)					\
			return -PH_RELAY_OUTCOME_BAD_UDP;		\
		sum = bpf_csum_diff(NULL, 0, at, (size), sum);		\
		offset += (size);					\
	}

/*
 * Sets the checksum of a datagram whose sender has summed up the pseudo-header and left the rest
 * to hardware: a program on this machine, behind a veth. Answers 0 or minus an outcome.
 *
 * With `keeps` (generic XDP) the sender's note goes on with the frame, and somebody completes the
 * sum later: then nothing is written, and the answer is 1. But where the sum is right as it
 * stands, it is whole, and looks begun by chance (one in 65,536): 0.
 */
__noinline int relay_complete_sum(struct xdp_md *ctx, __u32 pseudo, __u32 keeps)
{
	void *end = (void *)(long)ctx->data_end;
	__u32 length, offset = relay_zero, sum = pseudo;
	struct plain view;
	struct udphdr *udp;
	void *at;

	if (!relay_enabled || !relay_headers(ctx, &view))
		return -PH_RELAY_OUTCOME_UNUSUAL;
	udp = view.udp;
	length = bpf_ntohs(udp->len);
	if (length < sizeof(*udp) || length > PH_RELAY_LIMIT_SUM_BYTES)
		return -PH_RELAY_OUTCOME_UNFINISHED;
	sum += udp->len;
	for (int i = 0; i < PH_RELAY_LIMIT_SUM_BYTES / 256; i++) {
		if (offset + 256 > RELAY_SUM_LENGTH)
			break;
		offset &= RELAY_SUM_MASK;
		barrier_var(offset);
		at = (void *)udp + (offset & RELAY_SUM_MASK);
		if (at + 256 > end)
			return -PH_RELAY_OUTCOME_BAD_UDP;
		sum = bpf_csum_diff(NULL, 0, at, 256, sum);
		offset += 256;
	}
	RELAY_SUM_PART(128);
	RELAY_SUM_PART(64);
	RELAY_SUM_PART(32);
	RELAY_SUM_PART(16);
	RELAY_SUM_PART(8);
	RELAY_SUM_PART(4);
	/* In halves, so that the words that follow can't carry out of 32 bits. */
	sum = (sum & 0xffff) + (sum >> 16);
	offset &= RELAY_SUM_MASK;
	barrier_var(offset);
	at = (void *)udp + (offset & RELAY_SUM_MASK);
	if (RELAY_SUM_LENGTH & 2) {
		if (at + 2 > end)
			return -PH_RELAY_OUTCOME_BAD_UDP;
		sum += *(__u16 *)at;
		at += 2;
	}
	if (RELAY_SUM_LENGTH & 1) {
		if (at + 1 > end)
			return -PH_RELAY_OUTCOME_BAD_UDP;
		sum += bpf_htons(*(__u8 *)at << 8);
	}
	if (keeps)
		return csum_fold(sum) != 0xffff;
	/* Without what stands in its own place. */
	sum = (__u16)~csum_fold(csum_fold(sum) + (__u32)(__u16)~udp->check);
	udp->check = sum ? sum : 0xffff;
	return 0;
}

#endif
