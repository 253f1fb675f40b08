/* Two sides change the same name: both versions survive, once each. The other side writes straight into the cloud.
 * Where only one side has anything to lose is test_conflict_none.c's, crashes are test_upload_crash.c's. */
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
#include "syncd/conflict.h"

enum { MIB = 1 << 20 };

/* --- the name ---------------------------------------------------------------------------------------------- */

static const struct tm NOON = { .tm_year = 126, .tm_mon = 0, .tm_mday = 2, .tm_hour = 12, .tm_min = 3, .tm_sec = 4 };

static void the_name_of_a_copy(void **state)
{
    static const struct { const char *name, *host; unsigned n; const char *copy; } rows[] = {
        { "a.txt", "host", 1, "a (conflict host 2026-01-02 12-03-04).txt" },
        { "a", "host", 1, "a (conflict host 2026-01-02 12-03-04)" },
        { "a.txt", "host", 2, "a (conflict host 2026-01-02 12-03-04 2).txt" },
        { "a.tar.gz", "host", 1, "a.tar (conflict host 2026-01-02 12-03-04).gz" },
        { ".hidden", "host", 1, ".hidden (conflict host 2026-01-02 12-03-04)" },
        { ".hidden.txt", "host", 1, ".hidden (conflict host 2026-01-02 12-03-04).txt" },
        { "a.", "host", 1, "a (conflict host 2026-01-02 12-03-04)." },
        { "a", "h/o\ns\xc3\xbct.Example_1-2", 1, "a (conflict h-o-s--t.Example_1-2 2026-01-02 12-03-04)" },
    };
    char out[CONFLICT_NAME_MAX + 1];

    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        assert_int_equal(conflict_name(rows[n].name, rows[n].host, &NOON, rows[n].n, CONFLICT_NAME_MAX, out), 0);
        assert_string_equal(out, rows[n].copy);
    }
}

/* n times `what`, then `end`. Owned by the caller. */
static char *repeated(const char *what, size_t n, const char *end)
{
    char *s = xcalloc(1, n * strlen(what) + strlen(end) + 1);

    while (n--)
        strcat(s, what);
    return strcat(s, end);
}

static void a_long_name_is_cut_between_characters(void **state)
{
    static const char mark[] = " (conflict host 2026-01-02 12-03-04)";
    CLEANUP_FREE char *letters = repeated("x", 251, ".txt"), *tail = repeated("\xc3\xbc", 120, ".text");
    CLEANUP_FREE char *umlauts = repeated("x", 1, tail), *end = repeated("y", 240, ""), *dots = repeated("x.", 1, end);
    char out[CONFLICT_NAME_MAX + 1];

    (void)state;
    assert_int_equal(conflict_name(letters, "host", &NOON, 1, 255, out), 0);
    assert_int_equal(strlen(out), 255);
    assert_string_equal(out + 255 - strlen(mark) - 4, " (conflict host 2026-01-02 12-03-04).txt");
    assert_int_equal(conflict_name(umlauts, "host", &NOON, 1, 255, out), 0);
    assert_int_equal(strlen(out), 254);   /* half a character would have had room */
    assert_memory_equal(out + 254 - strlen(mark) - 7, "\xc3\xbc", 2);
    assert_int_equal(conflict_name(dots, "host", &NOON, 1, 255, out), 0);   /* no extension as long as that */
    assert_int_equal(strlen(out), 255);
    assert_string_equal(out + 255 - strlen(mark), mark);
    assert_int_equal(conflict_name("abc.txt", "host", &NOON, 1, strlen(mark) + 5, out), 0);
    assert_string_equal(out, "a (conflict host 2026-01-02 12-03-04).txt");
    assert_int_equal(conflict_name("abc", "host", &NOON, 1, strlen(mark), out), -ENAMETOOLONG);
    assert_int_equal(conflict_name("\xc3\xbc", "host", &NOON, 1, strlen(mark) + 1, out), -ENAMETOOLONG);
}

/* --- what is found ------------------------------------------------------------------------------------------ */

/* --- contents ---------------------------------------------------------------------------------------------- */

static void both_change_a_file(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);

    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    rig_assert_both(rig, "a", "theirs", ino, "ours");
}

static void both_make_a_file(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig_put(rig, "a", "theirs", 6);
    rig_assert_both(rig, "a", "theirs", worker_file(rig, "a", "ours", 4), "ours");
}

static void both_make_a_file_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig->fault = rig_unreachable;
    ino = worker_file(rig, "a", "ours", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] >= 1);
    rig_put(rig, "a", "theirs", 6);
    rig_come_back(rig);
    rig_assert_both(rig, "a", "theirs", ino, "ours");
}

static void both_change_a_file_in_parts(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    struct rig_copies c;

    (void)rig_base(rig);
    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", bytes, 20 * MIB);
    rig_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_object(rig, c.name, bytes, 20 * MIB);
    assert_object(rig, "a", "theirs", 6);
    assert_int_equal(rig->counts[CLOUD_PART_ABORT], 1);
}

static void saved_as_editors_do_over_their_change(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    (void)rig_base(rig);
    rig->fault = rig_unreachable;
    ino = worker_file(rig, "a.new", "ours", 4);
    assert_int_equal(worker_rename(rig, "a.new", "a", 0), 0);
    rig_put(rig, "a", "theirs", 6);
    rig_come_back(rig);
    rig_assert_both(rig, "a", "theirs", ino, "ours");
}

