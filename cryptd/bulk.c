/* Owns jobs of bulk work: their checks, their slices, their turns. Must not know messages. */
#include "cryptd/bulk.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "cryptd/age_stream.h"

/* What a thread works in. Locked. */
struct place {
    uint8_t plain[BULK_CHUNK];
};

/* Keys of a job. Locked. */
struct job_keys {
    struct {
        struct cache_keys cache;
        uint8_t payload[KEY_SIZE];
    } from, to;
};

struct job {
    STAILQ_ENTRY(job) next;
    struct bulk *bulk;
    struct open_keys *keys;
    struct region *region;
    struct job_keys *secret;
    enum form from, to;
    size_t n, begun, finished;
    bulk_done_fn *done;
    void *arg;
    struct bulk_chunk chunks[];
};

struct slice {
    struct job *job;
    size_t first, n;
    struct place *place;
};

struct bulk {
    struct loop *loop;
    unsigned threads;
    struct secret_pool *places, *secrets;
    STAILQ_HEAD(, job) waiting;      /* have chunks that nobody has begun */
    size_t n_running;
};

/* --- one chunk, in a thread --------------------------------------------------------------------- */

static int open_plain(const struct job *j, const struct bulk_chunk *c, const uint8_t *in, uint8_t *plain)
{
    (void)j;
    memcpy(plain, in, c->length);
    return 0;
}

/* Bytes that were sealed, as the record says, which nobody vouches for yet. */
static uint32_t sealed_length(const struct bulk_chunk *c)
{
    return c->zeros ? 0 : (uint32_t)least(le32toh(c->record.length), BULK_CHUNK);
}

static int open_cache(const struct job *j, const struct bulk_chunk *c, const uint8_t *in, uint8_t *plain)
{
    uint32_t n = sealed_length(c);
    int r = c->zeros ? 0 : cache_chunk_open(&j->secret->from.cache, c->number, &c->record, in, n, plain);

    if (r == 0 && n < c->length)
        memset(plain + n, 0, c->length - n);
    /* only what the tag vouches for says how old it is */
    return r == 0 && !c->zeros && c->has_expected && le64toh(c->record.generation) != c->expected ? -ESTALE : r;
}

static int open_object(const struct job *j, const struct bulk_chunk *c, const uint8_t *in, uint8_t *plain)
{
    int r = age_open_chunk(j->secret->from.payload, c->number, c->last, in, c->length, plain);

    return r == -EBADMSG ? -EBADE : r;
}

static int seal_plain(const struct job *j, struct bulk_chunk *c, const uint8_t *plain, uint8_t *out)
{
    (void)j;
    memcpy(out, plain, c->length);
    return 0;
}

static int seal_cache(const struct job *j, struct bulk_chunk *c, const uint8_t *plain, uint8_t *out)
{
    return cache_chunk_seal(&j->secret->to.cache, c->number, c->generation, plain, c->length, out, &c->record);
}

static int seal_object(const struct job *j, struct bulk_chunk *c, const uint8_t *plain, uint8_t *out)
{
    return age_seal_chunk(j->secret->to.payload, c->number, c->last, plain, c->length, out);
}

static const struct {
    enum wrapped_kind kind;          /* 0: needs no key */
    uint32_t overhead;               /* bytes that a chunk has beyond its plaintext */
    int (*open)(const struct job *j, const struct bulk_chunk *c, const uint8_t *in, uint8_t *plain);
    int (*seal)(const struct job *j, struct bulk_chunk *c, const uint8_t *plain, uint8_t *out);
} forms[FORMS] = {
    [FORM_PLAIN] = { .open = open_plain, .seal = seal_plain },
    [FORM_CACHE] = { WRAPPED_CACHE, 0, open_cache, seal_cache },
    [FORM_OBJECT] = { WRAPPED_OBJECT, AEAD_TAG_SIZE, open_object, seal_object },
};

static void work(void *arg)
{
    struct slice *s = arg;
    struct job *j = s->job;

    for (size_t i = s->first; i < s->first + s->n; i++) {
        struct bulk_chunk *c = &j->chunks[i];

        c->code = forms[j->from].open(j, c, j->region->base + c->in_at, s->place->plain);
        if (c->code == 0)
            c->code = forms[j->to].seal(j, c, s->place->plain, j->region->base + c->out_at);
    }
}

/* --- turns -------------------------------------------------------------------------------------- */

static void job_finish(struct job *j)
{
    j->done(j->chunks, j->n, j->arg);
    secret_pool_give(j->bulk->secrets, j->secret);
    keyring_unref(j->keys);
    region_unref(j->region);
    free(j);
}

static void work_done(void *arg);

