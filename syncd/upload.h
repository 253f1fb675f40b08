/* Bringing the cloud to what the index says; the parts of the uploader as they see each other:
 *
 *   upload.c         which change is next: settling, order between keys, back-off, the index on the disk
 *   upload_run.c     one change from its start to its commit or failure
 *   upload_ask.c     its requests, and what they carry
 *   upload_look.c    what lies at a key: the version we build on, our own of an earlier try, or somebody else's
 *   upload_gather.c  what has to be here for it, and what the cloud can copy instead
 *   upload_put.c     contents, links and markers in one PUT
 *   upload_parts.c   contents and copies in parts
 *   upload_fail.c    when what did not work is tried again
 *   upload_hold.c    what people ask of those on their way: to wait, to go on, to end
 *   upload_seal.c    what encrypted objects are made of; upload_bind.c: those that are copied to another key
 *   upload_reseal.c  files that did not change, of which the object is to be encrypted
 *   upload_resume.c  the parts of an earlier try that are still good
 *   upload_abort.c   the end of those that nobody wants
 *   upload_clone.c   a file made of another one's version, for a program that waits for it
 *   upload_move.c    server-side copies (renamed, new metadata), cutting circles of renames
 *   upload_delete.c  graves; uploads in parts whose file is gone
 *
 * What makes it survive a crash at any point: before the cloud is given an object at a key that
 * is not the inode's cloud_key, the key is buried ("declared"). A grave is only dug out when the
 * index says in the same transaction that the inode's version now lives there. So whatever is in the
 * cloud under our prefix is either some inode's cloud_key or has a grave.
 *
 * What makes it overwrite nobody: whatever replaces an object carries the condition that the object is the version
 * it is based on. That version is the inode's own at its cloud_key, the one the grave names at another key, or none.
 * Where the provider cannot compare, and before a copy, we look ourselves, as late as can be. When the condition does
 * not hold, a look decides: ours after all (an answer was lost), nothing (the file is made anew), or somebody
 * else's (conflict.c keeps both). Markers of directories carry nothing that could be lost, and no condition.
 *
 * An open file that is written to is uploaded after it has been quiet for QuietMilliseconds, so that a
 * database or a log that stays open for days reaches the cloud in its pauses. */
#pragma once

#include <sys/queue.h>

#include "syncd/cache.h"
#include "syncd/fetch.h"

enum {
    UPLOAD_SINGLE_MAX = 16 << 20,   /* bytes; from here on in parts */
    UPLOAD_COPY_MAX = 1 << 30,      /* bytes copied by one request, during which nothing is heard of the server */
    UPLOAD_PARALLEL = 4,            /* parts of one file at once */
    UPLOAD_CLONE_LEAST = 5 << 20,   /* what can be a part before others (S3's rule; smaller ones would be thousands) */
};

enum upload_kind { UPLOAD_MARK, UPLOAD_CONTENT, UPLOAD_COPY, UPLOAD_CUT, UPLOAD_CLONE, UPLOAD_BURY, UPLOAD_KINDS };

struct upload;
struct upload_seal;
struct upload_bind;
struct upload_clone;
struct upload_quit;
struct upload_hold;
struct transfer_control;
/* A body in memory that is locked, as long as that lasts; the descriptor is somebody else's. */
struct upload_plain {
    int fd;
    uint8_t *bytes;
    size_t n;                      /* 0: none */
};
/* An upload in parts is ended; e->code: it is not. */
typedef void upload_aborted_fn(struct upload *u, const struct error *e);

