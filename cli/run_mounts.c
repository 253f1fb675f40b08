/* Drives as the kernel's mount table shows them. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"
#include "common/fuse_control.h"
#include "common/mount_table.h"

#define MOUNTINFO "/proc/self/mountinfo"

static bool below(const char *root, const char *point)
{
    size_t n = strlen(root);

    return strncmp(root, point, n) == 0 && point[n] == '/';
}

struct below {
    const char *root;
    void (*fn)(const char *source, const char *point, void *arg);
    void *arg;
};

static void consider(const struct mount_entry *m, void *arg)
{
    const struct below *b = arg;

    if (strncmp(m->type, "fuse", 4) == 0 && below(b->root, m->point))
        b->fn(m->source, m->point, b->arg);
}

void run_mounts_each(const char *root, void (*fn)(const char *source, const char *point, void *arg), void *arg)
{
    mount_table_each(consider, &(struct below){ root, fn, arg });
}

/* --- detaching -------------------------------------------------------------------------------- */

static void detach_rootless(const char *point)
{
    char *argv[] = { (char *)"fusermount3", (char *)"-u", (char *)"-z", (char *)"--", (char *)point, NULL };
    char *env[] = { (char *)"PATH=/usr/bin:/bin", NULL };
    struct statx sx;
    pid_t pid;

    if (statx(AT_FDCWD, point, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &sx) == 0)
        (void)fuse_control_abort(makedev(sx.stx_dev_major, sx.stx_dev_minor));
    if (posix_spawn(&pid, "/usr/bin/fusermount3", NULL, NULL, argv, env) == 0)
        (void)waitpid(pid, NULL, 0);
}

static void detach(const char *source, const char *point, void *arg)
{
    (void)source;
    (void)arg;
    if (umount2(point, MNT_DETACH | MNT_FORCE | UMOUNT_NOFOLLOW) < 0 && errno == EPERM)
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
