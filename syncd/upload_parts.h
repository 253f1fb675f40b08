/* An upload in parts, as upload_parts.c and upload_resume.c share it. */
#pragma once

#include "syncd/upload.h"

struct upload_parts {
    bool copy;                     /* all of it is copied: nothing is read here */
    char *upload_id;
    uint64_t part_size;
    uint32_t n, next;              /* parts in all; the first that was not looked at yet */
    struct cloud_part *parts;      /* etag NULL: not there yet */
    bool *copied;                  /* from the version in the cloud; else sent */
    bool compared;                 /* with what the cloud lists */
    bool making;                   /* the body of a part that is not sent as it lies here; */
    bool changed;                  /* which was to be of other bytes than were sent before */
    int body;                      /* of the one that is compared */
    bool copy_failed;              /* what `error` is of */
    struct error error;            /* the first failure; the rest is canceled */
};

uint64_t upload_part_length(const struct upload *u, uint32_t n);
/* Sends or copies one; `body` (-1: the file's own bytes) is its from here on. 0 or negative errno. */
int upload_part_send(struct upload *u, uint32_t n, int body);
/* upload_parts_seal.c: whether parts are made before they are sent, since they do not lie here as they go up. */
bool upload_parts_are_made(const struct upload *u);
/* Then: begins the next one if there is one and it may begin. Whether something is being made; then the change may have
 * ended. */
bool upload_parts_make(struct upload *u);
/* Sends or copies what is not there yet, and then ends the upload. */
void upload_parts_go_on(struct upload *u);
/* The upload is unknown: perhaps because an earlier try ended it. */
void upload_parts_unknown(struct upload *u);
/* upload_resume.c: asks which parts are there, keeps those that have the bytes that would be sent, and goes on. */
void upload_parts_compare(struct upload *u);
