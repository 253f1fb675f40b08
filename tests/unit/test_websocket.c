/* What a WebSocket is told to do by bytes: frames, pings, the end; the handshake; and the ring of frames. */
#include "frontd/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "frontd/ring.h"
#include "frontd/sha1.h"
#include "frontd/upgrade.h"
#include "tests/unit/socket_client.h"

enum { RSV = 0x40 };

/* --- frames -------------------------------------------------------------------------------- */

struct rig {
    struct websocket *socket;
    struct evbuffer *in, *out;
};

static struct rig rig_new(void)
{
    return (struct rig){ websocket_new(), evbuffer_new(), evbuffer_new() };
}

static void rig_free(struct rig *r)
{
    websocket_free(r->socket);
    evbuffer_free(r->in);
    evbuffer_free(r->out);
}

/* One byte at a time, as TCP may. */
static bool take_slowly(struct rig *r)
{
    struct evbuffer *byte = evbuffer_new();
    bool open = true;
    char c;

    while (open && evbuffer_remove(r->in, &c, 1) == 1) {
        evbuffer_add(byte, &c, 1);
        open = websocket_take(r->socket, byte, r->out);
    }
    evbuffer_free(byte);
    return open;
}

static void expect_close(struct rig *r, unsigned code)
{
    struct frame f;

    assert_true(frame_take(r->out, &f));
    assert_int_equal(f.opcode, OP_CLOSE);
    assert_int_equal(f.code, code);
    assert_int_equal(evbuffer_get_length(r->out), 0);
    frame_free(&f);
}

struct piece {
    unsigned first;
    const char *data;
    size_t n;
};

static char long_text[WEBSOCKET_MESSAGE_MAX + 1];

static const struct breach {
    struct piece pieces[3];
    unsigned code;
} breaches[] = {
    { { { FIN | RSV | OP_TEXT, "a", 1 } }, 1002 },
    { { { FIN | 3, "a", 1 } }, 1002 },
    { { { FIN | 11, "a", 1 } }, 1002 },
    { { { OP_PING, "a", 1 } }, 1002 },
    { { { FIN | OP_PING, long_text, 126 } }, 1002 },
    { { { FIN | OP_MORE, "a", 1 } }, 1002 },
    { { { OP_TEXT, "a", 1 }, { FIN | OP_TEXT, "b", 1 } }, 1002 },
    { { { OP_TEXT, "a", 1 }, { FIN | OP_MORE, "b", 1 }, { FIN | OP_MORE, "c", 1 } }, 1002 },
    { { { FIN | OP_TEXT, long_text, sizeof(long_text) } }, 1009 },
    { { { OP_BINARY, long_text, 4096 }, { FIN | OP_MORE, "b", 1 } }, 1009 },
    { { { FIN | OP_CLOSE, "\x03", 1 } }, 1002 },
    { { { FIN | OP_CLOSE, "\x03\xed", 2 } }, 1002 },    /* 1005 */
    { { { FIN | OP_CLOSE, "\x03\xec", 2 } }, 1002 },    /* 1004 */
    { { { FIN | OP_CLOSE, "\x13\x88", 2 } }, 1002 },    /* 5000 */
    { { { FIN | OP_CLOSE, "\x03\xe8 bye", 6 } }, 1000 },
    { { { FIN | OP_CLOSE, "\x03\xe9", 2 } }, 1001 },
    { { { FIN | OP_CLOSE, "\x0f\xa0", 2 } }, 4000 },
    { { { FIN | OP_CLOSE, "", 0 } }, 0 },
};

static void add_pieces(struct rig *r, const struct piece *p)
{
    for (size_t i = 0; i < 3 && p[i].data; i++)
        frame_add(r->in, p[i].first, p[i].data, p[i].n);
}

static void each_breach_has_its_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(breaches); i++) {
        const struct breach *b = &breaches[i / 2];
        struct rig r = rig_new();

        add_pieces(&r, b->pieces);
        assert_false(i % 2 ? take_slowly(&r) : websocket_take(r.socket, r.in, r.out));
        expect_close(&r, b->code);
        assert_int_equal(websocket_code(r.socket), b->code ? b->code : (unsigned)WEBSOCKET_NO_CODE);
        rig_free(&r);
    }
}

