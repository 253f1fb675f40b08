/* struct sql as the two files of store_sql see it. */
#pragma once

#include <sqlite3.h>

#include "syncd/store_sql.h"

enum { STATEMENTS = 256 };

struct statement {
    const char *text;        /* NULL: free slot */
    sqlite3_stmt *stmt;
    bool busy;
};

struct sql {
    sqlite3 *db;
    int wal_fd;
    char *path;
    bool damaged;            /* a statement has found it so, */
    void (*on_damage)(void *arg);   /* which is told once; may be NULL */
    void *arg;
    struct statement statements[STATEMENTS];
};

/* The same for a statement that failed: when it shows damage, a file "<path>.damaged" says from now on that the
 * database is to be checked before it is used again, and the log says it once. */
int sql_failed(struct sql *s, int code);

/* Negative errno for an (extended) result code of SQLite; 0 for OK, ROW and DONE. */
int sql_errno(int code);
