/* Keys' components and names: the escape, both ways. The way back checks itself by going there again, so that no name
 * denotes what another one does. */
#include "syncd/name.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/hash.h"

#define ESCAPE "\xe2\x90\x9b"

enum {
    ESCAPE_BYTES = sizeof(ESCAPE) - 1,
    BYTE_BYTES = ESCAPE_BYTES + 2,           /* an escaped byte */
    DIGITS = 32,                             /* of a shortened name */
    CUT_BYTES = ESCAPE_BYTES + 1 + DIGITS,
};
static const char CUT = '~', HEX[] = "0123456789ABCDEF";

static bool is_escape(const char *s, size_t len)
{
    return len >= ESCAPE_BYTES && memcmp(s, ESCAPE, ESCAPE_BYTES) == 0;
}

/* --- from component to name --------------------------------------------------------------------------- */

static bool is_dots(const char *component)
{
    return strcmp(component, ".") == 0 || strcmp(component, "..") == 0;
}

static size_t put_byte(unsigned char byte, char out[BYTE_BYTES])
{
    memcpy(out, ESCAPE, ESCAPE_BYTES);
    out[ESCAPE_BYTES] = HEX[byte >> 4];
    out[ESCAPE_BYTES + 1] = HEX[byte & 15];
    return BYTE_BYTES;
}

/* What the beginning of s becomes; *s moves behind it. */
static size_t put_next(const char **s, size_t left, char out[2 * ESCAPE_BYTES])
{
    size_t n = utf8_sequence(*s, left);
    const char *from = *s;

    *s += n ? n : 1;
    if (n == 0)
        return put_byte((unsigned char)*from, out);
    if (is_escape(from, left)) {
        memcpy(out, ESCAPE ESCAPE, 2 * ESCAPE_BYTES);
        return 2 * ESCAPE_BYTES;
    }
    memcpy(out, from, n);
    return n;
}

/* As much of the component's name as there is room for. False: that is not all. */
static bool put(const char *component, size_t room, char *out, size_t *ret_len)
{
    const char *s = component, *end = s + strlen(s);
    char next[2 * ESCAPE_BYTES];
    size_t n;

    *ret_len = 0;
    while (s < end) {
        n = s == component && is_dots(s) ? put_byte((unsigned char)*s++, next) : put_next(&s, (size_t)(end - s), next);
        if (n > room - *ret_len)
            return false;
        memcpy(out + *ret_len, next, n);
        *ret_len += n;
    }
    return true;
}

static size_t put_shortened(const char *component, size_t room, char *out)
{
    char digest[HASH_SHA256_HEX];
    size_t len;

    hash_sha256_hex(component, strlen(component), digest);
    (void)put(component, room - CUT_BYTES, out, &len);
    memcpy(out + len, ESCAPE, ESCAPE_BYTES);
    out[len + ESCAPE_BYTES] = CUT;
    memcpy(out + len + ESCAPE_BYTES + 1, digest, DIGITS);
    return len + CUT_BYTES;
}

void name_of_key(const char *component, bool beside, char out[NAME_SIZE])
{
    size_t room = NAME_BYTES_MAX - (beside ? ESCAPE_BYTES : 0), len;

    if (!put(component, room, out, &len))
        len = put_shortened(component, room, out);
    if (beside || !*component) {
        memcpy(out + len, ESCAPE, ESCAPE_BYTES);
        len += ESCAPE_BYTES;
    }
    out[len] = '\0';
}

/* --- from name to component --------------------------------------------------------------------------- */

static int digit(char c)
{
    const char *at = c ? strchr(HEX, c) : NULL;

    return at ? (int)(at - HEX) : -1;
}

/* The escapes of a name undone, one after the other. */
struct reading {
    const char *at, *end;
    char *out;
    bool beside, cut;
};

static int read_escape(struct reading *r)
{
    size_t left = (size_t)(r->end - r->at) - ESCAPE_BYTES;
    const char *s = r->at + ESCAPE_BYTES;

    r->at = s;
    if (left == 0) {
        r->beside = true;
    } else if (is_escape(s, left)) {
        memcpy(r->out, ESCAPE, ESCAPE_BYTES);
        r->out += ESCAPE_BYTES;
        r->at += ESCAPE_BYTES;
    } else if (*s == CUT) {
        r->cut = true;
        r->at = r->end;
        r->beside = left == 1 + DIGITS + ESCAPE_BYTES;
    } else if (left >= 2 && digit(s[0]) >= 0 && digit(s[1]) >= 0 && digit(s[0]) + digit(s[1]) > 0) {
        *r->out++ = (char)(digit(s[0]) << 4 | digit(s[1]));
        r->at += 2;
    } else {
        return -EINVAL;
    }
    return 0;
}

static int read_all(struct reading *r)
{
    int error = 0;

    while (error == 0 && r->at < r->end)
        if (is_escape(r->at, (size_t)(r->end - r->at)))
            error = read_escape(r);
        else
            *r->out++ = *r->at++;
    return error;
}

static bool is_name_of(const char *component, bool beside, const char *name, size_t len)
{
    char again[NAME_SIZE];

    name_of_key(component, beside, again);
    return strlen(again) == len && memcmp(again, name, len) == 0;
}

int name_to_key(const char *name, size_t len, const char *known, char **ret, bool *ret_beside)
{
    CLEANUP_FREE char *component = NULL;
    struct reading r = { .at = name, .end = name + len };

    if (len > NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    if (len == 0 || memchr(name, '\0', len))
        return -EINVAL;
    if (!utf8_valid(name, len))
        return -EILSEQ;
    r.out = component = xcalloc(1, len + 1);
    if (read_all(&r) < 0)
        return -EINVAL;
    r.beside &= r.out > component || r.cut;
    if (r.cut)
        xstrset(&component, known);
    if (!component || !is_name_of(component, r.beside, name, len))
        return -EINVAL;
    *ret = take_ptr(component);
    *ret_beside = r.beside;
    return 0;
}

char *name_plain(const char *name)
{
    char *plain = xstrdup(name), *out = plain;

    for (const char *s = name; *s;) {
        bool escape = is_escape(s, strlen(s));

        *out++ = escape ? '_' : *s;
        s += escape ? ESCAPE_BYTES : 1;
    }
    *out = '\0';
    return plain;
}
