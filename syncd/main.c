/* landfall-syncd: configuration into facts, then syncd.h. */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "syncd/drive.h"
#include "syncd/filter.h"
#include "syncd/syncd.h"

static int open_daemon(struct daemon *d, struct syncd **ret, struct error *e)
{
    const struct passwd *pw = getpwuid(d->served_uid);
    struct syncd_spec spec = {
        .loop = d->loop,
        .config = d->config,
        .uid = d->served_uid,
        .gid = d->served_gid,
        .home = pw ? pw->pw_dir : NULL,
        .cryptd_path = daemon_socket_path(d, ROLE_CRYPTD),
        .peers = d->peers,
        .n_peers = d->n_peers,
    };

    if (geteuid() != d->served_uid)
        return error_set(e, -EPERM, "syncd runs as uid %d but serves uid %d; it must run as the user it serves.",
                         (int)geteuid(), (int)d->served_uid);
    return syncd_new(&spec, ret, e);
}

static int listen_for_peers(struct daemon *d, struct syncd *s, struct error *e)
{
    int fd, n = 0, r;

    for (; (fd = daemon_take_socket(d, "ipc")) >= 0; n++) {
        r = ipc_server_listen(s->server, fd);
        if (r < 0)
            return error_set(e, r, "syncd cannot listen on its socket: %s.", strerror(-r));
    }
    return n ? 0 : error_set(e, -ENOTCONN, "syncd was given no socket; it is started by landfall run or systemd.");
}

static void leave(void *arg)
{
    struct syncd *s = arg;

    loop_exit(s->loop, EXIT_SUCCESS);
}

/* Everybody is served until then. */
static void on_stop(void *arg)
{
    drive_tell_all(arg, leave, arg);
}

static int run(struct daemon *d, struct error *e)
{
    struct syncd *s = NULL;
    int status = 0, r = sandbox_undumpable(e);

    if (r == 0)
        r = open_daemon(d, &s, e);
    if (r == 0)
        r = listen_for_peers(d, s, e);
    if (r == 0)
        r = filter_load(e);
    if (r == 0) {
        loop_on_stop(d->loop, on_stop, s);
        status = daemon_run(d);
    }
    syncd_free(s);
    return r < 0 ? r : status;
}

/* A damaged or newer database needs a person; starting again does not help. */
static int exit_status(int code)
{
    return code == -EUCLEAN || code == -EPROTONOSUPPORT ? EX_CONFIG : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct daemon d;
    struct error e = { 0 };
    int r = daemon_begin(&d, ROLE_SYNCD, argc, argv);

    if (r != 0)
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    r = run(&d, &e);
    if (r < 0)
        LOG(LOG_CRIT, "not_started", "error=%s", error_text(&e));
    daemon_end(&d);
    return r < 0 ? exit_status(r) : r;
}
