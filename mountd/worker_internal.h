/* The parts of the worker as they see each other; worker.h has the list. */
#pragma once

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/queue.h>

#include "common/crypt.h"
#include "common/ipc.h"
#include "common/meter.h"
#include "common/timespec.h"
#include "mountd/worker.h"
#include "mountd/worker_file.h"

struct worker {
    struct loop *loop;
    struct ipc_client *mountd, *syncd;
    struct ipc_client *cryptd;          /* goes on when syncd has sent a channel, which a drive with keys has */
    struct crypt *crypt;                /* shared with it */
    struct sealed_io sealing;           /* both of them */
    TAILQ_HEAD(, kept_chunk) kept;      /* worker_kept.c's, the one used last at the end */
    size_t n_kept;
    TAILQ_HEAD(, early) early;          /* worker_early.c's, the oldest one first */
    size_t n_early;
    size_t n_pushes;                    /* worker_push.c's: files on their way to the page cache */
    struct file_table files;
    /* the session; NULL before WorkerStart */
    struct fuse_session *session;
    int fuse;
    /* Changes an answer that libfuse is about to send, which lacks what is newer than it; NULL: none. */
    void (*amend)(struct worker *w, struct iovec *answer);
    struct fuse_init_in init;           /* what the kernel offers, for amend */
    const struct fuse_open_out *opened; /* what an open answers, for amend */
    struct event *readable;
    bool ending;                /* nothing is answered any more */
    bool paused;                /* not reading requests: too many under way */
    struct fuse_buf buf;
    char *buffer;               /* what `buf` lies in; worker_owed.c's where the kernel does not send again */
    bool held;                  /* all of its pages are in memory */
    bool wide;                  /* the request in `buf` came as FUSE_COPY_FILE_RANGE_64 */
    uint64_t copied;            /* what a copy answers, for amend */
    uint64_t unique;            /* the kernel's number of the request in `buf`; the same if an earlier worker read it */
    char *scratch;              /* SCRATCH_SIZE bytes for the answer to a read */
    bool secret;                /* what requests carry must not be on a disk in clear: nor in swap */
    /* as WorkerStart says */
    uint64_t mount_tag;
    bool passthrough;           /* until it turns out that kernel or file system cannot */
    bool disk_failed;           /* a read of a cache file met that */
    uid_t uid;
    uint32_t deadline_ms;
    size_t queue_length;
    size_t ops;                 /* requests under way */
    struct meter *meter;        /* worker_meter.c's */
    bool meter_shared;
    uint32_t opcode;            /* of the request that is being taken up */
    int64_t now_ns;             /* the time, as of the last event or answer */
    struct {                    /* worker_notify.c's: */
        int channel;            /* to the notifier; -1: none */
        pid_t pid;
        bool lost;              /* the worker ends */
        struct event *written;
        TAILQ_HEAD(, notice) notices;   /* in order; from `unsent` on they are not the notifier's yet */
        struct notice *unsent;
        size_t waiting;                 /* how many they are */
        SLIST_HEAD(, stale) stale;      /* files whose next open is refused */
    } notify;
    struct {                    /* worker_owed.c's: */
        char *memory;           /* NULL: the kernel sends again by itself */
        size_t size, places;
        uint64_t waiting;       /* the request in `buf`, if it is not answered yet */
    } owed;
    struct {                    /* worker_wait.c's: */
        int64_t since_ns;       /* when there was no request the last time */
        unsigned quick;         /* requests in a row that came soon after that */
        unsigned needed;        /* before it is waited for awake */
        unsigned asked;         /* small things that cryptd has not answered yet */
        bool awake;             /* for them */
        int64_t until_ns;
        unsigned vain, pass;    /* how often that was in vain, as a power of two; how often it is not done therefore */
    } wait;
    struct {                    /* worker_ahead.c's */
        uint64_t call;          /* 0: none under way */
        bool known;
        Lf__FsAttr attr;
    } ahead;
};

