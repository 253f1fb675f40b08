/* Reading ahead from file to file: which files are fetched before anybody opens them. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_use.h"

enum { FILES = 40, BYTES = 1000 };

/* The pace at which files are opened is the tests', not the machine's. */
static int64_t now_ns = INT64_C(1000000000000);

int64_t __wrap_loop_now_ns(void);

int64_t __wrap_loop_now_ns(void)
{
    return now_ns;
}

static void file_bytes(unsigned n, char bytes[BYTES])
{
    memset(bytes, 'a' + (int)(n % 26), BYTES);
}

/* Files 0 to n_files - 1 with so many digits at least in their names, which a listing has shown. */
static void make_some_files(struct rig *rig, int digits, unsigned n_files)
{
    char key[64], bytes[BYTES];

    for (unsigned n = 0; n < n_files; n++) {
        (void)snprintf(key, sizeof(key), "file-%0*u.txt", digits, n);
        file_bytes(n, bytes);
        rig_put(rig, key, bytes, BYTES);
    }
    assert_int_not_equal(worker_lookup(rig, INDEX_ROOT, key), 0);
    rig_idle(rig);
    rig_reset_counts(rig);
}

static void make_files(struct rig *rig, int digits)
{
    make_some_files(rig, digits, FILES);
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

/* --- in no order ------------------------------------------------------------------------------------ */

enum { MANY = 320, MANY_STEP = 99, SHARE = MANY / 16, LEAST = 16 };

/* The n-th file of MANY in an order that is none. */
static unsigned shuffled(unsigned n)
{
    return n * MANY_STEP % MANY;
}

static void read_shuffled(struct rig *rig, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++)
        read_file(rig, 3, shuffled(n));
}

static void a_share_in_no_order_brings_as_many(void **state)
{
    struct rig *rig = *state;

    make_some_files(rig, 3, MANY);
    read_shuffled(rig, 0, SHARE - 1);
    assert_int_equal(fetched_beside(rig, SHARE - 1), 0);
    read_shuffled(rig, SHARE - 1, SHARE);
    assert_int_equal(fetched_beside(rig, SHARE), SHARE);
}

/* The first that could be fetched is the one whose open makes the share. */
static void what_is_being_opened_is_not_one_of_them(void **state)
{
    struct rig *rig = *state;

    make_some_files(rig, 3, MANY);
    assert_int_not_equal(worker_lookup(rig, INDEX_ROOT, "file-001.txt"), 0);   /* so that the open asks for bytes */
    read_shuffled(rig, 0, SHARE - 1);
    read_file(rig, 3, 1);
    assert_int_equal(fetched_beside(rig, SHARE), SHARE);
}

static void of_few_files_so_many_must_be_opened(void **state)
{
    struct rig *rig = *state;

    make_files(rig, 2);
    for (unsigned n = 0; n < LEAST - 1; n++)
        read_file(rig, 2, n * 17 % FILES);
    assert_int_equal(fetched_beside(rig, LEAST - 1), 0);
    read_file(rig, 2, (LEAST - 1) * 17 % FILES);
    assert_int_equal(fetched_beside(rig, LEAST), LEAST);
}

/* At any time so many are here that nobody opened as were opened, until nothing is left; each is fetched once. */
static void each_that_is_opened_pays_for_one(void **state)
{
    struct rig *rig = *state;
    size_t hits = 0;

    make_some_files(rig, 3, MANY);
    for (unsigned n = 0; n < MANY; n++) {
        size_t before = rig->counts[CLOUD_GET];
        size_t beside = n < SHARE ? 0 : n;

        if (n + beside <= MANY)
            assert_int_equal(before, n + beside);
        read_shuffled(rig, n, n + 1);
        hits += n >= MANY / 2 && rig->counts[CLOUD_GET] == before;
        rig_idle(rig);
    }
    assert_int_equal(rig->counts[CLOUD_GET], MANY);
    assert_int_equal(hits, MANY / 2);
}

static void never_more_than_fixed(void **state)
{
    enum { LOTS = 1300, LOTS_STEP = 503, READ = 600, WINDOW = 512 };
    struct rig *rig = *state;

    make_some_files(rig, 4, LOTS);
    for (unsigned n = 0; n < READ; n++)
        read_file(rig, 4, n * LOTS_STEP % LOTS);
    rig_idle(rig);
    assert_int_equal(rig->counts[CLOUD_GET], READ + WINDOW);
}

/* As many as are opened here would be a good share of what is counted of it. */
static void of_a_huge_directory_nothing_is_guessed(void **state)
{
    enum { HUGE = 8300, HUGE_STEP = 2903, OPENED = 520 };
    struct rig *rig = *state;

    make_some_files(rig, 4, HUGE);
    for (unsigned n = 0; n < OPENED; n++)
        read_file(rig, 4, n * HUGE_STEP % HUGE);
    assert_int_equal(fetched_beside(rig, OPENED), 0);
}

static void an_order_takes_over(void **state)
{
    struct rig *rig = *state;
    size_t before;

    make_some_files(rig, 3, MANY);
    read_shuffled(rig, 0, SHARE);
    read_file(rig, 3, 200);
    read_file(rig, 3, 201);
    assert_int_equal(fetched_beside(rig, SHARE + 2), SHARE + 2);
    before = rig->counts[CLOUD_GET];
    read_file(rig, 3, 202);
    assert_int_equal(fetched_beside(rig, before), 1 + 4);
    read_file(rig, 3, 203);
    assert_int_equal(fetched_beside(rig, before), 1 + 4 + 5);
    before = rig->counts[CLOUD_GET];
    read_file(rig, 3, 9);   /* two that are here: no order again, and each pays for one */
    read_file(rig, 3, 2);
    assert_int_equal(fetched_beside(rig, before), 2 * 2);
}

