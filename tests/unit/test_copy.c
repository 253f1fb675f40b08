/* copy_file_range(2) made by the cloud: what is copied so and what is not, and that nothing is lost or left over when
 * something comes in between: writes, other writers, a network that goes, interrupts, crashes. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/tally.h"

enum { MIB = 1 << 20, SIZE = 2 * MIB + 77, CLONE_PART = 64 * MIB, SIZE_OF_PIECES = 20 * MIB + 5, PRIME = 6291469,
       BEFORE = 6 * MIB,
       STEPS_MAX = 100 };

/* --- what the stories share ------------------------------------------------------------------------- */

/* However long it takes on a slow machine, what is open is not sent, and nobody's patience ends. */
static void begin(struct rig *rig)
{
    rig->config->quiet_milliseconds = 60 * 1000;
    rig->config->read_deadline_seconds = 60;
}

static int set_up(void **state)
{
    return rig_set_up_with(begin, state);
}

static int set_up_folder(void **state)
{
    return rig_set_up_folder_with(begin, state);
}

/* An object of others that nobody has read. */
static uint64_t source(struct rig *rig, const char *bytes, size_t n)
{
    rig_put(rig, "a", bytes, n);
    rig_relist(rig, INDEX_ROOT);
    return worker_find(rig, "a");
}

static Lf__FsCopy whole(uint64_t from, uint64_t to)
{
    Lf__FsCopy m = LF__FS_COPY__INIT;

    m.ino = to;
    m.source = from;
    m.length = INT64_MAX;
    return m;
}

/* A source, and a file that is open to be written: a new one, or one that the cloud has. */
struct pair {
    char *bytes;        /* the source's */
    size_t before;      /* of the target, and what it has after: */
    char *all;
    uint64_t from;
    struct handle to;
};

static void pair_done(struct pair *p)
{
    free(p->bytes);
    free(p->all);
}

static struct pair pair_with(struct rig *rig, size_t before)
{
    CLEANUP_FREE char *there = pattern(before, 2);
    struct pair p = { .bytes = pattern(SIZE, 1), .before = before, .all = xcalloc(1, before + SIZE) };

    memcpy(p.all, there, before);
    memcpy(p.all + before, p.bytes, SIZE);
    p.from = source(rig, p.bytes, SIZE);
    if (before) {
        uint64_t to = worker_file(rig, "b", there, before);

        rig_settle(rig);
        assert_int_equal(worker_open(rig, to, true, false, &p.to), 0);
    } else {
        assert_int_equal(worker_create(rig, INDEX_ROOT, "b", &p.to), 0);
    }
    rig_reset_counts(rig);
    return p;
}

static struct pair pair(struct rig *rig)
{
    return pair_with(rig, 0);
}

static Lf__FsCopy wanted(const struct pair *p)
{
    Lf__FsCopy m = whole(p->from, p->to.ino);

    m.offset = p->before;
    return m;
}

static ssize_t copy(struct rig *rig, const struct pair *p)
{
    return worker_copy(rig, wanted(p), 7);
}

static void send_copy(struct rig *rig, const struct pair *p, struct rig_asked *asked)
{
    Lf__FsCopy m = wanted(p);
    Lf__Envelope env = IPC_ENVELOPE(FS_COPY, fs_copy, &m);

    env.has_origin = true;
    env.origin = 7;
    rig_send(rig, &env, asked);
}

/* Until the copy has come to a request of that kind, which waits. */
static void send_and_hold(struct rig *rig, const struct pair *p, enum cloud_op op, struct rig_asked *asked)
{
    rig->hold[op] = true;
    send_copy(rig, p, asked);
    rig_wait(rig, rig->n_held > 0);
}

static void assert_moved_nothing(struct rig *rig)
{
    assert_int_equal(rig->counts[CLOUD_GET] + rig->counts[CLOUD_PUT] + rig->counts[CLOUD_PART_PUT], 0);
}

static void assert_size(struct rig *rig, uint64_t ino, size_t size)
{
    Lf__FsAttr attr;

    assert_int_equal(worker_getattr(rig, ino, &attr), 0);
    assert_int_equal(attr.size, size);
}

static void assert_empty(struct rig *rig, uint64_t ino)
{
    assert_size(rig, ino, 0);
}

