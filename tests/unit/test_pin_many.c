/* Pins of many files and directories, most of which need nothing: as many as there may be, on a small stack; and pins of
 * a drive that is closed. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MANY = 600, STACK_BYTES = 256 << 10 };

static void pin(struct rig *rig, const uint64_t *inos, size_t n)
{
    struct index *x = rig->volume->index;

    assert_int_equal(index_begin(x), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(index_pin(x, inos[i], true), 0);
    assert_int_equal(index_end(x, 0), 0);
    keeper_kick(rig->volume);
}

static bool all_kept(struct rig *rig)
{
    uint64_t ino;

    return index_pinned_lacking(rig->volume->index, 0, &ino, 1) == 0;
}

static void files_that_are_here_are_kept(void **state)
{
    struct rig *rig = *state;
    uint64_t dir = worker_mkdir(rig, "d");
    char name[32];

    for (unsigned n = 0; n < MANY; n++) {
        (void)snprintf(name, sizeof(name), "d/%u", n);
        (void)worker_file(rig, name, "x", 1);
    }
    rig_settle(rig);
    rig_reset_counts(rig);
    pin(rig, &dir, 1);
    rig_wait(rig, all_kept(rig));
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void directories_that_are_known_are_passed(void **state)
{
    struct rig *rig = *state;
    uint64_t inos[MANY + 1];
    char name[32];

    for (unsigned n = 0; n < MANY; n++) {
        (void)snprintf(name, sizeof(name), "%u", n);
        inos[n] = worker_mkdir(rig, name);
    }
    inos[MANY] = worker_file(rig, "more", "x", 1);
    rig_settle(rig);
    pin(rig, inos, MANY + 1);
    rig_wait(rig, all_kept(rig));   /* the file comes after all directories */
}

/* Of the two directories below one cannot be listed, and the other's listing is under way. */
static int fail_one_hold_the_other(struct rig *rig, const struct cloud_request *r, bool after)
{
    if (after || r->op != CLOUD_LIST || strcmp(r->prefix, "p/") == 0)
        return 0;
    rig->hold[CLOUD_LIST] = true;
    return -EACCES;
}

static void closing_while_a_tree_is_listed(void **state)
{
    struct rig *rig = *state;
    uint64_t dir;

    rig_put(rig, "p/a/1", "x", 1);
    rig_put(rig, "p/b/1", "x", 1);
    dir = worker_lookup(rig, INDEX_ROOT, "p");
    rig->fault = fail_one_hold_the_other;
    pin(rig, &dir, 1);
    rig_wait(rig, rig->n_held == 1);
    rig_linger(rig);
    rig_reopen(rig);
}

static int small_stack(void **state)
{
    struct rlimit limit;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_STACK, &limit), 0);
    limit.rlim_cur = STACK_BYTES;
    return setrlimit(RLIMIT_STACK, &limit);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_that_are_here_are_kept, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(directories_that_are_known_are_passed, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(closing_while_a_tree_is_listed, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, small_stack, NULL);
}
