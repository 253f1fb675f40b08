/* Owns what is listed to be encrypted: a directory is listed and gives way to what is in it; of a file it is found out
 * what its object is, and when that is plain the uploader gets it, a few at a time and no more than half of the cache.
 * All of it is in the index, so whoever is killed goes on where he was.
 *
 * Must not know how an object is replaced (upload_reseal.c), nor who asked (encrypt_ask.c). */
#include "syncd/encrypt.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/cache_space.h"
#include "syncd/encrypt_ask.h"
#include "syncd/object.h"
#include "syncd/store_encrypt.h"
#include "syncd/upload.h"

enum { AT_ONCE = 4, BATCH = 256, SHARE = 4, TRIES = 3, REST_MOST_S = 60, DIRTY_PAUSE_S = 5, LOOK_S = 5 };

#define S INT64_C(1000000000)

enum doing { NOTHING, LISTING, SPREADING, SETTLING };

struct encrypter {
    struct volume *volume;
    struct loop_timer *timer;
    bool active;                   /* something may be left */
    bool stopped;
    struct slot {
        struct encrypter *encrypter;
        enum doing doing;
        uint64_t ino;
        int64_t since_ns;          /* LISTING */
        uint64_t cookie;           /* SPREADING: the entry looked at last */
    } slots[AT_ONCE];
};

static void step(void *arg);

/* --- when ------------------------------------------------------------------------------------------- */

static void step_in(struct encrypter *e, uint64_t ms)
{
    loop_timer_free(take_ptr(e->timer));
    e->timer = loop_timer(e->volume->loop, ms, step, e);
}

void encrypter_kick(struct volume *v)
{
    if (v->encrypter && v->encrypter->active && !v->encrypter->stopped)
        step_in(v->encrypter, 0);
}

void encrypter_begin(struct volume *v)
{
    v->encrypter->active = true;
    encrypter_kick(v);
}

/* Not everything that may let it go on says so. */
static void step_later(struct encrypter *e)
{
    int64_t now = loop_wall_ns(), due = index_encrypt_next_due(e->volume->index, now), wait = LOOK_S * S;

    if (due - now < wait)
        wait = due - now;
    if (!e->timer)
        step_in(e, (uint64_t)(wait / 1000000) + 1);
}

/* --- rows ------------------------------------------------------------------------------------------- */

/* What cannot be written down is found again by the next step. */
static void store(struct volume *v, int r)
{
    r = index_end(v->index, r);
    if (r < 0)
        LOG(LOG_ERR, "index_not_written", "drive=%s", v->drive->id, "error=%s", error_meaning(r)->text);
}

static void forget(struct volume *v, uint64_t ino)
{
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_forget(v->index, ino));
}

static void later(struct volume *v, uint64_t ino, int64_t seconds, bool tried)
{
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_later(v->index, ino, loop_wall_ns() + seconds * S, tried));
}

static void later_again(struct volume *v, uint64_t ino)
{
    struct index_mark m;
    unsigned tries = index_encrypt_get(v->index, ino, &m) == 0 ? m.tries : 0;

    later(v, ino, tries < 6 ? INT64_C(1) << tries : REST_MOST_S, true);
}

static void fail(struct volume *v, uint64_t ino, const char *reason)
{
    CLEANUP_FREE char *path = index_path(v->index, ino);

    LOG(LOG_WARNING, "object_not_encrypted", "drive=%s", v->drive->id, "path=%s", path ? path : "", "reason=%s",
        reason);
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_fail(v->index, ino, reason));
}

/* --- who is busy -------------------------------------------------------------------------------------- */

static struct slot *slot_of(struct encrypter *e, uint64_t ino)
{
    for (size_t n = 0; n < AT_ONCE; n++)
        if (e->slots[n].doing != NOTHING && e->slots[n].ino == ino)
            return &e->slots[n];
    return NULL;
}

static struct slot *take_slot(struct encrypter *e, uint64_t ino, enum doing doing)
{
    struct slot *s = e->slots;

    for (; s < e->slots + AT_ONCE; s++)
        if (s->doing == NOTHING) {
            *s = (struct slot){ .encrypter = e, .doing = doing, .ino = ino, .since_ns = loop_wall_ns() };
            return s;
        }
    return NULL;
}

/* Answers that come at once must not nest. */
static void free_slot(struct slot *s)
{
    s->doing = NOTHING;
    encrypter_kick(s->encrypter->volume);
}

/* --- directories -------------------------------------------------------------------------------------- */

struct entries {
    struct volume *volume;
    struct entry {
        uint64_t ino, size;
        bool is_directory, wanted;
    } v[BATCH];
    size_t n;
};

/* What is known to be encrypted is passed over. Of what others are the first look tells. */
static bool is_wanted(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };

    if (!S_ISREG(i->mode))
        return S_ISDIR(i->mode);
    return i->pending & INDEX_CONTENT || object_get(v, i, &o) < 0 || o.kind != INDEX_OBJECT_SEALED || o.fault;
}

