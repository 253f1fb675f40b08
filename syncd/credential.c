/* Sealing and unsealing of account keys, by way of cryptd. The plain text is a packed CloudAccount
 * with the two keys only; its purpose is "account:<id>". */
#include "syncd/credential.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/log.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

enum { CRYPTD_DEADLINE_MS = 20000, PURPOSE_SIZE = 64 };

void credential_wipe_text(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
}

void credential_wipe(struct credential *c)
{
    credential_wipe_text(c->access_key);
    credential_wipe_text(c->secret_key);
    free(c->access_key);
    free(c->secret_key);
    *c = (struct credential){ 0 };
}

static void purpose(char out[PURPOSE_SIZE], const char *account_id)
{
    snprintf(out, PURPOSE_SIZE, "account:%s", account_id);
}

/* --- keys that are not stored ----------------------------------------------------------------- */

static void draft_get(void *arg, const char *account_id,
                      void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg), void *give_arg)
{
    const struct credential *c = arg;
    struct cloud_secret secret = { c->access_key, c->secret_key };
    struct error e = { 0 };

    (void)account_id;
    if (c->access_key && c->secret_key) {
        give(NULL, &secret, give_arg);
        return;
    }
    error_set(&e, -ENOKEY, "The account has no keys.");
    give(&e, NULL, give_arg);
}

struct cloud_keyring credential_draft(const struct credential *c)
{
    return (struct cloud_keyring){ draft_get, (void *)c };
}

/* --- unsealing -------------------------------------------------------------------------------- */

struct unseal {
    void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg);
    void *give_arg;
};

static void give_error(const struct unseal *u, int code, const char *text)
{
    struct error e = { 0 };

    error_set(&e, code, "%s", text);
    u->give(&e, NULL, u->give_arg);
}

static void give_keys(const struct unseal *u, const ProtobufCBinaryData *plain)
{
    Lf__CloudAccount *keys = lf__cloud_account__unpack(NULL, plain->len, plain->data);

    if (keys && keys->access_key && keys->secret_key)
        u->give(NULL, &(struct cloud_secret){ keys->access_key, keys->secret_key }, u->give_arg);
    else
        give_error(u, -EUCLEAN, "The stored keys of the account cannot be read; delete the account and add it again.");
    if (!keys)
        return;
    credential_wipe_text(keys->access_key);
    credential_wipe_text(keys->secret_key);
    lf__cloud_account__free_unpacked(keys, NULL);
}

static ipc_answer_fn unseal_done;

static void unseal(struct syncd *d, const char *account_id, void *sealed, size_t n, struct unseal *u)
{
    char why[PURPOSE_SIZE];
    Lf__Unseal ask = LF__UNSEAL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(UNSEAL, unseal, &ask);

    purpose(why, account_id);
    ask.purpose = why;
    ask.sealed = (ProtobufCBinaryData){ n, sealed };
    ipc_call(d->cryptd, &env, NULL, 0, CRYPTD_DEADLINE_MS, unseal_done, u);
}

static void unseal_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct unseal *u = arg;

    (void)fds;
    if (e) {
        u->give(e, NULL, u->give_arg);
        return;
    }
    give_keys(u, &reply->unsealed->plain);
    explicit_bzero(reply->unsealed->plain.data, reply->unsealed->plain.len);
}

static void keyring_get(void *arg, const char *account_id,
                        void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg),
                        void *give_arg)
{
    struct syncd *d = arg;
    struct unseal u = { give, give_arg }, *kept;
    CLEANUP_FREE void *sealed = NULL;
    size_t n = 0;
    int r = store_account_sealed(d->store, account_id, &sealed, &n);

    if (r < 0) {
        give_error(&u, r, "");
        return;
    }
    if (!sealed) {
        give_error(&u, -ENOKEY, "The account has no keys.");
        return;
    }
    kept = xcalloc(1, sizeof(*kept));
    *kept = u;
    unseal(d, account_id, sealed, n, kept);
}