/* So many that all threads have work, and not so few that handing it over takes longer than doing it. */
static size_t slice_size(const struct job *j)
{
    size_t share = (j->n + j->bulk->threads - 1) / j->bulk->threads;

    return least(most(least(share, BULK_SLICE), BULK_SLICE_MIN), j->n - j->begun);
}

/* Alone and small: two threads that wake each other take longer than it does. Not for two of them at a time. */
static bool is_done_here(const struct bulk *b, const struct job *j)
{
    return b->n_running == 0 && j->begun == 0 && j->n <= BULK_SLICE_MIN;
}

static void begin_slice(struct bulk *b, struct slice *s, bool here)
{
    b->n_running++;
    if (here) {
        work(s);
        loop_defer(b->loop, work_done, s);
    } else {
        loop_work(b->loop, work, work_done, s);
    }
}

/* Gives free threads the next slice of the jobs that wait, one after the other. */
static void begin_slices(struct bulk *b)
{
    struct place *place;
    struct job *j;

    while ((j = STAILQ_FIRST(&b->waiting)) && (place = secret_pool_take(b->places))) {
        struct slice *s = xcalloc(1, sizeof(*s));
        bool here = is_done_here(b, j);

        *s = (struct slice){ .job = j, .first = j->begun, .place = place };
        s->n = slice_size(j);
        j->begun += s->n;
        STAILQ_REMOVE_HEAD(&b->waiting, next);
        if (j->begun < j->n)
            STAILQ_INSERT_TAIL(&b->waiting, j, next);
        begin_slice(b, s, here);
    }
}

static void work_done(void *arg)
{
    struct slice *s = arg;
    struct job *j = s->job;
    struct bulk *b = j->bulk;

    j->finished += s->n;
    secret_pool_give(b->places, s->place);
    free(s);
    b->n_running--;
    begin_slices(b);
    if (j->finished == j->n)
        job_finish(j);
}

/* --- checks ------------------------------------------------------------------------------------- */

static int check_forms(const struct bulk_spec *s, struct error *e)
{
    if (s->from.form >= FORMS || s->to.form >= FORMS || (s->from.form == FORM_PLAIN && s->to.form == FORM_PLAIN))
        return error_set(e, -EINVAL, "There is no such work: from form %u to form %u.", s->from.form, s->to.form);
    if (!s->region)
        return error_set(e, -EINVAL, "There is no memory for bulk work on this connection yet.");
    if (s->n < 1 || s->n > BULK_CHUNKS_MAX)
        return error_set(e, -EINVAL, "A call carries 1 to %d chunks.", BULK_CHUNKS_MAX);
    return 0;
}

/* Only the end of an object is short; the only empty chunk is that of an empty object. */
static int check_length(const struct bulk_spec *s, size_t i, struct error *e)
{
    const struct bulk_chunk *c = &s->chunks[i];
    bool object = s->from.form == FORM_OBJECT || s->to.form == FORM_OBJECT;
    bool cache = s->from.form == FORM_CACHE || s->to.form == FORM_CACHE;
    bool may_be_empty = object && !cache && c->number == 0 && c->last;

    if (c->length > BULK_CHUNK || (c->length == 0 && !may_be_empty))
        return error_set(e, -EINVAL, "A chunk of %u bytes: it has 1 to %d.", c->length, BULK_CHUNK);
    if (object && c->length < BULK_CHUNK && !c->last)
        return error_set(e, -EINVAL, "A chunk of %u bytes of an object is not its last one.", c->length);
    return 0;
}

struct span {
    uint64_t at, n;
};

static struct span span_in(const struct bulk_spec *s, size_t i)
{
    const struct bulk_chunk *c = &s->chunks[i];
    uint32_t n = s->from.form == FORM_CACHE ? sealed_length(c) : c->length + forms[s->from.form].overhead;

    return (struct span){ c->in_at, n };
}

static struct span span_out(const struct bulk_spec *s, size_t i)
{
    return (struct span){ s->chunks[i].out_at, s->chunks[i].length + forms[s->to.form].overhead };
}

static bool overlap(struct span a, struct span b)
{
    return a.at < b.at + b.n && b.at < a.at + a.n;
}

/* Two threads must not write, or read and write, the same bytes. Within one chunk it is fine. */
static int check_spans(const struct bulk_spec *s, struct error *e)
{
    for (size_t i = 0; i < s->n; i++) {
        struct span in = span_in(s, i), out = span_out(s, i);

        if (!region_at(s->region, in.at, in.n) || !region_at(s->region, out.at, out.n))
            return error_set(e, -ERANGE, "Chunk %zu of the call does not lie within the shared memory of %zu bytes.", i,
                             s->region->size);
    }
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->n; k++)
            if (i != k && (overlap(span_out(s, i), span_in(s, k)) || overlap(span_out(s, i), span_out(s, k))))
                return error_set(e, -EINVAL, "Chunks %zu and %zu of the call overlap in the shared memory.", i, k);
    return 0;
}

