/* What the worker of a drive counts: memory that syncd makes and shares with one worker after the other, so that
 * the counts go on when a worker is restarted. syncd reads them when it is asked for metrics.
 *
 * Each number has one writer at a time, so adding is a plain load and store. A reader sees every number as it was at
 * some moment, not all of them at the same one. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    METER_OPS = 64,        /* FUSE opcodes; 0: any above */
    METER_ERRNOS = 160,
    METER_BUCKETS = 15,    /* of a histogram: up to 1 us, 4 us, 16 us, ..., 67 s, and longer */
};

/* Of the time from the worker's reading a request of the kernel to its answer. */
enum meter_part {
    METER_LOCAL,           /* in the worker: its own work, and reading and writing cache files */
    METER_SYNCD,           /* waiting for syncd or mountd, without: */
    METER_CLOUD,           /* what syncd says that it waited for the cloud, or for room that uploads make */
    METER_PARTS
};

struct meter_times {
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t buckets[METER_BUCKETS];   /* each without those before it */
};

struct meter {
    _Atomic uint64_t hits, waits;              /* reads answered from the cache file at once; after syncd was asked */
    _Atomic uint64_t read_bytes, written_bytes;
    _Atomic uint64_t errors[METER_ERRNOS];     /* answers, by the errno that programs see */
    struct meter_times times[METER_OPS][METER_PARTS];
};

static inline void meter_add(_Atomic uint64_t *count, uint64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t meter_get(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* The bucket of a duration: the first k with ns <= 1000 * 4^k. */
static inline unsigned meter_bucket(uint64_t ns)
{
    uint64_t us = (ns + 999) / 1000;
    unsigned k = us <= 1 ? 0 : (65 - (unsigned)__builtin_clzll(us - 1)) / 2;

    return k < METER_BUCKETS ? k : METER_BUCKETS - 1;
}

static inline void meter_time(struct meter_times *t, uint64_t ns)
{
    meter_add(&t->sum_ns, ns);
    meter_add(&t->buckets[meter_bucket(ns)], 1);
}
