/* Listings into the index: what is new, gone, changed, ours, hidden, and what may be believed when. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/volume_fixture.h"

static Lf__FsAttr lookup(struct fixture *f, uint64_t parent, const char *name)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;

    assert_int_equal(ask_lookup(f, parent, name, &attr), 0);
    return attr;
}

static struct index_inode inode(struct fixture *f, const char *path)
{
    struct index_inode i;

    assert_int_equal(index_get(f->v->index, ino_of(f, path), &i), 0);
    return i;
}

/* Makes requests fail from now on. */
static void fail_op(struct fixture *f, enum cloud_op op, int code, const char *key, unsigned after)
{
    f->fail_op = op;
    f->fail_code = code;
    f->fail_key = key;
    f->fail_after = after;
}

static void forget_events(struct fixture *f)
{
    f->n_events = 0;
    *f->events = '\0';
}

/* A file made by the worker that is not in the cloud and does not get there. */
static uint64_t make_dirty(struct fixture *f, uint64_t parent, const char *name)
{
    uint64_t ino;

    fail_op(f, CLOUD_PUT, -EHOSTUNREACH, NULL, 0);
    assert_int_equal(ask_create(f, parent, name, &ino), 0);
    return ino;
}

/* --- the three cases --------------------------------------------------------------------------------- */

static void test_first_listing(void **state)
{
    struct fixture *f = *state;
    Lf__FsAttr attr;

    cloud_has(f, "b.txt", "12345");
    cloud_has(f, "a dir/inner", "1");
    cloud_has(f, "a dir/more/deep", "1");
    attr = lookup(f, INDEX_ROOT, "b.txt");
    assert_int_equal(attr.size, 5);
    assert_int_equal(attr.mode, S_IFREG | 0644);
    assert_int_equal(attr.uid, 1000);
    assert_int_equal(attr.nlink, 1);
    attr = lookup(f, INDEX_ROOT, "a dir");
    assert_int_equal(attr.mode, S_IFDIR | 0755);
    assert_int_equal(attr.nlink, 1);   /* nobody has counted what is below */
    assert_int_equal(f->seen[CLOUD_LIST], 1);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "nothing", NULL), -ENOENT);
    assert_int_equal(f->seen[CLOUD_LIST], 1);
    assert_string_equal(ask_names(f, attr.ino, 10), "inner more");
    assert_int_equal(f->seen[CLOUD_LIST], 2);
}

static void test_new_gone_and_changed(void **state)
{
    struct fixture *f = *state;
    struct index_inode before, after;

    cloud_has(f, "same", "1");
    cloud_has(f, "gone", "1");
    cloud_has(f, "changed", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    before = inode(f, "changed");
    cloud_lost(f, "gone");
    cloud_has(f, "changed", "22");
    cloud_has(f, "new", "1");
    forget_events(f);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "same changed new");
    after = inode(f, "changed");
    assert_int_not_equal(after.ino, before.ino);
    assert_int_equal(after.size, 2);
    assert_int_equal(after.cloud_size, 2);
    assert_int_equal(after.pending, 0);
    assert_true(after.generation > before.generation);
    assert_string_not_equal(after.etag, before.etag);
    wait_until(f, f->n_events == 3);
    assert_string_equal(f->events, "1/changed 1/gone 1* ");
    index_inode_done(&before);
    index_inode_done(&after);
    forget_events(f);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(f->n_events, 0);
}

static void test_dirty_is_kept(void **state)
{
    struct fixture *f = *state;
    struct index_inode i;
    Lf__FsSetattr m = LF__FS_SETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SETATTR, fs_setattr, &m);

    cloud_has(f, "theirs", "123");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    make_dirty(f, INDEX_ROOT, "ours");
    make_dirty(f, INDEX_ROOT, "both");
    m.ino = ino_of(f, "theirs");
    m.has_size = true;
    m.size = 1;
    assert_int_equal(ask(f, &env, NULL), 0);
    cloud_has(f, "both", "their version");
    cloud_lost(f, "theirs");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "theirs ours both");
    i = inode(f, "both");
    assert_int_equal(i.size, 0);
    assert_true(i.pending & INDEX_CONTENT);
    index_inode_done(&i);
    cloud_has(f, "theirs", "other");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    i = inode(f, "theirs");
    assert_int_equal(i.size, 1);
    assert_int_equal(i.cloud_size, 3);
    index_inode_done(&i);
}

