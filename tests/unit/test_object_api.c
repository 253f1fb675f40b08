/* Paths to objects, and what the object endpoints answer; presigned URLs; the life of the agent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/metrics.h"
#include "syncd/drive.h"
#include "syncd/path.h"
#include "tests/unit/fake_volume.h"
#include "tests/unit/syncd_fixture.h"

/* --- paths ------------------------------------------------------------------------------------ */

/* %M is the mount root, %C the cache folder of the drive "one"; NULL as relative: the code alone counts. */
static const struct {
    const char *path;
    int code;
    const char *drive, *relative;
} PATHS[] = {
    { "%M/one", 0, "one", "" },
    { "%M/one/", 0, "one", "" },
    { "%M/one/a", 0, "one", "a" },
    { "%M//one///a//b/", 0, "one", "a/b" },
    { "%M/./one/./a", 0, "one", "a" },
    { "%M/one/a\\b", 0, "one", "a\\b" },
    { "%M/one/ a\nb#%25+&\"'", 0, "one", " a\nb#%25+&\"'" },
    { "%M/one/...", 0, "one", "..." },
    { "%M/one/..a", 0, "one", "..a" },
    { "%M/one two/a", 0, "one two", "a" },
    { "%C/a/b", 0, "one", "a/b" },
    { "%C", 0, "one", "" },
    { "G:", 0, "one", "" },
    { "G:\\", 0, "one", "" },
    { "G:\\dir\\file", 0, "one", "dir/file" },
    { "g:/dir/file", 0, "one", "dir/file" },
    { "G:\\dir/file\\", 0, "one", "dir/file" },
    { "%M/one/..", -EPERM, NULL, NULL },
    { "%M/one/../one/a", -EPERM, NULL, NULL },
    { "%M/../x", -EPERM, NULL, NULL },
    { "G:\\..\\x", -EPERM, NULL, NULL },
    { "G:\\a\\..", -EPERM, NULL, NULL },
    { "G:/a/../b", -EPERM, NULL, NULL },
    { "%C/../x", -EPERM, NULL, NULL },
    { "%M", -ENOENT, NULL, NULL },
    { "%M/onetwo", -ENOENT, NULL, NULL },
    { "%M/on", -ENOENT, NULL, NULL },
    { "%M/none/a", -ENOENT, NULL, NULL },
    { "%Cx/a", -ENOENT, NULL, NULL },
    { "/", -ENOENT, NULL, NULL },
    { "/etc/passwd", -ENOENT, NULL, NULL },
    { "", -ENOENT, NULL, NULL },
    { "one/a", -ENOENT, NULL, NULL },
    { "H:\\a", -ENOENT, NULL, NULL },
    { "G", -ENOENT, NULL, NULL },
    { "G:a", -ENOENT, NULL, NULL },
    { "GG:\\a", -ENOENT, NULL, NULL },
};

static void expand(const struct fixture *f, const struct drive *one, const char *from, char *to, size_t size)
{
    const char *head = strncmp(from, "%M", 2) == 0 ? f->mount_root
                       : strncmp(from, "%C", 2) == 0 ? one->model->permanent_local_path : "";

    snprintf(to, size, "%s%s", head, from + (*head ? 2 : 0));
}

static char *lettered_drive(struct fixture *f, const char *account, const char *name, const char *letter)
{
    char *id = fixture_drive(f, account, name);
    Lf__CloudDrive change = LF__CLOUD_DRIVE__INIT;
    Lf__DriveUpdate msg = LF__DRIVE_UPDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_UPDATE, drive_update, &msg);
    struct answer a;

    change.drive_name = (char *)letter;
    msg.id = id;
    msg.drive = &change;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    return id;
}

static void paths_resolve(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = lettered_drive(f, account, "one", "G");

    free(fixture_drive(f, account, "one two"));
    for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++) {
        char path[512];
        struct drive *drive = NULL;
        CLEANUP_FREE char *relative = NULL;
        struct error e = { 0 };

        expand(f, drive_find(f->syncd, id), PATHS[i].path, path, sizeof(path));
        if (path_resolve(f->syncd, path, &drive, &relative, &e) != PATHS[i].code)
            fail_msg("%s: %d (%s)", path, e.code, e.text);
        if (PATHS[i].code)
            continue;
        assert_string_equal(drive->model->name, PATHS[i].drive);
        assert_string_equal(relative, PATHS[i].relative);
    }
}

