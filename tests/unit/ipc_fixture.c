/* A server, a client and a bare socket on one loop, for the tests of common/ipc_*. */
#include "tests/unit/ipc_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000 };

/* --- the loop ---------------------------------------------------------------------------------- */

struct patience {
    bool lost;
    struct loop_timer *timer;
};

static void lose_patience(void *arg)
{
    ((struct patience *)arg)->lost = true;
}

struct patience *patience_new(struct loop *l)
{
    struct patience *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    p->timer = loop_timer(l, PATIENCE_MS, lose_patience, p);
    return p;
}

void patience_turn(struct loop *l, struct patience *p, const char *condition)
{
    if (p->lost)
        fail_msg("waited in vain for %s", condition);
    (void)event_base_loop(loop_base(l), EVLOOP_ONCE);
}

void patience_free(struct patience *p)
{
    loop_timer_free(p->timer);
    free(p);
}

void turn_idle(struct fixture *f)
{
    for (int i = 0; i < 50; i++)
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
}

/* --- the server: syncd ------------------------------------------------------------------------- */

static void reply_listed(struct ipc_request *req)
{
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed);

    ipc_reply(req, &env, NULL, 0);
}

static void on_mount_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct fixture *f = daemon;
    struct ipc_identity who;

    (void)env;
    (void)fds;
    f->served++;
    who = ipc_request_identity(req);
    f->instance = who.instance;
    f->id = who.id;
    f->done_below = who.done_below;
    if (f->hold && f->n_held < HELD_MAX)
        f->held[f->n_held++] = req;
    else
        reply_listed(req);
}

/* Answered with two descriptors, as its row says: here /dev/null. */
static void on_worker_attach(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    CLEANUP_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    Lf__Done done = LF__DONE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DONE, done, &done);
    struct fixture *f = daemon;

    (void)env;
    (void)fds;
    f->served++;
    if (f->hold && f->n_held < HELD_MAX)
        f->held[f->n_held++] = req;
    else
        ipc_reply(req, &reply, (const int[]){ fd, fd }, 2);
}

static void on_mount_report(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    if (env->mount_report->mounted)
        ipc_done(req);
    else
        ipc_fail(req, -ENOENT, "There is no drive %s.", env->mount_report->drive_id);
}

static const struct ipc_handler handlers[] = {
    { LF__ENVELOPE__BODY_MOUNT_LIST, on_mount_list },
    { LF__ENVELOPE__BODY_WORKER_ATTACH, on_worker_attach },
    { LF__ENVELOPE__BODY_MOUNT_REPORT, on_mount_report },
};

static void on_peer_lost(struct ipc_peer *p, void *arg)
{
    struct fixture *f = arg;

    f->lost++;
    f->lost_peer = p;
}

void start_server(struct fixture *f)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

    assert_true(fd >= 0);
    (void)unlink(f->path);
    memcpy(sun.sun_path, f->path, sizeof(f->path));
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(fd, 64), 0);
    f->server = ipc_server_new(f->loop, &f->spec);
    assert_non_null(f->server);
    assert_int_equal(ipc_server_listen(f->server, fd), 0);
}

void stop_server(struct fixture *f)
{
    ipc_server_free(f->server);
    f->server = NULL;
    (void)unlink(f->path);
    while (f->n_held > 0)
        ipc_done(f->held[--f->n_held]);
}

void answer_held(struct fixture *f)
{
    assert_true(f->n_held > 0);
    reply_listed(f->held[0]);
    memmove(f->held, f->held + 1, --f->n_held * sizeof(f->held[0]));
}

/* --- the client: mountd ------------------------------------------------------------------------- */

static void on_event(const Lf__Envelope *event, int *fds, void *arg)
{
    struct fixture *f = arg;

    assert_int_equal(event->body_case, LF__ENVELOPE__BODY_MOUNTS_CHANGED);
    assert_int_equal(fds[0], -1);
    f->events++;
}

static void on_connected(void *arg)
{
    ((struct fixture *)arg)->connected++;
}

static void on_disconnected(void *arg)
{
    struct fixture *f = arg;

    f->disconnected++;
    if (f->cancel_when_lost != 0)
        ipc_cancel(f->client, f->cancel_when_lost);
}

