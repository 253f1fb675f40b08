/* Agent status and commands. A pause survives a restart. */
#include "syncd/agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/drive.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

/* Numbers of the contract. */
enum { STATUS_STARTED = 1, STATUS_PAUSED = 4 };

static const char PAUSED[] = "agent.paused", LAST_COMMAND[] = "agent.last_command";

int agent_load(struct syncd *d)
{
    CLEANUP_FREE char *value = NULL;
    int r = store_setting_get(d->store, PAUSED, &value);

    if (r < 0 && r != -ENOENT)
        return r;
    d->paused = r == 0 && strcmp(value, "1") == 0;
    return 0;
}

void agent_status(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct syncd *d = daemon;
    Lf__AgentStatus status = LF__AGENT_STATUS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(AGENT_STATUS, agent_status, &status);

    (void)env;
    (void)fds;
    status.status = d->paused ? STATUS_PAUSED : STATUS_STARTED;
    ipc_reply(req, &reply, NULL, 0);
}

/* --- commands --------------------------------------------------------------------------------- */

static void nobody_waits(void *arg)
{
    (void)arg;
}

static int set_paused(struct syncd *d, bool paused, struct error *e)
{
    int r;

    if (d->paused == paused)
        return error_set(e, -EINVAL, paused ? "The agent is paused already." : "The agent is not paused.");
    r = store_setting_set(d->store, PAUSED, paused ? "1" : "0");
    if (r < 0)
        return error_set(e, r, "The state of the agent could not be stored.");
    d->paused = paused;
    if (paused)
        drive_tell_all(d, nobody_waits, NULL);
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->volume)
            volume_pause(drive->volume, paused);
    return 0;
}

static int pause_agent(struct syncd *d, struct error *e)
{
    return set_paused(d, true, e);
}

static int resume_agent(struct syncd *d, struct error *e)
{
    return set_paused(d, false, e);
}

static int refuse_start(struct syncd *d, struct error *e)
{
    (void)d;
    return error_set(e, -EOPNOTSUPP, "Start signs a user in with a token; users are not available yet. The agent "
                     "runs for its local owner.");
}

static int refuse_dispose(struct syncd *d, struct error *e)
{
    (void)d;
    return error_set(e, -EOPNOTSUPP, "Dispose signs the user out; users are not available yet.");
}

static int refuse_exit(struct syncd *d, struct error *e)
{
    (void)d;
    return error_set(e, -EINVAL, "Exit ends the whole agent and is not a command to this process.");
}

static const struct {
    int32_t number;
    int (*carry_out)(struct syncd *d, struct error *e);
} COMMANDS[] = {
    { 0, refuse_start },
    { 1, refuse_dispose },
    { 2, pause_agent },
    { 4, resume_agent },
    { 8, refuse_exit },
};

static int carry_out(struct syncd *d, int32_t number, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++)
        if (COMMANDS[i].number == number)
            return COMMANDS[i].carry_out(d, e);
    return error_set(e, -EINVAL, "There is no command %d.", (int)number);
}

static void identity(const struct ipc_request *req, char *out, size_t size)
{
    struct ipc_identity who = ipc_request_identity(req);

    snprintf(out, size, "%" PRIx64 ":%" PRIx64, who.instance, who.id);
}

/* A restart may come between effect and answer; the caller then asks the same again. */
static bool repeated(struct syncd *d, const char *who)
{
    CLEANUP_FREE char *last = NULL;

    return store_setting_get(d->store, LAST_COMMAND, &last) == 0 && strcmp(last, who) == 0;
}

void agent_command(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    char who[40];
    struct error e = { 0 };

    (void)fds;
    identity(req, who, sizeof(who));
    if (!repeated(daemon, who)) {
        if (carry_out(daemon, env->agent_command->command, &e) < 0) {
            ipc_fail_error(req, &e);
            return;
        }
        (void)store_setting_set(((struct syncd *)daemon)->store, LAST_COMMAND, who);
        LOG_TRACE(LOG_NOTICE, ipc_request_trace(req), "agent_command", "command=%d", (int)env->agent_command->command);
    }
    ipc_done(req);
}

struct shutdown {
    struct syncd *d;
    struct ipc_request *req;
};

static void shut_down(void *arg)
{
    struct shutdown s = *(struct shutdown *)arg;

    free(arg);
    syncd_close(s.d);
    ipc_done(s.req);
    loop_stop(s.d->loop);
}

void agent_shutdown(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct shutdown *s = xcalloc(1, sizeof(*s));

    (void)env;
    (void)fds;
    *s = (struct shutdown){ daemon, req };
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(req), "shutdown");
    drive_tell_all(s->d, shut_down, s);
}
