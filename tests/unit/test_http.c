/* frontd/http: connections, their limits and deadlines, and replies, over real sockets with a handler
 * that does as the path says. */
#include "frontd/http_conn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "tests/unit/http_client.h"

enum { HEADER_MAX = 2048, BODY_MAX = 100000, CONNECTIONS_MAX = 4, HELD_MAX = 8, TAKEN_MAX = 1000000, PIECE = 100000,
       LARGE = 16000000 };

struct fixture {
    struct loop *loop;
    struct http_server *server;
    uint16_t port;
    struct http_request *held[HELD_MAX]; /* /hold: answered by the test */
    size_t n_held, gone, drained, served;
    size_t pieces;                       /* /pieces: still to be sent */
    struct http_request *pieced;
    struct http_request *taken_from;     /* /take: the body is taken when the test wants it; /early: answered at once */
    size_t taken;
    bool body_ended;
    bool welcome, stopped;
    uid_t uid;                           /* of who connects */
};

static struct text no_fields = TEXT_INIT(1);

static void reply_text(struct http_request *r, int status, const char *text)
{
    struct http_reply reply = { .status = status, .type = "text/plain", .fields = &no_fields };

    reply.body = text;
    reply.length = strlen(text);
    http_reply(r, &reply);
}

/* More than sockets hold, and no two pieces of it alike. */
static const char *large(void)
{
    static char text[LARGE + 1];

    for (size_t i = 0; i < LARGE; i += 8)
        (void)snprintf(text + i, 9, "%08zu", i);
    return text;
}

static void on_gone(void *arg)
{
    struct fixture *f = arg;

    f->gone++;
    f->pieced = NULL;
}

static void send_piece(struct fixture *f)
{
    struct evbuffer *b = evbuffer_new();
    static const char piece[PIECE];

    evbuffer_add(b, piece, sizeof(piece));
    http_reply_add(f->pieced, b);
    evbuffer_free(b);
    if (--f->pieces == 0)
        http_reply_end(f->pieced);
}

static void on_drained(void *arg)
{
    struct fixture *f = arg;

    f->drained++;
    if (f->pieces)
        send_piece(f);
}

static void identify(int fd, struct peer *ret, void *arg)
{
    const struct fixture *f = arg;

    (void)fd;
    *ret = (struct peer){ .known = true, .uid = f->uid ? f->uid : f->welcome ? 1 : 2 };
}

static bool welcomes(const struct peer *p, void *arg)
{
    (void)arg;
    return p->uid != 2;
}

static void on_body(bool ended, void *arg)
{
    struct fixture *f = arg;
    struct evbuffer *body = http_request_body(f->taken_from);

    f->taken += evbuffer_get_length(body);
    (void)evbuffer_drain(body, evbuffer_get_length(body));
    f->body_ended = ended;
    if (strcmp(http_request_head(f->taken_from)->path, "/early") == 0)
        reply_text(f->taken_from, 400, "early");
    else if (ended)
        reply_text(f->taken_from, 200, "taken");
}

static bool is_taken(const char *path)
{
    return strcmp(path, "/take") == 0 || strcmp(path, "/early") == 0;
}

static bool on_head(struct http_request *r, void *arg)
{
    const char *path = http_request_head(r)->path;

    http_request_watch(r, &(struct http_watch){ .gone = on_gone, .drained = on_drained, .arg = arg });
    if (is_taken(path))
        http_request_take(r, TAKEN_MAX, on_body);
    if (strcmp(path, "/refused") != 0)
        return true;
    reply_text(r, 404, "refused");
    return false;
}

static void echo(struct http_request *r)
{
    char text[BODY_MAX + 1];
    int n = evbuffer_remove(http_request_body(r), text, sizeof(text) - 1);

    text[n] = '\0';
    reply_text(r, 200, text);
}

