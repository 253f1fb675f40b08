/* Any bytes of a client after its handshake, at once and in pieces of the length that the first one says: both ways
 * the same is answered, whole frames of a server, few of them, and nothing behind a Close. */
#include <event2/buffer.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frontd/websocket.h"

enum { CONTROL_SIZE = 127, CLOSE = 0x88, PONG = 0x8a };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns what was answered. */
static struct evbuffer *answer(const uint8_t *data, size_t size, size_t step, unsigned *ret_code)
{
    struct websocket *w = websocket_new();
    struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
    bool open = true;

    for (size_t at = 0; at < size && open; at += step) {
        evbuffer_add(in, data + at, size - at < step ? size - at : step);
        open = websocket_take(w, in, out);
        if (evbuffer_get_length(in))
            abort();
    }
    *ret_code = websocket_code(w);
    if (open != (*ret_code == WEBSOCKET_GONE))
        abort();
    websocket_free(w);
    evbuffer_free(in);
    return out;
}

static void check_answer(struct evbuffer *out, unsigned code)
{
    size_t n = evbuffer_get_length(out), pongs = 0;
    const uint8_t *bytes = evbuffer_pullup(out, -1); /* NULL when there are none */
    bool closed = false;

    for (size_t at = 0; at != n; at += 2u + bytes[at + 1]) {
        const uint8_t *p = bytes + at;
        size_t left = n - at;

        if (closed || left < 2 || p[1] > CONTROL_SIZE - 2 || left < 2u + p[1] || (p[0] != PONG && p[0] != CLOSE))
            abort();
        closed = p[0] == CLOSE;
        pongs += p[0] == PONG;
    }
    if (pongs > WEBSOCKET_PINGS_MAX || closed != (code != WEBSOCKET_GONE))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned code, code_in_pieces;
    struct evbuffer *out, *in_pieces;
    size_t n;

    if (!size)
        return 0;
    out = answer(data + 1, size - 1, size, &code);
    in_pieces = answer(data + 1, size - 1, (size_t)data[0] + 1, &code_in_pieces);
    check_answer(out, code);
    n = evbuffer_get_length(out);
    if (code != code_in_pieces || n != evbuffer_get_length(in_pieces) ||
        (n && memcmp(evbuffer_pullup(out, -1), evbuffer_pullup(in_pieces, -1), n) != 0))
        abort();
    evbuffer_free(out);
    evbuffer_free(in_pieces);
    return 0;
}
