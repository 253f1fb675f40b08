/* Drives with keys, in a whole syncd with a real cryptd, which is a process of its own so that it can be killed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/store.h"
#include "tests/unit/cryptd_process.h"
#include "tests/unit/fake_volume.h"
#include "tests/unit/files.h"
#include "tests/unit/syncd_fixture.h"

/* --- cryptd ------------------------------------------------------------------------------------- */

static pid_t cryptd;

/* In the place of the one that turns bits. */
static void start_cryptd(struct fixture *f, const char *key)
{
    ipc_server_free(f->cryptd);
    f->cryptd = NULL;
    cryptd = cryptd_process_start(f->cryptd_socket, key);
}

static void kill_cryptd(void)
{
    cryptd_process_kill(cryptd);
    cryptd = 0;
}

static int set_up(void **state)
{
    struct fixture *f;

    (void)fixture_set_up(state);
    f = *state;
    start_cryptd(f, CRYPTD_OURS);
    return 0;
}

static int tear_down(void **state)
{
    kill_cryptd();
    return fixture_tear_down(state);
}

static void restart_cryptd(struct fixture *f, const char *key)
{
    kill_cryptd();
    start_cryptd(f, key);
}

/* --- drives --------------------------------------------------------------------------------------- */

static struct answer insert(struct fixture *f, const char *name)
{
    CLEANUP_FREE char *account = f->syncd->accounts || f->syncd->drives ? NULL : fixture_account(f);
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive drive = LF__CLOUD_DRIVE__INIT;

    ref.id = account ? account : f->syncd->drives->model->account->id;
    drive.account = &ref;
    drive.name = (char *)(uintptr_t)name;
    drive.storage_name = (char *)(uintptr_t)"bucket";
    drive.has_local_cache_encrypted = drive.local_cache_encrypted = true;
    return fixture_insert(f, &drive);
}

static struct drive *made(struct fixture *f, const char *name)
{
    struct answer a = insert(f, name);
    struct drive *drive;

    if (a.e.code)
        fail_msg("%s", a.e.text);
    drive = drive_by_name(f->syncd, name);
    answer_free(&a);
    assert_non_null(drive->keys);
    return drive;
}

static struct drive *the(struct fixture *f)
{
    return f->syncd->drives;
}

static const char *trouble(struct fixture *f)
{
    static char text[ERROR_TEXT_MAX];
    struct drive_shown shown;

    drive_shown(the(f), &shown);
    (void)snprintf(text, sizeof(text), "%s", shown.model.mount_error ? shown.model.mount_error : "");
    drive_shown_end(&shown);
    return text;
}

static struct store_keys stored(struct fixture *f)
{
    struct store_keys s;

    assert_int_equal(store_keys_get(f->syncd->store, the(f)->model->id, &s), 0);
    return s;
}

/* --- asking ---------------------------------------------------------------------------------------- */

struct heard {
    unsigned times;
    int code;
    char text[ERROR_TEXT_MAX];
    uint8_t key[CRYPT_KEY];
    uint32_t epoch;
};

static void on_cache_key(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct heard *h = arg;

    (void)fds;
    h->times++;
    h->code = e ? e->code : 0;
    (void)snprintf(h->text, sizeof(h->text), "%s", e ? error_text(e) : "");
    if (!reply)
        return;
    memcpy(h->key, reply->cache_key->key.data, CRYPT_KEY);
    h->epoch = reply->cache_key->epoch;
}

static void begin_cache_key(struct drive *drive, struct heard *h)
{
    Lf__CacheKeyMake make = LF__CACHE_KEY_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CACHE_KEY_MAKE, cache_key_make, &make);

    *h = (struct heard){ 0 };
    keys_ask(drive->keys, &env, on_cache_key, h);
}

static struct heard cache_key(struct fixture *f, struct drive *drive)
{
    struct heard h;

    begin_cache_key(drive, &h);
    assert_int_equal(h.times, 0);
    wait_until(f, h.times == 1);
    return h;
}

static void on_changed(const struct error *e, void *arg)
{
    struct heard *h = arg;

    h->times++;
    h->code = e ? e->code : 0;
    (void)snprintf(h->text, sizeof(h->text), "%s", e ? error_text(e) : "");
}

