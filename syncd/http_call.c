/* Sets up one exchange for libcurl and answers libcurl's callbacks for it. Must not know the loop,
 * the multi handle, or what is exchanged.
 */
#include "syncd/http_call.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/address.h"

/* --- the body we send --------------------------------------------------------------------------- */

/* Aborts the call with an errno of ours. */
static size_t refuse(struct http_call *c, int error, size_t result)
{
    if (!c->error)
        c->error = error;
    return result;
}

static void note_sent(struct http_call *c, uint64_t sent)
{
    c->sent = sent;
    if (c->told_sent && c->state != CALL_DEAD)
        c->told_sent(sent, c->arg);
}

static size_t read_body(char *buffer, size_t size, size_t count, void *arg)
{
    struct http_call *c = arg;
    uint64_t left = c->length - c->sent;
    size_t want = left < size * count ? (size_t)left : size * count;
    ssize_t n = (ssize_t)want;

    if (c->state == CALL_DEAD)
        return CURL_READFUNC_ABORT;
    if (c->memory)
        memcpy(buffer, (const char *)c->memory + c->sent, want);
    else if (want)
        n = pread(c->fd, buffer, want, (off_t)(c->offset + c->sent));
    if (n < 0)
        return refuse(c, -errno, CURL_READFUNC_ABORT);
    if (n == 0 && want)
        return refuse(c, -EBADE, CURL_READFUNC_ABORT);   /* the file became shorter */
    note_sent(c, c->sent + (uint64_t)n);
    return (size_t)n;
}

static int seek_body(void *arg, curl_off_t offset, int origin)
{
    struct http_call *c = arg;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > c->length)
        return CURL_SEEKFUNC_FAIL;
    note_sent(c, (uint64_t)offset);
    return CURL_SEEKFUNC_OK;
}

/* --- the reply --------------------------------------------------------------------------------- */

static bool succeeded(const struct http_call *c)
{
    return c->reply.status >= 200 && c->reply.status < 300;
}

static int end_head(struct http_call *c)
{
    long status = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)   /* 100 Continue */
        return 0;
    c->reply.status = (int)status;
    c->head_seen = true;
    return c->head && succeeded(c) ? c->head(&c->reply, c->arg) : 0;
}

static int add_header(struct http_call *c, const char *line, size_t n)
{
    struct pairs *headers = &c->reply.headers;
    const char *colon = memchr(line, ':', n);
    size_t name, skip;

    if (!colon)
        return 0;
    name = (size_t)(colon - line);
    for (skip = name + 1; skip < n && (line[skip] == ' ' || line[skip] == '\t');)
        skip++;
    if (pairs_addn(headers, line, name, line + skip, n - skip) < 0)
        return headers->error;
    for (char *p = headers->v[headers->n - 1].name; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    return 0;
}

/* One line of a header with its line end. Trailers after the body are nobody's business. */
static size_t take_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_call *c = arg;
    size_t all = size * count, n = all;
    int r = 0;

    if (c->state == CALL_DEAD)
        return 0;
    while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
        n--;
    if (c->head_seen)
        return all;
    if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0)
        pairs_free(&c->reply.headers);
    else
        r = n == 0 ? end_head(c) : add_header(c, line, n);
    return r < 0 ? refuse(c, r, 0) : all;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *c = arg;
    size_t n = size * count;
    int r;

    if (c->state == CALL_DEAD)
        return CURL_WRITEFUNC_ERROR;
    if (c->body && succeeded(c))
        return body_take(c, bytes, n);
    r = text_add(&c->reply.body, bytes, n);
    return r < 0 ? refuse(c, r, CURL_WRITEFUNC_ERROR) : n;
}

/* --- the connection ------------------------------------------------------------------------------ */

/* TCP alone tries for a quarter of an hour to get bytes through, more and more rarely, so that it even misses the
 * network's return: a peer out of reach is one when a connection that is there has not heard of it for as long as
 * a new one may take. The probes go out while nothing else does; a living peer's kernel answers them, however slow
 * its program is. */
static void watch_peer(int fd, unsigned seconds)
{
    unsigned patience_ms = seconds * 1000;
    int rest = seconds > 2 ? (int)seconds / 3 : 1, on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &rest, sizeof(rest));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &rest, sizeof(rest));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/* The last word on where a name may lead, before a connection is made. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct http_call *c = arg;
    struct http_socket *s;
    int fd;

    (void)purpose;
    if (address_is_forbidden(&a->addr)
        || (address_is_loopback(&a->addr) && address_port(&a->addr) == c->http->api_port)) {
        c->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    c->opened = true;
    fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    watch_peer(fd, (unsigned)c->http->config->cloud_connect_seconds);
    s = xcalloc(1, sizeof(*s));
    s->fd = fd;
    LIST_INSERT_HEAD(&c->http->sockets, s, next);
    return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct http *h = arg;
    struct http_socket *s;

    LIST_FOREACH(s, &h->sockets, next)
        if (s->fd == fd) {
            LIST_REMOVE(s, next);
            free(s);
            break;
        }
    return close(fd);
}

static uint16_t port_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
    union { struct sockaddr any; struct sockaddr_storage room; } a = { 0 };
    socklen_t size = sizeof(a);

    return get(fd, &a.any, &size) < 0 ? 0 : address_port(&a.any);
}

static int find_socket(const struct http *h, int local_port, int port)
{
    struct http_socket *s;

    LIST_FOREACH(s, &h->sockets, next) {
        if (!s->local_port) {
            s->local_port = port_of(s->fd, getsockname);
            s->port = port_of(s->fd, getpeername);
        }
        if (s->local_port == local_port && s->port == port)
            return s->fd;
    }
    return -1;
}

/* Before a request goes out: a kept connection that the server has closed, or on which it has sent
 * something unasked (Swift ends bodiless answers with a stray chunk), is of no use. libcurl looks
 * itself from 8.0 on. Over TLS unasked bytes may be the protocol's own: tickets, HTTP/2 frames. */
