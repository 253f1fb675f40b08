/* Keys that are no file names, used through their names: what is written, renamed, overwritten and deleted there
 * happens to those keys and no others. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/name.h"
#include "syncd/volume_internal.h"

static int mkdir_in(struct rig *rig, uint64_t parent, const char *name, uint64_t *ret)
{
    Lf__FsMkdir m = LF__FS_MKDIR__INIT;
    Lf__Envelope request = IPC_ENVELOPE(FS_MKDIR, fs_mkdir, &m), *reply = NULL;
    int r;

    m.parent = parent;
    m.name = (ProtobufCBinaryData){ strlen(name), (uint8_t *)(uintptr_t)name };
    m.mode = 0755;
    r = rig_ask(rig, &request, &reply, NULL);
    if (r == 0)
        *ret = reply->fs_entry->attr->ino;
    if (reply)
        lf__envelope__free_unpacked(reply, NULL);
    return r;
}

static int create_in(struct rig *rig, uint64_t parent, const char *name, const char *bytes)
{
    struct handle h;
    int r = worker_create(rig, parent, name, &h);

    if (r == 0) {
        worker_write(rig, &h, 0, bytes, strlen(bytes));
        worker_close(rig, &h);
    }
    return r;
}

static void overwrite(struct rig *rig, uint64_t parent, const char *name, const char *bytes)
{
    struct handle h;

    assert_int_equal(worker_open(rig, worker_lookup(rig, parent, name), true, true, &h), 0);
    worker_write(rig, &h, 0, bytes, strlen(bytes));
    worker_close(rig, &h);
}

/* --- from here to there ----------------------------------------------------------------------------------- */

static void made_here(void **state)
{
    struct rig *rig = *state;
    uint64_t dir, below;

    assert_int_equal(create_in(rig, INDEX_ROOT, "␛2E.", "dots"), 0);
    assert_int_equal(create_in(rig, INDEX_ROOT, "␛␛", "escape"), 0);
    assert_int_equal(create_in(rig, INDEX_ROOT, "a␛FFb", "byte"), 0);
    assert_int_equal(mkdir_in(rig, INDEX_ROOT, "d", &dir), 0);
    assert_int_equal(mkdir_in(rig, dir, "␛", &below), 0);
    assert_int_equal(create_in(rig, below, "x", "empty above"), 0);
    rig_settle(rig);
    assert_object(rig, "..", "dots", 4);
    assert_object(rig, "␛", "escape", 6);
    assert_object(rig, "a\xff" "b", "byte", 4);
    assert_object(rig, "d//x", "empty above", 11);
    assert_keys(rig, ".. a\xff" "b d/ d// d//x ␛ ");
}

static void what_denotes_no_key(void **state)
{
    static const char *const names[] = { "␛", "␛41", "a␛", "x␛y", "␛2e", "␛~00112233445566778899aabbccddeeff" };
    struct rig *rig = *state;
    struct handle h;
    uint64_t ino;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(worker_create(rig, INDEX_ROOT, names[i], &h), -EINVAL);
    assert_int_equal(mkdir_in(rig, INDEX_ROOT, "a␛", &ino), -EINVAL);
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a\xff", &h), -EILSEQ);
    worker_file(rig, "x", "1", 1);
    assert_int_equal(worker_rename(rig, "x", "␛", 0), -EINVAL);
    assert_int_equal(worker_rename(rig, "x", "y␛", 0), -EINVAL);
    rig_settle(rig);
    assert_keys(rig, "x ");
}

static void used_from_there(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, ".", "1", 1);
    rig_put(rig, "..", "22", 2);
    rig_put(rig, "/lead", "333", 3);
    rig_put(rig, "bad\xff", "4444", 4);
    overwrite(rig, INDEX_ROOT, "␛2E", "new");
    overwrite(rig, worker_lookup(rig, INDEX_ROOT, "␛"), "lead", "also new");
    assert_int_equal(worker_unlink(rig, "␛2E."), 0);
    assert_int_equal(worker_rename(rig, "bad␛FF", "good", 0), 0);
    rig_settle(rig);
    assert_object(rig, ".", "new", 3);
    assert_object(rig, "/lead", "also new", 8);
    assert_object(rig, "good", "4444", 4);
    assert_keys(rig, ". /lead good ");
}

