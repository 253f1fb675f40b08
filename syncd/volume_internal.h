/* The parts of a volume, as they see each other. Only files of the volume include this:
 *
 *   volume.c      opens, closes, pauses; struct volume; the table of file system handlers
 *   fs.c          what all handlers share: waiting for listings, transactions, repeated requests
 *   fs_link.c     making and taking away names
 *   fs_names.c    lookup, opendir, readdir, mkdir, mknod, symlink, unlink, rmdir, forget
 *   fs_attr.c     getattr, setattr, readlink; fs_statfs.c: statfs
 *   fs_rename.c, fs_xattr.c
 *   fs_data.c     contents: open, create, fetch, dirty, release; fs_sync.c: flush and fsync
 *   fs_mark.c     the index says so before what is the cloud's is written over
 *   fs_copy.c     contents of one file that the cloud makes another one of
 *   listing.c     brings directories from the cloud into the index; listing_merge.c: one page, one directory;
 *                 listing_settle.c: metadata that listings lack; listing_probe.c: whether the cloud is back;
 *                 listing_sync.c: all of it at once
 *   volume_api.c  paths and objects for the API; volume_events.c: what workers are told;
 *                 volume_purge.c: orphans and directories that are gone; volume_samples.c: numbers for /metrics
 *   waits.c       what stands between an object and the cloud; explain.c: all there is to say about one; await.c: who
 *                 waits for one
 *   show.c        what the API's listeners are told
 *   tally.c       what is counted; reach.c: whether the cloud answers
 *   cache.c       cache files and their maps
 *   cache_space.c, cache_use.c, evict.c  how much of the disk it takes
 *   pin.c         what is to be there always; offline.c: the same and its end, for the API
 *   download.c    what is fetched once because somebody said so; delete.c: what the API deletes
 *   fetch*.c      absent chunks from the cloud; many waiters, one download
 *   scan.c        files and listings before anybody asks for them; scan_order.c: which comes next
 *   upload*.c     brings the cloud to what the index says
 *   mover.c       what a renamed directory takes along
 *   encrypt.c     what is to be encrypted though the cloud has it; encrypt_ask.c: who asks for it
 *   conflict.c    both versions of a file that two sides changed
 *   stream.c      an object as a pipe, for the API
 *   store_index.c the index
 */
#pragma once

#include <sys/queue.h>

#include "syncd/show.h"
#include "syncd/store_index.h"
#include "syncd/volume.h"

struct cache_file;
struct cache;
struct uploader;
struct lister;
struct stream;
struct keeper;
struct scanner;
struct capacity;
struct mover;
struct tally;
struct anchors;
struct encrypter;

struct volume {
    struct loop *loop;
    const struct config *config;
    struct cloud *cloud;             /* borrowed */
    struct keys *keys;               /* borrowed; NULL: none */
    struct volume_spec spec;         /* drive points to our own copy */
    Lf__CloudDrive *drive;           /* owned */
    char *bucket, *prefix;           /* prefix "" or ending in '/' */
    char *cache_dir;
    bool paused, read_only;
    bool etags_match, etags_unlike;  /* fetch_check.c's: an object's ETag was its MD5; they seem to be something else */
    struct fetch_bad *bad;           /* fetch_object.c's: what did not open a moment ago; NULL: all did */
    struct object_corrections *corrections;   /* object.c's; NULL: none */
    bool told_paused;                /* the log has it, since the pause began, that something could not be listed */
    struct index *index;
    struct cache *cache;
    struct uploader *uploader;
    struct lister *lister;
    struct keeper *keeper;           /* pin.c's */
    struct scanner *scanner;         /* scan.c's */
    struct capacity *capacity;       /* fs_statfs.c's */
    struct mover *mover;
    struct encrypter *encrypter;     /* encrypt.c's */
    LIST_HEAD(, encrypt_wait) encrypt_waits;   /* encrypt_ask.c's */
    struct tally *tally;             /* held */
    struct anchors *anchors;         /* NULL: a drive without keys */
    struct stream *streams;          /* stream.c's */
    LIST_HEAD(, marking) markings;   /* fs_mark.c's */
    LIST_HEAD(, copying) copies;     /* fs_copy.c's */
    LIST_HEAD(, release) releases;   /* offline.c's */
    LIST_HEAD(, fetch_turns) fetching;  /* fetch_turns.c's */
    TAILQ_HEAD(, download) downloads;   /* download.c's, as they were asked for */
    LIST_HEAD(, deletion) deletions;    /* delete.c's */
    struct sync_pass *pass;          /* listing_sync.c's; NULL: none is under way */
    LIST_HEAD(, await) awaits;       /* await.c's, as the next two */
    struct loop_timer *await_timer;
    uint64_t await_pause_ms;
    struct volume_peer {             /* workers attached */
        struct volume_peer *next;
        struct ipc_peer *peer;
    } *peers;
    struct loop_timer *purge;        /* of orphans: to come or under way */
    uint64_t purged_up_to;           /* where it goes on */
    uint64_t *dismantle;             /* directories to be taken apart, a stack */
    size_t n_dismantle;
    struct loop_timer *dismantling;
    struct show_removal *removals;   /* show.c's: to be told when the transaction has ended */
    size_t n_removals;
    STAILQ_HEAD(volume_events, volume_event) events, told;  /* to be sent; sent lately */
    size_t n_events, n_told;
    uint64_t mount_tag;              /* of the mount that the last worker attached for; 0: none did yet */
    bool mounted;                    /* a worker was attached: a kernel may believe what it was told */
    struct loop_timer *events_timer;
    unsigned events_sent;            /* since it was set */
};

