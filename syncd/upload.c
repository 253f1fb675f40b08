/* Owns the choice of what the cloud is brought next: changes whose time has come, that do not
 * stand in each other's way, as many as there are slots. What a change does is upload_run.c's.
 *
 * Order between keys: an object at key K is replaced only when no other inode's version lives at K.
 * Such an owner is moved away first, without waiting for its own turn; owners in a circle (two files
 * that swapped names) are cut apart by taking one of them home into the cache. Where keys are files or
 * folders, what lives at a folder's key, or in a folder at a file's key, stands in the way as well.
 *
 * Must not know how anything is sent. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/await.h"
#include "syncd/key_stock.h"

enum { CHAIN_MAX = 128, BURST_SETTLES = 10 };

#define MS INT64_C(1000000)
static const int64_t REST_FIRST_NS = INT64_C(1000000000);

struct choice {
    uint64_t ino;
    enum upload_kind kind;
};

struct scan {
    struct uploader *uploader;
    struct choice choices[256];    /* UploadSlots is at most so many */
    size_t n, room;
    int64_t now_ns;                /* one for all questions: what becomes due between two would be met by neither */
    int64_t again_ns;              /* when a file that is too busy now may be quiet */
};

static void scan(void *arg);

/* --- when to look --------------------------------------------------------------------------------- */

void uploader_look_at(struct uploader *u, int64_t when_ns)
{
    int64_t now = loop_now_ns();

    if (when_ns == INT64_MAX || (u->timer && u->timer_ns <= when_ns))
        return;
    loop_timer_free(u->timer);
    u->timer_ns = when_ns;
    u->timer = loop_timer(u->volume->loop, when_ns > now ? (uint64_t)((when_ns - now + MS - 1) / MS) : 0, scan, u);
}

void uploader_kick(struct uploader *u)
{
    if (!u)
        return;
    uploader_look_at(u, loop_now_ns());
    await_kick(u->volume);
}

static int64_t settle_ns(const struct uploader *u)
{
    return u->volume->config->settle_milliseconds * MS;
}

int64_t uploader_held_until(const struct uploader *u)
{
    int64_t quiet = u->changed_ns + settle_ns(u), at_last = u->burst_ns + BURST_SETTLES * settle_ns(u);

    return quiet < at_last ? quiet : at_last;
}

void uploader_changed(struct uploader *u)
{
    int64_t now = loop_now_ns();

    if (!u)
        return;
    if (now >= u->changed_ns + settle_ns(u))
        u->burst_ns = now;
    u->changed_ns = now;
    uploader_look_at(u, uploader_held_until(u));
    await_kick(u->volume);
}

void uploader_reached(struct uploader *u)
{
    u->rest_ns = u->rest_until_ns = 0;
}

/* The longest rest. A network that is back must be noticed soon, but who is refused or asks for too much, and goes
 * on asking, makes it worse. An answer to a reader says that the network and the keys are good again, but not that
 * there may be more at once. */
static const struct rest {
    int code;
    int64_t max_ns;
    bool ends_with_answer;
} rests[] = {
    { 0, 30000 * MS, true },   /* whatever is not listed */
    { -EAGAIN, 300000 * MS, false },
    { -EKEYREJECTED, 300000 * MS, true },
    { -ENOKEY, 300000 * MS, true },
};

static const struct rest *rest_for(int code)
{
    for (size_t n = 1; n < ARRAY_SIZE(rests); n++)
        if (rests[n].code == code)
            return &rests[n];
    return &rests[0];
}

void uploader_rest(struct uploader *u, int code)
{
    const struct rest *rest = rest_for(code);
    int64_t now = loop_now_ns();

    if (now < u->rest_until_ns)
        return;
    u->rest_ns = u->rest_ns ? u->rest_ns * 2 : REST_FIRST_NS;
    if (u->rest_ns > rest->max_ns)
        u->rest_ns = rest->max_ns;
    u->rest_until_ns = now + u->rest_ns;
    u->rest_ends_with_answer = rest->ends_with_answer;
}

void uploader_answered(struct uploader *u)
{
    if (u->rest_until_ns == 0 || !u->rest_ends_with_answer)
        return;
    uploader_reached(u);
    uploader_kick(u);
}

/* --- who may go now ------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool uses_key(const struct upload *up, const char *key)
{
    if (up->kind == UPLOAD_BURY)
        return up->n_keys && bsearch(&key, up->keys, up->n_keys, sizeof(*up->keys), compare_keys);
    return strcmp(up->key, key) == 0 || (up->inode.cloud_key && strcmp(up->inode.cloud_key, key) == 0) ||
        (up->clone && strcmp(upload_source(up).key, key) == 0);
}

bool uploader_key_busy(const struct uploader *u, const char *key)
{
    const struct upload *up;

    LIST_FOREACH(up, &u->running, next)
        if (uses_key(up, key))
            return true;
    return false;
}

/* Whether one of the keys is a file's where the other needs a folder. */
static bool excludes(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);

    if (n > m)
        return excludes(b, a);
    return n < m && n > 0 && a[n - 1] != '/' && b[n] == '/' && strncmp(a, b, n) == 0;
}

