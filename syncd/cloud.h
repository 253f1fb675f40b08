/* One interface to every cloud.
 *
 * A `struct cloud` is one account at one provider. A `struct cloud_request` is one operation; it
 * is filled by the caller, submitted, and comes back through its `done`, exactly once, from the
 * loop, never from inside cloud_submit(). Providers describe requests and parse replies; what
 * they have in common (credentials, signing time, HTTP, retries, back-off) is the driver's.
 * Providers touch neither the database nor the cache folder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/loop.h"

/* CloudProvider of the API. */
enum cloud_type {
    CLOUD_AWS = 1,
    CLOUD_WASABI = 2,
    CLOUD_AZURE = 4,
    CLOUD_S3_GENERIC = 8,
    CLOUD_GOOGLE = 16,
    CLOUD_FRAME = 32,
    CLOUD_CLOUDFLARE = 64,
    CLOUD_DROPBOX = 128,
    CLOUD_BOX = 256,
    CLOUD_ONEDRIVE = 512,
    CLOUD_GOOGLE_DRIVE = 1024,
    CLOUD_LOCAL_HTTP = 2048,
    CLOUD_FASTR_SERVER = 4096,
    CLOUD_ATOMOSPHERE = 8192,
    CLOUD_LOCAL_FOLDER = 1048576,
    CLOUD_MEMORY = 2097152, /* tests only; refused by the API */
};

/* What a provider can do. */
enum cloud_capability {
    CLOUD_CAN_RANGE = 1 << 0,
    CLOUD_CAN_MULTIPART = 1 << 1,
    CLOUD_CAN_COPY = 1 << 2,            /* server side */
    CLOUD_CAN_COPY_PART = 1 << 3,
    CLOUD_CAN_BATCH_DELETE = 1 << 4,
    CLOUD_CAN_IF_MATCH = 1 << 5,        /* conditional PUT on an ETag */
    CLOUD_CAN_IF_NONE_MATCH = 1 << 6,   /* conditional PUT on absence */
    CLOUD_CAN_PRESIGN = 1 << 7,
    CLOUD_CAN_METADATA = 1 << 8,
    CLOUD_CAN_DELTA = 1 << 9,
    CLOUD_HAS_FOLDERS = 1 << 10,        /* a key is a file or a folder: "a" and "a/b" exclude each other */
    CLOUD_HAS_SPACE = 1 << 11,          /* there is an end to what it can take, and it says so */
};

enum cloud_op {
    CLOUD_BUCKETS,        /* -> buckets */
    CLOUD_LIST,           /* bucket, prefix, delimiter, token or start_after, limit -> objects, prefixes, next_token */
    CLOUD_STAT,           /* bucket, key -> object with metadata */
    CLOUD_GET,            /* bucket, key, [range], [if_match] -> bytes to the sink; object */
    CLOUD_PUT,            /* bucket, key, body, metadata, [if_match | if_none_match] -> object.etag */
    CLOUD_PART_BEGIN,     /* bucket, key, metadata -> upload_id */
    CLOUD_PART_PUT,       /* bucket, key, upload_id, part_number, body -> object.etag */
    CLOUD_PART_COPY,      /* bucket, key, upload_id, part_number, source_key, range -> object.etag */
    CLOUD_PART_LIST,      /* bucket, key, upload_id -> parts */
    CLOUD_PART_END,       /* bucket, key, upload_id, parts, [if_match | if_none_match] -> object.etag */
    CLOUD_PART_ABORT,     /* bucket, key, upload_id */
    CLOUD_UPLOADS,        /* bucket, prefix -> objects: uploads under way, by key, the first thousand; version is the
                             upload_id, mtime_ns when it was begun */
    CLOUD_COPY,           /* bucket, source_key, key, [source if_match], [metadata: replaces when
                             replace_metadata] -> object.etag */
    CLOUD_DELETE,         /* bucket, key */
    CLOUD_DELETE_BATCH,   /* bucket, keys: at most 1000; keys that failed are in failed_keys */
    CLOUD_BUCKET_CREATE,  /* bucket */
    CLOUD_SPACE,          /* bucket -> space; only where it CLOUD_HAS_SPACE */
    CLOUD_OP_COUNT
};

enum { CLOUD_BINDING = 32 };

