/* What the API does with single objects of a bucket, beside the drives: keys that are refused, URLs, deleting, folders. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/bucket_key.h"
#include "tests/unit/syncd_fixture.h"

static char LONG[BUCKET_KEY_MAX + 2];

/* --- keys ------------------------------------------------------------------------------------- */

static void keys_are_taken_as_they_are_or_refused(void **state)
{
    static const struct { const char *key; int r; } rows[] = {
        { "a", 0 }, { "a/b", 0 }, { "a/", 0 }, { "/a", 0 }, { "a//b", 0 }, { ".a", 0 }, { "a/...", 0 }, { "..a/b..", 0 },
        { "f\xc3\xa4rben", 0 }, { "a b+c%2e", 0 },
        { NULL, -EINVAL }, { "", -EINVAL }, { "a\nb", -EINVAL }, { "a\x7f", -EINVAL }, { "\xff", -EINVAL },
        { "\xc0\xae\xc0\xae/a", -EINVAL }, { LONG, -EINVAL },
        { "..", -EPERM }, { "../a", -EPERM }, { "a/..", -EPERM }, { "a/../b", -EPERM }, { "a/./b", -EPERM },
        { ".", -EPERM }, { "/..", -EPERM }, { "a/../", -EPERM },
    };

    (void)state;
    memset(LONG, 'x', sizeof(LONG) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error e = { 0 };

        if (bucket_key_check("key", rows[i].key, &e) != rows[i].r)
            fail_msg("%.40s: %s", rows[i].key ? rows[i].key : "(none)", e.text);
        assert_true(rows[i].r == 0 || strncmp(e.text, "key ", 4) == 0);
    }
}

static void names_are_put_into_folders(void **state)
{
    static const struct { const char *folder, *name, *tail, *key; int r; } rows[] = {
        { NULL, "a", "", "a", 0 }, { "", "a", "/", "a/", 0 }, { "/", "a", "", "a", 0 }, { "b", "a", "", "b/a", 0 },
        { "/b/c/", "a", "/", "b/c/a/", 0 },
        { "/", NULL, "", NULL, -EINVAL }, { "/", "", "/", NULL, -EINVAL }, { "/", "a/b", "", NULL, -EINVAL },
        { "/", "..", "/", NULL, -EPERM }, { "../b", "a", "", NULL, -EPERM }, { "/b/..", "a", "", NULL, -EPERM },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_FREE char *key = NULL;
        struct error e = { 0 };

        assert_int_equal(bucket_key_make("name", rows[i].folder, rows[i].name, rows[i].tail, &key, &e), rows[i].r);
        if (rows[i].key)
            assert_string_equal(key, rows[i].key);
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct answer ask_delete(struct fixture *f, char *account, const char *key)
{
    Lf__CloudObjectDelete msg = LF__CLOUD_OBJECT_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CLOUD_OBJECT_DELETE, cloud_object_delete, &msg);

    msg.cloud_account_id = account;
    msg.storage_name = (char *)"bucket";
    msg.key = (char *)key;
    return fixture_ask(f, &env);
}

static struct answer ask_folder(struct fixture *f, char *account, const char *path, const char *name)
{
    Lf__CloudFolderCreate msg = LF__CLOUD_FOLDER_CREATE__INIT;
    Lf__CloudAccount model = LF__CLOUD_ACCOUNT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CLOUD_FOLDER_CREATE, cloud_folder_create, &msg);

    model.id = account;
    model.secret_key = (char *)"****";
    msg.cloud_account = &model;
    msg.storage_name = (char *)"bucket";
    msg.path = (char *)path;
    msg.folder_name = (char *)name;
    return fixture_ask(f, &env);
}

static void expect_done(struct answer a)
{
    if (a.e.code)
        fail_msg("%s", error_text(&a.e));
    answer_free(&a);
}

static char *file(struct fixture *f, const char *name)
{
    char *path = NULL;
    int fd;

    assert_true(asprintf(&path, "%s/bucket/%s", f->cloud, name) > 0);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    return path;
}

static void one_object_is_deleted(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *a = file(f, "a"), *b = file(f, "b");

    expect_error(ask_delete(f, account, "../bucket/a"), -EPERM, "key");
    expect_error(ask_delete(f, account, ""), -EINVAL, "key");
    expect_error(ask_delete(f, (char *)"5c4f1d0e-0000-4000-8000-000000000001", "a"), -ENOENT, "no account");
    expect_error(ask_delete(f, NULL, "a"), -EINVAL, "account");
    assert_int_equal(access(a, F_OK), 0);
    expect_done(ask_delete(f, account, "a"));
    assert_int_equal(access(a, F_OK), -1);
    assert_int_equal(access(b, F_OK), 0);
}