/* Attributes for the worker: the inode's, with size and mtime of its cache file while it is dirty. */
void volume_attr(struct volume *v, const struct index_inode *i, Lf__FsAttr *ret);
/* Tells all workers, soon, and again the next one when a worker goes within ReadDeadlineSeconds and 15 s more: it may
 * not have handed it on. name NULL: the inode itself, of which the attributes changed; or those and the bytes; or it is
 * another version altogether. */
enum volume_change { CHANGED_ATTRIBUTES, CHANGED_DATA, CHANGED_VERSION };
void volume_invalidate(struct volume *v, uint64_t ino, const void *name, size_t len, enum volume_change what);
/* A worker is there: sends what was kept. One has gone: what it was told lately is to be told again. */
void volume_events_flush(struct volume *v);
void volume_events_lost(struct volume *v);
void volume_events_free(struct volume *v);
/* Submits a request to the drive's cloud that counts as the drive's. */
struct cloud_request;
void volume_submit(struct volume *v, struct cloud_request *r);
/* Prefix + key, owned by the caller. */
char *volume_full_key(struct volume *v, const char *key);

/* --- volume_purge.c ------------------------------------------------------------------------------ */

/* The orphans that nobody has open are removed: now, or when a new worker has had the time to open again what
 * the kernel still holds. */
void volume_purge(struct volume *v);
void volume_purge_later(struct volume *v);
/* The directory, an orphan, and all below it are removed, bit by bit; what is open below becomes an orphan. */
void volume_dismantle(struct volume *v, uint64_t dir);
void volume_purge_free(struct volume *v);

/* The last directory that the path leads through, as far as the index knows it. */
uint64_t volume_find_directory(struct volume *v, const char *path);

/* EROFS when the drive is read-only or paused, else 0. */
int volume_writable(struct volume *v);

/* --- fs.c ---------------------------------------------------------------------------------------- */

/* The volume a request is for. For handlers, while they run. */
struct volume *fs_volume(struct ipc_request *req);
/* Fails the request with the sentence of the code. */
void fs_fail(struct ipc_request *req, int code);
/* The inode that a request is about. -ESTALE when it is gone, which makes the kernel look the name up again: another
 * version of the cloud has another number. */
int fs_inode(struct volume *v, uint64_t ino, struct index_inode *ret);
/* The same for a request that changes it: -ESTALE as well when it is only read on, because another version has its
 * name. */
int fs_inode_to_change(struct volume *v, uint64_t ino, struct index_inode *ret);

/* Runs step(v, req, env) once the listing of `dir` has been in the index at least once: at once if so,
 * else later with a copy of `env`, or fails the request. */
typedef void fs_step_fn(struct volume *v, struct ipc_request *req, const Lf__Envelope *env);
void fs_when_known(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t dir, fs_step_fn *step);
/* The same once the listing is as lister_ensure() has it; the metadata of `ino` as lister_settle() has it, or
 * cannot be had. */
void fs_when_fresh(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t dir, fs_step_fn *step);
void fs_when_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino,
                     fs_step_fn *step);
