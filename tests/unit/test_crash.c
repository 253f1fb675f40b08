/* A volume that is killed at every step of what test_upload_crash.c does not have: content given up, taken over and
 * written, pins, removals, conflict copies, other versions, listings against local changes, and coming up again after a
 * crash. */
#include "tests/unit/crash_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/evict.h"

static void assert_file(struct rig *rig, const char *name, const char *bytes)
{
    CLEANUP_FREE char *there = calloc(1, strlen(bytes) + 2);
    struct handle h;

    assert_int_equal(worker_open(rig, worker_find(rig, name), false, false, &h), 0);
    assert_int_equal(h.size, strlen(bytes));
    assert_int_equal(worker_read(rig, &h, 0, there, strlen(bytes) + 1), strlen(bytes));
    assert_string_equal(there, bytes);
    worker_close(rig, &h);
}

/* --- written ------------------------------------------------------------------------------------------------ */

/* Of others, or a listing would not believe for some seconds that it changed. */
static void known(struct rig *rig, const char *name, const char *bytes)
{
    rig_put(rig, name, bytes, strlen(bytes));
    rig_relist(rig, INDEX_ROOT);
    assert_file(rig, name, bytes);
}

static void one_file(struct rig *rig)
{
    known(rig, "a", "0123456789");
}

/* As a program hears of it: each write and each change of size is acknowledged by itself. */
static void write_here_and_there(struct rig *rig)
{
    struct handle h;

    assert_int_equal(worker_open(rig, worker_find(rig, "a"), true, false, &h), 0);
    worker_write(rig, &h, 2, "ab", 2);
    crash_acknowledge();
    worker_write(rig, &h, 10, "xyz", 3);
    crash_acknowledge();
    assert_int_equal(worker_truncate(rig, h.ino, 12), 0);
    crash_acknowledge();
    worker_close(rig, &h);
    crash_acknowledge();
    rig_settle(rig);
}

static const char *const written[] = { "0123456789", "01ab456789", "01ab456789xyz", "01ab456789xy", "01ab456789xy" };

static void what_was_acknowledged_or_one_more(struct rig *rig, unsigned acknowledged)
{
    CLEANUP_FREE char *there = NULL;
    size_t n;

    there = rig_object(rig, "a", &n);
    assert_non_null(there);
    if (strcmp(there, written[acknowledged]) != 0)
        assert_string_equal(there, written[acknowledged + 1]);
    assert_file(rig, "a", there);
}

static void a_file_is_written(void **state)
{
    static const struct crash_story s = { .before = one_file, .act = write_here_and_there,
                                          .after = what_was_acknowledged_or_one_more };

    (void)state;
    crash_everywhere(&s);
}

/* --- copied by the cloud -------------------------------------------------------------------------------------- */

enum { COPIED = CHUNK_COPIED_LEAST + 7 };

/* A new file becomes a copy of the object of others, and the copy's bytes are read. */
static void an_object_of_others(struct rig *rig)
{
    CLEANUP_FREE char *bytes = pattern(COPIED, 1);

    rig_put(rig, "a", bytes, COPIED);
    rig_relist(rig, INDEX_ROOT);
}

static void copy_it(struct rig *rig)
{
    CLEANUP_FREE char *bytes = pattern(COPIED, 1);
    Lf__FsCopy m = LF__FS_COPY__INIT;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "b", &h), 0);
    crash_acknowledge();
    m.ino = h.ino;
    m.source = worker_find(rig, "a");
    m.length = COPIED;
    assert_int_equal(worker_copy(rig, m, 7), COPIED);
    crash_acknowledge();
    worker_close(rig, &h);
    worker_assert_reads(rig, worker_find(rig, "b"), bytes, COPIED);
    rig_settle(rig);
}

static void it_is_empty_or_copied(struct rig *rig, unsigned acknowledged)
{
    CLEANUP_FREE char *bytes = pattern(COPIED, 1), *there = NULL;
    size_t n = 0;

    there = rig_object(rig, "b", &n);
    assert_true(there || acknowledged == 0);
    assert_true(n == COPIED || (n == 0 && acknowledged < 2));
    if (there)
        worker_assert_reads(rig, worker_find(rig, "b"), bytes, n);
    assert_int_equal(rig_files(rig), there ? 2 : 1);
    assert_int_equal(rig_uploads(rig), 0);
}

static void a_file_is_copied_by_the_cloud(void **state)
{
    static const struct crash_story s = { .before = an_object_of_others, .act = copy_it,
                                          .after = it_is_empty_or_copied };

    (void)state;
    crash_everywhere(&s);
}

