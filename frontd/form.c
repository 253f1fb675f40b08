/* A delimiter is CRLF, two dashes and the boundary. A CR stands nowhere in it but at its beginning, so bytes that match
 * it for a while and then do not are data up to the present one: nothing has to be looked at twice. */
#include "frontd/form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { DELIMITER_MAX = 4 + FORM_BOUNDARY_MAX };

enum where { PREAMBLE, DATA, BEHIND, HEADER, EPILOGUE };

struct form {
    const struct form_ops *ops;
    void *arg;
    char delimiter[DELIMITER_MAX + 1];
    size_t length, matched;           /* of the delimiter */
    enum where where;
    char line[FORM_HEADER_MAX];       /* the header of a part, or what is behind a delimiter */
    size_t n_line;
    unsigned parts;
    int error;
};

/* --- boundaries ------------------------------------------------------------------------------------------- */

static bool is_boundary(const char *s, size_t n)
{
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'()+_,-./:=? ";

    return n > 0 && n <= FORM_BOUNDARY_MAX && s[n - 1] != ' ' && strspn(s, all) >= n;
}

/* The value of `name` in "; name=value; other=\"value\"", with its length; NULL: there is none, or it is not closed. */
static const char *parameter(const char *p, const char *name, size_t *ret_n)
{
    size_t len = strlen(name);

    while (p && (p = strchr(p, ';'))) {
        p += 1 + strspn(p + 1, " \t");
        if (strncasecmp(p, name, len) != 0 || p[len] != '=') {
            const char *quote = strchr(p, '"'), *next = strchr(p, ';');

            if (quote && next && quote < next) {    /* a semicolon may stand in a quoted value */
                for (quote++; *quote && *quote != '"'; quote++)
                    quote += *quote == '\\' && quote[1];
                p = *quote ? quote : NULL;
            }
            continue;
        }
        p += len + 1;
        if (*p != '"') {
            *ret_n = strcspn(p, "; \t\r");
            return p;
        }
        for (*ret_n = 0, p++; p[*ret_n] && p[*ret_n] != '"'; ++*ret_n)
            *ret_n += p[*ret_n] == '\\' && p[*ret_n + 1];
        return p[*ret_n] ? p : NULL;
    }
    return NULL;
}

bool form_boundary(const char *content_type, char out[FORM_BOUNDARY_MAX + 1])
{
    static const char type[] = "multipart/form-data";
    const char *rest = content_type + sizeof(type) - 1, *value;
    size_t n = 0;

    if (strncasecmp(content_type, type, sizeof(type) - 1) != 0 || (*rest && !strchr("; \t", *rest)))
        return false;
    value = parameter(rest, "boundary", &n);
    if (!value || !is_boundary(value, n))
        return false;
    memcpy(out, value, n);
    out[n] = '\0';
    return true;
}

/* --- the header of a part --------------------------------------------------------------------------------- */

static int copy_value(const char *from, size_t n, char out[FORM_NAME_SIZE])
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        i += from[i] == '\\' && i + 1 < n && strchr("\\\"", from[i + 1]);
        if ((unsigned char)from[i] < ' ' || from[i] == 0x7f)
            return -EBADMSG;
        if (at + 1 >= FORM_NAME_SIZE)
            return -E2BIG;
        out[at++] = from[i];
    }
    out[at] = '\0';
    return 0;
}

static int read_disposition(const char *value, struct form_part *part)
{
    size_t n = 0, type = strlen("form-data");
    const char *name, *filename;
    int r;

    value += strspn(value, " \t");
    if (strncasecmp(value, "form-data", type) != 0 || !(name = parameter(value + type, "name", &n)) || n == 0)
        return -EBADMSG;
    r = copy_value(name, n, part->name);
    filename = parameter(value + type, "filename", &n);
    part->has_filename = filename != NULL;
    return r < 0 || !filename ? r : copy_value(filename, n, part->filename);
}

/* The lines of the header, each with its CRLF; a CR or LF that stands alone, a NUL, and a line that is folded make it
 * none. */
static int read_header(char *text, struct form_part *part)
{
    static const char disposition[] = "Content-Disposition:";
    bool found = false;

    while (*text) {
        char *end = strpbrk(text, "\r\n");
        int r = 0;

        if (!end || end[0] != '\r' || end[1] != '\n' || *text == ' ' || *text == '\t')
            return -EBADMSG;
        *end = '\0';
        if (strncasecmp(text, disposition, sizeof(disposition) - 1) == 0)
            r = found ? -EBADMSG : read_disposition(text + sizeof(disposition) - 1, part);
        else if (!strchr(text, ':'))
            r = -EBADMSG;
        found = found || strncasecmp(text, disposition, sizeof(disposition) - 1) == 0;
        if (r < 0)
            return r;
        text = end + 2;
    }
    return found ? 0 : -EBADMSG;
}

