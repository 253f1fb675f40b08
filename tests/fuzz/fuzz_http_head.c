/* Any bytes as a request: its head, its Host, Origin and Referer, its body. What passes the guard can be
 * shown to be ours by a reading that is simpler than the guard's. */
#include <event2/buffer.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "frontd/guard.h"
#include "frontd/http_body.h"
#include "frontd/http_head.h"

enum { BODY_MAX = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_one_of(const char *s, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(s, *list) == 0)
            return true;
    return false;
}

static void check_verdict(const struct guard *g, const struct http_head *h)
{
    static const char *const hosts[] = { "localhost:29123", "127.0.0.1:29123", "[::1]:29123", NULL };
    static const char *const origins[] = { "http://localhost:29123", "http://127.0.0.1:29123", "http://[::1]:29123",
                                           "https://app.example.org", NULL };
    struct guard_verdict v = guard_check(g, h, &(struct peer){ .known = true, .uid = g->served_uid });
    const char *origin = http_head_field(h, "Origin");

    (void)guard_check_change(g, h);
    (void)guard_check_body(h, BODY_MAX);
    if (guard_check(g, h, &(struct peer){ .known = true, .uid = g->served_uid + 1 }).refusal.status == 0)
        abort();
    if (v.refusal.status)
        return;
    if (!is_one_of(http_head_field(h, "Host"), hosts) || (h->authority && !is_one_of(h->authority, hosts)))
        abort();
    if (origin && !is_one_of(origin, origins))
        abort();
}

static void check_body(const struct http_head *h, const uint8_t *data, size_t size)
{
    struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
    struct http_body b;

    http_body_init(&b, h, BODY_MAX);
    evbuffer_add(in, data, size);
    if (http_body_take(&b, in, out) == 1 && !h->chunked && evbuffer_get_length(out) != h->content_length)
        abort();
    if (evbuffer_get_length(out) > BODY_MAX)
        abort();
    evbuffer_free(in);
    evbuffer_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *const origins[] = { (char *)"https://app.example.org", NULL };
    ssize_t n = http_head_length((const char *)data, size);
    struct http_head h;
    struct guard g;
    struct error e;

    if (n > (ssize_t)size || guard_init(&g, 29123, 1000, origins, &e) < 0)
        abort();
    if (n > 0) {
        if (http_head_parse(&h, (const char *)data, (size_t)n).status == 0) {
            check_verdict(&g, &h);
            check_body(&h, data + n, size - (size_t)n);
        }
        http_head_free(&h);
    }
    /* Also what no connection would pass on. */
    (void)http_head_parse(&h, (const char *)data, size);
    http_head_free(&h);
    return 0;
}
