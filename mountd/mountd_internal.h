/* The parts of mountd as they see each other; mountd.h has the list. */
#pragma once

#include "mountd/mount.h"
#include "mountd/mountd.h"

struct drive;

/* A worker process and our end of its control channel. */
struct child {
    pid_t pid;                  /* 0: none runs */
    struct ipc_peer *peer;      /* NULL: told to end, or gone */
    unsigned failures;          /* short lives in a row */
    uint64_t starts;            /* since the drive was taken up, those that failed included */
    int64_t started_ns;
    bool replay;                /* an earlier worker, or an earlier mountd's, used the connection */
    struct loop_timer *timer;   /* next start, or the end of patience with one told to end */
    struct loop_timer *again;   /* next try to attach */
    uint64_t attaching;         /* call under way; 0: none */
};

struct drive {
    struct drive *next;
    struct mountd *mountd;
    char id[ID_SIZE];
    Lf__Mount *wanted;          /* owned; NULL: should not be mounted */
    bool listed;                /* in the list that is being read */
    /* what is mounted; record NULL: nothing */
    Lf__KeptMount *record;      /* owned */
    int fuse;
    int owed;                   /* of owed_make() */
    struct drive_job *job;      /* mount or unmount under way in the pool */
    struct loop_timer *retry;
    unsigned failures;          /* mounts in a row that failed or did not last */
    int64_t mounted_ns;
    struct error told;          /* the failure last reported */
    struct child child;
};

struct mountd {
    struct mountd_spec spec;
    struct ipc_server *server;
    struct ipc_client *syncd;
    struct event *child_died;
    struct drive *drives;
    struct {                    /* the list */
        bool asking, again;
        struct loop_timer *retry;
    } list;
    struct ipc_request *shutdown[8];
    size_t n_shutdown;
    bool stopping;
};

/* A drive is gone: ends the loop when it was the last one that stopping waits for. */
void mountd_drive_gone(struct mountd *m);

/* --- drive.c */
struct drive *drive_find(struct mountd *m, const char *id);
/* Says what is wanted of a drive; makes it known if it is not. `mount` is copied. */
void drive_want(struct mountd *m, const Lf__Mount *mount);
/* It should not be mounted; the drive goes when it is not. */
void drive_unwant(struct drive *d);
/* An earlier mountd's mount. */
void drive_adopt(struct mountd *m, struct kept *k);
/* The kernel ended the connection: somebody unmounted the drive. */
void drive_unmounted(struct drive *d);
/* Takes the next step towards what is wanted. May free the drive. */
void drive_step(struct drive *d);
/* At the very end: frees it without unmounting. */
void drive_free(struct drive *d);

/* --- metrics.c: what mountd knows of itself and the workers */
ipc_handler_fn metrics_get;

/* --- backing.c: handlers of messages of workers */
ipc_handler_fn backing_open, backing_close;
/* Whether `fd` is what syncd opens for reading: a regular file of the user `owner`, mode 0600, with one name, and
 * good for reading only. Of all a worker holds, that is a cache file of its drive and nothing else. */
bool backing_is_cache_file(int fd, uid_t owner);

/* --- child.c */
void child_start(struct drive *d);
/* Asks syncd for a channel of the worker's, anew if that is under way. */
void child_attach(struct drive *d);
/* Its WorkerDetached: asks soon. */
void child_detached(struct drive *d);
/* Tells the worker to end; it is killed when it does not. drive_step() follows when it is gone. */
void child_stop(struct drive *d);
/* Looks whether the process ended. */
void child_reap(struct drive *d);
/* The control channel broke. */
void child_lost(struct drive *d);
/* Its WorkerReady. */
void child_ready(struct drive *d);

/* --- desired.c */
void desired_refresh(struct mountd *m);
void desired_forget(struct mountd *m);
void desired_report(struct drive *d, const struct error *failure);
