/* Owns a drive's handle at cryptd and what is asked with it. Must not know what is asked, or what the keys are for.
 *
 * A handle is as good as the connection it was given on. So the keys are opened anew with each connection, and what
 * was asked with a handle of before is asked again with the new one. */
#include "syncd/keys_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"

enum {
    HANDLE_TRIES = 3,             /* cryptd says that it does not know a handle which it has given just now */
    AGAIN_MS = 1000,              /* after a failure that passes */
    BUSY_MS = 10,                 /* until calls that did not go are sent once more */
};

struct asking {
    TAILQ_ENTRY(asking) next;
    struct keys *keys;            /* NULL: stopped, and `crypt` is held until there is an answer */
    struct crypt *crypt;
    Lf__Envelope *request;        /* owned */
    uint64_t call, handle;        /* under way, and with which; 0: it waits */
    unsigned tries;
    ipc_answer_fn *done;
    void *arg;
};

static void open_keys(struct keys *k);

static bool passes(int code)
{
    return code == -EAGAIN || code == -EMFILE || code == -ENOMEM;
}

/* --- asking -------------------------------------------------------------------------------------- */

/* An identity that is imported is the one secret that goes this way. */
static void free_request(Lf__Envelope *request)
{
    if (request->body_case == LF__ENVELOPE__BODY_DRIVE_KEYS_CHANGE && request->drive_keys_change->identity)
        explicit_bzero(request->drive_keys_change->identity, strlen(request->drive_keys_change->identity));
    lf__envelope__free_unpacked(request, NULL);
}

/* The body's field of that name: all members of the oneof have one place. */
static void set_handle(Lf__Envelope *request, uint64_t handle)
{
    ProtobufCMessage *body = &request->hello->base;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(body->descriptor, "handle");

    if (!f)
        abort();
    memcpy((char *)body + f->offset, &handle, sizeof(handle));
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL)
        *(protobuf_c_boolean *)((char *)body + f->quantifier_offset) = true;
}

static void asking_free(struct asking *a)
{
    free_request(a->request);
    free(a);
}

static void finish(struct asking *a, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    TAILQ_REMOVE(&a->keys->askings, a, next);
    a->done(e, reply, fds, a->arg);
    asking_free(a);
}

static ipc_answer_fn answered;

static void send_now(struct asking *a)
{
    a->handle = a->keys->handle;
    set_handle(a->request, a->handle);
    a->call = ipc_call(a->keys->spec.cryptd, a->request, NULL, 0, 0, answered, a);
}

static void send_waiting(struct keys *k)
{
    struct asking *a;

    TAILQ_FOREACH(a, &k->askings, next)
        if (!a->call)
            send_now(a);
}

static void send_again(void *arg)
{
    struct keys *k = arg;

    loop_timer_free(take_ptr(k->again));
    send_waiting(k);
}

/* Whatever it is of the keys, it is nothing that the object or file is to blame for which they are needed. */
static struct error shut_error(const struct keys *k)
{
    struct error e;

    (void)error_set(&e, -ENOKEY, "%s", error_text(&k->error));
    return e;
}

static void finish_shut(struct asking *a)
{
    const struct error e = shut_error(a->keys);

    finish(a, &e, NULL, NULL);
}

/* Whether it is to be asked once more, with another handle. */
static bool wants_another(struct asking *a, const struct error *e)
{
    if (e->code == -ECONNRESET)
        return true;
    if (e->code != -ENOENT)
        return false;
    return a->handle != a->keys->handle || a->tries++ < HANDLE_TRIES;
}

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct asking *a = arg;
    struct keys *k = a->keys;

    if (!k) {
        crypt_release(a->crypt);
        asking_free(a);
        return;
    }
    a->call = 0;
    if (e && e->code == -EAGAIN && k->phase == KEYS_OPEN) {   /* too much at once */
        if (!k->again)
            k->again = loop_timer(k->spec.loop, BUSY_MS, send_again, k);
        return;
    }
    if (!e || !wants_another(a, e)) {
        finish(a, e, reply, fds);
        return;
    }
    keys_lose_handle(k, a->handle);
    if (k->phase == KEYS_OPEN)
        send_now(a);
    else if (k->phase == KEYS_SHUT)
        finish_shut(a);
}

static void tell_shut(void *arg);

static void tell_shut_soon(struct keys *k)
{
    if (!k->again)
        k->again = loop_timer(k->spec.loop, 0, tell_shut, k);
}

