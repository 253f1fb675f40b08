/* What an operation has under way in a sealed file: shared by worker_sealed.c and worker_reseal.c. */
#pragma once

#include "mountd/worker_internal.h"

struct sealed_use {
    struct op *op;                 /* borrowed */
    struct sealed_job *job;        /* NULL: none yet */
    struct turn turn;              /* a change's */
    struct kept kept;              /* its job is `job`, if it wrote this chunk before */
    size_t length;                 /* a read's; 0: it is a change */
    op_step_fn *step, *done;
    /* as they were when it was begun */
    uint64_t lost, size;
    unsigned exchanged;
};

/* What a file is while nobody writes it, and nothing of it goes. */
struct sealed_view {
    uint64_t size, lost, writes;
    unsigned exchanged;
};

/* Now; to be had before what is here is looked at. */
struct sealed_view sealed_view(const struct file *f);
/* Whether the file still is that, and nobody can write it. */
bool sealed_view_holds(const struct worker *w, const struct file *f, const struct sealed_view *v);

/* Begins it anew, with op->sealed. */
struct sealed_use *sealed_use(struct op *op, uint64_t lost, op_step_fn *step);
/* Whether chunks went meanwhile, or the file is another one here: then nothing of what was done counts. */
bool sealed_use_is_stale(const struct sealed_use *u);
/* A job for n chunks; ready() follows, at once or later, unless the operation ends before. */
void sealed_use_begin(struct sealed_use *u, uint64_t first, size_t n, sealed_fn *ready);
/* In each function that a job calls: false, the operation has ended. */
bool sealed_use_wake(struct sealed_use *u);
/* The job failed: the bytes at op->offset are asked for again, if the cloud may have better ones; or the operation
 * ends. */
void sealed_use_failed(struct sealed_use *u, const struct error *e, size_t length);
/* For the log. */
void sealed_use_damaged(const struct sealed_use *u, const struct error *e);
