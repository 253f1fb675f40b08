/* The limits of a cache: what it takes of the disk, what goes and what never does, who waits and who is refused, and
 * that the sums are right after a restart and after a crash. */
#include "volume_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_use.h"

enum { MIB = 1 << 20, CAP = 24 * MIB };

/* --- what the disk says ------------------------------------------------------------------------------- */

static uint64_t disk_bytes;

static int add_blocks(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)path;
    (void)type;
    (void)where;
    disk_bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}

/* As du(1). */
static uint64_t on_disk(struct rig *rig)
{
    CLEANUP_FREE char *path = NULL;

    assert_true(asprintf(&path, "%s/cache", rig->dir) > 0);
    disk_bytes = 0;
    assert_int_equal(nftw(path, add_blocks, 16, FTW_PHYS), 0);
    return disk_bytes;
}

static struct space *space(struct rig *rig)
{
    return &rig->volume->cache->space;
}

static void limit(struct rig *rig, uint64_t bytes, bool rotates)
{
    rig->drive.has_maximum_cache_size = rig->drive.has_rotational_cache = true;
    rig->drive.maximum_cache_size = (int64_t)bytes;
    rig->drive.rotational_cache = rotates;
    volume_configure(rig->volume, &rig->drive);
}

static void list_every(struct rig *rig, int32_t seconds)
{
    rig->drive.has_sync_interval_seconds = true;
    rig->drive.sync_interval_seconds = seconds;
    volume_configure(rig->volume, &rig->drive);
}

static int set_up(void **state)
{
    struct rig *rig;
    int r = rig_set_up(state);

    rig = *state;
    rig->config->write_wait_seconds = 1;
    limit(rig, CAP, true);
    return r;
}

/* --- files ---------------------------------------------------------------------------------------------- */

static char *name_of(char out[32], unsigned n)
{
    snprintf(out, 32, "file-%03u", n);
    return out;
}

static void put_files(struct rig *rig, unsigned n, size_t size)
{
    char name[32];

    for (unsigned i = 0; i < n; i++) {
        CLEANUP_FREE char *bytes = pattern(size, i);

        rig_put(rig, name_of(name, i), bytes, size);
    }
}

static void check_file(struct rig *rig, uint64_t ino, const char *bytes, size_t size)
{
    CLEANUP_FREE char *there = xcalloc(1, MIB);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    for (size_t at = 0; at < size; at += MIB) {
        size_t want = size - at < MIB ? size - at : MIB;

        assert_int_equal(worker_read(rig, &h, at, there, want), want);
        assert_memory_equal(there, bytes + at, want);
        assert_true(!space(rig)->limit || on_disk(rig) <= CAP);
    }
    worker_close(rig, &h);
}

static uint64_t read_file(struct rig *rig, unsigned n, size_t size)
{
    CLEANUP_FREE char *bytes = pattern(size, n);
    char name[32];
    uint64_t ino = worker_lookup(rig, INDEX_ROOT, name_of(name, n));

    assert_true(ino);
    check_file(rig, ino, bytes, size);
    return ino;
}

static void read_files(struct rig *rig, unsigned from, unsigned to, size_t size)
{
    for (unsigned n = from; n < to; n++)
        (void)read_file(rig, n, size);
}

static bool cached(struct rig *rig, uint64_t ino)
{
    return cache_file_exists(rig->volume->cache->dir_fd, ino);
}

/* --- reading -------------------------------------------------------------------------------------------- */

static void a_tree_ten_times_the_limit(void **state)
{
    struct rig *rig = *state;

    put_files(rig, 240, MIB);
    read_files(rig, 0, 240, MIB);
    assert_true(on_disk(rig) > CAP / 2);   /* and it is made use of */
    (void)read_file(rig, 0, MIB);
    assert_int_equal(space(rig)->reserved, 0);
}

static void a_file_three_times_the_limit(void **state)
{
    struct rig *rig = *state;

    put_files(rig, 1, 3 * CAP);
    (void)read_file(rig, 0, 3 * CAP);
    (void)read_file(rig, 0, 3 * CAP);
}