/* --- names -------------------------------------------------------------------------------------------------- */

static void make_names(struct rig *rig)
{
    (void)worker_mkdir(rig, "d");
    crash_acknowledge();
    (void)worker_file(rig, "d/new", "new", 3);
    crash_acknowledge();
    assert_int_equal(worker_symlink(rig, "link", "d/new"), 0);
    crash_acknowledge();
    assert_int_equal(worker_rename(rig, "a", "d/a", 0), 0);
    crash_acknowledge();
    assert_int_equal(worker_rename(rig, "d", "e", 0), 0);
    crash_acknowledge();
    rig_settle(rig);
}

static bool is_there(struct rig *rig, const char *path)
{
    return worker_find(rig, path) != 0;
}

static void names_are_there(struct rig *rig, unsigned acknowledged)
{
    bool renamed = is_there(rig, "e");

    assert_int_equal(is_there(rig, "d") || renamed, acknowledged > 0 || is_there(rig, "d") || renamed);
    assert_true(acknowledged < 5 || renamed);
    if (acknowledged >= 2)
        assert_file(rig, renamed ? "e/new" : "d/new", "new");
    if (acknowledged >= 3)
        assert_true(is_there(rig, "link"));
    if (acknowledged >= 4 || !is_there(rig, "a"))
        assert_file(rig, renamed ? "e/a" : "d/a", "0123456789");
}

static void names_are_made(void **state)
{
    static const struct crash_story s = { .before = one_file, .act = make_names, .reopened = names_are_there,
                                          .after = names_are_there };

    (void)state;
    crash_everywhere(&s);
}

/* --- given up ------------------------------------------------------------------------------------------------ */

enum { FILES = 4, KIB = 1 << 10, LARGE = 512 * KIB, MANY = 10, CAP = 4 << 20 };

static char *name_of(char out[16], unsigned n)
{
    (void)snprintf(out, 16, "f%u", n);
    return out;
}

static void put_large(struct rig *rig, unsigned n)
{
    static char bytes[LARGE];
    char name[16];

    memset(bytes, (int)('a' + n), LARGE);
    rig_put(rig, name_of(name, n), bytes, LARGE);
}

static void read_whole(struct rig *rig, const char *name)
{
    CLEANUP_FREE char *bytes = calloc(1, LARGE);
    struct handle h;

    assert_int_equal(worker_open(rig, worker_find(rig, name), false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, bytes, LARGE), LARGE);
    worker_close(rig, &h);
}

/* Clean ones, one that is pinned, one that is not in the cloud. */
static void some_content(struct rig *rig)
{
    char name[16];

    for (unsigned n = 0; n < FILES; n++)
        put_large(rig, n);
    for (unsigned n = 0; n < FILES; n++)
        read_whole(rig, name_of(name, n));
    assert_int_equal(worker_set_pin(rig, worker_find(rig, "f0"), "1", 0), 0);
    rig_wait(rig, rig_is_kept(rig, worker_find(rig, "f0")));
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "dirty", "dirty", 5);
}

static void give_up_all(struct rig *rig)
{
    uint64_t freed = evict_some(rig->volume->cache, SPACE_KEEP, UINT64_MAX);

    assert_true(freed >= (FILES - 1) * LARGE);
}

static int no_reads(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_GET && !after ? -EHOSTUNREACH : 0;
}

static void pinned_and_dirty_are_here(struct rig *rig, unsigned acknowledged)
{
    (void)acknowledged;
    rig->fault = no_reads;
    read_whole(rig, "f0");
    assert_file(rig, "dirty", "dirty");
    rig->fault = NULL;
}

static void content_is_given_up(void **state)
{
    static const struct crash_story s = { .before = some_content, .act = give_up_all,
                                          .reopened = pinned_and_dirty_are_here, .after = pinned_and_dirty_are_here };

    (void)state;
    crash_everywhere(&s);
}

static void limited(struct rig *rig)
{
    rig->drive.has_maximum_cache_size = rig->drive.has_rotational_cache = true;
    rig->drive.maximum_cache_size = CAP;
    rig->drive.rotational_cache = true;
}

static void more_than_the_limit(struct rig *rig)
{
    for (unsigned n = 0; n < MANY; n++)
        put_large(rig, n);
    assert_true(is_there(rig, "f0"));
}

static void read_all(struct rig *rig)
{
    char name[16];

    for (unsigned n = 0; n < MANY; n++)
        read_whole(rig, name_of(name, n));
}

