/* The table of drives. What a drive is at work is drive.c's affair. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_internal.h"

/* An empty letter is none: several drives may be without. */
static struct sql_value letter(const Lf__CloudDrive *model)
{
    return model->drive_name && *model->drive_name ? SQL_TEXT(model->drive_name) : SQL_NULL;
}

int store_drive_insert(struct store *s, const Lf__CloudDrive *model)
{
    size_t size;
    CLEANUP_FREE void *packed = store_pack(&model->base, &size);
    int r = sql_run(s->sql, "INSERT INTO drives(id, account_id, name, letter, model, sealed_objects) "
                    "VALUES(?, ?, ?, ?, ?, ?)",
                    SQL_TEXT(model->id), SQL_TEXT(model->account->id), SQL_TEXT(model->name), letter(model),
                    SQL_BLOB(packed, size), SQL_INT(model->cloud_objects_encrypted));

    return r == -EBUSY ? -ENOENT : r;   /* the foreign key */
}

static int set_state(struct store *s, const char *id, enum store_drive_state state)
{
    return store_changed(s, sql_run(s->sql, "UPDATE drives SET settled = ? WHERE id = ?", SQL_INT(state),
                                    SQL_TEXT(id)));
}

/* What it has inherited is its own from then on. */
static int settle(struct store *s, const char *id)
{
    bool claimed = false;
    int r = sql_begin(s->sql);

    if (r == 0)
        r = set_state(s, id, STORE_DRIVE_SETTLED);
    if (r == 0)
        r = store_kept_end_claimed(s, id);
    if (r == 0)
        claimed = sql_changes(s->sql) > 0;
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    if (r == 0 && claimed)
        (void)sql_wipe_log(s->sql);   /* of which they go some day anyway */
    return r;
}

int store_drive_set_state(struct store *s, const char *id, enum store_drive_state state)
{
    return state == STORE_DRIVE_SETTLED ? settle(s, id) : set_state(s, id, state);
}

int store_drive_update(struct store *s, const Lf__CloudDrive *model)
{
    size_t size;
    CLEANUP_FREE void *packed = store_pack(&model->base, &size);

    return store_changed(s, sql_run(s->sql, "UPDATE drives SET name = ?, letter = ?, model = ?, sealed_objects = "
                                    "max(sealed_objects, ?) WHERE id = ?", SQL_TEXT(model->name), letter(model),
                                    SQL_BLOB(packed, size), SQL_INT(model->cloud_objects_encrypted),
                                    SQL_TEXT(model->id)));
}

int store_drive_cache_move(struct store *s, const char *id, enum store_cache_move how, const char *other)
{
    return store_changed(s, sql_run(s->sql, "UPDATE drives SET cache_move = ?, cache_other = ? WHERE id = ?",
                                    SQL_INT(how), other ? SQL_TEXT(other) : SQL_NULL, SQL_TEXT(id)));
}

int store_drive_cache_moved(struct store *s, const Lf__CloudDrive *model, const char *from)
{
    int r = sql_begin(s->sql);

    if (r == 0)
        r = store_drive_update(s, model);
    if (r == 0)
        r = store_drive_cache_move(s, model->id, STORE_CACHE_LEFT, from);
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    return r;
}

int store_drive_cache_move_get(struct store *s, const char *id, enum store_cache_move *ret, char **ret_other)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT cache_move, cache_other FROM drives WHERE "
                                                          "id = ?", SQL_TEXT(id));
    int r = sql_next(&q);
    const char *other;

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    other = sql_text(&q, 1);
    *ret = other ? (enum store_cache_move)sql_int(&q, 0) : STORE_CACHE_STAYS;
    *ret_other = other ? xstrdup(other) : NULL;
    return 0;
}

int store_drive_delete(struct store *s, const char *id)
{
    bool keys = store_keys_kept(s, id);
    int r = store_changed(s, sql_run(s->sql, "DELETE FROM drives WHERE id = ?", SQL_TEXT(id)));

    if (r == 0 && keys)
        (void)sql_wipe_log(s->sql);   /* of which they go some day anyway */
    return r;
}

static enum store_drive_state state_of(int64_t column)
{
    return column == STORE_DRIVE_HALF_MADE || column == STORE_DRIVE_LEAVING ? (enum store_drive_state)column
                                                                            : STORE_DRIVE_SETTLED;
}

int store_drive_each(struct store *s, bool (*each)(Lf__CloudDrive *model, enum store_drive_state state, void *arg),
                     void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT model, settled FROM drives ORDER BY id");
    int r;

    while ((r = sql_next(&q)) > 0) {
        Lf__CloudDrive *model = (Lf__CloudDrive *)store_unpack(&q, 0, &lf__cloud_drive__descriptor);

        if (model && !each(model, state_of(sql_int(&q, 1)), arg))
            return 0;
    }
    return r;
}
