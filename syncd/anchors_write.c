/* Owns the segment that this agent writes: which entries it gets, its way into the cloud, and the end of segments that
 * nothing is in any more that is not told elsewhere.
 *
 * The last one is written anew until it is full; then the next one begins. What a segment has is told in the index only
 * once it is in the cloud, so whatever ends in between is written once more. A number that may have been begun is not
 * begun again. When half of what many segments have room for is superseded, all that is not is written anew into the
 * next ones, and the others hear with them that those before are not needed; only then they go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/anchors_internal.h"

enum { US_NS = 1000, RETRY_MS = 10000, CHUNKS_MOST = ANCHOR_SEGMENT_MOST / CRYPT_CHUNK + 1 };

struct segment_writing {
    struct anchors *owner;         /* NULL: nobody waits for it any more */
    struct volume *volume;         /* there for as long as the owner is */
    struct crypt *crypt;
    bool placing;                  /* it waits for its place */
    size_t n_new;                  /* entries that are told with it for the first time */
    struct index_agent agent;
    struct anchor_segment segment;
    struct anchor *entries;
    char *etag;                    /* of what it replaces; NULL: it is new */
    uint64_t version;
    uint8_t key[CRYPT_KEY];
    uint8_t *head;
    size_t head_size, size;        /* bytes of the head and of the plaintext */
    struct crypt_place place;
    struct crypt_chunk chunks[CHUNKS_MOST];
    int fd;                        /* the object */
    struct cloud_request *request;
};

static void free_writing(struct segment_writing *w)
{
    if (w->fd >= 0)
        (void)close(w->fd);
    free(w->entries);
    free(w->etag);
    free(w->head);
    free(w);
}

static bool is_wanted(struct segment_writing *w)
{
    bool wanted = w->owner;

    if (!wanted)
        free_writing(w);
    return wanted;
}

void segments_write_now(void *anchors)
{
    struct anchors *a = anchors;

    loop_timer_free(take_ptr(a->timer));
    segments_write(a);
}

void segments_write_in(struct anchors *a, uint64_t ms)
{
    loop_timer_free(a->timer);
    a->timer = loop_timer(a->v->loop, ms, segments_write_now, a);
}

static void fail(struct segment_writing *w, const struct error *e)
{
    struct anchors *a = w->owner;

    LOG(LOG_WARNING, "anchors_not_written", "drive=%s", a->v->drive->id, "error=%s", error_text(e));
    a->writing = NULL;
    free_writing(w);
    segments_write_in(a, RETRY_MS);
    anchors_let_go(a);
}

static void fail_code(struct segment_writing *w, int code)
{
    struct error e = { 0 };

    error_set(&e, code, "%s", error_meaning(code)->text);
    fail(w, &e);
}

/* --- what is superseded ----------------------------------------------------------------------------------- */

struct own_rows {
    uint32_t lowest, last;         /* with an object, but for faults; 0: none */
    size_t n;
    char *etag;                    /* of `last`, owned */
    uint64_t version;
    int fault;
};

static bool count_row(const struct index_segment *s, void *arg)
{
    struct own_rows *rows = arg;

    rows->n++;
    if (!rows->lowest)
        rows->lowest = s->number;
    if (s->fault != -ENOENT)
        rows->last = s->number;
    rows->fault = s->fault;
    rows->version = s->version;
    xstrset(&rows->etag, s->etag);
    return true;
}

struct needed {
    uint32_t lowest;
    size_t n;
};

static bool count_needed(const struct index_segment *s, void *arg)
{
    struct needed *needed = arg;

    needed->n += s->number >= needed->lowest;
    return true;
}

/* Many segments, and half of them superseded: all of it is written anew, in order. */
static int compact(struct anchors *a, const struct index_agent *agent, const struct own_rows *rows)
{
    struct index_told told;
    struct needed needed = { 0 };
    int r;

    if (rows->n <= a->segments_most)
        return 0;
    r = index_anchors_count(a->v->index, agent->last, &told);
    needed.lowest = told.lowest;
    if (r == 0)
        r = index_segments(a->v->index, agent->id, count_needed, &needed);
    if (r < 0 || needed.n <= a->segments_most || told.live * 2 > needed.n * (uint64_t)a->entries_most)
        return r;
    return index_anchors_untell_below(a->v->index, agent->last);
}