static void the_limit_holds(struct rig *rig, unsigned acknowledged)
{
    (void)acknowledged;
    assert_true(rig->volume->cache->space.used <= CAP);
    read_all(rig);
    assert_true(rig->volume->cache->space.used <= CAP);
}

static void more_is_read_than_there_is_room_for(void **state)
{
    static const struct crash_story s = { .prepare = limited, .before = more_than_the_limit, .act = read_all,
                                          .after = the_limit_holds };

    (void)state;
    crash_everywhere(&s);
}

/* --- pins ------------------------------------------------------------------------------------------------------ */

static void a_folder_of_others(struct rig *rig)
{
    rig_put(rig, "d/one", "one", 3);
    rig_put(rig, "d/two", "two", 3);
    assert_true(is_there(rig, "d/one"));
}

static void pin_and_unpin(struct rig *rig)
{
    uint64_t d = worker_find(rig, "d");

    assert_int_equal(worker_set_pin(rig, d, "1", 0), 0);
    crash_acknowledge();
    rig_wait(rig, rig_is_kept(rig, worker_find(rig, "d/one")) && rig_is_kept(rig, worker_find(rig, "d/two")));
    crash_acknowledge();
    assert_int_equal(worker_remove_pin(rig, d), 0);
    crash_acknowledge();
    (void)evict_some(rig->volume->cache, SPACE_KEEP, UINT64_MAX);
}

static void pins_are_as_acknowledged(struct rig *rig, unsigned acknowledged)
{
    bool pinned = worker_get_pin(rig, worker_find(rig, "d/one")) == 0;

    assert_true(pinned || acknowledged == 0 || acknowledged >= 2);
    assert_true(!pinned || acknowledged < 3);
    if (pinned)
        rig_wait(rig, rig_is_kept(rig, worker_find(rig, "d/one")) && rig_is_kept(rig, worker_find(rig, "d/two")));
}

static void a_folder_is_pinned_and_is_not(void **state)
{
    static const struct crash_story s = { .before = a_folder_of_others, .act = pin_and_unpin,
                                          .after = pins_are_as_acknowledged };

    (void)state;
    crash_everywhere(&s);
}

/* --- removed --------------------------------------------------------------------------------------------------- */

static const char *const removed[] = { "clean", "dirty", "far", "open", "d/f" };

static void things_to_remove(struct rig *rig)
{
    (void)worker_file(rig, "clean", "clean", 5);
    (void)worker_file(rig, "open", "open", 4);
    (void)worker_mkdir(rig, "d");
    (void)worker_file(rig, "d/f", "f", 1);
    rig_put(rig, "far", "far", 3);
    rig_settle(rig);
    rig_relist(rig, INDEX_ROOT);
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "dirty", "dirty", 5);
    (void)worker_file(rig, "stays", "stays", 5);
}

static void remove_them(struct rig *rig)
{
    struct handle h;

    assert_int_equal(worker_open(rig, worker_find(rig, "open"), true, false, &h), 0);
    for (size_t n = 0; n < ARRAY_SIZE(removed); n++) {
        assert_int_equal(worker_unlink(rig, removed[n]), 0);
        crash_acknowledge();
    }
    assert_int_equal(worker_rmdir(rig, "d"), 0);
    crash_acknowledge();
    worker_write(rig, &h, 0, "gone", 4);
    worker_close(rig, &h);
    rig_release(rig);
    rig_settle(rig);
}

static void what_was_removed_is_gone(struct rig *rig, unsigned acknowledged)
{
    for (size_t n = 0; n < ARRAY_SIZE(removed); n++)
        assert_true(n == acknowledged || is_there(rig, removed[n]) == (n > acknowledged));
    assert_true(acknowledged <= ARRAY_SIZE(removed) || !is_there(rig, "d"));
    assert_file(rig, "stays", "stays");
}

static void files_are_removed(void **state)
{
    static const struct crash_story s = { .before = things_to_remove, .act = remove_them,
                                          .reopened = what_was_removed_is_gone, .after = what_was_removed_is_gone };

    (void)state;
    crash_everywhere(&s);
}

static void a_large_file_on_its_way(struct rig *rig)
{
    CLEANUP_FREE char *bytes = calloc(17, 1 << 20);

    rig->hold[CLOUD_PART_END] = true;
    (void)worker_file(rig, "large", bytes, 17 << 20);
    rig_wait(rig, rig->n_held == 1);
}

