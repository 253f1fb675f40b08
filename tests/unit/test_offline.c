/* What the API makes offline and ends: what comes and stays, what goes and what does not. */
#include "rig_folder.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_use.h"

enum { MANY = 150 };

static struct error make(struct rig *rig, uint64_t ino)
{
    struct answered a = { 0 };

    volume_make_offline(rig->volume, ino, on_done, &a);
    rig_wait(rig, a.done);
    return a.e;
}

/* Until the copies are gone, too. */
static struct error end(struct rig *rig, uint64_t ino)
{
    struct answered a = { 0 };

    volume_remove_offline(rig->volume, ino, on_done, &a);
    rig_wait(rig, a.done && LIST_EMPTY(&rig->volume->releases));
    return a.e;
}

static void read_whole(struct rig *rig, uint64_t ino, const char *bytes, size_t size)
{
    CLEANUP_FREE char *there = xcalloc(1, size);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, there, size), size);
    assert_memory_equal(there, bytes, size);
    worker_close(rig, &h);
}

static struct folder known_files(struct rig *rig)
{
    struct folder t = some_files(rig);

    find_files(rig, &t);
    return t;
}

static void a_folder_comes_and_goes(void **state)
{
    struct rig *rig = *state;
    struct folder t = known_files(rig);

    read_whole(rig, t.other, t.bytes, MIB);
    assert_int_equal(make(rig, t.dir).code, 0);
    assert_int_equal(make(rig, t.dir).code, 0);
    rig_wait(rig, rig_is_kept(rig, t.one) && rig_is_kept(rig, t.two));
    assert_int_equal(make(rig, t.two).code, 0);      /* by itself as well */
    assert_int_equal(make(rig, t.other).code, 0);
    assert_int_equal(end(rig, t.dir).code, 0);
    assert_false(is_here(rig, t.one) || is_here(rig, t.two));
    assert_int_equal(worker_get_pin(rig, t.two), -ENODATA);
    assert_true(is_here(rig, t.other));              /* is not below */
    assert_int_equal(worker_get_pin(rig, t.other), 0);
    assert_int_equal(end(rig, t.dir).code, 0);
    read_whole(rig, t.one, t.bytes, LARGE);          /* as ever */
    rig_settle(rig);
    free(t.bytes);
}

static void it_lasts(void **state)
{
    struct rig *rig = *state;
    struct folder t = known_files(rig);

    assert_int_equal(make(rig, t.dir).code, 0);
    rig_reopen(rig);
    rig_wait(rig, rig_is_kept(rig, t.one) && rig_is_kept(rig, t.two));
    assert_int_equal(end(rig, t.dir).code, 0);
    rig_reopen(rig);
    assert_int_equal(worker_get_pin(rig, t.two), -ENODATA);
    assert_false(is_here(rig, t.one));
    free(t.bytes);
}

static void what_is_offline_with_a_folder_stays(void **state)
{
    struct rig *rig = *state;
    struct folder t = known_files(rig);
    struct error e;

    assert_int_equal(make(rig, t.dir).code, 0);
    rig_wait(rig, rig_is_kept(rig, t.two));
    e = end(rig, t.two);
    assert_int_equal(e.code, -EINVAL);
    assert_non_null(strstr(e.text, " d/ "));
    assert_int_equal(end(rig, t.sub).code, -EINVAL);
    assert_true(rig_is_kept(rig, t.two));
    assert_int_equal(end(rig, t.dir).code, 0);
    assert_int_equal(make(rig, INDEX_ROOT).code, 0);
    e = end(rig, t.other);
    assert_int_equal(e.code, -EINVAL);
    assert_non_null(strstr(e.text, "the drive"));
    free(t.bytes);
}

static void what_the_cloud_lacks_stays(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "new", "hello", 5);
    assert_int_equal(make(rig, ino).code, 0);
    assert_int_equal(end(rig, ino).code, 0);
    assert_true(is_here(rig, ino));
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "new", "hello", 5);
    worker_assert_reads(rig, ino, "hello", 5);
}

