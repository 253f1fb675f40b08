/* Five bits a digit, most significant first. */
#include "syncd/base32.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char digits32[] = "0123456789abcdefghijklmnopqrstuv";

int base32hex_encode(struct text *t, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (have += 8; have >= 5; have -= 5)
            text_add(t, &digits32[bits >> (have - 5) & 31], 1);
    }
    if (have)
        text_add(t, &digits32[bits << (5 - have) & 31], 1);
    return t->error;
}

long base32hex_decode(const char *digits, size_t n, void *out)
{
    uint8_t *p = out;
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < n; i++) {
        int c = tolower((unsigned char)digits[i]);
        const char *digit = c ? strchr(digits32, c) : NULL;

        if (!digit)
            return -EINVAL;
        bits = bits << 5 | (uint32_t)(digit - digits32);
        have += 5;
        if (have >= 8) {
            have -= 8;
            *p++ = (uint8_t)(bits >> have);
        }
    }
    return (bits & ((1u << have) - 1)) ? -EINVAL : p - (uint8_t *)out;
}