/* Nothing else is in the bucket, nor was begun there; here is what is there. */
static void assert_end(struct rig *rig, const char *keys, const char *bytes, size_t n)
{
    rig_settle(rig);
    assert_keys(rig, keys);
    assert_int_equal(rig_uploads(rig), 0);
    if (bytes) {
        assert_object(rig, "b", bytes, n);
        worker_assert_reads(rig, worker_find(rig, "b"), bytes, n);
    }
}

/* --- copied ----------------------------------------------------------------------------------------- */

static void a_file_that_nobody_has_read(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    Lf__FsAttr attr;

    assert_int_equal(copy(rig, &p), SIZE);
    assert_moved_nothing(rig);
    assert_int_equal(volume_pending(rig->volume), 0);
    assert_int_equal(atomic_load(&p.to.map->state), CHUNK_MAP_CLEAN);
    assert_int_equal(worker_getattr(rig, p.to.ino, &attr), 0);
    assert_int_equal(attr.size, SIZE);
    assert_int_equal(attr.mode, S_IFREG | 0640);
    assert_int_equal(rig->volume->tally->copies, 1);
    assert_int_equal(rig->volume->tally->copied, SIZE);
    worker_close(rig, &p.to);
    rig_linger(rig);
    assert_moved_nothing(rig);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

/* What others see of it is the target's. */
static void it_has_metadata_of_its_own(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct cloud_request *r;
    Lf__FsAttr attr;

    assert_int_equal(copy(rig, &p), SIZE);
    assert_int_equal(worker_getattr(rig, p.to.ino, &attr), 0);
    worker_close(rig, &p.to);
    r = rig_stat(rig, "b");
    assert_int_equal(r->object.meta.mode, S_IFREG | 0640);
    assert_int_equal(r->object.meta.uid, 1);
    assert_int_equal(r->object.meta.mtime_ns, attr.mtime_ns);
    cloud_request_free(r);
}

static void a_range(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    Lf__FsCopy m = whole(p.from, p.to.ino);

    m.source_offset = 4321;
    m.length = MIB + 5;
    assert_int_equal(worker_copy(rig, m, 7), MIB + 5);
    assert_moved_nothing(rig);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes + 4321, MIB + 5);
}

/* More than there is: what there is. */
static void the_rest_of_a_file(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    Lf__FsCopy m = whole(p.from, p.to.ino);

    m.source_offset = MIB;
    assert_int_equal(worker_copy(rig, m, 7), SIZE - MIB);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes + MIB, SIZE - MIB);
}

/* As a program does it that copies by pieces, or a kernel that copies 4 GiB at most. */
static void piece_by_piece(struct rig *rig, size_t first, size_t piece)
{
    CLEANUP_FREE char *bytes = pattern(SIZE_OF_PIECES, 4);
    uint64_t from = source(rig, bytes, SIZE_OF_PIECES);
    struct handle to;
    Lf__FsCopy m;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "b", &to), 0);
    rig_reset_counts(rig);
    m = whole(from, to.ino);
    m.length = first;
    while (m.source_offset < SIZE_OF_PIECES) {
        ssize_t n = worker_copy(rig, m, 7 + m.offset);

        assert_true(n > 0);
        m.offset = m.source_offset += (uint64_t)n;
        m.length = piece;
    }
    assert_moved_nothing(rig);
    assert_int_equal(volume_pending(rig->volume), 0);
    worker_close(rig, &to);
    assert_end(rig, "a b ", bytes, SIZE_OF_PIECES);
}

static void a_file_piece_by_piece(void **state)
{
    piece_by_piece(*state, 8 * MIB, 8 * MIB);
}

static void pieces_that_nothing_divides(void **state)
{
    piece_by_piece(*state, PRIME, 12 * MIB);
}

static void behind_what_is_here(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair_with(rig, BEFORE);

    assert_int_equal(copy(rig, &p), SIZE);
    assert_moved_nothing(rig);
    assert_int_equal(rig->volume->tally->copied, SIZE);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.all, BEFORE + SIZE);
}

