/* Owns the question which key opens an object, and whether it is the object that belongs to its name: cryptd says
 * whether it was made for it by somebody who knows the drive's identity, the index which version was seen last.
 *
 * Must not know how objects are fetched. */
#include "syncd/object.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/anchors.h"
#include "syncd/store_anchor.h"

#define ORIGIN "age-encryption.org/"
#define LAST_LINE "\n--- "

/* Half of all that there are. No agent comes to more, since they are microseconds; who says so wants none left. */
#define VERSION_CREDIBLE (UINT64_C(1) << 62)

enum { NONCE = 16, OPEN_FOREIGN = 0, OPEN_ELSEWHERE = 3 };   /* enum object_bound of cryptd/age_object.h */

/* --- its text ---------------------------------------------------------------------------------------- */

bool object_is_age(const void *bytes, size_t n)
{
    return n >= strlen(ORIGIN) && memcmp(bytes, ORIGIN, strlen(ORIGIN)) == 0;
}

size_t object_head_end(const void *bytes, size_t n)
{
    const char *begin = bytes, *line = memmem(begin, n, LAST_LINE, strlen(LAST_LINE)), *end;
    size_t at;

    if (!line)
        return 0;
    at = (size_t)(line - begin) + strlen(LAST_LINE);
    end = memchr(begin + at, '\n', n - at);
    at = end ? (size_t)(end - begin) + 1 + NONCE : n + 1;
    return at <= n ? at : 0;
}

uint64_t object_head_version(const void *bytes, size_t n)
{
    static const char stanza[] = "\n-> landfall/object-1 ";
    const char *begin = bytes, *at = memmem(begin, n, stanza, strlen(stanza));
    uint64_t version = 0;

    for (at = at ? at + strlen(stanza) : begin + n; at < begin + n && *at >= '0' && *at <= '9'; at++) {
        version = version * 10 + (uint64_t)(*at - '0');
        if (version > VERSION_CREDIBLE)
            return 0;
    }
    return version;
}

/* --- refusals ---------------------------------------------------------------------------------------- */

/* What the log calls them, and what is to be done. */
static const struct refusal {
    int code, shown;   /* and what a person is given: other codes mean something else there */
    const char *event, *advice;
} refusals[] = {
    { -EBADE, -EBADE, "object_damaged", "The header of the object was changed in the cloud. Restore the object, or "
      "delete it." },
    { -EBADMSG, -EBADE, "object_chunk_refused", "Bytes of the object were changed, exchanged or cut off in the cloud. "
      "Restore the object, or delete it; its other parts can be read." },
    { -ENOKEY, -ENOKEY, "object_for_others", "The object is encrypted for keys that this drive does not have. Import "
      "them with 'landfall key import'." },
    { -EUCLEAN, -EBADE, "object_unreadable", "The object was encrypted, and what lies in the cloud now is not. Restore "
      "the object, or delete it; if it was put there on purpose: 'landfall accept PATH'." },
    { -EOPNOTSUPP, -EBADE, "object_too_new", "The object says that another version of age made it. Restore it, or "
      "update Landfall." },
    { -EMSGSIZE, -EBADE, "object_head_too_long", "The header of the object is longer than any that is read. Restore "
      "the object, or delete it." },
    { -ENODATA, -EBADE, "object_cut", "The object has another size than what it says it contains. Restore it, or "
      "delete it." },
    { -EXDEV, -EBADE, "object_exchanged", "The object was made for another name, and put there by somebody else. "
      "Restore the object, or delete it." },
    { -EREMCHG, -EREMCHG, "object_rolled_back", "The object is older than one that was seen there before. If it was "
      "restored on purpose: 'landfall accept PATH'." },
};

static const struct refusal *refusal_of(int code)
{
    for (size_t n = 0; n < ARRAY_SIZE(refusals); n++)
        if (refusals[n].code == code)
            return &refusals[n];
    return NULL;
}

bool object_is_refusal(int code)
{
    return refusal_of(code);
}

void object_refused(struct volume *v, const char *key, const struct error *e)
{
    const struct refusal *r = refusal_of(e->code);
    CLEANUP_FREE char *full = volume_full_key(v, key);

    if (r)
        LOG(LOG_ERR, r->event, "drive=%s", v->drive->id, "key=%s", full, "error=%s", error_text(e), "advice=%s",
            r->advice);
}