static void test_incomplete_listing_takes_nothing(void **state)
{
    struct fixture *f = *state;
    char name[32];

    for (int n = 0; n < 1200; n++) {
        snprintf(name, sizeof(name), "f%04d", n);
        cloud_has(f, name, "1");
    }
    fail_op(f, CLOUD_LIST, -EHOSTUNREACH, NULL, 1);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "f0000", NULL), -EHOSTUNREACH);
    assert_false(lister_known(f->v->lister, INDEX_ROOT));
    f->fail_code = 0;
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_true(exists(f, "f0000") && exists(f, "f1199"));
    cloud_lost(f, "f0000");
    cloud_lost(f, "f1199");
    fail_op(f, CLOUD_LIST, -EHOSTUNREACH, NULL, 1);
    assert_int_equal(relist(f, INDEX_ROOT), -EHOSTUNREACH);
    assert_true(exists(f, "f0000") && exists(f, "f1199"));
    f->fail_code = 0;
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_false(exists(f, "f0000") || exists(f, "f1199"));
    assert_true(exists(f, "f0001") && exists(f, "f1198"));
}

/* --- ours against an older listing --------------------------------------------------------------------- */

static void test_just_uploaded_is_kept(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask_create(f, INDEX_ROOT, "new", NULL), 0);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "dir", NULL), 0);
    wait_until(f, volume_pending(f->v) == 0);
    assert_string_equal(cloud_keys(f), "dir/ new");
    cloud_lost(f, "new");   /* as if the listing did not have it yet */
    cloud_lost(f, "dir/");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_true(exists(f, "new") && exists(f, "dir"));
}

static void test_just_deleted_stays_away(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "a", "1");
    cloud_has(f, "d/x", "1");
    fail_op(f, CLOUD_DELETE_BATCH, -EHOSTUNREACH, NULL, 0);
    assert_int_equal(index_bury(f->v->index, "a", NULL), 0);
    assert_int_equal(index_bury(f->v->index, "d/x", NULL), 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "");
    assert_int_equal(index_exhume(f->v->index, "a"), 0);
    assert_int_equal(index_exhume(f->v->index, "d/x"), 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "");
    assert_int_equal(index_forget_graves(f->v->index, INT64_MAX), 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "a d");
}

static void test_moved_stays_away_from_its_old_name(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "a", "1");
    cloud_has(f, "d/x", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    fail_op(f, CLOUD_COPY, -EHOSTUNREACH, NULL, 0);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", 0), 0);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "d", INDEX_ROOT, "e", 0), 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "b e");
    assert_true(exists(f, "e/x"));
    assert_int_equal(relist(f, ino_of(f, "e")), 0);
    assert_true(exists(f, "e/x"));
    f->fail_code = 0;
    uploader_kick(f->v->uploader);
}

struct count {
    unsigned done;
    int code;
};

static void on_done(const struct error *e, void *arg)
{
    struct count *c = arg;

    c->done++;
    c->code = e->code;
}

