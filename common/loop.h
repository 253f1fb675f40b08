/* The event loop of a process: one libevent base, signals, deferred calls, and the pool.
 *
 * Everything of a daemon runs in this one thread. What blocks goes to loop_work(). */
#pragma once

#include <event2/event.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* A loop with SIGTERM and SIGINT (both: loop_stop) handled and SIGPIPE ignored, and `threads`
 * pool threads (0: none; they are started here, before any sandbox). NULL on failure. */
struct loop *loop_new(unsigned threads);

/* NULL is fine. Waits for the jobs under way; calls and jobs that wait their turn are dropped. Free
 * everything that has events or timers on the loop before it. */
void loop_free(struct loop *l);

/* The libevent base, for events of one's own. Borrowed. */
struct event_base *loop_base(struct loop *l);

/* Calls `stopping` when the loop is asked to stop, by signal or loop_stop(). It lets the daemon
 * finish in an orderly way; it calls loop_exit() when done. Without it stopping exits at once. */
void loop_on_stop(struct loop *l, void (*stopping)(void *arg), void *arg);
void loop_stop(struct loop *l);

/* Leaves loop_run() after the present callback, with `status`. */
void loop_exit(struct loop *l, int status);

/* Runs until loop_exit(). Returns its status. */
int loop_run(struct loop *l);

/* Calls fn(arg) from the loop, soon, never from inside the caller. */
void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg);

/* A timer that calls fn(arg) once after `ms` milliseconds, or NULL without memory. Free it with
 * loop_timer_free() (NULL is fine) whether or not it fired. */
struct loop_timer;
struct loop_timer *loop_timer(struct loop *l, uint64_t ms, void (*fn)(void *arg), void *arg);
void loop_timer_free(struct loop_timer *t);

/* Runs work(arg) in a pool thread and then done(arg) in the loop. `arg` belongs to the work until
 * done is called; work touches nothing else. Jobs start in the order given. Always calls done. Without pool
 * threads the work runs in a later turn of the loop. */
void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* Whether such work, or something put off to a later turn, is under way: a loop that is freed then drops it, and what
 * its `arg` owns. */
bool loop_working(const struct loop *l);

/* Monotonic and wall clock in nanoseconds. */
int64_t loop_now_ns(void);
int64_t loop_wall_ns(void);
