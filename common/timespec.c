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
    int64_t rest = ns % SECOND_NS;

    return (struct timespec){ .tv_sec = ns / SECOND_NS - (rest < 0), .tv_nsec = rest + (rest < 0 ? SECOND_NS : 0) };
}
