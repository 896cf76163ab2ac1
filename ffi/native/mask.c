// SPDX-License-Identifier: MIT
/*
 * Packet headers, hidden and shown. All three hashes of a header begin with the sample and share
 * the state after it, so that each costs its last blocks only. Not in constant time: which of its
 * keys fits is no secret to whoever sent the packet.
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

static uint32_t load_big16(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 8 | bytes[1];
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

/* What hides the header, and what hides its number: the last block is 17 bytes' end. */
static inline uint64_t mask_of(struct sip s, uint64_t which)
{
	return end(s, which | 17ull << 56);
}

/* Session and kind are the lower 7 bytes of the first word, the number the upper 6 of the other. */
#define FIRST_BYTES 0x00ffffffffffffffull
#define CHECK_BYTES 0xffffffull

/* Over the header as it is on the wire, check left out: 30 bytes with the sample. */
static inline uint64_t check_of(struct sip s, uint64_t first, uint64_t second,
				uint64_t direction)
{
	s = take(s, (first & FIRST_BYTES) | (4 + direction) << 56);
	return end(s, second >> 16 | 30ull << 56) & CHECK_BYTES;
}

/* Bytes 7 to 9. */
static inline uint64_t check_in(uint64_t first, uint64_t second)
{
	return first >> 56 | (second & 0xffff) << 8;
}

/* Whether a packet of this kind goes in this direction. */
static inline bool is_kind(uint32_t kind, uint32_t direction)
{
	if (kind == PH_KIND_DATA0 || kind == PH_KIND_DATA1)
		return true;
	if (direction == PH_TO_SERVER)
		return kind == PH_KIND_HELLO;
	return kind == PH_KIND_ACCEPT || kind == PH_KIND_RESET;
}

static bool in_arena(uint32_t offset, uint32_t length, uint32_t arena_len)
{
	return (uint64_t)offset + length <= arena_len;
}

/* Shows one packet's header, when one of the keys fits. */
static bool unmask(uint8_t *packet, const uint8_t *keys, uint32_t n_keys, uint32_t direction,
		   struct ph_header *header)
{
	uint64_t first = load(packet), second = load(packet + 8);
	uint64_t check = check_in(first, second);

	for (uint32_t i = 0; i < n_keys; i++) {
		struct sip s = sampled(keys + (size_t)i * PH_MASK_KEY_LEN, packet);
		uint64_t shown;

		if (check_of(s, first, second, direction) != check)
			continue;
		shown = (first ^ mask_of(s, direction)) & FIRST_BYTES;
		if (!is_kind((uint32_t)(shown >> 48), direction))
			continue;
		store(packet, shown);
		store(packet + 8, (second >> 16 ^ mask_of(s, 2 + direction)) << 16);
		header->kind = packet[6];
		header->session_low = load_big(packet + 2);
		header->session_high = load_big16(packet);
		header->number_low = load_big(packet + 12);
		header->number_high = load_big16(packet + 10);
		header->window = i;
		return true;
	}
	return false;
}

int32_t ph_unmask(uint8_t *arena, uint32_t arena_len, const struct ph_udp_span *spans, uint32_t n,
		  const uint8_t *keys, uint32_t n_keys, uint32_t direction,
		  struct ph_header *headers)
{
	int32_t shown = 0;

	if (n_keys > PH_MASK_KEYS_MAX || direction > PH_TO_CLIENT)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		const struct ph_udp_span *span = &spans[i];

		headers[i] = (struct ph_header){ 0 };
		if (span->length < PH_PACKET_MIN || span->flags & PH_SPAN_TRUNCATED ||
		    !in_arena(span->offset, span->length, arena_len))
			continue;
		shown += unmask(arena + span->offset, keys, n_keys, direction, &headers[i]);
	}
	return shown;
}

static void hide(uint8_t *packet, const uint8_t *key, uint32_t direction)
{
	struct sip s = sampled(key, packet);
	uint64_t first = (load(packet) ^ mask_of(s, direction)) & FIRST_BYTES;
	uint64_t second = (load(packet + 8) >> 16 ^ mask_of(s, 2 + direction)) << 16;
	uint64_t check = check_of(s, first, second, direction);

	store(packet, first | check << 56);
	store(packet + 8, second | check >> 8);
}

int32_t ph_mask(uint8_t *arena, uint32_t arena_len, const uint8_t *key, uint32_t direction,
		const uint32_t *words, uint32_t words_len, uint32_t first, uint32_t stride,
		uint32_t n)
{
	int32_t hidden = 0;

	if (direction > PH_TO_CLIENT ||
	    (n && (uint64_t)(n - 1) * stride + first >= words_len))
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t offset = words[first + (size_t)i * stride];

		if (!in_arena(offset, PH_PACKET_MIN, arena_len))
			continue;
		hide(arena + offset, key, direction);
		hidden++;
	}
	return hidden;
}
