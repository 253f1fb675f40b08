/* What haul.c and haul_record.c share. */
#pragma once

#include "common/text.h"
#include "syncd/haul.h"

TAILQ_HEAD(haul_list, haul);
TAILQ_HEAD(haul_jobs, haul_job);
LIST_HEAD(haul_drains, haul_drain);

struct hauls {
    struct syncd *d;
    struct loop *loop;
    struct haul_list list;        /* those that are not over, as they came */
    unsigned n, running;
    struct loop_timer *turn;      /* somebody is to be looked for */
    struct loop_timer *rest;      /* until those that rest are tried again */
    struct apart *apart;          /* NULL: the pool has to do */
    struct haul_jobs jobs;        /* that wait for a thread */
    unsigned n_jobs;              /* that have one */
    struct haul_drains drains;    /* who waits until nothing is moved */
    bool closed;
    /* which requests have begun those that were resumed: they may come again when these have ended */
    struct haul_origin { char *origin, id[ID_SIZE]; } *origins;
    size_t n_origins;
};

/* --- haul_drain.c ------------------------------------------------------------------------------ */

/* Something ended, or waits no more. */
void haul_drains_look(struct hauls *all);

/* --- haul_record.c ----------------------------------------------------------------------------- */

int haul_record_begin(struct haul *e, struct store_haul *h, struct error *why);
/* A negative errno with a sentence when it cannot be recorded. */
int haul_record_state(struct haul *e, enum store_haul_state state, struct error *why);
void haul_record_end(struct haul *e);

/* --- haul_rest.c ------------------------------------------------------------------------------- */

/* One of its requests has ended so. Whether it is put off, and that request to be made anew. */
bool haul_rest(struct haul *e, int code);

/* --- haul.c ------------------------------------------------------------------------------------ */

void haul_next_turn_soon(struct hauls *all);
/* It gives its turn to others and waits for the next one. */
void haul_put_off(struct haul *e);
/* It is not freed in between. */
void haul_hold(struct haul *e);
void haul_release(struct haul *e);
/* One that has failed in an earlier process: what it has left goes. */
void haul_undo(struct haul *e);
