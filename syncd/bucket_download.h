/* Downloads that somebody asked for, beside the drives: one object into a folder of this machine, or all below a
 * prefix. */
#pragma once

#include "syncd/haul.h"

struct bucket_download_spec {
    const char *id;         /* of the transfer; NULL: one is drawn */
    const char *folder;     /* of this machine, plain (local_path()); copied */
    const char *key;        /* of the object, or the prefix: "" or with a slash at its end; copied */
    bool tree;              /* all that is below the prefix */
    const char *origin;     /* the request, if it may come again; borrowed */
};

/* As those of bucket_upload.h. `dir` is the folder, opened. */
struct haul *bucket_download_new(struct syncd *d, uint64_t trace);
int bucket_download_begin(struct haul *haul, int dir, const struct bucket_download_spec *spec, struct error *e);
void bucket_download_resume(struct haul *haul, const struct store_haul *h, struct transfer_spec *ret_shown);
