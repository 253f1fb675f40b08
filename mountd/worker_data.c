/* Contents: bytes that the cache file has are read and written here, by the rules of
 * common/chunk_map.h; for the others syncd is asked first. A request is a small state machine: its step
 * function looks what is missing, asks for it, and is run again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "mountd/worker_internal.h"

/* Beyond that many chunks a file counts as incomplete without being looked at. */
enum { SEEK_CHUNKS_MAX = 1 << 20 };

static void read_step(struct op *op);
static void write_step(struct op *op);

bool data_note_change(struct op *op)
{
    chunk_change(op->file->map, (uint64_t)op->offset, op->size);
    return !op->file->guard.is_lost;
}

/* Bytes of disk that the change may cost; that of a hole is but the place where it is noted. */
static uint64_t change_cost(const struct op *op)
{
    return op->file->is_sealed ? sealed_cost(op) : chunk_write_cost(op->bytes ? op->size : 0);
}

/* --- reading --------------------------------------------------------------------------------------------- */

static bool present(const struct op *op, uint64_t length)
{
    return chunk_first_absent(op->file->map, (uint64_t)op->offset, length) == UINT64_MAX;
}

void data_reply_read(struct op *op, const void *bytes, size_t n)
{
    chunk_touch(op->file->map, (uint64_t)op->offset, n);
    meter_add(op->tries ? &op->worker->meter->waits : &op->worker->meter->hits, 1);
    meter_add(&op->worker->meter->read_bytes, n);
    (void)fuse_reply_buf(op->req, bytes, n);
    op_free(op);
}

/* A disk that fails does not keep what was fetched: ext4 drops it then, and reads zeros, as of a hole, where there
 * never is one otherwise. File systems that make holes of zeros are not asked before they have failed. What was read is
 * data to the kernel, zeros or not: so it is asked before. */
static bool is_dropped(const struct op *op, size_t n)
{
    uint64_t end = least((uint64_t)op->offset + n, atomic_load(&op->file->map->fetchable));
    off_t hole = op->worker->disk_failed ? lseek(op->file->fd, op->offset, SEEK_HOLE) : -1;

    return hole >= 0 && (uint64_t)hole < end;
}

/* `lost` is lost_seq from before the chunks were looked at: when one went meanwhile, perhaps to come back, what was
 * read is perhaps not what it should be. */
static void read_now(struct op *op, size_t size, uint64_t lost)
{
    struct chunk_map *map = op->file->map;
    bool dropped = is_dropped(op, size);
    ssize_t n = dropped ? -1 : pread(op->file->fd, op->worker->scratch, size, op->offset);

    if (dropped)
        errno = EIO;
    if (n < 0) {
        op->worker->disk_failed |= errno == EIO;
        need_again(op, size, errno, read_step);
    } else if (atomic_load(&map->lost_seq) != lost) {
        need_bytes(op, size, read_step);
    } else {
        data_reply_read(op, op->worker->scratch, (size_t)n);
    }
}

static void read_step(struct op *op)
{
    uint64_t lost = atomic_load(&op->file->map->lost_seq);
    off_t size;
    uint64_t left;
    int r = file_size(op->file, &size);

    if (r == -EAGAIN) {
        need_bytes(op, op->size, read_step);
        return;
    }
    if (r < 0) {
        op_error(op, EIO);
        return;
    }
    left = least(op->offset < size ? (uint64_t)(size - op->offset) : 0, op->size);
    if (!present(op, left))
        need_bytes(op, left, read_step);
    else if (op->file->is_sealed)
        sealed_read(op, left, lost, read_step);
    else
        read_now(op, left, lost);
}

static void read_(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct op *op = op_new(req, ino);

    op->offset = offset;
    op->size = least(size, SCRATCH_SIZE);
    open_then(op, (fi->flags & O_ACCMODE) == O_RDONLY ? FILE_READ : FILE_WRITE, read_step);
}

/* --- writing ---------------------------------------------------------------------------------------------- */

static void reply_written(struct op *op)
{
    meter_add(&op->worker->meter->written_bytes, op->size);
    (void)fuse_reply_write(op->req, op->size);
    op_free(op);
}

