/* A stream, as stream.c and stream_cache.c share it. */
#pragma once

#include "syncd/fetch.h"

enum { STREAM_PIPE_BYTES = 1 << 20 };

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

/* --- stream.c ---------------------------------------------------------------------------------------- */

/* Ends it however far it is; with an error, which its reader hears of if he has nothing yet. */
void stream_close(struct stream *s);
void stream_fail(struct stream *s, const struct error *e);
void stream_fail_code(struct stream *s, int code);
/* Counts an answer in; true when the stream is still wanted. */
bool stream_answered(struct stream *s);
/* The reader gets its end; from here on failures only close the pipe. */
void stream_hand_over(struct stream *s);
/* Goes on when the pipe takes more; with these bytes first. */
void stream_wait_writable(struct stream *s);
void stream_keep_rest(struct stream *s, const char *bytes, size_t n);

/* --- stream_cache.c ---------------------------------------------------------------------------------- */

/* Bytes from `at` on that are here, at most what the pipe could take. */
uint64_t stream_present(const struct stream *s);
/* Moves what is here of s->file, and fetches what is not. */
void stream_pump(struct stream *s);
