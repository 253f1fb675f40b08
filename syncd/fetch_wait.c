/* Owns who waits for which bytes of a cache file, and telling them.
 *
 * Must not know how the bytes come (fetch.c). */
#include "syncd/fetch_internal.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/number.h"

static const int64_t REPEAT_NS = INT64_C(500) * 1000000, LONG_NS = INT64_C(500) * 1000000;

static void free_waiter(struct fetch_waiter *w)
{
    TAILQ_REMOVE(&w->file->fetch.waiters, w, next);
    loop_timer_free(w->timer);
    free(w);
}

static void note_vain(const struct fetch_waiter *w, const struct error *e)
{
    struct fetch *t = &w->file->fetch;
    int64_t now = loop_now_ns();

    if (!e->code || !w->ms || now - w->since_ns < LONG_NS)
        return;
    t->vain.from = w->from;
    t->vain.to = w->to;
    t->vain.ms = w->ms;
    t->vain.ns = now;
    t->vain.code = e->code;
}

/* The file may be gone afterwards unless the caller holds it. */
static void answer(struct fetch_waiter *w, const struct error *e)
{
    fetch_done_fn *done = w->done;
    void *arg = w->arg;

    note_vain(w, e);
    free_waiter(w);
    done(e, arg);
}

static void on_deadline(void *arg)
{
    struct fetch_waiter *w = arg;
    struct error e;

    error_set(&e, w->ms ? -ETIMEDOUT : w->file->fetch.vain.code, "The cloud did not deliver the file's bytes in time.");
    answer(w, &e);
}

/* A page that could not be read ahead the kernel asks for once more, at once, and the program would wait twice. */
static bool waited_just_now(const struct fetch_waiter *w, uint64_t ms)
{
    const struct fetch *t = &w->file->fetch;

    return t->vain.ns && loop_now_ns() - t->vain.ns < REPEAT_NS && w->from >= t->vain.from && w->from < t->vain.to &&
           ms <= t->vain.ms;
}

void fetch_wait_until(struct fetch_waiter *w, uint64_t ms)
{
    w->ms = waited_just_now(w, ms) ? 0 : ms;
    w->timer = loop_timer(w->file->volume->loop, w->ms, on_deadline, w);
}

uint64_t fetch_reach(const struct cache_file *f)
{
    return least(cache_file_size(f), atomic_load(&f->map->fetchable));
}

static bool satisfied(struct fetch_waiter *w, uint64_t end)
{
    uint64_t to = least(w->to, end);
    uint64_t c = w->from < to ? chunk_first_absent(w->file->map, w->from, to - w->from) : UINT64_MAX;

    if (c != UINT64_MAX && c << CHUNK_SHIFT > w->from)
        w->from = c << CHUNK_SHIFT;
    return c == UINT64_MAX;
}

static struct fetch_waiter *first_satisfied(struct cache_file *f)
{
    uint64_t end = fetch_reach(f);
    struct fetch_waiter *w;

    TAILQ_FOREACH(w, &f->fetch.waiters, next)
        if (satisfied(w, end))
            return w;
    return NULL;
}

void fetch_wake(struct cache_file *f)
{
    static const struct error none;
    struct fetch_waiter *w;

    while ((w = first_satisfied(f)))
        answer(w, &none);
}

static struct fetch_waiter *first_within(struct cache_file *f, uint64_t from, uint64_t to)
{
    struct fetch_waiter *w;

    TAILQ_FOREACH(w, &f->fetch.waiters, next)
        if (w->from < to && w->to > from)
            return w;
    return NULL;
}

void fetch_fail_within(struct cache_file *f, uint64_t from, uint64_t to, const struct error *e)
{
    struct fetch_waiter *w;

    while ((w = first_within(f, from, to)))
        answer(w, e);
}

void fetch_fail_all(struct cache_file *f, const struct error *e)
{
    show_fetch_failed(f, e);
    fetch_fail_within(f, 0, UINT64_MAX, e);
}

void fetch_forget(struct cache_file *f, const void *arg)
{
    struct fetch_waiter *w = TAILQ_FIRST(&f->fetch.waiters), *next;

    for (; w; w = next) {
        next = TAILQ_NEXT(w, next);
        if (w->arg == arg)
            free_waiter(w);
    }
}

static bool lacks_space(const struct fetch_waiter *w)
{
    return w->what == w->file->fetch.lacking;
}

static bool is_patient(const struct fetch_waiter *w)
{
    return w->patient;
}

static void fail_some(struct cache_file *f, bool (*fails)(const struct fetch_waiter *w), const struct error *e)
{
    struct fetch_waiter *w = TAILQ_FIRST(&f->fetch.waiters);

    while (w) {
        struct fetch_waiter *next = TAILQ_NEXT(w, next);

        if (fails(w)) {
            answer(w, e);
            next = TAILQ_FIRST(&f->fetch.waiters);   /* who heard may have changed the list */
        }
        w = next;
    }
}

void fetch_fail_lacking(struct cache_file *f, const struct error *e)
{
    fail_some(f, lacks_space, e);
}

void fetch_fail_patient(struct cache_file *f, const struct error *e)
{
    fail_some(f, is_patient, e);
}

bool fetch_rests(const struct cache_file *f)
{
    const struct fetch_waiter *w;

    TAILQ_FOREACH(w, &f->fetch.waiters, next)
        if (!w->patient)
            return false;
    return f->fetch.paused;
}

struct fetch_waiter *fetch_wait(struct cache_file *f, uint64_t from, uint64_t to, fetch_done_fn *done, void *arg)
{
    static const struct error none;
    struct fetch_waiter *w = xcalloc(1, sizeof(*w));

    from &= ~(uint64_t)(CHUNK_SIZE - 1);   /* a chunk that ends where the range begins is needed to write there */
    *w = (struct fetch_waiter){ .file = f, .from = from, .to = to, .done = done, .arg = arg,
        .since_ns = loop_now_ns() };
    TAILQ_INSERT_TAIL(&f->fetch.waiters, w, next);
    if (!satisfied(w, fetch_reach(f)))
        return w;
    answer(w, &none);
    return NULL;
}
