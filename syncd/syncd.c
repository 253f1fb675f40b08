/* The process put together and taken apart, in an order that leaves nobody with a freed part. */
#include "syncd/syncd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/crypt.h"
#include "syncd/account.h"
#include "syncd/agent.h"
#include "syncd/audit.h"
#include "syncd/apart.h"
#include "syncd/credential.h"
#include "syncd/drive.h"
#include "syncd/events.h"
#include "syncd/folder.h"
#include "syncd/form.h"
#include "syncd/haul.h"
#include "syncd/local_api.h"
#include "syncd/mounts.h"
#include "syncd/serve.h"
#include "syncd/store.h"
#include "syncd/transfer.h"

static void on_peer_lost(struct ipc_peer *p, void *arg)
{
    struct syncd *d = arg;

    mounts_peer_lost(d, p);
    events_lost(d->events, p);
}

static void on_cryptd_connected(void *arg)
{
    struct syncd *d = arg;

    if (d->crypt)
        crypt_share(d->crypt, d->cryptd);
    drive_cryptd_connected(d);
}

static void on_cryptd_lost(void *arg)
{
    drive_cryptd_lost(arg);
}

static int set_mount_root(struct syncd *d, const struct syncd_spec *spec, struct error *e)
{
    const char *given = spec->config->mount_root;
    size_t n;

    if (*given)
        d->mount_root = xstrdup(given);
    else if (!spec->home || asprintf(&d->mount_root, "%s/Landfall", spec->home) < 0)
        return error_set(e, -EINVAL, "MountRoot is not set, and the served user has no home directory.");
    n = strlen(d->mount_root);
    while (n > 1 && d->mount_root[n - 1] == '/')
        d->mount_root[--n] = '\0';
    if (d->mount_root[0] != '/' || n == 1)
        return error_set(e, -EINVAL, "MountRoot %s is not an absolute path below /.", d->mount_root);
    d->mount_root_real = realpath(d->mount_root, NULL);
    return 0;
}

/* What the configuration names may be reached by way of links; what is used from then on is not. */
static int set_state_dir(struct syncd *d, const struct syncd_spec *spec, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    const char *given = spec->config->state_dir;

    if (*given != '/')
        return error_set(e, -EINVAL, "StateDir is not set to an absolute path.");
    d->state_dir = realpath(given, NULL);
    if (!d->state_dir)
        return error_set(e, -errno, "StateDir %s cannot be used: %s.", given, strerror(errno));
    return folder_open(d->state_dir, FOLDER_AS_IT_IS, &folder, e);
}

static int open_peers(struct syncd *d, const struct syncd_spec *spec, struct error *e)
{
    struct ipc_client_spec cryptd = {
        .role = ROLE_SYNCD,
        .peer = ROLE_CRYPTD,
        .path = spec->cryptd_path,
        .max_queue = (size_t)spec->config->ipc_queue_length,
        .connected = on_cryptd_connected,
        .lost = on_cryptd_lost,
        .arg = d,
    };
    struct ipc_server_spec server = {
        .role = ROLE_SYNCD,
        .peers = spec->peers,
        .n_peers = spec->n_peers,
        .max_connections = (size_t)spec->config->ipc_connections,
        .max_queue = (size_t)spec->config->ipc_queue_length,
        .peer_lost = on_peer_lost,
        .arg = d,
    };

    server.handlers = serve_handlers(&server.n_handlers);
    d->cryptd = ipc_client_new(spec->loop, &cryptd);
    d->server = ipc_server_new(spec->loop, &server);
    return d->cryptd && d->server ? 0 : error_set(e, -ENOMEM, "There is no memory left.");
}

static int open_audit(struct syncd *d, const struct syncd_spec *spec, struct error *e)
{
    CLEANUP_FREE char *dir = NULL;

    if (asprintf(&dir, "%s/audit", d->state_dir) < 0)
        abort();
    return audit_open(d->loop, spec->config, dir, &d->audit, e);
}

static int load(struct syncd *d, const struct syncd_spec *spec, struct error *e)
{
    int r = set_state_dir(d, spec, e);

    if (r == 0)
        r = set_mount_root(d, spec, e);
    if (r == 0)
        r = store_open(d->state_dir, &d->store, e);
    if (r == 0)
        r = open_audit(d, spec, e);
    if (r == 0)
        r = open_peers(d, spec, e);
    if (r < 0)
        return r;
    r = agent_load(d);
    if (r == 0)
        r = drive_load(d);
    if (r == 0)
        credential_check(d);
    if (r == 0)
        hauls_resume(d);
    return r < 0 ? error_set(e, r, "The state database in %s cannot be read.", spec->config->state_dir) : 0;
}

/* Pieces of work that may hang, at once. */
enum { APART_MOST = 8 };

int syncd_new(const struct syncd_spec *spec, struct syncd **ret, struct error *e)
{
    struct syncd *d = xcalloc(1, sizeof(*d));
    int r;

    d->loop = spec->loop;
    d->config = spec->config;
    d->uid = spec->uid;
    d->gid = spec->gid;
    d->home = xstrdup(spec->home);
    d->home_real = spec->home ? realpath(spec->home, NULL) : NULL;
    d->events = events_new(spec->loop);
    d->transfers = transfers_new(spec->loop, d->events);
    d->apart = apart_new(spec->loop, APART_MOST);
    d->hauls = hauls_new(d);
    d->drive_list = drive_list_new();
    d->forms = forms_new(d);
    d->local = local_new(d);
    r = d->apart ? load(d, spec, e) : error_set(e, -EMFILE, "There are no descriptors left.");
    if (r < 0)
        syncd_free(d);
    else
        *ret = d;
    return r;
}

/* The drives themselves stay until the requests of the clouds have ended: some are about a drive. */
void syncd_close(struct syncd *d)
{
    drive_close_all(d);
    forms_close(d->forms);
    hauls_close(d->hauls);
    account_close_all(d);
}

void syncd_free(struct syncd *d)
{
    if (!d)
        return;
    syncd_close(d);
    drive_unload(d);
    subscribers_remove_all(&d->mountds);
    ipc_client_free(d->cryptd);
    crypt_free(d->crypt);
    local_free(d->local);
    apart_free(d->apart);
    ipc_server_free(d->server);
    forms_free(d->forms);
    hauls_free(d->hauls);
    drive_list_free(d->drive_list);
    audit_close(d->audit);
    transfers_free(d->transfers);
    events_free(d->events);
    store_close(d->store);
    free(d->state_dir);
    free(d->home);
    free(d->home_real);
    free(d->mount_root);
    free(d->mount_root_real);
    free(d);
}
