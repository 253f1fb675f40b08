/* The two algorithms cryptd uses: AES-256-GCM and HKDF-SHA256 (RFC 5869), from libcrypto. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "cryptd/secret.h"

enum { AEAD_NONCE_SIZE = 12, AEAD_TAG_SIZE = 16, DIGEST_SIZE = 32 };

/* Fetches the algorithms and uses each once, so that nothing is looked for on disk later. Reads no
 * OpenSSL configuration. Idempotent. 0 or -EOPNOTSUPP with a sentence. */
int aead_begin(struct error *e);
void aead_end(void);

/* HKDF: `n` bytes of key material into out. 0 or -EIO. */
int aead_derive(const uint8_t key[KEY_SIZE], const void *salt, size_t salt_len, const char *info,
                uint8_t *out, size_t n);

/* Encrypts n bytes to out, which has room for n + AEAD_TAG_SIZE. The nonce must never have been used
 * with this key. 0 or -EIO. */
int aead_seal(const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad, size_t aad_len,
              const void *plain, size_t n, uint8_t *out);

/* Decrypts n bytes, the last AEAD_TAG_SIZE of which are the tag, to out, which has room for
 * n - AEAD_TAG_SIZE. 0, -EBADMSG when anything differs (then out is wiped), or -EIO. */
int aead_open(const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad, size_t aad_len,
              const void *sealed, size_t n, uint8_t *out);

/* SHA-256. 0 or -EIO. */
int aead_digest(const void *data, size_t n, uint8_t out[DIGEST_SIZE]);
