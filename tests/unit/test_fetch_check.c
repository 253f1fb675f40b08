/* Whole objects against their ETags: damage on the way is never shown, and ETags that are no MD5 keep nobody from
 * reading. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cloud_memory.h"
#include "syncd/fetch_internal.h"

enum { SMALL = 100000, WHOLE = FETCH_SPAN_LEAST };

/* The way from the cloud: the first so many downloads come with a byte changed, each with another one. */
struct way {
    struct rig *rig;
    uint64_t ino;          /* not 0: nothing of it may be here while it is on its way */
    unsigned downloads, damages;
};

static bool any_present(struct rig *rig, uint64_t ino)
{
    const struct cache_file *f = cache_find(rig->volume->cache, ino);

    return f && chunk_first_absent(f->map, 0, SMALL) != 0;
}

static void spoil(char *bytes, size_t n, void *arg)
{
    struct way *w = arg;

    assert_false(w->ino && any_present(w->rig, w->ino));
    if (w->downloads++ < w->damages)
        bytes[w->downloads * 1000 % n] ^= 1;
}

static struct memory *memory_of(struct rig *rig)
{
    return rig->memory->state;
}

static void set_way(struct rig *rig, struct way *w, unsigned damages)
{
    *w = (struct way){ .rig = rig, .damages = damages };
    memory_of(rig)->spoil = spoil;
    memory_of(rig)->spoil_arg = w;
}

/* An object with that ETag, or its MD5 (NULL), and its inode number. */
static uint64_t object(struct rig *rig, const char *key, const char *bytes, size_t n, const char *etag)
{
    struct memory_bucket *b;
    struct error e;

    rig_put(rig, key, bytes, n);
    assert_int_equal(memory_bucket(memory_of(rig), "bucket", &b, &e), 0);
    if (etag)
        (void)snprintf(memory_find(b, key)->blob.etag, MEMORY_ETAG_SIZE, "%s", etag);
    rig_relist(rig, INDEX_ROOT);
    return worker_lookup(rig, INDEX_ROOT, key);
}

#define NO_MD5 "0123456789abcdef0123456789abcdef"

static uint64_t damaged(const struct rig *rig)
{
    return rig->volume->tally->damaged;
}

/* --- damage ---------------------------------------------------------------------------------------------------- */

static void first_wrong_then_right(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    uint64_t ino = object(rig, "a", bytes, SMALL, NULL);
    struct way w;

    set_way(rig, &w, 1);
    w.ino = ino;
    worker_assert_reads(rig, ino, bytes, SMALL);
    assert_int_equal(w.downloads, 2);
    assert_int_equal(damaged(rig), 1);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
    assert_false(rig->volume->etags_unlike);
}

/* Without anybody to try again, as here, that is the end; with s3_call it is tried as often as what is lost. */
static void wrong_each_time(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    uint64_t ino = object(rig, "a", bytes, SMALL, NULL);
    struct way w;

    set_way(rig, &w, 2);
    w.ino = ino;
    assert_int_equal(worker_fetch(rig, ino, 0, 1), -EBADE);
    assert_int_equal(w.downloads, 2);
    assert_false(any_present(rig, ino));
    assert_int_equal(damaged(rig), 1);
    worker_assert_reads(rig, ino, bytes, SMALL);
    assert_int_equal(w.downloads, 3);
}

/* --- ETags that are something else ----------------------------------------------------------------------------- */

static void the_same_twice_is_believed(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    uint64_t first = object(rig, "a", bytes, SMALL, NO_MD5), second = object(rig, "b", bytes, SMALL, NO_MD5);
    struct way w;

    set_way(rig, &w, 0);
    worker_assert_reads(rig, first, bytes, SMALL);
    assert_int_equal(w.downloads, 2);
    assert_int_equal(damaged(rig), 0);
    assert_true(rig->volume->etags_unlike);
    worker_assert_reads(rig, second, bytes, SMALL);
    assert_int_equal(w.downloads, 3);
}

/* Damage that comes before. */
static void the_same_twice_later(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    uint64_t ino = object(rig, "a", bytes, SMALL, NO_MD5);
    struct way w;

    set_way(rig, &w, 1);
    assert_int_equal(worker_fetch(rig, ino, 0, 1), -EBADE);
    worker_assert_reads(rig, ino, bytes, SMALL);
    assert_int_equal(w.downloads, 4);
}

