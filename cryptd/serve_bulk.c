/* Owns the answers about bulk work. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "cryptd/serve.h"

void serve_bulk_region(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct caller *c = serve_caller(daemon, req);
    struct region *region;
    struct error e;

    (void)env;
    if (region_map(fds[0], &region, &e) < 0) {
        serve_fail(req, "region_refused", &e);
        return;
    }
    region_unref(c->region);   /* work under way keeps it */
    c->region = region;
    ipc_done(req);
}

/* --- a job ------------------------------------------------------------------------------------- */

static int read_chunk(const Lf__CryptChunk *from, bool of_cache, struct bulk_chunk *to, struct error *e)
{
    *to = (struct bulk_chunk){
        .number = from->number, .in_at = from->in_at, .out_at = from->out_at, .expected = from->expected,
        .generation = from->generation, .length = from->length, .has_expected = from->has_expected, .last = from->last,
    };
    to->zeros = of_cache && from->has_zeros && from->zeros;
    if (!of_cache || to->zeros)
        return 0;
    if (!from->has_record || from->record.len != CACHE_RECORD_SIZE)
        return error_set(e, -EINVAL, "A chunk of the cache comes with its record of %d bytes.", CACHE_RECORD_SIZE);
    memcpy(&to->record, from->record.data, CACHE_RECORD_SIZE);
    return 0;
}

static int read_chunks(const Lf__Crypt *crypt, struct bulk_chunk *chunks, struct error *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < crypt->n_chunks; i++)
        r = read_chunk(crypt->chunks[i], crypt->from == FORM_CACHE, &chunks[i], e);
    return r;
}

/* A worker knows nothing of objects. */
static int check_role(const struct caller *c, const Lf__Crypt *crypt, struct error *e)
{
    bool object = crypt->from == FORM_OBJECT || crypt->to == FORM_OBJECT;

    if (object && ipc_peer_role(c->peer) == ROLE_WORKER)
        return error_set(e, -EPERM, "A worker works on the cache of its drive, not on objects.");
    return 0;
}

struct answer {
    struct ipc_request *req;
    bool records;
};

static void crypt_done(const struct bulk_chunk *chunks, size_t n, void *arg)
{
    CLEANUP_FREE struct answer *a = arg;
    Lf__Crypted crypted = LF__CRYPTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(CRYPTED, crypted, &crypted);
    CLEANUP_FREE Lf__CryptedChunk *done = xcalloc(n, sizeof(*done));
    CLEANUP_FREE Lf__CryptedChunk **list = xcalloc(n, sizeof(Lf__CryptedChunk *));

    for (size_t i = 0; i < n; i++) {
        lf__crypted_chunk__init(&done[i]);
        done[i].code = -chunks[i].code;
        done[i].has_record = a->records && chunks[i].code == 0;
        done[i].record.data = (uint8_t *)(uintptr_t)&chunks[i].record;
        done[i].record.len = CACHE_RECORD_SIZE;
        list[i] = &done[i];
    }
    crypted.chunks = list;
    crypted.n_chunks = n;
    ipc_reply(a->req, &reply, NULL, 0);
}

static int start(struct serve *s, struct ipc_request *req, const Lf__Crypt *crypt, struct error *e)
{
    CLEANUP_FREE struct answer *a = xcalloc(1, sizeof(*a));
    struct bulk_chunk chunks[BULK_CHUNKS_MAX];
    struct caller *c = serve_caller(s, req);
    struct bulk_spec spec = {
        .keys = keyring_meant(c, crypt->has_handle ? &crypt->handle : NULL, e), .region = c->region,
        .from = { crypt->from, crypt->from_key.data, crypt->from_key.len },
        .to = { crypt->to, crypt->to_key.data, crypt->to_key.len }, .chunks = chunks, .n = crypt->n_chunks,
    };
    int r = spec.keys ? check_role(c, crypt, e) : e->code;

    if (r == 0 && crypt->n_chunks > BULK_CHUNKS_MAX)
        r = error_set(e, -EINVAL, "A call carries 1 to %d chunks.", BULK_CHUNKS_MAX);
    if (r == 0)
        r = read_chunks(crypt, chunks, e);
    *a = (struct answer){ .req = req, .records = crypt->to == FORM_CACHE };
    if (r == 0)
        r = bulk_start(s->bulk, &spec, crypt_done, a, e);
    if (r == 0)
        a = NULL;   /* crypt_done's */
    return r;
}

void serve_bulk_crypt(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct error e;

    (void)fds;
    if (start(daemon, req, env->crypt, &e) < 0)
        serve_fail(req, "crypt_refused", &e);
}
