/* The documents of S3: which element means what. Must not know HTTP. */
#include "syncd/s3_xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/s3_xml_internal.h"

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

int s3_xml_set_etag(char **field, const char *text)
{
    char clean[S3_ETAG_MAX + 1];

    s3_etag_clean(text, clean);
    cloud_request_set(field, clean[0] ? clean : NULL);
    return 0;
}

int s3_xml_number(const char *text, uint64_t *ret)
{
    size_t n = strspn(text, "0123456789");

    if (n == 0 || n > 18 || text[n])
        return -EBADMSG;
    *ret = strtoull(text, NULL, 10);
    return 0;
}

int s3_xml_date(const char *text, int64_t *ret_ns)
{
    if (date_parse(text, ret_ns) < 0)
        *ret_ns = 0;
    return 0;
}

int s3_xml_extend(void **array, size_t *n, size_t size)
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

int s3_xml_decode(char *key)
{
    for (char *p = key; *p; p++)
        if (*p == '+')
            *p = ' ';
    return text_percent_decode(key) < 0 ? -EBADMSG : 0;
}

/* --- ListObjectsV2 -------------------------------------------------------------------------------- */

struct cloud_object *s3_xml_last_object(struct doc *d)
{
    return &d->r->objects[d->r->n_objects - 1];
}

int s3_xml_object_begin(void *arg)
{
    struct doc *d = arg;

    return s3_xml_extend((void **)&d->r->objects, &d->r->n_objects, sizeof(*d->r->objects));
}

int s3_xml_object_key(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&s3_xml_last_object(d)->key, text);
    return 0;
}

static int object_size(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_number(text, &s3_xml_last_object(d)->size);
}

int s3_xml_object_mtime(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_date(text, &s3_xml_last_object(d)->mtime_ns);
}

static int object_etag(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_set_etag(&s3_xml_last_object(d)->etag, text);
}

static int object_end(void *arg, const char *text)
{
    struct doc *d = arg;

    (void)text;
    return s3_xml_last_object(d)->key ? 0 : -EBADMSG;
}

static int list_prefix(void *arg, const char *text)
{
    struct doc *d = arg;
    int r = s3_xml_extend((void **)&d->r->prefixes, &d->r->n_prefixes, sizeof(*d->r->prefixes));

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

int s3_xml_truncated(void *arg, const char *text)
{
    struct doc *d = arg;

    d->truncated = strcmp(text, "true") == 0;
    return 0;
}

int s3_xml_encoding(void *arg, const char *text)
{
    struct doc *d = arg;

    d->url_coded = strcmp(text, "url") == 0;
    return 0;
}

static const struct s3_xml_rule list_rules[] = {
    { "ListBucketResult", NULL, NULL },
    { "ListBucketResult/EncodingType", NULL, s3_xml_encoding },
    { "ListBucketResult/IsTruncated", NULL, s3_xml_truncated },
    { "ListBucketResult/NextContinuationToken", NULL, list_token },
    { "ListBucketResult/Contents", s3_xml_object_begin, object_end },
    { "ListBucketResult/Contents/Key", NULL, s3_xml_object_key },
    { "ListBucketResult/Contents/Size", NULL, object_size },
    { "ListBucketResult/Contents/LastModified", NULL, s3_xml_object_mtime },
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
        error = s3_xml_decode(r->objects[i].key);
    for (size_t i = 0; i < r->n_prefixes && error == 0 && d.url_coded; i++)
        error = s3_xml_decode(r->prefixes[i]);
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

    return s3_xml_extend((void **)&d->r->buckets, &d->r->n_buckets, sizeof(*d->r->buckets));
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

    return s3_xml_date(text, &last_bucket(d)->created_ns);
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

/* --- what was stored ------------------------------------------------------------------------------ */

static int stored_etag(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_set_etag(&d->r->object.etag, text);
}

static int stored_mtime(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_date(text, &d->r->object.mtime_ns);
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
    int error = s3_xml_walk_keyless(xml, n, stored_rules, &d);

    return error && s3_xml_error(xml, n, &fault) == 0 ? -EREMOTEIO : error;
}

/* --- DeleteObjects ---------------------------------------------------------------------------------- */

int s3_xml_add_failed(struct cloud_request *r, const char *key)
{
    int error = s3_xml_extend((void **)&r->failed_keys, &r->n_failed_keys, sizeof(*r->failed_keys));

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
