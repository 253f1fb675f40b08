/* Writing a sealed file (common/sealed.h). A chunk is sealed as a whole, so of the first and the last one of a write
 * the bytes that stay are opened first. Then all are sealed, and stored without a turn of the loop between the last
 * look and the last byte: what the program is told is in the kernel's page cache, and outlives all processes.
 *
 * Between the first look and the last one the loop turns, and chunks may go for space and come back. So what is not
 * stored by then is begun anew if lost_seq moved or the file is clean, as in worker_data.c; and a lock on the chunks,
 * as bytes of the cache file by their numbers, keeps syncd, which takes one for writing before it gives them up, from
 * coming in between that look and the last byte.
 *
 * Bytes that a chunk has beyond the end of the file are dead: truncating leaves them. They are cut off whenever the
 * chunk is opened; and where the file grows from a chunk that is not written to, that one is sealed anew before. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/number.h"
#include "mountd/worker_sealed.h"

enum { KEEP_MOST = CHUNK_SIZE / 2 };   /* of larger writes there are not many in a chunk */

static uint64_t end_of(const struct op *op)
{
    return (uint64_t)op->offset + op->size;
}

static uint64_t first_chunk(const struct op *op)
{
    return (uint64_t)op->offset >> CHUNK_SHIFT;
}

static uint64_t last_chunk(const struct op *op)
{
    return (end_of(op) - 1) >> CHUNK_SHIFT;
}

/* A chunk goes to another place whenever it is written; its record takes a block, and one of zeros no more than
 * that. */
uint64_t sealed_cost(const struct op *op)
{
    uint64_t n = op->size ? last_chunk(op) - first_chunk(op) + 1 : 0;
    uint64_t whole = op->bytes ? n : least(n, 2);

    if (n == 1 && kept_has_space(op->file, first_chunk(op)))
        return 0;
    return whole * CHUNK_SIZE + (n - whole) * CHUNK_PAGE + CHUNK_PAGE;
}

/* --- which bytes of a chunk ----------------------------------------------------------------------------------- */

/* Of chunk i of the run, from its beginning: what is changed, and how many the file had. */
struct part {
    uint32_t from, to, had;
};

static struct part part_of(const struct sealed_use *u, size_t i)
{
    uint64_t begins = (u->job->first + i) << CHUNK_SHIFT;

    return (struct part){
        .from = (uint32_t)excess((uint64_t)u->op->offset, begins),
        .to = (uint32_t)least(end_of(u->op) - begins, CHUNK_SIZE),
        .had = (uint32_t)least(excess(u->size, begins), CHUNK_SIZE),
    };
}

static bool keeps_some(struct part p)
{
    return p.had > 0 && (p.from > 0 || p.to < p.had);
}

/* What lies behind a chunk is zeros, so of zeros alone one is enough. */
static uint32_t length_of(const struct sealed_use *u, size_t i)
{
    struct part p = part_of(u, i);

    return u->op->bytes || keeps_some(p) ? (uint32_t)most(p.had, p.to) : 1;
}

static void zero(uint8_t *chunk, uint64_t from, uint64_t to)
{
    if (from < to)
        memset(chunk + from, 0, to - from);
}

/* Around what is written: what stays is there, the rest is zeros. */
static void fill_around(const struct sealed_use *u, size_t i)
{
    uint8_t *chunk = u->job->outer + i * CHUNK_SIZE;
    struct part p = part_of(u, i);
    uint32_t there = u->kept.job ? (uint32_t)least(u->kept.length, p.had) : p.had;
    uint32_t stays = keeps_some(p) ? there : 0, length = length_of(u, i);

    zero(chunk, stays, p.from);
    if (!u->op->bytes)
        zero(chunk, p.from, least(p.to, length));
    zero(chunk, most(p.to, stays), length);
}

/* --- anew ------------------------------------------------------------------------------------------------------ */

static bool must_begin_anew(const struct sealed_use *u)
{
    const struct file *f = u->op->file;

    return sealed_use_is_stale(u) || !file_dirty(f) || atomic_load(&f->map->size) < u->size;
}

