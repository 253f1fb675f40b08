/* common/sandbox: each part is entered in a child, which must still do what is allowed and must not
 * do what is not. */
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { ALLOWED_WORKED = 42 };

/* Runs `body` in a child and returns its wait status. */
static int in_child(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        body();
        _exit(EXIT_FAILURE);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_exit(int status, int code)
{
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

#ifdef LANDFALL_SANITIZED

static void sanitized_parts_do_nothing(void **state)
{
    struct error e;

    (void)state;
    assert_int_equal(sandbox_seccomp(NULL, 0, NULL, 0, &e), 0);
    assert_int_equal(sandbox_landlock(NULL, &e), 0);
    assert_int_equal(access("/etc/passwd", R_OK), 0);
}

#else

/* --- seccomp --------------------------------------------------------------------------------------- */

static const struct sandbox_call allowed[] = {
    SANDBOX_ANY(write), SANDBOX_ANY(exit_group), SANDBOX_ANY(getpid), SANDBOX_ARG(fcntl, 1, F_GETFD),
};
static const struct sandbox_deny denied[] = { { "getuid", EPERM } };

static void enter_seccomp(void)
{
    struct error e;

    if (sandbox_seccomp(allowed, ARRAY_SIZE(allowed), denied, ARRAY_SIZE(denied), &e) < 0)
        _exit(EXIT_FAILURE);
}

static void do_allowed(void)
{
    enter_seccomp();
    if (getpid() <= 0 || fcntl(0, F_GETFD) < -1)
        _exit(1);
    if (syscall(SYS_getuid) != -1 || errno != EPERM)
        _exit(2);
    _exit(ALLOWED_WORKED);
}

static void do_open(void)
{
    enter_seccomp();
    (void)open("/etc/passwd", O_RDONLY);
    _exit(ALLOWED_WORKED);
}

static void do_other_argument(void)
{
    enter_seccomp();
    (void)fcntl(0, F_GETFL);
    _exit(ALLOWED_WORKED);
}

static void *open_when_told(void *arg)
{
    char byte;

    if (read(*(int *)arg, &byte, 1) == 1)
        (void)open("/etc/passwd", O_RDONLY);
    _exit(ALLOWED_WORKED);
}

/* The thread is there before the filter and is bound by it all the same. */
static void do_open_in_thread(void)
{
    static const struct sandbox_call calls[] = {
        SANDBOX_ANY(write), SANDBOX_ANY(read), SANDBOX_ANY(exit_group), SANDBOX_ANY(futex), SANDBOX_ANY(pause),
    };
    struct error e;
    pthread_t thread;
    int gate[2];

    if (pipe(gate) < 0 || pthread_create(&thread, NULL, open_when_told, &gate[0]) != 0)
        _exit(1);
    if (sandbox_seccomp(calls, ARRAY_SIZE(calls), NULL, 0, &e) < 0 || write(gate[1], "x", 1) != 1)
        _exit(2);
    (void)pause();
}

static void allowed_calls_work(void **state)
{
    (void)state;
    assert_exit(in_child(do_allowed), ALLOWED_WORKED);
}

static void other_calls_kill(void **state)
{
    static void (*const bodies[])(void) = { do_open, do_other_argument, do_open_in_thread };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        int status = in_child(bodies[i]);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

static void unknown_names_are_errors(void **state)
{
    static const struct sandbox_call calls[] = { SANDBOX_ANY(open_sesame) };
    static const char *const capabilities[] = { "sys_landfall", NULL };
    struct error e;

    (void)state;
    assert_int_equal(sandbox_seccomp(calls, ARRAY_SIZE(calls), NULL, 0, &e), -EINVAL);
    assert_non_null(strstr(e.text, "open_sesame"));
    if (geteuid() == 0)
        assert_int_equal(sandbox_capabilities(capabilities, &e), -EINVAL);
}

/* --- Landlock -------------------------------------------------------------------------------------- */

static char dir[] = "/tmp/landfall-test-XXXXXX";
static char readable[64], writable[64], hidden[64];

static bool landlock_here(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 1;
}

static int make_places(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(readable, sizeof(readable), "%s/readable", dir);
    (void)snprintf(writable, sizeof(writable), "%s/writable", dir);
    (void)snprintf(hidden, sizeof(hidden), "%s/hidden", dir);
    return mkdir(readable, 0700) | mkdir(writable, 0700) | mkdir(hidden, 0700);
}

static int remove_places(void **state)
{
    char file[80];

    (void)state;
    (void)snprintf(file, sizeof(file), "%s/file", writable);
    (void)unlink(file);
    return rmdir(readable) | rmdir(writable) | rmdir(hidden) | rmdir(dir);
}

static int opens(const char *place, const char *name, int flags)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", place, name);
    fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0 ? 0 : errno;
}

static void do_landlock(void)
{
    const struct sandbox_path rows[] = { { readable, false }, { writable, true }, { "/tmp/no/such", true }, { 0 } };
    int inherited = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    struct error e;
    char byte;

    if (sandbox_landlock(rows, &e) < 0)
        _exit(1);
    if (opens(readable, ".", O_RDONLY | O_DIRECTORY) != 0 || opens(writable, "file", O_RDWR | O_CREAT) != 0)
        _exit(2);
    if (opens(readable, "file", O_RDWR | O_CREAT) != EACCES || opens(hidden, ".", O_RDONLY) != EACCES)
        _exit(3);
    if (opens("/etc", "passwd", O_RDONLY) != EACCES || read(inherited, &byte, 1) != 1)
        _exit(4);
    _exit(ALLOWED_WORKED);
}

static void do_landlock_nothing(void)
{
    struct error e;

    if (sandbox_landlock(NULL, &e) < 0)
        _exit(1);
    if (opens("/", ".", O_RDONLY) != EACCES || opens(writable, "new", O_RDWR | O_CREAT) != EACCES)
        _exit(2);
    _exit(ALLOWED_WORKED);
}

static void *try_when_told(void *arg)
{
    char byte;

    if (read(*(int *)arg, &byte, 1) != 1)
        _exit(3);
    _exit(opens("/etc", "passwd", O_RDONLY) == EACCES ? ALLOWED_WORKED : 4);
}

static void do_landlock_in_thread(void)
{
    struct error e;
    pthread_t thread;
    int gate[2];

    if (pipe(gate) < 0 || pthread_create(&thread, NULL, try_when_told, &gate[0]) != 0)
        _exit(1);
    if (sandbox_landlock(NULL, &e) < 0 || write(gate[1], "x", 1) != 1)
        _exit(2);
    (void)pthread_join(thread, NULL);
}

static void landlock_leaves_only_what_is_listed(void **state)
{
    (void)state;
    if (!landlock_here())
        skip();
    assert_exit(in_child(do_landlock), ALLOWED_WORKED);
    assert_exit(in_child(do_landlock_nothing), ALLOWED_WORKED);
}

static void landlock_binds_every_thread(void **state)
{
    (void)state;
    if (!landlock_here())
        skip();
    assert_exit(in_child(do_landlock_in_thread), ALLOWED_WORKED);
}

#endif

/* --- capabilities and memory ----------------------------------------------------------------------- */

static unsigned long long status_mask(const char *path, const char *name)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    unsigned long long mask = ~0ULL;
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            mask = strtoull(line + strlen(name), NULL, 16);
    return mask;
}

static bool just(const char *path, unsigned long long mask)
{
    static const char *const sets[] = { "CapPrm:", "CapEff:", "CapBnd:" };

    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        if (status_mask(path, sets[i]) != mask)
            return false;
    return status_mask(path, "CapInh:") == 0 && status_mask(path, "CapAmb:") == 0;
}

static void *check_capabilities(void *arg)
{
    char byte, path[64];

    if (read(*(int *)arg, &byte, 1) != 1)
        _exit(5);
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)gettid());
    _exit(just(path, 1ULL << 21 | 1) ? ALLOWED_WORKED : 6);
}

