/* Sealing that never uses a key and a nonce twice, whatever becomes of the random generator, of counters and of files.
 *
 * A random nonce repeats when a machine's snapshot is resumed twice; a counter does when its file is put back or a
 * write of it is lost. So the nonce is drawn from both, where there is a counter, and from what is sealed as well:
 *
 *   hash  = Poly1305(r = hash key, s = 0, plaintext)                                  16 bytes
 *   nonce = HMAC-SHA256(draw key, 32 random bytes || hash || additional data)         its first 24 bytes, stored
 *   key   = HMAC-SHA256(seal key, algorithm (1 byte) || nonce)                        32 bytes
 *   ciphertext, tag = AEAD(key, 12 zero bytes, additional data, plaintext)
 *
 * The three keys are 96 bytes of HKDF-SHA256(parent key, salt, label), in the order draw, hash, seal.
 *
 * Every sealing has a key of its own, so its zero nonce is used once. Two sealings under one parent share a key only if
 *  - their random bytes and additional data are the same and so is the hash: then the plaintexts are the same (but for
 *    a chance of 2^-90 for each such pair), the whole sealing is the same, and what it shows is that it is;
 *  - or two different inputs of HMAC give the same 192 bits: after q sealings a chance of q^2 / 2^193. The 2^47
 *    chunks of 64 KiB that rewriting a file of 8 TiB a million times takes make that 2^-99.
 * So there is no number of sealings after which a parent key must be changed. The algorithm is part of the key: none
 * is used by two of them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cryptd/aead.h"

enum { HEDGE_NONCE_SIZE = 24 };

/* To be kept in locked memory and wiped. */
struct hedge_keys {
    uint8_t draw[KEY_SIZE], hash[KEY_SIZE], seal[KEY_SIZE];
};

/* 0 or -EIO. `label` says what is sealed, and must be of that use alone. */
int hedge_derive(const uint8_t parent[KEY_SIZE], const char *label, struct hedge_keys *out);

/* Encrypts n bytes to out, which has room for as many, and writes nonce and tag. `plain` is read twice and must not
 * change meanwhile; it may be `out`. 0 or -EIO. */
int hedge_seal(const struct hedge_keys *keys, enum aead a, const void *aad, size_t aad_len, const void *plain, size_t n,
               uint8_t nonce[HEDGE_NONCE_SIZE], uint8_t *out, uint8_t tag[AEAD_TAG_SIZE]);

/* Decrypts n bytes to out. 0, -EBADMSG when anything differs (then out is wiped), or -EIO. */
int hedge_open(const struct hedge_keys *keys, enum aead a, const void *aad, size_t aad_len,
               const uint8_t nonce[HEDGE_NONCE_SIZE], const void *sealed, size_t n, const uint8_t tag[AEAD_TAG_SIZE],
               uint8_t *out);
