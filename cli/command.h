/* The subcommands of `landfall`. Each gets the arguments that follow the program's name, its own
 * name first, prints for a person, and returns the exit status. */
#pragma once

struct command {
    const char *name, *arguments, *doc;
    int (*run)(int argc, char **argv);
};

int command_account(int argc, char **argv);
int command_audit(int argc, char **argv);
int command_config(int argc, char **argv);
int command_drive(int argc, char **argv);
int command_install(int argc, char **argv);
int command_key(int argc, char **argv);
int command_run(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_status(int argc, char **argv);
int command_stop(int argc, char **argv);
int command_wait(int argc, char **argv);
int command_accept(int argc, char **argv);
int command_encrypt(int argc, char **argv);

/* One of the verbs below a subcommand, by name; with none or an unknown one the verbs are listed
 * on stderr and the status of a wrong call comes back. */
int command_verb(const struct command *verbs, int argc, char **argv);

enum {
    EXIT_USAGE = 2,
    EXIT_LATE = 124,      /* of `wait`: the time was over, as timeout(1) has it */
    EXIT_UNMOUNTED = 3,   /* of `drive add --wait`: the drive is stored, but cannot be mounted */
};
