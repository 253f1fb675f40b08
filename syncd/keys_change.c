/* Makes a drive's keys, and changes them: cryptd answers with others, which are stored and then opened in the place of
 * those that were. Cut short anywhere, the keys are as they were or as they shall be. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/keys_internal.h"

enum { CRYPTD_DEADLINE_MS = 20000 };

/* --- making ------------------------------------------------------------------------------------------- */

struct making {
    keys_made_fn *made;
    void *arg;
};

static void make_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct making *m = arg;
    const Lf__DriveKeysSealed *sealed = reply ? reply->drive_keys_sealed : NULL;

    (void)fds;
    if (sealed)
        m->made(NULL, sealed->blob.data, sealed->blob.len, sealed->serial, m->arg);
    else
        m->made(e, NULL, 0, 0, m->arg);
}

void keys_make(struct ipc_client *cryptd, const char *drive_id, const char *identity, uint32_t after,
               keys_made_fn *made, void *arg)
{
    struct making *m = xcalloc(1, sizeof(*m));
    Lf__DriveKeysMake msg = LF__DRIVE_KEYS_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_MAKE, drive_keys_make, &msg);

    *m = (struct making){ made, arg };
    msg.drive_id = (char *)(uintptr_t)drive_id;
    msg.identity = (char *)(uintptr_t)identity;
    msg.has_after = true;
    msg.after = after;
    (void)ipc_call(cryptd, &env, NULL, 0, CRYPTD_DEADLINE_MS, make_done, m);
}

/* --- inheriting ---------------------------------------------------------------------------------------- */

struct inheriting {
    keys_inherited_fn *done;
    void *arg;
};

static void inherit_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct inheriting *i = arg;
    const Lf__DriveKeysSealed *sealed = reply ? reply->drive_keys_sealed : NULL;
    struct keys_inherited keys;

    (void)fds;
    if (!sealed) {
        i->done(e, NULL, i->arg);
        return;
    }
    keys = (struct keys_inherited){ .blob = sealed->blob.data, .n = sealed->blob.len, .serial = sealed->serial,
                                    .taken = sealed->taken, .n_taken = sealed->n_taken,
                                    .left_out = sealed->left_out };
    i->done(NULL, &keys, i->arg);
}

void keys_inherit(struct ipc_client *cryptd, const char *drive_id, const struct keys_former *former, size_t n,
                  keys_inherited_fn *done, void *arg)
{
    Lf__DriveKeysFormer rows[KEYS_FORMER_MAX], *list[KEYS_FORMER_MAX];
    struct inheriting *i = xcalloc(1, sizeof(*i));
    Lf__DriveKeysMake msg = LF__DRIVE_KEYS_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_MAKE, drive_keys_make, &msg);

    *i = (struct inheriting){ done, arg };
    msg.drive_id = (char *)(uintptr_t)drive_id;
    msg.former = list;
    for (; msg.n_former < n && msg.n_former < KEYS_FORMER_MAX; msg.n_former++) {
        const struct keys_former *one = &former[msg.n_former];
        Lf__DriveKeysFormer *row = &rows[msg.n_former];

        *row = (Lf__DriveKeysFormer)LF__DRIVE_KEYS_FORMER__INIT;
        row->drive_id = (char *)(uintptr_t)one->drive_id;
        row->blob = (ProtobufCBinaryData){ one->n, (void *)(uintptr_t)one->blob };
        row->has_at_least = true;
        row->at_least = one->serial;
        list[msg.n_former] = row;
    }
    (void)ipc_call(cryptd, &env, NULL, 0, CRYPTD_DEADLINE_MS, inherit_done, i);
}

/* --- changing ------------------------------------------------------------------------------------------ */

struct change {
    struct keys *keys;
    keys_done_fn *done;
    void *arg;
    uint64_t call;                /* the opening of the new keys; 0: none */
};

static void end(struct change *c, const struct error *e)
{
    struct change ended = *c;

    ended.keys->change = NULL;
    free(c);
    ended.done(e, ended.arg);
}

/* What is stored counts. If the new keys could not take the place of the old ones at once, the handle is no more: they
 * are opened as after any restart. */
static void open_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct change *c = arg;

    (void)fds;
    c->call = 0;
    if (e)
        keys_reopen(c->keys);
    else if (c->keys->phase == KEYS_OPEN)
        keys_take_facts(c->keys, reply->drive_keys_opened);
    end(c, NULL);
}

static void open_changed(struct change *c, const Lf__DriveKeysSealed *sealed)
{
    struct keys *k = c->keys;
    Lf__DriveKeysOpen open = LF__DRIVE_KEYS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_OPEN, drive_keys_open, &open);

    if (k->phase != KEYS_OPEN) {   /* it will be */
        end(c, NULL);
        return;
    }
    open.drive_id = k->id;
    open.blob = sealed->blob;
    open.has_at_least = true;
    open.at_least = sealed->serial;
    open.has_handle = true;
    open.handle = k->handle;
    c->call = ipc_call(k->spec.cryptd, &env, NULL, 0, 0, open_done, c);
}

static void change_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct change *c = arg;
    const Lf__DriveKeysSealed *sealed = reply ? reply->drive_keys_sealed : NULL;
    struct error failed = { 0 };
    int r;

    (void)fds;
    if (!sealed) {
        end(c, e);
        return;
    }
    r = store_keys_put(c->keys->spec.store, c->keys->id, sealed->blob.data, sealed->blob.len, sealed->serial);
    if (r < 0) {
        (void)error_set(&failed, r, "The changed keys could not be stored: %s", error_meaning(r)->text);
        end(c, &failed);
        return;
    }
    open_changed(c, sealed);
}

void keys_change(struct keys *k, const struct keys_change *what, keys_done_fn *done, void *arg)
{
    Lf__DriveKeysChange msg = LF__DRIVE_KEYS_CHANGE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_CHANGE, drive_keys_change, &msg);
    struct error busy = { 0 };

    if (k->change) {
        (void)error_set(&busy, -EBUSY, "The keys of the drive are being changed already; try again.");
        done(&busy, arg);
        return;
    }
    k->change = xcalloc(1, sizeof(*k->change));
    *k->change = (struct change){ .keys = k, .done = done, .arg = arg };
    msg.has_rotate = msg.rotate = what->rotate;
    msg.has_new_identity = msg.new_identity = what->new_identity;
    msg.identity = (char *)(uintptr_t)what->identity;
    msg.has_forget = what->forget != 0;
    msg.forget = what->forget;
    msg.has_forget_old = msg.forget_old = what->forget_old;
    msg.has_set_escrow = msg.set_escrow = what->set_escrow;
    msg.escrow = (char **)(uintptr_t)what->escrow;
    msg.n_escrow = what->n_escrow;
    keys_ask(k, &env, change_done, k->change);
}

/* The asking itself has ended by now. */
void keys_change_end(struct keys *k)
{
    const struct error e = { .code = -ECANCELED, .text = "The drive was closed." };

    if (!k->change)
        return;
    if (k->change->call)
        ipc_cancel(k->spec.cryptd, k->change->call);
    end(k->change, &e);
}
