/* What the API fetches once, gives up and deletes: what comes, what goes, and what stays in place. */
#include "rig_folder.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_use.h"

enum { MANY = 200 };

typedef void call_fn(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);

static struct error call(struct rig *rig, call_fn *fn, uint64_t ino)
{
    struct answered a = { 0 };

    fn(rig->volume, ino, on_done, &a);
    rig_wait(rig, a.done);
    return a.e;
}

static void refused(struct rig *rig, call_fn *fn, uint64_t ino, int code, const char *part)
{
    struct error e = call(rig, fn, ino);

    if (e.code != code || !strstr(e.text, part))
        fail_msg("expected %d with \"%s\", got %d \"%s\"", code, part, e.code, e.text);
}

static struct error fetch(struct rig *rig, uint64_t ino, unsigned seconds)
{
    struct answered a = { 0 };

    volume_download(rig->volume, ino, seconds, on_done, &a);
    rig_wait(rig, a.done);
    return a.e;
}

static bool is_whole(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    bool whole;

    if (index_get(rig->volume->index, ino, &i) < 0 || cache_acquire(rig->volume->cache, &i, &f) < 0)
        return false;
    whole = cache_file_whole(f);
    cache_release(f);
    return whole;
}

/* --- fetching ------------------------------------------------------------------------------------ */

static void a_folder_comes_once(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    assert_int_equal(fetch(rig, t.dir, 0).code, 0);
    rig_wait(rig, TAILQ_EMPTY(&rig->volume->downloads));
    find_files(rig, &t);
    assert_true(is_whole(rig, t.one) && is_whole(rig, t.two));
    assert_false(is_here(rig, t.other));
    assert_false(rig_is_kept(rig, t.one));
    rig_reset_counts(rig);
    assert_int_equal(fetch(rig, t.dir, 5).code, 0);      /* at once */
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    free(t.bytes);
}

static void who_waits_hears_when_it_is_here(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    struct answered a = { 0 };

    find_files(rig, &t);
    rig->hold[CLOUD_GET] = true;
    volume_download(rig->volume, t.one, 60, on_done, &a);
    rig_wait(rig, rig->n_held > 0);
    assert_false(a.done);
    rig_release(rig);
    rig_wait(rig, a.done);
    assert_int_equal(a.e.code, 0);
    assert_true(is_whole(rig, t.one));
    free(t.bytes);
}

static void patience_ends_and_it_goes_on(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    struct error e;

    find_files(rig, &t);
    rig->hold[CLOUD_GET] = true;
    e = fetch(rig, t.two, 1);
    assert_int_equal(e.code, -ETIMEDOUT);
    rig_release(rig);
    rig_wait(rig, is_whole(rig, t.two));
    free(t.bytes);
}

static int no_two(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return !after && r->op == CLOUD_GET && r->key && strstr(r->key, "two") ? -EACCES : 0;
}

static void what_fails_is_named_and_the_rest_comes(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    struct error e;

    find_files(rig, &t);
    rig->fault = no_two;
    e = fetch(rig, t.dir, 20);
    assert_int_equal(e.code, -EACCES);
    assert_non_null(strstr(e.text, "d/sub/two"));
    assert_true(is_whole(rig, t.one));
    free(t.bytes);
}

/* What came first is not displaced by what comes after it. */
static void a_small_cache_is_filled_once(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    Lf__CloudDrive drive = rig->drive;
    struct error e;

    drive.has_maximum_cache_size = drive.has_rotational_cache = drive.rotational_cache = true;
    drive.maximum_cache_size = 16 * MIB;
    volume_configure(rig->volume, &drive);
    rig_put(rig, "d/sub/three", t.bytes, LARGE);
    e = fetch(rig, t.dir, 20);
    assert_int_equal(e.code, -ENOSPC);
    assert_non_null(strstr(e.text, "maximumCacheSize"));
    find_files(rig, &t);
    assert_true(is_whole(rig, t.one) && is_whole(rig, t.two));
    assert_in_range(rig->bytes[CLOUD_GET], 10 * MIB, 16 * MIB);
    e = fetch(rig, worker_lookup(rig, t.sub, "three"), 20);      /* by itself it has */
    assert_int_equal(e.code, 0);
    free(t.bytes);
}

/* One after another, and the same one not twice. */
static void those_that_nobody_waits_for_take_turns(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    find_files(rig, &t);
    rig->hold[CLOUD_GET] = true;
    assert_int_equal(fetch(rig, t.two, 0).code, 0);
    assert_int_equal(fetch(rig, t.other, 0).code, 0);
    assert_int_equal(fetch(rig, t.other, 0).code, 0);
    rig_wait(rig, rig->n_held > 0);
    rig_idle(rig);
    assert_int_equal(rig->n_held, 1);
    rig_release(rig);
    rig_wait(rig, TAILQ_EMPTY(&rig->volume->downloads));
    assert_true(is_whole(rig, t.two) && is_whole(rig, t.other));
    free(t.bytes);
}

