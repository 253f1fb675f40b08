/* The stored accounts: their clouds, opened when first needed and kept, and the requests that list,
 * show and delete them. */
#include "syncd/account.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/drive.h"
#include "syncd/page.h"
#include "syncd/place.h"
#include "syncd/service_url.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

/* An account whose cloud is open. */
struct account {
    struct account *next;
    char *id;
    struct cloud *cloud;
};

bool account_id_given(const char *id)
{
    return id && *id && strcmp(id, "00000000-0000-0000-0000-000000000000") != 0;
}

static void free_model(Lf__CloudAccount **model)
{
    if (*model)
        lf__cloud_account__free_unpacked(*model, NULL);
}

static int get_model(struct syncd *d, const char *id, Lf__CloudAccount **ret, struct error *e)
{
    int r = store_account_get(d->store, id, ret);

    return r == -ENOENT ? error_set(e, r, "There is no account %.64s.", id) : r < 0 ? error_set(e, r, "%s", "") : 0;
}

/* --- clouds ----------------------------------------------------------------------------------- */

static int check_place(const struct syncd *d, const Lf__CloudAccount *model, struct error *e)
{
    CLEANUP_FREE char *folder = NULL;
    int r;

    if (model->cloud_type != CLOUD_LOCAL_FOLDER)
        return 0;
    r = service_url_folder(model->service_url, &folder, e);
    return r < 0 ? r : place_check_data(d, folder, e);
}

int account_open(const struct syncd *d, const Lf__CloudAccount *model, struct cloud_keyring keyring, struct cloud **ret,
                 struct error *e)
{
    struct cloud_spec spec = account_model_spec(model, keyring);
    int r = check_place(d, model, e);

    return r < 0 ? r : cloud_new(d->loop, d->config, &spec, ret, e);
}

int account_cloud(struct syncd *d, const char *id, struct cloud **ret, struct error *e)
{
    CLEANUP(free_model) Lf__CloudAccount *model = NULL;
    struct account *a;
    int r;

    for (a = d->accounts; a; a = a->next)
        if (strcmp(a->id, id) == 0) {
            *ret = a->cloud;
            return 0;
        }
    r = get_model(d, id, &model, e);
    if (r < 0)
        return r;
    r = account_open(d, model, credential_keyring(d), ret, e);
    if (r < 0)
        return r;
    a = xcalloc(1, sizeof(*a));
    *a = (struct account){ d->accounts, xstrdup(id), *ret };
    d->accounts = a;
    return 0;
}

static void close_account(struct account *a)
{
    cloud_free(a->cloud);
    free(a->id);
    free(a);
}

static void close_one(struct syncd *d, const char *id)
{
    for (struct account **at = &d->accounts, *a; (a = *at); at = &a->next)
        if (strcmp(a->id, id) == 0) {
            *at = a->next;
            close_account(a);
            return;
        }
}

void account_close_all(struct syncd *d)
{
    struct account *a;

    while ((a = d->accounts)) {
        d->accounts = a->next;
        close_account(a);
    }
}

/* --- requests --------------------------------------------------------------------------------- */

struct listing {
    struct page page;
    bool more;
};

static bool list_each(Lf__CloudAccount *model, void *arg)
{
    struct listing *l = arg;

    l->more = !page_add(&l->page, &model->base);
    if (l->more)
        lf__cloud_account__free_unpacked(model, NULL);
    return !l->more;
}

void account_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct syncd *d = daemon;
    const char *after = env->account_list->page ? env->account_list->page : "";
    struct listing l = { 0 };
    Lf__AccountListed listed = LF__ACCOUNT_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(ACCOUNT_LISTED, account_listed, &listed);
    int r = store_account_each(d->store, after, list_each, &l);

    (void)fds;
    listed.accounts = (Lf__CloudAccount **)l.page.items;
    listed.n_accounts = l.page.n;
    if (l.more)
        listed.next_page = listed.accounts[l.page.n - 1]->id;
    if (r < 0)
        ipc_fail(req, r, "The accounts could not be read.");
    else
        ipc_reply(req, &reply, NULL, 0);
    page_free(&l.page, true);
}

void account_get(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    CLEANUP(free_model) Lf__CloudAccount *model = NULL;
    Lf__AccountStored stored = LF__ACCOUNT_STORED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(ACCOUNT_STORED, account_stored, &stored);
    struct error e = { 0 };

    (void)fds;
    if (get_model(daemon, env->account_get->id, &model, &e) < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    stored.account = model;
    ipc_reply(req, &reply, NULL, 0);
}

static int delete_account(struct syncd *d, const char *id, struct error *e)
{
    const struct drive *user = drive_of_account(d, id);
    int r;

    if (user)
        return error_set(e, -EINVAL, "The account is used by the drive %s; delete that first.", user->model->name);
    r = store_account_delete(d->store, id);
    if (r < 0)
        return r == -ENOENT ? error_set(e, r, "There is no account %.64s.", id)
                            : error_set(e, r, "The account could not be deleted.");
    close_one(d, id);
    return 0;
}

void account_delete(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__AccountDeleted deleted = LF__ACCOUNT_DELETED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(ACCOUNT_DELETED, account_deleted, &deleted);
    struct error e = { 0 };

    (void)fds;
    if (delete_account(daemon, env->account_delete->id, &e) < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(req), "account_deleted", "account=%s", env->account_delete->id);
    deleted.deleted = true;
    ipc_reply(req, &reply, NULL, 0);
}
