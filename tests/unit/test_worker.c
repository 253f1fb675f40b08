/* mountd/worker: what it answers the kernel, what it asks syncd, and what it does not ask. */
#include "tests/unit/worker_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

#define ASKED(b, BODY) ((b)->syncd->asked[LF__ENVELOPE__BODY_##BODY])

static int setup(void **state)
{
    *state = bench_new();
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

/* --- the session ------------------------------------------------------------------------------------- */

static void init_is_answered_as_designed(void **state)
{
    struct bench *b = *state;
    const struct packet *p = bench_answer(b, 1);
    struct fuse_init_out out;

    assert_int_equal(p->head.error, 0);
    (void)memcpy(&out, p->body, sizeof(out));
    assert_int_equal(out.major, 7);
    assert_int_equal(out.max_write, 1024 * 1024);
    assert_int_equal(out.max_pages, 256);
    assert_true(out.flags & FUSE_DO_READDIRPLUS);
    assert_true(out.flags & FUSE_ATOMIC_O_TRUNC);
    assert_true(out.flags & FUSE_PARALLEL_DIROPS);
    assert_false(out.flags & (FUSE_WRITEBACK_CACHE | FUSE_AUTO_INVAL_DATA | FUSE_READDIRPLUS_AUTO | FUSE_FLOCK_LOCKS |
                              FUSE_EXPORT_SUPPORT | FUSE_POSIX_ACL));
}

static uint64_t send_getattr(struct bench *b, uint64_t ino)
{
    struct fuse_getattr_in in = { 0 };

    return bench_send(b, FUSE_GETATTR, ino, BENCH_PART(in), NULL);
}

static void strangers_are_refused(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "x", 1);
    unsigned before = ASKED(b, FS_GETATTR);

    b->uid = BENCH_UID + 1;
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, -EACCES);
    assert_int_equal(ASKED(b, FS_GETATTR), before);
    b->uid = BENCH_UID;
    (void)bench_open(b, ino, O_RDONLY);
    b->uid = BENCH_UID + 1;
    bench_release(b, ino, O_RDONLY);   /* closing is not asking */
    b->uid = 0;
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
    b->uid = BENCH_UID;
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
}

static void a_successor_asks_for_what_was_read_before(void **state)
{
    struct bench *b = *state;

    bench_replace_worker(b);
    assert_int_equal(bench_notified(b, 7)->head.len, sizeof(struct fuse_out_header));
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
}

static void invalidations_reach_the_kernel(void **state)
{
    struct bench *b = *state;
    struct fuse_notify_inval_entry_out entry;
    struct fuse_notify_inval_inode_out inode;
    const struct packet *p;

    (void)bench_answer(b, send_getattr(b, 1));   /* the channel stands */
    fake_invalidate(b->syncd, 1, "na me", false);
    p = bench_notified(b, FUSE_NOTIFY_INVAL_ENTRY);
    (void)memcpy(&entry, p->body, sizeof(entry));
    assert_int_equal(entry.parent, 1);
    assert_int_equal(entry.namelen, 5);
    assert_string_equal(p->body + sizeof(entry), "na me");
    fake_invalidate(b->syncd, 9, NULL, true);
    (void)memcpy(&inode, bench_notified(b, FUSE_NOTIFY_INVAL_INODE)->body, sizeof(inode));
    assert_int_equal(inode.ino, 9);
    assert_int_equal(inode.off, 0);
}

/* The notifier works them off one after the other. */
static void invalidations_keep_their_order(void **state)
{
    enum { MANY = 200 };
    struct bench *b = *state;
    struct fuse_notify_inval_inode_out inode;
    size_t before;

    (void)bench_answer(b, send_getattr(b, 1));
    before = b->n_packets;
    for (uint64_t ino = 1; ino <= MANY; ino++)
        fake_invalidate(b->syncd, ino, NULL, true);
    wait_until(b, b->n_packets == before + MANY);
    for (uint64_t n = 0; n < MANY; n++) {
        (void)memcpy(&inode, b->packets[before + n].body, sizeof(inode));
        assert_int_equal(inode.ino, n + 1);
    }
}