static void chunks_go_under_an_open_reader(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 0), *there = xcalloc(1, MIB);
    char name[32];
    struct handle h;

    put_files(rig, 40, 8 * MIB);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, name_of(name, 0)), false, false, &h), 0);
    for (unsigned n = 1; n < 40; n += 13) {
        assert_int_equal(worker_read(rig, &h, 0, there, MIB), MIB);
        assert_memory_equal(there, bytes, MIB);
        read_files(rig, n, n + 13, 8 * MIB);
        assert_int_not_equal(chunk_first_absent(h.map, 0, MIB), UINT64_MAX);
    }
    worker_close(rig, &h);
}

static void without_rotation_the_first_stay(void **state)
{
    struct rig *rig = *state;
    uint64_t first;

    limit(rig, CAP, false);
    put_files(rig, 60, MIB);
    first = read_file(rig, 0, MIB);
    read_files(rig, 1, 60, MIB);
    assert_true(cached(rig, first));
    rig_reset_counts(rig);
    (void)read_file(rig, 0, MIB);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    (void)read_file(rig, 30, MIB);
    assert_true(rig->counts[CLOUD_GET] > 0);
}

/* --- writing --------------------------------------------------------------------------------------------- */

/* Writes file after file until one is refused; how many were written, whole. */
static unsigned fill(struct rig *rig, size_t size)
{
    char name[32];

    for (unsigned n = 0;; n++) {
        CLEANUP_FREE char *bytes = pattern(size, n);
        struct handle h;
        int r = worker_create(rig, INDEX_ROOT, name_of(name, n), &h);

        if (r == 0) {
            r = worker_try_write(rig, &h, 0, bytes, size);
            worker_close(rig, &h);
        }
        assert_true(on_disk(rig) <= CAP);
        if (r == 0)
            continue;
        assert_int_equal(r, -ENOSPC);
        (void)worker_unlink(rig, name);
        return n;
    }
}

static void write_files(struct rig *rig, unsigned from, unsigned to, size_t size)
{
    char name[32];

    for (unsigned n = from; n < to; n++) {
        CLEANUP_FREE char *bytes = pattern(size, n);

        (void)worker_file(rig, name_of(name, n), bytes, size);
        assert_true(on_disk(rig) <= CAP);
    }
}

/* The first n files, in the cloud. */
static void check_objects(struct rig *rig, unsigned n, size_t size)
{
    char name[32];

    for (unsigned i = 0; i < n; i++) {
        CLEANUP_FREE char *bytes = pattern(size, i);

        assert_object(rig, name_of(name, i), bytes, size);
    }
}

static void unsent_data_fills_it_and_stays(void **state)
{
    struct rig *rig = *state;
    unsigned n;

    rig->hold[CLOUD_PUT] = true;
    n = fill(rig, MIB);
    assert_in_range(n, CAP / MIB / 2, CAP / MIB);
    rig_release(rig);
    rig_settle(rig);
    check_objects(rig, n, MIB);
    (void)worker_file(rig, "more", "more", 4);   /* what was sent makes room */
}

static void a_writer_waits_for_uploads(void **state)
{
    struct rig *rig = *state;

    rig->config->write_wait_seconds = 20;
    write_files(rig, 0, 80, MIB);
    rig_settle(rig);
    check_objects(rig, 80, MIB);
}

static void a_full_cache_can_be_read_through(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 99);

    rig_put(rig, "of the cloud", bytes, 8 * MIB);
    rig->hold[CLOUD_PUT] = true;
    (void)fill(rig, MIB);
    check_file(rig, worker_lookup(rig, INDEX_ROOT, "of the cloud"), bytes, 8 * MIB);
    rig_release(rig);
}

