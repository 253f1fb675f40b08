/* Metadata of objects as what a file has anyway (times, permission bits, the user's own attributes) and a few
 * attributes of ours, named user.landfall.*.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cloud_local.h"

#define OURS "user.landfall."

enum { NAMES_MAX = 64 * 1024, VALUE_MAX = 64 * 1024, STAMP_MAX = 255 };

void local_etag(const struct stat *st, char out[LOCAL_ETAG_SIZE])
{
    uint64_t ns = (uint64_t)st->st_mtim.tv_sec * SECOND_NS + (uint64_t)st->st_mtim.tv_nsec;   /* any year tells apart */

    if (S_ISDIR(st->st_mode))   /* what is in a folder is not part of its marker */
        (void)snprintf(out, LOCAL_ETAG_SIZE, "d-%" PRIx64, (uint64_t)st->st_ino);
    else
        (void)snprintf(out, LOCAL_ETAG_SIZE, "%" PRIx64 "-%" PRIx64 "-%" PRIx64, (uint64_t)st->st_size, ns,
                       (uint64_t)st->st_ino);
}

/* --- markers ----------------------------------------------------------------------------------------- */

bool local_has_attributes(int fd)
{
    return flistxattr(fd, NULL, 0) >= 0;
}

bool local_has_mark(int fd)
{
    return fgetxattr(fd, OURS "marker", NULL, 0) >= 0;
}

