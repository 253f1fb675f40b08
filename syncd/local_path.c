/* Paths of this machine. Must not know what is moved from or to them. */
#include "syncd/local_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "common/timespec.h"
#include "syncd/folder.h"
#include "syncd/path.h"

enum { COPIES_MOST = 10000 };

int local_path(const char *member, const char *given, char **ret, struct error *e)
{
    CLEANUP_FREE char *clean = NULL;
    int r;

    if (!given || !*given)
        return error_set(e, -EINVAL, "%s is missing.", member);
    if (given[0] != '/')
        return error_set(e, -EINVAL, "%s must be an absolute path of this machine.", member);
    r = path_clean(given, "/", &clean, NULL);
    if (r < 0)
        return error_set(e, r, "%s has a component \"..\"; name the path without it.", member);
    if (asprintf(ret, "/%s", clean) < 0)
        abort();
    return 0;
}

/* --- what is there ------------------------------------------------------------------------------------ */

static int not_opened(const char *path, int code, struct error *e)
{
    if (code == -ENOENT)
        return error_set(e, -EINVAL, "%s is not there.", path);
    if (code == -ELOOP)
        return error_set(e, -EINVAL, "A symbolic link stands in %s; name what it leads to.", path);
    return error_set(e, -EINVAL, "%s cannot be opened: %s.", path, strerror(-code));
}

/* The folder it lies in; *ret_name is the rest. */
static int open_above(const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    CLEANUP_FREE char *above = strndup(path, slash == path ? 1 : (size_t)(slash - path));

    *ret_name = slash + 1;
    return above ? folder_find(above, O_PATH) : -ENOMEM;
}

int local_file_open(const char *path, struct stat *ret, struct error *e)
{
    const char *name;
    CLEANUP_CLOSE int above = open_above(path, &name);
    CLEANUP_CLOSE int fd = above < 0 ? above : folder_at(above, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

    if (fd < 0)
        return not_opened(path, fd, e);
    if (fstat(fd, ret) < 0)
        return not_opened(path, -errno, e);
    if (!S_ISREG(ret->st_mode))
        return error_set(e, -EINVAL, "%s is not a regular file.", path);
    return take_fd(&fd);
}

int local_folder_open(const char *path, struct error *e)
{
    int fd = folder_find(path, O_PATH);

    return fd < 0 ? not_opened(path, fd, e) : fd;
}

/* --- what is made --------------------------------------------------------------------------------------- */

static int enter(int dir, const char *name)
{
    if (mkdirat(dir, name, 0777) < 0 && errno != EEXIST)
        return -errno;
    return folder_at(dir, name, O_PATH | O_DIRECTORY, 0);
}

int local_folder_make(int dir, const char *relative)
{
    CLEANUP_CLOSE int at = folder_at(dir, "", O_PATH | O_DIRECTORY, 0);
    char name[LOCAL_NAME_SIZE];

    while (at >= 0 && *relative) {
        size_t n = strcspn(relative, "/");
        int below;

        if (n >= sizeof(name))
            return -ENAMETOOLONG;
        memcpy(name, relative, n);
        name[n] = '\0';
        below = enter(at, name);
        (void)close(take_fd(&at));
        at = below;
        relative += n + (relative[n] == '/');
    }
    return take_fd(&at);
}

int local_folder_at(int dir, const char *relative)
{
    return folder_at(dir, relative, O_PATH | O_DIRECTORY, 0);
}

static const char PREFIX[] = ".landfall-download-";

void local_file_name(char ret_name[LOCAL_NAME_SIZE])
{
    char id[ID_SIZE];

    id_new(id);
    (void)snprintf(ret_name, LOCAL_NAME_SIZE, "%s%s", PREFIX, id);
}

static bool is_ours(const char *name)
{
    return strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0 && id_valid(name + sizeof(PREFIX) - 1);
}

int local_file_make(int dir, const char *name)
{
    int fd = name ? folder_at(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600)
                  : folder_at(dir, "", O_WRONLY | O_TMPFILE, 0600);

    return !name && (fd == -EISDIR || fd == -EINVAL) ? -EOPNOTSUPP : fd;
}

int local_file_again(int dir, const char *name, uint64_t length)
{
    CLEANUP_CLOSE int fd = is_ours(name) ? folder_at(dir, name, O_WRONLY | O_NONBLOCK, 0) : -ENOENT;
    struct stat st;

    if (fd < 0)
        return fd == -ELOOP || fd == -EISDIR || fd == -ENXIO || fd == -EACCES ? -ENOENT : fd;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1 ||
        (uint64_t)st.st_size < length)
        return -ENOENT;
    return ftruncate(fd, (off_t)length) < 0 ? -errno : take_fd(&fd);
}

/* The first one, the second one with " (2)" before the extension, and so on; shortened where it gets too long. */
static void number_name(const char *want, unsigned number, char out[LOCAL_NAME_SIZE])
{
    const char *dot = strrchr(want, '.');
    const char *extension = dot && dot != want && strlen(dot) <= 32 ? dot : "";
    size_t stem = strlen(want) - strlen(extension);
    char tail[64];

    (void)snprintf(tail, sizeof(tail), " (%u)%s", number, extension);
    if (number == 1)
        (void)snprintf(out, LOCAL_NAME_SIZE, "%s", want);
    else
        (void)snprintf(out, LOCAL_NAME_SIZE, "%.*s%s",
                       (int)utf8_cut(want, stem, LOCAL_NAME_SIZE - 1 - strlen(tail)), want, tail);
}

/* The descriptor is the only way to a file without a name. */
static int name_first(int dir, int fd, const char *to)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, dir, to, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int rename_new(int dir, const char *from, const char *to)
{
    if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* A file system that cannot tell: a second name replaces nothing either. */
    if (linkat(dir, from, dir, to, 0) < 0)
        return -errno;
    (void)unlinkat(dir, from, 0);
    return 0;
}

int local_file_keep(int dir, int fd, const char *name, const char *want, char ret_name[LOCAL_NAME_SIZE])
{
    if (fsync(fd) < 0)
        return -errno;
    for (unsigned number = 1; number <= COPIES_MOST; number++) {
        int r;

        number_name(want, number, ret_name);
        r = name ? rename_new(dir, name, ret_name) : name_first(dir, fd, ret_name);
        if (r != -EEXIST)
            return r;
    }
    return -EEXIST;
}

bool local_file_kept(int dir, int fd, const char *want, int64_t since_ns)
{
    char name[LOCAL_NAME_SIZE];
    struct stat ours, st;

    if (fstat(fd, &ours) < 0)
        return false;
    for (unsigned number = 1; number <= COPIES_MOST; number++) {
        number_name(want, number, name);
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return false;
        if (S_ISREG(st.st_mode) && st.st_uid == ours.st_uid && st.st_size == ours.st_size &&
            timespec_ns(st.st_mtim) == timespec_ns(ours.st_mtim) && timespec_ns(st.st_ctim) >= since_ns)
            return true;
    }
    return false;
}

void local_file_remove(int dir, const char *name)
{
    if (is_ours(name))
        (void)unlinkat(dir, name, 0);
}
