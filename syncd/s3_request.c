/* Describes requests: method, place, query, headers, document. Facts: the pages of each operation in the
 * Amazon S3 API reference. Must not sign, send or judge anything. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "syncd/s3.h"

/* What the operations name at a glance; anything beyond the row is added by describe functions. */
static void begin(struct s3_message *m, const char *method, const struct cloud_request *r, bool with_key)
{
    m->method = method;
    m->bucket = r->bucket;
    m->key = with_key ? r->key : NULL;
}

static void add_etag(struct pairs *headers, const char *name, const char *etag)
{
    if (etag)
        pairs_addf(headers, name, "\"%s\"", etag);
}

bool s3_checks(const struct s3_call *c)
{
    const struct s3_service *service = c->s3->endpoint.service;
    bool seen = c->s3->checks_absent && c->r->if_none_match;
    bool put = c->r->op == CLOUD_PART_END ? service->checks_end : service->checks_put || seen;

    return (c->row->conditions == S3_SOURCE ? service->checks_source : put) && !c->s3->no_conditions;
}

/* They are sent even where we have looked ourselves: a server that does check them closes the gap in between. Ceph
 * compares If-Match of PUT with its ETag as bytes, so there it comes without the quotes that HTTP wants. */
static void add_conditions(const struct s3_call *c, struct s3_message *m)
{
    if (c->s3->no_conditions)
        return;
    if (c->r->if_match && c->s3->bare_etags)
        pairs_add(&m->headers, "if-match", c->r->if_match);
    else
        add_etag(&m->headers, "if-match", c->r->if_match);
    if (c->r->if_none_match)
        pairs_add(&m->headers, "if-none-match", "*");
}

/* Content-Type tells other tools a directory's marker from an empty file. */
static int add_metadata(const struct cloud_request *r, struct s3_message *m, struct error *e)
{
    size_t n = strlen(r->key);

    pairs_add(&m->headers, "content-type",
              n && r->key[n - 1] == '/' ? "application/x-directory" : "application/octet-stream");
    return s3_meta_put(&r->meta, &m->headers, e);
}

/* XML text. What XML 1.0 cannot say at all must not come here. */
static void add_xml(struct text *t, const char *s)
{
    for (; *s; s++) {
        if (strchr("&<>\"'\r\n\t", *s))
            text_printf(t, "&#%d;", *s);
        else
            text_add(t, s, 1);
    }
}

/* --- reading -------------------------------------------------------------------------------------- */

int s3_describe_buckets(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)c, (void)e;
    m->method = "GET";
    return 0;
}

int s3_describe_list(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;
    const char delimiter[2] = { r->delimiter, '\0' };

    (void)e;
    begin(m, "GET", r, false);
    pairs_add(&m->query, "list-type", "2");
    pairs_add(&m->query, "encoding-type", "url");
    pairs_addf(&m->query, "max-keys", "%" PRIu32, r->limit && r->limit < 1000 ? r->limit : 1000);
    if (r->prefix && *r->prefix)
        pairs_add(&m->query, "prefix", r->prefix);
    if (r->delimiter)
        pairs_add(&m->query, "delimiter", delimiter);
    if (r->token)
        pairs_add(&m->query, "continuation-token", r->token);
    else if (r->start_after && *r->start_after)
        pairs_add(&m->query, "start-after", r->start_after);
    return 0;
}

int s3_describe_head(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)e;
    begin(m, "HEAD", c->r, true);
    return 0;
}

int s3_describe_guard(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)e;
    begin(m, "HEAD", c->r, true);
    if (c->row->conditions == S3_SOURCE)
        m->key = c->r->source_key;
    return 0;
}

int s3_describe_bucket_head(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)e;
    begin(m, "HEAD", c->r, false);
    return 0;
}

/* From the byte reached by earlier tries on, then only of the same version. */
int s3_describe_get(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;
    uint64_t first = (r->has_range ? r->range_offset : 0) + c->received;

    (void)e;
    begin(m, "GET", r, true);
    if (r->has_range)
        pairs_addf(&m->headers, "range", "bytes=%" PRIu64 "-%" PRIu64, first, r->range_offset + r->range_length - 1);
    else if (c->received)
        pairs_addf(&m->headers, "range", "bytes=%" PRIu64 "-", first);
    add_etag(&m->headers, "if-match", c->received ? c->etag : r->if_match);
    return 0;
}

/* --- writing -------------------------------------------------------------------------------------- */

int s3_describe_put(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    begin(m, "PUT", c->r, true);
    m->sends_extent = true;
    add_conditions(c, m);
    return add_metadata(c->r, m, e);
}

int s3_describe_probe(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    int r = s3_describe_put(c, m, e);

    return r < 0 ? r : pairs_add(&m->headers, "if-none-match", "*");
}

int s3_describe_part_begin(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    begin(m, "POST", c->r, true);
    m->posts_nothing = true;
    pairs_add(&m->query, "uploads", "");
    return add_metadata(c->r, m, e);
}

static void add_part(const struct cloud_request *r, struct s3_message *m)
{
    pairs_addf(&m->query, "partNumber", "%" PRIu32, r->part_number);
    pairs_add(&m->query, "uploadId", r->upload_id);
}

int s3_describe_part_put(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)e;
    begin(m, "PUT", c->r, true);
    m->sends_extent = true;
    add_part(c->r, m);
    return 0;
}