static struct heard change(struct fixture *f, const struct keys_change *c)
{
    struct heard h = { 0 };

    keys_change(the(f)->keys, c, on_changed, &h);
    wait_until(f, h.times == 1);
    return h;
}

static void rotate(struct fixture *f)
{
    assert_int_equal(change(f, &(struct keys_change){ .rotate = true }).code, 0);
}

/* --- tests: making and opening ----------------------------------------------------------------------- */

static void keys_are_made_with_the_drive(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    const struct keys_facts *facts = keys_facts(drive->keys);
    struct store_keys s = stored(f);

    assert_int_equal(s.serial, 1);
    assert_int_equal(s.n, 156);
    assert_memory_equal(s.blob, "LNDFDRVK", 8);
    assert_ptr_equal(fake_volume(drive->model->id)->spec.keys, drive->keys);
    assert_int_equal(facts->serial, 1);
    assert_int_equal(facts->n_epochs, 1);
    assert_memory_equal(facts->recipient, "age1", 4);
    assert_int_equal(facts->n_escrow, 0);
    assert_int_equal(cache_key(f, drive).epoch, 1);
    assert_true(fixture_is_mounted(f, drive->model->id));
    free(s.blob);
}

static void a_drive_without_has_none(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "plain");
    struct store_keys s;

    assert_null(drive_find(f->syncd, id)->keys);
    assert_int_equal(store_keys_get(f->syncd->store, id, &s), -ENOENT);
}

static void with_another_key_store_no_drive_is_made(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);

    free(fixture_drive(f, account, "plain"));
    (void)made(f, "first");
    restart_cryptd(f, CRYPTD_OTHER);
    wait_until(f, drive_keys_state(drive_by_name(f->syncd, "first"), NULL) == -ENOKEY);
    expect_error(insert(f, "second"), -ENOKEY, "another key store");
    assert_null(drive_by_name(f->syncd, "second"));
}

/* --- tests: restarts --------------------------------------------------------------------------------- */

static void cryptd_is_killed_and_nobody_sees_it(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct heard h[8];

    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(h); i++)
            begin_cache_key(drive, &h[i]);
        restart_cryptd(f, CRYPTD_OURS);
        for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
            wait_until(f, h[i].times == 1);
            assert_int_equal(h[i].code, 0);
        }
    }
}

static void on_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)reply;
    (void)fds;
    assert_null(e);
    ++*(unsigned *)arg;
}

/* cryptd does not know it any more, though nobody has seen a restart. */
static void a_handle_that_is_not_known_is_had_anew(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    Lf__DriveKeysClose msg = LF__DRIVE_KEYS_CLOSE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_CLOSE, drive_keys_close, &msg);
    unsigned closed = 0;

    keys_ask(drive->keys, &env, on_done, &closed);
    wait_until(f, closed == 1);
    assert_int_equal(cache_key(f, drive).code, 0);
}

static void syncd_is_restarted(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    CLEANUP_FREE char *id = xstrdup(drive->model->id), *recipient = xstrdup(keys_facts(drive->keys)->recipient);

    kill_cryptd();
    fixture_restart(f);
    assert_null(the(f)->volume);
    assert_non_null(strstr(trouble(f), "being opened"));
    assert_true(fixture_is_mounted(f, id));   /* it was before; programs wait */
    start_cryptd(f, CRYPTD_OURS);
    wait_until(f, the(f)->volume);
    assert_string_equal(keys_facts(the(f)->keys)->recipient, recipient);
    assert_string_equal(trouble(f), "");
    wait_until(f, fixture_is_mounted(f, id));
}

/* The queue to cryptd has an end, which nobody sees either. */
static void more_is_asked_than_goes_at_once(void **state)
{
    enum { ASKED = 3000 };
    static struct heard h[ASKED];
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");

    assert_true(f->config->ipc_queue_length < ASKED);
    for (size_t i = 0; i < ASKED; i++)
        begin_cache_key(drive, &h[i]);
    for (size_t i = 0; i < ASKED; i++) {
        wait_until(f, h[i].times == 1);
        assert_int_equal(h[i].code, 0);
    }
}

/* --- tests: what cannot be opened --------------------------------------------------------------------- */

