/* The index: directories that were renamed. A rename changes one name; where the cloud still has what lies below is
 * said by each inode's cloud_key, and of directories that were never listed by a row here (index_cloud_prefix()).
 * What is below is marked later, a batch at a time (mover.c), after which the row goes. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/store_index_internal.h"

/* --- keys ----------------------------------------------------------------------------------------- */

char *index_child_key(const char *dir_key, const struct index_inode *i)
{
    const char *component = index_component(i), *slash = S_ISDIR(i->mode) ? "/" : "";
    char *key = xcalloc(1, strlen(dir_key) + strlen(component) + 2);

    return strcat(strcat(strcpy(key, dir_key), component), slash);
}

static char *prefix_of(struct index *x, uint64_t ino)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT prefix FROM moved WHERE ino = ?",
                                                          SQL_INT(ino));

    return sql_next(&q) > 0 ? sql_text_copy(&q, 0) : NULL;
}

static char *join(const char *a, const char *b)
{
    char *both = xcalloc(1, strlen(a) + strlen(b) + 1);

    return strcat(strcpy(both, a), b);
}

char *index_cloud_prefix(struct index *x, uint64_t ino)
{
    char buffer[INDEX_KEY_BYTES];
    size_t at = sizeof(buffer) - 1;

    buffer[at] = '\0';
    for (;;) {
        CLEANUP_FREE char *prefix = prefix_of(x, ino);

        if (prefix || ino == INDEX_ROOT)
            return join(prefix ? prefix : "", buffer + at);
        if (!index_climb(x, &ino, false, buffer, &at))
            return NULL;
    }
}

bool index_displaced(struct index *x, const struct index_inode *i)
{
    CLEANUP_FREE char *key = i->cloud_key && i->nlink && index_moved_any(x) ? index_key(x, i->ino) : NULL;

    return key && strcmp(key, i->cloud_key) != 0;
}

/* --- marks ---------------------------------------------------------------------------------------- */

struct mark {
    uint64_t ino;
    unsigned pending;
};

/* What is pending of the inode when its key is this one. What has neither a version in the cloud nor work left has
 * nothing that could move, but a directory without a marker that comes to stand on a grave needs one, or the grave
 * would never be closed. */
static unsigned wanted(struct index *x, const struct index_inode *i, const char *key)
{
    if (!i->cloud_key)
        return S_ISDIR(i->mode) && index_buried(x, key) ? i->pending | INDEX_CONTENT : i->pending;
    return strcmp(i->cloud_key, key) == 0 ? i->pending & ~(unsigned)INDEX_MOVE : i->pending | INDEX_MOVE;
}

static int set_mark(struct index *x, const struct mark *m)
{
    return sql_run(x->sql, "UPDATE inode SET generation = generation + 1,"
                   " turned = CASE WHEN (pending = 0) <> (?2 = 0) THEN ?3 ELSE turned END,"
                   " not_before = CASE WHEN ?2 = 0 THEN 0 ELSE not_before END,"
                   " reason = CASE WHEN ?2 = 0 THEN NULL ELSE reason END, pending = ?2 WHERE ino = ?1",
                   SQL_INT(m->ino), SQL_INT(m->pending), SQL_INT(loop_wall_ns()));
}

int index_mark_moved(struct index *x, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP_FREE char *key = index_key(x, ino);
    struct mark m = { .ino = ino };
    int r = key ? index_get(x, ino, &i) : -ENOENT;

    if (r < 0)
        return r;
    m.pending = wanted(x, &i, key);
    return m.pending == i.pending ? 0 : index_changed(x, set_mark(x, &m));
}

struct marking {
    struct index *x;
    const char *key;         /* the directory's */
    struct mark *marks;
    size_t n_marks, left;
    index_each_fn *each;
    void *arg;
    uint64_t last;
};

static bool look_at_child(const struct index_inode *i, void *arg)
{
    CLEANUP_FREE char *key = NULL;
    struct marking *m = arg;
    unsigned pending;

    key = index_child_key(m->key, i);
    pending = wanted(m->x, i, key);
    if (pending != i->pending)
        m->marks[m->n_marks++] = (struct mark){ i->ino, pending };
    m->last = i->ino;
    (void)m->each(i, m->arg);
    return --m->left > 0;
}

int index_mark_children(struct index *x, uint64_t dir, uint64_t *cookie, size_t n, index_each_fn *each, void *arg)
{
    CLEANUP_FREE struct mark *marks = xcalloc(n, sizeof(*marks));
    CLEANUP_FREE char *key = index_key(x, dir);
    struct marking m = { .x = x, .key = key, .marks = marks, .left = n, .each = each, .arg = arg, .last = *cookie };
    int r = key ? index_scan(x, dir, *cookie, look_at_child, &m) : -ENOENT;

    for (size_t at = 0; r == 0 && at < m.n_marks; at++)
        r = index_changed(x, set_mark(x, &marks[at]));
    *cookie = m.last;
    return r < 0 ? r : (int)(n - m.left);
}

/* --- rows ----------------------------------------------------------------------------------------- */

int index_moved_put(struct index *x, uint64_t ino, const char *prefix)
{
    x->version++;
    return sql_run(x->sql, "INSERT INTO moved(ino, prefix, turn) VALUES(?1, ?2, 1)"
                   " ON CONFLICT(ino) DO UPDATE SET turn = turn + 1", SQL_INT(ino), SQL_TEXT(prefix));
}

int index_moved_next(struct index *x, uint64_t after, uint64_t *ret_ino, uint64_t *ret_turn)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT ino, turn FROM moved WHERE ino > ? ORDER BY ino LIMIT 1", SQL_INT(after));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret_ino = (uint64_t)sql_int(&q, 0);
    *ret_turn = (uint64_t)sql_int(&q, 1);
    return 0;
}

