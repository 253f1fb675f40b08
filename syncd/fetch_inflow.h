/* What fetch_object.c and fetch_inflow.c share. */
#pragma once

#include "syncd/fetch_internal.h"
#include "syncd/object.h"

enum { FETCH_WAITING_MOST = 2 << 20 };

/* What is known of the version that the file's bytes come from. */
struct fetch_object {
    char *etag;
    enum index_object_kind kind;
    bool opening;                  /* its head is on its way, or at cryptd */
    bool opened;
    struct object_key key;
    uint64_t head_room;            /* bytes that the head is looked for in */
};

/* Bytes of a transfer that are not in the cache file yet. */
struct fetch_inflow {
    uint8_t *bytes;
    size_t n, skip, room;          /* `n` behind `skip`, which are done with */
    uint64_t at;                   /* where in the object they begin */
    uint64_t asked;                /* bytes of the object that were asked for */
    bool plain;                    /* they are the file's own */
    bool at_head, opening, writing, paused, over;
    unsigned busy;                 /* calls on the stack */
    bool single;                   /* chunk by chunk, since one of several did not open */
    uint64_t length;               /* of what is being written */
    size_t taken;                  /* and of its bytes here */
    struct error error;            /* of the request */
};

/* --- fetch_inflow.c ------------------------------------------------------------------------------------ */

/* Around what may end the transfer: its memory stays until the last one is left. */
void inflow_enter(struct fetch_transfer *t);
void inflow_leave(struct fetch_transfer *t);
/* Nothing is left to do, or nothing is to be hoped for. */
void inflow_end(struct fetch_transfer *t, const struct error *e);
void inflow_append(struct fetch_inflow *in, const void *bytes, size_t n);
/* They are done with. */
void inflow_consume(struct fetch_inflow *in, size_t n);
/* Writes what is whole, or ends. */
void inflow_write(struct fetch_transfer *t);

/* --- fetch_object.c ------------------------------------------------------------------------------------ */

/* Goes on with what is there. */
void object_go_on(struct fetch_transfer *t);
/* The chunk at this byte did not open. */
void object_note_bad(struct cache_file *f, uint64_t at);
