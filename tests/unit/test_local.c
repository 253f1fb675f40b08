/* This machine's own folders, as the API lists and makes them, and work that may hang. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/apart.h"
#include "syncd/local_dir.h"
#include "tests/unit/syncd_fixture.h"

enum { MANY = 2 * LOCAL_PART + 100 };

/* --- asking ------------------------------------------------------------------------------------- */

static struct answer ask_list(struct fixture *f, const char *path, const char *page)
{
    Lf__LocalList msg = LF__LOCAL_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(LOCAL_LIST, local_list, &msg);

    msg.path = (char *)path;
    msg.page = (char *)page;
    return fixture_ask(f, &env);
}

static struct answer ask_directories(struct fixture *f, const char *path)
{
    Lf__DirectoryList msg = LF__DIRECTORY_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DIRECTORY_LIST, directory_list, &msg);

    msg.path = (char *)path;
    return fixture_ask(f, &env);
}

static struct answer ask_make(struct fixture *f, const char *path, const char *name)
{
    Lf__DirectoryMake msg = LF__DIRECTORY_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DIRECTORY_MAKE, directory_make, &msg);

    msg.path = (char *)path;
    msg.directory_name = (char *)name;
    return fixture_ask(f, &env);
}

static char *below(const struct fixture *f, const char *name)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", f->dir, name) < 0)
        abort();
    return path;
}

static void put(const char *dir, const char *name)
{
    CLEANUP_FREE char *path = NULL;

    if (asprintf(&path, "%s/%s", dir, name) < 0)
        abort();
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* --- listing ------------------------------------------------------------------------------------ */

/* "d" a folder, "f" a file, "l" a link to a folder, "b" one that leads nowhere: in the order of bytes. */
static const struct {
    char kind;
    const char *name;
    int type;
} ENTRIES[] = {
    { 'f', "\x01", 1 }, { 'd', " ", 2 },  { 'd', "Z", 2 },  { 'f', "a\nb", 1 },
    { 'b', "broken", 1 }, { 'l', "link", 2 }, { 'f', "z", 1 }, { 'f', "\xff", 1 },
};

static void make_entries(const char *dir)
{
    assert_int_equal(mkdir(dir, 0700), 0);
    for (size_t i = ARRAY_SIZE(ENTRIES); i-- > 0;) {
        CLEANUP_FREE char *path = NULL;

        if (asprintf(&path, "%s/%s", dir, ENTRIES[i].name) < 0)
            abort();
        if (ENTRIES[i].kind == 'f')
            put(dir, ENTRIES[i].name);
        else if (ENTRIES[i].kind == 'd')
            assert_int_equal(mkdir(path, 0700), 0);
        else
            assert_int_equal(symlink(ENTRIES[i].kind == 'l' ? "Z" : "nowhere", path), 0);
    }
}

static void a_folder_is_listed_in_order(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *dir = below(f, "here"), *crooked = below(f, "//here/./");
    struct answer a;

    make_entries(dir);
    a = ask_list(f, crooked, NULL);
    assert_int_equal(a.e.code, 0);
    assert_int_equal(a.reply->local_listed->n_objects, ARRAY_SIZE(ENTRIES));
    assert_null(a.reply->local_listed->next_page);
    for (size_t i = 0; i < ARRAY_SIZE(ENTRIES); i++) {
        const Lf__LocalObject *o = a.reply->local_listed->objects[i];

        assert_string_equal(o->file_name, ENTRIES[i].name);
        assert_int_equal(o->object_type, ENTRIES[i].type);
        assert_memory_equal(o->full_path, dir, strlen(dir));
        assert_string_equal(o->full_path + strlen(dir) + 1, ENTRIES[i].name);
    }
    answer_free(&a);
    a = ask_directories(f, dir);
    assert_int_equal(a.reply->directory_listed->n_directories, 3);
    assert_string_equal(a.reply->directory_listed->directories[1] + strlen(dir), "/Z");
    answer_free(&a);
}

/* The fixture's folder is the home. */
static void nothing_and_a_slash_are_the_home(void **state)
{
    static const char *const paths[] = { NULL, "", "/", "//", "/./" };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct answer a = ask_directories(f, paths[i]);
        CLEANUP_FREE char *cloud = below(f, "cloud");

        assert_int_equal(a.e.code, 0);
        assert_string_equal(a.reply->directory_listed->directories[0], cloud);
        answer_free(&a);
    }
}

