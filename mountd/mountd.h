/* The mount daemon's body: it makes the mounts of this machine what syncd's list says, within what
 * its own configuration allows, and keeps a worker running for each.
 *
 *   desired.c      the list: asking for it, telling drives what is wanted, reporting back
 *   drive.c        one drive: mounted, unmounted, mounted again
 *   child.c        its worker: started, connected to syncd, started again
 *   mountd.c       the daemon: its peers, its orderly end
 *   metrics.c      numbers for GET /metrics
 *   mount.c, mount_point.c, fusermount.c   the kernel's side of a mount
 *   backing.c      cache files that the kernel reads by itself, registered for workers
 *   kept.c         what survives mountd
 *   spawn.c        fork and exec of a worker
 *   filter.c       what the process may still do
 *
 * No network, no file contents, nothing from a cloud is read here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/config.h"
#include "common/ipc.h"
#include "common/loop.h"
#include "common/text.h"
#include "mountd/kept.h"

struct mountd_spec {
    struct loop *loop;
    bool privileged;                  /* mounts by itself and gives workers a user of their own */
    const char *mount_root;           /* borrowed */
    uid_t served_uid;
    gid_t served_gid;
    bool change_user;                 /* workers run as these */
    uid_t worker_uid;
    gid_t worker_gid;
    const char *worker_binary;        /* borrowed */
    const char *syncd_path;           /* borrowed: syncd's socket */
    const struct ipc_peer_uid *peers; /* borrowed; who may ask us */
    size_t n_peers;
    const struct config *config;      /* borrowed: limits, deadlines, log level */
};

struct mountd;

/* 0 and *ret, or a negative errno with a sentence. Asks syncd for the list at once. */
int mountd_new(const struct mountd_spec *spec, struct mountd **ret, struct error *e);
/* Leaves what is mounted mounted; its workers end. NULL is fine. */
void mountd_free(struct mountd *m);

/* Answers on this listening socket, owned from here on. 0 or negative errno. */
int mountd_listen(struct mountd *m, int fd);

/* Goes on with a drive that an earlier mountd mounted; takes over what is in *k. */
void mountd_adopt(struct mountd *m, struct kept *k);

/* Unmounts everything and stops the workers, then ends the loop with status 0. */
void mountd_stop(struct mountd *m);

/* --- filter.c ------------------------------------------------------------------------------------ */

/* Drops all capabilities but those for mounting and for workers, and loads the system call filter, which workers
 * inherit. As an ordinary user it only says so in the log: fusermount3 could not gain its rights. */
int mountd_sandbox(bool privileged, struct error *e);
