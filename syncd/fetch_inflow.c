/* Owns the bytes of a version that may be encrypted, on their way into the cache file, chunk by chunk. What is no whole
 * chunk yet waits in memory, a few MiB for a transfer at most; then the cloud waits.
 *
 * Must not know how a head is opened (fetch_object.c). */
#include "syncd/fetch_inflow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/content.h"

enum { BATCH = 16 };
_Static_assert((int)BATCH <= (int)OBJECT_UNSEAL_MAX && (int)BATCH <= (int)CONTENT_CHUNKS_MAX, "what is taken at once");

/* --- the life of a transfer ------------------------------------------------------------------------------ */

static bool idle(const struct fetch_transfer *t)
{
    return !t->request && !t->in->opening && !t->in->writing && !t->in->busy;
}

static void free_if_idle(struct fetch_transfer *t)
{
    if (t->file || !idle(t))
        return;
    free(t->in->bytes);
    free(t->in);
    free(t->key);
    free(t);
}

void inflow_enter(struct fetch_transfer *t)
{
    t->in->busy++;
}

void inflow_leave(struct fetch_transfer *t)
{
    t->in->busy--;
    free_if_idle(t);
}

void fetch_inflow_detached(struct fetch_transfer *t, struct cache_file *f)
{
    if (t->in->at_head && f->fetch.object)
        f->fetch.object->opening = false;
}

void fetch_inflow_stop(struct fetch_transfer *t)
{
    if (t->request)
        cloud_cancel(t->cloud, t->request);
    free_if_idle(t);
}

/* Nothing is left to do, or nothing is to be hoped for. From within inflow_enter(). */
void inflow_end(struct fetch_transfer *t, const struct error *e)
{
    struct cache_file *f = cache_hold(t->file);
    struct error error = *e;

    fetch_detach(t);
    if (t->request)
        cloud_cancel(t->cloud, t->request);
    if (error.code)
        fetch_failed(f, t, &error, t->late);
    fetch_wake(f);
    fetch_plan(f);
    cache_release(f);
}

/* --- chunks --------------------------------------------------------------------------------------------- */

void inflow_consume(struct fetch_inflow *in, size_t n)
{
    in->skip += n;
    in->n -= n;
    in->at += n;
}

void inflow_append(struct fetch_inflow *in, const void *bytes, size_t n)
{
    if (in->skip)
        memmove(in->bytes, in->bytes + in->skip, in->n);
    in->skip = 0;
    if (in->n + n > in->room) {
        in->room = most(in->n + n, 2 * in->room);
        in->bytes = realloc(in->bytes, in->room);
        if (!in->bytes)
            abort();
    }
    memcpy(in->bytes + in->n, bytes, n);
    in->n += n;
}

static bool admit(void *arg)
{
    const struct fetch_transfer *t = arg;

    return t->file;
}

/* Of a run of several one did not open: which, is found out. */
static void chunk_refused(struct fetch_transfer *t)
{
    struct cache_file *f = t->file;
    struct fetch_inflow *in = t->in;
    uint64_t from = t->from;
    struct error e;

    if (in->taken > CRYPT_OBJECT_CHUNK) {
        in->single = true;
        return;
    }
    in->single = false;
    error_set(&e, -EBADMSG, "Bytes %" PRIu64 " to %" PRIu64 " of %s are not what was encrypted.", from,
              from + in->length - 1, t->key);
    object_refused(f->volume, t->key, &e);
    object_note_fault(f->volume, f->ino, f->fetch.object->etag, -EBADMSG, 0);
    show_state(f->volume, f->ino, SHOW_ERROR);
    object_note_bad(f, from);
    inflow_consume(in, in->taken);
    t->from = from + CHUNK_SIZE;
    fetch_fail_within(f, from, from + CHUNK_SIZE, &e);
}

