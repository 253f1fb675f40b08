/* mountd/mount_point: what is a mount point and what only looks like one. The mounts it needs are
 * made in a mount namespace of its own; needs root. */
#include "mountd/mount_point.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { OWNER = 4242, STRANGER = 4243, SKIPPED = 77 };

static char root[64];

/* A path below the directory of the test; static storage, four at a time. */
static const char *at(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned i;
    char *path = paths[i++ % 4];

    (void)snprintf(path, PATH_MAX, "%s/%s", root, name);
    return path;
}

static void make_dir(const char *name, uid_t owner)
{
    assert_int_equal(mkdir(at(name), 0755), 0);
    assert_int_equal(chown(at(name), owner, owner), 0);
}

/* The result of opening `name` below the mount root "drives". */
static int open_at(const char *name)
{
    struct mount_point p;
    struct error e = { 0 };
    int r = mount_point_open(at("drives"), at(name), OWNER, &p, &e);

    if (r < 0) {
        assert_int_equal(e.code, r);
        assert_non_null(strstr(e.text, "cannot be used as mount point"));
    } else {
        mount_point_close(&p);
    }
    return r;
}

static void an_empty_directory_of_the_user_is_one(void **state)
{
    struct mount_point p;
    struct stat dir, parent, expected;
    struct error e;

    (void)state;
    make_dir("drives/a", OWNER);
    make_dir("drives/a/b", OWNER);
    assert_int_equal(mount_point_open(at("drives/"), at("drives/a/b"), OWNER, &p, &e), 0);
    assert_string_equal(p.name, "b");
    assert_int_equal(fstat(p.dir, &dir) | fstat(p.parent, &parent) | stat(at("drives/a/b"), &expected), 0);
    assert_int_equal(dir.st_ino, expected.st_ino);
    assert_int_not_equal(parent.st_ino, dir.st_ino);
    mount_point_close(&p);
}

static void paths_outside_the_root_are_refused(void **state)
{
    (void)state;
    make_dir("drives/in", OWNER);
    make_dir("outside", OWNER);
    make_dir("drives-too", OWNER);
    assert_int_equal(open_at("drives"), -EPERM);
    assert_int_equal(open_at("outside"), -EPERM);
    assert_int_equal(open_at("drives-too"), -EPERM);
    assert_int_equal(open_at("drives/../outside"), -EPERM);
    assert_int_equal(open_at("drives/in/../in"), -EPERM);
    assert_int_equal(open_at("drives/./in"), -EPERM);
    assert_int_equal(open_at("drives//in"), -EPERM);
    assert_int_equal(open_at("drives/in/"), -EPERM);
}

static void a_root_must_be_a_real_place(void **state)
{
    struct mount_point p;
    struct error e;

    (void)state;
    assert_int_equal(mount_point_open("/", "/tmp", OWNER, &p, &e), -EPERM);
    assert_int_equal(mount_point_open("tmp", "tmp/x", OWNER, &p, &e), -EPERM);
    assert_int_equal(mount_point_open(at("absent"), at("absent/x"), OWNER, &p, &e), -ENOENT);
    assert_int_equal(symlink("drives", at("link-to-drives")), 0);
    assert_int_equal(mount_point_open(at("link-to-drives"), at("link-to-drives/in"), OWNER, &p, &e), -ELOOP);
}

static void symbolic_links_are_refused(void **state)
{
    (void)state;
    make_dir("drives/real", OWNER);
    make_dir("drives/real/deep", OWNER);
    assert_int_equal(symlink("real", at("drives/link")), 0);
    assert_int_equal(symlink("/etc", at("drives/etc")), 0);
    assert_int_equal(symlink("/proc/self/root", at("drives/magic")), 0);
    assert_int_equal(open_at("drives/link"), -ELOOP);
    assert_int_equal(open_at("drives/link/deep"), -ELOOP);
    assert_int_equal(open_at("drives/etc"), -ELOOP);
    assert_int_equal(open_at("drives/magic/tmp"), -ELOOP);
}

static void what_is_not_the_users_is_refused(void **state)
{
    (void)state;
    make_dir("drives/strangers", STRANGER);
    make_dir("drives/roots", 0);
    assert_int_equal(open_at("drives/strangers"), -EACCES);
    assert_int_equal(open_at("drives/roots"), -EACCES);
}

static void what_is_not_empty_is_refused(void **state)
{
    int fd;

    (void)state;
    make_dir("drives/full", OWNER);
    fd = open(at("drives/full/.hidden"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(open_at("drives/full"), -ENOTEMPTY);
    assert_int_equal(open_at("drives/full/.hidden"), -ENOTDIR);
    assert_int_equal(open_at("drives/absent"), -ENOENT);
}

static void mounts_are_refused(void **state)
{
    (void)state;
    make_dir("drives/mounted", OWNER);
    assert_int_equal(mount("none", at("drives/mounted"), "tmpfs", 0, "uid=4242,mode=700"), 0);
    make_dir("drives/mounted/below", OWNER);
    assert_int_equal(open_at("drives/mounted"), -EBUSY);
    assert_int_equal(open_at("drives/mounted/below"), -EXDEV);
}

/* A FUSE file system whose server went without unmounting. */
static void a_dead_mount_is_recognised(void **state)
{
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[128];

    (void)state;
    if (fuse < 0)
        skip();
    make_dir("drives/dead", OWNER);
    (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
    if (mount("test", at("drives/dead"), "fuse", 0, options) < 0)
        skip();
    (void)close(fuse);
    assert_int_equal(open_at("drives/dead"), -ENOTCONN);
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(root, "/tmp/test-mount-point.XXXXXX");
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(root))
        return -1;
    /* what is mounted or made here goes with the namespace */
    if (mount("none", root, "tmpfs", 0, NULL) < 0)
        return -1;
    make_dir("drives", OWNER);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)umount2(root, MNT_DETACH);
    return rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_directory_of_the_user_is_one),
        cmocka_unit_test(paths_outside_the_root_are_refused),
        cmocka_unit_test(a_root_must_be_a_real_place),
        cmocka_unit_test(symbolic_links_are_refused),
        cmocka_unit_test(what_is_not_the_users_is_refused),
        cmocka_unit_test(what_is_not_empty_is_refused),
        cmocka_unit_test(mounts_are_refused),
        cmocka_unit_test(a_dead_mount_is_recognised),
    };

    if (geteuid() != 0) {
        (void)puts("skipped: needs root");
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
