/* Owns libcrypto: nothing else in cryptd includes it. Must not know whose keys these are. */
#include "cryptd/aead.h"

#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#include "common/cleanup.h"

static EVP_CIPHER *gcm;
static EVP_MD *sha256;
static EVP_KDF *hkdf;

static void cipher_ctx_freep(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static void kdf_ctx_freep(EVP_KDF_CTX **ctx)
{
    EVP_KDF_CTX_free(*ctx);
}

/* HKDF looks up its digest inside; the first use of each algorithm fills libcrypto's caches. */
static int use_once(void)
{
    uint8_t key[KEY_SIZE] = { 0 }, nonce[AEAD_NONCE_SIZE] = { 0 }, sealed[4 + AEAD_TAG_SIZE], plain[4];
    int r = aead_derive(key, "salt", 4, "info", key, sizeof(key));

    if (r == 0)
        r = aead_seal(key, nonce, "aad", 3, "text", 4, sealed);
    if (r == 0)
        r = aead_open(key, nonce, "aad", 3, sealed, sizeof(sealed), plain);
    return r == 0 && memcmp(plain, "text", 4) != 0 ? -EIO : r;
}

int aead_begin(struct error *e)
{
    if (gcm)
        return 0;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1) {
        gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    }
    if (gcm && sha256 && hkdf && use_once() == 0)
        return 0;
    aead_end();
    return error_set(e, -EOPNOTSUPP, "This libcrypto does not offer AES-256-GCM and HKDF-SHA256.");
}

void aead_end(void)
{
    EVP_CIPHER_free(gcm);
    EVP_MD_free(sha256);
    EVP_KDF_free(hkdf);
    gcm = NULL;
    sha256 = NULL;
    hkdf = NULL;
}

int aead_derive(const uint8_t key[KEY_SIZE], const void *salt, size_t salt_len, const char *info,
                uint8_t *out, size_t n)
{
    CLEANUP(kdf_ctx_freep) EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(hkdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, KEY_SIZE),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, strlen(info)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len),
        OSSL_PARAM_construct_end(),
    };

    return ctx && EVP_KDF_derive(ctx, out, n, params) == 1 ? 0 : -EIO;
}

int aead_seal(const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad, size_t aad_len,
              const void *plain, size_t n, uint8_t *out)
{
    CLEANUP(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len;

    if (!ctx || n > INT_MAX || aad_len > INT_MAX || EVP_EncryptInit_ex2(ctx, gcm, key, nonce, NULL) != 1)
        return -EIO;
    if (EVP_EncryptUpdate(ctx, NULL, &len, aad, (int)aad_len) != 1 ||
        EVP_EncryptUpdate(ctx, out, &len, plain, (int)n) != 1 || EVP_EncryptFinal_ex(ctx, out + n, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, out + n) != 1)
        return -EIO;
    return 0;
}

static int decrypt(EVP_CIPHER_CTX *ctx, const void *aad, size_t aad_len, const uint8_t *sealed, size_t n, uint8_t *out)
{
    int len;

    if (EVP_DecryptUpdate(ctx, NULL, &len, aad, (int)aad_len) != 1 ||
        EVP_DecryptUpdate(ctx, out, &len, sealed, (int)n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, (void *)(sealed + n)) != 1)
        return -EIO;
    return EVP_DecryptFinal_ex(ctx, out + n, &len) == 1 ? 0 : -EBADMSG;
}

int aead_open(const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad, size_t aad_len,
              const void *sealed, size_t n, uint8_t *out)
{
    CLEANUP(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int r;

    if (n < AEAD_TAG_SIZE)
        return -EBADMSG;
    if (!ctx || n > INT_MAX || aad_len > INT_MAX || EVP_DecryptInit_ex2(ctx, gcm, key, nonce, NULL) != 1)
        return -EIO;
    r = decrypt(ctx, aad, aad_len, sealed, n - AEAD_TAG_SIZE, out);
    if (r < 0)
        secret_wipe(out, n - AEAD_TAG_SIZE);
    return r;
}

int aead_digest(const void *data, size_t n, uint8_t out[DIGEST_SIZE])
{
    return EVP_Digest(data, n, out, NULL, sha256, NULL) == 1 ? 0 : -EIO;
}
