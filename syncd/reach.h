/* Whether a drive's cloud answers, by what becomes of the drive's requests, whatever they are for. Part of its tally,
 * which all of them hold. Asks nobody anything (listing_probe.c does). */
#pragma once

#include "syncd/cloud.h"

struct reach {
    struct error trouble;          /* why the cloud is out of reach; code 0: it is not */
    unsigned n_asked;              /* requests under way that a cloud within reach answers soon */
    int64_t heard_ns;              /* of loop_now_ns(), as the next one: when it last answered anything; 0: never */
    int64_t silent_ns;             /* since when one of those waits and nothing was heard; 0: none waits */
    int64_t usual_ns;              /* what requests for listings take lately */
    void (*changed)(void *arg);    /* it is out of reach, or within it again. May be NULL. Nothing may be done in it
                                      but to remember that. */
    void *arg;
};

/* A request is submitted; it has ended, with r->error. */
void reach_asked(struct reach *w, const struct cloud_request *r);
void reach_ended(struct reach *w, const struct cloud_request *r);
/* The cloud has said something: ends the trouble, if there is any. */
void reach_heard(struct reach *w);
/* It takes what is sent, as far as the kernel can tell: that is no silence, but no answer either. */
void reach_sent(struct reach *w);
/* It could not be reached; by a try that began then, which says nothing where it was heard since, or a moment ago: it
 * may only refuse one connection more. */
void reach_lose(struct reach *w, const struct error *why);
void reach_missed(struct reach *w, int64_t tried_ns, const struct error *why);

/* Whether it is out of reach: a request that began after it was last heard of was not answered, or nothing was heard
 * for 2 s though something was asked. */
bool reach_lost(struct reach *w);
/* For how much longer it makes sense to wait for its answer where something older serves as well, in ms; not positive:
 * no more. Four times what a listing usually takes, 0.5 s at least and 2 s at most, since it was last heard of or, if
 * nothing was asked then, since the first question. */
int64_t reach_patience_ms(const struct reach *w);
