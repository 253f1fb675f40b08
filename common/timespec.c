/* Conversions, and their limits. */
#include "common/timespec.h"

int64_t timespec_ns(struct timespec t)
{
    if (t.tv_sec <= TIMESPEC_LEAST)
        return TIMESPEC_LEAST * SECOND_NS;
    if (t.tv_sec >= TIMESPEC_MOST)
        return TIMESPEC_MOST * SECOND_NS;
    return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

struct timespec timespec_of(int64_t ns)
{
    int64_t seconds = ns / SECOND_NS - (ns % SECOND_NS < 0);

    return (struct timespec){ .tv_sec = seconds, .tv_nsec = ns - seconds * SECOND_NS };
}
