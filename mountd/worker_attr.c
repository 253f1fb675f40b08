/* Attributes as the kernel wants them. */
#include "mountd/worker_internal.h"

enum {
    SETTLED_SECONDS = 3600,   /* syncd says when something changes */
    UNSETTLED_SECONDS = 1,    /* a later look may know better */
    BLOCK_SIZE = CHUNK_SIZE,  /* a good size to read and write in, for st_blksize */
};

static bool later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* A write that went on while syncd answered is in here already. */
static void correct(const struct file *f, struct stat *st)
{
    struct stat contents;

    if (!file_dirty(f) || file_stat(f, &contents) < 0)
        return;
    st->st_size = contents.st_size;
    st->st_blocks = contents.st_blocks;
    if (!file_written_since(f))
        return;
    st->st_mtim = contents.st_mtim;
    if (later(&st->st_mtim, &st->st_ctim))
        st->st_ctim = st->st_mtim;
}

void attr_entry(struct worker *w, const Lf__FsAttr *attr, struct fuse_entry_param *ret)
{
    const struct file *f = S_ISREG(attr->mode) ? file_find(&w->files, attr->ino) : NULL;

    *ret = (struct fuse_entry_param){
        .ino = attr->ino,
        .attr_timeout = attr->settled ? SETTLED_SECONDS : UNSETTLED_SECONDS,
        .entry_timeout = SETTLED_SECONDS,
        .attr = {
            .st_ino = attr->ino, .st_mode = attr->mode, .st_nlink = attr->nlink, .st_uid = attr->uid,
            .st_gid = attr->gid, .st_size = (off_t)attr->size, .st_blocks = (blkcnt_t)attr->blocks,
            .st_blksize = BLOCK_SIZE, .st_mtim = timespec_of(attr->mtime_ns), .st_ctim = timespec_of(attr->ctime_ns),
            .st_atim = timespec_of(attr->atime_ns),
        },
    };
    if (f)
        correct(f, &ret->attr);
    if (attr->nlink == 0)
        file_touch(&w->files, attr->ino);   /* an orphan: syncd waits for its end */
}
