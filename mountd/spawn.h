/* Starting a worker process: a fresh program with nothing inherited but standard error and the
 * control channel. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

struct spawn_spec {
    const char *binary;
    int control;            /* becomes CONTROL_FD; stays the caller's */
    bool change_user;       /* to uid and gid, without supplementary groups */
    uid_t uid;
    gid_t gid;
    rlim_t open_files;      /* lowered to what the hard limit allows */
};

/* The pid, or negative errno. When the program cannot be executed the child exits with 127. It dies with mountd. */
pid_t spawn_worker(const struct spawn_spec *spec);

/* Where landfall-worker is: beside the running program (a build tree) or where it is installed. Static storage. */
const char *spawn_find_worker(void);