static void grants_are_taken_back(void **state)
{
    struct rig *rig = *state;
    struct handle idle[40];
    char name[32];

    for (unsigned n = 0; n < 40; n++) {
        assert_int_equal(worker_create(rig, INDEX_ROOT, name_of(name, n), &idle[n]), 0);
        worker_write(rig, &idle[n], 0, "x", 1);
    }
    assert_true(space(rig)->reserved > 0);
    rig->hold[CLOUD_PUT] = true;
    write_files(rig, 40, 52, MIB);
    for (unsigned n = 0; n < 40; n++) {
        worker_write(rig, &idle[n], 1, "y", 1);
        worker_close(rig, &idle[n]);
    }
    rig_release(rig);
    rig_settle(rig);
    assert_int_equal(space(rig)->reserved, 0);
    assert_object(rig, "file-007", "xy", 2);
}

static void a_write_into_what_went_is_made_again(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 0);
    char name[32];
    struct handle h;
    uint64_t ino;

    put_files(rig, 40, 8 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, name_of(name, 0));
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    for (unsigned round = 0; round < 3; round++) {
        worker_write(rig, &h, round * 100, "written", 7);
        memcpy(bytes + round * 100, "written", 7);
        assert_int_equal(worker_flush(rig, &h, false), 0);
        cache_find(rig->volume->cache, ino)->quiet_since_ns = 1;   /* long enough to be sent while it is open */
        cache_find(rig->volume->cache, ino)->quiet_seq = atomic_load(&h.map->write_seq);
        uploader_kick(rig->volume->uploader);
        rig_settle(rig);
        read_files(rig, 1, 14, 8 * MIB);
        assert_int_not_equal(chunk_first_absent(h.map, 0, 8 * MIB), UINT64_MAX);
    }
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "file-000", bytes, 8 * MIB);
}

/* --- what never goes ---------------------------------------------------------------------------------------- */

/* Everything that may. */
static void give_up_all(struct rig *rig)
{
    (void)evict_some(rig->volume->cache, SPACE_KEEP, UINT64_MAX);
}

static void dirty_data_stays(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(5 * MIB, 1), *there = xcalloc(1, 5 * MIB);
    uint64_t ino;
    struct handle h;

    ino = worker_file(rig, "a", bytes, 5 * MIB);
    rig_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    worker_write(rig, &h, MIB, "changed", 7);
    memcpy(bytes + MIB, "changed", 7);
    give_up_all(rig);
    assert_int_equal(chunk_first_absent(h.map, 0, 5 * MIB), UINT64_MAX);
    worker_close(rig, &h);
    give_up_all(rig);
    rig_wait(rig, rig->n_held > 0);
    give_up_all(rig);                      /* while it is being sent */
    limit(rig, MIB, true);                 /* and with a limit far below it */
    rig_linger(rig);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(pread(h.data_fd, there, 5 * MIB, 0), 5 * MIB);
    assert_memory_equal(there, bytes, 5 * MIB);
    worker_close(rig, &h);
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 5 * MIB);
}

static void what_is_lent_stays_and_keeps_its_version(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 0);
    struct handle h;
    uint64_t ino;

    put_files(rig, 1, MIB);
    ino = read_file(rig, 0, MIB);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    give_up_all(rig);                      /* a worker was told that it stays */
    assert_int_equal(chunk_first_absent(h.map, 0, MIB), UINT64_MAX);
    h.map->mount_tag = rig->volume->mount_tag;
    h.map->passed = 1;
    worker_close(rig, &h);
    give_up_all(rig);                      /* the worker is gone, and the kernel goes on reading */
    assert_true(cached(rig, ino));
    assert_int_equal(worker_open_again(rig, ino, &h), 0);
    assert_int_equal(chunk_first_absent(h.map, 0, MIB), UINT64_MAX);
    h.map->passed = 0;
    h.map->cached = 1;
    worker_close(rig, &h);
    give_up_all(rig);                      /* bytes may go, but not who has it open */
    assert_true(cached(rig, ino));
    assert_int_equal(worker_open_again(rig, ino, &h), 0);
    assert_int_equal(chunk_first_absent(h.map, 0, MIB), 0);
    assert_int_equal(h.map->cached, 1);
    h.map->cached = 0;
    worker_close(rig, &h);
    give_up_all(rig);
    assert_false(cached(rig, ino));        /* nothing is left of it */
    check_file(rig, ino, bytes, MIB);
}

