/* Owns what this worker would leave to its successor (owed.h), on a kernel that does not send requests again. A request
 * is owed from the moment the kernel counts it as delivered until its answer was written; the kernel is asked which
 * still are. The successor carries it out as if it had read it, which may be for the second time: syncd knows its
 * number, and the bytes of a write are the same.
 *
 * Must not know what a request says, but whether it wants an answer. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "mountd/owed.h"
#include "mountd/worker_internal.h"

enum { TRIES = 3 };
/* FUSE_INT_REQ_BIT: the number of a request's INTERRUPT. */
static const uint64_t INTERRUPT = 1;

static struct owed_head *head(const struct worker *w)
{
    return (struct owed_head *)w->owed.memory;
}

char *owed_buffer(const struct worker *w)
{
    return w->owed.memory + CHUNK_PAGE;
}

static struct owed_request *place(const struct worker *w, size_t n)
{
    return (struct owed_request *)(w->owed.memory + CHUNK_PAGE + (n + 1) * OWED_PLACE);
}

int owed_adopt(struct worker *w, int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    void *memory = MAP_FAILED;

    if (size >= CHUNK_PAGE + 2 * OWED_PLACE)
        memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return size < 0 ? -errno : -EINVAL;
    w->owed.memory = memory;
    w->owed.size = (size_t)size;
    w->owed.places = ((size_t)size - CHUNK_PAGE) / OWED_PLACE - 1;
    w->queue_length = least(w->queue_length, w->owed.places);
    return 0;
}

void owed_end(struct worker *w)
{
    if (w->owed.memory)
        (void)munmap(w->owed.memory, w->owed.size);
    w->owed.memory = NULL;
}

/* --- while requests come and go --------------------------------------------------------------------------- */

static bool wants_answer(uint32_t opcode)
{
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

static size_t used(const struct worker *w)
{
    return least(atomic_load(&head(w)->used), w->owed.places);
}

/* The place of the request with that number; with 0 a free one. NULL: none. */
static struct owed_request *find(const struct worker *w, uint64_t unique)
{
    for (size_t n = 0, end = used(w); n < end; n++)
        if (atomic_load(&place(w, n)->unique) == unique)
            return place(w, n);
    return NULL;
}

static struct owed_request *find_free(const struct worker *w)
{
    struct owed_request *r = find(w, 0);

    if (!r && used(w) < w->owed.places)
        r = place(w, atomic_fetch_add(&head(w)->used, 1));
    return r;
}

/* The number last: with it the request is there. */
static void put(const struct worker *w, const struct fuse_in_header *in)
{
    struct owed_request *r = find_free(w);

    if (!r) {
        LOG(LOG_WARNING, "owed_without_room", "places=%zu", w->owed.places);
        return;
    }
    if (w->secret)
        (void)mlock(r, sizeof(*r) + in->len);
    (void)memcpy(r->bytes, owed_buffer(w) + OWED_READ_AT, in->len);
    r->size = in->len;
    atomic_store(&r->tries, 0);
    atomic_store(&r->unique, in->unique);
}

static void drop(const struct worker *w, struct owed_request *r)
{
    bool large = sizeof(*r) + r->size > CHUNK_PAGE;
    size_t n = used(w);

    atomic_store(&r->unique, 0);
    if (large && w->secret)   /* locked memory cannot be given back */
        (void)munlock((char *)r + CHUNK_PAGE, OWED_PLACE - CHUNK_PAGE);
    if (large)
        (void)madvise((char *)r + CHUNK_PAGE, OWED_PLACE - CHUNK_PAGE, MADV_REMOVE);
    while (n > 0 && !atomic_load(&place(w, n - 1)->unique))
        n--;
    atomic_store(&head(w)->used, n);
}

void owed_begins(struct worker *w, const struct fuse_in_header *in)
{
    w->owed.waiting = w->owed.memory && wants_answer(in->opcode) ? in->unique : 0;
}

void owed_answered(struct worker *w, uint64_t unique)
{
    struct owed_request *r;

    if (!w->owed.memory || !unique)
        return;
    if (unique == w->owed.waiting)
        w->owed.waiting = 0;
    r = find(w, unique);
    if (r)
        drop(w, r);
}

void owed_waits(struct worker *w)
{
    struct fuse_in_header in;

    if (!w->owed.waiting || find(w, w->owed.waiting))
        return;
    (void)memcpy(&in, owed_buffer(w) + OWED_READ_AT, sizeof(in));
    put(w, &in);
}

/* --- what the last one owed ----------------------------------------------------------------------------------- */

/* Whether the kernel waits for the answer: it was not given, nor has the kernel given up on the request because it
 * could not be delivered whole. "Not now" as the answer to its INTERRUPT harms nobody: there is no such request, and
 * that is all (ENOENT), or none was sent (EINVAL), or it is sent once more, which is right: the last worker may have
 * read it. fs/fuse/dev.c, fuse_dev_do_write(), queue_interrupt(). */
static bool is_waited_for(const struct worker *w, uint64_t unique)
{
    struct fuse_out_header out = { .len = sizeof(out), .error = -EAGAIN, .unique = unique | INTERRUPT };

    return write(w->fuse, &out, sizeof(out)) >= 0 || errno != ENOENT;
}

/* The one that it had read last. */
static void save_last(struct worker *w)
{
    struct fuse_in_header in;

    (void)memcpy(&in, owed_buffer(w) + OWED_READ_AT, sizeof(in));
    if (!in.unique || !wants_answer(in.opcode) || find(w, in.unique) || !is_waited_for(w, in.unique))
        return;
    if (in.len < sizeof(in) || in.len > OWED_PLACE - OWED_READ_AT)
        session_refuse(w, in.unique, EIO);
    else
        put(w, &in);
}

/* The owed one with the smallest number above that one: they came in this order. */
static struct owed_request *next(const struct worker *w, uint64_t above)
{
    struct owed_request *found = NULL;

    for (size_t n = 0, end = used(w); n < end; n++) {
        uint64_t unique = atomic_load(&place(w, n)->unique);

        if (unique > above && (!found || unique < atomic_load(&found->unique)))
            found = place(w, n);
    }
    return found;
}

static bool load(struct worker *w, uint64_t unique, const struct owed_request *r)
{
    struct fuse_in_header in = { 0 };
    uint64_t size = r->size;

    if (size >= sizeof(in) && size <= OWED_PLACE - OWED_READ_AT) {
        (void)memcpy(w->buf.mem, r->bytes, size);
        (void)memcpy(&in, w->buf.mem, sizeof(in));
    }
    w->buf.size = size;
    return in.unique == unique && in.len == size;
}

/* What workers die of is not tried for ever. */
static void pay(struct worker *w, uint64_t unique, struct owed_request *r)
{
    if (!is_waited_for(w, unique)) {
        drop(w, r);
    } else if (atomic_fetch_add(&r->tries, 1) >= TRIES || !load(w, unique, r)) {
        session_refuse(w, unique, EIO);
    } else {
        session_process(w);
        atomic_store(&r->tries, 0);
    }
}

void owed_pay(struct worker *w)
{
    struct owed_request *r;
    size_t n = 0;

    save_last(w);
    w->now_ns = loop_now_ns();
    for (uint64_t unique = 0; (r = next(w, unique)); n++) {
        unique = atomic_load(&r->unique);
        pay(w, unique, r);
    }
    LOG(LOG_INFO, "owed_requests_taken_over", "number=%zu", n);
}
