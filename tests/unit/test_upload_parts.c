/* Uploads in parts of what was there before: which parts the cloud copies, what is fetched for it and what is not, what
 * an earlier try has left, and that nothing stays of what was begun in vain. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cloud_memory.h"

enum { MIB = 1 << 20, PART = 16 * MIB, STEPS_MAX = 200 };

/* An object of others, whose bytes nobody has read. */
static uint64_t theirs(struct rig *rig, const char *bytes, size_t n)
{
    rig_put(rig, "a", bytes, n);
    rig_reset_counts(rig);
    return worker_lookup(rig, INDEX_ROOT, "a");
}

static void write_at(struct rig *rig, uint64_t ino, uint64_t offset, const char *bytes, size_t n)
{
    struct handle h;

    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, offset, bytes, n);
    worker_close(rig, &h);
}

static void read_all(struct rig *rig, uint64_t ino, size_t n)
{
    CLEANUP_FREE char *bytes = xcalloc(1, n);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, bytes, n), n);
    worker_close(rig, &h);
}

/* Changes that are made one after the other go up as one, */
static void take_time(struct rig *rig)
{
    rig->config->settle_milliseconds = 3600 * 1000;
}

/* and now. */
static void send_now(struct rig *rig)
{
    struct index *x = rig->volume->index;

    rig->config->settle_milliseconds = 0;
    for (uint64_t ino = INDEX_ROOT; ino <= index_last_ino(x); ino++)
        (void)index_retry(x, ino, 0, NULL);
    uploader_kick(rig->volume->uploader);
}

static void assert_parts(struct rig *rig, size_t sent, size_t copied)
{
    assert_int_equal(rig->counts[CLOUD_PART_PUT], sent);
    assert_int_equal(rig->counts[CLOUD_PART_COPY], copied);
}

static void assert_nothing_unfinished(struct rig *rig)
{
    assert_null(((struct memory *)rig->memory->state)->uploads);
}

/* --- copied by the cloud -------------------------------------------------------------------------------- */

static void an_edit_sends_one_part(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * PART, 1);
    uint64_t ino = theirs(rig, bytes, 4 * PART);

    write_at(rig, ino, PART + 5 * MIB, "changed", 7);
    memcpy(bytes + PART + 5 * MIB, "changed", 7);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 4 * PART);
    assert_parts(rig, 1, 3);
    assert_true(rig->bytes[CLOUD_GET] <= PART);
    assert_nothing_unfinished(rig);
}

static void an_append_fetches_next_to_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(5 * PART + 99, 1), *more = pattern(MIB, 2);
    CLEANUP_FREE char *whole = xcalloc(1, 5 * PART + 99 + MIB);
    uint64_t ino = theirs(rig, bytes, 5 * PART + 99);

    write_at(rig, ino, 5 * PART + 99, more, MIB);
    memcpy(whole, bytes, 5 * PART + 99);
    memcpy(whole + 5 * PART + 99, more, MIB);
    rig_settle(rig);
    assert_object(rig, "a", whole, 5 * PART + 99 + MIB);
    assert_parts(rig, 1, 5);
    assert_true(rig->bytes[CLOUD_GET] <= MIB);
    rig_reset_counts(rig);
    write_at(rig, ino, 5 * PART + 99 + MIB, "again", 5);   /* now the base is our own */
    rig_settle(rig);
    assert_parts(rig, 1, 5);
    assert_true(rig->bytes[CLOUD_GET] == 0);
    read_all(rig, ino, 5 * PART);
}

static void what_is_here_and_unchanged_is_copied_too(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 3 * PART);

    rig_settle(rig);
    rig_reset_counts(rig);
    write_at(rig, ino, 3 * PART - 1, "x", 1);
    bytes[3 * PART - 1] = 'x';
    rig_settle(rig);
    assert_object(rig, "a", bytes, 3 * PART);
    assert_parts(rig, 1, 2);
}

/* Their page has blocks only where it is wanted: else a full disk would be told by SIGBUS. */
static void a_new_file_has_no_marks(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "new", &h), 0);
    worker_write(rig, &h, 0, "bytes", 5);
    assert_int_equal(lseek(h.map_fd, (off_t)CHUNK_MAP_SIZE_1, SEEK_DATA), -1);
    worker_close(rig, &h);
}

