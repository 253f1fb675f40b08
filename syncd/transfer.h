/* Transfers: what moves the bytes of one file between this machine and a cloud, for those who watch it, pause it or
 * end it. Whoever moves them begins one here and ends it; everything else is done here: frames for the WebSockets (the
 * first, the last, and at most TRANSFER_FRAMES a second in between), what /cloud/client_transfer answers, and the
 * memory of those that have ended, of this process and the last TRANSFERS_KEPT. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ipc.h"
#include "common/loop.h"

enum { TRANSFER_FRAMES = 4, TRANSFERS_KEPT = 512 };

enum transfer_mode { TRANSFER_UPLOAD, TRANSFER_DOWNLOAD, TRANSFER_ENCRYPT, TRANSFER_DECRYPT };

/* What can be asked of its owner; a NULL member: it cannot. 0, or a negative errno with a sentence, and nothing has
 * changed: -EBADMSG, it cannot be done now, or never. None of them runs inside transfer_begin(); `cancel` may end the
 * transfer before it returns. */
struct transfer_control {
    int (*pause)(void *arg, struct error *e);
    int (*resume)(void *arg, struct error *e);
    int (*cancel)(void *arg, struct error *e);
    uint64_t (*moved)(void *arg);   /* how many bytes by now; NULL: the owner says so by transfer_moved() */
};

struct transfer_spec {
    const char *id;                 /* a UUID; NULL: one is drawn */
    enum transfer_mode mode;
    const char *storage_type;       /* the provider's name */
    const char *storage_name;       /* bucket; may be NULL */
    const char *path;               /* on this machine, absolute */
    const char *key;                /* of the object */
    uint64_t size;                  /* bytes in all; what is not known is 0 until transfer_set_size() */
    const struct transfer_control *control;   /* borrowed, static; NULL: nothing can be asked */
    void *arg;
    bool paused;                    /* it begins so; for one that an earlier process began: */
    int64_t begun_wall_ns;          /* when that was; 0: now */
};

struct events;
struct transfer;
struct transfers;

struct transfers *transfers_new(struct loop *l, struct events *events);
/* NULL is fine. All have ended, or their owners say nothing any more. */
void transfers_free(struct transfers *all);

/* Never NULL but where `all` is, which is fine: then nobody watches, and the other calls take NULL as well. All strings
 * are copied. An id that another one has is replaced by one that is drawn. */
struct transfer *transfer_begin(struct transfers *all, const struct transfer_spec *spec);
/* From now on it is somebody else's. */
void transfer_hand_over(struct transfer *t, const struct transfer_control *control, void *arg);
/* Lives as long as the transfer does for its owner. */
const char *transfer_id(const struct transfer *t);
void transfer_set_size(struct transfer *t, uint64_t size);
/* So many bytes by now; fewer than before when it begins anew. */
void transfer_moved(struct transfer *t, uint64_t bytes);
/* It has ended: e NULL or code 0, all of it; -ECANCELED, by somebody's wish; else it failed, with that sentence. The
 * owner forgets it. */
void transfer_end(struct transfer *t, const struct error *e);
/* It goes on in the next process, which begins it again: nobody hears of it here any more. */
void transfer_leave(struct transfer *t);

ipc_handler_fn transfer_list, transfer_get, transfer_pause, transfer_resume, transfer_cancel;