/* POSIX metadata kept beside an object. Text forms and header names are the provider's affair
 * (on S3: x-amz-meta-mtime as rclone writes it, decimal seconds; mode, uid, gid decimal as s3fs
 * writes them; symlink as x-amz-meta-landfall-symlink, percent-encoded). */
struct cloud_meta {
    bool has_mtime, has_mode, has_owner;
    int64_t mtime_ns;
    uint32_t mode;              /* with type bits */
    uint32_t uid, gid;
    char *symlink;              /* target, owned; NULL: not a symlink */
    char *stamp;                /* letters, digits and hyphens that tell who wrote it when; owned; NULL: somebody who
                                   writes none; "": the place it lies in keeps none */
    bool has_size;              /* the object is encrypted, and this many bytes are: */
    uint64_t size;
    bool has_binding;           /* of an encrypted object that was copied to its key (cryptd/age_object.h) */
    uint8_t binding[CLOUD_BINDING];
    struct cloud_xattr {        /* user.* extended attributes, owned */
        char *name;
        void *value;
        size_t size;
    } *xattrs;
    size_t n_xattrs;
};
void cloud_meta_free(struct cloud_meta *m);   /* contents */
int cloud_meta_copy(struct cloud_meta *to, const struct cloud_meta *from);

struct cloud_object {
    char *key;                  /* owned */
    uint64_t size;
    int64_t mtime_ns;           /* the provider's last-modified */
    char *etag;                 /* owned, without quotes; NULL unknown */
    char *version;              /* owned; NULL */
    bool opaque;                /* the provider says in other words that the ETag is no digest of the bytes */
    bool has_meta;              /* listings on S3 carry none */
    bool looked_into;           /* syncd/object.h: what it is was seen in its first bytes, and meta says so */
    int refused;                /* negative errno: what was seen is not to be read; 0: it is */
    uint64_t refused_version;   /* of what is older than it should be */
    struct cloud_meta meta;
};

struct cloud_part { uint32_t number; uint64_t size; char *etag; };
struct cloud_bucket { char *name, *region; int64_t created_ns; };

/* A run of bytes of a file. The descriptor is borrowed until done. */
struct cloud_extent {
    int fd;
    uint64_t offset, length;
};

/* The longest object that is held back until it has been compared: its first bytes wait for its last ones. */
enum { CLOUD_CHECKED_MAX = 256 << 10 };

/* What came of comparing an object with its ETag. */
enum cloud_match {
    CLOUD_NOT_COMPARED,   /* not asked for, a part only, or of an ETag that is no MD5 by its form or by `opaque` */
    CLOUD_MATCHED,
    CLOUD_UNLIKE,         /* the same bytes came twice, so the ETag is something else than their MD5 */
};

struct cloud_request;
struct tally;
typedef void cloud_done_fn(struct cloud_request *r, void *arg);

