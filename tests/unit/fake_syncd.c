/* See fake_syncd.h. What syncd does with the cloud, this does with memory. */
#include "tests/unit/fake_syncd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

/* --- nodes --------------------------------------------------------------------------------------- */

struct fake_node *fake_node(struct fake_syncd *f, uint64_t ino)
{
    return ino > 0 && ino < FAKE_NODES_MAX && f->nodes[ino].mode ? &f->nodes[ino] : NULL;
}

uint64_t fake_find(struct fake_syncd *f, uint64_t parent, const char *name)
{
    for (uint64_t i = 2; i <= f->last; i++)
        if (f->nodes[i].parent == parent && f->nodes[i].nlink && strcmp(f->nodes[i].name, name) == 0)
            return i;
    return 0;
}

static uint64_t find(struct fake_syncd *f, uint64_t parent, const ProtobufCBinaryData *name)
{
    char text[256] = "";

    if (name->len < sizeof(text))
        (void)memcpy(text, name->data, name->len);
    return fake_find(f, parent, text);
}

static uint64_t add_node(struct fake_syncd *f, uint64_t parent, const void *name, size_t len, uint32_t mode)
{
    uint64_t ino = ++f->last;
    struct fake_node *n = &f->nodes[ino];

    if (ino >= FAKE_NODES_MAX || len >= sizeof(n->name))
        abort();
    *n = (struct fake_node){
        .parent = parent, .mode = mode, .uid = f->uid, .gid = f->gid, .nlink = S_ISDIR(mode) ? 2 : 1,
        .data = -1, .map_fd = -1, .mtime_ns = loop_wall_ns(), .ctime_ns = loop_wall_ns(),
    };
    (void)memcpy(n->name, name, len);
    return ino;
}

static bool is_sealed(const struct fake_node *n)
{
    return n->sealed.map != NULL;
}

static void make_sealed(const struct fake_syncd *f, struct fake_node *n)
{
    memcpy(n->map->sealed_key, f->sealed_key(f->sealed_arg), CRYPT_KEY);
    n->sealed = (struct sealed){ .fd = n->data, .map = n->map };
}

