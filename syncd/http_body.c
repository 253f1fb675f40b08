/* Owns the way of a reply's body from libcurl to whoever asked. libcurl cuts what one recv(2) brought into pieces of
 * 16 KiB, and each would be a write(2) of its own; here they are put together again, for as long as libcurl is on the
 * stack.
 *
 * Must not know what the bytes are. */
#include "syncd/http_call.h"

#include <string.h>

#include "common/alloc.h"

static void hand_over(struct http_call *c, const char *bytes, size_t n)
{
    int r = c->body(bytes, n, c->arg);

    if (r < 0)
        c->error = r;
    c->paused = r == HTTP_PAUSE;
}

void body_flush(struct http *h)
{
    struct http_run *run = &h->run;
    struct http_call *c = run->call;

    run->call = NULL;
    if (c && c->state != CALL_DEAD)
        hand_over(c, run->bytes, run->n);
}

/* What may come after the run that there is. */
static size_t room(struct http *h, struct http_call *c)
{
    struct http_run *run = &h->run;

    if (!run->bytes)
        run->bytes = alloc_bulk(HTTP_RUN);
    if (!run->call) {
        run->call = c;
        run->n = 0;
    }
    return run->bytes && run->call == c ? HTTP_RUN - run->n : 0;
}

size_t body_take(struct http_call *c, const char *bytes, size_t n)
{
    struct http *h = c->http;

    if (room(h, c) < n)
        body_flush(h);
    if (c->state == CALL_DEAD || c->error)
        return CURL_WRITEFUNC_ERROR;
    if (c->paused)
        return CURL_WRITEFUNC_PAUSE;
    if (room(h, c) < n) {   /* there is no memory */
        h->run.call = NULL;
        hand_over(c, bytes, n);
    } else {
        memcpy(h->run.bytes + h->run.n, bytes, n);
        h->run.n += n;
    }
    return c->error ? CURL_WRITEFUNC_ERROR : n;
}
