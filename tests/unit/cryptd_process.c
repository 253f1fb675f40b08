/* Starts and ends cryptd_alone. */
#include "tests/unit/cryptd_process.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void find(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 32);
    char *slash;

    path[n < 0 ? 0 : n] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        abort();
    (void)strcpy(slash, "/cryptd_alone");
}

pid_t cryptd_process_start(const char *socket, const char *data_key)
{
    char path[PATH_MAX];
    pid_t parent = getpid(), pid;

    find(path);
    pid = fork();
    if (pid < 0)
        abort();
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)close_range(3, ~0U, 0);
    if (getppid() == parent)
        (void)execl(path, "cryptd_alone", socket, data_key, NULL);
    perror(path);
    _exit(EXIT_FAILURE);
}

void cryptd_process_kill(pid_t pid)
{
    if (pid <= 0)
        return;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}