struct cloud_request {
    enum cloud_op op;
    /* in; strings are copied by cloud_request_set() and owned */
    char *bucket, *key, *source_key, *prefix, *token, *start_after, *upload_id, *if_match;
    char delimiter;                     /* 0: none */
    bool if_none_match;                 /* only when nothing is there */
    bool replace_metadata;
    uint32_t limit, part_number;
    bool has_range;                     /* not the whole object */
    uint64_t range_offset, range_length;
    struct cloud_extent body;           /* PUT, PART_PUT; length 0: empty object */
    struct cloud_meta meta;             /* owned */
    struct cloud_part *parts;           /* in for PART_END, out for PART_LIST; owned */
    size_t n_parts;
    char **keys;                        /* DELETE_BATCH, owned */
    size_t n_keys;
    /* The sink of GET: bytes are written to sink.fd at sink.offset onward, at most sink.length;
     * `progress` (may be NULL) says after each write how many bytes from range_offset on are there.
     * What it has reported is never written again: a retry goes on behind it, or the request fails. */
    struct cloud_extent sink;
    void (*progress)(struct cloud_request *r, uint64_t bytes, void *arg);
    /* Instead of a file (sink.fd -1): each run of bytes is handed over, once; returning false (the run is
     * taken nevertheless) pauses the transfer until cloud_continue(). */
    bool (*data)(struct cloud_request *r, const void *bytes, size_t n, void *arg);
    /* GET of a whole object, CLOUD_CHECKED_MAX bytes at most: when its ETag may be its MD5, progress() is not called,
     * and data() once, when all is here and was compared. Other bytes than the ETag names are fetched again, until
     * they are what it names or the same twice; meanwhile the sink has any bytes. -EBADE: neither came to be. */
    bool checked;
    bool yields;                        /* leaves some of the connections to others */
    uint64_t deadline_ms;               /* 0: as configured; includes retries */
    uint64_t trace;
    struct tally *tally;                /* held: whose numbers it is among; NULL: nobody's */
    cloud_done_fn *done;
    void *arg;
    /* out; valid in done */
    struct error error;                 /* code 0: success */
    struct cloud_object object;
    struct cloud_object *objects;       /* LIST, in key order */
    size_t n_objects;
    char **prefixes;                    /* LIST with delimiter */
    size_t n_prefixes;
    char *next_token;                   /* NULL: complete */
    struct cloud_bucket *buckets;
    size_t n_buckets;
    uint64_t space;                     /* bytes that it can still take */
    char **failed_keys;
    size_t n_failed_keys;
    bool unsure;                        /* a try before the one that counts may have been carried out as well */
    bool unreadable;                    /* the disk did not give the body */
    uint64_t content_length;            /* GET: bytes that were written to the sink */
    enum cloud_match match;             /* of a checked GET */
    unsigned damaged;                   /* downloads of it that brought wrong bytes */
    void *driver;                       /* the driver's own */
    /* cloud.c's own, while the request is under way */
    struct cloud *cloud;
    struct cloud_request *next, **prev;
    bool finished;
    int64_t submitted_ns;
    uint64_t sent;                      /* bytes of the body that went out, in this try */
    int64_t next_try_ns;                /* it failed with `trouble` and is tried again then; 0: it is being tried */
    struct error trouble;
    struct cloud_check *check;          /* cloud_deliver.c; NULL: nothing is held back */
};

/* A new zeroed request (fds -1). */
struct cloud_request *cloud_request_new(enum cloud_op op, cloud_done_fn *done, void *arg);
/* Frees the request and all it owns. Call it in or after done; never while it is under way. NULL is fine. */
void cloud_request_free(struct cloud_request *r);
/* Copies `value` (may be NULL) into a string field of the request, freeing what was there. */
void cloud_request_set(char **field, const char *value);

struct cloud;

/* Who hands out secrets: called for each signature; answers through `give` (from the loop or at
 * once) with the secret, borrowed for the call and wiped after, or an error. */
struct cloud_secret { const char *access_key, *secret_key; };
struct cloud_keyring {
    void (*get)(void *arg, const char *account_id,
                void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg), void *give_arg);
    void *arg;
};

struct cloud_spec {
    enum cloud_type type;
    const char *account_id;
    const char *service_url;   /* may be NULL or "" where the type has endpoints of its own */
    const char *region;        /* NULL or "": found out or the type's default */
    struct cloud_keyring keyring;
};

/* 0 and a cloud, or -EINVAL / -ENOTSUP with a sentence (bad URL, a type that is not supported,
 * plain http to a foreign host without AllowPlainHttp, our own API's port). Talks to nobody. */
int cloud_new(struct loop *l, const struct config *config, const struct cloud_spec *spec,
              struct cloud **ret, struct error *e);
/* Requests under way end with -ECANCELED, from the loop; the memory goes after the last of them.
 * NULL is fine. */
void cloud_free(struct cloud *c);

unsigned cloud_capabilities(const struct cloud *c);
/* Bytes below and above which a part or a single PUT may not be; the greatest number of parts. */
struct cloud_limits { uint64_t part_min, part_max, put_max; uint32_t parts_max; };
struct cloud_limits cloud_limits(const struct cloud *c);

void cloud_submit(struct cloud *c, struct cloud_request *r);
/* Ends a request under way with -ECANCELED; its done still runs, from the loop. Nothing is written to its sink
 * and nothing handed to data() or progress() any more once this has returned. */
void cloud_cancel(struct cloud *c, struct cloud_request *r);
/* Goes on with a GET whose data() returned false. */
void cloud_continue(struct cloud *c, struct cloud_request *r);

