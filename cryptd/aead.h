/* The algorithms cryptd uses, all of libcrypto but X25519 and scrypt: AES-256-GCM and ChaCha20-Poly1305 (RFC 8439) with
 * 12 bytes of nonce and 16 of tag, HKDF-SHA256 (RFC 5869), HMAC-SHA256, SHA-256, and Poly1305 as a universal hash.
 *
 * Every function here may run in any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "cryptd/secret.h"

/* Numbers that stand in formats. */
enum aead { AEAD_AES_256_GCM = 1, AEAD_CHACHA20_POLY1305 = 2 };
enum { AEAD_NONCE_SIZE = 12, AEAD_TAG_SIZE = 16, DIGEST_SIZE = 32, HASH_SIZE = 16 };

/* A piece of what is authenticated. */
struct bytes {
    const void *data;
    size_t n;
};

/* Fetches the algorithms and uses each once, so that nothing is looked for on disk later. Reads no
 * OpenSSL configuration. Idempotent. 0 or -EOPNOTSUPP with a sentence. */
int aead_begin(struct error *e);
void aead_end(void);

/* Whether the format knows an algorithm of this number. */
bool aead_known(unsigned number);

/* What bulk data is sealed with on this machine: AES-256-GCM where the CPU has AES instructions. */
enum aead aead_fastest(void);

/* HKDF: n bytes of key material into out, from a key of KEY_SIZE or of any size. 0 or -EIO. */
int aead_derive(const uint8_t key[KEY_SIZE], const void *salt, size_t salt_len, const char *info,
                uint8_t *out, size_t n);
int aead_hkdf(const void *key, size_t key_len, const void *salt, size_t salt_len, const char *info,
              uint8_t *out, size_t n);

/* Encrypts n bytes to out, which has room for as many, and writes the tag. The nonce must never have been used
 * with this key. `plain` may be `out`. 0 or -EIO. */
int aead_seal(enum aead a, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad,
              size_t aad_len, const void *plain, size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE]);

/* Decrypts n bytes to out. 0, -EBADMSG when anything differs (then out is wiped), or -EIO. */
int aead_open(enum aead a, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad,
              size_t aad_len, const void *sealed, size_t n, const uint8_t tag[AEAD_TAG_SIZE], uint8_t *out);

/* SHA-256. 0 or -EIO. */
int aead_digest(const void *data, size_t n, uint8_t out[DIGEST_SIZE]);

/* HMAC-SHA256 over the pieces, one after the other. 0 or -EIO. */
int aead_hmac(const void *key, size_t key_len, const struct bytes *pieces, size_t n_pieces, uint8_t out[DIGEST_SIZE]);

/* Poly1305 with the first 16 bytes of the key as r and s = 0: a universal hash, no MAC. Two different messages of at
 * most 64 KiB have one hash with a probability below 2^-90 as long as nobody knows the key or sees a hash. 0 or -EIO.
 * */
int aead_hash(const uint8_t key[KEY_SIZE], const void *data, size_t n, uint8_t out[HASH_SIZE]);

/* Whether n bytes are the same, in a time that does not depend on where they differ. */
bool aead_same(const void *a, const void *b, size_t n);
