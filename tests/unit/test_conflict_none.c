/* What looks like a conflict and is none: only one side has anything to lose, or the other side was ourselves. No
 * version is lost, and there is no copy. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MIB = 1 << 20 };

/* --- one side --------------------------------------------------------------------------------------------- */

static void removed_by_others(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);

    rig_remove(rig, "a");
    worker_overwrite(rig, "a", "ours", 4);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "ours", 4);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), ino);
}

static void made_and_removed_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig->fault = rig_unreachable;
    (void)worker_file(rig, "a", "ours", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    rig_put(rig, "a", "theirs", 6);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
}

static void made_and_renamed_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig->fault = rig_unreachable;
    (void)worker_file(rig, "a", "ours", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    rig_put(rig, "a", "theirs", 6);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a b ");
    assert_object(rig, "a", "theirs", 6);
    assert_object(rig, "b", "ours", 4);
}

static void removed_while_the_conflict_is_looked_at(void **state)
{
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig_put(rig, "a", "theirs", 6);
    rig->hold[CLOUD_STAT] = true;
    (void)worker_file(rig, "a", bytes, 20 * MIB);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_release(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
}

static void renamed_here_and_changed_there(void **state)
{
    struct rig *rig = *state;

    (void)rig_base(rig);
    rig->fault = rig_unreachable;
    worker_overwrite(rig, "a", "ours", 4);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_put(rig, "a", "theirs", 6);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a b ");
    assert_object(rig, "a", "theirs", 6);
    assert_object(rig, "b", "ours", 4);
}

/* --- metadata ---------------------------------------------------------------------------------------------- */

static void other_metadata_goes_to_their_version(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);
    struct cloud_request *r;

    rig->fault = rig_unreachable;
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_put(rig, "a", "theirs", 6);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
    rig_assert_file(rig, "a", "theirs");
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mode & 07777, 0400);
    cloud_request_free(r);
}

static void other_metadata_brings_nothing_back(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);

    rig->fault = rig_unreachable;
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_remove(rig, "a");
    rig_come_back(rig);
    rig_assert_no_copy(rig, "");
}

/* --- our own, unheard of ----------------------------------------------------------------------------------- */

static int lose_answers(struct rig *rig, const struct cloud_request *r, bool after)
{
    const enum cloud_op *op = rig->arg;

    return after && r->op == *op ? -ETIMEDOUT : 0;
}

static void our_own_change_is_no_conflict(void **state)
{
    static enum cloud_op put = CLOUD_PUT;
    struct rig *rig = *state;

    rig->arg = &put;
    rig->fault = lose_answers;
    (void)worker_file(rig, "a", "one", 3);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    worker_overwrite(rig, "a", "other", 5);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "other", 5);
    rig_reset_counts(rig);
    rig->fault = lose_answers;
    worker_overwrite(rig, "a", "three", 5);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "three", 5);
}

static void our_own_parts_are_no_conflict(void **state)
{
    static enum cloud_op end = CLOUD_PART_END;
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    struct rig *rig = *state;

    (void)rig_base(rig);
    rig->arg = &end;
    rig->fault = lose_answers;
    worker_overwrite(rig, "a", bytes, 20 * MIB);
    rig_wait(rig, rig->counts[CLOUD_PART_END] >= 1);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", bytes, 20 * MIB);
}

static void our_own_copy_is_no_conflict(void **state)
{
    static enum cloud_op copy = CLOUD_COPY;
    struct rig *rig = *state;

    (void)rig_base(rig);
    (void)worker_file(rig, "b", "other", 5);
    rig_settle(rig);
    rig->arg = &copy;
    rig->fault = lose_answers;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_COPY] >= 1);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "b ");
    assert_object(rig, "b", "base", 4);
}

/* Nothing but its ETag tells the copy: it has no metadata of ours. */
static void our_own_copy_without_metadata_is_no_conflict(void **state)
{
    static enum cloud_op copy = CLOUD_COPY;
    struct rig *rig = *state;

    rig_put(rig, "a", "base", 4);
    rig_forget_meta(rig, worker_lookup(rig, INDEX_ROOT, "a"));
    rig->arg = &copy;
    rig->fault = lose_answers;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_COPY] >= 1);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "b ");
}

/* Put for a file that is no more by the time anybody can look. */
static void our_own_object_of_a_removed_file_is_no_conflict(void **state)
{
    static enum cloud_op put = CLOUD_PUT;
    struct rig *rig = *state;

    rig->arg = &put;
    rig->fault = lose_answers;
    (void)worker_file(rig, "a", "one", 3);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    rig_idle(rig);
    rig->fault = rig_unreachable;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    (void)worker_file(rig, "a", "other", 5);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "other", 5);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(removed_by_others),
        TEST(made_and_removed_while_the_network_is_gone),
        TEST(made_and_renamed_while_the_network_is_gone),
        TEST(removed_while_the_conflict_is_looked_at),
        TEST(renamed_here_and_changed_there),
        TEST(other_metadata_goes_to_their_version),
        TEST(other_metadata_brings_nothing_back),
        TEST(our_own_change_is_no_conflict),
        TEST(our_own_parts_are_no_conflict),
        TEST(our_own_copy_is_no_conflict),
        TEST(our_own_copy_without_metadata_is_no_conflict),
        TEST(our_own_object_of_a_removed_file_is_no_conflict),
        { "folder: renamed_here_and_changed_there", renamed_here_and_changed_there, rig_set_up_folder, rig_tear_down,
          NULL },
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
