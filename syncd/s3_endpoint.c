/* Endpoint rules. Sources: "Amazon S3 endpoints and quotas", "Virtual hosting of buckets" (Amazon S3
 * user guide), "Service URLs for Wasabi's storage regions", "Interoperability with other storage
 * providers" (Google Cloud Storage), "S3 API compatibility" (Cloudflare R2). */
#include "syncd/s3_endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"

static const struct s3_service services[] = {
    { .type = CLOUD_AWS, .host = "s3.%s.amazonaws.com", .china = "s3.%s.amazonaws.com.cn", .region = "us-east-1",
      .virtual_host = true, .locates = true, .checks_put = true, .checks_end = true,
      .checks_source = true },
    { .type = CLOUD_WASABI, .host = "s3.%s.wasabisys.com", .region = "us-east-1", .locates = true },
    { .type = CLOUD_S3_GENERIC, .region = "us-east-1" },
    { .type = CLOUD_GOOGLE, .host = "storage.googleapis.com", .region = "auto", .lacks = CLOUD_CAN_BATCH_DELETE },
    { .type = CLOUD_CLOUDFLARE, .region = "auto", .checks_put = true, .checks_source = true },
};

const struct s3_service *s3_service(enum cloud_type type)
{
    for (size_t i = 0; i < ARRAY_SIZE(services); i++)
        if (services[i].type == type)
            return &services[i];
    return NULL;
}

bool s3_region_valid(const char *s)
{
    size_t n = strlen(s);

    return n > 0 && n < S3_REGION_MAX
        && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

/* Recognises the service's own host ("s3.eu-west-1.amazonaws.com", "s3-eu-west-1...", "s3.amazonaws.com")
 * and takes the region out of it. */
static bool own_host(const struct s3_service *s, const char *host, char region[S3_REGION_MAX])
{
    const char *suffix = s->host && strstr(s->host, "%s") ? strstr(s->host, "%s") + 2 : NULL;
    size_t n = strlen(host), tail = suffix ? strlen(suffix) : 0;
    char middle[S3_REGION_MAX];

    if (!suffix || n < 2 + tail || strcmp(host + n - tail, suffix) != 0 || strncmp(host, "s3", 2) != 0)
        return false;
    if (n == 2 + tail)
        return true;   /* without a region: to begin with */
    if ((host[2] != '.' && host[2] != '-') || n - tail - 3 >= sizeof(middle))
        return false;
    memcpy(middle, host + 3, n - tail - 3);
    middle[n - tail - 3] = '\0';
    if (!s3_region_valid(middle))
        return false;
    memcpy(region, middle, sizeof(middle));
    return true;
}

static int take_region(struct s3_endpoint *p, const char *region, struct error *e)
{
    if (!region || !*region)
        return 0;
    if (!s3_region_valid(region))
        return error_set(e, -EINVAL, "The region may only have letters, digits and hyphens, as in eu-central-1.");
    (void)snprintf(p->region, sizeof(p->region), "%s", region);
    return 0;
}

int s3_endpoint_open(enum cloud_type type, const char *service_url, const char *region, const struct config *c,
                     struct s3_endpoint *ret, struct error *e)
{
    const struct s3_service *s = s3_service(type);
    bool given = service_url && *service_url;
    int r = 0;

    memset(ret, 0, sizeof(*ret));
    ret->service = s;
    ret->url.https = true;
    (void)snprintf(ret->region, sizeof(ret->region), "%s", s->region);
    if (!given && !s->host)
        return error_set(e, -EINVAL, "An account of type %s needs a service URL, as in https://s3.example.com.",
                         cloud_type_name(type));
    if (given) {
        r = service_url_parse(service_url, &ret->url, e);
        if (r == 0)
            r = service_url_allowed(&ret->url, c, e);
    }
    if (r < 0)
        return r;
    ret->regional = !given || (!ret->url.port && !ret->url.path[0] && own_host(s, ret->url.host, ret->region));
    return take_region(ret, region, e);
}

/* As a label of a host name, covered by the service's certificate: no dots, no capitals. */
static bool dns_safe(const char *bucket)
{
    size_t n = strlen(bucket);

    return n >= 3 && n <= 63 && strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") == n
        && bucket[0] != '-' && bucket[n - 1] != '-';
}

static bool good_bucket(const char *bucket)
{
    return *bucket && strlen(bucket) <= 255 && !strchr(bucket, '/') && strcmp(bucket, ".") && strcmp(bucket, "..");
}

static void add_host(const struct s3_endpoint *p, const char *region, struct text *host)
{
    const struct s3_service *s = p->service;
    const char *form = s->china && strncmp(region, "cn-", 3) == 0 ? s->china : s->host;
    const char *mark;

    if (p->regional) {
        mark = strstr(form, "%s");
        text_add(host, form, mark ? (size_t)(mark - form) : strlen(form));
        if (mark)
            text_printf(host, "%s%s", region, mark + 2);
        return;
    }
    text_printf(host, strchr(p->url.host, ':') ? "[%s]" : "%s", p->url.host);
    if (p->url.port)
        text_printf(host, ":%u", p->url.port);
}

int s3_endpoint_locate(const struct s3_endpoint *p, const char *region, const char *bucket, const char *key,
                       struct text *host, struct text *path)
{
    bool virtual_host = bucket && p->regional && p->service->virtual_host && dns_safe(bucket);

    if (bucket && !good_bucket(bucket))
        return -EINVAL;
    if (virtual_host)
        text_printf(host, "%s.", bucket);
    add_host(p, region, host);
    text_puts(path, p->url.path);
    if (bucket && !virtual_host) {
        text_puts(path, "/");
        text_percent_encode(path, bucket, strlen(bucket), false);
    }
    if (key) {
        text_puts(path, "/");
        text_percent_encode(path, key, strlen(key), true);
    }
    if (path->len == 0)
        text_puts(path, "/");
    return host->error ? host->error : path->error;
}
