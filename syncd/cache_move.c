/* Owns the files of a cache on their way to another folder. Must not know the drive, nor the index. */
#include "syncd/cache_move.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache.h"
#include "syncd/drive.h"
#include "syncd/folder.h"

enum { FOLDERS = 256, XATTR_LIST = 1024, XATTR_VALUE = 1024 };

/* Both folders while they are worked on. */
struct places {
    const struct cache_move *move;
    int from, to;
    int r;
    unsigned passed;              /* files that the kernel reads by itself */
};

struct cache_move *cache_move_new(const char *id, const char *from, const char *to)
{
    struct cache_move *m = xcalloc(1, sizeof(*m));

    m->id = xstrdup(id);
    m->from = xstrdup(from);
    m->to = xstrdup(to);
    return m;
}

void cache_move_free(struct cache_move *m)
{
    if (!m)
        return;
    free(m->id);
    free(m->from);
    free(m->to);
    free(m->inos);
    free(m);
}

static int fail(struct cache_move *m, int code)
{
    return error_set(&m->error, code, "The cache could not be moved from %s to %s: %s.", m->from, m->to,
                     strerror(-code));
}

/* --- making and leaving ----------------------------------------------------------------------------- */

static int look_at(const char *path, struct stat *ret, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    int r = folder_open(path, FOLDER_AS_IT_IS, &folder, e);

    if (r < 0)
        return r;
    return fstat(folder.fd, ret) < 0 ? error_set(e, -errno, "The folder %s cannot be read: %s.", path, strerror(errno))
                                     : 0;
}

void cache_move_prepare(void *move)
{
    struct cache_move *m = move;
    struct drive_folders f = { .id = m->id, .cache_dir = m->to };
    struct stat from, to;

    m->error = (struct error){ 0 };
    if (look_at(m->from, &from, &m->error) < 0)
        return;
    drive_folders_make(&f);
    m->made = f.made_cache_dir;
    m->error = f.error;
    if (m->error.code == 0 && look_at(m->to, &to, &m->error) == 0)
        m->copies = from.st_dev != to.st_dev;
}

void cache_move_leave(void *move)
{
    struct cache_move *m = move;
    struct drive_folders f = { .id = m->id, .cache_dir = m->from, .made_cache_dir = true };

    drive_folders_remove(&f);
    m->error = f.error;
}

/* --- names ------------------------------------------------------------------------------------------ */

static bool is_own(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strncmp(name, ".landfall-", 10) != 0;
}

static DIR *open_list(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        (void)close(fd);
    return d;
}

static void cleanup_closedir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

/* While a folder is read its names go; so it is read until nothing more went. */
static int rename_all(const struct places *p)
{
    bool more = true;

    while (more) {
        CLEANUP(cleanup_closedir) DIR *d = open_list(p->from, ".");

        if (!d)
            return -errno;
        more = false;
        for (struct dirent *e = readdir(d); e; e = readdir(d)) {
            if (!is_own(e->d_name))
                continue;
            if (renameat(p->from, e->d_name, p->to, e->d_name) < 0)
                return -errno;
            more = true;
        }
    }
    return 0;
}

static int sync_folder(int dir)
{
    CLEANUP_CLOSE int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}

/* --- a file ----------------------------------------------------------------------------------------- */

/* copy_file_range(2) would not go from one kind of file system to another one. */
static int copy_range(int from, int to, off_t at, off_t end)
{
    if (lseek(to, at, SEEK_SET) < 0)
        return -errno;
    while (at < end) {
        ssize_t n = sendfile(to, from, &at, (size_t)(end - at));

        if (n <= 0)
            return n < 0 ? -errno : 0;
    }
    return 0;
}

static int copy_bytes(int from, int to, off_t size)
{
    off_t at = 0, end;
    int r = ftruncate(to, size) < 0 ? -errno : 0;

    while (r == 0 && (at = lseek(from, at, SEEK_DATA)) >= 0 && (end = lseek(from, at, SEEK_HOLE)) >= 0) {
        r = copy_range(from, to, at, end);
        at = end;
    }
    return r;
}

static int copy_xattrs(int from, int to)
{
    char names[XATTR_LIST], value[XATTR_VALUE];
    ssize_t n = flistxattr(from, names, sizeof(names));

    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        ssize_t size = strncmp(name, "user.", 5) ? -1 : fgetxattr(from, name, value, sizeof(value));

        if (size >= 0 && fsetxattr(to, name, value, (size_t)size, 0) < 0)
            return -errno;
    }
    return 0;
}

