/* The documents of S3: which element means what. Must not know HTTP. */
#include "syncd/s3_xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/s3_xml_walk.h"

struct doc {
    struct cloud_request *r;
    struct s3_xml_error *fault;
    bool truncated, url_coded;
};

/* --- errors ------------------------------------------------------------------------------------- */

static void keep(char *out, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

static int error_code(void *arg, const char *text)
{
    struct doc *d = arg;

    keep(d->fault->code, sizeof(d->fault->code), text);
    return 0;
}

static int error_message(void *arg, const char *text)
{
    struct doc *d = arg;

    keep(d->fault->message, sizeof(d->fault->message), text);
    return 0;
}

static int error_region(void *arg, const char *text)
{
    struct doc *d = arg;

    keep(d->fault->region, sizeof(d->fault->region), text);
    return 0;
}

static const struct s3_xml_rule error_rules[] = {
    { "Error", NULL, NULL },
    { "Error/Code", NULL, error_code },
    { "Error/Message", NULL, error_message },
    { "Error/Region", NULL, error_region },
    { "ErrorResponse/Error/Code", NULL, error_code },
    { "ErrorResponse/Error/Message", NULL, error_message },
    { NULL, NULL, NULL },
};

int s3_xml_error(const char *xml, size_t n, struct s3_xml_error *ret)
{
    struct doc d = { .fault = ret };

    memset(ret, 0, sizeof(*ret));
    return s3_xml_walk(xml, n, error_rules, &d);
}

/* --- values ------------------------------------------------------------------------------------- */

void s3_etag_clean(const char *text, char *out)
{
    size_t n;

    if (strncmp(text, "W/", 2) == 0)
        text += 2;
    text += *text == '"';
    n = strcspn(text, "\"");
    out[0] = '\0';
    if (n > S3_ETAG_MAX)
        return;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return;
    memcpy(out, text, n);
    out[n] = '\0';
}

static int set_etag(char **field, const char *text)
{
    char clean[S3_ETAG_MAX + 1];

    s3_etag_clean(text, clean);
    cloud_request_set(field, clean[0] ? clean : NULL);
    return 0;
}

static int number(const char *text, uint64_t *ret)
{
    size_t n = strspn(text, "0123456789");

    if (n == 0 || n > 18 || text[n])
        return -EBADMSG;
    *ret = strtoull(text, NULL, 10);
    return 0;
}

/* A date that cannot be read is left out: nothing hangs on it. */
static int date(const char *text, int64_t *ret_ns)
{
    if (date_parse(text, ret_ns) < 0)
        *ret_ns = 0;
    return 0;
}

/* One more zeroed element; the array grows at powers of two up to S3_LIST_MAX. */
static int extend(void **array, size_t *n, size_t size)
{
    void *grown;

    if (*n >= S3_LIST_MAX)
        return -EBADMSG;
    if ((*n & (*n - 1)) == 0) {
        grown = reallocarray(*array, *n ? *n * 2 : 1, size);
        if (!grown)
            return -ENOMEM;
        *array = grown;
    }
    memset((char *)*array + *n * size, 0, size);
    ++*n;
    return 0;
}

/* Decodes a key in place: %XX, and '+' for a space, which every service writes as %2B when it is meant. */
static int decode(char *key)
{
    for (char *p = key; *p; p++)
        if (*p == '+')
            *p = ' ';
    return text_percent_decode(key) < 0 ? -EBADMSG : 0;
}

/* --- ListObjectsV2 -------------------------------------------------------------------------------- */

static struct cloud_object *last_object(struct doc *d)
{
    return &d->r->objects[d->r->n_objects - 1];
}

static int object_begin(void *arg)
{
    struct doc *d = arg;

    return extend((void **)&d->r->objects, &d->r->n_objects, sizeof(*d->r->objects));
}

static int object_key(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&last_object(d)->key, text);
    return 0;
}

static int object_size(void *arg, const char *text)
{
    struct doc *d = arg;

    return number(text, &last_object(d)->size);
}

static int object_mtime(void *arg, const char *text)
{
    struct doc *d = arg;

    return date(text, &last_object(d)->mtime_ns);
}

static int object_etag(void *arg, const char *text)
{
    struct doc *d = arg;

    return set_etag(&last_object(d)->etag, text);
}

