/* Keys that outlive their drive, in a whole syncd with a real cryptd: kept, shown, exported, destroyed, inherited. */
#include <errno.h>
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

static pid_t cryptd;

static void restart_cryptd(struct fixture *f, const char *key)
{
    cryptd_process_kill(cryptd);
    cryptd = cryptd_process_start(f->cryptd_socket, key);
}

static int set_up(void **state)
{
    struct fixture *f;

    (void)fixture_set_up(state);
    f = *state;
    ipc_server_free(f->cryptd);
    f->cryptd = NULL;
    cryptd = cryptd_process_start(f->cryptd_socket, CRYPTD_OURS);
    return 0;
}

static int tear_down(void **state)
{
    cryptd_process_kill(cryptd);
    cryptd = 0;
    return fixture_tear_down(state);
}

/* --- drives ------------------------------------------------------------------------------------------- */

struct shape {
    const char *name, *prefix;
    bool cache, objects;
};

static const struct shape OBJECTS = { "docs", "", false, true };

static struct answer insert(struct fixture *f, const char *account, const struct shape *s)
{
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive drive = LF__CLOUD_DRIVE__INIT;

    ref.id = (char *)(uintptr_t)account;
    drive.account = &ref;
    drive.name = (char *)(uintptr_t)s->name;
    drive.storage_name = (char *)(uintptr_t)"bucket";
    drive.prefix = (char *)(uintptr_t)s->prefix;
    drive.has_local_cache_encrypted = drive.has_cloud_objects_encrypted = true;
    drive.local_cache_encrypted = s->cache;
    drive.cloud_objects_encrypted = s->objects;
    return fixture_insert(f, &drive);
}

static struct drive *made(struct fixture *f, const char *account, const struct shape *s)
{
    struct answer a = insert(f, account, s);

    if (a.e.code)
        fail_msg("%s", a.e.text);
    answer_free(&a);
    return drive_by_name(f->syncd, s->name);
}

static const char *recipient(const struct drive *drive)
{
    return keys_facts(drive->keys)->recipient;
}

/* Its id is the caller's to free. */
static char *removed(struct fixture *f, const struct drive *drive)
{
    char *id = xstrdup(drive->model->id);
    Lf__DriveDelete msg = LF__DRIVE_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_DELETE, drive_delete, &msg);
    struct answer a;

    msg.id = id;
    msg.has_force = msg.force = true;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_null(drive_find(f->syncd, id));
    return id;
}

static void change(struct fixture *f, struct drive *drive, bool new_identity)
{
    Lf__KeysRotate msg = LF__KEYS_ROTATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_ROTATE, keys_rotate, &msg);
    struct answer a;

    msg.id = drive->model->id;
    msg.has_new_identity = true;
    msg.new_identity = new_identity;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
}

/* --- asking --------------------------------------------------------------------------------------------- */

static struct answer get(struct fixture *f, const char *id)
{
    Lf__KeysGet msg = LF__KEYS_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_GET, keys_get, &msg);

    msg.id = (char *)(uintptr_t)id;
    return fixture_ask(f, &env);
}

static struct answer export(struct fixture *f, const char *id)
{
    Lf__KeysExport msg = LF__KEYS_EXPORT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_EXPORT, keys_export, &msg);

    msg.id = (char *)(uintptr_t)id;
    return fixture_ask(f, &env);
}

static struct answer destroy(struct fixture *f, const char *id, bool confirmed)
{
    Lf__KeysDestroy msg = LF__KEYS_DESTROY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_DESTROY, keys_destroy, &msg);

    msg.id = (char *)(uintptr_t)id;
    msg.has_confirmed = true;
    msg.confirmed = confirmed;
    return fixture_ask(f, &env);
}

static struct answer list(struct fixture *f, const char *page)
{
    Lf__KeysList msg = LF__KEYS_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_LIST, keys_list, &msg);
    struct answer a;

    msg.page = (char *)(uintptr_t)page;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    return a;
}

