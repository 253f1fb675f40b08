/* Bytes into a temporary file of the hidden folder, and from there, whole and durable, into their place.
 *
 * Places change only under a lock on the hidden folder, held by one job at a time in whatever process: a condition
 * that held still holds at the rename, and no folder is pruned under a file on its way in. Programs that write
 * into the folder themselves know nothing of the lock.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"
#include "syncd/cloud_local.h"

#define TEMP "tmp-"

enum { SLICE = 16 << 20, BUFFER = 1 << 20, STALE_SECONDS = 24 * 3600, LOCK_PAUSE_MS = 100, LOCK_PATIENCE_MS = 5000 };

/* --- temporary files ---------------------------------------------------------------------------------- */

/* Removes what jobs of dead processes have left behind. */
static void sweep(int hidden)
{
    int copy = openat(hidden, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    time_t now = time(NULL);
    struct stat st;

    while (d && (entry = readdir(d)))
        if (strncmp(entry->d_name, TEMP, strlen(TEMP)) == 0
            && fstatat(hidden, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && now - st.st_ctime > STALE_SECONDS)
            (void)unlinkat(hidden, entry->d_name, 0);
    if (d)
        (void)closedir(d);
    else if (copy >= 0)
        (void)close(copy);
}

static int temp_name(struct local_job *j)
{
    char id[ID_SIZE];
    int r = local_open_hidden(j);

    if (r < 0)
        return r;
    sweep(j->hidden);
    id_new(id);
    (void)snprintf(j->temp, sizeof(j->temp), TEMP "%s", id);
    return 0;
}

int local_temp_open(struct local_job *j)
{
    int r = temp_name(j);

    if (r < 0)
        return r;
    j->target = folder_at(j->hidden, j->temp, O_RDWR | O_CREAT | O_EXCL, 0666);
    return j->target < 0 ? j->target : 0;
}

int local_temp_link(struct local_job *j, const struct cloud_meta *m)
{
    struct timespec times[2] = { { 0, UTIME_OMIT }, timespec_of(m->mtime_ns) };
    int r = temp_name(j);

    if (r == 0 && symlinkat(m->symlink, j->hidden, j->temp) < 0)
        r = -errno;
    if (r == 0 && m->has_mtime && utimensat(j->hidden, j->temp, times, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    return r;
}

/* --- bytes ------------------------------------------------------------------------------------------ */

static int unreadable(struct local_job *j, int error)
{
    j->r->unreadable = error == -EIO && (j->r->op == CLOUD_PUT || j->r->op == CLOUD_PART_PUT);
    return error_set(&j->error, error, "%s: the file to be copied cannot be read: %s.", j->r->key, strerror(-error));
}

static int copy_by_hand(struct local_job *j, size_t n)
{
    ssize_t got, put;

    if (!j->buffer)
        j->buffer = alloc_bulk(BUFFER);
    if (!j->buffer)
        return -ENOMEM;
    got = pread(j->source, j->buffer, least(n, BUFFER), (off_t)j->source_at);
    if (got <= 0)
        return got < 0 ? unreadable(j, -errno) : -EBADE;
    put = pwrite(j->target, j->buffer, (size_t)got, (off_t)j->at);
    if (put < 0)
        return -errno;
    j->source_at += (uint64_t)put;
    j->at += (uint64_t)put;
    return 1;
}

/* The kernel copies, or shares extents where the file system can; by hand between file systems that will not, and
 * where it does not say which of two disks failed. */
int local_copy_slice(struct local_job *j)
{
    off_t in = (off_t)j->source_at, out = (off_t)j->at;
    size_t n = least(j->length - j->at, SLICE);
    ssize_t done;
    int r = 1;

    if (n == 0)
        return 0;
    done = copy_file_range(j->source, &in, j->target, &out, n, 0);
    if (done > 0) {
        j->source_at += (uint64_t)done;
        j->at += (uint64_t)done;
    } else if (done == 0 || errno == EIO || errno == EXDEV || errno == EINVAL ||
               errno == EOPNOTSUPP || errno == ENOSYS) {
        r = copy_by_hand(j, n);
    } else {
        r = -errno;
    }
    return r < 0 ? r : j->at < j->length;
}

/* --- into place --------------------------------------------------------------------------------------- */

static int wait_for_lock(struct local_job *j)
{
    if (j->waited_ms >= LOCK_PATIENCE_MS)
        return -EAGAIN;
    j->pause_ms = j->pause_ms ? j->pause_ms * 2 : 1;
    if (j->pause_ms > LOCK_PAUSE_MS)
        j->pause_ms = LOCK_PAUSE_MS;
    j->waited_ms += j->pause_ms;
    return LOCAL_LATER;
}

/* What is held up by others leaves its thread to the rest meanwhile. */
static int under_lock(struct local_job *j)
{
    int r;

    if (flock(j->hidden, LOCK_EX | LOCK_NB) == 0) {
        r = j->locked(j);
        (void)flock(j->hidden, LOCK_UN);
        j->pause_ms = j->waited_ms = 0;
    } else {
        r = errno == EWOULDBLOCK || errno == EINTR ? wait_for_lock(j) : -errno;
    }
    if (r == 0 && j->changed >= 0 && fsync(j->changed) < 0)
        r = -errno;
    return r < 0 ? local_fail(j, r, j->r->key) : r;
}

int local_locked(struct local_job *j, local_step *step)
{
    int r = local_open_hidden(j);

    if (r < 0)
        return r;
    j->locked = step;
    j->step = under_lock;
    return under_lock(j);
}

int local_commit(struct local_job *j, local_step *step)
{
    return j->target >= 0 && fsync(j->target) < 0 ? -errno : local_locked(j, step);
}

int local_check_match(const struct cloud_request *r, const struct stat *st)
{
    char etag[LOCAL_ETAG_SIZE];

    if (!r->if_match)
        return 0;
    local_etag(st, etag);
    return strcmp(etag, r->if_match) == 0 ? 0 : -ESTALE;
}

int local_check_conditions(const struct cloud_request *r, const struct stat *st)
{
    if (r->op != CLOUD_PUT && r->op != CLOUD_PART_END)   /* if_match of the others is about their source */
        return 0;
    if (!st)
        return r->if_match ? -ESTALE : 0;
    return r->if_none_match ? -ESTALE : local_check_match(r, st);
}

static int replace(struct local_job *j, const struct local_name *name)
{
    CLEANUP_CLOSE int old = -1;
    const char *from = j->finished[0] ? j->finished : j->temp;
    struct stat st;
    int r = local_make_folder(j->bucket, name->parent, &j->changed);
    bool there;

    if (r < 0)
        return r;
    r = local_open_entry(j->changed, name->leaf, &old, &st);
    there = r == 0;
    if (r < 0 && r != -ENOENT)
        return r;
    if (there && S_ISDIR(st.st_mode))
        return -EISDIR;
    r = local_check_conditions(j->r, there ? &st : NULL);
    if (r < 0)
        return r;
    if (renameat(j->hidden, from, j->changed, name->leaf) < 0)
        return -errno;
    j->temp[0] = '\0';
    return 0;
}

int local_place(struct local_job *j)
{
    CLEANUP_CLOSE int fd = -1;
    struct local_name name;
    struct stat st;
    int r = local_name(j->r->key, &name);

    if (r == 0)
        r = replace(j, &name);
    if (r == 0)
        r = local_open_entry(j->changed, name.leaf, &fd, &st);
    if (r == 0)
        local_describe(fd, &st, j->r->key, &j->r->object);
    return r;
}
