/* What all hauls have in common. Must not know what any of them does. */
#include "syncd/haul_internal.h"

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

struct haul_call {
    TAILQ_ENTRY(haul_call) next;
    struct haul *haul;
    struct cloud_request *request;
    haul_done_fn *done;         /* NULL: nobody waits for it */
    void *item;
    bool halted;
    bool undoes;                /* it is heard of when the haul is over */
};

struct haul_job {
    TAILQ_ENTRY(haul_job) next;
    struct hauls *all;
    struct haul *haul;
    void (*work)(void *job);
    void (*done)(struct haul *e, void *job);
    void *job;
    bool undoes;
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
    free(e->account_id);
    free(e->model.data);
    free(e->sealed.data);
}

/* Undone first where it did not complete, freed when nothing is under way any more. */
static void settle(struct haul *e)
{
    bool later = e->number && e->d->hauls->closed;   /* by the next process */

    if (e->state != HAUL_OVER || e->busy)
        return;
    if (e->failed && !e->undone && !later) {
        e->undone = true;
        e->busy++;
        e->ops->undo(e);
        e->busy--;
    }
    if (e->busy)
        return;
    if (e->failed && !e->remains && !later)
        haul_record_end(e);
    e->ops->free(e);
}

void haul_hold(struct haul *e)
{
    e->busy++;
}

void haul_release(struct haul *e)
{
    e->busy--;
    settle(e);
}

/* --- turns ------------------------------------------------------------------------------------------------ */

static void run(struct hauls *all, struct haul *e)
{
    e->state = HAUL_RUNS;
    all->running++;
    e->busy++;
    if (e->trouble.code)
        haul_end(e, &e->trouble);
    else
        e->ops->go(e);
    e->busy--;
    settle(e);
}

static void next_turn(struct hauls *all)
{
    struct haul *e, *next;

    for (e = TAILQ_FIRST(&all->list); e && all->running < HAULS_AT_ONCE && !agent_rests(all->d); e = next) {
        next = TAILQ_NEXT(e, next);
        if (e->state != HAUL_WAITS || e->rests)
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
    haul_drains_look(all);
}

void haul_next_turn_soon(struct hauls *all)
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
    haul_next_turn_soon(e->d->hauls);
}

void haul_put_off(struct haul *e)
{
    leave(e);
    e->state = HAUL_WAITS;
    halt(e);
}

static int pause_it(void *arg, struct error *why)
{
    struct haul *e = arg;
    int r = haul_record_state(e, STORE_HAUL_PAUSED, why);

    if (r < 0)
        return r;
    leave(e);
    e->state = HAUL_PAUSED;
    halt(e);
    return 0;
}

static int resume_it(void *arg, struct error *why)
{
    struct haul *e = arg;
    int r = haul_record_state(e, STORE_HAUL_GOES, why);

    if (r < 0)
        return r;
    e->state = HAUL_WAITS;
    haul_next_turn_soon(e->d->hauls);
    return 0;
}

static int cancel_it(void *arg, struct error *why)
{
    struct error canceled;

    (void)why;
    error_set(&canceled, -ECANCELED, "%s", "It was canceled.");
    haul_end(arg, &canceled);
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

static void announce(struct haul *e, struct transfer_spec *spec)
{
    struct cloud *cloud = NULL;

    if (e->account)
        (void)account_given_cloud(e->account, &cloud, NULL);
    spec->storage_type = cloud ? cloud_type_name((int)cloud->type) : "";
    spec->storage_name = e->bucket;
    spec->control = &control;
    spec->arg = e;
    e->transfer = transfer_begin(e->d->transfers, spec);
}

int haul_begin(struct haul *e, struct transfer_spec *spec, struct store_haul *h, struct error *why)
{
    int r;

    announce(e, spec);
    r = haul_record_begin(e, h, why);
    if (r < 0) {
        transfer_end(take_ptr(e->transfer), why);
        return r;
    }
    e->state = HAUL_WAITS;
    haul_next_turn_soon(e->d->hauls);
    return 0;
}

void haul_go_on(struct haul *e, struct transfer_spec *spec, enum store_haul_state state)
{
    spec->begun_wall_ns = e->begun_ns;
    spec->paused = state == STORE_HAUL_PAUSED;
    announce(e, spec);
    e->state = spec->paused ? HAUL_PAUSED : HAUL_WAITS;
    haul_next_turn_soon(e->d->hauls);
}

const char *haul_id(const struct haul *e)
{
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
    if (e->state != HAUL_OVER)
        over(e);
}

void haul_undo(struct haul *e)
{
    e->failed = true;
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
    if (e->failed)
        (void)haul_record_state(e, STORE_HAUL_FAILED, NULL);   /* or the next process finds it out */
    else
        haul_record_end(e);
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
    halted |= haul_rest(e, r->error.code);
    if (r->error.code == -ECANCELED && !halted && !e->d->hauls->closed)   /* by nobody who asked for the transfer */
        error_set(&r->error, -ENOENT, "The account was removed while this was under way.");
    if ((e->state != HAUL_OVER || c->undoes) && c->done)
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
    int failed;

    if (e->d->hauls->closed)   /* no account is opened any more */
        failed = error_set(why, -ECANCELED, "The agent ends.");
    else if (e->account)
        failed = account_given_cloud(e->account, &cloud, why);
    else
        failed = error_set(why, e->trouble.code, "%s", error_text(&e->trouble));
    if (failed) {
        cloud_request_free(r);
        return failed;
    }
    c = xcalloc(1, sizeof(*c));
    *c = (struct haul_call){ .haul = e, .request = r, .done = done, .item = item, .undoes = e->undone };
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

    if ((e->state != HAUL_OVER || (j->undoes && !j->all->closed)) && j->done)
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

    *j = (struct haul_job){ .all = e->d->hauls, .haul = e, .work = work, .done = done, .job = job,
                           .undoes = e->undone };
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
    LIST_INIT(&all->drains);
    return all;
}

void hauls_turn(struct hauls *all)
{
    struct haul *e;

    TAILQ_FOREACH(e, &all->list, next)
        if (e->state == HAUL_RUNS && agent_rests(all->d))
            haul_put_off(e);
    haul_next_turn_soon(all);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

bool hauls_working(const struct hauls *all)
{
    return all->n_jobs > 0;
}

/* One that has not begun has left nothing, the next process goes on with the others. */
static void close_one(struct haul *e)
{
    transfer_leave(take_ptr(e->transfer));
    over(e);
}

void hauls_close(struct hauls *all)
{
    struct haul_job *j;

    if (!all)
        return;
    all->closed = true;
    while (!TAILQ_EMPTY(&all->list))
        close_one(TAILQ_FIRST(&all->list));
    while ((j = TAILQ_FIRST(&all->jobs))) {
        TAILQ_REMOVE(&all->jobs, j, next);
        end_job(j);
    }
    haul_drains_look(all);
}

void hauls_free(struct hauls *all)
{
    if (!all)
        return;
    hauls_close(all);
    loop_timer_free(all->turn);
    loop_timer_free(all->rest);
    apart_free(all->apart);
    for (size_t i = 0; i < all->n_origins; i++)
        free(all->origins[i].origin);
    free(all->origins);
    free(all);
}
