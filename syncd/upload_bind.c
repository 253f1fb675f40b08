/* Owns what an encrypted object needs to be copied by the cloud: its bytes stay as they are, so metadata say to which
 * name they belong now. Whose head is not known is asked for it. Only what belongs where it lies is bound to another
 * name: what is refused there is refused at the new one.
 *
 * Must not know how it is copied (upload_move.c). */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/object.h"
#include "syncd/store_anchor.h"

/* What is copied. An answer may come after the change was abandoned. */
struct upload_bind {
    struct upload *upload;         /* NULL: abandoned */
    unsigned awaited;              /* answers of cryptd */
    struct index_object object;    /* with its binding to the new name */
    void (*next)(struct upload *u);
};

void upload_bind_free(struct upload_bind *b)
{
    if (!b)
        return;
    b->upload = NULL;
    if (b->awaited)
        return;
    index_object_done(&b->object);
    free(b);
}

void upload_bind_abandon(struct upload *u)
{
    if (u->bind)
        u->bind->upload = NULL;
}

/* It is not encrypted after all. */
static void go_without(struct upload *u)
{
    struct upload_bind *b = take_ptr(u->bind);
    void (*next)(struct upload *u) = b->next;

    upload_bind_free(b);
    next(u);
}

/* --- binding ------------------------------------------------------------------------------------------- */

/* What was changed or is for others goes where it is to be all the same, and is refused there. */
static void bound(const struct error *e, const uint8_t *binding, void *arg)
{
    struct upload_bind *b = arg;
    struct upload *u = b->upload;

    b->awaited--;
    if (!u) {
        upload_bind_free(b);
        return;
    }
    if (e->code && !object_is_refusal(e->code)) {
        upload_fail(u, e);
        return;
    }
    b->object.has_binding = binding;
    if (binding)
        memcpy(b->object.binding, binding, sizeof(b->object.binding));
    b->next(u);
}

/* It would be older than what was there before it, and be taken for an old version. So it becomes a new one. What was
 * there itself may come back. */
static bool is_too_old(const struct upload *u)
{
    const struct index_object *o = &u->bind->object;
    uint64_t version = o->head ? object_head_version(o->head, o->head_size) : 0;

    return version && version < index_anchor_seen(u->volume->index, u->key);
}

static void ask_binding(struct upload *u)
{
    struct upload_bind *b = u->bind;

    b->awaited++;
    object_bind(u->volume, u->key, b->object.head, b->object.head_size, bound, b);
}

/* --- judging ------------------------------------------------------------------------------------------- */

static bool is_judged(const struct index_object *o)
{
    return o->version && (!o->fault || o->fault == -EBADMSG);
}

static void go_unbound(struct upload *u)
{
    struct upload_bind *b = u->bind;

    b->object.has_binding = false;
    b->next(u);
}

/* One that is too old gets a binding, and takes along what makes it that (upload_carry_anchor()): so its owner can
 * accept it at the new name, too. */
static void judged(const struct error *e, const struct object_key *key, void *arg)
{
    struct upload_bind *b = arg;
    struct upload *u = b->upload;

    (void)key;
    b->awaited--;
    if (!u)
        upload_bind_free(b);
    else if (e->code == 0 || e->code == -EREMCHG)
        ask_binding(u);
    else if (object_is_refusal(e->code))
        go_unbound(u);
    else
        upload_fail(u, e);
}

/* Its size is of no interest here. */
static void judge(struct upload *u)
{
    struct upload_bind *b = u->bind;
    struct cloud_meta meta = { .has_binding = b->object.has_binding };
    struct object_question q = {
        .key = u->inode.cloud_key, .head = b->object.head, .n = b->object.head_size, .size = u->inode.cloud_size,
        .meta = &meta,
    };

    memcpy(meta.binding, b->object.binding, sizeof(meta.binding));
    b->awaited++;
    object_open(u->volume, &q, judged, b);
}

static void bind_head(struct upload *u)
{
    struct upload_bind *b = u->bind;

    if (is_too_old(u)) {
        upload_bind_free(take_ptr(u->bind));
        upload_start_as(u, UPLOAD_CONTENT);
    } else if (!b->object.head) {
        b->next(u);
    } else if (is_judged(&b->object)) {
        ask_binding(u);
    } else {
        judge(u);
    }
}

