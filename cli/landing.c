/* renameat2(2) with RENAME_NOREPLACE decides, so that nothing that comes in between is lost. */
#include "cli/landing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"

static char under_way[PATH_MAX];

static void on_signal(int sig)
{
    (void)sig;
    if (*under_way)
        (void)unlink(under_way);
    _exit(EXIT_INTERRUPTED);
}

/* As any other program would have made it. */
static int set_mode(int fd)
{
    mode_t mask = umask(0);

    (void)umask(mask);
    return fchmod(fd, 0666 & ~mask);
}

static int refuse(const char *target, struct error *e)
{
    return error_set(e, -EEXIST, "%.300s is there already, and it was left as it is; --force replaces it.", target);
}

int landing_open(struct landing *l, const char *target, bool replace, struct error *e)
{
    const char *slash = strrchr(target, '/');
    struct stat st;
    int n = snprintf(l->temporary, sizeof(l->temporary), "%.*s.landfall-cp-XXXXXX",
                     slash ? (int)(slash - target) + 1 : 0, target);

    l->target = target;
    l->replace = replace;
    if (n < 0 || (size_t)n >= sizeof(l->temporary))
        return error_set(e, -ENAMETOOLONG, "The path %.300s is too long.", target);
    if (!replace && lstat(target, &st) == 0)
        return refuse(target, e);
    l->fd = mkostemp(l->temporary, O_CLOEXEC);
    if (l->fd < 0)
        return error_set(e, -errno, "No file can be made beside %.300s: %m.", target);
    strcpy(under_way, l->temporary);
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    if (set_mode(l->fd) < 0)
        return landing_end(l, error_set(e, -errno, "%.300s cannot be made: %m.", target), e);
    return 0;
}

/* Of file systems without RENAME_NOREPLACE. */
static int link_anew(const struct landing *l)
{
    if (link(l->temporary, l->target) < 0)
        return -1;
    (void)unlink(l->temporary);
    return 0;
}

static int give_name(const struct landing *l, struct error *e)
{
    int r = l->replace ? rename(l->temporary, l->target)
                       : renameat2(AT_FDCWD, l->temporary, AT_FDCWD, l->target, RENAME_NOREPLACE);

    if (r < 0 && !l->replace && (errno == EINVAL || errno == ENOSYS))
        r = link_anew(l);
    if (r < 0 && errno == EEXIST)
        return refuse(l->target, e);
    return r < 0 ? error_set(e, -errno, "%.300s cannot be made: %m.", l->target) : 0;
}

int landing_end(struct landing *l, int r, struct error *e)
{
    if (r == 0 && fsync(l->fd) < 0)
        r = error_set(e, -errno, "%.300s cannot be written: %m.", l->target);
    if (close(l->fd) < 0 && r == 0)
        r = error_set(e, -errno, "%.300s cannot be written: %m.", l->target);
    if (r == 0)
        r = give_name(l, e);
    if (r < 0)
        (void)unlink(l->temporary);
    *under_way = '\0';
    l->fd = -1;
    return r;
}
