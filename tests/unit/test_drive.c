/* Drives over the handlers: what is filled in, what is refused, and that nothing half-made is left. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/store.h"
#include "tests/unit/fake_volume.h"
#include "tests/unit/syncd_fixture.h"

/* --- asking ----------------------------------------------------------------------------------- */

struct row {
    Lf__CloudAccount account;
    Lf__CloudDrive drive;
};

/* A good request; tests spoil it. */
static void good(struct row *r, char *account, const char *name)
{
    lf__cloud_account__init(&r->account);
    lf__cloud_drive__init(&r->drive);
    r->account.id = account;
    r->drive.account = &r->account;
    r->drive.name = (char *)name;
    r->drive.storage_name = (char *)"bucket";
}

static struct answer list(struct fixture *f, const char *path, const char *page)
{
    Lf__DriveList msg = LF__DRIVE_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_LIST, drive_list, &msg);

    msg.path = (char *)path;
    msg.page = (char *)page;
    return fixture_ask(f, &env);
}

static size_t count(struct fixture *f)
{
    struct answer a = list(f, NULL, NULL);
    size_t n = a.reply->drive_listed->n_drives;

    answer_free(&a);
    return n;
}

static struct answer update(struct fixture *f, const char *id, Lf__CloudDrive *drive)
{
    Lf__DriveUpdate msg = LF__DRIVE_UPDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_UPDATE, drive_update, &msg);

    msg.id = (char *)id;
    msg.drive = drive;
    return fixture_ask(f, &env);
}

static struct answer delete(struct fixture *f, const char *id, bool force)
{
    Lf__DriveDelete msg = LF__DRIVE_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_DELETE, drive_delete, &msg);

    msg.id = (char *)id;
    msg.has_force = msg.force = force;
    return fixture_ask(f, &env);
}

static void expect_done(struct answer a)
{
    if (a.e.code)
        fail_msg("%s", a.e.text);
    answer_free(&a);
}

/* Nothing of a drive is left: not listed, no volume, no mount, no folder below the state and mount folders. */
static void expect_nothing(struct fixture *f)
{
    assert_int_equal(count(f), 0);
    assert_int_equal(fake_volumes(), 0);
    wait_until(f, f->n_mounted == 0);
    if (there(f->dir, "/mounts"))
        assert_int_equal(rmdir(f->mount_root), 0);
    for (size_t i = 0; i < 2; i++) {
        char path[160];

        snprintf(path, sizeof(path), "%s/state/%s", f->dir, i ? "drives" : "cache");
        if (access(path, F_OK) == 0)
            assert_int_equal(rmdir(path), 0);
    }
}

/* --- inserting -------------------------------------------------------------------------------- */

