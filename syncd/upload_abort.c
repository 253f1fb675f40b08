/* Owns the end of uploads in parts that nobody will put together. Of one whose beginning was not answered the id is not
 * known: what the cloud has begun at the key since then, and has no part yet, is taken for it. Whoever else begins one
 * there at that very moment loses nothing that he has sent.
 *
 * Must not know the index, nor what follows. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

/* S3 refuses requests of clocks that are further off. */
static const int64_t CLOCKS_APART_NS = INT64_C(15) * 60 * 1000000000;

static void answered(struct upload *u)
{
    if (u->n_asks == 0)
        u->aborted(u, &u->abort_error);
}

static void ended(struct upload *u, struct cloud_request *r)
{
    if (r->error.code && r->error.code != -ENOENT)
        u->abort_error = r->error;
    answered(u);
}

static void end(struct upload *u, const char *key, const char *id)
{
    struct cloud_request *r = upload_request(u, CLOUD_PART_ABORT, key, ended);

    cloud_request_set(&r->upload_id, id);
    upload_submit(u, r);
}

static void inspected(struct upload *u, struct cloud_request *r)
{
    if (r->error.code == 0 && r->n_parts == 0)
        end(u, r->key + strlen(u->volume->prefix), r->upload_id);
    answered(u);
}

static void inspect(struct upload *u, const struct cloud_object *found)
{
    struct cloud_request *r = upload_request(u, CLOUD_PART_LIST, NULL, inspected);

    cloud_request_set(&r->key, found->key);
    cloud_request_set(&r->upload_id, found->version);
    upload_submit(u, r);
}

/* A service that cannot list uploads, or may not be asked, leaves nothing to be done. */
static void listed(struct upload *u, struct cloud_request *r)
{
    if (upload_fails_all(r->error.code))
        u->abort_error = r->error;
    for (size_t n = 0; n < r->n_objects && r->error.code == 0; n++) {
        const struct cloud_object *o = &r->objects[n];

        if (strcmp(o->key, r->prefix) == 0 && o->version && o->mtime_ns >= u->abort_since_ns &&
            !(u->abort_spares && strcmp(o->version, u->abort_spares) == 0))
            inspect(u, o);
    }
    answered(u);
}

void upload_abort_unheard(struct upload *u, const char *key, int64_t begun_ns, const char *spare,
                          upload_aborted_fn *next)
{
    struct cloud_request *r = upload_request(u, CLOUD_UPLOADS, NULL, listed);
    CLEANUP_FREE char *full = volume_full_key(u->volume, key);

    u->aborted = next;
    u->abort_error = (struct error){ 0 };
    u->abort_since_ns = begun_ns - CLOCKS_APART_NS;
    xstrset(&u->abort_spares, spare);
    cloud_request_set(&r->prefix, full);
    upload_submit(u, r);
}

void upload_abort(struct upload *u, const struct index_upload *row, upload_aborted_fn *next)
{
    if (!*row->upload_id) {
        upload_abort_unheard(u, row->key, row->begun_ns, NULL, next);
        return;
    }
    u->aborted = next;
    u->abort_error = (struct error){ 0 };
    end(u, row->key, row->upload_id);
}
