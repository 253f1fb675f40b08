/* Nobody has failed for want of a key: whoever needs one for a cache file waits until cryptd has made it, at the start
 * of a drive too, when there is none. */
#include "tests/unit/sealed_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/key_stock.h"

static void seal(struct rig *rig)
{
    rig->drive.has_local_cache_encrypted = true;
    switch_to(rig, true);
}

/* Nothing turns the loop before the next request: so that finds none. */
static void empty(struct rig *rig)
{
    key_stock_renew(rig->volume->cache->stock);
    assert_true(key_stock_empty(rig->volume->cache->stock));
}

static void begin_create(struct rig *rig, const char *name, struct rig_asked *a)
{
    Lf__FsCreate m = LF__FS_CREATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CREATE, fs_create, &m);

    m.parent = INDEX_ROOT;
    m.name = (ProtobufCBinaryData){ strlen(name), (uint8_t *)(uintptr_t)name };
    m.mode = 0644;
    rig_send(rig, &env, a);
}

static void files_that_are_made(void **state)
{
    struct rig *rig = *state;
    struct rig_asked a[8] = { 0 };
    char name[8];

    seal(rig);
    empty(rig);
    for (unsigned n = 0; n < ARRAY_SIZE(a); n++) {
        (void)snprintf(name, sizeof(name), "f%u", n);
        begin_create(rig, name, &a[n]);
    }
    for (unsigned n = 0; n < ARRAY_SIZE(a); n++) {
        rig_wait(rig, a[n].done);
        assert_int_equal(a[n].code, 0);
    }
}

static void remove_pair(struct rig *rig, uint64_t ino)
{
    static const char *const kinds[] = { "data", "map", "seal" };

    for (size_t n = 0; n < ARRAY_SIZE(kinds); n++) {
        CLEANUP_FREE char *path = rig_cache_path(rig, ino, kinds[n]);

        assert_int_equal(unlink(path), 0);
    }
}

/* As after a power cut: a new file that nobody had written to yet has no cache file any more. It gets one as it is sent,
 * is not put off, and nor is anything else. */
static void files_that_are_sent(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    seal(rig);
    rig->config->settle_milliseconds = 3600 * 1000;
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_close(rig, &h);
    rig_close(rig);
    remove_pair(rig, h.ino);
    rig->config->settle_milliseconds = 0;
    rig_open(rig);
    empty(rig);
    rig_settle(rig);
    assert_int_equal(rig->volume->tally->uploads[tally_kind(-EAGAIN)], 0);
    assert_sealed(rig, "a", "", 0);
}

static void cut_off(struct rig *rig, uint64_t ino, const char *kind)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, kind);

    assert_int_equal(truncate(path, 0), 0);
}

/* A power cut took the head of a new file, and its map; somebody else has put one into the cloud under that name. */
static void files_that_are_taken_over(void **state)
{
    struct rig *rig = *state;
    struct rig_copies c;
    uint64_t ino;

    seal(rig);
    rig->config->settle_milliseconds = 3600 * 1000;
    ino = worker_file(rig, "a", "ours", 4);
    rig_close(rig);
    cut_off(rig, ino, "map");
    cut_off(rig, ino, "seal");
    rig_put(rig, "a", "theirs", 6);
    free(rig->config->boot_id);
    rig->config->boot_id = xstrdup("another start");
    rig->config->settle_milliseconds = 0;
    rig_open(rig);
    sealed_settle(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_int_equal(rig->volume->tally->uploads[tally_kind(-EAGAIN)], 0);
    assert_object(rig, "a", "theirs", 6);
}

/* "a", with nothing of it in the cache. */
static void only_in_the_cloud(struct rig *rig)
{
    uint64_t ino = worker_file(rig, "a", "content", 7);

    sealed_settle(rig);
    seal(rig);
    rig_close(rig);
    remove_pair(rig, ino);
    rig_open(rig);
    empty(rig);
}

static void files_that_are_streamed(void **state)
{
    struct rig *rig = *state;
    struct streamed s = { 0 };

    only_in_the_cloud(rig);
    volume_stream_open(rig->volume, "a", false, 0, 0, sealed_streamed, &s);
    rig_wait(rig, s.done);
    assert_int_equal(s.code, 0);
}

/* Who waits is dropped with it. */
static void a_drive_that_is_closed_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct streamed s = { 0 };

    only_in_the_cloud(rig);
    volume_stream_open(rig->volume, "a", false, 0, 0, sealed_streamed, &s);
    rig_reopen(rig);
    assert_true(s.done);
    assert_int_equal(s.code, -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_that_are_made, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(files_that_are_sent, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(files_that_are_taken_over, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(files_that_are_streamed, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_drive_that_is_closed_meanwhile, sealed_set_up, sealed_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
