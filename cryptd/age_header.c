/* Owns the text of a header. Knows no key and no algorithm. */
#include "cryptd/age_header.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/base64.h"
#include "common/number.h"

#define ORIGIN "age-encryption.org/"
#define VERSION_LINE ORIGIN "v1"

enum { LINE = 64, LINE_BYTES = 48, MAC_LENGTH = BASE64_RAW_LENGTH(AGE_MAC_SIZE) };

/* --- lines ------------------------------------------------------------------------------------- */

struct reader {
    const char *text;
    size_t len, at;
};

/* The next line without its newline. 0, -ENODATA, or -EMSGSIZE beyond the limit. */
static int next_line(struct reader *r, const char **ret, size_t *ret_n)
{
    size_t most = least(r->len, AGE_HEADER_MAX);
    const char *begin = r->at < most ? r->text + r->at : NULL;   /* nothing need not be anywhere */
    const char *end = begin ? memchr(begin, '\n', most - r->at) : NULL;

    if (!end)
        return r->len >= AGE_HEADER_MAX ? -EMSGSIZE : -ENODATA;
    *ret = begin;
    *ret_n = (size_t)(end - begin);
    r->at += *ret_n + 1;
    return 0;
}

static bool visible(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '!' || s[i] > '~')
            return false;
    return n > 0;
}

static bool begins(const char *s, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

static int read_version(struct reader *r)
{
    const char *line;
    size_t n;
    int e = next_line(r, &line, &n);

    if (e < 0)
        return begins(r->text, least(r->len, strlen(ORIGIN)), ORIGIN) || r->len < strlen(ORIGIN) ? e : -EINVAL;
    if (n == strlen(VERSION_LINE) && memcmp(line, VERSION_LINE, n) == 0)
        return 0;
    if (begins(line, n, ORIGIN) && visible(line, n) && n > strlen(ORIGIN))
        return -EOPNOTSUPP;
    return -EINVAL;
}

/* --- stanzas ----------------------------------------------------------------------------------- */

/* One line of a body; the decoded bytes that fit are kept. The number of characters, or a negative errno. */
static int read_body_line(struct reader *r, struct age_stanza *s)
{
    uint8_t bytes[LINE_BYTES + 2];
    const char *line;
    size_t n;
    long got;
    int e = next_line(r, &line, &n);

    if (e < 0)
        return e;
    got = n > LINE ? -EINVAL : base64_raw_decode(line, n, bytes);
    if (got < 0)
        return -EINVAL;
    if (s->body_len < AGE_BODY_MAX)
        memcpy(s->body + s->body_len, bytes, least((size_t)got, AGE_BODY_MAX - s->body_len));
    s->body_len += (size_t)got;
    return (int)n;
}

static bool read_arguments(const char *line, size_t n, struct age_stanza *s)
{
    const char *space = memchr(line, ' ', n);

    s->type = line;
    s->type_len = space ? (size_t)(space - line) : n;
    s->args = space ? space + 1 : NULL;
    s->args_len = space ? n - s->type_len - 1 : 0;
    for (const char *word = line, *end = line + n; ; word = space + 1) {
        space = memchr(word, ' ', (size_t)(end - word));
        if (!visible(word, (size_t)((space ? space : end) - word)))
            return false;
        if (!space)
            return true;
    }
}

static int read_stanza(struct reader *r, const char *line, size_t n, struct age_header *h)
{
    struct age_stanza *s;
    int got;

    if (h->n_stanzas == AGE_STANZAS_MAX)
        return -EMSGSIZE;
    s = &h->stanzas[h->n_stanzas++];
    s->body_len = 0;
    if (!read_arguments(line + 3, n - 3, s))
        return -EINVAL;
    do
        got = read_body_line(r, s);
    while (got == LINE);
    return got < 0 ? got : 0;
}

/* "--- " and the MAC; the line ends at r->at. */
static int read_end(const struct reader *r, const char *line, size_t n, struct age_header *h)
{
    uint8_t mac[AGE_MAC_SIZE + 2];

    if (h->n_stanzas == 0 || n != 4 + MAC_LENGTH || !begins(line, n, "--- ") ||
        base64_raw_decode(line + 4, MAC_LENGTH, mac) != AGE_MAC_SIZE)
        return -EINVAL;
    memcpy(h->mac, mac, AGE_MAC_SIZE);
    h->covered = (size_t)(line - r->text) + 3;
    h->size = r->at;
    return 0;
}

int age_header_read(const char *text, size_t len, struct age_header *h)
{
    struct reader r = { .text = text, .len = len };
    const char *line;
    size_t n;
    int e = read_version(&r);

    h->n_stanzas = 0;
    while (e == 0) {
        e = next_line(&r, &line, &n);
        if (e == 0 && !begins(line, n, "-> "))
            return read_end(&r, line, n, h);
        if (e == 0)
            e = read_stanza(&r, line, n, h);
    }
    return e;
}

int age_stanza_is(const struct age_stanza *s, const char *type)
{
    return s->type_len == strlen(type) && memcmp(s->type, type, s->type_len) == 0;
}

/* --- writing ----------------------------------------------------------------------------------- */

static void put(struct age_writer *w, const char *text)
{
    size_t n = strlen(text);

    if (w->error == 0 && n > w->room - w->len)
        w->error = -EMSGSIZE;
    if (w->error == 0) {
        memcpy(w->data + w->len, text, n);
        w->len += n;
    }
}

static void put_base64(struct age_writer *w, const void *data, size_t n)
{
    char text[BASE64_LENGTH(LINE_BYTES) + 1];

    assert(n < LINE_BYTES);   /* then it is one line, the last */
    base64_raw_encode(data, n, text);
    put(w, text);
    put(w, "\n");
}

void age_write_begin(struct age_writer *w)
{
    put(w, VERSION_LINE "\n");
}

void age_write_stanza(struct age_writer *w, const char *type_and_args, const void *body, size_t n)
{
    put(w, "-> ");
    put(w, type_and_args);
    put(w, "\n");
    put_base64(w, body, n);
}

void age_write_end(struct age_writer *w)
{
    put(w, "---");
}

void age_write_mac(struct age_writer *w, const uint8_t mac[AGE_MAC_SIZE])
{
    put(w, " ");
    put_base64(w, mac, AGE_MAC_SIZE);
}
