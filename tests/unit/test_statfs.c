/* What statfs(2) says: what the drive has, and what it can still take, also of a folder that does not answer. */
#include "volume_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { BLOCK = 4096, PATIENCE_MS = 500, TRIES = 10 };
static const uint64_t PIB = UINT64_C(1) << 50;
static const int64_t SECOND_NS = 1000000000;

static Lf__FsSpace space_of(struct rig *rig)
{
    Lf__FsStatfs m = LF__FS_STATFS__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_STATFS, fs_statfs, &m), *reply = NULL;
    Lf__FsSpace space;

    assert_int_equal(rig_ask(rig, &env, &reply, NULL), 0);
    space = *reply->fs_space;
    lf__envelope__free_unpacked(reply, NULL);
    assert_int_equal(space.block_size, BLOCK);
    assert_true(space.blocks_free <= space.blocks);
    return space;
}

static void assert_has(struct rig *rig, uint64_t blocks, uint64_t names)
{
    Lf__FsSpace space = space_of(rig);

    assert_int_equal(space.blocks - space.blocks_free, blocks);
    assert_int_equal(space.files, names);
    rig_assert_total(rig);
}

/* --- what it has ------------------------------------------------------------------------------------- */

static void it_follows_what_is_done(void **state)
{
    struct rig *rig = *state;
    uint64_t a, b;

    assert_has(rig, 0, 1);   /* the root */
    a = worker_file(rig, "a", "hello", 5);
    (void)worker_mkdir(rig, "d");
    b = worker_file(rig, "d/b", "hello", 5);
    assert_has(rig, 1, 4);   /* both in one block, as stat(2) counts them: 512 bytes each */
    assert_int_equal(worker_truncate(rig, a, 1 << 20), 0);
    assert_has(rig, 257, 4);
    assert_int_equal(worker_rename(rig, "a", "d/b", 0), 0);
    assert_has(rig, 256, 3);
    assert_int_equal(worker_truncate(rig, a, 4097), 0);
    assert_has(rig, 2, 3);
    rig_settle(rig);
    rig_reopen(rig);
    assert_has(rig, 2, 3);
    assert_int_equal(worker_unlink(rig, "d/b"), 0);
    assert_int_equal(worker_rmdir(rig, "d"), 0);
    assert_has(rig, 0, 1);
    rig_settle(rig);
    assert_has(rig, 0, 1);
    assert_int_equal(worker_getattr(rig, b, &(Lf__FsAttr)LF__FS_ATTR__INIT), -ESTALE);
}

static void it_follows_the_cloud(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * BLOCK, 1);
    uint64_t d;

    rig_put(rig, "a", bytes, 3 * BLOCK);
    rig_put(rig, "d/b", bytes, BLOCK);
    d = worker_lookup(rig, INDEX_ROOT, "d");
    assert_has(rig, 3, 3);   /* what is in d nobody has listed */
    assert_true(worker_lookup(rig, d, "b"));
    assert_has(rig, 4, 4);
    rig_put(rig, "a", bytes, BLOCK);
    rig_remove(rig, "d/b");
    rig_relist(rig, INDEX_ROOT);
    rig_settle(rig);
    rig_wait(rig, !rig->volume->dismantling);
    assert_has(rig, 1, 2);
}

/* What programs still have open is theirs, but no object of the drive's. */
static void an_open_file_without_a_name(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "hello", 5);
    assert_int_equal(worker_flush(rig, &h, false), 0);
    assert_has(rig, 1, 2);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    assert_has(rig, 0, 1);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_has(rig, 0, 1);
}

/* --- what it can take ---------------------------------------------------------------------------------- */

static void a_bucket_has_no_end(void **state)
{
    struct rig *rig = *state;
    struct index *x = rig->volume->index;
    struct index_inode large = {
        .parent = INDEX_ROOT, .name = (char *)(uintptr_t)"a", .mode = S_IFREG | 0644, .nlink = 1,
        .size = UINT64_C(1) << 40, .cloud_key = (char *)(uintptr_t)"a", .settled = true,
    };
    Lf__FsSpace space;

    assert_int_equal(space_of(rig).blocks, PIB / BLOCK);
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, index_insert(x, &large)), 0);
    space = space_of(rig);
    assert_int_equal(space.blocks, PIB / BLOCK);
    assert_int_equal(space.blocks_free, (PIB - (UINT64_C(1) << 40)) / BLOCK);
    assert_int_equal(rig->counts[CLOUD_SPACE], 0);
}