static int check_connection(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct http_call *c = arg;
    int fd = c->opened ? -1 : find_socket(c->http, local_port, port);
    char byte;
    ssize_t n;

    (void)ip, (void)local_ip;
    n = fd < 0 ? -1 : recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    c->stale = n == 0 || (n > 0 && !c->tls);
    c->requests += !c->stale;
    return c->stale ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* --- how it ended -------------------------------------------------------------------------------- */

static const struct ending {
    CURLcode code;
    enum http_fault fault;
    int error;
} endings[] = {
    { CURLE_OK, HTTP_ANSWERED, 0 },
    { CURLE_COULDNT_RESOLVE_PROXY, HTTP_UNREACHED, -EHOSTUNREACH },
    { CURLE_COULDNT_RESOLVE_HOST, HTTP_UNREACHED, -EHOSTUNREACH },
    { CURLE_COULDNT_CONNECT, HTTP_UNREACHED, -EHOSTUNREACH },
    { CURLE_SSL_CONNECT_ERROR, HTTP_UNREACHED, -EHOSTUNREACH },
    { CURLE_PROXY, HTTP_UNREACHED, -EHOSTUNREACH },
    { CURLE_OPERATION_TIMEDOUT, HTTP_STALLED, -ETIMEDOUT },
    { CURLE_PEER_FAILED_VERIFICATION, HTTP_REFUSED, -EHOSTUNREACH },
    { CURLE_SSL_CACERT_BADFILE, HTTP_REFUSED, -EHOSTUNREACH },
    { CURLE_SSL_ISSUER_ERROR, HTTP_REFUSED, -EHOSTUNREACH },
    { CURLE_URL_MALFORMAT, HTTP_REFUSED, -EHOSTUNREACH },
    { CURLE_UNSUPPORTED_PROTOCOL, HTTP_GARBLED, -EBADMSG },
    { CURLE_WEIRD_SERVER_REPLY, HTTP_GARBLED, -EBADMSG },
    { CURLE_BAD_CONTENT_ENCODING, HTTP_GARBLED, -EBADMSG },
    { CURLE_OUT_OF_MEMORY, HTTP_GARBLED, -EMSGSIZE },   /* what libcurl before 8.6 says to a header line too long */
#if LIBCURL_VERSION_NUM >= 0x080600
    { CURLE_TOO_LARGE, HTTP_GARBLED, -EMSGSIZE },
#endif
    { CURLE_WRITE_ERROR, HTTP_ABORTED, -EBADMSG },
    { CURLE_ABORTED_BY_CALLBACK, HTTP_ABORTED, -EBADMSG },
};

/* Codes that are not listed broke the connection in some way. */
static const struct ending *ending_of(CURLcode code)
{
    static const struct ending lost = { CURLE_OK, HTTP_LOST, -EHOSTUNREACH };

    for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
        if (endings[i].code == code)
            return &endings[i];
    return &lost;
}

void call_judge(struct http_call *c, CURLcode code)
{
    const struct ending *end = ending_of(code);
    curl_off_t requested = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &requested);
    c->reply.fault = end->fault;
    c->reply.error = end->error;
    c->reply.repeated = c->requests > 1;
    if (end->fault == HTTP_ANSWERED && !c->head_seen) {   /* libcurl is content with a head that broke off */
        c->reply.fault = HTTP_LOST;
        c->reply.error = -EHOSTUNREACH;
    }
    if (end->fault == HTTP_STALLED && requested == 0) {   /* the time to connect ran out */
        c->reply.fault = HTTP_UNREACHED;
        c->reply.error = -EHOSTUNREACH;
    }
    if (end->fault == HTTP_UNREACHED && c->forbidden) {
        c->reply.fault = HTTP_REFUSED;
        (void)snprintf(c->reply.reason, sizeof(c->reply.reason), "its name leads to an address that is not allowed");
    }
    if (c->error) {
        c->reply.fault = c->error == -EMSGSIZE ? HTTP_GARBLED : HTTP_ABORTED;
        c->reply.error = c->error;
    }
}

/* --- options ------------------------------------------------------------------------------------- */

