/* The instance a command is about: --dir DIR, or the default place. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "common/error.h"

/* One "--name VALUE" (or "--name" alone for a flag, "-n" where the name is one letter) of a command; rows end with name
 * NULL. */
struct target_option {
    const char *name;
    const char **value;    /* set to the argument, borrowed; NULL for a flag */
    bool *flag;
};

/* A command that has no option but --dir: calls `act` with its DIR, or NULL without one. Returns the exit status,
 * with a sentence on stderr unless it is 0; `act` gives that of a negative errno. */
typedef int target_act(const char *dir, struct error *e);
int target_run(int argc, char **argv, target_act *act);

/* Reads the options (NULL: there are none) and --dir, checks DIR (cli/dir.h) and reads DIR/instance.json. 0 and
 * *ret to be put; a sentence is on stderr otherwise and the exit status for the command comes back. */
int target_open(int argc, char **argv, const struct target_option *options, struct json_object **ret);

/* The same with arguments that are no options, in their order; what follows "--" is none. Their number is in *n, and
 * `paths` has room for argc of them; they are borrowed. */
int target_open_paths(int argc, char **argv, const struct target_option *options, const char **paths, size_t *n,
                      struct json_object **ret);

/* The options (and --dir, NULL without it) alone, of a command that does without an instance. 0, or the exit status. */
int target_read(int argc, char **argv, const struct target_option *options, const char **ret_dir);

/* The whole of a command: reads what the two above read, and has it done. `act` returns the exit status, or a negative
 * errno with a sentence; -EINVAL is what it has to say against the call. The exit status. */
struct target_job {
    const struct target_option *options;   /* NULL: there are none */
    size_t least, most;                    /* arguments that are no options */
    const char *wanted;                    /* the sentence when there are fewer or more */
    int (*act)(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e);
    void *arg;
};
int target_do(int argc, char **argv, const struct target_job *job);

/* Prints "landfall COMMAND: sentence" on stderr and returns EXIT_FAILURE, or EXIT_USAGE for -EINVAL. */
int target_fail(const char *command, const struct error *e);
