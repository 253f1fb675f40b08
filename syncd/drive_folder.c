/* The folders of a drive: index, cache, mount point. Runs in the pool; knows nothing of the daemon
 * but what struct drive_folders carries. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/folder.h"
#include "syncd/syncd.h"

/* Nobody but root can write into a mount point while nothing is mounted on it: what would lie there is not in the
 * cloud, and would keep the drive from being mounted. mountd lends fusermount3 the bit for writing. */
enum { POINT_MODE = 0500 };

/* By way of no link, as mountd wants it, too. */
static char *mount_point(const struct syncd *d, const Lf__CloudDrive *m)
{
    char *path = NULL;

    if (!d->mount_root_real)
        return xstrdup(m->local_path);
    if (asprintf(&path, "%s/%s", d->mount_root_real, m->name) < 0)
        abort();
    return path;
}

struct drive_folders *drive_folders_new(struct syncd *d, const Lf__CloudDrive *m)
{
    struct drive_folders *f = xcalloc(1, sizeof(*f));

    f->id = xstrdup(m->id);
    f->mount_point = mount_point(d, m);
    f->state_dir = drive_state_dir(d, m->id);
    f->cache_dir = xstrdup(m->permanent_local_path);
    return f;
}

void drive_folders_free(struct drive_folders *f)
{
    if (!f)
        return;
    free(f->id);
    free(f->mount_point);
    free(f->state_dir);
    free(f->cache_dir);
    free(f);
}

/* --- making ----------------------------------------------------------------------------------- */

/* What is there must be of use: an empty directory of the served user. */
static int make_folder(const char *path, const char *mark, bool *ret_made, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    int r = folder_open(path, FOLDER_MAKE_ALL, &folder, e);

    if (r < 0)
        return r;
    *ret_made = folder.made;
    if (!folder_is_empty(folder.fd))
        return error_set(e, -ENOTEMPTY, "The folder %s is not empty; empty it or choose another name.", path);
    r = mark ? folder_mark(folder.fd, mark) : 0;
    return r < 0 ? error_set(e, -EINVAL, "The folder %s cannot be written: %s.", path, strerror(-r)) : 0;
}

/* `ret_before` NULL: nobody wants to know. */
static int set_point_mode(const char *path, mode_t mode, uint32_t *ret_before, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    struct stat st;
    int r = folder_open(path, FOLDER_AS_IT_IS, &folder, e);

    if (r < 0)
        return r;
    if (fstat(folder.fd, &st) < 0 || fchmodat(folder.parent, folder.name, mode, 0) < 0)
        return error_set(e, -EINVAL, "The folder %s cannot be closed: %s.", path, strerror(errno));
    if (ret_before)
        *ret_before = st.st_mode & 07777;
    return 0;
}

static int make_point(struct drive_folders *f, struct error *e)
{
    int r = make_folder(f->mount_point, NULL, &f->made_mount_point, e);

    if (r == 0)
        r = set_point_mode(f->mount_point, POINT_MODE, &f->mode_before, e);
    if (f->made_mount_point)
        f->mode_before = 0;
    return r;
}

void drive_folders_make(void *folders)
{
    struct drive_folders *f = folders;
    int r = 0;

    f->error = (struct error){ 0 };
    if (f->mount_point)
        r = make_point(f, &f->error);
    if (r == 0 && f->state_dir)
        r = make_folder(f->state_dir, NULL, &f->made_state_dir, &f->error);
    if (r == 0 && f->cache_dir)
        r = make_folder(f->cache_dir, f->id, &f->made_cache_dir, &f->error);
    if (r < 0) {
        struct error kept = f->error;

        drive_folders_remove(f);
        f->error = kept;
    }
}

/* --- removing --------------------------------------------------------------------------------- */

/* With `mark` only what has it is emptied: anything else came into its place later, or was never used. */
static int remove_folder(const char *path, const char *mark, bool itself, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    int r = folder_open(path, FOLDER_AS_IT_IS, &folder, e);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    if (!mark || folder_is_marked(folder.fd, mark))
        r = folder_empty(folder.fd);
    if (r == 0 && itself)
        r = folder_remove(&folder);
    return r < 0 ? error_set(e, r, "The folder %s could not be removed: %s.", path, strerror(-r)) : 0;
}

/* One that is in use or not empty stays. */
static void remove_mount_point(const char *path)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;

    if (folder_open(path, FOLDER_AS_IT_IS, &folder, NULL) == 0)
        (void)folder_remove(&folder);
}

void drive_folders_remove(void *folders)
{
    struct drive_folders *f = folders;
    struct error e = { 0 };

    if (f->state_dir && f->made_state_dir)
        (void)remove_folder(f->state_dir, NULL, true, &e);
    if (f->cache_dir)
        (void)remove_folder(f->cache_dir, f->id, f->made_cache_dir, &e);
    if (f->mount_point && f->made_mount_point)
        remove_mount_point(f->mount_point);
    else if (f->mount_point && f->mode_before)
        (void)set_point_mode(f->mount_point, f->mode_before, NULL, NULL);
    f->error = e;
}
