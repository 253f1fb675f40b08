/* One listing under way: pages in turn, and before each is taken into the index the metadata of empty
 * objects, which may be symlinks. When the directory is renamed meanwhile, it begins anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/listing.h"

enum { PAGE_OBJECTS = 1000, RESTARTS_MAX = 5 };

struct listing_run {
    struct volume *v;
    uint64_t dir;
    lister_done_fn *done;
    void *arg;
    struct merge merge;
    char *token;                             /* of the next page */
    size_t n_listed;                         /* entries on the pages so far */
    struct errand *request;                  /* the page under way */
    struct cloud_request *page;              /* the page that is here */
    struct errand *heads[HEADS_AT_ONCE];     /* NULL: free */
    size_t n_heads, next_object;
    unsigned restarts;
    struct error failed;                     /* of a HEAD: the page cannot be used */
};

/* --- errands ---------------------------------------------------------------------------------------- */

static void errand_back(struct cloud_request *r, void *arg)
{
    CLEANUP_FREE struct errand *e = arg;

    if (e->owner)
        e->done(r, e->owner, e->n);
    else
        cloud_request_free(r);
}

struct errand *errand_submit(struct volume *v, struct cloud_request *r, errand_done_fn *done, void *owner, size_t n)
{
    struct errand *e = xcalloc(1, sizeof(*e));

    *e = (struct errand){ r, done, owner, n };
    r->done = errand_back;
    r->arg = e;
    cloud_submit(v->cloud, r);
    return e;
}

void errand_abandon(struct volume *v, struct errand *e)
{
    if (!e)
        return;
    e->owner = NULL;
    cloud_cancel(v->cloud, e->request);
}

/* --- pages ------------------------------------------------------------------------------------------- */

static void page_done(struct cloud_request *r, void *owner, size_t n);

/* Entries that may still come; the folder's own object is none. Pages are in the order of the keys, so it is always the
 * same ones. */
static size_t room(const struct listing_run *run)
{
    const Lf__CloudDrive *d = run->v->drive;
    size_t n = run->n_listed - run->merge.marker;

    if (!d->has_objects_per_folder || d->objects_per_folder <= 0)
        return SIZE_MAX;
    return (size_t)d->objects_per_folder > n ? (size_t)d->objects_per_folder - n : 0;
}

static void ask_page(struct listing_run *run)
{
    CLEANUP_FREE char *prefix = volume_full_key(run->v, run->merge.key);
    struct cloud_request *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    cloud_request_set(&r->bucket, run->v->bucket);
    cloud_request_set(&r->prefix, prefix);
    cloud_request_set(&r->token, run->token);
    r->delimiter = '/';
    r->limit = room(run) < PAGE_OBJECTS ? (uint32_t)room(run) : PAGE_OBJECTS;
    r->deadline_ms = (uint64_t)run->v->config->read_deadline_seconds * 1000;
    run->request = errand_submit(run->v, r, page_done, run, 0);
}

static void clear_page(struct listing_run *run)
{
    if (run->page)
        cloud_request_free(run->page);
    run->page = NULL;
    run->next_object = 0;
}

static int begin(struct listing_run *run)
{
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    CLEANUP_FREE char *key = index_key(run->v->index, run->dir);
    int r = index_get(run->v->index, run->dir, &dir);

    if (r < 0 || !key)
        return r < 0 ? r : -ENOENT;
    free(take_ptr(run->token));
    run->n_listed = 0;
    merge_done(&run->merge);
    merge_begin(&run->merge, run->v, &dir, key);
    ask_page(run);
    return 0;
}

static void finish(struct listing_run *run, int code, const struct error *why)
{
    struct error e = { .code = code };

    if (why)
        e = *why;
    run->done(&e, run->arg);
}

/* Keys of a directory that was moved meanwhile mean nothing any more. */
static bool moved(struct listing_run *run)
{
    CLEANUP_FREE char *key = index_key(run->v->index, run->dir);

    return !key || strcmp(key, run->merge.key) != 0;
}

