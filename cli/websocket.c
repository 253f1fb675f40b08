/* libwslay does all of the protocol but the handshake. */
#include "cli/websocket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "cli/api.h"
#include "common/alloc.h"
#include "common/cleanup.h"

enum { SECONDS = 20, HEAD_MAX = 4096, FRAME_MAX = 16 << 20 };

/* The example of RFC 6455, 1.3. The key tells caches of proxies apart, and there are none on a Unix socket. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPTED "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct websocket {
    wslay_event_context_ptr events;
    int fd;
    websocket_frame_fn *fn;
    void *arg;
};

/* --- the handshake ------------------------------------------------------------------------------------ */

static int ask(int fd, const char *path, int port)
{
    CLEANUP_FREE char *request = NULL;
    int n = asprintf(&request, "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n", path, port);

    if (n < 0)
        return -ENOMEM;
    return send(fd, request, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EPIPE;
}

/* Byte by byte: what follows is wslay's. */
static int read_head(int fd, char head[HEAD_MAX])
{
    for (size_t n = 0; n < HEAD_MAX - 1; n++) {
        ssize_t r = recv(fd, head + n, 1, 0);

        if (r <= 0)
            return r < 0 && errno == EAGAIN ? -ETIMEDOUT : -EPIPE;
        head[n + 1] = '\0';
        if (n >= 3 && strcmp(head + n - 3, "\r\n\r\n") == 0)
            return 0;
    }
    return -EPROTO;
}

static int shake_hands(int fd, const char *path, int port, struct error *e)
{
    char head[HEAD_MAX] = "";
    int status = 0, r = ask(fd, path, port);

    if (r == 0)
        r = read_head(fd, head);
    if (r < 0)
        return error_set(e, r, "Landfall's answer did not arrive: %s.", strerror(-r));
    if (sscanf(head, "HTTP/1.%*d %d", &status) != 1 || status != 101 || !strstr(head, ACCEPTED))
        return error_set(e, -EREMOTEIO, "Landfall refused to tell what happens, with status %d.", status);
    return 0;
}

/* --- frames ------------------------------------------------------------------------------------------- */

static ssize_t on_recv(wslay_event_context_ptr events, uint8_t *bytes, size_t n, int flags, void *arg)
{
    struct websocket *w = arg;
    ssize_t r = recv(w->fd, bytes, n, MSG_DONTWAIT);
    bool later = r < 0 && (errno == EAGAIN || errno == EINTR);

    (void)flags;
    if (r <= 0)
        wslay_event_set_error(events, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return r > 0 ? r : -1;
}

static ssize_t on_send(wslay_event_context_ptr events, const uint8_t *bytes, size_t n, int flags, void *arg)
{
    struct websocket *w = arg;
    ssize_t r = send(w->fd, bytes, n, MSG_NOSIGNAL);

    (void)flags;
    if (r < 0)
        wslay_event_set_error(events, WSLAY_ERR_CALLBACK_FAILURE);
    return r;
}

static int on_mask(wslay_event_context_ptr events, uint8_t *bytes, size_t n, void *arg)
{
    (void)events;
    (void)arg;
    return getrandom(bytes, n, 0) == (ssize_t)n ? 0 : -1;
}

static void on_message(wslay_event_context_ptr events, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
    struct websocket *w = arg;
    struct json_tokener *tokener;
    struct json_object *frame;

    (void)events;
    if (m->opcode != WSLAY_TEXT_FRAME)
        return;
    tokener = json_tokener_new();
    frame = tokener ? json_tokener_parse_ex(tokener, (const char *)m->msg, (int)m->msg_length) : NULL;
    if (frame)
        w->fn(frame, w->arg);
    json_object_put(frame);
    json_tokener_free(tokener);
}

int websocket_read(struct websocket *w)
{
    if (wslay_event_recv(w->events) != 0 || (wslay_event_want_write(w->events) && wslay_event_send(w->events) != 0))
        return -EPIPE;
    return wslay_event_get_close_received(w->events) ? -EPIPE : 0;
}

/* --- life --------------------------------------------------------------------------------------------- */

int websocket_open(struct json_object *instance, const char *path, websocket_frame_fn *fn, void *arg,
                   struct websocket **ret, struct error *e)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .genmask_callback = on_mask,
        .on_msg_recv_callback = on_message,
    };
    CLEANUP_CLOSE int fd = api_connect(instance, SECONDS, e);
    int r = fd < 0 ? fd : shake_hands(fd, path, json_object_get_int(json_object_object_get(instance, "port")), e);
    struct websocket *w;

    if (r < 0)
        return r;
    w = xcalloc(1, sizeof(*w));
    *w = (struct websocket){ .fd = take_fd(&fd), .fn = fn, .arg = arg };
    if (wslay_event_context_client_init(&w->events, &callbacks, w) != 0)
        abort();
    wslay_event_config_set_max_recv_msg_length(w->events, FRAME_MAX);
    *ret = w;
    return 0;
}

int websocket_fd(const struct websocket *w)
{
    return w->fd;
}

void websocket_free(struct websocket *w)
{
    if (!w)
        return;
    if (wslay_event_queue_close(w->events, WSLAY_CODE_GOING_AWAY, NULL, 0) == 0)
        (void)wslay_event_send(w->events);
    wslay_event_context_free(w->events);
    (void)close(w->fd);
    free(w);
}
