/* libwslay cuts what comes into frames, unmasks them and knows their forms; what may follow what is here. */
#include "frontd/websocket.h"

#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "common/alloc.h"
#include "common/number.h"

enum { CONTROL_MAX = 125, CODE_SIZE = 2, UNANSWERED_MAX = 2, FIN = 0x80 };

struct websocket {
    struct wslay_frame_context *frames;
    struct evbuffer *in;            /* borrowed while websocket_take() runs */
    uint64_t got;                   /* bytes of the payload of the present frame */
    uint64_t message;               /* bytes of the present message in earlier frames */
    bool in_message;                /* its last frame is still to come */
    uint8_t control[CONTROL_MAX];   /* payload of the present control frame */
    unsigned pings, unanswered;
    unsigned code;                  /* of the first Close; 0: there was none */
};

/* --- writing -------------------------------------------------------------------------------------------------- */

static size_t write_head(uint8_t opcode, uint64_t length, uint8_t out[WEBSOCKET_HEAD_MAX])
{
    size_t n = length < 126 ? 0 : length <= UINT16_MAX ? 2 : 8;

    out[0] = FIN | opcode;
    out[1] = (uint8_t)(n == 0 ? length : n == 2 ? 126 : 127);
    for (size_t i = 0; i < n; i++)
        out[2 + i] = (uint8_t)(length >> (8 * (n - 1 - i)));
    return 2 + n;
}

size_t websocket_text_head(size_t length, uint8_t out[WEBSOCKET_HEAD_MAX])
{
    return write_head(WSLAY_TEXT_FRAME, length, out);
}

static void add_control(uint8_t opcode, const void *data, size_t n, struct evbuffer *out)
{
    uint8_t head[WEBSOCKET_HEAD_MAX];

    (void)evbuffer_add(out, head, write_head(opcode, n, head));
    if (n)
        (void)evbuffer_add(out, data, n);
}

void websocket_close(struct websocket *w, enum websocket_code code, const char *reason, struct evbuffer *out)
{
    uint8_t payload[CONTROL_MAX] = { (uint8_t)(code >> 8), (uint8_t)code };
    size_t n = least(strlen(reason), CONTROL_MAX - CODE_SIZE);

    if (w->code)
        return;
    w->code = code;
    memcpy(payload + CODE_SIZE, reason, n);
    add_control(WSLAY_CONNECTION_CLOSE, payload, CODE_SIZE + n, out);
}

bool websocket_ping(struct websocket *w, struct evbuffer *out)
{
    w->pings = 0;
    if (w->unanswered++ < UNANSWERED_MAX)
        add_control(WSLAY_PING, NULL, 0, out);
    else
        websocket_close(w, WEBSOCKET_POLICY, "Two pings found no answer.", out);
    return !w->code;
}

unsigned websocket_code(const struct websocket *w)
{
    return w->code ? w->code : WEBSOCKET_GONE;
}

/* --- control frames ------------------------------------------------------------------------------------------- */

static void take_ping(struct websocket *w, size_t n, struct evbuffer *out)
{
    if (++w->pings > WEBSOCKET_PINGS_MAX)
        websocket_close(w, WEBSOCKET_POLICY, "These are too many pings.", out);
    else
        add_control(WSLAY_PONG, w->control, n, out);
}

static void take_pong(struct websocket *w, size_t n, struct evbuffer *out)
{
    (void)w;
    (void)n;
    (void)out;
}

/* Codes that may be on the wire: RFC 6455, 7.4.1, those registered since, and those of libraries and programs. */
static bool is_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* Answered with the code that it has. */
static void take_close(struct websocket *w, size_t n, struct evbuffer *out)
{
    unsigned code = n >= CODE_SIZE ? (unsigned)w->control[0] << 8 | w->control[1] : WEBSOCKET_NO_CODE;

    if (n && !is_code(code)) {
        websocket_close(w, WEBSOCKET_PROTOCOL, "The code of that Close is none.", out);
        return;
    }
    w->code = code;
    add_control(WSLAY_CONNECTION_CLOSE, w->control, n ? CODE_SIZE : 0, out);
}

