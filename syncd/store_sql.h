/* A SQLite database as the stores use it: opened with checks and migrations, statements prepared
 * once, values bound by type, errors as negative errno. Knows no table. One thread only.
 *
 * The database is locked for this process alone (locking_mode EXCLUSIVE), in WAL mode.
 *
 *   r = sql_run(s, "INSERT INTO graves(key) VALUES(?)", SQL_TEXT(key));
 *
 *   CLEANUP(sql_query_end) struct sql_query q = sql_query(s, "SELECT ino, name FROM ...", SQL_INT(parent));
 *   while ((r = sql_next(&q)) > 0)
 *       use(sql_int(&q, 0), sql_text(&q, 1));
 *   // r is 0 at the end, or a negative errno
 *
 * Errors: -EUCLEAN corrupt, -ENOSPC disk full, -EBUSY locked by another process or a foreign
 * key does not hold, -EEXIST a unique key is taken, -EINVAL another constraint or a faulty statement, -ENOMEM,
 * -EROFS, -EIO the rest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct sql;

/* Reading all of a database takes as long as it is large. That of another program, and one whose schema cannot be read,
 * is found without. */
enum sql_check {
    SQL_CHECK_QUICK,            /* PRAGMA quick_check */
    SQL_CHECK_FULL,             /* PRAGMA integrity_check */
    SQL_CHECK_AFTER_CUT,        /* quick_check, if the machine went down while it was open; nothing that happens to a
                                   process can damage it */
};

/* What a database must look like. steps[n] brings user_version n to n + 1; a step is one or several
 * statements, runs in a transaction of its own, and is never changed once released. */
struct sql_schema {
    const char *what;           /* "the state database", for sentences */
    uint32_t application_id;    /* in the file's header: tells our files from others */
    const char *const *steps;
    size_t n_steps;
    bool full_sync;             /* every commit survives a power cut; else the death of the process */
    enum sql_check check;
    bool overwrite;             /* of what is removed nothing stays in the file (secure_delete) */
};

/* Opens or creates `path` (0600). 0, or with a sentence in *e:
 *  -EUCLEAN: corrupt or no such database. The file and its -wal have been renamed to
 *      "<path>.corrupt-<UTC date>", which the sentence names; nothing was written to them.
 *  -EPROTONOSUPPORT: written by a newer version; left as it is.
 *  -EBUSY: in use by another process. Or another negative errno. */
int sql_open(const char *path, const struct sql_schema *schema, struct sql **ret, struct error *e);
/* Queries must have ended. NULL is fine. */
void sql_close(struct sql *s);

/* BEGIN IMMEDIATE. No nesting. */
int sql_begin(struct sql *s);
int sql_commit(struct sql *s);         /* a failed commit has been rolled back */
void sql_rollback(struct sql *s);      /* nothing begun: fine */
bool sql_in_transaction(const struct sql *s);

/* fn(arg) runs, from within the statement that meets it, when the database is found to be damaged in use: the next
 * opening checks it, and keeps it aside. Once. */
void sql_on_damage(struct sql *s, void (*fn)(void *arg), void *arg);

/* Descriptor of the write-ahead log, borrowed until sql_close(), or negative errno: once it has been
 * fdatasync()ed, in any thread, all earlier commits survive a power cut. */
int sql_wal_fd(struct sql *s);

/* Brings the write-ahead log into the database, overwrites what it has and cuts it to nothing: of what `overwrite`
 * removed no copy is left there. Not within a transaction. -EBUSY while a query runs, or another negative errno. */
int sql_wipe_log(struct sql *s);

/* --- statements -------------------------------------------------------------------------------
 * `text` must be a string literal: statements are cached by its address. */

enum sql_type { SQL_TYPE_NULL, SQL_TYPE_INT, SQL_TYPE_TEXT, SQL_TYPE_BLOB };
struct sql_value {
    enum sql_type type;
    int64_t integer;
    const void *data;
    size_t size;
};
#define SQL_NULL ((struct sql_value){ .type = SQL_TYPE_NULL })
#define SQL_INT(v) ((struct sql_value){ .type = SQL_TYPE_INT, .integer = (int64_t)(v) })
#define SQL_TEXT(v) ((struct sql_value){ .type = SQL_TYPE_TEXT, .data = (v) })        /* NULL pointer: NULL */
#define SQL_BLOB(p, n) ((struct sql_value){ .type = SQL_TYPE_BLOB, .data = (p), .size = (n) }) /* n 0: empty */
/* The arguments as an array with one spare element in front, so that none is fine. */
#define SQL_VALUES(...) ((const struct sql_value[]){ { 0 }, ##__VA_ARGS__ }), \
    (sizeof((const struct sql_value[]){ { 0 }, ##__VA_ARGS__ }) / sizeof(struct sql_value) - 1)

/* Runs a statement that yields no rows. 0 or negative errno. */
#define sql_run(s, text, ...) sql_run_values(s, text, SQL_VALUES(__VA_ARGS__))
int sql_run_values(struct sql *s, const char *text, const struct sql_value *spare_and_values, size_t n);
/* Rows changed by the last sql_run(), and the rowid it inserted. */
int64_t sql_changes(const struct sql *s);
int64_t sql_last_id(const struct sql *s);

/* A number that stays the same only as long as no row changes; 0 within a transaction, whose changes may be taken
 * back. */
uint64_t sql_state(const struct sql *s);

/* Yields rows. Errors of preparing show up in the first sql_next(). Values are copied. The same
 * text may be running several times at once; what is changed meanwhile may or may not be seen. */
struct sql_query {
    struct sql *sql;
    void *stmt;
    int slot;              /* in the cache, -1: not cached */
    int error;
};
#define sql_query(s, text, ...) sql_query_values(s, text, SQL_VALUES(__VA_ARGS__))
struct sql_query sql_query_values(struct sql *s, const char *text, const struct sql_value *spare_and_values, size_t n);
int sql_next(struct sql_query *q);                    /* 1 a row, 0 the end, or negative errno */
void sql_query_end(struct sql_query *q);              /* more than once: fine */

/* Columns of the row, from 0. Borrowed until the next sql_next() or sql_query_end(). */
int64_t sql_int(struct sql_query *q, int column);     /* NULL: 0 */
bool sql_is_null(struct sql_query *q, int column);
const char *sql_text(struct sql_query *q, int column);/* NULL: NULL */
const void *sql_blob(struct sql_query *q, int column, size_t *ret_size); /* NULL: NULL and 0; empty: not NULL and 0 */
char *sql_text_copy(struct sql_query *q, int column); /* owned by the caller; NULL: NULL; aborts without memory */

/* The first column of the first row. 0, -ENOENT without a row, or negative errno. */
#define sql_get_int(s, ret, text, ...) sql_get_int_values(s, ret, text, SQL_VALUES(__VA_ARGS__))
int sql_get_int_values(struct sql *s, int64_t *ret, const char *text, const struct sql_value *spare_and_values,
                       size_t n);
