/* The tables of hauls: what of an upload or a download beside the drives outlives the process (docs/FORMATS.md). A row
 * is there from before the caller hears of the transfer until nothing of it is left to be done or to be removed.
 * Results as in store.h. */
#pragma once

#include "syncd/store.h"

enum store_haul_kind { STORE_HAUL_UPLOAD = 1, STORE_HAUL_FORM = 2, STORE_HAUL_OBJECT = 3, STORE_HAUL_TREE = 4 };
enum store_haul_state {
    STORE_HAUL_GOES = 0,
    STORE_HAUL_PAUSED = 1,
    STORE_HAUL_FAILED = 2,      /* it has ended, and what it has left is to be removed */
};

struct store_haul {
    int64_t number;             /* of the row: later ones have higher ones */
    char *id;                   /* of the transfer; strings are owned, by whoever filled it */
    char *origin;               /* the request that began it; NULL: one that never comes again */
    enum store_haul_kind kind;
    enum store_haul_state state;
    uint32_t uid;               /* the served user it was begun for */
    int64_t begun_ns;           /* wall clock */
    char *account_id, *bucket, *key, *path;
    void *account, *sealed;     /* of one that is not stored: its packed model without keys, and these sealed */
    size_t n_account, n_sealed;
    bool overwrite;
    /* of uploads */
    uint64_t size, inode;       /* of the file as it was opened */
    int64_t mtime_ns;
    uint64_t part_size;
    char *stamp;                /* tells our object */
    int64_t parts_begun_ns;     /* the cloud was asked to begin an upload in parts; 0: not yet */
    char *upload_id;            /* what it answered; NULL: nothing yet */
    /* of downloads; the counts are of the objects up to `after` */
    struct store_haul_progress {
        char *after;            /* the last key of those that have all ended; "" none */
        uint64_t n_found, n_failed, bytes;
        int first_code;         /* of the first one that failed; 0: none */
        char *first_text;       /* NULL: none */
    } progress;
};
void store_haul_free(struct store_haul *h);   /* its contents */

/* *ret_number: of the new row. */
int store_haul_insert(struct store *s, const struct store_haul *h, int64_t *ret_number);
int store_haul_set_state(struct store *s, int64_t number, enum store_haul_state state);
int store_haul_set_parts(struct store *s, int64_t number, int64_t begun_ns, const char *upload_id);
int store_haul_delete(struct store *s, int64_t number);
/* All of them by rising number, after `after`, until each() returns false; *h is each()'s to free. */
int store_haul_each(struct store *s, int64_t after, bool (*each)(struct store_haul *h, void *arg), void *arg);
/* The transfer that the request began, ID_SIZE bytes. */
int store_haul_by_origin(struct store *s, const char *origin, char *ret_id);

/* An object of a download that has not ended, or has while others before it have not. */
struct store_haul_file {
    char *key, *etag;           /* owned; etag may be NULL */
    char *name;                 /* of the file it comes into; NULL: it is all there, under its own name */
    uint64_t size, done;        /* bytes below `done` are there */
};
void store_haul_files_free(struct store_haul_file *files, size_t n);   /* the array too */

/* In the place of what is recorded of that key. */
int store_haul_file_put(struct store *s, int64_t number, const struct store_haul_file *f);
/* By the order of keys' bytes; *ret: store_haul_files_free(). */
int store_haul_files(struct store *s, int64_t number, struct store_haul_file **ret, size_t *ret_n);
/* Together: how far it is, what has ended behind that, and nothing more of what has ended before. */
int store_haul_set_progress(struct store *s, int64_t number, const struct store_haul_progress *p,
                            const struct store_haul_file *ended, size_t n);