static void expect_down(struct fixture *f, const char *part)
{
    struct heard h;

    fixture_restart(f);
    wait_until(f, drive_keys_state(the(f), NULL) != -EAGAIN);
    assert_null(the(f)->volume);
    if (!strstr(trouble(f), part))
        fail_msg("expected \"%s\", got \"%s\"", part, trouble(f));
    h = cache_key(f, the(f));
    assert_int_equal(h.code, -ENOKEY);
    if (!strstr(h.text, part))
        fail_msg("expected \"%s\", got \"%s\"", part, h.text);
    wait_until(f, !fixture_is_mounted(f, the(f)->model->id));
}

static void another_key_store(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct store_keys before = stored(f), after;

    (void)drive;
    restart_cryptd(f, CRYPTD_OTHER);
    expect_down(f, "sealed with another key store");
    after = stored(f);
    assert_int_equal(after.n, before.n);
    assert_memory_equal(after.blob, before.blob, before.n);
    restart_cryptd(f, CRYPTD_OURS);
    wait_until(f, the(f)->volume);   /* by itself */
    assert_int_equal(cache_key(f, the(f)).code, 0);
    wait_until(f, fixture_is_mounted(f, the(f)->model->id));
    free(before.blob);
    free(after.blob);
}

/* One that runs goes on, so that its mount and its unsent changes stay. */
static void another_key_store_while_it_runs(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");

    restart_cryptd(f, CRYPTD_OTHER);
    wait_until(f, drive_keys_state(drive, NULL) == -ENOKEY);
    assert_non_null(drive->volume);
    assert_int_equal(cache_key(f, drive).code, -ENOKEY);
    assert_non_null(strstr(trouble(f), "another key store"));
    restart_cryptd(f, CRYPTD_OURS);
    assert_int_equal(fake_volume(drive->model->id)->keys_back, 0);
    wait_until(f, drive_keys_state(drive, NULL) == 0);
    assert_int_equal(cache_key(f, drive).code, 0);
    assert_string_equal(trouble(f), "");
    assert_int_equal(fake_volume(drive->model->id)->keys_back, 1);
}

static void damaged_keys(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct store_keys s = stored(f);

    ((uint8_t *)s.blob)[80] ^= 1;
    assert_int_equal(store_keys_put(f->syncd->store, drive->model->id, s.blob, s.n, s.serial), 0);
    expect_down(f, "damaged");
    free(s.blob);
}

static void older_keys(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct store_keys s = stored(f);

    rotate(f);
    assert_int_equal(store_keys_put(f->syncd->store, drive->model->id, s.blob, s.n, 2), 0);
    expect_down(f, "an old copy was put back");
    free(s.blob);
}

static void keys_of_another_drive(void **state)
{
    struct fixture *f = *state;
    struct drive *first = made(f, "a"), *second = made(f, "b");
    struct store_keys s;

    assert_int_equal(store_keys_get(f->syncd->store, second->model->id, &s), 0);
    assert_int_equal(store_keys_put(f->syncd->store, first->model->id, s.blob, s.n, 1), 0);
    keys_reopen(first->keys);
    wait_until(f, drive_keys_state(first, NULL) == -EPERM);
    assert_int_equal(cache_key(f, second).code, 0);
    free(s.blob);
}

static void destroyed_keys(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct store_keys s;

    assert_true(store_keys_kept(f->syncd->store, drive->model->id));
    assert_int_equal(store_keys_destroy(f->syncd->store, drive->model->id), 0);
    assert_false(store_keys_kept(f->syncd->store, drive->model->id));
    expect_down(f, "were destroyed on 2");
    s = stored(f);
    assert_null(s.blob);
}

/* Nothing of a blob that was replaced or destroyed is left in the database or its log. */
static void what_goes_is_overwritten(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct store_keys first = stored(f), second;

    rotate(f);
    second = stored(f);
    assert_false(fixture_has_blob(f, &first));
    assert_true(fixture_has_blob(f, &second));
    assert_int_equal(store_keys_replace(f->syncd->store, drive->model->id, first.blob, first.n, 1), 0);
    assert_true(fixture_has_blob(f, &second));   /* beside them */
    assert_int_equal(store_keys_destroy(f->syncd->store, drive->model->id), 0);
    assert_false(fixture_has_blob(f, &first));
    assert_false(fixture_has_blob(f, &second));
    free(first.blob);
    free(second.blob);
}

