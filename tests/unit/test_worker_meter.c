/* mountd/worker_meter: what is counted where, and that it goes on with the next worker. */
#include "tests/unit/worker_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int setup(void **state)
{
    *state = bench_new();
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static uint64_t answers(const struct bench *b, uint32_t opcode, enum meter_part part)
{
    const struct meter_times *t = &b->syncd->counted->times[opcode][part];
    uint64_t n = 0;

    for (unsigned k = 0; k < METER_BUCKETS; k++)
        n += meter_get(&t->buckets[k]);
    return n;
}

static uint64_t nanoseconds(const struct bench *b, uint32_t opcode, enum meter_part part)
{
    return meter_get(&b->syncd->counted->times[opcode][part].sum_ns);
}

static void read_bytes(struct bench *b, uint64_t ino, uint32_t size)
{
    assert_int_equal(bench_answer(b, bench_send_read(b, ino, 0, size, O_RDONLY))->size, size);
}

static void reads_are_hits_or_waits(void **state)
{
    struct bench *b = *state;
    const struct meter *m = b->syncd->counted;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_RDONLY);
    read_bytes(b, ino, 11);
    assert_int_equal(meter_get(&m->hits), 0);
    assert_int_equal(meter_get(&m->waits), 1);
    assert_int_equal(answers(b, FUSE_READ, METER_SYNCD), 1);
    read_bytes(b, ino, 5);
    read_bytes(b, ino, 5);
    assert_int_equal(meter_get(&m->hits), 2);
    assert_int_equal(meter_get(&m->waits), 1);
    assert_int_equal(meter_get(&m->read_bytes), 21);
    assert_int_equal(answers(b, FUSE_READ, METER_LOCAL), 3);
    assert_int_equal(answers(b, FUSE_READ, METER_SYNCD), 1);
    assert_int_equal(answers(b, FUSE_OPEN, METER_LOCAL), 1);
}

static void written_bytes_are_counted_once(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_WRONLY);
    assert_int_equal(bench_answer(b, bench_send_write(b, ino, 0, "ours", 4))->head.error, 0);
    assert_int_equal(meter_get(&b->syncd->counted->written_bytes), 4);
    assert_int_equal(answers(b, FUSE_WRITE, METER_LOCAL), 1);
}

/* syncd says how much of its time it waited for the cloud; more than there was does not count. */
static void the_cloud_has_its_part(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_RDONLY);
    assert_int_equal(answers(b, FUSE_OPEN, METER_CLOUD), 0);
    b->syncd->waited_us = UINT64_C(3600) * 1000000;
    read_bytes(b, ino, 11);
    assert_int_equal(answers(b, FUSE_READ, METER_CLOUD), 1);
    assert_int_equal(answers(b, FUSE_READ, METER_SYNCD), 0);
    assert_true(nanoseconds(b, FUSE_READ, METER_CLOUD) > 0);
    assert_true(nanoseconds(b, FUSE_READ, METER_CLOUD) < UINT64_C(60) * 1000000000);
}

static void errors_count_by_their_errno(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_RDONLY);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    b->syncd->fail = -EHOSTUNREACH;
    assert_int_equal(bench_answer(b, bench_send_read(b, ino, 0, 4, O_RDONLY))->head.error, -EIO);
    assert_int_equal(meter_get(&b->syncd->counted->errors[EIO]), 1);
    assert_int_equal(meter_get(&b->syncd->counted->waits), 0);
}

static void the_next_worker_goes_on(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_RDONLY);
    read_bytes(b, ino, 11);
    bench_replace_worker(b);
    read_bytes(b, ino, 11);
    assert_int_equal(meter_get(&b->syncd->counted->read_bytes), 22);
}

/* A meter that is none is not written into, and what is answered is answered all the same. */
static void a_meter_that_is_too_small_is_not_used(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)close(b->syncd->meter);
    b->syncd->meter = open("/dev/null", O_RDWR | O_CLOEXEC);
    bench_replace_worker(b);
    (void)bench_open(b, ino, O_RDONLY);
    read_bytes(b, ino, 11);
    assert_int_equal(meter_get(&b->syncd->counted->read_bytes), 0);
}

int main(void)
{
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_BENCH(reads_are_hits_or_waits),
        WITH_BENCH(written_bytes_are_counted_once),
        WITH_BENCH(the_cloud_has_its_part),
        WITH_BENCH(errors_count_by_their_errno),
        WITH_BENCH(the_next_worker_goes_on),
        WITH_BENCH(a_meter_that_is_too_small_is_not_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