static void a_drive_that_is_closed_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    struct answered a = { 0 }, b = { 0 };

    find_files(rig, &t);
    rig->hold[CLOUD_GET] = rig->hold[CLOUD_LIST] = true;
    volume_download(rig->volume, t.one, 60, on_done, &a);
    volume_download(rig->volume, t.dir, 60, on_done, &b);
    rig_wait(rig, rig->n_held > 0);
    rig_release(rig);
    rig_reopen(rig);
    assert_true(a.done && b.done);
    assert_int_equal(a.e.code, -ECANCELED);
    free(t.bytes);
}

static void a_paused_drive_fetches_nothing(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    volume_pause(rig->volume, true);
    assert_int_equal(fetch(rig, t.other, 0).code, -ENETDOWN);
    assert_int_equal(fetch(rig, t.other, 20).code, -ENETDOWN);
    volume_pause(rig->volume, false);
    free(t.bytes);
}

/* --- giving up ------------------------------------------------------------------------------------ */

static void copies_go_and_come_again(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    assert_int_equal(fetch(rig, t.dir, 20).code, 0);
    assert_int_equal(fetch(rig, t.other, 20).code, 0);
    find_files(rig, &t);
    assert_int_equal(call(rig, volume_evict, t.one).code, 0);
    assert_false(is_here(rig, t.one));
    assert_true(is_here(rig, t.two));
    assert_int_equal(call(rig, volume_evict, t.dir).code, 0);
    assert_int_equal(call(rig, volume_evict, t.dir).code, 0);
    assert_false(is_here(rig, t.two));
    assert_true(is_here(rig, t.other));
    assert_int_equal(fetch(rig, t.dir, 20).code, 0);
    assert_true(is_whole(rig, t.one) && is_whole(rig, t.two));
    free(t.bytes);
}

static void what_the_cloud_lacks_stays(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    uint64_t ino;

    assert_int_equal(fetch(rig, t.dir, 20).code, 0);
    find_files(rig, &t);
    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "d/new", "hello", 5);
    refused(rig, volume_evict, ino, -EBUSY, "1 of it");
    refused(rig, volume_evict, t.dir, -EBUSY, "the cloud does not have");
    assert_true(is_here(rig, ino));
    assert_false(is_here(rig, t.one) || is_here(rig, t.two));
    rig_release(rig);
    rig_settle(rig);
    assert_int_equal(call(rig, volume_evict, t.dir).code, 0);
    assert_false(is_here(rig, ino));
    worker_assert_reads(rig, ino, "hello", 5);
    free(t.bytes);
}

static void what_is_offline_stays(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    find_files(rig, &t);
    assert_int_equal(call(rig, volume_make_offline, t.sub).code, 0);
    rig_wait(rig, rig_is_kept(rig, t.two));
    refused(rig, volume_evict, t.two, -EINVAL, "object_remove_offline");
    refused(rig, volume_evict, t.dir, -EINVAL, "object_remove_offline");
    assert_true(rig_is_kept(rig, t.two));
    assert_int_equal(call(rig, volume_evict, t.one).code, 0);
    free(t.bytes);
}

/* Else it would be here again afterwards. */
static void it_is_fetched_no_further(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    struct answered a = { 0 };

    find_files(rig, &t);
    rig->hold[CLOUD_GET] = true;
    volume_download(rig->volume, t.one, 60, on_done, &a);
    assert_int_equal(fetch(rig, t.two, 0).code, 0);
    rig_wait(rig, rig->n_held > 1);
    assert_int_equal(call(rig, volume_evict, t.dir).code, 0);
    assert_int_equal(a.e.code, -ECANCELED);
    rig_release(rig);
    rig_idle(rig);
    assert_true(TAILQ_EMPTY(&rig->volume->downloads));
    assert_false(is_here(rig, t.one) || is_here(rig, t.two));
    free(t.bytes);
}

/* --- deleting --------------------------------------------------------------------------------------- */

static void allow(struct rig *rig, bool delete, int permission)
{
    Lf__CloudDrive drive = rig->drive;

    drive.has_allow_delete = drive.has_permission_type = true;
    drive.allow_delete = delete;
    drive.permission_type = permission;
    volume_configure(rig->volume, &drive);
}

static void a_file_and_a_folder_go(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    allow(rig, true, 2);
    assert_int_equal(call(rig, volume_delete, t.other).code, 0);
    assert_int_equal(worker_find(rig, "other"), 0);
    assert_int_equal(call(rig, volume_delete, t.dir).code, 0);     /* never listed */
    assert_int_equal(worker_find(rig, "d"), 0);
    rig_settle(rig);
    assert_keys(rig, "");
    rig_assert_total(rig);
    free(t.bytes);
}

