/* See worker_bench.h. */
#include "tests/unit/worker_bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "mountd/fuse_recent.h"
#include "mountd/owed.h"

enum { DEADLINE_MS = 60 * 1000, QUEUE_MAX = 64 };

static void on_packet(evutil_socket_t fd, short what, void *arg)
{
    static char buffer[BENCH_PACKET_MAX];
    struct bench *b = arg;
    ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    struct packet *p = &b->packets[b->n_packets];

    (void)what;
    if (n < (ssize_t)sizeof(p->head))
        return;
    assert_true(b->n_packets < BENCH_PACKETS);
    (void)memcpy(&p->head, buffer, sizeof(p->head));
    assert_int_equal(p->head.len, n);
    p->size = (size_t)n - sizeof(p->head);
    p->body = xcalloc(1, p->size + 1);
    (void)memcpy(p->body, buffer + sizeof(p->head), p->size);
    b->n_packets++;
}

static void on_ready(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)req;
    (void)env;
    (void)fds;
    ((struct bench *)arg)->ready++;
}

static void on_backing_open(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__BackingOpened msg = LF__BACKING_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(BACKING_OPENED, backing_opened, &msg);
    struct bench *b = arg;

    (void)env;
    assert_true(fds[0] >= 0);
    msg.id = ++b->backings;
    if (b->no_backing)
        ipc_fail(req, -EOPNOTSUPP, "Not this kernel.");
    else
        ipc_reply(req, &reply, NULL, 0);
}

static void on_backing_close(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    struct bench *b = arg;

    (void)req;
    (void)fds;
    b->closed_backing = env->backing_close->id;
    b->closed_backings++;
}

static const struct ipc_handler handlers[] = {
    { LF__ENVELOPE__BODY_WORKER_READY, on_ready },
    { LF__ENVELOPE__BODY_BACKING_OPEN, on_backing_open },
    { LF__ENVELOPE__BODY_BACKING_CLOSE, on_backing_close },
};

static size_t make_init(const struct bench *b, uint8_t out[256])
{
    struct fuse_init_in in = {
        .major = 7, .minor = 45, .max_readahead = 131072,
        .flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
                 FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS |
                 FUSE_MAX_PAGES | FUSE_EXPORT_SUPPORT | FUSE_POSIX_ACL | FUSE_INIT_EXT | FUSE_FLOCK_LOCKS,
        .flags2 = PASSTHROUGH_FLAG2 | RESEND_FLAG2,
    };
    struct fuse_in_header head = { .len = sizeof(head) + sizeof(in), .opcode = FUSE_INIT, .unique = 1 };

    (void)memcpy(out, &head, sizeof(head));
    (void)memcpy(out + sizeof(head), &in, sizeof(in));
    if (b->old_kernel)
        fuse_recent_hide(out, head.len);
    if (b->init_size) {
        head.len = (uint32_t)b->init_size;
        (void)memcpy(out, &head, sizeof(head));
    }
    return head.len;
}

static void start_worker(struct bench *b, int connection, bool replay)
{
    uint8_t init[256];
    Lf__WorkerStart msg = LF__WORKER_START__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_START, worker_start, &msg);
    unsigned before = b->ready;
    int control;

    assert_int_equal(ipc_server_channel(b->mountd, ROLE_WORKER, b, &b->control, &control), 0);
    b->worker = worker_new(b->loop, control);
    assert_non_null(b->worker);
    msg.drive_id = (char *)"drive";
    msg.init = (ProtobufCBinaryData){ make_init(b, init), init };
    msg.replay = replay;
    msg.uid = BENCH_UID;
    msg.log_level = 3;
    msg.deadline_ms = DEADLINE_MS;
    msg.queue_length = QUEUE_MAX;
    msg.mount_tag = BENCH_TAG;
    msg.passthrough = true;
    assert_int_equal(ipc_peer_event(b->control, &env, (const int[]){ connection, b->owed }, 2), 0);
    wait_until(b, b->ready > before);
}

void bench_attach(struct bench *b)
{
    CLEANUP_CLOSE int fd = fake_channel(b->syncd);
    Lf__WorkerChannel msg = LF__WORKER_CHANNEL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_CHANNEL, worker_channel, &msg);

    assert_int_equal(ipc_peer_event(b->control, &env, (const int[]){ fd, b->syncd->meter }, 2), 0);
}

static struct ipc_server *make_mountd(struct bench *b)
{
    struct ipc_server_spec spec = {
        .role = ROLE_MOUNTD, .handlers = handlers, .n_handlers = ARRAY_SIZE(handlers), .max_connections = 4,
        .max_queue = 16, .arg = b,
    };

    return ipc_server_new(b->loop, &spec);
}

