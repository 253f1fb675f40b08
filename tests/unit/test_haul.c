/* Uploads and downloads beside the drives: where keys go, which names files get, and their life in syncd. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/agent.h"
#include "syncd/bucket_place.h"
#include "syncd/haul.h"
#include "syncd/local_path.h"
#include "tests/unit/files.h"
#include "tests/unit/haul_rig.h"

/* --- pure --------------------------------------------------------------------------------------- */

static void keys_become_paths_or_nothing(void **state)
{
    static char too_long[NAME_MAX + 4];
    static const struct { const char *prefix, *key, *folder, *name; int r; } rows[] = {
        { "", "a", "", "a", 0 }, { "", "a/b", "a", "b", 0 }, { "a/", "a/b/c/d", "b/c", "d", 0 },
        { "a/", "a/b/", "b", NULL, 0 }, { "", "..a", "", "..a", 0 }, { "", "...", "", "...", 0 },
        { "", "a\nb", "", "a\nb", 0 }, { "", "a\\..\\b", "", "a\\..\\b", 0 }, { "", "%2e%2e/a", "%2e%2e", "a", 0 },
        { "", "..", NULL, NULL, -EPERM }, { "", "../a", NULL, NULL, -EPERM }, { "a/", "a/../../b", NULL, NULL, -EPERM },
        { "", "a/..", NULL, NULL, -EPERM }, { "", "./a", NULL, NULL, -EPERM }, { "", "a/./", NULL, NULL, -EPERM },
        { "", "/a", NULL, NULL, -EINVAL }, { "", "a//b", NULL, NULL, -EINVAL }, { "a/", "a//", NULL, NULL, -EINVAL },
        { "a/", "b/c", NULL, NULL, -EINVAL }, { "a/", "a/", NULL, NULL, -EINVAL },
        { "", too_long, NULL, NULL, -ENAMETOOLONG },
    };

    (void)state;
    memset(too_long, 'x', NAME_MAX + 1);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_FREE char *folder = NULL;
        const char *name = NULL;
        struct error e = { 0 };
        int r = bucket_place(rows[i].prefix, rows[i].key, &folder, &name, &e);

        if (r != rows[i].r)
            fail_msg("%.40s below %s: %d, %s", rows[i].key, rows[i].prefix, r, e.text);
        if (r == 0) {
            assert_string_equal(folder, rows[i].folder);
            assert_true((!name && !rows[i].name) || strcmp(name, rows[i].name) == 0);
        }
    }
}

static void paths_are_absolute_and_plain(void **state)
{
    static const struct { const char *given, *path; int r; } rows[] = {
        { "/a/b", "/a/b", 0 }, { "/a//b/", "/a/b", 0 }, { "/./a", "/a", 0 }, { "/", "/", 0 },
        { NULL, NULL, -EINVAL }, { "", NULL, -EINVAL }, { "a", NULL, -EINVAL }, { "C:\\a", NULL, -EINVAL },
        { "/a/../b", NULL, -EPERM }, { "/..", NULL, -EPERM },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_FREE char *path = NULL;
        struct error e = { 0 };

        assert_int_equal(local_path("localFilePath", rows[i].given, &path, &e), rows[i].r);
        if (rows[i].path)
            assert_string_equal(path, rows[i].path);
        else
            assert_non_null(strstr(e.text, "localFilePath"));
    }
}

/* --- names ---------------------------------------------------------------------------------------- */

