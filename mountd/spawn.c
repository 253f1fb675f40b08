/* fork(2) and what lies between it and execve(2): only system calls, since other threads may have
 * held locks when the process was copied. */
#include "mountd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "mountd/control.h"

enum {
    EXIT_NO_EXEC = 127,
    LOCKED_MOST = 32 * 1024 * 1024,   /* what a worker shares with cryptd, and what it reads requests into */
};

const char *spawn_find_worker(void)
{
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash;

    path[n < 0 ? 0 : n] = '\0';
    slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) + sizeof("/landfall-worker") <= sizeof(path)) {
        (void)strcpy(slash, "/landfall-worker");
        if (access(path, X_OK) == 0)
            return path;
    }
    return PKGLIBEXECDIR "/landfall-worker";
}

static int set_limit(int resource, rlim_t wanted)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return -1;
    if (wanted > limit.rlim_max)
        wanted = limit.rlim_max;
    limit = (struct rlimit){ wanted, wanted };
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

static void reset_signals(void)
{
    const struct sigaction initial = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &initial, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Raw calls: glibc's would try to bring along threads that the copy does not have. */
static int change_user(const struct spawn_spec *spec)
{
    if (!spec->change_user)
        return 0;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid);
}

static int arrange_descriptors(int control)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return -1;
    if (control == CONTROL_FD ? fcntl(control, F_SETFD, 0) < 0 : dup2(control, CONTROL_FD) < 0)
        return -1;
    return close_range(CONTROL_FD + 1, ~0U, 0);
}

/* The death signal comes last: changing the user clears it. */
static void become(const struct spawn_spec *spec, pid_t parent)
{
    char *const argv[] = { (char *)"landfall-worker", NULL };
    char *const env[] = { NULL };

    reset_signals();
    if (set_limit(RLIMIT_NOFILE, spec->open_files) < 0 || set_limit(RLIMIT_MEMLOCK, LOCKED_MOST) < 0 ||
        set_limit(RLIMIT_CORE, 0) < 0)
        return;
    if (arrange_descriptors(spec->control) < 0 || change_user(spec) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return;
    if (getppid() != parent)
        return;
    (void)execve(spec->binary, argv, env);
}

pid_t spawn_worker(const struct spawn_spec *spec)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        become(spec, parent);
        _exit(EXIT_NO_EXEC);
    }
    return pid < 0 ? -errno : pid;
}
