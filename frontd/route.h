/* The routes: one row per endpoint, and the search for the row of a request. */
#pragma once

#include <stddef.h>

#include "common/messages.h"
#include "frontd/http_head.h"

struct exchange;

/* Every row carries exactly one of READS and CHANGES. A GET that changes something says CHANGES. */
enum route_policy {
    ROUTE_READS = 1,
    ROUTE_CHANGES = 2,
    ROUTE_LOCAL = 8, /* answered over the Unix socket alone: keys go over no port */
    ROUTE_TOKEN = 4, /* the contract has a token here; the owner's uid does without until users exist */
    ROUTE_SOCKET = 16, /* becomes a WebSocket */
    ROUTE_FORM = 32, /* the body is a form, taken as it comes; serve() is called before it */
};

struct route {
    enum http_method method;
    const char *path;                /* "/management/clouddrive/{id}": {id} fills the request's field of that name */
    unsigned policy;
    const char *summary;             /* for the OpenAPI document */
    void (*serve)(struct exchange *x); /* call_serve() and list_serve() need no code per endpoint */
    enum role role;                  /* who is asked; ROLE_NONE: nobody */
    Lf__Envelope__BodyCase request;  /* what is asked */
    const char *query;               /* parameters that fill fields of the request, separated by spaces; or NULL */
    const char *body;                /* the field that the body fills, "*" for the whole request, NULL: no body */
    const char *view;                /* the field of the reply that is sent; NULL: an empty 200 */
    const char *missing;             /* what the sentence says is not there; the row then answers 499 */
    const ProtobufCMessageDescriptor *own; /* what the request is where nobody is asked; or NULL */
};

const struct route *routes(size_t *ret_n);

enum { ROUTE_PARAMS_MAX = 4, ROUTE_SEGMENTS_MAX = 16, ROUTE_NAME_SIZE = 32 };

struct route_match {
    const struct route *route;       /* NULL: no row for this path and method */
    unsigned methods;                /* bits 1 << enum http_method that this path has; 0: unknown path */
    struct {
        char name[ROUTE_NAME_SIZE];
        const char *value;           /* decoded */
    } params[ROUTE_PARAMS_MAX];
    size_t n_params;
    char *text;                      /* owned; what the values point into */
};

/* Finds the row for a percent-encoded path: without regard to case, one slash at the end is read over,
 * HEAD is served by the row of GET. 0 and a match to be freed with route_match_free() either way;
 * -EINVAL for a bad escape or an encoded NUL; -ENOMEM. */
int route_find(const char *path, enum http_method method, struct route_match *ret);
void route_match_free(struct route_match *m);

/* "GET, HEAD, OPTIONS" for the Allow field. */
enum { ALLOW_SIZE = 64 };
void route_allow(unsigned methods, char out[ALLOW_SIZE]);

/* What call_message() makes of a request for the row; NULL: nothing. */
const ProtobufCMessageDescriptor *route_request(const struct route *r);

/* The descriptor of a message by its case in the envelope; and the message that answers it. NULL for none. */
const ProtobufCMessageDescriptor *route_message(Lf__Envelope__BodyCase body);

/* One name of a row's list of query parameters (NULL: none), which is moved behind it. False at the end. */
bool route_take_name(const char **list, char name[ROUTE_NAME_SIZE]);
