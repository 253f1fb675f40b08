/* The FUSE session: libfuse on our loop, over a connection that mountd made. The system calls of the
 * connection are ours (fuse_session_custom_io()), which is where a worker that comes after another
 * differs: the kernel's FUSE_INIT is long answered, and requests that the other had read are asked for again. */
#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "mountd/control.h"
#include "mountd/passthrough.h"
#include "mountd/worker_internal.h"

enum {
    TURN_REQUESTS = 64,          /* answered before other events have their turn */
    BACKGROUND_REQUESTS = 64,    /* read-ahead and writeback under way at once, where the kernel lets us */
    NOTIFY_RESEND = 7,           /* FUSE_NOTIFY_RESEND, kernel 6.9 */
};

/* FUSE_UNIQUE_RESEND: set in numbers of what is sent again. */
static const uint64_t UNIQUE_RESEND = UINT64_C(1) << 63;

/* --- the connection ------------------------------------------------------------------------------------- */

static ssize_t read_connection(int fd, void *buf, size_t len, void *arg)
{
    (void)arg;
    return read(fd, buf, len);
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

/* Also called from the pool thread, for notifications, whose `unique` is 0: nothing of the worker is looked at then.
 * ENOENT: nobody waits for this answer any more; for INIT that is how an earlier worker's answer shows. */
static ssize_t write_connection(int fd, struct iovec *iov, int count, void *arg)
{
    const struct fuse_out_header *head = iov[0].iov_base;
    struct worker *w = arg;

    if (head->unique != 0 && count == 2 && w->amend)
        w->amend(w, &iov[1]);
    return writev(fd, iov, count);
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

static void refuse(struct worker *w, uint64_t unique, int error)
{
    struct fuse_out_header out = { .len = sizeof(out), .error = -error, .unique = unique };

    if (write(w->fuse, &out, sizeof(out)) < 0 && errno != ENOENT)
        LOG(LOG_WARNING, "refusal_failed", "error=%s", strerror(errno));
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

static void process(struct worker *w)
{
    struct fuse_in_header in;

    (void)memcpy(&in, w->buf.mem, sizeof(in));
    meter_request(w, in.opcode);
    if (!let_in(w, &in)) {
        refuse(w, in.unique, EACCES);
        return;
    }
    w->unique = in.unique & ~UNIQUE_RESEND;
    fuse_session_process_buf(w->session, &w->buf);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    w->now_ns = loop_now_ns();
    for (int i = 0; i < TURN_REQUESTS; i++) {
        int r;

        if (w->ops >= w->queue_length) {
            w->paused = true;
            (void)event_del(w->readable);
            return;
        }
        r = fuse_session_receive_buf(w->session, &w->buf);
        if (r == -EAGAIN || r == -EINTR)
            return;
        if (r <= 0) {
            leave(w, r);
            return;
        }
        process(w);
    }
}

void session_resume(struct worker *w)
{
    if (!w->paused || w->ops >= w->queue_length)
        return;
    w->paused = false;
    (void)event_add(w->readable, NULL);
}

/* --- files that are another version by now ------------------------------------------------------------------- */

static struct stale *find_stale(const struct worker *w, uint64_t ino)
{
    struct stale *s;

    SLIST_FOREACH(s, &w->stale, next)
        if (s->ino == ino)
            return s;
    return NULL;
}

static void remember_stale(struct worker *w, uint64_t ino)
{
    struct stale *s;

    if (find_stale(w, ino))
        return;
    s = xcalloc(1, sizeof(*s));
    s->ino = ino;
    SLIST_INSERT_HEAD(&w->stale, s, next);
}

static void forget_stale(struct worker *w, uint64_t ino)
{
    struct stale *s = find_stale(w, ino);

    if (!s)
        return;
    SLIST_REMOVE(&w->stale, s, stale, next);
    free(s);
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
    fuse_set_log_func(log_fuse);
    se = fuse_session_new(&args, &ops, sizeof(ops), w);
    fuse_opt_free_args(&args);
    if (se && fuse_session_custom_io(se, &io, w->fuse) < 0) {
        fuse_session_destroy(se);
        se = NULL;
    }
    return se;
}

static int feed_init(struct worker *w, const ProtobufCBinaryData *bytes)
{
    struct fuse_buf buf = { .size = bytes->len };

    if (bytes->len < sizeof(struct fuse_in_header) + sizeof(w->init))
        return -EPROTO;
    (void)memcpy(&w->init, bytes->data + sizeof(struct fuse_in_header), sizeof(w->init));
    w->passthrough = w->passthrough && w->init.flags & FUSE_INIT_EXT && w->init.flags2 & PASSTHROUGH_FLAG2;
    buf.mem = xcalloc(1, bytes->len);
    (void)memcpy(buf.mem, bytes->data, bytes->len);
    w->amend = amend_init;
    fuse_session_process_buf(w->session, &buf);
    w->amend = NULL;
    free(buf.mem);
    return fuse_session_exited(w->session) ? -EPROTO : 0;
}

/* Requests that an earlier worker had read and not answered. A kernel that does not know this keeps their callers
 * waiting until they are interrupted. */
static void ask_again(struct worker *w)
{
    struct fuse_out_header out = { .len = sizeof(out), .error = NOTIFY_RESEND };

    if (write(w->fuse, &out, sizeof(out)) < 0)
        LOG(LOG_NOTICE, "resend_refused", "error=%s", strerror(errno));
}

int session_start(struct worker *w, int fuse, const ProtobufCBinaryData *init_bytes, bool replay)
{
    int r;

    w->fuse = fuse;
    w->scratch = alloc_bulk(SCRATCH_SIZE);
    w->session = make_session(w);
    if (!w->scratch || !w->session)
        return -ENOMEM;
    r = feed_init(w, init_bytes);
    if (r < 0)
        return r;
    if (replay)
        ask_again(w);
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
    while (!SLIST_EMPTY(&w->stale))
        forget_stale(w, SLIST_FIRST(&w->stale)->ino);
    free(w->buf.mem);
    free(w->scratch);
}

/* --- telling the kernel ----------------------------------------------------------------------------------------- */

/* Runs in the pool: the kernel may make a notification wait for a lock whose holder waits for the loop. */
struct invalidation {
    LIST_ENTRY(invalidation) next;
    struct worker *worker;   /* used: it and its session stay until this is done */
    struct op *op;           /* is answered with ESTALE afterwards; NULL: none */
    uint64_t ino;
    bool data, named;
    size_t name_len;
    char name[NAME_MAX + 1];
};

/* Those under way: a loop that ends drops jobs without a word, and what they own must have an owner still. */
static LIST_HEAD(, invalidation) invalidations = LIST_HEAD_INITIALIZER(invalidations);

/* What the kernel does not know needs no dropping: -ENOENT is fine. */
static void invalidate_work(void *arg)
{
    const struct invalidation *i = arg;
    struct fuse_session *session = i->worker->session;

    if (i->named)
        (void)fuse_lowlevel_notify_inval_entry(session, i->ino, i->name, i->name_len);
    else
        (void)fuse_lowlevel_notify_inval_inode(session, i->ino, i->data ? 0 : -1, 0);
}

static void invalidate_done(void *arg)
{
    struct invalidation *i = arg;

    LIST_REMOVE(i, next);
    if (i->op) {
        forget_stale(i->worker, i->ino);
        op_error(i->op, ESTALE);
    }
    worker_release(i->worker);
    free(i);
}

static void begin(struct invalidation *i)
{
    i->worker->users++;
    LIST_INSERT_HEAD(&invalidations, i, next);
    loop_work(i->worker->loop, invalidate_work, invalidate_done, i);
}

void session_invalidate(struct worker *w, const Lf__FsInvalidate *what)
{
    struct invalidation *i;

    ahead_drop(w);
    if (!w->session || (what->has_name && what->name.len > NAME_MAX))
        return;
    if (what->has_version && what->version)
        remember_stale(w, what->ino);
    i = xcalloc(1, sizeof(*i));
    *i = (struct invalidation){
        .worker = w, .ino = what->ino, .data = what->data, .named = what->has_name,
    };
    if (i->named) {
        i->name_len = what->name.len;
        (void)memcpy(i->name, what->name.data, what->name.len);
    }
    begin(i);
}

void session_drop_pages(struct worker *w, uint64_t ino)
{
    struct invalidation *i;

    if (!w->session)
        return;
    i = xcalloc(1, sizeof(*i));
    *i = (struct invalidation){ .worker = w, .ino = ino, .data = true };
    begin(i);
}

void session_refuse_stale(struct op *op)
{
    struct invalidation *i = xcalloc(1, sizeof(*i));

    loop_timer_free(take_ptr(op->timer));
    *i = (struct invalidation){ .worker = op->worker, .op = op, .ino = op->ino, .data = true };
    begin(i);
}

bool session_refuses(const struct worker *w, uint64_t ino)
{
    const struct invalidation *i;

    if (find_stale(w, ino))
        return true;
    LIST_FOREACH(i, &invalidations, next)
        if (i->worker == w && i->op && i->ino == ino)
            return true;
    return false;
}
