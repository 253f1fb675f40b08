/* Buckets, and single objects: what each operation does to the folder. All in pool threads. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cloud_local.h"

enum { RUN = 512 * 1024, BUCKETS_MAX = 10000, BATCH = 20 };

/* The key without the '/' at its end. */
static void path_of(const char *key, char out[PATH_MAX])
{
    size_t n = strnlen(key, PATH_MAX - 1);

    n -= n && key[n - 1] == '/';
    memcpy(out, key, n);
    out[n] = '\0';
}

/* Opens what the key names; a folder counts only for a key that ends in '/', and then only when it is marked. */
static int open_object(struct local_job *j, const char *key, int *ret, struct stat *st)
{
    CLEANUP_CLOSE int fd = -1;
    struct local_name name;
    char path[PATH_MAX];
    int r = local_name(key, &name);

    path_of(key, path);
    if (r == 0)
        r = local_open_entry(j->bucket, path, &fd, st);
    if (r < 0)
        return r;
    if (S_ISDIR(st->st_mode) != name.directory || (name.directory && !local_is_marked(fd)))
        return -ENOENT;
    *ret = take_fd(&fd);
    return 0;
}

static bool is_readable(int fd)
{
    return !(fcntl(fd, F_GETFL) & O_PATH);
}

/* --- buckets ---------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct cloud_bucket *)a)->name, ((const struct cloud_bucket *)b)->name);
}

static void add_bucket(struct cloud_request *r, int root, const char *name)
{
    struct stat st;

    if (name[0] == '.' || r->n_buckets == BUCKETS_MAX || fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0
        || !S_ISDIR(st.st_mode))
        return;
    *xadd(r->buckets, r->n_buckets) = (struct cloud_bucket){ .name = xstrdup(name) };
}

static int read_root(struct local_job *j, DIR **ret)
{
    CLEANUP_CLOSE int fd = local_open_root(j, O_RDONLY);

    if (fd < 0)
        return fd;
    *ret = fdopendir(fd);
    if (!*ret)
        return error_set(&j->error, -EHOSTUNREACH, "The folder %s cannot be read: %s.", j->local->root,
                         strerror(errno));
    (void)take_fd(&fd);
    return 0;
}

int local_buckets(struct local_job *j)
{
    const struct dirent *entry;
    DIR *d;

    if (read_root(j, &d) < 0)
        return j->error.code;
    while ((entry = readdir(d)))
        add_bucket(j->r, dirfd(d), entry->d_name);
    (void)closedir(d);
    if (j->r->n_buckets > 1)
        qsort(j->r->buckets, j->r->n_buckets, sizeof(*j->r->buckets), by_name);
    return 0;
}

int local_bucket_create(struct local_job *j)
{
    const char *name = j->r->bucket;
    DIR *d;
    int r = 0;

    if (name[0] == '.' || strchr(name, '/'))
        return error_set(&j->error, -EINVAL, "A bucket in a folder needs a name without '/' that does not begin with "
                                             "a dot.");
    if (read_root(j, &d) < 0)
        return j->error.code;
    if (mkdirat(dirfd(d), name, 0777) < 0 && errno != EEXIST)
        r = error_set(&j->error, errno == EACCES ? -EACCES : -EREMOTEIO, "%s/%s cannot be made: %s.", j->local->root,
            name,
                      strerror(errno));
    else
        (void)fsync(dirfd(d));
    (void)closedir(d);
    return r;
}

/* Without what is for root alone. */
int local_space(struct local_job *j)
{
    struct statvfs st;
    int r = local_open_bucket(j);

    if (r < 0)
        return r;
    if (fstatvfs(j->bucket, &st) < 0)
        return local_fail(j, -errno, NULL);
    j->r->space = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------------- */

int local_stat(struct local_job *j)
{
    int r = local_open_bucket(j);

    if (r < 0)
        return r;
    r = open_object(j, j->r->key, &j->source, &j->st);
    if (r < 0)
        return local_fail(j, r, j->r->key);
    local_describe(j->source, &j->st, j->r->key, &j->r->object);
    return 0;
}

static int take_range(struct local_job *j)
{
    const struct cloud_request *r = j->r;
    uint64_t size = r->object.size;

    j->length = size;
    if (!r->has_range)
        return 0;
    if (r->range_offset >= size)
        return -ERANGE;
    j->source_at = r->range_offset;
    j->length = least(size - r->range_offset, r->range_length);
    return 0;
}

static int begin_get(struct local_job *j)
{
    int r = open_object(j, j->r->key, &j->source, &j->st);

    if (r == 0)
        r = local_check_match(j->r, &j->st);
    if (r == 0 && S_ISREG(j->st.st_mode) && !is_readable(j->source))
        r = -EACCES;
    if (r < 0)
        return r;
    local_describe(j->source, &j->st, j->r->key, &j->r->object);
    j->buffer = alloc_bulk(RUN);
    return j->buffer ? take_range(j) : -ENOMEM;
}

/* Whether what is open is still what it was: nothing that was read after a change is handed over. */
static int check_unchanged(const struct local_job *j)
{
    char before[LOCAL_ETAG_SIZE], after[LOCAL_ETAG_SIZE];
    struct stat st;

    if (fstat(j->source, &st) < 0)
        return -errno;
    local_etag(&j->st, before);
    local_etag(&st, after);
    return strcmp(before, after) == 0 ? 0 : -ESTALE;
}

static int read_run(struct local_job *j)
{
    size_t want = least(j->length - j->at, RUN);
    ssize_t n = want ? pread(j->source, j->buffer, want, (off_t)(j->source_at + j->at)) : 0;
    int r;

    if (n < 0)
        return -errno;
    r = n == 0 && want ? -ESTALE : check_unchanged(j);
    if (r < 0)
        return r;
    j->filled = (size_t)n;
    j->at += (size_t)n;
    return j->at < j->length;
}

int local_get(struct local_job *j)
{
    int r = 0;

    if (!j->begun) {
        j->begun = true;
        if (local_open_bucket(j) < 0)
            return j->error.code;
        r = begin_get(j);
    }
    if (r == 0)
        r = read_run(j);
    return r < 0 ? local_fail(j, r, j->r->key) : r;
}

/* --- writing ---------------------------------------------------------------------------------------- */

/* The metadata that the object is to have. */
static int wanted_meta(const struct local_job *j, struct cloud_meta *ret)
{
    if (j->r->op != CLOUD_COPY || j->r->replace_metadata)
        return cloud_meta_copy(ret, &j->r->meta);
    local_meta_get(j->source, &j->st, ret);
    return 0;
}

static int describe_folder(struct local_job *j, int fd)
{
    CLEANUP(cloud_meta_free) struct cloud_meta m = { 0 };
    struct stat st;
    int r = wanted_meta(j, &m);

    if (r == 0)
        r = local_mark(fd);
    if (r == 0)
        local_meta_clear(fd);
    if (r == 0)
        r = local_meta_put(fd, &m, true);
    if (r == 0 && (fsync(fd) < 0 || fstat(fd, &st) < 0))
        r = -errno;
    if (r == 0)
        local_describe(fd, &st, j->r->key, &j->r->object);
    return r;
}

/* A directory's marker, under the lock. */
static int place_folder(struct local_job *j)
{
    CLEANUP_CLOSE int fd = -1, old = -1;
    char path[PATH_MAX];
    struct stat st;
    bool there = open_object(j, j->r->key, &old, &st) == 0;
    int r = local_check_conditions(j->r, there ? &st : NULL);

    path_of(j->r->key, path);
    if (r == 0)
        r = local_make_folder(j->bucket, path, &fd);
    return r < 0 ? r : describe_folder(j, fd);
}

static bool is_folder_key(const char *key)
{
    return key[strlen(key) - 1] == '/';
}

/* What needs no bytes. */
static int put_special(struct local_job *j, const struct cloud_meta *m)
{
    int r;

    if (is_folder_key(j->r->key))
        return local_locked(j, place_folder);
    r = local_temp_link(j, m);
    return r < 0 ? r : local_commit(j, local_place);
}

static bool is_special(const char *key, const struct cloud_meta *m)
{
    return m->symlink || is_folder_key(key);
}

static int check_key(struct local_job *j)
{
    struct local_name name;

    return local_name(j->r->key, &name);
}

static int begin_put(struct local_job *j)
{
    const struct cloud_extent *body = &j->r->body;
    int r = check_key(j);

    if (r < 0)
        return r;
    if (is_special(j->r->key, &j->r->meta))
        return body->length ? -EINVAL : put_special(j, &j->r->meta);
    j->length = body->length;
    j->source_at = body->offset;
    j->source = body->length ? fcntl(body->fd, F_DUPFD_CLOEXEC, 3) : -1;
    return body->length && j->source < 0 ? -errno : local_temp_open(j);
}

static int end_put(struct local_job *j)
{
    int r = local_meta_put(j->target, &j->r->meta, false);

    return r < 0 ? r : local_commit(j, local_place);
}

/* A slice each time; `begin` leaves no target open when there are no bytes to bring. */
static int bring(struct local_job *j, int (*begin)(struct local_job *j), int (*end)(struct local_job *j))
{
    int r = 0;

    if (!j->begun) {
        j->begun = true;
        if (local_open_bucket(j) < 0)
            return j->error.code;
        r = begin(j);
    }
    if (r == 0 && j->target >= 0)
        r = local_copy_slice(j);
    if (r == 0 && j->target >= 0)
        r = end(j);
    return r < 0 ? local_fail(j, r, j->r->key) : r;
}

int local_put(struct local_job *j)
{
    return bring(j, begin_put, end_put);
}

/* --- copying ---------------------------------------------------------------------------------------- */

/* Onto itself, with other metadata: in place. A crash may leave some attributes new and some old. */
static int rewrite_meta(struct local_job *j)
{
    struct timespec times[2] = { { 0, UTIME_OMIT }, timespec_of(j->r->meta.mtime_ns) };
    int r = 0;

    if (!j->r->replace_metadata)
        return -EINVAL;
    if (!is_readable(j->source)) {   /* a link has its time only */
        if (j->r->meta.has_mtime && utimensat(j->source, "", times, AT_EMPTY_PATH) < 0)
            r = -errno;
    } else {
        local_meta_clear(j->source);
        r = local_meta_put(j->source, &j->r->meta, S_ISDIR(j->st.st_mode));
    }
    if (r == 0 && fstat(j->source, &j->st) < 0)
        r = -errno;
    if (r == 0)
        local_describe(j->source, &j->st, j->r->key, &j->r->object);
    return r;
}

static int begin_copy(struct local_job *j)
{
    CLEANUP(cloud_meta_free) struct cloud_meta m = { 0 };
    int r = check_key(j);

    if (r == 0)
        r = open_object(j, j->r->source_key, &j->source, &j->st);
    if (r == 0)
        r = local_check_match(j->r, &j->st);
    if (r < 0)
        return r;
    if (strcmp(j->r->key, j->r->source_key) == 0)
        return rewrite_meta(j);
    r = wanted_meta(j, &m);
    if (r < 0)
        return r;
    if (is_special(j->r->key, &m) && S_ISREG(j->st.st_mode) && j->st.st_size)
        return -EINVAL;
    if (is_special(j->r->key, &m))
        return put_special(j, &m);
    if (!S_ISREG(j->st.st_mode) || !is_readable(j->source))
        return S_ISREG(j->st.st_mode) ? -EACCES : -EINVAL;
    j->length = (uint64_t)j->st.st_size;
    return local_temp_open(j);
}

static int end_copy(struct local_job *j)
{
    CLEANUP(cloud_meta_free) struct cloud_meta m = { 0 };
    int r = check_unchanged(j);

    if (r == 0)
        r = wanted_meta(j, &m);
    if (r == 0)
        r = local_meta_put(j->target, &m, false);
    return r < 0 ? r : local_commit(j, local_place);
}

int local_copy(struct local_job *j)
{
    return bring(j, begin_copy, end_copy);
}

/* --- removing ---------------------------------------------------------------------------------------- */

/* A folder that still holds something only stops being a key. */
static int remove_folder(int bucket, const char *path, int parent, const char *leaf)
{
    CLEANUP_CLOSE int fd = -1;

    if (unlinkat(parent, leaf, AT_REMOVEDIR) == 0)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return errno == ENOTDIR ? -ENOENT : -errno;
    fd = folder_at(bucket, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0)
        local_unmark(fd);
    return fd < 0 ? fd : 0;
}

static int remove_key(struct local_job *j, const char *key)
{
    CLEANUP_CLOSE int parent = -1;
    struct local_name name;
    char path[PATH_MAX];
    int r = local_name(key, &name);

    if (r < 0)
        return r;
    path_of(key, path);
    parent = folder_at(j->bucket, name.parent, O_RDONLY | O_DIRECTORY, 0);
    if (parent < 0)
        return parent;
    if (name.directory)
        r = remove_folder(j->bucket, path, parent, name.leaf);
    else if (unlinkat(parent, name.leaf, 0) < 0)
        r = errno == EISDIR ? -ENOENT : -errno;
    if (r == 0 && fsync(parent) < 0)
        r = -errno;
    if (r == 0)
        local_prune(j->bucket, name.parent);
    return r;
}

/* What is not there is as good as deleted. */
static int delete_key(struct local_job *j, const char *key)
{
    int r = remove_key(j, key);

    return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

static int delete_one(struct local_job *j)
{
    return delete_key(j, j->r->key);
}

int local_delete(struct local_job *j)
{
    int r = local_open_bucket(j);

    if (r < 0)
        return r;
    r = check_key(j);
    if (r == 0)
        r = local_locked(j, delete_one);
    return r < 0 ? local_fail(j, r, j->r->key) : r;
}

static int delete_run(struct local_job *j)
{
    struct cloud_request *r = j->r;
    size_t end = least(r->n_keys, j->index + BATCH);

    for (; j->index < end; j->index++)
        if (delete_key(j, r->keys[j->index]) < 0)
            r->failed_keys[r->n_failed_keys++] = xstrdup(r->keys[j->index]);
    return j->index < r->n_keys ? LOCAL_MORE : 0;
}

int local_delete_batch(struct local_job *j)
{
    int r;

    if (local_open_bucket(j) < 0)
        return j->error.code;
    j->r->failed_keys = xcalloc(j->r->n_keys + 1, sizeof(*j->r->failed_keys));
    r = local_locked(j, delete_run);
    return r < 0 ? local_fail(j, r, NULL) : r;
}
