/* A sealed cache file: what INO.data would hold lies in INO.seal, chunk by chunk, sealed by cryptd; INO.data has no
 * bytes, and its length is a copy of the size that stands in the map. Both syncd and the drive's worker read and write
 * it, by the rules of common/chunk_map.h; nobody but them and cryptd knows plaintext.
 *
 * INO.seal, numbers little endian:
 *
 *       offset       size
 *            0          8   "LNDFSEAL"
 *            8          4   version, 1
 *           12          4   the epoch of the drive's keys that the key was made in; 0: the one that it is wrapped under
 *           16        104   the file's key, wrapped (cryptd/wrapped_key.h)
 *          120         32   SHA-256 of bytes 0 to 119: tells damage
 *          152        872   zero
 *     4096 + E e            extent e of the file, 64 chunks; E is 16 KiB + 12 MiB:
 *            0   16 Ki      its entries, 256 bytes a chunk: three records (common/cache_record.h), the generation (8)
 *                           below which they do not count, 0 as a rule, and 56 bytes of zeros; those of extent 0 begin
 *                           at 1024, with the head in one page
 *        16 Ki   12 Mi      the bytes that records 0 are of, 64 KiB a chunk; then those of records 1, and of records 2
 *
 * Of a chunk's records the one with the highest generation is the current one. A chunk is written to a slot that is
 * neither the current one nor the one that is on the disk for sure: the one with the highest generation up to `synced`
 * in the map. First its bytes, then its record. So whoever is killed in the midst of it leaves the current one, and a
 * power cut leaves at least what was synced; then the newest one that opens counts, and a newer one that does not was
 * torn. Each write has a generation of its own, from a counter in the map which is never behind a record.
 *
 * A chunk may be shorter than it is to be read: what lies behind it is zeros. A chunk without a record is zeros at and
 * above `fetchable`, and missing below. What is longer than the file is cut as it is read, and must be written anew,
 * shorter, before the file grows (sealed_needs_trim()).
 *
 * Whether a pair is sealed is said by INO.seal being there. INO.seal.new is one that is on its way
 * (syncd/cache_convert.h): complete or not, it is nobody's after a crash. */
#pragma once

#include "common/chunk_map.h"
#include "common/crypt.h"

enum { SEALED_HEAD = 1024, SEALED_SLOTS = 3, SEALED_ENTRY = 256, SEALED_JOB_MAX = 32 };

#define SEALED_FILE_MAX (UINT64_C(5) << 40)    /* S3 knows no larger object; no file of ext4 is longer than 16 TiB */
#define SEALED_CHUNKS_MAX (SEALED_FILE_MAX >> CHUNK_SHIFT)

/* Of a chunk: where its bytes may be. */
struct sealed_entry {
    struct cache_record records[SEALED_SLOTS];
    uint64_t floor;               /* syncd found that what is below that generation was put back: it does not count */
    uint8_t zero[SEALED_ENTRY - SEALED_SLOTS * CACHE_RECORD_SIZE - 8];
};
_Static_assert(sizeof(struct sealed_entry) == SEALED_ENTRY, "as above");

/* One file. Everything borrowed; descriptor and map may be exchanged for others of the same file between calls. The map
 * has the key: it is another one after all chunks went, so lost_seq tells whether it still was the same in the end. */
struct sealed {
    int fd;
    struct chunk_map *map;
};

/* --- where things are -------------------------------------------------------------------------------- */

uint64_t sealed_entry_at(uint64_t chunk);
uint64_t sealed_slot_at(uint64_t chunk, unsigned slot);
/* The first extent from `extent` on that has entries, or bytes of chunks, on the disk; UINT64_MAX: none has. */
uint64_t sealed_next_entries(int fd, uint64_t extent);
uint64_t sealed_next_bytes(int fd, uint64_t extent);

/* --- entries ----------------------------------------------------------------------------------------- */

