/* Where the S3 services are and how they are addressed: rules per type, as data. Pure. */
#pragma once

#include <stdbool.h>

#include "common/config.h"
#include "common/error.h"
#include "common/text.h"
#include "syncd/cloud.h"
#include "syncd/service_url.h"

enum { S3_REGION_MAX = 64 };

/* What a type of service is like. */
struct s3_service {
    enum cloud_type type;
    const char *host;           /* with %s for the region; NULL: the account must name a service URL */
    const char *china;          /* the same for regions that begin with "cn-"; NULL: none */
    const char *region;         /* to begin with */
    bool virtual_host;          /* buckets are addressed as bucket.host, where their name allows it */
    bool locates;               /* BUCKET_CREATE wants the region spelled out */
    /* Conditions are known to be honoured: of PUT, of CompleteMultipartUpload, on the source of a copy. */
    bool checks_put, checks_end, checks_source;
    unsigned lacks;             /* capabilities it has not */
};
/* The row of a type, NULL for one that does not speak S3. */
const struct s3_service *s3_service(enum cloud_type type);

struct s3_endpoint {
    const struct s3_service *service;
    bool regional;              /* host follows the region; url is only the scheme then */
    struct service_url url;
    char region[S3_REGION_MAX]; /* to begin with */
};

/* From an account's settings. 0 or -EINVAL with a sentence. */
int s3_endpoint_open(enum cloud_type type, const char *service_url, const char *region, const struct config *c,
                     struct s3_endpoint *ret, struct error *e);

/* Whether `s` may be a region's name: letters, digits, '-', '_'; it becomes part of a host name. */
bool s3_region_valid(const char *s);

/* Appends scheme and host[:port] as they stand in the Host header (`host`), and the path to be sent and
 * signed (`path`), for a bucket (NULL: the service) and a key (NULL: the bucket). 0; -EINVAL for a name
 * no bucket can have; another negative errno. */
int s3_endpoint_locate(const struct s3_endpoint *p, const char *region, const char *bucket, const char *key,
                       struct text *host, struct text *path);
