/* One object into one file. Must not know which objects there are. */
#include "syncd/bucket_pull.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/timespec.h"
#include "syncd/haul_chunk.h"
#include "syncd/local_path.h"

enum { CHUNK = 8 << 20 };
static const int64_t NOTE_NS = 1000000000;   /* between two notes of how much is on the disk */

struct lane {
    struct chunk chunk;           /* the first member */
    struct pull *pull;
    bool taken;
    struct cloud_request *request;
};

struct pull {
    struct haul *haul;
    pull_done_fn *done;
    struct pull_spec spec;        /* strings owned */
    int dir, fd;                  /* of the file; -1: not made yet */
    char made[LOCAL_NAME_SIZE], kept[LOCAL_NAME_SIZE];   /* made "": it has no name yet */
    bool begun, named;            /* it is there already; it needs a name */
    int code;                     /* of the job that made or kept it */
    int64_t mtime_ns;
    uint64_t next, written;       /* bytes below `next` have been taken by a lane */
    uint64_t *again;              /* offsets of chunks that a pause interrupted; owned */
    size_t n_again;
    uint64_t noted, noting;       /* bytes on the disk: recorded; to be recorded when they are, 0: none */
    int64_t noted_ns;
    int sync_code;
    bool working;                 /* one job about the whole file is under way, or it has ended */
    struct error error;
    struct lane lanes[HAUL_LANES];
};

/* --- the end ------------------------------------------------------------------------------------------------ */

static bool is_idle(const struct pull *p)
{
    for (size_t i = 0; i < ARRAY_SIZE(p->lanes); i++)
        if (p->lanes[i].taken)
            return false;
    return true;
}

static void remove_it(void *arg)
{
    struct pull *p = arg;

    if (*p->made && p->dir < 0)
        p->dir = local_folder_at(p->spec.base, p->spec.folder);
    if (*p->made && p->dir >= 0)
        local_file_remove(p->dir, p->made);
}

static void removed(struct haul *e, void *arg)
{
    struct pull *p = arg;

    p->done(e, p, &p->error);
}

static void settle_failure(struct pull *p)
{
    if (!is_idle(p) || p->working || p->noting)
        return;
    p->working = true;
    haul_work(p->haul, remove_it, removed, p);
}

static void fail(struct pull *p, const struct error *why)
{
    if (!p->error.code)
        p->error = *why;
    for (size_t i = 0; i < ARRAY_SIZE(p->lanes); i++)
        if (p->lanes[i].request && p->lanes[i].request->cloud)
            cloud_cancel(p->lanes[i].request->cloud, p->lanes[i].request);
    settle_failure(p);
}

static void fail_code(struct pull *p, int code, const char *what)
{
    struct error e;

    error_set(&e, code, "%s: %s", what, code == -EBADE ? "bytes are missing" : strerror(-code));
    fail(p, &e);
}

static void keep_it(void *arg)
{
    struct pull *p = arg;
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, timespec_of(p->mtime_ns) };

    (void)futimens(p->fd, times);
    p->code = 0;
    if (p->spec.since_ns && local_file_kept(p->dir, p->fd, p->spec.name, p->spec.since_ns))
        remove_it(p);
    else
        p->code = local_file_keep(p->dir, p->fd, *p->made ? p->made : NULL, p->spec.name, p->kept);
}

static void kept(struct haul *e, void *arg)
{
    struct pull *p = arg;

    (void)e;
    p->working = false;
    if (p->code) {
        fail_code(p, p->code, "The file could not be put in its place");
        return;
    }
    p->named = *p->made;
    p->made[0] = '\0';
    p->working = true;
    p->done(e, p, &p->error);
}

static void keep(struct pull *p)
{
    if (p->noting)
        return;
    p->working = true;
    haul_work(p->haul, keep_it, kept, p);
}

/* --- what is recorded -------------------------------------------------------------------------------------------- */

static int record(struct pull *p, uint64_t done, struct error *e)
{
    const struct store_haul_file f = { .key = (char *)(uintptr_t)p->spec.key, .etag = (char *)(uintptr_t)p->spec.etag,
                                       .name = p->made, .size = p->spec.size, .done = done };

    p->noted = done;
    p->noted_ns = loop_now_ns();
    return haul_record_file(p->haul, &f, e);
}