static void begin_pieces(struct fixture *f, struct http_request *r)
{
    f->pieced = r;
    f->pieces = 50;
    http_reply_begin(r, &(struct http_reply){ .status = 200, .type = "text/plain" },
                     strcmp(http_request_head(r)->path, "/sized") == 0 ? 50 * PIECE : -1);
}

static void begin_and_cut(struct fixture *f, struct http_request *r)
{
    begin_pieces(f, r);
    http_reply_cut(r);
}

static void on_request(struct http_request *r, void *arg)
{
    struct fixture *f = arg;
    const char *path = http_request_head(r)->path;

    f->served++;
    if (is_taken(path))
        f->taken_from = r;
    else if (strcmp(path, "/hold") == 0)
        f->held[f->n_held++] = r;
    else if (strcmp(path, "/pieces") == 0 || strcmp(path, "/sized") == 0)
        begin_pieces(f, r);
    else if (strcmp(path, "/large") == 0)
        reply_text(r, 200, large());
    else if (strcmp(path, "/cut") == 0)
        begin_and_cut(f, r);
    else if (http_head_has_body(http_request_head(r)))
        echo(r);
    else
        reply_text(r, 200, path);
}

static void on_refuse(struct http_request *r, struct http_refusal why, void *arg)
{
    (void)arg;
    reply_text(r, why.status, why.text);
}

static const struct http_ops ops = {
    .identify = identify, .welcomes = welcomes, .head = on_head, .serve = on_request, .refuse = on_refuse,
};

static int set_up_for(int seconds, void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct http_spec spec = {
        .ops = &ops, .arg = f, .max_header_bytes = HEADER_MAX, .max_body_bytes = BODY_MAX,
        .max_connections = CONNECTIONS_MAX, .timeout_seconds = seconds,
    };

    f->welcome = true;
    f->loop = loop_new(0);
    assert_non_null(f->loop);
    f->server = http_server_new(f->loop, &spec);
    assert_int_equal(http_server_listen(f->server, listen_loopback(AF_INET, &f->port)), 0);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_for(60, state);
}

/* For what is about the time a client has: else a busy machine may need it for itself. */
static int set_up_hasty(void **state)
{
    return set_up_for(1, state);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    http_server_free(f->server);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void expect(struct client *c, int status, const char *body)
{
    struct reply r = client_reply(c, false);

    assert_int_equal(r.status, status);
    assert_string_equal(r.body, body);
    assert_true(r.whole);
    reply_free(&r);
}

/* --- requests ------------------------------------------------------------------------------ */

static void requests_ahead_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "GET /hold HTTP/1.1\r\n\r\n"
                   "POST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody\r\n\r\n"
                   "GET /c HTTP/1.1\r\n\r\n");
    turn_until(f->loop, f->n_held == 1);
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    assert_int_equal(f->served, 1);
    reply_text(f->held[0], 200, "first");
    expect(c, 200, "first");
    expect(c, 200, "body");
    expect(c, 200, "/c");
    client_free(c);
}

static void request_may_come_byte_by_byte(void **state)
{
    static const char text[] = "\r\nPOST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    for (size_t i = 0; text[i]; i++)
        client_send(c, (char[]){ text[i], '\0' });
    expect(c, 200, "abc");
    client_free(c);
}

static void every_reply_is_protected(void **state)
{
    static const char *const texts[] = { "GET / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n", "POST /refused HTTP/1.1\r\n\r\n",
                                         "GET / HTTP/1.1\r\nA : b\r\n\r\n" };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct reply r = ask_once(f->loop, f->port, texts[i]);

        assert_true(r.status != 0);
        assert_string_equal(reply_field(&r, "Cache-Control"), "no-store");
        assert_string_equal(reply_field(&r, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(reply_field(&r, "Referrer-Policy"), "no-referrer");
        assert_non_null(strstr(reply_field(&r, "Content-Security-Policy"), "default-src 'none'"));
        assert_string_equal(reply_field(&r, "Cross-Origin-Resource-Policy"), "same-origin");
        assert_null(reply_field(&r, "Server"));
        assert_non_null(reply_field(&r, "Date"));
        reply_free(&r);
    }
}

static void header_lines_cannot_be_forged(void **state)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(1024);

    (void)state;
    http_field_add(&fields, "ETag", "\"a\"\r\nSet-Cookie: x");
    http_field_add(&fields, "ETag", "\"b\"\n");
    http_field_add(&fields, "ETag", "\"c\"");
    assert_string_equal(fields.data, "ETag: \"c\"\r\n");
}

