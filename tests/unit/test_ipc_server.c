/* common/ipc, the answering end: who is let in, what is refused, and what survives it. */
#include "tests/unit/ipc_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
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

/* The proof that the daemon goes on: a new, well-behaved connection is answered. */
static void assert_still_serving(struct fixture *f)
{
    int fd = bare_connect(f, ROLE_MOUNTD);
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list), *reply;

    env.id = 77;
    env.has_trace = 1;
    env.trace = 99;
    assert_int_equal(bare_send(fd, &env, NULL, 0), 0);
    reply = bare_receive(f, fd);
    assert_int_equal(reply->id, 77);
    assert_int_equal(reply->trace, 99);
    assert_int_equal(reply->body_case, LF__ENVELOPE__BODY_MOUNT_LISTED);
    lf__envelope__free_unpacked(reply, NULL);
    (void)close(fd);
    wait_until(f, f->lost_peer);
    f->lost_peer = NULL;
}

static void bytes_that_are_no_packet_are_refused(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } rows[] = {
        { "\0", 1 },
        { "GET / HTTP/1.1\r\n\r\n", 18 },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12 },
        { "\x08", 1 },                       /* half an id */
        { "\x08\x00", 2 },                   /* an id and no body */
        { "\x08\x00\x52\x02\x08\x01", 6 },   /* half a Hello */
        { "\x08\x00\x52\x7f", 4 },           /* a Hello longer than the packet */
        { "\x08\x00\xfa\x7f\x00", 5 },       /* a body nobody knows */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int before = bare_connect(f, ROLE_NONE), after = bare_connect(f, ROLE_MOUNTD);

        assert_int_equal(send(before, rows[i].data, rows[i].len, 0), rows[i].len);
        bare_wait_closed(f, before);
        assert_int_equal(send(after, rows[i].data, rows[i].len, 0), rows[i].len);
        bare_wait_closed(f, after);
        f->lost_peer = NULL;
        assert_still_serving(f);
    }
    assert_int_equal(f->served, ARRAY_SIZE(rows));
}

static void oversized_packets_are_refused(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD), bytes = 1 << 20;
    char *big = calloc(1, IPC_MESSAGE_MAX + 1);

    assert_non_null(big);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
    assert_int_equal(send(fd, big, IPC_MESSAGE_MAX + 1, 0), IPC_MESSAGE_MAX + 1);
    bare_wait_closed(f, fd);
    free(big);
    f->lost_peer = NULL;
    assert_still_serving(f);
}

struct hello_row {
    uint32_t protocol, role;
    uint64_t id;
};

static void hello_must_be_true(void **state)
{
    static const struct hello_row rows[] = {
        { IPC_PROTOCOL + 1, ROLE_MOUNTD, 0 }, { IPC_PROTOCOL, ROLE_NONE, 0 },    { IPC_PROTOCOL, ROLE_COUNT, 0 },
        { IPC_PROTOCOL, UINT32_MAX, 0 },      { IPC_PROTOCOL, ROLE_FRONTD, 0 },  { IPC_PROTOCOL, ROLE_WORKER, 0 },
        { IPC_PROTOCOL, ROLE_SYNCD, 0 },      { IPC_PROTOCOL, ROLE_MOUNTD, 5 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int fd = bare_connect(f, ROLE_NONE);
        Lf__Hello hello = LF__HELLO__INIT;
        Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);

        hello.protocol = rows[i].protocol;
        hello.role = rows[i].role;
        env.id = rows[i].id;
        assert_int_equal(bare_send(fd, &env, NULL, 0), 0);
        bare_wait_closed(f, fd);
    }
    assert_int_equal(f->lost, 0);
    assert_still_serving(f);
}

/* One wrong message each, after a Hello as mountd. */
static void messages_of_the_wrong_kind_are_refused(void **state)
{
    struct fixture *f = *state;
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__MountsChanged changed = LF__MOUNTS_CHANGED__INIT;
    Lf__WorkerStart start = LF__WORKER_START__INIT;
    Lf__AgentStatusGet status = LF__AGENT_STATUS_GET__INIT;
    Lf__Failure failure = LF__FAILURE__INIT;
    Lf__Envelope rows[] = {
        IPC_ENVELOPE(HELLO, hello, &hello),                       /* a second one */
        IPC_ENVELOPE(MOUNT_LIST, mount_list, &list),              /* without an id */
        IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed),        /* a reply */
        IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &changed),   /* ours to send */
        IPC_ENVELOPE(WORKER_START, worker_start, &start),         /* not ours to receive */
        IPC_ENVELOPE(AGENT_STATUS_GET, agent_status_get, &status), /* frontd's to send */
        { PROTOBUF_C_MESSAGE_INIT(&lf__envelope__descriptor), .failure = &failure },
    };

    start.drive_id = (char *)"";
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int fd = bare_connect(f, ROLE_MOUNTD);

        hello.role = ROLE_MOUNTD;
        hello.protocol = IPC_PROTOCOL;
        rows[i].id = i == 2 || i == 5 ? 9 : 0;
        assert_int_equal(bare_send(fd, &rows[i], NULL, 0), 0);
        bare_wait_closed(f, fd);
    }
    assert_int_equal(f->served, 0);
    f->lost_peer = NULL;
    assert_still_serving(f);
}

