/* common/ipc over channels: socket pairs one end of which was given away, as between mountd, its
 * workers and syncd. */
#include "tests/unit/ipc_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make(void **state)
{
    *state = fixture_new();
    return 0;
}

static int drop(void **state)
{
    fixture_free(*state);
    return 0;
}

static void channels_have_their_role_and_data(void **state)
{
    struct fixture *f = *state;
    struct ipc_peer *p;
    int fd, data = 0;
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);

    assert_int_equal(ipc_server_channel(f->server, ROLE_WORKER, &data, &p, &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(ipc_peer_role(p), ROLE_WORKER);
    assert_ptr_equal(ipc_peer_data(p), &data);
    hello.protocol = IPC_PROTOCOL;
    hello.role = ROLE_MOUNTD;
    assert_int_equal(bare_send(fd, &env, NULL, 0), 0);
    bare_wait_closed(f, fd);
    assert_int_equal(f->lost, 1);
    assert_ptr_equal(f->lost_peer, p);
}

static void channels_carry_events_from_the_start(void **state)
{
    struct fixture *f = *state;
    Lf__FsInvalidate invalidate = LF__FS_INVALIDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_INVALIDATE, fs_invalidate, &invalidate), *event;
    struct ipc_peer *p;
    int fd;

    assert_int_equal(ipc_server_channel(f->server, ROLE_WORKER, NULL, &p, &fd), 0);
    invalidate.ino = 12;
    assert_int_equal(ipc_peer_event(p, &env, NULL, 0), 0);
    event = bare_receive(f, fd);
    assert_int_equal(event->id, 0);
    assert_int_equal(event->fs_invalidate->ino, 12);
    lf__envelope__free_unpacked(event, NULL);
    (void)close(fd);
    wait_until(f, f->lost == 1);
}

struct ears {
    size_t starts, lost;
    int fd;
};

static void on_start(const Lf__Envelope *event, int *fds, void *arg)
{
    struct ears *e = arg;

    assert_int_equal(event->body_case, LF__ENVELOPE__BODY_WORKER_START);
    e->starts++;
    e->fd = fds[0];
    fds[0] = -1;
}

static void on_lost(void *arg)
{
    ((struct ears *)arg)->lost++;
}

static void on_ready(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)env;
    (void)fds;
    ipc_done(req);   /* nothing is owed to an event: this must do no harm */
    ++*(size_t *)daemon;
}

/* mountd and its worker, over a channel: events with descriptors down, events up. */
static void channels_work_both_ways(void **state)
{
    static const struct ipc_handler ready[] = { { LF__ENVELOPE__BODY_WORKER_READY, on_ready } };
    struct fixture *f = *state;
    size_t readies = 0;
    struct ears ears = { 0 };
    const struct ipc_server_spec server = {
        .role = ROLE_MOUNTD, .handlers = ready, .n_handlers = 1, .max_queue = 4, .arg = &readies,
    };
    const struct ipc_client_spec client = {
        .role = ROLE_WORKER, .peer = ROLE_MOUNTD, .max_queue = 4, .event = on_start, .lost = on_lost, .arg = &ears,
    };
    struct ipc_server *s = ipc_server_new(f->loop, &server);
    struct ipc_client *c = ipc_client_new(f->loop, &client);
    Lf__WorkerStart start = LF__WORKER_START__INIT;
    Lf__WorkerReady say_ready = LF__WORKER_READY__INIT;
    Lf__Envelope down = IPC_ENVELOPE(WORKER_START, worker_start, &start);
    Lf__Envelope up = IPC_ENVELOPE(WORKER_READY, worker_ready, &say_ready);
    struct ipc_peer *p;
    int far, pair[2];

    assert_int_equal(pipe(pair), 0);
    assert_int_equal(ipc_client_event(c, &up, NULL, 0), -ENOTCONN);
    assert_int_equal(ipc_server_channel(s, ROLE_WORKER, NULL, &p, &far), 0);
    start.drive_id = (char *)"d1";
    assert_int_equal(ipc_peer_event(p, &down, NULL, 0), -EPROTO);
    assert_int_equal(ipc_peer_event(p, &down, &pair[0], 1), -EPROTO);
    assert_int_equal(ipc_peer_event(p, &down, pair, 2), 0);
    ipc_client_adopt(c, far);
    assert_int_equal(ipc_client_event(c, &up, NULL, 0), 0);
    wait_until(f, ears.starts == 1 && readies == 1);
    assert_int_equal(write(pair[1], "x", 1), 1);
    assert_int_equal(read(ears.fd, &(char){ 0 }, 1), 1);
    for (size_t i = 0; i < 2; i++)
        (void)close(pair[i]);
    (void)close(ears.fd);
    ipc_server_free(s);
    wait_until(f, ears.lost == 1);
    assert_false(ipc_client_connected(c));
    ipc_client_free(c);
}

/* A worker whose syncd restarted: what was asked over the old channel is asked over the new one. */
static void a_new_channel_repeats(void **state)
{
    struct fixture *f = *state;
    struct outcome o = { 0 };
    int pair[2];

    start_client(f);
    f->hold = true;
    (void)call_mount_list(f, &o, 0);
    wait_until(f, f->n_held == 1);
    assert_int_equal(ipc_server_channel(f->server, ROLE_MOUNTD, NULL, NULL, &pair[0]), 0);
    ipc_client_adopt(f->client, pair[0]);
    wait_until(f, f->n_held == 2);
    answer_held(f);
    turn_idle(f);
    assert_int_equal(o.done, 0);
    answer_held(f);
    wait_until(f, o.done);
    assert_int_equal(o.code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(channels_have_their_role_and_data, make, drop),
        cmocka_unit_test_setup_teardown(channels_carry_events_from_the_start, make, drop),
        cmocka_unit_test_setup_teardown(channels_work_both_ways, make, drop),
        cmocka_unit_test_setup_teardown(a_new_channel_repeats, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
