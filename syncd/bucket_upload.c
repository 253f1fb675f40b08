/* A file of this machine on its way into a bucket, by somebody's wish. Its bytes are read in a thread into memory, a
 * chunk at a time, and sent from there: so a slow disk holds nobody up, and what was digested is what is sent. The
 * object comes into being with the last request, which is sent only if the file did not change since it was opened.
 *
 * An object that is there is not replaced unless that was asked for. Must not know drives. */
#include "syncd/bucket_upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"
#include "common/timespec.h"
#include "syncd/haul_chunk.h"

enum { PART_MOST = 64 << 20 };   /* a part is held in memory */

/* One chunk at a time, from the file by way of memory into the cloud. */
struct lane {
    struct chunk chunk;           /* the first member */
    bool taken;
    uint32_t part;                /* from 0 */
    struct cloud_request *request;
};

struct bucket_upload {
    struct haul haul;
    struct bucket_upload_spec spec;
    int fd;
    struct stat st, st_now;       /* as it was opened; as it is */
    int stat_error;
    uint64_t part_size, sent;
    uint32_t n_parts, next;       /* parts below `next` have been taken by a lane */
    struct part { char *etag; bool again; } *parts;
    char *upload_id;
    char *there;                  /* the ETag of an object that may be the same */
    char stamp[ID_SIZE];          /* tells our object */
    bool looked, asking, checked;
    struct lane lanes[HAUL_LANES];
};

static void go_on(struct bucket_upload *u);

static struct bucket_upload *upload_of(struct haul *e)
{
    return (struct bucket_upload *)(void *)e;
}

static void fail(struct bucket_upload *u, const struct error *e)
{
    haul_end(&u->haul, e);
}

static void fail_code(struct bucket_upload *u, int code, const char *sentence)
{
    struct error e;

    error_set(&e, code, "%s", sentence);
    fail(u, &e);
}

static void submit(struct bucket_upload *u, struct cloud_request *r, haul_done_fn *done, void *item)
{
    struct error e = { 0 };

    if (haul_submit(&u->haul, r, done, item, &e) < 0)
        fail(u, &e);
}

static struct cloud_request *request(struct bucket_upload *u, enum cloud_op op)
{
    return haul_request(&u->haul, op, u->spec.key);
}

static void completed(struct bucket_upload *u)
{
    haul_end(&u->haul, NULL);
}

/* --- what is there -------------------------------------------------------------------------------------- */

static void refuse(struct bucket_upload *u)
{
    fail_code(u, -EEXIST, "There is an object of that key already, which is not the same; it stays. Say "
              "\"overwrite\": true to replace it.");
}

static bool is_ours(const struct bucket_upload *u, const struct cloud_object *o)
{
    return o->has_meta && o->meta.stamp && strcmp(o->meta.stamp, u->stamp) == 0;
}

static void looked_before(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    u->looked = !halted;
    if (!halted && r->error.code && r->error.code != -ENOENT) {
        fail(u, &r->error);
        return;
    }
    if (r->error.code == 0 && is_ours(u, &r->object)) {
        completed(u);
        return;
    }
    if (r->error.code == 0 && (u->n_parts > 1 || r->object.size != u->spec.size || r->object.opaque)) {
        refuse(u);
        return;
    }
    if (r->error.code == 0)
        u->there = xstrdup(r->object.etag ? r->object.etag : "");
    go_on(u);
}

/* Our own object, after an answer was lost? */
static void looked_after(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    if (halted)
        go_on(u);
    else if (r->error.code == 0 && is_ours(u, &r->object))
        completed(u);
    else if (r->error.code == 0 && !u->spec.overwrite)
        refuse(u);
    else
        fail_code(u, -EIO, "The cloud has forgotten the upload; begin it anew.");
}

static void look(struct bucket_upload *u, haul_done_fn *done)
{
    u->asking = true;
    submit(u, request(u, CLOUD_STAT), done, NULL);
}

/* --- chunks ----------------------------------------------------------------------------------------------- */

static void give_back(struct lane *l)
{
    l->taken = false;
    l->request = NULL;
    chunk_close(&l->chunk);
}

static void changed(struct bucket_upload *u)
{
    fail_code(u, -ESTALE, "The file changed while it was read; nothing of it was put into the cloud.");
}

