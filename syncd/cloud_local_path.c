/* Keys as paths. The kernel keeps them inside: openat2(2) with RESOLVE_BENEATH, and no link is followed, wherever
 * somebody plants one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/mount_table.h"
#include "common/text.h"
#include "syncd/cloud_local.h"

static const char hidden_folder[] = ".landfall";

/* --- names ------------------------------------------------------------------------------------------ */

static int check_part(const char *part, size_t n)
{
    if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
        return -EINVAL;
    return n > NAME_MAX ? -ENAMETOOLONG : 0;
}

bool local_is_reserved(const char *key)
{
    size_t n = strlen(hidden_folder);

    return strncmp(key, hidden_folder, n) == 0 && (key[n] == '/' || key[n] == '\0');
}

int local_check_key(const char *key)
{
    struct local_name name;
    int r = local_name(key, &name);

    return r == -ENOTUNIQ ? -EPERM : r;
}

int local_name(const char *key, struct local_name *ret)
{
    size_t n = strlen(key);
    const char *leaf = key;

    ret->directory = n && key[n - 1] == '/';
    n -= ret->directory;
    if (n >= sizeof(ret->parent))
        return -ENAMETOOLONG;
    if (local_is_reserved(key))
        return -ENOTUNIQ;
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

int local_open_root(struct local_job *j, int flags)
{
    const char *root = j->local->root;
    int fd = folder_find(root, flags);

    if (fd >= 0)
        return fd;
    if (fd == -ELOOP)
        return error_set(&j->error, -EINVAL, "A symbolic link leads to %s; name the real folder.", root);
    return error_set(&j->error, fd == -ENOENT || fd == -EACCES ? fd : -EHOSTUNREACH, "The folder %s cannot be opened: "
                     "%s.", root, strerror(-fd));
}

/* A bucket may be another file system, such as a disk that comes and goes, but no drive of ours: its contents come
 * from this very process. The table of mounts tells without asking the drive. */
static int open_mounted(int root, const struct local *l, const char *name)
{
    char path[PATH_MAX];
    int fd;

    if (snprintf(path, sizeof(path), "%s/%s", l->root, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    if (mount_table_on(path, MOUNT_TABLE_DRIVE))
        return -ELOOP;
    fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Folders come and go, with disks. While one is away nothing is known of what is in it; "there is no such object" would
 * mean that it was deleted. */
static int away(struct local_job *j)
{
    if (j->error.code == -ENOENT && j->r->op != CLOUD_LIST)
        j->error.code = -EHOSTUNREACH;
    return j->error.code;
}

int local_open_bucket(struct local_job *j)
{
    CLEANUP_CLOSE int root = -1;
    const char *name = j->r->bucket;

    if (j->bucket >= 0)
        return 0;
    root = local_open_root(j, O_PATH);
    if (root < 0)
        return away(j);
    j->bucket = strchr(name, '/') || name[0] == '.' ? -ENOENT : folder_at(root, name, O_RDONLY | O_DIRECTORY, 0);
    if (j->bucket == -EXDEV)
        j->bucket = open_mounted(root, j->local, name);
    if (j->bucket >= 0)
        return 0;
    error_set(&j->error, j->bucket == -EACCES ? -EACCES : -ENOENT,
              "There is no folder %s in %s that could be a bucket: %s.", name, j->local->root, strerror(-j->bucket));
    return away(j);
}

/* FAT and its kin show the same mode for everything and cannot be told another. */
static bool keeps_modes(int hidden)
{
    char id[ID_SIZE], name[sizeof(id) + 5];
    struct stat st = { 0 };
    bool kept;

    id_new(id);
    (void)snprintf(name, sizeof(name), "mode-%s", id);
    kept = mkdirat(hidden, name, 0700) < 0 || fstatat(hidden, name, &st, AT_SYMLINK_NOFOLLOW) < 0
        || !(st.st_mode & 077);
    (void)unlinkat(hidden, name, AT_REMOVEDIR);
    return kept;
}

/* Whoever else could get in could lay files under our names, or hold the lock. */
static int check_hidden(struct local_job *j)
{
    struct stat st;

    if (fstat(j->hidden, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid())
        return error_set(&j->error, -EPERM, "%s/%s/%s belongs to another user; Landfall needs a folder of this name "
                         "for itself, so move that one away.", j->local->root, j->r->bucket, hidden_folder);
    if (st.st_mode & 077 && keeps_modes(j->hidden))
        return error_set(&j->error, -EPERM, "%s/%s/%s lets others in; run: chmod 700 on it.", j->local->root,
                         j->r->bucket, hidden_folder);
    return 0;
}

int local_open_hidden(struct local_job *j)
{
    int r;

    if (j->hidden >= 0)
        return 0;
    if (mkdirat(j->bucket, hidden_folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    j->hidden = folder_at(j->bucket, hidden_folder, O_RDONLY | O_DIRECTORY, 0);
    r = j->hidden < 0 ? j->hidden : check_hidden(j);
    if (r < 0) {
        cleanup_close(&j->hidden);
        j->hidden = -1;
    }
    return r;
}

/* One more level, which survives a power cut. */
static int make_level(int dir, const char *name, int *ret)
{
    int r = folder_at(dir, name, O_RDONLY | O_DIRECTORY, 0);

    if (r == -ENOENT) {
        if (mkdirat(dir, name, 0777) < 0 && errno != EEXIST)
            return -errno;
        if (fsync(dir) < 0)
            return -errno;
        r = folder_at(dir, name, O_RDONLY | O_DIRECTORY, 0);
    }
    *ret = r;
    return r < 0 ? r : 0;
}

int local_make_folder(int dir, const char *path, int *ret)
{
    CLEANUP_CLOSE int at = folder_at(dir, path, O_RDONLY | O_DIRECTORY, 0);
    char name[NAME_MAX + 1];

    *ret = -1;
    if (at == -ENOENT)
        at = folder_at(dir, "", O_RDONLY | O_DIRECTORY, 0);
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
    CLEANUP_CLOSE int fd = folder_at(bucket, path, O_RDONLY | O_DIRECTORY, 0);

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
        parent = folder_at(bucket, slash ? rest : "", O_RDONLY | O_DIRECTORY, 0);
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
    CLEANUP_CLOSE int fd = folder_at(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

    if (fd == -ELOOP || fd == -EACCES || fd == -ENXIO)
        fd = folder_at(dir, path, O_PATH | O_NOFOLLOW, 0);
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
    { -ENOTUNIQ, -EPERM, "the name .landfall is reserved; Landfall keeps unfinished uploads there" },
    { -ENAMETOOLONG, -ENAMETOOLONG, "the key, or a part of it, is too long for a folder" },
    { -EISDIR, -EISDIR, "a folder of that name is in the way" },
    { -ENOTDIR, -ENOTDIR, "a file is in the way where its folder should be" },
    { -EACCES, -EACCES, "the folder does not permit it" },
    { -EPERM, -EACCES, "the folder does not permit it" },
    { -EROFS, -EACCES, "the folder is on a read-only file system" },
    { -ELOOP, -ELOOP, "a symbolic link stands in the way" },
    { -EXDEV, -ELOOP, "it would leave the folder, or another file system is mounted there" },
    { -ENOSPC, -ENOSPC, "the file system of the folder is full" },
    { -EDQUOT, -ENOSPC, "the disk quota is used up" },
    { -EFBIG, -EFBIG, "it is larger than the file system allows" },
    { -EBADE, -EBADE, "the file to be sent became shorter meanwhile" },
    { -ESTALE, -ESTALE, "it has changed in the folder meanwhile" },
    { -ERANGE, -ERANGE, "the range lies outside the object" },
    { -EAGAIN, -EAGAIN, "another program holds the lock of the bucket (its folder .landfall)" },
    { -ECANCELED, -ECANCELED, "it was canceled" },
    { -E2BIG, -E2BIG, "its attributes are larger than the file system of the folder can keep" },
    { -EOPNOTSUPP, -EOPNOTSUPP, "the file system of the folder keeps no extended attributes" },
};

int local_fail(struct local_job *j, int error, const char *key)
{
    if (j->error.code)
        return j->error.code;
    key = key ? key : "";
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
        if (failures[i].error == error)
            return error_set(&j->error, failures[i].code, "%s/%s: %s.", j->r->bucket, key, failures[i].text);
    return error_set(&j->error, -EREMOTEIO, "%s/%s: %s.", j->r->bucket, key, strerror(-error));
}
