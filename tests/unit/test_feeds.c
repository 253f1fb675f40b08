/* /notification and /statechange as their clients see them, with played neighbours behind frontd. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frontd/feeds.h"
#include "tests/unit/socket_client.h"

#define GAP_TEXT "Something that happened before this was not told; what is shown of it must be asked for anew."
#define NOTIFICATION_GAP "{\"Type\":2,\"Data\":{\"Kind\":\"gap\",\"Text\":\"" GAP_TEXT "\"},\"Id\":#}"
#define STATECHANGE_GAP "{\"Path\":\"\",\"StorageName\":\"\",\"State\":16,\"Id\":#}"
#define STATE(path) "{\"Path\":\"" path "\",\"StorageName\":\"s\",\"State\":4,\"Id\":#}"

/* --- the played syncd ------------------------------------------------------------------------ */

/* The first words of each path are the gap with which every subscription begins; both stay in the ring. */
static int set_up_subscribed(void **state, const char *const *sets, size_t n)
{
    struct fixture *f;

    (void)frontd_set_up_with(state, sets, n);
    f = *state;
    turn_until(f->loop, f->watcher);
    for (unsigned i = 0; i < 5; i++) /* its answer arrives */
        turn(f->loop);
    return 0;
}

static int set_up(void **state)
{
    return set_up_subscribed(state, NULL, 0);
}

static int set_up_small(void **state)
{
    static const char *const sets[] = { "EventsKept=16", "WebSocketPingSeconds=1", "HttpTimeoutSeconds=1",
                                        "MaxWebSockets=3" };

    return set_up_subscribed(state, sets, ARRAY_SIZE(sets));
}

/* What tell_much() takes must be less. */
static int set_up_patient(void **state)
{
    static const char *const sets[] = { "EventsKept=16", "HttpTimeoutSeconds=4" };

    return set_up_subscribed(state, sets, ARRAY_SIZE(sets));
}

static void send_event(struct fixture *f, Lf__Envelope *env)
{
    assert_non_null(f->watcher);
    assert_int_equal(ipc_peer_event(f->watcher, env, NULL, 0), 0);
}

static void change_state(struct fixture *f, const char *path)
{
    Lf__StateChange change = LF__STATE_CHANGE__INIT;
    Lf__StateChanged msg = LF__STATE_CHANGED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(STATE_CHANGED, state_changed, &msg);

    msg.change = &change;
    change.path = (char *)path;
    change.storage_name = (char *)"s";
    change.has_state = true;
    change.state = 4;
    send_event(f, &env);
}

static void notice(struct fixture *f, const char *text)
{
    Lf__UserNotification n = LF__USER_NOTIFICATION__INIT;
    Lf__Noticed msg = LF__NOTICED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(NOTICED, noticed, &msg);

    msg.notice = &n;
    n.kind = (char *)"test";
    n.text = (char *)text;
    send_event(f, &env);
}

static void make_progress(struct fixture *f, const char *error)
{
    Lf__Progress p = LF__PROGRESS__INIT;
    Lf__Progressed msg = LF__PROGRESSED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(PROGRESSED, progressed, &msg);

    msg.progress = &p;
    p.transfer_mode = (char *)"Upload";
    p.path = (char *)"/a/\xff\"\n";
    p.has_bytes = true;
    p.bytes = INT64_C(1) << 40;
    p.error = (char *)error;
    send_event(f, &env);
}

static void miss(struct fixture *f, uint64_t number)
{
    Lf__EventsMissed missed = LF__EVENTS_MISSED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(EVENTS_MISSED, events_missed, &missed);

    missed.number = number;
    send_event(f, &env);
}

/* --- the handshake --------------------------------------------------------------------------- */

