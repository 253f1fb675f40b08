/* Absent chunks: one download for many waiters, how much is asked for at once, and what happens when
 * the cloud fails, is slow, or has another version. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MIB = 1 << 20 };

/* An object of n bytes and its inode number. */
static uint64_t object(struct rig *rig, const char *key, const void *bytes, size_t n)
{
    rig_put(rig, key, bytes, n);
    return worker_lookup(rig, INDEX_ROOT, key);
}

/* --- asking several times without waiting ------------------------------------------------------------------- */

static void ask(struct rig *rig, uint64_t ino, uint64_t offset, uint64_t length, struct rig_asked *a)
{
    Lf__FsFetch m = LF__FS_FETCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FETCH, fs_fetch, &m);

    m.ino = ino;
    m.offset = offset;
    m.length = length;
    rig_send(rig, &env, a);
}

static void check_content(struct rig *rig, uint64_t ino, const char *bytes, size_t n, size_t step)
{
    CLEANUP_FREE char *there = xcalloc(1, step);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    for (size_t at = 0; at < n; at += step) {
        size_t want = n - at < step ? n - at : step;

        assert_int_equal(worker_read(rig, &h, at, there, want), want);
        assert_memory_equal(there, bytes + at, want);
    }
    worker_close(rig, &h);
}

/* --- how much ------------------------------------------------------------------------------------------------ */

static void many_wait_for_one_download(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(100000, 1);
    uint64_t ino = object(rig, "a", bytes, 100000);
    struct rig_asked asked[10];

    rig->hold[CLOUD_GET] = true;
    for (size_t n = 0; n < ARRAY_SIZE(asked); n++)
        ask(rig, ino, n * 10000, 10000, &asked[n]);
    rig_wait(rig, rig->n_held > 0);
    for (unsigned n = 0; n < 50; n++)
        (void)event_base_loop(loop_base(rig->loop), EVLOOP_NONBLOCK);
    assert_int_equal(rig->n_held, 1);
    assert_false(asked[0].done);
    rig_release(rig);
    for (size_t n = 0; n < ARRAY_SIZE(asked); n++) {
        rig_wait(rig, asked[n].done);
        assert_int_equal(asked[n].code, 0);
    }
    assert_int_equal(rig->counts[CLOUD_GET], 1);
    check_content(rig, ino, bytes, 100000, 100000);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

static void a_small_file_is_one_request(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    uint64_t ino = object(rig, "a", bytes, MIB);

    check_content(rig, ino, bytes, MIB, 4096);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
    assert_int_equal(rig->bytes[CLOUD_GET], MIB);
}

/* Counts in place of failing. */
static unsigned ranges;

static int count_ranges(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    ranges += !after && r->op == CLOUD_GET && r->has_range;
    return 0;
}

static void what_is_wanted_whole_is_no_range(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(20 * MIB, 1);
    uint64_t whole, part;
    struct handle h;
    char there[4096];

    rig_put(rig, "a", bytes, 5000);
    rig_put(rig, "b", bytes, 20 * MIB);
    whole = worker_lookup(rig, INDEX_ROOT, "a");
    part = worker_lookup(rig, INDEX_ROOT, "b");
    ranges = 0;
    rig->fault = count_ranges;
    check_content(rig, whole, bytes, 5000, 5000);
    assert_int_equal(ranges, 0);
    assert_int_equal(worker_open(rig, part, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 9000000, there, sizeof(there)), sizeof(there));
    assert_memory_equal(there, bytes + 9000000, sizeof(there));
    assert_true(ranges > 0);
    worker_close(rig, &h);
}

static void reading_on_takes_few_requests(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(64 * MIB, 1);
    uint64_t ino = object(rig, "a", bytes, 64 * MIB);

    check_content(rig, ino, bytes, 64 * MIB, 131072);
    assert_true(rig->counts[CLOUD_GET] <= 20);
    assert_int_equal(rig->bytes[CLOUD_GET], 64 * MIB);
}

static void jumping_about_takes_few_bytes(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(64 * MIB, 1);
    uint64_t ino = object(rig, "a", bytes, 64 * MIB);
    struct handle h;
    char there[4096];

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    for (size_t n = 1; n <= 10; n++) {
        size_t at = n * 7919 * 4096 % (64 * MIB);

        assert_int_equal(worker_read(rig, &h, at, there, sizeof(there)), sizeof(there));
        assert_memory_equal(there, bytes + at, sizeof(there));
    }
    worker_close(rig, &h);
    assert_true(rig->bytes[CLOUD_GET] <= 10 * (512 << 10));
}

static void several_requests_are_under_way(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(64 * MIB, 1);
    uint64_t ino = object(rig, "a", bytes, 64 * MIB);
    struct rig_asked a;

    rig->hold[CLOUD_GET] = true;
    ask(rig, ino, 0, 64 * MIB, &a);
    rig_wait(rig, rig->n_held >= 4);
    assert_true(rig->n_held <= 8);
    rig_release(rig);
    rig_wait(rig, a.done);
    assert_int_equal(a.code, 0);
    check_content(rig, ino, bytes, 64 * MIB, MIB);
}

static void past_the_end_there_is_nothing_to_wait_for(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = object(rig, "a", "hello", 5);

    assert_int_equal(worker_fetch(rig, ino, CHUNK_SIZE, 4096), 0);
    assert_int_equal(worker_fetch(rig, ino, CHUNK_FILE_MAX, UINT64_MAX), 0);
    assert_int_equal(worker_fetch(rig, ino, CHUNK_FILE_MAX + 1, 1), -EFBIG);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    assert_int_equal(worker_fetch(rig, ino, 0, UINT64_MAX), 0);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

/* Who appends writes into the last chunk. */
static void what_is_appended_to_comes_first(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = object(rig, "a", "hello", 5);
    struct handle h;

    assert_int_equal(worker_open_again(rig, ino, &h), 0);
    assert_int_equal(worker_fetch(rig, ino, 5, 1), 0);
    assert_true(chunk_present(h.map, 0));
    worker_close(rig, &h);
}

static void a_restart_goes_on_with_what_is_there(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * MIB, 1);
    uint64_t ino = object(rig, "a", bytes, 4 * MIB);

    check_content(rig, ino, bytes, 4 * MIB, MIB);
    rig_reopen(rig);
    rig->counts[CLOUD_GET] = 0;
    check_content(rig, ino, bytes, 4 * MIB, MIB);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

/* --- writers --------------------------------------------------------------------------------------------------- */

static void a_fetch_never_overwrites_a_write(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 1);
    uint64_t ino = object(rig, "a", bytes, 8 * MIB);
    struct rig_asked a;
    struct handle h;

    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 3 * MIB + 5, "written", 7);
    memcpy(bytes + 3 * MIB + 5, "written", 7);
    ask(rig, ino, 0, 8 * MIB, &a);
    rig_wait(rig, a.done);
    assert_int_equal(a.code, 0);
    check_content(rig, ino, bytes, 8 * MIB, MIB);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 8 * MIB);
}