static void merge(struct listing_run *run)
{
    int r;

    if (moved(run)) {
        r = ++run->restarts <= RESTARTS_MAX ? begin(run) : -EAGAIN;
        clear_page(run);
        if (r < 0)
            finish(run, r, NULL);
        return;
    }
    r = merge_page(&run->merge, run->page);
    run->n_listed += run->page->n_objects + run->page->n_prefixes;
    xstrset(&run->token, run->page->next_token);
    clear_page(run);
    if (r == 0 && run->token && room(run)) {
        ask_page(run);
        return;
    }
    finish(run, r < 0 ? r : merge_end(&run->merge, run->token != NULL), NULL);
}

/* --- metadata ---------------------------------------------------------------------------------------- */

static void ask_heads(struct listing_run *run);

/* What keeps us from knowing passes; what the server refuses does not, then it counts as a file. */
static bool passes(int code)
{
    return code == -EHOSTUNREACH || code == -ETIMEDOUT || code == -EAGAIN || code == -ECANCELED;
}

static void head_done(struct cloud_request *r, void *owner, size_t slot)
{
    struct listing_run *run = owner;
    struct cloud_object *o = &run->page->objects[r->part_number];

    run->heads[slot] = NULL;
    run->n_heads--;
    if (r->error.code == 0 && r->object.has_meta) {
        o->meta = r->object.meta;
        o->has_meta = true;
        r->object.meta = (struct cloud_meta){ 0 };
    } else if (r->error.code == -ENOENT) {
        free(take_ptr(o->key));
    } else if (passes(r->error.code)) {
        run->failed = r->error;
    }
    cloud_request_free(r);
    ask_heads(run);
}

static void ask_head(struct listing_run *run, size_t slot, size_t object)
{
    struct cloud_request *r = cloud_request_new(CLOUD_STAT, NULL, NULL);

    cloud_request_set(&r->bucket, run->v->bucket);
    cloud_request_set(&r->key, run->page->objects[object].key);
    r->part_number = (uint32_t)object;   /* means nothing to a STAT: which object it is about */
    r->deadline_ms = (uint64_t)run->v->config->read_deadline_seconds * 1000;
    run->n_heads++;
    run->heads[slot] = errand_submit(run->v, r, head_done, run, slot);
}

static size_t free_slot(const struct listing_run *run)
{
    size_t slot = 0;

    while (run->heads[slot])
        slot++;
    return slot;
}

static void ask_heads(struct listing_run *run)
{
    while (!run->failed.code && run->n_heads < HEADS_AT_ONCE && run->next_object < run->page->n_objects) {
        size_t object = run->next_object++;

        if (merge_wants_head(&run->merge, &run->page->objects[object]))
            ask_head(run, free_slot(run), object);
    }
    if (run->n_heads > 0)
        return;
    if (run->failed.code)
        finish(run, run->failed.code, &run->failed);
    else
        merge(run);
}

static void page_done(struct cloud_request *r, void *owner, size_t n)
{
    struct listing_run *run = owner;

    (void)n;
    run->request = NULL;
    run->page = r;
    if (r->error.code)
        finish(run, r->error.code, &r->error);
    else
        ask_heads(run);
}

/* --- the run ------------------------------------------------------------------------------------------- */

struct listing_run *listing_run_new(struct volume *v, uint64_t dir, lister_done_fn *done, void *arg)
{
    struct listing_run *run = xcalloc(1, sizeof(*run));

    run->v = v;
    run->dir = dir;
    run->done = done;
    run->arg = arg;
    if (begin(run) == 0)
        return run;
    listing_run_free(run);
    return NULL;
}

void listing_run_free(struct listing_run *run)
{
    if (!run)
        return;
    errand_abandon(run->v, run->request);
    for (size_t slot = 0; slot < HEADS_AT_ONCE; slot++)
        errand_abandon(run->v, run->heads[slot]);
    clear_page(run);
    merge_done(&run->merge);
    free(run->token);
    free(run);
}
