/* Refusals that something can be done about: another region, a clock that is off, a condition that the server
 * cannot check, an answer that was lost, a wait. Each remedy looks at a refusal and says whether it does something.
 * What a refusal says is held against what was sent, not against what is known by now: of several that went out
 * together to a server nobody knew, each is refused, and each is to be sent again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/retry.h"
#include "syncd/s3.h"

enum { REDIRECTS_MAX = 3, CLOCKS_MAX = 3 };

#define SKEW_NS (INT64_C(5) * 60 * 1000000000)

static bool has_code(const struct s3_refusal *f, const char *code)
{
    return strcmp(f->why.code, code) == 0;
}

/* Redirects are about regions; where they point to is not followed. A HEAD is refused without a reason: then
 * the bucket is asked where it is. */
static bool remedy_region(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    bool elsewhere = f->status == 301 || f->status == 307 || has_code(f, "AuthorizationHeaderMalformed");
    bool mute = f->status == 400 && !f->why.code[0];

    (void)reply;
    if (c->redirects == REDIRECTS_MAX || (!elsewhere && !mute && !f->why.region[0]))
        return false;
    if (f->why.region[0] && strcmp(f->why.region, c->region) != 0) {
        c->redirects++;
        s3_region_learn(c->s3, c->message.bucket, f->why.region);
        s3_call_again(c, c->step);
        return true;
    }
    if (f->why.region[0] || !c->message.key || !c->s3->endpoint.regional)
        return false;
    c->redirects++;
    s3_refusal_word(c, f, &c->refusal);
    s3_call_again(c, S3_LOCATE);
    return true;
}

/* The server's time, when it is far from ours and that may be the reason. Of several servers one may go wrong. */
static bool remedy_clock(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    const char *date = pairs_get(&reply->headers, "date");
    int64_t theirs, skew;

    if (c->clocks == CLOCKS_MAX || f->status != 403 || (f->why.code[0] && !has_code(f, "RequestTimeTooSkewed"))
        || !date || date_parse(date, &theirs) < 0 || theirs < 0)
        return false;
    skew = theirs - loop_wall_ns();
    if (llabs(skew - c->skew_ns) < SKEW_NS)
        return false;
    c->clocks++;
    c->s3->skew_ns = skew;
    s3_call_again(c, c->step);
    return true;
}

/* Swift: conditions on PUT are not implemented. From now on we look ourselves. */
static bool remedy_unsupported(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    (void)reply;
    if (f->status != 501 || c->step != S3_MAIN || c->row->conditions != S3_KEY || !c->conditional
        || (!c->r->if_match && !c->r->if_none_match))
        return false;
    c->s3->no_conditions = true;
    c->guarded = false;
    s3_call_again(c, S3_MAIN);
    return true;
}

/* We looked and the condition held, the server says it does not: it may want the ETag with quotes, or without. */
static bool remedy_quotes(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    (void)reply;
    if (s3_refusal_code(f) != -ESTALE || c->step != S3_MAIN || c->row->conditions != S3_KEY || !c->r->if_match
        || !c->guarded || c->requoted || c->unsure)
        return false;
    c->requoted = true;
    c->guarded = false;
    c->s3->bare_etags = !c->bare_etags;
    s3_call_again(c, S3_MAIN);
    return true;
}

/* A condition that fails, or an upload that is gone, after a try whose answer was lost: that try may have done it. */
static bool remedy_unsure(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    int code = s3_refusal_code(f);
    bool ended = c->r->op == CLOUD_PART_END && code == -ENOENT;

    (void)reply;
    if (!c->unsure || c->confirmed || c->step != S3_MAIN || c->row->conditions != S3_KEY || (code != -ESTALE && !ended))
        return false;
    s3_refusal_word(c, f, &c->refusal);
    s3_call_again(c, S3_CONFIRM);
    return true;
}

static const struct wish {
    enum cloud_op op;
    const char *code;   /* of a refusal that says it is as wished */
} wishes[] = {
    { CLOUD_DELETE, "NoSuchKey" },
    { CLOUD_PART_ABORT, "NoSuchUpload" },
    { CLOUD_BUCKET_CREATE, "BucketAlreadyOwnedByYou" },
};

static bool remedy_fulfilled(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    (void)reply;
    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++)
        if (c->r->op == wishes[i].op && has_code(f, wishes[i].code)) {
            s3_call_done(c);
            return true;
        }
    return false;
}

static bool remedy_wait(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    const char *after = pairs_get(&reply->headers, "retry-after");
    uint64_t ms = 0;

    if (!retry_status(f->status, f->why.code))
        return false;
    if (after && retry_after(after, loop_wall_ns() + c->s3->skew_ns, &ms) < 0)
        ms = 0;
    s3_refusal_word(c, f, &c->r->trouble);
    return s3_call_later(c, ms);
}

bool s3_remedy(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply)
{
    static bool (*const remedies[])(struct s3_call *, const struct s3_refusal *, const struct http_reply *) = {
        remedy_region, remedy_clock, remedy_unsupported, remedy_unsure, remedy_quotes, remedy_fulfilled, remedy_wait,
    };

    for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
        if (remedies[i](c, f, reply))
            return true;
    return false;
}
