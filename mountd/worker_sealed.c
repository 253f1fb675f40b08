/* Reading a sealed file (common/sealed.h): its chunks go to cryptd through memory that both have, and from there to the
 * kernel. What cryptd is asked cannot be called off, so an operation lives on until it has answered, though the kernel
 * has had its answer by then; while there is no cryptd, programs wait.
 *
 * Plaintext is in that memory, in the buffer of requests, and in copies of writes that wait, nowhere else; all of it is
 * locked (session_hold_secrets()). */
#include "mountd/worker_sealed.h"

#include <errno.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"

static void ask_cryptd(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    struct worker *w = arg;

    (void)ipc_call(w->cryptd, request, NULL, 0, 0, done, done_arg);
}

void sealed_connect(struct worker *w)
{
    w->sealing = (struct sealed_io){ .crypt = w->crypt, .asker = { ask_cryptd, w } };
}

/* --- what is under way ------------------------------------------------------------------------------------ */

struct sealed_use *sealed_use(struct op *op, uint64_t lost, op_step_fn *step)
{
    struct sealed_use *u = xcalloc(1, sizeof(*u));

    sealed_leave(op);
    *u = (struct sealed_use){
        .op = op, .step = step, .lost = lost, .exchanged = op->file->exchanged,
        .size = atomic_load(&op->file->map->size),
    };
    op->sealed = u;
    return u;
}

bool sealed_use_is_stale(const struct sealed_use *u)
{
    const struct file *f = u->op->file;

    return f->guard.is_lost || f->exchanged != u->exchanged || atomic_load(&f->map->lost_seq) != u->lost;
}

void sealed_leave(struct op *op)
{
    struct sealed_use *u = take_ptr(op->sealed);

    if (!u)
        return;
    sealed_job_end(u->job);
    turn_end(&op->file->turns, &u->turn);
    free(u);
}

void sealed_use_begin(struct sealed_use *u, uint64_t first, size_t n, sealed_fn *ready)
{
    struct op *op = u->op;

    u->job = sealed_job_new(&op->worker->sealing, &op->file->sealed, first, n);
    u->job->arg = u;
    sealed_job_begin(u->job, ready);
    if (!u->job->outer)
        kept_drop_all(op->worker);   /* one of them may be in the middle of what is free */
    if (!u->job->outer) {
        op_keep_bytes(op);
        op_wait(op);
    }
}

bool sealed_use_wake(struct sealed_use *u)
{
    return !u->op->waits || op_wake(u->op);
}

void sealed_use_damaged(const struct sealed_use *u, const struct error *e)
{
    LOG(LOG_ERR, "cache_damaged", "ino=%llu", (unsigned long long)u->op->ino, "chunk=%llu",
        (unsigned long long)u->job->first, "chunks=%zu", u->job->n, "error=%s", error_text(e));
}

void sealed_use_failed(struct sealed_use *u, const struct error *e, size_t length)
{
    struct op *op = u->op;
    op_step_fn *step = u->step;

    if (e->code != -EBADE && e->code != -EIO) {
        op_fail(op, e);
        return;
    }
    sealed_use_damaged(u, e);
    sealed_leave(op);
    need_again(op, length, EIO, step);
}

/* --- reading -------------------------------------------------------------------------------------------------- */

/* The file may have become shorter. */
static void opened(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;
    struct op *op = u->op;
    op_step_fn *step = u->step;
    size_t length = u->length;

    if (!sealed_use_wake(u))
        return;
    if (sealed_use_is_stale(u)) {
        sealed_leave(op);
        need_bytes(op, length, step);
    } else if (e->code) {
        sealed_use_failed(u, e, length);
    } else {
        length = least(length, excess(atomic_load(&op->file->map->size), (uint64_t)op->offset));
        data_reply_read(op, j->outer + op->offset % CHUNK_SIZE, length);
    }
}

static void placed(struct sealed_job *j, const struct error *e)
{
    struct sealed_use *u = j->arg;

    (void)e;
    if (!sealed_use_wake(u))
        return;
    op_wait(u->op);
    sealed_open(j, u->size, opened);
}

void sealed_read(struct op *op, size_t size, uint64_t lost, op_step_fn *step)
{
    uint64_t first = (uint64_t)op->offset >> CHUNK_SHIFT;
    struct sealed_use *u;

    if (size == 0) {
        data_reply_read(op, NULL, 0);
        return;
    }
    u = sealed_use(op, lost, step);
    u->length = size;
    sealed_use_begin(u, first, (((uint64_t)op->offset + size - 1) >> CHUNK_SHIFT) - first + 1, placed);
    push_read(op->worker, op->file, (uint64_t)op->offset, size);
}