static void a_file_of_several_parts(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(CLONE_PART + 5, 3);
    uint64_t from = source(rig, bytes, CLONE_PART + 5);
    struct handle to;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "b", &to), 0);
    rig_reset_counts(rig);
    assert_int_equal(worker_copy(rig, whole(from, to.ino), 7), CLONE_PART + 5);
    assert_int_equal(rig->counts[CLOUD_PART_COPY], 2);
    assert_moved_nothing(rig);
    worker_close(rig, &to);
    assert_object(rig, "b", bytes, CLONE_PART + 5);
}

/* It replaces the version that the target is based on, and no other one. */
static void over_a_file_that_is_there(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t from = source(rig, bytes, SIZE), to = worker_file(rig, "b", "before", 6);
    struct handle h;

    rig_settle(rig);
    assert_int_equal(worker_open(rig, to, true, true, &h), 0);
    rig_reset_counts(rig);
    assert_int_equal(worker_copy(rig, whole(from, to), 7), SIZE);
    assert_moved_nothing(rig);
    worker_close(rig, &h);
    assert_end(rig, "a b ", bytes, SIZE);
}

static void a_clean_empty_file(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    uint64_t from = source(rig, bytes, SIZE), to = worker_file(rig, "b", "", 0);
    struct handle h;

    rig_settle(rig);
    assert_int_equal(worker_open(rig, to, true, false, &h), 0);
    assert_int_equal(worker_copy(rig, whole(from, to), 7), SIZE);
    worker_close(rig, &h);
    assert_end(rig, "a b ", bytes, SIZE);
}

static void it_is_written_on_afterwards(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);

    assert_int_equal(copy(rig, &p), SIZE);
    worker_write(rig, &p.to, 100, "written", 7);
    memcpy(p.bytes + 100, "written", 7);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

static void a_copy_of_the_copy(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct handle third;

    assert_int_equal(copy(rig, &p), SIZE);
    worker_close(rig, &p.to);
    assert_int_equal(worker_create(rig, INDEX_ROOT, "c", &third), 0);
    assert_int_equal(worker_copy(rig, whole(p.to.ino, third.ino), 8), SIZE);
    worker_close(rig, &third);
    assert_moved_nothing(rig);
    assert_object(rig, "c", p.bytes, SIZE);
}

/* --- not copied --------------------------------------------------------------------------------------- */

struct refusal {
    const char *name;
    void (*prepare)(struct rig *rig, struct pair *p, Lf__FsCopy *m);
};

static void small(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    (void)p;
    m->length = MIB - 1;
}

/* Read by a program that still has it open, as whoever copies it. */
static void read_open(struct rig *rig, uint64_t ino, const char *bytes, size_t n)
{
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    worker_assert_reads(rig, ino, bytes, n);
    worker_forget_handle(&h);
}

/* What is here goes up behind. */
static void warm(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)m;
    read_open(rig, p->from, p->bytes, SIZE);
}

static void dirty(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    struct handle h;

    (void)m;
    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_open(rig, p->from, true, false, &h), 0);
    worker_write(rig, &h, 0, "x", 1);
    worker_close(rig, &h);
}

/* The kernel of a shared mapping may write at any moment. */
static void mapped(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    struct handle h;

    (void)m;
    assert_int_equal(worker_open(rig, p->from, true, false, &h), 0);
    h.map->mount_tag = rig->volume->mount_tag;
    atomic_store(&h.map->passed, 1);
    atomic_store(&h.map->writers, 1);
    worker_forget_handle(&h);
}

static void removed(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    struct handle h;

    (void)m;
    assert_int_equal(worker_open(rig, p->from, false, false, &h), 0);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    worker_forget_handle(&h);
}

static void a_directory(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)p;
    m->source = worker_mkdir(rig, "d");
}

static void itself(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    m->ino = p->from;
}

static void unknown(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    (void)p;
    m->source = 4711;
}

static void to_nobody(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    (void)p;
    m->ino = 4711;
}

static void behind_its_end(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    (void)p;
    m->source_offset = SIZE;
}

static void dirty_target(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    CLEANUP_FREE char *bytes = pattern(BEFORE, 2);

    worker_write(rig, &p->to, 0, bytes, BEFORE);
    m->offset = BEFORE;
}

static unsigned pending_of(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    return i.pending;
}

