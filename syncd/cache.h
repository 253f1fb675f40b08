/* Cache files as the contents half of a volume shares them: cache.c (the table of those in use), cache_file.c (a pair
 * of files on disk), cache_alike.c (what of one is as in the cloud), cache_space.c (how much they may be), cache_use.c
 * (what is known of those not in use), evict.c (which go), fetch*.c, fs_data.c, upload*.c and stream.c.
 *
 * On disk: <cache_dir>/<low byte of the inode number, 2 hex digits>/<inode number, hex>.data and .map.
 * The data file is sparse and as long as the file; the map is a struct chunk_map. */
#pragma once

#include <sys/queue.h>

#include "common/chunk_map.h"
#include "common/map_guard.h"
#include "common/sealed.h"
#include "syncd/volume_internal.h"

/* What space is for: content that can be had again, or dirty data and pins, which stay. */
enum space_for { SPACE_READ, SPACE_KEEP, SPACE_FORS };

/* fetch.c's part of a cache file. */
struct fetch {
    TAILQ_HEAD(, fetch_waiter) waiters;
    TAILQ_HEAD(, fetch_transfer) transfers;
    unsigned n_transfers;
    uint64_t expected;             /* where a sequential reader asks next */
    uint64_t window;               /* bytes fetched ahead of it; 0: it jumps about */
    uint64_t ahead;                /* fetch as far as this */
    bool refreshing;               /* the cloud's version is being looked up again */
    bool superseded;               /* perhaps by an upload of ours, that will tell */
    bool paused;                   /* fetch_hold.c's: only for who needs bytes now */
    struct loop_timer *going_on;   /* fetch_go_on() was called */
    struct transfer *shown;        /* show.c's, as the next two; NULL: nobody is told */
    uint64_t came;
    struct loop_timer *idle;
    struct fetch_object *object;   /* fetch_object.c's; NULL: nothing is known */
    struct space_waiter *space;    /* there was none to start with, for whom: */
    enum space_for lacking;
    struct {                       /* the range waited for in vain last, how long at most, until when, and why */
        uint64_t from, to, ms;
        int64_t ns;
        int code;
    } vain;
};

/* An extent that came: before any program opened the file; to stay. */
struct cache_fetched {
    uint64_t extent;
    bool ahead, stays;
};

/* A pair of files in use. Reached through cache_acquire(), given back with cache_release(). */
struct cache_file {
    LIST_ENTRY(cache_file) next;
    struct volume *volume;
    uint64_t ino;
    struct cache *cache;           /* borrowed */
    int data_fd, map_fd;
    int names_fd;                  /* its folder, while names changed there that may not be on the disk; -1 */
    bool is_sealed;                /* its bytes are in: */
    struct sealed sealed;          /* its descriptor is the file's */
    uint64_t recorded;             /* cache_fresh.c's: generation up to which the index knows what is there */
    struct chunk_map *map;
    struct map_guard guard;        /* lost: the map is memory that says nothing; for the end, or reopened */
    bool same_session;             /* both files were there, and the map is whole and of this session of the machine */
    bool unsent;                   /* when it was opened it had changes of which the index knew nothing */
    bool map_unreadable, map_remade; /* what was on the disk could not be read; that, or it was no map: it is guessed */
    bool kept_said;                /* cache_bad.c's: the log has it that something cannot be read */
    unsigned refs;
    uint64_t synced_seq;           /* cache_sync.c's: write_seq of what is on the disk for sure */
    unsigned outdated;             /* how often its chunks became worthless */
    bool changed;                  /* since it came into use it has become another version */
    bool dropped;                  /* unlinked; those who hold it finish with it */
    unsigned confirming;           /* opens that wait for the cloud to say what version it has */
    bool keeping;                  /* pin.c's: pinned, and here or being fetched: nothing of it goes */
    uint64_t charged, reserved;    /* cache_space.c's: bytes of disk; promised to those who write */
    struct cache_fetched *fetched; /* cache_use.c's: the extents that came since it last looked */
    size_t n_fetched;
    bool unknown;                  /* cache_use.c's: more may be here than it was told */
    SLIST_HEAD(, cache_open) opens;
    struct fetch fetch;
    uint64_t quiet_seq;            /* upload.c's: write_seq when it last looked, and since when it is that */
    int64_t quiet_since_ns;
};

/* How often a worker has a file open. */
struct cache_open {
    SLIST_ENTRY(cache_open) next;
    struct ipc_peer *peer;
    unsigned readers, writers;
    bool whole;                    /* was told that all is here and stays */
};

