/* The asking end of cryptd's bulk work: memory that is shared with it (the region), places in that memory, and calls
 * that turn chunks of one form into chunks of another one. syncd and the workers have one each.
 *
 * What lies in the region may be plaintext, so it is locked in memory where the limits allow it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cache_record.h"
#include "common/ipc.h"

enum {
    CRYPT_CHUNK = 64 * 1024,          /* bytes of plaintext of every chunk but the last one of a file */
    CRYPT_OBJECT_CHUNK = CRYPT_CHUNK + 16,   /* the same sealed for an object: an age chunk with its tag */
    CRYPT_CHUNKS_MAX = 128,           /* of a call */
    CRYPT_KEY = 104,                  /* a wrapped key of a cache file or an object */
};

struct crypt;

/* A region of `size` bytes, or of `least` where no more can be locked: whole pages, 64 KiB to 64 MiB; they take memory
 * only once they are touched. 0 and *ret, or a negative errno with a sentence. */
int crypt_new(struct loop *l, size_t size, size_t least, struct crypt **ret, struct error *e);
/* No call may be under way. NULL is fine. */
void crypt_free(struct crypt *c);
/* All of it, which a process that is forked has as well; *ret_size bytes. */
void *crypt_memory(const struct crypt *c, size_t *ret_size);
/* Whether its pages cannot be swapped. */
bool crypt_locked(const struct crypt *c);

/* Shares the region over this client: for its `connected`, since every new connection must be told. */
void crypt_share(struct crypt *c, struct ipc_client *cryptd);

/* --- places ------------------------------------------------------------------------------------------ */

/* Bytes of the region. */
struct crypt_place {
    uint64_t at;                      /* from its beginning, for calls */
    uint8_t *bytes;
    size_t n;                         /* 0: none */
};

/* Calls ready(arg) once *ret is a place of n bytes (at most half of the region; -EFBIG is a mistake of the
 * caller, which aborts): at once, from inside, or later, in turn. Until crypt_place_end(). */
typedef void crypt_ready_fn(void *arg);
void crypt_place(struct crypt *c, size_t n, struct crypt_place *ret, crypt_ready_fn *ready, void *arg);
/* The same at once, from the end of the region, or false: what is held for long leaves the rest in one piece there. */
bool crypt_place_last(struct crypt *c, size_t n, struct crypt_place *ret);
/* Nobody waits for that place any more: ready() does not run. */
void crypt_place_cancel(struct crypt *c, const struct crypt_place *ret);
/* Gives it back; none is fine. Nothing may work on it any more. */
void crypt_place_end(struct crypt *c, struct crypt_place *p);

/* Calls fn(arg) later, from the loop, as long as the region is there. */
void crypt_defer(struct crypt *c, void (*fn)(void *arg), void *arg);

/* Between the two nobody gets a place that somebody else had: a call whose answer nobody waits for any more may still
 * be written to it. As often held as released. */
void crypt_hold(struct crypt *c);
void crypt_release(struct crypt *c);

/* --- calls ------------------------------------------------------------------------------------------- */

enum crypt_form { CRYPT_PLAIN = 0, CRYPT_CACHE = 1, CRYPT_OBJECT = 2 };   /* enum Form of proto/ipc.proto */

/* How a call is sent: by ipc_call(), or by something that adds a handle and repeats after a restart of cryptd. */
struct crypt_asker {
    void (*ask)(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg);
    void *arg;
};

struct crypt_chunk {
    uint64_t number;                  /* in its file or object */
    uint32_t length;                  /* bytes of plaintext, 1 to CRYPT_CHUNK; of an object's last chunk also 0; from
                                         the cache what is sealed is cut, or filled up with zeros, to that */
    uint64_t in_at, out_at;           /* in the region; what is written to may overlap no other chunk's */
    struct cache_record record;       /* from the cache: given; into the cache: after */
    bool zeros;                       /* from the cache: there is no chunk, which stands for zeros */
    uint64_t generation;              /* into the cache */
    bool last;                        /* from or into an object: its last chunk */
    int code;                         /* after: 0, or a negative errno (cryptd/bulk.h) and nothing was written for it */
};

struct crypt_call {
    struct crypt_asker asker;
    enum crypt_form from, to;
    const uint8_t *from_key, *to_key; /* CRYPT_KEY bytes each, copied; NULL for plain */
    struct crypt_chunk *chunks;       /* borrowed until done */
    size_t n;                         /* 1 to CRYPT_CHUNKS_MAX */
};

/* Runs the call. done(e, arg) once, from the loop: e->code 0 says that each chunk has its `code`; else nothing is known
 * of any, and no place of the call changes any more. It cannot be cancelled: the places of a call are its own until
 * then. Where in and out overlap, a call that fails may have destroyed what is in. */
typedef void crypt_done_fn(const struct error *e, void *arg);
void crypt_run(const struct crypt_call *call, crypt_done_fn *done, void *arg);
