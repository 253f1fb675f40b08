/* Folders of this machine: read, and made. */
#include "syncd/local_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

int local_error(struct error *e, int code, const char *what, const char *path)
{
    static const struct {
        int code, as;
        const char *text;
    } rows[] = {
        { ENOENT, ENOENT, "there is no such folder" },
        { ENOTDIR, ENOTDIR, "it is not a folder" },
        { EEXIST, EEXIST, "that name is taken" },
        { ENAMETOOLONG, ENAMETOOLONG, "the name is too long" },
        { ENOSPC, ENOSPC, "there is no space left" },
        { EDQUOT, ENOSPC, "there is no space left for this user" },
        { EACCES, EBADFD, "the user that this agent serves may not do that" },
        { EPERM, EBADFD, "the user that this agent serves may not do that" },
        { EROFS, EBADFD, "it cannot be written to from here" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].code == -code)
            return error_set(e, -rows[i].as, "%.300s cannot be %s: %s.", path, what, rows[i].text);
    return error_set(e, -EBADFD, "%.300s cannot be %s: %s.", path, what, strerror(-code));
}

/* A descriptor or negative errno. */
static int open_folder(const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_DIRECTORY | O_CLOEXEC), .resolve = RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

/* --- reading ------------------------------------------------------------------------------------ */

/* Collects up to two parts, of which it then keeps the first half. */
struct reader {
    struct local_listing *l;
    int fd;                        /* of the folder */
    const char *last;              /* nothing behind it is wanted; NULL: everything is */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct local_entry *)a)->name, ((const struct local_entry *)b)->name);
}

static void cut(struct reader *r)
{
    struct local_listing *l = r->l;

    if (l->n)
        qsort(l->entries, l->n, sizeof(*l->entries), by_name);
    if (l->n <= LOCAL_PART)
        return;
    l->more = true;
    while (l->n > LOCAL_PART)
        free(l->entries[--l->n].name);
    r->last = l->entries[l->n - 1].name;
}

/* A link is what it leads to; one that leads nowhere is a file. */
static bool is_directory(const struct reader *r, const struct dirent *d)
{
    struct statx stx;

    if (d->d_type != DT_LNK && d->d_type != DT_UNKNOWN)
        return d->d_type == DT_DIR;
    return statx(r->fd, d->d_name, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0 &&
           S_ISDIR(stx.stx_mode);
}

static bool is_wanted(const struct reader *r, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    return strcmp(name, r->l->after) > 0 && (!r->last || strcmp(name, r->last) < 0);
}

static void take(struct reader *r, const struct dirent *d)
{
    struct local_listing *l = r->l;
    bool directory;

    if (!is_wanted(r, d->d_name))
        return;
    directory = is_directory(r, d);
    if (l->directories_only && !directory)
        return;
    *xadd(l->entries, l->n) = (struct local_entry){ xstrdup(d->d_name), directory };
    if (l->n == 2 * LOCAL_PART)
        cut(r);
}

static int read_all(struct reader *r, DIR *dir)
{
    struct dirent *d;

    for (errno = 0; (d = readdir(dir)); errno = 0)
        take(r, d);
    return -errno;
}

void local_dir_list(void *listing)
{
    struct local_listing *l = listing;
    struct reader reader = { .l = l, .fd = open_folder(l->path, O_RDONLY) };
    DIR *dir = reader.fd >= 0 ? fdopendir(reader.fd) : NULL;
    int r = reader.fd < 0 ? reader.fd : dir ? 0 : -errno;

    if (r == 0)
        r = read_all(&reader, dir);
    cut(&reader);
    if (dir)
        (void)closedir(dir);
    else if (reader.fd >= 0)
        (void)close(reader.fd);
    if (r < 0)
        (void)local_error(&l->error, r, "listed", l->path);
}

void local_listing_done(struct local_listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->entries[i].name);
    free(l->entries);
    free(l->path);
    free(l->after);
    *l = (struct local_listing){ 0 };
}

/* --- making ------------------------------------------------------------------------------------- */

int local_name_check(const char *name, struct error *e)
{
    bool fits = *name && strlen(name) <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
                strcmp(name, "..") != 0;

    for (const char *p = name; *p; p++)
        fits = fits && (unsigned char)*p >= ' ' && *p != 0x7f;
    return fits ? 0
                : error_set(e, -EPERM, "\"%.300s\" is not the name of a folder: give one of 1 to 255 bytes without "
                            "slashes and control characters, and not \".\" or \"..\".", name);
}

void local_dir_make(void *making)
{
    struct local_making *m = making;
    CLEANUP_CLOSE int base = open_folder(m->base, O_PATH);

    if (base < 0)
        (void)local_error(&m->error, base, "opened", m->base);
    else if (mkdirat(base, m->name, 0777) < 0)
        (void)local_error(&m->error, -errno, "made", m->name);
}

void local_making_done(struct local_making *m)
{
    free(m->base);
    free(m->name);
}
