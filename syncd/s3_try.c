/* One try of a step: describes it, asks the keyring for the secret, signs, sends, takes the body in. Must not
 * judge the answer.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "syncd/s3.h"
#include "syncd/sigv4.h"
#include "syncd/tally.h"

enum { HEADERS_MAX = 16 * 1024, QUERY_MAX = 32 * 1024, URL_MAX = 64 * 1024, BULK = 256 * 1024 };

void s3_message_free(struct s3_message *m)
{
    pairs_free(&m->query);
    pairs_free(&m->headers);
    text_free(&m->body);
}

static int describe(struct s3_call *c, struct error *e)
{
    s3_describe_fn *const describes[] = {
        [S3_MAIN] = c->row->describe,
        [S3_GUARD] = s3_describe_guard,
        [S3_LOCATE] = s3_describe_bucket_head,
        [S3_CONFIRM] = s3_describe_head,
        [S3_PROBE] = s3_describe_probe,
        [S3_VERIFY] = s3_describe_head,
    };
    struct s3_message *m = &c->message;
    int r;

    s3_message_free(m);
    c->conditional = !c->s3->no_conditions;
    c->bare_etags = c->s3->bare_etags;
    *m = (struct s3_message){ .query = PAIRS_INIT(QUERY_MAX), .headers = PAIRS_INIT(HEADERS_MAX),
        .body = TEXT_INIT(S3_BODY_MAX) };
    r = describes[c->step](c, m, e);
    if (r == 0)
        r = m->query.error ? m->query.error : m->headers.error ? m->headers.error : m->body.error;
    if (r < 0 && !e->code)
        (void)error_set(e, r == -EMSGSIZE ? -ENAMETOOLONG : r, "The request for %s is too long for the provider.",
                        c->r->key ? c->r->key : "this");
    return r;
}

/* --- receiving ------------------------------------------------------------------------------------- */

static int on_head(const struct http_reply *reply, void *arg)
{
    return s3_parse_get_head(arg, reply);
}

/* The request's owner is called back here and may cancel; the call's memory outlives that (s3_call.c). */
static int on_body(const void *bytes, size_t n, void *arg)
{
    struct s3_call *c = arg;
    int result;

    if (n > c->expected - c->received)
        return -EBADMSG;
    result = cloud_deliver(c->r, bytes, n);
    if (result < 0)
        return result;
    c->received += n;
    c->paused = result > 0;
    return c->paused ? HTTP_PAUSE : HTTP_MORE;
}

static void on_sent(uint64_t bytes, void *arg)
{
    struct s3_call *c = arg;

    if (bytes > c->r->sent)
        tally_sent(c->r->tally);
    c->r->sent = bytes;
}

static void on_done(const struct http_reply *reply, void *arg)
{
    struct s3_call *c = arg;

    c->http = NULL;
    if (reply->fault == HTTP_ANSWERED && !s3_status_between(reply->status))
        tally_heard(c->r->tally);
    s3_call_answered(c, reply, NULL);
}

/* --- sending --------------------------------------------------------------------------------------- */

static int start(struct s3_call *c, const char *url, const struct pairs *headers)
{
    const struct s3_message *m = &c->message;
    const struct cloud_extent *body = &c->r->body;
    bool streams = c->step == S3_MAIN && c->row->streams;
    struct http_spec spec = {
        .method = m->method, .url = url, .headers = headers,
        .memory = m->sends_extent ? NULL : m->body.data ? m->body.data : "",
        .fd = body->fd, .offset = body->offset, .sent = m->sends_extent ? on_sent : NULL,
        .length = m->sends_extent ? body->length : m->body.len,
        .has_body = m->sends_extent || m->sends_document || m->posts_nothing,
        .bulk = (m->sends_extent && body->length >= BULK) || streams,
        .fresh = c->fresh, .yields = c->r->yields, .reply_max = S3_REPLY_MAX,
        .head = streams ? on_head : NULL, .body = streams ? on_body : NULL, .done = on_done, .arg = c,
    };

    c->received_before = c->received;
    c->tried_ns = loop_now_ns();
    c->http = http_start(c->s3->http, &spec);
    return c->http ? 0 : -EINVAL;
}

