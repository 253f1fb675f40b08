/* Cache files: where they lie, who has them open, what survives a restart, and what becomes of their
 * chunks when size or version change. */
#include "volume_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/listing.h"

enum { MIB = 1 << 20 };

static bool exists(struct rig *rig, uint64_t ino, const char *kind)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, kind);

    return access(path, F_OK) == 0;
}

static struct index_inode inode(struct rig *rig, uint64_t ino)
{
    struct index_inode i;

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    return i;
}

/* --- places ---------------------------------------------------------------------------------------------- */

/* Another folder of ours was put where the cache is: its files stay, whatever their names. */
static void another_folder_is_not_swept(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *cache = NULL, *away = NULL, *stranger = NULL;
    struct volume_spec spec;
    struct error e = { 0 };

    assert_true(asprintf(&cache, "%s/cache", rig->dir) > 0 && asprintf(&away, "%s/away", rig->dir) > 0 &&
                asprintf(&stranger, "%s/cache/05/5.data", rig->dir) > 0);
    spec = rig->volume->spec;
    spec.drive = &rig->drive;
    spec.state_dir = rig->dir;
    rig_close(rig);
    assert_int_equal(rename(cache, away), 0);
    assert_int_equal(mkdir(cache, 0700), 0);
    *strrchr(stranger, '/') = '\0';
    assert_int_equal(mkdir(stranger, 0700), 0);
    stranger[strlen(stranger)] = '/';
    close(open(stranger, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(volume_open(&spec, &rig->volume, &e), -EPERM);
    assert_non_null(strstr(e.text, "not the cache folder of this drive"));
    assert_int_equal(access(stranger, F_OK), 0);
    assert_int_equal(unlink(stranger), 0);
    *strrchr(stranger, '/') = '\0';
    assert_int_equal(rmdir(stranger), 0);
    assert_int_equal(rmdir(cache), 0);
    assert_int_equal(rename(away, cache), 0);
    rig_open(rig);
}

static void files_are_private(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    static const char *const kinds[] = { "data", "map" };
    CLEANUP_FREE char *folder = NULL;
    struct stat st;

    for (size_t n = 0; n < 2; n++) {
        CLEANUP_FREE char *path = rig_cache_path(rig, ino, kinds[n]);

        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0600);
    }
    assert_true(asprintf(&folder, "%s/cache/%02x", rig->dir, (unsigned)(ino & 0xff)) > 0);
    assert_int_equal(lstat(folder, &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
}

static void a_planted_link_is_not_followed(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *path = NULL, *target = NULL;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    struct handle h;
    struct stat st;

    rig_settle(rig);
    path = rig_cache_path(rig, ino, "data");
    assert_true(asprintf(&target, "%s/elsewhere", rig->dir) > 0);
    close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(worker_open(rig, ino, true, false, &h), -ELOOP);
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void a_folder_of_another_is_refused(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *path = NULL;
    struct volume_spec spec = { .loop = rig->loop, .config = rig->config, .drive = &rig->drive, .state_dir = rig->dir,
                                .cloud = rig->cloud };
    struct volume *v = NULL;
    struct error e = { 0 };

    rig_close(rig);
    assert_true(asprintf(&path, "%s/cache", rig->dir) > 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(volume_open(&spec, &v, &e), -EPERM);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(chmod(path, 0700), 0);
    rig_open(rig);
}

static void unknown_files_are_removed(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5), stranger = 0xabcd00 + (ino & 0xff);
    CLEANUP_FREE char *path = rig_cache_path(rig, stranger, "data");

    rig_close(rig);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    rig_open(rig);
    rig_wait(rig, !exists(rig, stranger, "data"));
    assert_true(exists(rig, ino, "data"));
}

static void files_go_with_their_inode(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);

    rig_settle(rig);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    assert_false(exists(rig, ino, "data"));
    assert_false(exists(rig, ino, "map"));
}

/* --- opens ----------------------------------------------------------------------------------------------- */

static void opens_are_counted(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    struct handle one, two;

    assert_false(cache_is_open(rig->volume->cache, ino));
    assert_int_equal(worker_open(rig, ino, false, false, &one), 0);
    assert_int_equal(worker_open(rig, ino, true, false, &two), 0);
    assert_true(cache_written_by_anyone(cache_find(rig->volume->cache, ino)));
    worker_close(rig, &two);
    assert_true(cache_is_open(rig->volume->cache, ino));
    assert_false(cache_written_by_anyone(cache_find(rig->volume->cache, ino)));
    worker_close(rig, &one);
    assert_false(cache_is_open(rig->volume->cache, ino));
}

static void one_release_too_many_is_harmless(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    Lf__FsRelease m = LF__FS_RELEASE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RELEASE, fs_release, &m);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    m.ino = ino;
    m.write = true;
    assert_int_equal(rig_ask(rig, &env, NULL, NULL), 0);
    assert_true(cache_is_open(rig->volume->cache, ino));
    worker_close(rig, &h);
}

static void a_reader_cannot_write(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(write(h.data_fd, "x", 1), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(fcntl(h.data_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    worker_close(rig, &h);
}

static void a_directory_is_no_file(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_mkdir(rig, "d");
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), -EISDIR);
    assert_int_equal(worker_open(rig, 4711, false, false, &h), -ESTALE);
}

static void a_lost_worker_leaves_its_writes(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "written", 7);
    rig_lose_worker(rig);
    assert_false(cache_is_open(rig->volume->cache, h.ino));
    rig_settle(rig);
    assert_object(rig, "a", "written", 7);
    worker_forget_handle(&h);
}

static void say_hello(int fd, uint64_t instance)
{
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);
    uint8_t packed[256];

    hello.protocol = IPC_PROTOCOL;
    hello.role = ROLE_WORKER;
    hello.instance = instance;
    assert_true(send(fd, packed, lf__envelope__pack(&env, packed), 0) > 0);
}

static uint64_t create_by_hand(struct rig *rig, struct ipc_identity who, const char *name)
{
    Lf__FsCreate m = LF__FS_CREATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CREATE, fs_create, &m), *reply;
    char control[CMSG_SPACE(4 * sizeof(int))];
    uint8_t packed[4096];
    struct iovec iov = { packed, sizeof(packed) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
    CLEANUP_CLOSE int fd = -1;
    struct ipc_peer *peer;
    ssize_t n = -1;
    uint64_t ino;

    assert_int_equal(ipc_server_channel(rig->server, ROLE_WORKER, rig->volume, &peer, &fd), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    say_hello(fd, who.instance);
    env.id = who.id;
    env.has_origin = 1;
    env.origin = who.origin;
    m.parent = INDEX_ROOT;
    m.name = (ProtobufCBinaryData){ strlen(name), (uint8_t *)(uintptr_t)name };
    m.mode = 0600;
    m.exclusive = true;
    assert_true(send(fd, packed, lf__envelope__pack(&env, packed), 0) > 0);
    rig_wait(rig, (n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC)) > 0);
    reply = lf__envelope__unpack(NULL, (size_t)n, packed);
    assert_non_null(reply);
    assert_int_equal(reply->body_case, LF__ENVELOPE__BODY_FS_OPENED);
    ino = reply->fs_opened->attr->ino;
    lf__envelope__free_unpacked(reply, NULL);
    assert_int_equal(CMSG_FIRSTHDR(&msg)->cmsg_len, CMSG_LEN(2 * sizeof(int)));
    for (size_t i = 0; i < 2; i++)
        close(((int *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&msg)))[i]);
    return ino;
}

