/* The names half of the file system messages, asked through real IPC as a worker asks. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "syncd/name.h"
#include "tests/unit/volume_fixture.h"

/* Changes of this kind do not get to the cloud from now on. */
static void hold(struct fixture *f, enum cloud_op op)
{
    f->fail_op = op;
    f->fail_code = -EHOSTUNREACH;
    f->fail_key = NULL;
    f->fail_after = 0;
}

static void wait_uploaded(struct fixture *f)
{
    wait_until(f, volume_pending(f->v) == 0);
}

/* Objects in the cloud, files of one byte and markers, and the root's listing in the index. */
static void start_with(struct fixture *f, const char *const *keys)
{
    for (; *keys; keys++)
        cloud_has(f, *keys, strrchr(*keys, '/') && !strrchr(*keys, '/')[1] ? "" : "1");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
}
#define START_WITH(f, ...) start_with(f, (const char *const[]){ __VA_ARGS__, NULL })

/* --- making -------------------------------------------------------------------------------------------- */

static void test_mkdir(void **state)
{
    struct fixture *f = *state;
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    uint64_t ino, inner;

    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "new", &ino), 0);
    assert_int_equal(ask_getattr(f, ino, &attr), 0);
    assert_int_equal(attr.mode, S_IFDIR | 0750);
    assert_int_equal(attr.uid, 1000);
    assert_int_equal(attr.gid, 1001);
    assert_int_equal(attr.nlink, 2);
    assert_int_equal(ask_mkdir(f, ino, "inner", &inner), 0);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "new", NULL), -EEXIST);
    assert_int_equal(ask_mkdir(f, 4711, "x", NULL), -ENOENT);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "new/ new/inner/");
    assert_string_equal(graves(f), "");
    fixture_restart(f);
    assert_int_equal(ino_of(f, "new/inner"), inner);
}

static void test_names_that_cannot_be_made(void **state)
{
    struct fixture *f = *state;
    char name[257], path[8][256];
    uint64_t file, dir = INDEX_ROOT;

    memset(name, 'n', 256);
    name[256] = '\0';
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, name, NULL), -ENAMETOOLONG);
    name[255] = '\0';
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, name, NULL), 0);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "bad\xc3", NULL), -EILSEQ);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "", NULL), -EINVAL);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, ".", NULL), -EINVAL);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "..", NULL), -EINVAL);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "a/b", NULL), -EINVAL);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "...", NULL), 0);
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "line\nbreak #+%&'\"", NULL), 0);
    assert_int_equal(ask_create(f, INDEX_ROOT, "file", &file), 0);
    assert_int_equal(ask_mkdir(f, file, "x", NULL), -ENOTDIR);
    /* PREFIX is 6 bytes: three names of 253 and a slash leave 1024 - 6 - 762 = 256 for the last. */
    for (int n = 0; n < 3; n++) {
        memset(path[n], 'p', 253);
        path[n][253] = '\0';
        assert_int_equal(ask_mkdir(f, dir, path[n], &dir), 0);
    }
    assert_int_equal(ask_create(f, dir, name, NULL), 0);
    assert_int_equal(ask_unlink(f, dir, name), 0);
    assert_int_equal(ask_mkdir(f, dir, name, &dir), 0);
    assert_int_equal(ask_create(f, dir, "x", NULL), -ENAMETOOLONG);
}

static void test_symlink(void **state)
{
    struct fixture *f = *state;
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    char target[4096];
    uint64_t ino;

    assert_int_equal(ask_symlink(f, INDEX_ROOT, "link", "to/\xc3\xa4 there", &ino), 0);
    assert_int_equal(ask_getattr(f, ino, &attr), 0);
    assert_int_equal(attr.mode, S_IFLNK | 0777);
    assert_int_equal(attr.size, strlen("to/\xc3\xa4 there"));
    assert_int_equal(ask_symlink(f, INDEX_ROOT, "other", "", NULL), -EINVAL);
    memset(target, 't', sizeof(target));
    target[FS_META_MAX_BYTES + 1] = '\0';
    assert_int_equal(ask_symlink(f, INDEX_ROOT, "other", target, NULL), -ENAMETOOLONG);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "link");
}

/* --- taking away ----------------------------------------------------------------------------------------- */