static void test_rename_during_a_listing(void **state)
{
    struct fixture *f = *state;
    struct listing_run *run;
    struct count c = { 0 };
    uint64_t dir;

    cloud_has(f, "d/x", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    dir = ino_of(f, "d");
    assert_int_equal(relist(f, dir), 0);
    cloud_has(f, "d/y", "1");
    cloud_has(f, "e/z", "1");
    fail_op(f, CLOUD_COPY, -EHOSTUNREACH, NULL, 0);
    f->seen[CLOUD_LIST] = 0;
    run = listing_run_new(f->v, dir, on_done, &c);
    assert_int_equal(index_move(f->v->index, dir, INDEX_ROOT, "e", 1), 0);
    assert_int_equal(index_mark_moved(f->v->index, dir), 0);
    wait_until(f, c.done == 1);
    listing_run_free(run);
    assert_int_equal(c.code, 0);
    assert_int_equal(f->seen[CLOUD_LIST], 2);
    assert_string_equal(ask_names(f, dir, 10), "x z");
}

/* --- kinds ------------------------------------------------------------------------------------------------ */

static void test_symlinks(void **state)
{
    struct fixture *f = *state;
    struct cloud_meta link = { .symlink = (char[]){ "to/there" } };
    Lf__FsReadlink m = LF__FS_READLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_READLINK, fs_readlink, &m), *reply;
    Lf__FsAttr attr;
    uint64_t plain;

    cloud_has_meta(f, "link", "", &link);
    cloud_has(f, "empty", "");
    cloud_has(f, "full", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    attr = lookup(f, INDEX_ROOT, "link");
    assert_int_equal(attr.mode, S_IFLNK | 0777);
    assert_int_equal(attr.size, strlen("to/there"));
    m.ino = attr.ino;
    assert_int_equal(ask(f, &env, &reply), 0);
    assert_memory_equal(reply->fs_target->target.data, "to/there", strlen("to/there"));
    lf__envelope__free_unpacked(reply, NULL);
    plain = ino_of(f, "empty");
    assert_int_equal(lookup(f, INDEX_ROOT, "empty").mode, S_IFREG | 0644);
    m.ino = plain;
    assert_int_equal(ask(f, &env, NULL), -EINVAL);
    /* What is known is not asked for again, and another kind is another inode. */
    f->seen[CLOUD_STAT] = 0;
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(f->seen[CLOUD_STAT], 0);
    cloud_has(f, "link", "now a file");
    cloud_has(f, "full", "");
    cloud_has_meta(f, "full", "", &link);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_not_equal(ino_of(f, "link"), attr.ino);
    assert_int_equal(lookup(f, INDEX_ROOT, "link").mode, S_IFREG | 0644);
    assert_int_equal(lookup(f, INDEX_ROOT, "full").mode, S_IFLNK | 0777);
    assert_int_equal(ino_of(f, "empty"), plain);
}

static void test_head_that_fails(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "empty", "");
    fail_op(f, CLOUD_STAT, -EHOSTUNREACH, "empty", 0);
    assert_int_equal(relist(f, INDEX_ROOT), -EHOSTUNREACH);
    assert_false(exists(f, "empty"));
    fail_op(f, CLOUD_STAT, -ENOENT, "empty", 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_false(exists(f, "empty"));
    fail_op(f, CLOUD_STAT, -EACCES, "empty", 0);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_true(exists(f, "empty"));
}

static void test_keys_that_are_no_names(void **state)
{
    struct fixture *f = *state;
    char name[300];

    cloud_has(f, "fine", "1");
    cloud_has(f, "..", "1");
    cloud_has(f, "./x", "1");
    cloud_has(f, ".", "1");
    cloud_has(f, "../x", "1");
    cloud_has(f, "d/..", "1");
    cloud_has(f, "d/../x", "1");
    cloud_has(f, "d/./x", "1");
    cloud_has(f, "/absolute", "1");
    cloud_has(f, "bad\xff", "1");
    cloud_has(f, "d/a//b", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "␛2E␛ ␛2E.␛ bad␛FF fine ␛2E. ␛2E ␛ d");
    assert_string_equal(ask_names(f, ino_of(f, "␛"), 10), "absolute");
    assert_string_equal(ask_names(f, ino_of(f, "d"), 10), "␛2E.␛ ␛2E. ␛2E a");
    assert_string_equal(ask_names(f, ino_of(f, "d/␛2E."), 10), "x");
    assert_string_equal(ask_names(f, ino_of(f, "d/a"), 10), "␛");
    assert_string_equal(ask_names(f, ino_of(f, "d/a/␛"), 10), "b");
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    cloud_has(f, name, "1");
    name[255] = '\0';
    cloud_has(f, name, "12");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(lookup(f, INDEX_ROOT, name).size, 2);
    assert_int_equal(strlen(ask_names(f, INDEX_ROOT, 12)), strlen("␛2E␛ ␛2E.␛ bad␛FF fine ␛2E. ␛2E ␛ d") + 2 * 256);
}

/* A server that does not know delimiters, or does not care. */
static void test_listing_of_another_folder(void **state)
{
    struct fixture *f = *state;
    CLEANUP(index_inode_done) struct index_inode dir = { 0 };
    static const char *const keys[] = { "d/a/b", "d/../../etc", "d/..", "d//", "e/x", "d", "d/x" },
                            *const folders[] = { "d/a/b/", "d/../", "d/./", "d//", "e/", "/", "d/y/" };
    char prefixes[7][64], names[7][64], *shown[7];
    struct cloud_object objects[7] = { 0 };
    struct cloud_request page = { .op = CLOUD_LIST, .objects = objects, .n_objects = 7, .prefixes = shown,
                                  .n_prefixes = 7 };
    struct merge m;

    for (size_t i = 0; i < 7; i++) {
        snprintf(names[i], sizeof(names[i]), "%s%s", f->v->prefix, keys[i]);
        snprintf(prefixes[i], sizeof(prefixes[i]), "%s%s", f->v->prefix, folders[i]);
        objects[i].key = names[i];
        shown[i] = prefixes[i];
    }
    cloud_has(f, "d/x", "");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(index_get(f->v->index, ino_of(f, "d"), &dir), 0);
    assert_int_equal(merge_begin(&m, f->v, &dir), 0);
    assert_int_equal(merge_page(&m, &page), 0);
    assert_int_equal(merge_end(&m, false), 0);
    merge_done(&m);
    assert_string_equal(ask_names(f, ino_of(f, "d"), 10), "␛2E.␛ x ␛2E. ␛2E ␛ y");
}

static void test_directory_and_file_of_one_name(void **state)
{
    struct fixture *f = *state;
    uint64_t file;

    cloud_has(f, "x", "a file");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    file = ino_of(f, "x");
    cloud_has(f, "x/y", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(lookup(f, INDEX_ROOT, "x").mode & S_IFMT, S_IFDIR);
    assert_int_equal(ino_of(f, "x␛"), file);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "x␛ x");
    assert_int_equal(ino_of(f, "x␛"), file);
    assert_int_equal(pending_of(f, "x␛"), 0);
    forget_events(f);
    cloud_lost(f, "x/y");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(ino_of(f, "x"), file);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "x");
    assert_int_equal(lookup(f, INDEX_ROOT, "x").size, strlen("a file"));
    wait_until(f, strstr(f->events, "1/x ") && strstr(f->events, "1/x␛ "));
}

