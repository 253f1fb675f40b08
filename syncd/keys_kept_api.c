/* Answers about keys that outlived their drive, and the list of all keys. They are opened at cryptd for the moment of
 * an export and for nothing else. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/credential.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/keys_api.h"
#include "syncd/keys_kept.h"
#include "syncd/page.h"
#include "syncd/syncd.h"

enum { CRYPTD_DEADLINE_MS = 20000, TRIES = 3 };

bool keys_kept_has(struct syncd *d, const char *id)
{
    const struct drive *drive = drive_find(d, id);
    CLEANUP(store_kept_free) struct store_kept k = { 0 };

    return (!drive || drive->phase == DRIVE_HIDDEN) && store_kept_get(d->store, id, &k) == 0;
}

/* False: it cannot be read any more, and who asked was told. */
static bool take(struct syncd *d, struct ipc_request *req, const char *id, struct store_kept *ret)
{
    int r = store_kept_get(d->store, id, ret);

    if (r < 0)
        ipc_fail(req, r, "The keys that are kept of this drive could not be read.");
    return r == 0;
}

/* --- showing ----------------------------------------------------------------------------------------------- */

/* All borrowed. */
static void say_kept(const struct store_kept *k, char date[DATE_SIZE], Lf__DriveKeyInfo *ret)
{
    *ret = (Lf__DriveKeyInfo)LF__DRIVE_KEY_INFO__INIT;
    date_iso(k->deleted_ns, date);
    ret->id = k->id;
    ret->name = k->name;
    ret->recipient = k->recipient;
    ret->has_serial = true;
    ret->serial = k->keys.serial;
    ret->service = k->service;
    ret->bucket = k->bucket;
    ret->prefix = k->prefix;
    ret->deleted = date;
}

void keys_kept_get(struct syncd *d, struct ipc_request *req, const char *id)
{
    CLEANUP(store_kept_free) struct store_kept k = { 0 };
    Lf__KeysFound found = LF__KEYS_FOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_FOUND, keys_found, &found);
    Lf__DriveKeyInfo info;
    char date[DATE_SIZE];

    if (!take(d, req, id, &k))
        return;
    say_kept(&k, date, &info);
    found.keys = &info;
    ipc_reply(req, &reply, NULL, 0);
}

/* --- the list ---------------------------------------------------------------------------------------------- */

/* Pages go on behind "d" or "k" and an id: of a drive, or of one that is gone. */
struct listing {
    struct page page;
    const char *after;
    char next[1 + ID_SIZE];
    bool full;
};

static bool add(struct listing *l, char kind, const Lf__DriveKeyInfo *info)
{
    Lf__DriveKeyInfo *copy = message_copy(&info->base);

    l->full = !page_add(&l->page, &copy->base);
    if (l->full)
        lf__drive_key_info__free_unpacked(copy, NULL);
    else
        (void)snprintf(l->next, sizeof(l->next), "%c%s", kind, info->id);
    return !l->full;
}

static void add_drives(struct syncd *d, struct listing *l)
{
    for (const struct drive *drive = d->drives; drive && !l->full; drive = drive->next) {
        int64_t epochs[KEYS_EPOCHS_MAX];
        Lf__DriveKeyInfo info;
        struct error e = { 0 };

        if (drive->phase == DRIVE_HIDDEN || !drive_keys_wanted(drive) ||
            strcmp(drive->model->id, l->after + 1) <= 0)
            continue;
        keys_api_info(drive, epochs, &info);
        if (!drive->keys || drive_keys_state(drive, &e) < 0)
            info.trouble = (char *)(uintptr_t)error_text(drive->keys ? &e : &drive->fault);
        (void)add(l, 'd', &info);
    }
}

static bool add_kept(const struct store_kept *k, void *listing)
{
    Lf__DriveKeyInfo info;
    char date[DATE_SIZE];

    say_kept(k, date, &info);
    return add(listing, 'k', &info);
}

void keys_kept_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const char *page = env->keys_list->page;
    struct listing l = { .after = page && *page ? page : "d" };
    Lf__KeysListed listed = LF__KEYS_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_LISTED, keys_listed, &listed);
    struct syncd *d = daemon;
    int r = 0;

    (void)fds;
    if (*l.after == 'd')
        add_drives(d, &l);
    if (!l.full)
        r = store_kept_each(d->store, *l.after == 'k' ? l.after + 1 : "", add_kept, &l);
    listed.keys = (Lf__DriveKeyInfo **)l.page.items;
    listed.n_keys = l.page.n;
    listed.next_page = l.full ? l.next : NULL;
    if (r < 0)
        ipc_fail(req, r, "The keys that are kept of former drives could not be read.");
    else
        ipc_reply(req, &reply, NULL, 0);
    page_free(&l.page, true);
}

/* --- exporting --------------------------------------------------------------------------------------------- */

struct export {
    struct ipc_request *req;
    struct syncd *d;
    struct store_kept kept;
    char *recipient;
    uint64_t handle;               /* 0: none */
    unsigned tries;
};

