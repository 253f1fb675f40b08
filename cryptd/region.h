/* Memory that a caller shares with cryptd for bulk work.
 *
 * The caller can change it at any moment, also while cryptd works on it. So nothing is decided by what lies in it:
 * offsets and lengths come by message and are copied before they are checked. Plaintext to be sealed is copied out
 * of it once and then worked on; what is opened goes into cryptd's own memory and is copied back only once its tag was
 * found right. Ciphertext is read where it lies: libcrypto may read a byte twice, so a caller that changes it meanwhile
 * can make cryptd accept a tag and hand out plaintext that it is not of. That plaintext is of the caller's own making,
 * and it could have made the tag as well. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { REGION_MIN = 64 * 1024, REGION_MAX = 64 * 1024 * 1024 };

struct region {
    unsigned refs;      /* the loop's thread counts */
    uint8_t *base;
    size_t size;
};

/* Maps the memfd, which stays the caller's. 0 and *ret with one reference; -EINVAL (no memfd, not sealed, a size out of
 * bounds), -ENOMEM, -EACCES (cannot be written), with a sentence. It must not be of huge pages, and sealed against
 * shrinking: touching it can then never end in a signal. */
int region_map(int fd, struct region **ret, struct error *e);

struct region *region_ref(struct region *r);
void region_unref(struct region *r);   /* NULL is fine */

/* Where n bytes at `at` are, or NULL when they are not all in it. */
uint8_t *region_at(const struct region *r, uint64_t at, uint64_t n);
