/* Transfers and events: what a listener hears of them, in which order and how often, and what can be asked of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/events.h"
#include "syncd/transfer.h"
#include "tests/unit/syncd_fixture.h"

enum { HEARD_MOST = 10000, MIB = 1 << 20 };
static const uint64_t MS = 1000000;

struct heard {
    Lf__Envelope *all[HEARD_MOST];
    size_t n;
};

static void on_event(const Lf__Envelope *event, int *fds, void *arg)
{
    struct heard *h = arg;

    (void)fds;
    assert_true(h->n < HEARD_MOST);
    h->all[h->n++] = message_copy(&event->base);
}

static void heard_free(struct heard *h)
{
    for (size_t i = 0; i < h->n; i++)
        lf__envelope__free_unpacked(h->all[i], NULL);
    h->n = 0;
}

/* Another frontd, which listens. */
static struct ipc_client *listen_in(struct fixture *f, struct heard *h)
{
    struct ipc_client_spec spec = {
        .role = ROLE_FRONTD, .peer = ROLE_SYNCD, .path = f->socket, .max_queue = 16, .event = on_event, .arg = h,
    };
    Lf__EventsWatch watch = LF__EVENTS_WATCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(EVENTS_WATCH, events_watch, &watch);
    struct ipc_client *c = ipc_client_new(f->loop, &spec), *asks = f->frontd;

    f->frontd = c;
    answer_free(&(struct answer[]){ fixture_ask(f, &env) }[0]);
    f->frontd = asks;
    assert_true(events_wanted(f->syncd->events));
    return c;
}

static const Lf__Progress *progress(const struct heard *h, size_t i)
{
    assert_true(i < h->n);
    assert_int_equal(h->all[i]->body_case, LF__ENVELOPE__BODY_PROGRESSED);
    return h->all[i]->progressed->progress;
}

static size_t with_status(const struct heard *h, const char *status)
{
    size_t found = 0;

    for (size_t i = 0; i < h->n; i++)
        found += strcmp(progress(h, i)->status, status) == 0;
    return found;
}

static void pass(struct fixture *f, uint64_t ms)
{
    int64_t end = loop_now_ns() + (int64_t)(ms * MS);

    wait_until(f, loop_now_ns() >= end);
}

/* --- what can be asked of a transfer here ----------------------------------------------------------------- */

struct owner {
    struct transfer *transfer;
    unsigned paused, resumed;
    bool stubborn, weary;
};

static int on_pause(void *arg, struct error *e)
{
    struct owner *o = arg;

    if (o->stubborn)
        return error_set(e, -EBADMSG, "Not now.");
    o->paused++;
    if (o->weary)
        transfer_end(take_ptr(o->transfer), NULL);
    return 0;
}

static int on_resume(void *arg, struct error *e)
{
    (void)e;
    ((struct owner *)arg)->resumed++;
    return 0;
}

static int on_cancel(void *arg, struct error *e)
{
    struct owner *o = arg;

    if (o->stubborn)
        return error_set(e, -EBADMSG, "Not now.");
    (void)error_set(e, -ECANCELED, "As was wished.");
    transfer_end(take_ptr(o->transfer), e);
    return 0;
}

static const struct transfer_control control = { .pause = on_pause, .resume = on_resume, .cancel = on_cancel };

static struct transfer *begin(struct fixture *f, const char *key, struct owner *o)
{
    struct transfer_spec spec = {
        .mode = TRANSFER_DOWNLOAD, .storage_type = "S3Generic", .storage_name = "bucket", .path = "/home/u/a",
        .key = key, .size = MIB, .control = o ? &control : NULL, .arg = o,
    };

    return transfer_begin(f->syncd->transfers, &spec);
}

#define ASK(f, CASE, field, Message, INIT, of) \
    ({ \
        Message m_ = INIT; \
        Lf__Envelope env_ = IPC_ENVELOPE(CASE, field, &m_); \
        m_.transfer_id = (char *)(uintptr_t)(of); \
        fixture_ask(f, &env_); \
    })
