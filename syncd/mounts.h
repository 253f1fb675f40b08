/* The side of syncd that mountd and the workers see: which drives shall be mounted, what became of
 * it, and a worker's channel to its volume. mountd asks again whenever it hears MountsChanged. */
#pragma once

#include <stdbool.h>

#include "common/error.h"
#include "common/ipc.h"

struct drive;
struct syncd;

/* How long a person waits for a mount or an unmount. */
enum { MOUNTS_WAIT_MS = 10000 };

/* Tells every mountd that listens to ask again. */
void mounts_changed(struct syncd *d);

/* Calls done once mountd reported that the drive is mounted (or is not, with `mounted` false), or with why not:
 * mountd's reason, or -ETIMEDOUT after MOUNTS_WAIT_MS. At once when it is to be unmounted and was last reported
 * not to be mounted, else from the loop. One waiter per drive. Set ->wanted first. */
void mounts_await(struct syncd *d, struct drive *drive, bool mounted, void (*done)(const struct error *e, void *arg),
                  void *arg);
/* It shall not be mounted any more: done as mounts_await() calls it; at once when it was not to be mounted anyway. */
void mounts_withdraw(struct syncd *d, struct drive *drive, void (*done)(const struct error *e, void *arg), void *arg);
/* Forgets the waiter: its done does not run. */
void mounts_forget(struct drive *drive);

/* Ends the drive's channels to workers. Call before its volume is closed. */
void mounts_detach(struct drive *drive);

/* For the server: a connection ended. */
void mounts_peer_lost(struct syncd *d, struct ipc_peer *p);

ipc_handler_fn mounts_list, mounts_report, mounts_attach;
