/* Owns which pairs of cache files do not have the form and the keys that the drive is to have. The folder itself is the
 * list: it is looked through when the drive is opened and when something changed; keys are wrapped anew at once, and
 * what must be read and written goes behind, a few pairs at a time. What somebody uses is tried again.
 *
 * Must not know how one is converted (cache_convert_pair.c). */
#include "syncd/cache_convert_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"

enum {
    FOLDERS = 256, TURN_MS = 0,   /* others have theirs in between */
    REWRAPS_MOST = 64,            /* at cryptd */
    AT_ONCE = 4, LOOKS = 64,      /* conversions, and pairs looked at before others have their turn */
    RETRY_MS = 2000, KICK_MS = 20,
};

/* Pairs that lack the same: round by round. */
struct todo {
    uint64_t *inos;
    size_t n, next;
    uint64_t *kept;               /* for the next round */
    size_t n_kept;
    unsigned running;
    uint64_t converted;           /* since there were any */
};

enum { FORM, KEYS, TODOS };

struct waiter {
    volume_rotated_fn *done;
    void *arg;
};

struct convert {
    struct cache *cache;
    struct loop_timer *timer;
    void (*next)(struct convert *v);   /* what the timer is for */
    bool collecting, again, known;
    uint64_t low;                      /* the next folder */
    uint64_t *found;                   /* pairs of a folder */
    size_t n_found;
    struct rewrap *rewrap;
    uint64_t wrapped, rewrapped;       /* under older epochs, and done since somebody was told */
    struct error error;
    struct syncing *syncing;
    struct waiter *waiters;
    size_t n_waiters;
    struct todo todos[TODOS];
    struct slot {
        struct convert *convert;
        struct conversion *conversion;
        struct transfer *shown;        /* NULL: nobody is told */
        unsigned todo;
    } slots[AT_ONCE];
    unsigned running;
    uint32_t epoch;                    /* the newest one, when that began */
    int said;                          /* the log has it that pairs fail with this code */
};

static void collected(struct convert *v);
static void work(struct convert *v);

/* --- when --------------------------------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
    struct convert *v = arg;

    loop_timer_free(take_ptr(v->timer));
    v->next(v);
}

static void go_on(struct convert *v, uint64_t ms, void (*next)(struct convert *v))
{
    loop_timer_free(v->timer);
    v->next = next;
    v->timer = loop_timer(v->cache->volume->loop, ms, on_timer, v);
}

static const char *drive_of(const struct convert *v)
{
    return v->cache->volume->drive->id;
}

/* --- lists --------------------------------------------------------------------------------------------------- */

static void todo_clear(struct todo *t)
{
    free(take_ptr(t->inos));
    free(take_ptr(t->kept));
    t->n = t->next = t->n_kept = 0;
    t->converted = 0;
}

static void todo_keep(struct todo *t, uint64_t ino)
{
    *xadd(t->kept, t->n_kept) = ino;
}

static uint64_t todo_left(const struct todo *t)
{
    return t->n - t->next + t->n_kept + t->running;
}

static void todo_next_round(struct todo *t)
{
    free(t->inos);
    t->inos = take_ptr(t->kept);
    t->n = t->n_kept;
    t->next = t->n_kept = 0;
}

bool convert_seals(const struct cache *c, uint64_t ino)
{
    for (size_t i = 0; c->convert && i < AT_ONCE; i++)
        if (c->convert->slots[i].conversion && conversion_seals(c->convert->slots[i].conversion, ino))
            return true;
    return false;
}

struct convert_left convert_left(const struct cache *c)
{
    const struct convert *v = c->convert;

    if (!v)
        return (struct convert_left){ .known = true };
    return (struct convert_left){
        .form = todo_left(&v->todos[FORM]), .made = todo_left(&v->todos[KEYS]),
        .wrapped = excess(v->wrapped, v->rewrapped), .known = v->known,
    };
}

/* --- collecting ------------------------------------------------------------------------------------------------ */

static void find(uint64_t ino, void *arg)
{
    struct convert *v = arg;

    *xadd(v->found, v->n_found) = ino;
}