/* What the kernel never heard an answer to is asked again, with the same instance and id. */
static void a_repeated_create_opens_what_it_made(void **state)
{
    const struct ipc_identity who = { .instance = 99, .id = 7 };
    struct rig *rig = *state;
    uint64_t first = create_by_hand(rig, who, "once"), again;

    rig_reopen(rig);
    again = create_by_hand(rig, who, "once");
    assert_int_equal(again, first);
}

/* When it was the worker that died, the next one gets it from the kernel under the same number. */
static void what_the_next_worker_repeats_is_done_once(void **state)
{
    const struct ipc_identity dead = { .instance = 99, .id = 7, .origin = 4711 }, next = { .instance = 100, .id = 1, .origin = 4711 };
    struct rig *rig = *state;
    uint64_t first = create_by_hand(rig, dead, "once");

    assert_int_equal(create_by_hand(rig, next, "once"), first);
    rig_reopen(rig);
    assert_int_equal(create_by_hand(rig, next, "once"), first);
}

/* --- dirty and clean --------------------------------------------------------------------------------------- */

static void dirty_is_in_the_index_before_the_write(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct handle h;

    rig_settle(rig);
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    assert_int_equal(atomic_load(&h.map->state), CHUNK_MAP_CLEAN);
    rig->hold[CLOUD_PUT] = true;
    worker_write(rig, &h, 5, " there", 6);
    i = inode(rig, ino);
    assert_true(i.pending & INDEX_CONTENT);
    rig_release(rig);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", "hello there", 11);
}

