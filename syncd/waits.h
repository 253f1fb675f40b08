/* What stands between an object and the cloud: for people, in a sentence, and for those who wait for it. */
#pragma once

#include "syncd/upload.h"

enum { WAITS_MAX = ERROR_TEXT_MAX + 128, WAITS_LASTING_S = 60 };

/* Whether the cloud lacks nothing of it and of all that is below, removals there included. */
bool waits_there(struct volume *v, const struct index_inode *i);
/* How many changes it lacks; counts what is pending. */
uint64_t waits_count(struct volume *v, const struct index_inode *i);
/* What the next of them waits for. "" when it is there. */
void waits_say(struct volume *v, const struct index_inode *i, char out[WAITS_MAX]);
/* Whether it will not get there unless somebody does something: what failed is not tried again for a long time, or the
 * drive is paused. out: why, likewise. */
bool waits_in_vain(struct volume *v, const struct index_inode *i, char out[WAITS_MAX]);
/* Whether some of what is not there may get there by itself. */
bool waits_coming(struct volume *v, const struct index_inode *i);
/* Whether a failure after which the next try is that far away is such a one. */
bool waits_lasting(int seconds);

/* "clean", "dirty", "uploading" or "error: ..." with the reason; owned by the caller. */
char *waits_state(struct volume *v, const struct index_inode *i);
/* Whether its object is to be encrypted in the cloud, or its bytes are being encrypted here. */
bool waits_encrypting(struct volume *v, uint64_t ino);
