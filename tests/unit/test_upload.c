/* The uploader with contents: what goes up, when an open file does, in parts, and again after a change. Names
 * are test_upload_names.c's, failures test_upload_failures.c's, crashes test_upload_crash.c's. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/timespec.h"

enum { MIB = 1 << 20 };

static struct index_inode inode(struct rig *rig, uint64_t ino)
{
    struct index_inode i;

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    return i;
}

/* --- what goes up ---------------------------------------------------------------------------------------- */

static void a_file_with_its_metadata(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * MIB, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 3 * MIB);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cloud_request *r;

    rig_settle(rig);
    assert_object(rig, "a", bytes, 3 * MIB);
    r = rig_stat(rig, "a");
    i = inode(rig, ino);
    assert_int_equal(r->object.meta.mode, S_IFREG | 0640);
    assert_int_equal(r->object.meta.uid, 1);
    assert_int_equal(r->object.meta.gid, 2);
    assert_int_equal(r->object.meta.mtime_ns, i.mtime_ns);
    assert_string_equal(i.cloud_key, "a");
    assert_string_equal(i.etag, r->object.etag);
    assert_int_equal(i.cloud_size, 3 * MIB);
    assert_int_equal(i.pending, 0);
    assert_int_equal(rig->counts[CLOUD_PUT], 1);
    cloud_request_free(r);
}

static void foreign_metadata_survives_a_write(void **state)
{
    struct rig *rig = *state;
    struct cloud_meta meta = { .has_mode = true, .mode = S_IFREG | 0755, .has_owner = true, .uid = 7, .gid = 8 };
    struct cloud_request *r;
    struct handle h;
    uint64_t ino;

    rig_put_with(rig, "a", "bytes", 5, &meta);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_forget_meta(rig, ino);
    assert_int_equal(worker_open(rig, ino, true, true, &h), 0);
    worker_write(rig, &h, 0, "other", 5);
    worker_close(rig, &h);
    rig_settle(rig);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mode, S_IFREG | 0755);
    assert_int_equal(r->object.meta.uid, 7);
    cloud_request_free(r);
    assert_object(rig, "a", "other", 5);
}

static void extended_attributes_go_along(void **state)
{
    struct rig *rig = *state;
    Lf__FsXattrSet m = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &m);
    struct cloud_request *r;

    m.ino = worker_file(rig, "a", "x", 1);
    m.name = (char *)(uintptr_t)"user.colour";
    m.value = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t)"red" };
    assert_int_equal(rig_ask(rig, &env, NULL, NULL), 0);
    rig_settle(rig);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.n_xattrs, 1);
    assert_string_equal(r->object.meta.xattrs[0].name, "user.colour");
    assert_int_equal(r->object.meta.xattrs[0].size, 3);
    assert_memory_equal(r->object.meta.xattrs[0].value, "red", 3);
    cloud_request_free(r);
}

static void what_is_empty(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "", 0);
    (void)worker_mkdir(rig, "d");
    assert_int_equal(worker_symlink(rig, "l", "../somewhere else"), 0);
    rig_settle(rig);
    assert_keys(rig, "a d/ l ");
    {
        struct cloud_request *r = rig_stat(rig, "l"), *d = rig_stat(rig, "d/");

        assert_string_equal(r->object.meta.symlink, "../somewhere else");
        assert_int_equal(d->object.meta.mode, S_IFDIR | 0755);
        assert_int_equal(d->object.size, 0);
        cloud_request_free(r);
        cloud_request_free(d);
    }
}

static void below_a_prefix(void **state)
{
    struct rig *rig = *state;

    rig_close(rig);
    rig->drive.prefix = (char *)(uintptr_t)"some/where";
    rig_open(rig);
    (void)worker_file(rig, "a", "x", 1);
    rig_settle(rig);
    assert_keys(rig, "some/where/a ");
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "some/where/b ");
    assert_int_equal(worker_unlink(rig, "b"), 0);
    rig_settle(rig);
    assert_keys(rig, "");
    rig_close(rig);
    rig->drive.prefix = NULL;
    rig_open(rig);
}

static void slots_are_kept(void **state)
{
    struct rig *rig = *state;
    char name[16];

    rig->hold[CLOUD_PUT] = true;
    for (unsigned n = 0; n < 40; n++) {
        snprintf(name, sizeof(name), "f%02u", n);
        (void)worker_file(rig, name, name, 3);
    }
    rig_wait(rig, rig->n_held >= (size_t)rig->config->upload_slots);
    rig_linger(rig);
    assert_int_equal(rig->n_held, rig->config->upload_slots);
    rig_release(rig);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 40);
}

