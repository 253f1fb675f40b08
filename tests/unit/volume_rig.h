/* A volume over the memory provider, with a worker's channel to it, for the tests of its contents
 * half. Everything runs on one loop; rig_wait() turns it. The cloud outlives rig_reopen(), which is a
 * crash as far as the volume can tell: nothing is written on closing. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/chunk_map.h"
#include "syncd/cache.h"
#include "syncd/upload.h"

struct rig;
/* 0: goes through; else the negative errno it fails with. */
typedef int rig_fault_fn(struct rig *rig, const struct cloud_request *r, bool after);

struct rig {
    char dir[64];
    struct loop *loop;
    struct config *config;
    struct cloud *memory;          /* the provider itself: what tests do to it is not counted */
    struct cloud *cloud;           /* a holding cloud around a failing one around it, as the volume sees it */
    bool had_index;                /* for rig_open(): as volume_spec's */
    bool hold[CLOUD_OP_COUNT];     /* requests of these kinds wait for rig_release() */
    struct cloud_request *held[64];
    size_t n_held;
    Lf__CloudDrive drive;
    struct keys *(*make_keys)(struct rig *rig);   /* NULL: the drive has none; else opened and closed with it */
    struct keys *keys;
    struct volume *volume;
    struct ipc_server *server;
    struct ipc_peer *peer;
    struct ipc_client *client;
    rig_fault_fn *fault;           /* NULL: nothing fails */
    void *arg;                     /* the test's */
    size_t counts[CLOUD_OP_COUNT]; /* requests submitted */
    uint64_t bytes[CLOUD_OP_COUNT];/* of bodies sent and ranges asked for */
    size_t in_flight;
    struct timespec started;
};

/* As cmocka's set-up and tear-down; *state is a struct rig. */
int rig_set_up(void **state);
int rig_set_up_folder(void **state);   /* over a LocalFolder instead */
/* The same; prepare() may change the drive and the settings. */
int rig_set_up_with(void (*prepare)(struct rig *rig), void **state);
int rig_set_up_folder_with(void (*prepare)(struct rig *rig), void **state);
/* Over a LocalFolder, in a directory that an earlier run may have left. prepare() (or NULL) may change rig->drive. */
int rig_set_up_in(const char *dir, void (*prepare)(struct rig *rig), void **state);
int rig_tear_down(void **state);   /* removes the directory */
void rig_open(struct rig *rig);
void rig_close(struct rig *rig);   /* and waits for the requests under way */
void rig_reopen(struct rig *rig);
void rig_lose_worker(struct rig *rig);   /* its channel closes; a new one is made */

