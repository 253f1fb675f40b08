/* Draws the conclusions of reach.h from one request after the other. Must not know who waits for them. */
#include "syncd/reach.h"

#include <errno.h>

enum { PATIENCE_LEAST_MS = 500, PATIENCE_MOST_MS = 2000, USUAL_TIMES = 4, USUAL_FADES = 8 };

#define MS INT64_C(1000000)

/* Others take their time in a cloud that is well: it copies, or puts a large object together. What goes into a pipe
 * stands still when its reader does. */
static bool is_soon_answered(const struct cloud_request *r)
{
    return r->op == CLOUD_LIST || r->op == CLOUD_STAT || (r->op == CLOUD_GET && !r->data);
}

static bool is_unanswered(int code)
{
    return code == -EHOSTUNREACH || code == -ETIMEDOUT;
}

static void tell(struct reach *w)
{
    if (w->changed)
        w->changed(w->arg);
}

void reach_heard(struct reach *w)
{
    w->heard_ns = loop_now_ns();
    w->silent_ns = w->n_asked ? w->heard_ns : 0;
    if (!w->trouble.code)
        return;
    w->trouble.code = 0;
    tell(w);
}

void reach_sent(struct reach *w)
{
    if (w->silent_ns)
        w->silent_ns = loop_now_ns();
}

void reach_lose(struct reach *w, const struct error *why)
{
    bool lost = w->trouble.code;

    w->trouble = *why;
    if (!lost)
        tell(w);
}

void reach_missed(struct reach *w, int64_t tried_ns, const struct error *why)
{
    if (w->heard_ns < tried_ns && loop_now_ns() - w->heard_ns >= PATIENCE_LEAST_MS * MS)
        reach_lose(w, why);
}

void reach_asked(struct reach *w, const struct cloud_request *r)
{
    if (is_soon_answered(r) && w->n_asked++ == 0)
        w->silent_ns = loop_now_ns();
}

/* One that takes long counts at once, ones that take less only in the long run. */
static void learn(struct reach *w, int64_t took_ns)
{
    w->usual_ns -= w->usual_ns / USUAL_FADES;
    if (took_ns > w->usual_ns)
        w->usual_ns = took_ns;
}

void reach_ended(struct reach *w, const struct cloud_request *r)
{
    int code = r->error.code;

    if (is_soon_answered(r) && --w->n_asked == 0)
        w->silent_ns = 0;
    if (code == 0 && r->op == CLOUD_LIST)
        learn(w, loop_now_ns() - r->submitted_ns);
    if (code == 0 || code == -ENOENT)
        reach_heard(w);
    else if (is_unanswered(code) && w->heard_ns < r->submitted_ns)
        reach_lose(w, &r->error);
}

static int64_t silence_ms(const struct reach *w)
{
    return w->silent_ns ? (loop_now_ns() - w->silent_ns) / MS : 0;
}

bool reach_lost(struct reach *w)
{
    static const struct error silent = { -ETIMEDOUT, "It has said nothing for some time." };

    if (!w->trouble.code && silence_ms(w) >= PATIENCE_MOST_MS)
        reach_lose(w, &silent);
    return w->trouble.code;
}

int64_t reach_patience_ms(const struct reach *w)
{
    int64_t ms = USUAL_TIMES * w->usual_ns / MS;

    if (w->trouble.code)
        return 0;
    if (ms < PATIENCE_LEAST_MS)
        ms = PATIENCE_LEAST_MS;
    return (ms < PATIENCE_MOST_MS ? ms : PATIENCE_MOST_MS) - silence_ms(w);
}
