/* What an object waits for, who waits for it, and everything there is to say about it. */
#include "volume_rig.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/cache_space.h"
#include "syncd/conflict.h"

enum { LONG_S = 60 };

/* --- what is asked and answered ------------------------------------------------------------------------- */

struct told {
    bool done;
    int code;
    struct volume_arrival a;
    char why[1024];
};

static void on_arrival(const struct error *e, const struct volume_arrival *a, void *arg)
{
    struct told *t = arg;

    assert_false(t->done);
    t->done = true;
    t->code = e ? e->code : 0;
    if (a)
        t->a = *a;
    (void)snprintf(t->why, sizeof(t->why), "%s", e ? error_text(e) : a->waits_for ? a->waits_for : "");
}

static void await(struct rig *rig, uint64_t ino, unsigned seconds, struct told *t)
{
    *t = (struct told){ 0 };
    volume_await(rig->volume, ino, seconds, on_arrival, t);
}

static void expect_there(struct rig *rig, struct told *t)
{
    rig_wait(rig, t->done);
    assert_int_equal(t->code, 0);
    assert_true(t->a.there);
    assert_false(t->a.stuck);
    assert_int_equal(t->a.pending, 0);
}

static Lf__Explanation *explain(struct rig *rig, uint64_t ino)
{
    Lf__Explanation *e = volume_explain(rig->volume, ino);

    assert_non_null(e);
    return e;
}

/* What it waits for begins like this; "" nothing. */
static void assert_waits(struct rig *rig, uint64_t ino, const char *begin)
{
    Lf__Explanation *e = explain(rig, ino);

    if (strncmp(e->waits_for ? e->waits_for : "", begin, *begin ? strlen(begin) : 1) != 0)
        fail_msg("waits for \"%s\", not \"%s\"", e->waits_for ? e->waits_for : "", begin);
    lf__explanation__free_unpacked(e, NULL);
}

static int fail_puts(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PUT && !after ? *(const int *)rig->arg : 0;
}

static void let_puts_fail(struct rig *rig, const int *code)
{
    rig->arg = (void *)(uintptr_t)code;
    rig->fault = fail_puts;
}

/* --- by name --------------------------------------------------------------------------------------------- */

struct named {
    bool done;
    int code;
    struct volume_node node;
};

static void on_named(const struct error *e, const struct volume_node *n, void *arg)
{
    struct named *named = arg;

    named->done = true;
    named->code = e ? e->code : 0;
    if (n)
        named->node = *n;
}

/* A program has the one open that had the name when it was asked for. */
static void who_asks_hears_of_what_has_the_name_at_last(void **state)
{
    struct rig *rig = *state;
    struct named named = { 0 };
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", "one", 3);
    rig_relist(rig, INDEX_ROOT);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_forget_meta(rig, ino);
    rig->hold[CLOUD_STAT] = true;
    volume_stat(rig->volume, "a", on_named, &named);
    rig_wait(rig, rig->n_held == 1);
    rig_put(rig, "a", "other", 5);
    rig_relist(rig, INDEX_ROOT);
    assert_false(named.done);
    rig_release(rig);
    rig_wait(rig, named.done);
    assert_int_equal(named.code, 0);
    assert_int_not_equal(named.node.ino, ino);
    assert_int_equal(named.node.size, 5);
    worker_close(rig, &h);
}

/* --- waiting --------------------------------------------------------------------------------------------- */

static void what_is_there_is_told_at_once(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "bytes", 5);
    struct told t;

    rig_settle(rig);
    await(rig, ino, LONG_S, &t);
    assert_true(t.done && t.a.there);
    await(rig, INDEX_ROOT, LONG_S, &t);
    assert_true(t.done && t.a.there);
}

