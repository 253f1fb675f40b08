/* copy_file_range(2) made by the cloud: who may be copied into what, and who waits for it. The copy is made before it
 * is answered: one that only this machine knew of would be lost with the version that it is of.
 *
 * Whenever anything stands against it, or goes wrong, the answer is EOPNOTSUPP, and the kernel copies by reading and
 * writing. The answer that it is made is stored with its effect, so that whoever asks again has it; while it is being
 * made, whoever asks again waits on.
 *
 * Must not know how it is made (upload_clone.c). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/object.h"
#include "syncd/upload.h"

/* Of what is here nothing is downloaded, and what goes up in one request does so behind. */
static const uint64_t WORTH_COLD = CHUNK_COPIED_LEAST;
static const uint64_t WORTH_WARM = UPLOAD_SINGLE_MAX;

enum {
    LOOK_MS = 500,
    COPIES_AT_ONCE = 4,    /* of a drive: they do not leave connections to others */
};

#define S INT64_C(1000000000)

/* --- what is wanted, and whether it can be --------------------------------------------------------- */

struct wish {
    struct volume *v;
    const Lf__FsCopy *m;
    struct index_inode source, target;
    struct cache_file *from, *to;    /* `from` borrowed, NULL: not in use; `to` held */
    uint64_t length;                 /* what the source has of it */
};

static bool is_possible_now(const struct wish *w)
{
    const struct volume *v = w->v;
    unsigned needed = CLOUD_CAN_MULTIPART | CLOUD_CAN_COPY_PART;

    return volume_writable(w->v) == 0 && !object_seals(v) && (cloud_capabilities(v->cloud) & needed) == needed &&
        !reach_lost(&v->tally->reach) && uploader_may_copy(v->uploader);
}

static bool are_two_files(const struct wish *w)
{
    return w->source.ino != w->target.ino && S_ISREG(w->source.mode) && S_ISREG(w->target.mode) &&
        w->source.nlink > 0 && w->target.nlink > 0;
}

/* It is a version of the cloud's and nothing else, by the index, and by the map of a file that is in use. */
static bool is_version(const struct index_inode *i, const struct cache_file *f)
{
    return i->cloud_key && i->etag && *i->etag && i->size == i->cloud_size &&
        (!f || (atomic_load(&f->map->state) == CHUNK_MAP_CLEAN && cache_file_based(f, i->etag) &&
                cache_file_size(f) == i->size));
}

static bool source_is_clean(const struct wish *w)
{
    return !(w->source.pending & INDEX_CONTENT) && is_version(&w->source, w->from);
}

/* No mapping writes past everybody, of which nobody knows before it ends. */
static bool source_is_not_mapped(const struct wish *w)
{
    uint64_t tag = w->v->mount_tag;
    struct chunk_map head;

    if (w->from)
        return !(chunk_map_passed(w->from->map, tag) && chunk_map_written(w->from->map, tag));
    return !cache_file_peek(w->v->cache->dir_fd, w->source.ino, &head) ||
        !(chunk_map_passed(&head, tag) && chunk_map_written(&head, tag));
}

static bool is_worth_it(const struct wish *w)
{
    bool warm = w->from && cache_file_whole(w->from);

    return w->length >= (warm ? WORTH_WARM : WORTH_COLD);
}

/* It is empty, or what the cloud has of it is put before the rest. (It may be marked for that: the map says that it is
 * clean nevertheless.) */
static bool target_ends_there(const struct wish *w)
{
    return w->m->offset == w->target.size && cache_file_size(w->to) == w->target.size && !w->to->guard.is_lost &&
        (w->target.size == 0 || (w->target.size >= UPLOAD_CLONE_LEAST && is_version(&w->target, w->to)));
}

/* What is put first is then compared by the last request. */
static bool target_is_in_place(const struct wish *w)
{
    CLEANUP_FREE char *key = index_key(w->v->index, w->target.ino);

    return w->target.size == 0 || (key && strcmp(key, w->target.cloud_key) == 0);
}

/* Its metadata goes with it; and what the disk or a power cut took of it is another matter. */
static bool target_is_sound(const struct wish *w)
{
    return w->target.settled && !cache_lent(w->to) && !index_doubtful(w->v->index, w->target.ino);
}

