/* frontd/guard: who may ask. One table per rule; each row is a request and the status it meets. */
#include "frontd/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { PORT = 29123, OWNER = 1000, STRANGER = 1001 };

static char *const ORIGINS[] = { (char *)"https://app.example.org", (char *)"http://localhost:3000", NULL };

static const struct peer OWNER_PEER = { .known = true, .uid = OWNER };
static const struct peer LOCAL_PEER = { .local = true, .known = true, .uid = OWNER };

static struct guard make_guard(uint16_t port)
{
    struct guard g;
    struct error e = { 0 };

    assert_int_equal(guard_init(&g, port, OWNER, ORIGINS, &e), 0);
    return g;
}

/* The verdict on a request line and header lines. */
static struct guard_verdict judge(const struct guard *g, const struct peer *p, const char *line, const char *fields)
{
    char text[2048];
    struct http_head h;
    struct guard_verdict v;

    (void)snprintf(text, sizeof(text), "%s\r\n%s\r\n", line, fields);
    assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
    v = guard_check(g, &h, p);
    http_head_free(&h);
    return v;
}

static void hosts_must_be_ours(void **state)
{
    static const struct {
        const char *fields;
        int status;
    } rows[] = {
        { "Host: localhost:29123\r\n", 0 },
        { "Host: LocalHost:29123\r\n", 0 },
        { "Host: 127.0.0.1:29123\r\n", 0 },
        { "Host: [::1]:29123\r\n", 0 },
        { "", 421 },
        { "Host:\r\n", 421 },
        { "Host: localhost\r\n", 421 },
        { "Host: localhost:\r\n", 421 },
        { "Host: localhost:80\r\n", 421 },
        { "Host: localhost:029123\r\n", 421 },
        { "Host: localhost:29123 \r\n", 0 },
        { "Host: localhost:291234\r\n", 421 },
        { "Host: localhost:2912\r\n", 421 },
        { "Host: localhost:29123@evil.test\r\n", 421 },
        { "Host: LOCALHOST:29123@evil\r\n", 421 },
        { "Host: evil@localhost:29123\r\n", 421 },
        { "Host: localhost:29123/\r\n", 421 },
        { "Host: localhost:29123, evil.test\r\n", 421 },
        { "Host: localhost.:29123\r\n", 421 },
        { "Host: localhost.evil.test:29123\r\n", 421 },
        { "Host: evil.test:29123\r\n", 421 },
        { "Host: evil.test\r\n", 421 },
        { "Host: 127.0.0.1.nip.io:29123\r\n", 421 },
        { "Host: 127.0.0.1.:29123\r\n", 421 },
        { "Host: 127.1:29123\r\n", 421 },
        { "Host: 127.0.0.2:29123\r\n", 421 },
        { "Host: 0.0.0.0:29123\r\n", 421 },
        { "Host: 2130706433:29123\r\n", 421 },
        { "Host: 0x7f000001:29123\r\n", 421 },
        { "Host: 0177.0.0.1:29123\r\n", 421 },
        { "Host: ::1:29123\r\n", 421 },
        { "Host: [::1]\r\n", 421 },
        { "Host: [0:0:0:0:0:0:0:1]:29123\r\n", 421 },
        { "Host: [::ffff:127.0.0.1]:29123\r\n", 421 },
        { "Host: localhost:29123\r\nHost: localhost:29123\r\n", 421 },
        { "Host: localhost:29123\r\nhost: evil.test\r\n", 421 },
        { "Host: localhost\t:29123\r\n", 421 },
        { "X-Forwarded-Host: evil.test\r\nHost: localhost:29123\r\n", 0 },
    };
    struct guard g = make_guard(PORT);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int status = judge(&g, &OWNER_PEER, "GET /x HTTP/1.1", rows[i].fields).refusal.status;

        if (status != rows[i].status)
            fail_msg("%s -> %d", rows[i].fields, status);
    }
}

static void targets_must_be_ours(void **state)
{
    static const struct {
        const char *line;
        int status;
    } rows[] = {
        { "GET http://localhost:29123/x HTTP/1.1", 0 },
        { "GET http://[::1]:29123 HTTP/1.1", 0 },
        { "GET http://evil.test/x HTTP/1.1", 421 },
        { "GET http://localhost:29123@evil.test/x HTTP/1.1", 421 },
        { "GET http://localhost/x HTTP/1.1", 421 },
        { "BREW http://evil.test/x HTTP/1.1", 421 },
        { "OPTIONS http://evil.test HTTP/1.1", 421 },
    };
    struct guard g = make_guard(PORT);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(judge(&g, &OWNER_PEER, rows[i].line, "Host: localhost:29123\r\n").refusal.status,
                         rows[i].status);
}