/* The identities, one behind the other; the caller's to free. */
static char *identities(struct fixture *f, const char *id)
{
    struct answer a = export(f, id);
    char *all = xstrdup("");

    if (a.e.code)
        fail_msg("%s", a.e.text);
    for (size_t i = 0; i < a.reply->keys_exported->kit->n_identities; i++) {
        char *longer;

        if (asprintf(&longer, "%s%s ", all, a.reply->keys_exported->kit->identities[i]) < 0)
            abort();
        free(all);
        all = longer;
    }
    answer_free(&a);
    return all;
}

static bool is_kept(struct fixture *f, const char *id)
{
    struct store_kept k = { 0 };
    bool kept = store_kept_get(f->syncd->store, id, &k) == 0;

    store_kept_free(&k);
    return kept;
}

/* --- tests: keeping --------------------------------------------------------------------------------------- */

static void they_stay_when_the_drive_goes(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *before = NULL, *after = NULL, *id = NULL, *was = NULL;
    struct drive *drive = made(f, account, &(struct shape){ "docs", "a/b", true, true });
    struct store_keys gone;
    struct answer a;

    was = xstrdup(recipient(drive));
    before = identities(f, drive->model->id);
    assert_false(is_kept(f, drive->model->id));
    id = removed(f, drive);
    assert_int_equal(store_keys_get(f->syncd->store, id, &gone), -ENOENT);
    fixture_restart(f);
    after = identities(f, id);
    assert_string_equal(before, after);
    assert_memory_equal(after, "AGE-SECRET-KEY-1", 16);
    a = get(f, id);
    assert_int_equal(a.e.code, 0);
    assert_string_equal(a.reply->keys_found->keys->id, id);
    assert_string_equal(a.reply->keys_found->keys->name, "docs");
    assert_string_equal(a.reply->keys_found->keys->bucket, "bucket");
    assert_string_equal(a.reply->keys_found->keys->prefix, "a/b/");
    assert_memory_equal(a.reply->keys_found->keys->service, "file:///", 8);
    assert_string_equal(a.reply->keys_found->keys->recipient, was);
    assert_memory_equal(a.reply->keys_found->keys->deleted, "2", 1);
    answer_free(&a);
}

static void those_of_a_cache_go_with_it(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL;
    struct drive *drive = made(f, account, &(struct shape){ "docs", "", true, false });
    struct store_keys s;

    assert_int_equal(store_keys_get(f->syncd->store, drive->model->id, &s), 0);
    assert_true(fixture_has_blob(f, &s));
    id = removed(f, drive);
    assert_false(is_kept(f, id));
    assert_false(fixture_has_blob(f, &s));
    expect_error(get(f, id), -ENOENT, "There is no drive");
    free(s.blob);
}

/* What it encrypted while that was on is there still. */
static void that_it_encrypted_once_is_enough(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL;
    struct drive *drive = made(f, account, &(struct shape){ "docs", "", true, true });

    drive->model->cloud_objects_encrypted = false;
    assert_int_equal(store_drive_update(f->syncd->store, drive->model), 0);
    id = removed(f, drive);
    assert_true(is_kept(f, id));
}

static void destroyed_keys_are_not_kept(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL;
    struct drive *drive = made(f, account, &OBJECTS);
    struct answer a = destroy(f, drive->model->id, true);

    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    id = removed(f, drive);
    assert_false(is_kept(f, id));
}

static void they_can_be_destroyed(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL;
    struct drive *drive = made(f, account, &OBJECTS);
    struct store_keys s;
    struct answer a;

    assert_int_equal(store_keys_get(f->syncd->store, drive->model->id, &s), 0);
    id = removed(f, drive);
    assert_true(fixture_has_blob(f, &s));
    expect_error(destroy(f, id, false), -EPERM, "cannot be undone");
    assert_true(is_kept(f, id));
    a = destroy(f, id, true);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_false(is_kept(f, id));
    assert_false(fixture_has_blob(f, &s));
    expect_error(export(f, id), -ENOENT, "There is no drive");
    free(s.blob);
}

