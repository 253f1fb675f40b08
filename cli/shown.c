/* Widths after Unicode's East Asian Width; what a terminal makes of rarer ones differs anyway. */
#include "cli/shown.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/cleanup.h"

static const struct span { uint32_t first, last; } marks[] = {
    { 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x0610, 0x061a }, { 0x064b, 0x065f },
    { 0x0900, 0x0902 }, { 0x0e34, 0x0e3a }, { 0x0e47, 0x0e4e }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },
    { 0x200b, 0x200d }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0x1f3fb, 0x1f3ff },
    { 0xe0100, 0xe01ef },
}, wide[] = {
    { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0x4dbf },   { 0x4e00, 0xa4cf },   { 0xa960, 0xa97f },
    { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },   { 0xff01, 0xff60 },   { 0xffe0, 0xffe6 },
    { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1faff }, { 0x20000, 0x3fffd },
};

static bool is_in(const struct span *spans, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= spans[i].first && c <= spans[i].last)
            return true;
    return false;
}

/* Of a character that is valid UTF-8 of n bytes. */
static uint32_t code_of(const char *s, size_t n)
{
    uint32_t c = (unsigned char)*s & (n == 1 ? 0x7fu : 0xffu >> (n + 1));

    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3fu);
    return c;
}

unsigned shown_next(const char **s, char out[SHOWN_MAX])
{
    size_t n = utf8_sequence(*s, strlen(*s));
    uint32_t c = n ? code_of(*s, n) : 0;

    memset(out, 0, SHOWN_MAX);
    memcpy(out, *s, n);
    *s += n ? n : 1;
    if (!n || text_has_control(out)) {
        strcpy(out, "?");
        return 1;
    }
    return is_in(marks, ARRAY_SIZE(marks), c) ? 0 : is_in(wide, ARRAY_SIZE(wide), c) ? 2 : 1;
}

size_t shown_columns(const char *s)
{
    char one[SHOWN_MAX];
    size_t columns = 0;

    while (*s)
        columns += shown_next(&s, one);
    return columns;
}

void shown_fit(struct text *out, const char *s, size_t columns)
{
    size_t left = shown_columns(s);
    char one[SHOWN_MAX];
    bool cut = left > columns;

    while (left + cut > columns && *s)
        left -= shown_next(&s, one);
    if (cut && columns)
        (void)text_puts(out, "\u2026");
    while (*s) {
        (void)shown_next(&s, one);
        (void)text_puts(out, one);
    }
    for (left += cut; left < columns; left++)
        (void)text_puts(out, " ");
}