static void cutting_the_file_ends_what_reaches_beyond(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 1);
    uint64_t ino = object(rig, "a", bytes, 8 * MIB);
    struct rig_asked a;

    rig->hold[CLOUD_GET] = true;
    ask(rig, ino, 0, 8 * MIB, &a);
    rig_wait(rig, rig->n_held > 0);
    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_truncate(rig, ino, 2 * MIB + 1), 0);
    rig_release(rig);
    rig_wait(rig, a.done);
    assert_int_equal(a.code, 0);
    check_content(rig, ino, bytes, 2 * MIB + 1, MIB);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 2 * MIB + 1);
}

/* --- failures -------------------------------------------------------------------------------------------------- */

static int fail_gets(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_GET && !after ? *(int *)rig->arg : 0;
}

static void a_failure_reaches_the_reader_and_passes(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = object(rig, "a", "hello", 5);
    int code = -EHOSTUNREACH;

    rig->arg = &code;
    rig->fault = fail_gets;
    assert_int_equal(worker_fetch(rig, ino, 0, 5), -EHOSTUNREACH);
    rig->fault = NULL;
    check_content(rig, ino, "hello", 5, 5);
}

static void a_slow_cloud_runs_into_the_deadline(void **state)
{
    struct rig *rig = *state;
    uint64_t ino, other;
    int64_t began, took;
    int tries = 0;

    rig_put(rig, "b", "hello", 5);
    ino = object(rig, "a", "hello", 5);
    other = worker_lookup(rig, INDEX_ROOT, "b");
    rig->config->read_deadline_seconds = 1;
    rig->hold[CLOUD_GET] = true;
    assert_int_equal(worker_fetch(rig, ino, 0, 5), -ETIMEDOUT);
    do {   /* the kernel, a page of what was to be read ahead; what comes later than at once waits as the first did */
        assert_true(tries++ < 10);
        began = loop_now_ns();
        assert_int_equal(worker_fetch(rig, ino, 2, 3), -ETIMEDOUT);
        took = loop_now_ns() - began;
    } while (took > INT64_C(900) * 1000000);
    assert_int_equal(worker_fetch(rig, other, 0, 5), -ETIMEDOUT);
    assert_true(loop_now_ns() - began > INT64_C(900) * 1000000);
    assert_int_equal(worker_fetch(rig, ino, 0, 5), -ETIMEDOUT);   /* somebody else, later */
    assert_true(loop_now_ns() - began > INT64_C(1900) * 1000000);
    rig_release(rig);
    check_content(rig, ino, "hello", 5, 5);
    assert_int_equal(rig->counts[CLOUD_GET], 2);   /* one for each; what was late is not thrown away */
}

