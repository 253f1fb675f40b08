/* Cuts the head of a request apart, in place, in a copy of its own. */
#include "frontd/http_head.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { METHOD_MAX = 20, LENGTH_DIGITS_MAX = 18 };

static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "OTHER" };

const char *http_method_name(enum http_method m)
{
    return methods[m];
}

ssize_t http_head_length(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\0' || (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r')))
            return -EBADMSG;
        if (bytes[i] == '\n' && i >= 3 && bytes[i - 2] == '\n')
            return (ssize_t)i + 1;
    }
    return 0;
}

/* --- lines --------------------------------------------------------------------------------- */

/* Takes the line at *at, without its CRLF, and moves *at behind it. NULL if a CR or LF stands alone. */
static char *take_line(char **at)
{
    char *line = *at, *end = line + strcspn(line, "\r\n");

    if (end[0] != '\r' || end[1] != '\n')
        return NULL;
    *end = '\0';
    *at = end + 2;
    return line;
}

/* RFC 9110, 5.6.2 */
static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("!#$%&'*+-.^_`|~", *s))
            return false;
    return true;
}

/* Visible characters and those beyond ASCII; with spaces and tabs where `spaces`. */
static bool is_visible(const char *s, bool spaces)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 ? !(spaces && *s == '\t') : *s == 0x7f || (*s == ' ' && !spaces))
            return false;
    return true;
}

static enum http_method method_of(const char *name)
{
    enum http_method m = HTTP_GET;

    while (m < HTTP_OTHER && strcmp(methods[m], name) != 0)
        m++;
    return m;
}

/* --- the request line ---------------------------------------------------------------------- */

/* "http://host:port/path" -> authority and what follows. */
static char *cut_authority(struct http_head *h, char *target)
{
    char *authority = target + strlen("http://"), *end = authority + strcspn(authority, "/?");

    if (end == authority)
        return NULL;
    /* The authority moves one to the left, over a slash, to make room for its NUL before the path. */
    memmove(authority - 1, authority, (size_t)(end - authority));
    end[-1] = '\0';
    h->authority = authority - 1;
    return end;
}

/* Whether what is left of the target can be a path: "/...", nothing behind an authority, or "*" of OPTIONS. */
static bool is_path(const struct http_head *h, const char *target)
{
    return *target == '/' || h->authority || (h->method == HTTP_OPTIONS && strcmp(target, "*") == 0);
}

static struct http_refusal parse_target(struct http_head *h, char *target)
{
    char *query;

    if (!is_visible(target, false) || strchr(target, '#'))
        return HTTP_REFUSE(400, "The request target holds characters that must be percent-encoded.");
    if (strncasecmp(target, "http://", strlen("http://")) == 0)
        target = cut_authority(h, target);
    if (!target || !is_path(h, target))
        return HTTP_REFUSE(400, "The request target must be a path or an http:// address.");
    query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    h->path = *target ? target : "/";
    h->query = query;
    return HTTP_FINE;
}

static struct http_refusal parse_version(struct http_head *h, const char *version)
{
    if (strcmp(version, "HTTP/1.1") == 0)
        h->minor = 1;
    else if (strcmp(version, "HTTP/1.0") != 0)
        return strncmp(version, "HTTP/", 5) == 0 ? HTTP_REFUSE(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
                                                 : HTTP_REFUSE(400, "The request line is malformed.");
    return HTTP_FINE;
}

static struct http_refusal parse_request_line(struct http_head *h, char *line)
{
    char *target = line ? strchr(line, ' ') : NULL, *version = target ? strchr(target + 1, ' ') : NULL;
    struct http_refusal refusal;

    if (!version)
        return HTTP_REFUSE(400, "The request line is malformed.");
    *target++ = *version++ = '\0';
    if (!is_token(line) || strlen(line) > METHOD_MAX)
        return HTTP_REFUSE(400, "The request line is malformed.");
    h->method_name = line;
    h->method = method_of(line);
    refusal = parse_version(h, version);
    return refusal.status ? refusal : parse_target(h, target);
}

/* --- fields -------------------------------------------------------------------------------- */

static char *trim(char *s)
{
    size_t n;

    s += strspn(s, " \t");
    n = strlen(s);
    while (n && strchr(" \t", s[n - 1]))
        n--;
    s[n] = '\0';
    return s;
}

static struct http_refusal parse_field(struct http_head *h, char *line)
{
    char *colon = line ? strchr(line, ':') : NULL;