/* One change on its way. Ends through upload_commit(), upload_again() or upload_fail(), exactly once. */
struct upload {
    LIST_ENTRY(upload) next;
    struct uploader *uploader;     /* NULL: the volume was closed; answers still to come only free it */
    struct volume *volume;
    enum upload_kind kind;
    struct index_inode inode;      /* as it was when the change began */
    char *key;                     /* where the object goes, below the prefix */
    uint64_t size;                 /* of the object */
    struct cache_file *file;       /* held; NULL: none needed */
    uint64_t write_seq;            /* of the map, when reading began */
    bool declared;                 /* the grave at key is ours */
    bool noted;                    /* a copy: the row of what was sent is ours */
    bool unreadable;               /* the cache's disk did not give the file */
    bool base_lost;                /* parts cannot be copied from what the file is based on: all is sent */
    bool placing;                  /* the object may be in place, and we have not heard of it */
    bool unconditional;            /* UPLOAD_COPY: the provider cannot compare the source's ETag */
    bool metadata_sent;            /* the inode's */
    bool keeps_meta;               /* the copy gets kept_meta, the source's, instead */
    struct cloud_meta kept_meta;
    struct upload_parts *parts;    /* upload_parts.c's */
    struct look *look;             /* upload_look.c's */
    struct upload_clone *clone;    /* upload_clone.c's; NULL: it is none */
    void (*settled)(struct upload *u);       /* upload_put.c's */
    void (*gathered)(struct upload *u);      /* upload_gather.c's, as is: */
    uint64_t gathered_to;
    void (*go_on)(struct upload *u);         /* upload_parts.c's, as is: */
    int64_t begun_ns;
    int64_t heard_ns;              /* upload_ask.c's: of loop_now_ns(), when the cloud last did what was asked */
    upload_aborted_fn *aborted;              /* upload_abort.c's, as are: */
    struct error abort_error;
    int64_t abort_since_ns;
    char *abort_spares;
    char **keys;                   /* UPLOAD_BURY: sorted */
    bool *gone;                    /* which of them are gone from the cloud */
    size_t n_keys;
    LIST_HEAD(, upload_ask) asks;  /* requests under way */
    unsigned n_asks;
    struct file_job *job;          /* the pool's, under way */
    struct upload_seal *seal;      /* upload_seal.c's, as is: NULL: the object is what the file is */
    struct seal_job *seal_job;     /* under way */
    struct base_look *base;        /* and what was seen of what it replaces */
    void (*sealing)(struct upload *u);
    bool heard;                    /* the cloud answered that the object is in place */
    struct unseal_job *unseal_job; /* upload_unseal.c's, as is the next */
    struct upload_plain plain;     /* the body that was made last, until it is sent */
    struct transfer *shown;        /* show.c's; NULL: nobody is told */
    struct upload_bind *bind;      /* upload_bind.c's; NULL: what is copied is not encrypted */
};

struct uploader {
    struct volume *volume;
    LIST_HEAD(, upload) running;
    size_t n_running;              /* without the burial */
    bool burying;
    int64_t copies_after_ns;       /* the provider did not copy parts, whatever it says it can: nothing before */
    struct loop_timer *timer;
    int64_t timer_ns;              /* loop_now_ns() at which it fires */
    int64_t rest_until_ns;         /* the cloud cannot be reached: nothing before */
    int64_t rest_ns;
    struct error trouble;          /* upload_run.c's: why it rests */
    bool rest_ends_with_answer;    /* to whomever */
    int64_t graves_after_ns;
    struct error grave_trouble;    /* why not all keys could be deleted the last time; code 0: they could */
    int64_t changed_ns;            /* the last change by a program */
    int64_t burst_ns;              /* the first of those that came without a pause */
    bool awaits_keys;              /* for cache files: nothing but removals begins */
    bool unsynced;                 /* commits that released a key, or that made files clean, are not on the disk yet */
    struct inos { uint64_t *all; size_t n; } sent, going;   /* such files: since; and of what is on its way there: */
    struct index_syncing *syncing;
    LIST_HEAD(, upload_hold) holds;   /* upload_hold.c's: uploads that are paused */
    struct upload_quit *quit;      /* the drive goes: nothing begins; NULL: it stays */
};

/* --- upload_durable.c --------------------------------------------------------------------------- */

/* Makes everything committed so far survive a power cut, then looks again. True: nothing is left to do. */
bool uploader_synced(struct uploader *u);
/* That the content of the inode was sent has just been committed. */
void uploader_note_sent(struct uploader *u, uint64_t ino);
void uploader_end_syncing(struct uploader *u);

/* --- upload.c ----------------------------------------------------------------------------------- */