static void requests_that_are_no_upgrade_are_refused(void **state)
{
    static const struct {
        const char *line, *fields;
        int status;
    } rows[] = {
        { "GET /notification", "", 400 },
        { "GET /statechange", "", 400 },
        { "HEAD /notification", UPGRADE_FIELDS, 400 },
        { "POST /notification", UPGRADE_FIELDS, 405 },
        { "GET /notification", UPGRADE_FIELDS "Origin: null\r\n", 403 },
        { "GET /statechange", UPGRADE_FIELDS "Origin: http://evil.test\r\n", 403 },
        { "GET /statechange", UPGRADE_FIELDS "Sec-Fetch-Site: cross-site\r\n", 403 },
        { "GET /notification?since=x", UPGRADE_FIELDS, 499 },
        { "GET /notification?since=-1", UPGRADE_FIELDS, 499 },
        { "GET /notification?since=9007199254740993", UPGRADE_FIELDS, 499 },
        { "GET /notifications", UPGRADE_FIELDS, 404 },
        { "GET /notification", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct reply r = request(*state, rows[i].line, rows[i].fields, NULL);

        if (r.status != rows[i].status)
            fail_msg("%s %s -> %d", rows[i].line, rows[i].fields, r.status);
        assert_string_equal(reply_field(&r, "Content-Type"), "application/problem+json");
        if (r.status == 426)
            assert_string_equal(reply_field(&r, "Sec-WebSocket-Version"), "13");
        reply_free(&r);
    }
}

static void pages_of_allowed_origins_may_listen(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    char text[1024];
    struct reply r;

    client_send(c, make_request(f, text, sizeof(text), "GET /Notification/",
                                UPGRADE_FIELDS "Origin: https://app.example.org\r\n", NULL));
    r = client_reply(c, true);
    assert_int_equal(r.status, 101);
    assert_null(reply_field(&r, "Sec-WebSocket-Extensions"));
    assert_null(reply_field(&r, "Sec-WebSocket-Protocol"));
    reply_free(&r);
    notice(f, "x");
    (void)socket_expect(c, "{\"Type\":2,\"Data\":{\"Kind\":\"test\",\"Text\":\"x\"},\"Id\":#}");
    client_free(c);
}

/* --- what is told ---------------------------------------------------------------------------- */

static void events_of_syncd_become_frames(void **state)
{
    struct fixture *f = *state;
    struct client *n = socket_open(f, "/notification"), *s = socket_open_unix(f, "/statechange");

    make_progress(f, NULL);
    change_state(f, "/m/a");
    make_progress(f, "Gone.");
    change_state(f, "/m/b");
    (void)socket_expect(n, "{\"Type\":1,\"Data\":{\"TransferMode\":\"Upload\",\"Path\":\"/a/\xef\xbf\xbd\\\"\\n\","
                           "\"Bytes\":1099511627776,\"Error\":null},\"Id\":#}");
    (void)socket_expect(n, "{\"Type\":1,\"Data\":{\"TransferMode\":\"Upload\",\"Path\":\"/a/\xef\xbf\xbd\\\"\\n\","
                           "\"Bytes\":1099511627776,\"Error\":\"Gone.\"},\"Id\":#}");
    (void)socket_expect(s, STATE("/m/a"));
    (void)socket_expect(s, STATE("/m/b"));
    client_free(n);
    client_free(s);
}

#define CALLED(address, method, origin) \
    "{\"Type\":4,\"Data\":{\"Operation\":\"EndpointExecution\",\"EndpointAddress\":\"" address "\",\"HttpMethod\":\"" \
    method "\",\"Origin\":\"" origin "\"},\"Id\":#}"

static void calls_that_were_carried_out_are_told(void **state)
{
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/notification");
    uint64_t first;

    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, NULL);
    expect_reply(f, "GET /management/object_make_offline?path=/a", "", NULL, 200, NULL, NULL);
    expect_reply(f, "POST /management/clouddrive", "", "{\"name\":\"taken\"}", 499, "DUPLICATE", NULL);
    expect_reply(f, "POST /management/clouddrive", "", "{\"name\":", 400, "DEFAULT", NULL);
    expect_reply(f, "POST /no/such/path", "", NULL, 404, "NOT_FOUND", NULL);
    expect_reply(f, "POST /management/clouddrive", "Origin: null\r\n", "{\"name\":\"a\"}", 403, "ACCESS", NULL);
    expect_reply(f, "POST /management/clouddrive", "X-App-Origin: page \"1\"\r\n", "{\"name\":\"a\"}", 200, NULL, NULL);
    expect_reply(f, "DELETE /management/clouddrive/x?force=true", "", NULL, 200, NULL, NULL);
    expect_reply(f, "PUT /management/clouddrive/known%20id", "", "{}", 200, NULL, NULL);
    expect_reply(f, "POST /cloud/list_buckets?includeRegion=true", "", "{}", 200, NULL, NULL); /* in pieces */
    first = socket_expect(c, CALLED("/management/clouddrive", "POST", "page \\\"1\\\""));
    assert_int_equal(socket_expect(c, CALLED("/management/clouddrive/x", "DELETE", "")), first + 1);
    assert_int_equal(socket_expect(c, CALLED("/management/clouddrive/known%20id", "PUT", "")), first + 2);
    assert_int_equal(socket_expect(c, CALLED("/cloud/list_buckets", "POST", "")), first + 3);
    client_free(c);
}

