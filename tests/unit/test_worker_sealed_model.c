/* A sealed file in the worker against a plain array: random operations of a program, and of syncd behind its back.
 * After a failure SEED= in the environment repeats it. */
#include "tests/unit/sealed_bench.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/number.h"

enum { FILE_MOST = 6 * CHUNK_SIZE, ASK_MOST = 3 * CHUNK_SIZE, STEPS = 1500, BATCH = 6 };

struct model {
    struct sealed_bench *s;
    uint64_t ino, size;
    bool dirty;
    uint8_t bytes[FILE_MOST];
    uint8_t given[FILE_MOST];
    unsigned seed, step;
};

static unsigned draw(struct model *m, unsigned below)
{
    return (unsigned)rand_r(&m->seed) % below;
}

/* Edges of chunks, and next to them, are where things go wrong. */
static uint64_t place(struct model *m, uint64_t most)
{
    uint64_t at = (uint64_t)draw(m, FILE_MOST / CHUNK_SIZE + 1) * CHUNK_SIZE;

    if (draw(m, 3) == 0)
        at += draw(m, 7);
    else if (draw(m, 2))
        at = draw(m, FILE_MOST + 1);
    return least(at, most);
}

static uint64_t length(struct model *m, uint64_t most)
{
    static const uint32_t likely[] = { 1, 2, 4095, 4096, 4097, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, ASK_MOST };
    uint64_t n = draw(m, 2) ? likely[draw(m, ARRAY_SIZE(likely))] : draw(m, ASK_MOST) + 1;

    return least(n, most);
}

static const uint8_t *fresh(struct model *m, uint64_t at, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        m->given[at + i] = (uint8_t)draw(m, 256);
    return m->given + at;
}

static void note(struct model *m, uint64_t at, const uint8_t *bytes, uint64_t n)
{
    memcpy(m->bytes + at, bytes, n);
    m->size = most(m->size, at + n);
    m->dirty = true;
}

static void write_once(struct model *m)
{
    uint64_t at = place(m, FILE_MOST - 1), n = length(m, FILE_MOST - at);

    sealed_bench_write(m->s, m->ino, at, fresh(m, at, n), n);
    note(m, at, m->given + at, n);
}

/* Beside each other, in the same chunks, all at once; as a mapping's pages are written back. */
static void write_at_once(struct model *m)
{
    uint64_t piece = 1 + draw(m, 20000), at = place(m, FILE_MOST - 1), uniques[BATCH];
    size_t n = 0;

    for (; n < BATCH && at + piece <= FILE_MOST; at += piece, n++) {
        (void)fresh(m, at, piece);
        uniques[n] = bench_send_write(m->s->b, m->ino, at, (char *)m->given + at, (uint32_t)piece);
        note(m, at, m->given + at, piece);
    }
    if (draw(m, 4) == 0) {
        sealed_bench_kill(m->s);
        sealed_bench_start(m->s);
    }
    while (n > 0)
        sealed_bench_assert_done(m->s, uniques[--n]);
}

static void write_in_a_row(struct model *m)
{
    uint64_t at = place(m, FILE_MOST - 1), piece = 1 + draw(m, 5000);

    for (int i = 0; i < 12 && at + piece <= FILE_MOST; i++, at += piece) {
        sealed_bench_write(m->s, m->ino, at, fresh(m, at, piece), piece);
        note(m, at, m->given + at, piece);
    }
}

static void read_some(struct model *m)
{
    uint64_t at = m->size ? place(m, m->size - 1) : 0, n = length(m, m->size - at);

    if (n)
        sealed_bench_assert_reads(m->s, m->ino, at, m->bytes + at, n);
}

static void read_all(struct model *m)
{
    for (uint64_t at = 0; at < m->size; at += ASK_MOST)
        sealed_bench_assert_reads(m->s, m->ino, at, m->bytes + at, least(m->size - at, ASK_MOST));
}

