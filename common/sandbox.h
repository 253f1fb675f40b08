/* What a process may still do, as data. All calls are for start-up and return 0 or a negative
 * errno with a sentence in *e. In a build with sanitizers the seccomp and Landlock parts do
 * nothing and say so once in the log: their reports would die in them. */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Capabilities and Landlock belong to threads. This signal brings every thread of the process
 * along, so no thread may block it while a sandbox is being entered. */
#define SANDBOX_SIGNAL (SIGRTMIN + 1)

/* One allowed system call; with `arg` >= 0 only when that argument masked by `mask` equals `value`. */
struct sandbox_call {
    const char *name;    /* as libseccomp knows it; a name this libseccomp does not know is an error */
    int arg;             /* -1: any arguments */
    uint64_t mask, value;
};
#define SANDBOX_ANY(n) { #n, -1, 0, 0 }
#define SANDBOX_ARG(n, a, v) { #n, a, ~UINT64_C(0), v }

struct sandbox_deny {
    const char *name;
    int error;           /* positive errno returned instead: for calls libraries try harmlessly */
};

/* Loads the filter for all threads; every other call kills the process (SIGSYS). Sets no_new_privs. */
int sandbox_seccomp(const struct sandbox_call *allow, size_t n_allow,
                    const struct sandbox_deny *deny, size_t n_deny, struct error *e);

/* Denies all threads all file system access (and, where the kernel has it, TCP bind and connect, abstract
 * sockets and signals to processes outside) through Landlock, but for the paths listed and what is below
 * them. What is open stays usable. On a kernel without Landlock returns 0 after a log line. Rows end with
 * path NULL; NULL rows: nothing allowed; a path that does not exist is left out. Sets no_new_privs. */
struct sandbox_path {
    const char *path;
    bool write;          /* everything but execute; else read, list and execute */
};
int sandbox_landlock(const struct sandbox_path *rows, struct error *e);

/* Keeps just these capabilities (names without "cap_", ending in NULL) in the permitted,
 * effective and bounding sets of all threads, and none in the others; none at all with an empty list.
 * Does nothing when not root. Before sandbox_seccomp(). */
int sandbox_capabilities(const char *const *keep, struct error *e);

/* Non-dumpable, no core, no ptrace by the same uid. */
int sandbox_undumpable(struct error *e);

/* All of the above for who needs no capability and nothing by path: these calls alone are left. */
int sandbox_enclose(const struct sandbox_call *allow, size_t n_allow,
                    const struct sandbox_deny *deny, size_t n_deny, struct error *e);
