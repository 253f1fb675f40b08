/* Owns the answers about keys of drives. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "cryptd/drive_keys.h"
#include "cryptd/serve.h"
#include "cryptd/x25519.h"

enum { FORMER_MAX = 16 };

static int reply_sealed(struct serve *s, struct ipc_request *req, const struct drive_keys *k,
                        Lf__DriveKeysSealed *sealed, struct error *e)
{
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_KEYS_SEALED, drive_keys_sealed, sealed);
    uint8_t blob[DRIVE_BLOB_MAX];
    int r;

    sealed->blob.data = blob;
    sealed->serial = k->serial;
    r = drive_keys_seal(s->secret, k, blob, &sealed->blob.len, e);
    if (r == 0)
        ipc_reply(req, &reply, NULL, 0);
    return r;
}

/* --- making ------------------------------------------------------------------------------------ */

static int inherit_one(struct serve *s, const Lf__DriveKeysFormer *former, bool first, struct drive_keys *k,
                       struct error *e)
{
    struct open_keys *theirs = keyring_take(s->ring, e);
    int r = theirs ? drive_keys_open(s->secret, former->drive_id, former->blob.data, former->blob.len,
                                     former->at_least, theirs->keys, e) : e->code;

    if (r == 0)
        r = drive_keys_inherit(k, theirs->keys, first, e);
    keyring_unref(theirs);
    return r;
}

/* What cannot be inherited is no reason to make none. *why: of the first that cannot. */
static size_t inherit(struct serve *s, const Lf__DriveKeysMake *make, struct drive_keys *k, uint32_t *taken,
                      struct error *why)
{
    size_t n = 0;

    for (size_t i = 0; i < make->n_former; i++) {
        struct error e;

        if (inherit_one(s, make->former[i], n == 0, k, &e) == 0)
            taken[n++] = (uint32_t)i;
        else if (!why->code)
            *why = e;
    }
    return n;
}

static int make_keys(struct serve *s, struct ipc_request *req, const Lf__DriveKeysMake *make, struct drive_keys *k,
                     struct error *e)
{
    Lf__DriveKeysSealed sealed = LF__DRIVE_KEYS_SEALED__INIT;
    uint32_t taken[FORMER_MAX];
    struct error why = { 0 };
    int r;

    if (make->n_former > FORMER_MAX || (make->n_former && (make->identity || make->after)))
        return error_set(e, -EINVAL, "Keys are inherited from %d drives at most, and then nothing else is said of "
                         "them.", FORMER_MAX);
    r = drive_keys_make(k, make->drive_id, make->identity, make->after, e);
    if (r < 0)
        return r;
    sealed.n_taken = inherit(s, make, k, taken, &why);
    sealed.taken = taken;
    if (why.code)
        sealed.left_out = (char *)(uintptr_t)error_text(&why);
    return reply_sealed(s, req, k, &sealed, e);
}

void serve_drive_make(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__DriveKeysMake *make = env->drive_keys_make;
    struct serve *s = daemon;
    struct error e;
    struct open_keys *k = keyring_take(s->ring, &e);
    int r = k ? make_keys(s, req, make, k->keys, &e) : e.code;

    (void)fds;
    if (make->identity)
        secret_wipe(make->identity, strlen(make->identity));
    if (r < 0)
        serve_fail(req, "drive_keys_not_made", &e);
    keyring_unref(k);
}

/* --- opening ----------------------------------------------------------------------------------- */

struct recipients {
    char own[AGE_RECIPIENT_LENGTH + 1], escrow[DRIVE_ESCROW_MAX][AGE_RECIPIENT_LENGTH + 1];
    char *list[DRIVE_ESCROW_MAX];
};

static int write_recipients(const struct drive_keys *k, struct recipients *out, struct error *e)
{
    uint8_t own[KEY_SIZE];

    if (x25519_public(drive_keys_newest(k)->identity, own) < 0)
        return error_set(e, -EIO, "The recipient of a drive could not be worked out: libcrypto failed.");
    bech32_encode(AGE_RECIPIENT_PREFIX, own, false, out->own);
    for (size_t i = 0; i < k->n_escrow; i++) {
        bech32_encode(AGE_RECIPIENT_PREFIX, k->escrow[i], false, out->escrow[i]);
        out->list[i] = out->escrow[i];
    }
    return 0;
}

static void reply_opened(struct ipc_request *req, const struct handle *h, struct recipients *recipients)
{
    Lf__DriveKeysOpened opened = LF__DRIVE_KEYS_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_KEYS_OPENED, drive_keys_opened, &opened);
    const struct drive_keys *k = h->open->keys;
    uint32_t epochs[DRIVE_EPOCHS_MAX];

    for (size_t i = 0; i < k->n_epochs; i++)
        epochs[i] = k->epochs[i].number;
    opened.handle = h->number;
    opened.serial = k->serial;
    opened.epochs = epochs;
    opened.n_epochs = k->n_epochs;
    opened.recipient = recipients->own;
    opened.escrow = recipients->list;
    opened.n_escrow = k->n_escrow;
    ipc_reply(req, &reply, NULL, 0);
}

/* The handle that gets the keys: a new one, or the one whose keys they replace. */
static struct handle *place(struct caller *c, const Lf__DriveKeysOpen *open, struct open_keys *k, struct error *e)
{
    struct handle *h;

