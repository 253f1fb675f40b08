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
