/* Objects of a bucket on their way to this machine, by somebody's wish: which they are, and what an earlier process has
 * left of them. A key that cannot be a path below the folder is left out and told at the end. Must not know how bytes
 * are moved (bucket_pull.c). */
#include "syncd/bucket_download.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/bucket_ended.h"
#include "syncd/bucket_place.h"
#include "syncd/bucket_pull.h"
#include "syncd/local_path.h"
#include "syncd/place.h"
#include "syncd/syncd.h"

enum { PULLS_AT_ONCE = 4, LISTED_AT_ONCE = 1000, KEY_SHOWN = 200 };

struct slot {
    struct pull *pull;              /* NULL: it is free */
    char *before;                   /* the key that was taken before that of the pull; owned */
};

struct bucket_download {
    struct haul haul;
    char *folder, *key;             /* owned */
    bool tree;
    int dir;                        /* -1: to be opened again */
    struct error open_error;
    struct cloud_object *objects;   /* of the page; owned */
    size_t n_objects, next;
    char *token;                    /* of the next page; owned */
    char *last;                     /* the key that was taken last, "" none; owned */
    bool asking, listed;
    struct slot slots[PULLS_AT_ONCE];
    uint64_t found, done;           /* bytes */
    uint64_t n_found, n_failed;
    struct error first;             /* of those that failed */
    struct bucket_ended ended;
    struct store_haul_file *left;   /* by an earlier process; those with a name are not taken yet. Owned */
    size_t n_left, next_left;
};

static void go_on(struct bucket_download *b);

static struct bucket_download *download_of(struct haul *e)
{
    return (struct bucket_download *)(void *)e;
}

/* --- what was left -------------------------------------------------------------------------------------------- */

/* NULL: nothing of that object. Keys come in their order. */
static struct store_haul_file *find_left(struct bucket_download *b, const char *key)
{
    while (b->next_left < b->n_left && strcmp(b->left[b->next_left].key, key) < 0)
        b->next_left++;
    if (b->next_left == b->n_left || strcmp(b->left[b->next_left].key, key) != 0)
        return NULL;
    return &b->left[b->next_left++];
}

static void remove_one(int dir, const char *above, const struct store_haul_file *f)
{
    CLEANUP_FREE char *relative = NULL;
    const char *name;
    int r = bucket_place(above, f->key, &relative, &name, NULL);
    CLEANUP_CLOSE int folder = r < 0 ? r : local_folder_at(dir, relative);

    if (folder >= 0)
        local_file_remove(folder, f->name);
}

/* Of objects that are gone from the bucket, or that nobody wants any more. */
static void remove_left(void *arg)
{
    struct bucket_download *b = arg;
    CLEANUP_FREE char *above = bucket_place_above(b->key);
    CLEANUP_CLOSE int opened = b->dir < 0 ? local_folder_open(b->folder, NULL) : -1;
    int dir = b->dir < 0 ? opened : b->dir;

    for (size_t i = 0; i < b->n_left && dir >= 0; i++)
        if (b->left[i].name)
            remove_one(dir, above, &b->left[i]);
}

static void forget_left(struct bucket_download *b)
{
    store_haul_files_free(take_ptr(b->left), b->n_left);
    b->n_left = b->next_left = 0;
}