/* --- cache.c: the table ------------------------------------------------------------------------- */

enum { CACHE_BUCKETS = 4096 };

/* cache_space.c's part of a cache. Bytes of disk. */
struct space {
    uint64_t limit;                /* 0: none */
    bool rotates;                  /* what is full goes on by giving up what is old, see evict.h */
    uint64_t used;                 /* pairs and folders, as last measured */
    uint64_t reserved;             /* may be written at any moment */
    TAILQ_HEAD(space_queue, space_waiter) waiters[SPACE_FORS];
    struct loop_timer *retry, *watch;
};

struct cache {
    struct volume *volume;
    struct sealed_io keys_io;      /* of the drive's keys, if it has any */
    const struct sealed_io *io;    /* borrowed; NULL: nothing is sealed, nor encrypted in the cloud */
    bool seals;                    /* new pairs are sealed */
    struct key_stock *stock;       /* keys for them; NULL: none was ever needed */
    struct convert *convert;       /* cache_convert.c's */
    int dir_fd;
    unsigned opens_most;           /* files that workers may have open */
    bool opens_refused;            /* the log has it */
    unsigned kept_chunks;          /* cache_seal_keep_chunk()'s */
    bool bad;                      /* its disk failed: from then on the kernel reads nothing past the worker */
    uint64_t alike_tag;            /* of its mount in this boot */
    LIST_HEAD(, content) contents; /* content.c's */
    LIST_HEAD(, unsealing) unsealings;   /* object_unseal.c's */
    LIST_HEAD(cache_bucket, cache_file) buckets[CACHE_BUCKETS];
    struct space space;
    struct use *use;               /* cache_use.c's */
    struct sweep *sweep;           /* cache_sweep.c's */
    struct sync *sync;             /* cache_sync.c's */
    uint64_t session;              /* of the machine, see cache_file_open() */
};

/* The cache file of the regular file `i`, made or brought to the version of the index when need be. 0 and
 * *ret, or -EFBIG, -ENOSPC, -EMFILE, -EIO or another negative errno. */
int cache_acquire(struct cache *c, const struct index_inode *i, struct cache_file **ret);
struct cache_file *cache_hold(struct cache_file *f);
void cache_release(struct cache_file *f);
void cache_discard(struct cache_file *f);    /* whoever still holds it: for the end */
/* The one in use, borrowed, or NULL. */
struct cache_file *cache_find(struct cache *c, uint64_t ino);

/* 0, or -ENFILE when programs have as many files open, on all drives, as there are descriptors for. The others are for
 * connections, uploads and databases, without which nothing that is open could be used. */
int cache_may_open(struct cache *c);

/* A worker opened or released it. The open holds the file. `whole`: it was told so, and reads past us. */
void cache_opened(struct cache_file *f, struct ipc_peer *p, bool write, bool whole);
void cache_released(struct cache_file *f, struct ipc_peer *p, bool write);  /* unknown: nothing happens */
bool cache_written_by_anyone(const struct cache_file *f);
/* Whether bytes of it are, or may soon be, read by the kernel without asking anybody: then no chunk of it becomes
 * absent. */
bool cache_lent(const struct cache_file *f);
/* Whether the kernel has handles on it, by whatever worker: then its map, which counts them, stays. */
bool cache_counted(const struct cache_file *f);

/* Says in the index that the content is not the cloud's any more. Inside a transaction. 0 or negative errno. */
int cache_mark(struct index *x, uint64_t ino);
/* A worker may write from now on: durable in the index, then said in the map. 0 or negative errno. */
int cache_dirty(struct cache_file *f);
/* Takes size and mtime of what was written over into the index (`mtime_ns` NULL: the data file's) and puts
 * the upload off by SettleMilliseconds. Not inside a transaction. 0 (also when nothing was written since) or negative
 * errno. */
int cache_take_over(struct cache_file *f, const int64_t *mtime_ns);

/* Opens that are held by p, in any file, end. Each file that p could write goes to `written` first. */
void cache_peer_lost(struct cache *c, struct ipc_peer *p, void (*written)(struct cache_file *f));

/* --- cache_alike.c: what a dirty file has in common with its version in the cloud ------------------- */