/* The bytes may be where the job has them. */
static void begin_anew(struct sealed_use *u)
{
    struct op *op = u->op;
    op_step_fn *step = u->step;

    op_keep_bytes(op);
    sealed_leave(op);
    need_space(op, sealed_cost(op), step);
}

/* Chunks that somebody is giving up will be had again. */
static void begin_with_bytes(struct sealed_use *u)
{
    struct op *op = u->op;
    op_step_fn *step = u->step;

    op_keep_bytes(op);
    sealed_leave(op);
    need_bytes(op, op->size, step);
}

/* --- storing ------------------------------------------------------------------------------------------------------ */

/* syncd has such a lock while it gives the chunks up, for a moment: nobody waits for it here. */
static int lock_chunks(const struct sealed_use *u, short type)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)u->job->first, .l_len = (off_t)u->job->n,
    };

    return fcntl(u->op->file->fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* 0; -EAGAIN: somebody has the chunks; -ESTALE: they may have gone; or what the disk says. */
static int store(struct sealed_use *u)
{
    int r = lock_chunks(u, F_RDLCK);

    if (r < 0)
        return r == -EACCES ? -EAGAIN : r;
    r = must_begin_anew(u) ? -ESTALE : sealed_store(u->job);
    (void)lock_chunks(u, F_UNLCK);
    return r;
}

/* --- a chunk that is longer than the file ------------------------------------------------------------------------- */

static bool must_trim(const struct sealed_use *u)
{
    const struct file *f = u->op->file;
    uint64_t chunk = u->size >> CHUNK_SHIFT;

    return chunk < first_chunk(u->op) && chunk_present(f->map, chunk) && sealed_needs_trim(&f->sealed);
}

static void trimmed(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;
    struct op *op = u->op;
    op_step_fn *step = u->step;
    int r;

    if (!sealed_use_wake(u))
        return;
    if (e->code) {
        op_fail(op, e);
        return;
    }
    r = store(u);
    if (r == -EAGAIN || r == -ESTALE) {
        begin_anew(u);
    } else if (r < 0) {
        op_error(op, -r);
    } else {
        sealed_leave(op);
        step(op);
    }
}

/* The cloud does not have what it is that is damaged: a program cut the file here. */
static void trim_opened(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;
    uint32_t length = (uint32_t)(u->size % CHUNK_SIZE);

    if (!sealed_use_wake(u))
        return;
    if (must_begin_anew(u)) {
        begin_anew(u);
    } else if (e->code) {
        sealed_use_damaged(u, e);
        op_fail(u->op, e);
    } else {
        op_wait(u->op);
        sealed_seal(j, &length, trimmed);
    }
}

static void trim_placed(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;

    (void)e;
    if (!sealed_use_wake(u))
        return;
    op_wait(u->op);
    sealed_open(j, u->size, trim_opened);
}

/* Another write may have done it, or have made the file longer. */
static void trim_now(struct sealed_use *u)
{
    uint64_t chunk = u->turn.first;

    u->size = atomic_load(&u->op->file->map->size);
    if (must_trim(u) && u->size >> CHUNK_SHIFT == chunk)
        sealed_use_begin(u, chunk, 1, trim_placed);
    else
        begin_anew(u);
}

static void trim_turn(void *arg)
{
    struct sealed_use *u = arg;

    if (sealed_use_wake(u))
        trim_now(u);
}

static void trim(struct sealed_use *u)
{
    struct op *op = u->op;

    op_keep_bytes(op);
    turn_end(&op->file->turns, &u->turn);
    u->turn.first = u->turn.last = u->size >> CHUNK_SHIFT;
    u->turn.go = trim_turn;
    if (turn_begin(&op->file->turns, &u->turn))
        trim_now(u);
    else
        op_wait(op);
}

/* --- a write ------------------------------------------------------------------------------------------------------ */

/* Little by little: the next write is of the same chunk. */
static bool is_to_be_kept(const struct op *op)
{
    return op->bytes && op->size <= KEEP_MOST && first_chunk(op) == last_chunk(op) && end_of(op) % CHUNK_SIZE != 0;
}

/* After the last byte is looked once more, as in worker_data.c: an upload may have ended meanwhile. */
static void finish(struct sealed_use *u)
{
    struct op *op = u->op;
    struct chunk_map *map = op->file->map;
    op_step_fn *done = u->done;
    uint32_t length = length_of(u, 0);

    sealed_written(&op->file->sealed, op->bytes ? end_of(op) : 0);
    (void)atomic_fetch_add(&map->write_seq, 1);
    if (must_begin_anew(u)) {
        begin_anew(u);
        return;
    }
    chunk_touch(map, (uint64_t)op->offset, op->size);
    if (is_to_be_kept(op))
        kept_put(op->worker, op->file, (struct kept){ take_ptr(u->job), length, u->kept.writes + 1 });
    sealed_leave(op);
    done(op);
}

static void sealed(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;
    struct op *op = u->op;
    int r;

    if (!sealed_use_wake(u))
        return;
    if (must_begin_anew(u)) {
        begin_anew(u);
        return;
    }
    if (e->code) {
        op_fail(op, e);
        return;
    }
    r = data_note_change(op) ? store(u) : -ESTALE;
    if (r == 0)
        finish(u);
    else if (r == -ESTALE)
        begin_anew(u);
    else if (r == -EAGAIN)
        begin_with_bytes(u);
    else
        op_error(op, -r);
}

static void seal(struct sealed_use *u)
{
    struct sealed_job *j = u->job;
    struct op *op = u->op;
    char *to = (char *)j->outer + op->offset % CHUNK_SIZE;
    uint32_t lengths[SEALED_JOB_MAX];

    for (size_t i = 0; i < j->n; i++) {
        fill_around(u, i);
        lengths[i] = length_of(u, i);
    }
    if (op->bytes)
        memcpy(to, op->bytes, op->size);
    if (op->bytes && op->bytes != op->data)
        op->bytes = to;   /* the request's buffer is the next one's */
    op_wait(op);
    sealed_seal(j, lengths, sealed);
}

static void opened(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;

    if (!sealed_use_wake(u))
        return;
    if (must_begin_anew(u))
        begin_anew(u);
    else if (e->code)
        sealed_use_failed(u, e, u->op->size);
    else
        seal(u);
}

static void placed(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;
    uint32_t all = (uint32_t)((UINT64_C(1) << j->n) - 1);

    (void)e;
    if (!sealed_use_wake(u))
        return;
    for (size_t i = 0; i < j->n; i++)
        if (!keeps_some(part_of(u, i)))
            j->skipped |= UINT32_C(1) << i;
    if (j->skipped == all) {
        seal(u);
        return;
    }
    op_keep_bytes(u->op);
    op_wait(u->op);
    sealed_open(j, u->size, opened);
}

/* The job that wrote the chunk last seals it again. */
static bool begin_with_kept(struct sealed_use *u)
{
    const struct op *op = u->op;

    if (first_chunk(op) != last_chunk(op) || !kept_take(op->worker, op->file, first_chunk(op), &u->kept))
        return false;
    u->job = u->kept.job;
    u->job->arg = u;
    seal(u);
    return true;
}

/* It is its turn: the file's size is what those before have left. */
static void begin(struct sealed_use *u)
{
    struct op *op = u->op;

    u->size = atomic_load(&op->file->map->size);
    if (must_begin_anew(u))
        begin_anew(u);
    else if (must_trim(u))
        trim(u);
    else if (!begin_with_kept(u))
        sealed_use_begin(u, first_chunk(op), last_chunk(op) - first_chunk(op) + 1, placed);
}

static void on_turn(void *arg)
{
    struct sealed_use *u = arg;

    if (sealed_use_wake(u))
        begin(u);
}

void sealed_write(struct op *op, uint64_t lost, op_step_fn *step, op_step_fn *done)
{
    struct sealed_use *u;

    if (op->size == 0) {
        done(op);
        return;
    }
    u = sealed_use(op, lost, step);
    u->done = done;
    u->turn = (struct turn){ .first = first_chunk(op), .last = last_chunk(op), .go = on_turn, .arg = u };
    if (turn_begin(&op->file->turns, &u->turn)) {
        begin(u);
    } else {
        op_keep_bytes(op);
        op_wait(op);
    }
}