/* The object that comes while the directory is known, the directory that goes with the same listing. */
static void test_file_in_the_place_of_a_directory(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "x/y", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    cloud_has(f, "x", "a file");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "x x␛");
    cloud_lost(f, "x");
    cloud_lost(f, "x/y");
    cloud_has(f, "x", "other");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "x");
    assert_int_equal(lookup(f, INDEX_ROOT, "x").size, strlen("other"));
}

/* What nobody has uploaded yet is not in the way of what is there, nor the other way round. */
static void test_directory_where_a_dirty_file_is(void **state)
{
    struct fixture *f = *state;
    uint64_t file = make_dirty(f, INDEX_ROOT, "x");

    cloud_has(f, "x/y", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(ino_of(f, "x␛"), file);
    assert_string_equal(ask_names(f, ino_of(f, "x"), 10), "y");
    f->fail_code = 0;
    uploader_kick(f->v->uploader);
    wait_until(f, pending_of(f, "x␛") == 0);
    assert_true(cloud_holds(f, "x") && cloud_holds(f, "x/y"));
}

/* --- directories -------------------------------------------------------------------------------------------- */

static void test_directory_that_is_gone(void **state)
{
    struct fixture *f = *state;
    uint64_t dir, open;

    cloud_has(f, "d/sub/open", "1");
    cloud_has(f, "d/closed", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    dir = ino_of(f, "d");
    assert_int_equal(relist(f, dir), 0);
    assert_int_equal(relist(f, ino_of(f, "d/sub")), 0);
    open = ino_of(f, "d/sub/open");
    assert_int_equal(ask_open(f, open, false), 0);
    cloud_lost(f, "d/sub/open");
    cloud_lost(f, "d/closed");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_false(exists(f, "d"));
    wait_until(f, ask_getattr(f, dir, NULL) == -ESTALE);
    assert_int_equal(ask_getattr(f, open, NULL), 0);
    assert_int_equal(ask_release(f, open, false), 0);
    assert_int_equal(ask_getattr(f, open, NULL), -ESTALE);
}

static void test_directory_with_work_below_is_kept(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "d/sub/x", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(relist(f, ino_of(f, "d")), 0);
    assert_int_equal(relist(f, ino_of(f, "d/sub")), 0);
    make_dirty(f, ino_of(f, "d/sub"), "ours");
    cloud_lost(f, "d/sub/x");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_true(exists(f, "d/sub/ours"));
    assert_int_equal(relist(f, ino_of(f, "d/sub")), 0);
    assert_string_equal(ask_names(f, ino_of(f, "d/sub"), 10), "ours");
}

static void test_markers(void **state)
{
    struct fixture *f = *state;
    struct cloud_meta meta = { .has_mode = true, .mode = S_IFDIR | 0700, .has_mtime = true, .mtime_ns = 5000000000 };
    struct index_inode i;
    Lf__FsAttr attr;

    cloud_has_meta(f, "d/", "", &meta);
    cloud_has(f, "d/x", "1");
    attr = lookup(f, INDEX_ROOT, "d");
    assert_int_equal(attr.mode, S_IFDIR | 0700);
    assert_int_equal(attr.mtime_ns, 5000000000);
    assert_true(attr.settled);
    assert_int_equal(relist(f, attr.ino), 0);
    assert_string_equal(ask_names(f, attr.ino, 10), "x");
    i = inode(f, "d");
    assert_string_equal(i.cloud_key, "d/");
    index_inode_done(&i);
    cloud_lost(f, "d/");
    assert_int_equal(relist(f, attr.ino), 0);
    i = inode(f, "d");
    assert_null(i.cloud_key);
    index_inode_done(&i);
}

/* --- metadata ------------------------------------------------------------------------------------------------- */

static void test_metadata_is_settled_by_lookup(void **state)
{
    struct fixture *f = *state;
    struct cloud_xattr x = { (char[]){ "user.colour" }, (char[]){ "red" }, 3 };
    struct cloud_meta meta = {
        .has_mode = true, .mode = S_IFREG | 0751, .has_mtime = true, .mtime_ns = 1234567890123456789,
        .has_owner = true, .uid = 7, .gid = 8, .xattrs = &x, .n_xattrs = 1,
    };
    Lf__FsAttr attr;
    void *value;
    size_t size;

    cloud_has_meta(f, "script", "#!", &meta);
    attr = lookup(f, INDEX_ROOT, "script");
    assert_true(attr.settled);
    assert_int_equal(attr.mode, S_IFREG | 0751);
    assert_int_equal(attr.mtime_ns, 1234567890123456789);
    assert_int_equal(attr.uid, 7);
    assert_int_equal(attr.gid, 8);
    assert_int_equal(index_xattr_get(f->v->index, attr.ino, "user.colour", &value, &size), 0);
    assert_int_equal(size, 3);
    free(value);
    f->seen[CLOUD_STAT] = 0;
    assert_int_equal(ask_getattr(f, attr.ino, &attr), 0);
    assert_int_equal(f->seen[CLOUD_STAT], 0);
}

static void test_readdir_settles_behind(void **state)
{
    struct fixture *f = *state;
    struct cloud_meta meta = { .has_mode = true, .mode = S_IFREG | 0600 };
    struct index_inode i = { 0 };
    char want[64];

    cloud_has_meta(f, "private", "1", &meta);
    cloud_has(f, "plain", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    i = inode(f, "private");
    assert_false(i.settled);   /* as on S3: listings carry no metadata */
    snprintf(want, sizeof(want), "%llu ", (unsigned long long)i.ino);
    index_inode_done(&i);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "plain private");
    wait_until(f, f->n_events > 0);
    assert_string_equal(f->events, want);
    assert_int_equal(lookup(f, INDEX_ROOT, "private").mode, S_IFREG | 0600);
}

/* Names are not asked for while somebody waits for content, and all are afterwards. Where the machine stood still that
 * says nothing. */
static void test_heads_wait_for_content(void **state)
{
    enum { MANY = 100, MS = 1000000, WAITED = 200 * MS, LATER = 550 * MS, STILL = 140 * MS };   /* it counts 500 ms */
    struct fixture *f = *state;
    bool waited = false, stood_still = false, lost = false;
    int64_t began, now;
    char key[8];

    for (int n = 0; n < MANY; n++) {
        snprintf(key, sizeof(key), "f%03d", n);
        cloud_has(f, key, "1");
    }
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    began = now = loop_now_ns();
    lister_yield(f->v->lister);
    (void)ask_names(f, INDEX_ROOT, MANY + 1);
    while (now - began < LATER) {
        int64_t before = now;

        fixture_turn(f, &lost, "later");
        now = loop_now_ns();
        stood_still |= now - before > STILL;
        if (!waited && now - began >= WAITED)
            lister_yield(f->v->lister);
        waited |= now - began >= WAITED;
    }
    assert_true(stood_still || f->seen[CLOUD_STAT] == 0);
    wait_until(f, f->seen[CLOUD_STAT] == MANY);
}

static void test_cloud_that_does_not_answer_a_head(void **state)
{
    struct fixture *f = *state;
    Lf__FsAttr attr;

    cloud_has(f, "x", "12");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    fail_op(f, CLOUD_STAT, -EHOSTUNREACH, NULL, 0);
    attr = lookup(f, INDEX_ROOT, "x");
    assert_int_equal(attr.size, 2);
    f->seen[CLOUD_STAT] = 0;
    assert_int_equal(ask_getattr(f, attr.ino, &attr), 0);
    assert_int_equal(f->seen[CLOUD_STAT], 0);
}

/* --- who waits -------------------------------------------------------------------------------------------------- */

static void test_many_wait_for_one_listing(void **state)
{
    struct fixture *f = *state;
    struct count c = { 0 };

    for (int n = 0; n < 10; n++)
        lister_ensure(f->v->lister, INDEX_ROOT, on_done, &c);
    assert_int_equal(c.done, 0);
    wait_until(f, c.done == 10);
    assert_int_equal(f->seen[CLOUD_LIST], 1);
    lister_ensure(f->v->lister, INDEX_ROOT, on_done, &c);
    assert_int_equal(c.done, 11);
    lister_ensure(f->v->lister, 4711, on_done, &c);
    assert_int_equal(c.code, -ENOENT);
}

static void test_what_is_known_serves_when_the_cloud_does_not(void **state)
{
    struct fixture *f = *state;
    struct index_inode root;
    struct count c = { 0 };

    cloud_has(f, "x", "1");
    fail_op(f, CLOUD_LIST, -EHOSTUNREACH, NULL, 0);
    lister_ensure(f->v->lister, INDEX_ROOT, on_done, &c);
    wait_until(f, c.done == 1);
    assert_int_equal(c.code, -EHOSTUNREACH);
    f->fail_code = 0;
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(index_get(f->v->index, INDEX_ROOT, &root), 0);
    root.listed_ns = 1;   /* very long ago */
    assert_int_equal(index_update(f->v->index, &root), 0);
    fixture_restart(f);
    f->fail_code = -EHOSTUNREACH;
    f->seen[CLOUD_LIST] = 0;
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "x", NULL), 0);
    assert_int_equal(f->seen[CLOUD_LIST], 1);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "x", NULL), 0);
    assert_int_equal(f->seen[CLOUD_LIST], 1);
}

