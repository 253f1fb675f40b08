/* Owns requests (their memory and their way from cloud_submit() to done) and the table of account types.
 * Must not know any provider beyond its row.
 */
#include "syncd/cloud.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/tally.h"

/* --- types ------------------------------------------------------------------------------------- */

static const struct type {
    enum cloud_type type;
    const char *name;
    const struct cloud_ops *ops;   /* NULL: this build cannot talk to it */
    bool hidden;                   /* the API refuses it */
} types[] = {
    { CLOUD_AWS, "AWS", &cloud_s3_ops, false },
    { CLOUD_WASABI, "Wasabi", &cloud_s3_ops, false },
    { CLOUD_AZURE, "Azure", NULL, false },
    { CLOUD_S3_GENERIC, "S3Generic", &cloud_s3_ops, false },
    { CLOUD_GOOGLE, "Google", &cloud_s3_ops, false },
    { CLOUD_FRAME, "Frame", NULL, false },
    { CLOUD_CLOUDFLARE, "Cloudflare", &cloud_s3_ops, false },
    { CLOUD_DROPBOX, "Dropbox", NULL, false },
    { CLOUD_BOX, "Box", NULL, false },
    { CLOUD_ONEDRIVE, "OneDrive", NULL, false },
    { CLOUD_GOOGLE_DRIVE, "GoogleDrive", NULL, false },
    { CLOUD_LOCAL_HTTP, "LocalHttp", NULL, false },
    { CLOUD_FASTR_SERVER, "FastrServer", NULL, false },
    { CLOUD_ATOMOSPHERE, "Atomosphere", NULL, false },
    { CLOUD_LOCAL_FOLDER, "LocalFolder", &cloud_local_ops, false },
    { CLOUD_MEMORY, "Memory", &cloud_memory_ops, true },
};

static const struct type *find_type(int type)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if ((int)types[i].type == type)
            return &types[i];
    return NULL;
}

const char *cloud_type_name(int type)
{
    const struct type *t = find_type(type);

    return t ? t->name : NULL;
}

int cloud_type_check(int type, struct error *e)
{
    const struct type *t = find_type(type);

    if (!t || t->hidden)
        return error_set(e, -EINVAL, "There is no cloud type %d.", type);
    if (!t->ops)
        return error_set(e, -EOPNOTSUPP, "This version of Landfall cannot talk to %s yet. It knows AWS, Wasabi, "
                                         "S3Generic, Google, Cloudflare and LocalFolder.", t->name);
    return 0;
}

/* --- metadata ------------------------------------------------------------------------------------ */

void cloud_meta_free(struct cloud_meta *m)
{
    for (size_t i = 0; i < m->n_xattrs; i++) {
        free(m->xattrs[i].name);
        free(m->xattrs[i].value);
    }
    free(m->xattrs);
    free(m->symlink);
    free(m->stamp);
    *m = (struct cloud_meta){ 0 };
}

static int copy_xattr(struct cloud_xattr *to, const struct cloud_xattr *from)
{
    to->name = strdup(from->name);
    to->value = malloc(from->size ? from->size : 1);
    to->size = from->size;
    if (!to->name || !to->value)
        return -ENOMEM;
    if (from->size)
        memcpy(to->value, from->value, from->size);
    return 0;
}

int cloud_meta_copy(struct cloud_meta *to, const struct cloud_meta *from)
{
    int r = 0;

    *to = *from;
    to->symlink = xstrdup(from->symlink);
    to->stamp = xstrdup(from->stamp);
    to->xattrs = from->n_xattrs ? calloc(from->n_xattrs, sizeof(*to->xattrs)) : NULL;
    if (from->n_xattrs && !to->xattrs) {
        to->n_xattrs = 0;
        r = -ENOMEM;
    }
    for (size_t i = 0; i < to->n_xattrs && r == 0; i++)
        r = copy_xattr(&to->xattrs[i], &from->xattrs[i]);
    if (r < 0)
        cloud_meta_free(to);
    return r;
}

/* --- requests ---------------------------------------------------------------------------------- */

struct cloud_request *cloud_request_new(enum cloud_op op, cloud_done_fn *done, void *arg)
{
    struct cloud_request *r = xcalloc(1, sizeof(*r));

    r->op = op;
    r->done = done;
    r->arg = arg;
    r->body.fd = r->sink.fd = -1;
    return r;
}

void cloud_request_set(char **field, const char *value)
{
    xstrset(field, value);
}

static void free_object(struct cloud_object *o)
{
    free(o->key);
    free(o->etag);
    free(o->version);
    cloud_meta_free(&o->meta);
    *o = (struct cloud_object){ 0 };
}

