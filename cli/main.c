/* `landfall`: the command line. It talks to a running instance through the HTTP API only. */
#include <stdio.h>

#include "cli/command.h"

/* `landfall --help` is what everybody tries first. */
static const char *without_dashes(const char *name)
{
    while (*name == '-')
        name++;
    return name;
}

int main(int argc, char **argv)
{
    const struct command *c = argc > 1 ? command_find(commands, without_dashes(argv[1])) : NULL;

    if (!c) {
        fprintf(stderr, "landfall: %s%s; `landfall help` lists the commands.\n",
                argc > 1 ? "there is no command " : "no command given", argc > 1 ? argv[1] : "");
        return EXIT_USAGE;
    }
    return command_run_row(c, argc - 1, argv + 1);
}
