/* A cloud that is out of reach: who finds it out, who waits, and what follows when it is back. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "syncd/listing.h"
#include "syncd/tally.h"

static int64_t now_ms(void)
{
    return loop_now_ns() / 1000000;
}

/* --- visitors --------------------------------------------------------------------------------------------- */

struct visitor {
    bool done;
    int code;
    int64_t since_ms, ms;
    unsigned turns;          /* of the loop: each takes 100 ms at most where the machine does not stand still */
};

static void on_done(const struct error *e, void *arg)
{
    struct visitor *v = arg;

    v->done = true;
    v->code = e->code;
    v->ms = now_ms() - v->since_ms;
}

static struct visitor *visit(struct rig *rig, uint64_t dir, struct visitor *v)
{
    *v = (struct visitor){ .since_ms = now_ms() };
    lister_ensure(rig->volume->lister, dir, on_done, v);
    return v;
}

static void wait_for(struct rig *rig, struct visitor *v)
{
    rig_wait_begin(rig);
    for (v->turns = 0; !v->done; v->turns++)
        rig_turn(rig, "the end of a visit");
}

static void grow_old(struct rig *rig, uint64_t dir)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    assert_int_equal(index_get(rig->volume->index, dir, &i), 0);
    i.listed_ns = 1;
    assert_int_equal(index_update(rig->volume->index, &i), 0);
}

enum { DIRS = 3 };

/* Directories whose listings are due. */
static void prepare(struct rig *rig, uint64_t dirs[DIRS])
{
    char name[8];

    for (int n = 0; n < DIRS; n++) {
        snprintf(name, sizeof(name), "d%d/f", n);
        rig_put(rig, name, "x", 1);
    }
    rig_relist(rig, INDEX_ROOT);
    for (int n = 0; n < DIRS; n++) {
        snprintf(name, sizeof(name), "d%d", n);
        dirs[n] = worker_find(rig, name);
        rig_relist(rig, dirs[n]);
        grow_old(rig, dirs[n]);
    }
    rig_idle(rig);
    rig_reset_counts(rig);
}

static void assert_at_once(struct rig *rig, uint64_t dir)
{
    struct visitor v;

    visit(rig, dir, &v);
    assert_true(v.done);
    assert_int_equal(v.code, 0);
}

static void release(void *arg)
{
    rig_release(arg);
}

static struct reach *reach_of(struct rig *rig)
{
    return &rig->volume->tally->reach;
}

static bool is_known(struct rig *rig, uint64_t dir, const char *name)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_find(rig->volume->index, dir, name, strlen(name), &i) == 0;
}

/* As if it were asked all the time whether the cloud is there: while the test looks nothing more is due. */
static void ask_no_more(struct rig *rig)
{
    rig->volume->lister->probed_ns = loop_now_ns() + INT64_C(60000000000);
}

/* --- out of reach ------------------------------------------------------------------------------------------ */

/* Whatever the request was for that could not reach it. */
static void nobody_waits_after_any_request_failed(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];

    prepare(rig, dirs);
    rig->fault = rig_unreachable;
    (void)worker_file(rig, "new", "bytes", 5);
    rig_wait(rig, rig->counts[CLOUD_PUT] > 0 && reach_lost(reach_of(rig)));
    ask_no_more(rig);
    for (int n = 0; n < DIRS; n++)
        assert_at_once(rig, dirs[n]);
    assert_int_equal(rig->counts[CLOUD_LIST], 0);
}

static void who_waits_goes_on_when_any_request_failed(void **state)
{
    struct rig *rig = *state;
    struct visitor v[2];
    uint64_t dirs[DIRS];

    prepare(rig, dirs);
    rig->hold[CLOUD_LIST] = true;
    visit(rig, dirs[0], &v[0]);
    visit(rig, dirs[1], &v[1]);
    assert_false(v[0].done || v[1].done);
    rig->fault = rig_unreachable;
    (void)worker_file(rig, "new", "bytes", 5);
    rig_wait(rig, reach_of(rig)->trouble.code == -EHOSTUNREACH);
    rig_linger(rig);
    assert_true(v[0].done && v[1].done);   /* the least patience is 500 ms */
    assert_int_equal(v[0].code, 0);
    rig_release(rig);
}

