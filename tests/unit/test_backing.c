/* mountd/backing: which descriptors of a worker are cache files. Needs root, to own files as somebody else. */
#include "mountd/mountd_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { SERVED = 4242, STRANGER = 4243, SKIPPED = 77 };

static char dir[] = "/tmp/lf-backing-XXXXXX", path[64], second[64];

/* A new file with this owner and mode, opened with these flags. */
static int open_file(uid_t owner, mode_t mode, int flags)
{
    int fd;

    (void)unlink(path);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchown(fd, owner, owner), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
    fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void only_what_syncd_makes_is_a_cache_file(void **state)
{
    static const struct {
        uid_t owner;
        mode_t mode;
        int flags;
        bool taken;
    } rows[] = {
        { SERVED, 0600, O_RDONLY, true },
        { SERVED, 0600, O_RDWR, false },             /* as of a file that is written, and as a map */
        { SERVED, 0600, O_WRONLY | O_APPEND, false },/* as a log without root */
        { SERVED, 0600, O_PATH, false },
        { SERVED, 0644, O_RDONLY, false },
        { SERVED, 04600, O_RDONLY, false },
        { 0, 0600, O_RDONLY, false },                /* as a log */
        { 0, 0600, O_WRONLY | O_APPEND, false },
        { STRANGER, 0600, O_RDONLY, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_CLOSE int fd = open_file(rows[i].owner, rows[i].mode, rows[i].flags);

        assert_int_equal(backing_is_cache_file(fd, SERVED), rows[i].taken);
    }
}

static void another_name_or_none_is_not_syncds_doing(void **state)
{
    CLEANUP_CLOSE int fd = open_file(SERVED, 0600, O_RDONLY);

    (void)state;
    assert_int_equal(link(path, second), 0);
    assert_false(backing_is_cache_file(fd, SERVED));
    assert_int_equal(unlink(second), 0);
    assert_true(backing_is_cache_file(fd, SERVED));
    assert_int_equal(unlink(path), 0);
    assert_false(backing_is_cache_file(fd, SERVED));
}

static void what_is_no_file_is_none(void **state)
{
    int pair[2];
    CLEANUP_CLOSE int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP_CLOSE int memory = memfd_create("init", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fchmod(memory, 0600), 0);
    for (size_t i = 0; i < 5; i++)
        assert_false(backing_is_cache_file((const int[]){ folder, null, memory, pair[0], -1 }[i], geteuid()));
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/file", dir);
    (void)snprintf(second, sizeof(second), "%s/second", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(second);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_syncd_makes_is_a_cache_file),
        cmocka_unit_test(another_name_or_none_is_not_syncds_doing),
        cmocka_unit_test(what_is_no_file_is_none),
    };

    if (geteuid() != 0)
        return SKIPPED;
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
