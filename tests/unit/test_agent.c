/* The life of the agent: which command leads where, what lasts, what becomes of the drives. */
#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "syncd/store_internal.h"
#include "tests/unit/fake_volume.h"
#include "tests/unit/syncd_fixture.h"

static int status_of(struct fixture *f)
{
    Lf__AgentStatusGet msg = LF__AGENT_STATUS_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AGENT_STATUS_GET, agent_status_get, &msg);
    struct answer a = fixture_ask(f, &env);
    int status = a.reply->agent_status->status;

    answer_free(&a);
    return status;
}

static struct answer command(struct fixture *f, int number)
{
    Lf__AgentCommand msg = LF__AGENT_COMMAND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AGENT_COMMAND, agent_command, &msg);

    msg.command = number;
    return fixture_ask(f, &env);
}

static void pause_lasts_until_resume(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one"), *two = NULL;
    struct answer a;

    assert_int_equal(status_of(f), 1);
    expect_error(command(f, 4), -EINVAL, "nothing to Resume");
    a = command(f, 2);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_int_equal(status_of(f), 4);
    assert_true(fake_volume(id)->paused);
    assert_int_equal(fake_volume(id)->told, 1);
    expect_error(command(f, 2), -EINVAL, "is paused");
    fixture_restart(f);
    assert_int_equal(status_of(f), 4);
    assert_true(fake_volume(id)->paused);
    two = fixture_drive(f, account, "two");
    assert_true(fake_volume(two)->paused);
    a = command(f, 4);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_int_equal(status_of(f), 1);
    assert_false(fake_volume(id)->paused);
}

static void must(struct fixture *f, int number)
{
    struct answer a = command(f, number);

    if (a.e.code)
        fail_msg("%d: %s", number, error_text(&a.e));
    answer_free(&a);
}

/* Each command in each state: what it makes of it, or 0 where it is refused and nothing changes. */
static void the_table_holds(void **state)
{
    static const int numbers[] = { 0, 1, 2, 4, 3, -1 };
    static const struct { int from, to[6]; } rows[] = {
        { 1, { 0, 8, 4, 0, 0, 0 } },
        { 4, { 0, 8, 0, 1, 0, 0 } },
        { 8, { 1, 0, 0, 0, 0, 0 } },
    };
    static const int ways[][3] = { { 1, -1 }, { 4, 2, -1 }, { 8, 1, -1 } };   /* from Started */

    (void)state;
    for (size_t r = 0; r < 3; r++)
        for (size_t n = 0; n < 6; n++) {
            void *own = NULL;
            struct fixture *f;
            struct answer a;

            assert_int_equal(fixture_set_up(&own), 0);
            f = own;
            for (size_t w = 1; ways[r][w] >= 0; w++)
                must(f, ways[r][w]);
            a = command(f, numbers[n]);
            assert_int_equal(a.e.code, rows[r].to[n] ? 0 : -EINVAL);
            assert_int_equal(status_of(f), rows[r].to[n] ? rows[r].to[n] : rows[r].from);
            answer_free(&a);
            fixture_restart(f);
            assert_int_equal(status_of(f), rows[r].to[n] ? rows[r].to[n] : rows[r].from);
            fixture_tear_down(&own);
        }
}

static void disposed_drives_are_not_mounted(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one"), *two = NULL;

    assert_true(fixture_is_mounted(f, id));
    must(f, 1);
    assert_false(fixture_is_mounted(f, id));
    assert_true(fake_volume(id)->paused);
    fixture_restart(f);
    assert_int_equal(status_of(f), 8);
    two = fixture_drive(f, account, "two");   /* stored, for later */
    assert_false(fixture_is_mounted(f, two));
    assert_true(fake_volume(two)->paused);
    must(f, 0);
    wait_until(f, fixture_is_mounted(f, id) && fixture_is_mounted(f, two));
    assert_false(fake_volume(id)->paused);
}

