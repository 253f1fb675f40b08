/* The payload of an age file: chunks of 64 KiB that can each be opened alone.
 *
 *   16 bytes of nonce, random, then chunks 0 to m - 1:
 *   chunk n = ChaCha20-Poly1305(payload key, nonce n, 65536 bytes of plaintext) and 16 bytes of tag
 *   nonce n = n as 11 bytes, big endian, then 1 for the last chunk and 0 for all others
 *   payload key = HKDF-SHA256(file key, salt = the 16 bytes, "payload")
 *
 * The last chunk has 1 to 65536 bytes of plaintext, and 0 only if it is the first as well. So chunk n of the plaintext
 * lies at nonce + n * 65552 of the payload, and the size of the plaintext follows from that of the payload:
 *
 *   plaintext   0   1   65535   65536   65537   1 MiB     1 GiB
 *   chunks      1   1   1       1       2       16        16384
 *   payload     32  33  65567   65568   65585   1048848   1074003984   (the nonce's 16 bytes included)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cryptd/aead.h"
#include "cryptd/age_key.h"

enum { AGE_CHUNK = 64 * 1024, AGE_SEALED_CHUNK = AGE_CHUNK + AEAD_TAG_SIZE, AGE_NONCE_SIZE = 16 };

/* Largest plaintext these functions count with. */
#define AGE_PLAIN_MAX (UINT64_C(1) << 56)

/* Chunks of a plaintext of so many bytes, at least one. */
uint64_t age_chunks(uint64_t plain);

/* Bytes of the payload, nonce included, of so many bytes of plaintext, at most AGE_PLAIN_MAX. */
uint64_t age_payload_size(uint64_t plain);

/* The other way. 0 and *ret, or -EINVAL: there is no payload of that size. */
int age_plain_size(uint64_t payload, uint64_t *ret);

/* 0 or -EIO. */
int age_payload_key(const uint8_t file_key[AGE_FILE_KEY_SIZE], const uint8_t nonce[AGE_NONCE_SIZE],
                    uint8_t out[KEY_SIZE]);

/* Seals chunk `number` of n bytes to out, which has room for n + AEAD_TAG_SIZE. A chunk of one payload key must never
 * be sealed with two plaintexts: the format has no room for a nonce of its own. 0 or -EIO. */
int age_seal_chunk(const uint8_t payload_key[KEY_SIZE], uint64_t number, bool last, const void *plain, size_t n,
                   uint8_t *out);

/* Opens a chunk of n bytes without its tag, which follows them. 0, -EBADMSG (then out is wiped), or -EIO. */
int age_open_chunk(const uint8_t payload_key[KEY_SIZE], uint64_t number, bool last, const void *sealed, size_t n,
                   uint8_t *out);
