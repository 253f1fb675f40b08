/* Reads replies with status 2xx into requests. What a server says about lengths and ranges is checked
 * against what was asked. Must not decide about retries. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/s3.h"

static const char *body_of(const struct http_reply *reply)
{
    return reply->body.data ? reply->body.data : "";
}

/* Decimal digits, all of the text up to one of `ends`. */
static int take_number(const char **p, const char *ends, uint64_t *ret)
{
    size_t n = strspn(*p, "0123456789");

    if (n == 0 || n > 18 || !strchr(ends, (*p)[n]))
        return -EBADMSG;
    *ret = strtoull(*p, NULL, 10);
    *p += n + ((*p)[n] != '\0');
    return 0;
}

int s3_content_range(const char *value, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_size)
{
    const char *p = value;

    if (strncmp(p, "bytes ", 6) != 0)
        return -EBADMSG;
    p += 6;
    if (take_number(&p, "-", ret_first) < 0 || p[-1] != '-' || take_number(&p, "/", ret_last) < 0 || p[-1] != '/'
        || take_number(&p, "", ret_size) < 0)
        return -EBADMSG;
    return *ret_first <= *ret_last && *ret_last < *ret_size ? 0 : -EBADMSG;
}

static void set_clean_etag(char **field, const char *value)
{
    char etag[S3_ETAG_MAX + 1];

    if (!value)
        return;
    s3_etag_clean(value, etag);
    cloud_request_set(field, etag[0] ? etag : NULL);
}

/* Encrypted with any keys but the service's own, an object has an ETag that is not its MD5: "Object", Amazon S3 API
 * reference. */
static bool has_opaque_etag(const struct http_reply *reply)
{
    const char *how = pairs_get(&reply->headers, "x-amz-server-side-encryption");

    return (how && strcmp(how, "AES256") != 0)
        || pairs_get(&reply->headers, "x-amz-server-side-encryption-customer-algorithm");
}

/* What GET and HEAD say about the object, but for its size. */
static void read_object(const struct http_reply *reply, struct cloud_request *r)
{
    const char *modified = pairs_get(&reply->headers, "last-modified");
    const char *version = pairs_get(&reply->headers, "x-amz-version-id");
    struct cloud_object *o = &r->object;

    cloud_request_set(&o->key, r->key);
    set_clean_etag(&o->etag, pairs_get(&reply->headers, "etag"));
    o->opaque = has_opaque_etag(reply);
    if (version)
        cloud_request_set(&o->version, version);
    if (!modified || date_parse(modified, &o->mtime_ns) < 0)
        o->mtime_ns = 0;
    cloud_meta_free(&o->meta);
    s3_meta_get(&reply->headers, &o->meta);
    o->has_meta = true;
}

static int content_length(const struct http_reply *reply, uint64_t *ret)
{
    const char *value = pairs_get(&reply->headers, "content-length");

    return value ? take_number(&value, "", ret) : -EBADMSG;
}

int s3_parse_nothing(const struct http_reply *reply, struct cloud_request *r)
{
    (void)reply, (void)r;
    return 0;
}

/* Every service says which version an object is, stored or asked about. Whatever says 200 and does not is no service,
 * but a log-in page or a proxy on the way. */
static int require_etag(const struct cloud_request *r)
{
    return r->object.etag ? 0 : -EBADMSG;
}

int s3_parse_head(const struct http_reply *reply, struct cloud_request *r)
{
    int error;

    read_object(reply, r);
    error = require_etag(r);
    return error < 0 ? error : content_length(reply, &r->object.size);
}

/* --- GET ------------------------------------------------------------------------------------------ */

/* The run of bytes that the reply brings, and the object's size. */
static int read_run(const struct http_reply *reply, uint64_t *ret_first, uint64_t *ret_length, uint64_t *ret_size)
{
    const char *range = pairs_get(&reply->headers, "content-range");
    uint64_t last, length;

    if (reply->status == 206) {
        if (!range || s3_content_range(range, ret_first, &last, ret_size) < 0)
            return -EBADMSG;
        *ret_length = last - *ret_first + 1;
        return content_length(reply, &length) == 0 && length != *ret_length ? -EBADMSG : 0;
    }
    *ret_first = 0;
    if (content_length(reply, ret_length) < 0)
        return -EBADMSG;
    *ret_size = *ret_length;
    return 0;
}

/* Servers that ignore If-Match are caught here: what was begun goes on, or what was asked for comes, or nothing. */
static bool is_wanted_version(const struct s3_call *c)
{
    const char *wanted = c->received ? c->etag : c->r->if_match, *etag = c->r->object.etag;

    return !wanted || (etag && strcmp(etag, wanted) == 0);
}

