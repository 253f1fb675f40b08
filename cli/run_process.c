/* The life of one daemon. States and what moves them:
 *
 *   IDLE -start-> STARTING -READY=1-> READY -death-> BACKOFF -timer-> STARTING
 *                     death before it was ever ready, three times: the whole start fails
 *   STARTING, READY -stop-> STOPPING -death-> ENDED;  exit with 0 -> ENDED at once
 *
 * One timer serves all: the limit for starting, the watchdog, the back-off, the limit for stopping.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "common/text.h"

enum {
    START_SECONDS = 60,         /* start to READY=1 */
    WATCHDOG_SECONDS = 60,      /* a loop that stands still for so long is ended */
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MOST_MS = 800,      /* programs wait meanwhile: with its start less than a second */
    GOOD_MS = 1000,             /* having run so long wipes out earlier failures: it does not fail over what it finds */
    START_TRIES = 3,
    NAMES_MAX = RUN_KEPT_MAX * RUN_NAME_MAX + 256,
    FDS_MAX = RUN_KEPT_MAX + 6,
    ENV_MAX = 12,
};

/* What a daemon inherits. */
struct inheritance {
    int fds[FDS_MAX];
    size_t n;
    struct text names;
};

static void set_timer(struct run_process *p, int64_t ms)
{
    struct timeval after = { ms / 1000, ms % 1000 * 1000 };

    (void)evtimer_add(p->timer, &after);
}

static void set_state(struct run_process *p, enum run_state state)
{
    p->state = state;
    run_changed(p->run);
}

/* --- starting --------------------------------------------------------------------------------- */

static void inherit(struct inheritance *h, const char *name, int fd)
{
    if (fd < 0)
        return;
    h->fds[h->n++] = fd;
    (void)text_printf(&h->names, "%s%s", h->names.len ? ":" : "", name);
}

static void inherit_all(struct inheritance *h, struct run_process *p)
{
    const struct run_sockets *s = &p->run->sockets;

    if (p->row->sockets & RUN_SOCKET_HTTP) {
        inherit(h, "http", s->http[0]);
        inherit(h, "http", s->http[1]);
    }
    if (p->row->sockets & RUN_SOCKET_API)
        inherit(h, "api", s->api);
    if (p->row->sockets & RUN_SOCKET_IPC)
        inherit(h, "ipc", s->ipc[p->row->role]);
    if (p->row->role == ROLE_CRYPTD) {
        run_passphrase_rewind(&p->run->passphrase);
        inherit(h, "passphrase", p->run->passphrase.now);
        inherit(h, "new-passphrase", p->run->passphrase.next);
    }
    run_kept_prune(&p->kept);
    for (size_t i = 0; i < p->kept.n; i++)
        inherit(h, p->kept.items[i].name, p->kept.items[i].fd);
}

static char *notify_path(const struct run_process *p)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s.notify", p->run->plan.config->runtime_dir, p->row->name) < 0 ? NULL : path;
}

__attribute__((format(printf, 2, 3))) static void add_env(char **env, const char *fmt, ...)
{
    va_list args;

    while (*env)
        env++;
    va_start(args, fmt);
    if (vasprintf(env, fmt, args) < 0)
        abort();
    va_end(args);
}

static void add_pid_slot(char **env, const char *name)
{
    add_env(env, "%-*s", RUN_PID_SLOT, name);
}

