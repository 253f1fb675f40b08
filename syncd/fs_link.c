/* Names made and taken away in the index, inside the caller's transaction, with what each means for
 * the cloud: something to put, or a grave. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/anchors.h"
#include "syncd/name.h"
#include "syncd/volume_internal.h"

/* --- making --------------------------------------------------------------------------------------- */

static int check_bytes(const ProtobufCBinaryData *name)
{
    const char *bytes = (const char *)name->data;

    if (name->len == 0 || memchr(bytes, '/', name->len) || memchr(bytes, '\0', name->len))
        return -EINVAL;
    if (bytes[0] == '.' && (name->len == 1 || (name->len == 2 && bytes[1] == '.')))
        return -EINVAL;
    return 0;
}

bool fs_is_directory(struct volume *v, uint64_t parent, const char *component)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_find_key(v->index, parent, component, true, &i) == 0;
}

bool fs_both_have_room(struct volume *v)
{
    return !(cloud_capabilities(v->cloud) & CLOUD_HAS_FOLDERS);
}

/* The empty component is a directory's alone, and only an object is beside a directory. */
static int check_component(struct volume *v, uint64_t parent, const char *component, bool beside, bool is_directory)
{
    if (beside)
        return !is_directory && fs_both_have_room(v) && fs_is_directory(v, parent, component) ? 0 : -EINVAL;
    return *component || is_directory ? 0 : -EINVAL;
}

/* Whether the cloud can have it: a name that could never be uploaded is refused. */
static int check_key(struct volume *v, const char *parent_key, const char *component, bool is_directory)
{
    CLEANUP_FREE char *key = NULL;
    size_t n = strlen(v->prefix) + strlen(parent_key) + strlen(component) + is_directory;

    if (n > FS_KEY_MAX_BYTES)
        return -ENAMETOOLONG;
    if (asprintf(&key, "%s%s%s%s", v->prefix, parent_key, component, is_directory ? "/" : "") < 0)
        abort();
    return anchors_reserve(v, key + strlen(v->prefix)) ? -EPERM : cloud_check_key(v->cloud, key);
}

int fs_check_name(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, bool is_directory,
                  const char *known, char **ret_key)
{
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    CLEANUP_FREE char *key = NULL, *component = NULL;
    bool beside = false;
    int r = index_get(v->index, parent, &dir);

    if (r < 0)
        return r;
    if (!S_ISDIR(dir.mode))
        return -ENOTDIR;
    r = check_bytes(name);
    if (r == 0)
        r = name_to_key((const char *)name->data, name->len, known, &component, &beside);
    if (r == 0)
        r = check_component(v, parent, component, beside, is_directory);
    if (r < 0)
        return r;
    key = index_key(v->index, parent);
    r = key ? check_key(v, key, component, is_directory) : -ENOENT;
    if (r == 0)
        *ret_key = take_ptr(component);
    return r;
}

/* As a file system with a set-group-ID directory does. */
static int inherit_group(struct volume *v, uint64_t parent, struct index_inode *i)
{
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    int r = index_get(v->index, parent, &dir);

    if (r < 0 || !(dir.mode & S_ISGID))
        return r;
    i->gid = dir.gid;
    if (S_ISDIR(i->mode))
        i->mode |= S_ISGID;
    return 0;
}

int fs_link_new(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, struct index_inode *i)
{
    bool is_directory = S_ISDIR(i->mode);
    CLEANUP_FREE char *component = NULL;
    int64_t now = loop_wall_ns();
    int r = fs_check_name(v, parent, name, is_directory, NULL, &component);

    if (r == 0)
        r = inherit_group(v, parent, i);
    if (r < 0)
        return r;
    i->parent = parent;
    i->name = strndup((const char *)name->data, name->len);
    if (!i->name)
        abort();
    if (strcmp(i->name, component) != 0)
        i->key_name = take_ptr(component);
    i->name_len = name->len;
    i->nlink = is_directory ? 2 : 1;
    i->size = i->target ? strlen(i->target) : 0;
    i->mtime_ns = i->ctime_ns = i->atime_ns = now;
    i->settled = true;
    i->pending = INDEX_CONTENT;
    i->generation = 1;
    i->listed_ns = is_directory ? now : 0;   /* the cloud has nothing below a name that was free */
    r = index_insert(v->index, i);
    return r < 0 ? r : index_touch(v->index, parent, now);
}

