/* The HTTP API of a running instance, asked over its Unix socket: one request a connection,
 * blocking, for commands that a person waits for. */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "common/error.h"

/* The reply to a GET of `path`, which is no JSON, is written to `fd` as it comes; `progress` is told the bytes so far
 * and of how many. 0, or negative errno with a sentence: also when it ended early. */
int api_stream(struct json_object *instance, const char *path, int fd, void (*progress)(int64_t done, int64_t total),
               struct error *e);

/* A connection to the instance's socket on which reads and writes wait that long, or negative errno with a sentence. */
int api_connect(struct json_object *instance, int seconds, struct error *e);

/* Sends `method` `path` with `body` (borrowed; NULL: none) to the instance described by `instance`
 * (DIR/instance.json). 0 and *ret, the reply to be put (NULL for an empty one); -EREMOTEIO with the
 * API's own sentence when it refused; another negative errno when it could not be asked. */
int api_call(struct json_object *instance, const char *method, const char *path, struct json_object *body,
             struct json_object **ret, struct error *e);
/* The same with a limit of one's own for each wait; api_call() has patience with clouds that are slow to answer. */
int api_call_within(struct json_object *instance, int seconds, const char *method, const char *path,
                    struct json_object *body, struct json_object **ret, struct error *e);

/* The JSON that whoever listens at the port of a loopback address answers to a GET of `path`: perhaps not Landfall. The
 * whole of it is waited for so long. 0 and *ret, or negative errno with a sentence. */
int api_get_at_port(int family, uint16_t port, int seconds, const char *path, struct json_object **ret,
                    struct error *e);
