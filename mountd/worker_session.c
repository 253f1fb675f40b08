/* The FUSE session: libfuse on our loop, over a connection that mountd made. The system calls of the
 * connection are ours (fuse_session_custom_io()), which is where a worker that comes after another
 * differs: the kernel's FUSE_INIT is long answered, and requests that the other had read are asked for again. */
#include <errno.h>
#include <linux/fuse.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "mountd/control.h"
#include "mountd/fuse_recent.h"
#include "mountd/owed.h"
#include "mountd/worker_internal.h"

enum {
    TURN_REQUESTS = 64,          /* answered before other events have their turn */
    BACKGROUND_REQUESTS = 64,    /* read-ahead and writeback under way at once, where the kernel lets us */
    SMALL_SIZE = XATTR_SIZE_MAX + FUSE_MIN_READ_BUFFER,   /* a request without contents of a file */
};

/* --- the connection ------------------------------------------------------------------------------------- */

static ssize_t read_connection(int fd, void *buf, size_t len, void *arg)
{
    (void)arg;
    return read(fd, buf, least(len, OWED_PLACE - OWED_READ_AT));
}

/* libfuse 3.14 forgets to pass on what was wanted: directories are looked up and listed by several processes at
 * once. Of passthrough it does not know. */
static void amend_init(struct worker *w, struct iovec *answer)
{
    struct fuse_init_out *out = answer->iov_base;

    if (answer->iov_len < sizeof(*out))
        return;
    out->flags |= w->init.flags & FUSE_PARALLEL_DIROPS;
    if (!w->passthrough)
        return;
    out->flags |= FUSE_INIT_EXT;
    out->flags2 |= PASSTHROUGH_FLAG2;
    out->unused[0] = PASSTHROUGH_DEPTH;
}

/* In the answers to OPEN and CREATE it stands last. */
static void amend_open(struct worker *w, struct iovec *answer)
{
    struct fuse_open_out *out = (void *)((char *)answer->iov_base + answer->iov_len - sizeof(*out));

    if (answer->iov_len >= sizeof(*out))
        *out = *w->opened;
}

/* What libfuse sends has the same place and 32 bits. */
static void amend_copied(struct worker *w, struct iovec *answer)
{
    if (answer->iov_len == sizeof(w->copied))
        (void)memcpy(answer->iov_base, &w->copied, sizeof(w->copied));
}

/* ENOENT: nobody waits for this answer any more; for INIT that is how an earlier worker's answer shows. */
static ssize_t write_connection(int fd, struct iovec *iov, int count, void *arg)
{
    struct worker *w = arg;
    const struct fuse_out_header *head = iov[0].iov_base;
    ssize_t n;

    if (w->ending) {
        errno = ENOENT;
        return -1;
    }
    if (count == 2 && w->amend)
        w->amend(w, &iov[1]);
    n = writev(fd, iov, count);
    owed_answered(w, head->unique);
    return n;
}

int session_reply_open(struct op *op)
{
    static const struct fuse_file_info none;
    struct worker *w = op->worker;
    int r;

    w->opened = &op->opened;
    w->amend = amend_open;
    r = op->data ? fuse_reply_create(op->req, op->data, &none) : fuse_reply_open(op->req, &none);
    w->amend = NULL;
    return r;
}

void session_reply_copied(struct op *op)
{
    struct worker *w = op->worker;

    w->copied = op->end;
    w->amend = op->wide ? amend_copied : NULL;
    (void)fuse_reply_write(op->req, (size_t)op->end);
    w->amend = NULL;
}

/* --- what is negotiated ----------------------------------------------------------------------------------- */

static void want(struct fuse_conn_info *conn, unsigned caps)
{
    conn->want |= conn->capable & caps;
}

/* The kernel's caches are told explicitly what changed, so it needs not guess from times. Without the writeback
 * cache a write is here when write(2) returns. readdirplus always: attributes come with the listing anyway. */
static void init(void *arg, struct fuse_conn_info *conn)
{
    (void)arg;
    conn->want = 0;
    want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
         FUSE_CAP_READDIRPLUS);
    conn->max_write = SCRATCH_SIZE;
    conn->max_readahead = SCRATCH_SIZE;
    conn->max_background = BACKGROUND_REQUESTS;
    conn->congestion_threshold = BACKGROUND_REQUESTS * 3 / 4;
    conn->time_gran = 1;
}

/* --- who is let in ------------------------------------------------------------------------------------------ */

