/* mountd with real mounts and the real worker program; syncd is played. Applications are processes of
 * their own under the served user. All of it in a mount namespace of its own; needs root and /dev/fuse. */
#include "mountd/mountd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mountd/mountd_internal.h"
#include "mountd/spawn.h"
#include "tests/unit/fake_syncd.h"
#include "tests/unit/ipc_fixture.h"

/* The served user is nobody: fusermount3 wants somebody who has an account. */
enum { SERVED = 65534, WORKER = 4243, STRANGER = 4244, SKIPPED = 77, BIG = 3 * 1024 * 1024 + 17 };

#define DRIVE "0b5c2f6e-93a1-4c58-8d1e-6f1f6f8f0a11"

static char dir[64], drives[96], point[128], socket_path[96], worker_path[PATH_MAX];

static bool privileged = true;

struct house {
    struct loop *loop;
    struct config *config;
    struct fake_syncd *syncd;
    struct mountd *mountd;
};

/* --- the house ------------------------------------------------------------------------------------------ */

static void start_mountd(struct house *h)
{
    struct mountd_spec spec = {
        .loop = h->loop, .privileged = privileged, .mount_root = drives, .served_uid = SERVED, .served_gid = SERVED,
        .change_user = privileged, .worker_uid = WORKER, .worker_gid = WORKER, .worker_binary = worker_path,
        .syncd_path = socket_path, .config = h->config,
    };
    struct error e;

    assert_int_equal(mountd_new(&spec, &h->mountd, &e), 0);
}

static int setup(void **state)
{
    struct house *h = calloc(1, sizeof(*h));
    struct error e;

    assert_int_equal(mkdir(point, 0700), 0);
    assert_int_equal(chown(point, SERVED, SERVED), 0);   /* nothing changes where it is ours */
    h->loop = loop_new(2);
    assert_int_equal(config_load(NULL, NULL, 0, &h->config, &e), 0);
    h->syncd = fake_new(h->loop, SERVED, SERVED);
    h->syncd->drive_id = DRIVE;
    fake_listen(h->syncd, socket_path);
    start_mountd(h);
    wait_until(h, h->syncd->mountd);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct house *h = *state;

    if (h->mountd) {
        mountd_stop(h->mountd);
        wait_until(h, !h->mountd->drives);
    }
    mountd_free(h->mountd);
    fake_free(h->syncd);
    config_free(h->config);
    loop_free(h->loop);
    free(h);
    return rmdir(point);
}

static struct drive *drive_of(struct house *h)
{
    return drive_find(h->mountd, DRIVE);
}

static void mount_drive(struct house *h)
{
    h->syncd->mount_point = point;
    fake_mounts_changed(h->syncd);
    wait_until(h, h->syncd->mounted || h->syncd->failure);
    assert_string_equal(h->syncd->failure_text, "");
    wait_until(h, h->syncd->worker);
}

/* Without asking the worker: it would wait for us. */
static unsigned device_of(const char *path)
{
    struct statx sx;

    assert_int_equal(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, 0, &sx), 0);
    return sx.stx_dev_minor;
}

static bool is_mounted(void)
{
    return device_of(point) != device_of(drives);
}

/* The options that the mount table shows for the drive; static storage. */
static const char *mount_options(void)
{
    static char line[1024];
    FILE *f = fopen("/proc/self/mountinfo", "re");

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strstr(line, point))
            break;
    (void)fclose(f);
    return line;
}

/* --- applications ------------------------------------------------------------------------------------------- */

#define NEED(condition) \
    do { \
        if (!(condition)) { \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); \
            _exit(1); \
        } \
    } while (0)

