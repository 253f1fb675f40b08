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
    struct file_key from, to;
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
    size_t n_running;                /* slices in other threads */
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
    int (*seal)(const struct job *j, struct bulk_chunk *c, const uint8_t *plain, uint8_t *out);   /* NULL: as it is */
} forms[FORMS] = {
    [FORM_PLAIN] = { .open = open_plain },
    [FORM_CACHE] = { WRAPPED_CACHE, 0, open_cache, seal_cache },
    [FORM_OBJECT] = { WRAPPED_OBJECT, AEAD_TAG_SIZE, open_object, seal_object },
};

/* Of a chunk, the bytes that are read and those that are written. */
struct span {
    uint64_t at, n;
};

static struct span span_in(enum form from, const struct bulk_chunk *c)
{
    return (struct span){ c->in_at, from == FORM_CACHE ? sealed_length(c) : c->length + forms[from].overhead };
}

static struct span span_out(enum form to, const struct bulk_chunk *c)
{
    return (struct span){ c->out_at, c->length + forms[to].overhead };
}

static bool overlap(struct span a, struct span b)
{
    return a.at < b.at + b.n && b.at < a.at + a.n;
}

/* What is the caller's to see is opened where it is to be, which saves a copy: at the place of what is sealed, or at
 * one apart from it. */
static bool is_opened_there(const struct job *j, const struct bulk_chunk *c)
{
    struct span in = span_in(j->from, c), out = span_out(j->to, c);

    return j->to == FORM_PLAIN && in.n <= out.n + forms[j->from].overhead && (in.at == out.at || !overlap(in, out));
}

static int open_there(const struct job *j, const struct bulk_chunk *c, const uint8_t *in, uint8_t *out)
{
    int r = forms[j->from].open(j, c, in, out);

    if (r < 0)
        secret_wipe(out, c->length);
    return r;
}

static int turn(const struct job *j, struct bulk_chunk *c, struct place *p)
{
    const uint8_t *in = j->region->base + c->in_at;
    uint8_t *out = j->region->base + c->out_at;
    int r;

    if (is_opened_there(j, c))
        return open_there(j, c, in, out);
    r = forms[j->from].open(j, c, in, p->plain);
    if (r == 0 && forms[j->to].seal)
        return forms[j->to].seal(j, c, p->plain, out);
    if (r == 0)
        memcpy(out, p->plain, c->length);
    return r;
}

static void work(void *arg)
{
    struct slice *s = arg;

    for (size_t i = s->first; i < s->first + s->n; i++)
        s->job->chunks[i].code = turn(s->job, &s->job->chunks[i], s->place);
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

static void begin_slices(struct bulk *b);

static void slice_done(struct slice *s)
{
    struct job *j = s->job;

    j->finished += s->n;
    secret_pool_give(j->bulk->places, s->place);
    if (j->finished == j->n)
        job_finish(j);
}

static void work_done(void *arg)
{
    CLEANUP_FREE struct slice *s = arg;
    struct bulk *b = s->job->bulk;

    b->n_running--;
    slice_done(s);
    begin_slices(b);
}

/* So many that all threads have work, and not so few that handing them over takes longer than working on them. */
static size_t share(const struct job *j)
{
    size_t even = (j->n + j->bulk->threads - 1) / j->bulk->threads;

    return least(most(least(even, BULK_SLICE), BULK_SLICE_MIN), j->n - j->begun);
}

static void take_slice(struct job *j, struct place *place, struct slice *ret)
{
    *ret = (struct slice){ .job = j, .first = j->begun, .n = share(j), .place = place };
    j->begun += ret->n;
}

/* Gives free threads the next slice of the jobs that wait, one after the other. */
static void begin_slices(struct bulk *b)
{
    struct place *place;
    struct job *j;

    while ((j = STAILQ_FIRST(&b->waiting)) && (place = secret_pool_take(b->places))) {
        struct slice *s = xcalloc(1, sizeof(*s));

        take_slice(j, place, s);
        STAILQ_REMOVE_HEAD(&b->waiting, next);
        if (j->begun < j->n)
            STAILQ_INSERT_TAIL(&b->waiting, j, next);
        b->n_running++;
        loop_work(b->loop, work, work_done, s);
    }
}

/* To hand work to a thread, and to hear of its end, takes as long as some chunks do. So what is small is done here, at
 * once; of what is alone and larger the loop's thread has its share. */
static bool is_done_here(const struct bulk *b, const struct job *j)
{
    return j->n <= BULK_SLICE_MIN ||
           (b->n_running == 0 && STAILQ_EMPTY(&b->waiting) && j->n <= (size_t)BULK_SLICE * b->threads);
}

static void begin(struct job *j)
{
    struct bulk *b = j->bulk;
    struct place *place = is_done_here(b, j) ? secret_pool_take(b->places) : NULL;
    struct slice here;

    if (place)
        take_slice(j, place, &here);
    if (j->begun < j->n) {
        STAILQ_INSERT_TAIL(&b->waiting, j, next);
        begin_slices(b);
    }
    if (place) {
        work(&here);
        slice_done(&here);
    }
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

/* Two threads must not write, or read and write, the same bytes. Within one chunk it is fine. */
static bool collide(const struct bulk_spec *s, size_t i, size_t k)
{
    struct span out = span_out(s->to.form, &s->chunks[i]);

    return overlap(out, span_in(s->from.form, &s->chunks[k])) || overlap(out, span_out(s->to.form, &s->chunks[k]));
}

static int check_spans(const struct bulk_spec *s, struct error *e)
{
    for (size_t i = 0; i < s->n; i++) {
        struct span in = span_in(s->from.form, &s->chunks[i]), out = span_out(s->to.form, &s->chunks[i]);

        if (!region_at(s->region, in.at, in.n) || !region_at(s->region, out.at, out.n))
            return error_set(e, -ERANGE, "Chunk %zu of the call does not lie within the shared memory of %zu bytes.", i,
                             s->region->size);
    }
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->n; k++)
            if (i != k && collide(s, i, k))
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

static int read_key(const struct open_keys *keys, const struct bulk_form *f, struct file_key *ret, struct error *e)
{
    if (forms[f->form].kind == 0)
        return 0;
    return file_keys_open(keys->files, keys->keys, forms[f->form].kind, f->key, f->n, ret, e);
}

static int read_keys(const struct bulk_spec *s, struct job_keys *k, struct error *e)
{
    int r = read_key(s->keys, &s->from, &k->from, e);

    return r == 0 ? read_key(s->keys, &s->to, &k->to, e) : r;
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
    begin(j);
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