/* An environment of exactly these; nothing of the caller's gets through. */
static void make_env(struct run_process *p, const struct inheritance *h, char **env)
{
    const struct run_account *a = &p->run->plan.accounts[p->row->role];
    CLEANUP_FREE char *notify = notify_path(p);

    add_env(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_env(env, "HOME=%s", a->home);
    add_env(env, "USER=%s", a->name);
    add_env(env, "NOTIFY_SOCKET=%s", notify);
    add_env(env, "LISTEN_FDS=%zu", h->n);
    add_env(env, "LISTEN_FDNAMES=%s", h->names.data ? h->names.data : "");
    add_pid_slot(env, "LISTEN_PID=");
    add_env(env, "WATCHDOG_USEC=%llu", WATCHDOG_SECONDS * 1000000ULL);
    add_pid_slot(env, "WATCHDOG_PID=");
}

/* The list is the caller's to free; its texts are borrowed. */
static char **make_arguments(const struct run_process *p)
{
    const struct run_plan *plan = &p->run->plan;
    char **argv = calloc(2 * plan->n_sets + 4, sizeof(*argv));
    size_t n = 0;

    if (!argv)
        abort();
    argv[n++] = (char *)p->row->binary;
    if (plan->config_path) {
        argv[n++] = (char *)"--config";
        argv[n++] = (char *)plan->config_path;
    }
    for (size_t i = 0; i < plan->n_sets; i++) {
        argv[n++] = (char *)"--set";
        argv[n++] = plan->sets[i];
    }
    return argv;
}

static pid_t launch(struct run_process *p, const struct inheritance *h, int log)
{
    const struct run_plan *plan = &p->run->plan;
    CLEANUP_FREE char *binary = run_spawn_binary(p->row->binary);
    CLEANUP_FREE char **argv = make_arguments(p);
    char *env[ENV_MAX] = { NULL };
    struct run_launch l = {
        .binary = binary, .argv = argv, .env = env, .fds = h->fds, .n_fds = h->n, .log = log,
        .account = &plan->accounts[p->row->role], .extra_group = plan->group, .change_user = plan->root,
        .may_gain = p->row->may_gain, .capabilities = p->row->capabilities,
        .open_files = (rlim_t)plan->config->open_files,
    };
    pid_t pid;

    make_env(p, h, env);
    pid = binary ? run_spawn(&l) : -ENOMEM;
    for (char **e = env; *e; e++)
        free(*e);
    return pid;
}

void run_process_start(struct run_process *p)
{
    struct inheritance h = { .names = TEXT_INIT(NAMES_MAX) };
    CLEANUP_CLOSE int log = run_dirs_log(&p->run->plan, p->row);
    pid_t pid;

    inherit_all(&h, p);
    pid = log < 0 ? log : launch(p, &h, log);
    text_free(&h.names);
    if (pid < 0) {
        LOG(LOG_ERR, "start_failed", "daemon=%s", p->row->name, "error=%s", strerror((int)-pid));
        run_process_died(p, W_EXITCODE(EXIT_FAILURE, 0));
        return;
    }
    p->pid = pid;
    p->started_ns = loop_now_ns();
    LOG(LOG_INFO, "started", "daemon=%s", p->row->name, "pid=%d", (int)pid, "user=%s",
        p->run->plan.accounts[p->row->role].name, "kept=%zu", p->kept.n);
    set_timer(p, START_SECONDS * 1000);
    set_state(p, RUN_STARTING);
}

/* --- what it says ----------------------------------------------------------------------------- */

static void store(struct run_process *p, struct run_notice *n)
{
    for (size_t i = 0; i < n->n_fds; i++) {
        int r = run_kept_add(&p->kept, n->name, n->fds[i]);

        n->fds[i] = -1;
        if (r < 0)
            LOG(LOG_WARNING, "descriptor_refused", "daemon=%s", p->row->name, "name=%s", n->name, "error=%s",
                strerror(-r));
    }
}

static void notice(struct run_process *p, struct run_notice *n)
{
    if (!p->pid || n->sender != p->pid)   /* only the daemon itself, not its children or another account */
        return;
    if (n->store)
        store(p, n);
    if (n->unstore)
        run_kept_remove(&p->kept, n->name);
    if (n->watchdog_trigger && p->state == RUN_READY)
        (void)kill(p->pid, SIGABRT);
    if ((n->watchdog || n->ready) && p->state < RUN_STOPPING)
        set_timer(p, WATCHDOG_SECONDS * 1000);
    if (n->ready && p->state == RUN_STARTING) {
        p->was_ready = true;
        LOG(LOG_INFO, "ready", "daemon=%s", p->row->name, "pid=%d", (int)p->pid);
        set_state(p, RUN_READY);
    }
}

static void on_notified(evutil_socket_t fd, short what, void *arg)
{
    struct run_notice n;

    (void)what;
    while (run_notify_read(fd, &n) == 1) {
        notice(arg, &n);
        run_notice_close(&n);
    }
}

/* --- ending ----------------------------------------------------------------------------------- */

/* The first time it starts again at once: programs wait for it. */
static int64_t backoff_ms(const struct run_process *p)
{
    return p->failures == 1 ? 0 : (int64_t)backoff(p->failures - 2, BACKOFF_FIRST_MS, BACKOFF_MOST_MS);
}

static void log_death(const struct run_process *p, int status)
{
    if (WIFSIGNALED(status))
        LOG(LOG_WARNING, "died", "daemon=%s", p->row->name, "pid=%d", (int)p->pid, "signal=%s",
            strsignal(WTERMSIG(status)));
    else
        LOG(WEXITSTATUS(status) ? LOG_WARNING : LOG_INFO, "exited", "daemon=%s", p->row->name, "pid=%d", (int)p->pid,
            "status=%d", WEXITSTATUS(status));
}

static void end(struct run_process *p)
{
    run_kept_clear(&p->kept);
    set_state(p, RUN_ENDED);
}

void run_process_died(struct run_process *p, int status)
{
    bool orderly = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    log_death(p, status);
    (void)evtimer_del(p->timer);
    on_notified(p->notify, EV_READ, p);   /* what it said last */
    if (p->state == RUN_READY && loop_now_ns() - p->started_ns >= GOOD_MS * INT64_C(1000000))
        p->failures = 0;
    p->failures++;
    p->pid = 0;
    if (orderly || p->state == RUN_STOPPING || p->run->stopping) {
        end(p);
        return;
    }
    if (!p->was_ready && p->failures >= START_TRIES) {
        end(p);
        run_give_up(p->run, p->row);
        return;
    }
    set_timer(p, backoff_ms(p));
    set_state(p, RUN_BACKOFF);
}

void run_process_stop(struct run_process *p)
{
    if (!p->pid) {
        (void)evtimer_del(p->timer);
        end(p);
        return;
    }
    LOG(LOG_INFO, "stopping", "daemon=%s", p->row->name, "pid=%d", (int)p->pid);
    p->state = RUN_STOPPING;
    set_timer(p, p->row->stop_seconds * INT64_C(1000));
    (void)kill(p->pid, SIGTERM);
}

static void kill_it(struct run_process *p, const char *why, int signal)
{
    LOG(LOG_ERR, why, "daemon=%s", p->row->name, "pid=%d", (int)p->pid);
    (void)kill(p->pid, signal);
    set_timer(p, p->row->stop_seconds * INT64_C(1000));   /* and again, should it not help */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct run_process *p = arg;

    (void)fd;
    (void)what;
    if (p->state == RUN_BACKOFF)
        run_process_start(p);
    else if (p->state == RUN_STARTING)
        kill_it(p, "not_ready_in_time", SIGKILL);
    else if (p->state == RUN_READY)
        kill_it(p, "stands_still", SIGKILL);
    else if (p->state == RUN_STOPPING)
        kill_it(p, "does_not_stop", SIGKILL);
}

/* --- the whole -------------------------------------------------------------------------------- */

int run_process_init(struct run_process *p, struct run *run, const struct run_row *row, struct error *e)
{
    const struct run_account *a = &run->plan.accounts[row->role];
    CLEANUP_FREE char *path = NULL;

    p->row = row;
    p->run = run;
    p->notify = -1;
    path = notify_path(p);
    p->notify = path ? run_notify_open(path, a->uid, a->gid) : -ENOMEM;
    if (p->notify < 0)
        return error_set(e, p->notify, "The socket %s cannot be made: %s.", path ? path : "", strerror(-p->notify));
    p->notified = event_new(loop_base(run->loop), p->notify, EV_READ | EV_PERSIST, on_notified, p);
    p->timer = evtimer_new(loop_base(run->loop), on_timer, p);
    if (!p->notified || !p->timer || event_add(p->notified, NULL) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    return 0;
}

void run_process_close(struct run_process *p)
{
    CLEANUP_FREE char *path = p->row ? notify_path(p) : NULL;

    if (!p->row)
        return;
    if (p->notified)
        event_free(p->notified);
    if (p->timer)
        event_free(p->timer);
    if (p->notify >= 0)
        (void)close(p->notify);
    if (path)
        (void)unlink(path);
    run_kept_clear(&p->kept);
}
