/* The uploader with names: renames in every order, new metadata, deletions. Few requests, and nothing is
 * overwritten that somebody still needs. */
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

enum { MIB = 1 << 20 };

static void set_capabilities(struct rig *rig, unsigned without)
{
    rig->cloud->capabilities &= ~without;
}

/* --- names --------------------------------------------------------------------------------------------------- */

static void a_rename_is_a_copy(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    uint64_t ino;

    rig_put(rig, "a", bytes, MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_fetch(rig, ino, 0, MIB), 0);
    rig_idle(rig);
    rig_reset_counts(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", bytes, MIB);
    assert_int_equal(rig->counts[CLOUD_COPY], 1);
    assert_int_equal(rig->counts[CLOUD_PUT] + rig->counts[CLOUD_GET], 0);
    assert_int_equal(worker_fetch(rig, ino, 0, MIB), 0);   /* what was cached still counts */
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void a_rename_there_and_back_is_nothing(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "x", 1);
    rig_settle(rig);
    rig_reset_counts(rig);
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_rename(rig, "b", "a", 0), 0);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", "x", 1);
}

static void a_new_file_under_the_old_name(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "old", 3);
    rig_settle(rig);
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    (void)worker_file(rig, "a", "new", 3);
    rig_linger(rig);
    assert_object(rig, "a", "old", 3);   /* it must not be overwritten before it was copied */
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a b ");
    assert_object(rig, "a", "new", 3);
    assert_object(rig, "b", "old", 3);
}

/* log.1 is still written to when the new log wants its place. */
static void an_open_file_makes_way(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    (void)worker_file(rig, "log", "one", 3);
    rig_settle(rig);
    rig->config->quiet_milliseconds = 3600 * 1000;
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "log"), true, false, &h), 0);
    worker_write(rig, &h, 3, " two", 4);
    assert_int_equal(worker_rename(rig, "log", "log.1", 0), 0);
    (void)worker_file(rig, "log", "three", 5);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 2);
    rig_idle(rig);
    assert_object(rig, "log", "three", 5);
    assert_object(rig, "log.1", "one", 3);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "log.1", "one two", 7);
    assert_keys(rig, "log log.1 ");
}

static void a_file_over_another(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "aaa", 3);
    (void)worker_file(rig, "b", "bbb", 3);
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", "aaa", 3);
}

/* What editors do: a new file is written beside and takes the name. */
static void a_new_file_over_another(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "old", 3);
    rig_settle(rig);
    for (unsigned n = 0; n < 3; n++) {
        (void)worker_file(rig, "a.new", "newer", 5);
        assert_int_equal(worker_rename(rig, "a.new", "a", 0), 0);
    }
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", "newer", 5);
}

static void the_old_object_stays_until_the_new_one_is_there(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "old", 3);
    rig_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "a.new", "newer", 5);
    assert_int_equal(worker_rename(rig, "a.new", "a", 0), 0);
    rig_wait(rig, rig->n_held > 0);
    rig_linger(rig);
    assert_object(rig, "a", "old", 3);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", "newer", 5);
}

static void two_swap(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "aaa", 3);
    (void)worker_file(rig, "b", "bbb", 3);
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "a", "b", RENAME_EXCHANGE), 0);
    rig_settle(rig);
    assert_keys(rig, "a b ");
    assert_object(rig, "a", "bbb", 3);
    assert_object(rig, "b", "aaa", 3);
}

static void a_circle_of_absent_files(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a", "aaa", 3);
    rig_put(rig, "b", "bbb", 3);
    rig_put(rig, "c", "ccc", 3);
    (void)worker_lookup(rig, INDEX_ROOT, "a");
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "a", "t", 0), 0);
    assert_int_equal(worker_rename(rig, "c", "a", 0), 0);
    assert_int_equal(worker_rename(rig, "b", "c", 0), 0);
    assert_int_equal(worker_rename(rig, "t", "b", 0), 0);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a b c ");
    assert_object(rig, "a", "ccc", 3);
    assert_object(rig, "b", "aaa", 3);
    assert_object(rig, "c", "bbb", 3);
}

static void links_and_directories_swap(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;

    assert_int_equal(worker_symlink(rig, "l", "one"), 0);
    assert_int_equal(worker_symlink(rig, "m", "two"), 0);
    (void)worker_mkdir(rig, "d");
    (void)worker_mkdir(rig, "e");
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "l", "m", RENAME_EXCHANGE), 0);
    assert_int_equal(worker_rename(rig, "d", "e", RENAME_EXCHANGE), 0);
    rig_settle(rig);
    assert_keys(rig, "d/ e/ l m ");
    r = rig_stat(rig, "l");
    assert_string_equal(r->object.meta.symlink, "two");
    cloud_request_free(r);
}

