/* Answers about the keys of drives. What is secret in a request or a reply is wiped before its memory is given back. */
#include "syncd/keys_api.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/drive.h"
#include "syncd/keys_kept.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
}

/* --- finding --------------------------------------------------------------------------------------------- */

/* The drive with that id, which has keys, open or not. */
static int find_drive(struct syncd *d, const char *id, struct drive **ret, struct error *e)
{
    struct drive *drive = drive_find(d, id);

    if (keys_kept_has(d, id))
        return error_set(e, -EINVAL, "The drive %.64s was deleted. Its keys are kept to be shown, exported or "
                         "destroyed, and for a drive that is added where it was.", id);
    if (!drive || drive->phase == DRIVE_HIDDEN)
        return error_set(e, -ENOENT, "There is no drive %.64s.", id);
    if (!drive_keys_wanted(drive))
        return error_set(e, -EINVAL, "The drive %s encrypts nothing, so it has no keys.", drive->model->name);
    if (!drive->keys)
        return error_set(e, drive->fault.code ? drive->fault.code : -EBUSY, "The keys of the drive %s are not to be "
                         "had: %s", drive->model->name, error_text(&drive->fault));
    *ret = drive;
    return 0;
}

static int find_open(struct syncd *d, const char *id, struct drive **ret, struct error *e)
{
    int r = find_drive(d, id, ret, e);

    return r < 0 ? r : drive_keys_state(*ret, e);
}

/* --- showing --------------------------------------------------------------------------------------------- */

void keys_api_info(const struct drive *drive, int64_t epochs[KEYS_EPOCHS_MAX], Lf__DriveKeyInfo *ret)
{
    const struct keys_facts *facts = drive->keys ? keys_facts(drive->keys) : NULL;

    *ret = (Lf__DriveKeyInfo)LF__DRIVE_KEY_INFO__INIT;
    ret->id = drive->model->id;
    ret->name = drive->model->name;
    if (!facts)
        return;
    ret->n_epochs = facts->n_epochs;
    for (size_t i = 0; i < facts->n_epochs; i++)
        epochs[i] = facts->epochs[i];
    ret->epochs = epochs;
    ret->recipient = (char *)(uintptr_t)facts->recipient;
    ret->escrow = (char **)(uintptr_t)facts->escrow;
    ret->n_escrow = facts->n_escrow;
    ret->has_serial = true;
    ret->serial = facts->serial;
}

static void reply_info(struct ipc_request *req, const struct drive *drive, const uint64_t *rewrapped)
{
    Lf__KeysFound found = LF__KEYS_FOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_FOUND, keys_found, &found);
    Lf__DriveKeyInfo info;
    int64_t epochs[KEYS_EPOCHS_MAX];
    uint64_t unconverted = 0, wrapped = 0, made = 0;

    keys_api_info(drive, epochs, &info);
    found.keys = &info;
    info.has_unconverted = info.has_wrapped = info.has_made =
        drive->volume && volume_cache_left(drive->volume, &unconverted, &wrapped, &made);
    info.unconverted = (int64_t)unconverted;
    info.wrapped = (int64_t)wrapped;
    info.made = (int64_t)made;
    info.has_rewrapped = rewrapped != NULL;
    info.rewrapped = rewrapped ? (int64_t)*rewrapped : 0;
    ipc_reply(req, &reply, NULL, 0);
}

void keys_api_get(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct drive *drive;
    struct error e = { 0 };

    (void)fds;
    if (keys_kept_has(daemon, env->keys_get->id))
        keys_kept_get(daemon, req, env->keys_get->id);
    else if (find_open(daemon, env->keys_get->id, &drive, &e) < 0)
        ipc_fail_error(req, &e);
    else
        reply_info(req, drive, NULL);
}

/* --- exporting ------------------------------------------------------------------------------------------- */

struct export {
    struct ipc_request *req;
    struct syncd *d;
    char id[ID_SIZE];
};

static void reply_export(const struct export *x, const struct drive *drive, const Lf__DriveKeysExported *exported)
{
    const struct keys_facts *facts = keys_facts(drive->keys);
    Lf__KeysExported msg = LF__KEYS_EXPORTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_EXPORTED, keys_exported, &msg);
    Lf__DriveKeyExport kit = LF__DRIVE_KEY_EXPORT__INIT;
    char date[DATE_SIZE];

    date_iso(loop_wall_ns(), date);
    kit.id = drive->model->id;
    kit.name = drive->model->name;
    kit.bucket = drive->model->storage_name;
    kit.prefix = drive->model->prefix;
    kit.date = date;
    kit.recipient = (char *)(uintptr_t)facts->recipient;
    kit.identities = exported->identities;
    kit.n_identities = exported->n_identities;
    msg.kit = &kit;
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(x->req), "drive_keys_exported", "drive=%s", drive->model->id, "name=%s",
              drive->model->name);
    ipc_reply(x->req, &reply, NULL, 0);
}

