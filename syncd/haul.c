/* What all hauls have in common. Must not know what any of them does. */
#include "syncd/haul.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/agent.h"
#include "syncd/apart.h"
#include "syncd/syncd.h"

enum { THREADS_MOST = 16 };

TAILQ_HEAD(haul_list, haul);
TAILQ_HEAD(haul_jobs, haul_job);

struct hauls {
    struct syncd *d;
    struct loop *loop;
    struct haul_list list;      /* those that are not over, as they came */
    unsigned n, running;
    struct loop_timer *turn;      /* somebody is to be looked for */
    struct apart *apart;          /* NULL: the pool has to do */
    struct haul_jobs jobs;        /* that wait for a thread */
    unsigned n_jobs;              /* that have one */
    bool closed;
};

struct haul_call {
    TAILQ_ENTRY(haul_call) next;
    struct haul *haul;
    struct cloud_request *request;
    haul_done_fn *done;         /* NULL: nobody waits for it */
    void *item;
    bool halted;
};

struct haul_job {
    TAILQ_ENTRY(haul_job) next;
    struct hauls *all;
    struct haul *haul;
    void (*work)(void *job);
    void (*done)(struct haul *e, void *job);
    void *job;
};

/* --- life ----------------------------------------------------------------------------------------------- */

void haul_init(struct haul *e, struct syncd *d, const struct haul_ops *ops, uint64_t trace)
{
    e->d = d;
    e->ops = ops;
    e->trace = trace;
    TAILQ_INIT(&e->calls);
    TAILQ_INSERT_TAIL(&d->hauls->list, e, next);
    d->hauls->n++;
}

int haul_open(struct haul *e, const Lf__CloudAccount *account, const char *id, const char *bucket,
                struct error *why)
{
    struct cloud *cloud;
    int r;

    if (e->d->hauls->n > HAULS_MOST)
        return error_set(why, -EAGAIN, "%d transfers are waiting already; try again when some have ended.",
                         HAULS_MOST);
    if (agent_rests(e->d))
        return error_set(why, -EBUSY, "The agent is paused or disposed; nothing is transferred until it is resumed.");
    if (!bucket || !*bucket)
        return error_set(why, -EINVAL, "storageName is missing.");
    e->bucket = xstrdup(bucket);
    r = account_given_open(e->d, account, id, &e->account, why);
    return r < 0 ? r : account_given_cloud(e->account, &cloud, why);
}

void haul_wipe(struct haul *e)
{
    account_given_close(e->account);
    free(e->bucket);
}

/* Undone first where it did not complete, freed when nothing is under way any more. */
static void settle(struct haul *e)
{
    if (e->state != HAUL_OVER || e->busy)
        return;
    if (e->failed && !e->undone) {
        e->undone = true;
        e->busy++;
        e->ops->undo(e);
        e->busy--;
    }
    if (!e->busy)
        e->ops->free(e);
}

/* --- turns ------------------------------------------------------------------------------------------------ */

static void run(struct hauls *all, struct haul *e)
{
    e->state = HAUL_RUNS;
    all->running++;
    e->busy++;
    e->ops->go(e);
    e->busy--;
    settle(e);
}

static void next_turn(struct hauls *all)
{
    struct haul *e, *next;

    for (e = TAILQ_FIRST(&all->list); e && all->running < HAULS_AT_ONCE && !agent_rests(all->d); e = next) {
        next = TAILQ_NEXT(e, next);
        if (e->state != HAUL_WAITS)
            continue;
        run(all, e);
        next = TAILQ_FIRST(&all->list);   /* it may have ended, or another one with it */
    }
}

static void turn(void *arg)
{
    struct hauls *all = arg;

    loop_timer_free(take_ptr(all->turn));
    next_turn(all);
}

static void next_turn_soon(struct hauls *all)
{
    if (!all->closed && !all->turn)
        all->turn = loop_timer(all->loop, 0, turn, all);
}

static void halt(struct haul *e)
{
    struct haul_call *c;

    TAILQ_FOREACH(c, &e->calls, next) {
        c->halted = true;
        if (c->request->cloud)
            cloud_cancel(c->request->cloud, c->request);
    }
}

static void leave(struct haul *e)
{
    if (e->state == HAUL_RUNS)
        e->d->hauls->running--;
    next_turn_soon(e->d->hauls);
}

static int pause_it(void *arg, struct error *why)
{
    struct haul *e = arg;

    (void)why;
    leave(e);
    e->state = HAUL_PAUSED;
    halt(e);
    return 0;
}

static int resume_it(void *arg, struct error *why)
{
    struct haul *e = arg;

    (void)why;
    e->state = HAUL_WAITS;
    next_turn_soon(e->d->hauls);
    return 0;
}

static int cancel_it(void *arg, struct error *why)
{
    (void)error_set(why, -ECANCELED, "%s", "It was canceled.");
    haul_end(arg, why);
    return 0;
}

static uint64_t moved_by(void *arg)
{
    struct haul *e = arg;

    return e->ops->moved(e);
}

static const struct transfer_control control = {
    .pause = pause_it, .resume = resume_it, .cancel = cancel_it, .moved = moved_by,
};

const char *haul_begin(struct haul *e, struct transfer_spec *spec)
{
    struct cloud *cloud = NULL;

    (void)account_given_cloud(e->account, &cloud, NULL);
    spec->storage_type = cloud ? cloud_type_name((int)cloud->type) : "";
    spec->storage_name = e->bucket;
    spec->control = &control;
    spec->arg = e;
    e->transfer = transfer_begin(e->d->transfers, spec);
    e->state = HAUL_WAITS;
    next_turn_soon(e->d->hauls);
    return transfer_id(e->transfer);
}

