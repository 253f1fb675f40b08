/* A volume's life: opening, pausing, new settings, closing; the workers attached to it; and the
 * table of file system handlers. What the parts do is theirs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/anchors.h"
#include "syncd/await.h"
#include "syncd/cache.h"
#include "syncd/cache_convert.h"
#include "syncd/cache_use.h"
#include "syncd/encrypt.h"
#include "syncd/key_stock.h"
#include "syncd/store_anchor.h"
#include "syncd/tally.h"
#include "syncd/volume_internal.h"

enum { PERMISSION_READ = 1, BLOCK = 512, KEPT_ROWS = 256 };

const struct ipc_handler volume_fs_handlers[] = {
    { LF__ENVELOPE__BODY_FS_LOOKUP, fs_lookup },
    { LF__ENVELOPE__BODY_FS_GETATTR, fs_getattr },
    { LF__ENVELOPE__BODY_FS_SETATTR, fs_setattr },
    { LF__ENVELOPE__BODY_FS_OPENDIR, fs_opendir },
    { LF__ENVELOPE__BODY_FS_READDIR, fs_readdir },
    { LF__ENVELOPE__BODY_FS_OPEN, fs_open },
    { LF__ENVELOPE__BODY_FS_CREATE, fs_create },
    { LF__ENVELOPE__BODY_FS_FETCH, fs_fetch },
    { LF__ENVELOPE__BODY_FS_DIRTY, fs_dirty },
    { LF__ENVELOPE__BODY_FS_FLUSH, fs_flush },
    { LF__ENVELOPE__BODY_FS_RELEASE, fs_release },
    { LF__ENVELOPE__BODY_FS_COPY, fs_copy },
    { LF__ENVELOPE__BODY_FS_COPY_STOP, fs_copy_stop },
    { LF__ENVELOPE__BODY_FS_MKDIR, fs_mkdir },
    { LF__ENVELOPE__BODY_FS_UNLINK, fs_unlink },
    { LF__ENVELOPE__BODY_FS_RMDIR, fs_rmdir },
    { LF__ENVELOPE__BODY_FS_RENAME, fs_rename },
    { LF__ENVELOPE__BODY_FS_MKNOD, fs_mknod },
    { LF__ENVELOPE__BODY_FS_SYMLINK, fs_symlink },
    { LF__ENVELOPE__BODY_FS_READLINK, fs_readlink },
    { LF__ENVELOPE__BODY_FS_STATFS, fs_statfs },
    { LF__ENVELOPE__BODY_FS_XATTR_GET, fs_xattr_get },
    { LF__ENVELOPE__BODY_FS_XATTR_SET, fs_xattr_set },
    { LF__ENVELOPE__BODY_FS_XATTR_LIST, fs_xattr_list },
    { LF__ENVELOPE__BODY_FS_XATTR_REMOVE, fs_xattr_remove },
    { LF__ENVELOPE__BODY_FS_FORGET, fs_forget },
};
const size_t volume_fs_handlers_n = ARRAY_SIZE(volume_fs_handlers);

/* --- opening and closing ------------------------------------------------------------------------ */

/* "a/b", "/a/b" and "a/b/" are all "a/b/"; none is "". */
static char *normal_prefix(const char *prefix)
{
    char *normal;
    size_t len;

    prefix = prefix ? prefix + strspn(prefix, "/") : "";
    len = strlen(prefix);
    while (len > 0 && prefix[len - 1] == '/')
        len--;
    normal = xcalloc(1, len + 2);
    memcpy(normal, prefix, len);
    if (len > 0)
        normal[len] = '/';
    return normal;
}

static char *below(const char *folder, const char *name)
{
    char *path = xcalloc(1, strlen(folder) + strlen(name) + 2);

    strcat(strcat(strcpy(path, folder), "/"), name);
    return path;
}

