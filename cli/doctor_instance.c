/* How an instance that runs is: its processes, its disks, its drives. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cli/api.h"
#include "cli/doctor.h"
#include "cli/instance.h"
#include "cli/place.h"
#include "cli/status.h"
#include "common/cleanup.h"

enum { ANSWER_SECONDS = 20, STARTED = 1, FREE_PERCENT = 5, FULL_PERCENT = 1 };

static struct json_object *ask(struct doctor *d, const char *path)
{
    struct json_object *reply = NULL;
    struct error e = { 0 };

    if (!d->drives)
        return NULL;   /* it does not answer, which was said */
    if (api_call_within(d->instance, ANSWER_SECONDS, "GET", path, NULL, &reply, &e) < 0)
        doctor_say(d, DOCTOR_FAIL, "The logs of frontd and syncd say why.", "%s", error_text(&e));
    return reply;
}

static size_t length(struct json_object *list)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static void check_processes(struct doctor *d)
{
    struct json_object *pids = json_object_object_get(d->instance, "pids");
    size_t running = 0, n = 0;

    if (!json_object_is_type(pids, json_type_object))
        return;
    json_object_object_foreach(pids, name, unused) {
        bool runs = instance_pid(d->instance, name) != 0;

        (void)unused;
        n++;
        running += runs;
        if (!runs)
            doctor_say(d, DOCTOR_FAIL, "It is started again by itself; its log says why it ended.", "%s does not run.",
                       name);
    }
    if (running == n)
        doctor_say(d, DOCTOR_OK, "", "All %zu processes run.", n);
}

static void check_agent(struct doctor *d)
{
    struct json_object *status = ask(d, "/management/agent_status");
    int number = json_object_get_int(status);

    if (status && number == STARTED)
        doctor_say(d, DOCTOR_OK, "", "It is started.");
    else if (status)
        doctor_say(d, DOCTOR_WARN, "`landfall agent resume` ends a pause, `landfall agent start` all else.",
                   "It is %s: nothing is sent or fetched.", status_name(number));
    json_object_put(status);
}

/* --- disks -------------------------------------------------------------------------------------------- */

static void check_space(struct doctor *d, const char *what, const char *path)
{
    int64_t keep = d->config ? d->config->cache_free_percent : FREE_PERCENT;
    struct statvfs fs;
    double free_share;

    if (!*path || statvfs(path, &fs) < 0 || fs.f_blocks == 0)
        return;
    free_share = 100.0 * (double)fs.f_bavail / (double)fs.f_blocks;
    if (free_share < FULL_PERCENT)
        doctor_say(d, DOCTOR_FAIL, "Make room, or move the cache: `landfall drive cache --name NAME --folder PATH`.",
                   "The disk of %s, %s, is full.", what, path);
    else if (free_share < (double)keep)
        doctor_say(d, DOCTOR_WARN, "Make room, lower CacheFreePercent, or move the cache.",
                   "The disk of %s, %s, has %.1f %% left, less than the %" PRId64 " %% that caches leave free: "
                   "they hold what is not in the cloud yet, and little else.", what, path, free_share, keep);
    else
        doctor_say(d, DOCTOR_OK, "", "The disk of %s has %.0f %% left.", what, free_share);
}

static void check_disks(struct doctor *d)
{
    check_space(d, "the state", instance_text(json_object_object_get(d->instance, "dirs"), "state"));
    for (size_t i = 0; i < length(d->drives); i++) {
        struct json_object *drive = json_object_array_get_idx(d->drives, i);
        CLEANUP_FREE char *what = NULL;

        if (asprintf(&what, "the cache of %s", instance_text(drive, "name")) >= 0)
            check_space(d, what, instance_text(drive, "permanentLocalPath"));
    }
}

/* --- drives ------------------------------------------------------------------------------------------- */

static void check_keys(struct doctor *d)
{
    struct json_object *list = ask(d, "/management/drive_keys");
    size_t n = length(list), sick = 0;

    for (size_t i = 0; i < n; i++) {
        struct json_object *one = json_object_array_get_idx(list, i);

        sick += *instance_text(one, "trouble") != '\0';
        if (*instance_text(one, "trouble"))
            doctor_say(d, DOCTOR_FAIL, "`landfall key show` names it; `landfall key import` takes a recovery kit.",
                       "The keys of %s: %s", instance_text(one, "name"), instance_text(one, "trouble"));
    }
    if (list && n == 0)
        doctor_say(d, DOCTOR_OK, "", "No drive encrypts.");
    else if (list && !sick)
        doctor_say(d, DOCTOR_OK, "", "The keys of all drives that encrypt (%zu) can be opened.", n);
    json_object_put(list);
}

static void check_drives(struct doctor *d)
{
    size_t sick = 0;

    for (size_t i = 0; i < length(d->drives); i++) {
        struct json_object *drive = json_object_array_get_idx(d->drives, i);
        const char *name = instance_text(drive, "name"), *error = instance_text(drive, "mountError");
        const char *trouble = instance_text(drive, "trouble");

        sick += *error || *trouble;
        if (*error)
            doctor_say(d, DOCTOR_FAIL, "", "%s is not mounted. %s", name, error);
        if (*trouble)
            doctor_say(d, DOCTOR_WARN, "", "%s: %s", name, trouble);
    }
    if (d->drives && !sick)
        doctor_say(d, DOCTOR_OK, "", "None of the drives (%zu) is in trouble.", length(d->drives));
}

/* Why what waits in the drive does. */
static void explain_pending(struct doctor *d, struct json_object *drive, int64_t pending)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *arrival;
    struct error e;
    bool stuck;

    if (place_request("/management/object_wait", instance_text(drive, "localPath"), "&seconds=0", &request, &e) < 0)
        return;
    arrival = ask(d, request);
    stuck = json_object_get_boolean(json_object_object_get(arrival, "stuck"));
    if (arrival)
        doctor_say(d, stuck ? DOCTOR_FAIL : DOCTOR_WARN, stuck ? "`landfall stat PATH` of the file says more." : "",
                   "%s: %" PRId64 " changes are not in the cloud. %s", instance_text(drive, "name"), pending,
                   instance_text(arrival, "waitsFor"));
    json_object_put(arrival);
}

static void check_uploads(struct doctor *d)
{
    size_t waiting = 0;

    for (size_t i = 0; i < length(d->drives); i++) {
        struct json_object *drive = json_object_array_get_idx(d->drives, i);
        int64_t pending = json_object_get_int64(json_object_object_get(drive, "pendingChanges"));

        waiting += pending > 0;
        if (pending > 0)
            explain_pending(d, drive, pending);
    }
    if (d->drives && !waiting)
        doctor_say(d, DOCTOR_OK, "", "All changes are in the cloud.");
}

static void check_audit(struct doctor *d)
{
    struct json_object *verdict = ask(d, "/management/audit_verify");

    if (json_object_get_boolean(json_object_object_get(verdict, "whole")))
        doctor_say(d, DOCTOR_OK, "", "All lines of the audit log are as they were written.");
    else if (verdict)
        doctor_say(d, DOCTOR_FAIL, "Somebody changed it; keep what is there, and compare it with a backup.", "%s",
                   instance_text(verdict, "problem"));
    json_object_put(verdict);
}

const struct doctor_check doctor_instance[] = {
    { "processes", check_processes }, { "agent", check_agent }, { "disk", check_disks }, { "keys", check_keys },
    { "drives", check_drives }, { "uploads", check_uploads }, { "audit", check_audit }, { 0 },
};
