/* A directory's listing into the index. The cloud is right about what is clean; what has pending bits
 * here, or had them until shortly before the listing began, stays as it is. Only a complete listing
 * takes something away. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/anchors.h"
#include "syncd/listing.h"

enum { REMOVALS_AT_ONCE = 1000 };
/* All that was there is known, but it is time for a listing of what is under the directory's own key. */
static const int64_t LISTED_ELSEWHERE = 1;
static const int64_t GRAVES_KEPT_NS = INT64_C(3600) * 1000000000;

int merge_begin(struct merge *m, struct volume *v, const struct index_inode *dir)
{
    char *key = index_key(v->index, dir->ino), *assumed = index_cloud_prefix(v->index, dir->ino);
    int64_t now = loop_wall_ns();

    *m = (struct merge){
        .v = v, .dir = dir->ino, .key = key, .assumed = assumed, .started_ns = now, .since_ns = now - LISTING_GRACE_NS,
        .listed_ns = dir->listed_ns, .first = dir->listed_ns == 0,
    };
    if (!key || !assumed)
        return -ENOENT;
    m->prefix = xstrdup(m->first ? assumed : key);
    return 0;
}

bool merge_elsewhere(const struct merge *m)
{
    return strcmp(m->prefix, m->key) != 0;
}

void merge_done(struct merge *m)
{
    for (size_t n = 0; n < m->n_later; n++) {
        free(m->later[n].key);
        free(m->later[n].etag);
        free(m->later[n].version);
        cloud_meta_free(&m->later[n].meta);
    }
    free(m->later);
    free(m->seen);
    free(m->key);
    free(m->prefix);
    free(m->assumed);
    *m = (struct merge){ 0 };
}

/* --- keys -------------------------------------------------------------------------------------------- */

/* The part of a key behind the drive's prefix; NULL: not of this directory, whatever the server says, or not shown. */
static const char *relative(const struct merge *m, const char *full)
{
    size_t drive = strlen(m->v->prefix), prefix = strlen(m->prefix);

    if (!full || strncmp(full, m->v->prefix, drive) != 0 || strncmp(full + drive, m->prefix, prefix) != 0)
        return NULL;
    return strchr(full + drive + prefix, '/') || anchors_reserve(m->v, full + drive) ? NULL : full + drive;
}

/* That of an entry whose key is relative(). */
static const char *component(const struct merge *m, const char *key)
{
    return key + strlen(m->prefix);
}

static void see(struct merge *m, uint64_t ino)
{
    *xadd(m->seen, m->n_seen) = ino;
}

/* Below a directory that was renamed not everything is marked at once. */
static bool displaced(const struct merge *m, const struct index_inode *i)
{
    CLEANUP_FREE char *key = i->cloud_key && i->ino != m->dir ? index_child_key(m->key, i) : NULL;

    return i->cloud_key && strcmp(i->cloud_key, key ? key : m->key) != 0;
}

/* Ours is newer than what the listing can know. */
static bool ours(const struct merge *m, const struct index_inode *i)
{
    return i->pending || i->turned_ns > m->since_ns || displaced(m, i);
}

/* A key without an inode of that name, which is there only because we have not yet moved or deleted what it has.
 * What is found where a directory was never listed is its own, unless an inode has it already: a row may claim the
 * same place, because another directory had that name for a while. */
static bool leaving(const struct merge *m, const char *key)
{
    struct index *x = m->v->index;

    return index_buried_since(x, key, m->since_ns) || index_lives_at(x, key) ||
        (!m->first && (index_moved_from(x, key) || index_moved_within(x, key)));
}

/* --- objects ------------------------------------------------------------------------------------------- */

bool merge_wants_head(struct merge *m, const struct cloud_object *o)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    const char *key = relative(m, o->key);

    if (o->size > 0 || o->has_meta || !key || !*component(m, key))
        return false;
    if (index_find_key(m->v->index, m->dir, component(m, key), false, &i) < 0)
        return true;
    return !ours(m, &i) && !entry_same(&i, key, o);
}

static int merge_new(struct merge *m, const char *key, const struct cloud_object *o)
{
    uint64_t ino;
    int r;

    if (leaving(m, key))
        return 0;
    r = entry_add(m->v, m->dir, key, o, &ino);
    if (r == 0 && merge_elsewhere(m))
        r = index_mark_moved(m->v->index, ino);
    if (r < 0)
        return r;
    m->altered = true;
    if (!m->first)
        *xadd(m->news.items, m->news.n) = (struct news_item){ .fresh = ino };
    see(m, ino);
    return 0;
}

static int merge_known(struct merge *m, struct index_inode *i, const char *key, const struct cloud_object *o)
{
    uint64_t ino = i->ino;
    int r = 0;

    if (!ours(m, i) && !entry_same(i, key, o))
        r = entry_take_over(m->v, &m->news, i, key, o, &ino);
    else if (!ours(m, i) && !i->settled && o->has_meta)
        r = entry_settle(m->v, i, o);
    see(m, ino);
    m->altered |= ino != i->ino;
    return r == -EBUSY ? 0 : r;
}

