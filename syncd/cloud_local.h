/* The LocalFolder provider, as its files see each other: a folder whose sub-folders are buckets. For demos,
 * removable disks and mounted shares; with the semantics of S3 as far as a folder goes.
 *
 *   cloud_local.c         the provider's operations; jobs between the loop and the pool
 *   cloud_local_path.c    keys as paths that cannot leave the bucket; the hidden folder
 *   cloud_local_meta.c    metadata in extended attributes; ETags
 *   cloud_local_object.c  stat, get, put, copy, delete; the buckets, and what space there is
 *   cloud_local_commit.c  copying bytes; putting a finished file in its place
 *   cloud_local_list.c    listings
 *   cloud_local_part.c    multipart uploads
 *
 * A key is the path below the bucket. A key that ends in '/' is a directory with a marker; a directory is listed
 * as a key of its own when it has the marker or is empty. Symbolic links are objects without bytes whose metadata
 * has the target; they are never followed. Keys with empty, "." or ".." parts cannot be stored. What Landfall needs
 * for itself is in BUCKET/.landfall, which is no key. */
#pragma once

#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "common/timespec.h"
#include "syncd/cloud.h"
#include "syncd/folder.h"

enum { LOCAL_ETAG_SIZE = 64, LOCAL_PARTS_MAX = 10000 };

struct local_job;
/* What runs in a pool thread: LOCAL_MORE, to be run again (after `buffer` was handed over); LOCAL_LATER, the same after
 * a pause of j->pause_ms; 0 when done; or a negative errno with the sentence in `error`. */
typedef int local_step(struct local_job *j);
enum { LOCAL_MORE = 1, LOCAL_LATER = 2 };

struct local {
    struct cloud *cloud;
    char *root;                    /* absolute path */
};

/* One request on its way through the pool. */
struct local_job {
    struct local *local;
    struct cloud_request *r;
    local_step *step;
    atomic_bool stop;
    bool paused, idle;             /* the loop's: data() said no; no work is under way */
    struct loop_timer *pause;      /* the loop's: LOCAL_LATER */
    int result;
    struct error error;
    /* the step's; released in the pool when the job ends */
    bool begun;
    int bucket, hidden;            /* folders */
    int source, target;
    int changed;                   /* folder in which local_place() has put something */
    char temp[64];                 /* file below hidden that goes with the job; "" none */
    char finished[64];             /* file below hidden that does not */
    local_step *locked;            /* to be run under the lock */
    unsigned pause_ms, waited_ms;  /* for it */
    struct stat st;                /* of source when it was opened */
    uint64_t at, length, source_at;
    size_t index;
    char *buffer;
    size_t filled;
};

/* --- cloud_local_path.c ---------------------------------------------------------------------- */

/* A key, taken apart. */
struct local_name {
    char parent[PATH_MAX];         /* "" the bucket itself */
    char leaf[NAME_MAX + 1];
    bool directory;                /* the key ends in '/' */
};
/* 0; -EINVAL or -ENAMETOOLONG for a key that no folder can hold; -ENOTUNIQ for a reserved one. */
int local_name(const char *key, struct local_name *ret);
/* Whether the key is the hidden folder or below it. */
bool local_is_reserved(const char *key);
/* As cloud_check_key(). */
int local_check_key(const char *key);

/* The root; a descriptor, or a negative errno with the sentence in j->error. */
int local_open_root(struct local_job *j, int flags);
/* The folder of the request's bucket; the hidden folder in it, made at need and nobody else's to enter. Into j. 0 or
 * negative errno. */
int local_open_bucket(struct local_job *j);
int local_open_hidden(struct local_job *j);
/* A descriptor of the folder `path` below `dir`, made with its parents, durably, when missing. 0 and *ret, or a
 * negative errno and -1. */
int local_make_folder(int dir, const char *path, int *ret);
/* Removes the folder `path` below the bucket and its parents as long as they are empty and have no marker. */
void local_prune(int bucket, const char *path);

/* An open file, folder, or (O_PATH) symbolic link below `dir`; what may not be read is opened O_PATH, too. 0 and *ret
 * and *st; -ENOENT when there is none, or something that is no object. */
int local_open_entry(int dir, const char *path, int *ret, struct stat *st);

/* Names the failure: fills j->error, unless it says more already. Returns its code. `key` may be NULL. */
int local_fail(struct local_job *j, int error, const char *key);

/* --- cloud_local_meta.c ---------------------------------------------------------------------- */

void local_etag(const struct stat *st, char out[LOCAL_ETAG_SIZE]);
/* Whether the file system keeps extended attributes at all. */
bool local_has_attributes(int fd);
bool local_has_mark(int fd);
/* Whether the folder counts as a key: it has the mark or is empty. */
bool local_is_marked(int fd);
int local_mark(int fd);
void local_unmark(int fd);
/* Puts metadata on a file or folder. Where there are no extended attributes mode and times are as good as the file
 * system has them, the owner is lost, and the user's attributes are refused with -EOPNOTSUPP. -E2BIG. */
int local_meta_put(int fd, const struct cloud_meta *m, bool directory);
/* Removes ours, but for the mark, and the user's attributes. */
void local_meta_clear(int fd);
void local_meta_get(int fd, const struct stat *st, struct cloud_meta *m);
/* o with all but its key, which is copied. */
void local_describe(int fd, const struct stat *st, const char *key, struct cloud_object *o);

/* --- cloud_local_commit.c -------------------------------------------------------------------- */

/* A new file j->temp in the hidden folder, open as j->target. 0 or negative errno. */
int local_temp_open(struct local_job *j);
/* The same as a symbolic link to m's target; j->target stays closed. */
int local_temp_link(struct local_job *j, const struct cloud_meta *m);
/* Copies one slice from source to target: adds to at and source_at. 0 all is there, 1 more to come, negative errno;
 * -EBADE when the source ends early. */
int local_copy_slice(struct local_job *j);
/* Runs `step` while nobody else changes places in the bucket, now or later. What it returns is returned, or
 * LOCAL_LATER, or a negative errno when the lock could not be had. From here on it is the job's step. */
int local_locked(struct local_job *j, local_step *step);
/* Makes j->target durable, then local_locked(). */
int local_commit(struct local_job *j, local_step *step);
/* Under the lock: puts j->finished, or else j->temp, in the key's place, if the request's conditions hold; r->object
 * is filled. */
local_step local_place;
/* Whether the conditions of a PUT or PART_END hold for what is at its key (NULL: nothing): 0 or -ESTALE. */
int local_check_conditions(const struct cloud_request *r, const struct stat *st);
/* Whether the request's if_match holds for what is open: 0 or -ESTALE. */
int local_check_match(const struct cloud_request *r, const struct stat *st);

/* --- steps ----------------------------------------------------------------------------------- */

local_step local_buckets, local_bucket_create, local_list, local_stat, local_get, local_put, local_copy, local_delete,
    local_delete_batch, local_part_begin, local_part_put, local_part_copy, local_part_list, local_part_end,
    local_part_abort, local_uploads, local_space;
