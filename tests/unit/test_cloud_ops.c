/* The providers that need no server, put through the suite every provider goes through; and what is special
 * about them: a folder's files are files, links in it lead nowhere, and the failing wrapper fails as told. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cloud_suite.h"
#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/metrics.h"
#include "syncd/tally.h"
#include "tests/unit/files.h"

struct fixture {
    struct suite suite;    /* first: tests of the suite see it */
    struct config *config;
    char folder[64];
};

static void no_secret(void *arg, const char *account_id,
                      void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg), void *give_arg)
{
    (void)arg, (void)account_id, (void)give, (void)give_arg;
    fail_msg("a provider without keys asked for one");
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    cloud_free(f->suite.cloud);
    loop_free(f->suite.loop);
    config_free(f->config);
    if (f->folder[0])
        (void)files_remove(f->folder);
    free(f);
    return 0;
}

static struct fixture *open_cloud(enum cloud_type type, const char *url)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct cloud_spec spec = { .type = type, .account_id = "test", .service_url = url, .keyring = { no_secret, NULL } };
    struct error e = { 0 };
    struct cloud_request *r;

    f->suite.loop = loop_new(2);
    f->suite.bucket = "bucket";
    assert_int_equal(config_load(NULL, NULL, 0, &f->config, &e), 0);
    if (cloud_new(f->suite.loop, f->config, &spec, &f->suite.cloud, &e) < 0)
        fail_msg("%s", e.text);
    f->suite.part = 64 * 1024;
    r = suite_ask(&f->suite, CLOUD_BUCKET_CREATE, NULL);
    suite_expect(&f->suite, r, 0);
    cloud_request_free(r);
    return f;
}

static int set_up_memory(void **state)
{
    *state = open_cloud(CLOUD_MEMORY, NULL);
    return 0;
}

static int set_up_folder(void **state)
{
    char folder[64] = "/var/tmp/test cloud.XXXXXX", url[128];
    struct fixture *f;

    assert_non_null(mkdtemp(folder));
    (void)snprintf(url, sizeof(url), "file:///var/tmp/test%%20cloud.%s", strrchr(folder, '.') + 1);
    f = open_cloud(CLOUD_LOCAL_FOLDER, url);
    (void)snprintf(f->folder, sizeof(f->folder), "%s", folder);
    *state = f;
    return 0;
}

/* --- the folder ---------------------------------------------------------------------------------- */

static int open_in(const struct fixture *f, const char *path, int flags)
{
    CLEANUP_FREE char *whole = NULL;

    assert_true(asprintf(&whole, "%s/bucket/%s", f->folder, path) > 0);
    return open(whole, flags | O_CLOEXEC, 0644);
}

static void write_in(const struct fixture *f, const char *path, const char *text)
{
    CLEANUP_CLOSE int fd = open_in(f, path, O_WRONLY | O_CREAT | O_TRUNC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void make_in(const struct fixture *f, const char *path)
{
    CLEANUP_FREE char *whole = NULL;

    assert_true(asprintf(&whole, "%s/bucket/%s", f->folder, path) > 0);
    assert_int_equal(mkdir(whole, 0755), 0);
}

static void link_in(const struct fixture *f, const char *target, const char *path)
{
    CLEANUP_FREE char *whole = NULL;

    assert_true(asprintf(&whole, "%s/bucket/%s", f->folder, path) > 0);
    assert_int_equal(symlink(target, whole), 0);
}

static bool exists_in(const struct fixture *f, const char *path)
{
    CLEANUP_CLOSE int fd = open_in(f, path, O_PATH | O_NOFOLLOW);

    return fd >= 0;
}

static void files_are_files(void **state)
{
    struct fixture *f = *state;
    SUITE_REQUEST *put = suite_ask(&f->suite, CLOUD_PUT, "sub/script"), *stat = suite_ask(&f->suite, CLOUD_STAT,
        "sub/mine");
    CLEANUP_CLOSE int fd = -1, body = suite_file("#!", 2);
    struct stat st;
    char text[8] = "";

    put->body = (struct cloud_extent){ body, 0, 2 };
    put->meta = (struct cloud_meta){ .has_mode = true, .mode = S_IFREG | S_ISUID | 0751, .has_mtime = true,
        .mtime_ns = INT64_C(1000000000500000000) };
    suite_expect(&f->suite, put, 0);
    fd = open_in(f, "sub/script", O_RDONLY);
    assert_int_equal(read(fd, text, sizeof(text)), 2);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0751);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    assert_int_equal(st.st_mtim.tv_nsec, 500000000);
    write_in(f, "sub/mine", "hello");
    suite_expect_bytes(&f->suite, "sub/mine", "hello", 5);
    suite_expect(&f->suite, stat, 0);
    assert_int_equal(stat->object.meta.mode & 0600, 0600);
    assert_false(stat->object.meta.has_owner);
    suite_clean(&f->suite, "sub/");
    assert_false(exists_in(f, "sub"));   /* nobody wanted the folder itself */
}

static void links_lead_nowhere(void **state)
{
    static const char *const keys[] = { "escape/passwd", "root/etc/passwd", "loop/loop/x", ".landfall/x", "../outside",
        "a/../b",
                                        "./a", "a//b", "/a", "..", "self/" };
    struct fixture *f = *state;
    SUITE_REQUEST *through = suite_ask(&f->suite, CLOUD_PUT, "escape/planted");

    link_in(f, "/etc", "escape");
    link_in(f, "/", "root");
    link_in(f, "loop", "loop");
    link_in(f, ".", "self");
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        SUITE_REQUEST *get = suite_ask(&f->suite, CLOUD_GET, keys[i]), *put = suite_ask(&f->suite, CLOUD_PUT, keys[i]);
        SUITE_REQUEST *delete = suite_ask(&f->suite, CLOUD_DELETE, keys[i]);
        int code = suite_run(&f->suite, get);

        assert_true(code == -ENOENT || code == -EINVAL || code == -ELOOP || code == -EPERM);
        assert_true(suite_run(&f->suite, put) < 0);
        (void)suite_run(&f->suite, delete);
    }
    assert_true(exists_in(f, "escape"));
    suite_expect(&f->suite, through, -ELOOP);
    assert_int_equal(access("/etc/planted", F_OK), -1);
    suite_clean(&f->suite, "");
}