static void raw_breaches_have_their_code(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        unsigned code;
    } rows[] = {
        { "\x81\x01" "a", 3, 1002 },                                         /* unmasked */
        { "\x81\x00", 2, 1002 },
        { "\x82\xff\x80\0\0\0\0\0\0\0mask", 14, 1002 },                       /* longer than 2^63 */
        { "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffmaska", 15, 1009 },
        { "\x82\xff\0\0\0\0\0\0\0\x01maska", 15, 1002 },                      /* not in the shortest form */
        { "\x82\xfe\0\x05maskabcde", 13, 1002 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct rig r = rig_new();

        evbuffer_add(r.in, rows[i].bytes, rows[i].n);
        if (websocket_take(r.socket, r.in, r.out))
            fail_msg("row %zu is let pass", i);
        expect_close(&r, rows[i].code);
        rig_free(&r);
    }
}

static void what_clients_say_is_thrown_away(void **state)
{
    static const struct piece fine[][3] = {
        { { FIN | OP_TEXT, "hello", 5 }, { FIN | OP_BINARY, "\xff\xfe", 2 } },
        { { FIN | OP_TEXT, long_text, WEBSOCKET_MESSAGE_MAX }, { FIN | OP_TEXT, "", 0 } },
        { { OP_TEXT, "a", 1 }, { FIN | OP_PONG, "", 0 }, { FIN | OP_MORE, "b", 1 } },
        { { OP_TEXT, "", 0 }, { OP_MORE, "", 0 }, { FIN | OP_MORE, "", 0 } },
    };
    struct rig r = rig_new();

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(fine); i++) {
        add_pieces(&r, fine[i / 2]);
        assert_true(i % 2 ? take_slowly(&r) : websocket_take(r.socket, r.in, r.out));
        assert_int_equal(evbuffer_get_length(r.in), 0);
        assert_int_equal(evbuffer_get_length(r.out), 0);
    }
    rig_free(&r);
}

static void pings_are_answered_up_to_a_limit(void **state)
{
    struct rig r = rig_new();
    struct frame f;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < WEBSOCKET_PINGS_MAX; i++) {
            frame_add(r.in, FIN | OP_PING, "\0abc", 4);
            assert_true(websocket_take(r.socket, r.in, r.out));
            assert_true(frame_take(r.out, &f));
            assert_int_equal(f.opcode, OP_PONG);
            assert_memory_equal(f.text, "\0abc", 4);
            frame_free(&f);
        }
        if (round)
            break;
        assert_true(websocket_ping(r.socket, r.out)); /* a new count begins */
        assert_true(frame_take(r.out, &f));
        assert_int_equal(f.opcode, OP_PING);
        frame_free(&f);
    }
    frame_add(r.in, FIN | OP_PING, "", 0);
    frame_add(r.in, FIN | OP_PING, "", 0);
    assert_false(websocket_take(r.socket, r.in, r.out));
    expect_close(&r, 1008);
    rig_free(&r);
}

static void two_pings_without_an_answer_are_the_end(void **state)
{
    struct rig r = rig_new();
    struct evbuffer *none = evbuffer_new();

    (void)state;
    for (unsigned i = 0; i < 10; i++) { /* any answer will do */
        assert_true(websocket_ping(r.socket, r.out));
        assert_true(websocket_ping(r.socket, r.out));
        frame_add(r.in, FIN | OP_TEXT, "here", 4);
        assert_true(websocket_take(r.socket, r.in, r.out));
    }
    assert_true(websocket_take(r.socket, none, r.out));
    assert_true(websocket_ping(r.socket, r.out));
    assert_true(websocket_ping(r.socket, r.out));
    (void)evbuffer_drain(r.out, evbuffer_get_length(r.out));
    assert_false(websocket_ping(r.socket, r.out));
    expect_close(&r, 1008);
    evbuffer_free(none);
    rig_free(&r);
}

static void a_close_is_the_last(void **state)
{
    char reason[200] = { 0 };
    struct rig r = rig_new();
    struct frame f;

    (void)state;
    memset(reason, 'r', sizeof(reason) - 1);
    assert_int_equal(websocket_code(r.socket), WEBSOCKET_GONE);
    websocket_close(r.socket, WEBSOCKET_NORMAL, reason, r.out);
    assert_true(frame_take(r.out, &f));
    assert_int_equal(f.length, 125);
    frame_free(&f);
    websocket_close(r.socket, WEBSOCKET_POLICY, "again", r.out);
    frame_add(r.in, FIN | OP_PING, "", 0);
    assert_false(websocket_take(r.socket, r.in, r.out));
    assert_int_equal(evbuffer_get_length(r.in), 0);
    assert_int_equal(evbuffer_get_length(r.out), 0);
    rig_free(&r);
}

