/* Life and replies of an exchange. */
#include "frontd/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/json_pb.h"
#include "common/log.h"
#include "frontd/audit.h"
#include "frontd/feeds.h"

enum { FIELDS_MAX = 8192, REFUSALS_LOGGED = 20 };

/* --- life ---------------------------------------------------------------------------------- */

static void free_exchange(struct exchange *x)
{
    if (x->release)
        x->release(x);
    route_match_free(&x->match);
    query_free(&x->query);
    free(x);
}

/* Other users of the machine must not be able to fill the log: of what they are refused in one second the first
 * are logged, the others counted. */
static bool is_logged(const struct exchange *x)
{
    struct frontd *f = x->frontd;
    int64_t now = loop_now_ns();

    if (x->status != 401)
        return true;
    if (now - f->refusals_since_ns > 1000000000) {
        if (f->refusals > REFUSALS_LOGGED)
            LOG(LOG_NOTICE, "refusals_not_logged", "number=%u", f->refusals - REFUSALS_LOGGED);
        f->refusals_since_ns = now;
        f->refusals = 0;
    }
    return ++f->refusals <= REFUSALS_LOGGED;
}

/* That somebody read something and got it is of interest to who looks for a fault alone. */
static int weight(const struct exchange *x)
{
    bool reads = x->match.route && x->match.route->policy & ROUTE_READS;

    return reads && x->status >= 200 && x->status < 300 ? LOG_DEBUG : LOG_INFO;
}

static void log_request(const struct exchange *x, const char *event)
{
    const struct http_head *h = http_request_head(x->http);
    const struct peer *p = http_request_peer(x->http);

    if (!is_logged(x))
        return;
    LOG_TRACE(weight(x), x->trace, event, "method=%s", h->method_name, "path=%s", h->path, "status=%d", x->status,
              "uid=%d", p->known ? (int)p->uid : -1, "ms=%d", (int)((loop_now_ns() - x->started_ns) / 1000000));
}

/* What was carried out is told to those who listen. */
static void conclude(struct exchange *x)
{
    log_request(x, "request");
    feeds_tell_call(x->frontd->feeds, x);
}

static void on_gone(void *arg)
{
    struct exchange *x = arg;

    log_request(x, "client_gone");
    audit_end(x, NULL);
    x->http = NULL;
    if (x->call) {
        ipc_cancel(x->asked, x->call);
        x->waiting = false;
    }
    /* A call that failed at once cannot be withdrawn; its answer frees the exchange. */
    if (!x->waiting)
        free_exchange(x);
}

static void on_drained(void *arg)
{
    struct exchange *x = arg;

    if (x->drained)
        x->drained(x);
}

struct exchange *exchange_new(struct frontd *f, struct http_request *r)
{
    struct exchange *x = xcalloc(1, sizeof(*x));

    x->frontd = f;
    x->http = r;
    x->trace = ipc_trace_new();
    x->started_ns = loop_now_ns();
    http_request_watch(r, &(struct http_watch){ .gone = on_gone, .drained = on_drained, .arg = x });
    return x;
}

/* --- asking -------------------------------------------------------------------------------- */

static void ask_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct exchange *x = arg;

    x->call = 0;
    x->waiting = false;
    if (x->http)
        x->answered(x, e, reply, fds);
    else
        free_exchange(x);
}

void exchange_ask(struct exchange *x, enum role role, Lf__Envelope *request, exchange_answer_fn *answered)
{
    uint64_t deadline_ms = (uint64_t)x->frontd->config->ipc_timeout_seconds * 1000;

    request->has_trace = true;
    request->trace = x->trace;
    x->asked = x->frontd->peers[role];
    x->answered = answered;
    x->waiting = true;
    x->call = ipc_call(x->asked, request, NULL, 0, deadline_ms, ask_done, x);
}

/* --- replies ------------------------------------------------------------------------------- */

/* The fields of a reply to a page of an allowed origin. The origin is the one of the configuration. */
static void add_cors(const struct exchange *x, struct text *fields)
{
    if (!x->allow_origin)
        return;
    http_field_add(fields, "Access-Control-Allow-Origin", x->allow_origin);
    http_field_add(fields, "Access-Control-Expose-Headers", "error-code, Content-Range, ETag");
}

static void copy_fields(const struct text *from, struct text *to)
{
    if (from && from->len)
        text_add(to, from->data, from->len);
}

