/* A drive at work: its index, its cache, its changes on their way to the cloud, its workers.
 *
 * The configured drive (name, account, mount point) is store_drive's and drive.c's; a volume is
 * what runs for it while it is active. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/ipc.h"
#include "common/loop.h"
#include "proto/ipc.pb-c.h"
#include "syncd/cloud.h"

struct events;
struct keys;
struct volume;
struct samples;
struct transfers;

struct volume_spec {
    struct loop *loop;
    const struct config *config;      /* borrowed */
    const Lf__CloudDrive *drive;      /* copied: id, prefix, storage_name, permanent_local_path, intervals, limits,
                                         permission */
    const char *state_dir;            /* of this drive: <StateDir>/drives/<id>; created by the caller, 0700 */
    struct cloud *cloud;              /* borrowed; outlives the volume */
    struct keys *keys;                /* borrowed, as the cloud; NULL: the drive encrypts nothing */
    uint32_t uid, gid;                /* owner of what carries no owner */
    bool had_index;                   /* the drive was in use: if the index is a new one now, another was lost */
    /* events for whoever shows them; may be NULL */
    void (*changed)(struct volume *v, const char *path, int state_b, void *arg);
    const struct events *events;      /* whoever listens to that; borrowed, as the next; NULL: nobody */
    struct transfers *transfers;      /* may be NULL */
    void (*damaged)(struct volume *v, void *arg);   /* its index: it is to be closed and opened, not from within */
    void *arg;
};

/* Opens or creates index and cache folder. An index that is damaged is kept aside, never overwritten, under a name that
 * the log has, and a new one begins with what the cloud has. 0, or with a sentence a negative errno: -EUCLEAN when a
 * damaged index cannot be kept aside. Starts pending uploads. */
int volume_open(const struct volume_spec *spec, struct volume **ret, struct error *e);

/* Stops transfers (they go on at the next open), frees everything. Workers' channels must be closed. NULL is fine. */
void volume_close(struct volume *v);

/* New settings of the same drive (intervals, limits, permission). The bucket and prefix may not change. */
void volume_configure(struct volume *v, const Lf__CloudDrive *drive);

/* The drive is about to be closed, deleted or paused: what the drive's other machines are yet to hear of its objects is
 * put into the cloud, as far as that answers within two seconds. done(arg) once, in a turn of the loop of its own, also
 * when the volume is closed before. */
void volume_tell(struct volume *v, void (*done)(void *arg), void *arg);

/* Paused: no cloud traffic but for what has begun; writes answer EROFS; reads of absent data answer EIO at once. */
void volume_pause(struct volume *v, bool paused);

/* The drive's keys have a new epoch, perhaps with an identity that was imported: what the cache has under older ones is
 * put under it, and objects that none opened are tried again. done(e, n, arg) once, at once or from the loop: e NULL
 * and how many files of the cache that were. The drive is open until then. */
typedef void volume_rotated_fn(const struct error *e, uint64_t n, void *arg);
void volume_keys_rotated(struct volume *v, volume_rotated_fn *done, void *arg);

/* Inodes of which the cache has what must not be left behind, the caller's to free: what the cloud lacks, and pins that
 * are here; and what its mount is called in maps. 0 or negative errno. */
int volume_cache_stays(struct volume *v, uint64_t **ret, size_t *ret_n, uint64_t *ret_mount_tag);

/* How many files of the cache are under older keys than the newest one, or may be. -EAGAIN: it is not known yet. */
int volume_keys_left(struct volume *v, uint64_t *ret);

/* The keys are there again after they could not be opened: what failed meanwhile is tried at once. */
void volume_keys_back(struct volume *v);

/* Files of the cache that are not as they shall be: in form, in what their keys are wrapped under, in when those were
 * made. False: nobody has looked at all of them yet. */
bool volume_cache_left(struct volume *v, uint64_t *ret_form, uint64_t *ret_wrapped, uint64_t *ret_made);

/* The keys were opened, at once or after a restart of cryptd: what a rotation that came to no end has left goes on. */
void volume_keys_opened(struct volume *v);

/* The drive is about to be deleted: nothing is uploaded any more, and uploads in parts that it has begun end in the
 * cloud, as far as that answers within some seconds. done(arg) once, after this has returned; not when the volume is
 * closed before. */
void volume_end_uploads(struct volume *v, void (*done)(void *arg), void *arg);

/* Begins now what would be done in a while: all that was ever listed is listed anew, below the path (relative to the
 * drive, as far as it is known; all of it where the drive has a prefix), and uploads that rest begin, but where the
 * provider asked for the rest. 0; -ENETDOWN with a sentence when it is paused. */
int volume_sync(struct volume *v, const char *path, struct error *e);

/* Changes not yet in the cloud. */
uint64_t volume_pending(struct volume *v);

/* Something is wrong with all of the drive, though it works: a sentence that says what to do. False: nothing is. */
bool volume_trouble(const struct volume *v, struct error *ret);

/* What it counts and how things stand, as metrics of the drive. */
void volume_samples(struct volume *v, struct samples *s);
/* The meter for its worker (common/meter.h), borrowed. */
int volume_meter_fd(const struct volume *v);

/* The file system messages of a worker whose peer data is a struct volume *. */
extern const struct ipc_handler volume_fs_handlers[];
extern const size_t volume_fs_handlers_n;
/* A worker's channel was made / lost: opens it held are dropped, files it wrote are queued. */
void volume_worker_attached(struct volume *v, struct ipc_peer *p, uint64_t mount_tag);
void volume_worker_lost(struct volume *v, struct ipc_peer *p);

/* --- the object API ---------------------------------------------------------------------------
 * `path` is relative to the drive's root, without a leading slash; "" is the root. */

