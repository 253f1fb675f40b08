/* Owns the names of cache files. Everything is reached below one directory descriptor and never through a symbolic link.
 *
 * Must not know what is in the files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "syncd/cache.h"

int cache_name_folder(int dir_fd, uint64_t ino, bool create)
{
    char name[3];
    int fd;

    (void)snprintf(name, sizeof(name), "%02x", (unsigned)(ino & 0xff));
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT || !create)
        return fd < 0 ? -errno : fd;
    if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static const char *const KINDS[CACHE_FILES] = { "seal", "data", "map" };

const char *cache_name(char out[CACHE_NAME], uint64_t ino, const char *kind)
{
    (void)snprintf(out, CACHE_NAME, "%" PRIx64 ".%s", ino, kind);
    return out;
}

/* A file is ours, whatever became of its mode; a directory in its place is put out of the way. */
static bool clear_way(int folder, const char *name, int error)
{
    char aside[64];

    if (error == EACCES)
        return fchmodat(folder, name, 0600, 0) == 0;
    if (error != EISDIR)
        return false;
    (void)snprintf(aside, sizeof(aside), "%s.aside", name);
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 || renameat2(folder, name, folder, aside, RENAME_NOREPLACE) == 0;
}

int cache_name_open(int folder, uint64_t ino, const char *kind, int flags)
{
    char name[CACHE_NAME];
    int fd = openat(folder, cache_name(name, ino, kind), flags | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && clear_way(folder, name, errno))
        fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

void cache_file_unlink(int dir_fd, uint64_t ino)
{
    CLEANUP_CLOSE int folder = cache_name_folder(dir_fd, ino, false);
    char name[CACHE_NAME];

    if (folder < 0)
        return;
    for (size_t k = 0; k < ARRAY_SIZE(KINDS); k++)
        (void)unlinkat(folder, cache_name(name, ino, KINDS[k]), 0);
}

bool cache_file_exists(int dir_fd, uint64_t ino)
{
    CLEANUP_CLOSE int folder = cache_name_folder(dir_fd, ino, false);
    struct stat st;
    char name[CACHE_NAME];

    for (size_t k = 0; folder >= 0 && k < 2; k++)
        if (fstatat(folder, cache_name(name, ino, KINDS[k]), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            return true;
    return false;
}

static void cleanup_closedir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

static void walk_folder(int folder, void (*each)(uint64_t ino, void *arg), void *arg)
{
    CLEANUP(cleanup_closedir) DIR *d = fdopendir(folder);
    struct dirent *entry;
    char *end;

    if (!d) {
        (void)close(folder);
        return;
    }
    while ((entry = readdir(d))) {
        uint64_t ino = strtoull(entry->d_name, &end, 16);

        for (size_t k = 0; ino && k < ARRAY_SIZE(KINDS); k++)
            if (*end == '.' && !strcmp(end + 1, KINDS[k]))
                each(ino, arg);
    }
}

void cache_file_walk(int dir_fd, uint64_t low, void (*each)(uint64_t ino, void *arg), void *arg)
{
    int folder = cache_name_folder(dir_fd, low, false);

    if (folder >= 0)
        walk_folder(folder, each, arg);
}