static int made_folder(char out[32])
{
    strcpy(out, "/tmp/lf-haul-XXXXXX");
    assert_non_null(mkdtemp(out));
    return open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void expect_kept(int dir, const char *want, const char *expected)
{
    char temporary[LOCAL_NAME_SIZE], kept[LOCAL_NAME_SIZE];
    CLEANUP_CLOSE int fd = -1;

    local_file_name(temporary);
    fd = local_file_make(dir, temporary);
    assert_true(fd >= 0);
    assert_int_equal(local_file_keep(dir, fd, temporary, want, kept), 0);
    assert_string_equal(kept, expected);
    assert_int_equal(faccessat(dir, temporary, F_OK, 0), -1);
    assert_int_equal(faccessat(dir, kept, F_OK, 0), 0);
}

static void no_name_is_taken_twice(void **state)
{
    char path[32], longest[NAME_MAX + 1], shortened[NAME_MAX + 1];
    CLEANUP_CLOSE int dir = made_folder(path);

    (void)state;
    expect_kept(dir, "a.txt", "a.txt");
    expect_kept(dir, "a.txt", "a (2).txt");
    expect_kept(dir, "a.txt", "a (3).txt");
    expect_kept(dir, ".rc", ".rc");
    expect_kept(dir, ".rc", ".rc (2)");
    assert_int_equal(symlinkat("/nowhere", dir, "link"), 0);
    expect_kept(dir, "link", "link (2)");
    assert_int_equal(mkdirat(dir, "folder", 0700), 0);
    expect_kept(dir, "folder", "folder (2)");
    memset(longest, 'x', NAME_MAX);
    longest[NAME_MAX] = '\0';
    strcpy(shortened, longest);
    strcpy(shortened + NAME_MAX - 4, " (2)");
    expect_kept(dir, longest, longest);
    expect_kept(dir, longest, shortened);
    assert_int_equal(files_remove(path), 0);
}

static void folders_are_made_beneath(void **state)
{
    char path[32];
    CLEANUP_CLOSE int dir = made_folder(path);
    CLEANUP_CLOSE int made = local_folder_make(dir, "a/b/c"), again = local_folder_make(dir, "a/b/c");
    CLEANUP_CLOSE int same = local_folder_make(dir, "");

    (void)state;
    assert_true(made >= 0 && again >= 0 && same >= 0);
    assert_int_equal(faccessat(dir, "a/b/c", F_OK, 0), 0);
    assert_int_equal(symlinkat("/tmp", dir, "out"), 0);
    assert_int_equal(symlinkat("b", dir, "a/in"), 0);
    assert_int_equal(local_folder_make(dir, "out"), -ELOOP);
    assert_int_equal(local_folder_make(dir, "a/in/c"), -ELOOP);
    assert_int_equal(local_folder_make(dir, "../x"), -EXDEV);
    assert_int_equal(mknodat(dir, "file", S_IFREG | 0600, 0), 0);
    assert_int_equal(local_folder_make(dir, "file/x"), -ENOTDIR);
    assert_int_equal(files_remove(path), 0);
}

/* --- in syncd --------------------------------------------------------------------------------------- */

static struct answer status(struct fixture *f, const char *id)
{
    Lf__TransferGet msg = LF__TRANSFER_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(TRANSFER_GET, transfer_get, &msg);

    msg.transfer_id = (char *)(uintptr_t)id;
    return fixture_ask(f, &env);
}

/* Waits for the end of the transfer that was answered. */
static void expect_end(struct fixture *f, struct answer begun, const char *expected, const char *said)
{
    CLEANUP_FREE char *id = NULL;
    bool over = false;

    if (begun.e.code)
        fail_msg("%s", error_text(&begun.e));
    id = xstrdup(begun.reply->transfer_begun->transfer->transfer_id);
    answer_free(&begun);
    while (!over) {
        struct answer a = status(f, id);
        const Lf__ClientTransfer *t = a.reply->transfer_found->transfer;

        over = strcmp(t->status, "running") != 0;
        if (over && strcmp(t->status, expected) != 0)
            fail_msg("%s: %s", t->status, t->error_message);
        if (over && said)
            assert_non_null(strstr(t->error_message, said));
        answer_free(&a);
        fixture_turn(f);
    }
}

static void up_and_down(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = { 0, 1, 100000, 17 << 20 };
    CLEANUP_FREE char *account = fixture_account(f), *bucket = in(f->cloud, "bucket"), *target = in(f->dir, "target");

    assert_int_equal(mkdir(target, 0700), 0);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char name[2] = { (char)('a' + i), '\0' };
        CLEANUP_FREE char *path = source(f->dir, name, sizes[i]);

        expect_end(f, upload(f, account, path, false), "completed", NULL);
        expect_content(bucket, name, name[0], sizes[i]);
        expect_end(f, download(f, account, target, name, 1), "completed", NULL);
        expect_content(target, name, name[0], sizes[i]);
    }
    expect_end(f, download(f, account, target, "", 2), "completed", NULL);
    expect_content(target, "a (2)", 'a', 0);
    expect_content(target, "d (2)", 'd', sizes[3]);
}

