/* What is written down of hauls, so that the next process goes on with them. Of keys of accounts only what cryptd
 * sealed. Must not know what any of them does. */
#include "syncd/haul_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

static int refused(struct error *why, int r)
{
    return error_set(why, r, "The transfer could not be recorded in the agent's state (%s), so it was not begun.",
                     strerror(-r));
}

/* --- the account -------------------------------------------------------------------------------- */

static void *copy(const ProtobufCBinaryData *from, size_t *ret_n)
{
    *ret_n = from->len;
    return from->len ? memcpy(xcalloc(1, from->len), from->data, from->len) : NULL;
}

static void account_kept(const struct error *why, const struct account_kept *kept, void *arg)
{
    struct haul *e = arg;
    struct error ended = { 0 };

    if (!why) {
        xstrset(&e->account_id, kept->id);
        e->model.data = copy(&kept->model, &e->model.n);
        e->sealed.data = copy(&kept->sealed, &e->sealed.n);
    }
    if (e->state == HAUL_OVER)
        why = (error_set(&ended, -ECANCELED, "The agent ends."), &ended);
    e->kept(e, why, e->kept_arg);
    haul_release(e);
}

void haul_keep_account(struct haul *e, haul_kept_fn *done, void *arg)
{
    e->kept = done;
    e->kept_arg = arg;
    haul_hold(e);
    account_given_keep(e->account, account_kept, e);
}

/* --- the record --------------------------------------------------------------------------------- */

int haul_record_begin(struct haul *e, struct store_haul *h, struct error *why)
{
    struct store_haul row = *h;
    int r;

    row.account_id = e->account_id;
    row.account = e->model.data;
    row.n_account = e->model.n;
    row.sealed = e->sealed.data;
    row.n_sealed = e->sealed.n;
    row.id = (char *)(uintptr_t)haul_id(e);
    row.uid = e->d->uid;
    row.begun_ns = e->begun_ns = loop_wall_ns();
    row.bucket = e->bucket;
    r = store_haul_insert(e->d->store, &row, &e->number);
    return r < 0 ? refused(why, r) : 0;
}

/* What cannot be written now is found out by the next process: it looks before it does anything. */
static void note_failure(const struct haul *e, int r)
{
    if (r < 0)
        LOG_TRACE(LOG_WARNING, e->trace, "transfer_not_recorded", "transfer=%s", haul_id(e), "error=%s",
                  strerror(-r));
}

int haul_record_state(struct haul *e, enum store_haul_state state, struct error *why)
{
    int r = e->number ? store_haul_set_state(e->d->store, e->number, state) : 0;

    note_failure(e, r);
    return r < 0 ? error_set(why, r, "That could not be recorded in the agent's state: %s.", strerror(-r)) : 0;
}

void haul_record_end(struct haul *e)
{
    if (e->number)
        note_failure(e, store_haul_delete(e->d->store, e->number));
    e->number = 0;
}

int haul_record_parts(struct haul *e, int64_t begun_ns, const char *upload_id, struct error *why)
{
    int r = e->number ? store_haul_set_parts(e->d->store, e->number, begun_ns, upload_id) : 0;

    return r < 0 ? error_set(why, r, "How far the upload is could not be recorded in the agent's state: %s.",
                             strerror(-r)) : 0;
}

int haul_record_file(struct haul *e, const struct store_haul_file *f, struct error *why)
{
    int r = e->number ? store_haul_file_put(e->d->store, e->number, f) : 0;

    return r < 0 ? error_set(why, r, "How far the download is could not be recorded in the agent's state: %s.",
                             strerror(-r)) : 0;
}

int haul_record_progress(struct haul *e, const struct store_haul_progress *p, const struct store_haul_file *ended,
                         size_t n)
{
    int r = e->number ? store_haul_set_progress(e->d->store, e->number, p, ended, n) : 0;

    note_failure(e, r);
    return r;
}

/* --- requests that come again ------------------------------------------------------------------------ */

void haul_origin(const struct ipc_request *req, char out[HAUL_ORIGIN_SIZE])
{
    struct ipc_identity who = ipc_request_identity(req);

    (void)snprintf(out, HAUL_ORIGIN_SIZE, "%" PRIx64 ":%" PRIx64, who.instance, who.id);
}

static bool find(struct syncd *d, const char *origin, char id[ID_SIZE])
{
    const struct hauls *all = d->hauls;

    for (size_t i = 0; i < all->n_origins; i++)
        if (strcmp(all->origins[i].origin, origin) == 0) {
            memcpy(id, all->origins[i].id, ID_SIZE);
            return true;
        }
    return store_haul_by_origin(d->store, origin, id) == 0;
}

void haul_begun(struct ipc_request *req, const char *id)
{
    Lf__TransferStarted started = LF__TRANSFER_STARTED__INIT;
    Lf__TransferBegun begun = LF__TRANSFER_BEGUN__INIT;
    Lf__Envelope answer = IPC_ENVELOPE(TRANSFER_BEGUN, transfer_begun, &begun);

    started.transfer_id = (char *)(uintptr_t)id;
    begun.transfer = &started;
    ipc_reply(req, &answer, NULL, 0);
}

bool haul_answered(struct syncd *d, struct ipc_request *req)
{
    char origin[HAUL_ORIGIN_SIZE], id[ID_SIZE];

    haul_origin(req, origin);
    if (!find(d, origin, id))
        return false;
    haul_begun(req, id);
    return true;
}