static void test_unlink_what_the_cloud_has(void **state)
{
    struct fixture *f = *state;
    uint64_t ino;

    START_WITH(f, "a", "b");
    ino = ino_of(f, "a");
    hold(f, CLOUD_DELETE_BATCH);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "a"), 0);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "a"), -ENOENT);
    assert_int_equal(ask_getattr(f, ino, NULL), -ESTALE);
    assert_string_equal(graves(f), "a");
    fixture_restart(f);
    assert_string_equal(graves(f), "a");
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "b");
    f->fail_code = 0;
    fixture_restart(f);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "b");
}

static void test_unlink_what_the_cloud_never_had(void **state)
{
    struct fixture *f = *state;

    hold(f, CLOUD_PUT);
    assert_int_equal(ask_create(f, INDEX_ROOT, "a", NULL), 0);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "a"), 0);
    f->fail_code = 0;
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "");
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "");
}

static void test_unlinked_while_open(void **state)
{
    struct fixture *f = *state;
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    uint64_t ino;

    START_WITH(f, "a");
    ino = ino_of(f, "a");
    assert_int_equal(ask_open(f, ino, false), 0);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "a"), 0);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "a", NULL), -ENOENT);
    assert_int_equal(ask_getattr(f, ino, &attr), 0);
    assert_int_equal(attr.nlink, 0);
    assert_int_equal(attr.size, 1);
    /* A new file of that name is another one. */
    assert_int_equal(ask_create(f, INDEX_ROOT, "a", NULL), 0);
    assert_int_not_equal(ino_of(f, "a"), ino);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "a");
    assert_int_equal(ask_release(f, ino, false), 0);
    assert_int_equal(ask_getattr(f, ino, NULL), -ESTALE);
    assert_true(exists(f, "a"));
}

static void test_orphans_of_a_lost_worker(void **state)
{
    struct fixture *f = *state;
    Lf__FsForget m = LF__FS_FORGET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FORGET, fs_forget, &m);
    Lf__FsSetattr times = LF__FS_SETATTR__INIT;
    Lf__Envelope touch = IPC_ENVELOPE(FS_SETATTR, fs_setattr, &times);
    uint64_t one, two, three;

    START_WITH(f, "1", "2", "3");
    one = ino_of(f, "1");
    two = ino_of(f, "2");
    three = ino_of(f, "3");
    assert_int_equal(ask_open(f, one, false), 0);
    assert_int_equal(ask_open(f, two, false), 0);
    assert_int_equal(ask_open(f, three, false), 0);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "1"), 0);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "2"), 0);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "3"), 0);
    fixture_restart(f);
    /* The kernel may still have them: a new worker opens what it needs. */
    assert_int_equal(ask_open_again(f, one), 0);
    times.ino = one;
    times.has_mtime_ns = true;
    times.mtime_ns = 1;
    assert_int_equal(ask(f, &touch, NULL), 0);
    m.ino = three;
    assert_int_equal(ask(f, &env, NULL), 0);
    assert_int_equal(ask_getattr(f, three, NULL), -ESTALE);
    assert_int_equal(ask_getattr(f, two, NULL), 0);
    volume_purge(f->v);
    wait_until(f, ask_getattr(f, two, NULL) == -ESTALE);
    assert_int_equal(ask_getattr(f, one, NULL), 0);
}

static void test_rmdir(void **state)
{
    struct fixture *f = *state;
    uint64_t dir;

    START_WITH(f, "d/", "d/x", "file");
    dir = ino_of(f, "d");
    assert_int_equal(ask_rmdir(f, INDEX_ROOT, "d"), -ENOTEMPTY);   /* never listed before */
    assert_int_equal(ask_rmdir(f, INDEX_ROOT, "file"), -ENOTDIR);
    assert_int_equal(ask_rmdir(f, INDEX_ROOT, "none"), -ENOENT);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "d"), -EISDIR);
    assert_int_equal(ask_unlink(f, dir, "x"), 0);
    assert_int_equal(ask_rmdir(f, INDEX_ROOT, "d"), 0);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "file");
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "d", NULL), 0);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "d/ file");
}

static void test_directory_survives_its_last_file(void **state)
{
    struct fixture *f = *state;
    uint64_t dir;

    START_WITH(f, "d/x", "e/y");
    dir = ino_of(f, "d");
    assert_int_equal(ask_unlink(f, dir, "x"), 0);
    assert_int_equal(ask_rename(f, ino_of(f, "e"), "y", INDEX_ROOT, "y", 0), 0);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "d/ e/ y");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(ino_of(f, "d"), dir);
}

/* --- renaming ---------------------------------------------------------------------------------------------- */