/* By it syncd knows what an earlier worker asked. */
static void a_request_keeps_its_number_when_another_worker_gets_it(void **state)
{
    const uint64_t resend = UINT64_C(1) << 63;
    struct bench *b = *state;
    uint64_t unique = send_getattr(b, 1);

    (void)bench_answer(b, unique);
    assert_int_equal(b->syncd->origin, unique);
    bench_replace_worker(b);
    bench_attach(b);
    b->syncd->origin = 0;
    b->unique = (unique | resend) - 2;
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(b->syncd->origin, unique);
}

/* --- names --------------------------------------------------------------------------------------------- */

static struct fuse_entry_out lookup(struct bench *b, const char *name)
{
    const struct packet *p = bench_answer(b, bench_send(b, FUSE_LOOKUP, 1, name, strlen(name) + 1, NULL));
    struct fuse_entry_out out;

    assert_int_equal(p->head.error, 0);
    (void)memcpy(&out, p->body, sizeof(out));
    return out;
}

static void a_lookup_gives_node_and_how_long_it_holds(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "a", "hello", 5);
    struct fuse_entry_out e = lookup(b, "a");

    assert_int_equal(e.nodeid, ino);
    assert_int_equal(e.attr.size, 5);
    assert_int_equal(e.attr_valid, 3600);
    assert_int_equal(e.entry_valid, 3600);
    fake_node(b->syncd, ino)->unsettled = true;
    assert_int_equal(lookup(b, "a").attr_valid, 1);
}

static void what_is_not_there_is_believed_for_a_second(void **state)
{
    struct fuse_entry_out e = lookup(*state, "nothing");

    assert_int_equal(e.nodeid, 0);
    assert_int_equal(e.entry_valid, 1);
}

static void a_name_too_long_is_said_to_be(void **state)
{
    struct bench *b = *state;
    char name[257] = { 0 };

    (void)memset(name, 'x', 256);
    assert_int_equal(bench_answer(b, bench_send(b, FUSE_LOOKUP, (uint64_t)1, name, sizeof(name), NULL))->head.error,
                     -ENAMETOOLONG);
}

static void refusals_of_syncd_become_errnos(void **state)
{
    struct bench *b = *state;
    struct fuse_mkdir_in in = { .mode = 0755 };
    uint64_t unique;

    b->syncd->hold = LF__ENVELOPE__BODY_FS_MKDIR;
    b->syncd->fail = -EROFS;
    unique = bench_send(b, FUSE_MKDIR, 1, BENCH_PART(in), "d", (size_t)2, NULL);
    assert_int_equal(bench_answer(b, unique)->head.error, -EROFS);
    b->syncd->fail = -EHOSTUNREACH;
    unique = bench_send(b, FUSE_MKDIR, 1, BENCH_PART(in), "d", (size_t)2, NULL);
    assert_int_equal(bench_answer(b, unique)->head.error, -EIO);
}

static void hard_links_and_devices_are_not_permitted(void **state)
{
    struct bench *b = *state;
    struct fuse_link_in link = { .oldnodeid = 2 };
    struct fuse_mknod_in node = { .mode = S_IFCHR | 0644, .rdev = 0x103 };

    assert_int_equal(bench_answer(b, bench_send(b, FUSE_LINK, 1, BENCH_PART(link), "n", (size_t)2, NULL))->head.error,
                     -EPERM);
    assert_int_equal(bench_answer(b, bench_send(b, FUSE_MKNOD, 1, BENCH_PART(node), "n", (size_t)2, NULL))->head.error,
                     -EPERM);
}

static void only_user_attributes_exist(void **state)
{
    struct bench *b = *state;
    struct fuse_getxattr_in in = { .size = 100 };
    uint64_t unique = bench_send(b, FUSE_GETXATTR, 1, BENCH_PART(in), "security.capability", (size_t)20, NULL);

    assert_int_equal(bench_answer(b, unique)->head.error, -EOPNOTSUPP);
    assert_int_equal(ASKED(b, FS_XATTR_GET), 0);
    unique = bench_send(b, FUSE_GETXATTR, 1, BENCH_PART(in), "user.x", (size_t)7, NULL);
    assert_int_equal(bench_answer(b, unique)->head.error, -ENODATA);
    assert_int_equal(ASKED(b, FS_XATTR_GET), 1);
}

/* --- directories --------------------------------------------------------------------------------------- */

