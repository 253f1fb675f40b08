/* GET of the memory provider: the one operation that takes several turns of the loop, so that tests can pause
 * and cancel it.
 */
#include "syncd/cloud_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

enum { RUN = 64 * 1024 };

/* A copy of what was there when it began, handed over a run a turn of the loop. */
struct get {
    struct cloud_request *r;      /* NULL once it has ended */
    struct memory *memory;
    struct loop *loop;
    char *data;
    size_t size, at;
    bool paused, scheduled;
};

static void hand_over(void *arg);

static void schedule(struct get *g)
{
    if (g->scheduled)
        return;
    g->scheduled = true;
    loop_defer(g->loop, hand_over, g);
}

static struct cloud_request *leave(struct get *g)
{
    struct cloud_request *r = take_ptr(g->r);

    r->driver = NULL;
    schedule(g);
    return r;
}

static void end_get(struct get *g, int code)
{
    struct cloud_request *r = leave(g);

    (void)error_set(&r->error, code, "%s was not read to its end.", r->key);
    cloud_finish(r, &r->error);
}

static void all_delivered(struct get *g)
{
    struct error e = { 0 };
    int code = cloud_delivered(g->r, &e);
    struct cloud_request *r = g->r ? leave(g) : NULL;   /* NULL: canceled by its owner */

    if (r && code > 0)
        code = memory_get(g->memory, r, &e);
    if (r && !r->driver)
        cloud_finish(r, code < 0 ? &e : NULL);
}

static void hand_over(void *arg)
{
    struct get *g = arg;
    size_t n = least(g->size - g->at, RUN);
    int code;

    g->scheduled = false;
    if (!g->r) {
        free(g->data);
        free(g);
        return;
    }
    if (g->paused)
        return;
    code = n ? cloud_deliver(g->r, g->data + g->at, n) : 0;
    if (!g->r)   /* canceled by its owner: on the way to be freed */
        return;
    g->at += code < 0 ? 0 : n;
    g->paused = code > 0;
    if (code < 0)
        end_get(g, code);
    else if (g->at == g->size)
        all_delivered(g);
    else if (!g->paused)
        schedule(g);
}

static int get_range(const struct cloud_request *r, size_t size, size_t *ret_first, size_t *ret_length, struct error *e)
{
    *ret_first = 0;
    *ret_length = size;
    if (!r->has_range)
        return 0;
    if (r->range_offset >= size)
        return error_set(e, -ERANGE, "%s has only %zu bytes.", r->key, size);
    *ret_first = r->range_offset;
    *ret_length = least(size - *ret_first, r->range_length);
    return 0;
}

int memory_get(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_bucket *b;
    struct memory_object *o;
    struct get *g;
    size_t first, length;

    if (memory_bucket(m, r->bucket, &b, e) < 0 || memory_require(b, r->key, &o, e) < 0)
        return e->code;
    if (r->if_match && strcmp(o->blob.etag, r->if_match) != 0)
        return error_set(e, -ESTALE, "%s/%s has changed in the cloud meanwhile.", r->bucket, r->key);
    if (get_range(r, o->blob.size, &first, &length, e) < 0)
        return e->code;
    memory_show(r, o);
    r->object.opaque = m->opaque;
    g = xcalloc(1, sizeof(*g));
    *g = (struct get){ .r = r, .memory = m, .loop = r->cloud->loop, .data = xcalloc(1, length + 1), .size = length };
    memcpy(g->data, (const char *)o->blob.data + first, length);
    if (m->spoil)
        m->spoil(g->data, length, m->spoil_arg);
    r->driver = g;
    schedule(g);
    return 0;
}

void memory_get_cancel(struct cloud_request *r)
{
    if (r->driver)
        end_get(r->driver, -ECANCELED);
}

void memory_get_resume(struct cloud_request *r)
{
    struct get *g = r->driver;

    if (!g)
        return;
    g->paused = false;
    schedule(g);
}
