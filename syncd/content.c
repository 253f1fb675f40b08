/* Owns what is under way between a cache file and somebody who wants its bytes, or brings them, in another form.
 *
 * Must not know objects, nor who asks. */
#include "syncd/content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

/* A run of chunks. Of a sealed file it is `job` that has them; else, if cryptd is asked, `place`, first as they are
 * outside and behind that as they are here; else `bytes`. */
struct content {
    LIST_ENTRY(content) next;     /* of the cache's */
    struct cache_file *file;      /* held; NULL: it ended before it could be said */
    uint64_t offset, length;
    size_t n;
    struct content_form form;
    bool out;
    struct sealed_job *job;
    struct crypt_place place;
    struct crypt_chunk *chunks;
    uint8_t *bytes;               /* owned */
    const uint8_t *given;         /* what is to come in, borrowed while content_in() runs */
    bool placed;
    uint64_t generation;          /* of the chunk that is to be shorter */
    content_out_fn *brought;
    content_admit_fn *admit;
    content_in_fn *taken;
    void *arg;
    bool deferred;                /* it is said later: */
    int code;
};


uint64_t content_length(const struct content_form *form, uint64_t length)
{
    uint64_t n = length ? (length + CRYPT_CHUNK - 1) / CRYPT_CHUNK : 1;

    return form->form == CRYPT_OBJECT ? length + n * (CRYPT_OBJECT_CHUNK - CRYPT_CHUNK) : length;
}

static struct content *content_new(struct cache_file *f, uint64_t offset, uint64_t length,
                                   const struct content_form *form)
{
    struct content *c = xcalloc(1, sizeof(*c));

    *c = (struct content){
        .file = cache_hold(f), .offset = offset, .length = length, .form = *form,
        .n = length ? (length + CRYPT_CHUNK - 1) / CRYPT_CHUNK : 1,
    };
    if (offset % CRYPT_CHUNK || c->n > CONTENT_CHUNKS_MAX)
        abort();
    LIST_INSERT_HEAD(&f->volume->cache->contents, c, next);
    return c;
}

bool content_busy(const struct cache_file *f)
{
    const struct content *c;

    LIST_FOREACH(c, &f->cache->contents, next)
        if (c->file == f)
            return true;
    return false;
}

static void content_end(struct content *c)
{
    const struct sealed_io *io = c->file->volume->cache->io;

    LIST_REMOVE(c, next);
    sealed_job_end(c->job);
    if (c->place.n)
        crypt_place_end(io->crypt, &c->place);
    else if (io)
        crypt_place_cancel(io->crypt, &c->place);
    cache_release(take_ptr(c->file));
    free(c->chunks);
    free(c->bytes);
    if (!c->deferred)
        free(c);
}

/* --- how it ends ------------------------------------------------------------------------------------- */

static void end(struct content *c, const struct error *e, const uint8_t *bytes)
{
    if (c->out)
        c->brought(e, bytes, e->code ? 0 : content_length(&c->form, c->length), c->arg);
    else
        c->taken(e, c->arg);
    content_end(c);
}

static void end_code(struct content *c, int code)
{
    struct error e = { 0 };

    if (code)
        error_set(&e, code, "%s", error_meaning(code)->text);
    end(c, &e, c->bytes);
}

static void say(void *arg)
{
    struct content *c = arg;

    c->deferred = false;
    if (c->file)
        end_code(c, c->code);
    else
        free(c);
}

static void end_later(struct content *c, int code)
{
    c->code = code;
    c->deferred = true;
    loop_defer(c->file->volume->loop, say, c);
}