    if (!open->has_handle) {
        h = keyring_handle(c, k, e);
        if (h)
            (void)keyring_ref(k);
        return h;
    }
    h = keyring_find(c, open->handle, e);
    if (!h)
        return NULL;
    if (memcmp(h->open->keys->id, k->keys->id, DRIVE_ID_SIZE) != 0) {
        (void)error_set(e, -EINVAL, "The handle is of another drive.");
        return NULL;
    }
    if (h->open->keys->serial > k->keys->serial) {
        (void)error_set(e, -ESTALE, "The keys of the drive are older than those that are open.");
        return NULL;
    }
    keyring_replace(h, keyring_ref(k));
    return h;
}

static int open_keys(struct serve *s, struct ipc_request *req, const Lf__DriveKeysOpen *open, struct open_keys *k,
                     struct error *e)
{
    struct recipients recipients;
    struct handle *h;
    int r = drive_keys_open(s->secret, open->drive_id, open->blob.data, open->blob.len, open->at_least, k->keys, e);

    if (r == 0)
        r = write_recipients(k->keys, &recipients, e);
    if (r < 0)
        return r;
    h = place(serve_caller(s, req), open, k, e);
    if (!h)
        return e->code;
    reply_opened(req, h, &recipients);
    return 0;
}

void serve_drive_open(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;
    struct error e;
    struct open_keys *k = keyring_take(s->ring, &e);
    int r = k ? open_keys(s, req, env->drive_keys_open, k, &e) : e.code;

    (void)fds;
    if (r < 0)
        serve_fail(req, "drive_keys_not_opened", &e);
    keyring_unref(k);
}

/* --- changing ---------------------------------------------------------------------------------- */

static int change(struct drive_keys *k, const Lf__DriveKeysChange *c, struct error *e)
{
    int r = 0;

    if (!c->rotate && !c->has_forget && !c->set_escrow && !c->forget_old)
        return error_set(e, -EINVAL, "Nothing was said of what is to change.");
    if (c->rotate && c->identity)
        r = drive_keys_import(k, c->identity, e);
    else if (c->rotate)
        r = drive_keys_rotate(k, c->new_identity, e);
    if (r == 0 && c->has_forget)
        r = drive_keys_forget(k, c->forget, e);
    if (r == 0 && c->forget_old)
        r = drive_keys_forget_old(k, e);
    if (r == 0 && c->set_escrow)
        r = drive_keys_set_escrow(k, (const char *const *)c->escrow, c->n_escrow, e);
    return r;
}

void serve_drive_change(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__DriveKeysSealed sealed = LF__DRIVE_KEYS_SEALED__INIT;
    struct serve *s = daemon;
    struct error e;
    struct handle *h = keyring_find(serve_caller(s, req), env->drive_keys_change->handle, &e);
    struct open_keys *k = h ? keyring_take(s->ring, &e) : NULL;
    int r = k ? 0 : e.code;

    (void)fds;
    if (k) {
        *k->keys = *h->open->keys;
        r = change(k->keys, env->drive_keys_change, &e);
    }
    if (env->drive_keys_change->identity)
        secret_wipe(env->drive_keys_change->identity, strlen(env->drive_keys_change->identity));
    if (r == 0)
        r = reply_sealed(s, req, k->keys, &sealed, &e);
    if (r < 0)
        serve_fail(req, "drive_keys_not_changed", &e);
    keyring_unref(k);
}

/* --- handing out ------------------------------------------------------------------------------- */

static void reply_exported(struct ipc_request *req, const struct drive_keys *k)
{
    Lf__DriveKeysExported exported = LF__DRIVE_KEYS_EXPORTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_KEYS_EXPORTED, drive_keys_exported, &exported);
    uint8_t identities[DRIVE_EPOCHS_MAX][KEY_SIZE];
    char texts[DRIVE_EPOCHS_MAX][AGE_IDENTITY_LENGTH + 1], *list[DRIVE_EPOCHS_MAX];

    exported.n_identities = drive_keys_identities(k, identities);
    exported.identities = list;
    for (size_t i = 0; i < exported.n_identities; i++) {
        bech32_encode(AGE_IDENTITY_PREFIX, identities[i], true, texts[i]);
        list[i] = texts[i];
    }
    ipc_reply(req, &reply, NULL, 0);
    secret_wipe(identities, sizeof(identities));
    secret_wipe(texts, sizeof(texts));
}

void serve_drive_export(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;
    struct error e;
    struct handle *h = keyring_find(serve_caller(s, req), env->drive_keys_export->handle, &e);

    (void)fds;
    if (h)
        reply_exported(req, h->open->keys);
    else
        serve_fail(req, "drive_keys_not_exported", &e);
}

void serve_drive_close(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;
    struct caller *c = serve_caller(s, req);
    struct error e;
    struct handle *h = keyring_find(c, env->drive_keys_close->handle, &e);

    (void)fds;
    if (!h) {
        serve_fail(req, "drive_keys_not_closed", &e);
        return;
    }
    keyring_close(c, h);
    ipc_done(req);
}

void serve_drive_lend(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct serve *s = daemon;
    struct error e;
    struct handle *h = keyring_find(serve_caller(s, req), env->drive_keys_lend->handle, &e);
    int r = h ? keyring_lend(h, s->server, take_fd(&fds[0]), &e) : e.code;

    if (r < 0)
        serve_fail(req, "drive_keys_not_lent", &e);
    else
        ipc_done(req);
}
