/* The prologue every daemon shares: arguments, clean environment, logging, configuration, the
 * sockets it inherits, readiness. A daemon's main() reads:
 *
 *   struct daemon d;
 *   if ((r = daemon_begin(&d, ROLE_CRYPTD, argc, argv)) != 0) return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
 *   ... open what is needed, sandbox ...
 *   status = daemon_run(&d);
 *   ... free what has events on the loop ...
 *   daemon_end(&d);
 *   return status;
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "common/config.h"
#include "common/error.h"
#include "common/ipc.h"
#include "common/loop.h"

enum { DAEMON_SOCKETS_MAX = 256 };

struct daemon {
    enum role role;
    struct config *config;
    struct loop *loop;
    struct {
        const char *name;         /* from LISTEN_FDNAMES */
        int fd;                   /* -1 once taken */
    } sockets[DAEMON_SOCKETS_MAX];
    size_t n_sockets;
    uid_t served_uid;             /* of config->user */
    gid_t served_gid;
    struct ipc_peer_uid peers[8]; /* which uid may claim which role, from the configuration */
    size_t n_peers;
    uint64_t watchdog_usec;       /* how long the supervisor waits for a ping; 0: it does not */
};

/* Parses --config FILE and --set Key=value (repeatable), --help, --version; removes everything
 * from the environment but CREDENTIALS_DIRECTORY, HOME, USER, PATH and what the supervisor says through it,
 * which children do not inherit; sets umask 077; collects the sockets of sd_listen_fds_with_names(3);
 * raises the descriptor limit to OpenFiles where files are held; starts the loop (with pool threads in
 * syncd, mountd and cryptd). Returns 0 to go on, 1 when --help or --version was served, negative errno
 * after printing the sentence on stderr. */
int daemon_begin(struct daemon *d, enum role role, int argc, char **argv);

/* The inherited descriptor of that name, the caller's from now on, or -1. With several of one
 * name call again. The supervisor names them "http" (TCP), "api" (the API's Unix socket), "ipc". */
int daemon_take_socket(struct daemon *d, const char *name);

/* "<RuntimeDir>/<role>.sock". Static storage per role; daemon_begin() has seen to it that it fits. */
const char *daemon_socket_path(const struct daemon *d, enum role role);

/* READY=1 to the supervisor, watchdog pings when asked for, loop_run(). Returns the process's exit status. */
int daemon_run(struct daemon *d);

/* Frees what daemon_begin() made: loop, configuration, sockets nobody took. After everything that has
 * events on the loop is freed; a main that returns at once may leave it out. */
void daemon_end(struct daemon *d);

/* Keeps `fd` in the supervisor under `name` (sd_notify(3), FDSTORE=1), to be found by
 * daemon_take_socket() after a restart; or removes what is kept under it. 0 or negative errno;
 * -ENOTCONN without a supervisor. */
int daemon_store_fd(const char *name, int fd);
int daemon_unstore_fd(const char *name);
