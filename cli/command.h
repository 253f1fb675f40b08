/* The subcommands of `landfall`, in one table: the help, the completions and the dispatch read it. Each gets the
 * arguments that follow the program's name, its own name first, prints for a person, and returns the exit status. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct command {
    const char *name;       /* "remove|rm" has two */
    const char *arguments, *doc;
    int (*run)(int argc, char **argv);
    const struct command *verbs;   /* instead of run: what is below it, up to a row without a name */
};

/* All of them, up to a row without a name. */
extern const struct command commands[];

extern const struct command account_verbs[], agent_verbs[], audit_verbs[], bucket_verbs[], completion_verbs[],
    drive_verbs[], key_verbs[], transfer_verbs[];

int command_config(int argc, char **argv);
int command_install(int argc, char **argv);
int command_run(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_status(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_wait(int argc, char **argv);
int command_encrypt(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_watch(int argc, char **argv);
int command_top(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_share(int argc, char **argv);
int command_cp(int argc, char **argv);
/* accept, evict, fetch, pin and unpin */
int command_objects(int argc, char **argv);

/* The row with that name, NULL: there is none. */
const struct command *command_find(const struct command *rows, const char *name);

/* Runs the command that argv[0] names. The exit status. */
int command_run_row(const struct command *c, int argc, char **argv);

/* Exit statuses of all commands, beside EXIT_SUCCESS and EXIT_FAILURE. */
enum {
    EXIT_USAGE = 2,
    EXIT_UNMOUNTED = 3,
    EXIT_LATE = 124,
    EXIT_INTERRUPTED = 130,
};

struct exit_code {
    int code;
    const char *meaning;
};
/* What each of them means, as the help and the manual say it. */
extern const struct exit_code exit_codes[];
extern const size_t n_exit_codes;
