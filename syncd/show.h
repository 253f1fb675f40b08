/* What those who listen to the API are told of a drive: in which state its objects are, and what moves their bytes.
 * Says nothing, at no cost, where nobody listens. Decides nothing. */
#pragma once

#include "syncd/volume.h"

struct cache_file;
struct index_inode;
struct transfer;
struct upload;

/* FileState, numbering B. */
enum show_state {
    SHOW_NORMAL = 0,
    SHOW_TEMPORARY = 1,      /* there is another version in the cloud, of which nothing is here yet */
    SHOW_DOWNLOADING = 2,
    SHOW_UPLOADING = 4,
    SHOW_DELETING = 8,       /* the name is gone here, and the cloud is yet to hear of it */
    SHOW_DELETED = 64,
    SHOW_ERROR = 256,
};

void show_state(struct volume *v, uint64_t ino, enum show_state state);
/* The same of a name in a directory, which may mean nothing any more. */
void show_name(struct volume *v, uint64_t dir, const char *name, size_t len, enum show_state state);
/* The same of an object by its key, below the prefix: its path is drawn from that, and is not told where no name in a
 * directory denotes the key. */
void show_key(struct volume *v, const char *key, enum show_state state);

/* A name goes in the caller's transaction, and has not gone yet: SHOW_DELETING, or SHOW_DELETED when the cloud has
 * nothing of it. Told when that has ended well, unless something else has the name by then. */
void show_removal(struct volume *v, const struct index_inode *i, enum show_state state);
void show_removals(struct volume *v, bool committed);   /* it has ended */

/* An upload of content begins, or goes on that was paused; it has ended, e NULL: the object is in place; it is gone,
 * and if it had not ended it begins anew. The second and third are fine without the first. */
void show_upload(struct upload *u);
void show_uploaded(struct upload *u, const struct error *e);
void show_upload_over(struct upload *u);

/* Bytes of a file are asked for; so many have come; nothing is under way any more; it could not be had; nobody uses the
 * file. A file is one transfer until all of it is here, or nothing was asked for a second and it is not paused. */
void show_fetch(struct cache_file *f);
void show_fetched(struct cache_file *f, uint64_t bytes);
void show_fetch_idle(struct cache_file *f);
void show_fetch_failed(struct cache_file *f, const struct error *e);
void show_fetch_over(struct cache_file *f);

/* A file of the cache is given its encrypted form, or its plain one again; it has ended, with 0 or a negative errno.
 * NULL, which is fine in the second, where nobody is told. */
struct transfer *show_conversion(struct volume *v, uint64_t ino, bool seals);
void show_converted(struct transfer *t, int code);
