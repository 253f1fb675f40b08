/* Owns what is known of a version that is, or may be, encrypted: its key, its size, and what of it was refused; and the
 * requests for it. The first one of a version whose head is not known brings that, and what is wanted with it if that
 * is the beginning; nothing else is asked for meanwhile. Of later ones each brings a run of chunks.
 *
 * Must not know which bytes are wanted (fetch_plan.c), nor how they come into the cache file (fetch_inflow.c). */
#include "syncd/fetch_inflow.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/store_anchor.h"

enum { HEAD_FIRST = 4096 };
static const int64_t BAD_NS = INT64_C(5000) * 1000000;

/* --- what is known ----------------------------------------------------------------------------------- */

void fetch_object_forget(struct cache_file *f)
{
    if (!f->fetch.object)
        return;
    free(f->fetch.object->etag);
    free(take_ptr(f->fetch.object));
}

static struct fetch_object *object_of(struct cache_file *f, const struct index_inode *i)
{
    struct fetch_object *o = f->fetch.object;

    if (o && (o->opening || strcmp(o->etag, i->etag ? i->etag : "") == 0))
        return o;
    fetch_object_forget(f);
    o = f->fetch.object = xcalloc(1, sizeof(*o));
    o->etag = xstrdup(i->etag ? i->etag : "");
    o->head_room = HEAD_FIRST;
    return o;
}

/* A ring of chunks that did not open, and when; of files that are closed meanwhile too. */
struct fetch_bad {
    struct {
        uint64_t ino, chunk;
        int64_t ns;
        char etag[64];             /* the beginning */
    } last[256];
    size_t n;
};

bool fetch_object_bad(const struct cache_file *f, uint64_t at)
{
    const struct fetch_bad *b = f->volume->bad;
    int64_t since = b ? loop_now_ns() - BAD_NS : 0;

    for (size_t n = 0; b && n < least(b->n, ARRAY_SIZE(b->last)); n++)
        if (b->last[n].ino == f->ino && b->last[n].chunk == at >> CHUNK_SHIFT && b->last[n].ns > since &&
            strncmp(b->last[n].etag, f->map->base, sizeof(b->last[n].etag) - 1) == 0)
            return true;
    return false;
}

void object_note_bad(struct cache_file *f, uint64_t at)
{
    struct volume *v = f->volume;
    size_t n;

    if (!v->bad)
        v->bad = xcalloc(1, sizeof(*v->bad));
    n = v->bad->n++ % ARRAY_SIZE(v->bad->last);
    v->bad->last[n].ino = f->ino;
    v->bad->last[n].chunk = at >> CHUNK_SHIFT;
    v->bad->last[n].ns = loop_now_ns();
    memcpy(v->bad->last[n].etag, f->map->base, sizeof(v->bad->last[n].etag) - 1);
    f->fetch.window = f->fetch.ahead = 0;
}

bool fetch_object_refuses(const struct cache_file *f, uint64_t from, uint64_t to, struct error *e)
{
    for (uint64_t at = from & ~(uint64_t)(CHUNK_SIZE - 1); f->volume->bad && at < to; at += CHUNK_SIZE)
        if (!chunk_present(f->map, at >> CHUNK_SHIFT) && fetch_object_bad(f, at)) {
            (void)object_refusal(-EBADMSG, e);
            e->code = -EBADMSG;
            return true;
        }
    return false;
}

/* --- what is found ------------------------------------------------------------------------------------ */

/* Into the index, for the version that was asked for. */
static int store(struct cache_file *f, const char *etag, const struct index_object *found, const char *key,
                 struct index_inode *i)
{
    struct index *x = f->volume->index;
    int r = index_get(x, f->ino, i);

    if (r == 0 && strcmp(i->etag ? i->etag : "", etag) != 0)
        return -ESTALE;
    if (r == 0)
        r = index_object_put(x, f->ino, i->etag, found);
    if (r == 0 && found->version)
        r = index_anchor_raise(x, key, found->version);
    if (r < 0 || i->pending & INDEX_CONTENT)
        return r;
    i->size = found->size;
    return index_update(x, i);
}

/* A file that nobody has open yet gets the size that its object tells. False: the transfer was stopped, because the
 * file begins anew with that size, or the index knows another version by now. */
