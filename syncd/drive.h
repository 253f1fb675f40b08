/* The drives: what is configured (the model), what runs for it (the volume), and whether it is
 * mounted. In memory all of them, by rising id; on disk in the store. */
#pragma once

#include <stdbool.h>

#include "common/error.h"
#include "common/ipc.h"
#include "proto/api.pb-c.h"
#include "syncd/volume.h"

struct keys;
struct mounts_wait;
struct syncd;

enum drive_phase {
    DRIVE_HIDDEN,        /* being inserted, or its folders being removed: its name and letter are taken */
    DRIVE_READY,
    DRIVE_CHANGING,      /* being updated or deleted */
};

enum drive_mount { DRIVE_MOUNT_UNKNOWN, DRIVE_MOUNT_MOUNTED, DRIVE_MOUNT_NONE };

struct drive {
    struct drive *next;
    Lf__CloudDrive *model;        /* as stored */
    struct volume *volume;        /* NULL: down, `fault` says why */
    struct keys *keys;            /* NULL: it encrypts nothing, or they are not to be opened; drive_keys.c */
    void (*keys_settled)(void *arg);   /* who waits for that; NULL: nobody */
    void *keys_settled_arg;
    bool keys_failed;             /* the keys could not be opened: what needed them failed */
    struct loop_timer *coming_up; /* its keys are open, and somebody is changing it */
    struct error fault;
    struct syncd *syncd;          /* borrowed */
    struct loop_timer *reopening; /* its index was found damaged */
    int64_t reopened_ns;          /* when that last led to another opening; 0: never */
    enum drive_phase phase;
    bool wanted;                  /* mountd shall mount it */
    enum drive_mount mount;       /* as mountd last reported */
    int64_t shown_ns;             /* when drive_show() last began; 0: never */
    struct error mount_error;     /* and why not; code 0: nothing is wrong that it knows of */
    struct mounts_wait *wait;     /* who waits for a report; mounts.c */
    struct drive_worker {
        struct drive_worker *next;
        struct ipc_peer *peer;
    } *workers;                   /* channels given away; mounts.c */
};

/* Opens all stored drives, those with keys as soon as these are open. What fails is logged and stays down. What a crash
 * left half made, or half deleted, is removed; but a half-made drive with changes that the cloud does not have is kept.
 * 0 or, when the store cannot be read, a negative errno. */
int drive_load(struct syncd *d);
/* Ends what runs. */
void drive_close_all(struct syncd *d);
/* All drives are about to be closed or paused: volume_tell() for each. done(arg) once, from the loop, when all are
 * done. */
void drive_tell_all(struct syncd *d, void (*done)(void *arg), void *arg);
/* Closes and frees all; the store keeps them. */
void drive_unload(struct syncd *d);

/* NULL when there is none. */
struct drive *drive_find(struct syncd *d, const char *id);
struct drive *drive_by_name(struct syncd *d, const char *name);
struct drive *drive_of_account(struct syncd *d, const char *account_id);

/* One that nobody is changing, or NULL with a sentence: -ENOENT, -EBUSY. */
struct drive *drive_to_change(struct syncd *d, const char *id, struct error *e);

/* A drive that runs, or NULL with the reason: -ENOENT, or the drive's fault. */
struct drive *drive_running(struct drive *drive, struct error *e);

/* Takes the model over. The drive stands in the list, closed, in phase HIDDEN. */
struct drive *drive_add(struct syncd *d, Lf__CloudDrive *model);
/* Opens the volume; folders are there. 0, or a negative errno with the sentence also in ->fault. A drive with keys runs
 * once these are open: -EAGAIN until then, and it comes up by itself (drive_keys.c). */
int drive_open(struct syncd *d, struct drive *drive, struct error *e);
/* The drive ran without keys, and these are open by now: its volume is opened anew, and the kernel waits meanwhile. As
 * drive_open(). */
int drive_open_keyed(struct drive *drive, struct error *e);
/* Ends the workers' channels and the volume. */
void drive_close(struct drive *drive);
/* Sets ->wanted: it shall be mounted if it runs, is active, and the agent mounts at all. */
void drive_want(struct drive *drive);
/* Closes it, takes it out of the list, frees it. */
void drive_remove(struct syncd *d, struct drive *drive);

/* "<StateDir>/drives/<id>": the index. The caller's to free. */
char *drive_state_dir(const struct syncd *d, const char *id);

/* --- drive_list.c ---------------------------------------------------------------------------------- */

/* The model with what is wrong at the moment. It is lent, by the drive and by what is owned here, as long as nothing
 * changes the drive. */
struct drive_shown {
    Lf__CloudDrive model;
    char *keys, *trouble;   /* sentences; owned, NULL: none */
};
void drive_shown(const struct drive *drive, struct drive_shown *ret);
void drive_shown_end(struct drive_shown *shown);

/* What was listed last. NULL is fine. */
struct drive_list *drive_list_new(void);
void drive_list_free(struct drive_list *list);

/* --- drive_keys.c ---------------------------------------------------------------------------------- */

/* Makes the drive's keys known, if it has any, and begins to open them. 0, or a negative errno with a sentence. */
int drive_keys_begin(struct drive *drive, struct error *e);
/* Whether it has keys: because it encrypts, or because it once did and what is there may still need them. */
bool drive_keys_wanted(const struct drive *drive);
/* Makes keys for a drive that runs and has none, and is to be as `model` says (borrowed); stores and opens them:
 * done(e, arg) once, perhaps from within, e NULL when they are open, else there are none. It stays in phase CHANGING
 * until then. */