static void too_much_is_refused(void **state)
{
    struct fixture *f = *state;
    char text[HEADER_MAX + 200];
    struct reply r;

    (void)snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\n\r\n", HEADER_MAX + 100, 0);
    r = ask_once(f->loop, f->port, text);
    assert_int_equal(r.status, 431);
    reply_free(&r);
    r = ask_once(f->loop, f->port, "POST / HTTP/1.1\r\nContent-Length: 100001\r\n\r\n");
    assert_int_equal(r.status, 413);
    assert_string_equal(reply_field(&r, "Connection"), "close");
    reply_free(&r);
    r = ask_once(f->loop, f->port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n186A1\r\n");
    assert_int_equal(r.status, 413);
    reply_free(&r);
    r = ask_once(f->loop, f->port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    assert_int_equal(r.status, 400);
    reply_free(&r);
    r = ask_once(f->loop, f->port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a\n");
    assert_int_equal(r.status, 400);
    assert_string_equal(reply_field(&r, "Connection"), "close");
    reply_free(&r);
    assert_int_equal(f->served, 0);
}

/* The client gets to read the refusal although it goes on sending. */
static void refused_body_is_read_over(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    char *body = xcalloc(1, 2000001);

    memset(body, 'x', 2000000);
    client_send(c, "POST /refused HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n");
    client_send(c, body);
    expect(c, 404, "refused");
    client_wait_end(c);
    assert_false(c->reset);
    client_free(c);
    free(body);
}

/* What follows a head whose body was not read is no request. */
static void refused_body_is_no_request(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "POST /refused HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET /a HTTP/1.1\r\n\r\n");
    expect(c, 404, "refused");
    client_wait_end(c);
    assert_int_equal(f->served, 0);
    client_free(c);
}

static void refusal_without_body_keeps_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "GET /refused HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n");
    expect(c, 404, "refused");
    expect(c, 200, "/a");
    client_free(c);
}

static void body_may_be_waited_for(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    struct reply r;

    client_send(c, "POST /x HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    r = client_reply(c, false);
    assert_int_equal(r.status, 100);
    reply_free(&r);
    client_send(c, "abc");
    expect(c, 200, "abc");
    client_send(c, "POST /refused HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect(c, 404, "refused");
    client_free(c);
}

/* --- bodies that are taken as they come ------------------------------------------------------ */

/* A request for a body of a million bytes, ten times what may be collected; none of it has been taken. */
static struct client *begin_taking(struct fixture *f, const char *path)
{
    struct client *c = client_connect(f->loop, f->port);
    char head[128];

    (void)snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n", path, TAKEN_MAX);
    client_send(c, head);
    turn_until(f->loop, f->taken_from);
    return c;
}

static void send_body(struct client *c, size_t n)
{
    CLEANUP_FREE char *body = xcalloc(1, n + 1);

    memset(body, 'x', n);
    client_send(c, body);
}

static void bodies_are_taken_as_they_come(void **state)
{
    struct fixture *f = *state;
    struct client *c = begin_taking(f, "/take");

    http_request_want(f->taken_from, true);
    send_body(c, 1000);
    turn_until(f->loop, f->taken == 1000);
    assert_false(f->body_ended);
    http_request_want(f->taken_from, false);
    send_body(c, 1000);
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    assert_int_equal(f->taken, 1000);
    http_request_want(f->taken_from, true);
    turn_until(f->loop, f->taken == 2000);
    for (int i = 2; i < TAKEN_MAX / 1000; i++)
        send_body(c, 1000);
    expect(c, 200, "taken");
    assert_int_equal(f->taken, TAKEN_MAX);
    client_send(c, "GET /next HTTP/1.1\r\n\r\n");
    expect(c, 200, "/next");
    client_free(c);
}

static void nobody_is_late_while_nothing_is_wanted(void **state)
{
    struct fixture *f = *state;
    struct client *c = begin_taking(f, "/take");
    int64_t end = loop_now_ns() + INT64_C(1500000000);

    while (loop_now_ns() < end)
        turn(f->loop);
    assert_int_equal(f->gone, 0);
    http_request_want(f->taken_from, true);
    expect(c, 408, "The request took too long to arrive; see HttpTimeoutSeconds.");
    client_wait_end(c);
    client_free(c);
}

static void an_early_reply_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *c = begin_taking(f, "/early");

    send_body(c, 100);
    http_request_want(f->taken_from, true);
    expect(c, 400, "early");
    client_wait_end(c);
    client_free(c);
}

static void taken_bodies_have_their_own_limit(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "POST /take HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nf4241\r\n");
    turn_until(f->loop, f->taken_from);
    http_request_want(f->taken_from, true);
    expect(c, 413, "The body is too large; see MaxBodyBytes, and MaxFormBytes for forms.");
    client_free(c);
}

