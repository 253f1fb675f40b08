/* Changes of inodes: rows made, updated, moved, orphaned, removed, and their extended attributes. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/name.h"
#include "syncd/store_index_internal.h"

/* `turned` is written wherever `pending` is: now, when one of the two is zero and the other is not. */

int index_changed(struct index *x, int r)
{
    x->version++;
    if (r == 0 && sql_changes(x->sql) == 0)
        return -ENOENT;
    return r;
}

int index_insert(struct index *x, struct index_inode *i)
{
    int64_t turned = i->pending ? loop_wall_ns() : 0;
    int r = sql_run(x->sql,
                    "INSERT INTO inode(" INDEX_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    i->ino ? SQL_INT(i->ino) : SQL_NULL, i->parent ? SQL_INT(i->parent) : SQL_NULL, SQL_TEXT(i->name),
                    SQL_INT(i->mode), SQL_INT(i->uid), SQL_INT(i->gid), SQL_INT(i->nlink), SQL_INT(i->size),
                    SQL_INT(i->mtime_ns), SQL_INT(i->ctime_ns), SQL_INT(i->atime_ns), SQL_TEXT(i->target),
                    SQL_TEXT(i->cloud_key), SQL_TEXT(i->etag), SQL_INT(i->cloud_size), SQL_INT(i->settled),
                    SQL_INT(i->pending), SQL_INT(i->generation), SQL_INT(i->listed_ns), SQL_INT(turned),
                    SQL_TEXT(i->key_name), SQL_INT(i->cut));

    if (r == 0 && i->ino == 0)
        i->ino = (uint64_t)sql_last_id(x->sql);
    return index_changed(x, r);
}

int index_update(struct index *x, const struct index_inode *i)
{
    int r = sql_run(x->sql,
                    "UPDATE inode SET mode = ?2, uid = ?3, gid = ?4, nlink = ?5, size = ?6, mtime = ?7, ctime = ?8,"
                    " atime = ?9, target = ?10, cloud_key = ?11, etag = ?12, cloud_size = ?13, settled = ?14,"
                    " turned = CASE WHEN (pending = 0) <> (?15 = 0) THEN ?18 ELSE turned END,"
                    " not_before = CASE WHEN ?15 = 0 THEN 0 ELSE not_before END,"
                    " reason = CASE WHEN ?15 = 0 THEN NULL ELSE reason END,"
                    " pending = ?15, generation = ?16, listed = ?17, cut = ?19 WHERE ino = ?1",
                    SQL_INT(i->ino), SQL_INT(i->mode), SQL_INT(i->uid), SQL_INT(i->gid), SQL_INT(i->nlink),
                    SQL_INT(i->size), SQL_INT(i->mtime_ns), SQL_INT(i->ctime_ns), SQL_INT(i->atime_ns),
                    SQL_TEXT(i->target), SQL_TEXT(i->cloud_key), SQL_TEXT(i->etag), SQL_INT(i->cloud_size),
                    SQL_INT(i->settled), SQL_INT(i->pending), SQL_INT(i->generation), SQL_INT(i->listed_ns),
                    SQL_INT(loop_wall_ns()), SQL_INT(i->cut));

    return index_changed(x, r);
}

int index_move(struct index *x, uint64_t ino, uint64_t parent, const void *name, size_t len)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP_FREE char *text = strndup(name, len), *component = NULL;
    bool beside;
    int r = text ? index_get(x, ino, &i) : -ENOMEM;

    if (r == 0)
        r = name_to_key(name, len, index_component(&i), &component, &beside);
    if (r < 0)
        return r;
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET parent = ?2, name = ?3, ctime = ?4,"
                                    " key_name = nullif(?5, ?3) WHERE ino = ?1", SQL_INT(ino), SQL_INT(parent),
                                    SQL_TEXT(text), SQL_INT(loop_wall_ns()), SQL_TEXT(component)));
}

int index_orphan(struct index *x, uint64_t ino)
{
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET parent = NULL, name = NULL, key_name = NULL, nlink = 0"
                                    " WHERE ino = ?", SQL_INT(ino)));
}

int index_replace(struct index *x, struct index_inode *i)
{
    uint64_t old = i->ino;
    int r = index_orphan(x, old);

    i->ino = 0;
    if (r == 0)
        r = index_insert(x, i);
    if (r == 0)
        r = sql_run(x->sql, "UPDATE inode SET pinned = (SELECT pinned FROM inode WHERE ino = ?2) WHERE ino = ?1",
                    SQL_INT(i->ino), SQL_INT(old));
    if (r == 0)
        r = sql_run(x->sql, "INSERT INTO xattr(ino, name, value) SELECT ?1, name, value FROM xattr WHERE ino = ?2",
                    SQL_INT(i->ino), SQL_INT(old));
    if (r == 0)
        r = sql_run(x->sql, "UPDATE upload SET ino = ?1 WHERE ino = ?2", SQL_INT(i->ino), SQL_INT(old));
    return r;
}

