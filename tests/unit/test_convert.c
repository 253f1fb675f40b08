/* Pairs of cache files that get another form, or another key, while the drive is in use; with a real cryptd. */
#include "tests/unit/sealed_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cache_convert.h"
#include "syncd/content.h"
#include "syncd/sealed_head.h"

enum { MIB = 1 << 20, CHUNK = CHUNK_SIZE };

static int set_up(void **state)
{
    int r = sealed_set_up(state);
    struct rig *rig = *state;

    rig->drive.cloud_objects_encrypted = false;
    rig->drive.has_local_cache_encrypted = true;
    volume_configure(rig->volume, &rig->drive);
    rig_relist(rig, INDEX_ROOT);
    return r;
}

/* --- what is there ---------------------------------------------------------------------------------------- */

static bool has_new(struct rig *rig, uint64_t ino)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, "seal.new");

    return access(path, F_OK) == 0;
}

/* --- on and off ------------------------------------------------------------------------------------------------ */

static void clean_files_become_sealed_and_plain_again(void **state)
{
    static const size_t sizes[] = { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * MIB + 17 };
    struct rig *rig = *state;
    uint64_t inos[ARRAY_SIZE(sizes)];
    char *bytes[ARRAY_SIZE(sizes)], name[16];

    for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
        bytes[n] = canaries(sizes[n], (unsigned)n);
        (void)snprintf(name, sizeof(name), "f%zu", n);
        inos[n] = worker_file(rig, name, bytes[n], sizes[n]);
    }
    rig_settle(rig);
    assert_true(cache_has(rig, CANARY));
    for (unsigned round = 0; round < 2; round++) {
        switch_to(rig, true);
        assert_false(cache_has(rig, CANARY));
        for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
            assert_true(is_sealed(rig, inos[n]));
            assert_here(rig, inos[n], bytes[n], sizes[n]);
        }
        rig_reopen(rig);
        settle_cache(rig);
        switch_to(rig, false);
        for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
            assert_false(is_sealed(rig, inos[n]));
            assert_here(rig, inos[n], bytes[n], sizes[n]);
            (void)snprintf(name, sizeof(name), "f%zu", n);
            worker_assert_reads(rig, inos[n], bytes[n], sizes[n]);
        }
    }
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    for (size_t n = 0; n < ARRAY_SIZE(sizes); n++)
        free(bytes[n]);
}

/* What is absent is so afterwards; what a hole is stays one. */
static void what_is_absent_stays_absent(void **state)
{
    struct rig *rig = *state;
    size_t n = 24 * (size_t)MIB;
    CLEANUP_FREE char *bytes = canaries(n, 3), *there = NULL;
    struct cache_file *f;
    uint64_t before[8];
    struct handle h;
    uint64_t ino;

    rig_put(rig, "large", bytes, n);
    rig_relist(rig, INDEX_ROOT);
    ino = worker_lookup(rig, INDEX_ROOT, "large");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_fetch(rig, ino, 9 * (uint64_t)MIB + 5, 100), 0);
    worker_close(rig, &h);
    rig_idle(rig);
    f = acquire(rig, ino);
    assert_false(cache_file_whole(f));
    memcpy(before, (void *)f->map->bits, sizeof(before));
    cache_release(f);
    for (int on = 1; on >= 0; on--) {
        switch_to(rig, on);
        f = acquire(rig, ino);
        assert_int_equal(f->is_sealed, on);
        assert_memory_equal((void *)f->map->bits, before, sizeof(before));
        assert_int_equal(cache_file_size(f), n);
        cache_release(f);
        there = read_here(rig, ino, 9 * (uint64_t)MIB, CHUNK);
        assert_memory_equal(there, bytes + 9 * (size_t)MIB, CHUNK);
        free(take_ptr(there));
    }
}

static void holes_stay_holes(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *zeros = xcalloc(1, 40 * (size_t)MIB);
    struct handle h;
    uint64_t blocks;
    struct cache_file *f;

    rig->fault = rig_unreachable;
    assert_int_equal(worker_create(rig, INDEX_ROOT, "sparse", &h), 0);
    worker_write(rig, &h, 40 * (uint64_t)MIB - 5, "hello", 5);
    worker_close(rig, &h);
    memcpy(zeros + 40 * (size_t)MIB - 5, "hello", 5);
    for (int on = 1; on >= 0; on--) {
        switch_to(rig, on);
        assert_here(rig, h.ino, zeros, 40 * (size_t)MIB);
        f = acquire(rig, h.ino);
        assert_int_equal(f->is_sealed, on);
        blocks = cache_file_blocks(f);
        cache_release(f);
        assert_true(blocks < MIB);
    }
    rig->fault = NULL;
}