static void requests_before_hello_are_refused(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_NONE);
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);

    env.id = 1;
    assert_int_equal(bare_send(fd, &env, NULL, 0), 0);
    bare_wait_closed(f, fd);
    assert_int_equal(f->served, 0);
}

static size_t count_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Sends n of our descriptors with a request that carries none. */
static void send_with_fds(int fd, size_t n)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(16 * sizeof(int))];
    } control = { 0 };
    char data[] = "\x08\x01\xc2\x0c\x00";   /* id 1, mount_list (field 200) */
    struct iovec iov = { .iov_base = data, .iov_len = 5 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = CMSG_SPACE(n * sizeof(int)),
    };

    control.head = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)),
    };
    for (size_t i = 0; i < n; i++)
        memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &(int){ 0 }, sizeof(int));
    assert_int_equal(sendmsg(fd, &msg, 0), 5);
}

static void unexpected_descriptors_are_refused_and_closed(void **state)
{
    static const size_t numbers[] = { 1, 2, 4, 5, 16 };
    struct fixture *f = *state;
    size_t before;

    assert_still_serving(f);
    before = count_fds();
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        int fd = bare_connect(f, ROLE_MOUNTD);

        send_with_fds(fd, numbers[i]);
        bare_wait_closed(f, fd);
    }
    assert_int_equal(f->served, 1);
    turn_idle(f);
    assert_int_equal(count_fds(), before);
}

static void foreign_uids_are_turned_away(void **state)
{
    struct fixture *f = *state;
    int fd;

    f->peers[0].uid = getuid() + 2;
    fd = bare_connect(f, ROLE_NONE);
    bare_wait_closed(f, fd);
}

static void floods_of_connections_leave_room_after(void **state)
{
    struct fixture *f = *state;
    int fds[60];

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = bare_connect(f, ROLE_MOUNTD);
    for (size_t i = CONNECTIONS; i < ARRAY_SIZE(fds); i++)
        bare_wait_closed(f, fds[i]);
    for (size_t i = 0; i < CONNECTIONS; i++)
        (void)close(fds[i]);
    wait_until(f, f->lost == CONNECTIONS);
    f->lost_peer = NULL;
    assert_still_serving(f);
}

static void send_requests(int fd, uint64_t first, size_t n)
{
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);

    for (size_t i = 0; i < n; i++) {
        env.id = first + i;
        assert_int_equal(bare_send(fd, &env, NULL, 0), 0);
    }
}

/* Without a descriptor to spare the connection waits, and the loop does not spin. */
static void accepting_waits_for_descriptors(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);
    struct rlimit limit, none;
    int64_t began;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){ 3, limit.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    send_requests(fd, 1, 1);
    began = loop_now_ns();
    turn_idle(f);
    assert_int_equal(f->served, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    wait_until(f, f->served == 1);
    assert_true(loop_now_ns() - began > 10 * 1000000);
    (void)close(fd);
}

static void unanswered_requests_are_bounded(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);

    f->hold = true;
    send_requests(fd, 1, 3 * QUEUE_LENGTH);
    turn_idle(f);
    assert_int_equal(f->served, QUEUE_LENGTH);
    answer_held(f);
    turn_idle(f);
    assert_int_equal(f->served, QUEUE_LENGTH + 1);
    f->hold = false;
    while (f->n_held > 0)
        answer_held(f);
    wait_until(f, f->served == 3 * QUEUE_LENGTH);
    (void)close(fd);
}

/* The kernel takes a few hundred small replies; then the queue fills and nothing more is read. */
static void a_peer_that_never_reads_is_not_read_from(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list), *reply;
    size_t sent = 0;

    for (int stuck = 0; stuck < 10 && sent < 100000; stuck++) {
        env.id = sent + 1;
        while (bare_send(fd, &env, NULL, 0) == 0) {
            env.id = ++sent + 1;
            stuck = 0;
        }
        turn_idle(f);
    }
    assert_in_range(sent, 1, 99999);
    assert_true(f->served < sent);
    assert_still_serving(f);
    for (size_t i = 1; i <= sent; i++) {
        reply = bare_receive(f, fd);
        assert_int_equal(reply->id, i);
        lf__envelope__free_unpacked(reply, NULL);
    }
    (void)close(fd);
}

