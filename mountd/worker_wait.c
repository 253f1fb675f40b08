/* Owns how the next request is waited for. A program that waits for each of its answers asks again within microseconds.
 * To fall asleep and be woken costs more than that where the two run on different processors, most of all in a virtual
 * machine, where a halted processor is woken by its host. So what is likely to come at once is waited for awake.
 *
 * Likely is what the last requests did. A wait in vain, as it always is where the program needs this very processor,
 * doubles how many must have come quickly before the next one.
 *
 * The same goes for what cryptd does in as little time.
 *
 * Must not know what a request says. */
#include <errno.h>

#include "common/loop.h"
#include "common/number.h"
#include "mountd/worker_internal.h"

enum { QUICK_FIRST = 4, QUICK_MAX = 4096 };

static const int64_t AWAKE_NS = 60000;
static const int64_t QUICK_NS = 5 * AWAKE_NS;   /* with falling asleep and being woken */

void wait_ended(struct worker *w)
{
    bool quick = w->now_ns - w->wait.since_ns < QUICK_NS;

    w->wait.quick = quick ? least(w->wait.quick + 1, QUICK_MAX) : 0;
}

/* What waits for others is answered by events, which would not be seen meanwhile. */
static bool is_likely(const struct worker *w)
{
    return w->ops == 0 && w->wait.quick >= most(w->wait.needed, QUICK_FIRST);
}

static int receive_awake(struct worker *w)
{
    int64_t until = w->wait.since_ns + AWAKE_NS;
    int r;

    do
        r = fuse_session_receive_buf(w->session, &w->buf);
    while (r == -EAGAIN && (w->now_ns = loop_now_ns()) < until);
    return r;
}

int wait_receive(struct worker *w)
{
    int r = fuse_session_receive_buf(w->session, &w->buf);

    if (r != -EAGAIN)
        return r;
    w->wait.since_ns = loop_now_ns();
    if (!is_likely(w))
        return r;
    r = receive_awake(w);
    w->wait.needed = r == -EAGAIN ? least(most(w->wait.needed, QUICK_FIRST) * 2, QUICK_MAX) : QUICK_FIRST;
    w->wait.quick = r == -EAGAIN ? 0 : QUICK_MAX;
    return r;
}

/* --- for cryptd ------------------------------------------------------------------------------------------------- */

enum { VAIN_MAX = 10 };

/* Each turn of the loop looks for events. */
static void stay_awake(void *arg)
{
    struct worker *w = arg;

    w->wait.awake = w->wait.asked > 0 && loop_now_ns() < w->wait.until_ns;
    if (w->wait.awake) {
        loop_defer(w->loop, stay_awake, w);
    } else if (w->wait.asked > 0) {
        w->wait.vain = (unsigned)least(w->wait.vain + 1, VAIN_MAX);
        w->wait.pass = 1U << w->wait.vain;
    }
}

void wait_asked(struct worker *w)
{
    w->wait.asked++;
    if (w->wait.pass > 0) {
        w->wait.pass--;
        return;
    }
    w->wait.until_ns = loop_now_ns() + AWAKE_NS;
    if (!w->wait.awake) {
        w->wait.awake = true;
        loop_defer(w->loop, stay_awake, w);
    }
}

void wait_answered(struct worker *w)
{
    if (--w->wait.asked == 0 && w->wait.awake)
        w->wait.vain = 0;
}