static void insert_fills_in_and_forces(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__TransferOptions mine = LF__TRANSFER_OPTIONS__INIT;
    struct row r;
    struct answer a;
    Lf__CloudDrive *d;
    struct stat st;
    char expected[256];

    good(&r, account, "My drive");
    mine.has_chunk_size = true;
    mine.chunk_size = 1;
    r.drive.transfer_options = &mine;
    r.drive.has_keep_file_after_upload = true;
    r.drive.permanent_local_path = (char *)"$$$";
    r.drive.prefix = (char *)"/photos/2026";
    r.drive.drive_name = (char *)"G";
    r.account.secret_key = (char *)"not to be kept";
    a = fixture_insert(f, &r.drive);
    assert_int_equal(a.e.code, 0);
    d = a.reply->drive_stored->drive;
    assert_int_equal(d->transfer_options->chunk_size, 5242880);
    assert_int_equal(d->transfer_options->retry_count, 5);
    assert_int_equal(d->transfer_options->concurrent_chunks, 5);
    assert_int_equal(d->transfer_options->concurrent_files, 5);
    assert_true(d->keep_file_after_upload);
    assert_true(d->active && d->allow_delete);
    assert_int_equal(d->sync_interval_seconds, 60);
    assert_int_equal(d->permission_type, 2);
    assert_int_equal(d->drive_type, 1);
    assert_int_equal(d->sync_type, 1);
    assert_string_equal(d->prefix, "photos/2026/");
    assert_string_equal(d->drive_name, "G");
    assert_string_equal(d->account->id, account);
    assert_int_equal(d->account->cloud_type, 1048576);
    assert_null(d->account->secret_key);
    snprintf(expected, sizeof(expected), "%s/My drive", f->mount_root);
    assert_string_equal(d->local_path, expected);
    snprintf(expected, sizeof(expected), "%s/state/cache/%s", f->dir, d->id);
    assert_string_equal(d->permanent_local_path, expected);
    assert_int_equal(stat(expected, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(there(d->local_path, ""));
    assert_true(fixture_is_mounted(f, d->id));
    assert_int_equal(count(f), 1);
    answer_free(&a);
}

static void set_name(Lf__CloudDrive *d, const char *v) { d->name = (char *)v; }
static void set_letter(Lf__CloudDrive *d, const char *v) { d->drive_name = (char *)v; }
static void set_bucket(Lf__CloudDrive *d, const char *v) { d->storage_name = (char *)v; }
static void set_prefix(Lf__CloudDrive *d, const char *v) { d->prefix = (char *)v; }
static void set_cache(Lf__CloudDrive *d, const char *v) { d->permanent_local_path = (char *)v; }
static void set_point(Lf__CloudDrive *d, const char *v) { d->local_path = (char *)v; }
static void set_account(Lf__CloudDrive *d, const char *v) { d->account->id = (char *)v; }
static void set_permission(Lf__CloudDrive *d, const char *v)
{
    d->has_permission_type = true;
    d->permission_type = atoi(v);
}

static void set_type(Lf__CloudDrive *d, const char *v) { d->has_drive_type = true; d->drive_type = atoi(v); }
static void set_sync(Lf__CloudDrive *d, const char *v) { d->has_sync_type = true; d->sync_type = atoi(v); }
static void set_interval(Lf__CloudDrive *d, const char *v)
{
    d->has_sync_interval_seconds = true;
    d->sync_interval_seconds = atoi(v);
}

static const struct {
    void (*spoil)(Lf__CloudDrive *d, const char *value);
    const char *value;
    int code;
    const char *part;
} REFUSED[] = {
    { set_name, NULL, -EINVAL, "name is missing" },
    { set_name, "", -EINVAL, "name is missing" },
    { set_name, "a/b", -EINVAL, "directory" },
    { set_name, ".", -EINVAL, "directory" },
    { set_name, "..", -EINVAL, "directory" },
    { set_name, "a\nb", -EINVAL, "control character" },
    { set_name, "\xff\xfe", -EINVAL, "UTF-8" },
    { set_name, "next\xc2\x85line", -EINVAL, "control character" },
    { set_name, "csi\xc2\x9b", -EINVAL, "control character" },
    { set_name, "over\u202eride", -EINVAL, "control character" },
    { set_name, "isolate\u2066", -EINVAL, "control character" },
    { set_name, "line\u2028", -EINVAL, "control character" },
    { set_name, "paragraph\u2029", -EINVAL, "control character" },
    { set_letter, "GG", -EINVAL, "driveName" },
    { set_letter, "G:", -EINVAL, "driveName" },
    { set_letter, "1", -EINVAL, "driveName" },
    { set_bucket, NULL, -EINVAL, "storageName" },
    { set_bucket, "..", -EINVAL, "bucket" },
    { set_bucket, "a/b", -EINVAL, "bucket" },
    { set_bucket, "missing", -EINVAL, "missing" },
    { set_prefix, "a/../b", -EPERM, "prefix" },
    { set_prefix, "..", -EPERM, "prefix" },
    { set_prefix, "a/./b", -EPERM, "prefix" },
    { set_prefix, "a//b", -EINVAL, "empty component" },
    { set_prefix, ".landfall", -EPERM, "reserved" },
    { set_prefix, ".landfall/x", -EPERM, "reserved" },
    { set_cache, "relative", -EINVAL, "absolute" },
    { set_cache, "/", -EINVAL, "absolute" },
    { set_cache, "/tmp/../etc/x", -EPERM, "permanentLocalPath" },
    { set_cache, "/proc/no/such", -EINVAL, "cannot be made" },
    { set_point, "/somewhere/else", -EINVAL, "localPath" },
    { set_point, "n", -EINVAL, "localPath" },
    { set_account, NULL, -EINVAL, "account.id" },
    { set_account, "00000000-0000-0000-0000-000000000000", -EINVAL, "account.id" },
    { set_account, "7b2f8f3c-0000-4000-8000-000000000000", -EINVAL, "no account" },
    { set_permission, "0", -EINVAL, "permissionType" },
    { set_permission, "3", -EINVAL, "permissionType" },
    { set_type, "2", -EOPNOTSUPP, "LocalPath" },
    { set_type, "9", -EINVAL, "driveType" },
    { set_sync, "2", -EOPNOTSUPP, "Mirror" },
    { set_interval, "0", -EINVAL, "syncIntervalSeconds" },
    { set_interval, "-5", -EINVAL, "syncIntervalSeconds" },
};

static void insert_refuses(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);

    for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++) {
        struct row r;

        good(&r, account, "n");
        REFUSED[i].spoil(&r.drive, REFUSED[i].value);
        expect_error(fixture_insert(f, &r.drive), REFUSED[i].code, REFUSED[i].part);
    }
    expect_error(fixture_insert(f, NULL), -EINVAL, "missing");
    expect_nothing(f);
}

