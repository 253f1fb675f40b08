/* Objects of an encrypted drive: what is written here is an age file there, what is one there reads here, and what was
 * changed there is never read. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_anchor.h"
#include "syncd/fetch_internal.h"
#include "syncd/store_index_internal.h"

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

static void a_small_file_comes_with_one_request(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(100000, 1);
    uint64_t ino;

    (void)worker_file(rig, "a", bytes, 100000);
    sealed_lose_index(rig);
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
    sealed_lose_index(rig);
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

/* Bytes in the middle come with the chunks they lie in, once the head is known. */
static void a_range_fetches_what_it_needs(void **state)
{
    struct rig *rig = *state;
    size_t size = 20 * (size_t)MIB;
    CLEANUP_FREE char *bytes = pattern(size, 3), *got = xcalloc(1, 10000);
    struct handle h;
    uint64_t ino = worker_file(rig, "a", bytes, size);

    rig_settle(rig);
    forget_cached(rig, ino);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_idle(rig);
    rig_reset_counts(rig);
    assert_int_equal(worker_read(rig, &h, 15 * (uint64_t)MIB + 777, got, 10000), 10000);
    assert_memory_equal(got, bytes + 15 * MIB + 777, 10000);
    rig_idle(rig);
    assert_true(rig->bytes[CLOUD_GET] <= FETCH_SPAN_LEAST + 2 * (CHUNK + 16));
    worker_close(rig, &h);
    worker_assert_reads(rig, ino, bytes, size);
}

/* --- changes ---------------------------------------------------------------------------------------------- */

/* What is cut in a chunk that is not here has the beginning of that chunk, and zeros where it grows again. */
static void cut_where_nothing_is_here(void **state)
{
    struct rig *rig = *state;
    size_t size = 3 * CHUNK + 100, cut = 2 * CHUNK + 500;
    CLEANUP_FREE char *bytes = pattern(size, 4), *expected = xcalloc(1, size);
    uint64_t ino = worker_file(rig, "a", bytes, size);

    rig_settle(rig);
    forget_cached(rig, ino);
    assert_int_equal(worker_truncate(rig, ino, cut), 0);
    assert_int_equal(worker_truncate(rig, ino, size), 0);
    memcpy(expected, bytes, cut);
    worker_assert_reads(rig, ino, expected, size);
    rig_settle(rig);
    assert_sealed(rig, "a", expected, size);
}

static void appended_where_nothing_is_here(void **state)
{
    struct rig *rig = *state;
    size_t size = 20 * (size_t)MIB + 5;
    CLEANUP_FREE char *bytes = pattern(size + 3, 4);
    uint64_t ino = worker_file(rig, "a", bytes, size);
    struct handle h;

    rig_settle(rig);
    forget_cached(rig, ino);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, size, bytes + size, 3);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PART_COPY], 0);
    assert_sealed(rig, "a", bytes, size + 3);
}

/* Longer than what is too short to be encrypted. */
static const char CLEAR[1000] = "not encrypted";

static void assert_reads_anew(struct rig *rig, const char *path, const char *bytes, size_t n)
{
    uint64_t ino = worker_find(rig, path);

    assert_true(ino > 0);
    forget_cached(rig, ino);
    worker_assert_reads(rig, ino, bytes, n);
}

/* The cloud copies it; the object says by its metadata that it belongs there. */
static void renamed(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(200000, 5);
    struct cloud_request *r;

    (void)worker_file(rig, "a", bytes, 200000);
    rig_settle(rig);
    rig_reset_counts(rig);
    for (int n = 0; n < 4; n++) {
        assert_int_equal(worker_rename(rig, n % 2 ? "b" : "a", n % 2 ? "a" : "b", 0), 0);
        rig_settle(rig);
        r = rig_stat(rig, n % 2 ? "a" : "b");
        assert_true(r->object.meta.has_binding);
        assert_int_equal(r->object.meta.size, 200000);
        cloud_request_free(r);
        assert_reads_anew(rig, n % 2 ? "a" : "b", bytes, 200000);
    }
    assert_int_equal(rig->counts[CLOUD_PUT], 0);
    sealed_lose_index(rig);
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "a"), bytes, 200000);
}

