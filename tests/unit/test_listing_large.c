/* Listings of large directories: in ranges, and cut at objectsPerFolder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/volume_fixture.h"

static bool is_cut(struct fixture *f, const char *path)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    assert_int_equal(index_get(f->v->index, ino_of(f, path), &i), 0);
    return i.cut;
}

/* --- ranges --------------------------------------------------------------------------------------------------- */

enum { PLENTY = 9000 };

static void have_plenty(struct fixture *f, int step, const char *end)
{
    char key[64];

    for (int n = 0; n < PLENTY; n += step) {
        snprintf(key, sizeof(key), "file%05d%s", n, end);
        cloud_has(f, key, "1");
    }
}

struct plenty { size_t files, folders; bool right; };

static bool count_plenty(const struct index_inode *i, void *arg)
{
    struct plenty *p = arg;

    p->files += !S_ISDIR(i->mode);
    p->folders += S_ISDIR(i->mode);
    p->right = p->right && (S_ISDIR(i->mode) || i->size == 1);
    return true;
}

static void assert_plenty(struct fixture *f, size_t files, size_t folders)
{
    struct plenty p = { .right = true };

    assert_int_equal(index_list(f->v->index, INDEX_ROOT, "", 0, count_plenty, &p), 0);
    assert_int_equal(p.files, files);
    assert_int_equal(p.folders, folders);
    assert_true(p.right);
}

/* All of it changes: some of each range go, some come, some are other objects now, and folders lie on the borders. */
static void change_plenty(struct fixture *f)
{
    char key[64];

    for (int n = 0; n < PLENTY; n += 3) {
        snprintf(key, sizeof(key), "file%05d", n);
        cloud_lost(f, key);
    }
    have_plenty(f, 100, "-new");
    have_plenty(f, 500, "/below");
    cloud_has(f, "a", "1");
    cloud_has(f, "z/z", "1");
}

/* Requests until the directory is listed again. */
static unsigned list_again(struct fixture *f)
{
    unsigned before = f->seen[CLOUD_LIST];

    assert_int_equal(relist(f, INDEX_ROOT), 0);
    return f->seen[CLOUD_LIST] - before;
}

static void test_ranges(void **state)
{
    struct fixture *f = *state;

    have_plenty(f, 1, "");
    assert_int_equal(list_again(f), 9);
    assert_plenty(f, PLENTY, 0);
    assert_in_range(list_again(f), 10, 16);
    assert_plenty(f, PLENTY, 0);
    change_plenty(f);
    assert_in_range(list_again(f), 7, 16);
    assert_plenty(f, PLENTY - PLENTY / 3 + PLENTY / 100 + 1, PLENTY / 500 + 1);
    assert_int_equal(list_again(f) > 7, true);
    assert_plenty(f, PLENTY - PLENTY / 3 + PLENTY / 100 + 1, PLENTY / 500 + 1);
}

static void test_a_range_that_fails(void **state)
{
    struct fixture *f = *state;

    have_plenty(f, 1, "");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    change_plenty(f);
    f->fail_op = CLOUD_LIST;
    f->fail_code = -EACCES;
    f->fail_after = 4;
    assert_int_equal(relist(f, INDEX_ROOT), -EACCES);
    assert_true(exists(f, "file00000") || exists(f, "file00000␛"));
    f->fail_code = 0;
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_plenty(f, PLENTY - PLENTY / 3 + PLENTY / 100 + 1, PLENTY / 500 + 1);
}

static struct cloud_ops spoiled;
static const struct cloud_ops *sound;

/* Like a server that does not know start-after. */
static void submit_from_the_start(struct cloud *c, struct cloud_request *r)
{
    if (r->op == CLOUD_LIST)
        cloud_request_set(&r->start_after, NULL);
    sound->submit(c, r);
}

static void test_a_server_without_ranges(void **state)
{
    struct fixture *f = *state;

    have_plenty(f, 1, "");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    change_plenty(f);
    sound = f->cloud->ops;
    spoiled = *sound;
    spoiled.submit = submit_from_the_start;
    f->cloud->ops = &spoiled;
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_true(f->v->lister->unordered);
    assert_plenty(f, PLENTY - PLENTY / 3 + PLENTY / 100 + 1, PLENTY / 500 + 1);
    f->cloud->ops = sound;
}

/* --- objectsPerFolder ---------------------------------------------------------------------------------------- */