static void put_off(struct merge *m, struct cloud_object *o)
{
    *xadd(m->later, m->n_later) = *o;
    *o = (struct cloud_object){ 0 };
}

/* Whether a directory that has its name is still there is known only at the end. */
static int merge_file(struct merge *m, const char *key, struct cloud_object *o, bool may_wait)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_find_key(m->v->index, m->dir, component(m, key), false, &i);

    if (r != -ENOENT)
        return r < 0 ? r : merge_known(m, &i, key, o);
    if (!fs_is_directory(m->v, m->dir, component(m, key)))
        return merge_new(m, key, o);
    if (!may_wait)   /* work that is left below keeps the directory */
        return fs_both_have_room(m->v) ? merge_new(m, key, o) : 0;
    put_off(m, o);
    return 0;
}

static int take_marker(struct merge *m, const struct index_inode *i, const struct cloud_object *o)
{
    struct index_inode with = *i;
    int r;

    m->altered = true;
    with.cloud_key = m->prefix;
    with.etag = o->etag;
    with.cloud_size = o->size;
    with.settled = i->settled && i->pending;   /* then what is here counts */
    r = index_update(m->v->index, &with);
    return r == 0 && o->has_meta && !i->pending ? entry_settle(m->v, &with, o) : r;
}

/* The marker under the prefix that the directory had. */
static int merge_marker_elsewhere(struct merge *m, const struct index_inode *i, const struct cloud_object *o)
{
    struct index *x = m->v->index;
    int r;

    if (i->cloud_key && strcmp(i->cloud_key, m->prefix) == 0)
        return 0;
    if (i->cloud_key)
        return index_bury(x, m->prefix, o->etag);
    r = take_marker(m, i, o);
    return r == 0 ? index_mark_moved(x, m->dir) : r;
}

/* The directory's own object. */
static int merge_marker(struct merge *m, const struct cloud_object *o)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(m->v->index, m->dir, &i);

    m->marker = true;
    if (r < 0 || m->dir == INDEX_ROOT || entry_marker_leaves(m->v, m->dir, m->prefix))
        return r;
    if (merge_elsewhere(m))
        return merge_marker_elsewhere(m, &i, o);
    return ours(m, &i) || entry_same(&i, m->key, o) ? 0 : take_marker(m, &i, o);
}

static int merge_object(struct merge *m, struct cloud_object *o)
{
    const char *key = relative(m, o->key);

    if (!key)
        return 0;
    return *component(m, key) ? merge_file(m, key, o, true) : merge_marker(m, o);
}

/* --- directories ---------------------------------------------------------------------------------------- */

/* A file that nobody who made the directory can have known. */
static bool is_news_to_them(const struct merge *m, const struct index_inode *i)
{
    return i->pending || i->turned_ns > m->since_ns || i->turned_ns > m->listed_ns;
}

/* A file that has the name of a directory which is found now. Where the cloud has room for both it is the object beside
 * the directory; else it went for the directory, or is newer and a conflict. -EBUSY: it stays for now. */
static int clear_name(struct merge *m, const char *name)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r;

    if (fs_both_have_room(m->v))
        return fs_step_aside(m->v, m->dir, name);
    r = index_find_key(m->v->index, m->dir, name, false, &i);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return is_news_to_them(m, &i) ? entry_step_aside(m->v, &m->news, &i) : entry_take_away(m->v, &m->news, &i);
}

static int merge_new_directory(struct merge *m, const char *key, const char *name)
{
    uint64_t ino;
    int r;

    if (!merge_elsewhere(m) && leaving(m, key))
        return 0;
    r = clear_name(m, name);
    if (r == 0)
        r = entry_add_directory(m->v, m->dir, name, &ino);
    if (r == 0 && strcmp(m->prefix, m->assumed) != 0)   /* by the names above it would be elsewhere */
        r = index_moved_put(m->v->index, ino, key);
    if (r < 0)
        return r == -EBUSY ? 0 : r;
    m->altered = true;
    see(m, ino);
    return 0;
}

static int merge_prefix(struct merge *m, const char *full)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    size_t len = strlen(full);
    CLEANUP_FREE char *file = len && full[len - 1] == '/' ? strndup(full, len - 1) : NULL;
    const char *key = relative(m, file);
    int r;

    if (!key)
        return 0;
    r = index_find_key(m->v->index, m->dir, component(m, key), true, &i);
    if (r == -ENOENT)
        return merge_new_directory(m, full + strlen(m->v->prefix), component(m, key));
    if (r == 0)
        see(m, i.ino);
    return r;
}