static void test_rename_file(void **state)
{
    struct fixture *f = *state;
    uint64_t ino;

    START_WITH(f, "a", "d/x");
    ino = ino_of(f, "a");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", ino_of(f, "d"), "b", 0), 0);
    assert_int_equal(ino_of(f, "d/b"), ino);
    assert_false(exists(f, "a"));
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "d/b d/x");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "c", 0), -ENOENT);
    assert_int_equal(ask_rename(f, ino_of(f, "d"), "b", ino_of(f, "d"), "b", 0), 0);
    assert_int_equal(pending_of(f, "d/b"), 0);
}

static void test_rename_there_and_back(void **state)
{
    struct fixture *f = *state;

    START_WITH(f, "a");
    hold(f, CLOUD_COPY);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", 0), 0);
    assert_int_equal(pending_of(f, "b"), INDEX_MOVE);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "b", INDEX_ROOT, "a", 0), 0);
    assert_int_equal(pending_of(f, "a"), 0);
    f->fail_code = 0;
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "a");
}

static void test_rename_over_a_file(void **state)
{
    struct fixture *f = *state;
    uint64_t a, b;

    START_WITH(f, "a", "b", "d/x");
    a = ino_of(f, "a");
    b = ino_of(f, "b");
    assert_int_equal(ask_open(f, b, false), 0);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "d", 0), -EISDIR);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "d", INDEX_ROOT, "a", 0), -ENOTDIR);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", 0), 0);
    assert_int_equal(ino_of(f, "b"), a);
    assert_int_equal(ask_getattr(f, b, NULL), 0);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "b d/x");
    assert_int_equal(ask_release(f, b, false), 0);
    assert_int_equal(ask_getattr(f, b, NULL), -ESTALE);
}

/* The place of the file that was replaced must not come to life again when the other goes on. */
static void test_rename_over_a_file_and_on(void **state)
{
    struct fixture *f = *state;

    START_WITH(f, "a", "b");
    hold(f, CLOUD_COPY);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", 0), 0);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "b", INDEX_ROOT, "c", 0), 0);
    f->fail_code = 0;
    fixture_restart(f);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "c");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "c");
}

/* As a worker finds a path, name by name. */
static uint64_t look_up(struct fixture *f, const char *path)
{
    Lf__FsAttr attr = { .ino = INDEX_ROOT };
    CLEANUP_FREE char *names = strdup(path);

    for (char *name = strtok(names, "/"); name; name = strtok(NULL, "/"))
        assert_int_equal(ask_lookup(f, attr.ino, name, &attr), 0);
    return attr.ino;
}

static void test_rename_directory(void **state)
{
    struct fixture *f = *state;
    uint64_t dir, file;

    START_WITH(f, "d/", "d/sub/deep/x", "d/y", "other/z");
    dir = ino_of(f, "d");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "d", INDEX_ROOT, "e", 0), 0);
    assert_int_equal(ino_of(f, "e"), dir);
    file = look_up(f, "e/sub/deep/x");   /* nobody had looked there before */
    assert_int_equal(ask_rename(f, INDEX_ROOT, "e", ino_of(f, "e/sub"), "in", 0), -EINVAL);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "other", INDEX_ROOT, "e", 0), -ENOTEMPTY);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "e", ino_of(f, "other"), "g", 0), 0);
    assert_int_equal(ino_of(f, "other/g/sub/deep/x"), file);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "other/g/ other/g/sub/deep/x other/g/y other/z");
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_string_equal(ask_names(f, INDEX_ROOT, 10), "other");
}

static void test_rename_over_an_empty_directory(void **state)
{
    struct fixture *f = *state;
    uint64_t implied;

    START_WITH(f, "implied/x", "empty/");
    implied = ino_of(f, "implied");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "implied", INDEX_ROOT, "empty", 0), 0);
    assert_int_equal(ino_of(f, "empty"), implied);
    (void)look_up(f, "empty/x");
    wait_uploaded(f);
    assert_string_equal(graves(f), "");
    assert_string_equal(cloud_keys(f), "empty/ empty/x");
}

