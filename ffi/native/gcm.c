// SPDX-License-Identifier: MIT
/*
 * AES-256-GCM out of the pieces that libcrypto's own is made of, without EVP around them: see
 * aead.c. On machines without AES and carry-less multiplication there is none of it, and nobody
 * offers it.
 */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "gcm.h"

#ifdef __x86_64__

/* libcrypto's, which its headers leave out; what they need of the machine gcm_works() has seen. */
extern unsigned int OPENSSL_ia32cap_P[4];
int CRYPTO_memcmp(const void *a, const void *b, size_t len);
void OPENSSL_cleanse(void *memory, size_t len);
int aesni_set_encrypt_key(const unsigned char *key, int bits, void *expanded);
void aesni_encrypt(const unsigned char *in, unsigned char *out, const void *expanded);
void aesni_ctr32_encrypt_blocks(const unsigned char *in, unsigned char *out, size_t blocks,
				const void *expanded, const unsigned char counter[16]);
void gcm_init_clmul(uint64_t table[32], const uint64_t h[2]);
void gcm_ghash_clmul(uint8_t hash[16], const uint64_t table[32], const uint8_t *in, size_t len);
void gcm_init_avx(uint64_t table[32], const uint64_t h[2]);
void gcm_ghash_avx(uint8_t hash[16], const uint64_t table[32], const uint8_t *in, size_t len);
/* As many whole 96 bytes as they like, the counter moved on; how many bytes. */
size_t aesni_gcm_encrypt(const unsigned char *in, unsigned char *out, size_t len,
			 const void *expanded, unsigned char counter[16], uint8_t hash[16]);
size_t aesni_gcm_decrypt(const unsigned char *in, unsigned char *out, size_t len,
			 const void *expanded, unsigned char counter[16], uint8_t hash[16]);

_Static_assert(offsetof(struct gcm_key, table) == offsetof(struct gcm_key, hash) + 32,
	       "where the assembly looks for the table");

#define BLOCK 16
#define TAG_LEN 16
#define CAP_CLMUL (1u << 1)
#define CAP_AES (1u << 25)
#define CAP_MOVBE (1u << 22)
#define CAP_AVX (1u << 28)

static bool has(unsigned int bits)
{
	return (OPENSSL_ia32cap_P[1] & bits) == bits;
}

static bool has_avx(void)
{
	return has(CAP_MOVBE | CAP_AVX);
}

bool gcm_works(void)
{
	return has(CAP_CLMUL | CAP_AES);
}

static void ghash(struct gcm_key *key, const uint8_t *in, size_t len)
{
	if (!len)
		return;
	if (has_avx())
		gcm_ghash_avx(key->hash, key->table, in, len);
	else
		gcm_ghash_clmul(key->hash, key->table, in, len);
}

/* With zeros behind it up to a whole block. */
static void ghash_padded(struct gcm_key *key, const uint8_t *in, size_t len)
{
	size_t rest = len % BLOCK;
	uint8_t last[BLOCK] = { 0 };

	ghash(key, in, len - rest);
	if (!rest)
		return;
	memcpy(last, in + len - rest, rest);
	ghash(key, last, BLOCK);
}

void gcm_expand(struct gcm_key *key, const uint8_t bytes[32])
{
	uint8_t zeros[BLOCK] = { 0 };

	aesni_set_encrypt_key(bytes, 256, key->rounds_key);
	aesni_encrypt(zeros, (uint8_t *)key->h, key->rounds_key);
	key->h[0] = be64toh(key->h[0]);
	key->h[1] = be64toh(key->h[1]);
	if (has_avx())
		gcm_init_avx(key->table, key->h);
	else
		gcm_init_clmul(key->table, key->h);
}

static void set_block(uint8_t counter[BLOCK], uint32_t block)
{
	block = htobe32(block);
	memcpy(counter + 12, &block, sizeof(block));
}

