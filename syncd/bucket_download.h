/* Downloads that somebody asked for, beside the drives: one object into a folder of this machine, or all below a
 * prefix. */
#pragma once

#include "syncd/haul.h"

struct bucket_download_spec {
    const char *id;         /* of the transfer; NULL: one is drawn */
    const char *folder;     /* of this machine, plain (local_path()); copied */
    const char *key;        /* of the object, or the prefix: "" or with a slash at its end; copied */
    bool tree;              /* all that is below the prefix */
};

/* As those of bucket_upload.h. `dir` is the folder, opened. */
struct haul *bucket_download_new(struct syncd *d, uint64_t trace);
int bucket_download_begin(struct haul *haul, int dir, const struct bucket_download_spec *spec, const char **ret_id,
                          struct error *e);

/* Where below the folder the object of a prefix comes: `folder` (owned by the caller, "" is the folder itself) and
 * *ret_name, borrowed from the key; NULL: the key is that of a folder's marker. 0, or a negative errno with why no file
 * here can have that name: an empty component, "." or "..", or one that is too long. Pure. */
int bucket_download_place(const char *prefix, const char *key, char **ret_folder, const char **ret_name,
                          struct error *e);
