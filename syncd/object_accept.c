/* Owns the answer to an object that is refused because of what was there before it: its owner may say that it was put
 * there on purpose. From then on that version is the newest one that was seen. */
#include "syncd/object.h"

#include <errno.h>
#include <inttypes.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/anchors.h"
#include "syncd/store_anchor.h"

/* Whether it is refused for what was there before alone. */
static bool may_be_accepted(const struct index_object *o)
{
    return o->fault == -EREMCHG || (o->fault == -EUCLEAN && o->kind == INDEX_OBJECT_PLAIN);
}

static int accept_version(struct volume *v, const struct index_inode *i, struct index_object *o)
{
    int r = index_anchor_accept(v->index, i->cloud_key, o->version);

    o->fault = 0;
    o->found_ns = 0;
    return r < 0 ? r : index_object_put(v->index, i->ino, i->etag, o);
}

int object_accept(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP(index_object_done) struct index_object o = { 0 };
    int r = index_get(v->index, ino, &i);

    if (r == 0 && (!v->keys || !i.cloud_key || object_get(v, &i, &o) < 0 || !may_be_accepted(&o)))
        r = -EINVAL;
    if (r == 0)
        r = accept_version(v, &i, &o);
    if (r == 0)
        LOG(LOG_NOTICE, "object_accepted", "drive=%s", v->drive->id, "key=%s", i.cloud_key, "version=%" PRIu64,
            o.version);
    return r;
}

void volume_accept(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };
    int r = index_begin(v->index);

    if (r == 0)
        r = index_end(v->index, object_accept(v, ino));
    anchors_changed(v);
    if (r == -EINVAL)
        error_set(&e, r, "Nothing about it waits to be accepted: it is not refused, or for another reason than "
                  "that something else was there before.");
    else if (r < 0)
        error_set(&e, r, "%s", error_meaning(r)->text);
    done(&e, arg);
}
