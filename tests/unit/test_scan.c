/* Reading ahead from file to file: which files are fetched before anybody opens them. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { FILES = 40, BYTES = 1000 };

static void file_bytes(unsigned n, char bytes[BYTES])
{
    memset(bytes, 'a' + (int)(n % 26), BYTES);
}

/* Files 0 to FILES - 1 with so many digits at least in their names, which a listing has shown. */
static void make_files(struct rig *rig, int digits)
{
    char key[64], bytes[BYTES];

    for (unsigned n = 0; n < FILES; n++) {
        (void)snprintf(key, sizeof(key), "file-%0*u.txt", digits, n);
        file_bytes(n, bytes);
        rig_put(rig, key, bytes, BYTES);
    }
    assert_int_not_equal(worker_lookup(rig, INDEX_ROOT, key), 0);
    rig_idle(rig);
    rig_reset_counts(rig);
}

static void read_file(struct rig *rig, int digits, unsigned n)
{
    char name[64], expected[BYTES], bytes[BYTES];
    struct handle h;

    (void)snprintf(name, sizeof(name), "file-%0*u.txt", digits, n);
    file_bytes(n, expected);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, name), false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, bytes, BYTES), BYTES);
    assert_memory_equal(bytes, expected, BYTES);
    worker_close(rig, &h);
}

/* How many were fetched that nobody opened, once all is quiet. */
static size_t fetched_beside(struct rig *rig, size_t opened)
{
    rig_idle(rig);
    assert_true(rig->counts[CLOUD_GET] >= opened);
    return rig->counts[CLOUD_GET] - opened;
}

static void two_files_foretell_nothing(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    read_file(rig, 2, 0);
    read_file(rig, 2, 1);
    assert_int_equal(fetched_beside(rig, 2), 0);
}

static void the_third_in_a_row_brings_the_next_ones(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < 3; n++)
        read_file(rig, 2, n);
    assert_int_equal(fetched_beside(rig, 3), 4);
    read_file(rig, 2, 3);   /* is here */
    assert_int_equal(fetched_beside(rig, 3), 4 + 5);
}

/* In the order of the bytes "file-9.txt" is the last one. */
static void names_are_counted_up(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 1);
    for (unsigned n = 7; n < 11; n++)
        read_file(rig, 1, n);
    assert_int_equal(fetched_beside(rig, 4), 4);
    for (unsigned n = 11; n < FILES; n++)
        read_file(rig, 1, n);
    assert_int_equal(fetched_beside(rig, FILES - 7), 0);
}

static void each_is_fetched_once(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < FILES; n++)
        read_file(rig, 2, n);
    assert_int_equal(fetched_beside(rig, FILES), 0);
}

static void jumping_about_brings_nothing(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < FILES; n++)
        read_file(rig, 2, n * 17 % FILES);
    assert_int_equal(fetched_beside(rig, FILES), 0);
}

static void look_up(struct rig *rig, unsigned n)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "file-%02u.txt", n);
    assert_int_not_equal(worker_lookup(rig, INDEX_ROOT, name), 0);
}

/* In no order, so nothing of it is foretold by the last one. */
static void one_request_brings_name_and_bytes(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < FILES; n++)
        read_file(rig, 2, n * 17 % FILES);
    rig_idle(rig);
    assert_int_equal(rig->counts[CLOUD_GET], FILES);
    assert_int_equal(rig->counts[CLOUD_STAT], 3);   /* until it is foreseen */
}

static void who_only_looks_gets_no_bytes(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < 3; n++)
        read_file(rig, 2, n * 17 % FILES);
    for (unsigned n = 3; n < FILES; n++)
        look_up(rig, n * 17 % FILES);
    rig_idle(rig);
    assert_int_equal(rig->counts[CLOUD_GET], 3 + 1);
    assert_int_equal(rig->counts[CLOUD_STAT], 2 + FILES - 4);
}

static int no_get(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_GET && !after ? -EACCES : 0;
}

static void bytes_that_cannot_be_had_leave_the_name(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < 3; n++)
        read_file(rig, 2, n * 17 % FILES);
    rig->fault = no_get;
    look_up(rig, 30);
}

static void the_window_collapses(void **state)
{
    struct rig *rig = *state;
    size_t before;

    make_files(rig, 2);
    for (unsigned n = 0; n < 3; n++)
        read_file(rig, 2, n);
    before = fetched_beside(rig, 3);
    read_file(rig, 2, 30);
    read_file(rig, 2, 20);
    assert_int_equal(fetched_beside(rig, 5), before);
}

