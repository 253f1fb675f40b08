/* mountd/worker and copy_file_range(2): what syncd is asked, how long, and what the kernel hears. */
#include "tests/unit/worker_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/chunk_map.h"

#define ASKED(b, BODY) ((b)->syncd->asked[LF__ENVELOPE__BODY_##BODY])

enum { COPY_FILE_RANGE_64 = 53, SOURCE = 4711, AT = 12345, ENOUGH = CHUNK_COPIED_LEAST };
static const uint64_t LARGE = UINT64_C(5) << 30;

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

static uint64_t target(struct bench *b)
{
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "", 0);

    (void)bench_open(b, ino, O_RDWR);
    return ino;
}

static uint64_t send_copy(struct bench *b, uint32_t opcode, uint64_t ino, uint64_t length)
{
    struct fuse_copy_file_range_in in = { .off_in = AT, .nodeid_out = ino, .len = length };

    return bench_send(b, opcode, SOURCE, BENCH_PART(in), NULL);
}

static int error_of(struct bench *b, uint64_t unique)
{
    return bench_answer(b, unique)->head.error;
}

static void assert_copied(struct bench *b, uint64_t unique, uint64_t bytes)
{
    const struct packet *p = bench_answer(b, unique);
    uint64_t told = 0;

    assert_int_equal(p->head.error, 0);
    assert_int_equal(p->size, sizeof(told));
    (void)memcpy(&told, p->body, sizeof(told));
    assert_true(told == bytes);
}

/* ENOSYS would be for good. */
static void the_kernel_copies_when_syncd_does_not(void **state)
{
    struct bench *b = *state;
    uint64_t ino = target(b);

    assert_int_equal(error_of(b, send_copy(b, FUSE_COPY_FILE_RANGE, ino, ENOUGH)), -EOPNOTSUPP);
    assert_int_equal(error_of(b, send_copy(b, COPY_FILE_RANGE_64, ino, LARGE)), -EOPNOTSUPP);
    assert_int_equal(ASKED(b, FS_COPY), 2);
}

static void of_little_syncd_does_not_hear(void **state)
{
    struct bench *b = *state;

    assert_int_equal(error_of(b, send_copy(b, FUSE_COPY_FILE_RANGE, target(b), ENOUGH - 1)), -EOPNOTSUPP);
    assert_int_equal(ASKED(b, FS_COPY), 0);
}

static void syncd_hears_what_is_to_be_copied(void **state)
{
    struct bench *b = *state;
    uint64_t ino = target(b), unique;

    b->syncd->copied = ENOUGH;
    unique = send_copy(b, FUSE_COPY_FILE_RANGE, ino, ENOUGH + 5);
    assert_copied(b, unique, ENOUGH);
    assert_int_equal(b->syncd->copy.ino, ino);
    assert_int_equal(b->syncd->copy.offset, 0);
    assert_int_equal(b->syncd->copy.source, SOURCE);
    assert_int_equal(b->syncd->copy.source_offset, AT);
    assert_int_equal(b->syncd->copy.length, ENOUGH + 5);
    assert_int_equal(b->syncd->origin, unique);
}

static void more_than_32_bits(void **state)
{
    struct bench *b = *state;

    b->syncd->copied = LARGE;
    assert_copied(b, send_copy(b, COPY_FILE_RANGE_64, target(b), LARGE), LARGE);
    assert_true(b->syncd->copy.length == LARGE);
}

/* The rest is another request's. */
static void no_more_than_the_answer_can_say(void **state)
{
    struct bench *b = *state;

    b->syncd->copied = (UINT64_C(4) << 30) - 4096;
    assert_copied(b, send_copy(b, FUSE_COPY_FILE_RANGE, target(b), LARGE), b->syncd->copied);
    assert_true(b->syncd->copy.length == b->syncd->copied);
}

static void it_is_asked_until_it_is_made(void **state)
{
    struct bench *b = *state;

    b->syncd->copied = ENOUGH;
    b->syncd->copies_last = 3;
    assert_copied(b, send_copy(b, FUSE_COPY_FILE_RANGE, target(b), ENOUGH), ENOUGH);
    assert_int_equal(ASKED(b, FS_COPY), 4);
    assert_int_equal(b->syncd->copy.length, ENOUGH);
}

static void interrupt(struct bench *b, uint64_t unique)
{
    struct fuse_interrupt_in in = { .unique = unique };

    wait_until(b, b->syncd->n_held == 1);
    (void)bench_send(b, FUSE_INTERRUPT, 0, BENCH_PART(in), NULL);
    wait_until(b, ASKED(b, FS_COPY_STOP) == 1);
}

/* The request's number; syncd's answer waits. */
static uint64_t send_and_interrupt(struct bench *b)
{
    uint64_t unique;

    b->syncd->copied = ENOUGH;
    b->syncd->hold = LF__ENVELOPE__BODY_FS_COPY;
    unique = send_copy(b, FUSE_COPY_FILE_RANGE, target(b), ENOUGH);
    interrupt(b, unique);
    return unique;
}

/* The answer says whether it came too late. */
static void a_program_is_interrupted(void **state)
{
    struct bench *b = *state;
    uint64_t unique = send_and_interrupt(b);

    assert_false(bench_answered(b, unique));
    fake_resume(b->syncd);
    assert_int_equal(error_of(b, unique), -EINTR);
}

static void interrupted_too_late(void **state)
{
    struct bench *b = *state;
    uint64_t unique = send_and_interrupt(b);

    b->syncd->copy_stopped = false;
    fake_resume(b->syncd);
    assert_copied(b, unique, ENOUGH);
}

/* Whoever asked on would have it begun anew. */
static void interrupted_when_told_to_ask_again(void **state)
{
    struct bench *b = *state;
    uint64_t unique;

    b->syncd->copied = ENOUGH;
    b->syncd->copies_last = 1;
    b->syncd->hold = LF__ENVELOPE__BODY_FS_COPY;
    unique = send_copy(b, FUSE_COPY_FILE_RANGE, target(b), ENOUGH);
    interrupt(b, unique);
    b->syncd->copy_stopped = false;
    fake_resume(b->syncd);
    assert_int_equal(error_of(b, unique), -EINTR);
    assert_int_equal(ASKED(b, FS_COPY), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_kernel_copies_when_syncd_does_not),
        TEST(of_little_syncd_does_not_hear),
        TEST(syncd_hears_what_is_to_be_copied),
        TEST(more_than_32_bits),
        TEST(no_more_than_the_answer_can_say),
        TEST(it_is_asked_until_it_is_made),
        TEST(a_program_is_interrupted),
        TEST(interrupted_too_late),
        TEST(interrupted_when_told_to_ask_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
