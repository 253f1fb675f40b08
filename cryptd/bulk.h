/* Bulk work: chunks opened from one form and sealed into another one, in memory that the caller shares, by the pool's
 * threads. A job is cut into slices, for all threads alike but of BULK_SLICE chunks at most; jobs take turns slice by
 * slice, so that a large one does not keep a small one waiting. One of BULK_SLICE_MIN chunks at most is done by the
 * loop's thread, at once, unless all threads have work; of one that is alone, and no more than a slice for each thread,
 * it has its share. Plaintext that is not the caller's to see (object to cache, cache to object) never leaves cryptd's
 * own locked memory. What it may see is opened in the shared memory, and wiped there when it turns out to be forged:
 * who looks before the answer deceives itself alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"
#include "cryptd/cache_chunk.h"
#include "cryptd/keyring.h"

enum form { FORM_PLAIN = 0, FORM_CACHE = 1, FORM_OBJECT = 2, FORMS };
enum { BULK_CHUNK = 64 * 1024, BULK_CHUNKS_MAX = 128, BULK_SLICE = 16, BULK_SLICE_MIN = 2, BULK_JOBS_MAX = 1024 };

struct bulk_chunk {
    uint64_t number, in_at, out_at, expected, generation;
    uint32_t length;                 /* of plaintext: what the cache has sealed is cut, or filled up with zeros */
    bool has_expected, last;
    bool zeros;                      /* from the cache: there is no chunk, which stands for zeros */
    struct cache_record record;      /* what is opened from the cache; after, what was sealed into it */
    int code;                        /* after: 0 or a negative errno */
};

struct bulk_form {
    enum form form;
    const void *key;                 /* borrowed; n == 0: none */
    size_t n;
};

struct bulk_spec {
    struct open_keys *keys;
    struct region *region;           /* NULL: refused with a sentence */
    struct bulk_form from, to;
    const struct bulk_chunk *chunks; /* copied */
    size_t n;
};

struct bulk;

/* Runs once for each job that was started, from the loop or from inside of bulk_start(). */
typedef void bulk_done_fn(const struct bulk_chunk *chunks, size_t n, void *arg);

/* `threads` slices are worked on at a time. 0, or a negative errno with a sentence. */
int bulk_new(struct loop *l, unsigned threads, struct bulk **ret, struct error *e);

/* Waits for slices under way; every job is done, with -ECANCELED where it was not worked on. NULL is fine. */
void bulk_free(struct bulk *b);

/* Starts a job: 0 and `done` will run; or it is refused as a whole, with a sentence: -EINVAL (forms, numbers, lengths,
 * overlapping), -ERANGE (not in the region), -EAGAIN (BULK_JOBS_MAX wait), or what wrapped_key_open() says.
 *
 * A chunk's code: 0; -EBADE (damaged, exchanged, of another file or place); -ESTALE (not the expected generation);
 * -EINVAL (the record says another length); -EOPNOTSUPP (record of a newer version); -EIO. Of what failed
 * there is nothing: what was to become plaintext is zeros, or as before. */
int bulk_start(struct bulk *b, const struct bulk_spec *spec, bulk_done_fn *done, void *arg, struct error *e);
