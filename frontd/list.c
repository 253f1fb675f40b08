/* Lists that come in pages. The array is sent while it is asked for, so no list has to fit into memory; the next
 * page is asked for when the client has taken most of what is there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/json_pb.h"
#include "frontd/call.h"
#include "frontd/kept.h"

static const char JSON[] = "application/json";

struct list {
    ProtobufCMessage *request;  /* the row's, with the page that comes next */
    struct kept *kept;          /* what the request names as known; NULL: nothing */
    struct evbuffer *out;
    uint64_t sent;              /* bytes of JSON */
    bool begun, some;           /* the head is out; an element is out */
};

static void release(struct exchange *x)
{
    struct list *l = x->state;

    protobuf_c_message_free_unpacked(l->request, NULL);
    kept_unref(l->kept);
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

static void put(struct list *l, const char *text)
{
    (void)evbuffer_add(l->out, text, strlen(text));
}

/* Text that has become too long counts as longer than all that may be sent. */
static void put_text(struct list *l, const struct text *text)
{
    if (text->error)
        l->sent = UINT64_MAX / 2;
    else if (text->len)
        (void)evbuffer_add(l->out, text->data, text->len);
}

/* The repeated field that is the list: the row's view itself, or what the message there has as data, which then has
 * other members too. */
static const ProtobufCMessage *holder(const struct exchange *x, const Lf__Envelope *reply, const char **ret_name)
{
    const ProtobufCMessage *m = call_body(reply);
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, x->match.route->view);

    *ret_name = f->label == PROTOBUF_C_LABEL_REPEATED ? x->match.route->view : "data";
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return m;
    return *(ProtobufCMessage *const *)(const void *)((const char *)m + f->offset);
}

static bool is_bare(const struct exchange *x, const char *name)
{
    return strcmp(name, x->match.route->view) == 0;
}

static void add_elements(struct exchange *x, const Lf__Envelope *reply)
{
    CLEANUP(text_free) struct text text = TEXT_INIT((size_t)x->frontd->config->max_reply_bytes);
    struct list *l = x->state;
    const char *name;
    const ProtobufCMessage *m = holder(x, reply, &name);

    if (json_write_elements(m, name, JSON_CAMEL, &text) == 0)
        return;
    put(l, l->some ? "," : "");
    put_text(l, &text);
    l->some = true;
}

static void add_beginning(struct exchange *x, const Lf__Envelope *reply)
{
    const char *name;

    (void)holder(x, reply, &name);
    put(x->state, is_bare(x, name) ? "[" : "{\"data\":[");
}

/* Closes the list, and the object around it after its other members. */
static void add_end(struct exchange *x, const Lf__Envelope *reply)
{
    CLEANUP(text_free) struct text text = TEXT_INIT((size_t)x->frontd->config->max_reply_bytes);
    struct list *l = x->state;
    const char *name;
    const ProtobufCMessage *m = holder(x, reply, &name);

    put(l, "]");
    if (is_bare(x, name))
        return;
    if (json_write_members(m, name, JSON_CAMEL, &text))
        put(l, ",");
    put_text(l, &text);
    put(l, "}");
}

/* A list of one page has a length. */
static void send_whole(struct exchange *x, const Lf__Envelope *reply)
{
    struct list *l = x->state;
    size_t n = evbuffer_get_length(l->out);
    const void *json = evbuffer_pullup(l->out, -1);

    if (!json || l->sent + n > (uint64_t)x->frontd->config->max_reply_bytes) {
        exchange_fail(x, &(struct error){ .code = -EMSGSIZE });
        return;
    }
    kept_put(x->frontd, x->match.route, call_body(reply), json, n);
    exchange_bytes(x, JSON, json, n);
}

static void send_page(struct exchange *x, bool last)
{
    struct list *l = x->state;

    if (!l->begun)
        exchange_begin(x, 200, JSON, NULL, -1);
    l->begun = true;
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
    const char *next = reply ? next_page(reply) : NULL;
    struct error wrong;

    (void)fds;
    if (!reply) {
        fail(x, e);
        return;
    }
    if (kept_holds(l->kept, call_body(reply))) {
        exchange_bytes(x, JSON, l->kept->json, l->kept->n);
        return;
    }
    if (!l->begun)
        add_beginning(x, reply);
    add_elements(x, reply);
    if (!next)
        add_end(x, reply);
    if (next && json_set_field(l->request, "page", next, &wrong) < 0)
        fail(x, &wrong);
    else if (!next && !l->begun)
        send_whole(x, reply);
    else
        send_page(x, !next);
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
    if (call_message(x, &l->request, &e) < 0) {
        exchange_fail(x, &e);
        return;
    }
    l->kept = kept_name(x->frontd, x->match.route, l->request);
    ask(x);
}
