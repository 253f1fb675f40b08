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
enum { ABSENT_PATIENCE_MS = 5000, COMMAND_EXIT = 8 };

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

/* True when it was, and there is no departure any more. */
static bool is_refused(struct departure *d, const struct error *e)
{
    if (!has_refused(e->code))
        return false;
    if (d->exchange) {
        d->exchange->state = NULL;
        exchange_fail(d->exchange, e);
    }
    free(d);
    return true;
}

static void depart_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct departure *d = arg;

    (void)fds;
    if (!reply)
        LOG(LOG_WARNING, "shutdown_failed", "of=%s", role_name(exit_order[d->next]), "error=%s", error_text(e));
    if (!reply && is_refused(d, e))
        return;
    d->next++;
    depart(d);
}

/* How long a call to the process may take. */
static uint64_t patience_ms(const struct departure *d, enum role role)
{
    return ipc_client_connected(d->frontd->peers[role]) ? (uint64_t)d->frontd->config->ipc_timeout_seconds * 1000
                                                        : ABSENT_PATIENCE_MS;
}

static void depart(struct departure *d)
{
    Lf__Shutdown shutdown = LF__SHUTDOWN__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_SHUTDOWN, &shutdown.base);
    enum role role;

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
    role = exit_order[d->next];
    ipc_call(d->frontd->peers[role], &env, NULL, 0, patience_ms(d, role), depart_done, d);
}

static void drained(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)fds;
    if (reply || !is_refused(arg, e))
        depart(arg);
}

/* What is on its way to the clouds gets its time first. */
static void drain(struct departure *d)
{
    Lf__AgentCommand message = LF__AGENT_COMMAND__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_AGENT_COMMAND, &message.base);

    message.command = COMMAND_EXIT;
    ipc_call(d->frontd->peers[ROLE_SYNCD], &env, NULL, 0, patience_ms(d, ROLE_SYNCD), drained, d);
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
    drain(d);
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

static void refuse(struct exchange *x, const char *sentence)
{
    struct error e;

    (void)error_set(&e, -EINVAL, "%s", sentence);
    exchange_fail(x, &e);
}

static const struct command {
    int number;      /* of one digit */
    const char *name;
} commands[] = {
    { 0, "Start" }, { 1, "Dispose" }, { 2, "Pause" }, { 4, "Resume" }, { COMMAND_EXIT, "Exit" },
};

static bool is_meant(const struct command *c, const char *by)
{
    return strcasecmp(c->name, by) == 0 || (by[0] == '0' + c->number && !by[1]);
}

void command_serve(struct exchange *x)
{
    const char *cmd = x->match.params[0].value;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!is_meant(&commands[i], cmd))
            continue;
        if (commands[i].number == COMMAND_EXIT)
            serve_exit(x);
        else
            tell_syncd(x, commands[i].number);
        return;
    }
    refuse(x, "There is no such command; the commands are 0 Start, 1 Dispose, 2 Pause, 4 Resume and 8 Exit.");
}