static void a_chain_moves_from_its_end(void **state)
{
    struct rig *rig = *state;
    char from[16], to[16];

    for (unsigned n = 1; n <= 9; n++) {
        snprintf(to, sizeof(to), "log.%u", n);
        (void)worker_file(rig, to, to, strlen(to));
    }
    rig_settle(rig);
    for (unsigned n = 9; n >= 1; n--) {
        snprintf(from, sizeof(from), "log.%u", n);
        snprintf(to, sizeof(to), "log.%u", n + 1);
        assert_int_equal(worker_rename(rig, from, to, 0), 0);
    }
    rig_settle(rig);
    for (unsigned n = 1; n <= 9; n++) {
        snprintf(from, sizeof(from), "log.%u", n);
        snprintf(to, sizeof(to), "log.%u", n + 1);
        assert_object(rig, to, from, strlen(from));
    }
    assert_keys(rig, "log.10 log.2 log.3 log.4 log.5 log.6 log.7 log.8 log.9 ");
}

static void a_directory_moves_with_what_is_in_it(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");
    struct handle h;
    char name[16];

    for (unsigned n = 0; n < 20; n++) {
        snprintf(name, sizeof(name), "f%02u", n);
        assert_int_equal(worker_create(rig, d, name, &h), 0);
        worker_write(rig, &h, 0, name, 3);
        worker_close(rig, &h);
    }
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "d", "e", 0), 0);
    rig_settle(rig);
    for (unsigned n = 0; n < 20; n++) {
        snprintf(name, sizeof(name), "e/f%02u", n);
        assert_object(rig, name, name + 2, 3);
    }
    {
        CLEANUP_FREE char *keys = rig_keys(rig);

        assert_null(strstr(keys, "d/"));
    }
}

static void a_rename_during_the_upload(void **state)
{
    struct rig *rig = *state;

    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "a", "bytes", 5);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    (void)worker_file(rig, "a", "other", 5);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a b ");
    assert_object(rig, "a", "other", 5);
    assert_object(rig, "b", "bytes", 5);
}

static void a_renamed_object_that_changed_moves_as_it_is(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a", "old", 3);
    (void)worker_lookup(rig, INDEX_ROOT, "a");
    rig_put(rig, "a", "newer", 5);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", "newer", 5);
}

static int refuse_source_conditions(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_COPY && r->if_match && !after ? -ESTALE : 0;
}

static void a_provider_that_compares_the_source_wrongly(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "bytes", 5);
    rig_settle(rig);
    rig->fault = refuse_source_conditions;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", "bytes", 5);
    assert_int_equal(rig->counts[CLOUD_COPY], 2);
}

static void a_cached_file_whose_object_vanished_goes_up_again(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "bytes", 5);
    rig_settle(rig);
    rig_remove(rig, "a");
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_object(rig, "b", "bytes", 5);
}

static void new_metadata_is_a_copy_onto_itself(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;
    uint64_t ino;

    rig_put(rig, "a", "bytes", 5);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_COPY], 1);
    assert_int_equal(rig->counts[CLOUD_PUT] + rig->counts[CLOUD_GET], 0);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mode & 07777, 0400);
    cloud_request_free(r);
    assert_object(rig, "a", "bytes", 5);
}

static void a_provider_that_cannot_copy(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    set_capabilities(rig, CLOUD_CAN_COPY);
    rig_put(rig, "a", "bytes", 5);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_COPY], 0);
    assert_keys(rig, "b ");
    assert_object(rig, "b", "bytes", 5);
}

static void what_is_too_large_is_copied_in_parts(void **state)
{
    struct rig *rig = *state;
    struct cloud_ops *ops = (struct cloud_ops *)(uintptr_t)rig->cloud->ops;
    struct cloud_meta meta = { .has_mode = true, .mode = S_IFREG | 0755 };
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    struct cloud_request *r;
    uint64_t ino;

    ops->limits.put_max = 18 * MIB;
    rig_put_with(rig, "a", bytes, 20 * MIB, &meta);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_forget_meta(rig, ino);
    assert_int_equal(worker_rename(rig, "a", "t", 0), 0);
    rig_settle(rig);
    r = rig_stat(rig, "t");
    assert_int_equal(r->object.meta.mode & 07777, 0755);   /* asked for, since the index did not know */
    cloud_request_free(r);
    assert_int_equal(worker_rename(rig, "t", "b", 0), 0);
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", bytes, 20 * MIB);
    assert_true(rig->counts[CLOUD_PART_COPY] > 0);
    assert_int_equal(rig->counts[CLOUD_COPY] + rig->counts[CLOUD_GET], 0);
    r = rig_stat(rig, "b");
    assert_int_equal(r->object.meta.mode & 07777, 0400);
    cloud_request_free(r);
}