static void a_file_is_waited_for_until_its_object_is_there(void **state)
{
    struct rig *rig = *state;
    struct told file, root;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "a", "bytes", 5);
    await(rig, ino, LONG_S, &file);
    await(rig, INDEX_ROOT, LONG_S, &root);
    rig_wait(rig, rig->n_held > 0);
    assert_false(file.done || root.done);
    assert_waits(rig, ino, "It is being uploaded: 0 %.");
    assert_waits(rig, INDEX_ROOT, "a: It is being uploaded: 0 %.");
    rig_release(rig);
    expect_there(rig, &file);
    expect_there(rig, &root);
    assert_object(rig, "a", "bytes", 5);
}

static void others_do_not_matter(void **state)
{
    struct rig *rig = *state;
    uint64_t dir = worker_mkdir(rig, "d"), ino = worker_file(rig, "d/a", "bytes", 5);
    struct told t;

    rig_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "b", "bytes", 5);
    await(rig, ino, LONG_S, &t);
    assert_true(t.done && t.a.there);
    await(rig, dir, LONG_S, &t);
    assert_true(t.done && t.a.there);
    rig_release(rig);
    rig_settle(rig);
}

/* A removal and a rename below a directory count as long as the old keys are there. */
static void removals_and_renames_count_for_the_directory(void **state)
{
    struct rig *rig = *state;
    uint64_t dir = worker_mkdir(rig, "d");
    struct told t, root;

    (void)worker_file(rig, "d/a", "bytes", 5);
    (void)worker_file(rig, "d/b", "bytes", 5);
    rig_settle(rig);
    rig->hold[CLOUD_DELETE] = rig->hold[CLOUD_DELETE_BATCH] = true;
    assert_int_equal(worker_unlink(rig, "d/a"), 0);
    assert_int_equal(worker_rename(rig, "d/b", "d/c", 0), 0);
    await(rig, dir, LONG_S, &t);
    await(rig, INDEX_ROOT, LONG_S, &root);
    rig_wait(rig, rig->n_held > 0);
    rig_linger(rig);
    assert_false(t.done || root.done);
    assert_waits(rig, dir, "What was renamed or removed there");
    rig_release(rig);
    expect_there(rig, &t);
    expect_there(rig, &root);
    assert_keys(rig, "d/ d/c ");
}

/* The directory that something is moved out of has it in the cloud until it has moved. */
static void what_was_moved_away_counts_for_where_it_was(void **state)
{
    struct rig *rig = *state;
    uint64_t dir = worker_mkdir(rig, "d");
    struct told t;

    (void)worker_mkdir(rig, "d/sub");
    (void)worker_file(rig, "d/sub/a", "bytes", 5);
    rig_settle(rig);
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "d/sub", "sub", 0), 0);
    await(rig, dir, LONG_S, &t);
    rig_wait(rig, rig->n_held > 0);
    rig_linger(rig);
    assert_false(t.done);
    rig_release(rig);
    expect_there(rig, &t);
    assert_keys(rig, "d/ sub/ sub/a ");
}

static void a_renamed_directory_is_there_when_all_has_moved(void **state)
{
    struct rig *rig = *state;
    struct told t;
    uint64_t dir;

    dir = worker_mkdir(rig, "old");
    (void)worker_file(rig, "old/a", "bytes", 5);
    rig_settle(rig);
    assert_int_equal(worker_rename(rig, "old", "new", 0), 0);
    await(rig, dir, LONG_S, &t);
    assert_false(t.done);
    expect_there(rig, &t);
    assert_keys(rig, "new/ new/a ");
}

static void time_is_over_with_the_reason(void **state)
{
    struct rig *rig = *state;
    struct told t;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "a", "bytes", 5);
    await(rig, ino, 0, &t);
    rig_wait(rig, t.done);
    assert_int_equal(t.code, 0);
    assert_false(t.a.there || t.a.stuck);
    assert_int_equal(t.a.pending, 1);
    assert_int_equal(t.a.ino, ino);
    assert_string_not_equal(t.why, "");
    rig_release(rig);
    rig_settle(rig);
}

