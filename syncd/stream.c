/* Owns objects on their way into a pipe for the API. What is dirty or wholly in the cache is spliced
 * from there, and so is what is encrypted in the cloud, which comes into the cache for that; anything else comes
 * straight from the provider and leaves nothing in the cache.
 *
 * The pipe is the only buffer: a reader that does not read stops the source, a reader that is gone
 * ends it. A pipe that closes before its last byte tells the reader of a failure.
 *
 * Must not know who reads. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/content.h"
#include "syncd/fetch.h"
#include "syncd/object.h"

enum { PIPE_BYTES = 1 << 20, TURN = 8 };

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

static void start(struct stream *s);

/* --- life ----------------------------------------------------------------------------------------- */

static void unlink_stream(struct stream *s)
{
    struct stream **at = &s->volume->streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->volume = NULL;
}

static void close_ends(struct stream *s)
{
    if (s->writable)
        event_free(take_ptr(s->writable));
    if (s->read_fd >= 0)
        (void)close(take_fd(&s->read_fd));
    if (s->write_fd >= 0)
        (void)close(take_fd(&s->write_fd));
}

static void free_stream(struct stream *s)
{
    free(s->path);
    free(s->etag);
    free(s->rest);
    free(s);
}

/* Ends it however far it is. */
static void close_stream(struct stream *s)
{
    close_ends(s);
    if (s->file) {
        fetch_forget(s->file, s);
        cache_release(take_ptr(s->file));
    }
    unlink_stream(s);
    if (s->request)
        cloud_cancel(s->cloud, s->request);
    if (s->awaited == 0)
        free_stream(s);
}

static void fail(struct stream *s, const struct error *e)
{
    stream_done_fn *done = s->done;
    void *arg = s->arg;

    if (!done)
        LOG(LOG_WARNING, "stream_ended_early", "drive=%s", s->volume->drive->id, "ino=%" PRIu64, s->ino, "error=%s",
            error_text(e));
    s->done = NULL;
    close_stream(s);
    if (done)
        done(e, NULL, arg);
}

static void fail_code(struct stream *s, int code)
{
    struct error e;

    error_set(&e, code, "%s", error_meaning(code)->text);
    fail(s, &e);
}

void streams_close(struct volume *v)
{
    while (v->streams)
        fail_code(v->streams, -ECANCELED);
}

/* Counts an answer in; true when the stream is still wanted. */
static bool answered(struct stream *s)
{
    s->awaited--;
    if (s->volume)
        return true;
    if (s->awaited == 0)
        free_stream(s);
    return false;
}

/* The reader gets its end; from here on failures only close the pipe. */
static void hand_over(struct stream *s)
{
    struct volume_stream out = {
        .fd = take_fd(&s->read_fd), .size = s->size, .first = s->first, .last = s->end - 1,
        .etag = s->etag ? s->etag : "", .mtime_ns = s->mtime_ns,
    };
    stream_done_fn *done = s->done;

    s->done = NULL;
    done(NULL, &out, s->arg);
}

/* --- from the cache ------------------------------------------------------------------------------- */

static void pump(struct stream *s);

static void fetched(const struct error *e, void *arg)
{
    struct stream *s = arg;

    if (e->code) {
        fail(s, e);
        return;
    }
    if (s->done)
        hand_over(s);
    pump(s);
}

/* Bytes from `at` on that are here, at most what the pipe could take. */
static uint64_t present(const struct stream *s)
{
    uint64_t want = least(s->end - s->at, PIPE_BYTES);
    uint64_t absent = chunk_first_absent(s->file->map, s->at, want);

    if (absent == UINT64_MAX)
        return want;
    return excess(absent << CHUNK_SHIFT, s->at);
}

static void wait_writable(struct stream *s)
{
    if (event_add(s->writable, NULL) < 0)
        fail_code(s, -ENOMEM);
}

static void keep_rest(struct stream *s, const char *bytes, size_t n)
{
    s->rest = xcalloc(1, n);
    s->rest_len = n;
    memcpy(s->rest, bytes, n);
}

/* True: the pipe took all of it. */
static bool write_rest(struct stream *s)
{
    ssize_t written = write(s->write_fd, s->rest, s->rest_len);

    if (written < 0 && errno != EAGAIN) {
        close_stream(s);
        return false;
    }
    if (written > 0) {
        s->at += (uint64_t)written;
        s->rest_len -= (size_t)written;
        memmove(s->rest, s->rest + written, s->rest_len);
    }
    if (s->rest_len) {
        wait_writable(s);
        return false;
    }
    free(take_ptr(s->rest));
    return true;
}

/* Hands bytes to the pipe; what it does not take is kept until it does. */
static void write_out(struct stream *s, const uint8_t *bytes, size_t n)
{
    ssize_t written = write(s->write_fd, bytes, n);

    if (written < 0 && errno != EAGAIN) {
        close_stream(s);   /* its reader is gone */
        return;
    }
    s->at += written > 0 ? (uint64_t)written : 0;
    if (written == (ssize_t)n) {
        pump(s);
        return;
    }
    keep_rest(s, (const char *)bytes + (written > 0 ? written : 0), n - (size_t)(written > 0 ? written : 0));
    wait_writable(s);
}

