/* Owns whether what a sealed cache file has is the newest that was there: the index knows the file's key and, of what
 * was written here, the generation that each chunk had when it was last synced. So files, and chunks, that somebody put
 * back from an older copy are noticed, when the file is opened: they are sealed rightly, but too old.
 *
 * Not noticed is what was never synced, and an older copy of the whole state directory. Of the map, which is not
 * sealed, only what none of us can have written.
 *
 * Must not know what follows for whoever reads (cache_bad.c). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/log.h"
#include "common/number.h"
#include "syncd/cache.h"
#include "syncd/sealed_head.h"

/* However the key is wrapped. */
static const uint8_t *tag_of(const struct cache_file *f)
{
    _Static_assert(INDEX_FRESH_TAG == 16, "the id of a key");
    return sealed_key_id(f->map->sealed_key);
}

static struct index *index_of(const struct cache_file *f)
{
    return f->cache->volume->index;
}

int cache_fresh_begin(struct cache_file *f)
{
    f->map->rewritten = 0;
    return index_fresh_begin(index_of(f), f->ino, tag_of(f));
}

void cache_fresh_end(const struct cache_file *f)
{
    (void)index_fresh_remove(index_of(f), f->ino);
}

/* --- looking ----------------------------------------------------------------------------------------- */

static void say(const struct cache_file *f, const char *what, uint64_t chunk)
{
    LOG(LOG_ERR, "cache_put_back", "drive=%s", f->cache->volume->drive->id, "ino=%" PRIu64, f->ino, "chunk=%" PRIu64,
        chunk, "reason=%s", what);
}

/* What must be there is not: whoever reads the chunk gets an error, and it stays as it is. */
static int refuse(struct cache_file *f, uint64_t chunk, uint64_t floor)
{
    say(f, "It is older than what was there, or gone. Somebody put an older copy in its place.", chunk);
    return sealed_set_floor(f->sealed.fd, chunk, floor);
}

/* Not by a power cut, and not as it was given up: the bit goes first. */
static bool was_taken(const struct cache_file *f, uint64_t chunk)
{
    return f->map->session == f->cache->session && chunk_present(f->map, chunk);
}

/* Of a clean file, whose bytes the cloud has, wherever they came from. */
static int make_absent(struct cache_file *f, uint64_t chunk)
{
    uint64_t end = least((chunk + 1) << CHUNK_SHIFT, cache_file_size(f));

    if (was_taken(f, chunk))
        say(f, "It is gone, and fetched again.", chunk);
    if (atomic_load(&f->map->fetchable) < end) {
        int r = cache_file_map_room(f, end);

        if (r < 0)
            return r;
        cache_file_raise(f, end);
    }
    (void)atomic_fetch_and(&f->map->bits[chunk / 64], ~(UINT64_C(1) << (chunk % 64)));
    return 0;
}

static uint64_t least_generation(uint64_t floor)
{
    return floor & ~(INDEX_FRESH_ABSENT | INDEX_FRESH_CUT);
}

/* Of a clean file what is missing is only absent, and was given up in the midst of a crash. */
static int check_chunk(struct cache_file *f, uint64_t chunk, bool clean, const struct sealed_entry *e, uint64_t *floor)
{
    int slot = sealed_newest(e, UINT64_MAX);
    uint64_t has = slot < 0 ? 0 : sealed_generation(&e->records[slot]), wanted = least_generation(*floor);
    bool may_lack = *floor & INDEX_FRESH_ABSENT || (clean && has == 0);

    if (*floor == 0)
        return 0;
    if (has >= wanted) {
        chunk_set(f->map, chunk);
        return 0;
    }
    if (!may_lack)
        return refuse(f, chunk, wanted);
    if (clean && !(*floor & INDEX_FRESH_ABSENT)) {
        int r = make_absent(f, chunk);

        if (r < 0)
            return r;
    }
    *floor |= INDEX_FRESH_ABSENT;
    if (chunk << CHUNK_SHIFT < atomic_load(&f->map->fetchable))
        (void)atomic_fetch_and(&f->map->bits[chunk / 64], ~(UINT64_C(1) << (chunk % 64)));
    return has ? sealed_drop(f->sealed.fd, chunk, 1) : 0;
}

