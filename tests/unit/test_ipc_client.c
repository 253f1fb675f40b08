/* common/ipc, the asking end: answers, restarts of the peer, cancelling, deadlines, limits, events. */
#include "tests/unit/ipc_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int make(void **state)
{
    *state = fixture_new();
    start_client(*state);
    return 0;
}

static int drop(void **state)
{
    fixture_free(*state);
    return 0;
}

static uint64_t report(struct fixture *f, bool mounted, struct outcome *o)
{
    Lf__MountReport report = LF__MOUNT_REPORT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_REPORT, mount_report, &report);

    report.drive_id = (char *)"d9";
    report.mounted = mounted;
    return ipc_call(f->client, &env, NULL, 0, 0, on_outcome, o);
}

static void calls_are_answered(void **state)
{
    struct fixture *f = *state;
    struct outcome listed = { 0 }, good = { 0 }, bad = { 0 };

    assert_false(ipc_client_connected(f->client));
    assert_int_not_equal(call_mount_list(f, &listed, 0), 0);
    (void)report(f, true, &good);
    (void)report(f, false, &bad);
    assert_int_equal(listed.done, 0);
    wait_until(f, bad.done);
    assert_int_equal(listed.body, LF__ENVELOPE__BODY_MOUNT_LISTED);
    assert_int_equal(good.body, LF__ENVELOPE__BODY_DONE);
    assert_int_equal(bad.code, -ENOENT);
    assert_string_equal(bad.text, "There is no drive d9.");
    assert_true(ipc_client_connected(f->client));
    assert_int_equal(f->connected, 1);
}

static void descriptors_ride_with_replies(void **state)
{
    struct fixture *f = *state;
    struct outcome o = { 0 };
    char byte;

    (void)call_once(f, &o);
    wait_until(f, o.done);
    assert_true(o.fd >= 0);
    assert_int_equal(read(o.fd, &byte, 1), 0);
    (void)close(o.fd);
}

static void calls_wait_while_there_is_no_peer(void **state)
{
    struct fixture *f = *state;
    struct outcome listed = { 0 }, once = { 0 };

    stop_server(f);
    (void)call_mount_list(f, &listed, 0);
    (void)call_once(f, &once);
    turn_idle(f);
    assert_int_equal(listed.done + once.done, 0);
    start_server(f);
    wait_until(f, listed.done && once.done);
    assert_int_equal(listed.code, 0);
    assert_int_equal(once.code, 0);
    (void)close(once.fd);
}

static void a_restart_repeats_what_may_be_repeated(void **state)
{
    struct fixture *f = *state;
    struct outcome listed = { 0 }, once = { 0 };
    uint64_t instance, id;

    f->hold = true;
    (void)call_once(f, &once);
    (void)call_mount_list(f, &listed, 0);
    wait_until(f, f->served == 2);
    instance = f->instance;
    id = f->id;
    stop_server(f);
    wait_until(f, once.done);
    assert_int_equal(once.code, -ECONNRESET);
    assert_int_equal(listed.done, 0);
    assert_int_equal(f->disconnected, 1);

    f->hold = false;
    start_server(f);
    wait_until(f, listed.done);
    assert_int_equal(listed.code, 0);
    assert_int_equal(f->served, 3);
    assert_int_equal(f->instance, instance);
    assert_int_equal(f->id, id);
    assert_int_equal(f->connected, 2);
    assert_int_equal(once.done, 1);
}

static void done_below_follows_the_oldest_unanswered_call(void **state)
{
    struct fixture *f = *state;
    struct outcome o[4] = { 0 };

    f->hold = true;
    for (size_t i = 0; i < 3; i++)
        (void)call_mount_list(f, &o[i], 0);
    wait_until(f, f->n_held == 3);
    assert_int_equal(f->done_below, f->id - 2);
    answer_held(f);
    wait_until(f, o[0].done);
    (void)call_mount_list(f, &o[3], 0);
    wait_until(f, f->n_held == 3);
    assert_int_equal(f->done_below, f->id - 2);
    while (f->n_held > 0)
        answer_held(f);
    wait_until(f, o[3].done);
    f->hold = false;
    (void)call_mount_list(f, &o[0], 0);
    wait_until(f, o[0].done == 2);
    assert_int_equal(f->done_below, f->id);
}

static void cancelled_calls_are_never_answered(void **state)
{
    struct fixture *f = *state;
    struct outcome cancelled = { 0 }, kept = { 0 }, failed = { 0 };
    uint64_t handle;

    f->hold = true;
    handle = call_mount_list(f, &cancelled, 60000);
    (void)call_mount_list(f, &kept, 0);
    wait_until(f, f->n_held == 2);
    ipc_cancel(f->client, handle);
    ipc_cancel(f->client, handle);
    answer_held(f);
    answer_held(f);
    wait_until(f, kept.done);
    f->cancel_when_lost = call_once(f, &failed);
    wait_until(f, f->n_held == 1);
    stop_server(f);
    wait_until(f, f->disconnected);
    turn_idle(f);
    assert_int_equal(cancelled.done + failed.done, 0);
    assert_int_equal(kept.code, 0);
}