/* --- taking away ---------------------------------------------------------------------------------- */

/* An upload that is under way brings a grave of its own. */
static bool is_in_cloud(struct volume *v, const struct index_inode *i)
{
    return i->cloud_key || uploader_busy(v->uploader, i->ino);
}

int fs_unlink_inode(struct volume *v, const struct index_inode *i, bool *ret_gone)
{
    bool open = S_ISREG(i->mode) && cache_is_open(v->cache, i->ino);
    int r = i->cloud_key ? index_bury(v->index, i->cloud_key, i->etag) : 0;

    *ret_gone = !open;
    if (r < 0)
        return r;
    show_removal(v, i, is_in_cloud(v, i) ? SHOW_DELETING : SHOW_DELETED);
    if (!open)
        return index_remove(v->index, i->ino);
    cache_unlink(v->cache, i->ino);
    return index_orphan(v->index, i->ino);
}

/* --- one component, two inodes ---------------------------------------------------------------------- */

static int step(struct volume *v, uint64_t parent, const char *component, bool aside)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    char from[NAME_SIZE], to[NAME_SIZE];
    int r;

    name_of_key(component, !aside, from);
    name_of_key(component, aside, to);
    r = index_find(v->index, parent, from, strlen(from), &i);
    if (r < 0 || S_ISDIR(i.mode))
        return r == -ENOENT ? 0 : r;
    r = index_move(v->index, i.ino, parent, to, strlen(to));
    volume_invalidate(v, parent, from, strlen(from), CHANGED_ATTRIBUTES);
    volume_invalidate(v, parent, to, strlen(to), CHANGED_ATTRIBUTES);
    volume_invalidate(v, parent, NULL, 0, CHANGED_DATA);
    return r;
}

int fs_step_aside(struct volume *v, uint64_t parent, const char *component)
{
    return step(v, parent, component, true);
}

int fs_step_back(struct volume *v, uint64_t parent, const char *component)
{
    return fs_is_directory(v, parent, component) ? 0 : step(v, parent, component, false);
}

/* --- what is left ------------------------------------------------------------------------------------- */

/* In the cloud a directory without a marker is there only as long as something lies below it. */
static bool vanishes(struct volume *v, const struct index_inode *dir)
{
    return dir->ino != INDEX_ROOT && !dir->cloud_key && !(dir->pending & INDEX_CONTENT) &&
           index_empty(v->index, dir->ino);
}

int fs_left(struct volume *v, uint64_t parent)
{
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    int r = index_get(v->index, parent, &dir);

    if (r == 0 && vanishes(v, &dir)) {
        dir.pending |= INDEX_CONTENT;
        dir.generation++;
        r = index_update(v->index, &dir);
    }
    return r < 0 ? r : index_touch(v->index, parent, loop_wall_ns());
}

void fs_mark_meta(struct index_inode *i)
{
    i->ctime_ns = loop_wall_ns();
    i->generation++;
    if (i->ino == INDEX_ROOT || i->nlink == 0 || i->pending & INDEX_CONTENT)
        return;
    i->pending |= i->cloud_key ? INDEX_META : INDEX_CONTENT;
}

void fs_purge(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(v->index, ino, &i);

    if (r < 0 || i.nlink > 0 || cache_is_open(v->cache, ino))
        return;
    if (S_ISDIR(i.mode)) {
        volume_dismantle(v, ino);
        return;
    }
    if (index_begin(v->index) == 0 && index_end(v->index, index_remove(v->index, ino)) == 0)
        cache_drop(v->cache, ino);
}
