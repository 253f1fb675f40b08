/* Reads the pipe only as fast as the client takes the bytes. A pipe that ends early resets the connection: the
 * length has been promised. */
#include "frontd/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "frontd/call.h"
#include "frontd/range.h"

enum { READ_SIZE = 64 * 1024, HIGH_WATER = 512 * 1024, STREAM_FIELDS_MAX = 2048 };

struct stream {
    Lf__StreamOpen *open;
    struct range range;       /* of the Range field */
    struct error failure;     /* why it could not be opened */
    int fd;                   /* read end of the pipe; -1: none yet */
    struct event *readable;
    struct evbuffer *out;
    int64_t left;             /* bytes still to come */
};

static void release(struct exchange *x)
{
    struct stream *s = x->state;

    if (s->readable)
        event_free(s->readable);
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->out)
        evbuffer_free(s->out);
    if (s->open)
        lf__stream_open__free_unpacked(s->open, NULL);
    free(s);
}

/* --- the bytes ----------------------------------------------------------------------------- */

/* Returns the bytes read, 0 at the end, or negative errno. */
static ssize_t read_some(struct stream *s)
{
    struct evbuffer_iovec space;
    ssize_t n;

    if (evbuffer_reserve_space(s->out, READ_SIZE, &space, 1) != 1)
        return -ENOMEM;
    n = read(s->fd, space.iov_base, least(s->left, READ_SIZE));
    if (n < 0)
        return -errno;
    space.iov_len = (size_t)n;
    (void)evbuffer_commit_space(s->out, &space, 1);
    return n;
}

static void on_readable(int fd, short what, void *arg)
{
    struct exchange *x = arg;
    struct stream *s = x->state;
    ssize_t n = read_some(s);

    (void)fd;
    (void)what;
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n <= 0) {
        exchange_cut(x, n == 0 ? "the transfer ended early" : strerror((int)-n));
        return;
    }
    s->left -= n;
    http_reply_add(x->http, s->out);
    if (!s->left)
        exchange_end(x);
    else if (http_reply_waiting(x->http) > HIGH_WATER)
        (void)event_del(s->readable);
}

static void on_drained(struct exchange *x)
{
    struct stream *s = x->state;

    if (s->readable)
        (void)event_add(s->readable, NULL);
}

static void start_pumping(struct exchange *x)
{
    struct stream *s = x->state;

    s->out = evbuffer_new();
    s->readable = event_new(loop_base(x->frontd->loop), s->fd, EV_READ | EV_PERSIST, on_readable, x);
    if (!s->out || !s->readable)
        abort();
    x->drained = on_drained;
    (void)event_add(s->readable, NULL);
}

/* --- the head ------------------------------------------------------------------------------ */

/* Providers give entity tags with and without their quotes. */
static void add_etag(struct text *fields, const char *etag)
{
    CLEANUP(text_free) struct text quoted = TEXT_INIT(1024);

    if (!etag || !*etag)
        return;
    if (*etag != '"' && strncmp(etag, "W/\"", 3) != 0 && text_printf(&quoted, "\"%s\"", etag) == 0)
        etag = quoted.data;
    http_field_add(fields, "ETag", etag);
}

static void add_last_modified(struct text *fields, const char *iso)
{
    char date[HTTP_DATE_SIZE];
    int64_t ns;

    if (!iso || date_parse(iso, &ns) < 0)
        return;
    http_date(ns / 1000000000, date);
    http_field_add(fields, "Last-Modified", date);
}

static void refuse_range(struct exchange *x, int64_t size)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(STREAM_FIELDS_MAX);
    char content[CONTENT_RANGE_SIZE];

    range_content(0, -1, size, content);
    http_field_add(&fields, "Content-Range", content);
    exchange_refuse(x, HTTP_REFUSE(416, "The range lies outside the object."), &fields);
}

static void begin(struct exchange *x, const Lf__StreamOpened *o, bool partial)
{
    CLEANUP(text_free) struct text fields = TEXT_INIT(STREAM_FIELDS_MAX);
    char content[CONTENT_RANGE_SIZE];

    http_field_add(&fields, "Accept-Ranges", "bytes");
    add_etag(&fields, o->etag);
    add_last_modified(&fields, o->last_modified);
    if (partial) {
        range_content(o->first, o->last, o->size, content);
        http_field_add(&fields, "Content-Range", content);
    }
    exchange_begin(x, partial ? 206 : 200, "application/octet-stream", &fields, o->last - o->first + 1);
}