static void notices_of_programs_are_passed_on(void **state)
{
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/notification");

    expect_reply(f, "POST /management/notify", "",
                 "{\"operation\":2,\"endpointAddress\":\"/x\",\"httpMethod\":\"PUT\",\"origion\":\"me\",\"data\":\"a\\n<b>\"}",
                 200, NULL, "");
    expect_reply(f, "POST /management/notify", "", "{\"operation\":1,\"endpointAddress\":\"https://x.test/a:b\"}", 200, NULL, "");
    (void)socket_expect(c, "{\"Type\":4,\"Data\":{\"Operation\":\"EndpointExecution\",\"EndpointAddress\":\"/x\","
                           "\"HttpMethod\":\"PUT\",\"Origin\":\"me\",\"Data\":\"a\\n<b>\"},\"Id\":#}");
    (void)socket_expect(c, CALLED("/management/notify", "POST", ""));
    (void)socket_expect(c, "{\"Type\":4,\"Data\":{\"Operation\":\"AppExit\",\"EndpointAddress\":\"https://x.test/a:b\","
                           "\"HttpMethod\":\"\",\"Origin\":\"\",\"Data\":null},\"Id\":#}");
    (void)socket_expect(c, CALLED("/management/notify", "POST", ""));
    assert_int_equal(f->n_shutdowns, 0);
    client_free(c);
}

static void notices_are_held_against_the_rules(void **state)
{
    static const char *const bodies[] = {
        "{}",
        "{\"operation\":0}",
        "{\"operation\":3}",
        "{\"operation\":-1}",
        "{\"operation\":\"1\"}",
        "{\"operation\":1,\"data\":{}}",
        "{\"operation\":1,\"endpointAddress\":\"javascript:alert(1)\"}",
        "{\"operation\":1,\"endpointAddress\":\" javascript:alert(1)\"}",
        "{\"operation\":1,\"endpointAddress\":\"data:text/html,x\"}",
        "{\"operation\":1,\"endpointAddress\":\"/a\\u001b[2J\"}",
        "{\"operation\":1,\"httpMethod\":\"POST\\n\"}",
        "{\"operation\":1,\"httpMethod\":\"LONGER_THAN_METHODS_ARE\"}",
        "{\"operation\":1,\"origion\":\"\\u202etxt\"}",
    };
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/notification");

    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
        expect_reply(f, "POST /management/notify", "", bodies[i], 499, "DEFAULT", NULL);
    notice(f, "only this");
    (void)socket_expect(c, "{\"Type\":2,\"Data\":{\"Kind\":\"test\",\"Text\":\"only this\"},\"Id\":#}");
    client_free(c);
}

static int set_up_large_bodies(void **state)
{
    static const char *const sets[] = { "MaxBodyBytes=65536" };

    return set_up_subscribed(state, sets, ARRAY_SIZE(sets));
}

static void long_notices_are_refused(void **state)
{
    static const char *const fields[] = { "endpointAddress", "origion", "data" };

    for (size_t i = 0; i < 2 * ARRAY_SIZE(fields); i++) {
        char body[8192], text[4098] = { 0 };

        memset(text, 'x', 4096 + i % 2);
        (void)snprintf(body, sizeof(body), "{\"operation\":2,\"%s\":\"%s\"}", fields[i / 2], text);
        expect_reply(*state, "POST /management/notify", "", body, i % 2 ? 499 : 200, i % 2 ? "DEFAULT" : NULL, NULL);
    }
}