static void clients_may_leave_or_close_their_side(void **state)
{
    struct fixture *f = *state;
    struct client *c = begin_taking(f, "/take");

    client_free(c);
    http_request_want(f->taken_from, true);
    turn_until(f->loop, f->gone == 1);
    f->taken_from = NULL;
    c = client_connect(f->loop, f->port);
    client_send(c, "POST /take HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    turn_until(f->loop, f->taken_from);
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    http_request_want(f->taken_from, true);
    expect(c, 200, "taken");
    assert_int_equal(f->gone, 1);
    client_free(c);
}

/* --- deadlines ----------------------------------------------------------------------------- */

static void slow_requests_are_ended(void **state)
{
    static const char *const texts[] = { "GET / HT", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab" };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct client *c = client_connect(f->loop, f->port);
        struct reply r;

        client_send(c, texts[i]);
        r = client_reply(c, false);
        assert_int_equal(r.status, 408);
        reply_free(&r);
        client_wait_end(c);
        client_free(c);
    }
}

static void dripping_does_not_help(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    int64_t start = loop_now_ns();

    client_send(c, "GET /");
    while (!c->ended && loop_now_ns() - start < INT64_C(30000000000)) {
        struct client drip = *c;
        char got[4096];
        ssize_t n;

        client_send(&drip, "x");
        n = recv(c->fd, got, sizeof(got), 0);
        c->ended = n >= 0;
    }
    assert_true(c->ended);
    client_free(c);
}

static void idle_connections_are_closed(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port), *silent = client_connect(f->loop, f->port);

    client_send(c, "GET /a HTTP/1.1\r\n\r\n");
    expect(c, 200, "/a");
    client_wait_end(c);
    client_wait_end(silent);
    client_free(c);
    client_free(silent);
}

static void slow_handlers_are_waited_for(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    int64_t start = loop_now_ns();

    client_send(c, "GET /hold HTTP/1.1\r\n\r\n");
    turn_until(f->loop, loop_now_ns() - start > INT64_C(1500000000));
    reply_text(f->held[0], 200, "late");
    expect(c, 200, "late");
    client_free(c);
}

static void stalled_readers_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "GET /pieces HTTP/1.1\r\n\r\n");
    turn_until(f->loop, f->gone == 1);
    assert_true(f->pieces > 0);
    client_free(c);
}

/* --- limits -------------------------------------------------------------------------------- */