/* A line for libcurl; an empty value is written "Name;", after a colon libcurl would leave the header out. */
static int put_header(struct text *line, const struct pair *p)
{
    for (const char *v = p->value; *v; v++)
        if ((unsigned char)*v < ' ' || *v == 0x7f)
            return -EINVAL;
    text_reset(line);
    return p->value[0] ? text_printf(line, "%s: %s", p->name, p->value) : text_printf(line, "%s;", p->name);
}

static int add_line(struct http_call *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);

    if (!longer)
        return -ENOMEM;
    c->headers = longer;
    return 0;
}

static int set_headers(struct http_call *c, const struct pairs *headers)
{
    struct text line = TEXT_INIT(HTTP_HEADERS_MAX);
    int r = add_line(c, "Expect:");   /* nobody is asked whether the body may come */

    if (r == 0)
        r = add_line(c, "Accept:");
    for (size_t i = 0; i < headers->n && r == 0; i++) {
        r = put_header(&line, &headers->v[i]);
        if (r == 0)
            r = add_line(c, line.data);
    }
    text_free(&line);
    return r;
}

static void set_transport(struct http_call *c, const struct http_spec *spec)
{
    const struct config *config = c->http->config;

    (void)curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    (void)curl_easy_setopt(c->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (*config->ca_bundle) {
        (void)curl_easy_setopt(c->easy, CURLOPT_CAINFO, config->ca_bundle);
        (void)curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
    }
    (void)curl_easy_setopt(c->easy, CURLOPT_PROXY, config->proxy);   /* "": none, the environment's neither */
    (void)curl_easy_setopt(c->easy, CURLOPT_NOPROXY, c->http->no_proxy);
    (void)curl_easy_setopt(c->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    (void)curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT, (long)config->cloud_connect_seconds);
    (void)curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_TIME, (long)config->cloud_stall_seconds);
    (void)curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, (long)spec->fresh);
    (void)curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE, (long)spec->last);
    if (spec->bulk) {
        (void)curl_easy_setopt(c->easy, CURLOPT_BUFFERSIZE, (long)HTTP_RUN);
        (void)curl_easy_setopt(c->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)HTTP_RUN);
    }
}

static void set_callbacks(struct http_call *c)
{
    (void)curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    (void)curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->reply.reason);
    (void)curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    (void)curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    (void)curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    (void)curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
    (void)curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    (void)curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, c->http);   /* outlives the call, as the socket does */
    (void)curl_easy_setopt(c->easy, CURLOPT_PREREQFUNCTION, check_connection);
    (void)curl_easy_setopt(c->easy, CURLOPT_PREREQDATA, c);
}

static void set_request(struct http_call *c, const struct http_spec *spec)
{
    (void)curl_easy_setopt(c->easy, CURLOPT_URL, spec->url);
    (void)curl_easy_setopt(c->easy, CURLOPT_PATH_AS_IS, 1L);   /* keys may hold "/../" */
    (void)curl_easy_setopt(c->easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    (void)curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "Landfall/" PACKAGE_VERSION);
    (void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    if (strcmp(spec->method, "HEAD") == 0)
        (void)curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    if (spec->has_body) {
        (void)curl_easy_setopt(c->easy, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(c->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)spec->length);
        (void)curl_easy_setopt(c->easy, CURLOPT_READFUNCTION, read_body);
        (void)curl_easy_setopt(c->easy, CURLOPT_READDATA, c);
        (void)curl_easy_setopt(c->easy, CURLOPT_SEEKFUNCTION, seek_body);
        (void)curl_easy_setopt(c->easy, CURLOPT_SEEKDATA, c);
    }
    (void)curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, spec->method);
}

void call_free(struct http_call *c)
{
    c->http->calls--;
    if (c->wake)
        event_free(c->wake);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    pairs_free(&c->reply.headers);
    text_free(&c->reply.body);
    free(c->host);
    free(c);
}

/* "https://host:port" */
static char *host_of(const char *url)
{
    const char *start = strstr(url, "://");
    char *host = strndup(url, start ? (size_t)(start + 3 - url) + strcspn(start + 3, "/?") : strlen(url));

    if (!host)
        abort();
    return host;
}

struct http_call *call_new(struct http *h, const struct http_spec *spec)
{
    struct http_call *c = malloc(sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct http_call){ .http = h, .state = CALL_NEW, .easy = curl_easy_init(), .memory = spec->memory,
        .fd = spec->fd, .offset = spec->offset, .length = spec->length, .told_sent = spec->sent,
        .tls = strncasecmp(spec->url, "https:", 6) == 0,
        .head = spec->head, .body = spec->body, .done = spec->done, .arg = spec->arg,
        .reply = { .headers = PAIRS_INIT(HTTP_HEADERS_MAX), .body = TEXT_INIT(spec->reply_max) } };
    h->calls++;
    if (spec->yields)
        c->host = host_of(spec->url);
    if (!c->easy || set_headers(c, spec->headers) < 0) {
        call_free(c);
        return NULL;
    }
    set_transport(c, spec);
    set_callbacks(c);
    set_request(c, spec);
    return c;
}
