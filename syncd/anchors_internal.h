/* What anchors.c (when, and which), anchors_fault.c (what is wrong), anchors_read.c (one segment in) and
 * anchors_write.c (one out) share. */
#pragma once

#include "syncd/anchors.h"
#include "syncd/listing.h"
#include "syncd/object.h"
#include "syncd/store_anchor.h"

/* A segment as the cloud lists it. */
struct listed_segment {
    uint8_t agent[ANCHOR_AGENT];
    uint32_t number;
    uint64_t size;
    char *etag;                    /* owned */
};

struct anchors_waiter {
    STAILQ_ENTRY(anchors_waiter) next;
    void (*fn)(void *arg);
    void *arg;
};

struct anchors {
    struct volume *v;
    bool closing;
    /* reading */
    bool passed;                   /* all segments were read once, perhaps in an earlier life */
    bool passing;                  /* they are being listed and read */
    bool failed;                   /* this time: something could not be had */
    bool accepted;                 /* this time: an acceptance was taken over */
    bool wrote;                    /* since this pass began: the listing may lack what is there */
    int64_t passed_ns;             /* monotonic; when the last pass began; 0: none did */
    struct errand *listing;
    struct listed_segment *listed; /* in the order of agents and numbers */
    size_t n_listed, n_read;
    struct segment_reading *reading;
    struct loop_timer *patience;
    uint32_t patience_ms;          /* so long the first pass is waited for */
    STAILQ_HEAD(, anchors_waiter) waiters;
    /* writing */
    struct loop_timer *timer;
    struct segment_writing *writing;
    struct errand *sweeping;
    struct loop_timer *leaving;    /* until then whoever is about to leave waits */
    STAILQ_HEAD(, anchors_waiter) leavers;
    uint32_t segments_most;        /* of the agent's own, before it looks what of them is superseded */
    uint32_t entries_most;         /* of one */
};

/* Full key of a segment; the caller's. */
char *anchors_key(const struct anchors *a, const uint8_t agent[ANCHOR_AGENT], uint32_t number);
/* Nothing is left to be told, or not now: who is about to leave waits no longer. */
void anchors_let_go(struct anchors *a);

/* --- anchors_fault.c ------------------------------------------------------------------------------------ */

/* In the order of agents and numbers. */
int anchors_compare(const void *listed_segment, const void *other);
/* What was listed (a->listed, in order) lacks segments that there should be. */
void anchors_look_for_missing(struct anchors *a);
/* Puts the fault (negative errno) into the row, says it once, and has the agent tell anew what it told there. The row
 * gets `etag`, "" where there is none. */
void anchors_fault(struct anchors *a, const uint8_t agent[ANCHOR_AGENT], uint32_t number, const char *etag, int fault);

/* --- anchors_read.c ------------------------------------------------------------------------------------- */

/* Reads a segment into the index, or puts a fault into its row. done(a, code) once, from the loop: 0, or why it could
 * not be had now. */
typedef void segment_read_fn(struct anchors *a, int code);
void segment_read(struct anchors *a, const struct listed_segment *l, segment_read_fn *done);
void segment_read_end(struct anchors *a);

/* --- anchors_write.c ------------------------------------------------------------------------------------ */

/* Writes what is to be told, now if that is possible, while the drive is paused only for who leaves, and removes
 * segments that are needed no more. */
void segments_write(struct anchors *a);
/* The same, in the place of what the timer is set to; and after so long. */
void segments_write_now(void *anchors);
void segments_write_in(struct anchors *a, uint64_t ms);
void segments_write_end(struct anchors *a);
