/* The S3 provider, as its files see each other:
 *
 *   s3.c           the provider's operations: open, close, submit, cancel, presign; the table of rows
 *   s3_call.c      one request from submit to finish: steps, retries, deadline
 *   s3_try.c       one try of it: sign, send, receive
 *   s3_remedy.c    what can be done about a refusal: region, clock, conditions
 *   s3_presign.c   signs URLs
 *   s3_request.c   describes requests
 *   s3_reply.c     reads replies
 *   s3_error.c     reads refusals, decides what they mean, words them
 *   s3_meta.c      POSIX metadata as headers
 *   s3_xml.c       the documents
 *   s3_endpoint.c  where the services are
 *
 * describe and parse functions do no I/O and read no clock. */
#pragma once

#include "syncd/cloud.h"
#include "syncd/hash.h"
#include "syncd/http.h"
#include "syncd/pairs.h"
#include "syncd/s3_endpoint.h"
#include "syncd/s3_xml.h"

enum {
    S3_REGIONS_MAX = 256,             /* buckets whose region is remembered */
    S3_REPLY_MAX = 16 * 1024 * 1024,  /* a full page of listing with long encoded keys stays below 8 MiB */
    S3_BODY_MAX = 8 * 1024 * 1024,    /* documents we send */
    S3_META_MAX = 2048,               /* user metadata, "User-defined object metadata" of the S3 user guide */
};

/* An account. */
struct s3 {
    struct cloud *cloud;
    struct http *http;
    struct s3_endpoint endpoint;
    struct s3_bucket_region { char *bucket, region[S3_REGION_MAX]; } regions[S3_REGIONS_MAX];
    size_t n_regions;                 /* ever learned; the oldest is overwritten */
    int64_t skew_ns;                  /* the server's clock minus ours, once it mattered */
    bool no_conditions;               /* the server has answered 501 to a condition */
    bool probed;                      /* whether it checks If-None-Match of PUT was tried (S3_PROBE): */
    bool checks_absent;               /* it does */
    bool opaque_etags;                /* its ETags were seen to be something else than MD5 */
    bool bare_etags;                  /* it wants the ETag in If-Match of PUT without quotes */
};

/* Region to sign for; never NULL. */
const char *s3_region_of(struct s3 *s, const char *bucket);
/* Whether it is more than a guess. */
bool s3_region_known(struct s3 *s, const char *bucket);
void s3_region_learn(struct s3 *s, const char *bucket, const char *region);

/* One HTTP request in words. Strings are borrowed. */
struct s3_message {
    const char *method, *bucket, *key;   /* bucket NULL: the service; key NULL: the bucket */
    struct pairs query, headers;
    struct text body;                    /* a document; or the request's body extent */
    bool sends_document, sends_extent, posts_nothing;
};

struct s3_call;

/* Puts the call's request into words. 0, or a negative errno, with a sentence unless memory or a bound is the
 * reason. */
typedef int s3_describe_fn(const struct s3_call *c, struct s3_message *m, struct error *e);
/* Reads a reply with status 2xx into the request. 0; 1: describe and ask once more for the rest; -EBADMSG;
 * -EPIPE: the document is cut off; -EREMOTEIO: it is an <Error>. */
typedef int s3_parse_fn(const struct http_reply *reply, struct cloud_request *r);

/* What if_match and if_none_match are about. */
enum s3_subject { S3_UNCONDITIONAL, S3_KEY, S3_SOURCE };

/* How an operation is put into HTTP and read back. */
struct s3_row {
    s3_describe_fn *describe;
    s3_parse_fn *parse;
    bool streams;                        /* the reply's body goes to the sink */
    enum s3_subject conditions;
};

/* Why the server refused, from status, headers and document. */
struct s3_refusal {
    int status;
    struct s3_xml_error why;             /* region also from x-amz-bucket-region */
};
/* What is being asked. */
enum s3_step {
    S3_MAIN,       /* the request itself */
    S3_GUARD,      /* HEAD of what the conditions are about, when the server may not check them */
    S3_LOCATE,     /* HEAD of the bucket, to learn its region */
    S3_CONFIRM,    /* HEAD of the key: has an earlier try, whose answer was lost, done it after all? */
    S3_PROBE,      /* the PUT once more, on condition that the key is absent: will it be refused? */
    S3_VERIFY,     /* HEAD of the key: the ETag in the answer is not the MD5 of what was sent */
};

