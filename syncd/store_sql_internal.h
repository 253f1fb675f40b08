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
    struct statement statements[STATEMENTS];
};

/* Negative errno for an (extended) result code of SQLite; 0 for OK, ROW and DONE. */
int sql_errno(int code);