/* Its own mount point and the one it has are what a client sends that read the drive and changed something else. */
static void local_path_is_ours(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    char path[160];
    struct row r;
    struct answer a;

    good(&r, account, "one");
    snprintf(path, sizeof(path), "%s/one", f->mount_root);
    r.drive.local_path = path;
    a = fixture_insert(f, &r.drive);
    assert_int_equal(a.e.code, 0);
    assert_string_equal(a.reply->drive_stored->drive->local_path, path);
    r.drive.name = (char *)"two";
    expect_done(update(f, a.reply->drive_stored->drive->id, &r.drive));
    assert_true(there(f->mount_root, "/two"));
    expect_error(update(f, a.reply->drive_stored->drive->id, &r.drive), -EINVAL, "localPath");
    r.drive.local_path = (char *)"";
    expect_done(update(f, a.reply->drive_stored->drive->id, &r.drive));
    answer_free(&a);
}

static void names_letters_and_caches_are_unique(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *cache = NULL, *above = NULL;
    struct row r;

    if (asprintf(&above, "%s/own", f->dir) < 0 || asprintf(&cache, "%s/mycache", above) < 0)
        abort();
    good(&r, account, "one");
    r.drive.drive_name = (char *)"g";
    r.drive.permanent_local_path = cache;
    expect_done(fixture_insert(f, &r.drive));
    good(&r, account, "one");
    expect_error(fixture_insert(f, &r.drive), -EEXIST, "named one");
    good(&r, account, "two");
    r.drive.drive_name = (char *)"G";
    expect_error(fixture_insert(f, &r.drive), -EEXIST, "letter G");
    r.drive.drive_name = (char *)"H";
    r.drive.permanent_local_path = cache;
    expect_error(fixture_insert(f, &r.drive), -EEXIST, "cache folder");
    r.drive.permanent_local_path = above;
    expect_error(fixture_insert(f, &r.drive), -EEXIST, "not apart");
    r.drive.permanent_local_path = NULL;
    expect_done(fixture_insert(f, &r.drive));
    assert_int_equal(count(f), 2);
}

static void mount_point_must_be_free(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    char path[160], inside[192];
    struct row r;

    good(&r, account, "taken");
    assert_int_equal(mkdir(f->mount_root, 0700), 0);
    snprintf(path, sizeof(path), "%s/taken", f->mount_root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    expect_error(fixture_insert(f, &r.drive), -ENOTDIR, "not a directory");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/tmp", path), 0);
    expect_error(fixture_insert(f, &r.drive), -ENOTDIR, "not a directory");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(inside, sizeof(inside), "%s/x", path);
    assert_int_equal(mkdir(inside, 0700), 0);
    expect_error(fixture_insert(f, &r.drive), -ENOTEMPTY, "not empty");
    assert_true(there(inside, ""));
    assert_int_equal(rmdir(inside), 0);
    if (getuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0);
        expect_error(fixture_insert(f, &r.drive), -EINVAL, "another user");
        assert_int_equal(chown(path, 0, 0), 0);
    }
    assert_int_equal(count(f), 0);
    expect_done(fixture_insert(f, &r.drive));     /* an empty directory of the user's own is fine */
}

static void failed_mount_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    struct row r;

    f->mount_failure = "fusermount3 is not installed.";
    good(&r, account, "one");
    expect_error(fixture_insert(f, &r.drive), -EBUSY, "fusermount3 is not installed.");
    expect_nothing(f);
    f->mount_failure = NULL;
    expect_done(fixture_insert(f, &r.drive));
}

static void failed_index_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    struct row r;

    fake_volume_bad = "bad";
    good(&r, account, "bad");
    expect_error(fixture_insert(f, &r.drive), -EUCLEAN, "index is damaged");
    fake_volume_bad = NULL;
    expect_nothing(f);
}

static void given_cache_folder_stays_when_insertion_fails(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *cache = NULL;
    struct row r;

    if (asprintf(&cache, "%s/mycache", f->dir) < 0)
        abort();
    assert_int_equal(mkdir(cache, 0700), 0);
    f->mount_failure = "no";
    good(&r, account, "one");
    r.drive.permanent_local_path = cache;
    expect_error(fixture_insert(f, &r.drive), -EBUSY, "no");
    assert_int_equal(rmdir(cache), 0);
}

/* A folder that anybody may write to lies above it: whoever does could exchange it at any time. */
static void cache_folders_of_others_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *open = NULL, *cache = NULL, *link = NULL;
    struct row r;

    if (asprintf(&open, "%s/open", f->dir) < 0 || asprintf(&cache, "%s/mine/cache", open) < 0 ||
        asprintf(&link, "%s/link", f->dir) < 0)
        abort();
    assert_int_equal(mkdir(open, 0700), 0);
    assert_int_equal(chmod(open, 0777), 0);
    good(&r, account, "one");
    r.drive.permanent_local_path = cache;
    expect_error(fixture_insert(f, &r.drive), -EPERM, "can be written by others");
    assert_false(there(open, "/mine"));
    assert_int_equal(chmod(open, 01777), 0);
    expect_done(fixture_insert(f, &r.drive));
    assert_int_equal(symlink(open, link), 0);
    good(&r, account, "two");
    free(cache);
    if (asprintf(&cache, "%s/other", link) < 0)
        abort();
    r.drive.permanent_local_path = cache;
    expect_error(fixture_insert(f, &r.drive), -ENOTDIR, "symbolic link");
    assert_false(there(open, "/other"));
}