static void a_removed_file_is_not_waited_for(void **state)
{
    struct rig *rig = *state;
    struct told t;

    rig->hold[CLOUD_PUT] = true;
    await(rig, worker_file(rig, "a", "bytes", 5), LONG_S, &t);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_wait(rig, t.done);
    assert_int_equal(t.code, -ENOENT);
    rig_release(rig);
    rig_settle(rig);
}

static void a_closed_volume_lets_nobody_wait(void **state)
{
    struct rig *rig = *state;
    struct told t;

    rig->hold[CLOUD_PUT] = true;
    await(rig, worker_file(rig, "a", "bytes", 5), LONG_S, &t);
    rig_close(rig);
    assert_true(t.done);
    assert_int_equal(t.code, -ECANCELED);
    rig_release(rig);
    rig_open(rig);
}

/* --- what stands in the way -------------------------------------------------------------------------------- */

static void what_does_not_pass_by_itself_ends_the_waiting(void **state)
{
    static const int code = -EACCES;
    struct rig *rig = *state;
    uint64_t dir = worker_mkdir(rig, "d"), ino;
    struct told file, above, late;

    rig_settle(rig);
    let_puts_fail(rig, &code);
    ino = worker_file(rig, "d/a", "bytes", 5);
    await(rig, ino, LONG_S, &file);
    await(rig, dir, LONG_S, &above);
    rig_wait(rig, file.done && above.done);
    assert_true(file.a.stuck && above.a.stuck);
    assert_non_null(strstr(file.why, "The next attempt is in"));
    assert_int_equal(strncmp(above.why, "d/a: ", 5), 0);
    await(rig, INDEX_ROOT, LONG_S, &late);   /* who comes after it failed */
    assert_true(late.done && late.a.stuck);
    *strstr(file.why, "The next attempt") = '\0';   /* the seconds go by */
    assert_waits(rig, ino, file.why);
}

static int refuse_a(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PUT && !after && strcmp(strrchr(r->key, '/') ? strrchr(r->key, '/') + 1 : r->key, "a") == 0
        ? -EACCES : 0;
}

/* It ends the waiting for all, but who wants to know whether anything else may come is told. */
static void what_is_refused_does_not_hide_what_is_on_its_way(void **state)
{
    struct rig *rig = *state;
    struct told t;

    rig->fault = refuse_a;
    (void)worker_file(rig, "a", "bytes", 5);
    await(rig, INDEX_ROOT, LONG_S, &t);
    rig_wait(rig, t.done);
    assert_true(t.a.stuck);
    assert_int_equal(t.a.pending, 1);
    assert_false(t.a.coming);
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "b", "bytes", 5);
    await(rig, INDEX_ROOT, LONG_S, &t);
    assert_true(t.done && t.a.stuck);
    assert_true(t.a.coming);
    rig_release(rig);
    rig_wait(rig, volume_pending(rig->volume) == 1);
    (void)worker_file(rig, "c", "bytes", 5);
    volume_pause(rig->volume, true);
    await(rig, INDEX_ROOT, LONG_S, &t);
    assert_true(t.a.stuck);
    assert_false(t.a.coming);
    volume_pause(rig->volume, false);
}

static int refuse_deletions(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return !after && (r->op == CLOUD_DELETE || r->op == CLOUD_DELETE_BATCH) ? -EACCES : 0;
}

static void a_deletion_that_the_cloud_refuses_ends_the_waiting(void **state)
{
    struct rig *rig = *state;
    struct told t;
    uint64_t ino;

    (void)worker_mkdir(rig, "d");
    rig_settle(rig);
    rig->fault = refuse_deletions;
    assert_int_equal(worker_rmdir(rig, "d"), 0);
    ino = worker_file(rig, "d", "bytes", 5);
    await(rig, ino, LONG_S, &t);
    rig_wait(rig, t.done);
    assert_true(t.a.stuck);
    assert_non_null(strstr(t.why, "cannot be deleted in the cloud: "));
    assert_waits(rig, ino, "What had its name before cannot be deleted");
    rig->fault = NULL;
    rig->volume->uploader->graves_after_ns = 0;
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
    assert_keys(rig, "d ");
}