/* Those that were exchanged for an import, since they could not be opened, may be the ones that open old objects. */
static void those_that_were_replaced_stay_too(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL, *first = NULL, *second = NULL, *all = NULL;
    struct drive *drive = made(f, account, &OBJECTS);
    struct store_keys s;

    first = identities(f, drive->model->id);
    change(f, drive, true);
    second = identities(f, drive->model->id);
    assert_int_equal(store_keys_get(f->syncd->store, drive->model->id, &s), 0);
    assert_int_equal(store_keys_replace(f->syncd->store, drive->model->id, s.blob, s.n, s.serial), 0);
    id = removed(f, drive);
    drive = made(f, account, &OBJECTS);
    all = identities(f, drive->model->id);
    assert_string_equal(all, second);
    assert_non_null(strstr(all, first));
    assert_false(is_kept(f, id));
    assert_false(fixture_has_blob(f, &s));
    free(s.blob);
}

static void nothing_else_is_done_with_them(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL;
    Lf__KeysRotate rotate = LF__KEYS_ROTATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_ROTATE, keys_rotate, &rotate);

    id = removed(f, made(f, account, &OBJECTS));
    rotate.id = id;
    expect_error(fixture_ask(f, &env), -EINVAL, "was deleted");
}

static void an_export_survives_cryptd(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *before = NULL, *after = NULL, *id = NULL;
    struct drive *drive = made(f, account, &OBJECTS);

    before = identities(f, drive->model->id);
    id = removed(f, drive);
    restart_cryptd(f, CRYPTD_OURS);
    after = identities(f, id);
    assert_string_equal(before, after);
    restart_cryptd(f, CRYPTD_OTHER);
    expect_error(export(f, id), -ENOKEY, "another key store");
    assert_true(is_kept(f, id));
}

/* --- tests: giving up ---------------------------------------------------------------------------------------- */

static struct answer forget_old(struct fixture *f, const struct drive *drive)
{
    Lf__KeysRotate msg = LF__KEYS_ROTATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(KEYS_ROTATE, keys_rotate, &msg);

    msg.id = drive->model->id;
    msg.has_forget_old = msg.forget_old = true;
    return fixture_ask(f, &env);
}

static void what_is_needed_is_not_given_up(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    struct drive *drive = made(f, account, &(struct shape){ "docs", "", true, true });
    struct answer a;

    expect_error(forget_old(f, drive), -ENOENT, "no key that could be given up");
    change(f, drive, false);
    fake_volume(drive->model->id)->keys_left = 2;
    expect_error(forget_old(f, drive), -EBUSY, "2 files of the cache");
    assert_int_equal(keys_facts(drive->keys)->n_epochs, 2);
    fake_volume(drive->model->id)->keys_left = 0;
    a = forget_old(f, drive);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_int_equal(keys_facts(drive->keys)->n_epochs, 1);
    assert_int_equal(keys_facts(drive->keys)->epochs[0], 2);
}

/* --- tests: the list --------------------------------------------------------------------------------------- */

