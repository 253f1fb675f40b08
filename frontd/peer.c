/* Asks the kernel who owns the socket that a connection comes from. */
#include "frontd/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The two ends of a connection as the client's socket has them. */
struct ends {
    struct sockaddr_storage client, server;
};

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

int peer_open_diag(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

    return fd < 0 ? -errno : fd;
}

static int get_ends(int fd, struct ends *ends)
{
    socklen_t client = sizeof(ends->client), server = sizeof(ends->server);

    *ends = (struct ends){ 0 };
    if (getpeername(fd, (struct sockaddr *)&ends->client, &client) < 0 ||
        getsockname(fd, (struct sockaddr *)&ends->server, &server) < 0)
        return -errno;
    return 0;
}

/* Puts address and port of an end into the question. The kernel keeps IPv4 connections of IPv6 sockets under
 * their IPv4 addresses, so a mapped address is asked for as such. Returns the family to ask for, 0 for others. */
static int put_end(const struct sockaddr_storage *end, __be32 address[4], __be16 *port)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)end;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)end;

    if (end->ss_family == AF_INET) {
        address[0] = v4->sin_addr.s_addr;
        *port = v4->sin_port;
        return AF_INET;
    }
    if (end->ss_family != AF_INET6)
        return 0;
    *port = v6->sin6_port;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        memcpy(address, v6->sin6_addr.s6_addr + 12, 4);
        return AF_INET;
    }
    memcpy(address, v6->sin6_addr.s6_addr, 16);
    return AF_INET6;
}

static int compose(const struct ends *ends, struct question *q)
{
    struct inet_diag_sockid *id = &q->body.id;
    int client, server;

    *q = (struct question){
        .head = { .nlmsg_len = sizeof(*q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
        .body = { .sdiag_protocol = IPPROTO_TCP, .idiag_states = UINT32_MAX },
    };
    client = put_end(&ends->client, id->idiag_src, &id->idiag_sport);
    server = put_end(&ends->server, id->idiag_dst, &id->idiag_dport);
    if (!client || client != server)
        return -EAFNOSUPPORT;
    q->body.sdiag_family = (uint8_t)client;
    id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return 0;
}

/* Whether the answer is about the socket asked for and somebody holds that socket. An orphan (inode 0: its process
 * has closed it) and a socket in TIME_WAIT are reported with uid 0 whoever had them; a lookup that finds no
 * connection may find a listener on the port. */
static bool is_held(const struct question *q, const struct inet_diag_msg *m)
{
    const struct inet_diag_sockid *asked = &q->body.id, *got = &m->id;

    return m->idiag_inode != 0 && m->idiag_state != TCP_TIME_WAIT && m->idiag_state != TCP_LISTEN &&
           m->idiag_state != TCP_SYN_SENT && m->idiag_state != TCP_CLOSE && got->idiag_sport == asked->idiag_sport &&
           got->idiag_dport == asked->idiag_dport;
}

static void drop_old_answers(int diag)
{
    char stale[512];

    while (recv(diag, stale, sizeof(stale), MSG_DONTWAIT | MSG_TRUNC) > 0)
        ;
}

/* The kernel answers within sendto(), so nothing is waited for. */
static int ask(int diag, const struct question *q, struct peer *ret)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } answer;
    const struct inet_diag_msg *m = NLMSG_DATA(&answer.head);
    ssize_t n;

    drop_old_answers(diag);
    if (sendto(diag, q, sizeof(*q), 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -errno;
    n = recv(diag, answer.bytes, sizeof(answer.bytes), MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    if (!NLMSG_OK(&answer.head, (uint32_t)n) || answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        answer.head.nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || !is_held(q, m))
        return -ENOENT;
    ret->uid = m->idiag_uid;
    ret->inode = m->idiag_inode;
    return 0;
}

static int identify_tcp(int fd, int diag, struct peer *ret)
{
    struct ends ends;
    struct question q;
    int r;

    if ((r = get_ends(fd, &ends)) < 0 || (r = compose(&ends, &q)) < 0)
        return r;
    return ask(diag, &q, ret);
}

static int identify_local(int fd, struct peer *ret)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    ret->uid = cred.uid;
    ret->pid = cred.pid;
    return 0;
}

void peer_identify(int fd, int diag, struct peer *p)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    *p = (struct peer){ .uid = (uid_t)-1 };
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
        return;
    p->local = domain == AF_UNIX;
    p->known = (p->local ? identify_local(fd, p) : identify_tcp(fd, diag, p)) == 0;
}
