/* A power cut took the map of a changed file, and some of its bytes: what is left becomes a copy that reaches the cloud,
 * and the version that is there stays. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "tests/unit/volume_rig.h"

enum { CHUNKS = 3, SIZE = CHUNKS * CHUNK_SIZE };

static void remove_map(struct rig *rig, uint64_t ino)
{
    CLEANUP_FREE char *map = rig_cache_path(rig, ino, "map");

    assert_int_equal(unlink(map), 0);
}

/* The chunk in the middle never reached the disk. */
static void lose_bytes(struct rig *rig, uint64_t ino)
{
    CLEANUP_FREE char *data = rig_cache_path(rig, ino, "data");
    CLEANUP_CLOSE int fd = open(data, O_RDWR | O_CLOEXEC);

    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, CHUNK_SIZE, CHUNK_SIZE), 0);
}

static void machine_starts_again(struct rig *rig)
{
    free(rig->config->boot_id);
    rig->config->boot_id = xstrdup("another start");
    rig->config->settle_milliseconds = 0;
    rig_open(rig);
}

static uint64_t changed_and_cut(struct rig *rig, const char *before, const char *after)
{
    uint64_t ino = worker_file(rig, "a", before, SIZE);

    rig_settle(rig);
    rig->config->settle_milliseconds = 3600 * 1000;
    worker_overwrite(rig, "a", after, SIZE);
    rig_close(rig);
    remove_map(rig, ino);
    return ino;
}

/* The cloud still has what the file was built on: what a hole is, it has. */
static void what_is_missing_comes_from_the_cloud(void **state)
{
    CLEANUP_FREE char *before = pattern(SIZE, 1), *after = pattern(SIZE, 2);
    struct rig *rig = *state;
    struct rig_copies c;

    lose_bytes(rig, changed_and_cut(rig, before, after));
    machine_starts_again(rig);
    rig_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_object(rig, "a", before, SIZE);
    memcpy(after + CHUNK_SIZE, before + CHUNK_SIZE, CHUNK_SIZE);
    assert_object(rig, c.name, after, SIZE);
}

/* There is nowhere to have it from any more; all the same the rest is not kept from the cloud for ever. */
static void what_is_missing_comes_from_nowhere(void **state)
{
    CLEANUP_FREE char *before = pattern(SIZE, 1), *after = pattern(SIZE, 2);
    struct rig *rig = *state;
    struct rig_copies c;

    lose_bytes(rig, changed_and_cut(rig, before, after));
    rig_put(rig, "a", "theirs", 6);
    machine_starts_again(rig);
    rig_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_object(rig, "a", "theirs", 6);
    memset(after + CHUNK_SIZE, 0, CHUNK_SIZE);
    assert_object(rig, c.name, after, SIZE);
    worker_assert_reads(rig, c.ino, after, SIZE);
}

static void what_is_whole_is_sent(void **state)
{
    CLEANUP_FREE char *before = pattern(SIZE, 1), *after = pattern(SIZE, 2);
    struct rig *rig = *state;

    (void)changed_and_cut(rig, before, after);
    machine_starts_again(rig);
    rig_settle(rig);
    rig_assert_no_copy(rig, "a ");
    assert_object(rig, "a", after, SIZE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_missing_comes_from_the_cloud),
        TEST(what_is_missing_comes_from_nowhere),
        TEST(what_is_whole_is_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
