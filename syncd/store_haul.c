/* The tables of hauls. Knows of keys of accounts only as what cryptd sealed. */
#include "syncd/store_haul.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/store_internal.h"

/* --- rows --------------------------------------------------------------------------------------- */

void store_haul_free(struct store_haul *h)
{
    char *const strings[] = { h->id, h->origin, h->account_id, h->bucket, h->key, h->path, h->stamp, h->upload_id,
                              h->progress.after, h->progress.first_text };

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        free(strings[i]);
    free(h->account);
    free(h->sealed);
    *h = (struct store_haul){ 0 };
}

int store_haul_insert(struct store *s, const struct store_haul *h, int64_t *ret_number)
{
    int r = sql_run(s->sql, "INSERT INTO hauls(id, origin, kind, state, uid, begun, account_id, account, sealed,"
                    " bucket, key, path, overwrite, size, inode, mtime, part_size, stamp)"
                    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    SQL_TEXT(h->id), SQL_TEXT(h->origin), SQL_INT(h->kind), SQL_INT(h->state), SQL_INT(h->uid),
                    SQL_INT(h->begun_ns), SQL_TEXT(h->account_id),
                    h->account ? SQL_BLOB(h->account, h->n_account) : SQL_NULL,
                    h->sealed ? SQL_BLOB(h->sealed, h->n_sealed) : SQL_NULL, SQL_TEXT(h->bucket), SQL_TEXT(h->key),
                    SQL_TEXT(h->path), SQL_INT(h->overwrite), SQL_INT(h->size), SQL_INT(h->inode),
                    SQL_INT(h->mtime_ns), SQL_INT(h->part_size), SQL_TEXT(h->stamp));

    *ret_number = r == 0 ? sql_last_id(s->sql) : 0;
    return r;
}

int store_haul_set_state(struct store *s, int64_t number, enum store_haul_state state)
{
    return store_changed(s, sql_run(s->sql, "UPDATE hauls SET state = ? WHERE number = ?", SQL_INT(state),
                                    SQL_INT(number)));
}

int store_haul_set_parts(struct store *s, int64_t number, int64_t begun_ns, const char *upload_id)
{
    return store_changed(s, sql_run(s->sql, "UPDATE hauls SET parts_begun = ?, upload_id = ? WHERE number = ?",
                                    SQL_INT(begun_ns), SQL_TEXT(upload_id), SQL_INT(number)));
}

int store_haul_delete(struct store *s, int64_t number)
{
    return store_changed(s, sql_run(s->sql, "DELETE FROM hauls WHERE number = ?", SQL_INT(number)));
}

static void *copy_blob(struct sql_query *q, int column, size_t *ret_n)
{
    const void *blob = sql_blob(q, column, ret_n);

    return blob ? memcpy(xcalloc(1, *ret_n + 1), blob, *ret_n) : NULL;
}

static void take_row(struct sql_query *q, struct store_haul *h)
{
    *h = (struct store_haul){
        .number = sql_int(q, 0), .id = sql_text_copy(q, 1), .origin = sql_text_copy(q, 2),
        .kind = (enum store_haul_kind)sql_int(q, 3), .state = (enum store_haul_state)sql_int(q, 4),
        .uid = (uint32_t)sql_int(q, 5), .begun_ns = sql_int(q, 6), .account_id = sql_text_copy(q, 7),
        .bucket = sql_text_copy(q, 10), .key = sql_text_copy(q, 11), .path = sql_text_copy(q, 12),
        .overwrite = sql_int(q, 13), .size = (uint64_t)sql_int(q, 14), .inode = (uint64_t)sql_int(q, 15),
        .mtime_ns = sql_int(q, 16), .part_size = (uint64_t)sql_int(q, 17), .stamp = sql_text_copy(q, 18),
        .parts_begun_ns = sql_int(q, 19), .upload_id = sql_text_copy(q, 20),
        .progress = { .after = sql_text_copy(q, 21), .n_found = (uint64_t)sql_int(q, 22),
                      .n_failed = (uint64_t)sql_int(q, 23), .bytes = (uint64_t)sql_int(q, 24),
                      .first_code = (int)sql_int(q, 25), .first_text = sql_text_copy(q, 26) },
    };
    h->account = copy_blob(q, 8, &h->n_account);
    h->sealed = copy_blob(q, 9, &h->n_sealed);
}

int store_haul_each(struct store *s, int64_t after, bool (*each)(struct store_haul *h, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(
        s->sql, "SELECT number, id, origin, kind, state, uid, begun, account_id, account, sealed, bucket, key, path,"
        " overwrite, size, inode, mtime, part_size, stamp, parts_begun, upload_id, after, n_found, n_failed, bytes,"
        " first_code, first_text FROM hauls WHERE number > ? ORDER BY number", SQL_INT(after));
    struct store_haul h;
    int r;

    while ((r = sql_next(&q)) > 0) {
        take_row(&q, &h);
        if (!each(&h, arg))
            return 0;
    }
    return r;
}

int store_haul_by_origin(struct store *s, const char *origin, char *ret_id)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT id FROM hauls WHERE origin = ?",
                                                          SQL_TEXT(origin));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    (void)snprintf(ret_id, ID_SIZE, "%s", sql_text(&q, 0));
    return 0;
}

/* --- files ---------------------------------------------------------------------------------------- */

void store_haul_files_free(struct store_haul_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(files[i].key);
        free(files[i].etag);
        free(files[i].name);
    }
    free(files);
}

int store_haul_file_put(struct store *s, int64_t number, const struct store_haul_file *f)
{
    return sql_run(s->sql, "INSERT OR REPLACE INTO haul_files(haul, key, etag, name, size, done)"
                   " VALUES(?, ?, ?, ?, ?, ?)", SQL_INT(number), SQL_TEXT(f->key), SQL_TEXT(f->etag),
                   SQL_TEXT(f->name), SQL_INT(f->size), SQL_INT(f->done));
}

int store_haul_files(struct store *s, int64_t number, struct store_haul_file **ret, size_t *ret_n)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT key, etag, name, size, done FROM haul_files"
                                                          " WHERE haul = ? ORDER BY key", SQL_INT(number));
    int r;

    *ret = NULL;
    *ret_n = 0;
    while ((r = sql_next(&q)) > 0)
        *xadd(*ret, *ret_n) = (struct store_haul_file){
            .key = sql_text_copy(&q, 0), .etag = sql_text_copy(&q, 1), .name = sql_text_copy(&q, 2),
            .size = (uint64_t)sql_int(&q, 3), .done = (uint64_t)sql_int(&q, 4) };
    return r;
}

int store_haul_set_progress(struct store *s, int64_t number, const struct store_haul_progress *p,
                            const struct store_haul_file *ended, size_t n)
{
    int r = sql_begin(s->sql);

    if (r == 0)
        r = store_changed(s, sql_run(s->sql, "UPDATE hauls SET after = ?, n_found = ?, n_failed = ?, bytes = ?,"
                                     " first_code = ?, first_text = ? WHERE number = ?", SQL_TEXT(p->after),
                                     SQL_INT(p->n_found), SQL_INT(p->n_failed), SQL_INT(p->bytes),
                                     SQL_INT(p->first_code), SQL_TEXT(p->first_text), SQL_INT(number)));
    for (size_t i = 0; i < n && r == 0; i++)
        r = store_haul_file_put(s, number, &ended[i]);
    if (r == 0)
        r = sql_run(s->sql, "DELETE FROM haul_files WHERE haul = ? AND key <= ?", SQL_INT(number), SQL_TEXT(p->after));
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    return r;
}
