/* Versions of objects that the agents of a drive tell each other: two machines, one after the other, on one bucket. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/anchors_internal.h"
#include "syncd/store_index_internal.h"

enum { MANY = 5000 };

static int set_up(void **state)
{
    int r = sealed_set_up(state);
    struct rig *rig = *state;

    rig->config->anchor_seconds = 0;
    return r;
}

static struct index *x(struct rig *rig)
{
    return rig->volume->index;
}

/* --- machines ---------------------------------------------------------------------------------------------- */

static void move(struct rig *rig, const char *from, const char *from_end, const char *to, const char *to_end)
{
    char a[128], b[128];

    (void)snprintf(a, sizeof(a), "%s/%s%s", rig->dir, from, from_end);
    (void)snprintf(b, sizeof(b), "%s/%s%s", rig->dir, to, to_end);
    (void)rename(a, b);
}

/* From the machine `from` to `to`, of which each has an index and a cache of its own. */
static void go(struct rig *rig, const char *from, const char *to)
{
    static const char *const files[] = { "index.db", "index.db-wal", "index.db-shm", "cache" };

    rig_close(rig);
    for (size_t n = 0; n < ARRAY_SIZE(files); n++)
        move(rig, files[n], "", files[n], from);
    for (size_t n = 0; n < ARRAY_SIZE(files); n++)
        move(rig, files[n], to, files[n], "");
    rig_open(rig);
    rig->volume->anchors->patience_ms = 60 * 1000;   /* what the others tell is read, on a slow machine too */
}

static void told(struct rig *rig)
{
    rig_settle(rig);
    rig_wait(rig, !index_anchors_untold(x(rig)) && !rig->volume->anchors->writing && !rig->volume->anchors->sweeping);
}

/* What the others tell is read now. */
static void look(struct rig *rig)
{
    struct anchors *a = rig->volume->anchors;

    rig_wait(rig, !a->passing);
    a->passed_ns = 0;
    anchors_look(rig->volume);
    rig_wait(rig, !a->passing);
}

static int opens(struct rig *rig, const char *name)
{
    char byte;
    ssize_t n = sealed_read_byte(rig, name, 0, &byte);

    return n < 0 ? (int)n : 0;
}

struct kept {
    char *bytes;
    size_t n;
    struct cloud_meta meta;
};

static struct kept keep(struct rig *rig, const char *key)
{
    struct kept k = { 0 };
    struct cloud_request *r = rig_stat(rig, key);

    k.bytes = rig_object(rig, key, &k.n);
    assert_non_null(k.bytes);
    assert_int_equal(cloud_meta_copy(&k.meta, &r->object.meta), 0);
    cloud_request_free(r);
    return k;
}

static void play_back(struct rig *rig, const char *key, const struct kept *k)
{
    rig_put_with(rig, key, k->bytes, k->n, &k->meta);
}

static void kept_done(struct kept *k)
{
    free(k->bytes);
    cloud_meta_free(&k->meta);
}

/* "KEY KEY ": segments that there are. */
static char *segments(struct rig *rig)
{
    CLEANUP_FREE char *keys = rig_keys(rig);
    char *found = xcalloc(1, strlen(keys) + 1), *rest = keys, *key;

    while ((key = strsep(&rest, " ")))
        if (strncmp(key, ANCHORS_FOLDER "/", strlen(ANCHORS_FOLDER "/")) == 0)
            strcat(strcat(found, key), " ");
    return found;
}

static size_t n_segments(struct rig *rig)
{
    CLEANUP_FREE char *all = segments(rig);
    size_t n = 0;

    for (const char *at = all; *at; at++)
        n += *at == ' ';
    return n;
}

static char *first_segment(struct rig *rig)
{
    char *all = segments(rig);

    assert_true(*all);
    *strchr(all, ' ') = '\0';
    return all;
}

/* --- objects played back -------------------------------------------------------------------------------------- */