static void export_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct export *x = arg;
    struct drive *drive = drive_find(x->d, x->id);
    const Lf__DriveKeysExported *exported = reply ? reply->drive_keys_exported : NULL;

    (void)fds;
    if (!exported)
        ipc_fail_error(x->req, e);
    else if (!drive || !drive->keys)
        ipc_fail(x->req, -ENOENT, "The drive was removed meanwhile.");
    else
        reply_export(x, drive, exported);
    for (size_t i = 0; exported && i < exported->n_identities; i++)
        wipe(exported->identities[i]);
}

void keys_api_export(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__DriveKeysExport msg = LF__DRIVE_KEYS_EXPORT__INIT;
    Lf__Envelope ask = IPC_ENVELOPE(DRIVE_KEYS_EXPORT, drive_keys_export, &msg);
    struct drive *drive;
    struct export *x;
    struct error e = { 0 };

    (void)fds;
    if (keys_kept_has(daemon, env->keys_export->id)) {
        keys_kept_export(daemon, req, env->keys_export->id);
        return;
    }
    if (find_open(daemon, env->keys_export->id, &drive, &e) < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    x = xcalloc(1, sizeof(*x));
    *x = (struct export){ .req = req, .d = daemon };
    memcpy(x->id, drive->model->id, ID_SIZE);
    keys_ask(drive->keys, &ask, export_done, x);
}

/* --- changing -------------------------------------------------------------------------------------------- */

struct alteration {
    struct ipc_request *req;
    struct syncd *d;
    char id[ID_SIZE];
    bool rotates;
    const char *event;
};

static struct alteration *alteration_new(struct ipc_request *req, struct syncd *d, const struct drive *drive,
                                         const char *event)
{
    struct alteration *a = xcalloc(1, sizeof(*a));

    *a = (struct alteration){ .req = req, .d = d, .event = event };
    memcpy(a->id, drive->model->id, ID_SIZE);
    return a;
}

/* NULL: it was removed, which the caller is told. */
static struct drive *altered(const struct alteration *a)
{
    struct drive *drive = drive_find(a->d, a->id);

    if (drive && drive->keys)
        return drive;
    ipc_fail(a->req, -ENOENT, "The drive was removed meanwhile.");
    return NULL;
}

static void rewrap_done(const struct error *e, uint64_t n, void *arg)
{
    CLEANUP_FREE struct alteration *a = arg;
    struct drive *drive = altered(a);

    if (!drive)
        return;
    if (e)
        ipc_fail(a->req, e->code, "The drive has new keys, but what is in its cache is still under the old ones: %s",
                 error_text(e));
    else
        reply_info(a->req, drive, &n);
}

static void alter_done(const struct error *e, void *arg)
{
    struct alteration *a = arg;
    struct drive *drive = e ? NULL : altered(a);

    if (e)
        ipc_fail_error(a->req, e);
    if (!drive) {
        free(a);
        return;
    }
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(a->req), a->event, "drive=%s", drive->model->id, "name=%s",
              drive->model->name);
    if (a->rotates && drive->volume) {
        volume_keys_rotated(drive->volume, rewrap_done, a);
        return;
    }
    reply_info(a->req, drive, NULL);
    free(a);
}

/* Uploads that go on begin anew when a key was given up; files of the cache would be lost. */
static int check_forget(const struct drive *drive, bool new_identity, struct error *e)
{
    uint64_t left = 0;
    int r;

    if (new_identity)
        return error_set(e, -EINVAL, "forgetOld gives up old keys and makes no new one; leave newIdentity away.");
    if (!drive->volume)
        return error_set(e, -EBUSY, "The drive %s is down, so it cannot be told which keys it needs: %s",
                         drive->model->name, error_text(&drive->fault));
    r = volume_keys_left(drive->volume, &left);
    if (r == 0 && left > 0)
        r = error_set(e, -EBUSY, "%" PRIu64 " files of the cache (with those in its folder lost) are, or may be, under "
                      "old keys yet. Those in use are put under the new one when nobody uses them; what is in lost you "
                      "have to move away.", left);
    else if (r < 0)
        r = error_set(e, r, "It is not known yet what in the cache is under old keys; try again in a minute.");
    return r;
}