static void attributes_follow_the_writes(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    Lf__FsAttr attr;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "0123456789", 10);
    assert_int_equal(worker_getattr(rig, h.ino, &attr), 0);
    assert_int_equal(attr.size, 10);
    worker_close(rig, &h);
    assert_int_equal(worker_getattr(rig, h.ino, &attr), 0);
    assert_int_equal(attr.size, 10);
}

static void a_set_mtime_outlives_earlier_writes(void **state)
{
    struct rig *rig = *state;
    const int64_t set_ns = INT64_C(1234567890123456789);
    struct cloud_request *r;
    struct handle h;
    Lf__FsAttr attr;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "x", 1);
    assert_int_equal(worker_touch(rig, h.ino, set_ns), 0);
    worker_close(rig, &h);
    assert_int_equal(worker_getattr(rig, h.ino, &attr), 0);
    assert_int_equal(attr.mtime_ns, set_ns);
    assert_int_equal(attr.size, 1);
    rig_settle(rig);
    r = rig_stat(rig, "a");
    assert_int_equal(r->object.meta.mtime_ns, set_ns);
    cloud_request_free(r);
    worker_assert_reads(rig, h.ino, "x", 1);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void a_set_mtime_does_not_outlive_later_writes(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    Lf__FsAttr attr;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    assert_int_equal(worker_touch(rig, h.ino, 1000), 0);
    worker_write(rig, &h, 0, "x", 1);
    assert_int_equal(worker_getattr(rig, h.ino, &attr), 0);
    assert_true(attr.mtime_ns > 1000);
    worker_close(rig, &h);
    assert_int_equal(worker_getattr(rig, h.ino, &attr), 0);
    assert_true(attr.mtime_ns > 1000);
}

static void fsync_answers(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "x", 1);
    assert_int_equal(worker_flush(rig, &h, true), 0);
    worker_close(rig, &h);
}

static void a_killed_syncd_finds_the_writes(void **state)
{
    struct rig *rig = *state;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct handle h;

    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "never flushed", 13);
    rig_reopen(rig);
    i = inode(rig, h.ino);
    assert_int_equal(i.size, 13);
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "a", "never flushed", 13);
    worker_forget_handle(&h);
}

static void a_killed_syncd_knows_the_size_of_what_has_no_name(void **state)
{
    struct rig *rig = *state;
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "never flushed", 13);
    assert_int_equal(worker_unlink(rig, "a"), 0);
    worker_write(rig, &h, 13, ", nor seen", 10);
    rig_reopen(rig);
    assert_int_equal(worker_getattr(rig, h.ino, &attr), 0);
    assert_int_equal(attr.size, 23);
    worker_forget_handle(&h);
}

/* The worker goes on with its descriptors and its map while syncd is another. */
static void a_worker_writes_through_a_restart(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "before", 6);
    rig_reopen(rig);
    worker_write(rig, &h, 6, " and after", 10);
    worker_close(rig, &h);
    rig_settle(rig);
    assert_object(rig, "a", "before and after", 16);
}

static void spoil_map(struct rig *rig, uint64_t ino)
{
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, "map");
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "spoiled!", 8, 0), 8);
    close(fd);
}

static void a_spoiled_map_of_a_clean_file_is_thrown_away(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);

    rig_settle(rig);
    rig_close(rig);
    spoil_map(rig, ino);
    rig_open(rig);
    worker_assert_reads(rig, ino, "hello", 5);
    assert_int_equal(rig->counts[CLOUD_GET], 1);
}

static void a_spoiled_map_of_a_dirty_file_loses_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;

    rig->hold[CLOUD_PUT] = true;
    ino = worker_file(rig, "a", "hello", 5);
    rig_close(rig);
    spoil_map(rig, ino);
    rig_open(rig);
    rig_release(rig);
    rig_settle(rig);
    assert_object(rig, "a", "hello", 5);
}

static void lost_content_falls_back_to_the_cloud(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "hello", 5);
    CLEANUP_FREE char *path = rig_cache_path(rig, ino, "data");

    rig_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    worker_overwrite(rig, "a", "newer", 5);
    rig_close(rig);
    assert_int_equal(unlink(path), 0);
    rig_open(rig);
    rig_release(rig);
    rig_settle(rig);
    worker_assert_reads(rig, ino, "hello", 5);
}

/* --- size and version ---------------------------------------------------------------------------------------- */

