/* Owns the wrapped form of keys below a drive's. */
#include "cryptd/wrapped_key.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

enum { VERSION = 1 };

struct wrapped {
    char magic[8];
    uint8_t version, kind, algorithm, zero;
    uint32_t epoch;
    uint8_t id[WRAPPED_ID_SIZE];
    uint8_t nonce[HEDGE_NONCE_SIZE];
    uint8_t key[KEY_SIZE];
    uint8_t tag[AEAD_TAG_SIZE];
};
static_assert(sizeof(struct wrapped) == WRAPPED_KEY_SIZE && offsetof(struct wrapped, nonce) == 32,
              "the layout of the header file");

static const char magic[8] = "LNDFWKEY";

enum { OPEN_SIZE = offsetof(struct wrapped, nonce), BINDING_SIZE = OPEN_SIZE + DRIVE_ID_SIZE };

static void bind(const struct wrapped *w, const struct drive_keys *k, uint8_t out[BINDING_SIZE])
{
    memcpy(out, w, OPEN_SIZE);
    memcpy(out + OPEN_SIZE, k->id, DRIVE_ID_SIZE);
}

static int failed(struct error *e)
{
    return error_set(e, -EIO, "The key of a file could not be wrapped or opened: libcrypto failed.");
}

int wrapped_key_seal(const struct drive_keys *k, const struct wrapped_key *key, uint8_t out[WRAPPED_KEY_SIZE],
                     struct error *e)
{
    const struct drive_epoch *epoch = drive_keys_newest(k);
    struct wrapped w = {
        .version = VERSION, .kind = (uint8_t)key->kind, .algorithm = (uint8_t)key->algorithm,
        .epoch = htole32(epoch->number),
    };
    uint8_t binding[BINDING_SIZE];
    int r;

    memcpy(w.magic, magic, sizeof(magic));
    memcpy(w.id, key->id, WRAPPED_ID_SIZE);
    bind(&w, k, binding);
    r = hedge_seal(&epoch->wrap, AEAD_AES_256_GCM, binding, sizeof(binding), key->key, KEY_SIZE, w.nonce, w.key, w.tag);
    memcpy(out, &w, sizeof(w));
    return r < 0 ? failed(e) : 0;
}

static int damaged(const char *how, struct error *e)
{
    return error_set(e, -EUCLEAN, "The key of a file is damaged (%s).", how);
}

static int check(const struct wrapped *w, size_t n, enum wrapped_kind kind, struct error *e)
{
    if (n != sizeof(*w))
        return damaged("wrong length", e);
    if (memcmp(w->magic, magic, sizeof(magic)) != 0)
        return damaged("it does not begin as such a key does", e);
    if (w->version != VERSION || w->zero != 0)
        return error_set(e, -EOPNOTSUPP, "The key of a file was made by a newer version of Landfall.");
    if (w->kind != kind)
        return error_set(e, -EINVAL, kind == WRAPPED_CACHE ? "This is not the key of a cache file."
                                                           : "This is not the key of an object.");
    if (!aead_known(w->algorithm))
        return error_set(e, -EOPNOTSUPP, "A file was encrypted in a way that this version of Landfall does not know.");
    return 0;
}

static int find_epoch(const struct drive_keys *k, uint32_t number, const struct drive_epoch **ret, struct error *e)
{
    *ret = drive_keys_epoch(k, number);
    if (*ret)
        return 0;
    if (number > drive_keys_newest(k)->number)
        return error_set(e, -ENOKEY, "A file was encrypted with key %u, which is newer than the drive's keys that "
                         "are here: an old copy of them was put back.", number);
    return error_set(e, -ENOKEY, "A file was encrypted with key %u of the drive, which was given up.", number);
}

enum wrapped_kind wrapped_key_kind(const uint8_t wrapped[WRAPPED_KEY_SIZE])
{
    return (enum wrapped_kind)wrapped[offsetof(struct wrapped, kind)];
}

int wrapped_key_open(const struct drive_keys *k, enum wrapped_kind kind, const void *bytes, size_t n,
                     struct wrapped_key *key, struct error *e)
{
    const struct drive_epoch *epoch;
    uint8_t binding[BINDING_SIZE];
    struct wrapped w = { 0 };
    int r;

    if (n > 0)
        memcpy(&w, bytes, n < sizeof(w) ? n : sizeof(w));
    r = check(&w, n, kind, e);
    if (r == 0)
        r = find_epoch(k, le32toh(w.epoch), &epoch, e);
    if (r < 0)
        return r;
    bind(&w, k, binding);
    r = hedge_open(&epoch->wrap, AEAD_AES_256_GCM, binding, sizeof(binding), w.nonce, w.key, KEY_SIZE, w.tag, key->key);
    if (r == -EBADMSG)
        return damaged("it does not open, or it is another drive's", e);
    if (r < 0)
        return failed(e);
    key->kind = kind;
    key->algorithm = (enum aead)w.algorithm;
    key->epoch = epoch->number;
    memcpy(key->id, w.id, WRAPPED_ID_SIZE);
    return 0;
}