static int end_transaction(struct merge *m, int r)
{
    r = index_end(m->v->index, r);
    news_end(m->v, &m->news, r == 0);
    return r;
}

int merge_page(struct merge *m, struct cloud_request *page)
{
    int r = index_begin(m->v->index);

    if (r < 0)
        return r;
    for (size_t n = 0; r == 0 && n < page->n_objects; n++)
        r = merge_object(m, &page->objects[n]);
    for (size_t n = 0; r == 0 && n < page->n_prefixes; n++)
        r = merge_prefix(m, page->prefixes[n]);
    return end_transaction(m, r);
}

/* --- the end ---------------------------------------------------------------------------------------------- */

struct gone {
    struct merge *m;
    struct index_inode entries[REMOVALS_AT_ONCE];   /* ino, parent, mode and name */
    size_t n;
    char *last;                                      /* name of the last one looked at */
};

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static bool collect_gone(const struct index_inode *i, void *arg)
{
    struct gone *g = arg;
    bool listed = g->m->n_seen && bsearch(&i->ino, g->m->seen, g->m->n_seen, sizeof(i->ino), compare);

    if (listed || ours(g->m, i) || (!i->cloud_key && !S_ISDIR(i->mode)))
        return true;
    g->entries[g->n++] = (struct index_inode){
        .ino = i->ino, .parent = i->parent, .mode = i->mode, .name = xstrdup(i->name), .name_len = i->name_len,
        .key_name = xstrdup(i->key_name),
    };
    return g->n < REMOVALS_AT_ONCE;
}

static int take_away(struct merge *m, const struct index_inode *i)
{
    int r;

    if (S_ISDIR(i->mode) && index_pending_since(m->v->index, i->ino, m->since_ns))
        return 0;
    r = entry_take_away(m->v, &m->news, i);
    m->altered |= r == 0;
    return r == -EBUSY ? 0 : r;
}

/* A batch of what the listing did not have. *ret_more: there may be another. */
static int take_away_batch(struct merge *m, struct gone *g, bool *ret_more)
{
    int r;

    g->n = 0;
    r = index_list(m->v->index, m->dir, g->last, strlen(g->last), collect_gone, g);
    *ret_more = g->n == REMOVALS_AT_ONCE;
    if (r < 0 || g->n == 0)
        return r;
    xstrset(&g->last, g->entries[g->n - 1].name);
    r = index_begin(m->v->index);
    if (r < 0)
        return r;
    for (size_t n = 0; r == 0 && n < g->n; n++)
        r = take_away(m, &g->entries[n]);
    return end_transaction(m, r);
}

static int take_away_all(struct merge *m)
{
    struct gone *g = xcalloc(1, sizeof(*g));
    bool more = true;
    int r = 0;

    g->m = m;
    g->last = xstrdup("");
    if (m->n_seen)
        qsort(m->seen, m->n_seen, sizeof(*m->seen), compare);
    while (r == 0 && more) {
        r = take_away_batch(m, g, &more);
        for (size_t n = 0; n < g->n; n++)
            index_inode_done(&g->entries[n]);
    }
    free(g->last);
    free(g);
    return r;
}

/* Objects whose name a directory had when they came by. */
static int merge_later(struct merge *m)
{
    int r = 0;

    for (size_t n = 0; r == 0 && n < m->n_later; n++)
        r = merge_file(m, relative(m, m->later[n].key), &m->later[n], false);
    return r;
}

static int close_directory(struct merge *m, bool cut)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(m->v->index, m->dir, &i);

    if (r < 0)
        return r;
    if (cut && !i.cut)
        LOG(LOG_NOTICE, "folder_cut", "drive=%s", m->v->drive->id, "folder=%s", m->key, "shown=%zu", m->n_seen);
    i.cut = cut;
    if (!cut && !m->marker && i.cloud_key && !ours(m, &i)) {
        free(take_ptr(i.cloud_key));
        free(take_ptr(i.etag));
    }
    i.listed_ns = merge_elsewhere(m) ? LISTED_ELSEWHERE : m->started_ns;
    if (m->altered && !m->first)
        i.mtime_ns = i.ctime_ns = loop_wall_ns();
    return index_update(m->v->index, &i);
}

int merge_end(struct merge *m, bool cut)
{
    int r = cut || merge_elsewhere(m) ? 0 : take_away_all(m);

    if (r == 0)
        r = index_begin(m->v->index);
    if (r < 0)
        return r;
    r = merge_later(m);
    if (r == 0)
        r = close_directory(m, cut);
    if (r == 0)
        r = index_forget_graves(m->v->index, m->started_ns - GRAVES_KEPT_NS);
    r = end_transaction(m, r);
    if (r < 0)
        return r;
    if (m->altered && !m->first)
        volume_invalidate(m->v, m->dir, NULL, 0, CHANGED_DATA);
    if (strcmp(m->prefix, m->assumed) != 0)
        mover_kick(m->v);
    return 0;
}
