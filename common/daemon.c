/* Owns what every daemon does before and around its own work: arguments, environment, inherited
 * sockets, who its peers are, readiness and watchdog.
 *
 * Must not know any daemon's business.
 */
#include "common/daemon.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/number.h"
#include "common/process.h"

enum { BEGIN_SERVED = 1, FD_NAME_MAX = 255 };

/* What differs between the roles before their own code runs. Threads are for those that do blocking
 * work, many descriptors for those that hold files. */
static const struct {
    bool pool, many_files;
} traits[ROLE_COUNT] = {
    [ROLE_SYNCD] = { .pool = true, .many_files = true },
    [ROLE_MOUNTD] = { .pool = true, .many_files = true },
    [ROLE_CRYPTD] = { .pool = true },
};

/* --- arguments and environment ----------------------------------------------------------------- */

struct arguments {
    const char *config;
    const char **sets;        /* owned array of borrowed strings */
    size_t n_sets;
    bool help, version;
};

static int parse(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' }, { "set", required_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },         { "version", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    a->sets = xcalloc((size_t)argc, sizeof(*a->sets));
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c')
            a->config = optarg;
        else if (option == 's')
            a->sets[a->n_sets++] = optarg;
        else if (option == 'h')
            a->help = true;
        else if (option == 'v')
            a->version = true;
        else
            return -EINVAL;
    }
    return optind == argc ? 0 : -EINVAL;
}

static void print_usage(FILE *f, enum role role)
{
    (void)fprintf(f,
                  "usage: landfall-%s [--config FILE] [--set Key=value]...\n"
                  "Started by the supervisor with its sockets; `landfall config` lists the keys.\n",
                  role_name(role));
}

/* What a library would read from the environment is not for the caller to choose. */
static int clean_environment(void)
{
    static const char *const kept[] = {
        "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
        "CREDENTIALS_DIRECTORY", "HOME", "USER", "PATH",
    };
    char *values[ARRAY_SIZE(kept)];
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        values[i] = xstrdup(getenv(kept[i]));
    (void)clearenv();
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        if (values[i] && setenv(kept[i], values[i], 1) < 0)
            r = -errno;
        free(values[i]);
    }
    return r;
}

/* --- users ------------------------------------------------------------------------------------- */

static int find_user(const char *name, const char *key, uid_t *uid, gid_t *gid, struct error *e)
{
    const struct passwd *pw;

    errno = 0;
    pw = getpwnam(name);
    if (!pw)
        return error_set(e, -EINVAL, "There is no user %s, whom the setting %s names; create it or change the setting.",
                         name, key);
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return 0;
}

static int find_peers(struct daemon *d, struct error *e)
{
    const struct config *c = d->config;
    const struct {
        enum role role;
        const char *user, *key;
    } rows[] = {
        { ROLE_SYNCD, "", "User" },
        { ROLE_FRONTD, c->frontd_user, "FrontdUser" },
        { ROLE_MOUNTD, c->mountd_user, "MountdUser" },
        { ROLE_CRYPTD, c->cryptd_user, "CryptdUser" },
        { ROLE_WORKER, c->worker_user[0] ? c->worker_user : c->mountd_user, "WorkerUser" },
    };
    int r;

    d->served_uid = getuid();
    d->served_gid = getgid();
    if (c->user[0] && (r = find_user(c->user, "User", &d->served_uid, &d->served_gid, e)) < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uid_t uid = d->served_uid;
        gid_t gid;

        if (rows[i].user[0] && (r = find_user(rows[i].user, rows[i].key, &uid, &gid, e)) < 0)
            return r;
        d->peers[d->n_peers++] = (struct ipc_peer_uid){ rows[i].role, uid };
    }
    return 0;
}

/* --- sockets ----------------------------------------------------------------------------------- */

static int collect_sockets(struct daemon *d, struct error *e)
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names);

    if (n < 0)
        return error_set(e, n, "The inherited sockets cannot be used: %s.", strerror(-n));
    for (int i = 0; i < n; i++) {
        if (d->n_sockets == DAEMON_SOCKETS_MAX) {
            (void)close(SD_LISTEN_FDS_START + i);
            free(names[i]);
            continue;
        }
        d->sockets[d->n_sockets].name = names[i];
        d->sockets[d->n_sockets++].fd = SD_LISTEN_FDS_START + i;
    }
    if (n > DAEMON_SOCKETS_MAX)
        LOG(LOG_ERR, "sockets_dropped", "number=%d", n - DAEMON_SOCKETS_MAX);
    free(names);
    return 0;
}

int daemon_take_socket(struct daemon *d, const char *name)
{
    for (size_t i = 0; i < d->n_sockets; i++)
        if (d->sockets[i].fd >= 0 && strcmp(d->sockets[i].name, name) == 0)
            return take_fd(&d->sockets[i].fd);
    return -1;
}