static void do_capabilities(void)
{
    static const char *const keep[] = { "chown", "sys_admin", NULL };
    static const char *const none[] = { NULL };
    struct error e;
    pthread_t thread;
    int gate[2];

    if (pipe(gate) < 0 || pthread_create(&thread, NULL, check_capabilities, &gate[0]) != 0)
        _exit(1);
    if (sandbox_capabilities(keep, &e) < 0 || !just("/proc/thread-self/status", 1ULL << 21 | 1))
        _exit(2);
    if (fork() == 0)
        _exit(sandbox_capabilities(none, &e) < 0 || !just("/proc/thread-self/status", 0) ? 3 : 0);
    if (write(gate[1], "x", 1) != 1)
        _exit(4);
    (void)pthread_join(thread, NULL);
}

static void capabilities_go_in_every_thread(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_exit(in_child(do_capabilities), ALLOWED_WORKED);
}

static void do_undumpable(void)
{
    struct rlimit limit;
    struct error e;

    if (sandbox_undumpable(&e) < 0 || prctl(PR_GET_DUMPABLE) != 0 || getrlimit(RLIMIT_CORE, &limit) < 0)
        _exit(1);
    _exit(limit.rlim_max == 0 ? ALLOWED_WORKED : 2);
}

static void memory_cannot_be_dumped(void **state)
{
    (void)state;
    assert_exit(in_child(do_undumpable), ALLOWED_WORKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef LANDFALL_SANITIZED
        cmocka_unit_test(sanitized_parts_do_nothing),
#else
        cmocka_unit_test(allowed_calls_work),
        cmocka_unit_test(other_calls_kill),
        cmocka_unit_test(unknown_names_are_errors),
        cmocka_unit_test_setup_teardown(landlock_leaves_only_what_is_listed, make_places, remove_places),
        cmocka_unit_test(landlock_binds_every_thread),
#endif
        cmocka_unit_test(capabilities_go_in_every_thread),
        cmocka_unit_test(memory_cannot_be_dumped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
