/* What the worker asks and how it reads and writes. */
#include "volume_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_use.h"

/* As the real one gives up. */
enum { WORKER_TRIES = 8 };

struct answer {
    bool done;
    int code;
    Lf__Envelope *reply;
    int fds[2];
};

static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct answer *a = arg;

    a->done = true;
    a->code = e ? e->code : 0;
    if (!reply)
        return;
    {
        size_t size = lf__envelope__get_packed_size(reply);
        CLEANUP_FREE uint8_t *packed = xcalloc(1, size + 1);

        lf__envelope__pack(reply, packed);
        a->reply = lf__envelope__unpack(NULL, size, packed);
    }
    if (reply->body_case == LF__ENVELOPE__BODY_FS_OPENED)
        for (size_t n = 0; n < 2; n++)
            a->fds[n] = take_fd(&fds[n]);
}

int rig_ask(struct rig *rig, Lf__Envelope *request, Lf__Envelope **ret, int fds[2])
{
    struct answer a = { .fds = { -1, -1 } };

    (void)ipc_call(rig->client, request, NULL, 0, 0, on_answer, &a);
    rig_wait(rig, a.done);
    if (fds) {
        fds[0] = a.fds[0];
        fds[1] = a.fds[1];
    }
    if (ret)
        *ret = a.reply;
    else if (a.reply)
        lf__envelope__free_unpacked(a.reply, NULL);
    return a.code;
}

static ProtobufCBinaryData bytes_of(const char *s)
{
    return (ProtobufCBinaryData){ strlen(s), (uint8_t *)(uintptr_t)s };
}

uint64_t worker_lookup(struct rig *rig, uint64_t parent, const char *name)
{
    Lf__FsLookup m = LF__FS_LOOKUP__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_LOOKUP, fs_lookup, &m), *reply;
    uint64_t ino = 0;

    m.parent = parent;
    m.name = bytes_of(name);
    if (rig_ask(rig, &env, &reply, NULL) == 0) {
        ino = reply->fs_entry->attr->ino;
        lf__envelope__free_unpacked(reply, NULL);
    }
    return ino;
}

uint64_t worker_find(struct rig *rig, const char *path)
{
    CLEANUP_FREE char *names = xstrdup(path);
    uint64_t ino = INDEX_ROOT;
    char *rest = NULL;

    for (char *name = strtok_r(names, "/", &rest); name && ino; name = strtok_r(NULL, "/", &rest))
        ino = worker_lookup(rig, ino, name);
    return ino;
}

/* The directory that the path's last name is in; of the path remains that name. */
static uint64_t parent_of(struct rig *rig, const char **path)
{
    const char *slash = strrchr(*path, '/');
    CLEANUP_FREE char *parent = slash ? strndup(*path, (size_t)(slash - *path)) : NULL;

    if (!slash)
        return INDEX_ROOT;
    *path = slash + 1;
    return worker_find(rig, parent);
}

static int take_handle(struct rig *rig, Lf__Envelope *request, bool write, struct handle *ret)
{
    Lf__Envelope *reply;
    int fds[2], r = rig_ask(rig, request, &reply, fds);
    void *map;

    if (r < 0)
        return r;
    *ret = (struct handle){ .ino = reply->fs_opened->attr->ino, .size = reply->fs_opened->attr->size, .data_fd = fds[0],
                            .map_fd = fds[1], .write = write };
    lf__envelope__free_unpacked(reply, NULL);
    map = mmap(NULL, CHUNK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
    assert_true(map != MAP_FAILED);
    (void)madvise(map, CHUNK_MAP_SIZE, MADV_RANDOM);
    ret->map = map;
    return 0;
}

static int open_as(struct rig *rig, Lf__FsOpen m, struct handle *ret)
{
    Lf__Envelope env = IPC_ENVELOPE(FS_OPEN, fs_open, &m);

    return take_handle(rig, &env, m.write, ret);
}

int worker_open(struct rig *rig, uint64_t ino, bool write, bool truncate, struct handle *ret)
{
    Lf__FsOpen m = LF__FS_OPEN__INIT;

    m.ino = ino;
    m.write = write;
    m.truncate = truncate;
    return open_as(rig, m, ret);
}

int worker_open_again(struct rig *rig, uint64_t ino, struct handle *ret)
{
    Lf__FsOpen m = LF__FS_OPEN__INIT;

    m.ino = ino;
    m.has_again = m.again = true;
    return open_as(rig, m, ret);
}

int worker_create(struct rig *rig, uint64_t parent, const char *name, struct handle *ret)
{
    Lf__FsCreate m = LF__FS_CREATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CREATE, fs_create, &m);

    m.parent = parent;
    m.name = bytes_of(name);
    m.mode = 0640;
    m.uid = 1;
    m.gid = 2;
    return take_handle(rig, &env, true, ret);
}