/* --- its head -------------------------------------------------------------------------------------------- */

static bool on_data(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct upload *u = upload_of(arg);
    struct index_object *o = u ? &u->bind->object : NULL;

    (void)r;
    n = o ? least(n, OBJECT_HEAD_MOST - o->head_size) : 0;
    if (n) {
        memcpy((char *)o->head + o->head_size, bytes, n);
        o->head_size += n;
    }
    return true;
}

static void head_came(struct upload *u, struct cloud_request *r)
{
    struct index_object *o = &u->bind->object;
    uint64_t size;

    if (r->error.code) {
        upload_copy_failed(u, &r->error);
        return;
    }
    if (!object_is_age(o->head, o->head_size)) {
        go_without(u);
        return;
    }
    o->head_size = most(object_head_end(o->head, o->head_size), 1);
    r->object.size = u->inode.cloud_size;
    (void)object_told(u->volume, &r->object, &size);
    if (!r->object.meta.has_size)
        (void)object_plain_size(u->inode.cloud_size, o->head_size, &size);
    o->kind = INDEX_OBJECT_SEALED;
    o->size = size;
    o->has_binding = r->object.meta.has_binding;
    memcpy(o->binding, r->object.meta.binding, sizeof(o->binding));
    bind_head(u);
}

static void ask_for_head(struct upload *u)
{
    struct cloud_request *r = upload_request(u, CLOUD_GET, u->inode.cloud_key, head_came);

    index_object_done(&u->bind->object);
    u->bind->object = (struct index_object){ .head = xcalloc(1, OBJECT_HEAD_MOST) };
    cloud_request_set(&r->if_match, u->unconditional ? NULL : u->inode.etag);
    r->has_range = u->inode.cloud_size > OBJECT_HEAD_MOST;
    r->range_length = OBJECT_HEAD_MOST;
    r->data = on_data;
    upload_submit(u, r);
}

/* --- the contract -------------------------------------------------------------------------------------- */

void upload_bind_begin(struct upload *u, void (*next)(struct upload *u))
{
    bool moves = strcmp(u->inode.cloud_key, u->key) != 0;
    struct upload_bind *b;

    if (!u->volume->keys || !S_ISREG(u->inode.mode) || u->inode.cloud_size < OBJECT_LEAST) {
        next(u);
        return;
    }
    b = xcalloc(1, sizeof(*b));
    b->upload = u;
    b->next = next;
    upload_bind_free(take_ptr(u->bind));
    u->bind = b;
    (void)object_get(u->volume, &u->inode, &b->object);
    if (b->object.kind == INDEX_OBJECT_PLAIN)
        go_without(u);
    else if (b->object.kind == INDEX_OBJECT_SEALED && !moves)
        next(u);
    else if (b->object.head)
        bind_head(u);
    else
        ask_for_head(u);
}

void upload_bind_meta(const struct upload *u, struct cloud_meta *m)
{
    const struct index_object *o = &u->bind->object;

    m->has_size = o->kind == INDEX_OBJECT_SEALED;
    m->size = o->size;
    m->has_binding = o->has_binding;
    memcpy(m->binding, o->binding, sizeof(m->binding));
}

/* What was only asked for to be bound, or is refused, is judged where it is then. */
int upload_bind_record(struct upload *u, const char *etag)
{
    struct index_object o = u->bind->object;
    int r;

    if (!is_judged(&o)) {
        o.version = 0;
        o.head = NULL;
        o.head_size = 0;
    }
    o.fault = 0;
    r = index_object_put(u->volume->index, u->inode.ino, etag, &o);
    return r < 0 || !o.version ? r : index_anchor_put(u->volume->index, u->key, o.version);
}

int upload_carry_anchor(struct upload *u)
{
    uint64_t seen = u->kind == UPLOAD_COPY && u->inode.cloud_key && !upload_in_place(u)
        ? index_anchor_seen(u->volume->index, u->inode.cloud_key) : 0;

    return seen ? index_anchor_put(u->volume->index, u->key, seen) : 0;
}
