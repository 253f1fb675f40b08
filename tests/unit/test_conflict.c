/* Two sides change the same name: both versions survive, once each, and where only one side has anything to lose
 * there is no copy. The other side writes straight into the cloud. Crashes are test_upload_crash.c's. */
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

struct copies {
    unsigned n;
    uint64_t ino;
    char name[256];
};

static bool look_at(const struct index_inode *i, void *arg)
{
    struct copies *c = arg;

    if (strstr(i->name, " (conflict ")) {
        c->n++;
        c->ino = i->ino;
        (void)snprintf(c->name, sizeof(c->name), "%s", i->name);
    }
    return true;
}

static struct copies copies(struct rig *rig)
{
    struct copies c = { 0 };

    assert_int_equal(index_list(rig->volume->index, INDEX_ROOT, "", 0, look_at, &c), 0);
    return c;
}

static struct copies only_copy(struct rig *rig)
{
    struct copies c = copies(rig);

    assert_int_equal(c.n, 1);
    return c;
}

/* As a program reads it. */
static void assert_file(struct rig *rig, const char *name, const char *bytes)
{
    size_t n = strlen(bytes);
    char there[64];
    struct handle h;

    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, name), false, false, &h), 0);
    assert_int_equal(h.size, n);
    assert_int_equal(worker_read(rig, &h, 0, there, n), n);
    assert_memory_equal(there, bytes, n);
    worker_close(rig, &h);
}

/* Here and in the cloud: theirs under the name, ours (inode `ino`) beside it, and nothing that removes either. */
static void assert_both(struct rig *rig, const char *name, const char *theirs, uint64_t ino, const char *ours)
{
    struct copies c;

    rig_settle(rig);
    rig_linger(rig);
    c = only_copy(rig);
    assert_int_equal(c.ino, ino);
    assert_true(strncmp(c.name, name, strlen(name)) == 0);
    assert_object(rig, name, theirs, strlen(theirs));
    assert_object(rig, c.name, ours, strlen(ours));
    assert_file(rig, name, theirs);
    assert_file(rig, c.name, ours);
}

static void assert_no_copy(struct rig *rig, const char *keys)
{
    rig_settle(rig);
    rig_linger(rig);
    assert_int_equal(copies(rig).n, 0);
    assert_keys(rig, keys);
}

static int unreachable(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    (void)r;
    return after ? 0 : -EHOSTUNREACH;
}

static bool due_now(const struct index_inode *i, void *arg)
{
    uint64_t *inos = arg;

    inos[++inos[0]] = i->ino;
    return inos[0] < 15;
}

/* The network is back, and nobody waits until it would have been noticed. */
static void come_back(struct rig *rig)
{
    uint64_t inos[16] = { 0 };

    rig_idle(rig);
    rig->fault = NULL;
    assert_int_equal(index_due(rig->volume->index, INT64_MAX, 15, due_now, inos), 0);
    for (uint64_t n = 1; n <= inos[0]; n++)
        assert_int_equal(index_retry(rig->volume->index, inos[n], 0, NULL), 0);
    uploader_reached(rig->volume->uploader);
    rig->volume->uploader->graves_after_ns = 0;
    uploader_kick(rig->volume->uploader);
}

/* A file that is in the cloud and known here. */
static uint64_t base(struct rig *rig)
{
    uint64_t ino = worker_file(rig, "a", "base", 4);

    rig_settle(rig);
    return ino;
}

/* The same new name on both sides, ours while the network is gone. Its inode number here. */
static uint64_t both_make(struct rig *rig)
{
    uint64_t ino;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig->fault = unreachable;
    ino = worker_file(rig, "a", "ours", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    rig_put(rig, "a", "theirs", 6);
    return ino;
}

/* --- contents ---------------------------------------------------------------------------------------------- */

static void both_change_a_file(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = base(rig);

    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    assert_both(rig, "a", "theirs", ino, "ours");
}

static void both_make_a_file(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig_put(rig, "a", "theirs", 6);
    assert_both(rig, "a", "theirs", worker_file(rig, "a", "ours", 4), "ours");
}

static void both_make_a_file_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = both_make(rig);

    come_back(rig);
    assert_both(rig, "a", "theirs", ino, "ours");
}