static void a_pause_holds_everything(void **state)
{
    struct rig *rig = *state;

    rig->config->upload_slots = 1;
    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "a", "x", 1);
    rig_wait(rig, rig->n_held == 1);
    (void)worker_file(rig, "b", "x", 1);
    volume_pause(rig->volume, true);
    rig_release(rig);
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 1);
    volume_pause(rig->volume, false);
    rig_settle(rig);
    assert_keys(rig, "a b ");
}

static void absent_chunks_are_fetched_before_the_upload(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(6 * MIB, 1);
    struct handle h;

    rig_put(rig, "a", bytes, 6 * MIB);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), true, false, &h), 0);
    worker_write(rig, &h, 5 * MIB, "changed", 7);
    worker_close(rig, &h);
    rig_settle(rig);
    memcpy(bytes + 5 * MIB, "changed", 7);
    assert_object(rig, "a", bytes, 6 * MIB);
}

/* --- open files -------------------------------------------------------------------------------------------- */

static void what_is_written_to_waits(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    rig->config->quiet_milliseconds = 3600 * 1000;
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "one", 3);
    assert_int_equal(worker_flush(rig, &h, true), 0);
    rig_linger(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 0);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", "one", 3);
}

static void what_is_quiet_goes_although_open(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "one", 3);
    assert_int_equal(worker_flush(rig, &h, true), 0);
    rig_settle(rig);   /* QuietMilliseconds later */
    assert_object(rig, "a", "one", 3);
    assert_int_equal(atomic_load(&h.map->state), CHUNK_MAP_CLEAN);
    worker_write(rig, &h, 3, " two", 4);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", "one two", 7);
}

/* What is in the cloud is a state of the open file, with the time of its last write. */
static void assert_sent_as_it_is(struct rig *rig, const struct handle *h, const char *bytes)
{
    struct cloud_request *r;
    struct stat st;

    assert_object(rig, "a", bytes, strlen(bytes));
    assert_int_equal(atomic_load(&h->map->state), CHUNK_MAP_CLEAN);
    r = rig_stat(rig, "a");
    assert_int_equal(fstat(h->data_fd, &st), 0);
    assert_true(r->object.meta.has_mtime && r->object.meta.mtime_ns == timespec_ns(st.st_mtim));
    cloud_request_free(r);
}

/* A log that a program keeps open for days. */
static void what_is_never_synced_goes_in_a_pause(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    rig_settle(rig);
    assert_object(rig, "a", "", 0);
    worker_write(rig, &h, 0, "one", 3);
    rig_settle(rig);
    assert_sent_as_it_is(rig, &h, "one");
    worker_write(rig, &h, 3, " two", 4);
    worker_write(rig, &h, 7, " three", 6);
    rig_settle(rig);
    assert_sent_as_it_is(rig, &h, "one two three");
    assert_int_equal(rig->counts[CLOUD_PUT], 3);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 3);
}

static void a_write_during_the_upload_goes_up_after(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    rig->hold[CLOUD_PUT] = true;
    (void)worker_file(rig, "a", "first", 5);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), true, false, &h), 0);
    worker_write(rig, &h, 0, "FIRST", 5);
    worker_close(rig, &h);
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "a", "FIRST", 5);
}

/* The write is done between the answer and the moment the file is said to be clean. */
static void write_late(struct rig *rig)
{
    struct handle *h = rig->arg;

    assert_int_equal(pwrite(h->data_fd, "LATER", 5, 0), 5);
    (void)atomic_fetch_add(&h->map->write_seq, 1);
}

static int write_before_answer(struct rig *rig, const struct cloud_request *r, bool after)
{
    if (r->op == CLOUD_PUT && after && rig->counts[CLOUD_PUT] == 1)
        write_late(rig);
    return 0;
}

static void a_write_at_the_last_moment_is_not_lost(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "early", 5);
    assert_int_equal(worker_flush(rig, &h, false), 0);
    rig->arg = &h;
    rig->fault = write_before_answer;
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 2);
    assert_object(rig, "a", "LATER", 5);
    worker_close(rig, &h);
}

static void other_metadata_during_the_upload_sends_no_bytes_again(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "a", "bytes", 5);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(worker_chmod(rig, ino, 0400), 0);
    rig_release(rig);
    rig_settle(rig);
    assert_int_equal(rig->counts[CLOUD_PUT], 1);
    assert_int_equal(rig->counts[CLOUD_COPY], 1);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mode & 07777, 0400);
    cloud_request_free(r);
}

/* --- in parts ---------------------------------------------------------------------------------------------------- */

static void a_large_file_in_parts(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(40 * MIB, 1);

    (void)worker_file(rig, "a", bytes, 40 * MIB);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 40 * MIB);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 1);
    assert_int_equal(rig->counts[CLOUD_PART_PUT], 3);
    assert_int_equal(rig->counts[CLOUD_PART_END], 1);
    assert_int_equal(rig->counts[CLOUD_PUT], 0);
}

