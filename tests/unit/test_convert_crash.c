/* A volume that is killed at every step of pairs of cache files getting another form, or another key. What they have is
 * there afterwards, in one form or the other, and gets the right one. */
#include "tests/unit/crash_rig.h"
#include "tests/unit/sealed_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { CLEAN = 150000, DIRTY = 70000 };

static bool exists(const struct rig *rig, const char *name)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
    return access(path, F_OK) == 0;
}

static void make(const struct rig *rig, const char *name)
{
    char path[96];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

/* The form at first, and what it is to be; what was begun is known to the second run by a file. */
static void prepare(struct rig *rig, bool first, bool then)
{
    sealed_prepare(rig);
    rig->drive.has_local_cache_encrypted = true;
    rig->drive.local_cache_encrypted = exists(rig, "begun") ? then : first;
}

static void prepare_to_seal(struct rig *rig)
{
    prepare(rig, false, true);
}

static void prepare_to_unseal(struct rig *rig)
{
    prepare(rig, true, false);
}

static void prepare_to_rotate(struct rig *rig)
{
    prepare(rig, true, true);
}

/* One that is in the cloud, one that is not, written in a plain cache since only the worker of the rig writes. */
static void two_files(struct rig *rig)
{
    CLEANUP_FREE char *clean = canaries(CLEAN, 1), *dirty = canaries(DIRTY, 2);
    bool first = rig->drive.local_cache_encrypted;

    switch_to(rig, false);
    (void)worker_file(rig, "clean", clean, CLEAN);
    rig_settle(rig);
    rig_relist(rig, INDEX_ROOT);
    rig->fault = rig_unreachable;
    (void)worker_file(rig, "dirty", dirty, DIRTY);
    rig_idle(rig);
    switch_to(rig, first);
    make(rig, "begun");
}

static void seal(struct rig *rig)
{
    switch_to(rig, true);
}

static void unseal(struct rig *rig)
{
    switch_to(rig, false);
}

static void on_rotated(const struct error *e, uint64_t n, void *arg)
{
    assert_null(e);
    (void)n;
    *(bool *)arg = true;
}

static void rotate(struct rig *rig)
{
    bool rotated = false;

    sealed_rotate(rig);
    volume_keys_rotated(rig->volume, on_rotated, &rotated);
    rig_wait(rig, rotated);
    settle_cache(rig);
}

static void both_are_there(struct rig *rig, unsigned acknowledged)
{
    CLEANUP_FREE char *clean = canaries(CLEAN, 1), *dirty = canaries(DIRTY, 2);

    (void)acknowledged;
    assert_here(rig, worker_lookup(rig, INDEX_ROOT, "clean"), clean, CLEAN);
    assert_here(rig, worker_lookup(rig, INDEX_ROOT, "dirty"), dirty, DIRTY);
    settle_cache(rig);
    assert_int_equal(cache_has(rig, CANARY), !rig->drive.local_cache_encrypted);
    assert_here(rig, worker_lookup(rig, INDEX_ROOT, "clean"), clean, CLEAN);
    assert_here(rig, worker_lookup(rig, INDEX_ROOT, "dirty"), dirty, DIRTY);
}

/* As the rig reads them. */
static void then_plain(struct rig *rig, unsigned acknowledged)
{
    (void)acknowledged;
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    switch_to(rig, false);
}

static void files_are_sealed(void **state)
{
    static const struct crash_story s = { .prepare = prepare_to_seal, .before = two_files, .act = seal,
                                          .reopened = both_are_there, .after = then_plain };

    (void)state;
    crash_everywhere(&s);
}

static void files_become_plain(void **state)
{
    static const struct crash_story s = { .prepare = prepare_to_unseal, .before = two_files, .act = unseal,
                                          .reopened = both_are_there, .after = then_plain };

    (void)state;
    crash_everywhere(&s);
}

static void keys_are_rotated(void **state)
{
    static const struct crash_story s = { .prepare = prepare_to_rotate, .before = two_files, .act = rotate,
                                          .reopened = both_are_there, .after = then_plain };

    (void)state;
    crash_everywhere(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_sealed),
        cmocka_unit_test(files_become_plain),
        cmocka_unit_test(keys_are_rotated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