static void unsealed(const struct error *e, const uint8_t *bytes, size_t n, void *arg)
{
    struct stream *s = arg;
    size_t skipped = s->at % CRYPT_CHUNK;

    if (!answered(s))
        return;
    if (e->code)
        fail(s, e);
    else
        write_out(s, bytes + skipped, least(n - skipped, s->end - s->at));
}

/* What cannot be moved as it lies there. */
static void pump_sealed(struct stream *s)
{
    static const struct content_form plain = { .form = CRYPT_PLAIN };
    uint64_t from = s->at & ~(uint64_t)(CRYPT_CHUNK - 1), there = present(s), to;

    if (s->at == s->end) {
        close_stream(s);
    } else if (there == 0) {
        fetch_range(s->file, FETCH_STREAM, s->at, least(s->end - s->at, PIPE_BYTES),
                    (uint64_t)s->volume->config->read_deadline_seconds * 1000, fetched, s);
    } else {
        to = least((s->at + there + CRYPT_CHUNK - 1) & ~(uint64_t)(CRYPT_CHUNK - 1), cache_file_size(s->file));
        s->awaited++;
        content_out(s->file, from, least(to - from, (uint64_t)CONTENT_CHUNKS_MAX * CRYPT_CHUNK), &plain, unsealed, s);
    }
}

static void pump(struct stream *s)
{
    uint64_t n;
    ssize_t moved = 0;
    loff_t from;

    if (s->file && s->file->outdated != s->outdated) {
        fail_code(s, -ESTALE);   /* another version came into the cache */
        return;
    }
    if (s->file && s->file->is_sealed) {
        pump_sealed(s);
        return;
    }
    for (unsigned turn = 0; turn < TURN && s->at < s->end && (n = present(s)); turn++) {
        from = (loff_t)s->at;
        moved = splice(s->file->data_fd, &from, s->write_fd, NULL, n, SPLICE_F_NONBLOCK);
        if (moved <= 0)
            break;
        s->at += (uint64_t)moved;
    }
    if (s->at == s->end)
        close_stream(s);
    else if (moved > 0 ? present(s) > 0 : moved < 0 && errno == EAGAIN)
        wait_writable(s);
    else if (moved < 0 && errno == EPIPE)
        close_stream(s);
    else if (moved < 0 || (moved == 0 && present(s)))
        fail_code(s, moved < 0 ? -errno : -ESTALE);   /* cut shorter meanwhile */
    else
        fetch_range(s->file, FETCH_STREAM, s->at, least(s->end - s->at, PIPE_BYTES),
                    (uint64_t)s->volume->config->read_deadline_seconds * 1000, fetched, s);
}

/* --- from the provider ------------------------------------------------------------------------------ */

static bool on_data(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct stream *s = arg;
    ssize_t written;

    (void)r;
    if (!s->volume)
        return true;
    if (s->done)
        hand_over(s);
    written = write(s->write_fd, bytes, n);
    s->at += written > 0 ? (uint64_t)written : 0;
    if (written == (ssize_t)n)
        return true;
    keep_rest(s, (const char *)bytes + (written > 0 ? written : 0), n - (size_t)(written > 0 ? written : 0));
    wait_writable(s);   /* where a reader that is gone is noticed as well */
    return false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    if (s->rest && !write_rest(s))
        return;
    if (s->file)
        pump(s);
    else if (s->request)
        cloud_continue(s->cloud, s->request);
    else
        close_stream(s);
}

static void find(struct stream *s);

/* Another version is another inode. */
static void refreshed(const struct error *e, void *arg)
{
    struct stream *s = arg;

    if (!answered(s))
        return;
    if (e->code)
        fail(s, e);
    else
        find(s);
}

static void got(struct cloud_request *r, void *arg)
{
    struct stream *s = arg;
    struct error e = r->error;

    if (s->volume)
        fetch_checked(s->volume, r);
    cloud_request_free(r);
    s->request = NULL;
    if (!answered(s))
        return;
    if (e.code == 0 && s->at + s->rest_len < s->end)
        error_set(&e, -ESTALE, "The object is shorter than it was.");
    if ((e.code == -ESTALE || e.code == -ENOENT) && s->done && !s->retried) {
        s->retried = true;
        s->awaited++;
        lister_refresh(s->volume->lister, s->ino, refreshed, s);
    } else if (e.code) {
        fail(s, &e);
    } else if (!s->rest) {
        close_stream(s);
    }
}