static bool (*const conditions[])(const struct wish *w) = {
    is_possible_now, are_two_files, source_is_clean, source_is_not_mapped, is_worth_it, target_ends_there,
    target_is_in_place, target_is_sound,
};

static bool can_be(const struct wish *w)
{
    for (size_t n = 0; n < ARRAY_SIZE(conditions); n++)
        if (!conditions[n](w))
            return false;
    return true;
}

static void wish_done(struct wish *w)
{
    index_inode_done(&w->source);
    index_inode_done(&w->target);
    if (w->to)
        cache_release(w->to);
}

static bool wish_read(struct wish *w, struct volume *v, const Lf__FsCopy *m)
{
    uint64_t size;

    *w = (struct wish){ .v = v, .m = m };
    if (index_get(v->index, m->source, &w->source) < 0 || index_get(v->index, m->ino, &w->target) < 0 ||
        !S_ISREG(w->target.mode) || cache_acquire(v->cache, &w->target, &w->to) < 0)
        return false;
    size = w->source.size;
    w->from = cache_find(v->cache, m->source);
    w->length = m->source_offset < size ? least(m->length, size - m->source_offset) : 0;
    return true;
}

/* --- one that is wanted ---------------------------------------------------------------------------- */

struct copying {
    LIST_ENTRY(copying) next;
    struct volume *volume;
    Lf__FsCopy asked;
    struct upload *upload;           /* NULL: another change is to end first, of the target or where it is to be */
    uint64_t length;
    struct ipc_request *waiter;      /* NULL: was told to ask again, and has not yet */
    struct ipc_identity who;         /* waits, or waited last */
    int64_t waits_since_ns, heard_ns;
    struct loop_timer *timer;
};

static struct copying *find(struct volume *v, uint64_t ino)
{
    struct copying *c;

    LIST_FOREACH(c, &v->copies, next)
        if (c->asked.ino == ino)
            return c;
    return NULL;
}

static void answer(struct copying *c, uint64_t bytes, bool more)
{
    Lf__FsCopied copied = LF__FS_COPIED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_COPIED, fs_copied, &copied);

    copied.bytes = bytes;
    copied.has_more = copied.more = more;
    ipc_request_waited(c->waiter, c->waits_since_ns);
    ipc_reply(take_ptr(c->waiter), &reply, NULL, 0);
}

/* In the transaction. */
static int record(void *arg)
{
    const struct copying *c = arg;
    Lf__FsCopied copied = LF__FS_COPIED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_COPIED, fs_copied, &copied);

    copied.bytes = c->length;
    return fs_store_reply(c->volume, &c->who, &reply);
}

/* The kernel of a program that was interrupted, or whose worker died, has not heard of it. */
static void ended(int code, void *arg)
{
    CLEANUP_FREE struct copying *c = arg;

    LIST_REMOVE(c, next);
    loop_timer_free(c->timer);
    if (code == 0)
        volume_invalidate(c->volume, c->asked.ino, NULL, 0, CHANGED_ATTRIBUTES);
    if (c->waiter && code == 0)
        answer(c, c->length, false);
    else if (c->waiter)
        fs_fail(take_ptr(c->waiter), code == -ECANCELED ? code : -EOPNOTSUPP);
}

static void cancel(struct copying *c, bool even_at_its_end)
{
    if (c->upload)
        upload_clone_cancel(c->upload, even_at_its_end);
    else
        ended(-ECANCELED, c);
}

/* --- its turn -------------------------------------------------------------------------------------- */

static void start(struct copying *c, const struct wish *w)
{
    struct clone_spec spec = {
        .ino = w->target.ino, .size = w->target.size, .key = w->source.cloud_key, .etag = w->source.etag,
        .offset = w->m->source_offset, .length = w->length, .record = record, .ended = ended, .arg = c,
    };
    struct volume *v = c->volume;
    struct upload *up;

    c->length = w->length;
    up = upload_clone(v->uploader, &spec);
    if (find(v, spec.ino) == c)   /* else it has ended */
        c->upload = up;
}

static bool is_room(const struct volume *v)
{
    const struct copying *c;
    unsigned n = 0;

    LIST_FOREACH(c, &v->copies, next)
        n += c->upload != NULL;
    return n < COPIES_AT_ONCE;
}