static void resize(struct model *m)
{
    uint64_t size = draw(m, 8) ? place(m, FILE_MOST) : 0;

    sealed_bench_assert_done(m->s, sealed_bench_send_resize(m->s, m->ino, size));
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
    m->dirty = true;
}

static void zero(struct model *m)
{
    uint64_t at = place(m, FILE_MOST - 1), n = length(m, FILE_MOST - at), end = at + n;
    bool keep = draw(m, 2);
    int mode = keep ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;

    sealed_bench_assert_done(m->s, sealed_bench_send_fallocate(m->s, m->ino, mode, at, n));
    if (at < m->size)
        memset(m->bytes + at, 0, least(end, m->size) - at);
    m->size = keep ? m->size : most(m->size, end);
    m->dirty = true;
}

static void upload(struct model *m)
{
    fake_uploaded(m->s->b->syncd, m->ino, m->bytes, m->size);
    m->dirty = false;
}

static void evict(struct model *m)
{
    uint64_t chunks = (m->size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
    unsigned first;

    if (m->dirty)
        upload(m);
    if (!chunks)
        return;
    first = draw(m, (unsigned)chunks);
    assert_true(fake_evict(m->s->b->syncd, m->ino, first, 1 + draw(m, (unsigned)chunks - first)));
}

static void replace(struct model *m)
{
    if (draw(m, 10) == 0)
        sealed_bench_replace_worker(m->s);
}

static void sync_some(struct model *m)
{
    struct chunk_map *map = fake_node(m->s->b->syncd, m->ino)->map;

    atomic_store(&map->synced, atomic_load(&map->generation));
}

static void (*const operations[])(struct model *m) = {
    write_once, write_once, write_at_once, write_in_a_row, read_some, read_some, read_all, resize, zero, upload, evict,
    replace, sync_some,
};

static struct model *new_model(struct sealed_bench *s)
{
    const char *seed = getenv("SEED");
    struct model *m = calloc(1, sizeof(*m));

    m->s = s;
    m->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("SEED=%u\n", m->seed);
    m->ino = fake_add_file(s->b->syncd, 1, "f", "", 0);
    (void)bench_open(s->b, m->ino, O_RDWR);
    return m;
}

static void a_sealed_file_is_like_any_other(void **state)
{
    CLEANUP_FREE struct model *m = new_model(*state);
    struct chunk_map *map = fake_node(m->s->b->syncd, m->ino)->map;

    for (m->step = 0; m->step < STEPS; m->step++) {
        operations[draw(m, ARRAY_SIZE(operations))](m);
        assert_int_equal(atomic_load(&map->size), m->size);
        bench_forget(m->s->b);
    }
    read_all(m);
}

/* What cryptd has sealed is all that there is: of what the program wrote nothing is in the file. */
static void the_cache_file_has_no_plaintext(void **state)
{
    CLEANUP_FREE struct model *m = new_model(*state);
    static const char canary[] = "a canary of plaintext 0123456789";
    struct fake_node *n = fake_node(m->s->b->syncd, m->ino);
    char bytes[8192];

    for (uint64_t at = 0; at + sizeof(bytes) < FILE_MOST; at += 3 * sizeof(bytes)) {
        for (size_t i = 0; i < sizeof(bytes); i += 32)
            memcpy(bytes + i, canary, 32);
        sealed_bench_write(m->s, m->ino, at, bytes, sizeof(bytes));
    }
    for (off_t at = 0, next = 0; next >= 0 && (at = lseek(n->data, next, SEEK_DATA)) >= 0; next = at) {
        while (pread(n->data, bytes, sizeof(bytes), at) > 0 && at < next + 64 * CHUNK_SIZE) {
            assert_null(memmem(bytes, sizeof(bytes), canary, 16));
            at += (off_t)sizeof(bytes) - 32;
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sealed_bench_setup, sealed_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sealed_file_is_like_any_other),
        TEST(the_cache_file_has_no_plaintext),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