/* Turns the loop until the condition holds; fails the test after a minute, or more on a busy machine. */
#define rig_wait(rig, condition) \
    do { \
        rig_wait_begin(rig); \
        while (!(condition)) \
            rig_turn(rig, #condition); \
    } while (0)
void rig_wait_begin(struct rig *rig);
void rig_turn(struct rig *rig, const char *condition);
/* Until nothing is pending. */
void rig_settle(struct rig *rig);
/* Turns the loop for as long as something is under way in the cloud or in other threads, or ready at once. */
void rig_idle(struct rig *rig);
/* The same a while longer, where nothing is expected to happen. */
void rig_linger(struct rig *rig);
void rig_reset_counts(struct rig *rig);
/* Takes the directory's listing into the index now, however young the last one is. */
void rig_relist(struct rig *rig, uint64_t dir);
/* As if only a listing without metadata had told of the inode. */
void rig_forget_meta(struct rig *rig, uint64_t ino);

/* What was held goes on its way, and what comes is no longer held. */
void rig_release(struct rig *rig);

/* That the index's sums are those of its rows. */
void rig_assert_total(struct rig *rig);

/* --- the cloud as another tool sees it ------------------------------------------------------------- */

void rig_put(struct rig *rig, const char *key, const void *bytes, size_t n);
void rig_put_with(struct rig *rig, const char *key, const void *bytes, size_t n, const struct cloud_meta *meta);
void rig_remove(struct rig *rig, const char *key);
/* The object's bytes, owned by the caller; NULL: there is none. */
char *rig_object(struct rig *rig, const char *key, size_t *ret_size);
struct cloud_request *rig_stat(struct rig *rig, const char *key);   /* owned by the caller */
/* All keys, separated and ended by a space, in order; owned by the caller. */
char *rig_keys(struct rig *rig);
size_t rig_files(struct rig *rig);   /* objects that are no directories' markers */
#define assert_keys(rig, expected) \
    do { \
        char *keys_ = rig_keys(rig); \
        assert_string_equal(keys_, expected); \
        free(keys_); \
    } while (0)
size_t rig_uploads(struct rig *rig);   /* in parts, that have begun and not ended */
void assert_object(struct rig *rig, const char *key, const void *bytes, size_t n);

/* --- conflicts (volume_rig_conflict.c) --------------------------------------------------------------- */

/* Conflict copies in the root: how many, and one of them. */
struct rig_copies {
    unsigned n;
    uint64_t ino;
    char name[256];
};
struct rig_copies rig_copies(struct rig *rig);
/* Here and in the cloud: theirs under the name, ours (inode `ino`) beside it, and nothing that removes either. */
void rig_assert_both(struct rig *rig, const char *name, const char *theirs, uint64_t ino, const char *ours);
/* Once nothing is pending any more: no copy, and these keys. */
void rig_assert_no_copy(struct rig *rig, const char *keys);
void rig_assert_file(struct rig *rig, const char *name, const char *bytes);   /* as a program reads it */
/* A file "a" with "base" that is in the cloud. Its inode number. */
uint64_t rig_base(struct rig *rig);
/* As rig->fault; after rig_come_back() the network is there again, and nobody waits until that would be noticed. */
int rig_unreachable(struct rig *rig, const struct cloud_request *r, bool after);
void rig_come_back(struct rig *rig);

/* --- the worker -------------------------------------------------------------------------------------- */

/* Sends a request and waits for the answer. 0 and *ret (may be NULL; the caller's) with at most two descriptors, or
 * the negative errno. */
int rig_ask(struct rig *rig, Lf__Envelope *request, Lf__Envelope **ret, int fds[2]);
/* The same without waiting: `a` says when it is answered, and how. */
struct rig_asked {
    bool done;
    int code;
};
void rig_send(struct rig *rig, Lf__Envelope *request, struct rig_asked *a);
/* Where the cache has that file ("data", "map") of the inode. The caller's. */
char *rig_cache_path(struct rig *rig, uint64_t ino, const char *kind);

/* An open file, written and read by the rules of common/chunk_map.h. */
struct handle {
    uint64_t ino, size;
    int data_fd, map_fd;
    bool write;
    struct chunk_map *map;
};

uint64_t worker_lookup(struct rig *rig, uint64_t parent, const char *name);   /* 0: not there */
uint64_t worker_find(struct rig *rig, const char *path);   /* name by name from the root; 0: not there */
int worker_open(struct rig *rig, uint64_t ino, bool write, bool truncate, struct handle *ret);
/* To read, of a handle that the kernel has from an earlier worker. */
int worker_open_again(struct rig *rig, uint64_t ino, struct handle *ret);
int worker_create(struct rig *rig, uint64_t parent, const char *name, struct handle *ret);
int worker_fetch(struct rig *rig, uint64_t ino, uint64_t offset, uint64_t length);
/* 0 or the negative errno of what was asked. */
int worker_try_write(struct rig *rig, struct handle *h, uint64_t offset, const void *bytes, size_t n);
void worker_write(struct rig *rig, struct handle *h, uint64_t offset, const void *bytes, size_t n);
/* Bytes read, or negative errno of the fetch. */
ssize_t worker_read(struct rig *rig, struct handle *h, uint64_t offset, void *bytes, size_t n);
/* copy_file_range(2) into `target` at its beginning, until it is answered: bytes that the cloud has copied, or the
 * negative errno. `origin`: the kernel's number of it. */
ssize_t worker_copy(struct rig *rig, Lf__FsCopy m, uint64_t origin);
int worker_flush(struct rig *rig, struct handle *h, bool sync);
/* That it reads as these n bytes and no more. */
void worker_assert_reads(struct rig *rig, uint64_t ino, const char *bytes, size_t n);
void worker_close(struct rig *rig, struct handle *h);   /* flush and release */
void worker_forget_handle(struct handle *h);            /* closes the descriptors, says nothing */
int worker_truncate(struct rig *rig, uint64_t ino, uint64_t size);
int worker_chmod(struct rig *rig, uint64_t ino, uint32_t mode);
int worker_touch(struct rig *rig, uint64_t ino, int64_t mtime_ns);
/* These take paths from the root. */
int worker_rename(struct rig *rig, const char *from, const char *to, unsigned flags);
int worker_unlink(struct rig *rig, const char *name);
uint64_t worker_mkdir(struct rig *rig, const char *name);
int worker_rmdir(struct rig *rig, const char *name);
int worker_symlink(struct rig *rig, const char *name, const char *target);
/* Whether it is pinned and here for that, whole. */
bool rig_is_kept(struct rig *rig, uint64_t ino);
/* The pin of an inode as extended attribute. */
int worker_set_pin(struct rig *rig, uint64_t ino, const char *value, int flags);
int worker_remove_pin(struct rig *rig, uint64_t ino);
int worker_get_pin(struct rig *rig, uint64_t ino);
int worker_getattr(struct rig *rig, uint64_t ino, Lf__FsAttr *ret);

/* A new file with these bytes at the path, closed. Its inode number. */
uint64_t worker_file(struct rig *rig, const char *name, const void *bytes, size_t n);
/* Replaces the whole content of an existing file. */
void worker_overwrite(struct rig *rig, const char *name, const void *bytes, size_t n);

/* n bytes that differ from place to place and by seed. Owned by the caller. */
char *pattern(size_t n, unsigned seed);
