/* What fetch.c and fetch_wait.c share. */
#pragma once

#include "syncd/fetch.h"

struct fetch_waiter {
    TAILQ_ENTRY(fetch_waiter) next;
    struct cache_file *file;
    uint64_t from, to;             /* what is left of its range; `from` moves up */
    enum space_for what;
    enum fetch_why why;
    struct loop_timer *timer;
    uint64_t ms;                   /* of the timer, and since when */
    int64_t since_ns;
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
