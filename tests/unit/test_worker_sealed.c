/* mountd/worker with sealed files: what is asked of syncd for them, what damage does, what cryptd's absence does. That
 * the bytes are right is for test_worker_sealed_model. */
#include "tests/unit/sealed_bench.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "mountd/worker_internal.h"

#define ASKED(s, BODY) ((s)->b->syncd->asked[LF__ENVELOPE__BODY_##BODY])

enum { SIZE = 3 * CHUNK_SIZE - 1000 };

static uint8_t bytes[SIZE];

static void fill(unsigned seed)
{
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(rand_r(&seed) >> 8);
}

/* A file in the cloud alone, open. */
static uint64_t open_file(struct sealed_bench *s, const char *name, int flags)
{
    uint64_t ino;

    fill((unsigned)(uintptr_t)name[0]);
    ino = fake_add_file(s->b->syncd, 1, name, bytes, SIZE);
    (void)bench_open(s->b, ino, flags);
    return ino;
}

/* One that is here, written by the program and sent to the cloud. */
static uint64_t written_file(struct sealed_bench *s, const char *name)
{
    uint64_t ino = open_file(s, name, O_RDWR);

    for (size_t at = 0; at < SIZE; at += CHUNK_SIZE)
        sealed_bench_write(s, ino, at, bytes + at, SIZE - at < CHUNK_SIZE ? SIZE - at : CHUNK_SIZE);
    fake_uploaded(s->b->syncd, ino, bytes, SIZE);
    return ino;
}

static int read_error(struct sealed_bench *s, uint64_t ino, uint64_t at, uint32_t n)
{
    return bench_answer(s->b, bench_send_read(s->b, ino, at, n, O_RDWR))->head.error;
}

/* --- what is asked for ----------------------------------------------------------------------------- */

static void what_is_here_is_read_without_syncd(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = open_file(s, "f", O_RDONLY);

    sealed_bench_assert_reads(s, ino, 100, bytes + 100, 2 * CHUNK_SIZE);
    assert_int_equal(ASKED(s, FS_FETCH), 1);
    sealed_bench_assert_reads(s, ino, 100, bytes + 100, 2 * CHUNK_SIZE);
    sealed_bench_assert_reads(s, ino, CHUNK_SIZE - 1, bytes + CHUNK_SIZE - 1, 2);
    assert_int_equal(ASKED(s, FS_FETCH), 1);
    assert_int_equal(bench_answer(s->b, bench_send_read(s->b, ino, SIZE, 10, O_RDONLY))->size, 0);
    assert_int_equal(bench_answer(s->b, bench_send_read(s->b, ino, SIZE - 3, 10, O_RDONLY))->size, 3);
}

static void a_write_asks_for_space_for_its_chunks(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = open_file(s, "f", O_RDWR);
    struct chunk_map *map = fake_node(s->b->syncd, ino)->map;
    uint64_t before;

    sealed_bench_write(s, ino, CHUNK_SIZE - 1, "ab", 2);
    assert_int_equal(ASKED(s, FS_DIRTY), 1);
    before = atomic_load(&map->spent);
    sealed_bench_write(s, ino, CHUNK_SIZE - 1, "cd", 2);
    assert_int_equal(atomic_load(&map->spent) - before, 2 * CHUNK_SIZE + CHUNK_PAGE);
    assert_int_equal(ASKED(s, FS_DIRTY), 1);
    sealed_bench_assert_reads(s, ino, CHUNK_SIZE - 1, "cd", 2);
}

static void a_file_that_is_open_for_reading_is_not_written(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = open_file(s, "f", O_RDONLY);
    uint64_t generation = atomic_load(&fake_node(s->b->syncd, ino)->map->generation);

    fake_node(s->b->syncd, ino)->whole = true;
    assert_int_equal(read_error(s, ino, 0, 10), 0);
    assert_int_equal(s->b->backings, 0);
    bench_release(s->b, ino, O_RDONLY);
    (void)bench_open(s->b, ino, O_RDONLY);   /* though all of it is here the kernel does not read it by itself */
    assert_int_equal(s->b->backings, 0);
    assert_true(atomic_load(&fake_node(s->b->syncd, ino)->map->generation) > generation);
}