/* A directory of such a name moves with what is below it, and keeps its key where its name stays. */
static void directories(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "../a", "1", 1);
    rig_put(rig, "..//b", "2", 1);
    assert_true(worker_lookup(rig, worker_lookup(rig, INDEX_ROOT, "␛2E."), "␛"));
    assert_int_equal(worker_rename(rig, "␛2E.", "up", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "up//b up/a ");
    assert_int_equal(worker_rename(rig, "up", "␛2E", 0), 0);
    rig_settle(rig);
    assert_keys(rig, ".//b ./a ");
}

/* What is asked about a rename is asked by names, and what is left is known by keys. */
static void renames_end(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "../a\xff/b", "1", 1);
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "␛2E.", "up", 0), 0);
    assert_false(volume_rename_finished(rig->volume, "␛2E."));
    assert_false(volume_rename_finished(rig->volume, "␛2E./a␛FF/"));
    assert_false(volume_rename_finished(rig->volume, "up"));
    assert_true(volume_rename_finished(rig->volume, "␛2E"));
    assert_true(volume_rename_finished(rig->volume, "␛41"));
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "up/a\xff/b ");
    assert_true(volume_rename_finished(rig->volume, "␛2E."));
    assert_true(volume_rename_finished(rig->volume, "up"));
}

/* --- a name that is too long ----------------------------------------------------------------------------- */

static void shortened(void **state)
{
    struct rig *rig = *state;
    char component[401], name[NAME_SIZE];
    uint64_t d;
    struct handle h;

    memset(component, 'n', 400);
    component[400] = '\0';
    name_of_key(component, false, name);
    rig_put(rig, component, "long", 4);
    overwrite(rig, INDEX_ROOT, name, "longer");
    rig_settle(rig);
    assert_object(rig, component, "longer", 6);
    assert_int_equal(mkdir_in(rig, INDEX_ROOT, "d", &d), 0);
    rig_reopen(rig);
    assert_int_equal(worker_rename(rig, "d", "e", 0), 0);
    overwrite(rig, INDEX_ROOT, name, "longest");
    rig_settle(rig);
    assert_object(rig, component, "longest", 7);
    assert_int_equal(worker_rename(rig, name, "short", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "e/ short ");
    assert_int_equal(worker_create(rig, INDEX_ROOT, name, &h), -EINVAL);
}

/* Each keeps its own key's component, though the other has the name for a moment. */
static void shortened_exchanged(void **state)
{
    struct rig *rig = *state;
    char component[401], name[NAME_SIZE], key[2][404], path[2][NAME_SIZE + 2];

    memset(component, 'n', 400);
    component[400] = '\0';
    name_of_key(component, false, name);
    for (int i = 0; i < 2; i++) {
        snprintf(key[i], sizeof(key[i]), "%c/%s", "de"[i], component);
        snprintf(path[i], sizeof(path[i]), "%c/%s", "de"[i], name);
    }
    rig_put(rig, key[0], "of d", 4);
    rig_put(rig, key[1], "of e", 4);
    assert_int_equal(worker_rename(rig, path[0], path[1], RENAME_EXCHANGE), 0);
    rig_settle(rig);
    assert_object(rig, key[0], "of e", 4);
    assert_object(rig, key[1], "of d", 4);
}

/* --- an object beside a directory ------------------------------------------------------------------------- */

static void both_there(struct rig *rig)
{
    rig_put(rig, "a", "object", 6);
    rig_put(rig, "a/b", "below", 5);
    assert_true(worker_lookup(rig, INDEX_ROOT, "a") && worker_lookup(rig, INDEX_ROOT, "a␛"));
}

static void both_are_written(void **state)
{
    struct rig *rig = *state;

    both_there(rig);
    overwrite(rig, INDEX_ROOT, "a␛", "other object");
    overwrite(rig, worker_lookup(rig, INDEX_ROOT, "a"), "b", "other below");
    rig_settle(rig);
    assert_object(rig, "a", "other object", 12);
    assert_object(rig, "a/b", "other below", 11);
    assert_int_equal(worker_unlink(rig, "a␛"), 0);
    assert_int_equal(create_in(rig, INDEX_ROOT, "a␛", "made here"), 0);
    rig_settle(rig);
    assert_object(rig, "a", "made here", 9);
    assert_keys(rig, "a a/b ");
}

static void the_directory_moves_away(void **state)
{
    struct rig *rig = *state;
    uint64_t object;

    both_there(rig);
    object = worker_lookup(rig, INDEX_ROOT, "a␛");
    assert_int_equal(worker_rename(rig, "a", "c", 0), 0);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), object);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a␛"), 0);
    overwrite(rig, INDEX_ROOT, "a", "still there");
    rig_settle(rig);
    assert_object(rig, "a", "still there", 11);
    assert_keys(rig, "a c/b ");
}