bool object_refusal(int code, struct error *ret)
{
    const struct refusal *r = refusal_of(code);

    if (r)
        error_set(ret, r->shown, "%s", r->advice);
    return r;
}

const char *object_fault(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };
    const struct refusal *r;

    if (!v->keys || !i->cloud_key || i->pending & INDEX_CONTENT || object_get(v, i, &o) < 0)
        return NULL;
    r = o.fault ? refusal_of(o.fault) : NULL;
    return r ? r->advice : NULL;
}

static int note_fault(struct index *x, uint64_t ino, const char *etag, int code, uint64_t version)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };
    int r = index_object_get(x, ino, etag, &o);

    if (r < 0)
        return r;
    o.fault = code;
    if (code != -EBADMSG)
        o.version = version;
    o.found_ns = loop_wall_ns();
    return index_object_put(x, ino, etag, &o);
}

void object_note_fault(struct volume *v, uint64_t ino, const char *etag, int code, uint64_t version)
{
    int r = index_begin(v->index);

    if (r == 0)
        (void)index_end(v->index, note_fault(v->index, ino, etag, code, object_fault_version(v, code, version)));
}

/* --- opening ----------------------------------------------------------------------------------------- */

struct opening {
    struct volume *volume;
    char *key;
    uint64_t size;
    bool has_size;
    uint64_t claimed;             /* by its metadata */
    object_opened_fn *done;
    void *arg;
};

static int judge_size(const struct opening *o, const Lf__ObjectOpened *m, struct object_key *ret, struct error *e)
{
    if (object_plain_size(o->size, m->head_size, &ret->plain) < 0)
        return error_set(e, -ENODATA, "%s has %" PRIu64 " bytes, which no age file with its header has.", o->key,
                         o->size);
    if (o->has_size && o->claimed != ret->plain)
        return error_set(e, -ENODATA, "%s contains %" PRIu64 " bytes and says that it contains %" PRIu64 ".", o->key,
                         ret->plain, o->claimed);
    return 0;
}

/* Who knows no identity can make no version, so what he made counts as older than anything of ours. */
static int judge(const struct opening *o, const Lf__ObjectOpened *m, struct object_key *ret, struct error *e)
{
    uint64_t anchor = index_anchor(o->volume->index, o->key);

    if (m->key.len != CRYPT_KEY)
        return error_set(e, -EPROTO, "cryptd's answer is not one to what it was asked.");
    memcpy(ret->key, m->key.data, CRYPT_KEY);
    ret->head_size = m->head_size;
    ret->ours = m->bound != OPEN_FOREIGN;
    ret->version = ret->ours ? m->version : 0;
    if (m->bound == OPEN_ELSEWHERE)
        return error_set(e, -EXDEV, "%s was made for another name.", o->key);
    if (ret->version < anchor)
        return error_set(e, -EREMCHG, "%s is version %" PRIu64 ", and nothing below %" PRIu64 " belongs there.", o->key,
                         ret->version, anchor);
    return judge_size(o, m, ret, e);
}

static void end(struct opening *o)
{
    free(o->key);
    free(o);
}

/* That the drive's own keys cannot be opened says nothing of the object. */
static int blame(const struct volume *v, const struct error *e, struct error *ret)
{
    struct error why;

    *ret = *e;
    if (keys_state(v->keys, &why) < 0)
        error_set(ret, -ENOTCONN, "%s", error_text(e));
    return ret->code;
}

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct opening *o = arg;
    struct object_key key = { 0 };
    struct error result = { 0 };

    (void)fds;
    if (reply)
        (void)judge(o, reply->object_opened, &key, &result);
    else
        (void)blame(o->volume, e, &result);
    if (result.code)
        object_refused(o->volume, o->key, &result);
    o->done(&result, result.code && result.code != -EREMCHG ? NULL : &key, o->arg);
    end(o);
}

