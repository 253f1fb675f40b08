/* The S3 provider's operations, a row each. One implementation for AWS, Wasabi, Cloudflare R2,
 * Google's interoperability mode and everything that speaks S3; their differences are rows in s3_endpoint.c.
 */
#include "syncd/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

static const struct s3_row rows[CLOUD_OP_COUNT] = {
    [CLOUD_BUCKETS] = { s3_describe_buckets, s3_parse_buckets, false, S3_UNCONDITIONAL },
    [CLOUD_LIST] = { s3_describe_list, s3_parse_list, false, S3_UNCONDITIONAL },
    [CLOUD_STAT] = { s3_describe_head, s3_parse_head, false, S3_UNCONDITIONAL },
    [CLOUD_GET] = { s3_describe_get, s3_parse_nothing, .streams = true },
    [CLOUD_PUT] = { s3_describe_put, s3_parse_put, .conditions = S3_KEY },
    [CLOUD_PART_BEGIN] = { s3_describe_part_begin, s3_parse_part_begin, false, S3_UNCONDITIONAL },
    [CLOUD_PART_PUT] = { s3_describe_part_put, s3_parse_put, false, S3_UNCONDITIONAL },
    [CLOUD_PART_COPY] = { s3_describe_part_copy, s3_parse_stored, .conditions = S3_SOURCE },
    [CLOUD_PART_LIST] = { s3_describe_part_list, s3_parse_part_list, false, S3_UNCONDITIONAL },
    [CLOUD_PART_END] = { s3_describe_part_end, s3_parse_stored, .conditions = S3_KEY },
    [CLOUD_PART_ABORT] = { s3_describe_part_abort, s3_parse_nothing, false, S3_UNCONDITIONAL },
    [CLOUD_UPLOADS] = { s3_describe_uploads, s3_parse_uploads, false, S3_UNCONDITIONAL },
    [CLOUD_COPY] = { s3_describe_copy, s3_parse_stored, .conditions = S3_SOURCE },
    [CLOUD_DELETE] = { s3_describe_delete, s3_parse_nothing, false, S3_UNCONDITIONAL },
    [CLOUD_DELETE_BATCH] = { s3_describe_delete_batch, s3_parse_delete_batch, false, S3_UNCONDITIONAL },
    [CLOUD_BUCKET_CREATE] = { s3_describe_bucket_create, s3_parse_nothing, false, S3_UNCONDITIONAL },
};

/* --- regions --------------------------------------------------------------------------------------- */

/* Behind a URL of its own a service has one region for all its buckets. */
static const char *region_key(const struct s3 *s, const char *bucket)
{
    return s->endpoint.regional && bucket ? bucket : "";
}

static struct s3_bucket_region *find_region(struct s3 *s, const char *bucket)
{
    size_t n = least(s->n_regions, S3_REGIONS_MAX);

    for (size_t i = 0; i < n; i++)
        if (strcmp(s->regions[i].bucket, region_key(s, bucket)) == 0)
            return &s->regions[i];
    return NULL;
}

const char *s3_region_of(struct s3 *s, const char *bucket)
{
    const struct s3_bucket_region *known = find_region(s, bucket);

    return known ? known->region : s->endpoint.region;
}

bool s3_region_known(struct s3 *s, const char *bucket)
{
    return !s->endpoint.regional || find_region(s, bucket);
}

void s3_region_learn(struct s3 *s, const char *bucket, const char *region)
{
    struct s3_bucket_region *place = find_region(s, bucket);

    if (!place)
        place = &s->regions[s->n_regions++ % S3_REGIONS_MAX];
    xstrset(&place->bucket, region_key(s, bucket));
    (void)snprintf(place->region, sizeof(place->region), "%s", region);
}

/* --- operations -------------------------------------------------------------------------------------- */

static void s3_close(struct cloud *c)
{
    struct s3 *s = c->state;

    http_close(s->http);
    for (size_t i = 0; i < S3_REGIONS_MAX; i++)
        free(s->regions[i].bucket);
    free(s);
}

static int s3_open(struct cloud *c, const struct cloud_spec *spec, struct error *e)
{
    struct s3 *s = xcalloc(1, sizeof(*s));
    int r = s3_endpoint_open(spec->type, spec->service_url, spec->region, c->config, &s->endpoint, e);

    if (r == 0)
        r = http_open(c->loop, c->config, &s->http, e);
    if (r < 0) {
        free(s);
        return r;
    }
    s->cloud = c;
    s->bare_etags = !s->endpoint.service->checks_put;
    c->capabilities &= ~s->endpoint.service->lacks;
    c->state = s;
    return 0;
}

/* A batch in which no key can be named in XML has nothing to ask; all its keys end in failed_keys. */
static bool nothing_to_delete(struct cloud_request *r)
{
    for (size_t i = 0; i < r->n_keys; i++)
        if (s3_key_sayable(r->keys[i]))
            return false;
    for (size_t i = 0; i < r->n_keys; i++)
        (void)s3_xml_add_failed(r, r->keys[i]);
    return true;
}

static void s3_submit(struct cloud *c, struct cloud_request *r)
{
    if (r->op == CLOUD_DELETE_BATCH && nothing_to_delete(r))
        cloud_finish(r, NULL);
    else
        s3_call_start(c->state, r, &rows[r->op]);
}

static void s3_cancel(struct cloud *c, struct cloud_request *r)
{
    (void)c;
    if (r->driver)
        s3_call_end(r->driver, -ECANCELED, "The request was canceled.");
}

static void s3_resume(struct cloud *c, struct cloud_request *r)
{
    (void)c;
    if (r->driver)
        s3_call_resume(r->driver);
}

const struct cloud_ops cloud_s3_ops = {
    .name = "s3",
    .capabilities = CLOUD_CAN_RANGE | CLOUD_CAN_MULTIPART | CLOUD_CAN_COPY | CLOUD_CAN_COPY_PART
        | CLOUD_CAN_BATCH_DELETE | CLOUD_CAN_IF_MATCH | CLOUD_CAN_IF_NONE_MATCH | CLOUD_CAN_PRESIGN
        | CLOUD_CAN_METADATA,
    .limits = { .part_min = 5 << 20, .part_max = UINT64_C(5) << 30, .put_max = UINT64_C(5) << 30,
        .parts_max = S3_LIST_MAX },
    .open = s3_open,
    .close = s3_close,
    .submit = s3_submit,
    .cancel = s3_cancel,
    .resume = s3_resume,
    .presign = s3_presign,
};
