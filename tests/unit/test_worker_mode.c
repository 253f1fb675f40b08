/* mountd/worker_mode.c: which files the kernel reads past the worker, and that it is never given two modes for one. */
#include "tests/unit/worker_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/alloc.h"
#include "mountd/fuse_recent.h"

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

static uint64_t whole_file(struct bench *b, const char *name)
{
    uint64_t ino = fake_add_file(b->syncd, 1, name, "content", 7);

    fake_node(b->syncd, ino)->whole = true;
    return ino;
}

static struct fuse_open_out opened(struct bench *b, uint64_t unique)
{
    const struct packet *p = bench_answer(b, unique);
    struct fuse_open_out out;

    assert_int_equal(p->head.error, 0);
    assert_int_equal(p->size, sizeof(out));
    (void)memcpy(&out, p->body, sizeof(out));
    return out;
}

static void assert_mode(struct fuse_open_out out, uint32_t flags, uint32_t id)
{
    assert_int_equal(out.open_flags, flags);
    assert_int_equal(out.padding, id);
}

/* What was sent before this is answered. */
static void settle(struct bench *b)
{
    struct fuse_getattr_in in = { 0 };

    (void)bench_answer(b, bench_send(b, FUSE_GETATTR, (uint64_t)1, BENCH_PART(in), NULL));
}

static void passthrough_is_negotiated(void **state)
{
    struct fuse_init_out out;

    (void)memcpy(&out, bench_answer(*state, 1)->body, sizeof(out));
    assert_true(out.flags & FUSE_INIT_EXT);
    assert_true(out.flags2 & PASSTHROUGH_FLAG2);
    assert_int_equal(out.unused[0], PASSTHROUGH_DEPTH);
}

static void a_whole_file_is_passed(void **state)
{
    struct bench *b = *state;
    uint64_t ino = whole_file(b, "f");

    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_PASSTHROUGH, 1);
    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_PASSTHROUGH, 1);
    assert_int_equal(b->backings, 1);
    bench_release(b, ino, O_RDONLY);
    settle(b);
    assert_int_equal(b->closed_backings, 0);
    bench_release(b, ino, O_RDONLY);
    wait_until(b, b->closed_backings == 1);
    assert_int_equal(b->closed_backing, 1);
    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_PASSTHROUGH, 2);
}

static void one_that_is_not_is_cached(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "content", 7);

    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_KEEP_CACHE, 0);
    assert_mode(opened(b, bench_open(b, ino, O_RDWR)), FOPEN_KEEP_CACHE, 0);
    fake_node(b->syncd, ino)->whole = true;   /* it has become so, but the handles stay what they are */
    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_KEEP_CACHE, 0);
    assert_int_equal(b->backings, 0);
}

static void a_writer_beside_a_reader_comes_to_the_worker(void **state)
{
    struct bench *b = *state;
    uint64_t ino = whole_file(b, "f");

    (void)bench_open(b, ino, O_RDONLY);
    assert_mode(opened(b, bench_open(b, ino, O_RDWR)), FOPEN_PASSTHROUGH | FOPEN_DIRECT_IO, 1);
    fake_node(b->syncd, ino)->whole = false;
    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_PASSTHROUGH | FOPEN_DIRECT_IO, 1);
}

static void two_that_register_at_once_get_one_file(void **state)
{
    struct bench *b = *state;
    uint64_t ino = whole_file(b, "f"), first, second;
    struct fuse_open_in in = { .flags = O_RDONLY };

    first = bench_send(b, FUSE_OPEN, ino, BENCH_PART(in), NULL);
    second = bench_send(b, FUSE_OPEN, ino, BENCH_PART(in), NULL);
    assert_mode(opened(b, first), FOPEN_PASSTHROUGH, 1);
    assert_mode(opened(b, second), FOPEN_PASSTHROUGH, 1);
    assert_int_equal(b->backings, 2);
    wait_until(b, b->closed_backings == 1);
    assert_int_equal(b->closed_backing, 2);
}

static void a_kernel_that_cannot_is_not_asked_twice(void **state)
{
    struct bench *b = *state;
    uint64_t ino = whole_file(b, "f"), other = whole_file(b, "g");

    b->no_backing = true;
    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_KEEP_CACHE, 0);
    assert_mode(opened(b, bench_open(b, other, O_RDONLY)), FOPEN_KEEP_CACHE, 0);
    assert_int_equal(b->backings, 1);
}

