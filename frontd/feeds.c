/* Frames by their kind, and the subscription at syncd. */
#include "frontd/feeds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/json_pb.h"
#include "common/log.h"
#include "frontd/call.h"
#include "frontd/hub.h"
#include "frontd/upgrade.h"

enum { TYPE_PROGRESS = 1, TYPE_USER = 2, TYPE_APP = 4, STATE_IGNORE = 16 };
enum { ADDRESS_MAX = 4096, ORIGIN_MAX = 4096, METHOD_MAX = 16, FIELDS_MAX = 1024 };

static const unsigned telling_methods = 1u << HTTP_POST | 1u << HTTP_PUT | 1u << HTTP_DELETE;

static const uint64_t id_max = UINT64_C(1) << 53;

struct feeds {
    struct frontd *frontd;
    struct hub *notification, *statechange;
    uint64_t watching;          /* the question to syncd; 0: none is under way */
};

/* --- frames --------------------------------------------------------------------------------------------------- */

static void put(struct json_object *o, const char *key, struct json_object *value)
{
    (void)json_object_object_add(o, key, value);
}

static void put_missing(struct json_object *o, const char *key, struct json_object *value)
{
    if (json_object_object_get_ex(o, key, NULL))
        json_object_put(value);
    else
        put(o, key, value);
}

static struct json_object *from_message(const ProtobufCMessage *m)
{
    struct json_object *o = json_from_message(m, JSON_PASCAL);

    if (!o)
        abort();
    return o;
}

static struct json_object *envelope(int type, struct json_object *data)
{
    struct json_object *o = json_object_new_object();

    put(o, "Type", json_object_new_int(type));
    put(o, "Data", data);
    return o;
}

static void put_missed(struct json_object *o, uint64_t missed)
{
    if (missed)
        put(o, "Missed", json_object_new_int64((int64_t)missed));
}

static struct json_object *notification_gap(uint64_t missed)
{
    struct json_object *data = json_object_new_object();

    put(data, "Kind", json_object_new_string("gap"));
    put(data, "Text", json_object_new_string("Something that happened before this was not told; what is shown of it "
                                             "must be asked for anew."));
    put_missed(data, missed);
    return envelope(TYPE_USER, data);
}

static struct json_object *statechange_gap(uint64_t missed)
{
    struct json_object *o = json_object_new_object();

    put(o, "Path", json_object_new_string(""));
    put(o, "StorageName", json_object_new_string(""));
    put(o, "State", json_object_new_int(STATE_IGNORE));
    put_missed(o, missed);
    return o;
}

/* --- what syncd says ------------------------------------------------------------------------------------------ */

static void tell_gaps(struct feeds *f)
{
    hub_tell_gap(f->notification);
    hub_tell_gap(f->statechange);
}

static void on_progress(struct feeds *f, const Lf__Envelope *env)
{
    struct json_object *data = from_message(&env->progressed->progress->base);

    put_missing(data, "Error", NULL);
    hub_tell(f->notification, envelope(TYPE_PROGRESS, data));
}

static void on_state(struct feeds *f, const Lf__Envelope *env)
{
    struct json_object *o = from_message(&env->state_changed->change->base);

    put_missing(o, "StorageName", json_object_new_string(""));
    hub_tell(f->statechange, o);
}

static void on_notice(struct feeds *f, const Lf__Envelope *env)
{
    hub_tell(f->notification, envelope(TYPE_USER, from_message(&env->noticed->notice->base)));
}

/* Of both kinds together, so neither path knows its share. */
static void on_missed(struct feeds *f, const Lf__Envelope *env)
{
    (void)env;
    tell_gaps(f);
}

void feeds_event(const Lf__Envelope *event, int *fds, void *arg)
{
    static const struct {
        Lf__Envelope__BodyCase body;
        void (*take)(struct feeds *f, const Lf__Envelope *env);
    } rows[] = {
        { LF__ENVELOPE__BODY_PROGRESSED, on_progress },
        { LF__ENVELOPE__BODY_STATE_CHANGED, on_state },
        { LF__ENVELOPE__BODY_NOTICED, on_notice },
        { LF__ENVELOPE__BODY_EVENTS_MISSED, on_missed },
    };

    (void)fds;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].body == event->body_case)
            rows[i].take(arg, event);
}

static void watch_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct feeds *f = arg;

    (void)fds;
    f->watching = 0;
    if (reply)
        tell_gaps(f);
    else if (e->code != -ECANCELED)
        LOG(LOG_WARNING, "events_not_watched", "error=%s", error_text(e));
}

/* One that is under way is repeated by itself. */
void feeds_connected(void *arg)
{
    struct feeds *f = arg;
    Lf__EventsWatch watch = LF__EVENTS_WATCH__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_EVENTS_WATCH, &watch.base);

    if (!f->watching)
        f->watching = ipc_call(f->frontd->peers[ROLE_SYNCD], &env, NULL, 0, 0, watch_done, f);
}

