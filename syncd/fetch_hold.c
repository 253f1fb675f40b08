/* Owns what people ask of a file's download: that it waits, goes on, or ends. It is asked of what is fetched for later:
 * a pin, something that is fetched once, what nobody has read yet. Whoever needs bytes now gets them all the same.
 *
 * Must not know how the bytes come, nor who fetches for later (pin.c, download.c, scan.c). */
#include "syncd/fetch_internal.h"

#include <errno.h>

#include "syncd/fetch_turns.h"
#include "syncd/transfer.h"

/* What is under way may be for later; for who waits now it starts anew. */
static void start_anew(struct cache_file *f)
{
    cache_hold(f);
    f->fetch.window = f->fetch.ahead = 0;
    fetch_stop(f);
    fetch_go_on(f);
    cache_release(f);
}

static int pause_it(void *arg, struct error *e)
{
    struct cache_file *f = arg;
    struct volume *v = f->volume;

    (void)e;
    f->fetch.paused = true;
    show_fetch_idle(f);
    start_anew(f);   /* it may be gone */
    fetch_turns_changed(v);
    return 0;
}

static int resume_it(void *arg, struct error *e)
{
    struct cache_file *f = arg;

    (void)e;
    f->fetch.paused = false;
    fetch_go_on(f);
    show_fetch_idle(f);
    return 0;
}

static int cancel_it(void *arg, struct error *e)
{
    struct cache_file *f = cache_hold(arg);

    error_set(e, -ECANCELED, "Its download was canceled.");
    show_fetch_failed(f, e);
    fetch_fail_patient(f, e);
    start_anew(f);
    cache_release(f);
    return 0;
}

const struct transfer_control fetch_control = { .pause = pause_it, .resume = resume_it, .cancel = cancel_it };
