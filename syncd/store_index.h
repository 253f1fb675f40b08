/* The index of one drive: every name, its inode, what the cloud has of it, and what the cloud does
 * not have yet. SQLite, one file per drive; only store*.c knows that.
 *
 * Desired state, not a log of operations: an inode says where it is and whether the cloud's
 * version differs (`pending`), a grave says that a key must go. Uploading brings the cloud to the
 * desired state in any order that loses nothing, after any crash, as often as needed.
 *
 * Durability: WAL; a commit survives the death of the process, and survives a power cut once
 * index_sync() has returned. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/ipc.h"

struct index;

enum { INDEX_ROOT = 1, INDEX_QUEUES = 3 };

/* What the cloud lacks of an inode. */
enum index_pending {
    INDEX_CONTENT = 1,   /* bytes (a directory: its marker; a symlink: its object) must be put at the inode's key */
    INDEX_META = 2,      /* metadata must be rewritten */
    INDEX_MOVE = 4,      /* the cloud's version lives at cloud_key, which is not the inode's key any more */
    INDEX_SEAL = 8,      /* it lacks nothing, but what it has is to be encrypted: store_encrypt.h */
    INDEX_LACKING = 7,   /* all but the last */
};

struct index_inode {
    uint64_t ino, parent;          /* parent 0: root or orphan */
    char *name;                    /* owned, name_len bytes, NUL-terminated */
    size_t name_len;
    char *key_name;                /* the component of the key, owned, where it is not the name; else NULL. By
                                      syncd/name.h they stand for each other, but a shortened name does not tell it */
    uint32_t mode, uid, gid, nlink;/* nlink 0: unlinked, kept while open */
    uint64_t size;
    int64_t mtime_ns, ctime_ns, atime_ns;
    char *target;                  /* symlink; owned; else NULL */
    /* the cloud's version this inode is based on */
    char *cloud_key;               /* NULL: the cloud never had it */
    char *etag;
    uint64_t cloud_size;
    bool settled;                  /* metadata is known, not just a listing's */
    /* what is to be done */
    unsigned pending;              /* enum index_pending bits */
    uint64_t generation;           /* raised by every change of content or metadata; an upload clears
                                      pending only if it is still what it was when the upload began */
    int64_t listed_ns;             /* directories: when the last listing began that came to its end; 0 never */
    bool cut;                      /* that one ended at objectsPerFolder: there may be more */
    int64_t turned_ns;             /* out: when pending last became zero or other than zero; 0 never */
};
typedef bool index_each_fn(const struct index_inode *i, void *arg);
/* Frees what the inode owns, not the struct; NULL is fine. */
void index_inode_done(struct index_inode *i);

/* 0; -EUCLEAN when the file is no sound index (it is renamed aside, its new name in *e). A new one
 * gets its root owned by uid/gid with mode 0700 | S_IFDIR. */
int index_open(const char *path, uint32_t uid, uint32_t gid, struct index **ret, struct error *e);
void index_close(struct index *x);
/* As sql_on_damage(). */
void index_on_damage(struct index *x, void (*fn)(void *arg), void *arg);

/* Everything between begin and commit happens or does not. No nesting. */
int index_begin(struct index *x);
int index_commit(struct index *x);
void index_rollback(struct index *x);   /* nothing to do: fine */
/* Commits when r is 0, else rolls back. r, or why the commit failed. */
int index_end(struct index *x, int r);
bool index_in_transaction(const struct index *x);
/* Descriptor of the write-ahead log, borrowed, or negative errno: fdatasync it in the pool and all earlier
 * commits survive a power cut. */
int index_sync_fd(struct index *x);

/* Lookups. 0 and *ret (index_inode_done it), -ENOENT, or another negative errno. What each() is given is
 * borrowed for the call, and each() changes nothing. */
int index_get(struct index *x, uint64_t ino, struct index_inode *ret);
int index_find(struct index *x, uint64_t parent, const void *name, size_t len, struct index_inode *ret);
/* The file, or the directory, whose key has this component in the parent's; the one of that kind where there are
 * both. */