static void a_peer_that_reads_no_events_is_dropped(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD), r = 0;
    Lf__MountsChanged changed = LF__MOUNTS_CHANGED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &changed);
    struct ipc_peer *p;

    f->hold = true;
    send_requests(fd, 1, 1);
    wait_until(f, f->n_held == 1);
    p = ipc_request_peer(f->held[0]);
    for (int i = 0; i < 100000 && r == 0; i++)
        r = ipc_peer_event(p, &env, NULL, 0);
    assert_int_equal(r, -ENOBUFS);
    wait_until(f, f->lost == 1);
    assert_ptr_equal(f->lost_peer, p);
    assert_null(ipc_request_peer(f->held[0]));
    f->lost_peer = NULL;
    f->hold = false;
    assert_still_serving(f);
    answer_held(f);
    (void)close(fd);
}

static void requests_of_a_lost_peer_may_be_answered(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);

    f->hold = true;
    send_requests(fd, 1, 4);
    wait_until(f, f->n_held == 4);
    (void)close(fd);
    wait_until(f, f->lost == 1);
    answer_held(f);
    ipc_done(f->held[0]);
    ipc_fail(f->held[1], -EIO, "%s", "too late");
    ipc_fail_error(f->held[2], &(struct error){ .code = -EIO });
    f->n_held = 0;
}

static void requests_outlive_the_server(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);

    f->hold = true;
    send_requests(fd, 1, 2);
    wait_until(f, f->n_held == 2);
    ipc_server_free(f->server);
    f->server = NULL;
    assert_null(ipc_request_peer(f->held[0]));
    answer_held(f);
    answer_held(f);
    assert_int_equal(f->lost, 0);
    bare_wait_closed(f, fd);
}

static void closing_a_peer_is_not_losing_it(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);
    Lf__MountsChanged changed = LF__MOUNTS_CHANGED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &changed);
    struct ipc_peer *p;

    f->hold = true;
    send_requests(fd, 1, 1);
    wait_until(f, f->n_held == 1);
    p = ipc_request_peer(f->held[0]);
    ipc_peer_close(p);
    assert_int_equal(ipc_peer_event(p, &env, NULL, 0), -ENOTCONN);
    bare_wait_closed(f, fd);
    assert_int_equal(f->lost, 0);
}

/* --- answers that are our own mistake ---------------------------------------------------------------- */

static Lf__Envelope *answer_wrongly(struct fixture *f, int fd, Lf__Envelope *wrong, const int *fds, size_t n)
{
    f->hold = true;
    send_requests(fd, 1, 1);
    wait_until(f, f->n_held == 1);
    f->n_held = 0;
    ipc_reply(f->held[0], wrong, fds, n);
    return bare_receive(f, fd);
}

static void assert_failure(Lf__Envelope *reply, int code)
{
    assert_int_equal(reply->id, 1);
    assert_non_null(reply->failure);
    assert_int_equal(reply->failure->code, code);
    lf__envelope__free_unpacked(reply, NULL);
}

static void replies_that_are_not_the_rows_fail(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD), zero = 0;
    Lf__Done done = LF__DONE__INIT;
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__Envelope other = IPC_ENVELOPE(DONE, done, &done), with_fd = IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed);

    assert_failure(answer_wrongly(f, fd, &other, NULL, 0), EPROTO);
    assert_failure(answer_wrongly(f, fd, &with_fd, &zero, 1), EPROTO);
    (void)close(fd);
}

static void replies_that_are_too_large_fail(void **state)
{
    struct fixture *f = *state;
    int fd = bare_connect(f, ROLE_MOUNTD);
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed);
    char *page = malloc(IPC_MESSAGE_MAX);

    assert_non_null(page);
    memset(page, 'p', IPC_MESSAGE_MAX);
    page[IPC_MESSAGE_MAX - 1] = '\0';
    listed.next_page = page;
    assert_failure(answer_wrongly(f, fd, &env, NULL, 0), EMSGSIZE);
    free(page);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_that_are_no_packet_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(oversized_packets_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(hello_must_be_true, make, drop),
        cmocka_unit_test_setup_teardown(messages_of_the_wrong_kind_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(requests_before_hello_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(unexpected_descriptors_are_refused_and_closed, make, drop),
        cmocka_unit_test_setup_teardown(foreign_uids_are_turned_away, make, drop),
        cmocka_unit_test_setup_teardown(floods_of_connections_leave_room_after, make, drop),
        cmocka_unit_test_setup_teardown(accepting_waits_for_descriptors, make, drop),
        cmocka_unit_test_setup_teardown(unanswered_requests_are_bounded, make, drop),
        cmocka_unit_test_setup_teardown(a_peer_that_never_reads_is_not_read_from, make, drop),
        cmocka_unit_test_setup_teardown(a_peer_that_reads_no_events_is_dropped, make, drop),
        cmocka_unit_test_setup_teardown(requests_of_a_lost_peer_may_be_answered, make, drop),
        cmocka_unit_test_setup_teardown(requests_outlive_the_server, make, drop),
        cmocka_unit_test_setup_teardown(closing_a_peer_is_not_losing_it, make, drop),
        cmocka_unit_test_setup_teardown(replies_that_are_not_the_rows_fail, make, drop),
        cmocka_unit_test_setup_teardown(replies_that_are_too_large_fail, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
