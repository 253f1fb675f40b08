/* A request's way through its steps: hash the body, look before a conditional change, ask, and ask again
 * while it may help. Must not know what the operations say.
 *
 * A call is freed from the loop some time after it ended, so that whoever is called back from inside of
 * it may end it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/retry.h"
#include "syncd/s3.h"
#include "syncd/tally.h"

enum { PROGRESS = 64 * 1024 };   /* a try that brought this much does not count as failed */

static void free_call(void *arg)
{
    free(arg);
}

static void finish(struct s3_call *c, const struct error *e)
{
    struct cloud_request *r = c->r;

    loop_timer_free(c->timer);
    loop_timer_free(c->deadline);
    s3_message_free(&c->message);
    r->driver = NULL;
    r->unsure = c->unsure;
    cloud_finish(r, e);
    loop_defer(c->s3->cloud->loop, free_call, c);
}

/* --- ending ---------------------------------------------------------------------------------------- */

static void end_with(struct s3_call *c, const struct error *e)
{
    if (c->end.code)
        return;
    c->end = *e;
    http_cancel(take_ptr(c->http));
    atomic_store(&c->hash.stop, true);
    if (!c->hashing && !c->asking)
        finish(c, &c->end);
}

void s3_call_end(struct s3_call *c, int code, const char *sentence)
{
    struct error e = { 0 };

    (void)error_set(&e, code, "%s", sentence);
    end_with(c, &e);
}

void s3_call_released(struct s3_call *c)
{
    if (!c->hashing && !c->asking)
        finish(c, &c->end);
}

void s3_call_done(struct s3_call *c)
{
    finish(c, NULL);
}

static void on_deadline(void *arg)
{
    s3_call_end(arg, -ETIMEDOUT, "The provider did not answer in time.");
}

/* --- steps ----------------------------------------------------------------------------------------- */

static void take_step(struct s3_call *c);

static void hash_body(void *arg)
{
    struct s3_call *c = arg;

    hash_extent(&c->hash);
}

static void on_hashed(void *arg)
{
    struct s3_call *c = arg;
    struct error e = { 0 };

    c->hashing = false;
    c->hashed = true;
    if (c->end.code) {
        s3_call_released(c);
    } else if (c->hash.error < 0) {
        c->r->unreadable = c->hash.error == -EIO;
        (void)error_set(&e, c->hash.error, "%s: the file to be sent cannot be read, or became shorter meanwhile.",
                        c->r->key);
        end_with(c, &e);
    } else {
        take_step(c);
    }
}

static void hash(struct s3_call *c, bool md5)
{
    const struct cloud_extent *body = &c->r->body;

    c->hashing = true;
    c->hash.fd = body->fd;
    c->hash.offset = body->offset;
    c->hash.length = body->length;
    c->hash.md5_wanted = md5;
    loop_work(c->s3->cloud->loop, hash_body, on_hashed, c);
}

/* The body's SHA-256 is needed to sign it; its MD5, which most services use as ETag, to recognise the object. A wrong
 * ETag of a part is refused by the service when the upload ends. */
static bool wants_md5(const struct s3_call *c)
{
    return c->r->op == CLOUD_PUT && (c->step == S3_CONFIRM || !c->s3->opaque_etags);
}

static bool wants_hash(struct s3_call *c)
{
    bool body = (c->r->op == CLOUD_PUT || c->r->op == CLOUD_PART_PUT) && c->r->body.length;

    if (body && wants_md5(c) && !c->hash.md5_wanted)
        c->hashed = false;
    return body && !c->hashed;
}

static bool wants_guard(const struct s3_call *c)
{
    bool conditions = c->row->conditions == S3_SOURCE ? c->r->if_match != NULL
                                                      : c->row->conditions && (c->r->if_match || c->r->if_none_match);

    return conditions && c->step == S3_MAIN && !c->guarded && !s3_checks(c);
}

static void take_step(struct s3_call *c)
{
    if (c->paused) {
        c->held = true;
        return;
    }
    if (wants_hash(c)) {
        hash(c, wants_md5(c));
        return;
    }
    if (wants_guard(c))
        c->step = S3_GUARD;
    s3_try(c);
}