/* One patience for all, and a short one where listings come fast. */
static void a_silent_cloud_is_waited_for_once(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];
    struct visitor v;

    prepare(rig, dirs);
    rig->hold[CLOUD_LIST] = true;
    visit(rig, dirs[0], &v);
    assert_false(v.done);
    wait_for(rig, &v);
    assert_int_equal(v.code, 0);
    assert_true(v.ms >= 450 && v.turns <= 15);
    assert_at_once(rig, dirs[1]);
    rig_wait(rig, reach_lost(reach_of(rig)));
    ask_no_more(rig);
    rig_reset_counts(rig);
    assert_at_once(rig, dirs[2]);
    assert_int_equal(rig->counts[CLOUD_LIST], 0);
    rig_release(rig);
    rig_wait(rig, !reach_lost(reach_of(rig)));
}

/* What was never listed is another matter. */
static void what_was_never_listed_is_still_asked_for(void **state)
{
    struct rig *rig = *state;
    struct visitor v;

    rig_put(rig, "d/f", "x", 1);
    rig_relist(rig, INDEX_ROOT);
    reach_lose(reach_of(rig), &(struct error){ .code = -EHOSTUNREACH });
    visit(rig, worker_find(rig, "d"), &v);
    assert_false(v.done);
    rig_wait(rig, v.done);
    assert_int_equal(v.code, 0);
    assert_true(is_known(rig, worker_find(rig, "d"), "f"));
    assert_false(reach_lost(reach_of(rig)));
}

/* The listing takes so long. Whether the visitor finds "new" there. */
static bool visit_slowly(struct rig *rig, uint64_t dir, uint64_t ms, struct visitor *v)
{
    struct loop_timer *t;
    bool found;

    rig->hold[CLOUD_LIST] = true;
    visit(rig, dir, v);
    t = loop_timer(rig->loop, ms, release, rig);
    wait_for(rig, v);
    found = is_known(rig, dir, "new");
    rig_wait(rig, rig->n_held == 0);
    loop_timer_free(t);
    rig_idle(rig);
    return found;
}

/* The cloud is slow today, and well. A machine that stands still until patience is over gets another chance. */
static void a_slow_cloud_has_its_names_waited_for(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];
    struct visitor v;
    bool found = false;

    prepare(rig, dirs);
    (void)visit_slowly(rig, dirs[0], 300, &v);
    rig_put(rig, "d1/new", "x", 1);
    rig_put(rig, "d2/new", "x", 1);
    for (int n = 1; n < DIRS && !found; n++) {
        found = visit_slowly(rig, dirs[n], 700, &v);
        assert_true(v.ms >= 650 && v.turns <= 15);
    }
    assert_true(found);
}

/* Other answers come, this one does not yet: that is no silence. */
static void while_others_are_answered_a_listing_has_its_time(void **state)
{
    struct rig *rig = *state;
    int64_t silent_ms = 0;
    uint64_t dirs[DIRS];
    struct visitor v;

    prepare(rig, dirs);
    rig->hold[CLOUD_LIST] = true;
    visit(rig, dirs[0], &v);
    rig_wait_begin(rig);
    for (v.turns = 0; !v.done; v.turns++) {
        int64_t heard_ms = now_ms();

        reach_heard(reach_of(rig));
        rig_turn(rig, "an end of patience");
        silent_ms = now_ms() - heard_ms > silent_ms ? now_ms() - heard_ms : silent_ms;
    }
    if (silent_ms < 400) {   /* else the machine stood still, and that was a silence */
        assert_true(v.ms >= 1900 && v.turns <= 35);
        assert_false(reach_lost(reach_of(rig)));
    }
    rig_release(rig);
}

/* --- back ------------------------------------------------------------------------------------------------------ */

/* Nobody has to come by for it. */
static void what_is_due_is_listed_when_the_cloud_is_back(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];

    prepare(rig, dirs);
    rig->fault = rig_unreachable;
    reach_lose(reach_of(rig), &(struct error){ .code = -EHOSTUNREACH });
    for (int n = 0; n < DIRS; n++)
        assert_at_once(rig, dirs[n]);
    rig_put(rig, "d0/new", "x", 1);
    rig_put(rig, "d2/new", "x", 1);
    rig->fault = NULL;
    (void)worker_file(rig, "ours", "bytes", 5);   /* is sent, which tells */
    rig_wait(rig, is_known(rig, dirs[0], "new") && is_known(rig, dirs[2], "new"));
}