/* As much as could be written, or negative errno when that is nothing. */
static ssize_t write_all(int fd, const char *data, size_t size, off_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pwrite(fd, data + done, size - done, offset + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return done > 0 ? (ssize_t)done : -errno;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* An upload that ended while this was written did not read it, and then the bytes may even have been given up for
 * space: the file must be dirty once more, and the bytes are written once more. */
static void write_now(struct op *op, uint64_t lost)
{
    struct chunk_map *map = op->file->map;
    ssize_t n;

    if (!data_note_change(op)) {
        need_space(op, change_cost(op), write_step);
        return;
    }
    n = write_all(op->file->fd, op->bytes, op->size, op->offset);
    if (n < 0) {
        op_error(op, (int)-n);
        return;
    }
    op->size = (size_t)n;
    (void)atomic_fetch_add(&map->write_seq, 1);
    if (!file_dirty(op->file) || atomic_load(&map->lost_seq) != lost) {
        need_space(op, change_cost(op), write_step);
        return;
    }
    chunk_touch(map, (uint64_t)op->offset, op->size);
    reply_written(op);
}

/* False: the operation ended. */
static bool may_write(struct op *op)
{
    bool writable = op->file->writable;

    if (!writable)
        need_failed(op, "The cache file is open for reading alone.");
    return writable;
}

/* A sealed file ends before a plain one. False: the operation ended. */
static bool fits(struct op *op)
{
    struct error e;

    if (!op->file->is_sealed || (uint64_t)op->offset + op->size <= SEALED_FILE_MAX)
        return true;
    error_set(&e, -EFBIG, "An encrypted file can have 5 TiB.");
    op_fail(op, &e);
    return false;
}

static void write_step(struct op *op)
{
    struct chunk_map *map = op->file->map;
    uint64_t lost = atomic_load(&map->lost_seq);

    if (!may_write(op) || !fits(op))
        return;
    if (!present(op, op->size))
        need_bytes(op, op->size, write_step);
    else if (!file_dirty(op->file) || !chunk_spend(map, change_cost(op)))
        need_space(op, change_cost(op), write_step);
    else if (op->file->is_sealed)
        sealed_write(op, lost, write_step, reply_written);
    else
        write_now(op, lost);
}

static void write_(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                   struct fuse_file_info *fi)
{
    struct op *op;

    (void)fi;
    if (offset < 0 || (uint64_t)offset > CHUNK_FILE_MAX - size) {
        (void)fuse_reply_err(req, EFBIG);
        return;
    }
    op = op_new(req, ino);
    op->offset = offset;
    op->size = size;
    op->bytes = data;
    open_then(op, FILE_WRITE, write_step);
}

/* --- writes past the worker ---------------------------------------------------------------------------- */

static void settle_step(struct op *op)
{
    if (!file_dirty(op->file)) {
        need_space(op, chunk_write_cost(op->size), settle_step);
        return;
    }
    atomic_store(&op->file->map->alike, 0);
    (void)atomic_fetch_add(&op->file->map->write_seq, 1);
    op->then(op);
}

void data_settle(struct op *op, op_step_fn *next)
{
    if (!mode_written(op->worker, op->file)) {
        next(op);
        return;
    }
    op->then = next;
    settle_step(op);
}

/* --- seeking and sizing --------------------------------------------------------------------------------- */

static bool complete(const struct file *f, off_t size)
{
    return size >> CHUNK_SHIFT < SEEK_CHUNKS_MAX && chunk_first_absent(f->map, 0, (uint64_t)size) == UINT64_MAX;
}

/* Holes are known only where all is here; else it is all data up to a hole at the end. */
static void reply_seek(struct op *op, off_t size)
{
    off_t at = op->flags == SEEK_DATA ? op->offset : size;

    if (!op->file->is_sealed && complete(op->file, size))
        at = lseek(op->file->fd, op->offset, op->flags);
    if (at < 0)
        (void)fuse_reply_err(op->req, errno);
    else
        (void)fuse_reply_lseek(op->req, at);
    op_free(op);
}

static void seek_step(struct op *op)
{
    off_t size;
    int r = file_size(op->file, &size);

    if (r == -EAGAIN)
        need_bytes(op, 1, seek_step);
    else if (r < 0)
        op_error(op, EIO);
    else if (op->offset < 0 || op->offset >= size)
        op_error(op, ENXIO);
    else
        reply_seek(op, size);
}

static void lseek_(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
    struct op *op;

    (void)fi;
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        (void)fuse_reply_err(req, EINVAL);
        return;
    }
    op = op_new(req, ino);
    op->offset = offset;
    op->flags = whence;
    open_then(op, FILE_READ, seek_step);
}

static void ask_grow(struct op *op)
{
    Lf__FsSetattr msg = LF__FS_SETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SETATTR, fs_setattr, &msg);

    msg.ino = op->ino;
    msg.has_size = true;
    msg.size = (uint64_t)op->offset;
    op_ask(op, &env, op_acknowledged);
}