struct s3_call {
    struct s3 *s3;
    struct cloud_request *r;
    const struct s3_row *row;
    enum s3_step step;
    struct s3_message message;           /* of the present try, */
    int64_t skew_ns;                     /* and the server as it was known then; others may learn better meanwhile */
    bool conditional, bare_etags;
    char host[SERVICE_HOST_MAX + 64];
    char region[S3_REGION_MAX];
    struct http_call *http;
    struct hash_extent hash;             /* of the body extent */
    struct loop_timer *timer, *deadline;
    unsigned tries, redirects, clocks;
    bool hashing, asking;                /* somebody still holds us: the pool, the keyring */
    bool hashed, guarded, confirmed, requoted;
    bool unsure;                         /* a try went out and its answer was lost */
    bool fresh;                          /* the next try goes on a new connection */
    bool paused, held;                   /* data() said no; a try waits for cloud_continue() */
    struct error end;                    /* code set: over, as soon as nobody holds us */
    struct error refusal;                /* what S3_LOCATE or S3_CONFIRM is to clear up */
    /* GET */
    uint64_t received, expected;         /* bytes of what was asked for; expected is known with the first head */
    uint64_t received_before;            /* the present try */
    int64_t tried_ns;                    /* when it began, of loop_now_ns() */
    char etag[S3_ETAG_MAX + 1];          /* of what was begun */
};

/* s3_call.c */
void s3_call_start(struct s3 *s, struct cloud_request *r, const struct s3_row *row);
/* Ends the call with this error. */
void s3_call_end(struct s3_call *c, int code, const char *sentence);
void s3_call_resume(struct s3_call *c);
/* A try ended: with a reply, or (reply NULL) with an error before anything was sent. */
void s3_call_answered(struct s3_call *c, const struct http_reply *reply, const struct error *e);
/* The keyring has answered a call that was to end meanwhile. */
void s3_call_released(struct s3_call *c);

/* s3_remedy.c: a refusal that something can be done about. Whether something is being done. */
bool s3_remedy(struct s3_call *c, const struct s3_refusal *f, const struct http_reply *reply);
/* For remedies: */
void s3_call_again(struct s3_call *c, enum s3_step step);                  /* at once */
bool s3_call_later(struct s3_call *c, uint64_t after_ms);                  /* after back-off; false: no tries left */
void s3_call_done(struct s3_call *c);                                      /* it has succeeded after all */

/* s3_try.c: describes, signs, sends, receives; ends in s3_call_answered(). */
void s3_try(struct s3_call *c);
void s3_message_free(struct s3_message *m);

/* s3_request.c */
s3_describe_fn s3_describe_buckets, s3_describe_list, s3_describe_head, s3_describe_guard, s3_describe_bucket_head,
    s3_describe_get, s3_describe_put, s3_describe_probe, s3_describe_part_begin, s3_describe_part_put,
    s3_describe_part_copy, s3_describe_part_list, s3_describe_part_end, s3_describe_part_abort, s3_describe_uploads,
    s3_describe_copy,
    s3_describe_delete, s3_describe_delete_batch, s3_describe_bucket_create;
/* Whether the server is known, or was seen, to check the conditions of this operation. */
bool s3_checks(const struct s3_call *c);
/* Whether a document can name the key. DELETE_BATCH leaves the others out; they end in failed_keys. */
bool s3_key_sayable(const char *key);

/* s3_reply.c */
s3_parse_fn s3_parse_nothing, s3_parse_buckets, s3_parse_list, s3_parse_head, s3_parse_put, s3_parse_part_begin,
    s3_parse_part_list, s3_parse_uploads, s3_parse_stored, s3_parse_delete_batch;
/* Checks the head of a GET's reply against what was asked and what is here already; fills object. 0, or
 * -EBADMSG, -EBADE, or -ESTALE for another version. */
int s3_parse_get_head(struct s3_call *c, const struct http_reply *reply);
/* What came of a GET so far counts as nothing, and the way it came as no good. */
void s3_get_anew(struct s3_call *c);
/* The ETag that most services give what PUT or PART_END sends; `body` was hashed with MD5 if there is one. */
void s3_own_etag(const struct cloud_request *r, const struct hash_extent *body, char out[S3_ETAG_MAX + 1]);
/* "bytes 0-9/100": 0 or -EBADMSG. */
int s3_content_range(const char *value, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_size);

/* s3_meta.c */
/* Appends x-amz-meta-* headers. 0, or -E2BIG with a sentence. */
int s3_meta_put(const struct cloud_meta *m, struct pairs *headers, struct error *e);
/* From the headers of a reply; what cannot be read is left out. */
void s3_meta_get(const struct pairs *headers, struct cloud_meta *m);

/* s3_error.c */
void s3_refusal_read(const struct http_reply *reply, struct s3_refusal *ret);
/* Whether what stands between says so: a proxy, or what passes requests on to the service and does not reach it. */
bool s3_status_between(int status);
/* Our errno for it. */
int s3_refusal_code(const struct s3_refusal *f);
/* Fills *e with the errno and the sentence. */
void s3_refusal_word(const struct s3_call *c, const struct s3_refusal *f, struct error *e);
/* The same for an exchange that brought no answer. */
void s3_fault_word(const struct s3_call *c, const struct http_reply *reply, struct error *e);

/* s3_presign.c */
void s3_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg);
