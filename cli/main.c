/* `landfall`: the command line. A row per subcommand; what one does stands in its own file. It
 * talks to a running instance through the HTTP API only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "common/cleanup.h"

static int command_help(int argc, char **argv);

static int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return puts(PACKAGE_NAME " " PACKAGE_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const struct command commands[] = {
    { "install", "[--dir DIR]", "make DIR and copy the programs into DIR/bin, for `DIR/bin/landfall run`",
      command_install },
    { "run", "[--dir DIR] [--port N] [--config FILE] [--set Key=value]... [--new-passphrase]",
      "start all processes and keep them running, in the foreground; asks for the key store's passphrase, if it has\n"
      "           one. --new-passphrase: gives it another one, or its first", command_run },
    { "stop", "[--wait SECONDS] [--dir DIR]",
      "wait for uploads (60 seconds at most), end an instance in order, say what is left to do", command_stop },
    { "status", "[--dir DIR]", "what runs, as whom, and which drives are mounted", command_status },
    { "account", "list | add ... | remove ...", "cloud accounts of a running instance", command_account },
    { "drive", "list | add ... | remove ...", "drives of a running instance", command_drive },
    { "key", "show | export | import | rotate | escrow | destroy | passphrase",
      "the keys of a drive that encrypts: recovery kit, rotation, crypto-erase", command_key },
    { "stat", "PATH [--json] [--dir DIR]", "how one object of a drive stands with the cloud, and what it waits for",
      command_stat },
    { "accept", "PATH... [--dir DIR]",
      "what lies in the cloud is older than what was there, and was restored on purpose", command_accept },
    { "encrypt", "PATH... [--background] | --status [DRIVE] | --stop PATH|DRIVE [--dir DIR]",
      "encrypt what is in the cloud in plain, of a drive that encrypts its objects, and wait for it; --background: do\n"
      "           not wait. --status: how far it is. --stop: what is left stays as it is", command_encrypt },
    { "wait", "PATH... [--timeout SECONDS] [-v] [--dir DIR]",
      "wait until files, or all that is below directories, are in the cloud: 0 they are, 1 something stands in the\n"
      "           way and is named, 124 the time is over", command_wait },
    { "audit", "list | verify", "who changed what over the API, and whether the log of that is as it was written",
      command_audit },
    { "config", "[--dir DIR]", "every configuration key with its default, or with what holds in DIR", command_config },
    { "version", "", "the version", command_version },
    { "help", "", "this text", command_help },
};

static int command_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("usage: landfall COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        printf("  %-8s %s\n           %s\n", commands[i].name, commands[i].arguments, commands[i].doc);
    return EXIT_SUCCESS;
}

static const struct command *find_command(const char *name)
{
    while (*name == '-')
        name++;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct command *c = argc > 1 ? find_command(argv[1]) : NULL;

    if (!c) {
        fprintf(stderr, "landfall: %s%s; `landfall help` lists the commands.\n",
                argc > 1 ? "there is no command " : "no command given", argc > 1 ? argv[1] : "");
        return EXIT_USAGE;
    }
    return c->run(argc - 1, argv + 1);
}
