/* Multipart uploads of the memory provider. */
#include "syncd/cloud_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/loop.h"
#include "common/text.h"

void memory_upload_free(struct memory_upload *u)
{
    for (size_t i = 0; i <= MEMORY_PARTS_MAX; i++)
        free(u->parts[i].data);
    cloud_meta_free(&u->meta);
    free(u->id);
    free(u->bucket);
    free(u->key);
    free(u);
}

static struct memory_upload **find(struct memory *m, const struct cloud_request *r)
{
    struct memory_upload **at = &m->uploads;

    while (*at && (strcmp((*at)->id, r->upload_id) || strcmp((*at)->bucket, r->bucket) || strcmp((*at)->key, r->key)))
        at = &(*at)->next;
    return at;
}

static int require(struct memory *m, const struct cloud_request *r, struct memory_upload **ret, struct error *e)
{
    *ret = *find(m, r);
    return *ret ? 0 : error_set(e, -ENOENT, "There is no upload %s of %s.", r->upload_id, r->key);
}

static void drop(struct memory *m, const struct cloud_request *r)
{
    struct memory_upload **at = find(m, r), *u = *at;

    *at = u->next;
    memory_upload_free(u);
}

int memory_part_begin(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_bucket *b;
    struct memory_upload *u;
    char id[32];

    if (memory_bucket(m, r->bucket, &b, e) < 0)
        return e->code;
    u = xcalloc(1, sizeof(*u));
    (void)snprintf(id, sizeof(id), "upload-%llu", (unsigned long long)++m->n_uploads);
    u->next = m->uploads;
    u->begun_ns = loop_wall_ns();
    u->id = xstrdup(id);
    u->bucket = xstrdup(r->bucket);
    u->key = xstrdup(r->key);
    if (cloud_meta_copy(&u->meta, &r->meta) < 0)
        abort();
    m->uploads = u;
    cloud_request_set(&r->upload_id, id);
    return 0;
}

static int put_part(struct memory_upload *u, struct cloud_request *r, const struct memory_blob *blob)
{
    free(u->parts[r->part_number].data);
    u->parts[r->part_number] = *blob;
    cloud_request_set(&r->object.etag, blob->etag);
    return 0;
}

int memory_part_put(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_blob blob = { 0 };
    struct memory_upload *u;

    if (require(m, r, &u, e) < 0 || memory_read_body(r, &blob, e) < 0)
        return e->code;
    return put_part(u, r, &blob);
}

int memory_part_copy(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_blob blob = { 0 };
    struct memory_bucket *b;
    struct memory_object *o;
    struct memory_upload *u;
    void *data;

    if (require(m, r, &u, e) < 0 || memory_bucket(m, r->bucket, &b, e) < 0 || memory_require(b, r->source_key, &o,
        e) < 0)
        return e->code;
    if (r->if_match && strcmp(o->blob.etag, r->if_match) != 0)
        return error_set(e, -ESTALE, "%s/%s has changed in the cloud meanwhile.", r->bucket, r->source_key);
    if (r->range_offset + r->range_length > o->blob.size)
        return error_set(e, -ERANGE, "%s has only %zu bytes.", r->source_key, o->blob.size);
    data = xcalloc(1, r->range_length);
    memcpy(data, (const char *)o->blob.data + r->range_offset, r->range_length);
    memory_blob_set(&blob, data, r->range_length);
    return put_part(u, r, &blob);
}

int memory_part_list(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_upload *u;

    if (require(m, r, &u, e) < 0)
        return e->code;
    r->parts = xcalloc(MEMORY_PARTS_MAX, sizeof(*r->parts));
    for (uint32_t n = 1; n <= MEMORY_PARTS_MAX; n++)
        if (u->parts[n].data)
            r->parts[r->n_parts++] = (struct cloud_part){ n, u->parts[n].size, xstrdup(u->parts[n].etag) };
    return 0;
}

int memory_part_abort(struct memory *m, struct cloud_request *r, struct error *e)
{
    (void)e;
    if (*find(m, r))
        drop(m, r);
    return 0;
}

int memory_uploads(struct memory *m, struct cloud_request *r, struct error *e)
{
    const char *prefix = r->prefix ? r->prefix : "";

    (void)e;
    for (const struct memory_upload *u = m->uploads; u; u = u->next)
        if (strcmp(u->bucket, r->bucket) == 0 && strncmp(u->key, prefix, strlen(prefix)) == 0)
            *xadd(r->objects, r->n_objects) = (struct cloud_object){
                .key = xstrdup(u->key), .version = xstrdup(u->id), .mtime_ns = u->begun_ns,
            };
    return 0;
}

/* The parts named must be there as named, in order, and none but the last too small. */
static int check_parts(const struct memory_upload *u, const struct cloud_request *r, size_t *ret_size, struct error *e)
{
    *ret_size = 0;
    if (r->n_parts == 0)
        return error_set(e, -EREMOTEIO, "An upload of %s cannot end without parts.", r->key);
    for (size_t i = 0; i < r->n_parts; i++) {
        const struct cloud_part *p = &r->parts[i];
        const struct memory_blob *have = p->number && p->number <= MEMORY_PARTS_MAX ? &u->parts[p->number] : NULL;

        if (!have || !have->data || !p->etag || strcmp(p->etag, have->etag) != 0)
            return error_set(e, -EREMOTEIO, "Part %u of %s is not there as named.", p->number, r->key);
        if (i && p->number <= r->parts[i - 1].number)
            return error_set(e, -EREMOTEIO, "The parts of %s are not in order.", r->key);
        if (i + 1 < r->n_parts && have->size < MEMORY_PART_MIN)
            return error_set(e, -EREMOTEIO, "Part %u of %s is too small.", p->number, r->key);
        *ret_size += have->size;
    }
    return 0;
}

static void join(const struct memory_upload *u, const struct cloud_request *r, size_t size, struct memory_blob *ret)
{
    char *data = xcalloc(1, size + 1), *digests = xcalloc(r->n_parts, HASH_MD5);
    uint8_t md5[HASH_MD5];
    size_t at = 0;

    for (size_t i = 0; i < r->n_parts; i++) {
        const struct memory_blob *part = &u->parts[r->parts[i].number];

        memcpy(data + at, part->data, part->size);
        (void)text_unhex(part->etag, digests + i * HASH_MD5, HASH_MD5);
        at += part->size;
    }
    hash_md5(digests, r->n_parts * HASH_MD5, md5);
    free(digests);
    ret->data = data;
    ret->size = size;
    text_hex(md5, sizeof(md5), ret->etag);
    (void)snprintf(ret->etag + HASH_MD5_HEX - 1, sizeof(ret->etag) - HASH_MD5_HEX + 1, "-%zu", r->n_parts);
}

int memory_part_end(struct memory *m, struct cloud_request *r, struct error *e)
{
    struct memory_blob blob = { 0 };
    struct memory_bucket *b;
    struct memory_upload *u;
    struct memory_object *o;
    size_t size;

    if (require(m, r, &u, e) < 0 || memory_bucket(m, r->bucket, &b, e) < 0 || memory_check(b, r, e) < 0
        || check_parts(u, r, &size, e) < 0)
        return e->code;
    join(u, r, size, &blob);
    o = memory_store(m, b, r->key, &blob, &u->meta);
    cloud_request_set(&r->object.key, o->key);
    cloud_request_set(&r->object.etag, o->blob.etag);
    r->object.size = o->blob.size;
    drop(m, r);
    return 0;
}
