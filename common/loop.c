/* Owns the process's event base, its deferred calls and timers, and the pool of threads that
 * takes blocking work off the loop. The pool's mutex is the only lock in the tree: a job is
 * touched by one thread at a time, and what it works on belongs to it alone.
 *
 * Must not know what the daemon does.
 */
#include "common/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "common/sandbox.h"

struct job {
    STAILQ_ENTRY(job) next;
    void (*work)(void *arg);   /* NULL: nothing left to do but done */
    void (*done)(void *arg);
    void *arg;
};
STAILQ_HEAD(job_list, job);

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t wanted;
    struct job_list todo, finished;   /* under mutex */
    bool stopping;                    /* under mutex */
    size_t n_jobs;                    /* given and not done; the loop's */
    pthread_t *threads;
    unsigned n_threads;
    int wake_fd;                      /* eventfd: something is in finished */
    struct event *wake;
};

struct loop {
    struct event_base *base;
    struct event *signals[2];
    struct event *deferral;
    struct job_list deferred;
    struct pool pool;
    void (*stopping)(void *arg);
    void *stopping_arg;
    bool stop_asked, exiting;
    int status;
};

struct loop_timer {
    struct event *event;
    void (*fn)(void *arg);
    void *arg;
};

static struct job *job_new(void (*work)(void *), void (*done)(void *), void *arg)
{
    struct job *j = malloc(sizeof(*j));

    if (!j)
        abort();
    *j = (struct job){ .work = work, .done = done, .arg = arg };
    return j;
}

static void finish_jobs(struct job_list *list)
{
    struct job *j;

    while ((j = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, next);
        if (j->work)
            j->work(j->arg);
        j->done(j->arg);
        free(j);
    }
}

static void drop_jobs(struct job_list *list)
{
    struct job *j;

    while ((j = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, next);
        free(j);
    }
}

/* --- the pool ------------------------------------------------------------------------------ */

static struct job *next_job(struct pool *p)
{
    struct job *j;

    while (!p->stopping && STAILQ_EMPTY(&p->todo))
        (void)pthread_cond_wait(&p->wanted, &p->mutex);
    j = p->stopping ? NULL : STAILQ_FIRST(&p->todo);
    if (j)
        STAILQ_REMOVE_HEAD(&p->todo, next);
    return j;
}

static void *pool_thread(void *arg)
{
    struct pool *p = arg;
    struct job *j;

    (void)pthread_mutex_lock(&p->mutex);
    while ((j = next_job(p))) {
        (void)pthread_mutex_unlock(&p->mutex);
        j->work(j->arg);
        j->work = NULL;
        (void)pthread_mutex_lock(&p->mutex);
        STAILQ_INSERT_TAIL(&p->finished, j, next);
        (void)eventfd_write(p->wake_fd, 1);
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return NULL;
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
    struct pool *p = arg;
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct job *j;
    eventfd_t n;

    (void)what;
    (void)eventfd_read(fd, &n);
    (void)pthread_mutex_lock(&p->mutex);
    STAILQ_CONCAT(&finished, &p->finished);
    (void)pthread_mutex_unlock(&p->mutex);
    STAILQ_FOREACH(j, &finished, next)
        p->n_jobs--;
    finish_jobs(&finished);
}

/* Signals are the loop's; only the sandbox must reach every thread. */
static int start_threads(struct pool *p, unsigned n)
{
    sigset_t blocked, before;
    int r = 0;

    (void)sigfillset(&blocked);
    (void)sigdelset(&blocked, SANDBOX_SIGNAL);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    while (r == 0 && p->n_threads < n) {
        r = -pthread_create(&p->threads[p->n_threads], NULL, pool_thread, p);
        if (r == 0)
            p->n_threads++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static int start_pool(struct loop *l, unsigned threads)
{
    struct pool *p = &l->pool;

    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake_fd < 0)
        return -errno;
    p->wake = event_new(l->base, p->wake_fd, EV_READ | EV_PERSIST, on_finished, p);
    p->threads = calloc(threads, sizeof(*p->threads));
    if (!p->wake || !p->threads || event_add(p->wake, NULL) < 0)
        return -ENOMEM;
    return start_threads(p, threads);
}

static void stop_pool(struct pool *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    (void)pthread_cond_broadcast(&p->wanted);
    (void)pthread_mutex_unlock(&p->mutex);
    while (p->n_threads > 0)
        (void)pthread_join(p->threads[--p->n_threads], NULL);
    free(p->threads);
    if (p->wake)
        event_free(p->wake);
    if (p->wake_fd >= 0)
        (void)close(p->wake_fd);
    drop_jobs(&p->todo);
    drop_jobs(&p->finished);
    (void)pthread_cond_destroy(&p->wanted);
    (void)pthread_mutex_destroy(&p->mutex);
}

static void defer(struct loop *l, struct job *j)
{
    STAILQ_INSERT_TAIL(&l->deferred, j, next);
    event_active(l->deferral, EV_TIMEOUT, 0);
}

void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct pool *p = &l->pool;
    struct job *j = job_new(work, done, arg);

    if (p->n_threads == 0) {
        defer(l, j);
        return;
    }
    p->n_jobs++;
    (void)pthread_mutex_lock(&p->mutex);
    STAILQ_INSERT_TAIL(&p->todo, j, next);
    (void)pthread_cond_signal(&p->wanted);
    (void)pthread_mutex_unlock(&p->mutex);
}

bool loop_working(const struct loop *l)
{
    return l->pool.n_jobs > 0 || !STAILQ_EMPTY(&l->deferred);
}

/* --- deferred calls and timers --------------------------------------------------------------- */

static void on_deferral(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    struct job_list now = STAILQ_HEAD_INITIALIZER(now);

    (void)fd;
    (void)what;
    STAILQ_CONCAT(&now, &l->deferred);   /* what a callback adds has its turn later */
    finish_jobs(&now);
}

void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg)
{
    defer(l, job_new(NULL, fn, arg));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    t->fn(t->arg);
}

