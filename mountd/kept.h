/* What outlives mountd: for each mounted drive the FUSE connection and a sealed memfd that holds a
 * packed KeptMount, and what its worker owes; stored with the supervisor ("fuse-<drive id>", "init-<drive id>",
 * "owed-<drive id>"). */
#pragma once

#include "common/daemon.h"
#include "proto/ipc.pb-c.h"

/* A drive found again. */
struct kept {
    int fuse;                /* owned */
    int owed;                /* owned; of owed_make(), or -1: lost, with the requests that were under way */
    Lf__KeptMount *record;   /* owned */
};

/* Stores them. 0 or negative errno; -ENOTCONN without a supervisor: then the drive does not survive mountd. */
int kept_store(int fuse, int owed, const Lf__KeptMount *record);
void kept_unstore(const char *drive_id);

/* Takes the next drive out of what the supervisor handed over; what is unusable (no connection, not a record,
 * unmounted meanwhile) is closed and unstored. False when nothing is left. */
bool kept_take(struct daemon *d, struct kept *ret);
