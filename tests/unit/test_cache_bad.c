/* A cache whose disk does not give back what was written: what the cloud has comes from there again, what it lacks stays,
 * and nothing is sent in its place. */
#include "volume_rig.h"

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

enum { MIB = 1 << 20, SIZE = 10 * MIB };   /* three extents */

/* --- a disk that fails -------------------------------------------------------------------------------------- */

static struct {
    dev_t dev;
    ino_t ino;               /* of the data file, 0: none */
    off_t from, to;          /* what of it cannot be read */
    unsigned met;
} bad;

ssize_t __real_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __real_copy_file_range(int in, off_t *from, int out, off_t *to, size_t n, unsigned flags);
ssize_t __wrap_copy_file_range(int in, off_t *from, int out, off_t *to, size_t n, unsigned flags);

static bool hits(int fd, off_t from, size_t n)
{
    struct stat st;

    if (bad.ino == 0 || fstat(fd, &st) < 0 || st.st_dev != bad.dev || st.st_ino != bad.ino ||
        from >= bad.to || from + (off_t)n <= bad.from)
        return false;
    bad.met++;
    errno = EIO;
    return true;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset)
{
    return hits(fd, offset, n) ? -1 : __real_pread(fd, bytes, n, offset);
}

ssize_t __wrap_copy_file_range(int in, off_t *from, int out, off_t *to, size_t n, unsigned flags)
{
    return hits(in, *from, n) ? -1 : __real_copy_file_range(in, from, out, to, n, flags);
}

static void break_disk(const struct handle *h, off_t from, off_t to)
{
    struct stat st;

    assert_int_equal(fstat(h->data_fd, &st), 0);
    bad.dev = st.st_dev;
    bad.ino = st.st_ino;
    bad.from = from;
    bad.to = to;
}

/* What is open is not sent, however long the test takes. */
static void begin(struct rig *rig)
{
    rig->config->quiet_milliseconds = 60 * 1000;
    memset(&bad, 0, sizeof(bad));
}

static int set_up(void **state)
{
    return rig_set_up_with(begin, state);
}

static int set_up_folder(void **state)
{
    return rig_set_up_folder_with(begin, state);
}

/* --- what is on the disk -------------------------------------------------------------------------------------- */

static int open_part(struct rig *rig, uint64_t ino, const char *kind)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, kind);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* By these bytes it is seen that it was read, or sent. */
static void spoil(struct rig *rig, uint64_t ino, size_t from, size_t n)
{
    CLEANUP_CLOSE int fd = open_part(rig, ino, "data");
    CLEANUP_FREE char *zeros = xcalloc(1, n);

    assert_int_equal(pwrite(fd, zeros, n, (off_t)from), n);
}

static void cut_map(struct rig *rig, uint64_t ino)
{
    CLEANUP_CLOSE int fd = open_part(rig, ino, "map");

    assert_int_equal(ftruncate(fd, 0), 0);
}

static void assert_holds(struct rig *rig, struct handle *h, const char *bytes, size_t from, size_t n)
{
    CLEANUP_FREE char *there = xcalloc(1, n);

    assert_int_equal(worker_read(rig, h, from, there, n), n);
    assert_memory_equal(there, bytes + from, n);
}

static void tell_unreadable(struct rig *rig, uint64_t ino, uint64_t from, uint64_t n, struct rig_asked *a)
{
    Lf__FsFetch m = LF__FS_FETCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FETCH, fs_fetch, &m);

    m.ino = ino;
    m.offset = from;
    m.length = n;
    m.has_unreadable = m.unreadable = true;
    rig_send(rig, &env, a);
}

static int unreadable(struct rig *rig, uint64_t ino, uint64_t from, uint64_t n)
{
    struct rig_asked a;

    tell_unreadable(rig, ino, from, n, &a);
    rig_wait(rig, a.done);
    return a.code;
}

/* --- clean ----------------------------------------------------------------------------------------------------- */

static void clean_content_is_fetched_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino;
    struct handle h;

    rig_put(rig, "a", bytes, SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_holds(rig, &h, bytes, 0, SIZE);
    spoil(rig, ino, 5 * MIB, 2 * CHUNK_SIZE);
    rig_reset_counts(rig);
    assert_int_equal(unreadable(rig, ino, 5 * MIB + 100, CHUNK_SIZE), 0);   /* two chunks, of which a part is bad */
    assert_holds(rig, &h, bytes, 0, SIZE);
    assert_int_equal(rig->bytes[CLOUD_GET], 2 * CHUNK_SIZE);
    assert_true(rig->volume->cache->bad);
    worker_close(rig, &h);
}

static void another_reader_of_it_waits(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(CHUNK_SIZE, 1);
    struct rig_asked first, second;
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", bytes, CHUNK_SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_holds(rig, &h, bytes, 0, CHUNK_SIZE);
    rig->hold[CLOUD_GET] = true;
    tell_unreadable(rig, ino, 0, 100, &first);
    rig_wait(rig, rig->n_held == 1);
    tell_unreadable(rig, ino, 1000, 100, &second);
    rig_linger(rig);
    assert_false(first.done || second.done);
    rig_release(rig);
    rig_wait(rig, first.done && second.done);
    assert_int_equal(first.code | second.code, 0);
    worker_close(rig, &h);
}

