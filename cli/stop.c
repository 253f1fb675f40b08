/* `landfall stop`: waits for uploads, tells the supervisor to end, waits until it has, and says what is not in the
 * cloud yet. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "common/text.h"

enum {
    UPLOAD_SECONDS = 60,      /* unless --wait says otherwise */
    UPLOAD_SECONDS_MAX = 86400,
    LOOK_MS = 200,
    ANSWER_SECONDS = 5,
    ASK_SHARE = 10,           /* times as long as the answers took, nobody asks again */
    SAY_MS = 5000,            /* between two lines on what is left */
    STOP_SECONDS = 90,        /* more than all daemons' limits together */
    STATUS_STARTED = 1,
    UNKNOWN = -1,
};

/* --- uploads ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t impatient;

static void on_interrupt(int signal)
{
    (void)signal;
    impatient = 1;
}

static int64_t pending_of(struct json_object *drive)
{
    return json_object_get_int64(json_object_object_get(drive, "pendingChanges"));
}

/* A process that hangs is a reason to stop, not to wait. */
static struct json_object *ask(struct json_object *instance, const char *path)
{
    struct json_object *reply = NULL;
    struct error e = { 0 };

    (void)api_call_within(instance, ANSWER_SECONDS, "GET", path, NULL, &reply, &e);
    return reply;
}

/* Why nothing of what waits in the drive will arrive by itself: somebody paused or canceled it, say, or the cloud
 * refuses it. NULL: some of it may. Owned by the caller. */
static struct json_object *in_vain(struct json_object *instance, struct json_object *drive)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *arrival, *why = NULL;
    struct error e = { 0 };

    if (place_request("/management/object_wait", instance_text(drive, "localPath"), "&seconds=0", &request, &e) < 0)
        return NULL;
    arrival = ask(instance, request);
    if (json_object_get_boolean(json_object_object_get(arrival, "stuck")) &&
        !json_object_get_boolean(json_object_object_get(arrival, "coming")))
        why = json_object_get(json_object_object_get(arrival, "waitsFor"));
    json_object_put(arrival);
    return why;
}

struct left {
    int64_t changes;          /* that no cloud has yet; UNKNOWN when there is no answer */
    bool coming;              /* some of them may arrive */
    struct json_object *held; /* else what they all wait for: by the drive's name */
    int64_t ask_at;           /* when to ask for that again: of much that is pending it costs the uploads time */
};

static void ask_why(struct json_object *instance, struct json_object *drives, struct left *l)
{
    int64_t began = loop_now_ns();

    l->coming = false;
    json_object_put(l->held);
    l->held = json_object_new_object();
    for (size_t i = 0; i < json_object_array_length(drives) && !l->coming; i++) {
        struct json_object *drive = json_object_array_get_idx(drives, i), *why;

        if (pending_of(drive) <= 0)
            continue;
        why = in_vain(instance, drive);
        l->coming = !why;
        if (why)
            json_object_object_add(l->held, instance_text(drive, "name"), why);
    }
    l->ask_at = loop_now_ns() + ASK_SHARE * (loop_now_ns() - began);
}

static void look(struct json_object *instance, struct left *l)
{
    struct json_object *drives = ask(instance, "/management/clouddrive");

    l->changes = json_object_is_type(drives, json_type_array) ? 0 : UNKNOWN;
    for (size_t i = 0; l->changes != UNKNOWN && i < json_object_array_length(drives); i++)
        l->changes += pending_of(json_object_array_get_idx(drives, i));
    if (l->changes <= 0)
        l->coming = false;
    else if (loop_now_ns() >= l->ask_at)
        ask_why(instance, drives, l);
    json_object_put(drives);
}

/* A paused agent sends nothing, so there is nothing to wait for. */
static bool sends(struct json_object *instance)
{
    struct json_object *status = ask(instance, "/management/agent_status");
    bool started = json_object_get_int(status) == STATUS_STARTED;

    json_object_put(status);
    return started;
}

