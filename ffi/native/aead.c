// SPDX-License-Identifier: MIT
/*
 * ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM in batches, in place. The nonce is a number that
 * must never repeat under one key: sealing two texts with one nonce gives away both and lets
 * anybody forge.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gcm.h"
#include "ph.h"

/*
 * libcrypto's own primitives, which its headers leave out. EVP puts several hundred nanoseconds
 * around them for each packet, loads providers and reads openssl.cnf; these three do none of it.
 * They are linked statically, so that what is declared here is what was tested. Which code runs
 * (AVX-512 … plain) is found by OPENSSL_cpuid_setup when the library is loaded.
 */
void ChaCha20_ctr32(unsigned char *out, const unsigned char *in, size_t len,
		    const unsigned int key[8], const unsigned int counter[4]);
size_t Poly1305_ctx_size(void);
void Poly1305_Init(void *ctx, const unsigned char key[32]);
void Poly1305_Update(void *ctx, const unsigned char *in, size_t len);
void Poly1305_Final(void *ctx, unsigned char mac[16]);
int CRYPTO_memcmp(const void *a, const void *b, size_t len);
void OPENSSL_cleanse(void *memory, size_t len);
#ifdef __x86_64__
extern unsigned int OPENSSL_ia32cap_P[4];
#define CAP_AVX512F (1u << 16)
#endif

/* A packet goes through each of these, and calls cost more than what they save. */
#define INLINE static inline __attribute__((always_inline))

#define KEY_LEN 32
#define TAG_LEN 16
#define BLOCK_LEN 64

/* 248 in OpenSSL 3.0; checked when a table is opened. */
#define POLY_STATE_LEN 512

/*
 * A text up to this size goes through ChaCha20 together with the block that keys Poly1305: one
 * call of at least 145 ns saved, for two copies of the text. Above, the copies cost as much.
 */
#define JOINED_MAX 2048

/* Keys of AES that are kept ready, by the lowest bits of their slots. */
#define GCM_READY 64

#define ID_SLOT_BITS 20
#define ID_GENERATION_MAX 0x7ffu
#define ID_FREE (1u << 31)
#define NO_SLOT UINT32_MAX

_Static_assert(PH_AEAD_KEYS_MAX == 1u << ID_SLOT_BITS, "a slot fits its bits of the id");

struct key_slot {
	uint32_t words[KEY_LEN / 4];	/* of AES: as they came */
	uint32_t id;			/* with ID_FREE while no key is here */
	union {
		uint32_t next;		/* of a free slot: the one behind it, or NO_SLOT */
		uint32_t cipher;	/* enum ph_cipher */
	};
};

struct gcm_ready {
	struct gcm_key key;
	uint32_t id;
	bool is_used;
};

/* Room for one op. */
struct work {
	_Alignas(64) uint8_t joined[BLOCK_LEN + JOINED_MAX];
	_Alignas(64) uint8_t poly[POLY_STATE_LEN];
};

/* One mapping, locked and left out of core dumps where the system allows it. */
struct ph_aead {
	struct work work;
	struct gcm_ready ready[GCM_READY];
	size_t mapped;
	uint32_t max_keys;
	uint32_t touched;		/* slots from here on were never used: untouched pages */
	uint32_t free;			/* first free slot below touched, or NO_SLOT */
	struct key_slot slots[];
};

struct ph_aead *ph_aead_open_table(uint32_t max_keys, int32_t *err)
{
	struct ph_aead *table;
	size_t mapped = sizeof(*table) + (size_t)max_keys * sizeof(table->slots[0]);

	*err = -EINVAL;
	if (!max_keys || max_keys > PH_AEAD_KEYS_MAX || Poly1305_ctx_size() > POLY_STATE_LEN)
		return NULL;
	table = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED) {
		*err = -errno;
		return NULL;
	}
	/* Neither is vital. ONFAULT, so that ten keys do not fill 42 MB. */
	(void)mlock2(table, mapped, MLOCK_ONFAULT);
	(void)madvise(table, mapped, MADV_DONTDUMP);
	table->mapped = mapped;
	table->max_keys = max_keys;
	table->free = NO_SLOT;
	*err = 0;
	return table;
}

