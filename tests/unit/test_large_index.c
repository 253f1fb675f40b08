/* A drive with very many objects comes up from its index as one with few does: what it reads of the index until the
 * first directory is listed does not grow with it, whether the cloud can be reached or not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/volume_fixture.h"

/* Names in the directory that is listed, directories as large as it in the small index and in the large one. */
enum { NAMES = 200, FEW = 4, MANY = 400 };

static void add(struct fixture *f, uint64_t parent, uint32_t mode, const char *name, const char *key, uint64_t *ret)
{
    struct index_inode i = {
        .parent = parent, .name = (char *)(uintptr_t)name, .mode = mode, .nlink = 1, .size = 5, .cloud_size = 5,
        .cloud_key = (char *)(uintptr_t)key, .etag = (char *)(uintptr_t)"\"0123456789abcdef0123456789abcdef\"",
        .settled = true, .generation = 1, .listed_ns = S_ISDIR(mode) ? loop_wall_ns() : 0,
    };

    assert_int_equal(index_insert(f->v->index, &i), 0);
    *ret = i.ino;
}

static void fill(struct fixture *f, int from, int to)
{
    CLEANUP(index_inode_done) struct index_inode root = { 0 };
    struct index *x = f->v->index;
    char name[32], key[64];
    uint64_t dir, ino;

    assert_int_equal(index_begin(x), 0);
    for (int d = from; d < to; d++) {
        snprintf(name, sizeof(name), "dir%d", d);
        add(f, INDEX_ROOT, S_IFDIR | 0755, name, NULL, &dir);
        for (int n = 0; n < NAMES; n++) {
            snprintf(name, sizeof(name), "file%d", n);
            snprintf(key, sizeof(key), "dir%d/file%d", d, n);
            add(f, dir, S_IFREG | 0644, name, key, &ino);
        }
    }
    assert_int_equal(index_get(x, INDEX_ROOT, &root), 0);
    root.listed_ns = loop_wall_ns();
    assert_int_equal(index_update(x, &root), 0);
    assert_int_equal(index_commit(x), 0);
}

/* Bytes that the process has read from files so far: proc(5), /proc/PID/io. */
static uint64_t bytes_read(void)
{
    FILE *io = fopen("/proc/self/io", "re");
    unsigned long long bytes = 0;

    assert_non_null(io);
    assert_int_equal(fscanf(io, "rchar: %llu", &bytes), 1);
    fclose(io);
    return bytes;
}

static int count_names(const char *names)
{
    int n = *names != '\0';

    for (; *names; names++)
        n += *names == ' ';
    return n;
}

static void list(struct fixture *f)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    unsigned asked = f->seen[CLOUD_LIST];

    assert_int_equal(ask_lookup(f, INDEX_ROOT, "dir2", &attr), 0);
    assert_int_equal(count_names(ask_names(f, attr.ino, 1000)), NAMES);
    assert_int_equal(f->seen[CLOUD_LIST], asked);
}

static uint64_t cost_of_a_start(struct fixture *f)
{
    uint64_t before;

    fixture_restart(f);
    before = bytes_read();
    fixture_restart(f);
    list(f);
    return bytes_read() - before;
}

static void a_start_costs_the_same(void **state)
{
    struct fixture *f = *state;
    uint64_t small, large;

    f->drive.has_sync_interval_seconds = true;   /* no listing is too old by the time it is asked for */
    f->drive.sync_interval_seconds = 3600;
    fill(f, 0, FEW);
    small = cost_of_a_start(f);
    fill(f, FEW, MANY);
    large = cost_of_a_start(f);
    print_message("bytes read: %llu with %d objects, %llu with %d\n", (unsigned long long)small, FEW * NAMES,
                  (unsigned long long)large, MANY * NAMES);
    assert_true(large < 3 * small);
}

static int64_t time_of_a_start(struct fixture *f)
{
    int64_t began;

    fixture_restart(f);
    began = loop_now_ns();
    assert_int_equal(count_names(ask_names(f, ino_of(f, "dir2"), 1000)), NAMES);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "dir3", NULL), 0);
    return loop_now_ns() - began;
}

/* Old listings, and nobody answers. */
static void without_a_network(void **state)
{
    struct fixture *f = *state;
    struct index *x = f->v->index;
    int tries = 0;

    fill(f, 0, FEW);
    for (uint64_t ino = INDEX_ROOT; ino <= index_last_ino(x); ino++) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        assert_int_equal(index_get(x, ino, &i), 0);
        i.listed_ns = i.listed_ns ? 1 : 0;
        assert_int_equal(index_update(x, &i), 0);
    }
    f->fail_op = CLOUD_LIST;
    f->fail_code = -EHOSTUNREACH;
    while (time_of_a_start(f) > INT64_C(1000000000))   /* once a busy machine lets it */
        assert_true(++tries < 10);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_start_costs_the_same),
        TEST(without_a_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
