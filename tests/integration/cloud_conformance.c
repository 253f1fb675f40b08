/* Puts a real S3 server through the suite that every provider goes through, and through what only a server can do
 * wrong: keys, regions, clocks, signed URLs, absence.
 *
 *   cloud_conformance FILE
 *
 * FILE has lines "endpoint=URL", "access_key=...", "secret_key=...", "region=...", "bucket=..." (a bucket that is
 * made when missing, and emptied) and, for https, "ca_bundle=PATH". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/s3.h"
#include "tests/unit/cloud_suite.h"

struct server {
    struct suite suite;   /* first: tests of the suite see it */
    struct config *config;
    char *endpoint, *access_key, *secret_key, *region, *bucket, *ca_bundle;
};

static struct server server;

/* --- set-up -------------------------------------------------------------------------------------- */

static int read_settings(const char *path)
{
    const struct { const char *name; char **value; } settings[] = {
        { "endpoint=", &server.endpoint }, { "access_key=", &server.access_key }, { "secret_key=", &server.secret_key },
        { "region=", &server.region }, { "bucket=", &server.bucket },
        { "ca_bundle=", &server.ca_bundle },
    };
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    char line[1024];

    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
            if (strncmp(line, settings[i].name, strlen(settings[i].name)) == 0)
                xstrset(settings[i].value, line + strlen(settings[i].name));
    }
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        if (!*settings[i].value && settings[i].value != &server.ca_bundle) {
            (void)fprintf(stderr, "%s: %s is missing\n", path, settings[i].name);
            return -EINVAL;
        }
    return 0;
}

/* Hands out the secret the cloud's account id names: "good", "secret" or "key" wrong. */
static void give_secret(void *arg, const char *account_id,
                        void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg),
                            void *give_arg)
{
    struct cloud_secret s = { server.access_key, server.secret_key };

    (void)arg;
    if (strcmp(account_id, "secret") == 0)
        s.secret_key = "never-the-right-secret";
    if (strcmp(account_id, "key") == 0)
        s.access_key = "NEVERTHERIGHTKEY";
    give(NULL, &s, give_arg);
}

static struct cloud *open_cloud(const char *account_id, const char *endpoint, const char *region)
{
    struct cloud_spec spec = { .type = CLOUD_S3_GENERIC, .account_id = account_id, .service_url = endpoint,
        .region = region,
        .keyring = { give_secret, NULL } };
    struct cloud *c = NULL;
    struct error e = { 0 };