static void all_of_it_is_data(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    struct fuse_lseek_in in = { .offset = 5, .whence = SEEK_HOLE };
    struct fuse_lseek_out out;

    (void)memcpy(&out, bench_answer(s->b, bench_send(s->b, FUSE_LSEEK, ino, BENCH_PART(in), NULL))->body, sizeof(out));
    assert_int_equal(out.offset, SIZE);
    in.whence = SEEK_DATA;
    (void)memcpy(&out, bench_answer(s->b, bench_send(s->b, FUSE_LSEEK, ino, BENCH_PART(in), NULL))->body, sizeof(out));
    assert_int_equal(out.offset, 5);
}

static void size_and_time_are_told_before_syncd_knows(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = open_file(s, "f", O_RDWR), unique;
    struct fuse_getattr_in in = { 0 };
    struct fuse_attr_out out;
    int64_t before = loop_wall_ns();

    sealed_bench_write(s, ino, SIZE, "more", 4);
    fake_node(s->b->syncd, ino)->mtime_ns = 5;
    unique = bench_send(s->b, FUSE_GETATTR, ino, BENCH_PART(in), NULL);
    (void)memcpy(&out, bench_answer(s->b, unique)->body, sizeof(out));
    assert_int_equal(out.attr.size, SIZE + 4);
    assert_true((int64_t)out.attr.mtime * 1000000000 + out.attr.mtimensec >= before);
}

/* Zeros take one byte a chunk. */
static void a_hole_in_the_middle_takes_no_space(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    struct sealed_entry e;

    sealed_bench_assert_done(s, sealed_bench_send_fallocate(s, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10,
                                                            2 * CHUNK_SIZE));
    assert_int_equal(sealed_entries(fake_node(s->b->syncd, ino)->data, 1, 1, &e), 0);
    assert_int_equal(le32toh(e.records[sealed_newest(&e, UINT64_MAX)].length), 1);
    memset(bytes + 10, 0, 2 * CHUNK_SIZE);
    sealed_bench_assert_reads(s, ino, 0, bytes, SIZE);
}

/* --- behind the worker's back ---------------------------------------------------------------------------- */

/* While cryptd is away the write has looked at the chunks and not stored them yet. */
static void a_write_is_made_again_where_chunks_went_meanwhile(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), unique;
    unsigned fetched = ASKED(s, FS_FETCH), dirty;

    sealed_bench_write(s, ino, 0, bytes, 10);   /* dirty */
    sealed_bench_kill(s);
    unique = bench_send_write(s->b, ino, CHUNK_SIZE + 7, "here", 4);
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));   /* it has been taken up */
    fake_uploaded(s->b->syncd, ino, bytes, SIZE);
    assert_true(fake_evict(s->b->syncd, ino, 0, 3));
    dirty = ASKED(s, FS_DIRTY);
    sealed_bench_start(s);
    sealed_bench_assert_done(s, unique);
    assert_true(ASKED(s, FS_DIRTY) > dirty && ASKED(s, FS_FETCH) > fetched);
    memcpy(bytes + CHUNK_SIZE + 7, "here", 4);
    sealed_bench_assert_reads(s, ino, 0, bytes, SIZE);
    assert_true(atomic_load(&fake_node(s->b->syncd, ino)->map->state) == CHUNK_MAP_DIRTY);
}

static void chunks_that_are_being_given_up_are_had_again(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), unique;
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1 };
    int fd = fake_node(s->b->syncd, ino)->data;

    sealed_bench_write(s, ino, 0, bytes, 10);
    s->b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    unique = bench_send_write(s->b, ino, CHUNK_SIZE, "here", 4);
    wait_until(s->b, s->b->syncd->n_held == 1);
    lock.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    fake_resume(s->b->syncd);
    sealed_bench_assert_done(s, unique);
    memcpy(bytes + CHUNK_SIZE, "here", 4);
    sealed_bench_assert_reads(s, ino, 0, bytes, SIZE);
    lock.l_type = F_WRLCK;
    lock.l_len = 0;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);   /* nothing is held when nothing is under way */
}

