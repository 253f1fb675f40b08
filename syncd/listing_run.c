/* One listing under way: pages in turn, and before each is taken into the index the metadata of empty
 * objects, which may be symlinks. When the directory is renamed meanwhile, it begins anew.
 *
 * A large directory is listed in several ranges at once, between keys of files that the index knows of there: each from
 * behind one such key up to the next, so that together they are all there is, whatever has come or gone. (Such a key
 * has no slash behind the directory's, so no folder lies on both sides of it.) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/listing.h"

enum { PAGE_OBJECTS = 1000, RESTARTS_MAX = 5, RANGES_MAX = 8, RANGE_LEAST = 2 * PAGE_OBJECTS };

struct range {
    char *after, *end;                       /* whole keys; NULL: from the first, to the last */
    char *token;                             /* of the next page */
    char *first;                             /* what the last page began with */
    struct errand *request;                  /* the page under way */
    struct cloud_request *page;              /* the page that is here */
    bool ended;
};

struct listing_run {
    struct volume *v;
    uint64_t dir;
    lister_done_fn *done;
    void *arg;
    struct merge merge;
    struct range ranges[RANGES_MAX];
    size_t n_ranges;
    size_t n_listed;                         /* entries on the pages so far */
    struct range *now;                       /* whose page is being taken into the index */
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
    volume_submit(v, r);
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
 * same ones. What a rename left behind is wanted whole: nobody would ask for the rest. */
static size_t room(const struct listing_run *run)
{
    const Lf__CloudDrive *d = run->v->drive;
    size_t n = run->n_listed - run->merge.marker;

    if (!d->has_objects_per_folder || d->objects_per_folder <= 0 || merge_elsewhere(&run->merge))
        return SIZE_MAX;
    return (size_t)d->objects_per_folder > n ? (size_t)d->objects_per_folder - n : 0;
}

static void ask_page(struct listing_run *run, struct range *range)
{
    CLEANUP_FREE char *prefix = volume_full_key(run->v, run->merge.prefix);
    struct cloud_request *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    cloud_request_set(&r->bucket, run->v->bucket);
    cloud_request_set(&r->prefix, prefix);
    cloud_request_set(&r->token, range->token);
    cloud_request_set(&r->start_after, range->after);
    r->delimiter = '/';
    r->limit = room(run) < PAGE_OBJECTS ? (uint32_t)room(run) : PAGE_OBJECTS;
    r->deadline_ms = (uint64_t)run->v->config->read_deadline_seconds * 1000;
    range->request = errand_submit(run->v, r, page_done, run, (size_t)(range - run->ranges));
}

static void clear_page(struct range *range)
{
    if (range->page)
        cloud_request_free(range->page);
    range->page = NULL;
}

/* --- ranges ------------------------------------------------------------------------------------------- */

static void forget_ranges(struct listing_run *run)
{
    for (size_t n = 0; n < run->n_ranges; n++) {
        errand_abandon(run->v, run->ranges[n].request);
        clear_page(&run->ranges[n]);
        free(run->ranges[n].after);
        free(run->ranges[n].end);
        free(run->ranges[n].token);
        free(run->ranges[n].first);
        run->ranges[n] = (struct range){ 0 };
    }
    for (size_t slot = 0; slot < HEADS_AT_ONCE; slot++)
        errand_abandon(run->v, take_ptr(run->heads[slot]));
    run->n_ranges = run->n_heads = 0;
    run->now = NULL;
}

static char *whole_key(const struct listing_run *run, const char *component)
{
    char *key = xcalloc(1, strlen(run->v->prefix) + strlen(run->merge.prefix) + strlen(component) + 1);

    return strcat(strcat(strcpy(key, run->v->prefix), run->merge.prefix), component);
}

/* A drive with a limit wants the first keys only. */
static void make_ranges(struct listing_run *run)
{
    char *components[RANGES_MAX - 1];
    bool one = room(run) < SIZE_MAX || run->v->lister->unordered;
    size_t n = one ? 0 : index_sample(run->v->index, run->dir, RANGE_LEAST, components, RANGES_MAX - 1);

    run->n_ranges = n + 1;
    for (size_t i = 0; i < n; i++) {
        run->ranges[i].end = whole_key(run, components[i]);
        run->ranges[i + 1].after = xstrdup(run->ranges[i].end);
        free(components[i]);
    }
}

/* Whether the page is in the order of the bytes and behind the beginning of its range. A server that orders otherwise,
 * or does not know start-after, could not be asked for a range. */
static bool is_ordered(const struct range *range)
{
    const struct cloud_request *page = range->page;
    const char *last = range->after ? range->after : "";

    for (size_t n = 0; n < page->n_objects; last = page->objects[n++].key)
        if (!page->objects[n].key || strcmp(page->objects[n].key, last) <= 0)
            return false;
    last = range->after ? range->after : "";
    for (size_t n = 0; n < page->n_prefixes; last = page->prefixes[n++])
        if (strcmp(page->prefixes[n], last) <= 0)
            return false;
    return true;
}

/* A server that begins with the same thing again goes round in a circle, whatever it calls the next page. Keeps what
 * the page begins with. */
static bool is_repeated(struct range *range)
{
    const struct cloud_request *page = range->page;
    const char *first = page->n_objects ? page->objects[0].key : page->n_prefixes ? page->prefixes[0] : NULL;
    bool same = first && range->first && strcmp(first, range->first) == 0;

    xstrset(&range->first, first);
    return same;
}

/* What is behind the end is another range's. */
static void clip(struct range *range)
{
    struct cloud_request *page = range->page;

    range->ended = !page->next_token;
    if (!range->end)
        return;
    for (size_t n = page->n_objects; n > 0 && strcmp(page->objects[n - 1].key, range->end) > 0; n--) {
        free(take_ptr(page->objects[n - 1].key));
        range->ended = true;
    }
    for (; page->n_prefixes > 0 && strcmp(page->prefixes[page->n_prefixes - 1], range->end) > 0; page->n_prefixes--) {
        free(page->prefixes[page->n_prefixes - 1]);
        range->ended = true;
    }
}

static int begin(struct listing_run *run)
{
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    int r = index_get(run->v->index, run->dir, &dir);

    if (r < 0)
        return r;
    forget_ranges(run);
    run->n_listed = 0;
    merge_done(&run->merge);
    r = merge_begin(&run->merge, run->v, &dir);
    if (r < 0)
        return r;
    make_ranges(run);
    for (size_t n = 0; n < run->n_ranges; n++)
        ask_page(run, &run->ranges[n]);
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

static void restart(struct listing_run *run)
{
    int r = ++run->restarts <= RESTARTS_MAX ? begin(run) : -EAGAIN;

    if (r < 0)
        finish(run, r, NULL);
}

static void ask_heads(struct listing_run *run);

static bool all_ended(const struct listing_run *run)
{
    for (size_t n = 0; n < run->n_ranges; n++)
        if (!run->ranges[n].ended || run->ranges[n].page)
            return false;
    return true;
}

/* Pages are taken into the index one after the other, as they come. */
static void take_next_page(struct listing_run *run)
{
    for (size_t n = 0; n < run->n_ranges && !run->now; n++)
        if (run->ranges[n].page)
            run->now = &run->ranges[n];
    if (!run->now)
        return;
    run->next_object = 0;
    ask_heads(run);
}

static void merge(struct listing_run *run)
{
    struct range *range = run->now;
    int r;

    if (moved(run)) {
        restart(run);
        return;
    }
    r = merge_page(&run->merge, range->page);
    run->n_listed += range->page->n_objects + range->page->n_prefixes;
    xstrset(&range->token, range->page->next_token);
    clear_page(range);
    range->ended |= room(run) == 0;
    run->now = NULL;
    if (r == 0 && !range->ended)
        ask_page(run, range);
    if (r < 0 || all_ended(run))
        finish(run, r < 0 ? r : merge_end(&run->merge, room(run) == 0 && range->token), NULL);
    else
        take_next_page(run);
}

/* --- metadata ---------------------------------------------------------------------------------------- */

/* What keeps us from knowing passes; what the server refuses does not, then it counts as a file. */
static bool passes(int code)
{
    return code == -EHOSTUNREACH || code == -ETIMEDOUT || code == -EAGAIN || code == -ECANCELED;
}

static void head_done(struct cloud_request *r, void *owner, size_t slot)
{
    struct listing_run *run = owner;
    struct cloud_object *o = &run->now->page->objects[r->part_number];

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
    cloud_request_set(&r->key, run->now->page->objects[object].key);
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
    while (!run->failed.code && run->n_heads < HEADS_AT_ONCE && run->next_object < run->now->page->n_objects) {
        size_t object = run->next_object++;

        if (merge_wants_head(&run->merge, &run->now->page->objects[object]))
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
    struct range *range = &run->ranges[n];
    struct error circle = { 0 };

    range->request = NULL;
    range->page = r;
    if (r->error.code) {
        finish(run, r->error.code, &r->error);
    } else if (is_repeated(range)) {
        finish(run, error_set(&circle, -EBADMSG, "The provider lists the same objects again and again."), &circle);
    } else if (run->n_ranges > 1 && !is_ordered(range)) {
        LOG(LOG_NOTICE, "listings_unordered", "drive=%s", run->v->drive->id);
        run->v->lister->unordered = true;
        restart(run);
    } else {
        clip(range);
        if (!run->now)
            take_next_page(run);
    }
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
    forget_ranges(run);
    merge_done(&run->merge);
    free(run);
}
