/* Owns the time between a request of the kernel and its answer. However it goes, the kernel gets
 * exactly one answer, and gets it before the deadline; a signal to the waiting process brings that
 * closer, so that kill(1) works, but not at once: programs do not expect EINTR from files. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/alloc.h"
#include "common/log.h"
#include "mountd/worker_internal.h"

enum { GRACE_MS = 3000, MARGIN_MS = 5000 };

struct op *op_new(fuse_req_t req, fuse_ino_t ino)
{
    struct op *op = xcalloc(1, sizeof(*op));

    op->worker = worker_of(req);
    op->req = req;
    op->unique = op->worker->unique;
    op->ino = ino;
    op->opcode = op->worker->opcode;
    op->started_ns = op->worker->now_ns;
    op->worker->ops++;
    return op;
}

void op_free(struct op *op)
{
    struct worker *w = op->worker;

    if (op->req)
        meter_answered(op);
    loop_timer_free(op->timer);
    sealed_leave(op);
    if (op->file)
        file_unuse(&w->files, op->file);
    free(op->data);
    free(op);
    w->ops--;
    session_resume(w);
}

void op_use_file(struct op *op, struct file *f)
{
    if (op->file == f)
        return;
    file_use(f);
    if (op->file)
        file_unuse(&op->worker->files, op->file);
    op->file = f;
}

/* --- asking ----------------------------------------------------------------------------------------- */

static void on_interrupt(fuse_req_t req, void *arg);

static void reply_error(struct op *op, int error)
{
    meter_error(op->worker, error);
    (void)fuse_reply_err(op->req, error);
}

/* From here on the kernel has its answer; a call that must be waited for goes on without it. */
static void on_expired(void *arg)
{
    struct op *op = arg;

    fuse_req_interrupt_func(op->req, NULL, NULL);
    reply_error(op, op->interrupted ? EINTR : error_meaning(ETIMEDOUT)->fuse_errno);
    if (!op->waits)
        meter_waited(op, 0);
    meter_answered(op);
    op->req = NULL;
    if (op->late || op->waits)
        return;
    ipc_cancel(op->asked, op->call);
    op_free(op);
}

static void set_timer(struct op *op, uint64_t ms)
{
    loop_timer_free(op->timer);
    op->timer = loop_timer(op->worker->loop, ms, on_expired, op);
}

static void on_interrupt(fuse_req_t req, void *arg)
{
    struct op *op = arg;

    (void)req;
    if (op->interrupted)
        return;
    op->interrupted = true;
    set_timer(op, GRACE_MS);
    if (op->hurry)
        op->hurry(op);
}

static void watch_interrupt(struct op *op)
{
    if (fuse_req_interrupted(op->req))
        on_interrupt(op->req, op);
    else
        fuse_req_interrupt_func(op->req, on_interrupt, op);
}

static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct op *op = arg;

    op->call = 0;
    if (op->req) {
        meter_waited(op, reply ? reply->waited_us : 0);
        fuse_req_interrupt_func(op->req, NULL, NULL);
        op->done(op, e, reply, fds);
        return;
    }
    op->late(op, reply);
    op_free(op);
}

void op_keep_bytes(struct op *op)
{
    if (!op->bytes || op->bytes == op->data)
        return;
    op->data = alloc_bulk(op->size + 1);
    if (!op->data)
        abort();
    if (op->worker->secret)
        (void)mlock(op->data, op->size + 1);
    op->bytes = memcpy(op->data, op->bytes, op->size);
}

/* One deadline for all of it. */
static void watch(struct op *op)
{
    if (!op->timer)
        set_timer(op, op->worker->deadline_ms + MARGIN_MS);
    watch_interrupt(op);
}

static void ask(struct op *op, struct ipc_client *whom, Lf__Envelope *request, const int *fds, size_t n,
                op_done_fn *done)
{
    op_keep_bytes(op);
    op->done = done;
    op->asked = whom;
    op->asked_ns = loop_now_ns();
    op->call = ipc_call(whom, request, fds, n, 0, on_answer, op);
    watch(op);
}

void op_ask(struct op *op, Lf__Envelope *request, op_done_fn *done)
{
    ahead_drop(op->worker);
    request->has_origin = 1;
    request->origin = op->unique;
    ask(op, op->worker->syncd, request, NULL, 0, done);
}

void op_ask_mountd(struct op *op, Lf__Envelope *request, int fd, op_done_fn *done)
{
    ask(op, op->worker->mountd, request, &fd, 1, done);
}

void op_wait(struct op *op)
{
    op->waits = true;
    watch(op);
}

static void tell_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    (void)arg;
}

void op_tell(struct worker *w, Lf__Envelope *request)
{
    (void)ipc_call(w->syncd, request, NULL, 0, 0, tell_done, NULL);
}

/* --- answering ---------------------------------------------------------------------------------------- */

void op_error(struct op *op, int error)
{
    reply_error(op, error);
    op_free(op);
}

bool op_wake(struct op *op)
{
    bool goes_on = op->req && !op->worker->ending;

    op->waits = false;
    if (op->req)
        fuse_req_interrupt_func(op->req, NULL, NULL);
    if (!op->req && op->late)
        op->late(op, NULL);
    if (!op->req)
        op_free(op);
    else if (!goes_on)
        op_error(op, ECANCELED);
    return goes_on;
}

/* A program that is told EIO cannot know more; the log does. */
void op_fail(struct op *op, const struct error *e)
{
    int error = error_meaning(e->code)->fuse_errno;

    if (error == EIO)
        LOG(LOG_WARNING, "request_failed", "ino=%llu", (unsigned long long)op->ino, "opcode=%u", op->opcode, "error=%s",
            error_text(e));
    op_error(op, error);
}

void op_acknowledged(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (reply)
        op_error(op, 0);
    else
        op_fail(op, e);
}

void op_entry(struct op *op, const Lf__FsAttr *attr)
{
    struct fuse_entry_param entry;

    attr_entry(op->worker, attr, &entry);
    (void)fuse_reply_entry(op->req, &entry);
    op_free(op);
}

void op_attr(struct op *op, const Lf__FsAttr *attr)
{
    struct fuse_entry_param entry;

    attr_entry(op->worker, attr, &entry);
    (void)fuse_reply_attr(op->req, &entry.attr, entry.attr_timeout);
    op_free(op);
}