static void get(struct stream *s, const struct index_inode *i)
{
    CLEANUP_FREE char *key = volume_full_key(s->volume, i->cloud_key);
    struct cloud_request *r = cloud_request_new(CLOUD_GET, got, s);

    cloud_request_set(&r->bucket, s->volume->bucket);
    cloud_request_set(&r->key, key);
    cloud_request_set(&r->if_match, i->etag);
    r->has_range = true;
    r->range_offset = s->at;
    r->range_length = s->end - s->at;
    r->data = on_data;
    r->checked = s->at == 0 && s->end == i->cloud_size && fetch_checks(s->volume, s->end);
    s->request = r;
    s->awaited++;
    volume_submit(s->volume, r);
}

/* --- beginning ------------------------------------------------------------------------------------ */

static int make_pipe(struct stream *s)
{
    int fds[2];

    if (s->write_fd >= 0)
        return 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    s->read_fd = fds[0];
    s->write_fd = fds[1];
    (void)fcntl(s->write_fd, F_SETPIPE_SZ, PIPE_BYTES);   /* a smaller one is slower, no more */
    if (fcntl(s->write_fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    s->writable = event_new(loop_base(s->volume->loop), s->write_fd, EV_WRITE, on_writable, s);
    return s->writable ? 0 : -ENOMEM;
}

static int set_range(struct stream *s)
{
    s->first = s->at = s->has_range ? s->asked_first : 0;
    s->end = s->has_range && s->asked_last < s->size ? s->asked_last + 1 : s->size;
    return s->has_range && (s->asked_first >= s->size || s->asked_last < s->asked_first) ? -ERANGE : 0;
}

static bool comes_through_cache(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };

    return v->keys && i->cloud_key && object_get(v, i, &o) == 0 && o.kind != INDEX_OBJECT_PLAIN;
}

/* A file that is newer here or all here, or comes by way of it, is held in s->file. */
static int look_in_cache(struct stream *s, const struct index_inode *i)
{
    struct cache *c = s->volume->cache;
    bool through = comes_through_cache(s->volume, i);
    int r;

    if (!through && !cache_file_exists(c->dir_fd, i->ino))
        return 0;
    r = cache_acquire(c, i, &s->file);
    if (r == 0)
        s->outdated = s->file->outdated;
    if (r < 0 || through || i->pending & INDEX_CONTENT || cache_file_whole(s->file))
        return r;
    cache_release(take_ptr(s->file));
    return 0;
}

static int prepare(struct stream *s, const struct index_inode *i)
{
    uint64_t blocks;
    int r;

    if (!S_ISREG(i->mode))
        return S_ISDIR(i->mode) ? -EISDIR : -EINVAL;
    s->size = i->size;
    s->mtime_ns = i->mtime_ns;
    xstrset(&s->etag, i->pending & INDEX_CONTENT ? NULL : i->etag);
    r = look_in_cache(s, i);
    if (r == 0)
        (void)cache_stat(s->volume->cache, i->ino, &s->size, &s->mtime_ns, &blocks);
    if (r == 0)
        r = set_range(s);
    return r == 0 ? make_pipe(s) : r;
}

/* What only a listing has told of may be encrypted, so its size is a guess. */
static void ask_for_size(struct stream *s)
{
    if (s->sized) {
        fail_code(s, -EHOSTUNREACH);
        return;
    }
    s->sized = true;
    s->awaited++;
    lister_refresh(s->volume->lister, s->ino, refreshed, s);
}

static void start(struct stream *s)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(s->volume->index, s->ino, &i);

    if (r == 0 && !object_known(s->volume, &i)) {
        ask_for_size(s);
        return;
    }
    if (r == 0 && object_is_refused_empty(s->volume, &i))
        r = -EIO;
    if (r == 0)
        r = prepare(s, &i);
    if (r == 0 && !s->file && s->at < s->end && (s->volume->paused || !i.cloud_key))
        r = -EIO;
    if (r < 0) {
        fail_code(s, r);
    } else if (s->file && s->at < s->end && !present(s)) {
        pump(s);   /* what comes first may be refused */
    } else if (s->file || s->at == s->end) {
        hand_over(s);
        pump(s);
    } else {
        get(s, &i);
    }
}

static void found(const struct error *e, const struct volume_node *n, void *arg)
{
    struct stream *s = arg;

    if (!answered(s))
        return;
    if (e) {
        fail(s, e);
        return;
    }
    s->ino = n->ino;
    start(s);
}

static void find(struct stream *s)
{
    s->awaited++;
    volume_stat(s->volume, s->path, found, s);
}

void volume_stream_open(struct volume *v, const char *path, bool has_range, uint64_t first, uint64_t last,
                        void (*done)(const struct error *e, const struct volume_stream *s, void *arg), void *arg)
{
    struct stream *s = xcalloc(1, sizeof(*s));

    *s = (struct stream){
        .next = v->streams, .volume = v, .cloud = v->cloud, .done = done, .arg = arg, .has_range = has_range,
        .asked_first = first, .asked_last = last, .read_fd = -1, .write_fd = -1,
        .path = xstrdup(path),
    };
    v->streams = s;
    find(s);
}
