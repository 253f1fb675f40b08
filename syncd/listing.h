/* How the files of the lister see each other: listing.c (who waits for what, and when), listing_run.c
 * (one listing and its requests), listing_merge.c (a listing into the index), listing_entry.c (one
 * entry), listing_settle.c (metadata), listing_tree.c (subtrees), listing_probe.c (whether a cloud that is out of reach
 * still is). */
#pragma once

#include <sys/queue.h>

#include "syncd/volume_internal.h"

typedef void lister_done_fn(const struct error *e, void *arg);

enum { LISTINGS_AT_ONCE = 16, HEADS_AT_ONCE = 16, LATER_AT_ONCE = 12, VISITS = 128 };

/* A listing says nothing about what we changed ourselves so shortly before it began: services that answer from
 * several machines may still show the state before. */
#define LISTING_GRACE_NS (INT64_C(3) * 1000000000)

/* --- errands: requests whose owner may go before they come back ---------------------------------- */

typedef void errand_done_fn(struct cloud_request *r, void *owner, size_t n);
struct errand {
    struct cloud_request *request;
    errand_done_fn *done;          /* frees the request */
    void *owner;                   /* NULL: abandoned */
    size_t n;                      /* the owner's */
};
/* Submits the request; done(r, owner, n) runs once from the loop, unless it is abandoned before. */
struct errand *errand_submit(struct volume *v, struct cloud_request *r, errand_done_fn *done, void *owner, size_t n);
/* Cancels it; done will not run. NULL is fine. */
void errand_abandon(struct volume *v, struct errand *e);

/* --- listing_entry.c: one entry of the cloud into the index (entry_add() for conflict.c too) ---------- */

/* What is to be told and dropped once the transaction is committed. */
struct news {
    struct news_item {
        uint64_t dir;
        char *name;                /* in it, owned: means something else now; NULL: no name does */
        char *copy;                /* owned; what had the name has this one from now on; NULL: nothing of the kind */
        uint64_t version;          /* an inode that is another version; 0 none */
        uint64_t fresh;            /* an inode that a listing has and the one before had not; 0 none */
        uint64_t drop;             /* an inode that is gone: its cache file goes; 0 none */
        uint64_t dismantle;        /* a directory that is gone; 0 none */
    } *items;
    size_t n;
};
/* Tells the workers and drops (commit true), or forgets it all. */
void news_end(struct volume *v, struct news *news, bool committed);

/* Whether the cloud's object is what the inode says, as far as a listing can tell. */
bool entry_same(const struct index_inode *i, const char *key, const struct cloud_object *o);
/* Whether it is a file, a link, a FIFO or a socket on both sides. */
bool entry_same_type(const struct index_inode *i, const struct cloud_object *o);
/* A new inode for the object, or for the directory, under the name that its component of the key has. `key` is relative
 * to the drive. */
int entry_add(struct volume *v, uint64_t dir, const char *key, const struct cloud_object *o, uint64_t *ret_ino);
int entry_add_directory(struct volume *v, uint64_t dir, const char *component, uint64_t *ret_ino);
/* Whether a marker at the key is not the directory's: it is to go, or to be moved away for another inode. */
bool entry_marker_leaves(struct volume *v, uint64_t dir, const char *key);
/* Puts another version, *i, in the place of the file i->ino: it gets a number of its own, i->ino, and whoever has the
 * old one open goes on with that, as far as it is here. The kernel would believe of the old number neither another kind
 * nor, in the middle of a read, another size. 0 or negative errno. */
int entry_replace(struct volume *v, struct news *news, struct index_inode *i);
/* Puts the object's version there in this way, unless it is dirty or may be at any moment: -EBUSY. A file that is
 * just being opened for the first time keeps its number, since programs compare it with what they saw before (cp). */
int entry_take_over(struct volume *v, struct news *news, const struct index_inode *i, const char *key,
                    const struct cloud_object *o, uint64_t *ret_ino);
/* The object carries metadata and is the version of the index: fills what a listing left open. */
int entry_settle(struct volume *v, struct index_inode *i, const struct cloud_object *o);
/* The same of what is changed here, by the object that lies at its key, whichever version, or NULL where there is none:
 * its times stay, and what the cloud says of the rest holds from now on. */
int entry_complete(struct volume *v, struct index_inode *i, const struct cloud_object *o);
/* The size alone, if the object is the version of the index and may be encrypted. */
int entry_size(struct volume *v, struct index_inode *i, const struct cloud_object *o);
/* A directory of the cloud has the name of a file of ours that the cloud does not have, or had not when it was last
 * listed: both are kept, the file under a conflict's name. */