void s3_call_again(struct s3_call *c, enum s3_step step)
{
    c->step = step;
    take_step(c);
}

static void on_retry(void *arg)
{
    struct s3_call *c = arg;

    loop_timer_free(take_ptr(c->timer));
    c->r->next_try_ns = 0;
    take_step(c);
}

/* What a guard saw before the wait may be true no more. */
bool s3_call_later(struct s3_call *c, uint64_t after_ms)
{
    struct loop *l = c->s3->cloud->loop;
    uint64_t ms;

    if (c->received - c->received_before >= PROGRESS)
        c->tries = 0;
    if (c->tries >= (unsigned)c->s3->cloud->config->cloud_retries || after_ms > RETRY_AFTER_MAX_MS)
        return false;
    c->guarded = false;
    if (c->r->tally)
        c->r->tally->retries[c->r->op]++;
    ms = retry_delay_ms(++c->tries, arc4random(), after_ms);
    c->r->next_try_ns = loop_now_ns() + (int64_t)ms * 1000000;
    c->timer = loop_timer(l, ms, on_retry, c);
    return c->timer != NULL;
}

void s3_call_resume(struct s3_call *c)
{
    c->paused = false;
    if (c->http)
        http_resume(c->http);
    if (c->held) {
        c->held = false;
        take_step(c);
    }
}

/* --- answers ---------------------------------------------------------------------------------------- */

/* Tries again, or ends with the error. */
static void retry_or_end(struct s3_call *c, const struct error *e)
{
    c->r->trouble = *e;
    if (!s3_call_later(c, 0))
        end_with(c, e);
}

/* Without the ETag of what has arrived so far nobody can tell whether the rest belongs to it. */
static bool cannot_go_on(const struct s3_call *c)
{
    return c->step == S3_MAIN && c->received && !c->etag[0];
}

/* Whether it was done after all, before it counts as failed with this error. */
static void confirm(struct s3_call *c, const struct error *e)
{
    c->refusal = *e;
    s3_call_again(c, S3_CONFIRM);
}

static void on_fault(struct s3_call *c, const struct http_reply *reply)
{
    struct error e = { 0 };

    c->fresh = true;
    c->unsure |= c->step == S3_MAIN && reply->fault != HTTP_UNREACHED && reply->fault != HTTP_REFUSED;
    s3_fault_word(c, reply, &e);
    if (reply->fault == HTTP_UNREACHED)
        tally_unreached(c->r->tally, c->tried_ns, &e);
    if (cannot_go_on(c))
        e.code = -EBADE;
    if (retry_fault(reply->fault) && !cannot_go_on(c))
        retry_or_end(c, &e);
    else if (reply->fault == HTTP_GARBLED && c->unsure && !c->confirmed && c->row->conditions == S3_KEY)
        confirm(c, &e);
    else
        end_with(c, &e);
}

static void on_refused(struct s3_call *c, const struct http_reply *reply)
{
    struct s3_refusal f;
    struct error e = { 0 };

    s3_refusal_read(reply, &f);
    c->unsure |= c->step == S3_MAIN && f.status >= 500;
    if (s3_remedy(c, &f, reply))
        return;
    s3_refusal_word(c, &f, &e);
    if (e.code == -ENOENT && c->row->conditions == S3_KEY && c->r->if_match && strcmp(f.why.code, "NoSuchKey") == 0)
        e.code = -ESTALE;
    end_with(c, &e);
}

/* The whole answer was there and makes no sense (HTTP_GARBLED), or it broke off (HTTP_LOST). */
static void on_unusable(struct s3_call *c, enum http_fault fault)
{
    struct http_reply reply = { .fault = fault, .error = -EBADMSG };

    (void)snprintf(reply.reason, sizeof(reply.reason), "%s",
                   fault == HTTP_LOST ? "its answer ended early" : "a document that is not the one asked for");
    on_fault(c, &reply);
}