/* The same where keys are files and folders: an object on its way to where no folder can be beside it. */
static bool way_busy(const struct uploader *u, const char *key)
{
    const struct upload *up;

    LIST_FOREACH(up, &u->running, next)
        if (up->kind != UPLOAD_BURY && excludes(up->key, key))
            return true;
    return false;
}

bool uploader_places(const struct uploader *u, uint64_t ino)
{
    const struct upload *up;

    if (!u)
        return false;
    LIST_FOREACH(up, &u->running, next)
        if (up->inode.ino == ino && up->placing)
            return true;
    return false;
}

bool uploader_busy(struct uploader *u, uint64_t ino)
{
    const struct upload *up;

    LIST_FOREACH(up, &u->running, next)
        if (up->inode.ino == ino)
            return true;
    return false;
}

/* Of a marker that was only seen in a listing the metadata is not known, and must not be lost. */
static bool is_copied(const struct volume *v, const struct index_inode *i)
{
    return S_ISDIR(i->mode) && !i->settled && i->pending == INDEX_MOVE && i->cloud_key &&
        cloud_capabilities(v->cloud) & CLOUD_CAN_COPY;
}

static enum upload_kind kind_of(const struct volume *v, const struct index_inode *i)
{
    if (!S_ISREG(i->mode))
        return is_copied(v, i) ? UPLOAD_COPY : UPLOAD_MARK;
    if (i->pending & (INDEX_CONTENT | INDEX_SEAL) || !i->cloud_key || !(cloud_capabilities(v->cloud) & CLOUD_CAN_COPY))
        return UPLOAD_CONTENT;
    return UPLOAD_COPY;
}

/* Somebody waits for its key: it moves even while its contents are not settled. */
static enum upload_kind kind_of_owner(const struct volume *v, const struct index_inode *i)
{
    bool copy = S_ISREG(i->mode) && cloud_capabilities(v->cloud) & CLOUD_CAN_COPY;

    return copy ? UPLOAD_COPY : kind_of(v, i);
}

/* One that failed last time comes by itself when its time has come. */
static bool failed_before(struct volume *v, uint64_t ino)
{
    CLEANUP_FREE char *reason = index_reason(v->index, ino);

    return reason && !index_held(v->index, ino);
}

/* Content that somebody does not want to be sent now; its version in the cloud may be moved. */
static bool is_held(const struct uploader *u, const struct choice *c)
{
    return c->kind == UPLOAD_CONTENT && index_held(u->volume->index, c->ino);
}

/* What must go first where a key is either a file or a folder. As owner_of_target(). */
static int what_is_in_the_way(struct index *x, const char *key, struct index_inode *ret)
{
    int r = index_in_the_way(x, key, ret);

    return r == -ENOENT && index_buried_in_the_way(x, key) ? -EBUSY : r;
}

/* The inode whose version lives where `ino` wants to write; among files and folders that may be itself. 0 and *ret,
 * -ENOENT: the way is free, or another negative errno: it is not the time. */
static int owner_of_target(struct uploader *u, uint64_t ino, struct index_inode *ret)
{
    CLEANUP_FREE char *key = index_key(u->volume->index, ino);
    int r;

    if (!key)
        return -EINVAL;
    if (uploader_key_busy(u, key) || index_moved_from(u->volume->index, key))
        return -EBUSY;
    r = index_by_cloud_key(u->volume->index, key, ret);
    if (r == 0 && ret->ino == ino) {
        index_inode_done(ret);   /* another may be read into it */
        r = -ENOENT;
    }
    if (r == -ENOENT && cloud_capabilities(u->volume->cloud) & CLOUD_HAS_FOLDERS)
        r = way_busy(u, key) ? -EBUSY : what_is_in_the_way(u->volume->index, key, ret);
    if (r == 0 && ret->ino != ino && (uploader_busy(u, ret->ino) || failed_before(u->volume, ret->ino)))
        r = -EBUSY;
    if (r == -ENOENT && index_buried(u->volume->index, key) && !uploader_synced(u))
        r = -EBUSY;
    return r;
}

bool uploader_free_for(struct uploader *u, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode owner = { 0 };

    return !uploader_busy(u, ino) && owner_of_target(u, ino, &owner) == -ENOENT;
}

bool uploader_may_copy(const struct uploader *u)
{
    int64_t now = loop_now_ns();

    return !u->quit && now >= u->rest_until_ns && now >= u->copies_after_ns;
}