struct op;
typedef void op_step_fn(struct op *op);

/* Largest read or write; the session negotiates it. */
enum { SCRATCH_SIZE = 1024 * 1024 };

/* --- worker_wait.c ---------------------------------------------------------------------------------- */

/* After sleep: there is something to be read, at w->now_ns. */
void wait_ended(struct worker *w);
/* As fuse_session_receive_buf(), with a little patience where that is likely to be quicker than sleep. */
int wait_receive(struct worker *w);
/* cryptd is asked for something that takes some microseconds; and has answered. */
void wait_asked(struct worker *w);
void wait_answered(struct worker *w);

/* --- worker_session.c ------------------------------------------------------------------------------- */

/* Takes over the FUSE connection (owned from here on), feeds the kernel's INIT to the session, starts answering. `owed`
 * is a descriptor of owed_make(), borrowed. 0 or negative errno. */
int session_start(struct worker *w, int fuse, const ProtobufCBinaryData *init, int owed, bool replay);
/* Takes up the request in w->buf. */
void session_process(struct worker *w);
/* Answers a request with an error (positive errno). */
void session_refuse(struct worker *w, uint64_t unique, int error);
/* Reads no more requests. */
void session_stop(struct worker *w);
/* Closes the connection. Nobody uses the session any more. */
void session_end(struct worker *w);
/* Reads on after a pause, when there is room again. */
void session_resume(struct worker *w);
/* From here on requests may be large: all pages that they are read into are in memory, and stay. The kernel ends a
 * request with EIO that it was copying to a process when that was killed, if a page was missing: it brings none to who
 * is about to die (fs/fuse/dev.c, mm/gup.c). */
void session_hold_buffer(struct worker *w);
/* From here on what is in memory of requests and answers stays out of swap, as far as the limits allow it. */
void session_hold_secrets(struct worker *w);
/* Answers an open with op->opened; a create when op->data has its struct fuse_entry_param. What libfuse says. */
int session_reply_open(struct op *op);
/* Answers a copy with op->end, the bytes that were copied. */
void session_reply_copied(struct op *op);

/* --- worker_owed.c ---------------------------------------------------------------------------------- */

/* Keeps there what is owed from now on, for a kernel that does not send again. Without this call the others do nothing.
 * 0 or negative errno. */
int owed_adopt(struct worker *w, int fd);
void owed_end(struct worker *w);
/* OWED_PLACE bytes, where the next request is to be read to. */
char *owed_buffer(const struct worker *w);
/* The request in w->buf is taken up; was answered; and what was called for it has returned. */
void owed_begins(struct worker *w, const struct fuse_in_header *in);
void owed_answered(struct worker *w, uint64_t unique);
void owed_waits(struct worker *w);
/* Takes up what an earlier worker owed, in its order. */
void owed_pay(struct worker *w);

/* --- worker_notify.c -------------------------------------------------------------------------------- */

/* Starts the notifier, before the sandbox and after w->crypt. 0 or negative errno. notify_end() is for what came of it,
 * either way. */
int notify_begin(struct worker *w);
/* Gives it w->fuse. 0 or negative errno. */
int notify_connect(struct worker *w);
/* What is not written yet never is. Waits until the notifier has ended. */
void notify_end(struct worker *w);
/* Drops a directory entry (name), or attributes and, if `data`, pages from the kernel's caches. */
void notify_invalidate(struct worker *w, const Lf__FsInvalidate *what);
/* Gives back the pages that the kernel keeps of a file which nobody has open. */
void notify_drop_pages(struct worker *w, uint64_t ino);
/* Has the kernel keep bytes of a file, which lie in the memory shared with cryptd; written(arg) once it does. */
struct notify_bytes {
    uint64_t ino, offset, at;
    uint32_t size;
    void (*written)(void *arg);
    void *arg;
};
void notify_store(struct worker *w, const struct notify_bytes *b);
/* Drops what the kernel knows of op->ino, then ends the open with ESTALE: the kernel looks the name up again and
 * has its size before it opens once more. It believes no size that comes while a read is under way. */