static pid_t start_app(uid_t uid, void (*body)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)close_range(3, ~0U, 0);
        NEED(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
        NEED(uid != SERVED || chdir(point) == 0);
        body();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void finish_app(struct house *h, pid_t pid)
{
    int status;

    wait_until(h, waitpid(pid, &status, WNOHANG) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void run_app(struct house *h, void (*body)(void))
{
    finish_app(h, start_app(SERVED, body));
}

/* --- using it --------------------------------------------------------------------------------------------------- */

static void write_file(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0640);

    NEED(fd >= 0);
    NEED(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    NEED(close(fd) == 0);
}

static void need_text(const char *name, const char *text)
{
    char bytes[256] = "";
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    NEED(fd >= 0);
    NEED(read(fd, bytes, sizeof(bytes) - 1) == (ssize_t)strlen(text));
    NEED(strcmp(bytes, text) == 0);
    NEED(close(fd) == 0);
}

static void use_files(void)
{
    struct stat st;
    int fd;

    write_file("a", "hello");
    need_text("a", "hello");
    NEED(stat("a", &st) == 0 && st.st_size == 5 && (st.st_mode & 07777) == 0640 && st.st_uid == SERVED);
    NEED((fd = open("a", O_WRONLY | O_APPEND | O_CLOEXEC)) >= 0);
    NEED(write(fd, " world", 6) == 6 && fsync(fd) == 0 && close(fd) == 0);
    need_text("a", "hello world");
    NEED(truncate("a", 4) == 0);
    need_text("a", "hell");
    NEED(rename("a", "b") == 0 && stat("a", &st) < 0 && errno == ENOENT);
    need_text("b", "hell");
    NEED(chmod("b", 0600) == 0 && stat("b", &st) == 0 && (st.st_mode & 07777) == 0600);
    NEED(link("b", "c") < 0 && errno == EPERM);
    NEED(unlink("b") == 0 && access("b", F_OK) < 0);
}

static void use_directories(void)
{
    struct dirent *entry;
    char name[32];
    unsigned n = 0;
    DIR *d;

    NEED(mkdir("d", 0755) == 0 && mkdir("d", 0755) < 0 && errno == EEXIST);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "d/%d", i);
        write_file(name, "x");
    }
    NEED((d = opendir("d")));
    while ((entry = readdir(d)))
        n++;
    NEED(n == 102 && closedir(d) == 0);
    NEED(rmdir("d") < 0 && errno == ENOTEMPTY);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "d/%d", i);
        NEED(unlink(name) == 0);
    }
    NEED(rmdir("d") == 0);
}