/* Whether an object is being put at, copied from or deleted at the key. */
bool uploader_key_busy(const struct uploader *u, const char *key);
/* The cloud did what was asked; or it failed with this code, as it would for everybody. */
void uploader_reached(struct uploader *u);
void uploader_rest(struct uploader *u, int code);
/* Whether a change of the inode could be begun now: nothing lies, comes or goes where its object is to be. */
bool uploader_free_for(struct uploader *u, uint64_t ino);
/* Whether it is likely that the cloud can be reached, and copies parts. */
bool uploader_may_copy(const struct uploader *u);
/* Until when nothing is begun because programs are changing things, on the clock of loop_now_ns(). */
int64_t uploader_held_until(const struct uploader *u);
/* Looks again at loop_now_ns() `when_ns` at the latest. */
void uploader_look_at(struct uploader *u, int64_t when_ns);

/* --- upload_run.c --------------------------------------------------------------------------------- */

/* Begins a change; it may have ended when this returns. */
void upload_start(struct uploader *u, enum upload_kind kind, uint64_t ino);
void upload_begin(struct upload *u, uint64_t ino);
/* Goes on as a change of this kind, or ends to be begun anew with metadata that it would have replaced unseen. */
void upload_start_as(struct upload *u, enum upload_kind kind);
struct upload *upload_new(struct uploader *u, enum upload_kind kind);
/* The uploader goes away. */
void upload_abandon(struct upload *u);
/* Nothing of it is done any more, and what is known of it is what a crash would leave; the uploader looks for work. */
void upload_break_off(struct upload *u);
void upload_free(struct upload *u);

/* Buries the key beforehand when it is not the inode's cloud_key, and remembers `row` (may be NULL). 0 or negative
 * errno. */
int upload_declare(struct upload *u, const struct index_upload *row);
/* upload_look.c: when it would send metadata of which a listing lacked a part, true: the index takes that over from the
 * object at its key, and the change ends, to be begun anew. */
bool upload_lacks_metadata(struct upload *u);
/* Whether the file is still what was read at the start. */
bool upload_unchanged(const struct upload *u);
/* Reads the inode again. 0 or negative errno. */
int upload_reload(struct upload *u);

/* What is known of the cloud, into the index and u->inode. 0 or negative errno.
 * The object at the key is ours: the inode's version, or where that is elsewhere, what a grave has. NULL as its etag:
 * none of ours is there. */
int upload_own(struct upload *u, const char *key, const struct cloud_object *o);
/* The same of one that an earlier try of this change has sent: what the file has in common with its version it has in
 * common with that. */
int upload_own_sent(struct upload *u, const char *key, const struct cloud_object *o);
/* It is not: no grave for it. */
int upload_disown(struct upload *u, const char *key);
/* The inode has no version in the cloud any more and contents to be sent. What lies at its cloud_key is buried, or
 * (`bury` false) not ours. */
int upload_leave(struct upload *u, bool bury);

/* The object is in place: the index says so. */
void upload_commit(struct upload *u, const char *etag);
/* In a transaction: what was sent for the inode is no longer of interest. 0 or negative errno. */
int upload_forget_row(struct upload *u);

/* --- upload_fail.c -------------------------------------------------------------------------------- */

/* The file changed meanwhile: once more, after settling. */
void upload_again(struct upload *u);
/* It did not work: once more later. The reason is kept with the inode. */
void upload_fail(struct upload *u, const struct error *e);
void upload_fail_code(struct upload *u, int code);
/* Whether it takes a minute or more until that is tried again, so that who waits for it should hear of it. */
bool upload_fails_lastingly(int code);
/* Whether all changes would fail alike, or this one was canceled. */
bool upload_fails_all(int code);
/* Nothing more to do or to say. */
void upload_end(struct upload *u);

/* --- upload_ask.c --------------------------------------------------------------------------------- */

/* A request for the change's bucket and, when not NULL, full key of `key`. After upload_submit(), step(u, r) runs with
 * the answer; r is freed after. A body's descriptor is the request's own and is closed. */
typedef void upload_step_fn(struct upload *u, struct cloud_request *r);
struct upload *upload_of(const void *arg);   /* of a request, by its `arg`; NULL: it was abandoned */
struct cloud_request *upload_request(struct upload *u, enum cloud_op op, const char *key, upload_step_fn *step);
void upload_submit(struct upload *u, struct cloud_request *r);
void upload_drop(struct cloud_request *r);   /* one that was not submitted */
void upload_cancel_asks(struct upload *u);