void notify_refuse_stale(struct op *op);
/* Whether that is being done for the inode, or must be: another version came since it was done last. */
bool notify_refuses(const struct worker *w, uint64_t ino);

/* --- worker_ahead.c ----------------------------------------------------------------------------------- */

/* An entry of the directory was made or removed: the kernel will ask for its attributes. */
void ahead_ask(struct worker *w, fuse_ino_t dir);
/* Answers op with the attributes of op->ino, if they are known; else false. */
bool ahead_answer(struct op *op);
/* They may be others by now. */
void ahead_drop(struct worker *w);

/* --- worker_op.c -------------------------------------------------------------------------------------- */

/* syncd answered: `reply` has the body that the row names, or is NULL and *e says why. Take descriptors by
 * setting their place to -1. */
typedef void op_done_fn(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds);

/* One request of the kernel that is not answered at once. Ended by exactly one op_..() call below that says so. */
struct op {
    struct worker *worker;      /* borrowed */
    fuse_req_t req;             /* NULL: answered before syncd did, because of its deadline or a signal */
    uint64_t unique;            /* see struct worker */
    op_done_fn *done;
    struct ipc_client *asked;   /* syncd or mountd */
    uint64_t call;              /* there; 0: none */
    bool waits;                 /* for what cannot be called off, see op_wait() */
    struct loop_timer *timer;
    bool interrupted;
    /* for worker_meter.c: what is asked for, and the time that went */
    uint32_t opcode;
    int64_t started_ns, asked_ns, syncd_ns, cloud_ns;
    /* When set, syncd's answer (NULL: it failed, or it was waited for something else) is waited for even after the
     * kernel has got one, and given to this. */
    void (*late)(struct op *op, const Lf__Envelope *reply);
    /* When set, told that the program is interrupted: what is waited for is to come to an end. */
    void (*hurry)(struct op *op);
    /* for the operation's use */
    fuse_ino_t ino;
    off_t offset;
    size_t size;
    uint64_t end;
    fuse_ino_t source;          /* a copy: what of, and from where on */
    off_t source_offset;
    bool wide;                  /* and how much of it was copied, as 64 bits */
    int flags;
    enum file_kind kind;
    unsigned tries;
    op_step_fn *next, *then;
    bool whole;                 /* an open: as FsOpened says */
    bool unreadable, refetched; /* the disk did not give its bytes: to be said, was said */
    struct fuse_open_out opened; /* an open: how the kernel is to treat the handle */
    struct file *file;          /* used, see file_use() */
    const char *bytes;          /* a write: in the request's buffer, which is the next one's too, or in `data` */
    void *data;                 /* owned */
    struct sealed_use *sealed;  /* worker_sealed.c's; NULL: none */
    TAILQ_ENTRY(op) settling;   /* worker_push.c's */
};

struct op *op_new(fuse_req_t req, fuse_ino_t ino);
/* Asks syncd; `done` follows unless deadline or interrupt end the operation before. */
void op_ask(struct op *op, Lf__Envelope *request, op_done_fn *done);
/* Asks mountd, with one descriptor, which stays the caller's. */
void op_ask_mountd(struct op *op, Lf__Envelope *request, int fd, op_done_fn *done);
/* Until op_wake() something is waited for that cannot be called off; the kernel may get its answer before. */
void op_wait(struct op *op);
/* It is there. False: the kernel has had its answer, or the worker ends; so did the operation. */
bool op_wake(struct op *op);
/* From here on op->bytes do not lie in the request's buffer. */
void op_keep_bytes(struct op *op);
/* Keeps the file from being closed while the operation lasts. */
void op_use_file(struct op *op, struct file *f);

