/* Owns libcrypto but for X25519 and scrypt, and when AES-256-GCM is another library's. Must not know whose keys these
 * are. */
#include "cryptd/aead.h"

#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "common/cleanup.h"
#include "cryptd/gcm.h"

static EVP_CIPHER *ciphers[AEAD_CHACHA20_POLY1305 + 1];
static EVP_MD *sha256;
static EVP_KDF *hkdf;
static EVP_MAC *hmac, *poly1305;
static bool has_gcm;               /* cryptd/gcm.h */

static const char *const cipher_names[] = {
    [AEAD_AES_256_GCM] = "AES-256-GCM",
    [AEAD_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

static void cipher_ctx_freep(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static void kdf_ctx_freep(EVP_KDF_CTX **ctx)
{
    EVP_KDF_CTX_free(*ctx);
}

static void mac_ctx_freep(EVP_MAC_CTX **ctx)
{
    EVP_MAC_CTX_free(*ctx);
}

/* --- beginning --------------------------------------------------------------------------------- */

static int use_cipher(enum aead a)
{
    uint8_t key[KEY_SIZE] = { 0 }, nonce[AEAD_NONCE_SIZE] = { 0 }, sealed[4], tag[AEAD_TAG_SIZE], plain[4];
    int r = aead_seal(a, key, nonce, "aad", 3, "text", 4, sealed, tag);

    if (r == 0)
        r = aead_open(a, key, nonce, "aad", 3, sealed, 4, tag, plain);
    return r == 0 && memcmp(plain, "text", 4) != 0 ? -EIO : r;
}

/* HKDF and HMAC look up their digest inside; the first use of each algorithm fills libcrypto's caches. */
static int use_once(void)
{
    uint8_t key[KEY_SIZE] = { 0 }, out[DIGEST_SIZE];
    int r = aead_derive(key, "salt", 4, "info", out, sizeof(out));

    if (r == 0)
        r = use_cipher(AEAD_AES_256_GCM);
    if (r == 0)
        r = use_cipher(AEAD_CHACHA20_POLY1305);
    if (r == 0)
        r = aead_hmac(key, sizeof(key), &(struct bytes){ "text", 4 }, 1, out);
    return r == 0 ? aead_hash(key, "text", 4, out) : r;
}

static bool fetch(void)
{
    for (size_t a = AEAD_AES_256_GCM; a < ARRAY_SIZE(ciphers); a++)
        if (!(ciphers[a] = EVP_CIPHER_fetch(NULL, cipher_names[a], NULL)))
            return false;
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    poly1305 = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    return sha256 && hkdf && hmac && poly1305;
}

int aead_begin(struct error *e)
{
    if (poly1305)
        return 0;
    has_gcm = gcm_begin();
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1 && fetch() && use_once() == 0)
        return 0;
    aead_end();
    return error_set(e, -EOPNOTSUPP, "This libcrypto does not offer AES-256-GCM, ChaCha20-Poly1305 and HKDF-SHA256.");
}

void aead_end(void)
{
    for (size_t a = 0; a < ARRAY_SIZE(ciphers); a++) {
        EVP_CIPHER_free(ciphers[a]);
        ciphers[a] = NULL;
    }
    EVP_MD_free(sha256);
    EVP_KDF_free(hkdf);
    EVP_MAC_free(hmac);
    EVP_MAC_free(poly1305);
    gcm_end();
    has_gcm = false;
    sha256 = NULL;
    hkdf = NULL;
    hmac = poly1305 = NULL;
}

bool aead_known(unsigned number)
{
    return number == AEAD_AES_256_GCM || number == AEAD_CHACHA20_POLY1305;
}

/* Without these instructions AES in libcrypto is several times slower than ChaCha20, and not of constant time. */
enum aead aead_fastest(void)
{
#ifdef __x86_64__
    unsigned a, b, c = 0, d;
    const unsigned needed = bit_AES | bit_PCLMUL;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & needed) == needed ? AEAD_AES_256_GCM : AEAD_CHACHA20_POLY1305;
#else
    return AEAD_CHACHA20_POLY1305;
#endif
}

/* --- keys from keys ---------------------------------------------------------------------------- */

int aead_hkdf(const void *key, size_t key_len, const void *salt, size_t salt_len, const char *info,
              uint8_t *out, size_t n)
{
    CLEANUP(kdf_ctx_freep) EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(hkdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, key_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, strlen(info)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len),
        OSSL_PARAM_construct_end(),
    };

    return ctx && EVP_KDF_derive(ctx, out, n, params) == 1 ? 0 : -EIO;
}

int aead_derive(const uint8_t key[KEY_SIZE], const void *salt, size_t salt_len, const char *info,
                uint8_t *out, size_t n)
{
    return aead_hkdf(key, KEY_SIZE, salt, salt_len, info, out, n);
}

/* --- sealing ----------------------------------------------------------------------------------- */