static bool add_entry(const struct index_inode *i, void *arg)
{
    struct entries *es = arg;

    es->v[es->n++] = (struct entry){ i->ino, i->size, S_ISDIR(i->mode), is_wanted(es->volume, i) };
    return es->n < BATCH;
}

static int put_entries(struct index *x, const struct entries *es)
{
    int r = 0;

    for (size_t n = 0; r == 0 && n < es->n; n++)
        if (es->v[n].wanted)
            r = index_encrypt_put(x, es->v[n].ino, es->v[n].is_directory, es->v[n].size);
    return r;
}

/* What objectsPerFolder hides stays as it is. */
static void end_directory(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (index_get(v->index, ino, &i) == 0 && i.cut)
        fail(v, ino, "objectsPerFolder hides objects of this folder, which stay as they are. Raise it and ask again.");
    else
        forget(v, ino);
}

static void spread(struct slot *s)
{
    struct volume *v = s->encrypter->volume;
    struct entries es = { .volume = v };
    int r = index_scan(v->index, s->ino, s->cookie, add_entry, &es);

    if (r == 0)
        r = index_begin(v->index);
    if (r == 0)
        r = index_end(v->index, put_entries(v->index, &es));
    if (r == 0 && es.n == BATCH) {
        s->cookie = es.v[es.n - 1].ino;
        encrypter_kick(v);
        return;
    }
    if (r == 0)
        end_directory(v, s->ino);
    else
        later_again(v, s->ino);
    free_slot(s);
}

/* What others have put there before it was asked for is in it. A clock that goes back must not make it begin for
 * ever. */
static bool is_new(const struct slot *s)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int64_t since = s->since_ns;

    return index_get(s->encrypter->volume->index, s->ino, &i) < 0 || i.listed_ns >= since || since > loop_wall_ns();
}

static void listed(const struct error *e, void *arg)
{
    struct slot *s = arg;
    struct volume *v = s->encrypter->volume;

    if (e->code == -ECANCELED) {
        s->doing = NOTHING;
        return;
    }
    if (e->code == 0) {
        s->doing = is_new(s) ? SPREADING : NOTHING;   /* else once more */
        encrypter_kick(v);
        return;
    }
    if (e->code == -ENOENT || e->code == -ENOTDIR || e->code == -ESTALE)
        forget(v, s->ino);
    else
        later_again(v, s->ino);
    free_slot(s);
}

static void list_some(struct encrypter *e)
{
    struct volume *v = e->volume;
    uint64_t inos[2 * AT_ONCE];
    int n = index_encrypt_due(v->index, loop_wall_ns(), true, inos, ARRAY_SIZE(inos));
    struct slot *s;

    for (size_t k = 0; k < AT_ONCE; k++)
        if (e->slots[k].doing == SPREADING)
            spread(&e->slots[k]);
    for (int k = 0; k < n; k++)
        if (!slot_of(e, inos[k]) && (s = take_slot(e, inos[k], LISTING)))
            lister_anew(v->lister, s->ino, listed, s);
}

/* --- files -------------------------------------------------------------------------------------------- */

static void settled(const struct error *e, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct slot *s = arg;
    struct volume *v = s->encrypter->volume;
    int r;

    if (e->code == -ECANCELED) {
        s->doing = NOTHING;
        return;
    }
    r = index_get(v->index, s->ino, &i);
    if (e->code == -ENOENT && r == 0)
        lister_recheck(v->lister, s->ino);
    if (r == 0 && (e->code || !i.settled || !object_known(v, &i)))
        later_again(v, s->ino);
    free_slot(s);
}

static void settle(struct encrypter *e, uint64_t ino)
{
    struct slot *s = take_slot(e, ino, SETTLING);

    if (s)
        lister_settle(e->volume->lister, ino, settled, s);
}

/* Its upload encrypts it, if that comes to an end. */
static void await_upload(struct volume *v, uint64_t ino)
{
    CLEANUP_FREE char *reason = index_reason(v->index, ino);

    if (reason && index_retry_at(v->index, ino) - loop_wall_ns() > REST_MOST_S / 2 * S)
        fail(v, ino, reason);
    else
        later(v, ino, DIRTY_PAUSE_S, false);
}

/* Whether its turn has come: it is plain, and nothing stands in the way. */
static bool may_begin(struct encrypter *e, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };
    struct volume *v = e->volume;
    const char *fault;

    if (!S_ISREG(i->mode) || i->nlink == 0) {
        forget(v, i->ino);
    } else if (i->pending & INDEX_CONTENT || cache_busy(v->cache, i)) {
        await_upload(v, i->ino);
    } else if (!i->settled || !object_known(v, i) || object_get(v, i, &o) < 0) {
        settle(e, i->ino);
    } else if (o.fault) {
        fault = object_fault(v, i);
        fail(v, i->ino, fault ? fault : error_meaning(o.fault)->text);
    } else if (o.kind == INDEX_OBJECT_SEALED) {
        forget(v, i->ino);
    } else if (i->size > space_kept_limit(v->cache)) {
        fail(v, i->ino, "It is larger than the drive's cache, through which it has to go. Give the drive a larger one "
             "('landfall drive cache') and ask again.");
    } else {
        return true;
    }
    return false;
}

