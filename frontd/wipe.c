/* Owns what is left of memory that this process gives back: nothing. Identities of drives pass through it, in messages,
 * JSON and buffers of libraries that do not know what they have. So free() and realloc() of all of them are these.
 *
 * What is larger than anything with an identity in it is left alone: streams would pay for it. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/number.h"

#ifndef LANDFALL_SANITIZED   /* whose own have to be called */

enum { WIPED_MOST = 64 * 1024 };

extern void __libc_free(void *p);

void free(void *p)
{
    size_t n = malloc_usable_size(p);

    if (p && n <= WIPED_MOST)
        explicit_bzero(p, n);
    __libc_free(p);
}

void *realloc(void *p, size_t n)
{
    size_t had = malloc_usable_size(p);
    void *moved;

    if (n && n <= had && had / 2 <= n)
        return p;
    moved = n || !p ? malloc(n) : NULL;
    if (p && moved)
        memcpy(moved, p, least(had, n));
    if (moved || !n)
        free(p);
    return moved;
}

#endif