bool fs_settled(struct volume *v, uint64_t ino);   /* it would not wait */
/* The same for a change, which waits for as long as the cloud may still answer. Bytes and times can be changed of what
 * is not settled even so (the upload asks for the rest); `attributes`, which can not be told from those of a listing,
 * only when they are known: else the request fails. */
void fs_when_changeable(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino,
                        bool attributes, fs_step_fn *step);
/* Runs it once a cache file can be made: for one that is sealed there must be a key. Whoever waits for something else
 * after that looks once more. */
bool fs_lacks_keys(struct volume *v);
void fs_when_keys(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, fs_step_fn *step);
/* Runs it once the file can get that size: a sealed one that grows must have nothing beyond its end; if it had, `again`
 * runs, which looks once more. And once it was cut, and has nothing there any more, if that can be done. */
void fs_when_trimmed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, uint64_t size,
                     fs_step_fn *again, fs_step_fn *step);
void fs_when_cut(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step);
/* Runs it once it is known that the file's version is not older than what other agents of the drive have told of; else
 * fails with -EIO. */
void fs_when_told(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step);
/* The same for who reads otherwise: whether there is something to wait for; and done(e, arg) once, at once or later: 0,
 * -EREMCHG with what is to be done, or -ECANCELED. The inode may be gone by then. */
bool told_lacks(struct volume *v, uint64_t ino);
void told_await(struct volume *v, uint64_t ino, void (*done)(const struct error *e, void *arg), void *arg);
/* The same once the cache has room for `bytes` that stay, for a moment at least: by then nothing is promised. */
void fs_when_room(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t bytes, fs_step_fn *step);
/* The same once the index says durably that the content of the file is not the cloud's any more, where bytes of
 * the cloud's may be written over in place, and that what lies at and above `keep` may go; else at once. */
void fs_when_marked(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, uint64_t keep,
                    fs_step_fn *step);
void fs_marks_end(struct volume *v);
/* Such a wait, for who knows its end: fs_wait_end() runs the step, or fails the request with *e. */
struct fs_wait;
struct fs_wait *fs_wait_begin(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, fs_step_fn *step);
void fs_wait_end(struct fs_wait *w, const struct error *e);
/* The same once the cloud said that it has the version of `f`, or for 2 s said nothing. When it has another one
 * the request fails with -ESTALE, and the inode has that version unless it is open elsewhere (entry_take_over()).
 * To be read it is asked for the first bytes, which will be wanted, if they are not here. `f` is given back. */
void fs_when_confirmed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, struct cache_file *f,
                       bool read, fs_step_fn *step);

/* The same once the first bytes of `f` are here, or cannot be had within 2 s. `f` is given back. */
void fs_when_fetched(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, struct cache_file *f,
                     fs_step_fn *step);

/* A mutating handler's frame: answers a repeated request from the store and returns false, fails it when the volume
 * is not writable and returns false; else begins a transaction and returns true. fs_commit() stores the reply
 * (the packed envelope), commits and answers; when the commit fails it fails the request and returns false.
 * fs_abort() rolls back and fails the request. */
bool fs_begin(struct volume *v, struct ipc_request *req);
bool fs_commit(struct volume *v, struct ipc_request *req, Lf__Envelope *reply, const int *fds, size_t n);
void fs_abort(struct volume *v, struct ipc_request *req, int code);
/* fs_commit() with FsEntry or Done when r is 0, else fs_abort(); then the uploader looks for work. */
bool fs_end_entry(struct volume *v, struct ipc_request *req, int r, const struct index_inode *i);
bool fs_end_done(struct volume *v, struct ipc_request *req, int r);
/* fs_end_entry() without the answer, which fs_begin() gives when it is called for the request once more. */
bool fs_keep_entry(struct volume *v, struct ipc_request *req, int r, const struct index_inode *i);
/* The stored reply of a repeated request: 0 and *ret (owned), or -ENOENT: it is new. For replies that carry
 * descriptors, which fs_begin() cannot give again. */
int fs_replay(struct volume *v, struct ipc_request *req, Lf__Envelope **ret);
/* Stores it, in a transaction of the caller. */
int fs_store_reply(struct volume *v, const struct ipc_identity *who, const Lf__Envelope *reply);
/* Answers FsEntry, no transaction. */
void fs_reply_entry(struct volume *v, struct ipc_request *req, const struct index_inode *i);

