/* frontd: the HTTP API. Takes the inherited sockets, locks itself in, and serves. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/number.h"
#include "common/process.h"
#include "frontd/filter.h"
#include "frontd/frontd.h"

enum { OTHER_FILES = 64 };

static int listen_everywhere(struct frontd *f, struct daemon *d, struct error *e)
{
    static const char *const names[] = { "http", "api" };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        for (int fd = daemon_take_socket(d, names[i]); fd >= 0; fd = daemon_take_socket(d, names[i]), n++) {
            int r = frontd_listen(f, fd, e);

            if (r < 0)
                return r;
        }
    }
    if (!n)
        return error_set(e, -EINVAL, "There is no socket named http or api; frontd is started by systemd or "
                                     "`landfall run`.");
    return 0;
}

/* A connection that streams holds its pipe too; one that listens does not. An eighth more may be another user's. */
static void raise_file_limit(const struct config *c)
{
    rlim_t most = (rlim_t)c->max_connections + (rlim_t)c->max_connections / 8;
    rlim_t want = 2 * most + (rlim_t)c->max_web_sockets + OTHER_FILES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = least(want, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        LOG(LOG_WARNING, "file_limit_kept", "error=%s", strerror(errno));
}

static void on_stop(void *arg)
{
    frontd_stop(arg);
}

static int serve(struct daemon *d, struct error *e)
{
    struct frontd_spec spec = { .loop = d->loop, .config = d->config, .served_uid = d->served_uid };
    struct frontd *f;
    int r;

    spec.paths[ROLE_SYNCD] = daemon_socket_path(d, ROLE_SYNCD);
    spec.paths[ROLE_MOUNTD] = daemon_socket_path(d, ROLE_MOUNTD);
    spec.paths[ROLE_CRYPTD] = daemon_socket_path(d, ROLE_CRYPTD);
    raise_file_limit(d->config);
    (void)process_lock_memory();   /* identities that are exported or imported pass through it */
    if ((r = frontd_new(&spec, &f, e)) < 0)
        return r;
    r = listen_everywhere(f, d, e);
    if (r == 0)
        r = frontd_sandbox(e);
    if (r == 0) {
        loop_on_stop(d->loop, on_stop, f);
        r = daemon_run(d);
    }
    frontd_free(f);
    return r;
}

int main(int argc, char **argv)
{
    struct error e = { 0 };
    struct daemon d;
    int r = daemon_begin(&d, ROLE_FRONTD, argc, argv);

    if (r != 0)
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    r = serve(&d, &e);
    if (r < 0)
        LOG(LOG_ERR, "not_started", "reason=%s", error_text(&e));
    daemon_end(&d);
    return r < 0 ? EXIT_FAILURE : r;
}