/* The mount root is a symbolic link: its target names the same drives. */
static void mount_root_may_be_a_link(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = NULL;
    char real[128], path[160];
    struct drive *drive;

    snprintf(real, sizeof(real), "%s/real", f->dir);
    assert_int_equal(mkdir(real, 0700), 0);
    assert_int_equal(symlink(real, f->mount_root), 0);
    fixture_restart(f);
    id = fixture_drive(f, account, "one");
    snprintf(path, sizeof(path), "%s/one/a", real);
    assert_int_equal(path_owner(f->syncd, path, &drive), 0);
    snprintf(path, sizeof(path), "%s/one/a", f->mount_root);
    assert_int_equal(path_owner(f->syncd, path, &drive), 0);
}

static void ownership_filters_lists(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__DriveList list = LF__DRIVE_LIST__INIT;
    Lf__Envelope ask_list = IPC_ENVELOPE(DRIVE_LIST, drive_list, &list);
    Lf__DriveExists exists = LF__DRIVE_EXISTS__INIT;
    Lf__Envelope ask_exists = IPC_ENVELOPE(DRIVE_EXISTS, drive_exists, &exists);
    static const struct { const char *path, *exists; } rows[] = {
        { "G:\\x", "1" }, { "/etc", "0" }, { "G:\\..", "0" }, { "Z:\\", "0" },
    };

    free(lettered_drive(f, account, "one", "G"));
    free(fixture_drive(f, account, "two"));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct answer a;

        list.path = exists.path = (char *)rows[i].path;
        a = fixture_ask(f, &ask_list);
        assert_int_equal(a.e.code, 0);
        assert_int_equal(a.reply->drive_listed->n_drives, *rows[i].exists == '1');
        answer_free(&a);
        a = fixture_ask(f, &ask_exists);
        assert_string_equal(a.reply->drive_existence->exists, rows[i].exists);
        answer_free(&a);
    }
}

static void renames_have_a_status(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__RenameStatusGet get = LF__RENAME_STATUS_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(RENAME_STATUS_GET, rename_status_get, &get);
    struct { const char *path; bool finished; } rows[] = {
        { "G:\\dir", false }, { "G:\\dir\\file", true }, { "G:\\", true },
    };
    struct answer a;

    free(lettered_drive(f, account, "one", "G"));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        get.path = (char *)(uintptr_t)rows[i].path;
        a = fixture_ask(f, &env);
        assert_int_equal(a.reply->rename_status->finished, rows[i].finished);
        answer_free(&a);
    }
    get.path = (char *)"/nowhere/dir";
    expect_error(fixture_ask(f, &env), -ENOENT, "");
}

/* --- objects ---------------------------------------------------------------------------------- */

static void objects_have_state_and_info(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__ObjectStatusGet status = LF__OBJECT_STATUS_GET__INIT;
    Lf__Envelope ask_status = IPC_ENVELOPE(OBJECT_STATUS_GET, object_status_get, &status);
    Lf__ObjectInfoGet info = LF__OBJECT_INFO_GET__INIT;
    Lf__Envelope ask_info = IPC_ENVELOPE(OBJECT_INFO_GET, object_info_get, &info);
    char expected[160];
    struct answer a;
    Lf__ObjectInfo *o;

    free(lettered_drive(f, account, "one", "G"));
    status.path = info.path = (char *)"G:\\dir\\file";
    a = fixture_ask(f, &ask_status);
    assert_int_equal(a.reply->object_status->state, 1);
    answer_free(&a);
    a = fixture_ask(f, &ask_info);
    o = a.reply->object_info_found->info;
    snprintf(expected, sizeof(expected), "%s/one/dir/file", f->mount_root);
    assert_string_equal(o->path, expected);
    assert_string_equal(o->drive_name, "G");
    assert_string_equal(o->bucket_name, "bucket");
    assert_string_equal(o->last_modified_date, "1970-01-01T00:00:00Z");
    assert_int_equal(o->size, 5);
    assert_int_equal(o->state, 1);
    assert_false(o->is_directory);
    answer_free(&a);
    info.path = (char *)"G:";
    a = fixture_ask(f, &ask_info);
    assert_true(a.reply->object_info_found->info->is_directory);
    answer_free(&a);
    status.path = (char *)"G:\\no";
    expect_error(fixture_ask(f, &ask_status), -ENOENT, "no");
    status.path = (char *)"/etc/passwd";
    expect_error(fixture_ask(f, &ask_status), -ENOENT, "No drive owns");
    status.path = (char *)"G:\\..\\x";
    expect_error(fixture_ask(f, &ask_status), -EPERM, "..");
}