static void what_cannot_be_listed_says_why(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *file = below(f, "file"), *none = below(f, "none"), *up = below(f, "cloud/../cloud");
    char deep[5000];

    put(f->dir, "file");
    memset(deep, 'x', sizeof(deep));
    deep[0] = '/';
    deep[sizeof(deep) - 1] = '\0';
    expect_error(ask_list(f, none, NULL), -ENOENT, "no such folder");
    expect_error(ask_list(f, file, NULL), -ENOTDIR, "not a folder");
    expect_error(ask_list(f, up, NULL), -EPERM, "..");
    expect_error(ask_list(f, "cloud", NULL), -EINVAL, "not absolute");
    expect_error(ask_list(f, "C:\\x", NULL), -EINVAL, "not absolute");
    expect_error(ask_list(f, deep, NULL), -ENAMETOOLONG, "too long");
    expect_error(ask_list(f, "/proc/self/cwd", NULL), -EBADFD, "cannot be listed");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Three parts, each of many pages; what comes and goes meanwhile changes nothing for the others. */
static void a_large_folder_comes_in_pages(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *dir = below(f, "large"), *page = NULL;
    CLEANUP_FREE char **seen = xcalloc(MANY + 1, sizeof(*seen));
    size_t n = 0, pages = 0;

    assert_int_equal(mkdir(dir, 0700), 0);
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%08x", i * 2654435761u);
        put(dir, name);
    }
    do {
        struct answer a = ask_list(f, dir, page);

        assert_int_equal(a.e.code, 0);
        for (size_t i = 0; i < a.reply->local_listed->n_objects; i++) {
            assert_true(n < MANY);
            seen[n++] = xstrdup(a.reply->local_listed->objects[i]->file_name);
        }
        xstrset(&page, a.reply->local_listed->next_page);
        answer_free(&a);
        if (pages++ == 3)
            put(dir, "!behind us");
    } while (page);
    assert_int_equal(n, MANY);
    assert_true(pages > 3);
    for (size_t i = 1; i < n; i++)
        assert_true(by_name(&seen[i - 1], &seen[i]) < 0);
    while (n)
        free(seen[--n]);
}

/* Of six lists at once four have their part kept; the others read it again, and nobody notices. */
static void lists_go_on_side_by_side(void **state)
{
    enum { LISTS = 6, ENOUGH = 3000 };
    struct fixture *f = *state;
    CLEANUP_FREE char *dir = below(f, "large");
    char *pages[LISTS] = { 0 };
    size_t n[LISTS] = { 0 };

    assert_int_equal(mkdir(dir, 0700), 0);
    for (unsigned i = 0; i < ENOUGH; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%08u", i);
        put(dir, name);
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t l = 0; l < LISTS; l++) {
            struct answer a;

            if (n[l] && !pages[l])
                continue;
            a = ask_list(f, dir, pages[l]);
            n[l] += a.reply->local_listed->n_objects;
            xstrset(&pages[l], a.reply->local_listed->next_page);
            more |= pages[l] != NULL;
            answer_free(&a);
        }
    }
    for (size_t l = 0; l < LISTS; l++)
        assert_int_equal(n[l], ENOUGH);
}

/* --- making ------------------------------------------------------------------------------------- */

static void names_are_names_of_one_folder(void **state)
{
    static const char *const wrong[] = { "", ".", "..", "/", "a/b", "../a", "a\nb", "\x01", "\x7f" };
    static const char *const right[] = { "a", "...", ".a", "..a", " ", "a\\b", "%2e%2e", "\xc3\xa4" };
    char longest[257];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(local_name_check(wrong[i], NULL), -EPERM);
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        assert_int_equal(local_name_check(right[i], NULL), 0);
    memset(longest, 'x', sizeof(longest));
    longest[256] = '\0';
    assert_int_equal(local_name_check(longest, NULL), -EPERM);
    longest[255] = '\0';
    assert_int_equal(local_name_check(longest, NULL), 0);
}