/* --- gaps and replay ------------------------------------------------------------------------- */

static void what_syncd_dropped_is_a_gap_on_both_paths(void **state)
{
    struct fixture *f = *state;
    struct client *n = socket_open(f, "/notification"), *s = socket_open(f, "/statechange");

    change_state(f, "/m/a");
    miss(f, 7);
    change_state(f, "/m/b");
    notice(f, "x");
    (void)socket_expect(s, STATE("/m/a"));
    (void)socket_expect(s, STATECHANGE_GAP);
    (void)socket_expect(s, STATE("/m/b"));
    (void)socket_expect(n, NOTIFICATION_GAP);
    (void)socket_expect(n, "{\"Type\":2,\"Data\":{\"Kind\":\"test\",\"Text\":\"x\"},\"Id\":#}");
    client_free(n);
    client_free(s);
}

static void a_lost_syncd_is_a_gap_on_both_paths(void **state)
{
    struct fixture *f = *state;
    struct client *n = socket_open(f, "/notification"), *s = socket_open(f, "/statechange");
    struct ipc_peer *lost = f->watcher;

    f->watcher = NULL;
    ipc_peer_close(lost);
    turn_until(f->loop, f->watched == 2 && f->watcher);
    change_state(f, "/m/a");
    (void)socket_expect(s, STATECHANGE_GAP);
    (void)socket_expect(s, STATE("/m/a"));
    (void)socket_expect(n, NOTIFICATION_GAP);
    client_free(n);
    client_free(s);
}

static struct client *open_since(struct fixture *f, uint64_t id)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/statechange?since=%llu", (unsigned long long)id);
    return socket_open(f, path);
}

static void who_comes_back_hears_what_followed(void **state)
{
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/statechange");
    uint64_t a, b;

    change_state(f, "/m/a");
    a = socket_expect(c, STATE("/m/a"));
    client_free(c);
    change_state(f, "/m/b");
    change_state(f, "/m/c");
    c = open_since(f, a);
    change_state(f, "/m/d");
    b = socket_expect(c, STATE("/m/b"));
    assert_int_equal(b, a + 1);
    assert_int_equal(socket_expect(c, STATE("/m/c")), a + 2);
    assert_int_equal(socket_expect(c, STATE("/m/d")), a + 3);
    client_free(c);
    c = open_since(f, a + 3);
    change_state(f, "/m/e");
    assert_int_equal(socket_expect(c, STATE("/m/e")), a + 4);
    client_free(c);
}

/* Ids of a frontd that was before, and of one whose clock was ahead. */
static void unknown_ids_are_a_gap_and_all_there_is(void **state)
{
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/statechange");
    uint64_t a, ids[] = { 0, 1, 0, 0, (UINT64_C(1) << 53) };

    change_state(f, "/m/a");
    a = socket_expect(c, STATE("/m/a"));
    ids[2] = a - 3;   /* the subscription's gap is a - 1, so the first that was never given is a - 2 */
    ids[3] = a + 1;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        struct client *back = open_since(f, ids[i]);

        assert_int_equal(socket_expect(back, STATECHANGE_GAP), a - 2);
        assert_int_equal(socket_expect(back, STATECHANGE_GAP), a - 1);
        assert_int_equal(socket_expect(back, STATE("/m/a")), a);
        client_free(back);
    }
    client_free(c);
}

static void what_the_ring_has_left_behind_is_counted(void **state)
{
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/statechange"), *back;
    uint64_t first = 0;

    for (unsigned i = 0; i < 40; i++) {
        char path[16], text[128];

        (void)snprintf(path, sizeof(path), "/m/%u", i);
        (void)snprintf(text, sizeof(text), "{\"Path\":\"%s\",\"StorageName\":\"s\",\"State\":4,\"Id\":#}", path);
        change_state(f, path);
        if (i == 0)
            first = socket_expect(c, text);
        else
            assert_int_equal(socket_expect(c, text), first + i);
    }
    back = open_since(f, first);
    assert_int_equal(socket_expect(back, "{\"Path\":\"\",\"StorageName\":\"\",\"State\":16,\"Missed\":23,\"Id\":#}"),
                     first + 23);
    assert_int_equal(socket_expect(back, STATE("/m/24")), first + 24);
    client_free(back);
    client_free(c);
}

