/* Owns a run of chunks on its way between a sealed file and memory: loaded, opened, sealed, stored. Must not know what
 * the chunks are for. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "common/number.h"
#include "common/sealed_internal.h"

/* Somebody else writes the chunk all the time; cryptd dies as soon as it works on it. */
enum { TRIES_MAX = 64, DEATHS_MAX = 3 };

/* No file is written so often. */
#define GENERATIONS (UINT64_C(1) << 62)

struct sealed_job *sealed_job_new(const struct sealed_io *io, struct sealed *s, uint64_t first, size_t n)
{
    struct sealed_job *j;

    if (n == 0 || n > SEALED_JOB_MAX)
        abort();
    j = malloc(sizeof(*j));
    if (!j)
        abort();
    memset(j, 0, offsetof(struct sealed_job, below));
    j->io = io;
    j->sealed = s;
    j->first = first;
    j->n = n;
    return j;
}

static void placed(void *arg)
{
    struct sealed_job *j = arg;

    j->outer = j->place.bytes;
    j->done(j, &(struct error){ 0 });
}

/* Plaintext takes the place of what was sealed: the less memory is touched, the more of it is in the processor's
 * cache. A chunk of an object is longer. */
static bool opens_in_place(const struct sealed_job *j)
{
    return j->form == CRYPT_PLAIN;
}

void sealed_job_begin(struct sealed_job *j, sealed_fn *ready)
{
    j->stride = j->form == CRYPT_OBJECT ? CRYPT_OBJECT_CHUNK : CRYPT_CHUNK;
    j->done = ready;
    if (j->lent) {
        placed(j);
        return;
    }
    crypt_place(j->io->crypt, j->n * (j->stride + (j->opens_only && opens_in_place(j) ? 0 : CRYPT_CHUNK)), &j->place,
                placed, j);
}

void sealed_job_end(struct sealed_job *j)
{
    if (!j)
        return;
    if (!j->lent && j->place.n)
        crypt_place_end(j->io->crypt, &j->place);
    else if (!j->lent)
        crypt_place_cancel(j->io->crypt, &j->place);
    if (j->deferred)
        j->ended = true;
    else
        free(j);
}

static uint8_t *inner(const struct sealed_job *j, size_t i)
{
    return j->outer + j->n * j->stride + i * CRYPT_CHUNK;
}

/* Where what is sealed is read to. */
static uint8_t *loaded(const struct sealed_job *j, size_t i)
{
    return opens_in_place(j) ? j->outer + i * CRYPT_CHUNK : inner(j, i);
}

static uint64_t at(const struct sealed_job *j, const uint8_t *bytes)
{
    return j->place.at + (uint64_t)(bytes - j->place.bytes);
}

static void lay_out(const struct sealed_job *j, size_t i, bool opens, uint32_t length, struct crypt_chunk *c)
{
    uint64_t outer = at(j, j->outer + i * j->stride);

    memset(c, 0, sizeof(*c));
    c->number = j->first + i;
    c->length = length;
    c->in_at = opens ? at(j, loaded(j, i)) : outer;
    c->out_at = opens ? outer : at(j, inner(j, i));
    c->last = j->form == CRYPT_OBJECT && c->number == j->object_last;
}

static void run(struct sealed_job *j, bool opens, size_t n, crypt_done_fn *done)
{
    const uint8_t *outer_key = j->form == CRYPT_OBJECT ? j->object_key : NULL;
    struct crypt_call call = {
        .asker = j->io->asker, .from = opens ? CRYPT_CACHE : j->form, .to = opens ? j->form : CRYPT_CACHE,
        .from_key = opens ? j->sealed->map->sealed_key : outer_key,
        .to_key = opens ? outer_key : j->sealed->map->sealed_key,
        .chunks = j->chunks, .n = n,
    };

    crypt_run(&call, done, j);
}

static void fail(struct sealed_job *j, int code, const char *why)
{
    struct error e;

    error_set(&e, code, "%s", why);
    j->done(j, &e);
}

/* --- what cryptd need not be asked for; but the answer comes later, as any ---------------------------------- */

static void fail_now(struct sealed_job *j, int code, const char *why)
{
    j->deferred = false;
    if (j->ended)
        free(j);
    else
        fail(j, code, why);
}

static void missing(void *arg)
{
    fail_now(arg, -EBADE, "Bytes of the file are missing in the cache.");
}

static void forged(void *arg)
{
    fail_now(arg, -EBADE, "Records of the file were changed in the cache by somebody else.");
}