static void a_read_is_made_again_where_chunks_went_meanwhile(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), unique;
    const struct packet *p;

    sealed_bench_kill(s);
    unique = bench_send_read(s->b, ino, 0, SIZE, O_RDWR);
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));
    fill(77);   /* another version */
    fake_uploaded(s->b->syncd, ino, bytes, SIZE);
    assert_true(fake_evict(s->b->syncd, ino, 0, 3));
    sealed_bench_start(s);
    p = bench_answer(s->b, unique);
    assert_int_equal(p->size, SIZE);
    assert_memory_equal(p->body, bytes, SIZE);
}

/* --- cryptd ------------------------------------------------------------------------------------------------ */

static void programs_wait_for_cryptd(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), write, read;

    sealed_bench_kill(s);
    write = bench_send_write(s->b, ino, 5, "abc", 3);
    write = bench_send_write(s->b, ino, 8, "def", 3);
    read = bench_send_read(s->b, ino, CHUNK_SIZE, 100, O_RDWR);
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));   /* others are served */
    assert_false(bench_answered(s->b, write) || bench_answered(s->b, read));
    sealed_bench_start(s);
    sealed_bench_assert_done(s, write);
    assert_memory_equal(bench_answer(s->b, read)->body, bytes + CHUNK_SIZE, 100);
    sealed_bench_assert_reads(s, ino, 5, "abcdef", 6);
}

/* The program is answered; what was asked of cryptd is still awaited, and what then comes is thrown away. */
static void a_signal_ends_the_wait(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), write, read;
    struct fuse_interrupt_in in = { 0 };

    sealed_bench_write(s, ino, 0, bytes, 10);
    sealed_bench_kill(s);
    write = bench_send_write(s->b, ino, 0, "never", 5);
    read = bench_send_read(s->b, ino, 0, 5, O_RDWR);
    in.unique = write;
    (void)bench_send(s->b, FUSE_INTERRUPT, 0, BENCH_PART(in), NULL);
    in.unique = read;
    (void)bench_send(s->b, FUSE_INTERRUPT, 0, BENCH_PART(in), NULL);
    assert_int_equal(bench_answer(s->b, write)->head.error, -EINTR);
    assert_int_equal(bench_answer(s->b, read)->head.error, -EINTR);
    write = bench_send_write(s->b, ino, 2, "later", 5);
    sealed_bench_start(s);
    sealed_bench_assert_done(s, write);
    memcpy(bytes + 2, "later", 5);
    sealed_bench_assert_reads(s, ino, 0, bytes, SIZE);
}

static void a_worker_may_end_in_the_midst(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");

    sealed_bench_write(s, ino, 0, bytes, 10);
    sealed_bench_kill(s);
    for (unsigned i = 0; i < 30; i++) {
        (void)bench_send_write(s->b, ino, i * 4000, "never", 5);
        (void)bench_send_read(s->b, ino, 0, SIZE, O_RDWR);
    }
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));
    fake_seal_start(s->seal);
    sealed_bench_replace_worker(s);
    sealed_bench_assert_reads(s, ino, 0, bytes, SIZE);
}

/* On a kernel that does not send again. */
static void what_a_worker_owes_its_successor_writes(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), large, small;

    sealed_bench_write(s, ino, 0, bytes, 10);
    sealed_bench_kill(s);
    fill(5);
    large = bench_send_write(s->b, ino, 0, (char *)bytes, 2 * CHUNK_SIZE);
    small = bench_send_write(s->b, ino, 2 * CHUNK_SIZE, (char *)bytes + 2 * CHUNK_SIZE, SIZE - 2 * CHUNK_SIZE);
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));
    fake_seal_start(s->seal);
    sealed_bench_replace_worker(s);
    sealed_bench_assert_done(s, large);
    sealed_bench_assert_done(s, small);
    sealed_bench_assert_reads(s, ino, 0, bytes, SIZE);
}

