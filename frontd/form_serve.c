/* A form with a file. Its small fields are kept until all of it is here, the file's bytes go into a pipe of syncd's as
 * they come, and no faster than syncd takes them. Names of fields match without regard to case. */
#include "frontd/form_serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/json_pb.h"
#include "frontd/call.h"
#include "frontd/exchange.h"
#include "frontd/form.h"

enum { FIELD_MAX = 64 * 1024, HIGH_WATER = 512 * 1024 };

struct upload {
    struct form *form;
    Lf__UploadForm *fields;
    char name[FORM_NAME_SIZE];        /* of the field that comes; "": one that does not matter */
    struct text value;
    bool in_file, has_file, ended;
    char file_name[FORM_NAME_SIZE];
    uint64_t id, size;
    int fd;                           /* write end of the pipe; -1: none yet */
    struct event *writable;
    struct evbuffer *out;
    struct error error;               /* of a field */
};

static void release(struct exchange *x)
{
    struct upload *u = x->state;

    form_free(u->form);
    if (u->fields)
        lf__upload_form__free_unpacked(u->fields, NULL);
    text_free(&u->value);
    if (u->writable)
        event_free(u->writable);
    if (u->out)
        evbuffer_free(u->out);
    cleanup_close(&u->fd);
    free(u);
}

static void refuse(struct exchange *x, const char *sentence)
{
    exchange_refuse(x, (struct http_refusal){ 400, sentence }, NULL);
}

/* --- parts ------------------------------------------------------------------------------------ */

/* The JSON name of a field of the form; NULL: there is none of that name. */
static bool find_field(const char *given, char out[FORM_NAME_SIZE])
{
    const ProtobufCMessageDescriptor *d = &lf__upload_form__descriptor;

    for (unsigned i = 0; i < d->n_fields; i++) {
        json_name(d->fields[i].name, JSON_CAMEL, out, FORM_NAME_SIZE);
        if (strcasecmp(out, given) == 0)
            return true;
    }
    out[0] = '\0';
    return false;
}

/* Clients send a path of their own machine, or a made-up one ("C:\fakepath\a.txt"). */
static const char *last_name(const char *path)
{
    const char *name = path;

    for (const char *p = path; *p; p++)
        if (*p == '/' || *p == '\\')
            name = p + 1;
    return name;
}

static int begin_file(struct upload *u, const struct form_part *part)
{
    if (u->has_file)
        return error_set(&u->error, -EBADMSG, "The form has more than one file.");
    u->in_file = u->has_file = true;
    strcpy(u->file_name, last_name(part->filename));
    return 0;
}

static int on_part(const struct form_part *part, void *arg)
{
    struct upload *u = arg;

    text_reset(&u->value);
    u->in_file = false;
    (void)find_field(part->name, u->name);
    return strcmp(u->name, "file") == 0 ? begin_file(u, part) : 0;
}

static int on_data(const void *bytes, size_t n, void *arg)
{
    struct upload *u = arg;

    if (u->in_file) {
        u->size += n;
        return evbuffer_add(u->out, bytes, n) < 0 ? -ENOMEM : 0;
    }
    if (*u->name && text_add(&u->value, bytes, n) < 0)
        return error_set(&u->error, -EBADMSG, "The field %s of the form is too long.", u->name);
    return 0;
}

static int set_field(struct upload *u)
{
    const char *value = u->value.data ? u->value.data : "";

    if (strlen(value) != u->value.len)
        return error_set(&u->error, -EBADMSG, "The field %s of the form holds a NUL.", u->name);
    return json_set_field(&u->fields->base, u->name, value, &u->error);
}

static int on_end(void *arg)
{
    struct upload *u = arg;
    int r = 0;

    if (!u->in_file && *u->name)
        r = set_field(u);
    u->in_file = false;
    return r;
}

static const struct form_ops ops = { on_part, on_data, on_end };

/* --- the end ---------------------------------------------------------------------------------- */

static void form_done_answered(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (reply)
        exchange_empty(x);
    else
        exchange_fail(x, e);
}

static int read_account(const struct upload *u, Lf__CloudAccount **ret, struct error *e)
{
    const char *text = u->fields->cloud_account_json;
    struct json_object *o = NULL;
    ProtobufCMessage *m = NULL;
    int r;

    if (!text || !*text)
        return error_set(e, -EINVAL, "cloudAccountJson is missing.");
    r = json_parse(text, strlen(text), &o, e);
    if (r == 0)
        r = json_to_message(o, &lf__cloud_account__descriptor, &m, e);
    json_object_put(o);
    *ret = (Lf__CloudAccount *)(void *)m;
    return r;
}

