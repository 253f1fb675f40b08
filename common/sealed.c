/* Owns the layout of a sealed file: its entries and slots. Must not know what seals, nor who asks. */
#include "common/sealed.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/number.h"
#include "common/punch.h"
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

/* --- where things are -------------------------------------------------------------------------------- */

/* Where the entries of an extent would begin if there were no head, and how long an extent is. */
enum { FIRST = 4096, ENTRIES = EXTENT_CHUNKS * SEALED_ENTRY, EXTENT = ENTRIES + SEALED_SLOTS * EXTENT_SIZE };
_Static_assert((uint64_t)EXTENT * (SEALED_FILE_MAX >> EXTENT_SHIFT) + FIRST < UINT64_C(1) << 44, "ext4's");

static uint64_t extent_at(uint64_t chunk)
{
    return FIRST + chunk / EXTENT_CHUNKS * EXTENT;
}

uint64_t sealed_entry_at(uint64_t chunk)
{
    uint64_t begin = chunk < EXTENT_CHUNKS ? SEALED_HEAD : extent_at(chunk);

    return begin + chunk % EXTENT_CHUNKS * SEALED_ENTRY;
}

uint64_t sealed_slot_at(uint64_t chunk, unsigned slot)
{
    return extent_at(chunk) + ENTRIES + (uint64_t)slot * EXTENT_SIZE + (chunk % EXTENT_CHUNKS << CHUNK_SHIFT);
}

/* The extent of the next byte that is on the disk, and whether that is one of its entries. */
static bool next(int fd, uint64_t at, uint64_t *ret_extent, bool *ret_entries)
{
    off_t found = lseek(fd, (off_t)at, SEEK_DATA);

    if (found < 0)
        return false;
    *ret_extent = (uint64_t)found < FIRST ? 0 : ((uint64_t)found - FIRST) / EXTENT;
    *ret_entries = (uint64_t)found < sealed_slot_at(*ret_extent * EXTENT_CHUNKS, 0);
    return true;
}

uint64_t sealed_next_entries(int fd, uint64_t extent)
{
    bool entries;

    return next(fd, sealed_entry_at(extent * EXTENT_CHUNKS), &extent, &entries) ? extent : UINT64_MAX;
}

uint64_t sealed_next_bytes(int fd, uint64_t extent)
{
    bool entries = true;

    while (entries)
        if (!next(fd, sealed_slot_at(extent * EXTENT_CHUNKS, 0), &extent, &entries))
            return UINT64_MAX;
    return extent;
}

/* --- entries ----------------------------------------------------------------------------------------- */

/* Of n chunks from `first` on those that are in one extent with it. */
static size_t together(uint64_t first, size_t n)
{
    size_t left = EXTENT_CHUNKS - first % EXTENT_CHUNKS;

    return n < left ? n : left;
}

int sealed_entries(int fd, uint64_t first, size_t n, struct sealed_entry *out)
{
    int r = 0;

    for (size_t done = 0, k; r == 0 && done < n; done += k) {
        k = together(first + done, n - done);
        r = sealed_pread(fd, out + done, k * sizeof(*out), sealed_entry_at(first + done));
    }
    return r;
}

int sealed_write_entries(int fd, uint64_t first, size_t n, const struct sealed_entry *entries)
{
    int r = 0;

    for (size_t done = 0, k; r == 0 && done < n; done += k) {
        k = together(first + done, n - done);
        r = sealed_pwrite(fd, entries + done, k * sizeof(*entries), sealed_entry_at(first + done));
    }
    return r;
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

bool sealed_may_be_torn(const struct chunk_map *m, uint64_t generation)
{
    for (size_t i = 0; i < CHUNK_TORN; i++)
        if (generation > m->torn[i].above && generation <= m->torn[i].to)
            return true;
    return false;
}

void sealed_cut_look(struct sealed_cut *cut, const struct sealed_entry *e)
{
    for (size_t s = 0; s < SEALED_SLOTS; s++) {
        uint64_t g = sealed_generation(&e->records[s]);

        cut->highest = most(cut->highest, g);
        for (size_t i = 0; i < CHUNK_TORN; i++)
            if (g > cut->map->torn[i].above && g <= cut->map->torn[i].to)
                cut->used[i] = true;
    }
}

/* Of an earlier cut that nothing was synced since this one is the rest. Of too many the oldest two become one. */
void sealed_cut_note(const struct sealed_cut *cut)
{
    uint64_t synced = atomic_load(&cut->map->synced);
    struct chunk_torn left[CHUNK_TORN + 1] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < CHUNK_TORN; i++)
        if (cut->used[i] && cut->map->torn[i].above < synced)
            left[n++] = cut->map->torn[i];
    if (cut->highest > synced)
        left[n++] = (struct chunk_torn){ .above = synced, .to = cut->highest };
    if (n > CHUNK_TORN)
        left[1].above = left[0].above;
    memcpy(cut->map->torn, left + (n > CHUNK_TORN), sizeof(cut->map->torn));
}

/* What may be torn is not on the disk for sure, though all was synced since. */
static int kept_slot(const struct sealed_entry *e, const struct chunk_map *m)
{
    uint64_t below = atomic_load(&m->synced) + 1;
    int s = sealed_newest(e, below);

    while (s >= 0 && sealed_may_be_torn(m, sealed_generation(&e->records[s])))
        s = sealed_newest(e, sealed_generation(&e->records[s]));
    return s;
}

/* The current one must outlive a kill, and the one that is on the disk a power cut. */
int sealed_free_slot(const struct sealed_entry *e, const struct chunk_map *m)
{
    int current = sealed_newest(e, UINT64_MAX), kept = kept_slot(e, m);
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

/* Chunks of one extent; first their records. */
static int drop(int fd, uint64_t first, uint64_t n)
{
    int r = punch_hole(fd, sealed_entry_at(first), n * SEALED_ENTRY);

    for (unsigned s = 0; r == 0 && s < SEALED_SLOTS; s++)
        r = punch_hole(fd, sealed_slot_at(first, s), n << CHUNK_SHIFT);
    return r;
}

/* All of what lies behind at once: a file is sparse, and may be terabytes of nothing. */
int sealed_drop(int fd, uint64_t first, uint64_t n)
{
    uint64_t end = first + n < SEALED_CHUNKS_MAX ? first + n : SEALED_CHUNKS_MAX;
    int r = 0;

    for (uint64_t extent; r == 0 && first < end; first = (extent + 1) * EXTENT_CHUNKS) {
        extent = first / EXTENT_CHUNKS;
        if (first % EXTENT_CHUNKS == 0 && end == SEALED_CHUNKS_MAX && extent > 0)
            return punch_hole(fd, extent_at(first), extent_at(SEALED_CHUNKS_MAX) - extent_at(first));
        r = drop(fd, first, together(first, end - first));
    }
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