void haul_sized(struct haul *e, uint64_t bytes)
{
    transfer_set_size(e->transfer, bytes);
}

static void over(struct haul *e)
{
    leave(e);
    e->state = HAUL_OVER;
    TAILQ_REMOVE(&e->d->hauls->list, e, next);
    e->d->hauls->n--;
    halt(e);
    settle(e);
}

void haul_drop(struct haul *e)
{
    over(e);
}

void haul_end(struct haul *e, const struct error *why)
{
    if (e->state == HAUL_OVER)
        return;
    e->failed = why && why->code;
    if (e->failed && why->code != -ECANCELED)
        LOG_TRACE(LOG_NOTICE, e->trace, "transfer_failed", "transfer=%s", transfer_id(e->transfer), "error=%s",
                  error_meaning(why->code)->text);
    transfer_end(take_ptr(e->transfer), why);
    over(e);
}

/* --- requests ------------------------------------------------------------------------------------------- */

struct cloud_request *haul_request(struct haul *e, enum cloud_op op, const char *key)
{
    struct cloud_request *r = cloud_request_new(op, NULL, NULL);

    cloud_request_set(&r->bucket, e->bucket);
    cloud_request_set(&r->key, key);
    r->trace = e->trace;
    r->yields = true;
    return r;
}

static void answered(struct cloud_request *r, void *arg)
{
    struct haul_call *c = arg;
    struct haul *e = c->haul;
    bool halted = c->halted && r->error.code == -ECANCELED;

    TAILQ_REMOVE(&e->calls, c, next);
    if (r->error.code == -ECANCELED && !halted)   /* by nobody who asked for the transfer */
        error_set(&r->error, -ENOENT, "The account was removed while this was under way.");
    if (e->state != HAUL_OVER && c->done)
        c->done(e, r, halted, c->item);
    cloud_request_free(r);
    free(c);
    e->busy--;
    settle(e);
}

int haul_submit(struct haul *e, struct cloud_request *r, haul_done_fn *done, void *item, struct error *why)
{
    struct cloud *cloud;
    struct haul_call *c;
    int failed = account_given_cloud(e->account, &cloud, why);

    if (failed) {
        cloud_request_free(r);
        return failed;
    }
    c = xcalloc(1, sizeof(*c));
    *c = (struct haul_call){ .haul = e, .request = r, .done = done, .item = item };
    TAILQ_INSERT_TAIL(&e->calls, c, next);
    r->done = answered;
    r->arg = c;
    e->busy++;
    cloud_submit(cloud, r);
    return 0;
}

/* --- jobs ------------------------------------------------------------------------------------------------- */

static void job_work(void *arg)
{
    struct haul_job *j = arg;

    j->work(j->job);
}

static void end_job(struct haul_job *j)
{
    struct haul *e = j->haul;

    if (e->state != HAUL_OVER && j->done)
        j->done(e, j->job);
    free(j);
    e->busy--;
    settle(e);
}

static void start_jobs(struct hauls *all);

static void job_done(void *arg)
{
    struct haul_job *j = arg;
    struct hauls *all = j->all;

    all->n_jobs--;
    end_job(j);
    start_jobs(all);
}

/* The end of another one is waited for, where there is one. */
static int start_job(struct hauls *all, struct haul_job *j)
{
    int r = all->apart ? apart_run(all->apart, job_work, job_done, j) : -EAGAIN;

    if (r == 0 || all->n_jobs > 0)
        return r;
    loop_work(all->loop, job_work, job_done, j);
    return 0;
}

static void start_jobs(struct hauls *all)
{
    struct haul_job *j;

    while ((j = TAILQ_FIRST(&all->jobs)) && start_job(all, j) == 0) {
        TAILQ_REMOVE(&all->jobs, j, next);
        all->n_jobs++;
    }
}

void haul_work(struct haul *e, void (*work)(void *job), void (*done)(struct haul *e, void *job), void *job)
{
    struct haul_job *j = xcalloc(1, sizeof(*j));

    *j = (struct haul_job){ .all = e->d->hauls, .haul = e, .work = work, .done = done, .job = job };
    e->busy++;
    TAILQ_INSERT_TAIL(&e->d->hauls->jobs, j, next);
    start_jobs(e->d->hauls);
}

/* --- all of them -------------------------------------------------------------------------------------------- */

struct hauls *hauls_new(struct syncd *d)
{
    struct hauls *all = xcalloc(1, sizeof(*all));

    all->d = d;
    all->loop = d->loop;
    all->apart = apart_new(d->loop, THREADS_MOST);
    TAILQ_INIT(&all->list);
    TAILQ_INIT(&all->jobs);
    return all;
}

void hauls_turn(struct hauls *all)
{
    struct haul *e;

    TAILQ_FOREACH(e, &all->list, next)
        if (e->state == HAUL_RUNS && agent_rests(all->d)) {
            leave(e);
            e->state = HAUL_WAITS;
            halt(e);
        }
    next_turn_soon(all);
}

bool hauls_working(const struct hauls *all)
{
    return all->n_jobs > 0;
}

void hauls_close(struct hauls *all)
{
    struct error canceled;
    struct haul_job *j;
    struct haul *e;

    if (!all)
        return;
    all->closed = true;
    while ((e = TAILQ_FIRST(&all->list))) {
        e->closing = e->undone = true;
        e->ops->undo(e);
        (void)cancel_it(e, &canceled);
    }
    while ((j = TAILQ_FIRST(&all->jobs))) {
        TAILQ_REMOVE(&all->jobs, j, next);
        end_job(j);
    }
}

void hauls_free(struct hauls *all)
{
    if (!all)
        return;
    hauls_close(all);
    loop_timer_free(all->turn);
    apart_free(all->apart);
    free(all);
}