static int seal_by_libcrypto(enum aead a, const uint8_t *key, const uint8_t *nonce, const struct bytes *aad,
                             const struct bytes *plain, uint8_t *out, uint8_t *tag)
{
    CLEANUP(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len;

    if (!ctx || EVP_EncryptInit_ex2(ctx, ciphers[a], key, nonce, NULL) != 1)
        return -EIO;
    if (EVP_EncryptUpdate(ctx, NULL, &len, aad->data, (int)aad->n) != 1 ||
        EVP_EncryptUpdate(ctx, out, &len, plain->data, (int)plain->n) != 1 ||
        EVP_EncryptFinal_ex(ctx, tag, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) != 1)
        return -EIO;
    return 0;
}

int aead_seal(enum aead a, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad,
              size_t aad_len, const void *plain, size_t n, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE])
{
    const struct bytes beside = { aad, aad_len }, bytes = { plain, n };

    if (n > INT_MAX || aad_len > INT_MAX)
        return -EIO;
    if (!has_gcm || a != AEAD_AES_256_GCM)
        return seal_by_libcrypto(a, key, nonce, &beside, &bytes, out, tag);
    gcm_run(true, key, nonce, &beside, &bytes, out, tag);
    return 0;
}

static int open_by_gcm(const uint8_t *key, const uint8_t *nonce, const struct bytes *aad, const struct bytes *sealed,
                       const uint8_t *tag, uint8_t *out)
{
    uint8_t found[AEAD_TAG_SIZE];

    gcm_run(false, key, nonce, aad, sealed, out, found);
    return aead_same(found, tag, AEAD_TAG_SIZE) ? 0 : -EBADMSG;
}

static int open_by_libcrypto(enum aead a, const uint8_t *key, const uint8_t *nonce, const struct bytes *aad,
                             const struct bytes *sealed, const uint8_t *tag, uint8_t *out)
{
    CLEANUP(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t rest[AEAD_TAG_SIZE];
    int len;

    if (!ctx || EVP_DecryptInit_ex2(ctx, ciphers[a], key, nonce, NULL) != 1 ||
        EVP_DecryptUpdate(ctx, NULL, &len, aad->data, (int)aad->n) != 1 ||
        EVP_DecryptUpdate(ctx, out, &len, sealed->data, (int)sealed->n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, (void *)(uintptr_t)tag) != 1)
        return -EIO;
    return EVP_DecryptFinal_ex(ctx, rest, &len) == 1 ? 0 : -EBADMSG;
}

int aead_open(enum aead a, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const void *aad,
              size_t aad_len, const void *sealed, size_t n, const uint8_t tag[AEAD_TAG_SIZE], uint8_t *out)
{
    const struct bytes beside = { aad, aad_len }, bytes = { sealed, n };
    int r;

    if (n > INT_MAX || aad_len > INT_MAX)
        return -EIO;
    if (has_gcm && a == AEAD_AES_256_GCM)
        r = open_by_gcm(key, nonce, &beside, &bytes, tag, out);
    else
        r = open_by_libcrypto(a, key, nonce, &beside, &bytes, tag, out);
    if (r < 0)
        secret_wipe(out, n);
    return r;
}

/* --- hashes ------------------------------------------------------------------------------------ */

int aead_digest(const void *data, size_t n, uint8_t out[DIGEST_SIZE])
{
    return EVP_Digest(data, n, out, NULL, sha256, NULL) == 1 ? 0 : -EIO;
}

int aead_hmac(const void *key, size_t key_len, const struct bytes *pieces, size_t n_pieces, uint8_t out[DIGEST_SIZE])
{
    CLEANUP(mac_ctx_freep) EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    size_t len;

    if (!ctx || EVP_MAC_init(ctx, key, key_len, params) != 1)
        return -EIO;
    for (size_t i = 0; i < n_pieces; i++)
        if (EVP_MAC_update(ctx, pieces[i].data, pieces[i].n) != 1)
            return -EIO;
    return EVP_MAC_final(ctx, out, &len, DIGEST_SIZE) == 1 ? 0 : -EIO;
}

int aead_hash(const uint8_t key[KEY_SIZE], const void *data, size_t n, uint8_t out[HASH_SIZE])
{
    CLEANUP(mac_ctx_freep) EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(poly1305);
    uint8_t r_and_s[KEY_SIZE] = { 0 };
    size_t len;
    int r;

    memcpy(r_and_s, key, KEY_SIZE / 2);
    r = ctx && EVP_MAC_init(ctx, r_and_s, sizeof(r_and_s), NULL) == 1 && EVP_MAC_update(ctx, data, n) == 1 &&
        EVP_MAC_final(ctx, out, &len, HASH_SIZE) == 1 ? 0 : -EIO;
    secret_wipe(r_and_s, sizeof(r_and_s));
    return r;
}

bool aead_same(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}
