/* The tables and rules of place.h. */
#include "syncd/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/mount_table.h"
#include "syncd/cloud.h"
#include "syncd/drive.h"
#include "syncd/path.h"
#include "syncd/service_url.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

/* What the system keeps for itself, with the exceptions where disks of users appear. */
static const struct {
    const char *path, *but;
} SYSTEM[] = {
    { "/bin", NULL }, { "/boot", NULL }, { "/dev", NULL }, { "/etc", NULL }, { "/lib", NULL }, { "/lib32", NULL },
    { "/lib64", NULL }, { "/proc", NULL }, { "/run", "/run/media" }, { "/sbin", NULL }, { "/sys", NULL },
    { "/usr", NULL },
};

static int check_system(const char *path, struct error *e)
{
    if (path[1] == '\0')
        return error_set(e, -EINVAL, "The folder / holds the whole system; name a folder with data.");
    for (size_t i = 0; i < ARRAY_SIZE(SYSTEM); i++)
        if (path_below(path, SYSTEM[i].path) && !(SYSTEM[i].but && path_below(path, SYSTEM[i].but)))
            return error_set(e, -EINVAL, "The folder %s is the system's (%s); name a folder with data.", path,
                             SYSTEM[i].path);
    return 0;
}

static bool overlap(const char *a, const char *b)
{
    return path_below(a, b) || path_below(b, a);
}

/* --- Landfall's own --------------------------------------------------------------------------- */

struct own {
    const char *path, *what;   /* path NULL or "": there is none */
};

/* The first of Landfall's own folders for which `bad` holds. */
static struct own find_own(const struct syncd *d, const char *path, bool (*bad)(const char *path, const char *own))
{
    const struct own all[] = {
        { d->mount_root, "MountRoot" }, { d->mount_root_real, "MountRoot" }, { d->state_dir, "StateDir" },
        { d->config->state_dir, "StateDir" }, { d->config->key_dir, "KeyDir" },
        { d->config->runtime_dir, "RuntimeDir" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i].path && *all[i].path && bad(path, all[i].path))
            return all[i];
    return (struct own){ NULL, NULL };
}

/* The folder that ./quickstart makes beside StateDir, to stand in for a cloud. Its usual place is below ~/.local. */
static bool in_stand_in(const struct syncd *d, const char *path, size_t *ret_len)
{
    const char *end = strrchr(d->state_dir, '/');
    CLEANUP_FREE char *folder = NULL;
    int n = asprintf(&folder, "%.*s/cloud", (int)(end - d->state_dir), d->state_dir);

    *ret_len = n > 0 ? (size_t)n : 0;
    return n > 0 && path_below(path, folder);
}

/* In what programs hide lie keys (.ssh, .gnupg), what they are started with (.config, .local/bin, .git/hooks), and
 * their databases: who may name that as a cloud may run programs as the user. */
static int check_hidden(const struct syncd *d, const char *path, struct error *e)
{
    size_t skip;
    const char *hidden = strstr(in_stand_in(d, path, &skip) ? path + skip : path, "/.");

    if (!hidden)
        return 0;
    return error_set(e, -EINVAL, "The folder %s lies in the hidden folder %.*s, where programs keep keys and settings; "
                     "name a folder with data.", path, (int)strcspn(hidden + 1, "/"), hidden + 1);
}

static int check_caches(const struct syncd *d, const char *path, struct error *e)
{
    for (const struct drive *drive = d->drives; drive; drive = drive->next)
        if (overlap(path, drive->model->permanent_local_path))
            return error_set(e, -EINVAL, "The folder %s and the cache folder %s of the drive %s are not apart.", path,
                             drive->model->permanent_local_path, drive->model->name);
    return 0;
}

int place_check_data(const struct syncd *d, const char *path, struct error *e)
{
    struct own own = find_own(d, path, overlap);
    int r = check_system(path, e);

    if (r < 0)
        return r;
    if (own.path)
        return error_set(e, -EINVAL, "The folder %s and Landfall's own folder %s (%s) are not apart; name another.",
                         path, own.path, own.what);
    if ((d->home && path_below(d->home, path)) || (d->home_real && path_below(d->home_real, path)))
        return error_set(e, -EINVAL, "The folder %s holds the whole home directory; name a folder in it.", path);
    r = check_hidden(d, path, e);
    if (r == 0)
        r = check_caches(d, path, e);
    if (r == 0 && mount_table_on(path, MOUNT_TABLE_DRIVE))
        r = error_set(e, -EINVAL, "The folder %s lies on a drive of Landfall.", path);
    return r;
}

/* --- what people upload, and where they download to ---------------------------------------------- */

int place_check_local(const struct syncd *d, const char *path, struct error *e)
{
    struct own own = find_own(d, path, path_below);

    if (own.path)
        return error_set(e, -EINVAL, "%s lies in Landfall's own folder %s (%s).", path, own.path, own.what);
    for (const struct drive *drive = d->drives; drive; drive = drive->next)
        if (path_below(path, drive->model->permanent_local_path))
            return error_set(e, -EINVAL, "%s lies in the cache of the drive %s.", path, drive->model->name);
    return 0;
}

int place_check_haul(const struct syncd *d, const char *path, bool write, struct error *e)
{
    int r;

    if (mount_table_on(path, MOUNT_TABLE_DRIVE))
        return error_set(e, -EINVAL, "%s lies on a drive of Landfall, which moves its files to and from the cloud "
                         "itself; copy it there or from there.", path);
    r = place_check_local(d, path, e);
    return r == 0 && write ? check_hidden(d, path, e) : r;
}

/* --- caches ----------------------------------------------------------------------------------- */

struct search {
    const char *path;
    bool found;
};

static bool consider(Lf__CloudAccount *m, void *arg)
{
    struct search *s = arg;
    CLEANUP_FREE char *root = NULL;

    if (m->cloud_type == CLOUD_LOCAL_FOLDER && m->service_url && service_url_folder(m->service_url, &root, NULL) == 0)
        s->found = overlap(s->path, root);
    lf__cloud_account__free_unpacked(m, NULL);
    return !s->found;
}

int place_check_cache(const struct syncd *d, const char *path, struct error *e)
{
    struct own own = find_own(d, path, path_below);
    struct search s = { .path = path };
    int r;

    if (own.path)
        return error_set(e, -EINVAL, "permanentLocalPath lies below %s (%s); leave it out to have a folder made.",
                         own.path, own.what);
    if (mount_table_on(path, MOUNT_TABLE_DRIVE))
        return error_set(e, -EINVAL, "permanentLocalPath lies on a drive of Landfall.");
    r = store_account_each(d->store, "", consider, &s);
    if (r < 0)
        return error_set(e, r, "The accounts could not be read.");
    return s.found ? error_set(e, -EINVAL, "permanentLocalPath and the folder of an account are not apart.") : 0;
}
