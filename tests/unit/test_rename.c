/* Directories renamed: at once for whoever asks, carried on behind, right for whoever looks meanwhile, and with the cloud
 * as it should be at the end, whatever was known of the tree and whenever the daemon is started again. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/listing.h"

static int unreachable(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    (void)r;
    return after ? 0 : -EHOSTUNREACH;
}

struct listed {
    bool done;
    int code;
};

static void on_listed(const struct error *e, void *arg)
{
    *(struct listed *)arg = (struct listed){ true, e->code };
}

/* The directory's listing into the index, however young the last one is. */
static void relist(struct rig *rig, const char *path)
{
    struct listed l = { 0 };
    struct listing_run *run = listing_run_new(rig->volume, worker_find(rig, path), on_listed, &l);

    rig_wait(rig, l.done);
    listing_run_free(run);
    assert_int_equal(l.code, 0);
}

static bool join_name(const struct index_inode *i, void *arg)
{
    char *names = arg;

    snprintf(names + strlen(names), 256 - strlen(names), "%s ", i->name);
    return true;
}

/* What the index has in the directory. */
#define assert_names(rig, path, expected) \
    do { \
        char names_[256] = ""; \
        uint64_t dir_ = worker_find(rig, path); \
        assert_int_equal(index_list((rig)->volume->index, dir_, "", 0, join_name, names_), 0); \
        assert_string_equal(names_, expected); \
    } while (0)

static void assert_content(struct rig *rig, const char *path, const char *bytes)
{
    char read[64];
    struct handle h;
    uint64_t ino = worker_find(rig, path);

    if (!ino)
        fail_msg("there is no %s", path);
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, read, sizeof(read)), strlen(bytes));
    if (memcmp(read, bytes, strlen(bytes)) != 0)
        fail_msg("%s has other bytes", path);
    worker_close(rig, &h);
}

static unsigned pending_of(struct rig *rig, const char *path)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    assert_int_equal(index_get(rig->volume->index, worker_find(rig, path), &i), 0);
    return i.pending;
}

static char *state_of(struct rig *rig, const char *path)
{
    Lf__FsXattrGet m = LF__FS_XATTR_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_GET, fs_xattr_get, &m), *reply;
    char *text;

    m.ino = worker_find(rig, path);
    m.name = (char *)"user.landfall.state";
    assert_int_equal(rig_ask(rig, &env, &reply, NULL), 0);
    text = strndup((const char *)reply->fs_xattr_value->value.data, reply->fs_xattr_value->value.len);
    lf__envelope__free_unpacked(reply, NULL);
    return text;
}

/* --- trees that are known ------------------------------------------------------------------------------------- */

static void make_tree(struct rig *rig)
{
    (void)worker_mkdir(rig, "a");
    (void)worker_mkdir(rig, "a/sub");
    (void)worker_file(rig, "a/x", "xxx", 3);
    (void)worker_file(rig, "a/sub/y", "yyy", 3);
    rig_settle(rig);
}

static void only_the_name_changes_at_once(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *said = NULL;

    make_tree(rig);
    rig->hold[CLOUD_COPY] = rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    said = state_of(rig, "b/sub/y");
    assert_string_not_equal(said, "clean");
    assert_false(volume_rename_finished(rig->volume, "b"));
    assert_content(rig, "b/sub/y", "yyy");
    rig_wait(rig, rig->n_held > 0);
    rig_linger(rig);
    assert_int_equal(pending_of(rig, "b/sub/y"), INDEX_MOVE);
    assert_false(volume_rename_finished(rig->volume, "b"));
    assert_false(volume_rename_finished(rig->volume, "/b/sub/"));
    assert_false(volume_rename_finished(rig->volume, "a"));
    assert_false(volume_rename_finished(rig->volume, "a/sub"));
    assert_true(volume_rename_finished(rig->volume, ""));
    assert_true(volume_rename_finished(rig->volume, "c"));
    rig_release(rig);
    rig_settle(rig);
    assert_true(volume_rename_finished(rig->volume, "b"));
    assert_true(volume_rename_finished(rig->volume, "a"));
    assert_keys(rig, "b/ b/sub/ b/sub/y b/x ");
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void there_and_back_is_nothing(void **state)
{
    struct rig *rig = *state;

    make_tree(rig);
    rig_reset_counts(rig);
    rig->config->settle_milliseconds = 3600 * 1000;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, !index_moved_any(rig->volume->index));
    assert_int_equal(worker_rename(rig, "b", "a", 0), 0);
    rig_wait(rig, !index_moved_any(rig->volume->index));
    rig->config->settle_milliseconds = 0;
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
    assert_keys(rig, "a/ a/sub/ a/sub/y a/x ");
    assert_int_equal(rig->counts[CLOUD_COPY] + rig->counts[CLOUD_DELETE] + rig->counts[CLOUD_DELETE_BATCH], 0);
    assert_true(volume_rename_finished(rig->volume, "a"));
}