/* Of what only a listing has told the head is asked for. */
static void renamed_unseen(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(200000, 5), *foreign = NULL;
    size_t n;

    (void)worker_mkdir(rig, "d");
    (void)worker_file(rig, "d/ours", bytes, 200000);
    rig_settle(rig);
    foreign = sealed_foreign(rig, bytes, 200000, &n);
    rig_put(rig, "d/foreign", foreign, n);
    rig_put(rig, "d/plain", bytes, 200000);
    rig_put(rig, "d/tiny", bytes, 3);
    sealed_lose_index(rig);
    assert_true(worker_lookup(rig, INDEX_ROOT, "d") > 0);
    assert_int_equal(worker_rename(rig, "d", "e", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "e/ e/foreign e/ours e/plain e/tiny ");
    assert_reads_anew(rig, "e/ours", bytes, 200000);
    assert_reads_anew(rig, "e/foreign", bytes, 200000);
    assert_reads_anew(rig, "e/plain", bytes, 200000);
    assert_reads_anew(rig, "e/tiny", bytes, 3);
    sealed_lose_index(rig);
    worker_assert_reads(rig, worker_find(rig, "e/ours"), bytes, 200000);
}

/* A new version of what is older than what was there: nobody takes it for one that came back. */
static void an_older_one_in_the_place_of_a_newer(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "old", "old", 3);
    rig_settle(rig);
    (void)worker_file(rig, "new", "newer", 5);
    rig_settle(rig);
    rig_reset_counts(rig);
    assert_int_equal(worker_rename(rig, "old", "new", 0), 0);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_COPY], 0);
    assert_sealed(rig, "new", "old", 3);
    assert_reads_anew(rig, "new", "old", 3);
    (void)worker_file(rig, "newest", "newest", 6);
    rig_settle(rig);
    rig_reset_counts(rig);
    assert_int_equal(worker_rename(rig, "newest", "new", 0), 0);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_COPY], 1);
    assert_reads_anew(rig, "new", "newest", 6);
}

static void what_was_removed_comes_back(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *object = NULL;
    struct cloud_request *r;
    struct handle h;
    uint64_t ino;
    size_t n;

    (void)worker_file(rig, "a", "removed", 7);
    rig_settle(rig);
    object = rig_object(rig, "a", &n);
    r = rig_stat(rig, "a");
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_settle(rig);
    assert_int_equal(sql_run(rig->volume->index->sql, "DELETE FROM grave"), 0);
    rig_put_with(rig, "a", object, n, &r->object.meta);
    cloud_request_free(r);
    rig_relist(rig, INDEX_ROOT);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_fetch(rig, ino, 0, 7), -EIO);
    worker_close(rig, &h);
    worker_overwrite(rig, "a", "anew", 4);
    rig_settle(rig);
    assert_reads_anew(rig, "a", "anew", 4);
}

static uint64_t version_of(struct rig *rig, const char *key)
{
    size_t n;
    CLEANUP_FREE char *object = rig_object(rig, key, &n);

    return object_head_version(object, n);
}

/* Another machine's clock is an hour ahead. */
static void versions_rise_whatever_the_clock_says(void **state)
{
    struct rig *rig = *state;
    uint64_t ahead;

    (void)worker_file(rig, "a", "one", 3);
    rig_settle(rig);
    ahead = version_of(rig, "a") + UINT64_C(3600000000);
    assert_int_equal(index_anchor_raise(rig->volume->index, "a", ahead), 0);
    worker_overwrite(rig, "a", "two", 3);
    rig_settle(rig);
    assert_int_equal(version_of(rig, "a"), ahead + 1);
    sealed_lose_index(rig);
    worker_overwrite(rig, "a", "three", 5);
    rig_settle(rig);
    assert_int_equal(version_of(rig, "a"), ahead + 2);
    assert_sealed(rig, "a", "three", 5);
}

/* What somebody without keys puts there says what it likes; still a version is left for what comes after. */
static void versions_do_not_run_out(void **state)
{
    static const char head[] = "age-encryption.org/v1\n-> X25519 A\nA\n-> landfall/object-1 9223372036854775700\nA\n"
                               "--- A\n";
    struct rig *rig = *state;
    char object[1000] = "";

    memcpy(object, head, strlen(head));
    rig_put(rig, "a", object, sizeof(object));
    worker_overwrite(rig, "a", "ours", 4);
    rig_settle(rig);
    assert_sealed(rig, "a", "ours", 4);
    assert_in_range(version_of(rig, "a"), 1, UINT64_C(1) << 62);
}

