/* Transfers that a drive makes by itself, and that somebody pauses, resumes or cancels. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/fetch_turns.h"
#include "syncd/transfer_internal.h"

enum { MIB = 1 << 20, PART = 16 * MIB, SIZE = 5 * PART + 99 };

static struct transfers *all;

/* Of which transfers tell. */
static void add_account(struct rig *rig)
{
    static Lf__CloudAccount account = LF__CLOUD_ACCOUNT__INIT;

    rig->drive.account = &account;
}

static int watch(struct rig *rig)
{
    all = transfers_new(rig->loop, NULL);
    rig->volume->spec.transfers = all;
    return 0;
}

static int set_up(void **state)
{
    return rig_set_up_with(add_account, state) || watch(*state);
}

static int set_up_folder(void **state)
{
    char dir[] = "/var/tmp/test_hold.XXXXXX";

    assert_non_null(mkdtemp(dir));
    return rig_set_up_in(dir, add_account, state) || watch(*state);
}

static int tear_down(void **state)
{
    int r = rig_tear_down(state);

    transfers_free(all);
    return r;
}

static void reopen(struct rig *rig)
{
    rig_reopen(rig);
    rig->volume->spec.transfers = all;
}

/* The one that is not over; NULL: none is. */
static struct transfer *current(void)
{
    struct transfer *t;

    TAILQ_FOREACH(t, &all->list, next)
        if (!is_over(t))
            break;
    return t;
}

static void pause_it(struct transfer *t)
{
    struct error e = { 0 };

    if (t->control->pause(t->arg, &e) < 0)
        fail_msg("%s", error_text(&e));
}

/* As transfer_api.c asks. */
static void ask_pause(struct transfer *t)
{
    pause_it(t);
    transfer_turn(t, TRANSFER_PAUSED);
}

static void ask_resume(struct transfer *t)
{
    struct error e = { 0 };

    assert_int_equal(t->control->resume(t->arg, &e), 0);
    transfer_turn(t, TRANSFER_RUNNING);
}

static void ask_cancel(struct transfer *t)
{
    struct error e = { 0 };

    if (t->control->cancel(t->arg, &e) < 0)
        fail_msg("%s", error_text(&e));
    assert_int_equal(t->status, TRANSFER_CANCELED);
}

/* --- uploads -------------------------------------------------------------------------------------------- */

/* A new file of which some parts are on their way. Its transfer. */
static struct transfer *begin(struct rig *rig, const char *name, const char *bytes, uint64_t *ret_ino)
{
    rig->hold[CLOUD_PART_PUT] = true;
    *ret_ino = worker_file(rig, name, bytes, SIZE);
    rig_wait(rig, rig->n_held == UPLOAD_PARALLEL);
    assert_non_null(current());
    assert_int_equal(current()->mode, TRANSFER_UPLOAD);
    return current();
}

/* The same, paused, and what was on its way has ended. */
static struct transfer *begin_paused(struct rig *rig, const char *bytes, uint64_t *ret_ino)
{
    struct transfer *t = begin(rig, "a", bytes, ret_ino);

    ask_pause(t);
    rig_release(rig);
    return t;
}

/* And canceled. Its inode. */
static uint64_t begin_canceled(struct rig *rig, const char *bytes)
{
    uint64_t ino;

    ask_cancel(begin(rig, "a", bytes, &ino));
    rig_release(rig);
    return ino;
}

static void assert_rests(struct rig *rig)
{
    rig_idle(rig);
    rig_reset_counts(rig);
    uploader_kick(rig->volume->uploader);
    rig_linger(rig);
    for (unsigned op = 0; op < CLOUD_OP_COUNT; op++)
        assert_int_equal(rig->counts[op], 0);
    assert_true(volume_pending(rig->volume) > 0);
}

static void synchronise(struct rig *rig)
{
    struct error e;

    assert_int_equal(volume_sync(rig->volume, "", &e), 0);
}

static char *state_of(struct rig *rig, uint64_t ino)
{
    Lf__Explanation *e = volume_explain(rig->volume, ino);
    char *state = xstrdup(e->state);

    lf__explanation__free_unpacked(e, NULL);
    return state;
}