static void both_change_a_file_in_parts(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    struct copies c;

    (void)base(rig);
    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", bytes, 20 * MIB);
    rig_settle(rig);
    c = only_copy(rig);
    assert_object(rig, c.name, bytes, 20 * MIB);
    assert_object(rig, "a", "theirs", 6);
    assert_int_equal(rig->counts[CLOUD_PART_ABORT], 1);
}

static void saved_as_editors_do_over_their_change(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    (void)base(rig);
    rig->fault = unreachable;
    ino = worker_file(rig, "a.new", "ours", 4);
    assert_int_equal(worker_rename(rig, "a.new", "a", 0), 0);
    rig_put(rig, "a", "theirs", 6);
    come_back(rig);
    assert_both(rig, "a", "theirs", ino, "ours");
}

static void removed_by_others(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = base(rig);

    rig_remove(rig, "a");
    worker_overwrite(rig, "a", "ours", 4);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "ours", 4);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), ino);
}

static void made_and_removed_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;

    (void)both_make(rig);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    come_back(rig);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
}

static void made_and_renamed_while_the_network_is_gone(void **state)
{
    struct rig *rig = *state;

    (void)both_make(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    come_back(rig);
    assert_no_copy(rig, "a b ");
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
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
}

static void both_make_a_link(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;
    struct copies c;

    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "l"), 0);
    rig_put(rig, "l", "theirs", 6);
    assert_int_equal(worker_symlink(rig, "l", "target"), 0);
    rig_settle(rig);
    c = only_copy(rig);
    assert_object(rig, "l", "theirs", 6);
    r = rig_stat(rig, c.name);
    assert_string_equal(r->object.meta.symlink, "target");
    cloud_request_free(r);
}

/* --- what is open -------------------------------------------------------------------------------------------- */

static void who_has_it_open_writes_on_into_the_copy(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = base(rig);
    struct handle h;

    rig_put(rig, "a", "theirs", 6);
    rig->hold[CLOUD_PUT] = true;
    worker_overwrite(rig, "a", "ours", 4);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    rig_release(rig);
    rig_wait(rig, copies(rig).n == 1);
    worker_write(rig, &h, 4, ", on", 4);
    worker_close(rig, &h);
    assert_both(rig, "a", "theirs", ino, "ours, on");
}

static void a_listing_does_not_hide_the_conflict(void **state)
{
    struct rig *rig = *state;
    CLEANUP(index_inode_done) struct index_inode root = { 0 };
    uint64_t ino = base(rig);
    struct handle h;

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
    worker_close(rig, &h);
    assert_both(rig, "a", "theirs", ino, "ours");
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static void renamed_here_and_changed_there(void **state)
{
    struct rig *rig = *state;

    (void)base(rig);
    rig->fault = unreachable;
    worker_overwrite(rig, "a", "ours", 4);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_put(rig, "a", "theirs", 6);
    come_back(rig);
    assert_no_copy(rig, "a b ");
    assert_object(rig, "a", "theirs", 6);
    assert_object(rig, "b", "ours", 4);
}

static void renamed_to_a_name_that_others_took(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = base(rig);

    rig->fault = unreachable;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_put(rig, "b", "theirs", 6);
    come_back(rig);
    assert_both(rig, "b", "theirs", ino, "base");
    assert_null(rig_object(rig, "a", &(size_t){ 0 }));
}

/* Whoever stands in the way has unsaved bytes, and its object is somebody else's by now. */
static void moved_out_of_the_way_and_changed_there(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    (void)base(rig);
    rig->fault = unreachable;
    worker_overwrite(rig, "a", "moved", 5);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    ino = worker_file(rig, "a", "new", 3);
    rig_put(rig, "a", "theirs", 6);
    come_back(rig);
    assert_both(rig, "a", "theirs", ino, "new");
    assert_object(rig, "b", "moved", 5);
}

static void the_copys_name_is_taken_too(void **state)
{
    struct rig *rig = *state;
    time_t now = time(NULL);
    char host[65] = "", name[CONFLICT_NAME_MAX + 1];
    uint64_t ino = base(rig);
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

/* --- metadata ---------------------------------------------------------------------------------------------------- */

static void other_metadata_goes_to_their_version(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = base(rig);
    struct cloud_request *r;

    rig->fault = unreachable;
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_put(rig, "a", "theirs", 6);
    come_back(rig);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "theirs", 6);
    assert_file(rig, "a", "theirs");
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mode & 07777, 0400);
    cloud_request_free(r);
}

