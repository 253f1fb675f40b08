/* `landfall status`: what DIR/instance.json and the API say, in a few lines. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/status.h"
#include "cli/target.h"
#include "common/cleanup.h"

static const struct { int number; const char *name; } statuses[] = {
    { 0, "created" }, { 1, "started" }, { 2, "stopped" }, { 4, "paused" }, { 8, "disposed" },
};

const char *status_name(int number)
{
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        if (statuses[i].number == number)
            return statuses[i].name;
    return "unknown";
}

static int print_agent(struct json_object *instance)
{
    struct json_object *reply = NULL;
    struct error e = { 0 };
    int r = api_call(instance, "GET", "/management/agent_status", NULL, &reply, &e);

    if (r < 0)
        printf("api       %s: %s\n", instance_text(instance, "api"), error_text(&e));
    else
        printf("api       %s: %s\n", instance_text(instance, "api"), status_name(json_object_get_int(reply)));
    json_object_put(reply);
    return r;
}

static void print_processes(struct json_object *instance)
{
    struct json_object *users = json_object_object_get(instance, "users");
    struct json_object *pids = json_object_object_get(instance, "pids");

    if (!json_object_is_type(pids, json_type_object))
        return;
    json_object_object_foreach(pids, name, unused) {
        pid_t pid = instance_pid(instance, name);
        struct json_object *user = json_object_object_get(users, name);

        (void)unused;
        if (user && pid)
            printf("%-9s process %d as %s\n", name, (int)pid, json_object_get_string(user));
        else if (user)
            printf("%-9s not running\n", name);
    }
}

static void print_mounts(struct json_object *instance)
{
    struct json_object *mounts = json_object_object_get(instance, "mounts");

    for (size_t i = 0; mounts && i < json_object_array_length(mounts); i++) {
        struct json_object *mount = json_object_array_get_idx(mounts, i);

        printf("drive     %s at %s\n", instance_text(mount, "drive"), instance_text(mount, "mount_point"));
    }
}

static void print_trouble(struct json_object *drive, const char *member)
{
    const char *text = instance_text(drive, member);

    if (!*text)
        return;
    printf("trouble   ");
    listing_puts(instance_text(drive, "name"));
    printf(": ");
    listing_puts(text);
    putchar('\n');
}

/* Of what cannot be asked the agent's line has said why. */
static void print_troubles(struct json_object *instance)
{
    struct json_object *drives;
    struct error e = { 0 };

    if (listing_get(instance, "/management/clouddrive", &drives, &e) < 0)
        return;
    for (size_t i = 0; i < json_object_array_length(drives); i++) {
        print_trouble(json_object_array_get_idx(drives, i), "mountError");
        print_trouble(json_object_array_get_idx(drives, i), "trouble");
    }
    json_object_put(drives);
}

static struct json_object *list_processes(struct json_object *instance)
{
    struct json_object *users = json_object_object_get(instance, "users"), *list = json_object_new_object();

    if (!json_object_is_type(users, json_type_object))
        return list;
    json_object_object_foreach(users, name, user) {
        struct json_object *one = json_object_new_object();

        if (!json_object_object_get_ex(json_object_object_get(instance, "pids"), name, NULL)) {
            json_object_put(one);
            continue;
        }
        json_object_object_add(one, "pid", json_object_new_int(instance_pid(instance, name)));
        json_object_object_add(one, "user", json_object_get(user));
        json_object_object_add(list, name, one);
    }
    return list;
}

/* As the API and instance.json have it; null: the API does not answer. */
static int print_json(struct json_object *instance, struct error *e)
{
    struct json_object *o = json_object_new_object(), *status = NULL, *drives = NULL;
    int r = api_call(instance, "GET", "/management/agent_status", NULL, &status, e);

    if (r == 0)
        r = listing_get(instance, "/management/clouddrive", &drives, e);
    json_object_object_add(o, "api", json_object_new_string(instance_text(instance, "api")));
    json_object_object_add(o, "agentStatus", status);
    json_object_object_add(o, "user", json_object_new_string(instance_text(instance, "user")));
    json_object_object_add(o, "processes", list_processes(instance));
    json_object_object_add(o, "drives", drives);
    listing_json(o);
    json_object_put(o);
    return r;
}

int command_status(int argc, char **argv)
{
    struct json_object *instance = NULL;
    struct error e = { 0 };
    bool json = false;
    const struct target_option options[] = { { "json", NULL, &json }, { 0 } };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    if (json) {
        r = print_json(instance, &e) < 0 ? target_fail(argv[0], &e) : EXIT_SUCCESS;
        json_object_put(instance);
        return r;
    }
    r = print_agent(instance);
    printf("user      %s\n", instance_text(instance, "user"));
    print_processes(instance);
    print_mounts(instance);
    if (r == 0)
        print_troubles(instance);
    json_object_put(instance);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
