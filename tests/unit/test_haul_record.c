/* What is written down of uploads and downloads beside the drives, and what the next syncd makes of it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/agent.h"
#include "syncd/bucket_ended.h"
#include "syncd/local_path.h"
#include "syncd/store_haul.h"
#include "tests/unit/files.h"
#include "tests/unit/haul_rig.h"

/* --- the tables ----------------------------------------------------------------------------------- */

static struct store *open_store(const char *dir)
{
    struct store *s = NULL;
    struct error e = { 0 };

    if (store_open(dir, &s, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static bool collect(struct store_haul *h, void *arg)
{
    struct store_haul *all = arg;

    while (all->id)
        all++;
    *all = *h;
    return true;
}

static void rows_come_back_as_they_went(void **state)
{
    char dir[] = "/tmp/lf-record-XXXXXX", id[ID_SIZE];
    struct store_haul up = { .id = (char *)"11111111-0000-4000-8000-000000000000", .origin = (char *)"a:1",
                             .kind = STORE_HAUL_UPLOAD, .uid = 1000, .begun_ns = 5, .account_id = (char *)"account",
                             .bucket = (char *)"b", .key = (char *)"k", .path = (char *)"/p", .overwrite = true,
                             .size = UINT64_C(1) << 40, .inode = 7, .mtime_ns = -1, .part_size = 16,
                             .stamp = (char *)"stamp" };
    struct store_haul down = { .id = (char *)"22222222-0000-4000-8000-000000000000", .kind = STORE_HAUL_TREE,
                               .account_id = (char *)"account", .bucket = (char *)"b", .key = (char *)"",
                               .path = (char *)"/p" };
    struct store_haul found[3] = { 0 };
    struct store *s = open_store(mkdtemp(dir));
    int64_t first, second;

    (void)state;
    assert_int_equal(store_haul_insert(s, &up, &first), 0);
    assert_int_equal(store_haul_insert(s, &down, &second), 0);
    assert_true(second > first);
    assert_int_equal(store_haul_set_parts(s, first, 99, NULL), 0);
    assert_int_equal(store_haul_set_state(s, second, STORE_HAUL_PAUSED), 0);
    store_close(s);
    s = open_store(dir);
    assert_int_equal(store_haul_each(s, 0, collect, found), 0);
    assert_string_equal(found[0].id, up.id);
    assert_int_equal(found[0].size, up.size);
    assert_int_equal(found[0].mtime_ns, -1);
    assert_true(found[0].overwrite && found[0].inode == 7 && found[0].part_size == 16);
    assert_int_equal(found[0].parts_begun_ns, 99);
    assert_null(found[0].upload_id);
    assert_string_equal(found[0].stamp, "stamp");
    assert_int_equal(found[1].state, STORE_HAUL_PAUSED);
    assert_string_equal(found[1].progress.after, "");
    assert_null(found[1].origin);
    assert_null(found[2].id);
    assert_int_equal(store_haul_by_origin(s, "a:1", id), 0);
    assert_string_equal(id, up.id);
    assert_int_equal(store_haul_by_origin(s, "a:2", id), -ENOENT);
    assert_int_equal(store_haul_delete(s, first), 0);
    assert_int_equal(store_haul_delete(s, first), -ENOENT);
    assert_int_equal(store_haul_set_state(s, first, STORE_HAUL_FAILED), -ENOENT);
    store_haul_free(&found[0]);
    store_haul_free(&found[1]);
    store_close(s);
    assert_int_equal(files_remove(dir), 0);
}

static void expect_files(struct store *s, int64_t number, const char *expected)
{
    struct store_haul_file *files;
    char said[256] = "";
    size_t n, at = 0;

    assert_int_equal(store_haul_files(s, number, &files, &n), 0);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(said + at, sizeof(said) - at, "%s:%s:%" PRIu64 " ", files[i].key,
                               files[i].name ? files[i].name : "-", files[i].done);
    assert_string_equal(said, expected);
    store_haul_files_free(files, n);
}

static void files_go_with_what_has_ended(void **state)
{
    char dir[] = "/tmp/lf-record-XXXXXX";
    struct store_haul down = { .id = (char *)"22222222-0000-4000-8000-000000000000", .kind = STORE_HAUL_TREE,
                               .account_id = (char *)"account", .bucket = (char *)"b", .key = (char *)"",
                               .path = (char *)"/p" };
    struct store_haul_file files[] = {
        { .key = (char *)"c", .name = (char *)"tmp-c", .size = 9, .done = 0 },
        { .key = (char *)"B", .name = (char *)"tmp-B", .size = 9, .done = 0 },
        { .key = (char *)"\xc3\xbc", .name = (char *)"tmp-u", .size = 9, .done = 0 },
        { .key = (char *)"c", .name = (char *)"tmp-c", .size = 9, .done = 4 },
    };
    struct store_haul_file ended = { .key = (char *)"c", .size = 9, .done = 9 };
    struct store_haul_progress p = { .after = (char *)"B", .n_found = 3, .n_failed = 1, .bytes = 18,
                                     .first_code = -EIO, .first_text = (char *)"no" };
    struct store_haul found[2] = { 0 };
    struct store *s = open_store(mkdtemp(dir));
    int64_t number;

    (void)state;
    assert_int_equal(store_haul_insert(s, &down, &number), 0);
    assert_int_equal(store_haul_file_put(s, number + 1, &files[0]), -EBUSY);   /* of none */
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        assert_int_equal(store_haul_file_put(s, number, &files[i]), 0);
    expect_files(s, number, "B:tmp-B:0 c:tmp-c:4 \xc3\xbc:tmp-u:0 ");   /* in the order of bytes */
    assert_int_equal(store_haul_set_progress(s, number, &p, &ended, 1), 0);
    expect_files(s, number, "c:-:9 \xc3\xbc:tmp-u:0 ");
    assert_int_equal(store_haul_each(s, 0, collect, found), 0);
    assert_string_equal(found[0].progress.after, "B");
    assert_string_equal(found[0].progress.first_text, "no");
    assert_true(found[0].progress.n_found == 3 && found[0].progress.n_failed == 1 && found[0].progress.bytes == 18);
    assert_int_equal(found[0].progress.first_code, -EIO);
    assert_int_equal(store_haul_delete(s, number), 0);
    expect_files(s, number, "");
    assert_int_equal(store_haul_set_progress(s, number, &p, NULL, 0), -ENOENT);
    store_haul_free(&found[0]);
    store_close(s);
    assert_int_equal(files_remove(dir), 0);
}

/* --- which objects have ended ---------------------------------------------------------------------- */

static void only_what_is_below_all_others_is_counted(void **state)
{
    struct bucket_ended b = { 0 };
    struct haul nobody = { 0 };
    struct error why = { .code = -EPERM, .text = "no" };

    (void)state;
    bucket_ended_add(&b, "b", 10, NULL);
    bucket_ended_add(&b, "d", 0, &why);
    bucket_ended_add(&b, "c", 5, NULL);
    bucket_ended_up_to(&b, &nobody, "", true);
    assert_int_equal(b.progress.n_found, 0);
    assert_int_equal(b.n, 3);
    bucket_ended_up_to(&b, &nobody, "c", true);
    assert_true(b.progress.n_found == 2 && b.progress.bytes == 15 && b.progress.n_failed == 0 && b.n == 1);
    bucket_ended_up_to(&b, &nobody, "d", false);   /* not yet */
    assert_int_equal(b.n, 1);
    bucket_ended_up_to(&b, &nobody, "d", true);
    assert_true(b.progress.n_found == 3 && b.progress.n_failed == 1 && b.n == 0);
    assert_string_equal(b.progress.first_text, "no");
    assert_string_equal(b.progress.after, "d");
    bucket_ended_up_to(&b, &nobody, "a", true);    /* never back */
    assert_string_equal(b.progress.after, "d");
    bucket_ended_free(&b);
}

/* --- files ------------------------------------------------------------------------------------------- */

static int again(int dir, const char *name, uint64_t length)
{
    int fd = local_file_again(dir, name, length);

    if (fd < 0)
        return fd;
    (void)close(fd);
    return 0;
}

static void only_our_own_file_is_gone_on_with(void **state)
{
    char path[] = "/tmp/lf-record-XXXXXX", name[LOCAL_NAME_SIZE], other[LOCAL_NAME_SIZE];
    CLEANUP_CLOSE int dir = open(mkdtemp(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    struct stat st;

    (void)state;
    local_file_name(name);
    local_file_name(other);
    assert_int_equal(again(dir, name, 0), -ENOENT);
    fd = local_file_make(dir, name);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_int_equal(again(dir, name, 11), -ENOENT);
    assert_int_equal(again(dir, name, 4), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(symlinkat(name, dir, other), 0);
    assert_int_equal(again(dir, other, 0), -ENOENT);
    assert_int_equal(unlinkat(dir, other, 0), 0);
    assert_int_equal(linkat(dir, name, dir, other, 0), 0);   /* somebody else may write to it */
    assert_int_equal(again(dir, name, 0), -ENOENT);
    assert_int_equal(linkat(dir, name, dir, "precious", 0), 0);
    assert_int_equal(again(dir, "precious", 0), -ENOENT);
    assert_int_equal(again(dir, "../precious", 0), -ENOENT);
    local_file_remove(dir, "precious");
    assert_int_equal(faccessat(dir, "precious", F_OK, 0), 0);
    local_file_remove(dir, name);
    assert_int_equal(faccessat(dir, name, F_OK, 0), -1);
    assert_int_equal(mkdirat(dir, name, 0700), 0);
    assert_int_equal(again(dir, name, 0), -ENOENT);
    assert_int_equal(files_remove(path), 0);
}

static void a_file_without_a_name_gets_one(void **state)
{
    char path[] = "/tmp/lf-record-XXXXXX", kept[LOCAL_NAME_SIZE];
    CLEANUP_CLOSE int dir = open(mkdtemp(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, second = -1;
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1700000000 } };
    struct stat st;

    (void)state;
    fd = local_file_make(dir, NULL);
    if (fd == -EOPNOTSUPP)
        skip();
    assert_true(fd >= 0);
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(mkdirat(dir, "a.txt", 0700), 0);
    assert_false(local_file_kept(dir, fd, "a.txt", 0));
    assert_int_equal(local_file_keep(dir, fd, NULL, "a.txt", kept), 0);
    assert_string_equal(kept, "a (2).txt");
    assert_int_equal(fstatat(dir, kept, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mtim.tv_sec, 1700000000);
    /* The same object once more. */
    second = local_file_make(dir, NULL);
    assert_int_equal(futimens(second, times), 0);
    assert_true(local_file_kept(dir, second, "a.txt", INT64_C(1700000000) * 1000000000));
    assert_false(local_file_kept(dir, second, "a.txt", INT64_MAX));   /* it was there before */
    assert_int_equal(write(second, "x", 1), 1);
    assert_int_equal(futimens(second, times), 0);
    assert_false(local_file_kept(dir, second, "a.txt", 0));
    assert_int_equal(files_remove(path), 0);
}

/* --- in syncd ------------------------------------------------------------------------------------------ */

static char *begun(struct answer a)
{
    char *id;

    if (a.e.code)
        fail_msg("%s", error_text(&a.e));
    id = xstrdup(a.reply->transfer_begun->transfer->transfer_id);
    answer_free(&a);
    return id;
}

static void pause_it(struct fixture *f, char *id)
{
    Lf__TransferPause msg = LF__TRANSFER_PAUSE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(TRANSFER_PAUSE, transfer_pause, &msg);
    struct answer a;

    msg.transfer_id = id;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
}

static void resume_it(struct fixture *f, char *id)
{
    Lf__TransferResume msg = LF__TRANSFER_RESUME__INIT;
    Lf__Envelope env = IPC_ENVELOPE(TRANSFER_RESUME, transfer_resume, &msg);
    struct answer a;

    msg.transfer_id = id;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
}

static bool is(struct fixture *f, char *id, const char *status, const char *said)
{
    Lf__TransferGet msg = LF__TRANSFER_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(TRANSFER_GET, transfer_get, &msg);
    const Lf__ClientTransfer *t;
    struct answer a;
    bool so;

    msg.transfer_id = id;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    t = a.reply->transfer_found->transfer;
    so = strcmp(t->status, status) == 0;
    if (so && said)
        assert_non_null(strstr(t->error_message, said));
    if (!so && strcmp(t->status, "failed") == 0)
        fail_msg("%s", t->error_message);
    answer_free(&a);
    return so;
}

static size_t rows(struct fixture *f)
{
    struct store_haul found[16] = { 0 };
    size_t n = 0;

    assert_int_equal(store_haul_each(f->syncd->store, 0, collect, found), 0);
    for (; found[n].id; n++)
        store_haul_free(&found[n]);
    return n;
}

static void restart(struct fixture *f)
{
    hauls_end(f);
    fixture_restart(f);
}

static int tear_down(void **state)
{
    hauls_end(*state);
    return fixture_tear_down(state);
}

static void await_byte(void *gate)
{
    char byte;

    (void)!read(*(int *)gate, &byte, 1);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void they_go_on_as_they_were(void **state)
{
    struct fixture *f = *state;
    int gate[2];
    CLEANUP_FREE char *account = fixture_account(f), *bucket = in(f->cloud, "bucket"), *target = in(f->dir, "target"),
                      *file = source(f->dir, "u", 40 << 20);
    CLEANUP_FREE char *up = begun(upload(f, account, file, false)), *down = NULL, *tree = NULL;

    free(source(bucket, "d", 20 << 20));
    assert_int_equal(mkdir(target, 0700), 0);
    pause_it(f, up);
    assert_int_equal(pipe(gate), 0);
    loop_work(f->loop, await_byte, nothing, &gate[0]);   /* nobody asks the cloud: none ends before all have begun */
    down = begun(download(f, account, target, "d", 1));
    tree = begun(download(f, account, target, "", 2));
    assert_int_equal(rows(f), 3);
    assert_int_equal(write(gate[1], "x", 1), 1);
    restart(f);
    (void)close(gate[0]);
    (void)close(gate[1]);
    assert_true(is(f, up, "paused", NULL));
    wait_until(f, is(f, down, "completed", NULL) && is(f, tree, "completed", NULL));
    wait_until(f, rows(f) == 1);
    expect_content(target, "d", 'd', 20 << 20);
    restart(f);
    assert_true(is(f, up, "paused", NULL));
    resume_it(f, up);
    wait_until(f, is(f, up, "completed", NULL));
    expect_content(bucket, "u", 'u', 40 << 20);
    assert_int_equal(rows(f), 0);
}

/* At each turn of the loop another one. */
static void ends_at_any_moment(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *bucket = in(f->cloud, "bucket"), *target = in(f->dir, "target"),
                      *file = source(f->dir, "u", 33 << 20);
    CLEANUP_FREE char *up = begun(upload(f, account, file, false)), *down = NULL;
    int turns = 0;

    free(source(bucket, "d", 20 << 20));
    free(source(bucket, "e", 100));
    assert_int_equal(mkdir(target, 0700), 0);
    down = begun(download(f, account, target, "", 2));
    for (; rows(f) > 0 && turns < 400; turns++) {
        for (int i = 0; i < turns / 2; i++)
            fixture_turn(f);
        restart(f);
    }
    assert_int_equal(rows(f), 0);
    assert_true(turns > 2);
    expect_content(bucket, "u", 'u', 33 << 20);
    expect_content(target, "d", 'd', 20 << 20);
    expect_content(target, "e", 'e', 100);
    assert_false(there(target, "/d (2)"));
    assert_false(there(target, "/e (2)"));
    assert_string_not_equal(up, down);
}

static void an_account_that_is_gone_ends_them(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *file = source(f->dir, "u", 40 << 20);
    CLEANUP_FREE char *up = begun(upload(f, account, file, false));
    Lf__AccountDelete msg = LF__ACCOUNT_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_DELETE, account_delete, &msg);
    struct answer deleted;

    pause_it(f, up);
    msg.id = account;
    deleted = fixture_ask(f, &env);
    assert_int_equal(deleted.e.code, 0);
    answer_free(&deleted);
    restart(f);
    wait_until(f, is(f, up, "failed", "account"));
    assert_int_equal(rows(f), 0);
}

/* Whoever has changed the file in between has the last word. */
static void a_file_that_changed_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *bucket = in(f->cloud, "bucket"),
                      *file = source(f->dir, "u", 40 << 20);
    CLEANUP_FREE char *up = begun(upload(f, account, file, false));

    pause_it(f, up);
    free(source(f->dir, "u", 40 << 20));
    restart(f);
    resume_it(f, up);
    wait_until(f, is(f, up, "failed", "changed or replaced"));
    assert_false(there(bucket, "/u"));
    wait_until(f, rows(f) == 0);
}

/* What cannot be: of another user, of a form, or nothing we know. */
static void insert(struct fixture *f, const char *id, char *account, enum store_haul_kind kind, uint32_t uid)
{
    struct store_haul h = { .id = (char *)(uintptr_t)id, .kind = kind, .uid = uid, .begun_ns = 1, .account_id = account,
                            .bucket = (char *)"bucket", .key = (char *)"k", .path = (char *)"/no/such", .size = 1 };
    int64_t number;

    assert_int_equal(store_haul_insert(f->syncd->store, &h, &number), 0);
}

static void rows_that_lead_nowhere(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    char form[] = "11111111-0000-4000-8000-000000000000", other[] = "22222222-0000-4000-8000-000000000000",
         gone[] = "33333333-0000-4000-8000-000000000000";

    insert(f, form, account, STORE_HAUL_FORM, getuid());
    insert(f, other, account, STORE_HAUL_OBJECT, getuid() + 1);
    insert(f, gone, account, STORE_HAUL_TREE, getuid());
    insert(f, "not an id", account, STORE_HAUL_TREE, getuid());
    insert(f, gone, account, (enum store_haul_kind)77, getuid());
    restart(f);
    wait_until(f, is(f, form, "failed", "form"));
    wait_until(f, is(f, other, "failed", "another user"));
    wait_until(f, is(f, gone, "failed", "is not there"));
    wait_until(f, rows(f) == 0);
}

/* The next request of the same client is said to have been carried out. */
static void a_request_that_comes_again_begins_nothing(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *file = source(f->dir, "u", 40 << 20);
    CLEANUP_FREE char *up = begun(upload(f, account, file, false)), *same = NULL;
    struct store_haul found[2] = { 0 };
    uint64_t instance, id;
    char origin[64];
    int64_t number;

    pause_it(f, up);
    assert_int_equal(store_haul_each(f->syncd->store, 0, collect, found), 0);
    assert_int_equal(sscanf(found[0].origin, "%" SCNx64 ":%" SCNx64, &instance, &id), 2);
    (void)snprintf(origin, sizeof(origin), "%" PRIx64 ":%" PRIx64, instance, id + 2);
    xstrset(&found[0].origin, origin);
    xstrset(&found[0].id, "44444444-0000-4000-8000-000000000000");
    assert_int_equal(store_haul_insert(f->syncd->store, &found[0], &number), 0);
    same = begun(upload(f, account, file, false));
    assert_string_equal(same, found[0].id);
    assert_int_equal(rows(f), 2);
    store_haul_free(&found[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_went),
        cmocka_unit_test(files_go_with_what_has_ended),
        cmocka_unit_test(only_what_is_below_all_others_is_counted),
        cmocka_unit_test(only_our_own_file_is_gone_on_with),
        cmocka_unit_test(a_file_without_a_name_gets_one),
        TEST(they_go_on_as_they_were),
        TEST(ends_at_any_moment),
        TEST(an_account_that_is_gone_ends_them),
        TEST(a_file_that_changed_is_refused),
        TEST(rows_that_lead_nowhere),
        TEST(a_request_that_comes_again_begins_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