static bool found(struct fetch_transfer *t, struct index_object *o)
{
    CLEANUP(index_inode_done) struct index_inode was = { 0 }, is = { 0 };
    struct cache_file *f = t->file, *same;
    struct volume *v = f->volume;
    int code = index_get(v->index, f->ino, &was);

    if (code == 0)
        code = index_begin(v->index);
    if (code == 0)
        code = index_end(v->index, store(f, f->fetch.object->etag, o, t->key, &is));
    if (code < 0) {
        inflow_end(t, &(struct error){ .code = code });
        return false;
    }
    if (is.size != was.size)
        object_corrected(v, f->ino);
    if (is.size != was.size)
        volume_invalidate(v, f->ino, NULL, 0, CHANGED_ATTRIBUTES);
    if (!cache_file_current(f, &is) && cache_acquire(v->cache, &is, &same) == 0)
        cache_release(same);
    return t->file;
}

/* The object is refused as a whole. */
static void refuse(struct fetch_transfer *t, const struct error *e, enum index_object_kind kind,
                   uint64_t version)
{
    struct cache_file *f = cache_hold(t->file);
    CLEANUP_FREE char *etag = xstrdup(f->fetch.object->etag);
    struct index_object bad = { .kind = kind, .size = cache_file_size(f) };
    CLEANUP(index_object_done) struct index_object known = { 0 };

    if (index_object_get(f->volume->index, f->ino, etag, &known) < 0 && index_begin(f->volume->index) == 0)
        (void)index_end(f->volume->index, index_object_put(f->volume->index, f->ino, etag, &bad));
    object_note_fault(f->volume, f->ino, etag, e->code, version);
    show_state(f->volume, f->ino, SHOW_ERROR);
    fetch_fail_all(f, e);
    if (t->file)
        inflow_end(t, e);
    cache_release(f);
}

/* --- the head ------------------------------------------------------------------------------------------- */

/* What was asked for is of use as it is. */
static void learned_plain(struct fetch_transfer *t)
{
    static const struct error none;
    struct index_object o = { .kind = INDEX_OBJECT_PLAIN, .size = t->object_size };
    struct fetch_object *object = t->file->fetch.object;

    t->in->at_head = object->opening = false;
    t->in->plain = true;
    object->kind = INDEX_OBJECT_PLAIN;
    if (!found(t, &o) || !t->file)
        return;
    if (t->from == 0 && t->to > 0)
        object_go_on(t);
    else
        inflow_end(t, &none);
}

/* The key is there; whether the file has the size that it thought it has is seen after. */
static void take_key(struct fetch_transfer *t, const struct object_key *key)
{
    struct fetch_inflow *in = t->in;
    struct fetch_object *object = t->file->fetch.object;
    struct index_object o = {
        .kind = INDEX_OBJECT_SEALED, .size = key->plain, .version = key->version, .head = in->bytes + in->skip,
        .head_size = key->head_size, .has_binding = t->meta.has_binding,
    };

    memcpy(o.binding, t->meta.binding, sizeof(o.binding));
    object->kind = INDEX_OBJECT_SEALED;
    object->opened = true;
    object->opening = in->at_head = false;
    object->key = *key;
    if (!found(t, &o) || !t->file)
        return;
    inflow_consume(in, key->head_size);
    object_go_on(t);
}

static void head_opened(const struct error *e, const struct object_key *key, void *arg)
{
    struct fetch_transfer *t = arg;
    struct cache_file *f = t->file ? cache_hold(t->file) : NULL;

    inflow_enter(t);
    t->in->opening = false;
    if (f && e->code == 0)
        take_key(t, key);
    else if (f && object_is_refusal(e->code))
        refuse(t, e, INDEX_OBJECT_SEALED, key ? key->version : 0);
    else if (f)
        inflow_end(t, e);
    inflow_leave(t);
    if (f)
        cache_release(f);
}

static void refuse_plain(struct fetch_transfer *t)
{
    struct error e;

    error_set(&e, -EUCLEAN, "%s was encrypted, and what lies there now is not.", t->key);
    object_refused(t->file->volume, t->key, &e);
    refuse(t, &e, t->meta.has_size ? INDEX_OBJECT_SEALED : INDEX_OBJECT_PLAIN, 0);
}