static void test_rename_makes_no_key_too_long(void **state)
{
    struct fixture *f = *state;
    char name[251];
    uint64_t a, b, c;

    memset(name, 'n', 250);
    name[250] = '\0';
    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "a", &a), 0);
    assert_int_equal(ask_mkdir(f, a, name, &b), 0);
    assert_int_equal(ask_mkdir(f, b, name, &c), 0);
    assert_int_equal(ask_mkdir(f, c, name, &c), 0);
    assert_int_equal(ask_create(f, c, name, NULL), 0);   /* 6 + 2 + 4 * 251 - 1 = 1011 */
    name[14] = '\0';
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, name, 0), 0);
    name[14] = 'n';
    name[15] = '\0';
    name[14] = '\0';
    assert_int_equal(ask_rename(f, INDEX_ROOT, name, INDEX_ROOT, "fifteen letters", 0), -ENAMETOOLONG);
    assert_true(exists(f, name));
}

static void test_exchange(void **state)
{
    struct fixture *f = *state;
    uint64_t a, d;

    START_WITH(f, "a", "d/x", "b");
    a = ino_of(f, "a");
    d = ino_of(f, "d");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "none", RENAME_EXCHANGE), -ENOENT);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", RENAME_EXCHANGE | RENAME_NOREPLACE), -EINVAL);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", 4), -EINVAL);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "d", d, "x", RENAME_EXCHANGE), -EINVAL);
    assert_int_equal(ask_rename(f, d, "x", INDEX_ROOT, "d", RENAME_EXCHANGE), -EINVAL);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "d", RENAME_EXCHANGE), 0);
    assert_int_equal(ino_of(f, "a"), d);
    assert_int_equal(ino_of(f, "d"), a);
    assert_true(exists(f, "a/x"));
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "a/x b d");
    assert_int_equal(ask_rename(f, INDEX_ROOT, "b", INDEX_ROOT, "d", RENAME_EXCHANGE), 0);
    assert_int_equal(ino_of(f, "b"), a);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "a/x b d");
}

/* --- attributes ---------------------------------------------------------------------------------------------- */

static int set(struct fixture *f, uint64_t ino, const char *what, int64_t value, Lf__FsAttr *ret)
{
    Lf__FsSetattr m = LF__FS_SETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SETATTR, fs_setattr, &m), *reply = NULL;
    int r;

    m.ino = ino;
    m.has_mode = strcmp(what, "mode") == 0;
    m.mode = (uint32_t)value;
    m.has_uid = strcmp(what, "uid") == 0;
    m.uid = (uint32_t)value;
    m.has_mtime_ns = strcmp(what, "mtime") == 0;
    m.mtime_ns = value;
    m.has_atime_ns = strcmp(what, "atime") == 0;
    m.atime_ns = value;
    m.has_size = strcmp(what, "size") == 0;
    m.size = (uint64_t)value;
    r = ask(f, &env, &reply);
    if (r == 0 && ret)
        *ret = *reply->fs_entry->attr;
    if (reply)
        lf__envelope__free_unpacked(reply, NULL);
    return r;
}

static void test_setattr(void **state)
{
    struct fixture *f = *state;
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    uint64_t a, d;

    START_WITH(f, "a", "d/x");
    a = ino_of(f, "a");
    d = ino_of(f, "d");
    assert_int_equal(set(f, d, "atime", 5, &attr), 0);
    assert_int_equal(attr.atime_ns, 5);
    assert_int_equal(pending_of(f, "d"), 0);
    hold(f, CLOUD_COPY);   /* as if the cloud were gone: what is known by now can be changed */
    assert_int_equal(set(f, a, "mode", 0604, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 0604);
    assert_int_equal(pending_of(f, "a"), INDEX_META);
    assert_int_equal(set(f, a, "uid", 12, &attr), 0);
    assert_int_equal(attr.uid, 12);
    assert_int_equal(set(f, a, "mtime", 77, &attr), 0);
    assert_int_equal(attr.mtime_ns, 77);
    assert_int_equal(set(f, a, "size", 0, &attr), 0);
    assert_int_equal(attr.size, 0);
    assert_true(attr.mtime_ns > 77);
    assert_true(pending_of(f, "a") & INDEX_CONTENT);
    assert_int_equal(set(f, d, "mode", 0711, NULL), 0);   /* only a marker can carry it */
    assert_int_equal(set(f, INDEX_ROOT, "mode", 0755, &attr), 0);
    assert_int_equal(attr.mode, S_IFDIR | 0755);
    assert_int_equal(pending_of(f, ""), 0);
    assert_int_equal(set(f, d, "size", 0, NULL), -EISDIR);
    assert_int_equal(set(f, 4711, "mode", 0, NULL), -ESTALE);
    f->fail_code = 0;
    fixture_restart(f);
    wait_uploaded(f);
    assert_string_equal(cloud_keys(f), "a d/ d/x");
}

static void test_changes_keep_metadata_that_no_listing_showed(void **state)
{
    struct fixture *f = *state;
    struct cloud_meta meta = { .has_mode = true, .mode = S_IFREG | 0755, .has_mtime = true, .mtime_ns = 99 };
    Lf__FsAttr attr = LF__FS_ATTR__INIT;

    cloud_has_meta(f, "script", "#!", &meta);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(set(f, ino_of(f, "script"), "uid", 12, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 0755);
    assert_int_equal(attr.mtime_ns, 99);
}

static int set_xattr(struct fixture *f, uint64_t ino, const char *name, const char *value, uint32_t flags)
{
    Lf__FsXattrSet m = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)name;
    m.value = (ProtobufCBinaryData){ strlen(value), (uint8_t *)(uintptr_t)value };
    m.flags = flags;
    return ask(f, &env, NULL);
}

static int remove_xattr(struct fixture *f, uint64_t ino, const char *name)
{
    Lf__FsXattrRemove m = LF__FS_XATTR_REMOVE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_REMOVE, fs_xattr_remove, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)name;
    return ask(f, &env, NULL);
}

