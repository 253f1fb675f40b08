/* A client of WebSockets for tests of frontd: over the connections of http_client.h, or over a buffer alone. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/frontd_fixture.h"

enum { OP_MORE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10, FIN = 0x80, MASK = 0x80 };

/* The fields of a handshake that is as it should be; its key is the one of RFC 6455, 1.3. */
#define UPGRADE_FIELDS \
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* Connects over TCP, or to the Unix socket, and shakes hands. */
struct client *socket_open(struct fixture *f, const char *path);
struct client *socket_open_unix(struct fixture *f, const char *path);

struct frame {
    unsigned opcode;
    char *text;         /* NUL-terminated, owned */
    size_t length;
    unsigned code;      /* of a Close; 0 without one */
};

/* Takes one frame as a server writes it: whole, unmasked. False: it is not all there yet. */
bool frame_take(struct evbuffer *in, struct frame *ret);
void frame_free(struct frame *f);

/* Turns the loop until there is one; pings are answered and passed over. */
struct frame socket_next(struct client *c);
/* The next one is this text, whose Id is returned; "#" in it stands for the Id. */
uint64_t socket_expect(struct client *c, const char *text);
/* The next one is a Close with that code, and the end of the connection behind it. */
void socket_expect_close(struct client *c, unsigned code);
uint64_t frame_id(const struct frame *f);

/* Adds a frame as a client writes it: `first` is FIN, reserved bits and opcode. */
void frame_add(struct evbuffer *out, unsigned first, const void *data, size_t n);
void socket_send(struct client *c, unsigned first, const void *data, size_t n);