static char *in(const struct fixture *f, const char *name)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", f->dir, name) < 0)
        abort();
    return path;
}

static void make(const struct fixture *f, const char *name)
{
    CLEANUP_FREE char *path = in(f, name);

    assert_int_equal(mkdir(path, 0700), 0);
}

/* Landfall's own folders, and what an account shows as buckets. */
static void caches_are_apart_from_the_rest(void **state)
{
    static const struct {
        const char *name, *part;
    } rows[] = {
        { "state/mine", "StateDir" }, { "mounts", "MountRoot" }, { "mounts/one", "MountRoot" },
        { "cloud/bucket/cache", "folder of an account" }, { "cloud", "folder of an account" },
    };
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_FREE char *cache = in(f, rows[i].name);
        struct row r;

        good(&r, account, "one");
        r.drive.permanent_local_path = cache;
        expect_error(fixture_insert(f, &r.drive), -EINVAL, rows[i].part);
    }
}

/* The way to the cache folder leads, when the drive is deleted, to somebody's documents. */
static void exchanged(struct fixture *f, bool by_link)
{
    CLEANUP_FREE char *account = fixture_account(f), *above = in(f, "above"), *cache = in(f, "above/cache");
    CLEANUP_FREE char *away = in(f, "away"), *documents = in(f, "documents"), *id = NULL;
    struct answer a;
    struct row r;

    good(&r, account, "one");
    r.drive.permanent_local_path = cache;
    a = fixture_insert(f, &r.drive);
    assert_int_equal(a.e.code, 0);
    id = xstrdup(a.reply->drive_stored->drive->id);
    answer_free(&a);
    assert_int_equal(rename(above, away), 0);
    make(f, "documents");
    make(f, "documents/cache");
    make(f, "documents/cache/05");
    assert_int_equal(by_link ? symlink(documents, above) : rename(documents, above), 0);
    expect_done(delete(f, id, true));
    assert_true(there(by_link ? documents : above, "/cache/05"));
    assert_true(there(away, "/cache"));
}

static void nothing_behind_a_link_is_removed(void **state)
{
    exchanged(*state, true);
}

static void nothing_in_another_folder_is_removed(void **state)
{
    exchanged(*state, false);
}

static void inactive_drive_is_not_mounted(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    struct row r;
    struct answer a;

    good(&r, account, "later");
    r.drive.has_active = true;
    a = fixture_insert(f, &r.drive);
    assert_int_equal(a.e.code, 0);
    assert_false(fixture_is_mounted(f, a.reply->drive_stored->drive->id));
    r.drive.active = true;
    expect_done(update(f, a.reply->drive_stored->drive->id, &r.drive));
    assert_true(fixture_is_mounted(f, a.reply->drive_stored->drive->id));
    expect_done(delete(f, a.reply->drive_stored->drive->id, false));
    answer_free(&a);
    expect_nothing(f);
}

/* --- updating --------------------------------------------------------------------------------- */

static void update_of_settings_keeps_the_mount(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive change = LF__CLOUD_DRIVE__INIT;
    Lf__TransferOptions mine = LF__TRANSFER_OPTIONS__INIT;
    struct answer a;
    size_t lists = f->lists;

    change.has_maximum_cache_size = true;
    change.maximum_cache_size = INT64_C(5) << 40;
    change.drive_name = (char *)"K";
    mine.has_retry_count = true;
    mine.retry_count = 99;
    change.transfer_options = &mine;
    a = update(f, id, &change);
    assert_int_equal(a.e.code, 0);
    assert_string_equal(a.reply->drive_stored->drive->name, "one");
    assert_true(a.reply->drive_stored->drive->maximum_cache_size == INT64_C(5) << 40);
    assert_string_equal(a.reply->drive_stored->drive->drive_name, "K");
    assert_int_equal(a.reply->drive_stored->drive->transfer_options->retry_count, 5);
    answer_free(&a);
    assert_int_equal(fake_volume(id)->configured, 1);
    assert_int_equal(f->lists, lists);
    fixture_restart(f);
    a = list(f, NULL, NULL);
    assert_string_equal(a.reply->drive_listed->drives[0]->drive_name, "K");
    answer_free(&a);
}

static void rename_moves_the_mount_point(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive change = LF__CLOUD_DRIVE__INIT;
    struct answer a;

    change.name = (char *)"two";
    a = update(f, id, &change);
    assert_int_equal(a.e.code, 0);
    assert_non_null(strstr(a.reply->drive_stored->drive->local_path, "/mounts/two"));
    answer_free(&a);
    assert_false(there(f->mount_root, "/one"));
    assert_true(there(f->mount_root, "/two"));
    assert_true(fixture_is_mounted(f, id));
}

