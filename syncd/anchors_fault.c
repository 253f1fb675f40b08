/* Owns what is wrong with segments: found in what is listed, kept in the index, said once, and shown as the drive's
 * trouble for as long as it lasts.
 *
 * Must not know how they are listed and read (anchors.c, anchors_read.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/anchors_internal.h"

/* --- faults ----------------------------------------------------------------------------------------------- */

/* What the log calls them, what it advises, and what a person is shown of the object that is named. */
static const struct fault {
    int fault;
    const char *event, *advice, *trouble;
} FAULTS[] = {
    { -ENOENT, "anchors_missing", "Somebody removed it in the cloud. Objects that were played back may be taken for "
      "the newest ones.", "was removed in the cloud. In it one machine of this drive tells the others which versions "
      "of objects are the newest: until it does so anew, by itself once Landfall runs there, an older version that "
      "somebody puts back may be taken for the newest one. Look who else can write to the bucket." },
    { -EREMCHG, "anchors_rolled_back", "Somebody put an older version of it in the cloud.", "was replaced in the cloud "
      "by an older version of itself. In it one machine of this drive tells the others which versions of objects are "
      "the newest; what was read of it before still holds. That machine mends it by itself once Landfall runs there. "
      "Look who else can write to the bucket." },
    { 0, "anchors_unreadable", "It was changed in the cloud, or encrypted for keys that this drive does not have.",
      "cannot be read: it was changed in the cloud, or encrypted for keys that this drive does not have. If another "
      "machine has other keys of this drive, import them with 'landfall key import'; else look who else can write to "
      "the bucket, and delete the object if no machine of this drive is left that mends it by itself." },
};

static const struct fault *fault_of(int fault)
{
    size_t n = 0;

    while (FAULTS[n].fault && FAULTS[n].fault != fault)
        n++;
    return &FAULTS[n];
}

static void say(const struct anchors *a, const char *key, int fault)
{
    const struct fault *f = fault_of(fault);

    LOG(LOG_ERR, f->event, "drive=%s", a->v->drive->id, "key=%s", key, "error=%s", error_meaning(fault)->text,
        "advice=%s", f->advice);
}

static int put_fault(struct anchors *a, struct index_segment *s, bool *ret_own)
{
    struct index_agent own;
    int r = index_agent_get(a->v->index, &own);

    *ret_own = r == 0 && memcmp(own.id, s->agent, ANCHOR_AGENT) == 0;
    if (r == 0)
        r = index_segment_put(a->v->index, s);
    return r == 0 && *ret_own ? index_anchors_untell(a->v->index, s->number) : r;
}

void anchors_fault(struct anchors *a, const uint8_t agent[ANCHOR_AGENT], uint32_t number, const char *etag, int fault)
{
    CLEANUP(index_segment_done) struct index_segment s = { 0 };
    CLEANUP_FREE char *key = anchors_key(a, agent, number);
    bool own = false, news;
    int r = index_segment_get(a->v->index, agent, number, &s);

    if (r == -ENOENT) {
        memcpy(s.agent, agent, ANCHOR_AGENT);
        s.number = number;
    }
    news = s.fault != fault || strcmp(s.etag ? s.etag : "", etag) != 0;
    if (!news)
        return;
    s.fault = fault;
    xstrset(&s.etag, etag);
    r = index_begin(a->v->index);
    if (r == 0)
        r = index_end(a->v->index, put_fault(a, &s, &own));
    if (r == 0)
        say(a, key, fault);
    if (own)
        anchors_changed(a->v);
}

uint64_t anchors_faulty(const struct volume *v)
{
    return v->anchors ? index_segments_faulty(v->index) : 0;
}

struct worst {
    uint64_t n;
    struct index_segment segment;  /* without its ETag */
};

/* What this agent stepped aside from it tells elsewhere. */
static bool find_worst(const struct index_segment *s, void *arg)
{
    struct worst *worst = arg;
    bool counts = s->fault && s->fault != -ESTALE;

    if (counts && worst->n++ == 0)
        worst->segment = *s;
    return true;
}

