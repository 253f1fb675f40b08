/* Statements of a SQLite connection: prepared once, bound by type, their errors as errno. Knows no
 * table: schemas are the callers'. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_sql_internal.h"

/* --- errors ----------------------------------------------------------------------------------- */

static const struct {
    int code, error;
} CODES[] = {
    { SQLITE_OK, 0 },
    { SQLITE_ROW, 0 },
    { SQLITE_DONE, 0 },
    { SQLITE_CORRUPT, -EUCLEAN },
    { SQLITE_NOTADB, -EUCLEAN },
    { SQLITE_FULL, -ENOSPC },
    { SQLITE_BUSY, -EBUSY },
    { SQLITE_LOCKED, -EBUSY },
    { SQLITE_CONSTRAINT_UNIQUE, -EEXIST },
    { SQLITE_CONSTRAINT_PRIMARYKEY, -EEXIST },
    { SQLITE_CONSTRAINT_ROWID, -EEXIST },
    { SQLITE_CONSTRAINT_FOREIGNKEY, -EBUSY },
    { SQLITE_CONSTRAINT, -EINVAL },
    { SQLITE_ERROR, -EINVAL },
    { SQLITE_MISMATCH, -EINVAL },
    { SQLITE_RANGE, -EINVAL },
    { SQLITE_TOOBIG, -EMSGSIZE },
    { SQLITE_NOMEM, -ENOMEM },
    { SQLITE_READONLY, -EROFS },
    { SQLITE_PERM, -EACCES },
    { SQLITE_CANTOPEN, -EACCES },
    { SQLITE_AUTH, -EACCES },
};

/* The row for an extended code, else the one for its primary code. */
int sql_errno(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(CODES); i++)
        if (CODES[i].code == code)
            return CODES[i].error;
    return code > 0xff ? sql_errno(code & 0xff) : -EIO;
}

/* --- statements ------------------------------------------------------------------------------- */

static unsigned hash(const char *text)
{
    return (unsigned)(((uintptr_t)text * UINT64_C(0x9e3779b97f4a7c15)) >> 56) % STATEMENTS;
}

/* The slot of the text or a free one; NULL when the cache is full or the statement is running. */
static struct statement *slot(struct sql *s, const char *text)
{
    unsigned at = hash(text);

    for (unsigned i = 0; i < STATEMENTS; i++) {
        struct statement *st = &s->statements[(at + i) % STATEMENTS];

        if (!st->text || st->text == text)
            return st->busy ? NULL : st;
    }
    return NULL;
}

/* Fills q->stmt with a statement ready for binding. */
static int prepare(struct sql_query *q, struct sql *s, const char *text)
{
    struct statement *st = slot(s, text);
    sqlite3_stmt *stmt = st ? st->stmt : NULL;

    *q = (struct sql_query){ .sql = s, .slot = -1 };
    if (!stmt) {
        int r = sql_failed(s, sqlite3_prepare_v3(s->db, text, -1, st ? SQLITE_PREPARE_PERSISTENT : 0, &stmt, NULL));

        if (r < 0)
            return r;
        assert(stmt);
    }
    if (st) {
        *st = (struct statement){ text, stmt, true };
        q->slot = (int)(st - s->statements);
    }
    q->stmt = stmt;
    return 0;
}

void sql_query_end(struct sql_query *q)
{
    if (!q->stmt)
        return;
    if (q->slot < 0) {
        sqlite3_finalize(q->stmt);
    } else {
        sqlite3_reset(q->stmt);
        sqlite3_clear_bindings(q->stmt);
        q->sql->statements[q->slot].busy = false;
    }
    q->stmt = NULL;
}

static int bind_value(sqlite3_stmt *stmt, int at, const struct sql_value *v, sqlite3_destructor_type keep)
{
    switch (v->type) {
    case SQL_TYPE_INT:
        return sqlite3_bind_int64(stmt, at, v->integer);
    case SQL_TYPE_TEXT:
        return sqlite3_bind_text(stmt, at, v->data, -1, keep);
    case SQL_TYPE_BLOB:
        return v->size ? sqlite3_bind_blob64(stmt, at, v->data, v->size, keep) : sqlite3_bind_zeroblob(stmt, at, 0);
    case SQL_TYPE_NULL:
        break;
    }
    return sqlite3_bind_null(stmt, at);
}

static int bind_all(sqlite3_stmt *stmt, const struct sql_value *spare_and_values, size_t n,
                    sqlite3_destructor_type keep)
{
    assert(sqlite3_bind_parameter_count(stmt) == (int)n);
    for (size_t i = 1; i <= n; i++) {
        int r = sql_errno(bind_value(stmt, (int)i, &spare_and_values[i], keep));

        if (r < 0)
            return r;
    }
    return 0;
}

int sql_run_values(struct sql *s, const char *text, const struct sql_value *spare_and_values, size_t n)
{
    CLEANUP(sql_query_end) struct sql_query q;
    int r = prepare(&q, s, text);

    if (r == 0)
        r = bind_all(q.stmt, spare_and_values, n, SQLITE_STATIC);
    return r < 0 ? r : sql_failed(s, sqlite3_step(q.stmt));
}

int64_t sql_changes(const struct sql *s)
{
    return sqlite3_changes64(s->db);
}

uint64_t sql_state(const struct sql *s)
{
    return sql_in_transaction(s) ? 0 : (uint64_t)sqlite3_total_changes64(s->db) + 1;
}

int64_t sql_last_id(const struct sql *s)
{
    return sqlite3_last_insert_rowid(s->db);
}

struct sql_query sql_query_values(struct sql *s, const char *text, const struct sql_value *spare_and_values, size_t n)
{
    struct sql_query q;

    q.error = prepare(&q, s, text);
    if (q.error == 0)
        q.error = bind_all(q.stmt, spare_and_values, n, SQLITE_TRANSIENT);
    return q;
}

int sql_next(struct sql_query *q)
{
    int code;

    if (q->error < 0 || !q->stmt)
        return q->error;
    code = sqlite3_step(q->stmt);
    if (code == SQLITE_ROW)
        return 1;
    q->error = sql_failed(q->sql, code);
    sql_query_end(q);
    return q->error;
}

int64_t sql_int(struct sql_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

bool sql_is_null(struct sql_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

const char *sql_text(struct sql_query *q, int column)
{
    return (const char *)sqlite3_column_text(q->stmt, column);
}

const void *sql_blob(struct sql_query *q, int column, size_t *ret_size)
{
    const void *data = sqlite3_column_blob(q->stmt, column);

    *ret_size = (size_t)sqlite3_column_bytes(q->stmt, column);
    return data || sql_is_null(q, column) ? data : "";
}

char *sql_text_copy(struct sql_query *q, int column)
{
    return xstrdup(sql_text(q, column));
}

int sql_get_int_values(struct sql *s, int64_t *ret, const char *text, const struct sql_value *spare_and_values,
                       size_t n)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query_values(s, text, spare_and_values, n);
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = sql_int(&q, 0);
    return 0;
}

/* --- transactions ----------------------------------------------------------------------------- */

bool sql_in_transaction(const struct sql *s)
{
    return !sqlite3_get_autocommit(s->db);
}

int sql_begin(struct sql *s)
{
    assert(!sql_in_transaction(s));
    return sql_run(s, "BEGIN IMMEDIATE");
}

int sql_commit(struct sql *s)
{
    int r = sql_run(s, "COMMIT");

    if (r < 0)
        sql_rollback(s);
    return r;
}

void sql_rollback(struct sql *s)
{
    if (sql_in_transaction(s))
        (void)sql_run(s, "ROLLBACK");
}
