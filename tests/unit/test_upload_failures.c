/* The uploader when the cloud refuses or loses answers. Somebody else's versions are test_conflict.c's. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

static char *reason(struct rig *rig, uint64_t ino)
{
    return index_reason(rig->volume->index, ino);
}

static int refuse_puts(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PUT && !after ? -EACCES : 0;
}

static void a_refusal_is_shown_and_tried_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *why = NULL;
    uint64_t ino;

    rig->fault = refuse_puts;
    ino = worker_file(rig, "a", "bytes", 5);
    rig_wait(rig, (why = reason(rig, ino)));
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 1);   /* slowly */
    assert_int_equal(volume_pending(rig->volume), 1);
    rig->fault = NULL;
    assert_int_equal(index_retry(rig->volume->index, ino, 0, NULL), 0);
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
    assert_object(rig, "a", "bytes", 5);
}

static int lose_first_answer(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PUT && after && rig->counts[CLOUD_PUT] == 1 ? -ETIMEDOUT : 0;
}

static void a_lost_answer_of_a_new_file(void **state)
{
    struct rig *rig = *state;

    rig->fault = lose_first_answer;
    (void)worker_file(rig, "a", "bytes", 5);
    rig_settle(rig);
    assert_object(rig, "a", "bytes", 5);
}

static void a_lost_answer_is_no_conflict(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "one", 3);
    rig_settle(rig);
    rig_reset_counts(rig);
    rig->fault = lose_first_answer;
    worker_overwrite(rig, "a", "two!", 4);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    rig_idle(rig);
    worker_overwrite(rig, "a", "three", 5);
    rig_settle(rig);
    assert_object(rig, "a", "three", 5);
}

static int fail_deletes(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_DELETE_BATCH && !after ? -EHOSTUNREACH : 0;
}

static void a_grave_outlives_a_failure(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "x", 1);
    rig_settle(rig);
    rig->fault = fail_deletes;
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_wait(rig, rig->counts[CLOUD_DELETE_BATCH] == 1);
    rig_linger(rig);
    assert_int_equal(volume_pending(rig->volume), 1);
    assert_int_equal(rig->counts[CLOUD_DELETE_BATCH], 1);
    rig->fault = NULL;
    rig_reopen(rig);
    rig_settle(rig);
    assert_keys(rig, "");
}

/* --- all rest ----------------------------------------------------------------------------------------- */

/* The code that PUTs fail with. */
static int fail_puts(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PUT && !after ? *(const int *)rig->arg : 0;
}

static bool resting(struct rig *rig)
{
    return rig->volume->uploader->rest_until_ns > loop_now_ns();
}

/* A file that could not be sent, for so long that nobody would try again within the test. */
static void make_unsent(struct rig *rig, const int *code)
{
    rig->arg = (void *)(uintptr_t)code;
    rig->fault = fail_puts;
    (void)worker_file(rig, "a", "bytes", 5);
    rig_wait(rig, resting(rig));
    rig->volume->uploader->rest_until_ns += INT64_C(3600) * 1000000000;
    rig->fault = NULL;
}

static void what_cannot_be_reached_ends_with_any_answer(void **state)
{
    static const int codes[] = { -EHOSTUNREACH, -ETIMEDOUT, -EKEYREJECTED, -ENOTCONN, -ECONNRESET, -ENOKEY };

    for (size_t n = 0; n < ARRAY_SIZE(codes); n++) {
        struct rig *rig;

        assert_int_equal(rig_set_up(state), 0);
        rig = *state;
        rig_put(rig, "d/x", "theirs", 6);
        make_unsent(rig, &codes[n]);
        assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "d"), "x"), 0);   /* a listing */
        assert_false(resting(rig));
        rig_tear_down(state);
    }
}

static void a_read_ends_it_as_well_and_all_is_sent(void **state)
{
    static const int code = -EHOSTUNREACH;
    struct rig *rig = *state;
    uint64_t x;

    rig_put(rig, "d/x", "theirs", 6);
    x = worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "d"), "x");
    make_unsent(rig, &code);
    assert_int_equal(worker_fetch(rig, x, 0, 6), 0);
    assert_false(resting(rig));
    rig_settle(rig);
    assert_object(rig, "a", "bytes", 5);
}

static void who_asked_for_too_much_waits_all_the_same(void **state)
{
    static const int code = -EAGAIN;
    struct rig *rig = *state;

    rig_put(rig, "d/x", "theirs", 6);
    make_unsent(rig, &code);
    assert_int_not_equal(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "d"), "x"), 0);
    assert_true(resting(rig));
}

static void rests_grow_to_what_suits_the_reason(void **state)
{
    static const struct { int code; int64_t most_s; } cases[] = {
        { -EHOSTUNREACH, 30 }, { -ETIMEDOUT, 30 }, { -EAGAIN, 300 }, { -EKEYREJECTED, 300 },
    };
    struct rig *rig = *state;
    struct uploader *u = rig->volume->uploader;

    for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
        uploader_reached(u);
        for (unsigned times = 0; times < 20; times++) {
            u->rest_until_ns = 0;
            uploader_rest(u, cases[n].code);
        }
        assert_int_equal(u->rest_ns / 1000000000, cases[n].most_s);
    }
}

/* --- bytes that change while they are sent -------------------------------------------------------------- */

static struct handle writer;

/* The server compares, and does not take what is neither the one nor the other. */
static int change_while_sent(struct rig *rig, const struct cloud_request *r, bool after)
{
    if (r->op != CLOUD_PART_PUT || after || rig->counts[CLOUD_PART_PUT] != 1)
        return 0;
    assert_int_equal(pwrite(writer.data_fd, "!", 1, 5), 1);
    (void)atomic_fetch_add(&writer.map->write_seq, 1);
    return -EBADE;
}

static void a_file_in_parts_that_changes_while_sent_is_no_failure(void **state)
{
    enum { SIZE = 17 << 20 };
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t ino;

    rig->fault = change_while_sent;
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &writer), 0);
    ino = writer.ino;
    worker_write(rig, &writer, 0, bytes, SIZE);
    {
        struct handle reader = writer;   /* keeps the descriptors while the open ends */

        reader.data_fd = dup(writer.data_fd);
        reader.map_fd = dup(writer.map_fd);
        worker_close(rig, &writer);
        writer = reader;
        writer.map = mmap(NULL, CHUNK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, writer.map_fd, 0);
    }
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] > 2 || index_reason(rig->volume->index, ino));
    assert_null(index_reason(rig->volume->index, ino));
    rig_settle(rig);
    bytes[5] = '!';
    assert_object(rig, "a", bytes, SIZE);
    worker_forget_handle(&writer);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_refusal_is_shown_and_tried_again),
        TEST(a_lost_answer_of_a_new_file),
        TEST(a_lost_answer_is_no_conflict),
        TEST(a_grave_outlives_a_failure),
        cmocka_unit_test(what_cannot_be_reached_ends_with_any_answer),
        TEST(a_read_ends_it_as_well_and_all_is_sent),
        TEST(who_asked_for_too_much_waits_all_the_same),
        TEST(rests_grow_to_what_suits_the_reason),
        TEST(a_file_in_parts_that_changes_while_sent_is_no_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
