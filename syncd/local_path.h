/* Files and folders of this machine that a person names for an upload or a download: opened with the served user's
 * rights, which are this process's, through no symbolic link, and never anything but a regular file or a folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/error.h"

/* The absolute path in its plain form, "/a/b", for free(); `member` names it. 0; -EINVAL, or -EPERM for a "..", with a
 * sentence. Text alone. */
int local_path(const char *member, const char *given, char **ret, struct error *e);

/* These block. Paths are plain. A descriptor, or a negative errno with a sentence. */
int local_file_open(const char *path, struct stat *ret, struct error *e);   /* for reading */
int local_folder_open(const char *path, struct error *e);

/* The folder at `relative` below `dir`, made where it is not there; "" is `dir` itself. A descriptor or negative errno:
 * -ELOOP, -EXDEV or -ENOTDIR where something else stands in the way. */
int local_folder_make(int dir, const char *relative);
/* The same, and nothing is made. */
int local_folder_at(int dir, const char *relative);

/* A name for a file that is not whole yet, which no other one has. */
enum { LOCAL_NAME_SIZE = 256 };
void local_file_name(char ret_name[LOCAL_NAME_SIZE]);
/* A new file in the folder, for its owner alone; name NULL: it has none, and goes with its descriptor. A descriptor,
 * or negative errno: without a name -EOPNOTSUPP where that cannot be. */
int local_file_make(int dir, const char *name);
/* One of that name from local_file_name(), its first `length` bytes. A descriptor; -ENOENT: it is not there, is
 * shorter, or is not what was made there; or another negative errno. */
int local_file_again(int dir, const char *name, uint64_t length);
/* Syncs it and gives it the name `want`, or "want (2).ext" and so on where there is one already: nothing is ever
 * replaced. `name` is what it had, NULL: none. `ret_name` is what it became. 0 or negative errno. */
int local_file_keep(int dir, int fd, const char *name, const char *want, char ret_name[LOCAL_NAME_SIZE]);
/* Whether one of the names that `want` can become is that of such a file, put there since then: of the size and time
 * of change of `fd`. */
bool local_file_kept(int dir, int fd, const char *want, int64_t since_ns);
/* One that is no name of local_file_name() is left alone. */
void local_file_remove(int dir, const char *name);
