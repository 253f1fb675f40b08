/* Another cache for a drive that is in use, in a whole syncd with volumes that a test steers and a real cryptd: limits,
 * keys, and the folder, also where the move was cut short. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/chunk_map.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/store.h"
#include "tests/unit/cryptd_process.h"
#include "tests/unit/fake_volume.h"
#include "tests/unit/files.h"
#include "tests/unit/syncd_fixture.h"

static pid_t cryptd;
static char elsewhere[64];   /* on another file system */

static void start_cryptd(struct fixture *f, const char *key)
{
    cryptd_process_kill(cryptd);
    ipc_server_free(f->cryptd);
    f->cryptd = NULL;
    cryptd = cryptd_process_start(f->cryptd_socket, key);
}

static int set_up(void **state)
{
    struct fixture *f;

    (void)fixture_set_up(state);
    f = *state;
    start_cryptd(f, CRYPTD_OURS);
    (void)snprintf(elsewhere, sizeof(elsewhere), "/dev/shm/landfall-cache.XXXXXX");
    assert_non_null(mkdtemp(elsewhere));
    return 0;
}

static int tear_down(void **state)
{
    cryptd_process_kill(cryptd);
    cryptd = 0;
    (void)nftw(elsewhere, files_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return fixture_tear_down(state);
}

/* --- asking ---------------------------------------------------------------------------------------------- */

static struct answer change(struct fixture *f, const char *id, Lf__CloudDrive *cache)
{
    Lf__DriveChangeCache msg = LF__DRIVE_CHANGE_CACHE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_CHANGE_CACHE, drive_change_cache, &msg);

    msg.id = (char *)(uintptr_t)id;
    msg.drive = cache;
    return fixture_ask(f, &env);
}

static void expect_changed(struct answer a)
{
    if (a.e.code)
        fail_msg("%s", a.e.text);
    answer_free(&a);
}

static struct answer move(struct fixture *f, const char *id, const char *to)
{
    Lf__CloudDrive cache = LF__CLOUD_DRIVE__INIT;

    cache.permanent_local_path = (char *)(uintptr_t)to;
    return change(f, id, &cache);
}

static struct answer encrypt(struct fixture *f, const char *id, bool on)
{
    Lf__CloudDrive cache = LF__CLOUD_DRIVE__INIT;

    cache.has_local_cache_encrypted = true;
    cache.local_cache_encrypted = on;
    return change(f, id, &cache);
}

static char *new_drive(struct fixture *f)
{
    CLEANUP_FREE char *account = fixture_account(f);

    return fixture_drive(f, account, "one");
}

static const char *folder_of(struct fixture *f, const char *id)
{
    return drive_find(f->syncd, id)->model->permanent_local_path;
}

/* --- pairs ------------------------------------------------------------------------------------------------- */

static void write_at(const char *dir, const char *name, const void *bytes, size_t n, off_t at)
{
    char path[256];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    (void)close(fd);
}

static bool has_at(const char *dir, const char *name, const void *bytes, size_t n, off_t at)
{
    CLEANUP_FREE char *there = xcalloc(1, n + 1);
    char path[256];
    int fd;
    bool has;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDONLY);
    has = fd >= 0 && pread(fd, there, n, at) == (ssize_t)n && memcmp(there, bytes, n) == 0;
    if (fd >= 0)
        (void)close(fd);
    return has;
}

enum { FAR = 3 << 20 };

static void make_pair(const char *dir, unsigned ino, enum chunk_map_state state)
{
    struct chunk_map head = { .magic = CHUNK_MAP_MAGIC, .chunk_shift = CHUNK_SHIFT, .ino = ino };
    char name[64], path[256];

    (void)snprintf(path, sizeof(path), "%s/%02x", dir, ino);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    atomic_store(&head.state, (uint32_t)state);
    (void)snprintf(name, sizeof(name), "%02x/%x.map", ino, ino);
    write_at(dir, name, &head, sizeof(head), 0);
    (void)snprintf(name, sizeof(name), "%02x/%x.data", ino, ino);
    write_at(dir, name, "far", 3, FAR);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(setxattr(path, "user.landfall.version", "etag", 4, 0), 0);
}

static bool has_pair(const char *dir, unsigned ino)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%02x/%x.data", ino, ino);
    return has_at(dir, name, "far", 3, FAR);
}

/* --- limits --------------------------------------------------------------------------------------------------- */