static int read_plain(const struct content *c, uint8_t *to)
{
    uint64_t done = 0;

    while (done < c->length) {
        ssize_t n = pread(c->file->data_fd, to + done, c->length - done, (off_t)(c->offset + done));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO;   /* cut shorter meanwhile */
        done += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

static int write_plain(const struct content *c, const uint8_t *from)
{
    uint64_t done = 0;

    while (done < c->length) {
        ssize_t n = pwrite(c->file->data_fd, from + done, c->length - done, (off_t)(c->offset + done));

        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

/* --- sealed here ------------------------------------------------------------------------------------- */

static void unsealed(struct sealed_job *j, const struct error *e)
{
    end(j->arg, e, j->outer);
}

static void sealed(struct sealed_job *j, const struct error *e)
{
    struct content *c = j->arg;

    if (e->code)
        end(c, e, NULL);
    else
        end_code(c, c->admit(c->arg) ? sealed_store(j) : -ECANCELED);
}

static uint32_t chunk_length(const struct content *c, size_t i)
{
    return (uint32_t)least(c->length - i * CRYPT_CHUNK, CRYPT_CHUNK);
}

static void work_sealed(struct sealed_job *j, const struct error *e)
{
    struct content *c = j->arg;
    uint32_t lengths[CONTENT_CHUNKS_MAX];

    (void)e;
    c->placed = true;
    if (c->out) {
        sealed_open(j, c->offset + c->length, unsealed);
        return;
    }
    memcpy(j->outer, c->bytes ? c->bytes : c->given, content_length(&c->form, c->length));
    for (size_t i = 0; i < c->n; i++)
        lengths[i] = chunk_length(c, i);
    sealed_seal(j, lengths, sealed);
}

static void begin_sealed(struct content *c, sealed_fn *work)
{
    struct sealed_job *j = sealed_job_new(c->file->volume->cache->io, &c->file->sealed, c->offset / CRYPT_CHUNK, c->n);

    c->job = j;
    j->form = c->form.form;
    memcpy(j->object_key, c->form.key, CRYPT_KEY);
    j->object_last = c->form.last;
    j->arg = c;
    sealed_job_begin(j, work);
}

/* --- trimming ---------------------------------------------------------------------------------------- */

/* Who asked may have been answered otherwise meanwhile, and programs may write. */
static void sealed_shorter(struct sealed_job *j, const struct error *e)
{
    struct content *c = j->arg;

    if (e->code)
        end(c, e, NULL);
    else
        end_code(c, cache_seal_replace(c->file, j, c->generation));
}

static void seal_shorter(struct sealed_job *j, const struct error *e)
{
    const struct content *c = j->arg;
    uint32_t length = (uint32_t)c->length;

    if (e->code)
        end(j->arg, e, NULL);
    else
        sealed_seal(j, &length, sealed_shorter);
}

static void open_end(struct sealed_job *j, const struct error *e)
{
    struct content *c = j->arg;

    (void)e;
    c->generation = cache_seal_generation(c->file, j->first);
    sealed_open(j, c->offset + c->length, seal_shorter);
}

/* --- plain here, an object outside --------------------------------------------------------------------- */

static void crypted(const struct error *e, void *arg)
{
    struct content *c = arg;
    struct error failed = *e;

    for (size_t i = 0; failed.code == 0 && i < c->n; i++)
        if (c->chunks[i].code)
            error_set(&failed, c->chunks[i].code, "Bytes of the object are not what was encrypted.");
    if (failed.code)
        end(c, &failed, NULL);
    else if (c->out)
        end(c, &failed, c->place.bytes);
    else
        end_code(c, c->admit(c->arg) ? write_plain(c, c->place.bytes + c->n * CRYPT_OBJECT_CHUNK) : -ECANCELED);
}

static void lay_out(struct content *c)
{
    uint64_t here = c->place.at + c->n * CRYPT_OBJECT_CHUNK;

    c->chunks = xcalloc(c->n, sizeof(*c->chunks));
    for (size_t i = 0; i < c->n; i++) {
        struct crypt_chunk *k = &c->chunks[i];
        uint64_t inner = here + i * CRYPT_CHUNK, outer = c->place.at + i * CRYPT_OBJECT_CHUNK;

        k->number = c->offset / CRYPT_CHUNK + i;
        k->length = chunk_length(c, i);
        k->in_at = c->out ? inner : outer;
        k->out_at = c->out ? outer : inner;
        k->last = k->number == c->form.last;
    }
}

static void work_plain(void *arg)
{
    struct content *c = arg;
    struct crypt_call call = {
        .asker = c->file->volume->cache->io->asker, .from = c->out ? CRYPT_PLAIN : CRYPT_OBJECT,
        .to = c->out ? CRYPT_OBJECT : CRYPT_PLAIN, .from_key = c->form.key, .to_key = c->form.key, .n = c->n,
    };
    int r = 0;

    c->placed = true;
    if (c->out)
        r = read_plain(c, c->place.bytes + c->n * CRYPT_OBJECT_CHUNK);
    else
        memcpy(c->place.bytes, c->bytes ? c->bytes : c->given, content_length(&c->form, c->length));
    if (r < 0) {
        end_later(c, r);
        return;
    }
    lay_out(c);
    call.chunks = c->chunks;
    crypt_run(&call, crypted, c);
}

static void begin_plain(struct content *c)
{
    crypt_place(c->file->volume->cache->io->crypt, c->n * (CRYPT_OBJECT_CHUNK + CRYPT_CHUNK), &c->place, work_plain, c);
}

/* --- the contract -------------------------------------------------------------------------------------- */

/* An empty object has a chunk, an empty file has none. */
static bool is_sealed(const struct content *c)
{
    return c->file->is_sealed && c->length > 0;
}

void content_out(struct cache_file *f, uint64_t offset, uint64_t length, const struct content_form *form,
                 content_out_fn *done, void *arg)
{
    struct content *c = content_new(f, offset, length, form);

    c->out = true;
    c->brought = done;
    c->arg = arg;
    if (is_sealed(c)) {
        begin_sealed(c, work_sealed);
    } else if (form->form == CRYPT_OBJECT) {
        begin_plain(c);
    } else {
        c->bytes = xcalloc(1, length + 1);
        end_later(c, read_plain(c, c->bytes));
    }
}

/* Where there is no place yet the bytes are kept until there is. */
static void keep(struct content *c, const uint8_t *bytes, size_t n)
{
    c->bytes = xcalloc(1, n + 1);
    memcpy(c->bytes, bytes, n);
}

void content_in(struct cache_file *f, uint64_t offset, uint64_t length, const struct content_form *form,
                const uint8_t *bytes, size_t n, content_admit_fn *admit, content_in_fn *done, void *arg)
{
    struct content *c = content_new(f, offset, length, form);

    c->admit = admit;
    c->taken = done;
    c->arg = arg;
    c->given = bytes;
    if (n != content_length(form, length)) {
        end_later(c, -EBADE);
        return;
    }
    if (is_sealed(c))
        begin_sealed(c, work_sealed);
    else if (form->form == CRYPT_OBJECT)
        begin_plain(c);
    else
        end_later(c, admit(arg) ? write_plain(c, bytes) : -ECANCELED);
    if (!c->placed && (is_sealed(c) || form->form == CRYPT_OBJECT))
        keep(c, bytes, n);
}

void content_trim(struct cache_file *f, content_trim_fn *done, void *arg)
{
    static const struct content_form plain = { .form = CRYPT_PLAIN };
    uint64_t size = cache_file_size(f);
    struct content *c = content_new(f, size & ~(uint64_t)(CRYPT_CHUNK - 1), size % CRYPT_CHUNK, &plain);

    c->taken = done;
    c->arg = arg;
    begin_sealed(c, open_end);
}

void content_end_all(struct cache *c)
{
    struct content *content;

    while ((content = LIST_FIRST(&c->contents)))
        end_code(content, -ECANCELED);
}
