/* Owns the sealed form of small secrets. Must not know where keys or requests come from. */
#include "cryptd/seal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "cryptd/aead.h"

enum { VERSION = 2, VERSION_WITHOUT_ID = 1 };
enum { CLASS_MAX = 32, NAME_MAX_BYTES = 255, AAD_MAX = 1 + CLASS_MAX + 1 + NAME_MAX_BYTES };

static_assert(SEAL_OVERHEAD == 1 + SEAL_ID_SIZE + AEAD_NONCE_SIZE + AEAD_TAG_SIZE, "version, id, nonce, tag");

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz";

/* Everything one operation is bound to. */
struct binding {
    uint8_t aad[AAD_MAX];
    size_t aad_len;
    char info[sizeof("landfall seal 1 ") + CLASS_MAX];
};

static int bind_purpose(struct binding *b, uint8_t version, const char *purpose, struct error *e)
{
    size_t class_len = strspn(purpose, alphabet), len = strnlen(purpose, AAD_MAX);

    if (class_len < 1 || class_len > CLASS_MAX || purpose[class_len] != ':' || len == class_len + 1 ||
        len - class_len - 1 > NAME_MAX_BYTES)
        return error_set(e, -EINVAL, "The purpose of a secret must read class:name.");
    b->aad[0] = version;
    memcpy(b->aad + 1, purpose, len);
    b->aad_len = 1 + len;
    (void)snprintf(b->info, sizeof(b->info), "landfall seal 1 %.*s", (int)class_len, purpose);
    return 0;
}

static int too_large(struct error *e)
{
    return error_set(e, -EMSGSIZE, "A secret can have %d bytes at most.", SEAL_PLAIN_MAX);
}

int seal_key_id(const struct secret *s, uint8_t out[SEAL_ID_SIZE])
{
    return aead_derive(s->data_key, "", 0, "landfall key id 1", out, SEAL_ID_SIZE);
}

static int broken(int r, struct error *e)
{
    if (r == -ENOKEY)
        return error_set(e, r, "This was sealed with another key store than the one that is there now: that one was "
                         "lost or replaced. Put the old file back as keys into KeyDir and start Landfall again. If it "
                         "is gone for good, delete the account and add it again with its keys.");
    if (r == -EBADMSG)
        return error_set(e, -EUCLEAN, "The sealed secret does not open: it was changed, or sealed for something else "
                         "or with another key. Enter it anew.");
    return error_set(e, r, "The secret could not be sealed or opened: libcrypto failed.");
}

static int seal_into(struct secret *s, const struct binding *b, const void *plain, size_t n, uint8_t *out)
{
    uint8_t *nonce = out + 1 + SEAL_ID_SIZE;
    int r = aead_derive(s->data_key, "", 0, b->info, s->work_key, KEY_SIZE);

    out[0] = VERSION;
    secret_random(nonce, AEAD_NONCE_SIZE);
    if (r == 0)
        r = seal_key_id(s, out + 1);
    if (r == 0)
        r = aead_seal(AEAD_AES_256_GCM, s->work_key, nonce, b->aad, b->aad_len, plain, n, nonce + AEAD_NONCE_SIZE,
                      nonce + AEAD_NONCE_SIZE + n);
    secret_wipe(s->work_key, KEY_SIZE);
    return r;
}

int seal_make(struct secret *s, const char *purpose, const void *plain, size_t n,
              uint8_t **ret, size_t *ret_n, struct error *e)
{
    struct binding b;
    uint8_t *out;
    int r = bind_purpose(&b, VERSION, purpose, e);

    if (r < 0)
        return r;
    if (n > SEAL_PLAIN_MAX)
        return too_large(e);
    out = xcalloc(1, n + SEAL_OVERHEAD);
    r = seal_into(s, &b, plain, n, out);
    if (r < 0) {
        free(out);
        return broken(r, e);
    }
    *ret = out;
    *ret_n = n + SEAL_OVERHEAD;
    return 0;
}

/* Bytes before the nonce; 0: not of a version that is known. */
static size_t head_size(uint8_t version)
{
    return version == VERSION ? 1 + SEAL_ID_SIZE : version == VERSION_WITHOUT_ID ? 1 : 0;
}

static int check_id(const struct secret *s, const uint8_t *sealed)
{
    uint8_t id[SEAL_ID_SIZE];
    int r = sealed[0] == VERSION_WITHOUT_ID ? 0 : seal_key_id(s, id);

    if (r < 0 || sealed[0] == VERSION_WITHOUT_ID)
        return r;
    return memcmp(id, sealed + 1, SEAL_ID_SIZE) == 0 ? 0 : -ENOKEY;
}

/* n bytes between the nonce and the tag. */
static int open_into(struct secret *s, const struct binding *b, const uint8_t *nonce, size_t n, uint8_t *out)
{
    const uint8_t *sealed = nonce + AEAD_NONCE_SIZE;
    int r = aead_derive(s->data_key, "", 0, b->info, s->work_key, KEY_SIZE);

    if (r == 0)
        r = aead_open(AEAD_AES_256_GCM, s->work_key, nonce, b->aad, b->aad_len, sealed, n, sealed + n, out);
    secret_wipe(s->work_key, KEY_SIZE);
    return r;
}

int seal_open(struct secret *s, const char *purpose, const void *sealed, size_t n,
              uint8_t **ret, size_t *ret_n, struct error *e)
{
    const uint8_t *bytes = sealed;
    size_t head = n ? head_size(bytes[0]) : 0, overhead = head + AEAD_NONCE_SIZE + AEAD_TAG_SIZE;
    struct binding b;
    uint8_t *out;
    int r = bind_purpose(&b, n ? bytes[0] : VERSION, purpose, e);

    if (r < 0)
        return r;
    if (n > SEAL_PLAIN_MAX + SEAL_OVERHEAD)
        return too_large(e);
    if (!head || n < overhead)
        return broken(-EBADMSG, e);
    r = check_id(s, bytes);
    if (r < 0)
        return broken(r, e);
    out = xcalloc(1, n - overhead + 1);
    r = open_into(s, &b, bytes + head, n - overhead, out);
    if (r < 0) {
        free(out);
        return broken(r, e);
    }
    *ret = out;
    *ret_n = n - overhead;
    return 0;
}