static void back_when_a_part_has_gone(void **state)
{
    struct rig *rig = *state;

    make_tree(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_COPY] > 0);
    assert_int_equal(worker_rename(rig, "b", "a", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "a/ a/sub/ a/sub/y a/x ");
    assert_object(rig, "a/x", "xxx", 3);
    assert_object(rig, "a/sub/y", "yyy", 3);
}

static void a_directory_leaves_one_that_moves(void **state)
{
    struct rig *rig = *state;

    make_tree(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_int_equal(worker_rename(rig, "b/sub", "c", 0), 0);
    (void)worker_mkdir(rig, "a");
    (void)worker_mkdir(rig, "a/sub");
    (void)worker_file(rig, "a/sub/y", "new", 3);
    assert_int_equal(worker_rename(rig, "b", "c/b", 0), 0);
    rig_settle(rig);
    assert_keys(rig, "a/ a/sub/ a/sub/y c/ c/b/ c/b/x c/y ");
    assert_object(rig, "a/sub/y", "new", 3);
    assert_object(rig, "c/b/x", "xxx", 3);
    assert_object(rig, "c/y", "yyy", 3);
    assert_names(rig, "c", "b y ");
}

static void changes_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    make_tree(rig);
    rig_put(rig, "a/gone", "g", 1);
    relist(rig, "a");
    assert_int_equal(worker_open(rig, worker_find(rig, "a/x"), true, false, &h), 0);
    rig->hold[CLOUD_COPY] = rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    worker_write(rig, &h, 0, "more", 4);
    assert_int_equal(worker_chmod(rig, worker_find(rig, "b/sub/y"), 0600), 0);
    assert_int_equal(worker_unlink(rig, "b/gone"), 0);
    (void)worker_file(rig, "b/new", "n", 1);
    worker_close(rig, &h);
    rig_idle(rig);
    assert_content(rig, "b/x", "more");
    assert_names(rig, "b", "new sub x ");
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "b/ b/new b/sub/ b/sub/y b/x ");
    assert_object(rig, "b/x", "more", 4);
}

static void another_version_under_the_old_name(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a/x", "old", 3);
    relist(rig, "");
    relist(rig, "a");
    rig_put(rig, "a/x", "newer", 5);
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_idle(rig);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "b/x ");
    assert_object(rig, "b/x", "newer", 5);
    assert_content(rig, "b/x", "newer");
}

/* --- listings meanwhile ---------------------------------------------------------------------------------------- */

static void listings_do_not_bring_it_back(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "top/a/x", "xxx", 3);
    rig_put(rig, "top/a/sub/y", "yyy", 3);
    assert_int_not_equal(worker_find(rig, "top/a/x"), 0);
    rig->hold[CLOUD_COPY] = true;
    assert_int_equal(worker_rename(rig, "top/a", "b", 0), 0);
    for (unsigned n = 0; n < 3; n++) {
        relist(rig, "");
        relist(rig, "top");
        relist(rig, "b");
        assert_names(rig, "", "b top ");
        assert_names(rig, "top", "");
        assert_names(rig, "b", "sub x ");
        rig_linger(rig);
    }
    (void)worker_mkdir(rig, "top/a");
    relist(rig, "top/a");
    assert_names(rig, "top/a", "");
    assert_int_equal(worker_rmdir(rig, "top/a"), 0);
    assert_int_equal(worker_rmdir(rig, "top"), 0);
    relist(rig, "");
    assert_names(rig, "", "b ");
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "b/sub/y b/x ");
}

/* What appears under the new name is no part of what was renamed. */
static void others_write_under_the_new_name(void **state)
{
    struct rig *rig = *state;

    make_tree(rig);
    rig->hold[CLOUD_COPY] = rig->hold[CLOUD_LIST] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_put(rig, "b/sub2/z", "zzz", 3);
    rig_put(rig, "a/sub2/other", "ooo", 3);
    rig->hold[CLOUD_LIST] = false;
    relist(rig, "b");
    assert_int_not_equal(worker_find(rig, "b/sub2"), 0);
    assert_int_equal(worker_rename(rig, "b/sub2", "b/sub3", 0), 0);
    assert_content(rig, "b/sub3/z", "zzz");
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "a/sub2/other b/ b/sub/ b/sub/y b/sub3/z b/x ");
}