/* Appends the names of one answer to `names`; returns the offset to go on at, or 0 when nothing came. */
static uint64_t read_page(struct bench *b, uint64_t offset, uint32_t size, char *names)
{
    struct fuse_read_in in = { .offset = offset, .size = size };
    const struct packet *p = bench_answer(b, bench_send(b, FUSE_READDIRPLUS, 1, BENCH_PART(in), NULL));
    uint64_t next = 0;

    assert_int_equal(p->head.error, 0);
    assert_true(p->size <= size);
    for (size_t at = 0; at < p->size;) {
        const struct fuse_direntplus *d = (const void *)(p->body + at);

        (void)strncat(names, d->dirent.name, d->dirent.namelen);
        (void)strcat(names, " ");
        next = d->dirent.off;
        at += FUSE_DIRENTPLUS_SIZE(d);
    }
    return next;
}

static void a_directory_is_read_in_pages(void **state)
{
    struct bench *b = *state;
    char names[256] = "", name[8];
    uint64_t offset = 0, next;
    unsigned pages = 0;

    for (char c = 'a'; c <= 'h'; c++) {
        (void)snprintf(name, sizeof(name), "%c", c);
        (void)fake_add_file(b->syncd, 1, name, "", 0);
    }
    while ((next = read_page(b, offset, 700, names))) {
        assert_true(next > offset);
        offset = next;
        pages++;
    }
    assert_string_equal(names, ". .. a b c d e f g h ");
    assert_true(pages > 2);
}

/* syncd corrects them behind, but its word may come before the kernel knows what it is about. */
static void listed_attributes_hold_briefly_until_they_are_settled(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "a", "", 0);
    struct fuse_read_in in = { .offset = 2, .size = 700 };
    const struct fuse_direntplus *d;

    for (int unsettled = 0; unsettled < 2; unsettled++) {
        fake_node(b->syncd, ino)->unsettled = unsettled;
        d = (const void *)bench_answer(b, bench_send(b, FUSE_READDIRPLUS, (uint64_t)1, BENCH_PART(in), NULL))->body;
        assert_int_equal(d->entry_out.nodeid, ino);
        assert_int_equal(d->entry_out.attr_valid, unsettled ? 10 : 3600);
    }
}

/* --- reading ------------------------------------------------------------------------------------------- */

static void bytes_are_fetched_once(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);
    const struct packet *p;

    (void)bench_open(b, ino, O_RDONLY);
    p = bench_answer(b, bench_send_read(b, ino, 6, 100, O_RDONLY));
    assert_int_equal(p->size, 5);
    assert_memory_equal(p->body, "bytes", 5);
    assert_int_equal(ASKED(b, FS_FETCH), 1);
    p = bench_answer(b, bench_send_read(b, ino, 0, 5, O_RDONLY));
    assert_memory_equal(p->body, "cloud", 5);
    assert_int_equal(ASKED(b, FS_FETCH), 1);
    assert_int_equal(bench_answer(b, bench_send_read(b, ino, 11, 5, O_RDONLY))->size, 0);
}

static void a_fetch_that_fails_fails_the_read(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_RDONLY);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    b->syncd->fail = -EHOSTUNREACH;
    assert_int_equal(bench_answer(b, bench_send_read(b, ino, 0, 4, O_RDONLY))->head.error, -EIO);
}

static void others_are_served_while_one_waits(void **state)
{
    struct bench *b = *state;
    uint64_t slow = fake_add_file(b->syncd, 1, "slow", "slow", 4), waiting;

    (void)bench_open(b, slow, O_RDONLY);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    waiting = bench_send_read(b, slow, 0, 4, O_RDONLY);
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
    assert_false(bench_answered(b, waiting));
    fake_resume(b->syncd);
    assert_memory_equal(bench_answer(b, waiting)->body, "slow", 4);
}

static void a_new_version_is_read_in_its_new_size(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "old", 3);
    const struct packet *p;

    (void)bench_open(b, ino, O_RDONLY);
    (void)bench_answer(b, bench_send_read(b, ino, 0, 100, O_RDONLY));
    fake_new_version(b->syncd, ino, "something new", 13);
    p = bench_answer(b, bench_send_read(b, ino, 3, 100, O_RDONLY));
    assert_int_equal(p->size, 10);
    assert_memory_equal(p->body, "ething new", 10);
}