/* Says what is left: as soon as nothing more arrives, else after `seconds` or a Ctrl-C. */
static void await_uploads(struct json_object *instance, uint64_t seconds, struct left *l)
{
    const int64_t ms = 1000000, end = loop_now_ns() + (int64_t)seconds * 1000 * ms;
    int64_t say_at = 0;

    look(instance, l);
    while (l->coming && sends(instance) && !impatient && loop_now_ns() < end) {
        if (loop_now_ns() >= say_at) {
            printf("Waiting for uploads: %" PRId64 " changes are not in the cloud yet (%" PRId64 " s at most; Ctrl-C "
                   "stops without waiting)\n", l->changes, (end - loop_now_ns()) / (1000 * ms) + 1);
            (void)fflush(stdout);
            say_at = loop_now_ns() + SAY_MS * ms;
        }
        (void)poll(NULL, 0, LOOK_MS);
        look(instance, l);
    }
}

static void say_left(struct json_object *instance, const struct left *l)
{
    const char *state = instance_text(json_object_object_get(instance, "dirs"), "state");
    bool holds = l->changes > 0 && !l->coming && json_object_object_length(l->held);

    if (l->changes == UNKNOWN)
        printf("Whether all changes are in the cloud could not be told. Those that are not are kept in %s and go on at "
               "the next start.\n", state);
    else if (l->changes)
        printf("%" PRId64 " changes are not in the cloud yet. They are kept in %s and go on at the next start%s\n",
               l->changes, state, holds ? ", once nothing holds them:" : ".");
    if (!holds)
        return;
    json_object_object_foreach(l->held, drive, why) {
        listing_puts(drive);
        listing_puts(": ");
        listing_puts(json_object_get_string(why));
        putchar('\n');
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static int stop(pid_t pid, struct error *e)
{
    CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    int64_t until = loop_now_ns() + STOP_SECONDS * INT64_C(1000000000), left;
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    if (pidfd < 0)
        return errno == ESRCH ? 0 : error_set(e, -errno, "Process %d cannot be watched: %m.", (int)pid);
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
        return error_set(e, -errno, "Process %d cannot be stopped: %m.", (int)pid);
    while ((left = (until - loop_now_ns()) / 1000000) > 0)
        if (poll(&p, 1, (int)left) == 1)
            return 0;
    return error_set(e, -ETIMEDOUT, "Process %d is still ending after %d seconds; its log says why.", (int)pid,
                     STOP_SECONDS);
}

static int stop_instance(struct json_object *instance, uint64_t seconds, struct error *e)
{
    pid_t pid = instance_pid(instance, "landfall");
    struct left left = { 0 };
    int r;

    if (!pid) {
        printf("The instance in %s does not run any more.\n", instance_text(instance, "dir"));
        return 0;
    }
    await_uploads(instance, seconds, &left);
    r = stop(pid, e);
    if (r == 0) {
        printf("Stopped what ran in %s.\n", instance_text(instance, "dir"));
        say_left(instance, &left);
    }
    json_object_put(left.held);
    return r;
}

static bool read_seconds(const char *text, uint64_t *ret)
{
    *ret = UPLOAD_SECONDS;
    if (!text || text_number(text, UPLOAD_SECONDS_MAX, ret))
        return true;
    fprintf(stderr, "landfall stop: --wait takes a number of seconds from 0 to %d.\n", UPLOAD_SECONDS_MAX);
    return false;
}

int command_stop(int argc, char **argv)
{
    /* Also where a caller ignores it: the first Ctrl-C asked for the end, the second is impatience. */
    const struct sigaction action = { .sa_handler = on_interrupt };
    const char *given = NULL;
    const struct target_option options[] = { { "wait", &given, NULL }, { 0 } };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);
    uint64_t seconds;

    if (r)
        return r;
    (void)sigaction(SIGINT, &action, NULL);
    r = read_seconds(given, &seconds) ? stop_instance(instance, seconds, &e) : EXIT_USAGE;
    json_object_put(instance);
    return r < 0 ? target_fail(argv[0], &e) : r;
}
