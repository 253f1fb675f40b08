/* cryptd: holds the keys. Opens the key store, locks itself in, and answers over the inherited socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/daemon.h"
#include "common/log.h"
#include "cryptd/aead.h"
#include "cryptd/filter.h"
#include "cryptd/key_store.h"
#include "cryptd/root_key.h"
#include "cryptd/serve.h"

static int unlock(const struct config *c, struct secret **ret, struct error *e)
{
    int r = sandbox_undumpable(e);   /* before the first key is in memory */

    if (r == 0)
        r = aead_begin(e);
    if (r == 0)
        r = secret_new(ret, e);
    if (r == 0)
        r = root_key_read(c->key_file, getenv("CREDENTIALS_DIRECTORY"), *ret, e);
    return r == 0 ? key_store_open(c->key_dir, *ret, e) : r;
}

static struct ipc_server *listen_to_peers(struct daemon *d, struct serve *serve, struct error *e)
{
    struct ipc_server_spec spec = {
        .role = ROLE_CRYPTD, .peers = d->peers, .n_peers = d->n_peers,
        .max_connections = (size_t)d->config->ipc_connections, .max_queue = (size_t)d->config->ipc_queue_length,
        .arg = serve,
    };
    int fd = daemon_take_socket(d, "ipc");
    struct ipc_server *s;

    spec.handlers = serve_handlers(&spec.n_handlers);
    s = ipc_server_new(d->loop, &spec);
    if (s && fd >= 0 && ipc_server_listen(s, fd) == 0)
        return s;
    ipc_server_free(s);
    (void)error_set(e, -EINVAL, "There is no usable socket named ipc; cryptd is started by systemd or `landfall run`.");
    return NULL;
}

static int serve_peers(struct daemon *d, struct error *e)
{
    CLEANUP(secret_freep) struct secret *secret = NULL;
    struct serve serve = { .loop = d->loop };
    struct ipc_server *server;
    int status;

    if (unlock(d->config, &secret, e) < 0)
        return e->code;
    serve.secret = secret;
    server = listen_to_peers(d, &serve, e);
    if (!server || cryptd_sandbox(e) < 0) {
        ipc_server_free(server);
        return e->code;
    }
    status = daemon_run(d);
    ipc_server_free(server);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = { 0 };
    struct daemon d;
    int r = daemon_begin(&d, ROLE_CRYPTD, argc, argv);

    if (r != 0)
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    r = serve_peers(&d, &e);
    if (r < 0)
        LOG(LOG_ERR, "not_started", "reason=%s", error_text(&e));
    aead_end();
    daemon_end(&d);
    return r < 0 ? EXIT_FAILURE : r;
}