/* Ceph reads its condition from a header of another name. */
static int add_source(const struct s3_call *c, struct s3_message *m)
{
    const struct cloud_request *r = c->r;
    CLEANUP(text_free) struct text t = TEXT_INIT(8192);

    text_puts(&t, "/");
    text_percent_encode(&t, r->bucket, strlen(r->bucket), false);
    text_puts(&t, "/");
    text_percent_encode(&t, r->source_key, strlen(r->source_key), true);
    if (t.error)
        return t.error;
    pairs_add(&m->headers, "x-amz-copy-source", t.data);
    add_etag(&m->headers, "x-amz-copy-source-if-match", r->if_match);
    if (!s3_checks(c))
        add_etag(&m->headers, "x-amz-copy-if-match", r->if_match);
    return 0;
}

int s3_describe_part_copy(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;

    (void)e;
    begin(m, "PUT", r, true);
    m->posts_nothing = true;
    add_part(r, m);
    pairs_addf(&m->headers, "x-amz-copy-source-range", "bytes=%" PRIu64 "-%" PRIu64, r->range_offset,
               r->range_offset + r->range_length - 1);
    return add_source(c, m);
}

int s3_describe_part_list(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;

    (void)e;
    begin(m, "GET", r, true);
    pairs_add(&m->query, "uploadId", r->upload_id);
    pairs_add(&m->query, "max-parts", "1000");
    if (r->n_parts)
        pairs_addf(&m->query, "part-number-marker", "%" PRIu32, r->parts[r->n_parts - 1].number);
    return 0;
}

int s3_describe_part_end(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;

    begin(m, "POST", r, true);
    m->sends_document = true;
    pairs_add(&m->query, "uploadId", r->upload_id);
    pairs_add(&m->headers, "content-type", "application/xml");
    if (s3_checks(c))   /* elsewhere they are ignored, or compared with something else */
        add_conditions(c, m);
    text_puts(&m->body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < r->n_parts; i++) {
        if (!r->parts[i].etag)
            return error_set(e, -EINVAL, "Part %" PRIu32 " of %s has no ETag.", r->parts[i].number, r->key);
        text_printf(&m->body, "<Part><PartNumber>%" PRIu32 "</PartNumber><ETag>&quot;", r->parts[i].number);
        add_xml(&m->body, r->parts[i].etag);
        text_puts(&m->body, "&quot;</ETag></Part>");
    }
    return text_puts(&m->body, "</CompleteMultipartUpload>");
}

int s3_describe_part_abort(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)e;
    begin(m, "DELETE", c->r, true);
    pairs_add(&m->query, "uploadId", c->r->upload_id);
    return 0;
}

/* Without encoding-type: Ceph does encode the keys for it, but does not say so. */
int s3_describe_uploads(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;

    (void)e;
    begin(m, "GET", r, false);
    pairs_add(&m->query, "uploads", "");
    pairs_add(&m->query, "max-uploads", "1000");
    if (r->prefix && *r->prefix)
        pairs_add(&m->query, "prefix", r->prefix);
    return 0;
}

int s3_describe_copy(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;
    int error;

    begin(m, "PUT", r, true);
    m->posts_nothing = true;
    error = add_source(c, m);
    pairs_add(&m->headers, "x-amz-metadata-directive", r->replace_metadata ? "REPLACE" : "COPY");
    if (error < 0 || !r->replace_metadata)
        return error;
    return add_metadata(r, m, e);
}

/* --- removing -------------------------------------------------------------------------------------- */

int s3_describe_delete(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    (void)e;
    begin(m, "DELETE", c->r, true);
    return 0;
}

/* Whether XML 1.0 can carry the key: no control characters but tab, line feed and return, valid UTF-8. */
bool s3_key_sayable(const char *key)
{
    for (const unsigned char *p = (const unsigned char *)key; *p; p++)
        if (*p < ' ' && !strchr("\t\n\r", *p))
            return false;
    return utf8_valid(key, strlen(key)) && !strstr(key, "\xef\xbf\xbe") && !strstr(key, "\xef\xbf\xbf");
}

/* MD5 is what all services want here, for want of a checksum they agree on. */
int s3_describe_delete_batch(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct cloud_request *r = c->r;
    uint8_t md5[HASH_MD5];
    char base64[BASE64_LENGTH(HASH_MD5) + 1];

    (void)e;
    begin(m, "POST", r, false);
    m->sends_document = true;
    pairs_add(&m->query, "delete", "");
    text_puts(&m->body, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
    for (size_t i = 0; i < r->n_keys; i++) {
        if (!s3_key_sayable(r->keys[i]))
            continue;
        text_puts(&m->body, "<Object><Key>");
        add_xml(&m->body, r->keys[i]);
        text_puts(&m->body, "</Key></Object>");
    }
    if (text_puts(&m->body, "</Delete>") < 0)
        return m->body.error;
    hash_md5(m->body.data, m->body.len, md5);
    base64_encode(md5, sizeof(md5), base64);
    pairs_add(&m->headers, "content-type", "application/xml");
    return pairs_add(&m->headers, "content-md5", base64);
}

int s3_describe_bucket_create(const struct s3_call *c, struct s3_message *m, struct error *e)
{
    const struct s3_service *service = c->s3->endpoint.service;
    const char *region = c->s3->endpoint.region;

    (void)e;
    begin(m, "PUT", c->r, false);
    m->posts_nothing = true;
    if (!service->locates || strcmp(region, service->region) == 0)
        return 0;
    m->posts_nothing = false;
    m->sends_document = true;
    pairs_add(&m->headers, "content-type", "application/xml");
    return text_printf(&m->body, "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                                 "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>", region);
}
