/* What is to be done in the cloud: graves, inodes with pending bits, multipart uploads under way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/store_index_internal.h"

/* As the time before which an inode is not tried again: it is held. */
#define PAUSED INT64_C(9223372036854775805)
#define CANCELED INT64_C(9223372036854775806)
#define HELD "9223372036854775805, 9223372036854775806"

/* --- graves ------------------------------------------------------------------------------------- */

static int bury(struct index *x, const char *key, const char *etag, bool compared)
{
    return sql_run(x->sql, "INSERT INTO grave(key, closed, etag, compared) VALUES(?, 0, ?, ?) ON CONFLICT(key)"
                   " DO UPDATE SET closed = 0, etag = excluded.etag, compared = excluded.compared",
                   SQL_TEXT(key), SQL_TEXT(etag), SQL_INT(compared));
}

int index_bury(struct index *x, const char *key, const char *etag)
{
    return bury(x, key, etag, false);
}

int index_bury_version(struct index *x, const char *key, const char *etag)
{
    return bury(x, key, etag, true);
}

bool index_grave_compared(struct index *x, const char *key)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM grave WHERE key = ? AND closed = 0 AND compared <> 0",
                       SQL_TEXT(key)) != -ENOENT;
}

int index_exhume(struct index *x, const char *key)
{
    return sql_run(x->sql, "UPDATE grave SET closed = ?2 WHERE key = ?1 AND closed = 0", SQL_TEXT(key),
                   SQL_INT(loop_wall_ns()));
}

bool index_buried(struct index *x, const char *key)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM grave WHERE key = ? AND closed = 0", SQL_TEXT(key)) == 0;
}

char *index_grave_etag(struct index *x, const char *key)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT etag FROM grave WHERE key = ? AND closed = 0", SQL_TEXT(key));

    return sql_next(&q) > 0 ? sql_text_copy(&q, 0) : NULL;
}

char *index_key_end(const char *key)
{
    size_t len = strlen(key);
    char *end = xcalloc(1, len + 2);

    memcpy(end, key, len);
    if (len && end[len - 1] == '/')
        end[len - 1] = '0';   /* it comes after '/' */
    else
        end[len] = '\1';
    return end;
}

bool index_buried_since(struct index *x, const char *key, int64_t since_ns)
{
    CLEANUP_FREE char *end = index_key_end(key);
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM grave WHERE key >= ?1 AND key < ?2"
                       " AND (closed = 0 OR closed > ?3) LIMIT 1",
                       SQL_TEXT(key), SQL_TEXT(end), SQL_INT(since_ns)) == 0;
}

int index_forget_graves(struct index *x, int64_t before_ns)
{
    return sql_run(x->sql, "DELETE FROM grave WHERE closed <> 0 AND closed < ?", SQL_INT(before_ns));
}

int index_graves(struct index *x, const char *after, size_t n, bool (*each)(const char *key, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT key FROM grave WHERE closed = 0 AND key > ? ORDER BY key LIMIT ?",
                  SQL_TEXT(after ? after : ""), SQL_INT(n));
    int r;

    while ((r = sql_next(&q)) > 0)
        if (!each(sql_text(&q, 0), arg))
            return 0;
    return r;
}

/* --- inodes ------------------------------------------------------------------------------------- */

int index_due(struct index *x, int64_t now_ns, size_t n, index_each_fn *each, void *arg)
{
    struct sql_query q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode INDEXED BY inode_pending"
                                   " WHERE pending <> 0 AND nlink > 0 AND not_before <= ? ORDER BY not_before, turned"
                                   " LIMIT ?", SQL_INT(now_ns), SQL_INT(n));

    return index_each(&q, each, arg);
}

int64_t index_next_due(struct index *x, int64_t now_ns)
{
    int64_t next;

    if (sql_get_int(x->sql, &next, "SELECT not_before FROM inode INDEXED BY inode_pending WHERE pending <> 0"
                    " AND nlink > 0 AND not_before > ? AND not_before NOT IN (" HELD ") ORDER BY not_before LIMIT 1",
                    SQL_INT(now_ns)) < 0)
        return INT64_MAX;
    return next;
}

int index_retry(struct index *x, uint64_t ino, int64_t not_before_ns, const char *reason)
{
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET"
                                    " not_before = CASE WHEN not_before IN (" HELD ") THEN not_before ELSE ?2 END,"
                                    " reason = CASE WHEN not_before IN (" HELD ") THEN reason ELSE ?3 END"
                                    " WHERE ino = ?1", SQL_INT(ino), SQL_INT(not_before_ns), SQL_TEXT(reason)));
}

