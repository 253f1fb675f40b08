/* Crashes of syncd at every step of the uploader: before each of its requests reaches the cloud, and after it
 * was carried out but before its answer came. Whatever the moment, the next run ends with the cloud as the
 * worker left its files, nothing lost and nothing left over. */
#include "volume_rig.h"

#ifdef SEALED_OBJECTS   /* the same of a drive that encrypts its objects */
#include "tests/unit/sealed_rig.h"
#define rig_set_up sealed_set_up
#define rig_tear_down sealed_tear_down
#define assert_object assert_sealed_or_plain
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { MIB = 1 << 20, STEPS_MAX = 200 };

/* What lies in the cloud before, what is done, and what must be there at the end. */
struct story {
    const char *name;
    void (*before)(struct rig *rig);
    void (*act)(struct rig *rig);
    const char *keys;
    struct { const char *key, *bytes; } objects[4];
};

struct moment {
    unsigned step, seen;
    bool after, acted, dead;
};

static bool matters(enum cloud_op op)
{
    return op == CLOUD_PUT || op == CLOUD_COPY || op == CLOUD_DELETE || op == CLOUD_DELETE_BATCH ||
        (op >= CLOUD_PART_BEGIN && op <= CLOUD_PART_ABORT) || op == CLOUD_STAT;
}

static int die(struct rig *rig, const struct cloud_request *r, bool after)
{
    struct moment *m = rig->arg;

    if (!matters(r->op) && !(m->acted && r->op == CLOUD_LIST))
        return 0;
    if (!m->dead && after == m->after && m->seen++ == m->step)
        m->dead = true;
    return m->dead ? -ECANCELED : 0;
}

static void check_end(struct rig *rig, const struct story *s)
{
    assert_keys(rig, s->keys);
    for (size_t n = 0; n < ARRAY_SIZE(s->objects) && s->objects[n].key; n++)
        assert_object(rig, s->objects[n].key, s->objects[n].bytes, strlen(s->objects[n].bytes));
}

typedef void check_fn(struct rig *rig, const struct story *s);

/* True: the story has such a moment. */
static bool dies_at(const struct story *s, unsigned step, bool after, check_fn *check)
{
    struct moment m = { .step = step, .after = after };
    struct rig *rig;
    void *state;

    assert_int_equal(rig_set_up(&state), 0);
    rig = state;
    s->before(rig);
    rig_settle(rig);
    rig->arg = &m;
    rig->fault = die;
    s->act(rig);
    m.acted = true;
    rig_wait(rig, m.dead || volume_pending(rig->volume) == 0);
    rig_close(rig);
    rig->fault = NULL;
    rig_open(rig);
    rig_settle(rig);
    check(rig, s);
    rig_tear_down(&state);
    return m.dead;
}

static void tell_until(const struct story *s, check_fn *check)
{
    static const bool whens[] = { false, true };

    for (size_t n = 0; n < ARRAY_SIZE(whens); n++) {
        unsigned step = 0;

        while (dies_at(s, step, whens[n], check))
            assert_true(++step < STEPS_MAX);
        assert_true(step > 0);
    }
}

static void tell(const struct story *s)
{
    tell_until(s, check_end);
}

/* --- the stories ---------------------------------------------------------------------------------------------- */

static void nothing(struct rig *rig)
{
    (void)rig;
}

static void two_files(struct rig *rig)
{
    (void)worker_file(rig, "a", "aaa", 3);
    (void)worker_file(rig, "b", "bbb", 3);
}

static void make_files(struct rig *rig)
{
    two_files(rig);
    (void)worker_mkdir(rig, "d");
}

static void new_files(void **state)
{
    static const struct story s = { "new files", nothing, make_files, "a b d/ ", { { "a", "aaa" }, { "b", "bbb" } } };

    (void)state;
    tell(&s);
}

static void overwrite(struct rig *rig)
{
    worker_overwrite(rig, "a", "one", 3);
    worker_overwrite(rig, "a", "two", 3);
}

static void overwritten(void **state)
{
    static const struct story s = { "overwritten", two_files, overwrite, "a b ", { { "a", "two" }, { "b", "bbb" } } };

    (void)state;
    tell(&s);
}

static void rename_and_make_again(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "a", "c", 0), 0);
    (void)worker_file(rig, "a", "new", 3);
}

static void renamed_and_made_again(void **state)
{
    static const struct story s = { "renamed and made again", two_files, rename_and_make_again, "a b c ",
                                    { { "a", "new" }, { "b", "bbb" }, { "c", "aaa" } } };

    (void)state;
    tell(&s);
}