static void assert_state(struct rig *rig, uint64_t ino, const char *begins)
{
    CLEANUP_FREE char *state = state_of(rig, ino);

    if (strncmp(state, begins, strlen(begins)) != 0)
        fail_msg("%s is not %s", state, begins);
}

static void a_paused_upload_sends_nothing_and_goes_on(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;

    t = begin_paused(rig, bytes, &ino);
    assert_rests(rig);
    assert_int_equal(rig_uploads(rig), 1);
    assert_int_equal(current(), t);
    assert_state(rig, ino, "dirty");
    synchronise(rig);
    assert_rests(rig);
    ask_resume(t);
    rig_settle(rig);
    assert_int_equal(t->status, TRANSFER_COMPLETED);
    assert_int_equal(t->moved, SIZE);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 0);   /* the same upload */
    assert_object(rig, "a", bytes, SIZE);
    assert_int_equal(rig_uploads(rig), 0);
}

static void what_is_written_meanwhile_is_what_is_sent(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1), *other = pattern(PART + 5, 2);
    struct transfer *t;
    uint64_t ino;

    t = begin_paused(rig, bytes, &ino);
    worker_overwrite(rig, "a", other, PART + 5);
    assert_rests(rig);
    ask_resume(t);
    ask_pause(t);   /* before it has begun */
    assert_rests(rig);
    ask_resume(t);
    rig_settle(rig);
    assert_int_equal(t->status, TRANSFER_COMPLETED);
    assert_object(rig, "a", other, PART + 5);
    assert_int_equal(rig_uploads(rig), 0);
}

static void a_pause_ends_with_the_drive(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;

    t = begin_paused(rig, bytes, &ino);
    rig_idle(rig);
    reopen(rig);
    assert_int_equal(t->status, TRANSFER_CANCELED);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
}

static void a_paused_file_may_go(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;

    t = begin_paused(rig, bytes, &ino);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_settle(rig);
    rig_wait(rig, t->status == TRANSFER_CANCELED);
    rig_wait(rig, rig_uploads(rig) == 0);
    assert_keys(rig, "");
}

static void a_canceled_upload_leaves_nothing_there_and_all_here(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino = begin_canceled(rig, bytes);

    rig_wait(rig, rig_uploads(rig) == 0);
    assert_rests(rig);
    assert_keys(rig, "");
    assert_state(rig, ino, "error: Its upload was canceled");
    reopen(rig);
    assert_rests(rig);
    assert_state(rig, ino, "error: Its upload was canceled");
    worker_assert_reads(rig, ino, bytes, SIZE);
    synchronise(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
    assert_state(rig, ino, "clean");
}

/* While the cloud is asked to end the parts, which is no removal of a key. */
static void what_else_there_is_is_sent_meanwhile(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;

    t = begin(rig, "a", bytes, &ino);
    rig->hold[CLOUD_PART_PUT] = false;
    rig->hold[CLOUD_PART_ABORT] = true;
    ask_cancel(t);
    rig_wait(rig, rig->n_held == 1);
    (void)worker_file(rig, "b", "other", 5);
    rig_wait(rig, rig_files(rig) == 1);
    assert_object(rig, "b", "other", 5);
    rig_release(rig);
    rig_wait(rig, rig_uploads(rig) == 0);
}

static void a_canceled_upload_is_sent_once_it_is_written_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino = begin_canceled(rig, bytes);

    assert_rests(rig);
    assert_int_equal(worker_chmod(rig, ino, 0600), 0);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_rests(rig);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 5, "changed", 7);
    memcpy(bytes + 5, "changed", 7);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "b", bytes, SIZE);
    assert_keys(rig, "b ");
    assert_int_equal(rig_uploads(rig), 0);
}

static void a_canceled_upload_is_sent_once_it_is_cut(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino = begin_canceled(rig, bytes);

    assert_rests(rig);
    assert_int_equal(worker_truncate(rig, ino, 1000), 0);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 1000);
}

static void what_is_paused_can_be_canceled(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;

    t = begin_paused(rig, bytes, &ino);
    assert_rests(rig);
    ask_cancel(t);
    rig_wait(rig, rig_uploads(rig) == 0);
    assert_rests(rig);
    assert_state(rig, ino, "error: Its upload was canceled");
}

static int no_aborts(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PART_ABORT && !after ? -EHOSTUNREACH : 0;
}

