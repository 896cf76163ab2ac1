// SPDX-License-Identifier: MIT
/*
 * Packet headers, hidden and shown. The mask is SipHash-2-4 of the sample and one byte; both halves
 * of it share the state after the sample, so that the second costs its last block only. Not in
 * constant time: which of its keys fits is no secret to whoever sent the packet.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ph.h"

#define SAMPLE_OFFSET 16

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint64_t load(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return le64toh(word);
}

static void store(uint8_t *bytes, uint64_t word)
{
	word = htole64(word);
	memcpy(bytes, &word, sizeof(word));
}

static uint32_t load_big(const uint8_t *bytes)
{
	uint32_t word;

	memcpy(&word, bytes, sizeof(word));
	return be32toh(word);
}

static inline uint64_t rotate(uint64_t word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static inline struct sip round_of(struct sip s)
{
	s.v0 += s.v1;
	s.v2 += s.v3;
	s.v1 = rotate(s.v1, 13) ^ s.v0;
	s.v3 = rotate(s.v3, 16) ^ s.v2;
	s.v0 = rotate(s.v0, 32);
	s.v2 += s.v1;
	s.v0 += s.v3;
	s.v1 = rotate(s.v1, 17) ^ s.v2;
	s.v3 = rotate(s.v3, 21) ^ s.v0;
	s.v2 = rotate(s.v2, 32);
	return s;
}

static inline struct sip begin(const uint8_t *key)
{
	uint64_t k0 = load(key), k1 = load(key + 8);

	return (struct sip){ k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
			     k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
}

static inline struct sip take(struct sip s, uint64_t word)
{
	s.v3 ^= word;
	s = round_of(round_of(s));
	s.v0 ^= word;
	return s;
}

static inline uint64_t end(struct sip s, uint64_t last)
{
	s = take(s, last);
	s.v2 ^= 0xff;
	s = round_of(round_of(round_of(round_of(s))));
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

int32_t ph_siphash(const uint8_t *key, const uint8_t *data, uint32_t length, uint8_t *out)
{
	uint32_t whole = length & ~7u;
	struct sip s = begin(key);
	uint8_t last[8] = { 0 };

	for (uint32_t i = 0; i < whole; i += 8)
		s = take(s, load(data + i));
	for (uint32_t i = whole; i < length; i++)
		last[i - whole] = data[i];
	last[7] = (uint8_t)length;
	store(out, end(s, load(last)));
	return 0;
}

/* The state after the sample of a packet. */
static inline struct sip sampled(const uint8_t *key, const uint8_t *packet)
{
	struct sip s = begin(key);

	s = take(s, load(packet + SAMPLE_OFFSET));
	return take(s, load(packet + SAMPLE_OFFSET + 8));
}

/* Half 0 or 1 of the mask: the last block is that byte, and 17 for the length of all. */
static inline uint64_t mask_of(struct sip s, uint64_t half)
{
	return end(s, half | 17ull << 56);
}

static bool in_arena(uint32_t offset, uint32_t length, uint32_t arena_len)
{
	return (uint64_t)offset + length <= arena_len;
}

/* Shows one packet's header, when one of the keys fits. */
static bool unmask(uint8_t *packet, const uint8_t *keys, uint32_t n_keys, struct ph_header *header)
{
	uint64_t masked = load(packet);

	for (uint32_t i = 0; i < n_keys; i++) {
		struct sip s = sampled(keys + (size_t)i * PH_MASK_KEY_LEN, packet);
		uint64_t first = masked ^ mask_of(s, 0);
		/* Bytes 4 to 7 are the upper half: kind, and above it the three of zero. */
		uint32_t kind = (uint32_t)(first >> 32);

		if (!kind || kind > PH_KIND_MAX)
			continue;
		store(packet, first);
		store(packet + 8, load(packet + 8) ^ mask_of(s, 1));
		header->kind = kind;
		header->session = load_big(packet);
		header->number_low = load_big(packet + 12);
		header->number_high = load_big(packet + 8);
		header->window = i;
		return true;
	}
	return false;
}

int32_t ph_unmask(uint8_t *arena, uint32_t arena_len, const struct ph_udp_span *spans, uint32_t n,
		  const uint8_t *keys, uint32_t n_keys, struct ph_header *headers)
{
	int32_t shown = 0;

	if (n_keys > PH_MASK_KEYS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		const struct ph_udp_span *span = &spans[i];

		headers[i] = (struct ph_header){ 0 };
		if (span->length < PH_PACKET_MIN || span->flags & PH_SPAN_TRUNCATED ||
		    !in_arena(span->offset, span->length, arena_len))
			continue;
		shown += unmask(arena + span->offset, keys, n_keys, &headers[i]);
	}
	return shown;
}

int32_t ph_mask(uint8_t *arena, uint32_t arena_len, const uint8_t *key, const uint32_t *words,
		uint32_t words_len, uint32_t first, uint32_t stride, uint32_t n)
{
	int32_t hidden = 0;

	if (n && (uint64_t)(n - 1) * stride + first >= words_len)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t offset = words[first + (size_t)i * stride];
		uint8_t *packet;
		struct sip s;

		if (!in_arena(offset, PH_PACKET_MIN, arena_len))
			continue;
		packet = arena + offset;
		s = sampled(key, packet);
		store(packet, load(packet) ^ mask_of(s, 0));
		store(packet + 8, load(packet + 8) ^ mask_of(s, 1));
		hidden++;
	}
	return hidden;
}