static void an_interrupted_read_ends_early(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "bytes", 5);
    struct fuse_interrupt_in in;
    int64_t begun = loop_now_ns();

    (void)bench_open(b, ino, O_RDONLY);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    in.unique = bench_send_read(b, ino, 0, 4, O_RDONLY);
    wait_until(b, b->syncd->n_held == 1);
    (void)bench_send(b, FUSE_INTERRUPT, 0, BENCH_PART(in), NULL);
    assert_int_equal(bench_answer(b, in.unique)->head.error, -EINTR);
    assert_true(loop_now_ns() - begun < 30000000000);   /* the deadline is a minute */
    fake_resume(b->syncd);
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
}

/* --- writing ------------------------------------------------------------------------------------------- */

static void assert_written(struct bench *b, uint64_t unique, uint32_t size)
{
    const struct packet *p = bench_answer(b, unique);
    struct fuse_write_out out;

    assert_int_equal(p->head.error, 0);
    (void)memcpy(&out, p->body, sizeof(out));
    assert_int_equal(out.size, size);
}

enum { SEQ_OF_A_WRITE = 2 };   /* before and after */

static void a_write_asks_for_dirty_once(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "0123456789", 10);
    struct fake_node *n = fake_node(b->syncd, ino);
    char bytes[16] = "";

    (void)bench_open(b, ino, O_RDWR);
    assert_written(b, bench_send_write(b, ino, 2, "xy", 2), 2);
    assert_int_equal(ASKED(b, FS_FETCH), 1);   /* even an overwritten chunk is fetched first */
    assert_int_equal(ASKED(b, FS_DIRTY), 1);
    assert_int_equal(atomic_load(&n->map->write_seq), 1 * SEQ_OF_A_WRITE);
    assert_written(b, bench_send_write(b, ino, 10, "tail", 4), 4);
    assert_int_equal(ASKED(b, FS_DIRTY), 1);
    assert_int_equal(atomic_load(&n->map->write_seq), 2 * SEQ_OF_A_WRITE);
    assert_int_equal(atomic_load(chunk_changed_word(n->map, 0)), 1);
    assert_int_equal(pread(n->data, bytes, sizeof(bytes), 0), 14);
    assert_string_equal(bytes, "01xy456789tail");
}

/* What an upload takes from the cloud instead of from here hangs on it. */
static void a_hole_is_marked_as_a_change(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "0123456789", 10);
    struct fake_node *n = fake_node(b->syncd, ino);
    struct fuse_fallocate_in in = { .offset = 2, .length = 3, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };
    char bytes[10];

    (void)bench_open(b, ino, O_RDWR);
    assert_int_equal(bench_answer(b, bench_send(b, FUSE_FALLOCATE, ino, &in, sizeof(in), NULL))->head.error, 0);
    assert_int_equal(pread(n->data, bytes, sizeof(bytes), 0), 10);
    assert_memory_equal(bytes, "01\0\0\00056789", 10);
    assert_int_equal(atomic_load(chunk_changed_word(n->map, 0)), 1);
    assert_int_equal(atomic_load(&n->map->write_seq), SEQ_OF_A_WRITE);
}

static void a_write_that_an_upload_missed_makes_dirty_again(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "", 0), unique;
    struct fake_node *n = fake_node(b->syncd, ino);

    (void)bench_open(b, ino, O_WRONLY);
    assert_written(b, bench_send_write(b, ino, 0, "one", 3), 3);
    atomic_store(&n->map->state, CHUNK_MAP_CLEAN);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_DIRTY;
    unique = bench_send_write(b, ino, 3, "two", 3);
    wait_until(b, b->syncd->n_held == 1);
    assert_int_equal(atomic_load(&n->map->write_seq), 1 * SEQ_OF_A_WRITE);   /* nothing is written to a clean file */
    fake_resume(b->syncd);
    assert_written(b, unique, 3);
    assert_int_equal(atomic_load(&n->map->write_seq), 2 * SEQ_OF_A_WRITE);
}

/* --- what goes and comes back behind one's back ------------------------------------------------------------- */

/* What syncd does while the worker is between its look at the map and its look after, once. */
static struct { struct fake_node *node; void (*before)(struct fake_node *n), (*after)(struct fake_node *n); } meanwhile;

ssize_t __real_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset);
ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset);

static void once(void (**step)(struct fake_node *n))
{
    void (*fn)(struct fake_node *n) = *step;

    *step = NULL;
    if (fn)
        fn(meanwhile.node);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t offset)
{
    ssize_t got;

    once(&meanwhile.before);
    got = __real_pread(fd, bytes, n, offset);
    once(&meanwhile.after);
    return got;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    ssize_t done = __real_pwrite(fd, bytes, n, offset);

    once(&meanwhile.after);
    return done;
}

