/* A frame stands at its id modulo the number of places. */
#include "frontd/ring.h"

#include "common/alloc.h"

struct ring {
    struct ring_frame **frames;
    size_t frames_max, bytes_max, bytes;
    uint64_t first, oldest, next;
};

struct ring *ring_new(size_t frames_max, size_t bytes_max, int64_t wall_ns)
{
    struct ring *r = xcalloc(1, sizeof(*r));

    r->frames = xcalloc(frames_max, sizeof(struct ring_frame *));
    r->frames_max = frames_max;
    r->bytes_max = bytes_max;
    r->first = r->oldest = r->next = (uint64_t)(wall_ns / 1000);
    return r;
}

static struct ring_frame **place(const struct ring *r, uint64_t id)
{
    return &r->frames[id % r->frames_max];
}

static void drop_oldest(struct ring *r)
{
    struct ring_frame **at = place(r, r->oldest++);

    r->bytes -= (*at)->length;
    free(*at);
    *at = NULL;
}

void ring_free(struct ring *r)
{
    if (!r)
        return;
    while (r->oldest != r->next)
        drop_oldest(r);
    free(r->frames);
    free(r);
}

uint64_t ring_next(const struct ring *r)
{
    return r->next;
}

uint64_t ring_oldest(const struct ring *r)
{
    return r->oldest;
}

uint64_t ring_first(const struct ring *r)
{
    return r->first;
}

struct ring_frame *ring_add(struct ring *r, size_t length)
{
    struct ring_frame *new = xcalloc(1, sizeof(*new) + length);

    while (r->oldest != r->next && (r->next - r->oldest == r->frames_max || r->bytes + length > r->bytes_max))
        drop_oldest(r);
    new->length = length;
    *place(r, r->next++) = new;
    r->bytes += length;
    return new;
}

const struct ring_frame *ring_get(const struct ring *r, uint64_t id)
{
    return *place(r, id);
}
