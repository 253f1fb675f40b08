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
#include "syncd/fetch.h"
#include "syncd/key_stock.h"
#include "syncd/object.h"
#include "syncd/stream_internal.h"

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
void stream_close(struct stream *s)
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

void stream_fail(struct stream *s, const struct error *e)
{
    stream_done_fn *done = s->done;
    void *arg = s->arg;

    if (!done)
        LOG(LOG_WARNING, "stream_ended_early", "drive=%s", s->volume->drive->id, "ino=%" PRIu64, s->ino, "error=%s",
            error_text(e));
    s->done = NULL;
    stream_close(s);
    if (done)
        done(e, NULL, arg);
}

void stream_fail_code(struct stream *s, int code)
{
    struct error e;

    error_set(&e, code, "%s", error_meaning(code)->text);
    stream_fail(s, &e);
}

void streams_close(struct volume *v)
{
    while (v->streams)
        stream_fail_code(v->streams, -ECANCELED);
}

/* Counts an answer in; true when the stream is still wanted. */
bool stream_answered(struct stream *s)
{
    s->awaited--;
    if (s->volume)
        return true;
    if (s->awaited == 0)
        free_stream(s);
    return false;
}

void stream_hand_over(struct stream *s)
{
    struct volume_stream out = {
        .fd = take_fd(&s->read_fd), .size = s->size, .first = s->first, .last = s->end - 1,
        .etag = s->etag ? s->etag : "", .mtime_ns = s->mtime_ns,
    };
    stream_done_fn *done = s->done;

    s->done = NULL;
    done(NULL, &out, s->arg);
}

/* --- the pipe ------------------------------------------------------------------------------------- */

void stream_wait_writable(struct stream *s)
{
    if (event_add(s->writable, NULL) < 0)
        stream_fail_code(s, -ENOMEM);
}

void stream_keep_rest(struct stream *s, const char *bytes, size_t n)
{
    s->rest = xcalloc(1, n);
    s->rest_len = n;
    memcpy(s->rest, bytes, n);
}

/* True: the pipe took all of it. */
bool stream_write_rest(struct stream *s)
{
    ssize_t written = write(s->write_fd, s->rest, s->rest_len);

    if (written < 0 && errno != EAGAIN) {
        stream_close(s);
        return false;
    }
    if (written > 0) {
        s->at += (uint64_t)written;
        s->rest_len -= (size_t)written;
        memmove(s->rest, s->rest + written, s->rest_len);
    }
    if (s->rest_len) {
        stream_wait_writable(s);
        return false;
    }
    free(take_ptr(s->rest));
    return true;
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
        stream_hand_over(s);
    written = write(s->write_fd, bytes, n);
    s->at += written > 0 ? (uint64_t)written : 0;
    if (written == (ssize_t)n)
        return true;
    stream_keep_rest(s, (const char *)bytes + (written > 0 ? written : 0), n - (size_t)(written > 0 ? written : 0));
    stream_wait_writable(s);   /* where a reader that is gone is noticed as well */
    return false;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    if (s->rest && !stream_write_rest(s))
        return;
    if (s->file)
        stream_pump(s);
    else if (s->request)
        cloud_continue(s->cloud, s->request);
    else
        stream_close(s);
}

static void find(struct stream *s);

/* Another version is another inode. */
static void refreshed(const struct error *e, void *arg)
{
    struct stream *s = arg;

    if (!stream_answered(s))
        return;
    if (e->code)
        stream_fail(s, e);
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
    if (!stream_answered(s))
        return;
    if (e.code == 0 && s->at + s->rest_len < s->end)
        error_set(&e, -ESTALE, "The object is shorter than it was.");
    if ((e.code == -ESTALE || e.code == -ENOENT) && s->done && !s->retried) {
        s->retried = true;
        s->awaited++;
        lister_refresh(s->volume->lister, s->ino, refreshed, s);
    } else if (e.code) {
        stream_fail(s, &e);
    } else if (!s->rest) {
        stream_close(s);
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
    (void)fcntl(s->write_fd, F_SETPIPE_SZ, STREAM_PIPE);   /* a smaller one is slower, no more */
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
        stream_fail_code(s, -EHOSTUNREACH);
        return;
    }
    s->sized = true;
    s->awaited++;
    lister_refresh(s->volume->lister, s->ino, refreshed, s);
}

static void fail_refused(struct stream *s, const struct index_inode *i)
{
    const char *why = object_fault(s->volume, i);
    struct error e;

    error_set(&e, -EBADE, "%s", why ? why : "");
    stream_fail(s, &e);
}

static void start(struct stream *s)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(s->volume->index, s->ino, &i);

    if (r == 0 && !object_known(s->volume, &i)) {
        ask_for_size(s);
        return;
    }
    if (r == 0 && object_is_refused_empty(s->volume, &i)) {
        fail_refused(s, &i);
        return;
    }
    if (r == 0)
        r = prepare(s, &i);
    if (r == 0 && !s->file && s->at < s->end && (s->volume->paused || !i.cloud_key))
        r = s->volume->paused ? -ENETDOWN : -EIO;
    if (r < 0) {
        stream_fail_code(s, r);
    } else if (s->file && s->at < s->end && !stream_present(s)) {
        stream_pump(s);   /* what comes first may be refused */
    } else if (s->file || s->at == s->end) {
        stream_hand_over(s);
        stream_pump(s);
    } else {
        get(s, &i);
    }
}

static void start_with_keys(struct stream *s);

static void has_keys(const struct error *e, void *arg)
{
    struct stream *s = arg;

    if (!stream_answered(s))
        return;
    if (e->code)
        stream_fail(s, e);
    else
        start_with_keys(s);
}

/* What comes by way of the cache gets a file there. */
static void start_with_keys(struct stream *s)
{
    if (!fs_lacks_keys(s->volume)) {
        start(s);
        return;
    }
    s->awaited++;
    key_stock_wait(s->volume->cache->stock, has_keys, s);
}

/* The file may have become another one meanwhile. */
static void told(const struct error *e, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct stream *s = arg;

    if (!stream_answered(s))
        return;
    if (e->code) {
        stream_fail(s, e);
    } else if ((index_get(s->volume->index, s->ino, &i) < 0 || i.nlink == 0) && !s->retried) {
        s->retried = true;
        find(s);
    } else {
        start_with_keys(s);
    }
}

static void found(const struct error *e, const struct volume_node *n, void *arg)
{
    struct stream *s = arg;

    if (!stream_answered(s))
        return;
    if (e) {
        stream_fail(s, e);
        return;
    }
    s->ino = n->ino;
    if (!told_lacks(s->volume, s->ino)) {
        start_with_keys(s);
        return;
    }
    s->awaited++;
    told_await(s->volume, s->ino, told, s);
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
