/* Writes replies. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "frontd/http_conn.h"

/* Nothing here is a page: not to be stored, sniffed, framed, embedded or told to other sites. */
static const char every_reply[] = "Cache-Control: no-store\r\n"
                                  "X-Content-Type-Options: nosniff\r\n"
                                  "Referrer-Policy: no-referrer\r\n"
                                  "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
                                  "Cross-Origin-Resource-Policy: same-origin\r\n"
                                  "Vary: Origin\r\n";

static const char *phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        { 200, "OK" },
        { 204, "No Content" },
        { 206, "Partial Content" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 413, "Content Too Large" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 499, "Validation Failed" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Unknown";
}

void http_field_add(struct text *fields, const char *name, const char *value)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return;
    text_printf(fields, "%s: %s\r\n", name, value);
}

static struct evbuffer *output(const struct http_request *r)
{
    return bufferevent_get_output(r->conn->bev);
}

void http_date(int64_t seconds, char out[HTTP_DATE_SIZE])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(out, HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        out[0] = '\0';
}

static void add_date(struct evbuffer *out)
{
    char date[HTTP_DATE_SIZE];

    http_date(time(NULL), date);
    evbuffer_add_printf(out, "Date: %s\r\n", date);
}

void http_refuse_connection(int fd)
{
    static const char body[] = "{\"type\":\"DEFAULT\",\"status\":503,\"errors\":{\"DEFAULT\":[\"So many connections of "
                               "this user are open that there is no place for another; see MaxConnections.\"]}}";
    char reply[1024];
    int n = snprintf(reply, sizeof(reply), "HTTP/1.1 503 %s\r\n%sContent-Type: application/problem+json\r\n"
                     "Retry-After: 1\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", phrase(503), every_reply,
                     sizeof(body) - 1, body);

    (void)send(fd, reply, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

/* A connection ends with its reply when the client says so, when its body will not be read, when others wait
 * for its place, and when its client is not welcome: that each try costs a connection slows it down. */
static bool must_close(const struct http_request *r)
{
    const struct http_conn *c = r->conn;

    return r->close || !r->head.keep_alive || c->input_ended || c->stranger || c->server->stopping ||
           http_server_crowded(c->server, &c->peer);
}

static void write_head(struct http_request *r, const struct http_reply *reply, int64_t length)
{
    struct evbuffer *out = output(r);

    r->close = must_close(r) || (length < 0 && r->head.minor == 0);
    r->chunked = length < 0 && r->head.minor == 1;
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", reply->status, phrase(reply->status));
    add_date(out);
    evbuffer_add(out, every_reply, sizeof(every_reply) - 1);
    if (reply->type)
        evbuffer_add_printf(out, "Content-Type: %s\r\n", reply->type);
    if (r->chunked)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    else if (length >= 0 && reply->status != 204)
        evbuffer_add_printf(out, "Content-Length: %" PRId64 "\r\n", length);
    if (reply->fields && reply->fields->len && !reply->fields->error)
        evbuffer_add(out, reply->fields->data, reply->fields->len);
    if (r->close || r->head.minor == 0)
        evbuffer_add_printf(out, "Connection: %s\r\n", r->close ? "close" : "keep-alive");
    evbuffer_add(out, "\r\n", 2);
}

void http_reply_begin(struct http_request *r, const struct http_reply *reply, int64_t length)
{
    write_head(r, reply, length);
}

void http_reply_add(struct http_request *r, struct evbuffer *data)
{
    size_t len = evbuffer_get_length(data);

    if (!len)
        return;
    if (r->head.method == HTTP_HEAD) {
        (void)evbuffer_drain(data, len);
        return;
    }
    if (r->chunked)
        evbuffer_add_printf(output(r), "%zx\r\n", len);
    evbuffer_add_buffer(output(r), data);
    if (r->chunked)
        evbuffer_add(output(r), "\r\n", 2);
}

size_t http_reply_waiting(const struct http_request *r)
{
    return evbuffer_get_length(output(r));
}

void http_reply_end(struct http_request *r)
{
    struct http_conn *c = r->conn;

    if (r->chunked && r->head.method != HTTP_HEAD)
        evbuffer_add(output(r), "0\r\n\r\n", 5);
    r->watch = (struct http_watch){ 0 };
    http_conn_flush(c);
}

void http_reply(struct http_request *r, const struct http_reply *reply)
{
    write_head(r, reply, (int64_t)reply->length);
    if (r->head.method != HTTP_HEAD && reply->length)
        evbuffer_add(output(r), reply->body, reply->length);
    http_reply_end(r);
}

void http_reply_cut(struct http_request *r)
{
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };

    r->watch = (struct http_watch){ 0 };
    (void)setsockopt(bufferevent_getfd(r->conn->bev), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    http_conn_close(r->conn);
}

void http_reply_switch(struct http_request *r, const struct text *fields)
{
    struct evbuffer *out = output(r);

    evbuffer_add_printf(out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    evbuffer_add(out, fields->data, fields->len);
    evbuffer_add(out, "\r\n", 2);
    http_conn_switch(r->conn);
}

void http_reply_write(struct http_request *r, const void *data, size_t n)
{
    evbuffer_add(output(r), data, n);
}

/* --- what a handler sees of a request ------------------------------------------------------ */

const struct http_head *http_request_head(const struct http_request *r)
{
    return &r->head;
}

const struct peer *http_request_peer(const struct http_request *r)
{
    return &r->conn->peer;
}

struct evbuffer *http_request_body(struct http_request *r)
{
    return r->body;
}

void http_request_take(struct http_request *r, uint64_t max, void (*body)(bool ended, void *arg))
{
    r->on_body = body;
    r->body_max = max;
}

void http_request_want(struct http_request *r, bool wanted)
{
    bool before = r->wanted;

    r->wanted = wanted;
    if (before == wanted || r->conn->state != HTTP_BODY)
        return;
    r->step = 0;
    http_conn_deadline(r->conn, wanted);
    if (wanted)
        http_conn_advance(r->conn);
}

struct evbuffer *http_request_input(const struct http_request *r)
{
    return bufferevent_get_input(r->conn->bev);
}

bool http_may_switch(const struct http_request *r)
{
    const struct http_server *s = r->conn->server;

    return s->n_switched < s->spec.max_switched;
}

void http_request_watch(struct http_request *r, const struct http_watch *w)
{
    r->watch = *w;
}

void *http_request_watcher(const struct http_request *r)
{
    return r->watch.arg;
}