static void grow_old(struct fixture *f, const char *path)
{
    struct index_inode i = inode(f, path);

    i.listed_ns = 1;
    assert_int_equal(index_update(f->v->index, &i), 0);
    index_inode_done(&i);
}

/* Who waited for one directory has found out for all others. */
static void test_one_wait_is_enough_where_no_cloud_is_reached(void **state)
{
    struct fixture *f = *state;
    struct count c = { 0 };

    cloud_has(f, "d/x", "1");
    cloud_has(f, "e/y", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(relist(f, ino_of(f, "d")), 0);
    assert_int_equal(relist(f, ino_of(f, "e")), 0);
    grow_old(f, "d");
    grow_old(f, "e");
    fixture_restart(f);
    fail_op(f, CLOUD_LIST, -EHOSTUNREACH, NULL, 0);
    lister_ensure(f->v->lister, ino_of(f, "d"), on_done, &c);
    assert_int_equal(c.done, 0);
    wait_until(f, c.done == 1);
    assert_int_equal(c.code, 0);
    lister_ensure(f->v->lister, ino_of(f, "e"), on_done, &c);
    assert_int_equal(c.done, 2);
    assert_int_equal(c.code, 0);
}

static void test_many_news(void **state)
{
    struct fixture *f = *state;
    char name[32], *last;
    unsigned n;

    for (n = 0; n < 300; n++) {
        snprintf(name, sizeof(name), "f%03u", n);
        cloud_has(f, name, "1");
    }
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    for (n = 0; n < 300; n++) {
        snprintf(name, sizeof(name), "f%03u", n);
        cloud_lost(f, name);
    }
    forget_events(f);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    wait_until(f, f->n_events == 301);   /* each name, and the directory */
    last = strrchr(f->events, '/');
    assert_string_equal(last, "/f299 1* ");
}

static void lose_worker(struct fixture *f)
{
    volume_worker_lost(f->v, f->peer);
    ipc_peer_close(f->peer);
}

static void attach_worker(struct fixture *f)
{
    int fd;

    assert_int_equal(ipc_server_channel(f->server, ROLE_WORKER, f->v, &f->peer, &fd), 0);
    volume_worker_attached(f->v, f->peer, 1);
    ipc_client_adopt(f->worker, fd);
}

static void test_news_wait_for_a_new_worker(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "gone", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    forget_events(f);
    lose_worker(f);
    cloud_lost(f, "gone");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    attach_worker(f);
    wait_until(f, f->n_events == 2);
    assert_string_equal(f->events, "1/gone 1* ");
}

/* It may have died with them unread; those of a moment ago are told again, in their order. */
static void test_news_of_a_worker_that_died(void **state)
{
    struct fixture *f = *state;

    cloud_has(f, "gone", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    cloud_lost(f, "gone");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    wait_until(f, f->n_events >= 2);
    forget_events(f);
    lose_worker(f);
    cloud_has(f, "new", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    attach_worker(f);
    wait_until(f, f->n_events == 3);
    assert_string_equal(f->events, "1/gone 1* 1* ");
}

/* How many lines the log has of it when two directories are asked for that were never listed. */
static int ask_paused(struct fixture *f)
{
    FILE *log = tmpfile();
    int saved = dup(STDERR_FILENO), lines = 0;
    struct count c = { 0 };
    char line[512];

    assert_non_null(log);
    assert_int_equal(dup2(fileno(log), STDERR_FILENO), STDERR_FILENO);
    lister_ensure(f->v->lister, ino_of(f, "d"), on_done, &c);
    lister_ensure(f->v->lister, ino_of(f, "e"), on_done, &c);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    rewind(log);
    while (fgets(line, sizeof(line), log))
        lines += strstr(line, "paused_and_unlisted") != NULL;
    (void)fclose(log);
    assert_int_equal(c.done, 2);
    assert_int_equal(c.code, -ENETDOWN);
    assert_int_equal(error_meaning(c.code)->fuse_errno, ENETDOWN);
    return lines;
}

static void test_paused(void **state)
{
    struct fixture *f = *state;
    struct count c = { .done = 1 };

    cloud_has(f, "d/x", "1");
    cloud_has(f, "e/x", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    volume_pause(f->v, true);
    assert_int_equal(ask_paused(f), 1);
    assert_int_equal(ask_paused(f), 0);
    volume_pause(f->v, false);
    volume_pause(f->v, true);
    assert_int_equal(ask_paused(f), 1);
    lister_ensure(f->v->lister, INDEX_ROOT, on_done, &c);
    assert_int_equal(c.done, 2);
    assert_int_equal(c.code, 0);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "new", NULL), -EROFS);
    volume_pause(f->v, false);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "new", NULL), 0);
}