/* --- trees that nobody has looked into --------------------------------------------------------------------------- */

static void put_tree(struct rig *rig)
{
    static const struct cloud_meta meta = { .has_mode = true, .mode = 0750, .has_mtime = true, .mtime_ns = 1 };

    rig_put_with(rig, "a/", "", 0, &meta);
    rig_put(rig, "a/x", "xxx", 3);
    rig_put_with(rig, "a/sub/", "", 0, &meta);
    rig_put(rig, "a/sub/deep/y", "yyy", 3);
    relist(rig, "");
}

static void a_tree_that_was_never_listed(void **state)
{
    struct rig *rig = *state;
    struct cloud_request *r;
    Lf__FsAttr attr;

    put_tree(rig);
    rig_reset_counts(rig);
    rig->hold[CLOUD_LIST] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_int_equal(rig->counts[CLOUD_LIST], 0);
    assert_false(volume_rename_finished(rig->volume, "b"));
    rig_release(rig);
    assert_int_equal(worker_getattr(rig, worker_find(rig, "b"), &attr), 0);
    assert_int_equal(attr.mode & 07777, 0750);
    assert_content(rig, "b/sub/deep/y", "yyy");
    rig_settle(rig);
    assert_keys(rig, "b/ b/sub/ b/sub/deep/y b/x ");
    assert_object(rig, "b/x", "xxx", 3);
    r = rig_stat(rig, "b/sub/");
    assert_int_equal(r->object.meta.mode, 0750);
    cloud_request_free(r);
}

static void without_a_network(void **state)
{
    struct rig *rig = *state;

    put_tree(rig);
    rig->fault = unreachable;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_int_equal(worker_rename(rig, "b", "c", 0), 0);
    (void)worker_mkdir(rig, "a");
    (void)worker_file(rig, "a/x", "new", 3);
    rig_idle(rig);
    assert_int_equal(worker_find(rig, "c/x"), 0);
    assert_false(volume_rename_finished(rig->volume, "c"));
    rig_reopen(rig);
    rig_idle(rig);
    rig->fault = NULL;
    mover_kick(rig->volume);
    rig_settle(rig);
    assert_keys(rig, "a/ a/x c/ c/sub/ c/sub/deep/y c/x ");
    assert_object(rig, "a/x", "new", 3);
    assert_object(rig, "c/x", "xxx", 3);
    assert_content(rig, "c/x", "xxx");
    assert_true(volume_rename_finished(rig->volume, "c"));
}

static int sub_is_refused(struct rig *rig, const struct cloud_request *r, bool after)
{
    return !after && r->op == CLOUD_LIST && strcmp(r->prefix, rig->arg) == 0 ? -EACCES : 0;
}

/* What can be listed goes; what cannot stays where it is, and its row with it. */
static void a_part_that_cannot_be_listed(void **state)
{
    struct rig *rig = *state;

    put_tree(rig);
    rig->arg = (void *)(uintptr_t)"a/sub/";
    rig->fault = sub_is_refused;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_wait(rig, rig->counts[CLOUD_COPY] == 2);
    rig_linger(rig);
    assert_object(rig, "b/x", "xxx", 3);
    assert_object(rig, "a/sub/deep/y", "yyy", 3);
    assert_int_not_equal(volume_pending(rig->volume), 0);
    relist(rig, "");
    assert_names(rig, "", "b ");
    rig->fault = NULL;
    mover_kick(rig->volume);
    rig_settle(rig);
    assert_keys(rig, "b/ b/sub/ b/sub/deep/y b/x ");
}

static void exchanged_unseen(void **state)
{
    struct rig *rig = *state;

    put_tree(rig);
    rig_put(rig, "e/x", "eee", 3);
    rig_put(rig, "e/other", "ooo", 3);
    relist(rig, "");
    assert_int_equal(worker_rename(rig, "a", "e", RENAME_EXCHANGE), 0);
    assert_content(rig, "a/x", "eee");
    assert_content(rig, "e/x", "xxx");
    rig_settle(rig);
    assert_keys(rig, "a/other a/x e/ e/sub/ e/sub/deep/y e/x ");
    assert_object(rig, "a/x", "eee", 3);
    assert_object(rig, "e/x", "xxx", 3);
}

