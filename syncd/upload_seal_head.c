/* Owns the head and the key of an encrypted object on its way up, and its version, which is above that of what it
 * replaces, also where another machine's clock is ahead.
 *
 * Must not know what is sealed with the key (upload_seal.c). */
#include "syncd/upload_seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/object.h"
#include "syncd/store_anchor.h"

enum { US_NS = 1000, LOOK = 4096 };

/* --- head and key ------------------------------------------------------------------------------------- */

static uint64_t next_version(struct upload *u, uint64_t base)
{
    return most(most((uint64_t)loop_wall_ns() / US_NS, base + 1), index_anchor(u->volume->index, u->key) + 1);
}

static void take(struct upload *u, struct upload_seal *s)
{
    upload_seal_free(u->seal);
    u->seal = s;
    u->size = object_sealed_size(s->kept.head_size, s->kept.size);
}

static int take_made(struct upload_seal *s, const Lf__ObjectMade *m)
{
    if (m->key.len != sizeof(s->kept.key) || m->head.len == 0)
        return -EPROTO;
    memcpy(s->kept.key, m->key.data, sizeof(s->kept.key));
    s->kept.head_size = m->head.len;
    s->kept.head = xcalloc(1, m->head.len);
    memcpy(s->kept.head, m->head.data, m->head.len);
    return 0;
}

static struct upload_seal *new_seal(struct upload *u, uint64_t base)
{
    struct upload_seal *s = xcalloc(1, sizeof(*s));

    s->kept.generation = u->inode.generation;
    s->kept.session = u->volume->cache->session;
    s->kept.size = u->size;
    s->kept.version = next_version(u, base);
    return s;
}

static void made_head(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct seal_job *j = arg;
    void (*begun)(struct upload *u) = j->begun;
    struct upload *u = seal_job_end(j);
    int r;

    (void)fds;
    if (!u)
        return;
    r = reply ? take_made(u->seal, reply->object_made) : e->code;
    if (r == 0) {
        u->size = object_sealed_size(u->seal->kept.head_size, u->seal->kept.size);
        begun(u);
    } else if (reply) {
        upload_fail_code(u, r);
    } else {
        upload_fail(u, e);
    }
}

static void make_head(struct upload *u, uint64_t base, void (*next)(struct upload *u))
{
    Lf__ObjectMake msg = LF__OBJECT_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_MAKE, object_make, &msg);
    CLEANUP_FREE char *full = volume_full_key(u->volume, u->key);
    struct upload_seal *s = new_seal(u, base);
    struct seal_job *j = seal_job_new(u);

    upload_seal_free(u->seal);
    u->seal = s;
    j->begun = next;
    msg.name = (ProtobufCBinaryData){ strlen(full), (uint8_t *)full };
    msg.version = s->kept.version;
    keys_ask(u->volume->keys, &env, made_head, j);
}

/* --- what it replaces ------------------------------------------------------------------------------------ */

struct base_look {
    char bytes[LOOK];
    size_t n;
};

static bool on_base(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct upload *u = upload_of(arg);
    struct base_look *l = u ? u->base : NULL;

    (void)r;
    n = l ? least(n, LOOK - l->n) : 0;
    if (n)
        memcpy(l->bytes + l->n, bytes, n);
    if (n)
        l->n += n;
    return true;
}

/* Without an answer what is known has to do. */
static void base_seen(struct upload *u, struct cloud_request *r)
{
    struct base_look *l = take_ptr(u->base);
    uint64_t version = r->error.code ? 0 : object_head_version(l->bytes, l->n);

    free(l);
    make_head(u, version, u->sealing);
}

static void look_at_base(struct upload *u)
{
    struct cloud_request *r = upload_request(u, CLOUD_GET, u->inode.cloud_key, base_seen);

    u->base = xcalloc(1, sizeof(*u->base));
    cloud_request_set(&r->if_match, u->inode.etag);
    r->has_range = u->inode.cloud_size > LOOK;
    r->range_length = LOOK;
    r->data = on_base;
    upload_submit(u, r);
}

/* --- beginning ------------------------------------------------------------------------------------------- */

/* What an earlier try has left, when it was of the same bytes. */
static struct upload_seal *earlier(struct upload *u)
{
    struct upload_seal *s = xcalloc(1, sizeof(*s));

    if (index_sealing_get(u->volume->index, u->inode.ino, &s->kept) == 0 && s->kept.head &&
        s->kept.generation == u->inode.generation && s->kept.session == u->volume->cache->session &&
        s->kept.size == u->size && upload_in_parts(u, object_sealed_size(s->kept.head_size, u->size))) {
        s->in_parts = true;
        return s;
    }
    upload_seal_free(s);
    return NULL;
}

/* Whether the version of what lies at the key is known, or it can have none. */
static bool knows_version(struct upload *u, uint64_t *ret)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };

    if (object_get(u->volume, &u->inode, &o) < 0)
        return false;
    *ret = o.version;
    return o.kind == INDEX_OBJECT_PLAIN || o.head;
}

void upload_seal_begin(struct upload *u, void (*next)(struct upload *u))
{
    struct upload_seal *s;
    uint64_t base = 0;

    if (!object_seals(u->volume)) {
        next(u);
        return;
    }
    s = earlier(u);
    u->sealing = next;
    if (s) {
        take(u, s);
        next(u);
    } else if (upload_in_place(u) && !knows_version(u, &base)) {
        look_at_base(u);
    } else {
        make_head(u, base, next);
    }
}

bool upload_seal_kept(const struct upload *u)
{
    return u->seal->in_parts;
}

int upload_seal_keep(struct upload *u, const struct index_upload *row)
{
    struct index *x = u->volume->index;
    int r = 0;

    if (u->seal && row->part_size && !u->seal->in_parts) {
        u->seal->in_parts = true;
        r = index_sealing_put(x, u->inode.ino, &u->seal->kept);
    }
    return r == 0 ? index_upload_put(x, row) : r;
}

