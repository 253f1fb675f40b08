/* How the kernel has a file open: in its page cache, in front of this worker, or reading the cache file itself
 * (passthrough). Owns the counters of that in the map's header, which outlive the worker.
 *
 * The kernel's rules (fs/fuse/iomode.c): an inode is in one mode as long as any handle is; every handle of an inode in
 * passthrough mode names the same backing id; FOPEN_DIRECT_IO beside it sends reads and writes here nevertheless. A
 * wrong answer is EIO for whoever opens. So a handle is counted before the kernel hears of it and taken off after its
 * release was answered: a worker that dies in between leaves a count too high, which costs speed, never a file. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "mountd/fuse_recent.h"
#include "mountd/worker_internal.h"

static void begin(const struct worker *w, struct chunk_map *m)
{
    if (chunk_map_about(m, w->mount_tag))
        return;
    atomic_store(&m->passed, 0);
    atomic_store(&m->cached, 0);
    atomic_store(&m->writers, 0);
    m->mount_tag = w->mount_tag;
}

static void close_backing(struct worker *w, uint32_t id)
{
    Lf__BackingClose msg = LF__BACKING_CLOSE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(BACKING_CLOSE, backing_close, &msg);

    msg.id = id;
    (void)ipc_client_event(w->mountd, &env, NULL, 0);
}

/* --- closing ------------------------------------------------------------------------------------------------ */

/* The next open will find it clean and whole, and the kernel read the cache file: then what it keeps of the file itself
 * is of no use, and that open would wait until it is dropped. */
static bool will_pass(const struct worker *w, const struct file *f)
{
    off_t size;

    return w->passthrough && !f->is_sealed && !file_dirty(f) && file_size(f, &size) == 0 &&
           (uint64_t)size >= CHUNK_PASSED_LEAST && chunk_first_absent(f->map, 0, (uint64_t)size) == UINT64_MAX;
}

void mode_closed(struct worker *w, struct file *f, enum file_kind kind)
{
    struct chunk_map *m = f->map;

    if (kind == FILE_WRITE && chunk_map_written(m, w->mount_tag))
        (void)atomic_fetch_sub(&m->writers, 1);
    if (chunk_map_passed(m, w->mount_tag)) {
        if (atomic_fetch_sub(&m->passed, 1) == 1)
            close_backing(w, m->backing_id);
    } else if (chunk_map_counted(m, w->mount_tag)) {
        if (atomic_fetch_sub(&m->cached, 1) == 1 && will_pass(w, f))
            notify_drop_pages(w, f->ino);
    }
}

/* --- writes that nobody sees ---------------------------------------------------------------------------------- */

/* A shared mapping made through a handle in passthrough mode writes into the cache file itself. Its time tells. */
bool mode_written(const struct worker *w, struct file *f)
{
    struct stat st;
    bool written;

    if (f->handles[FILE_WRITE] == 0 || !chunk_map_passed(f->map, w->mount_tag) || file_stat(f, &st) < 0)
        return false;
    written = f->seen.tv_sec != st.st_mtim.tv_sec || f->seen.tv_nsec != st.st_mtim.tv_nsec;
    f->seen = st.st_mtim;
    return written;
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static void pass(struct op *op)
{
    bool direct = op->kind == FILE_WRITE || !op->whole;

    (void)atomic_fetch_add(&op->file->map->passed, 1);
    if (op->kind == FILE_WRITE)
        atomic_store(&op->file->map->alike, 0);   /* what a mapping changes nobody will mark */
    op->opened = (struct fuse_open_out){
        .open_flags = FOPEN_PASSTHROUGH | (direct ? FOPEN_DIRECT_IO : 0), .padding = op->file->map->backing_id,
    };
}

static void cache(struct op *op)
{
    (void)atomic_fetch_add(&op->file->map->cached, 1);
    op->opened = (struct fuse_open_out){ .open_flags = FOPEN_KEEP_CACHE };
}

/* `id`: a backing file just registered, or 0. Of two that were registered at once the first counts. */
static void decide(struct op *op, uint32_t id)
{
    struct chunk_map *m = op->file->map;
    uint64_t tag = op->worker->mount_tag;

    begin(op->worker, m);
    if (op->kind == FILE_WRITE)
        (void)atomic_fetch_add(&m->writers, 1);
    if (id && !chunk_map_counted(m, tag))
        m->backing_id = id;
    else if (id)
        close_backing(op->worker, id);
    if (chunk_map_passed(m, tag) || (id && m->backing_id == id))
        pass(op);
    else
        cache(op);
}

/* mountd was asked for something the kernel cannot do, or for a file that it does not take for one of the cache:
 * it will not be asked again. */
static void give_up(struct worker *w, const struct error *e)
{
    LOG(LOG_NOTICE, "no_passthrough", "reason=%s", error_text(e));
    w->passthrough = false;
}

static void registered(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (!reply && e->code != -ECANCELED)
        give_up(op->worker, e);
    decide(op, reply ? reply->backing_opened->id : 0);
    op->next(op);
}

/* The kernel has given up on the open. */
static void late_registered(struct op *op, const Lf__Envelope *reply)
{
    if (reply)
        close_backing(op->worker, reply->backing_opened->id);
    open_late(op, NULL);
}

static void ask_mountd(struct op *op)
{
    Lf__BackingOpen msg = LF__BACKING_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(BACKING_OPEN, backing_open, &msg);

    op->late = late_registered;
    op_ask_mountd(op, &env, op->file->fd, registered);
}

void mode_open(struct op *op, bool whole, op_step_fn *next)
{
    const struct worker *w = op->worker;
    const struct file *f = op->file;

    op->whole = whole;
    op->next = next;
    if (w->passthrough && whole && op->kind == FILE_READ && !f->is_sealed && !chunk_map_counted(f->map, w->mount_tag)) {
        ask_mountd(op);
    } else {
        decide(op, 0);
        next(op);
    }
}