static int set_up_few_bytes(void **state)
{
    static const char *const sets[] = { "EventBytesKept=262144" };

    return set_up_subscribed(state, sets, ARRAY_SIZE(sets));
}

/* Each byte becomes six. */
static void what_is_too_large_to_be_kept_is_a_gap(void **state)
{
    static char text[60000];
    struct fixture *f = *state;
    struct client *c = socket_open(f, "/notification");

    memset(text, 1, sizeof(text) - 1);
    notice(f, text);
    notice(f, "x");
    (void)socket_expect(c, NOTIFICATION_GAP);
    (void)socket_expect(c, "{\"Type\":2,\"Data\":{\"Kind\":\"test\",\"Text\":\"x\"},\"Id\":#}");
    client_free(c);
}

/* --- slow clients ---------------------------------------------------------------------------- */

enum { LARGE = 20000, ENOUGH = 40, MANY = 100 };   /* what so many need more than a socket holds */

static uint64_t missed_of(const struct frame *f)
{
    const char *at = strstr(f->text, "\"Missed\":");

    return at ? strtoull(at + strlen("\"Missed\":"), NULL, 10) : 0;
}

/* `quick` reads it all meanwhile. */
static void tell_much(struct fixture *f, struct client *quick, unsigned n)
{
    static char text[LARGE];
    uint64_t last = 0;

    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < n; i++) {
        struct frame frame;

        notice(f, text);
        frame = socket_next(quick);
        assert_int_equal(missed_of(&frame), 0);
        assert_true(!last || frame_id(&frame) == last + 1);
        last = frame_id(&frame);
        frame_free(&frame);
    }
}

static bool has_metric(struct fixture *f, const char *name, uint64_t value)
{
    struct reply r = request(f, "GET /metrics", "", NULL);
    char line[256];
    bool has;

    (void)snprintf(line, sizeof(line), "\n%s %llu\n", name, (unsigned long long)value);
    has = strstr(r.body, line);
    reply_free(&r);
    return has;
}

static void expect_metric(struct fixture *f, const char *name, uint64_t value)
{
    if (!has_metric(f, name, value))
        fail_msg("%s is not %llu", name, (unsigned long long)value);
}

static void slow_readers_hear_how_much_they_missed(void **state)
{
    struct fixture *f = *state;
    struct client *slow = socket_open_unix(f, "/notification"), *quick = socket_open(f, "/notification");
    uint64_t last = 0, heard = 0, missed = 0, gaps = 0;

    tell_much(f, quick, MANY);
    notice(f, "end");
    while (heard + missed <= MANY) {
        struct frame frame = socket_next(slow);
        uint64_t id = frame_id(&frame), skipped = missed_of(&frame);

        assert_int_equal(frame.opcode, OP_TEXT);
        if (last)
            assert_int_equal(id, last + (skipped ? skipped : 1));
        gaps += skipped > 0;
        missed += skipped;
        heard += skipped == 0;
        last = id;
        frame_free(&frame);
    }
    assert_int_equal(heard + missed, MANY + 1);
    assert_int_equal(gaps, 1);
    expect_metric(f, "landfall_websockets{path=\"/notification\"}", 2);
    expect_metric(f, "landfall_websockets{path=\"/statechange\"}", 0);
    expect_metric(f, "landfall_websocket_frames_total{path=\"/notification\"}", MANY + 2); /* and the first gap */
    expect_metric(f, "landfall_websocket_missed_frames_total{path=\"/notification\"}", missed);
    client_free(slow);
    client_free(quick);
}

static int set_up_sixteen(void **state)
{
    static const char *const sets[] = { "EventsKept=16", "EventBytesKept=1048576" };

    return set_up_subscribed(state, sets, ARRAY_SIZE(sets));
}