/* Whether a server checks conditions is worth a request: it spares the look before every new object. The PUT of a
 * marker is the one to try it with. It may replace whatever is there, so doing it twice changes nothing. */
static bool wants_probe(const struct s3_call *c)
{
    const struct cloud_request *r = c->r;

    return r->op == CLOUD_PUT && !r->body.length && !r->if_match && !r->if_none_match && !c->s3->probed
        && !c->s3->no_conditions && !c->s3->endpoint.service->checks_put;
}

static bool is_success(const struct http_reply *reply)
{
    return reply->status >= 200 && reply->status < 300;
}

/* The ETag a HEAD found, "" when there is nothing or none. */
static void found_etag(const struct http_reply *reply, char out[S3_ETAG_MAX + 1])
{
    const char *etag = is_success(reply) ? pairs_get(&reply->headers, "etag") : NULL;

    s3_etag_clean(etag ? etag : "", out);
}

/* Whether the answer to a change names another version than the bytes that were sent make, as far as one can tell. */
static bool wants_verification(const struct s3_call *c)
{
    const char *etag = c->r->object.etag;
    char ours[S3_ETAG_MAX + 1];

    if ((c->r->op != CLOUD_PUT && c->r->op != CLOUD_PART_END) || c->s3->opaque_etags)
        return false;
    s3_own_etag(c->r, &c->hash, ours);
    return ours[0] && strlen(etag) == strlen(ours) && strcmp(etag, ours) != 0;
}

static void on_stored(struct s3_call *c)
{
    if (wants_probe(c))
        s3_call_again(c, S3_PROBE);
    else if (wants_verification(c))
        s3_call_again(c, S3_VERIFY);
    else
        s3_call_done(c);
}

/* A service that says the same again has ETags of its own making (AWS with keys of KMS); then what it says counts. Else
 * the answer was not the service's, and what lies there has to be ours. */
static void on_verified(struct s3_call *c, const struct http_reply *reply)
{
    char etag[S3_ETAG_MAX + 1], ours[S3_ETAG_MAX + 1];

    if (!is_success(reply) && reply->status != 404) {
        on_refused(c, reply);
        return;
    }
    found_etag(reply, etag);
    s3_own_etag(c->r, &c->hash, ours);
    c->s3->opaque_etags |= strcmp(etag, c->r->object.etag) == 0;
    if (strcmp(etag, ours) == 0)
        cloud_request_set(&c->r->object.etag, etag);
    if (strcmp(etag, c->r->object.etag) == 0)
        s3_call_done(c);
    else
        s3_call_end(c, -EBADMSG, "The provider's answer is about another version than the one that was sent, and so is "
                    "what lies there now.");
}

static void on_received(struct s3_call *c)
{
    struct error e = { 0 };
    int verdict;

    if (c->received != c->expected) {
        on_unusable(c, HTTP_LOST);
        return;
    }
    verdict = cloud_delivered(c->r, &e);
    if (verdict && verdict != -ECANCELED)
        s3_get_anew(c);
    if (verdict == 0)
        s3_call_done(c);
    else if (verdict > 0)
        s3_call_again(c, S3_MAIN);
    else if (verdict != -ECANCELED)
        retry_or_end(c, &e);
}

static void on_taken(struct s3_call *c, const struct http_reply *reply)
{
    struct cloud_request *r = c->r;
    int result;

    if (c->row->streams) {
        on_received(c);
        return;
    }
    result = c->row->parse(reply, r);
    if (result == 0) {
        on_stored(c);
        return;
    }
    if (result < 0)
        cloud_request_reset(r);
    c->tries = result > 0 ? 0 : c->tries;
    if (result > 0)
        s3_call_again(c, S3_MAIN);
    else if (result == -EREMOTEIO)
        on_refused(c, reply);
    else
        on_unusable(c, result == -EPIPE ? HTTP_LOST : HTTP_GARBLED);
}

static void on_main(struct s3_call *c, const struct http_reply *reply)
{
    if (is_success(reply))
        on_taken(c, reply);
    else
        on_refused(c, reply);
}