static uint64_t content_size(const struct fake_node *n)
{
    struct stat st;

    if (is_sealed(n))
        return atomic_load(&n->map->size);
    return fstat(n->data, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The chunks that are cut off go; of the one where it ends what is too much stays. */
static void set_content_size(struct fake_node *n, uint64_t size)
{
    uint64_t end = (size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;

    if (!is_sealed(n)) {
        if (ftruncate(n->data, (off_t)size) < 0)
            abort();
    } else if (size < atomic_exchange(&n->map->size, size) &&
               sealed_drop(n->data, end, SEALED_CHUNKS_MAX - end) < 0) {
        abort();
    }
}

static void make_contents(const struct fake_syncd *f, struct fake_node *n, uint64_t ino, uint64_t size)
{
    n->data = memfd_create("data", MFD_CLOEXEC);
    n->map_fd = memfd_create("map", MFD_CLOEXEC);
    if (ftruncate(n->map_fd, CHUNK_MAP_SIZE) < 0)
        abort();
    n->map = mmap(NULL, CHUNK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, n->map_fd, 0);
    if (n->map == MAP_FAILED)
        abort();
    n->map->magic = CHUNK_MAP_MAGIC;
    n->map->chunk_shift = CHUNK_SHIFT;
    n->map->ino = ino;
    if (f->sealing)
        make_sealed(f, n);
    set_content_size(n, size);
    atomic_store(&n->map->fetchable, size);
    n->size = size;
}

uint64_t fake_add_file(struct fake_syncd *f, uint64_t parent, const char *name, const void *bytes, size_t size)
{
    uint64_t ino = add_node(f, parent, name, strlen(name), S_IFREG | 0644);
    struct fake_node *n = &f->nodes[ino];

    n->cloud = xcalloc(1, size + 1);
    if (size)
        (void)memcpy(n->cloud, bytes, size);
    make_contents(f, n, ino, size);
    return ino;
}

static void free_node(struct fake_node *n)
{
    if (n->map)
        (void)munmap(n->map, CHUNK_MAP_SIZE);
    if (S_ISREG(n->mode)) {
        (void)close(n->data);
        (void)close(n->map_fd);
    }
    free(n->cloud);
    free(n->target);
    *n = (struct fake_node){ 0 };
}

static bool dirty(const struct fake_node *n)
{
    return n->map && atomic_load(&n->map->state) == CHUNK_MAP_DIRTY;
}

/* First nothing is present, then the size changes with the next fetch or open. */
void fake_new_version(struct fake_syncd *f, uint64_t ino, const void *bytes, size_t size)
{
    struct fake_node *n = &f->nodes[ino];

    atomic_store(&n->map->fetchable, CHUNK_FILE_MAX);
    for (uint64_t c = 0; c <= n->size >> CHUNK_SHIFT; c++)
        atomic_store(&n->map->bits[c / 64], 0);
    free(n->cloud);
    n->cloud = xcalloc(1, size + 1);
    (void)memcpy(n->cloud, bytes, size);
    n->size = size;
}

static void renew(struct fake_node *n)
{
    if (atomic_load(&n->map->fetchable) != CHUNK_FILE_MAX)
        return;
    set_content_size(n, 0);
    set_content_size(n, n->size);
    atomic_store(&n->map->fetchable, n->size);
}

/* --- answers ---------------------------------------------------------------------------------------- */

static struct fake_node *node_or_fail(struct fake_syncd *f, struct ipc_request *req, uint64_t ino)
{
    struct fake_node *n = fake_node(f, ino);

    if (!n)
        ipc_fail(req, -ENOENT, "no inode %llu", (unsigned long long)ino);
    return n;
}

static void fill_attr(struct fake_syncd *f, uint64_t ino, Lf__FsAttr *a)
{
    const struct fake_node *n = &f->nodes[ino];

    lf__fs_attr__init(a);
    a->ino = ino;
    a->mode = n->mode;
    a->uid = n->uid;
    a->gid = n->gid;
    a->size = dirty(n) ? content_size(n) : n->size;
    a->mtime_ns = a->atime_ns = n->mtime_ns;
    a->ctime_ns = n->ctime_ns;
    a->nlink = n->nlink;
    a->blocks = (a->size + 511) / 512;
    a->settled = !n->unsettled;
}

static void reply_entry(struct fake_syncd *f, struct ipc_request *req, uint64_t ino)
{
    Lf__FsAttr attr;
    Lf__FsEntry entry = LF__FS_ENTRY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_ENTRY, fs_entry, &entry);

    fill_attr(f, ino, &attr);
    entry.attr = &attr;
    ipc_reply(req, &env, NULL, 0);
}

static void reply_opened(struct fake_syncd *f, struct ipc_request *req, uint64_t ino, bool write)
{
    struct fake_node *n = &f->nodes[ino];
    Lf__FsAttr attr;
    Lf__FsOpened opened = LF__FS_OPENED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPENED, fs_opened, &opened);
    char path[64];
    int fds[2];

    renew(n);
    n->opens[write]++;
    fill_attr(f, ino, &attr);
    opened.attr = &attr;
    opened.has_whole = opened.whole = n->whole && !write;
    opened.has_sealed = opened.sealed = is_sealed(n);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", n->data);
    fds[0] = open(path, write || is_sealed(n) ? O_RDWR | O_CLOEXEC : O_RDONLY | O_CLOEXEC);
    fds[1] = n->map_fd;
    ipc_reply(req, &env, fds, 2);
    (void)close(fds[0]);
}

/* --- requests ------------------------------------------------------------------------------------------ */

typedef void answer_fn(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env);

static void lookup(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    uint64_t ino = find(f, env->fs_lookup->parent, &env->fs_lookup->name);

    if (ino)
        reply_entry(f, req, ino);
    else
        ipc_fail(req, -ENOENT, "no such name");
}

static void getattr(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    if (node_or_fail(f, req, env->fs_getattr->ino))
        reply_entry(f, req, env->fs_getattr->ino);
}

static void resize(struct fake_node *n, uint64_t size)
{
    if (size < atomic_load(&n->map->fetchable))
        atomic_store(&n->map->fetchable, size);
    set_content_size(n, size);
    n->size = size;
    atomic_store(&n->map->state, CHUNK_MAP_DIRTY);
}

/* --- sealed files ----------------------------------------------------------------------------------------- */

/* Chunks of a sealed file on their way in, one after the other; or the one that is longer than the file is cut. */
struct sealing {
    struct fake_syncd *fake;
    struct ipc_request *req;
    uint64_t ino, next, end;     /* chunks */
    uint64_t grow_to;            /* 0: they come in */
    struct sealed_job *job;
};

static void seal_next(struct sealing *s);

static void end_sealing(struct sealing *s)
{
    struct fake_syncd *f = s->fake;

    if (s->grow_to) {
        resize(&f->nodes[s->ino], s->grow_to);
        reply_entry(f, s->req, s->ino);
    } else {
        ipc_request_waited(s->req, loop_now_ns() - (int64_t)f->waited_us * 1000);
        ipc_done(s->req);
    }
    f->sealing_now--;
    free(s);
}

static void sealed(struct sealed_job *j, const struct error *e)
{
    struct sealing *s = j->arg;

    if (e->code || sealed_store(j) < 0)
        abort();
    sealed_job_end(j);
    if (s->grow_to) {
        end_sealing(s);
        return;
    }
    chunk_set(s->fake->nodes[s->ino].map, s->next++);
    seal_next(s);
}

/* What is above was cut off since. */
static uint32_t chunk_length(const struct sealing *s)
{
    uint64_t left = atomic_load(&s->fake->nodes[s->ino].map->fetchable) - (s->next << CHUNK_SHIFT);

    return left < CHUNK_SIZE ? (uint32_t)left : CHUNK_SIZE;
}

static void cut_opened(struct sealed_job *j, const struct error *e)
{
    uint32_t length = (uint32_t)(atomic_load(&j->sealed->map->size) % CHUNK_SIZE);

    if (e->code)
        abort();
    sealed_seal(j, &length, sealed);
}

static void placed(struct sealed_job *j, const struct error *e)
{
    struct sealing *s = j->arg;
    struct fake_node *n = &s->fake->nodes[s->ino];
    uint32_t length = chunk_length(s);

    (void)e;
    if (s->grow_to) {
        sealed_open(j, atomic_load(&n->map->size), cut_opened);
        return;
    }
    memcpy(j->outer, n->cloud + (s->next << CHUNK_SHIFT), length);
    sealed_seal(j, &length, sealed);
}

static void begin_job(struct sealing *s)
{
    struct sealed_job *j = sealed_job_new(s->fake->sealing, &s->fake->nodes[s->ino].sealed, s->next, 1);

    j->arg = s;
    sealed_job_begin(j, placed);
}

static void seal_next(struct sealing *s)
{
    while (s->next < s->end && chunk_present(s->fake->nodes[s->ino].map, s->next))
        s->next++;
    if (s->next >= s->end)
        end_sealing(s);
    else
        begin_job(s);
}

static struct sealing *new_sealing(struct fake_syncd *f, struct ipc_request *req, uint64_t ino)
{
    struct sealing *s = xcalloc(1, sizeof(*s));

    *s = (struct sealing){ .fake = f, .req = req, .ino = ino };
    f->sealing_now++;
    return s;
}

static void fetch_sealed(struct fake_syncd *f, struct ipc_request *req, const Lf__FsFetch *m)
{
    struct sealing *s = new_sealing(f, req, m->ino);

    s->next = m->offset >> CHUNK_SHIFT;
    s->end = (m->offset + m->length + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
    seal_next(s);
}

/* False: it needs no cutting before it grows. */
static bool grow_sealed(struct fake_syncd *f, struct ipc_request *req, uint64_t ino, uint64_t size)
{
    struct fake_node *n = &f->nodes[ino];
    uint64_t before = is_sealed(n) ? atomic_load(&n->map->size) : 0;
    struct sealing *s;

    if (!is_sealed(n) || size <= before || !sealed_needs_trim(&n->sealed))
        return false;
    s = new_sealing(f, req, ino);
    s->next = before >> CHUNK_SHIFT;
    s->grow_to = size;
    begin_job(s);
    return true;
}

/* What was a hole comes from the cloud when it is wanted. */
static void set_if_stored(struct fake_node *n, uint64_t c)
{
    struct sealed_entry e;

    if (is_sealed(n) && (sealed_entries(n->data, c, 1, &e) < 0 || sealed_newest(&e, UINT64_MAX) < 0))
        atomic_fetch_and(&n->map->bits[c / 64], ~(UINT64_C(1) << (c % 64)));
    else
        chunk_set(n->map, c);
}

void fake_uploaded(struct fake_syncd *f, uint64_t ino, const void *bytes, size_t size)
{
    struct fake_node *n = &f->nodes[ino];

    free(n->cloud);
    n->cloud = xcalloc(1, size + 1);
    memcpy(n->cloud, bytes, size);
    n->size = size;
    for (uint64_t c = 0; c << CHUNK_SHIFT < size; c++)
        set_if_stored(n, c);
    atomic_store(&n->map->synced, atomic_load(&n->map->generation));
    atomic_store(&n->map->fetchable, size);
    atomic_store(&n->map->state, CHUNK_MAP_CLEAN);
}

bool fake_evict(struct fake_syncd *f, uint64_t ino, uint64_t first, uint64_t n)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)first, .l_len = (off_t)n };
    struct fake_node *node = &f->nodes[ino];

    if (fcntl(node->data, F_OFD_SETLK, &lock) < 0)
        return false;
    atomic_fetch_add(&node->map->lost_seq, 1);
    for (uint64_t c = first; c < first + n; c++)
        atomic_fetch_and(&node->map->bits[c / 64], ~(UINT64_C(1) << (c % 64)));
    if (sealed_drop(node->data, first, n) < 0)
        abort();
    lock.l_type = F_UNLCK;
    return fcntl(node->data, F_OFD_SETLK, &lock) == 0;
}

