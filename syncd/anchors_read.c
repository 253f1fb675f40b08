/* Owns one segment of an agent on its way into the index: fetched, opened, judged, and joined with what is known there,
 * a part of it at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/anchors_internal.h"

enum { OBJECT_MOST = OBJECT_HEAD_MOST + 4 * CRYPT_OBJECT_CHUNK, AT_ONCE = 512 };

struct segment_reading {
    struct anchors *owner;         /* NULL: nobody wants it any more */
    struct volume *volume;         /* there for as long as the owner is */
    struct listed_segment listed;  /* its ETag is owned */
    segment_read_fn *done;
    struct errand *errand;
    uint8_t *bytes;                /* of the object, then of the segment */
    size_t n;
    uint64_t version;
    struct anchor_segment segment;
    size_t taken;                  /* entries that are in the index */
};

static void free_reading(struct segment_reading *r)
{
    free(r->listed.etag);
    free(r->bytes);
    free(r);
}

static void end(struct segment_reading *r, int code)
{
    struct anchors *a = r->owner;
    segment_read_fn *done = r->done;

    free_reading(r);
    a->reading = NULL;
    done(a, code);
}

static bool is_wanted(struct segment_reading *r)
{
    bool wanted = r->owner;

    if (!wanted)
        free_reading(r);
    return wanted;
}

static void refuse(struct segment_reading *r, int fault)
{
    anchors_fault(r->owner, r->listed.agent, r->listed.number, r->listed.etag, fault);
    end(r, 0);
}

/* --- into the index ------------------------------------------------------------------------------------- */

static int put_row(struct segment_reading *r)
{
    struct index_segment s = {
        .number = r->segment.number, .first = r->segment.first, .previous = r->segment.previous, .version = r->version,
        .etag = r->listed.etag,
    };

    memcpy(s.agent, r->segment.agent, ANCHOR_AGENT);
    return index_segment_put(r->volume->index, &s);
}

static int take_some(struct segment_reading *r)
{
    size_t to = least(r->segment.n, r->taken + AT_ONCE);
    int64_t now = loop_wall_ns();
    int code = 0;

    for (; r->taken < to && code == 0; r->taken++) {
        struct anchor a = anchor_entry(r->bytes, r->taken);

        code = index_anchor_take(r->volume->index, &a, now, &r->owner->accepted);
    }
    return code < 0 || to < r->segment.n ? code : put_row(r);
}

static void take(void *arg)
{
    struct segment_reading *r = arg;
    int code;

    if (!is_wanted(r))
        return;
    code = index_begin(r->volume->index);
    if (code == 0)
        code = index_end(r->volume->index, take_some(r));
    if (code == 0 && r->taken < r->segment.n)
        loop_defer(r->volume->loop, take, r);
    else
        end(r, code);
}

/* --- judging --------------------------------------------------------------------------------------------- */

static bool is_older(struct segment_reading *r)
{
    CLEANUP(index_segment_done) struct index_segment known = { 0 };

    return index_segment_get(r->volume->index, r->listed.agent, r->listed.number, &known) == 0 &&
           r->version < known.version;
}

static void unsealed(const struct error *e, const uint8_t *plain, size_t length, void *arg)
{
    struct segment_reading *r = arg;

    if (!is_wanted(r))
        return;
    if (e->code && e->code != -EBADMSG) {
        end(r, e->code);
        return;
    }
    if (e->code || anchor_segment_read(plain, length, &r->segment) < 0 ||
        memcmp(r->segment.agent, r->listed.agent, ANCHOR_AGENT) != 0 || r->segment.number != r->listed.number) {
        refuse(r, -EBADMSG);
        return;
    }
    if (is_older(r)) {
        refuse(r, -EREMCHG);
        return;
    }
    memcpy(r->bytes, plain, length);
    loop_defer(r->volume->loop, take, r);
}