static void cut_and_grown_again_it_is_zero(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(3 * MIB, 1);
    uint64_t ino;

    rig_put(rig, "a", bytes, 3 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    worker_assert_reads(rig, ino, bytes, 3 * MIB);
    assert_int_equal(worker_truncate(rig, ino, MIB + 100), 0);
    assert_int_equal(worker_truncate(rig, ino, 3 * MIB), 0);
    memset(bytes + MIB + 100, 0, 2 * MIB - 100);
    worker_assert_reads(rig, ino, bytes, 3 * MIB);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 3 * MIB);
}

static void an_absent_file_is_cut_without_fetching_the_rest(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(8 * MIB, 1);
    uint64_t ino;

    rig_put(rig, "a", bytes, 8 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_truncate(rig, ino, 100000), 0);
    rig_settle(rig);
    assert_object(rig, "a", bytes, 100000);
    assert_true(rig->bytes[CLOUD_GET] <= 131072);
}

static void truncating_on_open_fetches_nothing(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(MIB, 1);

    rig_put(rig, "a", bytes, MIB);
    worker_overwrite(rig, "a", "short", 5);
    rig_settle(rig);
    assert_object(rig, "a", "short", 5);
    assert_int_equal(rig->counts[CLOUD_GET], 0);
}

static void truncating_what_is_empty_changes_its_time(void **state)
{
    struct rig *rig = *state;
    Lf__FsAttr before, after;
    uint64_t ino;
    struct handle h;

    rig_put(rig, "a", "", 0);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_getattr(rig, ino, &before), 0);
    assert_int_equal(worker_open(rig, ino, true, true, &h), 0);
    assert_int_equal(worker_getattr(rig, ino, &after), 0);
    assert_true(after.mtime_ns > before.mtime_ns);
    worker_close(rig, &h);
}

static void a_file_too_large_is_refused(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "x", 1);

    assert_int_equal(worker_truncate(rig, ino, CHUNK_FILE_MAX + 1), -EFBIG);
}

/* What a listing does with another version: 0, -EBUSY, and *ret_ino. */
static int take_over(struct rig *rig, uint64_t ino, const char *key, uint64_t *ret_ino)
{
    CLEANUP(index_inode_done) struct index_inode i = inode(rig, ino);
    struct cloud_request *r = rig_stat(rig, key);
    struct index *x = rig->volume->index;
    struct news news = { 0 };
    int code;

    assert_int_equal(index_begin(x), 0);
    code = index_end(x, entry_take_over(rig->volume, &news, &i, key, &r->object, ret_ino));
    news_end(rig->volume, &news, code == 0);
    cloud_request_free(r);
    return code;
}

static void an_open_file_stays_one_version(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *old = pattern(3 * MIB, 1), *new = pattern(5 * MIB, 2), *there = xcalloc(1, 5 * MIB);
    CLEANUP(index_inode_done) struct index_inode i = { 0 }, gone = { 0 };
    uint64_t ino, other;
    struct handle h;

    rig_put(rig, "a", old, 3 * MIB);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, there, MIB), MIB);
    rig_put(rig, "a", new, 5 * MIB);
    assert_int_equal(take_over(rig, ino, "a", &other), 0);
    assert_int_not_equal(other, ino);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), other);
    assert_int_equal(worker_read(rig, &h, 0, there, MIB), MIB);
    assert_memory_equal(there, old, MIB);
    i = inode(rig, ino);
    assert_int_equal(i.nlink, 0);
    assert_int_equal(i.size, 3 * MIB);
    worker_assert_reads(rig, other, new, 5 * MIB);
    worker_close(rig, &h);
    assert_int_equal(index_get(rig->volume->index, ino, &gone), -ENOENT);
}

/* The kernel looks the name up again then. */
static void what_was_replaced_cannot_be_opened(void **state)
{
    struct rig *rig = *state;
    uint64_t ino, other;
    struct handle h, again;

    rig_put(rig, "a", "old", 3);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_put(rig, "a", "newer", 5);
    assert_int_equal(take_over(rig, ino, "a", &other), 0);
    assert_int_equal(worker_open(rig, ino, false, false, &again), -ESTALE);
    worker_close(rig, &h);
    assert_int_equal(worker_open(rig, ino, false, false, &again), -ESTALE);
    worker_assert_reads(rig, other, "newer", 5);
}

/* cp(1) compares the number with what it saw before. */
static void a_change_found_by_opening_keeps_the_number(void **state)
{
    struct rig *rig = *state;
    uint64_t ino;
    struct handle h;

    rig_put(rig, "a", "old", 3);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    rig_put(rig, "a", "newer", 5);
    assert_int_equal(worker_open(rig, ino, false, false, &h), -ESTALE);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), ino);
    worker_assert_reads(rig, ino, "newer", 5);
}

