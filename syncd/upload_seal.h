/* What upload_seal.c and upload_seal_head.c share. */
#pragma once

#include "syncd/hash.h"
#include "syncd/upload.h"

struct upload_seal {
    struct index_sealing kept;     /* head, key, version, and of which content */
    uint64_t made, chunk;          /* bytes of the object that are in some body; the chunk that comes next */
    uint8_t *rest;                 /* sealed already, for the next body */
    size_t rest_n;
    bool in_parts;                 /* it is kept in the index */
};

/* Something under way for it; it may be abandoned meanwhile. */
struct seal_job {
    struct upload *upload;         /* NULL: nobody wants it any more */
    struct loop *loop;
    int fd;                        /* the body, owned */
    uint64_t length;               /* that it is to have */
    uint32_t part;
    uint8_t *tags;                 /* of the chunks that were sealed for it */
    size_t n_tags;
    struct hash_extent hash;
    void (*begun)(struct upload *u);
    upload_body_fn *made;
    void (*compared)(struct upload *u, const char *md5);
};

struct seal_job *seal_job_new(struct upload *u);
/* The change it was for, or NULL. */
struct upload *seal_job_end(struct seal_job *j);