static void parts_of_a_canceled_upload_end_after_a_crash(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);

    rig->fault = no_aborts;
    (void)begin_canceled(rig, bytes);
    rig_wait(rig, rig->counts[CLOUD_PART_ABORT] > 0);
    rig_idle(rig);
    assert_int_equal(rig_uploads(rig), 1);
    rig->fault = NULL;
    reopen(rig);
    rig_wait(rig, rig_uploads(rig) == 0);
    assert_rests(rig);
    synchronise(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, SIZE);
}

static void what_is_being_put_in_place_cannot_be_stopped(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct error e;

    rig->hold[CLOUD_PART_END] = true;
    (void)worker_file(rig, "a", bytes, SIZE);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(current()->control->pause(current()->arg, &e), -EBADMSG);
    assert_int_equal(current()->control->cancel(current()->arg, &e), -EBADMSG);
    assert_non_null(strstr(e.text, "put in place"));
    rig_release(rig);
    rig_settle(rig);
    assert_null(current());
    assert_object(rig, "a", bytes, SIZE);
}

/* In one piece the answer alone may be missing: the object is ours all the same. */
static int stop_when_it_is_there(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    if (r->op == CLOUD_PUT && after && current())
        ask_cancel(current());
    return 0;
}

static void an_object_that_got_there_nevertheless_is_no_conflict(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(2 * MIB, 1);
    uint64_t ino;

    rig->fault = stop_when_it_is_there;
    ino = worker_file(rig, "a", bytes, 2 * MIB);
    rig_wait(rig, rig_files(rig) == 1 && !current());
    rig->fault = NULL;
    assert_rests(rig);
    assert_int_equal(worker_truncate(rig, ino, MIB + 1), 0);
    rig_settle(rig);
    assert_object(rig, "a", bytes, MIB + 1);
    assert_keys(rig, "a ");
}

/* It was put together and nobody heard of it; the next try, which would have seen that, is canceled. */
static int lose_the_end(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PART_END && after ? -EHOSTUNREACH : 0;
}

static void parts_that_were_put_together_unheard_are_no_conflict(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1), *other = pattern(SIZE, 2);
    uint64_t ino;

    rig->fault = lose_the_end;
    rig->hold[CLOUD_PART_LIST] = true;
    ino = worker_file(rig, "a", bytes, SIZE);
    rig_wait(rig, rig->n_held == 1);
    assert_object(rig, "a", bytes, SIZE);
    rig->fault = NULL;
    ask_cancel(current());
    rig_release(rig);
    assert_rests(rig);
    assert_state(rig, ino, "error: Its upload was canceled");
    worker_overwrite(rig, "a", other, SIZE);
    rig_settle(rig);
    assert_object(rig, "a", other, SIZE);
    assert_keys(rig, "a ");
}

static void what_is_paused_again_and_again_goes_on(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;

    t = begin(rig, "a", bytes, &ino);
    for (int n = 0; n < 2 * rig->config->upload_slots; n++) {
        ask_pause(t);
        rig_idle(rig);
        ask_resume(t);
        rig_wait(rig, uploader_busy(rig->volume->uploader, ino));
    }
    rig_release(rig);
    rig_settle(rig);
    assert_int_equal(t->status, TRANSFER_COMPLETED);
    assert_object(rig, "a", bytes, SIZE);
}

static void a_new_file_may_have_the_name_of_a_canceled_one(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct handle h;
    uint64_t ino;

    ino = worker_file(rig, "a", bytes, SIZE);
    rig_settle(rig);
    rig->hold[CLOUD_PART_PUT] = true;
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 0, "changed", 7);
    worker_close(rig, &h);
    rig_wait(rig, rig->n_held == 1);
    ask_cancel(current());
    rig_release(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    (void)worker_file(rig, "a", "new", 3);
    rig_wait(rig, volume_pending(rig->volume) == 1);
    assert_object(rig, "a", "new", 3);
    assert_object(rig, "b", bytes, SIZE);   /* as it was before */
    assert_rests(rig);
    synchronise(rig);
    rig_settle(rig);
    memcpy(bytes, "changed", 7);
    assert_object(rig, "b", bytes, SIZE);
}

struct told {
    unsigned n;
    bool stuck;
    char why[1024];
};