/* What an upload sends: enough to know it again by. Strings are the upload's, upload_id is "". */
struct index_upload upload_sent(const struct upload *u);
/* Whether the object, which has its metadata, is what was sent. */
bool upload_is_sent(const struct volume *v, const struct index_upload *sent, const struct cloud_object *o);
/* Whether it is what any upload sent to the key without hearing of it. */
bool upload_is_ours(const struct volume *v, const char *key, const struct cloud_object *o);
/* Metadata of the inode, extended attributes included, into *m (empty). */
void upload_meta(struct upload *u, struct cloud_meta *m);
/* A run of the file as a request's body. 0 or negative errno. */
int upload_body(struct upload *u, struct cloud_request *r, uint64_t offset, uint64_t length);
/* The condition under which our object may take the key's place, as far as the provider knows conditions. */
void upload_condition(struct upload *u, struct cloud_request *r);
/* How many bytes of its object are on their way or there. One of its requests that waits to be tried again, or NULL. */
uint64_t upload_progress(const struct upload *u);
const struct cloud_request *upload_held_up(const struct upload *u);
/* Nothing of it calls back any more. True: nothing is under way either; else the last answer frees the change. */
bool upload_detach_asks(struct upload *u);
/* Whether the inode's version in the cloud is the one at the key. */
bool upload_in_place(const struct upload *u);
/* step(u, 0 or negative errno) when data, map and index are on the disk. */
void upload_sync_file(struct upload *u, void (*step)(struct upload *u, int code));
/* step(u, hex of the MD5 of these bytes of the file, or NULL: they could not be read). */
void upload_hash_file(struct upload *u, uint64_t offset, uint64_t length,
                      void (*step)(struct upload *u, const char *md5));

/* --- the kinds ------------------------------------------------------------------------------------ */

void upload_mark_start(struct upload *u);
void upload_content_start(struct upload *u);
void upload_copy_start(struct upload *u);
void upload_cut_start(struct upload *u);

/* --- upload_seal.c -------------------------------------------------------------------------------- */

/* For a file of u->size bytes that is to be sent: has a head and a key made where objects are encrypted, or takes those
 * of an earlier try that was of the same bytes; from then on u->size is the object's. Then next(u). */
void upload_seal_begin(struct upload *u, void (*next)(struct upload *u));
/* Whether they are kept in the index. */
bool upload_seal_kept(const struct upload *u);
/* Writes down what is about to be sent, and of parts what they are sealed with. In a transaction. 0 or negative
 * errno. */
int upload_seal_keep(struct upload *u, const struct index_upload *row);
/* Makes the next `length` bytes of the object, from the beginning after upload_seal_rewind(). made(u, fd, code) once,
 * perhaps from within: the descriptor of a file of these bytes, the callee's; or -1 and -EBADE (an earlier try has sent
 * others as this part, which must not be) or another negative errno. One at a time. */
typedef void upload_body_fn(struct upload *u, int fd, int code);
void upload_seal_body(struct upload *u, uint32_t part, uint64_t length, upload_body_fn *made);
void upload_seal_rewind(struct upload *u);
/* As upload_hash_file(), of a body. */
void upload_seal_hash(struct upload *u, int fd, uint64_t length, void (*step)(struct upload *u, const char *md5));
/* What the metadata say of it. */
void upload_seal_meta(const struct upload *u, struct cloud_meta *m);
/* The object is in place, whatever put it there: no grave for it, and what it is made of; in a transaction. */
int upload_record_object(struct upload *u, const char *etag);
void upload_seal_abandon(struct upload *u);
void upload_seal_free(struct upload_seal *s);   /* NULL is fine */

/* --- upload_unseal.c ------------------------------------------------------------------------------ */

/* Whether the file is sealed in the cache and the object is not. */
bool upload_unseals(const struct upload *u);
/* As upload_seal_body(), of the file's bytes from `offset` on; more than none. */
void upload_unseal_body(struct upload *u, uint64_t offset, uint64_t length, upload_body_fn *made);
/* For upload_hash_file(). */
void upload_unseal_hash(struct upload *u, uint64_t offset, uint64_t length,
                        void (*step)(struct upload *u, const char *md5));
