/* What a refusal means: the provider's code and status as our errno, and a sentence with the provider's own
 * reason and what to do. Codes: "List of error codes", Amazon S3 API reference; R2, Wasabi, Ceph, Swift and
 * Google use the same, and a few of their own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/retry.h"
#include "syncd/s3.h"

static const char keys_advice[] = "Check the access key and the secret key of the account.";
static const char rights_advice[] = "The account may not do this; its owner must allow it at the provider.";
static const char clock_advice[] = "Set this machine's clock.";

static const struct meaning {
    const char *code;
    int error;
    const char *advice;
} meanings[] = {
    { "NoSuchKey", -ENOENT, NULL },
    { "NoSuchBucket", -ENOENT, "Check the name of the bucket." },
    { "NoSuchUpload", -ENOENT, NULL },
    { "NoSuchVersion", -ENOENT, NULL },
    { "InvalidAccessKeyId", -EKEYREJECTED, keys_advice },
    { "SignatureDoesNotMatch", -EKEYREJECTED, keys_advice },
    { "InvalidSecurity", -EKEYREJECTED, keys_advice },
    { "InvalidToken", -EKEYREJECTED, keys_advice },
    { "ExpiredToken", -EKEYREJECTED, keys_advice },
    { "TokenRefreshRequired", -EKEYREJECTED, keys_advice },
    { "AuthorizationHeaderMalformed", -EKEYREJECTED, "Check the keys and the region of the account." },
    { "NotSignedUp", -EKEYREJECTED, keys_advice },
    { "Unauthorized", -EKEYREJECTED, keys_advice },
    { "AccessDenied", -EACCES, rights_advice },
    { "AllAccessDisabled", -EACCES, rights_advice },
    { "AccountProblem", -EACCES, rights_advice },
    { "InvalidObjectState", -EACCES, "The object is archived; restore it at the provider first." },
    { "MethodNotAllowed", -EACCES, NULL },
    { "RequestTimeTooSkewed", -EACCES, clock_advice },
    { "PreconditionFailed", -ESTALE, NULL },
    { "ConditionalRequestConflict", -ESTALE, NULL },
    { "BadDigest", -EBADE, NULL },
    { "InvalidDigest", -EBADE, NULL },
    { "XAmzContentSHA256Mismatch", -EBADE, NULL },
    { "InvalidRange", -ERANGE, NULL },
    { "MetadataTooLarge", -E2BIG, NULL },
    { "KeyTooLongError", -ENAMETOOLONG, NULL },
    { "InvalidBucketName", -EINVAL, NULL },
    { "QuotaExceeded", -ENOSPC, NULL },
    { "TooManyBuckets", -ENOSPC, NULL },
    { "EntityTooLarge", -EFBIG, NULL },
    { "RequestTimeout", -ETIMEDOUT, NULL },
};

static const struct status_meaning {
    int status;
    struct meaning meaning;
} statuses[] = {
    { 401, { NULL, -EKEYREJECTED, keys_advice } },
    { 403, { NULL, -EACCES, "Check the keys of the account and what they allow." } },
    { 404, { NULL, -ENOENT, NULL } },
    { 407, { NULL, -EHOSTUNREACH, "The proxy wants credentials; put them into Proxy of the configuration." } },
    { 408, { NULL, -ETIMEDOUT, NULL } },
    { 410, { NULL, -ENOENT, NULL } },
    { 412, { NULL, -ESTALE, NULL } },
    { 416, { NULL, -ERANGE, NULL } },
    { 502, { NULL, -EHOSTUNREACH, NULL } },
    { 504, { NULL, -ETIMEDOUT, NULL } },
    { 507, { NULL, -ENOSPC, NULL } },
};

static const struct meaning *find(const struct s3_refusal *f)
{
    static const struct meaning throttled = { NULL, -EAGAIN, NULL }, other = { NULL, -EREMOTEIO, NULL };

    for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
        if (strcmp(meanings[i].code, f->why.code) == 0)
            return &meanings[i];
    if (retry_throttled(f->status, f->why.code))
        return &throttled;
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        if (statuses[i].status == f->status)
            return &statuses[i].meaning;
    return &other;
}

void s3_refusal_read(const struct http_reply *reply, struct s3_refusal *ret)
{
    const char *region = pairs_get(&reply->headers, "x-amz-bucket-region");

    ret->status = reply->status;
    if (reply->body.len == 0 || s3_xml_error(reply->body.data, reply->body.len, &ret->why) < 0)
        ret->why = (struct s3_xml_error){ 0 };
    if (region && s3_region_valid(region))
        (void)snprintf(ret->why.region, sizeof(ret->why.region), "%s", region);
    if (!s3_region_valid(ret->why.region))
        ret->why.region[0] = '\0';
}

bool s3_status_between(int status)
{
    return status == 407 || status == 408 || status == 502 || status == 504;
}

int s3_refusal_code(const struct s3_refusal *f)
{
    return find(f)->error;
}

/* "bucket/key", "bucket", or the account's type. */
static void add_subject(const struct s3_call *c, struct text *t)
{
    const struct cloud_request *r = c->r;

    if (!r->bucket)
        text_puts(t, cloud_type_name((int)c->s3->cloud->type));
    else
        text_printf(t, "%s%s%s", r->bucket, r->key ? "/" : "", r->key ? r->key : "");
}

static int word(const struct s3_call *c, int code, const char *reason, const char *origin, const char *advice,
                struct error *e)
{
    CLEANUP(text_free) struct text subject = TEXT_INIT(4096);
    size_t n = strlen(reason);

    add_subject(c, &subject);
    while (n && strchr(". \n", reason[n - 1]))
        n--;
    return error_set(e, code, "%s: %.*s (%s).%s%s", subject.data ? subject.data : "", (int)n, reason, origin,
                     advice ? " " : "", advice ? advice : "");
}

/* The provider's words, or ours when it has none but the code, which stands behind them anyway. */
static const char *reason_of(const struct s3_refusal *f, int error)
{
    const char *message = f->why.message;
    size_t n = strlen(f->why.code);

    if (n && strncmp(message, f->why.code, n) == 0 && (!message[n] || strchr(": .", message[n])))
        message += n + strspn(message + n, ": .");
    return *message ? message : error_meaning(error)->text;
}

void s3_refusal_word(const struct s3_call *c, const struct s3_refusal *f, struct error *e)
{
    const struct meaning *m = find(f);
    char origin[512];

    (void)snprintf(origin, sizeof(origin), "%s%s%s, status %d", f->why.code, f->why.code[0] ? " from " : "", c->host,
                   f->status);
    (void)word(c, m->error, reason_of(f, m->error), origin, m->advice, e);
}

void s3_fault_word(const struct s3_call *c, const struct http_reply *reply, struct error *e)
{
    static const char *const reasons[] = {
        [HTTP_UNREACHED] = "The server cannot be reached",
        [HTTP_REFUSED] = "The server is not trusted",
        [HTTP_STALLED] = "The server has gone silent",
        [HTTP_LOST] = "The connection to the server broke",
        [HTTP_GARBLED] = "The server's answer cannot be read",
        [HTTP_ABORTED] = NULL,   /* the errno says it */
    };
    char origin[sizeof(reply->reason) + sizeof(c->host) + 2];

    (void)snprintf(origin, sizeof(origin), "%s%s%s", c->host, reply->reason[0] ? ": " : "", reply->reason);
    (void)word(c, reply->error, reasons[reply->fault] ? reasons[reply->fault] : error_meaning(reply->error)->text,
        origin,
               NULL, e);
}
