/* Lists that come in pages. The array is sent while it is asked for, so no list has to fit into memory; the next
 * page is asked for when the client has taken most of what is there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/json_pb.h"
#include "frontd/call.h"

struct list {
    ProtobufCMessage *request;  /* the row's, with the page that comes next */
    struct evbuffer *out;
    uint64_t sent;              /* bytes of JSON */
    bool begun, some;           /* the head is out; an element is out */
};

static void release(struct exchange *x)
{
    struct list *l = x->state;

    protobuf_c_message_free_unpacked(l->request, NULL);
    if (l->out)
        evbuffer_free(l->out);
    free(l);
}

static void ask(struct exchange *x);

/* The token of the next page, NULL after the last. */
static const char *next_page(const Lf__Envelope *reply)
{
    const ProtobufCMessage *m = call_body(reply);
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "next_page");
    const char *token = *(char *const *)(const void *)((const char *)m + f->offset);

    return token && *token ? token : NULL;
}

static void add_text(struct list *l, const char *text)
{
    (void)evbuffer_add(l->out, text, strlen(text));
}

static const char *text_of(struct json_object *o)
{
    return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* The list inside a page: the page itself, or what it has as data. */
static struct json_object *list_of(struct json_object *page)
{
    return json_object_is_type(page, json_type_array) ? page : json_object_object_get(page, "data");
}

static void add_elements(struct list *l, struct json_object *page)
{
    struct json_object *array = list_of(page);

    for (size_t i = 0; i < json_object_array_length(array); i++) {
        add_text(l, l->some ? "," : "");
        add_text(l, text_of(json_object_array_get_idx(array, i)));
        l->some = true;
    }
}

/* Closes the list, and the object around it after its other members. */
static void add_end(struct list *l, struct json_object *page)
{
    add_text(l, "]");
    if (list_of(page) == page)
        return;
    json_object_object_foreach (page, key, value) {
        if (strcmp(key, "data") == 0)
            continue;
        (void)evbuffer_add_printf(l->out, ",\"%s\":", key);
        add_text(l, text_of(value));
    }
    add_text(l, "}");
}

static void begin(struct exchange *x, struct json_object *page)
{
    struct list *l = x->state;

    l->begun = true;
    add_text(l, list_of(page) == page ? "[" : "{\"data\":[");
    exchange_begin(x, 200, "application/json", NULL, -1);
}

static void send_page(struct exchange *x, struct json_object *page, bool last)
{
    struct list *l = x->state;

    add_elements(l, page);
    if (last)
        add_end(l, page);
    l->sent += evbuffer_get_length(l->out);
    if (l->sent > (uint64_t)x->frontd->config->max_reply_bytes) {
        exchange_cut(x, "the list is longer than MaxReplyBytes");
        return;
    }
    http_reply_add(x->http, l->out);
    if (last || http_request_head(x->http)->method == HTTP_HEAD)
        exchange_end(x);
    else if (http_reply_waiting(x->http) <= HTTP_LOW_WATER)
        ask(x);
}

static void fail(struct exchange *x, const struct error *e)
{
    const struct list *l = x->state;

    if (l->begun)
        exchange_cut(x, error_text(e));
    else
        exchange_fail(x, e);
}

static void ask_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    struct list *l = x->state;
    struct json_object *page;
    const char *next;
    struct error wrong;

    (void)fds;
    page = reply ? json_from_field(call_body(reply), x->match.route->view, JSON_CAMEL) : NULL;
    if (!page) {
        fail(x, reply ? &(struct error){ .code = -ENOMEM } : e);
        return;
    }
    next = next_page(reply);
    if (!l->begun && !next) {
        exchange_json(x, page);
        return;
    }
    if (!l->begun)
        begin(x, page);
    if (next && json_set_field(l->request, "page", next, &wrong) < 0)
        exchange_cut(x, error_text(&wrong));
    else
        send_page(x, page, !next);
    json_object_put(page);
}

/* Goes on when no page is under way. */
static void on_drained(struct exchange *x)
{
    if (!x->waiting)
        ask(x);
}

static void ask(struct exchange *x)
{
    struct list *l = x->state;
    Lf__Envelope env = call_envelope(x->match.route->request, l->request);

    exchange_ask(x, x->match.route->role, &env, ask_done);
}

void list_serve(struct exchange *x)
{
    struct list *l = xcalloc(1, sizeof(*l));
    struct error e = { 0 };

    x->state = l;
    x->release = release;
    x->drained = on_drained;
    l->out = evbuffer_new();
    if (!l->out)
        abort();
    if (call_message(x, &l->request, &e) < 0)
        exchange_fail(x, &e);
    else
        ask(x);
}
