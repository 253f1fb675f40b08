/* cryptd: holds the keys. Opens the key store, locks itself in, and answers over the inherited socket. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/process.h"
#include "cryptd/aead.h"
#include "cryptd/bulk.h"
#include "cryptd/filter.h"
#include "cryptd/key_store.h"
#include "cryptd/root_key.h"
#include "cryptd/serve.h"

static int unlock(struct daemon *d, struct secret *s, struct error *e)
{
    const struct config *c = d->config;
    CLEANUP_CLOSE int passphrase = daemon_take_socket(d, "passphrase");
    CLEANUP_CLOSE int new_passphrase = daemon_take_socket(d, "new-passphrase");
    CLEANUP_CLOSE int new_key = daemon_take_socket(d, "new-key");
    const struct root_sources from = {
        .key_file = c->key_file, .credentials = getenv("CREDENTIALS_DIRECTORY"), .passphrase = passphrase,
        .new_passphrase = new_passphrase, .new_key = new_key,
    };
    int r = root_read(&from, s, e);

    return r == 0 ? key_store_open(c->key_dir, s, e) : r;
}

/* Before the first key is in memory. */
static int prepare(struct daemon *d, struct serve *serve, struct error *e)
{
    int r = sandbox_undumpable(e);

    if (!process_lock_memory())
        LOG(LOG_NOTICE, "memory_not_locked", "reason=%s", "RLIMIT_MEMLOCK; the pages of keys alone are");
    if (r == 0)
        r = aead_begin(e);
    if (r == 0)
        r = secret_new(&serve->secret, e);
    if (r == 0)
        r = keyring_new(&serve->ring, e);
    if (r == 0)
        r = bulk_new(d->loop, (unsigned)d->config->pool_threads, &serve->bulk, e);
    return r == 0 ? unlock(d, serve->secret, e) : r;
}

static int listen_to_peers(struct daemon *d, struct serve *serve, struct error *e)
{
    struct ipc_server_spec spec = {
        .role = ROLE_CRYPTD, .peers = d->peers, .n_peers = d->n_peers,
        .max_connections = (size_t)d->config->ipc_connections, .max_queue = (size_t)d->config->ipc_queue_length,
        .peer_lost = serve_peer_lost, .arg = serve,
    };
    int fd = daemon_take_socket(d, "ipc");

    spec.handlers = serve_handlers(&spec.n_handlers);
    serve->server = ipc_server_new(d->loop, &spec);
    if (serve->server && fd >= 0 && ipc_server_listen(serve->server, fd) == 0)
        return 0;
    return error_set(e, -EINVAL, "There is no usable socket named ipc; cryptd is started by systemd or `landfall "
                     "run`.");
}

static int serve_peers(struct daemon *d, struct error *e)
{
    struct serve serve = { .loop = d->loop };
    int r = prepare(d, &serve, e);

    if (r == 0)
        r = listen_to_peers(d, &serve, e);
    if (r == 0)
        r = cryptd_sandbox(e);
    if (r == 0)
        r = daemon_run(d);
    ipc_server_free(serve.server);
    bulk_free(serve.bulk);
    keyring_free(serve.ring);
    secret_free(serve.secret);
    return r;
}

int main(int argc, char **argv)
{
    struct error e = { 0 };
    struct daemon d;
    int r;

    (void)mallopt(M_ARENA_MAX, 1);   /* others grow by mprotect(2), which the filter does not let pass */
    r = daemon_begin(&d, ROLE_CRYPTD, argc, argv);

    if (r != 0)
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    r = serve_peers(&d, &e);
    if (r < 0)
        LOG(LOG_ERR, "not_started", "reason=%s", error_text(&e));
    aead_end();
    daemon_end(&d);
    return r < 0 ? EXIT_FAILURE : r;
}
