/* The index's anchors: the versions of encrypted objects that were seen, put or removed, which of them this agent has
 * yet to tell the drive's other agents, and which segments of theirs and its own there are. */
#pragma once

#include "syncd/anchor_form.h"
#include "syncd/store_index.h"

/* The least version that an object at the key, below the drive's prefix, may have, whoever has the key now: the highest
 * that was seen, or, where that was removed, one more; 0: none was seen. */
uint64_t index_anchor(struct index *x, const char *key);
uint64_t index_anchor_seen(struct index *x, const char *key);   /* the highest that was seen; 0: none */

/* Changes, inside a transaction. A version that was seen there; what only the others can tell of. */
int index_anchor_raise(struct index *x, const char *key, uint64_t version);
/* The others are to be told as well: a version that was put there; the same whatever was seen, because the owner
 * accepts it; it was removed. */
int index_anchor_put(struct index *x, const char *key, uint64_t version);
int index_anchor_accept(struct index *x, const char *key, uint64_t version);
int index_anchor_gone(struct index *x, const char *key, int64_t now_ns);
/* Those that were removed first are forgotten, but for so many. */
int index_forget_anchors(struct index *x, uint64_t most);
/* What another agent tells, joined with what is known; what it knows better it tells from then on. *ret_accepted is set
 * where an acceptance was taken over, and left alone else. */
int index_anchor_take(struct index *x, const struct anchor *a, int64_t now_ns, bool *ret_accepted);
/* After acceptances: what was refused for what was there before it, and fits now, is refused no longer. */
int index_anchor_forgive(struct index *x);

/* --- what is told ------------------------------------------------------------------------------------- */

struct index_agent {
    uint8_t id[ANCHOR_AGENT];
    uint32_t last;                 /* the number of the segment that was begun last; 0: none */
    uint32_t first;                /* the lowest that is still needed, as the others have heard */
    bool passed;                   /* all the others' segments were read once */
};
/* The agent that this index is. It is made when there is none. */
int index_agent_get(struct index *x, struct index_agent *ret);
int index_agent_put(struct index *x, const struct index_agent *a);
/* A new agent, which has told nothing yet: somebody else writes as this one. */
int index_agent_renew(struct index *x);

/* Anchors in the agent's segment `number`, or with 0 those that it has yet to tell: at most n. How many, or negative
 * errno. */
int index_anchors_in(struct index *x, uint32_t number, struct anchor *ret, size_t n);
/* They are told in that segment now, but for those that changed meanwhile. */
int index_anchors_told(struct index *x, uint32_t number, const struct anchor *a, size_t n);
/* Those of its segments below (or of `number` alone) are to be told anew. */
int index_anchors_untell_below(struct index *x, uint32_t number);
int index_anchors_untell(struct index *x, uint32_t number);
/* How many are to be told or were in a segment of the agent but `number`; how many of those are not told; the lowest
 * segment that has any, `number` when there is none. */
struct index_told {
    uint64_t live, untold;
    uint32_t lowest;
};
int index_anchors_count(struct index *x, uint32_t number, struct index_told *ret);
bool index_anchors_untold(struct index *x);

/* --- segments ----------------------------------------------------------------------------------------- */

/* One that was written or read, of the agent itself or another one. */
struct index_segment {
    uint8_t agent[ANCHOR_AGENT];
    uint32_t number, first, previous;
    uint64_t version;
    char *etag;                    /* owned */
    int fault;                     /* negative errno: what is wrong with it, and was said; 0: nothing */
};
int index_segment_get(struct index *x, const uint8_t agent[ANCHOR_AGENT], uint32_t number, struct index_segment *ret);
int index_segment_put(struct index *x, const struct index_segment *s);
int index_segment_remove(struct index *x, const uint8_t agent[ANCHOR_AGENT], uint32_t number);
void index_segment_done(struct index_segment *s);
/* All of them, or an agent's, by agent and number, until each() returns false. Nothing is changed meanwhile. */
typedef bool index_segment_fn(const struct index_segment *s, void *arg);
int index_segments(struct index *x, const uint8_t agent[ANCHOR_AGENT], index_segment_fn *each, void *arg);
/* How many have a fault; and those are to be read again. */
uint64_t index_segments_faulty(struct index *x);
int index_segments_forgive(struct index *x);