static void remove_the_large_one(struct rig *rig)
{
    assert_int_equal(worker_unlink(rig, "large"), 0);
    crash_acknowledge();
    rig_release(rig);
    rig_settle(rig);
}

static void it_is_gone(struct rig *rig, unsigned acknowledged)
{
    assert_true(acknowledged == 0 || !is_there(rig, "large"));
}

static void a_file_is_removed_while_it_is_sent(void **state)
{
    static const struct crash_story s = { .before = a_large_file_on_its_way, .act = remove_the_large_one,
                                          .reopened = it_is_gone, .after = it_is_gone };

    (void)state;
    crash_everywhere(&s);
}

static void rename_the_large_one(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "large", "larger", 0), 0);
    crash_acknowledge();
    rig_release(rig);
    rig_settle(rig);
}

static void it_has_one_name(struct rig *rig, unsigned acknowledged)
{
    assert_true(acknowledged == 0 || is_there(rig, "larger"));
    assert_true(is_there(rig, "large") != is_there(rig, "larger"));
}

static void a_file_is_renamed_while_it_is_sent(void **state)
{
    static const struct crash_story s = { .before = a_large_file_on_its_way, .act = rename_the_large_one,
                                          .reopened = it_has_one_name, .after = it_has_one_name };

    (void)state;
    crash_everywhere(&s);
}

/* --- other versions ----------------------------------------------------------------------------------------------- */

static void another_version(struct rig *rig)
{
    one_file(rig);
    rig_put(rig, "a", "theirs", 6);
}

static void relist(struct rig *rig)
{
    rig_relist(rig, INDEX_ROOT);
}

static void theirs_is_here(struct rig *rig, unsigned acknowledged)
{
    (void)acknowledged;
    assert_file(rig, "a", "theirs");
}

static void another_version_is_taken_over(void **state)
{
    static const struct crash_story s = { .before = another_version, .act = relist, .after = theirs_is_here };

    (void)state;
    crash_everywhere(&s);
}

static void relist_with_a_reader(struct rig *rig)
{
    char there[11] = "";
    struct handle h;

    assert_int_equal(worker_open(rig, worker_find(rig, "a"), false, false, &h), 0);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(worker_read(rig, &h, 0, there, 10), 10);
    assert_string_equal(there, "0123456789");
    worker_close(rig, &h);
}

static void another_version_beside_a_reader(void **state)
{
    static const struct crash_story s = { .before = another_version, .act = relist_with_a_reader,
                                          .after = theirs_is_here };

    (void)state;
    crash_everywhere(&s);
}

static void another_version_of_what_is_not_here(struct rig *rig)
{
    one_file(rig);
    (void)evict_some(rig->volume->cache, SPACE_KEEP, UINT64_MAX);
    rig_put(rig, "a", "theirs", 6);
}

/* The first open finds the other version, upon which the kernel would look the name up again. */
static void open_it(struct rig *rig)
{
    struct handle h;
    int r = worker_open(rig, worker_find(rig, "a"), false, false, &h);

    if (r == -ESTALE)
        assert_file(rig, "a", "theirs");
    else
        worker_close(rig, &h);
}

static void another_version_is_found_by_opening(void **state)
{
    static const struct crash_story s = { .before = another_version_of_what_is_not_here, .act = open_it,
                                          .after = theirs_is_here };

    (void)state;
    crash_everywhere(&s);
}

static void overwrite_it(struct rig *rig)
{
    worker_overwrite(rig, "a", "ours", 4);
    crash_acknowledge();
    rig_settle(rig);
}

static void both_are_here(struct rig *rig, unsigned acknowledged)
{
    struct rig_copies c = rig_copies(rig);

    assert_file(rig, "a", "theirs");
    assert_int_equal(c.n, acknowledged ? 1 : c.n > 0);
    if (acknowledged)
        assert_file(rig, c.name, "ours");
}

static void both_sides_change_a_file(void **state)
{
    static const struct crash_story s = { .before = another_version, .act = overwrite_it, .after = both_are_here };

    (void)state;
    crash_everywhere(&s);
}

/* --- listings -------------------------------------------------------------------------------------------------- */

/* f0 is changed there, f1 removed, f2 changed here and removed there, f3 renamed, f4 removed here and changed there,
 * f5 changed on both sides; one is new on each side. */
