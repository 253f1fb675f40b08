/* A folder in the cloud of a volume rig, and what the calls of the API that work on folders say of it. */
#pragma once

#include "volume_rig.h"

#include "common/error.h"

enum { MIB = 1 << 20, LARGE = 9 * MIB };

struct answered {
    bool done;
    struct error e;
};
/* volume_offline_fn; arg is a struct answered, which must not have been answered before. */
void on_done(const struct error *e, void *arg);

struct folder {
    char *bytes;                     /* LARGE, the caller's; of every file, MIB of them in two and other */
    uint64_t dir, sub, one, two, other;
};
/* d/one, d/sub/two and other; only the root is listed, so what is below d has no number yet. */
struct folder some_files(struct rig *rig);
void find_files(struct rig *rig, struct folder *t);   /* they have */

/* What of it is on the disk. */
bool is_here(struct rig *rig, uint64_t ino);