static void use_the_rest(void)
{
    char target[64] = "", value[64] = "";
    struct statvfs space;
    struct stat st;

    NEED(symlink("some/where", "l") == 0 && readlink("l", target, sizeof(target)) == 10);
    NEED(strcmp(target, "some/where") == 0);
    write_file("x", "x");
    NEED(setxattr("x", "user.color", "blue", 4, 0) == 0 && getxattr("x", "user.color", value, sizeof(value)) == 4);
    NEED(strcmp(value, "blue") == 0);
    NEED(setxattr("x", "trusted.color", "blue", 4, 0) < 0);
    NEED(listxattr("x", value, sizeof(value)) == 11 && strcmp(value, "user.color") == 0);
    NEED(statvfs(".", &space) == 0 && space.f_blocks == 1 << 20 && space.f_flag & ST_NOSUID);
    NEED(mknod("c", S_IFCHR | 0600, makedev(1, 3)) < 0 && errno == EPERM);
    NEED(mkfifo("p", 0640) == 0 && stat("p", &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0640);
}

static char byte_at(size_t i)
{
    return (char)(i * 31 + (i >> 12));
}

static void use_a_large_file(void)
{
    char *bytes = malloc(BIG), *back = malloc(BIG);
    const char *map;
    int fd;

    for (size_t i = 0; i < BIG; i++)
        bytes[i] = byte_at(i);
    NEED((fd = open("big", O_CREAT | O_RDWR | O_CLOEXEC, 0600)) >= 0);
    NEED(write(fd, bytes, BIG) == BIG);
    NEED(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    NEED(pread(fd, back, BIG, 0) == BIG && memcmp(bytes, back, BIG) == 0);
    NEED(lseek(fd, 0, SEEK_HOLE) == BIG);
    NEED((map = mmap(NULL, BIG, PROT_READ, MAP_SHARED, fd, 0)) != MAP_FAILED && memcmp(map, bytes, BIG) == 0);
    NEED(fallocate(fd, 0, 0, BIG + 100) == 0 && lseek(fd, 0, SEEK_END) == BIG + 100);
    NEED(close(fd) == 0);
}

static void an_application_finds_a_file_system(void **state)
{
    struct house *h = *state;

    mount_drive(h);
    run_app(h, use_files);
    run_app(h, use_directories);
    run_app(h, use_the_rest);
    run_app(h, use_a_large_file);
}

static void read_big_back(void)
{
    char *back = malloc(BIG);
    int fd = open("cloudy", O_RDONLY | O_CLOEXEC);
    ssize_t n = 0, got;

    NEED(fd >= 0);
    do {
        got = read(fd, back + n, (size_t)(BIG - n < 100000 ? BIG - n : 100000));
        n += got;
    } while (got > 0);
    NEED(n == BIG);
    for (size_t i = 0; i < BIG; i++)
        NEED(back[i] == byte_at(i));
}

static void what_the_cloud_has_is_read(void **state)
{
    struct house *h = *state;
    char *bytes = malloc(BIG);

    for (size_t i = 0; i < BIG; i++)
        bytes[i] = byte_at(i);
    (void)fake_add_file(h->syncd, 1, "cloudy", bytes, BIG);
    free(bytes);
    mount_drive(h);
    run_app(h, read_big_back);
}

/* --- the mount itself ---------------------------------------------------------------------------------------------- */

static void a_mount_is_what_it_should_be(void **state)
{
    struct house *h = *state;
    const char *options;

    mount_drive(h);
    assert_true(is_mounted());
    options = mount_options();
    assert_non_null(strstr(options, "nosuid,nodev"));
    assert_non_null(strstr(options, "fuse.landfall landfall:Test__drive_"));
    assert_non_null(strstr(options, "default_permissions,allow_other"));
    assert_null(strstr(options, "dirsync"));
}

static void create_something(void)
{
    NEED(open("new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
    need_text("old", "old");
}

static void a_read_only_drive_is(void **state)
{
    struct house *h = *state;

    (void)fake_add_file(h->syncd, 1, "old", "old", 3);
    h->syncd->read_only = true;
    mount_drive(h);
    assert_non_null(strstr(mount_options(), " ro,"));
    run_app(h, create_something);
}

static void look_in(void)
{
    char path[160];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/f", point);
    NEED(stat(path, &st) < 0 && errno == EACCES);
}

/* The mode of the root would let everybody in; the worker does not. */
static void other_users_see_nothing(void **state)
{
    struct house *h = *state;

    (void)fake_add_file(h->syncd, 1, "f", "f", 1);
    fake_node(h->syncd, 1)->mode = S_IFDIR | 0755;
    mount_drive(h);
    finish_app(h, start_app(STRANGER, look_in));
}

static void a_bad_mount_point_is_reported(void **state)
{
    struct house *h = *state;
    char file[160];

    (void)snprintf(file, sizeof(file), "%s/full", point);
    (void)close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    h->syncd->mount_point = point;
    fake_mounts_changed(h->syncd);
    wait_until(h, h->syncd->failure);
    assert_int_equal(h->syncd->failure, ENOTEMPTY);
    assert_non_null(strstr(h->syncd->failure_text, "it is not empty"));
    assert_false(is_mounted());
    assert_int_equal(unlink(file), 0);
    wait_until(h, h->syncd->mounted);   /* by itself, once it can */
}

/* Whoever deletes a drive waits to hear that it is not mounted, even if it never was. */
static void a_drive_that_was_never_mounted_goes_with_a_report(void **state)
{
    struct house *h = *state;
    char file[160];
    unsigned reports;

    (void)snprintf(file, sizeof(file), "%s/full", point);
    (void)close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    h->syncd->mount_point = point;
    fake_mounts_changed(h->syncd);
    wait_until(h, h->syncd->failure);
    reports = h->syncd->reports;
    h->syncd->mount_point = NULL;
    fake_mounts_changed(h->syncd);
    wait_until(h, !h->mountd->drives);
    wait_until(h, h->syncd->reports > reports && !h->syncd->failure);   /* perhaps it was tried once more */
    assert_false(h->syncd->mounted);
    assert_int_equal(unlink(file), 0);
}

/* As syncd makes it, so that nobody writes below it by accident while nothing is mounted. */
static void a_closed_mount_point_is_used(void **state)
{
    struct house *h = *state;
    struct stat st;

    assert_int_equal(chmod(point, 0500), 0);
    mount_drive(h);
    run_app(h, use_files);
    h->syncd->mount_point = NULL;
    fake_mounts_changed(h->syncd);
    wait_until(h, !h->mountd->drives);
    assert_int_equal(stat(point, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0500);
}

static void what_is_no_longer_listed_goes(void **state)
{
    struct house *h = *state;

    mount_drive(h);
    h->syncd->mount_point = NULL;
    fake_mounts_changed(h->syncd);
    wait_until(h, !h->syncd->mounted);
    assert_false(is_mounted());
    wait_until(h, !h->mountd->drives);
}

static void stay_inside(void)
{
    for (;;)
        (void)pause();
}

static void a_drive_in_use_goes_all_the_same(void **state)
{
    struct house *h = *state;
    pid_t pid;

    mount_drive(h);
    pid = start_app(SERVED, stay_inside);
    wait_until(h, h->syncd->asked[LF__ENVELOPE__BODY_FS_GETATTR] > 0);   /* its chdir(2) */
    h->syncd->mount_point = NULL;
    fake_mounts_changed(h->syncd);
    wait_until(h, !h->mountd->drives);
    assert_false(is_mounted());
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void an_unmount_from_outside_is_undone(void **state)
{
    struct house *h = *state;
    unsigned reports;

    mount_drive(h);
    reports = h->syncd->reports;
    assert_int_equal(umount2(point, UMOUNT_NOFOLLOW), 0);
    wait_until(h, h->syncd->reports > reports + 1 && h->syncd->mounted);
    wait_until(h, h->syncd->worker);
    assert_true(is_mounted());
    run_app(h, use_files);
}

/* --- restarts ----------------------------------------------------------------------------------------------------------- */

static void read_slow(void)
{
    need_text("slow", "slow bytes");
}

static void a_reader_outlives_its_worker(void **state)
{
    struct house *h = *state;
    pid_t app, worker;

    (void)fake_add_file(h->syncd, 1, "slow", "slow bytes", 10);
    mount_drive(h);
    worker = drive_of(h)->child.pid;
    h->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    app = start_app(SERVED, read_slow);
    wait_until(h, h->syncd->n_held == 1);
    assert_int_equal(kill(worker, SIGKILL), 0);
    wait_until(h, h->syncd->n_held == 2);   /* the next worker was asked the same by the kernel */
    assert_int_not_equal(drive_of(h)->child.pid, worker);
    fake_resume(h->syncd);
    finish_app(h, app);
    run_app(h, use_files);
}

/* What msync(2) says. */
static int change_mapped(void)
{
    int fd = open("mapped", O_RDWR | O_CLOEXEC);
    char *map = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    NEED(fd >= 0 && map != MAP_FAILED);
    map[0] = 'M';
    return msync(map, 6, MS_SYNC);
}

static void write_mapped(void)
{
    NEED(change_mapped() == 0);
}

static void write_mapped_in_vain(void)
{
    NEED(change_mapped() < 0);
}

/* Mounts the drive; the program writes a page back to "mapped", whose number is *ret_ino, and gets no answer. */
static pid_t start_held_write(struct house *h, void (*body)(void), uint64_t *ret_ino)
{
    pid_t app;

    *ret_ino = fake_add_file(h->syncd, 1, "mapped", "mapped", 6);
    mount_drive(h);
    h->syncd->hold = LF__ENVELOPE__BODY_FS_DIRTY;
    app = start_app(SERVED, body);
    wait_until(h, h->syncd->n_held == 1);
    return app;
}

/* Whether a thread of the process waits for what no signal ends. */
static bool is_stuck(pid_t pid)
{
    char path[64], line[256], *state;
    bool stuck = false;
    struct dirent *task;
    DIR *d;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
    d = opendir(path);
    while (d && !stuck && (task = readdir(d))) {
        FILE *f;

        (void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", pid, task->d_name);
        f = fopen(path, "re");
        state = f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
        stuck = state && strlen(state) > 2 && state[2] == 'D';
        if (f)
            (void)fclose(f);
    }
    if (d)
        (void)closedir(d);
    return stuck;
}

static pid_t child_of(pid_t pid)
{
    char path[64];
    int child = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    f = fopen(path, "re");
    if (!f || fscanf(f, "%d", &child) != 1)
        child = 0;
    if (f)
        (void)fclose(f);
    return child;
}

/* The kernel drops no page that is being written back, and who asked for that waits where no signal comes. */
static void a_worker_is_replaced_while_the_kernel_waits_for_it(void **state)
{
    struct house *h = *state;
    uint64_t ino;
    pid_t app = start_held_write(h, write_mapped, &ino), worker = drive_of(h)->child.pid;

    fake_invalidate(h->syncd, ino, NULL, true);
    wait_until(h, is_stuck(worker) || is_stuck(child_of(worker)));
    assert_int_equal(kill(worker, SIGKILL), 0);
    wait_until(h, h->syncd->n_held == 2);
    fake_resume(h->syncd);
    finish_app(h, app);
    run_app(h, use_files);
}

/* Nobody answers any more, and who waits in the kernel has the connection open. */
static void a_drive_goes_while_the_kernel_waits(void **state)
{
    struct house *h = *state;
    uint64_t ino;
    pid_t app = start_held_write(h, write_mapped_in_vain, &ino), worker = drive_of(h)->child.pid;

    fake_invalidate(h->syncd, ino, NULL, true);
    wait_until(h, is_stuck(child_of(worker)));
    h->syncd->mount_point = NULL;
    fake_mounts_changed(h->syncd);
    wait_until(h, !h->mountd->drives);
    finish_app(h, app);
}

/* Else what a request lost to a worker that died while it was read would be an error for a program. */
static void who_may_write_is_read_into_memory_that_is_there(void **state)
{
    struct house *h = *state;
    unsigned long locked = 0;
    char path[64], line[256];
    uint64_t ino;
    pid_t app = start_held_write(h, write_mapped, &ino);
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", drive_of(h)->child.pid);
    f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        (void)sscanf(line, "VmLck: %lu", &locked);
    (void)fclose(f);
#ifndef LANDFALL_SANITIZED   /* sanitizers lock no memory */
    assert_true(locked > 1024);   /* KiB */
#endif
    fake_resume(h->syncd);
    finish_app(h, app);
}

static void a_worker_without_its_notifier_is_replaced(void **state)
{
    struct house *h = *state;
    pid_t worker;

    mount_drive(h);
    run_app(h, use_files);
    worker = drive_of(h)->child.pid;
    assert_int_equal(kill(child_of(worker), SIGKILL), 0);
    wait_until(h, drive_of(h)->child.pid != worker && drive_of(h)->child.pid > 0);
    run_app(h, use_files);
}

static void a_reader_outlives_syncd(void **state)
{
    struct house *h = *state;
    pid_t app;

    (void)fake_add_file(h->syncd, 1, "slow", "slow bytes", 10);
    mount_drive(h);
    h->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    app = start_app(SERVED, read_slow);
    wait_until(h, h->syncd->n_held == 1);
    fake_restart(h->syncd, socket_path);
    finish_app(h, app);
    run_app(h, use_files);
}

static void write_for_a_while(void)
{
    char bytes[4096];
    int fd = open("log", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    NEED(fd >= 0);
    for (int i = 0; i < 2000; i++) {
        (void)memset(bytes, i % 251, sizeof(bytes));
        NEED(pwrite(fd, bytes, sizeof(bytes), (off_t)i * 4096) == sizeof(bytes));
    }
    NEED(fsync(fd) == 0);
    NEED(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    for (int i = 0; i < 2000; i++)
        NEED(pread(fd, bytes, sizeof(bytes), (off_t)i * 4096) == sizeof(bytes) && (unsigned char)bytes[77] == i % 251);
}

static void a_writer_outlives_many_workers(void **state)
{
    struct house *h = *state;
    const _Atomic uint64_t *seq;
    uint64_t log;
    pid_t app;

    mount_drive(h);
    app = start_app(SERVED, write_for_a_while);
    wait_until(h, (log = fake_find(h->syncd, 1, "log")));
    seq = &fake_node(h->syncd, log)->map->write_seq;
    for (uint64_t i = 1; i <= 3; i++) {
        pid_t worker = drive_of(h)->child.pid;

        wait_until(h, *seq > i * 300);
        assert_int_equal(kill(worker, SIGKILL), 0);
        wait_until(h, drive_of(h)->child.pid != worker && drive_of(h)->child.pid > 0);
    }
    finish_app(h, app);
}

/* Programs wait, so only workers that die as soon as they live are started later and later. */
static void a_worker_that_served_a_while_is_replaced_at_once(void **state)
{
    struct house *h = *state;

    mount_drive(h);
    for (int i = 0; i < 3; i++) {
        pid_t worker = drive_of(h)->child.pid;

        drive_of(h)->child.started_ns -= INT64_C(1500000000);
        assert_int_equal(kill(worker, SIGKILL), 0);
        wait_until(h, drive_of(h)->child.pid != worker && drive_of(h)->child.pid > 0);
        assert_int_equal(drive_of(h)->child.failures, 1);
    }
}

static bool breaks_channels_until(struct house *h, int64_t end_ns)
{
    if (h->syncd->worker)
        ipc_peer_close(take_ptr(h->syncd->worker));
    return loop_now_ns() > end_ns;
}

/* Nor when a worker only says so. */
static void channels_that_break_at_once_are_not_asked_for_without_a_pause(void **state)
{
    struct house *h = *state;
    const unsigned *asked = &h->syncd->asked[LF__ENVELOPE__BODY_WORKER_ATTACH];
    unsigned before;
    int64_t end;

    mount_drive(h);
    before = *asked;
    end = loop_now_ns() + INT64_C(700000000);
    wait_until(h, breaks_channels_until(h, end) && *asked > before);
    assert_true(*asked - before <= 5);
    wait_until(h, h->syncd->worker);
}

/* What the supervisor would have kept for it. */
static struct kept keep(struct drive *d)
{
    size_t n = lf__kept_mount__get_packed_size(d->record);
    uint8_t *packed = malloc(n);
    struct kept k = { .fuse = fcntl(d->fuse, F_DUPFD_CLOEXEC, 0), .owed = fcntl(d->owed, F_DUPFD_CLOEXEC, 0) };

    (void)lf__kept_mount__pack(d->record, packed);
    k.record = lf__kept_mount__unpack(NULL, n, packed);
    free(packed);
    return k;
}

/* As if it had died: the worker loses its channel. */
static struct kept end_mountd(struct house *h)
{
    pid_t worker = drive_of(h)->child.pid;
    struct kept k = keep(drive_of(h));

    mountd_free(h->mountd);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    return k;
}

static void a_reader_outlives_mountd(void **state)
{
    struct house *h = *state;
    struct kept k;
    pid_t app;

    (void)fake_add_file(h->syncd, 1, "slow", "slow bytes", 10);
    mount_drive(h);
    h->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    app = start_app(SERVED, read_slow);
    wait_until(h, h->syncd->n_held == 1);
    k = end_mountd(h);
    start_mountd(h);
    mountd_adopt(h->mountd, &k);
    wait_until(h, h->syncd->n_held == 2);
    fake_resume(h->syncd);
    finish_app(h, app);
    assert_true(is_mounted());
    run_app(h, use_files);
}

/* What syncd wants mounted is not known yet. */
static void a_mount_found_again_stays_when_its_worker_dies_at_once(void **state)
{
    struct house *h = *state;
    struct kept k;
    pid_t worker;

    mount_drive(h);
    k = end_mountd(h);
    h->syncd->hold = LF__ENVELOPE__BODY_MOUNT_LIST;
    start_mountd(h);
    mountd_adopt(h->mountd, &k);
    wait_until(h, h->syncd->n_held == 1);
    worker = drive_of(h)->child.pid;
    assert_int_equal(kill(worker, SIGKILL), 0);
    wait_until(h, drive_of(h)->child.pid != worker && drive_of(h)->child.pid > 0);
    assert_null(drive_of(h)->job);
    fake_resume(h->syncd);
    run_app(h, use_files);
}

static void a_mount_found_again_goes_when_unwanted(void **state)
{
    struct house *h = *state;
    struct kept k;

    mount_drive(h);
    k = end_mountd(h);
    h->syncd->mount_point = NULL;
    start_mountd(h);
    mountd_adopt(h->mountd, &k);
    wait_until(h, !h->mountd->drives);
    assert_false(is_mounted());
}

static void stopping_unmounts(void **state)
{
    struct house *h = *state;

    mount_drive(h);
    mountd_stop(h->mountd);
    wait_until(h, !h->mountd->drives);
    assert_false(is_mounted());
    assert_int_equal(loop_run(h->loop), 0);
}

/* --- the frame -------------------------------------------------------------------------------------------------------------- */

/* The worker is in the build tree, two directories above the test. */
static bool find_worker(void)
{
    ssize_t n = readlink("/proc/self/exe", worker_path, sizeof(worker_path) - 1);

    worker_path[n < 0 ? 0 : n] = '\0';
    for (int up = 0; up < 3; up++)
        if (strrchr(worker_path, '/'))
            *strrchr(worker_path, '/') = '\0';
    (void)strncat(worker_path, "/landfall-worker", sizeof(worker_path) - strlen(worker_path) - 1);
    return access(worker_path, X_OK) == 0;
}

static int begin(void)
{
    (void)strcpy(dir, "/tmp/test-mountd.XXXXXX");
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(dir))
        return -1;
    if (mount("none", dir, "tmpfs", 0, "mode=755,uid=65534,gid=65534") < 0 || !find_worker())
        return -1;
    (void)snprintf(drives, sizeof(drives), "%s/drives", dir);
    (void)snprintf(point, sizeof(point), "%s/point", drives);
    (void)snprintf(socket_path, sizeof(socket_path), "%s/syncd.sock", dir);
    return mkdir(drives, 0755) == 0 && chown(drives, SERVED, SERVED) == 0 ? 0 : -1;
}

static int end(void)
{
    (void)umount2(dir, MNT_DETACH);
    return rmdir(dir);
}

#define IN_HOUSE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int run_as_root(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(an_application_finds_a_file_system),
        IN_HOUSE(what_the_cloud_has_is_read),
        IN_HOUSE(a_mount_is_what_it_should_be),
        IN_HOUSE(a_read_only_drive_is),
        IN_HOUSE(other_users_see_nothing),
        IN_HOUSE(a_bad_mount_point_is_reported),
        IN_HOUSE(a_drive_that_was_never_mounted_goes_with_a_report),
        IN_HOUSE(a_closed_mount_point_is_used),
        IN_HOUSE(what_is_no_longer_listed_goes),
        IN_HOUSE(a_drive_in_use_goes_all_the_same),
        IN_HOUSE(an_unmount_from_outside_is_undone),
        IN_HOUSE(a_reader_outlives_its_worker),
        IN_HOUSE(a_worker_is_replaced_while_the_kernel_waits_for_it),
        IN_HOUSE(a_drive_goes_while_the_kernel_waits),
        IN_HOUSE(who_may_write_is_read_into_memory_that_is_there),
        IN_HOUSE(a_worker_without_its_notifier_is_replaced),
        IN_HOUSE(a_reader_outlives_syncd),
        IN_HOUSE(a_writer_outlives_many_workers),
        IN_HOUSE(a_worker_that_served_a_while_is_replaced_at_once),
        IN_HOUSE(channels_that_break_at_once_are_not_asked_for_without_a_pause),
        IN_HOUSE(a_reader_outlives_mountd),
        IN_HOUSE(a_mount_found_again_stays_when_its_worker_dies_at_once),
        IN_HOUSE(a_mount_found_again_goes_when_unwanted),
        IN_HOUSE(stopping_unmounts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The same through fusermount3, in a process that is the user's. */
static int run_as_user(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(an_application_finds_a_file_system),
        IN_HOUSE(a_read_only_drive_is),
        IN_HOUSE(a_drive_that_was_never_mounted_goes_with_a_report),
        IN_HOUSE(a_closed_mount_point_is_used),
        IN_HOUSE(what_is_no_longer_listed_goes),
        IN_HOUSE(a_drive_in_use_goes_all_the_same),
        IN_HOUSE(a_reader_outlives_its_worker),
    };
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        privileged = false;
        if (setresgid(SERVED, SERVED, SERVED) < 0 || setresuid(SERVED, SERVED, SERVED) < 0)
            _exit(1);
        if (access("/dev/fuse", R_OK | W_OK) < 0 || access("/usr/bin/fusermount3", X_OK) < 0) {
            (void)puts("left out: mounting as a user, who may not use fusermount3 or /dev/fuse here");
            _exit(0);
        }
        exit(cmocka_run_group_tests(tests, NULL, NULL));
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
    int failed;

    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0) {
        (void)puts("skipped: needs root and /dev/fuse");
        return SKIPPED;
    }
    if (begin() < 0) {
        perror("no place to mount");
        return 1;
    }
    failed = run_as_root();
    failed += run_as_user();
    return end() == 0 ? failed : 1;
}
