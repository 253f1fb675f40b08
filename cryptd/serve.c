/* Owns the table of answers, and those about sealed secrets. What was secret in a request or a reply is wiped before
 * its memory is given back. */
#include "cryptd/serve.h"

#include <stdlib.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/process.h"
#include "cryptd/seal.h"

static void wipe(const ProtobufCBinaryData *data)
{
    if (data->len > 0)
        secret_wipe(data->data, data->len);
}

void serve_fail(struct ipc_request *req, const char *event, const struct error *e)
{
    LOG_TRACE(LOG_WARNING, ipc_request_trace(req), event, "reason=%s", error_text(e));
    ipc_fail_error(req, e);
}

struct caller *serve_caller(struct serve *s, struct ipc_request *req)
{
    return keyring_caller(s->ring, ipc_request_peer(req));
}

static void on_seal(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;
    const Lf__Seal *seal = env->seal;
    Lf__Sealed sealed = LF__SEALED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(SEALED, sealed, &sealed);
    struct error e;
    int r = seal_make(s->secret, seal->purpose, seal->plain.data, seal->plain.len, &sealed.sealed.data,
                      &sealed.sealed.len, &e);

    (void)fds;
    wipe(&seal->plain);
    if (r < 0) {
        serve_fail(req, "seal_failed", &e);
        return;
    }
    ipc_reply(req, &reply, NULL, 0);
    free(sealed.sealed.data);
}

static void on_unseal(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;
    const Lf__Unseal *unseal = env->unseal;
    Lf__Unsealed unsealed = LF__UNSEALED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(UNSEALED, unsealed, &unsealed);
    struct error e;
    int r = seal_open(s->secret, unseal->purpose, unseal->sealed.data, unseal->sealed.len, &unsealed.plain.data,
                      &unsealed.plain.len, &e);

    (void)fds;
    if (r < 0) {
        serve_fail(req, "unseal_failed", &e);
        return;
    }
    ipc_reply(req, &reply, NULL, 0);
    wipe(&unsealed.plain);
    free(unsealed.plain.data);
}

static void on_metrics(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct samples samples = { 0 };
    Lf__Metrics metrics = LF__METRICS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(METRICS, metrics, &metrics);

    (void)env;
    (void)fds;
    (void)daemon;
    process_samples(&samples);
    metrics.samples = samples.list;
    metrics.n_samples = samples.n;
    ipc_reply(req, &reply, NULL, 0);
    samples_free(&samples);
}

static void on_shutdown(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;

    (void)env;
    (void)fds;
    LOG_TRACE(LOG_INFO, ipc_request_trace(req), "shutdown");
    ipc_done(req);
    loop_stop(s->loop);
}

static const struct ipc_handler handlers[] = {
    { LF__ENVELOPE__BODY_SEAL, on_seal },
    { LF__ENVELOPE__BODY_UNSEAL, on_unseal },
    { LF__ENVELOPE__BODY_DRIVE_KEYS_MAKE, serve_drive_make },
    { LF__ENVELOPE__BODY_DRIVE_KEYS_OPEN, serve_drive_open },
    { LF__ENVELOPE__BODY_DRIVE_KEYS_CHANGE, serve_drive_change },
    { LF__ENVELOPE__BODY_DRIVE_KEYS_EXPORT, serve_drive_export },
    { LF__ENVELOPE__BODY_DRIVE_KEYS_CLOSE, serve_drive_close },
    { LF__ENVELOPE__BODY_DRIVE_KEYS_LEND, serve_drive_lend },
    { LF__ENVELOPE__BODY_CACHE_KEY_MAKE, serve_file_cache_make },
    { LF__ENVELOPE__BODY_CACHE_KEY_RENEW, serve_file_cache_renew },
    { LF__ENVELOPE__BODY_OBJECT_MAKE, serve_file_object_make },
    { LF__ENVELOPE__BODY_OBJECT_OPEN, serve_file_object_open },
    { LF__ENVELOPE__BODY_OBJECT_BIND, serve_file_object_bind },
    { LF__ENVELOPE__BODY_CRYPT_REGION, serve_bulk_region },
    { LF__ENVELOPE__BODY_CRYPT, serve_bulk_crypt },
    { LF__ENVELOPE__BODY_METRICS_GET, on_metrics },
    { LF__ENVELOPE__BODY_SHUTDOWN, on_shutdown },
};

const struct ipc_handler *serve_handlers(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(handlers);
    return handlers;
}

void serve_peer_lost(struct ipc_peer *p, void *arg)
{
    (void)arg;
    keyring_lost(p);
}