/* A listing that nobody answered says nothing about how long one takes, by which the next one would be put off. */
static void a_listing_that_was_lost_puts_off_none(void **state)
{
    struct rig *rig = *state;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    uint64_t dirs[DIRS];
    struct visitor v;

    prepare(rig, dirs);
    rig->volume->drive->has_sync_interval_seconds = true;
    rig->volume->drive->sync_interval_seconds = 1;
    assert_int_equal(index_get(rig->volume->index, dirs[0], &i), 0);
    i.listed_ns = loop_wall_ns() - INT64_C(2) * 1000000000;
    assert_int_equal(index_update(rig->volume->index, &i), 0);
    rig->hold[CLOUD_LIST] = true;
    visit(rig, dirs[0], &v);
    rig_wait(rig, now_ms() - v.since_ms > 2500);
    assert_true(v.done && reach_lost(reach_of(rig)));
    cloud_cancel(rig->cloud, rig->held[0]);
    rig->hold[CLOUD_LIST] = false;
    rig_put(rig, "d0/new", "x", 1);
    rig_idle(rig);
    (void)worker_file(rig, "ours", "bytes", 5);
    rig_wait(rig, is_known(rig, dirs[0], "new"));
}

/* Nothing else asks the cloud anything: then those who come by have it asked, all of them together and once a second. */
static void a_small_question_finds_out(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];
    int64_t since = now_ms();

    prepare(rig, dirs);
    rig->fault = rig_unreachable;
    reach_lose(reach_of(rig), &(struct error){ .code = -EHOSTUNREACH });
    rig_wait_begin(rig);
    while (rig->counts[CLOUD_LIST] < 2) {
        for (int n = 0; n < DIRS; n++)
            assert_at_once(rig, dirs[n]);
        rig_turn(rig, "two questions");
    }
    assert_true(now_ms() - since >= 1900);
    rig->fault = NULL;
    rig_put(rig, "d1/new", "x", 1);
    rig_wait_begin(rig);
    while (!is_known(rig, dirs[1], "new")) {
        if (reach_lost(reach_of(rig)))
            assert_at_once(rig, dirs[0]);
        rig_turn(rig, "the news");
    }
}

static void a_paused_drive_asks_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];

    prepare(rig, dirs);
    volume_pause(rig->volume, true);
    reach_lose(reach_of(rig), &(struct error){ .code = -EHOSTUNREACH });
    rig_idle(rig);
    rig->volume->lister->probed_ns = 0;
    assert_at_once(rig, dirs[0]);
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_LIST], 0);
}

/* A night without network, and nobody there. */
static void what_is_lost_is_looked_for_by_itself(void **state)
{
    struct rig *rig = *state;
    uint64_t dirs[DIRS];

    prepare(rig, dirs);
    rig->volume->lister->look_again_ms = 1200;   /* behind the rest of questions */
    rig->fault = rig_unreachable;
    reach_lose(reach_of(rig), &(struct error){ .code = -EHOSTUNREACH });
    rig_wait(rig, rig->counts[CLOUD_LIST] >= 2);
    assert_true(reach_lost(reach_of(rig)));
    rig->fault = NULL;
    rig_wait(rig, !reach_lost(reach_of(rig)));
}

/* --- what is changed before its metadata is known ---------------------------------------------------------------- */

static struct cloud_meta foreign(void)
{
    static struct cloud_xattr colour = { (char *)(uintptr_t)"user.colour", (char *)(uintptr_t)"red", 3 };

    return (struct cloud_meta){ .has_mode = true, .mode = S_IFREG | 0700, .has_owner = true, .uid = 7, .gid = 8,
                                .has_mtime = true, .mtime_ns = 1000000007, .xattrs = &colour, .n_xattrs = 1 };
}

/* A file of somebody else's that a listing without metadata has told of. */
static uint64_t unsettled(struct rig *rig)
{
    struct cloud_meta meta = foreign();
    uint64_t ino;

    rig_put_with(rig, "a", "bytes", 5, &meta);
    rig_relist(rig, INDEX_ROOT);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_forget_meta(rig, ino);
    assert_int_equal(index_xattr_remove(rig->volume->index, ino, "user.colour"), 0);
    return ino;
}

static void lose(struct rig *rig)
{
    rig->fault = rig_unreachable;
    reach_lose(reach_of(rig), &(struct error){ .code = -EHOSTUNREACH });
}

