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

enum { SMALL_CHUNKS = 2 };

struct asked {
    struct worker *worker;
    ipc_answer_fn *done;
    void *arg;
};

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct asked *a = arg;

    wait_answered(a->worker);
    a->done(e, reply, fds, a->arg);
}

static void ask_cryptd(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    struct worker *w = arg;
    struct asked *a;

    if (request->crypt->n_chunks > SMALL_CHUNKS) {
        (void)ipc_call(w->cryptd, request, NULL, 0, 0, done, done_arg);
        return;
    }
    a = xcalloc(1, sizeof(*a));
    *a = (struct asked){ .worker = w, .done = done, .arg = done_arg };
    wait_asked(w);
    (void)ipc_call(w->cryptd, request, NULL, 0, 0, answered, a);
}

void sealed_connect(struct worker *w)
{
    w->sealing = (struct sealed_io){ .crypt = w->crypt, .asker = { ask_cryptd, w } };
}

/* --- a file that nobody writes ------------------------------------------------------------------------------- */

struct sealed_view sealed_view(const struct file *f)
{
    struct chunk_map *m = f->map;

    return (struct sealed_view){
        .size = atomic_load(&m->size), .lost = atomic_load(&m->lost_seq), .writes = atomic_load(&m->write_seq),
        .exchanged = f->exchanged,
    };
}

static bool may_be_written(const struct worker *w, const struct file *f)
{
    return f->handles[FILE_WRITE] > 0 || f->held[FILE_WRITE] || chunk_map_written(f->map, w->mount_tag) ||
           file_dirty(f);
}

bool sealed_view_holds(const struct worker *w, const struct file *f, const struct sealed_view *v)
{
    const struct sealed_view now = sealed_view(f);

    return !w->ending && !f->guard.is_lost && now.exchanged == v->exchanged && now.lost == v->lost &&
           now.writes == v->writes && now.size == v->size && !may_be_written(w, f);
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
    u->job->opens_only = u->length > 0;
    sealed_job_begin(u->job, ready);
    if (!u->job->outer) {   /* one of them may be in the middle of what is free */
        kept_drop_all(op->worker);
        early_drop(op->worker, NULL);
    }
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
    struct worker *w = op->worker;
    struct file *f = op->file;
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
        length = least(length, excess(atomic_load(&f->map->size), (uint64_t)op->offset));
        file_use(f);
        data_reply_read(op, j->outer + op->offset % CHUNK_SIZE, length);
        early_begin(w, f);
        file_unuse(&w->files, f);
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

static void read_now(struct op *op, size_t size, uint64_t lost, op_step_fn *step)
{
    uint64_t first = (uint64_t)op->offset >> CHUNK_SHIFT;
    uint64_t end = ((uint64_t)op->offset + size - 1) >> CHUNK_SHIFT;
    struct sealed_use *u = sealed_use(op, lost, step);

    u->length = size;
    sealed_use_begin(u, first, (size_t)(end - first + 1), placed);
}

void sealed_read(struct op *op, size_t size, uint64_t lost, op_step_fn *step)
{
    struct file *f = op->file;
    bool follows = (uint64_t)op->offset == f->read_end;

    if (size == 0) {
        data_reply_read(op, NULL, 0);
        return;
    }
    f->read_end = (uint64_t)op->offset + size;
    f->read_size = follows ? size : 0;
    f->jumps += !follows;
    if (!early_read(op, size, step) && !push_read(op, size, lost, step))
        read_now(op, size, lost, step);
}