void ph_aead_close_table(struct ph_aead *table)
{
	size_t mapped = table->mapped;
	size_t used = sizeof(*table) + table->touched * sizeof(table->slots[0]);

	OPENSSL_cleanse(table, used);
	munmap(table, mapped);
}

static void load_key(uint32_t words[KEY_LEN / 4], const uint8_t *key)
{
	memcpy(words, key, KEY_LEN);
	for (int i = 0; i < KEY_LEN / 4; i++)
		words[i] = le32toh(words[i]);
}

int32_t ph_aead_key_add(struct ph_aead *table, const uint8_t *key, uint32_t cipher)
{
	struct key_slot *slot;

	if (cipher != PH_CHACHA20_POLY1305 && (cipher != PH_AES_256_GCM || !gcm_works()))
		return -EINVAL;
	if (table->free != NO_SLOT) {
		slot = &table->slots[table->free];
		table->free = slot->next;
	} else if (table->touched < table->max_keys) {
		slot = &table->slots[table->touched];
		slot->id = table->touched++;
	} else {
		return -ENOSPC;
	}
	slot->id &= ~ID_FREE;
	slot->cipher = cipher;
	if (cipher == PH_AES_256_GCM)
		memcpy(slot->words, key, KEY_LEN);
	else
		load_key(slot->words, key);
	return (int32_t)slot->id;
}

static struct key_slot *find_key(struct ph_aead *table, uint32_t id)
{
	uint32_t index = id & (PH_AEAD_KEYS_MAX - 1);

	/* A free slot's id has ID_FREE, which no id that was handed out has. */
	if (id & ID_FREE || index >= table->touched || table->slots[index].id != id)
		return NULL;
	return &table->slots[index];
}

int32_t ph_aead_key_remove(struct ph_aead *table, uint32_t key)
{
	struct key_slot *slot = find_key(table, key);
	uint32_t index = key & (PH_AEAD_KEYS_MAX - 1);
	struct gcm_ready *ready = &table->ready[index % GCM_READY];
	uint32_t generation = ((key >> ID_SLOT_BITS) + 1) & ID_GENERATION_MAX;

	if (!slot)
		return -ENOENT;
	OPENSSL_cleanse(slot->words, sizeof(slot->words));
	if (ready->is_used && ready->id == key)
		OPENSSL_cleanse(ready, sizeof(*ready));
	slot->id = ID_FREE | generation << ID_SLOT_BITS | index;
	slot->next = table->free;
	table->free = index;
	return 0;
}

/* The key of a slot, ready for use. */
static struct gcm_key *ready_key(struct ph_aead *table, const struct key_slot *slot)
{
	struct gcm_ready *ready = &table->ready[slot->id % GCM_READY];

	if (!ready->is_used || ready->id != slot->id) {
		gcm_expand(&ready->key, (const uint8_t *)slot->words);
		ready->id = slot->id;
		ready->is_used = true;
	}
	return &ready->key;
}

static bool fits(uint32_t offset, uint64_t length, uint32_t arena_len)
{
	return offset + length <= arena_len;
}

/* Whether all lies in the arena, and the associated data apart from the text and its tag. */
static bool is_sound(uint32_t arena_len, uint32_t aad, uint32_t aad_len, uint32_t text,
		     uint32_t text_len)
{
	uint64_t sealed_len = (uint64_t)text_len + TAG_LEN;

	if (!fits(aad, aad_len, arena_len) || !fits(text, sealed_len, arena_len))
		return false;
	/* What is sealed would be changed by the sealing. */
	return !aad_len || aad >= text + sealed_len || text >= (uint64_t)aad + aad_len;
}

