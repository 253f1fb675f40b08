/* The table of subcommands and that of exit statuses. What a command does stands in its own file. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "common/cleanup.h"

static int command_help(int argc, char **argv);

static int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return puts(PACKAGE_NAME " " PACKAGE_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

const struct command commands[] = {
    { "install", "[--dir DIR]", "make DIR and copy the programs into DIR/bin, for `DIR/bin/landfall run`",
      command_install, NULL },
    { "run", "[--dir DIR] [--port N] [--config FILE] [--set Key=value]... [--new-passphrase]",
      "start all processes and keep them running, in the foreground; asks for the key store's passphrase, if it has\n"
      "           one. --new-passphrase: gives it another one, or its first", command_run, NULL },
    { "stop", "[--wait SECONDS] [--dir DIR]",
      "wait for uploads (60 seconds at most), end an instance in order, say what is left to do", command_stop, NULL },
    { "status", "[--json] [--dir DIR]", "what runs, as whom, and which drives are mounted", command_status, NULL },
    { "account", "list | add ... | remove ...", "cloud accounts of a running instance", NULL, account_verbs },
    { "drive", "list | add ... | remove ... | cache ... | sync ... | open ...", "drives of a running instance", NULL,
      drive_verbs },
    { "bucket", "list ACCOUNT", "buckets of an account", NULL, bucket_verbs },
    { "key", "show | export | import | rotate | escrow | destroy | passphrase",
      "the keys of a drive that encrypts: recovery kit, rotation, crypto-erase", NULL, key_verbs },
    { "stat", "PATH [--json] [--dir DIR]", "how one object of a drive stands with the cloud, and what it waits for",
      command_stat, NULL },
    { "ls", "[PATH] [-l] [--json] [--dir DIR]",
      "what is in a folder of a drive, also of what is not on this machine; -l: with state, size and date", command_ls,
      NULL },
    { "pin", "PATH... [--dir DIR]", "keep files, or all that is and will be below directories, on this machine",
      command_objects, NULL },
    { "unpin", "PATH... [--dir DIR]", "end that, and give up the copies here of what the cloud has", command_objects,
      NULL },
    { "evict", "PATH... [--dir DIR]",
      "give up the copies here of what the cloud has; it is fetched again when it is read", command_objects, NULL },
    { "fetch", "PATH... [--dir DIR]", "fetch into the cache what the cloud has, once; it does not wait for it",
      command_objects, NULL },
    { "share", "PATH [--upload KEY] [--json] [--dir DIR]",
      "print a URL that everybody can download PATH with for 24 hours; --upload: one to upload KEY of that drive with",
      command_share, NULL },
    { "cp", "SOURCE TARGET [--force] [--dir DIR]",
      "copy one file; one of both is DRIVE:PATH or ACCOUNT:BUCKET/KEY, the other one here (- with a drive: stdin,\n"
      "           stdout). What is there is replaced with --force only", command_cp, NULL },
    { "agent", "status | start | dispose | pause | resume | exit", "the state of the agent, all its drives together",
      NULL, agent_verbs },
    { "accept", "PATH... [--dir DIR]",
      "what lies in the cloud is older than what was there, and was restored on purpose", command_objects, NULL },
    { "encrypt", "PATH... [--background] | --status [DRIVE] [--json] | --stop PATH|DRIVE [--dir DIR]",
      "encrypt what is in the cloud in plain, of a drive that encrypts its objects, and wait for it; --background: do\n"
      "           not wait. --status: how far it is. --stop: what is left stays as it is", command_encrypt, NULL },
    { "wait", "PATH... [--timeout SECONDS] [-v] [--json] [--dir DIR]",
      "wait until files, or all that is below directories, are in the cloud: 0 they are, 1 something stands in the\n"
      "           way and is named, 124 the time is over", command_wait, NULL },
    { "top", "[--once] [--json] [--dir DIR]",
      "transfers while they go on, with their rates, and what waits for the cloud. --once, and where stdout is no\n"
      "           terminal: one table", command_top, NULL },
    { "transfer", "list | pause ID... | resume ID... | cancel ID...",
      "uploads and downloads, those of drives among them, and having one wait, go on or end", NULL, transfer_verbs },
    { "watch", "[--since ID[:ID]] [--json] [--dir DIR]",
      "what happens, while it happens: transfers, states of objects, notices, calls of others. --since: also what\n"
      "           happened after these frames of /notification and /statechange", command_watch, NULL },
    { "doctor", "[--json] [--port N] [--dir DIR]",
      "check the machine and the instance, and say what to do; also where none runs, for one that is to use port N",
      command_doctor, NULL },
    { "audit", "list | verify", "who changed what over the API, and whether the log of that is as it was written",
      NULL, audit_verbs },
    { "config", "[--dir DIR]", "every configuration key with its default, or with what holds in DIR", command_config,
      NULL },
    { "completion", "bash | zsh | fish",
      "print what the shell completes these commands with: `. <(landfall completion bash)`", NULL,
      completion_verbs },
    { "version", "", "the version", command_version, NULL },
    { "help", "", "this text", command_help, NULL },
    { 0 },
};

const struct exit_code exit_codes[] = {
    { EXIT_SUCCESS, "it is done" },
    { EXIT_FAILURE, "it failed, and why is on stderr" },
    { EXIT_USAGE, "the call was wrong: a command, an option or an argument" },
    { EXIT_UNMOUNTED, "drive add --wait: the drive is stored, but cannot be mounted" },
    { EXIT_LATE, "wait: the time was over, as timeout(1) has it" },
    { EXIT_INTERRUPTED, "interrupted; what encrypt has begun goes on, what cp has begun does not" },
};
const size_t n_exit_codes = ARRAY_SIZE(exit_codes);

static int command_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("usage: landfall COMMAND [ARGUMENTS]\n\n");
    for (const struct command *c = commands; c->name; c++)
        printf("  %-8s %s\n           %s\n", c->name, c->arguments, c->doc);
    printf("\nexit status:\n");
    for (size_t i = 0; i < n_exit_codes; i++)
        printf("  %-8d %s\n", exit_codes[i].code, exit_codes[i].meaning);
    return EXIT_SUCCESS;
}
