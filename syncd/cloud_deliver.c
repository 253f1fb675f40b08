/* Owns the way of a GET's bytes to whoever asked, and whether they are the ones that the object's ETag names.
 *
 * Most services have the MD5 of an object that was put in one piece as its ETag. Some have 32 digits that are something
 * else; only a second download tells that from damage, which does not come twice alike.
 *
 * Must not know any provider, nor how often a download is tried. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/cloud.h"
#include "syncd/hash.h"
#include "syncd/tally.h"

/* Of a request whose bytes are held back. */
struct cloud_check {
    struct hash_md5 *md5;
    struct text held;          /* what is for data() */
    uint8_t last[HASH_MD5];    /* what came the last time */
    unsigned downloads;
};

/* --- whether it is right ----------------------------------------------------------------------------- */

static bool named_md5(const struct cloud_object *o, uint8_t out[HASH_MD5])
{
    return !o->opaque && o->etag && strlen(o->etag) == HASH_MD5_HEX - 1 && text_unhex(o->etag, out, HASH_MD5) == 0;
}

static void begin_check(struct cloud_request *r)
{
    uint8_t md5[HASH_MD5];

    if (r->check || !r->checked || !named_md5(&r->object, md5))
        return;
    r->check = xcalloc(1, sizeof(*r->check));
    *r->check = (struct cloud_check){ .md5 = hash_md5_new(), .held = TEXT_INIT(CLOUD_CHECKED_MAX) };
}

/* Of two downloads that differ one was damaged. */
static bool is_same_again(struct cloud_request *r, const uint8_t md5[HASH_MD5])
{
    struct cloud_check *c = r->check;
    bool same = c->downloads && memcmp(md5, c->last, HASH_MD5) == 0;

    r->damaged += c->downloads && !same;
    c->downloads++;
    memcpy(c->last, md5, HASH_MD5);
    return same;
}

static int judge(struct cloud_request *r, struct error *e)
{
    uint8_t md5[HASH_MD5], named[HASH_MD5];
    bool same;

    hash_md5_take(r->check->md5, md5);
    if (!named_md5(&r->object, named) || r->content_length != r->object.size)
        return 0;
    same = is_same_again(r, md5);
    if (memcmp(md5, named, HASH_MD5) == 0)
        r->match = CLOUD_MATCHED;
    else if (same)
        r->match = CLOUD_UNLIKE;
    else if (r->check->downloads == 1)
        return 1;
    else
        return error_set(e, -EBADE, "%s arrives with other bytes each time it is fetched, and never with those that "
                                    "its ETag names: something on the way damages it.", r->key);
    return 0;
}

/* --- on their way ------------------------------------------------------------------------------------ */

static int write_sink(const struct cloud_extent *sink, uint64_t at, const char *bytes, size_t n)
{
    if (at > sink->length || n > sink->length - at)
        return -EFBIG;
    while (n) {
        ssize_t wrote = pwrite(sink->fd, bytes, n, (off_t)(sink->offset + at));

        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0) {
            bytes += wrote;
            at += (uint64_t)wrote;
            n -= (size_t)wrote;
        }
    }
    return 0;
}

static int hand_over(struct cloud_request *r, const void *bytes, size_t n)
{
    if (r->sink.fd < 0)
        return r->data && !r->data(r, bytes, n, r->arg);
    if (r->progress)
        r->progress(r, r->content_length, r->arg);
    return 0;
}

static int hold_back(struct cloud_request *r, const void *bytes, size_t n)
{
    hash_md5_add(r->check->md5, bytes, n);
    return r->sink.fd < 0 ? text_add(&r->check->held, bytes, n) : 0;
}

int cloud_deliver(struct cloud_request *r, const void *bytes, size_t n)
{
    int error = r->sink.fd >= 0 ? write_sink(&r->sink, r->content_length, bytes, n) : 0;

    if (error < 0)
        return error;
    if (r->content_length == 0)
        begin_check(r);
    r->content_length += n;
    tally_heard(r->tally);
    return r->check ? hold_back(r, bytes, n) : hand_over(r, bytes, n);
}

/* Whether data() wants a pause does not matter: nothing more comes. */
int cloud_delivered(struct cloud_request *r, struct error *e)
{
    int verdict = r->check ? judge(r, e) : 0;

    if (verdict) {
        r->content_length = 0;
        text_reset(&r->check->held);
    } else if (r->check && r->check->held.len) {
        (void)hand_over(r, r->check->held.data, r->check->held.len);
    }
    return r->finished ? -ECANCELED : verdict;
}

void cloud_deliver_end(struct cloud_request *r)
{
    struct cloud_check *c = take_ptr(r->check);

    if (!c)
        return;
    hash_md5_free(c->md5);
    text_free(&c->held);
    free(c);
}
