/* common/map_guard: a map whose file shrinks, which is told by the same SIGBUS as a page that the disk does not give, goes
 * on in memory; any other SIGBUS ends the process. */
#include "common/map_guard.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 16 * 4096, PAGE = 4096 };

struct mapped {
    int fd;
    char *at;
    struct map_guard guard;
};

static volatile unsigned n_lost;   /* an access to memory calls lost() */
static void *volatile last_lost;

static void lost(void *at)
{
    n_lost++;
    last_lost = at;
    memcpy(at, "lost", 4);
}

static struct mapped map(void)
{
    struct mapped m = { .fd = memfd_create("map", MFD_CLOEXEC) };

    assert_int_equal(ftruncate(m.fd, SIZE), 0);
    m.at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
    assert_ptr_not_equal(m.at, MAP_FAILED);
    memset(m.at, 'x', SIZE);
    return m;
}

static void unmap(struct mapped *m)
{
    map_guard_remove(&m->guard);
    (void)munmap(m->at, SIZE);
    (void)close(m->fd);
}

static void shrink(const struct mapped *m)
{
    assert_int_equal(ftruncate(m->fd, 0), 0);
}

static char look(const char *at)
{
    return *(const volatile char *)at;
}

static int set_up(void **state)
{
    (void)state;
    n_lost = 0;
    return 0;
}

static void a_read_goes_on_in_memory(void **state)
{
    struct mapped m = map();

    (void)state;
    map_guard_add(&m.guard, m.at, SIZE, lost);
    assert_int_equal(look(m.at + PAGE), 'x');
    shrink(&m);
    assert_int_equal(look(m.at + 3 * PAGE), 0);
    assert_true(m.guard.is_lost);
    assert_int_equal(n_lost, 1);
    assert_ptr_equal(last_lost, m.at);
    assert_memory_equal(m.at, "lost", 4);
    assert_int_equal(look(m.at + SIZE - 1), 0);
    assert_int_equal(n_lost, 1);
    unmap(&m);
}

static void a_write_goes_there_too(void **state)
{
    struct mapped m = map();
    char byte;

    (void)state;
    map_guard_add(&m.guard, m.at, SIZE, lost);
    shrink(&m);
    *(volatile char *)(m.at + 5 * PAGE) = 'w';
    assert_int_equal(look(m.at + 5 * PAGE), 'w');
    assert_int_equal(ftruncate(m.fd, SIZE), 0);
    assert_int_equal(pread(m.fd, &byte, 1, 5 * PAGE), 1);
    assert_int_equal(byte, 0);
    unmap(&m);
}

static void others_are_not_touched(void **state)
{
    struct mapped m[3] = { map(), map(), map() };

    (void)state;
    for (unsigned n = 0; n < 3; n++)
        map_guard_add(&m[n].guard, m[n].at, SIZE, lost);
    shrink(&m[1]);
    (void)look(m[1].at);
    assert_int_equal(n_lost, 1);
    assert_false(m[0].guard.is_lost || m[2].guard.is_lost);
    assert_int_equal(look(m[0].at), 'x');
    assert_int_equal(look(m[2].at + SIZE - 1), 'x');
    for (unsigned n = 0; n < 3; n++)
        unmap(&m[n]);
}

static void a_guard_can_be_used_again(void **state)
{
    struct mapped m = map();

    (void)state;
    map_guard_add(&m.guard, m.at, SIZE, lost);
    shrink(&m);
    (void)look(m.at);
    map_guard_remove(&m.guard);
    map_guard_remove(&m.guard);   /* guards nothing: nothing happens */
    (void)munmap(m.at, SIZE);
    m.at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
    assert_ptr_not_equal(m.at, MAP_FAILED);
    map_guard_add(&m.guard, m.at, SIZE, lost);
    assert_false(m.guard.is_lost);
    (void)look(m.at);
    assert_int_equal(n_lost, 2);
    unmap(&m);
}

/* --- what ends the process ------------------------------------------------------------------------- */

static int signal_that_ended(void (*run)(struct mapped *m))
{
    struct mapped m = map();
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
        run(&m);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    unmap(&m);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch_beside(struct mapped *m)
{
    struct mapped other = map();

    map_guard_add(&other.guard, other.at, SIZE, lost);
    shrink(m);
    (void)look(m->at);
}

static void touch_removed(struct mapped *m)
{
    map_guard_add(&m->guard, m->at, SIZE, lost);
    map_guard_remove(&m->guard);
    shrink(m);
    (void)look(m->at);
}

static void send_oneself(struct mapped *m)
{
    map_guard_add(&m->guard, m->at, SIZE, lost);
    (void)kill(getpid(), SIGBUS);
    for (;;)
        pause();
}

static void any_other_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(signal_that_ended(touch_beside), SIGBUS);
    assert_int_equal(signal_that_ended(touch_removed), SIGBUS);
    assert_int_equal(signal_that_ended(send_oneself), SIGBUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_read_goes_on_in_memory, set_up),
        cmocka_unit_test_setup(a_write_goes_there_too, set_up),
        cmocka_unit_test_setup(others_are_not_touched, set_up),
        cmocka_unit_test_setup(a_guard_can_be_used_again, set_up),
        cmocka_unit_test(any_other_ends_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