/* All but the time, which is what the index says: the local one. */
static void assert_foreign(struct rig *rig, const char *key, uint64_t ino, uint32_t mode)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cloud_request *r;

    rig_settle(rig);
    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    r = rig_stat(rig, key);
    assert_int_equal(r->object.meta.mode, mode);
    assert_int_equal(r->object.meta.uid, 7);
    assert_int_equal(r->object.meta.gid, 8);
    assert_int_equal(r->object.meta.n_xattrs, 1);
    assert_string_equal(r->object.meta.xattrs[0].name, "user.colour");
    assert_int_equal(r->object.meta.mtime_ns, i.mtime_ns);
    assert_int_not_equal(i.mtime_ns, foreign().mtime_ns);
    assert_int_equal(i.mode, mode);
    cloud_request_free(r);
}

static void overwrite(struct rig *rig, uint64_t ino)
{
    struct handle h;

    assert_int_equal(worker_open(rig, ino, true, true, &h), 0);
    worker_write(rig, &h, 0, "other", 5);
    worker_close(rig, &h);
}

static void bytes_written_offline_leave_the_metadata(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = unsettled(rig);

    lose(rig);
    overwrite(rig, ino);
    rig_come_back(rig);
    assert_foreign(rig, "a", ino, S_IFREG | 0700);
    assert_object(rig, "a", "other", 5);
}

static void so_do_a_new_name_and_a_crash(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = unsettled(rig);

    lose(rig);
    overwrite(rig, ino);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_reopen(rig);
    rig_come_back(rig);
    assert_foreign(rig, "b", ino, S_IFREG | 0700);
    assert_keys(rig, "b ");
}

static void and_a_time_that_is_set(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = unsettled(rig);
    struct cloud_request *r;

    lose(rig);
    assert_int_equal(worker_touch(rig, ino, 12000000000), 0);
    rig_come_back(rig);
    assert_foreign(rig, "a", ino, S_IFREG | 0700);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mtime_ns, 12000000000);
    cloud_request_free(r);
}

/* It could not be told from what a listing made up. */
static void a_mode_is_set_only_of_what_is_known(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = unsettled(rig);

    lose(rig);
    overwrite(rig, ino);
    assert_int_not_equal(worker_chmod(rig, ino, 0640), 0);
    rig->fault = NULL;
    reach_heard(reach_of(rig));
    rig->volume->lister->failed_ns = 0;
    assert_int_equal(worker_chmod(rig, ino, 0640), 0);
    rig_come_back(rig);
    assert_foreign(rig, "a", ino, S_IFREG | 0640);
    assert_object(rig, "a", "other", 5);
}

/* Nothing is left to be known. */
static void what_the_cloud_lost_goes_up_as_it_is(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = unsettled(rig);

    lose(rig);
    overwrite(rig, ino);
    rig_remove(rig, "a");
    rig_come_back(rig);
    rig_settle(rig);
    assert_object(rig, "a", "other", 5);
}

/* Half a second of silence is enough for who only looks. */
static void a_change_waits_for_a_slow_cloud(void **state)
{
    struct rig *rig = *state;
    Lf__FsSetattr m = LF__FS_SETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SETATTR, fs_setattr, &m);
    struct rig_asked a = { 0 };
    uint64_t ino = unsettled(rig);
    struct visitor v;

    grow_old(rig, INDEX_ROOT);
    rig->hold[CLOUD_LIST] = rig->hold[CLOUD_STAT] = true;
    visit(rig, INDEX_ROOT, &v);
    rig_wait(rig, v.done);
    reach_of(rig)->silent_ns = loop_now_ns() - INT64_C(500000000);   /* and no longer, however long that took */
    assert_false(reach_lost(reach_of(rig)));
    assert_true(lister_failing(rig->volume->lister));
    m.ino = ino;
    m.has_size = true;
    m.size = 3;
    rig_reset_counts(rig);
    rig_send(rig, &env, &a);
    rig_wait(rig, rig->counts[CLOUD_STAT] == 1);
    assert_false(a.done);
    rig_release(rig);
    rig_wait(rig, a.done);
    assert_int_equal(a.code, 0);
    assert_foreign(rig, "a", ino, S_IFREG | 0700);
}

/* --- what requests tell ------------------------------------------------------------------------------------------ */

static void end_request(struct reach *w, enum cloud_op op, int64_t submitted_ns, int code)
{
    struct cloud_request r = { .op = op, .submitted_ns = submitted_ns, .error = { .code = code } };

    reach_ended(w, &r);
}