/* Parts that the cloud would not take. */
static void short_target(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    m->ino = worker_file(rig, "short", p->bytes, SIZE);
    m->offset = SIZE;
    upload_start(rig->volume->uploader, UPLOAD_CONTENT, m->ino);
    rig_wait(rig, pending_of(rig, m->ino) == 0);
}

static void far_away(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    (void)p;
    m->source_offset = m->length = UINT64_MAX;
}

static void not_empty(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)m;
    worker_write(rig, &p->to, 0, "x", 1);
}

static void not_to_its_beginning(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)rig;
    (void)p;
    m->offset = 1;
}

static void removed_target(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)p;
    (void)m;
    assert_int_equal(worker_unlink(rig, "b"), 0);
}

static void paused(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)p;
    (void)m;
    volume_pause(rig->volume, true);
}

static void no_network(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)p;
    (void)m;
    reach_lose(&rig->volume->tally->reach, &(struct error){ .code = -EHOSTUNREACH });
}

static void uploads_rest(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)p;
    (void)m;
    uploader_rest(rig->volume->uploader, -EHOSTUNREACH);
}

static void does_not_copy(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)p;
    (void)m;
    rig->volume->uploader->copies_after_ns = INT64_MAX;
}

static void refused_by_the_disk(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    struct index *x = rig->volume->index;

    (void)m;
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, index_fault_put(x, p->to.ino, -EIO)), 0);
}

static void metadata_unknown(struct rig *rig, struct pair *p, Lf__FsCopy *m)
{
    (void)m;
    rig_forget_meta(rig, p->to.ino);
}

static const struct refusal refusals[] = {
    { "small", small }, { "warm", warm }, { "dirty", dirty }, { "mapped", mapped }, { "removed", removed },
    { "a directory", a_directory }, { "itself", itself }, { "unknown", unknown }, { "to nobody", to_nobody },
    { "behind its end", behind_its_end }, { "far away", far_away }, { "not empty", not_empty },
    { "not to its beginning", not_to_its_beginning }, { "removed target", removed_target },
    { "dirty target", dirty_target }, { "short target", short_target }, { "paused", paused },
    { "no network", no_network },
    { "uploads rest", uploads_rest }, { "does not copy", does_not_copy },
    { "refused by the disk", refused_by_the_disk }, { "metadata unknown", metadata_unknown },
};

static void is_refused(const struct refusal *f)
{
    struct rig *rig;
    struct pair p;
    Lf__FsCopy m;
    void *state;
    ssize_t r;

    assert_int_equal(set_up(&state), 0);
    rig = state;
    p = pair(rig);
    rig->config->settle_milliseconds = 60000;
    m = whole(p.from, p.to.ino);
    f->prepare(rig, &p, &m);
    rig_reset_counts(rig);
    r = worker_copy(rig, m, 7);
    if (r != -EOPNOTSUPP || rig->counts[CLOUD_PART_BEGIN])
        fail_msg("%s: %zd", f->name, r);
    worker_forget_handle(&p.to);
    pair_done(&p);
    rig_release(rig);
    rig_tear_down(&state);
}

static void the_kernel_copies_by_itself(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(refusals); n++)
        is_refused(&refusals[n]);
}

/* Unlike a part of that size, which goes up in one request. */
static void a_large_one_that_is_here(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(UPLOAD_SINGLE_MAX, 1);
    uint64_t from = source(rig, bytes, UPLOAD_SINGLE_MAX);
    struct handle to;

    read_open(rig, from, bytes, UPLOAD_SINGLE_MAX);
    assert_int_equal(worker_create(rig, INDEX_ROOT, "b", &to), 0);
    assert_int_equal(worker_copy(rig, whole(from, to.ino), 7), UPLOAD_SINGLE_MAX);
    worker_close(rig, &to);
    assert_end(rig, "a b ", bytes, UPLOAD_SINGLE_MAX);
}

/* --- something comes in between ------------------------------------------------------------------------ */

static const enum cloud_op steps[] = { CLOUD_PART_BEGIN, CLOUD_PART_COPY, CLOUD_STAT, CLOUD_PART_END };

/* A copy in a rig of its own, whose request of one kind waits. */
struct halted {
    void *state;
    struct rig *rig;
    struct pair p;
    struct rig_asked asked;
};