static void limits_are_set_and_the_rest_stays(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f);
    Lf__CloudDrive cache = LF__CLOUD_DRIVE__INIT;
    struct answer a;

    cache.name = (char *)"another";
    cache.prefix = (char *)"elsewhere/";
    cache.has_maximum_cache_size = true;
    cache.maximum_cache_size = 1 << 30;
    a = change(f, id, &cache);
    assert_int_equal(a.e.code, 0);
    assert_string_equal(a.reply->drive_stored->drive->name, "one");
    assert_string_equal(a.reply->drive_stored->drive->prefix, "");
    assert_int_equal(a.reply->drive_stored->drive->maximum_cache_size, 1 << 30);
    assert_false(a.reply->drive_stored->drive->rotational_cache);
    answer_free(&a);
    assert_int_equal(fake_volume(id)->configured, 1);
    cache = (Lf__CloudDrive)LF__CLOUD_DRIVE__INIT;
    cache.has_rotational_cache = cache.rotational_cache = true;
    expect_changed(change(f, id, &cache));
    fixture_restart(f);
    assert_int_equal(drive_find(f->syncd, id)->model->maximum_cache_size, 1 << 30);
    assert_true(drive_find(f->syncd, id)->model->rotational_cache);
    expect_error(change(f, "01234567-89ab-4def-8123-456789abcdef", &cache), -ENOENT, "no drive");
    cache.has_maximum_cache_size = true;
    cache.maximum_cache_size = -1;
    expect_error(change(f, id, &cache), -EINVAL, "maximumCacheSize");
}

/* --- encryption --------------------------------------------------------------------------------------------------- */

static void keys_are_made_when_it_is_turned_on(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f);
    struct store_keys first = { 0 }, again = { 0 };

    assert_null(drive_find(f->syncd, id)->keys);
    expect_changed(encrypt(f, id, true));
    assert_non_null(fake_volume(id)->spec.keys);
    assert_ptr_equal(fake_volume(id)->spec.keys, drive_find(f->syncd, id)->keys);
    assert_true(fake_volume(id)->spec.keys && drive_find(f->syncd, id)->model->local_cache_encrypted);
    assert_int_equal(store_keys_get(f->syncd->store, id, &first), 0);
    assert_int_equal(fake_volume(id)->configured, 0);   /* it was opened anew */
    assert_true(fixture_is_mounted(f, id));
    expect_changed(encrypt(f, id, false));
    assert_int_equal(fake_volume(id)->configured, 1);
    fixture_restart(f);
    wait_until(f, fake_volume(id));
    assert_non_null(fake_volume(id)->spec.keys);   /* what is sealed still needs them */
    expect_changed(encrypt(f, id, true));
    assert_int_equal(store_keys_get(f->syncd->store, id, &again), 0);
    assert_int_equal(again.serial, first.serial);
    free(first.blob);
    free(again.blob);
}

static struct answer encrypt_objects(struct fixture *f, const char *id, bool on)
{
    Lf__DriveUpdate msg = LF__DRIVE_UPDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_UPDATE, drive_update, &msg);
    Lf__CloudDrive drive = LF__CLOUD_DRIVE__INIT;

    msg.id = (char *)(uintptr_t)id;
    msg.drive = &drive;
    drive.has_cloud_objects_encrypted = true;
    drive.cloud_objects_encrypted = on;
    return fixture_ask(f, &env);
}

static void objects_are_encrypted_from_an_update_on(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f);

    expect_changed(encrypt_objects(f, id, true));
    assert_non_null(fake_volume(id)->spec.keys);
    assert_true(fake_volume(id)->spec.drive->cloud_objects_encrypted);
    assert_true(fixture_is_mounted(f, id));
    expect_changed(encrypt(f, id, true));   /* with the same ones */
    assert_int_equal(fake_volume(id)->configured, 1);
    expect_changed(encrypt_objects(f, id, false));
    expect_changed(encrypt(f, id, false));
    fixture_restart(f);
    wait_until(f, fake_volume(id));
    assert_non_null(fake_volume(id)->spec.keys);
}