/* Tells apart what may be read from the disk after a power cut from what was left there by another process. */
uint64_t cache_alike_tag(int dir_fd, uint64_t session);
/* A clean file becomes dirty: all of it is as in the cloud, and what changes will be marked. */
void cache_alike_begin(struct cache_file *f);
/* Whether the bytes [from, to) of the file are, whether here or not, those that the version with that ETag (NULL: none)
 * has there. */
bool cache_alike(struct cache_file *f, const char *etag, uint64_t from, uint64_t to);

/* --- cache_bad.c: a disk that fails ----------------------------------------------------------------- */

/* The disk did not give [from, from + length) of the data file `f`, whose inode is `i`: the chunks there that the cloud
 * has are absent from now on. 0, or -EIO: of some it has not, or nothing can be changed now. Says so in the log. */
int cache_unreadable(struct cache_file *f, const struct index_inode *i, uint64_t from, uint64_t length);
/* The same where it is not known which bytes: all that is not changed is fetched again. */
void cache_unreadable_alike(struct cache_file *f, const struct index_inode *i);
/* Its map could not be read, or was none, and is guessed by now. Where that may be wrong, what is sent of it must not
 * replace the cloud's version. */
void cache_map_unreadable(struct cache_file *f, const struct index_inode *i);
/* Its map says that it was changed, and the index has forgotten it: it shall be told. */
void cache_found_unsent(struct cache_file *f);
/* The end of its data file is gone. As for a map. */
void cache_cut_short(struct cache_file *f);
/* What is not here can be had from nowhere any more: it reads as zeros from now on, and the log says so. */
void cache_make_do(struct cache_file *f);

/* The disk did not take content of the inode that was to be on it (negative errno), and pages may read as older ones
 * from now on. What the cloud has is given up; the rest is remembered (index_fault_put()), and it is sent at once.
 * Says so in the log. Without consequences where only the attempt failed. */
void cache_unsynced(struct cache *c, uint64_t ino, int code);
/* The cloud has the content of `f` by now: what is here of it, which the disk did not take, is given up. */
void cache_forsake(struct cache_file *f);

/* --- cache_name.c: where they lie ----------------------------------------------------------------- */

enum { CACHE_NAME = 32 };
/* The folder of the inode's files, the caller's, made if `create`; or a negative errno. */
int cache_name_folder(int dir_fd, uint64_t ino, bool create);
/* The name of its "seal", "data" or "map" there. Returns `out`. */
const char *cache_name(char out[CACHE_NAME], uint64_t ino, const char *kind);
/* Opens that, a regular file; what else is in its place is put out of the way. A descriptor or a negative errno. */
int cache_name_open(int folder, uint64_t ino, const char *kind, int flags);

/* --- cache_file.c: one pair ----------------------------------------------------------------------- */

/* Opens or makes the pair for `i` and brings it in line. When its map was last opened in another session of the
 * machine it keeps what surely is right. The caller fills in the table's part. -EAGAIN: there is no key for it just
 * now; -ENOKEY: it is sealed, and the drive has no keys. */
int cache_file_open(struct cache *c, const struct index_inode *i, struct cache_file **ret);
void cache_file_close(struct cache_file *f);
/* Descriptors to be given to a worker, the caller's: data (read-only unless `write`; of a sealed one that in which it
 * is sealed, writable) and map (writable). 0 or negative errno. */
int cache_file_lend(int dir_fd, const struct cache_file *f, bool write, int ret_fds[2]);
/* Those that must be on the disk for it to be there: what has its bytes first, the map last. How many. */
enum { CACHE_FILES = 4 };
size_t cache_file_fds(const struct cache_file *f, int fds[CACHE_FILES]);
/* All that was written until a moment. */
struct cache_point {
    uint64_t write_seq, generation;
};
struct cache_point cache_point(const struct cache_file *f);
/* It is on the disk. */
void cache_point_synced(struct cache_file *f, const struct cache_point *point);
/* When it was last written, in ns since the epoch. */
int64_t cache_file_written_ns(const struct cache_file *f);
/* The first offset from `from` on in an extent of which bytes are on the disk; or negative errno (-ENXIO: there is
 * none). */