static int check_extent(struct cache_file *f, uint64_t extent, bool clean, uint64_t floors[INDEX_FRESH])
{
    uint64_t end = (cache_file_size(f) + CHUNK_SIZE - 1) >> CHUNK_SHIFT, before[INDEX_FRESH];
    struct sealed_entry entries[EXTENT_CHUNKS];
    int r = sealed_entries(f->sealed.fd, extent * EXTENT_CHUNKS, EXTENT_CHUNKS, entries);

    memcpy(before, floors, sizeof(before));
    for (size_t i = 0; r == 0 && i < EXTENT_CHUNKS; i++) {
        uint64_t chunk = extent * EXTENT_CHUNKS + i;

        if (chunk >= end && floors[i])
            floors[i] |= INDEX_FRESH_ABSENT | INDEX_FRESH_CUT;
        else
            r = check_chunk(f, chunk, clean, &entries[i], &floors[i]);
    }
    if (r == 0 && memcmp(before, floors, sizeof(before)) != 0)
        r = index_fresh_put(index_of(f), f->ino, extent, floors);
    return r;
}

static int check_extents(struct cache_file *f, bool clean)
{
    uint64_t floors[INDEX_FRESH], extent = 0;
    int r;

    while ((r = index_fresh_next(index_of(f), f->ino, extent, &extent, floors)) == 0) {
        r = check_extent(f, extent, clean, floors);
        if (r < 0)
            return r;
        extent++;
    }
    return r == -ENOENT ? 0 : r;
}

/* What is clean is fetched again. Without bytes it is of no consequence: a transaction came to nothing. */
static int exchanged(struct cache_file *f, bool clean)
{
    bool cut = f->map->session != f->cache->session;

    if (cache_file_next_bytes(f, 0) >= 0 || !clean)
        say(f, clean && cut ? "It is sealed with another key than it was: by a power cut, or by somebody."
                            : "It is sealed with another key than it was. Somebody put another file in its place.", 0);
    if (!clean)
        return -EUCLEAN;
    cache_file_rebase(f, CACHE_OUTDATED);
    return 0;
}

enum announced { ANNOUNCED_NOTHING, ANNOUNCED_THIS, ANNOUNCED_PLAIN };

/* What was said beforehand of the pair, which is being converted: that it gets the key that it has by now, or none. */
static enum announced announced(const struct cache_file *f)
{
    static const uint8_t none[INDEX_FRESH_TAG];
    uint8_t next[INDEX_FRESH_TAG];

    if (index_fresh_next_tag(index_of(f), f->ino, next) < 0)
        return ANNOUNCED_NOTHING;
    if (memcmp(next, none, sizeof(next)) == 0)
        return ANNOUNCED_PLAIN;
    return f->is_sealed && memcmp(tag_of(f), next, sizeof(next)) == 0 ? ANNOUNCED_THIS : ANNOUNCED_NOTHING;
}

/* A size of which the index knows, and which nobody set since. */
static bool size_is_other(const struct cache_file *f, const struct index_inode *i)
{
    uint64_t size = atomic_load(&f->map->size);

    return size != i->size && f->map->size_seq == atomic_load(&f->map->write_seq) && f->map->cut_to != size + 1;
}

static void check_map(struct cache_file *f, const struct index_inode *i, bool clean)
{
    if (f->map->session != f->cache->session)
        return;   /* what a power cut left is looked at after */
    if (!clean && size_is_other(f, i)) {
        say(f, "Its map had another size. It has the one that the index knows.", 0);
        atomic_store(&f->map->size, i->size);
    }
    if (!cache_file_current(f, i) || atomic_load(&f->map->fetchable) <= cache_file_size(f))
        return;
    say(f, "Its map was changed.", 0);
    if (clean)
        cache_file_rebase(f, CACHE_OUTDATED);
    else
        atomic_store(&f->map->fetchable, cache_file_size(f));
}

bool cache_fresh_is_before(const struct cache_file *f)
{
    uint8_t known[INDEX_FRESH_TAG];

    return index_fresh_tag(index_of(f), f->ino, known) == 0 && memcmp(tag_of(f), known, sizeof(known)) != 0 &&
           announced(f) == ANNOUNCED_NOTHING && !cache_fresh_has_any(f) && index_doubtful(index_of(f), f->ino);
}

bool cache_fresh_is_known(const struct cache_file *f)
{
    uint8_t known[INDEX_FRESH_TAG];

    return index_fresh_tag(index_of(f), f->ino, known) == 0;
}