#define PAUSE(f, id) ASK(f, TRANSFER_PAUSE, transfer_pause, Lf__TransferPause, LF__TRANSFER_PAUSE__INIT, id)
#define RESUME(f, id) ASK(f, TRANSFER_RESUME, transfer_resume, Lf__TransferResume, LF__TRANSFER_RESUME__INIT, id)
#define CANCEL(f, id) ASK(f, TRANSFER_CANCEL, transfer_cancel, Lf__TransferCancel, LF__TRANSFER_CANCEL__INIT, id)
#define GET(f, id) ASK(f, TRANSFER_GET, transfer_get, Lf__TransferGet, LF__TRANSFER_GET__INIT, id)

static void expect_done(struct answer a)
{
    if (a.e.code)
        fail_msg("%s", error_text(&a.e));
    answer_free(&a);
}

static void expect_status(struct fixture *f, const char *id, const char *status, int64_t bytes, const char *error)
{
    struct answer a = GET(f, id);
    const Lf__ClientTransfer *t;

    assert_int_equal(a.e.code, 0);
    t = a.reply->transfer_found->transfer;
    assert_string_equal(t->transfer_id, id);
    assert_string_equal(t->status, status);
    assert_int_equal(t->transferred_bytes, bytes);
    assert_string_equal(t->source_bucket, "bucket");
    assert_string_equal(t->target_path, "/home/u/a");
    if (error)
        assert_string_equal(t->error_message, error);
    else
        assert_null(t->error_message);
    answer_free(&a);
}

/* --- tests ------------------------------------------------------------------------------------------------ */

static void frames_are_few_and_in_order(void **state)
{
    struct fixture *f = *state;
    struct heard h = { .n = 0 };
    struct ipc_client *c = listen_in(f, &h);
    struct transfer *t = begin(f, "folder/a", NULL);
    int64_t begun = loop_now_ns(), seconds;
    char id[ID_SIZE];

    (void)snprintf(id, sizeof(id), "%s", transfer_id(t));
    assert_true(id_valid(id));
    for (unsigned i = 1; i <= 100; i++) {
        transfer_moved(t, i * MIB / 100);
        pass(f, 10);
    }
    transfer_end(t, NULL);
    wait_until(f, with_status(&h, "Completed") == 1);
    seconds = (loop_now_ns() - begun) / 1000000000 + 1;
    assert_true(h.n >= 4 && h.n <= 2 + TRANSFER_FRAMES * (size_t)seconds);
    assert_string_equal(progress(&h, 0)->status, "InProgress");
    assert_int_equal(progress(&h, 0)->bytes, 0);
    assert_string_equal(progress(&h, 0)->name, "a");
    assert_string_equal(progress(&h, 0)->transfer_mode, "Download");
    for (size_t i = 1; i < h.n; i++) {
        assert_true(progress(&h, i)->bytes > progress(&h, i - 1)->bytes || i == h.n - 1);
        assert_string_equal(progress(&h, i)->transfer_id, id);
    }
    assert_string_equal(progress(&h, h.n - 1)->status, "Completed");
    assert_int_equal(progress(&h, h.n - 1)->bytes, MIB);
    assert_true(progress(&h, h.n - 1)->speed > MIB / (2 * seconds) && progress(&h, h.n - 1)->speed <= MIB);
    expect_status(f, id, "completed", MIB, NULL);
    heard_free(&h);
    ipc_client_free(c);
}

