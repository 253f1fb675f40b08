/* A chunked body goes through four parts in turn: the size of a chunk, its data, the line end behind
 * it, and after the last the trailer. A body by length is one chunk without the rest. */
#include "frontd/http_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/number.h"

enum { SIZE_DIGITS_MAX = 15, SIZE_LINE_MAX = 256, TRAILER_MAX = 4096 };

/* Returns as http_body_take(), or 2: this part is done, go on with the next. */
typedef int part_fn(struct http_body *b, struct evbuffer *in, struct evbuffer *out);
enum { NEXT_PART = 2 };

/* The next line without its CRLF, to be freed; NULL with *ret_r 0 (not there yet) or -EBADMSG. A CR or LF that stands
 * alone, and a NUL, make it none. */
static char *read_line(struct evbuffer *in, size_t max, int *ret_r)
{
    size_t len;
    char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF), *cr = line ? strchr(line, '\r') : NULL;

    *ret_r = !line && evbuffer_get_length(in) > max ? -EBADMSG : 0;
    if (line && (len > max || !cr || cr != line + len - 1)) {
        free(line);
        line = NULL;
        *ret_r = -EBADMSG;
    }
    if (line)
        *cr = '\0';
    return line;
}

static int take_data(struct http_body *b, struct evbuffer *in, struct evbuffer *out)
{
    size_t have = evbuffer_get_length(in), n = least(have, b->left);

    if (n && evbuffer_remove_buffer(in, out, n) < 0)
        return -ENOMEM;
    b->left -= n;
    b->taken += n;
    if (b->left)
        return 0;
    if (!b->chunked)
        return 1;
    b->part = BODY_CHUNK_END;
    return NEXT_PART;
}

static int take_size(struct http_body *b, struct evbuffer *in, struct evbuffer *out)
{
    int r;
    CLEANUP_FREE char *line = read_line(in, SIZE_LINE_MAX, &r);
    size_t digits;

    (void)out;
    if (!line)
        return r;
    digits = strspn(line, "0123456789abcdefABCDEF");
    if (!digits || digits > SIZE_DIGITS_MAX || (line[digits] && !strchr("; \t", line[digits])))
        return -EBADMSG;
    b->left = strtoull(line, NULL, 16);
    if (b->left > b->max - b->taken)
        return -EMSGSIZE;
    b->part = b->left ? BODY_DATA : BODY_TRAILER;
    return NEXT_PART;
}

static int take_chunk_end(struct http_body *b, struct evbuffer *in, struct evbuffer *out)
{
    char end[2];

    (void)out;
    if (evbuffer_get_length(in) < sizeof(end))
        return 0;
    evbuffer_remove(in, end, sizeof(end));
    b->part = BODY_SIZE;
    return memcmp(end, "\r\n", sizeof(end)) == 0 ? NEXT_PART : -EBADMSG;
}

/* Trailer fields are read over: nothing here asks for any. */
static int take_trailer(struct http_body *b, struct evbuffer *in, struct evbuffer *out)
{
    int r;
    CLEANUP_FREE char *line = read_line(in, TRAILER_MAX, &r);

    (void)out;
    if (!line)
        return r;
    if (!*line)
        return 1;
    b->trailer += (unsigned)strlen(line);
    return b->trailer > TRAILER_MAX ? -EBADMSG : NEXT_PART;
}

void http_body_init(struct http_body *b, const struct http_head *h, uint64_t max)
{
    *b = (struct http_body){
        .chunked = h->chunked,
        .max = max,
        .left = h->content_length,
        .part = h->chunked ? BODY_SIZE : BODY_DATA,
    };
}

int http_body_take(struct http_body *b, struct evbuffer *in, struct evbuffer *out)
{
    static part_fn *const parts[] = {
        [BODY_DATA] = take_data,
        [BODY_SIZE] = take_size,
        [BODY_CHUNK_END] = take_chunk_end,
        [BODY_TRAILER] = take_trailer,
    };
    int r = !b->chunked && b->left > b->max - b->taken ? -EMSGSIZE : NEXT_PART;

    while (r == NEXT_PART)
        r = parts[b->part](b, in, out);
    return r;
}