static void the_directory_is_removed(void **state)
{
    struct rig *rig = *state;
    uint64_t object;

    rig_put(rig, "a", "object", 6);
    rig_put(rig, "a/", "", 0);
    object = worker_lookup(rig, INDEX_ROOT, "a␛");
    assert_true(object);
    assert_int_equal(worker_rmdir(rig, "a"), 0);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), object);
    rig_settle(rig);
    assert_keys(rig, "a ");
}

/* The one name would have two files. */
static void a_file_takes_the_name_of_the_directory(void **state)
{
    struct rig *rig = *state;

    both_there(rig);
    worker_file(rig, "f", "1", 1);
    assert_int_equal(worker_rename(rig, "f", "a", RENAME_EXCHANGE), -EEXIST);
    assert_int_equal(worker_rename(rig, "a", "f", RENAME_EXCHANGE), -EEXIST);
    assert_int_equal(worker_rename(rig, "f", "a", 0), -EISDIR);
    assert_int_equal(worker_rename(rig, "a␛", "g", 0), 0);
    assert_int_equal(worker_rename(rig, "f", "a", RENAME_EXCHANGE), 0);
    rig_settle(rig);
    assert_object(rig, "a", "1", 1);
    assert_object(rig, "g", "object", 6);
    assert_keys(rig, "a f/b g ");
}

/* --- forms of Unicode ---------------------------------------------------------------------------------------- */

static void composed_and_decomposed(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "caf\u00e9", "composed", 8);
    rig_put(rig, "cafe\u0301", "decomposed", 10);
    assert_true(worker_lookup(rig, INDEX_ROOT, "caf\u00e9") != worker_lookup(rig, INDEX_ROOT, "cafe\u0301"));
    overwrite(rig, INDEX_ROOT, "cafe\u0301", "d");
    worker_file(rig, "\u212b", "angstrom", 8);
    worker_file(rig, "\u00c5", "ring", 4);
    rig_settle(rig);
    assert_object(rig, "caf\u00e9", "composed", 8);
    assert_object(rig, "cafe\u0301", "d", 1);
    assert_object(rig, "\u212b", "angstrom", 8);
    assert_object(rig, "\u00c5", "ring", 4);
}

/* Where a key is a file or a folder there is no room for both. */
static void nothing_beside_a_folder(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    uint64_t dir;

    assert_int_equal(mkdir_in(rig, INDEX_ROOT, "a", &dir), 0);
    worker_file(rig, "x", "1", 1);
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a␛", &h), -EINVAL);
    assert_int_equal(worker_rename(rig, "x", "a␛", 0), -EINVAL);
    rig_settle(rig);
    assert_keys(rig, "a/ x ");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(made_here),
        TEST(what_denotes_no_key),
        TEST(used_from_there),
        TEST(directories),
        TEST(renames_end),
        TEST(shortened),
        TEST(shortened_exchanged),
        TEST(both_are_written),
        TEST(the_directory_moves_away),
        TEST(the_directory_is_removed),
        TEST(a_file_takes_the_name_of_the_directory),
        { "folder: nothing_beside_a_folder", nothing_beside_a_folder, rig_set_up_folder, rig_tear_down, NULL },
        TEST(composed_and_decomposed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
