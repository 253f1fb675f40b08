/* How many changes a user may make: the burst, the pace after it, pauses, and that users do not share it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontd/rate.h"

enum { USER = 1000, ROOT = 0 };
static const int64_t SECOND = 1000000000, BEGIN = INT64_C(5) * 1000000000;

static unsigned taken(struct rate *r, uid_t uid, int64_t now, unsigned tries)
{
    unsigned n = 0;

    for (unsigned i = 0; i < tries; i++)
        n += rate_take(r, uid, now);
    return n;
}

static void a_burst_and_then_the_pace(void **state)
{
    struct rate r = { .per_second = 10 };
    unsigned n = 0;

    (void)state;
    assert_int_equal(taken(&r, USER, BEGIN, 1000), 10 * RATE_BURST_SECONDS);
    for (unsigned i = 1; i <= 1000; i++)
        n += taken(&r, USER, BEGIN + i * SECOND / 100, 5);
    assert_in_range(n, 99, 101);
}

static void a_pause_gives_the_burst_back_and_no_more(void **state)
{
    struct rate r = { .per_second = 10 };

    (void)state;
    assert_int_equal(taken(&r, USER, BEGIN, 1000), 40);
    assert_int_equal(taken(&r, USER, BEGIN + 2 * SECOND, 1000), 20);
    assert_int_equal(taken(&r, USER, BEGIN + 1000 * SECOND, 1000), 40);
}

static void users_do_not_share_it(void **state)
{
    struct rate r = { .per_second = 10 };

    (void)state;
    assert_int_equal(taken(&r, USER, BEGIN, 1000), 40);
    assert_int_equal(taken(&r, ROOT, BEGIN, 1000), 40);
    assert_int_equal(taken(&r, USER, BEGIN, 1000), 0);
}

static void none_is_no_limit(void **state)
{
    struct rate r = { .per_second = 0 };

    (void)state;
    assert_int_equal(taken(&r, USER, BEGIN, 100000), 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_pace),
        cmocka_unit_test(a_pause_gives_the_burst_back_and_no_more),
        cmocka_unit_test(users_do_not_share_it),
        cmocka_unit_test(none_is_no_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