static void changes_on_both_sides(struct rig *rig)
{
    char name[16];

    for (unsigned n = 0; n < 6; n++)
        known(rig, name_of(name, n), name_of(name, n));
    memset(rig->hold, true, sizeof(rig->hold));
    rig->hold[CLOUD_LIST] = false;
    worker_overwrite(rig, "f2", "ours", 4);
    assert_int_equal(worker_rename(rig, "f3", "g3", 0), 0);
    assert_int_equal(worker_unlink(rig, "f4"), 0);
    worker_overwrite(rig, "f5", "ours", 4);
    (void)worker_file(rig, "mine", "ours", 4);
    rig_put(rig, "f0", "theirs", 6);
    rig_remove(rig, "f1");
    rig_remove(rig, "f2");
    rig_put(rig, "f5", "theirs", 6);
    rig_put(rig, "other", "theirs", 6);
}

static void relist_and_send(struct rig *rig)
{
    rig_relist(rig, INDEX_ROOT);
    rig_release(rig);
    rig_settle(rig);
}

static void all_changes_are_here(struct rig *rig, unsigned acknowledged)
{
    struct rig_copies c = rig_copies(rig);

    (void)acknowledged;
    assert_file(rig, "f0", "theirs");
    assert_false(is_there(rig, "f1"));
    assert_file(rig, "f2", "ours");
    assert_false(is_there(rig, "f3"));
    assert_file(rig, "g3", "f3");
    assert_false(is_there(rig, "f4"));
    assert_file(rig, "f5", "theirs");
    assert_file(rig, "mine", "ours");
    assert_file(rig, "other", "theirs");
    assert_int_equal(c.n, 1);
    assert_file(rig, c.name, "ours");
}

static void a_listing_meets_changes_of_ours(void **state)
{
    static const struct crash_story s = { .before = changes_on_both_sides, .act = relist_and_send,
                                          .after = all_changes_are_here };

    (void)state;
    crash_everywhere(&s);
}

/* --- coming up again ------------------------------------------------------------------------------------------- */

static void crash_once(struct rig *rig)
{
    changes_on_both_sides(rig);
    rig_close(rig);
}

static void come_up_again(struct rig *rig)
{
    memset(rig->hold, 0, sizeof(rig->hold));
    rig_open(rig);
    rig_relist(rig, INDEX_ROOT);
    rig_settle(rig);
}

static void a_second_crash_while_it_comes_up(void **state)
{
    static const struct crash_story s = { .before = crash_once, .act = come_up_again, .after = all_changes_are_here };

    (void)state;
    crash_everywhere(&s);
}

/* What is left of all maps: nothing, or as long as they were in an earlier version. */
static void cut_maps(struct rig *rig, off_t size)
{
    char path[128];

    for (unsigned ino = INDEX_ROOT + 1; ino < 16; ino++) {
        (void)snprintf(path, sizeof(path), "%s/cache/%02x/%x.map", rig->dir, ino, ino);
        if (size)
            assert_true(truncate(path, size) == 0 || errno == ENOENT);
        else
            assert_true(unlink(path) == 0 || errno == ENOENT);
    }
}

static void lose_maps(struct rig *rig)
{
    crash_once(rig);
    cut_maps(rig, 0);
}

static void shorten_maps(struct rig *rig)
{
    crash_once(rig);
    cut_maps(rig, CHUNK_MAP_SIZE_1);
}

static void maps_are_made_anew(void **state)
{
    static const struct crash_story s = { .before = lose_maps, .act = come_up_again, .after = all_changes_are_here };

    (void)state;
    crash_everywhere(&s);
}

static void maps_are_made_longer(void **state)
{
    static const struct crash_story s = { .before = shorten_maps, .act = come_up_again, .after = all_changes_are_here };

    (void)state;
    crash_everywhere(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_written),
        cmocka_unit_test(a_file_is_copied_by_the_cloud),
        cmocka_unit_test(names_are_made),
        cmocka_unit_test(content_is_given_up),
        cmocka_unit_test(more_is_read_than_there_is_room_for),
        cmocka_unit_test(a_folder_is_pinned_and_is_not),
        cmocka_unit_test(files_are_removed),
        cmocka_unit_test(a_file_is_removed_while_it_is_sent),
        cmocka_unit_test(a_file_is_renamed_while_it_is_sent),
        cmocka_unit_test(another_version_is_taken_over),
        cmocka_unit_test(another_version_beside_a_reader),
        cmocka_unit_test(another_version_is_found_by_opening),
        cmocka_unit_test(both_sides_change_a_file),
        cmocka_unit_test(a_listing_meets_changes_of_ours),
        cmocka_unit_test(a_second_crash_while_it_comes_up),
        cmocka_unit_test(maps_are_made_anew),
        cmocka_unit_test(maps_are_made_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