static void idle_connections_make_room(void **state)
{
    struct fixture *f = *state;
    struct client *c[CONNECTIONS_MAX + 1];

    for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
        c[i] = client_connect(f->loop, f->port);
        client_send(c[i], "GET /a HTTP/1.1\r\n\r\n");
        expect(c[i], 200, "/a");
    }
    client_wait_end(c[0]);
    client_send(c[1], "GET /b HTTP/1.1\r\n\r\n");
    expect(c[1], 200, "/b");
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        client_free(c[i]);
}

static void busy_connections_make_others_wait(void **state)
{
    struct fixture *f = *state;
    struct client *c[CONNECTIONS_MAX], *waiting;

    for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
        c[i] = client_connect(f->loop, f->port);
        client_send(c[i], "GET /hold HTTP/1.1\r\n\r\n");
    }
    turn_until(f->loop, f->server->n_conns == CONNECTIONS_MAX);
    assert_true(f->server->paused);
    (void)evtimer_del(f->server->resume);   /* the moment lasts until we have looked */
    turn_until(f->loop, f->n_held == CONNECTIONS_MAX);
    waiting = client_connect(f->loop, f->port);
    client_send(waiting, "GET /a HTTP/1.1\r\n\r\n");
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    assert_int_equal(f->served, CONNECTIONS_MAX);
    reply_text(f->held[0], 200, "done");
    expect(c[0], 200, "done");
    (void)evtimer_add(f->server->resume, &(struct timeval){ 0 });
    expect(waiting, 200, "/a");
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        client_free(c[i]);
    client_free(waiting);
}

/* All that there are for one user, each with a request that is not answered. */
static void hold_all(struct fixture *f, struct client *c[CONNECTIONS_MAX])
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        c[i] = client_connect(f->loop, f->port);
        client_send(c[i], "GET /hold HTTP/1.1\r\n\r\n");
    }
    turn_until(f->loop, f->n_held == CONNECTIONS_MAX);
}

static void a_user_who_has_all_keeps_out_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct client *c[CONNECTIONS_MAX], *other;

    hold_all(f, c);
    f->uid = 7;
    other = client_connect(f->loop, f->port);
    client_send(other, "GET /a HTTP/1.1\r\n\r\n");
    expect(other, 200, "/a");
    client_free(other);
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        client_free(c[i]);
}

static void who_has_all_is_told_so(void **state)
{
    struct fixture *f = *state;
    struct client *c[CONNECTIONS_MAX], *one_more;
    struct reply r;

    hold_all(f, c);
    one_more = client_connect(f->loop, f->port);
    r = client_reply(one_more, false);
    assert_int_equal(r.status, 503);
    assert_string_equal(reply_field(&r, "Content-Type"), "application/problem+json");
    assert_string_equal(reply_field(&r, "Cache-Control"), "no-store");
    assert_non_null(strstr(r.body, "MaxConnections"));
    assert_true(r.whole);
    reply_free(&r);
    client_wait_end(one_more);
    client_free(one_more);
    reply_text(f->held[0], 200, "done");
    expect(c[0], 200, "done");
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        client_free(c[i]);
}

