/* What the tests of a volume share: a drive on the memory provider whose requests can be made to fail,
 * and a worker that asks it through real IPC, all on one loop in one thread. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "syncd/listing.h"
#include "syncd/volume_internal.h"

#define BUCKET "bucket"
#define PREFIX "drive/"

struct fixture {
    char folder[64];
    struct loop *loop;
    struct config *config;
    struct cloud *cloud;             /* the failing wrapper around the memory provider */
    Lf__CloudDrive drive;
    struct volume *v;
    struct ipc_server *server;
    struct ipc_peer *peer;
    struct ipc_client *worker;
    /* faults: requests of op `fail_op` whose key (or prefix of a listing) ends in `fail_key` (NULL: any) fail with
     * `fail_code`, after `fail_after` of them went well; fail_code 0: none */
    enum cloud_op fail_op;
    int fail_code;
    const char *fail_key;
    unsigned fail_after;
    unsigned seen[CLOUD_OP_COUNT];   /* requests that came by */
    /* events the worker got */
    unsigned n_events;
    char events[4096];               /* "ino/name " of each; "ino* " with data, "ino " without */
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);
/* Closes the volume and opens it again, with a new worker: as after a restart of syncd. */
void fixture_restart(struct fixture *f);

/* Turns the loop until the condition holds; fails the test after some seconds. */
#define wait_until(f, condition) \
    do { \
        bool lost_ = false; \
        struct loop_timer *patience_ = fixture_patience(f, &lost_); \
        while (!(condition)) \
            fixture_turn(f, &lost_, #condition); \
        loop_timer_free(patience_); \
    } while (0)
struct loop_timer *fixture_patience(struct fixture *f, bool *lost);
void fixture_turn(struct fixture *f, bool *lost, const char *condition);

/* --- the cloud's side, with keys below the drive's prefix ------------------------------------------ */

void cloud_has(struct fixture *f, const char *key, const char *bytes);
void cloud_has_meta(struct fixture *f, const char *key, const char *bytes, const struct cloud_meta *meta);
void cloud_lost(struct fixture *f, const char *key);
bool cloud_holds(struct fixture *f, const char *key);
/* Keys of all objects below the prefix, joined by spaces. Static storage. */
const char *cloud_keys(struct fixture *f);
/* Takes the directory's listing into the index now, however young the last one is. The result's code. */
int relist(struct fixture *f, uint64_t dir);

/* --- the worker's side ------------------------------------------------------------------------------ */

/* Asks and waits. 0 and *ret (lf__envelope__free_unpacked; NULL: not wanted), or the failure's code (negative). */
int ask(struct fixture *f, Lf__Envelope *request, Lf__Envelope **ret);
/* 0 and the attributes, or a negative errno. ret may be NULL. */
int ask_lookup(struct fixture *f, uint64_t parent, const char *name, Lf__FsAttr *ret);
int ask_getattr(struct fixture *f, uint64_t ino, Lf__FsAttr *ret);
int ask_mkdir(struct fixture *f, uint64_t parent, const char *name, uint64_t *ret_ino);
int ask_create(struct fixture *f, uint64_t parent, const char *name, uint64_t *ret_ino);  /* and release it */
int ask_symlink(struct fixture *f, uint64_t parent, const char *name, const char *target, uint64_t *ret_ino);
int ask_unlink(struct fixture *f, uint64_t parent, const char *name);
int ask_rmdir(struct fixture *f, uint64_t parent, const char *name);
int ask_rename(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
               unsigned flags);
int ask_open(struct fixture *f, uint64_t ino, bool write);
int ask_open_again(struct fixture *f, uint64_t ino);   /* to read, of a handle that the kernel has */
int ask_release(struct fixture *f, uint64_t ino, bool write);
/* Names in the directory as readdir gives them, joined by spaces, at most `page` a request. Static storage. */
const char *ask_names(struct fixture *f, uint64_t dir, unsigned page);

/* --- the index, for what cannot be seen from outside -------------------------------------------------- */

/* The inode of a path below the root; fails the test when there is none. */
uint64_t ino_of(struct fixture *f, const char *path);
bool exists(struct fixture *f, const char *path);
unsigned pending_of(struct fixture *f, const char *path);
/* Open graves, joined by spaces. Static storage. */
const char *graves(struct fixture *f);