/* --- more requests ------------------------------------------------------------------------------------------ */

static void setattr(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsSetattr *m = env->fs_setattr;
    struct fake_node *n = node_or_fail(f, req, m->ino);

    if (!n || (m->has_size && grow_sealed(f, req, m->ino, m->size)))
        return;
    if (m->has_size)
        resize(n, m->size);
    if (m->has_mode)
        n->mode = (n->mode & S_IFMT) | m->mode;
    if (m->has_mtime_ns) {
        n->mtime_ns = m->mtime_ns;
        if (n->map)
            n->map->mtime_seq = atomic_load(&n->map->write_seq);
    }
    reply_entry(f, req, m->ino);
}

static void opendir_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    if (node_or_fail(f, req, env->fs_opendir->ino))
        ipc_done(req);
}

static void readdir_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsAttr attrs[FAKE_NODES_MAX];
    Lf__FsDirent entries[FAKE_NODES_MAX], *list[FAKE_NODES_MAX];
    Lf__FsListed listed = LF__FS_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_LISTED, fs_listed, &listed);
    size_t n = 0;

    for (uint64_t i = env->fs_readdir->cookie + 1; i <= f->last && n < env->fs_readdir->entries; i++) {
        if (i == 1 || f->nodes[i].parent != env->fs_readdir->ino || !f->nodes[i].nlink)
            continue;
        fill_attr(f, i, &attrs[n]);
        lf__fs_dirent__init(&entries[n]);
        entries[n].name = (ProtobufCBinaryData){ strlen(f->nodes[i].name), (uint8_t *)f->nodes[i].name };
        entries[n].attr = &attrs[n];
        entries[n].cookie = i;
        list[n] = &entries[n];
        n++;
    }
    listed.entries = list;
    listed.n_entries = n;
    listed.end = n < env->fs_readdir->entries;
    ipc_reply(req, &reply, NULL, 0);
}