static void truncated_and_extended_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * PART, 1);
    uint64_t ino = theirs(rig, bytes, 4 * PART);

    take_time(rig);
    read_all(rig, ino, 4 * PART);
    assert_int_equal(worker_truncate(rig, ino, PART + 100), 0);
    assert_int_equal(worker_truncate(rig, ino, 4 * PART), 0);
    memset(bytes + PART + 100, 0, 3 * PART - 100);
    send_now(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 4 * PART);
    assert_parts(rig, 3, 1);
}

static void truncated_where_it_never_was_here(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * PART, 1);
    uint64_t ino = theirs(rig, bytes, 4 * PART);

    assert_int_equal(worker_truncate(rig, ino, 2 * PART + 12345), 0);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 2 * PART + 12345);
    assert_parts(rig, 0, 3);
    assert_true(rig->bytes[CLOUD_GET] == 0);
    assert_int_equal(worker_truncate(rig, ino, 4 * PART), 0);
    memset(bytes + 2 * PART + 12345, 0, 2 * PART - 12345);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 4 * PART);
}

static void marks_outlive_syncd(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * PART, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 4 * PART);

    rig_settle(rig);
    take_time(rig);
    write_at(rig, ino, 100, "changed", 7);
    memcpy(bytes + 100, "changed", 7);
    rig_reopen(rig);
    rig_reset_counts(rig);
    send_now(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 4 * PART);
    assert_int_equal(rig->counts[CLOUD_PART_PUT], 1);
}

/* A power cut: which pages of the map came to the disk nobody knows. */
static void marks_of_another_boot_count_for_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * PART, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 4 * PART);
    struct handle h;

    rig_settle(rig);
    take_time(rig);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, 100, "changed", 7);
    memcpy(bytes + 100, "changed", 7);
    atomic_store(chunk_changed_word(h.map, 0), 0);
    h.map->alike_tag++;
    worker_close(rig, &h);
    rig_reset_counts(rig);
    send_now(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 4 * PART);
    assert_parts(rig, 4, 0);
}

static void what_is_mapped_past_the_worker_is_sent(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(2 * PART, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 2 * PART);
    struct handle h;

    rig_settle(rig);
    rig_reset_counts(rig);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    h.map->mount_tag = rig->volume->mount_tag;
    atomic_store(&h.map->passed, 1);
    atomic_store(&h.map->writers, 1);
    worker_write(rig, &h, 100, "changed", 7);
    assert_int_equal(pwrite(h.data_fd, "mapped", 6, PART + 5), 6);
    memcpy(bytes + 100, "changed", 7);
    memcpy(bytes + PART + 5, "mapped", 6);
    atomic_store(&h.map->passed, 0);
    atomic_store(&h.map->writers, 0);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 2 * PART);
    assert_parts(rig, 2, 0);
}

static void renamed_and_edited(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1);
    uint64_t ino = theirs(rig, bytes, 3 * PART);

    take_time(rig);
    assert_int_equal(worker_truncate(rig, ino, 3 * PART - 5), 0);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    send_now(rig);
    rig_settle(rig);
    assert_keys(rig, "b ");
    assert_object(rig, "b", bytes, 3 * PART - 5);
    assert_parts(rig, 0, 3);
}

/* Of a folder the provider copies, too. */
static void in_a_folder(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 3 * PART);

    rig_settle(rig);
    rig_reset_counts(rig);
    write_at(rig, ino, PART, "x", 1);
    bytes[PART] = 'x';
    rig_settle(rig);
    assert_object(rig, "a", bytes, 3 * PART);
    assert_parts(rig, 1, 2);
}

/* --- and when it cannot be ------------------------------------------------------------------------------------ */

static void a_base_that_others_replaced(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1), *copy = NULL;
    uint64_t ino = worker_file(rig, "a", bytes, 3 * PART);
    struct rig_copies copies;

    rig_settle(rig);
    take_time(rig);
    write_at(rig, ino, 5, "ours", 4);
    memcpy(bytes + 5, "ours", 4);
    rig_put(rig, "a", "theirs", 6);
    send_now(rig);
    rig_settle(rig);
    assert_object(rig, "a", "theirs", 6);
    copies = rig_copies(rig);
    assert_int_equal(copies.n, 1);
    assert_int_equal(copies.ino, ino);
    copy = strdup(copies.name);
    assert_object(rig, copy, bytes, 3 * PART);
    assert_nothing_unfinished(rig);
}