void upload_unseal_abandon(struct upload *u);
void upload_plain_end(struct upload_plain *p);

/* --- upload_reseal.c ------------------------------------------------------------------------------ */

/* Whether the content is what the cloud has, and is sent to be encrypted there. */
bool upload_reseals(const struct upload *u);
/* Whether that may be done now; false: the change has ended. */
bool upload_reseal_may(struct upload *u);
/* The cloud has another version by now, as looked at: that is taken over, to be encrypted in its turn; or none. Ends
 * the change. */
void upload_reseal_theirs(struct upload *u);
void upload_reseal_gone(struct upload *u);

/* --- upload_bind.c -------------------------------------------------------------------------------- */

/* For an object that is to be copied to u->key, or onto itself with other metadata: what that needs when it is
 * encrypted, or may be. Then next(u). */
void upload_bind_begin(struct upload *u, void (*next)(struct upload *u));
/* As for the above. */
void upload_bind_meta(const struct upload *u, struct cloud_meta *m);
int upload_bind_record(struct upload *u, const char *etag);
/* What was copied to u->key is refused there if it was refused, or is to be, where it was; in a transaction. */
int upload_carry_anchor(struct upload *u);
void upload_bind_abandon(struct upload *u);
void upload_bind_free(struct upload_bind *b);   /* NULL is fine */

/* --- upload_look.c -------------------------------------------------------------------------------- */

enum upload_found {
    UPLOAD_NOTHING,
    UPLOAD_OURS,      /* what `sent` says, or a copy of the inode's version */
    UPLOAD_BASE,      /* what we are based on */
    UPLOAD_THEIRS,
};
/* The ETag of what we are based on at the key, owned by the caller; NULL: nothing of ours, or unknown. */
char *upload_base(const struct upload *u, const char *key);
/* Looks what lies at the key; `sent` (may be NULL) is what an earlier try may have put there. Fails the change when
 * nobody can tell. */
typedef void upload_found_fn(struct upload *u, enum upload_found found);
void upload_look(struct upload *u, const char *key, const struct index_upload *sent, upload_found_fn *step);
/* What the last look found, and where. */
const struct cloud_object *upload_looked(const struct upload *u);
const char *upload_looked_at(const struct upload *u);
void upload_look_free(struct look *l);
/* go(u) when what lies at u->key may be replaced; else the change ends, and both are kept or it is made anew. */
void upload_guard(struct upload *u, void (*go)(struct upload *u));
/* The provider says that the condition does not hold (e). `sent` is what was just tried; NULL: nothing that could be
 * told by it. Ends the change. */
void upload_refused(struct upload *u, const struct index_upload *sent, const struct error *e);
/* Bytes of the file are not here and cannot be had (e). When that is because of another version at its key, both are
 * kept, ours with what there is of it. Ends the change. */
void upload_incomplete(struct upload *u, const struct error *e);

/* What an earlier change of this inode may have left in the cloud is known or ended after this; then next(u). */
void upload_settle_earlier(struct upload *u, void (*next)(struct upload *u));

/* --- contents ----------------------------------------------------------------------------------------- */

/* Calls next(u) once all that is to be sent of the cache file, or (UPLOAD_CUT) all of it, is here. */
void upload_gather(struct upload *u, void (*next)(struct upload *u));
/* Whether that is still so. */
bool upload_is_here(const struct upload *u);
/* Whether a part with these bytes is copied from the version that the file is based on. */
bool upload_copies(const struct upload *u, uint64_t from, uint64_t to);
/* Whether an object of that size goes up in parts, and in which; 0: it does not fit at all. */
bool upload_in_parts(const struct upload *u, uint64_t size);
uint64_t upload_part_size(const struct upload *u, uint64_t size, bool copy);

