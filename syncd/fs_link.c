/* Names made and taken away in the index, inside the caller's transaction, with what each means for
 * the cloud: something to put, or a grave. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/volume_internal.h"

/* --- making --------------------------------------------------------------------------------------- */

static int check_bytes(const ProtobufCBinaryData *name)
{
    const char *bytes = (const char *)name->data;

    if (name->len == 0 || memchr(bytes, '/', name->len) || memchr(bytes, '\0', name->len))
        return -EINVAL;
    if (bytes[0] == '.' && (name->len == 1 || (name->len == 2 && bytes[1] == '.')))
        return -EINVAL;
    if (name->len > FS_NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    return utf8_valid(bytes, name->len) ? 0 : -EILSEQ;
}

/* Whether the cloud can have it: a name that could never be uploaded is refused. */
static int check_key(struct volume *v, const char *parent_key, const ProtobufCBinaryData *name, bool is_directory)
{
    CLEANUP_FREE char *key = NULL;
    size_t n = strlen(v->prefix) + strlen(parent_key) + name->len + is_directory;

    if (n > FS_KEY_MAX_BYTES)
        return -ENAMETOOLONG;
    if (asprintf(&key, "%s%s%.*s%s", v->prefix, parent_key, (int)name->len, (const char *)name->data,
                 is_directory ? "/" : "") < 0)
        abort();
    return cloud_check_key(v->cloud, key);
}

int fs_check_name(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, bool is_directory)
{
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    CLEANUP_FREE char *key = NULL;
    int r = index_get(v->index, parent, &dir);

    if (r < 0)
        return r;
    if (!S_ISDIR(dir.mode))
        return -ENOTDIR;
    r = check_bytes(name);
    if (r < 0)
        return r;
    key = index_key(v->index, parent);
    if (!key)
        return -ENOENT;
    return check_key(v, key, name, is_directory);
}

int fs_link_new(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, struct index_inode *i)
{
    bool is_directory = S_ISDIR(i->mode);
    int64_t now = loop_wall_ns();
    int r = fs_check_name(v, parent, name, is_directory);

    if (r < 0)
        return r;
    i->parent = parent;
    i->name = strndup((const char *)name->data, name->len);
    if (!i->name)
        abort();
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

int fs_unlink_inode(struct volume *v, const struct index_inode *i, bool *ret_gone)
{
    bool open = S_ISREG(i->mode) && cache_is_open(v->cache, i->ino);
    int r = i->cloud_key ? index_bury(v->index, i->cloud_key, i->etag) : 0;

    *ret_gone = !open;
    if (r < 0)
        return r;
    if (!open)
        return index_remove(v->index, i->ino);
    cache_unlink(v->cache, i->ino);
    return index_orphan(v->index, i->ino);
}

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