static void encrypt_objects(struct rig *rig, bool on)
{
    rig_close(rig);
    rig->drive.cloud_objects_encrypted = on;
    rig_open(rig);
}

/* Its owner wants it so: what is put in the place of what was encrypted is not taken for somebody else's. */
static void objects_are_encrypted_no_more(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "encrypted", 9);
    rig_settle(rig);
    encrypt_objects(rig, false);
    worker_overwrite(rig, "a", CLEAR, sizeof(CLEAR));
    rig_settle(rig);
    assert_object(rig, "a", CLEAR, sizeof(CLEAR));
    assert_reads_anew(rig, "a", CLEAR, sizeof(CLEAR));
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_reads_anew(rig, "b", CLEAR, sizeof(CLEAR));
    encrypt_objects(rig, true);
    worker_overwrite(rig, "b", "anew", 4);
    rig_settle(rig);
    assert_sealed(rig, "b", "anew", 4);
    assert_reads_anew(rig, "b", "anew", 4);
}

/* Wherever it is moved to next: it need not be asked for. */
static void what_was_sent_plain_is_known(void **state)
{
    struct rig *rig = *state;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    uint64_t ino;

    encrypt_objects(rig, false);
    ino = worker_file(rig, "a", "much longer than the head of an object that is encrypted has to be, with its recipients, "
                                "digits, a tag of its own and what else belongs to it", 140);
    rig_settle(rig);
    rig_reset_counts(rig);
    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    assert_int_equal(i.pending, 0);
    assert_true(i.cloud_size >= OBJECT_LEAST);
    assert_true(object_known(rig->volume, &i));
    assert_int_equal(rig->counts[CLOUD_STAT], 0);
}

static void other_metadata(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(1000, 5);
    uint64_t ino = worker_file(rig, "a", bytes, 1000);
    struct cloud_request *r;

    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_int_equal(worker_chmod(rig, ino, 0600), 0);
    rig_settle(rig);
    r = rig_stat(rig, "b");
    assert_int_equal(r->object.meta.mode & 0777, 0600);
    assert_true(r->object.meta.has_binding);
    assert_int_equal(r->object.meta.size, 1000);
    cloud_request_free(r);
    assert_reads_anew(rig, "b", bytes, 1000);
    sealed_lose_index(rig);
    ino = worker_lookup(rig, INDEX_ROOT, "b");
    assert_int_equal(worker_chmod(rig, ino, 0640), 0);
    rig_settle(rig);
    assert_reads_anew(rig, "b", bytes, 1000);
}

/* --- interruptions ----------------------------------------------------------------------------------------- */

static int fail_third_part(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return !after && r->op == CLOUD_PART_PUT && r->part_number == 3 ? -ECONNRESET : 0;
}

/* Parts that are there stay as they are: the same bytes under the same key. */
static void an_upload_goes_on(void **state)
{
    struct rig *rig = *state;
    size_t size = 60 * (size_t)MIB + 3;
    CLEANUP_FREE char *bytes = pattern(size, 6);

    rig->fault = fail_third_part;
    (void)worker_file(rig, "a", bytes, size);
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] >= 3 && rig->in_flight == 0);
    rig_close(rig);
    rig->fault = NULL;
    rig_reset_counts(rig);
    rig_open(rig);
    rig_settle(rig);
    assert_true(rig->counts[CLOUD_PART_PUT] < 4);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 0);
    assert_sealed(rig, "a", bytes, size);
    assert_int_equal(rig_uploads(rig), 0);
}

/* Another content is never sealed with the key of what was sent. */
static void an_upload_of_other_bytes_begins_anew(void **state)
{
    struct rig *rig = *state;
    size_t size = 60 * (size_t)MIB + 3;
    CLEANUP_FREE char *bytes = pattern(size, 6), *path = NULL;
    CLEANUP_CLOSE int fd = -1;
    uint64_t ino;

    rig->fault = fail_third_part;
    ino = worker_file(rig, "a", bytes, size);
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] >= 3 && rig->in_flight == 0);
    path = rig_cache_path(rig, ino, "data");
    rig_close(rig);
    fd = open(path, O_WRONLY | O_CLOEXEC);   /* past everybody, as a mapping does */
    assert_int_equal(pwrite(fd, "other", 5, 1000), 5);
    memcpy(bytes + 1000, "other", 5);
    rig->fault = NULL;
    rig_reset_counts(rig);
    rig_open(rig);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 1);
    assert_sealed(rig, "a", bytes, size);
    assert_int_equal(rig_uploads(rig), 0);
}