static void what_may_pass_is_waited_for(void **state)
{
    static const int code = -EHOSTUNREACH;
    struct rig *rig = *state;
    struct told t;
    uint64_t ino;

    let_puts_fail(rig, &code);
    ino = worker_file(rig, "a", "bytes", 5);
    await(rig, ino, LONG_S, &t);
    rig_wait(rig, rig->counts[CLOUD_PUT] > 0);
    rig_linger(rig);
    assert_false(t.done);
    rig->fault = NULL;
    expect_there(rig, &t);
}

static void a_paused_drive_stands_in_the_way(void **state)
{
    struct rig *rig = *state;
    struct told before, after;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "a", "bytes", 5);
    await(rig, ino, LONG_S, &before);
    volume_pause(rig->volume, true);
    await(rig, ino, LONG_S, &after);
    assert_true(after.done && after.a.stuck);
    assert_string_equal(after.why, "The drive is paused.");
    rig_wait(rig, before.done);
    assert_true(before.a.stuck);
    volume_pause(rig->volume, false);
    rig_release(rig);
    rig_settle(rig);
}

/* --- explaining ---------------------------------------------------------------------------------------------- */

static void a_new_file_is_explained(void **state)
{
    struct rig *rig = *state;
    Lf__Explanation *e;
    uint64_t ino;

    rig->config->settle_milliseconds = 60000;
    ino = worker_file(rig, "a", "bytes", 5);
    e = explain(rig, ino);
    assert_string_equal(e->state, "dirty");
    assert_string_equal(e->type, "file");
    assert_int_equal(e->size, 5);
    assert_int_equal(e->cached_bytes, 5);
    assert_int_equal(e->n_cached_ranges, 1);
    assert_int_equal(e->cached_ranges[0]->end, 4);
    assert_int_equal(e->n_lacking, 1);
    assert_string_equal(e->lacking[0], "content");
    assert_null(e->key);
    assert_null(e->version);
    assert_non_null(e->next_key);
    assert_non_null(e->dirty_since);
    assert_int_equal(e->n_fetched, 0);
    lf__explanation__free_unpacked(e, NULL);
    assert_waits(rig, ino, "It is waiting to settle");
    rig->config->settle_milliseconds = 0;
    assert_int_equal(index_retry(rig->volume->index, ino, 0, NULL), 0);
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
    e = explain(rig, ino);
    assert_string_equal(e->state, "clean");
    assert_non_null(e->version);
    assert_null(e->waits_for);
    assert_null(e->next_key);
    assert_null(e->dirty_since);
    assert_int_equal(e->n_lacking, 0);
    lf__explanation__free_unpacked(e, NULL);
    assert_null(volume_explain(rig->volume, ino + 1000));
}

static void ranges_and_what_they_came_for(void **state)
{
    enum { CHUNKS = 40, SIZE = CHUNKS * CHUNK_SIZE + 7 };
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    Lf__Explanation *e;
    int64_t came = 0;
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", bytes, SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    e = explain(rig, ino);
    assert_int_equal(e->cached_bytes, 0);
    assert_int_equal(e->n_cached_ranges, 0);
    lf__explanation__free_unpacked(e, NULL);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_fetch(rig, ino, SIZE - 1, 1), 0);
    rig_idle(rig);
    e = explain(rig, ino);
    assert_int_equal(e->readers, 1);
    assert_int_equal(e->writers, 0);
    assert_int_equal(e->n_cached_ranges, 2);
    assert_int_equal(e->cached_ranges[0]->start, 0);
    assert_int_equal(e->cached_ranges[1]->end, SIZE - 1);
    for (size_t n = 0; n < e->n_fetched; n++)
        came += e->fetched[n]->bytes;
    assert_int_equal(came, e->cached_bytes);
    assert_string_equal(e->fetched[0]->why, "open");
    assert_int_equal(e->fetched[0]->bytes, CHUNK_SIZE);
    assert_string_equal(e->fetched[1]->why, "read");
    assert_int_equal(e->fetched[1]->bytes, 7);
    lf__explanation__free_unpacked(e, NULL);
    worker_close(rig, &h);
}

