/* Signed URLs. They cannot be corrected by an answer, so the bucket's region is found out first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/s3.h"
#include "syncd/sigv4.h"

enum { URL_MAX = 64 * 1024 };

struct presign {
    struct s3 *s3;
    char *method, *bucket, *key, *content_type;   /* owned; the last one may be NULL */
    unsigned seconds;
    bool attachment;
    struct cloud_request *probe;
    cloud_presigned_fn *done;
    void *arg;
};

/* The wipe keeps the signature out of freed memory. */
static void answer(struct presign *p, const struct error *e, struct text *url)
{
    p->done(e, url && !e ? url->data : NULL, p->arg);
    if (url && url->data)
        explicit_bzero(url->data, url->len);
    cloud_request_free(p->probe);
    free(p->method);
    free(p->bucket);
    free(p->key);
    free(p->content_type);
    free(p);
}

static int sign(const struct presign *p, const struct sigv4_secret *secret, struct text *url)
{
    CLEANUP(text_free) struct text host = TEXT_INIT(SERVICE_HOST_MAX + 64), path = TEXT_INIT(URL_MAX);
    CLEANUP(pairs_free) struct pairs headers = PAIRS_INIT(1024), query = PAIRS_INIT(1024);
    const char *region = s3_region_of(p->s3, p->bucket);
    struct sigv4 s = { .method = p->method, .query = &query, .headers = &headers, .payload = SIGV4_UNSIGNED,
        .region = region, .service = "s3", .now = (loop_wall_ns() + p->s3->skew_ns) / 1000000000 };
    int r = s3_endpoint_locate(&p->s3->endpoint, region, p->bucket, p->key, &host, &path);

    if (r < 0 || (r = pairs_add(&headers, "host", host.data)) < 0)
        return r;
    if (p->content_type && (r = pairs_add(&headers, "content-type", p->content_type)) < 0)
        return r;
    if (p->attachment && (r = pairs_add(&query, "response-content-disposition", "attachment")) < 0)
        return r;
    s.path = path.data;
    text_printf(url, "%s://%s%s?", p->s3->endpoint.url.https ? "https" : "http", host.data, path.data);
    return sigv4_presign(&s, secret, p->seconds, url);
}

static void on_secret(const struct error *e, const struct cloud_secret *secret, void *arg)
{
    CLEANUP(text_free) struct text url = TEXT_INIT(URL_MAX);
    struct presign *p = arg;
    struct error failed = { 0 };

    if (e && e->code) {
        answer(p, e, NULL);
        return;
    }
    if (sign(p, &(struct sigv4_secret){ secret->access_key, secret->secret_key }, &url) < 0) {
        (void)error_set(&failed, -EINVAL, "A URL for %s/%s that is good for %u seconds cannot be signed; it may be "
                                          "good for up to 7 days.", p->bucket, p->key, p->seconds);
        answer(p, &failed, NULL);
        return;
    }
    answer(p, NULL, &url);
}

static void ask_secret(void *arg)
{
    struct presign *p = arg;
    const struct cloud_keyring *k = &p->s3->cloud->keyring;

    k->get(k->arg, p->s3->cloud->account_id, on_secret, p);
}

/* Whatever came of the probe, the region is known now if anybody says it. */
static void on_probed(struct cloud_request *r, void *arg)
{
    (void)r;
    ask_secret(arg);
}

void s3_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg)
{
    struct presign *p = xcalloc(1, sizeof(*p));
    struct s3 *s = c->state;

    *p = (struct presign){ .s3 = s, .method = xstrdup(url->method), .bucket = xstrdup(url->bucket),
        .key = xstrdup(url->key), .content_type = xstrdup(url->content_type), .seconds = url->seconds,
        .attachment = url->attachment, .done = done, .arg = arg };
    if (s3_region_known(s, p->bucket)) {
        loop_defer(c->loop, ask_secret, p);
        return;
    }
    p->probe = cloud_request_new(CLOUD_LIST, on_probed, p);
    cloud_request_set(&p->probe->bucket, p->bucket);
    p->probe->limit = 1;
    cloud_submit(c, p->probe);
}