/* Static storage; "" and the code in *ret_code when it fails. */
static const char *get_xattr(struct fixture *f, uint64_t ino, const char *name, int *ret_code)
{
    static char value[2048];
    Lf__FsXattrGet m = LF__FS_XATTR_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_GET, fs_xattr_get, &m), *reply = NULL;

    m.ino = ino;
    m.name = (char *)(uintptr_t)name;
    *ret_code = ask(f, &env, &reply);
    *value = '\0';
    if (reply) {
        snprintf(value, sizeof(value), "%.*s", (int)reply->fs_xattr_value->value.len,
                 (const char *)reply->fs_xattr_value->value.data);
        lf__envelope__free_unpacked(reply, NULL);
    }
    return value;
}

static void test_xattrs(void **state)
{
    struct fixture *f = *state;
    Lf__FsXattrList m = LF__FS_XATTR_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_LIST, fs_xattr_list, &m), *reply;
    char large[4096];
    uint64_t a;
    int code;

    START_WITH(f, "a");
    a = ino_of(f, "a");
    assert_int_equal(set_xattr(f, a, "user.colour", "red", XATTR_CREATE), 0);
    assert_int_equal(set_xattr(f, a, "user.colour", "red", XATTR_CREATE), -EEXIST);
    assert_int_equal(set_xattr(f, a, "user.shape", "round", XATTR_REPLACE), -ENODATA);
    assert_int_equal(set_xattr(f, a, "user.shape", "", 0), 0);
    assert_int_equal(set_xattr(f, a, "user.shape", "", 8), -EINVAL);
    assert_string_equal(get_xattr(f, a, "user.colour", &code), "red");
    assert_string_equal(get_xattr(f, a, "user.shape", &code), "");
    assert_int_equal(code, 0);
    (void)get_xattr(f, a, "user.none", &code);
    assert_int_equal(code, -ENODATA);
    (void)get_xattr(f, a, "security.capability", &code);
    assert_int_equal(code, -EOPNOTSUPP);
    assert_int_equal(set_xattr(f, a, "trusted.x", "", 0), -EOPNOTSUPP);
    assert_int_equal(set_xattr(f, a, "user.", "", 0), -EINVAL);
    memset(large, 'x', sizeof(large));
    large[2000] = '\0';
    assert_int_equal(set_xattr(f, a, "user.large", large, 0), -E2BIG);
    memcpy(large, "user.", 5);
    large[256] = '\0';
    assert_int_equal(set_xattr(f, a, large, "", 0), -ERANGE);
    m.ino = a;
    assert_int_equal(ask(f, &env, &reply), 0);
    assert_int_equal(reply->fs_xattr_names->n_names, 2);
    assert_string_equal(reply->fs_xattr_names->names[0], "user.colour");
    lf__envelope__free_unpacked(reply, NULL);
    assert_int_equal(remove_xattr(f, a, "user.shape"), 0);
    assert_int_equal(remove_xattr(f, a, "user.shape"), -ENODATA);
    wait_uploaded(f);
    /* They came to the cloud: a fresh look finds them. */
    assert_int_equal(index_xattr_clear(f->v->index, a), 0);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    assert_int_equal(index_get(f->v->index, a, &i), 0);
    i.settled = false;
    assert_int_equal(index_update(f->v->index, &i), 0);
    assert_string_equal(get_xattr(f, a, "user.colour", &code), "red");
}

