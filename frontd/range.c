/* Reads and writes byte ranges. */
#include "frontd/range.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Takes digits at *s and moves behind them. False if there are none. */
static bool take_number(const char **s, int64_t *ret)
{
    const char *p = *s;
    int64_t n = 0;

    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n)) {
            p += strspn(p, "0123456789");
            n = INT64_MAX;
            break;
        }
    if (p == *s)
        return false;
    *s = p;
    *ret = n;
    return true;
}

struct range range_parse(const char *field)
{
    const struct range all = { .kind = RANGE_ALL };
    struct range r = all;
    bool has_first, has_last;

    if (strncasecmp(field, "bytes=", strlen("bytes=")) != 0)
        return all;
    field += strlen("bytes=");
    has_first = take_number(&field, &r.first);
    if (*field++ != '-')
        return all;
    has_last = take_number(&field, &r.last);
    if (*field || (!has_first && !has_last) || (has_first && has_last && r.last < r.first))
        return all;
    r.kind = !has_first ? RANGE_SUFFIX : has_last ? RANGE_SPAN : RANGE_FROM;
    if (r.kind == RANGE_SUFFIX)
        r.first = r.last;
    return r;
}

void range_content(int64_t first, int64_t last, int64_t size, char out[CONTENT_RANGE_SIZE])
{
    if (first > last)
        (void)snprintf(out, CONTENT_RANGE_SIZE, "bytes */%" PRId64, size);
    else
        (void)snprintf(out, CONTENT_RANGE_SIZE, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, first, last, size);
}