int64_t cache_file_next_bytes(const struct cache_file *f, uint64_t from);
/* Whether the kernel, writing pages back by itself, met an error that nobody has heard of. */
bool cache_file_refused(const struct cache_file *f);
void cache_file_unlink(int dir_fd, uint64_t ino);
/* Whether there is a file that its bytes may be in. */
bool cache_file_exists(int dir_fd, uint64_t ino);
/* Removes what conversions that came to no end have left in the folder of those that end in `low`. */
void cache_file_clear_new(int dir_fd, uint64_t low);
/* Calls each() with the inode number of every pair, or half of one, in the folder of those that end in `low`. */
void cache_file_walk(int dir_fd, uint64_t low, void (*each)(uint64_t ino, void *arg), void *arg);
/* Where the "data" or "map" of a pair lies below the cache folder. Returns `out`. */
enum { CACHE_PATH = 40 };
const char *cache_file_path(char out[CACHE_PATH], uint64_t ino, const char *kind);
/* Puts the pair where nothing looks for it, below "lost". 0 or negative errno. */
int cache_file_put_aside(int dir_fd, uint64_t ino);
/* Whether the data file bears the stamp of some version, so nothing that the cloud lacks is in it. */
bool cache_file_stamped_at(int dir_fd, uint64_t ino);
/* Bytes of disk of a pair, by name; and of the folders. */
uint64_t cache_file_blocks_at(int dir_fd, uint64_t ino);
uint64_t cache_file_folder_blocks(int dir_fd);
/* Whether any byte of its data is on the disk. */
bool cache_file_has_bytes(int dir_fd, uint64_t ino);
/* The head of its map, without the bits, as it lies on disk. False: there is none. */
bool cache_file_peek(int dir_fd, uint64_t ino, struct chunk_map *ret);
/* The map of a pair that is not in use says `unlinked`. 0 or negative errno. */
int cache_file_set_unlinked(int dir_fd, uint64_t ino);

/* Whether the bytes are those of the version in `i`. A dirty file always is: its own. */
bool cache_file_current(const struct cache_file *f, const struct index_inode *i);
/* Forgets all chunks and takes the size and version of `i`. No transfer may be under way. 0 or negative errno. */
int cache_file_renew(struct cache_file *f, const struct index_inode *i);
/* Whether the chunks that were fetched are of that version. */
bool cache_file_based(const struct cache_file *f, const char *etag);
/* No provider's ETag. */
#define CACHE_OUTDATED "\n"
/* What is there belongs to this version now (an upload or a copy made it). */
void cache_file_rebase(struct cache_file *f, const char *etag);
/* The same size limit for all that follows; at and above it nothing is to be fetched. */
int cache_file_resize(struct cache_file *f, uint64_t size);
uint64_t cache_file_size(const struct cache_file *f);
/* Whether nothing is left to fetch. */
bool cache_file_whole(const struct cache_file *f);
/* What was written here counts as present without bits, being above fetchable: now with bits the same is present, and
 * fetchable is `size`. */
void cache_file_raise(struct cache_file *f, uint64_t size);
/* Blocks for the bits of a file of that size. Without them a full disk is told by SIGBUS, to whoever sets a bit. 0
 * or negative errno. */
int cache_file_map_room(struct cache_file *f, uint64_t size);
/* Bytes of disk, rounded up for what a file costs beside its own blocks. */
uint64_t cache_file_blocks(const struct cache_file *f);
/* Bytes of the extent that are here. */
uint64_t cache_file_extent(const struct cache_file *f, uint64_t extent);
/* Takes the present chunks of the extent of a clean file away from the disk. 0 or negative errno. */
int cache_file_punch(struct cache_file *f, uint64_t extent);

/* --- cache_seal.c: a pair whose bytes are sealed ------------------------------------------------------------- */

/* `fd` is that of INO.seal, owned from here on. And closed again. */
void cache_seal_attach(struct cache_file *f, int fd);
void cache_seal_detach(struct cache_file *f);
/* cache_seal_open.c: brings it in line once there is a map, when its pair is opened. 0, or as the next and
 * cache_fresh_check(). */
int cache_seal_open(struct cache_file *f, const struct index_inode *i, bool fresh, bool cut);
/* Reads its key, or gives it one, once there is a map. `cut`: the machine went down since, or the map was lost. 0;
 * -EAGAIN, -ENODATA (it has no key, never had one, and gets none), -ENOKEY, -EUCLEAN (its head is damaged), -EOPNOTSUPP
 * (a newer version made it), or another negative errno. */