/* These end it, with an error (positive errno; 0: fine), what syncd said, or an answer of that kind. */
void op_error(struct op *op, int error);
void op_fail(struct op *op, const struct error *e);
void op_entry(struct op *op, const Lf__FsAttr *attr);
void op_attr(struct op *op, const Lf__FsAttr *attr);
/* Ends it after one of libfuse's replies was given on op->req. */
void op_free(struct op *op);

/* Completion of requests that answer Done. */
op_done_fn op_acknowledged;

/* Tells syncd something nobody waits for. */
void op_tell(struct worker *w, Lf__Envelope *request);

/* --- worker_meter.c ------------------------------------------------------------------------------------- */

void meter_begin(struct worker *w);
void meter_end(struct worker *w);
/* Counts into the meter behind this descriptor from now on, which stays the caller's. */
void meter_adopt(struct worker *w, int fd);
/* A request of the kernel was read. */
void meter_request(struct worker *w, uint32_t opcode);
/* It was answered: the one place where its time is counted, once. */
void meter_answered(struct op *op);
/* Since op->asked_ns another process was waited for, which waited for the cloud for a part of that. */
void meter_waited(struct op *op, uint64_t cloud_us);
/* The kernel was told an errno (positive; 0 counts as nothing). */
void meter_error(struct worker *w, int error);

/* --- worker_attr.c -------------------------------------------------------------------------------------- */

/* For the kernel: inode, attributes and how long it may rely on them. A file being written has the size and
 * time its cache file says. */
void attr_entry(struct worker *w, const Lf__FsAttr *attr, struct fuse_entry_param *ret);

/* --- worker_names.c ------------------------------------------------------------------------------------- */

/* mknod(2) of anything but a regular file. */
void names_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);

/* --- worker_open.c ----------------------------------------------------------------------------------------- */

/* Runs next(op) once op->ino is open at syncd in that kind, with op->file in use; or fails the operation. */
void open_then(struct op *op, enum file_kind kind, op_step_fn *next);
/* The kernel has given up on an open: what syncd opened (`reply`, or NULL) is closed again. */
void open_late(struct op *op, const Lf__Envelope *reply);
/* After the channel to syncd is new: what is open is opened there again. */
void open_again(struct worker *w);

/* --- worker_need.c ----------------------------------------------------------------------------------------- */

/* Each asks syncd, after which `step` goes on; or ends the operation. */

/* For the `length` bytes at op->offset. */
void need_bytes(struct op *op, uint64_t length, op_step_fn *step);
/* The same when they are here and the disk does not give them (EIO): perhaps the cloud does. Once. */
void need_again(struct op *op, uint64_t length, int error, op_step_fn *step);
/* For the file to be dirty, and for a write that may cost so many bytes of disk. */
void need_space(struct op *op, uint64_t cost, op_step_fn *step);
/* Ends the operation: a program gets EIO, and nobody has said why yet. */
void need_failed(struct op *op, const char *why);

/* --- worker_data.c ----------------------------------------------------------------------------------------- */

/* Runs next(op) once writes into op->file that came past the worker count as writes: at syncd and in the map. */
void data_settle(struct op *op, op_step_fn *next);
/* Says that the operation's bytes are about to change. Where that cannot be noted (false) they do not: an upload that
 * is under way would take the old ones for the last. */
bool data_note_change(struct op *op);
/* Answers a read, which ends it. */
void data_reply_read(struct op *op, const void *bytes, size_t n);

/* --- worker_sealed.c, worker_reseal.c ---------------------------------------------------------------------- */

/* Of a sealed file, whose chunks are here; `step` begins the operation anew when they turn out not to be. `lost` is the
 * map's lost_seq from before that was looked at. */

/* Answers op with `size` bytes at op->offset. */
void sealed_read(struct op *op, size_t size, uint64_t lost, op_step_fn *step);
/* Writes op->bytes there, op->size of them; NULL: zeros, within the file and its SEALED_ZEROS_MAX. The file was dirty
 * when `lost` was looked at, and there is space for sealed_cost(). Then done(op). */
