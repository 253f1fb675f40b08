/* Owns how a nonce is drawn and a key made from it. Must not know what is sealed. */
#include "cryptd/hedge.h"

#include <string.h>

#include "common/cleanup.h"

enum { RANDOM_SIZE = 32 };

static const uint8_t zero_nonce[AEAD_NONCE_SIZE];

int hedge_derive(const uint8_t parent[KEY_SIZE], const char *label, struct hedge_keys *out)
{
    return aead_derive(parent, "", 0, label, (uint8_t *)out, sizeof(*out));
}

static int draw(const struct hedge_keys *keys, const void *aad, size_t aad_len, const void *plain, size_t n,
                uint8_t nonce[HEDGE_NONCE_SIZE])
{
    uint8_t random[RANDOM_SIZE], hash[HASH_SIZE], drawn[DIGEST_SIZE];
    const struct bytes pieces[] = { { random, sizeof(random) }, { hash, sizeof(hash) }, { aad, aad_len } };
    int r = aead_hash(keys->hash, plain, n, hash);

    secret_random(random, sizeof(random));
    if (r == 0)
        r = aead_hmac(keys->draw, KEY_SIZE, pieces, ARRAY_SIZE(pieces), drawn);
    secret_wipe(hash, sizeof(hash));
    if (r == 0)
        memcpy(nonce, drawn, HEDGE_NONCE_SIZE);
    return r;
}

static int make_key(const struct hedge_keys *keys, enum aead a, const uint8_t nonce[HEDGE_NONCE_SIZE],
                    uint8_t out[KEY_SIZE])
{
    const uint8_t number = (uint8_t)a;
    const struct bytes pieces[] = { { &number, 1 }, { nonce, HEDGE_NONCE_SIZE } };

    return aead_hmac(keys->seal, KEY_SIZE, pieces, ARRAY_SIZE(pieces), out);
}

int hedge_seal(const struct hedge_keys *keys, enum aead a, const void *aad, size_t aad_len, const void *plain, size_t n,
               uint8_t nonce[HEDGE_NONCE_SIZE], uint8_t *out, uint8_t tag[AEAD_TAG_SIZE])
{
    uint8_t key[KEY_SIZE];
    int r = draw(keys, aad, aad_len, plain, n, nonce);

    if (r == 0)
        r = make_key(keys, a, nonce, key);
    if (r == 0)
        r = aead_seal(a, key, zero_nonce, aad, aad_len, plain, n, out, tag);
    secret_wipe(key, sizeof(key));
    return r;
}

int hedge_open(const struct hedge_keys *keys, enum aead a, const void *aad, size_t aad_len,
               const uint8_t nonce[HEDGE_NONCE_SIZE], const void *sealed, size_t n, const uint8_t tag[AEAD_TAG_SIZE],
               uint8_t *out)
{
    uint8_t key[KEY_SIZE];
    int r = make_key(keys, a, nonce, key);

    if (r == 0)
        r = aead_open(a, key, zero_nonce, aad, aad_len, sealed, n, tag, out);
    secret_wipe(key, sizeof(key));
    return r;
}
