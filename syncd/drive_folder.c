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
static int hold_empty(const char *path, struct folder *ret, bool *ret_made, struct error *e)
{
    int r = folder_open(path, FOLDER_MAKE_ALL, ret, e);

    if (r < 0)
        return r;
    *ret_made = ret->made;
    if (!folder_is_empty(ret->fd))
        return error_set(e, -ENOTEMPTY, "The folder %s is not empty; empty it or choose another name.", path);
    return 0;
}

static int make_folder(const char *path, const char *mark, bool *ret_made, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    int r = hold_empty(path, &folder, ret_made, e);

    if (r < 0 || !mark)
        return r;
    r = folder_mark(folder.fd, mark);
    return r < 0 ? error_set(e, -EINVAL, "The folder %s cannot be written: %s.", path, strerror(-r)) : 0;
}

static int set_mode(const struct folder *point, mode_t mode)
{
    return fchmodat(point->parent, point->name, mode, 0) < 0 ? -errno : 0;
}

static int make_point(struct drive_folders *f, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    struct stat st;
    int r = hold_empty(f->mount_point, &folder, &f->made_mount_point, e);

    if (r < 0)
        return r;
    r = fstat(folder.fd, &st) < 0 ? -errno : set_mode(&folder, POINT_MODE);
    if (r < 0)
        return error_set(e, -EINVAL, "The folder %s cannot be closed: %s.", f->mount_point, strerror(-r));
    f->mode_before = folder.made ? 0 : st.st_mode & 07777;
    return 0;
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
    struct error refusal = { 0 };
    int r = folder_open(path, FOLDER_AS_IT_IS, &folder, &refusal);

    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        *e = refusal;
        return r;
    }
    if (!mark || folder_is_marked(folder.fd, mark))
        r = folder_empty(folder.fd);
    if (r == 0 && itself)
        r = folder_remove(&folder);
    return r < 0 ? error_set(e, r, "The folder %s could not be removed: %s.", path, strerror(-r)) : 0;
}

/* One that is in use or not empty stays; one that was there before has its mode again. */
static void give_back_point(const struct drive_folders *f)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;

    if (folder_open(f->mount_point, FOLDER_AS_IT_IS, &folder, NULL) < 0)
        return;
    if (f->made_mount_point)
        (void)folder_remove(&folder);
    else if (f->mode_before)
        (void)set_mode(&folder, f->mode_before);
}

void drive_folders_remove(void *folders)
{
    struct drive_folders *f = folders;
    struct error e = { 0 };

    if (f->state_dir && f->made_state_dir)
        (void)remove_folder(f->state_dir, NULL, true, &e);
    if (f->cache_dir)
        (void)remove_folder(f->cache_dir, f->id, f->made_cache_dir, &e);
    if (f->mount_point)
        give_back_point(f);
    f->error = e;
}
