/* A cloud in memory with the semantics of S3, for tests: same conditions, same listings, same failures, a
 * clock that ticks with every change, so that runs repeat.
 */
#include "syncd/cloud_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"

enum { PAGE = 1000 };

#define EPOCH_NS (INT64_C(1700000000) * 1000000000)

static int64_t tick(struct memory *m)
{
    return EPOCH_NS + (int64_t)++m->ticks * 1000000000;
}

/* --- things ---------------------------------------------------------------------------------------- */

int memory_bucket(struct memory *m, const char *name, struct memory_bucket **ret, struct error *e)
{
    for (*ret = m->buckets; *ret; *ret = (*ret)->next)
        if (strcmp((*ret)->name, name) == 0)
            return 0;
    return error_set(e, -ENOENT, "There is no bucket %s.", name);
}

/* Where the key is or would be. */
static size_t lower_bound(const struct memory_bucket *b, const char *key)
{
    size_t low = 0, high = b->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (strcmp(b->objects[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct memory_object *memory_find(struct memory_bucket *b, const char *key)
{
    size_t i = lower_bound(b, key);

    return i < b->n && strcmp(b->objects[i].key, key) == 0 ? &b->objects[i] : NULL;
}

int memory_require(struct memory_bucket *b, const char *key, struct memory_object **ret, struct error *e)
{
    *ret = memory_find(b, key);
    return *ret ? 0 : error_set(e, -ENOENT, "There is no object %s in %s.", key, b->name);
}

int memory_check(struct memory_bucket *b, const struct cloud_request *r, struct error *e)
{
    const struct memory_object *o = memory_find(b, r->key);
    bool fails = (r->if_none_match && o) || (r->if_match && (!o || strcmp(o->blob.etag, r->if_match) != 0));

    return fails ? error_set(e, -ESTALE, "%s/%s has changed in the cloud meanwhile.", b->name, r->key) : 0;
}

void memory_blob_set(struct memory_blob *b, void *data, size_t size)
{
    uint8_t md5[HASH_MD5];

    b->data = data;
    b->size = size;
    hash_md5(data, size, md5);
    text_hex(md5, sizeof(md5), b->etag);
}

int memory_read_body(const struct cloud_request *r, struct memory_blob *ret, struct error *e)
{
    CLEANUP_FREE char *data = NULL;
    size_t at = 0;

    if (r->body.length > MEMORY_PUT_MAX)
        return error_set(e, -EFBIG, "%s is too large.", r->key);
    data = xcalloc(1, r->body.length + 1);
    while (at < r->body.length) {
        ssize_t n = pread(r->body.fd, data + at, r->body.length - at, (off_t)(r->body.offset + at));

        if (n <= 0)
            return error_set(e, n < 0 ? -errno : -EBADE, "The file for %s cannot be read.", r->key);
        at += (size_t)n;
    }
    memory_blob_set(ret, take_ptr(data), at);
    return 0;
}

static void free_object(struct memory_object *o)
{
    free(o->key);
    free(o->blob.data);
    cloud_meta_free(&o->meta);
}

struct memory_object *memory_store(struct memory *m, struct memory_bucket *b, const char *key, struct memory_blob *blob,
                                   struct cloud_meta *meta)
{
    size_t i = lower_bound(b, key);
    struct memory_object new = { .key = xstrdup(key), .blob = *blob, .mtime_ns = tick(m), .meta = *meta };

    *blob = (struct memory_blob){ 0 };
    *meta = (struct cloud_meta){ 0 };
    if (i < b->n && strcmp(b->objects[i].key, key) == 0) {
        free_object(&b->objects[i]);
    } else {
        size_t behind = b->n - i;

        (void)xadd(b->objects, b->n);
        memmove(&b->objects[i + 1], &b->objects[i], behind * sizeof(*b->objects));
    }
    b->objects[i] = new;
    return &b->objects[i];
}

static void remove_object(struct memory *m, struct memory_bucket *b, const char *key)
{
    struct memory_object *o = memory_find(b, key);

    if (!o)
        return;
    (void)tick(m);
    free_object(o);
    memmove(o, o + 1, (size_t)(&b->objects[b->n] - (o + 1)) * sizeof(*o));
    b->n--;
}

static void copy_meta(struct cloud_meta *to, const struct cloud_meta *from)
{
    cloud_meta_free(to);
    if (cloud_meta_copy(to, from) < 0)
        abort();
}

static void show_briefly(struct cloud_object *to, const struct memory_object *o)
{
    cloud_request_set(&to->key, o->key);
    cloud_request_set(&to->etag, o->blob.etag);
    to->size = o->blob.size;
    to->mtime_ns = o->mtime_ns;
}

void memory_show(struct cloud_request *r, const struct memory_object *o)
{
    show_briefly(&r->object, o);
    copy_meta(&r->object.meta, &o->meta);
    r->object.has_meta = true;
}

/* --- operations ------------------------------------------------------------------------------------- */

static int buckets(struct memory *m, struct cloud_request *r, struct error *e)
{
    (void)e;
    for (const struct memory_bucket *b = m->buckets; b; b = b->next)
        r->n_buckets++;
    r->buckets = xcalloc(r->n_buckets + 1, sizeof(*r->buckets));
    r->n_buckets = 0;
    for (const struct memory_bucket *b = m->buckets; b; b = b->next)
        r->buckets[r->n_buckets++] = (struct cloud_bucket){ .name = xstrdup(b->name), .created_ns = b->created_ns };
    return 0;
}

static int bucket_create(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_bucket **at = &m->buckets, *b;

    (void)e;
    while (*at && strcmp((*at)->name, r->bucket) < 0)
        at = &(*at)->next;
    if (*at && strcmp((*at)->name, r->bucket) == 0)
        return 0;
    b = xcalloc(1, sizeof(*b));
    b->name = xstrdup(r->bucket);
    b->created_ns = tick(m);
    b->next = *at;
    *at = b;
    return 0;
}

/* The page being made. */
struct page {
    struct cloud_request *r;
    const char *prefix, *after;
    size_t limit;
    const char *last;          /* name of the last entry, borrowed; */
    size_t last_len;           /* a common prefix is its first bytes */
};

/* The length of the common prefix that stands for the key, 0 when the key stands for itself. */
static size_t common_prefix(const struct page *p, const char *key)
{
    const char *end = p->r->delimiter ? strchr(key + strlen(p->prefix), p->r->delimiter) : NULL;

    return end ? (size_t)(end + 1 - key) : 0;
}

/* Whether an earlier page, or an entry of this one, speaks for the key. A token is the last name of its page. */
static bool spoken_for(const struct page *p, const char *key, size_t common)
{
    if (strcmp(key, p->after) <= 0)
        return true;
    if (common == 0)
        return false;
    return (strlen(p->after) == common && strncmp(p->after, key, common) == 0)
        || (p->last && p->last_len == common && strncmp(p->last, key, common) == 0);
}

static char *copy_name(const char *name, size_t len)
{
    char *copy = xcalloc(1, len + 1);

    memcpy(copy, name, len);
    return copy;
}

/* False: the page is full. */
static bool list_one(struct page *p, const struct memory_object *o)
{
    struct cloud_request *r = p->r;
    size_t common = common_prefix(p, o->key);

    if (spoken_for(p, o->key, common))
        return true;
    if (r->n_objects + r->n_prefixes == p->limit) {
        r->next_token = copy_name(p->last, p->last_len);
        return false;
    }
    if (common)
        r->prefixes[r->n_prefixes++] = copy_name(o->key, common);
    else
        show_briefly(&r->objects[r->n_objects++], o);
    p->last = o->key;
    p->last_len = common ? common : strlen(o->key);
    return true;
}

static int list(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct page p = { .r = r, .prefix = r->prefix ? r->prefix : "",
        .limit = r->limit && r->limit < PAGE ? r->limit : PAGE,
        .after = r->token ? r->token : r->start_after ? r->start_after : "" };
    struct memory_bucket *b;

    if (memory_bucket(m, r->bucket, &b, e) < 0)
        return e->code;
    r->objects = xcalloc(p.limit, sizeof(*r->objects));
    r->prefixes = xcalloc(p.limit, sizeof(*r->prefixes));
    for (size_t i = lower_bound(b, p.prefix); i < b->n; i++)
        if (strncmp(b->objects[i].key, p.prefix, strlen(p.prefix)) != 0 || !list_one(&p, &b->objects[i]))
            break;
    return 0;
}

static int stat_object(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_bucket *b;
    struct memory_object *o;

    if (memory_bucket(m, r->bucket, &b, e) < 0 || memory_require(b, r->key, &o, e) < 0)
        return e->code;
    memory_show(r, o);
    return 0;
}

static int put(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_blob blob = { 0 };
    struct cloud_meta meta = { 0 };
    struct memory_bucket *b;

    if (memory_bucket(m, r->bucket, &b, e) < 0 || memory_check(b, r, e) < 0 || memory_read_body(r, &blob, e) < 0)
        return e->code;
    copy_meta(&meta, &r->meta);
    show_briefly(&r->object, memory_store(m, b, r->key, &blob, &meta));
    return 0;
}

static int copy(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_blob blob = { 0 };
    struct cloud_meta meta = { 0 };
    struct memory_bucket *b;
    struct memory_object *o;
    void *data;

    if (memory_bucket(m, r->bucket, &b, e) < 0 || memory_require(b, r->source_key, &o, e) < 0)
        return e->code;
    if (r->if_match && strcmp(o->blob.etag, r->if_match) != 0)
        return error_set(e, -ESTALE, "%s/%s has changed in the cloud meanwhile.", r->bucket, r->source_key);
    if (!r->replace_metadata && strcmp(r->key, r->source_key) == 0)
        return error_set(e, -EREMOTEIO, "%s cannot be copied onto itself without a change.", r->key);
    data = xcalloc(1, o->blob.size + 1);
    memcpy(data, o->blob.data, o->blob.size);
    memory_blob_set(&blob, data, o->blob.size);
    copy_meta(&meta, r->replace_metadata ? &r->meta : &o->meta);
    show_briefly(&r->object, memory_store(m, b, r->key, &blob, &meta));
    return 0;
}

static int delete(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_bucket *b;

    if (memory_bucket(m, r->bucket, &b, e) < 0)
        return e->code;
    remove_object(m, b, r->key);
    return 0;
}

static int delete_batch(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_bucket *b;

    if (memory_bucket(m, r->bucket, &b, e) < 0)
        return e->code;
    for (size_t i = 0; i < r->n_keys; i++)
        remove_object(m, b, r->keys[i]);
    return 0;
}

/* --- the provider ----------------------------------------------------------------------------------- */

static memory_op *const ops[CLOUD_OP_COUNT] = {
    [CLOUD_BUCKETS] = buckets,
    [CLOUD_LIST] = list,
    [CLOUD_STAT] = stat_object,
    [CLOUD_GET] = memory_get,
    [CLOUD_PUT] = put,
    [CLOUD_PART_BEGIN] = memory_part_begin,
    [CLOUD_PART_PUT] = memory_part_put,
    [CLOUD_PART_COPY] = memory_part_copy,
    [CLOUD_PART_LIST] = memory_part_list,
    [CLOUD_PART_END] = memory_part_end,
    [CLOUD_PART_ABORT] = memory_part_abort,
    [CLOUD_UPLOADS] = memory_uploads,
    [CLOUD_COPY] = copy,
    [CLOUD_DELETE] = delete,
    [CLOUD_DELETE_BATCH] = delete_batch,
    [CLOUD_BUCKET_CREATE] = bucket_create,
};

static void memory_submit(struct cloud *c, struct cloud_request *r)
{
    struct error e = { 0 };
    int code = ops[r->op](c->state, r, &e);

    if (code < 0 || !r->driver)
        cloud_finish(r, code < 0 ? &e : NULL);
}

static void memory_cancel(struct cloud *c, struct cloud_request *r)
{
    (void)c;
    memory_get_cancel(r);
}

static void memory_resume(struct cloud *c, struct cloud_request *r)
{
    (void)c;
    memory_get_resume(r);
}

static void memory_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg)
{
    struct error e = { 0 };

    (void)c, (void)url;
    (void)error_set(&e, -EOPNOTSUPP, "Objects in memory have no URL.");
    done(&e, NULL, arg);
}

static int memory_open(struct cloud *c, const struct cloud_spec *spec, struct error *e)
{
    (void)spec, (void)e;
    c->state = xcalloc(1, sizeof(struct memory));
    return 0;
}

static void memory_close(struct cloud *c)
{
    struct memory *m = c->state;

    for (struct memory_bucket *b; (b = m->buckets);) {
        m->buckets = b->next;
        for (size_t i = 0; i < b->n; i++)
            free_object(&b->objects[i]);
        free(b->objects);
        free(b->name);
        free(b);
    }
    for (struct memory_upload *u; (u = m->uploads);) {
        m->uploads = u->next;
        memory_upload_free(u);
    }
    free(m);
}

const struct cloud_ops cloud_memory_ops = {
    .name = "memory",
    .capabilities = CLOUD_CAN_RANGE | CLOUD_CAN_MULTIPART | CLOUD_CAN_COPY | CLOUD_CAN_COPY_PART
        | CLOUD_CAN_BATCH_DELETE | CLOUD_CAN_IF_MATCH | CLOUD_CAN_IF_NONE_MATCH | CLOUD_CAN_METADATA,
    .limits = { MEMORY_PART_MIN, MEMORY_PUT_MAX, MEMORY_PUT_MAX, MEMORY_PARTS_MAX },
    .open = memory_open,
    .close = memory_close,
    .submit = memory_submit,
    .cancel = memory_cancel,
    .resume = memory_resume,
    .presign = memory_presign,
};