int index_remove(struct index *x, uint64_t ino)
{
    int r = index_xattr_clear(x, ino);

    return r < 0 ? r : index_changed(x, sql_run(x->sql, "DELETE FROM inode WHERE ino = ?", SQL_INT(ino)));
}

int index_touch(struct index *x, uint64_t ino, int64_t now_ns)
{
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET mtime = ?2, ctime = ?2 WHERE ino = ?1", SQL_INT(ino),
                                    SQL_INT(now_ns)));
}

/* The subtree with its keys; what has neither a cloud version nor work left has nothing that could move, but a
 * directory without a marker that comes to stand on a grave needs one, or the grave would never be closed. */
int index_mark_moved(struct index *x, uint64_t ino)
{
    CLEANUP_FREE char *key = index_key(x, ino);
    int r;

    if (!key)
        return -ENOENT;
    r = sql_run(x->sql,
                "WITH RECURSIVE below(ino, key, dir) AS ("
                "SELECT ino, ?2, (mode & 61440) = 16384 FROM inode WHERE ino = ?1 UNION ALL"
                " SELECT i.ino, b.key || ifnull(i.key_name, i.name) || iif((i.mode & 61440) = 16384, '/', ''),"
                " (i.mode & 61440) = 16384"
                " FROM below b JOIN inode i ON i.parent = b.ino WHERE b.dir),"
                " wanted(ino, pending) AS (SELECT b.ino, CASE"
                " WHEN i.cloud_key IS NULL AND b.dir AND EXISTS(SELECT 1 FROM grave WHERE key = b.key AND closed = 0)"
                " THEN i.pending | 1 WHEN i.cloud_key IS NULL THEN i.pending"
                " WHEN i.cloud_key = b.key THEN i.pending & ~4 ELSE i.pending | 4 END"
                " FROM below b JOIN inode i ON i.ino = b.ino WHERE i.cloud_key IS NOT NULL OR i.pending <> 0 OR b.dir)"
                "UPDATE inode SET generation = generation + 1, pending = w.pending,"
                " turned = CASE WHEN (inode.pending = 0) <> (w.pending = 0) THEN ?3 ELSE turned END"
                " FROM wanted w WHERE inode.ino = w.ino",
                SQL_INT(ino), SQL_TEXT(key), SQL_INT(loop_wall_ns()));
    x->version++;
    return r;
}

/* --- extended attributes ------------------------------------------------------------------------- */

int index_xattr_get(struct index *x, uint64_t ino, const char *name, void **ret, size_t *ret_size)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT value FROM xattr WHERE ino = ? AND name = ?",
                                                          SQL_INT(ino), SQL_TEXT(name));
    int r = sql_next(&q);
    const void *value;

    if (r <= 0)
        return r < 0 ? r : -ENODATA;
    value = sql_blob(&q, 0, ret_size);
    *ret = malloc(*ret_size + 1);
    if (!*ret)
        return -ENOMEM;
    memcpy(*ret, value, *ret_size);
    return 0;
}

int index_xattr_set(struct index *x, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
    int r;

    if (flags & XATTR_CREATE)
        return sql_run(x->sql, "INSERT INTO xattr(ino, name, value) VALUES(?, ?, ?)", SQL_INT(ino), SQL_TEXT(name),
                       SQL_BLOB(value, size));
    if (!(flags & XATTR_REPLACE))
        return sql_run(x->sql, "INSERT OR REPLACE INTO xattr(ino, name, value) VALUES(?, ?, ?)", SQL_INT(ino),
                       SQL_TEXT(name), SQL_BLOB(value, size));
    r = sql_run(x->sql, "UPDATE xattr SET value = ?3 WHERE ino = ?1 AND name = ?2", SQL_INT(ino), SQL_TEXT(name),
                SQL_BLOB(value, size));
    return r == 0 && sql_changes(x->sql) == 0 ? -ENODATA : r;
}

int index_xattr_remove(struct index *x, uint64_t ino, const char *name)
{
    int r = sql_run(x->sql, "DELETE FROM xattr WHERE ino = ? AND name = ?", SQL_INT(ino), SQL_TEXT(name));

    return r == 0 && sql_changes(x->sql) == 0 ? -ENODATA : r;
}

int index_xattr_clear(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "DELETE FROM xattr WHERE ino = ?", SQL_INT(ino));
}

int index_xattr_list(struct index *x, uint64_t ino,
                     void (*each)(const char *name, const void *value, size_t size, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT name, value FROM xattr WHERE ino = ?"
                                                          " ORDER BY name", SQL_INT(ino));
    int r;

    while ((r = sql_next(&q)) > 0) {
        size_t size;
        const void *value = sql_blob(&q, 1, &size);

        each(sql_text(&q, 0), value, size, arg);
    }
    return r;
}
