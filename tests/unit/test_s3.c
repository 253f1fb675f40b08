/* The S3 provider against a server that misbehaves by script: cut connections, lost answers, errors in disguise, the
 * wrong region, the wrong time, and too much of everything. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cloud_suite.h"
#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "fake_server.h"
#include "syncd/s3.h"
#include "syncd/tally.h"

/* MD5 of "abc", and of nothing. */
#define MD5_ABC "900150983cd24fb0d6963f7d28e17f72"
#define NO_BODY "Content-Length: 0\r\n\r\n"

struct rig {
    struct suite suite;
    struct config *config;
    struct fake_server *server;
    struct error keyring;     /* code set: what the keyring says, once */
    bool silent;              /* the keyring does not answer */
    void (*meanwhile)(struct s3 *s);   /* what the answer to another request teaches, when one has been signed: */
    unsigned meanwhile_at;             /* after so many others */
    void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg);
    void *give_arg;
};

static const struct cloud_secret secret = { "AKTEST", "very-secret-key" };

static void keyring_get(void *arg, const char *account_id,
                        void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg),
                            void *give_arg)
{
    struct rig *rig = arg;
    struct error e = rig->keyring;

    assert_string_equal(account_id, "account");
    rig->keyring.code = 0;
    rig->give = give;
    rig->give_arg = give_arg;
    if (!rig->silent)
        give(e.code ? &e : NULL, e.code ? NULL : &secret, give_arg);
    if (rig->meanwhile && rig->meanwhile_at-- == 0) {
        rig->meanwhile(rig->suite.cloud->state);
        rig->meanwhile = NULL;
    }
}

static void open_rig(struct rig *rig, const struct fake_step *steps, size_t n, const char *const *sets, size_t n_sets)
{
    char url[64];
    struct cloud_spec spec = { .type = CLOUD_S3_GENERIC, .account_id = "account", .service_url = url,
        .keyring = { keyring_get, rig } };
    struct error e = { 0 };

    memset(rig, 0, sizeof(*rig));
    rig->suite.loop = loop_new(1);
    rig->suite.bucket = "bucket";
    rig->server = fake_server_new(rig->suite.loop, steps, n);
    assert_int_equal(config_load(NULL, sets, n_sets, &rig->config, &e), 0);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", fake_server_port(rig->server));
    if (cloud_new(rig->suite.loop, rig->config, &spec, &rig->suite.cloud, &e) < 0)
        fail_msg("%s", e.text);
}

static void close_rig(struct rig *rig)
{
    cloud_free(rig->suite.cloud);
    fake_server_free(rig->server);
    loop_free(rig->suite.loop);
    config_free(rig->config);
}

#define OPEN(rig, steps, ...) \
    do { \
        static const char *const sets_[] = { "CloudRetries=2", ##__VA_ARGS__ }; \
        open_rig(rig, steps, ARRAY_SIZE(steps), sets_, ARRAY_SIZE(sets_)); \
    } while (0)

/* GET of "key", and what arrived. */
static int get(struct rig *rig, struct cloud_request *r, char got[32])
{
    CLEANUP_CLOSE int fd = suite_file("", 0);
    ssize_t n;

    r->sink = (struct cloud_extent){ fd, 0, 31 };
    (void)suite_run(&rig->suite, r);
    n = pread(fd, got, 31, 0);
    got[n] = '\0';
    return r->error.code;
}

static int put(struct rig *rig, struct cloud_request *r, const char *body)
{
    CLEANUP_CLOSE int fd = suite_file(body, strlen(body));

    r->body = (struct cloud_extent){ fd, 0, strlen(body) };
    return suite_run(&rig->suite, r);
}

/* --- broken transfers ------------------------------------------------------------------------------ */

static void a_cut_read_goes_on(void **state)
{
    static const struct fake_step steps[] = {
        { { "GET /bucket/key HTTP/1.1", "!Range:" },
          "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 10\r\n\r\n01234", FAKE_CLOSE },
        { { "GET /bucket/key", "range: bytes=5-", "if-match: \"e1\"" },
          "HTTP/1.1 206 Partial Content\r\nETag: \"e1\"\r\nContent-Length: 5\r\nContent-Range: bytes 5-9/10\r\n\r\n567"
              "", FAKE_CLOSE },
        { { "range: bytes=8-" },
          "HTTP/1.1 206 Partial Content\r\nETag: \"e1\"\r\nContent-Length: 2\r\nContent-Range: bytes 8-9/10\r\n\r\n89",
              FAKE_KEEP },
    };
    struct rig rig;
    char got[32];

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

        assert_int_equal(get(&rig, r, got), 0);
        assert_string_equal(got, "0123456789");
        assert_int_equal(r->content_length, 10);
        assert_int_equal(r->object.size, 10);
    }
    close_rig(&rig);
}

static void a_cut_read_of_a_range(void **state)
{
    static const struct fake_step steps[] = {
        { { "range: bytes=100-109" },
          "HTTP/1.1 206 Partial Content\r\nETag: \"e1\"\r\nContent-Length: 10\r\nContent-Range: bytes 100-109/500\r\n"
              "\r\n012", FAKE_CLOSE },
        { { "range: bytes=103-109", "if-match: \"e1\"" },
          "HTTP/1.1 206 Partial Content\r\nETag: \"e1\"\r\nContent-Length: 7\r\nContent-Range: bytes 103-109/500\r\n"
              "\r\n3456789",
          FAKE_KEEP },
    };
    struct rig rig;
    char got[32];

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

        r->has_range = true;
        r->range_offset = 100;
        r->range_length = 10;
        assert_int_equal(get(&rig, r, got), 0);
        assert_string_equal(got, "0123456789");
        assert_int_equal(r->object.size, 500);
    }
    close_rig(&rig);
}

static void a_cut_read_that_cannot_go_on(void **state)
{
    static const struct fake_step no_etag[] = {
        { { "GET" }, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", FAKE_CLOSE },
    };
    static const struct fake_step changed[] = {
        { { "GET" }, "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 10\r\n\r\n01234", FAKE_CLOSE },
        { { "if-match: \"e1\"" }, "HTTP/1.1 412 Precondition Failed\r\n" NO_BODY, FAKE_KEEP },
    };
    static const struct fake_step ignored[] = {
        { { "GET" }, "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 10\r\n\r\n01234", FAKE_CLOSE },
        { { "if-match: \"e1\"" },
          "HTTP/1.1 206 Partial Content\r\nETag: \"e2\"\r\nContent-Length: 5\r\nContent-Range: bytes 5-9/10\r\n\r\n567"
              "89", FAKE_KEEP },
    };
    const struct { const struct fake_step *steps; size_t n; int code; } cases[] = {
        { no_etag, 1, -EBADE }, { changed, 2, -ESTALE }, { ignored, 2, -ESTALE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;
        char got[32];

        open_rig(&rig, cases[i].steps, cases[i].n, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

            assert_int_equal(get(&rig, r, got), cases[i].code);
            assert_string_equal(got, "01234");
        }
        close_rig(&rig);
    }
}

/* A server that does not know If-Match sends the version it has: not a byte of it may arrive. */
static void another_version_than_asked_for(void **state)
{
    static const struct { const char *reply; int code; const char *got; } cases[] = {
        { "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 5\r\n\r\n01234", 0, "01234" },
        { "HTTP/1.1 200 OK\r\nETag: W/\"e1\"\r\nContent-Length: 5\r\n\r\n01234", 0, "01234" },
        { "HTTP/1.1 200 OK\r\nETag: \"e2\"\r\nContent-Length: 5\r\n\r\n01234", -ESTALE, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n01234", -ESTALE, "" },
        { "HTTP/1.1 206 Partial Content\r\nETag: \"e2\"\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/5\r\n\r\n"
          "01234", -ESTALE, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct fake_step steps[] = { { { "if-match: \"e1\"" }, cases[i].reply, FAKE_CLOSE } };
        struct rig rig;
        char got[32];

        open_rig(&rig, steps, 1, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

            cloud_request_set(&r->if_match, "e1");
            if (get(&rig, r, got) != cases[i].code)
                fail_msg("case %zu: %d %s", i, r->error.code, r->error.text);
            assert_string_equal(got, cases[i].got);
        }
        close_rig(&rig);
    }
}

/* One reply to a GET of bytes 10-19, and what comes of it. */
static void heads_that_lie(void **state)
{
    static const struct { const char *reply; int code; } cases[] = {
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/100\r\n\r\n0123456789",
          -EBADMSG },
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 20\r\nContent-Range: bytes 10-29/100\r\n\r\n012345678901234"
          "56789", -EBADMSG },
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 10-19/100\r\n\r\n01234",
          -EBADMSG },
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: bytes 10-19/15\r\n\r\n0123456789",
          -EBADMSG },
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: items 1\r\n\r\n0123456789", -EBADMSG },
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789", -EBADMSG },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", -EBADMSG },
        { "HTTP/1.1 416 Range Not Satisfiable\r\n" NO_BODY, -ERANGE },
        { "HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 10-11/12\r\n\r\nab", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct fake_step steps[] = { { { "range: bytes=10-19" }, cases[i].reply, FAKE_CLOSE } };
        struct rig rig;
        char got[32];

        open_rig(&rig, steps, 1, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

            r->has_range = true;
            r->range_offset = r->range_length = 10;
            if (get(&rig, r, got) != cases[i].code)
                fail_msg("case %zu: %d %s", i, r->error.code, r->error.text);
            if (cases[i].code)
                assert_string_equal(got, "");
        }
        close_rig(&rig);
    }
}

