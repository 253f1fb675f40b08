/* One entry of the cloud into the index, inside the caller's transaction, and what is to be told
 * about it afterwards. Decides nothing about what a listing means; listing_merge.c does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/conflict.h"
#include "syncd/events.h"
#include "syncd/listing.h"
#include "syncd/name.h"
#include "syncd/object.h"

/* Whoever writes to the bucket writes its metadata: no set-user-ID comes from there, lest a copy as root keep it. */
enum { FILE_MODE = 0644, DIRECTORY_MODE = 0755, MODE_BITS = 01777 };

/* --- news ------------------------------------------------------------------------------------------- */

static void add_news(struct news *news, struct news_item item)
{
    *xadd(news->items, news->n) = item;
}

/* Its version was replaced in the cloud. An older index would miss what was here of it. */
static void drop(struct volume *v, uint64_t ino)
{
    if (v->uploader && uploader_sent_lately(v->uploader, ino))
        (void)uploader_sync_now(v->uploader);
    cache_drop(v->cache, ino);
}

/* For those who listen to the API. */
static void show_news(struct volume *v, const struct news_item *item)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (item->version || item->fresh)
        show_state(v, item->version ? item->version : item->fresh, SHOW_TEMPORARY);
    else if (item->name && index_find(v->index, item->dir, item->name, strlen(item->name), &i) == -ENOENT)
        show_name(v, item->dir, item->name, strlen(item->name), SHOW_DELETED);
    else if (item->name)
        show_state(v, i.ino, SHOW_TEMPORARY);
}

void news_end(struct volume *v, struct news *news, bool committed)
{
    for (size_t n = 0; n < news->n; n++) {
        struct news_item *item = &news->items[n];

        if (committed && item->drop)
            drop(v, item->drop);
        if (committed && item->dismantle)
            volume_dismantle(v, item->dismantle);
        if (committed && item->version)
            volume_invalidate(v, item->version, NULL, 0, CHANGED_VERSION);
        if (committed && events_wanted(v->spec.events))
            show_news(v, item);
        if (committed && item->copy)
            conflict_announce(v, item->dir, item->name, item->copy);
        else if (committed && item->name)
            volume_invalidate(v, item->dir, item->name, strlen(item->name), CHANGED_ATTRIBUTES);
        free(item->name);
        free(item->copy);
    }
    free(news->items);
    *news = (struct news){ 0 };
}

/* --- from object to inode ---------------------------------------------------------------------------- */

bool entry_same(const struct index_inode *i, const char *key, const struct cloud_object *o)
{
    if (!i->cloud_key || strcmp(i->cloud_key, key) != 0 || i->cloud_size != o->size)
        return false;
    return !i->etag || !o->etag || strcmp(i->etag, o->etag) == 0;
}

/* What has no bytes is an empty object that says what it is. Devices do not come from there. */
static uint32_t type_of(const struct cloud_object *o)
{
    const struct cloud_meta *m = &o->meta;

    if (!o->has_meta || o->size > 0)
        return S_IFREG;
    if (m->symlink)
        return S_IFLNK;
    return m->has_mode && (S_ISFIFO(m->mode) || S_ISSOCK(m->mode)) ? m->mode & S_IFMT : S_IFREG;
}

bool entry_same_type(const struct index_inode *i, const struct cloud_object *o)
{
    return (i->mode & S_IFMT) == type_of(o);
}

static uint32_t default_mode(const struct cloud_object *o)
{
    uint32_t type = type_of(o);

    return type == S_IFLNK ? S_IFLNK | 0777 : type | FILE_MODE;
}

static void fill_rights(struct index_inode *i, const struct cloud_meta *m)
{
    if (m->has_mode && !S_ISLNK(i->mode))
        i->mode = (i->mode & S_IFMT) | (m->mode & MODE_BITS);
    if (m->has_owner) {
        i->uid = m->uid;
        i->gid = m->gid;
    }
}