void drive_keys_make(struct drive *drive, Lf__CloudDrive *model, void (*done)(const struct error *e, void *arg),
                     void *arg);
/* 0 when the drive encrypts nothing or its keys are open; -EAGAIN while they are being opened; or why not. */
int drive_keys_state(const struct drive *drive, struct error *e);
/* Calls done(arg) once, when the keys are open or cannot be, or the drive is closed: at once, or from the loop. One
 * waiter a drive. */
void drive_keys_await(struct drive *drive, void (*done)(void *arg), void *arg);
/* Before its volume is closed, and after. */
void drive_keys_stop(struct drive *drive);
void drive_keys_end(struct drive *drive);
/* 0 when keys that are made now can be opened as long as those that other drives and accounts have. done(e, arg) once,
 * e NULL: they can. -ENOKEY: this is another key store. */
void drive_keys_check_store(struct syncd *d, void (*done)(const struct error *e, void *arg), void *arg);
/* cryptd is there (again), or went away. */
void drive_cryptd_connected(struct syncd *d);
void drive_cryptd_lost(struct syncd *d);

/* --- drive_cache.c --------------------------------------------------------------------------------- */

/* Before the drive is opened: a move of its cache that a crash ended is brought to its end, or back. 0, or a negative
 * errno with a sentence: then the drive cannot be opened. */
int drive_cache_recover(struct drive *drive, struct error *e);

/* --- drive_model.c -------------------------------------------------------------------------------- */

/* NULL without memory. */
Lf__CloudDrive *drive_model_copy(const Lf__CloudDrive *m);
/* Whether the drive has keys. */
bool drive_model_encrypts(const Lf__CloudDrive *m);
/* A new model from a request: checked, defaults filled in, forced members forced, with a new id, mount point and cache
 * folder. 0 (lf__cloud_drive__free_unpacked), -EINVAL naming the member, -EPERM for a path that leaves its
 * place, or -EOPNOTSUPP naming what is not available yet. */
int drive_model_new(struct syncd *d, const Lf__CloudDrive *in, Lf__CloudDrive **ret, struct error *e);
/* The old model with what the request gives in its place. As above; -EINVAL also for what may not change. */
int drive_model_merge(struct syncd *d, const Lf__CloudDrive *old, const Lf__CloudDrive *in, Lf__CloudDrive **ret,
                      struct error *e);
/* The old model with the cache that the request gives: members that it does not give stay, others do not count. As
 * drive_model_merge(). */
int drive_model_change_cache(struct syncd *d, const Lf__CloudDrive *old, const Lf__CloudDrive *in, Lf__CloudDrive **ret,
                             struct error *e);
/* -EEXIST with a sentence when another drive than `except` (may be NULL) has the name or the letter, or their cache
 * folders are not apart. */
int drive_model_clash(struct syncd *d, const Lf__CloudDrive *m, const struct drive *except, struct error *e);

/* --- drive_folder.c ------------------------------------------------------------------------------- */

/* The folders of a drive on their way: made and removed in the pool, since they may lie on slow or dead
 * file systems, and below a mount that this very process serves. */
struct drive_folders {
    char *id;                                                 /* of the drive: the mark of its cache folder */
    char *mount_point, *state_dir, *cache_dir;                /* owned; NULL: not concerned */
    bool made_mount_point, made_state_dir, made_cache_dir;    /* out: it was not there before */
    uint32_t mode_before;                                     /* out: of a mount point that was there before */
    struct error error;                                       /* out */
    void *arg;                                                /* the caller's */
};
struct drive_folders *drive_folders_new(struct syncd *d, const Lf__CloudDrive *m);
void drive_folders_free(struct drive_folders *f);
/* For loop_work(). Makes what is missing. A folder that is there must be an empty directory of the served user. The
 * mount point is closed to writing. On failure it has removed again what it made. */
void drive_folders_make(void *folders);
/* For loop_work(). Removes those whose `made_...` is set: index and cache with all they hold, the mount point if it is
 * empty. A cache folder is touched only with the drive's mark in it, and emptied when it was there before; a mount
 * point that was gets its mode back. A failure is in ->error; the rest is removed nevertheless. */
void drive_folders_remove(void *folders);

/* --- drive_delete.c ------------------------------------------------------------------------------- */

/* Closes and hides the drive, removes its folders (`f`, taken over, says which), then what the store has of it, takes
 * it out of the list, and calls done(arg) (NULL: nobody waits). In the store it is half made or leaving, so that a
 * crash in between changes nothing of the outcome. */
void drive_end(struct syncd *d, struct drive *drive, struct drive_folders *f, void (*done)(void *arg), void *arg);

/* --- handlers ------------------------------------------------------------------------------------- */

ipc_handler_fn drive_list, drive_exists;     /* drive_list.c */
ipc_handler_fn drive_insert;                 /* drive_insert.c */
ipc_handler_fn drive_update;                 /* drive_update.c */
ipc_handler_fn drive_change_cache;           /* drive_cache.c */
ipc_handler_fn drive_delete;                 /* drive_delete.c */
ipc_handler_fn drive_show;                   /* drive_show.c */
ipc_handler_fn drive_sync;                   /* drive_sync.c */
