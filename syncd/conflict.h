/* Two sides changed the same file: both are kept. The other side's version has the name, ours becomes
 * "name (conflict HOST YYYY-MM-DD HH-MM-SS).ext" beside it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "syncd/cloud.h"

struct index_inode;
struct volume;

enum { CONFLICT_NAME_MAX = 255 };

/* The n-th name (from 1) for our version of `name`, which is valid UTF-8, on the machine `host`: at most `max` bytes,
 * and `max` at most CONFLICT_NAME_MAX. What follows the last dot stays at the end, unless the name begins with that
 * dot; what comes before is shortened by whole characters. Of `host`, whatever is no letter, digit, '-', '_' or '.'
 * becomes '-'. 0, or -ENAMETOOLONG when nothing of the name is left. */
int conflict_name(const char *name, const char *host, const struct tm *when, unsigned n, size_t max,
                  char out[CONFLICT_NAME_MAX + 1]);

/* The parts of such a name; false: it is none. */
struct conflict_copy {
    char name[CONFLICT_NAME_MAX + 1];   /* that of the other side's version, as far as ours did not shorten it */
    char host[CONFLICT_NAME_MAX + 1], when[20];
};
bool conflict_read_name(const char *name, struct conflict_copy *ret);

/* `theirs` lies at the inode's key and is none of our versions. In one transaction the inode gets the conflict's name,
 * keeps its bytes, and is based on nothing at the old key any more; a new inode gets the old name and their version; a
 * grave at the key is closed. Then the workers and the log are told. `theirs` has its metadata. 0, -EAGAIN when the
 * inode has another key by now, -ENAMETOOLONG, or another negative errno: then nothing changed. */
int conflict_keep_both(struct volume *v, uint64_t ino, const char *key, const struct cloud_object *theirs);

/* Inside a transaction: what has the inode's name now is no file (listing_merge.c). The inode gets the conflict's name,
 * into out, with all it has in the cloud: to be moved there. 0, -ENAMETOOLONG, or another negative errno. */
int conflict_step_aside(struct volume *v, const struct index_inode *i, char out[CONFLICT_NAME_MAX + 1]);

/* After the commit: tells the workers, the uploader and the log. The one place that says there is a new conflict
 * copy. */
void conflict_announce(struct volume *v, uint64_t parent, const char *name, const char *copy);
