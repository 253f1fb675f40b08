/* mountd/worker_file: the table of open files, fed with real cache files and maps. */
#include "mountd/worker_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { INO = 17 };

static struct file_table table;

/* A cache file and its map, as syncd would pass them. */
struct pair {
    int data, map;
};

static struct pair make_pair(uint64_t ino, uint64_t size)
{
    struct pair p = { memfd_create("data", MFD_CLOEXEC), memfd_create("map", MFD_CLOEXEC) };
    struct chunk_map *m;

    assert_int_equal(ftruncate(p.data, (off_t)size) | ftruncate(p.map, CHUNK_MAP_SIZE), 0);
    m = mmap(NULL, CHUNK_MAP_HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, p.map, 0);
    assert_ptr_not_equal(m, MAP_FAILED);
    m->magic = CHUNK_MAP_MAGIC;
    m->chunk_shift = CHUNK_SHIFT;
    m->ino = ino;
    atomic_store(&m->fetchable, size);
    (void)munmap(m, CHUNK_MAP_HEADER);
    return p;
}

static void free_pair(struct pair *p)
{
    (void)close(p->data);
    (void)close(p->map);
}

static int reopen(int fd, int flags)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static int install(const struct pair *p, enum file_kind kind, struct file **ret, bool *ret_surplus)
{
    int fds[2] = { reopen(p->data, kind == FILE_WRITE ? O_RDWR : O_RDONLY), reopen(p->map, O_RDWR) };
    int r = file_install(&table, INO, &(struct file_opened){ .kind = kind, .fds = fds }, ret, ret_surplus);

    assert_int_equal(fds[0], -1);
    assert_int_equal(fds[1], -1);
    return r;
}

static size_t open_descriptors(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void contents_are_kept_until_the_last_handle(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    size_t before = open_descriptors();
    enum file_kind kind;
    struct file *f;
    bool surplus;
    off_t size;

    (void)state;
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);
    assert_false(surplus);
    f->handles[FILE_READ] = 2;
    assert_ptr_equal(file_find(&table, INO), f);
    assert_int_equal(file_size(f, &size), 0);
    assert_int_equal(size, 100);
    assert_false(file_close(&table, f, FILE_READ, &kind));
    assert_true(file_close(&table, f, FILE_READ, &kind));
    assert_int_equal(kind, FILE_READ);
    assert_null(file_find(&table, INO));
    assert_int_equal(open_descriptors(), before);
}

static void a_second_open_of_a_kind_is_surplus(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    size_t before = open_descriptors();
    struct file *f;
    bool surplus;

    (void)state;
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);
    assert_true(surplus);
    assert_false(f->writable);
    assert_int_equal(install(&p, FILE_WRITE, &f, &surplus), 0);
    assert_false(surplus);
    assert_true(f->writable);
    assert_int_equal(open_descriptors(), before + 1);
    file_table_done(&table);
    assert_int_equal(open_descriptors(), before);
}

static void other_contents_take_the_place(void **state)
{
    CLEANUP(free_pair) struct pair old = make_pair(INO, 100);
    CLEANUP(free_pair) struct pair new = make_pair(INO, 200);
    struct file *f;
    bool surplus;
    off_t size;

    (void)state;
    assert_int_equal(install(&old, FILE_WRITE, &f, &surplus), 0);
    assert_int_equal(install(&new, FILE_READ, &f, &surplus), 0);
    assert_int_equal(file_size(f, &size), 0);
    assert_int_equal(size, 200);
    assert_false(f->writable);
    file_table_done(&table);
}

static void what_is_no_map_is_refused(void **state)
{
    CLEANUP(free_pair) struct pair other = make_pair(INO + 1, 100);
    CLEANUP(free_pair) struct pair small = make_pair(INO, 100);
    CLEANUP(free_pair) struct pair blank = make_pair(INO, 100);
    size_t before = open_descriptors();
    struct file *f;
    bool surplus;

    (void)state;
    assert_int_equal(install(&other, FILE_READ, &f, &surplus), -EBADF);
    assert_int_equal(ftruncate(small.map, CHUNK_MAP_SIZE - 1), 0);
    assert_int_equal(install(&small, FILE_READ, &f, &surplus), -EBADF);
    assert_int_equal(pwrite(blank.map, "XXXXXXXX", 8, 0), 8);
    assert_int_equal(install(&blank, FILE_READ, &f, &surplus), -EBADF);
    assert_null(file_find(&table, INO));
    assert_int_equal(open_descriptors(), before);
    file_table_done(&table);
}

