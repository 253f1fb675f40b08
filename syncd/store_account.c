/* The table of accounts. Knows of keys only as what cryptd sealed. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_internal.h"

int store_account_claim_names(struct store *s)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT id, model FROM accounts WHERE name IS NULL"
                                                          " ORDER BY id");
    int r;

    while ((r = sql_next(&q)) > 0) {
        Lf__CloudAccount *model = (Lf__CloudAccount *)store_unpack(&q, 1, &lf__cloud_account__descriptor);

        if (model)
            r = sql_run(s->sql, "UPDATE OR IGNORE accounts SET name = ? WHERE id = ?", SQL_TEXT(model->name),
                        SQL_TEXT(sql_text(&q, 0)));
        if (model)
            lf__cloud_account__free_unpacked(model, NULL);
        if (r < 0)
            return r;
    }
    return r;
}

int store_account_insert(struct store *s, const Lf__CloudAccount *model, const void *sealed, size_t n)
{
    size_t size;
    CLEANUP_FREE void *packed = store_pack(&model->base, &size);

    return sql_run(s->sql, "INSERT INTO accounts(id, name, model, sealed) VALUES(?, ?, ?, ?)", SQL_TEXT(model->id),
                   SQL_TEXT(model->name), SQL_BLOB(packed, size), n ? SQL_BLOB(sealed, n) : SQL_NULL);
}

int store_account_get(struct store *s, const char *id, Lf__CloudAccount **ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT model FROM accounts WHERE id = ?",
                                                          SQL_TEXT(id));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = (Lf__CloudAccount *)store_unpack(&q, 0, &lf__cloud_account__descriptor);
    return *ret ? 0 : -EUCLEAN;
}

int store_account_sealed(struct store *s, const char *id, void **ret, size_t *ret_size)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT sealed FROM accounts WHERE id = ?",
                                                          SQL_TEXT(id));
    int r = sql_next(&q);
    const void *sealed;

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    sealed = sql_blob(&q, 0, ret_size);
    *ret = sealed ? memcpy(xcalloc(1, *ret_size + 1), sealed, *ret_size) : NULL;
    return 0;
}

int store_account_with_keys(struct store *s, char **ret_id)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT id FROM accounts WHERE sealed IS NOT NULL"
                                                          " ORDER BY id LIMIT 1");
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret_id = sql_text_copy(&q, 0);
    return 0;
}

int store_account_each(struct store *s, const char *after, bool (*each)(Lf__CloudAccount *model, void *arg), void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT model FROM accounts WHERE id > ? ORDER BY id",
                                                          SQL_TEXT(after));
    int r;

    while ((r = sql_next(&q)) > 0) {
        Lf__CloudAccount *model = (Lf__CloudAccount *)store_unpack(&q, 0, &lf__cloud_account__descriptor);

        if (model && !each(model, arg))
            return 0;
    }
    return r;
}

int store_account_delete(struct store *s, const char *id)
{
    int r = store_changed(s, sql_run(s->sql, "DELETE FROM accounts WHERE id = ?", SQL_TEXT(id)));

    if (r == 0)
        (void)store_account_claim_names(s);   /* what fails now is done at the next start */
    return r;
}