static void port_may_be_left_out_where_it_is_known(void **state)
{
    struct guard g = make_guard(PORT), web = make_guard(80);

    (void)state;
    assert_int_equal(judge(&g, &LOCAL_PEER, "GET / HTTP/1.1", "Host: localhost\r\n").refusal.status, 0);
    assert_int_equal(judge(&g, &LOCAL_PEER, "GET / HTTP/1.1", "Host: localhost:29123\r\n").refusal.status, 0);
    assert_int_equal(judge(&g, &LOCAL_PEER, "GET / HTTP/1.1", "Host: localhost:80\r\n").refusal.status, 421);
    assert_int_equal(judge(&g, &LOCAL_PEER, "GET / HTTP/1.1", "Host: evil.test\r\n").refusal.status, 421);
    assert_int_equal(judge(&web, &OWNER_PEER, "GET / HTTP/1.1", "Host: localhost\r\n").refusal.status, 0);
    assert_int_equal(judge(&web, &OWNER_PEER, "GET / HTTP/1.1",
                           "Host: localhost:80\r\nOrigin: http://localhost\r\n").refusal.status, 0);
}

static void origins_must_be_ours_or_configured(void **state)
{
    static const struct {
        const char *fields;
        int status;
        const char *allow;
    } rows[] = {
        { "", 0, NULL },
        { "Origin: http://localhost:29123\r\n", 0, NULL },
        { "Origin: http://127.0.0.1:29123\r\n", 0, NULL },
        { "Origin: http://[::1]:29123\r\n", 0, NULL },
        { "Origin: https://app.example.org\r\n", 0, "https://app.example.org" },
        { "Origin: HTTPS://APP.example.org\r\n", 0, "https://app.example.org" },
        { "Origin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\n", 0, "http://localhost:3000" },
        { "Origin: https://app.example.org\r\nSec-Fetch-Site: cross-site\r\n", 0, "https://app.example.org" },
        { "Origin: null\r\n", 403, NULL },
        { "Origin:\r\n", 403, NULL },
        { "Origin: *\r\n", 403, NULL },
        { "Origin: https://localhost:29123\r\n", 403, NULL },
        { "Origin: http://localhost\r\n", 403, NULL },
        { "Origin: http://localhost:3001\r\n", 403, NULL },
        { "Origin: http://localhost:29123/\r\n", 403, NULL },
        { "Origin: http://localhost:29123.evil.test\r\n", 403, NULL },
        { "Origin: http://app.example.org\r\n", 403, NULL },
        { "Origin: https://app.example.org:8443\r\n", 403, NULL },
        { "Origin: https://app.example.org.evil.test\r\n", 403, NULL },
        { "Origin: https://evil.test\r\n", 403, NULL },
        { "Origin: file://\r\n", 403, NULL },
        { "Origin: http://localhost:29123\r\nOrigin: https://evil.test\r\n", 403, NULL },
        { "Origin: https://app.example.org\r\nOrigin: https://app.example.org\r\n", 403, NULL },
        { "Origin: https://app.example.org https://evil.test\r\n", 403, NULL },
        { "Sec-Fetch-Site: same-origin\r\n", 0, NULL },
        { "Sec-Fetch-Site: none\r\n", 0, NULL },
        { "Sec-Fetch-Site: cross-site\r\n", 403, NULL },
        { "Sec-Fetch-Site: same-site\r\n", 403, NULL },
        { "Sec-Fetch-Site: anything\r\n", 403, NULL },
        { "Sec-Fetch-Site:\r\n", 403, NULL },
        { "Origin: http://localhost:29123\r\nSec-Fetch-Site: cross-site\r\n", 403, NULL },
        { "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", 403, NULL },
        { "Sec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n", 403, NULL },
        { "Origin: https://app.example.org\r\nSec-Fetch-Site: none\r\nsec-fetch-site: cross-site\r\n", 403, NULL },
    };
    static const char *const lines[] = { "GET /x HTTP/1.1", "POST /x HTTP/1.1", "OPTIONS /x HTTP/1.1",
                                         "BREW /x HTTP/1.0" };
    struct guard g = make_guard(PORT);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(lines); i++) {
        size_t row = i / ARRAY_SIZE(lines);
        char fields[512];
        struct guard_verdict v;

        (void)snprintf(fields, sizeof(fields), "Host: localhost:29123\r\n%s", rows[row].fields);
        v = judge(&g, &OWNER_PEER, lines[i % ARRAY_SIZE(lines)], fields);
        if (v.refusal.status != rows[row].status)
            fail_msg("%s -> %d", rows[row].fields, v.refusal.status);
        if (rows[row].allow)
            assert_string_equal(v.allow_origin, rows[row].allow);
        else
            assert_null(v.allow_origin);
    }
}