/* --- what programs wait for ------------------------------------------------------------------------------------- */

enum { STEP = 1 << 20, LENGTH = 9 * STEP };

static uint64_t absent_file(struct rig *rig)
{
    CLEANUP_FREE char *bytes = pattern(LENGTH, 1);

    rig_put(rig, "a", bytes, LENGTH);
    return worker_lookup(rig, INDEX_ROOT, "a");
}

static void begin(struct rig *rig, uint64_t ino, bool write, uint64_t offset, struct rig_asked *a)
{
    Lf__FsFetch m = LF__FS_FETCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FETCH, fs_fetch, &m);

    m.ino = ino;
    m.offset = offset;
    m.length = 10;
    m.has_write = m.write = write;
    rig_send(rig, &env, a);
}

#define READER "A program that reads it waits for the bytes 196608 to 196622, for * s so far and * s more at most. "

static void begin_read(struct rig *rig, uint64_t ino, struct rig_asked *a)
{
    begin(rig, ino, false, 3 * CHUNK_SIZE + 5, a);
}

/* As glob(7) has it. */
static void assert_waits_like(struct rig *rig, uint64_t ino, const char *like)
{
    Lf__Explanation *e = explain(rig, ino);

    if (!e->waits_for || fnmatch(like, e->waits_for, 0) != 0)
        fail_msg("waits for \"%s\", not \"%s\"", e->waits_for ? e->waits_for : "", like);
    lf__explanation__free_unpacked(e, NULL);
}

static void end_read(struct rig *rig, uint64_t ino, struct rig_asked *a)
{
    rig_release(rig);
    rig_wait(rig, a->done);
    assert_int_equal(a->code, 0);
    assert_waits(rig, ino, "");
}

static void what_a_reader_waits_for_is_explained(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = absent_file(rig);
    struct cloud_request *r;
    struct rig_asked a;

    assert_waits(rig, ino, "");
    rig->hold[CLOUD_GET] = true;
    begin_read(rig, ino, &a);
    rig_wait(rig, rig->n_held > 0);
    r = rig->held[0];
    assert_waits_like(rig, ino, READER "They were asked for * s ago.");
    r->content_length = 5;
    assert_waits_like(rig, ino, READER "They are coming: 5 of * bytes of the request are here.");
    r->content_length = 0;
    reach_lose(&rig->volume->tally->reach, &(struct error){ -EHOSTUNREACH, "No route." });
    assert_waits_like(rig, ino, READER "They were asked for * s ago, and the cloud does not answer. No route.");
    error_set(&r->trouble, -EHOSTUNREACH, "The connection broke.");
    assert_waits_like(rig, ino, READER "* s ago, and the cloud does not answer. The connection broke.");
    r->next_try_ns = loop_now_ns() + INT64_C(1000000000);
    assert_waits_like(rig, ino, READER "The connection broke. The next attempt is in [01] s.");
    r->next_try_ns = 0;
    end_read(rig, ino, &a);
}

/* Both are said: what the bucket lacks, and what a program lacks. */
static void a_reader_of_a_changed_file_is_explained(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = absent_file(rig);
    struct rig_asked a;

    rig->config->settle_milliseconds = 60000;
    assert_int_equal(worker_chmod(rig, ino, 0600), 0);
    rig->hold[CLOUD_GET] = true;
    begin_read(rig, ino, &a);
    rig_wait(rig, rig->n_held > 0);
    assert_waits_like(rig, ino, "It is waiting to settle: * or later. " READER "They were asked for * s ago.");
    rig_release(rig);
    rig_wait(rig, a.done);
}

