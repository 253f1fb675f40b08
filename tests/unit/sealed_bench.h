/* A worker on its bench (worker_bench.h) with a drive whose cache is encrypted, by a real cryptd in a process of its
 * own. */
#pragma once

#include "tests/unit/fake_seal.h"
#include "tests/unit/worker_bench.h"

struct sealed_bench {
    struct bench *b;
    struct fake_seal *seal;
};

/* For cmocka: *state is a struct sealed_bench. */
int sealed_bench_setup(void **state);
int sealed_bench_setup_old_kernel(void **state);
int sealed_bench_teardown(void **state);

/* cryptd is killed, while the worker may be asking; and comes back. */
void sealed_bench_kill(struct sealed_bench *s);
void sealed_bench_start(struct sealed_bench *s);
/* Another worker takes the place of this one. */
void sealed_bench_replace_worker(struct sealed_bench *s);

/* Asserts that the program gets what it asks for. */
void sealed_bench_write(struct sealed_bench *s, uint64_t ino, uint64_t at, const void *bytes, size_t n);
void sealed_bench_assert_reads(struct sealed_bench *s, uint64_t ino, uint64_t at, const void *bytes, size_t n);
uint64_t sealed_bench_send_resize(struct sealed_bench *s, uint64_t ino, uint64_t size);
uint64_t sealed_bench_send_fallocate(struct sealed_bench *s, uint64_t ino, int mode, uint64_t at, uint64_t n);
void sealed_bench_assert_done(struct sealed_bench *s, uint64_t unique);
