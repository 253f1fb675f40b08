/* What a process knows of itself: how long it runs, how much memory it has. Its /proc file is opened before the
 * sandbox, which would forbid that. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/metrics.h"

/* Once, at the start. */
void process_begin(const char *name);
/* Adds both as samples of this process. */
void process_samples(struct samples *s);
/* Locks all memory of the process, now and later, as far as it is touched, if there is no limit to what it may lock.
 * Whether it did. */
bool process_lock_memory(void);
/* Bytes in RAM by the open file of /proc/PID/statm; 0: not known. */
uint64_t process_resident(int statm);