/* Several turns, several levels, and nothing beside. */
static void a_large_tree_goes(void **state)
{
    struct rig *rig = *state;
    char name[64];
    uint64_t dir;

    allow(rig, true, 2);
    for (unsigned n = 0; n < MANY; n++) {
        (void)snprintf(name, sizeof(name), n % 3 ? "t/%u" : "t/%u/x/y", n);
        rig_put(rig, name, "x", 1);
    }
    rig_put(rig, "t2", "x", 1);
    dir = worker_lookup(rig, INDEX_ROOT, "t");
    assert_int_equal(call(rig, volume_delete, dir).code, 0);
    rig_settle(rig);
    assert_keys(rig, "t2 ");
    rig_assert_total(rig);
}

static void it_is_refused_where_that_is_not_allowed(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    allow(rig, false, 2);
    refused(rig, volume_delete, t.other, -EACCES, "allowDelete");
    allow(rig, true, 1);
    refused(rig, volume_delete, t.other, -EROFS, "read only");
    allow(rig, true, 2);
    refused(rig, volume_delete, INDEX_ROOT, -EINVAL, "the drive itself");
    refused(rig, volume_delete, 12345678, -ENOENT, "no such");
    volume_pause(rig->volume, true);
    refused(rig, volume_delete, t.other, -ENETDOWN, "paused");
    volume_pause(rig->volume, false);
    assert_int_equal(worker_find(rig, "other"), t.other);
    free(t.bytes);
}

static void what_is_being_uploaded_is_left(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    uint64_t ino;
    struct error e;

    allow(rig, true, 2);
    find_files(rig, &t);
    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "d/sub/new", "hello", 5);
    refused(rig, volume_delete, ino, -EBUSY, "d/sub/new is left in place: it is being uploaded");
    e = call(rig, volume_delete, t.dir);
    assert_int_equal(e.code, -EBUSY);
    assert_non_null(strstr(e.text, "d/sub/new"));
    assert_null(strstr(e.text, "more are left"));
    assert_int_equal(worker_find(rig, "d/sub/new"), ino);
    assert_int_equal(worker_find(rig, "d/one") + worker_find(rig, "d/sub/two"), 0);
    (void)worker_file(rig, "d/another", "hello", 5);
    e = call(rig, volume_delete, t.dir);
    assert_non_null(strstr(e.text, "And 1 more are left in place."));
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "d/sub/new", "hello", 5);
    assert_int_equal(call(rig, volume_delete, t.dir).code, 0);
    rig_settle(rig);
    assert_keys(rig, "other ");
    free(t.bytes);
}

/* As after unlink(2). */
static void an_open_file_reads_on(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    CLEANUP_FREE char *there = xcalloc(1, MIB);
    struct handle h;

    allow(rig, true, 2);
    assert_int_equal(worker_open(rig, t.other, false, false, &h), 0);
    assert_int_equal(call(rig, volume_delete, t.other).code, 0);
    assert_int_equal(worker_find(rig, "other"), 0);
    assert_int_equal(worker_read(rig, &h, 0, there, MIB), MIB);
    assert_memory_equal(there, t.bytes, MIB);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_keys(rig, "d/one d/sub/two ");
    free(t.bytes);
}

/* What was deleted stays so, whatever the cloud still has at that moment. */
static void it_lasts(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);

    allow(rig, true, 2);
    rig->hold[CLOUD_DELETE] = true;
    assert_int_equal(call(rig, volume_delete, t.dir).code, 0);
    rig_reopen(rig);
    assert_int_equal(worker_find(rig, "d"), 0);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "other ");
    free(t.bytes);
}

static void a_deletion_ends_with_the_drive(void **state)
{
    struct rig *rig = *state;
    struct folder t = some_files(rig);
    struct answered a = { 0 };

    allow(rig, true, 2);
    rig->hold[CLOUD_LIST] = true;
    volume_delete(rig->volume, t.dir, on_done, &a);
    rig_wait(rig, rig->n_held > 0);
    rig_release(rig);
    rig_reopen(rig);
    assert_true(a.done);
    assert_int_not_equal(a.e.code, 0);
    free(t.bytes);
}

/* --- all of it at once ------------------------------------------------------------------------------- */

static void synchronise(struct rig *rig, const char *path)
{
    struct error e = { 0 };

    assert_int_equal(volume_sync(rig->volume, path, &e), 0);
    rig_wait(rig, !rig->volume->pass);
}

static int slow_interval(void **state)
{
    int r = rig_set_up(state);
    struct rig *rig = *state;
    Lf__CloudDrive drive = rig->drive;

    drive.has_sync_interval_seconds = true;
    drive.sync_interval_seconds = 3600;
    volume_configure(rig->volume, &drive);
    return r;
}