static int begin_part(struct form *f)
{
    struct form_part part = { 0 };
    int r;

    f->line[f->n_line - 2] = '\0';   /* the empty line */
    r = memchr(f->line, '\0', f->n_line - 2) ? -EBADMSG : read_header(f->line, &part);
    f->n_line = 0;
    f->where = DATA;
    return r < 0 ? r : f->ops->begin(&part, f->arg);
}

static bool ends_with(const struct form *f, const char *tail)
{
    size_t n = strlen(tail);

    return f->n_line >= n && memcmp(f->line + f->n_line - n, tail, n) == 0;
}

static int take_header(struct form *f, char c)
{
    if (f->n_line == sizeof(f->line))
        return -E2BIG;
    f->line[f->n_line++] = c;
    if (ends_with(f, "\r\n\r\n") || (f->n_line == 2 && ends_with(f, "\r\n")))
        return begin_part(f);
    return 0;
}

/* --- what is behind a delimiter ----------------------------------------------------------------------------- */

/* Two dashes: that was the last one. White space and a line end: a part begins. */
static int take_behind(struct form *f, char c)
{
    if (f->n_line == sizeof(f->line))
        return -E2BIG;
    f->line[f->n_line++] = c;
    if (f->n_line == 2 && memcmp(f->line, "--", 2) == 0) {
        f->where = EPILOGUE;
        return 0;
    }
    if (ends_with(f, "\r\n")) {
        f->n_line = 0;
        f->where = HEADER;
        return ++f->parts > FORM_PARTS_MAX ? -E2BIG : 0;
    }
    if (c == ' ' || c == '\t' || c == '\r' || (c == '-' && f->n_line == 1))
        return 0;
    return -EBADMSG;
}

static int matched_all(struct form *f)
{
    enum where before = f->where;

    f->matched = 0;
    f->n_line = 0;
    f->where = BEHIND;
    return before == DATA ? f->ops->end(f->arg) : 0;
}

/* --- data --------------------------------------------------------------------------------------------------- */

static int hand_over(struct form *f, const char *bytes, size_t n)
{
    return f->where == DATA && n ? f->ops->data(bytes, n, f->arg) : 0;
}

/* Goes on with a delimiter that has begun. The number of bytes that belong to it, maybe 0, or negative errno. */
static ssize_t match(struct form *f, const char *bytes, size_t n)
{
    size_t i = 0, matched;
    int r = 0;

    while (i < n && f->matched < f->length && bytes[i] == f->delimiter[f->matched]) {
        i++;
        f->matched++;
    }
    if (f->matched == f->length) {
        r = matched_all(f);
    } else if (i < n) {
        matched = f->matched;
        f->matched = 0;
        r = hand_over(f, f->delimiter, matched);
    }
    return r < 0 ? r : (ssize_t)i;
}

/* How many of the bytes were taken, or negative errno. */
static ssize_t take_data(struct form *f, const char *bytes, size_t n)
{
    const char *cr;
    size_t plain;
    int r;

    if (f->matched)
        return match(f, bytes, n);
    cr = memchr(bytes, '\r', n);
    plain = cr ? (size_t)(cr - bytes) : n;
    r = hand_over(f, bytes, plain);
    if (r < 0 || !cr)
        return r < 0 ? r : (ssize_t)n;
    f->matched = 1;
    return (ssize_t)plain + 1;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

static ssize_t take(struct form *f, const char *bytes, size_t n)
{
    int r;

    switch (f->where) {
    case PREAMBLE:
    case DATA:
        return take_data(f, bytes, n);
    case BEHIND:
        r = take_behind(f, *bytes);
        return r < 0 ? r : 1;
    case HEADER:
        r = take_header(f, *bytes);
        return r < 0 ? r : 1;
    case EPILOGUE:
        break;
    }
    return (ssize_t)n;
}

int form_push(struct form *f, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n && !f->error;) {
        ssize_t taken = take(f, (const char *)bytes + at, n - at);

        if (taken < 0)
            f->error = (int)taken;
        else
            at += (size_t)taken;
    }
    return f->error;
}

bool form_complete(const struct form *f)
{
    return !f->error && f->where == EPILOGUE;
}

struct form *form_new(const char *boundary, const struct form_ops *ops, void *arg)
{
    struct form *f = xcalloc(1, sizeof(*f));

    f->ops = ops;
    f->arg = arg;
    strcpy(f->delimiter, "\r\n--");
    strncat(f->delimiter, boundary, FORM_BOUNDARY_MAX);
    f->length = strlen(f->delimiter);
    f->matched = 2;   /* the first delimiter may stand at the very beginning */
    return f;
}

void form_free(struct form *f)
{
    free(f);
}
