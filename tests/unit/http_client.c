/* Reads replies by length, by chunks, or to the end. */
#include "tests/unit/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"

enum { TURN_MS = 2 };

void turn(struct loop *l)
{
    (void)event_base_loop(loop_base(l), EVLOOP_NONBLOCK);
    (void)poll(NULL, 0, TURN_MS);
}

/* --- sockets ------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static socklen_t loopback(union address *a, int family, uint16_t port)
{
    memset(a, 0, sizeof(*a));
    a->any.sa_family = (sa_family_t)family;
    if (family == AF_INET6) {
        a->v6.sin6_addr = in6addr_loopback;
        a->v6.sin6_port = htons(port);
        return sizeof(a->v6);
    }
    a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a->v4.sin_port = htons(port);
    return sizeof(a->v4);
}

static socklen_t local(union address *a, const char *path)
{
    memset(a, 0, sizeof(*a));
    a->local.sun_family = AF_UNIX;
    assert_true(strlen(path) < sizeof(a->local.sun_path));
    strcpy(a->local.sun_path, path);
    return sizeof(a->local);
}

static int listen_at(const union address *a, socklen_t len)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (bind(fd, &a->any, len) < 0) {
        assert_int_equal(errno, EADDRINUSE);
        (void)close(fd);
        return -1;
    }
    assert_int_equal(listen(fd, 128), 0);
    return fd;
}

int listen_loopback(int family, uint16_t *ret_port)
{
    union address a;
    socklen_t len = loopback(&a, family, *ret_port);
    int fd = listen_at(&a, len);

    if (fd < 0)
        return fd;
    assert_int_equal(getsockname(fd, &a.any, &len), 0);
    *ret_port = ntohs(family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
    return fd;
}

int listen_unix(const char *path)
{
    union address a;
    socklen_t len = local(&a, path);

    return listen_at(&a, len);
}

static struct client *connect_to(struct loop *l, const union address *a, socklen_t len)
{
    struct client *c = xcalloc(1, sizeof(*c));

    c->loop = l;
    c->in = evbuffer_new();
    c->fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, &a->any, len), 0);
    assert_int_equal(evutil_make_socket_nonblocking(c->fd), 0);
    return c;
}

struct client *client_connect(struct loop *l, uint16_t port)
{
    union address a;
    socklen_t len = loopback(&a, AF_INET, port);

    return connect_to(l, &a, len);
}

struct client *client_connect6(struct loop *l, uint16_t port)
{
    union address a;
    socklen_t len = loopback(&a, AF_INET6, port);

    return connect_to(l, &a, len);
}

struct client *client_connect_unix(struct loop *l, const char *path)
{
    union address a;
    socklen_t len = local(&a, path);

    return connect_to(l, &a, len);
}

void client_free(struct client *c)
{
    evbuffer_free(c->in);
    (void)close(c->fd);
    free(c);
}

void client_send(struct client *c, const char *text)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return; /* the server has closed; what it said is still to be read */
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        turn(c->loop);
    }
}

/* --- replies ------------------------------------------------------------------------------- */

static void read_more(struct client *c)
{
    char bytes[65536];
    ssize_t n;

    turn(c->loop);
    n = recv(c->fd, bytes, sizeof(bytes), 0);
    if (n > 0)
        evbuffer_add(c->in, bytes, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        c->ended = true;
    c->reset = c->reset || (n < 0 && errno == ECONNRESET);
}

static char *take(struct client *c, size_t n)
{
    char *text = xcalloc(1, n + 1);

    assert_int_equal(evbuffer_remove(c->in, text, n), (int)n);
    return text;
}

static bool have(struct client *c, size_t n)
{
    int64_t give_up = loop_now_ns() + INT64_C(60000000000);

    while (evbuffer_get_length(c->in) < n && !c->ended) {
        if (loop_now_ns() > give_up)
            fail_msg("no reply came");
        read_more(c);
    }
    return evbuffer_get_length(c->in) >= n;
}

/* The bytes up to and with `end`. NULL if the connection ends before. */
static char *take_to(struct client *c, const char *end)
{
    struct evbuffer_ptr at = evbuffer_search(c->in, end, strlen(end), NULL);

    while (at.pos < 0 && have(c, evbuffer_get_length(c->in) + 1))
        at = evbuffer_search(c->in, end, strlen(end), NULL);
    return at.pos < 0 ? NULL : take(c, (size_t)at.pos + strlen(end));
}

static void take_sized(struct client *c, struct reply *r, size_t n)
{
    r->whole = have(c, n);
    r->length = r->whole ? n : evbuffer_get_length(c->in);
    r->body = take(c, r->length);
}

static void append(struct reply *r, const char *data, size_t n)
{
    r->body = realloc(r->body, r->length + n + 1);
    assert_non_null(r->body);
    memcpy(r->body + r->length, data, n);
    r->length += n;
    r->body[r->length] = '\0';
}

static void take_chunks(struct client *c, struct reply *r)
{
    r->body = xstrdup("");
    for (;;) {
        char *line = take_to(c, "\r\n"), *chunk;
        size_t n = line ? strtoull(line, NULL, 16) : 0;
        bool last = line && !n;

        free(line);
        if ((!n && !last) || !have(c, n + 2))
            return;
        chunk = take(c, n + 2);
        append(r, chunk, n);
        free(chunk);
        r->whole = last;
        if (last)
            return;
    }
}

struct reply client_reply(struct client *c, bool head_only)
{
    struct reply r = { 0 };
    const char *length;

    r.head = take_to(c, "\r\n\r\n");
    if (!r.head)
        return r;
    r.status = atoi(r.head + strlen("HTTP/1.1 "));
    length = reply_field(&r, "Content-Length");
    if (head_only || r.status == 204 || r.status == 100) {
        r.body = xstrdup("");
        r.whole = true;
    } else if (length) {
        take_sized(c, &r, strtoull(length, NULL, 10));
    } else if (reply_field(&r, "Transfer-Encoding")) {
        take_chunks(c, &r);
    } else {
        while (have(c, evbuffer_get_length(c->in) + 1))
            ;
        take_sized(c, &r, evbuffer_get_length(c->in));
    }
    return r;
}

void reply_free(struct reply *r)
{
    free(r->head);
    free(r->body);
}

const char *reply_field(const struct reply *r, const char *name)
{
    static char value[1024];
    size_t len = strlen(name);

    for (const char *line = r->head; line; line = strstr(line, "\r\n")) {
        line += line == r->head ? 0 : 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':')
            continue;
        (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + len + 2, "\r"), line + len + 2);
        return value;
    }
    return NULL;
}

struct reply ask_once(struct loop *l, uint16_t port, const char *text)
{
    struct client *c = client_connect(l, port);
    struct reply r;

    client_send(c, text);
    r = client_reply(c, strncmp(text, "HEAD ", 5) == 0);
    client_free(c);
    return r;
}

void client_wait_end(struct client *c)
{
    int64_t give_up = loop_now_ns() + INT64_C(60000000000);

    while (!c->ended) {
        if (loop_now_ns() > give_up)
            fail_msg("the connection stays open");
        read_more(c);
    }
}