/* All bytes below it have been written. */
static uint64_t lowest(const struct pull *p)
{
    uint64_t low = p->next;

    for (size_t i = 0; i < ARRAY_SIZE(p->lanes); i++)
        low = p->lanes[i].taken ? least(low, p->lanes[i].chunk.offset) : low;
    for (size_t i = 0; i < p->n_again; i++)
        low = least(low, p->again[i]);
    return low;
}

static void sync_it(void *arg)
{
    struct pull *p = arg;

    p->sync_code = fdatasync(p->fd) < 0 ? -errno : 0;
}

static void synced(struct haul *e, void *arg)
{
    struct pull *p = arg;
    uint64_t done = p->noting;

    (void)e;
    p->noting = 0;
    if (p->error.code) {
        settle_failure(p);
        return;
    }
    if (p->sync_code == 0)
        (void)record(p, done, NULL);   /* or the next process begins further down */
    pull_go(p);
}

static void note(struct pull *p)
{
    uint64_t low = lowest(p);

    if (!*p->made || p->noting || low <= p->noted || low == p->spec.size || loop_now_ns() - p->noted_ns < NOTE_NS)
        return;
    p->noting = low;
    haul_work(p->haul, sync_it, synced, p);
}

/* --- chunks --------------------------------------------------------------------------------------------------- */

static void give_back(struct lane *l)
{
    l->taken = false;
    l->request = NULL;
    chunk_close(&l->chunk);
}

static void written(struct haul *e, void *arg)
{
    struct lane *l = arg;
    struct pull *p = l->pull;

    (void)e;
    give_back(l);
    if (p->error.code) {
        settle_failure(p);
        return;
    }
    if (l->chunk.error) {
        fail_code(p, l->chunk.error, "The file could not be written");
        return;
    }
    p->written += l->chunk.length;
    note(p);
    pull_go(p);
}

static void take_again(struct lane *l)
{
    *xadd(l->pull->again, l->pull->n_again) = l->chunk.offset;
    give_back(l);
}

static void note_time(struct pull *p, const struct cloud_object *o)
{
    if (o->has_meta && o->meta.has_mtime)
        p->mtime_ns = o->meta.mtime_ns;
}

static void fetched(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct lane *l = item;
    struct pull *p = l->pull;

    l->request = NULL;
    if (p->error.code) {
        give_back(l);
        settle_failure(p);
    } else if (halted) {
        take_again(l);
        pull_go(p);
    } else if (r->error.code) {
        give_back(l);
        fail(p, &r->error);
    } else if (r->content_length != l->chunk.length) {
        give_back(l);
        fail_code(p, -EBADE, "The object came incompletely");
    } else {
        note_time(p, &r->object);
        haul_work(e, chunk_write, written, &l->chunk);
    }
}

static struct cloud_request *chunk_request(struct pull *p, const struct lane *l)
{
    struct cloud_request *r = haul_request(p->haul, CLOUD_GET, p->spec.key);

    r->has_range = l->chunk.length < p->spec.size;
    r->range_offset = l->chunk.offset;
    r->range_length = l->chunk.length;
    r->checked = !r->has_range && p->spec.size <= CLOUD_CHECKED_MAX;
    if (p->spec.etag && *p->spec.etag)
        cloud_request_set(&r->if_match, p->spec.etag);
    r->sink = (struct cloud_extent){ .fd = l->chunk.memory, .length = l->chunk.length };
    return r;
}

static bool take_chunk(struct pull *p, struct lane *l)
{
    if (p->n_again) {
        l->chunk.offset = p->again[--p->n_again];
    } else if (p->next < p->spec.size) {
        l->chunk.offset = p->next;
        p->next += least(p->spec.size - p->next, CHUNK);
    } else {
        return false;
    }
    l->chunk.length = least(p->spec.size - l->chunk.offset, CHUNK);
    l->taken = true;
    l->chunk.file = p->fd;
    return true;
}

static void fetch(struct pull *p, struct lane *l)
{
    struct error e = { 0 };
    int code = chunk_open(&l->chunk);

    if (code < 0) {
        give_back(l);
        fail_code(p, code, "There is no memory for the bytes of the object");
        return;
    }
    l->request = chunk_request(p, l);
    if (haul_submit(p->haul, l->request, fetched, l, &e) < 0) {
        give_back(l);
        fail(p, &e);
    }
}