static void take_control(struct websocket *w, uint8_t opcode, size_t n, struct evbuffer *out)
{
    static void (*const takers[])(struct websocket *w, size_t n, struct evbuffer *out) = {
        [WSLAY_CONNECTION_CLOSE] = take_close, [WSLAY_PING] = take_ping, [WSLAY_PONG] = take_pong,
    };

    takers[opcode](w, n, out);
}

/* --- frames --------------------------------------------------------------------------------------------------- */

static bool is_known(uint8_t opcode)
{
    return opcode <= WSLAY_BINARY_FRAME || (opcode >= WSLAY_CONNECTION_CLOSE && opcode <= WSLAY_PONG);
}

/* What stands against a frame, seen at its first byte; NULL: nothing. */
static const char *breach(const struct websocket *w, const struct wslay_frame_iocb *f)
{
    if (!f->mask)
        return "Frames of a client must be masked.";
    if (f->rsv || !is_known(f->opcode))
        return "Reserved bits and opcodes mean nothing here.";
    if (!wslay_is_ctrl_frame(f->opcode) && (f->opcode == WSLAY_CONTINUATION_FRAME) != w->in_message)
        return "This frame does not continue the message before it.";
    return NULL;
}

static void end_frame(struct websocket *w, const struct wslay_frame_iocb *f, struct evbuffer *out)
{
    size_t n = (size_t)w->got;

    w->got = 0;
    if (wslay_is_ctrl_frame(f->opcode)) {
        take_control(w, f->opcode, n, out);
        return;
    }
    w->in_message = !f->fin;
    w->message = f->fin ? 0 : w->message + n;
}

static void take_piece(struct websocket *w, const struct wslay_frame_iocb *f, struct evbuffer *out)
{
    const char *wrong = breach(w, f);

    if (wrong) {
        websocket_close(w, WEBSOCKET_PROTOCOL, wrong, out);
        return;
    }
    if (wslay_is_ctrl_frame(f->opcode)) {
        memcpy(w->control + w->got, f->data, f->data_length);
    } else if (f->payload_length > WEBSOCKET_MESSAGE_MAX - w->message) {
        websocket_close(w, WEBSOCKET_TOO_BIG, "Messages of clients have no meaning here; this one is too long.", out);
        return;
    }
    w->got += f->data_length;
    if (w->got == f->payload_length)
        end_frame(w, f, out);
}

bool websocket_take(struct websocket *w, struct evbuffer *in, struct evbuffer *out)
{
    struct wslay_frame_iocb f = { 0 };
    ssize_t r = 0;

    w->in = in;
    if (evbuffer_get_length(in))
        w->unanswered = 0;
    while (!w->code && (r = wslay_frame_recv(w->frames, &f)) >= 0)
        take_piece(w, &f, out);
    if (r < 0 && r != WSLAY_ERR_WANT_READ)
        websocket_close(w, WEBSOCKET_PROTOCOL, "This is no frame.", out);
    w->in = NULL;
    (void)evbuffer_drain(in, evbuffer_get_length(in));
    return !w->code;
}

static ssize_t read_input(uint8_t *bytes, size_t n, int flags, void *arg)
{
    struct websocket *w = arg;
    int got = evbuffer_remove(w->in, bytes, n);

    (void)flags;
    return got > 0 ? got : -1;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

struct websocket *websocket_new(void)
{
    static const struct wslay_frame_callbacks callbacks = { .recv_callback = read_input };
    struct websocket *w = xcalloc(1, sizeof(*w));

    if (wslay_frame_context_init(&w->frames, &callbacks, w) != 0)
        abort();
    return w;
}

void websocket_free(struct websocket *w)
{
    if (!w)
        return;
    wslay_frame_context_free(w->frames);
    free(w);
}