static void swept(struct cloud_request *r, void *owner, size_t number);

/* The agent's own segments below `first`, one at a time. */
static void sweep(struct anchors *a)
{
    struct own_rows rows = { 0 };
    struct index_agent agent = { 0 };
    CLEANUP_FREE char *key = NULL;
    struct cloud_request *r;

    if (a->sweeping || a->v->paused || index_begin(a->v->index) < 0 ||
        index_end(a->v->index, index_agent_get(a->v->index, &agent)) < 0)
        return;
    (void)index_segments(a->v->index, agent.id, count_row, &rows);
    free(rows.etag);
    if (!rows.lowest || rows.lowest >= agent.first)
        return;
    key = anchors_key(a, agent.id, rows.lowest);
    r = cloud_request_new(CLOUD_DELETE, NULL, NULL);
    cloud_request_set(&r->bucket, a->v->bucket);
    cloud_request_set(&r->key, key);
    r->yields = true;
    a->sweeping = errand_submit(a->v, r, swept, a, rows.lowest);
}

static void swept(struct cloud_request *r, void *owner, size_t number)
{
    struct anchors *a = owner;
    int code = r->error.code;
    struct index_agent agent;

    a->sweeping = NULL;
    a->wrote = true;
    cloud_request_free(r);
    if ((code && code != -ENOENT) || index_begin(a->v->index) < 0)
        return;
    code = index_agent_get(a->v->index, &agent);
    if (code == 0)
        code = index_segment_remove(a->v->index, agent.id, (uint32_t)number);
    if (index_end(a->v->index, code) == 0)
        sweep(a);
}

/* --- afterwards -------------------------------------------------------------------------------------------- */

static int keep(struct segment_writing *w, const char *etag)
{
    struct index *x = w->volume->index;
    struct index_segment s = {
        .number = w->segment.number, .first = w->segment.first, .previous = w->segment.previous, .version = w->version,
        .etag = (char *)(uintptr_t)etag,
    };
    int r;

    memcpy(s.agent, w->agent.id, ANCHOR_AGENT);
    w->agent.first = w->segment.first;
    r = index_segment_put(x, &s);
    if (r == 0)
        r = index_agent_put(x, &w->agent);
    return r == 0 ? index_anchors_told(x, s.number, w->entries, w->segment.n) : r;
}

/* Something else lies there than what was written last: another number is taken, so nothing of it is lost. What was
 * never begun before, and is there, somebody else has written as this agent: there is a copy of this index. */
static int step_aside(struct segment_writing *w, bool unsure)
{
    struct index *x = w->volume->index;
    struct index_segment s = { .number = w->segment.number, .fault = -ESTALE, .version = w->version };
    int r;

    if (!w->etag && !unsure)
        return index_agent_renew(x);
    memcpy(s.agent, w->agent.id, ANCHOR_AGENT);
    s.first = w->agent.first;
    r = index_segment_put(x, &s);
    return r == 0 ? index_anchors_untell(x, s.number) : r;
}

static bool is_taken(int code)
{
    return code == -ESTALE || code == -ENOENT || code == -EEXIST;
}

static void put_done(struct cloud_request *r, void *arg)
{
    struct segment_writing *w = arg;
    struct anchors *a = w->owner;
    struct index *x = a ? w->volume->index : NULL;
    int code = r->error.code;
    bool full;

    w->request = NULL;
    if (!is_wanted(w)) {
        cloud_request_free(r);
        return;
    }
    if (code && !is_taken(code)) {
        fail(w, &r->error);
        cloud_request_free(r);
        return;
    }
    a->wrote = true;
    code = index_begin(x);
    if (code == 0)
        code = index_end(x, r->error.code ? step_aside(w, r->unsure) : keep(w, r->object.etag ? r->object.etag : ""));
    cloud_request_free(r);
    if (code < 0) {
        fail_code(w, code);
        return;
    }
    full = w->segment.n == a->entries_most;
    a->writing = NULL;
    free_writing(w);
    if (index_anchors_untold(x))
        segments_write_in(a, full || a->leaving ? 0 : (uint64_t)a->v->config->anchor_seconds * 1000);
    else
        anchors_let_go(a);
    sweep(a);
}

/* --- on its way ---------------------------------------------------------------------------------------------- */