/* --- what passes ------------------------------------------------------------------------------------- */

static void errors_that_pass(void **state)
{
    static const struct fake_step steps[] = {
        { { "HEAD" }, "HTTP/1.1 503 Slow Down\r\nRetry-After: 0\r\n" NO_BODY, FAKE_KEEP },
        { { "HEAD" }, "", FAKE_CLOSE },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nContent-Le", FAKE_CLOSE },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"x\"\r\n", FAKE_CLOSE },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"x\"\r\n\r\n", FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=4");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        suite_expect(&rig.suite, r, 0);
        assert_int_equal(r->object.size, 3);
        assert_string_equal(r->object.etag, "x");
    }
    close_rig(&rig);
}

static void patience_ends(void **state)
{
    static const char slow[] = "HTTP/1.1 503 Slow Down\r\nContent-Length: *\r\n\r\n"
                               "<Error><Code>SlowDown</Code><Message>Too much!</Message></Error>";
    static const struct fake_step steps[] = { { { "GET" }, slow, FAKE_CLOSE }, { { "GET" }, slow, FAKE_CLOSE },
                                              { { "GET" }, slow, FAKE_CLOSE } };
    static const struct fake_step long_wait[] = {
        { { "GET" }, "HTTP/1.1 503 Slow Down\r\nRetry-After: 4000\r\n" NO_BODY, FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

        suite_expect(&rig.suite, r, -EAGAIN);
    }
    close_rig(&rig);
    OPEN(&rig, long_wait);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

        suite_expect(&rig.suite, r, -EAGAIN);   /* nobody waits for more than an hour */
    }
    close_rig(&rig);
}

/* Of several servers behind one name. */
static void one_with_a_wrong_clock(void **state)
{
    static const time_t ahead[] = { 7200, 0 };
    static char says[2][512];
    static const struct fake_step steps[] = {
        { { "PUT" }, says[0], FAKE_CLOSE },
        { { "PUT" }, says[1], FAKE_CLOSE },
        { { "PUT" }, "HTTP/1.1 200 OK\r\nETag: \"" MD5_ABC "\"\r\n" NO_BODY, FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
        time_t theirs = time(NULL) + ahead[i];
        char date[64];
        struct tm tm;

        (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&theirs, &tm));
        (void)snprintf(says[i], sizeof(says[i]), "HTTP/1.1 403 Forbidden\r\nDate: %s\r\nContent-Length: *\r\n\r\n"
                       "<Error><Code>RequestTimeTooSkewed</Code><Message>Late.</Message></Error>", date);
    }
    OPEN(&rig, steps, "CloudRetries=0");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");
        const struct s3 *s3 = rig.suite.cloud->state;

        assert_int_equal(put(&rig, r, "abc"), 0);
        assert_in_range(s3->skew_ns + INT64_C(10) * 1000000000, 0, INT64_C(20) * 1000000000);
    }
    close_rig(&rig);
}

/* Past all tries. Who reads the code decides with it whether everybody waits or only this one. */
static void what_refusals_mean(void **state)
{
    static const struct { int status; const char *code; int means; } cases[] = {
        { 503, "SlowDown", -EAGAIN }, { 503, "", -EAGAIN }, { 503, "ServiceUnavailable", -EAGAIN },
        { 429, "", -EAGAIN }, { 429, "TooManyRequests", -EAGAIN }, { 509, "BandwidthLimitExceeded", -EAGAIN },
        { 500, "InternalError", -EREMOTEIO }, { 500, "", -EREMOTEIO },   /* of one object, as far as one can tell */
        { 502, "", -EHOSTUNREACH }, { 504, "", -ETIMEDOUT },             /* of what stands before the service */
        { 400, "RequestTimeout", -ETIMEDOUT }, { 408, "", -ETIMEDOUT },
        { 400, "ExpiredToken", -EKEYREJECTED }, { 400, "TokenRefreshRequired", -EKEYREJECTED },
        { 400, "InvalidToken", -EKEYREJECTED }, { 403, "InvalidAccessKeyId", -EKEYREJECTED },
        { 403, "SignatureDoesNotMatch", -EKEYREJECTED }, { 401, "", -EKEYREJECTED },
        { 403, "AccessDenied", -EACCES }, { 403, "RequestTimeTooSkewed", -EACCES }, { 403, "", -EACCES },
        { 400, "BadDigest", -EBADE }, { 400, "XAmzContentSHA256Mismatch", -EBADE }, { 400, "InvalidDigest", -EBADE },
        { 412, "PreconditionFailed", -ESTALE }, { 409, "ConditionalRequestConflict", -ESTALE }, { 412, "", -ESTALE },
        { 403, "QuotaExceeded", -ENOSPC }, { 503, "QuotaExceeded", -ENOSPC }, { 507, "", -ENOSPC },
        { 404, "NoSuchBucket", -ENOENT }, { 404, "", -ENOENT }, { 400, "EntityTooLarge", -EFBIG },
        { 501, "NotImplemented", -EREMOTEIO }, { 400, "InvalidArgument", -EREMOTEIO },
    };
    static const char *const sets[] = { "CloudRetries=0" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char reply[256];
        const struct fake_step steps[] = { { { "PUT" }, reply, FAKE_CLOSE } };
        struct rig rig;

        (void)snprintf(reply, sizeof(reply), "HTTP/1.1 %d No\r\nContent-Length: *\r\n\r\n%s%s%s", cases[i].status,
                       *cases[i].code ? "<Error><Code>" : "", cases[i].code, *cases[i].code ? "</Code></Error>" : "");
        open_rig(&rig, steps, 1, sets, 1);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

            if (put(&rig, r, "abc") != cases[i].means)
                fail_msg("%d %s: %d %s", cases[i].status, cases[i].code, r->error.code, r->error.text);
        }
        close_rig(&rig);
    }
}