void sealed_write(struct op *op, uint64_t lost, op_step_fn *step, op_step_fn *done);
uint64_t sealed_cost(const struct op *op);
/* Ends what op has under way there; for op_free(). */
void sealed_leave(struct op *op);
/* What cryptd is asked through. */
void sealed_connect(struct worker *w);

/* --- worker_push.c ------------------------------------------------------------------------------------------ */

/* `size` bytes at op->offset, at least one, are read of a sealed file, as by sealed_read(). When that goes to and fro
 * in a small one, all of it is given to the kernel's page cache. True: op is answered by the way, or step(op) runs. */
bool push_read(struct op *op, size_t size, uint64_t lost, op_step_fn *step);
/* Runs next(op) once nothing of the file, which may be NULL, is on its way there, since it is going to be other
 * bytes. */
void push_settle(struct op *op, struct file *f, op_step_fn *next);
/* Nothing more of it goes there. */
void push_stop(struct worker *w, uint64_t ino);

/* --- worker_early.c ----------------------------------------------------------------------------------------- */

/* As push_read(), from what was opened before it was asked for. */
bool early_read(struct op *op, size_t size, op_step_fn *step);
/* A read of the file was answered: opens what comes after the last one. */
void early_begin(struct worker *w, struct file *f);
/* It changes, or is closed; NULL: all, since the memory is wanted. May free the file, unless that is in use. */
void early_drop(struct worker *w, const struct file *f);

/* --- worker_kept.c ------------------------------------------------------------------------------------------ */

/* What is kept of the last write, for the next one of that chunk: the job, and how many bytes are at job->outer. */
struct kept {
    struct sealed_job *job;      /* of one chunk */
    size_t length;
    unsigned writes;             /* of that chunk in a row */
};

/* It is the keeper's from here on. */
void kept_put(struct worker *w, struct file *f, struct kept kept);
/* The file's, if it is of that chunk, and the chunk is in the file as that job has left it: the caller's from here on.
 * False: there is none. */
bool kept_take(struct worker *w, struct file *f, uint64_t chunk, struct kept *ret);
/* Whether the chunk was written so often that one more write takes hardly any space: only what is synced meanwhile
 * makes it go to another place on the disk. */
bool kept_has_space(const struct file *f, uint64_t chunk);
/* When the program closes it, at the latest. May free the file, unless that is in use. */
void kept_drop(struct worker *w, struct file *f);
/* The memory is wanted. */
void kept_drop_all(struct worker *w);

/* Zeros up to a multiple of that. */
enum { SEALED_ZEROS_MAX = 16 * CHUNK_SIZE };

/* --- worker_mode.c ----------------------------------------------------------------------------------------- */

/* Runs next(op) once op->opened says how the handle that is being opened on op->file is to be treated, and it is
 * counted. `whole`: as in FsOpened. */
void mode_open(struct op *op, bool whole, op_step_fn *next);
/* A handle that was counted is closed: after the kernel has its answer. */
void mode_closed(struct worker *w, struct file *f, enum file_kind kind);
/* Whether the cache file was written past the worker since the last call. */
bool mode_written(const struct worker *w, struct file *f);

/* --- rows of the session's operations -------------------------------------------------------------------- */

void names_rows(struct fuse_lowlevel_ops *ops);
void dir_rows(struct fuse_lowlevel_ops *ops);
void xattr_rows(struct fuse_lowlevel_ops *ops);
void open_rows(struct fuse_lowlevel_ops *ops);
void data_rows(struct fuse_lowlevel_ops *ops);
void sync_rows(struct fuse_lowlevel_ops *ops);
void copy_rows(struct fuse_lowlevel_ops *ops);

static inline struct worker *worker_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static inline ProtobufCBinaryData bytes_of(const char *name)
{
    return (ProtobufCBinaryData){ .len = strlen(name), .data = (uint8_t *)name };
}