/* --- the beginning --------------------------------------------------------------------------------------------- */

static int open_file(struct pull *p)
{
    if (p->begun)
        return local_file_again(p->dir, p->made, p->written);
    return local_file_make(p->dir, *p->made ? p->made : NULL);
}

static void make_it(void *arg)
{
    struct pull *p = arg;

    if (p->dir < 0)
        p->dir = local_folder_make(p->spec.base, p->spec.folder);
    p->code = p->dir < 0 ? p->dir : 0;
    if (p->code || !p->spec.name)
        return;
    p->fd = open_file(p);
    p->code = p->fd < 0 ? p->fd : 0;
}

static void make(struct pull *p);

static void made(struct haul *e, void *arg)
{
    struct pull *p = arg;
    bool lost = p->code == -ENOENT && p->begun, nameless = p->code == -EOPNOTSUPP && !*p->made;

    p->working = false;
    if (p->code)
        p->made[0] = '\0';
    if (lost || nameless) {
        p->begun = false;
        p->named |= nameless;
        p->next = p->written = 0;
        make(p);
    } else if (p->code) {
        fail_code(p, p->code, "It could not be made on this machine");
    } else if (!p->spec.name) {
        p->working = true;
        p->done(e, p, &p->error);
    } else {
        pull_go(p);
    }
}

static void make(struct pull *p)
{
    struct error e = { 0 };

    if (p->spec.name && !p->begun && (p->named || p->spec.size > CHUNK)) {
        local_file_name(p->made);
        if (record(p, 0, &e) < 0) {
            p->made[0] = '\0';
            fail(p, &e);
            return;
        }
    }
    p->working = true;
    haul_work(p->haul, make_it, made, p);
}

void pull_go(struct pull *p)
{
    if (!haul_runs(p->haul) || p->working || p->error.code)
        return;
    if (p->fd < 0) {
        make(p);
        return;
    }
    if (p->written == p->spec.size) {
        keep(p);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(p->lanes) && !p->error.code && haul_runs(p->haul); i++)
        if (!p->lanes[i].taken && take_chunk(p, &p->lanes[i]))
            fetch(p, &p->lanes[i]);
}

uint64_t pull_moved(const struct pull *p)
{
    uint64_t bytes = p->written;

    for (size_t i = 0; i < ARRAY_SIZE(p->lanes); i++)
        bytes += p->lanes[i].request ? least(p->lanes[i].request->content_length, p->lanes[i].chunk.length) : 0;
    return bytes;
}

const char *pull_key(const struct pull *p)
{
    return p->spec.key;
}

bool pull_recorded(const struct pull *p)
{
    return p->named || *p->made;
}

struct pull *pull_new(struct haul *e, const struct pull_spec *spec, pull_done_fn *done)
{
    struct pull *p = xcalloc(1, sizeof(*p));

    p->haul = e;
    p->done = done;
    p->spec = *spec;
    p->spec.folder = xstrdup(spec->folder);
    p->spec.name = xstrdup(spec->name);
    p->spec.key = xstrdup(spec->key);
    p->spec.etag = xstrdup(spec->etag);
    p->spec.left = NULL;
    if (spec->left) {
        (void)snprintf(p->made, sizeof(p->made), "%s", spec->left);
        p->begun = true;
        p->next = p->written = p->noted = spec->left_bytes;
    }
    p->mtime_ns = spec->mtime_ns;
    p->dir = p->fd = -1;
    for (size_t i = 0; i < ARRAY_SIZE(p->lanes); i++)
        p->lanes[i] = (struct lane){ .pull = p, .chunk = CHUNK_NONE };
    return p;
}

void pull_undo(struct pull *p)
{
    haul_work(p->haul, remove_it, NULL, p);
}

void pull_free(struct pull *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(p->lanes); i++)
        chunk_close(&p->lanes[i].chunk);
    cleanup_close(&p->fd);
    cleanup_close(&p->dir);
    free((char *)(uintptr_t)p->spec.folder);
    free((char *)(uintptr_t)p->spec.name);
    free((char *)(uintptr_t)p->spec.key);
    free((char *)(uintptr_t)p->spec.etag);
    free(p->again);
    free(p);
}