int cache_seal_begin(struct cache_file *f, bool fresh, bool cut);
/* What cannot be used is kept in the folder "lost", and an empty one takes its place. 0 or negative errno. */
int cache_seal_put_aside(struct cache_file *f);
/* A copy of the chunk, sealed as it is, for who wants to find out what happened to it: in "lost", of a few only. */
void cache_seal_keep_chunk(struct cache_file *f, uint64_t chunk);
/* What the data file of a sealed pair has is left of a conversion: it goes. 0 or negative errno. */
int cache_seal_clear_data(int data_fd);
/* All of it goes, and it gets another key. 0, -EAGAIN, or another negative errno. */
int cache_seal_empty(struct cache_file *f);
/* Calls each() with the entries of the file's first `size` bytes that are not holes, in order. 0 or negative errno. */
typedef void cache_seal_each_fn(uint64_t chunk, struct sealed_entry *e, void *arg);
int cache_seal_each(const struct cache_file *f, uint64_t size, cache_seal_each_fn *each, void *arg);
/* After a power cut: chunks without a record, up to the byte `end`, are absent; of a clean file those without bytes,
 * too. */
void cache_seal_lose_missing(struct cache_file *f, uint64_t end, bool clean);
/* The chunks are absent, and go: 0, -EAGAIN while a worker writes there, or another negative errno. */
int cache_seal_punch(struct cache_file *f, uint64_t first, uint64_t n);
/* The generation of a chunk, 0: it has no record. What was sealed anew of the job's one chunk, since it had that one,
 * is put into the file: 0; -EAGAIN: somebody writes it, or has written it; or another negative errno. */
uint64_t cache_seal_generation(const struct cache_file *f, uint64_t chunk);
int cache_seal_replace(struct cache_file *f, struct sealed_job *j, uint64_t generation);
/* It has that size. 0 or negative errno. */
int cache_seal_cut(struct cache_file *f, uint64_t size);

/* --- cache_fresh.c: whether what it has is the newest --------------------------------------------------------- */

/* It has a new key, and nothing in it. 0 or negative errno. */
int cache_fresh_begin(struct cache_file *f);
/* It was opened: what was put back from an older copy is refused to whoever reads it, and the log has it. 0; -EUCLEAN:
 * it is another file altogether, and has what the cloud lacks; or another negative errno. */
int cache_fresh_check(struct cache_file *f, const struct index_inode *i);
/* It is sealed no more. */
void cache_fresh_end(const struct cache_file *f);
/* Whether the index knows a key of it; whether it knows of a chunk that must be there. */
bool cache_fresh_is_known(const struct cache_file *f);
bool cache_fresh_has_any(const struct cache_file *f);
/* The power was cut: whether what the disk has of it may be of its last key but one, and nothing was synced since. */
bool cache_fresh_is_before(const struct cache_file *f);
/* Whether there must be a chunk from `first` on, of an inode that may have no such file. And that all of them will be
 * cut off: durable before they are, lest a power cut leave them gone without this. 0 or negative errno. */
bool cache_fresh_wants(struct index *x, uint64_t ino, uint64_t first);
int cache_fresh_will_cut(struct index *x, uint64_t ino, uint64_t first);
/* The cloud has its content, and so what is missing of it. In the transaction that says so. 0 or negative errno. */
int cache_fresh_uploaded(struct index *x, uint64_t ino);
/* It was opened and is not sealed (`seals`: though it would be if it were new): the same, if it ought to be. */
int cache_fresh_unsealed(struct cache_file *f, const struct index_inode *i, bool seals);
/* What it has up to that generation is on the disk. */
void cache_fresh_record(struct cache_file *f, uint64_t generation);
/* The chunks [first, end) are given up, which the cloud has; from `first` on all are cut off. In the transaction that
 * says so. 0 or negative errno. */
int cache_fresh_gone(struct cache_file *f, uint64_t first, uint64_t end);
int cache_fresh_cut(struct cache_file *f, uint64_t first);
/* Where the file was cut for sure, by what is missing of it, in bytes; UINT64_MAX: nowhere. */
uint64_t cache_fresh_cut_at(const struct cache_file *f);

/* --- cache_session.c: what is left of a pair ---------------------------------------------------------------- */

/* Forgets the chunks that may not have reached the disk. `map_lost`: nothing is known of which there were. */
void cache_file_after_cut(struct cache_file *f, const struct index_inode *i, bool map_lost);
/* All of it counts as here: what is not reads as zeros. */
void cache_file_make_do(struct cache_file *f);
/* The data file holds nothing but bytes of the version that its map is based on, and holes; all of it is on the disk.
 * And from now on perhaps something else. */
void cache_file_stamp(struct cache_file *f);
void cache_file_unstamp(struct cache_file *f);