static void a_machine_that_never_saw_it(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept one = { 0 }, two = { 0 };

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    one = keep(rig, "a");
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    two = keep(rig, "a");
    assert_int_equal(n_segments(rig), 1);
    play_back(rig, "a", &one);
    go(rig, ".a", ".b");
    assert_int_equal(opens(rig, "a"), -EIO);
    play_back(rig, "a", &two);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(opens(rig, "a"), 0);
}

static void a_machine_that_saw_the_old_one(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept one = { 0 }, two = { 0 };

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    one = keep(rig, "a");
    go(rig, ".a", ".b");
    assert_int_equal(opens(rig, "a"), 0);
    go(rig, ".b", ".a");
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    two = keep(rig, "a");
    play_back(rig, "a", &one);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(opens(rig, "a"), -EIO);
    assert_int_equal(opens(rig, "a"), -EIO);
    play_back(rig, "a", &two);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(opens(rig, "a"), 0);
}

static int streams(struct rig *rig, const char *path)
{
    struct streamed s = { 0 };

    volume_stream_open(rig->volume, path, false, 0, 0, sealed_streamed, &s);
    rig_wait(rig, s.done);
    return s.code;
}

/* All of it is in the cache of a machine that hears later that there was a newer one. */
static void nor_is_it_streamed_from_a_cache(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept one = { 0 }, two = { 0 };

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    one = keep(rig, "a");
    go(rig, ".a", ".b");
    assert_int_equal(opens(rig, "a"), 0);
    assert_int_equal(streams(rig, "a"), 0);
    go(rig, ".b", ".a");
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    two = keep(rig, "a");
    play_back(rig, "a", &one);
    go(rig, ".a", ".b");
    look(rig);
    assert_true(streams(rig, "a") < 0);
    play_back(rig, "a", &two);
    assert_int_equal(streams(rig, "a"), 0);
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "a"), "two", 3);
}

/* A machine that has read nothing yet waits for the others' segments, by whatever way it reads. */
static void nor_is_it_streamed_from_the_cloud(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept one = { 0 };

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    one = keep(rig, "a");
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    play_back(rig, "a", &one);
    go(rig, ".a", ".b");
    assert_true(streams(rig, "a") < 0);
}

/* The segment comes before the listing: the newer version is taken, and nothing is refused. */
static void a_newer_version_is_no_fault(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    go(rig, ".a", ".b");
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "a"), "one", 3);
    go(rig, ".b", ".a");
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(opens(rig, "a"), 0);
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "a"), "two", 3);
}

static void what_was_removed_does_not_come_back(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept one = { 0 };

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    one = keep(rig, "a");
    assert_int_equal(worker_unlink(rig, "a"), 0);
    told(rig);
    play_back(rig, "a", &one);
    go(rig, ".a", ".b");
    assert_int_equal(opens(rig, "a"), -EIO);
}

static void nor_is_it_exchanged_for_what_is_not_encrypted(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    rig_put(rig, "a", "ten bytes!", 10);
    go(rig, ".a", ".b");
    assert_int_equal(opens(rig, "a"), -EIO);
    assert_int_equal(opens(rig, "a"), -EIO);
}

static void an_acceptance_is_carried(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept one = { 0 };
    uint64_t version;

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    one = keep(rig, "a");
    version = index_anchor(x(rig), "a");
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    play_back(rig, "a", &one);
    go(rig, ".a", ".b");
    assert_int_equal(opens(rig, "a"), -EIO);
    go(rig, ".b", ".a");
    sealed_settle(rig);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(opens(rig, "a"), -EIO);
    assert_int_equal(index_begin(x(rig)), 0);
    assert_int_equal(index_end(x(rig), object_accept(rig->volume, worker_lookup(rig, INDEX_ROOT, "a"))), 0);
    anchors_changed(rig->volume);
    told(rig);
    assert_int_equal(opens(rig, "a"), 0);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(index_anchor(x(rig), "a"), version);
    assert_int_equal(opens(rig, "a"), 0);
}

/* --- segments played back ------------------------------------------------------------------------------------- */