static void halt(struct halted *h, enum cloud_op op, size_t before)
{
    assert_int_equal(set_up(&h->state), 0);
    h->rig = h->state;
    h->p = pair_with(h->rig, before);
    send_and_hold(h->rig, &h->p, op, &h->asked);
}

static void let_go_on(struct halted *h, int code)
{
    rig_release(h->rig);
    rig_wait(h->rig, h->asked.done);
    assert_int_equal(h->asked.code, code);
}

static void halted_done(struct halted *h)
{
    pair_done(&h->p);
    rig_tear_down(&h->state);
}

static void written_meanwhile(enum cloud_op op, size_t before)
{
    CLEANUP(halted_done) struct halted h = { 0 };

    halt(&h, op, before);
    memcpy(h.p.all, "written", 7);
    worker_write(h.rig, &h.p.to, 0, "written", 7);
    let_go_on(&h, -EOPNOTSUPP);
    worker_close(h.rig, &h.p.to);
    assert_end(h.rig, "a b ", h.p.all, before ? before : 7);
    assert_int_equal(h.rig->volume->tally->copies, 0);
}

static void it_is_written_meanwhile(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(steps); n++)
        for (size_t before = 0; before <= BEFORE; before += BEFORE)
            written_meanwhile(steps[n], before);
}

static void removed_meanwhile(enum cloud_op op)
{
    CLEANUP(halted_done) struct halted h = { 0 };

    halt(&h, op, 0);
    assert_int_equal(worker_unlink(h.rig, "b"), 0);
    let_go_on(&h, -EOPNOTSUPP);
    worker_close(h.rig, &h.p.to);
    assert_end(h.rig, "a ", NULL, 0);
}

static void it_is_removed_meanwhile(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(steps); n++)
        removed_meanwhile(steps[n]);
}

static void renamed_meanwhile(enum cloud_op op)
{
    CLEANUP(halted_done) struct halted h = { 0 };

    halt(&h, op, 0);
    assert_int_equal(worker_rename(h.rig, "b", "c", 0), 0);
    assert_int_equal(worker_rename(h.rig, "a", "d", 0), 0);
    let_go_on(&h, 0);
    worker_close(h.rig, &h.p.to);
    assert_end(h.rig, "c d ", NULL, 0);
    assert_object(h.rig, "c", h.p.bytes, SIZE);
    worker_assert_reads(h.rig, worker_find(h.rig, "c"), h.p.bytes, SIZE);
}

static void both_are_renamed_meanwhile(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(steps); n++)
        renamed_meanwhile(steps[n]);
}

/* No part is of another version than the one that was looked at. */
static void changed_meanwhile(enum cloud_op op)
{
    CLEANUP(halted_done) struct halted h = { 0 };

    halt(&h, op, 0);
    rig_put(h.rig, "a", "another", 7);
    let_go_on(&h, -EOPNOTSUPP);
    assert_empty(h.rig, h.p.to.ino);
    worker_close(h.rig, &h.p.to);
    assert_end(h.rig, "a b ", "", 0);
}

static void the_source_is_changed_in_the_cloud(void **state)
{
    (void)state;
    for (size_t n = 0; n < 3; n++)
        changed_meanwhile(steps[n]);
}

/* As Ceph before 17. */
static int does_not_compare(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    if (r->op == CLOUD_PART_COPY && !after)
        cloud_request_set((char **)(uintptr_t)&r->if_match, NULL);
    return 0;
}

/* Where it lies under its old name still, the last request cannot say that it did not change. */
static void what_comes_first_is_changed_in_the_cloud(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair_with(rig, BEFORE);
    CLEANUP_FREE char *theirs = pattern(BEFORE, 3);

    rig->config->settle_milliseconds = 60000;
    rig->fault = does_not_compare;
    assert_int_equal(worker_rename(rig, "b", "c", 0), 0);
    rig_put(rig, "b", theirs, BEFORE);
    assert_int_equal(copy(rig, &p), -EOPNOTSUPP);
    assert_keys(rig, "a b ");
    assert_object(rig, "b", theirs, BEFORE);
    worker_forget_handle(&p.to);
}