const char *daemon_socket_path(const struct daemon *d, enum role role)
{
    static char paths[ROLE_COUNT][sizeof(((struct sockaddr_un *)0)->sun_path)];

    (void)snprintf(paths[role], sizeof(paths[role]), "%s/%s.sock", d->config->runtime_dir, role_name(role));
    return paths[role];
}

static int check_runtime_dir(const struct config *c, struct error *e)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("/frontd.sock");

    if (c->runtime_dir[0] != '/')
        return error_set(e, -EINVAL, "RuntimeDir must be an absolute path; set it in the configuration.");
    if (strlen(c->runtime_dir) > most)
        return error_set(e, -ENAMETOOLONG, "RuntimeDir %s is longer than the %zu characters a socket's path allows.",
                         c->runtime_dir, most);
    return 0;
}

/* --- beginning --------------------------------------------------------------------------------- */

static void raise_file_limit(const struct config *c)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = least((rlim_t)c->open_files, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        LOG(LOG_WARNING, "file_limit_kept", "error=%s", strerror(errno));
}

static int prepare(struct daemon *d, const struct arguments *a, struct error *e)
{
    int r;

    r = clean_environment();
    if (r == 0)
        r = config_load(a->config, a->sets, a->n_sets, &d->config, e);
    if (r < 0)
        return r;
    log_init(role_name(d->role), (int)d->config->log_level);
    if ((r = check_runtime_dir(d->config, e)) < 0 || (r = find_peers(d, e)) < 0 || (r = collect_sockets(d, e)) < 0)
        return r;
    if ((r = notify_open()) < 0)
        return error_set(e, r, "The supervisor's notification socket cannot be reached: %s.", strerror(-r));
    if (sd_watchdog_enabled(1, &d->watchdog_usec) <= 0)
        d->watchdog_usec = 0;
    if (traits[d->role].many_files)
        raise_file_limit(d->config);
    d->loop = loop_new(traits[d->role].pool ? (unsigned)d->config->pool_threads : 0);
    return d->loop ? 0 : error_set(e, -ENOMEM, "The event loop could not be started.");
}

int daemon_begin(struct daemon *d, enum role role, int argc, char **argv)
{
    struct arguments a = { 0 };
    struct error e = { 0 };
    int r;

    *d = (struct daemon){ .role = role };
    (void)umask(077);
    log_init(role_name(role), LOG_INFO);
    process_begin(role_name(role));
    r = parse(&a, argc, argv);
    if (r < 0 || a.help)
        print_usage(r < 0 ? stderr : stdout, role);
    else if (a.version)
        (void)printf("landfall-%s %s\n", role_name(role), PACKAGE_VERSION);
    else if ((r = prepare(d, &a, &e)) < 0)
        (void)fprintf(stderr, "landfall-%s: %s\n", role_name(role), error_text(&e));
    free(a.sets);
    if (r < 0)
        daemon_end(d);
    return r == 0 && (a.help || a.version) ? BEGIN_SERVED : r;
}

/* --- running ----------------------------------------------------------------------------------- */

struct watchdog {
    struct loop *loop;
    struct loop_timer *timer;
    uint64_t ms;              /* half of what the supervisor waits */
};

static void on_watchdog(void *arg)
{
    struct watchdog *w = arg;

    notify_ping();
    loop_timer_free(w->timer);
    w->timer = loop_timer(w->loop, w->ms, on_watchdog, w);
}

int daemon_run(struct daemon *d)
{
    struct watchdog w = { .loop = d->loop, .ms = d->watchdog_usec / 2000 };
    int status;

    if (w.ms > 0)
        w.timer = loop_timer(w.loop, w.ms, on_watchdog, &w);
    (void)notify_send("READY=1", -1);
    LOG(LOG_INFO, "ready");
    status = loop_run(d->loop);
    (void)notify_send("STOPPING=1", -1);
    LOG(LOG_INFO, "stopped", "status=%d", status);
    loop_timer_free(w.timer);
    return status;
}

void daemon_end(struct daemon *d)
{
    for (size_t i = 0; i < d->n_sockets; i++) {
        free((char *)d->sockets[i].name);
        if (d->sockets[i].fd >= 0)
            (void)close(d->sockets[i].fd);
    }
    notify_close();
    loop_free(d->loop);
    config_free(d->config);
    *d = (struct daemon){ .role = d->role };
}

/* --- what outlives the process ----------------------------------------------------------------- */

static int notify_name(const char *what, const char *name, int fd)
{
    char lines[FD_NAME_MAX + 64];

    if (!name[0] || strlen(name) > FD_NAME_MAX || strpbrk(name, ":\n"))
        return -EINVAL;
    (void)snprintf(lines, sizeof(lines), "%s=1\nFDNAME=%s", what, name);
    return notify_send(lines, fd);
}

int daemon_store_fd(const char *name, int fd)
{
    return notify_name("FDSTORE", name, fd);
}

int daemon_unstore_fd(const char *name)
{
    return notify_name("FDSTOREREMOVE", name, -1);
}