static void a_segment_that_is_older(void **state)
{
    struct rig *rig = *state;
    CLEANUP(kept_done) struct kept old = { 0 };
    CLEANUP_FREE char *key = NULL;
    struct error trouble;

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    key = first_segment(rig);
    old = keep(rig, key);
    worker_overwrite(rig, "a", "two", 3);
    told(rig);
    assert_int_equal(n_segments(rig), 1);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 0);
    assert_false(volume_trouble(rig->volume, &trouble));
    play_back(rig, key, &old);
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 1);
    assert_true(volume_trouble(rig->volume, &trouble));
    assert_non_null(strstr(trouble.text, key));
    assert_non_null(strstr(trouble.text, "an older version of itself"));
    go(rig, ".b", ".a");
    look(rig);   /* its own: it is told anew, elsewhere */
    told(rig);
    look(rig);
    assert_int_equal(n_segments(rig), 1);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 0);
    assert_false(volume_trouble(rig->volume, &trouble));
}

static void a_segment_that_is_missing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *key = NULL;

    rig->volume->anchors->entries_most = 2;
    for (int n = 0; n < 6; n++) {
        char name[2] = { (char)('a' + n), '\0' };

        (void)worker_file(rig, name, "one", 3);
        told(rig);
    }
    assert_int_equal(n_segments(rig), 3);
    key = first_segment(rig);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 0);
    rig_remove(rig, key);
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 1);
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 1);
    go(rig, ".b", ".c");   /* which never saw it: the next one tells that there was one before it */
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 1);
    go(rig, ".c", ".a");
    look(rig);
    told(rig);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 0);
    assert_true(index_anchor(x(rig), "a") > 0);
}

static void a_segment_of_somebody_else(void **state)
{
    struct rig *rig = *state;
    struct anchor_segment s = { .number = 1, .first = 1, .n = 1, .agent = "0123456789abcde" };
    struct anchor bad = { .version = INT64_MAX - 1 };
    uint8_t bytes[ANCHOR_HEAD + ANCHOR_ENTRY];
    CLEANUP_FREE char *object = NULL, *key = NULL;
    struct error trouble;
    char name[sizeof(ANCHORS_FOLDER) + ANCHOR_NAME] = ANCHORS_FOLDER "/";
    size_t n;

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    key = first_segment(rig);
    anchor_segment_write(&s, &bad, bytes);
    object = sealed_foreign(rig, bytes, sizeof(bytes), &n);
    anchor_name(s.agent, 1, name + sizeof(ANCHORS_FOLDER));
    rig_put(rig, name, object, n);
    free(object);
    object = rig_object(rig, key, &n);
    anchor_name(s.agent, 2, name + sizeof(ANCHORS_FOLDER));
    rig_put(rig, name, object, n);
    anchor_name(s.agent, 3, name + sizeof(ANCHORS_FOLDER));
    rig_put(rig, name, "plain", 5);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 3);
    assert_int_equal(opens(rig, "a"), 0);
    for (uint32_t number = 1; number <= 3; number++) {   /* as the sentence says that one should */
        assert_true(volume_trouble(rig->volume, &trouble));
        assert_non_null(strstr(trouble.text, "cannot be read"));
        anchor_name(s.agent, number, name + sizeof(ANCHORS_FOLDER));
        rig_remove(rig, name);
        look(rig);
    }
    assert_false(volume_trouble(rig->volume, &trouble));
    assert_int_equal(anchors_faulty(rig->volume), 0);
}

/* --- writing ------------------------------------------------------------------------------------------------- */

static void a_crash_before_it_is_told(void **state)
{
    struct rig *rig = *state;

    rig->config->anchor_seconds = 3600;
    (void)worker_file(rig, "a", "one", 3);
    rig_settle(rig);
    assert_int_equal(n_segments(rig), 0);
    rig->config->anchor_seconds = 0;
    rig_reopen(rig);
    told(rig);
    assert_int_equal(n_segments(rig), 1);
    go(rig, ".a", ".b");
    look(rig);
    assert_true(index_anchor(x(rig), "a") > 0);
}

