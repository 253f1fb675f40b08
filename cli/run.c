/* `landfall run`: everything of the supervisor in order. The table of daemons stands here. */
#include "cli/run.h"

#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"

enum { ORPHAN_MS = 2000 };

#define CAPABILITY(name) (UINT64_C(1) << CAP_##name)

/* As in systemd/landfall-mountd@.service.in. Beside mounting: workers get another user, and cut their own rights. */
#define MOUNTING (CAPABILITY(SYS_ADMIN) | CAPABILITY(SETUID) | CAPABILITY(SETGID) | CAPABILITY(SETPCAP) | \
                  CAPABILITY(KILL) | CAPABILITY(DAC_READ_SEARCH) | CAPABILITY(DAC_OVERRIDE))

/* The supervisor's own: what it gives away, directories of other users, limits, a port below 1024. */
#define SUPERVISING (MOUNTING | CAPABILITY(CHOWN) | CAPABILITY(FOWNER) | CAPABILITY(SYS_RESOURCE) | \
                     CAPABILITY(NET_BIND_SERVICE))

/* In the order of starting: nobody is started before whom it asks. */
const struct run_row run_rows[RUN_DAEMONS] = {
    { ROLE_CRYPTD, "cryptd", "landfall-cryptd", RUN_SOCKET_IPC, 5, false, 0 },
    { ROLE_SYNCD, "syncd", "landfall-syncd", RUN_SOCKET_IPC, 20, false, 0 },
    { ROLE_MOUNTD, "mountd", "landfall-mountd", RUN_SOCKET_IPC, 15, true, MOUNTING },
    { ROLE_FRONTD, "frontd", "landfall-frontd", RUN_SOCKET_HTTP | RUN_SOCKET_API, 5, false, 0 },
};

/* --- what follows from a change ----------------------------------------------------------------- */

static bool all_in(const struct run *run, enum run_state state)
{
    for (size_t i = 0; i < RUN_DAEMONS; i++)
        if (run->processes[i].state != state)
            return false;
    return true;
}

/* Stops the last one that still lives; its death leads here again. */
static void stop_next(struct run *run)
{
    for (size_t i = RUN_DAEMONS; i-- > 0;) {
        struct run_process *p = &run->processes[i];

        if (p->state == RUN_STOPPING)
            return;
        if (p->state != RUN_ENDED) {
            run_process_stop(p);
            return;
        }
    }
}

static void write_instance(const struct run *run)
{
    struct error e = { 0 };

    if (run_instance_write(run, &e) < 0)
        LOG(LOG_ERR, "instance_not_written", "error=%s", error_text(&e));
}

static void announce(struct run *run)
{
    run->ready = true;
    write_instance(run);
    printf("Landfall answers at %s\n", run->plan.config->host_url);
    (void)fflush(stdout);
}

static void stop(void *arg)
{
    struct run *run = arg;

    if (run->stopping)
        return;
    run->stopping = true;
    LOG(LOG_NOTICE, "stop");
    stop_next(run);
}

void run_changed(struct run *run)
{
    write_instance(run);
    if (all_in(run, RUN_ENDED)) {
        loop_exit(run->loop, run->failed ? EXIT_FAILURE : EXIT_SUCCESS);
        return;
    }
    if (run->stopping)
        stop_next(run);
    else if (run->processes[RUN_DAEMONS - 1].state == RUN_ENDED)
        stop(run);   /* the front door closed in order: an Exit command; whoever is left follows */
    else if (!run->ready && all_in(run, RUN_READY))
        announce(run);
}

void run_give_up(struct run *run, const struct run_row *row)
{
    fprintf(stderr, "landfall: %s does not start. The end of %s/log/%s.log:\n", row->name, run->plan.dir, row->name);
    run_dirs_print_log(&run->plan, row);
    run->failed = true;
    stop(run);
}

/* --- events ----------------------------------------------------------------------------------- */

/* Drive workers whose mountd died come here too: they are ours to reap and nothing else. */
static void on_child(evutil_socket_t fd, short what, void *arg)
{
    struct run *run = arg;
    int status;
    pid_t pid;

    (void)fd;
    (void)what;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < RUN_DAEMONS; i++)
            if (run->processes[i].pid == pid)
                run_process_died(&run->processes[i], status);
}

/* The terminal is gone: ends as with Ctrl-C. */
static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    stop(arg);
}

static void on_mounts(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    run_mounts_drain(fd);
    write_instance(arg);
}

static int watch_events(struct run *run, struct error *e)
{
    struct event_base *base = loop_base(run->loop);

    run->mounts_watch = run_mounts_watch();
    if (run->mounts_watch < 0)
        return error_set(e, run->mounts_watch, "The mount table cannot be watched: %s.", strerror(-run->mounts_watch));
    run->child = evsignal_new(base, SIGCHLD, on_child, run);
    run->hangup = evsignal_new(base, SIGHUP, on_hangup, run);
    run->mounts = event_new(base, run->mounts_watch, EV_READ | EV_PERSIST, on_mounts, run);
    if (!run->child || !run->hangup || !run->mounts || event_add(run->child, NULL) < 0 ||
        event_add(run->hangup, NULL) < 0 || event_add(run->mounts, NULL) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    loop_on_stop(run->loop, stop, run);
    return 0;
}

static int start_all(struct run *run, struct error *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < RUN_DAEMONS; i++)
        r = run_process_init(&run->processes[i], run, &run_rows[i], e);
    for (size_t i = 0; r == 0 && i < RUN_DAEMONS; i++)
        run_process_start(&run->processes[i]);
    return r;
}