void keys_api_rotate(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__KeysRotate *ask = env->keys_rotate;
    const struct keys_change change = { .rotate = !ask->forget_old, .new_identity = ask->new_identity,
                                        .forget_old = ask->forget_old };
    struct drive *drive;
    struct alteration *a;
    struct error e = { 0 };

    (void)fds;
    if (find_open(daemon, ask->id, &drive, &e) < 0 ||
        (ask->forget_old && check_forget(drive, ask->new_identity, &e) < 0)) {
        ipc_fail_error(req, &e);
        return;
    }
    a = alteration_new(req, daemon, drive, ask->forget_old ? "drive_keys_given_up"
                                                          : "drive_keys_rotated");
    a->rotates = !ask->forget_old;
    keys_change(drive->keys, &change, alter_done, a);
}

/* --- importing ------------------------------------------------------------------------------------------- */

static void reopened(void *arg)
{
    CLEANUP_FREE struct alteration *a = arg;
    struct drive *drive = altered(a);
    struct error e = { 0 };

    if (drive && drive_keys_state(drive, &e) == 0 && drive->volume) {
        volume_keys_rotated(drive->volume, rewrap_done, take_ptr(a));
        return;
    }
    if (drive && e.code)
        ipc_fail_error(a->req, &e);
    else if (drive)
        reply_info(a->req, drive, NULL);
}

/* What cannot be opened here stays beside the new keys: the right key store may come back. */
static void remade(const struct error *e, const void *blob, size_t n, uint32_t serial, void *arg)
{
    struct alteration *a = arg;
    struct drive *drive = e ? NULL : altered(a);
    int r = drive ? store_keys_replace(a->d->store, a->id, blob, n, serial) : 0;

    if (e)
        ipc_fail_error(a->req, e);
    if (r < 0)
        ipc_fail(a->req, r, "The keys of the drive could not be stored.");
    if (!drive || r < 0) {
        free(a);
        return;
    }
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(a->req), a->event, "drive=%s", drive->model->id, "name=%s",
              drive->model->name, "then=%s", "The keys that it had could not be opened. They are kept.");
    keys_reopen(drive->keys);
    drive_keys_await(drive, reopened, a);
}

static void remake(struct alteration *a, const char *identity)
{
    struct store_keys lost = { 0 };
    int r = store_keys_get(a->d->store, a->id, &lost);

    free(lost.blob);
    if (r < 0 && r != -ENOENT) {
        ipc_fail(a->req, r, "The keys of the drive could not be read.");
        free(a);
        return;
    }
    keys_make(a->d->cryptd, a->id, identity, lost.serial, remade, a);
}

void keys_api_import(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__DriveKeyIdentity *given = env->keys_import->identity;
    char *identity = given ? given->identity : NULL;
    const struct keys_change change = { .rotate = true, .identity = identity };
    struct drive *drive = NULL;
    struct alteration *a;
    struct error e = { 0 };
    int r = find_drive(daemon, env->keys_import->id, &drive, &e);

    (void)fds;
    if (r == 0 && !identity)
        r = error_set(&e, -EINVAL, "identity is missing: AGE-SECRET-KEY-1 and 58 more characters.");
    if (r == 0 && drive_keys_state(drive, &e) == -EAGAIN)
        r = -EAGAIN;
    if (r < 0) {
        ipc_fail_error(req, &e);
        wipe(identity);
        return;
    }
    a = alteration_new(req, daemon, drive, "drive_keys_imported");
    a->rotates = true;
    if (drive_keys_state(drive, &e) == 0)
        keys_change(drive->keys, &change, alter_done, a);
    else
        remake(a, identity);
    wipe(identity);
}

/* --- escrow ---------------------------------------------------------------------------------------------- */

enum { ESCROW_MAX = 64 };   /* cryptd says how many a drive can have; here they only have to be counted */

static size_t place_of(const char *const *list, size_t n, const char *one)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(list[i], one) == 0)
            return i;
    return n;
}

/* The recipients that follow, borrowed; how many, or a negative errno with a sentence. */
static int merge(const struct keys_facts *facts, const Lf__DriveKeyEscrow *ask, const char *list[ESCROW_MAX],
                 struct error *e)
{
    size_t n = facts->n_escrow;

