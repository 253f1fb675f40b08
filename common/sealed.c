/* Owns the layout of a sealed file: its entries and slots. Must not know what seals, nor who asks. */
#include "common/sealed.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/sealed_internal.h"

/* --- bytes of a file --------------------------------------------------------------------------------- */

int sealed_pread(int fd, void *to, size_t n, uint64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = pread(fd, (char *)to + done, n - done, (off_t)(at + done));

        if (r < 0 && errno != EINTR)
            return -errno;
        if (r == 0)
            break;
        done += r > 0 ? (size_t)r : 0;
    }
    memset((char *)to + done, 0, n - done);
    return 0;
}

int sealed_pwrite(int fd, const void *from, size_t n, uint64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = pwrite(fd, (const char *)from + done, n - done, (off_t)(at + done));

        if (r < 0 && errno != EINTR)
            return -errno;
        done += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

/* --- entries ----------------------------------------------------------------------------------------- */

uint64_t sealed_entry_at(uint64_t chunk)
{
    return SEALED_HEAD + chunk * SEALED_ENTRY;
}

uint64_t sealed_slot_at(uint64_t chunk, unsigned slot)
{
    return SEALED_SLOT_0 + slot * SEALED_FILE_MAX + (chunk << CHUNK_SHIFT);
}

int sealed_entries(int fd, uint64_t first, size_t n, struct sealed_entry *out)
{
    return sealed_pread(fd, out, n * sizeof(*out), sealed_entry_at(first));
}

uint64_t sealed_generation(const struct cache_record *r)
{
    return r->version ? le64toh(r->generation) : 0;
}

int sealed_newest(const struct sealed_entry *e, uint64_t below)
{
    uint64_t highest = 0;
    int slot = -1;

    for (int s = 0; s < SEALED_SLOTS; s++) {
        uint64_t g = sealed_generation(&e->records[s]);

        if (e->records[s].version && g >= le64toh(e->floor) && g < below && (slot < 0 || g > highest)) {
            slot = s;
            highest = g;
        }
    }
    return slot;
}

/* The current one must outlive a kill, and the one that is on the disk a power cut. */
int sealed_free_slot(const struct sealed_entry *e, uint64_t synced)
{
    int current = sealed_newest(e, UINT64_MAX), kept = sealed_newest(e, synced == UINT64_MAX ? synced : synced + 1);
    int s = 0;

    while (s == current || s == kept)
        s++;
    return s;
}

int sealed_set_floor(int fd, uint64_t chunk, uint64_t floor)
{
    uint64_t disk = htole64(floor);

    return sealed_pwrite(fd, &disk, sizeof(disk), sealed_entry_at(chunk) + offsetof(struct sealed_entry, floor));
}

int sealed_drop(int fd, uint64_t first, uint64_t n)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int r = 0;

    if (n == 0)
        return 0;
    if (fallocate(fd, mode, (off_t)sealed_entry_at(first), (off_t)(n * SEALED_ENTRY)) < 0)
        return -errno;
    for (unsigned s = 0; s < SEALED_SLOTS; s++)
        if (fallocate(fd, mode, (off_t)sealed_slot_at(first, s), (off_t)(n << CHUNK_SHIFT)) < 0)
            r = -errno;
    return r;
}

bool sealed_needs_trim(const struct sealed *s)
{
    uint64_t size = atomic_load(&s->map->size);
    struct sealed_entry e;
    int slot;

    if (size % CHUNK_SIZE == 0 || sealed_entries(s->fd, size >> CHUNK_SHIFT, 1, &e) < 0)
        return false;
    slot = sealed_newest(&e, UINT64_MAX);
    return slot >= 0 && le32toh(e.records[slot].length) > size % CHUNK_SIZE;
}
