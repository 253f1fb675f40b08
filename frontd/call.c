/* From a request to a message, and from a message to a reply. Knows no endpoint by name. */
#include "frontd/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json_pb.h"

static void free_message(ProtobufCMessage **m)
{
    protobuf_c_message_free_unpacked(*m, NULL);
}

static void free_json(struct json_object **o)
{
    json_object_put(*o);
}

/* --- the request --------------------------------------------------------------------------- */

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *d, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(d, name);
}

static int parse_body(struct exchange *x, struct json_object **ret, struct error *e)
{
    struct evbuffer *body = http_request_body(x->http);
    size_t len = evbuffer_get_length(body);
    const char *text = (const char *)evbuffer_pullup(body, -1);

    return json_parse(text ? text : "", len, ret, e);
}

/* A message of type d with nothing set. */
static int new_message(const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret, struct error *e)
{
    *ret = malloc(d->sizeof_message);
    if (!*ret)
        return error_set(e, -ENOMEM, "There is no memory left.");
    protobuf_c_message_init(d, *ret);
    return 0;
}

static int read_body(struct exchange *x, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret, struct error *e)
{
    CLEANUP(free_json) struct json_object *o = NULL;
    const ProtobufCFieldDescriptor *f;
    int r;

    if ((r = parse_body(x, &o, e)) < 0)
        return r;
    if (strcmp(x->match.route->body, "*") == 0)
        return json_to_message(o, d, ret, e);
    if ((r = new_message(d, ret, e)) < 0)
        return r;
    f = field_of(d, x->match.route->body);
    return json_to_message(o, f->descriptor, (ProtobufCMessage **)(void *)((char *)*ret + f->offset), e);
}

static bool is_required(const ProtobufCMessage *m, const char *parameter)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        char name[ROUTE_NAME_SIZE];

        json_name(m->descriptor->fields[i].name, JSON_CAMEL, name, sizeof(name));
        if (strcmp(name, parameter) == 0)
            return m->descriptor->fields[i].label == PROTOBUF_C_LABEL_REQUIRED;
    }
    return false;
}

static int set_query(const struct exchange *x, ProtobufCMessage *m, struct error *e)
{
    const char *list = x->match.route->query;
    char name[ROUTE_NAME_SIZE];

    while (route_take_name(&list, name)) {
        const char *value = query_get(&x->query, name);
        int r = 0;

        if ((!value || !*value) && is_required(m, name))
            r = error_set(e, -EINVAL, "The query parameter %s is missing.", name);
        else if (value)
            r = json_set_field(m, name, value, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_path(const struct exchange *x, ProtobufCMessage *m, struct error *e)
{
    for (size_t i = 0; i < x->match.n_params; i++) {
        int r = json_set_field(m, x->match.params[i].name, x->match.params[i].value, e);

        if (r < 0)
            return r;
    }
    return 0;
}

int call_message(struct exchange *x, ProtobufCMessage **ret, struct error *e)
{
    const ProtobufCMessageDescriptor *d = route_request(x->match.route);
    CLEANUP(free_message) ProtobufCMessage *m = NULL;
    int r = x->match.route->body ? read_body(x, d, &m, e) : new_message(d, &m, e);

    if (r < 0 || (r = set_path(x, m, e)) < 0 || (r = set_query(x, m, e)) < 0)
        return r;
    *ret = take_ptr(m);
    return 0;
}

/* The members of a oneof share one place. */
Lf__Envelope call_envelope(Lf__Envelope__BodyCase body, ProtobufCMessage *m)
{
    Lf__Envelope env = LF__ENVELOPE__INIT;

    env.body_case = body;
    env.hello = (Lf__Hello *)(void *)m;
    return env;
}

const ProtobufCMessage *call_body(const Lf__Envelope *env)
{
    return route_message(env->body_case) ? (const ProtobufCMessage *)(const void *)env->hello : NULL;
}

/* --- asking -------------------------------------------------------------------------------- */

/* The field of the reply that is the answer; null where it is absent. */
static void answer(struct exchange *x, const ProtobufCMessage *m)
{
    CLEANUP(text_free) struct text text = TEXT_INIT((size_t)x->frontd->config->max_reply_bytes);

    if (!json_write_field(m, x->match.route->view, JSON_CAMEL, &text))
        (void)text_puts(&text, "null");
    if (text.error)
        exchange_fail(x, &(struct error){ .code = text.error });
    else
        exchange_text(x, "application/json", &text);
}

static void call_serve_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (!reply)
        exchange_fail(x, e);
    else if (!x->match.route->view)
        exchange_empty(x);
    else
        answer(x, call_body(reply));
}

void call_serve(struct exchange *x)
{
    CLEANUP(free_message) ProtobufCMessage *m = NULL;
    struct error e = { 0 };
    Lf__Envelope env;

    if (call_message(x, &m, &e) < 0) {
        exchange_fail(x, &e);
        return;
    }
    env = call_envelope(x->match.route->request, m);
    exchange_ask(x, x->match.route->role, &env, call_serve_done);
}

void missing_serve(struct exchange *x)
{
    struct error e;

    (void)error_set(&e, -EOPNOTSUPP, "%s", x->match.route->missing);
    exchange_fail(x, &e);
}