static void put(struct segment_writing *w)
{
    struct volume *v = w->volume;
    struct cloud_request *r = cloud_request_new(CLOUD_PUT, put_done, w);
    CLEANUP_FREE char *key = anchors_key(w->owner, w->agent.id, w->segment.number);
    unsigned can = cloud_capabilities(v->cloud);

    cloud_request_set(&r->bucket, v->bucket);
    cloud_request_set(&r->key, key);
    if (w->etag && *w->etag && can & CLOUD_CAN_IF_MATCH)
        cloud_request_set(&r->if_match, w->etag);
    r->if_none_match = !w->etag && can & CLOUD_CAN_IF_NONE_MATCH;
    r->body = (struct cloud_extent){ .fd = w->fd, .length = (uint64_t)lseek(w->fd, 0, SEEK_CUR) };
    r->yields = true;
    w->request = r;
    volume_submit(v, r);
}

static int write_all(int fd, const uint8_t *bytes, size_t n)
{
    ssize_t wrote = write(fd, bytes, n);

    return wrote < 0 ? -errno : (size_t)wrote == n ? 0 : -EIO;   /* of a memfd it is all, or there is no memory */
}

static size_t chunks_of(const struct segment_writing *w)
{
    return object_last_chunk(w->size) + 1;
}

static void sealed(const struct error *e, void *arg)
{
    struct segment_writing *w = arg;
    int code = e->code;

    for (size_t n = 0; n < chunks_of(w) && code == 0; n++)
        code = w->chunks[n].code;
    if (w->owner && code == 0) {
        w->fd = memfd_create("landfall-segment", MFD_CLOEXEC);
        code = w->fd < 0 ? -errno : write_all(w->fd, w->head, w->head_size);
    }
    if (w->owner && code == 0)
        code = write_all(w->fd, w->place.bytes, object_sealed_size(0, w->size));
    crypt_place_end(w->crypt, &w->place);
    if (!is_wanted(w))
        return;
    if (code)
        fail_code(w, code);
    else
        put(w);
}

static void seal(void *arg)
{
    struct segment_writing *w = arg;
    size_t n = chunks_of(w);
    uint8_t *plain = w->place.bytes + n * CRYPT_OBJECT_CHUNK;
    struct crypt_call call = {
        .asker = keys_asker(w->volume->keys), .from = CRYPT_PLAIN, .to = CRYPT_OBJECT, .to_key = w->key,
        .chunks = w->chunks, .n = n,
    };

    w->placing = false;
    anchor_segment_write(&w->segment, w->entries, plain);
    for (size_t i = 0; i < n; i++)
        w->chunks[i] = (struct crypt_chunk){
            .number = i, .length = (uint32_t)least(w->size - i * CRYPT_CHUNK, CRYPT_CHUNK), .last = i + 1 == n,
            .in_at = w->place.at + n * CRYPT_OBJECT_CHUNK + i * CRYPT_CHUNK,
            .out_at = w->place.at + i * CRYPT_OBJECT_CHUNK,
        };
    crypt_run(&call, sealed, w);
}

static void made(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct segment_writing *w = arg;
    const Lf__ObjectMade *m = reply ? reply->object_made : NULL;

    (void)fds;
    if (!is_wanted(w))
        return;
    if (!m || m->key.len != sizeof(w->key) || m->head.len == 0) {
        fail(w, m ? &(struct error){ .code = -EPROTO } : e);
        return;
    }
    memcpy(w->key, m->key.data, sizeof(w->key));
    w->head_size = m->head.len;
    w->head = xcalloc(1, m->head.len);
    memcpy(w->head, m->head.data, m->head.len);
    w->placing = true;
    crypt_place(w->crypt, chunks_of(w) * (CRYPT_OBJECT_CHUNK + CRYPT_CHUNK), &w->place, seal, w);
}

static void make(struct segment_writing *w)
{
    Lf__ObjectMake msg = LF__OBJECT_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_MAKE, object_make, &msg);
    CLEANUP_FREE char *key = anchors_key(w->owner, w->agent.id, w->segment.number);

    msg.name = (ProtobufCBinaryData){ strlen(key), (uint8_t *)key };
    msg.version = w->version;
    keys_ask(w->volume->keys, &env, made, w);
}