/* Whether there is enough of it to be looked at. */
static bool head_is_here(const struct fetch_inflow *in)
{
    return in->over || in->n >= OBJECT_HEAD_MOST || object_head_end(in->bytes + in->skip, in->n) ||
           (in->n >= OBJECT_LEAST && !object_is_age(in->bytes + in->skip, in->n));
}

/* More of it than was asked for is asked for now. */
static bool wants_more(struct fetch_transfer *t)
{
    struct fetch_inflow *in = t->in;

    return in->over && in->error.code == 0 && in->n >= in->asked && in->asked < OBJECT_HEAD_MOST &&
           in->asked < t->object_size && object_is_age(in->bytes + in->skip, in->n) &&
           !object_head_end(in->bytes + in->skip, in->n);
}

static void open_head(struct fetch_transfer *t)
{
    struct fetch_inflow *in = t->in;
    struct volume *v = t->file->volume;
    struct object_question q = {
        .key = t->key, .head = in->bytes + in->skip, .n = least(in->n, OBJECT_HEAD_MOST), .size = t->object_size,
        .meta = &t->meta,
    };

    if (!head_is_here(in))
        return;
    if (in->over && in->error.code) {
        inflow_end(t, &in->error);
    } else if (wants_more(t)) {
        t->file->fetch.object->head_room = OBJECT_HEAD_MOST;
        inflow_end(t, &in->error);
    } else if (object_is_age(q.head, q.n)) {
        in->opening = true;
        object_open(v, &q, head_opened, t);
    } else if (t->meta.has_size || index_anchor(v->index, t->key)) {
        refuse_plain(t);
    } else {
        learned_plain(t);
    }
}

void object_go_on(struct fetch_transfer *t)
{
    if (t->in->opening || t->in->writing)
        return;
    if (t->in->at_head)
        open_head(t);
    else
        inflow_write(t);
}

/* --- requests ------------------------------------------------------------------------------------------- */

/* Metadata say that nothing is encrypted there, where nothing is unless they say so. */
static bool is_surely_plain(const struct fetch_transfer *t, const struct cloud_request *r)
{
    struct cloud_object o = r->object;
    uint64_t size;

    o.size = t->object_size;
    return o.has_meta && object_told(t->file->volume, &o, &size) == INDEX_OBJECT_PLAIN;
}

static void learn_first(struct fetch_transfer *t, struct cloud_request *r)
{
    const struct cloud_meta *m = &r->object.meta;

    if (t->learned)
        return;
    t->meta.has_size = m->has_size;
    t->meta.size = m->size;
    t->meta.has_binding = m->has_binding;
    memcpy(t->meta.binding, m->binding, sizeof(t->meta.binding));
    fetch_learn(t, r);
    if (t->in->at_head && is_surely_plain(t, r))
        learned_plain(t);
}

static bool on_data(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct fetch_transfer *t = arg;
    struct cache_file *f = t->file;

    if (!f)
        return true;
    inflow_enter(t);
    cache_hold(f);
    inflow_append(t->in, bytes, n);
    uploader_answered(f->volume->uploader);
    learn_first(t, r);
    if (t->file)
        object_go_on(t);
    t->in->paused = t->file && t->in->n >= FETCH_WAITING_MOST;
    n = t->in->paused;
    inflow_leave(t);
    cache_release(f);
    return !n;
}

static void on_done(struct cloud_request *r, void *arg)
{
    struct fetch_transfer *t = arg;
    struct fetch_inflow *in = t->in;
    struct cache_file *f = t->file ? cache_hold(t->file) : NULL;

    inflow_enter(t);
    in->error = r->error;
    in->over = true;
    t->request = NULL;
    if (in->error.code == 0 && r->content_length != in->asked)
        error_set(&in->error, -ESTALE, "The object is shorter than it was.");
    if (f) {
        t->late = in->error.code && fetch_asked_for_old(f, r);
        fetch_checked(f->volume, r);
        object_go_on(t);
    }
    inflow_leave(t);
    if (f)
        cache_release(f);
    cloud_request_free(r);
}