/* The key of a sound op, else NULL with op->result set. */
static const struct key_slot *check(struct ph_aead *table, uint32_t arena_len,
				    struct ph_aead_op *op)
{
	const struct key_slot *slot;

	op->result = -EINVAL;
	if (!is_sound(arena_len, op->aad, op->aad_len, op->text, op->text_len))
		return NULL;
	slot = find_key(table, op->key);
	op->result = slot ? 0 : -ENOENT;
	return slot;
}

static void set_counter(uint32_t counter[4], uint32_t block, uint64_t number)
{
	uint64_t big = htobe64(number);
	uint32_t halves[2];

	memcpy(halves, &big, sizeof(big));
	counter[0] = block;
	counter[1] = 0;
	counter[2] = le32toh(halves[0]);
	counter[3] = le32toh(halves[1]);
}

/*
 * Puts the block that keys Poly1305 into work->joined, and a short text behind it, en- or
 * decrypted. Returns whether the text was short.
 */
INLINE bool begin(struct work *work, const uint32_t *key, uint64_t number, const uint8_t *text,
		  uint32_t length)
{
	bool is_short = length <= JOINED_MAX;
	uint32_t together = BLOCK_LEN + (is_short ? length : 0);
	uint32_t counter[4];

	set_counter(counter, 0, number);
	memset(work->joined, 0, BLOCK_LEN);
	if (is_short)
		memcpy(work->joined + BLOCK_LEN, text, length);
	ChaCha20_ctr32(work->joined, work->joined, together, key, counter);
	return is_short;
}

/* Brings a text in its place into the other form, after begin and, when opening, the tag. */
INLINE void finish(struct work *work, const uint32_t *key, uint64_t number, uint8_t *text,
		   uint32_t length, bool is_short)
{
	uint32_t counter[4];

	if (is_short) {
		memcpy(text, work->joined + BLOCK_LEN, length);
		return;
	}
	set_counter(counter, 1, number);
	ChaCha20_ctr32(text, text, length, key, counter);
}

/* Poly1305 over the associated data and the sealed text, each padded to 16, and their lengths. */
INLINE void make_tag(struct work *work, const uint8_t *aad, uint32_t aad_len, const uint8_t *text,
		     uint32_t text_len, uint8_t tag[TAG_LEN])
{
	static const uint8_t zeros[16];
	uint32_t whole = text_len & ~15u;
	uint32_t rest = text_len - whole;
	uint64_t lengths[2] = { htole64(aad_len), htole64(text_len) };
	uint8_t tail[32] = { 0 };

	Poly1305_Init(work->poly, work->joined);
	Poly1305_Update(work->poly, aad, aad_len);
	if (aad_len & 15)
		Poly1305_Update(work->poly, zeros, 16 - (aad_len & 15));
	Poly1305_Update(work->poly, text, whole);
	memcpy(tail, text + whole, rest);
	memcpy(tail + (rest ? 16 : 0), lengths, sizeof(lengths));
	Poly1305_Update(work->poly, tail, rest ? 32 : 16);
	Poly1305_Final(work->poly, tag);
}

int32_t ph_aead_seal(struct ph_aead *table, uint8_t *arena, uint32_t arena_len,
		     struct ph_aead_op *ops, uint32_t n)
{
	int32_t sealed = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct ph_aead_op *op = &ops[i];
		const struct key_slot *slot = check(table, arena_len, op);
		uint8_t *text;
		bool is_short;

		if (!slot)
			continue;
		text = arena + op->text;
		sealed++;
		if (slot->cipher == PH_AES_256_GCM) {
			gcm_seal(ready_key(table, slot), op->number, arena + op->aad, op->aad_len,
				 text, op->text_len);
			continue;
		}
		is_short = begin(&table->work, slot->words, op->number, text, op->text_len);
		finish(&table->work, slot->words, op->number, text, op->text_len, is_short);
		make_tag(&table->work, arena + op->aad, op->aad_len, text, op->text_len,
			 text + op->text_len);
	}
	/* The one-time key of the last op; each op overwrites that of the one before. */
	OPENSSL_cleanse(table->work.joined, BLOCK_LEN);
	return sealed;
}

