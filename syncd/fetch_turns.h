/* Whole files that are fetched because they are wanted later, so many beside one another. A file whose download
 * somebody has paused stays, and lets another have its turn. */
#pragma once

#include "syncd/fetch.h"

enum { FETCH_TURNS_AT_ONCE = 4, FETCH_TURNS_MOST = 256 };

struct fetch_turns {
    LIST_ENTRY(fetch_turns) next;    /* of the drive's, while there are turns */
    LIST_HEAD(, fetch_turn) turns;
    size_t n;
    /* A file is here, or cannot be had; it is held until that returns. */
    void (*done)(struct cache_file *f, const struct error *e, void *arg);
    /* There may be room, or nothing left that is under way. May come while done() is on the stack of a caller, and so
     * must only note it. */
    void (*moved)(void *arg);
    void *arg;
};

/* Another one may begin: fewer than FETCH_TURNS_AT_ONCE are under way, and with those that are paused there are fewer
 * than FETCH_TURNS_MOST. */
bool fetch_turns_room(const struct fetch_turns *t);
/* None is under way; paused ones there may be. */
bool fetch_turns_rest(const struct fetch_turns *t);
bool fetch_turns_have(const struct fetch_turns *t, const struct cache_file *f);
/* Begins with the file, whose hold it takes over; `fetch` is fetch_whole or fetch_once. */
void fetch_turns_add(struct fetch_turns *t, struct cache_file *f,
                     void (*fetch)(struct cache_file *f, fetch_done_fn *done, void *arg));
/* Ends those for which which() answers true, without done(). What is on its way for them alone is stopped. */
void fetch_turns_drop(struct fetch_turns *t, bool (*which)(struct cache_file *f));
/* Ends all. Those that are here go on coming, while there is anybody who wants them, unless `stop`. */
void fetch_turns_end(struct fetch_turns *t, bool stop);

/* A file of the drive was paused or resumed. */
void fetch_turns_changed(struct volume *v);