static void heard(void *arg)
{
    (*(size_t *)arg)++;
}

static void tell(struct rig *rig)
{
    size_t n = 0;

    volume_tell(rig->volume, heard, &n);
    assert_int_equal(n, 0);
    rig_wait(rig, n > 0);
    assert_int_equal(n, 1);
}

/* A change that the others have not heard of, and will not for an hour. */
static void change(struct rig *rig, const char *name)
{
    rig->config->anchor_seconds = 3600;
    (void)worker_file(rig, name, "one", 3);
    rig_settle(rig);
}

static void the_last_words(void **state)
{
    struct rig *rig = *state;

    tell(rig);
    assert_int_equal(n_segments(rig), 0);
    change(rig, "a");
    tell(rig);
    assert_int_equal(n_segments(rig), 1);
    assert_false(index_anchors_untold(x(rig)));
    change(rig, "b");
    assert_true(index_anchors_untold(x(rig)));
    volume_pause(rig->volume, true);
    tell(rig);
    assert_false(index_anchors_untold(x(rig)));
}

static int dead_network(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PUT && strstr(r->key, ANCHORS_FOLDER) && !after ? -ENETUNREACH : 0;
}

static void nobody_waits_for_a_dead_network(void **state)
{
    struct rig *rig = *state;

    change(rig, "a");
    rig->fault = dead_network;
    tell(rig);
    assert_true(index_anchors_untold(x(rig)));
    rig->fault = NULL;
    rig->hold[CLOUD_PUT] = true;
    tell(rig);
    assert_int_equal(n_segments(rig), 0);
    rig_release(rig);
    told(rig);
}

static void nor_for_a_drive_that_is_closed(void **state)
{
    struct rig *rig = *state;
    size_t n = 0;

    change(rig, "a");
    volume_tell(rig->volume, heard, &n);
    rig_reopen(rig);
    rig_wait(rig, n > 0);
    assert_int_equal(n, 1);
}

static void put_many(struct rig *rig, uint64_t version, int from, int to)
{
    assert_int_equal(index_begin(x(rig)), 0);
    for (int n = from; n < to; n++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "k%d", n);
        assert_int_equal(index_anchor_put(x(rig), key, version), 0);
    }
    assert_int_equal(index_end(x(rig), 0), 0);
    anchors_changed(rig->volume);
}

static void assert_known(struct rig *rig, uint64_t version, int from, int to)
{
    for (int n = from; n < to; n++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "k%d", n);
        assert_int_equal(index_anchor(x(rig), key), version);
    }
}

static void many_cost_few_requests(void **state)
{
    struct rig *rig = *state;

    rig_reset_counts(rig);
    put_many(rig, 7, 0, MANY);
    told(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 2);
    go(rig, ".a", ".b");
    rig_reset_counts(rig);
    look(rig);
    assert_int_equal(rig->counts[CLOUD_GET], 2);
    assert_known(rig, 7, 0, MANY);
    rig_reset_counts(rig);
    look(rig);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    assert_true(rig->counts[CLOUD_LIST] <= 1);
}

static void what_is_superseded_goes(void **state)
{
    struct rig *rig = *state;

    rig->volume->anchors->entries_most = 4;
    rig->volume->anchors->segments_most = 6;
    for (uint64_t version = 1; version <= 40; version++) {
        put_many(rig, version, 0, 5);
        put_many(rig, version, (int)version + 100, (int)version + 101);
        told(rig);
        look(rig);
        assert_int_equal(anchors_faulty(rig->volume), 0);
        if (n_segments(rig) > 24)
            fail_msg("%zu segments at version %d", n_segments(rig), (int)version);
    }
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 0);
    assert_known(rig, 40, 0, 5);
    for (int n = 1; n <= 40; n++)
        assert_known(rig, (uint64_t)n, n + 100, n + 101);
}