/* The program copies by itself then, and both are kept. */
static void the_name_is_taken_in_the_cloud(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked asked;

    send_and_hold(rig, &p, CLOUD_PART_END, &asked);
    rig_put(rig, "b", "theirs", 6);
    rig_release(rig);
    rig_wait(rig, asked.done);
    assert_int_equal(asked.code, -EOPNOTSUPP);
    worker_write(rig, &p.to, 0, "ours", 4);
    worker_close(rig, &p.to);
    rig_settle(rig);
    rig_assert_both(rig, "b", "theirs", p.to.ino, "ours");
    assert_int_equal(rig_uploads(rig), 0);
}

/* What the target was before is on its way. */
static void it_waits_for_its_turn(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked asked;

    rig->hold[CLOUD_PUT] = true;
    upload_start(rig->volume->uploader, UPLOAD_CONTENT, p.to.ino);
    rig_wait(rig, rig->n_held == 1);
    send_copy(rig, &p, &asked);
    rig_linger(rig);
    assert_false(asked.done);
    assert_int_equal(rig->counts[CLOUD_PART_BEGIN], 0);
    rig_release(rig);
    rig_wait(rig, asked.done);
    assert_int_equal(asked.code, 0);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

static void only_some_are_made_at_once(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked asked[6];
    struct handle to[6] = { p.to };

    for (size_t n = 1; n < ARRAY_SIZE(to); n++)
        assert_int_equal(worker_create(rig, INDEX_ROOT, (char[]){ (char)('b' + n), '\0' }, &to[n]), 0);
    rig->hold[CLOUD_PART_BEGIN] = true;
    for (size_t n = 0; n < ARRAY_SIZE(to); n++) {
        p.to = to[n];
        send_copy(rig, &p, &asked[n]);
    }
    rig_wait(rig, rig->n_held == 4);
    rig_linger(rig);
    assert_int_equal(rig->n_held, 4);
    rig_release(rig);
    for (size_t n = 0; n < ARRAY_SIZE(to); n++) {
        rig_wait(rig, asked[n].done);
        assert_int_equal(asked[n].code, 0);
        worker_close(rig, &to[n]);
    }
    assert_moved_nothing(rig);
}

static void its_turn_does_not_come(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);

    rig->config->read_deadline_seconds = 1;
    rig->hold[CLOUD_PUT] = true;
    upload_start(rig->volume->uploader, UPLOAD_CONTENT, p.to.ino);
    assert_int_equal(copy(rig, &p), -ECANCELED);
    rig_release(rig);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", "", 0);
}

/* --- the cloud is away ----------------------------------------------------------------------------------- */

struct lost {
    enum cloud_op op;
    bool after;
};

static int lose_one(struct rig *rig, const struct cloud_request *r, bool after)
{
    const struct lost *l = rig->arg;

    return r->op == l->op && after == l->after ? -ETIMEDOUT : 0;
}

/* Whatever the cloud has done of it. `written`: the program goes on by itself, or gives up. */
static void an_answer_is_lost(struct lost l, bool written, size_t before)
{
    struct rig *rig;
    struct pair p;
    void *state;

    assert_int_equal(set_up(&state), 0);
    rig = state;
    p = pair_with(rig, before);
    rig->arg = &l;
    rig->fault = lose_one;
    assert_int_equal(copy(rig, &p), -EOPNOTSUPP);
    rig->fault = NULL;
    assert_size(rig, p.to.ino, before);
    if (written)
        worker_write(rig, &p.to, before, p.bytes, SIZE);
    worker_close(rig, &p.to);
    rig_come_back(rig);
    assert_end(rig, "a b ", p.all, before + (written ? SIZE : 0));
    pair_done(&p);
    rig_tear_down(&state);
}

static void answers_are_lost(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(steps); n++)
        for (unsigned how = 0; how < 8; how++)
            an_answer_is_lost((struct lost){ steps[n], how & 1 }, how & 2, how & 4 ? BEFORE : 0);
}