static void unreadable(void *arg)
{
    fail_now(arg, -EIO, "The disk of the cache does not give bytes of the file back.");
}

static void fail_later(struct sealed_job *j, void (*say)(void *arg))
{
    j->deferred = true;
    crypt_defer(j->io->crypt, say, j);
}

/* --- opening ----------------------------------------------------------------------------------------- */

static uint32_t sealed_bytes(const struct cache_record *r)
{
    return (uint32_t)least(le32toh(r->length), CRYPT_CHUNK);
}

/* Whether a chunk without a record is zeros: where nothing was ever fetched; or a power cut has taken it, which nobody
 * had synced, out of a file whose bytes are nowhere else. */
static bool may_lack(const struct sealed_job *j, const struct sealed_entry *e, size_t i)
{
    const struct chunk_map *m = j->sealed->map;

    if (e->floor)
        return false;
    if ((j->first + i) << CHUNK_SHIFT >= atomic_load(&m->fetchable))
        return true;
    return j->below[i] != UINT64_MAX && atomic_load(&m->state) == CHUNK_MAP_DIRTY;
}

/* How many chunks from i on lie in a row. */
static size_t in_a_row(uint64_t first, const struct sealed_entry *entries, const int *slots, size_t i, size_t n)
{
    size_t k = i;

    while (k + 1 < n && slots[k + 1] == slots[i] && (first + k + 1) % EXTENT_CHUNKS &&
           sealed_bytes(&entries[k].records[slots[k]]) == CRYPT_CHUNK)
        k++;
    return k - i + 1;
}

static int load_bytes(struct sealed_job *j, const struct sealed_entry *entries, const int *slots)
{
    int r = 0;

    for (size_t i = 0, n; r == 0 && i < j->n; i += n) {
        n = slots[i] < 0 ? 1 : in_a_row(j->first, entries, slots, i, j->n);
        if (slots[i] >= 0)
            r = sealed_pread(j->sealed->fd, loaded(j, i),
                             (n - 1) * CRYPT_CHUNK + sealed_bytes(&entries[i + n - 1].records[slots[i]]),
                             sealed_slot_at(j->first + i, (unsigned)slots[i]));
    }
    return r;
}

static int load(struct sealed_job *j)
{
    struct sealed_entry entries[SEALED_JOB_MAX];
    int slots[SEALED_JOB_MAX], r = sealed_entries(j->sealed->fd, j->first, j->n, entries);

    j->n_open = 0;
    for (size_t i = 0; r == 0 && i < j->n; i++) {
        uint64_t begins = (j->first + i) << CHUNK_SHIFT;
        struct crypt_chunk *c = &j->chunks[j->n_open];

        slots[i] = -1;
        if (j->skipped >> i & 1)
            continue;
        j->n_open++;
        lay_out(j, i, true, (uint32_t)least(excess(j->end, begins), CRYPT_CHUNK), c);
        slots[i] = sealed_newest(&entries[i], j->below[i]);
        c->zeros = slots[i] < 0;
        if (c->zeros && !may_lack(j, &entries[i], i))
            return -EBADE;
        if (!c->zeros)
            c->record = entries[i].records[slots[i]];
    }
    return r == 0 ? load_bytes(j, entries, slots) : r;
}

/* Whether to look again, at another record of the chunk, which did not open: it is being written; or a power cut has
 * torn this one. */
static bool look_again(struct sealed_job *j, const struct crypt_chunk *c)
{
    const struct chunk_map *m = j->sealed->map;
    size_t i = c->number - j->first;
    uint64_t g = sealed_generation(&c->record);
    struct sealed_entry now;
    int slot;

    if (j->tries++ >= TRIES_MAX || sealed_entries(j->sealed->fd, c->number, 1, &now) < 0)
        return false;
    slot = sealed_newest(&now, j->below[i]);
    if (slot < 0 || memcmp(&now.records[slot], &c->record, sizeof(c->record)) != 0)
        return true;
    if (!sealed_may_be_torn(m, g))
        return false;
    j->below[i] = g;
    return true;
}

static void open_again(struct sealed_job *j);

static bool did_open(const struct sealed_job *j)
{
    for (size_t i = 0; i < j->n_open; i++)
        if (j->chunks[i].code)
            return false;
    return true;
}

/* The next cryptd was asked for what the one that died had opened already, where it lay. Nobody is told which they
 * were, so what does not open is loaded once more. */
static bool may_have_died(struct sealed_job *j)
{
    return opens_in_place(j) && j->reloads++ < DEATHS_MAX;
}

