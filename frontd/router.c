/* The order in which a request is looked at: guard, path, method, listener, query, what changes need, body, handler. */
#include "frontd/router.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "frontd/audit.h"
#include "frontd/call.h"
#include "frontd/exchange.h"
#include "frontd/form_serve.h"

enum { ROUTER_FIELDS_MAX = 1024 };

/* One look at the request. False: it has been answered. */
typedef bool look_fn(struct exchange *x, const struct http_head *h);

static bool refuse(struct exchange *x, struct http_refusal why)
{
    exchange_refuse(x, why, NULL);
    return false;
}

/* True where there is nothing to refuse. */
static bool pass(struct exchange *x, struct http_refusal why)
{
    return why.status ? refuse(x, why) : true;
}

static bool look_guard(struct exchange *x, const struct http_head *h)
{
    struct guard_verdict v = guard_check(&x->frontd->guard, h, http_request_peer(x->http));

    x->allow_origin = v.allow_origin;
    return pass(x, v.refusal);
}

static bool look_path(struct exchange *x, const struct http_head *h)
{
    int r = route_find(h->path, h->method, &x->match);

    if (r == -ENOMEM)
        return refuse(x, HTTP_REFUSE(500, NULL));
    if (r < 0)
        return refuse(x, HTTP_REFUSE(400, "The path holds a wrong percent escape."));
    return x->match.methods || refuse(x, HTTP_REFUSE(404, "There is no such endpoint; GET /openapi.json lists them."));
}

/* OPTIONS tells the methods; pages of an allowed origin also get what a preflight asks for, out of the table.
 * Access-Control-Allow-Private-Network is never among it. */
static bool answer_options(struct exchange *x, const char *allow)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(ROUTER_FIELDS_MAX);

    http_field_add(&fields, "Allow", allow);
    if (x->allow_origin) {
        http_field_add(&fields, "Access-Control-Allow-Methods", allow);
        http_field_add(&fields, "Access-Control-Allow-Headers", "Content-Type, Range, X-App-Origin");
        http_field_add(&fields, "Access-Control-Max-Age", "600");
    }
    exchange_status(x, 204, &fields);
    return false;
}

static bool look_method(struct exchange *x, const struct http_head *h)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(ROUTER_FIELDS_MAX);
    char allow[ALLOW_SIZE];

    if (x->match.route)
        return true;
    route_allow(x->match.methods, allow);
    if (h->method == HTTP_OPTIONS)
        return answer_options(x, allow);
    http_field_add(&fields, "Allow", allow);
    exchange_refuse(x, HTTP_REFUSE(405, "This endpoint does not have that method; the Allow field names those it has."),
                    &fields);
    return false;
}

static bool look_listener(struct exchange *x, const struct http_head *h)
{
    (void)h;
    if (!(x->match.route->policy & ROUTE_LOCAL) || http_request_peer(x->http)->local)
        return true;
    return refuse(x, HTTP_REFUSE(403, "This is answered over the Unix socket alone, which `landfall key` uses: keys go "
                                      "over no port."));
}

static bool look_query(struct exchange *x, const struct http_head *h)
{
    int r = query_parse(h->query, &x->query);

    if (r == -ENOMEM)
        return refuse(x, HTTP_REFUSE(500, NULL));
    if (r == -E2BIG)
        return refuse(x, HTTP_REFUSE(400, "The query has too many parameters."));
    return r == 0 || refuse(x, HTTP_REFUSE(400, "The query holds a wrong percent escape."));
}

static bool look_change(struct exchange *x, const struct http_head *h)
{
    if (!(x->match.route->policy & ROUTE_CHANGES))
        return true;
    return pass(x, guard_check_change(&x->frontd->guard, h));
}

/* Of those that the guard let through: others cost nobody anything. */
static bool look_rate(struct exchange *x, const struct http_head *h)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(ROUTER_FIELDS_MAX);

    (void)h;
    if (!(x->match.route->policy & ROUTE_CHANGES) ||
        rate_take(&x->frontd->changes, http_request_peer(x->http)->uid, loop_now_ns()))
        return true;
    http_field_add(&fields, "Retry-After", "1");
    exchange_refuse(x, HTTP_REFUSE(429, "So many calls that change something come from this user that they have to "
                                        "wait; see ChangesPerSecond."), &fields);
    return false;
}

static bool look_missing(struct exchange *x, const struct http_head *h)
{
    (void)h;
    if (!x->match.route->missing)
        return true;
    x->match.route->serve(x);
    return false;
}

static bool look_body(struct exchange *x, const struct http_head *h)
{
    const struct config *config = x->frontd->config;

    if (!(x->match.route->policy & ROUTE_FORM))
        return pass(x, guard_check_body(h, (uint64_t)config->max_body_bytes));
    http_request_take(x->http, (uint64_t)config->max_form_bytes, form_serve_body);
    return pass(x, guard_check_form(h, (uint64_t)config->max_form_bytes));
}

/* --- what http asks ------------------------------------------------------------------------ */

static bool on_head(struct http_request *r, void *arg)
{
    static look_fn *const looks[] = { look_guard,  look_path,    look_method, look_listener, look_query,
                                      look_change, look_missing, look_rate,   look_body };
    struct exchange *x = exchange_new(arg, r);
    const struct http_head *h = http_request_head(r);

    for (size_t i = 0; i < ARRAY_SIZE(looks); i++)
        if (!looks[i](x, h))
            return false;
    return true;
}

static void on_request(struct http_request *r, void *arg)
{
    struct exchange *x = http_request_watcher(r);

    (void)arg;
    audit_begin(x);
    x->match.route->serve(x);
}

static void on_refuse(struct http_request *r, struct http_refusal why, void *arg)
{
    struct exchange *x = http_request_watcher(r);

    exchange_refuse(x ? x : exchange_new(arg, r), why, NULL);
}

static void identify(int fd, struct peer *ret, void *arg)
{
    const struct frontd *f = arg;

    peer_identify(fd, f->diag, ret);
}

static bool welcomes(const struct peer *p, void *arg)
{
    const struct frontd *f = arg;

    return guard_welcomes(&f->guard, p);
}

const struct http_ops router_ops = {
    .identify = identify,
    .welcomes = welcomes,
    .head = on_head,
    .serve = on_request,
    .refuse = on_refuse,
};