static void ask_done(struct exchange *x)
{
    struct upload *u = x->state;
    Lf__FormDone done = LF__FORM_DONE__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_FORM_DONE, &done.base);
    struct error e = { 0 };

    (void)event_del(u->writable);   /* asked once: the pipe may have been found writable in this very turn */
    if (u->ended && read_account(u, &done.cloud_account, &e) < 0) {
        exchange_fail(x, &e);
        return;
    }
    done.form = u->id;
    done.size = u->size;
    done.storage_name = u->fields->storage_name;
    done.upload_path = u->fields->upload_path;
    done.file_name = u->file_name;
    done.id = u->fields->id;
    done.has_overwrite = u->fields->has_overwrite;
    done.overwrite = u->fields->overwrite;
    exchange_ask(x, ROLE_SYNCD, &env, form_done_answered);
    if (done.cloud_account)
        lf__cloud_account__free_unpacked(done.cloud_account, NULL);
}

/* --- the file's bytes ------------------------------------------------------------------------- */

/* Syncd has closed its end: it knows why. */
static void broken(struct exchange *x)
{
    http_request_want(x->http, false);
    ask_done(x);
}

static void pass_on(struct exchange *x)
{
    struct upload *u = x->state;

    int r = 0;

    while (r == 0 && evbuffer_get_length(u->out))
        r = evbuffer_write(u->out, u->fd) < 0 ? -errno : 0;
    if (r < 0 && r != -EAGAIN && r != -EINTR) {
        broken(x);
        return;
    }
    if (r == 0 && u->ended) {
        ask_done(x);
        return;
    }
    if (r < 0)
        (void)event_add(u->writable, NULL);
    http_request_want(x->http, evbuffer_get_length(u->out) < HIGH_WATER);
}

static void on_writable(int fd, short what, void *arg)
{
    (void)fd, (void)what;
    pass_on(arg);
}

static int push_all(struct upload *u, struct evbuffer *body)
{
    size_t n;
    int r = 0;

    while (r == 0 && (n = evbuffer_get_contiguous_space(body))) {
        r = form_push(u->form, evbuffer_pullup(body, (ssize_t)n), n);
        (void)evbuffer_drain(body, n);
    }
    return r;
}

/* NULL: it is as it should be. */
static const char *find_fault(const struct upload *u)
{
    if (!form_complete(u->form))
        return "The form has no end: its last boundary is missing.";
    if (!u->has_file || !*u->file_name)
        return "The form has no file: the field \"file\" is missing, or has no filename.";
    return u->size ? NULL : "The file of the form is empty.";
}

void form_serve_body(bool ended, void *exchange)
{
    struct exchange *x = exchange;
    struct upload *u = x->state;
    int r = push_all(u, http_request_body(x->http));
    const char *fault = r == 0 && ended ? find_fault(u) : NULL;

    if (r < 0 && u->error.code) {
        exchange_fail(x, &u->error);
    } else if (r < 0) {
        refuse(x, r == -E2BIG ? "The form has too many parts, or a header that is too long." :
                                "The form is malformed.");
    } else if (fault) {
        refuse(x, fault);
    } else {
        u->ended = ended;
        pass_on(x);
    }
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void form_open_answered(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    struct upload *u = x->state;

    if (!reply || evutil_make_socket_nonblocking(fds[0]) < 0) {
        exchange_fail(x, reply ? &(struct error){ .code = -EPROTO } : e);
        return;
    }
    u->id = reply->form_opened->form;
    u->fd = take_fd(&fds[0]);
    u->writable = event_new(loop_base(x->frontd->loop), u->fd, EV_WRITE, on_writable, x);
    if (!u->writable)
        abort();
    http_request_want(x->http, true);
}

void form_serve(struct exchange *x)
{
    Lf__FormOpen open = LF__FORM_OPEN__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_FORM_OPEN, &open.base);
    struct upload *u = xcalloc(1, sizeof(*u));
    char boundary[FORM_BOUNDARY_MAX + 1] = "";

    (void)form_boundary(http_head_field(http_request_head(x->http), "Content-Type"), boundary);
    u->fd = -1;
    u->value = (struct text)TEXT_INIT(FIELD_MAX);
    u->form = form_new(boundary, &ops, u);
    u->fields = xcalloc(1, sizeof(*u->fields));
    lf__upload_form__init(u->fields);
    u->out = evbuffer_new();
    if (!u->out)
        abort();
    x->state = u;
    x->release = release;
    exchange_ask(x, ROLE_SYNCD, &env, form_open_answered);
}