void start_client(struct fixture *f)
{
    const struct ipc_client_spec spec = {
        .role = ROLE_MOUNTD, .peer = ROLE_SYNCD, .path = f->path, .max_queue = 4 * QUEUE_LENGTH,
        .event = on_event, .connected = on_connected, .lost = on_disconnected, .arg = f,
    };

    f->client = ipc_client_new(f->loop, &spec);
    assert_non_null(f->client);
}

void on_outcome(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct outcome *o = arg;

    o->done++;
    assert_true((e != NULL) == (reply == NULL));
    if (e) {
        o->code = e->code;
        (void)snprintf(o->text, sizeof(o->text), "%s", error_text(e));
        return;
    }
    o->code = 0;
    o->body = reply->body_case;
    o->fd = fds[0];
    fds[0] = -1;
    if (reply->body_case == LF__ENVELOPE__BODY_MOUNT_LISTED)
        o->n_mounts = reply->mount_listed->n_mounts;
}

uint64_t call_mount_list(struct fixture *f, struct outcome *o, uint64_t deadline_ms)
{
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);

    return ipc_call(f->client, &env, NULL, 0, deadline_ms, on_outcome, o);
}

uint64_t call_once(struct fixture *f, struct outcome *o)
{
    Lf__WorkerAttach attach = LF__WORKER_ATTACH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_ATTACH, worker_attach, &attach);

    attach.drive_id = (char *)"d1";
    return ipc_call(f->client, &env, NULL, 0, 0, on_outcome, o);
}

/* --- life ---------------------------------------------------------------------------------------- */

struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/landfall-ipc-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/syncd.sock", f->dir);
    f->peers[0] = (struct ipc_peer_uid){ ROLE_MOUNTD, getuid() };
    f->peers[1] = (struct ipc_peer_uid){ ROLE_FRONTD, getuid() + 1 };
    f->spec = (struct ipc_server_spec){
        .role = ROLE_SYNCD, .handlers = handlers, .n_handlers = ARRAY_SIZE(handlers), .peers = f->peers,
        .n_peers = ARRAY_SIZE(f->peers), .max_connections = 2 * CONNECTIONS, .max_queue = QUEUE_LENGTH,
        .peer_lost = on_peer_lost, .arg = f,
    };
    f->loop = loop_new(0);
    assert_non_null(f->loop);
    start_server(f);
    return f;
}

void fixture_free(struct fixture *f)
{
    ipc_client_free(f->client);
    stop_server(f);
    loop_free(f->loop);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
}

/* --- the bare socket ------------------------------------------------------------------------------ */

int bare_send(int fd, const Lf__Envelope *env, const int *fds, size_t n)
{
    struct ipc_packet *p;
    int r;

    assert_int_equal(ipc_packet_new(env, fds, n, &p), 0);
    r = ipc_packet_send(fd, p);
    ipc_packet_unref(p);
    return r;
}

int bare_connect(struct fixture *f, enum role role)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);

    memcpy(sun.sun_path, f->path, sizeof(f->path));
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    hello.protocol = IPC_PROTOCOL;
    hello.role = role;
    hello.instance = 1;
    if (role != ROLE_NONE)
        assert_int_equal(bare_send(fd, &env, NULL, 0), 0);
    return fd;
}

/* 1 with a packet in *ret (to be freed), 0 when there is none yet, -1 when the connection is closed. */
static int bare_read(int fd, Lf__Envelope **ret)
{
    static uint8_t data[IPC_MESSAGE_MAX];
    int fds[IPC_FDS_MAX], r;
    size_t len, n_fds;

    r = ipc_packet_receive(fd, data, &len, fds, &n_fds);
    if (r == -EAGAIN)
        return 0;
    if (r < 0)
        return r == -ECONNRESET ? 0 : -1;
    ipc_packet_close_fds(fds, n_fds);
    assert_null(ipc_packet_unpack(data, len, ret));
    return 1;
}

void bare_wait_closed(struct fixture *f, int fd)
{
    Lf__Envelope *env = NULL;
    int r = 0;

    for (int turns = 0; r >= 0 && turns < 1000; turns++) {
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        r = bare_read(fd, &env);
        if (r > 0)
            lf__envelope__free_unpacked(env, NULL);
    }
    assert_int_equal(r, -1);
    (void)close(fd);
}

Lf__Envelope *bare_receive(struct fixture *f, int fd)
{
    Lf__Envelope *env = NULL;
    int r = 0;

    for (int turns = 0; r == 0 && turns < 1000; turns++) {
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        r = bare_read(fd, &env);
    }
    assert_int_equal(r, 1);
    return env;
}
