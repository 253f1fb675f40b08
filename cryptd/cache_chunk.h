/* One chunk of a cache file: 64 KiB of plaintext, fewer at the end of the file, sealed into as many bytes and a record
 * of 64 that is kept beside them. Where both lie on the disk is not known here.
 *
 * The record is common/cache_record.h's.
 *
 * Sealed as cryptd/hedge.h has it: parent the file's key, label "landfall cache chunk 1", additional data bytes 0 to 23
 * of the record and the 16 bytes of the file's id. So a chunk opens only in its file, at its place, with its length
 * and its generation; which generation is the newest one is for the record's keeper to know. A record of zeros alone is
 * never a sealed chunk. A sealing is determined by what goes into it and 32 random bytes: with the same random bytes,
 * because a snapshot was resumed twice, another plaintext still gets another key. */
#pragma once

#include "common/cache_record.h"
#include "cryptd/wrapped_key.h"

enum { CACHE_CHUNK = 64 * 1024 };
_Static_assert(sizeof(((struct cache_record *)0)->nonce) == HEDGE_NONCE_SIZE &&
               sizeof(((struct cache_record *)0)->tag) == AEAD_TAG_SIZE, "the record has room for both");

/* What a file's key is used as. To be kept in locked memory. */
struct cache_keys {
    struct hedge_keys keys;
    enum aead algorithm;
    uint8_t file_id[WRAPPED_ID_SIZE];
};

/* A new key for a file: random, with the fastest algorithm of this machine. */
void cache_key_make(struct wrapped_key *out);

/* 0 or -EIO. */
int cache_keys_derive(const struct wrapped_key *file, struct cache_keys *out);

/* Seals n bytes, 1 to CACHE_CHUNK, to out, which has room for as many. `plain` is read twice and must not change
 * meanwhile. 0, -EINVAL (length), or -EIO. */
int cache_chunk_seal(const struct cache_keys *k, uint64_t number, uint64_t generation, const void *plain, size_t n,
                     uint8_t *out, struct cache_record *ret);

/* Opens chunk `number` of n bytes. 0; -EOPNOTSUPP (version, algorithm); -EINVAL (the record says another length);
 * -EBADE (damaged, or not this chunk of this file); -EIO. Only after 0 out holds anything but zeros. */
int cache_chunk_open(const struct cache_keys *k, uint64_t number, const struct cache_record *record, const void *sealed,
                     size_t n, uint8_t *out);