static void take_settings(struct volume *v, const Lf__CloudDrive *drive)
{
    Lf__CloudDrive *copy = message_copy(&drive->base);

    if (v->drive)
        lf__cloud_drive__free_unpacked(v->drive, NULL);
    v->drive = copy;
    v->spec.drive = copy;
    v->read_only = drive->has_permission_type && drive->permission_type == PERMISSION_READ;
}

static struct volume *volume_new(const struct volume_spec *spec)
{
    const char *cache = spec->drive->permanent_local_path;
    struct volume *v = xcalloc(1, sizeof(*v));

    v->loop = spec->loop;
    v->config = spec->config;
    v->cloud = spec->cloud;
    v->keys = spec->keys;
    v->spec = *spec;
    v->spec.state_dir = NULL;
    STAILQ_INIT(&v->events);
    STAILQ_INIT(&v->told);
    TAILQ_INIT(&v->downloads);
    take_settings(v, spec->drive);
    v->bucket = xstrdup(spec->drive->storage_name ? spec->drive->storage_name : "");
    v->prefix = normal_prefix(spec->drive->prefix);
    v->cache_dir = cache && *cache == '/' ? xstrdup(cache) : below(spec->state_dir, "cache");
    return v;
}

enum { INDEX_TRIES = 3, ANCHORS_OF_REMOVED = 1 << 20 };

static void on_damage(void *arg)
{
    struct volume *v = arg;

    if (v->spec.damaged)
        v->spec.damaged(v, v->spec.arg);
}

static void say_lost(const struct volume *v, const struct error *e)
{
    LOG(LOG_CRIT, "index_lost", "drive=%s", v->drive->id, "reason=%s", error_text(e), "then=%s",
        "The drive begins anew with what the cloud has. Contents that were not sent are kept in the folder lost of the "
        "cache; an event for each of them gives its place.");
}

static bool has_bytes(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > 0);
}

/* One that is found damaged in use is checked by the next opening; one that was kept aside is followed by a new one. */
static int open_index(struct volume *v, const char *path, struct error *e)
{
    int r = -EUCLEAN;

    if (v->spec.had_index && !has_bytes(path)) {
        error_set(e, -EUCLEAN, "The file %s, the index of the drive, is missing or empty.", path);
        say_lost(v, e);
    }
    for (unsigned tries = 0; r == -EUCLEAN && tries < INDEX_TRIES; tries++) {
        r = index_open(path, v->spec.uid, v->spec.gid, &v->index, e);
        if (r == -EUCLEAN && access(path, F_OK) < 0)
            say_lost(v, e);
    }
    if (r < 0)
        return r;
    r = v->spec.had_index ? index_succeed(v->index) : 0;
    return r < 0 ? error_set(e, r, "The index %s cannot be written: %s", path, error_meaning(r)->text) : 0;
}

static int open_index_and_cache(struct volume *v, const char *path, struct error *e)
{
    int r = open_index(v, path, e);

    return r == 0 ? cache_new(v, &v->cache, e) : r;
}

static int open_parts(struct volume *v, const char *state_dir, struct error *e)
{
    CLEANUP_FREE char *path = below(state_dir, "index.db");
    int r = tally_new(&v->tally);

    if (r < 0)
        return error_set(e, r, "The drive could not be started: %s", error_meaning(r)->text);
    r = open_index_and_cache(v, path, e);
    if (r == -EUCLEAN && v->index) {   /* the cache met the damage */
        index_close(take_ptr(v->index));
        r = open_index_and_cache(v, path, e);
    }
    if (r < 0)
        return r;
    index_on_damage(v->index, on_damage, v);
    r = lister_new(v, &v->lister);
    if (r == 0)
        r = uploader_new(v, &v->uploader);
    return r < 0 ? error_set(e, r, "The drive could not be started: %s", error_meaning(r)->text) : 0;
}

