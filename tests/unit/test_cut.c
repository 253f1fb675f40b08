/* Encrypted cache files that are cut, as a power cut leaves them; with a real cryptd. */
#include "tests/unit/sealed_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/punch.h"
#include "syncd/cache_space.h"
#include "syncd/cache_sync.h"
#include "syncd/content.h"
#include "syncd/evict.h"

enum { MIB = 1 << 20, EXTENT = 4 * MIB, WHOLE = 3 * EXTENT };

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

/* --- what a program does ------------------------------------------------------------------------------------- */

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void stored(const struct error *e, void *arg)
{
    assert_int_equal(e->code, 0);
    *(bool *)arg = true;
}

/* Whole chunks, which are here then, changed. */
static void write_chunks(struct rig *rig, uint64_t ino, uint64_t at, char fill, size_t n)
{
    static const struct content_form plain = { .form = CRYPT_PLAIN };
    CLEANUP_FREE char *bytes = xcalloc(1, n);
    struct cache_file *f = acquire(rig, ino);
    bool done = false;

    memset(bytes, fill, n);
    assert_int_equal(cache_dirty(f), 0);
    content_in(f, at, n, &plain, (uint8_t *)bytes, n, yes, stored, &done);
    rig_wait(rig, done);
    for (uint64_t c = at >> CHUNK_SHIFT; c << CHUNK_SHIFT < at + n; c++)
        if (c << CHUNK_SHIFT < atomic_load(&f->map->fetchable))
            chunk_set(f->map, c);
    atomic_fetch_add(&f->map->write_seq, 1);
    assert_int_equal(cache_take_over(f, NULL), 0);
    uploader_changed(rig->volume->uploader);
    cache_release(f);
}

static void write_extents(struct rig *rig, uint64_t ino, unsigned first, unsigned end, char fill)
{
    for (uint64_t at = (uint64_t)first * EXTENT; at < (uint64_t)end * EXTENT; at += MIB)
        write_chunks(rig, ino, at, fill, MIB);
}

static void fsync_file(struct rig *rig, uint64_t ino)
{
    struct cache_file *f = acquire(rig, ino);
    struct cache_point point = cache_point(f);

    cache_synced(f, &point);
    cache_release(f);
}

/* --- what happens to it -------------------------------------------------------------------------------------- */

static void evict_extent(struct rig *rig, uint64_t ino, uint64_t extent)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f = acquire(rig, ino);

    assert_int_equal(uploader_sync_now(rig->volume->uploader), 0);
    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    assert_true(evict_may(rig->volume->cache, f, &i));
    assert_int_equal(cache_file_punch(f, extent), 0);
    assert_int_equal(cache_fresh_gone(f, extent * EXTENT_CHUNKS, (extent + 1) * EXTENT_CHUNKS), 0);
    space_measure(f);
    cache_release(f);
}

static void machine_restarts(struct rig *rig)
{
    free(rig->config->boot_id);
    rig->config->boot_id = xstrdup("another start");
    rig_reopen(rig);
}

/* A file of three extents of 'a', here and in the cloud. */
static uint64_t three_extents(struct rig *rig)
{
    CLEANUP_FREE char *bytes = canaries(WHOLE, 3);
    uint64_t ino = worker_file(rig, "f", bytes, WHOLE);

    rig_settle(rig);
    switch_to(rig, true);
    write_extents(rig, ino, 0, 3, 'a');
    fsync_file(rig, ino);
    return ino;
}

/* It is sent without a doubt; then the cloud has these bytes in the middle of the extents. */
static void assert_sent(struct rig *rig, uint64_t ino, const char middles[4])
{
    CLEANUP_FREE char *object = NULL;
    size_t n = 0;

    assert_false(index_doubtful(rig->volume->index, ino));
    rig->fault = NULL;
    rig_come_back(rig);
    rig_settle(rig);
    object = rig_object(rig, "f", &n);
    assert_int_equal(n, WHOLE);
    for (size_t k = 0; k < 3; k++)
        assert_int_equal(object[k * EXTENT + EXTENT / 2], middles[k] == '0' ? 0 : middles[k]);
}

/* --- tests --------------------------------------------------------------------------------------------------- */

