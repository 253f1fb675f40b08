/* mountd/worker_wait: awake only where the next request is likely to come at once, and not for long in vain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "common/loop.h"
#include "mountd/worker_internal.h"

static const int64_t US = 1000, LOOK_NS = 500;

static int64_t now_ns, comes_ns;   /* the time, and when there will be a request */
static unsigned looks;

int64_t __wrap_loop_now_ns(void);
int __wrap_fuse_session_receive_buf(struct fuse_session *session, struct fuse_buf *buf);

int64_t __wrap_loop_now_ns(void)
{
    return now_ns;
}

int __wrap_fuse_session_receive_buf(struct fuse_session *session, struct fuse_buf *buf)
{
    (void)session;
    (void)buf;
    looks++;
    now_ns += LOOK_NS;
    if (now_ns < comes_ns)
        return -EAGAIN;
    comes_ns = INT64_MAX;
    return 1;
}

static int setup(void **state)
{
    static struct worker worker;

    worker = (struct worker){ 0 };
    now_ns = US * US;
    comes_ns = INT64_MAX;
    looks = 0;
    *state = &worker;
    return 0;
}

/* One request that comes after so long. True: it was waited for awake. */
static bool ask(struct worker *w, int64_t after_ns)
{
    comes_ns = now_ns + after_ns;
    if (wait_receive(w) > 0)
        return true;
    now_ns = comes_ns > now_ns ? comes_ns : now_ns;
    w->now_ns = now_ns;
    wait_ended(w);
    assert_int_equal(wait_receive(w), 1);
    return false;
}

static void ask_often(struct worker *w, unsigned n, int64_t after_ns)
{
    while (n-- > 0)
        (void)ask(w, after_ns);
}

static void the_first_requests_are_slept_for(void **state)
{
    for (unsigned n = 0; n < 4; n++)
        assert_false(ask(*state, 40 * US));
    assert_true(ask(*state, 40 * US));
}

static void rare_requests_are_slept_for(void **state)
{
    for (unsigned n = 0; n < 20; n++)
        assert_false(ask(*state, 400 * US));
}

static void one_rare_request_counts_from_anew(void **state)
{
    ask_often(*state, 3, 40 * US);
    assert_false(ask(*state, 400 * US));
    ask_often(*state, 3, 40 * US);
    assert_false(ask(*state, 40 * US));
    assert_true(ask(*state, 40 * US));
}

static void a_wait_in_vain_is_short(void **state)
{
    int64_t since;

    ask_often(*state, 4, 40 * US);
    since = now_ns;
    assert_int_equal(wait_receive(*state), -EAGAIN);
    assert_in_range(now_ns - since, 50 * US, 70 * US);
}

/* Where none comes while we are awake, it is ever more seldom tried. */
static void waits_in_vain_become_rare(void **state)
{
    ask_often(*state, 10000, 100 * US);
    assert_in_range(looks, 20000, 22500);
}

static void one_that_came_in_time_makes_up_for_those(void **state)
{
    ask_often(*state, 1000, 100 * US);
    ask_often(*state, 2000, 20 * US);
    assert_true(ask(*state, 20 * US));
    assert_int_equal(wait_receive(*state), -EAGAIN);
    ask_often(*state, 9, 20 * US);
    assert_true(ask(*state, 20 * US));
}

static void what_waits_for_others_is_never_waited_beside(void **state)
{
    struct worker *w = *state;

    ask_often(w, 10, 20 * US);
    w->ops = 1;
    looks = 0;
    assert_int_equal(wait_receive(w), -EAGAIN);
    assert_int_equal(looks, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_requests_are_slept_for, setup),
        cmocka_unit_test_setup(rare_requests_are_slept_for, setup),
        cmocka_unit_test_setup(one_rare_request_counts_from_anew, setup),
        cmocka_unit_test_setup(a_wait_in_vain_is_short, setup),
        cmocka_unit_test_setup(waits_in_vain_become_rare, setup),
        cmocka_unit_test_setup(one_that_came_in_time_makes_up_for_those, setup),
        cmocka_unit_test_setup(what_waits_for_others_is_never_waited_beside, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
