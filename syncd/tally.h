/* What a drive counts: in syncd's own numbers, and in the meter that it shares with the drive's worker. Lives as long
 * as anybody holds it, since requests to the cloud outlive the volume they were for. */
#pragma once

#include "common/metrics.h"
#include "syncd/reach.h"

/* Why a program had to wait for content. */
enum tally_miss { MISS_ABSENT, MISS_EVICTED, MISS_CHANGED, MISS_ARRIVING, MISS_REASONS };

/* What content was fetched for. */
enum fetch_why {
    FETCH_OPEN, FETCH_READ, FETCH_AHEAD, FETCH_WRITE, FETCH_PIN, FETCH_UPLOAD, FETCH_STREAM, FETCH_SCAN, FETCH_WHYS
};
const char *fetch_why_name(enum fetch_why why);

/* What room was made for. */
enum tally_room { ROOM_READ, ROOM_KEEP, ROOM_LIMIT, ROOM_REASONS };

/* How something ended: an error is one of a few kinds. */
enum { TALLY_KINDS = 14 };

struct tally {
    unsigned refs;
    int meter_fd;
    struct meter *meter;
    uint64_t misses[MISS_REASONS], fetched[FETCH_WHYS], evicted[ROOM_REASONS], uploads[TALLY_KINDS], conflicts;
    uint64_t copies, copied;       /* files that the cloud made of others, and their bytes */
    uint64_t requests[CLOUD_OP_COUNT][TALLY_KINDS], retries[CLOUD_OP_COUNT], sent, received, damaged;
    struct meter_times times[CLOUD_OP_COUNT];
    struct reach reach;
};

/* 0 and *ret, or a negative errno. */
int tally_new(struct tally **ret);
struct tally *tally_hold(struct tally *t);   /* NULL is fine */
void tally_drop(struct tally *t);            /* likewise */

/* The place of a negative errno, or 0, among the kinds. */
unsigned tally_kind(int code);

/* A request to the cloud is submitted; the cloud answered, or bytes of its answer came; more of its body went out; a
 * try that began then could not reach the cloud, and there may be another; it ended. For a request that counts for
 * nobody (NULL) nothing happens. */
void tally_submitted(struct tally *t, const struct cloud_request *r);
void tally_heard(struct tally *t);
void tally_sent(struct tally *t);
void tally_unreached(struct tally *t, int64_t tried_ns, const struct error *why);
void tally_request(struct tally *t, const struct cloud_request *r);

/* All that is counted here, as samples of the drive of this name. */
void tally_samples(const struct tally *t, const char *drive, struct samples *s);