static void a_drive_that_goes_takes_its_keys_along(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct store_keys s = stored(f);
    Lf__DriveDelete msg = LF__DRIVE_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_DELETE, drive_delete, &msg);
    struct answer a;

    assert_true(fixture_has_blob(f, &s));
    msg.id = drive->model->id;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    assert_false(fixture_has_blob(f, &s));
    answer_free(&a);
    free(s.blob);
}

/* --- tests: changing ----------------------------------------------------------------------------------- */

static void keys_are_rotated(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    const struct keys_facts *facts = keys_facts(drive->keys);
    CLEANUP_FREE char *recipient = xstrdup(facts->recipient);
    struct store_keys s;

    rotate(f);
    assert_int_equal(facts->n_epochs, 2);
    assert_int_equal(facts->epochs[1], 2);
    assert_int_equal(facts->serial, 2);
    assert_string_equal(facts->recipient, recipient);
    assert_int_equal(cache_key(f, drive).epoch, 2);
    assert_int_equal(change(f, &(struct keys_change){ .rotate = true, .new_identity = true }).code, 0);
    assert_string_not_equal(facts->recipient, recipient);
    assert_int_equal(change(f, &(struct keys_change){ .forget = 1 }).code, 0);
    assert_int_equal(facts->n_epochs, 2);
    assert_int_equal(change(f, &(struct keys_change){ .forget = 1 }).code, -ENOENT);
    s = stored(f);
    assert_int_equal(s.serial, 4);
    restart_cryptd(f, CRYPTD_OURS);
    assert_int_equal(cache_key(f, drive).epoch, 3);
    free(s.blob);
}

static void an_identity_is_imported(void **state)
{
    static const char ONE[] = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    const struct keys_facts *facts = keys_facts(drive->keys);
    struct heard h;

    assert_int_equal(change(f, &(struct keys_change){ .rotate = true, .identity = ONE }).code, 0);
    assert_string_equal(facts->recipient, "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj");
    assert_int_equal(change(f, &(struct keys_change){ .rotate = true, .identity = ONE }).code, -EEXIST);
    h = change(f, &(struct keys_change){ .rotate = true, .identity = "AGE-SECRET-KEY-1GQ" });
    assert_int_equal(h.code, -EINVAL);
    assert_non_null(strstr(h.text, "no identity"));
    assert_int_equal(facts->serial, 2);
}

static void escrow_recipients_are_set(void **state)
{
    static const char *const TWO[] = { "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
                                       "age10rn5p4z8fkcmyk9ku59vxgfd7a62u7x2wk4fjecy7ds8rwhklqlsx0n509" };
    static const char *const BAD[] = { "age1bad" };
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    const struct keys_facts *facts = keys_facts(drive->keys);
    struct heard h;

    assert_int_equal(change(f, &(struct keys_change){ .set_escrow = true, .escrow = TWO, .n_escrow = 2 }).code, 0);
    assert_int_equal(facts->n_escrow, 2);
    assert_string_equal(facts->escrow[1], TWO[1]);
    h = change(f, &(struct keys_change){ .set_escrow = true, .escrow = BAD, .n_escrow = 1 });
    assert_int_equal(h.code, -EINVAL);
    assert_int_equal(facts->n_escrow, 2);
    assert_int_equal(change(f, &(struct keys_change){ .set_escrow = true }).code, 0);
    assert_int_equal(facts->n_escrow, 0);
}

static void one_change_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct heard first = { 0 }, second = { 0 };
    struct store_keys s;

    keys_change(drive->keys, &(struct keys_change){ .rotate = true }, on_changed, &first);
    keys_change(drive->keys, &(struct keys_change){ .rotate = true }, on_changed, &second);
    assert_int_equal(second.code, -EBUSY);
    restart_cryptd(f, CRYPTD_OURS);   /* in the midst of it */
    wait_until(f, first.times == 1);
    assert_int_equal(first.code, 0);
    wait_until(f, keys_facts(drive->keys)->n_epochs == 2);
    s = stored(f);
    assert_int_equal(s.serial, 2);
    free(s.blob);
}

