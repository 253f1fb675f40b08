/* Accounts as they stand in bodies of requests. Must not know what they are wanted for. */
#include "syncd/account_given.h"

#include <errno.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"

struct account_given {
    struct syncd *syncd;
    char *id;                     /* of a stored account; NULL: */
    struct cloud *own;            /* its cloud is ours, */
    Lf__CloudAccount *model;      /* made from this */
    struct credential keys;       /* and these */
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

const char *account_given_id(const struct account_given *g)
{
    return g->id;
}

void account_given_close(struct account_given *g)
{
    if (!g)
        return;
    cloud_free(g->own);
    if (g->model)
        lf__cloud_account__free_unpacked(g->model, NULL);
    credential_wipe(&g->keys);
    free(g->id);
    free(g);
}