static void open_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    struct fake_node *n = node_or_fail(f, req, env->fs_open->ino);

    if (!n)
        return;
    if (env->fs_open->truncate)
        resize(n, 0);
    reply_opened(f, req, env->fs_open->ino, env->fs_open->write);
}

static void create(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsCreate *m = env->fs_create;
    uint64_t ino = find(f, m->parent, &m->name);

    if (ino && m->exclusive) {
        ipc_fail(req, -EEXIST, "it is there");
        return;
    }
    if (!ino) {
        ino = add_node(f, m->parent, m->name.data, m->name.len, S_IFREG | (m->mode & 07777));
        make_contents(f, &f->nodes[ino], ino, 0);
        atomic_store(&f->nodes[ino].map->state, CHUNK_MAP_DIRTY);
    }
    reply_opened(f, req, ino, true);
}

static void fetch(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsFetch *m = env->fs_fetch;
    struct fake_node *n = node_or_fail(f, req, m->ino);

    if (!n)
        return;
    f->unreadable += m->unreadable;
    renew(n);
    if (is_sealed(n)) {
        fetch_sealed(f, req, m);
        return;
    }
    for (uint64_t c = m->offset >> CHUNK_SHIFT; c << CHUNK_SHIFT < m->offset + m->length; c++) {
        uint64_t at = c << CHUNK_SHIFT, len = CHUNK_SIZE;

        if (chunk_present(n->map, c))
            continue;
        if (at + len > n->size)
            len = n->size - at;
        if (n->cloud && pwrite(n->data, n->cloud + at, len, (off_t)at) != (ssize_t)len)
            abort();
        chunk_set(n->map, c);
    }
    ipc_request_waited(req, loop_now_ns() - (int64_t)f->waited_us * 1000);
    ipc_done(req);
}

