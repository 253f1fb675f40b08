/* Which objects of a download have ended, in the order of their keys: so that another process knows where to go on. It
 * is recorded once a second, up to where all have ended and what has ended behind that; what ended since comes a second
 * time then (bucket_pull.h knows it by its file). */
#pragma once

#include "syncd/haul.h"

struct bucket_ended {
    struct store_haul_progress progress;
    struct ended_object {
        char *key;
        uint64_t bytes;
        struct error *why;      /* NULL: it is there */
        bool recorded;
    } *objects;                 /* that ended behind progress.after */
    size_t n;
    int64_t recorded_ns;
};

/* why NULL: all of it is there. */
void bucket_ended_add(struct bucket_ended *b, const char *key, uint64_t bytes, const struct error *why);
/* All objects up to the key have ended. `now`: it does not wait for the second. */
void bucket_ended_up_to(struct bucket_ended *b, struct haul *e, const char *key, bool now);
void bucket_ended_free(struct bucket_ended *b);   /* its contents */
