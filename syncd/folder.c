/* Folders by path, held by descriptor. Must not know what they are for. */
#include "syncd/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/exposed.h"

enum { DEPTH_MAX = 100 };

static int open_resolved(int dir, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    bool makes = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY));
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .mode = makes ? mode : 0,
        .resolve = resolve | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

int folder_at(int dir, const char *path, int flags, mode_t mode)
{
    return open_resolved(dir, *path ? path : ".", flags, mode, RESOLVE_BENEATH | RESOLVE_NO_XDEV);
}

int folder_find(const char *path, int flags)
{
    return open_resolved(AT_FDCWD, path, flags | O_DIRECTORY, 0, 0);
}

/* --- the way there ---------------------------------------------------------------------------------- */

static int not_opened(const char *path, int code, struct error *e)
{
    if (code == ENOENT)
        return error_set(e, -ENOENT, "The folder %s is not there.", path);
    if (code == ENOTDIR || code == ELOOP)
        return error_set(e, -ENOTDIR, "%s is there already and is not a directory; a symbolic link is none, so name "
                         "the real folder.", path);
    return error_set(e, -EINVAL, "The folder %s cannot be opened: %s.", path, strerror(code));
}

static int open_or_make(const struct folder *above, const char *path, bool make, bool *ret_made, struct error *e)
{
    const char *name = strrchr(path, '/') + 1;
    int fd = openat(above->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    *ret_made = false;
    if (fd < 0 && errno == ENOENT && make) {
        *ret_made = mkdirat(above->fd, name, 0700) == 0;
        if (!*ret_made && errno != EEXIST)
            return error_set(e, -EINVAL, "The folder %s cannot be made: %s.", path, strerror(errno));
        fd = openat(above->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    return fd < 0 ? not_opened(path, errno, e) : fd;
}

static int check_own(const char *path, const struct stat *st, struct error *e)
{
    if (st->st_uid != geteuid())
        return error_set(e, -EINVAL, "The folder %s belongs to another user.", path);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return error_set(e, -EPERM, "The folder %s can be written by others; run: chmod go-w %s", path, path);
    return 0;
}

/* From `f` on to the folder at `path`, one further down. */
static int enter(struct folder *f, const char *path, bool last, enum folder_make make, struct error *e)
{
    struct stat st;
    bool may_make = make == FOLDER_MAKE_ALL || (make == FOLDER_MAKE && last);
    int below = open_or_make(f, path, may_make, &f->made, e);

    if (below < 0)
        return below;
    cleanup_close(&f->parent);
    f->parent = f->fd;
    f->fd = below;
    (void)snprintf(f->name, sizeof(f->name), "%s", strrchr(path, '/') + 1);
    if (fstat(below, &st) < 0)
        return not_opened(path, errno, e);
    return last ? check_own(path, &st, e) : exposed_check(path, &st, geteuid(), e);
}

int folder_open(const char *path, enum folder_make make, struct folder *ret, struct error *e)
{
    CLEANUP(folder_close) struct folder f = FOLDER_NONE;
    char so_far[PATH_MAX];
    int r = 0;

    if (path[0] != '/' || path[1] == '\0' || strlen(path) >= sizeof(so_far))
        return error_set(e, -EINVAL, "The path %.200s is not absolute, or too long.", path);
    f.fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (f.fd < 0)
        return not_opened("/", errno, e);
    (void)strcpy(so_far, path);
    for (size_t n = 0; r == 0 && path[n];) {
        n += 1 + strcspn(path + n + 1, "/");
        so_far[n] = '\0';
        r = enter(&f, so_far, path[n] == '\0', make, e);
        so_far[n] = path[n];
    }
    if (r < 0)
        return r;
    *ret = f;
    f = (struct folder)FOLDER_NONE;
    return 0;
}

void folder_close(struct folder *f)
{
    if (!f)
        return;
    cleanup_close(&f->fd);
    cleanup_close(&f->parent);
    f->fd = f->parent = -1;
}

/* --- what is in it ---------------------------------------------------------------------------------- */

static int reopen(int fd)
{
    return openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static DIR *read_folder(int fd)
{
    int copy = reopen(fd);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);

    if (!d && copy >= 0)
        (void)close(copy);
    return d;
}

static const char *next_name(DIR *d)
{
    const struct dirent *entry;

    while ((entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

bool folder_is_empty(int fd)
{
    DIR *d = read_folder(fd);
    bool empty = d && !next_name(d);

    if (d)
        (void)closedir(d);
    return empty;
}

/* --- the mark --------------------------------------------------------------------------------------- */

/* The id is in the name, so that a mark is there or not, never half. */
static const char *mark_name(char out[NAME_MAX + 1], const char *id)
{
    (void)snprintf(out, NAME_MAX + 1, ".landfall-drive-%s", id);
    return out;
}

int folder_mark(int fd, const char *id)
{
    char name[NAME_MAX + 1];
    CLEANUP_CLOSE int folder = reopen(fd);
    CLEANUP_CLOSE int mark = openat(fd, mark_name(name, id), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    return mark < 0 || folder < 0 || fsync(folder) < 0 ? -errno : 0;
}

bool folder_is_marked(int fd, const char *id)
{
    char name[NAME_MAX + 1];
    struct stat st;

    return fstatat(fd, mark_name(name, id), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* --- the end ---------------------------------------------------------------------------------------- */

static int empty(int fd, unsigned depth);

static int remove_entry(int dir, const char *name, unsigned depth)
{
    CLEANUP_CLOSE int below = -1;
    int r;

    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -errno;
    below = folder_at(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (below < 0)
        return below;
    r = empty(below, depth + 1);
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 && r == 0 ? -errno : r;
}

static int empty(int fd, unsigned depth)
{
    DIR *d = depth < DEPTH_MAX ? read_folder(fd) : NULL;
    const char *name;
    int first = 0;

    if (!d)
        return depth < DEPTH_MAX ? -errno : -ELOOP;
    while ((name = next_name(d))) {
        int r = remove_entry(fd, name, depth);

        first = first ? first : r;
    }
    (void)closedir(d);
    return first;
}

int folder_empty(int fd)
{
    return empty(fd, 0);
}

int folder_remove(const struct folder *f)
{
    return unlinkat(f->parent, f->name, AT_REMOVEDIR) < 0 ? -errno : 0;
}
