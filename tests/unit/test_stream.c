/* Streams for the API: where the bytes come from, ranges, slow readers and readers that go. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MIB = 1 << 20 };

struct opened {
    bool done;
    int code, fd;
    struct volume_stream s;
};

static void on_opened(const struct error *e, const struct volume_stream *s, void *arg)
{
    struct opened *o = arg;

    assert_false(o->done);
    o->done = true;
    o->code = e ? e->code : 0;
    o->fd = s ? s->fd : -1;
    if (s) {
        o->s = *s;
        o->s.etag = NULL;
    }
}

static struct opened open_stream(struct rig *rig, const char *path, bool has_range, uint64_t first, uint64_t last)
{
    struct opened o = { 0 };

    volume_stream_open(rig->volume, path, has_range, first, last, on_opened, &o);
    rig_wait(rig, o.done);
    if (o.fd >= 0)
        assert_int_equal(fcntl(o.fd, F_SETFL, O_NONBLOCK), 0);
    return o;
}

/* Reads to the end of the pipe. */
static char *drain(struct rig *rig, int fd, size_t *ret_size)
{
    char *bytes = xcalloc(1, 64 * MIB);
    ssize_t n = -1;

    *ret_size = 0;
    while (n != 0) {
        rig_wait(rig, (n = read(fd, bytes + *ret_size, 64 * MIB - *ret_size)) >= 0);
        *ret_size += (size_t)n;
    }
    close(fd);
    return bytes;
}

static void check_stream(struct rig *rig, const char *path, const char *bytes, size_t n)
{
    struct opened o = open_stream(rig, path, false, 0, 0);
    CLEANUP_FREE char *got = NULL;
    size_t size;

    assert_int_equal(o.code, 0);
    assert_int_equal(o.s.size, n);
    assert_int_equal(o.s.first, 0);
    assert_int_equal(o.s.last, n - 1);
    got = drain(rig, o.fd, &size);
    assert_int_equal(size, n);
    assert_memory_equal(got, bytes, n);
}

static void straight_from_the_provider(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(5 * MIB, 1);

    rig_put(rig, "a", bytes, 5 * MIB);
    check_stream(rig, "a", bytes, 5 * MIB);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

static void from_the_cache_when_all_is_there(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(5 * MIB, 1);
    uint64_t ino;

    rig_put(rig, "a", bytes, 5 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_fetch(rig, ino, 0, 5 * MIB), 0);
    rig_idle(rig);
    rig->counts[CLOUD_GET] = 0;
    check_stream(rig, "a", bytes, 5 * MIB);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void what_is_dirty_is_newer(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(5 * MIB, 1);
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", bytes, 5 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 4 * MIB, "newer", 5);
    memcpy(bytes + 4 * MIB, "newer", 5);
    check_stream(rig, "a", bytes, 5 * MIB);   /* the rest is fetched */
    worker_close(rig, &h);
}

static void ranges(void **state)
{
    static const struct { uint64_t first, last; int code; uint64_t got_first, got_last; } rows[] = {
        { 0, 0, 0, 0, 0 },
        { 1, 3, 0, 1, 3 },
        { 7, UINT64_MAX, 0, 7, 9 },
        { 9, 100, 0, 9, 9 },
        { 10, UINT64_MAX, -ERANGE, 0, 0 },
        { 5, 4, -ERANGE, 0, 0 },
    };
    struct rig *rig = *state;

    rig_put(rig, "a", "0123456789", 10);
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct opened o = open_stream(rig, "a", true, rows[n].first, rows[n].last);
        CLEANUP_FREE char *got = NULL;
        size_t size;

        assert_int_equal(o.code, rows[n].code);
        if (o.code)
            continue;
        got = drain(rig, o.fd, &size);
        assert_int_equal(o.s.first, rows[n].got_first);
        assert_int_equal(o.s.last, rows[n].got_last);
        assert_int_equal(size, rows[n].got_last - rows[n].got_first + 1);
        assert_memory_equal(got, &"0123456789"[rows[n].got_first], size);
    }
}

static void an_empty_object_is_an_empty_pipe(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a", "", 0);
    check_stream(rig, "a", "", 0);
}

static void no_stream(void **state)
{
    struct rig *rig = *state;

    (void)worker_mkdir(rig, "d");
    assert_int_equal(open_stream(rig, "nothing", false, 0, 0).code, -ENOENT);
    assert_int_equal(open_stream(rig, "d", false, 0, 0).code, -EISDIR);
}

static void a_slow_reader_stops_the_source(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(32 * MIB, 1), *got = NULL;
    struct opened o;
    size_t size;
    int waiting;

    rig_put(rig, "a", bytes, 32 * MIB);
    o = open_stream(rig, "a", false, 0, 0);
    for (unsigned n = 0; n < 200; n++)
        (void)event_base_loop(loop_base(rig->loop), EVLOOP_NONBLOCK);
    assert_int_equal(ioctl(o.fd, FIONREAD, &waiting), 0);
    assert_in_range(waiting, 1, MIB);
    assert_int_equal(rig->in_flight, 1);
    got = drain(rig, o.fd, &size);
    assert_int_equal(size, 32 * MIB);
    assert_memory_equal(got, bytes, size);
}

static void a_reader_that_goes_ends_the_transfer(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(32 * MIB, 1);
    struct opened o;

    rig_put(rig, "a", bytes, 32 * MIB);
    o = open_stream(rig, "a", false, 0, 0);
    close(o.fd);
    rig_wait(rig, rig->in_flight == 0);
    assert_null(rig->volume->streams);
}

static void a_changed_object_is_streamed_as_it_is_now(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a", "old", 3);
    (void)worker_lookup(rig, INDEX_ROOT, "a");
    rig_put(rig, "a", "newer", 5);
    check_stream(rig, "a", "newer", 5);
}

static int fail_late(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_GET && after ? -ETIMEDOUT : 0;
}

static int fail_early(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_GET && !after ? -EACCES : 0;
}

static void a_failure_before_the_first_byte_is_told(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a", "hello", 5);
    rig->fault = fail_early;
    assert_int_equal(open_stream(rig, "a", false, 0, 0).code, -EACCES);
    assert_null(rig->volume->streams);
}

static void a_late_failure_closes_the_pipe(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 1), *got = NULL;
    struct opened o;
    size_t size;

    rig_put(rig, "a", bytes, 8 * MIB);
    rig->fault = fail_late;
    o = open_stream(rig, "a", false, 0, 0);
    assert_int_equal(o.code, 0);
    got = drain(rig, o.fd, &size);
    assert_true(size <= 8 * MIB);
    assert_null(rig->volume->streams);
}

static void closing_ends_streams(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 1), *got = NULL;
    struct opened o;
    size_t size;

    rig_put(rig, "a", bytes, 8 * MIB);
    o = open_stream(rig, "a", false, 0, 0);
    rig_close(rig);
    got = drain(rig, o.fd, &size);
    assert_true(size < 8 * MIB);
    rig_open(rig);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(straight_from_the_provider),
        TEST(from_the_cache_when_all_is_there),
        TEST(what_is_dirty_is_newer),
        TEST(ranges),
        TEST(an_empty_object_is_an_empty_pipe),
        TEST(no_stream),
        TEST(a_slow_reader_stops_the_source),
        TEST(a_reader_that_goes_ends_the_transfer),
        TEST(a_changed_object_is_streamed_as_it_is_now),
        TEST(a_failure_before_the_first_byte_is_told),
        TEST(a_late_failure_closes_the_pipe),
        TEST(closing_ends_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
