/* What stream.c and stream_cache.c share; nobody else includes it. */
#pragma once

#include <event2/event.h>

#include "syncd/cache.h"

enum { STREAM_PIPE = 1 << 20 };   /* bytes */

typedef void stream_done_fn(const struct error *e, const struct volume_stream *s, void *arg);

struct stream {
    struct stream *next;
    struct volume *volume;       /* NULL: closed; whoever answers last frees it */
    unsigned awaited;            /* answers still to come: a path, a version, a request */
    stream_done_fn *done;        /* NULL: was called */
    void *arg;
    bool has_range, retried, sized;
    uint64_t asked_first, asked_last;
    uint64_t ino, size, at, end; /* `at` moves up to `end` */
    uint64_t first;
    char *path, *etag;
    int64_t mtime_ns;
    int read_fd, write_fd;
    struct event *writable;
    struct cache_file *file;     /* held: comes from the cache */
    unsigned outdated;           /* of the file, at the start */
    struct cloud *cloud;         /* borrowed; outlives every request */
    struct cloud_request *request;
    char *rest;                  /* of the last run of bytes, what the pipe did not take */
    size_t rest_len;
};

/* Ends it however far it is; its memory may be gone then. */
void stream_close(struct stream *s);
void stream_fail(struct stream *s, const struct error *e);
void stream_fail_code(struct stream *s, int code);
/* Counts an answer in; true when the stream is still wanted. */
bool stream_answered(struct stream *s);

/* The reader gets its end; from here on failures only close the pipe. */
void stream_hand_over(struct stream *s);

/* What the pipe did not take, until it can. */
void stream_keep_rest(struct stream *s, const char *bytes, size_t n);
/* True: the pipe took all of it. */
bool stream_write_rest(struct stream *s);
void stream_wait_writable(struct stream *s);

/* --- stream_cache.c --- */

/* Bytes from `at` on that are here, at most what the pipe could take. */
uint64_t stream_present(const struct stream *s);
/* Goes on with what the cache has. */
void stream_pump(struct stream *s);