/* In parts: of the cache file, or of the object at the inode's cloud_key. */
void upload_parts_start(struct upload *u, bool copy);
/* No part is begun any more. */
void upload_parts_cancel(struct upload *u);
/* Ends the one that is under way, when the cloud has begun it, and forgets its row; then next(u). */
void upload_parts_give_up(struct upload *u, void (*next)(struct upload *u));
/* Whether what `row` tells of comes out when the cache file, as it is now, is sent in parts. */
bool upload_parts_settles(const struct upload *u, const struct index_upload *row);
/* Ends an earlier upload in parts that `row` tells of, and forgets the row; then next(u). */
void upload_parts_abort(struct upload *u, const struct index_upload *row, void (*next)(struct upload *u));
/* The same without the index. */
void upload_abort(struct upload *u, const struct index_upload *row, upload_aborted_fn *next);
/* Ends what was begun at the key since then, unheard, but for the one with the id `spare` (may be NULL). */
void upload_abort_unheard(struct upload *u, const char *key, int64_t begun_ns, const char *spare,
                          upload_aborted_fn *next);
/* The source of a copy is not what the index says (-ENOENT, -ESTALE). */
void upload_copy_failed(struct upload *u, const struct error *e);
/* The cloud has that version by now, and what is here was not changed: it takes the version over. Ends the change. */
void upload_take_over(struct upload *u, const struct cloud_object *o);
void upload_parts_free(struct upload_parts *p);
/* Bytes in parts that are there. */
uint64_t upload_parts_bytes(const struct upload *u);

/* --- upload_clone.c ------------------------------------------------------------------------------- */

/* What the cloud has of another file is to follow what it has of this one. */
struct clone_spec {
    uint64_t ino, size;            /* the file, and its size; 0: it is empty, whatever the cloud has of it */
    const char *key, *etag;        /* what is copied: a version, below the prefix */
    uint64_t offset, length;       /* and which bytes of it */
    /* Runs in the transaction that makes it so. 0 or negative errno. */
    int (*record)(void *arg);
    /* It is so (0), or is not and will not be. Once; it may be before upload_clone() returns. */
    void (*ended)(int code, void *arg);
    void *arg;
};
/* Begins it. Whoever has checked that the file is empty, or what the cloud has of it, also checks that
 * uploader_free_for() it, and that it is marked (fs_when_marked()). What is returned is good until ended(). */
struct upload *upload_clone(struct uploader *u, const struct clone_spec *spec);
/* Ends it soon with ECANCELED. When its last request is on its way only if `even_then`: it may be made nevertheless,
 * and whatever the file becomes replaces that. */
void upload_clone_cancel(struct upload *u, bool even_then);

/* For the other files here. The version that is copied, of which nothing else says whether it stayed there. */
struct upload_source { const char *key, *etag; };
struct upload_source upload_source(const struct upload *u);
/* Where the part that begins at this byte of the object is copied from: the version, and *ret_offset in it. */
struct upload_source upload_piece(const struct upload *u, uint64_t at, uint64_t *ret_offset);
/* The size of its parts, each of which is of one file; `least_size` at least. 0: there is none. */
uint64_t upload_clone_part(const struct upload *u, uint64_t least_size);
void upload_clone_start(struct upload *u);
/* upload_commit() and upload_fail() of a clone. In the transaction, i being what is stored; after it. */
int upload_clone_record(struct upload *u, struct index_inode *i);
void upload_clone_made(struct upload *u);
void upload_clone_failed(struct upload *u, const struct error *e);
/* Nobody hears of it any more. */
void upload_clone_end(struct upload *u);
void upload_clone_free(struct upload_clone *c);   /* NULL is fine */

/* --- upload_quit.c -------------------------------------------------------------------------------- */

void upload_quit_free(struct upload_quit *q);   /* NULL is fine */

/* --- upload_hold.c -------------------------------------------------------------------------------- */

/* Of the transfer of an upload, whose argument that is. */
extern const struct transfer_control upload_control;
/* The transfer of an earlier upload of the inode that was paused, which is now this one's; NULL: there is none. */
struct transfer *upload_resumed(struct upload *u);
/* Transfers that are paused end where there is nothing to be sent any more; all of them end. */
void uploader_look_at_holds(struct uploader *u);
void uploader_end_holds(struct uploader *u);

/* --- upload_delete.c ------------------------------------------------------------------------------ */

/* Starts deleting what may go, when something may. */
void upload_bury_more(struct uploader *u);
