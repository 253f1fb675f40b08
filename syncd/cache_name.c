/* Owns the names of cache files. Everything is reached below one directory descriptor, never through a symbolic link.
 *
 * Must not know what is in the files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static const char *const KINDS[] = { "seal", "data", "map" };
static const char NEW[] = "seal.new";

const char *cache_name(char out[CACHE_NAME], uint64_t ino, const char *kind)
{
    (void)snprintf(out, CACHE_NAME, "%" PRIx64 ".%s", ino, kind);
    return out;
}

const char *cache_file_path(char out[CACHE_PATH], uint64_t ino, const char *kind)
{
    (void)snprintf(out, CACHE_PATH, "%02x/%" PRIx64 ".%s", (unsigned)(ino & 0xff), ino, kind);
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
    (void)unlinkat(folder, cache_name(name, ino, NEW), 0);
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

bool cache_file_peek(int dir_fd, uint64_t ino, struct chunk_map *ret)
{
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = openat(dir_fd, cache_file_path(path, ino, "map"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 && pread(fd, ret, sizeof(*ret), 0) == sizeof(*ret) && ret->magic == CHUNK_MAP_MAGIC;
}

int cache_file_set_unlinked(int dir_fd, uint64_t ino)
{
    static const uint64_t yes = 1;
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = openat(dir_fd, cache_file_path(path, ino, "map"), O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 || pwrite(fd, &yes, sizeof(yes), offsetof(struct chunk_map, unlinked)) < 0 ? -errno : 0;
}

static void cleanup_closedir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

/* The inode number in a name, and in *ret_kind what follows; 0: it is not one of ours. */
static uint64_t parse(const char *name, const char **ret_kind)
{
    char *end;
    uint64_t ino = strtoull(name, &end, 16);

    *ret_kind = end + 1;
    return *end == '.' ? ino : 0;
}

static void each_name(int folder, void (*each)(uint64_t ino, const char *kind, void *arg), void *arg)
{
    CLEANUP(cleanup_closedir) DIR *d = fdopendir(folder);
    struct dirent *entry;

    if (!d) {
        (void)close(folder);
        return;
    }
    while ((entry = readdir(d))) {
        const char *kind;
        uint64_t ino = parse(entry->d_name, &kind);

        if (ino)
            each(ino, kind, arg);
    }
}

struct walk {
    void (*each)(uint64_t ino, void *arg);
    void *arg;
};

static void tell_pair(uint64_t ino, const char *kind, void *arg)
{
    const struct walk *w = arg;

    for (size_t k = 0; k < ARRAY_SIZE(KINDS); k++)
        if (!strcmp(kind, KINDS[k]))
            w->each(ino, w->arg);
}

void cache_file_walk(int dir_fd, uint64_t low, void (*each)(uint64_t ino, void *arg), void *arg)
{
    struct walk w = { each, arg };
    int folder = cache_name_folder(dir_fd, low, false);

    if (folder >= 0)
        each_name(folder, tell_pair, &w);
}

static void clear_new(uint64_t ino, const char *kind, void *arg)
{
    char path[CACHE_PATH];

    if (!strcmp(kind, NEW))
        (void)unlinkat(*(const int *)arg, cache_file_path(path, ino, NEW), 0);
}

void cache_file_clear_new(int dir_fd, uint64_t low)
{
    int folder = cache_name_folder(dir_fd, low, false);

    if (folder >= 0)
        each_name(folder, clear_new, &dir_fd);
}
