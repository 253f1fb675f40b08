/* Owns the region, who has which part of it, and the form of a call. Must not know what is sealed, nor where it is
 * kept. */
#include "common/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { PAGE = 4096, OTHERS_LOCK = 3 * 1024 * 1024 };

/* A part of the region that is taken. */
struct taken {
    TAILQ_ENTRY(taken) next;       /* by rising place */
    uint64_t at;
    size_t n;
    bool ended;                    /* whoever had it does not any more; see crypt_hold() */
};

struct waiter {
    STAILQ_ENTRY(waiter) next;
    struct crypt_place *place;
    size_t n;
    crypt_ready_fn *ready;
    void *arg;
};

struct crypt {
    struct loop *loop;
    int fd;
    uint8_t *base;
    size_t size;
    bool locked;
    unsigned holds;
    TAILQ_HEAD(taken_list, taken) taken;
    STAILQ_HEAD(, waiter) waiters;
};

/* --- the region -------------------------------------------------------------------------------------- */

/* Not the last of what this process may lock: others have things that must be in memory. */
static bool may_lock(size_t size)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && (limit.rlim_cur == RLIM_INFINITY ||
                                                      limit.rlim_cur >= size + OTHERS_LOCK);
}

static int map(struct crypt *c, size_t size)
{
    void *base;

    c->fd = memfd_create("landfall-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (c->fd < 0 || ftruncate(c->fd, (off_t)size) < 0 ||
        fcntl(c->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    c->base = base;
    c->size = size;
    (void)madvise(base, size, MADV_DONTDUMP);
    c->locked = may_lock(size) && mlock2(base, size, MLOCK_ONFAULT) == 0;
    return 0;
}

/* As large as can be locked, if that is enough to work with; else as large as it should be. */
static size_t fitting(size_t size, size_t least)
{
    return may_lock(size) || !may_lock(least) ? size : least;
}

int crypt_new(struct loop *l, size_t size, size_t least, struct crypt **ret, struct error *e)
{
    struct crypt *c = xcalloc(1, sizeof(*c));
    int r;

    c->loop = l;
    c->fd = -1;
    TAILQ_INIT(&c->taken);
    STAILQ_INIT(&c->waiters);
    r = map(c, fitting(size, least));
    if (r < 0) {
        crypt_free(c);
        return error_set(e, r, "There is no memory that could be shared with cryptd: %s.", strerror(-r));
    }
    *ret = c;
    return 0;
}

void crypt_free(struct crypt *c)
{
    struct waiter *w;
    struct taken *t;

    if (!c)
        return;
    while ((w = STAILQ_FIRST(&c->waiters))) {
        STAILQ_REMOVE_HEAD(&c->waiters, next);
        free(w);
    }
    while ((t = TAILQ_FIRST(&c->taken))) {
        TAILQ_REMOVE(&c->taken, t, next);
        free(t);
    }
    if (c->base)
        (void)munmap(c->base, c->size);
    cleanup_close(&c->fd);
    free(c);
}

void *crypt_memory(const struct crypt *c, size_t *ret_size)
{
    *ret_size = c->size;
    return c->base;
}

bool crypt_locked(const struct crypt *c)
{
    return c->locked;
}

static void shared(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)fds;
    (void)arg;
    if (!reply && e->code != -ECANCELED && e->code != -ECONNRESET)
        LOG(LOG_ERR, "region_refused", "error=%s", error_text(e));
}

void crypt_share(struct crypt *c, struct ipc_client *cryptd)
{
    Lf__CryptRegion msg = LF__CRYPT_REGION__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CRYPT_REGION, crypt_region, &msg);

    (void)ipc_call(cryptd, &env, &c->fd, 1, 0, shared, c);
}

/* --- places ------------------------------------------------------------------------------------------ */

/* In front of `before`; NULL: behind all. */
static void take(struct crypt *c, struct taken *before, uint64_t at, size_t n)
{
    struct taken *t = xcalloc(1, sizeof(*t));

    t->at = at;
    t->n = n;
    if (before)
        TAILQ_INSERT_BEFORE(before, t, next);
    else
        TAILQ_INSERT_TAIL(&c->taken, t, next);
}

/* Takes the first gap that is large enough. False: there is none. */
static bool find(struct crypt *c, size_t n, struct crypt_place *ret)
{
    uint64_t at = 0;
    struct taken *t;

    TAILQ_FOREACH(t, &c->taken, next) {
        if (t->at - at >= n)
            break;
        at = t->at + t->n;
    }
    if (!t && c->size - at < n)
        return false;
    take(c, t, at, n);
    *ret = (struct crypt_place){ .at = at, .bytes = c->base + at, .n = n };
    return true;
}

void crypt_place(struct crypt *c, size_t n, struct crypt_place *ret, crypt_ready_fn *ready, void *arg)
{
    size_t pages = (n + PAGE - 1) / PAGE * PAGE;
    struct waiter *w;

    if (n == 0 || pages > c->size / 2)
        abort();
    if (STAILQ_EMPTY(&c->waiters) && find(c, pages, ret)) {
        ready(arg);
        return;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct waiter){ .place = ret, .n = pages, .ready = ready, .arg = arg };
    STAILQ_INSERT_TAIL(&c->waiters, w, next);
}

