/* Who holds which drive's keys open: callers, their handles, and the channels lent to workers.
 *
 * A caller is a connection. A handle is found among its own caller's alone, so a number that somebody else was given
 * says nothing. Keys are wiped when nobody holds them: no handle, no channel, no work under way. */
#pragma once

#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc.h"
#include "cryptd/drive_keys.h"
#include "cryptd/file_keys.h"
#include "cryptd/region.h"

enum {
    KEYRING_MAX = 256,            /* drives' keys open at once, in all; each takes a locked slot */
    KEYRING_HANDLES_MAX = 128,    /* of one caller */
    KEYRING_LENT_MAX = 256,       /* channels of all workers */
};

struct keyring;

/* Keys that are open. Counted by the loop's thread; others may read `keys` while they hold a reference. */
struct open_keys {
    struct keyring *ring;
    unsigned refs;
    struct drive_keys *keys;      /* locked */
    struct file_keys *files;      /* wrapped by those; beside them */
};

struct handle {
    LIST_ENTRY(handle) next;
    uint64_t number;
    struct open_keys *open;
    LIST_HEAD(, caller) lent;     /* workers' channels */
};

struct caller {
    LIST_ENTRY(caller) next;      /* of all */
    struct keyring *ring;
    struct ipc_peer *peer;
    struct region *region;        /* NULL: none shared yet */
    LIST_HEAD(, handle) handles;
    size_t n_handles;
    struct open_keys *lent;       /* a worker's: of its drive; NULL: this is no lent channel */
    LIST_ENTRY(caller) lent_next; /* of the handle's, while there is one */
    struct handle *lender;        /* NULL once it is gone */
};

/* 0, or a negative errno with a sentence. */
int keyring_new(struct keyring **ret, struct error *e);
void keyring_free(struct keyring *r);   /* NULL is fine; with all callers. No work may be under way */

/* The caller behind a connection, made when it is not known yet. */
struct caller *keyring_caller(struct keyring *r, struct ipc_peer *p);

/* A connection that ended: its handles go, channels that were lent with them stay. */
void keyring_lost(struct ipc_peer *p);

/* Keys that nobody holds yet but whoever calls, zeroed, or NULL with a sentence. */
struct open_keys *keyring_take(struct keyring *r, struct error *e);
struct open_keys *keyring_ref(struct open_keys *k);
void keyring_unref(struct open_keys *k);   /* NULL is fine */

/* A new handle for keys, whose reference it takes over if it succeeds. NULL with a sentence: too many. */
struct handle *keyring_handle(struct caller *c, struct open_keys *k, struct error *e);

/* The caller's own handle of that number. NULL with a sentence (-ENOENT): there is none. */
struct handle *keyring_find(struct caller *c, uint64_t number, struct error *e);

/* Puts keys of the same drive in the place of a handle's, for its workers too; takes the reference over. */
void keyring_replace(struct handle *h, struct open_keys *k);

/* Ends the caller's handle and the channels lent with it. */
void keyring_close(struct caller *owner, struct handle *h);

/* Makes the socket, owned from here on, a worker's channel to the handle's drive. 0, or a negative errno with a
 * sentence. */
int keyring_lend(struct handle *h, struct ipc_server *s, int fd, struct error *e);

/* The keys that a request is about: by its own handle for syncd, by the channel for a worker. Borrowed. NULL with a
 * sentence: -EPERM, -ENOENT. `handle` NULL: the request has none. */
struct open_keys *keyring_meant(struct caller *c, const uint64_t *handle, struct error *e);
