/* The index: what a sealed cache file must have at least. Knows nothing of the file: cache_fresh.c does. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/store_index_internal.h"

/* The key, and the one that was announced, have the rows in front of those of extents. */
enum { NEXT_ROW = -2, KEY_ROW = -1 };

int index_fresh_remove(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "DELETE FROM fresh WHERE ino = ?", SQL_INT(ino));
}

static int put(struct index *x, uint64_t ino, int64_t extent, const void *data, size_t n)
{
    return sql_run(x->sql, "INSERT OR REPLACE INTO fresh(ino, extent, floors) VALUES(?, ?, ?)", SQL_INT(ino),
                   SQL_INT(extent), SQL_BLOB(data, n));
}

/* 0, -ENOENT, or -EBADMSG for what has another length. */
static int get(struct index *x, uint64_t ino, int64_t extent, void *out, size_t n)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT floors FROM fresh WHERE ino = ? AND extent = ?", SQL_INT(ino), SQL_INT(extent));
    int r = sql_next(&q);
    const void *data;
    size_t size;

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    data = sql_blob(&q, 0, &size);
    if (size != n)
        return -EBADMSG;
    memcpy(out, data, n);
    return 0;
}

int index_fresh_begin(struct index *x, uint64_t ino, const uint8_t tag[INDEX_FRESH_TAG])
{
    int r = index_fresh_remove(x, ino);

    return r < 0 ? r : put(x, ino, KEY_ROW, tag, INDEX_FRESH_TAG);
}

/* In this order it may also be cut short in between. */
int index_fresh_retag(struct index *x, uint64_t ino, const uint8_t tag[INDEX_FRESH_TAG])
{
    int r = put(x, ino, KEY_ROW, tag, INDEX_FRESH_TAG);

    if (r == 0)
        r = sql_run(x->sql, "DELETE FROM fresh WHERE ino = ? AND extent = ?", SQL_INT(ino), SQL_INT(NEXT_ROW));
    return r;
}

int index_fresh_announce(struct index *x, uint64_t ino, const uint8_t tag[INDEX_FRESH_TAG])
{
    return put(x, ino, NEXT_ROW, tag, INDEX_FRESH_TAG);
}

int index_fresh_next_tag(struct index *x, uint64_t ino, uint8_t tag[INDEX_FRESH_TAG])
{
    return get(x, ino, NEXT_ROW, tag, INDEX_FRESH_TAG);
}

int index_fresh_tag(struct index *x, uint64_t ino, uint8_t tag[INDEX_FRESH_TAG])
{
    return get(x, ino, KEY_ROW, tag, INDEX_FRESH_TAG);
}

static void from_disk(uint64_t floors[INDEX_FRESH])
{
    for (size_t i = 0; i < INDEX_FRESH; i++)
        floors[i] = le64toh(floors[i]);
}

int index_fresh_get(struct index *x, uint64_t ino, uint64_t extent, uint64_t floors[INDEX_FRESH])
{
    int r = get(x, ino, (int64_t)extent, floors, INDEX_FRESH * sizeof(*floors));

    if (r == 0)
        from_disk(floors);
    return r;
}

int index_fresh_put(struct index *x, uint64_t ino, uint64_t extent, const uint64_t floors[INDEX_FRESH])
{
    uint64_t disk[INDEX_FRESH];

    for (size_t i = 0; i < INDEX_FRESH; i++)
        disk[i] = htole64(floors[i]);
    return put(x, ino, (int64_t)extent, disk, sizeof(disk));
}

int index_fresh_next(struct index *x, uint64_t ino, uint64_t from, uint64_t *ret_extent, uint64_t floors[INDEX_FRESH])
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT extent, floors FROM fresh WHERE ino = ? AND extent >= ? ORDER BY extent LIMIT 1",
                  SQL_INT(ino), SQL_INT(from));
    int r = sql_next(&q);
    const void *data;
    size_t size;

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    data = sql_blob(&q, 1, &size);
    if (size != INDEX_FRESH * sizeof(*floors))
        return -EBADMSG;
    *ret_extent = (uint64_t)sql_int(&q, 0);
    memcpy(floors, data, size);
    from_disk(floors);
    return 0;
}