static void who_does_not_read_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct client *c = socket_open_unix(f, "/notification"), *other = socket_open(f, "/notification");
    struct frame frame;

    tell_much(f, other, ENOUGH);
    while (!has_metric(f, "landfall_websockets{path=\"/notification\"}", 1))
        turn(f->loop);
    do {
        frame = socket_next(c);
        if (frame.opcode == OP_CLOSE)
            assert_string_equal(frame.text, "\x03\xf0What was sent was not read for too long.");
        else
            assert_int_equal(frame.opcode, OP_TEXT);
        frame_free(&frame);
    } while (frame.opcode != OP_CLOSE);
    client_wait_end(c);
    notice(f, "x");
    (void)socket_expect(other, "{\"Type\":2,\"Data\":{\"Kind\":\"test\",\"Text\":\"x\"},\"Id\":#}");
    client_free(other);
    client_free(c);
}

/* --- life and end ---------------------------------------------------------------------------- */

static void take_in(struct client *c)
{
    char bytes[1024];
    ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

    if (n > 0)
        evbuffer_add(c->in, bytes, (size_t)n);
}

static void a_sign_of_life_keeps_a_client(void **state)
{
    struct fixture *f = *state;
    struct client *alive = socket_open(f, "/statechange"), *dead = socket_open(f, "/statechange");
    int64_t began = loop_now_ns();
    bool closed = false;

    /* Pings each second: with the third both would be gone, and HttpTimeoutSeconds does not matter any more. */
    while (!closed) {
        struct frame frame;

        assert_true(loop_now_ns() - began < INT64_C(60000000000));
        turn(f->loop);
        take_in(alive);
        while (frame_take(alive->in, &frame)) {
            assert_int_equal(frame.opcode, OP_PING);
            socket_send(alive, FIN | OP_PONG, frame.text, frame.length);
            frame_free(&frame);
        }
        take_in(dead);
        while (!closed && frame_take(dead->in, &frame)) {
            closed = frame.opcode == OP_CLOSE;
            assert_true(closed ? frame.code == 1008 : frame.opcode == OP_PING);
            frame_free(&frame);
        }
    }
    change_state(f, "/m/a");
    (void)socket_expect(alive, STATE("/m/a"));
    client_free(alive);
    client_free(dead);
}

static void breaches_end_one_connection(void **state)
{
    static const struct {
        unsigned first;
        const char *data;
        size_t n;
        unsigned code;
    } rows[] = {
        { FIN | OP_CLOSE, "\x03\xe8", 2, 1000 }, { FIN | OP_CLOSE, "", 0, 0 }, { OP_PING, "", 0, 1002 },
        { FIN | 7, "", 0, 1002 },
    };
    struct fixture *f = *state;
    struct client *other = socket_open(f, "/notification");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct client *c = socket_open(f, "/notification");

        socket_send(c, FIN | OP_TEXT, "hello", 5);
        socket_send(c, rows[i].first, rows[i].data, rows[i].n);
        socket_expect_close(c, rows[i].code);
        client_free(c);
    }
    notice(f, "x");
    (void)socket_expect(other, "{\"Type\":2,\"Data\":{\"Kind\":\"test\",\"Text\":\"x\"},\"Id\":#}");
    client_free(other);
}

/* A client may send its first frame behind its handshake, without waiting. */
static void frames_may_come_with_the_handshake(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    struct evbuffer *out = evbuffer_new();
    char text[1024];
    struct reply r;
    struct frame frame;

    make_request(f, text, sizeof(text), "GET /notification", UPGRADE_FIELDS, NULL);
    evbuffer_add(out, text, strlen(text));
    frame_add(out, FIN | OP_PING, "now", 3);
    while (evbuffer_get_length(out))
        assert_true(evbuffer_write(out, c->fd) > 0);
    r = client_reply(c, true);
    assert_int_equal(r.status, 101);
    frame = socket_next(c);
    assert_int_equal(frame.opcode, OP_PONG);
    assert_string_equal(frame.text, "now");
    frame_free(&frame);
    reply_free(&r);
    evbuffer_free(out);
    client_free(c);
}