static int lost_answer(struct rig *rig, const struct cloud_request *r, bool after)
{
    size_t *left = rig->arg;

    return r->op == CLOUD_PUT && strstr(r->key, ANCHORS_FOLDER) && after && *left && (*left)-- ? -ETIMEDOUT : 0;
}

/* The segment is there, and nobody heard of it; then that of a copy of this index. Nothing is lost. */
static void others_write_as_this_one(void **state)
{
    struct rig *rig = *state;
    size_t left = 1;

    rig->arg = &left;
    rig->fault = lost_answer;
    put_many(rig, 1, 0, 3);
    rig_wait(rig, !left && rig->volume->anchors->timer);
    rig->fault = NULL;
    segments_write(rig->volume->anchors);
    told(rig);
    assert_int_equal(n_segments(rig), 2);
    assert_int_equal(index_begin(x(rig)), 0);
    assert_int_equal(sql_run(x(rig)->sql, "UPDATE agent SET last = 0"), 0);
    assert_int_equal(sql_run(x(rig)->sql, "DELETE FROM segment"), 0);
    assert_int_equal(index_end(x(rig), 0), 0);
    put_many(rig, 2, 2, 4);
    told(rig);
    go(rig, ".a", ".b");
    look(rig);
    assert_int_equal(anchors_faulty(rig->volume), 0);
    assert_known(rig, 1, 0, 2);
    assert_known(rig, 2, 2, 4);
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static void the_folder_is_reserved(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    (void)worker_file(rig, "a", "one", 3);
    told(rig);
    sealed_settle(rig);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, ANCHORS_FOLDER), 0);
    assert_int_equal(worker_create(rig, INDEX_ROOT, ANCHORS_FOLDER, &h), -EPERM);
    assert_int_equal(worker_rename(rig, "a", ANCHORS_FOLDER, 0), -EPERM);
    (void)worker_file(rig, ANCHORS_FOLDER "-too", "one", 3);
}

static void but_not_without_keys(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, ANCHORS_FOLDER, "one", 3);
    rig_settle(rig);
    assert_keys(rig, ANCHORS_FOLDER " ");
}

/* --- the form ---------------------------------------------------------------------------------------------------- */

static void hostile_segments(void **state)
{
    struct anchor_segment s = { .number = 7, .first = 3, .previous = 6, .n = 2, .agent = "0123456789abcde" }, back;
    struct anchor entries[2] = { { .version = 5, .above = 9, .accepts = 1, .life = 3 }, { .version = 8 } };
    uint8_t bytes[ANCHOR_HEAD + 2 * ANCHOR_ENTRY + 1];
    const struct { size_t at; uint8_t to; } bad[] = {
        { 0, 'M' }, { 6, '2' }, { 7, 1 }, { 24, 0 }, { 24, 2 }, { 27, 0xff }, { 28, 0 }, { 28, 8 }, { 32, 7 },
        { 36, 1 }, { 36, 3 }, { 38, 1 }, { 40 + 23, 0xff }, { 40 + 31, 0x80 }, { 40 + 35, 0x80 }, { 40 + 39, 0xff },
    };

    (void)state;
    anchor_segment_write(&s, entries, bytes);
    assert_int_equal(anchor_segment_read(bytes, sizeof(bytes) - 1, &back), 0);
    assert_memory_equal(back.agent, s.agent, ANCHOR_AGENT);
    assert_true(back.number == 7 && back.first == 3 && back.previous == 6 && back.n == 2);
    for (size_t n = 0; n < 2; n++) {
        struct anchor a = anchor_entry(bytes, n);

        assert_true(anchor_same(&a, &entries[n]));
    }
    for (size_t n = 0; n < sizeof(bytes) - 1; n++)
        assert_int_equal(anchor_segment_read(bytes, n, &back), -EBADMSG);
    assert_int_equal(anchor_segment_read(bytes, sizeof(bytes), &back), -EBADMSG);
    for (size_t n = 0; n < ARRAY_SIZE(bad); n++) {
        anchor_segment_write(&s, entries, bytes);
        bytes[bad[n].at] = bad[n].to;
        if (anchor_segment_read(bytes, sizeof(bytes) - 1, &back) != -EBADMSG)
            fail_msg("byte %zu", bad[n].at);
    }
}

