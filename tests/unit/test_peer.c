/* frontd/peer: whose socket is at the other end. */
#include "frontd/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { STRANGER = 65534, CHILD_READY = 'r' };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* A connection from `family` to a listener of `listener_family`, both on the loopback address. */
struct pair {
    int client, server;
};

static socklen_t fill(union address *a, int family, struct in6_addr address, uint16_t port)
{
    memset(a, 0, sizeof(*a));
    a->any.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a->v4.sin_port = port;
        return sizeof(a->v4);
    }
    a->v6.sin6_addr = address;
    a->v6.sin6_port = port;
    return sizeof(a->v6);
}

static int listen_on(int family, struct in6_addr address, uint16_t *ret_port)
{
    union address a;
    socklen_t len = fill(&a, family, address, 0);
    int fd = socket(family, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &a.any, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, &a.any, &len), 0);
    *ret_port = family == AF_INET ? a.v4.sin_port : a.v6.sin6_port;
    return fd;
}

static struct pair connect_pair(int family, int listener_family, struct in6_addr listener, struct in6_addr target)
{
    uint16_t port;
    int fd = listen_on(listener_family, listener, &port);
    union address a;
    socklen_t len = fill(&a, family, target, port);
    struct pair p = { .client = socket(family, SOCK_STREAM, 0) };

    assert_true(p.client >= 0);
    assert_int_equal(connect(p.client, &a.any, len), 0);
    p.server = accept(fd, NULL, NULL);
    assert_true(p.server >= 0);
    close(fd);
    return p;
}

static struct peer identify(int fd)
{
    int diag = peer_open_diag();
    struct peer p;

    assert_true(diag >= 0);
    peer_identify(fd, diag, &p);
    close(diag);
    return p;
}

static struct in6_addr address_of(const char *text)
{
    struct in6_addr a;

    assert_int_equal(inet_pton(AF_INET6, text, &a), 1);
    return a;
}

static void tcp_peers_are_known(void **state)
{
    static const struct {
        int family, listener_family;
        const char *listener, *target;
    } rows[] = {
        { AF_INET, AF_INET, "::", "::" },
        { AF_INET6, AF_INET6, "::1", "::1" },
        { AF_INET, AF_INET6, "::", "::" },                  /* the server sees a mapped address */
        { AF_INET6, AF_INET6, "::", "::ffff:127.0.0.1" },   /* so do both */
        { AF_INET6, AF_INET, "::", "::ffff:127.0.0.1" },    /* so does the client */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pair pair = connect_pair(rows[i].family, rows[i].listener_family, address_of(rows[i].listener),
                                        address_of(rows[i].target));
        struct peer p = identify(pair.server);

        assert_true(p.known);
        assert_false(p.local);
        assert_int_equal(p.uid, getuid());
        close(pair.client);
        close(pair.server);
    }
}

/* The kernel reports a socket without a process as root's. */
static void sockets_that_nobody_holds_are_nobodys(void **state)
{
    struct pair pair = connect_pair(AF_INET, AF_INET, in6addr_any, in6addr_any);

    (void)state;
    assert_int_equal(send(pair.client, "x", 1, 0), 1);
    close(pair.client);
    assert_false(identify(pair.server).known);
    close(pair.server);
}

static void half_closed_sockets_are_still_held(void **state)
{
    struct pair pair = connect_pair(AF_INET, AF_INET, in6addr_any, in6addr_any);

    (void)state;
    assert_int_equal(shutdown(pair.client, SHUT_WR), 0);
    assert_true(identify(pair.server).known);
    close(pair.client);
    close(pair.server);
}

/* A socket that listens where the client of `pair` was, or -1: another process has got the port meanwhile. */
static int squat(struct pair *pair)
{
    struct linger hard = { .l_onoff = 1 };
    union address a;
    socklen_t len = sizeof(a);
    int squatter = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(getsockname(pair->client, &a.any, &len), 0);
    assert_int_equal(setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(pair->client);
    assert_int_equal(setsockopt(squatter, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)), 0);
    if (bind(squatter, &a.any, len) == 0 && listen(squatter, 1) == 0)
        return squatter;
    close(squatter);
    return -1;
}

static void a_listener_on_the_port_is_no_client(void **state)
{
    struct pair pair;
    int squatter = -1;

    (void)state;
    for (int tries = 0; squatter < 0; tries++) {
        assert_true(tries < 100);
        pair = connect_pair(AF_INET, AF_INET, in6addr_any, in6addr_any);
        squatter = squat(&pair);
        if (squatter < 0)
            close(pair.server);
    }
    assert_false(identify(pair.server).known);
    close(squatter);
    close(pair.server);
}

static void unix_peers_are_known(void **state)
{
    int pair[2];
    struct peer p;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    p = identify(pair[0]);
    assert_true(p.known && p.local);
    assert_int_equal(p.uid, getuid());
    close(pair[0]);
    close(pair[1]);
}

static void other_things_are_not(void **state)
{
    int pair[2], udp = socket(AF_INET, SOCK_DGRAM, 0);

    (void)state;
    assert_int_equal(pipe(pair), 0);
    assert_false(identify(pair[0]).known);
    assert_false(identify(udp).known);
    assert_false(identify(-1).known);
    close(pair[0]);
    close(pair[1]);
    close(udp);
}

/* Connects as another user, tells that it has, and holds the socket until the pipe is closed. */
static void be_stranger(const union address *a, socklen_t len, int ready, int hold)
{
    char byte;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (setgid(STRANGER) < 0 || setuid(STRANGER) < 0)
        _exit(2);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, &a->any, len) < 0 || write(ready, &(char){ CHILD_READY }, 1) != 1)
        _exit(1);
    _exit(read(hold, &byte, 1) == 0 ? 0 : 1);
}

static void strangers_are_told_apart(void **state)
{
    int ready[2], hold[2], listener, server, status;
    union address a;
    socklen_t len;
    uint16_t port;
    struct peer p;
    pid_t child;
    char byte;

    (void)state;
    if (geteuid() != 0)
        skip();
    listener = listen_on(AF_INET, in6addr_any, &port);
    len = fill(&a, AF_INET, in6addr_any, port);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    child = fork();
    if (child == 0) {
        close(hold[1]);
        be_stranger(&a, len, ready[1], hold[0]);
    }
    close(ready[1]);
    close(hold[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    server = accept(listener, NULL, NULL);
    p = identify(server);
    assert_true(p.known);
    assert_int_equal(p.uid, STRANGER);
    close(hold[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(identify(server).known);
    close(ready[0]);
    close(server);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_peers_are_known),
        cmocka_unit_test(sockets_that_nobody_holds_are_nobodys),
        cmocka_unit_test(half_closed_sockets_are_still_held),
        cmocka_unit_test(a_listener_on_the_port_is_no_client),
        cmocka_unit_test(unix_peers_are_known),
        cmocka_unit_test(other_things_are_not),
        cmocka_unit_test(strangers_are_told_apart),
    };

    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