/* --- dirty ----------------------------------------------------------------------------------------------- */

static void what_the_cloud_lacks_is_sent_afterwards(void **state)
{
    struct rig *rig = *state;
    size_t n = 2 * MIB + 7;
    CLEANUP_FREE char *bytes = canaries(n, 5);
    struct index_inode before = { 0 }, after = { 0 };
    uint64_t ino;

    rig->fault = rig_unreachable;
    ino = worker_file(rig, "dirty", bytes, n);
    rig_idle(rig);
    assert_int_equal(worker_touch(rig, ino, INT64_C(1234567890123456789)), 0);
    assert_int_equal(index_get(rig->volume->index, ino, &before), 0);
    switch_to(rig, true);
    assert_true(is_sealed(rig, ino));
    assert_false(cache_has(rig, CANARY));
    assert_int_equal(index_get(rig->volume->index, ino, &after), 0);
    assert_int_equal(after.pending, before.pending);
    assert_int_equal(after.size, n);
    assert_int_equal(after.mtime_ns, before.mtime_ns);
    assert_int_equal(after.generation, before.generation);
    rig_reopen(rig);
    settle_cache(rig);
    assert_here(rig, ino, bytes, n);
    switch_to(rig, false);
    switch_to(rig, true);
    rig->fault = NULL;
    rig_come_back(rig);
    rig_settle(rig);
    assert_object(rig, "dirty", bytes, n);
    index_inode_done(&before);
    index_inode_done(&after);
}

/* --- in use ---------------------------------------------------------------------------------------------- */

static void what_is_open_waits(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(MIB, 6);
    uint64_t ino = worker_file(rig, "a", bytes, MIB), other = worker_file(rig, "b", bytes, MIB);
    struct handle h;

    rig_settle(rig);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    encrypt(rig, true);
    rig_wait(rig, left(rig).known && left(rig).form == 1);
    assert_false(is_sealed(rig, ino));
    assert_true(is_sealed(rig, other));
    worker_write(rig, &h, 10, "written while it waits", 22);
    memcpy(bytes + 10, "written while it waits", 22);
    worker_close(rig, &h);
    settle_cache(rig);
    assert_true(is_sealed(rig, ino));
    assert_here(rig, ino, bytes, MIB);
    rig_settle(rig);
    assert_object(rig, "a", bytes, MIB);
}

/* In the midst of it a program comes. */
static void what_is_used_meanwhile_is_converted_later(void **state)
{
    struct rig *rig = *state;
    size_t n = 16 * (size_t)MIB;
    CLEANUP_FREE char *bytes = canaries(n, 7);
    uint64_t ino = worker_file(rig, "a", bytes, n);
    struct handle h;

    rig_settle(rig);
    for (int on = 1; on >= 0; on--) {
        CLEANUP_FREE char *seal = rig_cache_path(rig, ino, on ? "seal.new" : "seal");

        encrypt(rig, on);
        rig_wait(rig, access(seal, F_OK) == 0 && rig->volume->cache->space.reserved > 0);
        assert_int_equal(convert_seals(rig->volume->cache, ino), on);
        if (on) {
            assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
            worker_write(rig, &h, 5 * (uint64_t)MIB, "x", 1);
            bytes[5 * MIB] = 'x';
            worker_close(rig, &h);
        } else {
            assert_int_equal(worker_truncate(rig, ino, n - 1), 0);
            n--;
        }
        settle_cache(rig);
        assert_int_equal(is_sealed(rig, ino), on);
        assert_here(rig, ino, bytes, n);
        assert_false(has_new(rig, ino));
        rig_settle(rig);
        assert_object(rig, "a", bytes, n);
    }
}

static void new_files_have_the_new_form(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    encrypt(rig, true);
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    assert_true(is_sealed(rig, h.ino));
    worker_close(rig, &h);
    encrypt(rig, false);
    assert_int_equal(worker_create(rig, INDEX_ROOT, "b", &h), 0);
    assert_false(is_sealed(rig, h.ino));
    worker_close(rig, &h);
    settle_cache(rig);
    assert_false(is_sealed(rig, worker_lookup(rig, INDEX_ROOT, "a")));
}

static void to_and_fro(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(5 * (size_t)MIB, 8);
    uint64_t ino = worker_file(rig, "a", bytes, 5 * (size_t)MIB);

    rig_settle(rig);
    for (unsigned round = 0; round < 12; round++) {
        encrypt(rig, round % 2 == 0);
        for (unsigned turns = 0; turns < round * 3; turns++)
            rig_turn(rig, "a while");
    }
    switch_to(rig, true);
    assert_true(is_sealed(rig, ino));
    assert_here(rig, ino, bytes, 5 * (size_t)MIB);
    assert_false(cache_has(rig, CANARY));
}