static void all_are_listed(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *gone = NULL;
    struct answer a;
    Lf__KeysListed *l;
    CLEANUP_FREE char *page = NULL;

    free(fixture_drive(f, account, "plain"));
    gone = removed(f, made(f, account, &(struct shape){ "gone", "x", false, true }));
    (void)made(f, account, &(struct shape){ "docs", "y", true, false });
    a = list(f, NULL);
    l = a.reply->keys_listed;
    assert_int_equal(l->n_keys, 2);
    assert_null(l->next_page);
    assert_string_equal(l->keys[0]->name, "docs");
    assert_memory_equal(l->keys[0]->recipient, "age1", 4);
    assert_null(l->keys[0]->deleted);
    assert_string_equal(l->keys[1]->id, gone);
    assert_non_null(l->keys[1]->deleted);
    assert_true(asprintf(&page, "d%s", l->keys[0]->id) > 0);
    answer_free(&a);
    a = list(f, page);
    assert_int_equal(a.reply->keys_listed->n_keys, 1);
    assert_string_equal(a.reply->keys_listed->keys[0]->id, gone);
    answer_free(&a);
    page[0] = 'k';
    (void)strcpy(page + 1, gone);
    a = list(f, page);
    assert_int_equal(a.reply->keys_listed->n_keys, 0);
    answer_free(&a);
}

static void the_list_has_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    struct drive *drive = made(f, account, &OBJECTS);
    struct answer a;

    restart_cryptd(f, CRYPTD_OTHER);
    wait_until(f, drive_keys_state(drive, NULL) == -ENOKEY);
    a = list(f, NULL);
    assert_int_equal(a.reply->keys_listed->n_keys, 1);
    assert_non_null(strstr(a.reply->keys_listed->keys[0]->trouble, "another key store"));
    answer_free(&a);
}

/* --- tests: inheriting --------------------------------------------------------------------------------------- */

static void a_drive_at_the_same_place_inherits(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *first = NULL, *second = NULL, *third = NULL, *was = NULL;
    CLEANUP_FREE char *before = NULL, *after = NULL;
    struct drive *drive = made(f, account, &OBJECTS);
    struct store_keys s;

    change(f, drive, true);
    change(f, drive, false);
    was = xstrdup(recipient(drive));
    before = identities(f, drive->model->id);
    assert_int_equal(store_keys_get(f->syncd->store, drive->model->id, &s), 0);
    first = removed(f, drive);
    drive = made(f, account, &(struct shape){ "again", "", true, true });
    assert_string_equal(recipient(drive), was);
    assert_int_equal(keys_facts(drive->keys)->n_epochs, 2);   /* what the third one was for is gone */
    assert_int_equal(keys_facts(drive->keys)->serial, 1);
    after = identities(f, drive->model->id);
    assert_string_equal(before, after);
    assert_false(is_kept(f, first));                          /* it is that drive's now, to be destroyed with its keys */
    assert_false(fixture_has_blob(f, &s));
    change(f, drive, true);
    assert_string_not_equal(recipient(drive), was);
    second = removed(f, drive);
    assert_true(is_kept(f, second));
    drive = made(f, account, &OBJECTS);
    third = identities(f, drive->model->id);
    assert_non_null(strstr(third, before));
    assert_int_equal(keys_facts(drive->keys)->n_epochs, 3);
    free(s.blob);
}

/* One of the two is encrypted from now on. */
static void encrypt(struct fixture *f, struct drive *drive, bool cache)
{
    Lf__DriveUpdate msg = LF__DRIVE_UPDATE__INIT;
    Lf__DriveChangeCache cached = LF__DRIVE_CHANGE_CACHE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_UPDATE, drive_update, &msg);
    Lf__CloudDrive model = LF__CLOUD_DRIVE__INIT;
    struct answer a;

    msg.id = cached.id = drive->model->id;
    msg.drive = cached.drive = &model;
    if (cache)
        model.has_local_cache_encrypted = model.local_cache_encrypted = true;
    else
        model.has_cloud_objects_encrypted = model.cloud_objects_encrypted = true;
    if (cache)
        env = (Lf__Envelope)IPC_ENVELOPE(DRIVE_CHANGE_CACHE, drive_change_cache, &cached);
    a = fixture_ask(f, &env);
    if (a.e.code)
        fail_msg("%s", a.e.text);
    answer_free(&a);
}