int index_find_key(struct index *x, uint64_t parent, const char *component, bool is_directory, struct index_inode *ret);
/* The component of the inode's key, borrowed. */
const char *index_component(const struct index_inode *i);
/* The entries of a directory in name order, after `after` (len 0: from the start), until each() returns false. */
int index_list(struct index *x, uint64_t parent, const void *after, size_t after_len, index_each_fn *each, void *arg);
/* The same by inode number after `cookie`: stable under concurrent changes, for readdir. */
int index_scan(struct index *x, uint64_t parent, uint64_t cookie, index_each_fn *each, void *arg);
bool index_empty(struct index *x, uint64_t parent);
/* How many directories are right below it. */
uint32_t index_directories(struct index *x, uint64_t parent);
/* How many entries it has, counted as far as `most`; without an answer `most`. */
uint64_t index_entries(struct index *x, uint64_t parent, uint64_t most);
/* How much there is in all: names, the root's included, and their sizes in blocks of 512 bytes, each rounded up. At
 * once. 0 or negative errno. */
int index_total(struct index *x, uint64_t *ret_blocks, uint64_t *ret_names);
/* Components of files that split a directory into parts of about the same size, each of at least `least` entries, in
 * the order of the bytes: at most n, owned by the caller. How many. */
size_t index_sample(struct index *x, uint64_t parent, size_t least, char **ret, size_t n);
/* Whether the directory or one below it is cut. Looks at the whole subtree if there are such. */
bool index_cut_below(struct index *x, uint64_t ino);
/* Key of the inode below the drive's prefix: the components on its path, with a trailing '/' for a directory; "" is
 * the root. Owned by the caller; NULL for an orphan or without memory. And the path itself, as it is shown. */
char *index_key(struct index *x, uint64_t ino);
char *index_path(struct index *x, uint64_t ino);
/* The key of an entry of the directory whose key is given, always. */
char *index_child_key(const char *dir_key, const struct index_inode *i);
/* Whether no key below the directory goes on for more than `room` bytes after the directory's own: 0 or -ENAMETOOLONG.
 * A bound is kept that answers at once as a rule; when it does not the tree is looked at. Inside a transaction. */
int index_room_below(struct index *x, uint64_t ino, size_t room);
/* Changes, inside a transaction. */
int index_insert(struct index *x, struct index_inode *i);             /* fills i->ino when it is 0 */
int index_update(struct index *x, const struct index_inode *i);       /* all columns but ino, parent, name */
/* Under another name; -EINVAL: one that denotes no component, but for that which the inode has. */
int index_move(struct index *x, uint64_t ino, uint64_t parent, const void *name, size_t len);
int index_orphan(struct index *x, uint64_t ino);                      /* parent 0, nlink 0, no name */
/* Another file in the place of a file: gives it a number of its own, i->ino, with the name, pin, extended attributes
 * and parts already sent of the old one, and all else as in *i. The old one becomes an orphan. */
int index_replace(struct index *x, struct index_inode *i);
int index_remove(struct index *x, uint64_t ino);                      /* of a directory what is below must have gone */
int index_touch(struct index *x, uint64_t ino, int64_t now_ns);       /* its mtime and ctime; nothing is pending */
/* Orphans by number after `after`. */
int index_orphans(struct index *x, uint64_t after, index_each_fn *each, void *arg);

/* Extended attributes. */
int index_xattr_get(struct index *x, uint64_t ino, const char *name, void **ret, size_t *ret_size);
int index_xattr_set(struct index *x, uint64_t ino, const char *name, const void *value, size_t size, int flags);
int index_xattr_remove(struct index *x, uint64_t ino, const char *name);
int index_xattr_clear(struct index *x, uint64_t ino);
int index_xattr_list(struct index *x, uint64_t ino,
                     void (*each)(const char *name, const void *value, size_t size, void *arg), void *arg);

/* --- numbers of inodes (store_index_numbers.c) -------------------------------------------------- */

/* The greatest inode number given out. They are never given out twice. */
uint64_t index_last_ino(struct index *x);
/* Whether this index has given it out, not a lost one before it. */
bool index_gave(struct index *x, uint64_t ino);
/* For an index that may take the place of a lost one: if it has given out no number but the root's, those that it will
 * are none that the other one gave. 0 or negative errno. */
int index_succeed(struct index *x);

/* --- what is to be done in the cloud --------------------------------------------------------- */

/* A key (whole, below the drive's prefix) that must go from the cloud. `etag` is of the version there that was the
 * drive's; NULL: none is known to be there, only something that was perhaps put. */
int index_bury(struct index *x, const char *key, const char *etag);
/* The same where nobody wanted the name gone: only that version goes, or what an upload sent there without hearing of
 * it. */