static void silent_connections_make_room(void **state)
{
    static const char *const said[] = { "", "GET /a", "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nab" };
    struct http_spec spec = { .ops = &ops, .arg = *state, .max_header_bytes = HEADER_MAX, .max_body_bytes = BODY_MAX,
                              .max_connections = CONNECTIONS_MAX, .timeout_seconds = 30 };
    struct fixture *f = *state;

    http_server_free(f->server);
    f->server = http_server_new(f->loop, &spec);
    f->port = 0;
    assert_int_equal(http_server_listen(f->server, listen_loopback(AF_INET, &f->port)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        struct client *c[CONNECTIONS_MAX], *next;
        int64_t began;

        for (size_t k = 0; k < ARRAY_SIZE(c); k++) {
            c[k] = client_connect(f->loop, f->port);
            client_send(c[k], said[i]);
        }
        turn_until(f->loop, f->server->n_conns == CONNECTIONS_MAX);
        began = loop_now_ns();
        turn_until(f->loop, loop_now_ns() - began > INT64_C(1200000000));
        next = client_connect(f->loop, f->port);
        client_send(next, "GET /a HTTP/1.1\r\n\r\n");
        expect(next, 200, "/a");
        assert_true(loop_now_ns() - began < INT64_C(25000000000));
        client_wait_end(c[0]);
        client_free(next);
        for (size_t k = 0; k < ARRAY_SIZE(c); k++)
            client_free(c[k]);
        turn_until(f->loop, f->server->n_conns == 0);
    }
}

static void strangers_get_few_connections(void **state)
{
    struct http_spec spec = { .ops = &ops, .arg = *state, .max_header_bytes = HEADER_MAX, .max_body_bytes = BODY_MAX,
                              .max_connections = 200, .timeout_seconds = 30 };
    struct fixture *f = *state;
    struct client *strangers[30], *owner;
    char byte;

    http_server_free(f->server);
    f->server = http_server_new(f->loop, &spec);
    f->port = 0;
    assert_int_equal(http_server_listen(f->server, listen_loopback(AF_INET, &f->port)), 0);
    f->welcome = false;
    for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
        strangers[i] = client_connect(f->loop, f->port);
    for (size_t i = HTTP_STRANGERS_MAX; i < ARRAY_SIZE(strangers); i++)
        client_wait_end(strangers[i]);
    for (size_t i = 0; i < HTTP_STRANGERS_MAX; i++) {
        assert_int_equal(recv(strangers[i]->fd, &byte, 1, 0), -1);
        assert_int_equal(errno, EAGAIN);
    }
    f->welcome = true;
    owner = client_connect(f->loop, f->port);
    client_send(owner, "GET /a HTTP/1.1\r\n\r\n");
    expect(owner, 200, "/a");
    client_free(owner);
    for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
        client_free(strangers[i]);
}

/* --- replies ------------------------------------------------------------------------------- */

/* What the socket does not take at once follows, before the next reply. */
static void large_replies_arrive_whole(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "GET /large HTTP/1.1\r\n\r\n");
    turn_until(f->loop, f->served == 1);
    client_send(c, "GET /next HTTP/1.1\r\n\r\n");
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    assert_int_equal(f->served, 1);
    expect(c, 200, large());
    expect(c, 200, "/next");
    client_send(c, "HEAD /large HTTP/1.1\r\n\r\n");
    turn_until(f->loop, f->served == 3);
    client_free(c);
}

static void pieces_wait_for_the_reader(void **state)
{
    static const char *const paths[] = { "/pieces", "/sized" };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        char text[64];
        struct client *c = client_connect(f->loop, f->port);
        struct reply r;

        (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n", paths[i]);
        client_send(c, text);
        r = client_reply(c, false);
        assert_int_equal(r.status, 200);
        assert_int_equal(r.length, 50 * PIECE);
        assert_true(r.whole);
        assert_int_equal(reply_field(&r, "Content-Length") != NULL, i == 1);
        reply_free(&r);
        expect(c, 200, "/next");
        client_free(c);
    }
    assert_true(f->drained >= 2 * 49);
}

static void old_clients_get_no_chunks(void **state)
{
    struct fixture *f = *state;
    struct reply r = ask_once(f->loop, f->port, "GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");

    assert_int_equal(r.length, 50 * PIECE);
    assert_null(reply_field(&r, "Transfer-Encoding"));
    assert_string_equal(reply_field(&r, "Connection"), "close");
    reply_free(&r);
}

static void head_gets_no_body(void **state)
{
    static const char *const paths[] = { "/pieces", "/sized", "/a" };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        char text[64];
        struct client *c = client_connect(f->loop, f->port);
        struct reply r;

        (void)snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\n\r\n", paths[i]);
        client_send(c, text);
        r = client_reply(c, true);
        assert_int_equal(r.status, 200);
        reply_free(&r);
        if (f->pieced && i < 2) {
            f->pieces = 0;
            http_reply_end(f->pieced);
        }
        client_send(c, "GET /next HTTP/1.1\r\n\r\n");
        expect(c, 200, "/next");
        client_free(c);
    }
}

