/* Keys as paths. The kernel keeps them inside: openat2(2) with RESOLVE_BENEATH, and no link is followed, wherever
 * somebody plants one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "syncd/cloud_local.h"

static const char hidden_folder[] = ".landfall";

int local_open_at(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

/* --- names ------------------------------------------------------------------------------------------ */

static int check_part(const char *part, size_t n)
{
    if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
        return -EINVAL;
    return n > NAME_MAX ? -ENAMETOOLONG : 0;
}

int local_name(const char *key, struct local_name *ret)
{
    size_t n = strlen(key), first = strcspn(key, "/");
    const char *leaf = key;

    ret->directory = n && key[n - 1] == '/';
    n -= ret->directory;
    if (n >= sizeof(ret->parent))
        return -ENAMETOOLONG;
    if (first == strlen(hidden_folder) && strncmp(key, hidden_folder, first) == 0)
        return -EINVAL;
    for (size_t i = 0; i <= n; i++) {
        int r;

        if (i < n && key[i] != '/')
            continue;
        r = check_part(leaf, (size_t)(key + i - leaf));
        if (r < 0)
            return r;
        if (i < n)
            leaf = key + i + 1;
    }
    memcpy(ret->leaf, leaf, (size_t)(key + n - leaf));
    ret->leaf[key + n - leaf] = '\0';
    n = leaf > key ? (size_t)(leaf - key - 1) : 0;
    memcpy(ret->parent, key, n);
    ret->parent[n] = '\0';
    return 0;
}

/* --- folders ---------------------------------------------------------------------------------------- */