/* Of a drive whose cloud was out of reach. */
static void who_refuses_answers(void **state)
{
    static const struct { int status; const char *code; bool lost; } cases[] = {
        { 200, "", false }, { 403, "InvalidAccessKeyId", false }, { 403, "RequestTimeTooSkewed", false },
        { 503, "SlowDown", false }, { 500, "InternalError", false }, { 400, "RequestTimeout", false },
        { 407, "", true }, { 408, "", true }, { 502, "", true }, { 504, "", true },
    };
    static const char *const sets[] = { "CloudRetries=0" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char reply[256];
        const struct fake_step steps[] = { { { "PUT" }, reply, FAKE_CLOSE } };
        struct tally *t;
        struct rig rig;

        (void)snprintf(reply, sizeof(reply), "HTTP/1.1 %d No\r\nETag: \"" MD5_ABC "\"\r\nContent-Length: *\r\n\r\n"
                       "%s%s%s", cases[i].status, *cases[i].code ? "<Error><Code>" : "", cases[i].code,
                       *cases[i].code ? "</Code></Error>" : "");
        open_rig(&rig, steps, 1, sets, 1);
        assert_int_equal(tally_new(&t), 0);
        reach_lose(&t->reach, &(struct error){ .code = -EHOSTUNREACH });
        t->reach.n_asked = 1;   /* a listing waits behind the body that is sent */
        t->reach.silent_ns = 1;
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

            r->tally = tally_hold(t);
            (void)put(&rig, r, "abc");
            if (reach_lost(&t->reach) != cases[i].lost || t->reach.silent_ns == 1)
                fail_msg("%d %s", cases[i].status, cases[i].code);
        }
        tally_drop(t);
        close_rig(&rig);
    }
}

static void silence_ends(void **state)
{
    static const struct fake_step steps[] = { { { "HEAD" }, NULL, FAKE_KEEP } };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=0", "CloudStallSeconds=2");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        suite_expect(&rig.suite, r, -ETIMEDOUT);
    }
    close_rig(&rig);
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        r->deadline_ms = 1000;   /* long enough to be sent in */
        suite_expect(&rig.suite, r, -ETIMEDOUT);
    }
    close_rig(&rig);
}

/* Swift sends an empty chunk after bodiless answers: the next request must not take it for its answer. */
static void unasked_bytes(void **state)
{
    static const struct fake_step steps[] = {
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3\r\n\r\n", FAKE_KEEP },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 4\r\n\r\n", FAKE_KEEP },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n\r\n", FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=0");
    for (unsigned i = 0; i < 3; i++) {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        suite_expect(&rig.suite, r, 0);
        assert_int_equal(r->object.size, 3 + i);
        if (i == 0)
            fake_server_say(rig.server, "0\r\n\r\n");
    }
    assert_int_equal(fake_server_connections(rig.server), 2);
    close_rig(&rig);
}

/* --- regions and clocks ----------------------------------------------------------------------------- */

static void other_regions(void **state)
{
    static const struct fake_step steps[] = {
        { { "/us-east-1/s3/aws4_request" },
          "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/elsewhere\r\nx-amz-bucket-region: eu-west-1\r\n" NO_BODY,
              FAKE_KEEP },
        { { "GET /bucket?", "/eu-west-1/s3/aws4_request" },
          "HTTP/1.1 400 Bad Request\r\nContent-Length: *\r\n\r\n<Error><Code>AuthorizationHeaderMalformed</Code><Messa"
              "ge>m"
          "</Message><Region>eu-west-2</Region></Error>", FAKE_CLOSE },
        { { "/eu-west-2/s3/aws4_request" },
          "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<ListBucketResult></ListBucketResult>\r\n", FAKE_KEEP },
        { { "HEAD", "/eu-west-2/s3/aws4_request" },
          "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 5\r\n\r\n", FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=0");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL), *again = suite_ask(&rig.suite, CLOUD_STAT, "key");

        suite_expect(&rig.suite, r, 0);
        suite_expect(&rig.suite, again, 0);   /* remembered */
    }
    close_rig(&rig);
}

static void regions_that_are_none(void **state)
{
    static const struct fake_step steps[] = {
        { { "GET" }, "HTTP/1.1 301 Moved\r\nx-amz-bucket-region: a.evil.test/\r\n" NO_BODY, FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=0");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

        suite_expect(&rig.suite, r, -EREMOTEIO);
    }
    close_rig(&rig);
}

/* A server that is two hours ahead. */
static const char *late(char out[512])
{
    time_t later = time(NULL) + 7200;
    char date[64];
    struct tm tm;

    (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&later, &tm));
    (void)snprintf(out, 512, "HTTP/1.1 403 Forbidden\r\nDate: %s\r\nContent-Length: *\r\n\r\n"
                   "<Error><Code>RequestTimeTooSkewed</Code><Message>Late.</Message></Error>", date);
    return out;
}

static void learns_time(struct s3 *s)
{
    s->skew_ns = INT64_C(7200) * 1000000000;
}

/* Also of a request that was signed before another one learned the time. */
static void another_time(void **state)
{
    static void (*const meanwhiles[])(struct s3 *s) = { NULL, learns_time };
    char skewed[512];
    const struct fake_step steps[] = {
        { { "PUT" }, late(skewed), FAKE_CLOSE },
        { { "PUT" }, "HTTP/1.1 200 OK\r\nETag: \"" MD5_ABC "\"\r\n" NO_BODY, FAKE_KEEP },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(meanwhiles); i++) {
        struct rig rig;

        OPEN(&rig, steps, "CloudRetries=0");
        rig.meanwhile = meanwhiles[i];
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");
            const struct s3 *s3 = rig.suite.cloud->state;

            assert_int_equal(put(&rig, r, "abc"), 0);
            assert_true(s3->skew_ns > INT64_C(7100) * 1000000000);
        }
        close_rig(&rig);
    }
}

/* A clock that was corrected only helps once: who refuses after that has another reason. */
static void another_time_again(void **state)
{
    char skewed[512];
    const struct fake_step steps[] = {
        { { "PUT" }, late(skewed), FAKE_CLOSE }, { { "PUT" }, late(skewed), FAKE_CLOSE },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=0");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

        assert_int_equal(put(&rig, r, "abc"), -EACCES);
        assert_non_null(strstr(r->error.text, "clock"));
    }
    close_rig(&rig);
}

/* --- conditions -------------------------------------------------------------------------------------- */

