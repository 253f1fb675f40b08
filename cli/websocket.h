/* A client of one of the agent's WebSockets, over its Unix socket. */
#pragma once

#include <json-c/json.h>

#include "common/error.h"

struct websocket;

/* A frame. It is gone when this returns. */
typedef void websocket_frame_fn(struct json_object *frame, void *arg);

/* `path` with its query. 0 and *ret, or a negative errno with a sentence. */
int websocket_open(struct json_object *instance, const char *path, websocket_frame_fn *fn, void *arg,
                   struct websocket **ret, struct error *e);
/* Readable when websocket_read() has something to do. */
int websocket_fd(const struct websocket *w);
/* Takes what has come and answers what wants an answer, without waiting. 0, or -EPIPE: it is over. */
int websocket_read(struct websocket *w);
/* Takes leave. NULL is fine. */
void websocket_free(struct websocket *w);
