/* landfall-mountd: configuration into facts, then mountd.h. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/log.h"
#include "mountd/mountd.h"
#include "mountd/spawn.h"

/* MountRoot, or Landfall in the served user's home. Owned by the caller; NULL with a sentence. */
static char *find_mount_root(const struct daemon *d, struct error *e)
{
    const struct passwd *pw = d->config->mount_root[0] ? NULL : getpwuid(d->served_uid);
    char *root = NULL;

    if (d->config->mount_root[0])
        root = strdup(d->config->mount_root);
    else if (pw && asprintf(&root, "%s/Landfall", pw->pw_dir) < 0)
        root = NULL;
    if (!root)
        (void)error_set(e, -ENOENT, "The served user has no home directory: set MountRoot in the configuration.");
    else if (root[0] != '/') {
        (void)error_set(e, -EINVAL, "MountRoot must be an absolute path, and %s is not.", root);
        free(take_ptr(root));
    }
    return root;
}

/* As root, workers must not be: they take their orders from file names in a cloud. */
static int find_worker_user(const struct daemon *d, struct mountd_spec *spec, struct error *e)
{
    const char *name = d->config->worker_user;
    const struct passwd *pw = name[0] ? getpwnam(name) : NULL;

    spec->change_user = spec->privileged;
    if (!spec->privileged)
        return 0;
    if (!name[0])
        return error_set(e, -EINVAL, "WorkerUser is not set: name the account that drive workers run as.");
    if (!pw || pw->pw_uid == 0)
        return error_set(e, -EINVAL, "WorkerUser %s is no account that drive workers can run as.", name);
    spec->worker_uid = pw->pw_uid;
    spec->worker_gid = pw->pw_gid;
    return 0;
}

static int start(struct daemon *d, const struct mountd_spec *spec, struct mountd **ret, struct error *e)
{
    int ipc = daemon_take_socket(d, "ipc"), r = mountd_new(spec, ret, e);
    struct kept k;

    if (r < 0)
        return r;
    if (ipc >= 0 && (r = mountd_listen(*ret, ipc)) < 0)
        return error_set(e, r, "mountd cannot listen on its socket: %s.", strerror(-r));
    r = mountd_sandbox(spec->privileged, e);
    while (r == 0 && kept_take(d, &k))
        mountd_adopt(*ret, &k);
    return r;
}

static void on_stop(void *arg)
{
    mountd_stop(arg);
}

static int run(struct daemon *d, struct error *e)
{
    CLEANUP_FREE char *root = find_mount_root(d, e);
    struct mountd_spec spec = {
        .loop = d->loop, .privileged = geteuid() == 0, .mount_root = root, .served_uid = d->served_uid,
        .served_gid = d->served_gid, .worker_binary = spawn_find_worker(),
        .syncd_path = daemon_socket_path(d, ROLE_SYNCD), .peers = d->peers, .n_peers = d->n_peers, .config = d->config,
    };
    struct mountd *m = NULL;
    int r = root ? find_worker_user(d, &spec, e) : e->code;

    if (r == 0)
        r = start(d, &spec, &m, e);
    if (r == 0) {
        loop_on_stop(d->loop, on_stop, m);
        r = daemon_run(d);
    }
    mountd_free(m);
    return r;
}

int main(int argc, char **argv)
{
    struct daemon d;
    struct error e = { 0 };
    int r = daemon_begin(&d, ROLE_MOUNTD, argc, argv);

    if (r != 0)
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    r = run(&d, &e);
    if (e.code)
        LOG(LOG_CRIT, "not_started", "error=%s", error_text(&e));
    daemon_end(&d);
    return e.code ? EXIT_FAILURE : r;
}