static void conditions_not_implemented(void **state)
{
    static const struct fake_step steps[] = {
        { { "HEAD" }, "HTTP/1.1 404 Not Found\r\n" NO_BODY, FAKE_KEEP },
        { { "PUT", "if-none-match: *" }, "HTTP/1.1 501 Not Implemented\r\n" NO_BODY, FAKE_KEEP },
        { { "HEAD" }, "HTTP/1.1 404 Not Found\r\n" NO_BODY, FAKE_KEEP },
        { { "PUT", "!if-none-match", "\r\n\r\nabc" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n" NO_BODY, FAKE_KEEP },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3\r\n\r\n", FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

        r->if_none_match = true;
        assert_int_equal(put(&rig, r, "abc"), 0);
        assert_int_equal(put(&rig, r, "abc"), -ESTALE);
    }
    close_rig(&rig);
}

static void learns_no_conditions(struct s3 *s)
{
    s->no_conditions = true;
}

/* Several go out at once to a server that nobody knows yet: each is refused, and each is tried again. */
static void conditions_not_implemented_for_several(void **state)
{
    static const struct fake_step steps[] = {
        { { "PUT", "if-none-match: *" }, "HTTP/1.1 501 Not Implemented\r\n" NO_BODY, FAKE_KEEP },
        { { "HEAD" }, "HTTP/1.1 404 Not Found\r\n" NO_BODY, FAKE_KEEP },
        { { "PUT", "!if-none-match", "\r\n\r\nabc" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n" NO_BODY, FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    ((struct s3 *)rig.suite.cloud->state)->checks_absent = true;
    rig.meanwhile = learns_no_conditions;
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

        r->if_none_match = true;
        assert_int_equal(put(&rig, r, "abc"), 0);
    }
    close_rig(&rig);
}

/* A marker, a file after it, and whether that was looked for first: it is only for a server that was seen to refuse. */
static void conditions_seen_to_be_checked(void **state)
{
#define MARKER { { "PUT /bucket/dir/ ", "!if-none-match" }, stored, FAKE_KEEP }
#define AGAIN { "PUT /bucket/dir/ ", "if-none-match: *" }
#define LOOK { { "HEAD /bucket/key " }, absent, FAKE_KEEP }
#define FILE { { "PUT /bucket/key ", "if-none-match: *", "\r\n\r\nabc" }, stored, FAKE_KEEP }
    static const char stored[] = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n" NO_BODY;
    static const char absent[] = "HTTP/1.1 404 Not Found\r\n" NO_BODY;
    static const char replaced[] = "HTTP/1.1 200 OK\r\nETag: \"e2\"\r\n" NO_BODY;
    static const char refused[] = "HTTP/1.1 412 Precondition Failed\r\n" NO_BODY;
    static const char busy[] = "HTTP/1.1 503 Slow Down\r\n" NO_BODY;
    static const struct { struct fake_step steps[6]; size_t n; const char *etag; } cases[] = {
        { { MARKER, { AGAIN, refused, FAKE_KEEP }, MARKER, FILE }, 4, "e" },
        { { MARKER, { AGAIN, replaced, FAKE_KEEP }, MARKER, LOOK, FILE }, 5, "e2" },
        /* that says nothing: another marker tries again */
        { { MARKER, { AGAIN, busy, FAKE_KEEP }, MARKER, { AGAIN, refused, FAKE_KEEP }, FILE }, 5, "e" },
        { { MARKER, { AGAIN, "", FAKE_CLOSE }, { AGAIN, "", FAKE_CLOSE }, MARKER, { AGAIN, refused, FAKE_KEEP }, FILE },
          6, "e" },
    };
#undef MARKER
#undef AGAIN
#undef LOOK
#undef FILE

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;

        open_rig(&rig, cases[i].steps, cases[i].n, NULL, 0);
        {
            SUITE_REQUEST *marker = suite_ask(&rig.suite, CLOUD_PUT, "dir/");
            SUITE_REQUEST *again = suite_ask(&rig.suite, CLOUD_PUT, "dir/");
            SUITE_REQUEST *file = suite_ask(&rig.suite, CLOUD_PUT, "key");

            file->if_none_match = true;
            assert_int_equal(put(&rig, marker, ""), 0);
            assert_string_equal(marker->object.etag, cases[i].etag);
            assert_int_equal(put(&rig, again, ""), 0);
            assert_int_equal(put(&rig, file, "abc"), 0);
        }
        close_rig(&rig);
    }
}

static void learns_quotes(struct s3 *s)
{
    s->bare_etags = false;
}

static void etags_with_quotes_or_without(void **state)
{
    static void (*const meanwhiles[])(struct s3 *s) = { NULL, learns_quotes };
    static const struct fake_step steps[] = {
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3\r\n\r\n", FAKE_KEEP },
        { { "PUT", "if-match: e\r\n" }, "HTTP/1.1 412 Precondition Failed\r\n" NO_BODY, FAKE_KEEP },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 3\r\n\r\n", FAKE_KEEP },
        { { "PUT", "if-match: \"e\"\r\n" }, "HTTP/1.1 200 OK\r\nETag: \"f\"\r\n" NO_BODY, FAKE_KEEP },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(meanwhiles); i++) {
        struct rig rig;

        OPEN(&rig, steps);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");
            const struct s3 *s3 = rig.suite.cloud->state;

            rig.meanwhile = meanwhiles[i];
            rig.meanwhile_at = 1;   /* the PUT, after the HEAD */
            cloud_request_set(&r->if_match, "e");
            assert_int_equal(put(&rig, r, "abc"), 0);
            assert_string_equal(r->object.etag, "f");
            assert_false(s3->bare_etags);
        }
        close_rig(&rig);
    }
}


/* The server did it, the answer was lost, and the second try finds the condition broken: by ourselves. */
static void a_lost_answer(void **state)
{
    static const char old[] = "HTTP/1.1 200 OK\r\nETag: \"old\"\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    static const char ours[] = "HTTP/1.1 200 OK\r\nETag: \"" MD5_ABC "\"\r\nContent-Length: 3\r\nConnection: close\r"
        "\n\r\n";
    static const char theirs[] = "HTTP/1.1 200 OK\r\nETag: \"other\"\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    static const char kept[] = "HTTP/1.1 200 OK\r\nETag: \"old\"\r\nContent-Length: 3\r\n\r\n";
    static const char broken[] = "HTTP/1.1 412 Precondition Failed\r\n" NO_BODY;
    static const struct { struct fake_step steps[4]; int code; } cases[] = {
        /* looked at again before our second try */
        { { { { "HEAD" }, old, FAKE_KEEP }, { { "PUT" }, "", FAKE_CLOSE }, { { "HEAD" }, ours, FAKE_KEEP },
            { { "HEAD" }, ours, FAKE_KEEP } }, 0 },
        { { { { "HEAD" }, old, FAKE_KEEP }, { { "PUT" }, "", FAKE_CLOSE }, { { "HEAD" }, theirs, FAKE_KEEP },
            { { "HEAD" }, theirs, FAKE_KEEP } }, -ESTALE },
        /* on a kept connection libcurl itself tries a second time */
        { { { { "HEAD" }, kept, FAKE_KEEP }, { { "PUT" }, "", FAKE_CLOSE }, { { "PUT" }, broken, FAKE_KEEP },
            { { "HEAD" }, ours, FAKE_KEEP } }, 0 },
        { { { { "HEAD" }, kept, FAKE_KEEP }, { { "PUT" }, "", FAKE_CLOSE }, { { "PUT" }, broken, FAKE_KEEP },
            { { "HEAD" }, theirs, FAKE_KEEP } }, -ESTALE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;

        open_rig(&rig, cases[i].steps, 4, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

            cloud_request_set(&r->if_match, "old");
            assert_int_equal(put(&rig, r, "abc"), cases[i].code);
            if (!cases[i].code)
                assert_string_equal(r->object.etag, MD5_ABC);
        }
        close_rig(&rig);
    }
}

/* --- what an answer says about what was sent ----------------------------------------------------------- */

#define STORED(etag) "HTTP/1.1 200 OK\r\nETag: \"" etag "\"\r\n" NO_BODY
#define SEEN(etag) "HTTP/1.1 200 OK\r\nETag: \"" etag "\"\r\nContent-Length: 3\r\n\r\n"
#define OTHER_1 "00000000000000000000000000000000"
#define OTHER_2 "11111111111111111111111111111111"

static void an_answer_about_another_version(void **state)
{
    static const struct { struct fake_step steps[2]; int code; } cases[] = {
        { { { { "PUT" }, STORED(OTHER_1), FAKE_KEEP }, { { "HEAD /bucket/key" }, SEEN(MD5_ABC), FAKE_KEEP } }, 0 },
        { { { { "PUT" }, STORED(OTHER_1), FAKE_KEEP }, { { "HEAD" }, SEEN(OTHER_2), FAKE_KEEP } }, -EBADMSG },
        { { { { "PUT" }, STORED(OTHER_1), FAKE_KEEP },
            { { "HEAD" }, "HTTP/1.1 404 Not Found\r\n" NO_BODY, FAKE_KEEP } }, -EBADMSG },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;

        open_rig(&rig, cases[i].steps, 2, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");

            assert_int_equal(put(&rig, r, "abc"), cases[i].code);
            if (!cases[i].code)
                assert_string_equal(r->object.etag, MD5_ABC);
            assert_false(((struct s3 *)rig.suite.cloud->state)->opaque_etags);
        }
        close_rig(&rig);
    }
}

/* As AWS has them with keys of KMS: said twice, then believed. */
static void etags_that_are_no_digests(void **state)
{
    static const struct fake_step steps[] = {
        { { "PUT" }, STORED(OTHER_1), FAKE_KEEP },
        { { "HEAD" }, SEEN(OTHER_1), FAKE_KEEP },
        { { "PUT" }, STORED(OTHER_2), FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *first = suite_ask(&rig.suite, CLOUD_PUT, "key");
        SUITE_REQUEST *second = suite_ask(&rig.suite, CLOUD_PUT, "key");

        assert_int_equal(put(&rig, first, "abc"), 0);
        assert_string_equal(first->object.etag, OTHER_1);
        assert_int_equal(put(&rig, second, "abc"), 0);
        assert_string_equal(second->object.etag, OTHER_2);
    }
    close_rig(&rig);
}

/* --- what comes, against its ETag ---------------------------------------------------------------------- */

#define BROUGHT(headers, body) "HTTP/1.1 200 OK\r\n" headers "Content-Length: 3\r\n\r\n" body
#define ETAG(etag) "ETag: \"" etag "\"\r\n"
#define CUT { { "!range:" }, BROUGHT(ETAG(MD5_ABC), "ab"), FAKE_CLOSE }
#define REST(body) { { "range: bytes=2-" }, "HTTP/1.1 206 Partial Content\r\n" ETAG(MD5_ABC) "Content-Length: 1\r\n" \
                     "Content-Range: bytes 2-2/3\r\n\r\n" body, FAKE_KEEP }

static void bytes_that_the_etag_does_not_name(void **state)
{
    static const struct {
        struct fake_step steps[4];
        const char *retries, *got;   /* NULL: -EBADE */
        enum cloud_match match;
        unsigned damaged;
    } cases[] = {
        { { { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_MATCHED, 0 },
        { { { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abd"), FAKE_KEEP },
            { { "GET", "!range:" }, BROUGHT(ETAG(MD5_ABC), "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_MATCHED, 1 },
        { { { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abd"), FAKE_KEEP },
            { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abe"), FAKE_KEEP },
            { { "GET", "!range:" }, BROUGHT(ETAG(MD5_ABC), "abc"), FAKE_KEEP } }, "1", "abc", CLOUD_MATCHED, 2 },
        { { { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abd"), FAKE_KEEP },
            { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abe"), FAKE_KEEP },
            { { "GET" }, BROUGHT(ETAG(MD5_ABC), "abf"), FAKE_KEEP } }, "1", NULL, CLOUD_NOT_COMPARED, 2 },
        /* over several connections */
        { { CUT, REST("c") }, "1", "abc", CLOUD_MATCHED, 0 },
        { { CUT, REST("d"), CUT, REST("c") }, "2", "abc", CLOUD_MATCHED, 1 },
        /* ETags that are something else */
        { { { { "GET" }, BROUGHT(ETAG(OTHER_1), "abc"), FAKE_KEEP },
            { { "GET" }, BROUGHT(ETAG(OTHER_1), "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_UNLIKE, 0 },
        { { { { "GET" }, BROUGHT(ETAG(OTHER_1) "x-amz-server-side-encryption: AES256\r\n", "abc"), FAKE_KEEP },
            { { "GET" }, BROUGHT(ETAG(OTHER_1), "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_UNLIKE, 0 },
        { { { { "GET" }, BROUGHT(ETAG(OTHER_1) "x-amz-server-side-encryption: aws:kms\r\n", "abc"), FAKE_KEEP } },
          "0", "abc", CLOUD_NOT_COMPARED, 0 },
        { { { { "GET" }, BROUGHT(ETAG(OTHER_1) "x-amz-server-side-encryption: aws:kms:dsse\r\n", "abc"), FAKE_KEEP } },
          "0", "abc", CLOUD_NOT_COMPARED, 0 },
        { { { { "GET" }, BROUGHT(ETAG(OTHER_1) "x-amz-server-side-encryption-customer-algorithm: AES256\r\n", "abc"),
            FAKE_KEEP } }, "0", "abc", CLOUD_NOT_COMPARED, 0 },
        { { { { "GET" }, BROUGHT(ETAG(OTHER_1 "-2"), "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_NOT_COMPARED, 0 },
        { { { { "GET" }, BROUGHT(ETAG("e1"), "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_NOT_COMPARED, 0 },
        { { { { "GET" }, BROUGHT("", "abc"), FAKE_KEEP } }, "0", "abc", CLOUD_NOT_COMPARED, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char retries[32], got[32];
        const char *sets[] = { retries };
        struct rig rig;
        size_t n = 0;

        while (n < ARRAY_SIZE(cases[i].steps) && cases[i].steps[n].reply)
            n++;
        (void)snprintf(retries, sizeof(retries), "CloudRetries=%s", cases[i].retries);
        open_rig(&rig, cases[i].steps, n, sets, 1);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

            r->checked = true;
            assert_int_equal(get(&rig, r, got), cases[i].got ? 0 : -EBADE);
            if (cases[i].got)
                assert_string_equal(got, cases[i].got);
            assert_int_equal(r->match, cases[i].match);
            assert_int_equal(r->damaged, cases[i].damaged);
        }
        close_rig(&rig);
    }
}

/* --- connections for everybody ------------------------------------------------------------------------- */

static void on_code(struct cloud_request *r, void *arg)
{
    *(int *)arg = r->error.code;
}

static void await(struct rig *rig, const int *code)
{
    while (*code > 0)
        (void)event_base_loop(loop_base(rig->suite.loop), EVLOOP_ONCE);
}

/* Three uploads of four connections get no answer; the fourth waits for one of them, a reader for none. */
static void stuck_uploads_leave_a_connection(void **state)
{
    static const struct fake_step steps[] = {
        { { "PUT" }, NULL, FAKE_KEEP },
        { { "PUT" }, NULL, FAKE_KEEP },
        { { "PUT" }, NULL, FAKE_KEEP },
        { { "HEAD /bucket/read" }, SEEN("e"), FAKE_KEEP },
        { { "PUT" }, STORED(MD5_ABC), FAKE_KEEP },
    };
    CLEANUP_CLOSE int fd = suite_file("abc", 3);
    int codes[4] = { 1, 1, 1, 1 };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudConnectionsPerHost=4");
    {
        SUITE_REQUEST *stat = suite_ask(&rig.suite, CLOUD_STAT, "read");
        struct cloud_request *puts[4];

        for (size_t i = 0; i < 4; i++) {
            puts[i] = suite_ask(&rig.suite, CLOUD_PUT, "key");
            puts[i]->yields = true;
            puts[i]->body = (struct cloud_extent){ fd, 0, 3 };
            puts[i]->done = on_code;
            puts[i]->arg = &codes[i];
            cloud_submit(rig.suite.cloud, puts[i]);
        }
        while (fake_server_connections(rig.server) < 3)
            (void)event_base_loop(loop_base(rig.suite.loop), EVLOOP_ONCE);
        suite_expect(&rig.suite, stat, 0);
        assert_int_equal(fake_server_connections(rig.server), 4);
        cloud_cancel(rig.suite.cloud, puts[0]);
        await(&rig, &codes[0]);
        await(&rig, &codes[3]);
        assert_int_equal(codes[0], -ECANCELED);
        assert_int_equal(codes[3], 0);
        for (size_t i = 0; i < 4; i++) {
            cloud_cancel(rig.suite.cloud, puts[i]);
            await(&rig, &codes[i]);
            cloud_request_free(puts[i]);
        }
    }
    close_rig(&rig);
}

/* --- multipart ---------------------------------------------------------------------------------------- */

static void set_parts(struct cloud_request *r)
{
    cloud_request_set(&r->upload_id, "id/+&");
    r->n_parts = 1;
    r->parts = xcalloc(1, sizeof(*r->parts));
    r->parts[0] = (struct cloud_part){ 1, 3, xstrdup(MD5_ABC) };
}

static void errors_that_look_like_success(void **state)
{
    static const struct fake_step steps[] = {
        { { "POST /bucket/key?uploadId=id%2F%2B%26 HTTP",
          "<PartNumber>1</PartNumber><ETag>&quot;" MD5_ABC "&quot;</ETag>" },
          "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n"
          "\n  <Error><Code>InternalError</Code><Message>Try again.</Message></Error>\n", FAKE_CLOSE },
        { { "POST" },
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n \n \r\n8b\r\n"
          "<?xml version=\"1.0\"?><CompleteMultipartUploadResult xmlns=\"x\"><ETag>&quot;done-1&quot;</ETag><Key>key</"
              "Key>"
          "</CompleteMultipartUploadResult>\r\n0\r\n\r\n", FAKE_KEEP },
        { { "PUT", "x-amz-copy-source: /bucket/from%20here" },
          "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n"
          "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>\n", FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PART_END, "key"), *copy = suite_ask(&rig.suite, CLOUD_COPY,
            "key");

        set_parts(r);
        suite_expect(&rig.suite, r, 0);
        assert_string_equal(r->object.etag, "done-1");
        cloud_request_set(&copy->source_key, "from here");
        suite_expect(&rig.suite, copy, -EACCES);
    }
    close_rig(&rig);
}

/* An upload that is gone after a lost answer has been completed. */
static void a_lost_end(void **state)
{
    static const struct fake_step steps[] = {
        { { "POST" }, "", FAKE_CLOSE },
        { { "POST" }, "HTTP/1.1 404 Not Found\r\nContent-Length: *\r\n\r\n"
                      "<Error><Code>NoSuchUpload</Code><Message>Gone.</Message></Error>\r\n", FAKE_KEEP },
        /* MD5 of the bytes of MD5_ABC */
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"af5da9f45af7a300e3aded972f8ff687-1\"\r\n\r\n",
          FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PART_END, "key");

        set_parts(r);
        suite_expect(&rig.suite, r, 0);
    }
    close_rig(&rig);
}

static void parts_by_pages(void **state)
{
    static const struct fake_step steps[] = {
        { { "uploadId=u", "!part-number-marker" },
          "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<ListPartsResult><IsTruncated>true</IsTruncated><Part><PartNumb"
              "er>1"
          "</PartNumber><Size>5</Size><ETag>a</ETag></Part><Part><PartNumber>3</PartNumber></Part></ListPartsResult>"
              "\r\n\r\n\r\n",
          FAKE_CLOSE },
        { { "part-number-marker=3" },
          "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNum"
              "ber>7"
          "</PartNumber></Part></ListPartsResult>\r\n\r\n", FAKE_CLOSE },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps, "CloudRetries=0");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PART_LIST, "key");

        cloud_request_set(&r->upload_id, "u");
        suite_expect(&rig.suite, r, 0);
        assert_int_equal(r->n_parts, 3);
        assert_int_equal(r->parts[0].size, 5);
        assert_int_equal(r->parts[2].number, 7);
    }
    close_rig(&rig);
}

/* --- too much, and nonsense ------------------------------------------------------------------------ */

static void nonsense(void **state)
{
    static const struct { const char *reply; int code; } cases[] = {
        { "220 smtp.example.com ESMTP\r\n", -EBADMSG },
        { "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\nnot xml!!", -EBADMSG },
        { "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<SomethingElse>x</Something", -EBADMSG },
        { "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult/>         \r"
          "\n", -EBADMSG },
        { "HTTP/1.1 403 Forbidden\r\nContent-Length: *\r\n\r\n<html>go away</html>", -EACCES },
        { "HTTP/1.1 404 Not Found\r\n" NO_BODY, -ENOENT },
        { "HTTP/1.1 418 I'm a teapot\r\n" NO_BODY, -EREMOTEIO },
        { "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n" NO_BODY, -EREMOTEIO },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct fake_step steps[] = { { { "GET" }, cases[i].reply, FAKE_CLOSE } };
        static const char *const sets[] = { "CloudRetries=0" };
        struct rig rig;

        open_rig(&rig, steps, 1, sets, 1);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

            if (suite_run(&rig.suite, r) != cases[i].code)
                fail_msg("case %zu: %d %s", i, r->error.code, r->error.text);
            assert_null(strstr(r->error.text, "Signature="));
            assert_int_equal(r->n_objects, 0);
        }
        close_rig(&rig);
    }
}

/* What answers 200 without an ETag is no object store but somebody on the way: a log-in page, a proxy. A file that was
 * stored there would be nowhere. */
static void success_without_an_etag(void **state)
{
    static const struct { enum cloud_op op; const char *reply, *then; } cases[] = {
        { CLOUD_PUT, "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<html>Please log in.</html>", "HEAD" },
        { CLOUD_PUT, "HTTP/1.1 204 No Content\r\nETag: \r\n\r\n", "HEAD" },
        { CLOUD_PART_PUT, "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<html>Please log in.</html>", NULL },
        { CLOUD_STAT, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/html\r\n\r\n", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct fake_step steps[] = {
            { { "/bucket/key" }, cases[i].reply, FAKE_CLOSE },
            { { cases[i].then }, "HTTP/1.1 404 Not Found\r\n" NO_BODY, FAKE_CLOSE },
        };
        static const char *const sets[] = { "CloudRetries=0" };
        struct rig rig;

        open_rig(&rig, steps, cases[i].then ? 2 : 1, sets, 1);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, cases[i].op, "key");

            cloud_request_set(&r->upload_id, cases[i].op == CLOUD_PART_PUT ? "u" : NULL);
            r->part_number = cases[i].op == CLOUD_PART_PUT;
            if (cases[i].op == CLOUD_STAT)
                suite_expect(&rig.suite, r, -EBADMSG);
            else
                assert_int_equal(put(&rig, r, "abc"), -EBADMSG);
        }
        close_rig(&rig);
    }
}

/* --- cut anywhere -------------------------------------------------------------------------------------- */

/* The one reply of the server, its first `at` bytes; one try. */
static void open_cut(struct rig *rig, struct fake_step *step, char cut[512], const char *whole, size_t at)
{
    static const char *const sets[] = { "CloudRetries=0" };

    (void)snprintf(cut, 512, "%.*s", (int)at, whole);
    *step = (struct fake_step){ .reply = cut, .end = FAKE_CLOSE };
    open_rig(rig, step, 1, sets, ARRAY_SIZE(sets));
}

/* Who is missing from a list counts as deleted, so that a part of one is never a success. */
static void a_list_cut_anywhere(void **state)
{
#define OBJECTS "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>" \
                "<Contents><Key>b</Key><Size>2</Size></Contents></ListBucketResult>"
    static const char *const wholes[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 131\r\n\r\n" OBJECTS,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n83\r\n" OBJECTS "\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n" OBJECTS,
    };
#undef OBJECTS

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wholes); i++)
        for (size_t at = 0, all = strlen(wholes[i]); at <= all; at++) {
            struct fake_step step;
            char cut[512];
            struct rig rig;

            open_cut(&rig, &step, cut, wholes[i], at);
            {
                SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);
                int code = suite_run(&rig.suite, r);

                if (r->n_objects != (code == 0 ? 2 : 0) || (at == all && code < 0))
                    fail_msg("reply %zu cut at %zu: %zu objects, %s", i, at, r->n_objects, r->error.text);
            }
            close_rig(&rig);
        }
}

static void a_read_cut_anywhere(void **state)
{
    static const char whole[] = "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 10\r\n\r\n0123456789";

    (void)state;
    for (size_t at = 0, all = strlen(whole); at <= all; at++) {
        struct fake_step step;
        char cut[512], got[32];
        struct rig rig;

        open_cut(&rig, &step, cut, whole, at);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");
            int code = get(&rig, r, got);

            assert_true(code == 0 ? at == all : at < all);
            assert_int_equal(strlen(got), r->content_length);
            assert_memory_equal(got, "0123456789", strlen(got));
        }
        close_rig(&rig);
    }
}

/* Without the ETag nobody knows what was stored, and the object is not counted as stored. */
static void a_change_cut_anywhere(void **state)
{
    static const char whole[] = "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\n" NO_BODY;

    (void)state;
    for (size_t at = 0, all = strlen(whole); at <= all; at++) {
        struct fake_step step;
        char cut[512];
        struct rig rig;

        open_cut(&rig, &step, cut, whole, at);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PUT, "key");
            int code = put(&rig, r, "abc");

            assert_true(at == all ? code == 0 : code < 0);
            if (code == 0)
                assert_string_equal(r->object.etag, "e1");
        }
        close_rig(&rig);
    }
}

/* Asking again brings the same nonsense, unless it only broke off: the server has one step for each try. */
static void nonsense_is_not_asked_for_again(void **state)
{
    static const struct fake_step bad[] = {
        { { "GET" }, "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<ListBucketResult></Wrong>", FAKE_CLOSE },
    };
    static const struct fake_step other[] = {
        { { "GET" }, "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<html>Please log in.</html>", FAKE_CLOSE },
    };
    static const struct fake_step mail[] = { { { "GET" }, "220 smtp.example.com ESMTP\r\n", FAKE_CLOSE } };
    static const struct fake_step short_of_its_end[] = {
        { { "GET" }, "HTTP/1.1 200 OK\r\n\r\n<ListBucketResult><Contents><Ke", FAKE_CLOSE },
        { { "GET" }, "HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>", FAKE_CLOSE },
        { { "GET" }, "HTTP/1.1 200 OK\r\n\r\n<ListBucketResult/>", FAKE_CLOSE },
    };
    const struct { const struct fake_step *steps; size_t n; int code; } cases[] = {
        { bad, 1, -EBADMSG }, { other, 1, -EBADMSG }, { mail, 1, -EBADMSG }, { short_of_its_end, 3, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static const char *const sets[] = { "CloudRetries=2" };
        struct rig rig;

        open_rig(&rig, cases[i].steps, cases[i].n, sets, 1);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

            if (suite_run(&rig.suite, r) != cases[i].code)
                fail_msg("case %zu: %d %s", i, r->error.code, r->error.text);
        }
        close_rig(&rig);
    }
}

/* The change may have been made all the same: one look tells, and no second try. */
static void an_unreadable_answer_to_a_change(void **state)
{
    static const char nonsense_[] = "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n<html>Please log in.</html>";
    static const struct fake_step made[] = {
        { { "POST" }, nonsense_, FAKE_CLOSE },
        { { "HEAD" }, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"af5da9f45af7a300e3aded972f8ff687-1\"\r\n\r\n",
          FAKE_KEEP },
    };
    static const struct fake_step not_made[] = {
        { { "POST" }, nonsense_, FAKE_CLOSE },
        { { "HEAD" }, "HTTP/1.1 404 Not Found\r\n\r\n", FAKE_CLOSE },
    };
    const struct { const struct fake_step *steps; int code; } cases[] = { { made, 0 }, { not_made, -EBADMSG } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rig rig;

        open_rig(&rig, cases[i].steps, 2, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_PART_END, "key");

            set_parts(r);
            suite_expect(&rig.suite, r, cases[i].code);
        }
        close_rig(&rig);
    }
}

static void refusals_say_a_thing_once(void **state)
{
    static const struct { const char *message, *begin; } cases[] = {
        { "", "bucket: Access is denied (AccessDenied from 127.0.0.1:" },
        { "AccessDenied", "bucket: Access is denied (AccessDenied from 127.0.0.1:" },
        { "AccessDenied: not for you.", "bucket: not for you (AccessDenied from 127.0.0.1:" },
        { "AccessDeniedly.", "bucket: AccessDeniedly (AccessDenied from 127.0.0.1:" },
        { "Not for you.", "bucket: Not for you (AccessDenied from 127.0.0.1:" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char reply[512];
        const struct fake_step steps[] = { { { "GET" }, reply, FAKE_CLOSE } };
        struct rig rig;

        (void)snprintf(reply, sizeof(reply), "HTTP/1.1 403 Forbidden\r\nContent-Length: *\r\n\r\n"
                       "<Error><Code>AccessDenied</Code><Message>%s</Message></Error>", cases[i].message);
        open_rig(&rig, steps, 1, NULL, 0);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

            suite_expect(&rig.suite, r, -EACCES);
            if (strncmp(r->error.text, cases[i].begin, strlen(cases[i].begin)) != 0)
                fail_msg("%s", r->error.text);
        }
        close_rig(&rig);
    }
}

/* `head`, `n` times `more`, `tail`. */
static char *repeat(const char *head, const char *more, size_t n, const char *tail)
{
    struct text t = TEXT_INIT(64 << 20);

    text_puts(&t, head);
    for (size_t i = 0; i < n; i++)
        text_puts(&t, more);
    text_puts(&t, tail);
    return text_take(&t);
}

static void floods(void **state)
{
    CLEANUP_FREE char *headers = repeat("HTTP/1.1 200 OK\r\n", "X-Flood: 0123456789012345678901234567890123456789\r\n",
        3000, "\r\n");
    CLEANUP_FREE char *header = repeat("HTTP/1.1 200 OK\r\nX: ", "0123456789", 20000, "\r\n\r\n");
    CLEANUP_FREE char *document = repeat("HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>", "          ", 2 << 20,
        "</ListBucketResult>");
    CLEANUP_FREE char *deep = repeat("HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>", "<a>", 10000, "");
    const char *const replies[] = { headers, header, document, deep };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
        const struct fake_step steps[] = { { { "GET" }, replies[i], FAKE_CLOSE } };
        static const char *const sets[] = { "CloudRetries=2" };   /* of which none is made */
        struct rig rig;
        int code;

        open_rig(&rig, steps, 1, sets, 1);
        {
            SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_LIST, NULL);

            code = suite_run(&rig.suite, r);
            if (code != -EBADMSG && code != -EMSGSIZE && code != -EHOSTUNREACH)
                fail_msg("case %zu: %d %s", i, code, r->error.text);
        }
        close_rig(&rig);
    }
}

/* --- the keyring -------------------------------------------------------------------------------------- */

static void keyrings(void **state)
{
    static const struct fake_step steps[] = {
        { { "HEAD", "authorization: AWS4-HMAC-SHA256 Credential=AKTEST/" },
          "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 1\r\n\r\n", FAKE_KEEP },
    };
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        (void)error_set(&rig.keyring, -ENOKEY, "The key store is locked.");
        suite_expect(&rig.suite, r, -ENOKEY);
        assert_string_equal(r->error.text, "The key store is locked.");
        (void)error_set(&rig.keyring, -ECONNRESET, "cryptd restarts");
        suite_expect(&rig.suite, r, 0);   /* asked again */
    }
    close_rig(&rig);
}

static void on_canceled(struct cloud_request *r, void *arg)
{
    assert_int_equal(r->error.code, -ECANCELED);
    *(bool *)arg = true;
}

static void canceled_while_the_keyring_thinks(void **state)
{
    static const struct fake_step steps[1];
    bool done = false;
    struct rig rig;

    (void)state;
    open_rig(&rig, steps, 0, NULL, 0);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        rig.silent = true;
        r->done = on_canceled;
        r->arg = &done;
        cloud_submit(rig.suite.cloud, r);
        assert_non_null(rig.give);
        cloud_cancel(rig.suite.cloud, r);
        assert_false(done);
        rig.give(NULL, &secret, rig.give_arg);
        while (!done)
            (void)event_base_loop(loop_base(rig.suite.loop), EVLOOP_ONCE);
    }
    close_rig(&rig);
}

static void canceled_in_back_off(void **state)
{
    static const struct fake_step steps[] = {
        { { "HEAD" }, "HTTP/1.1 503 Slow Down\r\nRetry-After: 200\r\n" NO_BODY, FAKE_KEEP },
    };
    bool done = false;
    struct rig rig;

    (void)state;
    OPEN(&rig, steps);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        r->done = on_canceled;
        r->arg = &done;
        cloud_submit(rig.suite.cloud, r);
        while (!((struct s3_call *)r->driver)->timer)
            (void)event_base_loop(loop_base(rig.suite.loop), EVLOOP_ONCE);
        cloud_cancel(rig.suite.cloud, r);
        while (!done)
            (void)event_base_loop(loop_base(rig.suite.loop), EVLOOP_ONCE);
    }
    close_rig(&rig);
}

/* --- the environment, and where a connection may lead ------------------------------------------------ */

static void proxies(void **state)
{
    static const struct fake_step steps[] = { { { "HEAD /bucket/key" },
        "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 1\r\n\r\n", FAKE_KEEP } };
    static const char *const names[] = { "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY" };
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(setenv(names[i], "http://127.0.0.1:1", 1), 0);
    OPEN(&rig, steps, "CloudRetries=0", "Proxy=http://127.0.0.1:1");
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_STAT, "key");

        suite_expect(&rig.suite, r, 0);   /* this machine is never asked for through the proxy */
    }
    close_rig(&rig);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        (void)unsetenv(names[i]);
}

struct outcome {
    enum http_fault fault;
    bool done;
};

static void on_outcome(const struct http_reply *reply, void *arg)
{
    struct outcome *o = arg;

    o->fault = reply->fault;
    o->done = true;
}

static void own_port(void **state)
{
    static const struct fake_step steps[1];
    static const char *const sets[] = { "HostUrl=http://localhost:29777" };
    static const char *const urls[] = { "http://127.0.0.1:29777/", "http://2130706433:29777/",
        "http://169.254.169.254/latest",
                                        "http://0.0.0.0:29777/", "file:///etc/passwd", "gopher://127.0.0.1/" };
    struct pairs none = PAIRS_INIT(0);
    struct rig rig;

    (void)state;
    open_rig(&rig, steps, 0, sets, 1);
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        struct outcome o = { 0 };
        struct http_spec spec = { .method = "GET", .url = urls[i], .headers = &none, .reply_max = 1000,
            .done = on_outcome,
            .arg = &o };

        assert_non_null(http_start(((struct s3 *)rig.suite.cloud->state)->http, &spec));
        while (!o.done)
            (void)event_base_loop(loop_base(rig.suite.loop), EVLOOP_ONCE);
        if (o.fault != (i < 4 ? HTTP_REFUSED : HTTP_GARBLED))
            fail_msg("%s: %d", urls[i], o.fault);
    }
    close_rig(&rig);
}

/* Replies that come at once, and the turns of the loop in which their bodies were handed over. */
struct crowd {
    unsigned turn, last;
    size_t bodies, done, together;   /* together: in a turn that had one already */
};

static void on_each_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    ((struct crowd *)arg)->turn++;
}

static int on_crowd_body(const void *bytes, size_t n, void *arg)
{
    struct crowd *c = arg;

    (void)bytes, (void)n;
    c->bodies++;
    c->together += c->turn == c->last;
    c->last = c->turn;
    return HTTP_MORE;
}

static void on_crowd_done(const struct http_reply *reply, void *arg)
{
    assert_int_equal(reply->fault, HTTP_ANSWERED);
    ((struct crowd *)arg)->done++;
}

/* Whoever asks syncd meanwhile waits for one of them, not for all. */
static void one_body_in_a_turn(void **state)
{
    enum { CALLS = 6 };
    static const char body[] = "HTTP/1.1 200 OK\r\nContent-Length: *\r\n\r\n0123456789";
    static const struct fake_step steps[CALLS] = { { .reply = body }, { .reply = body }, { .reply = body },
                                                   { .reply = body }, { .reply = body }, { .reply = body } };
    struct pairs none = PAIRS_INIT(0);
    struct crowd c = { 0 };
    struct http_spec spec = { .method = "GET", .headers = &none, .reply_max = 1000, .body = on_crowd_body,
                              .done = on_crowd_done, .arg = &c };
    struct event *each;
    struct rig rig;
    char url[64];
    int ends[2];

    (void)state;
    open_rig(&rig, steps, CALLS, NULL, 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    each = event_new(loop_base(rig.suite.loop), ends[0], EV_READ | EV_PERSIST, on_each_turn, &c);
    assert_int_equal(event_add(each, NULL), 0);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", fake_server_port(rig.server));
    spec.url = url;
    for (size_t i = 0; i < CALLS; i++)
        assert_non_null(http_start(((struct s3 *)rig.suite.cloud->state)->http, &spec));
    while (c.done < CALLS)
        (void)event_base_loop(loop_base(rig.suite.loop), EVLOOP_ONCE);
    assert_int_equal(c.bodies, CALLS);
    assert_int_equal(c.together, 0);
    event_free(each);
    (void)close(ends[0]);
    (void)close(ends[1]);
    close_rig(&rig);
}

static void headers_of_two_lines(void **state)
{
    static const struct fake_step steps[1];
    struct rig rig;

    (void)state;
    open_rig(&rig, steps, 0, NULL, 0);
    {
        SUITE_REQUEST *r = suite_ask(&rig.suite, CLOUD_GET, "key");

        cloud_request_set(&r->if_match, "x\r\nX-Forged: yes");
        assert_true(suite_run(&rig.suite, r) < 0);
    }
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_read_goes_on),
        cmocka_unit_test(a_cut_read_of_a_range),
        cmocka_unit_test(a_cut_read_that_cannot_go_on),
        cmocka_unit_test(another_version_than_asked_for),
        cmocka_unit_test(heads_that_lie),
        cmocka_unit_test(errors_that_pass),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(one_with_a_wrong_clock),
        cmocka_unit_test(what_refusals_mean),
        cmocka_unit_test(who_refuses_answers),
        cmocka_unit_test(silence_ends),
        cmocka_unit_test(unasked_bytes),
        cmocka_unit_test(other_regions),
        cmocka_unit_test(regions_that_are_none),
        cmocka_unit_test(another_time), cmocka_unit_test(another_time_again),
        cmocka_unit_test(conditions_not_implemented),
        cmocka_unit_test(conditions_not_implemented_for_several),
        cmocka_unit_test(conditions_seen_to_be_checked),
        cmocka_unit_test(etags_with_quotes_or_without),
        cmocka_unit_test(a_lost_answer),
        cmocka_unit_test(an_answer_about_another_version),
        cmocka_unit_test(etags_that_are_no_digests),
        cmocka_unit_test(bytes_that_the_etag_does_not_name),
        cmocka_unit_test(stuck_uploads_leave_a_connection),
        cmocka_unit_test(errors_that_look_like_success),
        cmocka_unit_test(a_lost_end),
        cmocka_unit_test(parts_by_pages),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(nonsense_is_not_asked_for_again),
        cmocka_unit_test(success_without_an_etag),
        cmocka_unit_test(a_list_cut_anywhere),
        cmocka_unit_test(a_read_cut_anywhere),
        cmocka_unit_test(a_change_cut_anywhere),
        cmocka_unit_test(an_unreadable_answer_to_a_change),
        cmocka_unit_test(refusals_say_a_thing_once),
        cmocka_unit_test(floods),
        cmocka_unit_test(keyrings),
        cmocka_unit_test(canceled_while_the_keyring_thinks),
        cmocka_unit_test(canceled_in_back_off),
        cmocka_unit_test(proxies),
        cmocka_unit_test(own_port),
        cmocka_unit_test(one_body_in_a_turn),
        cmocka_unit_test(headers_of_two_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
