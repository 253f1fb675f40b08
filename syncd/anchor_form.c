/* Owns the form of version anchors and of the segments that carry them. */
#include "syncd/anchor_form.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/number.h"
#include "common/text.h"

static const char magic[8] = "LFANCH1";

/* --- joining ------------------------------------------------------------------------------------------- */

static void take_newer(struct anchor *to, const struct anchor *from)
{
    if (from->version == to->version)
        to->life = from->life > to->life ? from->life : to->life;
    if (from->version <= to->version)
        return;
    to->version = from->version;
    to->life = from->life;
}

struct anchor anchor_join(const struct anchor *a, const struct anchor *b)
{
    const struct anchor *more = a->accepts >= b->accepts ? a : b, *other = more == a ? b : a;
    struct anchor joined = *more;

    if (more->accepts == other->accepts)
        joined.above = most(more->above, other->above);
    if (more->accepts == other->accepts || other->version > more->above)
        take_newer(&joined, other);
    return joined;
}

bool anchor_same(const struct anchor *a, const struct anchor *b)
{
    return memcmp(a->key, b->key, ANCHOR_KEY) == 0 && a->version == b->version && a->above == b->above &&
           a->accepts == b->accepts && a->life == b->life;
}

/* --- bytes --------------------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    return at + n;
}

static uint64_t get(const uint8_t *at, size_t n)
{
    uint64_t value = 0;

    while (n-- > 0)
        value = value << 8 | at[n];
    return value;
}

void anchor_segment_write(const struct anchor_segment *s, const struct anchor *entries, uint8_t *out)
{
    memcpy(out, magic, sizeof(magic));
    memcpy(out + 8, s->agent, ANCHOR_AGENT);
    out = put(out + 24, s->number, 4);
    out = put(out, s->first, 4);
    out = put(out, s->previous, 4);
    out = put(out, s->n, 4);
    for (size_t i = 0; i < s->n; i++) {
        memcpy(out, entries[i].key, ANCHOR_KEY);
        out = put(out + ANCHOR_KEY, entries[i].version, 8);
        out = put(out, entries[i].above, 8);
        out = put(out, entries[i].accepts, 4);
        out = put(out, entries[i].life, 4);
    }
}

struct anchor anchor_entry(const uint8_t *bytes, size_t i)
{
    const uint8_t *at = bytes + ANCHOR_HEAD + i * ANCHOR_ENTRY;
    struct anchor a = {
        .version = get(at + 16, 8), .above = get(at + 24, 8), .accepts = (uint32_t)get(at + 32, 4),
        .life = (uint32_t)get(at + 36, 4),
    };

    memcpy(a.key, at, ANCHOR_KEY);
    return a;
}

/* Room is left above for what comes after it: the next version, acceptance and removal. */
static bool is_sound(const struct anchor *a)
{
    return a->version < INT64_MAX && a->above < INT64_MAX && a->accepts < INT32_MAX && a->life < INT32_MAX;
}

static bool is_sound_head(const struct anchor_segment *s)
{
    return s->number > 0 && s->number <= ANCHOR_NUMBER_MOST && s->first > 0 && s->first <= s->number &&
           s->previous < s->number;
}

int anchor_segment_read(const uint8_t *bytes, size_t n, struct anchor_segment *ret)
{
    if (n < ANCHOR_HEAD || n > ANCHOR_SEGMENT_MOST || memcmp(bytes, magic, sizeof(magic)) != 0)
        return -EBADMSG;
    *ret = (struct anchor_segment){
        .number = (uint32_t)get(bytes + 24, 4), .first = (uint32_t)get(bytes + 28, 4),
        .previous = (uint32_t)get(bytes + 32, 4), .n = get(bytes + 36, 4),
    };
    memcpy(ret->agent, bytes + 8, ANCHOR_AGENT);
    if (!is_sound_head(ret) || ret->n > ANCHOR_ENTRIES || n != ANCHOR_HEAD + ret->n * ANCHOR_ENTRY)
        return -EBADMSG;
    for (size_t i = 0; i < ret->n; i++) {
        struct anchor a = anchor_entry(bytes, i);

        if (!is_sound(&a))
            return -EBADMSG;
    }
    return 0;
}

/* --- names ----------------------------------------------------------------------------------------------- */

void anchor_name(const uint8_t agent[ANCHOR_AGENT], uint32_t number, char out[ANCHOR_NAME])
{
    text_hex(agent, ANCHOR_AGENT, out);
    (void)snprintf(out + 2 * ANCHOR_AGENT, ANCHOR_NAME - 2 * ANCHOR_AGENT, "-%08" PRIu32,
                   number % (ANCHOR_NUMBER_MOST + 1));
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool anchor_name_read(const char *name, uint8_t agent[ANCHOR_AGENT], uint32_t *ret_number)
{
    uint32_t number = 0;

    if (strlen(name) != ANCHOR_NAME - 1 || name[2 * ANCHOR_AGENT] != '-')
        return false;
    for (size_t i = 0; i < ANCHOR_AGENT; i++) {
        int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        agent[i] = (uint8_t)(high << 4 | low);
    }
    for (const char *at = name + 2 * ANCHOR_AGENT + 1; *at; at++) {
        if (*at < '0' || *at > '9')
            return false;
        number = number * 10 + (uint32_t)(*at - '0');
    }
    *ret_number = number;
    return number > 0;
}