/* Nor does it find its own object in its way when it is copied once more. */
static void once_more_after_a_lost_answer(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct lost l = { CLOUD_PART_END, true };

    rig->arg = &l;
    rig->fault = lose_one;
    assert_int_equal(copy(rig, &p), -EOPNOTSUPP);
    rig->fault = NULL;
    assert_int_equal(worker_copy(rig, whole(p.from, p.to.ino), 8), SIZE);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

static void who_waits_is_told_to_wait_on(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked asked;

    send_and_hold(rig, &p, CLOUD_PART_COPY, &asked);
    rig->config->read_deadline_seconds = 6;   /* he is told after the half of it */
    rig_wait(rig, asked.done);
    rig->config->read_deadline_seconds = 60;
    assert_int_equal(asked.code, 0);   /* of the question, not the copy */
    assert_empty(rig, p.to.ino);
    rig_release(rig);
    assert_int_equal(copy(rig, &p), SIZE);
    assert_int_equal(rig->counts[CLOUD_PART_COPY], 1);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

static void the_cloud_says_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);

    rig->config->read_deadline_seconds = 1;
    rig->hold[CLOUD_PART_BEGIN] = true;
    assert_int_equal(copy(rig, &p), -ECANCELED);
    rig_release(rig);
    worker_write(rig, &p.to, 0, "ours", 4);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", "ours", 4);
}

/* A service with many parts, or a folder that is not on this disk. */
static void parts_are_put_together_slowly(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked asked;
    int64_t begun;

    send_and_hold(rig, &p, CLOUD_PART_END, &asked);
    rig->config->read_deadline_seconds = 3;
    begun = loop_now_ns();
    while (loop_now_ns() - begun < INT64_C(4500000000)) {
        rig_wait(rig, asked.done);
        send_copy(rig, &p, &asked);
    }
    rig->config->read_deadline_seconds = 60;
    rig_release(rig);
    assert_int_equal(copy(rig, &p), SIZE);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

static void nobody_waits_any_more(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked asked;

    send_and_hold(rig, &p, CLOUD_PART_COPY, &asked);
    rig->config->read_deadline_seconds = 1;
    rig_wait(rig, asked.done);
    rig_wait(rig, rig->n_held == 0);   /* canceled */
    rig_release(rig);
    rig_idle(rig);
    assert_empty(rig, p.to.ino);
    worker_close(rig, &p.to);
    assert_end(rig, "a b ", "", 0);
}

/* --- interrupts, repeats ----------------------------------------------------------------------------------- */

static void stop(struct rig *rig, uint64_t ino)
{
    Lf__FsCopyStop m = LF__FS_COPY_STOP__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_COPY_STOP, fs_copy_stop, &m);

    m.ino = ino;
    assert_int_equal(rig_ask(rig, &env, NULL, NULL), 0);
}

static void interrupted_at(enum cloud_op op)
{
    CLEANUP(halted_done) struct halted h = { 0 };

    halt(&h, op, 0);
    stop(h.rig, h.p.to.ino);
    if (op == CLOUD_PART_END)   /* which cannot be taken back */
        let_go_on(&h, op == CLOUD_PART_END ? 0 : -ECANCELED);
    rig_release(h.rig);
    worker_close(h.rig, &h.p.to);
    assert_end(h.rig, "a b ", op == CLOUD_PART_END ? h.p.bytes : "", op == CLOUD_PART_END ? SIZE : 0);
}

static void a_program_is_interrupted(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(steps); n++)
        interrupted_at(steps[n]);
    stop(*state, 4711);   /* nothing is being copied */
}