/* More than there is room for at once. */
static void reads_wait_for_a_place(void **state)
{
    enum { READS = 50 };
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), uniques[READS];

    for (size_t i = 0; i < READS; i++)
        uniques[i] = bench_send_read(s->b, ino, CHUNK_SIZE - 1, CHUNK_SIZE / 64, O_RDWR);
    for (size_t i = 0; i < READS; i++) {
        const struct packet *p = bench_answer(s->b, uniques[i]);

        assert_int_equal(p->size, CHUNK_SIZE / 64);
        assert_memory_equal(p->body, bytes + CHUNK_SIZE - 1, CHUNK_SIZE / 64);
    }
}

/* --- the kernel's page cache -------------------------------------------------------------------------------- */

/* What the kernel was given of the file, in `pages`; how many bytes. */
static size_t take_stored(struct sealed_bench *s, uint64_t ino, uint8_t pages[SIZE])
{
    size_t n = 0;

    for (size_t i = 0; i < s->b->n_packets; i++) {
        const struct packet *p = &s->b->packets[i];
        struct fuse_notify_store_out out;

        if (p->head.unique || p->head.error != FUSE_NOTIFY_STORE)
            continue;
        (void)memcpy(&out, p->body, sizeof(out));
        assert_int_equal(out.nodeid, ino);
        assert_int_equal(out.size, p->size - sizeof(out));
        assert_true(out.offset + out.size <= SIZE);
        (void)memcpy(pages + out.offset, p->body + sizeof(out), out.size);
        n += out.size;
    }
    return n;
}

static void read_at(struct sealed_bench *s, uint64_t ino, uint64_t at)
{
    const struct packet *p = bench_answer(s->b, bench_send_read(s->b, ino, at, 4096, O_RDONLY));

    assert_int_equal(p->size, 4096);
    assert_memory_equal(p->body, bytes + at, 4096);
}

static void read_at_random(struct sealed_bench *s, uint64_t ino)
{
    read_at(s, ino, 2 * CHUNK_SIZE);
    read_at(s, ino, 4096);
}

/* One that is clean, and open for reading alone. */
static uint64_t clean_file(struct sealed_bench *s)
{
    uint64_t ino = written_file(s, "f");

    bench_release(s->b, ino, O_RDWR);
    (void)bench_open(s->b, ino, O_RDONLY);
    return ino;
}

static void what_is_read_at_random_is_given_to_the_kernel(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = clean_file(s);
    static uint8_t pages[SIZE];

    read_at_random(s, ino);
    wait_until(s->b, take_stored(s, ino, pages) == SIZE);
    assert_memory_equal(pages, bytes, SIZE);
    read_at_random(s, ino);   /* it has dropped them; that is not done each time */
    assert_int_equal(take_stored(s, ino, pages), SIZE);
}

static void nothing_else_is(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    static uint8_t pages[SIZE];

    read_at_random(s, ino);
    read_at_random(s, ino);   /* it is open for writing */
    bench_release(s->b, ino, O_RDWR);
    (void)bench_open(s->b, ino, O_RDONLY);
    for (uint64_t at = 0; at + 4096 <= SIZE; at += 4096)
        read_at(s, ino, at);   /* one after the other */
    atomic_store(&fake_node(s->b->syncd, ino)->map->state, CHUNK_MAP_DIRTY);
    read_at_random(s, ino);
    read_at_random(s, ino);
    atomic_store(&fake_node(s->b->syncd, ino)->map->state, CHUNK_MAP_CLEAN);
    assert_true(fake_evict(s->b->syncd, ino, 0, 1));
    read_at(s, ino, 2 * CHUNK_SIZE);
    read_at(s, ino, CHUNK_SIZE);   /* not all of it is here */
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));
    assert_int_equal(take_stored(s, ino, pages), 0);
}