/* Follows who stands in whose way. */
static bool choose(struct uploader *u, const struct index_inode *i, struct choice *ret)
{
    struct index_inode owner = { 0 };
    int r;

    *ret = (struct choice){ i->ino, kind_of(u->volume, i) };
    for (unsigned n = 0; n < CHAIN_MAX; n++) {
        r = owner_of_target(u, ret->ino, &owner);
        if (r == 0 && (owner.ino == i->ino || owner.ino == ret->ino))
            *ret = (struct choice){ owner.ino, UPLOAD_CUT };
        else if (r == 0)
            *ret = (struct choice){ owner.ino, kind_of_owner(u->volume, &owner) };
        index_inode_done(&owner);
        if (r < 0 || ret->kind == UPLOAD_CUT)
            return r == 0 || r == -ENOENT;
        if (is_held(u, ret))
            return false;
    }
    return false;
}

static bool quiet(struct uploader *u, const struct index_inode *i, int64_t *again_ns)
{
    struct cache_file *f = cache_find(u->volume->cache, i->ino);
    int64_t now = loop_now_ns(), until;
    uint64_t seq;

    if (!(i->pending & INDEX_CONTENT) || !f || !cache_written_by_anyone(f))
        return true;
    seq = atomic_load(&f->map->write_seq);
    if (seq != f->quiet_seq || !f->quiet_since_ns) {
        f->quiet_seq = seq;
        f->quiet_since_ns = now;
    }
    until = f->quiet_since_ns + u->volume->config->quiet_milliseconds * MS;
    if (now < until && until < *again_ns)
        *again_ns = until;
    return now >= until;
}

/* --- scanning ------------------------------------------------------------------------------------- */

static bool consider(const struct index_inode *i, void *arg)
{
    struct scan *s = arg;

    if (uploader_busy(s->uploader, i->ino) || !quiet(s->uploader, i, &s->again_ns))
        return true;
    if (choose(s->uploader, i, &s->choices[s->n]))
        s->n++;
    return s->n < s->room;
}

static void fill_slots(struct uploader *u, struct scan *s)
{
    size_t slots = (size_t)u->volume->config->upload_slots;

    if (slots > ARRAY_SIZE(s->choices))
        slots = ARRAY_SIZE(s->choices);
    if (u->n_running >= slots)
        return;
    s->room = slots - u->n_running;
    if (index_due(u->volume->index, s->now_ns, INT64_MAX, consider, s) < 0)
        LOG(LOG_ERR, "index_unreadable", "drive=%s", u->volume->drive->id);
    for (size_t n = 0; n < s->n; n++)
        if (!uploader_busy(u, s->choices[n].ino))
            upload_start(u, s->choices[n].kind, s->choices[n].ino);
}

/* When the next one that was put off is due, on the monotonic clock. */
static int64_t next_due(struct uploader *u, const struct scan *s)
{
    int64_t due = index_next_due(u->volume->index, s->now_ns);
    int64_t wait = due == INT64_MAX ? 0 : due - loop_wall_ns();

    return due == INT64_MAX ? INT64_MAX : loop_now_ns() + (wait > 0 ? wait : 0);
}

static void has_keys(const struct error *e, void *arg)
{
    struct uploader *u = arg;

    (void)e;
    u->awaits_keys = false;
    uploader_kick(u);
}

/* What is sent may need a cache file first; without a key for that each one would fail. */
static bool awaits_keys(struct uploader *u)
{
    if (!u->awaits_keys && fs_lacks_keys(u->volume)) {
        u->awaits_keys = true;
        key_stock_wait(u->volume->cache->stock, has_keys, u);
    }
    return u->awaits_keys;
}

static void scan(void *arg)
{
    struct uploader *u = arg;
    struct scan s = { .uploader = u, .again_ns = INT64_MAX, .now_ns = loop_wall_ns() };
    int64_t until;

    loop_timer_free(take_ptr(u->timer));
    fs_copies_go_on(u->volume);
    uploader_look_at_holds(u);
    if (u->volume->paused || u->quit)
        return;
    until = u->rest_until_ns > uploader_held_until(u) ? u->rest_until_ns : uploader_held_until(u);
    if (loop_now_ns() < until) {
        uploader_look_at(u, until);
        return;
    }
    if (!awaits_keys(u))
        fill_slots(u, &s);
    upload_bury_more(u);
    uploader_look_at(u, s.again_ns);
    uploader_look_at(u, next_due(u, &s));
}

int uploader_new(struct volume *v, struct uploader **ret)
{
    struct uploader *u = xcalloc(1, sizeof(*u));

    u->volume = v;
    LIST_INIT(&u->running);
    LIST_INIT(&u->holds);
    *ret = u;
    uploader_kick(u);
    return 0;
}

void uploader_free(struct uploader *u)
{
    struct upload *up;

    if (!u)
        return;
    while ((up = LIST_FIRST(&u->running)))
        upload_abandon(up);
    uploader_end_holds(u);
    uploader_end_syncing(u);
    upload_quit_free(u->quit);
    key_stock_forget(u->volume->cache ? u->volume->cache->stock : NULL, u);
    loop_timer_free(u->timer);
    free(u);
}