static void cryptd_goes_and_comes_back(void **state)
{
    struct rig *rig = *state;
    size_t size = 40 * (size_t)MIB;
    CLEANUP_FREE char *bytes = pattern(size, 8);
    uint64_t ino;

    for (int n = 0; n < 3; n++) {
        sealed_restart_cryptd(rig);
        if (n == 0)
            ino = worker_file(rig, "a", bytes, size);
        else
            forget_cached(rig, ino);
        rig_linger(rig);
        sealed_restart_cryptd(rig);
        if (n == 0)
            rig_settle(rig);
        else
            worker_assert_reads(rig, ino, bytes, size);
    }
    assert_sealed(rig, "a", bytes, size);
}

/* Nothing was heard of the answer: it is ours all the same, whatever its head is. */
static int lose_answer(struct rig *rig, const struct cloud_request *r, bool after)
{
    bool *lost = rig->arg;

    if (!after || r->op != CLOUD_PUT || *lost)
        return 0;
    *lost = true;
    return -ECONNRESET;
}

static void an_answer_is_lost(void **state)
{
    struct rig *rig = *state;
    bool lost = false;
    uint64_t ino;

    rig->fault = lose_answer;
    rig->arg = &lost;
    ino = worker_file(rig, "a", "hello", 5);
    rig_settle(rig);
    assert_true(lost);
    assert_sealed(rig, "a", "hello", 5);
    assert_int_equal(rig_copies(rig).n, 0);
    forget_cached(rig, ino);
    worker_assert_reads(rig, ino, "hello", 5);
}

/* --- two writers -------------------------------------------------------------------------------------------- */

static void both_versions_are_kept(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *foreign = NULL;
    struct rig_copies copies;
    size_t n;

    (void)worker_file(rig, "a", "base", 4);
    sealed_settle(rig);
    foreign = sealed_foreign(rig, "theirs", 6, &n);
    rig_put(rig, "b", foreign, n);
    (void)worker_file(rig, "b", "ours", 4);
    rig_settle(rig);
    copies = rig_copies(rig);
    assert_int_equal(copies.n, 1);
    worker_assert_reads(rig, copies.ino, "ours", 4);
    assert_sealed(rig, "b", "theirs", 6);
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "b"), "theirs", 6);
}

/* Of which nobody knows yet what it is made of, when its metadata are asked for. */
static void a_time_set_offline_of_what_others_made(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(1000, 1);
    struct cloud_request *r;
    uint64_t ino;

    rig_put(rig, "a", bytes, 1000);
    rig_relist(rig, INDEX_ROOT);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_idle(rig);
    rig_forget_meta(rig, ino);
    assert_int_equal(sql_run(rig->volume->index->sql, "DELETE FROM object"), 0);
    rig->fault = rig_unreachable;
    assert_int_equal(worker_touch(rig, ino, 12000000000), 0);
    rig_come_back(rig);
    rig_settle(rig);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mtime_ns, 12000000000);
    cloud_request_free(r);
    assert_object(rig, "a", bytes, 1000);
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
        cmocka_unit_test_setup_teardown(a_range_fetches_what_it_needs, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(cut_where_nothing_is_here, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(appended_where_nothing_is_here, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(renamed, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(renamed_unseen, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(versions_do_not_run_out, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(objects_are_encrypted_no_more, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_was_sent_plain_is_known, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(other_metadata, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_upload_goes_on, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_upload_of_other_bytes_begins_anew, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(cryptd_goes_and_comes_back, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_answer_is_lost, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(both_versions_are_kept, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_is_an_age_file, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_was_written_reads, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(another_index_reads_it, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_age_file_reads, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_plain_object_reads_as_it_is, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(cut_where_nothing_is_here, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(renamed, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(renamed_unseen, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(other_metadata, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_upload_of_other_bytes_begins_anew, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_answer_is_lost, sealed_set_up_folder, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_older_one_in_the_place_of_a_newer, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(what_was_removed_comes_back, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(versions_rise_whatever_the_clock_says, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_time_set_offline_of_what_others_made, sealed_set_up, sealed_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