int worker_fetch(struct rig *rig, uint64_t ino, uint64_t offset, uint64_t length)
{
    Lf__FsFetch m = LF__FS_FETCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FETCH, fs_fetch, &m);

    m.ino = ino;
    m.offset = offset;
    m.length = length;
    return rig_ask(rig, &env, NULL, NULL);
}

static int mark_dirty(struct rig *rig, struct handle *h, uint64_t bytes)
{
    Lf__FsDirty m = LF__FS_DIRTY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_DIRTY, fs_dirty, &m);

    m.ino = h->ino;
    m.bytes = bytes;
    return rig_ask(rig, &env, NULL, NULL);
}

int worker_try_write(struct rig *rig, struct handle *h, uint64_t offset, const void *bytes, size_t n)
{
    for (;;) {
        uint64_t lost = atomic_load(&h->map->lost_seq), cost = chunk_write_cost(n);
        int r = 0;

        if (chunk_first_absent(h->map, offset, n) != UINT64_MAX) {
            r = worker_fetch(rig, h->ino, offset, n);
        } else if (atomic_load(&h->map->state) != CHUNK_MAP_DIRTY || !chunk_spend(h->map, cost)) {
            r = mark_dirty(rig, h, cost);
        } else {
            chunk_change(h->map, offset, n);
            assert_int_equal(pwrite(h->data_fd, bytes, n, (off_t)offset), n);
            (void)atomic_fetch_add(&h->map->write_seq, 1);
            if (atomic_load(&h->map->state) == CHUNK_MAP_DIRTY && atomic_load(&h->map->lost_seq) == lost)
                return 0;
        }
        if (r < 0)
            return r;
    }
}

void worker_write(struct rig *rig, struct handle *h, uint64_t offset, const void *bytes, size_t n)
{
    assert_int_equal(worker_try_write(rig, h, offset, bytes, n), 0);
}

ssize_t worker_read(struct rig *rig, struct handle *h, uint64_t offset, void *bytes, size_t n)
{
    for (unsigned tries = 0;; tries++) {
        uint64_t lost = atomic_load(&h->map->lost_seq);
        int r = chunk_first_absent(h->map, offset, n) != UINT64_MAX ? worker_fetch(rig, h->ino, offset, n) : 0;
        ssize_t got;

        assert_true(tries < WORKER_TRIES);
        if (r < 0)
            return r;
        if (chunk_first_absent(h->map, offset, n) != UINT64_MAX)
            continue;
        got = pread(h->data_fd, bytes, n, (off_t)offset);
        if (atomic_load(&h->map->lost_seq) != lost)
            continue;
        chunk_touch(h->map, offset, n);
        return got;
    }
}

ssize_t worker_copy(struct rig *rig, Lf__FsCopy m, uint64_t origin)
{
    Lf__Envelope *reply;
    ssize_t bytes;
    bool more;

    do {
        Lf__Envelope env = IPC_ENVELOPE(FS_COPY, fs_copy, &m);
        int r;

        env.has_origin = true;
        env.origin = origin;
        r = rig_ask(rig, &env, &reply, NULL);
        if (r < 0)
            return r;
        bytes = (ssize_t)reply->fs_copied->bytes;
        more = reply->fs_copied->more;
        lf__envelope__free_unpacked(reply, NULL);
    } while (more);
    return bytes;
}