/* --- tests: lending ------------------------------------------------------------------------------------ */

struct worker {
    struct ipc_client *syncd, *cryptd;
    struct crypt *crypt;
    unsigned channels;
};

static void on_event(const Lf__Envelope *env, int *fds, void *arg)
{
    struct worker *w = arg;

    assert_int_equal(env->body_case, LF__ENVELOPE__BODY_FS_CRYPTD);
    w->channels++;
    ipc_client_adopt(w->cryptd, take_fd(&fds[0]));
}

static void on_connected(void *arg)
{
    struct worker *w = arg;

    crypt_share(w->crypt, w->cryptd);
}

static void attach(struct fixture *f, struct worker *w)
{
    const struct ipc_client_spec syncd = { .role = ROLE_WORKER, .peer = ROLE_SYNCD, .max_queue = 8, .event = on_event,
                                           .arg = w };
    const struct ipc_client_spec to = { .role = ROLE_WORKER, .peer = ROLE_CRYPTD, .max_queue = 8,
                                        .connected = on_connected, .arg = w };
    Lf__WorkerAttach msg = LF__WORKER_ATTACH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_ATTACH, worker_attach, &msg);
    struct error e;
    struct answer a;

    *w = (struct worker){ 0 };
    assert_int_equal(crypt_new(f->loop, 1 << 20, 1 << 20, &w->crypt, &e), 0);
    w->cryptd = ipc_client_new(f->loop, &to);
    w->syncd = ipc_client_new(f->loop, &syncd);
    msg.drive_id = the(f)->model->id;
    a = fixture_ask_as_mountd(f, &env);
    assert_int_equal(a.e.code, 0);
    ipc_client_adopt(w->syncd, take_fd(&a.fd));
    answer_free(&a);
}

static void detach(struct worker *w)
{
    ipc_client_free(w->syncd);
    ipc_client_free(w->cryptd);
    crypt_free(w->crypt);
}

static void worker_ask(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    struct worker *w = arg;

    (void)ipc_call(w->cryptd, request, NULL, 0, 0, done, done_arg);
}

static void on_sealed(const struct error *e, void *arg)
{
    struct heard *h = arg;

    h->times++;
    h->code = e->code;
}

static void ready(void *arg)
{
    (void)arg;
}

/* Seals a chunk by way of the asker and says what came of it. */
static void begin_sealing(struct crypt *c, struct crypt_asker asker, const uint8_t *key, struct crypt_place *place,
                          struct crypt_chunk *chunk, struct heard *h)
{
    struct crypt_call call = { .asker = asker, .from = CRYPT_PLAIN, .to = CRYPT_CACHE, .to_key = key, .chunks = chunk,
                               .n = 1 };

    crypt_place(c, 2 * CRYPT_CHUNK, place, ready, NULL);
    assert_true(place->n > 0);
    memset(place->bytes, 'p', CRYPT_CHUNK);
    *chunk = (struct crypt_chunk){ .length = CRYPT_CHUNK, .in_at = place->at, .out_at = place->at + CRYPT_CHUNK,
                                   .generation = 1 };
    *h = (struct heard){ 0 };
    crypt_run(&call, on_sealed, h);
}

static void expect_seals(struct fixture *f, struct worker *w, const uint8_t *key)
{
    struct crypt_place place = { 0 };
    struct crypt_chunk chunk;
    struct heard h;

    begin_sealing(w->crypt, (struct crypt_asker){ worker_ask, w }, key, &place, &chunk, &h);
    wait_until(f, h.times == 1);
    assert_int_equal(h.code, 0);
    assert_int_equal(chunk.code, 0);
    assert_int_not_equal(memcmp(place.bytes, place.bytes + CRYPT_CHUNK, CRYPT_CHUNK), 0);
    crypt_place_end(w->crypt, &place);
}

static void a_worker_gets_a_channel_and_another_one(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct heard key = cache_key(f, drive);
    struct worker w;

    attach(f, &w);
    wait_until(f, w.channels == 1);
    expect_seals(f, &w, key.key);
    restart_cryptd(f, CRYPTD_OURS);
    expect_seals(f, &w, key.key);   /* waits for the next channel */
    wait_until(f, w.channels >= 2);
    rotate(f);                      /* the channel stays, with the new keys */
    key = cache_key(f, drive);
    assert_int_equal(key.epoch, 2);
    expect_seals(f, &w, key.key);
    detach(&w);
    wait_until(f, !drive->workers);
    restart_cryptd(f, CRYPTD_OURS);        /* nobody is left to lend to */
    assert_int_equal(cache_key(f, drive).code, 0);
}