static uint32_t block_of(const uint8_t counter[BLOCK])
{
	uint32_t block;

	memcpy(&block, counter + 12, sizeof(block));
	return be32toh(block);
}

/* The counter of the text's first block, and what the tag is hidden with. */
static void begin(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
		  uint8_t counter[BLOCK], uint8_t hidden[TAG_LEN])
{
	uint64_t big = htobe64(number);

	memset(counter, 0, BLOCK);
	memcpy(counter + 4, &big, sizeof(big));
	set_block(counter, 1);
	aesni_encrypt(counter, hidden, key->rounds_key);
	set_block(counter, 2);
	memset(key->hash, 0, sizeof(key->hash));
	ghash_padded(key, aad, aad_len);
}

/* Plain into sealed or the other way: it is its own reverse. */
static void apply(const struct gcm_key *key, uint8_t counter[BLOCK], uint8_t *text, size_t len)
{
	size_t blocks = len / BLOCK, rest = len % BLOCK;
	uint8_t pad[BLOCK];

	if (blocks)
		aesni_ctr32_encrypt_blocks(text, text, blocks, key->rounds_key, counter);
	set_block(counter, block_of(counter) + (uint32_t)blocks);
	if (!rest)
		return;
	aesni_encrypt(counter, pad, key->rounds_key);
	for (size_t i = 0; i < rest; i++)
		text[blocks * BLOCK + i] ^= pad[i];
}

static void end(struct gcm_key *key, uint32_t aad_len, uint32_t text_len,
		const uint8_t hidden[TAG_LEN], uint8_t tag[TAG_LEN])
{
	uint64_t bits[2] = { htobe64((uint64_t)aad_len * 8), htobe64((uint64_t)text_len * 8) };

	ghash(key, (const uint8_t *)bits, sizeof(bits));
	for (int i = 0; i < TAG_LEN; i++)
		tag[i] = key->hash[i] ^ hidden[i];
}

void gcm_seal(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
	      uint8_t *text, uint32_t text_len)
{
	uint8_t counter[BLOCK], hidden[TAG_LEN];
	size_t done = 0;

	begin(key, number, aad, aad_len, counter, hidden);
	if (has_avx())
		done = aesni_gcm_encrypt(text, text, text_len, key->rounds_key, counter, key->hash);
	apply(key, counter, text + done, text_len - done);
	ghash_padded(key, text + done, text_len - done);
	end(key, aad_len, text_len, hidden, text + text_len);
}

bool gcm_open(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
	      uint8_t *text, uint32_t text_len)
{
	uint8_t counter[BLOCK], hidden[TAG_LEN], tag[TAG_LEN];
	size_t done = 0;

	begin(key, number, aad, aad_len, counter, hidden);
	if (has_avx())
		done = aesni_gcm_decrypt(text, text, text_len, key->rounds_key, counter, key->hash);
	ghash_padded(key, text + done, text_len - done);
	end(key, aad_len, text_len, hidden, tag);
	if (CRYPTO_memcmp(tag, text + text_len, TAG_LEN)) {
		/* What was opened on the way is sealed again: nobody gets to see it. */
		set_block(counter, 2);
		apply(key, counter, text, done);
		return false;
	}
	apply(key, counter, text + done, text_len - done);
	return true;
}

#else

bool gcm_works(void)
{
	return false;
}

void gcm_expand(struct gcm_key *key, const uint8_t bytes[32])
{
	(void)key;
	(void)bytes;
}

void gcm_seal(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
	      uint8_t *text, uint32_t text_len)
{
	(void)key;
	(void)number;
	(void)aad;
	(void)aad_len;
	(void)text;
	(void)text_len;
}

bool gcm_open(struct gcm_key *key, uint64_t number, const uint8_t *aad, uint32_t aad_len,
	      uint8_t *text, uint32_t text_len)
{
	gcm_seal(key, number, aad, aad_len, text, text_len);
	return false;
}

#endif