static void failed_rename_comes_back(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive change = LF__CLOUD_DRIVE__INIT;
    struct answer a;

    change.name = (char *)"two";
    f->unmount_failure = "It is in use.";
    expect_error(update(f, id, &change), -EBUSY, "in use");
    f->unmount_failure = NULL;
    f->mount_failure = "No mount today.";
    expect_error(update(f, id, &change), -EBUSY, "No mount today.");
    f->mount_failure = NULL;
    assert_false(there(f->mount_root, "/two"));
    a = list(f, NULL, NULL);
    assert_string_equal(a.reply->drive_listed->drives[0]->name, "one");
    answer_free(&a);
    fixture_restart(f);
    wait_until(f, fixture_is_mounted(f, id));
}

static void update_refuses(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive bucket = LF__CLOUD_DRIVE__INIT, prefix = LF__CLOUD_DRIVE__INIT, name = LF__CLOUD_DRIVE__INIT;
    Lf__CloudDrive cache = LF__CLOUD_DRIVE__INIT, moved = LF__CLOUD_DRIVE__INIT;
    Lf__CloudAccount elsewhere = LF__CLOUD_ACCOUNT__INIT;

    free(fixture_drive(f, account, "other"));
    bucket.storage_name = (char *)"else";
    expect_error(update(f, id, &bucket), -EINVAL, "bucket");
    prefix.prefix = (char *)"else";
    expect_error(update(f, id, &prefix), -EINVAL, "prefix");
    cache.permanent_local_path = (char *)"/tmp/else";
    expect_error(update(f, id, &cache), -EINVAL, "cache folder");
    elsewhere.id = (char *)"7b2f8f3c-0000-4000-8000-000000000000";
    moved.account = &elsewhere;
    expect_error(update(f, id, &moved), -EINVAL, "account");
    name.name = (char *)"other";
    expect_error(update(f, id, &name), -EEXIST, "named other");
    expect_error(update(f, "7b2f8f3c-0000-4000-8000-000000000000", &name), -ENOENT, "no drive");
    expect_error(update(f, id, NULL), -EINVAL, "missing");
}

/* --- deleting --------------------------------------------------------------------------------- */

static void delete_waits_for_uploads(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");

    fake_volume(id)->pending = 3;
    expect_error(delete(f, id, false), -EBUSY, "3 changes");
    assert_true(fixture_is_mounted(f, id));
    fake_volume(id)->pending = 0;
    expect_done(delete(f, id, false));
    expect_error(delete(f, id, false), -ENOENT, "no drive");
    expect_nothing(f);
}

static void expect_pending(struct fixture *f, bool has, int64_t n)
{
    struct answer a = list(f, NULL, NULL);
    const Lf__CloudDrive *d = a.reply->drive_listed->drives[0];

    assert_int_equal(d->has_pending_changes, has);
    assert_int_equal(d->pending_changes, n);
    answer_free(&a);
}

static void lists_say_what_is_pending(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive given = LF__CLOUD_DRIVE__INIT;
    struct answer a;

    expect_pending(f, true, 0);
    fake_volume(id)->pending = 3;
    expect_pending(f, true, 3);
    given.has_pending_changes = true;
    given.pending_changes = 17;
    a = update(f, id, &given);
    assert_int_equal(a.e.code, 0);
    assert_int_not_equal(a.reply->drive_stored->drive->pending_changes, 17);
    answer_free(&a);
    expect_pending(f, true, 3);
}

/* What the list says to somebody who knows that of a state; the state it has then. */
static uint64_t list_known(struct fixture *f, uint64_t known, size_t *ret_n)
{
    Lf__DriveList msg = LF__DRIVE_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_LIST, drive_list, &msg);
    uint64_t state;
    struct answer a;

    msg.has_known = true;
    msg.known = known;
    a = fixture_ask(f, &env);
    *ret_n = a.reply->drive_listed->n_drives;
    assert_true(a.reply->drive_listed->has_state);
    state = a.reply->drive_listed->state;
    answer_free(&a);
    return state;
}

/* The drives are said to whoever does not know them, and again after each change. */
static void expect_another(struct fixture *f, uint64_t *state, size_t n)
{
    uint64_t before = *state;
    size_t said;

    *state = list_known(f, before, &said);
    assert_true(*state != 0 && *state != before);
    assert_int_equal(said, n);
    assert_true(list_known(f, *state, &said) == *state);
    assert_int_equal(said, 0);
    assert_true(list_known(f, before, &said) == *state);
    assert_int_equal(said, n);
}