static void free_strings(char ***strings, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        free((*strings)[i]);
    free(*strings);
    *strings = NULL;
    *n = 0;
}

static void free_parts(struct cloud_request *r)
{
    for (size_t i = 0; i < r->n_parts; i++)
        free(r->parts[i].etag);
    free(r->parts);
    r->parts = NULL;
    r->n_parts = 0;
}

static void free_buckets(struct cloud_request *r)
{
    for (size_t i = 0; i < r->n_buckets; i++) {
        free(r->buckets[i].name);
        free(r->buckets[i].region);
    }
    free(r->buckets);
    r->buckets = NULL;
    r->n_buckets = 0;
}

void cloud_request_reset(struct cloud_request *r)
{
    r->error = (struct error){ 0 };
    free_object(&r->object);
    for (size_t i = 0; i < r->n_objects; i++)
        free_object(&r->objects[i]);
    free(r->objects);
    r->objects = NULL;
    r->n_objects = 0;
    free_strings(&r->prefixes, &r->n_prefixes);
    free_strings(&r->failed_keys, &r->n_failed_keys);
    cloud_request_set(&r->next_token, NULL);
    free_buckets(r);
    if (r->op == CLOUD_PART_LIST)
        free_parts(r);
}

static void free_fields(struct cloud_request *r)
{
    char **strings[] = { &r->bucket, &r->key, &r->source_key, &r->prefix, &r->token, &r->start_after, &r->upload_id,
                         &r->if_match };

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        cloud_request_set(strings[i], NULL);
}

void cloud_request_free(struct cloud_request *r)
{
    if (!r)
        return;
    assert(!r->cloud);
    cloud_request_reset(r);
    free_fields(r);
    cloud_meta_free(&r->meta);
    free_parts(r);
    free_strings(&r->keys, &r->n_keys);
    tally_drop(r->tally);
    free(r);
}

/* --- what an operation needs --------------------------------------------------------------------- */

enum need {
    NEEDS_BUCKET = 1, NEEDS_KEY = 2, NEEDS_SOURCE = 4, NEEDS_UPLOAD = 8, NEEDS_NUMBER = 16, NEEDS_RANGE = 32,
    NEEDS_OBJECT = NEEDS_BUCKET | NEEDS_KEY,
    NEEDS_PART = NEEDS_OBJECT | NEEDS_UPLOAD | NEEDS_NUMBER,
};

static const unsigned needs[CLOUD_OP_COUNT] = {
    [CLOUD_LIST] = NEEDS_BUCKET,
    [CLOUD_STAT] = NEEDS_OBJECT,
    [CLOUD_GET] = NEEDS_OBJECT,
    [CLOUD_PUT] = NEEDS_OBJECT,
    [CLOUD_PART_BEGIN] = NEEDS_OBJECT,
    [CLOUD_PART_PUT] = NEEDS_PART,
    [CLOUD_PART_COPY] = NEEDS_PART | NEEDS_SOURCE | NEEDS_RANGE,
    [CLOUD_PART_LIST] = NEEDS_OBJECT | NEEDS_UPLOAD,
    [CLOUD_PART_END] = NEEDS_OBJECT | NEEDS_UPLOAD,
    [CLOUD_PART_ABORT] = NEEDS_OBJECT | NEEDS_UPLOAD,
    [CLOUD_UPLOADS] = NEEDS_BUCKET,
    [CLOUD_COPY] = NEEDS_OBJECT | NEEDS_SOURCE,
    [CLOUD_DELETE] = NEEDS_OBJECT,
    [CLOUD_DELETE_BATCH] = NEEDS_BUCKET,
    [CLOUD_BUCKET_CREATE] = NEEDS_BUCKET,
    [CLOUD_SPACE] = NEEDS_BUCKET,
};

static int check_request(const struct cloud_request *r, uint32_t parts_max, struct error *e)
{
    const struct { enum need need; const char *value, *name; } strings[] = {
        { NEEDS_BUCKET, r->bucket, "bucket" },
        { NEEDS_KEY, r->key, "key" },
        { NEEDS_SOURCE, r->source_key, "source key" },
        { NEEDS_UPLOAD, r->upload_id, "upload id" },
    };
    bool ranged = (needs[r->op] & NEEDS_RANGE) || r->has_range;

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        if ((needs[r->op] & strings[i].need) && (!strings[i].value || !*strings[i].value))
            return error_set(e, -EINVAL, "The request has no %s.", strings[i].name);
    if (ranged && (r->range_length == 0 || r->range_length > INT64_MAX
                   || r->range_offset > INT64_MAX - r->range_length))
        return error_set(e, -EINVAL, "The range of the request is not valid.");
    if ((needs[r->op] & NEEDS_NUMBER) && (r->part_number == 0 || r->part_number > parts_max))
        return error_set(e, -EINVAL, "Parts are numbered from 1 to %u.", parts_max);
    return 0;
}