static void test_state(void **state)
{
    struct fixture *f = *state;
    uint64_t a;
    int code;

    START_WITH(f, "a");
    a = ino_of(f, "a");
    assert_string_equal(get_xattr(f, a, "user.landfall.state", &code), "clean");
    hold(f, CLOUD_COPY);
    assert_int_equal(set(f, a, "mode", 0600, NULL), 0);
    assert_int_equal(index_retry(f->v->index, a, INT64_MAX, NULL), 0);
    wait_until(f, !uploader_busy(f->v->uploader, a));
    assert_int_equal(index_retry(f->v->index, a, INT64_MAX, NULL), 0);
    assert_string_equal(get_xattr(f, a, "user.landfall.state", &code), "dirty");
    assert_int_equal(index_retry(f->v->index, a, INT64_MAX, "The bucket is gone."), 0);
    assert_string_equal(get_xattr(f, a, "user.landfall.state", &code), "error: The bucket is gone.");
    assert_int_equal(set_xattr(f, a, "user.landfall.state", "clean", 0), -EPERM);
    assert_int_equal(remove_xattr(f, a, "user.landfall.state"), -EPERM);
}

static void test_statfs(void **state)
{
    struct fixture *f = *state;
    Lf__FsStatfs m = LF__FS_STATFS__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_STATFS, fs_statfs, &m), *reply;

    assert_int_equal(ask(f, &env, &reply), 0);
    assert_int_equal(reply->fs_space->block_size, 4096);
    assert_true(reply->fs_space->blocks_free > 0);
    lf__envelope__free_unpacked(reply, NULL);
}

/* --- directories -------------------------------------------------------------------------------------------------- */

static void test_readdir_in_pages(void **state)
{
    struct fixture *f = *state;
    char name[300], first[65536];
    uint64_t dir;

    assert_int_equal(ask_mkdir(f, INDEX_ROOT, "d", &dir), 0);
    hold(f, CLOUD_PUT);
    for (int n = 0; n < 150; n++) {
        memset(name, 'x', 255);
        name[255] = '\0';
        name[snprintf(name, sizeof(name), "%03d", n)] = '-';
        assert_int_equal(ask_mkdir(f, dir, name, NULL), 0);
    }
    strcpy(first, ask_names(f, dir, 1000));
    assert_int_equal(strlen(first), 150 * 256 - 1);
    assert_string_equal(ask_names(f, dir, 7), first);
    assert_int_equal(ask_unlink(f, dir, name), -EISDIR);
    Lf__FsOpendir m = LF__FS_OPENDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPENDIR, fs_opendir, &m);
    m.ino = dir;
    assert_int_equal(ask(f, &env, NULL), 0);
    m.ino = 4711;
    assert_int_equal(ask(f, &env, NULL), -ENOENT);
}

/* --- once, however often it is asked ------------------------------------------------------------------ */

struct answer {
    bool done;
    int code;
    uint64_t ino;
};

static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct answer *a = arg;

    (void)fds;
    a->done = true;
    a->code = reply ? 0 : e->code;
    a->ino = reply ? reply->fs_entry->attr->ino : 0;
}

static void test_repeated_request_has_one_effect(void **state)
{
    struct fixture *f = *state;
    Lf__FsMkdir m = LF__FS_MKDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_MKDIR, fs_mkdir, &m);
    struct answer a = { 0 };
    uint64_t dir, made;
    int fd;

    START_WITH(f, "d/x");
    dir = ino_of(f, "d");
    m.parent = dir;
    m.name = (ProtobufCBinaryData){ 3, (uint8_t[]){ "new" } };
    f->seen[CLOUD_LIST] = 0;
    (void)ipc_call(f->worker, &env, NULL, 0, 0, on_answer, &a);
    /* The channel breaks while syncd waits for the listing: the answer goes nowhere. */
    wait_until(f, f->seen[CLOUD_LIST] == 1);
    volume_worker_lost(f->v, f->peer);
    ipc_peer_close(f->peer);
    wait_until(f, exists(f, "d/new"));
    made = ino_of(f, "d/new");
    assert_false(a.done);
    assert_int_equal(ipc_server_channel(f->server, ROLE_WORKER, f->v, &f->peer, &fd), 0);
    volume_worker_attached(f->v, f->peer, 1);
    ipc_client_adopt(f->worker, fd);
    wait_until(f, a.done);
    assert_int_equal(a.code, 0);
    assert_int_equal(a.ino, made);
    assert_string_equal(ask_names(f, dir, 10), "x new");
    assert_int_equal(ask_mkdir(f, dir, "new", NULL), -EEXIST);
}

