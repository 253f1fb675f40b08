/* `landfall config`: the table of keys, as common/config.h states it. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "common/config.h"

int command_config(int argc, char **argv)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);

    (void)argc;
    (void)argv;
    for (size_t i = 0; i < n; i++)
        printf("%-26s %-7s %-24s %s\n", keys[i].key, keys[i].type,
               keys[i].default_text[0] ? keys[i].default_text : "-", keys[i].doc);
    return EXIT_SUCCESS;
}