static void peers_must_be_the_owner_or_root(void **state)
{
    static const struct {
        struct peer peer;
        int status;
    } rows[] = {
        { { .known = true, .uid = OWNER }, 0 },
        { { .known = true, .uid = 0 }, 0 },
        { { .known = true, .uid = STRANGER }, 401 },
        { { .known = false, .uid = OWNER }, 401 },
        { { .known = false, .uid = 0 }, 401 },
        { { .local = true, .known = true, .uid = OWNER }, 0 },
        { { .local = true, .known = true, .uid = STRANGER }, 401 },
        { { .local = true, .known = false, .uid = (uid_t)-1 }, 401 },
    };
    struct guard g = make_guard(PORT);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(judge(&g, &rows[i].peer, "GET / HTTP/1.1", "Host: localhost:29123\r\n").refusal.status,
                         rows[i].status);
        assert_int_equal(guard_welcomes(&g, &rows[i].peer), rows[i].status == 0);
    }
}

static void referers_may_not_change_things(void **state)
{
    static const struct {
        const char *referer;
        int status;
    } rows[] = {
        { "", 0 },
        { "http://localhost:29123/", 0 },
        { "http://localhost:29123", 0 },
        { "http://127.0.0.1:29123/a?b#c", 0 },
        { "https://app.example.org/page", 0 },
        { "https://app.example.org?x", 0 },
        { "https://evil.test/", 403 },
        { "https://evil.test/?http://localhost:29123/", 403 },
        { "http://localhost:29123@evil.test/", 403 },
        { "http://localhost:29123.evil.test/", 403 },
        { "http://localhost/", 403 },
        { "about:blank", 403 },
        { "android-app://x", 403 },
        { "nonsense", 403 },
        { "http://localhost:29123/\r\nReferer: https://evil.test/", 403 },
    };
    struct guard g = make_guard(PORT);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[512];
        struct http_head h;

        (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nReferer: %s\r\n\r\n", rows[i].referer);
        assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
        if (guard_check_change(&g, &h).status != rows[i].status)
            fail_msg("%s", rows[i].referer);
        http_head_free(&h);
    }
}

static void long_referer_is_refused(void **state)
{
    char text[4096];
    struct guard g = make_guard(PORT);
    struct http_head h;

    (void)state;
    (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nReferer: http://%03000d/\r\n\r\n", 0);
    assert_int_equal(http_head_parse(&h, text, strlen(text)).status, 0);
    assert_int_equal(guard_check_change(&g, &h).status, 403);
    http_head_free(&h);
}

static void bodies_must_be_json(void **state)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        { "POST / HTTP/1.1\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: Application/JSON; charset=utf-8\r\n\r\n", 0 },
        { "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/jsonp\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: text/plain;application/json\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n", 415 },
        { "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\n\r\n",
          415 },
        { "POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n", 415 },
        { "DELETE / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n", 415 },
        { "GET / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n", 415 },
        { "GET / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n", 0 },
        { "POST / HTTP/1.1\r\nContent-Length: 101\r\nContent-Type: application/json\r\n\r\n", 413 },
        { "POST / HTTP/1.1\r\nContent-Length: 999999999999999999\r\nContent-Type: application/json\r\n\r\n", 413 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct http_head h;

        assert_int_equal(http_head_parse(&h, rows[i].text, strlen(rows[i].text)).status, 0);
        if (guard_check_body(&h, 100).status != rows[i].status)
            fail_msg("%s", rows[i].text);
        http_head_free(&h);
    }
}

static void configured_origins_are_checked(void **state)
{
    static const struct {
        const char *origin;
        int r;
    } rows[] = {
        { "https://app.example.org", 0 },       { "http://localhost:3000", 0 },
        { "http://[::1]:3000", 0 },             { "app://landfall", 0 },
        { "null", -EINVAL },                    { "*", -EINVAL },
        { "https://*.example.org", -EINVAL },   { "https://app.example.org/", -EINVAL },
        { "app.example.org", -EINVAL },         { "https://", -EINVAL },
        { "://x", -EINVAL },                    { "https://user@app.example.org", -EINVAL },
        { "", -EINVAL },                        { "https://a b", -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *const list[] = { (char *)rows[i].origin, NULL };
        struct error e = { 0 };
        struct guard g;

        if (guard_init(&g, PORT, OWNER, list, &e) != rows[i].r)
            fail_msg("%s", rows[i].origin);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_must_be_ours),
        cmocka_unit_test(targets_must_be_ours),
        cmocka_unit_test(port_may_be_left_out_where_it_is_known),
        cmocka_unit_test(origins_must_be_ours_or_configured),
        cmocka_unit_test(peers_must_be_the_owner_or_root),
        cmocka_unit_test(referers_may_not_change_things),
        cmocka_unit_test(long_referer_is_refused),
        cmocka_unit_test(bodies_must_be_json),
        cmocka_unit_test(configured_origins_are_checked),
    };

    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
