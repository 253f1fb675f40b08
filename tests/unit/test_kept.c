/* mountd/kept: what mountd takes back after its own restart, and what it had better not. */
#include "mountd/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

#define ID "0b5c2f6e-93a1-4c58-8d1e-6f1f6f8f0a11"
#define OTHER "7d1f6c3a-2b44-4e0e-9a55-0c1d2e3f4a5b"

static struct daemon daemon_;
static int reader;   /* as long as it is open, the connection (a pipe's write end) counts as alive */

static void hand_over(const char *name, int fd)
{
    daemon_.sockets[daemon_.n_sockets].name = name;
    daemon_.sockets[daemon_.n_sockets++].fd = fd;
}

static int make_connection(void)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    reader = fds[0];
    return fds[1];
}

static int make_record(const char *id)
{
    Lf__Mount mount = LF__MOUNT__INIT;
    Lf__KeptMount record = LF__KEPT_MOUNT__INIT;
    uint8_t packed[512], init[104] = { 104 };
    int fd = memfd_create("record", MFD_CLOEXEC);
    size_t n;

    mount.drive_id = (char *)id;
    mount.name = (char *)"name";
    mount.mount_point = (char *)"/home/user/Landfall/name";
    record.mount = &mount;
    record.init = (ProtobufCBinaryData){ sizeof(init), init };
    record.device = 77;
    record.root = (char *)"/home/user/Landfall";
    n = lf__kept_mount__pack(&record, packed);
    assert_int_equal(write(fd, packed, n), n);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    daemon_ = (struct daemon){ 0 };
    reader = -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cleanup_close(&reader);
    for (size_t i = 0; i < daemon_.n_sockets; i++)
        cleanup_close(&daemon_.sockets[i].fd);
    return 0;
}

static void what_is_whole_is_taken(void **state)
{
    struct kept k;

    (void)state;
    hand_over("ipc", memfd_create("other", MFD_CLOEXEC));
    hand_over("init-" ID, make_record(ID));
    hand_over("fuse-" ID, make_connection());
    hand_over("owed-" ID, memfd_create("owed", MFD_CLOEXEC));
    assert_true(kept_take(&daemon_, &k));
    assert_string_equal(k.record->mount->drive_id, ID);
    assert_int_equal(k.record->device, 77);
    assert_int_equal(k.record->init.len, 104);
    assert_true(k.fuse >= 0);
    (void)close(k.fuse);
    (void)close(k.owed);
    lf__kept_mount__free_unpacked(k.record, NULL);
    assert_false(kept_take(&daemon_, &k));
    assert_true(daemon_.sockets[0].fd >= 0);   /* not ours */
}

static void assert_nothing_taken(void)
{
    struct kept k;

    assert_false(kept_take(&daemon_, &k));
    assert_int_equal(daemon_.sockets[0].fd, -1);
}

static void half_of_it_is_dropped(void **state)
{
    (void)state;
    hand_over("init-" ID, make_record(ID));
    hand_over("owed-" ID, memfd_create("owed", MFD_CLOEXEC));
    assert_nothing_taken();
}

static void what_a_worker_owed_may_be_lost(void **state)
{
    struct kept k;

    (void)state;
    hand_over("init-" ID, make_record(ID));
    hand_over("fuse-" ID, make_connection());
    assert_true(kept_take(&daemon_, &k));
    assert_int_equal(k.owed, -1);
    (void)close(k.fuse);
    lf__kept_mount__free_unpacked(k.record, NULL);
}

static void a_record_of_another_drive_is_dropped(void **state)
{
    (void)state;
    hand_over("init-" ID, make_record(OTHER));
    hand_over("fuse-" ID, make_connection());
    hand_over("owed-" ID, memfd_create("owed", MFD_CLOEXEC));
    assert_nothing_taken();
}

static void what_is_no_record_is_dropped(void **state)
{
    int fd = memfd_create("garbage", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(write(fd, "\xff\xff\xff\xff", 4), 4);
    hand_over("init-" ID, fd);
    hand_over("fuse-" ID, make_connection());
    hand_over("owed-" ID, memfd_create("owed", MFD_CLOEXEC));
    assert_nothing_taken();
}

static void an_unmounted_drive_is_dropped(void **state)
{
    (void)state;
    hand_over("init-" ID, make_record(ID));
    hand_over("fuse-" ID, make_connection());
    hand_over("owed-" ID, memfd_create("owed", MFD_CLOEXEC));
    cleanup_close(&reader);   /* the write end of a pipe without reader reports POLLERR, as /dev/fuse does */
    reader = -1;
    assert_nothing_taken();
}

static void one_bad_drive_does_not_hide_the_next(void **state)
{
    struct kept k;

    (void)state;
    hand_over("init-" OTHER, make_record(OTHER));
    hand_over("init-" ID, make_record(ID));
    hand_over("fuse-" ID, make_connection());
    hand_over("owed-" ID, memfd_create("owed", MFD_CLOEXEC));
    assert_true(kept_take(&daemon_, &k));
    assert_string_equal(k.record->mount->drive_id, ID);
    (void)close(k.fuse);
    (void)close(k.owed);
    lf__kept_mount__free_unpacked(k.record, NULL);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FRESH(what_is_whole_is_taken),
        FRESH(half_of_it_is_dropped),
        FRESH(what_a_worker_owed_may_be_lost),
        FRESH(a_record_of_another_drive_is_dropped),
        FRESH(what_is_no_record_is_dropped),
        FRESH(an_unmounted_drive_is_dropped),
        FRESH(one_bad_drive_does_not_hide_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
