/* What no filter of a daemon without files and children lets pass. */
#include "tests/unit/forbidden.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

static char *no_arguments[] = { NULL };

static void do_openat(void) { (void)open("/etc/passwd", O_RDONLY | O_CLOEXEC); }
static void do_old_open(void) { (void)syscall(SYS_open, "/dev/null", O_RDONLY); }
static void do_creat(void) { (void)syscall(SYS_creat, "/tmp/landfall-must-not-be", 0600); }
static void do_unlink(void) { (void)unlink("/tmp/landfall-must-not-be"); }
static void do_socket(void) { (void)socket(AF_INET, SOCK_STREAM, 0); }
static void do_bind(void) { (void)bind(0, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(struct sockaddr)); }
static void do_execve(void) { (void)execve("/bin/true", no_arguments, no_arguments); }
static void do_fork(void) { (void)fork(); }
static void do_vfork(void) { (void)syscall(SYS_vfork); }
static void do_ptrace(void) { (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static void do_kill(void) { (void)kill(getppid(), 0); }
static void do_executable_memory(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void do_mprotect(void) { (void)mprotect(no_arguments, 1, PROT_EXEC); }
static void do_io_uring(void) { (void)syscall(SYS_io_uring_setup, 1, NULL); }

static const struct forbidden everywhere[] = {
    { "openat", do_openat }, { "old open", do_old_open }, { "creat", do_creat }, { "unlink", do_unlink },
    { "socket", do_socket }, { "bind", do_bind }, { "execve", do_execve }, { "fork", do_fork },
    { "vfork", do_vfork }, { "ptrace", do_ptrace }, { "kill", do_kill },
    { "executable memory", do_executable_memory }, { "mprotect", do_mprotect }, { "io_uring", do_io_uring },
};

static void assert_kill(forbidden_try *try, const struct forbidden *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int status = try(rows[i].act);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("%s: status %#x instead of SIGSYS", rows[i].name, (unsigned)status);
    }
}

void forbidden_kill(forbidden_try *try, const struct forbidden *rows, size_t n)
{
    assert_kill(try, everywhere, ARRAY_SIZE(everywhere));
    assert_kill(try, rows, n);
}