    if (ask->n_add + n > ESCROW_MAX)
        return error_set(e, -E2BIG, "That is more escrow recipients than a drive can have.");
    for (size_t i = 0; i < n; i++)
        list[i] = facts->escrow[i];
    for (size_t i = 0; i < ask->n_add; i++)
        if (place_of(list, n, ask->add[i]) == n)
            list[n++] = ask->add[i];
    for (size_t i = 0; i < ask->n_remove; i++) {
        size_t at = place_of(list, n, ask->remove[i]);

        if (at == n)
            return error_set(e, -ENOENT, "%.80s is no escrow recipient of the drive.", ask->remove[i]);
        list[at] = list[--n];
    }
    return (int)n;
}

void keys_api_escrow(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__DriveKeyEscrow *ask = env->keys_escrow->escrow;
    const char *list[ESCROW_MAX];
    struct keys_change change = { .set_escrow = true, .escrow = list };
    struct drive *drive;
    struct error e = { 0 };
    int r = find_open(daemon, env->keys_escrow->id, &drive, &e);

    (void)fds;
    if (r == 0)
        r = ask && ask->n_add + ask->n_remove > 0
            ? merge(keys_facts(drive->keys), ask, list, &e)
            : error_set(&e, -EINVAL, "add or remove is missing: recipients, age1 and 58 more characters.");
    if (r < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    change.n_escrow = (size_t)r;
    keys_change(drive->keys, &change, alter_done, alteration_new(req, daemon, drive, "drive_escrow_changed"));
}

/* --- destroying ------------------------------------------------------------------------------------------ */

/* How much goes with the keys, as a part of a sentence. */
static void say_loss(const struct drive *drive, char *out, size_t size)
{
    uint64_t pending = drive->volume ? volume_pending(drive->volume) : 0;

    if (!drive->volume)
        (void)snprintf(out, size, "The drive is down, so it cannot be told whether changes are lost that the cloud "
                       "does not have.");
    else if (pending)
        (void)snprintf(out, size, "%" PRIu64 " changes are lost that the cloud does not have.", pending);
    else
        (void)snprintf(out, size, "All changes are in the cloud.");
}

/* The drive has no keys now, and says so. */
static void go_down(struct drive *drive)
{
    struct error e = { 0 };

    drive->wanted = false;
    drive_close(drive);
    (void)drive_open(drive->syncd, drive, &e);
    mounts_changed(drive->syncd);
}

static int destroy(struct syncd *d, struct drive *drive, struct error *e)
{
    int r = store_keys_destroy(d->store, drive->model->id);

    if (r < 0 && store_keys_kept(d->store, drive->model->id))
        return error_set(e, r, "The keys of the drive %s could not be removed: %s", drive->model->name,
                         error_meaning(r)->text);
    go_down(drive);
    return r < 0 ? error_set(e, r, "The keys of the drive %s were removed, but what they lay in could not be "
                             "overwritten: %s", drive->model->name, error_meaning(r)->text) : 0;
}

void keys_api_destroy(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__KeysDestroy *ask = env->keys_destroy;
    Lf__KeysDestroyed destroyed = LF__KEYS_DESTROYED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_DESTROYED, keys_destroyed, &destroyed);
    struct syncd *d = daemon;
    struct drive *drive;
    struct error e = { 0 };
    char loss[128];
    int r;

    (void)fds;
    if (keys_kept_has(d, ask->id)) {
        keys_kept_destroy(d, req, ask->id, ask->confirmed);
        return;
    }
    r = find_drive(d, ask->id, &drive, &e);
    if (r == 0 && drive->phase != DRIVE_READY)
        r = error_set(&e, -EBUSY, "The drive %s is being changed; try again.", drive->model->name);
    if (r == 0)
        say_loss(drive, loss, sizeof(loss));
    if (r == 0 && !ask->confirmed)
        r = error_set(&e, -EPERM, "To destroy the keys of the drive %s cannot be undone: nobody reads its cache again, "
                      "nor, without a recovery kit, what it encrypted in the cloud. %s", drive->model->name, loss);
    if (r == 0)
        r = destroy(d, drive, &e);
    if (r < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(req), "drive_keys_destroyed", "drive=%s", drive->model->id, "name=%s",
              drive->model->name, "loss=%s", loss);
    destroyed.said = loss;
    ipc_reply(req, &reply, NULL, 0);
}
