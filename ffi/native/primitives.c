// SPDX-License-Identifier: MIT
/*
 * What a handshake is made of: X25519 (RFC 7748), SHA-256, HMAC (RFC 2104), HKDF (RFC 5869) and
 * random bytes. libcrypto's own code as in aead.c: no EVP, no providers, no openssl.cnf.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ph.h"

/* Of libcrypto 3, which its headers leave out. The first is 0 when the secret is all zero. */
int ossl_x25519(uint8_t shared[32], const uint8_t private_key[32], const uint8_t public_key[32]);
void ossl_x25519_public_from_private(uint8_t public_key[32], const uint8_t private_key[32]);

/*
 * libcrypto's object of X25519 holds Ed25519 too, which nobody here calls and which wants EVP.
 * With these the linker leaves EVP out: 0.2 MB instead of 4. Weak, so that EVP itself goes
 * before them where something should ever bring it in.
 */
#define ABSENT(name)                                \
	__attribute__((weak)) void name(void);      \
	__attribute__((weak)) void name(void)       \
	{                                           \
		abort();                            \
	}

ABSENT(EVP_Digest)
ABSENT(EVP_DigestFinal_ex)
ABSENT(EVP_DigestInit_ex)
ABSENT(EVP_DigestUpdate)
ABSENT(EVP_MD_CTX_free)
ABSENT(EVP_MD_CTX_new)
ABSENT(EVP_MD_fetch)
ABSENT(EVP_MD_free)

#define BLOCK_LEN 64

_Static_assert(PH_SHA256_LEN == SHA256_DIGEST_LENGTH, "the length of a hash");
_Static_assert(PH_HKDF_MAX == 255 * PH_SHA256_LEN, "the counter of HKDF is one byte");

int32_t ph_x25519_public(const uint8_t *private_key, uint8_t *public_key)
{
	ossl_x25519_public_from_private(public_key, private_key);
	return 0;
}

int32_t ph_x25519(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared)
{
	if (ossl_x25519(shared, private_key, public_key))
		return 0;
	memset(shared, 0, PH_X25519_LEN);
	return -EINVAL;
}

/* An empty buffer's pointer may be NULL, which memcpy does not take. */
static void update(SHA256_CTX *hash, const uint8_t *data, uint32_t length)
{
	if (length)
		SHA256_Update(hash, data, length);
}

int32_t ph_sha256(const uint8_t *data, uint32_t length, uint8_t *out)
{
	SHA256_CTX hash;

	SHA256_Init(&hash);
	update(&hash, data, length);
	SHA256_Final(out, &hash);
	OPENSSL_cleanse(&hash, sizeof(hash));
	return 0;
}

/* A key, as the states after its two blocks: what every HMAC under it begins with. */
struct hmac_key {
	SHA256_CTX inner;
	SHA256_CTX outer;
};

static void hmac_begin(struct hmac_key *state, const uint8_t *key, uint32_t key_len)
{
	uint8_t block[BLOCK_LEN] = { 0 };

	if (key_len > BLOCK_LEN)
		ph_sha256(key, key_len, block);
	else if (key_len)
		memcpy(block, key, key_len);
	for (int i = 0; i < BLOCK_LEN; i++)
		block[i] ^= 0x36;
	SHA256_Init(&state->inner);
	SHA256_Update(&state->inner, block, BLOCK_LEN);
	for (int i = 0; i < BLOCK_LEN; i++)
		block[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&state->outer);
	SHA256_Update(&state->outer, block, BLOCK_LEN);
	OPENSSL_cleanse(block, sizeof(block));
}

/* Consumes the state. */
static void hmac_end(struct hmac_key *state, uint8_t out[PH_SHA256_LEN])
{
	SHA256_Final(out, &state->inner);
	SHA256_Update(&state->outer, out, PH_SHA256_LEN);
	SHA256_Final(out, &state->outer);
}

int32_t ph_hmac_sha256(const uint8_t *key, uint32_t key_len, const uint8_t *data, uint32_t length,
		       uint8_t *out)
{
	struct hmac_key state;

	hmac_begin(&state, key, key_len);
	update(&state.inner, data, length);
	hmac_end(&state, out);
	OPENSSL_cleanse(&state, sizeof(state));
	return 0;
}

int32_t ph_hkdf(const uint8_t *ikm, uint32_t ikm_len, const uint8_t *salt, uint32_t salt_len,
		const uint8_t *info, uint32_t info_len, uint8_t *out, uint32_t out_len)
{
	uint8_t block[PH_SHA256_LEN];
	struct hmac_key key, state;
	uint8_t counter = 0;

	if (out_len > PH_HKDF_MAX)
		return -EINVAL;
	ph_hmac_sha256(salt, salt_len, ikm, ikm_len, block);
	hmac_begin(&key, block, sizeof(block));
	for (uint32_t at = 0; at < out_len; at += PH_SHA256_LEN) {
		uint32_t rest = out_len - at;

		state = key;
		if (counter)
			SHA256_Update(&state.inner, block, sizeof(block));
		counter++;
		update(&state.inner, info, info_len);
		SHA256_Update(&state.inner, &counter, 1);
		hmac_end(&state, block);
		memcpy(out + at, block, rest < sizeof(block) ? rest : sizeof(block));
	}
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(&key, sizeof(key));
	OPENSSL_cleanse(&state, sizeof(state));
	return 0;
}

int32_t ph_random(uint8_t *out, uint32_t length)
{
	while (length) {
		ssize_t got = getrandom(out, length, 0);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0) {
			out += got;
			length -= (uint32_t)got;
		}
	}
	return 0;
}