static void on_arrival(const struct error *e, const struct volume_arrival *a, void *arg)
{
    struct told *t = arg;

    assert_true(!e || !e->code);
    t->n++;
    t->stuck = a->stuck;
    (void)snprintf(t->why, sizeof(t->why), "%s", a->waits_for ? a->waits_for : "");
}

static void who_waits_for_it_waits_in_vain(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct told told = { 0 }, root = { 0 };
    struct transfer *t;
    uint64_t ino;

    t = begin(rig, "a", bytes, &ino);
    volume_await(rig->volume, ino, 60, on_arrival, &told);
    assert_int_equal(told.n, 0);
    ask_pause(t);
    assert_int_equal(told.n, 1);
    assert_true(told.stuck);
    assert_non_null(strstr(told.why, "paused"));
    rig_release(rig);
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "b", "small", 5);
    volume_await(rig->volume, INDEX_ROOT, 60, on_arrival, &root);   /* there is one that will arrive */
    assert_int_equal(root.n, 0);
    ask_cancel(t);
    volume_await(rig->volume, ino, 60, on_arrival, &told);
    assert_int_equal(told.n, 2);
    assert_non_null(strstr(told.why, "canceled"));
    rig_release(rig);
    rig_wait(rig, root.n == 1);   /* nothing else is left to wait for */
    assert_true(root.stuck);
    assert_int_equal(rig_files(rig), 1);
}

/* --- downloads ------------------------------------------------------------------------------------------ */

static void on_fetched(const struct error *e, void *arg)
{
    *(int *)arg = e->code ? e->code : 1;
}

/* An object that is being fetched because somebody said so. Its transfer. */
static struct transfer *fetch(struct rig *rig, const char *bytes, size_t n, uint64_t *ret_ino, int *told)
{
    rig_put(rig, "a", bytes, n);
    *ret_ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig->hold[CLOUD_GET] = true;
    *told = 0;
    volume_download(rig->volume, *ret_ino, 60, on_fetched, told);
    rig_wait(rig, rig->n_held > 1);
    assert_int_equal(current()->mode, TRANSFER_DOWNLOAD);
    return current();
}

static void assert_fetches_nothing(struct rig *rig)
{
    rig_idle(rig);
    rig_reset_counts(rig);
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void read_some(struct rig *rig, uint64_t ino, const char *bytes, uint64_t offset)
{
    CLEANUP_FREE char *there = xcalloc(1, 4096);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, offset, there, 4096), 4096);
    assert_memory_equal(there, bytes + offset, 4096);
    worker_close(rig, &h);
}

static void a_paused_download_holds_nobody_who_reads(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    uint64_t ino;
    int told;

    t = fetch(rig, bytes, SIZE, &ino, &told);
    ask_pause(t);
    rig_release(rig);
    assert_fetches_nothing(rig);
    read_some(rig, ino, bytes, SIZE - 10000);
    assert_true(rig->bytes[CLOUD_GET] < 4 * MIB);
    assert_fetches_nothing(rig);
    assert_int_equal(t->status, TRANSFER_PAUSED);
    assert_int_equal(told, 0);
    ask_resume(t);
    rig_wait(rig, told);
    assert_int_equal(told, 1);
    assert_int_equal(t->status, TRANSFER_COMPLETED);
    worker_assert_reads(rig, ino, bytes, SIZE);
}

/* Only what is on its way holds the file, and ends with the pause. */
static void what_nobody_waits_for_any_more_may_be_paused(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    int told = 0;

    rig_put(rig, "a", bytes, SIZE);
    assert_int_equal(index_get(rig->volume->index, worker_lookup(rig, INDEX_ROOT, "a"), &i), 0);
    rig->hold[CLOUD_GET] = true;
    assert_int_equal(cache_acquire(rig->volume->cache, &i, &f), 0);
    fetch_range(f, FETCH_STREAM, 0, SIZE, 1, on_fetched, &told);
    cache_release(f);
    rig_wait(rig, told);
    assert_int_equal(told, -ETIMEDOUT);
    assert_non_null(cache_find(rig->volume->cache, i.ino));
    pause_it(current());
    assert_null(cache_find(rig->volume->cache, i.ino));
    rig_release(rig);
    read_some(rig, i.ino, bytes, SIZE - 10000);
}