int entry_step_aside(struct volume *v, struct news *news, const struct index_inode *i);
/* The cloud has it no more. -EBUSY: it is in use and stays. */
int entry_take_away(struct volume *v, struct news *news, const struct index_inode *i);

/* --- listing_merge.c: one directory ----------------------------------------------------------------- */

struct merge {
    struct volume *v;
    uint64_t dir;
    char *key;                     /* relative to the drive, "" or ending in '/' */
    char *prefix;                  /* what is listed: the key, or of a renamed directory where the cloud has it */
    char *assumed;                 /* index_cloud_prefix() */
    int64_t started_ns, since_ns;
    int64_t listed_ns;             /* the listing before; 0: none */
    bool first;                    /* the directory was never listed before */
    uint64_t *seen;                /* inodes that the listing has */
    size_t n_seen;
    struct cloud_object *later;    /* objects where the index has a directory; owned */
    size_t n_later;
    bool marker;
    bool altered;
    struct news news;
};
int merge_begin(struct merge *m, struct volume *v, const struct index_inode *dir);   /* 0 or -ENOENT */
void merge_done(struct merge *m);
/* Whether the directory was renamed before it was listed: what the cloud has under the prefix is ours, all of it, and
 * is to be moved. */
bool merge_elsewhere(const struct merge *m);
/* Whether the listed object may be a symlink: only its metadata can tell. */
bool merge_wants_head(struct merge *m, const struct cloud_object *o);
/* One page in one transaction; strings of the request may be taken. */
int merge_page(struct merge *m, struct cloud_request *page);
/* After the last page: what was not in it goes. Cut: it was the last that the drive wants, and what is behind it in the
 * order of the keys is not known, so nothing goes. */
int merge_end(struct merge *m, bool cut);

/* --- listing_run.c: one listing ----------------------------------------------------------------------- */

/* done(e, arg) runs once from the loop, unless the run is freed before. */
struct listing_run;
struct listing_run *listing_run_new(struct volume *v, uint64_t dir, lister_done_fn *done, void *arg);
void listing_run_free(struct listing_run *run);

/* --- listing.c ---------------------------------------------------------------------------------------- */

struct lister {
    struct volume *v;
    bool closing;
    bool unordered;                      /* the server lists in another order than that of the bytes */
    TAILQ_HEAD(, listing) listings;      /* wanted and running, oldest first */
    unsigned n_running;
    struct visit {
        uint64_t ino;
        int64_t last_ns, failed_ns;      /* monotonic; failed 0: the last listing went well */
        int64_t took_ns;                 /* the last listing that went well */
    } visits[VISITS];
    size_t n_visits;
    struct loop_timer *timer;            /* refreshes what is visited */
    LIST_HEAD(, settle) settles;
    uint64_t *later;                     /* inodes to be settled behind; a ring */
    size_t later_first, n_later;
    unsigned n_settling_later;
    int64_t settle_after_ns;             /* monotonic; before, others may go on asking the cloud */
    int64_t content_until_ns;            /* the same, for whoever reads files */
    int64_t settle_put_off_ns;           /* since when; 0: it is not */
    unsigned settle_few;                 /* that may be asked though it was put off for long */
    struct loop_timer *settle_timer;
    int64_t failed_ns;                   /* monotonic; when somebody last waited in vain; 0: one was answered since */
    struct loop_timer *reach_timer;      /* the cloud is out of reach, or within it again: that has consequences */
    uint64_t look_again_ms;              /* while it is out of reach and nobody comes by */
    struct errand *probe;                /* listing_probe.c's: asks whether it is; when the last one ended */
    int64_t probed_ns;
};

/* A listing has ended: what it left open is asked for when no other one follows at once. */
void settle_later_soon(struct lister *l);
/* listing_settle.c's part of ending. */
void settle_cancel_all(struct lister *l);
/* Where to ask the cloud for metadata of the inode, relative to the drive, owned by the caller; NULL: there is nothing
 * to ask, because it has none there or it is settled and changed here. */
char *settle_key(struct volume *v, const struct index_inode *i);

/* --- listing_probe.c ---------------------------------------------------------------------------------- */

/* Asks the cloud a small question, unless it is being asked or was a second ago. */
void lister_probe(struct lister *l);
