/* mountd/worker: what one leaves to its successor on a kernel that does not send requests again (mountd/owed.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "mountd/owed.h"
#include "tests/unit/worker_bench.h"

#define ASKED(b, BODY) ((b)->syncd->asked[LF__ENVELOPE__BODY_##BODY])

enum { LARGE = 100 * 1024, MANY = 50 };

/* The kernel whose connection it is, and what it has given up. */
static struct bench *kernel;
static uint64_t given_up;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

/* As fuse_dev_do_write() takes "not now" for the answer to an INTERRUPT that was never sent. */
ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    const struct fuse_out_header *out = bytes;

    if (n != sizeof(*out) || out->len != n || out->error != -EAGAIN)
        return __real_write(fd, bytes, n);
    assert_true(out->unique & 1);
    errno = out->unique - 1 == given_up || bench_answered(kernel, out->unique - 1) ? ENOENT : EINVAL;
    return -1;
}

static int setup(void **state)
{
    *state = kernel = bench_new_old_kernel();
    given_up = 0;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static uint64_t send_getattr(struct bench *b)
{
    struct fuse_getattr_in in = { 0 };

    return bench_send(b, FUSE_GETATTR, 1, BENCH_PART(in), NULL);
}

static void hold(struct bench *b, Lf__Envelope__BodyCase body)
{
    b->syncd->hold = body;
}

static void replace_and_resume(struct bench *b)
{
    fake_resume(b->syncd);
    bench_replace_worker(b);
}

/* --- what waits --------------------------------------------------------------------------------------------- */

static void a_read_that_waits_is_answered_by_the_next_worker(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11), unique;

    (void)bench_open(b, ino, O_RDONLY);
    hold(b, LF__ENVELOPE__BODY_FS_FETCH);
    unique = bench_send_read(b, ino, 6, 100, O_RDONLY);
    wait_until(b, b->syncd->n_held == 1);
    replace_and_resume(b);
    assert_int_equal(bench_answer(b, unique)->head.error, 0);
    assert_int_equal(bench_answer(b, unique)->size, 5);
    assert_memory_equal(bench_answer(b, unique)->body, "bytes", 5);
}

static void a_large_write_that_waits_is_carried_out(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "", 0), unique;
    CLEANUP_FREE char *bytes = xcalloc(1, LARGE), *read = xcalloc(1, LARGE);
    struct stat st;

    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    (void)bench_open(b, ino, O_RDWR);
    hold(b, LF__ENVELOPE__BODY_FS_DIRTY);
    unique = bench_send_write(b, ino, 0, bytes, LARGE);
    wait_until(b, b->syncd->n_held == 1);
    replace_and_resume(b);
    assert_int_equal(bench_answer(b, unique)->head.error, 0);
    assert_int_equal(pread(fake_node(b->syncd, ino)->data, read, LARGE, 0), LARGE);
    assert_memory_equal(read, bytes, LARGE);
    assert_int_equal(fstat(b->owed, &st), 0);
    assert_true(st.st_blocks * 512 < OWED_PLACE + LARGE);   /* its pages were given back */
}

/* Each has its own answer, from the last of several workers. */
static void many_that_wait_keep_their_order(void **state)
{
    struct bench *b = *state;
    uint64_t unique[MANY];

    (void)bench_answer(b, send_getattr(b));
    hold(b, LF__ENVELOPE__BODY_FS_GETATTR);
    for (size_t n = 0; n < MANY; n++)
        unique[n] = send_getattr(b);
    wait_until(b, b->syncd->n_held == MANY);
    bench_replace_worker(b);
    bench_replace_worker(b);
    fake_resume(b->syncd);
    for (size_t n = 0; n < MANY; n++)
        assert_int_equal(bench_answer(b, unique[n])->head.error, 0);
    for (size_t n = 1; n < MANY; n++)
        assert_true(bench_answer(b, unique[n - 1]) < bench_answer(b, unique[n]));
    assert_int_equal(b->syncd->origin, unique[MANY - 1]);
}

