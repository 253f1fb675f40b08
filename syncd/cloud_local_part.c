/* Multipart uploads: BUCKET/.landfall/UPLOAD-ID is a folder with the parts ("p00001"), the object in the making
 * ("object", which has the metadata from the start) and a file "key": a line with the mtime it is to have, or "-",
 * and then the key.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "common/timespec.h"
#include "syncd/cloud_local.h"

enum { KEY_FILE_MAX = PATH_MAX + 64 };

static void part_name(uint32_t number, char out[16])
{
    (void)snprintf(out, 16, "p%05" PRIu32, number);
}

/* --- the folder of an upload ------------------------------------------------------------------------- */

/* Its key and the time its object is to have. */
static int read_key(int folder, char key[KEY_FILE_MAX], struct cloud_meta *m)
{
    CLEANUP_CLOSE int fd = folder_at(folder, "key", O_RDONLY, 0);
    char text[KEY_FILE_MAX], *line;
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return -ENOENT;
    text[n] = '\0';
    line = strchr(text, '\n');
    if (!line)
        return -ENOENT;
    m->has_mtime = text[0] != '-' || text[1] != '\n';
    m->mtime_ns = m->has_mtime ? strtoll(text, NULL, 10) : 0;
    (void)snprintf(key, KEY_FILE_MAX, "%s", line + 1);
    return 0;
}

/* Opens the folder of the request's upload, if it is one of its key. A descriptor or negative errno. */
static int open_upload(struct local_job *j, struct cloud_meta *m)
{
    CLEANUP_CLOSE int folder = -1;
    char key[KEY_FILE_MAX];
    int r = local_open_bucket(j);

    if (r < 0)
        return r;
    r = local_open_hidden(j);
    if (r == 0 && !id_valid(j->r->upload_id))
        r = -ENOENT;
    if (r == 0)
        folder = folder_at(j->hidden, j->r->upload_id, O_RDONLY | O_DIRECTORY, 0);
    if (r == 0)
        r = folder < 0 ? folder : read_key(folder, key, m);
    if (r == 0 && strcmp(key, j->r->key) != 0)
        r = -ENOENT;
    if (r == -ENOENT)
        return error_set(&j->error, -ENOENT, "There is no upload %s of %s/%s.", j->r->upload_id, j->r->bucket,
                         j->r->key);
    return r < 0 ? local_fail(j, r, j->r->key) : take_fd(&folder);
}

static void remove_upload(int hidden, const char *id)
{
    int folder = folder_at(hidden, id, O_RDONLY | O_DIRECTORY, 0);
    DIR *d = folder < 0 ? NULL : fdopendir(folder);
    const struct dirent *entry;

    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            (void)unlinkat(folder, entry->d_name, 0);
    if (d)
        (void)closedir(d);
    else if (folder >= 0)
        (void)close(folder);
    (void)unlinkat(hidden, id, AT_REMOVEDIR);
}

/* --- begin, abort ------------------------------------------------------------------------------------- */

static int write_key(int folder, const struct cloud_request *r)
{
    CLEANUP_CLOSE int fd = folder_at(folder, "key", O_WRONLY | O_CREAT | O_EXCL, 0600);
    char text[KEY_FILE_MAX];
    int n;

    if (r->meta.has_mtime)
        n = snprintf(text, sizeof(text), "%" PRId64 "\n%s", r->meta.mtime_ns, r->key);
    else
        n = snprintf(text, sizeof(text), "-\n%s", r->key);
    if (fd < 0)
        return fd;
    return write(fd, text, (size_t)n) == n && fsync(fd) == 0 ? 0 : -EIO;
}

static int make_upload(struct local_job *j, const char *id)
{
    CLEANUP_CLOSE int folder = -1, object = -1;
    int r = local_make_folder(j->hidden, id, &folder);

    if (r == 0)
        r = write_key(folder, j->r);
    if (r == 0)
        object = folder_at(folder, "object", O_RDWR | O_CREAT | O_EXCL, 0666);
    if (r == 0)
        r = object < 0 ? object : local_meta_put(object, &j->r->meta, false);
    if (r == 0 && (fsync(object) < 0 || fsync(folder) < 0))
        r = -errno;
    if (r < 0)
        remove_upload(j->hidden, id);
    return r;
}

int local_part_begin(struct local_job *j)
{
    struct local_name name;
    char id[ID_SIZE];
    int r = local_open_bucket(j);

    if (r < 0)
        return r;
    r = local_name(j->r->key, &name);
    if (r == 0 && (name.directory || j->r->meta.symlink))
        r = -EINVAL;
    if (r == 0)
        r = local_open_hidden(j);
    id_new(id);
    if (r == 0)
        r = make_upload(j, id);
    if (r < 0)
        return local_fail(j, r, j->r->key);
    cloud_request_set(&j->r->upload_id, id);
    return 0;
}

