/* The order in which content goes, simulated on an index: a cache of extents, a working set, and scans through everything.
 * The tests say what share of the working set's uses find it in the cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "syncd/evict.h"

enum { EXTENT = EXTENT_SIZE, ROOM = 100, WORK_FIRST = 1, SCAN_FIRST = 100000 };

struct simulation {
    char dir[64];
    struct index *index;
    struct evict_order order;
    uint64_t room, used;      /* bytes */
    int64_t now_s;
    uint64_t uses, hits;
};

static int set_up(void **state)
{
    struct simulation *s = xcalloc(1, sizeof(*s));
    struct error e = { 0 };
    char path[80];

    snprintf(s->dir, sizeof(s->dir), "/tmp/test_evict.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(path, sizeof(path), "%s/index.db", s->dir);
    assert_int_equal(index_open(path, 0, 0, &s->index, &e), 0);
    assert_int_equal(evict_load(&s->order, s->index), 0);
    s->order.rotates = true;
    s->room = (uint64_t)ROOM * EXTENT;
    s->now_s = 1000000;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct simulation *s = *state;
    static const char *const names[] = { "index.db", "index.db-wal", "index.db-shm" };
    char path[96];

    index_close(s->index);
    for (size_t n = 0; n < 3; n++) {
        snprintf(path, sizeof(path), "%s/%s", s->dir, names[n]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(s->dir), 0);
    free(s);
    return 0;
}

static bool here(struct simulation *s, uint64_t ino, uint64_t extent)
{
    struct index_extent e;

    return index_extent_get(s->index, ino, extent, &e) == 0 && e.queue != EVICT_GHOST;
}

static void make_room(struct simulation *s, uint64_t bytes)
{
    struct index_extent e;

    evict_begin(&s->order, false);
    while (s->used + bytes > s->room) {
        assert_int_equal(evict_next(&s->order, &e), 0);
        s->used -= e.bytes;
        assert_int_equal(evict_gone(&s->order, &e), 0);
    }
}

/* Reads an extent through the cache. */
static bool use(struct simulation *s, uint64_t ino, uint64_t extent, uint64_t bytes)
{
    bool hit = here(s, ino, extent);

    assert_int_equal(index_begin(s->index), 0);
    if (!hit) {
        make_room(s, bytes);
        s->used += bytes;
    }
    assert_int_equal(evict_used(&s->order, ino, extent, bytes, hit ? EVICT_USED : EVICT_CAME, false, s->now_s), 0);
    assert_int_equal(index_end(s->index, 0), 0);
    assert_true(s->used <= s->room);
    return hit;
}

/* Everything in the working set of n files, some time after the last time. Returns the hits. */
static unsigned work(struct simulation *s, unsigned n)
{
    unsigned hits = 0;

    s->now_s += 60;
    for (unsigned i = 0; i < n; i++)
        hits += use(s, WORK_FIRST + i, 0, EXTENT);
    return hits;
}

/* find -exec cat: n files, each read in several reads within a moment. */
static void scan(struct simulation *s, unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        for (unsigned again = 0; again < 4; again++)
            (void)use(s, SCAN_FIRST + first + i, 0, EXTENT);
    s->now_s += 60;
}

static void a_scan_leaves_the_working_set(void **state)
{
    struct simulation *s = *state;

    (void)work(s, 60);
    assert_int_equal(work(s, 60), 60);
    scan(s, 0, 20 * ROOM);
    assert_int_equal(work(s, 60), 60);
}

static void scans_again_and_again_leave_it_too(void **state)
{
    struct simulation *s = *state;
    unsigned hits = 0;

    (void)work(s, 60);
    (void)work(s, 60);
    for (unsigned round = 0; round < 10; round++) {
        scan(s, 0, 3 * ROOM);   /* the nightly backup: the same files each time */
        hits += work(s, 60);
    }
    assert_in_range(hits, 590, 600);
}

static void one_large_file_is_a_scan_too(void **state)
{
    struct simulation *s = *state;

    (void)work(s, 60);
    (void)work(s, 60);
    for (uint64_t e = 0; e < 10 * ROOM; e++)
        (void)use(s, SCAN_FIRST, e, EXTENT);
    assert_int_equal(work(s, 60), 60);
}

static void many_small_files_weigh_what_they_weigh(void **state)
{
    struct simulation *s = *state;

    (void)work(s, 60);
    (void)work(s, 60);
    for (unsigned i = 0; i < 20000; i++)
        (void)use(s, SCAN_FIRST + i, 0, 64 << 10);
    assert_int_equal(work(s, 60), 60);
    assert_true(s->order.n[EVICT_NEW] > 100);   /* small ones live on in what the working set leaves */
}

static void a_new_working_set_takes_over(void **state)
{
    struct simulation *s = *state;
    unsigned hits = 0;

    for (unsigned round = 0; round < 4; round++)
        (void)work(s, 80);
    for (unsigned round = 0; round < 12; round++) {
        s->now_s += 60;
        for (unsigned i = 0; i < 60; i++)
            hits = round == 11 ? hits + use(s, SCAN_FIRST + i, 0, EXTENT) : (use(s, SCAN_FIRST + i, 0, EXTENT), 0);
    }
    assert_in_range(hits, 55, 60);
}

static void reading_through_is_one_use(void **state)
{
    struct simulation *s = *state;
    struct index_extent e;

    for (unsigned n = 0; n < 100; n++)
        (void)use(s, 1, 0, EXTENT);
    assert_int_equal(index_extent_get(s->index, 1, 0, &e), 0);
    assert_int_equal(e.uses, 0);
    s->now_s += EVICT_APART_S;
    (void)use(s, 1, 0, EXTENT);
    assert_int_equal(index_extent_get(s->index, 1, 0, &e), 0);
    assert_int_equal(e.uses, 1);
}

static void what_cannot_go_does_not_stop_the_rest(void **state)
{
    struct simulation *s = *state;
    struct index_extent e;
    unsigned skipped = 0;

    (void)work(s, 50);
    (void)work(s, 50);
    scan(s, 0, 40);
    assert_int_equal(index_begin(s->index), 0);
    evict_begin(&s->order, false);
    while (evict_next(&s->order, &e) == 0) {
        if (e.ino < SCAN_FIRST) {
            assert_int_equal(evict_skip(&s->order, &e), 0);
            skipped++;
        } else {
            assert_int_equal(evict_gone(&s->order, &e), 0);
        }
    }
    assert_int_equal(index_end(s->index, 0), 0);
    assert_int_equal(s->order.n[EVICT_NEW] + s->order.n[EVICT_KEPT], 50);
    assert_in_range(skipped, 50, 400);
}

static void sums_are_what_the_index_has(void **state)
{
    struct simulation *s = *state;
    struct evict_order read = { 0 };

    (void)work(s, 60);
    (void)work(s, 60);
    scan(s, 0, 500);
    assert_int_equal(index_begin(s->index), 0);
    assert_int_equal(evict_forget(&s->order, WORK_FIRST), 0);
    assert_int_equal(index_end(s->index, 0), 0);
    assert_int_equal(evict_load(&read, s->index), 0);
    assert_memory_equal(read.bytes, s->order.bytes, sizeof(read.bytes));
    assert_memory_equal(read.n, s->order.n, sizeof(read.n));
    assert_true(read.bytes[EVICT_GHOST] <= read.bytes[EVICT_NEW] + read.bytes[EVICT_KEPT] + EXTENT);
}

/* Without rotation: what came first stays, the rest passes through. */
static void what_came_first_stays(void **state)
{
    struct simulation *s = *state;
    struct index_extent e;

    s->order.rotates = false;
    assert_int_equal(index_begin(s->index), 0);
    for (unsigned i = 0; i < 90; i++)
        assert_int_equal(evict_used(&s->order, WORK_FIRST + i, 0, EXTENT, EVICT_CAME, true, s->now_s), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(evict_used(&s->order, SCAN_FIRST + i, 0, EXTENT, EVICT_CAME, false, s->now_s), 0);
    evict_begin(&s->order, true);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(evict_next(&s->order, &e), 0);
        assert_int_equal(e.ino, SCAN_FIRST + i);
        assert_int_equal(evict_gone(&s->order, &e), 0);
    }
    assert_int_equal(evict_next(&s->order, &e), -ENOENT);
    for (unsigned i = 0; i < 2; i++)   /* fetched ahead, of which one was read */
        assert_int_equal(evict_used(&s->order, SCAN_FIRST + i, 0, EXTENT, EVICT_CAME_AHEAD, true, s->now_s), 0);
    assert_int_equal(evict_used(&s->order, SCAN_FIRST, 0, EXTENT, EVICT_USED, true, s->now_s), 0);
    evict_begin(&s->order, true);
    assert_int_equal(evict_next(&s->order, &e), 0);
    assert_int_equal(e.ino, SCAN_FIRST + 1);
    assert_int_equal(evict_gone(&s->order, &e), 0);
    assert_int_equal(evict_next(&s->order, &e), -ENOENT);
    evict_begin(&s->order, false);
    assert_int_equal(evict_next(&s->order, &e), 0);
    assert_int_equal(index_end(s->index, 0), 0);
}

static void happens(struct simulation *s, enum evict_use use, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++)
        assert_int_equal(evict_used(&s->order, WORK_FIRST + n, 0, EXTENT, use, false, s->now_s), 0);
}

static void goes_next(struct simulation *s, unsigned from, unsigned to)
{
    struct index_extent e;

    evict_begin(&s->order, false);
    for (unsigned n = from; n < to; n++) {
        assert_int_equal(evict_next(&s->order, &e), 0);
        assert_int_equal(e.ino, WORK_FIRST + n);
        assert_int_equal(evict_gone(&s->order, &e), 0);
    }
}

/* Fetched ahead together: whose turn it is are those that were not used, then the others. */
static void what_was_fetched_ahead_in_vain_goes_before_the_rest(void **state)
{
    struct simulation *s = *state;

    assert_int_equal(index_begin(s->index), 0);
    happens(s, EVICT_CAME_AHEAD, 0, 10);
    happens(s, EVICT_USED, 0, 5);
    happens(s, EVICT_CAME_AHEAD, 5, 10);   /* once more: that is no use */
    goes_next(s, 5, 10);
    goes_next(s, 0, 5);
    assert_int_equal(index_end(s->index, 0), 0);
}

/* Of what went a while ago some is fetched ahead again: only a use makes it something to be kept. */
static void what_comes_back_ahead_has_to_be_used(void **state)
{
    struct simulation *s = *state;

    assert_int_equal(index_begin(s->index), 0);
    happens(s, EVICT_CAME, 10, 30);
    happens(s, EVICT_CAME, 0, 10);
    goes_next(s, 10, 20);
    happens(s, EVICT_CAME_AHEAD, 10, 20);
    happens(s, EVICT_USED, 10, 15);
    goes_next(s, 20, 30);
    goes_next(s, 0, 10);
    goes_next(s, 15, 20);
    assert_int_equal(s->order.n[EVICT_NEW], 5);
    happens(s, EVICT_CAME, 40, 41);
    goes_next(s, 40, 41);
    assert_int_equal(s->order.n[EVICT_KEPT], 5);
    assert_int_equal(index_end(s->index, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_scan_leaves_the_working_set),
        TEST(scans_again_and_again_leave_it_too),
        TEST(one_large_file_is_a_scan_too),
        TEST(many_small_files_weigh_what_they_weigh),
        TEST(a_new_working_set_takes_over),
        TEST(reading_through_is_one_use),
        TEST(what_cannot_go_does_not_stop_the_rest),
        TEST(sums_are_what_the_index_has),
        TEST(what_came_first_stays),
        TEST(what_was_fetched_ahead_in_vain_goes_before_the_rest),
        TEST(what_comes_back_ahead_has_to_be_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
