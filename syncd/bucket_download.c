/* Objects of a bucket on their way to this machine, by somebody's wish: which they are and where they go. A key that
 * cannot be a path below the folder is left out and told at the end. Must not know how bytes are moved
 * (bucket_pull.c). */
#include "syncd/bucket_download.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/bucket_pull.h"
#include "syncd/path.h"
#include "syncd/place.h"
#include "syncd/syncd.h"

enum { PULLS_AT_ONCE = 4, LISTED_AT_ONCE = 1000, KEY_SHOWN = 200 };

struct bucket_download {
    struct haul haul;
    char *folder, *key;             /* owned */
    bool tree;
    int dir;
    struct cloud_object *objects;   /* of the page; owned */
    size_t n_objects, next;
    char *token;                    /* of the next page; owned */
    bool asking, listed;
    struct pull *pulls[PULLS_AT_ONCE];
    uint64_t found, done;           /* bytes */
    size_t n_found, n_failed;
    struct error first;             /* of those that failed */
};

static void go_on(struct bucket_download *b);

static struct bucket_download *download_of(struct haul *e)
{
    return (struct bucket_download *)(void *)e;
}

/* --- where it goes ------------------------------------------------------------------------------------------ */

static int check_component(const char *name, size_t n, struct error *e)
{
    if (n == 0)
        return error_set(e, -EINVAL, "a part of its key between slashes is empty");
    if (n > NAME_MAX)
        return error_set(e, -ENAMETOOLONG, "a part of its key is longer than a name can be here");
    if ((n == 1 || n == 2) && strspn(name, ".") >= n)
        return error_set(e, -EPERM, "a part of its key is \".\" or \"..\"");
    return 0;
}

static int check_components(const char *relative, struct error *e)
{
    for (const char *p = relative; *p;) {
        size_t n = strcspn(p, "/");
        int r = check_component(p, n, e);

        if (r < 0)
            return r;
        p += n + (p[n] == '/');
    }
    return 0;
}

int bucket_download_place(const char *prefix, const char *key, char **ret_folder, const char **ret_name,
                          struct error *e)
{
    size_t skip = strlen(prefix);
    const char *relative = key + skip, *slash;
    int r = strncmp(key, prefix, skip) == 0 && *relative ? check_components(relative, e)
                                                         : error_set(e, -EINVAL, "it does not lie below the prefix");

    if (r < 0)
        return r;
    slash = strrchr(relative, '/');
    *ret_folder = slash ? strndup(relative, (size_t)(slash - relative)) : xstrdup("");
    if (!*ret_folder)
        return error_set(e, -ENOMEM, "there is no memory left");
    *ret_name = slash ? slash + 1 : relative;
    if (!**ret_name)
        *ret_name = NULL;
    return 0;
}

/* In the home directory itself hidden names are what programs are started with and keep their keys in. It may be the
 * folder, or lie below it. */
static int check_hidden(const struct bucket_download *b, const char *path, struct error *e)
{
    const char *homes[] = { b->haul.d->home, b->haul.d->home_real };

    for (size_t i = 0; i < ARRAY_SIZE(homes); i++) {
        const char *first = homes[i] && path_below(path, homes[i]) ? path + strlen(homes[i]) : "";

        first += strspn(first, "/");
        if (*first == '.')
            return error_set(e, -EPERM, "hidden names are not put into the home directory");
    }
    return 0;
}

/* What lies below the folder may be one of Landfall's own. */
static int check_place(const struct bucket_download *b, const char *folder, const char *name, struct error *e)
{
    CLEANUP_FREE char *above = NULL, *path = NULL;
    int r;

    if (asprintf(&above, "%s/%s", strcmp(b->folder, "/") == 0 ? "" : b->folder, folder) < 0 ||
        asprintf(&path, "%s%s%s", above, *folder ? "/" : "", name ? name : "") < 0)
        abort();
    r = check_hidden(b, path, e);
    return r < 0 ? r : place_check_local(b->haul.d, above, e);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static void note_failure(struct bucket_download *b, const char *key, const struct error *why)
{
    if (b->n_failed++)
        return;
    if (b->tree)
        error_set(&b->first, why->code, "%.*s: %s", KEY_SHOWN, key, error_text(why));
    else
        b->first = *why;
}

static void finish(struct bucket_download *b)
{
    struct error e = { 0 };

    if (!b->tree)
        e = b->first;
    else if (b->n_found == 0)
        error_set(&e, -ENOENT, "There is nothing below that prefix.");
    else if (b->n_failed)
        error_set(&e, b->first.code, "%zu of %zu objects were not downloaded. The first of them is %s", b->n_failed,
                  b->n_found, b->first.text);
    haul_end(&b->haul, &e);
}

/* --- one after the other ---------------------------------------------------------------------------------------- */

static void pulled(struct haul *e, struct pull *p, const struct error *why)
{
    struct bucket_download *b = download_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(b->pulls); i++)
        if (b->pulls[i] == p)
            b->pulls[i] = NULL;
    if (why->code)
        note_failure(b, pull_key(p), why);
    else
        b->done += pull_moved(p);
    pull_free(p);
    go_on(b);
}