static void a_hole_that_was_cut_is_not_cut_for_ever(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = three_extents(rig);

    assert_int_equal(worker_truncate(rig, ino, EXTENT), 0);
    assert_int_equal(worker_truncate(rig, ino, WHOLE), 0);
    write_extents(rig, ino, 2, 3, 'b');
    fsync_file(rig, ino);
    rig_settle(rig);
    rig_idle(rig);
    evict_extent(rig, ino, 2);
    rig->fault = rig_unreachable;
    write_chunks(rig, ino, 0, 'c', MIB);
    fsync_file(rig, ino);
    machine_restarts(rig);
    assert_sent(rig, ino, "a0b");
}

static void what_was_to_be_cut_and_was_not(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = three_extents(rig);
    struct index *x = rig->volume->index;

    rig_settle(rig);
    rig_idle(rig);
    evict_extent(rig, ino, 2);
    rig->fault = rig_unreachable;
    write_chunks(rig, ino, 0, 'c', MIB);
    fsync_file(rig, ino);
    assert_true(cache_fresh_wants(x, ino, EXTENT_CHUNKS));
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, cache_fresh_will_cut(x, ino, EXTENT_CHUNKS)), 0);
    assert_false(cache_fresh_wants(x, ino, EXTENT_CHUNKS));
    machine_restarts(rig);
    assert_sent(rig, ino, "aaa");
}

/* What is absent, and has a record, is nothing to be sealed shorter. */
static void cut_where_the_bytes_never_came(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(100000, 3);
    uint64_t ino = worker_file(rig, "f", bytes, 100000);
    struct cache_file *f;

    rig_settle(rig);
    switch_to(rig, true);
    f = acquire(rig, ino);
    cache_file_stamp(f);
    for (unsigned slot = 0; slot < SEALED_SLOTS; slot++)
        assert_int_equal(punch_hole(f->sealed.fd, sealed_slot_at(1, slot), CHUNK_SIZE), 0);
    cache_release(f);
    machine_restarts(rig);
    f = acquire(rig, ino);
    assert_true(chunk_present(f->map, 0));
    assert_false(chunk_present(f->map, 1));
    cache_release(f);
    rig->fault = rig_unreachable;
    assert_int_equal(worker_truncate(rig, ino, 70000), 0);
    assert_int_equal(worker_truncate(rig, ino, 90000), 0);
}

static void trimmed(const struct error *e, void *arg)
{
    *(int *)arg = e->code ? e->code : 1;
}

/* Who asked for the cut may have been answered by another way, and go on. */
static void written_while_it_is_sealed_shorter(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = canaries(CHUNK_SIZE + 30000, 3), *there = NULL;
    uint64_t ino = worker_file(rig, "f", bytes, CHUNK_SIZE + 30000);
    struct cache_file *f;
    int code = 0;

    rig_settle(rig);
    switch_to(rig, true);
    rig->fault = rig_unreachable;
    f = acquire(rig, ino);
    assert_int_equal(cache_dirty(f), 0);
    assert_int_equal(cache_file_resize(f, CHUNK_SIZE + 7000), 0);
    assert_true(sealed_needs_trim(&f->sealed));
    content_trim(f, trimmed, &code);
    write_chunks(rig, ino, CHUNK_SIZE, 'z', 7000);
    rig_wait(rig, code);
    assert_int_equal(code, -EAGAIN);
    there = read_here(rig, ino, CHUNK_SIZE, 7000);
    for (size_t n = 0; n < 7000; n++)
        assert_int_equal(there[n], 'z');
    code = 0;
    assert_int_equal(cache_file_resize(f, CHUNK_SIZE + 10), 0);
    content_trim(f, trimmed, &code);
    rig_wait(rig, code);
    assert_int_equal(code, 1);
    assert_false(sealed_needs_trim(&f->sealed));
    cache_release(f);
}

/* What was sent a moment ago stays until the disk knows of it. */
static void what_was_sent_lately_stays(void **state)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct rig *rig = *state;
    uint64_t ino = three_extents(rig);
    struct volume *v = rig->volume;

    rig_settle(rig);
    assert_int_equal(index_get(v->index, ino, &i), 0);
    assert_true(uploader_sent_lately(v->uploader, ino));
    assert_false(evict_may(v->cache, cache_find(v->cache, ino), &i));
    rig_wait(rig, !uploader_sent_lately(v->uploader, ino));
    assert_true(evict_may(v->cache, cache_find(v->cache, ino), &i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hole_that_was_cut_is_not_cut_for_ever, set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_was_to_be_cut_and_was_not, set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(cut_where_the_bytes_never_came, set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(written_while_it_is_sealed_shorter, set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_was_sent_lately_stays, set_up, sealed_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