int volume_open(const struct volume_spec *spec, struct volume **ret, struct error *e)
{
    struct volume *v = volume_new(spec);
    int r = open_parts(v, spec->state_dir, e);

    if (r < 0) {
        volume_close(v);
        return r;
    }
    if (v->keys)
        (void)index_forget_anchors(v->index, ANCHORS_OF_REMOVED);
    volume_purge_later(v);
    keeper_new(v);
    scanner_new(v);
    capacity_new(v);
    mover_new(v);
    anchors_new(v);
    encrypter_new(v);
    uploader_kick(v->uploader);
    *ret = v;
    return 0;
}

void volume_close(struct volume *v)
{
    if (!v)
        return;
    anchors_free(v);
    await_end(v);
    encrypter_stop(v);
    keeper_free(v);
    scanner_stop(v);
    offline_end(v);
    downloads_end(v);
    deletions_end(v);
    volume_purge_free(v);
    volume_events_free(v);
    streams_close(v);
    uploader_free(v->uploader);
    v->uploader = NULL;
    fs_copies_end(v);
    capacity_free(v);
    lister_free(v->lister);
    mover_free(v);
    encrypter_free(v);
    scanner_free(v);
    fs_marks_end(v);
    cache_free(v->cache);
    index_close(v->index);
    while (v->peers) {
        struct volume_peer *next = v->peers->next;

        free(v->peers);
        v->peers = next;
    }
    lf__cloud_drive__free_unpacked(v->drive, NULL);
    free(v->bad);
    free(v->corrections);
    free(v->bucket);
    free(v->prefix);
    free(v->cache_dir);
    tally_drop(v->tally);
    free(v);
}

void volume_configure(struct volume *v, const Lf__CloudDrive *drive)
{
    take_settings(v, drive);
    cache_configure(v->cache);
    uploader_kick(v->uploader);
    encrypter_kick(v);
}

void volume_tell(struct volume *v, void (*done)(void *arg), void *arg)
{
    anchors_tell(v, done, arg);
}

void volume_pause(struct volume *v, bool paused)
{
    v->paused = paused;
    v->told_paused = false;
    uploader_kick(v->uploader);
    keeper_kick(v);
    mover_kick(v);
    encrypter_kick(v);
}

void volume_keys_rotated(struct volume *v, volume_rotated_fn *done, void *arg)
{
    struct error e = { 0 };
    int r = index_begin(v->index);

    if (r == 0)
        r = index_end(v->index, index_object_forgive(v->index, -ENOKEY));   /* an identity may have come */
    anchors_keys_changed(v);
    if (v->cache->stock)
        key_stock_renew(v->cache->stock);
    if (r == 0) {
        convert_look(v->cache, done, arg);
        return;
    }
    (void)error_set(&e, r, "%s", error_meaning(r)->text);
    done(&e, 0, arg);
}

struct stays {
    uint64_t *inos;
    size_t n;
};

static bool add_pending(const struct index_inode *i, void *arg)
{
    struct stays *s = arg;

    if (i->pending & INDEX_CONTENT && S_ISREG(i->mode))
        *xadd(s->inos, s->n) = i->ino;
    return true;
}

static int add_kept(struct volume *v, struct stays *s)
{
    uint64_t inos[KEPT_ROWS], after = 0;
    struct index_cached row;
    int n;

    while ((n = index_cached_all(v->index, after, inos, KEPT_ROWS)) > 0) {
        for (int k = 0; k < n; k++)
            if (index_cached_get(v->index, inos[k], &row) == 0 && row.kept)
                *xadd(s->inos, s->n) = row.ino;
        after = inos[n - 1];
    }
    return n;
}

int volume_cache_stays(struct volume *v, uint64_t **ret, size_t *ret_n, uint64_t *ret_mount_tag)
{
    struct stays s = { 0 };
    int r = use_flush(v->cache);

    if (r == 0)
        r = index_due(v->index, INT64_MAX, INT64_MAX, add_pending, &s);
    if (r == 0)
        r = add_kept(v, &s);
    if (r < 0) {
        free(s.inos);
        return r;
    }
    *ret = s.inos;
    *ret_n = s.n;
    *ret_mount_tag = v->mount_tag;
    return 0;
}

