/* Folders by path: what they may be reached through, that the held one counts, and what removing leaves alone. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/mount_table.h"
#include "syncd/folder.h"
#include "tests/unit/files.h"

static char base[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/landfall-folder-XXXXXX");
    return mkdtemp(base) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return files_remove(base);
}

/* "base/name", good for four calls. */
static const char *in(const char *name)
{
    static char ring[4][256];
    static unsigned turn;
    char *path = ring[turn++ % 4];

    (void)snprintf(path, sizeof(ring[0]), "%s/%s", base, name);
    return path;
}

static void make(const char *name)
{
    assert_int_equal(mkdir(in(name), 0700), 0);
}

static void write_in(const char *name)
{
    int fd = open(in(name), O_WRONLY | O_CREAT | O_EXCL, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static bool there(const char *name)
{
    struct stat st;

    return lstat(in(name), &st) == 0;
}

static void expect(const char *name, enum folder_make how, int code, const char *part)
{
    CLEANUP(folder_close) struct folder f = FOLDER_NONE;
    struct error e = { 0 };

    assert_int_equal(folder_open(in(name), how, &f, &e), code);
    if (code && !strstr(e.text, part))
        fail_msg("\"%s\" is not in: %s", part, e.text);
    assert_int_equal(f.fd >= 0, code == 0);
}

static void made_as_far_as_asked(void **state)
{
    CLEANUP(folder_close) struct folder f = FOLDER_NONE;
    struct error e = { 0 };
    struct stat st;

    (void)state;
    expect("a", FOLDER_AS_IT_IS, -ENOENT, "not there");
    expect("a/b", FOLDER_MAKE, -ENOENT, "/a is not there");
    assert_int_equal(folder_open(in("a/b/c"), FOLDER_MAKE_ALL, &f, &e), 0);
    assert_true(f.made);
    assert_string_equal(f.name, "c");
    assert_int_equal(stat(in("a/b"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    folder_close(&f);
    assert_int_equal(folder_open(in("a/b/c"), FOLDER_MAKE_ALL, &f, &e), 0);
    assert_false(f.made);
}

static void no_links_on_the_way(void **state)
{
    (void)state;
    make("real");
    make("real/inner");
    assert_int_equal(symlink("real", in("link")), 0);
    expect("link", FOLDER_AS_IT_IS, -ENOTDIR, "symbolic link");
    expect("link/inner", FOLDER_AS_IT_IS, -ENOTDIR, "/link is");
    expect("link/new", FOLDER_MAKE_ALL, -ENOTDIR, "symbolic link");
    assert_false(there("real/new"));
    expect("real/inner", FOLDER_AS_IT_IS, 0, "");
}

static void nobody_else_on_the_way(void **state)
{
    (void)state;
    make("open");
    make("open/mine");
    assert_int_equal(chmod(in("open"), 0777), 0);
    expect("open/mine", FOLDER_AS_IT_IS, -EPERM, "can be written by others");
    assert_int_equal(chmod(in("open"), 0770), 0);
    expect("open/mine", FOLDER_AS_IT_IS, -EPERM, "can be written by others");
    assert_int_equal(chmod(in("open"), 01777), 0);
    expect("open/mine", FOLDER_AS_IT_IS, 0, "");
    expect("open", FOLDER_AS_IT_IS, -EPERM, "chmod go-w");
    if (getuid() != 0)
        return;
    assert_int_equal(chown(in("open/mine"), 1, 1), 0);
    expect("open/mine", FOLDER_AS_IT_IS, -EINVAL, "another user");
    expect("open/mine/x", FOLDER_MAKE, -EPERM, "uid 1");
}

static void the_mark_tells_them_apart(void **state)
{
    CLEANUP(folder_close) struct folder f = FOLDER_NONE;
    struct error e = { 0 };

    (void)state;
    assert_int_equal(folder_open(in("cache"), FOLDER_MAKE, &f, &e), 0);
    assert_true(folder_is_empty(f.fd));
    assert_int_equal(folder_mark(f.fd, "one"), 0);
    assert_false(folder_is_empty(f.fd));
    assert_true(folder_is_marked(f.fd, "one"));
    assert_false(folder_is_marked(f.fd, "on"));
    assert_false(folder_is_marked(f.fd, "two"));
}

/* What is held is emptied, whatever stands at its path by then, and links are removed, not followed. */
static void only_what_is_held_is_emptied(void **state)
{
    CLEANUP(folder_close) struct folder f = FOLDER_NONE;
    struct error e = { 0 };

    (void)state;
    make("documents");
    write_in("documents/letter");
    make("cache");
    make("cache/05");
    write_in("cache/05/5.data");
    assert_int_equal(symlink("../documents", in("cache/link")), 0);
    assert_int_equal(symlink("../../documents/letter", in("cache/05/link")), 0);
    assert_int_equal(folder_open(in("cache"), FOLDER_AS_IT_IS, &f, &e), 0);
    assert_int_equal(rename(in("cache"), in("away")), 0);
    assert_int_equal(rename(in("documents"), in("cache")), 0);
    assert_int_equal(folder_empty(f.fd), 0);
    assert_true(there("cache/letter"));
    assert_true(folder_is_empty(f.fd));
    assert_int_equal(folder_remove(&f), -ENOTEMPTY);
    assert_true(there("away"));
}

/* In a child with a mount table of its own. */
static int empty_with_a_mount_inside(void)
{
    CLEANUP(folder_close) struct folder f = FOLDER_NONE;
    struct error e = { 0 };

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(in("documents"), in("cache/mounted"), NULL, MS_BIND, NULL) < 0)
        return 77;
    if (folder_open(in("cache"), FOLDER_AS_IT_IS, &f, &e) < 0)
        return 1;
    return folder_empty(f.fd) == -EXDEV && there("documents/letter") && !there("cache/file") ? 0 : 2;
}

static void nothing_beyond_a_mount_is_removed(void **state)
{
    int status;
    pid_t child;

    (void)state;
    make("documents");
    write_in("documents/letter");
    make("cache");
    make("cache/mounted");
    write_in("cache/file");
    child = fork();
    if (child == 0)
        _exit(empty_with_a_mount_inside());
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void mounts_are_found_by_text(void **state)
{
    (void)state;
    assert_true(mount_table_on("/proc", "proc"));
    assert_true(mount_table_on("/proc/self/no/such", "proc"));
    assert_false(mount_table_on("/procession", "proc"));
    assert_false(mount_table_on("/", "proc"));
    assert_false(mount_table_on("/proc/self", MOUNT_TABLE_DRIVE));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(made_as_far_as_asked),
        TEST(no_links_on_the_way),
        TEST(nobody_else_on_the_way),
        TEST(the_mark_tells_them_apart),
        TEST(only_what_is_held_is_emptied),
        TEST(nothing_beyond_a_mount_is_removed),
        TEST(mounts_are_found_by_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