static void test_whole_trees(void **state)
{
    struct fixture *f = *state;
    struct count c = { 0 };
    char key[64];

    for (int a = 0; a < 5; a++)
        for (int b = 0; b < 5; b++) {
            snprintf(key, sizeof(key), "top/a%d/b%d/f", a, b);
            cloud_has(f, key, "1");
        }
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    lister_ensure_tree(f->v->lister, ino_of(f, "top"), on_done, &c);
    wait_until(f, c.done == 1);
    assert_int_equal(c.code, 0);
    assert_true(exists(f, "top/a0/b0/f") && exists(f, "top/a4/b4/f"));
    assert_int_equal(f->seen[CLOUD_LIST], 1 + 1 + 5 + 25);
    lister_ensure_tree(f->v->lister, ino_of(f, "top"), on_done, &c);
    assert_int_equal(c.done, 2);
    assert_int_equal(f->seen[CLOUD_LIST], 1 + 1 + 5 + 25);
}

static void test_tree_that_cannot_be_listed(void **state)
{
    struct fixture *f = *state;
    struct count c = { 0 };

    cloud_has(f, "top/a/x", "1");
    cloud_has(f, "top/b/x", "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    fail_op(f, CLOUD_LIST, -EACCES, "top/b/", 0);
    lister_ensure_tree(f->v->lister, ino_of(f, "top"), on_done, &c);
    wait_until(f, c.done == 1);
    assert_int_equal(c.code, -EACCES);
}

static void test_closing_while_somebody_waits(void **state)
{
    struct fixture *f = *state;
    struct count c = { 0 };

    cloud_has(f, "x", "1");
    lister_ensure(f->v->lister, INDEX_ROOT, on_done, &c);
    lister_ensure_tree(f->v->lister, INDEX_ROOT, on_done, &c);
    fixture_restart(f);
    assert_int_equal(c.done, 2);
    assert_int_equal(c.code, -ECANCELED);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "x", NULL), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_listing),
        TEST(test_new_gone_and_changed),
        TEST(test_dirty_is_kept),
        TEST(test_incomplete_listing_takes_nothing),
        TEST(test_just_uploaded_is_kept),
        TEST(test_just_deleted_stays_away),
        TEST(test_moved_stays_away_from_its_old_name),
        TEST(test_rename_during_a_listing),
        TEST(test_symlinks),
        TEST(test_head_that_fails),
        TEST(test_keys_that_are_no_names),
        TEST(test_listing_of_another_folder),
        TEST(test_directory_and_file_of_one_name),
        TEST(test_file_in_the_place_of_a_directory),
        TEST(test_directory_where_a_dirty_file_is),
        TEST(test_directory_that_is_gone),
        TEST(test_directory_with_work_below_is_kept),
        TEST(test_markers),
        TEST(test_metadata_is_settled_by_lookup),
        TEST(test_readdir_settles_behind),
        TEST(test_heads_wait_for_content),
        TEST(test_cloud_that_does_not_answer_a_head),
        TEST(test_many_wait_for_one_listing),
        TEST(test_what_is_known_serves_when_the_cloud_does_not),
        TEST(test_one_wait_is_enough_where_no_cloud_is_reached),
        TEST(test_many_news),
        TEST(test_news_wait_for_a_new_worker),
        TEST(test_news_of_a_worker_that_died),
        TEST(test_paused),
        TEST(test_whole_trees),
        TEST(test_tree_that_cannot_be_listed),
        TEST(test_closing_while_somebody_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
