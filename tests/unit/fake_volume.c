/* The interface of syncd/volume.h, answered from a small invented tree:
 *   "" (the root), "dir" (a directory), "dir/file" (5 bytes, uploading), "dir/name-0000" ... "dir/name-1499" */
#include "tests/unit/fake_volume.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/metrics.h"

enum { NAMES = 1500 };

const char *fake_volume_bad, *fake_volume_changed;
static struct volume *volumes;

struct volume *fake_volume(const char *drive_id)
{
    struct volume *v = volumes;

    while (v && strcmp(v->id, drive_id) != 0)
        v = v->next;
    return v;
}

size_t fake_volumes(void)
{
    size_t n = 0;

    for (struct volume *v = volumes; v; v = v->next)
        n++;
    return n;
}

static int write_index(const char *state_dir)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/index.db", state_dir);
    f = fopen(path, "w");
    if (f)
        fclose(f);
    return f ? 0 : -errno;
}

int volume_open(const struct volume_spec *spec, struct volume **ret, struct error *e)
{
    struct volume *v;
    int r;

    if (fake_volume_bad && strcmp(spec->drive->name, fake_volume_bad) == 0)
        return error_set(e, -EUCLEAN, "The index is damaged and was kept as index.db.corrupt.");
    r = write_index(spec->state_dir);
    if (r < 0)
        return error_set(e, r, "There is no folder %s.", spec->state_dir);
    v = xcalloc(1, sizeof(*v));
    snprintf(v->id, sizeof(v->id), "%s", spec->drive->id);
    v->spec = *spec;
    v->read_only = spec->drive->permission_type == 1;
    v->pending = fake_volume_changed && strcmp(spec->drive->name, fake_volume_changed) == 0;
    v->next = volumes;
    volumes = v;
    *ret = v;
    return 0;
}

void volume_close(struct volume *v)
{
    struct volume **at = &volumes;

    if (!v)
        return;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    free(v);
}

void volume_configure(struct volume *v, const Lf__CloudDrive *drive)
{
    v->configured++;
    v->read_only = drive->permission_type == 1;
}

void volume_tell(struct volume *v, void (*done)(void *arg), void *arg)
{
    v->told++;
    loop_defer(v->spec.loop, done, arg);
}

void volume_pause(struct volume *v, bool paused)
{
    v->paused = paused;
}

bool volume_trouble(const struct volume *v, struct error *ret)
{
    if (v->trouble)
        error_set(ret, -EBADMSG, "%s", v->trouble);
    return v->trouble;
}

void volume_end_uploads(struct volume *v, void (*done)(void *arg), void *arg)
{
    if (v->ended)
        (*v->ended)++;
    done(arg);
}

int volume_cache_stays(struct volume *v, uint64_t **ret, size_t *ret_n, uint64_t *ret_mount_tag)
{
    (void)v;
    *ret = NULL;
    *ret_n = 0;
    *ret_mount_tag = 0;
    return 0;
}

bool volume_cache_left(struct volume *v, uint64_t *ret_form, uint64_t *ret_wrapped, uint64_t *ret_made)
{
    (void)v;
    *ret_form = *ret_wrapped = *ret_made = 0;
    return true;
}

void volume_keys_opened(struct volume *v)
{
    (void)v;
}

int volume_keys_left(struct volume *v, uint64_t *ret)
{
    *ret = v->keys_left;
    return 0;
}

void volume_keys_back(struct volume *v)
{
    v->keys_back++;
}

void volume_keys_rotated(struct volume *v, volume_rotated_fn *done, void *arg)
{
    (void)v;
    done(NULL, 3, arg);
}

uint64_t volume_pending(struct volume *v)
{
    return v->pending;
}

const struct ipc_handler volume_fs_handlers[1];
const size_t volume_fs_handlers_n = 0;

void volume_worker_attached(struct volume *v, struct ipc_peer *p, uint64_t mount_tag)
{
    (void)mount_tag;
    v->worker = p;
}

void volume_worker_lost(struct volume *v, struct ipc_peer *p)
{
    if (v->worker == p)
        v->worker = NULL;
}

void volume_samples(struct volume *v, struct samples *s)
{
    SAMPLE(s, METRIC_PENDING, v->pending, v->spec.drive->name);
}

/* Any descriptor will do. */
int volume_meter_fd(const struct volume *v)
{
    (void)v;
    return STDIN_FILENO;
}

Lf__Explanation *volume_explain(struct volume *v, uint64_t ino)
{
    Lf__Explanation *e = xcalloc(1, sizeof(*e));

    (void)v;
    lf__explanation__init(e);
    e->has_inode = true;
    e->inode = (int64_t)ino;
    e->state = xstrdup("dirty");
    return e;
}

bool volume_has(struct volume *v, uint64_t ino)
{
    (void)v;
    return ino == 2;
}

/* The directory is there, the file is not, and everybody has as much patience as he said. */
void volume_await(struct volume *v, uint64_t ino, unsigned seconds,
                  void (*done)(const struct error *e, const struct volume_arrival *a, void *arg), void *arg)
{
    struct volume_arrival a = { .ino = ino, .there = ino == 1, .pending = seconds, .waits_for = "It is in the queue." };

    (void)v;
    done(NULL, &a, arg);
}