/* The directory vanishes in the cloud with everything in it but what was written here. */
static void a_vanished_directory_leaves_what_is_dirty(void **state)
{
    struct rig *rig = *state;
    uint64_t dir, ino;
    struct handle h;

    rig_put(rig, "d/", "", 0);
    rig_put(rig, "d/theirs", "theirs", 6);
    dir = worker_lookup(rig, INDEX_ROOT, "d");
    assert_true(worker_lookup(rig, dir, "theirs"));
    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_create(rig, dir, "ours", &h), 0);
    ino = h.ino;
    worker_write(rig, &h, 0, "ours", 4);
    worker_close(rig, &h);
    rig_remove(rig, "d/theirs");
    rig_remove(rig, "d/");
    list_every(rig, 0);
    (void)worker_lookup(rig, INDEX_ROOT, "nothing");
    (void)worker_lookup(rig, dir, "nothing");
    rig_linger(rig);
    assert_true(cached(rig, ino));
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "d/ours", "ours", 4);
}

static char *in_cache(struct rig *rig, const char *folder, uint64_t ino, const char *kind)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/cache/%s/%" PRIx64 ".%s", rig->dir, folder, ino, kind) > 0);
    return path;
}

static char *folder_of(char out[3], uint64_t ino)
{
    snprintf(out, 3, "%02x", (unsigned)(ino & 0xff));
    return out;
}

/* Of a volume that is closed. The next one has numbers of its own, or with those of the lost one given out once more. */
static void lose_index(struct rig *rig, bool known)
{
    CLEANUP_FREE char *index = NULL, *wal = NULL;

    assert_true(asprintf(&index, "%s/index.db", rig->dir) > 0);
    assert_true(asprintf(&wal, "%s/index.db-wal", rig->dir) > 0);
    assert_int_equal(unlink(index), 0);
    (void)unlink(wal);
    memset(rig->hold, 0, sizeof(rig->hold));
    rig->had_index = known;
    rig_open(rig);
}

static void put_aside(struct rig *rig, bool known)
{
    CLEANUP_FREE char *aside = NULL;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    for (unsigned n = 0; n < 8; n++)
        ino = worker_file(rig, (const char[]){ 'a' + (char)n, 0 }, "precious", 8);
    aside = in_cache(rig, "lost", ino, "data");
    rig_close(rig);
    lose_index(rig, known);
    rig_wait(rig, access(aside, F_OK) == 0);
}

static void unsent_data_of_a_lost_index_is_put_aside(void **state)
{
    put_aside(*state, false);
}

static void so_it_is_by_an_index_that_knows_of_it(void **state)
{
    struct rig *rig = *state;

    put_aside(rig, true);
    assert_true(worker_file(rig, "new", "x", 1) > UINT32_MAX);
}

/* Of what has neither an index nor a map any more, what the cloud has is known by its stamp. */
static void without_a_map_it_is_kept_as_well(void **state)
{
    struct rig *rig = *state;
    char *maps[2], *lost[2];
    CLEANUP_FREE char *data = NULL;
    char bytes[8], low[3];
    struct handle h;
    uint64_t inos[2];
    FILE *f;

    rig_put(rig, "theirs", "whatever", 8);
    inos[0] = worker_find(rig, "theirs");
    assert_int_equal(worker_open(rig, inos[0], false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, bytes, 8), 8);
    worker_close(rig, &h);
    rig->hold[CLOUD_PUT] = true;
    inos[1] = worker_file(rig, "ours", "precious", 8);
    rig_close(rig);
    for (size_t n = 0; n < 2; n++) {
        maps[n] = in_cache(rig, folder_of(low, inos[n]), inos[n], "map");
        lost[n] = in_cache(rig, "lost", inos[n], "data");
        assert_int_equal(truncate(maps[n], 0), 0);
    }
    data = in_cache(rig, folder_of(low, inos[0]), inos[0], "data");
    assert_int_equal(access(data, F_OK), 0);
    lose_index(rig, true);
    rig_wait(rig, access(lost[1], F_OK) == 0 && access(data, F_OK) < 0);
    assert_int_equal(access(lost[0], F_OK), -1);
    f = fopen(lost[1], "r");
    assert_true(f && fread(bytes, 1, 8, f) == 8 && memcmp(bytes, "precious", 8) == 0);
    fclose(f);
    for (size_t n = 0; n < 2; n++) {
        free(maps[n]);
        free(lost[n]);
    }
}

