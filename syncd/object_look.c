/* Owns a look into an object whose metadata do not say what it is: its first bytes, and of an empty one its only tag.
 *
 * Must not know what follows from what is found. */
#include "syncd/object.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/listing.h"
#include "syncd/store_anchor.h"

enum { TAG = CRYPT_OBJECT_CHUNK - CRYPT_CHUNK, LOOK_MS = 2000 };

struct object_look {
    struct volume *volume;
    char *key;
    struct cloud_object *object;   /* NULL: nobody wants to know any more */
    object_looked_fn *done;
    void *arg;
    struct errand *errand;
    char *bytes;
    size_t n, room;
    unsigned awaited;              /* answers of cryptd */
};

static void free_look(struct object_look *l)
{
    free(l->bytes);
    free(l->key);
    free(l);
}

void object_look_end(struct object_look *l)
{
    if (!l)
        return;
    errand_abandon(l->volume, take_ptr(l->errand));
    l->object = NULL;
    if (!l->awaited)
        free_look(l);
}

static bool answered(struct object_look *l)
{
    l->awaited--;
    if (l->object)
        return true;
    if (!l->awaited)
        free_look(l);
    return false;
}

/* --- what was found ---------------------------------------------------------------------------------- */

static void found(struct object_look *l, bool sealed, uint64_t size, int refused)
{
    static const struct error none;
    struct cloud_object *o = l->object;

    o->looked_into = true;
    o->refused = refused;
    o->meta.has_size = sealed;
    o->meta.size = size;
    l->done(&none, l->arg);
}

/* It keeps the size that it seems to have, and nothing of it is read. */
static void found_bad(struct object_look *l, const struct error *e)
{
    uint64_t size;

    if (!object_is_refusal(e->code)) {
        l->done(e, l->arg);
        return;
    }
    (void)object_told(l->volume, l->object, &size);
    found(l, true, size, e->code);
}

static void refuse(struct object_look *l, int code, const char *why)
{
    struct error e;

    error_set(&e, code, "%s %s", l->key, why);
    object_refused(l->volume, l->key, &e);
    found_bad(l, &e);
}

/* What lies there is not encrypted, and should be. If metadata do not say that it is, its owner may accept it. */
static void refuse_plain(struct object_look *l)
{
    struct error e;

    if (l->object->meta.has_size) {
        refuse(l, -EUCLEAN, "says that it is encrypted, and is not.");
        return;
    }
    error_set(&e, -EUCLEAN, "%s was encrypted, and what lies there now is not.", l->key);
    object_refused(l->volume, l->key, &e);
    found(l, false, l->object->size, e.code);
}

/* --- nothing in it ----------------------------------------------------------------------------------- */

static void tag_opened(const struct error *e, const uint8_t *plain, size_t length, void *arg)
{
    struct object_look *l = arg;

    (void)plain;
    (void)length;
    if (!answered(l))
        return;
    if (e->code == -EBADMSG)
        refuse(l, -EBADMSG, "is not what was stored there: what it ends with does not belong to it.");
    else if (e->code)
        l->done(e, l->arg);
    else
        found(l, true, 0, 0);
}

/* --- the head ---------------------------------------------------------------------------------------- */

static void opened(const struct error *e, const struct object_key *key, void *arg)
{
    struct object_look *l = arg;

    if (!answered(l))
        return;
    if (e->code) {
        l->object->refused_version = key ? key->version : 0;
        found_bad(l, e);
        return;
    }
    if (key->plain) {
        found(l, true, key->plain, 0);
    } else if (l->n < key->head_size + TAG) {
        refuse(l, -ENODATA, "ends before it should.");
    } else {
        l->awaited++;
        object_unseal(l->volume, key, 0, l->bytes + key->head_size, TAG, tag_opened, l);
    }
}

static void read_head(struct object_look *l)
{
    struct cloud_object *o = l->object;
    struct object_question q = {
        .key = l->key, .head = l->bytes, .n = least(l->n, OBJECT_HEAD_MOST), .size = o->size, .meta = &o->meta,
    };

    if (!object_is_age(l->bytes, l->n) && !o->meta.has_size && index_anchor(l->volume->index, l->key) == 0) {
        found(l, false, o->size, 0);
    } else if (!object_is_age(l->bytes, l->n)) {
        refuse_plain(l);
    } else {
        l->awaited++;
        object_open(l->volume, &q, opened, l);
    }
}

static bool on_data(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    const struct errand *e = arg;
    struct object_look *l = e->owner;

    (void)r;
    n = l ? least(n, l->room - l->n) : 0;
    if (n)
        memcpy(l->bytes + l->n, bytes, n);
    if (n)
        l->n += n;
    return true;
}

static void on_done(struct cloud_request *r, void *owner, size_t n)
{
    struct object_look *l = owner;
    struct error e = r->error;
    bool other = l->object->etag && r->object.etag && strcmp(l->object->etag, r->object.etag) != 0;

    (void)n;
    l->errand = NULL;
    cloud_request_free(r);
    if (e.code == 0 && other)
        error_set(&e, -ESTALE, "%s was changed in the cloud meanwhile.", l->key);
    if (e.code)
        l->done(&e, l->arg);
    else
        read_head(l);
}

struct object_look *object_look(struct volume *v, const char *key, struct cloud_object *o, object_looked_fn *done,
                                void *arg)
{
    struct cloud_request *r = cloud_request_new(CLOUD_GET, NULL, NULL);
    CLEANUP_FREE char *full = volume_full_key(v, key);
    struct object_look *l = xcalloc(1, sizeof(*l));

    *l = (struct object_look){ .volume = v, .key = xstrdup(key), .object = o, .done = done, .arg = arg };
    l->room = least(o->size, OBJECT_HEAD_MOST + TAG);
    l->bytes = xcalloc(1, l->room + 1);
    cloud_request_set(&r->bucket, v->bucket);
    cloud_request_set(&r->key, full);
    cloud_request_set(&r->if_match, o->etag);
    r->has_range = l->room < o->size;
    r->range_length = l->room;
    r->data = on_data;
    r->deadline_ms = LOOK_MS;
    l->errand = errand_submit(v, r, on_done, l, 0);
    return l;
}
