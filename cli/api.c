/* A small HTTP/1.0 client: a request goes out whole, the reply is read to its end. Nothing of a
 * body is printed or logged: it may hold keys. */
#include "cli/api.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/instance.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "common/write_all.h"

enum { REPLY_BYTES_MAX = 64 << 20, REQUEST_BYTES_MAX = 1 << 20, PORT_BYTES_MAX = 8192,
       TIMEOUT_SECONDS = 150 };

static int connect_api(const char *path, int seconds, struct error *e)
{
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = seconds };

    if (strlen(path) >= sizeof(a.sun_path))
        return error_set(e, -ENAMETOOLONG, "%s is too long for a socket.", path);
    strcpy(a.sun_path, path);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
        return error_set(e, -errno, "There is no socket to be had: %m.");
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return error_set(e, -errno, "Landfall does not answer at %s: %m.", path);
    return take_fd(&fd);
}

int api_connect(struct json_object *instance, int seconds, struct error *e)
{
    return connect_api(instance_text(instance, "api_socket"), seconds, e);
}

static int send_all(int fd, const char *data, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

        if (sent < 0 && errno != EINTR)
            return -errno;
        data += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

static int read_all(int fd, struct text *t)
{
    char part[16384];
    ssize_t n;

    while ((n = recv(fd, part, sizeof(part), 0)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (text_add(t, part, (size_t)n) < 0)
            return t->error;
    }
    return 0;
}

static int send_request(int fd, const char *method, const char *path, int port, struct json_object *body)
{
    const char *text = body ? json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN) : "";
    struct text t = TEXT_INIT(REQUEST_BYTES_MAX);
    int r;

    (void)text_printf(&t, "%s %s HTTP/1.0\r\nHost: localhost:%d\r\n", method, path, port);
    if (body)
        (void)text_printf(&t, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(text));
    (void)text_printf(&t, "\r\n%s", text);
    r = t.error ? t.error : send_all(fd, t.data, t.len);
    if (t.data)
        explicit_bzero(t.data, t.len);
    text_free(&t);
    return r;
}

/* The sentence of a problem document: {"errors": {"CODE": ["text"]}}. */
static const char *problem_text(struct json_object *o)
{
    json_object_object_foreach(json_object_object_get(o, "errors"), code, texts) {
        (void)code;
        if (json_object_is_type(texts, json_type_array) && json_object_array_length(texts) > 0)
            return json_object_get_string(json_object_array_get_idx(texts, 0));
    }
    return NULL;
}

static int check_status(int status, struct json_object *o, struct error *e)
{
    const char *text;

    if (status == 200)
        return 0;
    text = json_object_is_type(json_object_object_get(o, "errors"), json_type_object) ? problem_text(o) : NULL;
    if (text)
        return error_set(e, -EREMOTEIO, "%s", text);
    return error_set(e, -EREMOTEIO, "Landfall refused the request with status %d.", status);
}

static int parse_reply(const struct text *t, struct json_object **ret, struct error *e)
{
    const char *body = t->data ? strstr(t->data, "\r\n\r\n") : NULL;
    int status, r;

    if (!body || sscanf(t->data, "HTTP/1.%*d %d", &status) != 1)
        return error_set(e, -EPROTO, "Landfall's answer is not HTTP.");
    *ret = body[4] ? json_tokener_parse(body + 4) : NULL;
    r = check_status(status, *ret, e);
    if (r < 0) {
        json_object_put(*ret);
        *ret = NULL;
    }
    return r;
}

int api_call_within(struct json_object *instance, int seconds, const char *method, const char *path,
                    struct json_object *body, struct json_object **ret, struct error *e)
{
    CLEANUP_CLOSE int fd = api_connect(instance, seconds, e);
    int port = json_object_get_int(json_object_object_get(instance, "port"));
    struct text t = TEXT_INIT(REPLY_BYTES_MAX);
    int r = fd < 0 ? fd : send_request(fd, method, path, port, body);

    *ret = NULL;
    if (r == 0)
        r = read_all(fd, &t);
    if (r < 0 && fd >= 0)
        (void)error_set(e, r, "Landfall's answer did not arrive: %s.", strerror(-r));
    if (r == 0)
        r = parse_reply(&t, ret, e);
    text_free(&t);
    return r;
}

/* Who answers there may be anybody: the one recv() waits no longer than its limit, however slowly bytes come. */
int api_get_at_port(int family, uint16_t port, int seconds, const char *path, struct json_object **ret, struct error *e)
{
    const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port),
                                     .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    const void *at = family == AF_INET ? (const void *)&v4 : &v6;
    CLEANUP_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { .tv_sec = seconds };
    struct text t = TEXT_INIT(PORT_BYTES_MAX);
    char reply[PORT_BYTES_MAX];
    ssize_t n = -1;
    int r;

    *ret = NULL;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
        connect(fd, at, family == AF_INET ? sizeof(v4) : sizeof(v6)) == 0 &&
        send_request(fd, "GET", path, port, NULL) == 0)
        n = recv(fd, reply, sizeof(reply) - 1, MSG_WAITALL);
    if (n < 0)
        return error_set(e, -errno, "Nobody answers at port %u: %m.", port);
    r = text_add(&t, reply, (size_t)n) < 0 ? -ENOMEM : parse_reply(&t, ret, e);
    text_free(&t);
    return r;
}