int index_retry_failed(struct index *x)
{
    return sql_run(x->sql, "UPDATE inode INDEXED BY inode_pending SET not_before = 0 WHERE pending <> 0 AND nlink > 0"
                   " AND not_before > ? AND not_before NOT IN (" HELD ") AND reason IS NOT NULL",
                   SQL_INT(loop_wall_ns()));
}

static const int64_t holds[] = { [INDEX_FREE] = 0, [INDEX_PAUSED] = PAUSED, [INDEX_CANCELED] = CANCELED };

int index_hold(struct index *x, uint64_t ino, enum index_hold hold, const char *reason)
{
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET not_before = ?2, reason = ?3 WHERE ino = ?1",
                                    SQL_INT(ino), SQL_INT(holds[hold]), SQL_TEXT(reason)));
}

enum index_hold index_held(struct index *x, uint64_t ino)
{
    int64_t at = index_retry_at(x, ino);

    return at == PAUSED ? INDEX_PAUSED : at == CANCELED ? INDEX_CANCELED : INDEX_FREE;
}

int index_hold_end(struct index *x, enum index_hold hold)
{
    return sql_run(x->sql, "UPDATE inode INDEXED BY inode_pending SET not_before = 0, reason = NULL"
                   " WHERE pending <> 0 AND nlink > 0 AND not_before = ?", SQL_INT(holds[hold]));
}

char *index_reason(struct index *x, uint64_t ino)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT reason FROM inode WHERE ino = ?", SQL_INT(ino));

    return sql_next(&q) > 0 ? sql_text_copy(&q, 0) : NULL;
}

int64_t index_retry_at(struct index *x, uint64_t ino)
{
    int64_t at;

    return sql_get_int(x->sql, &at, "SELECT not_before FROM inode WHERE ino = ?", SQL_INT(ino)) == 0 ? at : 0;
}

int index_by_cloud_key(struct index *x, const char *key, struct index_inode *ret)
{
    struct sql_query q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode WHERE cloud_key = ? AND nlink > 0",
                                   SQL_TEXT(key));

    return index_first(&q, ret);
}

/* The keys above one, from the top: "a" and "a/b" for "a/b/c" and for "a/b/". Each once, owned; NULL at the end. */
static char *next_above(const char *key, size_t *at)
{
    const char *slash = strchr(key + *at, '/');

    if (!slash)
        return NULL;
    *at = (size_t)(slash - key) + 1;
    return strndup(key, *at - 1);
}

/* A file's key as that of a folder; NULL: it is one already. */
static char *as_folder(const char *key)
{
    size_t len = strlen(key);
    char *folder;

    if (len == 0 || key[len - 1] == '/')
        return NULL;
    folder = xcalloc(1, len + 2);
    memcpy(folder, key, len);
    folder[len] = '/';
    return folder;
}

int index_in_the_way(struct index *x, const char *key, struct index_inode *ret)
{
    CLEANUP_FREE char *folder = as_folder(key), *end = folder ? index_key_end(folder) : NULL;
    int r = -ENOENT;
    struct sql_query q;
    char *above;

    for (size_t at = 0; r == -ENOENT && (above = next_above(key, &at)); free(above))
        r = index_by_cloud_key(x, above, ret);
    if (r != -ENOENT || !folder)
        return r;
    q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode WHERE cloud_key >= ?1 AND cloud_key < ?2 AND nlink > 0"
                  " ORDER BY cloud_key LIMIT 1", SQL_TEXT(folder), SQL_TEXT(end));
    return index_first(&q, ret);
}

bool index_buried_in_the_way(struct index *x, const char *key)
{
    CLEANUP_FREE char *folder = as_folder(key), *end = folder ? index_key_end(folder) : NULL;
    bool buried = false;
    int64_t one;
    char *above;

    for (size_t at = 0; !buried && (above = next_above(key, &at)); free(above))
        buried = index_buried(x, above);
    return buried || (folder && index_moved_within(x, folder)) ||
        (folder && sql_get_int(x->sql, &one, "SELECT 1 FROM grave WHERE key >= ?1 AND key < ?2 AND closed = 0 LIMIT 1",
                               SQL_TEXT(folder), SQL_TEXT(end)) == 0);
}

