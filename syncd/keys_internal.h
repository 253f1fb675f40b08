/* The parts of a drive's keys as they see each other: keys.c opens them and asks with them, keys_lend.c lends them to
 * workers, keys_change.c changes them. */
#pragma once

#include <sys/queue.h>

#include "syncd/keys.h"
#include "syncd/store.h"

enum keys_phase {
    KEYS_WAITING,                 /* for a connection to cryptd */
    KEYS_OPENING,
    KEYS_OPEN,
    KEYS_SHUT,                    /* they cannot be opened: `error` */
    KEYS_STOPPED,
};

enum { KEYS_ESCROW_MAX = 8, KEYS_RECIPIENT_SIZE = 64 };

struct keys {
    struct keys_spec spec;
    char *id;
    enum keys_phase phase;
    struct error error;           /* why they are shut, or not open yet */
    bool other_store;             /* cryptd's reason was that */
    uint64_t handle;              /* 0: none */
    uint64_t opening;             /* the call; 0: none */
    struct loop_timer *again;     /* what is to be opened once more, or answered */
    TAILQ_HEAD(askings, asking) askings;
    LIST_HEAD(, loan) loans;
    struct change *change;        /* under way */
    struct {
        struct keys_facts is;     /* recipient NULL: none yet */
        uint32_t epochs[KEYS_EPOCHS_MAX];
        char recipient[KEYS_RECIPIENT_SIZE];
        char escrow[KEYS_ESCROW_MAX][KEYS_RECIPIENT_SIZE], *escrow_list[KEYS_ESCROW_MAX];
    } facts;
};

/* The handle is known to be good for nothing: the keys are opened anew, unless that is under way. */
void keys_lose_handle(struct keys *k, uint64_t handle);
/* Takes what cryptd says of opened keys. */
void keys_take_facts(struct keys *k, const Lf__DriveKeysOpened *opened);

/* --- keys_lend.c ------------------------------------------------------------------------------------------- */

/* The keys are open (anew): each worker gets another channel. */
void keys_lend_all(struct keys *k);
void keys_lend_end(struct keys *k);

/* --- keys_change.c ----------------------------------------------------------------------------------------- */

void keys_change_end(struct keys *k);
