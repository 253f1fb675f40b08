/* Conflicts that are not just two versions of a file: of a file that is not all here, of a file and a directory, and
 * with objects that look like our own; and the same change on both sides, which is none. */
#include "volume_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MIB = 1 << 20, LATER_MS = 5000 };

/* --- what is not all here -------------------------------------------------------------------------------- */

/* A MiB of which one byte in the middle was changed here and little else was ever read. */
static uint64_t partly_here(struct rig *rig, const char *bytes, struct handle *h)
{
    uint64_t ino;

    rig_put(rig, "a", bytes, MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_open(rig, ino, true, false, h), 0);
    assert_int_equal(worker_fetch(rig, ino, 8 * CHUNK_SIZE, 1), 0);
    rig_idle(rig);
    assert_int_not_equal(chunk_first_absent(h->map, 0, MIB), UINT64_MAX);
    return ino;
}

/* What their change took from us cannot be had any more; what was written here and what was read is kept, under the
 * copy's name, and theirs can be reached under its own. */
static void both_change_a_file_that_is_not_all_here(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1), *why = NULL;
    struct rig_copies c;
    struct handle h;
    uint64_t ino = partly_here(rig, bytes, &h);
    char byte;

    rig_put(rig, "a", "theirs", 6);
    worker_write(rig, &h, 8 * CHUNK_SIZE + 5, "!", 1);
    rig_release(rig);
    worker_close(rig, &h);
    rig_wait(rig, rig_copies(rig).n == 1);
    rig_wait(rig, (why = index_reason(rig->volume->index, ino)));
    c = rig_copies(rig);
    assert_int_equal(c.ino, ino);
    rig_assert_file(rig, "a", "theirs");
    assert_keys(rig, "a ");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(h.size, MIB);
    assert_int_equal(worker_read(rig, &h, 8 * CHUNK_SIZE + 5, &byte, 1), 1);
    assert_int_equal(byte, '!');
    assert_true(worker_read(rig, &h, 0, &byte, 1) < 0 || byte == bytes[0]);
    worker_close(rig, &h);
    rig_linger(rig);
    assert_int_equal(rig_copies(rig).n, 1);
    assert_int_equal(worker_truncate(rig, ino, 0), 0);   /* given up; it is a file like any other */
    rig_come_back(rig);
    rig_assert_both(rig, "a", "theirs", ino, "");
}

/* --- names of both kinds --------------------------------------------------------------------------------- */

static void list_root(struct rig *rig)
{
    CLEANUP(index_inode_done) struct index_inode root = { 0 };
    struct index *x = rig->volume->index;

    assert_int_equal(index_get(x, INDEX_ROOT, &root), 0);
    root.listed_ns = 1;
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, index_update(x, &root)), 0);
    rig_reset_counts(rig);
    (void)worker_lookup(rig, INDEX_ROOT, "nothing");
    rig_wait(rig, rig->counts[CLOUD_LIST] > 0);
    rig_idle(rig);
}

/* An upload that found the folder in its way would try again much later. */
static void list_before_sending(struct rig *rig)
{
    list_root(rig);
    rig->config->settle_milliseconds = 0;
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
}

static void they_made_it_a_directory(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);
    struct rig_copies c;

    rig->config->settle_milliseconds = LATER_MS;
    rig_remove(rig, "a");
    rig_put(rig, "a/b", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    list_before_sending(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.ino, ino);
    assert_object(rig, c.name, "ours", 4);
    assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "a"), "b"), 0);
}

static void both_make_it_one_a_directory(void **state)
{
    struct rig *rig = *state;
    struct rig_copies c;
    uint64_t ino;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig_put(rig, "a/b", "theirs", 6);
    rig->config->settle_milliseconds = LATER_MS;
    ino = worker_file(rig, "a", "ours", 4);
    list_before_sending(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.ino, ino);
    assert_object(rig, c.name, "ours", 4);
    assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "a"), "b"), 0);
}

/* Two keys like any others where the cloud has no folders. */
static void a_directory_and_a_file_are_no_conflict(void **state)
{
    struct rig *rig = *state;
    uint64_t changed = rig_base(rig), made;

    rig_remove(rig, "a");
    rig_put(rig, "a/b", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    rig_put(rig, "n/b", "theirs", 6);
    made = worker_file(rig, "n", "new", 3);
    rig_settle(rig);
    list_root(rig);
    rig_settle(rig);
    assert_int_equal(rig_copies(rig).n, 0);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a\u241b"), changed);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "n\u241b"), made);
    assert_object(rig, "a", "ours", 4);
    assert_object(rig, "n", "new", 3);
    assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "a"), "b"), 0);
    assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "n"), "b"), 0);
}