int index_bury_version(struct index *x, const char *key, const char *etag);
/* Whether an open grave is such a one, so that what lies at the key has to be looked at before. */
bool index_grave_compared(struct index *x, const char *key);
/* The ETag that an open grave was given, owned by the caller, or NULL. */
char *index_grave_etag(struct index *x, const char *key);
int index_exhume(struct index *x, const char *key);                   /* closes the grave, if any */
bool index_buried(struct index *x, const char *key);
/* Whether the key (with '/' at its end: any key that begins with it) is buried or was so after `since_ns`: a listing
 * begun before may still show it. Memory of closed graves ends with index_forget_graves(). */
bool index_buried_since(struct index *x, const char *key, int64_t since_ns);
int index_forget_graves(struct index *x, int64_t before_ns);
int index_graves(struct index *x, const char *after, size_t n, bool (*each)(const char *key, void *arg), void *arg);

/* Inodes with pending bits whose next try is due, at most n: untried ones first, then oldest first. Orphans never. */
int index_due(struct index *x, int64_t now_ns, size_t n, index_each_fn *each, void *arg);
/* When the next one that is not due at now_ns will be; INT64_MAX: none. */
int64_t index_next_due(struct index *x, int64_t now_ns);
/* Remembers a failed try. `reason` is shown to people; NULL: none (the try is merely put off). */
int index_retry(struct index *x, uint64_t ino, int64_t not_before_ns, const char *reason);
/* All whose last try failed are due, as they are whenever the index is opened. */
int index_retry_failed(struct index *x);
/* Holds: somebody does not want the inode's content to be sent for now. Then it is not due, and nothing of the above
 * changes that. FREE: it is due at once. One that is paused is so until the index is closed. `reason` as above. */
enum index_hold { INDEX_FREE, INDEX_PAUSED, INDEX_CANCELED };
int index_hold(struct index *x, uint64_t ino, enum index_hold hold, const char *reason);
enum index_hold index_held(struct index *x, uint64_t ino);
/* All that are held so are free. */
int index_hold_end(struct index *x, enum index_hold hold);
/* Before when it is not tried again; 0: no such time. */
int64_t index_retry_at(struct index *x, uint64_t ino);
/* The reason remembered, owned by the caller; NULL: the last try did not fail. It goes when pending becomes zero. */
char *index_reason(struct index *x, uint64_t ino);
/* Live inode whose cloud version lives at `key`, or -ENOENT. */
int index_by_cloud_key(struct index *x, const char *key, struct index_inode *ret);
/* Where a key is a file or a folder: the first live inode whose version lies at a key above `key` ("a" for "a/b" and
 * for "a/") or, when it is a file's, below it, or -ENOENT; and whether such a key is buried. */
int index_in_the_way(struct index *x, const char *key, struct index_inode *ret);
bool index_buried_in_the_way(struct index *x, const char *key);
/* Inodes with bits of INDEX_LACKING, graves and rows of renamed directories; below a directory only its subtree counts
 * (and no graves). */
uint64_t index_pending_count(struct index *x);
bool index_pending_below(struct index *x, uint64_t ino);
/* How many inodes at or below the directory lack something, and the one of them to be named first: one that is not
 * held, and failed, the latest to be tried again, else any. */
uint64_t index_pending_in(struct index *x, uint64_t dir, uint64_t *ret_first);
/* How many of these are held, or have failed and are not tried again until then. */
uint64_t index_pending_in_vain(struct index *x, uint64_t dir, int64_t until_ns);
/* Open graves of keys that begin with this one, a directory's; "": all. */
uint64_t index_graves_below(struct index *x, const char *key);
/* Whether the inode is `dir` or lies below it. */
bool index_is_in(struct index *x, uint64_t ino, uint64_t dir);
/* Sizes of all files whose content the cloud lacks. */
uint64_t index_dirty_bytes(struct index *x);
/* Whether the inode or anything below it is pending or was so after `since_ns`, or may be so unmarked. Looks at the
 * whole subtree. */
bool index_pending_since(struct index *x, uint64_t ino, int64_t since_ns);
/* Whether a live inode's cloud version lies at the key (with '/' at its end: at a key that begins with it). When no
 * inode has the key by its name, that one is to be moved away from there. */
bool index_lives_at(struct index *x, const char *key);

/* What was sent or is being sent for an inode, one row each: a multipart upload to be resumed or aborted after a
 * restart, or (part_size 0) a PUT whose answer may be lost. upload_id "" beside a part_size: it was to be begun, and
 * nobody heard whether it was. size and mtime_ns are what the object then carries, so that it can be recognised as
 * ours. Rows outlive their inode. */
