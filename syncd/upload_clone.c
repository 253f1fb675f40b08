/* Owns the change that makes a file of what the cloud has of another one, or lets that follow what it has of the file:
 * in parts that the cloud copies, so that the object comes into being with one request that carries a condition, and
 * one that nobody waits for any more cannot come later. A program waits meanwhile. Until the end the file is what it
 * was, and dirty; when the end is not heard of, its next upload finds what is in the cloud by the row, as after any
 * other upload.
 *
 * Whatever goes wrong ends it, and the program is told to copy by itself: nothing is tried again and no conflict is
 * settled here.
 *
 * Must not know which files may be copied, nor who waits (fs_copy.c). */
#include "syncd/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/tally.h"

static const uint64_t MIB = 1 << 20;
static const uint64_t PART = 64 << 20;   /* a program waits, so several at once */

struct upload_clone {
    char *key, *etag;
    uint64_t offset, length;
    uint64_t at;                          /* where they come in the file: its size before */
    int (*record)(void *arg);
    void (*ended)(int code, void *arg);   /* NULL: was told */
    void *arg;
    bool made;
};

/* --- what is copied ------------------------------------------------------------------------------- */

struct upload_source upload_source(const struct upload *u)
{
    const struct upload_clone *c = u->clone;

    return c ? (struct upload_source){ c->key, c->etag } : (struct upload_source){ u->inode.cloud_key, u->inode.etag };
}

struct upload_source upload_piece(const struct upload *u, uint64_t at, uint64_t *ret_offset)
{
    const struct upload_clone *c = u->clone;

    if (c && at >= c->at) {
        *ret_offset = c->offset + (at - c->at);
        return upload_source(u);
    }
    *ret_offset = at;
    return (struct upload_source){ u->inode.cloud_key, u->inode.etag };
}

/* All have one size (R2 wants it so), so what comes first is divided without a rest. */
uint64_t upload_clone_part(const struct upload *u, uint64_t least_size)
{
    uint64_t at = u->clone->at, wanted = most(PART, (least_size + MIB - 1) / MIB * MIB), n = most(at / wanted, 1);

    if (at == 0)
        return wanted;
    while (at % n)
        n--;
    return at / n >= most(least_size, UPLOAD_CLONE_LEAST) ? at / n : 0;
}

/* --- who waits ------------------------------------------------------------------------------------ */

static void tell(struct upload_clone *c, int code)
{
    void (*ended)(int code, void *arg) = c->ended;

    c->ended = NULL;
    if (ended)
        ended(code, c->arg);
}

void upload_clone_end(struct upload *u)
{
    tell(u->clone, u->clone->made ? 0 : -ECANCELED);
}

void upload_clone_free(struct upload_clone *c)
{
    if (!c)
        return;
    free(c->key);
    free(c->etag);
    free(c);
}

void upload_clone_cancel(struct upload *u, bool even_then)
{
    if (u->placing && !even_then)
        return;
    upload_parts_cancel(u);
    upload_cancel_asks(u);
}

/* --- its way -------------------------------------------------------------------------------------- */

static void copy(struct upload *u)
{
    upload_parts_start(u, true);
}

/* Each try is told from every other by its generation. */
static int renew_generation(struct upload *u)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct index *x = u->volume->index;
    int r = index_begin(x);

    if (r < 0)
        return r;
    r = index_get(x, u->inode.ino, &i);
    i.generation++;
    i.pending |= INDEX_CONTENT;
    i.mtime_ns = i.ctime_ns = loop_wall_ns();
    if (r == 0)
        r = index_update(x, &i);
    r = index_end(x, r);
    return r == 0 ? upload_reload(u) : r;
}

static int prepare(struct upload *u)
{
    int r = u->size > CHUNK_FILE_MAX ? -EFBIG : cache_acquire(u->volume->cache, &u->inode, &u->file);

    if (r == 0)
        r = cache_dirty(u->file);
    if (r == 0)
        r = cache_file_map_room(u->file, u->size);   /* once it is made nothing may fail */
    if (r < 0)
        return r;
    u->write_seq = atomic_load(&u->file->map->write_seq);
    if (cache_file_size(u->file) != u->clone->at)
        return -EAGAIN;
    return renew_generation(u);
}

void upload_clone_start(struct upload *u)
{
    int r;

    u->size = u->clone->at + u->clone->length;
    r = prepare(u);
    if (r < 0)
        upload_fail_code(u, r);
    else
        upload_settle_earlier(u, copy);
}

struct upload *upload_clone(struct uploader *u, const struct clone_spec *spec)
{
    struct upload *up = upload_new(u, UPLOAD_CLONE);

    up->clone = xcalloc(1, sizeof(*up->clone));
    *up->clone = (struct upload_clone){
        .key = xstrdup(spec->key), .etag = xstrdup(spec->etag), .offset = spec->offset, .length = spec->length,
        .at = spec->size,
        .record = spec->record, .ended = spec->ended, .arg = spec->arg,
    };
    upload_begin(up, spec->ino);
    return up;
}

/* --- its end -------------------------------------------------------------------------------------- */

/* What was written meanwhile stays, to be sent in place of what the cloud has made. */
int upload_clone_record(struct upload *u, struct index_inode *i)
{
    int r;

    if (i->pending & INDEX_CONTENT)
        return 0;
    i->size = u->size;
    i->ctime_ns = loop_wall_ns();
    i->settled = true;
    r = index_unsynced_remove(u->volume->index, i->ino);
    if (r == 0)
        r = u->clone->record(u->clone->arg);
    u->clone->made = r == 0;
    return r;
}

/* From here on the file is a version of the cloud's of which nothing is here. */
void upload_clone_made(struct upload *u)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct volume *v = u->volume;
    struct cache_file *f;

    if (!u->clone->made) {
        tell(u->clone, -EAGAIN);
        return;
    }
    if (index_get(v->index, u->inode.ino, &i) == 0 && cache_acquire(v->cache, &i, &f) == 0)
        cache_release(f);
    v->tally->copies++;
    v->tally->copied += u->clone->length;
}

/* When nobody knows whether the last request was carried out, the row stays. */
void upload_clone_failed(struct upload *u, const struct error *e)
{
    struct upload_clone *c = u->clone;
    bool told = !c->ended, perhaps = u->placing && e->code != -ESTALE;

    LOG(LOG_INFO, "not_copied_by_the_cloud", "drive=%s", u->volume->drive->id, "key=%s", u->key ? u->key : "",
        "error=%s", error_text(e));
    c->made = false;
    tell(c, e->code);
    if (told || perhaps)
        upload_end(u);
    else
        upload_parts_give_up(u, upload_end);
}
