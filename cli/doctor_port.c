/* Who listens at the API's port: sockets by /proc/net, their owners by /proc/PID/fd as far as that may be read. Whether
 * it is the instance is asked of it: whoever answers at the port what is answered at the Unix socket is no other. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/doctor.h"
#include "cli/instance.h"
#include "common/cleanup.h"
#include "common/text.h"

enum { LISTENS = 0x0a, SOCKETS_MAX = 16, NONCE_BYTES = 16, PROOF_SECONDS = 5 };

struct listener {
    int family;
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

static size_t read_table(const char *path, int family, unsigned port, struct listener *ret, size_t n)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    char line[512];

    while (f && n < SOCKETS_MAX && fgets(line, sizeof(line), f)) {
        ret[n] = (struct listener){ .family = family };
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
static bool is_held_by_us(struct doctor *d, const struct listener *l)
{
    static const char *const names[] = { "landfall", "frontd" };
    char pid[16];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(pid, sizeof(pid), "%d", (int)instance_pid(d->instance, names[i]));
        if (holds(pid, l->inode))
            return true;
    }
    return false;
}

static bool proves_itself(struct doctor *d, const struct listener *l)
{
    unsigned char random[NONCE_BYTES];
    char nonce[2 * NONCE_BYTES + 1], path[96];
    struct json_object *wanted = NULL, *found = NULL;
    struct error e = { 0 };
    bool same = false;

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    text_hex(random, sizeof(random), nonce);
    (void)snprintf(path, sizeof(path), "/management/proof?nonce=%s", nonce);
    if (api_call_within(d->instance, PROOF_SECONDS, "GET", path, NULL, &wanted, &e) == 0 &&
        api_get_at_port(l->family, d->port, PROOF_SECONDS, path, &found, &e) == 0)
        same = json_object_is_type(wanted, json_type_string) && json_object_equal(wanted, found);
    json_object_put(wanted);
    json_object_put(found);
    return same;
}

static bool is_ours(struct doctor *d, const struct listener *l)
{
    return d->instance && (is_held_by_us(d, l) || (d->drives && proves_itself(d, l)));
}

/* --- what is said ------------------------------------------------------------------------------------- */

static void accuse(struct doctor *d, struct listener *l)
{
    static const char remedy[] = "End that program, or start Landfall with another --port. Nothing that is sent there "
                                 "reaches Landfall.";

    find_holder(l);
    if (d->instance && !d->drives && !l->pid && (l->uid == 0 || l->uid == geteuid()))
        doctor_say(d, DOCTOR_WARN, "Once the API answers, or as root, it can be seen.",
                   "Whether the program of uid %u that listens at port %u is Landfall cannot be seen.", l->uid,
                   d->port);
    else if (l->pid)
        doctor_say(d, DOCTOR_FAIL, remedy, "Port %u is taken by another program: process %d, %s, of uid %u.", d->port,
                   (int)l->pid, l->name, l->uid);
    else
        doctor_say(d, DOCTOR_FAIL, remedy, "Port %u is taken by another program, of uid %u.", d->port, l->uid);
}

void doctor_port(struct doctor *d)
{
    struct listener found[SOCKETS_MAX];
    size_t n = read_table("/proc/net/tcp", AF_INET, d->port, found, 0), ours = 0, others = 0;

    n = read_table("/proc/net/tcp6", AF_INET6, d->port, found, n);
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
