/* What a volume counts, and what stands there at the moment, as samples. */
#include "syncd/anchors.h"
#include "syncd/cache_convert.h"
#include "syncd/cache_space.h"
#include "syncd/tally.h"
#include "syncd/upload.h"

struct open_files {
    uint64_t reading, writing;
};

static struct open_files count_open(const struct cache *c)
{
    struct open_files n = { 0 };
    const struct cache_file *f;

    for (size_t b = 0; b < CACHE_BUCKETS; b++)
        LIST_FOREACH(f, &c->buckets[b], next) {
            if (cache_written_by_anyone(f))
                n.writing++;
            else if (!SLIST_EMPTY(&f->opens))
                n.reading++;
        }
    return n;
}

static void add_cache(const struct cache *c, const char *drive, struct samples *s)
{
    struct open_files open = count_open(c);
    struct convert_left left = convert_left(c);

    SAMPLE(s, METRIC_OPEN_FILES, open.reading, drive, "read");
    SAMPLE(s, METRIC_OPEN_FILES, open.writing, drive, "write");
    SAMPLE(s, METRIC_CACHE_USED, c->space.used, drive);
    SAMPLE(s, METRIC_CACHE_RESERVED, c->space.reserved, drive);
    SAMPLE(s, METRIC_CACHE_LIMIT, c->space.limit, drive);
    if (!left.known)
        return;
    SAMPLE(s, METRIC_CACHE_UNCONVERTED, left.form, drive);
    SAMPLE(s, METRIC_CACHE_OLD_KEYS, left.made, drive);
}

void volume_samples(struct volume *v, struct samples *s)
{
    const char *drive = v->drive->name ? v->drive->name : "";

    tally_samples(v->tally, drive, s);
    add_cache(v->cache, drive, s);
    SAMPLE(s, METRIC_PENDING, index_pending_count(v->index), drive);
    SAMPLE(s, METRIC_DIRTY_BYTES, index_dirty_bytes(v->index), drive);
    if (v->anchors)
        SAMPLE(s, METRIC_ANCHOR_FAULTS, anchors_faulty(v), drive);
    SAMPLE(s, METRIC_UPLOADS_RUNNING, v->uploader->n_running + v->uploader->burying, drive);
}

int volume_meter_fd(const struct volume *v)
{
    return v->tally->meter_fd;
}

void volume_submit(struct volume *v, struct cloud_request *r)
{
    if (!r->tally)
        r->tally = tally_hold(v->tally);
    cloud_submit(v->cloud, r);
}