/* In passthrough mode the kernel believes that it stays. */
static void what_the_kernel_reads_stays(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    uint64_t ino, lost;
    struct handle h;

    rig_put(rig, "a", bytes, MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_holds(rig, &h, bytes, 0, MIB);
    h.map->mount_tag = rig->volume->mount_tag;
    atomic_store(&h.map->passed, 1);
    lost = atomic_load(&h.map->lost_seq);
    assert_int_equal(unreadable(rig, ino, 0, MIB), -EIO);
    assert_int_equal(atomic_load(&h.map->lost_seq), lost);
    atomic_store(&h.map->passed, 0);
    assert_int_equal(unreadable(rig, ino, 0, MIB), 0);
    worker_close(rig, &h);
}

/* --- dirty ----------------------------------------------------------------------------------------------------- */

/* The file "a", of which the second extent was changed and not been sent. */
static uint64_t half_changed(struct rig *rig, char *bytes, struct handle *h)
{
    uint64_t ino;

    rig_put(rig, "a", bytes, SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, true, false, h), 0);
    assert_holds(rig, h, bytes, 0, SIZE);
    memcpy(bytes + 5 * MIB, "ours", 4);
    worker_write(rig, h, 5 * MIB, bytes + 5 * MIB, 4);
    return ino;
}

static void what_was_not_changed_is_fetched_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino = half_changed(rig, bytes, &h);

    spoil(rig, ino, MIB, MIB);
    spoil(rig, ino, 9 * MIB, MIB);
    assert_int_equal(unreadable(rig, ino, MIB, MIB), 0);
    assert_int_equal(unreadable(rig, ino, 9 * MIB, MIB), 0);
    assert_holds(rig, &h, bytes, 0, SIZE);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
}

static void what_was_changed_stays(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino = half_changed(rig, bytes, &h);

    assert_int_equal(unreadable(rig, ino, 5 * MIB, 100), -EIO);
    assert_int_equal(unreadable(rig, ino, 3 * MIB, 2 * MIB), -EIO);   /* of some of it */
    assert_holds(rig, &h, bytes, 0, SIZE);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
}

static void what_the_cloud_never_had_stays(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "hello", 5);
    assert_int_equal(unreadable(rig, h.ino, 0, 5), -EIO);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", "hello", 5);
}

/* What an upload is just reading does not become a hole. */
static void nothing_goes_while_it_is_sent(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino = half_changed(rig, bytes, &h);

    rig->hold[CLOUD_PUT] = true;
    worker_close(rig, &h);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(unreadable(rig, ino, 0, MIB), -EIO);
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
}

/* --- sending --------------------------------------------------------------------------------------------------- */

static char *reason(struct rig *rig, uint64_t ino)
{
    return index_reason(rig->volume->index, ino);
}

static void send_again(struct rig *rig, uint64_t ino)
{
    assert_int_equal(index_retry(rig->volume->index, ino, 0, NULL), 0);
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
}

static void an_upload_fetches_what_it_cannot_read(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1), *why = NULL;
    struct handle h;
    uint64_t ino = half_changed(rig, bytes, &h);

    break_disk(&h, MIB, 2 * MIB);
    worker_close(rig, &h);
    rig_wait(rig, (why = reason(rig, ino)));
    assert_non_null(strstr(why, "cannot be read"));
    assert_true(bad.met > 0);
    bad.ino = 0;   /* other blocks */
    rig_reset_counts(rig);
    send_again(rig, ino);
    assert_true(rig->bytes[CLOUD_GET] > 0);
    assert_object(rig, "a", bytes, SIZE);
}

static void one_that_cannot_read_what_is_new_sends_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1), *theirs = pattern(SIZE, 1), *why = NULL;
    struct handle h;
    uint64_t ino = half_changed(rig, bytes, &h);

    break_disk(&h, 5 * MIB, 5 * MIB + 1);
    worker_close(rig, &h);
    rig_wait(rig, (why = reason(rig, ino)));
    assert_object(rig, "a", theirs, SIZE);
    bad.ino = 0;
    send_again(rig, ino);
    assert_object(rig, "a", bytes, SIZE);
}

/* --- maps ------------------------------------------------------------------------------------------------------ */

static void a_map_lost_in_use_answers_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    uint64_t ino;
    struct handle h;

    rig_put(rig, "a", bytes, MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_holds(rig, &h, bytes, 0, MIB);
    cut_map(rig, ino);
    (void)worker_fetch(rig, ino, 0, MIB);   /* it finds out */
    assert_int_equal(worker_fetch(rig, ino, 0, MIB), -EIO);
    worker_forget_handle(&h);
    rig_lose_worker(rig);
    rig_idle(rig);
    assert_null(cache_find(rig->volume->cache, ino));
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_holds(rig, &h, bytes, 0, MIB);
    worker_close(rig, &h);
}