static bool has_left(const struct bucket_download *b)
{
    for (size_t i = 0; i < b->n_left; i++)
        if (b->left[i].name)
            return true;
    return false;
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static void note_end(struct bucket_download *b, const char *key, uint64_t bytes, const struct error *why)
{
    struct error e;

    if (why && b->tree) {
        error_set(&e, why->code, "%.*s: %s", KEY_SHOWN, key, error_text(why));
        why = &e;
    }
    bucket_ended_add(&b->ended, key, bytes, why);
    if (why && b->n_failed++ == 0)
        b->first = *why;
}

static void report(struct bucket_download *b)
{
    struct error e = { 0 };

    if (!b->tree)
        e = b->first;
    else if (b->n_found == 0)
        error_set(&e, -ENOENT, "There is nothing below that prefix.");
    else if (b->n_failed)
        error_set(&e, b->first.code, "%llu of %llu objects were not downloaded. The first of them is %s",
                  (unsigned long long)b->n_failed, (unsigned long long)b->n_found, b->first.text);
    haul_end(&b->haul, &e);
}

static void left_removed(struct haul *e, void *arg)
{
    struct bucket_download *b = arg;

    (void)e;
    b->asking = false;
    forget_left(b);
    go_on(b);
}

static void finish(struct bucket_download *b)
{
    if (!has_left(b)) {
        report(b);
        return;
    }
    b->asking = true;
    haul_work(&b->haul, remove_left, left_removed, b);
}

/* --- one after the other ---------------------------------------------------------------------------------------- */

/* The key up to which all have ended. */
static const char *ended_up_to(const struct bucket_download *b)
{
    const char *key = b->last;

    for (size_t i = 0; i < ARRAY_SIZE(b->slots); i++)
        if (b->slots[i].pull && strcmp(b->slots[i].before, key) < 0)
            key = b->slots[i].before;
    return key;
}

static struct slot *slot_of(struct bucket_download *b, const struct pull *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(b->slots); i++)
        if (b->slots[i].pull == p)
            return &b->slots[i];
    abort();
}

static void pulled(struct haul *e, struct pull *p, const struct error *why)
{
    struct bucket_download *b = download_of(e);
    uint64_t bytes = why->code ? 0 : pull_moved(p);
    bool recorded = pull_recorded(p);

    slot_of(b, p)->pull = NULL;
    b->done += bytes;
    note_end(b, pull_key(p), bytes, why->code ? why : NULL);
    pull_free(p);
    if (b->tree)
        bucket_ended_up_to(&b->ended, e, ended_up_to(b), recorded);
    go_on(b);
}

/* What is left of another version is only a name. */
static void set_left(struct pull_spec *spec, const struct store_haul_file *left, const struct cloud_object *o)
{
    bool same = left->etag && o->etag && *o->etag && strcmp(left->etag, o->etag) == 0 && left->size == o->size;

    spec->left = left->name;
    spec->left_bytes = same && left->done <= o->size ? left->done : 0;
}

static struct pull *new_pull(struct bucket_download *b, const struct cloud_object *o,
                             const struct store_haul_file *left, struct error *e)
{
    CLEANUP_FREE char *folder = NULL, *above = bucket_place_above(b->key);
    const char *name = NULL;
    struct pull_spec spec = { .base = b->dir, .key = o->key, .etag = o->etag, .size = o->size,
                              .mtime_ns = o->mtime_ns, .since_ns = b->haul.resumed ? b->haul.begun_ns : 0 };

    if (bucket_place(above, o->key, &folder, &name, e) < 0 ||
        bucket_place_check(b->haul.d, b->folder, folder, name, e) < 0)
        return NULL;
    spec.folder = folder;
    spec.name = name;
    if (left)
        set_left(&spec, left, o);
    return pull_new(&b->haul, &spec, pulled);
}

/* It was there before the earlier process ended. */
static void count_left(struct bucket_download *b, const struct store_haul_file *left)
{
    b->done += left->size;
    note_end(b, left->key, left->size, NULL);
}

static void take(struct bucket_download *b, struct slot *slot, const struct cloud_object *o)
{
    struct store_haul_file *left = find_left(b, o->key);
    struct error e = { 0 };

    b->found += o->size;
    if (left && !left->name) {
        count_left(b, left);
        return;
    }
    slot->pull = new_pull(b, o, left, &e);
    if (slot->pull && left)
        free(take_ptr(left->name));
    if (slot->pull)
        xstrset(&slot->before, b->last);
    else
        note_end(b, o->key, 0, &e);
}

static void take_next(struct bucket_download *b, struct slot *slot)
{
    const struct cloud_object *o = &b->objects[b->next++];

    b->n_found++;
    take(b, slot, o);
    xstrset(&b->last, o->key);
    haul_sized(&b->haul, b->found);
    if (slot->pull)
        pull_go(slot->pull);
}

