/* Owns which keys of files are kept. Must not know what they open. */
#include "cryptd/file_keys.h"

#include <errno.h>
#include <string.h>

/* What is kept was opened as of that kind, which is among its bytes. */
static const struct file_key *find(const struct file_keys *f, enum wrapped_kind kind, const void *wrapped, size_t n)
{
    if (n != WRAPPED_KEY_SIZE || wrapped_key_kind(wrapped) != kind)
        return NULL;
    for (size_t i = 0; i < FILE_KEYS_KEPT; i++)
        if (memcmp(f->kept[i].wrapped, wrapped, WRAPPED_KEY_SIZE) == 0)
            return &f->kept[i].key;
    return NULL;
}

static void keep(struct file_keys *f, const void *wrapped, const struct file_key *key)
{
    memcpy(f->kept[f->next].wrapped, wrapped, WRAPPED_KEY_SIZE);
    f->kept[f->next].key = *key;
    f->next = (f->next + 1) % FILE_KEYS_KEPT;
}

static int make_ready(const struct wrapped_key *key, struct file_key *ret, struct error *e)
{
    if (key->kind == WRAPPED_OBJECT)
        memcpy(ret->payload, key->key, KEY_SIZE);
    else if (cache_keys_derive(key, &ret->cache) < 0)
        return error_set(e, -EIO, "The key of a file could not be made ready: libcrypto failed.");
    return 0;
}

int file_keys_open(struct file_keys *f, const struct drive_keys *k, enum wrapped_kind kind, const void *wrapped,
                   size_t n, struct file_key *ret, struct error *e)
{
    const struct file_key *known = find(f, kind, wrapped, n);
    struct wrapped_key key;
    int r;

    if (known) {
        *ret = *known;
        return 0;
    }
    r = wrapped_key_open(k, kind, wrapped, n, &key, e);
    if (r == 0)
        r = make_ready(&key, ret, e);
    if (r == 0)
        keep(f, wrapped, ret);
    secret_wipe(&key, sizeof(key));
    return r;
}
