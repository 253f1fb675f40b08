/* Everything there is to say about one object: what index, cache and uploader know of it. Changes nothing but what
 * looking at a cache file that nobody uses changes: it is opened. */
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"
#include "syncd/conflict.h"
#include "syncd/fetch.h"
#include "syncd/object.h"
#include "syncd/waits.h"

enum { RANGES_MAX = 256, BITS = 64 };

/* --- what is here ---------------------------------------------------------------------------------------- */

static void add_range(Lf__Explanation *e, uint64_t from, uint64_t to)
{
    Lf__ByteRange *range;

    e->cached_bytes += (int64_t)(to - from);
    if (e->n_cached_ranges == RANGES_MAX) {
        e->has_ranges_cut = e->ranges_cut = true;
        return;
    }
    range = xcalloc(1, sizeof(*range));
    lf__byte_range__init(range);
    range->has_start = range->has_end = true;
    range->start = (int64_t)from;
    range->end = (int64_t)to - 1;
    *xadd(e->cached_ranges, e->n_cached_ranges) = range;
}

/* The first chunk from c on that is (not) present, at most `end`; whole words at once. */
static uint64_t next_chunk(const struct chunk_map *m, uint64_t c, uint64_t end, bool present)
{
    uint64_t skip = present ? 0 : UINT64_MAX;

    while (c < end && chunk_present(m, c) != present)
        c += c % BITS == 0 && atomic_load(&m->bits[c / BITS]) == skip &&
                     (c + BITS) << CHUNK_SHIFT <= atomic_load(&m->fetchable) ? BITS : 1;
    return least(c, end);
}

static void add_ranges(Lf__Explanation *e, const struct cache_file *f)
{
    uint64_t size = cache_file_size(f), end = (size + CHUNK_SIZE - 1) >> CHUNK_SHIFT, c = 0;

    while ((c = next_chunk(f->map, c, end, true)) < end) {
        uint64_t to = next_chunk(f->map, c, end, false);

        add_range(e, c << CHUNK_SHIFT, least(to << CHUNK_SHIFT, size));
        c = to;
    }
}

static void add_fetched(Lf__Explanation *e, const struct cache_file *f)
{
    for (unsigned why = 0; why < FETCH_WHYS; why++) {
        Lf__FetchedBytes *came;

        if (!f->map->came[why])
            continue;
        came = xcalloc(1, sizeof(*came));
        lf__fetched_bytes__init(came);
        came->why = xstrdup(fetch_why_name((enum fetch_why)why));
        came->has_bytes = true;
        came->bytes = (int64_t)f->map->came[why];
        *xadd(e->fetched, e->n_fetched) = came;
    }
}

static void add_opens(Lf__Explanation *e, const struct cache_file *f)
{
    const struct cache_open *o;

    SLIST_FOREACH(o, &f->opens, next) {
        e->readers += (int32_t)o->readers;
        e->writers += (int32_t)o->writers;
    }
    e->has_readers = e->has_writers = true;
}

static void add_cached(struct volume *v, const struct index_inode *i, Lf__Explanation *e)
{
    struct cache_file *f;

    e->has_cached_bytes = true;
    if (!cache_find(v->cache, i->ino) && !cache_file_exists(v->cache->dir_fd, i->ino))
        return;
    if (cache_acquire(v->cache, i, &f) < 0)
        return;
    add_ranges(e, f);
    add_fetched(e, f);
    add_opens(e, f);
    cache_release(f);
}

/* --- what the cloud has ---------------------------------------------------------------------------------- */

static void add_lacking(Lf__Explanation *e, unsigned pending)
{
    static const struct { unsigned bit; const char *name; } lacks[] = {
        { INDEX_CONTENT, "content" }, { INDEX_META, "metadata" }, { INDEX_MOVE, "name" },
    };

    for (size_t n = 0; n < ARRAY_SIZE(lacks); n++)
        if (pending & lacks[n].bit)
            *xadd(e->lacking, e->n_lacking) = xstrdup(lacks[n].name);
}

static char *date(int64_t ns)
{
    char text[DATE_SIZE];

    date_iso(ns, text);
    return xstrdup(text);
}

static void add_cloud(struct volume *v, const struct index_inode *i, Lf__Explanation *e)
{
    CLEANUP_FREE char *key = index_key(v->index, i->ino), *next = key ? volume_full_key(v, key) : NULL;

    e->key = i->cloud_key ? volume_full_key(v, i->cloud_key) : NULL;
    if (next && (!e->key || strcmp(e->key, next) != 0) && !waits_there(v, i))
        e->next_key = xstrdup(next);
    e->version = xstrdup(i->etag);
    e->has_cloud_size = i->cloud_key && S_ISREG(i->mode);
    e->cloud_size = (int64_t)i->cloud_size;
    e->state = waits_state(v, i);
    add_lacking(e, i->pending | (index_displaced(v->index, i) ? INDEX_MOVE : 0));
    if (i->pending & INDEX_LACKING && i->turned_ns)
        e->dirty_since = date(i->turned_ns);
}

/* What the cloud lacks of it, and what programs lack. */
static void add_waits(struct volume *v, const struct index_inode *i, Lf__Explanation *e)
{
    const struct cache_file *f = cache_find(v->cache, i->ino);
    char cloud[WAITS_MAX], bytes[WAITS_MAX] = "";

    waits_say(v, i, cloud);
    if (f)
        fetch_say(f, bytes, sizeof(bytes));
    if ((*cloud || *bytes) && asprintf(&e->waits_for, "%s%s%s", cloud, *cloud && *bytes ? " " : "", bytes) < 0)
        abort();
}

/* --- all of it --------------------------------------------------------------------------------------------- */

static void add_conflict(const struct index_inode *i, Lf__Explanation *e)
{
    struct conflict_copy c;

    if (!conflict_read_name(i->name ? i->name : "", &c))
        return;
    if (asprintf(&e->conflict, "Two sides changed \"%s\": this is the version of %s, set aside on %s; the other side's "
                 "has that name.", c.name, c.host, c.when) < 0)
        abort();
}

/* Of the bytes that are here, or of those in the cloud. */
static void add_fault(struct volume *v, const struct index_inode *i, Lf__Explanation *e)
{
    const char *fault = object_fault(v, i);
    int code = index_fault(v->index, i->ino);

    if (!code && fault)
        e->fault = xstrdup(fault);
    if (code && asprintf(&e->fault, "The disk of the cache did not keep all that was written (%s): some of it may be "
                         "older here. It replaces no other version in the cloud.", strerror(-code)) < 0)
        abort();
}

static void add_node(struct volume *v, const struct index_inode *i, Lf__Explanation *e)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;

    volume_attr(v, i, &attr);
    e->type = xstrdup(S_ISDIR(i->mode) ? "directory" : S_ISLNK(i->mode) ? "symlink" : "file");
    e->has_inode = e->has_size = e->has_pinned = true;
    e->inode = (int64_t)i->ino;
    e->size = (int64_t)attr.size;
    e->last_modified_date = date(attr.mtime_ns);
    e->pinned = index_pinned_above(v->index, i->ino);
    e->has_cut = e->cut = i->cut;
}

Lf__Explanation *volume_explain(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    Lf__Explanation *e;

    if (index_get(v->index, ino, &i) < 0)
        return NULL;
    e = xcalloc(1, sizeof(*e));
    lf__explanation__init(e);
    add_node(v, &i, e);
    add_cloud(v, &i, e);
    add_waits(v, &i, e);
    add_conflict(&i, e);
    add_fault(v, &i, e);
    if (S_ISREG(i.mode))
        add_cached(v, &i, e);
    return e;
}