int index_moved_end(struct index *x, uint64_t ino, uint64_t turn)
{
    x->version++;
    return sql_run(x->sql, "DELETE FROM moved WHERE ino = ? AND turn = ?", SQL_INT(ino), SQL_INT(turn));
}

bool index_moved_any(struct index *x)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM moved LIMIT 1") != -ENOENT;
}

/* Without an answer: yes, the careful one. */
bool index_moved_above(struct index *x, uint64_t ino)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "WITH RECURSIVE above(ino) AS (SELECT ? UNION ALL"
                       " SELECT i.parent FROM above a JOIN inode i ON i.ino = a.ino WHERE i.parent IS NOT NULL)"
                       " SELECT 1 FROM above a JOIN moved m ON m.ino = a.ino LIMIT 1", SQL_INT(ino)) != -ENOENT;
}

/* Whether what was found under the row's prefix is to be elsewhere. A directory that came back, or was found under
 * its own key, is where it belongs. */
static bool is_elsewhere(struct index *x, struct sql_query *q)
{
    CLEANUP_FREE char *key = index_key(x, (uint64_t)sql_int(q, 0));

    return !key || strcmp(key, sql_text(q, 1)) != 0;
}

static bool any_elsewhere(struct index *x, const char *from, const char *to)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT ino, prefix FROM moved WHERE prefix >= ? AND prefix <= ?",
                  SQL_TEXT(from), SQL_TEXT(to));

    while (sql_next(&q) > 0)
        if (is_elsewhere(x, &q))
            return true;
    return false;
}

static bool is_moved_away(struct index *x, const char *prefix)
{
    return any_elsewhere(x, prefix, prefix);
}

/* Whether it is so of a prefix of the key that ends in '/', which may be the key itself. */
static bool of_some_prefix(struct index *x, const char *key, bool (*is)(struct index *x, const char *prefix))
{
    CLEANUP_FREE char *above = xstrdup(key);
    bool found = false;

    for (char *slash = strchr(above, '/'); !found && slash; slash = strchr(slash + 1, '/')) {
        char next = slash[1];

        slash[1] = '\0';
        found = is(x, above);
        slash[1] = next;
    }
    return found;
}

bool index_moved_from(struct index *x, const char *key)
{
    return index_moved_any(x) && of_some_prefix(x, key, is_moved_away);
}

bool index_moved_within(struct index *x, const char *key)
{
    CLEANUP_FREE char *end = index_key_end(key);

    return any_elsewhere(x, key, end);
}

/* --- what a rename left in the cloud -------------------------------------------------------------- */

int index_renamed_put(struct index *x, const char *prefix, uint64_t ino)
{
    return sql_run(x->sql, "INSERT OR IGNORE INTO renamed(prefix, ino) VALUES(?, ?)", SQL_TEXT(prefix), SQL_INT(ino));
}

int index_renamed_end(struct index *x, const char *prefix)
{
    return sql_run(x->sql, "DELETE FROM renamed WHERE prefix = ?", SQL_TEXT(prefix));
}

int index_renamed_next(struct index *x, const char *after, char **ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT prefix FROM renamed WHERE prefix > ? ORDER BY prefix LIMIT 1", SQL_TEXT(after));
    int r = sql_next(&q);

    *ret = r > 0 ? sql_text_copy(&q, 0) : NULL;
    return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

/* A whole tree below a row may be unmarked; only there is it necessary to look at each inode. */
static bool unmarked_under(struct index *x, const char *prefix, const char *end)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "WITH RECURSIVE below(ino) AS (SELECT ino FROM moved UNION"
                       " SELECT i.ino FROM below b JOIN inode i ON i.parent = b.ino)"
                       " SELECT 1 FROM below b JOIN inode i ON i.ino = b.ino"
                       " WHERE i.cloud_key >= ?1 AND i.cloud_key < ?2 LIMIT 1",
                       SQL_TEXT(prefix), SQL_TEXT(end)) != -ENOENT;
}

bool index_renamed_left(struct index *x, const char *prefix)
{
    CLEANUP_FREE char *end = index_key_end(prefix);
    int64_t one;

    if (sql_get_int(x->sql, &one, "SELECT 1 FROM grave WHERE key >= ?1 AND key < ?2 AND closed = 0 LIMIT 1",
                    SQL_TEXT(prefix), SQL_TEXT(end)) != -ENOENT ||
        sql_get_int(x->sql, &one, "SELECT 1 FROM inode WHERE cloud_key >= ?1 AND cloud_key < ?2 AND pending & 4"
                    " AND nlink > 0 LIMIT 1", SQL_TEXT(prefix), SQL_TEXT(end)) != -ENOENT)
        return true;
    return index_moved_from(x, prefix) || index_moved_within(x, prefix) ||
        (index_moved_any(x) && unmarked_under(x, prefix, end));
}

/* The prefixes a directory had. */
static bool left_of(struct index *x, uint64_t ino)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT prefix FROM renamed WHERE ino = ?",
                                                          SQL_INT(ino));

    while (sql_next(&q) > 0)
        if (index_renamed_left(x, sql_text(&q, 0)))
            return true;
    return false;
}

bool index_rename_under_way(struct index *x, uint64_t dir)
{
    while (dir != 0) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        if (left_of(x, dir))
            return true;
        dir = index_get(x, dir, &i) == 0 ? i.parent : 0;
    }
    return false;
}

static bool is_left(struct index *x, const char *prefix)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM renamed WHERE prefix = ? LIMIT 1", SQL_TEXT(prefix)) == 0 &&
        index_renamed_left(x, prefix);
}

bool index_rename_under_way_from(struct index *x, const char *key)
{
    return of_some_prefix(x, key, is_left);
}