static void there_may_be_so_many(void **state)
{
    struct fixture *f = *state;
    struct client *c[3];

    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = socket_open(f, i % 2 ? "/notification" : "/statechange");
    expect_reply(f, "GET /notification", UPGRADE_FIELDS, NULL, 503, "DEFAULT", NULL);
    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, "1");
    socket_send(c[0], FIN | OP_CLOSE, "\x03\xe8", 2);
    socket_expect_close(c[0], 1000);
    client_free(c[0]);
    for (unsigned i = 0; i < 10; i++)
        turn(f->loop);
    c[0] = socket_open(f, "/notification");
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        client_free(c[i]);
}

static int set_up_few_connections(void **state)
{
    static const char *const sets[] = { "MaxConnections=4" };

    return set_up_subscribed(state, sets, ARRAY_SIZE(sets));
}

static void who_listens_takes_no_place_of_requests(void **state)
{
    struct fixture *f = *state;
    struct client *c[12], *other;
    char text[512];

    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = socket_open(f, "/statechange");
    other = client_connect(f->loop, f->port);
    for (unsigned i = 0; i < 3; i++) { /* nobody waits for its place, so it keeps it */
        struct reply r;

        client_send(other, make_request(f, text, sizeof(text), "GET /management/agent_status", "", NULL));
        r = client_reply(other, false);
        assert_string_equal(r.body, "1");
        assert_null(reply_field(&r, "Connection"));
        reply_free(&r);
    }
    client_free(other);
    change_state(f, "/m/a");
    for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
        (void)socket_expect(c[i], STATE("/m/a"));
        client_free(c[i]);
    }
    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, "1");
}

static void the_end_is_announced(void **state)
{
    struct fixture *f = *state;
    struct client *n = socket_open(f, "/notification"), *s = socket_open(f, "/statechange");

    expect_reply(f, "POST /management/command/8", "X-App-Origin: me\r\n", NULL, 200, NULL, "");
    (void)socket_expect(n, "{\"Type\":4,\"Data\":{\"Operation\":\"AppExit\",\"EndpointAddress\":\"/management/command/8\","
                           "\"HttpMethod\":\"POST\",\"Origin\":\"me\"},\"Id\":#}");
    socket_expect_close(n, 1000);
    socket_expect_close(s, 1000);
    client_free(n);
    client_free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_that_are_no_upgrade_are_refused, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(pages_of_allowed_origins_may_listen, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(events_of_syncd_become_frames, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(calls_that_were_carried_out_are_told, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(notices_of_programs_are_passed_on, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(notices_are_held_against_the_rules, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(long_notices_are_refused, set_up_large_bodies, frontd_tear_down),
        cmocka_unit_test_setup_teardown(what_syncd_dropped_is_a_gap_on_both_paths, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(a_lost_syncd_is_a_gap_on_both_paths, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(who_comes_back_hears_what_followed, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(unknown_ids_are_a_gap_and_all_there_is, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(what_the_ring_has_left_behind_is_counted, set_up_sixteen, frontd_tear_down),
        cmocka_unit_test_setup_teardown(what_is_too_large_to_be_kept_is_a_gap, set_up_few_bytes, frontd_tear_down),
        cmocka_unit_test_setup_teardown(slow_readers_hear_how_much_they_missed, set_up_sixteen, frontd_tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_dropped, set_up_patient, frontd_tear_down),
        cmocka_unit_test_setup_teardown(a_sign_of_life_keeps_a_client, set_up_small, frontd_tear_down),
        cmocka_unit_test_setup_teardown(breaches_end_one_connection, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(frames_may_come_with_the_handshake, set_up, frontd_tear_down),
        cmocka_unit_test_setup_teardown(there_may_be_so_many, set_up_small, frontd_tear_down),
        cmocka_unit_test_setup_teardown(who_listens_takes_no_place_of_requests, set_up_few_connections,
                                        frontd_tear_down),
        cmocka_unit_test_setup_teardown(the_end_is_announced, set_up, frontd_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
