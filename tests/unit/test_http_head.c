/* frontd/http_head and frontd/http_body: what is a request, and where it ends. */
#include "frontd/http_head.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "frontd/http_body.h"

static void heads_are_measured(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        ssize_t r;
    } rows[] = {
        { "", 0, 0 },
        { "GET / HTTP/1.1\r\n", 16, 0 },
        { "GET / HTTP/1.1\r\n\r\n", 18, 18 },
        { "GET / HTTP/1.1\r\n\r\nbody\n", 23, 18 },
        { "GET / HTTP/1.1\r\nA: b\r\n\r\n", 24, 24 },
        { "GET / HTTP/1.1\r\n\r", 17, 0 },
        { "GET / HTTP/1.1\n\n", 16, -EBADMSG },
        { "GET / HTTP/1.1\r\nA: b\n\r\n", 23, -EBADMSG },
        { "\n", 1, -EBADMSG },
        { "GET /\0 HTTP/1.1\r\n", 17, -EBADMSG },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(http_head_length(rows[i].bytes, rows[i].len), rows[i].r);
}

static void heads_are_refused_or_not(void **state)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", 0 },
        { "GET / HTTP/1.0\r\n\r\n", 0 },
        { "BREW-IT / HTTP/1.1\r\n\r\n", 0 },
        { "OPTIONS * HTTP/1.1\r\n\r\n", 0 },
        { "GET /\xc3\xa4?x=G:\\a HTTP/1.1\r\n\r\n", 0 },
        { "GET * HTTP/1.1\r\n\r\n", 400 },
        { "GET /  HTTP/1.1\r\n\r\n", 400 },
        { "GET / x HTTP/1.1\r\n\r\n", 400 },
        { "GET  / HTTP/1.1\r\n\r\n", 400 },
        { " GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET /\r\n\r\n", 400 },
        { "GET\r\n\r\n", 400 },
        { "\r\n", 400 },
        { "GET / HTTP/1.1", 400 },
        { "GET / http/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.2\r\n\r\n", 505 },
        { "GET / HTTP/2.0\r\n\r\n", 505 },
        { "GET / HTTP/11\r\n\r\n", 505 },
        { "G(T / HTTP/1.1\r\n\r\n", 400 },
        { "ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1\r\n\r\n", 400 },
        { "GET x HTTP/1.1\r\n\r\n", 400 },
        { "GET evil.test:80 HTTP/1.1\r\n\r\n", 400 },
        { "CONNECT localhost:29123 HTTP/1.1\r\n\r\n", 400 },
        { "GET https://localhost/ HTTP/1.1\r\n\r\n", 400 },
        { "GET http:///x HTTP/1.1\r\n\r\n", 400 },
        { "GET /#x HTTP/1.1\r\n\r\n", 400 },
        { "GET /\x01 HTTP/1.1\r\n\r\n", 400 },
        { "GET /\x7f HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nA: b\tc\r\n\r\n", 0 },
        { "GET / HTTP/1.1\r\nA:\r\n\r\n", 0 },
        { "GET / HTTP/1.1\r\nA : b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nA\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n: b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n A: b\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nA: \x01\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 0 },
        { "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", 0 },
        { "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400 },
        { "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
        { "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", 501 },
        { "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501 },
        { "POST / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nExpect: miracles\r\n\r\n", 417 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct http_head h;
        struct http_refusal refusal = http_head_parse(&h, rows[i].text, strlen(rows[i].text));

        if (refusal.status != rows[i].status)
            fail_msg("%s -> %d", rows[i].text, refusal.status);
        assert_int_equal(refusal.text != NULL, refusal.status != 0);
        http_head_free(&h);
    }
}

static void too_many_fields_are_refused(void **state)
{
    char text[HTTP_FIELDS_MAX * 6 + 64] = "GET / HTTP/1.1\r\n";
    struct http_head h;

    (void)state;
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        strcat(text, "A: b\r\n");
    strcat(text, "\r\n");
    assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
    assert_int_equal(http_head_count(&h, "a"), HTTP_FIELDS_MAX);
    http_head_free(&h);
    strcpy(text + strlen(text) - 2, "A: b\r\n\r\n");
    assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 431);
    http_head_free(&h);
}

static void targets_are_cut_apart(void **state)
{
    static const struct {
        const char *target, *authority, *path, *query;
    } rows[] = {
        { "/", NULL, "/", NULL },
        { "/a/b", NULL, "/a/b", NULL },
        { "/a?", NULL, "/a", "" },
        { "/a?b=c?d", NULL, "/a", "b=c?d" },
        { "//evil.test/a", NULL, "//evil.test/a", NULL },
        { "http://h:1/a?b", "h:1", "/a", "b" },
        { "HTTP://h", "h", "/", NULL },
        { "http://h?b", "h", "/", "b" },
        { "http://u@h/", "u@h", "/", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[128];
        struct http_head h;

        (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n\r\n", rows[i].target);
        assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
        assert_string_equal(h.path, rows[i].path);
        assert_int_equal(h.query != NULL, rows[i].query != NULL);
        if (rows[i].query)
            assert_string_equal(h.query, rows[i].query);
        assert_int_equal(h.authority != NULL, rows[i].authority != NULL);
        if (rows[i].authority)
            assert_string_equal(h.authority, rows[i].authority);
        http_head_free(&h);
    }
}

static void methods_are_known_by_case(void **state)
{
    static const struct {
        const char *name;
        enum http_method method;
    } rows[] = {
        { "GET", HTTP_GET }, { "HEAD", HTTP_HEAD },       { "POST", HTTP_POST },   { "PUT", HTTP_PUT },
        { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS }, { "get", HTTP_OTHER },   { "TRACE", HTTP_OTHER },
        { "OTHER", HTTP_OTHER },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[64];
        struct http_head h;

        (void)snprintf(text, sizeof(text), "%s / HTTP/1.1\r\n\r\n", rows[i].name);
        assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
        assert_int_equal(h.method, rows[i].method);
        assert_string_equal(h.method_name, rows[i].name);
        http_head_free(&h);
    }
}

static void connections_persist_or_not(void **state)
{
    static const struct {
        const char *text;
        bool keep_alive, expects;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", true, false },
        { "GET / HTTP/1.0\r\n\r\n", false, false },
        { "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false },
        { "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false, false },
        { "GET / HTTP/1.1\r\nConnection: Upgrade, CLOSE\r\n\r\n", false, false },
        { "GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n\r\n", false, false },
        { "GET / HTTP/1.1\r\nConnection: closet\r\n\r\n", true, false },
        { "POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", true, true },
        { "POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct http_head h;

        assert_int_equal(http_head_parse(&h, rows[i].text, strlen(rows[i].text)).status, 0);
        if (h.keep_alive != rows[i].keep_alive || h.expects_continue != rows[i].expects)
            fail_msg("%s", rows[i].text);
        http_head_free(&h);
    }
}

/* Feeds the body `step` bytes at a time. Returns the last result; *ret_left is what it did not take. */
static int take(const char *head, const char *body, size_t step, char *out, size_t size, size_t *ret_left)
{
    struct evbuffer *in = evbuffer_new(), *to = evbuffer_new();
    struct http_head h;
    struct http_body b;
    size_t len = strlen(body), n;
    int r = 0;

    assert_int_equal(http_head_parse(&h, head, strlen(head)).status, 0);
    http_body_init(&b, &h, 20);
    r = http_body_take(&b, in, to);
    for (size_t at = 0; r == 0 && at < len; at += step) {
        evbuffer_add(in, body + at, len - at < step ? len - at : step);
        r = http_body_take(&b, in, to);
    }
    n = evbuffer_get_length(to);
    assert_true(n < size);
    evbuffer_remove(to, out, n);
    out[n] = '\0';
    *ret_left = evbuffer_get_length(in);
    evbuffer_free(in);
    evbuffer_free(to);
    http_head_free(&h);
    return r;
}

static void bodies_end_where_they_should(void **state)
{
    static const char sized[] = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", none[] = "POST / HTTP/1.1\r\n\r\n",
                      chunked[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                      large[] = "POST / HTTP/1.1\r\nContent-Length: 21\r\n\r\n";
    static const struct {
        const char *head, *body, *out;
        int r;
        size_t left; /* with all of it at once */
    } rows[] = {
        { none, "", "", 1, 0 },
        { sized, "12345", "12345", 1, 0 },
        { sized, "12345GET", "12345", 1, 3 },
        { sized, "1234", "1234", 0, 0 },
        { large, "x", "", -EMSGSIZE, 0 },
        { chunked, "0\r\n\r\n", "", 1, 0 },
        { chunked, "5\r\n12345\r\n0\r\n\r\nGET", "12345", 1, 3 },
        { chunked, "5;a=b\r\n12345\r\n00A \r\n1234567890\r\n0\r\nX: y\r\n\r\n", "123451234567890", 1, 0 },
        { chunked, "5\r\n12345", "12345", 0, 0 },
        { chunked, "14\r\n12345678901234567890\r\n1\r\nx", "12345678901234567890", -EMSGSIZE, 1 },
        { chunked, "15\r\n", "", -EMSGSIZE, 0 },
        { chunked, "fffffffffffffff\r\n", "", -EMSGSIZE, 0 },
        { chunked, "ffffffffffffffff\r\n", "", -EBADMSG, 0 },
        { chunked, "-1\r\n", "", -EBADMSG, 0 },
        { chunked, "+1\r\n", "", -EBADMSG, 0 },
        { chunked, "0x1\r\n", "", -EBADMSG, 0 },
        { chunked, " 1\r\n", "", -EBADMSG, 0 },
        { chunked, "\r\n", "", -EBADMSG, 0 },
        { chunked, "1\nx\r\n", "", -EBADMSG, 0 },
        { chunked, "1\r\nxy\r\n", "x", -EBADMSG, 1 },
        { chunked, "1\n", "", -EBADMSG, 0 },
        { chunked, "1;a\n", "", -EBADMSG, 0 },
        { chunked, "1;a\nb\r\nx\r\n0\r\n\r\n", "", -EBADMSG, 0 },
        { chunked, "1;a\rb\r\nx\r\n0\r\n\r\n", "", -EBADMSG, 0 },
        { chunked, "1\r\r\nx\r\n0\r\n\r\n", "", -EBADMSG, 0 },
        { chunked, "0\r\nX: y\nZ: z\r\n\r\n", "", -EBADMSG, 0 },
        { chunked, "0\r\n\n", "", -EBADMSG, 0 },
    };
    static const size_t steps[] = { 1, 2, 3, 1000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(steps); i++) {
        size_t row = i / ARRAY_SIZE(steps), left, step = steps[i % ARRAY_SIZE(steps)];
        char out[64];
        int r = take(rows[row].head, rows[row].body, step, out, sizeof(out), &left);

        if (r != rows[row].r || strcmp(out, rows[row].out) != 0 || (step == 1000 && r == 1 && left != rows[row].left))
            fail_msg("%s by %zu -> %d %s", rows[row].body, step, r, out);
    }
}

static void endless_lines_are_refused(void **state)
{
    static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    char body[16384] = "1;", out[64];
    size_t left;

    (void)state;
    memset(body + 2, 'x', sizeof(body) - 3);
    assert_int_equal(take(head, body, 100, out, sizeof(out), &left), -EBADMSG);
    strcpy(body, "0\r\n");
    for (size_t i = 0; i < 1000; i++)
        strcat(body, "Name: value\r\n");
    assert_int_equal(take(head, body, 100, out, sizeof(out), &left), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_measured),          cmocka_unit_test(heads_are_refused_or_not),
        cmocka_unit_test(too_many_fields_are_refused), cmocka_unit_test(targets_are_cut_apart),
        cmocka_unit_test(methods_are_known_by_case),   cmocka_unit_test(connections_persist_or_not),
        cmocka_unit_test(bodies_end_where_they_should), cmocka_unit_test(endless_lines_are_refused),
    };

    return cmocka_run_group_tests_name("http_head", tests, NULL, NULL);
}
