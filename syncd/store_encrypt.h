/* The index's list of what is to be encrypted though it is in the cloud already: files, and directories of which the
 * entries are still to be listed. It outlives everything; what it amounts to is kept beside it. */
#pragma once

#include "syncd/store_index.h"

/* What is left of it, and what has come of it since there was nothing left the last time. */
struct index_encryption {
    uint64_t files, bytes, directories;    /* left; bytes of the files */
    uint64_t done, done_bytes;             /* files */
    uint64_t failed;                       /* files, and directories with something that is not shown */
};
int index_encryption(struct index *x, struct index_encryption *ret);

enum index_encrypt_state {
    INDEX_ENCRYPT_WAITS,
    INDEX_ENCRYPT_WORK,                    /* the inode is pending, with INDEX_SEAL */
    INDEX_ENCRYPT_FAILED,                  /* not to be tried again by itself */
};
struct index_mark {
    bool is_directory;
    enum index_encrypt_state state;
    uint64_t size;                         /* of the file, as it was then */
    unsigned tries;                        /* that failed */
};
/* 0 or -ENOENT: it is not listed. */
int index_encrypt_get(struct index *x, uint64_t ino, struct index_mark *ret);
/* Those that wait and are due, files or directories, the ones first that have waited longest: at most n numbers; how
 * many, or negative errno. And when the next one will be after that; INT64_MAX: none. */
int index_encrypt_due(struct index *x, int64_t now_ns, bool directories, uint64_t *ret, size_t n);
int64_t index_encrypt_next_due(struct index *x, int64_t now_ns);
/* How many are in work, and their bytes, without those whose content has to be sent anyway. */
int index_encrypt_working(struct index *x, uint64_t *ret_n, uint64_t *ret_bytes);
/* Those that failed, by number, until each() returns false. */
int index_encrypt_failures(struct index *x, bool (*each)(uint64_t ino, const char *reason, void *arg), void *arg);

/* Changes, inside a transaction. 0 or negative errno; what is not listed: fine. */

/* When nothing is left, what has come of it is forgotten: something new begins. */
int index_encrypt_anew(struct index *x);
/* Lists it. What failed waits again. */
int index_encrypt_put(struct index *x, uint64_t ino, bool is_directory, uint64_t size);
/* Gives it to the uploader; and takes it back, to wait until then, perhaps after one more try. */
int index_encrypt_begin(struct index *x, uint64_t ino);
int index_encrypt_later(struct index *x, uint64_t ino, int64_t not_before_ns, bool tried);
/* One more try of the uploader's has failed. */
int index_encrypt_tried(struct index *x, uint64_t ino);
/* It is encrypted now; it cannot be, for that reason; it need not be. All of them take INDEX_SEAL away as well. */
int index_encrypt_done(struct index *x, uint64_t ino);
int index_encrypt_fail(struct index *x, uint64_t ino, const char *reason);
int index_encrypt_forget(struct index *x, uint64_t ino);
/* The inode has another number. */
int index_encrypt_renumber(struct index *x, uint64_t from, uint64_t to);
/* Forgets all at and below the inode. */
int index_encrypt_forget_below(struct index *x, uint64_t ino);
/* After opening: what counts as in work and is not pending waits. */
int index_encrypt_resume(struct index *x);