static void replace_at_once(struct rig *rig, const char *bytes, size_t n)
{
    struct memory *m = rig->memory->state;
    struct memory_blob blob = { 0 };
    struct cloud_meta meta = { 0 };
    struct memory_bucket *b;
    struct error e;
    char *data = xcalloc(1, n);

    memcpy(data, bytes, n);
    memory_blob_set(&blob, data, n);
    assert_int_equal(memory_bucket(m, rig->volume->bucket, &b, &e), 0);
    (void)memory_store(m, b, "a", &blob, &meta);
}

static int replaced_while_copied(struct rig *rig, const struct cloud_request *r, bool after)
{
    static bool done;

    if (r->op == CLOUD_PART_BEGIN)
        done = false;
    if (r->op == CLOUD_PART_COPY && r->part_number == 2 && !after && !done) {
        done = true;
        replace_at_once(rig, rig->arg, 3 * PART);
    }
    return 0;
}

/* Of theirs no part comes into ours, nor of ours into theirs. */
static void a_base_that_others_replace_while_it_is_copied(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1), *other = pattern(3 * PART, 2);
    uint64_t ino = worker_file(rig, "a", bytes, 3 * PART);

    rig_settle(rig);
    rig->arg = other;
    rig->fault = replaced_while_copied;
    write_at(rig, ino, 3 * PART - 5, "ours", 4);
    memcpy(bytes + 3 * PART - 5, "ours", 4);
    rig_settle(rig);
    rig->fault = NULL;
    assert_object(rig, "a", other, 3 * PART);
    assert_int_equal(rig_copies(rig).n, 1);
    assert_object(rig, rig_copies(rig).name, bytes, 3 * PART);
    assert_nothing_unfinished(rig);
}

static void a_base_that_others_removed(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1);
    uint64_t ino = worker_file(rig, "a", bytes, 3 * PART);

    rig_settle(rig);
    take_time(rig);
    write_at(rig, ino, 5, "ours", 4);
    memcpy(bytes + 5, "ours", 4);
    rig_remove(rig, "a");
    send_now(rig);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", bytes, 3 * PART);
    assert_nothing_unfinished(rig);
}

static int copies_nothing(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PART_COPY && !after ? -EREMOTEIO : 0;
}

static void a_provider_that_does_not_copy(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1);
    uint64_t ino = theirs(rig, bytes, 3 * PART);

    rig->fault = copies_nothing;
    write_at(rig, ino, 5, "one", 3);
    memcpy(bytes + 5, "one", 3);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 3 * PART);
    assert_nothing_unfinished(rig);
    rig_reset_counts(rig);
    write_at(rig, ino, 5, "two", 3);
    memcpy(bytes + 5, "two", 3);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 3 * PART);
    assert_parts(rig, 3, 0);   /* it was not asked again */
}

/* --- readers meanwhile ---------------------------------------------------------------------------------------- */

static void note(const struct error *e, void *arg)
{
    *(int *)arg = e->code;
}

static void noted(struct cloud_request *r, void *arg)
{
    *(bool *)arg = true;
    assert_int_equal(r->error.code, 0);
}

/* The same once more: what the held request will find done. */
static void perform_held(struct rig *rig)
{
    const struct cloud_request *held = rig->held[0];
    bool done = false;
    struct cloud_request *r = cloud_request_new(held->op, noted, &done);

    cloud_request_set(&r->bucket, held->bucket);
    cloud_request_set(&r->key, held->key);
    cloud_request_set(&r->upload_id, held->upload_id);
    r->parts = xcalloc(held->n_parts, sizeof(*r->parts));
    r->n_parts = held->n_parts;
    for (size_t n = 0; n < r->n_parts; n++)
        r->parts[n] = (struct cloud_part){ held->parts[n].number, held->parts[n].size, xstrdup(held->parts[n].etag) };
    cloud_submit(rig->memory, r);
    rig_wait(rig, done);
    cloud_request_free(r);
}