static void a_canceled_download_is_told_and_reads_go_on(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino;
    int told;

    ask_cancel(fetch(rig, bytes, SIZE, &ino, &told));
    rig_release(rig);
    rig_wait(rig, told);
    assert_int_equal(told, -ECANCELED);
    assert_fetches_nothing(rig);
    read_some(rig, ino, bytes, SIZE - 10000);
}

static void a_reader_in_the_midst_of_it_gets_its_bytes(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    Lf__FsFetch m = LF__FS_FETCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FETCH, fs_fetch, &m);
    struct rig_asked asked;
    uint64_t ino;
    int told;

    (void)fetch(rig, bytes, SIZE, &ino, &told);
    m.ino = ino;
    m.length = 4096;
    rig_send(rig, &env, &asked);
    rig_idle(rig);
    assert_false(asked.done);
    ask_cancel(current());
    rig_release(rig);
    rig_wait(rig, asked.done);
    assert_int_equal(asked.code, 0);
    rig_wait(rig, told == -ECANCELED);
}

static void pin(struct rig *rig, uint64_t ino)
{
    assert_int_equal(worker_set_pin(rig, ino, "1", 0), 0);
}

static void a_pin_that_is_canceled_comes_when_it_is_pinned_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino;

    rig_put(rig, "a", bytes, SIZE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig->hold[CLOUD_GET] = true;
    pin(rig, ino);
    rig_wait(rig, rig->n_held > 1);
    ask_cancel(current());
    rig_release(rig);
    keeper_kick(rig->volume);
    assert_fetches_nothing(rig);
    assert_false(rig_is_kept(rig, ino));
    assert_int_equal(worker_get_pin(rig, ino), 0);
    pin(rig, ino);
    rig_wait(rig, rig_is_kept(rig, ino));
}

/* Six objects below d/, and one beside it. */
static void put_some(struct rig *rig, uint64_t *ret_dir, uint64_t *ret_later)
{
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    char key[] = "d/0";

    for (; key[2] < '6'; key[2]++)
        rig_put(rig, key, bytes, MIB);
    rig_put(rig, "later", bytes, MIB);
    *ret_dir = worker_lookup(rig, INDEX_ROOT, "d");
    *ret_later = worker_lookup(rig, INDEX_ROOT, "later");
    rig->hold[CLOUD_GET] = true;
}

static unsigned count(enum transfer_status status)
{
    const struct transfer *t;
    unsigned n = 0;

    TAILQ_FOREACH(t, &all->list, next)
        n += t->status == status;
    return n;
}

static void ask_all(enum transfer_status from, void ask(struct transfer *t))
{
    struct transfer *t;

    TAILQ_FOREACH(t, &all->list, next)
        if (t->status == from)
            ask(t);
}

static void turn_all(struct rig *rig, enum transfer_status from, void ask(struct transfer *t))
{
    ask_all(from, ask);
    rig_release(rig);
}

/* Four of the six below the directory are paused, and the other two are here. */
static void pin_and_pause_four(struct rig *rig, uint64_t dir)
{
    pin(rig, dir);
    rig_wait(rig, count(TRANSFER_RUNNING) == 4);
    turn_all(rig, TRANSFER_RUNNING, ask_pause);
    rig_wait(rig, count(TRANSFER_COMPLETED) == 2);
}

static void pins_that_are_paused_let_others_come(void **state)
{
    struct rig *rig = *state;
    uint64_t dir, later;

    put_some(rig, &dir, &later);
    pin_and_pause_four(rig, dir);
    pin(rig, later);
    rig_wait(rig, rig_is_kept(rig, later));
    assert_int_equal(count(TRANSFER_PAUSED), 4);
    turn_all(rig, TRANSFER_PAUSED, ask_resume);
    rig_wait(rig, count(TRANSFER_COMPLETED) == 7);
    for (char name[] = "0"; *name < '6'; ++*name)
        assert_true(rig_is_kept(rig, worker_lookup(rig, dir, name)));
}

