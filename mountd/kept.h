/* What outlives mountd: for each mounted drive the FUSE connection and a sealed memfd that holds a
 * packed KeptMount, both stored with the supervisor ("fuse-<drive id>", "init-<drive id>"). */
#pragma once

#include "common/daemon.h"
#include "proto/ipc.pb-c.h"

/* A drive found again. */
struct kept {
    int fuse;                /* owned */
    Lf__KeptMount *record;   /* owned */
};

/* Stores both. 0 or negative errno; -ENOTCONN without a supervisor: then the drive does not survive mountd. */
int kept_store(int fuse, const Lf__KeptMount *record);
void kept_unstore(const char *drive_id);

/* Takes the next drive out of what the supervisor handed over; what is unusable (half a pair, not a record,
 * unmounted meanwhile) is closed and unstored. False when nothing is left. */
bool kept_take(struct daemon *d, struct kept *ret);
