/* A run of bytes of a file that a haul moves: in memory between the file, which threads alone touch, and a
 * request, which the loop works at. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "syncd/hash.h"

struct chunk {
    int file, memory;             /* file: borrowed; memory: owned, -1: none */
    uint64_t offset, length;      /* in the file; the memory has this run alone */
    const struct stat *as_opened; /* the file as it was; borrowed */
    /* out */
    int error;                    /* 0; -ESTALE: the file is another one than it was; or another negative errno */
    uint8_t md5[HASH_MD5];
};
#define CHUNK_NONE { .file = -1, .memory = -1 }

/* 0 or negative errno. */
int chunk_open(struct chunk *c);
void chunk_close(struct chunk *c);   /* one that is not open is fine */

/* Whether the file was written to between the two. */
bool chunk_differs(const struct stat *a, const struct stat *b);

/* For haul_work(): the bytes of the file into the memory, with their MD5; and the other way round. */
void chunk_read(void *chunk);
void chunk_write(void *chunk);