static void a_list_that_is_known_is_not_said_again(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one"), *two = NULL;
    Lf__CloudDrive given = LF__CLOUD_DRIVE__INIT;
    uint64_t at = 0;
    struct answer a;

    expect_another(f, &at, 1);
    fake_volume(id)->pending = 3;
    expect_another(f, &at, 1);
    fake_volume(id)->trouble = "Somebody is at it.";
    expect_another(f, &at, 1);
    given.has_maximum_cache_size = true;
    given.maximum_cache_size = 1 << 30;
    expect_done(update(f, id, &given));
    expect_another(f, &at, 1);
    two = fixture_drive(f, account, "two");
    expect_another(f, &at, 2);
    expect_done(delete(f, two, false));
    expect_another(f, &at, 1);
    fixture_restart(f);
    expect_another(f, &at, 1);
    a = list(f, "/nobody's", NULL);
    assert_false(a.reply->drive_listed->has_state);
    answer_free(&a);
}

static void force_deletes_what_is_pending(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    size_t ended = 0;

    fake_volume(id)->pending = 3;
    fake_volume(id)->ended = &ended;
    expect_done(delete(f, id, true));
    assert_int_equal(ended, 1);
    expect_nothing(f);
}

static void drive_in_use_is_not_deleted(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");

    f->unmount_failure = "A program works in it.";
    expect_error(delete(f, id, true), -EBUSY, "A program works in it.");
    assert_int_equal(count(f), 1);
    assert_non_null(fake_volume(id));
    f->unmount_failure = NULL;
    expect_done(delete(f, id, false));
    expect_nothing(f);
}

/* --- restarts --------------------------------------------------------------------------------- */

static void drives_come_back(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *one = fixture_drive(f, account, "one");
    CLEANUP_FREE char *two = fixture_drive(f, account, "two");
    struct answer a;

    f->n_mounted = 0;
    fixture_restart(f);
    assert_int_equal(fake_volumes(), 2);
    assert_true(fixture_is_mounted(f, one) && fixture_is_mounted(f, two));
    a = list(f, NULL, NULL);
    assert_int_equal(a.reply->drive_listed->n_drives, 2);
    assert_true(strcmp(a.reply->drive_listed->drives[0]->id, a.reply->drive_listed->drives[1]->id) < 0);
    answer_free(&a);
    expect_done(delete(f, one, false));
    expect_done(delete(f, two, false));
    expect_nothing(f);
}

/* What the first drive of the list says about itself; static storage. */
static const char *mount_error(struct fixture *f)
{
    static char text[256];
    struct answer a = list(f, NULL, NULL);
    const char *why = a.reply->drive_listed->drives[0]->mount_error;

    snprintf(text, sizeof(text), "%s", why ? why : "");
    answer_free(&a);
    return text;
}

static void why_a_drive_is_not_mounted_is_shown(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive change = LF__CLOUD_DRIVE__INIT;
    struct answer a;

    assert_string_equal(mount_error(f), "");
    f->n_mounted = 0;
    f->mount_failure = "Something lies in the way.";
    fixture_restart(f);
    wait_until(f, *mount_error(f));
    assert_string_equal(mount_error(f), "Something lies in the way.");
    change.has_maximum_cache_size = true;
    change.mount_error = (char *)"nothing of yours";
    expect_done(update(f, id, &change));
    assert_string_equal(mount_error(f), "Something lies in the way.");
    f->mount_failure = NULL;
    fixture_restart(f);
    wait_until(f, !*mount_error(f));
    assert_true(fixture_is_mounted(f, id));
    fake_volume(id)->trouble = "Somebody is at it.";
    a = list(f, NULL, NULL);
    assert_string_equal(a.reply->drive_listed->drives[0]->trouble, "Somebody is at it.");
    assert_null(a.reply->drive_listed->drives[0]->mount_error);
    answer_free(&a);
    fake_volume_bad = "one";
    fixture_restart(f);
    assert_string_equal(mount_error(f), "The index is damaged and was kept as index.db.corrupt.");
    fake_volume_bad = NULL;
}

/* Nothing can be written there by accident; somebody's own empty directory is as before when it was in vain. */
static void unmounted_mount_point_is_closed(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    char path[160];
    struct stat st;
    struct row r;

    free(fixture_drive(f, account, "one"));
    snprintf(path, sizeof(path), "%s/one", f->mount_root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0500);
    snprintf(path, sizeof(path), "%s/mine", f->mount_root);
    assert_int_equal(mkdir(path, 0750), 0);
    good(&r, account, "mine");
    f->mount_failure = "no";
    expect_error(fixture_insert(f, &r.drive), -EBUSY, "no");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    f->mount_failure = NULL;
    expect_done(fixture_insert(f, &r.drive));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0500);
}

static void one_bad_drive_does_not_stop_the_others(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *bad = fixture_drive(f, account, "bad");
    CLEANUP_FREE char *good_one = fixture_drive(f, account, "good");
    Lf__ObjectStatusGet get = LF__OBJECT_STATUS_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_STATUS_GET, object_status_get, &get);
    char path[160];

    fake_volume_bad = "bad";
    fixture_restart(f);
    wait_until(f, !fixture_is_mounted(f, bad) && fixture_is_mounted(f, good_one));
    assert_int_equal(count(f), 2);
    snprintf(path, sizeof(path), "%s/bad/x", f->mount_root);
    get.path = path;
    expect_error(fixture_ask(f, &env), -EUCLEAN, "index is damaged");
    expect_error(delete(f, bad, false), -EBUSY, "force");
    expect_done(delete(f, bad, true));
    fake_volume_bad = NULL;
    expect_done(delete(f, good_one, false));
    expect_nothing(f);
}

