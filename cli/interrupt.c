/* The signals are blocked elsewhere, so that none is lost between a look and the wait. */
#include "cli/interrupt.h"

#include <stddef.h>

#include "common/cleanup.h"

static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t came;

static void on_end(int sig)
{
    (void)sig;
    came = 1;
}

static void on_other(int sig)
{
    (void)sig;
}

static void catch_one(int sig, void (*handler)(int sig), sigset_t *blocked)
{
    const struct sigaction action = { .sa_handler = handler };

    (void)sigaddset(blocked, sig);
    (void)sigaction(sig, &action, NULL);
}

void interrupt_catch(sigset_t *ret_mask)
{
    sigset_t blocked;

    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        catch_one(ends[i], on_end, &blocked);
    catch_one(SIGWINCH, on_other, &blocked);
    (void)sigprocmask(SIG_BLOCK, &blocked, ret_mask);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        (void)sigdelset(ret_mask, ends[i]);
    (void)sigdelset(ret_mask, SIGWINCH);
}

bool interrupt_came(void)
{
    return came;
}
