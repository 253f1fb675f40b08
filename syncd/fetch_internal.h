/* What fetch.c, fetch_plan.c and fetch_wait.c share. */
#pragma once

#include "syncd/fetch.h"

struct fetch_waiter {
    TAILQ_ENTRY(fetch_waiter) next;
    struct cache_file *file;
    uint64_t from, to;             /* what is left of its range; `from` moves up */
    enum space_for what;
    enum fetch_why why;
    bool patient;                  /* nobody needs the bytes now */
    struct loop_timer *timer;
    uint64_t ms;                   /* of the timer */
    int64_t since_ns;              /* when it began to wait */
    fetch_done_fn *done;
    void *arg;
};

/* Calls done at once and returns NULL when there is nothing to fetch. The caller holds the file. */
struct fetch_waiter *fetch_wait(struct cache_file *f, uint64_t from, uint64_t to, fetch_done_fn *done, void *arg);
void fetch_wait_until(struct fetch_waiter *w, uint64_t ms);
/* Answers those whose bytes are here; with `e` those who wait for some of [from, to), all, those for whom there is no
 * space, or those who are patient. */
void fetch_wake(struct cache_file *f);
void fetch_fail_within(struct cache_file *f, uint64_t from, uint64_t to, const struct error *e);
void fetch_fail_all(struct cache_file *f, const struct error *e);
void fetch_fail_lacking(struct cache_file *f, const struct error *e);
void fetch_fail_patient(struct cache_file *f, const struct error *e);
/* Whether the download is paused, and nobody needs bytes now. */
bool fetch_rests(const struct cache_file *f);

/* Bytes of the file that there may be something to fetch of. */
uint64_t fetch_reach(const struct cache_file *f);

/* --- fetch.c: transfers --------------------------------------------------------------------------- */

#define FETCH_SPAN_LEAST (UINT64_C(256) << 10)   /* a request this long costs hardly more than one chunk */
#define FETCH_MAP_BYTES (UINT64_C(16) << 10)     /* of the map, at most, that a request of that length makes */

struct fetch_transfer {
    TAILQ_ENTRY(fetch_transfer) next;
    struct cache_file *file;       /* held; NULL: stopped, the answer no longer matters */
    struct cloud *cloud;           /* borrowed; outlives every request */
    struct cloud_request *request;
    uint64_t from, to;             /* absent bytes still to come; `from` moves up by whole chunks */
    uint64_t start;
    uint64_t reserved;             /* bytes of the disk */
    enum fetch_why why;            /* of what lies below: */
    uint64_t asked;                /* what follows comes with it, ahead */
    bool learned;                  /* metadata that came with it is in the index */
    /* fetch_object.c's: */
    struct fetch_inflow *in;       /* NULL: the bytes go from the socket into the file */
    char *key;                     /* below the prefix; owned */
    uint64_t object_size;
    bool late;                     /* the index had another version by the time it failed */
    struct cloud_meta meta;        /* what it says of size and binding */
};

/* Bytes that are wanted, and for what. */
struct fetch_wish {
    enum space_for what;
    enum fetch_why why;
    uint64_t to;
};

/* Begins a transfer of [from, to), or of the first part of it. 0; -EAGAIN: there is no space; -ESTALE: the index
 * has another version; or another negative errno. */
int fetch_start(struct cache_file *f, const struct fetch_wish *wish, uint64_t from, uint64_t to);
/* For fetch_object.c. Takes it from the file's transfers; t->file is NULL from then on. The caller holds the file. */
void fetch_detach(struct fetch_transfer *t);
/* It has failed, and `late` says whether it asked for what the index does not believe any more. */
void fetch_failed(struct cache_file *f, const struct fetch_transfer *t, const struct error *e, bool late);
/* All up to `to` is in the file. Metadata came with it. */
void fetch_arrived(struct fetch_transfer *t, uint64_t to);
void fetch_learn(struct fetch_transfer *t, const struct cloud_request *r);
bool fetch_asked_for_old(const struct cache_file *f, const struct cloud_request *r);
/* Looks up what version the cloud has, then goes on or fails all who wait. */
void fetch_refresh(struct cache_file *f);

/* --- fetch_plan.c: what to fetch next --------------------------------------------------------------- */

/* Begins what is wanted and may be begun. The caller holds the file. */
void fetch_plan(struct cache_file *f);
/* A reader that goes on where it stopped gets a growing window. */
void fetch_note_reader(struct cache_file *f, uint64_t from, uint64_t to);

/* --- fetch_object.c: what may be encrypted ----------------------------------------------------------- */

/* How the bytes of the version come; or negative errno: -EINPROGRESS (its head is on its way, and fetch_plan()
 * follows), or why it is refused. */
enum fetch_way { FETCH_STRAIGHT, FETCH_CHUNKS };
int fetch_object_ready(struct cache_file *f, const struct index_inode *i, uint64_t from);
/* Begins it, for a transfer that is among the file's. It may reach less far than was wanted. */
void fetch_object_start(struct fetch_transfer *t, const struct index_inode *i);
/* It was taken from the file's transfers; and it is to end. */
void fetch_inflow_detached(struct fetch_transfer *t, struct cache_file *f);
void fetch_inflow_stop(struct fetch_transfer *t);
/* Nothing is known of the file's version any more. */
void fetch_object_forget(struct cache_file *f);
/* Whether the chunk at this byte did not open a moment ago; whether one of the range that is not here did, with a
 * sentence. */
bool fetch_object_bad(const struct cache_file *f, uint64_t at);
bool fetch_object_refuses(const struct cache_file *f, uint64_t from, uint64_t to, struct error *e);