static void sealed_get(void *arg, const char *account_id,
                       void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg),
                       void *give_arg)
{
    const struct credential_sealed *sealed = arg;
    struct unseal u = { give, give_arg }, *kept;

    if (!sealed->data) {
        give_error(&u, -ENOKEY, "The account has no keys.");
        return;
    }
    kept = xcalloc(1, sizeof(*kept));
    *kept = u;
    unseal(sealed->d, account_id, sealed->data, sealed->n, kept);
}

struct cloud_keyring credential_keyring_sealed(struct credential_sealed *sealed)
{
    return (struct cloud_keyring){ sealed_get, sealed };
}

/* Whether cryptd can open what is stored: asks for the keys of some account that has any. */
static void check(struct syncd *d, void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg),
                  void *give_arg)
{
    CLEANUP_FREE char *id = NULL;
    int r = store_account_with_keys(d->store, &id);
    const struct unseal u = { give, give_arg };

    if (r == 0)
        keyring_get(d, id, give, give_arg);
    else if (r == -ENOENT)
        give(NULL, NULL, give_arg);
    else
        give_error(&u, r, "");
}

struct cloud_keyring credential_keyring(struct syncd *d)
{
    return (struct cloud_keyring){ keyring_get, d };
}

/* --- sealing ---------------------------------------------------------------------------------- */

struct seal {
    struct syncd *d;
    const char *account_id;
    const struct credential *keys;
    void (*done)(const struct error *e, const void *sealed, size_t n, void *arg);
    void *arg;
};

static ipc_answer_fn seal_done;

static void seal(struct seal *s)
{
    char why[PURPOSE_SIZE];
    Lf__CloudAccount keys = LF__CLOUD_ACCOUNT__INIT;
    Lf__Seal ask = LF__SEAL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(SEAL, seal, &ask);
    size_t size;
    uint8_t *plain;

    keys.access_key = s->keys->access_key;
    keys.secret_key = s->keys->secret_key;
    size = lf__cloud_account__get_packed_size(&keys);
    plain = xcalloc(1, size + 1);
    lf__cloud_account__pack(&keys, plain);
    purpose(why, s->account_id);
    ask.purpose = why;
    ask.plain = (ProtobufCBinaryData){ size, plain };
    ipc_call(s->d->cryptd, &env, NULL, 0, CRYPTD_DEADLINE_MS, seal_done, s);
    explicit_bzero(plain, size);
    free(plain);
}

static void seal_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct seal *s = arg;

    (void)fds;
    if (e)
        s->done(e, NULL, 0, s->arg);
    else
        s->done(NULL, reply->sealed->sealed.data, reply->sealed->sealed.len, s->arg);
}

/* One account that does not open for damage is no reason to seal no other. */
static void checked(const struct error *e, const struct cloud_secret *secret, void *arg)
{
    struct seal *s = arg;

    (void)secret;
    if (!e || e->code == -EUCLEAN) {
        seal(s);
        return;
    }
    s->done(e, NULL, 0, s->arg);
    free(s);
}

void credential_seal(struct syncd *d, const char *account_id, const struct credential *c,
                     void (*done)(const struct error *e, const void *sealed, size_t n, void *arg), void *arg)
{
    struct seal *s = xcalloc(1, sizeof(*s));

    *s = (struct seal){ d, account_id, c, done, arg };
    check(d, checked, s);
}

struct store_check {
    void (*done)(const struct error *e, void *arg);
    void *arg;
};

static void store_checked(const struct error *e, const struct cloud_secret *secret, void *arg)
{
    CLEANUP_FREE struct store_check *c = arg;

    (void)secret;
    c->done(e && e->code != -EUCLEAN ? e : NULL, c->arg);
}

void credential_check_store(struct syncd *d, void (*done)(const struct error *e, void *arg), void *arg)
{
    struct store_check *c = xcalloc(1, sizeof(*c));

    *c = (struct store_check){ done, arg };
    check(d, store_checked, c);
}

static void log_check(const struct error *e, const struct cloud_secret *secret, void *arg)
{
    (void)secret;
    (void)arg;
    if (e && e->code == -ENOKEY)
        LOG(LOG_CRIT, "keys_do_not_open", "reason=%s", error_text(e));
}

void credential_check(struct syncd *d)
{
    check(d, log_check, NULL);
}
