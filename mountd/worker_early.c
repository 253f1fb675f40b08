/* Owns chunks of sealed files that are opened before they are asked for: a program that reads a file from its beginning
 * to its end spends time of its own on each piece, in which cryptd would have nothing to do. So whenever a read is
 * answered that followed the one before it, what comes after is opened, in pieces as long as that read. A read of one
 * is answered from the memory where it lies; of one that is still being opened, as soon as it is.
 *
 * They hold as long as nobody writes the file and nothing of it goes, which is looked at when they are used. They are
 * the first to go when memory is wanted. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "mountd/worker_sealed.h"

enum {
    PIECES_MOST = 4,             /* of 4.5 MiB, at least, that are shared with cryptd; the kernel asks for as many */
    READ_LEAST = 4 * CHUNK_SIZE, /* of a read by a program that wants much of the file */
};

struct early {
    TAILQ_ENTRY(early) next;     /* of the worker's, the oldest one first */
    struct worker *worker;
    struct file *file;           /* in use */
    struct sealed_view view;
    struct sealed_job *job;
    uint64_t from, to;           /* bytes */
    bool opened, dropped, read;  /* read: to its end */
    TAILQ_HEAD(, op) reading;    /* wait for it */
};

static void forget(struct early *p)
{
    struct worker *w = p->worker;

    TAILQ_REMOVE(&w->early, p, next);
    w->n_early--;
    sealed_job_end(p->job);
    file_unuse(&w->files, p->file);
    free(p);
}

/* What cryptd works on cannot be called off. */
static void drop(struct early *p)
{
    p->dropped = true;
    if (p->opened)
        forget(p);
}

/* A piece begins anywhere, what was opened for it with a chunk. */
static void answer(struct early *p, struct op *op)
{
    uint64_t begins = p->job->first << CHUNK_SHIFT;

    p->read = p->read || op->end == p->to;
    data_reply_read(op, p->job->outer + ((uint64_t)op->offset - begins), op->end - (uint64_t)op->offset);
}

static bool holds(const struct early *p)
{
    return !p->dropped && sealed_view_holds(p->worker, p->file, &p->view);
}

static void answer_reading(struct early *p)
{
    struct op *op;

    while ((op = TAILQ_FIRST(&p->reading))) {
        TAILQ_REMOVE(&p->reading, op, settling);
        if (!op_wake(op))
            continue;
        if (holds(p))
            answer(p, op);
        else
            op->next(op);
    }
}

static void opened(struct sealed_job *j, const struct error *e)
{
    struct early *p = j->arg;
    struct worker *w = p->worker;
    struct file *f = p->file;

    p->dropped = p->dropped || e->code;
    answer_reading(p);
    p->opened = true;
    file_use(f);
    if (p->read || !holds(p))
        forget(p);
    early_begin(w, f);
    file_unuse(&w->files, f);
}

static void placed(struct sealed_job *j, const struct error *e)
{
    (void)j;
    (void)e;
}

/* --- which pieces -------------------------------------------------------------------------------------------- */

static struct early *find(const struct worker *w, const struct file *f, uint64_t at)
{
    struct early *p;

    TAILQ_FOREACH(p, &w->early, next)
        if (p->file == f && !p->dropped && p->from <= at && at < p->to)
            return p;
    return NULL;
}

/* The oldest one that nobody will ask for soon, as far as the last read of f shows. */
static bool make_room(struct worker *w, const struct file *f)
{
    struct early *p;

    if (w->n_early < PIECES_MOST)
        return true;
    TAILQ_FOREACH(p, &w->early, next)
        if (p->opened && (p->file != f || p->from < f->read_end))
            break;
    if (p)
        forget(p);
    return p;
}

static bool is_here(const struct file *f, uint64_t from, uint64_t to)
{
    return from < to && chunk_first_absent(f->map, from, to - from) == UINT64_MAX;
}

static bool begin(struct worker *w, struct file *f, const struct sealed_view *view, uint64_t from, uint64_t to)
{
    uint64_t first = from >> CHUNK_SHIFT, n = ((to - 1) >> CHUNK_SHIFT) - first + 1;
    struct sealed_job *job = sealed_job_new(&w->sealing, &f->sealed, first, (size_t)n);
    struct early *p = xcalloc(1, sizeof(*p));

    job->arg = p;
    job->opens_only = true;
    sealed_job_begin(job, placed);
    if (!job->outer) {   /* others need the memory more */
        sealed_job_end(job);
        free(p);
        return false;
    }
    *p = (struct early){ .worker = w, .file = f, .view = *view, .job = job, .from = from, .to = to };
    TAILQ_INIT(&p->reading);
    TAILQ_INSERT_TAIL(&w->early, p, next);
    w->n_early++;
    file_use(f);
    sealed_open(job, view->size, opened);
    return true;
}

/* --- reads --------------------------------------------------------------------------------------------------- */

bool early_read(struct op *op, size_t size, op_step_fn *step)
{
    struct worker *w = op->worker;
    struct file *f = op->file;
    struct early *p = find(w, f, (uint64_t)op->offset);

    op->end = (uint64_t)op->offset + size;
    if (!p || op->end > p->to)
        return false;
    if (!holds(p)) {
        drop(p);
        return false;
    }
    if (!p->opened) {
        op->next = step;
        TAILQ_INSERT_TAIL(&p->reading, op, settling);
        op_wait(op);
        return true;
    }
    file_use(f);
    answer(p, op);
    if (p->read)
        forget(p);
    early_begin(w, f);
    file_unuse(&w->files, f);
    return true;
}

void early_begin(struct worker *w, struct file *f)
{
    struct sealed_view view = sealed_view(f);
    uint64_t from = f->read_end, size = f->read_size, to;

    if (size < READ_LEAST || from % CHUNK_SIZE || !sealed_view_holds(w, f, &view))
        return;
    for (size_t i = 0; i < PIECES_MOST; i++, from = to) {
        to = least(from + size, view.size);
        if (!find(w, f, from) && !(is_here(f, from, to) && make_room(w, f) && begin(w, f, &view, from, to)))
            return;
    }
}

void early_drop(struct worker *w, const struct file *f)
{
    struct early *p, *following;

    for (p = TAILQ_FIRST(&w->early); p; p = following) {
        following = TAILQ_NEXT(p, next);
        if (!f || p->file == f)
            drop(p);
    }
}