static void reply(struct exchange *x, struct http_reply *r, const char *error)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(FIELDS_MAX);

    copy_fields(r->fields, &fields);
    add_cors(x, &fields);
    r->fields = &fields;
    x->status = r->status;
    audit_end(x, error);
    conclude(x);
    http_reply(x->http, r);
    free_exchange(x);
}

void exchange_json(struct exchange *x, struct json_object *value)
{
    size_t length;
    const char *text = json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                         &length);

    reply(x, &(struct http_reply){ .status = text ? 200 : 500,
                                   .type = text ? "application/json" : NULL,
                                   .body = text,
                                   .length = text ? length : 0 }, NULL);
    json_object_put(value);
}

void exchange_bytes(struct exchange *x, const char *type, const void *bytes, size_t n)
{
    reply(x, &(struct http_reply){ .status = 200, .type = type, .body = bytes, .length = n }, NULL);
}

void exchange_text(struct exchange *x, const char *type, const struct text *body)
{
    exchange_bytes(x, type, body->data, body->len);
}

void exchange_status(struct exchange *x, int status, const struct text *fields)
{
    reply(x, &(struct http_reply){ .status = status, .fields = fields }, NULL);
}

void exchange_empty(struct exchange *x)
{
    exchange_status(x, 200, NULL);
}

/* {"type":"DUPLICATE","status":499,"errors":{"DUPLICATE":["..."]}} */
static struct json_object *problem_body(int status, const char *type, const char *sentence)
{
    struct json_object *o = json_object_new_object(), *errors = json_object_new_object(),
                       *list = json_object_new_array();

    (void)json_object_array_add(list, json_string(sentence));
    (void)json_object_object_add(errors, type, list);
    (void)json_object_object_add(o, "type", json_object_new_string(type));
    (void)json_object_object_add(o, "status", json_object_new_int(status));
    (void)json_object_object_add(o, "errors", errors);
    return o;
}

static void problem(struct exchange *x, int status, const char *type, const char *sentence, const struct text *more)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(FIELDS_MAX);
    struct json_object *o = problem_body(status, type, sentence);
    size_t length;
    const char *body = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                         &length);

    http_field_add(&fields, "error-code", type);
    copy_fields(more, &fields);
    reply(x, &(struct http_reply){ .status = status,
                                   .type = "application/problem+json",
                                   .fields = &fields,
                                   .body = body,
                                   .length = length }, type);
    json_object_put(o);
}

void exchange_fail(struct exchange *x, const struct error *e)
{
    const struct error_meaning *m = error_meaning(e->code);

    if (m->http_status == 500) { /* the client is not told why, so the log is */
        LOG_TRACE(LOG_ERR, x->trace, "request_failed", "error=%s", error_text(e));
        exchange_status(x, 500, NULL);
    } else {
        problem(x, m->http_status, m->type, error_text(e), NULL);
    }
}

void exchange_refuse(struct exchange *x, struct http_refusal why, const struct text *fields)
{
    static const struct {
        int status;
        const char *type;
    } types[] = { { 401, "AUTH" }, { 403, "ACCESS" }, { 404, "NOT_FOUND" } };
    const char *type = "DEFAULT";

    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].status == why.status)
            type = types[i].type;
    if (why.status == 500)
        exchange_status(x, 500, fields);
    else
        problem(x, why.status, type, why.text, fields);
}

void exchange_begin(struct exchange *x, int status, const char *type, const struct text *fields, int64_t length)
{
    CLEANUP(text_free) struct text all = TEXT_INIT(FIELDS_MAX);

    copy_fields(fields, &all);
    add_cors(x, &all);
    x->status = status;
    audit_end(x, NULL);
    http_reply_begin(x->http, &(struct http_reply){ .status = status, .type = type, .fields = &all }, length);
}

void exchange_end(struct exchange *x)
{
    conclude(x);
    http_reply_end(x->http);
    free_exchange(x);
}

void exchange_cut(struct exchange *x, const char *why)
{
    LOG_TRACE(LOG_WARNING, x->trace, "reply_cut", "reason=%s", why);
    log_request(x, "request");
    http_reply_cut(x->http);
    free_exchange(x);
}

void exchange_switch(struct exchange *x, const struct text *fields)
{
    x->status = 101;
    log_request(x, "request");
    http_request_watch(x->http, &(struct http_watch){ 0 });
    http_reply_switch(x->http, fields);
    free_exchange(x);
}