static void other_metadata_brings_nothing_back(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = base(rig);

    rig->fault = unreachable;
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_remove(rig, "a");
    come_back(rig);
    assert_no_copy(rig, "");
}

/* --- our own, unheard of ---------------------------------------------------------------------------------- */

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
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    worker_overwrite(rig, "a", "other", 5);
    come_back(rig);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "other", 5);
    rig_reset_counts(rig);
    rig->fault = lose_answers;
    worker_overwrite(rig, "a", "three", 5);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    come_back(rig);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "three", 5);
}

static void our_own_parts_are_no_conflict(void **state)
{
    static enum cloud_op end = CLOUD_PART_END;
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    struct rig *rig = *state;

    (void)base(rig);
    rig->arg = &end;
    rig->fault = lose_answers;
    worker_overwrite(rig, "a", bytes, 20 * MIB);
    rig_wait(rig, rig->counts[CLOUD_PART_END] == 1);
    come_back(rig);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", bytes, 20 * MIB);
}

static void our_own_copy_is_no_conflict(void **state)
{
    static enum cloud_op copy = CLOUD_COPY;
    struct rig *rig = *state;

    (void)base(rig);
    (void)worker_file(rig, "b", "other", 5);
    rig_settle(rig);
    rig->arg = &copy;
    rig->fault = lose_answers;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_COPY] == 1);
    come_back(rig);
    assert_no_copy(rig, "b ");
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
    rig_wait(rig, rig->counts[CLOUD_COPY] == 1);
    come_back(rig);
    assert_no_copy(rig, "b ");
}

/* Put for a file that is no more by the time anybody can look. */
static void our_own_object_of_a_removed_file_is_no_conflict(void **state)
{
    static enum cloud_op put = CLOUD_PUT;
    struct rig *rig = *state;

    rig->arg = &put;
    rig->fault = lose_answers;
    (void)worker_file(rig, "a", "one", 3);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    rig_idle(rig);
    rig->fault = unreachable;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    (void)worker_file(rig, "a", "other", 5);
    come_back(rig);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "other", 5);
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
    ino = base(rig);
    worker_overwrite(rig, "a", "again", 5);
    assert_no_copy(rig, "a ");
    assert_object(rig, "a", "again", 5);
    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
    assert_both(rig, "a", "theirs", ino, "ours");
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
        TEST(removed_by_others),
        TEST(made_and_removed_while_the_network_is_gone),
        TEST(made_and_renamed_while_the_network_is_gone),
        TEST(removed_while_the_conflict_is_looked_at),
        TEST(both_make_a_link),
        TEST(who_has_it_open_writes_on_into_the_copy),
        TEST(a_listing_does_not_hide_the_conflict),
        TEST(renamed_here_and_changed_there),
        TEST(renamed_to_a_name_that_others_took),
        TEST(moved_out_of_the_way_and_changed_there),
        TEST(the_copys_name_is_taken_too),
        TEST(other_metadata_goes_to_their_version),
        TEST(other_metadata_brings_nothing_back),
        TEST(our_own_change_is_no_conflict),
        TEST(our_own_parts_are_no_conflict),
        TEST(our_own_copy_is_no_conflict),
        TEST(our_own_copy_without_metadata_is_no_conflict),
        TEST(our_own_object_of_a_removed_file_is_no_conflict),
        TEST(a_change_without_conditions),
        TEST(a_new_file_without_conditions),
        TEST(parts_without_conditions),
        FOLDER_TEST(both_change_a_file),
        FOLDER_TEST(both_make_a_file),
        FOLDER_TEST(both_make_a_link),
        FOLDER_TEST(saved_as_editors_do_over_their_change),
        FOLDER_TEST(renamed_here_and_changed_there),
        FOLDER_TEST(renamed_to_a_name_that_others_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
