/* Owns the curve. */
#include "cryptd/x25519.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "common/cleanup.h"
#include "cryptd/aead.h"

static void key_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void ctx_freep(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
}

int x25519_public(const uint8_t secret[KEY_SIZE], uint8_t out[KEY_SIZE])
{
    CLEANUP(key_freep) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, KEY_SIZE);
    size_t n = KEY_SIZE;

    return key && EVP_PKEY_get_raw_public_key(key, out, &n) == 1 ? 0 : -EIO;
}

/* libcrypto refuses a result of zeros by itself; that it does is no promise of its manual. */
static int derive(EVP_PKEY_CTX *ctx, EVP_PKEY *peer, uint8_t out[KEY_SIZE])
{
    static const uint8_t zero[KEY_SIZE];
    size_t n = KEY_SIZE;

    if (EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, peer) != 1)
        return -EIO;
    return EVP_PKEY_derive(ctx, out, &n) == 1 && !aead_same(out, zero, KEY_SIZE) ? 0 : -EBADMSG;
}

int x25519_shared(const uint8_t secret[KEY_SIZE], const uint8_t public[KEY_SIZE], uint8_t out[KEY_SIZE])
{
    CLEANUP(key_freep) EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, KEY_SIZE);
    CLEANUP(key_freep) EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public, KEY_SIZE);
    CLEANUP(ctx_freep) EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;

    return ctx && peer ? derive(ctx, peer, out) : -EIO;
}