static bool must_be_there(uint64_t floor)
{
    return floor && !(floor & INDEX_FRESH_ABSENT);
}

bool cache_fresh_wants(struct index *x, uint64_t ino, uint64_t first)
{
    uint64_t floors[INDEX_FRESH], extent = first / EXTENT_CHUNKS;

    for (; index_fresh_next(x, ino, extent, &extent, floors) == 0; extent++)
        for (size_t i = 0; i < INDEX_FRESH; i++)
            if (extent * EXTENT_CHUNKS + i >= first && must_be_there(floors[i]))
                return true;
    return false;
}

bool cache_fresh_has_any(const struct cache_file *f)
{
    return cache_fresh_wants(index_of(f), f->ino, 0);
}

int cache_fresh_unsealed(struct cache_file *f, const struct index_inode *i, bool seals)
{
    bool clean = !(i->pending & INDEX_CONTENT);

    if (!cache_fresh_is_known(f))
        return 0;
    if (announced(f) == ANNOUNCED_PLAIN)
        return index_fresh_remove(index_of(f), f->ino);
    if (!clean && !(cache_fresh_has_any(f) && (seals || cache_file_next_bytes(f, 0) < 0)))
        return 0;
    say(f, "What it was sealed in is gone.", 0);
    if (!clean)
        return -EUCLEAN;
    cache_file_rebase(f, CACHE_OUTDATED);
    return index_fresh_remove(index_of(f), f->ino);
}

int cache_fresh_check(struct cache_file *f, const struct index_inode *i)
{
    bool clean = !(i->pending & INDEX_CONTENT);
    uint8_t known[INDEX_FRESH_TAG];
    int r = index_fresh_tag(index_of(f), f->ino, known);
    bool same = r == 0 && memcmp(tag_of(f), known, sizeof(known)) == 0;
    enum announced next = announced(f);

    if (next == ANNOUNCED_THIS || (same && next == ANNOUNCED_PLAIN)) {   /* it came to that; or it came to nothing */
        r = index_fresh_retag(index_of(f), f->ino, tag_of(f));
    } else if (r == -ENOENT) {   /* the index is another one */
        if (clean)
            cache_file_rebase(f, CACHE_OUTDATED);
        return index_fresh_begin(index_of(f), f->ino, tag_of(f));
    } else if (r == 0 && !same) {
        return exchanged(f, clean);
    }
    check_map(f, i, clean);
    return r == 0 ? check_extents(f, clean) : r;
}

/* --- writing down -------------------------------------------------------------------------------------- */

struct recording {
    struct cache_file *file;
    uint64_t generation, extent;
    bool any;                     /* something of the extent is newer than what was written down */
    uint64_t floors[INDEX_FRESH];
    int error;
};

static void record_extent(struct recording *r)
{
    uint64_t floors[INDEX_FRESH] = { 0 };
    struct index *x = index_of(r->file);
    int error;

    if (!r->any || r->error)
        return;
    error = index_fresh_get(x, r->file->ino, r->extent, floors);
    if (error == 0 || error == -ENOENT) {
        for (size_t i = 0; i < INDEX_FRESH; i++)
            if (r->floors[i] > least_generation(floors[i]))
                floors[i] = r->floors[i];
        error = index_fresh_put(x, r->file->ino, r->extent, floors);
    }
    r->error = error;
}

static void begin_extent(struct recording *r, uint64_t extent)
{
    if (r->extent == extent)
        return;
    record_extent(r);
    r->extent = extent;
    r->any = false;
    memset(r->floors, 0, sizeof(r->floors));
}

static void record_chunk(uint64_t chunk, struct sealed_entry *e, void *arg)
{
    struct recording *r = arg;
    int slot = sealed_newest(e, r->generation + 1);
    uint64_t g = slot < 0 ? 0 : sealed_generation(&e->records[slot]);

    begin_extent(r, chunk / EXTENT_CHUNKS);
    r->floors[chunk % EXTENT_CHUNKS] = g;
    r->any |= g > r->file->recorded;
}

static int record_all(struct recording *r)
{
    int failed = cache_seal_each(r->file, cache_file_size(r->file), record_chunk, r);

    begin_extent(r, UINT64_MAX);
    return failed < 0 ? failed : r->error;
}