static void wrote(const struct error *e, void *arg)
{
    struct fetch_transfer *t = arg;
    struct fetch_inflow *in = t->in;
    struct cache_file *f = t->file ? cache_hold(t->file) : NULL;

    inflow_enter(t);
    in->writing = false;
    if (f && e->code == -EBADE && !in->plain) {
        chunk_refused(t);
    } else if (f && e->code == 0) {
        inflow_consume(in, in->taken);
        fetch_arrived(t, t->from + in->length);
        fetch_wake(f);
    } else if (f) {
        f->fetch.object->opened &= e->code != -ENOKEY;   /* an epoch was given up: anew, with another one */
        inflow_end(t, e);
    }
    if (t->file)
        object_go_on(t);
    inflow_leave(t);
    if (f)
        cache_release(f);
}

/* The chunk in which the file was cut has more bytes in the object than are wanted. */
static void cut_opened(const struct error *e, const uint8_t *plain, size_t length, void *arg)
{
    struct fetch_transfer *t = arg;
    struct content_form form = { .form = CRYPT_PLAIN };
    struct error refused = { .code = -EBADE };

    if (e->code || length < t->in->length || !t->file)
        wrote(e->code == -EBADMSG ? &refused : e, t);
    else
        content_in(t->file, t->from, t->in->length, &form, plain, t->in->length, admit, wrote, t);
}

/* Bytes of the object that a chunk takes, and bytes of the file in all. */
static size_t unit(const struct fetch_transfer *t)
{
    return t->in->plain ? CHUNK_SIZE : CRYPT_OBJECT_CHUNK;
}

static uint64_t plain_size(const struct fetch_transfer *t)
{
    return t->in->plain ? t->object_size : t->file->fetch.object->key.plain;
}

static void write_chunks(struct fetch_transfer *t, size_t n)
{
    struct fetch_inflow *in = t->in;
    const struct object_key *key = &t->file->fetch.object->key;
    struct content_form form = { .form = in->plain ? CRYPT_PLAIN : CRYPT_OBJECT };
    uint64_t here = least((uint64_t)n * CHUNK_SIZE, plain_size(t) - t->from);

    in->length = least(here, t->to - t->from);
    in->taken = in->plain ? in->length : least((uint64_t)n * CRYPT_OBJECT_CHUNK, in->n);
    in->writing = true;
    if (!in->plain) {
        memcpy(form.key, key->key, CRYPT_KEY);
        form.last = object_last_chunk(key->plain);
    }
    if (in->length < here && !in->plain)
        object_unseal(t->file->volume, key, t->from >> CHUNK_SHIFT, in->bytes + in->skip, in->taken, cut_opened, t);
    else
        content_in(t->file, t->from, in->length, &form, in->bytes + in->skip, in->taken, admit, wrote, t);
}

/* Whole chunks of what is here, as many as are taken at once. The object's last one is whole when it is all here; one
 * in which the file was cut goes alone. */
static size_t chunks_ready(const struct fetch_transfer *t)
{
    const struct fetch_inflow *in = t->in;
    uint64_t left = t->to - t->from, wanted = (left + CHUNK_SIZE - 1) >> CHUNK_SHIFT, n = in->n / unit(t);

    if (in->at + in->n == t->object_size && in->n % unit(t))
        n++;
    if (in->plain && in->n >= left)
        n = wanted;
    if (!in->plain && n >= wanted && t->to < plain_size(t) && left % CHUNK_SIZE && wanted > 1)
        n = wanted - 1;
    return least(least(n, wanted), in->single ? 1 : BATCH);
}

void inflow_write(struct fetch_transfer *t)
{
    static const struct error none;
    struct fetch_inflow *in = t->in;
    size_t n = t->from < t->to ? chunks_ready(t) : 0;

    if (n) {
        write_chunks(t, n);
    } else if (in->over || t->from >= t->to) {
        inflow_end(t, in->over ? &in->error : &none);
        return;
    }
    if (in->paused && in->n < FETCH_WAITING_MOST && t->request) {
        in->paused = false;
        cloud_continue(t->cloud, t->request);
    }
}