static void a_worker_of_another_drive_opens_nothing(void **state)
{
    struct fixture *f = *state;
    struct drive *first = made(f, "a"), *other;
    struct crypt_place place = { 0 };
    struct crypt_chunk chunk;
    struct heard key, h;
    struct worker w;

    (void)made(f, "b");
    other = the(f) == first ? first->next : the(f);
    other = other == the(f) ? the(f)->next : other;
    key = cache_key(f, other);
    attach(f, &w);                  /* to the first of the list */
    begin_sealing(w.crypt, (struct crypt_asker){ worker_ask, &w }, key.key, &place, &chunk, &h);
    wait_until(f, h.times == 1);
    assert_int_equal(h.code, -EUCLEAN);
    crypt_place_end(w.crypt, &place);
    detach(&w);
}

/* --- tests: the end -------------------------------------------------------------------------------------- */

static void who_waits_hears_that_the_drive_is_closed(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct heard waiting, late, asked;

    begin_cache_key(drive, &asked);
    kill_cryptd();
    begin_cache_key(drive, &waiting);
    keys_stop(drive->keys);
    assert_int_equal(waiting.times, 1);
    assert_int_equal(waiting.code, -ECANCELED);
    assert_int_equal(asked.code, -ECANCELED);
    begin_cache_key(drive, &late);
    assert_int_equal(late.times, 1);
    assert_int_equal(late.code, -ECANCELED);
    start_cryptd(f, CRYPTD_OURS);
}

/* What cryptd may still write to is nobody else's. */
static void memory_of_a_call_is_kept_until_its_answer(void **state)
{
    struct fixture *f = *state;
    struct drive *drive = made(f, "secret");
    struct heard key = cache_key(f, drive), h;
    struct crypt *crypt = keys_crypt(drive->keys);
    struct crypt_place place = { 0 }, next = { 0 }, after = { 0 };
    struct crypt_chunk chunk;
    uint64_t at;

    (void)kill(cryptd, SIGSTOP);
    begin_sealing(crypt, keys_asker(drive->keys), key.key, &place, &chunk, &h);
    at = place.at;
    keys_stop(drive->keys);
    assert_int_equal(h.code, -ECANCELED);
    crypt_place_end(crypt, &place);
    crypt_place(crypt, 2 * CRYPT_CHUNK, &next, ready, NULL);
    assert_int_not_equal(next.at, at);
    (void)kill(cryptd, SIGCONT);
    for (bool free_again = false; !free_again; free_again = after.at == at) {
        fixture_turn(f);
        crypt_place_end(crypt, &after);
        crypt_place(crypt, 2 * CRYPT_CHUNK, &after, ready, NULL);
    }
    crypt_place_end(crypt, &next);
    crypt_place_end(crypt, &after);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(keys_are_made_with_the_drive),
        TEST(a_drive_without_has_none),
        TEST(with_another_key_store_no_drive_is_made),
        TEST(cryptd_is_killed_and_nobody_sees_it),
        TEST(a_handle_that_is_not_known_is_had_anew),
        TEST(syncd_is_restarted),
        TEST(another_key_store),
        TEST(another_key_store_while_it_runs),
        TEST(damaged_keys),
        TEST(older_keys),
        TEST(keys_of_another_drive),
        TEST(destroyed_keys),
        TEST(what_goes_is_overwritten),
        TEST(a_drive_that_goes_takes_its_keys_along),
        TEST(more_is_asked_than_goes_at_once),
        TEST(keys_are_rotated),
        TEST(an_identity_is_imported),
        TEST(escrow_recipients_are_set),
        TEST(one_change_at_a_time),
        TEST(a_worker_gets_a_channel_and_another_one),
        TEST(a_worker_of_another_drive_opens_nothing),
        TEST(who_waits_hears_that_the_drive_is_closed),
        TEST(memory_of_a_call_is_kept_until_its_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
