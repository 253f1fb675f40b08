/* A drive's keys as syncd holds them: a sealed blob in the state database, and a handle at cryptd for as long as that
 * process runs. Whoever asks cryptd something about a drive does it here; that cryptd was restarted, or has not opened
 * the keys yet, costs time and is not seen. */
#pragma once

#include "common/crypt.h"

struct keys;
struct ipc_peer;

/* What was made with the newest keys and which older ones there are. */
struct keys_facts {
    uint32_t serial;
    const uint32_t *epochs;       /* rising; borrowed */
    size_t n_epochs;
    const char *recipient;        /* age1..., of the newest identity; borrowed */
    char *const *escrow;
    size_t n_escrow;
};

/* Asks cryptd, with the drive's handle in the request: any row of common/messages.c that has one. done() runs once,
 * from the loop, as for ipc_call(); when cryptd is restarted the keys are opened again and the request is repeated,
 * whatever its row says, since none that goes this way changes anything. -ENOKEY, -EUCLEAN, ...: the keys cannot be
 * opened, with cryptd's sentence. -ECANCELED: the drive is closed. */
void keys_ask(struct keys *k, Lf__Envelope *request, ipc_answer_fn *done, void *arg);
/* The same as a crypt_asker. */
struct crypt_asker keys_asker(struct keys *k);
/* The region that syncd shares with cryptd. */
struct crypt *keys_crypt(struct keys *k);

/* Gives the worker a channel to cryptd for this drive's cache (event FsCryptd), now and after each restart of cryptd,
 * until it is lost. */
void keys_lend(struct keys *k, struct ipc_peer *worker);
void keys_worker_lost(struct keys *k, struct ipc_peer *worker);

/* NULL until they were opened once. */
const struct keys_facts *keys_facts(const struct keys *k);