static void heads_have_the_shortest_form(void **state)
{
    static const struct {
        size_t length, n;
        const char *head;
    } rows[] = {
        { 0, 2, "\x81\0" },
        { 125, 2, "\x81\x7d" },
        { 126, 4, "\x81\x7e\0\x7e" },
        { 65535, 4, "\x81\x7e\xff\xff" },
        { 65536, 10, "\x81\x7f\0\0\0\0\0\x01\0\0" },
    };
    uint8_t head[WEBSOCKET_HEAD_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(websocket_text_head(rows[i].length, head), rows[i].n);
        assert_memory_equal(head, rows[i].head, rows[i].n);
    }
}

/* --- the handshake ------------------------------------------------------------------------- */

static void hashes_are_those_of_the_standard(void **state)
{
    static const struct {
        size_t n;   /* so many times "a" */
        const char *hex;
    } rows[] = {
        { 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { 1, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8" },
        { 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a" },
        { 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699" },
        { 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d" },
        { 119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56" },
        { 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f" },
    };
    char *text = malloc(1000000);
    uint8_t hash[SHA1_SIZE];
    char hex[2 * SHA1_SIZE + 1];

    (void)state;
    memset(text, 'a', 1000000);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        sha1(text, rows[i].n, hash);
        text_hex(hash, sizeof(hash), hex);
        assert_string_equal(hex, rows[i].hex);
    }
    free(text);
}

static int check_head(const char *text)
{
    struct http_head h;
    int status;

    assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
    status = upgrade_check(&h).status;
    http_head_free(&h);
    return status;
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define BOTH "Upgrade: websocket\r\nConnection: Upgrade\r\n"

static void handshakes_are_checked(void **state)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        { "GET / HTTP/1.1\r\n" BOTH VERSION KEY "\r\n", 0 },
        { "GET / HTTP/1.1\r\nUPGRADE: h2c, WebSocket\r\nconnection: keep-alive\r\nConnection: x,upgrade\r\n" VERSION KEY
          "\r\n", 0 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.0\r\n" BOTH VERSION KEY "\r\n", 400 },
        { "HEAD / HTTP/1.1\r\n" BOTH VERSION KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: 1\r\n" BOTH VERSION KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\nUpgrade: websocket\r\n" VERSION KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\nUpgrade: websockets\r\nConnection: Upgrade\r\n" VERSION KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\nConnection: Upgrade\r\n" VERSION KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH VERSION VERSION KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH "Sec-WebSocket-Version: 8\r\n" KEY "\r\n", 426 },
        { "GET / HTTP/1.1\r\n" BOTH "Sec-WebSocket-Version: 013\r\n" KEY "\r\n", 426 },
        { "GET / HTTP/1.1\r\n" BOTH VERSION "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH VERSION KEY KEY "\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH VERSION "Sec-WebSocket-Key: \r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" BOTH VERSION "Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 400 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (check_head(rows[i].text) != rows[i].status)
            fail_msg("%s -> %d", rows[i].text, check_head(rows[i].text));
}

/* --- the ring ------------------------------------------------------------------------------ */

static void rings_keep_the_last(void **state)
{
    static const int64_t wall_ns = INT64_C(1800000000000000000);
    struct ring *r = ring_new(4, 100, wall_ns);
    uint64_t first = ring_next(r);

    (void)state;
    assert_int_equal(first, UINT64_C(1800000000000000));
    assert_true(first < UINT64_C(1) << 53);
    assert_int_equal(ring_oldest(r), first);
    for (unsigned i = 0; i < 6; i++)
        ring_add(r, 10)->bytes[0] = (uint8_t)i;
    assert_int_equal(ring_oldest(r), first + 2);
    assert_int_equal(ring_next(r), first + 6);
    for (unsigned i = 2; i < 6; i++)
        assert_int_equal(ring_get(r, first + i)->bytes[0], i);
    ring_add(r, 80); /* beside it two of ten fit */
    assert_int_equal(ring_oldest(r), first + 4);
    ring_add(r, 100);
    assert_int_equal(ring_oldest(r), first + 7);
    assert_int_equal(ring_get(r, first + 7)->length, 100);
    assert_int_equal(ring_first(r), first);
    ring_free(r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_breach_has_its_code),
        cmocka_unit_test(raw_breaches_have_their_code),
        cmocka_unit_test(what_clients_say_is_thrown_away),
        cmocka_unit_test(pings_are_answered_up_to_a_limit),
        cmocka_unit_test(two_pings_without_an_answer_are_the_end),
        cmocka_unit_test(a_close_is_the_last),
        cmocka_unit_test(heads_have_the_shortest_form),
        cmocka_unit_test(hashes_are_those_of_the_standard),
        cmocka_unit_test(handshakes_are_checked),
        cmocka_unit_test(rings_keep_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
