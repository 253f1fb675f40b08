/* Uploads that somebody asked for, beside the drives: one file, one object. */
#pragma once

#include "syncd/haul.h"

struct bucket_upload_spec {
    const char *id;       /* of the transfer; NULL: one is drawn */
    char *path;           /* shown: where the file is; copied */
    char *key;            /* copied */
    uint64_t size;        /* of the file */
    bool overwrite;       /* an object that is there may be replaced */
};

/* A haul that is to be opened (haul_open()), and then to begin or to be dropped. */
struct haul *bucket_upload_new(struct syncd *d, uint64_t trace);
/* Takes the descriptor over, in any case. 0 with the transfer's id, or a negative errno with a sentence. */
int bucket_upload_begin(struct haul *haul, int fd, const struct bucket_upload_spec *spec, const char **ret_id,
                        struct error *e);