static void another_worker_waits_on(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);
    struct rig_asked first;

    send_and_hold(rig, &p, CLOUD_PART_COPY, &first);
    rig_lose_worker(rig);
    rig_release(rig);
    assert_int_equal(copy(rig, &p), SIZE);
    assert_int_equal(rig->counts[CLOUD_PART_COPY], 1);
    worker_forget_handle(&p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

/* The answer was on its way when its worker died, or syncd did. */
static void it_is_asked_again_when_it_is_done(void **state)
{
    struct rig *rig = *state;
    CLEANUP(pair_done) struct pair p = pair(rig);

    assert_int_equal(copy(rig, &p), SIZE);
    rig_reset_counts(rig);
    rig_lose_worker(rig);
    assert_int_equal(copy(rig, &p), SIZE);
    rig_reopen(rig);
    assert_int_equal(copy(rig, &p), SIZE);
    assert_int_equal(rig->counts[CLOUD_PART_COPY], 0);
    worker_forget_handle(&p.to);
    assert_end(rig, "a b ", p.bytes, SIZE);
}

/* --- crashes ------------------------------------------------------------------------------------------------- */

struct moment {
    unsigned step, seen;
    bool after, dead;
};

static int die(struct rig *rig, const struct cloud_request *r, bool after)
{
    struct moment *m = rig->arg;

    if (!m->dead && r->op != CLOUD_LIST && after == m->after && m->seen++ == m->step)
        m->dead = true;
    return m->dead ? -ECANCELED : 0;
}

static void copy_or_write(struct rig *rig, const struct pair *p)
{
    ssize_t n = copy(rig, p);
    struct handle h;

    if (n == SIZE)
        return;
    assert_int_equal(n, -EOPNOTSUPP);
    assert_true(p->before > 0);   /* which is dirty by now */
    assert_int_equal(worker_open(rig, p->to.ino, true, false, &h), 0);
    worker_write(rig, &h, p->before, p->bytes, SIZE);
    worker_close(rig, &h);
}

/* `again`: the worker asks the next syncd again, and the program goes on by itself where it cannot; else the program has
 * gone. True: there is such a moment. */
static bool dies_at(unsigned step, bool after, bool again, size_t before)
{
    struct moment m = { .step = step, .after = after };
    struct rig_asked asked;
    struct rig *rig;
    struct pair p;
    void *state;

    assert_int_equal(set_up(&state), 0);
    rig = state;
    p = pair_with(rig, before);
    rig->arg = &m;
    rig->fault = die;
    send_copy(rig, &p, &asked);
    rig_wait(rig, m.dead || asked.done);
    rig_close(rig);
    rig->fault = NULL;
    rig_open(rig);
    worker_forget_handle(&p.to);
    if (again)
        copy_or_write(rig, &p);
    again |= !m.dead;
    assert_end(rig, "a b ", p.all, before + (again ? SIZE : 0));
    assert_int_equal(rig_files(rig), 2);
    pair_done(&p);
    rig_tear_down(&state);
    return m.dead;
}

static void syncd_dies_at_every_step(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 8; how++) {
        unsigned step = 0;

        while (dies_at(step, how & 1, how & 2, how & 4 ? BEFORE : 0))
            assert_true(++step < STEPS_MAX);
        assert_true(step >= ARRAY_SIZE(steps));
    }
}

#define STORY(story) cmocka_unit_test_setup_teardown(story, set_up, rig_tear_down)
#define STORY_IN_A_FOLDER(story) cmocka_unit_test_setup_teardown(story, set_up_folder, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_file_that_nobody_has_read),
        STORY_IN_A_FOLDER(a_file_that_nobody_has_read),
        STORY(it_has_metadata_of_its_own),
        STORY(a_range),
        STORY_IN_A_FOLDER(a_range),
        STORY(the_rest_of_a_file),
        STORY(a_file_of_several_parts),
        STORY(a_file_piece_by_piece),
        STORY_IN_A_FOLDER(a_file_piece_by_piece),
        STORY(pieces_that_nothing_divides),
        STORY(behind_what_is_here),
        STORY(over_a_file_that_is_there),
        STORY_IN_A_FOLDER(over_a_file_that_is_there),
        STORY(a_clean_empty_file),
        STORY(it_is_written_on_afterwards),
        STORY(a_copy_of_the_copy),
        cmocka_unit_test(the_kernel_copies_by_itself),
        STORY(a_large_one_that_is_here),
        cmocka_unit_test(it_is_written_meanwhile),
        cmocka_unit_test(it_is_removed_meanwhile),
        cmocka_unit_test(both_are_renamed_meanwhile),
        cmocka_unit_test(the_source_is_changed_in_the_cloud),
        STORY(what_comes_first_is_changed_in_the_cloud),
        STORY(the_name_is_taken_in_the_cloud),
        STORY(it_waits_for_its_turn),
        STORY(only_some_are_made_at_once),
        STORY(its_turn_does_not_come),
        cmocka_unit_test(answers_are_lost),
        STORY(once_more_after_a_lost_answer),
        STORY(who_waits_is_told_to_wait_on),
        STORY(the_cloud_says_nothing),
        STORY(parts_are_put_together_slowly),
        STORY(nobody_waits_any_more),
        STORY(a_program_is_interrupted),
        STORY(another_worker_waits_on),
        STORY(it_is_asked_again_when_it_is_done),
        cmocka_unit_test(syncd_dies_at_every_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