static void without_cryptd_it_waits_and_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive other = LF__CLOUD_DRIVE__INIT;
    struct store_keys none;

    ref.id = account;
    other.account = &ref;
    other.name = (char *)"two";
    other.storage_name = (char *)"bucket";
    other.has_local_cache_encrypted = other.local_cache_encrypted = true;
    expect_changed(fixture_insert(f, &other));
    start_cryptd(f, CRYPTD_OTHER);
    wait_until(f, drive_keys_state(drive_by_name(f->syncd, "two"), NULL) == -ENOKEY);
    expect_error(encrypt(f, id, true), -ENOKEY, "another key store");
    expect_error(encrypt_objects(f, id, true), -ENOKEY, "another key store");
    assert_false(drive_find(f->syncd, id)->model->local_cache_encrypted);
    assert_false(drive_find(f->syncd, id)->model->cloud_objects_encrypted);
    assert_int_equal(store_keys_get(f->syncd->store, id, &none), -ENOENT);
    assert_non_null(fake_volume(id));
    assert_null(fake_volume(id)->spec.keys);
}

/* --- moving ---------------------------------------------------------------------------------------------------------- */

static void moves_on_one_file_system(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *before = xstrdup(folder_of(f, id)), *to = NULL;

    assert_true(asprintf(&to, "%s/moved/here", f->dir) > 0);
    make_pair(before, 5, CHUNK_MAP_CLEAN);
    make_pair(before, 6, CHUNK_MAP_DIRTY);
    expect_changed(move(f, id, to));
    assert_string_equal(folder_of(f, id), to);
    assert_string_equal(fake_volume(id)->spec.drive->permanent_local_path, to);
    assert_true(has_pair(to, 5) && has_pair(to, 6));
    assert_false(there(before, ""));
    assert_true(fixture_is_mounted(f, id));
    expect_changed(move(f, id, "$$$"));
    assert_string_equal(folder_of(f, id), before);
    assert_true(has_pair(before, 5) && has_pair(before, 6));
    assert_false(there(to, ""));
    fixture_restart(f);
    assert_string_equal(folder_of(f, id), before);
    assert_non_null(fake_volume(id));
}

static void to_another_one_goes_what_must_not_be_lost(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *before = xstrdup(folder_of(f, id)), *to = NULL;
    struct stat here, shm;
    char stamp[8] = "", path[256];

    assert_int_equal(stat(f->dir, &here), 0);
    assert_int_equal(stat(elsewhere, &shm), 0);
    if (here.st_dev == shm.st_dev)
        skip();
    assert_true(asprintf(&to, "%s/cache", elsewhere) > 0);
    make_pair(before, 5, CHUNK_MAP_CLEAN);
    make_pair(before, 6, CHUNK_MAP_DIRTY);
    write_at(before, "05/5.seal", "sealed", 6, 0);
    write_at(before, "06/6.seal", "sealed", 6, 0);
    (void)snprintf(path, sizeof(path), "%s/lost", before);
    assert_int_equal(mkdir(path, 0700), 0);
    write_at(before, "lost/7.data", "lost", 4, 0);
    expect_changed(move(f, id, to));
    assert_false(has_pair(to, 5));
    assert_true(has_pair(to, 6));
    assert_true(has_at(to, "06/6.seal", "sealed", 6, 0));
    assert_true(has_at(to, "lost/7.data", "lost", 4, 0));
    (void)snprintf(path, sizeof(path), "%s/06/6.data", to);
    assert_int_equal(getxattr(path, "user.landfall.version", stamp, sizeof(stamp)), 4);
    assert_int_equal(stat(path, &here), 0);
    assert_true(here.st_blocks * 512 < FAR);
    assert_false(there(before, ""));
    assert_non_null(fake_volume(id));
}

/* The kernel would go on reading, and perhaps writing, what is left behind. */
static void what_the_kernel_reads_by_itself_stays(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *before = xstrdup(folder_of(f, id)), *to = NULL;
    struct chunk_map head = { .magic = CHUNK_MAP_MAGIC, .chunk_shift = CHUNK_SHIFT, .ino = 5 };

    assert_true(asprintf(&to, "%s/cache", elsewhere) > 0);
    make_pair(before, 5, CHUNK_MAP_CLEAN);
    atomic_store(&head.passed, 1);
    write_at(before, "05/5.map", &head, sizeof(head), 0);
    expect_error(move(f, id, to), -EBUSY, "by itself");
    assert_string_equal(folder_of(f, id), before);
    assert_true(has_pair(before, 5));
    assert_false(there(to, ""));
    assert_non_null(fake_volume(id));
    assert_true(fixture_is_mounted(f, id));
}