static void fill_meta(struct index_inode *i, const struct cloud_meta *m)
{
    fill_rights(i, m);
    if (m->has_mtime)
        i->mtime_ns = m->mtime_ns;
    i->settled = true;
}

/* Bytes that the file has, by what is known of its object. What only an encrypted object itself can tell is not
 * settled. */
static void fill_size(const struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    if (S_ISREG(i->mode) && object_told(v, o, &i->size) == INDEX_OBJECT_UNKNOWN)
        i->settled = false;
}

/* The same of what was shown already. */
static void correct_size(struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    uint64_t shown = i->size;

    fill_size(v, i, o);
    if (i->size != shown)
        object_corrected(v, i->ino);
}

/* The strings of *i that come from the object are borrowed from it. */
static void fill_version(const struct volume *v, struct index_inode *i, const char *key, const struct cloud_object *o)
{
    i->cloud_key = (char *)(uintptr_t)key;
    i->etag = o->etag;
    i->cloud_size = o->size;
    i->mtime_ns = i->ctime_ns = o->mtime_ns;
    i->settled = false;
    i->target = type_of(o) == S_IFLNK ? o->meta.symlink : NULL;
    i->size = i->target ? strlen(i->target) : o->size;
    if (o->has_meta)
        fill_meta(i, &o->meta);
    fill_size(v, i, o);
}

static int store_xattrs(struct volume *v, uint64_t ino, const struct cloud_object *o)
{
    int r = index_xattr_clear(v->index, ino);

    for (size_t n = 0; r == 0 && n < o->meta.n_xattrs; n++)
        if (fs_xattr_storable(o->meta.xattrs[n].name))
            r = index_xattr_set(v->index, ino, o->meta.xattrs[n].name, o->meta.xattrs[n].value, o->meta.xattrs[n].size,
                                0);
    return r;
}

/* The name, which is put into `name`, and the component are borrowed. */
static struct index_inode new_inode(struct volume *v, uint64_t dir, const char *component, uint32_t mode,
                                    char name[NAME_SIZE])
{
    int64_t now = loop_wall_ns();

    name_of_key(component, !S_ISDIR(mode) && fs_is_directory(v, dir, component), name);
    return (struct index_inode){
        .parent = dir, .name = name, .name_len = strlen(name), .mode = mode,
        .key_name = strcmp(name, component) == 0 ? NULL : (char *)(uintptr_t)component,
        .uid = v->spec.uid, .gid = v->spec.gid, .nlink = S_ISDIR(mode) ? 2 : 1,
        .mtime_ns = now, .ctime_ns = now, .atime_ns = now, .generation = 1,
    };
}

int entry_add(struct volume *v, uint64_t dir, const char *key, const struct cloud_object *o, uint64_t *ret_ino)
{
    const char *slash = strrchr(key, '/');
    char name[NAME_SIZE];
    struct index_inode i = new_inode(v, dir, slash ? slash + 1 : key, default_mode(o), name);
    int r;

    fill_version(v, &i, key, o);
    i.atime_ns = i.mtime_ns;
    r = index_insert(v->index, &i);
    *ret_ino = i.ino;
    if (r == 0)
        r = object_note(v, &i, o);
    return r == 0 && o->has_meta && o->meta.n_xattrs ? store_xattrs(v, i.ino, o) : r;
}

int entry_add_directory(struct volume *v, uint64_t dir, const char *component, uint64_t *ret_ino)
{
    char name[NAME_SIZE];
    struct index_inode i = new_inode(v, dir, component, S_IFDIR | DIRECTORY_MODE, name);
    int r = index_insert(v->index, &i);

    *ret_ino = i.ino;
    return r;
}

bool entry_marker_leaves(struct volume *v, uint64_t dir, const char *key)
{
    CLEANUP(index_inode_done) struct index_inode owner = { 0 };

    return index_buried(v->index, key) || (index_by_cloud_key(v->index, key, &owner) == 0 && owner.ino != dir);
}