/* Of a file that is wholly here no map is needed to know what is in it. */
static void a_dirty_file_outlives_its_map(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino = half_changed(rig, bytes, &h);

    assert_int_equal(worker_flush(rig, &h, false), 0);
    cut_map(rig, ino);
    (void)worker_fetch(rig, ino, 0, MIB);
    assert_int_equal(worker_fetch(rig, ino, 0, MIB), -EIO);
    worker_forget_handle(&h);
    rig_lose_worker(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
    assert_keys(rig, "a ");
}

/* A hole may be zeros that a program made, or what was never fetched: nobody knows, so the cloud's version stays. */
static void a_guess_replaces_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", theirs, SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 9 * MIB, "ours", 4);
    assert_int_equal(worker_flush(rig, &h, false), 0);
    worker_forget_handle(&h);
    rig_close(rig);
    cut_map(rig, ino);
    rig_open(rig);
    rig_settle(rig);
    assert_object(rig, "a", theirs, SIZE);
    assert_int_equal(rig_copies(rig).n, 1);
    assert_int_equal(rig_copies(rig).ino, ino);
}

/* What a program left, closed and not sent, when it is `size` bytes long. */
static uint64_t changed_and_closed(struct rig *rig, const char *theirs, uint64_t size)
{
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", theirs, MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 0, "ours", 4);
    if (size != MIB)
        assert_int_equal(worker_truncate(rig, ino, size), 0);
    assert_int_equal(worker_flush(rig, &h, false), 0);
    worker_forget_handle(&h);
    rig_close(rig);
    return ino;
}

static void cut_data(struct rig *rig, uint64_t ino, off_t size)
{
    CLEANUP_CLOSE int fd = open_part(rig, ino, "data");

    assert_int_equal(ftruncate(fd, size), 0);
}

static void what_was_cut_off_meanwhile_replaces_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(MIB, 1);
    uint64_t ino = changed_and_closed(rig, theirs, MIB);

    cut_data(rig, ino, 5000);
    rig_open(rig);
    rig_settle(rig);
    assert_object(rig, "a", theirs, MIB);
    assert_int_equal(rig_copies(rig).n, 1);
    assert_int_equal(rig_copies(rig).ino, ino);
}

/* Of a volume that is closed: a copy of its index is made, or put back. */
static void copy_index(struct rig *rig, const char *from, const char *to)
{
    char bytes[4096], paths[2][160];
    size_t n;
    FILE *in, *out;

    snprintf(paths[0], sizeof(paths[0]), "%s/%s", rig->dir, from);
    snprintf(paths[1], sizeof(paths[1]), "%s/%s", rig->dir, to);
    in = fopen(paths[0], "r");
    out = fopen(paths[1], "w");
    assert_true(in && out);
    while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
        assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static bool is_dirty(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_get(rig->volume->index, ino, &i) == 0 && i.pending & INDEX_CONTENT;
}

static void changes_that_the_index_has_forgotten_are_sent(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", bytes, MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_holds(rig, &h, bytes, 0, MIB);
    worker_close(rig, &h);
    rig_close(rig);
    copy_index(rig, "index.db", "older.db");
    rig_open(rig);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 0, "ours", 4);
    worker_write(rig, &h, MIB, "more", 4);
    assert_int_equal(worker_flush(rig, &h, false), 0);
    worker_forget_handle(&h);
    rig_close(rig);
    copy_index(rig, "older.db", "index.db");
    rig_open(rig);
    rig_wait(rig, is_dirty(rig, ino));
    rig_settle(rig);
    bytes = realloc(bytes, MIB + 4);
    memcpy(bytes, "ours", 4);
    memcpy(bytes + MIB, "more", 4);
    assert_object(rig, "a", bytes, MIB + 4);
    assert_int_equal(rig_copies(rig).n, 0);
}

static void what_a_program_cut_off_is_as_it_left_it(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);

    (void)changed_and_closed(rig, bytes, 5000);
    rig_open(rig);
    rig_settle(rig);
    memcpy(bytes, "ours", 4);
    assert_object(rig, "a", bytes, 5000);
    assert_int_equal(rig_copies(rig).n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, rig_tear_down)
#define TEST_FOLDER(f) cmocka_unit_test_setup_teardown(f, set_up_folder, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clean_content_is_fetched_again),
        TEST(another_reader_of_it_waits),
        TEST(what_the_kernel_reads_stays),
        TEST(what_was_not_changed_is_fetched_again),
        TEST(what_was_changed_stays),
        TEST(what_the_cloud_never_had_stays),
        TEST(nothing_goes_while_it_is_sent),
        TEST_FOLDER(an_upload_fetches_what_it_cannot_read),
        TEST_FOLDER(one_that_cannot_read_what_is_new_sends_nothing),
        TEST(a_map_lost_in_use_answers_nothing),
        TEST(a_dirty_file_outlives_its_map),
        TEST(a_guess_replaces_nothing),
        TEST(what_was_cut_off_meanwhile_replaces_nothing),
        TEST(changes_that_the_index_has_forgotten_are_sent),
        TEST(what_a_program_cut_off_is_as_it_left_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
