/* What transfer.c (the list, frames) and transfer_api.c (what is asked of them) share. */
#pragma once

#include <sys/queue.h>

#include "common/text.h"
#include "syncd/transfer.h"

enum { SPAN_SIZE = 48 };

enum transfer_status {
    TRANSFER_RUNNING, TRANSFER_PAUSED, TRANSFER_COMPLETED, TRANSFER_FAILED, TRANSFER_CANCELED, TRANSFER_STATUSES
};

/* The contract has two sets of words for the same. */
extern const struct transfer_word { const char *frame, *api; } transfer_words[TRANSFER_STATUSES];

struct transfer {
    TAILQ_ENTRY(transfer) next;
    struct transfers *all;
    char id[ID_SIZE];
    enum transfer_mode mode;
    enum transfer_status status, shown_status;
    char *storage_type, *storage_name, *path, *key;
    char *error;                   /* a sentence; NULL: none */
    uint64_t size, moved, shown_moved;
    int64_t begun_ns, shown_ns;    /* of loop_now_ns(), as the next two */
    int64_t paused_since_ns, paused_ns;
    int64_t begun_wall_ns, ended_wall_ns;
    const struct transfer_control *control;   /* NULL: nothing can be asked, or it is over */
    void *arg;
};

TAILQ_HEAD(transfer_list_head, transfer);

struct transfers {
    struct loop *loop;
    struct events *events;
    struct transfer_list_head list;   /* oldest first */
    size_t n_over;
    struct loop_timer *timer;         /* while something runs and somebody listens */
};

static inline bool is_over(const struct transfer *t)
{
    return t->status >= TRANSFER_COMPLETED;
}

/* NULL: none of them has that id. */
struct transfer *transfer_find(const struct transfers *all, const char *id);
/* As a .NET TimeSpan is written: [days.]hh:mm:ss[.fffffff]. */
void transfer_span(int64_t ns, char out[SPAN_SIZE]);
/* Asks its owner how far it is. */
void transfer_look(struct transfer *t);
/* It has another status from now on, as everybody hears. */
void transfer_turn(struct transfer *t, enum transfer_status status);
