/* Objects of an encrypted drive: what is written here is an age file there, what is one there reads here, and what was
 * changed there is never read. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/fetch_internal.h"

enum { MIB = 1 << 20, CHUNK = 65536 };

static const size_t SIZES[] = { 0, 1, 65535, 65536, 65537, 3 * MIB + 17 };

static void forget_cached(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;

    rig_idle(rig);
    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    assert_int_equal(cache_acquire(rig->volume->cache, &i, &f), 0);
    fetch_stop(f);
    assert_int_equal(cache_file_renew(f, &i), 0);
    cache_release(f);
}

/* --- up ------------------------------------------------------------------------------------------------- */

static void what_is_written_is_an_age_file(void **state)
{
    struct rig *rig = *state;
    char name[32];

    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        CLEANUP_FREE char *bytes = pattern(SIZES[n], (unsigned)n);

        (void)snprintf(name, sizeof(name), "f%zu", SIZES[n]);
        (void)worker_file(rig, name, bytes, SIZES[n]);
        rig_settle(rig);
        assert_sealed(rig, name, bytes, SIZES[n]);
    }
}

static void metadata_say_the_size(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;

    (void)worker_file(rig, "a", "hello", 5);
    rig_settle(rig);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.size, object_sealed_size(object_usual_head(rig->volume), 5));
    assert_true(r->object.meta.has_size);
    assert_int_equal(r->object.meta.size, 5);
    assert_false(r->object.meta.has_binding);
    cloud_request_free(r);
}

static void a_large_file_goes_in_parts(void **state)
{
    struct rig *rig = *state;
    size_t n = 40 * (size_t)MIB + 12345;
    CLEANUP_FREE char *bytes = pattern(n, 7);

    (void)worker_file(rig, "large", bytes, n);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PART_PUT], 3);
    assert_int_equal(rig->counts[CLOUD_PUT], 0);
    assert_sealed(rig, "large", bytes, n);
}

static void no_two_objects_are_alike(void **state)
{
    struct rig *rig = *state;
    size_t n, m;
    CLEANUP_FREE char *one = NULL, *two = NULL;

    (void)worker_file(rig, "a", "the same", 8);
    (void)worker_file(rig, "b", "the same", 8);
    rig_settle(rig);
    one = rig_object(rig, "a", &n);
    two = rig_object(rig, "b", &m);
    assert_int_equal(n, m);
    assert_memory_not_equal(one + n - 24, two + n - 24, 24);
}

static void versions_rise(void **state)
{
    struct rig *rig = *state;
    size_t n, m;
    CLEANUP_FREE char *one = NULL, *two = NULL;
    const char *before, *after;

    (void)worker_file(rig, "a", "one", 3);
    rig_settle(rig);
    one = rig_object(rig, "a", &n);
    worker_overwrite(rig, "a", "two", 3);
    rig_settle(rig);
    two = rig_object(rig, "a", &m);
    before = strstr(one, "landfall/object-1 ");
    after = strstr(two, "landfall/object-1 ");
    assert_true(before && after);
    assert_true(strtoull(before + 18, NULL, 10) < strtoull(after + 18, NULL, 10));
    assert_sealed(rig, "a", "two", 3);
}

static void what_has_no_content_is_not_encrypted(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;

    (void)worker_mkdir(rig, "d");
    (void)worker_symlink(rig, "l", "target");
    rig_settle(rig);
    r = rig_stat(rig, "d/");
    assert_int_equal(r->object.size, 0);
    cloud_request_free(r);
    r = rig_stat(rig, "l");
    assert_int_equal(r->object.size, 0);
    assert_string_equal(r->object.meta.symlink, "target");
    cloud_request_free(r);
}

/* --- down ------------------------------------------------------------------------------------------------ */

static void what_was_written_reads(void **state)
{
    struct rig *rig = *state;
    char name[32];

    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        CLEANUP_FREE char *bytes = pattern(SIZES[n], (unsigned)n);
        uint64_t ino;

        (void)snprintf(name, sizeof(name), "f%zu", SIZES[n]);
        ino = worker_file(rig, name, bytes, SIZES[n]);
        rig_settle(rig);
        forget_cached(rig, ino);
        worker_assert_reads(rig, ino, bytes, SIZES[n]);
    }
}

/* The index is gone: what the cloud has is all that there is. */
static void lose_index(struct rig *rig)
{
    rig_settle(rig);
    rig_close(rig);
    for (const char *const *e = (const char *const[]){ "", "-wal", "-shm", NULL }; *e; e++) {
        char path[128];

        (void)snprintf(path, sizeof(path), "%s/index.db%s", rig->dir, *e);
        (void)remove(path);
    }
    rig_open(rig);
}

static void a_small_file_comes_with_one_request(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(100000, 1);
    uint64_t ino;

    (void)worker_file(rig, "a", bytes, 100000);
    lose_index(rig);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_reset_counts(rig);
    worker_assert_reads(rig, ino, bytes, 100000);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
    assert_int_equal(rig->counts[CLOUD_STAT], 0);
}

static void another_index_reads_it(void **state)
{
    struct rig *rig = *state;
    char name[32];

    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        CLEANUP_FREE char *bytes = pattern(SIZES[n], (unsigned)n);

        (void)snprintf(name, sizeof(name), "f%zu", SIZES[n]);
        (void)worker_file(rig, name, bytes, SIZES[n]);
    }
    lose_index(rig);
    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        CLEANUP_FREE char *bytes = pattern(SIZES[n], (unsigned)n);

        (void)snprintf(name, sizeof(name), "f%zu", SIZES[n]);
        worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, name), bytes, SIZES[n]);
    }
}

static void a_foreign_age_file_reads(void **state)
{
    struct rig *rig = *state;
    char name[32];

    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        CLEANUP_FREE char *bytes = pattern(SIZES[n], (unsigned)n), *object = NULL;
        size_t size;
        Lf__FsAttr attr;
        uint64_t ino;

        object = sealed_foreign(rig, bytes, SIZES[n], &size);
        (void)snprintf(name, sizeof(name), "f%zu", SIZES[n]);
        rig_put(rig, name, object, size);
        rig_relist(rig, INDEX_ROOT);
        ino = worker_lookup(rig, INDEX_ROOT, name);
        assert_int_equal(worker_getattr(rig, ino, &attr), 0);
        assert_int_equal(attr.size, SIZES[n]);
        worker_assert_reads(rig, ino, bytes, SIZES[n]);
    }
}

static void a_plain_object_reads_as_it_is(void **state)
{
    struct rig *rig = *state;
    char name[32];

    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        CLEANUP_FREE char *bytes = pattern(SIZES[n], (unsigned)n);

        (void)snprintf(name, sizeof(name), "f%zu", SIZES[n]);
        rig_put(rig, name, bytes, SIZES[n]);
        rig_relist(rig, INDEX_ROOT);
        worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, name), bytes, SIZES[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_an_age_file, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(metadata_say_the_size, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_large_file_goes_in_parts, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(no_two_objects_are_alike, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(versions_rise, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_has_no_content_is_not_encrypted, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_was_written_reads, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_small_file_comes_with_one_request, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(another_index_reads_it, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_age_file_reads, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_plain_object_reads_as_it_is, sealed_set_up, sealed_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