static void opened(const struct error *e, void *arg)
{
    struct sealed_job *j = arg;
    bool again = false;

    if (e->code) {
        j->done(j, e);
        return;
    }
    if (!did_open(j) && may_have_died(j)) {
        open_again(j);
        return;
    }
    for (size_t i = 0; i < j->n_open; i++) {
        int code = j->chunks[i].code;

        if (code == 0)
            continue;
        if (code == -EIO || !look_again(j, &j->chunks[i])) {
            fail(j, code == -EIO ? -EIO : -EBADE, "Bytes of the file were changed in the cache by somebody else.");
            return;
        }
        again = true;
    }
    if (again)
        open_again(j);
    else
        j->done(j, e);
}

static void open_again(struct sealed_job *j)
{
    int r = load(j);

    if (r == 0)
        run(j, true, j->n_open, opened);
    else
        fail_later(j, r == -EBADE ? missing : unreadable);
}

void sealed_open(struct sealed_job *j, uint64_t end, sealed_fn *done)
{
    j->end = end;
    j->done = done;
    j->tries = j->reloads = 0;
    for (size_t i = 0; i < j->n; i++)
        j->below[i] = UINT64_MAX;
    open_again(j);
}

/* --- sealing ----------------------------------------------------------------------------------------- */

/* A generation above all that the chunk has had, whatever the counter says; 0: it never had such a one. */
static uint64_t draw(struct chunk_map *m, const struct sealed_entry *e)
{
    int slot = sealed_newest(e, UINT64_MAX);
    uint64_t had = slot < 0 ? 0 : sealed_generation(&e->records[slot]), g;

    if (had >= GENERATIONS)
        return 0;
    do {
        g = atomic_fetch_add(&m->generation, 1) + 1;
        if (g <= had)
            atomic_store(&m->generation, had);
    } while (g <= had);
    return g;
}

static void sealed(const struct error *e, void *arg)
{
    struct sealed_job *j = arg;

    for (size_t i = 0; e->code == 0 && i < j->n; i++)
        if (j->chunks[i].code) {
            fail(j, j->chunks[i].code, j->form == CRYPT_OBJECT ? "Bytes of the object are not what was encrypted."
                                                               : "cryptd could not seal bytes of the file.");
            return;
        }
    j->done(j, e);
}

void sealed_seal(struct sealed_job *j, const uint32_t *lengths, sealed_fn *done)
{
    struct sealed_entry entries[SEALED_JOB_MAX];

    j->done = done;
    if (sealed_entries(j->sealed->fd, j->first, j->n, entries) < 0) {
        fail_later(j, unreadable);
        return;
    }
    for (size_t i = 0; i < j->n; i++) {
        lay_out(j, i, false, lengths[i], &j->chunks[i]);
        j->chunks[i].generation = draw(j->sealed->map, &entries[i]);
        if (j->chunks[i].generation == 0) {
            fail_later(j, forged);
            return;
        }
    }
    run(j, false, j->n, sealed);
}

static int store_bytes(const struct sealed_job *j, const struct sealed_entry *entries, const int *slots)
{
    int r = 0;

    for (size_t i = 0, n; r == 0 && i < j->n; i += n) {
        n = in_a_row(j->first, entries, slots, i, j->n);
        r = sealed_pwrite(j->sealed->fd, inner(j, i), (n - 1) * CRYPT_CHUNK + j->chunks[i + n - 1].length,
                          sealed_slot_at(j->first + i, (unsigned)slots[i]));
    }
    return r;
}

int sealed_store(struct sealed_job *j)
{
    struct sealed_entry entries[SEALED_JOB_MAX];
    int slots[SEALED_JOB_MAX], r = sealed_entries(j->sealed->fd, j->first, j->n, entries);

    if (r < 0)
        return r;
    for (size_t i = 0; i < j->n; i++) {
        slots[i] = sealed_free_slot(&entries[i], j->sealed->map);
        entries[i].records[slots[i]] = j->chunks[i].record;
    }
    r = store_bytes(j, entries, slots);
    return r == 0 ? sealed_write_entries(j->sealed->fd, j->first, j->n, entries) : r;
}

void sealed_written(const struct sealed *s, uint64_t end)
{
    uint64_t size = atomic_load(&s->map->size);

    while (size < end && !atomic_compare_exchange_weak(&s->map->size, &size, end))
        ;
    atomic_store(&s->map->written_ns, loop_wall_ns());
}
