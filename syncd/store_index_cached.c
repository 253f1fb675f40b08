/* The index: what the cache has on disk, in which order it would go, and what is pinned. Decides nothing: the
 * order is evict.c's, the sums are cache_space.c's. */
#include <errno.h>

#include "common/cleanup.h"
#include "syncd/store_index_internal.h"

/* --- pairs ---------------------------------------------------------------------------------------- */

int index_cached_get(struct index *x, uint64_t ino, struct index_cached *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT bytes, in_use, kept FROM cached WHERE ino = ?", SQL_INT(ino));
    int r = sql_next(&q);

    *ret = (struct index_cached){ .ino = ino };
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    ret->bytes = (uint64_t)sql_int(&q, 0);
    ret->in_use = sql_int(&q, 1);
    ret->kept = sql_int(&q, 2);
    return 0;
}

int index_cached_put(struct index *x, const struct index_cached *c)
{
    return sql_run(x->sql, "INSERT OR REPLACE INTO cached(ino, bytes, in_use, kept) VALUES(?, ?, ?, ?)",
                   SQL_INT(c->ino), SQL_INT(c->bytes), SQL_INT(c->in_use), SQL_INT(c->kept));
}

int index_cached_use(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "INSERT INTO cached(ino, bytes, in_use, kept) VALUES(?, 0, 1, 0)"
                   " ON CONFLICT(ino) DO UPDATE SET in_use = 1 WHERE in_use = 0", SQL_INT(ino));
}

int index_cached_remove(struct index *x, uint64_t ino)
{
    int r = index_fresh_remove(x, ino);

    return r < 0 ? r : sql_run(x->sql, "DELETE FROM cached WHERE ino = ?", SQL_INT(ino));
}

/* The two numbers of the one row. */
static int two(struct sql_query *q, uint64_t *ret_first, uint64_t *ret_second)
{
    int r = sql_next(q);

    *ret_first = r > 0 ? (uint64_t)sql_int(q, 0) : 0;
    *ret_second = r > 0 ? (uint64_t)sql_int(q, 1) : 0;
    sql_query_end(q);
    return r < 0 ? r : 0;
}

int index_cached_sum(struct index *x, uint64_t *ret_bytes, uint64_t *ret_n)
{
    struct sql_query q = sql_query(x->sql, "SELECT total(bytes), count(*) FROM cached");

    return two(&q, ret_bytes, ret_n);
}

/* The numbers in the first column. */
static int numbers(struct sql_query *q, uint64_t *ret, size_t n)
{
    size_t got = 0;
    int r = 0;

    while (got < n && (r = sql_next(q)) > 0)
        ret[got++] = (uint64_t)sql_int(q, 0);
    sql_query_end(q);
    return r < 0 ? r : (int)got;
}

int index_cached_all(struct index *x, uint64_t after, uint64_t *ret, size_t n)
{
    struct sql_query q = sql_query(x->sql, "SELECT ino FROM cached WHERE ino > ? ORDER BY ino", SQL_INT(after));

    return numbers(&q, ret, n);
}

int index_cached_in_use(struct index *x, uint64_t after, uint64_t *ret, size_t n)
{
    struct sql_query q =
        sql_query(x->sql, "SELECT ino FROM cached WHERE in_use <> 0 AND ino > ? ORDER BY ino", SQL_INT(after));

    return numbers(&q, ret, n);
}

/* --- extents -------------------------------------------------------------------------------------- */

#define EXTENT_COLUMNS "ino, extent, queue, turn, bytes, uses, seen"

static int one_extent(struct sql_query *q, struct index_extent *ret)
{
    int r = sql_next(q);

    if (r > 0)
        *ret = (struct index_extent){
            .ino = (uint64_t)sql_int(q, 0), .extent = (uint64_t)sql_int(q, 1), .queue = (unsigned)sql_int(q, 2),
            .turn = (uint64_t)sql_int(q, 3), .bytes = (uint64_t)sql_int(q, 4), .uses = (unsigned)sql_int(q, 5),
            .seen_s = sql_int(q, 6),
        };
    sql_query_end(q);
    return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

int index_extent_get(struct index *x, uint64_t ino, uint64_t extent, struct index_extent *ret)
{
    struct sql_query q = sql_query(x->sql, "SELECT " EXTENT_COLUMNS " FROM extent WHERE ino = ? AND extent = ?",
                                   SQL_INT(ino), SQL_INT(extent));

    return one_extent(&q, ret);
}

static uint64_t last_turn(struct index *x)
{
    int64_t last, most = 0;

    for (int queue = 0; queue < INDEX_QUEUES; queue++)
        if (sql_get_int(x->sql, &last, "SELECT turn FROM extent WHERE queue = ? ORDER BY turn DESC LIMIT 1",
                        SQL_INT(queue)) == 0 && last > most)
            most = last;
    return (uint64_t)most;
}

int index_extent_put(struct index *x, struct index_extent *e)
{
    if (e->turn == 0) {
        if (x->turn == 0)
            x->turn = last_turn(x);
        e->turn = ++x->turn;
    }
    return sql_run(x->sql, "INSERT OR REPLACE INTO extent(" EXTENT_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?)",
                   SQL_INT(e->ino), SQL_INT(e->extent), SQL_INT(e->queue), SQL_INT(e->turn), SQL_INT(e->bytes),
                   SQL_INT(e->uses), SQL_INT(e->seen_s));
}

