/* The sandboxes of the worker and of mountd, each entered in a child: what it is for still works, what
 * it forbids kills. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/loop.h"
#include "mountd/control.h"
#include "mountd/mountd.h"
#include "mountd/spawn.h"
#include "mountd/worker.h"
#include "mountd/worker_notifier.h"

enum { WORKED = 42, FAILED = 1, SKIPPED = 77, WORKER_UID = 4243 };

/* What is handed over, as descriptors, before the sandbox is entered. */
static int handed[2];

static int in_child(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        const struct rlimit none = { 0, 0 };

        (void)setrlimit(RLIMIT_CORE, &none);
        body();
        _exit(WORKED);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_worked(void (*body)(void))
{
    int status = in_child(body);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), WORKED);
}

static void assert_killed(void (*body)(void))
{
    int status = in_child(body);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* --- the worker -------------------------------------------------------------------------------------- */

static void enter_worker(void)
{
    struct error e = { 0 };

    if (worker_sandbox(&e) < 0) {
        (void)fprintf(stderr, "worker_sandbox: %s\n", e.text);
        _exit(FAILED);
    }
}

static void finish(void *arg)
{
    loop_exit(arg, WORKED);
}

static void use_what_it_was_handed(void)
{
    struct loop *l = loop_new(0);
    char byte = 'x';
    void *map, *grown;

    enter_worker();
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, handed[0], 0);
    grown = malloc(8 << 20);
    if (map == MAP_FAILED || !grown || pwrite(handed[0], &byte, 1, 0) != 1 || pread(handed[0], &byte, 1, 0) != 1)
        _exit(FAILED);
    if (send(handed[1], &byte, 1, 0) != 1 || munmap(map, 4096) < 0 || fcntl(handed[0], F_GETFL) < 0)
        _exit(FAILED);
    if (fallocate(handed[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0)
        _exit(FAILED);
    (void)memset(grown, 1, 8 << 20);
    if (mlock(grown, 1 << 20) < 0 || munlock(grown, 1 << 20) < 0)
        _exit(FAILED);
    free(grown);
    (void)loop_timer(l, 1, finish, l);
    _exit(loop_run(l));
}

static void open_a_path(void)
{
    enter_worker();
    (void)open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static void open_below_a_descriptor(void)
{
    int dir = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);

    enter_worker();
    (void)openat(dir, "passwd", O_RDONLY | O_CLOEXEC);
}

static void make_a_socket(void)
{
    enter_worker();
    (void)socket(AF_INET, SOCK_STREAM, 0);
}

static void make_a_local_socket(void)
{
    enter_worker();
    (void)socket(AF_UNIX, SOCK_STREAM, 0);
}

static void run_a_program(void)
{
    char *const argv[] = { (char *)"true", NULL };

    enter_worker();
    (void)execve("/bin/true", argv, argv + 1);
}

static void make_a_process(void)
{
    enter_worker();
    (void)fork();
}

static void trace_another(void)
{
    enter_worker();
    (void)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void make_code(void)
{
    enter_worker();
    (void)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_memory_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    enter_worker();
    (void)mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

/* syncd has it mapped: what it reads beyond the end would kill it. */
static void shorten_what_it_was_handed(void)
{
    enter_worker();
    (void)fallocate(handed[0], FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
}

static void truncate_what_it_was_handed(void)
{
    enter_worker();
    (void)syscall(SYS_ftruncate, handed[0], 0);
}

static void (*const worker_forbidden[])(void) = {
    open_a_path, open_below_a_descriptor, make_a_socket, make_a_local_socket, run_a_program, make_a_process,
    trace_another, make_code, make_memory_code, shorten_what_it_was_handed, truncate_what_it_was_handed,
};

static void a_worker_uses_what_it_was_handed(void **state)
{
    (void)state;
    assert_worked(use_what_it_was_handed);
}

static void a_worker_is_killed_on_anything_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(worker_forbidden); i++)
        assert_killed(worker_forbidden[i]);
}

static void look_at_itself(void)
{
    enter_worker();
    _exit(prctl(PR_GET_DUMPABLE) == 0 ? WORKED : FAILED);
}

static void a_worker_asked_of_itself_is_killed_too(void **state)
{
    (void)state;
    assert_killed(look_at_itself);   /* prctl(2) is not on its list either */
}

/* --- its notifier --------------------------------------------------------------------------------------- */

static void enter_notifier(void)
{
    struct error e = { 0 };

    if (notifier_sandbox(&e) < 0) {
        (void)fprintf(stderr, "notifier_sandbox: %s\n", e.text);
        _exit(FAILED);
    }
}

static void write_what_it_was_handed(void)
{
    enter_notifier();
    if (write(handed[0], "x", 1) != 1 || send(handed[1], "x", 1, 0) != 1)
        _exit(FAILED);
}

static void read_what_it_was_handed(void)
{
    char byte;

    enter_notifier();
    _exit(read(handed[0], &byte, 1) == 1 ? WORKED : FAILED);
}

static void map_what_it_was_handed(void)
{
    enter_notifier();
    (void)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, handed[0], 0);
}

static void open_as_notifier(void)
{
    enter_notifier();
    (void)open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static void signal_as_notifier(void)
{
    pid_t parent = getppid();

    enter_notifier();
    (void)kill(parent, 0);
}

static void (*const notifier_forbidden[])(void) = {
    read_what_it_was_handed, map_what_it_was_handed, open_as_notifier, signal_as_notifier,
};

static void a_notifier_only_writes_and_answers(void **state)
{
    (void)state;
    assert_worked(write_what_it_was_handed);
    for (size_t i = 0; i < ARRAY_SIZE(notifier_forbidden); i++)
        assert_killed(notifier_forbidden[i]);
}

/* --- mountd -------------------------------------------------------------------------------------------- */

static void enter_mountd(void)
{
    struct error e = { 0 };

    if (mountd_sandbox(true, &e) < 0) {
        (void)fprintf(stderr, "mountd_sandbox: %s\n", e.text);
        _exit(FAILED);
    }
}

/* The worker is in the build tree, two directories above the test. */
static const char *worker_binary(void)
{
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[n < 0 ? 0 : n] = '\0';
    for (int up = 0; up < 3; up++)
        if (strrchr(path, '/'))
            *strrchr(path, '/') = '\0';
    (void)strncat(path, "/landfall-worker", sizeof(path) - strlen(path) - 1);
    return path;
}

/* A worker gets through its whole start, and ends well because nobody is at the other end. */
static void run_a_worker(void)
{
    struct spawn_spec spec = {
        .binary = worker_binary(), .change_user = geteuid() == 0, .uid = WORKER_UID, .gid = WORKER_UID, .open_files = 64,
    };
    int pair[2], status;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || close(pair[1]) < 0)
        _exit(FAILED);
    spec.control = pair[0];
    enter_mountd();
    pid = spawn_worker(&spec);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        _exit(FAILED);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != CONTROL_EXIT_DONE) {
        (void)fprintf(stderr, "the worker ended with wait status %#x\n", (unsigned)status);
        _exit(FAILED);
    }
}

static void talk_locally(void)
{
    int fd;

    enter_mountd();
    fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (fd < 0 || open("/proc/self/status", O_RDONLY | O_CLOEXEC) < 0)
        _exit(FAILED);
}

static void reach_the_network(void)
{
    enter_mountd();
    (void)socket(AF_INET, SOCK_STREAM, 0);
}

static void load_a_module(void)
{
    enter_mountd();
    (void)syscall(SYS_init_module, NULL, 0, "");
}

static void change_the_clock(void)
{
    enter_mountd();
    (void)syscall(SYS_clock_settime, 0, NULL);
}

static void mount_the_old_way(void)
{
    enter_mountd();
    (void)syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
}

static void own_a_file_anew(void)
{
    enter_mountd();
    (void)syscall(SYS_chown, "/tmp/absent", 0, 0);
}

static void (*const mountd_forbidden[])(void) = {
    reach_the_network, load_a_module, change_the_clock, mount_the_old_way, own_a_file_anew,
};

static void mountd_starts_workers_and_talks_locally(void **state)
{
    (void)state;
    assert_worked(run_a_worker);
    assert_worked(talk_locally);
}

static void mountd_is_killed_on_what_it_never_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mountd_forbidden); i++)
        assert_killed(mountd_forbidden[i]);
}

static int setup(void **state)
{
    int pair[2];

    (void)state;
    handed[0] = memfd_create("cache", MFD_CLOEXEC);
    if (handed[0] < 0 || ftruncate(handed[0], 4096) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return -1;
    handed[1] = pair[0];
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_uses_what_it_was_handed),
        cmocka_unit_test(a_worker_is_killed_on_anything_else),
        cmocka_unit_test(a_worker_asked_of_itself_is_killed_too),
        cmocka_unit_test(a_notifier_only_writes_and_answers),
        cmocka_unit_test(mountd_starts_workers_and_talks_locally),
        cmocka_unit_test(mountd_is_killed_on_what_it_never_needs),
    };

#ifdef LANDFALL_SANITIZED
    (void)puts("skipped: built with sanitizers, the sandboxes are off");
    return SKIPPED;
#endif
    return cmocka_run_group_tests(tests, setup, NULL);
}
