/* Drives as the kernel's mount table shows them. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"

#define MOUNTINFO "/proc/self/mountinfo"

/* Blanks and backslashes stand as \040 in proc(5) mountinfo. In place. */
static void unescape(char *s)
{
    char *out = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

static bool below(const char *root, const char *point)
{
    size_t n = strlen(root);

    return strncmp(root, point, n) == 0 && point[n] == '/';
}

/* "36 35 0:50 / /mnt rw,nosuid - fuse.x source opts": the fifth field is the mount point, the type
 * and the source stand after the lone dash. */
static bool split(char *line, char **ret_point, char **ret_type, char **ret_source)
{
    char *tail = strstr(line, " - ");

    if (!tail || sscanf(line, "%*s %*s %*s %*s %ms", ret_point) != 1)
        return false;
    if (sscanf(tail + 3, "%ms %ms", ret_type, ret_source) != 2)
        return false;
    unescape(*ret_point);
    unescape(*ret_source);
    return true;
}

static void each_line(char *line, const char *root, void (*fn)(const char *source, const char *point, void *arg),
                      void *arg)
{
    CLEANUP_FREE char *point = NULL, *type = NULL, *source = NULL;

    if (split(line, &point, &type, &source) && strncmp(type, "fuse", 4) == 0 && below(root, point))
        fn(source, point, arg);
}

void run_mounts_each(const char *root, void (*fn)(const char *source, const char *point, void *arg), void *arg)
{
    CLEANUP_FCLOSE FILE *f = fopen(MOUNTINFO, "re");
    CLEANUP_FREE char *line = NULL;
    size_t size = 0;

    while (f && getline(&line, &size, f) >= 0)
        each_line(line, root, fn, arg);
}

/* --- detaching -------------------------------------------------------------------------------- */

static void detach_rootless(const char *point)
{
    char *argv[] = { (char *)"fusermount3", (char *)"-u", (char *)"-z", (char *)"--", (char *)point, NULL };
    char *env[] = { (char *)"PATH=/usr/bin:/bin", NULL };
    pid_t pid;

    if (posix_spawn(&pid, "/usr/bin/fusermount3", NULL, NULL, argv, env) == 0)
        (void)waitpid(pid, NULL, 0);
}

static void detach(const char *source, const char *point, void *arg)
{
    (void)source;
    (void)arg;
    if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno == EPERM)
        detach_rootless(point);
}

static void count(const char *source, const char *point, void *arg)
{
    (void)source;
    (void)point;
    ++*(unsigned *)arg;
}

unsigned run_mounts_detach(const char *root)
{
    unsigned left = 0;

    run_mounts_each(root, detach, NULL);
    run_mounts_each(root, count, &left);
    return left;
}

/* --- watching --------------------------------------------------------------------------------- */

/* The mount table is always readable; a change shows as EPOLLPRI, which libevent does not know. An
 * epoll of our own around it turns that into a descriptor that is readable after a change. */
int run_mounts_watch(void)
{
    CLEANUP_CLOSE int table = open(MOUNTINFO, O_RDONLY | O_CLOEXEC);
    CLEANUP_CLOSE int watch = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event change = { .events = EPOLLPRI | EPOLLET };

    if (table < 0 || watch < 0 || epoll_ctl(watch, EPOLL_CTL_ADD, table, &change) < 0)
        return -errno;
    take_fd(&table);   /* stays open for the life of the watch */
    run_mounts_drain(watch);
    return take_fd(&watch);
}

void run_mounts_drain(int watch)
{
    struct epoll_event seen;

    while (epoll_wait(watch, &seen, 1, 0) > 0)
        ;
}