static int count_pending(struct index *x, uint64_t *ret)
{
    int64_t inodes = 0, graves = 0, moved = 0;
    int r = sql_get_int(x->sql, &inodes, "SELECT count(*) FROM inode INDEXED BY inode_pending WHERE pending <> 0"
                        " AND nlink > 0 AND pending & 7 <> 0");

    if (r == 0)
        r = sql_get_int(x->sql, &graves, "SELECT count(*) FROM grave WHERE closed = 0");
    if (r == 0)
        r = sql_get_int(x->sql, &moved, "SELECT count(*) FROM moved");
    *ret = (uint64_t)(inodes + graves + moved);
    return r;
}

/* Asked for with every list of drives, and by far most often of an index that rests. */
uint64_t index_pending_count(struct index *x)
{
    uint64_t state = sql_state(x->sql);

    if (!state || state != x->pending_state)
        x->pending_state = count_pending(x, &x->pending) == 0 ? state : 0;
    return x->pending;
}

/* From what is pending upwards, as in survey(). */
#define CLIMB(which) \
    "WITH RECURSIVE climb(start, at) AS (SELECT ino, ino FROM inode INDEXED BY inode_pending" \
    " WHERE pending <> 0 AND nlink > 0 AND pending & 7 <> 0" which \
    " UNION ALL SELECT c.start, i.parent FROM climb c JOIN inode i ON i.ino = c.at" \
    " WHERE c.at <> ?1 AND i.parent IS NOT NULL)"

uint64_t index_pending_in(struct index *x, uint64_t dir, uint64_t *ret_first)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, CLIMB("") " SELECT c.start, count(*) OVER () FROM climb c"
                  " JOIN inode i ON i.ino = c.start WHERE c.at = ?1"
                  " ORDER BY i.not_before IN (" HELD "), i.reason IS NULL, i.not_before DESC LIMIT 1", SQL_INT(dir));

    if (sql_next(&q) <= 0)
        return 0;
    *ret_first = (uint64_t)sql_int(&q, 0);
    return (uint64_t)sql_int(&q, 1);
}

uint64_t index_pending_in_vain(struct index *x, uint64_t dir, int64_t until_ns)
{
    int64_t n = 0;

    (void)sql_get_int(x->sql, &n, CLIMB(" AND not_before > ?2 AND (not_before IN (" HELD ") OR reason IS NOT NULL)")
                      " SELECT count(*) FROM climb WHERE at = ?1", SQL_INT(dir), SQL_INT(until_ns));
    return (uint64_t)n;
}

uint64_t index_graves_below(struct index *x, const char *key)
{
    CLEANUP_FREE char *end = index_key_end(key);
    int64_t n = 0;

    (void)sql_get_int(x->sql, &n, "SELECT count(*) FROM grave WHERE closed = 0"
                      " AND (?1 = '' OR (key >= ?1 AND key < ?2))", SQL_TEXT(key), SQL_TEXT(end));
    return (uint64_t)n;
}

bool index_is_in(struct index *x, uint64_t ino, uint64_t dir)
{
    while (ino != dir && ino != 0) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        ino = index_get(x, ino, &i) == 0 ? i.parent : 0;
    }
    return ino == dir;
}

uint64_t index_dirty_bytes(struct index *x)
{
    int64_t bytes = 0;

    (void)sql_get_int(x->sql, &bytes, "SELECT total(size) FROM inode INDEXED BY inode_pending WHERE pending & 1"
                      " AND pending <> 0 AND nlink > 0");
    return (uint64_t)bytes;
}

/* All directories above what is pending. From there upwards, because what is pending is few and a
 * subtree may be everything. */
static int survey(struct index *x)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "WITH RECURSIVE above(ino) AS (SELECT parent FROM inode WHERE pending <> 0 AND nlink > 0"
                  " AND pending & 7 <> 0 UNION SELECT ino FROM moved"
                  " UNION SELECT i.parent FROM above a JOIN inode i ON i.ino = a.ino)"
                  " SELECT ino FROM above WHERE ino IS NOT NULL ORDER BY ino");
    size_t room = 0;
    int r;

    x->n_above = 0;
    x->above_version = 0;
    free(take_ptr(x->above));
    while ((r = sql_next(&q)) > 0) {
        if (x->n_above == room) {
            uint64_t *grown = reallocarray(x->above, room ? room * 2 : 64, sizeof(*grown));

            if (!grown)
                return -ENOMEM;
            x->above = grown;
            room = room ? room * 2 : 64;
        }
        x->above[x->n_above++] = (uint64_t)sql_int(&q, 0);
    }
    if (r == 0)
        x->above_version = x->version;
    return r;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* When nobody can tell, something is pending: the careful answer. */