static void what_came_in_the_cloud_is_seen(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a/b/one", "1", 1);
    rig_put(rig, "c/one", "1", 1);
    rig_put(rig, "never/one", "1", 1);
    assert_int_not_equal(worker_find(rig, "a/b/one"), 0);
    assert_int_not_equal(worker_find(rig, "c/one"), 0);
    rig_put(rig, "a/b/two", "2", 1);
    rig_put(rig, "c/two", "2", 1);
    rig_remove(rig, "c/one");
    assert_int_equal(worker_find(rig, "a/b/two") + worker_find(rig, "c/two"), 0);
    synchronise(rig, "c");
    assert_int_equal(worker_find(rig, "a/b/two"), 0);
    assert_int_not_equal(worker_find(rig, "c/two"), 0);
    rig_reset_counts(rig);
    synchronise(rig, "");
    assert_int_equal(rig->counts[CLOUD_LIST], 4);        /* the root, a, a/b, c */
    assert_int_not_equal(worker_find(rig, "a/b/two"), 0);
    synchronise(rig, "no/such");
    assert_int_equal(rig->counts[CLOUD_LIST], 8);
}

static int no_put(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return !after && r->op == CLOUD_PUT ? -EACCES : 0;
}

static void uploads_that_failed_begin(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    rig->fault = no_put;
    ino = worker_file(rig, "new", "hello", 5);
    rig_wait(rig, index_retry_at(rig->volume->index, ino) > 0);
    rig_idle(rig);
    rig->fault = NULL;
    assert_true(volume_pending(rig->volume) > 0);
    synchronise(rig, "");
    assert_int_equal(index_retry_at(rig->volume->index, ino), 0);
    rig_settle(rig);
    assert_object(rig, "new", "hello", 5);
}

static void passes_that_meet_are_one_after_the_other(void **state)
{
    struct rig *rig = *state;
    struct error e = { 0 };

    rig_put(rig, "a/one", "1", 1);
    assert_int_not_equal(worker_find(rig, "a/one"), 0);
    rig->hold[CLOUD_LIST] = true;
    assert_int_equal(volume_sync(rig->volume, "", &e), 0);
    rig_wait(rig, rig->n_held > 0);
    for (unsigned n = 0; n < 5; n++)
        assert_int_equal(volume_sync(rig->volume, n % 2 ? "a" : "", &e), 0);
    rig_put(rig, "a/two", "2", 1);
    rig_reset_counts(rig);
    rig_release(rig);
    rig_wait(rig, !rig->volume->pass);
    assert_int_not_equal(worker_find(rig, "a/two"), 0);
    assert_int_equal(rig->counts[CLOUD_LIST], 3);        /* a; and once more the root and a */
    rig->hold[CLOUD_LIST] = true;
    assert_int_equal(volume_sync(rig->volume, "", &e), 0);
    rig_wait(rig, rig->n_held > 0);
    rig_release(rig);
    rig_reopen(rig);                                     /* under way */
    volume_pause(rig->volume, true);
    assert_int_equal(volume_sync(rig->volume, "", &e), -ENETDOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_folder_comes_once),
        TEST(who_waits_hears_when_it_is_here),
        TEST(patience_ends_and_it_goes_on),
        TEST(what_fails_is_named_and_the_rest_comes),
        TEST(a_small_cache_is_filled_once),
        TEST(those_that_nobody_waits_for_take_turns),
        TEST(a_drive_that_is_closed_meanwhile),
        TEST(a_paused_drive_fetches_nothing),
        TEST(copies_go_and_come_again),
        TEST(what_the_cloud_lacks_stays),
        TEST(what_is_offline_stays),
        TEST(it_is_fetched_no_further),
        TEST(a_file_and_a_folder_go),
        cmocka_unit_test_setup_teardown(a_file_and_a_folder_go, rig_set_up_folder, rig_tear_down),
        TEST(a_large_tree_goes),
        cmocka_unit_test_setup_teardown(a_large_tree_goes, rig_set_up_folder, rig_tear_down),
        TEST(it_is_refused_where_that_is_not_allowed),
        TEST(what_is_being_uploaded_is_left),
        TEST(an_open_file_reads_on),
        TEST(it_lasts),
        TEST(a_deletion_ends_with_the_drive),
        cmocka_unit_test_setup_teardown(what_came_in_the_cloud_is_seen, slow_interval, rig_tear_down),
        cmocka_unit_test_setup_teardown(uploads_that_failed_begin, slow_interval, rig_tear_down),
        cmocka_unit_test_setup_teardown(passes_that_meet_are_one_after_the_other, slow_interval, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