static void folders_are_made_once(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    char path[160];
    struct stat before, after;

    expect_error(ask_folder(f, account, "/", "a/b"), -EINVAL, "folderName");
    expect_error(ask_folder(f, account, "/..", "a"), -EPERM, "folderName");
    expect_done(ask_folder(f, account, "/", "new"));
    expect_done(ask_folder(f, account, "/new", "inner"));
    snprintf(path, sizeof(path), "%s/bucket/new/inner", f->cloud);
    assert_int_equal(stat(path, &before), 0);
    assert_true(S_ISDIR(before.st_mode));
    assert_int_equal(chmod(path, 0700), 0);
    expect_done(ask_folder(f, account, "new/", "inner"));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode & 07777, 0700);
    assert_int_equal(after.st_ino, before.st_ino);
}

/* --- URLs ------------------------------------------------------------------------------------- */

static struct answer ask_url(struct fixture *f, Lf__CloudAccount *account, const char *key, int hours, bool attach)
{
    Lf__DownloadUrl msg = LF__DOWNLOAD_URL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DOWNLOAD_URL, download_url, &msg);

    msg.cloud_account = account;
    msg.storage_name = (char *)"bucket";
    msg.key = (char *)key;
    msg.has_expire_hours = hours != 0;
    msg.expire_hours = hours;
    msg.has_force_to_download = msg.force_to_download = attach;
    return fixture_ask(f, &env);
}

static struct answer ask_upload_url(struct fixture *f, Lf__CloudAccount *account, const char *type)
{
    Lf__UploadUrl msg = LF__UPLOAD_URL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(UPLOAD_URL, upload_url, &msg);

    msg.cloud_account = account;
    msg.storage_name = (char *)"bucket";
    msg.key = (char *)"dir/a";
    msg.content_type = (char *)type;
    return fixture_ask(f, &env);
}

/* Nobody is at the address: a URL needs none. */
static Lf__CloudAccount an_s3_account(void)
{
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;

    a.has_cloud_type = true;
    a.cloud_type = 8;
    a.service_url = (char *)"http://127.0.0.1:9";
    a.region = (char *)"here";
    a.access_key = (char *)"AKIDEXAMPLE";
    a.secret_key = (char *)"secret";
    return a;
}

static void expect_url(struct answer a, const char *const *parts, const char *absent)
{
    if (a.e.code)
        fail_msg("%s", error_text(&a.e));
    for (size_t i = 0; parts[i]; i++)
        if (!strstr(a.reply->signed_url->url, parts[i]))
            fail_msg("%s has no %s", a.reply->signed_url->url, parts[i]);
    assert_null(strstr(a.reply->signed_url->url, absent));
    answer_free(&a);
}

static void urls_say_what_they_are_good_for(void **state)
{
    struct fixture *f = *state;
    Lf__CloudAccount a = an_s3_account();

    expect_url(ask_url(f, &a, "dir/a b", 0, false),
               (const char *[]){ "/bucket/dir/a%20b?", "X-Amz-Expires=86400&", "X-Amz-SignedHeaders=host&", NULL },
               "disposition");
    expect_url(ask_url(f, &a, "a", 168, true),
               (const char *[]){ "X-Amz-Expires=604800&", "response-content-disposition=attachment&", NULL }, "secret");
    expect_url(ask_upload_url(f, &a, NULL), (const char *[]){ "X-Amz-SignedHeaders=host&", NULL }, "content-type");
    expect_url(ask_upload_url(f, &a, "image/png"),
               (const char *[]){ "X-Amz-SignedHeaders=content-type%3Bhost&", NULL }, "png");
}

static void urls_that_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *folder = fixture_account(f);
    Lf__CloudAccount a = an_s3_account(), local = LF__CLOUD_ACCOUNT__INIT;

    local.id = folder;
    expect_error(ask_url(f, &local, "a", 0, false), -EOPNOTSUPP, "no URLs");
    expect_error(ask_url(f, &a, "../a", 0, false), -EPERM, "key");
    expect_error(ask_url(f, &a, "a", -1, false), -EINVAL, "expireHours");
    expect_error(ask_url(f, &a, "a", 169, false), -EINVAL, "expireHours");
    expect_error(ask_url(f, NULL, "a", 1, false), -EINVAL, "account");
    expect_error(ask_upload_url(f, &a, "text/plain\r\nx: y"), -EINVAL, "contentType");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_taken_as_they_are_or_refused),
        cmocka_unit_test(names_are_put_into_folders),
        TEST(one_object_is_deleted),
        TEST(folders_are_made_once),
        TEST(urls_say_what_they_are_good_for),
        TEST(urls_that_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