void keys_ask(struct keys *k, Lf__Envelope *request, ipc_answer_fn *done, void *arg)
{
    const struct error stopped = { .code = -ECANCELED, .text = "The drive was closed." };
    struct asking *a;

    if (k->phase == KEYS_STOPPED) {
        done(&stopped, NULL, NULL, arg);
        return;
    }
    a = xcalloc(1, sizeof(*a));
    *a = (struct asking){ .keys = k, .crypt = k->spec.crypt, .request = message_copy(&request->base), .done = done,
                          .arg = arg };
    TAILQ_INSERT_TAIL(&k->askings, a, next);
    if (k->phase == KEYS_OPEN)
        send_now(a);
    else if (k->phase == KEYS_SHUT)
        tell_shut_soon(k);
}

static void asker_ask(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    keys_ask(arg, request, done, done_arg);
}

struct crypt_asker keys_asker(struct keys *k)
{
    return (struct crypt_asker){ asker_ask, k };
}

struct crypt *keys_crypt(struct keys *k)
{
    return k->spec.crypt;
}

/* --- what becomes of those who wait ---------------------------------------------------------------- */

static struct asking *first_waiting(struct keys *k)
{
    struct asking *a;

    TAILQ_FOREACH(a, &k->askings, next)
        if (!a->call)
            return a;
    return NULL;
}

/* Who hears it may ask again, which is told in a later turn. */
static void fail_waiting(struct keys *k)
{
    struct asking *last = TAILQ_LAST(&k->askings, askings), *a;

    while (k->phase == KEYS_SHUT && (a = first_waiting(k))) {
        bool end = a == last;

        finish_shut(a);
        if (end)
            break;
    }
    if (k->phase == KEYS_SHUT && first_waiting(k))
        tell_shut_soon(k);
}

static void tell_shut(void *arg)
{
    struct keys *k = arg;

    loop_timer_free(take_ptr(k->again));
    fail_waiting(k);
}

/* --- opening ----------------------------------------------------------------------------------------- */

static void open_again(void *arg)
{
    struct keys *k = arg;

    loop_timer_free(take_ptr(k->again));
    open_keys(k);
}

/* Calls opened() last: it may free the keys. */
static void shut(struct keys *k, const struct error *e)
{
    k->phase = KEYS_SHUT;
    k->handle = 0;
    k->error = *e;
    loop_timer_free(take_ptr(k->again));
    if (passes(e->code)) {
        k->phase = KEYS_OPENING;
        k->again = loop_timer(k->spec.loop, AGAIN_MS, open_again, k);
        return;
    }
    k->facts.is = (struct keys_facts){ 0 };
    fail_waiting(k);
    if (k->phase == KEYS_SHUT && k->spec.opened)
        k->spec.opened(&k->error, k->spec.arg);
}

void keys_take_facts(struct keys *k, const Lf__DriveKeysOpened *opened)
{
    struct keys_facts *f = &k->facts.is;

    k->handle = opened->handle;
    f->serial = opened->serial;
    f->n_epochs = opened->n_epochs < KEYS_EPOCHS_MAX ? opened->n_epochs : KEYS_EPOCHS_MAX;
    memcpy(k->facts.epochs, opened->epochs, f->n_epochs * sizeof(k->facts.epochs[0]));
    f->epochs = k->facts.epochs;
    (void)snprintf(k->facts.recipient, KEYS_RECIPIENT_SIZE, "%s", opened->recipient);
    f->recipient = k->facts.recipient;
    f->n_escrow = opened->n_escrow < KEYS_ESCROW_MAX ? opened->n_escrow : KEYS_ESCROW_MAX;
    for (size_t i = 0; i < f->n_escrow; i++) {
        (void)snprintf(k->facts.escrow[i], KEYS_RECIPIENT_SIZE, "%s", opened->escrow[i]);
        k->facts.escrow_list[i] = k->facts.escrow[i];
    }
    f->escrow = k->facts.escrow_list;
}

static void open_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct keys *k = arg;

    (void)fds;
    k->opening = 0;
    k->other_store = e && e->code == -ENOKEY;
    if (e) {
        shut(k, e);
        return;
    }
    keys_take_facts(k, reply->drive_keys_opened);
    k->phase = KEYS_OPEN;
    k->error = (struct error){ 0 };
    keys_lend_all(k);
    send_waiting(k);
    if (k->spec.opened)
        k->spec.opened(NULL, k->spec.arg);
}

static int read_stored(struct keys *k, struct store_keys *ret, struct error *e)
{
    char date[DATE_SIZE];
    int r = store_keys_get(k->spec.store, k->id, ret);

    if (r == -ENOENT)
        return error_set(e, -ENOKEY, "The keys of drive %s are missing from the state database. Put back a backup of "
                         "state.db, or import the drive's exported identity.", k->id);
    if (r < 0)
        return error_set(e, r, "The keys of drive %s could not be read: %s", k->id, error_meaning(r)->text);
    if (ret->blob)
        return 0;
    date_iso(ret->destroyed_ns, date);
    return error_set(e, -ENOKEY, "The keys of drive %s were destroyed on %s, by request: nobody can read its cache. "
                     "What is in the cloud can be read with the drive's exported identity, if there is a copy of it: "
                     "import it here, or use it with age.", k->id, date);
}