static void one_is_paused_resumed_and_canceled(void **state)
{
    struct fixture *f = *state;
    struct owner o = { 0 };
    char id[ID_SIZE];

    o.transfer = begin(f, "a", &o);
    (void)snprintf(id, sizeof(id), "%s", transfer_id(o.transfer));
    transfer_moved(o.transfer, 1000);
    expect_error(RESUME(f, id), -EBADMSG, "running");
    expect_done(PAUSE(f, id));
    expect_status(f, id, "paused", 1000, NULL);
    expect_error(PAUSE(f, id), -EBADMSG, "paused");
    expect_done(RESUME(f, id));
    expect_status(f, id, "running", 1000, NULL);
    expect_done(CANCEL(f, id));
    assert_null(o.transfer);
    expect_status(f, id, "cancelled", 1000, NULL);
    expect_error(CANCEL(f, id), -EBADMSG, "cancelled");
    assert_int_equal(o.paused, 1);
    assert_int_equal(o.resumed, 1);
    expect_error(GET(f, "01234567-89ab-4def-8123-456789abcdef"), -ENOENT, "no transfer");
}

static void what_nobody_can_be_asked_for_says_so(void **state)
{
    struct fixture *f = *state;
    struct transfer *t = begin(f, "a", NULL);
    struct error e;

    expect_error(PAUSE(f, transfer_id(t)), -EBADMSG, "of this kind cannot be paused");
    expect_error(CANCEL(f, transfer_id(t)), -EBADMSG, "of this kind cannot be canceled");
    error_set(&e, -EREMOTEIO, "The bucket is on fire.");
    transfer_end(t, &e);
    expect_status(f, transfer_id(t), "failed", 0, "The bucket is on fire.");
}

static void an_owner_may_refuse(void **state)
{
    struct fixture *f = *state;
    struct owner o = { .stubborn = true };
    char id[ID_SIZE];

    o.transfer = begin(f, "a", &o);
    (void)snprintf(id, sizeof(id), "%s", transfer_id(o.transfer));
    expect_error(PAUSE(f, id), -EBADMSG, "Not now.");
    expect_error(CANCEL(f, id), -EBADMSG, "Not now.");
    expect_status(f, id, "running", 0, NULL);
    assert_int_equal(o.paused, 0);
    transfer_end(o.transfer, NULL);
}

/* As what is read ahead of a file that nobody has open any more. */
static void what_ends_as_it_is_paused_has_ended(void **state)
{
    struct fixture *f = *state;
    struct owner o = { .weary = true };
    char id[ID_SIZE];

    o.transfer = begin(f, "a", &o);
    (void)snprintf(id, sizeof(id), "%s", transfer_id(o.transfer));
    expect_done(PAUSE(f, id));
    expect_status(f, id, "completed", MIB, NULL);
    o.transfer = begin(f, "b", &o);
    (void)snprintf(id, sizeof(id), "%s", transfer_id(o.transfer));
    for (unsigned i = 0; i < TRANSFERS_KEPT; i++)
        transfer_end(begin(f, "c", NULL), NULL);
    expect_done(PAUSE(f, id));
    expect_error(GET(f, id), -ENOENT, "no transfer");
}

/* As when the upload that was paused is another one than the one that goes on. */
static void it_may_get_another_owner(void **state)
{
    struct fixture *f = *state;
    struct owner o = { 0 }, next = { 0 };
    char id[ID_SIZE];

    o.transfer = next.transfer = begin(f, "a", &o);
    (void)snprintf(id, sizeof(id), "%s", transfer_id(o.transfer));
    transfer_hand_over(o.transfer, &control, &next);
    expect_done(PAUSE(f, id));
    assert_int_equal(o.paused, 0);
    assert_int_equal(next.paused, 1);
    expect_done(CANCEL(f, id));
    expect_status(f, id, "cancelled", 0, NULL);
}

static size_t count_listed(struct fixture *f, size_t *ret_pages)
{
    CLEANUP_FREE char *page = NULL;
    size_t n = 0;

    for (*ret_pages = 0;; (*ret_pages)++) {
        Lf__TransferList list = LF__TRANSFER_LIST__INIT;
        Lf__Envelope env = IPC_ENVELOPE(TRANSFER_LIST, transfer_list, &list);
        struct answer a;

        list.page = page;
        a = fixture_ask(f, &env);
        assert_int_equal(a.e.code, 0);
        n += a.reply->transfer_listed->n_transfers;
        xstrset(&page, a.reply->transfer_listed->next_page);
        answer_free(&a);
        if (!page || !*page)
            return n;
    }
}

