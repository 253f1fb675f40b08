/* The parts of a volume, as they see each other. Only files of the volume include this:
 *
 *   volume.c      opens, closes, pauses; struct volume; the table of file system handlers
 *   fs_names.c    names and attributes: lookup, getattr, setattr, readdir, mkdir, unlink, rename, xattrs ...
 *   fs_data.c     contents: open, create, fetch, dirty, flush, release
 *   listing.c     brings directories from the cloud into the index
 *   cache.c       cache files and their maps
 *   fetch.c       absent chunks from the cloud; many waiters, one download
 *   upload.c      brings the cloud to what the index says
 *   stream.c      an object as a pipe, for the API
 *   store_index.c the index
 */
#pragma once

#include "syncd/store_index.h"
#include "syncd/volume.h"

struct cache;
struct uploader;
struct lister;

struct volume {
    struct loop *loop;
    const struct config *config;
    struct cloud *cloud;             /* borrowed */
    struct volume_spec spec;         /* drive points to our own copy */
    Lf__CloudDrive *drive;           /* owned */
    char *bucket, *prefix;           /* prefix "" or ending in '/' */
    char *cache_dir;
    bool paused, read_only;
    struct index *index;
    struct cache *cache;
    struct uploader *uploader;
    struct lister *lister;
    struct volume_peer {             /* workers attached */
        struct volume_peer *next;
        struct ipc_peer *peer;
    } *peers;
};

/* Attributes for the worker: the inode's, with size and mtime of its cache file while it is dirty. */
void volume_attr(struct volume *v, const struct index_inode *i, Lf__FsAttr *ret);
/* Tells all workers. name NULL: the inode itself. */
void volume_invalidate(struct volume *v, uint64_t ino, const void *name, size_t len, bool data);
/* Prefix + key, owned by the caller. */
char *volume_full_key(struct volume *v, const char *key);
/* EROFS when the drive is read-only or paused, else 0. */
int volume_writable(struct volume *v);

/* A mutating handler's frame: answers a repeated request from the store and returns false; else begins a
 * transaction and returns true. fs_commit() stores the reply, commits and answers; fs_abort() rolls back
 * and fails the request. */
bool fs_begin(struct volume *v, struct ipc_request *req);
void fs_commit(struct volume *v, struct ipc_request *req, Lf__Envelope *reply, const int *fds, size_t n);
void fs_abort(struct volume *v, struct ipc_request *req, int code);

/* --- listing.c -------------------------------------------------------------------------------- */
int lister_new(struct volume *v, struct lister **ret);
void lister_free(struct lister *l);
/* done(0) once the directory's listing is in the index and no older than the sync interval (at once if it is;
 * a stale one is given 2 s, then what is known serves); a failure only when it was never listed. Coalesces. */
void lister_ensure(struct lister *l, uint64_t dir, void (*done)(const struct error *e, void *arg), void *arg);
/* done(0) once everything below the directory is in the index. */
void lister_ensure_tree(struct lister *l, uint64_t dir, void (*done)(const struct error *e, void *arg), void *arg);
/* done(0) once the metadata of the inode is settled (a HEAD when a listing left it open). */
void lister_settle(struct lister *l, uint64_t ino, void (*done)(const struct error *e, void *arg), void *arg);

/* --- cache.c ------------------------------------------------------------------------------------ */
int cache_new(struct volume *v, struct cache **ret, struct error *e);
void cache_free(struct cache *c);
/* Size and mtime of the inode's cache file, when it has one that is dirty; -ENOENT else. */
int cache_stat(struct cache *c, uint64_t ino, uint64_t *ret_size, int64_t *ret_mtime_ns, uint64_t *ret_blocks);
/* Sets the logical size, inside a transaction of the caller: marks i dirty (pending, generation) and
 * truncates the cache file. 0 or negative errno. */
int cache_truncate(struct cache *c, struct index_inode *i, uint64_t size);
/* The inode is gone for good (removed from the index): its cache file goes. */
void cache_drop(struct cache *c, uint64_t ino);
/* The cloud has a newer version of a clean inode: cached bytes are stale. Inodes that are dirty or open for writing
 * are left alone and -EBUSY is returned. */
int cache_outdated(struct cache *c, uint64_t ino);
bool cache_is_open(struct cache *c, uint64_t ino);

/* --- upload.c ----------------------------------------------------------------------------------- */
int uploader_new(struct volume *v, struct uploader **ret);
void uploader_free(struct uploader *u);
/* Something became pending or due: look again soon. */
void uploader_kick(struct uploader *u);
/* Whether the inode is being uploaded right now. */
bool uploader_busy(struct uploader *u, uint64_t ino);