void object_open_now(struct volume *v, const struct object_question *q, object_opened_fn *done, void *arg)
{
    Lf__ObjectOpen msg = LF__OBJECT_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_OPEN, object_open, &msg);
    CLEANUP_FREE char *full = volume_full_key(v, q->key);
    struct opening *o = xcalloc(1, sizeof(*o));

    *o = (struct opening){
        .volume = v, .key = xstrdup(q->key), .size = q->size, .has_size = q->meta->has_size, .claimed = q->meta->size,
        .done = done, .arg = arg,
    };
    msg.name = (ProtobufCBinaryData){ strlen(full), (uint8_t *)full };
    msg.head = (ProtobufCBinaryData){ q->n, (uint8_t *)(uintptr_t)q->head };
    msg.has_moved = q->meta->has_binding;
    msg.moved = (ProtobufCBinaryData){ CLOUD_BINDING, (uint8_t *)(uintptr_t)q->meta->binding };
    keys_ask(v->keys, &env, answered, o);
}

/* --- what others tell first ---------------------------------------------------------------------------- */

struct delayed {
    struct volume *volume;
    struct object_question q;      /* with copies */
    struct cloud_meta meta;
    object_opened_fn *done;
    void *arg;
};

static void open_delayed(void *arg)
{
    struct delayed *d = arg;

    object_open_now(d->volume, &d->q, d->done, d->arg);
    free((void *)(uintptr_t)d->q.key);
    free((void *)(uintptr_t)d->q.head);
    free(d);
}

void object_open(struct volume *v, const struct object_question *q, object_opened_fn *done, void *arg)
{
    struct delayed *d;

    if (!anchors_unread(v)) {
        object_open_now(v, q, done, arg);
        return;
    }
    d = xcalloc(1, sizeof(*d));
    *d = (struct delayed){ .volume = v, .q = *q, .done = done, .arg = arg };
    d->q.key = xstrdup(q->key);
    d->q.head = memcpy(xcalloc(1, q->n + 1), q->head, q->n);
    d->q.meta = &d->meta;
    d->meta.has_size = q->meta->has_size;
    d->meta.size = q->meta->size;
    d->meta.has_binding = q->meta->has_binding;
    memcpy(d->meta.binding, q->meta->binding, sizeof(d->meta.binding));
    anchors_await(v, open_delayed, d);
}

/* --- what others told later ---------------------------------------------------------------------------- */

bool object_is_behind(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };
    uint64_t anchor;

    if (!object_seals(v) || !S_ISREG(i->mode) || !i->cloud_key || i->pending || object_get(v, i, &o) < 0)
        return false;
    anchor = index_anchor(v->index, i->cloud_key);
    return o.kind == INDEX_OBJECT_PLAIN ? anchor > 0 : o.head && o.version < anchor;
}

static int put_behind(struct volume *v, const struct index_inode *i, struct index_object *o)
{
    o->fault = o->kind == INDEX_OBJECT_PLAIN ? -EUCLEAN : -EREMCHG;
    o->found_ns = loop_wall_ns();
    return index_object_put(v->index, i->ino, i->etag, o);
}

void object_refuse_behind(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };
    bool news = object_get(v, i, &o) == 0 && !o.fault;
    struct error e;

    if (!news || index_begin(v->index) < 0 || index_end(v->index, put_behind(v, i, &o)) < 0)
        return;
    error_set(&e, o.fault, "%s is not the newest version of what an agent of the drive has put there.", i->cloud_key);
    object_refused(v, i->cloud_key, &e);
    show_state(v, i->ino, SHOW_ERROR);
}

/* --- bindings ---------------------------------------------------------------------------------------- */

struct binding {
    object_bound_fn *done;
    void *arg;
};

static void bound(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    static const struct error none;
    CLEANUP_FREE struct binding *b = arg;

    (void)fds;
    if (reply && reply->object_bound->binding.len == CLOUD_BINDING)
        b->done(&none, reply->object_bound->binding.data, b->arg);
    else if (!reply && e->code == -EINVAL)   /* it has no stanza of ours, so there is nothing to be bound */
        b->done(&none, NULL, b->arg);
    else
        b->done(reply ? &(struct error){ .code = -EPROTO } : e, NULL, b->arg);
}

void object_bind(struct volume *v, const char *to_key, const void *head, size_t n, object_bound_fn *done, void *arg)
{
    Lf__ObjectBind msg = LF__OBJECT_BIND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_BIND, object_bind, &msg);
    CLEANUP_FREE char *full = volume_full_key(v, to_key);
    struct binding *b = xcalloc(1, sizeof(*b));

    *b = (struct binding){ .done = done, .arg = arg };
    msg.name = (ProtobufCBinaryData){ strlen(full), (uint8_t *)full };
    msg.head = (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)head };
    keys_ask(v->keys, &env, bound, b);
}
