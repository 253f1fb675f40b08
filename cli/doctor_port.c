/* Who listens at the API's port: sockets by /proc/net, their owners by /proc/PID/fd as far as that may be read. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "cli/instance.h"
#include "common/cleanup.h"

enum { LISTENS = 0x0a, SOCKETS_MAX = 16 };

struct listener {
    uint64_t inode;
    unsigned uid;
    pid_t pid;         /* 0: of nobody who can be seen */
    char name[32];     /* of its program */
};

/* --- sockets ------------------------------------------------------------------------------------------ */

/* "  sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid  timeout inode ..." */
static bool read_line(const char *line, unsigned port, struct listener *ret)
{
    unsigned local, state;

    return sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %u %*u %" SCNu64, &local,
                  &state, &ret->uid, &ret->inode) == 4 && local == port && state == LISTENS;
}

static size_t read_table(const char *path, unsigned port, struct listener *ret, size_t n)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    char line[512];

    while (f && n < SOCKETS_MAX && fgets(line, sizeof(line), f)) {
        ret[n] = (struct listener){ 0 };
        n += read_line(line, port, &ret[n]);
    }
    return n;
}

/* --- processes ---------------------------------------------------------------------------------------- */

static bool holds(const char *pid, uint64_t inode)
{
    char path[64], target[64], wanted[64];
    struct dirent *entry;
    bool found = false;
    DIR *fds;

    (void)snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    (void)snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
    fds = opendir(path);
    while (fds && !found && (entry = readdir(fds))) {
        ssize_t n = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);

        found = n > 0 && (target[n] = '\0', strcmp(target, wanted) == 0);
    }
    if (fds)
        (void)closedir(fds);
    return found;
}

static void read_name(struct listener *l)
{
    CLEANUP_FCLOSE FILE *f = NULL;
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)l->pid);
    f = fopen(path, "re");
    if (!f || !fgets(l->name, sizeof(l->name), f))
        return;
    l->name[strcspn(l->name, "\n")] = '\0';
}

static void find_holder(struct listener *l)
{
    struct dirent *entry;
    DIR *proc = opendir("/proc");

    while (proc && !l->pid && (entry = readdir(proc)))
        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name) && holds(entry->d_name, l->inode))
            l->pid = (pid_t)atoi(entry->d_name);
    if (proc)
        (void)closedir(proc);
    if (l->pid)
        read_name(l);
}

/* The supervisor has the sockets, and frontd from it. */
static bool is_ours(struct doctor *d, const struct listener *l)
{
    static const char *const names[] = { "landfall", "frontd" };
    char pid[16];

    for (size_t i = 0; d->instance && i < ARRAY_SIZE(names); i++) {
        (void)snprintf(pid, sizeof(pid), "%d", (int)instance_pid(d->instance, names[i]));
        if (holds(pid, l->inode))
            return true;
    }
    return false;
}

/* --- what is said ------------------------------------------------------------------------------------- */

static void accuse(struct doctor *d, struct listener *l)
{
    static const char remedy[] = "End that program, or start Landfall with another --port. Nothing that is sent there "
                                 "reaches Landfall.";

    find_holder(l);
    if (l->pid)
        doctor_say(d, DOCTOR_FAIL, remedy, "Port %u is taken by another program: process %d, %s, of uid %u.", d->port,
                   (int)l->pid, l->name, l->uid);
    else
        doctor_say(d, DOCTOR_FAIL, remedy, "Port %u is taken by another program, of uid %u.", d->port, l->uid);
}

void doctor_port(struct doctor *d)
{
    struct listener found[SOCKETS_MAX];
    size_t n = read_table("/proc/net/tcp", d->port, found, 0), ours = 0, others = 0;

    n = read_table("/proc/net/tcp6", d->port, found, n);
    for (size_t i = 0; i < n; i++) {
        bool own = is_ours(d, &found[i]);

        ours += own;
        others += !own;
        if (!own)
            accuse(d, &found[i]);
    }
    if (others)
        return;
    if (ours)
        doctor_say(d, DOCTOR_OK, "", "Port %u is Landfall's.", d->port);
    else if (d->instance)
        doctor_say(d, DOCTOR_FAIL, "The supervisor's log says why.", "Nobody listens at port %u.", d->port);
    else
        doctor_say(d, DOCTOR_OK, "", "Port %u is free.", d->port);
}
