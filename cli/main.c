/* `landfall`: the command line. It talks to a running instance through the HTTP API only. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

int main(int argc, char **argv)
{
    const struct command *c;

    if (argc > 1)
        argv[1] += strspn(argv[1], "-");   /* `landfall --help` is what everybody tries first */
    c = argc > 1 ? command_find(commands, argv[1]) : NULL;
    if (!c) {
        fprintf(stderr, "landfall: %s%s; `landfall help` lists the commands.\n",
                argc > 1 ? "there is no command " : "no command given", argc > 1 ? argv[1] : "");
        return EXIT_USAGE;
    }
    return command_run_row(c, argc - 1, argv + 1);
}