    if (cloud_new(server.suite.loop, server.config, &spec, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

/* The suite at another cloud. */
static struct suite suite_at(const char *account_id, const char *endpoint, const char *region)
{
    struct suite s = server.suite;

    s.cloud = open_cloud(account_id, endpoint, region);
    return s;
}

static int set_up(void **state)
{
    CLEANUP_FREE char *bundle = NULL;
    const char *sets[] = { "CloudRetries=3", NULL };
    struct error e = { 0 };
    struct cloud_request *r;

    assert_true(asprintf(&bundle, "CaBundle=%s", server.ca_bundle ? server.ca_bundle : "") > 0);
    sets[1] = bundle;
    assert_int_equal(config_load(NULL, sets, 2, &server.config, &e), 0);
    server.suite.loop = loop_new(2);
    server.suite.bucket = server.bucket;
    server.suite.part = 5 << 20;
    server.suite.cloud = open_cloud("good", server.endpoint, server.region);
    r = suite_ask(&server.suite, CLOUD_BUCKET_CREATE, NULL);
    suite_expect(&server.suite, r, 0);
    cloud_request_free(r);
    suite_clean(&server.suite, "");   /* a run that failed may have left something */
    *state = &server;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cloud_free(server.suite.cloud);
    loop_free(server.suite.loop);
    config_free(server.config);
    return 0;
}

/* --- keys ---------------------------------------------------------------------------------------- */

static void wrong_keys(void **state)
{
    static const char *const accounts[] = { "secret", "key" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(accounts); i++) {
        struct suite s = suite_at(accounts[i], server.endpoint, server.region);
        SUITE_REQUEST *buckets = suite_ask(&s, CLOUD_BUCKETS, NULL), *put = suite_ask(&s, CLOUD_PUT, "x");
        SUITE_REQUEST *stat = suite_ask(&s, CLOUD_STAT, "x");

        suite_expect(&s, buckets, -EKEYREJECTED);
        assert_non_null(strstr(buckets->error.text, "secret key"));   /* what to check */
        assert_null(strstr(buckets->error.text, "never-the-right-secret"));
        suite_expect(&s, put, -EKEYREJECTED);
        suite_expect(&s, stat, -EACCES);   /* HEAD is refused without a reason */
        cloud_free(s.cloud);
    }
}

/* --- regions and clocks --------------------------------------------------------------------------- */

static void wrong_region(void **state)
{
    struct suite s = suite_at("good", server.endpoint, "eu-nowhere-7");
    SUITE_REQUEST *buckets = suite_ask(&s, CLOUD_BUCKETS, NULL);

    (void)state;
    suite_expect(&s, buckets, 0);
    suite_put(&s, "region", "x", 1);
    suite_expect_bytes(&s, "region", "x", 1);
    suite_clean(&s, "region");
    cloud_free(s.cloud);
}

static void wrong_clock(void **state)
{
    struct suite s = suite_at("good", server.endpoint, server.region);
    struct s3 *s3 = s.cloud->state;
    SUITE_REQUEST *stat = suite_ask(&s, CLOUD_STAT, "clock");

    (void)state;
    s3->skew_ns = INT64_C(3600) * 1000000000;
    suite_put(&s, "clock", "x", 1);
    assert_in_range(s3->skew_ns + INT64_C(5000000000), 0, INT64_C(10000000000));
    s3->skew_ns = -INT64_C(3600) * 1000000000;
    suite_expect(&s, stat, 0);
    suite_clean(&s, "clock");
    cloud_free(s.cloud);
}

/* --- absence -------------------------------------------------------------------------------------- */

static void nobody_there(void **state)
{
    struct suite s = suite_at("good", "http://127.0.0.1:9", "us-east-1");
    SUITE_REQUEST *buckets = suite_ask(&s, CLOUD_BUCKETS, NULL);

    (void)state;
    suite_expect(&s, buckets, -EHOSTUNREACH);
    assert_non_null(strstr(buckets->error.text, "127.0.0.1:9"));
    cloud_free(s.cloud);
}

/* --- keys that XML cannot name ---------------------------------------------------------------------- */

static void unsayable_keys(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *batch = suite_ask(s, CLOUD_DELETE_BATCH, NULL), *left = suite_ask(s, CLOUD_LIST, NULL);

    suite_put(s, "say/bell\a", "x", 1);
    suite_put(s, "say/plain", "x", 1);
    batch->keys = xcalloc(2, sizeof(*batch->keys));
    batch->keys[batch->n_keys++] = xstrdup("say/bell\a");
    batch->keys[batch->n_keys++] = xstrdup("say/plain");
    suite_expect(s, batch, 0);
    assert_int_equal(batch->n_failed_keys, 1);
    assert_string_equal(batch->failed_keys[0], "say/bell\a");
    cloud_request_set(&left->prefix, "say/");
    suite_expect(s, left, 0);
    assert_int_equal(left->n_objects, 1);
    assert_string_equal(left->objects[0].key, "say/bell\a");
    suite_clean(s, "say/");
}

/* --- many objects ----------------------------------------------------------------------------------- */

static void count_done(struct cloud_request *r, void *arg)
{
    if (r->error.code)
        fail_msg("%s", r->error.text);
    ++*(unsigned *)arg;
    cloud_request_free(r);
}

/* All at once, on as many connections as the configuration allows. */
static void many_at_once(void **state)
{
    enum { MANY = 200 };
    struct suite *s = *state;
    unsigned done = 0;
    char key[32];

    for (unsigned i = 0; i < MANY; i++) {
        struct cloud_request *r;

        (void)snprintf(key, sizeof(key), "many/%04u", i);
        r = suite_ask(s, CLOUD_PUT, key);
        r->done = count_done;
        r->arg = &done;
        cloud_submit(s->cloud, r);
    }
    while (done < MANY)
        (void)event_base_loop(loop_base(s->loop), EVLOOP_ONCE);
    suite_clean(s, "many/");
}

/* --- signed URLs ------------------------------------------------------------------------------------ */

struct fetched {
    char *url;
    int status;
    char body[64];
    bool done;
};

static void on_url(const struct error *e, const char *url, void *arg)
{
    struct fetched *f = arg;

    if (e && e->code)
        fail_msg("%s", e->text);
    f->url = xstrdup(url);
    f->done = true;
}

static void on_fetched(const struct http_reply *reply, void *arg)
{
    struct fetched *f = arg;

    f->status = reply->status;
    (void)snprintf(f->body, sizeof(f->body), "%s", reply->body.data ? reply->body.data : "");
    f->done = true;
}

static void wait_for(struct suite *s, struct fetched *f)
{
    f->done = false;
    while (!f->done)
        (void)event_base_loop(loop_base(s->loop), EVLOOP_ONCE);
}

static void fetch(struct suite *s, struct fetched *f, const char *method, const char *body)
{
    struct pairs none = PAIRS_INIT(0);
    struct http_spec spec = { .method = method, .url = f->url, .headers = &none, .memory = body,
        .length = body ? strlen(body) : 0,
        .has_body = body != NULL, .reply_max = 65536, .done = on_fetched, .arg = f };

    assert_non_null(http_start(((struct s3 *)s->cloud->state)->http, &spec));
    wait_for(s, f);
}

static void signed_urls(void **state)
{
    static const char key[] = "signed/a b+c%d/\xc3\xbc";
    struct suite *s = *state;
    struct fetched f = { 0 };

    cloud_presign(s->cloud, &(struct cloud_url){ .method = "PUT", .bucket = s->bucket, .key = key, .seconds = 60 }, on_url, &f);
    wait_for(s, &f);
    fetch(s, &f, "PUT", "by url");
    assert_int_equal(f.status, 200);
    suite_expect_bytes(s, key, "by url", 6);
    fetch(s, &f, "GET", NULL);
    assert_int_equal(f.status, 403);   /* signed for PUT */
    xstrset(&f.url, NULL);
    cloud_presign(s->cloud, &(struct cloud_url){ .method = "GET", .bucket = s->bucket, .key = key, .seconds = 60 }, on_url, &f);
    wait_for(s, &f);
    fetch(s, &f, "GET", NULL);
    assert_int_equal(f.status, 200);
    assert_string_equal(f.body, "by url");
    free(f.url);
    suite_clean(s, "signed/");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest own[] = {
        cmocka_unit_test(wrong_keys),
        cmocka_unit_test(wrong_region),
        cmocka_unit_test(wrong_clock),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(unsayable_keys),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(signed_urls),
    };
    int failed;

    if (argc != 2 || read_settings(argv[1]) < 0) {
        (void)fprintf(stderr, "usage: cloud_conformance FILE\n");
        return EXIT_FAILURE;
    }
    failed = _cmocka_run_group_tests("suite", suite_tests, suite_tests_n, set_up, tear_down);
    return failed + cmocka_run_group_tests_name("server", own, set_up, tear_down);
}
