/* Times of files: nanoseconds since 1970 in messages, index and metadata; seconds and nanoseconds for the kernel. */
#pragma once

#include <stdint.h>
#include <time.h>

enum { SECOND_NS = 1000000000 };

/* The seconds that are told: of the years 1677 to 2262. */
#define TIMESPEC_LEAST (INT64_MIN / SECOND_NS)
#define TIMESPEC_MOST (INT64_MAX / SECOND_NS)

/* What lies beyond becomes the whole second at the limit, as the kernel has it for a file system with limits
 * (timestamp_truncate(), fs/inode.c). tv_nsec is from 0 to 999999999. */
int64_t timespec_ns(struct timespec t);
struct timespec timespec_of(int64_t ns);
