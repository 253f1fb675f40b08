/* What is renamed, on a cloud where a key is either a file or a folder: the steps have to come in an order that the
 * folder can take. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "volume_rig.h"

static void file_in(struct rig *rig, uint64_t parent, const char *name, const char *bytes)
{
    struct handle h;

    assert_int_equal(worker_create(rig, parent, name, &h), 0);
    worker_write(rig, &h, 0, bytes, strlen(bytes));
    worker_close(rig, &h);
}

static void move(struct rig *rig, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name)
{
    Lf__FsRename m = LF__FS_RENAME__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RENAME, fs_rename, &m);

    m.parent = parent;
    m.new_parent = new_parent;
    m.name = (ProtobufCBinaryData){ strlen(name), (uint8_t *)(uintptr_t)name };
    m.new_name = (ProtobufCBinaryData){ strlen(new_name), (uint8_t *)(uintptr_t)new_name };
    assert_int_equal(rig_ask(rig, &env, NULL, NULL), 0);
}

static void a_file_and_a_full_folder_swap(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");

    file_in(rig, d, "x", "xxx");
    file_in(rig, d, "y", "yyy");
    (void)worker_file(rig, "a", "aaa", 3);
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "a", "d", RENAME_EXCHANGE), 0);
    rig_settle(rig);
    assert_keys(rig, "a/ a/x a/y d ");
    assert_object(rig, "d", "aaa", 3);
    assert_object(rig, "a/x", "xxx", 3);
    assert_int_equal(worker_rename(rig, "a", "d", RENAME_EXCHANGE), 0);
    rig_settle(rig);
    assert_keys(rig, "a d/ d/x d/y ");
    assert_object(rig, "a", "aaa", 3);
    assert_object(rig, "d/y", "yyy", 3);
}

static void a_crash_in_between(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");

    file_in(rig, d, "x", "xxx");
    (void)worker_file(rig, "a", "aaa", 3);
    rig_settle(rig);
    rig->hold[CLOUD_DELETE_BATCH] = true;
    assert_int_equal(worker_rename(rig, "a", "d", RENAME_EXCHANGE), 0);
    rig_wait(rig, rig->n_held == 1);
    rig_release(rig);
    rig_reopen(rig);
    rig_settle(rig);
    assert_keys(rig, "a/ a/x d ");
    assert_object(rig, "d", "aaa", 3);
    assert_object(rig, "a/x", "xxx", 3);
}

static void a_file_moves_into_a_folder_of_its_name(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "aaa", 3);
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "a", "t", 0), 0);
    move(rig, INDEX_ROOT, "t", worker_mkdir(rig, "a"), "x");
    rig_settle(rig);
    assert_keys(rig, "a/ a/x ");
    assert_object(rig, "a/x", "aaa", 3);
}

static void a_file_takes_the_name_of_its_folder(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");

    file_in(rig, d, "x", "xxx");
    rig_settle(rig);
    move(rig, d, "x", INDEX_ROOT, "t");
    assert_int_equal(worker_rmdir(rig, "d"), 0);
    assert_int_equal(worker_rename(rig, "t", "d", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "d ");
    assert_object(rig, "d", "xxx", 3);
}

static void a_folder_where_a_file_was(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "aaa", 3);
    rig_settle(rig);
    rig->hold[CLOUD_DELETE_BATCH] = true;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    file_in(rig, worker_mkdir(rig, "a"), "x", "xxx");
    rig_wait(rig, rig->n_held == 1);
    rig_linger(rig);
    assert_object(rig, "a", "aaa", 3);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a/ a/x ");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up_folder, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_and_a_full_folder_swap),
        TEST(a_crash_in_between),
        TEST(a_file_moves_into_a_folder_of_its_name),
        TEST(a_file_takes_the_name_of_its_folder),
        TEST(a_folder_where_a_file_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
