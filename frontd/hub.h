/* Those who listen at one WebSocket path, and what they hear.
 *
 * A frame is made once and kept in a ring; a client has no queue of its own but a place in the ring, and a little of
 * what follows it waits in its connection. Who reads so slowly that the ring has left its place behind hears how many
 * frames that were, in a gap marker, and goes on with the oldest that is there; who does not read at all loses
 * its connection. Every frame has an "Id", by which a client that comes back says what it has heard. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"
#include "frontd/http.h"

struct hub;

struct hub_spec {
    struct loop *loop;          /* borrowed */
    const char *path;           /* for the log; static */
    size_t frames_kept, bytes_kept;
    unsigned ping_seconds;
    /* The marker for frames that are missing, without its Id; 0: nobody knows how many. */
    struct json_object *(*gap)(uint64_t missed);
};

struct hub *hub_new(const struct hub_spec *spec);
/* NULL is fine. To be called when no client is left: http_server_free() sees to that. */
void hub_free(struct hub *h);

/* Tells everybody. `frame` is taken; its Id is added here. */
void hub_tell(struct hub *h, struct json_object *frame);
/* Tells everybody that something is missing here. */
void hub_tell_gap(struct hub *h);

/* A connection that http_reply_switch() was called for: hears what is told from now on, and with `since` what was told
 * after that id, as far as it is still there. */
void hub_join(struct hub *h, struct http_request *r, const uint64_t *since);

/* Everybody hears what is there, as far as it fits, and a Close with code 1000. */
void hub_close(struct hub *h);

/* How many clients there are, how many frames were made, and how many were missed by clients that read too slowly. */
struct hub_count {
    uint64_t clients, frames, missed;
};
struct hub_count hub_count(const struct hub *h);