/* The object is stored, whatever becomes of this. */
static void on_probed(struct s3_call *c, const struct http_reply *reply)
{
    c->s3->checks_absent |= reply->status == 412;
    c->s3->no_conditions |= reply->status == 501;
    c->s3->probed = is_success(reply) || reply->status == 412;
    if (is_success(reply))
        (void)c->row->parse(reply, c->r);
    s3_call_done(c);
}

/* Swift answers 501 to conditions on PUT, others ignore them: then we look first. Between the look and the
 * change another writer may still slip in; that window is what such a server leaves us. */
static void on_guard(struct s3_call *c, const struct http_reply *reply)
{
    const struct cloud_request *r = c->r;
    char etag[S3_ETAG_MAX + 1];

    if (!is_success(reply) && (reply->status != 404 || c->row->conditions == S3_SOURCE)) {
        on_refused(c, reply);
        return;
    }
    found_etag(reply, etag);
    if (r->if_match ? etag[0] && strcmp(etag, r->if_match) == 0 : reply->status == 404) {
        c->guarded = true;
        s3_call_again(c, S3_MAIN);
        return;
    }
    (void)error_set(&c->refusal, -ESTALE, "%s/%s has changed in the cloud meanwhile.", r->bucket, c->message.key);
    if (c->unsure && !c->confirmed && c->row->conditions == S3_KEY)
        s3_call_again(c, S3_CONFIRM);
    else
        end_with(c, &c->refusal);
}

static void on_located(struct s3_call *c, const struct http_reply *reply)
{
    const char *region = pairs_get(&reply->headers, "x-amz-bucket-region");

    if (!region || !s3_region_valid(region) || strcmp(region, c->region) == 0) {
        end_with(c, &c->refusal);
        return;
    }
    s3_region_learn(c->s3, c->r->bucket, region);
    s3_call_again(c, S3_MAIN);
}

static void on_confirmed(struct s3_call *c, const struct http_reply *reply)
{
    struct cloud_request *r = c->r;
    char etag[S3_ETAG_MAX + 1], ours[S3_ETAG_MAX + 1];

    if (!is_success(reply) && reply->status != 404) {
        on_refused(c, reply);
        return;
    }
    c->confirmed = true;
    found_etag(reply, etag);
    s3_own_etag(r, &c->hash, ours);
    if (!etag[0] || strcmp(etag, ours) != 0) {
        end_with(c, &c->refusal);
        return;
    }
    cloud_request_set(&r->object.key, r->key);
    cloud_request_set(&r->object.etag, etag);
    r->object.size = r->body.length;
    s3_call_done(c);
}

/* Another process of ours restarts: it answers soon. */
static bool passes(int code)
{
    return code == -ECONNRESET || code == -ENOTCONN || code == -EAGAIN;
}

void s3_call_answered(struct s3_call *c, const struct http_reply *reply, const struct error *e)
{
    static void (*const answers[])(struct s3_call *, const struct http_reply *) = {
        [S3_MAIN] = on_main,
        [S3_GUARD] = on_guard,
        [S3_LOCATE] = on_located,
        [S3_CONFIRM] = on_confirmed,
        [S3_PROBE] = on_probed,
        [S3_VERIFY] = on_verified,
    };

    c->unsure |= reply && reply->repeated && c->step == S3_MAIN;
    if (reply && reply->fault == HTTP_ANSWERED)
        answers[c->step](c, reply);
    else if (c->step == S3_PROBE)
        s3_call_done(c);
    else if (reply)
        on_fault(c, reply);
    else if (passes(e->code))
        retry_or_end(c, e);
    else
        end_with(c, e);
}

/* --- beginning -------------------------------------------------------------------------------------- */

void s3_call_start(struct s3 *s, struct cloud_request *r, const struct s3_row *row)
{
    struct s3_call *c = xcalloc(1, sizeof(*c));

    c->s3 = s;
    c->r = r;
    c->row = row;
    r->driver = c;
    if (r->deadline_ms)
        c->deadline = loop_timer(s->cloud->loop, r->deadline_ms, on_deadline, c);
    take_step(c);
}
