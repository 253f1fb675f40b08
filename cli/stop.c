/* `landfall stop`: tells the supervisor to end and waits until it has. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/instance.h"
#include "cli/target.h"
#include "common/cleanup.h"

enum { STOP_SECONDS = 90 };   /* more than all daemons' limits together */

static int stop(pid_t pid, struct error *e)
{
    CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    if (pidfd < 0)
        return errno == ESRCH ? 0 : error_set(e, -errno, "Process %d cannot be watched: %m.", (int)pid);
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) < 0 && errno != ESRCH)
        return error_set(e, -errno, "Process %d cannot be stopped: %m.", (int)pid);
    if (poll(&p, 1, STOP_SECONDS * 1000) == 1)
        return 0;
    return error_set(e, -ETIMEDOUT, "Process %d is still ending after %d seconds; its log says why.", (int)pid,
                     STOP_SECONDS);
}

int command_stop(int argc, char **argv)
{
    static const struct target_option none[] = { { 0 } };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, none, &instance);
    pid_t pid;

    if (r)
        return r;
    pid = instance_pid(instance, "landfall");
    if (!pid)
        printf("The instance in %s does not run any more.\n", instance_text(instance, "dir"));
    r = pid ? stop(pid, &e) : 0;
    json_object_put(instance);
    return r < 0 ? target_fail(argv[0], &e) : EXIT_SUCCESS;
}