/* What runs is never forgotten, of what is over the last ones are known. */
static void a_list_has_an_end(void **state)
{
    struct fixture *f = *state;
    struct transfer *first = begin(f, "first", NULL);
    char key[2000];
    size_t pages;

    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    for (size_t i = 0; i < TRANSFERS_KEPT + 100; i++)
        transfer_end(begin(f, key, NULL), NULL);
    assert_int_equal(count_listed(f, &pages), TRANSFERS_KEPT + 1);
    assert_true(pages > 3);
    expect_status(f, transfer_id(first), "running", 0, NULL);
    transfer_end(first, NULL);
}

/* An id that a client chose is taken once. */
static void ids_are_unique(void **state)
{
    struct fixture *f = *state;
    struct transfer_spec spec = { .id = "01234567-89ab-4def-8123-456789abcdef", .path = "/a", .key = "a" };
    struct transfer *a = transfer_begin(f->syncd->transfers, &spec), *b = transfer_begin(f->syncd->transfers, &spec);

    assert_string_equal(transfer_id(a), spec.id);
    assert_string_not_equal(transfer_id(b), spec.id);
    spec.id = "../../../etc/passwd";
    assert_true(id_valid(transfer_id(transfer_begin(f->syncd->transfers, &spec))));
}

/* Faster than they can be sent: the oldest go, and how many is said where they stood. */
static void too_many_events_are_counted(void **state)
{
    struct fixture *f = *state;
    struct heard *h = xcalloc(1, sizeof(*h));
    struct ipc_client *c = listen_in(f, h);
    uint64_t missed;
    char path[32];

    for (unsigned i = 0; i < 9000; i++) {
        (void)snprintf(path, sizeof(path), "/m/%u", i);
        events_state(f->syncd->events, path, "bucket", 4);
    }
    wait_until(f, h->n > 0 && h->all[h->n - 1]->body_case == LF__ENVELOPE__BODY_STATE_CHANGED &&
               strcmp(h->all[h->n - 1]->state_changed->change->path, "/m/8999") == 0);
    assert_int_equal(h->all[0]->body_case, LF__ENVELOPE__BODY_EVENTS_MISSED);
    missed = h->all[0]->events_missed->number;
    assert_int_equal(missed + h->n - 1, 9000);
    for (size_t i = 1; i < h->n; i++) {
        (void)snprintf(path, sizeof(path), "/m/%zu", (size_t)missed + i - 1);
        assert_string_equal(h->all[i]->state_changed->change->path, path);
    }
    heard_free(h);
    free(h);
    ipc_client_free(c);
}

static void nothing_is_kept_for_nobody(void **state)
{
    struct fixture *f = *state;
    struct heard h = { .n = 0 };
    struct ipc_client *c;

    events_state(f->syncd->events, "/m/before", "bucket", 4);
    c = listen_in(f, &h);
    events_notice(f->syncd->events, "kind", "drive", NULL, "A sentence.");
    wait_until(f, h.n == 1);
    assert_int_equal(h.all[0]->body_case, LF__ENVELOPE__BODY_NOTICED);
    ipc_client_free(c);
    wait_until(f, !events_wanted(f->syncd->events));
    heard_free(&h);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(frames_are_few_and_in_order),
        TEST(one_is_paused_resumed_and_canceled),
        TEST(what_nobody_can_be_asked_for_says_so),
        TEST(an_owner_may_refuse),
        TEST(what_ends_as_it_is_paused_has_ended),
        TEST(it_may_get_another_owner),
        TEST(a_list_has_an_end),
        TEST(ids_are_unique),
        TEST(too_many_events_are_counted),
        TEST(nothing_is_kept_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