static void cut_replies_are_seen_as_such(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "GET /cut HTTP/1.1\r\n\r\n");
    client_wait_end(c);
    assert_true(c->reset);
    assert_int_equal(f->gone, 0);
    client_free(c);
}

static void lost_clients_are_noticed(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    struct linger hard = { .l_onoff = 1 };

    client_send(c, "GET /hold HTTP/1.1\r\n\r\n");
    turn_until(f->loop, f->n_held == 1);
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    client_free(c);
    turn_until(f->loop, f->gone == 1);
}

static void half_closed_clients_get_their_reply(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);

    client_send(c, "GET /hold HTTP/1.1\r\n\r\n");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    turn_until(f->loop, f->n_held == 1);
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    assert_int_equal(f->gone, 0);
    reply_text(f->held[0], 200, "late");
    expect(c, 200, "late");
    client_wait_end(c);
    client_free(c);
}

/* --- stopping ------------------------------------------------------------------------------ */

static void on_stopped(void *arg)
{
    struct fixture *f = arg;

    f->stopped = true;
}

static void stopping_lets_replies_out(void **state)
{
    struct fixture *f = *state;
    struct client *busy = client_connect(f->loop, f->port), *idle = client_connect(f->loop, f->port);

    client_send(idle, "GET /a HTTP/1.1\r\n\r\n");
    expect(idle, 200, "/a");
    client_send(busy, "GET /hold HTTP/1.1\r\n\r\n");
    turn_until(f->loop, f->n_held == 1);
    http_server_stop(f->server, on_stopped, f);
    client_wait_end(idle);
    assert_false(f->stopped);
    reply_text(f->held[0], 200, "last");
    expect(busy, 200, "last");
    client_free(busy);
    turn_until(f->loop, f->stopped);
    client_free(idle);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_ahead_are_answered_in_order),
        TEST(request_may_come_byte_by_byte),
        TEST(every_reply_is_protected),
        TEST(header_lines_cannot_be_forged),
        TEST(too_much_is_refused),
        TEST(refused_body_is_read_over),
        TEST(refused_body_is_no_request),
        TEST(refusal_without_body_keeps_the_connection),
        TEST(body_may_be_waited_for),
        TEST(bodies_are_taken_as_they_come),
        cmocka_unit_test_setup_teardown(nobody_is_late_while_nothing_is_wanted, set_up_hasty, tear_down),
        TEST(an_early_reply_ends_the_connection),
        TEST(taken_bodies_have_their_own_limit),
        TEST(clients_may_leave_or_close_their_side),
        cmocka_unit_test_setup_teardown(slow_requests_are_ended, set_up_hasty, tear_down),
        cmocka_unit_test_setup_teardown(dripping_does_not_help, set_up_hasty, tear_down),
        cmocka_unit_test_setup_teardown(idle_connections_are_closed, set_up_hasty, tear_down),
        cmocka_unit_test_setup_teardown(slow_handlers_are_waited_for, set_up_hasty, tear_down),
        cmocka_unit_test_setup_teardown(stalled_readers_are_dropped, set_up_hasty, tear_down),
        TEST(idle_connections_make_room),
        TEST(busy_connections_make_others_wait),
        TEST(a_user_who_has_all_keeps_out_nobody_else),
        TEST(who_has_all_is_told_so),
        TEST(silent_connections_make_room),
        TEST(strangers_get_few_connections),
        TEST(large_replies_arrive_whole),
        TEST(pieces_wait_for_the_reader),
        TEST(old_clients_get_no_chunks),
        TEST(head_gets_no_body),
        TEST(cut_replies_are_seen_as_such),
        TEST(lost_clients_are_noticed),
        TEST(half_closed_clients_get_their_reply),
        TEST(stopping_lets_replies_out),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