struct index_upload {
    uint64_t ino, generation, part_size, size;
    int64_t mtime_ns;
    char *key, *upload_id;
    int64_t begun_ns;              /* of one in parts: when it was to be begun */
};
int index_upload_put(struct index *x, const struct index_upload *u);
int index_upload_get(struct index *x, uint64_t ino, struct index_upload *ret);
/* One of any inode that may have left an object of this size and mtime at the key. As index_upload_get(). */
int index_upload_sent(struct index *x, const char *key, uint64_t size, int64_t mtime_ns, struct index_upload *ret);
int index_upload_remove(struct index *x, uint64_t ino);
void index_upload_done(struct index_upload *u);
/* All of them by inode number after `after`, also those whose inode is gone. */
int index_uploads(struct index *x, uint64_t after, bool (*each)(const struct index_upload *u, void *arg), void *arg);

/* --- renamed directories (store_index_moved.c) -------------------------------------------------- */

/* After index_move(): INDEX_MOVE is set when the cloud has the inode under another key than its own, and cleared when
 * it has not; a directory without a marker gets INDEX_CONTENT where its key is buried. What changes raises the
 * generation. */
int index_mark_moved(struct index *x, uint64_t ino);
/* The same for at most n entries of a directory, by number after *cookie, which moves on. Each is given to each(),
 * as it was. How many there were (fewer than n: these were the last), or negative errno. */
int index_mark_children(struct index *x, uint64_t dir, uint64_t *cookie, size_t n, index_each_fn *each, void *arg);
/* Whether the cloud has the inode, which is not marked, under another key than its own. */
bool index_displaced(struct index *x, const struct index_inode *i);

/* A directory that got another key has a row until all below it is listed and marked. */

/* Where the cloud has what lies below a directory that was never listed: the prefix in its row, or that of the nearest
 * directory above with a row and the names from there; else its key. Owned by the caller; NULL as index_key(). */
char *index_cloud_prefix(struct index *x, uint64_t ino);
/* Gives the directory a row. One that it has keeps its prefix and takes another turn. */
int index_moved_put(struct index *x, uint64_t ino, const char *prefix);
/* The first row by number after `after`: 0 or -ENOENT. */
int index_moved_next(struct index *x, uint64_t after, uint64_t *ret_ino, uint64_t *ret_turn);
/* Removes the row unless it has taken another turn. */
int index_moved_end(struct index *x, uint64_t ino, uint64_t turn);
bool index_moved_any(struct index *x);
/* Whether the inode or a directory above it has a row. */
bool index_moved_above(struct index *x, uint64_t ino);
/* Whether the key is, or lies below, a prefix whose directory is to be elsewhere and may have what lies there; whether
 * such a prefix is a directory's key or lies below it. */
bool index_moved_from(struct index *x, const char *key);
bool index_moved_within(struct index *x, const char *key);

/* Prefixes that directories had, remembered until nothing is left there that a rename concerns. */
int index_renamed_put(struct index *x, const char *prefix, uint64_t ino);
int index_renamed_end(struct index *x, const char *prefix);
/* The first after `after`, owned by the caller: 0 or -ENOENT. */
int index_renamed_next(struct index *x, const char *after, char **ret);
/* Whether something is left there: to be listed, moved or deleted. */
bool index_renamed_left(struct index *x, const char *prefix);
/* The same of all prefixes that the directory or one above it had; of the key as such a prefix or below one. */
bool index_rename_under_way(struct index *x, uint64_t dir);
bool index_rename_under_way_from(struct index *x, const char *key);

/* --- what a sealed cache file must have (store_index_fresh.c) ----------------------------------- */

enum { INDEX_FRESH = 64, INDEX_FRESH_TAG = 16 };   /* chunks of an extent; bytes that tell its key */
#define INDEX_FRESH_ABSENT (UINT64_C(1) << 63)     /* in a floor: the chunk may be missing as well */
#define INDEX_FRESH_CUT (UINT64_C(1) << 62)        /* and then the file was cut there, or before */

