/* The table of files that are open: by inode number the cache file, its chunk map, and who has it
 * open. Knows neither FUSE nor the messages; common/chunk_map.h has the rules of the map. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/chunk_map.h"
#include "common/map_guard.h"
#include "common/sealed.h"
#include "mountd/worker_turn.h"

enum file_kind { FILE_READ, FILE_WRITE, FILE_KINDS };

struct file {
    uint64_t ino;
    int fd;                         /* the cache file */
    bool writable;                  /* held[FILE_WRITE] was */
    bool is_sealed;                 /* it is one of common/sealed.h */
    struct chunk_map *map;
    struct map_guard guard;
    unsigned exchanged;             /* how often another cache file or map took the place of the one before */
    struct sealed sealed;           /* fd and map once more */
    struct turns turns;             /* changes of a sealed one */
    struct kept_chunk *kept;        /* worker_kept.c's; NULL: none */
    struct push *push;              /* worker_push.c's; NULL: none */
    uint64_t read_end, read_size;   /* worker_sealed.c's: of the last read, the end, and the size if it began at that of
                                       the one before it; else 0 */
    uint32_t jumps, jumps_needed;   /* how many did not; and have to, for worker_push.c */
    unsigned handles[FILE_KINDS];   /* of the kernel, as far as this worker was told */
    bool held[FILE_KINDS];          /* open at syncd, one FsRelease owed for each */
    unsigned users;                 /* operations at work on it */
    struct timespec seen;           /* worker_mode.c's: time of the last change it knows of, while it may be mapped */
    uint64_t flushed_seq;           /* write_seq that syncd was told of by FsFlush; UINT64_MAX: none yet */
};

struct file_table {
    void *root;                     /* tsearch(3) tree of struct file */
    void *touched;                  /* tsearch(3) tree of inode numbers that were open here */
    size_t n;
};

/* NULL when it is not open. */
struct file *file_find(struct file_table *t, uint64_t ino);

/* What an FsOpen or FsCreate was answered. */
struct file_opened {
    enum file_kind kind;
    bool is_sealed;
    int *fds;                       /* two: cache file (a sealed one for reading and writing), and map */
};

/* Puts it into the table and sets held[kind]. Takes the descriptors over by setting their places to -1, also on
 * failure. 0; *ret; *ret_surplus says that the kind was held already, so that the caller owes one FsRelease at once.
 * -EBADF when they are no cache file and map of this inode, or another negative errno. */
int file_install(struct file_table *t, uint64_t ino, const struct file_opened *opened, struct file **ret,
                 bool *ret_surplus);

/* While an operation works on it, it stays in the table. Unusing may free it. */
void file_use(struct file *f);
void file_unuse(struct file_table *t, struct file *f);

/* The kernel closed a handle of that kind. True with *ret_kind when that ends an open at syncd: one FsRelease is owed.
 * May free the file. */
bool file_close(struct file_table *t, struct file *f, enum file_kind kind, enum file_kind *ret_kind);

/* The kernel forgot the inode. True when it was open here at any time: it may be an orphan that syncd keeps. */
bool file_forget(struct file_table *t, uint64_t ino);
/* Remembers an inode for file_forget(). */
void file_touch(struct file_table *t, uint64_t ino);

/* Calls fn for every open file; fn must not change the table. */
void file_each(struct file_table *t, void (*fn)(struct file *f, void *arg), void *arg);

/* Closes everything. */
void file_table_done(struct file_table *t);

/* Size, blocks and time of the last change as far as they are known here: stat(2) of a plain cache file; of a sealed
 * one what the map says. 0 or negative errno. */
int file_stat(const struct file *f, struct stat *ret);

/* The logical size. 0; -EAGAIN while it is not known (the cloud has another version: FsFetch brings it), or another
 * negative errno. */
int file_size(const struct file *f, off_t *ret);

/* Whether it has writes that the cloud has not, by its map. */
bool file_dirty(const struct file *f);
/* Whether the last write is later than the time that syncd's index has. */
bool file_written_since(const struct file *f);