static void dirty_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    struct fake_node *n = node_or_fail(f, req, env->fs_dirty->ino);

    if (!n)
        return;
    atomic_store(&n->map->granted, atomic_load(&n->map->spent) + env->fs_dirty->bytes + FAKE_GRANT);
    if (atomic_load(&n->map->state) != CHUNK_MAP_DIRTY)
        atomic_store(&n->map->alike, n->size);
    atomic_store(&n->map->state, CHUNK_MAP_DIRTY);
    ipc_done(req);
}

static void copy_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsCopied copied = LF__FS_COPIED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_COPIED, fs_copied, &copied);

    f->copy = *env->fs_copy;
    copied.has_more = copied.more = f->copies_last > 0;
    copied.bytes = copied.more ? 0 : f->copied;
    f->copies_last -= copied.more;
    if (f->copy_stopped)
        ipc_fail(req, -ECANCELED, "stopped");
    else if (f->copied)
        ipc_reply(req, &reply, NULL, 0);
    else
        ipc_fail(req, -EOPNOTSUPP, "copy it yourself");
}

static void copy_stop(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    (void)env;
    f->copy_stopped = true;
    ipc_done(req);
}

static void flush(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    if (node_or_fail(f, req, env->fs_flush->ino))
        ipc_done(req);
}

static void release(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    struct fake_node *n = fake_node(f, env->fs_release->ino);

    if (n && n->opens[env->fs_release->write] > 0)
        n->opens[env->fs_release->write]--;
    ipc_done(req);
}

static void mkdir_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsMkdir *m = env->fs_mkdir;

    if (find(f, m->parent, &m->name))
        ipc_fail(req, -EEXIST, "it is there");
    else
        reply_entry(f, req, add_node(f, m->parent, m->name.data, m->name.len, S_IFDIR | (m->mode & 07777)));
}

static void mknod_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsMknod *m = env->fs_mknod;

    reply_entry(f, req, add_node(f, m->parent, m->name.data, m->name.len, m->mode));
}

static void symlink_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsSymlink *m = env->fs_symlink;
    uint64_t ino = add_node(f, m->parent, m->name.data, m->name.len, S_IFLNK | 0777);

    f->nodes[ino].target = xcalloc(1, m->target.len + 1);
    (void)memcpy(f->nodes[ino].target, m->target.data, m->target.len);
    f->nodes[ino].size = m->target.len;
    reply_entry(f, req, ino);
}

static void readlink_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsTarget target = LF__FS_TARGET__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_TARGET, fs_target, &target);
    struct fake_node *n = node_or_fail(f, req, env->fs_readlink->ino);

    if (!n)
        return;
    target.target = (ProtobufCBinaryData){ strlen(n->target), (uint8_t *)n->target };
    ipc_reply(req, &reply, NULL, 0);
}

static void drop_name(struct fake_syncd *f, uint64_t ino)
{
    f->nodes[ino].parent = 0;
    f->nodes[ino].nlink = 0;
}

