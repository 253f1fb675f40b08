/* common/loop: deferred calls, timers, stopping, the pool. */
#include "common/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

struct trail {
    struct loop *loop;
    char letters[64];
    size_t n;
    int jobs_left;
    struct loop_timer *timer;
};

static void add_letter(struct trail *t, char c)
{
    t->letters[t->n++] = c;
}

static void defer_a(void *arg)
{
    add_letter(arg, 'a');
}

static void exit_7(void *arg)
{
    loop_exit(((struct trail *)arg)->loop, 7);
}

static void defer_more(void *arg)
{
    struct trail *t = arg;

    loop_defer(t->loop, defer_a, t);
    loop_defer(t->loop, exit_7, t);
    add_letter(t, 'b');
}

static void defers_in_order_and_later(void **state)
{
    struct trail t = { .loop = loop_new(0) };

    (void)state;
    loop_defer(t.loop, defer_a, &t);
    loop_defer(t.loop, defer_more, &t);
    loop_defer(t.loop, defer_a, &t);
    assert_int_equal(t.n, 0);
    assert_int_equal(loop_run(t.loop), 7);
    assert_string_equal(t.letters, "abaa");
    loop_free(t.loop);
}

static void on_long(void *arg)
{
    struct trail *t = arg;

    add_letter(t, 'l');
    loop_exit(t->loop, 0);
}

static void on_short(void *arg)
{
    struct trail *t = arg;

    add_letter(t, 's');
    loop_timer_free(t->timer);
    t->timer = NULL;
}

static void timers_fire_once_in_their_order(void **state)
{
    struct trail t = { .loop = loop_new(0) };
    int64_t began = loop_now_ns();
    struct loop_timer *later = loop_timer(t.loop, 30, on_long, &t);
    struct loop_timer *never = loop_timer(t.loop, 5, defer_a, &t);

    (void)state;
    t.timer = loop_timer(t.loop, 1, on_short, &t);
    loop_timer_free(never);
    loop_timer_free(NULL);
    assert_int_equal(loop_run(t.loop), 0);
    assert_string_equal(t.letters, "sl");
    assert_true(loop_now_ns() - began >= 20 * 1000000);
    loop_timer_free(later);
    loop_free(t.loop);
}

static void raise_signal(void *arg)
{
    (void)arg;
    (void)raise(SIGTERM);
    (void)raise(SIGINT);
}

static void on_stopping(void *arg)
{
    struct trail *t = arg;

    add_letter(t, 'x');
    loop_defer(t->loop, exit_7, t);
}

static void signals_stop_in_an_orderly_way_once(void **state)
{
    struct trail t = { .loop = loop_new(0) };

    (void)state;
    loop_on_stop(t.loop, on_stopping, &t);
    loop_defer(t.loop, raise_signal, &t);
    assert_int_equal(loop_run(t.loop), 7);
    assert_string_equal(t.letters, "x");
    loop_free(t.loop);
}

static void stopping_without_a_callback_exits(void **state)
{
    struct loop *l = loop_new(1);

    (void)state;
    loop_stop(l);
    assert_int_equal(loop_run(l), 0);
    loop_free(l);
}

struct job {
    struct trail *trail;
    pthread_t worked_in;
    int number, worked, done;
};

static void job_work(void *arg)
{
    struct job *j = arg;

    j->worked_in = pthread_self();
    j->worked++;
}

static void job_done(void *arg)
{
    struct job *j = arg;

    j->done++;
    assert_int_equal(j->worked, 1);
    if (--j->trail->jobs_left == 0)
        loop_exit(j->trail->loop, 0);
}

static void run_jobs(unsigned threads, struct job *jobs, size_t n)
{
    struct trail t = { .loop = loop_new(threads), .jobs_left = (int)n };

    for (size_t i = 0; i < n; i++) {
        jobs[i] = (struct job){ .trail = &t };
        loop_work(t.loop, job_work, job_done, &jobs[i]);
        assert_int_equal(jobs[i].done, 0);
    }
    assert_int_equal(loop_run(t.loop), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(jobs[i].done, 1);
    loop_free(t.loop);
}

static void pool_does_every_job_elsewhere(void **state)
{
    struct job jobs[200];

    (void)state;
    run_jobs(3, jobs, ARRAY_SIZE(jobs));
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        assert_false(pthread_equal(jobs[i].worked_in, pthread_self()));
}

static void without_threads_work_is_done_in_the_loop(void **state)
{
    struct job jobs[5];

    (void)state;
    run_jobs(0, jobs, ARRAY_SIZE(jobs));
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        assert_true(pthread_equal(jobs[i].worked_in, pthread_self()));
}

/* One thread, held by a pipe until all jobs wait: they must come out in the order they went in. */
struct ordered {
    struct trail *trail;
    int gate, letter;
};

static void ordered_work(void *arg)
{
    struct ordered *o = arg;
    char byte;

    if (o->gate >= 0 && read(o->gate, &byte, 1) != 1)
        abort();
    add_letter(o->trail, (char)o->letter);
}

static void ordered_done(void *arg)
{
    struct ordered *o = arg;

    if (--o->trail->jobs_left == 0)
        loop_exit(o->trail->loop, 0);
}

static void jobs_start_in_the_order_given(void **state)
{
    struct trail t = { .loop = loop_new(1), .jobs_left = 4 };
    struct ordered jobs[4];
    int gate[2];

    (void)state;
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct ordered){ &t, i == 0 ? gate[0] : -1, 'a' + i };
        loop_work(t.loop, ordered_work, ordered_done, &jobs[i]);
    }
    assert_int_equal(write(gate[1], "x", 1), 1);
    assert_int_equal(loop_run(t.loop), 0);
    assert_string_equal(t.letters, "abcd");
    loop_free(t.loop);
    (void)close(gate[0]);
    (void)close(gate[1]);
}

static void freeing_drops_what_waits(void **state)
{
    struct trail t = { .loop = loop_new(2) };
    struct job jobs[50];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        jobs[i] = (struct job){ .trail = &t };
        loop_work(t.loop, job_work, job_done, &jobs[i]);
    }
    loop_defer(t.loop, defer_a, &t);
    loop_free(t.loop);
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        assert_int_equal(jobs[i].done, 0);
    assert_int_equal(t.n, 0);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defers_in_order_and_later),
        cmocka_unit_test(timers_fire_once_in_their_order),
        cmocka_unit_test(signals_stop_in_an_orderly_way_once),
        cmocka_unit_test(stopping_without_a_callback_exits),
        cmocka_unit_test(pool_does_every_job_elsewhere),
        cmocka_unit_test(without_threads_work_is_done_in_the_loop),
        cmocka_unit_test(jobs_start_in_the_order_given),
        cmocka_unit_test(freeing_drops_what_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
