/* A file of this machine on its way into a bucket, by somebody's wish: what is next, from wherever it stands. The
 * object comes into being with the last request, which is sent only if the file did not change since it was opened, or
 * since an earlier process opened it.
 *
 * An object that is there is not replaced unless that was asked for. Must not know drives. */
#include "syncd/bucket_upload_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/timespec.h"
#include "syncd/local_path.h"
#include "syncd/place.h"

enum { PART_MOST = 64 << 20 };   /* a part is held in memory */

void bucket_upload_fail(struct bucket_upload *u, int code, const char *sentence)
{
    struct error e;

    error_set(&e, code, "%s", sentence);
    haul_end(&u->haul, &e);
}

void bucket_upload_submit(struct bucket_upload *u, struct cloud_request *r, haul_done_fn *done, void *item)
{
    struct error e = { 0 };

    u->asking = true;
    if (haul_submit(&u->haul, r, done, item, &e) < 0)
        haul_end(&u->haul, &e);
}

struct cloud_request *bucket_upload_request(struct bucket_upload *u, enum cloud_op op)
{
    return haul_request(&u->haul, op, u->spec.key);
}

/* A provider that knows no such condition looks right before the request (s3_call.c). */
void bucket_upload_condition(const struct bucket_upload *u, struct cloud_request *r)
{
    struct cloud *cloud;

    if (!u->spec.overwrite && account_given_cloud(u->haul.account, &cloud, NULL) == 0)
        r->if_none_match = cloud_capabilities(cloud) & CLOUD_CAN_IF_NONE_MATCH;
}

void bucket_upload_describe(const struct bucket_upload *u, struct cloud_request *r)
{
    r->meta.has_mtime = true;
    r->meta.mtime_ns = timespec_ns(u->st.st_mtim);
    r->meta.stamp = xstrdup(u->stamp);
}

/* --- what is there -------------------------------------------------------------------------------------- */

void bucket_upload_refuse(struct bucket_upload *u)
{
    bucket_upload_fail(u, -EEXIST, "There is an object of that key already, which is not the same; it stays. Say "
                       "\"overwrite\": true to replace it.");
}

static bool is_ours(const struct bucket_upload *u, const struct cloud_object *o)
{
    return o->has_meta && o->meta.stamp && *u->stamp && strcmp(o->meta.stamp, u->stamp) == 0;
}

/* Somebody else's object. False: it has ended by that. */
static bool consider(struct bucket_upload *u, const struct cloud_object *o)
{
    if (u->spec.overwrite)
        return true;
    if (u->n_parts > 1 || o->size != u->spec.size || o->opaque) {
        bucket_upload_refuse(u);
        return false;
    }
    xstrset(&u->there, o->etag ? o->etag : "");
    return true;
}

static void looked_before(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    u->looked = !halted;
    if (!halted && r->error.code && r->error.code != -ENOENT)
        haul_end(e, &r->error);
    else if (r->error.code == 0 && is_ours(u, &r->object))
        haul_end(e, NULL);
    else if (r->error.code || consider(u, &r->object))
        bucket_upload_go_on(u);
}

static void begin_anew(struct bucket_upload *u)
{
    free(take_ptr(u->upload_id));
    u->parts_begun_ns = 0;
    bucket_upload_go_on(u);
}

static void looked_after(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    u->asking = false;
    if (halted)
        bucket_upload_go_on(u);
    else if (r->error.code == 0 && is_ours(u, &r->object))
        haul_end(e, NULL);
    else if (r->error.code == 0 && !u->spec.overwrite)
        bucket_upload_refuse(u);
    else if (item)
        begin_anew(u);
    else
        bucket_upload_fail(u, -EIO, "The cloud has forgotten the upload; begin it anew.");
}

void bucket_upload_look_after(struct bucket_upload *u, bool anew)
{
    bucket_upload_submit(u, bucket_upload_request(u, CLOUD_STAT), looked_after, anew ? u : NULL);
}