int local_open_bucket(struct local_job *j)
{
    CLEANUP_CLOSE int root = -1;
    const char *name = j->r->bucket;

    if (j->bucket >= 0)
        return 0;
    root = open(j->local->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_set(&j->error, errno == ENOENT ? -ENOENT : -EHOSTUNREACH, "The folder %s cannot be opened: %s.",
                         j->local->root, strerror(errno));
    j->bucket = strchr(name, '/') || name[0] == '.' ? -ENOENT : local_open_at(root, name, O_RDONLY | O_DIRECTORY, 0);
    if (j->bucket < 0)
        return error_set(&j->error, j->bucket == -EACCES ? -EACCES : -ENOENT, "There is no folder %s in %s that could "
                         "be a bucket: %s.", name, j->local->root, strerror(-j->bucket));
    return 0;
}

int local_open_hidden(struct local_job *j)
{
    if (j->hidden >= 0)
        return 0;
    if (mkdirat(j->bucket, hidden_folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    j->hidden = local_open_at(j->bucket, hidden_folder, O_RDONLY | O_DIRECTORY, 0);
    return j->hidden < 0 ? j->hidden : 0;
}

/* One more level, which survives a power cut. */
static int make_level(int dir, const char *name, int *ret)
{
    int r = local_open_at(dir, name, O_RDONLY | O_DIRECTORY, 0);

    if (r == -ENOENT) {
        if (mkdirat(dir, name, 0777) < 0 && errno != EEXIST)
            return -errno;
        if (fsync(dir) < 0)
            return -errno;
        r = local_open_at(dir, name, O_RDONLY | O_DIRECTORY, 0);
    }
    *ret = r;
    return r < 0 ? r : 0;
}

int local_make_folder(int dir, const char *path, int *ret)
{
    CLEANUP_CLOSE int at = local_open_at(dir, path, O_RDONLY | O_DIRECTORY, 0);
    char name[NAME_MAX + 1];

    *ret = -1;
    if (at == -ENOENT)
        at = local_open_at(dir, "", O_RDONLY | O_DIRECTORY, 0);
    else
        path = "";
    while (at >= 0 && *path) {
        CLEANUP_CLOSE int below = -1;
        size_t n = strcspn(path, "/");
        int r;

        memcpy(name, path, n);
        name[n] = '\0';
        r = make_level(at, name, &below);
        if (r < 0)
            return r;
        (void)close(at);
        at = take_fd(&below);
        path += n + (path[n] == '/');
    }
    if (at < 0)
        return at;
    *ret = take_fd(&at);
    return 0;
}

/* Where there are no extended attributes nobody knows which empty folders were wanted: they stay. */
static bool unwanted(int bucket, const char *path)
{
    CLEANUP_CLOSE int fd = local_open_at(bucket, path, O_RDONLY | O_DIRECTORY, 0);

    return fd >= 0 && !local_has_mark(fd) && local_has_attributes(fd);
}

void local_prune(int bucket, const char *path)
{
    char rest[PATH_MAX];

    (void)snprintf(rest, sizeof(rest), "%s", path);
    while (*rest && unwanted(bucket, rest)) {
        CLEANUP_CLOSE int parent = -1;
        char *slash = strrchr(rest, '/');
        const char *leaf = slash ? slash + 1 : rest;

        if (slash)
            *slash = '\0';
        parent = local_open_at(bucket, slash ? rest : "", O_RDONLY | O_DIRECTORY, 0);
        if (parent < 0 || unlinkat(parent, leaf, AT_REMOVEDIR) < 0)
            return;
        if (!slash)
            return;
    }
}

/* --- entries ----------------------------------------------------------------------------------------- */

static bool is_object(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode);
}

int local_open_entry(int dir, const char *path, int *ret, struct stat *st)
{
    /* Neither a pipe nor a terminal may hold us up. */
    CLEANUP_CLOSE int fd = local_open_at(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

    if (fd == -ELOOP || fd == -EACCES || fd == -ENXIO)
        fd = local_open_at(dir, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd == -ENOTDIR || fd == -ELOOP || fd == -ENXIO ? -ENOENT : fd;
    if (fstat(fd, st) < 0)
        return -errno;
    if (!is_object(st))
        return -ENOENT;
    *ret = take_fd(&fd);
    return 0;
}

/* --- failures ---------------------------------------------------------------------------------------- */

static const struct failure {
    int error;          /* of the system */
    int code;           /* ours */
    const char *text;
} failures[] = {
    { -ENOENT, -ENOENT, "there is no such object" },
    { -EINVAL, -EINVAL, "a folder cannot hold a key with empty, \".\" or \"..\" parts" },
    { -ENAMETOOLONG, -ENAMETOOLONG, "the key, or a part of it, is too long for a folder" },
    { -EISDIR, -EISDIR, "a folder of that name is in the way" },
    { -ENOTDIR, -ENOTDIR, "a file is in the way where its folder should be" },
    { -EACCES, -EACCES, "the folder does not permit it" },
    { -EPERM, -EACCES, "the folder does not permit it" },
    { -EROFS, -EACCES, "the folder is on a read-only file system" },
    { -ELOOP, -ELOOP, "a symbolic link stands in the way" },
    { -EXDEV, -ELOOP, "it would leave the folder" },
    { -ENOSPC, -ENOSPC, "the file system of the folder is full" },
    { -EDQUOT, -ENOSPC, "the disk quota is used up" },
    { -EFBIG, -EFBIG, "it is larger than the file system allows" },
    { -EBADE, -EBADE, "the file to be sent became shorter meanwhile" },
    { -ESTALE, -ESTALE, "it has changed in the folder meanwhile" },
    { -ERANGE, -ERANGE, "the range lies outside the object" },
    { -ECANCELED, -ECANCELED, "it was canceled" },
    { -E2BIG, -E2BIG, "its attributes are larger than the file system of the folder can keep" },
    { -EOPNOTSUPP, -EOPNOTSUPP, "the file system of the folder keeps no extended attributes" },
};

int local_fail(struct local_job *j, int error, const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        if (failures[i].error == error)
            return error_set(&j->error, failures[i].code, "%s/%s: %s.", j->r->bucket, key, failures[i].text);
    return error_set(&j->error, -EREMOTEIO, "%s/%s: %s.", j->r->bucket, key, strerror(-error));
}