static void cryptd_is_killed_meanwhile(void **state)
{
    struct rig *rig = *state;
    size_t n = 16 * (size_t)MIB;
    CLEANUP_FREE char *bytes = canaries(n, 9);
    uint64_t ino = worker_file(rig, "a", bytes, n);

    rig_settle(rig);
    for (int on = 1; on >= 0; on--) {
        encrypt(rig, on);
        rig_wait(rig, rig->volume->cache->space.reserved > 0);
        sealed_restart_cryptd(rig);
        settle_cache(rig);
        assert_int_equal(is_sealed(rig, ino), on);
        assert_here(rig, ino, bytes, n);
    }
}

/* A crash left plaintext beside sealed bytes, and half of another file. */
static void what_a_crash_left_goes(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(MIB, 10), *data = NULL, *new = NULL;
    uint64_t ino = worker_file(rig, "a", bytes, MIB);
    int fd;

    rig_settle(rig);
    switch_to(rig, true);
    rig_close(rig);
    data = rig_cache_path(rig, ino, "data");
    new = rig_cache_path(rig, ino, "seal.new");
    fd = open(data, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, MIB, 0), MIB);
    close(fd);
    fd = open(new, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, bytes, MIB, 0), MIB);
    close(fd);
    rig_open(rig);
    settle_cache(rig);
    assert_false(cache_has(rig, CANARY));
    assert_here(rig, ino, bytes, MIB);
}

/* --- keys ------------------------------------------------------------------------------------------------ */

struct rotated {
    unsigned times;
    uint64_t n;
};

static void on_rotated(const struct error *e, uint64_t n, void *arg)
{
    struct rotated *r = arg;

    if (e)
        fail_msg("%s", error_text(e));
    r->times++;
    r->n = n;
}

static uint64_t rotate(struct rig *rig)
{
    struct rotated r = { 0 };

    sealed_rotate(rig);
    volume_keys_rotated(rig->volume, on_rotated, &r);
    rig_wait(rig, r.times == 1);
    return r.n;
}

static void head_of(struct rig *rig, uint64_t ino, uint8_t key[CRYPT_KEY], uint32_t *made)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, "seal");
    CLEANUP_CLOSE int fd = open(path, O_RDONLY);

    assert_int_equal(sealed_head_made(fd, key, made), 0);
}

static void a_rotation_wraps_all_keys_at_once(void **state)
{
    struct rig *rig = *state;
    uint8_t before[CRYPT_KEY], after[CRYPT_KEY];
    struct handle open_one;
    uint64_t inos[3];
    uint32_t made;

    encrypt(rig, true);
    for (size_t n = 0; n < 3; n++)
        inos[n] = worker_file(rig, (char[]){ (char)('a' + n), '\0' }, "", 0);
    rig_settle(rig);
    assert_int_equal(worker_open(rig, inos[0], false, false, &open_one), 0);
    head_of(rig, inos[0], before, &made);
    assert_int_equal(made, 1);
    assert_int_equal(rotate(rig), 3);
    assert_int_equal(left(rig).wrapped, 0);
    for (size_t n = 0; n < 3; n++) {
        head_of(rig, inos[n], after, &made);
        assert_int_equal(sealed_key_epoch(after), 2);
    }
    head_of(rig, inos[0], after, &made);
    assert_int_equal(made, 1);
    assert_memory_equal(sealed_key_id(after), sealed_key_id(before), 16);
    assert_memory_equal(open_one.map->sealed_key, after, CRYPT_KEY);
    worker_close(rig, &open_one);
}

static uint32_t epoch_of(struct rig *rig, uint64_t ino)
{
    uint8_t key[CRYPT_KEY];
    uint32_t made;

    head_of(rig, ino, key, &made);
    return sealed_key_epoch(key);
}

/* Asked again after some are done, as by who begins to encrypt at that moment. */
static void who_waits_is_told_of_all_rounds(void **state)
{
    struct rig *rig = *state;
    struct rotated first = { 0 }, second = { 0 };
    uint64_t inos[3];

    encrypt(rig, true);
    for (size_t n = 0; n < 3; n++)
        inos[n] = worker_file(rig, (char[]){ (char)('a' + n), '\0' }, "", 0);
    rig_settle(rig);
    settle_cache(rig);
    sealed_rotate(rig);
    volume_keys_rotated(rig->volume, on_rotated, &first);
    rig_wait(rig, epoch_of(rig, inos[0]) == 2);
    volume_keys_rotated(rig->volume, on_rotated, &second);
    rig_wait(rig, first.times == 1 && second.times == 1);
    assert_int_equal(first.n, 3);
    assert_int_equal(second.n, 3);
}