static void unlink_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    uint64_t ino = find(f, env->fs_unlink->parent, &env->fs_unlink->name);

    if (!ino) {
        ipc_fail(req, -ENOENT, "no such name");
        return;
    }
    drop_name(f, ino);
    ipc_done(req);
}

static void rmdir_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    uint64_t ino = find(f, env->fs_rmdir->parent, &env->fs_rmdir->name);

    for (uint64_t i = 2; ino && i <= f->last; i++)
        if (f->nodes[i].parent == ino) {
            ipc_fail(req, -ENOTEMPTY, "not empty");
            return;
        }
    if (!ino) {
        ipc_fail(req, -ENOENT, "no such name");
        return;
    }
    drop_name(f, ino);
    ipc_done(req);
}

static void rename_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsRename *m = env->fs_rename;
    uint64_t from = find(f, m->parent, &m->name), to = find(f, m->new_parent, &m->new_name);

    if (!from || (to && m->flags)) {
        ipc_fail(req, from ? -EEXIST : -ENOENT, "cannot be renamed");
        return;
    }
    if (to && to != from)
        drop_name(f, to);
    f->nodes[from].parent = m->new_parent;
    (void)snprintf(f->nodes[from].name, sizeof(f->nodes[from].name), "%.*s", (int)m->new_name.len,
                   (const char *)m->new_name.data);
    ipc_done(req);
}

static void statfs_(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsSpace space = LF__FS_SPACE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_SPACE, fs_space, &space);

    (void)env;
    space.block_size = 4096;
    space.blocks = space.blocks_free = 1 << 20;
    space.files = f->last;
    ipc_reply(req, &reply, NULL, 0);
}

static void xattr_get(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsXattrValue value = LF__FS_XATTR_VALUE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_XATTR_VALUE, fs_xattr_value, &value);
    struct fake_node *n = node_or_fail(f, req, env->fs_xattr_get->ino);

    if (n && strcmp(n->xattr, env->fs_xattr_get->name) != 0)
        ipc_fail(req, -ENODATA, "no such attribute");
    else if (n) {
        value.value = (ProtobufCBinaryData){ strlen(n->value), (uint8_t *)n->value };
        ipc_reply(req, &reply, NULL, 0);
    }
}

static void xattr_set(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsXattrSet *m = env->fs_xattr_set;
    struct fake_node *n = node_or_fail(f, req, m->ino);

    if (!n)
        return;
    (void)snprintf(n->xattr, sizeof(n->xattr), "%s", m->name);
    (void)snprintf(n->value, sizeof(n->value), "%.*s", (int)m->value.len, (const char *)m->value.data);
    ipc_done(req);
}

static void xattr_list(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsXattrNames names = LF__FS_XATTR_NAMES__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_XATTR_NAMES, fs_xattr_names, &names);
    struct fake_node *n = node_or_fail(f, req, env->fs_xattr_list->ino);
    char *name = n ? n->xattr : NULL;

    if (!n)
        return;
    names.names = &name;
    names.n_names = name[0] != '\0';
    ipc_reply(req, &reply, NULL, 0);
}

static void done(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    (void)f;
    (void)env;
    ipc_done(req);
}

/* --- mountd's requests ------------------------------------------------------------------------------------ */

static void mount_list(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__Mount mount = LF__MOUNT__INIT, *list = &mount;
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed);

    (void)env;
    f->mountd = ipc_request_peer(req);
    mount.drive_id = (char *)f->drive_id;
    mount.name = (char *)"Test, drive\n";
    mount.mount_point = (char *)f->mount_point;
    mount.read_only = f->read_only;
    listed.mounts = &list;
    listed.n_mounts = f->mount_point != NULL;
    ipc_reply(req, &reply, NULL, 0);
}

static void mount_report(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__MountReport *m = env->mount_report;

    f->reports++;
    f->mounted = m->mounted;
    f->failure = m->failure ? m->failure->code : 0;
    (void)snprintf(f->failure_text, sizeof(f->failure_text), "%s", m->failure ? m->failure->text : "");
    ipc_done(req);
}

static void worker_attach(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__Done msg = LF__DONE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DONE, done, &msg);
    CLEANUP_CLOSE int fd = fake_channel(f);

    (void)env;
    ipc_reply(req, &reply, (const int[]){ fd, f->meter }, 2);
}

