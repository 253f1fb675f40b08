/* Owns the answering end: listening sockets, who is let in and who is refused.
 *
 * Must not know what is said once a peer is in.
 */
#include "common/ipc_peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

enum {
    TURN_ACCEPTS = 16,
    ACCEPT_PAUSE_MS = 100,     /* when descriptors or memory ran out */
    REFUSALS_PER_SECOND = 10,  /* logged; more are only counted */
};

/* --- refusals ------------------------------------------------------------------------------ */

void ipc_server_refuse(struct ipc_server *s, enum role role, uint32_t uid, const char *why)
{
    int64_t second = loop_now_ns() / 1000000000;

    s->refused++;
    if (second != s->refused_second) {
        s->refused_second = second;
        s->refused_in_second = 0;
    }
    if (++s->refused_in_second > REFUSALS_PER_SECOND)
        return;
    LOG(LOG_WARNING, "ipc_refused", "peer=%s", role_name(role), "uid=%" PRIu32, uid, "reason=%s", why,
        "refused=%" PRIu64, s->refused);
}

bool ipc_server_uid_may_be(const struct ipc_server *s, uint32_t uid, enum role role)
{
    for (size_t i = 0; i < s->spec.n_peers; i++)
        if (s->spec.peers[i].uid == uid && (role == ROLE_NONE || s->spec.peers[i].role == role))
            return true;
    return false;
}

/* --- accepting ----------------------------------------------------------------------------- */

/* Each role has its part of the connections, so that one whose process was taken over does not keep out the others. */
static size_t share_of(const struct ipc_server *s, uint32_t uid)
{
    size_t roles = 0, share;

    for (size_t i = 0; i < s->spec.n_peers; i++)
        roles += s->spec.peers[i].uid == uid;
    share = s->spec.max_connections * roles / s->spec.n_peers;
    return share ? share : 1;
}

static size_t accepted_of(const struct ipc_server *s, uint32_t uid)
{
    const struct ipc_peer *p;
    size_t n = 0;

    TAILQ_FOREACH (p, &s->peers, next)
        n += p->fixed == ROLE_NONE && p->uid == uid;
    return n;
}

static void welcome(struct ipc_server *s, int fd)
{
    struct ucred cred = { 0 };
    socklen_t len = sizeof(cred);
    const char *why = NULL;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        why = "peer without credentials";
    else if (!ipc_server_uid_may_be(s, cred.uid, ROLE_NONE))
        why = "uid that has no role here";
    else if (accepted_of(s, cred.uid) >= share_of(s, cred.uid))
        why = "too many connections";
    if (why) {
        ipc_server_refuse(s, ROLE_NONE, cred.uid, why);
        (void)close(fd);
    } else if (!ipc_peer_new(s, fd, ROLE_NONE, cred.uid, NULL)) {
        LOG(LOG_ERR, "ipc_accept_failed", "error=%s", "out of memory");
    }
}

static void on_pause_over(void *arg)
{
    struct ipc_server *s = arg;

    loop_timer_free(s->pause);
    s->pause = NULL;
    for (size_t i = 0; i < s->n_listeners; i++)
        (void)event_add(s->listeners[i], NULL);
}

/* The waiting connection keeps the listener readable: without a pause the loop would spin. */
static void pause_accepting(struct ipc_server *s, int error)
{
    int64_t second = loop_now_ns() / 1000000000;

    if (second != s->failed_second)
        LOG(LOG_ERR, "ipc_accept_failed", "error=%s", strerror(error));
    s->failed_second = second;
    s->pause = loop_timer(s->loop, ACCEPT_PAUSE_MS, on_pause_over, s);
    for (size_t i = 0; s->pause && i < s->n_listeners; i++)
        (void)event_del(s->listeners[i]);
}

static void on_connection(evutil_socket_t listener, short what, void *arg)
{
    struct ipc_server *s = arg;

    (void)what;
    for (int i = 0; i < TURN_ACCEPTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            welcome(s, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN)
                pause_accepting(s, errno);
            return;
        }
    }
}

/* --- the interface ------------------------------------------------------------------------- */

struct ipc_server *ipc_server_new(struct loop *l, const struct ipc_server_spec *spec)
{
    struct ipc_server *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->loop = l;
    s->spec = *spec;
    TAILQ_INIT(&s->peers);
    return s;
}

void ipc_server_free(struct ipc_server *s)
{
    struct ipc_peer *p;

    if (!s)
        return;
    while ((p = TAILQ_FIRST(&s->peers)))
        ipc_peer_drop(p);
    loop_timer_free(s->pause);
    for (size_t i = 0; i < s->n_listeners; i++) {
        int fd = event_get_fd(s->listeners[i]);

        event_free(s->listeners[i]);
        (void)close(fd);
    }
    free(s);
}

int ipc_server_listen(struct ipc_server *s, int fd)
{
    struct event *e;

    if (evutil_make_socket_nonblocking(fd) < 0 || evutil_make_socket_closeonexec(fd) < 0)
        return -errno;
    if (s->n_listeners == IPC_LISTENERS_MAX)
        return -ENOBUFS;
    e = event_new(loop_base(s->loop), fd, EV_READ | EV_PERSIST, on_connection, s);
    if (!e || event_add(e, NULL) < 0) {
        if (e)
            event_free(e);
        return -ENOMEM;
    }
    s->listeners[s->n_listeners++] = e;
    return 0;
}

int ipc_server_channel(struct ipc_server *s, enum role role, void *data, struct ipc_peer **ret_peer, int *ret_far_fd)
{
    struct ipc_peer *p;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    p = ipc_peer_new(s, fds[0], role, UINT32_MAX, data);
    if (!p) {
        (void)close(fds[1]);
        return -ENOMEM;
    }
    if (ret_peer)
        *ret_peer = p;
    *ret_far_fd = fds[1];
    return 0;
}

static bool has_option(int fd, int option, int value)
{
    socklen_t len = sizeof(int);
    int is = -1;

    return getsockopt(fd, SOL_SOCKET, option, &is, &len) == 0 && is == value;
}

int ipc_server_adopt(struct ipc_server *s, int fd, enum role role, void *data, struct ipc_peer **ret_peer)
{
    if (!has_option(fd, SO_DOMAIN, AF_UNIX) || !has_option(fd, SO_TYPE, SOCK_SEQPACKET) ||
        !has_option(fd, SO_ACCEPTCONN, 0)) {
        (void)close(fd);
        return -EINVAL;
    }
    *ret_peer = ipc_peer_new(s, fd, role, UINT32_MAX, data);
    return *ret_peer ? 0 : -ENOMEM;
}
