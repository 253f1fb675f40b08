/* The table of drives' keys, which are sealed. What is replaced or removed is overwritten. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/store_internal.h"

static void *blob_copy(struct sql_query *q, int column, size_t *ret_n)
{
    const void *data = sql_blob(q, column, ret_n);
    void *copy = data ? xcalloc(1, *ret_n + 1) : NULL;

    return copy ? memcpy(copy, data, *ret_n) : NULL;
}

int store_keys_get(struct store *s, const char *drive_id, struct store_keys *ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT serial, blob, destroyed FROM keys WHERE "
                                                          "drive_id = ?", SQL_TEXT(drive_id));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = (struct store_keys){ .serial = (uint32_t)sql_int(&q, 0), .destroyed_ns = sql_int(&q, 2) };
    ret->blob = blob_copy(&q, 1, &ret->n);
    return 0;
}

static int put(struct store *s, const char *drive_id, const void *blob, size_t n, uint32_t serial)
{
    int r = sql_run(s->sql, "INSERT INTO keys(drive_id, serial, blob) VALUES(?, ?, ?) ON CONFLICT(drive_id) DO UPDATE "
                    "SET serial = excluded.serial, blob = excluded.blob, destroyed = 0", SQL_TEXT(drive_id),
                    SQL_INT(serial), SQL_BLOB(blob, n));

    return r == -EBUSY ? -ENOENT : r;   /* the foreign key */
}

int store_keys_put(struct store *s, const char *drive_id, const void *blob, size_t n, uint32_t serial)
{
    int r = put(s, drive_id, blob, n, serial);

    if (r == 0)
        (void)sql_wipe_log(s->sql);   /* the log goes its way some day anyway */
    return r;
}

int store_keys_replace(struct store *s, const char *drive_id, const void *blob, size_t n, uint32_t serial)
{
    int r = sql_begin(s->sql);

    if (r == 0)
        r = sql_run(s->sql, "INSERT INTO former_keys(drive_id, replaced, blob) SELECT drive_id, ?, blob FROM keys "
                    "WHERE drive_id = ? AND blob IS NOT NULL", SQL_INT(loop_wall_ns()), SQL_TEXT(drive_id));
    if (r == 0)
        r = put(s, drive_id, blob, n, serial);
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    return r;
}

int store_keys_remove(struct store *s, const char *drive_id)
{
    return sql_run(s->sql, "DELETE FROM keys WHERE drive_id = ?", SQL_TEXT(drive_id));
}

int store_keys_destroy(struct store *s, const char *drive_id)
{
    int r = sql_begin(s->sql);

    if (r == 0)
        r = sql_run(s->sql, "INSERT INTO keys(drive_id, serial, destroyed) VALUES(?, 0, ?) ON CONFLICT(drive_id) DO "
                    "UPDATE SET blob = NULL, destroyed = excluded.destroyed", SQL_TEXT(drive_id),
                    SQL_INT(loop_wall_ns()));
    if (r == 0)
        r = sql_run(s->sql, "DELETE FROM former_keys WHERE drive_id = ?", SQL_TEXT(drive_id));
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    return r < 0 ? r : sql_wipe_log(s->sql);
}

bool store_keys_kept(struct store *s, const char *drive_id)
{
    int64_t n = 0;

    return sql_get_int(s->sql, &n, "SELECT (SELECT count(*) FROM keys WHERE drive_id = ?1 AND blob IS NOT NULL) + "
                       "(SELECT count(*) FROM former_keys WHERE drive_id = ?1)", SQL_TEXT(drive_id)) < 0 || n > 0;
}
