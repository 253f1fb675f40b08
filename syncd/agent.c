/* The states as a table of commands. What a command brings about is stored before it is answered. */
#include "syncd/agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/drive.h"
#include "syncd/haul.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/store_index.h"
#include "syncd/syncd.h"

static const char STATE[] = "agent.state", LAST_COMMAND[] = "agent.last_command";
static const char WAS_PAUSED[] = "agent.paused";   /* "1": as older versions stored it, in place of a state */

/* --- what is stored --------------------------------------------------------------------------------------- */

static int read_setting(struct syncd *d, const char *name, uint64_t *ret)
{
    CLEANUP_FREE char *value = NULL;
    int r = store_setting_get(d->store, name, &value);

    *ret = 0;
    if (r == 0 && !text_number(value, AGENT_DISPOSED, ret))
        return -EUCLEAN;
    return r == -ENOENT ? 0 : r;
}

int agent_load(struct syncd *d)
{
    uint64_t state = 0, paused = 0;
    int r = read_setting(d, STATE, &state);

    if (r == 0 && !state)
        r = read_setting(d, WAS_PAUSED, &paused);
    d->state = state ? (enum agent_state)state : paused ? AGENT_PAUSED : AGENT_STARTED;
    return r;
}

bool agent_rests(const struct syncd *d)
{
    return d->state != AGENT_STARTED;
}

bool agent_mounts(const struct syncd *d)
{
    return d->state != AGENT_DISPOSED;
}

int agent_check_idle(const struct syncd *d, struct error *e)
{
    return d->changing ? error_set(e, -EBUSY, "The agent is carrying out another command.") : 0;
}

/* A restart may come between effect and answer; the caller then asks the same again. */
static void identity(const struct ipc_request *req, char out[40])
{
    struct ipc_identity who = ipc_request_identity(req);

    (void)snprintf(out, 40, "%" PRIx64 ":%" PRIx64, who.instance, who.id);
}

static bool is_repeated(struct syncd *d, const struct ipc_request *req)
{
    CLEANUP_FREE char *last = NULL;
    char who[40];

    identity(req, who);
    return store_setting_get(d->store, LAST_COMMAND, &last) == 0 && strcmp(last, who) == 0;
}

static int set_state(struct syncd *d, const struct ipc_request *req, enum agent_state state, struct error *e)
{
    char text[8], who[40];
    const struct store_setting both[] = { { STATE, text }, { LAST_COMMAND, who } };
    int r;

    (void)snprintf(text, sizeof(text), "%d", (int)state);
    identity(req, who);
    r = store_settings_set(d->store, both, ARRAY_SIZE(both));
    if (r < 0)
        return error_set(e, r, "The state of the agent could not be stored.");
    d->state = state;
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->volume)
            volume_pause(drive->volume, agent_rests(d));
    hauls_turn(d->hauls);
    return 0;
}

/* --- commands --------------------------------------------------------------------------------------------- */

struct order {
    struct syncd *d;
    struct ipc_request *req;
    const struct command *command;
    unsigned seconds;              /* to drain */
    size_t waits;                  /* drives that are still to answer, and who asks them */
    struct error error;            /* the first one */
};

struct command {
    int32_t number;
    const char *name;
    unsigned from;                 /* the states that allow it */
    void (*carry_out)(struct order *o);
};

static void nobody_waits(void *arg)
{
    (void)arg;
}

static void end(struct order *o, const struct error *e)
{
    if (e) {
        ipc_fail_error(o->req, e);
    } else {
        LOG_TRACE(LOG_NOTICE, ipc_request_trace(o->req), "agent_command", "command=%s", o->command->name);
        ipc_done(o->req);
    }
    free(o);
}

static void turn(struct order *o, enum agent_state state)
{
    struct error e;

    end(o, set_state(o->d, o->req, state, &e) < 0 ? &e : NULL);
}

static void want_mounts(struct syncd *d)
{
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->phase == DRIVE_READY)
            drive_want(drive);
    mounts_changed(d);
}

static void start(struct order *o)
{
    struct syncd *d = o->d;

    turn(o, AGENT_STARTED);
    want_mounts(d);
}

static void pause_agent(struct order *o)
{
    struct syncd *d = o->d;

    turn(o, AGENT_PAUSED);
    drive_tell_all(d, nobody_waits, NULL);
}