/* --- the object API ------------------------------------------------------------------------------------ */

struct asked {
    bool done, more;
    int code;
    struct volume_node node;
    char names[256];
    size_t most;
};

static void on_stat(const struct error *e, const struct volume_node *n, void *arg)
{
    struct asked *a = arg;

    a->done = true;
    a->code = e ? e->code : 0;
    if (n)
        a->node = *n;
    assert_true(!e == !!n);
}

static struct asked stat_path(struct fixture *f, const char *path)
{
    struct asked a = { 0 };

    volume_stat(f->v, path, on_stat, &a);
    wait_until(f, a.done);
    return a;
}

static bool on_node(const struct volume_node *n, void *arg)
{
    struct asked *a = arg;

    if (a->most-- == 0)
        return false;
    snprintf(a->names + strlen(a->names), sizeof(a->names) - strlen(a->names), "%s:%d ", n->name, n->state_a);
    return true;
}

static void on_list(const struct error *e, bool more, void *arg)
{
    struct asked *a = arg;

    a->done = true;
    a->more = more;
    a->code = e ? e->code : 0;
}

static struct asked list_path(struct fixture *f, const char *path, const char *after, size_t most)
{
    struct asked a = { .most = most };

    volume_list(f->v, path, after, on_node, on_list, &a);
    wait_until(f, a.done);
    return a;
}

static void test_object_api(void **state)
{
    struct fixture *f = *state;
    struct asked a;

    cloud_has(f, "d/sub/file", "12345");
    cloud_has(f, "d/b", "1");
    a = stat_path(f, "d/sub/file");
    assert_int_equal(a.code, 0);
    assert_int_equal(a.node.size, 5);
    assert_int_equal(a.node.state_a, 0);
    assert_false(a.node.is_directory);
    assert_true(stat_path(f, "").node.is_directory);
    assert_true(stat_path(f, "d/sub/").node.is_directory);
    assert_int_equal(stat_path(f, "d/none").code, -ENOENT);
    assert_int_equal(stat_path(f, "d/b/c").code, -ENOENT);
    a = list_path(f, "d", "", 10);
    assert_string_equal(a.names, "b:0 sub:0 ");
    assert_false(a.more);
    a = list_path(f, "d", "", 1);
    assert_string_equal(a.names, "b:0 ");
    assert_true(a.more);
    a = list_path(f, "d", "b", 10);
    assert_string_equal(a.names, "sub:0 ");
    assert_int_equal(list_path(f, "d/b", "", 10).code, -ENOTDIR);
    assert_int_equal(list_path(f, "none", "", 10).code, -ENOENT);
    hold(f, CLOUD_PUT);
    assert_int_equal(ask_create(f, ino_of(f, "d/sub"), "dirty", NULL), 0);
    assert_string_equal(list_path(f, "", "", 10).names, "d:1 ");
    assert_int_equal(stat_path(f, "d/b").node.state_a, 0);
    assert_int_not_equal(stat_path(f, "d/sub/dirty").node.state_a, 0);
    assert_true(volume_pending(f->v) > 0);
}

static void test_keys(void **state)
{
    struct fixture *f = *state;
    char out[2048], path[1100];

    assert_int_equal(volume_key(f->v, "a/b c%d", out, sizeof(out)), 0);
    assert_string_equal(out, PREFIX "a/b c%d");
    assert_int_equal(volume_key(f->v, "", out, sizeof(out)), 0);
    assert_string_equal(out, PREFIX);
    assert_int_equal(volume_key(f->v, "../a", out, sizeof(out)), -EPERM);
    assert_int_equal(volume_key(f->v, "a/../../b", out, sizeof(out)), -EPERM);
    assert_int_equal(volume_key(f->v, "a/.", out, sizeof(out)), -EPERM);
    assert_int_equal(volume_key(f->v, "/a", out, sizeof(out)), -EPERM);
    assert_int_equal(volume_key(f->v, "a//b", out, sizeof(out)), -EINVAL);
    assert_int_equal(volume_key(f->v, "...", out, sizeof(out)), 0);
    memset(path, 'x', sizeof(path));
    for (size_t i = 200; i < 1000; i += 200)
        path[i] = '/';
    path[1024 - strlen(PREFIX)] = '\0';
    assert_int_equal(volume_key(f->v, path, out, sizeof(out)), 0);
    path[1024 - strlen(PREFIX)] = 'x';
    path[1025 - strlen(PREFIX)] = '\0';
    assert_int_equal(volume_key(f->v, path, out, sizeof(out)), -ENAMETOOLONG);
}

