/* Verbs below a subcommand: `landfall account list`. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

int command_verb(const struct command *verbs, int argc, char **argv)
{
    for (const struct command *v = verbs; v->name && argc > 1; v++)
        if (strcmp(v->name, argv[1]) == 0)
            return v->run(argc - 1, argv + 1);
    fprintf(stderr, "landfall %s: say what to do:\n", argv[0]);
    for (const struct command *v = verbs; v->name; v++)
        fprintf(stderr, "  landfall %s %s %s\n      %s\n", argv[0], v->name, v->arguments, v->doc);
    return EXIT_USAGE;
}