static void what_was_answered_is_not_carried_out_again(void **state)
{
    struct bench *b = *state;
    struct fuse_mkdir_in in = { .mode = 0755 };

    assert_int_equal(bench_answer(b, bench_send(b, FUSE_MKDIR, 1, BENCH_PART(in), "d", (size_t)2, NULL))->head.error, 0);
    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, send_getattr(b))->head.error, 0);
    assert_int_equal(ASKED(b, FS_MKDIR), 1);
}

static void one_that_waited_and_was_answered_is_not_either(void **state)
{
    struct bench *b = *state;
    struct fuse_mkdir_in in = { .mode = 0755 };
    uint64_t unique;

    hold(b, LF__ENVELOPE__BODY_FS_MKDIR);
    unique = bench_send(b, FUSE_MKDIR, 1, BENCH_PART(in), "d", (size_t)2, NULL);
    wait_until(b, b->syncd->n_held == 1);
    fake_resume(b->syncd);
    (void)bench_answer(b, unique);
    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, send_getattr(b))->head.error, 0);
    assert_int_equal(ASKED(b, FS_MKDIR), 1);
}

/* Its FUSE_INIT ends where later ones have more. */
static void one_before_5_17_is_served_too(void **state)
{
    struct bench *b = *state;

    b->init_size = sizeof(struct fuse_in_header) + offsetof(struct fuse_init_in, flags2);
    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, send_getattr(b))->head.error, 0);
}

static void nothing_is_sent_that_such_a_kernel_does_not_know(void **state)
{
    struct bench *b = *state;

    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, send_getattr(b))->head.error, 0);
    for (size_t i = 0; i < b->n_packets; i++)
        assert_true(b->packets[i].head.unique != 0);
}

/* --- what a worker had no time to take up ---------------------------------------------------------------------- */

static void write_at(const struct bench *b, size_t at, const void *bytes, size_t size)
{
    assert_int_equal(pwrite(b->owed, bytes, size, (off_t)at), size);
}

/* As if the kernel had delivered it and the worker had been killed at once. */
static uint64_t deliver_getattr(struct bench *b)
{
    struct {
        struct fuse_in_header head;
        struct fuse_getattr_in in;
    } r = { .head = { .len = sizeof(r), .opcode = FUSE_GETATTR, .unique = b->unique += 2, .nodeid = 1, .uid = b->uid } };

    write_at(b, CHUNK_PAGE + OWED_READ_AT, &r, sizeof(r));
    return r.head.unique;
}

static void one_just_delivered_is_taken_up(void **state)
{
    struct bench *b = *state;
    uint64_t unique = deliver_getattr(b);

    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, unique)->head.error, 0);
}

/* It could not be delivered whole, and a part of it may be there. */
static void one_that_the_kernel_gave_up_is_left_alone(void **state)
{
    struct bench *b = *state;
    unsigned before = ASKED(b, FS_GETATTR);

    given_up = deliver_getattr(b);
    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, send_getattr(b))->head.error, 0);
    assert_false(bench_answered(b, given_up));
    assert_int_equal(ASKED(b, FS_GETATTR), before + 1);
}

static void what_the_kernel_told_is_not_answered(void **state)
{
    struct bench *b = *state;
    struct fuse_forget_in in = { .nlookup = 1 };
    uint64_t unique = bench_send(b, FUSE_FORGET, 1, BENCH_PART(in), NULL);

    (void)bench_answer(b, send_getattr(b));
    bench_replace_worker(b);
    (void)bench_answer(b, send_getattr(b));
    assert_false(bench_answered(b, unique));
}

/* --- what somebody else left there -------------------------------------------------------------------------------- */

static void put_used(const struct bench *b, uint64_t used)
{
    write_at(b, offsetof(struct owed_head, used), &used, sizeof(used));
}

static void put(const struct bench *b, size_t place, uint64_t unique, uint64_t size, const struct fuse_in_header *head)
{
    size_t at = CHUNK_PAGE + (place + 1) * OWED_PLACE;

    write_at(b, at + offsetof(struct owed_request, unique), &unique, sizeof(unique));
    write_at(b, at + offsetof(struct owed_request, size), &size, sizeof(size));
    write_at(b, at + offsetof(struct owed_request, bytes), head, sizeof(*head));
}