/* A file of which all chunks but the last `absent` are here. */
static uint64_t large_file(struct bench *b, const char *name, uint64_t absent)
{
    static char content[CHUNK_PASSED_LEAST];
    uint64_t ino = fake_add_file(b->syncd, 1, name, content, sizeof(content));

    for (uint64_t c = 0; c < sizeof(content) / CHUNK_SIZE - absent; c++)
        chunk_set(fake_node(b->syncd, ino)->map, c);
    return ino;
}

/* Else the open that is passed, the next, would wait for it. Of one that is not whole they are of use. */
static void what_has_become_whole_gives_the_pages_back(void **state)
{
    struct bench *b = *state;
    uint64_t inos[] = { large_file(b, "part", 1), large_file(b, "whole", 0) };
    struct fuse_notify_inval_inode_out out;

    for (size_t n = 0; n < ARRAY_SIZE(inos); n++) {
        (void)bench_open(b, inos[n], O_RDONLY);
        bench_release(b, inos[n], O_RDONLY);
    }
    (void)memcpy(&out, bench_notified(b, FUSE_NOTIFY_INVAL_INODE)->body, sizeof(out));
    assert_int_equal(out.ino, inos[1]);
    assert_int_equal(out.off, 0);
}

static void a_successor_knows_the_modes(void **state)
{
    struct bench *b = *state;
    uint64_t passed = whole_file(b, "f"), cached = fake_add_file(b->syncd, 1, "g", "content", 7);

    (void)bench_open(b, passed, O_RDONLY);
    (void)bench_open(b, cached, O_RDONLY);
    bench_replace_worker(b);
    fake_node(b->syncd, cached)->whole = true;
    assert_mode(opened(b, bench_open(b, passed, O_RDWR)), FOPEN_PASSTHROUGH | FOPEN_DIRECT_IO, 1);
    assert_mode(opened(b, bench_open(b, cached, O_RDONLY)), FOPEN_KEEP_CACHE, 0);
    bench_release(b, passed, O_RDWR);
    bench_release(b, passed, O_RDONLY);
    bench_release(b, cached, O_RDONLY);
    bench_release(b, cached, O_RDONLY);
    wait_until(b, b->closed_backings == 1);
    assert_mode(opened(b, bench_open(b, cached, O_RDONLY)), FOPEN_PASSTHROUGH, 2);
}

static void a_release_of_an_older_handle_is_counted(void **state)
{
    struct bench *b = *state;
    uint64_t ino = whole_file(b, "f");

    (void)bench_open(b, ino, O_RDONLY);
    bench_replace_worker(b);
    bench_release(b, ino, O_RDONLY);
    wait_until(b, b->closed_backings == 1);
    assert_int_equal(fake_node(b->syncd, ino)->map->passed, 0);
}

static void what_another_mount_left_does_not_count(void **state)
{
    struct bench *b = *state;
    uint64_t ino = whole_file(b, "f");
    struct chunk_map *m = fake_node(b->syncd, ino)->map;

    m->mount_tag = BENCH_TAG + 1;
    m->passed = 3;
    m->cached = 4;
    m->backing_id = 99;
    assert_mode(opened(b, bench_open(b, ino, O_RDONLY)), FOPEN_PASSTHROUGH, 1);
    assert_int_equal(m->passed, 1);
    assert_int_equal(m->cached, 0);
    assert_int_equal(m->mount_tag, BENCH_TAG);
}

#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(passthrough_is_negotiated),
        WITH_BENCH(a_whole_file_is_passed),
        WITH_BENCH(one_that_is_not_is_cached),
        WITH_BENCH(a_writer_beside_a_reader_comes_to_the_worker),
        WITH_BENCH(two_that_register_at_once_get_one_file),
        WITH_BENCH(a_kernel_that_cannot_is_not_asked_twice),
        WITH_BENCH(what_has_become_whole_gives_the_pages_back),
        WITH_BENCH(a_successor_knows_the_modes),
        WITH_BENCH(a_release_of_an_older_handle_is_counted),
        WITH_BENCH(what_another_mount_left_does_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
