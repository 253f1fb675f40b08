/* Owns the process's SIGBUS: which maps survive it. Must not know what is in them.
 *
 * The signal comes from an access to a map, never from within this file, so the handler finds the list whole. What it
 * calls is a system call, or `lost`. */
#include "common/map_guard.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

static LIST_HEAD(, map_guard) guards = LIST_HEAD_INITIALIZER(guards);

static struct map_guard *find(const char *at)
{
    struct map_guard *g;

    LIST_FOREACH(g, &guards, next)
        if (at >= g->at && at < g->at + g->size)
            return g;
    return NULL;
}

static int replace(const struct map_guard *g)
{
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    void *at = mmap(g->at, g->size, PROT_READ | PROT_WRITE, how, -1, 0);

    return at == MAP_FAILED ? -errno : 0;
}

/* An access is repeated and finds no handler; what somebody sent is sent again. */
static void end_process(int sig, bool sent)
{
    (void)signal(sig, SIG_DFL);
    if (sent)
        (void)raise(sig);
}

static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    bool sent = info->si_code <= 0;   /* by a process: then there is no address */
    struct map_guard *g = sent ? NULL : find(info->si_addr);
    int saved = errno;

    (void)context;
    if (g && !g->is_lost && replace(g) == 0) {
        g->is_lost = 1;
        g->lost(g->at);
    } else {
        end_process(sig, sent);
    }
    errno = saved;
}

void map_guard_add(struct map_guard *g, void *at, size_t size, void (*lost)(void *at))
{
    struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART };

    if (LIST_EMPTY(&guards) && sigaction(SIGBUS, &action, NULL) < 0)
        abort();
    *g = (struct map_guard){ .at = at, .size = size, .lost = lost };
    LIST_INSERT_HEAD(&guards, g, next);
}

void map_guard_remove(struct map_guard *g)
{
    if (!g->at)
        return;
    LIST_REMOVE(g, next);
    g->at = NULL;
}