int worker_flush(struct rig *rig, struct handle *h, bool sync)
{
    Lf__FsFlush m = LF__FS_FLUSH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FLUSH, fs_flush, &m);

    m.ino = h->ino;
    m.sync = sync;
    return rig_ask(rig, &env, NULL, NULL);
}

void worker_forget_handle(struct handle *h)
{
    (void)munmap(h->map, CHUNK_MAP_SIZE);
    (void)close(h->data_fd);
    (void)close(h->map_fd);
}

void worker_close(struct rig *rig, struct handle *h)
{
    Lf__FsRelease m = LF__FS_RELEASE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RELEASE, fs_release, &m);

    if (h->write)
        assert_int_equal(worker_flush(rig, h, false), 0);
    m.ino = h->ino;
    m.write = h->write;
    assert_int_equal(rig_ask(rig, &env, NULL, NULL), 0);
    worker_forget_handle(h);
}

static int setattr(struct rig *rig, Lf__FsSetattr *m)
{
    Lf__Envelope env = IPC_ENVELOPE(FS_SETATTR, fs_setattr, m);

    return rig_ask(rig, &env, NULL, NULL);
}

int worker_truncate(struct rig *rig, uint64_t ino, uint64_t size)
{
    Lf__FsSetattr m = LF__FS_SETATTR__INIT;

    m.ino = ino;
    m.has_size = true;
    m.size = size;
    return setattr(rig, &m);
}

int worker_chmod(struct rig *rig, uint64_t ino, uint32_t mode)
{
    Lf__FsSetattr m = LF__FS_SETATTR__INIT;

    m.ino = ino;
    m.has_mode = true;
    m.mode = mode;
    return setattr(rig, &m);
}

int worker_touch(struct rig *rig, uint64_t ino, int64_t mtime_ns)
{
    Lf__FsSetattr m = LF__FS_SETATTR__INIT;

    m.ino = ino;
    m.has_mtime_ns = true;
    m.mtime_ns = mtime_ns;
    return setattr(rig, &m);
}

int worker_rename(struct rig *rig, const char *from, const char *to, unsigned flags)
{
    Lf__FsRename m = LF__FS_RENAME__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RENAME, fs_rename, &m);

    m.parent = parent_of(rig, &from);
    m.new_parent = parent_of(rig, &to);
    m.name = bytes_of(from);
    m.new_name = bytes_of(to);
    m.flags = flags;
    return rig_ask(rig, &env, NULL, NULL);
}

int worker_unlink(struct rig *rig, const char *name)
{
    Lf__FsUnlink m = LF__FS_UNLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_UNLINK, fs_unlink, &m);

    m.parent = parent_of(rig, &name);
    m.name = bytes_of(name);
    return rig_ask(rig, &env, NULL, NULL);
}

int worker_rmdir(struct rig *rig, const char *name)
{
    Lf__FsRmdir m = LF__FS_RMDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RMDIR, fs_rmdir, &m);

    m.parent = parent_of(rig, &name);
    m.name = bytes_of(name);
    return rig_ask(rig, &env, NULL, NULL);
}

uint64_t worker_mkdir(struct rig *rig, const char *name)
{
    Lf__FsMkdir m = LF__FS_MKDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_MKDIR, fs_mkdir, &m), *reply;
    uint64_t ino;

    m.parent = parent_of(rig, &name);
    m.name = bytes_of(name);
    m.mode = 0755;
    assert_int_equal(rig_ask(rig, &env, &reply, NULL), 0);
    ino = reply->fs_entry->attr->ino;
    lf__envelope__free_unpacked(reply, NULL);
    return ino;
}