static int fail_third_part(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PART_PUT && r->part_number == 3 && !after ? -ECANCELED : 0;
}

static void a_restart_sends_only_what_is_missing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(80 * MIB, 1);

    rig->fault = fail_third_part;
    (void)worker_file(rig, "a", bytes, 80 * MIB);
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] >= 3);
    rig_idle(rig);
    rig_close(rig);
    rig->fault = NULL;
    rig_reset_counts(rig);
    rig_open(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 80 * MIB);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 0);
    assert_int_equal(rig->counts[CLOUD_PART_LIST], 1);
    assert_in_range(rig->counts[CLOUD_PART_PUT], 1, 4);
    assert_true(rig->counts[CLOUD_PART_PUT] < 5);
}

static void a_changed_file_begins_anew(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(80 * MIB, 1), *other = pattern(80 * MIB, 2);

    rig->fault = fail_third_part;
    (void)worker_file(rig, "a", bytes, 80 * MIB);
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] >= 3);
    rig_idle(rig);
    worker_overwrite(rig, "a", other, 80 * MIB);
    rig_reopen(rig);
    rig->fault = NULL;
    rig_settle(rig);
    assert_object(rig, "a", other, 80 * MIB);
    assert_int_equal(rig->counts[CLOUD_PART_ABORT], 1);
}

static int write_during_parts(struct rig *rig, const struct cloud_request *r, bool after)
{
    struct handle *h = rig->arg;

    if (r->op == CLOUD_PART_PUT && after && rig->counts[CLOUD_PART_BEGIN] == 1 && r->part_number == 1) {
        assert_int_equal(pwrite(h->data_fd, "LATER", 5, 0), 5);
        (void)atomic_fetch_add(&h->map->write_seq, 1);
    }
    return 0;
}

static void parts_of_two_states_never_meet(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(40 * MIB, 1);
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, bytes, 40 * MIB);
    assert_int_equal(worker_flush(rig, &h, false), 0);
    rig->arg = &h;
    rig->fault = write_during_parts;
    rig_settle(rig);
    memcpy(bytes, "LATER", 5);
    assert_object(rig, "a", bytes, 40 * MIB);
    assert_int_equal(rig->counts[CLOUD_PART_END], 1);
    assert_int_equal(rig->counts[CLOUD_PART_ABORT], 1);
    worker_close(rig, &h);
}

static void parts_of_a_deleted_file_are_aborted(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(40 * MIB, 1);

    rig->fault = fail_third_part;
    (void)worker_file(rig, "a", bytes, 40 * MIB);
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] >= 3);
    rig_idle(rig);
    rig_reopen(rig);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig->fault = NULL;
    rig_wait(rig, rig->counts[CLOUD_PART_ABORT] == 1);
    rig_settle(rig);
    assert_keys(rig, "");
}

/* --- while changes go on ------------------------------------------------------------------------------------ */

/* Every clock is read before what it stands for, so the bound is never above the real one however slow the machine. */
static void uploads_wait_for_a_pause(void **state)
{
    enum { SETTLE_MS = 50 };
    const int64_t settle = SETTLE_MS * INT64_C(1000000);
    struct rig *rig = *state;
    int64_t first = loop_now_ns(), last = first, before_last, bound;
    uint64_t ino;

    rig->config->settle_milliseconds = SETTLE_MS;
    ino = worker_file(rig, "a", "x", 1);
    do {
        before_last = last;
        last = loop_now_ns();
        assert_int_equal(worker_chmod(rig, ino, 0600), 0);
    } while (rig->counts[CLOUD_PUT] == 0);
    bound = before_last + settle < first + 10 * settle ? before_last + settle : first + 10 * settle;
    assert_true(loop_now_ns() >= bound);
    rig_settle(rig);
    assert_object(rig, "a", "x", 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_file_with_its_metadata),
        TEST(foreign_metadata_survives_a_write),
        TEST(extended_attributes_go_along),
        TEST(what_is_empty),
        TEST(below_a_prefix),
        TEST(slots_are_kept),
        TEST(absent_chunks_are_fetched_before_the_upload),
        TEST(a_pause_holds_everything),
        TEST(what_is_written_to_waits),
        TEST(what_is_quiet_goes_although_open),
        TEST(what_is_never_synced_goes_in_a_pause),
        TEST(a_write_during_the_upload_goes_up_after),
        TEST(a_write_at_the_last_moment_is_not_lost),
        TEST(other_metadata_during_the_upload_sends_no_bytes_again),
        TEST(a_large_file_in_parts),
        TEST(a_restart_sends_only_what_is_missing),
        TEST(a_changed_file_begins_anew),
        TEST(parts_of_two_states_never_meet),
        TEST(parts_of_a_deleted_file_are_aborted),
        TEST(uploads_wait_for_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
