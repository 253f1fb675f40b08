/* What sealed.c (the layout) and sealed_job.c (work on it) share; nobody else includes it. */
#pragma once

#include "common/sealed.h"

/* All n bytes; what lies beyond the end reads as zeros. 0 or negative errno. */
int sealed_pread(int fd, void *to, size_t n, uint64_t at);
int sealed_pwrite(int fd, const void *from, size_t n, uint64_t at);

/* Writes the entries of n chunks. 0 or negative errno. */
int sealed_write_entries(int fd, uint64_t first, size_t n, const struct sealed_entry *entries);
/* The slot that a new version of the chunk goes to. */
int sealed_free_slot(const struct sealed_entry *e, const struct chunk_map *m);
/* Whether a power cut may have taken bytes of such a record. */
bool sealed_may_be_torn(const struct chunk_map *m, uint64_t generation);