/* What a symlink's target or the extended attributes may weigh as metadata of an object, whose total is small (S3:
 * 2 KiB): what could never be uploaded is refused. */
enum { FS_META_MAX_BYTES = 1600 };

/* The longest name, and the longest key with the drive's prefix. */
enum { FS_NAME_MAX_BYTES = 255, FS_KEY_MAX_BYTES = 1024 };

/* --- fs_xattr.c -------------------------------------------------------------------------------------- */

/* Whether an extended attribute of that name is kept for programs and other clients: one of user.*, none of ours. */
bool fs_xattr_storable(const char *name);

/* --- fs_link.c: what is done with names, inside a transaction of the caller ------------------------ */

/* Whether a name may be made in `parent`, whose key must leave room for it; *ret_key, owned by the caller, is its
 * component of the key. `known` as for name_to_key(). 0, -EINVAL (also: a name that denotes no key, or that of an
 * object beside a directory that is not there, or where the cloud has no room for both), -EILSEQ, -ENAMETOOLONG,
 * -ENOENT (no such parent), -ENOTDIR, or as cloud_check_key(). */
int fs_check_name(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, bool is_directory,
                  const char *known, char **ret_key);
/* Whether a file and a directory may have the same component: the cloud has no folders. */
bool fs_both_have_room(struct volume *v);
/* Whether a directory in `parent` has the component as its name. */
bool fs_is_directory(struct volume *v, uint64_t parent, const char *component);
/* A name is a directory's before it is a file's of the same component of the key: the file steps aside, to the name of
 * an object beside a directory, before that gets the name; and back when there is no such directory any more. Nothing
 * changes for the cloud. 0, also when there is no such file, or a negative errno. */
int fs_step_aside(struct volume *v, uint64_t parent, const char *component);
int fs_step_back(struct volume *v, uint64_t parent, const char *component);
/* Puts a new inode under a name. `i` comes with mode, uid, gid and target (owned by i) and is filled with the rest:
 * number, times, pending INDEX_CONTENT. 0, -EEXIST, as fs_check_name(), or another negative errno. */
int fs_link_new(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, struct index_inode *i);
/* Takes the inode out of its directory for good: buries the cloud's version, removes the inode or, when it is open,
 * makes it an orphan. *ret_gone: removed, and after the commit its cache file can go. Call show_removals() after the
 * transaction. */
int fs_unlink_inode(struct volume *v, const struct index_inode *i, bool *ret_gone);
/* A directory that something was taken from: its times, and a marker if it would vanish from the cloud. */
int fs_left(struct volume *v, uint64_t parent);
/* Metadata of i changed: sets what is pending, generation and ctime. */
void fs_mark_meta(struct index_inode *i);
/* Removes the inode if it is an orphan that nobody has open. No transaction of the caller. */
void fs_purge(struct volume *v, uint64_t ino);

/* --- rows of volume_fs_handlers -------------------------------------------------------------------- */

ipc_handler_fn fs_lookup, fs_opendir, fs_readdir, fs_mkdir, fs_mknod, fs_symlink, fs_unlink, fs_rmdir, fs_forget,
    fs_getattr, fs_setattr, fs_readlink, fs_statfs, fs_rename, fs_xattr_get, fs_xattr_set, fs_xattr_list,
    fs_xattr_remove;
ipc_handler_fn fs_open, fs_create, fs_fetch, fs_dirty, fs_flush, fs_release; /* fs_data.c, fs_sync.c */
ipc_handler_fn fs_copy, fs_copy_stop;   /* fs_copy.c */
/* A change in the cloud has ended: perhaps it stood in a copy's way. All of them end. */
void fs_copies_go_on(struct volume *v);
void fs_copies_end(struct volume *v);
/* The worker is gone: what it had open is closed, what it wrote is queued. fs_data.c */
void fs_data_lost(struct volume *v, struct ipc_peer *p);

/* --- fs_statfs.c ------------------------------------------------------------------------------ */
void capacity_new(struct volume *v);
/* Who waits is answered. */
void capacity_free(struct volume *v);

/* --- listing.c -------------------------------------------------------------------------------- */
int lister_new(struct volume *v, struct lister **ret);
void lister_free(struct lister *l);
/* Somebody waited in vain for an answer, whatever for; somebody got one. */
void lister_failed(struct lister *l);
void lister_answered(struct lister *l);
/* Whether nobody is to be kept waiting where what is known serves as well, for a listing that is due, for metadata,
 * for a version to be confirmed: the cloud is out of reach or silent (reach.h), or for 10 s after the one or until the
 * other of the above. */