bool anchors_trouble(const struct volume *v, struct error *ret)
{
    struct worst worst = { 0 };
    CLEANUP_FREE char *key = NULL;

    if (!v->anchors || index_segments(v->index, NULL, find_worst, &worst) < 0 || worst.n == 0)
        return false;
    key = anchors_key(v->anchors, worst.segment.agent, worst.segment.number);
    error_set(ret, worst.segment.fault, "The object %s%.100s %s", strlen(key) > 100 ? "..." : "",
              key + excess(strlen(key), 100), fault_of(worst.segment.fault)->trouble);
    return true;
}

/* --- what is missing -------------------------------------------------------------------------------------- */

struct rows {
    struct index_segment *v;       /* without ETags */
    size_t n;
};

static bool collect(const struct index_segment *s, void *arg)
{
    struct rows *rows = arg;
    struct index_segment *copy = xadd(rows->v, rows->n);

    *copy = *s;
    copy->etag = NULL;
    return true;
}

int anchors_compare(const void *left, const void *right)
{
    const struct listed_segment *a = left, *b = right;
    int order = memcmp(a->agent, b->agent, ANCHOR_AGENT);

    return order ? order : (a->number > b->number) - (a->number < b->number);
}

static bool is_listed(const struct anchors *a, const uint8_t agent[ANCHOR_AGENT], uint32_t number)
{
    struct listed_segment wanted = { .number = number };

    memcpy(wanted.agent, agent, ANCHOR_AGENT);
    return a->n_listed && bsearch(&wanted, a->listed, a->n_listed, sizeof(wanted), anchors_compare);
}

static bool has_row(const struct rows *rows, const struct index_segment *of, uint32_t number)
{
    for (size_t n = 0; n < rows->n; n++)
        if (rows->v[n].number == number && memcmp(rows->v[n].agent, of->agent, ANCHOR_AGENT) == 0)
            return true;
    return false;
}

/* Something that was no segment, as far as this machine has ever seen. */
static bool never_was(const struct index_segment *s)
{
    return s->fault && s->fault != -ENOENT && s->version == 0;
}

static void drop(struct anchors *a, const struct index_segment *s)
{
    if (index_begin(a->v->index) == 0)
        (void)index_end(a->v->index, index_segment_remove(a->v->index, s->agent, s->number));
}

/* Those of one agent: rows [from, to). */
static void check_agent(struct anchors *a, const struct rows *rows, size_t from, size_t to)
{
    uint32_t first = 1;

    for (size_t n = from; n < to; n++)
        first = (uint32_t)most(first, rows->v[n].first);
    for (size_t n = from; n < to; n++) {
        const struct index_segment *s = &rows->v[n];
        bool listed = is_listed(a, s->agent, s->number);

        if (!listed && (s->number < first || never_was(s)))
            drop(a, s);
        else if (!listed)
            anchors_fault(a, s->agent, s->number, "", -ENOENT);
        if (s->previous >= first && !has_row(rows, s, s->previous))
            anchors_fault(a, s->agent, s->previous, "", -ENOENT);
    }
}

/* What this agent is writing or removing itself is looked at the next time. */
void anchors_look_for_missing(struct anchors *a)
{
    struct rows rows = { 0 };
    struct index_agent own;
    size_t from = 0;

    if (index_segments(a->v->index, NULL, collect, &rows) < 0 || index_begin(a->v->index) < 0 ||
        index_end(a->v->index, index_agent_get(a->v->index, &own)) < 0)
        rows.n = 0;
    for (size_t to = 1; to <= rows.n; to++) {
        bool is_own = rows.n && memcmp(rows.v[from].agent, own.id, ANCHOR_AGENT) == 0;

        if (to < rows.n && memcmp(rows.v[to].agent, rows.v[from].agent, ANCHOR_AGENT) == 0)
            continue;
        if (!is_own || !(a->wrote || a->writing || a->sweeping))
            check_agent(a, &rows, from, to);
        from = to;
    }
    free(rows.v);
}