static bool is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    bool empty = d != NULL;

    if (!d && copy >= 0)
        (void)close(copy);
    while (d && empty && (entry = readdir(d)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (d)
        (void)closedir(d);
    return empty;
}

bool local_is_marked(int fd)
{
    return local_has_mark(fd) || is_empty(fd);
}

int local_mark(int fd)
{
    return fsetxattr(fd, OURS "marker", "1", 1, 0) < 0 && errno != EOPNOTSUPP ? -errno : 0;
}

void local_unmark(int fd)
{
    local_meta_clear(fd);
    (void)fremovexattr(fd, OURS "marker");
}

/* --- attributes -------------------------------------------------------------------------------------- */

/* Calls each with every attribute name that begins with "user.". */
static void each_name(int fd, void (*each)(int fd, const char *name, void *arg), void *arg)
{
    CLEANUP_FREE char *names = xcalloc(1, NAMES_MAX);
    ssize_t n = flistxattr(fd, names, NAMES_MAX);

    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
        if (strncmp(names + at, "user.", 5) == 0)
            each(fd, names + at, arg);
}

static void remove_one(int fd, const char *name, void *arg)
{
    (void)arg;
    if (strcmp(name, OURS "marker") != 0)
        (void)fremovexattr(fd, name);
}

void local_meta_clear(int fd)
{
    each_name(fd, remove_one, NULL);
}

static int set(int fd, const char *name, const void *value, size_t size)
{
    if (fsetxattr(fd, name, value, size, 0) == 0)
        return 0;
    return errno == ENOSPC || errno == ERANGE || errno == E2BIG ? -E2BIG : -errno;
}

static int set_number(int fd, const char *name, int64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%" PRId64, value);
    int r = set(fd, name, text, (size_t)n);

    return r == -EOPNOTSUPP ? 0 : r;   /* the permission bits, the owner and the time of the file have to do */
}

static bool get_number(int fd, const char *name, int64_t *ret)
{
    char text[32], *end;
    ssize_t n = fgetxattr(fd, name, text, sizeof(text) - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    *ret = strtoll(text, &end, 10);
    return *end == '\0';
}

/* A folder's own time moves with everything that happens in it, so its mtime is an attribute. */
static int put_mtime(int fd, const struct cloud_meta *m, bool directory)
{
    struct timespec times[2] = { { 0, UTIME_OMIT }, timespec_of(m->mtime_ns) };
    int r = directory ? set_number(fd, OURS "mtime", m->mtime_ns) : 0;

    if (r == 0 && futimens(fd, times) < 0)
        r = -errno;
    return r;
}

/* Permission bits are shown to other programs, too, as far as we can still read the file ourselves. */
static int put_mode(int fd, uint32_t mode, bool directory)
{
    if (fchmod(fd, (mode & 0777) | (directory ? 0700 : 0600)) < 0)
        return -errno;
    return set_number(fd, OURS "mode", mode);
}

static int put_stamp(int fd, const char *stamp)
{
    int r = set(fd, OURS "stamp", stamp, strlen(stamp));

    return r == -EOPNOTSUPP ? 0 : r;
}

/* Where there are no attributes, nobody's stamp is there to be missed. */
static void get_stamp(int fd, struct cloud_meta *m)
{
    char stamp[STAMP_MAX + 1];
    ssize_t n = fgetxattr(fd, OURS "stamp", stamp, STAMP_MAX);

    if (n <= 0 && local_has_attributes(fd))
        return;
    stamp[n > 0 ? n : 0] = '\0';
    cloud_request_set(&m->stamp, stamp);
}

/* Without the size an object tells it itself; without the binding it would be taken for another one. */
static int put_sealed(int fd, const struct cloud_meta *m)
{
    int r = m->has_size ? set_number(fd, OURS "size", (int64_t)m->size) : 0;

    return r == 0 && m->has_binding ? set(fd, OURS "binding", m->binding, CLOUD_BINDING) : r;
}

static void get_sealed(int fd, struct cloud_meta *m)
{
    int64_t size;

    m->has_size = get_number(fd, OURS "size", &size) && size >= 0;
    m->size = m->has_size ? (uint64_t)size : 0;
    m->has_binding = fgetxattr(fd, OURS "binding", m->binding, CLOUD_BINDING) == CLOUD_BINDING;
}

int local_meta_put(int fd, const struct cloud_meta *m, bool directory)
{
    int r = m->has_mode ? put_mode(fd, m->mode, directory) : 0;

    if (r == 0 && m->has_owner)
        r = set_number(fd, OURS "uid", m->uid);
    if (r == 0 && m->has_owner)
        r = set_number(fd, OURS "gid", m->gid);
    if (r == 0 && m->stamp)
        r = put_stamp(fd, m->stamp);
    if (r == 0)
        r = put_sealed(fd, m);
    for (size_t i = 0; i < m->n_xattrs && r == 0; i++)
        if (strncmp(m->xattrs[i].name, OURS, strlen(OURS)) != 0)
            r = set(fd, m->xattrs[i].name, m->xattrs[i].value, m->xattrs[i].size);
    if (r == 0 && m->has_mtime)
        r = put_mtime(fd, m, directory);
    return r;
}

static void get_user(int fd, const char *name, void *arg)
{
    struct cloud_meta *m = arg;
    CLEANUP_FREE char *value = NULL;
    ssize_t n;

    if (strncmp(name, OURS, strlen(OURS)) == 0)
        return;
    value = xcalloc(1, VALUE_MAX + 1);
    n = fgetxattr(fd, name, value, VALUE_MAX);
    if (n < 0)
        return;
    *xadd(m->xattrs, m->n_xattrs) = (struct cloud_xattr){ xstrdup(name), xcalloc(1, (size_t)n + 1), (size_t)n };
    memcpy(m->xattrs[m->n_xattrs - 1].value, value, (size_t)n);
}

static void get_link(int fd, struct cloud_meta *m)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

    if (n <= 0)
        return;
    target[n] = '\0';
    cloud_request_set(&m->symlink, target);
}

/* A FIFO or a socket is an empty file here. */
static bool is_type_of(uint32_t mode, const struct stat *st)
{
    bool empty = S_ISREG(st->st_mode) && st->st_size == 0;

    return (mode & S_IFMT) == (st->st_mode & S_IFMT) || (empty && (S_ISFIFO(mode) || S_ISSOCK(mode)));
}

void local_meta_get(int fd, const struct stat *st, struct cloud_meta *m)
{
    int64_t mode, uid, gid, mtime;

    m->has_mtime = m->has_mode = true;
    m->mtime_ns = timespec_ns(st->st_mtim);
    m->mode = st->st_mode;
    if (S_ISLNK(st->st_mode)) {
        get_link(fd, m);
        cloud_request_set(&m->stamp, "");
        return;
    }
    get_stamp(fd, m);
    get_sealed(fd, m);
    if (get_number(fd, OURS "mode", &mode) && mode >= 0 && is_type_of((uint32_t)mode, st))
        m->mode = (uint32_t)mode;
    if (S_ISDIR(st->st_mode) && get_number(fd, OURS "mtime", &mtime))
        m->mtime_ns = mtime;
    m->has_owner = get_number(fd, OURS "uid", &uid) && get_number(fd, OURS "gid", &gid);
    if (m->has_owner) {
        m->uid = (uint32_t)uid;
        m->gid = (uint32_t)gid;
    }
    each_name(fd, get_user, m);
}

void local_describe(int fd, const struct stat *st, const char *key, struct cloud_object *o)
{
    char etag[LOCAL_ETAG_SIZE];

    local_etag(st, etag);
    cloud_request_set(&o->key, key);
    cloud_request_set(&o->etag, etag);
    o->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    o->mtime_ns = timespec_ns(st->st_mtim);
    cloud_meta_free(&o->meta);
    local_meta_get(fd, st, &o->meta);
    o->has_meta = true;
}