static const char *payload(const struct s3_call *c, char digest[HASH_SHA256_HEX])
{
    const struct s3_message *m = &c->message;

    if (m->sends_extent && c->r->body.length)
        return c->hash.sha256;
    if (m->sends_extent || !m->body.len)
        return SIGV4_EMPTY;
    hash_sha256_hex(m->body.data, m->body.len, digest);
    return digest;
}

/* The headers that every request has; all but Authorization are signed. */
static int sign(struct s3_call *c, const struct sigv4_secret *secret, const char *path)
{
    CLEANUP(text_free) struct text authorization = TEXT_INIT(HEADERS_MAX);
    char digest[HASH_SHA256_HEX], date[SIGV4_DATE_SIZE];
    struct pairs *headers = &c->message.headers;
    struct sigv4 s = { .method = c->message.method, .path = path, .query = &c->message.query, .headers = headers,
        .payload = payload(c, digest), .region = c->region, .service = "s3" };
    int r;

    c->skew_ns = c->s3->skew_ns;
    s.now = (loop_wall_ns() + c->skew_ns) / 1000000000;
    sigv4_date(s.now, date);
    pairs_add(headers, "host", c->host);
    pairs_add(headers, "x-amz-date", date);
    pairs_add(headers, "x-amz-content-sha256", s.payload);
    r = headers->error ? headers->error : sigv4_authorize(&s, secret, &authorization);
    return r < 0 ? r : pairs_add(headers, "authorization", authorization.data);
}

static int locate(struct s3_call *c, struct text *path)
{
    CLEANUP(text_free) struct text host = TEXT_INIT(sizeof(c->host) - 1);
    int r;

    (void)snprintf(c->region, sizeof(c->region), "%s", s3_region_of(c->s3, c->message.bucket));
    r = s3_endpoint_locate(&c->s3->endpoint, c->region, c->message.bucket, c->message.key, &host, path);
    (void)snprintf(c->host, sizeof(c->host), "%s", host.data ? host.data : "");
    return r;
}

static int sign_and_start(struct s3_call *c, const struct sigv4_secret *secret)
{
    CLEANUP(text_free) struct text url = TEXT_INIT(URL_MAX);
    CLEANUP(text_free) struct text path = TEXT_INIT(URL_MAX);
    int r = locate(c, &path);

    if (r == 0)
        r = sign(c, secret, path.data);
    if (r < 0)
        return r;
    text_printf(&url, "%s://%s%s", c->s3->endpoint.url.https ? "https" : "http", c->host, path.data);
    if (c->message.query.n)
        text_puts(&url, "?");
    r = sigv4_query(&c->message.query, &url);
    return r < 0 ? r : start(c, url.data, &c->message.headers);
}

static void on_secret(const struct error *e, const struct cloud_secret *secret, void *arg)
{
    struct s3_call *c = arg;
    struct error failed = { 0 };
    int r;

    c->asking = false;
    if (c->end.code) {
        s3_call_released(c);
        return;
    }
    if (e && e->code) {
        s3_call_answered(c, NULL, e);
        return;
    }
    r = sign_and_start(c, &(struct sigv4_secret){ secret->access_key, secret->secret_key });
    if (r < 0) {
        (void)error_set(&failed, r, "%s%s%s cannot be asked for: the name of the bucket or key is not one S3 knows.",
                        c->r->bucket ? c->r->bucket : "", c->r->key ? "/" : "", c->r->key ? c->r->key : "");
        s3_call_answered(c, NULL, &failed);
    }
}

void s3_try(struct s3_call *c)
{
    const struct cloud_keyring *k = &c->s3->cloud->keyring;
    struct error e = { 0 };

    if (describe(c, &e) < 0) {
        s3_call_answered(c, NULL, &e);
        return;
    }
    c->asking = true;
    k->get(k->arg, c->s3->cloud->account_id, on_secret, c);
}