/* Two names pass through one another while one of the trees has been walked and the other has not. */
static void exchanged_and_back_half_seen(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a/sub/x", "xxx", 3);
    rig_put(rig, "e/y", "yyy", 3);
    relist(rig, "");
    relist(rig, "e");
    rig->arg = (void *)(uintptr_t)"a/sub/";
    rig->fault = sub_is_refused;
    assert_int_equal(worker_rename(rig, "a", "e", RENAME_EXCHANGE), 0);
    rig_wait(rig, rig->counts[CLOUD_LIST] >= 4);   /* the root, e, a and a/sub */
    rig_linger(rig);
    assert_int_equal(worker_rename(rig, "a", "e", RENAME_EXCHANGE), 0);
    rig->fault = NULL;
    assert_content(rig, "a/sub/x", "xxx");
    rig_settle(rig);
    assert_keys(rig, "a/sub/x e/y ");
}

/* A directory in it leaves before anybody has looked into that one. */
static void taken_apart_unseen(void **state)
{
    struct rig *rig = *state;

    put_tree(rig);
    rig->hold[CLOUD_COPY] = rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_int_equal(worker_rename(rig, "b/sub", "sub", 0), 0);
    (void)worker_mkdir(rig, "b/sub");
    assert_int_equal(worker_rename(rig, "sub/deep", "b/sub/deeper", 0), 0);
    assert_int_equal(worker_rename(rig, "b", "sub/b", 0), 0);
    rig_release(rig);
    rig_settle(rig);
    assert_keys(rig, "sub/ sub/b/ sub/b/sub/ sub/b/sub/deeper/y sub/b/x ");
    assert_content(rig, "sub/b/sub/deeper/y", "yyy");
}

static void back_unseen(void **state)
{
    struct rig *rig = *state;

    put_tree(rig);
    rig->fault = unreachable;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    assert_int_equal(worker_rename(rig, "b", "a", 0), 0);
    rig->fault = NULL;
    mover_kick(rig->volume);
    relist(rig, "");
    assert_names(rig, "", "a ");
    assert_content(rig, "a/sub/deep/y", "yyy");
    rig_settle(rig);
    assert_keys(rig, "a/ a/sub/ a/sub/deep/y a/x ");
    assert_int_equal(rig->counts[CLOUD_COPY], 0);
}

static void removed_unseen(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a/", "", 0);
    relist(rig, "");
    rig->hold[CLOUD_LIST] = true;
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    rig_release(rig);
    assert_int_equal(worker_rmdir(rig, "b"), 0);
    rig_settle(rig);
    assert_keys(rig, "");
    relist(rig, "");
    assert_names(rig, "", "");
}

/* On a cloud where a key is either a file or a folder. */
static void on_folders(void **state)
{
    struct rig *rig = *state;

    make_tree(rig);
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    (void)worker_file(rig, "a", "file", 4);
    rig_settle(rig);
    assert_keys(rig, "a b/ b/sub/ b/sub/y b/x ");
    assert_object(rig, "a", "file", 4);
}

static void unseen_on_folders(void **state)
{
    struct rig *rig = *state;

    rig_put(rig, "a/x", "xxx", 3);
    rig_put(rig, "a/sub/y", "yyy", 3);
    relist(rig, "");
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    (void)worker_file(rig, "a", "file", 4);
    rig_settle(rig);
    assert_keys(rig, "a b/sub/y b/x ");
    assert_object(rig, "a", "file", 4);
    assert_object(rig, "b/sub/y", "yyy", 3);
}

/* Names that are known to become too long are refused; others are found later. */
static void a_key_that_became_too_long(void **state)
{
    struct rig *rig = *state;
    char name[251], key[2048];
    CLEANUP_FREE char *said = NULL, *why = NULL;
    uint64_t ino;

    memset(name, 'n', 250);
    name[250] = '\0';
    snprintf(key, sizeof(key), "a/%s/%s/%s/%s", name, name, name, name);
    rig_put(rig, key, "x", 1);
    relist(rig, "");
    assert_int_equal(worker_rename(rig, "a", "twenty two letters it is", 0), 0);
    snprintf(key, sizeof(key), "twenty two letters it is/%s/%s/%s/%s", name, name, name, name);
    rig_wait(rig, rig->counts[CLOUD_LIST] > 4);
    rig_linger(rig);
    assert_content(rig, key, "x");
    ino = worker_find(rig, key);
    rig_wait(rig, (why = index_reason(rig->volume->index, ino)));
    said = state_of(rig, key);
    assert_int_equal(strncmp(said, "error: With its new name", strlen("error: With its new name")), 0);
    assert_int_equal(worker_rename(rig, "twenty two letters it is", "b", 0), 0);
    snprintf(key, sizeof(key), "b/%s/%s/%s/%s", name, name, name, name);
    rig_wait(rig, index_moved_any(rig->volume->index) == false);
    assert_int_equal(index_begin(rig->volume->index), 0);
    assert_int_equal(index_end(rig->volume->index, index_retry(rig->volume->index, worker_find(rig, key), 0, NULL)), 0);
    uploader_kick(rig->volume->uploader);
    rig_settle(rig);
    assert_object(rig, key, "x", 1);
}