/* Their bytes are at hand in the version that has taken the place of the one they were asked of. */
static void a_reader_waits_while_the_base_is_replaced(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1), *got = xcalloc(1, MIB);
    uint64_t ino = theirs(rig, bytes, 3 * PART);
    struct handle h;
    int code = 1;

    rig->hold[CLOUD_PART_END] = true;
    write_at(rig, ino, 5, "ours", 4);
    rig_wait(rig, rig->n_held == 1);
    perform_held(rig);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_reset_counts(rig);
    fetch_range(cache_find(rig->volume->cache, ino), FETCH_READ, 2 * PART, MIB, 0, note, &code);
    rig_wait(rig, rig->counts[CLOUD_GET] > 0 && rig->in_flight == 1);
    rig_linger(rig);
    assert_int_equal(code, 1);
    rig_release(rig);
    rig_wait(rig, code != 1);
    assert_int_equal(code, 0);
    assert_int_equal(pread(h.data_fd, got, MIB, 2 * PART), MIB);
    assert_memory_equal(got, bytes + 2 * PART, MIB);
    worker_close(rig, &h);
    rig_settle(rig);
}

/* --- what an earlier try has left ------------------------------------------------------------------------------ */

static int fail_third_part(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PART_PUT && r->part_number == 3 && !after ? -ECANCELED : 0;
}

/* Whatever the index says of the file: parts of two states never meet. */
static void a_part_with_other_bytes_is_sent_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(4 * PART, 1);
    CLEANUP_CLOSE int fd = -1;
    char name[32];
    uint64_t ino;

    rig->fault = fail_third_part;
    ino = worker_file(rig, "a", bytes, 4 * PART);
    rig_wait(rig, rig->counts[CLOUD_PART_PUT] >= 3);
    rig_idle(rig);
    (void)snprintf(name, sizeof(name), "%02x/%x.data", (unsigned)ino & 0xff, (unsigned)ino);
    fd = openat(rig->volume->cache->dir_fd, name, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "unseen", 6, 7), 6);
    memcpy(bytes + 7, "unseen", 6);
    rig_close(rig);
    rig->fault = NULL;
    rig_reset_counts(rig);
    rig_open(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 4 * PART);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 0);
    assert_in_range(rig->counts[CLOUD_PART_PUT], 2, 3);
}

static int lose_beginnings(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PART_BEGIN && after && rig->counts[CLOUD_PART_BEGIN] < 3 ? -EHOSTUNREACH : 0;
}

/* Of another agent at the same key, who has sent a part of it. */
static char *others_upload(struct rig *rig)
{
    struct memory *m = rig->memory->state;
    struct cloud_request *r = cloud_request_new(CLOUD_PART_BEGIN, NULL, NULL);
    struct error e;
    char *id;

    cloud_request_set(&r->bucket, rig->volume->bucket);
    cloud_request_set(&r->key, "a");
    assert_int_equal(memory_part_begin(m, r, &e), 0);
    r->part_number = 1;
    assert_int_equal(memory_part_put(m, r, &e), 0);
    id = xstrdup(r->upload_id);
    cloud_request_free(r);
    return id;
}

static void a_beginning_that_was_not_heard_of_is_ended(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(2 * PART, 1), *other = others_upload(rig);
    const struct memory *m = rig->memory->state;

    rig->fault = lose_beginnings;
    (void)worker_file(rig, "a", bytes, 2 * PART);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 2 * PART);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 3);
    assert_int_equal(rig->counts[CLOUD_PART_ABORT], 2);
    assert_string_equal(m->uploads->id, other);
    assert_null(m->uploads->next);
}

static void one_of_a_file_that_is_gone(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(2 * PART, 1);

    rig->fault = lose_beginnings;
    (void)worker_file(rig, "a", bytes, 2 * PART);
    rig_wait(rig, rig->counts[CLOUD_PART_BEGIN] == 1 && rig->in_flight == 0);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    rig_wait(rig, rig->counts[CLOUD_PART_ABORT] == 1 && rig->in_flight == 0);
    assert_nothing_unfinished(rig);
}

/* --- crashes ------------------------------------------------------------------------------------------------------ */

struct moment {
    unsigned step, seen;
    bool after, dead;
};

static int die(struct rig *rig, const struct cloud_request *r, bool after)
{
    struct moment *m = rig->arg;

    if (!m->dead && after == m->after && r->op >= CLOUD_GET && m->seen++ == m->step)
        m->dead = true;
    return m->dead ? -ECANCELED : 0;
}

