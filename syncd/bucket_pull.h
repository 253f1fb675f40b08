/* One object of a bucket on its way into one file of this machine. Its bytes come into memory a chunk at a time and are
 * written from there in a thread. The file has no name until all of it is there, or, if it is a large one or the file
 * system wants one, another name; that is recorded before, and so is how much of it is on the disk. */
#pragma once

#include "syncd/haul.h"

struct pull;

struct pull_spec {
    int base;                  /* the folder that was named; borrowed */
    const char *folder;        /* below it, made where it is not there; "" */
    const char *name;          /* of the file; NULL: the folder is all there is */
    const char *key, *etag;    /* etag may be NULL */
    uint64_t size;
    int64_t mtime_ns;          /* unless its metadata say something else */
    const char *left;          /* a file that another process began; NULL: there is none */
    uint64_t left_bytes;       /* the first ones of it that are those of this version */
    int64_t since_ns;          /* what was put in its place since then may be the same object, by a process that could
                                  not say so any more; 0: there was none */
};

/* Of a pull that has ended: with all of the file there (why->code 0) or with nothing of it. pull_free() it. */
typedef void pull_done_fn(struct haul *e, struct pull *p, const struct error *why);

struct pull *pull_new(struct haul *e, const struct pull_spec *spec, pull_done_fn *done);
/* Begins, or goes on after a pause. */
void pull_go(struct pull *p);
uint64_t pull_moved(const struct pull *p);
const char *pull_key(const struct pull *p);
/* Whether its file has a name, and so is recorded, until all of it is there. */
bool pull_recorded(const struct pull *p);
/* Its haul is over, and nothing is under way: removes what there is of the file. */
void pull_undo(struct pull *p);
void pull_free(struct pull *p);   /* NULL is fine */
