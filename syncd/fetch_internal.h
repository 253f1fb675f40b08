/* What fetch.c, fetch_plan.c and fetch_wait.c share. */
#pragma once

#include "syncd/fetch.h"

struct fetch_waiter {
    TAILQ_ENTRY(fetch_waiter) next;
    struct cache_file *file;
    uint64_t from, to;             /* what is left of its range; `from` moves up */
    enum space_for what;
    enum fetch_why why;
    struct loop_timer *timer;
    uint64_t ms;                   /* of the timer */
    int64_t since_ns;              /* when it began to wait */
    fetch_done_fn *done;
    void *arg;
};

/* Calls done at once and returns NULL when there is nothing to fetch. The caller holds the file. */
struct fetch_waiter *fetch_wait(struct cache_file *f, uint64_t from, uint64_t to, fetch_done_fn *done, void *arg);
void fetch_wait_until(struct fetch_waiter *w, uint64_t ms);
/* Answers those whose bytes are here; with `e` those who wait for some of [from, to), all, or those for whom
 * there is no space. */
void fetch_wake(struct cache_file *f);
void fetch_fail_within(struct cache_file *f, uint64_t from, uint64_t to, const struct error *e);
void fetch_fail_all(struct cache_file *f, const struct error *e);
void fetch_fail_lacking(struct cache_file *f, const struct error *e);

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
/* Looks up what version the cloud has, then goes on or fails all who wait. */
void fetch_refresh(struct cache_file *f);

/* --- fetch_plan.c: what to fetch next --------------------------------------------------------------- */

/* Begins what is wanted and may be begun. The caller holds the file. */
void fetch_plan(struct cache_file *f);
/* A reader that goes on where it stopped gets a growing window. */
void fetch_note_reader(struct cache_file *f, uint64_t from, uint64_t to);