static void a_folder_is_made_once(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *made = below(f, "cloud/new"), *link = below(f, "link"), *through = below(f, "cloud/by link");
    struct answer a = ask_make(f, f->cloud, "new");
    struct stat st;

    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_int_equal(stat(made, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    expect_error(ask_make(f, f->cloud, "new"), -EEXIST, "taken");
    expect_error(ask_make(f, f->cloud, "../new"), -EPERM, "slashes");
    expect_error(ask_make(f, f->cloud, NULL), -EPERM, "name");
    expect_error(ask_make(f, NULL, "new"), -EINVAL, "path is missing");
    expect_error(ask_make(f, made, ".."), -EPERM, "name");
    expect_error(ask_make(f, "/proc/self/root/tmp", "new"), -EBADFD, "cannot be opened");
    assert_int_equal(symlink(f->cloud, link), 0);
    a = ask_make(f, link, "by link");
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    assert_int_equal(stat(through, &st), 0);
}

/* --- file systems --------------------------------------------------------------------------------- */

static void drives_and_letters(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *id = fixture_drive(f, account, "one"), *point = NULL;
    Lf__MountPointList points = LF__MOUNT_POINT_LIST__INIT;
    Lf__Envelope ask_points = IPC_ENVELOPE(MOUNT_POINT_LIST, mount_point_list, &points);
    Lf__LetterList letters = LF__LETTER_LIST__INIT;
    Lf__Envelope ask_letters = IPC_ENVELOPE(LETTER_LIST, letter_list, &letters);
    struct answer a;
    size_t n_own = 0, n_root = 0;

    if (asprintf(&point, "%s/one", f->mount_root) < 0)
        abort();
    wait_until(f, fixture_is_mounted(f, id));
    a = fixture_ask(f, &ask_points);
    assert_int_equal(a.e.code, 0);
    for (size_t i = 0; i < a.reply->mount_point_listed->n_drives; i++) {
        const char *drive = a.reply->mount_point_listed->drives[i];

        n_own += strcmp(drive, point) == 0;
        n_root += strcmp(drive, "/") == 0;
        assert_string_not_equal(drive, "/proc");
        assert_true(i == 0 || strcmp(a.reply->mount_point_listed->drives[i - 1], drive) < 0);
    }
    assert_int_equal(n_own, 1);
    assert_int_equal(n_root, 1);
    answer_free(&a);
    a = fixture_ask(f, &ask_letters);
    assert_int_equal(a.reply->letter_listed->n_letters, 24);
    assert_string_equal(a.reply->letter_listed->letters[0], "C");
    assert_string_equal(a.reply->letter_listed->letters[23], "Z");
    answer_free(&a);
}

/* --- apart ------------------------------------------------------------------------------------------ */

struct held {
    int wait_for, told;            /* pipe ends: the work waits for a byte, or for the end of all writers */
    bool done;
};

static void wait_for_byte(void *arg)
{
    const struct held *h = arg;
    char c;

    (void)!read(h->wait_for, &c, 1);
    (void)!write(h->told, "x", 1);
}

static void note_done(void *arg)
{
    ((struct held *)arg)->done = true;
}

static void what_hangs_holds_up_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct apart *a = apart_new(f->loop, 2);
    struct held *h = xcalloc(3, sizeof(*h));
    int go[2], told[2];
    char c;

    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(told), 0);
    for (size_t i = 0; i < 3; i++)
        h[i] = (struct held){ go[0], told[1], false };
    assert_int_equal(apart_run(a, wait_for_byte, note_done, &h[0]), 0);
    assert_int_equal(apart_run(a, wait_for_byte, note_done, &h[1]), 0);
    assert_int_equal(apart_run(a, wait_for_byte, note_done, &h[2]), -EAGAIN);
    assert_int_equal(write(go[1], "x", 1), 1);
    wait_until(f, h[0].done || h[1].done);
    assert_false(h[0].done && h[1].done);
    assert_int_equal(apart_run(a, wait_for_byte, note_done, &h[2]), 0);
    assert_int_equal(write(go[1], "xx", 2), 2);
    wait_until(f, h[0].done && h[1].done && h[2].done);
    apart_free(a);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(read(told[0], &c, 1), 1);
    close(go[0]);
    close(go[1]);
    close(told[0]);
    close(told[1]);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_folder_is_listed_in_order, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(nothing_and_a_slash_are_the_home, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_listed_says_why, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_large_folder_comes_in_pages, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(lists_go_on_side_by_side, fixture_set_up, fixture_tear_down),
        cmocka_unit_test(names_are_names_of_one_folder),
        cmocka_unit_test_setup_teardown(a_folder_is_made_once, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(drives_and_letters, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_hangs_holds_up_nobody_else, fixture_set_up, fixture_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
