/* Small allocations of our own making: without memory for them the process aborts. What is sized
 * from outside goes through struct text or a checked calloc() instead. */
#pragma once

#include <stdlib.h>
#include <string.h>

/* n zeroed bytes. */
static inline void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n, size);

    if (!p)
        abort();
    return p;
}

/* n bytes for the kernel to copy much into, from the start of a page: to an address that is not a multiple of 32, as
 * malloc() gives for what is large, some processors copy four times as slowly (AMD Zen, rep movsb; tests/bench has
 * the figures). Owned, for free(). NULL without memory. */
static inline void *alloc_bulk(size_t n)
{
    const size_t page = 4096;

    return aligned_alloc(page, (n + page - 1) / page * page);
}

/* A copy of s; NULL for NULL. */
static inline char *xstrdup(const char *s)
{
    char *copy = s ? strdup(s) : NULL;

    if (s && !copy)
        abort();
    return copy;
}

/* Replaces the owned string with a copy of s. */
static inline void xstrset(char **field, const char *s)
{
    char *copy = xstrdup(s);

    free(*field);
    *field = copy;
}

/* For xadd(). */
static inline void *xgrow(void *array, size_t n, size_t size)
{
    void *grown = (n & (n - 1)) == 0 ? reallocarray(array, n ? n * 2 : 1, size) : array;

    if (!grown)
        abort();
    return grown;
}

/* Counts one more item of the owned array of n and returns where it goes; the array may move. Its room is a power
 * of two that follows from n: so it must have begun empty and grown by this alone. It may lose items from its end. */
#define xadd(array, n) \
    ({ (array) = xgrow((array), (n), sizeof(*(array))); &(array)[(n)++]; })