/* The daemon died after storing and before answering: nobody knows of the drive. The caller frees the model. */
static Lf__CloudDrive *half_make(struct fixture *f, struct row *r)
{
    Lf__CloudDrive *model = NULL;
    struct error e = { 0 };
    struct drive_folders *folders;

    assert_int_equal(drive_model_new(f->syncd, &r->drive, &model, &e), 0);
    assert_int_equal(store_drive_insert(f->syncd->store, model), 0);
    folders = drive_folders_new(f->syncd, model);
    drive_folders_make(folders);
    assert_int_equal(folders->error.code, 0);
    drive_folders_free(folders);
    assert_true(there(model->permanent_local_path, "") && there(model->local_path, ""));
    return model;
}

/* As they are after a syncd that died between them and the store. */
static void folders_that_are_gone_are_no_failure(void **state)
{
    struct drive_folders *f = xcalloc(1, sizeof(*f));

    (void)state;
    f->id = xstrdup("id");
    f->state_dir = xstrdup("/tmp/landfall-there-is-no-such-folder");
    f->cache_dir = xstrdup("/tmp/landfall-there-is-no-such-folder");
    f->made_state_dir = f->made_cache_dir = true;
    drive_folders_remove(f);
    assert_int_equal(f->error.code, 0);
    drive_folders_free(f);
}

static void half_made_drive_is_removed_at_start(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__CloudDrive *model;
    struct row r;

    good(&r, account, "half");
    model = half_make(f, &r);
    fixture_restart(f);
    wait_until(f, !there(model->permanent_local_path, "") && !there(model->local_path, ""));
    wait_until(f, !drive_find(f->syncd, model->id));
    lf__cloud_drive__free_unpacked(model, NULL);
    expect_nothing(f);
    expect_done(fixture_insert(f, &r.drive));
}

static void make_index(struct fixture *f, const Lf__CloudDrive *model)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/state/drives/%s/index.db", f->dir, model->id);
    assert_int_equal(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
}

/* Nobody knows what is on it. */
static void half_made_drive_with_a_bad_index_is_kept(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__CloudDrive *model;
    struct row r;

    good(&r, account, "half");
    model = half_make(f, &r);
    make_index(f, model);
    fake_volume_bad = "half";
    fixture_restart(f);
    fake_volume_bad = NULL;
    assert_int_equal(count(f), 1);
    assert_true(there(model->permanent_local_path, "") && there(model->local_path, ""));
    assert_false(fixture_is_mounted(f, model->id));
    lf__cloud_drive__free_unpacked(model, NULL);
}

/* It was mounted before the daemon died, and somebody wrote something. */
static void half_made_drive_with_changes_is_kept(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__CloudDrive *model;
    struct row r;

    good(&r, account, "half");
    model = half_make(f, &r);
    make_index(f, model);
    fake_volume_changed = "half";
    fixture_restart(f);
    assert_int_equal(count(f), 1);
    wait_until(f, fixture_is_mounted(f, model->id));
    assert_true(there(model->permanent_local_path, "") && there(model->local_path, ""));
    fake_volume_changed = NULL;
    fixture_restart(f);
    assert_int_equal(count(f), 1);
    expect_error(fixture_insert(f, &r.drive), -EEXIST, "half");
    lf__cloud_drive__free_unpacked(model, NULL);
}

/* --- lists, mounts, workers ------------------------------------------------------------------- */

static void long_lists_come_in_pages(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *page = NULL;
    Lf__CloudDrive *model;
    size_t n = 0, pages = 0;

    /* Straight into memory: 400 drives of half a KiB. */
    for (int i = 0; i < 400; i++) {
        char name[256];
        struct row r;

        snprintf(name, sizeof(name), "%03d-%0200d", i, i);
        good(&r, account, name);
        assert_int_equal(drive_model_new(f->syncd, &r.drive, &model, NULL), 0);
        drive_add(f->syncd, model)->phase = DRIVE_READY;
    }
    do {
        struct answer a = list(f, NULL, page);

        assert_int_equal(a.e.code, 0);
        n += a.reply->drive_listed->n_drives;
        pages++;
        xstrset(&page, a.reply->drive_listed->next_page);
        answer_free(&a);
    } while (page);
    assert_int_equal(n, 400);
    assert_true(pages > 1);
}