/* Requests that end something the kernel has; they come from whoever happens to be last. */
static bool always_let_in(uint32_t opcode)
{
    return opcode == FUSE_RELEASE || opcode == FUSE_RELEASEDIR || opcode == FUSE_FORGET ||
           opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT || opcode == FUSE_DESTROY;
}

void session_refuse(struct worker *w, uint64_t unique, int error)
{
    struct fuse_out_header out = { .len = sizeof(out), .error = -error, .unique = unique };

    if (write(w->fuse, &out, sizeof(out)) < 0 && errno != ENOENT)
        LOG(LOG_WARNING, "refusal_failed", "error=%s", strerror(errno));
    owed_answered(w, unique);
}

/* The mount is open to all users because root must get in; who else does is decided here. What the kernel does of
 * its own comes with uid 0. */
static bool let_in(const struct worker *w, const struct fuse_in_header *in)
{
    return in->uid == w->uid || in->uid == 0 || always_let_in(in->opcode);
}

/* --- requests ----------------------------------------------------------------------------------------------- */

static void leave(struct worker *w, int r)
{
    bool unmounted = fuse_session_exited(w->session);

    LOG(unmounted ? LOG_INFO : LOG_ERR, unmounted ? "unmounted" : "connection_failed", unmounted ? NULL : "error=%s",
        strerror(-r));
    (void)event_del(w->readable);
    loop_exit(w->loop, unmounted ? CONTROL_EXIT_UNMOUNTED : EXIT_FAILURE);
}

static void set_opcode(struct worker *w, uint32_t opcode)
{
    (void)memcpy((char *)w->buf.mem + offsetof(struct fuse_in_header, opcode), &opcode, sizeof(opcode));
}

/* libfuse 3.14 does not know the wide copy, which differs from the other in its answer alone. */
static void hand_over(struct worker *w, const struct fuse_in_header *in)
{
    w->unique = in->unique & ~UNIQUE_RESEND;
    w->wide = in->opcode == COPY_FILE_RANGE_64;
    if (w->wide)
        set_opcode(w, FUSE_COPY_FILE_RANGE);
    fuse_session_process_buf(w->session, &w->buf);
    if (w->wide)
        set_opcode(w, COPY_FILE_RANGE_64);
}

void session_process(struct worker *w)
{
    struct fuse_in_header in;

    (void)memcpy(&in, w->buf.mem, sizeof(in));
    owed_begins(w, &in);
    meter_request(w, in.opcode == COPY_FILE_RANGE_64 ? FUSE_COPY_FILE_RANGE : in.opcode);
    if (let_in(w, &in))
        hand_over(w, &in);
    else
        session_refuse(w, in.unique, EACCES);
    owed_waits(w);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    w->now_ns = loop_now_ns();
    wait_ended(w);
    for (int i = 0; i < TURN_REQUESTS; i++) {
        int r;

        if (w->ops >= w->queue_length) {
            w->paused = true;
            (void)event_del(w->readable);
            return;
        }
        r = wait_receive(w);
        if (r == -EAGAIN || r == -EINTR)
            return;
        if (r <= 0) {
            leave(w, r);
            return;
        }
        session_process(w);
    }
}

void session_resume(struct worker *w)
{
    if (!w->paused || w->ops >= w->queue_length)
        return;
    w->paused = false;
    (void)event_add(w->readable, NULL);
}

/* --- beginning and end ---------------------------------------------------------------------------------------- */

static void log_fuse(enum fuse_log_level level, const char *format, va_list args)
{
    char text[256];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)vsnprintf(text, sizeof(text), format, args);
#pragma GCC diagnostic pop
    text[strcspn(text, "\n")] = '\0';
    LOG((int)level, "libfuse", "text=%s", text);   /* its levels are syslog's */
}

static struct fuse_session *make_session(struct worker *w)
{
    static const struct fuse_custom_io io = { .writev = write_connection, .read = read_connection };
    struct fuse_lowlevel_ops ops = { .init = init };
    char name[] = "landfall-worker";
    char *argv[] = { name, NULL };
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *se;

    names_rows(&ops);
    dir_rows(&ops);
    xattr_rows(&ops);
    open_rows(&ops);
    data_rows(&ops);
    sync_rows(&ops);
    copy_rows(&ops);
    fuse_set_log_func(log_fuse);
    se = fuse_session_new(&args, &ops, sizeof(ops), w);
    fuse_opt_free_args(&args);
    if (se && fuse_session_custom_io(se, &io, w->fuse) < 0) {
        fuse_session_destroy(se);
        se = NULL;
    }
    return se;
}

static bool offers(const struct worker *w, uint32_t flag2)
{
    return w->init.flags & FUSE_INIT_EXT && w->init.flags2 & flag2;
}

