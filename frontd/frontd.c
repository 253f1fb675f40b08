/* Puts frontd together: the guard, the HTTP server and the three clients. */
#include "frontd/frontd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "frontd/feeds.h"
#include "frontd/http.h"
#include "frontd/proof.h"
#include "frontd/router.h"

static int open_peers(struct frontd *f, const struct frontd_spec *spec, struct error *e)
{
    for (enum role role = ROLE_NONE; role < ROLE_COUNT; role++) {
        struct ipc_client_spec client = {
            .role = ROLE_FRONTD,
            .peer = role,
            .path = spec->paths[role],
            .max_queue = (size_t)spec->config->ipc_queue_length,
            .event = role == ROLE_SYNCD ? feeds_event : NULL,
            .connected = role == ROLE_SYNCD ? feeds_connected : NULL,
            .arg = f->feeds,
        };

        if (!spec->paths[role])
            continue;
        f->peers[role] = ipc_client_new(f->loop, &client);
        if (!f->peers[role])
            return error_set(e, -ENOMEM, "There is no memory left.");
    }
    return 0;
}

static int fill(struct frontd *f, const struct frontd_spec *spec, struct error *e)
{
    const struct config *c = spec->config;
    struct http_spec http = {
        .ops = &router_ops,
        .arg = f,
        .max_header_bytes = (size_t)c->max_header_bytes,
        .max_body_bytes = (size_t)c->max_body_bytes,
        .max_connections = (size_t)c->max_connections,
        .max_switched = (size_t)c->max_web_sockets,
        .timeout_seconds = (unsigned)c->http_timeout_seconds,
    };
    uint16_t port;
    int r;

    f->changes.per_second = (uint64_t)c->changes_per_second;
    if ((r = config_host_port(c, &port, e)) < 0)
        return r;
    if ((r = guard_init(&f->guard, port, spec->served_uid, c->cors_origins, e)) < 0)
        return r;
    f->diag = peer_open_diag();
    if (f->diag < 0)
        return error_set(e, f->diag, "The kernel's socket diagnostics cannot be opened (%s); without them nobody can "
                                     "be told who calls.", strerror(-f->diag));
    f->http = http_server_new(spec->loop, &http);
    f->feeds = feeds_new(f);
    f->proofs = xcalloc(1, sizeof(*f->proofs));
    return open_peers(f, spec, e);
}

int frontd_new(const struct frontd_spec *spec, struct frontd **ret, struct error *e)
{
    struct frontd *f = xcalloc(1, sizeof(*f));
    int r;

    f->loop = spec->loop;
    f->config = spec->config;
    f->diag = -1;
    if ((r = fill(f, spec, e)) < 0) {
        frontd_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

/* The port of a loopback address, 0 for any other. */
static uint16_t loopback_port(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

    if (a->ss_family == AF_INET && ntohl(v4->sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET)
        return ntohs(v4->sin_port);
    if (a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr))
        return ntohs(v6->sin6_port);
    return 0;
}

int frontd_listen(struct frontd *f, int fd, struct error *e)
{
    struct sockaddr_storage a = { 0 };
    socklen_t len = sizeof(a);

    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 ||
        (a.ss_family != AF_UNIX && loopback_port(&a) != f->guard.port)) {
        (void)close(fd);
        return error_set(e, -EINVAL, "A socket given to frontd is not on a loopback address with port %u; the socket "
                                     "and HostUrl must agree.", f->guard.port);
    }
    return http_server_listen(f->http, fd) == 0 ? 0 : error_set(e, -ENOMEM, "There is no memory left.");
}

static void stopped(void *arg)
{
    struct frontd *f = arg;

    loop_exit(f->loop, EXIT_SUCCESS);
}

void frontd_stop(struct frontd *f)
{
    if (f->stopping)
        return;
    f->stopping = loop_timer(f->loop, FRONTD_STOP_SECONDS * 1000, stopped, f);
    feeds_close(f->feeds);
    http_server_stop(f->http, stopped, f);
}

void frontd_free(struct frontd *f)
{
    if (!f)
        return;
    /* Open exchanges withdraw their questions, so the clients go after them. */
    http_server_free(f->http);
    for (enum role role = ROLE_NONE; role < ROLE_COUNT; role++)
        if (f->peers[role])
            ipc_client_free(f->peers[role]);
    feeds_free(f->feeds);
    free(f->proofs);
    loop_timer_free(f->stopping);
    if (f->diag >= 0)
        (void)close(f->diag);
    free(f);
}
