/* Starts one daemon: the part between fork and exec, where nothing may go wrong unnoticed. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"

enum { FIRST_FD = 3, EXIT_EXEC = 127, LOCKED_LEAST = 64 * 1024 * 1024 };

char *run_spawn_binary(const char *name)
{
    char self[PATH_MAX], *beside = NULL, *installed = NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash && asprintf(&beside, "%.*s/%s", (int)(slash - self), self, name) > 0 && access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return asprintf(&installed, "%s/%s", PKGLIBEXECDIR, name) < 0 ? NULL : installed;
}

__attribute__((noreturn)) static void die(const char *what, const char *about)
{
    dprintf(STDERR_FILENO, "<2>landfall %s failed for %s: %m\n", what, about);
    _exit(EXIT_EXEC);
}

static void reset_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The descriptors become 3, 4, ...: first out of the way of those numbers, then into place. */
static void place_fds(const struct run_launch *l)
{
    int moved[FIRST_FD + RUN_KEPT_MAX + 16];

    for (size_t i = 0; i < l->n_fds; i++)
        if ((moved[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, FIRST_FD + (int)l->n_fds)) < 0)
            die("passing descriptors", l->binary);
    for (size_t i = 0; i < l->n_fds; i++)
        if (dup2(moved[i], FIRST_FD + (int)i) < 0)
            die("passing descriptors", l->binary);
    (void)close_range(FIRST_FD + (unsigned)l->n_fds, UINT_MAX, 0);
}

static void place_standard(const struct run_launch *l)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(l->log, STDOUT_FILENO) < 0 || dup2(l->log, STDERR_FILENO) < 0)
        _exit(EXIT_EXEC);
}

/* Keys, and what was opened with them, are to stay out of the swap: without root as much as is allowed. */
static void allow_locking(void)
{
    struct rlimit limit;

    if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }) == 0 ||
        getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max < LOCKED_LEAST ? LOCKED_LEAST : limit.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ limit.rlim_cur, limit.rlim_cur }) < 0)
        (void)setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ limit.rlim_max, limit.rlim_max });
}

static void drop_privileges(const struct run_launch *l)
{
    const struct run_account *a = l->account;
    struct rlimit files = { l->open_files, l->open_files };

    allow_locking();
    /* Without root only down to what is allowed already. */
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (run_limits_bound(l->capabilities) < 0)
        die("dropping capabilities", l->binary);
    if (l->change_user) {
        gid_t groups[NGROUPS_MAX];
        int n = NGROUPS_MAX - 1;

        if (getgrouplist(a->name, a->gid, groups, &n) < 0)
            die("reading groups", a->name);
        groups[n++] = l->extra_group;
        if (setgroups((size_t)n, groups) < 0 || setresgid(a->gid, a->gid, a->gid) < 0 ||
            setresuid(a->uid, a->uid, a->uid) < 0)
            die("changing user", a->name);
    }
    if (!l->may_gain && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("no_new_privs", l->binary);
}

static void fill_pids(char **env)
{
    static const char *const names[] = { "LISTEN_PID=", "WATCHDOG_PID=" };

    for (; *env; env++)
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            if (strncmp(*env, names[i], strlen(names[i])) == 0)
                (void)snprintf(*env, RUN_PID_SLOT, "%s%d", names[i], (int)getpid());
}

__attribute__((noreturn)) static void become(const struct run_launch *l, pid_t parent)
{
    reset_signals();
    (void)setsid();
    (void)umask(077);
    place_standard(l);
    place_fds(l);
    drop_privileges(l);
    fill_pids(l->env);
    if (chdir("/") < 0)
        die("chdir", "/");
    /* Set last: a change of user clears it. The parent may have died before it took effect. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
        _exit(EXIT_EXEC);
    execve(l->binary, l->argv, l->env);
    die("exec", l->binary);
}

pid_t run_spawn(const struct run_launch *l)
{
    sigset_t all, before;
    pid_t parent = getpid(), pid;

    /* Until the child has reset its handlers, a signal must not run the parent's in it. */
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &before);
    pid = fork();
    if (pid == 0)
        become(l, parent);
    if (pid < 0)
        pid = -errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}
