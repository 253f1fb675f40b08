/* Objects of an encrypted drive that somebody changed in the cloud, and that are renamed or get other metadata then:
 * neither makes what is refused something that is not. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { SIZE = 200000, AGAIN = 210000 };

/* As it lies in the cloud. */
struct object {
    char *bytes;
    size_t n;
    struct cloud_meta meta;
};

static struct object take(struct rig *rig, const char *key)
{
    struct object o = { .bytes = rig_object(rig, key, &o.n) };
    struct cloud_request *r = rig_stat(rig, key);

    assert_int_equal(cloud_meta_copy(&o.meta, &r->object.meta), 0);
    cloud_request_free(r);
    return o;
}

static void object_done(struct object *o)
{
    free(o->bytes);
    cloud_meta_free(&o->meta);
}

static void put(struct rig *rig, const char *key, const struct object *o)
{
    rig_put_with(rig, key, o->bytes, o->n, &o->meta);
    rig_relist(rig, INDEX_ROOT);
}

static void make(struct rig *rig, const char *name, size_t size, unsigned seed)
{
    CLEANUP_FREE char *bytes = pattern(size, seed);

    (void)worker_file(rig, name, bytes, size);
    sealed_settle(rig);
}

/* What a program gets of its first byte: 0 or a negative errno. */
static int read_first(struct rig *rig, const char *name)
{
    char byte;
    ssize_t n = sealed_read_byte(rig, name, 0, &byte);

    return n < 0 ? (int)n : 0;
}

static int fault_of(struct rig *rig, const char *name)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP(index_object_done) struct index_object o = { 0 };

    assert_int_equal(index_find(rig->volume->index, INDEX_ROOT, name, strlen(name), &i), 0);
    (void)object_get(rig->volume, &i, &o);
    return o.fault;
}

static void assert_refused(struct rig *rig, const char *name, int fault)
{
    assert_int_equal(read_first(rig, name), -EIO);
    assert_int_equal(fault_of(rig, name), fault);
}

static void rename_to(struct rig *rig, const char *from, const char *to)
{
    assert_int_equal(worker_rename(rig, from, to, 0), 0);
    sealed_settle(rig);
    rig_relist(rig, INDEX_ROOT);
}

static int accept_it(struct rig *rig, const char *name)
{
    Lf__FsXattrSet m = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &m);

    m.ino = worker_lookup(rig, INDEX_ROOT, name);
    m.name = (char *)(uintptr_t)"user.landfall.accept";
    m.value = (ProtobufCBinaryData){ 1, (uint8_t *)(uintptr_t)"1" };
    return rig_ask(rig, &env, NULL, NULL);
}

/* --- another file's ---------------------------------------------------------------------------------------- */

/* At "a" lies what was made for "b", a version that is newer than any of "a". */
static void exchange(struct rig *rig)
{
    CLEANUP(object_done) struct object b = { 0 };

    make(rig, "a", SIZE, 1);
    make(rig, "b", AGAIN, 2);
    b = take(rig, "b");
    put(rig, "a", &b);
}

static void one_that_is_exchanged_gets_another_mode(void **state)
{
    struct rig *rig = *state;

    exchange(rig);
    assert_int_equal(worker_chmod(rig, worker_lookup(rig, INDEX_ROOT, "a"), 0600), 0);
    sealed_settle(rig);
    assert_refused(rig, "a", -EXDEV);
    assert_int_equal(read_first(rig, "b"), 0);
}

static void one_that_is_exchanged_is_renamed(void **state)
{
    struct rig *rig = *state;

    exchange(rig);
    rename_to(rig, "a", "c");
    assert_refused(rig, "c", -EXDEV);
    rename_to(rig, "c", "a");
    assert_refused(rig, "a", -EXDEV);
}

static void one_that_was_seen_to_be_exchanged_is_renamed(void **state)
{
    struct rig *rig = *state;

    exchange(rig);
    assert_refused(rig, "a", -EXDEV);
    rename_to(rig, "a", "c");
    assert_refused(rig, "c", -EXDEV);
}

/* --- an older one -------------------------------------------------------------------------------------------- */

static void put_back(struct rig *rig)
{
    CLEANUP(object_done) struct object old = { 0 };

    make(rig, "a", SIZE, 1);
    old = take(rig, "a");
    worker_overwrite(rig, "a", "newer", 5);
    sealed_settle(rig);
    put(rig, "a", &old);
}

static void assert_can_be_accepted(struct rig *rig, const char *name)
{
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);

    assert_int_equal(accept_it(rig, name), 0);
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, name), bytes, SIZE);
}

static void an_older_one_is_renamed(void **state)
{
    struct rig *rig = *state;

    put_back(rig);
    rename_to(rig, "a", "c");
    assert_refused(rig, "c", -EREMCHG);
    rename_to(rig, "c", "d");
    assert_refused(rig, "d", -EREMCHG);
    assert_can_be_accepted(rig, "d");
}

static void one_that_was_seen_to_be_older_is_renamed(void **state)
{
    struct rig *rig = *state;

    put_back(rig);
    assert_refused(rig, "a", -EREMCHG);
    rename_to(rig, "a", "c");
    assert_refused(rig, "c", -EREMCHG);
    assert_can_be_accepted(rig, "c");
}

/* --- one that is not encrypted ------------------------------------------------------------------------------- */

static void put_plain(struct rig *rig)
{
    CLEANUP(object_done) struct object plain = { .bytes = pattern(SIZE, 1), .n = SIZE };

    make(rig, "a", SIZE, 1);
    put(rig, "a", &plain);
}

static void a_plain_one_is_renamed(void **state)
{
    struct rig *rig = *state;

    put_plain(rig);
    rename_to(rig, "a", "c");
    assert_refused(rig, "c", -EUCLEAN);
    assert_can_be_accepted(rig, "c");
}

static void one_that_was_seen_to_be_plain_is_renamed(void **state)
{
    struct rig *rig = *state;

    put_plain(rig);
    assert_refused(rig, "a", -EUCLEAN);
    rename_to(rig, "a", "c");
    assert_refused(rig, "c", -EUCLEAN);
    assert_can_be_accepted(rig, "c");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sealed_set_up, sealed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_exchanged_gets_another_mode),
        TEST(one_that_is_exchanged_is_renamed),
        TEST(one_that_was_seen_to_be_exchanged_is_renamed),
        TEST(an_older_one_is_renamed),
        TEST(one_that_was_seen_to_be_older_is_renamed),
        TEST(a_plain_one_is_renamed),
        TEST(one_that_was_seen_to_be_plain_is_renamed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