static void a_paused_drive_answers_at_once(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = object(rig, "a", "hello", 5);

    volume_pause(rig->volume, true);
    assert_int_equal(worker_fetch(rig, ino, 0, 5), -ENETDOWN);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    volume_pause(rig->volume, false);
    check_content(rig, ino, "hello", 5, 5);
}

/* Two versions never mix: what is open fails where the old one is not here. */
static void an_object_changed_while_it_is_read(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *old = pattern(30 * MIB, 1), *new = pattern(4 * MIB, 2), *there = xcalloc(1, 4 * MIB);
    uint64_t ino = object(rig, "a", old, 30 * MIB);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_put(rig, "a", new, 4 * MIB);
    assert_int_equal(worker_fetch(rig, ino, 25 * MIB, 1), -EIO);
    assert_int_equal(worker_read(rig, &h, 0, there, 4096), 4096);
    assert_memory_equal(there, old, 4096);
    worker_close(rig, &h);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, there, 4 * MIB), 4 * MIB);
    assert_memory_equal(there, new, 4 * MIB);
    worker_close(rig, &h);
}

static void an_object_that_is_gone_is_an_error(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = object(rig, "a", "hello", 5);

    rig_remove(rig, "a");
    assert_int_equal(worker_fetch(rig, ino, 0, 5), -EIO);
}

static void the_base_of_a_dirty_file_is_not_mixed(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *old = pattern(3 * MIB, 1), *new = pattern(3 * MIB, 2);
    uint64_t ino = object(rig, "a", old, 3 * MIB);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 0, "x", 1);
    rig_put(rig, "a", new, 3 * MIB);
    assert_int_equal(worker_fetch(rig, ino, 2 * MIB, 1), -EIO);
    worker_close(rig, &h);
}

static void closing_answers_who_waits(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = object(rig, "a", "hello", 5);
    struct rig_asked a;

    rig->hold[CLOUD_GET] = true;
    ask(rig, ino, 0, 5, &a);
    rig_wait(rig, rig->n_held > 0);
    rig_close(rig);
    assert_int_equal(rig->n_held, 0);
    rig_open(rig);
    rig_release(rig);
    check_content(rig, ino, "hello", 5, 5);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(many_wait_for_one_download),
        TEST(a_small_file_is_one_request),
        TEST(what_is_wanted_whole_is_no_range),
        TEST(reading_on_takes_few_requests),
        TEST(jumping_about_takes_few_bytes),
        TEST(several_requests_are_under_way),
        TEST(past_the_end_there_is_nothing_to_wait_for),
        TEST(what_is_appended_to_comes_first),
        TEST(a_restart_goes_on_with_what_is_there),
        TEST(a_fetch_never_overwrites_a_write),
        TEST(cutting_the_file_ends_what_reaches_beyond),
        TEST(a_failure_reaches_the_reader_and_passes),
        TEST(a_slow_cloud_runs_into_the_deadline),
        TEST(a_paused_drive_answers_at_once),
        TEST(an_object_changed_while_it_is_read),
        TEST(an_object_that_is_gone_is_an_error),
        TEST(the_base_of_a_dirty_file_is_not_mixed),
        TEST(closing_answers_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
