/* Owns what statfs(2) says. What a drive has is in the index. What it can still take nobody knows of a bucket; a
 * folder's file system says it, and may be slow or away: then what it said last has to do. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/listing.h"

enum { BLOCK_SIZE = 4096, SECTOR = 512, FRESH_MS = 1000, PATIENCE_MS = 500, REST_MS = 10000 };
#define MS_NS INT64_C(1000000)

/* A bucket has no end; this much together is what programs can count with. */
static const uint64_t ENDLESS = UINT64_C(1) << 50;

struct capacity {
    struct volume *volume;
    uint64_t space;                  /* bytes, as last heard */
    int64_t heard_ns, vain_ns;       /* when that was, and when somebody waited in vain; 0: never */
    struct errand *errand;           /* that asks for it */
    struct fs_wait **waits;          /* owned, and the array */
    size_t n_waits;
    struct loop_timer *patience;     /* theirs */
};

static void reply(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsSpace space = LF__FS_SPACE__INIT;
    Lf__Envelope answer = IPC_ENVELOPE(FS_SPACE, fs_space, &space);
    uint64_t sectors, names, used;
    int r = index_total(v->index, &sectors, &names);

    (void)env;
    if (r < 0) {
        fs_fail(req, r);
        return;
    }
    used = (sectors + BLOCK_SIZE / SECTOR - 1) / (BLOCK_SIZE / SECTOR);
    space.block_size = BLOCK_SIZE;
    space.blocks_free = v->capacity->heard_ns ? v->capacity->space / BLOCK_SIZE : excess(ENDLESS / BLOCK_SIZE, used);
    space.blocks = used + space.blocks_free;
    space.files = names;
    ipc_reply(req, &answer, NULL, 0);
}

/* --- asking the folder ------------------------------------------------------------------------------- */

static void wake(struct capacity *c, const struct error *e)
{
    struct fs_wait **waits = take_ptr(c->waits);
    size_t n = c->n_waits;

    loop_timer_free(take_ptr(c->patience));
    c->n_waits = 0;
    for (size_t i = 0; i < n; i++)
        fs_wait_end(waits[i], e);
    free(waits);
}

static void impatient(void *arg)
{
    static const struct error none;
    struct capacity *c = arg;

    c->vain_ns = loop_now_ns();
    wake(c, &none);
}

static void heard(struct cloud_request *r, void *owner, size_t n)
{
    static const struct error none;
    struct capacity *c = owner;

    (void)n;
    c->errand = NULL;
    if (r->error.code == 0) {
        c->space = r->space;
        c->heard_ns = loop_now_ns();
        c->vain_ns = 0;
    }
    cloud_request_free(r);
    wake(c, &none);
}

static void look(struct capacity *c)
{
    struct cloud_request *r;

    if (c->errand)
        return;
    r = cloud_request_new(CLOUD_SPACE, NULL, NULL);
    cloud_request_set(&r->bucket, c->volume->bucket);
    c->errand = errand_submit(c->volume, r, heard, c, 0);
}

static bool within(int64_t since_ns, int64_t ms)
{
    return since_ns && loop_now_ns() - since_ns < ms * MS_NS;
}

/* --- the contract ------------------------------------------------------------------------------------ */

void fs_statfs(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct volume *v = fs_volume(req);
    struct capacity *c = v->capacity;

    (void)fds;
    (void)daemon;
    if (!(cloud_capabilities(v->cloud) & CLOUD_HAS_SPACE) || v->paused || within(c->heard_ns, FRESH_MS)) {
        reply(v, req, env);
        return;
    }
    look(c);
    if (within(c->vain_ns, REST_MS)) {
        reply(v, req, env);
        return;
    }
    *xadd(c->waits, c->n_waits) = fs_wait_begin(v, req, env, reply);
    if (!c->patience)
        c->patience = loop_timer(v->loop, PATIENCE_MS, impatient, c);
}

void capacity_new(struct volume *v)
{
    v->capacity = xcalloc(1, sizeof(*v->capacity));
    v->capacity->volume = v;
}

void capacity_free(struct volume *v)
{
    static const struct error closed = { -ECANCELED, "The drive was closed." };

    if (!v->capacity)
        return;
    wake(v->capacity, &closed);
    errand_abandon(v, v->capacity->errand);
    free(take_ptr(v->capacity));
}