struct volume_node {
    uint64_t ino, size;
    int64_t mtime_ns;
    bool is_directory;
    bool cut;                     /* a directory of which objectsPerFolder keeps something from being shown */
    int state_a;                  /* FileState numbering A; for a directory 1 while anything below it is pending */
    const char *name;             /* borrowed, in volume_list only */
    const char *id;               /* provider's object id or "" */
};

/* Resolves a path, fetching listings of its parents on first visit. `done` runs once, maybe before this returns,
 * with a node and e NULL, or with an error (-ENOENT). */
void volume_stat(struct volume *v, const char *path,
                 void (*done)(const struct error *e, const struct volume_node *n, void *arg), void *arg);

/* Everything there is to say about the object of this inode number, without path, drive and bucket;
 * lf__explanation__free_unpacked() it. NULL: it is gone. */
Lf__Explanation *volume_explain(struct volume *v, uint64_t ino);

/* Calls done when the object, or everything at and below the directory, is in the cloud; when it will not get there
 * unless somebody does something (`stuck`); or after `seconds`. At once if it is so already. -ENOENT: it was
 * removed. */
struct volume_arrival {
    uint64_t ino, pending;        /* changes that the cloud lacks */
    bool there, stuck;
    bool coming;                  /* some of it may get there without that */
    const char *waits_for;        /* a sentence, borrowed; NULL or "" when there is nothing to say */
};
void volume_await(struct volume *v, uint64_t ino, unsigned seconds,
                  void (*done)(const struct error *e, const struct volume_arrival *a, void *arg), void *arg);
/* Whether the inode is there and has a name. */
bool volume_has(struct volume *v, uint64_t ino);

/* The object, or all that is and will be below the directory, is to be here always. done(e, arg) once, when that is
 * durable (e->code 0) or has failed, perhaps after the volume was closed; what is not here comes behind, as far as the
 * limit of the cache allows. More than once is fine. */
typedef void volume_offline_fn(const struct error *e, void *arg);
void volume_make_offline(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);
/* Ends that, of all that is at and below the inode. Then what of it is here goes, behind, but for what the cloud lacks
 * and what the kernel reads by itself. Fine, too, where nothing was to be here always; -EINVAL with a sentence when a
 * directory above is, as which it would come again. */
void volume_remove_offline(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);

/* Gives up what is here of the object, or of all that is below the directory: done(e, arg) once that is done. -EINVAL
 * with a sentence, and nothing went: some of it is to be here always. -EBUSY with one: some stays because the cloud
 * does not have it, or a program uses it; the rest went. */
void volume_evict(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);
/* Fetches all of the object, or of what is below the directory, once; it may go again as what was read may. `seconds`
 * 0: done(e, arg) as soon as that is in the queue, which ends with the drive. Else when all of it is here, or some of
 * it cannot be had, with the sentence of the first; or after so many seconds, -ETIMEDOUT, and it goes on. */
void volume_download(struct volume *v, uint64_t ino, unsigned seconds, volume_offline_fn *done, void *arg);
/* Deletes the object, or the directory with all that is below it, here and, behind, in the cloud, as unlink(2) and
 * rmdir(2) do. done(e, arg) once, when that is durable, or: -EACCES or -EROFS where the drive does not allow it, -EBUSY
 * or -ENOTEMPTY when something was left in place, with how much and why. */
void volume_delete(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);

/* What lies there in the cloud, and is refused because it is older than, or something else than, what was seen before,
 * was put there on purpose. -EINVAL with a sentence where nothing is refused for that. */
void volume_accept(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);

/* What the cloud has in plain of the file, or of all that is at and below the directory, is to be encrypted, and each
 * file stays what it is. done(e, arg) once, when that is durable (e->code 0) or has failed; the work is done behind.
 * -EINVAL with a sentence: the drive does not encrypt its objects. And what is listed there is not to be any more. */
void volume_encrypt(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);
void volume_encrypt_stop(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);
/* How far that is on the whole drive, the paths of failures below it: once nothing is left, or after so many seconds.
 * *p is borrowed for the call; NULL with e->code -ECANCELED: the drive was closed. */
typedef void volume_encryption_fn(const struct error *e, const Lf__Encryption *p, void *arg);
void volume_encryption(struct volume *v, unsigned seconds, volume_encryption_fn *done, void *arg);

/* Whether no rename of the directory at the path, of one above it, or away from that path has left anything in the
 * cloud under the old prefix. Asks the index alone. */
bool volume_rename_finished(struct volume *v, const char *path);

/* The entries of a directory after `after_name` ("" from the start), in name order, until `each`
 * returns false; then done as above, with `more` when entries are left. */
void volume_list(struct volume *v, const char *path, const char *after_name,
                 bool (*each)(const struct volume_node *n, void *arg),
                 void (*done)(const struct error *e, bool more, void *arg), void *arg);

/* Opens a stream of bytes [first, last] of the file (last UINT64_MAX: to the end), from the cache where it
 * is present and newer, else straight from the provider. `done` gets the read end of a pipe (its to close),
 * the object's size, the range really sent, and the ETag ("" unknown). A range past the end is -ERANGE. */
struct volume_stream { int fd; uint64_t size, first, last; const char *etag; int64_t mtime_ns; };
void volume_stream_open(struct volume *v, const char *path, bool has_range, uint64_t first, uint64_t last,
                        void (*done)(const struct error *e, const struct volume_stream *s, void *arg), void *arg);

/* The object key of a drive-relative path: the prefix and what the names of the path denote (syncd/name.h), not
 * percent-encoded. Into out (>= 2048 bytes); 0, -EPERM for a path that would leave the drive, -EINVAL for one with
 * empty components or with names that denote no key, -EILSEQ, or -ENAMETOOLONG. */
int volume_key(struct volume *v, const char *path, char *out, size_t size);