/* What is below the directory is only offline with it. */
void volume_make_offline(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    static const struct error none;

    v->offline = ino;
    done(&none, arg);
}

int volume_sync(struct volume *v, const char *path, struct error *e)
{
    if (v->paused)
        return error_set(e, -ENETDOWN, "The drive is paused.");
    snprintf(v->synced, sizeof(v->synced), "/%s", path);
    return 0;
}

/* The same of these; the directory does not go. */
void volume_download(struct volume *v, uint64_t ino, unsigned seconds, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    (void)v;
    if (seconds && ino == 1)
        error_set(&e, -ETIMEDOUT, "Not after %u seconds.", seconds);
    done(&e, arg);
}

void volume_evict(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    if (v->offline == ino)
        error_set(&e, -EINVAL, "It is to be here always.");
    done(&e, arg);
}

void volume_delete(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    (void)v;
    if (ino == 1)
        error_set(&e, -EBUSY, "It is being uploaded.");
    done(&e, arg);
}

void volume_accept(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    static const struct error none;

    (void)v;
    (void)ino;
    done(&none, arg);
}

/* The directory is refused. */
void volume_encrypt(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    (void)v;
    if (ino == 1)
        error_set(&e, -EINVAL, "The drive does not encrypt what it puts into the cloud.");
    done(&e, arg);
}

void volume_encrypt_stop(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    volume_accept(v, ino, done, arg);
}

/* As many files are left as there are seconds to wait, and the file failed. */
void volume_encryption(struct volume *v, unsigned seconds, volume_encryption_fn *done, void *arg)
{
    static const struct error none;
    Lf__EncryptionFailure failure = LF__ENCRYPTION_FAILURE__INIT, *failures = &failure;
    Lf__Encryption p = LF__ENCRYPTION__INIT;

    (void)v;
    failure.path = (char *)(uintptr_t)"dir/file";
    failure.reason = (char *)(uintptr_t)"It is too large.";
    p.has_files_left = p.has_failed = true;
    p.files_left = seconds;
    p.failed = 1;
    p.failures = &failures;
    p.n_failures = 1;
    done(&none, &p, arg);
}

void volume_remove_offline(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    if (v->offline == 1 && ino == 2)
        error_set(&e, -EINVAL, "It is offline because all of dir/ is.");
    else
        v->offline = 0;
    done(&e, arg);
}

bool volume_rename_finished(struct volume *v, const char *path)
{
    (void)v;
    return strcmp(path, "dir") != 0;
}

void volume_stat(struct volume *v, const char *path,
                 void (*done)(const struct error *e, const struct volume_node *n, void *arg), void *arg)
{
    struct volume_node n = { .ino = 1, .mtime_ns = 1700000000000000000, .is_directory = true, .id = "" };
    struct error e = { 0 };

    (void)v;
    if (strcmp(path, "dir/file") == 0)
        n = (struct volume_node){ .ino = 2, .size = 5, .mtime_ns = 1, .state_a = 1, .id = "" };
    else if (*path && strcmp(path, "dir") != 0)
        error_set(&e, -ENOENT, "There is no %s.", path);
    done(e.code ? &e : NULL, e.code ? NULL : &n, arg);
}

void volume_list(struct volume *v, const char *path, const char *after_name,
                 bool (*each)(const struct volume_node *n, void *arg),
                 void (*done)(const struct error *e, bool more, void *arg), void *arg)
{
    struct error e = { 0 };
    char name[32];
    int i = 0;

    (void)v;
    if (strcmp(path, "dir") != 0) {
        error_set(&e, -ENOTDIR, "%s is not a directory.", path);
        done(&e, false, arg);
        return;
    }
    if (*after_name)
        i = (int)strtol(after_name + strlen("name-"), NULL, 10) + 1;
    for (; i < NAMES; i++) {
        struct volume_node n = { .ino = 10 + (uint64_t)i, .name = name, .id = "" };

        snprintf(name, sizeof(name), "name-%04d", i);
        if (!each(&n, arg))
            break;
    }
    done(NULL, i < NAMES, arg);
}

void volume_stream_open(struct volume *v, const char *path, bool has_range, uint64_t first, uint64_t last,
                        void (*done)(const struct error *e, const struct volume_stream *s, void *arg), void *arg)
{
    struct volume_stream s = { .fd = -1, .size = 5, .first = first, .last = last < 4 ? last : 4, .etag = "e" };
    struct error e = { 0 };
    int fds[2];

    (void)v;
    (void)path;
    if (has_range && first >= 5) {
        error_set(&e, -ERANGE, "The object has 5 bytes.");
        done(&e, NULL, arg);
        return;
    }
    if (pipe(fds) < 0 || write(fds[1], &"hello"[s.first], s.last - s.first + 1) < 0)
        abort();
    close(fds[1]);
    s.fd = fds[0];
    done(NULL, &s, arg);
}

int volume_key(struct volume *v, const char *path, char *out, size_t size)
{
    return snprintf(out, size, "%s%s", v->spec.drive->prefix, path) < (int)size ? 0 : -ENAMETOOLONG;
}