static void rename_over(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
}

static void renamed_over_another(void **state)
{
    static const struct story s = { "renamed over another", two_files, rename_over, "b ", { { "b", "aaa" } } };

    (void)state;
    tell(&s);
}

static void save_as_editors_do(struct rig *rig)
{
    (void)worker_file(rig, "a.new", "saved", 5);
    assert_int_equal(worker_rename(rig, "a.new", "a", 0), 0);
}

static void saved_as_editors_do(void **state)
{
    static const struct story s = { "saved", two_files, save_as_editors_do, "a b ",
                                    { { "a", "saved" }, { "b", "bbb" } } };

    (void)state;
    tell(&s);
}

static void swap(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "a", "b", RENAME_EXCHANGE), 0);
}

static void swapped(void **state)
{
    static const struct story s = { "swapped", two_files, swap, "a b ", { { "a", "bbb" }, { "b", "aaa" } } };

    (void)state;
    tell(&s);
}

static void delete_all(struct rig *rig)
{
    assert_int_equal(worker_unlink(rig, "a"), 0);
    assert_int_equal(worker_unlink(rig, "b"), 0);
}

static void deleted(void **state)
{
    static const struct story s = { "deleted", two_files, delete_all, "", { { 0 } } };

    (void)state;
    tell(&s);
}

static void delete_and_make_again(struct rig *rig)
{
    assert_int_equal(worker_unlink(rig, "a"), 0);
    (void)worker_file(rig, "a", "new", 3);
}

static void deleted_and_made_again(void **state)
{
    static const struct story s = { "made again", two_files, delete_and_make_again, "a b ",
                                    { { "a", "new" }, { "b", "bbb" } } };

    (void)state;
    tell(&s);
}

static void one_directory(struct rig *rig)
{
    uint64_t d = worker_mkdir(rig, "d");
    struct handle h;

    assert_int_equal(worker_create(rig, d, "f", &h), 0);
    worker_write(rig, &h, 0, "fff", 3);
    worker_close(rig, &h);
}

static void rename_directory(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "d", "e", 0), 0);
}

static void a_directory_renamed(void **state)
{
    static const struct story s = { "directory", one_directory, rename_directory, "e/ e/f ", { { "e/f", "fff" } } };

    (void)state;
    tell(&s);
}

static void a_tree(struct rig *rig)
{
    (void)worker_mkdir(rig, "d");
    (void)worker_mkdir(rig, "d/sub");
    (void)worker_file(rig, "d/f", "fff", 3);
    (void)worker_file(rig, "d/sub/g", "ggg", 3);
}

static void rename_inside_out(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "d", "e", 0), 0);
    assert_int_equal(worker_rename(rig, "e/sub", "sub", 0), 0);
    (void)worker_mkdir(rig, "d");
    (void)worker_file(rig, "d/f", "new", 3);
    worker_overwrite(rig, "e/f", "other", 5);
}

static void a_tree_taken_apart(void **state)
{
    static const struct story s = { "tree", a_tree, rename_inside_out, "d/ d/f e/ e/f sub/ sub/g ",
                                    { { "d/f", "new" }, { "e/f", "other" }, { "sub/g", "ggg" } } };

    (void)state;
    tell(&s);
}

/* Known is the root alone. */
static void two_trees_of_others(struct rig *rig)
{
    rig_put(rig, "d/", "", 0);
    rig_put(rig, "d/f", "fff", 3);
    rig_put(rig, "d/sub/g", "ggg", 3);
    rig_put(rig, "e/f", "eee", 3);
    assert_int_not_equal(worker_find(rig, "d"), 0);
}

static void exchange_trees(struct rig *rig)
{
    assert_int_equal(worker_rename(rig, "d", "e", RENAME_EXCHANGE), 0);
}

static void trees_of_others_exchanged(void **state)
{
    static const struct story s = { "exchange", two_trees_of_others, exchange_trees, "d/f e/ e/f e/sub/g ",
                                    { { "d/f", "eee" }, { "e/f", "fff" }, { "e/sub/g", "ggg" } } };

    (void)state;
    tell(&s);
}

static void change_metadata(struct rig *rig)
{
    assert_int_equal(worker_chmod(rig, worker_lookup(rig, INDEX_ROOT, "a"), 0400), 0);
    assert_int_equal(worker_rename(rig, "b", "c", 0), 0);
}

static void metadata_changed(void **state)
{
    static const struct story s = { "metadata", two_files, change_metadata, "a c ",
                                    { { "a", "aaa" }, { "c", "bbb" } } };

    (void)state;
    tell(&s);
}