int s3_parse_get_head(struct s3_call *c, const struct http_reply *reply)
{
    struct cloud_request *r = c->r;
    uint64_t start = r->has_range ? r->range_offset : 0, first, length, size;

    if (read_run(reply, &first, &length, &size) < 0 || first != start + c->received)
        return -EBADMSG;
    if (r->has_range && (start > size || length + c->received > r->range_length))
        return -EBADMSG;
    read_object(reply, r);
    if (!is_wanted_version(c))
        return -ESTALE;
    if (c->received && c->received + length != c->expected)
        return -EBADE;
    r->object.size = size;
    c->expected = c->received + length;
    (void)snprintf(c->etag, sizeof(c->etag), "%s", r->object.etag ? r->object.etag : "");
    return 0;
}

void s3_get_anew(struct s3_call *c)
{
    c->received = c->received_before = c->expected = 0;
    c->etag[0] = '\0';
    c->fresh = true;
}

/* --- changes -------------------------------------------------------------------------------------- */

int s3_parse_put(const struct http_reply *reply, struct cloud_request *r)
{
    const char *version = pairs_get(&reply->headers, "x-amz-version-id");

    cloud_request_set(&r->object.key, r->key);
    set_clean_etag(&r->object.etag, pairs_get(&reply->headers, "etag"));
    if (version)
        cloud_request_set(&r->object.version, version);
    r->object.size = r->body.length;
    return require_etag(r);
}

int s3_parse_part_begin(const struct http_reply *reply, struct cloud_request *r)
{
    return s3_xml_begun(body_of(reply), reply->body.len, r);
}

int s3_parse_part_list(const struct http_reply *reply, struct cloud_request *r)
{
    bool more;
    int error = s3_xml_parts(body_of(reply), reply->body.len, r, &more);

    return error < 0 ? error : more;
}

int s3_parse_uploads(const struct http_reply *reply, struct cloud_request *r)
{
    return s3_xml_uploads(body_of(reply), reply->body.len, r);
}

int s3_parse_stored(const struct http_reply *reply, struct cloud_request *r)
{
    int error = s3_xml_stored(body_of(reply), reply->body.len, r);

    cloud_request_set(&r->object.key, r->key);
    return error < 0 ? error : require_etag(r);
}

/* --- lists ---------------------------------------------------------------------------------------- */

int s3_parse_buckets(const struct http_reply *reply, struct cloud_request *r)
{
    return s3_xml_buckets(body_of(reply), reply->body.len, r);
}

int s3_parse_list(const struct http_reply *reply, struct cloud_request *r)
{
    return s3_xml_list(body_of(reply), reply->body.len, r);
}

/* In quiet mode a reply lists what failed; some services send no document when nothing did. */
int s3_parse_delete_batch(const struct http_reply *reply, struct cloud_request *r)
{
    int error = reply->body.len ? s3_xml_deleted(body_of(reply), reply->body.len, r) : 0;

    for (size_t i = 0; i < r->n_keys && error == 0; i++)
        if (!s3_key_sayable(r->keys[i]))
            error = s3_xml_add_failed(r, r->keys[i]);
    return error;
}

/* --- recognising our own --------------------------------------------------------------------------- */

/* MD5 of the MD5s of the parts, and their number. */
static void parts_etag(const struct cloud_request *r, char out[S3_ETAG_MAX + 1])
{
    CLEANUP_FREE uint8_t *digests = xcalloc(r->n_parts + 1, HASH_MD5);
    uint8_t md5[HASH_MD5];
    char hex[HASH_MD5_HEX];

    out[0] = '\0';
    for (size_t i = 0; i < r->n_parts; i++)
        if (!r->parts[i].etag || strlen(r->parts[i].etag) != HASH_MD5_HEX - 1
            || text_unhex(r->parts[i].etag, digests + i * HASH_MD5, HASH_MD5) < 0)
            return;
    hash_md5(digests, r->n_parts * HASH_MD5, md5);
    text_hex(md5, sizeof(md5), hex);
    (void)snprintf(out, S3_ETAG_MAX + 1, "%s-%zu", hex, r->n_parts);
}

void s3_own_etag(const struct cloud_request *r, const struct hash_extent *body, char out[S3_ETAG_MAX + 1])
{
    uint8_t md5[HASH_MD5];

    if (r->op == CLOUD_PART_END) {
        parts_etag(r, out);
        return;
    }
    if (r->body.length)
        memcpy(md5, body->md5, sizeof(md5));
    else
        hash_md5("", 0, md5);
    text_hex(md5, sizeof(md5), out);
}
