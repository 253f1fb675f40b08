/* The table of keys that outlived their drives. What is removed is overwritten. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/store_internal.h"

/* --- keeping ------------------------------------------------------------------------------------- */

static int keep_newest(struct store *s, const char *id, const struct store_kept *place)
{
    return sql_run(s->sql, "INSERT INTO kept_keys(drive_id, replaced, name, service, bucket, prefix, recipient,"
                   " deleted, serial, blob) SELECT k.drive_id, 0, ?2, ?3, ?4, ?5, ?6, ?7, k.serial, k.blob FROM keys k"
                   " JOIN drives d ON d.id = k.drive_id WHERE k.drive_id = ?1 AND k.blob IS NOT NULL"
                   " AND d.sealed_objects",
                   SQL_TEXT(id), SQL_TEXT(place->name), SQL_TEXT(place->service), SQL_TEXT(place->bucket),
                   SQL_TEXT(place->prefix), SQL_TEXT(place->recipient), SQL_INT(loop_wall_ns()));
}

static int keep_former(struct store *s, const char *id)
{
    return sql_run(s->sql, "INSERT INTO kept_keys(drive_id, replaced, name, service, bucket, prefix, recipient,"
                   " deleted, serial, blob) SELECT n.drive_id, f.replaced, n.name, n.service, n.bucket, n.prefix, NULL,"
                   " n.deleted, 0, f.blob FROM former_keys f JOIN kept_keys n ON n.drive_id = f.drive_id AND"
                   " n.replaced = 0 WHERE f.drive_id = ?", SQL_TEXT(id));
}

int store_drive_leave(struct store *s, const char *id, const struct store_kept *place, bool *ret_kept)
{
    int r = sql_begin(s->sql);

    if (r == 0)
        r = store_changed(s, sql_run(s->sql, "UPDATE drives SET settled = ? WHERE id = ?", SQL_INT(STORE_DRIVE_LEAVING),
                                     SQL_TEXT(id)));
    if (r == 0)
        r = keep_newest(s, id, place);
    *ret_kept = r == 0 && sql_changes(s->sql) > 0;
    if (*ret_kept)
        r = keep_former(s, id);
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    return r;
}

/* --- reading --------------------------------------------------------------------------------------- */

#define COLUMNS "drive_id, name, service, bucket, prefix, recipient, deleted, replaced, serial, blob"

static void take_row(struct sql_query *q, struct store_kept *ret)
{
    size_t n;
    const void *blob = sql_blob(q, 9, &n);

    *ret = (struct store_kept){
        .id = sql_text_copy(q, 0), .name = sql_text_copy(q, 1), .service = sql_text_copy(q, 2),
        .bucket = sql_text_copy(q, 3), .prefix = sql_text_copy(q, 4), .recipient = sql_text_copy(q, 5),
        .deleted_ns = sql_int(q, 6), .replaced_ns = sql_int(q, 7),
    };
    ret->keys = (struct store_keys){ .blob = memcpy(xcalloc(1, n + 1), blob, n), .n = n,
                                     .serial = (uint32_t)sql_int(q, 8) };
}

void store_kept_free(struct store_kept *k)
{
    free(k->id);
    free(k->name);
    free(k->service);
    free(k->bucket);
    free(k->prefix);
    free(k->recipient);
    free(k->keys.blob);
    *k = (struct store_kept){ 0 };
}

int store_kept_get(struct store *s, const char *drive_id, struct store_kept *ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT " COLUMNS " FROM kept_keys WHERE drive_id = ?"
                                                          " COLLATE NOCASE AND replaced = 0", SQL_TEXT(drive_id));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    take_row(&q, ret);
    return 0;
}

int store_kept_each(struct store *s, const char *after, bool (*each)(const struct store_kept *k, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT " COLUMNS " FROM kept_keys WHERE replaced = 0"
                                                          " AND drive_id > ? ORDER BY drive_id", SQL_TEXT(after));
    int r;

    while ((r = sql_next(&q)) > 0) {
        CLEANUP(store_kept_free) struct store_kept k;

        take_row(&q, &k);
        if (!each(&k, arg))
            return 0;
    }
    return r;
}

int store_kept_at(struct store *s, const char *service, const char *bucket, const char *prefix, struct store_kept *ret,
                  size_t most, size_t *ret_n)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT " COLUMNS " FROM kept_keys WHERE service = ?1"
                                                          " AND bucket = ?2 AND prefix = ?3 ORDER BY deleted DESC,"
                                                          " replaced = 0 DESC, replaced DESC LIMIT ?4",
                                                          SQL_TEXT(service), SQL_TEXT(bucket), SQL_TEXT(prefix),
                                                          SQL_INT(most));
    int r;

    *ret_n = 0;
    while ((r = sql_next(&q)) > 0)
        take_row(&q, &ret[(*ret_n)++]);
    return r;
}

/* --- their end ------------------------------------------------------------------------------------- */

int store_kept_claim(struct store *s, const struct store_kept *k, const char *heir)
{
    return store_changed(s, sql_run(s->sql, "UPDATE kept_keys SET heir = ?3 WHERE drive_id = ?1 AND replaced = ?2",
                                    SQL_TEXT(k->id), SQL_INT(k->replaced_ns), SQL_TEXT(heir)));
}

int store_kept_destroy(struct store *s, const char *drive_id)
{
    int r = store_changed(s, sql_run(s->sql, "DELETE FROM kept_keys WHERE drive_id = ? COLLATE NOCASE",
                                     SQL_TEXT(drive_id)));

    return r < 0 ? r : sql_wipe_log(s->sql);
}

int store_kept_end_claimed(struct store *s, const char *heir)
{
    return sql_run(s->sql, "DELETE FROM kept_keys WHERE heir = ?", SQL_TEXT(heir));
}