static void sent(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);
    struct lane *l = item;

    if (r->error.code == 0) {
        u->sent += l->chunk.length;
        u->parts[l->part].etag = xstrdup(r->object.etag ? r->object.etag : "");
    } else {
        u->parts[l->part].again = true;
    }
    give_back(l);
    if (!u->upload_id && r->error.code == 0)
        completed(u);
    else if (r->error.code == 0 || halted)
        go_on(u);
    else if (!u->upload_id && r->error.code == -ESTALE)
        look(u, looked_after);
    else
        fail(u, &r->error);
}

static bool is_same(const struct bucket_upload *u, const struct lane *l)
{
    char hex[HASH_MD5_HEX];

    text_hex(l->chunk.md5, HASH_MD5, hex);
    return strcmp(u->there, hex) == 0;
}

static void condition(const struct bucket_upload *u, struct cloud_request *r)
{
    struct cloud *cloud;

    if (!u->spec.overwrite && account_given_cloud(u->haul.account, &cloud, NULL) == 0)
        r->if_none_match = cloud_capabilities(cloud) & CLOUD_CAN_IF_NONE_MATCH;
}

static void describe(const struct bucket_upload *u, struct cloud_request *r)
{
    r->meta.has_mtime = true;
    r->meta.mtime_ns = timespec_ns(u->st.st_mtim);
    r->meta.stamp = xstrdup(u->stamp);
}

static void send_chunk(struct bucket_upload *u, struct lane *l)
{
    struct cloud_request *r = request(u, u->upload_id ? CLOUD_PART_PUT : CLOUD_PUT);
    struct error e = { 0 };

    if (u->upload_id) {
        cloud_request_set(&r->upload_id, u->upload_id);
        r->part_number = l->part + 1;
    } else {
        condition(u, r);
        describe(u, r);
    }
    r->body = (struct cloud_extent){ .fd = l->chunk.memory, .length = l->chunk.length };
    l->request = r;
    if (haul_submit(&u->haul, r, sent, l, &e) < 0) {
        l->request = NULL;   /* it is gone, and the end asks how far it was */
        fail(u, &e);
    }
}

static void part_read(struct haul *e, void *arg)
{
    struct bucket_upload *u = upload_of(e);
    struct lane *l = arg;

    if (l->chunk.error == -ESTALE) {
        changed(u);
    } else if (l->chunk.error) {
        fail_code(u, l->chunk.error, "The file could not be read.");
    } else if (u->there && is_same(u, l)) {
        completed(u);
    } else if (u->there) {
        refuse(u);
    } else if (!haul_runs(e)) {
        u->parts[l->part].again = true;
        give_back(l);
    } else {
        send_chunk(u, l);
    }
}

/* The next part that nobody has. False: there is none. */
static bool take_part(struct bucket_upload *u, uint32_t *ret)
{
    for (uint32_t n = 0; n < u->next; n++)
        if (u->parts[n].again) {
            u->parts[n].again = false;
            *ret = n;
            return true;
        }
    *ret = u->next;
    return u->next < u->n_parts && u->next++ < u->n_parts;
}

static void read_part(struct bucket_upload *u, struct lane *l)
{
    uint64_t offset = l->part * u->part_size;
    int r;

    l->chunk = (struct chunk){ .file = u->fd, .memory = -1, .offset = offset, .as_opened = &u->st,
                               .length = least(u->spec.size - offset, u->part_size) };
    l->taken = true;
    r = chunk_open(&l->chunk);
    if (r < 0)
        fail_code(u, r, "There is no memory for the bytes of the file.");
    else
        haul_work(&u->haul, chunk_read, part_read, &l->chunk);
}

static void fill_lanes(struct bucket_upload *u)
{
    for (size_t i = 0; i < ARRAY_SIZE(u->lanes) && haul_runs(&u->haul); i++)
        if (!u->lanes[i].taken && take_part(u, &u->lanes[i].part))
            read_part(u, &u->lanes[i]);
}

/* --- in parts --------------------------------------------------------------------------------------------- */

static void begun(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    if (r->error.code && !halted) {
        fail(u, &r->error);
        return;
    }
    if (r->error.code == 0)
        u->upload_id = xstrdup(r->upload_id);
    go_on(u);
}

static void begin_parts(struct bucket_upload *u)
{
    struct cloud_request *r = request(u, CLOUD_PART_BEGIN);

    describe(u, r);
    u->asking = true;
    submit(u, r, begun, NULL);
}

static void put_together_done(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    if (r->error.code == 0) {
        free(take_ptr(u->upload_id));
        completed(u);
    } else if (halted) {
        go_on(u);
    } else if (r->error.code == -ESTALE || r->error.code == -ENOENT) {
        look(u, looked_after);
    } else {
        fail(u, &r->error);
    }
}