/* --- what goes into it --------------------------------------------------------------------------------------- */

/* Those of the last segment, if there is room in it for one more; then as many of the others as there is room for. */
static int gather(struct segment_writing *w, const struct own_rows *rows)
{
    struct index *x = w->volume->index;
    size_t most_entries = w->owner->entries_most;
    bool on = rows->last && rows->last == w->agent.last && !rows->fault;
    int old = on ? index_anchors_in(x, w->agent.last, w->entries, most_entries) : 0, new;

    if (old < 0)
        return old;
    if ((size_t)old == most_entries) {
        on = false;
        old = 0;
    }
    w->segment.number = on ? w->agent.last : w->agent.last + 1;
    if (on)
        w->etag = xstrdup(rows->etag);
    new = index_anchors_in(x, 0, w->entries + old, most_entries - (size_t)old);
    if (new <= 0)
        return new < 0 ? new : -ENODATA;
    w->n_new = (size_t)new;
    w->segment.n = (size_t)(old + new);
    return 0;
}

struct search {
    uint32_t below, found;
};

static bool find_previous(const struct index_segment *s, void *arg)
{
    struct search *search = arg;

    if (s->number < search->below && s->fault != -ENOENT && s->fault != -ESTALE)
        search->found = s->number;
    return true;
}

/* What is not told yet, and was told before, is still needed where that was. */
static int link_up(struct segment_writing *w)
{
    struct search search = { .below = w->segment.number };
    struct index_told told;
    int r = index_anchors_count(w->volume->index, w->segment.number, &told);

    if (r == 0)
        r = index_segments(w->volume->index, w->agent.id, find_previous, &search);
    w->segment.previous = search.found;
    w->segment.first = w->agent.first;
    if (told.untold <= w->n_new)
        w->segment.first = (uint32_t)most(told.lowest, w->agent.first);
    return r;
}

static int prepare(struct segment_writing *w)
{
    struct index *x = w->volume->index;
    struct own_rows rows = { 0 };
    int r = index_agent_get(x, &w->agent);

    if (r == 0 && w->agent.last >= ANCHOR_NUMBER_MOST) {
        r = index_agent_renew(x);
        r = r < 0 ? r : index_agent_get(x, &w->agent);
    }
    if (r == 0)
        r = index_segments(x, w->agent.id, count_row, &rows);
    if (r == 0)
        r = compact(w->owner, &w->agent, &rows);
    if (r == 0)
        r = gather(w, &rows);
    if (r == 0)
        r = link_up(w);
    w->agent.last = w->segment.number;
    memcpy(w->segment.agent, w->agent.id, ANCHOR_AGENT);
    w->version = most((uint64_t)loop_wall_ns() / US_NS, w->etag ? rows.version + 1 : 0);
    w->size = ANCHOR_HEAD + w->segment.n * ANCHOR_ENTRY;
    free(rows.etag);
    return r == 0 ? index_agent_put(x, &w->agent) : r;
}

void segments_write(struct anchors *a)
{
    struct segment_writing *w;
    int r;

    if (a->writing || a->closing || !object_seals(a->v) || a->v->read_only)
        return;
    if (a->v->paused && !a->leaving) {
        if (index_anchors_untold(a->v->index))
            segments_write_in(a, RETRY_MS);
        return;
    }
    if (!index_anchors_untold(a->v->index)) {
        sweep(a);
        return;
    }
    w = a->writing = xcalloc(1, sizeof(*w));
    *w = (struct segment_writing){ .owner = a, .volume = a->v, .crypt = keys_crypt(a->v->keys), .fd = -1 };
    w->entries = xcalloc(a->entries_most, sizeof(*w->entries));
    r = index_begin(a->v->index);
    if (r == 0)
        r = index_end(a->v->index, prepare(w));
    if (r < 0)
        fail_code(w, r);
    else
        make(w);
}

void segments_write_end(struct anchors *a)
{
    struct segment_writing *w = take_ptr(a->writing);

    errand_abandon(a->v, take_ptr(a->sweeping));
    if (!w)
        return;
    w->owner = NULL;
    if (w->request)
        cloud_cancel(a->v->cloud, w->request);
    if (!w->placing)
        return;
    crypt_place_cancel(w->crypt, &w->place);
    free_writing(w);
}