/* --- changes of what is there --------------------------------------------------------------------------- */

/* An orphan stays as long as it is open. */
static int leave(struct volume *v, struct news *news, uint64_t ino)
{
    if (cache_is_open(v->cache, ino))
        return 0;
    add_news(news, (struct news_item){ .drop = ino });
    return index_remove(v->index, ino);
}

int entry_replace(struct volume *v, struct news *news, struct index_inode *i)
{
    uint64_t old = i->ino;
    int r = index_replace(v->index, i);

    if (r == 0)
        r = leave(v, news, old);
    add_news(news, (struct news_item){ .dir = i->parent, .name = xstrdup(i->name) });
    return r;
}

int entry_take_over(struct volume *v, struct news *news, const struct index_inode *i, const char *key,
                    const struct cloud_object *o, uint64_t *ret_ino)
{
    struct index_inode new = *i;
    int r;

    if (S_ISREG(i->mode) && cache_busy(v->cache, i))
        return -EBUSY;
    if (!entry_same_type(i, o))
        new.mode = default_mode(o);
    fill_version(v, &new, key, o);
    new.generation++;
    if (S_ISREG(new.mode) && cache_opening(v->cache, i->ino)) {
        r = index_update(v->index, &new);
        add_news(news, (struct news_item){ .version = new.ino });
    } else {
        r = entry_replace(v, news, &new);
    }
    *ret_ino = new.ino;
    if (r == 0)
        r = object_note(v, &new, o);
    return r == 0 && o->has_meta ? store_xattrs(v, new.ino, o) : r;
}

int entry_settle(struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    int r;

    fill_meta(i, &o->meta);
    correct_size(v, i, o);
    r = index_update(v->index, i);
    if (r == 0)
        r = object_note(v, i, o);
    return r < 0 ? r : store_xattrs(v, i->ino, o);
}

static bool same_version(const struct index_inode *i, const struct cloud_object *o)
{
    return i->cloud_size == o->size && i->etag && o->etag && strcmp(i->etag, o->etag) == 0;
}

/* Metadata that are known stay so where the size is still a guess; then object_known() says that it is. */
int entry_size(struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    bool settled = i->settled;
    int r;

    if (!v->keys || !same_version(i, o))
        return 0;
    if (!(i->pending & INDEX_CONTENT))
        correct_size(v, i, o);
    i->settled = settled;
    r = index_update(v->index, i);
    return r < 0 ? r : object_note(v, i, o);
}

/* A directory's object is a marker, which listings take for a file. */
int entry_complete(struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    bool tells = o && (S_ISDIR(i->mode) || entry_same_type(i, o));
    int r;

    if (tells)
        fill_rights(i, &o->meta);
    i->settled = true;
    r = index_update(v->index, i);
    if (r == 0 && tells)
        r = entry_size(v, i, o);
    return r == 0 && tells ? store_xattrs(v, i->ino, o) : r;
}

int entry_step_aside(struct volume *v, struct news *news, const struct index_inode *i)
{
    char copy[CONFLICT_NAME_MAX + 1];
    int r = conflict_step_aside(v, i, copy);

    if (r == 0)
        add_news(news, (struct news_item){ .dir = i->parent, .name = xstrdup(i->name), .copy = xstrdup(copy) });
    return r;
}

int entry_take_away(struct volume *v, struct news *news, const struct index_inode *i)
{
    int r;

    if (S_ISREG(i->mode) && cache_busy(v->cache, i))
        return -EBUSY;
    r = index_orphan(v->index, i->ino);
    if (r == 0)
        r = S_ISDIR(i->mode) ? fs_step_back(v, i->parent, index_component(i)) : leave(v, news, i->ino);
    add_news(news, (struct news_item){
        .dir = i->parent, .name = xstrdup(i->name), .dismantle = S_ISDIR(i->mode) ? i->ino : 0,
    });
    return r;
}
