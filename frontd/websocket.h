/* One WebSocket after its handshake (RFC 6455, 5 to 7): frames as a server writes them, and what a client may send.
 *
 * What a client says has no meaning here: it is read as the protocol wants it, bounded, and thrown away, so texts are
 * not held against UTF-8 either. There are no extensions. Works on buffers alone: knows no socket, clock or path. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stdint.h>

enum websocket_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_PROTOCOL = 1002,  /* no frame, unmasked, reserved bits or opcodes, control frames in pieces */
    WEBSOCKET_NO_CODE = 1005,   /* the client's Close has none; never sent */
    WEBSOCKET_GONE = 1006,      /* the connection ended without a Close; never sent */
    WEBSOCKET_POLICY = 1008,    /* too slow, too many pings, no sign of life */
    WEBSOCKET_TOO_BIG = 1009,   /* a message above WEBSOCKET_MESSAGE_MAX */
};

enum {
    WEBSOCKET_MESSAGE_MAX = 4096,
    WEBSOCKET_PINGS_MAX = 64,   /* of the client between two of ours */
    WEBSOCKET_HEAD_MAX = 10,    /* bytes in front of a frame's payload */
};

struct websocket;

struct websocket *websocket_new(void);
/* NULL is fine. */
void websocket_free(struct websocket *w);

/* Takes all of `in` and adds what is owed for it to `out`: pongs, and the Close that answers a Close or a breach.
 * False: the connection is to be ended, with `out` as the last that is sent. */
bool websocket_take(struct websocket *w, struct evbuffer *in, struct evbuffer *out);

/* Adds a ping to `out`; to be called every so often. False: the last two found no answer of any kind, and what was
 * added is a Close. */
bool websocket_ping(struct websocket *w, struct evbuffer *out);

/* Adds a Close with the code and a reason of at most 123 bytes, unless there has been one. */
void websocket_close(struct websocket *w, enum websocket_code code, const char *reason, struct evbuffer *out);

/* Why it ended: the code of the first Close, sent or received; WEBSOCKET_GONE before there is one. */
unsigned websocket_code(const struct websocket *w);

/* The head of a whole text frame of so many bytes. Its length. */
size_t websocket_text_head(size_t length, uint8_t out[WEBSOCKET_HEAD_MAX]);