struct loop_timer *loop_timer(struct loop *l, uint64_t ms, void (*fn)(void *arg), void *arg)
{
    struct timeval tv = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
    struct loop_timer *t = malloc(sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct loop_timer){ .event = event_new(l->base, -1, 0, on_timer, t), .fn = fn, .arg = arg };
    if (!t->event || event_add(t->event, &tv) < 0) {
        loop_timer_free(t);
        return NULL;
    }
    return t;
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    if (t->event)
        event_free(t->event);
    free(t);
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
    (void)sig;
    (void)what;
    loop_stop(arg);
}

static int watch_signals(struct loop *l)
{
    static const int numbers[] = { SIGTERM, SIGINT };

    for (size_t i = 0; i < 2; i++) {
        l->signals[i] = evsignal_new(l->base, numbers[i], on_signal, l);
        if (!l->signals[i] || event_add(l->signals[i], NULL) < 0)
            return -ENOMEM;
    }
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -errno : 0;
}

static int start(struct loop *l, unsigned threads)
{
    int r;

    l->base = event_base_new();
    if (!l->base)
        return -ENOMEM;
    l->deferral = event_new(l->base, -1, 0, on_deferral, l);
    if (!l->deferral)
        return -ENOMEM;
    r = watch_signals(l);
    return r == 0 && threads > 0 ? start_pool(l, threads) : r;
}

struct loop *loop_new(unsigned threads)
{
    struct loop *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    STAILQ_INIT(&l->deferred);
    STAILQ_INIT(&l->pool.todo);
    STAILQ_INIT(&l->pool.finished);
    (void)pthread_mutex_init(&l->pool.mutex, NULL);
    (void)pthread_cond_init(&l->pool.wanted, NULL);
    l->pool.wake_fd = -1;
    if (start(l, threads) < 0) {
        loop_free(l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    stop_pool(&l->pool);
    drop_jobs(&l->deferred);
    for (size_t i = 0; i < 2; i++)
        if (l->signals[i])
            event_free(l->signals[i]);
    if (l->deferral)
        event_free(l->deferral);
    if (l->base)
        event_base_free(l->base);
    free(l);
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

void loop_on_stop(struct loop *l, void (*stopping)(void *arg), void *arg)
{
    l->stopping = stopping;
    l->stopping_arg = arg;
}

/* A terminal's Ctrl-C and the supervisor's SIGTERM arrive together: the second changes nothing. */
void loop_stop(struct loop *l)
{
    if (l->stop_asked)
        return;
    l->stop_asked = true;
    if (l->stopping)
        l->stopping(l->stopping_arg);
    else
        loop_exit(l, 0);
}

void loop_exit(struct loop *l, int status)
{
    l->exiting = true;
    l->status = status;
    (void)event_base_loopbreak(l->base);
}

int loop_run(struct loop *l)
{
    while (!l->exiting)
        if (event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            return EXIT_FAILURE;
    return l->status;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    int r = clock_gettime(clock, &ts);

    assert(r == 0);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t loop_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t loop_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}
