/* Small pure text: growing buffer with a maximum, percent coding, hex, numbers, ids, dates, UTF-8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing buffer that has its maximum from birth. After the first failure it stays failed and
 * further writes do nothing, so a chain is checked once at its end. Always NUL-terminated. */
struct text {
    char *data;      /* owned; NULL when empty */
    size_t len, max;
    int error;       /* 0, or -EMSGSIZE / -ENOMEM */
};
#define TEXT_INIT(maximum) { NULL, 0, (maximum), 0 }
void text_free(struct text *t);
int text_add(struct text *t, const void *data, size_t len);
int text_puts(struct text *t, const char *s);
int text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_reset(struct text *t);
/* The string, owned by the caller; the buffer is empty again. NULL if the buffer failed; "" never NULL otherwise. */
char *text_take(struct text *t);

/* RFC 3986 percent-encoding of everything but unreserved characters (and '/' when keep_slash),
 * upper-case hex, as SigV4's UriEncode. Appends to t. */
int text_percent_encode(struct text *t, const void *data, size_t len, bool keep_slash);
/* Decodes in place; '+' stays '+'. Returns the new length or -EINVAL on a bad escape or an encoded NUL. */
long text_percent_decode(char *s);

/* Lower-case hex of n bytes into out (2n + 1 bytes). */
void text_hex(const void *data, size_t n, char *out);
/* n bytes from 2n hex digits; 0 or -EINVAL. */
int text_unhex(const char *hex, void *out, size_t n);

/* A number as a person or a file gives it: decimal digits and nothing else, `max` at most. False: it is none, and *ret
 * stays as it was. */
bool text_number(const char *s, uint64_t max, uint64_t *ret);

enum { ID_SIZE = 37 };
/* A random UUID (version 4), lower case. */
void id_new(char out[ID_SIZE]);
/* Whether s is a UUID in canonical lower- or upper-case form. */
bool id_valid(const char *s);

/* Nanoseconds since the epoch as ISO 8601 UTC with seconds: "2026-01-01T00:00:00Z". out >= 32 bytes. */
enum { DATE_SIZE = 32 };
void date_iso(int64_t ns, char out[DATE_SIZE]);
/* Parses ISO 8601 ("...Z", optional fraction) and RFC 9110 IMF-fixdate; within the limits of
 * timespec_ns(). 0 or -EINVAL. */
int date_parse(const char *s, int64_t *ret_ns);

/* Bytes of the UTF-8 character that the len bytes, at least one, begin with; 0: none. */
size_t utf8_sequence(const void *bytes, size_t len);
/* Whether the len bytes are valid UTF-8 without surrogates and overlong forms. */
bool utf8_valid(const void *s, size_t len);
/* The bytes of whole characters among the first `room` of the len bytes. */
size_t utf8_cut(const char *s, size_t len, size_t room);
/* Whether the text, which is valid UTF-8, has characters that a terminal or a browser obeys instead of showing:
 * controls (C0, DEL, C1), line and paragraph separators, and those that turn the direction of what follows. */
bool text_has_control(const char *s);