/* Without a fetch that is not wanted any more, it would be here again afterwards. */
static void it_is_fetched_no_further(void **state)
{
    struct rig *rig = *state;
    struct folder t = known_files(rig);
    size_t gets;

    rig->hold[CLOUD_GET] = true;
    assert_int_equal(make(rig, t.one).code, 0);
    rig_wait(rig, rig->n_held > 0);
    assert_int_equal(end(rig, t.one).code, 0);
    gets = rig->counts[CLOUD_GET];
    rig_release(rig);
    rig_idle(rig);
    assert_false(is_here(rig, t.one));
    assert_int_equal(rig->counts[CLOUD_GET], gets);
    assert_int_equal(make(rig, t.one).code, 0);
    rig_wait(rig, rig_is_kept(rig, t.one));
    free(t.bytes);
}

/* In use it is made offline anew without being closed in between. It was opened before all of it was here: else the
 * kernel may read it by itself, and it stays. */
static void an_open_file_goes_and_comes_again(void **state)
{
    struct rig *rig = *state;
    struct folder t = known_files(rig);
    CLEANUP_FREE char *there = xcalloc(1, LARGE);
    struct handle h;

    assert_int_equal(worker_open(rig, t.one, false, false, &h), 0);
    assert_int_equal(make(rig, t.one).code, 0);
    rig_wait(rig, cache_file_whole(cache_find(rig->volume->cache, t.one)));
    rig_idle(rig);
    rig_reset_counts(rig);
    assert_int_equal(end(rig, t.one).code, 0);
    assert_false(is_here(rig, t.one));
    assert_int_equal(make(rig, t.one).code, 0);
    rig_wait(rig, rig->bytes[CLOUD_GET] >= LARGE);
    assert_int_equal(worker_read(rig, &h, 0, there, LARGE), LARGE);
    assert_memory_equal(there, t.bytes, LARGE);
    worker_close(rig, &h);
    rig_wait(rig, rig_is_kept(rig, t.one));
    free(t.bytes);
}

/* More than are looked at in one turn; what is made offline again meanwhile stays. */
static void many_files_go(void **state)
{
    struct rig *rig = *state;
    uint64_t dir = worker_mkdir(rig, "d"), inos[MANY];
    struct answered a = { 0 };
    char name[32];

    for (unsigned n = 0; n < MANY; n++) {
        (void)snprintf(name, sizeof(name), "d/%u", n);
        inos[n] = worker_file(rig, name, "x", 1);
    }
    rig_settle(rig);
    volume_remove_offline(rig->volume, dir, on_done, &a);
    assert_int_equal(make(rig, inos[MANY - 1]).code, 0);
    rig_wait(rig, a.done && LIST_EMPTY(&rig->volume->releases));
    for (unsigned n = 0; n < MANY; n++)
        assert_int_equal(is_here(rig, inos[n]), n == MANY - 1);
}

static void a_drive_that_is_closed_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct folder t = known_files(rig);
    struct answered a = { 0 };

    read_whole(rig, t.one, t.bytes, LARGE);
    volume_remove_offline(rig->volume, t.dir, on_done, &a);
    rig_reopen(rig);
    rig_wait(rig, a.done);
    assert_int_equal(a.e.code, 0);
    read_whole(rig, t.one, t.bytes, LARGE);
    free(t.bytes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_folder_comes_and_goes, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_folder_comes_and_goes, rig_set_up_folder, rig_tear_down),
        cmocka_unit_test_setup_teardown(it_lasts, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_offline_with_a_folder_stays, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_the_cloud_lacks_stays, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(it_is_fetched_no_further, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(an_open_file_goes_and_comes_again, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(many_files_go, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_drive_that_is_closed_meanwhile, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