static void both_make_a_link(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;
    struct rig_copies c;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "l"), 0);
    rig_put(rig, "l", "theirs", 6);
    assert_int_equal(worker_symlink(rig, "l", "target"), 0);
    rig_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_object(rig, "l", "theirs", 6);
    r = rig_stat(rig, c.name);
    assert_string_equal(r->object.meta.symlink, "target");
    cloud_request_free(r);
}

/* --- what is open -------------------------------------------------------------------------------------------- */

static void who_has_it_open_writes_on_into_the_copy(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);
    struct handle h;

    rig_put(rig, "a", "theirs", 6);
    rig->hold[CLOUD_PUT] = true;
    worker_overwrite(rig, "a", "ours", 4);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    rig_release(rig);
    rig_wait(rig, rig_copies(rig).n == 1);
    worker_write(rig, &h, 4, ", on", 4);
    worker_close(rig, &h);
    rig_assert_both(rig, "a", "theirs", ino, "ours, on");
}

static void a_listing_does_not_hide_the_conflict(void **state)
{
    struct rig *rig = *state;
    CLEANUP(index_inode_done) struct index_inode root = { 0 };
    uint64_t ino = rig_base(rig);
    struct handle h;

    rig->hold[CLOUD_PUT] = true;   /* on a machine that is slow it may be sent before it is closed */
    assert_int_equal(worker_open(rig, ino, true, true, &h), 0);
    worker_write(rig, &h, 0, "ours", 4);
    rig_put(rig, "a", "theirs", 6);
    assert_int_equal(index_get(rig->volume->index, INDEX_ROOT, &root), 0);
    root.listed_ns = 1;
    assert_int_equal(index_begin(rig->volume->index), 0);
    assert_int_equal(index_end(rig->volume->index, index_update(rig->volume->index, &root)), 0);
    rig_reset_counts(rig);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), ino);
    assert_int_equal(rig->counts[CLOUD_LIST], 1);
    rig_release(rig);
    worker_close(rig, &h);
    rig_assert_both(rig, "a", "theirs", ino, "ours");
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static void renamed_to_a_name_that_others_took(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = rig_base(rig);

    rig->fault = rig_unreachable;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_put(rig, "b", "theirs", 6);
    rig_come_back(rig);
    rig_assert_both(rig, "b", "theirs", ino, "base");
    assert_null(rig_object(rig, "a", &(size_t){ 0 }));
}

/* Whoever stands in the way has unsaved bytes, and its object is somebody else's by now. */
static void moved_out_of_the_way_and_changed_there(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    (void)rig_base(rig);
    rig->fault = rig_unreachable;
    worker_overwrite(rig, "a", "moved", 5);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    ino = worker_file(rig, "a", "new", 3);
    rig_put(rig, "a", "theirs", 6);
    rig_come_back(rig);
    rig_assert_both(rig, "a", "theirs", ino, "new");
    assert_object(rig, "b", "moved", 5);
}

static void the_copys_name_is_taken_too(void **state)
{
    struct rig *rig = *state;
    time_t now = time(NULL);
    char host[65] = "", name[CONFLICT_NAME_MAX + 1];
    uint64_t ino = rig_base(rig);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct tm when;

    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    for (time_t t = now; t < now + 30; t++) {
        assert_non_null(localtime_r(&t, &when));
        assert_int_equal(conflict_name("a", host, &when, 1, sizeof(name) - 1, name), 0);
        (void)worker_file(rig, name, "x", 1);
    }
    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    rig_settle(rig);
    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    assert_string_equal(i.name + strlen(i.name) - 3, " 2)");
    assert_object(rig, i.name, "ours", 4);
}

/* --- providers without conditions ------------------------------------------------------------------------- */

static void without_conditions(struct rig *rig)
{
    rig->cloud->capabilities &= ~(unsigned)(CLOUD_CAN_IF_MATCH | CLOUD_CAN_IF_NONE_MATCH);
}

static void a_change_without_conditions(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    without_conditions(rig);
    ino = rig_base(rig);
    worker_overwrite(rig, "a", "again", 5);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", "again", 5);
    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    rig_assert_both(rig, "a", "theirs", ino, "ours");
}

static void a_new_file_without_conditions(void **state)
{
    without_conditions(*state);
    both_make_a_file(state);
}

static void parts_without_conditions(void **state)
{
    without_conditions(*state);
    both_change_a_file_in_parts(state);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
#define FOLDER_TEST(f) { "folder: " #f, f, rig_set_up_folder, rig_tear_down, NULL }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_of_a_copy),
        cmocka_unit_test(a_long_name_is_cut_between_characters),
        TEST(both_change_a_file),
        TEST(both_make_a_file),
        TEST(both_make_a_file_while_the_network_is_gone),
        TEST(both_change_a_file_in_parts),
        TEST(saved_as_editors_do_over_their_change),
        TEST(both_make_a_link),
        TEST(who_has_it_open_writes_on_into_the_copy),
        TEST(a_listing_does_not_hide_the_conflict),
        TEST(renamed_to_a_name_that_others_took),
        TEST(moved_out_of_the_way_and_changed_there),
        TEST(the_copys_name_is_taken_too),
        TEST(a_change_without_conditions),
        TEST(a_new_file_without_conditions),
        TEST(parts_without_conditions),
        FOLDER_TEST(both_change_a_file),
        FOLDER_TEST(both_make_a_file),
        FOLDER_TEST(both_make_a_link),
        FOLDER_TEST(saved_as_editors_do_over_their_change),
        FOLDER_TEST(renamed_to_a_name_that_others_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