static const struct {
    Lf__Envelope__BodyCase body;
    answer_fn *answer;
} answers[] = {
    { LF__ENVELOPE__BODY_MOUNT_LIST, mount_list },
    { LF__ENVELOPE__BODY_MOUNT_REPORT, mount_report },
    { LF__ENVELOPE__BODY_WORKER_ATTACH, worker_attach },
    { LF__ENVELOPE__BODY_FS_LOOKUP, lookup },
    { LF__ENVELOPE__BODY_FS_GETATTR, getattr },
    { LF__ENVELOPE__BODY_FS_SETATTR, setattr },
    { LF__ENVELOPE__BODY_FS_OPENDIR, opendir_ },
    { LF__ENVELOPE__BODY_FS_READDIR, readdir_ },
    { LF__ENVELOPE__BODY_FS_OPEN, open_ },
    { LF__ENVELOPE__BODY_FS_CREATE, create },
    { LF__ENVELOPE__BODY_FS_FETCH, fetch },
    { LF__ENVELOPE__BODY_FS_DIRTY, dirty_ },
    { LF__ENVELOPE__BODY_FS_FLUSH, flush },
    { LF__ENVELOPE__BODY_FS_RELEASE, release },
    { LF__ENVELOPE__BODY_FS_COPY, copy_ },
    { LF__ENVELOPE__BODY_FS_COPY_STOP, copy_stop },
    { LF__ENVELOPE__BODY_FS_MKDIR, mkdir_ },
    { LF__ENVELOPE__BODY_FS_UNLINK, unlink_ },
    { LF__ENVELOPE__BODY_FS_RMDIR, rmdir_ },
    { LF__ENVELOPE__BODY_FS_RENAME, rename_ },
    { LF__ENVELOPE__BODY_FS_MKNOD, mknod_ },
    { LF__ENVELOPE__BODY_FS_SYMLINK, symlink_ },
    { LF__ENVELOPE__BODY_FS_READLINK, readlink_ },
    { LF__ENVELOPE__BODY_FS_STATFS, statfs_ },
    { LF__ENVELOPE__BODY_FS_XATTR_GET, xattr_get },
    { LF__ENVELOPE__BODY_FS_XATTR_SET, xattr_set },
    { LF__ENVELOPE__BODY_FS_XATTR_LIST, xattr_list },
    { LF__ENVELOPE__BODY_FS_XATTR_REMOVE, done },
    { LF__ENVELOPE__BODY_FS_FORGET, done },
};

static void answer(struct fake_syncd *f, struct ipc_request *req, const Lf__Envelope *env)
{
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        if (answers[i].body == env->body_case)
            answers[i].answer(f, req, env);
}

static Lf__Envelope *copy(const Lf__Envelope *env)
{
    size_t n = lf__envelope__get_packed_size(env);
    CLEANUP_FREE uint8_t *packed = xcalloc(1, n);

    (void)lf__envelope__pack(env, packed);
    return lf__envelope__unpack(NULL, n, packed);
}

static void on_request(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fake_syncd *f = arg;

    (void)fds;
    f->asked[env->body_case]++;
    f->origin = env->origin;
    if (f->hold != env->body_case || f->hold == LF__ENVELOPE__BODY__NOT_SET) {
        answer(f, req, env);
    } else if (f->fail) {
        ipc_fail(req, f->fail, "refused by the test");
    } else if (f->n_held < FAKE_HELD_MAX) {
        f->held[f->n_held].req = req;
        f->held[f->n_held++].env = copy(env);
    } else {
        abort();
    }
}

void fake_resume(struct fake_syncd *f)
{
    f->hold = LF__ENVELOPE__BODY__NOT_SET;
    f->fail = 0;
    for (size_t i = 0; i < f->n_held; i++) {
        answer(f, f->held[i].req, f->held[i].env);
        lf__envelope__free_unpacked(f->held[i].env, NULL);
    }
    f->n_held = 0;
}

/* --- life ---------------------------------------------------------------------------------------------------- */

static void on_peer_lost(struct ipc_peer *p, void *arg)
{
    struct fake_syncd *f = arg;

    if (p == f->worker)
        f->worker = NULL;
    if (p == f->mountd)
        f->mountd = NULL;
}

