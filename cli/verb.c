/* Verbs below a subcommand: `landfall account list`. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

int command_verb(const struct command *verbs, int argc, char **argv)
{
    char name[64];   /* as it was called, for what it has to say */

    for (const struct command *v = verbs; v->name && argc > 1; v++)
        if (strcmp(v->name, argv[1]) == 0) {
            (void)snprintf(name, sizeof(name), "%s %s", argv[0], v->name);
            argv[1] = name;
            return v->run(argc - 1, argv + 1);
        }
    fprintf(stderr, "landfall %s: say what to do:\n", argv[0]);
    for (const struct command *v = verbs; v->name; v++)
        fprintf(stderr, "  landfall %s %s %s\n      %s\n", argv[0], v->name, v->arguments, v->doc);
    return EXIT_USAGE;
}