/* The folder of the object, or that of the prefix: its own name comes along. */
static char *prefix_above(const char *key)
{
    size_t n = strlen(key);
    char *above;

    n -= n && key[n - 1] == '/';
    while (n && key[n - 1] != '/')
        n--;
    above = strndup(key, n);
    if (!above)
        abort();
    return above;
}

static struct pull *new_pull(struct bucket_download *b, const struct cloud_object *o, struct error *e)
{
    CLEANUP_FREE char *folder = NULL, *above = prefix_above(b->key);
    const char *name = NULL;
    struct pull_spec spec = { .base = b->dir, .key = o->key, .etag = o->etag, .size = o->size,
                              .mtime_ns = o->mtime_ns };

    if (bucket_download_place(above, o->key, &folder, &name, e) < 0 || check_place(b, folder, name, e) < 0)
        return NULL;
    spec.folder = folder;
    spec.name = name;
    return pull_new(&b->haul, &spec, pulled);
}

static void take_next(struct bucket_download *b, struct pull **slot)
{
    const struct cloud_object *o = &b->objects[b->next++];
    struct error e = { 0 };

    b->n_found++;
    *slot = new_pull(b, o, &e);
    if (!*slot) {
        note_failure(b, o->key, &e);
        return;
    }
    b->found += o->size;
    haul_sized(&b->haul, b->found);
    pull_go(*slot);
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

static void found(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_download *b = download_of(e);

    (void)item;
    b->asking = false;
    if (r->error.code && !halted) {
        haul_end(e, &r->error);
        return;
    }
    if (r->error.code == 0 && b->tree) {
        take_page(b, r);
    } else if (r->error.code == 0) {
        b->objects = xcalloc(1, sizeof(*b->objects));
        cloud_request_set(&r->object.key, b->key);
        if (r->object.has_meta && r->object.meta.has_mtime)
            r->object.mtime_ns = r->object.meta.mtime_ns;
        add_object(b, &r->object);
        b->listed = true;
    }
    go_on(b);
}

static void find(struct bucket_download *b)
{
    struct cloud_request *r = haul_request(&b->haul, b->tree ? CLOUD_LIST : CLOUD_STAT, b->tree ? NULL : b->key);
    struct error e = { 0 };

    if (b->tree) {
        cloud_request_set(&r->prefix, b->key);
        cloud_request_set(&r->token, b->token);
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

    for (size_t i = 0; i < ARRAY_SIZE(b->pulls); i++) {
        while (!b->pulls[i] && b->next < b->n_objects)
            take_next(b, &b->pulls[i]);
        idle = idle && !b->pulls[i];
    }
    return idle;
}

static void go_on(struct bucket_download *b)
{
    bool idle;

    if (!haul_runs(&b->haul) || b->asking)
        return;
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

    for (size_t i = 0; i < ARRAY_SIZE(b->pulls) && haul_runs(e); i++)
        if (b->pulls[i])
            pull_go(b->pulls[i]);
    go_on(b);
}

static uint64_t download_moved(struct haul *e)
{
    const struct bucket_download *b = download_of(e);
    uint64_t bytes = b->done;

    for (size_t i = 0; i < ARRAY_SIZE(b->pulls); i++)
        bytes += b->pulls[i] ? pull_moved(b->pulls[i]) : 0;
    return bytes;
}

static void download_undo(struct haul *e)
{
    struct bucket_download *b = download_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(b->pulls); i++)
        if (b->pulls[i])
            pull_undo(b->pulls[i]);
}

static void download_free(struct haul *e)
{
    struct bucket_download *b = download_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(b->pulls); i++)
        pull_free(b->pulls[i]);
    drop_page(b);
    free(b->token);
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

int bucket_download_begin(struct haul *haul, int dir, const struct bucket_download_spec *spec, const char **ret_id,
                          struct error *e)
{
    struct bucket_download *b = download_of(haul);
    struct transfer_spec shown = { .id = spec->id, .mode = TRANSFER_DOWNLOAD, .path = spec->folder, .key = spec->key };

    (void)e;
    b->dir = dir;
    b->folder = xstrdup(spec->folder);
    b->key = xstrdup(spec->key);
    b->tree = spec->tree;
    *ret_id = haul_begin(haul, &shown);
    return 0;
}
