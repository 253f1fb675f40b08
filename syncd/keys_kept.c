/* Keeps the keys of drives that are deleted, and gives their identities to drives that are made at the same place. A
 * place is a service, a bucket and a prefix, whoever's account leads there. */
#include "syncd/keys_kept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/cloud.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/service_url.h"
#include "syncd/syncd.h"

/* --- places ---------------------------------------------------------------------------------------------- */

/* The same text for all ways to write the same URL. */
static char *name_server(const struct service_url *u)
{
    bool own = u->port == 0 || u->port == (u->https ? 443 : 80);
    char port[8] = "", *name;

    if (!own)
        (void)snprintf(port, sizeof(port), ":%u", u->port);
    if (asprintf(&name, "%s://%s%s%s", u->https ? "https" : "http", u->host, port, u->path) < 0)
        abort();
    return name;
}

static char *name_service(const Lf__CloudAccount *account)
{
    const char *type = cloud_type_name(account->cloud_type);
    struct service_url url;
    struct error e;

    if (!account->service_url || !*account->service_url)
        return xstrdup(type ? type : "");
    return service_url_parse(account->service_url, &url, &e) == 0 ? name_server(&url) : xstrdup(account->service_url);
}

static char *service_of(struct syncd *d, const Lf__CloudDrive *model)
{
    Lf__CloudAccount *account = NULL;
    char *name;

    if (store_account_get(d->store, model->account->id, &account) < 0)
        return xstrdup("");
    name = name_service(account);
    lf__cloud_account__free_unpacked(account, NULL);
    return name;
}

/* --- keeping --------------------------------------------------------------------------------------------- */

int keys_kept_leave(struct syncd *d, const struct drive *drive, uint64_t trace)
{
    const struct keys_facts *facts = drive->keys ? keys_facts(drive->keys) : NULL;
    CLEANUP_FREE char *service = service_of(d, drive->model);
    const struct store_kept place = {
        .name = drive->model->name, .service = service, .bucket = drive->model->storage_name,
        .prefix = drive->model->prefix ? drive->model->prefix : (char *)"",
        .recipient = facts ? (char *)(uintptr_t)facts->recipient : NULL,
    };
    bool kept;
    int r = store_drive_leave(d->store, drive->model->id, &place, &kept);

    if (r == 0 && kept)
        LOG_TRACE(LOG_NOTICE, trace, "drive_keys_kept", "drive=%s", drive->model->id, "name=%s", drive->model->name,
                  "then=%s", "What is in the cloud is encrypted with them. `landfall key export`, with this id, prints "
                  "them; `landfall key destroy` destroys them; a drive that is added at the same place inherits them.");
    return r;
}

/* --- inheriting ------------------------------------------------------------------------------------------- */

struct keys_heritage {
    struct store_kept rows[KEYS_FORMER_MAX];
    size_t n;
    const struct keys_inherited *of;   /* while done() runs */
    keys_kept_made_fn *done;
    void *arg;
};

static void heritage_free(struct keys_heritage *h)
{
    for (size_t i = 0; i < h->n; i++)
        store_kept_free(&h->rows[i]);
    free(h);
}

static void made(const struct error *e, const struct keys_inherited *of, void *arg)
{
    struct keys_heritage *h = arg;
    struct store_keys keys = { 0 };

    h->of = of;
    if (of)
        keys = (struct store_keys){ .blob = (void *)(uintptr_t)of->blob, .n = of->n, .serial = of->serial };
    h->done(e, of ? &keys : NULL, of ? h : NULL, h->arg);
    heritage_free(h);
}

static int find(struct syncd *d, const Lf__CloudDrive *model, struct keys_heritage *h)
{
    CLEANUP_FREE char *service = service_of(d, model);

    if (!model->cloud_objects_encrypted)
        return 0;
    return store_kept_at(d->store, service, model->storage_name, model->prefix ? model->prefix : "", h->rows,
                         KEYS_FORMER_MAX, &h->n);
}

void keys_kept_make(struct syncd *d, const Lf__CloudDrive *model, keys_kept_made_fn *done, void *arg)
{
    struct keys_heritage *h = xcalloc(1, sizeof(*h));
    struct keys_former former[KEYS_FORMER_MAX];
    struct error e = { 0 };

    h->done = done;
    h->arg = arg;
    if (find(d, model, h) < 0) {
        (void)error_set(&e, -EIO, "The keys that are kept of former drives could not be read.");
        made(&e, NULL, h);
        return;
    }
    for (size_t i = 0; i < h->n; i++)
        former[i] = (struct keys_former){ h->rows[i].id, h->rows[i].keys.blob, h->rows[i].keys.n,
                                          h->rows[i].keys.serial };
    keys_inherit(d->cryptd, model->id, former, h->n, made, h);
}

static void say_left_out(const struct keys_heritage *h, const Lf__CloudDrive *model, uint64_t trace)
{
    LOG_TRACE(LOG_WARNING, trace, "drive_keys_not_inherited", "drive=%s", model->id, "name=%s", model->name,
              "reason=%s", h->of->left_out, "then=%s", h->of->n_taken
              ? "The drive has the identities of some drives that were here before, not of all. The others are kept."
              : "The drive has new keys and cannot read what is encrypted here already. The former ones are kept.");
}

int keys_kept_claim(struct syncd *d, const struct keys_heritage *h, const Lf__CloudDrive *model, uint64_t trace)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < h->of->n_taken; i++)
        if (h->of->taken[i] < h->n)
            r = store_kept_claim(d->store, &h->rows[h->of->taken[i]], model->id);
    if (r < 0)
        return r;
    if (h->of->n_taken > 0 && h->of->taken[0] < h->n)
        LOG_TRACE(LOG_NOTICE, trace, "drive_keys_inherited", "drive=%s", model->id, "name=%s", model->name,
                  "from=%s", h->rows[h->of->taken[0]].id, "in_all=%zu", h->of->n_taken);
    if (h->of->left_out)
        say_left_out(h, model, trace);
    return 0;
}

void keys_kept_say(struct syncd *d, const Lf__CloudDrive *model, uint64_t trace)
{
    struct keys_heritage *h = xcalloc(1, sizeof(*h));

    (void)find(d, model, h);
    for (size_t i = 0; i < h->n; i++)
        LOG_TRACE(LOG_WARNING, trace, "drive_keys_not_inherited", "drive=%s", model->id, "name=%s", model->name,
                  "from=%s", h->rows[i].id, "reason=%s", "The drive had keys of its own already.", "then=%s",
                  "It cannot read what these have encrypted here. `landfall key export`, with this id, prints them, "
                  "and `landfall key import` takes them over.");
    heritage_free(h);
}
