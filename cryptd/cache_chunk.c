/* Owns the sealed form of a chunk in the cache. Must not know files or disks. */
#include "cryptd/cache_chunk.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum { VERSION = 1, OPEN_SIZE = offsetof(struct cache_record, nonce), BINDING_SIZE = OPEN_SIZE + WRAPPED_ID_SIZE };

void cache_key_make(struct wrapped_key *out)
{
    *out = (struct wrapped_key){ .kind = WRAPPED_CACHE, .algorithm = aead_fastest() };
    secret_random(out->id, sizeof(out->id));
    secret_random(out->key, sizeof(out->key));
}

int cache_keys_derive(const struct wrapped_key *file, struct cache_keys *out)
{
    out->algorithm = file->algorithm;
    memcpy(out->file_id, file->id, WRAPPED_ID_SIZE);
    return hedge_derive(file->key, "landfall cache chunk 1", &out->keys);
}

static void bind(const struct cache_keys *k, const struct cache_record *record, uint8_t out[BINDING_SIZE])
{
    memcpy(out, record, OPEN_SIZE);
    memcpy(out + OPEN_SIZE, k->file_id, WRAPPED_ID_SIZE);
}

int cache_chunk_seal(const struct cache_keys *k, uint64_t number, uint64_t generation, const void *plain, size_t n,
                     uint8_t *out, struct cache_record *ret)
{
    uint8_t binding[BINDING_SIZE];

    if (n < 1 || n > CACHE_CHUNK)
        return -EINVAL;
    *ret = (struct cache_record){
        .version = VERSION, .algorithm = (uint8_t)k->algorithm, .length = htole32((uint32_t)n),
        .number = htole64(number), .generation = htole64(generation),
    };
    bind(k, ret, binding);
    return hedge_seal(&k->keys, k->algorithm, binding, sizeof(binding), plain, n, ret->nonce, out, ret->tag);
}

int cache_chunk_open(const struct cache_keys *k, uint64_t number, const struct cache_record *record, const void *sealed,
                     size_t n, uint8_t *out)
{
    uint8_t binding[BINDING_SIZE];
    int r;

    if (record->version != VERSION || !aead_known(record->algorithm))
        return -EOPNOTSUPP;
    if (n < 1 || n > CACHE_CHUNK || le32toh(record->length) != n)
        return -EINVAL;
    if (le64toh(record->number) != number)
        return -EBADE;
    bind(k, record, binding);
    r = hedge_open(&k->keys, (enum aead)record->algorithm, binding, sizeof(binding), record->nonce, sealed, n,
                   record->tag, out);
    return r == -EBADMSG ? -EBADE : r;
}
