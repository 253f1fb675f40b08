/* common/random: no id comes twice, in whatever process and thread. */
#include "common/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 1000, FEW = 40, CHILDREN = 3 };

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void draw(uint64_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = random_id();
}

static void assert_all_differ(uint64_t *ids, size_t n)
{
    qsort(ids, n, sizeof(*ids), compare);
    assert_true(ids[0] != 0);
    for (size_t i = 1; i < n; i++)
        assert_true(ids[i - 1] != ids[i]);
}

static void ids_differ(void **state)
{
    uint64_t ids[MANY];

    (void)state;
    draw(ids, MANY);
    assert_all_differ(ids, MANY);
}

/* The parent's store is neither empty nor new when its children begin. */
static void a_child_draws_its_own(void **state)
{
    uint64_t ids[(CHILDREN + 1) * FEW];
    int ends[2];

    (void)state;
    (void)random_id();
    assert_int_equal(pipe(ends), 0);
    for (size_t i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        int status;

        if (child == 0) {
            draw(ids, FEW);
            _exit(write(ends[1], ids, FEW * sizeof(*ids)) == FEW * sizeof(*ids) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(read(ends[0], ids + i * FEW, FEW * sizeof(*ids)), FEW * sizeof(*ids));
    }
    draw(ids + CHILDREN * FEW, FEW);
    assert_all_differ(ids, (CHILDREN + 1) * FEW);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void *draw_many(void *arg)
{
    draw(arg, MANY);
    return NULL;
}

static void threads_draw_their_own(void **state)
{
    static uint64_t ids[2 * MANY];
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, draw_many, ids), 0);
    draw(ids + MANY, MANY);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_all_differ(ids, 2 * MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_differ),
        cmocka_unit_test(a_child_draws_its_own),
        cmocka_unit_test(threads_draw_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
