/* A sealed cache file that somebody made up: its head, its entries, and what the map says of power cuts. The input is a
 * head of the map (generation, synced, size, fetchable and the torn pairs), then the file from its beginning. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/sealed_internal.h"
#include "syncd/sealed_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS = 4 + 2 * CHUNK_TORN, CHUNKS = EXTENT_CHUNKS + 2 };

static void insist(bool is_so)
{
    if (!is_so)
        abort();
}

static void read_map(const uint8_t *data, struct chunk_map *m)
{
    uint64_t words[WORDS];

    memcpy(words, data, sizeof(words));
    atomic_store(&m->generation, words[0]);
    atomic_store(&m->synced, words[1]);
    atomic_store(&m->size, words[2] % (SEALED_FILE_MAX + 1));
    atomic_store(&m->fetchable, words[3]);
    memcpy(m->torn, words + 4, sizeof(m->torn));
}

/* The current one, and what is on the disk for sure, stay. */
static void look_at(const struct sealed_entry *e, const struct chunk_map *m, struct sealed_cut *cut)
{
    int newest = sealed_newest(e, UINT64_MAX), slot = sealed_free_slot(e, m);
    int kept = sealed_newest(e, atomic_load(&m->synced) + 1);

    insist(slot >= 0 && slot < SEALED_SLOTS && slot != newest);
    insist(kept < 0 || slot != kept || sealed_may_be_torn(m, sealed_generation(&e->records[kept])));
    sealed_cut_look(cut, e);
}

static void look(int fd, struct chunk_map *m)
{
    static struct sealed_entry entries[CHUNKS];
    static const struct sealed_entry none[CHUNKS];
    struct sealed s = { .fd = fd, .map = m };
    struct sealed_cut cut = { .map = m };

    insist(sealed_entries(fd, 0, CHUNKS, entries) == 0);
    for (size_t i = 0; i < CHUNKS; i++)
        look_at(&entries[i], m, &cut);
    sealed_cut_note(&cut);
    (void)sealed_needs_trim(&s);
    (void)sealed_next_entries(fd, 0);
    (void)sealed_next_bytes(fd, 0);
    insist(sealed_set_floor(fd, 1, UINT64_MAX) == 0);
    insist(sealed_entries(fd, 1, 1, entries) == 0 && entries[0].floor == UINT64_MAX);
    insist(sealed_drop(fd, 0, SEALED_CHUNKS_MAX) == 0);
    insist(sealed_entries(fd, 0, CHUNKS, entries) == 0 && memcmp(entries, none, sizeof(none)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chunk_map map;
    uint8_t key[CRYPT_KEY], again[CRYPT_KEY];
    int fd;

    if (size < WORDS * sizeof(uint64_t))
        return 0;
    fd = memfd_create("sealed", MFD_CLOEXEC);
    insist(fd >= 0);
    read_map(data, &map);
    data += WORDS * sizeof(uint64_t);
    size -= WORDS * sizeof(uint64_t);
    insist(write(fd, data, size) == (ssize_t)size);
    if (sealed_head_read(fd, key) == 0) {
        insist(sealed_head_write(fd, key) == 0 && sealed_head_read(fd, again) == 0);
        insist(memcmp(key, again, CRYPT_KEY) == 0);
    }
    look(fd, &map);
    (void)close(fd);
    return 0;
}
