/* Hauls: uploads and downloads that somebody asked for by the API, beside the drives. What all of them have in
 * common is here: their place among the transfers, who is next, pausing, ending, and the memory that requests and jobs
 * under way still use. A few of them move bytes at a time (HAULS_AT_ONCE), since each holds some in memory; the
 * others wait.
 *
 * A haul outlives the process: it is recorded (store_haul.h), and goes on in the next one under the same id. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "syncd/account_given.h"
#include "syncd/cloud.h"
#include "syncd/store_haul.h"
#include "syncd/transfer.h"

enum {
    HAULS_AT_ONCE = 3,
    HAULS_MOST = 1024,          /* that have not ended */
    HAUL_CHUNK = 16 << 20,      /* bytes that are moved by one request, unless there are too many for that */
    HAUL_LANES = 2,             /* chunks at once */
};

struct haul;
struct hauls;
struct syncd;

struct haul_ops {
    void (*go)(struct haul *e);       /* begins, or goes on after a pause */
    uint64_t (*moved)(struct haul *e);   /* bytes by now */
    void (*undo)(struct haul *e);     /* it has failed: removes what it has left, and sets `remains` where that is to
                                           be tried again by the next process. Nothing is under way */
    void (*free)(struct haul *e);     /* all of it; haul_wipe() is among it */
};

enum haul_state { HAUL_NEW, HAUL_WAITS, HAUL_RUNS, HAUL_PAUSED, HAUL_OVER };

typedef void haul_kept_fn(struct haul *e, const struct error *why, void *arg);

struct haul_call;
TAILQ_HEAD(haul_calls, haul_call);

/* The first member of each kind. */
struct haul {
    TAILQ_ENTRY(haul) next;
    struct syncd *d;
    const struct haul_ops *ops;
    struct account_given *account;      /* owned */
    char *bucket;                       /* owned */
    uint64_t trace;
    bool remains;
    struct { void *data; size_t n; } model, sealed;   /* of an account that is not stored */
    char *account_id;
    bool resumed;                       /* an earlier process began it, */
    int64_t begun_ns;                   /* then (wall clock) */
    /* haul.c's and haul_record.c's own */
    int64_t number;                     /* of its record; 0: it has none (yet) */
    haul_kept_fn *kept;
    void *kept_arg;
    struct transfer *transfer;
    enum haul_state state;
    struct error trouble;               /* why it cannot go on */
    bool undone, failed;
    bool heard, rests;                  /* the cloud has answered; it was not reached, and is tried again later */
    unsigned busy;                      /* requests and jobs under way */
    struct haul_calls calls;
};

/* Fills the common part. */
void haul_init(struct haul *e, struct syncd *d, const struct haul_ops *ops, uint64_t trace);
/* The account and the bucket of a request. 0, or a negative errno with a sentence. */
int haul_open(struct haul *e, const Lf__CloudAccount *account, const char *id, const char *bucket,
                struct error *why);
/* Sees to it that another process can use the account: keys that are stored nowhere are sealed. Calls done, from the
 * loop or at once, also when the haul is over: then with -ECANCELED. */
void haul_keep_account(struct haul *e, haul_kept_fn *done, void *arg);
/* One that has not begun, or is over: freed when no job is under way any more. */
void haul_drop(struct haul *e);
/* For ops->free. */
void haul_wipe(struct haul *e);

/* It is among the transfers from now on, recorded, and goes when its turn comes, from the loop. `spec` without
 * storage, control and arg; `h` has its kind and what is the kind's own. 0, or a negative errno with a sentence, and it
 * has not begun. */
int haul_begin(struct haul *e, struct transfer_spec *spec, struct store_haul *h, struct error *why);
/* The same for one that is recorded already, as haul_record.c found it. */
void haul_go_on(struct haul *e, struct transfer_spec *spec, enum store_haul_state state);
/* The transfer's, good until it ends. */
const char *haul_id(const struct haul *e);
void haul_sized(struct haul *e, uint64_t bytes);
/* Completed (why NULL or code 0) or failed. What is under way is ended; nothing else of it is called but undo and free,
 * later. */
void haul_end(struct haul *e, const struct error *why);
static inline bool haul_runs(const struct haul *e)
{
    return e->state == HAUL_RUNS;
}

/* Submits a request of its own (freed after done). done() comes, unless it is NULL or the haul is over by then; what
 * undo submits has its answers. `halted`: it was ended by a pause, and is to be made anew when the haul goes on. 0, or
 * a negative errno with a sentence, and the request is gone. */
typedef void haul_done_fn(struct haul *e, struct cloud_request *r, bool halted, void *item);
int haul_submit(struct haul *e, struct cloud_request *r, haul_done_fn *done, void *item, struct error *why);
struct cloud_request *haul_request(struct haul *e, enum cloud_op op, const char *key);

/* Runs work(job) in a thread of its own (apart.h: what it works at may never answer), then done(e, job), unless that is
 * NULL or the haul is over by then; job belongs to the work meanwhile. ops->free is not called before. */
void haul_work(struct haul *e, void (*work)(void *job), void (*done)(struct haul *e, void *job), void *job);

/* --- haul_record.c ------------------------------------------------------------------------------ */

/* Whether the request, which came again, has begun a transfer already; then the caller has been answered. */
bool haul_answered(struct syncd *d, struct ipc_request *req);
/* Answers the request that has begun it. */
void haul_begun(struct ipc_request *req, const char *id);
/* The request that a record is the effect of, as it is told from others. */
enum { HAUL_ORIGIN_SIZE = 40 };
void haul_origin(const struct ipc_request *req, char out[HAUL_ORIGIN_SIZE]);
/* A negative errno with a sentence when it cannot be recorded. */
int haul_record_parts(struct haul *e, int64_t begun_ns, const char *upload_id, struct error *why);
int haul_record_file(struct haul *e, const struct store_haul_file *f, struct error *why);
int haul_record_progress(struct haul *e, const struct store_haul_progress *p, const struct store_haul_file *ended,
                         size_t n);
/* What earlier ones have left goes on, or goes. Drives and accounts are there. */
void hauls_resume(struct syncd *d);   /* haul_resume.c */

/* --- all of them ---------------------------------------------------------------------------------- */

struct hauls *hauls_new(struct syncd *d);
/* The agent rests, or no longer: those that ran wait until it does not. */
void hauls_turn(struct hauls *all);
/* Calls done(arg), from the loop or at once: when nothing is moved and nothing waits for its turn any more, after so
 * many seconds, or when all are closed. */
void hauls_drain(struct hauls *all, unsigned seconds, void (*done)(void *arg), void *arg);
/* Leaves all of them to the next process. What is under way ends as the loop turns. */
void hauls_close(struct hauls *all);
/* Whether threads of theirs are under way, which keep what they work at when all is freed. */
bool hauls_working(const struct hauls *all);
void hauls_free(struct hauls *all);   /* NULL is fine */