bool lister_failing(struct lister *l);
/* The same without silence that has not lasted yet: for whom what is known does not serve as well. */
bool lister_failed_lately(struct lister *l);
/* done(0) once the directory's listing is in the index and no older than the sync interval (at once if it is, or the
 * cloud is out of reach; else a stale one is given 2 s, or less when the cloud falls silent; then what is known
 * serves); a failure only when it was never listed. Coalesces. One that nobody waited for replaces the stale one when
 * it comes. */
void lister_ensure(struct lister *l, uint64_t dir, void (*done)(const struct error *e, void *arg), void *arg);
/* done(0) once the directory's listing, however young, was taken into the index anew, or a failure. One that is under
 * way will do: index_inode's listed_ns says when it began. */
void lister_anew(struct lister *l, uint64_t dir, void (*done)(const struct error *e, void *arg), void *arg);
/* Whether the directory's listing was complete once; then it serves for making names in it. */
bool lister_known(struct lister *l, uint64_t dir);
/* Whether it is no older than the sync interval: lister_ensure() would not wait. */
bool lister_fresh(struct lister *l, uint64_t dir);
/* done(0) once everything below the directory is in the index. */
void lister_ensure_tree(struct lister *l, uint64_t dir, void (*done)(const struct error *e, void *arg), void *arg);
/* done(0) once the metadata of the inode is settled (a HEAD of at most 2 s when a listing left it open). */
void lister_settle(struct lister *l, uint64_t ino, void (*done)(const struct error *e, void *arg), void *arg);
/* The same for somebody who is about to change it: a silent cloud has its time. */
void lister_settle_to_change(struct lister *l, uint64_t ino, void (*done)(const struct error *e, void *arg), void *arg);
/* The inode is not in the cloud any more, it seems: its directory is listed anew. */
void lister_recheck(struct lister *l, uint64_t ino);
/* Settles it behind the others; when it turns out that the attributes are not what the index said, the workers are
 * told. When too many wait already nothing happens. */
void lister_settle_later(struct lister *l, uint64_t ino);
/* Somebody waits for content, and will perhaps for more: those behind the others wait a little. */
void lister_yield(struct lister *l);
/* A GET has told it for nothing: the object at `key`, relative to the drive. Not inside a transaction. */
void lister_learned(struct lister *l, uint64_t ino, const char *key, const struct cloud_object *o);
/* The same whatever is known, because the cloud turned out to have another version than the index: a newer one
 * is taken over unless the inode is dirty (then nothing changes and done gets 0 all the same). */
void lister_refresh(struct lister *l, uint64_t ino, void (*done)(const struct error *e, void *arg), void *arg);

/* --- cache.c ------------------------------------------------------------------------------------ */
int cache_new(struct volume *v, struct cache **ret, struct error *e);
void cache_free(struct cache *c);
/* Size, mtime and blocks (of 512 bytes) of the inode's cache file, when it is in use and dirty; -ENOENT else: the index
 * is right. *ret_mtime_ns comes in with the index's and changes only when a write came after. */
int cache_stat(struct cache *c, uint64_t ino, uint64_t *ret_size, int64_t *ret_mtime_ns, uint64_t *ret_blocks);
/* Sets the logical size, inside a transaction of the caller: marks i dirty (size, mtime, ctime, pending,
 * generation; the caller does index_update) and truncates the cache file. 0 or negative errno. */
int cache_truncate(struct cache *c, struct index_inode *i, uint64_t size);
/* The index has a new mtime by utimens(2): from now on it counts, not the time of earlier writes. */
void cache_touched(struct cache *c, uint64_t ino);
/* The inode is gone for good (removed from the index): its cache file goes. */
void cache_drop(struct cache *c, uint64_t ino);
/* Whether the file has content that the cloud lacks, or may have at any moment: it is dirty, or open for writing. The
 * cloud's version does not take its place then. */
bool cache_busy(struct cache *c, const struct index_inode *i);
/* Whether the kernel has it open: through a worker, or an earlier one whose handles no worker has used since. */
bool cache_is_open(struct cache *c, uint64_t ino);
/* Whether a worker is opening it and none has it open. */
bool cache_opening(struct cache *c, uint64_t ino);
/* The open file has lost its name by unlink(2) or rename(2), so that whoever opens it knows what he does; whether
 * it has. */