/* Whether an object can have this key here at all: 0, -EPERM for one that the provider keeps for itself, -EINVAL, or
 * -ENAMETOOLONG. */
int cloud_check_key(const struct cloud *c, const char *key);

/* What a URL is to be good for. Strings are borrowed for the call. */
struct cloud_url {
    const char *method;         /* "GET" or "PUT" */
    const char *bucket, *key;
    unsigned seconds;           /* from now on */
    const char *content_type;   /* PUT: who uploads has to send exactly this; NULL: whatever he likes */
    bool attachment;            /* GET: the answer tells a browser to store it, not to show it */
};
typedef void cloud_presigned_fn(const struct error *e, const char *url, void *arg);

/* Signs a URL. The answer comes through `done` with the URL, borrowed, or NULL and an error. */
void cloud_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg);

/* The provider's name as the API's StorageType: "AWS", "S3Generic", "LocalFolder"; NULL if unknown. */
const char *cloud_type_name(int type);
/* Whether this build can talk to it; otherwise -ENOTSUP with a sentence that names the type. */
int cloud_type_check(int type, struct error *e);

/* --- inside: what a provider is ------------------------------------------------------------- */

/* Failures of a provider come back as: -ENOENT (no such key, bucket), -EACCES (refused), -EKEYREJECTED
 * (bad keys), -ESTALE (a condition did not hold), -EBADE (checksum), -EHOSTUNREACH, -ETIMEDOUT, -EAGAIN
 * (throttled past the retries), -EREMOTEIO (anything else the server said), -EBADMSG (unreadable
 * reply), -ECANCELED; each with the provider's own reason in the text. */
struct cloud_ops {
    const char *name;
    unsigned capabilities;
    struct cloud_limits limits;
    int (*open)(struct cloud *c, const struct cloud_spec *spec, struct error *e);  /* sets the provider's state */
    void (*close)(struct cloud *c);
    void (*submit)(struct cloud *c, struct cloud_request *r);
    void (*cancel)(struct cloud *c, struct cloud_request *r);
    void (*resume)(struct cloud *c, struct cloud_request *r);
    void (*presign)(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg);
    int (*check_key)(const char *key);   /* NULL: all will do */
};

struct cloud {
    const struct cloud_ops *ops;
    struct loop *loop;
    const struct config *config;  /* borrowed */
    enum cloud_type type;
    char *account_id;
    struct cloud_keyring keyring;
    void *state;                  /* the provider's */
    unsigned capabilities;        /* those of ops, or fewer; set by cloud_new(), lowered by ops->open */
    /* cloud.c's own */
    struct cloud_request *under_way;
    bool closing;
    unsigned busy;                /* calls of done on the stack, signatures under way */
};

/* Finishes a request: sets its error (NULL: success) and calls its done, later from the loop. A
 * provider has forgotten the request when it calls this. */
void cloud_finish(struct cloud_request *r, const struct error *e);
/* Hands over the next n bytes of a GET, to the sink or data(), and counts them in content_length. 0; 1 when
 * data() wants a pause; -EFBIG when the sink has no room for them, or what pwrite(2) said. The request's owner may
 * cancel it from inside; its memory stays until done. */
int cloud_deliver(struct cloud_request *r, const void *bytes, size_t n);
/* All of a GET has been delivered. 0: it has succeeded; 1: the provider begins anew, at once; -EBADE with a sentence:
 * as if the connection had been lost, but to begin anew; -ECANCELED: its owner has canceled it from inside. A
 * provider whose ETags never are 32 hexadecimal digits need not ask. */
int cloud_delivered(struct cloud_request *r, struct error *e);
/* For cloud.c: what delivering has left. */
void cloud_deliver_end(struct cloud_request *r);
/* Drops what a failed try has put into the results. */
void cloud_request_reset(struct cloud_request *r);

extern const struct cloud_ops cloud_s3_ops, cloud_local_ops, cloud_memory_ops;

/* Wraps `inner` (owned from here on) and makes chosen requests fail; for tests.
 * `fault` is asked for every request and returns 0 or the negative errno to fail it with, before
 * (`after` false) or after (`after` true, the answer is lost) it reached the inner cloud. */
struct cloud *cloud_failing_new(struct cloud *inner,
                                int (*fault)(const struct cloud_request *r, bool after, void *arg), void *arg);
