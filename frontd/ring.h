/* The last frames of one WebSocket path, each with the id it was given: consecutive numbers, which begin at the
 * microsecond of the start. Frames are fewer than microseconds, so an earlier frontd has given away lower ones alone,
 * unless the clock was put back; and they stay below 2^53 until 2255. Bounded by number and by bytes; the oldest make
 * room. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ring;

struct ring_frame {
    size_t length;
    uint8_t bytes[];
};

/* `wall_ns` as of loop_wall_ns(). */
struct ring *ring_new(size_t frames_max, size_t bytes_max, int64_t wall_ns);
/* NULL is fine. */
void ring_free(struct ring *r);

/* The id that the next frame gets. */
uint64_t ring_next(const struct ring *r);
/* The id of the oldest frame that is here; ring_next() when there is none. */
uint64_t ring_oldest(const struct ring *r);
/* The lowest id that was ever given. */
uint64_t ring_first(const struct ring *r);

/* Adds a frame of `length` bytes, at most bytes_max, and returns it to be filled. */
struct ring_frame *ring_add(struct ring *r, size_t length);

/* The frame with that id, from ring_oldest() up to before ring_next(). Borrowed until the next ring_add(). */
const struct ring_frame *ring_get(const struct ring *r, uint64_t id);