static void what_is_there_stays(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *bucket = in(f->cloud, "bucket"), *path = source(f->dir, "x", 10);

    expect_end(f, upload(f, account, path, false), "completed", NULL);
    free(source(f->dir, "x", 20));
    expect_end(f, upload(f, account, path, false), "failed", "overwrite");
    expect_content(bucket, "x", 'x', 10);
    expect_end(f, upload(f, account, path, true), "completed", NULL);
    expect_content(bucket, "x", 'x', 20);
    expect_end(f, download(f, account, f->dir, "none", 1), "failed", NULL);
    expect_end(f, download(f, account, f->dir, "none/", 2), "failed", "nothing below");
}

/* More than may move bytes at a time; and some of them while it ends. */
static void many_take_turns(void **state)
{
    struct fixture *f = *state;
    struct answer begun[12];
    CLEANUP_FREE char *account = fixture_account(f), *bucket = in(f->cloud, "bucket");

    free(source(bucket, "x", 3 << 20));   /* nobody replaces it while it is read */
    for (size_t i = 0; i < ARRAY_SIZE(begun); i++) {
        char name[2] = { (char)('a' + i), '\0' };
        CLEANUP_FREE char *path = source(f->dir, name, 3 << 20);

        begun[i] = upload(f, account, path, false);
    }
    for (size_t i = 0; i < ARRAY_SIZE(begun); i++)
        expect_end(f, begun[i], "completed", NULL);
    expect_content(bucket, "l", 'l', 3 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(begun); i++) {
        char name[2] = { (char)('a' + i), '\0' };
        CLEANUP_FREE char *path = in(f->dir, name);

        begun[i] = upload(f, account, path, true);
        answer_free(&begun[i]);
    }
    hauls_end(f);   /* in the midst of what they do */
    fixture_restart(f);
    begun[0] = download(f, account, f->dir, "x", 1);
    expect_end(f, begun[0], "completed", NULL);
    begun[0] = download(f, account, f->dir, "b", 1);
    answer_free(&begun[0]);
    begun[0] = upload(f, account, f->dir, true);   /* is being opened */
    answer_free(&begun[0]);
}

/* While a part of it is being read, so that the next request finds no account. */
static void an_account_goes_meanwhile(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *path = source(f->dir, "x", 16 << 20);
    Lf__AccountDelete msg = LF__ACCOUNT_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_DELETE, account_delete, &msg);
    struct answer begun = upload(f, account, path, true), deleted;

    msg.id = account;
    wait_until(f, loop_working(f->loop));
    deleted = fixture_ask(f, &env);
    assert_int_equal(deleted.e.code, 0);
    answer_free(&deleted);
    expect_end(f, begun, "failed", "account");
}

static void own_folders_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *mine = in(f->syncd->state_dir, "state.db"),
                      *hidden = in(f->dir, ".hidden"), *fine = source(f->dir, "fine", 1);

    expect_error(upload(f, account, mine, false), -EINVAL, "Landfall's own");
    expect_error(download(f, account, f->syncd->state_dir, "a", 1), -EINVAL, "Landfall's own");
    expect_error(download(f, account, hidden, "a", 1), -EINVAL, "hidden");
    expect_error(download(f, account, f->dir, "a", 3), -EINVAL, "objectType");
    expect_error(upload(f, account, f->dir, false), -EINVAL, "regular file");
    f->syncd->state = AGENT_PAUSED;
    expect_error(upload(f, account, fine, false), -EBUSY, "paused");
    f->syncd->state = AGENT_STARTED;
}

