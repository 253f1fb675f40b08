#include "fake_server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/alloc.h"

struct fake_server {
    struct evconnlistener *listener;
    struct event_base *base;
    const struct fake_step *steps;
    size_t n, next;
    unsigned connections;
    uint16_t port;
    struct bufferevent *open[64];
};

static void drop(struct fake_server *f, struct bufferevent *b)
{
    for (size_t i = 0; i < 64; i++)
        if (f->open[i] == b)
            f->open[i] = NULL;
    bufferevent_free(b);
}

static void on_end(struct bufferevent *b, short what, void *arg)
{
    (void)what;
    drop(arg, b);
}

static void on_sent(struct bufferevent *b, void *arg)
{
    drop(arg, b);
}

static void on_readable(struct bufferevent *b, void *arg);

static void send_reply(struct bufferevent *b, const char *reply)
{
    const char *star = strstr(reply, "Content-Length: *"), *body = strstr(reply, "\r\n\r\n");
    struct evbuffer *out = bufferevent_get_output(b);

    if (!star || !body) {
        (void)evbuffer_add(out, reply, strlen(reply));
        return;
    }
    (void)evbuffer_add(out, reply, (size_t)(star + 16 - reply));
    (void)evbuffer_add_printf(out, "%zu", strlen(body + 4));
    (void)evbuffer_add(out, star + 17, strlen(star + 17));
}

/* Checks the request against its step and answers. */
static void answer(struct fake_server *f, struct bufferevent *b, const char *request)
{
    const struct fake_step *step = &f->steps[f->next];

    if (f->next++ >= f->n)
        fail_msg("one request too many:\n%s", request);
    for (size_t i = 0; i < 5 && step->expect[i]; i++) {
        const char *text = step->expect[i];

        if (*text == '!' ? strstr(request, text + 1) != NULL : !strstr(request, text))
            fail_msg("step %zu: expected %s in:\n%s", f->next, text, request);
    }
    if (!step->reply)
        return;
    bufferevent_setcb(b, on_readable, step->end == FAKE_CLOSE ? on_sent : NULL, on_end, f);
    send_reply(b, step->reply);
    if (!*step->reply && step->end == FAKE_CLOSE)
        drop(f, b);
}

/* The length of the first request in the buffer, 0 while it is not whole. */
static size_t whole(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    size_t body = length && end && length < end ? strtoul(length + 16, NULL, 10) : 0;

    if (!end || strlen(end + 4) < body)
        return 0;
    return (size_t)(end + 4 - text) + body;
}

static void on_readable(struct bufferevent *b, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(b);
    size_t have = evbuffer_get_length(in), n;
    char *text = xcalloc(1, have + 1);

    (void)evbuffer_copyout(in, text, have);
    n = whole(text);
    if (n) {
        (void)evbuffer_drain(in, n);
        text[n] = '\0';
        answer(arg, b, text);
    }
    free(text);
}

static void on_accepted(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
    struct fake_server *f = arg;
    struct bufferevent *b = bufferevent_socket_new(f->base, fd, BEV_OPT_CLOSE_ON_FREE);

    (void)l, (void)from, (void)len;
    assert_non_null(b);
    f->open[f->connections++ % 64] = b;
    bufferevent_setcb(b, on_readable, NULL, on_end, f);
    (void)bufferevent_enable(b, EV_READ | EV_WRITE);
}

struct fake_server *fake_server_new(struct loop *l, const struct fake_step *steps, size_t n)
{
    struct fake_server *f = xcalloc(1, sizeof(*f));
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(a);

    f->base = loop_base(l);
    f->steps = steps;
    f->n = n;
    f->listener = evconnlistener_new_bind(f->base, on_accepted, f, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
                                          (struct sockaddr *)&a, sizeof(a));
    assert_non_null(f->listener);
    assert_int_equal(getsockname(evconnlistener_get_fd(f->listener), (struct sockaddr *)&a, &size), 0);
    f->port = ntohs(a.sin_port);
    return f;
}

void fake_server_free(struct fake_server *f)
{
    size_t next = f->next, n = f->n;

    for (size_t i = 0; i < 64; i++)
        if (f->open[i])
            bufferevent_free(f->open[i]);
    evconnlistener_free(f->listener);
    free(f);
    if (next < n)
        fail_msg("only %zu of %zu requests came", next, n);
}

/* Until it has arrived. */
static void say_on(int fd, const char *bytes)
{
    int left;

    assert_int_equal(send(fd, bytes, strlen(bytes), 0), strlen(bytes));
    while (ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0)
        (void)poll(NULL, 0, 1);
}

void fake_server_say(struct fake_server *f, const char *bytes)
{
    for (size_t i = 0; i < 64; i++)
        if (f->open[i])
            say_on(bufferevent_getfd(f->open[i]), bytes);
}

uint16_t fake_server_port(const struct fake_server *f)
{
    return f->port;
}

unsigned fake_server_connections(const struct fake_server *f)
{
    return f->connections;
}