int32_t ph_aead_open(struct ph_aead *table, uint8_t *arena, uint32_t arena_len,
		     struct ph_aead_op *ops, uint32_t n)
{
	int32_t opened = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct ph_aead_op *op = &ops[i];
		const struct key_slot *slot = check(table, arena_len, op);
		uint8_t tag[TAG_LEN], *text;
		bool is_short;

		if (!slot)
			continue;
		text = arena + op->text;
		if (slot->cipher == PH_AES_256_GCM) {
			if (gcm_open(ready_key(table, slot), op->number, arena + op->aad,
				     op->aad_len, text, op->text_len))
				opened++;
			else
				op->result = -EBADMSG;
			continue;
		}
		is_short = begin(&table->work, slot->words, op->number, text, op->text_len);
		make_tag(&table->work, arena + op->aad, op->aad_len, text, op->text_len, tag);
		if (CRYPTO_memcmp(tag, text + op->text_len, TAG_LEN)) {
			op->result = -EBADMSG;
			continue;
		}
		finish(&table->work, slot->words, op->number, text, op->text_len, is_short);
		opened++;
	}
	OPENSSL_cleanse(table->work.joined, BLOCK_LEN);
	return opened;
}

/* -EINVAL for offsets that an op may not have; and the room for the work must do. */
static int32_t check_once(uint32_t arena_len, uint32_t aad, uint32_t aad_len, uint32_t text,
			  uint32_t text_len)
{
	if (Poly1305_ctx_size() > POLY_STATE_LEN)
		return -EINVAL;
	return is_sound(arena_len, aad, aad_len, text, text_len) ? 0 : -EINVAL;
}

int32_t ph_aead_seal_once(const uint8_t *key, uint8_t *arena, uint32_t arena_len, uint32_t aad,
			  uint32_t aad_len, uint32_t text, uint32_t text_len)
{
	int32_t err = check_once(arena_len, aad, aad_len, text, text_len);
	uint32_t words[KEY_LEN / 4];
	struct work work;
	bool is_short;
	uint8_t *at;

	if (err)
		return err;
	at = arena + text;
	load_key(words, key);
	is_short = begin(&work, words, 0, at, text_len);
	finish(&work, words, 0, at, text_len, is_short);
	make_tag(&work, arena + aad, aad_len, at, text_len, at + text_len);
	OPENSSL_cleanse(words, sizeof(words));
	OPENSSL_cleanse(&work, sizeof(work));
	return 0;
}

int32_t ph_aead_open_once(const uint8_t *key, uint8_t *arena, uint32_t arena_len, uint32_t aad,
			  uint32_t aad_len, uint32_t text, uint32_t text_len)
{
	int32_t err = check_once(arena_len, aad, aad_len, text, text_len);
	uint32_t words[KEY_LEN / 4];
	uint8_t tag[TAG_LEN], *at;
	struct work work;
	bool is_short;

	if (err)
		return err;
	at = arena + text;
	load_key(words, key);
	is_short = begin(&work, words, 0, at, text_len);
	make_tag(&work, arena + aad, aad_len, at, text_len, tag);
	if (CRYPTO_memcmp(tag, at + text_len, TAG_LEN))
		err = -EBADMSG;
	else
		finish(&work, words, 0, at, text_len, is_short);
	OPENSSL_cleanse(words, sizeof(words));
	OPENSSL_cleanse(&work, sizeof(work));
	return err;
}

int32_t ph_aead_machine(void)
{
	int32_t bits = gcm_works() ? PH_MACHINE_AES : 0;

#ifdef __x86_64__
	if (OPENSSL_ia32cap_P[2] & CAP_AVX512F)
		bits |= PH_MACHINE_WIDE_CHACHA;
#endif
	return bits;
}