/* The only process that this one has started and that has that name; 0: it has not taken it yet. */
static pid_t find_notifier(void)
{
    char path[64], name[32] = "";
    int pid = 0, n;
    FILE *all, *comm;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    all = fopen(path, "re");
    assert_non_null(all);
    while (fscanf(all, "%d", &n) == 1) {
        (void)snprintf(path, sizeof(path), "/proc/%d/comm", n);
        comm = fopen(path, "re");
        if (comm && fgets(name, sizeof(name), comm) && strcmp(name, "landfall-notify\n") == 0)
            pid = n;
        if (comm)
            (void)fclose(comm);
    }
    (void)fclose(all);
    return pid;
}

/* The notifier has a piece and does not come on with it. */
static pid_t begin_to_give(struct sealed_bench *s, uint64_t ino)
{
    pid_t notifier;
    int status;

    wait_until(s->b, (notifier = find_notifier()) > 0);
    assert_int_equal(kill(notifier, SIGSTOP), 0);
    assert_int_equal(waitpid(notifier, &status, WUNTRACED), notifier);
    assert_true(WIFSTOPPED(status));
    read_at_random(s, ino);
    wait_until(s->b, s->b->worker->notify.waiting > 0);
    return notifier;
}

/* What changes the file is answered after what was on its way to the kernel. */
static void assert_answered_last(struct sealed_bench *s, uint64_t ino, uint64_t unique, pid_t notifier)
{
    static uint8_t pages[SIZE];
    size_t n;

    bool answered;

    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));
    answered = bench_answered(s->b, unique);
    assert_int_equal(take_stored(s, ino, pages), 0);
    assert_int_equal(kill(notifier, SIGCONT), 0);
    assert_false(answered);
    sealed_bench_assert_done(s, unique);
    n = take_stored(s, ino, pages);
    assert_true(n > 0);
    (void)bench_answer(s->b, bench_send(s->b, FUSE_STATFS, 1, NULL));
    assert_int_equal(take_stored(s, ino, pages), n);
}

static void an_open_for_writing_waits_for_what_is_being_given(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = clean_file(s);
    pid_t notifier = begin_to_give(s, ino);
    struct fuse_open_in in = { .flags = O_RDWR };

    assert_answered_last(s, ino, bench_send(s->b, FUSE_OPEN, ino, BENCH_PART(in), NULL), notifier);
}

/* Who opened it is gone by then, so nobody will close it. */
static void an_open_whose_wait_a_signal_ends_is_closed(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = clean_file(s);
    pid_t notifier = begin_to_give(s, ino);
    struct fuse_open_in in = { .flags = O_RDWR };
    struct fuse_interrupt_in interrupt = { .unique = bench_send(s->b, FUSE_OPEN, ino, BENCH_PART(in), NULL) };

    wait_until(s->b, fake_node(s->b->syncd, ino)->opens[1] == 1);
    (void)bench_send(s->b, FUSE_INTERRUPT, 0, BENCH_PART(interrupt), NULL);
    assert_int_equal(bench_answer(s->b, interrupt.unique)->head.error, -EINTR);
    assert_int_equal(kill(notifier, SIGCONT), 0);
    wait_until(s->b, s->b->worker->notify.waiting == 0);
    wait_until(s->b, fake_node(s->b->syncd, ino)->opens[1] == 0);
    assert_int_equal(atomic_load(&fake_node(s->b->syncd, ino)->map->writers), 0);
}

static void a_new_size_waits_for_what_is_being_given(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = clean_file(s);
    pid_t notifier = begin_to_give(s, ino);

    assert_answered_last(s, ino, sealed_bench_send_resize(s, ino, 1000), notifier);
}

/* --- damage ------------------------------------------------------------------------------------------------ */

struct place {
    int fd;
    unsigned slot;               /* the current one */
    off_t record, data;
};

static struct place place_of(struct sealed_bench *s, uint64_t ino, uint64_t chunk)
{
    struct place p = { .fd = fake_node(s->b->syncd, ino)->data };
    struct sealed_entry e;

    assert_int_equal(sealed_entries(p.fd, chunk, 1, &e), 0);
    p.slot = (unsigned)sealed_newest(&e, UINT64_MAX);
    p.record = (off_t)(sealed_entry_at(chunk) + p.slot * CACHE_RECORD_SIZE);
    p.data = (off_t)sealed_slot_at(chunk, p.slot);
    return p;
}

