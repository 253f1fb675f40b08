/* What is told over the WebSockets /notification and /statechange: what syncd says, and what was done through the API.
 * Makes the frames; who hears them is the hubs'. */
#pragma once

#include <json-c/json.h>

#include "common/ipc.h"
#include "common/metrics.h"
#include "frontd/exchange.h"

struct feeds;

struct feeds *feeds_new(struct frontd *f);
/* NULL is fine. After the HTTP server and the clients of the other processes. */
void feeds_free(struct feeds *f);

/* For the client that asks syncd; `arg` is the struct feeds. Each subscription begins with a gap marker on both paths:
 * what was before it nobody has told. */
void feeds_connected(void *arg);
void feeds_event(const Lf__Envelope *event, int *fds, void *arg);

/* Data of a frame of Type 4. */
struct feeds_app {
    const char *operation, *address, *method, *origin;
    struct json_object *data;   /* taken; the member is there only with has_data */
    bool has_data;
};
void feeds_tell_app(struct feeds *f, const struct feeds_app *app);

/* This call, which is about to be answered, was carried out. */
void feeds_tell_call(struct feeds *f, const struct exchange *x);
/* The agent ends because of this call; NULL if its client has left. */
void feeds_tell_exit(struct feeds *f, const struct exchange *x);

/* What both paths have counted. */
void feeds_samples(const struct feeds *f, struct samples *s);

/* Ends all WebSockets with code 1000. */
void feeds_close(struct feeds *f);

/* GET /notification and GET /statechange: 101, or 400, 426, 503. */
void notification_serve(struct exchange *x);
void statechange_serve(struct exchange *x);