/* --- from start to end ------------------------------------------------------------------------ */

static int prepare(struct run *run, struct error *e)
{
    int r = run_dirs_lock(&run->plan, &run->lock, e);

    if (r == 0)
        r = run_instance_clear_leftovers(&run->plan, e);
    if (r == 0)
        r = run_dirs_make(&run->plan, e);
    if (r == 0)
        r = run_sockets_open(&run->sockets, &run->plan, e);
    return r;
}

static int supervise(struct run *run, struct error *e)
{
    int r;

    run->loop = loop_new(0);
    if (!run->loop)
        return error_set(e, -ENOMEM, "The event loop cannot be made.");
    r = watch_events(run, e);
    if (r == 0)
        r = start_all(run, e);
    return r < 0 ? r : loop_run(run->loop);
}

/* One that waits in the kernel is not waited for. */
static void end_orphan(pid_t pid)
{
    struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

    (void)kill(pid, SIGKILL);
    if (p.fd >= 0) {
        (void)poll(&p, 1, ORPHAN_MS);
        (void)close(p.fd);
    }
    (void)waitpid(pid, NULL, WNOHANG);
}

/* A worker that lost its mountd and does not see it would keep its mount busy. */
static void end_orphans(void)
{
    CLEANUP_FCLOSE FILE *f = NULL;
    char path[64];
    int pid;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    f = fopen(path, "re");
    while (f && fscanf(f, "%d", &pid) == 1)
        end_orphan(pid);
}

static void free_event(struct event *ev)
{
    if (ev)
        event_free(ev);
}

static void finish(struct run *run)
{
    for (size_t i = 0; i < RUN_DAEMONS; i++)
        run_process_close(&run->processes[i]);
    free_event(run->child);
    free_event(run->hangup);
    free_event(run->mounts);
    if (run->lock >= 0) {
        (void)run_mounts_detach(run->plan.config->mount_root);
        end_orphans();
        run_sockets_close(&run->sockets, &run->plan);
        run_instance_remove(&run->plan);
        (void)close(run->lock);
    }
    loop_free(run->loop);
    run_plan_free(&run->plan);
}

static int run_instance(const struct run_options *o)
{
    /* Large for its tables of kept descriptors; there is one per process. */
    static struct run run = { .lock = -1, .mounts_watch = -1, .passphrase = { -1, -1 },
                              .sockets = { .http = { -1, -1 }, .api = -1, .ipc = { -1, -1, -1, -1, -1, -1 } } };
    struct error e = { 0 };
    int r = run_plan_make(&run.plan, o, &e);

    if (r == 0) {
        log_init("landfall", (int)run.plan.config->log_level);
        run_plan_print_separation(&run.plan);
        r = prepare(&run, &e);
    }
    if (r == 0)
        r = run_passphrase_ask(&run.passphrase, &run.plan, o->new_passphrase, &e);
    if (r == 0)
        r = supervise(&run, &e);
    finish(&run);
    if (r < 0)
        fprintf(stderr, "landfall: %s\n", error_text(&e));
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the command line --------------------------------------------------------------------------- */

static bool take_port(struct run_options *o, const char *text)
{
    uint64_t port;

    if (!text_number(text, UINT16_MAX, &port)) {
        fprintf(stderr, "landfall run: --port takes a number from 1 to 65535, or 0 for any free port.\n");
        return false;
    }
    o->port = (int)port;
    return true;
}

static bool take_option(struct run_options *o, int c)
{
    if (c == 'd')
        o->dir = optarg;
    else if (c == 'c')
        o->config_path = optarg;
    else if (c == 'n')
        o->new_passphrase = true;
    else if (c == 's')
        o->sets[o->n_sets++] = optarg;
    else if (c == 'p')
        return take_port(o, optarg);
    else
        return false;
    return true;
}

/* argv[0] is "run"; the program's own name stands before it. */
static int limit(char **argv)
{
    int r = run_limits_environment(argv - 1);

    return r < 0 ? r : run_limits_capabilities(SUPERVISING);
}

int command_run(int argc, char **argv)
{
    static const struct option options[] = {
        { "dir", required_argument, NULL, 'd' },
        { "port", required_argument, NULL, 'p' },
        { "config", required_argument, NULL, 'c' },
        { "set", required_argument, NULL, 's' },
        { "new-passphrase", no_argument, NULL, 'n' },
        { 0 },
    };
    CLEANUP_FREE const char **sets = calloc((size_t)argc, sizeof(*sets));
    struct run_options o = { .sets = sets, .port = -1 };
    int c, r = limit(argv);

    if (r < 0) {
        fprintf(stderr, "landfall run: what the caller's environment gives cannot be dropped: %s.\n", strerror(-r));
        return EXIT_FAILURE;
    }
    while (sets && (c = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!take_option(&o, c))
            return EXIT_USAGE;
    if (!sets || optind < argc) {
        fprintf(stderr, "landfall run: takes no argument %s.\n", sets ? argv[optind] : "");
        return EXIT_USAGE;
    }
    (void)umask(022);
    /* Orphaned drive workers become our children, so that none outlives the instance. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    return run_instance(&o);
}
