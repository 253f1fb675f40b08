/* `landfall config`: the table of keys as common/config.h states it, or what holds for one instance. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/config_list.h"
#include "cli/dir.h"
#include "cli/instance.h"
#include "cli/run.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/config.h"

static int print_table(void)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);

    for (size_t i = 0; i < n; i++)
        printf("%-26s %-7s %-24s %s\n", keys[i].key, keys[i].type,
               keys[i].default_text[0] ? keys[i].default_text : "-", keys[i].doc);
    printf("\n`landfall run` gives some that are empty (-) a place below DIR or, as root, an account;\n"
           "`landfall config --dir DIR` prints what holds.\n");
    return 0;
}

static void print_values(const struct config *c)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);

    for (size_t i = 0; i < n; i++) {
        CLEANUP_FREE char *value = config_value(c, i);

        printf("%-26s %s\n", keys[i].key, value && *value ? value : "-");
    }
}

int config_of_instance(struct json_object *instance, struct config **ret, struct error *e)
{
    struct json_object *settings = json_object_object_get(instance, "settings");
    size_t n = json_object_is_type(settings, json_type_array) ? json_object_array_length(settings) : 0;
    CLEANUP_FREE const char **sets = calloc(n + 1, sizeof(*sets));
    const char *path = instance_text(instance, "config");

    if (!sets)
        return error_set(e, -ENOMEM, "There is no memory left.");
    for (size_t i = 0; i < n; i++)
        sets[i] = json_object_get_string(json_object_array_get_idx(settings, i));
    return config_load(*path ? path : NULL, sets, n, ret, e);
}

static int print_running(struct json_object *instance, struct error *e)
{
    CLEANUP(config_freep) struct config *c = NULL;
    int r = config_of_instance(instance, &c, e);

    if (r == 0)
        print_values(c);
    return r;
}

/* What `landfall run --dir DIR` would tell them. */
static int print_planned(const char *dir, struct error *e)
{
    const struct run_options options = { .dir = dir, .port = -1 };
    struct run_plan plan;
    int r = run_plan_make(&plan, &options, e);

    if (r == 0)
        print_values(plan.config);
    run_plan_free(&plan);
    return r;
}

static int print_instance(const char *dir, struct error *e)
{
    CLEANUP_FREE char *path = NULL;
    struct json_object *instance = NULL;
    int r = dir_resolve(dir, &path, e);

    if (r == 0)
        r = dir_check(path, e);
    if (r == 0)
        r = instance_read(path, &instance, e);
    if (r == 0)
        r = print_running(instance, e);
    else if (r == -ENOENT)
        r = print_planned(path, e);
    json_object_put(instance);
    return r;
}

static int print(const char *dir, struct error *e)
{
    return dir ? print_instance(dir, e) : print_table();
}

int command_config(int argc, char **argv)
{
    return target_run(argc, argv, print);
}
