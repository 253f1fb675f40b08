/* cryptd's answers: for syncd secrets, keys of drives and of what is on them, and bulk work; for workers the bulk
 * work of their drive; Shutdown for frontd. */
#pragma once

#include <stddef.h>

#include "common/ipc.h"
#include "cryptd/bulk.h"
#include "cryptd/keyring.h"
#include "cryptd/secret.h"

/* What the handlers work on; everything borrowed. */
struct serve {
    struct loop *loop;
    struct ipc_server *server;
    struct secret *secret;
    struct keyring *ring;
    struct bulk *bulk;
};

/* The message table. The handlers' `daemon` is a struct serve. */
const struct ipc_handler *serve_handlers(size_t *ret_n);

/* For ipc_server_spec.peer_lost. */
void serve_peer_lost(struct ipc_peer *p, void *arg);

/* --- the handlers' files, each with what it answers ------------------------------------------------ */

ipc_handler_fn serve_drive_make, serve_drive_open, serve_drive_change, serve_drive_export, serve_drive_close,
    serve_drive_lend;
ipc_handler_fn serve_file_cache_make, serve_file_cache_renew, serve_file_object_make, serve_file_object_open,
    serve_file_object_bind;
ipc_handler_fn serve_bulk_region, serve_bulk_crypt;

/* Fails the request with what went wrong, and logs it. */
void serve_fail(struct ipc_request *req, const char *event, const struct error *e);

/* The caller of a request, which is under way, so there is one. */
struct caller *serve_caller(struct serve *s, struct ipc_request *req);
