/* The uploader when the cloud refuses or loses answers. Somebody else's versions are test_conflict.c's. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

static char *reason(struct rig *rig, uint64_t ino)
{
    return index_reason(rig->volume->index, ino);
}

static int refuse_puts(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PUT && !after ? -EACCES : 0;
}

static void a_refusal_is_shown_and_tried_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *why = NULL;
    uint64_t ino;

    rig->fault = refuse_puts;
    ino = worker_file(rig, "a", "bytes", 5);
    rig_wait(rig, (why = reason(rig, ino)));
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 1);   /* slowly */
    assert_int_equal(volume_pending(rig->volume), 1);
    rig->fault = NULL;
    assert_int_equal(index_retry(rig->volume->index, ino, 0, NULL), 0);
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
    assert_object(rig, "a", "bytes", 5);
}

static int lose_first_answer(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PUT && after && rig->counts[CLOUD_PUT] == 1 ? -ETIMEDOUT : 0;
}

static void a_lost_answer_of_a_new_file(void **state)
{
    struct rig *rig = *state;

    rig->fault = lose_first_answer;
    (void)worker_file(rig, "a", "bytes", 5);
    rig_settle(rig);
    assert_object(rig, "a", "bytes", 5);
}

static void a_lost_answer_is_no_conflict(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "one", 3);
    rig_settle(rig);
    rig_reset_counts(rig);
    rig->fault = lose_first_answer;
    worker_overwrite(rig, "a", "two!", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    rig_idle(rig);
    worker_overwrite(rig, "a", "three", 5);
    rig_settle(rig);
    assert_object(rig, "a", "three", 5);
}

static int fail_deletes(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_DELETE_BATCH && !after ? -EHOSTUNREACH : 0;
}

static void a_grave_outlives_a_failure(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "x", 1);
    rig_settle(rig);
    rig->fault = fail_deletes;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_wait(rig, rig->counts[CLOUD_DELETE_BATCH] == 1);
    rig_linger(rig);
    assert_int_equal(volume_pending(rig->volume), 1);
    assert_int_equal(rig->counts[CLOUD_DELETE_BATCH], 1);
    rig->fault = NULL;
    rig_reopen(rig);
    rig_settle(rig);
    assert_keys(rig, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_refusal_is_shown_and_tried_again),
        TEST(a_lost_answer_of_a_new_file),
        TEST(a_lost_answer_is_no_conflict),
        TEST(a_grave_outlives_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