static int object_end(void *arg, const char *text)
{
    struct doc *d = arg;

    (void)text;
    return last_object(d)->key ? 0 : -EBADMSG;
}

static int list_prefix(void *arg, const char *text)
{
    struct doc *d = arg;
    int r = extend((void **)&d->r->prefixes, &d->r->n_prefixes, sizeof(*d->r->prefixes));

    if (r == 0)
        cloud_request_set(&d->r->prefixes[d->r->n_prefixes - 1], text);
    return r;
}

static int list_token(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&d->r->next_token, text);
    return 0;
}

static int list_truncated(void *arg, const char *text)
{
    struct doc *d = arg;

    d->truncated = strcmp(text, "true") == 0;
    return 0;
}

static int list_encoding(void *arg, const char *text)
{
    struct doc *d = arg;

    d->url_coded = strcmp(text, "url") == 0;
    return 0;
}

static const struct s3_xml_rule list_rules[] = {
    { "ListBucketResult", NULL, NULL },
    { "ListBucketResult/EncodingType", NULL, list_encoding },
    { "ListBucketResult/IsTruncated", NULL, list_truncated },
    { "ListBucketResult/NextContinuationToken", NULL, list_token },
    { "ListBucketResult/Contents", object_begin, object_end },
    { "ListBucketResult/Contents/Key", NULL, object_key },
    { "ListBucketResult/Contents/Size", NULL, object_size },
    { "ListBucketResult/Contents/LastModified", NULL, object_mtime },
    { "ListBucketResult/Contents/ETag", NULL, object_etag },
    { "ListBucketResult/CommonPrefixes/Prefix", NULL, list_prefix },
    { NULL, NULL, NULL },
};

/* A next page without a token, or the page just had again, would never come to an end. */
static int check_paging(struct doc *d)
{
    struct cloud_request *r = d->r;

    if (!d->truncated)
        cloud_request_set(&r->next_token, NULL);
    if (d->truncated && (!r->next_token || !*r->next_token || (r->token && strcmp(r->token, r->next_token) == 0)))
        return -EBADMSG;
    return 0;
}

int s3_xml_list(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };
    int error = s3_xml_walk(xml, n, list_rules, &d);

    for (size_t i = 0; i < r->n_objects && error == 0 && d.url_coded; i++)
        error = decode(r->objects[i].key);
    for (size_t i = 0; i < r->n_prefixes && error == 0 && d.url_coded; i++)
        error = decode(r->prefixes[i]);
    return error ? error : check_paging(&d);
}

/* --- ListBuckets ----------------------------------------------------------------------------------- */

static struct cloud_bucket *last_bucket(struct doc *d)
{
    return &d->r->buckets[d->r->n_buckets - 1];
}

static int bucket_begin(void *arg)
{
    struct doc *d = arg;

    return extend((void **)&d->r->buckets, &d->r->n_buckets, sizeof(*d->r->buckets));
}

static int bucket_name(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&last_bucket(d)->name, text);
    return 0;
}

static int bucket_region(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&last_bucket(d)->region, text);
    return 0;
}

static int bucket_created(void *arg, const char *text)
{
    struct doc *d = arg;

    return date(text, &last_bucket(d)->created_ns);
}

static int bucket_end(void *arg, const char *text)
{
    struct doc *d = arg;

    (void)text;
    return last_bucket(d)->name ? 0 : -EBADMSG;
}

static const struct s3_xml_rule bucket_rules[] = {
    { "ListAllMyBucketsResult", NULL, NULL },
    { "ListAllMyBucketsResult/Buckets/Bucket", bucket_begin, bucket_end },
    { "ListAllMyBucketsResult/Buckets/Bucket/Name", NULL, bucket_name },
    { "ListAllMyBucketsResult/Buckets/Bucket/BucketRegion", NULL, bucket_region },
    { "ListAllMyBucketsResult/Buckets/Bucket/CreationDate", NULL, bucket_created },
    { NULL, NULL, NULL },
};

int s3_xml_buckets(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };

    return s3_xml_walk(xml, n, bucket_rules, &d);
}

/* --- multipart ----------------------------------------------------------------------------------- */

static int upload_id(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&d->r->upload_id, text);
    return *text ? 0 : -EBADMSG;
}