/* Those of n chunks; beyond the end of the file they are zeros. 0 or negative errno. */
int sealed_entries(int fd, uint64_t first, size_t n, struct sealed_entry *out);
/* The slot of the highest generation below `below`, or -1. */
int sealed_newest(const struct sealed_entry *e, uint64_t below);
uint64_t sealed_generation(const struct cache_record *r);
int sealed_set_floor(int fd, uint64_t chunk, uint64_t floor);
/* Makes [first, first + n) have no records, and gives their bytes' blocks back. 0 or negative errno. */
int sealed_drop(int fd, uint64_t first, uint64_t n);
/* The power was cut: after sealed_cut_look() at each entry that is there now, sealed_cut_note() says in the map, whose
 * `synced` is right by then, which records may be torn. */
struct sealed_cut {
    struct chunk_map *map;        /* borrowed; the rest begins as zeros */
    uint64_t highest;             /* generation */
    bool used[CHUNK_TORN];
};
void sealed_cut_look(struct sealed_cut *cut, const struct sealed_entry *e);
void sealed_cut_note(const struct sealed_cut *cut);
/* Whether the chunk in which the file ends has more bytes than the file: before it grows they must go. */
bool sealed_needs_trim(const struct sealed *s);

/* --- work on a run of chunks ------------------------------------------------------------------------- */

/* What asks cryptd. */
struct sealed_io {
    struct crypt *crypt;
    struct crypt_asker asker;
};

struct sealed_job;
typedef void sealed_fn(struct sealed_job *j, const struct error *e);

/* Where n chunks, from `first` on, are opened and sealed. `outer` is where they lie in the form that they have outside
 * of the cache, `stride` bytes apart. */
struct sealed_job {
    const struct sealed_io *io;   /* borrowed, as is the next */
    struct sealed *sealed;
    uint64_t first;
    size_t n;
    enum crypt_form form;         /* outside: CRYPT_PLAIN, or CRYPT_OBJECT with: */
    uint8_t object_key[CRYPT_KEY];
    uint64_t object_last;         /* number of the object's last chunk */
    uint8_t *outer;
    size_t stride;
    bool opens_only;              /* never sealed: it takes less memory */
    bool lent;                    /* `place`, for that and form CRYPT_PLAIN, is the caller's: whole chunks, n of them */
    uint32_t skipped;             /* bit i: sealed_open() leaves chunk i of the run alone, and its place in `outer` */
    void *arg;                    /* the caller's */
    struct crypt_place place;     /* read it; else the job's own, as is what follows */
    uint64_t end;
    size_t n_open;                /* how many of `chunks` are opened */
    unsigned tries, reloads;
    bool deferred, ended;
    sealed_fn *done;
    uint64_t below[SEALED_JOB_MAX];
    struct crypt_chunk chunks[SEALED_JOB_MAX];
};

/* A job for n chunks (1 to SEALED_JOB_MAX); fill in what is not the job's own, then sealed_job_begin(). */
struct sealed_job *sealed_job_new(const struct sealed_io *io, struct sealed *s, uint64_t first, size_t n);
/* Calls ready() once there is a place for it: at once, from inside, or later; *e is no error. */
void sealed_job_begin(struct sealed_job *j, sealed_fn *ready);
/* NULL is fine. No call may be under way at cryptd; else the job may be anywhere, and its callback does not run any
 * more. */
void sealed_job_end(struct sealed_job *j);

/* Opens the chunks, one at least, into `outer`, as far as `end`, the plaintext's length. done() later, from the loop:
 * -EBADE: some were changed, exchanged or are missing; -EIO; what cryptd says. What another process writes meanwhile is
 * seen as before or after. */
void sealed_open(struct sealed_job *j, uint64_t end, sealed_fn *done);
/* Seals what is at `outer`: chunk i of the run is of lengths[i] bytes (1 to CRYPT_CHUNK). done() later; then it is not
 * in the file yet. */
void sealed_seal(struct sealed_job *j, const uint32_t *lengths, sealed_fn *done);
/* Puts what was sealed into the file. Nobody else may write these chunks meanwhile. 0 or negative errno: then some may
 * be as before. */
int sealed_store(struct sealed_job *j);
/* Bytes of the file up to `end` were written, just now: it has that size, if it had less, and that time. */
void sealed_written(const struct sealed *s, uint64_t end);