/* The cloud still has the directory only because we have not removed it yet. */
static void we_made_the_directory_a_file(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "a"), ino;

    rig_settle(rig);
    rig->hold[CLOUD_DELETE_BATCH] = true;
    assert_int_equal(worker_rmdir(rig, "a"), 0);
    ino = worker_file(rig, "a", "ours", 4);
    list_root(rig);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), ino);
    assert_int_not_equal(ino, d);
    rig_release(rig);
    rig_assert_no_copy(rig, "a ");
}

static void they_made_the_directory_a_file(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");
    struct handle h;

    assert_int_equal(worker_create(rig, d, "b", &h), 0);
    worker_close(rig, &h);
    rig_settle(rig);
    rig_remove(rig, "d/b");
    rig_remove(rig, "d/");
    rig_put(rig, "d", "theirs", 6);
    assert_int_equal(worker_open(rig, worker_lookup(rig, d, "b"), true, true, &h), 0);
    worker_write(rig, &h, 0, "ours", 4);
    worker_close(rig, &h);
    rig_settle(rig);
    list_root(rig);
    rig_settle(rig);
    assert_object(rig, "d", "theirs", 6);
    assert_object(rig, "d/b", "ours", 4);
    assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "d"), "b"), 0);
}

/* Ours waits: there is room for one of them only. */
static void they_made_the_folder_a_file(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");
    struct handle h;

    rig_settle(rig);
    rig_remove(rig, "d/");
    rig_put(rig, "d", "theirs", 6);
    assert_int_equal(worker_create(rig, d, "b", &h), 0);
    worker_write(rig, &h, 0, "ours", 4);
    worker_close(rig, &h);
    list_root(rig);
    rig_linger(rig);
    list_root(rig);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "d"), d);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "d\u241b"), 0);
    assert_int_not_equal(worker_lookup(rig, d, "b"), 0);
    assert_object(rig, "d", "theirs", 6);
    assert_in_range(rig->counts[CLOUD_PUT] + rig->counts[CLOUD_COPY], 0, 4);
}

/* --- others that look like ours -------------------------------------------------------------------------- */

/* Of the same length and time as ours: tools set times, and clocks tick every few milliseconds only. */
static void put_alike(struct rig *rig, const char *key, const char *bytes, uint64_t like)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cloud_meta meta = { .has_mtime = true };

    assert_int_equal(index_get(rig->volume->index, like, &i), 0);
    meta.mtime_ns = i.mtime_ns;
    rig_put_with(rig, key, bytes, i.size, &meta);
}

static void theirs_is_as_long_and_as_old_as_ours(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);

    rig->hold[CLOUD_PUT] = true;
    worker_overwrite(rig, "a", "ours..", 6);
    rig_wait(rig, rig->n_held == 1);
    put_alike(rig, "a", "theirs", ino);
    rig_release(rig);
    rig_assert_both(rig, "a", "theirs", ino, "ours..");
}

static void their_new_file_is_as_long_and_as_old_as_ours(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig->fault = rig_unreachable;
    ino = worker_file(rig, "a", "ours..", 6);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    put_alike(rig, "a", "theirs", ino);
    rig_come_back(rig);
    rig_assert_both(rig, "a", "theirs", ino, "ours..");
}

static void what_we_never_put_is_as_long_and_as_old_as_ours(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig->fault = rig_unreachable;
    ino = worker_file(rig, "a", "ours..", 6);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    put_alike(rig, "a", "theirs", ino);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
}

/* --- ours that look like others -------------------------------------------------------------------------- */

static int lose_an_end(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PART_END && after && rig->counts[CLOUD_PART_END] == 1 ? -ETIMEDOUT : 0;
}

/* And the file is changed again before anybody could find out. */
static void our_own_parts_of_an_earlier_state(struct rig *rig)
{
    CLEANUP_FREE char *first = pattern(20 * MIB, 2), *second = pattern(18 * MIB, 3);

    rig_reset_counts(rig);
    rig->fault = lose_an_end;
    if (worker_lookup(rig, INDEX_ROOT, "a"))
        worker_overwrite(rig, "a", first, 20 * MIB);
    else
        (void)worker_file(rig, "a", first, 20 * MIB);
    rig_wait(rig, rig->counts[CLOUD_PART_END] >= 1);
    rig_idle(rig);
    worker_overwrite(rig, "a", second, 18 * MIB);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", second, 18 * MIB);
}

