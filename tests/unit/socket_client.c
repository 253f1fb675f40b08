/* Frames, both ways. */
#include "tests/unit/socket_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/alloc.h"

/* --- writing ------------------------------------------------------------------------------- */

void frame_add(struct evbuffer *out, unsigned first, const void *data, size_t n)
{
    static const uint8_t mask[] = { 0x12, 0x34, 0x56, 0x78 };
    const uint8_t *bytes = data;
    size_t wide = n < 126 ? 0 : n <= UINT16_MAX ? 2 : 8;
    uint8_t head[10] = { (uint8_t)first, (uint8_t)(MASK | (wide == 0 ? n : wide == 2 ? 126 : 127)) };

    for (size_t i = 0; i < wide; i++)
        head[2 + i] = (uint8_t)(n >> (8 * (wide - 1 - i)));
    evbuffer_add(out, head, 2 + wide);
    evbuffer_add(out, mask, sizeof(mask));
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = bytes[i] ^ mask[i % sizeof(mask)];

        evbuffer_add(out, &byte, 1);
    }
}

void socket_send(struct client *c, unsigned first, const void *data, size_t n)
{
    struct evbuffer *out = evbuffer_new();

    frame_add(out, first, data, n);
    while (evbuffer_get_length(out)) {
        if (evbuffer_write(out, c->fd) < 0 && errno != EAGAIN)
            break; /* the server has closed; what it said is still to be read */
        turn(c->loop);
    }
    evbuffer_free(out);
}

/* --- reading ------------------------------------------------------------------------------- */

void frame_free(struct frame *f)
{
    free(f->text);
    f->text = NULL;
}

bool frame_take(struct evbuffer *in, struct frame *ret)
{
    uint8_t head[10] = { 0 };
    size_t have = evbuffer_get_length(in), wide;
    uint64_t n;

    *ret = (struct frame){ 0 };
    if (evbuffer_copyout(in, head, sizeof(head)) < 2)
        return false;
    assert_int_equal(head[0] & 0xf0, FIN);
    assert_false(head[1] & MASK);
    wide = head[1] < 126 ? 0 : head[1] == 126 ? 2 : 8;
    n = wide ? 0 : head[1];
    for (size_t i = 0; i < wide; i++)
        n = n << 8 | head[2 + i];
    if (have < 2 + wide + n)
        return false;
    (void)evbuffer_drain(in, 2 + wide);
    ret->opcode = head[0] & 0xf;
    ret->length = (size_t)n;
    ret->text = xcalloc(1, ret->length + 1);
    assert_int_equal(evbuffer_remove(in, ret->text, ret->length), (int)n);
    if (ret->opcode == OP_CLOSE && n >= 2)
        ret->code = (unsigned)(uint8_t)ret->text[0] << 8 | (uint8_t)ret->text[1];
    return true;
}

static void read_more(struct client *c)
{
    char bytes[65536];
    ssize_t n;

    turn(c->loop);
    n = recv(c->fd, bytes, sizeof(bytes), 0);
    if (n > 0)
        evbuffer_add(c->in, bytes, (size_t)n);
    c->ended = n == 0 || (n < 0 && errno != EAGAIN);
}

struct frame socket_next(struct client *c)
{
    int64_t give_up = loop_now_ns() + INT64_C(60000000000);
    struct frame f;

    for (;;) {
        while (!frame_take(c->in, &f)) {
            if (c->ended || loop_now_ns() > give_up)
                fail_msg("no frame came");
            read_more(c);
        }
        if (f.opcode != OP_PING)
            return f;
        socket_send(c, FIN | OP_PONG, f.text, f.length);
        frame_free(&f);
    }
}

uint64_t frame_id(const struct frame *f)
{
    const char *at = strstr(f->text, "\"Id\":");

    if (!at)
        fail_msg("no Id in %s", f->text);
    return strtoull(at + strlen("\"Id\":"), NULL, 10);
}

uint64_t socket_expect(struct client *c, const char *text)
{
    struct frame f = socket_next(c);
    uint64_t id = frame_id(&f);
    const char *mark = strchr(text, '#');
    char wanted[8192];

    assert_non_null(mark);
    (void)snprintf(wanted, sizeof(wanted), "%.*s%llu%s", (int)(mark - text), text, (unsigned long long)id, mark + 1);
    assert_int_equal(f.opcode, OP_TEXT);
    assert_string_equal(f.text, wanted);
    frame_free(&f);
    return id;
}

void socket_expect_close(struct client *c, unsigned code)
{
    struct frame f = socket_next(c);

    assert_int_equal(f.opcode, OP_CLOSE);
    assert_int_equal(f.code, code);
    frame_free(&f);
    client_wait_end(c);
    assert_false(c->reset);
}

/* --- the handshake ------------------------------------------------------------------------- */

static struct client *shake_hands(struct fixture *f, struct client *c, const char *path)
{
    char line[256], text[1024];
    struct reply r;

    (void)snprintf(line, sizeof(line), "GET %s", path);
    client_send(c, make_request(f, text, sizeof(text), line, UPGRADE_FIELDS, NULL));
    r = client_reply(c, true);
    assert_int_equal(r.status, 101);
    assert_string_equal(reply_field(&r, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    reply_free(&r);
    return c;
}

struct client *socket_open(struct fixture *f, const char *path)
{
    return shake_hands(f, client_connect(f->loop, f->port), path);
}

struct client *socket_open_unix(struct fixture *f, const char *path)
{
    return shake_hands(f, client_connect_unix(f->loop, f->api), path);
}
