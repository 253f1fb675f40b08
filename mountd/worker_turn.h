/* Changes of a file's chunks that take a while, one after the other: who wants chunks that another one has, or that
 * another one waits for, waits until those before him are through. Knows neither files nor requests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct turn {
    TAILQ_ENTRY(turn) next;
    uint64_t first, last;          /* chunks */
    bool queued, ready;
    void (*go)(void *arg);         /* called once it is this one's turn, unless it was at once */
    void *arg;
};

TAILQ_HEAD(turns, turn);

/* For t->first to t->last; the caller's until turn_end(). True: it is its turn. False: go(arg) will be called, from
 * inside of another one's turn_end(). */
bool turn_begin(struct turns *all, struct turn *t);
/* Also of one that waits; nothing when it was never begun. */
void turn_end(struct turns *all, struct turn *t);