static void put_together(struct bucket_upload *u)
{
    struct cloud_request *r = request(u, CLOUD_PART_END);

    cloud_request_set(&r->upload_id, u->upload_id);
    r->parts = xcalloc(u->n_parts, sizeof(*r->parts));
    r->n_parts = u->n_parts;
    for (uint32_t n = 0; n < u->n_parts; n++)
        r->parts[n] = (struct cloud_part){ n + 1, least(u->spec.size - n * u->part_size, u->part_size),
                                           xstrdup(u->parts[n].etag) };
    condition(u, r);
    u->asking = true;
    submit(u, r, put_together_done, NULL);
}

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
        changed(u);
        return;
    }
    u->checked = true;
    go_on(u);
}

static bool all_sent(const struct bucket_upload *u)
{
    for (uint32_t n = 0; n < u->n_parts; n++)
        if (!u->parts[n].etag)
            return false;
    return true;
}

static void check_file(struct bucket_upload *u)
{
    u->asking = true;
    haul_work(&u->haul, stat_now, stat_done, u);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

/* What is next, from wherever it stands. */
static void go_on(struct bucket_upload *u)
{
    if (!haul_runs(&u->haul) || u->asking)
        return;
    if (!u->looked && !u->spec.overwrite)
        look(u, looked_before);
    else if (u->n_parts > 1 && !u->upload_id)
        begin_parts(u);
    else if (!all_sent(u))
        fill_lanes(u);
    else if (!u->checked)
        check_file(u);
    else
        put_together(u);
}

static void upload_go(struct haul *e)
{
    go_on(upload_of(e));
}

static uint64_t upload_moved(struct haul *e)
{
    const struct bucket_upload *u = upload_of(e);
    uint64_t bytes = u->sent;

    for (size_t i = 0; i < ARRAY_SIZE(u->lanes); i++)
        bytes += u->lanes[i].request ? least(u->lanes[i].request->sent, u->lanes[i].chunk.length) : 0;
    return bytes;
}

static void upload_undo(struct haul *e)
{
    struct bucket_upload *u = upload_of(e);
    struct cloud_request *r;

    if (!u->upload_id || e->closing)
        return;
    r = request(u, CLOUD_PART_ABORT);
    cloud_request_set(&r->upload_id, u->upload_id);
    (void)haul_submit(e, r, NULL, NULL, NULL);
}

static void upload_free(struct haul *e)
{
    struct bucket_upload *u = upload_of(e);

    for (size_t i = 0; i < ARRAY_SIZE(u->lanes); i++)
        chunk_close(&u->lanes[i].chunk);
    for (uint32_t n = 0; n < u->n_parts; n++)
        free(u->parts[n].etag);
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

static int plan_parts(struct bucket_upload *u, struct error *e)
{
    struct cloud *cloud;
    int r = account_given_cloud(u->haul.account, &cloud, e);
    uint64_t most = r < 0 ? 0 : cloud_limits(cloud).parts_max, size = u->spec.size;

    if (r < 0)
        return r;
    u->part_size = HAUL_CHUNK;
    while (u->part_size < PART_MOST && size > u->part_size * most)
        u->part_size *= 2;
    if (size > u->part_size * most)
        return error_set(e, -EFBIG, "The file is too large for an upload of this kind; copy it onto a drive.");
    u->n_parts = size ? (uint32_t)((size - 1) / u->part_size + 1) : 1;
    u->parts = xcalloc(u->n_parts, sizeof(*u->parts));
    return 0;
}

int bucket_upload_begin(struct haul *haul, int fd, const struct bucket_upload_spec *spec, const char **ret_id,
                        struct error *e)
{
    struct bucket_upload *u = upload_of(haul);
    struct transfer_spec shown = { .id = spec->id, .mode = TRANSFER_UPLOAD, .path = spec->path, .key = spec->key,
                                   .size = spec->size };
    int r;

    u->fd = fd;
    u->spec = *spec;
    u->spec.id = NULL;
    u->spec.path = xstrdup(spec->path);
    u->spec.key = xstrdup(spec->key);
    id_new(u->stamp);
    if (fstat(fd, &u->st) < 0)
        return error_set(e, -errno, "The file could not be read.");
    r = plan_parts(u, e);
    if (r == 0)
        *ret_id = haul_begin(haul, &shown);
    return r;
}