/* Files that were fetched in no order and are opened by number do not begin that order anew. */
static void what_is_here_does_not_end_an_order(void **state)
{
    struct rig *rig = *state;

    make_some_files(rig, 3, MANY);
    read_shuffled(rig, 0, SHARE);
    assert_int_equal(fetched_beside(rig, SHARE), SHARE);   /* all but one of 0 to 20 */
    for (unsigned n = 1; n < 8; n++)
        read_file(rig, 3, n);
    rig_idle(rig);
    rig_reset_counts(rig);
    for (unsigned n = 8; n < 19; n++)
        read_file(rig, 3, n);
    rig_idle(rig);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static int not_the_first(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_GET && !after && strcmp(r->key, "file-001.txt") == 0 ? -EACCES : 0;
}

static void a_failure_ends_what_is_in_no_order(void **state)
{
    struct rig *rig = *state;
    size_t before;

    make_some_files(rig, 3, MANY);
    rig->fault = not_the_first;
    read_shuffled(rig, 0, SHARE);
    rig_idle(rig);
    before = rig->counts[CLOUD_GET];
    assert_in_range(before, SHARE + 1, SHARE + 8);   /* what was under way by then */
    read_shuffled(rig, SHARE, 2 * SHARE - 1);
    assert_int_equal(fetched_beside(rig, before), SHARE - 1);
}

static void what_is_opened_slowly_foretells_nothing(void **state)
{
    struct rig *rig = *state;

    make_some_files(rig, 3, MANY);
    for (unsigned n = 0; n < 2 * SHARE; n++) {
        read_shuffled(rig, n, n + 1);
        now_ns += INT64_C(500000000);
    }
    assert_int_equal(fetched_beside(rig, 2 * SHARE), 0);
    now_ns += INT64_C(2000000000);   /* after a rest it goes fast */
    read_shuffled(rig, 2 * SHARE, 3 * SHARE - 1);
    assert_int_equal(fetched_beside(rig, 3 * SHARE - 1), 0);
    read_shuffled(rig, 3 * SHARE - 1, 3 * SHARE);
    assert_int_equal(fetched_beside(rig, 3 * SHARE), SHARE);
}

static void in_no_order_only_what_is_tiny_is_fetched(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *larger = pattern(100 << 10, 1);

    rig_put(rig, "a", larger, 100 << 10);
    make_some_files(rig, 3, MANY);
    read_shuffled(rig, 0, SHARE);
    assert_int_equal(fetched_beside(rig, SHARE), SHARE);
    assert_true(rig->bytes[CLOUD_GET] < 100 << 10);
}

static int64_t last_use_s(struct rig *rig, unsigned n)
{
    struct index_extent e;
    char name[64];

    (void)snprintf(name, sizeof(name), "file-%03u.txt", n);
    assert_int_equal(use_flush(rig->volume->cache), 0);
    assert_int_equal(index_extent_get(rig->volume->index, worker_lookup(rig, INDEX_ROOT, name), 0, &e), 0);
    return e.seen_s;
}

/* Which says what goes first when space is needed. */
static void only_what_is_opened_counts_as_used(void **state)
{
    struct rig *rig = *state;

    make_some_files(rig, 3, MANY);
    read_shuffled(rig, 0, SHARE);
    assert_int_equal(fetched_beside(rig, SHARE), SHARE);
    assert_int_not_equal(last_use_s(rig, shuffled(1)), 0);
    assert_int_equal(last_use_s(rig, 2), 0);
    read_file(rig, 3, 2);
    assert_int_not_equal(last_use_s(rig, 2), 0);
}

/* A directory that four others have pushed out begins anew. */
static void a_directory_is_forgotten_for_others(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    char key[64];

    for (char d = 'a'; d < 'e'; d++) {
        (void)snprintf(key, sizeof(key), "%c/x", d);
        rig_put(rig, key, "x", 1);
    }
    make_some_files(rig, 3, MANY);
    read_shuffled(rig, 0, SHARE - 1);
    for (char d = 'a'; d < 'e'; d++) {
        (void)snprintf(key, sizeof(key), "%c/x", d);
        assert_int_equal(worker_open(rig, worker_find(rig, key), false, false, &h), 0);
        worker_close(rig, &h);
    }
    rig_idle(rig);
    rig_reset_counts(rig);
    read_shuffled(rig, SHARE - 1, 2 * SHARE - 2);
    assert_int_equal(fetched_beside(rig, SHARE - 1), 0);
}

/* --- beside it ---------------------------------------------------------------------------------------- */

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
        cmocka_unit_test_setup_teardown(a_share_in_no_order_brings_as_many, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_being_opened_is_not_one_of_them, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(of_few_files_so_many_must_be_opened, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(each_that_is_opened_pays_for_one, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(never_more_than_fixed, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(of_a_huge_directory_nothing_is_guessed, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(an_order_takes_over, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_here_does_not_end_an_order, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_failure_ends_what_is_in_no_order, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_opened_slowly_foretells_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(in_no_order_only_what_is_tiny_is_fetched, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(only_what_is_opened_counts_as_used, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_directory_is_forgotten_for_others, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(metadata_comes_with_the_bytes, rig_set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