static const struct s3_xml_rule begun_rules[] = {
    { "InitiateMultipartUploadResult/UploadId", NULL, upload_id },
    { NULL, NULL, NULL },
};

int s3_xml_begun(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };

    return s3_xml_walk(xml, n, begun_rules, &d);
}

static struct cloud_part *last_part(struct doc *d)
{
    return &d->r->parts[d->r->n_parts - 1];
}

static int part_begin(void *arg)
{
    struct doc *d = arg;

    return extend((void **)&d->r->parts, &d->r->n_parts, sizeof(*d->r->parts));
}

static int part_number(void *arg, const char *text)
{
    struct doc *d = arg;
    uint64_t n;

    if (number(text, &n) < 0 || n == 0 || n > S3_LIST_MAX)
        return -EBADMSG;
    last_part(d)->number = (uint32_t)n;
    return 0;
}

static int part_size(void *arg, const char *text)
{
    struct doc *d = arg;

    return number(text, &last_part(d)->size);
}

static int part_etag(void *arg, const char *text)
{
    struct doc *d = arg;

    return set_etag(&last_part(d)->etag, text);
}

/* Numbers must rise, or asking for the parts after the last one would never end. */
static int part_end(void *arg, const char *text)
{
    struct doc *d = arg;
    const struct cloud_part *p = last_part(d);

    (void)text;
    return p->number == 0 || (d->r->n_parts > 1 && p[-1].number >= p->number) ? -EBADMSG : 0;
}

static const struct s3_xml_rule part_rules[] = {
    { "ListPartsResult", NULL, NULL },
    { "ListPartsResult/IsTruncated", NULL, list_truncated },
    { "ListPartsResult/Part", part_begin, part_end },
    { "ListPartsResult/Part/PartNumber", NULL, part_number },
    { "ListPartsResult/Part/Size", NULL, part_size },
    { "ListPartsResult/Part/ETag", NULL, part_etag },
    { NULL, NULL, NULL },
};

int s3_xml_parts(const char *xml, size_t n, struct cloud_request *r, bool *ret_more)
{
    struct doc d = { .r = r };
    size_t before = r->n_parts;
    int error = s3_xml_walk(xml, n, part_rules, &d);

    *ret_more = error == 0 && d.truncated && r->n_parts > before;
    return error;
}

/* --- what was stored ------------------------------------------------------------------------------ */

static int stored_etag(void *arg, const char *text)
{
    struct doc *d = arg;

    return set_etag(&d->r->object.etag, text);
}

static int stored_mtime(void *arg, const char *text)
{
    struct doc *d = arg;

    return date(text, &d->r->object.mtime_ns);
}

static int stored_not(void *arg)
{
    (void)arg;
    return -EBADMSG;
}

static const struct s3_xml_rule stored_rules[] = {
    { "Error", stored_not, NULL },
    { "CompleteMultipartUploadResult", NULL, NULL },
    { "CompleteMultipartUploadResult/ETag", NULL, stored_etag },
    { "CopyObjectResult", NULL, NULL },
    { "CopyObjectResult/ETag", NULL, stored_etag },
    { "CopyObjectResult/LastModified", NULL, stored_mtime },
    { "CopyPartResult", NULL, NULL },
    { "CopyPartResult/ETag", NULL, stored_etag },
    { NULL, NULL, NULL },
};

int s3_xml_stored(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };
    struct s3_xml_error fault;
    int error = s3_xml_walk(xml, n, stored_rules, &d);

    return error && s3_xml_error(xml, n, &fault) == 0 ? -EREMOTEIO : error;
}

/* --- DeleteObjects ---------------------------------------------------------------------------------- */

int s3_xml_add_failed(struct cloud_request *r, const char *key)
{
    int error = extend((void **)&r->failed_keys, &r->n_failed_keys, sizeof(*r->failed_keys));

    if (error == 0)
        cloud_request_set(&r->failed_keys[r->n_failed_keys - 1], key);
    return error;
}

static int failed_key(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_add_failed(d->r, text);
}

static const struct s3_xml_rule deleted_rules[] = {
    { "DeleteResult", NULL, NULL },
    { "DeleteResult/Error/Key", NULL, failed_key },
    { NULL, NULL, NULL },
};

int s3_xml_deleted(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };

    return s3_xml_walk(xml, n, deleted_rules, &d);
}
