/* States and transfers of a drive, put into the terms of the API. */
#include "syncd/show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/events.h"
#include "syncd/fetch.h"
#include "syncd/name.h"
#include "syncd/transfer.h"
#include "syncd/upload.h"

enum { IDLE_MS = 1000, PATH_BYTES_MAX = 8192 };

/* What is smaller is over before anybody asks, and counts only while somebody listens. */
static const uint64_t ASKED_FOR = 1 << 20;

/* --- states ----------------------------------------------------------------------------------------------- */

static bool is_shown(const struct volume *v)
{
    return v->spec.changed && events_wanted(v->spec.events);
}

static void strip_slash(char *path)
{
    size_t len = strlen(path);

    if (len > 0 && path[len - 1] == '/')
        path[len - 1] = '\0';
}

static void show_path(struct volume *v, char *path, enum show_state state)
{
    if (!path || !*path)
        return;
    strip_slash(path);
    v->spec.changed(v, path, (int)state, v->spec.arg);
}

void show_state(struct volume *v, uint64_t ino, enum show_state state)
{
    CLEANUP_FREE char *path = is_shown(v) ? index_path(v->index, ino) : NULL;

    show_path(v, path, state);
}

void show_name(struct volume *v, uint64_t dir, const char *name, size_t len, enum show_state state)
{
    CLEANUP_FREE char *folder = is_shown(v) ? index_path(v->index, dir) : NULL, *path = NULL;

    if (folder && asprintf(&path, "%s%.*s", folder, (int)len, name) < 0)
        abort();
    show_path(v, path, state);
}

struct show_removal {
    uint64_t dir;
    char *path;
    enum show_state state;
};

void show_removal(struct volume *v, const struct index_inode *i, enum show_state state)
{
    char *path = is_shown(v) ? index_path(v->index, i->ino) : NULL;

    if (path)
        *xadd(v->removals, v->n_removals) = (struct show_removal){ i->parent, path, state };
}

/* Whether something has taken the place. */
static bool is_replaced(struct volume *v, const struct show_removal *removal)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    const char *slash = strrchr(removal->path, '/'), *name = slash ? slash + 1 : removal->path;

    return index_find(v->index, removal->dir, name, strlen(name), &i) == 0;
}

static void show_one_removal(struct volume *v, struct show_removal *removal)
{
    strip_slash(removal->path);
    if (!is_replaced(v, removal))
        show_path(v, removal->path, removal->state);
}

void show_removals(struct volume *v, bool committed)
{
    for (size_t n = 0; n < v->n_removals; n++) {
        if (committed)
            show_one_removal(v, &v->removals[n]);
        free(v->removals[n].path);
    }
    v->n_removals = 0;
    free(take_ptr(v->removals));
}

/* Names as a listing makes them of keys. */
void show_key(struct volume *v, const char *key, enum show_state state)
{
    CLEANUP(text_free) struct text path = TEXT_INIT(PATH_BYTES_MAX);
    CLEANUP_FREE char *copy = xstrdup(key);
    char name[NAME_SIZE], *rest = copy, *component;

    if (!is_shown(v))
        return;
    while ((component = strsep(&rest, "/"))) {
        if (!rest && !*component)   /* the marker of a directory */
            break;
        name_of_key(component, false, name);
        if (path.len)
            text_add(&path, "/", 1);
        text_add(&path, name, strlen(name));
    }
    text_add(&path, "", 1);
    show_path(v, path.data, state);
}

/* --- uploads ---------------------------------------------------------------------------------------------- */

/* Absolute; the caller's. NULL: it has no name any more. */
static char *path_of(struct volume *v, uint64_t ino)
{
    CLEANUP_FREE char *path = index_path(v->index, ino);
    char *whole = NULL;

    if (path && asprintf(&whole, "%s/%s", v->drive->local_path, path) < 0)
        abort();
    return whole;
}

static struct transfer *begin(struct volume *v, uint64_t ino, struct transfer_spec *spec)
{
    CLEANUP_FREE char *path = path_of(v, ino), *key = volume_full_key(v, spec->key);

    if (!path)
        return NULL;
    spec->path = path;
    spec->key = key;
    spec->storage_type = cloud_type_name(v->drive->account->cloud_type);
    spec->storage_name = v->bucket;
    return transfer_begin(v->spec.transfers, spec);
}

static bool is_worth_it(const struct volume *v, uint64_t size)
{
    return v->spec.transfers && (size >= ASKED_FOR || events_wanted(v->spec.events));
}