/* --- pins ------------------------------------------------------------------------------------------------------ */

static void a_pin_is_set_and_removed(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5), dir = worker_mkdir(rig, "d");

    assert_int_equal(worker_get_pin(rig, ino), -ENODATA);
    assert_int_equal(worker_set_pin(rig, ino, "yes", 0), -EINVAL);
    assert_int_equal(worker_set_pin(rig, ino, "1", XATTR_REPLACE), -ENODATA);
    assert_int_equal(worker_set_pin(rig, ino, "1", 0), 0);
    assert_int_equal(worker_set_pin(rig, ino, "1", XATTR_CREATE), -EEXIST);
    assert_int_equal(worker_get_pin(rig, ino), 0);
    rig_settle(rig);
    rig_reopen(rig);
    assert_int_equal(worker_get_pin(rig, ino), 0);
    assert_int_equal(worker_remove_pin(rig, ino), 0);
    assert_int_equal(worker_remove_pin(rig, ino), -ENODATA);
    assert_int_equal(worker_set_pin(rig, dir, "1", 0), 0);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_int_equal(worker_get_pin(rig, ino), -ENODATA);
    rig_settle(rig);
}

static void a_pinned_folder_comes_and_stays(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(5 * MIB, 7);
    uint64_t dir, sub, one, two;

    put_files(rig, 60, MIB);
    rig_put(rig, "d/one", bytes, 5 * MIB);
    rig_put(rig, "d/sub/two", bytes, MIB);
    dir = worker_lookup(rig, INDEX_ROOT, "d");
    assert_int_equal(worker_set_pin(rig, dir, "1", 0), 0);
    one = worker_lookup(rig, dir, "one");
    sub = worker_lookup(rig, dir, "sub");
    two = worker_lookup(rig, sub, "two");
    assert_int_equal(worker_get_pin(rig, two), 0);     /* by the directory */
    rig_wait(rig, rig_is_kept(rig, one) && rig_is_kept(rig, two));
    read_files(rig, 0, 60, MIB);
    give_up_all(rig);
    assert_true(rig_is_kept(rig, one) && rig_is_kept(rig, two));
    rig_reset_counts(rig);
    check_file(rig, one, bytes, 5 * MIB);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
    assert_int_equal(worker_remove_pin(rig, dir), 0);
    give_up_all(rig);
    assert_false(cached(rig, one));
}

static void fetching_pins_goes_on_after_a_restart(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * MIB, 7);
    uint64_t ino;

    rig_put(rig, "a", bytes, 3 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig->hold[CLOUD_GET] = true;
    assert_int_equal(worker_set_pin(rig, ino, "1", 0), 0);
    rig_wait(rig, rig->n_held > 0);
    rig_close(rig);
    memset(rig->hold, 0, sizeof(rig->hold));
    rig_open(rig);
    rig_wait(rig, rig_is_kept(rig, ino));
}

static void a_new_file_of_a_pinned_folder_comes(void **state)
{
    struct rig *rig = *state;
    uint64_t dir;

    rig_put(rig, "d/one", "one", 3);
    dir = worker_lookup(rig, INDEX_ROOT, "d");
    assert_int_equal(worker_set_pin(rig, dir, "1", 0), 0);
    rig_wait(rig, rig_is_kept(rig, worker_lookup(rig, dir, "one")));
    rig_put(rig, "d/two", "two", 3);
    list_every(rig, 1);
    rig_wait(rig, worker_lookup(rig, dir, "two"));
    keeper_kick(rig->volume);
    rig_wait(rig, rig_is_kept(rig, worker_lookup(rig, dir, "two")));
}

