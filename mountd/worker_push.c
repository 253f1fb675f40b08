/* A read at random of a sealed file costs the opening of 64 KiB for the page that the program wants. Where a small file
 * is read so, all of it is opened once and given to the kernel, which has the pages then, as if it had read them: the
 * notifier writes them there (FUSE_NOTIFY_STORE), a piece after the other, from the memory where cryptd has opened
 * them. A read that comes meanwhile is answered from the same memory: its piece is the next one.
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
 * a new size. Those that wait for a piece are answered before the notifier gets it; those that come after go to cryptd,
 * for which they need a place: what a push has of the memory is the end of it, so the rest has one sooner or later. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "mountd/worker_sealed.h"

enum {
    PUSHED_MOST = 16 << 20,      /* of larger files that are read at random it is not likely that all is wanted */
    PIECE_CHUNKS = 8,
    PIECE = PIECE_CHUNKS * CHUNK_SIZE,
    PIECES_MOST = PUSHED_MOST / PIECE,
    PUSHES_MOST = 1,
    JUMPS = 2,
};
_Static_assert(PIECES_MOST <= 64, "a bit each");

struct push {
    struct worker *worker;
    struct file *file;           /* in use */
    struct crypt_place place;    /* of two pieces */
    struct sealed_job *job;      /* a piece that is being opened, or was; NULL: none */
    struct sealed_job *given;    /* the one before it, which is the notifier's; NULL: none */
    bool opened;                 /* `job` was */
    uint64_t left;               /* bit i: piece i was not begun */
    bool stopped;                /* no further one is given */
    TAILQ_HEAD(, op) waiting;    /* for `given` to be written */
    TAILQ_HEAD(, op) reading;    /* wait for a piece that comes */
    struct sealed_view view;     /* as it was when it began */
};

static void wake_waiting(struct push *p)
{
    struct op *op;

    while ((op = TAILQ_FIRST(&p->waiting))) {
        TAILQ_REMOVE(&p->waiting, op, settling);
        if (op_wake(op))
            op->next(op);
    }
}

static uint64_t piece_of(const struct sealed_job *j)
{
    return j->first / PIECE_CHUNKS;
}

static uint64_t wanted_piece(const struct op *op)
{
    return (uint64_t)op->offset / PIECE;
}

/* What is read again and again though the kernel was given it is given again when that costs no more than the reads. */
static void end(struct push *p)
{
    struct file *f = p->file;

    f->push = NULL;
    f->jumps = 0;
    f->jumps_needed = (uint32_t)(p->view.size >> CHUNK_SHIFT) + 1 + JUMPS;
    p->worker->n_pushes--;
    crypt_place_end(p->worker->crypt, &p->place);
    file_unuse(&p->worker->files, f);
    free(p);
}

static bool goes_on(const struct push *p)
{
    return !p->stopped && sealed_view_holds(p->worker, p->file, &p->view);
}

static void go_on(struct push *p);
static void written(void *arg);

/* Answers those who wait for that piece; NULL: they all go on without. */
static void answer_reading(struct push *p, const struct sealed_job *j)
{
    struct op *op, *following;

    for (op = TAILQ_FIRST(&p->reading); op; op = following) {
        following = TAILQ_NEXT(op, settling);
        if (j && wanted_piece(op) != piece_of(j))
            continue;
        TAILQ_REMOVE(&p->reading, op, settling);
        if (!op_wake(op))
            continue;
        if (j)
            data_reply_read(op, j->outer + (uint64_t)op->offset % PIECE, op->end - (uint64_t)op->offset);
        else
            op->next(op);
    }
}

