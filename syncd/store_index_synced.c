/* The index: which session of the machine it is, and whose content may not be on the disk yet. Knows nothing of the
 * disk: cache_sync.c does. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "syncd/store_index_internal.h"

/* --- sessions --------------------------------------------------------------------------------------- */

/* 1: it is this one, 0: another, -ENOENT: there was none. */
static int last_session(struct index *x, const char *boot, uint64_t *ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT number, boot FROM session");
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = (uint64_t)sql_int(&q, 0);
    return strcmp(sql_text(&q, 1), boot) == 0;
}

/* Of a file that the cloud never had nor was sent there is nothing better than what is left. */
static int doubt(struct index *x)
{
    return sql_run(x->sql, "UPDATE unsynced SET doubtful = 1 WHERE EXISTS (SELECT 1 FROM inode i"
                   " WHERE i.ino = unsynced.ino AND i.pending & 1 <> 0 AND i.generation <> unsynced.generation"
                   " AND (i.cloud_key IS NOT NULL OR i.ino IN (SELECT ino FROM upload)))");
}

static int begin_session(struct index *x, const char *boot, uint64_t number)
{
    int r = index_begin(x);

    if (r < 0)
        return r;
    r = sql_run(x->sql, "DELETE FROM session");
    if (r == 0)
        r = sql_run(x->sql, "INSERT INTO session(number, boot) VALUES(?, ?)", SQL_INT(number), SQL_TEXT(boot));
    if (r == 0 && number)
        r = doubt(x);
    return index_end(x, r);
}

/* What maps say of a session must not outlive the session's row. */
static int sync_now(struct index *x)
{
    int fd = index_sync_fd(x);

    return fd < 0 ? fd : fdatasync(fd) < 0 ? -errno : 0;
}

int index_session(struct index *x, const char *boot, uint64_t *ret, bool *ret_new)
{
    int r = last_session(x, boot, ret);

    *ret_new = r == 0;
    if (r == 1)
        return 0;
    if (r < 0 && r != -ENOENT)
        return r;
    *ret = r == 0 ? *ret + 1 : 0;
    r = begin_session(x, boot, *ret);
    return r < 0 ? r : sync_now(x);
}

/* --- content ---------------------------------------------------------------------------------------- */

int index_unsynced_put(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "INSERT INTO unsynced(ino) VALUES(?) ON CONFLICT(ino) DO UPDATE SET doubtful = 0,"
                   " generation = -1 WHERE fault = 0", SQL_INT(ino));
}

int index_unsynced_anew(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "UPDATE unsynced SET doubtful = 0, fault = 0 WHERE ino = ?", SQL_INT(ino));
}

int index_unsynced_end(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "DELETE FROM unsynced WHERE ino = ? AND fault = 0", SQL_INT(ino));
}

int index_unsynced_remove(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "DELETE FROM unsynced WHERE ino = ?", SQL_INT(ino));
}

int index_unsynced_rest(struct index *x, uint64_t ino, uint64_t generation)
{
    return sql_run(x->sql, "UPDATE unsynced SET generation = ?2 WHERE ino = ?1", SQL_INT(ino), SQL_INT(generation));
}

int index_unsynced(struct index *x, uint64_t after, uint64_t *ret, size_t n)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT u.ino FROM unsynced u LEFT JOIN inode i ON i.ino = u.ino WHERE u.doubtful = 0"
                  " AND u.generation IS NOT i.generation AND u.ino > ? ORDER BY u.ino", SQL_INT(after));
    size_t got = 0;
    int r = 0;

    while (got < n && (r = sql_next(&q)) > 0)
        ret[got++] = (uint64_t)sql_int(&q, 0);
    return r < 0 ? r : (int)got;
}

bool index_doubtful(struct index *x, uint64_t ino)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM unsynced WHERE ino = ? AND doubtful <> 0", SQL_INT(ino)) !=
        -ENOENT;
}

int index_fault_put(struct index *x, uint64_t ino, int code)
{
    return sql_run(x->sql, "INSERT OR REPLACE INTO unsynced(ino, doubtful, fault) VALUES(?, 1, ?)", SQL_INT(ino),
                   SQL_INT(code));
}

int index_fault(struct index *x, uint64_t ino)
{
    int64_t code;

    return sql_get_int(x->sql, &code, "SELECT fault FROM unsynced WHERE ino = ?", SQL_INT(ino)) == 0 ? (int)code : 0;
}

int index_undoubt(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "UPDATE unsynced SET doubtful = 0 WHERE ino = ?", SQL_INT(ino));
}