/* --- the file --------------------------------------------------------------------------------------------- */

static void stat_now(void *arg)
{
    struct bucket_upload *u = arg;

    u->stat_error = fstat(u->fd, &u->st_now) < 0 ? -errno : 0;
}

static void stat_done(struct haul *e, void *arg)
{
    struct bucket_upload *u = arg;

    (void)e;
    u->asking = false;
    if (u->stat_error || chunk_differs(&u->st_now, &u->st)) {
        bucket_upload_changed(u);
        return;
    }
    u->checked = true;
    bucket_upload_go_on(u);
}

static void check_file(struct bucket_upload *u)
{
    u->asking = true;
    haul_work(&u->haul, stat_now, stat_done, u);
}

static void open_again(void *arg)
{
    struct bucket_upload *u = arg;

    u->fd = local_file_open(u->spec.path, &u->st, &u->open_error);
}

static void opened_again(struct haul *e, void *arg)
{
    struct bucket_upload *u = arg;

    u->asking = false;
    if (u->fd < 0)
        haul_end(e, &u->open_error);
    else if ((uint64_t)u->st.st_size != u->spec.size || timespec_ns(u->st.st_mtim) != u->mtime_ns ||
             u->st.st_ino != u->inode)
        bucket_upload_fail(u, -ESTALE, "The file is not as it was when its upload began: it was changed or replaced "
                           "while the agent did not run. Nothing of it was put into the cloud; upload it again.");
    else
        bucket_upload_go_on(u);
}

/* As the served user, like the first time, and by the same rules. */
static void open_file(struct bucket_upload *u)
{
    struct error e = { 0 };

    u->asking = true;
    if (place_check_haul(u->haul.d, u->spec.path, false, &e) < 0)
        haul_end(&u->haul, &e);
    else
        haul_work(&u->haul, open_again, opened_again, u);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static void look_before(struct bucket_upload *u)
{
    bucket_upload_submit(u, bucket_upload_request(u, CLOUD_STAT), looked_before, NULL);
}

static bool wants_look(const struct bucket_upload *u)
{
    return !u->looked && (!u->spec.overwrite || u->haul.resumed);
}

static void go_on_in_parts(struct bucket_upload *u)
{
    if (!u->upload_id && u->parts_begun_ns)
        bucket_parts_sweep(u);
    else if (!u->upload_id)
        bucket_parts_begin(u);
    else if (!u->listed)
        bucket_parts_list(u);
    else if (!bucket_upload_all_sent(u))
        bucket_upload_send(u);
    else if (!u->checked)
        check_file(u);
    else
        bucket_parts_put_together(u);
}

void bucket_upload_go_on(struct bucket_upload *u)
{
    if (!haul_runs(&u->haul) || u->asking)
        return;
    if (u->fd < 0)
        open_file(u);
    else if (wants_look(u))
        look_before(u);
    else if (u->n_parts > 1)
        go_on_in_parts(u);
    else
        bucket_upload_send(u);
}

static void upload_go(struct haul *e)
{
    bucket_upload_go_on(upload_of(e));
}

static uint64_t upload_moved(struct haul *e)
{
    return bucket_upload_sent(upload_of(e));
}

static void upload_undo(struct haul *e)
{
    bucket_parts_abort(upload_of(e));
}

static void upload_free(struct haul *e)
{
    struct bucket_upload *u = upload_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(u->lanes); i++)
        chunk_close(&u->lanes[i].chunk);
    for (uint32_t n = 0; n < u->n_parts; n++) {
        free(u->parts[n].etag);
        free(u->parts[n].earlier);
    }
    free(u->parts);
    free(u->upload_id);
    free(u->there);
    free(u->spec.path);
    free(u->spec.key);
    cleanup_close(&u->fd);
    haul_wipe(e);
    free(u);
}

static const struct haul_ops ops = { upload_go, upload_moved, upload_undo, upload_free };

