/* The index: what objects of encrypted drives are made of, and what is being sealed. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_index_internal.h"

/* --- what an object is ------------------------------------------------------------------------------ */

static void *copy_blob(struct sql_query *q, int column, size_t *ret_n)
{
    const void *data = sql_blob(q, column, ret_n);
    void *copy = data ? xcalloc(1, *ret_n + 1) : NULL;

    if (copy)
        memcpy(copy, data, *ret_n);
    return copy;
}

/* Bytes of a fixed number; whether there are so many. */
static bool read_bytes(struct sql_query *q, int column, void *out, size_t n)
{
    size_t size;
    const void *data = sql_blob(q, column, &size);

    if (!data || size != n)
        return false;
    memcpy(out, data, n);
    return true;
}

int index_object_get(struct index *x, uint64_t ino, const char *etag, struct index_object *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT kind, size, version, head, binding, fault, found FROM object WHERE ino = ?"
                  " AND etag = ?", SQL_INT(ino), SQL_TEXT(etag ? etag : ""));
    int r = sql_next(&q);

    *ret = (struct index_object){ 0 };
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = (struct index_object){
        .kind = (enum index_object_kind)sql_int(&q, 0),
        .size = (uint64_t)sql_int(&q, 1),
        .version = (uint64_t)sql_int(&q, 2),
        .fault = (int)sql_int(&q, 5),
        .found_ns = sql_int(&q, 6),
    };
    ret->head = copy_blob(&q, 3, &ret->head_size);
    ret->has_binding = read_bytes(&q, 4, ret->binding, sizeof(ret->binding));
    return 0;
}

int index_object_put(struct index *x, uint64_t ino, const char *etag, const struct index_object *o)
{
    return sql_run(x->sql, "INSERT OR REPLACE INTO object(ino, etag, kind, size, version, head, binding, fault, found)"
                   " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", SQL_INT(ino), SQL_TEXT(etag ? etag : ""), SQL_INT(o->kind),
                   SQL_INT(o->size), SQL_INT(o->version),
                   o->head ? SQL_BLOB(o->head, o->head_size) : SQL_NULL,
                   o->has_binding ? SQL_BLOB(o->binding, sizeof(o->binding)) : SQL_NULL, SQL_INT(o->fault),
                   SQL_INT(o->found_ns));
}

int index_object_remove(struct index *x, uint64_t ino)
{
    return sql_run(x->sql, "DELETE FROM object WHERE ino = ?", SQL_INT(ino));
}

int index_object_forgive(struct index *x, int fault)
{
    return sql_run(x->sql, "UPDATE object SET fault = 0, found = 0 WHERE fault = ?", SQL_INT(fault));
}

void index_object_done(struct index_object *o)
{
    free(take_ptr(o->head));
}

/* --- what is being sealed --------------------------------------------------------------------------- */

int index_sealing_get(struct index *x, uint64_t ino, struct index_sealing *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT generation, session, size, version, head, key FROM sealing WHERE ino = ?",
                  SQL_INT(ino));
    int r = sql_next(&q);

    *ret = (struct index_sealing){ 0 };
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = (struct index_sealing){
        .generation = (uint64_t)sql_int(&q, 0),
        .session = (uint64_t)sql_int(&q, 1),
        .size = (uint64_t)sql_int(&q, 2),
        .version = (uint64_t)sql_int(&q, 3),
    };
    if (!read_bytes(&q, 5, ret->key, sizeof(ret->key)))
        return -EUCLEAN;
    ret->head = copy_blob(&q, 4, &ret->head_size);
    return 0;
}

int index_sealing_put(struct index *x, uint64_t ino, const struct index_sealing *s)
{
    int r = index_sealing_remove(x, ino);

    return r < 0 ? r : sql_run(x->sql, "INSERT INTO sealing(ino, generation, session, size, version, head, key)"
                               " VALUES(?, ?, ?, ?, ?, ?, ?)", SQL_INT(ino), SQL_INT(s->generation),
                               SQL_INT(s->session), SQL_INT(s->size), SQL_INT(s->version),
                               SQL_BLOB(s->head, s->head_size), SQL_BLOB(s->key, sizeof(s->key)));
}

int index_sealing_remove(struct index *x, uint64_t ino)
{
    int r = sql_run(x->sql, "DELETE FROM sealed WHERE ino = ?", SQL_INT(ino));

    return r < 0 ? r : sql_run(x->sql, "DELETE FROM sealing WHERE ino = ?", SQL_INT(ino));
}

void index_sealing_done(struct index_sealing *s)
{
    free(take_ptr(s->head));
}

int index_sealed_get(struct index *x, uint64_t ino, uint32_t part, char ret[INDEX_DIGEST])
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT digest FROM sealed WHERE ino = ? AND part = ?", SQL_INT(ino), SQL_INT(part));
    int r = sql_next(&q);
    const char *digest = r > 0 ? sql_text(&q, 0) : NULL;

    if (!digest || strlen(digest) != INDEX_DIGEST - 1)
        return r < 0 ? r : -ENOENT;
    memcpy(ret, digest, INDEX_DIGEST);
    return 0;
}

int index_sealed_put(struct index *x, uint64_t ino, uint32_t part, const char *digest)
{
    return sql_run(x->sql, "INSERT INTO sealed(ino, part, digest) VALUES(?, ?, ?)", SQL_INT(ino), SQL_INT(part),
                   SQL_TEXT(digest));
}