static int check(const struct bulk_spec *s, struct error *e)
{
    int r = check_forms(s, e);

    for (size_t i = 0; r == 0 && i < s->n; i++)
        r = check_length(s, i, e);
    return r == 0 ? check_spans(s, e) : r;
}

/* --- starting ----------------------------------------------------------------------------------- */

static int read_key(const struct open_keys *keys, const struct bulk_form *f, struct cache_keys *cache, uint8_t *payload,
                    struct error *e)
{
    struct wrapped_key key;
    int r;

    if (forms[f->form].kind == 0)
        return 0;
    r = wrapped_key_open(keys->keys, forms[f->form].kind, f->key, f->n, &key, e);
    if (r == 0 && f->form == FORM_CACHE && cache_keys_derive(&key, cache) < 0)
        r = error_set(e, -EIO, "The key of a file could not be made ready: libcrypto failed.");
    if (r == 0 && f->form == FORM_OBJECT)
        memcpy(payload, key.key, KEY_SIZE);
    secret_wipe(&key, sizeof(key));
    return r;
}

static int read_keys(const struct bulk_spec *s, struct job_keys *k, struct error *e)
{
    int r = read_key(s->keys, &s->from, &k->from.cache, k->from.payload, e);

    return r == 0 ? read_key(s->keys, &s->to, &k->to.cache, k->to.payload, e) : r;
}

/* To hand so little to a thread, and to hear of its end, takes longer than to do it. Where all threads have work it
 * waits like any other. */
static bool do_at_once(struct job *j)
{
    struct slice s = { .job = j, .n = j->n };

    if (j->n > BULK_SLICE_MIN || !(s.place = secret_pool_take(j->bulk->places)))
        return false;
    work(&s);
    secret_pool_give(j->bulk->places, s.place);
    job_finish(j);
    return true;
}

int bulk_start(struct bulk *b, const struct bulk_spec *spec, bulk_done_fn *done, void *arg, struct error *e)
{
    struct job_keys *secret;
    struct job *j;
    int r = check(spec, e);

    if (r < 0)
        return r;
    secret = secret_pool_take(b->secrets);
    if (!secret)
        return error_set(e, -EAGAIN, "%d calls wait for cryptd already; try again.", BULK_JOBS_MAX);
    r = read_keys(spec, secret, e);
    if (r < 0) {
        secret_pool_give(b->secrets, secret);
        return r;
    }
    j = xcalloc(1, sizeof(*j) + spec->n * sizeof(j->chunks[0]));
    *j = (struct job){
        .bulk = b, .keys = keyring_ref(spec->keys), .region = region_ref(spec->region), .secret = secret,
        .from = spec->from.form, .to = spec->to.form, .n = spec->n, .done = done, .arg = arg,
    };
    memcpy(j->chunks, spec->chunks, spec->n * sizeof(j->chunks[0]));
    if (do_at_once(j))
        return 0;
    STAILQ_INSERT_TAIL(&b->waiting, j, next);
    begin_slices(b);
    return 0;
}

/* --- life --------------------------------------------------------------------------------------- */

int bulk_new(struct loop *l, unsigned threads, struct bulk **ret, struct error *e)
{
    struct bulk *b = xcalloc(1, sizeof(*b));
    int r;

    b->loop = l;
    b->threads = threads ? threads : 1;
    STAILQ_INIT(&b->waiting);
    r = secret_pool_new(b->threads, sizeof(struct place), &b->places, e);
    if (r == 0)
        r = secret_pool_new(BULK_JOBS_MAX, sizeof(struct job_keys), &b->secrets, e);
    if (r < 0) {
        bulk_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

static void cancel(struct job *j)
{
    for (size_t i = j->begun; i < j->n; i++)
        j->chunks[i].code = -ECANCELED;
    j->finished += j->n - j->begun;
    j->begun = j->n;
    if (j->finished == j->n)
        job_finish(j);
}

void bulk_free(struct bulk *b)
{
    struct job *j;

    if (!b)
        return;
    while ((j = STAILQ_FIRST(&b->waiting))) {
        STAILQ_REMOVE_HEAD(&b->waiting, next);
        cancel(j);
    }
    while (b->n_running > 0)
        (void)event_base_loop(loop_base(b->loop), EVLOOP_ONCE);
    secret_pool_free(b->places);
    secret_pool_free(b->secrets);
    free(b);
}