static void ignore(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    (void)arg;
}

static void close_keys(struct export *x)
{
    Lf__DriveKeysClose msg = LF__DRIVE_KEYS_CLOSE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_CLOSE, drive_keys_close, &msg);

    msg.handle = x->handle;
    if (x->handle && ipc_client_connected(x->d->cryptd))
        (void)ipc_call(x->d->cryptd, &env, NULL, 0, 0, ignore, NULL);
    x->handle = 0;
}

static void end(struct export *x)
{
    close_keys(x);
    store_kept_free(&x->kept);
    free(x->recipient);
    free(x);
}

static void open_keys(struct export *x);

/* A handle is as good as its connection. */
static bool again(struct export *x, const struct error *e)
{
    if ((e->code != -ECONNRESET && e->code != -ENOENT) || ++x->tries == TRIES)
        return false;
    x->handle = 0;
    open_keys(x);
    return true;
}

static void reply_kit(struct export *x, const Lf__DriveKeysExported *exported)
{
    Lf__KeysExported msg = LF__KEYS_EXPORTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_EXPORTED, keys_exported, &msg);
    Lf__DriveKeyExport kit = LF__DRIVE_KEY_EXPORT__INIT;
    char date[DATE_SIZE];

    date_iso(loop_wall_ns(), date);
    kit.id = x->kept.id;
    kit.name = x->kept.name;
    kit.bucket = x->kept.bucket;
    kit.prefix = x->kept.prefix;
    kit.date = date;
    kit.recipient = x->recipient;
    kit.identities = exported->identities;
    kit.n_identities = exported->n_identities;
    msg.kit = &kit;
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(x->req), "drive_keys_exported", "drive=%s", x->kept.id, "name=%s",
              x->kept.name);
    ipc_reply(x->req, &reply, NULL, 0);
    for (size_t i = 0; i < exported->n_identities; i++)
        credential_wipe_text(exported->identities[i]);
}

static void export_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct export *x = arg;

    (void)fds;
    if (e && again(x, e))
        return;
    if (e)
        ipc_fail_error(x->req, e);
    else
        reply_kit(x, reply->drive_keys_exported);
    end(x);
}

static void open_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct export *x = arg;
    Lf__DriveKeysExport msg = LF__DRIVE_KEYS_EXPORT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_EXPORT, drive_keys_export, &msg);

    (void)fds;
    if (e) {
        ipc_fail_error(x->req, e);
        end(x);
        return;
    }
    x->handle = msg.handle = reply->drive_keys_opened->handle;
    xstrset(&x->recipient, reply->drive_keys_opened->recipient);
    (void)ipc_call(x->d->cryptd, &env, NULL, 0, CRYPTD_DEADLINE_MS, export_done, x);
}

static void open_keys(struct export *x)
{
    Lf__DriveKeysOpen msg = LF__DRIVE_KEYS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_OPEN, drive_keys_open, &msg);

    msg.drive_id = x->kept.id;
    msg.blob = (ProtobufCBinaryData){ x->kept.keys.n, x->kept.keys.blob };
    msg.has_at_least = true;
    msg.at_least = x->kept.keys.serial;
    (void)ipc_call(x->d->cryptd, &env, NULL, 0, CRYPTD_DEADLINE_MS, open_done, x);
}

void keys_kept_export(struct syncd *d, struct ipc_request *req, const char *id)
{
    struct export *x = xcalloc(1, sizeof(*x));

    *x = (struct export){ .req = req, .d = d };
    if (take(d, req, id, &x->kept))
        open_keys(x);
    else
        end(x);
}

/* --- destroying -------------------------------------------------------------------------------------------- */

void keys_kept_destroy(struct syncd *d, struct ipc_request *req, const char *id, bool confirmed)
{
    static const char LOSS[] = "Who has no copy of them reads nothing that the drive encrypted in the cloud.";
    CLEANUP(store_kept_free) struct store_kept k = { 0 };
    Lf__KeysDestroyed destroyed = LF__KEYS_DESTROYED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(KEYS_DESTROYED, keys_destroyed, &destroyed);
    struct error e = { 0 };
    int r = 0;

    if (!take(d, req, id, &k))
        return;
    if (!confirmed)
        r = error_set(&e, -EPERM, "To destroy the keys that are kept of the drive %s, which was deleted, cannot be "
                      "undone. %s", k.name, LOSS);
    if (r == 0)
        r = store_kept_destroy(d->store, id);
    if (r < 0 && !e.code)
        (void)error_set(&e, r, keys_kept_has(d, id) ? "The keys of the drive %s could not be removed: %s"
                        : "The keys of the drive %s were removed, but what they lay in could not be overwritten: %s",
                        k.name, error_meaning(r)->text);
    if (e.code) {
        ipc_fail_error(req, &e);
        return;
    }
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(req), "drive_keys_destroyed", "drive=%s", k.id, "name=%s", k.name,
              "loss=%s", LOSS);
    destroyed.said = (char *)(uintptr_t)LOSS;
    ipc_reply(req, &reply, NULL, 0);
}