static void writing_needs_a_writable_descriptor(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    int fds[2] = { reopen(p.data, O_RDONLY), reopen(p.map, O_RDWR) };
    struct file *f;
    bool surplus;

    (void)state;
    assert_int_equal(file_install(&table, INO, &(struct file_opened){ .kind = FILE_WRITE, .fds = fds }, &f, &surplus),
                     -EBADF);
    file_table_done(&table);
}

static int install_sealed(const struct pair *p, enum file_kind kind, int flags, struct file **ret, bool *ret_surplus)
{
    int fds[2] = { reopen(p->data, flags), reopen(p->map, O_RDWR) };

    return file_install(&table, INO, &(struct file_opened){ .kind = kind, .is_sealed = true, .fds = fds }, ret,
                        ret_surplus);
}

/* It is written only where that was asked for, though the descriptor could; size and time are the map's. */
static void a_sealed_file_goes_by_its_map(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    struct file *f;
    bool surplus;
    struct stat st;
    off_t size;

    (void)state;
    assert_int_equal(install_sealed(&p, FILE_READ, O_RDONLY, &f, &surplus), -EBADF);
    assert_int_equal(install_sealed(&p, FILE_READ, O_RDWR, &f, &surplus), 0);
    assert_true(f->is_sealed);
    assert_false(f->writable);
    assert_int_equal(file_size(f, &size), -EAGAIN);
    atomic_store(&f->map->size, 5000);
    atomic_store(&f->map->written_ns, INT64_C(3000000007));
    assert_int_equal(file_size(f, &size), 0);
    assert_int_equal(size, 5000);
    assert_int_equal(file_stat(f, &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 3);
    assert_int_equal(st.st_mtim.tv_nsec, 7);
    assert_int_equal(install_sealed(&p, FILE_WRITE, O_RDWR, &f, &surplus), 0);
    assert_true(f->writable);
    assert_int_equal(f->exchanged, 1);
    assert_ptr_equal(f->sealed.map, f->map);
    assert_int_equal(f->sealed.fd, f->fd);
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);   /* in clear from now on */
    assert_false(f->is_sealed);
    assert_int_equal(f->exchanged, 2);
    file_table_done(&table);
}

static void unknown_handles_close_what_there_is(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    enum file_kind kind;
    struct file *f;
    bool surplus;

    (void)state;
    assert_int_equal(install(&p, FILE_WRITE, &f, &surplus), 0);
    f->handles[FILE_WRITE] = 1;   /* created with O_RDONLY | O_CREAT */
    assert_true(file_close(&table, f, FILE_READ, &kind));
    assert_int_equal(kind, FILE_WRITE);
    assert_null(file_find(&table, INO));
    file_table_done(&table);
}

static void a_used_file_outlives_its_handles(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    enum file_kind kind;
    struct file *f;
    bool surplus;

    (void)state;
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);
    f->handles[FILE_READ] = 1;
    file_use(f);
    assert_true(file_close(&table, f, FILE_READ, &kind));
    assert_ptr_equal(file_find(&table, INO), f);
    file_unuse(&table, f);
    assert_null(file_find(&table, INO));
    file_table_done(&table);
}

static void a_size_that_is_not_known_is_not_told(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    struct file *f;
    bool surplus;
    off_t size;

    (void)state;
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);
    atomic_store(&f->map->fetchable, CHUNK_FILE_MAX);
    assert_int_equal(file_size(f, &size), -EAGAIN);
    atomic_store(&f->map->fetchable, 60);   /* grown by writing */
    assert_int_equal(file_size(f, &size), 0);
    file_table_done(&table);
}

static void forgotten_is_what_was_open(void **state)
{
    CLEANUP(free_pair) struct pair p = make_pair(INO, 100);
    enum file_kind kind;
    struct file *f;
    bool surplus;

    (void)state;
    assert_false(file_forget(&table, INO));
    assert_int_equal(install(&p, FILE_READ, &f, &surplus), 0);
    f->handles[FILE_READ] = 1;
    assert_true(file_close(&table, f, FILE_READ, &kind));
    assert_true(file_forget(&table, INO));
    assert_false(file_forget(&table, INO));
    file_touch(&table, 99);
    assert_true(file_forget(&table, 99));
    file_table_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_are_kept_until_the_last_handle),
        cmocka_unit_test(a_second_open_of_a_kind_is_surplus),
        cmocka_unit_test(other_contents_take_the_place),
        cmocka_unit_test(what_is_no_map_is_refused),
        cmocka_unit_test(writing_needs_a_writable_descriptor),
        cmocka_unit_test(a_sealed_file_goes_by_its_map),
        cmocka_unit_test(unknown_handles_close_what_there_is),
        cmocka_unit_test(a_used_file_outlives_its_handles),
        cmocka_unit_test(a_size_that_is_not_known_is_not_told),
        cmocka_unit_test(forgotten_is_what_was_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
