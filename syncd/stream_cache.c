/* Owns objects that come from the cache on their way into a pipe for the API: spliced where they lie there as they are,
 * opened where they are sealed.
 *
 * Must not know who reads, nor how a stream begins (stream.c). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/number.h"
#include "syncd/content.h"
#include "syncd/fetch.h"
#include "syncd/object.h"
#include "syncd/stream_internal.h"

enum { TURN = 8 };

/* Without a key of the drive's own that is said already. */
static void fail_fetched(struct stream *s, const struct error *e)
{
    struct error refusal;
    bool refused = s->volume->keys && e->code != -ENOKEY && object_refusal(e->code, &refusal);

    stream_fail(s, refused ? &refusal : e);
}

static void fetched(const struct error *e, void *arg)
{
    struct stream *s = arg;

    if (e->code) {
        fail_fetched(s, e);
        return;
    }
    if (s->done)
        stream_hand_over(s);
    stream_pump(s);
}

uint64_t stream_present(const struct stream *s)
{
    uint64_t want = least(s->end - s->at, STREAM_PIPE);
    uint64_t absent = chunk_first_absent(s->file->map, s->at, want);

    if (absent == UINT64_MAX)
        return want;
    return excess(absent << CHUNK_SHIFT, s->at);
}

/* Hands bytes to the pipe; what it does not take is kept until it does. */
static void write_out(struct stream *s, const uint8_t *bytes, size_t n)
{
    ssize_t written = write(s->write_fd, bytes, n);

    if (written < 0 && errno != EAGAIN) {
        stream_close(s);   /* its reader is gone */
        return;
    }
    s->at += written > 0 ? (uint64_t)written : 0;
    if (written == (ssize_t)n) {
        stream_pump(s);
        return;
    }
    stream_keep_rest(s, (const char *)bytes + (written > 0 ? written : 0), n - (size_t)(written > 0 ? written : 0));
    stream_wait_writable(s);
}

static void unsealed(const struct error *e, const uint8_t *bytes, size_t n, void *arg)
{
    struct stream *s = arg;
    size_t skipped = s->at % CRYPT_CHUNK;

    if (!stream_answered(s))
        return;
    if (e->code)
        stream_fail(s, e);
    else
        write_out(s, bytes + skipped, least(n - skipped, s->end - s->at));
}

/* What cannot be moved as it lies there. */
static void pump_sealed(struct stream *s)
{
    static const struct content_form plain = { .form = CRYPT_PLAIN };
    uint64_t from = s->at & ~(uint64_t)(CRYPT_CHUNK - 1), there = stream_present(s), to;

    if (s->at == s->end) {
        stream_close(s);
    } else if (there == 0) {
        fetch_range(s->file, FETCH_STREAM, s->at, least(s->end - s->at, STREAM_PIPE),
                    (uint64_t)s->volume->config->read_deadline_seconds * 1000, fetched, s);
    } else {
        to = least((s->at + there + CRYPT_CHUNK - 1) & ~(uint64_t)(CRYPT_CHUNK - 1), cache_file_size(s->file));
        s->awaited++;
        content_out(s->file, from, least(to - from, (uint64_t)CONTENT_CHUNKS_MAX * CRYPT_CHUNK), &plain, unsealed, s);
    }
}

void stream_pump(struct stream *s)
{
    uint64_t n;
    ssize_t moved = 0;
    loff_t from;

    if (s->file && s->file->outdated != s->outdated) {
        stream_fail_code(s, -ESTALE);   /* another version came into the cache */
        return;
    }
    if (s->file && s->file->is_sealed) {
        pump_sealed(s);
        return;
    }
    for (unsigned turn = 0; turn < TURN && s->at < s->end && (n = stream_present(s)); turn++) {
        from = (loff_t)s->at;
        moved = splice(s->file->data_fd, &from, s->write_fd, NULL, n, SPLICE_F_NONBLOCK);
        if (moved <= 0)
            break;
        s->at += (uint64_t)moved;
    }
    if (s->at == s->end)
        stream_close(s);
    else if (moved > 0 ? stream_present(s) > 0 : moved < 0 && errno == EAGAIN)
        stream_wait_writable(s);
    else if (moved < 0 && errno == EPIPE)
        stream_close(s);
    else if (moved < 0 || (moved == 0 && stream_present(s)))
        stream_fail_code(s, moved < 0 ? -errno : -ESTALE);   /* cut shorter meanwhile */
    else
        fetch_range(s->file, FETCH_STREAM, s->at, least(s->end - s->at, STREAM_PIPE),
                    (uint64_t)s->volume->config->read_deadline_seconds * 1000, fetched, s);
}