/* The file has this key, and nothing in it: what was known of it is forgotten. */
int index_fresh_begin(struct index *x, uint64_t ino, const uint8_t tag[INDEX_FRESH_TAG]);
/* Its bytes, which are as new, are under another key: from now on; or perhaps soon. */
int index_fresh_retag(struct index *x, uint64_t ino, const uint8_t tag[INDEX_FRESH_TAG]);
int index_fresh_announce(struct index *x, uint64_t ino, const uint8_t tag[INDEX_FRESH_TAG]);
int index_fresh_next_tag(struct index *x, uint64_t ino, uint8_t tag[INDEX_FRESH_TAG]);   /* announced; 0 or -ENOENT */
int index_fresh_tag(struct index *x, uint64_t ino, uint8_t tag[INDEX_FRESH_TAG]);   /* 0 or -ENOENT */
/* The generations that the chunks of an extent have at least; 0: any, or none. 0 or -ENOENT. */
int index_fresh_get(struct index *x, uint64_t ino, uint64_t extent, uint64_t floors[INDEX_FRESH]);
int index_fresh_put(struct index *x, uint64_t ino, uint64_t extent, const uint64_t floors[INDEX_FRESH]);
/* Of the first extent from `from` on that has any. 0 or -ENOENT. */
int index_fresh_next(struct index *x, uint64_t ino, uint64_t from, uint64_t *ret_extent, uint64_t floors[INDEX_FRESH]);
int index_fresh_remove(struct index *x, uint64_t ino);

/* --- what the cache has (store_index_cached.c) ------------------------------------------------- */

/* A pair of cache files. While in_use, bytes and kept are those of before: measure after a crash. */
struct index_cached {
    uint64_t ino, bytes;           /* bytes of disk */
    bool in_use, kept;             /* kept: whole, and to stay while it is pinned */
};
/* 0 or -ENOENT. */
int index_cached_get(struct index *x, uint64_t ino, struct index_cached *ret);
int index_cached_put(struct index *x, const struct index_cached *c);
/* Notes that the pair is in use from now on. */
int index_cached_use(struct index *x, uint64_t ino);
int index_cached_remove(struct index *x, uint64_t ino);
/* All bytes; those of pairs in use as they were before. *ret_n: how many pairs. */
int index_cached_sum(struct index *x, uint64_t *ret_bytes, uint64_t *ret_n);
/* Pairs by number after `after`, all or those marked in use: at most n numbers; how many, or negative errno. */
int index_cached_all(struct index *x, uint64_t after, uint64_t *ret, size_t n);
int index_cached_in_use(struct index *x, uint64_t after, uint64_t *ret, size_t n);

/* --- what a power cut may have taken (store_index_synced.c) ------------------------------------------ */

/* A session lasts as long as the machine runs. *ret is the number of the one that `boot` names; when that is
 * another than the last time *ret_new is true, and what was unsynced is doubtful from now on. Durable. 0 or
 * negative errno. */
int index_session(struct index *x, const char *boot, uint64_t *ret, bool *ret_new);
/* Content of the inode was or will be written that is not known to be on the disk; and is known to be. Neither changes
 * anything where the disk has refused content before. */
int index_unsynced_put(struct index *x, uint64_t ino);
int index_unsynced_end(struct index *x, uint64_t ino);
/* There is no such content any more, whatever is known of it; or other content in its place. */
int index_unsynced_remove(struct index *x, uint64_t ino);
int index_unsynced_anew(struct index *x, uint64_t ino);
/* It is on the disk as of that generation. As long as no program asked for that, a later one is doubtful again. */
int index_unsynced_rest(struct index *x, uint64_t ino, uint64_t generation);
/* Those that are not doubtful, nor on the disk as they are, by number after `after`: at most n numbers; how many,
 * or negative errno. */
int index_unsynced(struct index *x, uint64_t after, uint64_t *ret, size_t n);
/* Whether the content is what an earlier session left of changes that were never synced. Also without an answer. */
bool index_doubtful(struct index *x, uint64_t ino);
/* The disk did not take some of the content, or does not have it, for this reason (negative errno): doubtful from now
 * on, and not synced by whatever is synced after. 0 or negative errno. */
int index_fault_put(struct index *x, uint64_t ino, int code);
/* That reason, or 0. */
int index_fault(struct index *x, uint64_t ino);
/* It is known that it replaces nothing in the cloud. */
int index_undoubt(struct index *x, uint64_t ino);

/* Extents in the order in which they came into their queue; evict.c's. */
struct index_extent {
    uint64_t ino, extent;          /* the latter times EXTENT_SIZE is its offset */
    unsigned queue;
    uint64_t turn;                 /* rising; given by index_extent_put() when 0 */
    uint64_t bytes;
    unsigned uses;
    int64_t seen_s;
};
int index_extent_get(struct index *x, uint64_t ino, uint64_t extent, struct index_extent *ret);   /* 0 or -ENOENT */
int index_extent_put(struct index *x, struct index_extent *e);
int index_extent_remove(struct index *x, uint64_t ino, uint64_t extent);
int index_extent_of(struct index *x, uint64_t ino, struct index_extent *ret);   /* any of the inode, likewise */
/* The first of a queue, 0 or -ENOENT. */
int index_extent_first(struct index *x, unsigned queue, struct index_extent *ret);
/* Bytes and number of what is in the queue. */
int index_extent_sum(struct index *x, unsigned queue, uint64_t *ret_bytes, uint64_t *ret_n);