/* Two that need all of the cache would wait for each other. */
static bool has_room(struct volume *v, uint64_t size)
{
    uint64_t n, bytes, most_at_once = most((uint64_t)v->config->upload_slots / SHARE, 1);

    if (index_encrypt_working(v->index, &n, &bytes) < 0)
        return false;
    return n == 0 || (n < most_at_once && bytes + size <= space_kept_limit(v->cache) / 2);
}

/* False: nothing more for now. */
static bool consider(struct encrypter *e, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct volume *v = e->volume;
    int r = index_get(v->index, ino, &i);

    if (r == -ENOENT)
        forget(v, ino);
    if (r < 0 || !may_begin(e, &i))
        return r == 0 || r == -ENOENT;
    if (!has_room(v, i.size))
        return false;
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_begin(v->index, ino));
    uploader_kick(v->uploader);
    return true;
}

static void begin_some(struct encrypter *e)
{
    struct index *x = e->volume->index;
    uint64_t inos[64];
    int n = index_encrypt_due(x, loop_wall_ns(), false, inos, ARRAY_SIZE(inos));
    bool more = has_room(e->volume, 0);

    for (int k = 0; more && k < n; k++)
        more = slot_of(e, inos[k]) || consider(e, inos[k]);
    if (more && n == ARRAY_SIZE(inos))
        step_in(e, 0);
}

bool encrypter_gives_up(struct volume *v, uint64_t ino, const struct error *e)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct index_mark m;
    const char *fault;

    if (index_encrypt_get(v->index, ino, &m) < 0 || index_get(v->index, ino, &i) < 0 ||
        (upload_fails_all(e->code) && e->code != -ENOSPC))
        return false;
    fault = object_fault(v, &i);
    if (fault || upload_fails_lastingly(e->code) || m.tries + 1 >= TRIES) {
        fail(v, ino, fault ? fault : error_text(e));
        encrypter_kick(v);
        return true;
    }
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_tried(v->index, ino));
    return false;
}

/* --- all of it ---------------------------------------------------------------------------------------- */

static void end_all(struct encrypter *e, const struct index_encryption *now)
{
    LOG(LOG_NOTICE, "objects_encrypted", "drive=%s", e->volume->drive->id, "files=%" PRIu64, now->done,
        "bytes=%" PRIu64, now->done_bytes, "failed=%" PRIu64, now->failed);
    e->active = false;
}

/* The drive encrypts no more. */
static void drop_all(struct volume *v)
{
    LOG(LOG_NOTICE, "encryption_given_up", "drive=%s", v->drive->id, "reason=%s",
        "The drive does not encrypt its objects any more.");
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_forget_below(v->index, INDEX_ROOT));
}

static void step(void *arg)
{
    struct encrypter *e = arg;
    struct volume *v = e->volume;
    struct index_encryption now;

    loop_timer_free(take_ptr(e->timer));
    if (index_encryption(v->index, &now) == 0 && (now.files || now.directories) && !object_seals(v)) {
        drop_all(v);
        (void)index_encryption(v->index, &now);
    }
    if (now.files == 0 && now.directories == 0) {
        if (e->active)
            end_all(e, &now);
    } else if (!v->paused) {
        list_some(e);
        begin_some(e);
        step_later(e);
    }
    encrypt_asked_look(v);
}

bool encrypter_marked(struct volume *v, uint64_t ino)
{
    struct index_mark m;

    return v->encrypter && v->encrypter->active && index_encrypt_get(v->index, ino, &m) == 0 &&
           m.state != INDEX_ENCRYPT_FAILED;
}

void encrypter_new(struct volume *v)
{
    struct index_encryption now;

    v->encrypter = xcalloc(1, sizeof(*v->encrypter));
    v->encrypter->volume = v;
    if (index_encryption(v->index, &now) < 0 || (now.files == 0 && now.directories == 0))
        return;
    if (index_begin(v->index) == 0)
        store(v, index_encrypt_resume(v->index));
    encrypter_begin(v);
}

void encrypter_stop(struct volume *v)
{
    if (!v->encrypter)
        return;
    v->encrypter->stopped = true;
    loop_timer_free(take_ptr(v->encrypter->timer));
    encrypt_asked_end(v);
}

void encrypter_free(struct volume *v)
{
    if (v->encrypter)
        loop_timer_free(v->encrypter->timer);
    free(take_ptr(v->encrypter));
}