/* Hands on what was opened; the next one is opened meanwhile. */
static void give(struct push *p)
{
    struct sealed_job *j = take_ptr(p->job);
    uint64_t at = j->first << CHUNK_SHIFT;
    const struct notify_bytes bytes = {
        .ino = p->file->ino, .offset = at, .at = j->place.at,
        .size = (uint32_t)least(p->view.size - at, j->n * CHUNK_SIZE), .written = written, .arg = p,
    };

    p->opened = false;
    p->stopped = p->stopped || !goes_on(p);
    if (p->stopped) {
        sealed_job_end(j);
    } else {
        p->given = j;
        answer_reading(p, j);
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
        sealed_open(j, p->view.size, opened);
    else
        opened(j, e);
}

/* First those that somebody waits for. */
static uint64_t next_piece(const struct push *p)
{
    const struct op *op;

    TAILQ_FOREACH(op, &p->reading, settling)
        if (p->left >> wanted_piece(op) & 1)
            return wanted_piece(op);
    return (uint64_t)__builtin_ctzll(p->left);
}

/* The half that the piece before is not in. */
static struct crypt_place half(const struct push *p)
{
    size_t at = p->given && p->given->place.at == p->place.at ? PIECE : 0;

    return (struct crypt_place){ .at = p->place.at + at, .bytes = p->place.bytes + at, .n = PIECE };
}

static void begin_piece(struct push *p)
{
    uint64_t piece = next_piece(p), first = piece * PIECE_CHUNKS;
    uint64_t end_chunk = (p->view.size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
    size_t n = (size_t)least(end_chunk - first, PIECE_CHUNKS);

    p->left &= ~(UINT64_C(1) << piece);
    p->job = sealed_job_new(&p->worker->sealing, &p->file->sealed, first, n);
    p->job->arg = p;
    p->job->opens_only = p->job->lent = true;
    p->job->place = half(p);
    sealed_job_begin(p->job, placed);
}

static void go_on(struct push *p)
{
    if (p->job)
        return;
    p->stopped = p->stopped || !p->left || !goes_on(p);
    if (!p->stopped) {
        begin_piece(p);
        return;
    }
    answer_reading(p, NULL);
    if (!p->given)
        end(p);
}

static bool is_worth_it(const struct worker *w, const struct file *f, const struct sealed_view *v)
{
    return !f->push && w->n_pushes < PUSHES_MOST && f->jumps >= (f->jumps_needed ? f->jumps_needed : JUMPS) &&
           v->size > 0 && v->size <= PUSHED_MOST && atomic_load(&f->map->fetchable) <= v->size &&
           sealed_view_holds(w, f, v) && chunk_first_absent(f->map, 0, v->size) == UINT64_MAX;
}

/* False: there is no memory for it now. */
static bool begin(struct worker *w, struct file *f, const struct sealed_view *view)
{
    struct crypt_place place;
    struct push *p;

    if (!crypt_place_last(w->crypt, 2 * PIECE, &place))
        return false;
    p = xcalloc(1, sizeof(*p));
    *p = (struct push){ .worker = w, .file = f, .place = place, .view = *view };
    p->left = UINT64_MAX >> (64 - (view->size + PIECE - 1) / PIECE);
    TAILQ_INIT(&p->waiting);
    TAILQ_INIT(&p->reading);
    file_use(f);
    f->push = p;
    w->n_pushes++;
    return true;
}

/* Whether all of it is in one piece that was not given yet. */
static bool comes(const struct push *p, const struct op *op, size_t size)
{
    uint64_t piece = wanted_piece(op), end = (uint64_t)op->offset + size;

    return !p->stopped && (end - 1) / PIECE == piece && end <= p->view.size &&
           (p->left >> piece & 1 || (p->job && piece_of(p->job) == piece));
}

bool push_read(struct op *op, size_t size, uint64_t lost, op_step_fn *step)
{
    struct file *f = op->file;
    struct sealed_view view = sealed_view(f);
    bool begun, waits;

    view.lost = lost;
    begun = is_worth_it(op->worker, f, &view) && begin(op->worker, f, &view);
    waits = f->push && comes(f->push, op, size);
    if (waits) {
        op->end = (uint64_t)op->offset + size;
        op->next = step;
        TAILQ_INSERT_TAIL(&f->push->reading, op, settling);
        op_wait(op);
    }
    if (begun || waits)
        go_on(f->push);
    return waits;
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
    if (f)
        early_drop(w, f);
}
