/* Signature Version 4 against the vectors that AWS publishes: its "aws-sig-v4-test-suite" and the examples in the
 * Amazon S3 API reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/hash.h"
#include "syncd/sigv4.h"

/* 2015-08-30T12:36:00Z and 2013-05-24T00:00:00Z */
enum { SUITE_TIME = 1440938160, S3_TIME = 1369353600 };

static const struct sigv4_secret suite_secret = { "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
static const struct sigv4_secret s3_secret = { "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };

struct vector {
    const char *name, *method, *path;
    const char *query[6], *headers[12];   /* name, value, ... */
    const char *payload;                  /* hash */
    const char *names, *signature;
};

static const struct vector suite[] = {
    { "get-vanilla", "GET", "/", { NULL }, { "Host", "example.amazonaws.com", "X-Amz-Date", "20150830T123600Z" },
      SIGV4_EMPTY,
      "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-vanilla-query-order-key-case", "GET", "/", { "Param2", "value2", "Param1", "value1" },
      { "Host", "example.amazonaws.com", "X-Amz-Date", "20150830T123600Z" }, SIGV4_EMPTY,
      "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { "get-header-value-trim", "GET", "/", { NULL },
      { "Host", "example.amazonaws.com", "My-Header1", " value1", "My-Header2", " \"a   b   c\"", "X-Amz-Date",
        "20150830T123600Z" },
      SIGV4_EMPTY, "host;my-header1;my-header2;x-amz-date",
          "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    { "get-utf8", "GET", "/%E1%88%B4", { NULL }, { "Host", "example.amazonaws.com", "X-Amz-Date", "20150830T123600Z" },
      SIGV4_EMPTY,
      "host;x-amz-date", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    { "post-x-www-form-urlencoded", "POST", "/", { NULL },
      { "Content-Type", "application/x-www-form-urlencoded", "Host", "example.amazonaws.com", "X-Amz-Date",
        "20150830T123600Z" },
      "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e", "content-type;host;x-amz-date",
      "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
};

static const struct vector s3[] = {
    { "GET object", "GET", "/test.txt", { NULL },
      { "host", "examplebucket.s3.amazonaws.com", "range", "bytes=0-9", "x-amz-content-sha256", SIGV4_EMPTY,
        "x-amz-date",
        "20130524T000000Z" }, SIGV4_EMPTY, "host;range;x-amz-content-sha256;x-amz-date",
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "PUT object", "PUT", "/test%24file.text", { NULL },
      { "date", "Fri, 24 May 2013 00:00:00 GMT", "host", "examplebucket.s3.amazonaws.com", "x-amz-content-sha256",
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "x-amz-date", "20130524T000000Z",
            "x-amz-storage-class",
        "REDUCED_REDUNDANCY" }, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "GET bucket lifecycle", "GET", "/", { "lifecycle", "" },
      { "host", "examplebucket.s3.amazonaws.com", "x-amz-content-sha256", SIGV4_EMPTY, "x-amz-date",
        "20130524T000000Z" }, SIGV4_EMPTY,
      "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "List objects", "GET", "/", { "prefix", "J", "max-keys", "2" },
      { "host", "examplebucket.s3.amazonaws.com", "x-amz-content-sha256", SIGV4_EMPTY, "x-amz-date",
        "20130524T000000Z" }, SIGV4_EMPTY,
      "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
};

static void fill(struct pairs *p, const char *const *names)
{
    for (; *names; names += 2)
        assert_int_equal(pairs_add(p, names[0], names[1]), 0);
}

static void check(const struct vector *v, const char *service, int64_t now, const struct sigv4_secret *secret,
    const char *scope)
{
    CLEANUP(pairs_free) struct pairs query = PAIRS_INIT(1024), headers = PAIRS_INIT(1024);
    CLEANUP(text_free) struct text got = TEXT_INIT(4096), expected = TEXT_INIT(4096);
    struct sigv4 s = { .method = v->method, .path = v->path, .query = &query, .headers = &headers,
        .payload = v->payload,
        .region = "us-east-1", .service = service, .now = now };

    fill(&query, v->query);
    fill(&headers, v->headers);
    assert_int_equal(sigv4_authorize(&s, secret, &got), 0);
    text_printf(&expected, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", secret->access_key,
        scope, v->names,
                v->signature);
    if (strcmp(got.data, expected.data) != 0)
        fail_msg("%s:\n%s\n%s", v->name, got.data, expected.data);
}

static void published_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(suite); i++)
        check(&suite[i], "service", SUITE_TIME, &suite_secret, "20150830/us-east-1/service/aws4_request");
    for (size_t i = 0; i < ARRAY_SIZE(s3); i++)
        check(&s3[i], "s3", S3_TIME, &s3_secret, "20130524/us-east-1/s3/aws4_request");
}

static void presigned(void **state)
{
    static const char expected[] = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%"
        "2Fus-east-1%2Fs3"
        "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    CLEANUP(pairs_free) struct pairs query = PAIRS_INIT(1024), headers = PAIRS_INIT(1024);
    CLEANUP(text_free) struct text got = TEXT_INIT(4096);
    struct sigv4 s = { .method = "GET", .path = "/test.txt", .query = &query, .headers = &headers,
        .payload = SIGV4_UNSIGNED,
        .region = "us-east-1", .service = "s3", .now = S3_TIME };

    (void)state;
    assert_int_equal(pairs_add(&headers, "host", "examplebucket.s3.amazonaws.com"), 0);
    assert_int_equal(sigv4_presign(&s, &s3_secret, 86400, &got), 0);
    assert_string_equal(got.data, expected);
    text_reset(&got);
    assert_int_equal(sigv4_presign(&s, &s3_secret, 0, &got), -EINVAL);
    assert_int_equal(sigv4_presign(&s, &s3_secret, 7 * 24 * 3600 + 1, &got), -EINVAL);
    assert_int_equal(got.len, 0);
}

static void queries(void **state)
{
    CLEANUP(pairs_free) struct pairs query = PAIRS_INIT(1024);
    CLEANUP(text_free) struct text got = TEXT_INIT(4096);

    (void)state;
    fill(&query, (const char *const[]){ "b", "2", "a", "\xc3\xbc +/~", "a", "1", "uploads", "", "A", "x", NULL });
    assert_int_equal(sigv4_query(&query, &got), 0);
    assert_string_equal(got.data, "A=x&a=%C3%BC%20%2B%2F~&a=1&b=2&uploads=");
}

static void long_secrets(void **state)
{
    CLEANUP(pairs_free) struct pairs none = PAIRS_INIT(1024), headers = PAIRS_INIT(1024);
    CLEANUP(text_free) struct text got = TEXT_INIT(4096);
    char secret[2048];
    struct sigv4 s = { .method = "GET", .path = "/", .query = &none, .headers = &headers, .payload = SIGV4_EMPTY,
        .region = "r",
        .service = "s3", .now = 0 };

    (void)state;
    memset(secret, 'x', sizeof(secret));
    secret[sizeof(secret) - 1] = '\0';
    assert_int_equal(pairs_add(&headers, "host", "h"), 0);
    assert_int_equal(sigv4_authorize(&s, &(struct sigv4_secret){ "A", secret }, &got), -EINVAL);
}

static void bounds_of_pairs(void **state)
{
    CLEANUP(pairs_free) struct pairs p = PAIRS_INIT(10);

    (void)state;
    assert_int_equal(pairs_add(&p, "abc", "def"), 0);
    assert_int_equal(pairs_add(&p, "x", "y"), -EMSGSIZE);
    assert_int_equal(pairs_add(&p, "", ""), -EMSGSIZE);   /* stays failed */
    assert_int_equal(p.n, 1);
    assert_string_equal(pairs_get(&p, "ABC"), "def");
    assert_null(pairs_get(&p, "ab"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(presigned),
        cmocka_unit_test(queries),
        cmocka_unit_test(long_secrets),
        cmocka_unit_test(bounds_of_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