void cache_fresh_record(struct cache_file *f, uint64_t generation)
{
    struct recording rec = { .file = f, .generation = generation, .extent = UINT64_MAX };
    struct index *x = index_of(f);
    bool inside = index_in_transaction(x);
    int r = inside ? 0 : index_begin(x);

    if (r == 0)
        r = record_all(&rec);
    if (!inside)
        r = index_end(x, r);
    if (r == 0)
        f->recorded = generation;
    else
        LOG(LOG_WARNING, "freshness_not_recorded", "drive=%s", f->cache->volume->drive->id, "ino=%" PRIu64, f->ino,
            "error=%s", error_meaning(r)->text);
}

/* What a floor becomes. What may be missing is, if it is there, as new as it was; of what was never recorded nothing is
 * said. */
typedef uint64_t floor_fn(uint64_t floor, uint64_t generation);

static uint64_t given_up(uint64_t floor, uint64_t generation)
{
    uint64_t newest = most(least_generation(floor), generation);

    return newest ? newest | INDEX_FRESH_ABSENT : 0;
}

static uint64_t cut_off(uint64_t floor, uint64_t generation)
{
    floor = given_up(floor, generation);
    return floor ? floor | INDEX_FRESH_CUT : 0;
}

/* What was given up before is the cloud's, until the file is cut. */
static uint64_t to_be_cut(uint64_t floor, uint64_t generation)
{
    (void)generation;
    return must_be_there(floor) ? floor | INDEX_FRESH_ABSENT | INDEX_FRESH_CUT : floor;
}

static uint64_t uncut(uint64_t floor, uint64_t generation)
{
    (void)generation;
    return floor & ~INDEX_FRESH_CUT;
}

/* Extents that have no row never had anything that is not in the cloud. */
static int change(struct index *x, uint64_t ino, uint64_t first, uint64_t end, floor_fn *to, uint64_t generation)
{
    uint64_t before[INDEX_FRESH], floors[INDEX_FRESH], extent = first / EXTENT_CHUNKS;
    int r;

    while ((r = index_fresh_next(x, ino, extent, &extent, floors)) == 0 && extent * EXTENT_CHUNKS < end) {
        memcpy(before, floors, sizeof(before));
        for (size_t i = 0; i < EXTENT_CHUNKS; i++)
            if (extent * EXTENT_CHUNKS + i >= first && extent * EXTENT_CHUNKS + i < end)
                floors[i] = to(floors[i], generation);
        r = memcmp(before, floors, sizeof(before)) ? index_fresh_put(x, ino, extent, floors) : 0;
        if (r < 0)
            return r;
        extent++;
    }
    return r == -ENOENT || r == 0 ? 0 : r;
}

static const uint64_t CHUNKS_END = CHUNK_FILE_MAX >> CHUNK_SHIFT;

int cache_fresh_gone(struct cache_file *f, uint64_t first, uint64_t end)
{
    return change(index_of(f), f->ino, first, end, given_up, atomic_load(&f->map->generation));
}

int cache_fresh_cut(struct cache_file *f, uint64_t first)
{
    return change(index_of(f), f->ino, first, CHUNKS_END, cut_off, atomic_load(&f->map->generation));
}

int cache_fresh_will_cut(struct index *x, uint64_t ino, uint64_t first)
{
    return change(x, ino, first, CHUNKS_END, to_be_cut, 0);
}

int cache_fresh_uploaded(struct index *x, uint64_t ino)
{
    return change(x, ino, 0, CHUNKS_END, uncut, 0);
}

static bool is_missing(const struct cache_file *f, uint64_t chunk)
{
    struct sealed_entry e;

    return sealed_entries(f->sealed.fd, chunk, 1, &e) == 0 && sealed_newest(&e, UINT64_MAX) < 0;
}

uint64_t cache_fresh_cut_at(const struct cache_file *f)
{
    uint64_t floors[INDEX_FRESH], extent = 0;

    for (; index_fresh_next(index_of(f), f->ino, extent, &extent, floors) == 0; extent++)
        for (size_t i = 0; i < INDEX_FRESH; i++)
            if (floors[i] & INDEX_FRESH_CUT && is_missing(f, extent * EXTENT_CHUNKS + i))
                return (extent * EXTENT_CHUNKS + i) << CHUNK_SHIFT;
    return UINT64_MAX;
}