static void set_limit(struct fixture *f, int32_t limit)
{
    f->drive.has_objects_per_folder = true;
    f->drive.objects_per_folder = limit;
    volume_configure(f->v, &f->drive);
}

static void test_cut(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "d/", "");
    for (char key[] = "d/a"; key[2] <= 'h'; key[2]++)
        cloud_has(f, key, "1");
    cloud_has(f, "d/c/below", "1");
    set_limit(f, 4);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_false(is_cut(f, "d") || index_cut_below(f->v->index, INDEX_ROOT));
    assert_int_equal(relist(f, ino_of(f, "d")), 0);
    assert_string_equal(ask_names(f, ino_of(f, "d"), 10), "a b c␛ c");
    assert_true(is_cut(f, "d") && index_cut_below(f->v->index, INDEX_ROOT));
    set_limit(f, 9);
    assert_int_equal(relist(f, ino_of(f, "d")), 0);
    assert_false(is_cut(f, "d"));
    assert_string_equal(ask_names(f, ino_of(f, "d"), 10), "a b c␛ c d e f g h");
}

/* Whatever is not in it may be behind its end. */
static void test_cut_takes_nothing_away(void **state)
{
    struct fixture *f = *state;
    uint64_t made;

    cloud_has(f, "a", "1");
    cloud_has(f, "m/x", "1");
    cloud_has(f, "z", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(ask_create(f, INDEX_ROOT, "y", &made), 0);
    cloud_lost(f, "a");
    cloud_lost(f, "m/x");
    cloud_lost(f, "z");
    for (char key[] = "f0"; key[1] <= '9'; key[1]++)
        cloud_has(f, key, "1");
    set_limit(f, 2);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "a z m y f0 f1");
    set_limit(f, 0);
    wait_until(f, pending_of(f, "y") == 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 20), "y f0 f1 f2 f3 f4 f5 f6 f7 f8 f9");
}

/* What is not shown must not vanish with the rest, nor be left behind. */
static void test_cut_is_not_empty(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "d/a", "1");
    cloud_has(f, "d/b", "1");
    cloud_has(f, "top/d/a", "1");
    cloud_has(f, "top/d/b", "1");
    set_limit(f, 1);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    set_limit(f, 2);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    set_limit(f, 1);
    assert_int_equal(relist(f, ino_of(f, "d")), 0);
    assert_int_equal(relist(f, ino_of(f, "top")), 0);
    assert_int_equal(relist(f, ino_of(f, "top/d")), 0);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "top", INDEX_ROOT, "up", 0), -EOPNOTSUPP);
    assert_int_equal(ask_unlink(f, ino_of(f, "d"), "a"), 0);
    assert_string_equal(ask_names(f, ino_of(f, "d"), 10), "");
    assert_int_equal(ask_rmdir(f, INDEX_ROOT, "d"), -ENOTEMPTY);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "d", INDEX_ROOT, "e", 0), -EOPNOTSUPP);
    set_limit(f, 0);
    wait_until(f, !cloud_holds(f, "d/a"));
    assert_int_equal(relist(f, ino_of(f, "d")), 0);
    assert_string_equal(ask_names(f, ino_of(f, "d"), 10), "b");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "d", INDEX_ROOT, "e", 0), 0);
}

/* Nobody would ask for the rest of what lies where the folder was. */
static void test_renamed_unlisted_is_whole(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "top/d/a", "1");
    cloud_has(f, "top/d/b", "1");
    cloud_has(f, "top/d/c/x", "1");
    set_limit(f, 1);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "top", INDEX_ROOT, "up", 0), 0);
    wait_until(f, cloud_holds(f, "up/d/a") && cloud_holds(f, "up/d/b") && cloud_holds(f, "up/d/c/x"));
    wait_until(f, !cloud_holds(f, "top/d/a") && !cloud_holds(f, "top/d/b") && !cloud_holds(f, "top/d/c/x"));
    assert_string_equal(ask_names(f, ino_of(f, "up/d"), 10), "a b c");
    assert_int_equal(relist(f, ino_of(f, "up/d")), 0);
    assert_true(is_cut(f, "up/d"));
    assert_string_equal(ask_names(f, ino_of(f, "up/d"), 10), "a b c");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ranges),
        TEST(test_a_range_that_fails),
        TEST(test_a_server_without_ranges),
        TEST(test_cut),
        TEST(test_cut_takes_nothing_away),
        TEST(test_cut_is_not_empty),
        TEST(test_renamed_unlisted_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