void cache_unlink(struct cache *c, uint64_t ino);
bool cache_unlinked(struct cache *c, uint64_t ino);

/* The drive's limits may be others, and the form that the cache is to have: what is above them goes, what has another
 * one is converted, behind. */
void cache_configure(struct cache *c);

/* --- pin.c ---------------------------------------------------------------------------------------- */
void keeper_new(struct volume *v);
void keeper_free(struct volume *v);
/* Something was pinned, or came below what is pinned. */
void keeper_kick(struct volume *v);
/* What is pinned and was canceled is fetched after all, when it is looked for next. */
void keeper_forgive(struct volume *v);
/* Something is pinned no longer: what is only fetched for that is fetched no further, and others may have the space. */
void keeper_unpinned(struct volume *v);

/* --- offline.c ------------------------------------------------------------------------------------ */
/* Copies that are still to go stay. */
void offline_end(struct volume *v);
/* Calls done(e, arg) once what was committed to the index is on the disk. By then the volume may be gone. */
void volume_answer_durably(struct volume *v, volume_offline_fn *done, void *arg);

/* --- download.c, delete.c -------------------------------------------------------------------------- */
/* What is at or below the inode is not to be fetched any more; who waits for it is told -ECANCELED. */
void downloads_give_up(struct volume *v, uint64_t ino);
/* Who waits is answered; what is on its way ends. */
void downloads_end(struct volume *v);
void deletions_end(struct volume *v);

/* --- scan.c --------------------------------------------------------------------------------------- */

/* How long what was fetched before any program opened it is taken for the cloud's version when one does. */
enum { FORESEEN_MS = 2000 };

void scanner_new(struct volume *v);
/* Begins nothing any more; and after lister_free(), which answers what it still waits for, goes. */
void scanner_stop(struct volume *v);
void scanner_free(struct volume *v);
/* A file was looked up. Its cache file, held, when it is going to be opened, to judge by the ones before, and the cloud
 * would have to be asked twice: then its first bytes are to be fetched, which tell its metadata. Else NULL. */
struct cache_file *scanner_looked_up(struct volume *v, const struct index_inode *i);
/* A file was opened to be read, or a directory to be listed. `cold`: not all of it is here. */
void scanner_opened(struct volume *v, uint64_t ino, bool cold);

/* --- mover.c -------------------------------------------------------------------------------------- */
void mover_new(struct volume *v);
/* After lister_free(), which answers what it still waits for. */
void mover_free(struct volume *v);
/* A directory got a row (index_moved_put()), or the cloud may be reached again. */
void mover_kick(struct volume *v);
/* Something went from the cloud: perhaps the last of what a rename left behind. */
void mover_look(struct volume *v);

/* --- stream.c ----------------------------------------------------------------------------------- */
/* Ends all streams of the volume; their pipes end early. */
void streams_close(struct volume *v);

/* --- upload.c ----------------------------------------------------------------------------------- */
int uploader_new(struct volume *v, struct uploader **ret);
void uploader_free(struct uploader *u);
/* Something became pending or due: look again soon. */
void uploader_kick(struct uploader *u);
/* The cloud answered somebody else: if uploads rest because it could not be reached, they go on. */
void uploader_answered(struct uploader *u);
/* A program changed something. Nothing is begun until SettleMilliseconds have passed without a change, ten times as
 * many at most, so that whoever changes many files does not share the processor and the disk with their uploads. */
void uploader_changed(struct uploader *u);
/* Whether it is being encrypted for that. */
bool uploader_seals(const struct uploader *u, uint64_t ino);
/* Whether the inode is being uploaded right now. */
bool uploader_busy(struct uploader *u, uint64_t ino);
/* Whether it was uploaded, and an index that a power cut brings back may not know: to that one it is changed, and what
 * is here of it had better stay. Sees to it that the index gets to the disk; then who waits for space looks again. */
bool uploader_sent_lately(struct uploader *u, uint64_t ino);
/* It is there when this returns, for what is rare: 0 or negative errno. */
int uploader_sync_now(struct uploader *u);
/* Whether one of them may have put its object in place already, unheard. */
bool uploader_places(const struct uploader *u, uint64_t ino);