/* Names that stand for other bytes, whether anybody has heard of them or not. */
static void test_keys_of_odd_names(void **state)
{
    struct fixture *f = *state;
    char out[2048], component[301], name[NAME_SIZE];

    memset(component, 'x', 300);
    component[300] = '\0';
    cloud_has(f, "a", "1");
    cloud_has(f, "a//..", "1");
    cloud_has(f, component, "1");
    assert_int_equal(volume_key(f->v, "a/␛/␛2E./b␛FF/", out, sizeof(out)), 0);
    assert_string_equal(out, PREFIX "a//../b\xff/");
    assert_int_equal(volume_key(f->v, "a/␛41", out, sizeof(out)), -EINVAL);
    name_of_key(component, false, name);
    assert_int_equal(volume_key(f->v, name, out, sizeof(out)), -EINVAL);
    assert_int_equal(relist(f, INDEX_ROOT), 0);
    assert_int_equal(volume_key(f->v, name, out, sizeof(out)), 0);
    assert_string_equal(out + strlen(PREFIX), component);
    assert_int_equal(volume_key(f->v, "a␛", out, sizeof(out)), 0);
    assert_string_equal(out, PREFIX "a");
}

static void test_read_only(void **state)
{
    struct fixture *f = *state;

    START_WITH(f, "a");
    f->drive.has_permission_type = true;
    f->drive.permission_type = 1;
    volume_configure(f->v, &f->drive);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "a"), -EROFS);
    assert_int_equal(ask_rename(f, INDEX_ROOT, "a", INDEX_ROOT, "b", 0), -EROFS);
    assert_int_equal(set(f, ino_of(f, "a"), "mode", 0, NULL), -EROFS);
    assert_int_equal(set_xattr(f, ino_of(f, "a"), "user.x", "", 0), -EROFS);
    assert_int_equal(ask_lookup(f, INDEX_ROOT, "a", NULL), 0);
    f->drive.permission_type = 2;
    volume_configure(f->v, &f->drive);
    assert_int_equal(ask_unlink(f, INDEX_ROOT, "a"), 0);
}

static void test_damaged_index(void **state)
{
    struct fixture *f = *state;
    struct volume_spec spec = f->v->spec;
    struct error e = { 0 };
    struct volume *v = NULL;
    char path[160], folder[128];
    glob_t kept;
    FILE *file;

    snprintf(folder, sizeof(folder), "%s/other", f->folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/index.db", folder);
    file = fopen(path, "w");
    assert_true(file && fputs("something else altogether, and quite long enough to be looked at", file) > 0);
    fclose(file);
    spec.state_dir = folder;
    assert_int_equal(volume_open(&spec, &v, &e), 0);   /* another one */
    volume_close(v);
    snprintf(path, sizeof(path), "%s/index.db.corrupt-*", folder);
    assert_int_equal(glob(path, 0, NULL, &kept), 0);
    assert_int_equal(kept.gl_pathc, 1);
    globfree(&kept);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mkdir),
        TEST(test_names_that_cannot_be_made),
        TEST(test_symlink),
        TEST(test_unlink_what_the_cloud_has),
        TEST(test_unlink_what_the_cloud_never_had),
        TEST(test_unlinked_while_open),
        TEST(test_orphans_of_a_lost_worker),
        TEST(test_rmdir),
        TEST(test_directory_survives_its_last_file),
        TEST(test_rename_file),
        TEST(test_rename_there_and_back),
        TEST(test_rename_over_a_file),
        TEST(test_rename_over_a_file_and_on),
        TEST(test_rename_directory),
        TEST(test_rename_over_an_empty_directory),
        TEST(test_rename_makes_no_key_too_long),
        TEST(test_exchange),
        TEST(test_setattr),
        TEST(test_changes_keep_metadata_that_no_listing_showed),
        TEST(test_xattrs),
        TEST(test_state),
        TEST(test_statfs),
        TEST(test_readdir_in_pages),
        TEST(test_repeated_request_has_one_effect),
        TEST(test_object_api),
        TEST(test_keys),
        TEST(test_keys_of_odd_names),
        TEST(test_read_only),
        TEST(test_damaged_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