static void strangers_show(void **state)
{
    struct fixture *f = *state;
    SUITE_REQUEST *list = suite_ask(&f->suite, CLOUD_LIST, NULL);
    CLEANUP_FREE char *fifo = NULL;

    make_in(f, "empty");
    make_in(f, "full");
    write_in(f, "full/file", "x");
    link_in(f, "full/file", "link");
    assert_true(asprintf(&fifo, "%s/bucket/pipe", f->folder) > 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    suite_expect(&f->suite, list, 0);
    assert_int_equal(list->n_objects, 3);
    assert_string_equal(list->objects[0].key, "empty/");
    assert_string_equal(list->objects[1].key, "full/file");
    assert_string_equal(list->objects[2].key, "link");
    assert_string_equal(list->objects[2].meta.symlink, "full/file");
    assert_true(list->objects[1].has_meta);
    assert_int_equal(unlink(fifo), 0);
    suite_clean(&f->suite, "");
    assert_false(exists_in(f, "empty"));
    assert_false(exists_in(f, "full"));
}

static void a_name_is_file_or_folder(void **state)
{
    struct fixture *f = *state;
    SUITE_REQUEST *below = suite_ask(&f->suite, CLOUD_PUT, "name/below"), *above = suite_ask(&f->suite, CLOUD_PUT,
        "dir");

    suite_put(&f->suite, "name", "x", 1);
    suite_expect(&f->suite, below, -ENOTDIR);
    suite_put(&f->suite, "dir/file", "x", 1);
    suite_expect(&f->suite, above, -EISDIR);
    suite_clean(&f->suite, "");
}

/* --- what is Landfall's own --------------------------------------------------------------------------- */

static void expect_refused(struct fixture *f, struct cloud_request *r, int code, const char *part)
{
    suite_expect(&f->suite, r, code);
    if (!strstr(r->error.text, part))
        fail_msg("\"%s\" is not in: %s", part, r->error.text);
    cloud_request_free(r);
}

static void the_reserved_name(void **state)
{
    static const enum cloud_op ops[] = { CLOUD_STAT, CLOUD_GET, CLOUD_PUT, CLOUD_PART_BEGIN, CLOUD_DELETE };
    static const char *const keys[] = { ".landfall", ".landfall/", ".landfall/x" };
    struct fixture *f = *state;
    struct cloud_request *list = suite_ask(&f->suite, CLOUD_LIST, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(ops) * ARRAY_SIZE(keys); i++)
        expect_refused(f, suite_ask(&f->suite, ops[i % ARRAY_SIZE(ops)], keys[i / ARRAY_SIZE(ops)]), -EPERM,
                       "the name .landfall is reserved");
    cloud_request_set(&list->prefix, ".landfall/x/");
    expect_refused(f, list, -EPERM, "the name .landfall is reserved");
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        assert_int_equal(cloud_check_key(f->suite.cloud, keys[i]), -EPERM);
    assert_int_equal(cloud_check_key(f->suite.cloud, ".landfall-too"), 0);
    assert_int_equal(cloud_check_key(f->suite.cloud, "a/.landfall/b"), 0);
    suite_put(&f->suite, ".landfall-too", "x", 1);
    suite_put(&f->suite, "a/.landfall/b", "x", 1);
    suite_clean(&f->suite, "");
}

/* Somebody else made the folder that Landfall needs, or may enter it. */
static void a_hidden_folder_of_others(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *hidden = NULL;

    assert_true(asprintf(&hidden, "%s/bucket/.landfall", f->folder) > 0);
    (void)rmdir(hidden);
    make_in(f, ".landfall");
    expect_refused(f, suite_ask(&f->suite, CLOUD_PUT, "x"), -EPERM, "chmod 700");
    expect_refused(f, suite_ask(&f->suite, CLOUD_DELETE, "x"), -EPERM, "chmod 700");
    assert_int_equal(chmod(hidden, 0700), 0);
    if (getuid() == 0) {
        assert_int_equal(chown(hidden, 1, 1), 0);
        expect_refused(f, suite_ask(&f->suite, CLOUD_PUT, "x"), -EPERM, "belongs to another user");
        assert_int_equal(chown(hidden, 0, 0), 0);
    }
    suite_put(&f->suite, "x", "x", 1);
    suite_clean(&f->suite, "");
}

enum { FAILED = 100 };

static void count_done(struct cloud_request *r, void *arg)
{
    *(unsigned *)arg += r->error.code ? FAILED : 1;
    cloud_request_free(r);
}

static void submit(struct fixture *f, struct cloud_request *r, unsigned *done)
{
    r->done = count_done;
    r->arg = done;
    cloud_submit(f->suite.cloud, r);
}

/* More changes than there are threads wait for a lock that somebody holds: everything else goes on, the changes are
 * made when it is free, and one that waits may be given up. */
static void a_lock_held_by_others(void **state)
{
    struct fixture *f = *state;
    CLEANUP_CLOSE int lock = -1;
    struct cloud_request *given_up = suite_ask(&f->suite, CLOUD_PUT, "given-up");
    unsigned changed = 0, canceled = 0;

    suite_put(&f->suite, "x", "x", 1);
    lock = open_in(f, ".landfall", O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    submit(f, suite_ask(&f->suite, CLOUD_PUT, "one"), &changed);
    submit(f, suite_ask(&f->suite, CLOUD_PUT, "two/"), &changed);
    submit(f, suite_ask(&f->suite, CLOUD_DELETE, "x"), &changed);
    suite_expect_bytes(&f->suite, "x", "x", 1);
    submit(f, given_up, &canceled);
    suite_expect_bytes(&f->suite, "x", "x", 1);
    cloud_cancel(f->suite.cloud, given_up);
    while (canceled == 0)
        (void)event_base_loop(loop_base(f->suite.loop), EVLOOP_ONCE);
    assert_int_equal(canceled, FAILED);
    assert_int_equal(changed, 0);
    assert_int_equal(flock(lock, LOCK_UN), 0);
    while (changed < 3)
        (void)event_base_loop(loop_base(f->suite.loop), EVLOOP_ONCE);
    assert_int_equal(changed, 3);
    assert_true(exists_in(f, "one"));
    assert_true(exists_in(f, "two"));
    assert_false(exists_in(f, "x"));
    assert_false(exists_in(f, "given-up"));
    assert_int_equal(flock(lock, LOCK_EX), 0);
    expect_refused(f, suite_ask(&f->suite, CLOUD_PUT, "never"), -EAGAIN, "holds the lock");
    assert_int_equal(flock(lock, LOCK_UN), 0);
    suite_clean(&f->suite, "");
}

static void nothing_is_left_behind(void **state)
{
    struct fixture *f = *state;
    SUITE_REQUEST *stale = suite_ask(&f->suite, CLOUD_PUT, "x"), *list = suite_ask(&f->suite, CLOUD_LIST, NULL);
    CLEANUP_FREE char *hidden = NULL;

    suite_put(&f->suite, "x", "x", 1);
    stale->if_none_match = true;
    suite_expect(&f->suite, stale, -ESTALE);
    suite_clean(&f->suite, "");
    suite_expect(&f->suite, list, 0);
    assert_int_equal(list->n_objects, 0);
    assert_true(asprintf(&hidden, "%s/bucket/.landfall", f->folder) > 0);
    assert_int_equal(rmdir(hidden), 0);   /* empty */
}

enum { LONG = 2 * 1024 * 1024 };

static struct {
    const struct fixture *f;
    size_t strange;     /* bytes of the other version that arrived */
} reading;              /* the request's arg is the suite's */

/* The first run is there: somebody writes over the rest, in place. */
static bool on_run(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    CLEANUP_FREE char *other = NULL;
    CLEANUP_CLOSE int fd = -1;

    (void)arg;
    for (size_t i = 0; i < n; i++)
        reading.strange += ((const char *)bytes)[i] == 'b';
    if (r->content_length > n)
        return true;
    other = xcalloc(1, LONG + 1);
    memset(other, 'b', LONG + 1);
    fd = open_in(reading.f, "long", O_WRONLY);
    assert_int_equal(write(fd, other, LONG + 1), LONG + 1);
    return true;
}

static void a_file_written_while_it_is_read(void **state)
{
    struct fixture *f = *state;
    SUITE_REQUEST *get = suite_ask(&f->suite, CLOUD_GET, "long");
    CLEANUP_FREE char *bytes = xcalloc(1, LONG);

    memset(bytes, 'a', LONG);
    suite_put(&f->suite, "long", bytes, LONG);
    get->data = on_run;
    reading.f = f;
    suite_expect(&f->suite, get, -ESTALE);
    assert_int_equal(reading.strange, 0);
    suite_clean(&f->suite, "");
}

static void a_folder_that_is_gone(void **state)
{
    struct error e = { 0 };
    struct config *config;
    struct suite s = { .loop = loop_new(1), .bucket = "bucket" };
    struct cloud_spec spec = { .type = CLOUD_LOCAL_FOLDER, .account_id = "t",
        .service_url = "file:///nonexistent/landfall" };
    static const enum cloud_op ops[] = { CLOUD_STAT, CLOUD_GET, CLOUD_PUT, CLOUD_DELETE, CLOUD_PART_BEGIN };
    struct cloud_request *r;

    (void)state;
    assert_int_equal(config_load(NULL, NULL, 0, &config, &e), 0);
    assert_int_equal(cloud_new(s.loop, config, &spec, &s.cloud, &e), 0);
    r = suite_ask(&s, CLOUD_BUCKETS, NULL);
    suite_expect(&s, r, -ENOENT);
    assert_non_null(strstr(r->error.text, "/nonexistent/landfall"));
    cloud_request_free(r);
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {   /* none of them may say that the object was deleted */
        r = suite_ask(&s, ops[i], "key");
        suite_expect(&s, r, -EHOSTUNREACH);
        assert_non_null(strstr(r->error.text, "/nonexistent/landfall"));
        cloud_request_free(r);
    }
    cloud_free(s.cloud);
    loop_free(s.loop);
    config_free(config);
}

/* --- space ------------------------------------------------------------------------------------------- */

/* Others write to the same file system meanwhile. */
static void a_folder_tells_its_space(void **state)
{
    struct fixture *f = *state;
    SUITE_REQUEST *r = suite_ask(&f->suite, CLOUD_SPACE, NULL), *other = suite_ask(&f->suite, CLOUD_SPACE, NULL);
    struct statvfs st;
    double there;

    assert_true(cloud_capabilities(f->suite.cloud) & CLOUD_HAS_SPACE);
    suite_expect(&f->suite, r, 0);
    assert_int_equal(statvfs(f->folder, &st), 0);
    there = (double)st.f_bavail * (double)st.f_frsize;
    assert_true((double)r->space > there * 0.8 && (double)r->space < there * 1.2);
    cloud_request_set(&other->bucket, "nowhere");
    suite_expect(&f->suite, other, -EHOSTUNREACH);
}

/* --- numbers ----------------------------------------------------------------------------------------- */

static size_t n_labels(const struct metric_row *row)
{
    size_t n = 0;

    while (n < METRIC_LABELS_MAX && row->labels[n])
        n++;
    return n;
}

/* One without a name would be left out of /metrics. */
static void every_operation_is_counted_by_name(void **state)
{
    struct samples s = { 0 };
    struct tally *t = NULL;

    (void)state;
    assert_int_equal(tally_new(&t), 0);
    for (unsigned op = 0; op < CLOUD_OP_COUNT; op++)
        tally_request(t, &(struct cloud_request){ .op = op, .submitted_ns = loop_now_ns() });
    tally_samples(t, "drive", &s);
    for (size_t i = 0; i < s.n; i++)
        if (s.list[i]->n_labels != n_labels(metric_row(s.list[i]->metric)))
            fail_msg("%s lacks a label", metric_row(s.list[i]->metric)->name);
    samples_free(&s);
    tally_drop(t);
}

/* --- the failing wrapper --------------------------------------------------------------------------- */

struct faults {
    enum cloud_op op;
    bool after;
    unsigned asked;
};

static int fault(const struct cloud_request *r, bool after, void *arg)
{
    struct faults *f = arg;

    f->asked++;
    return r->op == f->op && after == f->after ? -EHOSTUNREACH : 0;
}

static void failures_on_demand(void **state)
{
    struct fixture *f = *state;
    struct faults faults = { CLOUD_PUT, false, 0 };
    struct suite s = f->suite;
    SUITE_REQUEST *put = suite_ask(&s, CLOUD_PUT, "fail"), *stat = suite_ask(&s, CLOUD_STAT, "fail");
    CLEANUP_FREE char *noise = suite_noise(200000, 9);

    f->suite.cloud = s.cloud = cloud_failing_new(s.cloud, fault, &faults);   /* the fixture frees it */
    suite_expect(&s, put, -EHOSTUNREACH);
    suite_expect(&s, stat, -ENOENT);
    faults.after = true;
    suite_expect(&s, put, -EHOSTUNREACH);
    suite_expect(&s, stat, 0);   /* it was done, the answer was lost */
    faults.op = CLOUD_DELETE;
    faults.after = false;
    suite_put(&s, "fail", noise, 200000);
    suite_expect_bytes(&s, "fail", noise, 200000);
    assert_int_equal(faults.asked, 1 + 2 + 2 + 2 + 2 + 2);
}

/* --- requests under way when the cloud is freed ------------------------------------------------------ */

static void on_end(struct cloud_request *r, void *arg)
{
    assert_int_equal(r->error.code, -ECANCELED);
    ++*(unsigned *)arg;
    cloud_request_free(r);
}

static void freed_with_requests(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *noise = suite_noise(2000000, 6);
    unsigned ended = 0;

    suite_put(&f->suite, "busy", noise, 2000000);
    for (unsigned i = 0; i < 3; i++) {
        struct cloud_request *r = suite_ask(&f->suite, CLOUD_GET, "busy");

        r->done = on_end;
        r->arg = &ended;
        cloud_submit(f->suite.cloud, r);
    }
    cloud_free(f->suite.cloud);
    f->suite.cloud = NULL;
    assert_int_equal(ended, 0);
    while (ended < 3)
        (void)event_base_loop(loop_base(f->suite.loop), EVLOOP_ONCE);
}

static void types(void **state)
{
    struct error e = { 0 };

    (void)state;
    assert_int_equal(cloud_type_check(CLOUD_AWS, &e), 0);
    assert_int_equal(cloud_type_check(CLOUD_LOCAL_FOLDER, &e), 0);
    assert_int_equal(cloud_type_check(CLOUD_DROPBOX, &e), -EOPNOTSUPP);
    assert_non_null(strstr(e.text, "Dropbox"));
    assert_int_equal(cloud_type_check(CLOUD_MEMORY, &e), -EINVAL);
    assert_int_equal(cloud_type_check(3, &e), -EINVAL);
    assert_string_equal(cloud_type_name(CLOUD_S3_GENERIC), "S3Generic");
    assert_null(cloud_type_name(3));
}

int main(void)
{
    static const struct CMUnitTest folder[] = {
        cmocka_unit_test(files_are_files),
        cmocka_unit_test(links_lead_nowhere),
        cmocka_unit_test(strangers_show),
        cmocka_unit_test(a_name_is_file_or_folder),
        cmocka_unit_test(the_reserved_name),
        cmocka_unit_test(a_hidden_folder_of_others),
        cmocka_unit_test(a_lock_held_by_others),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(a_folder_tells_its_space),
        cmocka_unit_test(a_file_written_while_it_is_read),
    };
    static const struct CMUnitTest alone[] = {
        cmocka_unit_test(a_folder_that_is_gone),
        cmocka_unit_test(every_operation_is_counted_by_name),
        cmocka_unit_test(types),
        cmocka_unit_test_setup_teardown(failures_on_demand, set_up_memory, tear_down),
        cmocka_unit_test_setup_teardown(freed_with_requests, set_up_memory, tear_down),
        cmocka_unit_test_setup_teardown(freed_with_requests, set_up_folder, tear_down),
    };
    int failed = _cmocka_run_group_tests("memory", suite_tests, suite_tests_n, set_up_memory, tear_down);

    failed += _cmocka_run_group_tests("folder", suite_tests, suite_tests_n, set_up_folder, tear_down);
    failed += cmocka_run_group_tests_name("folder, its own", folder, set_up_folder, tear_down);
    failed += cmocka_run_group_tests_name("alone", alone, NULL, NULL);
    return failed;
}
