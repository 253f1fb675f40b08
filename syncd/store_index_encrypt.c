/* The index: what is to be encrypted though the cloud has it. */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/store_encrypt.h"
#include "syncd/store_index_internal.h"

/* --- what it amounts to --------------------------------------------------------------------------- */

int index_encryption(struct index *x, struct index_encryption *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT files, bytes, directories, done, done_bytes, failed FROM encryption");
    int r = sql_next(&q);

    *ret = (struct index_encryption){ 0 };
    if (r <= 0)
        return r;
    *ret = (struct index_encryption){
        .files = (uint64_t)sql_int(&q, 0),
        .bytes = (uint64_t)sql_int(&q, 1),
        .directories = (uint64_t)sql_int(&q, 2),
        .done = (uint64_t)sql_int(&q, 3),
        .done_bytes = (uint64_t)sql_int(&q, 4),
        .failed = (uint64_t)sql_int(&q, 5),
    };
    return 0;
}

/* The row comes (1) or goes (-1). */
static int count(struct index *x, const struct index_mark *m, int64_t sign)
{
    bool failed = m->state == INDEX_ENCRYPT_FAILED, file = !failed && !m->is_directory;

    return sql_run(x->sql, "UPDATE encryption SET files = files + ?1, bytes = bytes + ?2,"
                   " directories = directories + ?3, failed = failed + ?4", SQL_INT(file ? sign : 0),
                   SQL_INT(file ? sign * (int64_t)m->size : 0), SQL_INT(failed || file ? 0 : sign),
                   SQL_INT(failed ? sign : 0));
}

static int recount(struct index *x)
{
    return sql_run(x->sql, "UPDATE encryption SET"
                   " files = (SELECT count(*) FROM encrypting WHERE state < 2 AND directory = 0),"
                   " bytes = (SELECT ifnull(sum(size), 0) FROM encrypting WHERE state < 2 AND directory = 0),"
                   " directories = (SELECT count(*) FROM encrypting WHERE state < 2 AND directory <> 0),"
                   " failed = (SELECT count(*) FROM encrypting WHERE state = 2)");
}

/* --- reading ---------------------------------------------------------------------------------------- */

int index_encrypt_get(struct index *x, uint64_t ino, struct index_mark *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT directory, state, size, tries FROM encrypting WHERE ino = ?", SQL_INT(ino));
    int r = sql_next(&q);

    *ret = (struct index_mark){ 0 };
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = (struct index_mark){
        .is_directory = sql_int(&q, 0),
        .state = (enum index_encrypt_state)sql_int(&q, 1),
        .size = (uint64_t)sql_int(&q, 2),
        .tries = (unsigned)sql_int(&q, 3),
    };
    return 0;
}

static int numbers(struct sql_query *q, uint64_t *ret, size_t n)
{
    int r = 0, found = 0;

    while ((size_t)found < n && (r = sql_next(q)) > 0)
        ret[found++] = (uint64_t)sql_int(q, 0);
    sql_query_end(q);
    return r < 0 ? r : found;
}

int index_encrypt_due(struct index *x, int64_t now_ns, bool directories, uint64_t *ret, size_t n)
{
    struct sql_query q = sql_query(x->sql, "SELECT ino FROM encrypting WHERE state = 0 AND directory = ?"
                                   " AND not_before <= ? ORDER BY not_before, ino LIMIT ?", SQL_INT(directories),
                                   SQL_INT(now_ns), SQL_INT(n));

    return numbers(&q, ret, n);
}

int64_t index_encrypt_next_due(struct index *x, int64_t now_ns)
{
    int64_t file = INT64_MAX, directory = INT64_MAX;

    (void)sql_get_int(x->sql, &file, "SELECT not_before FROM encrypting WHERE state = 0 AND directory = 0"
                      " AND not_before > ? ORDER BY not_before LIMIT 1", SQL_INT(now_ns));
    (void)sql_get_int(x->sql, &directory, "SELECT not_before FROM encrypting WHERE state = 0 AND directory = 1"
                      " AND not_before > ? ORDER BY not_before LIMIT 1", SQL_INT(now_ns));
    return file < directory ? file : directory;
}

int index_encrypt_working(struct index *x, uint64_t *ret_n, uint64_t *ret_bytes)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT count(*), ifnull(sum(e.size), 0) FROM encrypting e JOIN inode i ON i.ino = e.ino"
                  " WHERE e.state = 1 AND i.pending & 1 = 0");
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_n = (uint64_t)sql_int(&q, 0);
    *ret_bytes = (uint64_t)sql_int(&q, 1);
    return 0;
}

int index_encrypt_failures(struct index *x, bool (*each)(uint64_t ino, const char *reason, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT ino, ifnull(reason, '') FROM encrypting WHERE state = 2 ORDER BY ino");
    int r;

    while ((r = sql_next(&q)) > 0)
        if (!each((uint64_t)sql_int(&q, 0), sql_text(&q, 1), arg))
            return 0;
    return r;
}

/* --- changes ---------------------------------------------------------------------------------------- */

static int set_bit(struct index *x, uint64_t ino, bool set)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(x, ino, &i);
    unsigned pending = set ? i.pending | INDEX_SEAL : i.pending & ~(unsigned)INDEX_SEAL;

    if (r < 0 || pending == i.pending)
        return r == -ENOENT ? 0 : r;
    i.pending = pending;
    return index_update(x, &i);
}

static int remove_row(struct index *x, uint64_t ino, struct index_mark *ret)
{
    int r = index_encrypt_get(x, ino, ret);

    if (r == 0)
        r = sql_run(x->sql, "DELETE FROM encrypting WHERE ino = ?", SQL_INT(ino));
    return r < 0 ? r : count(x, ret, -1);
}

