/* A drive's keys as syncd holds them: a sealed blob in the state database, and a handle at cryptd for as long as that
 * process runs. Whoever asks cryptd something about a drive does it here; that cryptd was restarted, or has not opened
 * the keys yet, costs time and is not seen. */
#pragma once

#include <stdbool.h>

#include "common/crypt.h"

struct keys;
struct ipc_peer;
struct store;

enum { KEYS_EPOCHS_MAX = 16, KEYS_FORMER_MAX = 16 };

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
 * whatever its row says, since none that goes this way changes anything. The request is copied. -ENOKEY: the keys
 * cannot be opened, with cryptd's sentence (or cryptd opens nothing with them: an object for others). -ECANCELED: the
 * drive is closed. */
void keys_ask(struct keys *k, Lf__Envelope *request, ipc_answer_fn *done, void *arg);
/* The same as a crypt_asker. */
struct crypt_asker keys_asker(struct keys *k);
/* The region that syncd shares with cryptd. */
struct crypt *keys_crypt(struct keys *k);

/* Gives the worker a channel to cryptd for this drive's cache (event FsCryptd), now and after each restart of cryptd,
 * until it is lost. */
void keys_lend(struct keys *k, struct ipc_peer *worker);
void keys_worker_lost(struct keys *k, struct ipc_peer *worker);

/* NULL until they were opened, and while they cannot be. */
const struct keys_facts *keys_facts(const struct keys *k);

/* --- life ---------------------------------------------------------------------------------------------- */

/* All borrowed, and there for as long as the keys are. */
struct keys_spec {
    struct loop *loop;
    struct store *store;
    struct ipc_client *cryptd;
    struct crypt *crypt;
    const char *drive_id;         /* copied */
    /* Each time they were opened (e NULL), and each time they could not be, from the loop; may be NULL. The keys may be
     * freed from within. */
    void (*opened)(const struct error *e, void *arg);
    void *arg;
};

/* Begins to open what the store has. */
struct keys *keys_new(const struct keys_spec *spec);
/* The drive is closed: what is asked is answered with -ECANCELED before this returns, and what is asked from then on at
 * once, from within. Memory that a call under way at cryptd may still write to is kept from others by crypt_hold(). */
void keys_stop(struct keys *k);
/* The same, closes them at cryptd, which ends the workers' channels, and frees. NULL is fine. */
void keys_free(struct keys *k);

/* 0 when they are open, or were and are being opened anew. -EAGAIN while they are being opened for the first time, or
 * why they cannot be, with a sentence. */
int keys_state(const struct keys *k, struct error *e);
/* Whether they are shut because cryptd has another key store than they were sealed with. */
bool keys_other_store(const struct keys *k);
/* For the `connected` and `lost` of the client: no handle outlives the connection. */
void keys_connected(struct keys *k);
void keys_disconnected(struct keys *k);
/* The store has others now, which the drive's user knows of: they are opened anew. */
void keys_reopen(struct keys *k);

/* --- keys_change.c: what changes them ---------------------------------------------------------------------- */

/* Called with -E... and a sentence, or with e NULL. */
typedef void keys_done_fn(const struct error *e, void *arg);

/* Makes keys for a drive that is being made, without storing them; done(e, blob, n, serial, arg). `identity`: an
 * exported one, or NULL. -EINVAL: it is none. `after`: the serial of keys that are lost, behind which serial and epoch
 * go on, or 0. The drive is to be stored with them before they are opened. */
typedef void keys_made_fn(const struct error *e, const void *blob, size_t n, uint32_t serial, void *arg);
void keys_make(struct ipc_client *cryptd, const char *drive_id, const char *identity, uint32_t after,
               keys_made_fn *made, void *arg);

/* The same, with the identities of drives that are gone, which leave cryptd on no way. done(e, inherited, arg). What
 * cannot be opened, or has no room, is left out: then identities are new where none is inherited. */
struct keys_former {
    const char *drive_id;
    const void *blob;
    size_t n;
    uint32_t serial;
};
struct keys_inherited {
    const void *blob;
    size_t n;
    uint32_t serial;
    const uint32_t *taken;        /* places in the list, */
    size_t n_taken;               /* so many */
    const char *left_out;         /* why another one is not among them; NULL: all are */
};
typedef void keys_inherited_fn(const struct error *e, const struct keys_inherited *keys, void *arg);
/* `former`: KEYS_FORMER_MAX at most, the latest first; read before this returns. */
void keys_inherit(struct ipc_client *cryptd, const char *drive_id, const struct keys_former *former, size_t n,
                  keys_inherited_fn *done, void *arg);

struct keys_change {
    bool rotate;                  /* a new epoch, */
    bool new_identity;            /* with a new identity, */
    const char *identity;         /* or with this one, which was exported; NULL: the identity stays */
    bool forget_old;              /* gives up all epochs whose identity a newer one has */
    uint32_t forget;              /* gives up an epoch for good; 0: none */
    bool set_escrow;
    const char *const *escrow;    /* these from now on */
    size_t n_escrow;
};

/* Changes the keys: stored, then opened in the place of those that were. One change at a time: -EBUSY. After an error
 * they are as they were. All of it is copied. */
void keys_change(struct keys *k, const struct keys_change *c, keys_done_fn *done, void *arg);