static void objects_are_explained(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__ObjectExplain explain = LF__OBJECT_EXPLAIN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_EXPLAIN, object_explain, &explain);
    char expected[160];
    struct answer a;

    free(lettered_drive(f, account, "one", "G"));
    explain.path = (char *)"G:\\dir\\file";
    a = fixture_ask(f, &env);
    snprintf(expected, sizeof(expected), "%s/one/dir/file", f->mount_root);
    assert_string_equal(a.reply->object_explained->explanation->path, expected);
    assert_string_equal(a.reply->object_explained->explanation->drive_name, "G");
    assert_string_equal(a.reply->object_explained->explanation->bucket_name, "bucket");
    assert_int_equal(a.reply->object_explained->explanation->inode, 2);
    answer_free(&a);
    explain.path = (char *)"G:\\no";
    expect_error(fixture_ask(f, &env), -ENOENT, "no");
    explain.path = (char *)"/etc/passwd";
    expect_error(fixture_ask(f, &env), -ENOENT, "No drive owns");
}

/* The played volume says for how long it was asked to wait as `pending`. */
static void waiting_has_a_limit_and_follows_the_object(void **state)
{
    static const struct {
        const char *path, *id;
        int seconds;        /* -1: not given */
        int64_t told;
        bool there;
        const char *is;
    } rows[] = {
        { "G:\\dir", NULL, 5, 5, true, "1" },       { "G:\\dir\\file", NULL, -1, 30, false, "2" },
        { "G:\\dir\\file", NULL, 3600, 60, false, "2" }, { "G:\\dir\\file", NULL, -5, 0, false, "2" },
        { "G:\\gone", "2", 5, 5, false, "2" },      { "G:\\dir", "77", 5, 5, true, "1" },
        { "G:\\dir", "x", 5, 5, true, "1" },        { "G:\\dir", "", 5, 5, true, "1" },
    };
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__ObjectAwait wait = LF__OBJECT_AWAIT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_AWAIT, object_await, &wait);

    free(lettered_drive(f, account, "one", "G"));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const Lf__Arrival *arrival;
        struct answer a;

        wait.path = (char *)(uintptr_t)rows[i].path;
        wait.id = (char *)(uintptr_t)rows[i].id;
        wait.has_seconds = rows[i].seconds != -1;
        wait.seconds = rows[i].seconds;
        a = fixture_ask(f, &env);
        arrival = a.reply->object_awaited->arrival;
        assert_int_equal(arrival->there, rows[i].there);
        assert_int_equal(arrival->pending, rows[i].told);
        assert_string_equal(arrival->id, rows[i].is);
        answer_free(&a);
    }
    wait.path = (char *)"G:\\no";
    wait.id = NULL;
    expect_error(fixture_ask(f, &env), -ENOENT, "no");
    wait.path = (char *)"/etc/passwd";
    expect_error(fixture_ask(f, &env), -ENOENT, "No drive owns");
}

static void encryption_of_what_is_there(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__ObjectEncrypt encrypt = LF__OBJECT_ENCRYPT__INIT;
    Lf__EncryptionGet get = LF__ENCRYPTION_GET__INIT;
    Lf__Envelope asks = IPC_ENVELOPE(OBJECT_ENCRYPT, object_encrypt, &encrypt);
    Lf__Envelope gets = IPC_ENVELOPE(ENCRYPTION_GET, encryption_get, &get);
    const Lf__Encryption *p;
    struct answer a;

    free(lettered_drive(f, account, "one", "G"));
    encrypt.path = (char *)(uintptr_t)"G:\\dir\\file";
    a = fixture_ask(f, &asks);
    assert_int_equal(a.reply->body_case, LF__ENVELOPE__BODY_DONE);
    answer_free(&a);
    encrypt.path = (char *)(uintptr_t)"G:\\dir";
    expect_error(fixture_ask(f, &asks), -EINVAL, "does not encrypt");
    get.path = (char *)(uintptr_t)"G:\\anything";
    get.has_seconds = true;
    get.seconds = 3600;
    a = fixture_ask(f, &gets);
    p = a.reply->encryption_found->progress;
    assert_int_equal(p->files_left, 60);
    assert_int_equal(p->n_failures, 1);
    assert_non_null(strstr(p->failures[0]->path, "/dir/file"));
    assert_string_equal(p->failures[0]->reason, "It is too large.");
    answer_free(&a);
    get.path = (char *)(uintptr_t)"/etc/passwd";
    expect_error(fixture_ask(f, &gets), -ENOENT, "No drive owns");
}