/* --- which there are ---------------------------------------------------------------------------------------------- */

static void drop_page(struct bucket_download *b)
{
    for (size_t i = 0; i < b->n_objects; i++) {
        free(b->objects[i].key);
        free(b->objects[i].etag);
    }
    free(take_ptr(b->objects));
    b->n_objects = b->next = 0;
}

static void add_object(struct bucket_download *b, const struct cloud_object *o)
{
    struct cloud_object *mine = &b->objects[b->n_objects++];

    *mine = (struct cloud_object){ .key = xstrdup(o->key), .etag = xstrdup(o->etag), .size = o->size,
                                   .mtime_ns = o->mtime_ns };
}

static void take_page(struct bucket_download *b, struct cloud_request *r)
{
    drop_page(b);
    b->objects = xcalloc(r->n_objects ? r->n_objects : 1, sizeof(*b->objects));
    for (size_t i = 0; i < r->n_objects; i++)
        if (strcmp(r->objects[i].key, b->key) != 0)   /* the folder's own marker */
            add_object(b, &r->objects[i]);
    cloud_request_set(&b->token, r->next_token);
    b->listed = !b->token;
}

static void take_one(struct bucket_download *b, struct cloud_request *r)
{
    b->objects = xcalloc(1, sizeof(*b->objects));
    cloud_request_set(&r->object.key, b->key);
    if (r->object.has_meta && r->object.meta.has_mtime)
        r->object.mtime_ns = r->object.meta.mtime_ns;
    add_object(b, &r->object);
    b->listed = true;
}

static void found(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_download *b = download_of(e);

    (void)item;
    b->asking = false;
    if (r->error.code && !halted) {
        haul_end(e, &r->error);
        return;
    }
    if (r->error.code == 0 && b->tree)
        take_page(b, r);
    else if (r->error.code == 0)
        take_one(b, r);
    go_on(b);
}

static void find(struct bucket_download *b)
{
    struct cloud_request *r = haul_request(&b->haul, b->tree ? CLOUD_LIST : CLOUD_STAT, b->tree ? NULL : b->key);
    const char *after = b->ended.progress.after;
    struct error e = { 0 };

    if (b->tree) {
        cloud_request_set(&r->prefix, b->key);
        cloud_request_set(&r->token, b->token);
        cloud_request_set(&r->start_after, !b->token && after && *after ? after : NULL);
        r->limit = LISTED_AT_ONCE;
    }
    b->asking = true;
    if (haul_submit(&b->haul, r, found, NULL, &e) < 0)
        haul_end(&b->haul, &e);
}

/* Whether none is under way. */
static bool fill_slots(struct bucket_download *b)
{
    bool idle = true;

    for (size_t i = 0; i < ARRAY_SIZE(b->slots); i++) {
        while (!b->slots[i].pull && b->next < b->n_objects)
            take_next(b, &b->slots[i]);
        idle = idle && !b->slots[i].pull;
    }
    return idle;
}

/* --- where it goes -------------------------------------------------------------------------------------------- */

static void open_again(void *arg)
{
    struct bucket_download *b = arg;

    b->dir = local_folder_open(b->folder, &b->open_error);
}

static void opened_again(struct haul *e, void *arg)
{
    struct bucket_download *b = arg;

    b->asking = false;
    if (b->dir < 0)
        haul_end(e, &b->open_error);
    else
        go_on(b);
}

/* As the served user, like the first time, and by the same rules. */
static void open_folder(struct bucket_download *b)
{
    struct error e = { 0 };

    b->asking = true;
    if (place_check_haul(b->haul.d, b->folder, true, &e) < 0)
        haul_end(&b->haul, &e);
    else
        haul_work(&b->haul, open_again, opened_again, b);
}