/* Whether the inode itself is pinned; or it or any directory above it; whether anything is. */
bool index_pinned(struct index *x, uint64_t ino);
bool index_pinned_above(struct index *x, uint64_t ino);
bool index_pinned_any(struct index *x);
int index_pin(struct index *x, uint64_t ino, bool pinned);
/* Pinned inodes after `after`, and files at or below a pinned inode that are not kept: at most n
 * numbers in rising order; how many, or negative errno. The latter look at all that is pinned. */
int index_pins(struct index *x, uint64_t after, uint64_t *ret, size_t n);
int index_pinned_lacking(struct index *x, uint64_t after, uint64_t *ret, size_t n);
/* Bytes of disk of those that are kept. */
uint64_t index_pinned_bytes(struct index *x);

/* --- encrypted objects (store_index_object.c) ------------------------------------------------------- */

/* What a version in the cloud is made of, kept with the inode that is based on it and good for that ETag alone: another
 * version makes it unknown without anybody saying so. */
enum index_object_kind { INDEX_OBJECT_UNKNOWN = 0, INDEX_OBJECT_PLAIN = 1, INDEX_OBJECT_SEALED = 2 };
enum { INDEX_BINDING = 32 };
struct index_object {
    enum index_object_kind kind;
    uint64_t size;                 /* bytes of plaintext */
    uint64_t version;              /* of what is sealed, once its head was seen; 0: it has none */
    void *head;                    /* owned; NULL: not seen yet */
    size_t head_size;
    bool has_binding;              /* metadata says to which key it was copied */
    uint8_t binding[INDEX_BINDING];
    int fault;                     /* negative errno: why it is not to be read; 0: it may be */
    int64_t found_ns;              /* and when that was found */
};
/* Of the inode's version with that ETag. 0 and *ret (index_object_done() it), or -ENOENT: unknown. */
int index_object_get(struct index *x, uint64_t ino, const char *etag, struct index_object *ret);
int index_object_put(struct index *x, uint64_t ino, const char *etag, const struct index_object *o);
int index_object_remove(struct index *x, uint64_t ino);
/* No object is refused for that reason any more (a negative errno). */
int index_object_forgive(struct index *x, int fault);
void index_object_done(struct index_object *o);

/* An object that goes up in parts, one row for each inode: with what it is sealed, so that it can be gone on with, and
 * a digest of each part that may have been sent, since none may be sealed with two plaintexts. */
enum { INDEX_SEALING_KEY = 104, INDEX_DIGEST = 64 + 1 };
struct index_sealing {
    uint64_t generation, session;  /* of the content; of the machine: a power cut takes content without a trace */
    uint64_t size, version;        /* bytes of plaintext */
    void *head;                    /* owned */
    size_t head_size;
    uint8_t key[INDEX_SEALING_KEY];
};
int index_sealing_get(struct index *x, uint64_t ino, struct index_sealing *ret);   /* 0 or -ENOENT */
int index_sealing_put(struct index *x, uint64_t ino, const struct index_sealing *s);   /* forgets the parts */
int index_sealing_remove(struct index *x, uint64_t ino);
void index_sealing_done(struct index_sealing *s);
/* Hex of the SHA-256 of what tells a part, from 0. 0 or -ENOENT. */
int index_sealed_get(struct index *x, uint64_t ino, uint32_t part, char ret[INDEX_DIGEST]);
int index_sealed_put(struct index *x, uint64_t ino, uint32_t part, const char *digest);

/* --- repeated requests ------------------------------------------------------------------------ */

/* The packed reply that was given to this request, stored in the same transaction as its effect. It is the same
 * request when instance and id are, or when the kernel's number is, on the same mount: then a worker died before
 * the kernel had the answer, and the next one asks. 0 and *ret (owned), or -ENOENT. Storing one forgets those of
 * the instance below `done_below`. `mount` 0: not known, so the kernel's number says nothing. */
int index_replay_get(struct index *x, const struct ipc_identity *who, uint64_t mount, void **ret, size_t *ret_size);
int index_replay_put(struct index *x, const struct ipc_identity *who, uint64_t mount, const void *reply, size_t size);