static struct answer ask_offline(struct fixture *f, bool make, const char *path)
{
    Lf__ObjectMakeOffline made = LF__OBJECT_MAKE_OFFLINE__INIT;
    Lf__ObjectRemoveOffline removed = LF__OBJECT_REMOVE_OFFLINE__INIT;
    Lf__Envelope env = LF__ENVELOPE__INIT;

    env.body_case = make ? LF__ENVELOPE__BODY_OBJECT_MAKE_OFFLINE : LF__ENVELOPE__BODY_OBJECT_REMOVE_OFFLINE;
    if (make)
        env.object_make_offline = &made;
    else
        env.object_remove_offline = &removed;
    made.path = removed.path = (char *)(uintptr_t)path;
    return fixture_ask(f, &env);
}

static void objects_are_made_offline(void **state)
{
    static const struct {
        bool make;
        const char *path;
        int code;
        const char *text;
        uint64_t offline;   /* afterwards */
    } rows[] = {
        { true, "G:\\dir\\file", 0, NULL, 2 },     { true, "%M/one/dir/file", 0, NULL, 2 },
        { false, "G:/dir/file", 0, NULL, 0 },        { false, "G:/dir/file", 0, NULL, 0 },
        { true, "G:\\dir", 0, NULL, 1 },            { false, "%C/dir/file", -EINVAL, "all of dir/", 1 },
        { true, "G:\\no", -ENOENT, "no", 1 },       { false, "G:\\no", -ENOENT, "no", 1 },
        { true, "/etc", -ENOENT, "No drive owns", 1 }, { false, "/etc", -ENOENT, "No drive owns", 1 },
        { true, "G:\\..\\x", -EPERM, "..", 1 },     { false, "%M/one/../x", -EPERM, "..", 1 },
        { false, "%M/one", 0, NULL, 0 },
    };
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = lettered_drive(f, account, "one", "G");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct answer a;
        char path[512];

        expand(f, drive_find(f->syncd, id), rows[i].path, path, sizeof(path));
        a = ask_offline(f, rows[i].make, path);
        assert_int_equal(fake_volume(id)->offline, rows[i].offline);
        if (rows[i].code) {
            expect_error(a, rows[i].code, rows[i].text);
            continue;
        }
        assert_int_equal(a.e.code, 0);
        assert_int_equal(a.reply->body_case, LF__ENVELOPE__BODY_DONE);
        answer_free(&a);
    }
}

static void metrics_have_the_drives(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__MetricsGet get = LF__METRICS_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(METRICS_GET, metrics_get, &get);
    unsigned of_drive = 0;
    struct answer a;

    fake_volume(id)->pending = 7;
    a = fixture_ask(f, &env);
    for (size_t i = 0; i < a.reply->metrics->n_samples; i++) {
        const Lf__Sample *s = a.reply->metrics->samples[i];

        if (s->metric == METRIC_PENDING) {
            assert_string_equal(s->labels[0], "one");
            assert_int_equal(s->value, 7);
        }
        of_drive += s->n_labels && strcmp(s->labels[0], "one") == 0;
    }
    assert_int_equal(of_drive, 3);   /* what it is, whether it is mounted, and what the volume says */
    assert_null(a.reply->metrics->next_page);
    answer_free(&a);
    get.page = id;                   /* behind the last one */
    a = fixture_ask(f, &env);
    assert_int_equal(a.reply->metrics->n_samples, 0);
    answer_free(&a);
}

