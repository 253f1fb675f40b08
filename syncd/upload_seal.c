/* Owns the bytes of an encrypted object on its way up, and which of them may have been sent. A body is made before its
 * request begins, in memory that is a file, so that whoever sends it again sends the same bytes.
 *
 * No chunk of an object may be sealed with two plaintexts. One PUT has a head of its own, at each try. What goes up in
 * parts keeps its head for as long as content and machine are the same, and a digest of each part's tags is written
 * down before the part is sent: what is made anew after that is the same, or is not sent.
 *
 * Must not know how requests are sent, nor where the head comes from (upload_seal_head.c). */
#include "syncd/upload_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"
#include "common/write_all.h"
#include "syncd/anchors.h"
#include "syncd/content.h"
#include "syncd/hash.h"
#include "syncd/object.h"
#include "syncd/store_anchor.h"

enum { TAG = CRYPT_OBJECT_CHUNK - CRYPT_CHUNK };

struct seal_job *seal_job_new(struct upload *u)
{
    struct seal_job *j = xcalloc(1, sizeof(*j));

    *j = (struct seal_job){ .upload = u, .loop = u->volume->loop, .fd = -1 };
    u->seal_job = j;
    return j;
}

struct upload *seal_job_end(struct seal_job *j)
{
    struct upload *u = j->upload;

    if (u)
        u->seal_job = NULL;
    if (j->fd >= 0)
        (void)close(j->fd);
    free(j->tags);
    free(j);
    return u;
}

void upload_seal_abandon(struct upload *u)
{
    if (u->seal_job)
        u->seal_job->upload = NULL;
    u->seal_job = NULL;
}

void upload_seal_free(struct upload_seal *s)
{
    if (!s)
        return;
    index_sealing_done(&s->kept);
    free(s->rest);
    free(s);
}

/* --- bodies ------------------------------------------------------------------------------------------- */

void upload_seal_rewind(struct upload *u)
{
    struct upload_seal *s = u->seal;

    s->made = s->chunk = 0;
    s->rest_n = 0;
    free(take_ptr(s->rest));
}

static uint64_t in_body(const struct seal_job *j)
{
    return (uint64_t)lseek(j->fd, 0, SEEK_CUR);
}

/* As many as the body takes; the others are for the next one. `bytes` may be the rest itself. */
static int put(struct seal_job *j, struct upload_seal *s, const uint8_t *bytes, size_t n)
{
    size_t now = least(n, j->length - in_body(j)), left = n - now;
    int r = write_all(j->fd, bytes, now);
    uint8_t *rest = left ? xcalloc(1, left) : NULL;

    if (left)
        memcpy(rest, bytes + now, left);
    free(s->rest);
    s->rest = rest;
    s->rest_n = left;
    s->made += now;
    return r;
}

static void add_tags(struct seal_job *j, const uint8_t *bytes, size_t n)
{
    size_t chunks = (n + CRYPT_OBJECT_CHUNK - 1) / CRYPT_OBJECT_CHUNK;

    j->tags = realloc(j->tags, (j->n_tags + chunks) * TAG);
    if (!j->tags)
        abort();
    for (size_t i = 0; i < chunks; i++)
        memcpy(j->tags + (j->n_tags + i) * TAG, bytes + least((i + 1) * CRYPT_OBJECT_CHUNK, n) - TAG, TAG);
    j->n_tags += chunks;
}

static void make_more(struct seal_job *j);

static void fail_body(struct seal_job *j, int code)
{
    upload_body_fn *made = j->made;
    struct upload *u = seal_job_end(j);

    if (u)
        made(u, -1, code);
}

static void sealed(const struct error *e, const uint8_t *bytes, size_t n, void *arg)
{
    struct seal_job *j = arg;
    int r = e->code;

    if (!j->upload) {
        (void)seal_job_end(j);
        return;
    }
    if (r == -EIO)
        j->upload->unreadable = true;
    if (r == 0) {
        add_tags(j, bytes, n);
        r = put(j, j->upload->seal, bytes, n);
    }
    if (r < 0)
        fail_body(j, r);
    else
        make_more(j);
}

static void seal_next(struct seal_job *j)
{
    struct upload *u = j->upload;
    struct upload_seal *s = u->seal;
    uint64_t offset = s->chunk * CRYPT_CHUNK, left = s->kept.size - offset;
    uint64_t wanted = (j->length - in_body(j) + CRYPT_OBJECT_CHUNK - 1) / CRYPT_OBJECT_CHUNK;
    uint64_t chunks = least(wanted, CONTENT_CHUNKS_MAX);
    struct content_form form = { .form = CRYPT_OBJECT, .last = object_last_chunk(s->kept.size) };

    memcpy(form.key, s->kept.key, CRYPT_KEY);
    s->chunk += chunks;
    content_out(u->file, offset, least(chunks * CRYPT_CHUNK, left), &form, sealed, j);
}