/* A connection with our end as the kernel's; the worker's is returned. */
static int connect_kernel(struct bench *b)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){ 2 * BENCH_PACKET_MAX }, sizeof(int));
    (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &(int){ 2 * BENCH_PACKET_MAX }, sizeof(int));
    b->kernel = pair[0];
    b->readable = event_new(loop_base(b->loop), b->kernel, EV_READ | EV_PERSIST, on_packet, b);
    assert_int_equal(event_add(b->readable, NULL), 0);
    return pair[1];
}

static void disconnect_kernel(struct bench *b)
{
    event_free(b->readable);
    (void)close(b->kernel);
}

static struct bench *new_bench(bool old_kernel)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    CLEANUP_CLOSE int connection = -1;

    b->old_kernel = old_kernel;
    b->owed = owed_make(QUEUE_MAX);
    assert_true(b->owed >= 0);
    b->loop = loop_new(1);
    b->syncd = fake_new(b->loop, BENCH_UID, BENCH_UID);
    b->mountd = make_mountd(b);
    b->uid = BENCH_UID;
    b->unique = 2;
    connection = connect_kernel(b);
    start_worker(b, connection, false);
    bench_attach(b);
    return b;
}

struct bench *bench_new(void)
{
    return new_bench(false);
}

struct bench *bench_new_old_kernel(void)
{
    return new_bench(true);
}

void bench_replace_worker(struct bench *b)
{
    CLEANUP_CLOSE int connection = -1;

    worker_free(b->worker);
    ipc_peer_close(b->control);
    disconnect_kernel(b);
    connection = connect_kernel(b);
    start_worker(b, connection, true);
    bench_attach(b);
}

void bench_forget(struct bench *b)
{
    for (size_t i = 0; i < b->n_packets; i++)
        free(b->packets[i].body);
    b->n_packets = 0;
}

void bench_free(struct bench *b)
{
    worker_free(b->worker);
    ipc_server_free(b->mountd);
    fake_free(b->syncd);
    disconnect_kernel(b);
    bench_forget(b);
    loop_free(b->loop);
    (void)close(b->owed);
    free(b);
}

/* --- requests and answers --------------------------------------------------------------------------- */

uint64_t bench_send(struct bench *b, uint32_t opcode, uint64_t node, ...)
{
    struct fuse_in_header head = {
        .opcode = opcode, .unique = b->unique += 2, .nodeid = node, .uid = b->uid, .gid = b->uid, .pid = 1,
    };
    struct iovec iov[8] = { { &head, sizeof(head) } };
    int n = 1;
    va_list parts;
    void *part;

    head.len = sizeof(head);
    va_start(parts, node);
    while ((part = va_arg(parts, void *))) {
        iov[n] = (struct iovec){ part, va_arg(parts, size_t) };
        head.len += (uint32_t)iov[n++].iov_len;
    }
    va_end(parts);
    assert_int_equal(writev(b->kernel, iov, n), head.len);
    return head.unique;
}

static const struct packet *find(const struct bench *b, uint64_t unique, int code)
{
    for (size_t i = 0; i < b->n_packets; i++)
        if (b->packets[i].head.unique == unique && (unique || b->packets[i].head.error == code))
            return &b->packets[i];
    return NULL;
}

bool bench_answered(const struct bench *b, uint64_t unique)
{
    return find(b, unique, 0) != NULL;
}

const struct packet *bench_answer(struct bench *b, uint64_t unique)
{
    wait_until(b, find(b, unique, 0));
    return find(b, unique, 0);
}

const struct packet *bench_notified(struct bench *b, int code)
{
    wait_until(b, find(b, 0, code));
    return find(b, 0, code);
}

uint64_t bench_open(struct bench *b, uint64_t ino, int flags)
{
    struct fuse_open_in in = { .flags = (uint32_t)flags };
    uint64_t unique = bench_send(b, FUSE_OPEN, ino, BENCH_PART(in), NULL);

    assert_int_equal(bench_answer(b, unique)->head.error, 0);
    return unique;
}

void bench_release(struct bench *b, uint64_t ino, int flags)
{
    struct fuse_release_in in = { .flags = (uint32_t)flags };
    uint64_t unique = bench_send(b, FUSE_RELEASE, ino, BENCH_PART(in), NULL);

    assert_int_equal(bench_answer(b, unique)->head.error, 0);
}

uint64_t bench_send_read(struct bench *b, uint64_t ino, uint64_t offset, uint32_t size, int flags)
{
    struct fuse_read_in in = { .offset = offset, .size = size, .flags = (uint32_t)flags };

    return bench_send(b, FUSE_READ, ino, BENCH_PART(in), NULL);
}

uint64_t bench_send_write(struct bench *b, uint64_t ino, uint64_t offset, const char *data, uint32_t size)
{
    struct fuse_write_in in = { .offset = offset, .size = size };

    return bench_send(b, FUSE_WRITE, ino, BENCH_PART(in), data, (size_t)size, NULL);
}
