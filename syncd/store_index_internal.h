/* What the files of the index share: the connection and how a row becomes a struct. Nobody else
 * includes this. */
#pragma once

#include "syncd/store_index.h"
#include "syncd/store_sql.h"

/* What one inode, or all of them, are of index_total(). */
struct index_share {
    int64_t blocks, names;
};

struct index {
    struct sql *sql;
    uint64_t version;        /* raised by every change of an inode */
    uint64_t *above;         /* directories with something pending below, ascending; owned */
    size_t n_above;
    uint64_t above_version;  /* the version `above` was made at */
    struct index_share more; /* than the table `total` says, by the transaction so far */
    uint64_t pending, pending_state;   /* index_pending_count(), and sql_state() then; 0: never */
    uint64_t turn;           /* last given to an extent; 0: not known yet */
};

/* The columns index_row() expects, in its order. */
#define INDEX_COLUMNS \
    "ino, parent, name, mode, uid, gid, nlink, size, mtime, ctime, atime, target, cloud_key, etag, cloud_size, " \
    "settled, pending, generation, listed, turned, key_name, cut"

/* Fills *i from the present row; its strings are borrowed from the query. */
void index_row(struct sql_query *q, struct index_inode *i);
/* Ends the query after its first row, which goes into *ret. 0, -ENOENT, or another negative errno. */
int index_first(struct sql_query *q, struct index_inode *ret);
/* Hands the rows to each() until it returns false, and ends the query. */
int index_each(struct sql_query *q, index_each_fn *each, void *arg);
/* The result of a change of inode rows: raises the version; -ENOENT when no row was there to change. */
int index_changed(struct index *x, int r);
/* The share of an inode of that size with so many links: nothing without any. No object has more than a PiB. */
struct index_share index_share(uint64_t size, uint32_t nlink);
/* That of a row: 0, -ENOENT, or another negative errno. */
int index_share_of(struct index *x, uint64_t ino, struct index_share *ret);
/* A row's share was one and is another now. It goes into the table with the transaction, or without one at once. */
int index_share_changed(struct index *x, struct index_share was, struct index_share is);
int index_total_put(struct index *x);
/* Puts the inode's component of the key, or its name (and '/' for a directory) before `at` and moves on to its parent.
 * False: an orphan, not there, or too long. */
enum { INDEX_KEY_BYTES = 16384 };
bool index_climb(struct index *x, uint64_t *ino, bool names, char *buffer, size_t *at);
/* The least text above the key and, of a directory, above all that begin with it. Owned by the caller. */
char *index_key_end(const char *key);
