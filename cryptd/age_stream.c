/* Owns the payload: sizes and chunks. */
#include "cryptd/age_stream.h"

#include <errno.h>

uint64_t age_chunks(uint64_t plain)
{
    return plain ? (plain - 1) / AGE_CHUNK + 1 : 1;
}

uint64_t age_payload_size(uint64_t plain)
{
    return AGE_NONCE_SIZE + plain + age_chunks(plain) * AEAD_TAG_SIZE;
}

int age_plain_size(uint64_t payload, uint64_t *ret)
{
    uint64_t sealed, chunks;

    if (payload < AGE_NONCE_SIZE + AEAD_TAG_SIZE || payload > AGE_PLAIN_MAX)
        return -EINVAL;
    sealed = payload - AGE_NONCE_SIZE;
    chunks = (sealed - 1) / AGE_SEALED_CHUNK + 1;
    if (chunks > 1 && sealed - (chunks - 1) * AGE_SEALED_CHUNK <= AEAD_TAG_SIZE)
        return -EINVAL;
    *ret = sealed - chunks * AEAD_TAG_SIZE;
    return 0;
}

int age_payload_key(const uint8_t file_key[AGE_FILE_KEY_SIZE], const uint8_t nonce[AGE_NONCE_SIZE],
                    uint8_t out[KEY_SIZE])
{
    return aead_hkdf(file_key, AGE_FILE_KEY_SIZE, nonce, AGE_NONCE_SIZE, "payload", out, KEY_SIZE);
}

static void chunk_nonce(uint64_t number, bool last, uint8_t out[AEAD_NONCE_SIZE])
{
    for (size_t i = 0; i < AEAD_NONCE_SIZE - 1; i++)
        out[i] = i < 3 ? 0 : (uint8_t)(number >> (8 * (AEAD_NONCE_SIZE - 2 - i)));
    out[AEAD_NONCE_SIZE - 1] = last;
}

int age_seal_chunk(const uint8_t payload_key[KEY_SIZE], uint64_t number, bool last, const void *plain, size_t n,
                   uint8_t *out)
{
    uint8_t nonce[AEAD_NONCE_SIZE];

    chunk_nonce(number, last, nonce);
    return aead_seal(AEAD_CHACHA20_POLY1305, payload_key, nonce, "", 0, plain, n, out, out + n);
}

int age_open_chunk(const uint8_t payload_key[KEY_SIZE], uint64_t number, bool last, const void *sealed, size_t n,
                   uint8_t *out)
{
    uint8_t nonce[AEAD_NONCE_SIZE];

    chunk_nonce(number, last, nonce);
    return aead_open(AEAD_CHACHA20_POLY1305, payload_key, nonce, "", 0, sealed, n, (const uint8_t *)sealed + n, out);
}