static void pins_beyond_the_limit_leave_room(void **state)
{
    struct rig *rig = *state;
    char name[32];
    unsigned n_whole = 0;

    put_files(rig, 60, MIB);
    assert_true(worker_lookup(rig, INDEX_ROOT, name_of(name, 0)));
    assert_int_equal(worker_set_pin(rig, INDEX_ROOT, "1", 0), 0);
    rig_wait(rig, space(rig)->used > CAP / 2);
    rig_linger(rig);
    read_files(rig, 0, 60, MIB);
    for (unsigned n = 0; n < 60; n++)
        n_whole += rig_is_kept(rig, worker_lookup(rig, INDEX_ROOT, name_of(name, n)));
    assert_in_range(n_whole, CAP / MIB / 2, CAP / MIB);
}

/* --- sums --------------------------------------------------------------------------------------------------------- */

static void check_sum(struct rig *rig)
{
    uint64_t disk = on_disk(rig), used = space(rig)->used + space(rig)->reserved;

    assert_true(disk <= used);
    assert_true(used - disk < 2 * MIB);    /* what folders and names are taken for */
}

static void sums_survive_a_restart(void **state)
{
    struct rig *rig = *state;
    char name[32];

    put_files(rig, 30, MIB);
    read_files(rig, 0, 30, MIB);
    for (unsigned n = 0; n < 5; n++)
        (void)worker_file(rig, name_of(name, 100 + n), "here", 4);
    rig_settle(rig);
    check_sum(rig);
    rig_reopen(rig);
    check_sum(rig);
    rig_wait(rig, !rig->volume->cache->sweep);
    check_sum(rig);
    assert_int_equal(worker_unlink(rig, "file-029"), 0);
    give_up_all(rig);
    check_sum(rig);
    assert_true(on_disk(rig) < 2 * MIB);
}

static void run(const char *command, const char *option, const char *a, const char *b)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        (void)execlp(command, command, option, a, b, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The state directory as it is at this moment is what the next syncd finds. */
static void crash(struct rig *rig)
{
    char copy[96], was[96];

    snprintf(copy, sizeof(copy), "%s.copy", rig->dir);
    snprintf(was, sizeof(was), "%s.was", rig->dir);
    run("cp", "-a", rig->dir, copy);
    rig_close(rig);
    assert_int_equal(rename(rig->dir, was), 0);
    assert_int_equal(rename(copy, rig->dir), 0);
    run("rm", "-rf", was, NULL);
    rig_open(rig);
}

static void sums_survive_a_crash(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 50);
    char name[32];
    struct handle h, reading;

    put_files(rig, 20, MIB);
    read_files(rig, 0, 10, MIB);
    (void)use_flush(rig->volume->cache);
    read_files(rig, 10, 15, MIB);      /* not in the index yet */
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "file-016"), false, false, &reading), 0);
    assert_int_equal(worker_fetch(rig, reading.ino, 0, MIB), 0);
    assert_int_equal(worker_create(rig, INDEX_ROOT, name_of(name, 50), &h), 0);
    worker_write(rig, &h, 0, bytes, MIB);
    crash(rig);
    worker_forget_handle(&h);
    worker_forget_handle(&reading);
    check_sum(rig);
    assert_true(on_disk(rig) > 15 * MIB);
    rig_settle(rig);
    assert_object(rig, "file-050", bytes, MIB);
    give_up_all(rig);                      /* and all of it is known */
    assert_true(on_disk(rig) < 2 * MIB);
}

/* A cache of a version that kept no sums. */
static void an_old_cache_is_taken_in(void **state)
{
    struct rig *rig = *state;

    put_files(rig, 15, MIB);
    read_files(rig, 0, 15, MIB);
    (void)use_flush(rig->volume->cache);
    assert_int_equal(index_begin(rig->volume->index), 0);
    for (uint64_t ino = 1; ino < 40; ino++) {
        assert_int_equal(index_cached_remove(rig->volume->index, ino), 0);
        assert_int_equal(evict_forget(use_order(rig->volume->cache), ino), 0);
    }
    assert_int_equal(index_end(rig->volume->index, 0), 0);
    rig_reopen(rig);
    check_sum(rig);
    give_up_all(rig);
    assert_true(on_disk(rig) < 2 * MIB);
}