/* Much may be otherwise by now. */
static void take_turn(struct copying *c)
{
    CLEANUP(wish_done) struct wish w = { 0 };

    if (!wish_read(&w, c->volume, &c->asked) || !can_be(&w))
        ended(-EOPNOTSUPP, c);
    else if (uploader_free_for(c->volume->uploader, c->asked.ino) && is_room(c->volume))
        start(c, &w);
}

void fs_copies_go_on(struct volume *v)
{
    struct copying *c = LIST_FIRST(&v->copies);

    while (c) {
        struct copying *next = LIST_NEXT(c, next);

        if (!c->upload)
            take_turn(c);
        c = next;
    }
}

void fs_copies_end(struct volume *v)
{
    while (!LIST_EMPTY(&v->copies))
        ended(-ECANCELED, LIST_FIRST(&v->copies));
}

/* The cloud does not answer, its turn does not come, or nobody waits any more. While the cloud puts the parts together
 * nothing is heard of it, which may be long. */
static bool is_in_vain(struct copying *c, int64_t now, int64_t patience)
{
    const struct upload *u = c->upload;

    if (u && u->placing && !upload_held_up(u))
        c->heard_ns = now;
    else if (u)
        c->heard_ns = u->heard_ns > c->heard_ns ? u->heard_ns : c->heard_ns;
    return now - c->heard_ns >= patience || (!c->waiter && now - c->waits_since_ns >= patience);
}

/* Whoever waits has a deadline of his own for each question. */
static void look(void *arg)
{
    struct copying *c = arg;
    int64_t now = loop_now_ns(), patience = c->volume->config->read_deadline_seconds * S;

    loop_timer_free(c->timer);
    c->timer = loop_timer(c->volume->loop, LOOK_MS, look, c);
    if (is_in_vain(c, now, patience)) {
        cancel(c, true);
    } else if (c->waiter && now - c->waits_since_ns >= patience / 2) {
        answer(c, 0, true);
        c->waits_since_ns = now;
    }
}

/* --- the requests ---------------------------------------------------------------------------------- */

static void wait_for(struct copying *c, struct ipc_request *req)
{
    if (c->waiter)
        fs_fail(take_ptr(c->waiter), -EOPNOTSUPP);   /* its worker is gone */
    c->waiter = req;
    c->who = ipc_request_identity(req);
    c->waits_since_ns = loop_now_ns();
}

static bool is_same(const struct copying *c, const Lf__FsCopy *m)
{
    const Lf__FsCopy *n = &c->asked;

    return n->source == m->source && n->source_offset == m->source_offset && n->offset == m->offset &&
        n->length == m->length;
}

static void begin(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsCopy *m = env->fs_copy;
    struct copying *c = find(v, m->ino);

    if (c && is_same(c, m)) {
        wait_for(c, req);
    } else if (c) {
        fs_fail(req, -EOPNOTSUPP);
    } else {
        c = xcalloc(1, sizeof(*c));
        c->volume = v;
        c->asked = *m;
        c->heard_ns = loop_now_ns();
        LIST_INSERT_HEAD(&v->copies, c, next);
        c->timer = loop_timer(v->loop, LOOK_MS, look, c);
        wait_for(c, req);
        take_turn(c);
    }
}

/* What is there of the file is dirty while it is being made, so the index says so as before any write to it. */
static void mark_and_begin(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(wish_done) struct wish w = { 0 };

    if (find(v, env->fs_copy->ino))
        begin(v, req, env);
    else if (wish_read(&w, v, env->fs_copy) && can_be(&w))
        fs_when_marked(v, req, env, env->fs_copy->ino, CHUNK_FILE_MAX, begin);
    else
        fs_fail(req, -EOPNOTSUPP);
}

void fs_copy(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct volume *v = fs_volume(req);
    Lf__Envelope *before;

    (void)fds;
    (void)daemon;
    if (fs_replay(v, req, &before) < 0) {
        mark_and_begin(v, req, env);
        return;
    }
    ipc_reply(req, before, NULL, 0);
    lf__envelope__free_unpacked(before, NULL);
}

void fs_copy_stop(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct copying *c = find(fs_volume(req), env->fs_copy_stop->ino);

    (void)fds;
    (void)daemon;
    if (c)
        cancel(c, false);
    ipc_done(req);
}