/* Once the folder has answered, which may take longer than anybody waits. */
static Lf__FsSpace known_space_of(struct rig *rig)
{
    int64_t end = loop_now_ns() + 60 * SECOND_NS;
    Lf__FsSpace space = space_of(rig);

    while (space.blocks == PIB / BLOCK && loop_now_ns() < end)
        space = space_of(rig);
    return space;
}

/* Others write to the file system of /tmp meanwhile. */
static void assert_free_of_folder(struct rig *rig)
{
    Lf__FsSpace space = known_space_of(rig);
    struct statvfs st;
    double there;

    assert_int_equal(statvfs(rig->dir, &st), 0);
    there = (double)st.f_bavail * (double)st.f_frsize / BLOCK;
    assert_true((double)space.blocks_free > there * 0.8 - 1024 && (double)space.blocks_free < there * 1.2 + 1024);
}

static void a_folder_says_how_much(void **state)
{
    struct rig *rig = *state;
    int64_t began = loop_now_ns();

    assert_free_of_folder(rig);
    (void)space_of(rig);
    assert_true(rig->counts[CLOUD_SPACE] == 1 || loop_now_ns() - began >= SECOND_NS);   /* once in a second */
    (void)worker_file(rig, "a", "hello", 5);
    assert_has(rig, 1, 2);
    rig_settle(rig);
}

static double seconds_of_statfs(struct rig *rig)
{
    int64_t began = loop_now_ns();

    (void)space_of(rig);
    return (double)(loop_now_ns() - began) / 1e9;
}

/* How often it is asked until an answer comes at once: one that is waited for never does, however fast the machine. */
static unsigned ask_until_at_once(struct rig *rig)
{
    unsigned asked = 1;

    while (seconds_of_statfs(rig) >= 0.6 * PATIENCE_MS / 1e3)
        assert_true(++asked <= TRIES);
    return asked;
}

static void a_folder_that_does_not_answer(void **state)
{
    struct rig *rig = *state;

    rig->hold[CLOUD_SPACE] = true;
    assert_true(seconds_of_statfs(rig) >= 0.9 * PATIENCE_MS / 1e3);   /* the clock of timers is a coarse one */
    assert_int_equal(space_of(rig).blocks, PIB / BLOCK);   /* nothing is known */
    (void)ask_until_at_once(rig);                          /* nobody else waits for a while */
    assert_int_equal(rig->counts[CLOUD_SPACE], 1);
    rig_release(rig);
    rig_wait(rig, rig->in_flight == 0);
    assert_free_of_folder(rig);
}

static int away(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_SPACE && !after ? -EHOSTUNREACH : 0;
}

static void a_folder_that_is_away(void **state)
{
    struct rig *rig = *state;
    unsigned asked;

    assert_free_of_folder(rig);
    rig->fault = away;
    rig_reset_counts(rig);
    (void)nanosleep(&(struct timespec){ 1, 50000000 }, NULL);   /* what is known is old; nothing tells of that */
    asked = ask_until_at_once(rig);
    assert_int_equal(rig->counts[CLOUD_SPACE], asked);
    assert_free_of_folder(rig);                                 /* as it was */
}

static void closed_while_somebody_waits(void **state)
{
    struct rig *rig = *state;
    Lf__FsStatfs m = LF__FS_STATFS__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_STATFS, fs_statfs, &m);
    struct rig_asked a = { 0 };

    rig->hold[CLOUD_SPACE] = true;
    rig_send(rig, &env, &a);
    rig_wait(rig, rig->n_held == 1);
    rig->hold[CLOUD_SPACE] = false;
    rig_reopen(rig);
    (void)space_of(rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_follows_what_is_done, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(it_follows_what_is_done, rig_set_up_folder, rig_tear_down),
        cmocka_unit_test_setup_teardown(it_follows_the_cloud, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(an_open_file_without_a_name, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_bucket_has_no_end, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_folder_says_how_much, rig_set_up_folder, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_does_not_answer, rig_set_up_folder, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_is_away, rig_set_up_folder, rig_tear_down),
        cmocka_unit_test_setup_teardown(closed_while_somebody_waits, rig_set_up_folder, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
