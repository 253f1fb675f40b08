/* Changes of inodes: rows made, updated, moved, orphaned, removed, and their extended attributes. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/name.h"
#include "syncd/store_encrypt.h"
#include "syncd/store_index_internal.h"

static const struct index_share NOTHING;

/* `turned` is written wherever `pending` is: now, when one of the two is zero and the other is not. */

int index_changed(struct index *x, int r)
{
    x->version++;
    if (r == 0 && sql_changes(x->sql) == 0)
        return -ENOENT;
    return r;
}

/* A key below the directory is `len` bytes longer than its own. */
static int deepen(struct index *x, uint64_t dir, size_t len)
{
    while (dir) {
        CLEANUP(sql_query_end) struct sql_query q =
            sql_query(x->sql, "SELECT deep, parent, length(CAST(ifnull(key_name, name) AS BLOB)) FROM inode"
                      " WHERE ino = ?", SQL_INT(dir));
        int r = sql_next(&q);

        if (r <= 0 || (size_t)sql_int(&q, 0) >= len)
            return r < 0 ? r : 0;
        r = sql_run(x->sql, "UPDATE inode SET deep = ?2 WHERE ino = ?1", SQL_INT(dir), SQL_INT(len));
        if (r < 0)
            return r;
        len += (size_t)sql_int(&q, 2) + 1;
        dir = (uint64_t)sql_int(&q, 1);
    }
    return 0;
}

/* The same where the inode stands now. */
static int deepen_above(struct index *x, uint64_t ino)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT parent, length(CAST(ifnull(key_name, name) AS BLOB))"
                  " + iif((mode & 61440) = 16384, 1 + deep, 0) FROM inode WHERE ino = ?", SQL_INT(ino));
    int r = sql_next(&q);

    return r > 0 ? deepen(x, (uint64_t)sql_int(&q, 0), (size_t)sql_int(&q, 1)) : r;
}

int index_insert(struct index *x, struct index_inode *i)
{
    int64_t turned = i->pending ? loop_wall_ns() : 0;
    int r = sql_run(x->sql,
                    "INSERT INTO inode(" INDEX_COLUMNS ", deep) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)",
                    i->ino ? SQL_INT(i->ino) : SQL_NULL, i->parent ? SQL_INT(i->parent) : SQL_NULL, SQL_TEXT(i->name),
                    SQL_INT(i->mode), SQL_INT(i->uid), SQL_INT(i->gid), SQL_INT(i->nlink), SQL_INT(i->size),
                    SQL_INT(i->mtime_ns), SQL_INT(i->ctime_ns), SQL_INT(i->atime_ns), SQL_TEXT(i->target),
                    SQL_TEXT(i->cloud_key), SQL_TEXT(i->etag), SQL_INT(i->cloud_size), SQL_INT(i->settled),
                    SQL_INT(i->pending), SQL_INT(i->generation), SQL_INT(i->listed_ns), SQL_INT(turned),
                    SQL_TEXT(i->key_name), SQL_INT(i->cut));

    if (r == 0 && i->ino == 0)
        i->ino = (uint64_t)sql_last_id(x->sql);
    r = index_changed(x, r);
    if (r == 0)
        r = index_share_changed(x, NOTHING, index_share(i->size, i->nlink));
    return r == 0 && i->parent ? deepen(x, i->parent, strlen(index_component(i)) + S_ISDIR(i->mode)) : r;
}

static int update(struct index *x, const struct index_inode *i)
{
    return sql_run(x->sql,
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
}

int index_update(struct index *x, const struct index_inode *i)
{
    struct index_share was;
    int r = index_share_of(x, i->ino, &was);

    if (r == 0)
        r = index_changed(x, update(x, i));
    return r < 0 ? r : index_share_changed(x, was, index_share(i->size, i->nlink));
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
    r = index_changed(x, sql_run(x->sql, "UPDATE inode SET parent = ?2, name = ?3, ctime = ?4,"
                                 " key_name = nullif(?5, ?3) WHERE ino = ?1", SQL_INT(ino), SQL_INT(parent),
                                 SQL_TEXT(text), SQL_INT(loop_wall_ns()), SQL_TEXT(component)));
    return r < 0 ? r : deepen_above(x, ino);
}

static int orphan(struct index *x, uint64_t ino)
{
    struct index_share was;
    int r = index_share_of(x, ino, &was);

    if (r == 0)
        r = index_changed(x, sql_run(x->sql, "UPDATE inode SET parent = NULL, name = NULL, key_name = NULL, nlink = 0"
                                     " WHERE ino = ?", SQL_INT(ino)));
    return r < 0 ? r : index_share_changed(x, was, NOTHING);
}

int index_orphan(struct index *x, uint64_t ino)
{
    int r = index_encrypt_forget(x, ino);

    return r < 0 ? r : orphan(x, ino);
}

int index_replace(struct index *x, struct index_inode *i)
{
    uint64_t old = i->ino;
    int r = orphan(x, old);

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
        r = index_encrypt_renumber(x, old, i->ino);
    if (r == 0)
        r = sql_run(x->sql, "UPDATE upload SET ino = ?1 WHERE ino = ?2 AND part_size > 0", SQL_INT(i->ino),
                    SQL_INT(old));
    return r;
}

int index_remove(struct index *x, uint64_t ino)
{
    struct index_share was;
    int r = index_share_of(x, ino, &was);

    if (r == 0)
        r = index_encrypt_forget(x, ino);
    if (r == 0)
        r = index_xattr_clear(x, ino);
    if (r == 0)
        r = sql_run(x->sql, "DELETE FROM moved WHERE ino = ?", SQL_INT(ino));
    if (r == 0)
        r = index_unsynced_remove(x, ino);
    if (r == 0)
        r = index_object_remove(x, ino);
    if (r == 0)
        r = index_sealing_remove(x, ino);
    if (r == 0)
        r = index_changed(x, sql_run(x->sql, "DELETE FROM inode WHERE ino = ?", SQL_INT(ino)));
    return r < 0 ? r : index_share_changed(x, was, NOTHING);
}

int index_touch(struct index *x, uint64_t ino, int64_t now_ns)
{
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET mtime = ?2, ctime = ?2 WHERE ino = ?1", SQL_INT(ino),
                                    SQL_INT(now_ns)));
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
