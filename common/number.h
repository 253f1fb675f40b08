/* The smaller and the larger of two numbers, what one has beyond the other, and pauses that grow. */
#pragma once

#include <stdint.h>

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What a has beyond b; 0 when that is nothing. */
static inline uint64_t excess(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* A pause after that many failures in a row: `first`, doubling, at most `cap`. */
static inline uint64_t backoff(unsigned failures, uint64_t first, uint64_t cap)
{
    uint64_t pause = first;

    while (failures-- > 0 && pause < cap)
        pause *= 2;
    return least(pause, cap);
}
