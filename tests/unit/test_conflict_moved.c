/* A file that was renamed here while somebody else changed it, or took its new name: nothing of theirs is overwritten or
 * removed, and what is ours and is not wanted goes. */
#include "volume_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MIB = 1 << 20 };

/* --- what a rename leaves behind ---------------------------------------------------------------------------- */

static int refuse_deletes(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_DELETE_BATCH && !after ? -EHOSTUNREACH : 0;
}

static void changed_there_after_it_was_copied(void **state)
{
    struct rig *rig = *state;

    (void)rig_base(rig);
    rig->fault = refuse_deletes;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_DELETE_BATCH] >= 1);
    rig_put(rig, "a", "theirs", 6);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a b ");
    assert_object(rig, "a", "theirs", 6);
    assert_object(rig, "b", "base", 4);
}

static void changed_there_while_it_was_sent_elsewhere(void **state)
{
    struct rig *rig = *state;

    (void)rig_base(rig);
    rig->fault = rig_unreachable;
    worker_overwrite(rig, "a", "ours", 4);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig->hold[CLOUD_PUT] = true;
    rig_come_back(rig);
    rig_wait(rig, rig->n_held == 1);
    assert_string_equal(rig->held[0]->key, "b");
    rig_put(rig, "a", "theirs", 6);
    rig_release(rig);
    rig_assert_no_copy(rig, "a b ");
    assert_object(rig, "a", "theirs", 6);
    assert_object(rig, "b", "ours", 4);
}

static int refuse_copies(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_COPY && !after ? -ETIMEDOUT : 0;
}

static int lose_copies(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_COPY && after ? -ETIMEDOUT : 0;
}

static void move_and_remove(struct rig *rig, rig_fault_fn *fault)
{
    (void)rig_base(rig);
    rig->fault = fault;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_COPY] >= 1);
    rig_idle(rig);
    rig->fault = rig_unreachable;
    assert_int_equal(worker_unlink(rig, "b"), 0);
}

static void where_no_copy_arrived_is_somebody_elses(void **state)
{
    struct rig *rig = *state;

    move_and_remove(rig, refuse_copies);
    rig_put(rig, "b", "theirs", 6);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "b ");
    assert_object(rig, "b", "theirs", 6);
}

static void a_copy_that_arrived_unheard_of_goes(void **state)
{
    struct rig *rig = *state;

    move_and_remove(rig, lose_copies);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "");
}

/* --- copies in parts ---------------------------------------------------------------------------------------- */

static uint64_t base_too_large_for_one_request(struct rig *rig, const char *bytes)
{
    struct cloud_ops *ops = (struct cloud_ops *)(uintptr_t)rig->cloud->ops;
    uint64_t ino = worker_file(rig, "a", bytes, 20 * MIB);

    rig_settle(rig);
    ops->limits.put_max = 18 * MIB;
    rig->hold[CLOUD_PART_END] = true;
    return ino;
}

static void the_name_is_taken_while_parts_are_copied(void **state)
{
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 4);
    struct rig *rig = *state;
    uint64_t ino = base_too_large_for_one_request(rig, bytes);
    struct rig_copies c;

    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->n_held == 1);
    rig_put(rig, "b", "theirs", 6);
    rig_release(rig);
    rig_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.ino, ino);
    assert_object(rig, "b", "theirs", 6);
    assert_object(rig, c.name, bytes, 20 * MIB);
    assert_null(rig_object(rig, "a", &(size_t){ 0 }));
}

static void changed_there_while_parts_get_other_metadata(void **state)
{
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 5);
    struct rig *rig = *state;
    uint64_t ino = base_too_large_for_one_request(rig, bytes);
    struct cloud_request *r;

    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_wait(rig, rig->n_held == 1);
    rig_put(rig, "a", "theirs", 6);
    rig_release(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mode & 07777, 0400);
    cloud_request_free(r);
}

/* Some services compare the ETag of an object in parts wrongly. */
static int refuse_sources(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PART_COPY && r->if_match && !after ? -ESTALE : 0;
}

static void parts_are_copied_over_a_file_of_ours(void **state)
{
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 6);
    struct rig *rig = *state;

    (void)worker_file(rig, "b", "base", 4);
    (void)base_too_large_for_one_request(rig, bytes);
    rig_release(rig);
    rig->fault = refuse_sources;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_assert_no_copy(rig, "b ");
    assert_object(rig, "b", bytes, 20 * MIB);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
#define FOLDER_TEST(f) { "folder: " #f, f, rig_set_up_folder, rig_tear_down, NULL }
    const struct CMUnitTest tests[] = {
        TEST(changed_there_after_it_was_copied),
        TEST(changed_there_while_it_was_sent_elsewhere),
        TEST(where_no_copy_arrived_is_somebody_elses),
        TEST(a_copy_that_arrived_unheard_of_goes),
        TEST(the_name_is_taken_while_parts_are_copied),
        TEST(changed_there_while_parts_get_other_metadata),
        TEST(parts_are_copied_over_a_file_of_ours),
        FOLDER_TEST(changed_there_while_it_was_sent_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