static void body_made(struct seal_job *j)
{
    upload_body_fn *made = j->made;
    struct upload_seal *s = j->upload->seal;
    uint8_t digest[HASH_SHA256];
    char hex[INDEX_DIGEST], before[INDEX_DIGEST];
    struct index *x = j->upload->volume->index;
    uint64_t ino = j->upload->inode.ino;
    int fd = take_fd(&j->fd), r = 0;
    struct upload *u;

    hash_sha256(j->tags ? j->tags : (const uint8_t *)"", j->n_tags * TAG, digest);
    text_hex(digest, sizeof(digest), hex);
    if (s->in_parts && index_sealed_get(x, ino, j->part, before) == 0)
        r = strcmp(before, hex) == 0 ? 0 : -EBADE;
    else if (s->in_parts && (r = index_begin(x)) == 0)
        r = index_end(x, index_sealed_put(x, ino, j->part, hex));
    u = seal_job_end(j);
    if (r < 0) {
        (void)close(fd);
        fd = -1;
    }
    made(u, fd, r);
}

static void make_more(struct seal_job *j)
{
    struct upload_seal *s = j->upload->seal;
    uint64_t chunks = object_last_chunk(s->kept.size) + 1;
    int r = 0;

    if (s->rest_n)
        r = put(j, s, s->rest, s->rest_n);
    if (r < 0)
        fail_body(j, r);
    else if (in_body(j) < j->length && s->chunk < chunks)
        seal_next(j);
    else
        body_made(j);
}

void upload_seal_body(struct upload *u, uint32_t part, uint64_t length, upload_body_fn *made)
{
    struct upload_seal *s = u->seal;
    struct seal_job *j = seal_job_new(u);
    int r = 0;

    j->made = made;
    j->part = part;
    j->length = length;
    j->fd = memfd_create("landfall-body", MFD_CLOEXEC);
    if (j->fd < 0)
        r = -errno;
    if (r == 0 && s->made == 0)
        r = put(j, s, s->kept.head, s->kept.head_size);
    if (r < 0)
        fail_body(j, r);
    else
        make_more(j);
}

/* --- a part that is there already ----------------------------------------------------------------------- */

static void hash_body(void *arg)
{
    struct seal_job *j = arg;

    hash_extent(&j->hash);
}

static void hashed(void *arg)
{
    struct seal_job *j = arg;
    void (*compared)(struct upload *u, const char *md5) = j->compared;
    bool good = j->hash.error == 0;
    char md5[HASH_MD5_HEX];
    struct upload *u;

    text_hex(j->hash.md5, sizeof(j->hash.md5), md5);
    u = seal_job_end(j);
    if (u)
        compared(u, good ? md5 : NULL);
}

void upload_seal_hash(struct upload *u, int fd, uint64_t length, void (*step)(struct upload *u, const char *md5))
{
    struct seal_job *j = seal_job_new(u);

    j->compared = step;
    j->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    j->hash = (struct hash_extent){ .fd = j->fd, .length = length, .md5_wanted = true };
    loop_work(j->loop, hash_body, hashed, j);
}

/* --- what is known of it afterwards --------------------------------------------------------------------- */

/* Which of several PUTs the cloud has carried out is not known when only one look has told that one of them was. */
static int record(struct upload *u, const char *etag)
{
    const struct upload_seal *s = u->seal;
    struct index_object o = { .kind = INDEX_OBJECT_SEALED, .size = s->kept.size };
    int r;

    if (u->heard || s->in_parts) {
        o.version = s->kept.version;
        o.head = s->kept.head;
        o.head_size = s->kept.head_size;
    }
    r = index_object_put(u->volume->index, u->inode.ino, etag, &o);
    return r < 0 || !o.version ? r : index_anchor_put(u->volume->index, u->key, o.version);
}

/* As its metadata would say (object_told()): so it is known while it cannot be asked for them. When the drive encrypts
 * objects no more its owner wants what was encrypted there to be plain. */
static int record_plain(struct upload *u, const char *etag)
{
    const struct index_object o = { .kind = INDEX_OBJECT_PLAIN, .size = u->size };
    struct volume *v = u->volume;
    int r = 0;

    if (!v->keys)
        return 0;
    if (u->size >= OBJECT_LEAST && !object_seals(v))
        r = index_object_put(v->index, u->inode.ino, etag, &o);
    if (r == 0 && index_anchor(v->index, u->key) > 0)
        r = index_anchor_accept(v->index, u->key, 0);
    return r;
}

int upload_record_object(struct upload *u, const char *etag)
{
    bool content = u->kind == UPLOAD_CONTENT || u->kind == UPLOAD_CLONE;
    int r = index_exhume(u->volume->index, u->key);

    if (r == 0 && u->seal)
        r = record(u, etag);
    else if (r == 0 && content)
        r = record_plain(u, etag);
    else if (r == 0 && u->bind)
        r = upload_bind_record(u, etag);
    if (r == 0)
        r = upload_carry_anchor(u);
    anchors_changed(u->volume);
    return r;
}

void upload_seal_meta(const struct upload *u, struct cloud_meta *m)
{
    m->has_size = true;
    m->size = u->seal->kept.size;
    m->has_binding = false;
}

bool uploader_seals(const struct uploader *u, uint64_t ino)
{
    const struct upload *up;

    LIST_FOREACH(up, &u->running, next)
        if (up->inode.ino == ino && up->seal && up->seal_job)
            return true;
    return false;
}
