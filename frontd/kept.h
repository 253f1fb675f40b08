/* The JSON of a list, kept for as long as whoever is asked for the list says that it would be the same again.
 *
 * It is for rows whose request has a field `known` and whose reply has `state`, as in proto/ipc.proto. Knows no
 * endpoint by name. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "frontd/route.h"

enum { KEPT_MOST = 256 * 1024 };   /* longer ones are not kept */

struct frontd;

struct kept {
    const struct route *route;
    uint64_t state;
    unsigned refs;
    size_t n;
    char json[];
};

/* What is kept of the row's list, named in `request` as known: a reference, for kept_unref(). NULL: nothing. */
struct kept *kept_name(const struct frontd *f, const struct route *row, ProtobufCMessage *request);

/* Whether the reply says that the list is that one. `k` may be NULL. */
bool kept_holds(const struct kept *k, const ProtobufCMessage *reply);

/* This is the list of the reply: keeps it instead of another one, if the reply says what state it has. */
void kept_put(struct frontd *f, const struct route *row, const ProtobufCMessage *reply, const void *json, size_t n);

/* NULL is fine. */
void kept_unref(struct kept *k);
