/* DIR/instance.json, and what a supervisor that was killed left behind. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/instance.h"
#include "cli/run.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { LEFTOVER_SECONDS = 20, KILL_SECONDS = 5 };

static void put_text(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

static void put_number(struct json_object *o, const char *key, int64_t value)
{
    json_object_object_add(o, key, json_object_new_int64(value));
}

static void put_formatted(struct json_object *o, const char *key, const char *dir, const char *below)
{
    CLEANUP_FREE char *path = NULL;

    if (asprintf(&path, "%s/%s", dir, below) > 0)
        put_text(o, key, path);
}

static struct json_object *pids(const struct run *run, bool started)
{
    struct json_object *o = json_object_new_object();
    pid_t self = getpid();

    put_number(o, "landfall", started ? (int64_t)instance_started(self) : self);
    for (size_t i = 0; i < RUN_DAEMONS; i++) {
        const struct run_process *p = &run->processes[i];

        put_number(o, p->row->name, started && p->pid ? (int64_t)instance_started(p->pid) : p->pid);
    }
    return o;
}

static struct json_object *users(const struct run_plan *p)
{
    struct json_object *o = json_object_new_object();

    for (enum role role = ROLE_NONE + 1; role < ROLE_COUNT; role++)
        put_text(o, role_name(role), p->accounts[role].name);
    return o;
}

static struct json_object *dirs(const struct run_plan *p)
{
    struct json_object *o = json_object_new_object();

    put_text(o, "state", p->config->state_dir);
    put_text(o, "keys", p->config->key_dir);
    put_text(o, "runtime", p->config->runtime_dir);
    put_text(o, "mount_root", p->config->mount_root);
    put_formatted(o, "log", p->dir, "log");
    return o;
}

static void add_mount(const char *source, const char *point, void *list)
{
    struct json_object *o = json_object_new_object();

    put_text(o, "drive", source);
    put_text(o, "mount_point", point);
    json_object_array_add(list, o);
}

static struct json_object *settings(const struct run_plan *p)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < p->n_sets; i++)
        json_object_array_add(list, json_object_new_string(p->sets[i]));
    return list;
}

static struct json_object *describe(const struct run *run)
{
    const struct run_plan *p = &run->plan;
    struct json_object *o = json_object_new_object(), *mounts = json_object_new_array();

    put_text(o, "api", p->config->host_url);
    put_formatted(o, "api_socket", p->config->runtime_dir, "api.sock");
    put_number(o, "port", p->port);
    put_text(o, "dir", p->dir);
    json_object_object_add(o, "ready", json_object_new_boolean(run->ready));
    put_text(o, "user", p->served.name);
    json_object_object_add(o, "pids", pids(run, false));
    json_object_object_add(o, "started", pids(run, true));
    json_object_object_add(o, "users", users(p));
    json_object_object_add(o, "dirs", dirs(p));
    put_text(o, "config", p->config_path ? p->config_path : "");
    json_object_object_add(o, "settings", settings(p));
    run_mounts_each(p->config->mount_root, add_mount, mounts);
    json_object_object_add(o, "mounts", mounts);
    return o;
}

static int write_file(const char *path, const char *text)
{
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    size_t n = strlen(text);

    if (fd < 0 || fchmod(fd, 0644) < 0)
        return -errno;
    return write(fd, text, n) == (ssize_t)n ? 0 : -EIO;
}

int run_instance_write(const struct run *run, struct error *e)
{
    CLEANUP_FREE char *path = NULL, *fresh = NULL;
    struct json_object *o;
    int r;

    if (asprintf(&path, "%s/instance.json", run->plan.dir) < 0 || asprintf(&fresh, "%s.new", path) < 0)
        return -ENOMEM;
    o = describe(run);
    r = write_file(fresh, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    return r < 0 ? error_set(e, r, "%s cannot be written: %s.", path, strerror(-r)) : 0;
}

void run_instance_remove(const struct run_plan *p)
{
    CLEANUP_FREE char *path = NULL;

    if (asprintf(&path, "%s/instance.json", p->dir) > 0)
        (void)unlink(path);
}

/* --- leftovers -------------------------------------------------------------------------------- */

static bool await_end(int pidfd, int seconds)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    return poll(&p, 1, seconds * 1000) == 1;
}

/* Daemons end by themselves when their supervisor dies; one that does not is ended here. */
static int end_leftover(pid_t pid, const char *name, struct error *e)
{
    CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pidfd < 0)
        return errno == ESRCH ? 0 : -errno;
    LOG(LOG_NOTICE, "leftover", "daemon=%s", name, "pid=%d", (int)pid);
    (void)kill(pid, SIGTERM);
    if (await_end(pidfd, LEFTOVER_SECONDS))
        return 0;
    (void)kill(pid, SIGKILL);
    if (await_end(pidfd, KILL_SECONDS))
        return 0;
    return error_set(e, -EBUSY, "The process %s (%d) of an earlier run does not end.", name, (int)pid);
}

int run_instance_clear_leftovers(const struct run_plan *p, struct error *e)
{
    struct json_object *old = NULL;
    int r = 0;

    (void)instance_read(p->dir, &old, NULL);   /* none or damaged: then nothing is known that could be ended */
    for (size_t i = RUN_DAEMONS; r == 0 && i-- > 0;) {
        pid_t pid = instance_pid(old, run_rows[i].name);

        if (pid)
            r = end_leftover(pid, run_rows[i].name, e);
    }
    json_object_put(old);
    run_instance_remove(p);
    if (r == 0 && run_mounts_detach(p->config->mount_root))
        r = error_set(e, -EBUSY, "A drive of an earlier run is still mounted below %s and cannot be detached.",
                      p->config->mount_root);
    return r;
}