static void directories_come_in_pages(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *page = NULL;
    Lf__ObjectInfoList list = LF__OBJECT_INFO_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_INFO_LIST, object_info_list, &list);
    size_t n = 0, pages = 0;

    free(lettered_drive(f, account, "one", "G"));
    list.path = (char *)"G:\\dir";
    do {
        struct answer a;

        list.page = page;
        a = fixture_ask(f, &env);
        assert_int_equal(a.e.code, 0);
        for (size_t i = 0; i < a.reply->object_info_listed->n_objects; i++, n++) {
            char expected[192];

            snprintf(expected, sizeof(expected), "%s/one/dir/name-%04zu", f->mount_root, n);
            assert_string_equal(a.reply->object_info_listed->objects[i]->path, expected);
        }
        xstrset(&page, a.reply->object_info_listed->next_page);
        pages++;
        answer_free(&a);
    } while (page);
    assert_int_equal(n, 1500);
    assert_true(pages > 1);
    list.page = NULL;
    list.path = (char *)"G:\\dir\\file";
    expect_error(fixture_ask(f, &env), -ENOTDIR, "not a directory");
}

static void contents_come_through_a_pipe(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    Lf__StreamOpen open_ = LF__STREAM_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(STREAM_OPEN, stream_open, &open_);
    struct answer a;
    char bytes[8] = "";

    free(lettered_drive(f, account, "one", "G"));
    open_.path = (char *)"G:\\dir\\file";
    open_.has_start = open_.has_end = true;
    open_.start = 1;
    open_.end = 3;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    assert_int_equal(a.reply->stream_opened->first, 1);
    assert_int_equal(a.reply->stream_opened->last, 3);
    assert_int_equal(a.reply->stream_opened->size, 5);
    assert_int_equal(read(a.fd, bytes, sizeof(bytes)), 3);
    assert_string_equal(bytes, "ell");
    answer_free(&a);
    open_.start = 5;
    open_.has_end = false;
    expect_error(fixture_ask(f, &env), -ERANGE, "5 bytes");
    open_.start = -1;
    expect_error(fixture_ask(f, &env), -ERANGE, "range");
    open_.start = 3;
    open_.has_end = true;
    open_.end = 2;
    expect_error(fixture_ask(f, &env), -ERANGE, "range");
}

/* --- presigned URLs --------------------------------------------------------------------------- */

static void presigning_refuses(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one");
    Lf__CloudDrive read_only = LF__CLOUD_DRIVE__INIT;
    Lf__DriveUpdate update = LF__DRIVE_UPDATE__INIT;
    Lf__Envelope ask_update = IPC_ENVELOPE(DRIVE_UPDATE, drive_update, &update);
    Lf__Presign p = LF__PRESIGN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(PRESIGN, presign, &p);
    struct answer a;

    expect_error(fixture_ask(f, &env), -EINVAL, "driveName");
    p.drive_name = (char *)"none";
    p.relative_path = (char *)"a";
    expect_error(fixture_ask(f, &env), -ENOENT, "none");
    p.drive_name = (char *)"one";
    expect_error(fixture_ask(f, &env), -EOPNOTSUPP, "presigned");     /* a folder on this machine has no URLs */
    p.relative_path = (char *)"../a";
    expect_error(fixture_ask(f, &env), -EPERM, "..");
    p.relative_path = (char *)"/";
    expect_error(fixture_ask(f, &env), -EINVAL, "object");
    p.relative_path = NULL;
    expect_error(fixture_ask(f, &env), -EINVAL, "missing");
    p.upload_key = (char *)"x/../../a";
    expect_error(fixture_ask(f, &env), -EPERM, "..");
    read_only.has_permission_type = true;
    read_only.permission_type = 1;
    update.id = id;
    update.drive = &read_only;
    a = fixture_ask(f, &ask_update);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    p.upload_key = (char *)"a";
    expect_error(fixture_ask(f, &env), -EROFS, "read-only");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_resolve),
        TEST(mount_root_may_be_a_link),
        TEST(ownership_filters_lists),
        TEST(renames_have_a_status),
        TEST(objects_have_state_and_info),
        TEST(objects_are_explained),
        TEST(waiting_has_a_limit_and_follows_the_object),
        TEST(objects_are_made_offline),
        TEST(encryption_of_what_is_there),
        TEST(metrics_have_the_drives),
        TEST(directories_come_in_pages),
        TEST(contents_come_through_a_pipe),
        TEST(presigning_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
