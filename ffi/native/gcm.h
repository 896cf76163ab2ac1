/* SPDX-License-Identifier: MIT */
/* AES-256-GCM (NIST SP 800-38D) by libcrypto's own assembly; aead.c's. */
#ifndef PHANTOM_GCM_H
#define PHANTOM_GCM_H

#include <stdbool.h>
#include <stdint.h>

/* A key made ready: 256 bits expanded, and what GHASH multiplies by. Wiped by whoever owns it. */
struct gcm_key {
	/* The assembly finds the table behind the hash and finds the hash by its address. */
	_Alignas(64) uint8_t hash[16];
	uint64_t h[2];
	uint64_t table[32];
	_Alignas(16) uint32_t rounds_key[60];
	int32_t rounds;
};

/* Whether this machine has what all this needs. */
bool gcm_works(void);

void gcm_expand(struct gcm_key *key, const uint8_t bytes[32]);

/* Seals the text in place and writes the tag behind it. */
void gcm_seal(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
	      uint8_t *text, uint32_t text_len);

/* The reverse; false, and the text as it was, when the tag is wrong. */
bool gcm_open(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
	      uint8_t *text, uint32_t text_len);

#endif