static bool is_sane(const Lf__StreamOpened *o)
{
    return o->first >= 0 && o->last >= o->first - 1 && o->last < o->size;
}

/* --- opening ------------------------------------------------------------------------------- */

/* The range is not satisfiable: the answer tells the size, where it can be had. */
static void tell_size_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    const struct stream *s = x->state;

    (void)e;
    (void)fds;
    if (reply && reply->object_info_found->info->has_size)
        refuse_range(x, reply->object_info_found->info->size);
    else
        exchange_fail(x, &s->failure);
}

static void ask_info(struct exchange *x, exchange_answer_fn *answered)
{
    const struct stream *s = x->state;
    Lf__ObjectInfoGet get = LF__OBJECT_INFO_GET__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_OBJECT_INFO_GET, &get.base);

    get.path = s->open->path;
    exchange_ask(x, ROLE_SYNCD, &env, answered);
}

static void open_stream_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    struct stream *s = x->state;
    const Lf__StreamOpened *o = reply ? reply->stream_opened : NULL;
    bool partial = s->open->has_start || s->open->has_end;

    if (!o || !is_sane(o) || evutil_make_socket_nonblocking(fds[0]) < 0) {
        s->failure = o ? (struct error){ .code = -EPROTO } : *e;
        if (s->failure.code == -ERANGE)
            ask_info(x, tell_size_done);
        else
            exchange_fail(x, &s->failure);
        return;
    }
    if (partial && o->last < o->first) {
        refuse_range(x, o->size);
        return;
    }
    s->fd = take_fd(&fds[0]);
    s->left = o->last - o->first + 1;
    begin(x, o, partial);
    if (!s->left || http_request_head(x->http)->method == HTTP_HEAD)
        exchange_end(x);
    else
        start_pumping(x);
}

static void open_stream(struct exchange *x)
{
    struct stream *s = x->state;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_STREAM_OPEN, &s->open->base);

    exchange_ask(x, ROLE_SYNCD, &env, open_stream_done);
}

static void set_span(Lf__StreamOpen *open, int64_t start, const int64_t *end)
{
    open->has_start = true;
    open->start = start;
    open->has_end = end != NULL;
    open->end = end ? *end : 0;
}

/* The last n bytes: where they begin follows from the size. */
static void find_suffix_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    struct stream *s = x->state;
    int64_t size;

    (void)fds;
    if (!reply) {
        exchange_fail(x, e);
        return;
    }
    size = reply->object_info_found->info->size;
    if (size <= 0 || !s->range.first) {
        refuse_range(x, size < 0 ? 0 : size);
        return;
    }
    set_span(s->open, s->range.first < size ? size - s->range.first : 0, NULL);
    open_stream(x);
}

/* Checks what the query says of start and end; without them the Range field says it. */
static int read_span(struct exchange *x, struct error *e)
{
    struct stream *s = x->state;
    Lf__StreamOpen *open = s->open;
    const struct http_head *h = http_request_head(x->http);
    const char *field = http_head_field(h, "If-Range") ? NULL : http_head_field(h, "Range");

    if (open->has_start || open->has_end) {
        if (open->start < 0 || (open->has_end && open->end < open->start))
            return error_set(e, -ERANGE, "The range must begin at 0 or later and end where it begins or later.");
        open->has_start = true;
        return 0;
    }
    if (field)
        s->range = range_parse(field);
    if (s->range.kind == RANGE_FROM || s->range.kind == RANGE_SPAN)
        set_span(open, s->range.first, s->range.kind == RANGE_SPAN ? &s->range.last : NULL);
    return 0;
}

void stream_serve(struct exchange *x)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    ProtobufCMessage *m = NULL;
    struct error e = { 0 };

    s->fd = -1;
    x->state = s;
    x->release = release;
    if (call_message(x, &m, &e) == 0) {
        s->open = (Lf__StreamOpen *)(void *)m;
        (void)read_span(x, &e);
    }
    if (e.code < 0)
        exchange_fail(x, &e);
    else if (s->range.kind == RANGE_SUFFIX)
        ask_info(x, find_suffix_done);
    else
        open_stream(x);
}