int local_part_abort(struct local_job *j)
{
    int r = local_open_bucket(j);

    if (r < 0)
        return r;
    r = local_open_hidden(j);
    if (r < 0)
        return local_fail(j, r, j->r->key);
    if (id_valid(j->r->upload_id))
        remove_upload(j->hidden, j->r->upload_id);
    return 0;
}

/* --- parts ------------------------------------------------------------------------------------------- */

/* The finished part from the temporary file to its place. */
static int store_part(struct local_job *j)
{
    CLEANUP_CLOSE int folder = open_upload(j, &(struct cloud_meta){ 0 });
    char name[16], etag[LOCAL_ETAG_SIZE];
    struct stat st;

    if (folder < 0)
        return folder;
    part_name(j->r->part_number, name);
    if (fsync(j->target) < 0 || renameat(j->hidden, j->temp, folder, name) < 0)
        return local_fail(j, -errno, j->r->key);
    j->temp[0] = '\0';
    if (fsync(folder) < 0 || fstat(j->target, &st) < 0)
        return local_fail(j, -errno, j->r->key);
    local_etag(&st, etag);
    cloud_request_set(&j->r->object.etag, etag);
    return 0;
}

static int begin_part(struct local_job *j)
{
    CLEANUP_CLOSE int folder = -1;
    int r;

    folder = open_upload(j, &(struct cloud_meta){ 0 });
    if (folder < 0)
        return folder;
    r = local_temp_open(j);
    return r < 0 ? local_fail(j, r, j->r->key) : 0;
}

static int take_body(struct local_job *j)
{
    const struct cloud_extent *body = &j->r->body;

    j->length = body->length;
    j->source_at = body->offset;
    j->source = body->length ? fcntl(body->fd, F_DUPFD_CLOEXEC, 3) : -1;
    return body->length && j->source < 0 ? -errno : 0;
}

static int take_source(struct local_job *j)
{
    const struct cloud_request *r = j->r;
    struct local_name name;
    int error = local_name(r->source_key, &name);

    if (error == 0)
        error = local_open_entry(j->bucket, r->source_key, &j->source, &j->st);
    if (error == 0)
        error = local_check_match(r, &j->st);
    if (error < 0)
        return error;
    if (!S_ISREG(j->st.st_mode) || r->range_offset > (uint64_t)j->st.st_size
        || r->range_length > (uint64_t)j->st.st_size - r->range_offset)
        return -ERANGE;
    j->length = r->range_length;
    j->source_at = r->range_offset;
    return 0;
}

static int put_part(struct local_job *j, int (*take)(struct local_job *j))
{
    int r = 0;

    if (!j->begun) {
        j->begun = true;
        r = begin_part(j);
        if (r < 0)
            return r;
        r = take(j);
    }
    if (r == 0)
        r = local_copy_slice(j);
    if (r < 0)
        return local_fail(j, r, j->r->key);
    return r ? r : store_part(j);
}

int local_part_put(struct local_job *j)
{
    return put_part(j, take_body);
}

int local_part_copy(struct local_job *j)
{
    return put_part(j, take_source);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct cloud_part *)a)->number, y = ((const struct cloud_part *)b)->number;

    return x < y ? -1 : x > y;
}

