/* Commands and verbs by their names: `landfall account list`. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

/* Whether it is one of the words of "remove|rm". */
static bool has_name(const char *names, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = n && !strchr(name, '|') ? names : NULL; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strncmp(at, name, n) == 0 && (at[n] == '|' || !at[n]))
            return true;
    return false;
}

const struct command *command_find(const struct command *rows, const char *name)
{
    for (; rows->name; rows++)
        if (has_name(rows->name, name))
            return rows;
    return NULL;
}

static int list_verbs(const struct command *c, const char *name)
{
    fprintf(stderr, "landfall %s: say what to do:\n", name);
    for (const struct command *v = c->verbs; v->name; v++)
        fprintf(stderr, "  landfall %s %s %s\n      %s\n", name, v->name, v->arguments, v->doc);
    return EXIT_USAGE;
}

int command_run_row(const struct command *c, int argc, char **argv)
{
    const struct command *v = c->verbs && argc > 1 ? command_find(c->verbs, argv[1]) : NULL;
    char name[64];   /* as it was called, for what it has to say */

    if (!c->verbs)
        return c->run(argc, argv);
    if (!v)
        return list_verbs(c, argv[0]);
    (void)snprintf(name, sizeof(name), "%s %s", argv[0], argv[1]);
    argv[1] = name;
    return v->run(argc - 1, argv + 1);
}