static void ask_open(struct keys *k, const struct store_keys *stored)
{
    Lf__DriveKeysOpen open = LF__DRIVE_KEYS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_OPEN, drive_keys_open, &open);

    open.drive_id = k->id;
    open.blob = (ProtobufCBinaryData){ stored->n, stored->blob };
    open.has_at_least = true;
    open.at_least = stored->serial;
    k->opening = ipc_call(k->spec.cryptd, &env, NULL, 0, 0, open_done, k);
}

static void shut_now(void *arg)
{
    struct keys *k = arg;
    const struct error e = k->error;

    loop_timer_free(take_ptr(k->again));
    shut(k, &e);
}

/* One at a time: an opening that was sent goes on over the next connection. */
static void open_keys(struct keys *k)
{
    struct store_keys stored = { 0 };

    if (k->opening)
        return;
    k->phase = KEYS_OPENING;
    k->handle = 0;
    k->other_store = false;
    loop_timer_free(take_ptr(k->again));
    if (read_stored(k, &stored, &k->error) == 0)
        ask_open(k, &stored);
    else
        k->again = loop_timer(k->spec.loop, 0, shut_now, k);
    free(stored.blob);
}

void keys_lose_handle(struct keys *k, uint64_t handle)
{
    if (k->phase == KEYS_OPEN && k->handle == handle)
        open_keys(k);
}

void keys_connected(struct keys *k)
{
    if (k->phase != KEYS_STOPPED)
        open_keys(k);
}

void keys_disconnected(struct keys *k)
{
    if (k->phase == KEYS_OPEN) {
        k->phase = KEYS_WAITING;
        k->handle = 0;
    }
}

void keys_reopen(struct keys *k)
{
    if (k->phase == KEYS_STOPPED)
        return;
    if (k->opening)
        ipc_cancel(k->spec.cryptd, k->opening);
    k->opening = 0;
    open_keys(k);
}

int keys_state(const struct keys *k, struct error *e)
{
    if (k->facts.is.recipient && k->phase != KEYS_SHUT)
        return 0;
    if (k->phase == KEYS_SHUT)
        return error_set(e, k->error.code, "%s", error_text(&k->error));
    return error_set(e, -EAGAIN, "%s", k->error.code ? error_text(&k->error) : "Its keys are being opened; cryptd has "
                     "not answered yet.");
}

bool keys_other_store(const struct keys *k)
{
    return k->phase == KEYS_SHUT && k->other_store;
}

const struct keys_facts *keys_facts(const struct keys *k)
{
    return k->facts.is.recipient ? &k->facts.is : NULL;
}

/* --- life ---------------------------------------------------------------------------------------------- */

struct keys *keys_new(const struct keys_spec *spec)
{
    struct keys *k = xcalloc(1, sizeof(*k));

    k->spec = *spec;
    k->id = xstrdup(spec->drive_id);
    TAILQ_INIT(&k->askings);
    LIST_INIT(&k->loans);
    open_keys(k);
    return k;
}

/* cryptd may be at work on memory of a call that nobody waits for any more. */
static void give_up(struct asking *a)
{
    const struct error e = { .code = -ECANCELED, .text = "The drive was closed." };
    struct keys *k = a->keys;
    bool works = a->call && a->request->body_case == LF__ENVELOPE__BODY_CRYPT;

    TAILQ_REMOVE(&k->askings, a, next);
    a->keys = NULL;
    if (works)
        crypt_hold(a->crypt);
    else if (a->call)
        ipc_cancel(k->spec.cryptd, a->call);
    a->done(&e, NULL, NULL, a->arg);
    if (!works)
        asking_free(a);
}

void keys_stop(struct keys *k)
{
    struct asking *a;

    k->phase = KEYS_STOPPED;
    loop_timer_free(take_ptr(k->again));
    if (k->opening)
        ipc_cancel(k->spec.cryptd, k->opening);
    k->opening = 0;
    keys_lend_end(k);
    while ((a = TAILQ_FIRST(&k->askings)))
        give_up(a);
    keys_change_end(k);
}

static void ignore(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    (void)arg;
}

static void close_handle(struct keys *k)
{
    Lf__DriveKeysClose msg = LF__DRIVE_KEYS_CLOSE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_CLOSE, drive_keys_close, &msg);

    msg.handle = k->handle;
    if (k->handle && ipc_client_connected(k->spec.cryptd))
        (void)ipc_call(k->spec.cryptd, &env, NULL, 0, 0, ignore, NULL);
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    keys_stop(k);
    close_handle(k);
    free(k->id);
    free(k);
}