/* --- clouds ------------------------------------------------------------------------------------ */

int cloud_new(struct loop *l, const struct config *config, const struct cloud_spec *spec, struct cloud **ret,
              struct error *e)
{
    const struct type *t = find_type((int)spec->type);
    struct cloud *c;
    int r;

    if (!t || !t->ops)
        return cloud_type_check((int)spec->type, e);
    c = xcalloc(1, sizeof(*c));
    *c = (struct cloud){ .ops = t->ops, .loop = l, .config = config, .type = spec->type,
        .keyring = spec->keyring, .capabilities = t->ops->capabilities };
    cloud_request_set(&c->account_id, spec->account_id);
    r = c->ops->open(c, spec, e);
    if (r < 0) {
        free(c->account_id);
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

static void close_cloud(struct cloud *c)
{
    c->ops->close(c);
    free(c->account_id);
    free(c);
}

void cloud_free(struct cloud *c)
{
    if (!c)
        return;
    c->closing = true;
    for (struct cloud_request *r = c->under_way, *next; r; r = next) {
        next = r->next;
        cloud_cancel(c, r);
    }
    if (!c->under_way && !c->busy)
        close_cloud(c);
}

unsigned cloud_capabilities(const struct cloud *c)
{
    return c->capabilities;
}

struct cloud_limits cloud_limits(const struct cloud *c)
{
    return c->ops->limits;
}

int cloud_check_key(const struct cloud *c, const char *key)
{
    return c->ops->check_key ? c->ops->check_key(key) : 0;
}

static void link_request(struct cloud *c, struct cloud_request *r)
{
    r->cloud = c;
    r->finished = false;
    r->submitted_ns = loop_now_ns();
    r->sent = 0;
    r->next_try_ns = 0;
    r->next = c->under_way;
    r->prev = &c->under_way;
    if (r->next)
        r->next->prev = &r->next;
    c->under_way = r;
}

static void unlink_request(struct cloud_request *r)
{
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    r->next = NULL;
    r->prev = NULL;
    r->cloud = NULL;
    r->driver = NULL;
}

void cloud_submit(struct cloud *c, struct cloud_request *r)
{
    assert(!r->cloud);
    link_request(c, r);
    cloud_request_reset(r);
    tally_submitted(r->tally, r);
    r->content_length = 0;
    r->match = CLOUD_NOT_COMPARED;
    r->damaged = 0;
    r->unsure = false;
    if (c->closing)
        (void)error_set(&r->error, -ECANCELED, "The account is being closed.");
    else
        (void)check_request(r, c->ops->limits.parts_max, &r->error);
    if (r->error.code)
        cloud_finish(r, &r->error);
    else
        c->ops->submit(c, r);
}

/* Gives back a hold on the cloud: memory in which somebody still works. */
static void release(struct cloud *c)
{
    if (--c->busy == 0 && c->closing && !c->under_way)
        close_cloud(c);
}

static void on_finished(void *arg)
{
    struct cloud_request *r = arg;
    struct cloud *c = r->cloud;

    unlink_request(r);
    cloud_deliver_end(r);
    tally_request(r->tally, r);
    c->busy++;   /* done may free the cloud */
    r->done(r, r->arg);
    release(c);
}

void cloud_finish(struct cloud_request *r, const struct error *e)
{
    assert(r->cloud && !r->finished);
    if (e && e != &r->error)
        r->error = *e;
    r->finished = true;
    loop_defer(r->cloud->loop, on_finished, r);
}

void cloud_cancel(struct cloud *c, struct cloud_request *r)
{
    if (r->cloud && !r->finished)
        c->ops->cancel(c, r);
}

void cloud_continue(struct cloud *c, struct cloud_request *r)
{
    if (r->cloud && !r->finished)
        c->ops->resume(c, r);
}

/* A signature under way keeps the cloud. */
struct presign {
    struct cloud *cloud;
    cloud_presigned_fn *done;
    void *arg;
};

static void on_presigned(const struct error *e, const char *url, void *arg)
{
    struct presign p = *(struct presign *)arg;

    free(arg);
    p.done(e, url, p.arg);
    release(p.cloud);
}

void cloud_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg)
{
    struct presign *p = xcalloc(1, sizeof(*p));

    *p = (struct presign){ c, done, arg };
    c->busy++;
    c->ops->presign(c, url, on_presigned, p);
}
