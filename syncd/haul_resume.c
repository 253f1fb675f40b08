/* What hauls of earlier processes have left goes on in this one, or goes. Must not know how. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/bucket_download.h"
#include "syncd/bucket_upload.h"
#include "syncd/haul_internal.h"
#include "syncd/syncd.h"

static const struct kind {
    struct haul *(*make)(struct syncd *d, uint64_t trace);
    void (*resume)(struct haul *e, const struct store_haul *h, struct transfer_spec *ret_shown);
} kinds[] = {
    [STORE_HAUL_UPLOAD] = { bucket_upload_new, bucket_upload_resume },
    [STORE_HAUL_FORM] = { bucket_upload_new, bucket_upload_resume },
    [STORE_HAUL_OBJECT] = { bucket_download_new, bucket_download_resume },
    [STORE_HAUL_TREE] = { bucket_download_new, bucket_download_resume },
};

/* 0, or why it cannot go on. */
static int open_account(struct haul *e, const struct store_haul *h, struct error *why)
{
    const struct account_kept kept = { h->account_id, { h->n_account, h->account }, { h->n_sealed, h->sealed } };
    struct cloud *cloud;
    int r;

    if (h->uid != e->d->uid)
        return error_set(why, -EPERM, "The transfer was begun for another user of this machine.");
    r = account_given_again(e->d, &kept, &e->account, why);
    return r < 0 ? r : account_given_cloud(e->account, &cloud, why);
}

static void remember_origin(struct hauls *all, const struct store_haul *h)
{
    struct haul_origin *o;

    if (!h->origin)
        return;
    o = xadd(all->origins, all->n_origins);
    o->origin = xstrdup(h->origin);
    memcpy(o->id, h->id, ID_SIZE);
}

/* Nobody has written it. */
static bool is_faulty(const struct store_haul *h)
{
    return h->kind < STORE_HAUL_UPLOAD || (size_t)h->kind >= ARRAY_SIZE(kinds) || !id_valid(h->id);
}

static void drop(struct syncd *d, const struct store_haul *h)
{
    LOG(LOG_ERR, "transfer_row_faulty", "transfer=%s", h->id);
    (void)store_haul_delete(d->store, h->number);
}

static void resume(struct syncd *d, const struct store_haul *h)
{
    const struct kind *k = &kinds[h->kind];
    struct transfer_spec shown = { .id = h->id, .path = h->path, .key = h->key };
    struct haul *e = k->make(d, ipc_trace_new());

    e->number = h->number;
    e->begun_ns = h->begun_ns;
    e->resumed = true;
    e->bucket = xstrdup(h->bucket);
    (void)open_account(e, h, &e->trouble);
    k->resume(e, h, &shown);
    remember_origin(d->hauls, h);
    LOG(LOG_NOTICE, "transfer_resumed", "transfer=%s", h->id);
    if (h->state == STORE_HAUL_FAILED)
        haul_undo(e);
    else
        haul_go_on(e, &shown, e->trouble.code ? STORE_HAUL_GOES : h->state);
}

struct found {
    struct store_haul *rows;
    size_t n;
};

static bool collect(struct store_haul *h, void *arg)
{
    struct found *f = arg;

    *xadd(f->rows, f->n) = *h;
    return true;
}

void hauls_resume(struct syncd *d)
{
    struct found f = { 0 };
    int r = store_haul_each(d->store, 0, collect, &f);

    if (r < 0)
        LOG(LOG_ERR, "transfers_not_read", "error=%s", strerror(-r));
    for (size_t i = 0; i < f.n; i++) {
        if (is_faulty(&f.rows[i]))
            drop(d, &f.rows[i]);
        else
            resume(d, &f.rows[i]);
        store_haul_free(&f.rows[i]);
    }
    free(f.rows);
}
