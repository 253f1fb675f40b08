/* What the files of an upload beside the drives share: bucket_upload.c (what is next), _send.c (its bytes) and _parts.c
 * (uploads in parts: begun, listed, put together, ended). */
#pragma once

#include <sys/stat.h>

#include "common/text.h"
#include "syncd/bucket_upload.h"
#include "syncd/haul_chunk.h"

/* One chunk at a time, from the file by way of memory into the cloud. */
struct lane {
    struct chunk chunk;           /* the first member */
    bool taken;
    uint32_t part;                /* from 0 */
    struct cloud_request *request;
};

struct bucket_upload {
    struct haul haul;
    struct bucket_upload_spec spec;
    int fd;                       /* -1: to be opened again */
    struct stat st, st_now;       /* as it was opened; as it is */
    int stat_error;
    struct error open_error;
    uint64_t inode;               /* what an earlier process knew of the file, */
    int64_t mtime_ns;             /* that is to be the same */
    uint64_t part_size, sent;
    uint32_t n_parts, next;       /* parts below `next` have been taken by a lane */
    struct part {
        char *etag;               /* it is there */
        char *earlier;            /* the ETag of what an earlier process has sent */
        bool again;
    } *parts;
    char *upload_id;
    int64_t parts_begun_ns;       /* the cloud was asked for one then, */
    unsigned sweeping;            /* requests that look for it */
    bool sweep_halted;
    char *there;                  /* the ETag of an object that may be the same */
    char stamp[ID_SIZE];          /* tells our object */
    bool looked, asking, checked, listed;
    struct lane lanes[HAUL_LANES];
};

static inline struct bucket_upload *upload_of(struct haul *e)
{
    return (struct bucket_upload *)(void *)e;
}

/* --- bucket_upload.c ------------------------------------------------------------------------- */

/* What is next, from wherever it stands. */
void bucket_upload_go_on(struct bucket_upload *u);
void bucket_upload_fail(struct bucket_upload *u, int code, const char *sentence);
void bucket_upload_submit(struct bucket_upload *u, struct cloud_request *r, haul_done_fn *done, void *item);
struct cloud_request *bucket_upload_request(struct bucket_upload *u, enum cloud_op op);
/* What the object has beside its bytes; and on which condition it comes into being. */
void bucket_upload_describe(const struct bucket_upload *u, struct cloud_request *r);
void bucket_upload_condition(const struct bucket_upload *u, struct cloud_request *r);
/* Something else lies there than we were to replace. */
void bucket_upload_refuse(struct bucket_upload *u);
/* The last request did not do it, or it is not known whether it did: is it our own object that lies there? `anew`: if
 * not, it begins anew. */
void bucket_upload_look_after(struct bucket_upload *u, bool anew);

/* --- bucket_upload_send.c -------------------------------------------------------------------- */

void bucket_upload_send(struct bucket_upload *u);
/* Bytes by now. */
uint64_t bucket_upload_sent(const struct bucket_upload *u);
bool bucket_upload_all_sent(const struct bucket_upload *u);
void bucket_upload_changed(struct bucket_upload *u);

/* --- bucket_upload_parts.c ------------------------------------------------------------------- */

void bucket_parts_begin(struct bucket_upload *u);
/* What an earlier process has sent, to be compared with the file. */
void bucket_parts_list(struct bucket_upload *u);
void bucket_parts_put_together(struct bucket_upload *u);
/* Ends what was begun at the key and never heard of: uploads since then without a part. Whoever else begins one there
 * at that very moment loses nothing that he has sent. */
void bucket_parts_sweep(struct bucket_upload *u);
/* For undo. */
void bucket_parts_abort(struct bucket_upload *u);
