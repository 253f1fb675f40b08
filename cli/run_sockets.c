/* The listening sockets of an instance. They outlive the daemons: while one restarts, its callers
 * wait in the backlog instead of being refused. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { PORT_TRIES = 16 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address loopback(int family, uint16_t port)
{
    if (family == AF_INET)
        return (union address){ .v4 = { .sin_family = AF_INET, .sin_port = htons(port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
    return (union address){ .v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port),
                                    .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
}

/* Descriptor or negative errno. */
static int listen_loopback(int family, uint16_t port)
{
    CLEANUP_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    union address a = loopback(family, port);
    socklen_t size = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
    int one = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -errno;
    if (family == AF_INET6 && (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0 ||
                               setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one)) < 0))
        return -errno;
    if (bind(fd, &a.any, size) < 0 || listen(fd, RUN_LISTEN_BACKLOG) < 0)
        return -errno;
    return take_fd(&fd);
}

static uint16_t bound_port(int fd)
{
    union address a;
    socklen_t size = sizeof(a);

    return getsockname(fd, &a.any, &size) == 0 ? ntohs(a.v4.sin_port) : 0;
}

/* Whether the machine simply has no IPv6. Where it has and only the address is not there, it may be one day: then it is
 * to be ours. */
static bool without_ipv6(int r)
{
    return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL || r == -EPROTONOSUPPORT;
}

/* Both loopback addresses at one port. Another program on either could pass for us. */
static int open_http_at(struct run_sockets *s, uint16_t port)
{
    int v4 = listen_loopback(AF_INET, port);
    int v6 = v4 < 0 ? v4 : listen_loopback(AF_INET6, port ? port : bound_port(v4));

    if (v4 < 0)
        return v4;
    if (v6 < 0 && !without_ipv6(v6)) {
        (void)close(v4);
        return v6;
    }
    if (v6 < 0)
        LOG(LOG_NOTICE, "no_ipv6_loopback", "error=%s", strerror(-v6));
    s->http[0] = v4;
    s->http[1] = v6 < 0 ? -1 : v6;
    return 0;
}

static int open_http(struct run_sockets *s, struct run_plan *p, struct error *e)
{
    char url[64];
    int r = -EADDRINUSE;

    for (int i = 0; r == -EADDRINUSE && i < (p->port ? 1 : PORT_TRIES); i++)
        r = open_http_at(s, p->port);
    if (r == -EADDRINUSE)
        return error_set(e, r, "Port %d on this machine's loopback address is taken by another program; stop that one, "
                         "or choose another port with --port N.", p->port);
    if (r < 0)
        return error_set(e, r, "Port %d cannot be opened: %s.", p->port, strerror(-r));
    if (p->port)
        return 0;
    p->port = bound_port(s->http[0]);
    (void)snprintf(url, sizeof(url), "http://localhost:%d", p->port);
    return run_plan_set(p, "HostUrl", url, e);
}

/* --- Unix sockets ----------------------------------------------------------------------------- */

static int bind_unix(int fd, const char *path, struct error *e)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    mode_t mask;
    int r;

    if (strlen(path) >= sizeof(a.sun_path))
        return error_set(e, -ENAMETOOLONG, "%s is too long for a socket (%zu bytes at most); choose a shorter --dir.",
                         path, sizeof(a.sun_path) - 1);
    strcpy(a.sun_path, path);
    (void)unlink(path);
    mask = umask(0177);
    r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    (void)umask(mask);
    return r < 0 ? error_set(e, r, "The socket %s cannot be made: %s.", path, strerror(-r)) : 0;
}

static int listen_unix(const struct run_plan *p, const char *name, int type, mode_t mode, int *ret, struct error *e)
{
    CLEANUP_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CLEANUP_FREE char *path = NULL;
    int r;

    if (fd < 0 || asprintf(&path, "%s/%s.sock", p->config->runtime_dir, name) < 0)
        return -ENOMEM;
    r = bind_unix(fd, path, e);
    if (r < 0)
        return r;
    if (chown(path, geteuid(), p->group) < 0 || chmod(path, mode) < 0 || listen(fd, RUN_LISTEN_BACKLOG) < 0)
        return error_set(e, -errno, "The socket %s cannot be opened: %m.", path);
    *ret = take_fd(&fd);
    return 0;
}

int run_sockets_open(struct run_sockets *s, struct run_plan *p, struct error *e)
{
    int r;

    *s = (struct run_sockets){ .http = { -1, -1 }, .api = -1 };
    memset(s->ipc, -1, sizeof(s->ipc));
    r = open_http(s, p, e);
    if (r == 0)
        r = listen_unix(p, "api", SOCK_STREAM, p->root ? 0666 : 0600, &s->api, e);
    for (size_t i = 0; r == 0 && i < RUN_DAEMONS; i++)
        if (run_rows[i].sockets & RUN_SOCKET_IPC)
            r = listen_unix(p, run_rows[i].name, SOCK_SEQPACKET, p->root ? 0660 : 0600, &s->ipc[run_rows[i].role], e);
    return r;
}

static void remove_unix(const struct run_plan *p, const char *name)
{
    CLEANUP_FREE char *path = NULL;

    if (asprintf(&path, "%s/%s.sock", p->config->runtime_dir, name) > 0)
        (void)unlink(path);
}

static void close_one(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

void run_sockets_close(struct run_sockets *s, const struct run_plan *p)
{
    close_one(s->http[0]);
    close_one(s->http[1]);
    close_one(s->api);
    remove_unix(p, "api");
    for (size_t i = 0; i < RUN_DAEMONS; i++) {
        if (!(run_rows[i].sockets & RUN_SOCKET_IPC))
            continue;
        close_one(s->ipc[run_rows[i].role]);
        remove_unix(p, run_rows[i].name);
    }
}