/* True: there is such a moment. */
static bool dies_at(unsigned step, bool after)
{
    CLEANUP_FREE char *bytes = pattern(3 * PART, 1);
    struct moment m = { .step = step, .after = after };
    struct rig *rig;
    uint64_t ino;
    void *state;

    assert_int_equal(rig_set_up(&state), 0);
    rig = state;
    take_time(rig);
    ino = theirs(rig, bytes, 3 * PART);
    write_at(rig, ino, PART + 1, "changed", 7);
    memcpy(bytes + PART + 1, "changed", 7);
    rig->arg = &m;
    rig->fault = die;
    send_now(rig);
    rig_wait(rig, m.dead || volume_pending(rig->volume) == 0);
    rig_close(rig);
    rig->fault = NULL;
    rig_open(rig);
    rig_settle(rig);
    assert_keys(rig, "a ");
    assert_object(rig, "a", bytes, 3 * PART);
    rig_wait(rig, ((struct memory *)rig->memory->state)->uploads == NULL);
    read_all(rig, ino, 3 * PART);
    rig_tear_down(&state);
    return m.dead;
}

static void an_edit_survives_a_crash_at_every_step(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        unsigned step = 0;

        while (dies_at(step, after))
            assert_true(++step < STEPS_MAX);
        assert_true(step > 4);
    }
}

static void on_ended(void *arg)
{
    *(bool *)arg = true;
}

static void uploads_end_with_their_drive(void **state)
{
    CLEANUP_FREE char *bytes = pattern(2 * PART, 1);
    struct rig *rig = *state;
    bool ended = false;

    rig->hold[CLOUD_PART_END] = true;
    (void)worker_file(rig, "a", bytes, 2 * PART);
    (void)worker_file(rig, "b", bytes, 2 * PART);
    rig_wait(rig, rig->n_held == 2);
    assert_int_equal(rig_uploads(rig), 2);
    volume_end_uploads(rig->volume, on_ended, &ended);
    rig_wait(rig, ended);
    assert_int_equal(rig_uploads(rig), 0);
    assert_keys(rig, "");
    rig_release(rig);
    rig_settle(rig);    /* the drive stays after all */
    assert_object(rig, "a", bytes, 2 * PART);
    assert_object(rig, "b", bytes, 2 * PART);
}

static int away(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    (void)r;
    return after ? 0 : -EHOSTUNREACH;
}

static void a_cloud_that_is_away_keeps_no_drive(void **state)
{
    CLEANUP_FREE char *bytes = pattern(2 * PART, 1);
    struct rig *rig = *state;
    bool ended = false;

    rig->hold[CLOUD_PART_END] = true;
    (void)worker_file(rig, "a", bytes, 2 * PART);
    rig_wait(rig, rig->n_held == 1);
    rig->fault = away;
    volume_end_uploads(rig->volume, on_ended, &ended);
    rig_wait(rig, ended);
    assert_int_equal(rig_uploads(rig), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_edit_sends_one_part),
        TEST(an_append_fetches_next_to_nothing),
        TEST(what_is_here_and_unchanged_is_copied_too),
        TEST(a_new_file_has_no_marks),
        TEST(truncated_and_extended_again),
        TEST(truncated_where_it_never_was_here),
        TEST(marks_outlive_syncd),
        TEST(marks_of_another_boot_count_for_nothing),
        TEST(what_is_mapped_past_the_worker_is_sent),
        TEST(renamed_and_edited),
        cmocka_unit_test_setup_teardown(in_a_folder, rig_set_up_folder, rig_tear_down),
        TEST(a_base_that_others_replaced),
        TEST(a_base_that_others_replace_while_it_is_copied),
        TEST(a_base_that_others_removed),
        TEST(a_provider_that_does_not_copy),
        TEST(a_reader_waits_while_the_base_is_replaced),
        TEST(a_part_with_other_bytes_is_sent_again),
        TEST(a_beginning_that_was_not_heard_of_is_ended),
        TEST(one_of_a_file_that_is_gone),
        TEST(uploads_end_with_their_drive),
        TEST(a_cloud_that_is_away_keeps_no_drive),
        cmocka_unit_test(an_edit_survives_a_crash_at_every_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
