/* Owns chunks of encrypted objects on their way to somebody who wants plaintext and has no cache file for it: the API's
 * streams, an empty object's only tag, and the chunk in which a file was cut. */
#include "syncd/object.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cache.h"

struct unsealing {
    LIST_ENTRY(unsealing) next;    /* of the cache's, while it waits for a place */
    struct volume *volume;
    struct object_key key;
    uint64_t first;
    uint8_t *bytes;                /* until there is a place */
    size_t size, n;                /* bytes, chunks */
    struct crypt_place place;
    struct crypt_chunk chunks[OBJECT_UNSEAL_MAX];
    object_unsealed_fn *done;
    void *arg;
};

static uint32_t plain_length(const struct unsealing *u, size_t i)
{
    return (uint32_t)(least(u->size - i * CRYPT_OBJECT_CHUNK, CRYPT_OBJECT_CHUNK) - (CRYPT_OBJECT_CHUNK - CRYPT_CHUNK));
}

static void unsealed(const struct error *e, void *arg)
{
    CLEANUP_FREE struct unsealing *u = arg;
    struct error failed = *e;
    size_t good = 0, length = 0;

    for (; failed.code == 0 && good < u->n && u->chunks[good].code == 0; good++)
        length += plain_length(u, good);
    if (failed.code == 0 && good < u->n)
        error_set(&failed, -EBADMSG, "Bytes of the object are not what was encrypted.");
    u->done(&failed, u->place.bytes + u->n * CRYPT_OBJECT_CHUNK, length, u->arg);
    crypt_place_end(keys_crypt(u->volume->keys), &u->place);
}

static void unseal(void *arg)
{
    struct unsealing *u = arg;
    struct crypt_call call = {
        .asker = keys_asker(u->volume->keys), .from = CRYPT_OBJECT, .to = CRYPT_PLAIN, .from_key = u->key.key,
        .chunks = u->chunks, .n = u->n,
    };

    LIST_REMOVE(u, next);
    memcpy(u->place.bytes, u->bytes, u->size);
    free(take_ptr(u->bytes));
    for (size_t i = 0; i < u->n; i++)
        u->chunks[i] = (struct crypt_chunk){
            .number = u->first + i, .length = plain_length(u, i), .in_at = u->place.at + i * CRYPT_OBJECT_CHUNK,
            .out_at = u->place.at + u->n * CRYPT_OBJECT_CHUNK + i * CRYPT_CHUNK,
            .last = u->first + i == object_last_chunk(u->key.plain),
        };
    crypt_run(&call, unsealed, u);
}

void object_unseal(struct volume *v, const struct object_key *key, uint64_t first, const void *bytes, size_t n,
                   object_unsealed_fn *done, void *arg)
{
    struct unsealing *u = xcalloc(1, sizeof(*u));

    *u = (struct unsealing){
        .volume = v, .key = *key, .first = first, .bytes = xcalloc(1, n), .size = n,
        .n = (n + CRYPT_OBJECT_CHUNK - 1) / CRYPT_OBJECT_CHUNK, .done = done, .arg = arg,
    };
    memcpy(u->bytes, bytes, n);
    LIST_INSERT_HEAD(&v->cache->unsealings, u, next);
    crypt_place(keys_crypt(v->keys), u->n * (CRYPT_OBJECT_CHUNK + CRYPT_CHUNK), &u->place, unseal, u);
}

void object_unseal_end_all(struct cache *c)
{
    struct error e = { .code = -ECANCELED };
    struct unsealing *u;

    while ((u = LIST_FIRST(&c->unsealings))) {
        LIST_REMOVE(u, next);
        crypt_place_cancel(keys_crypt(u->volume->keys), &u->place);
        u->done(&e, NULL, 0, u->arg);
        free(u->bytes);
        free(u);
    }
}
