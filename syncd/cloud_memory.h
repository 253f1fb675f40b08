/* The memory provider, as its files see each other. For tests only: the API refuses its type. */
#pragma once

#include "syncd/cloud.h"
#include "syncd/hash.h"

enum {
    MEMORY_ETAG_SIZE = HASH_MD5_HEX + 8,
    MEMORY_PART_MIN = 64 * 1024,
    MEMORY_PUT_MAX = 1 << 30,
    MEMORY_PARTS_MAX = 10000,
};

struct memory_blob {
    void *data;                    /* owned */
    size_t size;
    char etag[MEMORY_ETAG_SIZE];   /* MD5, as S3 has it */
};

struct memory_object {
    char *key;                     /* owned */
    struct memory_blob blob;
    int64_t mtime_ns;
    struct cloud_meta meta;
};

struct memory_bucket {
    struct memory_bucket *next;    /* by name */
    char *name;
    int64_t created_ns;
    struct memory_object *objects; /* by key */
    size_t n;
};

struct memory_upload {
    struct memory_upload *next;
    char *id, *bucket, *key;
    int64_t begun_ns;
    struct cloud_meta meta;
    struct memory_blob parts[MEMORY_PARTS_MAX + 1];   /* by number; data NULL: not there */
};

struct memory {
    struct memory_bucket *buckets;
    struct memory_upload *uploads;
    uint64_t ticks;                /* its clock: a second for every change */
    uint64_t n_uploads;
    void (*spoil)(char *bytes, size_t n, void *arg);   /* what GET brings, before it goes on its way; NULL: nothing */
    void *spoil_arg;
    bool opaque;                   /* ETags are said to be no digests */
};

/* 0, or an errno with a sentence. */
typedef int memory_op(struct memory *m, struct cloud_request *r, struct error *e);

/* cloud_memory.c */
int memory_bucket(struct memory *m, const char *name, struct memory_bucket **ret, struct error *e);
/* NULL: no such object. */
struct memory_object *memory_find(struct memory_bucket *b, const char *key);
int memory_require(struct memory_bucket *b, const char *key, struct memory_object **ret, struct error *e);
/* Whether r's if_match and if_none_match hold for its key: 0 or -ESTALE. */
int memory_check(struct memory_bucket *b, const struct cloud_request *r, struct error *e);
/* Reads the body of r. 0 or negative errno. */
int memory_read_body(const struct cloud_request *r, struct memory_blob *ret, struct error *e);
void memory_blob_set(struct memory_blob *b, void *data, size_t size);
/* Puts an object in place of what was there; takes blob's data and meta over. */
struct memory_object *memory_store(struct memory *m, struct memory_bucket *b, const char *key, struct memory_blob *blob,
                                   struct cloud_meta *meta);
/* r->object from o. */
void memory_show(struct cloud_request *r, const struct memory_object *o);

/* cloud_memory_get.c: the request is under way while r->driver is set. */
memory_op memory_get;
void memory_get_cancel(struct cloud_request *r);
void memory_get_resume(struct cloud_request *r);

/* cloud_memory_part.c */
memory_op memory_part_begin, memory_part_put, memory_part_copy, memory_part_list, memory_part_end, memory_part_abort,
    memory_uploads;
void memory_upload_free(struct memory_upload *u);