void show_upload(struct upload *u)
{
    struct transfer_spec spec = {
        .mode = upload_reseals(u) ? TRANSFER_ENCRYPT : TRANSFER_UPLOAD, .key = u->key, .size = u->inode.size,
        .control = &upload_control, .arg = u,
    };

    if (!u->shown)
        u->shown = upload_resumed(u);
    if (!u->shown && is_worth_it(u->volume, u->inode.size))
        u->shown = begin(u->volume, u->inode.ino, &spec);
}

void show_uploaded(struct upload *u, const struct error *e)
{
    if (u->shown && !e)
        transfer_set_size(u->shown, u->size);
    transfer_end(take_ptr(u->shown), e);
}

void show_upload_over(struct upload *u)
{
    if (u->shown)
        show_uploaded(u, &(struct error){ -ECANCELED, "It begins anew." });
}

/* --- downloads -------------------------------------------------------------------------------------------- */

void show_fetch(struct cache_file *f)
{
    struct transfer_spec spec = {
        .mode = TRANSFER_DOWNLOAD, .size = cache_file_size(f), .control = &fetch_control, .arg = f,
    };
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct volume *v = f->volume;

    loop_timer_free(take_ptr(f->fetch.idle));
    if (f->fetch.shown || !is_worth_it(v, spec.size) || index_get(v->index, f->ino, &i) < 0 || !i.cloud_key)
        return;
    spec.key = i.cloud_key;
    f->fetch.came = 0;
    f->fetch.shown = begin(v, f->ino, &spec);
    if (!i.pending)
        show_state(v, f->ino, SHOW_DOWNLOADING);
}

void show_fetched(struct cache_file *f, uint64_t bytes)
{
    if (!f->fetch.shown)
        return;
    f->fetch.came += bytes;
    transfer_moved(f->fetch.shown, f->fetch.came);
}

/* Who reads a part has that part when it ends. */
static void end(struct cache_file *f, const struct error *e)
{
    struct transfer *t = take_ptr(f->fetch.shown);

    loop_timer_free(take_ptr(f->fetch.idle));
    f->fetch.paused = false;
    if (!t)
        return;
    if (!e)
        transfer_set_size(t, f->fetch.came);
    transfer_end(t, e);
    show_state(f->volume, f->ino, e && e->code != -ECANCELED ? SHOW_ERROR : SHOW_NORMAL);
}

static void on_idle(void *arg)
{
    end(arg, NULL);
}

void show_fetch_idle(struct cache_file *f)
{
    if (!f->fetch.shown || f->fetch.n_transfers)
        return;
    if (cache_file_whole(f))
        end(f, NULL);
    else if (f->fetch.paused)
        loop_timer_free(take_ptr(f->fetch.idle));
    else if (!f->fetch.idle)
        f->fetch.idle = loop_timer(f->volume->loop, IDLE_MS, on_idle, f);
}

void show_fetch_failed(struct cache_file *f, const struct error *e)
{
    if (f->fetch.shown)
        end(f, e);
}

void show_fetch_over(struct cache_file *f)
{
    if (f->fetch.shown)
        end(f, f->fetch.came ? NULL : &(struct error){ -ECANCELED, "Nobody wants it any more." });
}

/* --- conversions ------------------------------------------------------------------------------------------ */

static int refuse(void *arg, struct error *e)
{
    (void)arg;
    return error_set(e, -EBADMSG, "The drive's cache is being given the form that was chosen for it, file by file, "
                     "which cannot be paused or canceled for one. Choosing the other form ends it: 'landfall drive "
                     "cache --encrypt' or '--plain' (clouddrive_change_cache).");
}

static const struct transfer_control conversion_control = { .pause = refuse, .cancel = refuse };

struct transfer *show_conversion(struct volume *v, uint64_t ino, bool seals)
{
    struct transfer_spec spec = { .mode = seals ? TRANSFER_ENCRYPT : TRANSFER_DECRYPT, .key = "",
                                  .control = &conversion_control };
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (index_get(v->index, ino, &i) < 0 || !is_worth_it(v, i.size))
        return NULL;
    spec.size = i.size;
    if (i.cloud_key)
        spec.key = i.cloud_key;
    return begin(v, ino, &spec);
}

void show_converted(struct transfer *t, int code)
{
    struct error e;

    error_set(&e, code, "%s", code ? error_meaning(code)->text : "");
    transfer_end(t, code ? &e : NULL);
}
