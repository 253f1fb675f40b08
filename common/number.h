/* The smaller and the larger of two numbers, and what one has beyond the other. */
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
