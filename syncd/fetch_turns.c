/* Owns how many files a drive fetches at a time for whoever wants them later.
 *
 * Must not know who that is (pin.c, download.c), nor what comes next. */
#include "syncd/fetch_turns.h"

#include "common/alloc.h"

struct fetch_turn {
    LIST_ENTRY(fetch_turn) next;
    struct fetch_turns *turns;
    struct cache_file *file;         /* held */
};

static size_t under_way(const struct fetch_turns *t)
{
    const struct fetch_turn *turn;
    size_t n = 0;

    LIST_FOREACH(turn, &t->turns, next)
        n += !turn->file->fetch.paused;
    return n;
}

bool fetch_turns_room(const struct fetch_turns *t)
{
    return t->n < FETCH_TURNS_MOST && under_way(t) < FETCH_TURNS_AT_ONCE;
}

bool fetch_turns_rest(const struct fetch_turns *t)
{
    return under_way(t) == 0;
}

bool fetch_turns_have(const struct fetch_turns *t, const struct cache_file *f)
{
    const struct fetch_turn *turn;

    LIST_FOREACH(turn, &t->turns, next)
        if (turn->file == f)
            return true;
    return false;
}

/* Returns its file, still held. */
static struct cache_file *take(struct fetch_turn *turn)
{
    struct fetch_turns *t = turn->turns;
    struct cache_file *f = turn->file;

    LIST_REMOVE(turn, next);
    free(turn);
    if (--t->n == 0)
        LIST_REMOVE(t, next);
    return f;
}

static void on_done(const struct error *e, void *arg)
{
    struct fetch_turn *turn = arg;
    struct fetch_turns *t = turn->turns;
    struct cache_file *f = take(turn);

    t->done(f, e, t->arg);
    cache_release(f);
    t->moved(t->arg);
}

void fetch_turns_add(struct fetch_turns *t, struct cache_file *f,
                     void (*fetch)(struct cache_file *f, fetch_done_fn *done, void *arg))
{
    struct fetch_turn *turn = xcalloc(1, sizeof(*turn));

    *turn = (struct fetch_turn){ .turns = t, .file = f };
    LIST_INSERT_HEAD(&t->turns, turn, next);
    if (t->n++ == 0)
        LIST_INSERT_HEAD(&f->volume->fetching, t, next);
    fetch(f, on_done, turn);
}

/* What of it is on its way may be wanted by others, for whom it starts anew. */
static void end(struct fetch_turn *turn, bool stop)
{
    struct cache_file *f = turn->file;

    fetch_forget(f, turn);
    (void)take(turn);
    if (stop) {
        fetch_stop(f);
        fetch_go_on(f);
    }
    cache_release(f);
}

void fetch_turns_drop(struct fetch_turns *t, bool (*which)(struct cache_file *f))
{
    struct fetch_turn *turn, *next;

    for (turn = LIST_FIRST(&t->turns); turn; turn = next) {
        next = LIST_NEXT(turn, next);
        if (which(turn->file))
            end(turn, true);
    }
    t->moved(t->arg);
}

void fetch_turns_end(struct fetch_turns *t, bool stop)
{
    while (!LIST_EMPTY(&t->turns))
        end(LIST_FIRST(&t->turns), stop);
}

void fetch_turns_changed(struct volume *v)
{
    struct fetch_turns *t;

    LIST_FOREACH(t, &v->fetching, next)
        t->moved(t->arg);
}
