/* Owns callers, handles and lent channels. Must not know what the keys are used for. */
#include "cryptd/keyring.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"

struct keyring {
    struct secret_pool *pool;
    LIST_HEAD(, caller) callers;
    size_t n_lent;
};

/* --- keys -------------------------------------------------------------------------------------- */

/* Of one drive, in locked memory. */
struct slot {
    struct drive_keys keys;
    struct file_keys files;
};

struct open_keys *keyring_take(struct keyring *r, struct error *e)
{
    struct slot *slot = secret_pool_take(r->pool);
    struct open_keys *k;

    if (!slot) {
        (void)error_set(e, -EMFILE, "The keys of %d drives are open; more do not go at once.", KEYRING_MAX);
        return NULL;
    }
    k = xcalloc(1, sizeof(*k));
    *k = (struct open_keys){ .ring = r, .refs = 1, .keys = &slot->keys, .files = &slot->files };
    return k;
}

struct open_keys *keyring_ref(struct open_keys *k)
{
    k->refs++;
    return k;
}

void keyring_unref(struct open_keys *k)
{
    if (!k || --k->refs > 0)
        return;
    secret_pool_give(k->ring->pool, k->keys);   /* the slot begins with them */
    free(k);
}

/* --- callers ----------------------------------------------------------------------------------- */

static struct caller *caller_new(struct keyring *r, struct ipc_peer *p)
{
    struct caller *c = xcalloc(1, sizeof(*c));

    *c = (struct caller){ .ring = r, .peer = p };
    LIST_INSERT_HEAD(&r->callers, c, next);
    return c;
}

struct caller *keyring_caller(struct keyring *r, struct ipc_peer *p)
{
    struct caller *c = ipc_peer_data(p);

    if (c)
        return c;
    c = caller_new(r, p);
    ipc_peer_set_data(p, c);
    return c;
}

/* The channels lent with it go on. */
static void drop_handle(struct caller *owner, struct handle *h)
{
    struct caller *c;

    while ((c = LIST_FIRST(&h->lent))) {
        LIST_REMOVE(c, lent_next);
        c->lender = NULL;
    }
    LIST_REMOVE(h, next);
    owner->n_handles--;
    keyring_unref(h->open);
    free(h);
}

static void caller_free(struct caller *c)
{
    struct handle *h;

    while ((h = LIST_FIRST(&c->handles)))
        drop_handle(c, h);
    if (c->lender)
        LIST_REMOVE(c, lent_next);
    if (c->lent)
        c->ring->n_lent--;
    keyring_unref(c->lent);
    region_unref(c->region);
    LIST_REMOVE(c, next);
    free(c);
}

void keyring_lost(struct ipc_peer *p)
{
    struct caller *c = ipc_peer_data(p);

    ipc_peer_set_data(p, NULL);
    if (c)
        caller_free(c);
}

/* --- handles ----------------------------------------------------------------------------------- */

struct handle *keyring_handle(struct caller *c, struct open_keys *k, struct error *e)
{
    struct handle *h;

    if (c->n_handles == KEYRING_HANDLES_MAX) {
        (void)error_set(e, -EMFILE, "This connection has the keys of %d drives open; close some first.",
                        KEYRING_HANDLES_MAX);
        return NULL;
    }
    h = xcalloc(1, sizeof(*h));
    *h = (struct handle){ .open = k };
    do   /* at random, so that a number from before a restart is nobody's now */
        secret_random(&h->number, sizeof(h->number));
    while (h->number == 0);
    LIST_INSERT_HEAD(&c->handles, h, next);
    c->n_handles++;
    return h;
}

struct handle *keyring_find(struct caller *c, uint64_t number, struct error *e)
{
    struct handle *h;

    LIST_FOREACH(h, &c->handles, next)
        if (h->number == number)
            return h;
    (void)error_set(e, -ENOENT, "There are no open keys of that handle on this connection; open the drive's keys "
                    "again.");
    return NULL;
}

void keyring_replace(struct handle *h, struct open_keys *k)
{
    struct caller *c;

    LIST_FOREACH(c, &h->lent, lent_next) {
        keyring_unref(c->lent);
        c->lent = keyring_ref(k);
    }
    keyring_unref(h->open);
    h->open = k;
}

/* A channel that is closed by us is not heard of again. */
static void end_channel(struct caller *c)
{
    ipc_peer_set_data(c->peer, NULL);
    ipc_peer_close(c->peer);
    caller_free(c);
}

void keyring_close(struct caller *owner, struct handle *h)
{
    struct caller *c;

    while ((c = LIST_FIRST(&h->lent)))
        end_channel(c);
    drop_handle(owner, h);
}

int keyring_lend(struct handle *h, struct ipc_server *s, int fd, struct error *e)
{
    struct keyring *ring = h->open->ring;
    struct ipc_peer *peer;
    struct caller *c;
    int r;

    if (ring->n_lent == KEYRING_LENT_MAX) {
        (void)close(fd);
        return error_set(e, -EMFILE, "The keys of drives are lent to %d workers; more do not go at once.",
                         KEYRING_LENT_MAX);
    }
    r = ipc_server_adopt(s, fd, ROLE_WORKER, NULL, &peer);
    if (r < 0)
        return error_set(e, r, "What was given for a worker's channel is not one end of a socket pair.");
    c = keyring_caller(ring, peer);
    c->lent = keyring_ref(h->open);
    c->lender = h;
    LIST_INSERT_HEAD(&h->lent, c, lent_next);
    ring->n_lent++;
    return 0;
}

struct open_keys *keyring_meant(struct caller *c, const uint64_t *handle, struct error *e)
{
    struct handle *h;

    if (ipc_peer_role(c->peer) != ROLE_WORKER) {
        h = keyring_find(c, handle ? *handle : 0, e);
        return h ? h->open : NULL;
    }
    if (c->lent && !handle)
        return c->lent;
    (void)error_set(e, -EPERM, c->lent ? "A worker has no handles: its channel says which drive it is for."
                                       : "A worker uses the keys of its drive over the channel that it was given for "
                                         "it.");
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------- */

int keyring_new(struct keyring **ret, struct error *e)
{
    struct keyring *r = xcalloc(1, sizeof(*r));
    int error = secret_pool_new(KEYRING_MAX, sizeof(struct slot), &r->pool, e);

    if (error < 0) {
        free(r);
        return error;
    }
    *ret = r;
    return 0;
}

void keyring_free(struct keyring *r)
{
    struct caller *c;

    if (!r)
        return;
    while ((c = LIST_FIRST(&r->callers)))
        caller_free(c);
    secret_pool_free(r->pool);
    free(r);
}