struct haul *bucket_upload_new(struct syncd *d, uint64_t trace)
{
    struct bucket_upload *u = xcalloc(1, sizeof(*u));

    u->fd = -1;
    for (size_t i = 0; i < ARRAY_SIZE(u->lanes); i++)
        u->lanes[i] = (struct lane){ .chunk = CHUNK_NONE };
    haul_init(&u->haul, d, &ops, trace);
    return &u->haul;
}

static void set_parts(struct bucket_upload *u, uint64_t part_size)
{
    uint64_t size = u->spec.size;

    u->part_size = part_size;
    u->n_parts = size ? (uint32_t)((size - 1) / part_size + 1) : 1;
    u->parts = xcalloc(u->n_parts, sizeof(*u->parts));
}

static int plan_parts(struct bucket_upload *u, struct error *e)
{
    struct cloud *cloud;
    int r = account_given_cloud(u->haul.account, &cloud, e);
    uint64_t most = r < 0 ? 0 : cloud_limits(cloud).parts_max, size = u->spec.size, part_size = HAUL_CHUNK;

    if (r < 0)
        return r;
    while (part_size < PART_MOST && size > part_size * most)
        part_size *= 2;
    if (size > part_size * most)
        return error_set(e, -EFBIG, "The file is too large for an upload of this kind; copy it onto a drive.");
    set_parts(u, part_size);
    return 0;
}

static int begin(struct bucket_upload *u, const struct bucket_upload_spec *spec, struct error *e)
{
    struct transfer_spec shown = { .id = spec->id, .mode = TRANSFER_UPLOAD, .path = spec->path, .key = spec->key,
                                   .size = spec->size };
    struct store_haul h = { .origin = (char *)(uintptr_t)spec->origin,
                            .kind = spec->form ? STORE_HAUL_FORM : STORE_HAUL_UPLOAD, .key = spec->key,
                            .path = spec->path, .overwrite = spec->overwrite, .size = spec->size,
                            .inode = u->st.st_ino, .mtime_ns = timespec_ns(u->st.st_mtim),
                            .part_size = u->part_size, .stamp = u->stamp };

    return haul_begin(&u->haul, &shown, &h, e);
}

int bucket_upload_begin(struct haul *haul, int fd, const struct bucket_upload_spec *spec, struct error *e)
{
    struct bucket_upload *u = upload_of(haul);
    int r;

    u->fd = fd;
    u->spec = (struct bucket_upload_spec){ .path = xstrdup(spec->path), .key = xstrdup(spec->key),
                                           .size = spec->size, .overwrite = spec->overwrite };
    u->listed = true;
    id_new(u->stamp);
    if (fstat(fd, &u->st) < 0)
        return error_set(e, -errno, "The file could not be read.");
    r = plan_parts(u, e);
    return r < 0 ? r : begin(u, spec, e);
}

void bucket_upload_resume(struct haul *haul, const struct store_haul *h, struct transfer_spec *ret_shown)
{
    struct bucket_upload *u = upload_of(haul);

    u->spec = (struct bucket_upload_spec){ .path = xstrdup(h->path), .key = xstrdup(h->key), .size = h->size,
                                           .overwrite = h->overwrite };
    u->inode = h->inode;
    u->mtime_ns = h->mtime_ns;
    u->upload_id = xstrdup(h->upload_id);
    u->parts_begun_ns = h->parts_begun_ns;
    (void)snprintf(u->stamp, sizeof(u->stamp), "%s", h->stamp ? h->stamp : "");
    set_parts(u, h->part_size ? h->part_size : HAUL_CHUNK);
    if (h->kind == STORE_HAUL_FORM && !haul->trouble.code)
        error_set(&haul->trouble, -ECONNRESET, "The agent was restarted, and the file of a form does not outlive that; "
                  "send it again.");
    ret_shown->mode = TRANSFER_UPLOAD;
    ret_shown->size = h->size;
}
