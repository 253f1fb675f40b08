/* Who waits until an object, or all that is below a directory, is in the cloud. */
#pragma once

#include "syncd/volume_internal.h"

/* Something may have reached the cloud, or gone: those who wait look, soon. */
void await_kick(struct volume *v);
/* A change of the inode failed and is not tried again for so many seconds. */
void await_failed(struct volume *v, uint64_t ino, int seconds);
/* The cloud refuses to delete something that may be in the way of what is waited for. */
void await_refused(struct volume *v);
/* The volume is closed. */
void await_end(struct volume *v);