static void requests_tell_whether_it_answers(void **state)
{
    static const struct { int code; bool lost, back; } rows[] = {
        { 0, false, true }, { -ENOENT, false, true }, { -EHOSTUNREACH, true, false }, { -ETIMEDOUT, true, false },
        { -EACCES, false, false }, { -EAGAIN, false, false }, { -EREMOTEIO, false, false }, { -ECANCELED, false, false },
        { -EIO, false, false },
    };

    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
        struct reach w = { 0 };

        end_request(&w, CLOUD_PUT, loop_now_ns(), rows[n].code);
        assert_int_equal(reach_lost(&w), rows[n].lost);
        reach_lose(&w, &(struct error){ .code = -EHOSTUNREACH });
        end_request(&w, CLOUD_PUT, loop_now_ns(), rows[n].code);
        assert_int_equal(reach_lost(&w), !rows[n].back);
    }
}

/* A request with a short deadline, behind many others that are answered. */
static void who_was_heard_since_is_not_out_of_reach(void **state)
{
    struct reach w = { 0 };
    int64_t before = loop_now_ns();

    (void)state;
    reach_heard(&w);
    end_request(&w, CLOUD_PUT, before, -ETIMEDOUT);
    assert_false(reach_lost(&w));
}

static void nobody_is_silent_who_was_not_asked(void **state)
{
    struct cloud_request list = { .op = CLOUD_LIST }, copy = { .op = CLOUD_COPY };
    struct reach w = { 0 };

    (void)state;
    reach_asked(&w, &copy);
    assert_int_equal(w.silent_ns, 0);
    reach_asked(&w, &list);
    assert_true(w.silent_ns > 0);
    w.silent_ns = loop_now_ns() - INT64_C(3000000000);
    assert_true(reach_patience_ms(&w) < 0);
    list.error.code = -ECANCELED;
    reach_ended(&w, &list);
    assert_false(reach_lost(&w));
    assert_true(reach_patience_ms(&w) > 0);
}

/* One connection more may be refused by a cloud that is busy with the others. */
static void a_refused_connection_counts_after_silence_only(void **state)
{
    static const struct error refused = { .code = -EHOSTUNREACH };
    struct reach w = { 0 };
    int64_t now = loop_now_ns();

    (void)state;
    reach_heard(&w);
    reach_missed(&w, loop_now_ns() + 1, &refused);
    assert_false(reach_lost(&w));
    w.heard_ns = now - INT64_C(1000000000);
    reach_missed(&w, now - INT64_C(2000000000), &refused);   /* heard since */
    assert_false(reach_lost(&w));
    reach_missed(&w, now, &refused);
    assert_true(reach_lost(&w));
}

static void what_is_sent_is_no_silence_and_no_answer(void **state)
{
    struct cloud_request list = { .op = CLOUD_LIST };
    struct reach w = { 0 };

    (void)state;
    reach_sent(&w);
    assert_int_equal(w.silent_ns, 0);
    reach_asked(&w, &list);
    w.silent_ns = loop_now_ns() - INT64_C(1900000000);
    assert_true(reach_patience_ms(&w) <= 0);
    reach_sent(&w);
    assert_true(reach_patience_ms(&w) > 0);
    reach_lose(&w, &(struct error){ .code = -EHOSTUNREACH });
    reach_sent(&w);
    assert_true(reach_lost(&w));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_waits_after_any_request_failed),
        TEST(who_waits_goes_on_when_any_request_failed),
        TEST(a_silent_cloud_is_waited_for_once),
        TEST(what_was_never_listed_is_still_asked_for),
        TEST(a_slow_cloud_has_its_names_waited_for),
        TEST(while_others_are_answered_a_listing_has_its_time),
        TEST(what_is_due_is_listed_when_the_cloud_is_back),
        TEST(a_listing_that_was_lost_puts_off_none),
        TEST(a_small_question_finds_out),
        TEST(a_paused_drive_asks_nothing),
        TEST(what_is_lost_is_looked_for_by_itself),
        TEST(bytes_written_offline_leave_the_metadata),
        TEST(so_do_a_new_name_and_a_crash),
        TEST(and_a_time_that_is_set),
        TEST(a_mode_is_set_only_of_what_is_known),
        TEST(what_the_cloud_lost_goes_up_as_it_is),
        TEST(a_change_waits_for_a_slow_cloud),
        cmocka_unit_test(requests_tell_whether_it_answers),
        cmocka_unit_test(who_was_heard_since_is_not_out_of_reach),
        cmocka_unit_test(nobody_is_silent_who_was_not_asked),
        cmocka_unit_test(a_refused_connection_counts_after_silence_only),
        cmocka_unit_test(what_is_sent_is_no_silence_and_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