/* The size is op->end at least, unless it is to stay. */
static void finish_fallocate(struct op *op, off_t size)
{
    if (op->flags & FALLOC_FL_KEEP_SIZE || op->end <= (uint64_t)size) {
        op_error(op, 0);
        return;
    }
    op->offset = (off_t)op->end;
    ask_grow(op);
}

static void fallocate_step(struct op *op);
static void punch_step(struct op *op);

/* Bytes that came from the cloud are written over, which takes no space: after a power cut a hole among them says
 * that they never arrived (syncd/cache_session.c). Else a hole does. */
static int make_zeros(const struct op *op)
{
    static const char zeros[CHUNK_SIZE];
    uint64_t at = (uint64_t)op->offset, end = at + op->size;
    uint64_t fetched = least(end, atomic_load(&op->file->map->fetchable));

    while (at < fetched) {
        ssize_t n = pwrite(op->file->fd, zeros, least(fetched - at, sizeof(zeros)), (off_t)at);

        if (n < 0)
            return -errno;
        at += (uint64_t)n;
    }
    if (at < end &&
        fallocate(op->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)(end - at)) < 0)
        return -errno;
    return 0;
}

static void punched(struct op *op)
{
    op->offset += (off_t)op->size;
    op->tries = 0;
    fallocate_step(op);
}

/* As write_now(). */
static void punch_now(struct op *op, uint64_t lost)
{
    struct chunk_map *map = op->file->map;
    int r;

    if (!data_note_change(op)) {
        need_space(op, change_cost(op), punch_step);
        return;
    }
    r = make_zeros(op);
    if (r < 0) {
        op_error(op, -r);
        return;
    }
    (void)atomic_fetch_add(&map->write_seq, 1);
    if (!file_dirty(op->file) || atomic_load(&map->lost_seq) != lost) {
        need_space(op, change_cost(op), punch_step);
        return;
    }
    punched(op);
}

/* An extent's part of what becomes zeros. What is only in the cloud comes before: chunks are here or not as a whole. */
static void punch_step(struct op *op)
{
    uint64_t lost = atomic_load(&op->file->map->lost_seq);

    if (!may_write(op))
        return;
    if (!present(op, op->size))
        need_bytes(op, op->size, punch_step);
    else if (!file_dirty(op->file) || (op->file->is_sealed && !chunk_spend(op->file->map, change_cost(op))))
        need_space(op, change_cost(op), punch_step);
    else if (op->file->is_sealed)
        sealed_write(op, lost, punch_step, punched);
    else
        punch_now(op, lost);
}

static void fallocate_step(struct op *op)
{
    bool zero = op->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
    uint64_t end, step;
    off_t size;
    int r = file_size(op->file, &size);

    if (r < 0) {
        if (r == -EAGAIN)
            need_bytes(op, 1, fallocate_step);
        else
            op_error(op, EIO);
        return;
    }
    end = least(op->end, (uint64_t)size);
    step = op->file->is_sealed ? SEALED_ZEROS_MAX : EXTENT_SIZE;
    if (zero && (uint64_t)op->offset < end) {
        op->size = least(end - (uint64_t)op->offset, step - (uint64_t)op->offset % step);
        punch_step(op);
    } else {
        finish_fallocate(op, size);
    }
}

static const int fallocate_modes[] = {
    0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
};

static bool can_fallocate(int mode)
{
    for (size_t i = 0; i < ARRAY_SIZE(fallocate_modes); i++)
        if (fallocate_modes[i] == mode)
            return true;
    return false;
}

/* Making zeros and growing the file; space is not set aside. */
static void fallocate_(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
    struct op *op;

    (void)fi;
    if (!can_fallocate(mode) || offset < 0 || length <= 0) {
        (void)fuse_reply_err(req, EOPNOTSUPP);
    } else if ((uint64_t)offset + (uint64_t)length > CHUNK_FILE_MAX) {
        (void)fuse_reply_err(req, EFBIG);
    } else {
        op = op_new(req, ino);
        op->flags = mode;
        op->offset = offset;
        op->end = (uint64_t)offset + (uint64_t)length;
        open_then(op, FILE_WRITE, fallocate_step);
    }
}

void data_rows(struct fuse_lowlevel_ops *ops)
{
    ops->read = read_;
    ops->write = write_;
    ops->lseek = lseek_;
    ops->fallocate = fallocate_;
}