static void punch(struct fake_node *n)
{
    (void)atomic_fetch_add(&n->map->lost_seq, 1);
    atomic_store(&n->map->bits[0], 0);
    assert_int_equal(fallocate(n->data, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, CHUNK_SIZE), 0);
}

static void bring_back(struct fake_node *n)
{
    assert_int_equal(__real_pwrite(n->data, n->cloud, n->size, 0), n->size);
    chunk_set(n->map, 0);
}

static void send_evict_and_bring_back(struct fake_node *n)
{
    atomic_store(&n->map->state, CHUNK_MAP_CLEAN);
    punch(n);
    bring_back(n);
    atomic_store(&n->map->state, CHUNK_MAP_DIRTY);
}

static void a_chunk_that_went_and_came_back_is_read_again(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);

    (void)bench_open(b, ino, O_RDONLY);
    (void)bench_answer(b, bench_send_read(b, ino, 0, 11, O_RDONLY));
    meanwhile.node = fake_node(b->syncd, ino);
    meanwhile.before = punch;
    meanwhile.after = bring_back;
    assert_memory_equal(bench_answer(b, bench_send_read(b, ino, 0, 11, O_RDONLY))->body, "cloud bytes", 11);
}

static void a_write_into_such_a_chunk_is_made_again(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);
    struct fake_node *n = fake_node(b->syncd, ino);
    char bytes[12] = "";

    (void)bench_open(b, ino, O_RDWR);
    assert_written(b, bench_send_write(b, ino, 0, "C", 1), 1);
    meanwhile.node = n;
    meanwhile.after = send_evict_and_bring_back;
    assert_written(b, bench_send_write(b, ino, 6, "BYTES", 5), 5);
    assert_int_equal(__real_pread(n->data, bytes, 11, 0), 11);
    assert_string_equal(bytes, "cloud BYTES");
}

static void a_spent_grant_is_asked_for_anew(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "", 0);
    struct fake_node *n = fake_node(b->syncd, ino);

    (void)bench_open(b, ino, O_WRONLY);
    assert_written(b, bench_send_write(b, ino, 0, "one", 3), 3);
    assert_int_equal(ASKED(b, FS_DIRTY), 1);
    atomic_store(&n->map->granted, atomic_load(&n->map->spent) + CHUNK_PAGE);   /* less than a write may cost */
    assert_written(b, bench_send_write(b, ino, 3, "two", 3), 3);
    assert_int_equal(ASKED(b, FS_DIRTY), 2);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_DIRTY;
    b->syncd->fail = -ENOSPC;
    atomic_store(&n->map->granted, 0);
    assert_int_equal(bench_answer(b, bench_send_write(b, ino, 6, "three", 5))->head.error, -ENOSPC);
    assert_int_equal(atomic_load(&n->map->write_seq), 2 * SEQ_OF_A_WRITE);
}

static void uses_are_marked(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "cloud bytes", 11);
    struct fake_node *n = fake_node(b->syncd, ino);

    (void)bench_open(b, ino, O_RDONLY);
    assert_int_equal(atomic_load(&n->map->any_touched), 0);
    (void)bench_answer(b, bench_send_read(b, ino, 0, 11, O_RDONLY));
    assert_int_equal(atomic_load(&n->map->any_touched), 1);
    assert_int_equal(atomic_load(&n->map->touched[0]), 1);
}

static void writing_far_out_is_refused(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "", 0);

    (void)bench_open(b, ino, O_WRONLY);
    assert_int_equal(bench_answer(b, bench_send_write(b, ino, CHUNK_FILE_MAX - 1, "xx", 2))->head.error, -EFBIG);
    assert_int_equal(bench_answer(b, bench_send_write(b, ino, UINT64_MAX - 1, "xx", 2))->head.error, -EFBIG);
    assert_int_equal(ASKED(b, FS_DIRTY), 0);
}

static uint64_t flush(struct bench *b, uint64_t ino)
{
    struct fuse_flush_in in = { 0 };
    uint64_t unique = bench_send(b, FUSE_FLUSH, ino, BENCH_PART(in), NULL);

    assert_int_equal(bench_answer(b, unique)->head.error, 0);
    return unique;
}