static void a_provider_that_cannot_copy_parts(void **state)
{
    struct rig *rig = *state;
    struct cloud_ops *ops = (struct cloud_ops *)(uintptr_t)rig->cloud->ops;
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);

    ops->limits.put_max = 18 * MIB;
    set_capabilities(rig, CLOUD_CAN_COPY_PART);
    rig_put(rig, "a", bytes, 20 * MIB);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", bytes, 20 * MIB);
    assert_int_equal(rig->counts[CLOUD_PART_COPY] + rig->counts[CLOUD_COPY], 0);
}

/* --- graves ---------------------------------------------------------------------------------------------------- */

static void deletions_go_in_batches(void **state)
{
    struct rig *rig = *state;
    char name[16];

    for (unsigned n = 0; n < 30; n++) {
        snprintf(name, sizeof(name), "f%02u", n);
        (void)worker_file(rig, name, name, 3);
    }
    rig_settle(rig);
    rig->hold[CLOUD_DELETE_BATCH] = true;
    for (unsigned n = 0; n < 30; n++) {
        snprintf(name, sizeof(name), "f%02u", n);
        assert_int_equal(worker_unlink(rig, name), 0);
    }
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "");
    assert_true(rig->counts[CLOUD_DELETE_BATCH] <= 3);
}

static void deletions_one_by_one(void **state)
{
    struct rig *rig = *state;
    char name[16];

    set_capabilities(rig, CLOUD_CAN_BATCH_DELETE);
    for (unsigned n = 0; n < 30; n++) {
        snprintf(name, sizeof(name), "f%02u", n);
        (void)worker_file(rig, name, name, 3);
    }
    rig_settle(rig);
    for (unsigned n = 0; n < 30; n++) {
        snprintf(name, sizeof(name), "f%02u", n);
        assert_int_equal(worker_unlink(rig, name), 0);
    }
    rig_settle(rig);
    assert_keys(rig, "");
    assert_int_equal(rig->counts[CLOUD_DELETE], 30);
}

static void deleted_and_made_again(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "old", 3);
    rig_settle(rig);
    rig->hold[CLOUD_DELETE_BATCH] = true;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_wait(rig, rig->n_held == 1);
    (void)worker_file(rig, "a", "new", 3);
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 1);   /* not while the delete could still hit it */
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", "new", 3);
}

static void deleted_during_the_upload(void **state)
{
    struct rig *rig = *state;

    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "a", "bytes", 5);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "");
}

static void deleted_while_somebody_reads(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(2 * MIB, 1), *there = xcalloc(1, 2 * MIB);
    struct handle h;

    rig_put(rig, "a", bytes, 2 * MIB);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), false, false, &h), 0);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_linger(rig);
    assert_keys(rig, "a ");
    assert_int_equal(worker_read(rig, &h, 0, there, 2 * MIB), 2 * MIB);
    assert_memory_equal(there, bytes, 2 * MIB);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_keys(rig, "");
}

/* It should not come to that, and if it does, the grave is what is wrong. */
static void a_grave_does_not_take_what_is_lived_in(void **state)
{
    struct rig *rig = *state;
    struct index *x = rig->volume->index;

    (void)worker_file(rig, "a", "bytes", 5);
    rig_settle(rig);
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, index_bury(x, "a", NULL)), 0);
    uploader_kick(rig->volume->uploader);
    rig_linger(rig);
    assert_object(rig, "a", "bytes", 5);
}

static void a_directory_goes_with_its_marker(void **state)
{
    struct rig *rig = *state;

    (void)worker_mkdir(rig, "d");
    rig_settle(rig);
    assert_int_equal(worker_rmdir(rig, "d"), 0);
    rig_settle(rig);
    assert_keys(rig, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_rename_is_a_copy),
        TEST(a_rename_there_and_back_is_nothing),
        TEST(a_new_file_under_the_old_name),
        TEST(an_open_file_makes_way),
        TEST(a_file_over_another),
        TEST(a_new_file_over_another),
        TEST(the_old_object_stays_until_the_new_one_is_there),
        TEST(two_swap),
        TEST(a_circle_of_absent_files),
        TEST(links_and_directories_swap),
        TEST(a_chain_moves_from_its_end),
        TEST(a_directory_moves_with_what_is_in_it),
        TEST(a_rename_during_the_upload),
        TEST(a_renamed_object_that_changed_moves_as_it_is),
        TEST(a_provider_that_compares_the_source_wrongly),
        TEST(a_cached_file_whose_object_vanished_goes_up_again),
        TEST(new_metadata_is_a_copy_onto_itself),
        TEST(a_provider_that_cannot_copy),
        TEST(what_is_too_large_is_copied_in_parts),
        TEST(a_provider_that_cannot_copy_parts),
        TEST(deletions_go_in_batches),
        TEST(deletions_one_by_one),
        TEST(deleted_and_made_again),
        TEST(deleted_during_the_upload),
        TEST(deleted_while_somebody_reads),
        TEST(a_grave_does_not_take_what_is_lived_in),
        TEST(a_directory_goes_with_its_marker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