static void what_is_large_is_left(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *large = pattern(1 << 20, 1);

    rig_put(rig, "file-03.txt", large, 1 << 20);
    make_files(rig, 2);
    rig_put(rig, "file-03.txt", large, 1 << 20);
    rig_reopen(rig);
    rig_reset_counts(rig);
    for (unsigned n = 0; n < 3; n++)
        read_file(rig, 2, n);
    (void)fetched_beside(rig, 3);
    assert_true(rig->bytes[CLOUD_GET] < 1 << 20);
}

static void failures_end_it(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    make_files(rig, 2);
    for (unsigned n = 0; n < 2; n++)
        read_file(rig, 2, n);
    rig->hold[CLOUD_GET] = true;
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "file-00.txt"), false, false, &h), 0);
    worker_close(rig, &h);
    rig->hold[CLOUD_GET] = false;
    rig_remove(rig, "file-04.txt");   /* the others are read all the same */
    for (unsigned n = 2; n < FILES; n++)
        if (n != 4)
            read_file(rig, 2, n);
}

static void make_foreseen_earlier(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    assert_int_equal(cache_acquire(rig->volume->cache, &i, &f), 0);
    assert_int_not_equal(f->map->foreseen_ns, 0);
    f->map->foreseen_ns -= INT64_C(3000000000);
    cache_release(f);
}

static void what_was_fetched_long_before_is_confirmed(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    uint64_t ino;

    make_files(rig, 2);
    for (unsigned n = 0; n < 3; n++)
        read_file(rig, 2, n);
    (void)fetched_beside(rig, 3);
    ino = worker_lookup(rig, INDEX_ROOT, "file-03.txt");
    make_foreseen_earlier(rig, ino);
    rig_put(rig, "file-03.txt", "new", 3);
    assert_int_equal(worker_open(rig, ino, false, false, &h), -ESTALE);   /* the kernel looks the name up again */
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "file-03.txt"), false, false, &h), 0);
    assert_int_equal(h.size, 3);
    worker_close(rig, &h);
}

static void the_volume_closes_while_it_fetches(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    read_file(rig, 2, 0);
    read_file(rig, 2, 1);
    read_file(rig, 2, 2);
    rig->hold[CLOUD_GET] = true;
    read_file(rig, 2, 3);
    rig_wait(rig, rig->n_held > 0);
    rig_release(rig);
    rig_reopen(rig);
    read_file(rig, 2, FILES - 1);
}

static void list(struct rig *rig, const char *name)
{
    Lf__FsOpendir m = LF__FS_OPENDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPENDIR, fs_opendir, &m);

    m.ino = worker_lookup(rig, INDEX_ROOT, name);
    assert_int_equal(rig_ask(rig, &env, NULL, NULL), 0);
    rig_idle(rig);
}

static void directories_are_listed_ahead(void **state)
{
    struct rig *rig = *state;
    char key[64];

    for (unsigned n = 0; n < 20; n++) {
        (void)snprintf(key, sizeof(key), "dir-%02u/file", n);
        rig_put(rig, key, "x", 1);
    }
    list(rig, "dir-05");
    rig_reset_counts(rig);
    list(rig, "dir-06");
    assert_int_equal(rig->counts[CLOUD_LIST], 1);
    list(rig, "dir-07");
    assert_int_equal(rig->counts[CLOUD_LIST], 2 + 4);
    rig_reset_counts(rig);
    list(rig, "dir-08");
    assert_int_equal(rig->counts[CLOUD_LIST], 5);
    list(rig, "dir-01");
    list(rig, "dir-04");
    assert_int_equal(rig->counts[CLOUD_LIST], 7);
}

/* A GET says what a HEAD would. */
static void metadata_comes_with_the_bytes(void **state)
{
    struct rig *rig = *state;
    struct cloud_meta meta = { .has_mtime = true, .mtime_ns = INT64_C(1234567890123456789) };
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    uint64_t ino;

    rig_put_with(rig, "a", "text", 4, &meta);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_idle(rig);
    rig_forget_meta(rig, ino);
    rig_reset_counts(rig);
    assert_int_equal(worker_fetch(rig, ino, 0, 4), 0);
    rig_idle(rig);
    assert_int_equal(worker_getattr(rig, ino, &attr), 0);
    assert_true(attr.settled);
    assert_int_equal(attr.mtime_ns, meta.mtime_ns);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_files_foretell_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(the_third_in_a_row_brings_the_next_ones, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(names_are_counted_up, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(each_is_fetched_once, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(jumping_about_brings_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(one_request_brings_name_and_bytes, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(who_only_looks_gets_no_bytes, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_cannot_be_had_leave_the_name, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(the_window_collapses, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_large_is_left, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(failures_end_it, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_was_fetched_long_before_is_confirmed, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(directories_are_listed_ahead, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(the_volume_closes_while_it_fetches, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(metadata_comes_with_the_bytes, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