/* As one that is made does: when its objects are to be encrypted, and it has no keys of its own yet. */
static void a_drive_that_is_there_inherits_as_well(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL, *was = NULL;
    struct drive *drive = made(f, account, &OBJECTS);

    was = xstrdup(recipient(drive));
    id = removed(f, drive);
    drive = made(f, account, &(struct shape){ "later", "", false, false });
    assert_null(drive->keys);
    encrypt(f, drive, false);
    assert_string_equal(recipient(drive), was);
    assert_false(is_kept(f, id));
    encrypt(f, drive, true);   /* with the same ones */
    assert_string_equal(recipient(drive), was);
}

/* Its own stay, which its cache needs. */
static void but_not_one_that_has_keys(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL, *was = NULL;
    struct drive *drive = made(f, account, &OBJECTS);

    id = removed(f, drive);
    drive = made(f, account, &(struct shape){ "later", "", false, false });
    encrypt(f, drive, true);
    was = xstrdup(recipient(drive));
    encrypt(f, drive, false);
    assert_string_equal(recipient(drive), was);
    assert_true(is_kept(f, id));
}

static void at_another_place_it_does_not(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL, *was = NULL;
    struct drive *drive = made(f, account, &(struct shape){ "docs", "a", false, true });

    was = xstrdup(recipient(drive));
    id = removed(f, drive);
    drive = made(f, account, &(struct shape){ "b", "b", false, true });
    assert_string_not_equal(recipient(drive), was);
    free(removed(f, drive));
    drive = made(f, account, &(struct shape){ "c", "a", true, false });   /* encrypts no objects */
    assert_string_not_equal(recipient(drive), was);
    assert_true(is_kept(f, id));
}

static void a_drive_that_comes_to_nothing_leaves_them(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL, *was = NULL;
    struct drive *drive = made(f, account, &OBJECTS);

    was = xstrdup(recipient(drive));
    id = removed(f, drive);
    f->mount_failure = "no";
    expect_error(insert(f, account, &OBJECTS), -EBUSY, "no");
    assert_true(is_kept(f, id));
    f->mount_failure = NULL;
    assert_string_equal(recipient(made(f, account, &OBJECTS)), was);
    assert_false(is_kept(f, id));
}

/* Those of two key stores: what opens is inherited, the rest is kept until it does. */
static void what_does_not_open_is_left(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *first = NULL, *second = NULL, *third = NULL, *ours = NULL;
    CLEANUP_FREE char *other = NULL, *both = NULL;
    struct drive *drive = made(f, account, &OBJECTS);

    ours = identities(f, drive->model->id);
    first = removed(f, drive);
    restart_cryptd(f, CRYPTD_OTHER);
    drive = made(f, account, &OBJECTS);
    other = identities(f, drive->model->id);
    assert_string_not_equal(other, ours);
    assert_true(is_kept(f, first));
    second = removed(f, drive);
    restart_cryptd(f, CRYPTD_OURS);
    drive = made(f, account, &OBJECTS);
    both = identities(f, drive->model->id);
    assert_string_equal(both, ours);
    assert_false(is_kept(f, first));
    assert_true(is_kept(f, second));
    third = removed(f, drive);
    assert_true(is_kept(f, third));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(they_stay_when_the_drive_goes),
        TEST(those_of_a_cache_go_with_it),
        TEST(that_it_encrypted_once_is_enough),
        TEST(destroyed_keys_are_not_kept),
        TEST(they_can_be_destroyed),
        TEST(those_that_were_replaced_stay_too),
        TEST(nothing_else_is_done_with_them),
        TEST(an_export_survives_cryptd),
        TEST(what_is_needed_is_not_given_up),
        TEST(all_are_listed),
        TEST(the_list_has_what_is_wrong),
        TEST(a_drive_at_the_same_place_inherits),
        TEST(a_drive_that_is_there_inherits_as_well),
        TEST(but_not_one_that_has_keys),
        TEST(at_another_place_it_does_not),
        TEST(a_drive_that_comes_to_nothing_leaves_them),
        TEST(what_does_not_open_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