int index_extent_remove(struct index *x, uint64_t ino, uint64_t extent)
{
    return sql_run(x->sql, "DELETE FROM extent WHERE ino = ? AND extent = ?", SQL_INT(ino), SQL_INT(extent));
}

int index_extent_of(struct index *x, uint64_t ino, struct index_extent *ret)
{
    struct sql_query q = sql_query(x->sql, "SELECT " EXTENT_COLUMNS " FROM extent WHERE ino = ? LIMIT 1", SQL_INT(ino));

    return one_extent(&q, ret);
}

int index_extent_first(struct index *x, unsigned queue, struct index_extent *ret)
{
    struct sql_query q = sql_query(x->sql, "SELECT " EXTENT_COLUMNS " FROM extent WHERE queue = ? ORDER BY turn"
                                   " LIMIT 1", SQL_INT(queue));

    return one_extent(&q, ret);
}

int index_extent_sum(struct index *x, unsigned queue, uint64_t *ret_bytes, uint64_t *ret_n)
{
    struct sql_query q = sql_query(x->sql, "SELECT total(bytes), count(*) FROM extent WHERE queue = ?", SQL_INT(queue));

    return two(&q, ret_bytes, ret_n);
}

/* --- pins ----------------------------------------------------------------------------------------- */

bool index_pinned(struct index *x, uint64_t ino)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM inode WHERE ino = ? AND pinned <> 0", SQL_INT(ino)) == 0;
}

bool index_pinned_any(struct index *x)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM inode WHERE pinned <> 0 LIMIT 1") != -ENOENT;
}

/* When nobody can tell it is pinned: the careful answer. */
bool index_pinned_above(struct index *x, uint64_t ino)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "WITH RECURSIVE above(ino, parent, pinned) AS ("
                       "SELECT ino, parent, pinned FROM inode WHERE ino = ? UNION ALL"
                       " SELECT i.ino, i.parent, i.pinned FROM above a JOIN inode i ON i.ino = a.parent)"
                       " SELECT 1 FROM above WHERE pinned <> 0 LIMIT 1", SQL_INT(ino)) != -ENOENT;
}

int index_pin(struct index *x, uint64_t ino, bool pinned)
{
    return index_changed(x, sql_run(x->sql, "UPDATE inode SET pinned = ?2 WHERE ino = ?1", SQL_INT(ino),
                                    SQL_INT(pinned)));
}

int index_pins(struct index *x, uint64_t after, uint64_t *ret, size_t n)
{
    struct sql_query q =
        sql_query(x->sql, "SELECT ino FROM inode WHERE pinned <> 0 AND ino > ? ORDER BY ino", SQL_INT(after));

    return numbers(&q, ret, n);
}

int index_pinned_lacking(struct index *x, uint64_t after, uint64_t *ret, size_t n)
{
    struct sql_query q =
        sql_query(x->sql, "WITH RECURSIVE below(ino) AS (SELECT ino FROM inode WHERE pinned <> 0 UNION"
                  " SELECT i.ino FROM below b JOIN inode i ON i.parent = b.ino)"
                  " SELECT i.ino FROM below b JOIN inode i ON i.ino = b.ino LEFT JOIN cached c ON c.ino = i.ino"
                  " WHERE i.ino > ? AND (i.mode & 61440) = 32768 AND i.size > 0 AND i.pending & 1 = 0"
                  " AND i.cloud_key IS NOT NULL AND (c.kept IS NULL OR c.kept = 0) ORDER BY i.ino", SQL_INT(after));

    return numbers(&q, ret, n);
}

uint64_t index_pinned_bytes(struct index *x)
{
    int64_t bytes = 0;

    (void)sql_get_int(x->sql, &bytes, "WITH RECURSIVE below(ino) AS (SELECT ino FROM inode WHERE pinned <> 0 UNION"
                      " SELECT i.ino FROM below b JOIN inode i ON i.parent = b.ino)"
                      " SELECT total(c.bytes) FROM below b JOIN cached c ON c.ino = b.ino WHERE c.kept <> 0");
    return (uint64_t)bytes;
}
