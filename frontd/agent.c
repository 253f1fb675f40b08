/* Commands, and the end of all four processes. */
#include "frontd/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "frontd/call.h"
#include "frontd/feeds.h"

/* For a process that is not connected and may be starting just now. */
enum { ABSENT_PATIENCE_MS = 5000 };

/* --- exit ---------------------------------------------------------------------------------- */

static const enum role exit_order[] = { ROLE_MOUNTD, ROLE_SYNCD, ROLE_CRYPTD };

struct departure {
    struct frontd *frontd;
    struct exchange *exchange; /* NULL once its client is gone */
    size_t next;               /* in exit_order */
};

static void depart(struct departure *d);

/* A process that breaks off or cannot be reached is as good as ended; one that refuses stops the departure. */
static bool has_refused(int code)
{
    return code != -ECONNRESET && code != -ENOTCONN && code != -ETIMEDOUT;
}

static void depart_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct departure *d = arg;
    const char *role = role_name(exit_order[d->next]);

    (void)fds;
    if (!reply)
        LOG(LOG_WARNING, "shutdown_failed", "of=%s", role, "error=%s", error_text(e));
    if (!reply && has_refused(e->code)) {
        if (d->exchange) {
            d->exchange->state = NULL;
            exchange_fail(d->exchange, e);
        }
        free(d);
        return;
    }
    d->next++;
    depart(d);
}

static void depart(struct departure *d)
{
    Lf__Shutdown shutdown = LF__SHUTDOWN__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_SHUTDOWN, &shutdown.base);
    struct ipc_client *peer;

    if (d->next == ARRAY_SIZE(exit_order)) {
        feeds_tell_exit(d->frontd->feeds, d->exchange);
        frontd_stop(d->frontd);
        if (d->exchange) {
            d->exchange->state = NULL;
            exchange_empty(d->exchange);
        }
        free(d);
        return;
    }
    peer = d->frontd->peers[exit_order[d->next]];
    ipc_call(peer, &env, NULL, 0,
             ipc_client_connected(peer) ? (uint64_t)d->frontd->config->ipc_timeout_seconds * 1000 : ABSENT_PATIENCE_MS,
             depart_done, d);
}

static void release(struct exchange *x)
{
    struct departure *d = x->state;

    if (d)
        d->exchange = NULL;
}

static void serve_exit(struct exchange *x)
{
    struct departure *d = xcalloc(1, sizeof(*d));

    d->frontd = x->frontd;
    d->exchange = x;
    x->state = d;
    x->release = release;
    depart(d);
}

/* --- the others ---------------------------------------------------------------------------- */

static void tell_syncd_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (reply)
        exchange_empty(x);
    else
        exchange_fail(x, e);
}

static void tell_syncd(struct exchange *x, int command)
{
    Lf__AgentCommand message = LF__AGENT_COMMAND__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_AGENT_COMMAND, &message.base);

    message.command = command;
    exchange_ask(x, ROLE_SYNCD, &env, tell_syncd_done);
}

static void serve_pause(struct exchange *x)
{
    tell_syncd(x, 2);
}

static void serve_resume(struct exchange *x)
{
    tell_syncd(x, 4);
}

static void refuse(struct exchange *x, int code, const char *sentence)
{
    struct error e;

    (void)error_set(&e, code, "%s", sentence);
    exchange_fail(x, &e);
}

static void serve_start(struct exchange *x)
{
    refuse(x, -EOPNOTSUPP, "Start loads the account of a user, and there are no accounts of users yet; the agent runs "
                           "for the owner of this machine.");
}

static void serve_dispose(struct exchange *x)
{
    refuse(x, -EOPNOTSUPP, "Dispose signs a user out, and there are no accounts of users yet; the agent runs for the "
                           "owner of this machine.");
}

static const struct command {
    const char *number, *name;
    void (*serve)(struct exchange *x);
} commands[] = {
    { "0", "Start", serve_start },   { "1", "Dispose", serve_dispose }, { "2", "Pause", serve_pause },
    { "4", "Resume", serve_resume }, { "8", "Exit", serve_exit },
};

void command_serve(struct exchange *x)
{
    const char *cmd = x->match.params[0].value;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].number, cmd) == 0 || strcasecmp(commands[i].name, cmd) == 0) {
            commands[i].serve(x);
            return;
        }
    }
    refuse(x, -EINVAL, "There is no such command; the commands are 0 Start, 1 Dispose, 2 Pause, 4 Resume and 8 Exit.");
}