static void deadlines_end_calls(void **state)
{
    struct fixture *f = *state;
    struct outcome late = { 0 }, next = { 0 }, nobody = { 0 };

    f->hold = true;
    wait_until(f, ipc_client_connected(f->client));   /* so that it is sent at once */
    (void)call_mount_list(f, &late, 20);
    wait_until(f, late.done);
    assert_int_equal(late.code, -ETIMEDOUT);
    assert_string_equal(late.text, "syncd did not answer in time.");
    wait_until(f, f->n_held == 1);
    answer_held(f);
    f->hold = false;
    (void)call_mount_list(f, &next, 60000);
    wait_until(f, next.done);
    assert_int_equal(next.code, 0);
    assert_int_equal(late.done, 1);
    assert_int_equal(f->disconnected, 0);
    stop_server(f);
    (void)call_mount_list(f, &nobody, 20);
    wait_until(f, nobody.done);
    assert_int_equal(nobody.code, -ETIMEDOUT);
}

static void too_many_calls_are_refused(void **state)
{
    enum { MOST = 4 * QUEUE_LENGTH };
    struct fixture *f = *state;
    struct outcome o[MOST + 1] = { 0 };
    size_t answered = 0;

    f->hold = true;
    for (size_t i = 0; i <= MOST; i++)
        assert_int_not_equal(call_mount_list(f, &o[i], 0), 0);
    assert_int_equal(o[MOST].done, 0);
    wait_until(f, o[MOST].done);
    assert_int_equal(o[MOST].code, -EAGAIN);
    f->hold = false;
    while (answered < MOST) {
        while (f->n_held > 0)
            answer_held(f);
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        for (answered = 0; answered < MOST && o[answered].done; answered++)
            assert_int_equal(o[answered].code, 0);
    }
}

static void wrong_calls_fail(void **state)
{
    struct fixture *f = *state;
    struct outcome o[4] = { 0 };
    Lf__AgentStatusGet status = LF__AGENT_STATUS_GET__INIT;
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__MountsChanged changed = LF__MOUNTS_CHANGED__INIT;
    Lf__Envelope frontds = IPC_ENVELOPE(AGENT_STATUS_GET, agent_status_get, &status);
    Lf__Envelope event = IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &changed);
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);
    char *page = malloc(IPC_MESSAGE_MAX);
    int zero = 0;

    assert_non_null(page);
    memset(page, 'p', IPC_MESSAGE_MAX);
    page[IPC_MESSAGE_MAX - 1] = '\0';
    (void)ipc_call(f->client, &frontds, NULL, 0, 0, on_outcome, &o[0]);
    (void)ipc_call(f->client, &event, NULL, 0, 0, on_outcome, &o[1]);
    (void)ipc_call(f->client, &env, &zero, 1, 0, on_outcome, &o[2]);
    list.page = page;
    (void)ipc_call(f->client, &env, NULL, 0, 0, on_outcome, &o[3]);
    for (size_t i = 0; i < ARRAY_SIZE(o); i++)
        assert_int_equal(o[i].done, 0);
    wait_until(f, o[3].done);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(o[i].code, -EPROTO);
    assert_int_equal(o[3].code, -EMSGSIZE);
    assert_int_equal(f->served, 0);
    free(page);
}

/* More than any socket buffer holds, both ways: everything goes through the queues. */
static void large_messages_pass_in_any_number(void **state)
{
    enum { NUMBER = 4 * QUEUE_LENGTH };
    struct fixture *f = *state;
    struct outcome o[NUMBER] = { 0 };
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);
    char *page = malloc(IPC_MESSAGE_MAX - 64);

    assert_non_null(page);
    memset(page, 'p', IPC_MESSAGE_MAX - 64);
    page[IPC_MESSAGE_MAX - 65] = '\0';
    list.page = page;
    wait_until(f, ipc_client_connected(f->client));
    for (size_t i = 0; i < NUMBER; i++)
        (void)ipc_call(f->client, &env, NULL, 0, 0, on_outcome, &o[i]);
    for (size_t i = 0; i < NUMBER; i++)
        wait_until(f, o[i].done);
    for (size_t i = 0; i < NUMBER; i++)
        assert_int_equal(o[i].code, 0);
    free(page);
}

static void events_arrive(void **state)
{
    struct fixture *f = *state;
    struct outcome o = { 0 };
    Lf__MountsChanged changed = LF__MOUNTS_CHANGED__INIT;
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope event = IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &changed);
    Lf__Envelope no_event = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);
    struct ipc_peer *p;

    f->hold = true;
    (void)call_mount_list(f, &o, 0);
    wait_until(f, f->n_held == 1);
    p = ipc_request_peer(f->held[0]);
    assert_int_equal(ipc_peer_event(p, &event, NULL, 0), 0);
    assert_int_equal(ipc_peer_event(p, &event, NULL, 0), 0);
    assert_int_equal(ipc_peer_event(p, &no_event, NULL, 0), -EPROTO);
    wait_until(f, f->events == 2);
    answer_held(f);
    wait_until(f, o.done);
    assert_int_equal(ipc_client_event(f->client, &event, NULL, 0), -EPROTO);
}

