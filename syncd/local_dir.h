/* Folders of this machine as the served user sees them, which may lie on any file system: what is in one, a new one in
 * one, and where file systems are mounted. All of it blocks, perhaps for ever (apart.h), and knows nothing of the
 * daemon.
 *
 * What binds a caller is what the served user may do, which is what syncd runs as and all it may do: so a path leads
 * through symbolic links as it would for ls(1) and mkdir(1) of that user, and what is not the user's is refused by the
 * kernel. Only the links below /proc/<pid> that lead where no path does, to what syncd has open, are not followed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct local_entry {
    char *name;                    /* owned; any bytes */
    bool is_directory;             /* or a link to one */
};

/* A part of a folder in the order of its names' bytes. */
enum { LOCAL_PART = 16384 };
struct local_listing {
    char *path, *after;            /* owned; only names behind that one, "" all */
    bool directories_only;
    struct local_entry *entries;   /* out, LOCAL_PART at most */
    size_t n;
    bool more;                     /* out: there are more behind them */
    struct error error;            /* out; its code 0, or as local_error() */
};
/* For apart_run(). In memory there is never more than twice a part, however large the folder. */
void local_dir_list(void *listing);
/* Frees what it owns. */
void local_listing_done(struct local_listing *l);

/* A new folder in another one, whose path is opened once: what is put in its place meanwhile is not where it comes. */
struct local_making {
    char *base, *name;             /* owned */
    struct error error;            /* out */
};
/* For apart_run(). The folder is the user's alone (0700 as the umask of the agent has it). */
void local_dir_make(void *making);
void local_making_done(struct local_making *m);
/* -EPERM with a sentence for what is no name of one folder: empty, "." or "..", with a slash or control characters, or
 * of more than 255 bytes. */
int local_name_check(const char *name, struct error *e);

/* The mount points of file systems that have something of their own, each file system once, in the order of bytes. */
struct local_points {
    char **points;                 /* out, owned */
    size_t n;
};
/* For apart_run(). */
void local_points_find(void *points);
void local_points_done(struct local_points *p);

/* -ENOENT, -ENOTDIR, -EEXIST, -ENAMETOOLONG and -ENOSPC as they are, anything else as -EBADFD, with a sentence that
 * says what could not be done to the path. */
int local_error(struct error *e, int code, const char *what, const char *path);