static void only_what_was_written_is_flushed(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "x", 1);
    struct fuse_fsync_in sync = { 0 };

    (void)bench_open(b, ino, O_RDWR);
    (void)flush(b, ino);
    assert_int_equal(ASKED(b, FS_FLUSH), 0);
    assert_written(b, bench_send_write(b, ino, 0, "y", 1), 1);
    (void)flush(b, ino);
    (void)flush(b, ino);
    assert_int_equal(ASKED(b, FS_FLUSH), 1);
    assert_int_equal(bench_answer(b, bench_send(b, FUSE_FSYNC, ino, BENCH_PART(sync), NULL))->head.error, 0);
    assert_int_equal(ASKED(b, FS_FLUSH), 2);
}

static void the_size_of_a_written_file_is_the_cache_files(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "", 0), unique;
    struct fuse_attr_out out;

    (void)bench_open(b, ino, O_WRONLY);
    assert_written(b, bench_send_write(b, ino, 0, "12345", 5), 5);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_GETATTR;
    unique = send_getattr(b, ino);
    wait_until(b, b->syncd->n_held == 1);
    assert_written(b, bench_send_write(b, ino, 5, "678", 3), 3);
    fake_resume(b->syncd);
    (void)memcpy(&out, bench_answer(b, unique)->body, sizeof(out));
    assert_int_equal(out.attr.size, 8);
}

/* --- opens ------------------------------------------------------------------------------------------------ */

static void opens_are_given_back(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "x", 1);
    struct fake_node *n = fake_node(b->syncd, ino);

    (void)bench_open(b, ino, O_RDONLY);
    (void)bench_open(b, ino, O_RDONLY);
    (void)bench_open(b, ino, O_RDWR);
    bench_release(b, ino, O_RDONLY);
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(n->opens[0], 1);
    assert_int_equal(n->opens[1], 1);
    bench_release(b, ino, O_RDWR);
    bench_release(b, ino, O_RDONLY);
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(n->opens[0] + n->opens[1], 0);
}

static void only_forgotten_files_that_were_open_are_told(void **state)
{
    struct bench *b = *state;
    uint64_t opened = fake_add_file(b->syncd, 1, "f", "x", 1), seen = fake_add_file(b->syncd, 1, "g", "x", 1);
    struct fuse_forget_in in = { .nlookup = 1 };

    (void)lookup(b, "g");
    (void)bench_open(b, opened, O_RDONLY);
    bench_release(b, opened, O_RDONLY);
    (void)bench_send(b, FUSE_FORGET, seen, BENCH_PART(in), NULL);
    (void)bench_send(b, FUSE_FORGET, opened, BENCH_PART(in), NULL);
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(ASKED(b, FS_FORGET), 1);
}

static void a_successor_opens_what_it_does_not_know(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "0123", 4);
    struct fake_node *n = fake_node(b->syncd, ino);

    (void)bench_open(b, ino, O_RDWR);
    n->opens[1] = 0;   /* what syncd does when a worker is lost */
    bench_replace_worker(b);
    assert_memory_equal(bench_answer(b, bench_send_read(b, ino, 0, 4, O_RDWR))->body, "0123", 4);
    assert_int_equal(n->opens[1], 1);
    assert_written(b, bench_send_write(b, ino, 1, "x", 1), 1);
    bench_release(b, ino, O_RDWR);
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(n->opens[0] + n->opens[1], 0);
}

static void a_new_syncd_gets_opens_before_repeats(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "bytes", 5), unique;
    struct fake_node *n = fake_node(b->syncd, ino);

    (void)bench_open(b, ino, O_RDONLY);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    unique = bench_send_read(b, ino, 0, 5, O_RDONLY);
    wait_until(b, b->syncd->n_held == 1);
    fake_restart(b->syncd, NULL);
    b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    bench_attach(b);
    wait_until(b, b->syncd->n_held == 1);
    assert_int_equal(n->opens[0], 1);
    fake_resume(b->syncd);
    assert_memory_equal(bench_answer(b, unique)->body, "bytes", 5);
    bench_release(b, ino, O_RDONLY);
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(n->opens[0], 0);
}

static uint64_t send_create(struct bench *b, const char *name, int flags)
{
    struct fuse_create_in in = { .flags = (uint32_t)flags, .mode = S_IFREG | 0640 };

    return bench_send(b, FUSE_CREATE, 1, BENCH_PART(in), name, strlen(name) + 1, NULL);
}

