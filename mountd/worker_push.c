/* A read at random of a sealed file costs the opening of 64 KiB for the page that the program wants. Where a small file
 * is read so, all of it is opened once and given to the kernel, which has the pages then, as if it had read them: the
 * notifier writes them there (FUSE_NOTIFY_STORE), a piece after the other, from the memory where cryptd has opened
 * them.
 *
 * The kernel must never get older bytes after newer ones. What it has changes - by a program's write: needs a handle
 * that may write, and while there is one in this mount nothing is pushed. The answer to an open for writing waits until
 * the piece that is on its way is written (push_settle()); - by a new size: the same holds for that answer, before
 * which the kernel neither cuts its pages nor asks for the next change of the inode. From syncd's answer on the file is
 * dirty, and nothing of a dirty one is pushed; - by another version of the cloud, of which the kernel is told to drop
 * the pages: that is written by the notifier too, behind the piece, and lost_seq, raised before, keeps further ones
 * back. Whether all that is so is looked at when a piece has been opened, right before it is handed to the notifier.
 *
 * Nobody waits for another in a circle: for a page that is being read the notifier waits until that read was answered,
 * which the worker does, who never waits for the notifier but as for any event. A read needs no answer to an open or to
 * a new size. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "mountd/worker_internal.h"

enum {
    PUSHED_MOST = 16 << 20,      /* of larger files that are read at random it is not likely that all is wanted */
    PIECE_CHUNKS = 16,
    PUSHES_MOST = 1,             /* its two pieces take 4 of the 8 MiB that are shared with cryptd */
    JUMPS = 2,
};

struct push {
    struct worker *worker;
    struct file *file;           /* in use */
    struct sealed_job *job;      /* a piece that is being opened, or was; NULL: none */
    struct sealed_job *given;    /* the one before it, which is the notifier's; NULL: none */
    bool opened;                 /* `job` was */
    uint64_t next, n_chunks;
    bool stopped;                /* no further one is given */
    TAILQ_HEAD(, op) waiting;    /* for `given` to be written */
    /* as they were when it began */
    uint64_t size, lost;
    unsigned exchanged;
};

static bool may_be_written(const struct worker *w, const struct file *f)
{
    return f->handles[FILE_WRITE] > 0 || f->held[FILE_WRITE] || chunk_map_written(f->map, w->mount_tag) ||
           file_dirty(f);
}

static void wake_waiting(struct push *p)
{
    struct op *op;

    while ((op = TAILQ_FIRST(&p->waiting))) {
        TAILQ_REMOVE(&p->waiting, op, settling);
        if (op_wake(op))
            op->next(op);
    }
}

/* What is read again and again though the kernel was given it is given again when that costs no more than the reads. */
static void end(struct push *p)
{
    struct file *f = p->file;

    f->push = NULL;
    f->jumps = 0;
    f->jumps_needed = (uint32_t)p->n_chunks + JUMPS;
    p->worker->n_pushes--;
    file_unuse(&p->worker->files, f);
    free(p);
}

static bool goes_on(const struct push *p)
{
    const struct file *f = p->file;

    return !p->stopped && !p->worker->ending && !f->guard.is_lost && f->exchanged == p->exchanged &&
           atomic_load(&f->map->lost_seq) == p->lost && atomic_load(&f->map->size) == p->size &&
           !may_be_written(p->worker, f);
}

static void go_on(struct push *p);

static void written(void *arg);

/* Hands on what was opened; the next one is opened meanwhile. */
static void give(struct push *p)
{
    struct sealed_job *j = take_ptr(p->job);
    uint64_t at = j->first << CHUNK_SHIFT;
    const struct notify_bytes bytes = {
        .ino = p->file->ino, .offset = at, .at = j->place.at,
        .size = (uint32_t)least(p->size - at, j->n * CHUNK_SIZE), .written = written, .arg = p,
    };

    p->opened = false;
    p->stopped = p->stopped || !goes_on(p);
    if (p->stopped) {
        sealed_job_end(j);
    } else {
        p->given = j;
        notify_store(p->worker, &bytes);
    }
    go_on(p);
}

static void written(void *arg)
{
    struct push *p = arg;

    sealed_job_end(take_ptr(p->given));
    wake_waiting(p);
    if (p->opened)
        give(p);
    else
        go_on(p);
}

static void opened(struct sealed_job *j, const struct error *e)
{
    struct push *p = j->arg;

    p->opened = true;
    p->stopped = p->stopped || e->code;
    if (!p->given)
        give(p);
}

static void placed(struct sealed_job *j, const struct error *e)
{
    struct push *p = j->arg;

    if (goes_on(p))
        sealed_open(j, p->size, opened);
    else
        opened(j, e);
}

static void go_on(struct push *p)
{
    size_t n = (size_t)least(p->n_chunks - p->next, PIECE_CHUNKS);

    if (p->job)
        return;
    if (n > 0 && !p->stopped && goes_on(p)) {
        p->job = sealed_job_new(&p->worker->sealing, &p->file->sealed, p->next, n);
        p->job->arg = p;
        p->next += n;
        sealed_job_begin(p->job, placed);
    } else if (!p->given) {
        end(p);
    }
}

static bool is_worth_it(const struct worker *w, const struct file *f)
{
    uint64_t size = atomic_load(&f->map->size);

    return !f->push && w->n_pushes < PUSHES_MOST && f->jumps >= (f->jumps_needed ? f->jumps_needed : JUMPS) &&
           size <= PUSHED_MOST && atomic_load(&f->map->fetchable) <= size && !may_be_written(w, f) &&
           chunk_first_absent(f->map, 0, size) == UINT64_MAX;
}

static void begin(struct worker *w, struct file *f, uint64_t lost)
{
    struct push *p = xcalloc(1, sizeof(*p));

    *p = (struct push){
        .worker = w, .file = f, .lost = lost, .size = atomic_load(&f->map->size),
        .exchanged = f->exchanged,
    };
    p->n_chunks = (p->size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
    TAILQ_INIT(&p->waiting);
    file_use(f);
    f->push = p;
    w->n_pushes++;
    go_on(p);
}

void push_read(struct worker *w, struct file *f, uint64_t offset, size_t size)
{
    uint64_t lost = atomic_load(&f->map->lost_seq);


    f->jumps += offset != f->read_end;
    f->read_end = offset + size;
    if (is_worth_it(w, f))
        begin(w, f, lost);
}

void push_settle(struct op *op, struct file *f, op_step_fn *next)
{
    if (f)
        push_stop(op->worker, f->ino);
    if (!f || !f->push || !f->push->given) {
        next(op);
        return;
    }
    op->next = next;
    TAILQ_INSERT_TAIL(&f->push->waiting, op, settling);
    op_wait(op);
}

void push_stop(struct worker *w, uint64_t ino)
{
    struct file *f = file_find(&w->files, ino);

    if (f && f->push)
        f->push->stopped = true;
}
