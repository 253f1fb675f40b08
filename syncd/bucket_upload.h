/* Uploads that somebody asked for, beside the drives: one file, one object. */
#pragma once

#include "syncd/haul.h"

struct bucket_upload_spec {
    const char *id;       /* of the transfer; NULL: one is drawn */
    char *path;           /* shown: where the file is; copied */
    char *key;            /* copied */
    uint64_t size;        /* of the file */
    bool overwrite;       /* an object that is there may be replaced */
    const char *origin;   /* the request, if it may come again; borrowed */
    bool form;            /* the file has no name, so no other process can go on */
};

/* A haul that is to be opened (haul_open()), and then to begin or to be dropped. */
struct haul *bucket_upload_new(struct syncd *d, uint64_t trace);
/* Takes the descriptor over, in any case. 0 and it has begun, or a negative errno with a sentence. */
int bucket_upload_begin(struct haul *haul, int fd, const struct bucket_upload_spec *spec, struct error *e);
/* From its record, for haul_resume.c. */
void bucket_upload_resume(struct haul *haul, const struct store_haul *h, struct transfer_spec *ret_shown);
