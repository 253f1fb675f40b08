/* Service URLs: what is taken, what is refused, and where requests go in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/s3_endpoint.h"
#include "syncd/service_url.h"

static struct config *load(const char *set)
{
    struct config *c = NULL;
    struct error e = { 0 };

    assert_int_equal(config_load(NULL, &set, set ? 1 : 0, &c, &e), 0);
    return c;
}

static void good_urls(void **state)
{
    static const struct { const char *text; bool https; const char *host; uint16_t port; const char *path; } cases[] = {
        { "https://s3.example.com", true, "s3.example.com", 0, "" },
        { "HTTPS://S3.Example.COM/", true, "s3.example.com", 0, "" },
        { "s3.example.com", true, "s3.example.com", 0, "" },
        { "s3.example.com:9000", true, "s3.example.com", 9000, "" },
        { "https://h:443/", true, "h", 0, "" },
        { "http://127.0.0.1:8000/s3/v1/", false, "127.0.0.1", 8000, "/s3/v1" },
        { "http://[::1]:8000", false, "::1", 8000, "" },
        { "http://localhost:80", false, "localhost", 0, "" },
        { "https://a_b-c.x/%7Ep", true, "a_b-c.x", 0, "/%7Ep" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct service_url u;
        struct error e = { 0 };

        if (service_url_parse(cases[i].text, &u, &e) < 0)
            fail_msg("%s: %s", cases[i].text, e.text);
        assert_int_equal(u.https, cases[i].https);
        assert_string_equal(u.host, cases[i].host);
        assert_int_equal(u.port, cases[i].port);
        assert_string_equal(u.path, cases[i].path);
    }
}

static void bad_urls(void **state)
{
    static const char *const cases[] = {
        "", "://x", "ftp://x", "file:///etc/passwd", "gopher://x", "javascript://x", "http://", "https:///path",
            "https://user@host",
        "https://user:pw@host", "https://host?x=1", "https://host#x", "https://host:0", "https://host:65536",
            "https://host:",
        "https://host:8x", "https://ho st", "https://host/a b", "https://host/../x", "https://host/%2e%2e/x",
            "https://host/a/%zz",
        "https://host/./x", "https://-x.com", "https://x-.com", "https://x..com", "https://.x", "https://0x7f000001",
            "https://2130706433",
        "https://127.1", "https://0177.0.0.1", "https://1.2.3.4.5", "https://[::1", "https://[]", "https://[1.2.3.4]",
            "https://::1",
        "https://host\\@evil", "https://host%00.evil", "https://h\xc3\xbc", "https://host\r\nX: y", "//host", "/path",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct service_url u;
        struct error e = { 0 };

        if (service_url_parse(cases[i], &u, &e) != -EINVAL)
            fail_msg("%s was taken as host %s", cases[i], u.host);
        assert_true(e.text[0] != '\0');
    }
}

static void policy(void **state)
{
    static const struct { const char *url; bool plain; int code; } cases[] = {
        { "https://s3.example.com", false, 0 },
        { "http://s3.example.com", false, -EINVAL },
        { "http://s3.example.com", true, 0 },
        { "http://192.168.1.5:9000", false, -EINVAL },
        { "https://192.168.1.5:9000", false, 0 },
        { "http://127.0.0.1:9000", false, 0 },
        { "http://127.8.9.10:9000", false, 0 },
        { "http://[::1]:9000", false, 0 },
        { "http://localhost:9000", false, 0 },
        { "http://localhost.evil.test:9000", false, -EINVAL },
        { "http://127.0.0.1:29123", true, -EINVAL },
        { "https://localhost:29123", true, -EINVAL },
        { "http://[::1]:29123", true, -EINVAL },
        { "https://s3.example.com:29123", false, 0 },
        { "http://169.254.169.254", true, -EINVAL },
        { "https://169.254.1.1", false, -EINVAL },
        { "https://[fe80::1]", false, -EINVAL },
        { "https://[fd00:ec2::254]", false, -EINVAL },
        { "https://[::ffff:169.254.169.254]", false, -EINVAL },
    };
    struct config *strict = load(NULL), *plain = load("AllowPlainHttp=true");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct service_url u;
        struct error e = { 0 };

        assert_int_equal(service_url_parse(cases[i].url, &u, &e), 0);
        if (service_url_allowed(&u, cases[i].plain ? plain : strict, &e) != cases[i].code)
            fail_msg("%s: %s", cases[i].url, e.text);
    }
    config_free(strict);
    config_free(plain);
}

static void folders(void **state)
{
    static const struct { const char *text, *path; } cases[] = {
        { "file:///srv/data", "/srv/data" }, { "FILE://localhost/srv", "/srv" }, { "file:///a%20b/%C3%BC",
          "/a b/\xc3\xbc" },
        { "file:///", "/" }, { "file:///srv/..data", "/srv/..data" },
        { "file://host/srv", NULL }, { "file:srv", NULL }, { "/srv", NULL }, { "https://x", NULL }, { "", NULL },
          { "file:///srv/../etc", NULL },
        { "file:///srv/%2e%2e/etc", NULL }, { "file:///srv?x", NULL }, { "file:///srv#x", NULL }, { "file:///%00",
          NULL }, { "file://", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_FREE char *path = NULL;
        struct error e = { 0 };
        int r = service_url_folder(cases[i].text, &path, &e);

        if (r != (cases[i].path ? 0 : -EINVAL))
            fail_msg("%s: %d", cases[i].text, r);
        if (cases[i].path)
            assert_string_equal(path, cases[i].path);
    }
}

/* --- endpoints ----------------------------------------------------------------------------------- */

