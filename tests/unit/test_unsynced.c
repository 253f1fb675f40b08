/* A disk that does not take what is to be on it: programs hear of it, the cloud's version is not replaced by what is left,
 * and what the cloud has is not read from that disk any more. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/waits.h"

enum { SIZE = 100000 };

/* --- a disk that fails -------------------------------------------------------------------------------------- */

static struct {
    _Atomic ino_t ino;        /* of the file, 0: none */
    _Atomic int error;
    _Atomic bool met_before;  /* by the kernel itself, while nobody had it open */
    _Atomic unsigned syncs;   /* that failed */
} bad;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_sync_file_range(int fd, off_t from, off_t n, unsigned flags);
int __wrap_sync_file_range(int fd, off_t from, off_t n, unsigned flags);

static bool is_bad(int fd)
{
    struct stat st;

    return bad.ino && fstat(fd, &st) == 0 && st.st_ino == bad.ino;
}

int __wrap_fdatasync(int fd)
{
    if (!is_bad(fd))
        return 0;
    bad.syncs++;
    errno = bad.error;
    return -1;
}

int __wrap_sync_file_range(int fd, off_t from, off_t n, unsigned flags)
{
    if (flags != SYNC_FILE_RANGE_WAIT_BEFORE || !bad.met_before || !is_bad(fd))
        return __real_sync_file_range(fd, from, n, flags);
    bad.met_before = false;
    errno = bad.error;
    return -1;
}

static int set_up(void **state)
{
    bad.ino = 0;
    bad.error = EIO;
    bad.met_before = false;
    bad.syncs = 0;
    if (rig_set_up(state) < 0)
        return -1;
    ((struct rig *)*state)->config->quiet_milliseconds = 60 * 1000;   /* nothing is sent before the disk fails */
    return 0;
}

static int open_part(struct rig *rig, uint64_t ino, const char *kind)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, kind);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0 || errno == ENOENT);
    return fd;
}

static void break_part(struct rig *rig, uint64_t ino, const char *kind)
{
    CLEANUP_CLOSE int fd = open_part(rig, ino, kind);
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    bad.ino = st.st_ino;
}

/* The kernel drops the pages that it could not write, and reads what was there before. */
static void drop_pages(struct rig *rig, uint64_t ino, const char *before, size_t n)
{
    CLEANUP_CLOSE int fd = open_part(rig, ino, "data");
    CLEANUP_FREE char *zeros = xcalloc(1, n);

    if (fd >= 0)   /* else nothing was left of the file, and it went */
        assert_int_equal(pwrite(fd, before ? before : zeros, n, 0), n);
}

static bool has_fault(struct rig *rig, uint64_t ino)
{
    Lf__Explanation *e = volume_explain(rig->volume, ino);
    bool has = e->fault;

    lf__explanation__free_unpacked(e, NULL);
    return has;
}

/* "a", which is in the cloud as `theirs` and has `ours` here; fsync(2) has failed. */
static void refused(struct rig *rig, struct handle *h, const char *theirs, const char *ours)
{
    rig_put(rig, "a", theirs, SIZE);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), true, false, h), 0);
    worker_write(rig, h, 0, ours, SIZE);
    break_part(rig, h->ino, "data");
    assert_int_equal(worker_flush(rig, h, true), -EIO);
}

/* --- fsync ------------------------------------------------------------------------------------------------------ */

/* The kernel tells an error once; who asks again must not hear that all is well. */
static void fsync_goes_on_failing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(SIZE, 1), *ours = pattern(SIZE, 2);
    struct handle h;

    refused(rig, &h, theirs, ours);
    bad.ino = 0;
    assert_int_equal(worker_flush(rig, &h, true), -EIO);
    assert_true(has_fault(rig, h.ino));
    assert_true(rig->volume->cache->bad);
    worker_close(rig, &h);
    rig_reopen(rig);
    assert_int_equal(worker_open(rig, h.ino, true, false, &h), 0);
    assert_int_equal(worker_flush(rig, &h, true), -EIO);
    worker_close(rig, &h);
}

static void what_is_left_replaces_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(SIZE, 1), *ours = pattern(SIZE, 2), *left = pattern(SIZE, 2);
    struct rig_copies copies;
    struct handle h;

    refused(rig, &h, theirs, ours);
    memcpy(left, theirs, 5000);
    drop_pages(rig, h.ino, theirs, 5000);
    bad.ino = 0;
    assert_int_equal(worker_flush(rig, &h, true), -EIO);
    worker_close(rig, &h);
    rig_settle(rig);
    copies = rig_copies(rig);
    assert_object(rig, "a", theirs, SIZE);
    assert_int_equal(copies.n, 1);
    assert_int_equal(copies.ino, h.ino);
    assert_object(rig, copies.name, left, SIZE);
    assert_false(has_fault(rig, h.ino));
}

/* What came to the cloud before it was lost is read from there. */
static void a_new_file_is_sent_and_had_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *ours = pattern(SIZE, 2);
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, ours, SIZE);
    break_part(rig, h.ino, "data");
    assert_int_equal(worker_flush(rig, &h, true), -EIO);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", ours, SIZE);
    bad.ino = 0;
    drop_pages(rig, h.ino, NULL, SIZE);
    worker_assert_reads(rig, h.ino, ours, SIZE);
    assert_int_equal(worker_open(rig, h.ino, true, false, &h), 0);
    worker_write(rig, &h, 0, "more", 4);
    assert_int_equal(worker_flush(rig, &h, true), 0);
    worker_close(rig, &h);
}