static void resume(struct order *o)
{
    turn(o, AGENT_STARTED);
}

/* --- Dispose ---------------------------------------------------------------------------------------------- */

/* One that was being made or changed when the others were unmounted may be on its way. */
static void want_no_mounts(struct syncd *d)
{
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        drive->wanted = false;
    mounts_changed(d);
}

static void all_unmounted(struct order *o)
{
    struct syncd *d = o->d;
    bool refused = o->error.code;

    d->changing = false;
    if (refused)
        end(o, &o->error);
    else
        turn(o, AGENT_DISPOSED);
    if (agent_mounts(d))
        want_mounts(d);
    else
        want_no_mounts(d);
}

static void unmounted(const struct error *e, void *arg)
{
    struct order *o = arg;

    if (e && !o->error.code)
        o->error = *e;
    if (--o->waits == 0)
        all_unmounted(o);
}

static void dispose(struct order *o)
{
    o->d->changing = true;
    o->waits = 1;
    for (struct drive *drive = o->d->drives; drive; drive = drive->next)
        if (drive->phase == DRIVE_READY) {
            o->waits++;
            mounts_withdraw(o->d, drive, unmounted, o);
        }
    unmounted(NULL, o);
}

/* --- Exit ------------------------------------------------------------------------------------------------- */

/* What has not arrived goes on at the next start. */
static void one_drained(void *arg)
{
    struct order *o = arg;

    if (--o->waits > 0)
        return;
    o->d->draining--;
    end(o, NULL);
}

static void drained(const struct error *e, const struct volume_arrival *a, void *arg)
{
    (void)e;
    (void)a;
    one_drained(arg);
}

static void drain(struct order *o)
{
    o->d->draining++;
    o->waits = 1;
    for (struct drive *drive = o->d->drives; drive && !agent_rests(o->d); drive = drive->next)
        if (drive->volume) {
            o->waits++;
            volume_await(drive->volume, INDEX_ROOT, o->seconds, drained, o);
        }
    if (!agent_rests(o->d)) {
        o->waits++;
        hauls_drain(o->d->hauls, o->seconds, one_drained, o);
    }
    one_drained(o);
}

/* --- what is asked ---------------------------------------------------------------------------------------- */

static const struct command commands[] = {
    { 0, "Start", AGENT_DISPOSED, start },
    { 1, "Dispose", AGENT_STARTED | AGENT_PAUSED, dispose },
    { 2, "Pause", AGENT_STARTED, pause_agent },
    { 4, "Resume", AGENT_PAUSED, resume },
    { 8, "Exit", AGENT_STARTED | AGENT_PAUSED | AGENT_DISPOSED, drain },
};

static const char *state_name(enum agent_state s)
{
    return s == AGENT_STARTED ? "started" : s == AGENT_PAUSED ? "paused" : "disposed";
}

static const struct command *find(struct syncd *d, int32_t number, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].number != number)
            continue;
        if (agent_check_idle(d, e) < 0)
            return NULL;
        if (!(commands[i].from & d->state))
            (void)error_set(e, -EINVAL, "The agent is %s, so there is nothing to %s.", state_name(d->state),
                            commands[i].name);
        else
            return &commands[i];
        return NULL;
    }
    (void)error_set(e, -EINVAL, "There is no command %d.", (int)number);
    return NULL;
}

void agent_command(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__AgentCommand *ask = env->agent_command;
    struct syncd *d = daemon;
    const struct command *c;
    struct order *o;
    struct error e;

    (void)fds;
    if (is_repeated(d, req)) {
        ipc_done(req);
        return;
    }
    c = find(d, ask->command, &e);
    if (!c) {
        ipc_fail_error(req, &e);
        return;
    }
    o = xcalloc(1, sizeof(*o));
    *o = (struct order){ .d = d, .req = req, .command = c, .seconds = (unsigned)d->config->drain_seconds };
    c->carry_out(o);
}

void agent_status(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const struct syncd *d = daemon;
    Lf__AgentStatus status = LF__AGENT_STATUS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(AGENT_STATUS, agent_status, &status);

    (void)env;
    (void)fds;
    status.status = d->draining ? AGENT_STOPPED : d->state;
    ipc_reply(req, &reply, NULL, 0);
}

/* --- the end of the process ------------------------------------------------------------------------------- */

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