static void places(void **state)
{
    static const struct {
        enum cloud_type type;
        const char *url, *region;        /* of the account */
        const char *bucket, *key;
        const char *host, *path, *signed_for;
    } cases[] = {
        { CLOUD_AWS, NULL, NULL, NULL, NULL, "s3.us-east-1.amazonaws.com", "/", "us-east-1" },
        { CLOUD_AWS, "", "eu-central-1", "photos", "a b/\xc3\xbc+", "photos.s3.eu-central-1.amazonaws.com",
          "/a%20b/%C3%BC%2B", "eu-central-1" },
        { CLOUD_AWS, NULL, NULL, "my.photos", "k", "s3.us-east-1.amazonaws.com", "/my.photos/k", "us-east-1" },
        { CLOUD_AWS, NULL, NULL, "Photos_1", "k", "s3.us-east-1.amazonaws.com", "/Photos_1/k", "us-east-1" },
        { CLOUD_AWS, NULL, "cn-north-1", "photos", NULL, "photos.s3.cn-north-1.amazonaws.com.cn", "/", "cn-north-1" },
        { CLOUD_AWS, "https://s3.eu-west-3.amazonaws.com", NULL, "photos", "k", "photos.s3.eu-west-3.amazonaws.com",
          "/k", "eu-west-3" },
        { CLOUD_AWS, "s3-eu-west-3.amazonaws.com", NULL, NULL, NULL, "s3.eu-west-3.amazonaws.com", "/", "eu-west-3" },
        { CLOUD_AWS, "https://s3.amazonaws.com", NULL, "photos", NULL, "photos.s3.us-east-1.amazonaws.com", "/",
          "us-east-1" },
        { CLOUD_AWS, "http://127.0.0.1:4566", "eu-west-3", "photos", "k", "127.0.0.1:4566", "/photos/k", "eu-west-3" },
        { CLOUD_AWS, "https://x.vpce.amazonaws.com", NULL, "photos", "k", "x.vpce.amazonaws.com", "/photos/k",
          "us-east-1" },
        { CLOUD_WASABI, NULL, "ap-northeast-1", "photos", "k", "s3.ap-northeast-1.wasabisys.com", "/photos/k",
          "ap-northeast-1" },
        { CLOUD_WASABI, "https://s3.eu-central-2.wasabisys.com", NULL, "b", NULL, "s3.eu-central-2.wasabisys.com",
          "/b", "eu-central-2" },
        { CLOUD_S3_GENERIC, "http://localhost:8000", NULL, "photos", "k", "localhost:8000", "/photos/k", "us-east-1" },
        { CLOUD_S3_GENERIC, "http://[::1]:8000/s3", "r-1", "photos", "..", "[::1]:8000", "/s3/photos/..", "r-1" },
        { CLOUD_S3_GENERIC, "https://h/base", NULL, NULL, NULL, "h", "/base", "us-east-1" },
        { CLOUD_GOOGLE, NULL, NULL, "photos", "k", "storage.googleapis.com", "/photos/k", "auto" },
        { CLOUD_CLOUDFLARE, "https://acc.r2.cloudflarestorage.com", NULL, "photos", "k",
          "acc.r2.cloudflarestorage.com", "/photos/k", "auto" },
    };
    struct config *c = load(NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(text_free) struct text host = TEXT_INIT(1024), path = TEXT_INIT(1024);
        struct s3_endpoint p;
        struct error e = { 0 };

        if (s3_endpoint_open(cases[i].type, cases[i].url, cases[i].region, c, &p, &e) < 0)
            fail_msg("case %zu: %s", i, e.text);
        assert_string_equal(p.region, cases[i].signed_for);
        assert_int_equal(s3_endpoint_locate(&p, p.region, cases[i].bucket, cases[i].key, &host, &path), 0);
        assert_string_equal(host.data, cases[i].host);
        assert_string_equal(path.data, cases[i].path);
    }
    config_free(c);
}

static void no_places(void **state)
{
    static const struct { enum cloud_type type; const char *url, *region; } cases[] = {
        { CLOUD_S3_GENERIC, NULL, NULL }, { CLOUD_S3_GENERIC, "", NULL }, { CLOUD_CLOUDFLARE, NULL, NULL },
        { CLOUD_AWS, NULL, "eu west" }, { CLOUD_AWS, NULL, "evil.com/" }, { CLOUD_AWS, NULL, "x@y" },
        { CLOUD_AWS, "http://s3.amazonaws.com", NULL }, { CLOUD_S3_GENERIC, "file:///etc", NULL },
    };
    static const char *const buckets[] = { "a/b", "..", ".", "" };
    CLEANUP(text_free) struct text host = TEXT_INIT(1024), path = TEXT_INIT(1024);
    struct config *c = load(NULL);
    struct s3_endpoint p;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error e = { 0 };

        if (s3_endpoint_open(cases[i].type, cases[i].url, cases[i].region, c, &p, &e) != -EINVAL)
            fail_msg("case %zu was taken", i);
        assert_true(e.text[0] != '\0');
    }
    assert_int_equal(s3_endpoint_open(CLOUD_AWS, NULL, NULL, c, &p, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(buckets); i++)
        assert_int_equal(s3_endpoint_locate(&p, "r", buckets[i], "k", &host, &path), -EINVAL);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls), cmocka_unit_test(bad_urls), cmocka_unit_test(policy), cmocka_unit_test(folders),
        cmocka_unit_test(places), cmocka_unit_test(no_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