static void nonsense_fails_and_harms_nobody(void **state)
{
    struct bench *b = *state;
    struct fuse_in_header head = { .len = sizeof(head), .opcode = FUSE_GETATTR, .unique = 1001, .nodeid = 1 };
    static const uint64_t sizes[] = { 0, sizeof(head) - 1, sizeof(head) + 1, OWED_PLACE, UINT64_MAX };
    uint64_t unique = 100000;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        head.unique = unique + i;
        put(b, i, unique + i, sizes[i], &head);
    }
    put_used(b, UINT64_MAX);
    head.unique = 1;
    put(b, ARRAY_SIZE(sizes), unique + ARRAY_SIZE(sizes), sizeof(head), &head);
    head = (struct fuse_in_header){ .len = UINT32_MAX, .opcode = FUSE_GETATTR, .unique = 77 };
    write_at(b, CHUNK_PAGE + OWED_READ_AT, &head, sizeof(head));
    bench_replace_worker(b);
    for (size_t i = 0; i <= ARRAY_SIZE(sizes); i++)
        assert_int_equal(bench_answer(b, unique + i)->head.error, -EIO);
    assert_int_equal(bench_answer(b, 77)->head.error, -EIO);
    b->unique = 2 * unique;
    assert_int_equal(bench_answer(b, send_getattr(b))->head.error, 0);
}

static void put_mkdir(struct bench *b, uint64_t unique, uint64_t tries)
{
    struct {
        struct fuse_in_header head;
        struct fuse_mkdir_in in;
        char name[2];
    } r = { .head = { .len = sizeof(r), .opcode = FUSE_MKDIR, .unique = unique, .nodeid = 1, .uid = b->uid },
            .in = { .mode = 0755 }, .name = "d" };
    size_t at = CHUNK_PAGE + OWED_PLACE;

    put(b, 0, unique, sizeof(r), &r.head);
    write_at(b, at + offsetof(struct owed_request, bytes), &r, sizeof(r));
    write_at(b, at + offsetof(struct owed_request, tries), &tries, sizeof(tries));
    put_used(b, 1);
}

/* The worker was killed between the answer and the note of it. */
static void what_the_kernel_does_not_wait_for_is_not_carried_out(void **state)
{
    struct bench *b = *state;
    uint64_t unique = send_getattr(b);

    (void)bench_answer(b, unique);
    put_mkdir(b, unique, 0);
    bench_replace_worker(b);
    (void)bench_answer(b, send_getattr(b));
    assert_int_equal(ASKED(b, FS_MKDIR), 0);
}

static void what_workers_die_of_fails_in_the_end(void **state)
{
    struct bench *b = *state;

    put_mkdir(b, 100000, 2);
    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, 100000)->head.error, 0);
    put_mkdir(b, 100002, 3);
    bench_replace_worker(b);
    assert_int_equal(bench_answer(b, 100002)->head.error, -EIO);
}

static void its_size_stays(void **state)
{
    const struct bench *b = *state;
    struct stat st;

    assert_int_equal(fstat(b->owed, &st), 0);
    assert_int_equal(ftruncate(b->owed, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(b->owed, 2 * st.st_size), -1);
}

int main(void)
{
#define TEST(story) cmocka_unit_test_setup_teardown(story, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_read_that_waits_is_answered_by_the_next_worker),
        TEST(a_large_write_that_waits_is_carried_out),
        TEST(many_that_wait_keep_their_order),
        TEST(what_was_answered_is_not_carried_out_again),
        TEST(one_that_waited_and_was_answered_is_not_either),
        TEST(one_before_5_17_is_served_too),
        TEST(nothing_is_sent_that_such_a_kernel_does_not_know),
        TEST(one_just_delivered_is_taken_up),
        TEST(one_that_the_kernel_gave_up_is_left_alone),
        TEST(what_the_kernel_told_is_not_answered),
        TEST(nonsense_fails_and_harms_nobody),
        TEST(what_the_kernel_does_not_wait_for_is_not_carried_out),
        TEST(what_workers_die_of_fails_in_the_end),
        TEST(its_size_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
