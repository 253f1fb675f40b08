/* Accounts as they stand in bodies of requests. Must not know what they are wanted for. */
#include "syncd/account_given.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"

struct account_given {
    struct syncd *syncd;
    char *id;                     /* of a stored account; NULL: */
    struct cloud *own;            /* its cloud is ours, */
    Lf__CloudAccount *model;      /* made from this */
    struct credential keys;       /* and these, */
    struct credential_sealed sealed;   /* or these of an earlier process */
    /* while they are sealed */
    account_kept_fn *kept;
    void *kept_arg;
};

static int open_own(struct account_given *g, const Lf__CloudAccount *account, struct error *e)
{
    char id[ID_SIZE];
    int r = account_model_check(account, &g->model, &g->keys, e);

    if (r < 0)
        return r;
    id_new(id);
    xstrset(&g->model->id, id);
    return account_open(g->syncd, g->model, credential_draft(&g->keys), &g->own, e);
}

static int open_stored(struct account_given *g, const char *id, struct error *e)
{
    struct cloud *cloud;

    g->id = xstrdup(id);
    return account_given_cloud(g, &cloud, e);
}

int account_given_open(struct syncd *d, const Lf__CloudAccount *account, const char *id, struct account_given **ret,
                       struct error *e)
{
    struct account_given *g = xcalloc(1, sizeof(*g));
    int r;

    g->syncd = d;
    if (account && account_id_given(account->id))
        r = open_stored(g, account->id, e);
    else if (account)
        r = open_own(g, account, e);
    else if (account_id_given(id))
        r = open_stored(g, id, e);
    else
        r = error_set(e, -EINVAL, "The account is missing.");
    if (r < 0)
        account_given_close(take_ptr(g));
    *ret = g;
    return r;
}

int account_given_cloud(struct account_given *g, struct cloud **ret, struct error *e)
{
    if (g->id)
        return account_cloud(g->syncd, g->id, ret, e);
    *ret = g->own;
    return 0;
}

/* --- for another process ------------------------------------------------------------------------- */

static void tell(struct account_given *g, const struct account_kept *kept)
{
    struct account_kept told = *kept;
    size_t n = g->model ? lf__cloud_account__get_packed_size(g->model) : 0;
    CLEANUP_FREE uint8_t *packed = xcalloc(1, n + 1);

    if (g->model)
        lf__cloud_account__pack(g->model, packed);
    told.id = g->id ? g->id : g->model->id;
    told.model = (ProtobufCBinaryData){ n, packed };
    g->kept(NULL, &told, g->kept_arg);
}

static void sealed(const struct error *e, const void *data, size_t n, void *arg)
{
    struct account_given *g = arg;
    struct account_kept kept = { .sealed = { n, (uint8_t *)(uintptr_t)data } };

    if (e)
        g->kept(e, NULL, g->kept_arg);
    else
        tell(g, &kept);
}

void account_given_keep(struct account_given *g, account_kept_fn *done, void *arg)
{
    struct account_kept kept = { .sealed = { g->sealed.n, g->sealed.data } };

    g->kept = done;
    g->kept_arg = arg;
    if (g->keys.access_key || g->keys.secret_key)
        credential_seal(g->syncd, g->model->id, &g->keys, sealed, g);
    else
        tell(g, &kept);
}

static int open_again(struct account_given *g, const struct account_kept *kept, struct error *e)
{
    g->model = lf__cloud_account__unpack(NULL, kept->model.len, kept->model.data);
    if (!g->model || !g->model->id)
        return error_set(e, -EUCLEAN, "The account of the transfer cannot be read from the agent's state.");
    g->sealed = (struct credential_sealed){ g->syncd, NULL, kept->sealed.len };
    if (kept->sealed.len)
        g->sealed.data = memcpy(xcalloc(1, kept->sealed.len), kept->sealed.data, kept->sealed.len);
    return account_open(g->syncd, g->model, credential_keyring_sealed(&g->sealed), &g->own, e);
}

int account_given_again(struct syncd *d, const struct account_kept *kept, struct account_given **ret, struct error *e)
{
    struct account_given *g = xcalloc(1, sizeof(*g));
    int r;

    g->syncd = d;
    r = kept->model.len ? open_again(g, kept, e) : open_stored(g, kept->id, e);
    if (r < 0)
        account_given_close(take_ptr(g));
    *ret = g;
    return r;
}

void account_given_close(struct account_given *g)
{
    if (!g)
        return;
    cloud_free(g->own);
    if (g->model)
        lf__cloud_account__free_unpacked(g->model, NULL);
    credential_wipe(&g->keys);
    free(g->sealed.data);
    free(g->id);
    free(g);
}