int api_call(struct json_object *instance, const char *method, const char *path, struct json_object *body,
             struct json_object **ret, struct error *e)
{
    return api_call_within(instance, TIMEOUT_SECONDS, method, path, body, ret, e);
}

/* --- what is no JSON -------------------------------------------------------------------------------------- */

/* Up to the end of the head, and perhaps more. */
static int read_head(int fd, struct text *t)
{
    char part[4096];
    ssize_t n;

    while (!t->data || !strstr(t->data, "\r\n\r\n")) {
        n = recv(fd, part, sizeof(part), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -EPROTO : errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (text_add(t, part, (size_t)n) < 0)
            return t->error;
    }
    return 0;
}

/* -1: the head does not say. */
static int64_t content_length(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");

    return field && field < strstr(head, "\r\n\r\n") ? strtoll(field + strlen("\r\nContent-Length:"), NULL, 10) : -1;
}

static int pass_on(int from, int to, int64_t done, int64_t total, void (*progress)(int64_t done, int64_t total))
{
    char part[65536];
    ssize_t n = 1;
    int r = 0;

    while (r == 0 && done < total && n != 0) {
        n = recv(from, part, sizeof(part), 0);
        if (n < 0 && errno != EINTR)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        r = n > 0 ? write_all(to, part, (size_t)n) : 0;
        done += n > 0 ? n : 0;
        progress(done, total);
    }
    return r < 0 || done == total ? r : -EPROTO;
}

static int take_stream(int fd, struct text *head, int to, void (*progress)(int64_t done, int64_t total),
                       struct error *e)
{
    const char *body;
    struct json_object *reply = NULL;
    int status = 0;
    int64_t total;
    int r = read_head(fd, head);

    if (r == 0 && (sscanf(head->data, "HTTP/1.%*d %d", &status) != 1 || status != 200)) {
        r = read_all(fd, head);
        r = r == 0 ? parse_reply(head, &reply, e) : r;
        json_object_put(reply);
        return r;
    }
    total = r == 0 ? content_length(head->data) : -1;
    if (r == 0 && total < 0)
        return error_set(e, -EPROTO, "Landfall's answer has no length.");
    if (r == 0) {
        body = strstr(head->data, "\r\n\r\n") + 4;
        r = write_all(to, body, head->len - (size_t)(body - head->data));
    }
    if (r == 0)
        r = pass_on(fd, to, (int64_t)(head->len - (size_t)(body - head->data)), total, progress);
    return r < 0 ? error_set(e, r, "The bytes did not arrive whole: %s.", strerror(-r)) : 0;
}

int api_stream(struct json_object *instance, const char *path, int fd, void (*progress)(int64_t done, int64_t total),
               struct error *e)
{
    CLEANUP_CLOSE int from = api_connect(instance, TIMEOUT_SECONDS, e);
    int port = json_object_get_int(json_object_object_get(instance, "port"));
    struct text head = TEXT_INIT(REQUEST_BYTES_MAX);
    int r = from < 0 ? from : send_request(from, "GET", path, port, NULL);

    if (r < 0 && from >= 0)
        (void)error_set(e, r, "Landfall was not asked: %s.", strerror(-r));
    if (r == 0)
        r = take_stream(from, &head, fd, progress, e);
    text_free(&head);
    return r;
}