/* Anybody can encrypt for the drive; only who knows its identity can bind a segment to its name. */
static void opened(const struct error *e, const struct object_key *key, void *arg)
{
    struct segment_reading *r = arg;

    if (!is_wanted(r))
        return;
    if (e->code && !object_is_refusal(e->code)) {
        end(r, e->code);
    } else if (e->code) {
        refuse(r, e->code);
    } else if (!key->ours || r->n <= key->head_size || r->n - key->head_size > 4 * CRYPT_OBJECT_CHUNK) {
        refuse(r, -EBADMSG);
    } else {
        r->version = key->version;
        object_unseal(r->volume, key, 0, r->bytes + key->head_size, r->n - key->head_size, unsealed, r);
    }
}

/* --- fetching -------------------------------------------------------------------------------------------- */

static void open_it(struct segment_reading *r)
{
    static const struct cloud_meta none;
    char key[sizeof(ANCHORS_FOLDER) + ANCHOR_NAME] = ANCHORS_FOLDER "/";
    struct object_question q = {
        .key = key, .head = r->bytes, .n = least(r->n, OBJECT_HEAD_MOST), .size = r->n, .meta = &none,
    };

    anchor_name(r->listed.agent, r->listed.number, key + sizeof(ANCHORS_FOLDER));
    if (object_is_age(r->bytes, r->n))
        object_open_now(r->volume, &q, opened, r);
    else
        refuse(r, -EBADMSG);
}

static bool on_data(struct cloud_request *request, const void *bytes, size_t n, void *arg)
{
    const struct errand *e = arg;
    struct segment_reading *r = e->owner;

    (void)request;
    n = r ? least(n, r->listed.size - r->n) : 0;
    if (n)
        memcpy(r->bytes + r->n, bytes, n);
    if (n)
        r->n += n;
    return true;
}

/* What was removed or written meanwhile the next listing tells. */
static void on_done(struct cloud_request *request, void *owner, size_t n)
{
    struct segment_reading *r = owner;
    int code = request->error.code;

    (void)n;
    r->errand = NULL;
    cloud_request_free(request);
    if (code == 0 && r->n != r->listed.size)
        code = -ESTALE;
    if (code)
        end(r, code);
    else
        open_it(r);
}

static void refuse_long(void *arg)
{
    struct segment_reading *r = arg;

    if (is_wanted(r))
        refuse(r, -EMSGSIZE);
}

void segment_read(struct anchors *a, const struct listed_segment *l, segment_read_fn *done)
{
    CLEANUP_FREE char *key = anchors_key(a, l->agent, l->number);
    struct segment_reading *r = xcalloc(1, sizeof(*r));
    struct cloud_request *request;

    *r = (struct segment_reading){ .owner = a, .volume = a->v, .listed = *l, .done = done };
    r->listed.etag = xstrdup(l->etag);
    a->reading = r;
    if (l->size > OBJECT_MOST || l->size < OBJECT_LEAST) {
        loop_defer(a->v->loop, refuse_long, r);
        return;
    }
    r->bytes = xcalloc(1, l->size + ANCHOR_SEGMENT_MOST);
    request = cloud_request_new(CLOUD_GET, NULL, NULL);
    cloud_request_set(&request->bucket, a->v->bucket);
    cloud_request_set(&request->key, key);
    cloud_request_set(&request->if_match, *l->etag ? l->etag : NULL);
    request->data = on_data;
    request->deadline_ms = (uint64_t)a->v->config->read_deadline_seconds * 1000;
    r->errand = errand_submit(a->v, request, on_done, r, 0);
}

/* What is under way at cryptd, or in the loop, comes back and finds that nobody wants it. */
void segment_read_end(struct anchors *a)
{
    struct segment_reading *r = take_ptr(a->reading);
    struct errand *e = r ? r->errand : NULL;

    if (!r)
        return;
    r->owner = NULL;
    if (!e)
        return;
    errand_abandon(a->v, e);
    free_reading(r);
}