bool index_pending_below(struct index *x, uint64_t ino)
{
    if (x->above_version != x->version && survey(x) < 0)
        return true;
    return x->n_above && bsearch(&ino, x->above, x->n_above, sizeof(ino), compare);
}

/* Without an answer: yes, the careful one. */
bool index_pending_since(struct index *x, uint64_t ino, int64_t since_ns)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "WITH RECURSIVE below(ino) AS (SELECT ?1 UNION ALL"
                       " SELECT i.ino FROM below b JOIN inode i ON i.parent = b.ino)"
                       " SELECT 1 FROM below b JOIN inode i ON i.ino = b.ino WHERE i.pending <> 0 OR i.turned > ?2"
                       " OR EXISTS(SELECT 1 FROM moved m WHERE m.ino = b.ino) LIMIT 1",
                       SQL_INT(ino), SQL_INT(since_ns)) != -ENOENT || index_moved_above(x, ino);
}

bool index_lives_at(struct index *x, const char *key)
{
    CLEANUP_FREE char *end = index_key_end(key);
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM inode WHERE cloud_key >= ?1 AND cloud_key < ?2"
                       " AND nlink > 0 LIMIT 1", SQL_TEXT(key), SQL_TEXT(end)) == 0;
}

/* --- uploads ------------------------------------------------------------------------------------ */

#define UPLOAD_COLUMNS "ino, generation, part_size, size, mtime, key, upload_id, begun"

int index_upload_put(struct index *x, const struct index_upload *u)
{
    return sql_run(x->sql, "INSERT OR REPLACE INTO upload(" UPLOAD_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                   SQL_INT(u->ino), SQL_INT(u->generation), SQL_INT(u->part_size), SQL_INT(u->size),
                   SQL_INT(u->mtime_ns), SQL_TEXT(u->key), SQL_TEXT(u->upload_id), SQL_INT(u->begun_ns));
}

static void read_upload(struct sql_query *q, struct index_upload *u)
{
    *u = (struct index_upload){
        .ino = (uint64_t)sql_int(q, 0),
        .generation = (uint64_t)sql_int(q, 1),
        .part_size = (uint64_t)sql_int(q, 2),
        .size = (uint64_t)sql_int(q, 3),
        .mtime_ns = sql_int(q, 4),
        .key = (char *)(uintptr_t)sql_text(q, 5),
        .upload_id = (char *)(uintptr_t)sql_text(q, 6),
        .begun_ns = sql_int(q, 7),
    };
}

static int first_upload(struct sql_query *q, struct index_upload *ret)
{
    int r = sql_next(q);

    *ret = (struct index_upload){ 0 };
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    read_upload(q, ret);
    ret->key = sql_text_copy(q, 5);
    ret->upload_id = sql_text_copy(q, 6);
    return 0;
}

int index_upload_get(struct index *x, uint64_t ino, struct index_upload *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " UPLOAD_COLUMNS " FROM upload WHERE ino = ?", SQL_INT(ino));

    return first_upload(&q, ret);
}

int index_uploads(struct index *x, uint64_t after, bool (*each)(const struct index_upload *u, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " UPLOAD_COLUMNS " FROM upload WHERE ino > ? ORDER BY ino", SQL_INT(after));
    struct index_upload u;
    int r;

    while ((r = sql_next(&q)) > 0) {
        read_upload(&q, &u);
        if (!each(&u, arg))
            return 0;
    }
    return r;
}

int index_upload_sent(struct index *x, const char *key, uint64_t size, int64_t mtime_ns, struct index_upload *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " UPLOAD_COLUMNS " FROM upload WHERE key = ? AND size = ? AND mtime = ?",
                  SQL_TEXT(key), SQL_INT(size), SQL_INT(mtime_ns));

    return first_upload(&q, ret);
}

int index_upload_remove(struct index *x, uint64_t ino)
{
    int r = sql_run(x->sql, "DELETE FROM upload WHERE ino = ?", SQL_INT(ino));

    return r < 0 ? r : index_sealing_remove(x, ino);
}

void index_upload_done(struct index_upload *u)
{
    if (!u)
        return;
    free(take_ptr(u->key));
    free(take_ptr(u->upload_id));
}