static void folders_that_will_not_do(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *before = xstrdup(folder_of(f, id)), *full = NULL, *below = NULL;

    assert_true(asprintf(&full, "%s/full", f->dir) > 0);
    assert_true(asprintf(&below, "%s/drives/x", f->syncd->state_dir) > 0);
    assert_int_equal(mkdir(full, 0700), 0);
    write_at(full, "a", "a", 1, 0);
    make_pair(before, 5, CHUNK_MAP_DIRTY);
    expect_error(move(f, id, full), -ENOTEMPTY, "not empty");
    expect_error(move(f, id, "relative"), -EINVAL, "absolute");
    expect_error(move(f, id, "/a/../b"), -EPERM, "leads elsewhere");
    expect_error(move(f, id, below), -EINVAL, "");
    assert_string_equal(folder_of(f, id), before);
    assert_true(has_pair(before, 5));
    assert_non_null(fake_volume(id));
    assert_true(has_at(full, "a", "a", 1, 0));
}

/* --- cut short ---------------------------------------------------------------------------------------------------------- */

/* As syncd was about to move it when it was killed: the folder is there and marked. */
static char *begun(struct fixture *f, const char *id, enum store_cache_move how)
{
    char *to = NULL, mark[160];

    assert_true(asprintf(&to, "%s/new", f->dir) > 0);
    assert_int_equal(mkdir(to, 0700), 0);
    (void)snprintf(mark, sizeof(mark), ".landfall-drive-%s", id);
    write_at(to, mark, "", 0, 0);
    assert_int_equal(store_drive_cache_move(f->syncd->store, id, how, to), 0);
    return to;
}

static enum store_cache_move move_of(struct fixture *f, const char *id)
{
    CLEANUP_FREE char *other = NULL;
    enum store_cache_move how;

    assert_int_equal(store_drive_cache_move_get(f->syncd->store, id, &how, &other), 0);
    return how;
}

static void a_half_copied_cache_stays_where_it_was(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *before = xstrdup(folder_of(f, id)), *to = NULL;

    make_pair(before, 5, CHUNK_MAP_DIRTY);
    to = begun(f, id, STORE_CACHE_HALF_COPIED);
    make_pair(to, 5, CHUNK_MAP_DIRTY);
    fixture_restart(f);
    wait_until(f, !there(to, "") && move_of(f, id) == STORE_CACHE_STAYS);
    assert_string_equal(folder_of(f, id), before);
    assert_true(has_pair(before, 5));
}

static void a_half_renamed_cache_goes_on(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *before = xstrdup(folder_of(f, id)), *to = NULL;

    make_pair(before, 5, CHUNK_MAP_DIRTY);
    to = begun(f, id, STORE_CACHE_RENAMING);
    make_pair(to, 6, CHUNK_MAP_DIRTY);
    fixture_restart(f);
    assert_string_equal(folder_of(f, id), to);
    assert_true(has_pair(to, 5) && has_pair(to, 6));
    wait_until(f, !there(before, "") && move_of(f, id) == STORE_CACHE_STAYS);
    assert_non_null(fake_volume(id));
}

static void what_was_left_is_removed(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *to = NULL;

    to = begun(f, id, STORE_CACHE_LEFT);
    make_pair(to, 5, CHUNK_MAP_CLEAN);
    fixture_restart(f);
    wait_until(f, !there(to, "") && move_of(f, id) == STORE_CACHE_STAYS);
    assert_true(there(folder_of(f, id), ""));
}

/* What is not ours is not touched, whatever state.db says. */
static void a_folder_without_the_mark_stays(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *id = new_drive(f), *to = NULL;
    char path[256];

    to = begun(f, id, STORE_CACHE_LEFT);
    (void)snprintf(path, sizeof(path), "%s/.landfall-drive-%s", to, id);
    assert_int_equal(unlink(path), 0);
    make_pair(to, 5, CHUNK_MAP_CLEAN);
    fixture_restart(f);
    wait_until(f, f->n_mounted == 1);
    expect_changed(move(f, id, "$$$"));
    assert_true(has_pair(to, 5));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(limits_are_set_and_the_rest_stays),
        TEST(keys_are_made_when_it_is_turned_on),
        TEST(objects_are_encrypted_from_an_update_on),
        TEST(without_cryptd_it_waits_and_stays_as_it_is),
        TEST(moves_on_one_file_system),
        TEST(to_another_one_goes_what_must_not_be_lost),
        TEST(what_the_kernel_reads_by_itself_stays),
        TEST(folders_that_will_not_do),
        TEST(a_half_copied_cache_stays_where_it_was),
        TEST(a_half_renamed_cache_goes_on),
        TEST(what_was_left_is_removed),
        TEST(a_folder_without_the_mark_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
