/* Owns the form of one packet: packing, SCM_RIGHTS, and every check that can be made without
 * knowing the connection it came over.
 *
 * Must not know about loops, queues or handlers.
 */
#include "common/ipc_packet.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

/* --- out ----------------------------------------------------------------------------------- */

int ipc_packet_new(const Lf__Envelope *env, const int *fds, size_t n, struct ipc_packet **ret)
{
    size_t len = lf__envelope__get_packed_size(env);
    struct ipc_packet *p;

    if (len > IPC_MESSAGE_MAX)
        return -EMSGSIZE;
    if (n > IPC_FDS_MAX)
        return -EPROTO;
    p = malloc(sizeof(*p) + len);
    if (!p)
        return -ENOMEM;
    *p = (struct ipc_packet){ .refs = 1, .n_fds = n, .len = lf__envelope__pack(env, p->data) };
    for (size_t i = 0; i < n; i++)
        p->fds[i] = fds[i];
    *ret = p;
    return 0;
}

int ipc_packet_keep(struct ipc_packet *p)
{
    int copies[IPC_FDS_MAX];

    if (p->own_fds)
        return 0;
    for (size_t i = 0; i < p->n_fds; i++) {
        copies[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, 3);
        if (copies[i] < 0) {
            int r = -errno;

            ipc_packet_close_fds(copies, i);
            return r;
        }
    }
    for (size_t i = 0; i < p->n_fds; i++)
        p->fds[i] = copies[i];
    p->own_fds = true;
    return 0;
}

struct ipc_packet *ipc_packet_ref(struct ipc_packet *p)
{
    p->refs++;
    return p;
}

void ipc_packet_unref(struct ipc_packet *p)
{
    if (!p)
        return;
    assert(p->refs > 0);
    if (--p->refs > 0)
        return;
    if (p->own_fds)
        ipc_packet_close_fds(p->fds, p->n_fds);
    explicit_bzero(p->data, p->len);
    free(p);
}

void ipc_packet_unrefp(struct ipc_packet **p)
{
    ipc_packet_unref(*p);
}

/* Room for the descriptors of one packet, aligned as CMSG_FIRSTHDR() wants it. */
union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(IPC_FDS_MAX * sizeof(int))];
};

static void attach_fds(struct msghdr *msg, union control *control, const struct ipc_packet *p)
{
    struct cmsghdr *c;

    memset(control, 0, sizeof(*control));
    msg->msg_control = control->room;
    msg->msg_controllen = CMSG_SPACE(p->n_fds * sizeof(int));
    c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(p->n_fds * sizeof(int));
    memcpy(CMSG_DATA(c), p->fds, p->n_fds * sizeof(int));
}

int ipc_packet_send(int fd, const struct ipc_packet *p)
{
    struct iovec iov = { .iov_base = (void *)p->data, .iov_len = p->len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union control control;
    ssize_t n;

    if (p->n_fds > 0)
        attach_fds(&msg, &control, p);
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* --- in ------------------------------------------------------------------------------------ */

void ipc_packet_close_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fds[i] >= 0)
            (void)close(fds[i]);
        fds[i] = -1;
    }
}

static size_t collect_fds(struct msghdr *msg, int *fds)
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t bytes;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        bytes = c->cmsg_len - CMSG_LEN(0);
        assert(n + bytes / sizeof(int) <= IPC_FDS_MAX);  /* the kernel was given no more room */
        memcpy(fds + n, CMSG_DATA(c), bytes);
        n += bytes / sizeof(int);
    }
    return n;
}

int ipc_packet_receive(int fd, uint8_t *data, size_t *ret_len, int *fds, size_t *ret_n)
{
    struct iovec iov = { .iov_base = data, .iov_len = IPC_MESSAGE_MAX };
    union control control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room),
    };
    ssize_t n;

    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    for (size_t i = 0; i < IPC_FDS_MAX; i++)
        fds[i] = -1;
    *ret_n = collect_fds(&msg, fds);
    *ret_len = (size_t)n;
    if (n > 0 && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return 0;
    ipc_packet_close_fds(fds, IPC_FDS_MAX);
    return n == 0 ? -EPIPE : -EPROTO;
}

/* --- checks -------------------------------------------------------------------------------- */

const char *ipc_packet_unpack(const uint8_t *data, size_t len, Lf__Envelope **ret)
{
    Lf__Envelope *env;

    if (len == 0 || len > IPC_MESSAGE_MAX)
        return "packet of an impossible size";
    env = lf__envelope__unpack(NULL, len, data);
    if (!env)
        return "packet that does not unpack";
    if ((env->body_case == LF__ENVELOPE__BODY__NOT_SET) == !env->failure) {
        lf__envelope__free_unpacked(env, NULL);
        return "envelope without a known body, or with a body and a failure";
    }
    *ret = env;
    return NULL;
}

const char *ipc_packet_check_call(const Lf__Envelope *env, enum role sender, enum role receiver, size_t n,
                                  const struct message_row **ret_row)
{
    const struct message_row *row = message_row(env->body_case);

    if (!row)
        return "neither a request nor an event";
    if ((row->reply == LF__ENVELOPE__BODY__NOT_SET) != (env->id == 0))
        return row->reply == LF__ENVELOPE__BODY__NOT_SET ? "event with an id" : "request without an id";
    if (!(row->senders & ROLE_BIT(sender)))
        return "message that is not its sender's to send";
    if (!(row->receivers & ROLE_BIT(receiver)))
        return "message that is not ours to receive";
    if (n != row->fds)
        return "wrong number of descriptors";
    *ret_row = row;
    return NULL;
}

const char *ipc_packet_check_reply(const Lf__Envelope *env, const struct message_row *row, size_t n)
{
    if (env->failure)
        return n == 0 ? NULL : "failure with descriptors";
    if (env->body_case != row->reply)
        return "reply of another kind than was asked for";
    return n == row->reply_fds ? NULL : "wrong number of descriptors";
}
