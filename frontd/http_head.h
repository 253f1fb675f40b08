/* The head of an HTTP/1 request: request line and fields, checked and cut apart (RFC 9110, 9112).
 *
 * Pure text. Strict where leniency lets two readers of one message disagree (bare CR or LF, folded
 * lines, doubled lengths, Transfer-Encoding beside Content-Length); knows nothing of routes, hosts
 * or origins. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Why a request is refused: the status of the answer and a sentence, or status 0: it is not. */
struct http_refusal {
    int status;
    const char *text; /* static */
};

#define HTTP_FINE ((struct http_refusal){ 0, NULL })
#define HTTP_REFUSE(status, text) ((struct http_refusal){ (status), (text) })

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

enum { HTTP_FIELDS_MAX = 100 };

struct http_head {
    char *text;                 /* owned; every string below points into it */
    enum http_method method;
    const char *method_name;    /* as sent */
    const char *authority;      /* of an absolute-form target, else NULL */
    const char *path;           /* "/...", or "*" with OPTIONS; still percent-encoded */
    const char *query;          /* what stands behind the '?', encoded; NULL without one */
    int minor;                  /* 0 or 1: HTTP/1.0 or HTTP/1.1 */
    bool keep_alive;            /* the client would go on with another request */
    bool expects_continue;      /* it waits for 100 before it sends the body */
    bool chunked;
    uint64_t content_length;    /* 0 without a body and when chunked */
    struct {
        const char *name, *value;
    } fields[HTTP_FIELDS_MAX];
    size_t n_fields;
};

/* Length of the head at the start of `bytes` with its empty line; 0: more is needed; -EBADMSG: it
 * can become none (a bare LF, a NUL). */
ssize_t http_head_length(const char *bytes, size_t len);

/* Parses a whole head of `len` bytes as http_head_length() measured it. Fills *h, to be freed with
 * http_head_free() either way. Refuses with 400, 417 (Expect), 431 (more than HTTP_FIELDS_MAX
 * fields), 501 (transfer coding), 505 (version) or 500 (no memory). */
struct http_refusal http_head_parse(struct http_head *h, const char *bytes, size_t len);
void http_head_free(struct http_head *h);

/* The first field of that name (any case), NULL if there is none; and how many there are. */
const char *http_head_field(const struct http_head *h, const char *name);
size_t http_head_count(const struct http_head *h, const char *name);

/* Whether a field of that name lists `token` (any case) among its comma-separated values. */
bool http_head_lists(const struct http_head *h, const char *name, const char *token);

/* "GET"; "OTHER" for HTTP_OTHER. */
const char *http_method_name(enum http_method m);

static inline bool http_head_has_body(const struct http_head *h)
{
    return h->chunked || h->content_length > 0;
}