static void a_reader_without_room_is_explained(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = absent_file(rig);
    struct space *space = &rig->volume->cache->space;
    struct rig_asked a;

    space->limit = 64 << 20;
    space->reserved += space->limit;
    begin_read(rig, ino, &a);
    rig_wait(rig, cache_find(rig->volume->cache, ino) && cache_find(rig->volume->cache, ino)->fetch.space);
    assert_waits_like(rig, ino, READER "The cache has no room for them, and nothing in it can go now.");
    space->reserved -= space->limit;
    space_changed(rig->volume->cache);
    end_read(rig, ino, &a);
}

/* A file has eight requests under way at most. */
static void a_reader_in_the_queue_is_explained(void **state)
{
    enum { MOST = 8 };
    struct rig *rig = *state;
    uint64_t ino = absent_file(rig);
    struct rig_asked before[MOST], a;

    rig->hold[CLOUD_GET] = true;
    for (uint64_t n = 0; n < MOST; n++)
        begin(rig, ino, true, LENGTH - (n + 1) * STEP, &before[n]);   /* backwards: nothing is fetched ahead */
    rig_wait(rig, rig->n_held == MOST);
    assert_waits_like(rig, ino, "A program that writes to it waits for the bytes 8388608 to 8388617, *");
    begin_read(rig, ino, &a);
    rig_linger(rig);
    assert_waits_like(rig, ino, READER "They are in the queue behind 8 requests for other bytes of it.");
    end_read(rig, ino, &a);
    for (int n = 0; n < MOST; n++)
        rig_wait(rig, before[n].done);
}

static void conflict_names_are_read(void **state)
{
    static const char *const none[] = {
        "", "a (conflict ).txt", "a (conflict host).txt", "a (conflict host 2026-01-02 03-04-05.txt",
        "a (conflict host 2026-01-02 03:04:05).txt", "a(conflict host 2026-01-02 03-04-05)",
        "a (conflict  2026-01-02 03-04-05)",
    };
    struct tm when = { .tm_year = 126, .tm_mon = 10, .tm_mday = 2, .tm_hour = 3 };
    char name[CONFLICT_NAME_MAX + 1];
    struct conflict_copy c;

    (void)state;
    for (unsigned n = 1; n < 3; n++) {
        assert_int_equal(conflict_name("a b.txt", "host-1", &when, n, 255, name), 0);
        assert_true(conflict_read_name(name, &c));
        assert_string_equal(c.name, "a b.txt");
        assert_string_equal(c.host, "host-1");
        assert_string_equal(c.when, "2026-11-02 03-00-00");
    }
    for (size_t i = 0; i < ARRAY_SIZE(none); i++)
        assert_false(conflict_read_name(none[i], &c));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_asks_hears_of_what_has_the_name_at_last),
        TEST(what_is_there_is_told_at_once),
        TEST(a_file_is_waited_for_until_its_object_is_there),
        TEST(others_do_not_matter),
        TEST(removals_and_renames_count_for_the_directory),
        TEST(what_was_moved_away_counts_for_where_it_was),
        TEST(a_renamed_directory_is_there_when_all_has_moved),
        TEST(time_is_over_with_the_reason),
        TEST(a_removed_file_is_not_waited_for),
        TEST(a_closed_volume_lets_nobody_wait),
        TEST(what_does_not_pass_by_itself_ends_the_waiting),
        TEST(what_is_refused_does_not_hide_what_is_on_its_way),
        cmocka_unit_test_setup_teardown(a_deletion_that_the_cloud_refuses_ends_the_waiting, rig_set_up_folder,
                                        rig_tear_down),
        TEST(what_may_pass_is_waited_for),
        TEST(a_paused_drive_stands_in_the_way),
        TEST(a_new_file_is_explained),
        TEST(ranges_and_what_they_came_for),
        TEST(what_a_reader_waits_for_is_explained),
        TEST(a_reader_of_a_changed_file_is_explained),
        TEST(a_reader_without_room_is_explained),
        TEST(a_reader_in_the_queue_is_explained),
        TEST(conflict_names_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