static int put_row(struct index *x, uint64_t ino, const struct index_mark *m, int64_t not_before_ns,
                   const char *reason)
{
    int r = sql_run(x->sql, "INSERT INTO encrypting(ino, directory, state, size, tries, not_before, reason)"
                    " VALUES(?, ?, ?, ?, ?, ?, ?)", SQL_INT(ino), SQL_INT(m->is_directory), SQL_INT(m->state),
                    SQL_INT(m->size), SQL_INT(m->tries), SQL_INT(not_before_ns), SQL_TEXT(reason));

    return r < 0 ? r : count(x, m, 1);
}

static int set_state(struct index *x, uint64_t ino, enum index_encrypt_state state, const char *reason)
{
    struct index_mark m;
    int r = remove_row(x, ino, &m);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    m.state = state;
    m.tries = 0;
    r = put_row(x, ino, &m, 0, reason);
    return r < 0 ? r : set_bit(x, ino, state == INDEX_ENCRYPT_WORK);
}

int index_encrypt_anew(struct index *x)
{
    struct index_encryption now;
    int r = index_encryption(x, &now);

    if (r < 0 || now.files || now.directories)
        return r;
    r = sql_run(x->sql, "DELETE FROM encrypting");
    return r < 0 ? r : sql_run(x->sql, "UPDATE encryption SET files = 0, bytes = 0, directories = 0, done = 0,"
                               " done_bytes = 0, failed = 0");
}

int index_encrypt_put(struct index *x, uint64_t ino, bool is_directory, uint64_t size)
{
    struct index_mark m;
    int r = index_encrypt_get(x, ino, &m);

    if (r == 0)
        return m.state == INDEX_ENCRYPT_FAILED ? set_state(x, ino, INDEX_ENCRYPT_WAITS, NULL) : 0;
    m = (struct index_mark){ .is_directory = is_directory, .size = size };
    return r == -ENOENT ? put_row(x, ino, &m, 0, NULL) : r;
}

int index_encrypt_begin(struct index *x, uint64_t ino)
{
    return set_state(x, ino, INDEX_ENCRYPT_WORK, NULL);
}

int index_encrypt_later(struct index *x, uint64_t ino, int64_t not_before_ns, bool tried)
{
    int r = set_bit(x, ino, false);

    return r < 0 ? r : sql_run(x->sql, "UPDATE encrypting SET state = 0, not_before = ?2, tries = tries + ?3"
                               " WHERE ino = ?1 AND state < 2", SQL_INT(ino), SQL_INT(not_before_ns), SQL_INT(tried));
}

int index_encrypt_tried(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "UPDATE encrypting SET tries = tries + 1 WHERE ino = ?", SQL_INT(ino));
}

int index_encrypt_done(struct index *x, uint64_t ino)
{
    struct index_mark m;
    int r = remove_row(x, ino, &m);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = sql_run(x->sql, "UPDATE encryption SET done = done + 1, done_bytes = done_bytes + ?", SQL_INT(m.size));
    return r < 0 ? r : set_bit(x, ino, false);
}

int index_encrypt_fail(struct index *x, uint64_t ino, const char *reason)
{
    return set_state(x, ino, INDEX_ENCRYPT_FAILED, reason);
}

int index_encrypt_forget(struct index *x, uint64_t ino)
{
    struct index_mark m;
    int r = remove_row(x, ino, &m);

    return r == 0 || r == -ENOENT ? set_bit(x, ino, false) : r;
}

int index_encrypt_renumber(struct index *x, uint64_t from, uint64_t to)
{
    return sql_run(x->sql, "UPDATE encrypting SET ino = ?2 WHERE ino = ?1", SQL_INT(from), SQL_INT(to));
}

/* What is in work is little, what is listed may be everything. */
static int take_back_below(struct index *x, uint64_t dir)
{
    uint64_t inos[256], last = 0;
    int n = 1, r = 0;

    while (r == 0 && n > 0) {
        struct sql_query q = sql_query(x->sql, "SELECT ino FROM encrypting WHERE state = 1 AND ino > ? ORDER BY ino"
                                       " LIMIT ?", SQL_INT(last), SQL_INT(sizeof(inos) / sizeof(*inos)));

        n = numbers(&q, inos, sizeof(inos) / sizeof(*inos));
        r = n < 0 ? n : 0;
        for (int k = 0; r == 0 && k < n; k++) {
            last = inos[k];
            r = index_is_in(x, last, dir) ? set_bit(x, last, false) : 0;
        }
    }
    return r;
}

int index_encrypt_forget_below(struct index *x, uint64_t ino)
{
    int r = take_back_below(x, ino);

    if (r == 0 && ino == INDEX_ROOT)
        r = sql_run(x->sql, "DELETE FROM encrypting");
    else if (r == 0)
        r = sql_run(x->sql, "WITH RECURSIVE below(ino) AS (SELECT ?1 UNION ALL"
                    " SELECT i.ino FROM below b JOIN inode i ON i.parent = b.ino)"
                    " DELETE FROM encrypting WHERE ino IN (SELECT ino FROM below)", SQL_INT(ino));
    return r < 0 ? r : recount(x);
}

int index_encrypt_resume(struct index *x)
{
    int r = sql_run(x->sql, "UPDATE encrypting SET state = 0, not_before = 0 WHERE state = 1 AND NOT EXISTS"
                    " (SELECT 1 FROM inode i WHERE i.ino = encrypting.ino AND i.nlink > 0 AND i.pending & 8 <> 0)");

    return r < 0 ? r : recount(x);
}