static void create(struct bench *b, const char *name)
{
    assert_int_equal(bench_answer(b, send_create(b, name, O_CREAT | O_WRONLY | O_EXCL))->head.error, 0);
}

/* The kernel asks for them at the next name, because they have changed. */
static void attributes_of_a_directory_are_had_before_they_are_wanted(void **state)
{
    struct bench *b = *state;
    unsigned before = ASKED(b, FS_GETATTR);

    create(b, "a");
    wait_until(b, ASKED(b, FS_GETATTR) == before + 1);
    for (unsigned n = 0; n < 50; n++)   /* and answered */
        (void)event_base_loop(loop_base(b->loop), EVLOOP_NONBLOCK);
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
    assert_int_equal(ASKED(b, FS_GETATTR), before + 1);
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
    assert_int_equal(ASKED(b, FS_GETATTR), before + 2);   /* good for one answer */
}

static void attributes_had_before_are_dropped_when_something_changes(void **state)
{
    struct bench *b = *state;
    unsigned before;

    create(b, "a");
    before = ASKED(b, FS_GETATTR);
    assert_int_equal(bench_answer(b, bench_send(b, FUSE_UNLINK, 1, "none", 5, NULL))->head.error, -ENOENT);
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
    assert_int_equal(ASKED(b, FS_GETATTR), before + 1);
    create(b, "b");
    before = ASKED(b, FS_GETATTR);
    fake_invalidate(b->syncd, 1, NULL, false);
    (void)bench_notified(b, FUSE_NOTIFY_INVAL_INODE);
    assert_int_equal(bench_answer(b, send_getattr(b, 1))->head.error, 0);
    assert_int_equal(ASKED(b, FS_GETATTR), before + 1);
}

static void creating_opens_and_truncates_what_was_there(void **state)
{
    struct bench *b = *state;
    uint64_t there = fake_add_file(b->syncd, 1, "there", "12345", 5);
    struct fuse_entry_out e;

    (void)memcpy(&e, bench_answer(b, send_create(b, "new", O_CREAT | O_WRONLY | O_EXCL))->body, sizeof(e));
    assert_int_equal(e.attr.mode, S_IFREG | 0640);
    assert_written(b, bench_send_write(b, e.nodeid, 0, "abc", 3), 3);
    assert_int_equal(bench_answer(b, send_create(b, "new", O_CREAT | O_WRONLY | O_EXCL))->head.error, -EEXIST);
    (void)memcpy(&e, bench_answer(b, send_create(b, "there", O_CREAT | O_WRONLY | O_TRUNC))->body, sizeof(e));
    assert_int_equal(e.nodeid, there);
    assert_int_equal(e.attr.size, 0);
    bench_release(b, there, O_WRONLY);
    (void)bench_answer(b, send_getattr(b, 1));
    assert_int_equal(fake_node(b->syncd, there)->opens[1], 0);
}

static void an_open_that_came_too_late_is_given_back(void **state)
{
    struct bench *b = *state;
    uint64_t ino = fake_add_file(b->syncd, 1, "f", "x", 1);
    struct fuse_open_in in = { .flags = O_RDONLY };
    struct fuse_interrupt_in interrupt;

    b->syncd->hold = LF__ENVELOPE__BODY_FS_OPEN;
    interrupt.unique = bench_send(b, FUSE_OPEN, ino, BENCH_PART(in), NULL);
    wait_until(b, b->syncd->n_held == 1);
    (void)bench_send(b, FUSE_INTERRUPT, 0, BENCH_PART(interrupt), NULL);
    assert_int_equal(bench_answer(b, interrupt.unique)->head.error, -EINTR);
    fake_resume(b->syncd);
    wait_until(b, ASKED(b, FS_RELEASE) == 1);
    assert_int_equal(fake_node(b->syncd, ino)->opens[0], 0);
}