/* --- many ------------------------------------------------------------------------------------------------------ */

enum { DIRECTORIES = 100, FILES = 1000 };

static uint64_t insert(struct rig *rig, uint64_t parent, const char *name, uint32_t mode, const char *key)
{
    struct index_inode i = {
        .parent = parent, .name = (char *)(uintptr_t)name, .name_len = strlen(name), .mode = mode, .nlink = 1,
        .settled = true, .cloud_key = (char *)(uintptr_t)key, .generation = 1, .listed_ns = loop_wall_ns(),
    };

    assert_int_equal(index_insert(rig->volume->index, &i), 0);
    return i.ino;
}

static uint64_t insert_many(struct rig *rig)
{
    uint64_t a = insert(rig, INDEX_ROOT, "a", S_IFDIR | 0755, NULL), d = 0;
    char name[16], file[24], key[64];

    for (unsigned n = 0; n < DIRECTORIES * FILES; n++) {
        snprintf(name, sizeof(name), "d%u", n / FILES);
        snprintf(file, sizeof(file), "file %u.txt", n);
        snprintf(key, sizeof(key), "a/%s/%s", name, file);
        if (n % FILES == 0)
            d = insert(rig, a, name, S_IFDIR | 0755, NULL);
        insert(rig, d, file, S_IFREG | 0644, key);
    }
    return a;
}

static double since(int64_t ns)
{
    return (double)(loop_now_ns() - ns) / 1e6;
}

/* Times are printed; judged is that nobody waits for what is done behind: by then little of it is. */
static void a_hundred_thousand(void **state)
{
    struct rig *rig = *state;
    double renamed, walked, slowest = 0;
    uint64_t marked;
    int64_t start;

    rig->volume->drive->has_sync_interval_seconds = true;
    rig->volume->drive->sync_interval_seconds = 3600;   /* the cloud has nothing of it, and is not to be asked */
    relist(rig, "");
    rig->hold[CLOUD_STAT] = rig->hold[CLOUD_COPY] = true;
    assert_int_equal(index_begin(rig->volume->index), 0);
    (void)insert_many(rig);
    assert_int_equal(index_commit(rig->volume->index), 0);
    rig_idle(rig);
    start = loop_now_ns();
    assert_int_equal(worker_rename(rig, "a", "b", 0), 0);
    renamed = since(start);
    marked = index_pending_count(rig->volume->index);
    while (index_moved_any(rig->volume->index)) {
        int64_t asked = loop_now_ns();

        assert_int_not_equal(worker_find(rig, "b/d99/file 99999.txt"), 0);
        slowest = since(asked) > slowest ? since(asked) : slowest;
    }
    walked = since(start);
    print_message("%u inodes: renamed in %.2f ms, walked in %.0f ms, the slowest look-up meanwhile %.1f ms\n",
                  DIRECTORIES * FILES, renamed, walked, slowest);
    assert_int_equal(index_pending_count(rig->volume->index), DIRECTORIES * FILES);
    assert_true(marked * 10 < DIRECTORIES * FILES);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up, rig_tear_down)
#define TEST_FOLDER(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up_folder, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_the_name_changes_at_once),
        TEST(there_and_back_is_nothing),
        TEST(back_when_a_part_has_gone),
        TEST(a_directory_leaves_one_that_moves),
        TEST(changes_meanwhile),
        TEST(another_version_under_the_old_name),
        TEST(listings_do_not_bring_it_back),
        TEST(others_write_under_the_new_name),
        TEST(a_tree_that_was_never_listed),
        TEST(without_a_network),
        TEST(a_part_that_cannot_be_listed),
        TEST(exchanged_unseen),
        TEST(exchanged_and_back_half_seen),
        TEST(taken_apart_unseen),
        TEST(back_unseen),
        TEST(removed_unseen),
        TEST_FOLDER(on_folders),
        TEST_FOLDER(unseen_on_folders),
        TEST(a_key_that_became_too_long),
        TEST(a_hundred_thousand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