/* Names are those of one folder in the other one. */
static int copy_file(int from_dir, int to_dir, const char *name)
{
    CLEANUP_CLOSE int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP_CLOSE int to = -1;
    struct stat st;
    int r;

    if (from < 0)
        return errno == ENOENT ? 0 : -errno;
    to = openat(to_dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0 || fstat(from, &st) < 0)
        return -errno;
    r = S_ISREG(st.st_mode) ? copy_bytes(from, to, st.st_size) : -EINVAL;
    if (r == 0)
        r = copy_xattrs(from, to);
    return r == 0 && futimens(to, (const struct timespec[]){ st.st_atim, st.st_mtim }) < 0 ? -errno : r;
}

/* --- pairs ------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static bool is_listed(const struct cache_move *m, uint64_t ino)
{
    return m->n && bsearch(&ino, m->inos, m->n, sizeof(ino), compare);
}

/* From now on a worker that has it open asks before it writes, and writes once more what it was about to. */
static int still(const struct places *p, uint64_t ino)
{
    static const uint32_t clean = CHUNK_MAP_CLEAN;
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = openat(p->from, cache_file_path(path, ino, "map"), O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return pwrite(fd, &clean, sizeof(clean), offsetof(struct chunk_map, state)) < 0 ? -errno : 0;
}

static int copy_pair(const struct places *p, uint64_t ino)
{
    static const char *const kinds[] = { "seal", "data", "map" };
    CLEANUP_CLOSE int from = cache_name_folder(p->from, ino, false);
    CLEANUP_CLOSE int to = cache_name_folder(p->to, ino, true);
    char name[CACHE_NAME];
    int r = from < 0 ? from : to < 0 ? to : still(p, ino);

    for (size_t k = 0; r == 0 && k < ARRAY_SIZE(kinds); k++)
        r = copy_file(from, to, cache_name(name, ino, kinds[k]));
    return r;
}

/* A pair is found by each of its files, the data file among them. */
static void consider(uint64_t ino, void *arg)
{
    struct places *p = arg;
    struct chunk_map head;
    bool map = cache_file_peek(p->from, ino, &head);
    uint64_t tag = p->move->mount_tag;
    char path[CACHE_PATH];
    struct stat st;

    if (p->r < 0 || fstatat(p->to, cache_file_path(path, ino, "data"), &st, AT_SYMLINK_NOFOLLOW) == 0)
        return;
    if (map && chunk_map_passed(&head, tag))
        p->passed++;
    if (is_listed(p->move, ino) ||
        (map && (atomic_load(&head.state) == CHUNK_MAP_DIRTY || chunk_map_counted(&head, tag))))
        p->r = copy_pair(p, ino);
}

static int copy_lost(const struct places *p)
{
    CLEANUP(cleanup_closedir) DIR *d = open_list(p->from, "lost");
    CLEANUP_CLOSE int to = -1;
    int r = 0;

    if (!d)
        return errno == ENOENT ? 0 : -errno;
    if (mkdirat(p->to, "lost", 0700) < 0)
        return -errno;
    to = openat(p->to, "lost", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (struct dirent *e = readdir(d); e && to >= 0 && r == 0; e = readdir(d))
        if (is_own(e->d_name))
            r = copy_file(dirfd(d), to, e->d_name);
    return to < 0 ? -errno : r;
}

static int copy_all(struct places *p)
{
    for (uint64_t low = 0; low < FOLDERS && p->r == 0; low++)
        cache_file_walk(p->from, low, consider, p);
    if (p->r == 0 && p->passed)
        return -EBUSY;
    return p->r < 0 ? p->r : copy_lost(p);
}

/* --- all -------------------------------------------------------------------------------------------- */

static int open_both(const struct cache_move *m, struct folder *from, struct folder *to, struct error *e)
{
    int r = folder_open(m->from, FOLDER_AS_IT_IS, from, e);

    if (r == 0)
        r = folder_open(m->to, FOLDER_AS_IT_IS, to, e);
    if (r == 0 && (!folder_is_marked(from->fd, m->id) || !folder_is_marked(to->fd, m->id)))
        r = error_set(e, -EPERM, "%s and %s are not both cache folders of this drive.", m->from, m->to);
    return r;
}

void cache_move_carry(void *move)
{
    struct cache_move *m = move;
    CLEANUP(folder_close) struct folder from = FOLDER_NONE, to = FOLDER_NONE;
    struct places p = { .move = m };
    int r;

    m->error = (struct error){ 0 };
    if (open_both(m, &from, &to, &m->error) < 0)
        return;
    p.from = from.fd;
    p.to = to.fd;
    if (m->n)
        qsort(m->inos, m->n, sizeof(*m->inos), compare);
    r = m->copies ? copy_all(&p) : rename_all(&p);
    if (r == 0)
        r = sync_folder(to.fd);
    if (r == -EBUSY && p.passed)
        error_set(&m->error, r, "The kernel reads %u files of the cache by itself, so they cannot go to another file "
                  "system. Close the programs that read them, and try again.", p.passed);
    else if (r < 0)
        (void)fail(m, r);
}