/* What lies there nobody puts under newer keys. */
static uint64_t count_lost(const struct volume *v)
{
    int fd = openat(v->cache->dir_fd, "lost", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    uint64_t n = 0;

    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    if (dir)
        (void)closedir(dir);
    else if (fd >= 0)
        (void)close(fd);
    return n;
}

int volume_keys_left(struct volume *v, uint64_t *ret)
{
    const struct convert_left left = convert_left(v->cache);

    *ret = left.wrapped + count_lost(v);
    return left.known ? 0 : -EAGAIN;
}

/* Uploads that failed for something else are tried a little early as well. */
void volume_keys_back(struct volume *v)
{
    int r = index_begin(v->index);

    if (r == 0)
        r = index_retry_failed(v->index);
    if (r == 0)
        r = index_object_forgive(v->index, -ENOKEY);
    (void)index_end(v->index, r);
    if (v->uploader)
        uploader_answered(v->uploader);
    uploader_kick(v->uploader);
}

bool volume_cache_left(struct volume *v, uint64_t *ret_form, uint64_t *ret_wrapped, uint64_t *ret_made)
{
    struct convert_left left = convert_left(v->cache);

    *ret_form = left.form;
    *ret_wrapped = left.wrapped;
    *ret_made = left.made;
    return left.known;
}

void volume_keys_opened(struct volume *v)
{
    convert_keys_opened(v->cache);
}

uint64_t volume_pending(struct volume *v)
{
    return index_pending_count(v->index);
}

bool volume_trouble(const struct volume *v, struct error *ret)
{
    return anchors_trouble(v, ret);
}

/* --- workers ------------------------------------------------------------------------------------- */

void volume_worker_attached(struct volume *v, struct ipc_peer *p, uint64_t mount_tag)
{
    struct volume_peer *peer = xcalloc(1, sizeof(*peer));

    *peer = (struct volume_peer){ v->peers, p };
    v->peers = peer;
    v->mounted = true;
    v->mount_tag = mount_tag;
    volume_events_flush(v);
}

void volume_worker_lost(struct volume *v, struct ipc_peer *p)
{
    for (struct volume_peer **at = &v->peers; *at; at = &(*at)->next)
        if ((*at)->peer == p) {
            struct volume_peer *gone = *at;

            *at = gone->next;
            free(gone);
            break;
        }
    volume_events_lost(v);
    fs_data_lost(v, p);
    volume_purge_later(v);
}

/* --- what the parts ask --------------------------------------------------------------------------- */

/* One for the name, one for ".", one for each "..": programs skip looking for directories where the count says
 * that there are none. 1 is what file systems say that do not count; nobody has listed this one. */
static uint32_t links_of(struct volume *v, const struct index_inode *i)
{
    if (!S_ISDIR(i->mode) || i->nlink == 0)
        return i->nlink;
    return i->listed_ns ? 2 + index_directories(v->index, i->ino) : 1;
}

void volume_attr(struct volume *v, const struct index_inode *i, Lf__FsAttr *ret)
{
    ret->ino = i->ino;
    ret->mode = i->mode;
    ret->uid = i->uid;
    ret->gid = i->gid;
    ret->size = i->size;
    ret->mtime_ns = i->mtime_ns;
    ret->ctime_ns = i->ctime_ns;
    ret->atime_ns = i->atime_ns;
    ret->nlink = links_of(v, i);
    ret->blocks = (i->size + BLOCK - 1) / BLOCK;
    ret->settled = i->settled;
    if (S_ISREG(i->mode) && i->pending & INDEX_CONTENT)
        (void)cache_stat(v->cache, i->ino, &ret->size, &ret->mtime_ns, &ret->blocks);
}

char *volume_full_key(struct volume *v, const char *key)
{
    char *full = xcalloc(1, strlen(v->prefix) + strlen(key) + 1);

    return strcat(strcpy(full, v->prefix), key);
}

int volume_writable(struct volume *v)
{
    return v->read_only || v->paused ? -EROFS : 0;
}
