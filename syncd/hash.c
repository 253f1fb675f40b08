/* Digests by OpenSSL's EVP. Knows nothing of what is hashed, or why. */
#include "syncd/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"

enum { SLICE = 256 * 1024 };

/* OpenSSL fails here only without memory or without its default provider: nothing can be signed then. */
static void must(int ok)
{
    if (!ok)
        abort();
}

void hash_sha256(const void *data, size_t n, uint8_t out[HASH_SHA256])
{
    must(EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL));
}

void hash_sha256_hex(const void *data, size_t n, char out[HASH_SHA256_HEX])
{
    uint8_t digest[HASH_SHA256];

    hash_sha256(data, n, digest);
    text_hex(digest, sizeof(digest), out);
}

void hash_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n, uint8_t out[HASH_SHA256])
{
    must(HMAC(EVP_sha256(), key, (int)key_len, data, n, out, NULL) != NULL);
}

void hash_md5(const void *data, size_t n, uint8_t out[HASH_MD5])
{
    must(EVP_Digest(data, n, out, NULL, EVP_md5(), NULL));
}

/* --- as they come ----------------------------------------------------------------------------------- */

struct hash_md5 {
    EVP_MD_CTX *context;
};

struct hash_md5 *hash_md5_new(void)
{
    struct hash_md5 *h = xcalloc(1, sizeof(*h));

    h->context = EVP_MD_CTX_new();
    must(h->context && EVP_DigestInit_ex(h->context, EVP_md5(), NULL));
    return h;
}

void hash_md5_free(struct hash_md5 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->context);
    free(h);
}

void hash_md5_add(struct hash_md5 *h, const void *data, size_t n)
{
    must(EVP_DigestUpdate(h->context, data, n));
}

void hash_md5_take(struct hash_md5 *h, uint8_t out[HASH_MD5])
{
    must(EVP_DigestFinal_ex(h->context, out, NULL));
    must(EVP_DigestInit_ex(h->context, EVP_md5(), NULL));
}

/* --- of a file --------------------------------------------------------------------------------------- */

static int digest_file(struct hash_extent *x, EVP_MD_CTX *sha, EVP_MD_CTX *md5, uint8_t *slice)
{
    uint64_t at = 0;

    while (at < x->length) {
        size_t want = least(x->length - at, SLICE);
        ssize_t n = pread(x->fd, slice, want, (off_t)(x->offset + at));

        if (atomic_load(&x->stop))
            return -ECANCELED;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EBADE;
        if (n < 0)
            continue;
        must(EVP_DigestUpdate(sha, slice, (size_t)n));
        if (x->md5_wanted)
            must(EVP_DigestUpdate(md5, slice, (size_t)n));
        at += (uint64_t)n;
    }
    return 0;
}

void hash_extent(void *arg)
{
    struct hash_extent *x = arg;
    CLEANUP_FREE uint8_t *slice = alloc_bulk(SLICE);
    EVP_MD_CTX *sha = EVP_MD_CTX_new(), *md5 = EVP_MD_CTX_new();
    uint8_t digest[HASH_SHA256];

    must(slice && sha && md5);
    must(EVP_DigestInit_ex(sha, EVP_sha256(), NULL));
    must(EVP_DigestInit_ex(md5, EVP_md5(), NULL));
    x->error = digest_file(x, sha, md5, slice);
    must(EVP_DigestFinal_ex(sha, digest, NULL));
    must(EVP_DigestFinal_ex(md5, x->md5, NULL));
    text_hex(digest, sizeof(digest), x->sha256);
    EVP_MD_CTX_free(sha);
    EVP_MD_CTX_free(md5);
}
