/* Contents of a sealed cache, for tests with a sealed_rig. */
#pragma once

#include "syncd/cache_convert.h"
#include "tests/unit/sealed_rig.h"

#define CANARY "the canary that no disk may have in clear"

/* n bytes with canaries in each chunk. The caller's. */
char *canaries(size_t n, unsigned seed);
/* Whether a file of the cache, whatever its name, has that in it. */
bool cache_has(struct rig *rig, const char *text);

/* localCacheEncrypted from now on; and waits until all is converted. */
void encrypt(struct rig *rig, bool on);
void switch_to(struct rig *rig, bool on);
void settle_cache(struct rig *rig);
struct convert_left left(struct rig *rig);

/* Of the inode, held. */
struct cache_file *acquire(struct rig *rig, uint64_t ino);
bool is_sealed(struct rig *rig, uint64_t ino);
/* The bytes [from, from + n) of what is here, in whatever form. The caller's. */
char *read_here(struct rig *rig, uint64_t ino, uint64_t from, size_t n);
/* That it is here, whole, with these bytes. */
void assert_here(struct rig *rig, uint64_t ino, const char *bytes, size_t n);