static int read_init(struct worker *w, const ProtobufCBinaryData *bytes)
{
    size_t head = sizeof(struct fuse_in_header);

    if (bytes->len < head + offsetof(struct fuse_init_in, flags2))   /* which is all before Linux 5.17 */
        return -EPROTO;
    (void)memcpy(&w->init, bytes->data + head, least(bytes->len - head, sizeof(w->init)));
    w->passthrough = w->passthrough && offers(w, PASSTHROUGH_FLAG2);
    return 0;
}

static int feed_init(struct worker *w, const ProtobufCBinaryData *bytes)
{
    struct fuse_buf buf = { .size = bytes->len };

    buf.mem = xcalloc(1, bytes->len);
    (void)memcpy(buf.mem, bytes->data, bytes->len);
    w->amend = amend_init;
    fuse_session_process_buf(w->session, &buf);
    w->amend = NULL;
    free(buf.mem);
    return fuse_session_exited(w->session) ? -EPROTO : 0;
}

/* Requests that an earlier worker had read and not answered. */
static void ask_again(struct worker *w)
{
    struct fuse_out_header out = { .len = sizeof(out), .error = NOTIFY_RESEND };

    if (write(w->fuse, &out, sizeof(out)) < 0)
        LOG(LOG_NOTICE, "resend_refused", "error=%s", strerror(errno));
}

/* Without the right to so much locked memory they are there at least. */
static void hold(struct worker *w, size_t size)
{
    for (size_t at = 0; at < size; at += CHUNK_PAGE)
        *(volatile char *)(w->buffer + at) = w->buffer[at];
    (void)mlock(w->buffer, size);
}

/* The pages for what comes without an open for writing are in memory from the start: see session_hold_buffer(). */
static int make_buffers(struct worker *w)
{
    w->scratch = alloc_bulk(SCRATCH_SIZE);
    w->buffer = w->owed.memory ? owed_buffer(w) : alloc_bulk(OWED_PLACE);
    if (!w->scratch || !w->buffer)
        return -ENOMEM;
    w->buf.mem = w->buffer + OWED_READ_AT;
    hold(w, SMALL_SIZE);
    return 0;
}

void session_hold_buffer(struct worker *w)
{
    if (!w->held)
        hold(w, OWED_PLACE);
    w->held = true;
}

void session_hold_secrets(struct worker *w)
{
    if (w->secret)
        return;
    w->secret = true;
    session_hold_buffer(w);
    if (mlock(w->scratch, SCRATCH_SIZE) < 0 || mlock(w->buffer, OWED_PLACE) < 0 || !crypt_locked(w->crypt))
        LOG(LOG_WARNING, "memory_not_locked", "error=%s", strerror(errno), "text=%s",
            "Contents of encrypted files may be swapped: LimitMEMLOCK is too small.");
}

/* What an earlier worker has read comes before what it had no time to read. */
static void succeed(struct worker *w)
{
    if (w->owed.memory)
        owed_pay(w);
    else
        ask_again(w);
}

static int begin(struct worker *w, const ProtobufCBinaryData *init_bytes, int owed)
{
    int r = read_init(w, init_bytes);

    if (r == 0 && !offers(w, RESEND_FLAG2))
        r = owed_adopt(w, owed);
    if (r == 0)
        r = make_buffers(w);
    if (r < 0)
        return r;
    w->session = make_session(w);
    if (!w->session)
        return -ENOMEM;
    r = feed_init(w, init_bytes);
    return r < 0 ? r : notify_connect(w);
}

int session_start(struct worker *w, int fuse, const ProtobufCBinaryData *init_bytes, int owed, bool replay)
{
    int r;

    w->fuse = fuse;
    r = begin(w, init_bytes, owed);
    if (r < 0)
        return r;
    if (replay) {
        session_hold_buffer(w);   /* files may be open */
        succeed(w);
    }
    w->readable = event_new(loop_base(w->loop), fuse, EV_READ | EV_PERSIST, on_readable, w);
    return !w->readable || event_add(w->readable, NULL) < 0 ? -ENOMEM : 0;
}

void session_stop(struct worker *w)
{
    if (w->readable)
        event_free(take_ptr(w->readable));
}

void session_end(struct worker *w)
{
    if (w->session)
        fuse_session_destroy(w->session);   /* closes the connection */
    else if (w->fuse >= 0)
        (void)close(w->fuse);
    if (!w->owed.memory)
        free(w->buffer);
    owed_end(w);
    free(w->scratch);
}