/* The bytes are the same whatever part they are of, so that one string can be compared. */
static char large_bytes[20 * MIB + 1];

static void make_large(struct rig *rig)
{
    (void)worker_file(rig, "large", large_bytes, 20 * MIB);
}

static void a_large_file(void **state)
{
    static const struct story s = { "large", nothing, make_large, "large ", { { "large", large_bytes } } };

    (void)state;
    memset(large_bytes, 'x', 20 * MIB);
    tell(&s);
}

static void change_on_both_sides(struct rig *rig)
{
    rig_put(rig, "a", "theirs", 6);
    worker_overwrite(rig, "a", "ours", 4);
}

static bool count_copies(const struct index_inode *i, void *arg)
{
    *(unsigned *)arg += strstr(i->name, " (conflict ") != NULL;
    return true;
}

/* Its name has the time in it. */
static void one_copy(struct rig *rig, const struct story *s)
{
    CLEANUP_FREE char *keys = rig_keys(rig), *copy = NULL;
    unsigned n = 0;

    assert_int_equal(strncmp(keys, "a a (conflict ", strlen("a a (conflict ")), 0);
    assert_string_equal(strchr(keys, ')'), ") b ");
    copy = strndup(keys + 2, (size_t)(strchr(keys, ')') - keys) - 1);
    assert_object(rig, copy, s->objects[0].bytes, 4);
    assert_object(rig, "a", "theirs", 6);
    assert_int_equal(index_list(rig->volume->index, INDEX_ROOT, "", 0, count_copies, &n), 0);
    assert_int_equal(n, 1);
}

static void changed_on_both_sides(void **state)
{
    static const struct story s = { "both sides", two_files, change_on_both_sides, NULL, { { "copy", "ours" } } };

    (void)state;
    tell_until(&s, one_copy);
}

/* A new file whose upload the crash interrupted; the next run has not got to it yet. */
static struct rig *interrupted(void **state, bool after)
{
    struct moment m = { .after = after };
    struct rig *rig;

    assert_int_equal(rig_set_up(state), 0);
    rig = *state;
    rig->arg = &m;
    rig->fault = die;
    (void)worker_file(rig, "a", "aaa", 3);
    rig_wait(rig, m.dead);
    rig_close(rig);
    rig->fault = NULL;
    rig->hold[CLOUD_PUT] = rig->hold[CLOUD_DELETE_BATCH] = true;
    rig_open(rig);
    return rig;
}

static void deleted_after_the_crash(void **state)
{
    for (unsigned n = 0; n < 2; n++) {
        struct rig *rig = interrupted(state, n);

        assert_int_equal(worker_unlink(rig, "a"), 0);
        rig_release(rig);
        rig_settle(rig);
        assert_keys(rig, "");
        assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
        rig_tear_down(state);
    }
}

static void renamed_after_the_crash(void **state)
{
    for (unsigned n = 0; n < 2; n++) {
        struct rig *rig = interrupted(state, n);

        assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
        rig_release(rig);
        rig_settle(rig);
        assert_keys(rig, "b ");
        assert_object(rig, "b", "aaa", 3);
        rig_tear_down(state);
    }
}

/* Its object may be there, put for an inode that is no more. */
static void made_again_after_the_crash(void **state)
{
    for (unsigned n = 0; n < 2; n++) {
        struct rig *rig = interrupted(state, n);

        assert_int_equal(worker_unlink(rig, "a"), 0);
        (void)worker_file(rig, "a", "new", 3);
        rig_release(rig);
        rig_settle(rig);
        assert_keys(rig, "a ");
        assert_object(rig, "a", "new", 3);
        rig_tear_down(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_files),
        cmocka_unit_test(overwritten),
        cmocka_unit_test(renamed_and_made_again),
        cmocka_unit_test(renamed_over_another),
        cmocka_unit_test(saved_as_editors_do),
        cmocka_unit_test(swapped),
        cmocka_unit_test(deleted),
        cmocka_unit_test(deleted_and_made_again),
        cmocka_unit_test(a_directory_renamed),
        cmocka_unit_test(a_tree_taken_apart),
        cmocka_unit_test(trees_of_others_exchanged),
        cmocka_unit_test(metadata_changed),
        cmocka_unit_test(a_large_file),
        cmocka_unit_test(changed_on_both_sides),
        cmocka_unit_test(deleted_after_the_crash),
        cmocka_unit_test(renamed_after_the_crash),
        cmocka_unit_test(made_again_after_the_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