/* Where one ETag was an MD5, those of other objects are not given up. */
static void one_that_is_odd(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    uint64_t usual = object(rig, "a", bytes, SMALL, NULL), odd = object(rig, "b", bytes, SMALL, NO_MD5);
    uint64_t usual_too = object(rig, "c", bytes, SMALL, NULL);
    struct way w;

    worker_assert_reads(rig, usual, bytes, SMALL);
    set_way(rig, &w, 0);
    worker_assert_reads(rig, odd, bytes, SMALL);
    assert_int_equal(w.downloads, 2);
    assert_false(rig->volume->etags_unlike);
    set_way(rig, &w, 1);
    worker_assert_reads(rig, usual_too, bytes, SMALL);
    assert_int_equal(damaged(rig), 1);
}

static void etags_that_say_they_are_none(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    uint64_t kms = object(rig, "a", bytes, SMALL, NO_MD5), parts;
    struct way w;

    set_way(rig, &w, 0);
    memory_of(rig)->opaque = true;
    worker_assert_reads(rig, kms, bytes, SMALL);
    assert_int_equal(w.downloads, 1);
    memory_of(rig)->opaque = false;
    parts = object(rig, "b", bytes, SMALL, NO_MD5 "-2");
    worker_assert_reads(rig, parts, bytes, SMALL);
    assert_int_equal(w.downloads, 2);
    assert_false(rig->volume->etags_unlike || rig->volume->etags_match);
}

/* --- how much --------------------------------------------------------------------------------------------------- */

static void a_small_file_comes_whole_wherever_it_is_read(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(WHOLE, 1);
    uint64_t ino = object(rig, "a", bytes, WHOLE, NULL);
    struct way w;

    set_way(rig, &w, 1);
    assert_int_equal(worker_fetch(rig, ino, WHOLE - 1, 1), 0);
    rig_idle(rig);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
    assert_int_equal(damaged(rig), 1);
    worker_assert_reads(rig, ino, bytes, WHOLE);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

static void what_is_larger_is_not_held_back(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(CLOUD_CHECKED_MAX + 1, 1);
    uint64_t ino = object(rig, "a", bytes, CLOUD_CHECKED_MAX + 1, NO_MD5);
    struct way w;

    set_way(rig, &w, 0);
    assert_int_equal(worker_fetch(rig, ino, 0, CLOUD_CHECKED_MAX + 1), 0);
    assert_int_equal(w.downloads, rig->counts[CLOUD_GET]);
    worker_assert_reads(rig, ino, bytes, CLOUD_CHECKED_MAX + 1);
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

struct opened {
    bool done;
    int code, fd;
};

static void on_opened(const struct error *e, const struct volume_stream *s, void *arg)
{
    *(struct opened *)arg = (struct opened){ true, e ? e->code : 0, s ? s->fd : -1 };
}

static struct opened open_stream(struct rig *rig)
{
    struct opened o = { 0 };

    volume_stream_open(rig->volume, "a", false, 0, 0, on_opened, &o);
    rig_wait(rig, o.done);
    return o;
}

static void a_stream_has_the_right_bytes(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1), *there = xcalloc(1, SMALL + 1);
    CLEANUP_CLOSE int fd = -1;
    struct opened o;
    struct way w;
    size_t got = 0;
    ssize_t n = -1;

    rig_put(rig, "a", bytes, SMALL);
    set_way(rig, &w, 1);
    o = open_stream(rig);
    assert_int_equal(o.code, 0);
    fd = o.fd;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (n != 0) {
        rig_wait(rig, (n = read(fd, there + got, SMALL + 1 - got)) >= 0);
        got += (size_t)n;
    }
    assert_int_equal(got, SMALL);
    assert_memory_equal(there, bytes, SMALL);
    assert_int_equal(w.downloads, 2);
}

static void a_stream_of_damage_does_not_begin(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SMALL, 1);
    struct way w;

    rig_put(rig, "a", bytes, SMALL);
    set_way(rig, &w, 2);
    assert_int_equal(open_stream(rig).code, -EBADE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(first_wrong_then_right),
        TEST(wrong_each_time),
        TEST(the_same_twice_is_believed),
        TEST(the_same_twice_later),
        TEST(one_that_is_odd),
        TEST(etags_that_say_they_are_none),
        TEST(a_small_file_comes_whole_wherever_it_is_read),
        TEST(what_is_larger_is_not_held_back),
        TEST(a_stream_has_the_right_bytes),
        TEST(a_stream_of_damage_does_not_begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