static void look_at(struct convert *v, uint64_t ino)
{
    uint8_t key[CRYPT_KEY];
    bool old;
    enum convert_to what = conversion_of(v->cache, ino, key, &old);

    conversion_clear(v->cache, ino);
    if (what != CONVERT_NOTHING)
        todo_keep(&v->todos[what == CONVERT_RESEAL ? KEYS : FORM], ino);
    if (!old)
        return;
    v->wrapped++;
    rewrap_begin(v->rewrap, ino, key);
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Each file of a pair was found. */
static void look_at_found(struct convert *v)
{
    uint64_t before = 0;

    if (v->n_found)
        qsort(v->found, v->n_found, sizeof(*v->found), compare);
    for (size_t n = 0; n < v->n_found; n++) {
        if (v->found[n] != before)
            look_at(v, v->found[n]);
        before = v->found[n];
    }
    free(take_ptr(v->found));
    v->n_found = 0;
}

static void collect(struct convert *v)
{
    if (v->low < FOLDERS && rewrap_running(v->rewrap) < REWRAPS_MOST) {
        cache_file_clear_new(v->cache->dir_fd, v->low);
        cache_file_walk(v->cache->dir_fd, v->low++, find, v);
        look_at_found(v);
    }
    if (v->low < FOLDERS)
        go_on(v, TURN_MS, collect);
    else if (rewrap_running(v->rewrap) == 0)
        go_on(v, 0, collected);
}

/* Answers come one by one, and the last one may be the end of it. */
static void on_rewrapped(void *arg)
{
    struct convert *v = arg;

    if (v->collecting && v->low == FOLDERS && rewrap_running(v->rewrap) == 0)
        go_on(v, 0, collected);
}

static void begin_collecting(struct convert *v)
{
    struct error ignored;

    v->wrapped = v->rewrapped;   /* who waits is told what all rounds did */
    v->again = false;
    v->collecting = true;
    v->low = 0;
    v->said = 0;
    v->epoch = convert_newest_epoch(v->cache);
    (void)rewrap_take_count(v->rewrap, &ignored);
    for (size_t i = 0; i < TODOS; i++)
        todo_clear(&v->todos[i]);
    go_on(v, 0, collect);
}

/* --- keys are under the newest epoch ------------------------------------------------------------------------------ */

struct syncing {
    struct convert *convert;      /* NULL: closed */
    int fd, error;
};

static void tell(struct convert *v)
{
    CLEANUP_FREE struct waiter *waiters = take_ptr(v->waiters);
    size_t n = v->n_waiters;
    struct error e = v->error;
    uint64_t done = v->rewrapped, still = excess(v->wrapped, done);

    v->n_waiters = 0;
    if (v->wrapped)
        LOG(LOG_NOTICE, "cache_keys_rewrapped", "drive=%s", drive_of(v), "files=%" PRIu64, done,
            "left=%" PRIu64, still, "error=%s", e.code ? error_text(&e) : "");
    v->wrapped = still;
    v->rewrapped = 0;
    for (size_t i = 0; i < n; i++)
        waiters[i].done(e.code ? &e : NULL, done, waiters[i].arg);
}

static void start_work(struct convert *v)
{
    uint64_t form, keys;

    for (size_t i = 0; i < TODOS; i++)
        todo_next_round(&v->todos[i]);
    form = todo_left(&v->todos[FORM]);
    keys = todo_left(&v->todos[KEYS]);
    v->collecting = false;
    v->known = !v->again;
    if (form || keys)
        LOG(LOG_NOTICE, "cache_conversion_begun", "drive=%s", drive_of(v), "to=%s",
            v->cache->seals ? "sealed" : "plain", "files=%" PRIu64, form, "old_keys=%" PRIu64, keys);
    if (!v->again)   /* who came meanwhile means what was looked at before, too */
        tell(v);
    go_on(v, 0, work);
}

static void sync_folder(void *arg)
{
    struct syncing *s = arg;

    s->error = syncfs(s->fd) < 0 ? -errno : 0;
}

static void folder_synced(void *arg)
{
    CLEANUP_FREE struct syncing *s = arg;
    struct convert *v = s->convert;

    (void)close(s->fd);
    if (!v)
        return;
    v->syncing = NULL;
    if (s->error && v->error.code == 0)
        error_set(&v->error, s->error, "The cache could not be written to the disk: %s", error_meaning(s->error)->text);
    start_work(v);
}

/* An epoch may be given up only when nothing on the disk needs it. */
static void collected(struct convert *v)
{
    v->rewrapped += rewrap_take_count(v->rewrap, &v->error);
    if (v->rewrapped == 0) {
        start_work(v);
        return;
    }
    v->syncing = xcalloc(1, sizeof(*v->syncing));
    *v->syncing = (struct syncing){
        .convert = v, .fd = openat(v->cache->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
    };
    loop_work(v->cache->volume->loop, sync_folder, folder_synced, v->syncing);
}

/* --- converting ------------------------------------------------------------------------------------------ */

/* Once for each reason: the file itself may be one of many. */
static void say_failed(struct convert *v, uint64_t ino, int code)
{
    if (code == -EBUSY || code == -EAGAIN || code == v->said)
        return;
    v->said = code;
    LOG(LOG_WARNING, "cache_not_converted", "drive=%s", drive_of(v), "ino=%" PRIu64, ino, "error=%s",
        error_meaning(code)->text, "then=%s", "It stays as it is, and is tried again.");
}

static void say_if_done(struct convert *v, unsigned which)
{
    static const char *const then[] = {
        "What was plain was given back to the file system. Until that has written over it, it may still be on the "
        "disk.",
        "The cache is plain now.",
    };
    struct todo *t = &v->todos[which];

    if (todo_left(t) || t->converted == 0)
        return;
    if (which == FORM)
        LOG(LOG_NOTICE, "cache_converted", "drive=%s", drive_of(v), "files=%" PRIu64, t->converted, "then=%s",
            then[!v->cache->seals]);
    else
        LOG(LOG_NOTICE, "cache_keys_renewed", "drive=%s", drive_of(v), "files=%" PRIu64, t->converted);
    t->converted = 0;
}

static void converted(uint64_t ino, int code, void *arg)
{
    struct slot *slot = arg;
    struct convert *v = slot->convert;
    struct todo *t = &v->todos[slot->todo];

    slot->conversion = NULL;
    show_converted(take_ptr(slot->shown), code);
    v->running--;
    t->running--;
    if (code) {
        todo_keep(t, ino);
        say_failed(v, ino, code);
    } else {
        t->converted++;
    }
    go_on(v, 0, work);
}

static struct slot *free_slot(struct convert *v)
{
    struct slot *s = v->slots;

    while (s->conversion)
        s++;
    return s;
}

static void begin_one(struct convert *v, unsigned which)
{
    struct todo *t = &v->todos[which];
    struct slot *s = free_slot(v);
    uint64_t ino = t->inos[t->next++];
    int r;

    *s = (struct slot){ .convert = v, .todo = which };
    r = conversion_begin(v->cache, ino, converted, s, &s->conversion);
    if (r == 0) {
        s->shown = which == FORM ? show_conversion(v->cache->volume, ino, v->cache->seals) : NULL;
        v->running++;
        t->running++;
    } else if (r == -EALREADY) {
        t->converted++;
    } else {
        todo_keep(t, ino);
        say_failed(v, ino, r);
    }
}

/* False: all have had their turn. */
static bool run_some(struct convert *v, unsigned which, unsigned at_once)
{
    struct todo *t = &v->todos[which];

    for (unsigned n = 0; n < LOOKS && t->next < t->n && v->running < at_once; n++)
        begin_one(v, which);
    return t->next < t->n;
}

/* Keys that are renewed wait for all else. */
static void work(struct convert *v)
{
    unsigned which = todo_left(&v->todos[FORM]) ? FORM : KEYS;
    struct todo *t = &v->todos[which];

    if (v->again) {
        if (v->running == 0)
            begin_collecting(v);
        return;
    }
    for (unsigned i = 0; i < TODOS; i++)
        say_if_done(v, i);
    if (todo_left(t) == 0)
        return;
    if (run_some(v, which, which == FORM ? AT_ONCE : 1)) {
        if (v->running == 0)
            go_on(v, TURN_MS, work);
        return;
    }
    if (v->running)
        return;
    todo_next_round(t);
    go_on(v, t->n ? RETRY_MS : 0, work);
}

/* --- the contract ---------------------------------------------------------------------------------------- */

void convert_start(struct cache *c)
{
    struct convert *v;

    if (!c->io)
        return;
    v = xcalloc(1, sizeof(*v));
    c->convert = v;
    v->cache = c;
    v->rewrap = rewrap_new(c, on_rewrapped, v);
    begin_collecting(v);
}

void convert_look(struct cache *c, volume_rotated_fn *done, void *arg)
{
    struct convert *v = c->convert;

    if (!v) {
        if (done)
            done(NULL, 0, arg);
        return;
    }
    if (done)
        *xadd(v->waiters, v->n_waiters) = (struct waiter){ done, arg };
    v->again = true;
    v->known = false;
    for (struct slot *s = v->slots; s < v->slots + AT_ONCE; s++)
        if (s->conversion)
            conversion_stop(s->conversion);
    if (!v->collecting && v->running == 0)
        go_on(v, 0, work);
}

void convert_keys_opened(struct cache *c)
{
    if (c->convert && c->convert->epoch < convert_newest_epoch(c))
        convert_look(c, NULL, NULL);
}

void convert_kick(struct cache *c)
{
    struct convert *v = c->convert;

    if (v && v->timer && v->next == work && v->running == 0 && !v->collecting)
        go_on(v, KICK_MS, work);
}

void convert_end(struct cache *c)
{
    struct convert *v = take_ptr(c->convert);
    struct error e = { 0 };

    if (!v)
        return;
    for (struct slot *s = v->slots; s < v->slots + AT_ONCE; s++) {
        if (s->conversion)
            conversion_end(s->conversion);
        show_converted(take_ptr(s->shown), -ECANCELED);
    }
    loop_timer_free(v->timer);
    rewrap_free(v->rewrap);
    if (v->syncing)
        v->syncing->convert = NULL;
    error_set(&e, -ECANCELED, "The drive was closed.");
    for (size_t i = 0; i < v->n_waiters; i++)
        v->waiters[i].done(&e, 0, v->waiters[i].arg);
    for (size_t i = 0; i < TODOS; i++)
        todo_clear(&v->todos[i]);
    free(v->waiters);
    free(v->found);
    free(v);
}
