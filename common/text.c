/* Pure text. Knows nothing of any process. */
#include "common/text.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/timespec.h"

void text_free(struct text *t)
{
    free(t->data);
    t->data = NULL;
    t->len = 0;
}

void text_reset(struct text *t)
{
    t->len = 0;
    t->error = 0;
    if (t->data)
        t->data[0] = '\0';
}

/* The allocation for so many bytes: a power of two, so it follows from len. */
static size_t room_for(size_t n)
{
    return n <= 64 ? 64 : (size_t)1 << (CHAR_BIT * sizeof(n) - (size_t)__builtin_clzl(n - 1));
}

/* Room for `more` bytes and the NUL. */
static int reserve(struct text *t, size_t more)
{
    size_t want, have = t->data ? room_for(t->len + 1) : 0;
    char *grown;

    if (t->error)
        return t->error;
    if (more > t->max || t->len > t->max - more)
        return t->error = -EMSGSIZE;
    want = room_for(t->len + more + 1);
    if (want == have)
        return 0;
    grown = realloc(t->data, want);
    if (!grown)
        return t->error = -ENOMEM;
    t->data = grown;
    return 0;
}

int text_add(struct text *t, const void *data, size_t len)
{
    if (reserve(t, len) < 0)
        return t->error;
    if (len)
        memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
    return 0;
}

int text_puts(struct text *t, const char *s)
{
    return text_add(t, s, strlen(s));
}

int text_printf(struct text *t, const char *fmt, ...)
{
    va_list args, copy;
    int n;

    va_start(args, fmt);
    va_copy(copy, args);
    n = vsnprintf(NULL, 0, fmt, copy);
    va_end(copy);
    if (n < 0)
        t->error = -EINVAL;
    else if (reserve(t, (size_t)n) == 0) {
        (void)vsnprintf(t->data + t->len, (size_t)n + 1, fmt, args);
        t->len += (size_t)n;
    }
    va_end(args);
    return t->error;
}

char *text_take(struct text *t)
{
    char *taken;

    if (t->error || reserve(t, 0) < 0) {
        text_free(t);
        return NULL;
    }
    taken = t->data;
    taken[t->len] = '\0';
    t->data = NULL;
    t->len = 0;
    return taken;
}

static bool unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

int text_percent_encode(struct text *t, const void *data, size_t len, bool keep_slash)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++) {
        if (unreserved(p[i]) || (keep_slash && p[i] == '/'))
            text_add(t, p + i, 1);
        else
            text_printf(t, "%%%02X", p[i]);
    }
    return t->error;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long text_percent_decode(char *s)
{
    char *out = s;

    for (const char *in = s; *in; in++) {
        if (*in == '%') {
            int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);

            if (low < 0 || (high == 0 && low == 0))
                return -EINVAL;
            *out++ = (char)(high << 4 | low);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    return out - s;
}

void text_hex(const void *data, size_t n, char *out)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = "0123456789abcdef"[p[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
    }
    out[2 * n] = '\0';
}

int text_unhex(const char *hex, void *out, size_t n)
{
    unsigned char *p = out;

    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(hex[2 * i]), low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);

        if (low < 0)
            return -EINVAL;
        p[i] = (unsigned char)(high << 4 | low);
    }
    return hex[2 * n] ? -EINVAL : 0;
}

bool text_number(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t n = 0;

    if (!*s || s[strspn(s, "0123456789")])
        return false;
    for (; *s; s++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n))
            return false;
    if (n > max)
        return false;
    *ret = n;
    return true;
}

void id_new(char out[ID_SIZE])
{
    unsigned char b[16];

    /* Short reads of the kernel's pool do not happen below 256 bytes; getrandom(2). */
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        abort();
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, ID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
                   b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

bool id_valid(const char *s)
{
    for (size_t i = 0; i < ID_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s[i] != '-' : hex_digit(s[i]) < 0)
            return false;
    }
    return s[ID_SIZE - 1] == '\0';
}

void date_iso(int64_t ns, char out[DATE_SIZE])
{
    time_t seconds = timespec_of(ns).tv_sec;
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || !strftime(out, DATE_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
        (void)snprintf(out, DATE_SIZE, "0001-01-01T00:00:00Z");
}

/* ".123" -> nanoseconds; moves *s behind it. */
static int64_t fraction(const char **s)
{
    int64_t ns = 0, unit = 100000000;

    if (**s != '.')
        return 0;
    for ((*s)++; **s >= '0' && **s <= '9'; (*s)++) {
        ns += (**s - '0') * unit;
        unit /= 10;
    }
    return ns;
}

int date_parse(const char *s, int64_t *ret_ns)
{
    struct tm tm = { .tm_mday = 1 };
    const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t ns = 0;

    if (end) {
        ns = fraction(&end);
        if (strcmp(end, "Z") != 0)
            return -EINVAL;
    } else {
        end = strptime(s, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if (!end || *end)
            return -EINVAL;
    }
    *ret_ns = timespec_ns((struct timespec){ .tv_sec = timegm(&tm), .tv_nsec = ns });
    return 0;
}

/* RFC 3629, section 4. */
size_t utf8_sequence(const void *bytes, size_t len)
{
    static const struct {
        unsigned char first, last, low, high; /* range of the lead byte, and of the byte after it */
        size_t n;
    } rows[] = {
        { 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    const unsigned char *s = bytes;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (s[0] < rows[i].first || s[0] > rows[i].last || rows[i].n > len)
            continue;
        if (rows[i].n > 1 && (s[1] < rows[i].low || s[1] > rows[i].high))
            return 0;
        for (size_t k = 2; k < rows[i].n; k++)
            if (s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return rows[i].n;
    }
    return 0;
}

bool utf8_valid(const void *s, size_t len)
{
    const unsigned char *p = s;

    while (len) {
        size_t n = utf8_sequence(p, len);

        if (!n)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

size_t utf8_cut(const char *s, size_t len, size_t room)
{
    if (len <= room)
        return len;
    while (room > 0 && ((unsigned char)s[room] & 0xc0) == 0x80)
        room--;
    return room;
}

/* By code point, as in the Unicode Character Database: Cc, Zl, Zp, and the bidi embeddings, overrides and isolates. */
static const struct {
    uint32_t first, last;
} controls[] = {
    { 0x00, 0x1f }, { 0x7f, 0x9f }, { 0x2028, 0x202e }, { 0x2066, 0x2069 },
};

/* The code point at s, of valid UTF-8. */
static uint32_t code_point(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0];
    if (s[0] < 0xe0)
        return (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
    if (s[0] < 0xf0)
        return (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 | (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
}

bool text_has_control(const char *s)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + strlen(s);

    for (; p < end; p += utf8_sequence(p, (size_t)(end - p)))
        for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++)
            if (code_point(p) >= controls[i].first && code_point(p) <= controls[i].last)
                return true;
    return false;
}
