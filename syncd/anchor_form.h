/* What is told of an object's versions (an anchor), how two of them become one, and segments: runs of them as agents of
 * a drive write them for each other (docs/FORMATS.md, "Version anchors"). Touches nothing but the bytes it is given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ANCHOR_KEY = 16, ANCHOR_AGENT = 16,
    ANCHOR_ENTRIES = 4096,                /* of a segment, at most */
    ANCHOR_HEAD = 40, ANCHOR_ENTRY = 40,  /* bytes */
    ANCHOR_SEGMENT_MOST = ANCHOR_HEAD + ANCHOR_ENTRIES * ANCHOR_ENTRY,
    ANCHOR_NUMBER_MOST = 99999999,
    ANCHOR_NAME = 32 + 1 + 8 + 1,         /* bytes of a name, with its end */
};

struct anchor {
    uint8_t key[ANCHOR_KEY];              /* the first half of the SHA-256 of the key below the drive's prefix */
    uint64_t version;                     /* the newest; 0: there was an acceptance of something without one */
    uint64_t above;                       /* what the last acceptance was accepted in spite of: versions up to this */
    uint32_t accepts;                     /* how often an older one was accepted */
    uint32_t life;                        /* odd: that version was removed, even: it is there; it only rises */
};

/* What both together say: of an acceptance and what it knew of, the acceptance; else the newer version. */
struct anchor anchor_join(const struct anchor *a, const struct anchor *b);
bool anchor_same(const struct anchor *a, const struct anchor *b);

struct anchor_segment {
    uint8_t agent[ANCHOR_AGENT];
    uint32_t number;                      /* 1 to ANCHOR_NUMBER_MOST */
    uint32_t first;                       /* of that agent's segments those below may be gone */
    uint32_t previous;                    /* the one that was there before it; 0: none */
    size_t n;
};

/* Its bytes: ANCHOR_HEAD + n * ANCHOR_ENTRY of them at `out`. */
void anchor_segment_write(const struct anchor_segment *s, const struct anchor *entries, uint8_t *out);
/* 0 and *ret, or -EBADMSG: it is none, for a reason that the fuzzer knows. */
int anchor_segment_read(const uint8_t *bytes, size_t n, struct anchor_segment *ret);
/* Entry i of a segment that was read. */
struct anchor anchor_entry(const uint8_t *bytes, size_t i);

/* "AGENT-NUMBER": 32 hex digits in lower case and 8 decimal ones. False: it is none. */
void anchor_name(const uint8_t agent[ANCHOR_AGENT], uint32_t number, char out[ANCHOR_NAME]);
bool anchor_name_read(const char *name, uint8_t agent[ANCHOR_AGENT], uint32_t *ret_number);