/* A program that has a file of one open keeps all as they are. */
static void a_busy_drive_keeps_the_agent_going(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one"),
                      *two = fixture_drive(f, account, "two");

    f->unmount_failure = "The drive one is in use.";
    expect_error(command(f, 1), -EBUSY, "in use");
    assert_int_equal(status_of(f), 1);
    f->unmount_failure = NULL;
    wait_until(f, fixture_is_mounted(f, id) && fixture_is_mounted(f, two));
    assert_false(fake_volume(id)->paused);
    must(f, 1);
    assert_int_equal(status_of(f), 8);
}

static void note_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    int *code = arg;

    (void)fds;
    *code = reply ? 0 : e->code;
}

/* Two wait for the same drive to be unmounted, or one of them is gone before the other hears of it. */
static void no_drive_changes_while_all_are_unmounted(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__AgentCommand dispose = LF__AGENT_COMMAND__INIT;
    Lf__DriveDelete delete = LF__DRIVE_DELETE__INIT;
    Lf__Envelope first = IPC_ENVELOPE(AGENT_COMMAND, agent_command, &dispose),
                 second = IPC_ENVELOPE(DRIVE_DELETE, drive_delete, &delete);
    int disposed = 1, deleted = 1;

    dispose.command = 1;
    delete.id = id;
    ipc_call(f->frontd, &first, NULL, 0, 0, note_answer, &disposed);
    ipc_call(f->frontd, &second, NULL, 0, 0, note_answer, &deleted);
    wait_until(f, disposed != 1 && deleted != 1);
    assert_int_equal(disposed, 0);
    assert_int_equal(deleted, -EBUSY);
    assert_int_equal(status_of(f), 8);
    must(f, 0);
    wait_until(f, fixture_is_mounted(f, id));
}

/* A state without the note of who asked for it would refuse the one who asks again. */
static void a_state_is_stored_with_who_asked_for_it(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *value = NULL;

    assert_int_equal(sql_run(f->syncd->store->sql, "CREATE TRIGGER refused BEFORE INSERT ON settings"
                             " WHEN NEW.name = 'agent.last_command' BEGIN SELECT RAISE(ABORT, 'refused'); END"), 0);
    expect_error(command(f, 2), -EINVAL, "could not be stored");
    expect_error(command(f, 1), -EINVAL, "could not be stored");
    assert_int_equal(status_of(f), 1);
    assert_int_equal(store_setting_get(f->syncd->store, "agent.state", &value), -ENOENT);
    assert_int_equal(sql_run(f->syncd->store->sql, "DROP TRIGGER refused"), 0);
    must(f, 2);
    assert_int_equal(status_of(f), 4);
}

static void what_older_versions_stored_is_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(store_setting_set(f->syncd->store, "agent.paused", "1"), 0);
    fixture_restart(f);
    assert_int_equal(status_of(f), 4);
    must(f, 4);
    fixture_restart(f);
    assert_int_equal(status_of(f), 1);
}

static void exit_drains(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);

    free(fixture_drive(f, account, "one"));
    must(f, 8);
    assert_int_equal(status_of(f), 1);   /* until somebody ends the processes */
}

static void shutdown_closes_everything(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__Shutdown msg = LF__SHUTDOWN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(SHUTDOWN, shutdown, &msg);
    struct answer a;

    free(fixture_drive(f, account, "one"));
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    assert_int_equal(a.reply->body_case, LF__ENVELOPE__BODY_DONE);
    answer_free(&a);
    assert_int_equal(fake_volumes(), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pause_lasts_until_resume),
        cmocka_unit_test(the_table_holds),
        TEST(disposed_drives_are_not_mounted),
        TEST(a_busy_drive_keeps_the_agent_going),
        TEST(no_drive_changes_while_all_are_unmounted),
        TEST(a_state_is_stored_with_who_asked_for_it),
        TEST(what_older_versions_stored_is_read),
        TEST(exit_drains),
        TEST(shutdown_closes_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