bool crypt_place_last(struct crypt *c, size_t n, struct crypt_place *ret)
{
    size_t pages = (n + PAGE - 1) / PAGE * PAGE;
    const struct taken *last = TAILQ_LAST(&c->taken, taken_list);
    uint64_t end = last ? last->at + last->n : 0;

    if (n == 0 || !STAILQ_EMPTY(&c->waiters) || pages > c->size - end)
        return false;
    end = c->size - pages;
    take(c, NULL, end, pages);
    *ret = (struct crypt_place){ .at = end, .bytes = c->base + end, .n = pages };
    return true;
}

void crypt_place_cancel(struct crypt *c, const struct crypt_place *ret)
{
    struct waiter *w;

    STAILQ_FOREACH(w, &c->waiters, next)
        if (w->place == ret)
            break;
    if (!w)
        return;
    STAILQ_REMOVE(&c->waiters, w, waiter, next);
    free(w);
}

/* Whoever goes on may give back or ask for more. */
static void serve(struct crypt *c)
{
    struct waiter *w;

    while ((w = STAILQ_FIRST(&c->waiters)) && find(c, w->n, w->place)) {
        struct waiter served = *w;

        STAILQ_REMOVE_HEAD(&c->waiters, next);
        free(w);
        served.ready(served.arg);
    }
}

static void give_back(struct crypt *c, struct taken *t)
{
    TAILQ_REMOVE(&c->taken, t, next);
    free(t);
}

void crypt_place_end(struct crypt *c, struct crypt_place *p)
{
    struct taken *t;

    if (p->n == 0)
        return;
    TAILQ_FOREACH(t, &c->taken, next)
        if (t->at == p->at && !t->ended)
            break;
    if (!t)
        abort();
    *p = (struct crypt_place){ 0 };
    t->ended = true;
    if (c->holds > 0)
        return;
    give_back(c, t);
    serve(c);
}

void crypt_hold(struct crypt *c)
{
    c->holds++;
}

void crypt_release(struct crypt *c)
{
    struct taken *t, *following;

    if (--c->holds > 0)
        return;
    for (t = TAILQ_FIRST(&c->taken); t; t = following) {
        following = TAILQ_NEXT(t, next);
        if (t->ended)
            give_back(c, t);
    }
    serve(c);
}

void crypt_defer(struct crypt *c, void (*fn)(void *arg), void *arg)
{
    loop_defer(c->loop, fn, arg);
}

/* --- calls ------------------------------------------------------------------------------------------- */

struct run {
    struct crypt_chunk *chunks;
    size_t n;
    bool sealed;                   /* into the cache: there are records */
    crypt_done_fn *done;
    void *arg;
};

static int take_results(const struct run *run, const Lf__Crypted *reply)
{
    if (reply->n_chunks != run->n)
        return -EPROTO;
    for (size_t i = 0; i < run->n; i++) {
        const Lf__CryptedChunk *from = reply->chunks[i];
        struct crypt_chunk *to = &run->chunks[i];

        to->code = -from->code;
        if (to->code || !run->sealed)
            continue;
        if (!from->has_record || from->record.len != CACHE_RECORD_SIZE)
            return -EPROTO;
        memcpy(&to->record, from->record.data, CACHE_RECORD_SIZE);
    }
    return 0;
}

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct run *run = arg;
    struct error result = { 0 };
    int r;

    (void)fds;
    if (!reply)
        result = *e;
    else if ((r = take_results(run, reply->crypted)) < 0)
        error_set(&result, r, "cryptd's answer is not one to what it was asked.");
    run->done(&result, run->arg);
}

static ProtobufCBinaryData bytes(const void *data, size_t n)
{
    return (ProtobufCBinaryData){ .len = n, .data = (uint8_t *)(uintptr_t)data };
}

static void describe(const struct crypt_call *call, const struct crypt_chunk *from, Lf__CryptChunk *to)
{
    lf__crypt_chunk__init(to);
    to->number = from->number;
    to->length = from->length;
    to->in_at = from->in_at;
    to->out_at = from->out_at;
    to->has_zeros = to->zeros = call->from == CRYPT_CACHE && from->zeros;
    to->has_record = call->from == CRYPT_CACHE && !from->zeros;
    to->record = bytes(&from->record, CACHE_RECORD_SIZE);
    to->has_generation = call->to == CRYPT_CACHE;
    to->generation = from->generation;
    to->has_last = call->from == CRYPT_OBJECT || call->to == CRYPT_OBJECT;
    to->last = from->last;
}

void crypt_run(const struct crypt_call *call, crypt_done_fn *done, void *arg)
{
    Lf__Crypt msg = LF__CRYPT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CRYPT, crypt, &msg);
    struct run *run = xcalloc(1, sizeof(*run));
    Lf__CryptChunk chunks[CRYPT_CHUNKS_MAX], *list[CRYPT_CHUNKS_MAX];

    if (call->n == 0 || call->n > CRYPT_CHUNKS_MAX)
        abort();
    for (size_t i = 0; i < call->n; i++) {
        describe(call, &call->chunks[i], &chunks[i]);
        list[i] = &chunks[i];
    }
    msg.from = call->from;
    msg.to = call->to;
    msg.has_from_key = call->from != CRYPT_PLAIN;
    msg.from_key = bytes(call->from_key, CRYPT_KEY);
    msg.has_to_key = call->to != CRYPT_PLAIN;
    msg.to_key = bytes(call->to_key, CRYPT_KEY);
    msg.chunks = list;
    msg.n_chunks = call->n;
    *run = (struct run){
        .chunks = call->chunks, .n = call->n, .sealed = call->to == CRYPT_CACHE, .done = done, .arg = arg,
    };
    call->asker.ask(call->asker.arg, &env, answered, run);
}
