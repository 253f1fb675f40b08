/* The supervisor behind `landfall run`: what systemd is to a system, for one instance in one
 * directory. It owns the listening sockets, starts the daemons under their users, keeps the
 * descriptors they store, starts again what dies, and ends everything in order.
 *
 * It is a row table (run_rows) and these parts, each in its own file:
 *   run_plan      who runs as whom and where things are: configuration turned into facts
 *   run_dirs      directories in DIR, the lock, the root key
 *   run_sockets   listening sockets
 *   run_notify    the notification socket of one daemon
 *   run_kept      descriptors kept for a daemon
 *   run_limits    the environment and the capabilities that are not taken over
 *   run_spawn     fork and exec of one daemon
 *   run_passphrase  what unlocks the key store, where that is a passphrase
 *   run_process   the life of one daemon: start, readiness, watchdog, death, restart, stop
 *   run_mounts    drives in the mount table
 *   run_instance  DIR/instance.json, and what an earlier supervisor left behind
 *   run           the command: all of it in order
 */
#pragma once

#include <event2/event.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/config.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/messages.h"

enum {
    RUN_DAEMONS = 4,
    RUN_NAME_MAX = 256,         /* of a kept descriptor: sd_pid_notify_with_fds(3) allows 255 bytes */
    RUN_KEPT_MAX = 240,         /* a daemon accepts DAEMON_SOCKETS_MAX descriptors in all */
    RUN_LISTEN_BACKLOG = 4096,
};

/* --- the table -------------------------------------------------------------------------------- */

enum run_socket { RUN_SOCKET_HTTP = 1, RUN_SOCKET_API = 2, RUN_SOCKET_IPC = 4 };

/* One daemon. Rows stand in the order of starting; run stops them from the last to the first. */
struct run_row {
    enum role role;
    const char *name, *binary;
    unsigned sockets;           /* enum run_socket bits */
    unsigned stop_seconds;      /* SIGTERM to SIGKILL */
    bool may_gain;              /* may use set-user-ID programs (fusermount3) */
    uint64_t capabilities;      /* all it can ever have, bits by number of capabilities(7) */
};
extern const struct run_row run_rows[RUN_DAEMONS];

/* --- run_plan --------------------------------------------------------------------------------- */

struct run_account {
    char name[64], home[PATH_MAX];
    uid_t uid;
    gid_t gid;
};

struct run_options {
    const char *dir, *config_path;
    const char **sets;          /* "Key=value" as given */
    size_t n_sets;
    int port;                   /* -1: HostUrl's; 0: any free one */
    bool new_passphrase;        /* what unlocks the key store becomes another one */
};

struct run_plan {
    char *dir;                  /* absolute */
    char *config_path;          /* absolute; NULL: none */
    char **sets;                /* n_sets of them: what every daemon is told beside the file */
    size_t n_sets;
    struct config *config;      /* with all of it applied */
    bool root;
    struct run_account served;
    struct run_account accounts[ROLE_COUNT];  /* by role; ROLE_WORKER's is for the record only */
    gid_t group;                /* of the internal sockets */
    uint16_t port;              /* 0 until run_sockets_open() when any free one was asked for */
};

/* Turns the options into facts: configuration with defaults below DIR filled in, accounts looked
 * up. Touches nothing. 0 or a negative errno with a sentence; run_plan_free() either way. */
int run_plan_make(struct run_plan *p, const struct run_options *o, struct error *e);
void run_plan_free(struct run_plan *p);

/* Adds Key=value to what the daemons are told and reads the configuration anew. */
int run_plan_set(struct run_plan *p, const char *key, const char *value, struct error *e);

/* Prints on stdout which separation between the processes is missing; nothing as root with separate accounts. */
void run_plan_print_separation(const struct run_plan *p);

/* --- run_dirs --------------------------------------------------------------------------------- */

/* Makes DIR and takes its lock, so that it has one instance. 0 and *ret_lock, or -EBUSY and others with a sentence. */
int run_dirs_lock(const struct run_plan *p, int *ret_lock, struct error *e);

/* Makes the directories and the root key file where they are absent and checks owner and mode where they
 * are not. Never changes the owner of what exists, never follows a symbolic link. */
int run_dirs_make(const struct run_plan *p, struct error *e);

/* The log of a daemon, opened for appending. Descriptor or negative errno. */
int run_dirs_log(const struct run_plan *p, const struct run_row *row);

/* Prints the last lines of a daemon's log on stderr. */
void run_dirs_print_log(const struct run_plan *p, const struct run_row *row);

/* --- run_sockets ------------------------------------------------------------------------------ */

struct run_sockets {
    int http[2], api, ipc[ROLE_COUNT];   /* -1: none */
};

/* Opens all listening sockets; sets p->port (and HostUrl) when any free port was asked for. */
int run_sockets_open(struct run_sockets *s, struct run_plan *p, struct error *e);
/* Closes them and removes their names. */
void run_sockets_close(struct run_sockets *s, const struct run_plan *p);

/* --- run_kept --------------------------------------------------------------------------------- */

struct run_kept {
    struct { char name[RUN_NAME_MAX]; int fd; } items[RUN_KEPT_MAX];
    size_t n;
};

/* Keeps `fd` (owned from here on) under `name`; the same open file twice is kept once. 0, -EINVAL
 * (a name that LISTEN_FDNAMES cannot carry), -ENOSPC. */
int run_kept_add(struct run_kept *k, const char *name, int fd);
void run_kept_remove(struct run_kept *k, const char *name);
/* Drops descriptors whose far end is gone (a FUSE connection that was unmounted). */
void run_kept_prune(struct run_kept *k);
void run_kept_clear(struct run_kept *k);