    if (!colon)
        return HTTP_REFUSE(400, "A header field is malformed.");
    *colon = '\0';
    if (!is_token(line) || !is_visible(colon + 1, true))
        return HTTP_REFUSE(400, "A header field is malformed.");
    if (h->n_fields == HTTP_FIELDS_MAX)
        return HTTP_REFUSE(431, "The request has too many header fields.");
    h->fields[h->n_fields].name = line;
    h->fields[h->n_fields++].value = trim(colon + 1);
    return HTTP_FINE;
}

const char *http_head_field(const struct http_head *h, const char *name)
{
    for (size_t i = 0; i < h->n_fields; i++)
        if (strcasecmp(h->fields[i].name, name) == 0)
            return h->fields[i].value;
    return NULL;
}

size_t http_head_count(const struct http_head *h, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < h->n_fields; i++)
        n += strcasecmp(h->fields[i].name, name) == 0;
    return n;
}

bool http_head_lists(const struct http_head *h, const char *name, const char *token)
{
    size_t len = strlen(token);

    for (size_t i = 0; i < h->n_fields; i++) {
        if (strcasecmp(h->fields[i].name, name) != 0)
            continue;
        for (const char *p = h->fields[i].value; *p; p += strcspn(p, ","), p += strspn(p, ", \t"))
            if (strncasecmp(p, token, len) == 0 && (!p[len] || strchr(", \t", p[len])))
                return true;
    }
    return false;
}

/* --- what the fields say of the message ---------------------------------------------------- */

static struct http_refusal parse_length(struct http_head *h)
{
    const char *length = http_head_field(h, "Content-Length");

    if (!length)
        return HTTP_FINE;
    if (http_head_count(h, "Content-Length") > 1 || !*length || strspn(length, "0123456789") != strlen(length) ||
        strlen(length) > LENGTH_DIGITS_MAX)
        return HTTP_REFUSE(400, "The Content-Length is not one plain number.");
    h->content_length = strtoull(length, NULL, 10);
    return HTTP_FINE;
}

static struct http_refusal parse_framing(struct http_head *h)
{
    const char *coding = http_head_field(h, "Transfer-Encoding");

    if (!coding)
        return parse_length(h);
    if (http_head_field(h, "Content-Length") || h->minor == 0)
        return HTTP_REFUSE(400, "Transfer-Encoding conflicts with Content-Length or HTTP/1.0.");
    if (http_head_count(h, "Transfer-Encoding") > 1 || strcasecmp(coding, "chunked") != 0)
        return HTTP_REFUSE(501, "The only transfer coding understood is chunked.");
    h->chunked = true;
    return HTTP_FINE;
}

static struct http_refusal parse_expectation(struct http_head *h)
{
    const char *expect = http_head_field(h, "Expect");

    if (expect && strcasecmp(expect, "100-continue") != 0)
        return HTTP_REFUSE(417, "The only expectation that can be met is 100-continue.");
    h->expects_continue = expect && h->minor == 1;
    return HTTP_FINE;
}

static struct http_refusal parse_lines(struct http_head *h)
{
    char *at = h->text;
    struct http_refusal refusal = parse_request_line(h, take_line(&at));

    while (!refusal.status && strncmp(at, "\r\n", 3) != 0)
        refusal = parse_field(h, take_line(&at));
    if (!refusal.status)
        refusal = parse_framing(h);
    return refusal.status ? refusal : parse_expectation(h);
}

struct http_refusal http_head_parse(struct http_head *h, const char *bytes, size_t len)
{
    struct http_refusal refusal;

    *h = (struct http_head){ .method = HTTP_OTHER, .method_name = "", .path = "" };
    h->text = strndup(bytes, len);
    if (!h->text)
        return HTTP_REFUSE(500, "There is no memory left.");
    refusal = parse_lines(h);
    h->keep_alive = !refusal.status && !http_head_lists(h, "Connection", "close") &&
                    (h->minor == 1 || http_head_lists(h, "Connection", "keep-alive"));
    return refusal;
}

void http_head_free(struct http_head *h)
{
    free(h->text);
    *h = (struct http_head){ .method = HTTP_OTHER };
}