static void our_own_parts_of_a_changed_file(void **state)
{
    (void)rig_base(*state);
    our_own_parts_of_an_earlier_state(*state);
}

static void our_own_parts_of_a_new_file(void **state)
{
    our_own_parts_of_an_earlier_state(*state);
}

/* What we removed ourselves has to go all the same, when the file that was to replace it went elsewhere. */
static void replaced_and_renamed_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;

    (void)rig_base(rig);
    rig->fault = rig_unreachable;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_reset_counts(rig);
    (void)worker_file(rig, "a", "ours", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_come_back(rig);
    rig_assert_no_copy(rig, "b ");
    assert_object(rig, "b", "ours", 4);
}

/* --- what is only read on ----------------------------------------------------------------------------------- */

/* Or the change would be lost with the version that goes when it is closed. */
static void a_version_that_lost_its_name_is_not_changed(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", "base", 4);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_put(rig, "a", "theirs", 6);
    list_root(rig);
    assert_int_not_equal(worker_lookup(rig, INDEX_ROOT, "a"), ino);
    assert_int_equal(worker_chmod(rig, ino, 0400), -ESTALE);
    assert_int_equal(worker_truncate(rig, ino, 1), -ESTALE);
    worker_close(rig, &h);
    rig_assert_file(rig, "a", "theirs");
}

/* What was removed here goes on being changed by whoever has it open. */
static void a_removed_file_is_changed_on(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    worker_close(rig, &h);
    rig_assert_no_copy(rig, "");
}

/* --- names that are none to be trusted ---------------------------------------------------------------------- */

static void both_make_a_file_whose_name_looks_like_a_format(void **state)
{
    struct rig *rig = *state;
    struct rig_copies c;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "%n%s"), 0);
    rig_put(rig, "%n%s", "theirs", 6);
    (void)worker_file(rig, "%n%s", "ours", 4);
    rig_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_object(rig, c.name, "ours", 4);
}

/* --- the same on both sides ------------------------------------------------------------------------------ */

static void the_same_change_twice_is_no_conflict(void **state)
{
    struct rig *rig = *state;

    (void)rig_base(rig);
    rig_put(rig, "a", "the same", 8);
    worker_overwrite(rig, "a", "the same", 8);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "the same", 8);
}

static void the_same_files_and_links_made_twice_are_no_conflict(void **state)
{
    struct cloud_meta link = { .symlink = (char *)(uintptr_t)"target" };
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig_put(rig, "a", "the same", 8);
    rig_put(rig, "empty", "", 0);
    rig_put_with(rig, "l", "", 0, &link);
    (void)worker_file(rig, "a", "the same", 8);
    (void)worker_file(rig, "empty", "", 0);
    assert_int_equal(worker_symlink(rig, "l", "target"), 0);
    rig_assert_no_copy(rig, "a empty l ");
}

/* A link is no empty file, although its object is. */
static void a_link_and_an_empty_file(void **state)
{
    struct cloud_meta link = { .symlink = (char *)(uintptr_t)"target" };
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "l"), 0);
    rig_put_with(rig, "l", "", 0, &link);
    (void)worker_file(rig, "l", "", 0);
    rig_settle(rig);
    assert_int_equal(rig_copies(rig).n, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
#define FOLDER_TEST(f) { "folder: " #f, f, rig_set_up_folder, rig_tear_down, NULL }
    const struct CMUnitTest tests[] = {
        TEST(both_change_a_file_that_is_not_all_here),
        FOLDER_TEST(they_made_it_a_directory),
        FOLDER_TEST(both_make_it_one_a_directory),
        TEST(a_directory_and_a_file_are_no_conflict),
        TEST(we_made_the_directory_a_file),
        TEST(they_made_the_directory_a_file),
        FOLDER_TEST(they_made_the_folder_a_file),
        TEST(theirs_is_as_long_and_as_old_as_ours),
        TEST(their_new_file_is_as_long_and_as_old_as_ours),
        TEST(what_we_never_put_is_as_long_and_as_old_as_ours),
        TEST(our_own_parts_of_a_changed_file),
        TEST(our_own_parts_of_a_new_file),
        TEST(replaced_and_renamed_while_the_network_is_gone),
        TEST(a_version_that_lost_its_name_is_not_changed),
        TEST(a_removed_file_is_changed_on),
        TEST(both_make_a_file_whose_name_looks_like_a_format),
        TEST(the_same_change_twice_is_no_conflict),
        TEST(the_same_files_and_links_made_twice_are_no_conflict),
        TEST(a_link_and_an_empty_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