/* Its file came here, or some of it, and nobody says what is to become of it. */
static void senders_of_forms_leave(void **state)
{
    struct fixture *f = *state;
    Lf__FormOpen msg = LF__FORM_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FORM_OPEN, form_open, &msg);
    uint64_t last = 0;

    for (int i = 0; i < 40; i++) {   /* more than may be on their way */
        struct answer a = fixture_ask(f, &env);

        assert_int_equal(a.e.code, 0);
        last = a.reply->form_opened->form;
        assert_int_equal(write(a.fd, "bytes", i % 2 ? 5 : 0), i % 2 ? 5 : 0);
        answer_free(&a);
        wait_until(f, loop_working(f->loop));
        wait_until(f, !loop_working(f->loop));
    }
    fixture_restart(f);   /* a late question about one of these must not mean another's */
    for (int i = 0; i < 16; i++) {
        struct answer a = fixture_ask(f, &env);

        assert_true(a.reply->form_opened->form > last || a.reply->form_opened->form < last - 40);
        answer_free(&a);
        wait_until(f, loop_working(f->loop));
        wait_until(f, !loop_working(f->loop));
    }
}

static void put_object(struct fixture *f, const char *folder, const char *name)
{
    CLEANUP_FREE char *bucket = in(f->cloud, "bucket"), *above = in(bucket, folder), *path = in(above, name);
    CLEANUP_CLOSE int fd = -1;

    (void)mkdir(above, 0700);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
}

/* What programs are started with lies hidden in the home directory; and Landfall's own folders may lie anywhere in it. */
static void a_bucket_does_not_furnish_the_home(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *home = in(f->dir, "home");
    const char *own = strrchr(f->syncd->state_dir, '/') + 1;
    CLEANUP_FREE char *at_home = in(home, "fine"), *link = in(f->dir, "link to home");

    assert_int_equal(mkdir(home, 0700), 0);
    xstrset(&f->syncd->home, home);
    put_object(f, ".config", "autostart");
    put_object(f, "visible", ".profile");
    put_object(f, "visible", "a");
    expect_end(f, download(f, account, home, "", 2), "failed", "hidden");
    expect_content(home, "visible/a", 'x', 1);
    expect_content(home, "visible/.profile", 'x', 1);
    assert_false(there(home, "/.config"));
    put_object(f, "home", "fine");
    put_object(f, "home/.ssh", "authorized_keys");
    put_object(f, "home/.hidden", "a");
    expect_end(f, download(f, account, f->dir, "home", 2), "failed", "hidden");   /* from above it */
    assert_int_equal(access(at_home, F_OK), 0);
    assert_false(there(home, "/.ssh"));
    assert_false(there(home, "/.hidden"));
    assert_int_equal(symlink(home, link), 0);
    xstrset(&f->syncd->home, link);
    xstrset(&f->syncd->home_real, home);
    expect_end(f, download(f, account, home, "", 2), "failed", "hidden");
    assert_false(there(home, "/.config"));
    put_object(f, own, "planted");
    expect_end(f, download(f, account, f->dir, own, 2), "failed", "Landfall's own");
    assert_false(there(f->syncd->state_dir, "/planted"));
}

/* What failed is still being cleared away by threads of its own. */
static int tear_down(void **state)
{
    hauls_end(*state);
    return fixture_tear_down(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_paths_or_nothing),
        cmocka_unit_test(paths_are_absolute_and_plain),
        cmocka_unit_test(no_name_is_taken_twice),
        cmocka_unit_test(folders_are_made_beneath),
        TEST(up_and_down),
        TEST(what_is_there_stays),
        TEST(many_take_turns),
        TEST(an_account_goes_meanwhile),
        TEST(senders_of_forms_leave),
        TEST(own_folders_are_refused),
        TEST(a_bucket_does_not_furnish_the_home),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