static void a_full_disk_says_so(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "ours", 4);
    break_part(rig, h.ino, "data");
    bad.error = ENOSPC;
    assert_int_equal(worker_flush(rig, &h, true), -ENOSPC);
    bad.ino = 0;
    assert_int_equal(worker_flush(rig, &h, true), -ENOSPC);
    worker_close(rig, &h);
}

/* By marks that did not come to the disk nothing is taken for the cloud's. */
static void a_map_that_is_refused_counts_alike(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(SIZE, 1), *ours = pattern(SIZE, 2);
    struct handle h;

    rig_put(rig, "a", theirs, SIZE);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), true, false, &h), 0);
    worker_write(rig, &h, 0, ours, SIZE);
    break_part(rig, h.ino, "map");
    assert_int_equal(worker_flush(rig, &h, true), -EIO);
    bad.ino = 0;
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", theirs, SIZE);
    assert_int_equal(rig_copies(rig).n, 1);
}

static void what_is_written_anew_is_believed(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(SIZE, 1), *ours = pattern(SIZE, 2);
    struct handle h;

    refused(rig, &h, theirs, ours);
    bad.ino = 0;
    assert_int_equal(worker_truncate(rig, h.ino, 0), 0);
    worker_write(rig, &h, 0, "new", 3);
    assert_int_equal(worker_flush(rig, &h, true), 0);
    assert_false(has_fault(rig, h.ino));
    worker_close(rig, &h);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", "new", 3);
}

/* The same bytes may replace themselves; they are not read from the disk after. */
static void the_same_bytes_make_no_copy(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *ours = pattern(SIZE, 1);
    struct handle h;

    refused(rig, &h, ours, ours);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_keys(rig, "a ");
    bad.ino = 0;
    drop_pages(rig, h.ino, NULL, SIZE);
    worker_assert_reads(rig, h.ino, ours, SIZE);
}

/* --- in the background ---------------------------------------------------------------------------------------- */

static void clean_content_is_had_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *ours = pattern(SIZE, 2);
    uint64_t ino = worker_file(rig, "a", ours, SIZE);

    break_part(rig, ino, "data");
    rig_settle(rig);
    rig_wait(rig, bad.syncs > 0);
    rig_idle(rig);
    drop_pages(rig, ino, NULL, SIZE);
    worker_assert_reads(rig, ino, ours, SIZE);
    assert_true(rig->counts[CLOUD_GET] > 0);
}

/* Even under a reader who is at it; but not under one whom the kernel serves by itself. */
static void a_reader_gets_the_bytes_of_the_cloud(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *ours = pattern(SIZE, 2), *there = xcalloc(1, SIZE);
    uint64_t ino = worker_file(rig, "a", ours, SIZE);
    struct handle h;

    rig_settle(rig);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    break_part(rig, ino, "data");
    cache_unsynced(rig->volume->cache, ino, -EIO);
    drop_pages(rig, ino, NULL, SIZE);
    assert_int_equal(worker_read(rig, &h, 0, there, SIZE), SIZE);
    assert_memory_equal(there, ours, SIZE);
    h.map->mount_tag = rig->volume->mount_tag;
    atomic_store(&h.map->passed, 1);
    cache_unsynced(rig->volume->cache, ino, -EIO);
    assert_int_equal(chunk_first_absent(h.map, 0, SIZE), UINT64_MAX);
    atomic_store(&h.map->passed, 0);
    worker_close(rig, &h);
    drop_pages(rig, ino, NULL, SIZE);
    worker_assert_reads(rig, ino, ours, SIZE);
}

static void changes_are_not_believed_any_more(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(SIZE, 1), *ours = pattern(SIZE, 2);
    struct handle h;

    rig_put(rig, "a", theirs, SIZE);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), true, false, &h), 0);
    worker_write(rig, &h, 0, ours, SIZE);
    break_part(rig, h.ino, "data");
    rig_wait(rig, bad.syncs > 0);
    bad.ino = 0;
    rig_idle(rig);
    rig_wait(rig, has_fault(rig, h.ino));
    assert_int_equal(worker_flush(rig, &h, true), -EIO);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", theirs, SIZE);
    assert_int_equal(rig_copies(rig).n, 1);
}

/* Content that was fetched nobody syncs: the kernel's error is heard when it is opened. */
static void what_the_kernel_met_is_heard_when_it_is_opened(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino;

    rig_put(rig, "a", bytes, SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    worker_assert_reads(rig, ino, bytes, SIZE);
    rig_idle(rig);
    assert_null(cache_find(rig->volume->cache, ino));
    break_part(rig, ino, "data");
    bad.met_before = true;
    drop_pages(rig, ino, NULL, SIZE);
    worker_assert_reads(rig, ino, bytes, SIZE);
    assert_false(bad.met_before);
}

/* A file that is gone, and a descriptor that was lacking, are no faults. */
static void nothing_is_made_of_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);

    cache_unsynced(rig->volume->cache, ino, -EMFILE);
    assert_false(has_fault(rig, ino));
    assert_false(rig->volume->cache->bad);
    cache_unsynced(rig->volume->cache, 4711, -EIO);
    assert_false(rig->volume->cache->bad);
    rig_settle(rig);
    assert_object(rig, "a", "hello", 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fsync_goes_on_failing),
        TEST(what_is_left_replaces_nothing),
        TEST(a_new_file_is_sent_and_had_again),
        TEST(a_full_disk_says_so),
        TEST(a_map_that_is_refused_counts_alike),
        TEST(what_is_written_anew_is_believed),
        TEST(the_same_bytes_make_no_copy),
        TEST(clean_content_is_had_again),
        TEST(a_reader_gets_the_bytes_of_the_cloud),
        TEST(changes_are_not_believed_any_more),
        TEST(what_the_kernel_met_is_heard_when_it_is_opened),
        TEST(nothing_is_made_of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
