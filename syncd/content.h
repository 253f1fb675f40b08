/* Chunks of a cache file on their way in and out, whatever form they have here (plain, or sealed) and there (plain, or
 * a chunk of an encrypted object). Where both are plain cryptd is not asked.
 *
 * Nobody cancels: what was begun ends, and holds the file (cache_hold()) until then. */
#pragma once

#include "common/crypt.h"
#include "syncd/cache.h"

enum { CONTENT_CHUNKS_MAX = 16 };     /* chunks at once */

/* The cache is being closed, and cryptd has answered all: what waits still ends with -ECANCELED. */
void content_end_all(struct cache *c);

/* Takes away what the chunk in which a sealed file ends has beyond that end, so that the file may grow: for who found
 * sealed_needs_trim(). done(e, arg) once, from the loop: -EAGAIN: somebody has written the chunk meanwhile. */
typedef void content_trim_fn(const struct error *e, void *arg);
void content_trim(struct cache_file *f, content_trim_fn *done, void *arg);

/* Whether anything is under way of the file. */
bool content_busy(const struct cache_file *f);

/* The form that bytes outside of the cache have. */
struct content_form {
    enum crypt_form form;             /* CRYPT_PLAIN or CRYPT_OBJECT */
    uint8_t key[CRYPT_KEY];           /* of the object */
    uint64_t last;                    /* number of the object's last chunk */
};

/* Bytes that a run of chunks takes in that form, of which the plaintext is `length` bytes. */
uint64_t content_length(const struct content_form *form, uint64_t length);

/* Reads the chunks that hold [offset, offset + length): offset a multiple of CRYPT_CHUNK, length at most
 * CONTENT_CHUNKS_MAX chunks and not beyond the end of the file; all of it is here. done(e, bytes, n, arg), from the
 * loop: on e->code 0 the n bytes in that form, borrowed for the call. -EIO: the disk does not give them; -EBADE: they
 * were changed on the disk. */
typedef void content_out_fn(const struct error *e, const uint8_t *bytes, size_t n, void *arg);
void content_out(struct cache_file *f, uint64_t offset, uint64_t length, const struct content_form *form,
                 content_out_fn *done, void *arg);

/* Writes chunks that are absent, from n bytes in that form (copied before it returns): whole ones, but for the last one
 * of the file, which ends at offset + length. admit(arg) is asked right before anything is written: false, because
 * nobody wants them any more, ends it with -ECANCELED. done(e, arg) once, from the loop, when the bytes are in the
 * cache file; the bits are the caller's to set. -EBADE: they do not open: damaged, exchanged, or of another object. Or
 * what the disk said. */
typedef bool content_admit_fn(void *arg);
typedef void content_in_fn(const struct error *e, void *arg);
void content_in(struct cache_file *f, uint64_t offset, uint64_t length, const struct content_form *form,
                const uint8_t *bytes, size_t n, content_admit_fn *admit, content_in_fn *done, void *arg);
