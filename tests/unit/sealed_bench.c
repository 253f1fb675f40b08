/* See sealed_bench.h. */
#include "tests/unit/sealed_bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

static const uint8_t *next_key(void *arg)
{
    return fake_seal_key(arg);
}

static int setup(void **state, struct bench *b)
{
    struct sealed_bench *s = xcalloc(1, sizeof(*s));

    s->b = b;
    s->seal = fake_seal_new(s->b->loop);
    s->b->syncd->sealing = &s->seal->io;
    s->b->syncd->sealed_key = next_key;
    s->b->syncd->sealed_arg = s->seal;
    fake_cryptd(s->b->syncd, fake_seal_lend(s->seal));
    *state = s;
    return 0;
}

int sealed_bench_setup(void **state)
{
    return setup(state, bench_new());
}

int sealed_bench_setup_old_kernel(void **state)
{
    return setup(state, bench_new_old_kernel());
}

int sealed_bench_teardown(void **state)
{
    struct sealed_bench *s = *state;

    wait_until(s->b, s->b->syncd->sealing_now == 0);
    fake_seal_free(s->seal);
    bench_free(s->b);
    free(s);
    return 0;
}

void sealed_bench_kill(struct sealed_bench *s)
{
    fake_seal_kill(s->seal);
}

void sealed_bench_start(struct sealed_bench *s)
{
    fake_seal_start(s->seal);
    fake_cryptd(s->b->syncd, fake_seal_lend(s->seal));
}

void sealed_bench_replace_worker(struct sealed_bench *s)
{
    bench_replace_worker(s->b);
    fake_cryptd(s->b->syncd, fake_seal_lend(s->seal));
}

void sealed_bench_assert_done(struct sealed_bench *s, uint64_t unique)
{
    assert_int_equal(bench_answer(s->b, unique)->head.error, 0);
}

void sealed_bench_write(struct sealed_bench *s, uint64_t ino, uint64_t at, const void *bytes, size_t n)
{
    sealed_bench_assert_done(s, bench_send_write(s->b, ino, at, bytes, (uint32_t)n));
}

void sealed_bench_assert_reads(struct sealed_bench *s, uint64_t ino, uint64_t at, const void *bytes, size_t n)
{
    const struct packet *p = bench_answer(s->b, bench_send_read(s->b, ino, at, (uint32_t)n, O_RDWR));

    assert_int_equal(p->head.error, 0);
    assert_int_equal(p->size, n);
    assert_memory_equal(p->body, bytes, n);
}

uint64_t sealed_bench_send_resize(struct sealed_bench *s, uint64_t ino, uint64_t size)
{
    struct fuse_setattr_in in = { .valid = FATTR_SIZE, .size = size };

    return bench_send(s->b, FUSE_SETATTR, ino, BENCH_PART(in), NULL);
}

uint64_t sealed_bench_send_fallocate(struct sealed_bench *s, uint64_t ino, int mode, uint64_t at, uint64_t n)
{
    struct fuse_fallocate_in in = { .offset = at, .length = n, .mode = (uint32_t)mode };

    return bench_send(s->b, FUSE_FALLOCATE, ino, BENCH_PART(in), NULL);
}
