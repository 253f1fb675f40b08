/* Keeps the table. Every number and descriptor in it came from syncd and is checked when it comes:
 * a map that is none would be read as one for as long as the file is open. */
#include "mountd/worker_file.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/timespec.h"

/* fstat(2) itself: glibc's goes through newfstatat(2), which takes paths and is not for a worker. */
static int stat_descriptor(int fd, struct stat *ret)
{
    return syscall(SYS_fstat, fd, ret) < 0 ? -errno : 0;
}

/* Both trees are ordered by the number that their nodes begin with. */
static int by_ino(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void *insert(void *node, void **root)
{
    void *found = tsearch(node, root, by_ino);

    if (!found)
        abort();
    return *(void **)found;
}

struct file *file_find(struct file_table *t, uint64_t ino)
{
    void *found = tfind(&ino, &t->root, by_ino);

    return found ? *(struct file **)found : NULL;
}

static struct file *file_new(struct file_table *t, uint64_t ino)
{
    struct file *f = xcalloc(1, sizeof(*f));

    *f = (struct file){ .ino = ino, .fd = -1, .flushed_seq = UINT64_MAX };
    TAILQ_INIT(&f->turns);
    (void)insert(f, &t->root);
    file_touch(t, ino);
    t->n++;
    return f;
}

static void release_contents(struct file *f)
{
    cleanup_close(&f->fd);
    f->fd = -1;
    map_guard_remove(&f->guard);
    if (f->map)
        (void)munmap(f->map, CHUNK_MAP_SIZE);
    f->map = NULL;
}

static void file_free(void *arg)
{
    release_contents(arg);
    free(arg);
}

/* Nobody has it open and nobody works on it. */
static void drop_if_idle(struct file_table *t, struct file *f)
{
    if (f->users > 0 || f->held[FILE_READ] || f->held[FILE_WRITE])
        return;
    (void)tdelete(f, &t->root, by_ino);
    t->n--;
    file_free(f);
}

/* --- what syncd hands over ------------------------------------------------------------------------ */

/* Nothing is here, nothing may be written, and what is being read now is not what it should be: so syncd would have to
 * be asked, and for that it is opened anew. */
static void map_lost(void *at)
{
    struct chunk_map *m = at;

    atomic_store(&m->fetchable, CHUNK_FILE_MAX);
    atomic_store(&m->lost_seq, UINT64_MAX);
}

static bool is_map_of(struct chunk_map *m, uint64_t ino)
{
    struct map_guard guard;
    bool is;

    map_guard_add(&guard, m, CHUNK_MAP_SIZE, map_lost);
    is = m->magic == CHUNK_MAP_MAGIC && m->chunk_shift == CHUNK_SHIFT && m->ino == ino;
    map_guard_remove(&guard);
    return is;
}

static int map_open(int fd, uint64_t ino, struct chunk_map **ret)
{
    struct stat st;
    struct chunk_map *m;
    int r = stat_descriptor(fd, &st);

    if (r < 0)
        return r;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < CHUNK_MAP_SIZE)
        return -EBADF;
    m = mmap(NULL, CHUNK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        return -errno;
    (void)madvise(m, CHUNK_MAP_SIZE, MADV_RANDOM);   /* else the first touch reads megabytes of hole ahead */
    if (!is_map_of(m, ino)) {
        (void)munmap(m, CHUNK_MAP_SIZE);
        return -EBADF;
    }
    *ret = m;
    return 0;
}

static int check_contents(const struct file_opened *opened, struct stat *ret)
{
    int flags = fcntl(opened->fds[0], F_GETFL), r = stat_descriptor(opened->fds[0], ret);
    bool both = opened->kind == FILE_WRITE || opened->is_sealed;

    if (flags < 0 || r < 0)
        return r < 0 ? r : -errno;
    if (!S_ISREG(ret->st_mode) || (both && (flags & O_ACCMODE) != O_RDWR))
        return -EBADF;
    return 0;
}

static bool same_contents(const struct file *f, const struct file_opened *opened, const struct stat *st)
{
    struct stat have;

    return f->fd >= 0 && !f->guard.is_lost && f->is_sealed == opened->is_sealed &&
           stat_descriptor(f->fd, &have) == 0 && have.st_ino == st->st_ino && have.st_dev == st->st_dev;
}

/* The map is kept when the contents are the same. */
static int take_map(struct file *f, const struct file_opened *opened)
{
    struct chunk_map *map = NULL;
    int r = map_open(opened->fds[1], f->ino, &map);

    if (r < 0)
        return r;
    release_contents(f);
    f->map = map;
    map_guard_add(&f->guard, map, CHUNK_MAP_SIZE, map_lost);
    f->is_sealed = opened->is_sealed;
    f->writable = false;
    f->exchanged++;
    return 0;
}

/* The descriptor is kept when it is as good as the other. */
static int take_contents(struct file *f, const struct file_opened *opened)
{
    struct stat st;
    int r = check_contents(opened, &st);

    if (r < 0)
        return r;
    if (!same_contents(f, opened, &st))
        r = take_map(f, opened);
    else if (f->writable || opened->kind == FILE_READ)
        return 0;
    if (r < 0)
        return r;
    cleanup_close(&f->fd);
    f->fd = take_fd(&opened->fds[0]);
    f->writable = opened->kind == FILE_WRITE;
    f->seen = st.st_mtim;   /* before anybody can write */
    f->sealed = (struct sealed){ .fd = f->fd, .map = f->map };
    return 0;
}

int file_install(struct file_table *t, uint64_t ino, const struct file_opened *opened, struct file **ret,
                 bool *ret_surplus)
{
    CLEANUP_CLOSE int contents = take_fd(&opened->fds[0]), map = take_fd(&opened->fds[1]);
    struct file *f = file_find(t, ino);
    int own[2] = { contents, map }, r;

    if (!f)
        f = file_new(t, ino);
    r = take_contents(f, &(struct file_opened){ opened->kind, opened->is_sealed, own });
    contents = own[0];
    if (r < 0) {
        drop_if_idle(t, f);
        return r;
    }
    *ret_surplus = f->held[opened->kind];
    f->held[opened->kind] = true;
    if (opened->kind == FILE_WRITE)
        f->flushed_seq = UINT64_MAX;
    *ret = f;
    return 0;
}

/* --- who has it --------------------------------------------------------------------------------------- */

void file_use(struct file *f)
{
    f->users++;
}

void file_unuse(struct file_table *t, struct file *f)
{
    f->users--;
    drop_if_idle(t, f);
}

/* A handle from before this worker, or opened in another way than it was made, is counted where there is
 * one: closing too early costs an FsOpen, closing too late would never end. */
static enum file_kind counted_kind(const struct file *f, enum file_kind kind)
{
    enum file_kind other = kind == FILE_READ ? FILE_WRITE : FILE_READ;

    return f->handles[kind] == 0 && f->handles[other] > 0 ? other : kind;
}

bool file_close(struct file_table *t, struct file *f, enum file_kind kind, enum file_kind *ret_kind)
{
    enum file_kind k = counted_kind(f, kind);
    bool owed;

    if (f->handles[k] > 0)
        f->handles[k]--;
    owed = f->handles[k] == 0 && f->held[k];
    if (owed)
        f->held[k] = false;
    *ret_kind = k;
    drop_if_idle(t, f);
    return owed;
}

void file_touch(struct file_table *t, uint64_t ino)
{
    uint64_t *node;

    if (tfind(&ino, &t->touched, by_ino))
        return;
    node = xcalloc(1, sizeof(*node));
    *node = ino;
    (void)insert(node, &t->touched);
}

bool file_forget(struct file_table *t, uint64_t ino)
{
    void *found = tfind(&ino, &t->touched, by_ino);
    uint64_t *node;

    if (!found || file_find(t, ino))
        return found != NULL;
    node = *(uint64_t **)found;
    (void)tdelete(node, &t->touched, by_ino);
    free(node);
    return true;
}

struct walk {
    void (*fn)(struct file *f, void *arg);
    void *arg;
};

static void visit(const void *node, VISIT which, void *arg)
{
    const struct walk *w = arg;

    if (which == postorder || which == leaf)
        w->fn(*(struct file *const *)node, w->arg);
}

void file_each(struct file_table *t, void (*fn)(struct file *f, void *arg), void *arg)
{
    struct walk w = { fn, arg };

    twalk_r(t->root, visit, &w);
}

void file_table_done(struct file_table *t)
{
    tdestroy(t->root, file_free);
    tdestroy(t->touched, free);
    *t = (struct file_table){ 0 };
}

/* How many blocks it has on the disk says nothing of what is in it, but that there is something. */
static void stat_map(const struct chunk_map *m, struct stat *ret)
{
    enum { BLOCK = 512 };   /* as stat(2) has it */
    uint64_t size = atomic_load(&m->size);

    *ret = (struct stat){
        .st_size = (off_t)size, .st_blocks = (blkcnt_t)((size + BLOCK - 1) / BLOCK),
        .st_mtim = timespec_of(atomic_load(&m->written_ns)),
    };
}

int file_stat(const struct file *f, struct stat *ret)
{
    if (!f->is_sealed)
        return stat_descriptor(f->fd, ret);
    stat_map(f->map, ret);
    return 0;
}

int file_size(const struct file *f, off_t *ret)
{
    struct stat st;
    int r = file_stat(f, &st);

    if (r < 0)
        return r;
    *ret = st.st_size;
    return atomic_load(&f->map->fetchable) > (uint64_t)st.st_size ? -EAGAIN : 0;
}

bool file_dirty(const struct file *f)
{
    return atomic_load(&f->map->state) == CHUNK_MAP_DIRTY;
}

bool file_written_since(const struct file *f)
{
    return atomic_load(&f->map->write_seq) != f->map->mtime_seq;
}