/* The same of what is fetched once: what else it fetches comes, then what was asked for behind it. */
static void downloads_that_are_paused_let_others_come(void **state)
{
    struct rig *rig = *state;
    uint64_t dir, later;
    int told = 0, told_later = 0;

    put_some(rig, &dir, &later);
    volume_download(rig->volume, dir, 0, on_fetched, &told);
    volume_download(rig->volume, later, 0, on_fetched, &told_later);
    rig_wait(rig, count(TRANSFER_RUNNING) == 4);
    turn_all(rig, TRANSFER_RUNNING, ask_pause);
    rig_wait(rig, count(TRANSFER_COMPLETED) == 3);
    assert_int_equal(count(TRANSFER_PAUSED), 4);
    turn_all(rig, TRANSFER_PAUSED, ask_resume);
    rig_wait(rig, count(TRANSFER_COMPLETED) == 7);
    rig_wait(rig, TAILQ_EMPTY(&rig->volume->downloads));
}

static size_t turns(struct rig *rig)
{
    const struct fetch_turns *t;
    size_t n = 0;

    LIST_FOREACH(t, &rig->volume->fetching, next)
        n += t->n;
    return n;
}

/* Another version is another file, which nobody has paused. */
static void a_paused_pin_is_replaced_in_the_cloud(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1), *newer = pattern(SIZE - PART, 2);
    uint64_t ino, replaced;

    rig_put(rig, "a", bytes, SIZE);
    replaced = worker_lookup(rig, INDEX_ROOT, "a");
    rig->hold[CLOUD_GET] = true;
    pin(rig, INDEX_ROOT);
    rig_wait(rig, rig->n_held > 1);
    ask_pause(current());
    rig_release(rig);
    rig_put(rig, "a", newer, SIZE - PART);
    rig_relist(rig, INDEX_ROOT);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_not_equal(ino, replaced);
    assert_null(cache_find(rig->volume->cache, replaced));
    keeper_kick(rig->volume);
    rig_wait(rig, rig_is_kept(rig, ino));
    rig_wait(rig, turns(rig) == 0);
    worker_assert_reads(rig, ino, newer, SIZE - PART);
}

/* More files below d/ than may be paused at a time, as many of them paused as may be. */
static void pause_most(struct rig *rig, uint64_t dir, void begin_all(struct rig *rig, uint64_t dir))
{
    rig->hold[CLOUD_GET] = true;
    begin_all(rig, dir);
    while (count(TRANSFER_PAUSED) < FETCH_TURNS_MOST) {
        rig_wait(rig, count(TRANSFER_RUNNING) == FETCH_TURNS_AT_ONCE);
        ask_all(TRANSFER_RUNNING, ask_pause);
    }
    rig_release(rig);
    assert_fetches_nothing(rig);
    assert_int_equal(turns(rig), FETCH_TURNS_MOST);
}

static uint64_t put_many(struct rig *rig)
{
    CLEANUP_FREE char *bytes = pattern(MIB, 1);
    char key[] = "d/000";

    for (int n = 0; n < FETCH_TURNS_MOST + 2; n++) {
        (void)snprintf(key, sizeof(key), "d/%03d", n % 1000);
        rig_put(rig, key, bytes, MIB);
    }
    rig_put(rig, "later", bytes, MIB);
    return worker_lookup(rig, INDEX_ROOT, "d");
}

static void more_pins_than_may_be_paused_come_at_last(void **state)
{
    struct rig *rig = *state;
    uint64_t dir = put_many(rig), last;

    pause_most(rig, dir, pin);
    last = worker_lookup(rig, dir, "257");
    assert_false(rig_is_kept(rig, last));
    turn_all(rig, TRANSFER_PAUSED, ask_resume);
    rig_wait(rig, rig_is_kept(rig, last));
    rig_wait(rig, turns(rig) == 0);
    assert_true(rig_is_kept(rig, worker_lookup(rig, dir, "000")));
}

static int told_all, told_later;

static void download_all(struct rig *rig, uint64_t dir)
{
    volume_download(rig->volume, dir, 0, on_fetched, &told_all);
    volume_download(rig->volume, worker_lookup(rig, INDEX_ROOT, "later"), 0, on_fetched, &told_later);
}

/* Files that wait are open. */
static void more_downloads_than_may_be_paused_come_at_last(void **state)
{
    struct rig *rig = *state;

    pause_most(rig, put_many(rig), download_all);
    assert_int_equal(count(TRANSFER_COMPLETED), 0);
    turn_all(rig, TRANSFER_PAUSED, ask_resume);
    rig_wait(rig, TAILQ_EMPTY(&rig->volume->downloads));
    assert_int_equal(turns(rig), 0);
}

