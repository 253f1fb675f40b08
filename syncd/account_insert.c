/* A new account: checked, tried at the provider, sealed, stored, in this order, so that nothing is
 * stored that does not work. Keys live in memory until the end of the exchange and no longer. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/account.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

struct insert {
    struct syncd *d;
    struct ipc_request *req;
    Lf__CloudAccount *model;
    struct credential keys;
    struct cloud *cloud;          /* for the trial, with the keys in memory */
};

static void end(struct insert *in)
{
    cloud_free(in->cloud);
    credential_wipe(&in->keys);
    if (in->model)
        lf__cloud_account__free_unpacked(in->model, NULL);
    free(in);
}

static void fail(struct insert *in, const struct error *e)
{
    ipc_fail_error(in->req, e);
    end(in);
}

static void store(struct insert *in, const void *sealed, size_t n)
{
    Lf__AccountStored stored = LF__ACCOUNT_STORED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(ACCOUNT_STORED, account_stored, &stored);
    struct error e = { 0 };
    int r = store_account_insert(in->d->store, in->model, sealed, n);

    if (r < 0) {
        if (r == -EEXIST)
            error_set(&e, r, "There is an account named %s already.", in->model->name);
        else
            error_set(&e, r, "The account could not be stored.");
        fail(in, &e);
        return;
    }
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(in->req), "account_stored", "account=%s", in->model->id,
              "type=%s", cloud_type_name(in->model->cloud_type));
    stored.account = in->model;
    ipc_reply(in->req, &reply, NULL, 0);
    end(in);
}

/* Keys that may use a bucket but not list all of them are good: the signature was accepted. A folder has no keys:
 * what cannot be read is of no use. */
static bool accepted(const struct insert *in, const struct error *e)
{
    return e->code == 0 || (e->code == -EACCES && in->keys.secret_key);
}

static void refuse(struct insert *in, const struct error *why)
{
    struct error e = { 0 };

    /* A missing folder or endpoint is a fault of the request, not a missing resource of ours. */
    error_set(&e, why->code == -ENOENT || why->code == -EACCES ? -EINVAL : why->code,
              "The account was not accepted: %s", error_text(why));
    fail(in, &e);
}

static void seal_done(const struct error *e, const void *sealed, size_t n, void *arg);

static void seal(struct insert *in)
{
    credential_seal(in->d, in->model->id, &in->keys, seal_done, in);
}

static void seal_done(const struct error *e, const void *sealed, size_t n, void *arg)
{
    struct insert *in = arg;

    if (e)
        fail(in, e);
    else
        store(in, sealed, n);
}

static cloud_done_fn try_done;

static void try(struct insert *in)
{
    struct cloud_request *r = cloud_request_new(CLOUD_BUCKETS, try_done, in);

    r->deadline_ms = ACCOUNT_DEADLINE_MS;
    r->trace = ipc_request_trace(in->req);
    cloud_submit(in->cloud, r);
}

static void try_done(struct cloud_request *r, void *arg)
{
    struct insert *in = arg;
    struct error e = r->error;

    cloud_request_free(r);
    if (!accepted(in, &e))
        refuse(in, &e);
    else if (in->keys.secret_key)
        seal(in);
    else
        store(in, NULL, 0);
}

static int prepare(struct insert *in, const Lf__CloudAccount *given, struct error *e)
{
    char id[ID_SIZE];
    int r = account_model_check(given, &in->model, &in->keys, e);

    if (r == 0)
        r = account_model_name(in->model, given->name, e);
    if (r < 0)
        return r;
    id_new(id);
    xstrset(&in->model->id, id);
    return account_open(in->d, in->model, credential_draft(&in->keys), &in->cloud, e);
}

void account_insert(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct insert *in = xcalloc(1, sizeof(*in));
    Lf__CloudAccount *given = env->account_insert->account;
    struct error e = { 0 };
    int r;

    (void)fds;
    *in = (struct insert){ .d = daemon, .req = req };
    r = prepare(in, given, &e);
    if (given)
        credential_wipe_text(given->secret_key);
    if (r < 0)
        fail(in, &e);
    else
        try(in);
}
