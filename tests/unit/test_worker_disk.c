/* mountd/worker on a disk that fails: bytes that the cache file does not give are asked for once more, and a map that
 * breaks off is had anew. */
#include "tests/unit/worker_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ASKED(b, BODY) ((b)->syncd->asked[LF__ENVELOPE__BODY_##BODY])

static unsigned failing_reads, failing_writes;

ssize_t __real_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset);

static bool fails(unsigned *n)
{
    if (*n == 0)
        return false;
    --*n;
    errno = EIO;
    return true;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset)
{
    return fails(&failing_reads) ? -1 : __real_pread(fd, bytes, n, offset);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    return fails(&failing_writes) ? -1 : __real_pwrite(fd, bytes, n, offset);
}

static int setup(void **state)
{
    failing_reads = failing_writes = 0;
    *state = bench_new();
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void assert_reads(struct bench *b, uint64_t unique, const char *bytes)
{
    const struct packet *p = bench_answer(b, unique);

    assert_int_equal(p->head.error, 0);
    assert_int_equal(p->size, strlen(bytes));
    assert_memory_equal(p->body, bytes, strlen(bytes));
}

static uint64_t send_read(struct bench *b, uint64_t ino)
{
    return bench_send_read(b, ino, 0, 11, O_RDONLY);
}

/* A file that is open for reading and wholly here. */
static uint64_t open_file(struct bench *b, int flags)
{
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, flags);
    assert_reads(b, send_read(b, ino), "cloud bytes");
    return ino;
}

/* --- bytes ------------------------------------------------------------------------------------------------- */

static void what_cannot_be_read_is_asked_for(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDONLY);
    unsigned before = ASKED(b, FS_FETCH);

    failing_reads = 1;
    assert_reads(b, send_read(b, ino), "cloud bytes");
    assert_int_equal(ASKED(b, FS_FETCH), before + 1);
    assert_int_equal(b->syncd->unreadable, 1);
    assert_reads(b, send_read(b, ino), "cloud bytes");
    assert_int_equal(ASKED(b, FS_FETCH), before + 1);
}

static void it_is_asked_for_once(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDONLY);

    failing_reads = 2;
    assert_int_equal(bench_answer(b, send_read(b, ino))->head.error, -EIO);
    assert_int_equal(b->syncd->unreadable, 1);
}

static void what_the_cloud_lacks_is_an_error(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDONLY), unique;

    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    b->syncd->fail = -EIO;
    failing_reads = 1;
    unique = send_read(b, ino);
    assert_int_equal(bench_answer(b, unique)->head.error, -EIO);
}

static void a_write_that_fails_is_an_error(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDWR);

    failing_writes = 1;
    assert_int_equal(bench_answer(b, bench_send_write(b, ino, 0, "ours", 4))->head.error, -EIO);
    assert_int_equal(bench_answer(b, bench_send_write(b, ino, 0, "ours", 4))->head.error, 0);
    assert_reads(b, send_read(b, ino), "oursd bytes");
}

/* --- maps --------------------------------------------------------------------------------------------------- */

/* The next look at it is a SIGBUS, for the worker and for everybody else. */
static void break_map(struct bench *b, uint64_t ino)
{
    assert_int_equal(ftruncate(fake_node(b->syncd, ino)->map_fd, 0), 0);
}

static void mend_map(struct bench *b, uint64_t ino)
{
    struct fake_node *n = fake_node(b->syncd, ino);

    assert_int_equal(ftruncate(n->map_fd, CHUNK_MAP_SIZE), 0);
    n->map->magic = CHUNK_MAP_MAGIC;
    n->map->chunk_shift = CHUNK_SHIFT;
    n->map->ino = ino;
    atomic_store(&n->map->fetchable, n->size);
    chunk_set(n->map, 0);
}

/* The worker opens it anew, and finds it whole. */
static void mend_when_asked(struct bench *b, uint64_t ino)
{
    wait_until(b, b->syncd->n_held == 1);
    mend_map(b, ino);
    fake_resume(b->syncd);
}

static void a_lost_map_is_had_anew(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDONLY), unique;

    b->syncd->hold = LF__ENVELOPE__BODY_FS_OPEN;
    break_map(b, ino);
    unique = send_read(b, ino);
    mend_when_asked(b, ino);
    assert_reads(b, unique, "cloud bytes");
    assert_reads(b, send_read(b, ino), "cloud bytes");
    assert_int_equal(fake_node(b->syncd, ino)->opens[0], 1);   /* the surplus was given back */
}

static void a_write_waits_for_the_new_one(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDWR), unique;
    char bytes[5] = "";

    assert_int_equal(bench_answer(b, bench_send_write(b, ino, 6, "B", 1))->head.error, 0);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_OPEN;
    break_map(b, ino);
    unique = bench_send_write(b, ino, 0, "ours", 4);
    wait_until(b, b->syncd->n_held == 1);
    assert_int_equal(__real_pread(fake_node(b->syncd, ino)->data, bytes, 4, 0), 4);
    assert_string_equal(bytes, "clou");   /* nobody could have seen that it changed */
    mend_when_asked(b, ino);
    assert_int_equal(bench_answer(b, unique)->head.error, 0);
    assert_reads(b, send_read(b, ino), "oursd Bytes");
    assert_int_equal(fake_node(b->syncd, ino)->opens[1], 1);
}

static void one_that_stays_lost_is_an_error(void **state)
{
    struct bench *b = *state;
    uint64_t ino = open_file(b, O_RDONLY), unique;
    unsigned opens;

    b->syncd->hold = LF__ENVELOPE__BODY_FS_OPEN;
    b->syncd->fail = -EIO;
    break_map(b, ino);
    unique = send_read(b, ino);
    assert_int_equal(bench_answer(b, unique)->head.error, -EIO);
    opens = ASKED(b, FS_OPEN);
    assert_int_equal(bench_answer(b, send_read(b, ino))->head.error, -EIO);
    assert_int_equal(ASKED(b, FS_OPEN), opens + 1);
    bench_release(b, ino, O_RDONLY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_cannot_be_read_is_asked_for),
        TEST(it_is_asked_for_once),
        TEST(what_the_cloud_lacks_is_an_error),
        TEST(a_write_that_fails_is_an_error),
        TEST(a_lost_map_is_had_anew),
        TEST(a_write_waits_for_the_new_one),
        TEST(one_that_stays_lost_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