/* However often, with somebody who waits or not. */
static void what_is_paused_is_not_asked_for_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    struct transfer *t;
    int told, again[4] = { 0 };
    uint64_t ino;

    t = fetch(rig, bytes, SIZE, &ino, &told);
    volume_download(rig->volume, ino, 0, on_fetched, &again[0]);
    rig_wait(rig, turns(rig) == 2);
    ask_pause(t);
    rig_release(rig);
    rig_idle(rig);
    for (int n = 1; n < 4; n++) {
        volume_download(rig->volume, ino, n > 2, on_fetched, &again[n]);
        assert_fetches_nothing(rig);
    }
    assert_int_equal(again[2], 1);
    rig_wait(rig, again[3] == -ETIMEDOUT);
    rig_wait(rig, turns(rig) == 2);   /* who waits, and whoever asked first */
    ask_resume(t);
    rig_wait(rig, TAILQ_EMPTY(&rig->volume->downloads));
    assert_int_equal(told, 1);
    worker_assert_reads(rig, ino, bytes, SIZE);
}

/* Nothing of it is asked for any more once it is pinned no longer, paused or not. */
static void a_paused_pin_may_go(void **state)
{
    struct rig *rig = *state;
    uint64_t dir, later;

    put_some(rig, &dir, &later);
    pin_and_pause_four(rig, dir);
    assert_int_equal(worker_remove_pin(rig, dir), 0);
    turn_all(rig, TRANSFER_PAUSED, ask_resume);
    assert_fetches_nothing(rig);
    assert_int_equal(count(TRANSFER_COMPLETED), 2);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
#define TEST_IN_FOLDER(t) { #t " (folder)", t, set_up_folder, tear_down, NULL }
    const struct CMUnitTest tests[] = {
        TEST(a_paused_upload_sends_nothing_and_goes_on),
        TEST(what_is_written_meanwhile_is_what_is_sent),
        TEST(a_pause_ends_with_the_drive),
        TEST(a_paused_file_may_go),
        TEST(a_canceled_upload_leaves_nothing_there_and_all_here),
        TEST(what_else_there_is_is_sent_meanwhile),
        TEST(a_canceled_upload_is_sent_once_it_is_written_again),
        TEST(a_canceled_upload_is_sent_once_it_is_cut),
        TEST(what_is_paused_can_be_canceled),
        TEST(parts_of_a_canceled_upload_end_after_a_crash),
        TEST(what_is_being_put_in_place_cannot_be_stopped),
        TEST(an_object_that_got_there_nevertheless_is_no_conflict),
        TEST(parts_that_were_put_together_unheard_are_no_conflict),
        TEST(what_is_paused_again_and_again_goes_on),
        TEST(a_new_file_may_have_the_name_of_a_canceled_one),
        TEST(who_waits_for_it_waits_in_vain),
        TEST(a_paused_download_holds_nobody_who_reads),
        TEST(what_nobody_waits_for_any_more_may_be_paused),
        TEST(a_canceled_download_is_told_and_reads_go_on),
        TEST(a_reader_in_the_midst_of_it_gets_its_bytes),
        TEST(a_pin_that_is_canceled_comes_when_it_is_pinned_again),
        TEST(pins_that_are_paused_let_others_come),
        TEST(downloads_that_are_paused_let_others_come),
        TEST(a_paused_pin_is_replaced_in_the_cloud),
        TEST(more_pins_than_may_be_paused_come_at_last),
        TEST(more_downloads_than_may_be_paused_come_at_last),
        TEST(what_is_paused_is_not_asked_for_again),
        TEST(a_paused_pin_may_go),
        TEST_IN_FOLDER(a_paused_upload_sends_nothing_and_goes_on),
        TEST_IN_FOLDER(what_is_written_meanwhile_is_what_is_sent),
        TEST_IN_FOLDER(a_canceled_upload_leaves_nothing_there_and_all_here),
        TEST_IN_FOLDER(a_canceled_upload_is_sent_once_it_is_written_again),
        TEST_IN_FOLDER(a_new_file_may_have_the_name_of_a_canceled_one),
        TEST_IN_FOLDER(a_paused_download_holds_nobody_who_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