static void what_others_took_away_is_not_counted(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    put_files(rig, 3, MIB);
    ino = read_file(rig, 0, MIB);
    (void)read_file(rig, 1, MIB);
    rig_close(rig);
    {
        CLEANUP_FREE char *data = rig_cache_path(rig, ino, "data"), *map = rig_cache_path(rig, ino, "map");

        assert_int_equal(unlink(data), 0);
        assert_int_equal(unlink(map), 0);
    }
    rig_open(rig);
    rig_wait(rig, !rig->volume->cache->sweep);
    check_sum(rig);
}

static void a_smaller_limit_takes_effect(void **state)
{
    struct rig *rig = *state;

    put_files(rig, 20, MIB);
    read_files(rig, 0, 20, MIB);
    assert_true(on_disk(rig) > 18 * MIB);
    limit(rig, 9 * MIB, true);
    rig_wait(rig, on_disk(rig) <= 9 * MIB);
    check_sum(rig);
}

static void the_disk_is_not_filled(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    limit(rig, 0, true);
    put_files(rig, 50, MIB);
    read_files(rig, 0, 12, MIB);
    rig->config->cache_free_percent = 100;    /* as if it were full */
    assert_int_equal(worker_create(rig, INDEX_ROOT, "new", &h), -ENOSPC);
    read_files(rig, 0, 50, MIB);         /* reading goes on, in little space */
    assert_true(on_disk(rig) < 34 * MIB);
    rig->config->cache_free_percent = 0;
    assert_int_equal(worker_create(rig, INDEX_ROOT, "new", &h), 0);
    worker_close(rig, &h);
    rig_settle(rig);
}

static void files_that_are_only_opened_leave_nothing(void **state)
{
    struct rig *rig = *state;
    char name[32];

    put_files(rig, 5, MIB);
    for (unsigned n = 0; n < 5; n++) {
        uint64_t ino = worker_lookup(rig, INDEX_ROOT, name_of(name, n));
        struct handle h;

        assert_int_equal(worker_open_again(rig, ino, &h), 0);
        worker_close(rig, &h);
        assert_false(cached(rig, ino));
    }
    check_sum(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, rig_tear_down)

/* With a name: that test alone. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tree_ten_times_the_limit),
        TEST(a_file_three_times_the_limit),
        TEST(chunks_go_under_an_open_reader),
        TEST(without_rotation_the_first_stay),
        TEST(unsent_data_fills_it_and_stays),
        TEST(a_writer_waits_for_uploads),
        TEST(a_full_cache_can_be_read_through),
        TEST(grants_are_taken_back),
        TEST(a_write_into_what_went_is_made_again),
        TEST(dirty_data_stays),
        TEST(what_is_lent_stays_and_keeps_its_version),
        TEST(a_vanished_directory_leaves_what_is_dirty),
        TEST(unsent_data_of_a_lost_index_is_put_aside),
        TEST(so_it_is_by_an_index_that_knows_of_it),
        TEST(without_a_map_it_is_kept_as_well),
        TEST(a_pin_is_set_and_removed),
        TEST(a_pinned_folder_comes_and_stays),
        TEST(fetching_pins_goes_on_after_a_restart),
        TEST(a_new_file_of_a_pinned_folder_comes),
        TEST(pins_beyond_the_limit_leave_room),
        TEST(sums_survive_a_restart),
        TEST(sums_survive_a_crash),
        TEST(an_old_cache_is_taken_in),
        TEST(what_others_took_away_is_not_counted),
        TEST(a_smaller_limit_takes_effect),
        TEST(the_disk_is_not_filled),
        TEST(files_that_are_only_opened_leave_nothing),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