static struct cloud_request *make_request(struct fetch_transfer *t, const struct index_inode *i, uint64_t first,
                                          uint64_t length)
{
    struct cloud_request *r = cloud_request_new(CLOUD_GET, on_done, t);
    struct volume *v = t->file->volume;
    CLEANUP_FREE char *key = volume_full_key(v, i->cloud_key);

    cloud_request_set(&r->bucket, v->bucket);
    cloud_request_set(&r->key, key);
    cloud_request_set(&r->if_match, i->etag);
    r->has_range = first > 0 || length < i->cloud_size;
    r->range_offset = first;
    r->range_length = length;
    r->data = on_data;
    r->checked = !r->has_range && fetch_checks(v, i->cloud_size);
    return r;
}

/* Of what is small all is asked for. */
static bool is_small(const struct fetch_transfer *t)
{
    return t->object_size <= FETCH_SPAN_LEAST && t->from == 0 && t->to > 0;
}

/* Bytes [*first, *first + *length) of the object are what [from, to) of the file lies in, and the head while that is
 * not known; without anything wanted of the beginning that alone. */
static void reach(struct fetch_transfer *t, const struct fetch_object *o, uint64_t *first, uint64_t *length)
{
    uint64_t head = o->opened ? o->key.head_size : object_usual_head(t->file->volume);
    uint64_t chunks, end;

    if (t->in->plain) {
        *first = t->from;
        *length = t->to - t->from;
        return;
    }
    if (!o->opened && t->from > 0)
        t->to = t->from;
    chunks = (t->to + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
    end = t->to > t->from ? object_chunk_at(head, chunks) : 0;
    if (!o->opened)
        end = is_small(t) ? t->object_size : most(end, o->head_room);
    *first = o->opened ? object_chunk_at(head, t->from >> CHUNK_SHIFT) : 0;
    *length = least(end, t->object_size) - *first;
}

/* What the index has of its head serves as well. */
static bool open_known(struct fetch_transfer *t, const struct index_object *known)
{
    struct fetch_inflow *in = t->in;

    if (!known->head)
        return false;
    inflow_append(in, known->head, known->head_size);
    t->meta.has_binding = known->has_binding;
    memcpy(t->meta.binding, known->binding, sizeof(t->meta.binding));
    t->to = t->from;
    in->over = true;
    return true;
}

/* Whoever planned it is through with its lists by then. */
static void open_later(void *arg)
{
    struct fetch_transfer *t = arg;

    inflow_enter(t);
    t->in->opening = false;
    if (t->file)
        object_go_on(t);
    inflow_leave(t);
}

void fetch_object_start(struct fetch_transfer *t, const struct index_inode *i)
{
    struct cache_file *f = t->file;
    struct fetch_object *o = object_of(f, i);
    CLEANUP(index_object_done) struct index_object known = { 0 };
    struct fetch_inflow *in = xcalloc(1, sizeof(*in));
    uint64_t length;

    (void)object_get(f->volume, i, &known);
    t->in = in;
    t->key = xstrdup(i->cloud_key);
    t->object_size = i->cloud_size;
    in->plain = known.kind == INDEX_OBJECT_PLAIN;
    in->at_head = o->opening = !in->plain && !o->opened;
    if (in->at_head && open_known(t, &known)) {
        in->opening = true;
        loop_defer(f->volume->loop, open_later, t);
        return;
    }
    reach(t, o, &in->at, &length);
    in->asked = length;
    t->request = make_request(t, i, in->at, length);
    volume_submit(f->volume, t->request);
}

/* What is not encrypted goes from the socket into the file, where that is not sealed. */
int fetch_object_ready(struct cache_file *f, const struct index_inode *i, uint64_t from)
{
    CLEANUP(index_object_done) struct index_object known = { 0 };
    const struct fetch_object *o;

    if (!f->volume->keys)
        return FETCH_STRAIGHT;
    (void)object_get(f->volume, i, &known);
    if (object_is_refused(&known))
        return known.fault;
    if (known.kind == INDEX_OBJECT_PLAIN)
        return f->is_sealed ? FETCH_CHUNKS : FETCH_STRAIGHT;
    o = object_of(f, i);
    if (o->opened && from >= o->key.plain)
        return -EIO;   /* a map that was lost was guessed wrong: the object has nothing there */
    return o->opening ? -EINPROGRESS : FETCH_CHUNKS;
}
