/* Owns the bytes of a file that is sealed in the cache and not in the cloud, on their way up: opened into memory that
 * is a file, piece by piece, before the request begins that sends them. They are nowhere else, and are not swapped.
 *
 * Must not know how requests are sent. */
#include "syncd/upload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "common/text.h"
#include "syncd/content.h"
#include "syncd/hash.h"

/* It may be abandoned meanwhile. */
struct unseal_job {
    struct upload *upload;          /* NULL: nobody wants it any more */
    uint64_t offset, length, done;
    struct upload_plain body;       /* or a digest: */
    struct hash_md5 *md5;
    upload_body_fn *made;
    void (*hashed)(struct upload *u, const char *md5);
};

bool upload_unseals(const struct upload *u)
{
    return !u->seal && u->file && u->file->is_sealed;
}

void upload_plain_end(struct upload_plain *p)
{
    if (p->n)
        (void)munmap(p->bytes, p->n);
    *p = (struct upload_plain){ .fd = -1 };
}

static int begin_body(struct upload_plain *p, uint64_t length)
{
    void *bytes;

    p->fd = memfd_create("landfall-body", MFD_CLOEXEC);
    if (p->fd < 0 || ftruncate(p->fd, (off_t)length) < 0)
        return -errno;
    bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (bytes == MAP_FAILED)
        return -errno;
    p->bytes = bytes;
    p->n = length;
    (void)mlock2(bytes, length, MLOCK_ONFAULT);   /* as far as the limit goes; the log has it when there is one */
    (void)madvise(bytes, length, MADV_DONTDUMP);
    return 0;
}

/* The change it was for, or NULL. */
static struct upload *job_end(struct unseal_job *j)
{
    struct upload *u = j->upload;

    if (u)
        u->unseal_job = NULL;
    hash_md5_free(j->md5);
    free(j);
    return u;
}

void upload_unseal_abandon(struct upload *u)
{
    if (u->unseal_job)
        u->unseal_job->upload = NULL;
    u->unseal_job = NULL;
}

static void fail(struct unseal_job *j, int code)
{
    upload_body_fn *made = j->made;
    void (*hashed)(struct upload *u, const char *md5) = j->hashed;
    int fd = j->body.fd;
    struct upload *u;

    upload_plain_end(&j->body);
    if (fd >= 0)
        (void)close(fd);
    u = job_end(j);
    if (u && made)
        made(u, -1, code);
    else if (u)
        hashed(u, NULL);
}

static void body_made(struct unseal_job *j)
{
    upload_body_fn *made = j->made;
    struct upload_plain body = j->body;
    struct upload *u = job_end(j);

    upload_plain_end(&u->plain);   /* of one that was not sent */
    u->plain = body;
    made(u, body.fd, 0);
}

static void digest_made(struct unseal_job *j)
{
    void (*hashed)(struct upload *u, const char *md5) = j->hashed;
    uint8_t digest[HASH_MD5];
    char hex[HASH_MD5_HEX];

    hash_md5_take(j->md5, digest);
    text_hex(digest, sizeof(digest), hex);
    hashed(job_end(j), hex);
}

static void go_on(struct unseal_job *j);

/* The first bytes may be those of a chunk that began before. */
static void unsealed(const struct error *e, const uint8_t *bytes, size_t n, void *arg)
{
    struct unseal_job *j = arg;
    size_t skipped = (j->offset + j->done) % CRYPT_CHUNK;

    if (!j->upload || e->code) {
        if (j->upload && (e->code == -EIO || e->code == -EBADE))
            j->upload->unreadable = true;
        fail(j, e->code);
        return;
    }
    n = least(n - skipped, j->length - j->done);
    if (j->md5)
        hash_md5_add(j->md5, bytes + skipped, n);
    else
        memcpy(j->body.bytes + j->done, bytes + skipped, n);
    j->done += n;
    go_on(j);
}

static void go_on(struct unseal_job *j)
{
    static const struct content_form plain = { .form = CRYPT_PLAIN };
    struct cache_file *f = j->upload->file;
    uint64_t at = j->offset + j->done, from = at & ~(uint64_t)(CRYPT_CHUNK - 1), size = cache_file_size(f);
    uint64_t end = least((j->offset + j->length + CRYPT_CHUNK - 1) & ~(uint64_t)(CRYPT_CHUNK - 1), size);

    if (j->done == j->length && j->md5)
        digest_made(j);
    else if (j->done == j->length)
        body_made(j);
    else if (end <= at)
        fail(j, -EBADE);   /* it was cut meanwhile */
    else
        content_out(f, from, least(end - from, (uint64_t)CONTENT_CHUNKS_MAX * CRYPT_CHUNK), &plain, unsealed, j);
}

static struct unseal_job *job_new(struct upload *u, uint64_t offset, uint64_t length)
{
    struct unseal_job *j = xcalloc(1, sizeof(*j));

    *j = (struct unseal_job){ .upload = u, .offset = offset, .length = length, .body = { .fd = -1 } };
    u->unseal_job = j;
    return j;
}

void upload_unseal_body(struct upload *u, uint64_t offset, uint64_t length, upload_body_fn *made)
{
    struct unseal_job *j = job_new(u, offset, length);
    int r = begin_body(&j->body, length);

    j->made = made;
    if (r < 0)
        fail(j, r);
    else
        go_on(j);
}

void upload_unseal_hash(struct upload *u, uint64_t offset, uint64_t length,
                        void (*step)(struct upload *u, const char *md5))
{
    struct unseal_job *j = job_new(u, offset, length);

    j->md5 = hash_md5_new();
    j->hashed = step;
    go_on(j);
}