static void flip(int fd, off_t at)
{
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void copy_bytes(int from, off_t at, int to, off_t to_at, size_t n)
{
    uint8_t buffer[CHUNK_SIZE] = { 0 };

    assert_true(pread(from, buffer, n, at) > 0);
    assert_int_equal(pwrite(to, buffer, n, to_at), n);
}

/* Every slot of the chunk becomes a copy of what that place has. */
static void take_over(struct place from, int to, uint64_t chunk)
{
    for (unsigned slot = 0; slot < SEALED_SLOTS; slot++) {
        off_t record = (off_t)(sealed_entry_at(chunk) + slot * CACHE_RECORD_SIZE);

        copy_bytes(from.fd, from.record, to, record, CACHE_RECORD_SIZE);
        copy_bytes(from.fd, from.data, to, (off_t)sealed_slot_at(chunk, slot),
                   CHUNK_SIZE);
    }
}

/* Of a chunk: bytes of its record, and of what it has sealed. */
static const struct {
    const char *what;
    bool data;
    off_t at;
} flipped[] = {
    { "version", false, 0 }, { "algorithm", false, 1 }, { "zeros", false, 2 }, { "length", false, 4 },
    { "length, upper byte", false, 6 }, { "number", false, 8 }, { "generation", false, 16 },
    { "generation, upper byte", false, 22 }, { "nonce", false, 24 }, { "nonce, last byte", false, 47 },
    { "tag", false, 48 }, { "tag, last byte", false, 63 }, { "first byte", true, 0 }, { "a byte", true, 30000 },
    { "last byte", true, CHUNK_SIZE - 1 },
};

/* The cloud is asked once whether it has better ones. */
static void assert_refused(struct sealed_bench *s, uint64_t ino, const char *what)
{
    unsigned unreadable = s->b->syncd->unreadable;
    int error = read_error(s, ino, CHUNK_SIZE + 10, 20);

    if (error != -EIO)
        fail_msg("%s: %d", what, error);
    assert_int_equal(s->b->syncd->unreadable, unreadable + 1);
    error = bench_answer(s->b, bench_send_write(s->b, ino, CHUNK_SIZE + 10, "over it", 7))->head.error;
    if (error != -EIO)
        fail_msg("%s, written over: %d", what, error);
    sealed_bench_assert_reads(s, ino, 0, bytes, CHUNK_SIZE);
    sealed_bench_assert_reads(s, ino, 2 * CHUNK_SIZE, bytes + 2 * CHUNK_SIZE, SIZE - 2 * CHUNK_SIZE);
}

static void a_byte_that_was_changed_is_an_error(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    struct place p = place_of(s, ino, 1);

    sealed_bench_write(s, ino, 0, bytes, 10);   /* dirty */
    for (size_t i = 0; i < ARRAY_SIZE(flipped); i++) {
        off_t at = flipped[i].data ? p.data + flipped[i].at : p.record + flipped[i].at;

        flip(p.fd, at);
        assert_refused(s, ino, flipped[i].what);
        flip(p.fd, at);
        sealed_bench_assert_reads(s, ino, CHUNK_SIZE, bytes + CHUNK_SIZE, CHUNK_SIZE);
    }
}

static void exchanged_chunks_are_errors(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t other = written_file(s, "g"), ino = written_file(s, "f");
    int fd = fake_node(s->b->syncd, ino)->data;

    sealed_bench_write(s, ino, 0, bytes, 10);
    take_over(place_of(s, ino, 0), fd, 1);
    assert_refused(s, ino, "another chunk of this file");
    take_over(place_of(s, other, 1), fd, 1);
    assert_refused(s, ino, "this chunk of another file");
}

static void older_bytes_under_a_newer_record_are_an_error(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    struct place before = place_of(s, ino, 1), now;

    sealed_bench_write(s, ino, CHUNK_SIZE, bytes + CHUNK_SIZE, CHUNK_SIZE);
    now = place_of(s, ino, 1);
    copy_bytes(before.fd, before.data, now.fd, now.data, CHUNK_SIZE);
    assert_refused(s, ino, "older bytes");
}

static void a_record_that_is_missing_is_an_error(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    static const uint8_t none[SEALED_ENTRY];

    sealed_bench_write(s, ino, 0, bytes, 10);
    assert_int_equal(pwrite(fake_node(s->b->syncd, ino)->data, none, sizeof(none), (off_t)sealed_entry_at(1)),
                     SEALED_ENTRY);
    assert_refused(s, ino, "no record");
}

/* Bytes that a power cut has taken were not synced; what was before them was. */
static void what_a_power_cut_has_torn_is_as_it_was_synced(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f");
    struct chunk_map *map = fake_node(s->b->syncd, ino)->map;

    sealed_bench_write(s, ino, CHUNK_SIZE + 50, "not synced", 10);
    sealed_bench_write(s, ino, 0, bytes, 10);   /* the worker has this chunk at hand now, and not the other */
    flip(place_of(s, ino, 1).fd, place_of(s, ino, 1).data + 9);
    assert_refused(s, ino, "torn, though there was no power cut");
    sealed_cut_note(&(struct sealed_cut){ .map = map, .highest = atomic_load(&map->generation) });
    sealed_bench_assert_reads(s, ino, CHUNK_SIZE, bytes + CHUNK_SIZE, CHUNK_SIZE);
    flip(place_of(s, ino, 1).fd, place_of(s, ino, 1).data + 9);
    sealed_bench_assert_reads(s, ino, CHUNK_SIZE + 50, "not synced", 10);
}

/* The cloud has them: the program sees nothing. */
static void what_is_damaged_comes_again_from_the_cloud(void **state)
{
    struct sealed_bench *s = *state;
    uint64_t ino = written_file(s, "f"), unique;

    flip(place_of(s, ino, 1).fd, place_of(s, ino, 1).data);
    s->b->syncd->hold = LF__ENVELOPE__BODY_FS_FETCH;
    unique = bench_send_read(s->b, ino, 0, SIZE, O_RDWR);
    wait_until(s->b, s->b->syncd->n_held == 1);
    assert_true(fake_evict(s->b->syncd, ino, 0, 3));
    fake_resume(s->b->syncd);
    assert_int_equal(bench_answer(s->b, unique)->size, SIZE);
    assert_memory_equal(bench_answer(s->b, unique)->body, bytes, SIZE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sealed_bench_setup, sealed_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_here_is_read_without_syncd),
        TEST(a_write_asks_for_space_for_its_chunks),
        TEST(a_file_that_is_open_for_reading_is_not_written),
        TEST(all_of_it_is_data),
        TEST(size_and_time_are_told_before_syncd_knows),
        TEST(a_hole_in_the_middle_takes_no_space),
        TEST(a_write_is_made_again_where_chunks_went_meanwhile),
        TEST(chunks_that_are_being_given_up_are_had_again),
        TEST(a_read_is_made_again_where_chunks_went_meanwhile),
        TEST(programs_wait_for_cryptd),
        TEST(a_signal_ends_the_wait),
        TEST(a_worker_may_end_in_the_midst),
        cmocka_unit_test_setup_teardown(what_a_worker_owes_its_successor_writes, sealed_bench_setup_old_kernel,
                                        sealed_bench_teardown),
        TEST(reads_wait_for_a_place),
        TEST(what_is_read_at_random_is_given_to_the_kernel),
        TEST(nothing_else_is),
        TEST(an_open_for_writing_waits_for_what_is_being_given),
        TEST(an_open_whose_wait_a_signal_ends_is_closed),
        TEST(a_new_size_waits_for_what_is_being_given),
        TEST(a_byte_that_was_changed_is_an_error),
        TEST(exchanged_chunks_are_errors),
        TEST(older_bytes_under_a_newer_record_are_an_error),
        TEST(a_record_that_is_missing_is_an_error),
        TEST(what_a_power_cut_has_torn_is_as_it_was_synced),
        TEST(what_is_damaged_comes_again_from_the_cloud),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