static void go_on(struct bucket_download *b)
{
    bool idle;

    if (!haul_runs(&b->haul) || b->asking)
        return;
    if (b->dir < 0) {
        open_folder(b);
        return;
    }
    idle = fill_slots(b);
    if (b->next < b->n_objects)
        return;
    if (!b->listed)
        find(b);
    else if (idle)
        finish(b);
}

/* --- a haul ---------------------------------------------------------------------------------------------------- */

static void download_go(struct haul *e)
{
    struct bucket_download *b = download_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(b->slots) && haul_runs(e); i++)
        if (b->slots[i].pull)
            pull_go(b->slots[i].pull);
    go_on(b);
}

static uint64_t download_moved(struct haul *e)
{
    const struct bucket_download *b = download_of(e);
    uint64_t bytes = b->done;

    for (size_t i = 0; i < ARRAY_SIZE(b->slots); i++)
        bytes += b->slots[i].pull ? pull_moved(b->slots[i].pull) : 0;
    return bytes;
}

static void download_undo(struct haul *e)
{
    struct bucket_download *b = download_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(b->slots); i++)
        if (b->slots[i].pull)
            pull_undo(b->slots[i].pull);
    if (has_left(b))
        haul_work(e, remove_left, NULL, b);
}

static void download_free(struct haul *e)
{
    struct bucket_download *b = download_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(b->slots); i++) {
        pull_free(b->slots[i].pull);
        free(b->slots[i].before);
    }
    drop_page(b);
    forget_left(b);
    bucket_ended_free(&b->ended);
    free(b->token);
    free(b->last);
    free(b->folder);
    free(b->key);
    cleanup_close(&b->dir);
    haul_wipe(e);
    free(b);
}

static const struct haul_ops ops = { download_go, download_moved, download_undo, download_free };

struct haul *bucket_download_new(struct syncd *d, uint64_t trace)
{
    struct bucket_download *b = xcalloc(1, sizeof(*b));

    b->dir = -1;
    haul_init(&b->haul, d, &ops, trace);
    return &b->haul;
}

int bucket_download_begin(struct haul *haul, int dir, const struct bucket_download_spec *spec, struct error *e)
{
    struct bucket_download *b = download_of(haul);
    struct transfer_spec shown = { .id = spec->id, .mode = TRANSFER_DOWNLOAD, .path = spec->folder, .key = spec->key };
    struct store_haul h = { .origin = (char *)(uintptr_t)spec->origin,
                            .kind = spec->tree ? STORE_HAUL_TREE : STORE_HAUL_OBJECT,
                            .key = (char *)(uintptr_t)spec->key, .path = (char *)(uintptr_t)spec->folder };

    b->dir = dir;
    b->folder = xstrdup(spec->folder);
    b->key = xstrdup(spec->key);
    b->last = xstrdup("");
    b->tree = spec->tree;
    return haul_begin(haul, &shown, &h, e);
}

/* Of what the earlier process has counted. */
static void take_progress(struct bucket_download *b, const struct store_haul_progress *p)
{
    b->ended.progress = *p;
    b->ended.progress.after = xstrdup(p->after ? p->after : "");
    b->ended.progress.first_text = xstrdup(p->first_text);
    b->last = xstrdup(b->ended.progress.after);
    b->n_found = p->n_found;
    b->n_failed = p->n_failed;
    b->found = b->done = p->bytes;
    if (p->first_code)
        error_set(&b->first, p->first_code, "%s", p->first_text ? p->first_text : "");
}

void bucket_download_resume(struct haul *haul, const struct store_haul *h, struct transfer_spec *ret_shown)
{
    struct bucket_download *b = download_of(haul);
    int r = store_haul_files(haul->d->store, h->number, &b->left, &b->n_left);

    b->folder = xstrdup(h->path);
    b->key = xstrdup(h->key);
    b->tree = h->kind == STORE_HAUL_TREE;
    take_progress(b, &h->progress);
    if (r < 0 && !haul->trouble.code)
        error_set(&haul->trouble, r, "How far the download was cannot be read from the agent's state.");
    ret_shown->mode = TRANSFER_DOWNLOAD;
    ret_shown->size = b->found;
}