/* --- what was done through the API ---------------------------------------------------------------------------- */

static struct json_object *cut_string(const char *s, size_t max)
{
    CLEANUP_FREE char *cut = s ? strndup(s, max) : NULL;

    return json_string(cut ? cut : "");
}

void feeds_tell_app(struct feeds *f, const struct feeds_app *app)
{
    struct json_object *data = json_object_new_object();

    put(data, "Operation", json_object_new_string(app->operation));
    put(data, "EndpointAddress", cut_string(app->address, ADDRESS_MAX));
    put(data, "HttpMethod", cut_string(app->method, METHOD_MAX));
    put(data, "Origin", cut_string(app->origin, ORIGIN_MAX));
    if (app->has_data)
        put(data, "Data", app->data);
    hub_tell(f->notification, envelope(TYPE_APP, data));
}

static void tell_operation(struct feeds *f, const char *operation, const struct exchange *x)
{
    const struct http_head *h = http_request_head(x->http);

    feeds_tell_app(f, &(struct feeds_app){ .operation = operation,
                                           .address = h->path,
                                           .method = h->method_name,
                                           .origin = http_head_field(h, "X-App-Origin") });
}

void feeds_tell_call(struct feeds *f, const struct exchange *x)
{
    const struct http_head *h = http_request_head(x->http);

    if (x->match.route && telling_methods & 1u << h->method && x->status >= 200 && x->status < 300)
        tell_operation(f, "EndpointExecution", x);
}

void feeds_tell_exit(struct feeds *f, const struct exchange *x)
{
    if (x)
        tell_operation(f, "AppExit", x);
    else
        feeds_tell_app(f, &(struct feeds_app){ .operation = "AppExit" });
}

/* --- who wants to hear it ------------------------------------------------------------------------------------- */

static bool is_refused(struct exchange *x)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(FIELDS_MAX);
    struct http_refusal why = upgrade_check(http_request_head(x->http));

    if (!why.status && !http_may_switch(x->http))
        why = HTTP_REFUSE(503, "There are as many WebSockets as there may be; see MaxWebSockets.");
    if (!why.status)
        return false;
    http_field_add(&fields, "Upgrade", "websocket");
    http_field_add(&fields, "Sec-WebSocket-Version", "13");
    exchange_refuse(x, why, why.status == 426 ? &fields : NULL);
    return true;
}

static void serve(struct exchange *x, struct hub *h)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(FIELDS_MAX);
    const char *text = query_get(&x->query, "since");
    struct http_request *r = x->http;
    char accept[UPGRADE_ACCEPT_SIZE];
    uint64_t since = 0;
    struct error e;

    if (text && !text_number(text, id_max, &since)) {
        (void)error_set(&e, -EINVAL, "since must be the Id of a frame.");
        exchange_fail(x, &e);
        return;
    }
    if (is_refused(x))
        return;
    upgrade_accept(http_request_head(r), accept);
    http_field_add(&fields, "Upgrade", "websocket");
    http_field_add(&fields, "Sec-WebSocket-Accept", accept);
    exchange_switch(x, &fields);
    hub_join(h, r, text ? &since : NULL);
}

void notification_serve(struct exchange *x)
{
    serve(x, x->frontd->feeds->notification);
}

void statechange_serve(struct exchange *x)
{
    serve(x, x->frontd->feeds->statechange);
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static struct hub *new_hub(struct frontd *f, const char *path, struct json_object *(*gap)(uint64_t missed))
{
    return hub_new(&(struct hub_spec){ .loop = f->loop,
                                       .path = path,
                                       .frames_kept = (size_t)f->config->events_kept,
                                       .bytes_kept = (size_t)f->config->event_bytes_kept,
                                       .ping_seconds = (unsigned)f->config->web_socket_ping_seconds,
                                       .gap = gap });
}

struct feeds *feeds_new(struct frontd *frontd)
{
    struct feeds *f = xcalloc(1, sizeof(*f));

    f->frontd = frontd;
    f->notification = new_hub(frontd, "/notification", notification_gap);
    f->statechange = new_hub(frontd, "/statechange", statechange_gap);
    return f;
}

static void add_samples(const char *path, const struct hub *h, struct samples *s)
{
    struct hub_count n = hub_count(h);

    SAMPLE(s, METRIC_SOCKETS, n.clients, path);
    SAMPLE(s, METRIC_SOCKET_FRAMES, n.frames, path);
    SAMPLE(s, METRIC_SOCKET_MISSED, n.missed, path);
}

void feeds_samples(const struct feeds *f, struct samples *s)
{
    add_samples("/notification", f->notification, s);
    add_samples("/statechange", f->statechange, s);
}

void feeds_close(struct feeds *f)
{
    hub_close(f->notification);
    hub_close(f->statechange);
}

void feeds_free(struct feeds *f)
{
    if (!f)
        return;
    hub_free(f->notification);
    hub_free(f->statechange);
    free(f);
}
