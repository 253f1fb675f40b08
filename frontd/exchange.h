/* One request on its way through frontd: from its head to the last byte of its reply.
 *
 * Handlers (struct route.serve) get one, ask other processes with exchange_ask() and end it with exactly one of
 * the replies below; it is freed with that. When the client leaves first, the question under way is
 * withdrawn, release() is called and the exchange freed: a handler sees nothing of it. */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "common/ipc.h"
#include "common/text.h"
#include "frontd/frontd.h"
#include "frontd/http.h"
#include "frontd/query.h"
#include "frontd/route.h"

typedef void exchange_answer_fn(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds);

struct exchange {
    struct frontd *frontd;
    struct http_request *http;      /* NULL once the client is gone */
    struct route_match match;
    struct query query;
    const char *allow_origin;       /* see struct guard_verdict */
    uint64_t trace;
    int64_t started_ns;
    int status;                     /* of the reply, for the log; 0: there was none */
    bool audited;                   /* audit_end() is owed */

    struct ipc_client *asked;       /* the question under way */
    uint64_t call;
    bool waiting;                   /* answered() is owed */
    exchange_answer_fn *answered;

    void *state;                    /* the handler's; release() frees it and runs once */
    void (*release)(struct exchange *x);
    void (*drained)(struct exchange *x); /* runs while a begun reply has little left to send; may be NULL */
};

struct exchange *exchange_new(struct frontd *f, struct http_request *r);

/* Asks the process `role`; `answered` is called once, unless the client leaves. One question at a
 * time. `request` as for ipc_call(). */
void exchange_ask(struct exchange *x, enum role role, Lf__Envelope *request, exchange_answer_fn *answered);

/* --- whole replies ------------------------------------------------------------------------- */

/* 200 with the value (taken; NULL is JSON's null) as JSON. */
void exchange_json(struct exchange *x, struct json_object *value);

/* 200 with these bytes, or this text, of that type. */
void exchange_bytes(struct exchange *x, const char *type, const void *bytes, size_t n);
void exchange_text(struct exchange *x, const char *type, const struct text *body);

/* 200 without a body. */
void exchange_empty(struct exchange *x);

/* The failure as the contract has it: status and code from common/error.h, the sentence in a problem+json
 * body and the error-code field; no body with 500. */
void exchange_fail(struct exchange *x, const struct error *e);

/* The same for what the router refuses; `fields` as in struct http_reply. */
void exchange_refuse(struct exchange *x, struct http_refusal why, const struct text *fields);

/* Any other reply without a body. */
void exchange_status(struct exchange *x, int status, const struct text *fields);

/* --- replies in pieces --------------------------------------------------------------------- */

/* The head of a reply with `status`, `type` and `length` as http_reply_begin() has them. */
void exchange_begin(struct exchange *x, int status, const char *type, const struct text *fields, int64_t length);
/* http_reply_add() and http_reply_waiting() go in between. */
void exchange_end(struct exchange *x);
/* The reply cannot be completed: says why in the log and resets the connection. */
void exchange_cut(struct exchange *x, const char *why);

/* 101 with `fields`, as http_reply_switch() has it: x is no more, and its request is whoever's has kept it. */
void exchange_switch(struct exchange *x, const struct text *fields);