static void too_many_requests_wait_in_the_kernel(void **state)
{
    struct bench *b = *state;
    uint64_t uniques[70];

    b->syncd->hold = LF__ENVELOPE__BODY_FS_GETATTR;
    for (size_t i = 0; i < ARRAY_SIZE(uniques); i++)
        uniques[i] = send_getattr(b, 1);
    wait_until(b, b->syncd->n_held == FAKE_HELD_MAX);   /* the queue length of the bench */
    for (int i = 0; i < 20; i++)
        (void)event_base_loop(loop_base(b->loop), EVLOOP_NONBLOCK);
    assert_int_equal(b->syncd->n_held, FAKE_HELD_MAX);
    fake_resume(b->syncd);
    for (size_t i = 0; i < ARRAY_SIZE(uniques); i++)
        assert_int_equal(bench_answer(b, uniques[i])->head.error, 0);
}

/* --- sparse files ------------------------------------------------------------------------------------------- */

static void holes_are_told_only_when_all_is_here(void **state)
{
    struct bench *b = *state;
    CLEANUP_FREE char *bytes = xcalloc(1, 3 * CHUNK_SIZE);
    uint64_t ino = fake_add_file(b->syncd, 1, "f", bytes, 3 * CHUNK_SIZE);
    struct fuse_lseek_in in = { .offset = 100, .whence = SEEK_HOLE };
    struct fuse_lseek_out out;

    (void)bench_open(b, ino, O_RDONLY);
    (void)memcpy(&out, bench_answer(b, bench_send(b, FUSE_LSEEK, ino, BENCH_PART(in), NULL))->body, sizeof(out));
    assert_int_equal(out.offset, 3 * CHUNK_SIZE);   /* the cache file is all hole; the file is not */
    assert_int_equal(ASKED(b, FS_FETCH), 0);
    in.offset = 3 * CHUNK_SIZE;
    assert_int_equal(bench_answer(b, bench_send(b, FUSE_LSEEK, ino, BENCH_PART(in), NULL))->head.error, -ENXIO);
}

int main(void)
{
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_BENCH(init_is_answered_as_designed),
        WITH_BENCH(strangers_are_refused),
        WITH_BENCH(a_successor_asks_for_what_was_read_before),
        WITH_BENCH(invalidations_reach_the_kernel),
        WITH_BENCH(invalidations_keep_their_order),
        WITH_BENCH(a_lookup_gives_node_and_how_long_it_holds),
        WITH_BENCH(what_is_not_there_is_believed_for_a_second),
        WITH_BENCH(a_name_too_long_is_said_to_be),
        WITH_BENCH(refusals_of_syncd_become_errnos),
        WITH_BENCH(hard_links_and_devices_are_not_permitted),
        WITH_BENCH(only_user_attributes_exist),
        WITH_BENCH(a_request_keeps_its_number_when_another_worker_gets_it),
        WITH_BENCH(a_directory_is_read_in_pages),
        WITH_BENCH(listed_attributes_hold_briefly_until_they_are_settled),
        WITH_BENCH(bytes_are_fetched_once),
        WITH_BENCH(a_fetch_that_fails_fails_the_read),
        WITH_BENCH(others_are_served_while_one_waits),
        WITH_BENCH(a_new_version_is_read_in_its_new_size),
        WITH_BENCH(an_interrupted_read_ends_early),
        WITH_BENCH(a_write_asks_for_dirty_once),
        WITH_BENCH(a_hole_is_marked_as_a_change),
        WITH_BENCH(a_write_that_an_upload_missed_makes_dirty_again),
        WITH_BENCH(a_chunk_that_went_and_came_back_is_read_again),
        WITH_BENCH(a_write_into_such_a_chunk_is_made_again),
        WITH_BENCH(a_spent_grant_is_asked_for_anew),
        WITH_BENCH(uses_are_marked),
        WITH_BENCH(writing_far_out_is_refused),
        WITH_BENCH(only_what_was_written_is_flushed),
        WITH_BENCH(the_size_of_a_written_file_is_the_cache_files),
        WITH_BENCH(opens_are_given_back),
        WITH_BENCH(only_forgotten_files_that_were_open_are_told),
        WITH_BENCH(a_successor_opens_what_it_does_not_know),
        WITH_BENCH(a_new_syncd_gets_opens_before_repeats),
        WITH_BENCH(creating_opens_and_truncates_what_was_there),
        WITH_BENCH(attributes_of_a_directory_are_had_before_they_are_wanted),
        WITH_BENCH(attributes_had_before_are_dropped_when_something_changes),
        WITH_BENCH(an_open_that_came_too_late_is_given_back),
        WITH_BENCH(too_many_requests_wait_in_the_kernel),
        WITH_BENCH(holes_are_told_only_when_all_is_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
