/* Objects that have ended: those behind one that has not are kept one by one, the others are counted. */
#include "syncd/bucket_ended.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

static const int64_t PAUSE_NS = 1000000000;

void bucket_ended_add(struct bucket_ended *b, const char *key, uint64_t bytes, const struct error *why)
{
    struct ended_object *o = xadd(b->objects, b->n);

    *o = (struct ended_object){ .key = xstrdup(key), .bytes = bytes };
    if (!why)
        return;
    o->why = xcalloc(1, sizeof(*o->why));
    *o->why = *why;
}

static void free_object(struct ended_object *o)
{
    free(o->key);
    free(o->why);
}

static void count(struct store_haul_progress *p, const struct ended_object *o)
{
    p->n_found++;
    p->bytes += o->why ? 0 : o->bytes;
    if (o->why && p->n_failed++ == 0) {
        p->first_code = o->why->code;
        xstrset(&p->first_text, error_text(o->why));
    }
}

static void fold(struct bucket_ended *b, const char *key)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->n; i++) {
        struct ended_object *o = &b->objects[i];

        if (strcmp(o->key, key) > 0) {
            b->objects[kept++] = *o;
            continue;
        }
        count(&b->progress, o);
        free_object(o);
    }
    if (kept < b->n)
        b->n = kept;
    if (!b->progress.after || strcmp(key, b->progress.after) > 0)
        xstrset(&b->progress.after, key);
}

static void record(struct bucket_ended *b, struct haul *e)
{
    CLEANUP_FREE struct store_haul_file *files = xcalloc(b->n + 1, sizeof(*files));
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        const struct ended_object *o = &b->objects[i];

        if (!o->recorded && !o->why)
            files[n++] = (struct store_haul_file){ .key = o->key, .size = o->bytes, .done = o->bytes };
    }
    if (haul_record_progress(e, &b->progress, files, n) < 0)
        return;
    for (size_t i = 0; i < b->n; i++)
        b->objects[i].recorded = true;
}

void bucket_ended_up_to(struct bucket_ended *b, struct haul *e, const char *key, bool now)
{
    if (!now && loop_now_ns() - b->recorded_ns < PAUSE_NS)
        return;
    fold(b, key);
    record(b, e);
    b->recorded_ns = loop_now_ns();
}

void bucket_ended_free(struct bucket_ended *b)
{
    for (size_t i = 0; i < b->n; i++)
        free_object(&b->objects[i]);
    free(b->objects);
    free(b->progress.after);
    free(b->progress.first_text);
}