static void a_pin_goes_on_with_the_name(void **state)
{
    struct rig *rig = *state;
    uint64_t ino, other;

    rig_put(rig, "a", "old", 3);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(index_pin(rig->volume->index, ino, true), 0);
    assert_int_equal(index_xattr_set(rig->volume->index, ino, "user.x", "y", 1, 0), 0);
    rig_put(rig, "a", "newer", 5);
    assert_int_equal(take_over(rig, ino, "a", &other), 0);
    assert_int_not_equal(other, ino);
    assert_true(index_pinned(rig->volume->index, other));
}

/* The map is sparse: forgetting what is here costs no disk, however often. */
static void forgetting_takes_no_space(void **state)
{
    struct rig *rig = *state;
    struct index_inode i;
    struct cache_file *f;
    uint64_t ino;
    struct stat st;

    rig_put(rig, "a", "content", 7);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    i = inode(rig, ino);
    assert_int_equal(cache_acquire(rig->volume->cache, &i, &f), 0);
    cache_file_renew(f, &i);
    cache_file_renew(f, &i);
    assert_int_equal(fstat(f->map_fd, &st), 0);
    cache_release(f);
    index_inode_done(&i);
    assert_true(st.st_blocks * 512 < 64 * 1024);
}

static void a_dirty_file_is_not_replaced(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    uint64_t ino, other;

    rig_put(rig, "a", "hello", 5);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, true, false, &h), 0);
    assert_int_equal(worker_fetch(rig, ino, 0, 5), 0);
    rig_put(rig, "a", "world!", 6);
    assert_int_equal(take_over(rig, ino, "a", &other), -EBUSY);
    rig->hold[CLOUD_PUT] = true;
    worker_write(rig, &h, 0, "J", 1);
    worker_close(rig, &h);
    assert_int_equal(take_over(rig, ino, "a", &other), -EBUSY);
    rig_release(rig);
}

/* The crash came between the index and the cache: the version in the map tells. */
static void chunks_of_another_version_are_not_served(void **state)
{
    struct rig *rig = *state;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct index *x = rig->volume->index;
    struct cloud_request *r;
    uint64_t ino;

    rig_put(rig, "a", "hello", 5);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    worker_assert_reads(rig, ino, "hello", 5);
    rig_put(rig, "a", "world", 5);
    r = rig_stat(rig, "a");
    i = inode(rig, ino);
    xstrset(&i.etag, r->object.etag);
    cloud_request_free(r);
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, index_update(x, &i)), 0);
    worker_assert_reads(rig, ino, "world", 5);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(files_are_private),
        TEST(another_folder_is_not_swept),
        TEST(a_planted_link_is_not_followed),
        TEST(a_folder_of_another_is_refused),
        TEST(unknown_files_are_removed),
        TEST(files_go_with_their_inode),
        TEST(opens_are_counted),
        TEST(one_release_too_many_is_harmless),
        TEST(a_reader_cannot_write),
        TEST(a_directory_is_no_file),
        TEST(a_lost_worker_leaves_its_writes),
        TEST(a_repeated_create_opens_what_it_made),
        TEST(what_the_next_worker_repeats_is_done_once),
        TEST(dirty_is_in_the_index_before_the_write),
        TEST(attributes_follow_the_writes),
        TEST(a_set_mtime_outlives_earlier_writes),
        TEST(a_set_mtime_does_not_outlive_later_writes),
        TEST(fsync_answers),
        TEST(a_killed_syncd_finds_the_writes),
        TEST(a_killed_syncd_knows_the_size_of_what_has_no_name),
        TEST(a_worker_writes_through_a_restart),
        TEST(a_spoiled_map_of_a_clean_file_is_thrown_away),
        TEST(a_spoiled_map_of_a_dirty_file_loses_nothing),
        TEST(lost_content_falls_back_to_the_cloud),
        TEST(cut_and_grown_again_it_is_zero),
        TEST(an_absent_file_is_cut_without_fetching_the_rest),
        TEST(truncating_on_open_fetches_nothing),
        TEST(truncating_what_is_empty_changes_its_time),
        TEST(a_file_too_large_is_refused),
        TEST(an_open_file_stays_one_version),
        TEST(what_was_replaced_cannot_be_opened),
        TEST(a_change_found_by_opening_keeps_the_number),
        TEST(a_pin_goes_on_with_the_name),
        TEST(forgetting_takes_no_space),
        TEST(a_dirty_file_is_not_replaced),
        TEST(chunks_of_another_version_are_not_served),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