int worker_symlink(struct rig *rig, const char *name, const char *target)
{
    Lf__FsSymlink m = LF__FS_SYMLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SYMLINK, fs_symlink, &m);

    m.parent = parent_of(rig, &name);
    m.name = bytes_of(name);
    m.target = bytes_of(target);
    return rig_ask(rig, &env, NULL, NULL);
}

bool rig_is_kept(struct rig *rig, uint64_t ino)
{
    struct index_cached row;

    (void)use_flush(rig->volume->cache);
    return index_cached_get(rig->volume->index, ino, &row) == 0 && row.kept && !row.in_use;
}

int worker_set_pin(struct rig *rig, uint64_t ino, const char *value, int flags)
{
    Lf__FsXattrSet m = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)"user.landfall.pin";
    m.value = (ProtobufCBinaryData){ strlen(value), (uint8_t *)(uintptr_t)value };
    m.flags = (uint32_t)flags;
    return rig_ask(rig, &env, NULL, NULL);
}

int worker_remove_pin(struct rig *rig, uint64_t ino)
{
    Lf__FsXattrRemove m = LF__FS_XATTR_REMOVE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_REMOVE, fs_xattr_remove, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)"user.landfall.pin";
    return rig_ask(rig, &env, NULL, NULL);
}

int worker_get_pin(struct rig *rig, uint64_t ino)
{
    Lf__FsXattrGet m = LF__FS_XATTR_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_GET, fs_xattr_get, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)"user.landfall.pin";
    return rig_ask(rig, &env, NULL, NULL);
}

int worker_getattr(struct rig *rig, uint64_t ino, Lf__FsAttr *ret)
{
    Lf__FsGetattr m = LF__FS_GETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_GETATTR, fs_getattr, &m), *reply;
    int r;

    m.ino = ino;
    r = rig_ask(rig, &env, &reply, NULL);
    if (r < 0)
        return r;
    *ret = *reply->fs_entry->attr;
    lf__envelope__free_unpacked(reply, NULL);
    return 0;
}

uint64_t worker_file(struct rig *rig, const char *name, const void *bytes, size_t n)
{
    uint64_t parent = parent_of(rig, &name), ino;
    struct handle h;

    assert_int_equal(worker_create(rig, parent, name, &h), 0);
    ino = h.ino;
    if (n)
        worker_write(rig, &h, 0, bytes, n);
    worker_close(rig, &h);
    return ino;
}

void worker_overwrite(struct rig *rig, const char *name, const void *bytes, size_t n)
{
    struct handle h;

    assert_int_equal(worker_open(rig, worker_find(rig, name), true, true, &h), 0);
    worker_write(rig, &h, 0, bytes, n);
    worker_close(rig, &h);
}

char *pattern(size_t n, unsigned seed)
{
    char *bytes = xcalloc(1, n + 1);
    uint64_t x = 0x9e3779b97f4a7c15u * (seed + 1);

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (char)x;
    }
    return bytes;
}

void worker_assert_reads(struct rig *rig, uint64_t ino, const char *bytes, size_t n)
{
    CLEANUP_FREE char *there = xcalloc(1, n + 1);
    struct handle h;

    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, there, n + 1), n);
    assert_memory_equal(there, bytes, n);
    worker_close(rig, &h);
}

static void note_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct rig_asked *a = arg;

    (void)reply;
    (void)fds;
    *a = (struct rig_asked){ true, e ? e->code : 0 };
}

void rig_send(struct rig *rig, Lf__Envelope *request, struct rig_asked *a)
{
    *a = (struct rig_asked){ 0 };
    (void)ipc_call(rig->client, request, NULL, 0, 0, note_answer, a);
}

char *rig_cache_path(struct rig *rig, uint64_t ino, const char *kind)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/cache/%02x/%" PRIx64 ".%s", rig->dir, (unsigned)(ino & 0xff), ino, kind) > 0);
    return path;
}