/* --- run_notify ------------------------------------------------------------------------------- */

enum { RUN_NOTIFY_FDS_MAX = 8 };

/* A message as sd_notify(3) sends it. */
struct run_notice {
    pid_t sender;
    bool ready, stopping, watchdog, watchdog_trigger, store, unstore;
    char name[RUN_NAME_MAX];
    int fds[RUN_NOTIFY_FDS_MAX];   /* owned by whoever handles the notice; -1 once taken */
    size_t n_fds;
};

/* A datagram socket at `path` that `uid` may write to. Descriptor or negative errno. */
int run_notify_open(const char *path, uid_t uid, gid_t gid);
/* The next message: 1 and *ret (close what is left with run_notice_close()), 0 when there is none. */
int run_notify_read(int fd, struct run_notice *ret);
void run_notice_close(struct run_notice *n);
/* Parses the text of a message into *n. For tests. */
void run_notice_parse(struct run_notice *n, char *text);

/* --- run_limits ------------------------------------------------------------------------------- */

/* Starts this program anew, with the same arguments, unless the environment holds nothing but what the supervisor
 * reads: what else the starter had in it, keys perhaps, is not to be found in /proc for as long as an instance runs.
 * 0 or a negative errno. */
int run_limits_environment(char **argv);

/* What this process starts will never have other capabilities than these: the bounding set is cut, the inheritable
 * and ambient ones are emptied. Its own stay, to change the user with. 0 or a negative errno. Async-signal-safe. */
int run_limits_bound(uint64_t keep);
/* The same, and this process has no others either from here on. */
int run_limits_capabilities(uint64_t keep);

/* --- run_passphrase --------------------------------------------------------------------------- */

/* Descriptors for cryptd, for as long as the instance runs. */
struct run_passphrase {
    int now, next;              /* -1: none */
};

/* Asks, on the terminal or from stdin, for what the key store needs, and with `change` for what it is to be from now
 * on. 0 or a negative errno with a sentence. */
int run_passphrase_ask(struct run_passphrase *pass, const struct run_plan *p, bool change, struct error *e);
/* The next one who reads them begins at their beginning. */
void run_passphrase_rewind(const struct run_passphrase *pass);

/* --- run_spawn -------------------------------------------------------------------------------- */

struct run_launch {
    const char *binary;
    char *const *argv;
    char **env;                 /* ends in NULL; LISTEN_PID= and WATCHDOG_PID= get the pid, in RUN_PID_SLOT bytes */
    const int *fds;             /* become 3, 4, ... */
    size_t n_fds;
    int log;                    /* stdout and stderr */
    const struct run_account *account;
    gid_t extra_group;
    bool change_user, may_gain;
    uint64_t capabilities;
    rlim_t open_files;
};
enum { RUN_PID_SLOT = 40 };

/* The pid, or negative errno. When exec fails the child says so in its log and exits with 127. */
pid_t run_spawn(const struct run_launch *l);

/* Where the daemons are: beside this program (a build tree) or in the place they are installed. Caller frees. */
char *run_spawn_binary(const char *name);

/* --- run_process ------------------------------------------------------------------------------ */

struct run;

enum run_state {
    RUN_IDLE,        /* not started yet */
    RUN_STARTING,    /* started, not ready */
    RUN_READY,
    RUN_STOPPING,    /* told to end */
    RUN_BACKOFF,     /* died; started again when the timer fires */
    RUN_ENDED,       /* exited 0 or stopped: not started again */
};

struct run_process {
    const struct run_row *row;
    struct run *run;            /* borrowed */
    enum run_state state;
    pid_t pid;                  /* 0: none */
    int64_t started_ns;
    unsigned failures;          /* deaths in a row without a good stretch between */
    bool was_ready;             /* ever */
    int notify;
    struct event *notified, *timer;
    struct run_kept kept;
};

int run_process_init(struct run_process *p, struct run *run, const struct run_row *row, struct error *e);
void run_process_close(struct run_process *p);
void run_process_start(struct run_process *p);
void run_process_stop(struct run_process *p);
/* The process ended with this wait status. */
void run_process_died(struct run_process *p, int status);

/* --- run_mounts ------------------------------------------------------------------------------- */

/* Calls fn for every FUSE mount below `root` with its source (the drive's name) and mount point. */
void run_mounts_each(const char *root, void (*fn)(const char *source, const char *point, void *arg), void *arg);
/* Aborts and detaches all of them: open files fail. Returns how many were left afterwards. */
unsigned run_mounts_detach(const char *root);
/* A descriptor that is readable after the mount table changed, until run_mounts_drain(). Or negative errno. */
int run_mounts_watch(void);
void run_mounts_drain(int watch);

/* --- run_instance ----------------------------------------------------------------------------- */

/* Writes DIR/instance.json. */
int run_instance_write(const struct run *run, struct error *e);
void run_instance_remove(const struct run_plan *p);
/* Ends daemons and mounts that a supervisor which was killed left in DIR. */
int run_instance_clear_leftovers(const struct run_plan *p, struct error *e);

/* --- run -------------------------------------------------------------------------------------- */

struct run {
    struct run_plan plan;
    struct run_sockets sockets;
    struct run_passphrase passphrase;
    struct run_process processes[RUN_DAEMONS];
    struct loop *loop;
    struct event *child, *hangup, *mounts;
    int lock, mounts_watch;
    bool stopping, ready, failed;
};

/* A process changed its state: instance.json is written, what follows from it is done. */
void run_changed(struct run *run);
/* This daemon cannot be started: everything is stopped and the command fails. */
void run_give_up(struct run *run, const struct run_row *row);