/* --- misbehaving peers ----------------------------------------------------------------------------------- */

/* What the far end says after the call with id 1; the client must hang up. */
static void hang_up_on(struct fixture *f, Lf__Envelope *env, const int *fds, size_t n)
{
    struct outcome o = { 0 };
    size_t disconnected = f->disconnected;
    struct ipc_client *real = f->client;
    int pair[2];
    const struct ipc_client_spec spec = {
        .role = ROLE_MOUNTD, .peer = ROLE_SYNCD, .max_queue = 4,
    };

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    f->client = ipc_client_new(f->loop, &spec);
    ipc_client_adopt(f->client, pair[0]);
    (void)call_mount_list(f, &o, 0);
    assert_int_equal(bare_send(pair[1], env, fds, n), 0);
    bare_wait_closed(f, pair[1]);
    assert_int_equal(o.done, 0);
    ipc_client_free(f->client);
    assert_int_equal(o.code, -ECANCELED);
    f->client = real;
    assert_int_equal(f->disconnected, disconnected);
}

static void peers_that_break_the_protocol_are_left(void **state)
{
    struct fixture *f = *state;
    Lf__Done done = LF__DONE__INIT;
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__FsInvalidate invalidate = LF__FS_INVALIDATE__INIT;
    Lf__Failure failure = LF__FAILURE__INIT;
    Lf__Envelope wrong_body = IPC_ENVELOPE(DONE, done, &done);
    Lf__Envelope unasked = IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed);
    Lf__Envelope request = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);
    Lf__Envelope event = IPC_ENVELOPE(FS_INVALIDATE, fs_invalidate, &invalidate);
    Lf__Envelope failed = { PROTOBUF_C_MESSAGE_INIT(&lf__envelope__descriptor), .id = 1, .failure = &failure };
    int zero = 0;

    wrong_body.id = 1;
    hang_up_on(f, &wrong_body, NULL, 0);
    unasked.id = 2;
    hang_up_on(f, &unasked, NULL, 0);
    unasked.id = 1;
    hang_up_on(f, &unasked, &zero, 1);
    request.id = 0;
    hang_up_on(f, &request, NULL, 0);
    hang_up_on(f, &event, NULL, 0);
    hang_up_on(f, &failed, &zero, 1);
}

/* --- the end -------------------------------------------------------------------------------------------- */

static void free_client(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct fixture *f = arg;

    (void)e;
    (void)reply;
    (void)fds;
    ipc_client_free(f->client);
    f->client = NULL;
}

static void clients_may_be_freed_by_an_answer(void **state)
{
    struct fixture *f = *state;
    struct outcome others[3] = { 0 };
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);

    (void)ipc_call(f->client, &env, NULL, 0, 0, free_client, f);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        (void)call_mount_list(f, &others[i], 60000);
    wait_until(f, !f->client);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        assert_int_equal(others[i].done, 1);
        assert_int_equal(others[i].code, -ECANCELED);
    }
    wait_until(f, f->lost == 1);
}

static void traces_are_drawn_when_missing(void **state)
{
    struct fixture *f = *state;
    struct outcome o = { 0 };

    assert_int_not_equal(ipc_trace_new(), ipc_trace_new());
    f->hold = true;
    (void)call_mount_list(f, &o, 0);
    wait_until(f, f->n_held == 1);
    assert_int_not_equal(ipc_request_trace(f->held[0]), 0);
    answer_held(f);
    wait_until(f, o.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_are_answered, make, drop),
        cmocka_unit_test_setup_teardown(descriptors_ride_with_replies, make, drop),
        cmocka_unit_test_setup_teardown(calls_wait_while_there_is_no_peer, make, drop),
        cmocka_unit_test_setup_teardown(a_restart_repeats_what_may_be_repeated, make, drop),
        cmocka_unit_test_setup_teardown(done_below_follows_the_oldest_unanswered_call, make, drop),
        cmocka_unit_test_setup_teardown(cancelled_calls_are_never_answered, make, drop),
        cmocka_unit_test_setup_teardown(deadlines_end_calls, make, drop),
        cmocka_unit_test_setup_teardown(too_many_calls_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(wrong_calls_fail, make, drop),
        cmocka_unit_test_setup_teardown(large_messages_pass_in_any_number, make, drop),
        cmocka_unit_test_setup_teardown(events_arrive, make, drop),
        cmocka_unit_test_setup_teardown(peers_that_break_the_protocol_are_left, make, drop),
        cmocka_unit_test_setup_teardown(clients_may_be_freed_by_an_answer, make, drop),
        cmocka_unit_test_setup_teardown(traces_are_drawn_when_missing, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
