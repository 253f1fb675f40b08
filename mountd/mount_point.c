/* Finds and checks mount points. Every path is resolved by the kernel in one openat2(2) that
 * refuses symbolic links; nothing is looked up twice. Must not know how drives are mounted. */
#include "mountd/mount_point.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"

enum {
    ANYWHERE = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    BELOW = ANYWHERE | RESOLVE_BENEATH,
    BELOW_HERE = BELOW | RESOLVE_NO_XDEV,   /* not across a mount either */
};

static int resolve(int at, const char *path, uint64_t how_resolve)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = how_resolve };
    long fd = syscall(SYS_openat2, at, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

/* A component that is empty, "." or ".." is refused before the kernel sees it, so that a path names
 * what it seems to name. */
static bool plain(const char *relative)
{
    for (const char *p = relative;; p++) {
        size_t n = strcspn(p, "/");

        if (n == 0 || n > NAME_MAX || (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.'))))
            return false;
        p += n;
        if (!*p)
            return true;
    }
}

/* The part of `path` below `root`, or NULL. */
static const char *below(const char *root, const char *path)
{
    size_t n = strlen(root);

    while (n > 1 && root[n - 1] == '/')
        n--;
    if (root[0] != '/' || n == 1 || strlen(path) >= PATH_MAX)
        return NULL;
    return strncmp(path, root, n) == 0 && path[n] == '/' && plain(path + n + 1) ? path + n + 1 : NULL;
}

static const struct {
    int code;
    const char *text;
} reasons[] = {
    { -ELOOP, "a symbolic link leads there; name the real directory" },
    { -ENOENT, "there is no such directory; create it first" },
    { -ENOTDIR, "it is not a directory" },
    { -EXDEV, "another file system is mounted on the way there" },
    { -EBUSY, "something is mounted there already" },
    { -ENOTCONN, "a drive that has lost its server is still mounted there" },
    { -EACCES, "it belongs to another user" },
    { -ENOTEMPTY, "it is not empty; move what lies in it elsewhere" },
};

static int refuse(int r, const char *path, struct error *e)
{
    const char *why = strerror(-r);

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (reasons[i].code == r)
            why = reasons[i].text;
    return error_set(e, r, "%s cannot be used as mount point: %s.", path, why);
}

/* What is mounted at the point: a drive whose server is gone, or anything else. */
static int identify_mount(const struct mount_point *p)
{
    CLEANUP_CLOSE int fd = resolve(p->parent, p->name, BELOW);
    struct stat st;

    if (fd < 0)
        return fd;
    return fstat(fd, &st) < 0 && errno == ENOTCONN ? -ENOTCONN : -EBUSY;
}

static int check_empty(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int n = 0;

    if (!d) {
        int r = -errno;

        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    while (n <= 2 && (entry = readdir(d)))
        n++;
    (void)closedir(d);
    return n > 2 ? -ENOTEMPTY : 0;
}

static int check_directory(struct mount_point *p, uid_t owner)
{
    struct stat st;

    p->dir = resolve(p->parent, p->name, BELOW_HERE);
    if (p->dir == -EXDEV)
        return identify_mount(p);
    if (p->dir < 0)
        return p->dir;
    if (fstat(p->dir, &st) < 0)
        return -errno;
    return st.st_uid != owner ? -EACCES : check_empty(p->dir);
}

/* Opens the directory that `relative` lies in and notes the last name. */
static int find_parent(int root, const char *relative, struct mount_point *p)
{
    const char *slash = strrchr(relative, '/');
    char parent[PATH_MAX];

    (void)strcpy(p->name, slash ? slash + 1 : relative);   /* plain() has measured it */
    if (!slash) {
        p->parent = fcntl(root, F_DUPFD_CLOEXEC, 0);
        return p->parent < 0 ? -errno : 0;
    }
    (void)memcpy(parent, relative, (size_t)(slash - relative));
    parent[slash - relative] = '\0';
    p->parent = resolve(root, parent, BELOW_HERE);
    return p->parent < 0 ? p->parent : 0;
}

int mount_point_find(const char *root, const char *path, struct mount_point *ret, struct error *e)
{
    const char *relative = below(root, path);
    CLEANUP_CLOSE int fd = -1;
    int r;

    *ret = (struct mount_point){ .parent = -1, .dir = -1 };
    if (!relative)
        return error_set(e, -EPERM, "%s cannot be used as mount point: drives are mounted below %s "
                         "(MountRoot in the configuration), named without \".\" and \"..\".", path, root);
    fd = resolve(AT_FDCWD, root, ANYWHERE);
    if (fd < 0)
        return refuse(fd, root, e);
    r = find_parent(fd, relative, ret);
    return r < 0 ? refuse(r, path, e) : 0;
}

int mount_point_open(const char *root, const char *path, uid_t owner, struct mount_point *ret, struct error *e)
{
    struct mount_point p;
    int r = mount_point_find(root, path, &p, e);

    if (r < 0)
        return r;
    r = check_directory(&p, owner);
    if (r < 0) {
        mount_point_close(&p);
        return refuse(r, path, e);
    }
    *ret = p;
    return 0;
}

void mount_point_close(struct mount_point *p)
{
    cleanup_close(&p->parent);
    cleanup_close(&p->dir);
    p->parent = p->dir = -1;
}
