/* Lines on stderr. One write(2) per line, so that lines of several threads do not mix. */
#include "common/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, VALUE_MAX_BYTES = 2048, PAIRS_MAX = 16 };

static const char *log_daemon = "landfall";
static int log_max = LOG_INFO;
static bool log_terminal;

struct line {
    char data[LINE_MAX_BYTES];
    size_t len;
};

void log_init(const char *daemon, int max_priority)
{
    log_daemon = daemon;
    log_max = max_priority;
    log_terminal = isatty(STDERR_FILENO) == 1;
}

/* Keeps one byte for the newline. */
static void add(struct line *l, const char *s, size_t n)
{
    size_t room = sizeof(l->data) - 1 - l->len;

    if (n > room)
        n = room;
    memcpy(l->data + l->len, s, n);
    l->len += n;
}

static void add_text(struct line *l, const char *s)
{
    add(l, s, strlen(s));
}

static bool plain(const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p <= ' ' || *p == '"' || *p == '\\' || *p == '=' || *p >= 0x7f)
            return false;
    return *value != '\0';
}

static void add_quoted(struct line *l, const char *value)
{
    char escape[8];

    add_text(l, "\"");
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (*p == '"' || *p == '\\')
            (void)snprintf(escape, sizeof(escape), "\\%c", *p);
        else if (*p < ' ' || *p == 0x7f)
            (void)snprintf(escape, sizeof(escape), "\\x%02x", *p);
        else
            (void)snprintf(escape, sizeof(escape), "%c", *p);
        add_text(l, escape);
    }
    add_text(l, "\"");
}

/* `pair` is "key=value"; the value may hold anything. */
static void add_pair(struct line *l, const char *pair)
{
    const char *value = strchr(pair, '=');

    value = value ? value + 1 : pair;
    add_text(l, " ");
    add(l, pair, (size_t)(value - pair));
    if (plain(value))
        add_text(l, value);
    else
        add_quoted(l, value);
}

/* Passes over the one argument of a pair's format, as vprintf reads it. */
static void format_pair(const char *fmt, va_list *args, char *out, size_t size)
{
    va_list copy;
    const char *p = strchr(fmt, '%');

    va_copy(copy, *args);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"   /* the caller's, who is told the form in log.h */
    (void)vsnprintf(out, size, fmt, copy);
#pragma GCC diagnostic pop
    va_end(copy);
    if (!p)
        return;
    p += strcspn(p, "diouxXcspfgeEG");
    if (*p == 's' || *p == 'p')
        (void)va_arg(*args, void *);
    else if (*p && strchr("fgeEG", *p))
        (void)va_arg(*args, double);
    else if (p[-1] == 'l' || p[-1] == 'z' || p[-1] == 'j')
        (void)va_arg(*args, long);
    else
        (void)va_arg(*args, int);
}

void log_event(int priority, const char *event, uint64_t trace, ...)
{
    struct line l = { .len = 0 };
    char pair[VALUE_MAX_BYTES];
    const char *fmt;
    va_list args;

    if (priority > log_max)
        return;
    if (!log_terminal) {
        (void)snprintf(pair, sizeof(pair), "<%d>", priority);
        add_text(&l, pair);
    }
    add_text(&l, log_daemon);
    add_text(&l, " ");
    add_text(&l, event);
    va_start(args, trace);
    for (int n = 0; n < PAIRS_MAX && (fmt = va_arg(args, const char *)) != NULL; n++) {
        format_pair(fmt, &args, pair, sizeof(pair));
        add_pair(&l, pair);
    }
    va_end(args);
    if (trace) {
        (void)snprintf(pair, sizeof(pair), "trace=%llx", (unsigned long long)trace);
        add_pair(&l, pair);
    }
    l.data[l.len++] = '\n';
    /* A log that cannot be written has nobody to tell. */
    ssize_t ignored = write(STDERR_FILENO, l.data, l.len);
    (void)ignored;
}