static void then_files_get_keys_of_their_own(void **state)
{
    struct rig *rig = *state;
    size_t n = MIB + 5;
    CLEANUP_FREE char *bytes = canaries(n, 12);
    uint8_t before[CRYPT_KEY], after[CRYPT_KEY];
    uint64_t clean = worker_file(rig, "clean", bytes, n), dirty;
    uint32_t made;

    rig_settle(rig);
    rig->fault = rig_unreachable;
    dirty = worker_file(rig, "dirty", bytes, n);
    switch_to(rig, true);
    head_of(rig, clean, before, &made);
    assert_int_equal(rotate(rig), 2);
    settle_cache(rig);
    head_of(rig, clean, after, &made);
    assert_int_equal(made, 2);
    assert_int_not_equal(memcmp(sealed_key_id(after), sealed_key_id(before), 16), 0);
    assert_here(rig, clean, bytes, n);
    rig_reopen(rig);
    settle_cache(rig);
    assert_here(rig, clean, bytes, n);
    assert_here(rig, dirty, bytes, n);
    rig->fault = NULL;
    rig_come_back(rig);
    rig_settle(rig);
    assert_object(rig, "dirty", bytes, n);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

/* It was cut short: the next opening goes on. */
static void a_rotation_that_nobody_ended_goes_on(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(MIB, 13);
    uint64_t ino = worker_file(rig, "a", bytes, MIB);
    uint8_t key[CRYPT_KEY];
    uint32_t made;

    rig_settle(rig);
    switch_to(rig, true);
    sealed_rotate(rig);
    rig_reopen(rig);
    settle_cache(rig);
    head_of(rig, ino, key, &made);
    assert_int_equal(sealed_key_epoch(key), 2);
    assert_int_equal(made, 2);
    assert_here(rig, ino, bytes, MIB);
}

/* --- what hinders ---------------------------------------------------------------------------------------- */

/* There is not room for it twice: what the cloud has is given up instead, what it lacks waits until it is there. */
static void without_room_for_two(void **state)
{
    struct rig *rig = *state;
    size_t n = 12 * (size_t)MIB;
    CLEANUP_FREE char *bytes = canaries(n, 14);
    uint64_t ino;

    rig->drive.has_maximum_cache_size = true;
    rig->drive.maximum_cache_size = 20 * (int64_t)MIB;
    volume_configure(rig->volume, &rig->drive);
    rig->fault = rig_unreachable;
    ino = worker_file(rig, "a", bytes, n);
    encrypt(rig, true);
    rig_wait(rig, left(rig).known);
    rig_linger(rig);
    assert_int_equal(left(rig).form, 1);
    assert_false(is_sealed(rig, ino));
    assert_here(rig, ino, bytes, n);
    rig->fault = NULL;
    rig_come_back(rig);
    rig_settle(rig);
    settle_cache(rig);
    assert_false(cache_has(rig, CANARY));
    assert_object(rig, "a", bytes, n);
    rig->drive.maximum_cache_size = 0;
}

static void damaged_chunks_are_not_taken_along(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(MIB, 15), *path = NULL;
    uint64_t ino = worker_file(rig, "a", bytes, MIB);
    struct sealed_entry e;
    int fd, slot;

    rig_settle(rig);
    switch_to(rig, true);
    path = rig_cache_path(rig, ino, "seal");
    fd = open(path, O_RDWR);
    assert_int_equal(sealed_entries(fd, 3, 1, &e), 0);
    slot = sealed_newest(&e, UINT64_MAX);
    assert_int_equal(pwrite(fd, "damage", 6, (off_t)sealed_slot_at(3, (unsigned)slot)), 6);
    close(fd);
    switch_to(rig, false);
    assert_false(is_sealed(rig, ino));
    worker_assert_reads(rig, ino, bytes, MIB);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, sealed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clean_files_become_sealed_and_plain_again),
        TEST(what_is_absent_stays_absent),
        TEST(holes_stay_holes),
        TEST(what_the_cloud_lacks_is_sent_afterwards),
        TEST(what_is_open_waits),
        TEST(what_is_used_meanwhile_is_converted_later),
        TEST(new_files_have_the_new_form),
        TEST(to_and_fro),
        TEST(cryptd_is_killed_meanwhile),
        TEST(what_a_crash_left_goes),
        TEST(a_rotation_wraps_all_keys_at_once),
        TEST(who_waits_is_told_of_all_rounds),
        TEST(then_files_get_keys_of_their_own),
        TEST(a_rotation_that_nobody_ended_goes_on),
        TEST(without_room_for_two),
        TEST(damaged_chunks_are_not_taken_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
