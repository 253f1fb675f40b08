/* Options of the commands that talk to an instance, and finding it. */
#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/dir.h"
#include "cli/instance.h"
#include "common/cleanup.h"

int target_fail(const char *command, const struct error *e)
{
    fprintf(stderr, "landfall %s: %s\n", command, error_text(e));
    return e->code == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
}

static const struct target_option *find_option(const struct target_option *options, const char *argument)
{
    size_t dashes = strspn(argument, "-");

    for (; options && options->name; options++)
        if (strcmp(options->name, argument + dashes) == 0 && dashes == (options->name[1] ? 2 : 1))
            return options;
    return NULL;
}

/* Arguments that are no options; `v` NULL: the command takes none. */
struct paths {
    const char **v;
    size_t n;
    bool all;              /* "--" was there: whatever follows */
};

/* Whether it is one of them, or the "--" before those that look like options. */
static bool take_path(struct paths *p, const char *argument)
{
    bool dashed = !p->all && argument[0] == '-' && argument[1];

    if (!p->v || (dashed && strcmp(argument, "--") != 0))
        return false;
    if (dashed)
        p->all = true;
    else
        p->v[p->n++] = argument;
    return true;
}

/* *ret_dir stays as it is without --dir. 0, or the exit status for the command, with a sentence on stderr. */
static int read_options(int argc, char **argv, const struct target_option *options, struct paths *paths,
                        const char **ret_dir)
{
    const struct target_option common[] = { { "dir", ret_dir, NULL }, { 0 } };

    for (int i = 1; i < argc; i++) {
        const struct target_option *o;

        if (take_path(paths, argv[i]))
            continue;
        o = find_option(options, argv[i]);
        if (!o)
            o = find_option(common, argv[i]);
        if (!o || (o->value && i + 1 == argc)) {
            fprintf(stderr, "landfall %s: %s %s.\n", argv[0], argv[i], o ? "needs a value" : "is not an option");
            return EXIT_USAGE;
        }
        if (o->value)
            *o->value = argv[++i];
        else
            *o->flag = true;
    }
    return 0;
}

int target_run(int argc, char **argv, target_act *act)
{
    const char *dir = NULL;
    struct error e = { 0 };
    struct paths none = { 0 };
    int r = read_options(argc, argv, NULL, &none, &dir);

    if (r)
        return r;
    return act(dir, &e) < 0 ? target_fail(argv[0], &e) : EXIT_SUCCESS;
}

static int open_for(int argc, char **argv, const struct target_option *options, struct paths *paths,
                    struct json_object **ret)
{
    CLEANUP_FREE char *dir = NULL;
    const char *given = NULL;
    struct error e = { 0 };
    int r = read_options(argc, argv, options, paths, &given);

    if (r)
        return r;
    r = dir_resolve(given, &dir, &e);
    if (r == 0)
        r = dir_check(dir, &e);
    if (r == 0)
        r = instance_read(dir, ret, &e);
    else if (r == -ENOENT)
        r = error_set(&e, r, "No instance runs in %s: there is no such directory.", dir);
    return r < 0 ? target_fail(argv[0], &e) : 0;
}

int target_open(int argc, char **argv, const struct target_option *options, struct json_object **ret)
{
    struct paths none = { 0 };

    return open_for(argc, argv, options, &none, ret);
}

int target_open_paths(int argc, char **argv, const struct target_option *options, const char **paths, size_t *n,
                      struct json_object **ret)
{
    struct paths p = { .v = paths };
    int r = open_for(argc, argv, options, &p, ret);

    *n = p.n;
    return r;
}

int target_do(int argc, char **argv, const struct target_job *job)
{
    CLEANUP_FREE const char **words = calloc((size_t)argc, sizeof(*words));
    struct json_object *instance = NULL;
    struct error e = { 0 };
    size_t n = 0;
    int r = words ? target_open_paths(argc, argv, job->options, words, &n, &instance) : EXIT_FAILURE;

    if (r)
        return r;
    r = n < job->least || n > job->most ? error_set(&e, -EINVAL, "%s", job->wanted)
                                        : job->act(instance, words, n, job->arg, &e);
    json_object_put(instance);
    return r < 0 ? target_fail(argv[0], &e) : r;
}

int target_read(int argc, char **argv, const struct target_option *options, const char **ret_dir)
{
    struct paths none = { 0 };

    *ret_dir = NULL;
    return read_options(argc, argv, options, &none, ret_dir);
}