static void list_part(struct cloud_request *r, int folder, const char *name)
{
    char etag[LOCAL_ETAG_SIZE];
    unsigned long number = name[0] == 'p' ? strtoul(name + 1, NULL, 10) : 0;
    struct stat st;

    if (number == 0 || number > LOCAL_PARTS_MAX || r->n_parts == LOCAL_PARTS_MAX
        || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    local_etag(&st, etag);
    r->parts[r->n_parts++] = (struct cloud_part){ (uint32_t)number, (uint64_t)st.st_size, xstrdup(etag) };
}

int local_part_list(struct local_job *j)
{
    int folder = open_upload(j, &(struct cloud_meta){ 0 });
    const struct dirent *entry;
    DIR *d;

    if (folder < 0)
        return folder;
    d = fdopendir(folder);
    if (!d) {
        (void)close(folder);
        return local_fail(j, -ENOENT, j->r->key);
    }
    j->r->parts = xcalloc(LOCAL_PARTS_MAX, sizeof(*j->r->parts));
    while ((entry = readdir(d)))
        list_part(j->r, folder, entry->d_name);
    (void)closedir(d);
    if (j->r->n_parts > 1)
        qsort(j->r->parts, j->r->n_parts, sizeof(*j->r->parts), by_number);
    return 0;
}

static void list_upload(struct cloud_request *r, int hidden, const char *id)
{
    CLEANUP_CLOSE int folder = id_valid(id) ? folder_at(hidden, id, O_RDONLY | O_DIRECTORY, 0) : -1;
    const char *prefix = r->prefix ? r->prefix : "";
    char key[KEY_FILE_MAX];
    struct cloud_meta m;
    struct stat st;

    if (folder < 0 || read_key(folder, key, &m) < 0 || strncmp(key, prefix, strlen(prefix)) != 0 ||
        fstatat(folder, "key", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    *xadd(r->objects, r->n_objects) = (struct cloud_object){
        .key = xstrdup(key), .version = xstrdup(id), .mtime_ns = timespec_ns(st.st_mtim),
    };
}

int local_uploads(struct local_job *j)
{
    const struct dirent *entry;
    int r = local_open_bucket(j);
    DIR *d;

    if (r == 0)
        r = local_open_hidden(j);
    if (r < 0)
        return local_fail(j, r, NULL);
    d = fdopendir(fcntl(j->hidden, F_DUPFD_CLOEXEC, 3));
    if (!d)
        return local_fail(j, -errno, NULL);
    rewinddir(d);
    while ((entry = readdir(d)))
        list_upload(j->r, j->hidden, entry->d_name);
    (void)closedir(d);
    return 0;
}

/* --- end ---------------------------------------------------------------------------------------------- */

/* Part number `index` of the request becomes the source, if it is the one that the request names. */
static int open_part(struct local_job *j, int folder)
{
    const struct cloud_part *p = &j->r->parts[j->index];
    char name[16], etag[LOCAL_ETAG_SIZE];

    part_name(p->number, name);
    cleanup_close(&j->source);
    j->source = folder_at(folder, name, O_RDONLY, 0);
    if (j->source < 0 || fstat(j->source, &j->st) < 0)
        return error_set(&j->error, -EREMOTEIO, "Part %" PRIu32 " of %s/%s is missing.", p->number,
                         j->r->bucket, j->r->key);
    local_etag(&j->st, etag);
    if (!p->etag || strcmp(etag, p->etag) != 0 || (j->index && p->number <= p[-1].number))
        return error_set(&j->error, -EREMOTEIO, "Part %" PRIu32 " of %s/%s is not the one that was named, or not in "
                                                "order.", p->number, j->r->bucket, j->r->key);
    j->source_at = 0;
    j->length += (uint64_t)j->st.st_size;
    return 0;
}

/* What an earlier try may have begun is begun anew. */
static int begin_end(struct local_job *j, int folder)
{
    if (j->r->n_parts == 0)
        return error_set(&j->error, -EREMOTEIO, "An upload of %s/%s cannot end without parts.", j->r->bucket,
                         j->r->key);
    j->target = folder_at(folder, "object", O_RDWR, 0);
    if (j->target < 0 || ftruncate(j->target, 0) < 0)
        return local_fail(j, j->target < 0 ? j->target : -errno, j->r->key);
    return open_part(j, folder);
}

static int place_upload(struct local_job *j)
{
    int r = local_place(j);

    if (r == 0)
        remove_upload(j->hidden, j->r->upload_id);
    return r;
}

/* A refused upload stays as it is. */
static int end_upload(struct local_job *j, const struct cloud_meta *m)
{
    struct timespec times[2] = { { 0, UTIME_OMIT }, timespec_of(m->mtime_ns) };
    int r = m->has_mtime && futimens(j->target, times) < 0 ? -errno : 0;

    (void)snprintf(j->finished, sizeof(j->finished), "%s/object", j->r->upload_id);
    if (r == 0)
        r = local_commit(j, place_upload);
    return r < 0 ? local_fail(j, r, j->r->key) : r;
}

int local_part_end(struct local_job *j)
{
    CLEANUP_CLOSE int folder = -1;
    struct cloud_meta m = { 0 };
    int r = 0;

    folder = open_upload(j, &m);
    if (folder < 0)
        return folder;
    if (!j->begun)
        r = begin_end(j, folder);
    j->begun = true;
    if (r < 0)
        return r;
    r = local_copy_slice(j);
    if (r != 0)
        return r < 0 ? local_fail(j, r, j->r->key) : r;
    if (++j->index == j->r->n_parts)
        return end_upload(j, &m);
    r = open_part(j, folder);
    return r < 0 ? r : 1;
}