static void names(void **state)
{
    static const char *const bad[] = {
        "", "-", "0123456789abcdef0123456789abcdef-0000001", "0123456789abcdef0123456789abcdef-000000010",
        "0123456789ABCDEF0123456789abcdef-00000001", "0123456789abcdef0123456789abcdef_00000001",
        "0123456789abcdef0123456789abcdef-0000000x", "0123456789abcdef0123456789abcdef-00000000",
    };
    uint8_t agent[ANCHOR_AGENT];
    char name[ANCHOR_NAME];
    uint32_t number;

    (void)state;
    assert_true(anchor_name_read("0123456789abcdef0123456789abcdef-00000042", agent, &number));
    assert_int_equal(number, 42);
    anchor_name(agent, number, name);
    assert_string_equal(name, "0123456789abcdef0123456789abcdef-00000042");
    for (size_t n = 0; n < ARRAY_SIZE(bad); n++)
        assert_false(anchor_name_read(bad[n], agent, &number));
}

static void joining(void **state)
{
    const struct anchor all[] = {
        { .version = 1 }, { .version = 2 }, { .version = 2, .life = 1 }, { .version = 2, .life = 2 }, { .version = 9 },
        { .version = 1, .accepts = 1, .above = 2 }, { .version = 0, .accepts = 2, .above = 9 },
    };
    struct anchor j;

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(all); a++)
        for (size_t b = 0; b < ARRAY_SIZE(all); b++)
            for (size_t c = 0; c < ARRAY_SIZE(all); c++) {
                struct anchor ab = anchor_join(&all[a], &all[b]), ba = anchor_join(&all[b], &all[a]);
                struct anchor bc = anchor_join(&all[b], &all[c]), left = anchor_join(&ab, &all[c]);
                struct anchor right = anchor_join(&all[a], &bc);

                assert_true(anchor_same(&ab, &ba));
                if (!anchor_same(&left, &right))
                    fail_msg("%zu %zu %zu: %d %d", a, b, c, (int)left.version, (int)right.version);
            }
    j = anchor_join(&all[5], &all[1]);
    assert_int_equal(j.version, 1);
    j = anchor_join(&all[5], &all[4]);   /* the acceptance knew nothing of that */
    assert_int_equal(j.version, 9);
    j = anchor_join(&all[1], &all[2]);
    assert_int_equal(j.life, 1);
}

#define SEALED_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, sealed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEALED_TEST(a_machine_that_never_saw_it),
        SEALED_TEST(a_machine_that_saw_the_old_one),
        SEALED_TEST(nor_is_it_streamed_from_a_cache),
        SEALED_TEST(nor_is_it_streamed_from_the_cloud),
        SEALED_TEST(a_newer_version_is_no_fault),
        SEALED_TEST(what_was_removed_does_not_come_back),
        SEALED_TEST(nor_is_it_exchanged_for_what_is_not_encrypted),
        SEALED_TEST(an_acceptance_is_carried),
        SEALED_TEST(a_segment_that_is_older),
        SEALED_TEST(a_segment_that_is_missing),
        SEALED_TEST(a_segment_of_somebody_else),
        SEALED_TEST(a_crash_before_it_is_told),
        SEALED_TEST(the_last_words),
        SEALED_TEST(nobody_waits_for_a_dead_network),
        SEALED_TEST(nor_for_a_drive_that_is_closed),
        SEALED_TEST(many_cost_few_requests),
        SEALED_TEST(what_is_superseded_goes),
        SEALED_TEST(others_write_as_this_one),
        SEALED_TEST(the_folder_is_reserved),
        cmocka_unit_test_setup_teardown(but_not_without_keys, rig_set_up, rig_tear_down),
        cmocka_unit_test(hostile_segments),
        cmocka_unit_test(names),
        cmocka_unit_test(joining),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