static void worker_gets_the_volume(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__WorkerAttach attach = LF__WORKER_ATTACH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_ATTACH, worker_attach, &attach);
    struct answer a;

    attach.drive_id = (char *)"7b2f8f3c-0000-4000-8000-000000000000";
    expect_error(fixture_ask_as_mountd(f, &env), -ENOENT, "no such drive");
    attach.drive_id = id;
    a = fixture_ask_as_mountd(f, &env);
    assert_int_equal(a.e.code, 0);
    assert_true(a.fd >= 0);
    assert_non_null(fake_volume(id)->worker);
    answer_free(&a);                                  /* closes the far end */
    wait_until(f, !fake_volume(id)->worker);
    a = fixture_ask_as_mountd(f, &env);
    assert_non_null(fake_volume(id)->worker);
    expect_done(delete(f, id, false));                /* with a worker attached */
    answer_free(&a);
    expect_nothing(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

static struct answer ask_sync(struct fixture *f, const char *id, const char *path)
{
    Lf__DriveSync msg = LF__DRIVE_SYNC__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_SYNC, drive_sync, &msg);

    msg.id = (char *)id;
    msg.path = (char *)path;
    return fixture_ask(f, &env);
}

static void a_drive_is_synchronised_at_once(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    struct answer a = ask_sync(f, id, NULL);

    assert_int_equal(a.e.code, 0);
    assert_string_equal(fake_volume(id)->synced, "/");
    answer_free(&a);
    a = ask_sync(f, id, "/photos//2026/");
    assert_int_equal(a.e.code, 0);
    assert_string_equal(fake_volume(id)->synced, "/photos/2026");
    answer_free(&a);
    expect_error(ask_sync(f, id, "photos/../.."), -EPERM, "..");
    expect_error(ask_sync(f, "00000000-0000-0000-0000-000000000000", NULL), -ENOENT, "no drive");
    expect_error(ask_sync(f, "..", NULL), -ENOENT, "no drive");
    fake_volume(id)->paused = true;
    expect_error(ask_sync(f, id, NULL), -ENETDOWN, "paused");
}

static struct answer ask_show(struct fixture *f, const char *id)
{
    Lf__DriveShow msg = LF__DRIVE_SHOW__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_SHOW, drive_show, &msg);

    msg.id = (char *)id;
    return fixture_ask(f, &env);
}

/* Whom it is shown to the integration tests say. */
static void only_a_mounted_drive_is_shown_and_not_at_once_again(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");

    expect_error(ask_show(f, "00000000-0000-0000-0000-000000000000"), -ENOENT, "no drive");
    expect_error(ask_show(f, "/etc"), -ENOENT, "no drive");
    wait_until(f, drive_find(f->syncd, id)->mount == DRIVE_MOUNT_MOUNTED);
    f->syncd->uid = 1234567;     /* one without a session */
    expect_error(ask_show(f, id), -EOPNOTSUPP, "no desktop session of user 1234567");
    assert_in_range(drive_find(f->syncd, id)->shown_ns, 1, loop_now_ns());
    drive_find(f->syncd, id)->shown_ns = loop_now_ns() + INT64_C(60000000000);   /* however late we are */
    expect_error(ask_show(f, id), -EAGAIN, "a moment ago");
    drive_find(f->syncd, id)->mount = DRIVE_MOUNT_NONE;
    expect_error(ask_show(f, id), -EINVAL, "not mounted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(insert_fills_in_and_forces),
        TEST(insert_refuses),
        TEST(local_path_is_ours),
        TEST(names_letters_and_caches_are_unique),
        TEST(mount_point_must_be_free),
        TEST(failed_mount_leaves_nothing),
        TEST(failed_index_leaves_nothing),
        TEST(given_cache_folder_stays_when_insertion_fails),
        TEST(inactive_drive_is_not_mounted),
        TEST(update_of_settings_keeps_the_mount),
        TEST(rename_moves_the_mount_point),
        TEST(failed_rename_comes_back),
        TEST(update_refuses),
        TEST(delete_waits_for_uploads),
        TEST(lists_say_what_is_pending),
        TEST(a_list_that_is_known_is_not_said_again),
        TEST(force_deletes_what_is_pending),
        TEST(drive_in_use_is_not_deleted),
        TEST(drives_come_back),
        TEST(why_a_drive_is_not_mounted_is_shown),
        TEST(unmounted_mount_point_is_closed),
        TEST(one_bad_drive_does_not_stop_the_others),
        TEST(cache_folders_of_others_are_refused),
        TEST(caches_are_apart_from_the_rest),
        TEST(nothing_behind_a_link_is_removed),
        TEST(nothing_in_another_folder_is_removed),
        cmocka_unit_test(folders_that_are_gone_are_no_failure),
        TEST(half_made_drive_is_removed_at_start),
        TEST(half_made_drive_with_changes_is_kept),
        TEST(half_made_drive_with_a_bad_index_is_kept),
        TEST(long_lists_come_in_pages),
        TEST(worker_gets_the_volume),
        cmocka_unit_test_setup_teardown(a_drive_is_synchronised_at_once, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(only_a_mounted_drive_is_shown_and_not_at_once_again, fixture_set_up,
                                        fixture_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