static void start_server(struct fake_syncd *f)
{
    static struct ipc_handler rows[ARRAY_SIZE(answers)];
    static struct ipc_peer_uid peers[1];
    struct ipc_server_spec spec = {
        .role = ROLE_SYNCD, .handlers = rows, .n_handlers = ARRAY_SIZE(rows), .peers = peers, .n_peers = 1,
        .max_connections = 8, .max_queue = 256, .peer_lost = on_peer_lost, .arg = f,
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        rows[i] = (struct ipc_handler){ answers[i].body, on_request };
    peers[0] = (struct ipc_peer_uid){ ROLE_MOUNTD, geteuid() };
    f->server = ipc_server_new(f->loop, &spec);
}

static void make_meter(struct fake_syncd *f)
{
    f->meter = memfd_create("meter", MFD_CLOEXEC);
    if (f->meter < 0 || ftruncate(f->meter, sizeof(*f->counted)) < 0)
        abort();
    f->counted = mmap(NULL, sizeof(*f->counted), PROT_READ, MAP_SHARED, f->meter, 0);
    if (f->counted == MAP_FAILED)
        abort();
}

struct fake_syncd *fake_new(struct loop *l, uint32_t uid, uint32_t gid)
{
    struct fake_syncd *f = xcalloc(1, sizeof(*f));

    f->loop = l;
    f->uid = uid;
    f->gid = gid;
    make_meter(f);
    (void)add_node(f, 0, "", 0, S_IFDIR | 0700);
    start_server(f);
    return f;
}

void fake_listen(struct fake_syncd *f, const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)unlink(path);
    (void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 8) < 0 || ipc_server_listen(f->server, fd) < 0)
        abort();
}

int fake_channel(struct fake_syncd *f)
{
    int fd;

    if (ipc_server_channel(f->server, ROLE_WORKER, f, &f->worker, &fd) < 0)
        abort();
    return fd;
}

static void drop_held(struct fake_syncd *f)
{
    for (size_t i = 0; i < f->n_held; i++) {
        ipc_fail(f->held[i].req, -ECANCELED, "the test ended");
        lf__envelope__free_unpacked(f->held[i].env, NULL);
    }
    f->n_held = 0;
}

void fake_restart(struct fake_syncd *f, const char *path)
{
    ipc_server_free(f->server);
    drop_held(f);
    f->hold = LF__ENVELOPE__BODY__NOT_SET;
    f->worker = f->mountd = NULL;
    for (uint64_t i = 1; i <= f->last; i++)
        f->nodes[i].opens[0] = f->nodes[i].opens[1] = 0;
    start_server(f);
    if (path)
        fake_listen(f, path);
}

void fake_free(struct fake_syncd *f)
{
    ipc_server_free(f->server);
    drop_held(f);
    for (uint64_t i = 1; i <= f->last; i++)
        free_node(&f->nodes[i]);
    (void)munmap(f->counted, sizeof(*f->counted));
    (void)close(f->meter);
    free(f);
}

/* --- events ---------------------------------------------------------------------------------------------------- */

void fake_invalidate(struct fake_syncd *f, uint64_t ino, const char *name, bool data)
{
    Lf__FsInvalidate msg = LF__FS_INVALIDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_INVALIDATE, fs_invalidate, &msg);

    msg.ino = ino;
    msg.data = data;
    msg.has_name = name != NULL;
    if (name)
        msg.name = (ProtobufCBinaryData){ strlen(name), (uint8_t *)name };
    if (!f->worker || ipc_peer_event(f->worker, &env, NULL, 0) < 0)
        abort();
}

void fake_cryptd(struct fake_syncd *f, int fd)
{
    Lf__FsCryptd msg = LF__FS_CRYPTD__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CRYPTD, fs_cryptd, &msg);

    if (!f->worker || ipc_peer_event(f->worker, &env, &fd, 1) < 0)
        abort();
    (void)close(fd);
}

void fake_mounts_changed(struct fake_syncd *f)
{
    Lf__MountsChanged msg = LF__MOUNTS_CHANGED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &msg);

    if (!f->mountd || ipc_peer_event(f->mountd, &env, NULL, 0) < 0)
        abort();
}
